//! One execution in full: every attribute of its row, under the name that docs/records.md explains.

use agent_trigger::store::execution_item as record;
use serde_json::Value;

use crate::execution::{Execution, State};
use crate::words::{self, View};

/// The groups of attributes that belong together. An attribute of a later version is in none of them and comes last.
const GROUPS: [(&str, &[&str]); 8] = [
    (
        "What ran",
        &[
            record::TRIGGER_ID,
            record::EXECUTION_ID,
            record::USER_ID,
            record::AGENT_ID,
            record::SESSION_ID,
            record::SETTINGS_HASH,
            record::TRIGGER_VERSION,
            record::FUNCTION_VERSION,
        ],
    ),
    (
        "What fired it",
        &[
            record::SCHEDULED_TIME,
            record::SOURCE,
            record::DETAIL_TYPE,
            record::EVENT_SOURCE_ID,
            record::EVENT_ID,
            record::EVENT_TIME,
            record::CHAIN_DEPTH,
            record::FOLLOWS,
            record::REPLAY_OF,
        ],
    ),
    (
        "When",
        &[
            record::STARTED_AT,
            record::COMPLETED_AT,
            record::DURATION_MS,
            record::FIRST_EVENT_MS,
            record::LAST_EVENT_AT,
            record::TTL,
        ],
    ),
    (
        "Result",
        &[
            record::STATUS,
            record::FINISH_REASON,
            record::PROTOCOL,
            record::SKIP_REASON,
            record::OVERLAPS,
            record::OVERLAP_LIMIT,
            record::RETRYABLE,
            record::REQUEST_ID,
            record::CANCEL_REQUESTED,
            record::STOP_REQUESTED,
            record::STOP_CONFIRMED,
        ],
    ),
    ("Error", &[record::ERROR_TYPE, record::ERROR]),
    ("Output", &[record::OUTPUT_TRUNCATED, record::OUTPUT]),
    ("Usage", &[record::USAGE, record::EVENTS, record::BYTES, record::SKIPPED_EVENTS, record::TOOL_USES]),
    ("Who worked on it", &[record::ATTEMPT, record::OWNER, record::LEASE_UNTIL, record::LAMBDA_REQUEST_ID]),
];
const LAST_GROUPS: [(&str, &[&str]); 2] = [("Trace", &[record::TRACE_ID, record::TRACEPARENT]), ("Key", &["PK", "SK"])];

const INDENT: &str = "  ";
/// The width of `usage.cacheWriteInputTokens`.
const NAMES: usize = 27;

/// Returns an execution as lines. `input` is present if the input for a replay is kept; it holds the time at which that
/// input expires, if the item has one.
pub(crate) fn lines(execution: &Execution, input: Option<Option<i64>>, view: View) -> Vec<String> {
    let state = execution.state(view.now);
    let title = format!("{} {}", state.symbol(), state.word());
    let why = words::one_line(&execution.why(view.now));
    let mut lines = vec![format!("{}  {why}", view.paint(&state.style(), &title)).trim_end().to_owned()];
    lines.extend(remarks(execution, state, view.now).into_iter().flat_map(|remark| words::wrap(&remark, view.width)));

    let mut rest = execution.row.clone();
    let mut group = |name: &str, attributes: Vec<(String, Value)>| {
        let mut shown: Vec<String> = attributes.iter().flat_map(|(name, value)| attribute(name, value, view)).collect();
        if name == "What ran" {
            shown.extend(input.map(|until| kept(until, view)));
        }
        if !shown.is_empty() {
            lines.extend([String::new(), view.bold(name)]);
            lines.append(&mut shown);
        }
    };
    let mut take = |names: &[&str]| -> Vec<_> { names.iter().filter_map(|name| rest.remove_entry(*name)).collect() };
    for (name, attributes) in GROUPS.iter().chain(&LAST_GROUPS) {
        group(name, take(attributes));
    }
    group("Further attributes", rest.into_iter().collect());
    lines
}

/// Returns remarks that the attributes alone do not make clear.
fn remarks(execution: &Execution, state: State, now: i64) -> Vec<String> {
    match state {
        State::Running => vec![format!("Running for {}: {}.", running_for(execution, now), execution.progress(now))],
        State::Stale => vec![
            "Its attempt died: nobody extends its lease. Lambda's retry a minute later, or its report of the failure, \
             ends it as Interrupted."
                .to_owned(),
        ],
        State::Failed if execution.item.retryable == Some(true) => vec!["A Lambda retry is still to come.".to_owned()],
        _ => Vec::new(),
    }
}

fn running_for(execution: &Execution, now: i64) -> String {
    execution.duration(now).map_or_else(|| "an unknown time".to_owned(), words::duration)
}

fn kept(until: Option<i64>, view: View) -> String {
    let until =
        until.map(|seconds| format!(" until {}", words::rfc3339(seconds.saturating_mul(1000)))).unwrap_or_default();
    let text = format!("kept{until} for a replay, prompt included; not shown here");
    labelled("its input", &text, view)
}

/// Returns an attribute as one line, as several lines if it is a map, or as a block if it is prose.
fn attribute(name: &str, value: &Value, view: View) -> Vec<String> {
    match value {
        Value::Object(map) => {
            map.iter().flat_map(|(inner, value)| attribute(&format!("{name}.{inner}"), value, view)).collect()
        }
        Value::String(text) if matches!(name, record::ERROR | record::OUTPUT) => {
            let width = view.width.saturating_sub(INDENT.len());
            words::wrap(&words::harmless(text), width).into_iter().map(|line| format!("{INDENT}{line}")).collect()
        }
        _ => {
            let text = match meaning(name, value, view.now) {
                Some(meaning) => format!("{}  ({meaning})", words::text(value)),
                None => words::text(value),
            };
            let width = view.width.saturating_sub(INDENT.len() + NAMES + 1);
            let mut rows = words::wrap(&words::one_line(&text), width).into_iter();
            let mut lines = vec![labelled(name, &rows.next().unwrap_or_default(), view)];
            lines.extend(rows.map(|row| format!("{INDENT}{}{row}", " ".repeat(NAMES + 1))));
            lines
        }
    }
}

