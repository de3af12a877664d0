//! Schedules against what others say about them: AWS's printed examples, every zone's changes, and croner.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]

mod aws_examples;
mod book;
mod croner_oracle;
mod zones;

use agent_trigger_api::schedules::schedule::Schedule;
use jiff::Timestamp;
use serde_json::json;

/// Returns a schedule without a start or an end.
fn schedule(expression: &str, zone: &str) -> Schedule {
    let config = json!({"expression": expression, "timezone": zone});
    Schedule::read(config.as_object().unwrap()).unwrap_or_else(|problems| panic!("{expression}: {problems:?}"))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Returns the first runs after `after`.
fn runs(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(expression, zone);
    schedule.runs_after(at(after), at(after)).take(count).map(|run| run.to_string()).collect()
}
