//! Pure types and decisions: no async, no AWS, no HTTP.

pub mod answer;
pub mod execution;
pub mod failure;
pub mod finish_reason;
pub mod fire;
pub(crate) mod health;
pub mod policy;
pub mod protocol;
pub mod run_lock;
pub(crate) mod threshold;
pub(crate) mod trace;
