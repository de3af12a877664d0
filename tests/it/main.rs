//! The built function against real sockets: every numbered case of the fault list, named by its number.
#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions, not in what they share")]

mod happy;
mod life;
mod process;
mod records;
mod streaming;
mod support;
