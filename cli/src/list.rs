//! Executions as a list of two lines each. The second line has the id and the details.

use std::collections::HashMap;

use serde_json::Value;

use crate::called;
use crate::execution::{Execution, State};
use crate::words::{self, View};

const GAP: &str = "  ";
/// The width of `✗ cancelled`.
const STATUS: usize = 11;
/// The width of `11-21 02:00:00`.
const STARTED: usize = 14;
/// The greatest width of [`words::duration`].
const DURATION: usize = 6;
const SHORTEST_BAR: usize = 10;
const LONGEST_BAR: usize = 40;
/// The width of `AuthenticationFailed`. Only a later version can have a longer one.
const LONGEST_WHY: usize = 20;

/// The least width of a list: its columns need it.
const WIDTH: usize = 100;

/// Returns executions as lines that are no wider than the view, or than [`WIDTH`]. `one_trigger` is true if all belong
/// to one trigger that is already named.
pub(crate) fn lines(executions: &[Execution], one_trigger: bool, view: View) -> Vec<String> {
    let view = View { width: view.width.max(WIDTH), ..view };
    let triggers: HashMap<&str, &str> = executions.iter().map(|e| (e.id(), e.trigger())).collect();
    let columns = Columns::of(executions, one_trigger, view);
    let longest = executions.iter().filter_map(|e| e.duration(view.now)).max().unwrap_or_default();
    let mut lines = vec![view.dim(&columns.header())];
    for execution in executions {
        let (status, rest) = columns.first(execution, longest, view.now);
        lines.push(format!("{}{rest}", view.paint(&execution.state(view.now).style(), &status)));
        let second = format!("{GAP}{}{GAP}{}", words::one_line(execution.id()), story(execution, &triggers, view.now));
        lines.push(view.dim(&words::cut(&second, view.width)));
    }
    lines
}

/// The widths of the columns that depend on their content.
struct Columns {
    why: usize,
    trigger: Option<usize>,
    bar: usize,
    tokens: usize,
}

impl Columns {
    fn of(executions: &[Execution], one_trigger: bool, view: View) -> Self {
        let widest = |header: &str, cell: &dyn Fn(&Execution) -> String| {
            executions.iter().map(|e| console::measure_text_width(&cell(e))).max().unwrap_or(0).max(header.len())
        };
        let why = widest("WHY", &|e| why(e, view.now));
        let tokens = widest("TOKENS", &tokens);
        let fixed = STATUS + why + STARTED + DURATION + 1 + tokens + 4 * GAP.len();
        let left = view.width.saturating_sub(fixed);
        let trigger = (!one_trigger).then(|| {
            let most = left.saturating_sub(GAP.len() + SHORTEST_BAR).max("TRIGGER".len());
            widest("TRIGGER", &|e| words::one_line(e.trigger())).min(most)
        });
        let bar = left.saturating_sub(trigger.map_or(0, |width| width + GAP.len())).min(LONGEST_BAR);
        Self { why, trigger, bar, tokens }
    }

    fn header(&self) -> String {
        let trigger = self.trigger.map(|width| words::pad("TRIGGER", width) + GAP).unwrap_or_default();
        let duration = words::pad("DURATION", DURATION + 1 + self.bar);
        let header = [words::pad("STATUS", STATUS), words::pad("WHY", self.why), words::pad("STARTED (UTC)", STARTED)];
        format!("{}{GAP}{trigger}{duration}{GAP}TOKENS", header.join(GAP))
    }

    /// Returns the status, which the caller paints, and the rest of the first line.
    fn first(&self, execution: &Execution, longest: i64, now: i64) -> (String, String) {
        let state = execution.state(now);
        let status = words::pad(&format!("{} {}", state.symbol(), state.word()), STATUS);
        let why = words::pad(&why(execution, now), self.why);
        let started = execution.started_at().map(|at| words::moment(at, now)).unwrap_or_default();
        let started = words::pad(&started, STARTED);
        let trigger = self
            .trigger
            .map(|width| words::pad(&words::shorten(&words::one_line(execution.trigger()), width), width) + GAP);
        let (duration, bar) = execution.duration(now).map_or_else(
            || ("-".to_owned(), String::new()),
            |millis| (words::duration(millis), bar(millis, longest, self.bar)),
        );
        let bar = words::pad(&bar, self.bar);
        let trigger = trigger.unwrap_or_default();
        let tokens = words::pad(&tokens(execution), self.tokens);
        let rest = format!("{GAP}{why}{GAP}{started}{GAP}{trigger}{duration:>DURATION$} {bar}{GAP}{tokens}");
        (status, rest.trim_end().to_owned())
    }
}

fn why(execution: &Execution, now: i64) -> String {
    words::cut(&words::one_line(&execution.why(now)), LONGEST_WHY)
}

fn tokens(execution: &Execution) -> String {
    let short = |tokens: Option<u64>| {
        let tokens = tokens.and_then(|tokens| i64::try_from(tokens).ok());
        tokens.map_or_else(|| "-".to_owned(), words::short)
    };
    match &execution.item.usage {
        Some(usage) => format!("{} / {}", short(usage.input_tokens), short(usage.output_tokens)),
        None => "-".to_owned(),
    }
}

