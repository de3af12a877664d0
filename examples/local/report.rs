//! The output of the local run.

use std::io::Write;
use std::path::Path;

use agent_trigger::store::execution_item as record;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::Value;
use standins::{Outcome, Stack};

/// The least width of the last column, the prose. If it gets less, all columns are wrapped.
const LEAST_FOR_PROSE: u16 = 20;

/// The purpose of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A scheduled fire.
    Fire,
    /// Any other event.
    Event,
    /// One of several triggers that an event started.
    Dispatched,
    /// The end of an execution, announced on the event bus.
    End,
    /// What keeps a detached run going: a look, a report or a cancellation.
    Behind,
}

/// An invocation and its outcome.
pub(crate) struct Delivery {
    pub(crate) what: What,
    pub(crate) label: String,
    pub(crate) outcome: Outcome,
    /// The number of agent calls in it, if known.
    pub(crate) calls: Option<usize>,
}

impl Delivery {
    /// Returns true if it is the announcement of an end to which no trigger reacted.
    fn is_of_no_concern(&self) -> bool {
        let body = self.outcome.body();
        let nothing = ["disabled", "tooDeep", "waiting", "dispatched"].iter().all(|name| body[*name] == 0);
        self.what == What::Behind || self.what == What::End && self.outcome.is_success() && nothing
    }
}

/// Prints a line, and does not fail if the reader has gone.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Returns a path as one that leads there from the current folder.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

/// Returns every execution in the table, in the order in which they started.
pub(crate) fn executions_of(stack: &Stack) -> Vec<Value> {
    let mut executions = stack.dynamodb.scan();
    executions.retain(|row| row["SK"].as_str().is_some_and(|sk| sk.starts_with("EXECUTION#")));
    executions.sort_by_cached_key(|row| (text(&row[record::STARTED_AT]), row[record::CHAIN_DEPTH].as_u64()));
    executions
}

/// Returns the terminal's width, or 100 columns where there is no terminal.
fn width() -> u16 {
    console::Term::stdout().size_checked().map_or(100, |(_, columns)| columns.max(80))
}

