//! What others see of the API: the built binary over real sockets, on Lambda's edge and on a local port, against the
//! stand-ins.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]

mod bad_input;
mod crashes;
mod executions;
mod fires;
mod frontend;
mod hooks;
mod local_port;
#[path = "../../../examples/local/next_run.rs"]
mod next_run;
mod openapi;
mod reports;
mod request_counts;
mod s0;
mod saves;
mod schedules;
mod strangers;
mod support;
mod tokens;
mod triggers;
mod two_hours;
