//! The built function against real sockets: every numbered case of the fault list, named by its number.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]

mod acceptance;
mod events;
mod support;
mod token;
