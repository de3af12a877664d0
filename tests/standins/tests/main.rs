//! The stand-ins behave as the services do that they stand in for: what the other tests rest on.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]

mod lambda;
mod pipe;
mod smoke;
mod store;