/// Builds a table of at most that width. Returns it, and whether its last column, the prose, is wide enough.
fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> (Table, bool) {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(width());
    table.set_header(header).add_rows(rows);
    let widths = table.column_max_content_widths();
    let borders = u16::try_from(3 * widths.len() + 1).unwrap_or(u16::MAX);
    let others: u16 = widths.iter().rev().skip(1).sum();
    let is_wide_enough = others.saturating_add(borders).saturating_add(LEAST_FOR_PROSE) <= width();
    if is_wide_enough {
        // Only the prose is wrapped.
        for column in table.column_iter_mut().rev().skip(1) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    (table, is_wide_enough)
}

/// A column: its name, whether it is needed, and its content for a row.
type Column<'a> = (&'a str, bool, &'a dyn Fn(&Value) -> String);

/// Builds the table of executions. A column that not every run needs is shown if some row has content for it and there
/// is room.
pub(crate) fn executions(executions: &[Value]) -> Table {
    let has = |name: &str| executions.iter().any(|row| !row[name].is_null());
    let is_chain = has(record::FOLLOWS) || has(record::REPLAY_OF);
    let is_retried = executions.iter().any(|row| row[record::ATTEMPT].as_u64() > Some(1));
    // These columns are left out first if there is no room.
    let (started, tokens_used, took) = ("Started", "Tokens\nin / out", "Took");
    let columns: [Column<'_>; 8] = [
        ("Trigger", true, &|row| text(&row[record::TRIGGER_ID])),
        ("Follows", is_chain, &|row| follows(row, executions)),
        ("Depth", has(record::CHAIN_DEPTH), &|row| row[record::CHAIN_DEPTH].as_u64().unwrap_or_default().to_string()),
        ("Status", true, &|row| text(&row[record::STATUS])),
        // To the second; all times are UTC.
        (started, !is_chain, &|row| text(&row[record::STARTED_AT]).chars().skip(11).take(8).collect()),
        (took, true, &|row| {
            row[record::DURATION_MS].as_f64().map_or_else(|| "-".to_owned(), |ms| format!("{:.1} s", ms / 1000.0))
        }),
        (tokens_used, has(record::USAGE), &tokens),
        ("Attempt", is_retried, &|row| text(&row[record::ATTEMPT])),
    ];
    let without = |left_out: &[&str]| {
        let columns = columns.iter().filter(|(name, is_shown, _)| *is_shown && !left_out.contains(name));
        let columns: Vec<_> = columns.collect();
        let header: Vec<_> = columns.iter().map(|(name, ..)| *name).chain(["Answer or error"]).collect();
        let cells = |row: &Value| columns.iter().map(|(.., cell)| cell(row)).chain([said(row)]).collect();
        table(&header, executions.iter().map(cells))
    };
    let all = [started, tokens_used, took];
    let narrower = (0..=all.len()).map(|left_out| without(&all[..left_out]));
    let found = narrower.into_iter().find(|(_, is_wide_enough)| *is_wide_enough);
    found.unwrap_or_else(|| without(&[])).0
}

/// Returns what an execution followed: the trigger of another execution, or its own trigger if it is a replay.
fn follows(row: &Value, executions: &[Value]) -> String {
    if !row[record::REPLAY_OF].is_null() {
        return "a replay".to_owned();
    }
    let followed = executions.iter().find(|other| other[record::EXECUTION_ID] == row[record::FOLLOWS]);
    followed.map_or_else(|| text(&row[record::FOLLOWS]), |followed| text(&followed[record::TRIGGER_ID]))
}

fn tokens(row: &Value) -> String {
    let usage = |name: &str| row[record::USAGE][name].as_i64().map_or_else(|| "-".to_owned(), |n| n.to_string());
    if !row[record::USAGE].is_object() {
        return "-".to_owned();
    }
    format!("{} / {}", usage(record::INPUT_TOKENS), usage(record::OUTPUT_TOKENS))
}

/// Returns the answer, or the reason why there is none.
fn said(row: &Value) -> String {
    match (row[record::ERROR_TYPE].as_str(), row[record::SKIP_REASON].as_str()) {
        (Some(kind), _) => format!("{kind}: {}", row[record::ERROR].as_str().unwrap_or_default()),
        (None, Some("ChainTooDeep")) => {
            let limit = row[record::CHAIN_DEPTH].as_u64().map_or(0, |depth| depth.saturating_sub(1));
            format!("ChainTooDeep: CHAIN_DEPTH_LIMIT is {limit}")
        }
        (None, Some(reason)) => reason.to_owned(),
        (None, None) => text(&row[record::OUTPUT]),
    }
}

/// Builds the table of what Lambda got back from each invocation.
pub(crate) fn outcomes(deliveries: &[Delivery]) -> Table {
    let header = ["Event", "Lambda got", "Agent\ncalled", "In detail"];
    let row = |Delivery { what, label, outcome, calls }: &Delivery| {
        let body = outcome.body();
        let whose = match what {
            What::Event | What::End => format!("{}: ", text(&body["triggerId"])),
            What::Fire | What::Dispatched | What::Behind => String::new(),
        };
        let (got, detail) = match outcome {
            Outcome::Success(_) if body["duplicate"] == true => {
                let status = text(&body["status"]);
                ("success, duplicate".to_owned(), format!("{whose}already {status}, did not run again"))
            }
            Outcome::Success(_) if body["subscriptions"].is_u64() => ("success".to_owned(), summary(&body)),
            Outcome::Success(_) if body["detached"] == true => {
                let id = text(&body["executionId"]);
                ("success, detached".to_owned(), format!("{whose}the agent works on, execution {id}"))
            }
            Outcome::Success(_) => {
                let reason = body["skipReason"].as_str().map_or_else(String::new, |reason| format!("{reason}, "));
                ("success".to_owned(), format!("{whose}{reason}execution {}", text(&body["executionId"])))
            }
            Outcome::FunctionError { error_type, error_message, .. } => {
                let message = body["message"].as_str().map_or_else(|| error_message.clone(), str::to_owned);
                let again = if body["retryable"] == true { "Lambda may retry" } else { "final" };
                let whose = if body["triggerId"].is_null() { String::new() } else { whose };
                (format!("error {error_type}"), format!("{whose}{message} ({again})"))
            }
            Outcome::Died => ("nothing".to_owned(), "the process ended".to_owned()),
            Outcome::TimedOut => ("nothing".to_owned(), "the deadline passed".to_owned()),
        };
        let calls = match calls {
            None => "not counted".to_owned(),
            Some(0) => "no".to_owned(),
            Some(1) => "once".to_owned(),
            Some(n) => format!("{n} times"),
        };
        vec![label.clone(), got, calls, detail]
    };
    table(&header, deliveries.iter().filter(|delivery| !delivery.is_of_no_concern()).map(row)).0
}

/// Formats the function's own count of the triggers that are subscribed to an event.
fn summary(body: &Value) -> String {
    let count = |name: &str| body[name].as_u64().unwrap_or_default();
    let subscriptions = count("subscriptions");
    if subscriptions == 0 {
        return format!("no trigger is subscribed to {}", text(&body["eventSourceId"]));
    }
    let (filtered, s) = (count("filtered"), if subscriptions == 1 { "" } else { "s" });
    let mut said =
        format!("{subscriptions} subscription{s}: {filtered} filtered, {} matched", subscriptions - filtered);
    for (name, word) in [
        ("disabled", "disabled"),
        ("tooDeep", "too deep in a chain"),
        ("waiting", "below its threshold"),
        ("dispatched", "dispatched"),
    ] {
        if count(name) > 0 {
            said.push_str(&format!(", {} {word}", count(name)));
        }
    }
    said
}

/// Returns one line on how an event was handled, unless an execution shows it.
pub(crate) fn dealt_with(outcome: &Outcome) -> Option<String> {
    let body = outcome.body();
    match outcome {
        Outcome::Success(_) if body["duplicate"] == true => {
            Some(format!("duplicate, already {}", text(&body["status"])))
        }
        Outcome::Success(_) if body["subscriptions"].is_u64() => Some(summary(&body)),
        Outcome::FunctionError { error_type, .. } if body["executionId"].is_null() => Some(error_type.clone()),
        Outcome::Success(_) | Outcome::FunctionError { .. } => None,
        Outcome::Died => Some("the process ended".to_owned()),
        Outcome::TimedOut => Some("the deadline passed".to_owned()),
    }
}

/// Returns how many ends were announced, if any event was not a scheduled fire.
pub(crate) fn announced(deliveries: &[Delivery]) -> Option<String> {
    let ends: Vec<_> = deliveries.iter().filter(|delivery| delivery.what == What::End).collect();
    let concerned = ends.iter().filter(|delivery| !delivery.is_of_no_concern()).count();
    if concerned == 0 && deliveries.iter().all(|delivery| delivery.what != What::Event) {
        return None;
    }
    let concerned = if concerned == 0 { "none".to_owned() } else { concerned.to_string() };
    let s = if ends.len() == 1 { "" } else { "s" };
    Some(format!(
        "\nAnnounced on the event bus: {} end{s}, {concerned} of which a trigger is subscribed to.",
        ends.len()
    ))
}

/// Returns one line on an execution that has ended.
pub(crate) fn ended(row: &Value) -> String {
    let said = said(row).replace('\n', "; ");
    format!(
        "{}  {}  {}  {said}",
        text(&row[record::COMPLETED_AT]),
        text(&row[record::TRIGGER_ID]),
        text(&row[record::STATUS])
    )
}

/// Formats a value for a reader: strings without quotes, nothing for null.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
