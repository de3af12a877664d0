//! The programs that agent-trigger is measured against. They are examples, not binaries, because `cargo lambda watch`
//! serves every binary of a workspace as a separate function.

pub mod client;
