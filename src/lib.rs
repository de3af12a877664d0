//! Runs AI agents when a schedule or an event fires, and keeps one truthful record of what happened.
//!
//! The story of a run is in [`handler`]. What it uses, from the outside in:
//!
//! | room | what it knows |
//! | --- | --- |
//! | [`config`] | the settings |
//! | [`event`], [`fire`] | events in; which deliveries are the same fire |
//! | [`claim`], [`lease`] | taking an execution, holding it, giving it up |
//! | [`execution`] | the decisions behind that, as pure functions |
//! | [`record`], [`store`] | the record's attributes; DynamoDB |
//! | [`token`] | Cognito |
//! | [`agent`], [`stream`] | the call; decoding its answer (with `lines`, `sse`, `document`, `json`, `transcript`) |
//! | [`error`], [`reply`] | failures and successes as Lambda and records tell them |
//! | [`http`], [`clock`], [`backoff`], [`redact`], [`log`] | the tools of the above |

pub mod agent;
pub mod backoff;
pub mod claim;
pub mod clock;
pub mod config;
mod document;
pub mod error;
pub mod event;
pub mod execution;
pub mod fire;
pub mod handler;
pub mod http;
mod json;
pub mod lease;
mod lines;
pub mod log;
pub mod record;
pub mod redact;
pub mod reply;
pub mod runtime;
mod sse;
pub mod store;
pub mod stream;
pub mod token;
mod transcript;
