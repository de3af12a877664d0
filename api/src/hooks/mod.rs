//! The hooks surface: what the world sends. A function of its own, with a role of its own, receives it. It reads a
//! pointer, a few members of a trigger and a secret, and invokes the run function; it can do nothing else
//! (docs/webhooks.md).
//!
//! Begin with `receive`, which has the order of the checks. `scheme`, `signature`, `body` and `event` ask nobody
//! anything.

pub mod body;
pub mod event;
pub mod manners;
pub mod receipts;
pub mod receive;
pub mod router;
pub mod scheme;
pub mod secrets;
pub mod settings;
pub mod signature;
pub mod state;
pub mod test_delivery;
pub mod webhook;
