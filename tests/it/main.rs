//! The built function against real sockets: every numbered case of the fault list, named by its number.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]

mod acceptance;
mod coverage;
mod events;
mod frozen;
mod life;
mod one_fire;
mod process;
mod records;
mod settle;
mod stop;
mod streaming;
mod support;
mod token;
