//! What must hold of the parsers for every input, checked on arbitrary ones, and the tables of their documentation. No
//! process is started and nothing is sent.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]

mod bounds;
mod events;
mod pattern;
mod trigger_schema;