/// Draws a bar in eighths of a column, `width` long for the longest duration. Any duration above zero is visible.
fn bar(millis: i64, longest: i64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let whole = i128::try_from(width * 8).unwrap_or_default();
    let length = i128::from(millis) * whole / i128::from(longest.max(1));
    let length = usize::try_from(length).unwrap_or_default().max(usize::from(millis > 0));
    "█".repeat(length / 8) + EIGHTHS[length % 8]
}

/// Returns the details of an execution, the short ones first.
fn story(execution: &Execution, triggers: &HashMap<&str, &str>, now: i64) -> String {
    // If the other execution's trigger is shown, its name says more than the execution's id.
    let named = |id: &str| {
        let tail: String = id.chars().skip(id.chars().count().saturating_sub(12)).collect();
        triggers.get(id).map_or_else(|| format!("…{tail}"), |trigger| format!("{trigger} …{tail}"))
    };
    let mut parts = Vec::new();
    let item = &execution.item;
    if let Some(attempt) = item.attempt.filter(|attempt| *attempt > 1) {
        parts.push(format!("attempt {attempt}"));
    }
    for (what, other) in [("follows", &item.follows), ("replay of", &item.replay_of), ("overlaps", &item.overlaps)] {
        parts.extend(other.as_ref().map(|id| format!("{what} {}", named(id))));
    }
    if let Some(depth) = item.chain_depth.filter(|depth| *depth > 1) {
        parts.push(format!("chain depth {depth}"));
    }
    match execution.state(now) {
        State::Running | State::Stale => parts.push(execution.progress(now)),
        State::Completed => parts.push(match &item.output {
            Some(output) => output.clone(),
            // Lists of a control plane leave the answer out.
            None if execution.row.get("hasOutput") == Some(&Value::Bool(true)) => {
                format!("answered; the answer: {} show EXECUTION", called::name())
            }
            None => "no answer".to_owned(),
        }),
        State::Failed => {
            if item.retryable == Some(true) {
                parts.push("a retry is to come".to_owned());
            }
            parts.extend(item.error.as_ref().map(|error| error.replace('\n', "; ")));
        }
        State::Cancelled if item.stop_confirmed == Some(true) => {
            parts.push("the agent's session is stopped".to_owned())
        }
        State::Cancelled if item.duration_ms.is_some() => {
            parts.push("the agent may still be at work".to_owned());
        }
        State::Skipped => parts.extend(meaning(item.skip_reason.as_deref(), item.overlap_limit)),
        State::Cancelled | State::Unknown => {}
    }
    words::one_line(&parts.join(" · "))
}

