//! The built program against the embedded DynamoDB and the other stand-ins, with a table and with a control plane.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]

mod fakes;
mod manage;
mod mistakes;
mod program;
mod surroundings;

use std::{process::Stdio, time::SystemTime};

use time::OffsetDateTime;
use tokio::process::Command;

/// Returns the program with these arguments and nothing of this process's environment.
fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triggerctl"));
    // It looks for the local run's file in the folder where it runs, so that must not be this repository.
    command.args(args).env_clear().env("AWS_EC2_METADATA_DISABLED", "true").current_dir("/");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Returns the present time in milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Formats a moment as RFC 3339 in UTC, to the millisecond.
fn rfc3339(millis: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).unwrap();
    let (date, time) = (at.date(), at.time());
    format!("{date}T{:02}:{:02}:{:02}.{:03}Z", time.hour(), time.minute(), time.second(), time.millisecond())
}
