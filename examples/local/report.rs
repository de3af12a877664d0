//! What the local run prints.

use std::io::Write;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::Value;
use standins::Outcome;

/// Prints a line, and does not mind if nobody reads it any more.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A table as wide as the terminal, or 120 columns where there is none.
fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let width = console::Term::stdout().size_checked().map_or(120, |(_, columns)| columns.max(80));
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.set_header(header).add_rows(rows);
    // Only the last column, the prose, is wrapped, where that leaves it room.
    let skipped = if width < 115 { header.len() } else { 1 };
    for column in table.column_iter_mut().rev().skip(skipped) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}

/// The executions as they stand in the table.
pub(crate) fn executions(executions: &[Value]) -> Table {
    let header = ["Trigger", "Status", "Started", "Duration", "Tokens in / out", "Attempt", "Answer or error"];
    table(
        &header,
        executions.iter().map(|e| {
            let usage = |name: &str| e["usage"][name].as_i64().map_or_else(|| "-".to_owned(), |n| n.to_string());
            let tokens = if e["usage"].is_object() {
                format!("{} / {}", usage("inputTokens"), usage("outputTokens"))
            } else {
                "-".to_owned()
            };
            let said = match (e["errorType"].as_str(), e["error"].as_str()) {
                (Some(kind), error) => format!("{kind}: {}", error.unwrap_or_default()),
                (None, _) => text(&e["output"]),
            };
            // To the second; times are UTC throughout.
            let started = text(&e["startedAt"]).chars().take(19).collect::<String>().replace('T', " ");
            let duration =
                e["durationMs"].as_f64().map_or_else(|| "-".to_owned(), |ms| format!("{:.1} s", ms / 1000.0));
            vec![text(&e["triggerId"]), text(&e["status"]), started, duration, tokens, text(&e["attempt"]), said]
        }),
    )
}

/// What Lambda got back for each event, and how often the agent was called if that is known.
pub(crate) fn outcomes<'a>(outcomes: impl IntoIterator<Item = (&'a str, &'a Outcome, Option<usize>)>) -> Table {
    let header = ["Event", "Lambda got", "Agent called", "In detail"];
    let row = |(event, outcome, calls): (&str, &Outcome, Option<usize>)| {
        let body = outcome.body();
        let (got, detail) = match outcome {
            Outcome::Success(_) if body["duplicate"] == true => {
                ("success, duplicate".to_owned(), format!("already {}, did not run again", text(&body["status"])))
            }
            Outcome::Success(_) => ("success".to_owned(), format!("execution {}", text(&body["executionId"]))),
            Outcome::FunctionError { error_type, error_message, .. } => {
                let message = body["message"].as_str().map_or_else(|| error_message.clone(), str::to_owned);
                let again = if body["retryable"] == true { "Lambda may retry" } else { "final" };
                (format!("error {error_type}"), format!("{message} ({again})"))
            }
            Outcome::Died => ("nothing".to_owned(), "the process ended".to_owned()),
            Outcome::TimedOut => ("nothing".to_owned(), "the deadline passed".to_owned()),
        };
        let calls = match calls {
            None => "-".to_owned(),
            Some(0) => "no".to_owned(),
            Some(1) => "once".to_owned(),
            Some(n) => format!("{n} times"),
        };
        vec![event.to_owned(), got, calls, detail]
    };
    table(&header, outcomes.into_iter().map(row))
}

/// One line on an execution that has ended.
pub(crate) fn ended(e: &Value) -> String {
    let said =
        e["errorType"].as_str().map_or_else(|| text(&e["output"]), |kind| format!("{kind}: {}", text(&e["error"])));
    let said = said.replace('\n', "; ");
    format!("{}  {}  {}  {said}", text(&e["completedAt"]), text(&e["triggerId"]), text(&e["status"]))
}

/// A value as a reader wants it: strings without quotes, nothing for null.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