/// Explains a reason to skip. `limit` is the number of executions that may run at once, if the policy names it.
pub(crate) fn meaning(skip_reason: Option<&str>, limit: Option<u32>) -> Option<String> {
    let words = match skip_reason? {
        "Overlap" if let Some(limit) = limit => {
            return Some(format!("{limit} of {limit} executions of the trigger were running"));
        }
        "Disabled" => "the trigger is switched off",
        "Paused" => "the trigger is paused because it failed too often",
        "Deleted" => "the trigger was deleted",
        "Overlap" => "another execution of the trigger was running",
        "MaxRunsPerDay" => "the trigger has used up its runs of the day",
        "MaxTokensPerDay" => "the trigger has used up its tokens of the day",
        "ChainTooDeep" => "too many executions led to it",
        _ => return None,
    };
    Some(words.to_owned())
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;
    use serde_json::json;

    use super::*;
    use crate::execution::tests::{NOW, execution};

    fn rows() -> Vec<Execution> {
        let row = |id: u8, trigger: &str, status: &str, started: &str, more: Value| {
            let mut row = json!({"executionId": format!("019aa3{id:02}-7c00-7d10-9b52-5f0e6a3c{id:04}"),
                "triggerId": trigger, "status": status, "startedAt": format!("2026-11-21T{started}.000Z")});
            for (name, value) in more.as_object().into_iter().flatten() {
                row[name] = value.clone();
            }
            execution(row)
        };
        vec![
            row(
                5,
                "invoices",
                "running",
                "02:40:00",
                json!({"leaseUntil": NOW + 20_000, "events": 412,
                "bytes": 1_258_291, "lastEventAt": "2026-11-21T02:41:57.000Z",
                "usage": {"inputTokens": 12_345, "outputTokens": 1_024}}),
            ),
            row(
                4,
                "summary",
                "completed",
                "02:10:42",
                json!({"durationMs": 42_000, "follows":
                "019aa302-7c00-7d10-9b52-5f0e6a3c0002", "output": "All\nis well.", "attempt": 2,
                "usage": {"inputTokens": 900, "outputTokens": 64}}),
            ),
            row(
                3,
                "reports",
                "failed",
                "02:10:00",
                json!({"durationMs": 840, "errorType": "AgentUnavailable",
                "error": "the agent answered 429", "retryable": true}),
            ),
            row(2, "nightly", "skipped", "02:00:00", json!({"skipReason": "Disabled"})),
            row(1, "imports", "running", "01:00:00", json!({"leaseUntil": NOW - 3_600_000})),
            row(0, "exports", "cancelled", "00:30:00", json!({"durationMs": 30_000, "stopConfirmed": true})),
        ]
    }

    fn view(width: usize) -> View {
        View { now: NOW, width, colours: false }
    }

    #[test]
    fn executions_are_told_apart_without_colours() {
        let expected = "\
STATUS       WHY               STARTED (UTC)   TRIGGER   DURATION                       TOKENS
▸ running                      11-21 02:40:00  invoices   2m00s ██████████████████████  12.3k / 1.0k
  019aa305-7c00-7d10-9b52-5f0e6a3c0005  412 events, 1.20 MiB, last heard 3s ago
✓ completed                    11-21 02:10:42  summary    42.0s ███████▋                900 / 64
  019aa304-7c00-7d10-9b52-5f0e6a3c0004  attempt 2 · follows nightly …5f0e6a3c0002 · All is well.
✗ failed     AgentUnavailable  11-21 02:10:00  reports    840ms ▏                       -
  019aa303-7c00-7d10-9b52-5f0e6a3c0003  a retry is to come · the agent answered 429
– skipped    Disabled          11-21 02:00:00  nightly        -                         -
  019aa302-7c00-7d10-9b52-5f0e6a3c0002  the trigger is switched off
! stale      lease over 1h     11-21 01:00:00  imports        -                         -
  019aa301-7c00-7d10-9b52-5f0e6a3c0001  nothing heard from the agent yet
■ cancelled                    11-21 00:30:00  exports    30.0s █████▌                  -
  019aa300-7c00-7d10-9b52-5f0e6a3c0000  the agent's session is stopped";
        assert_eq!(lines(&rows(), false, view(100)).join("\n"), expected);
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let plain = lines(&rows(), false, view(100));
        let painted = lines(&rows(), false, View { colours: true, ..view(100) });
        assert!(painted.iter().all(|line| line.contains('\u{1b}')));
        let stripped: Vec<_> = painted.iter().map(|line| console::strip_ansi_codes(line)).collect();
        assert_eq!(stripped, plain);
    }

    #[test]
    fn the_trigger_is_not_said_again_where_there_is_only_one() {
        assert!(
            lines(&rows(), true, view(100)).iter().all(|line| !line.contains("TRIGGER") && !line.contains("invoices"))
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let long = |text: &str| Value::from(text.repeat(60));
        let lengthened = |Execution { mut row, .. }| {
            row.insert("triggerId".into(), long("nightly-"));
            row.insert("executionId".into(), long("\u{9b}2J\u{1b}[2J"));
            row.insert("errorType".into(), long("Error"));
            row.insert("skipReason".into(), long("理由"));
            row.insert("output".into(), long("答え "));
            row.insert("error".into(), long("\u{1b}[2J wrong "));
            row.insert("usage".into(), json!({"inputTokens": 123_456, "outputTokens": 999_999_999}));
            execution(row.into())
        };
        let rows: Vec<_> = rows().into_iter().map(lengthened).collect();
        for width in [80, 100, 101, 160, 400] {
            for one_trigger in [false, true] {
                for line in lines(&rows, one_trigger, view(width)) {
                    let columns = measure_text_width(&line);
                    assert!(columns <= width.max(WIDTH), "{columns} columns: {line}");
                    assert!(!line.contains(['\u{1b}', '\u{9b}']));
                }
            }
        }
    }

    #[test]
    fn an_answer_that_a_list_leaves_out_is_an_answer() {
        for (row, expected) in [
            (json!({"status": "completed", "hasOutput": true}), "answered; the answer: triggerctl show EXECUTION"),
            (json!({"status": "completed", "output": "Done."}), "Done."),
            (json!({"status": "completed"}), "no answer"),
        ] {
            assert_eq!(story(&execution(row), &HashMap::new(), NOW), expected);
        }
    }

    #[test]
    fn bars_are_scaled_to_the_longest() {
        assert_eq!(bar(100, 100, 4), "████");
        assert_eq!(bar(50, 100, 4), "██");
        assert_eq!(bar(13, 100, 4), "▌");
        assert_eq!(bar(1, 1_000_000, 4), "▏", "what took any time shows");
        assert_eq!(bar(0, 0, 4), "");
    }

    #[test]
    fn every_reason_to_skip_is_explained() {
        for reason in ["Disabled", "Paused", "Deleted", "Overlap", "MaxRunsPerDay", "MaxTokensPerDay", "ChainTooDeep"] {
            assert!(meaning(Some(reason), None).is_some());
        }
        assert_eq!(meaning(Some("Tired"), None), None);
        let full = meaning(Some("Overlap"), Some(3));
        assert_eq!(full.as_deref(), Some("3 of 3 executions of the trigger were running"));
    }
}