fn labelled(name: &str, text: &str, view: View) -> String {
    let name = words::pad(&words::shorten(&words::one_line(name), NAMES), NAMES);
    format!("{INDENT}{} {text}", view.dim(&name)).trim_end().to_owned()
}

/// Explains a bare number or time.
fn meaning(name: &str, value: &Value, now: i64) -> Option<String> {
    match name {
        record::DURATION_MS | record::FIRST_EVENT_MS => {
            value.as_i64().filter(|millis| *millis >= 1000).map(words::duration)
        }
        record::BYTES => {
            value.as_u64().filter(|bytes| *bytes >= 1024).map(|bytes| indicatif::HumanBytes(bytes).to_string())
        }
        record::TTL => value.as_i64().map(|seconds| at(seconds.saturating_mul(1000), now)),
        record::LEASE_UNTIL => value.as_i64().map(|millis| at(millis, now)),
        record::STARTED_AT
        | record::COMPLETED_AT
        | record::LAST_EVENT_AT
        | record::SCHEDULED_TIME
        | record::EVENT_TIME => value.as_str().and_then(words::parse_time).map(|millis| words::distance(millis, now)),
        _ => None,
    }
}

fn at(millis: i64, now: i64) -> String {
    format!("{}, {}", words::rfc3339(millis), words::distance(millis, now))
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;
    use serde_json::json;

    use super::*;
    use crate::execution::tests::{NOW, execution};

    const VIEW: View = View { now: NOW, width: 100, colours: false };

    #[test]
    fn every_attribute_is_shown_in_its_group() {
        let failed = execution(json!({
            "PK": "TRIGGER#nightly", "SK": "EXECUTION#019aa301", "triggerId": "nightly", "executionId": "019aa301",
            "userId": "user-1", "agentId": "agent-1", "status": "failed", "startedAt": "2026-11-21T02:00:00.000Z",
            "completedAt": "2026-11-21T02:01:12.400Z", "durationMs": 72_400, "ttl": NOW / 1000 + 2_592_000,
            "protocol": "a2a", "finishReason": "max_tokens",
            "errorType": "AgentFailed", "error": "the agent reported an error\n{\"message\": \"no such bucket\"}",
            "retryable": false, "usage": {"inputTokens": 12, "outputTokens": 3}, "bytes": 2048, "events": 7,
            "attempt": 1, "owner": "me", "leaseUntil": NOW - 3_600_000, "chainDepth": 2, "follows": "019aa300",
            "traceId": "1-abc", "colour": "blue"}));
        let expected = "\
✗ failed  AgentFailed

What ran
  triggerId                   nightly
  executionId                 019aa301
  userId                      user-1
  agentId                     agent-1
  its input                   kept until 2026-12-21T02:42:00Z for a replay, prompt included; not shown here

What fired it
  chainDepth                  2
  follows                     019aa300

When
  startedAt                   2026-11-21T02:00:00.000Z (42m ago)
  completedAt                 2026-11-21T02:01:12.400Z (40m ago)
  durationMs                  72400 (1m12s)
  ttl                         1797820920 (2026-12-21T02:42:00Z, in 30d)

Result
  status                      failed
  finishReason                max_tokens
  protocol                    a2a
  retryable                   false

Error
  errorType                   AgentFailed
  the agent reported an error
  {\"message\": \"no such bucket\"}

Usage
  usage.inputTokens           12
  usage.outputTokens          3
  events                      7
  bytes                       2048 (2.00 KiB)

Who worked on it
  attempt                     1
  owner                       me
  leaseUntil                  1795225320000 (2026-11-21T01:42:00Z, 1h ago)

Trace
  traceId                     1-abc

Key
  PK                          TRIGGER#nightly
  SK                          EXECUTION#019aa301

Further attributes
  colour                      blue";
        assert_eq!(lines(&failed, Some(Some(NOW / 1000 + 2_592_000)), VIEW).join("\n"), expected);
    }

    #[test]
    fn what_nobody_works_on_says_what_becomes_of_it() {
        let running = |lease| {
            execution(json!({"status": "running", "leaseUntil": lease, "startedAt": "2026-11-21T02:40:00.000Z"}))
        };
        let stale = lines(&running(NOW - 60_000), None, VIEW);
        assert_eq!(stale[0], "! stale  lease over 1m");
        assert!(stale[1].starts_with("Its attempt died"), "{stale:?}");
        let live = lines(&running(NOW + 60_000), None, VIEW);
        assert_eq!(live[..2], ["▸ running", "Running for 2m00s: nothing heard from the agent yet."]);
    }

    #[test]
    fn no_time_of_a_record_overflows() {
        let row = json!({"status": "completed", "ttl": i64::MAX, "leaseUntil": i64::MIN, "durationMs": i64::MAX});
        let drawn = lines(&execution(row), Some(Some(i64::MAX)), VIEW).join("\n");
        assert!(drawn.contains("kept until") && drawn.contains("9223372036854775807 ("), "{drawn}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_or_steers_it() {
        let long = "答えは\u{1b}[2J ".repeat(80);
        let row =
            json!({"status": "completed", "output": long, "error": long, "agentId": long, long.clone(): {"x": long}});
        for line in lines(&execution(row), Some(None), VIEW) {
            assert!(measure_text_width(&line) <= 100, "{line}");
            assert!(!line.contains('\u{1b}'));
        }
    }
}
