//! Pure types and decisions: no async, no AWS, no HTTP.

pub mod execution;
pub mod failure;
pub mod fire;
pub(crate) mod health;
pub mod policy;
pub mod run_lock;
pub(crate) mod threshold;
pub(crate) mod trace;
