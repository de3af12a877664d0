//! Shows what the agents are doing: a spinner for each on a terminal, a line for each change elsewhere.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use agent_trigger::store::execution_item as record;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use standins::{AgentRequest, Stack};

use crate::live::Live;
use crate::report::{executions_of, say, text};

/// An attempt at an execution.
type Attempt = (String, String, String);

/// The state of what has been shown so far.
pub(crate) struct Progress {
    bars: Option<MultiProgress>,
    event: Option<ProgressBar>,
    running: HashMap<Attempt, Shown>,
    over: HashSet<Attempt>,
}

struct Shown {
    bar: Option<ProgressBar>,
    doing: String,
    session: String,
    /// The answer's text that has been printed, where there is no terminal.
    text: String,
}

/// The number of new characters that are worth a line.
const LINE: usize = 60;

impl Progress {
    pub(crate) fn new() -> Self {
        let bars = console::Term::stderr().is_term().then(MultiProgress::new);
        Self { bars, event: None, running: HashMap::new(), over: HashSet::new() }
    }

    /// Shows that an event was sent.
    pub(crate) fn sent(&mut self, name: &str) {
        match &self.bars {
            Some(bars) => self.event = Some(spinner(bars, name)),
            None => say(&format!("{name}  sent")),
        }
    }

    /// Shows that everything that an event started has ended.
    pub(crate) fn dealt_with(&mut self) {
        if let Some(bar) = self.event.take() {
            bar.finish_and_clear();
        }
    }

    /// Prints a line that stays.
    pub(crate) fn tell(&self, line: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| say(line)),
            None => say(line),
        }
    }

    /// Shows what has changed since the last call.
    pub(crate) fn update(&mut self, stack: &Stack, live: &Live) {
        let calls = stack.agent.calls();
        for row in executions_of(stack) {
            let attempt =
                (text(&row[record::TRIGGER_ID]), text(&row[record::EXECUTION_ID]), text(&row[record::ATTEMPT]));
            if self.over.contains(&attempt) {
                continue;
            }
            let label = match row[record::CHAIN_DEPTH].as_u64() {
                Some(depth) => format!("{} (depth {depth})", attempt.0),
                None => attempt.0.clone(),
            };
            if row[record::STATUS] != "running" {
                if let Some(mut shown) = self.running.remove(&attempt) {
                    shown.tell_text(&label, live, 1);
                    if let Some(bar) = shown.bar {
                        bar.finish_and_clear();
                    }
                }
                self.tell(&format!("  {label:<22}  {}", ended(&row)));
                self.over.insert(attempt);
                continue;
            }
            let (doing, figures) = doing(&row, &calls);
            let line = if figures.is_empty() { doing.clone() } else { format!("{doing}  {figures}") };
            let bars = &self.bars;
            let shown = self.running.entry(attempt).or_insert_with(|| Shown {
                bar: bars.as_ref().map(|bars| spinner(bars, &label)),
                doing: String::new(),
                session: text(&row[record::SESSION_ID]),
                text: String::new(),
            });
            match &shown.bar {
                Some(bar) => match live.text(&shown.session) {
                    // The end of the text, on one line; the bar cuts what is too long for the terminal.
                    Some(text) => bar.set_message(format!("{line}  …{}", tail(&text))),
                    None => bar.set_message(line),
                },
                None if shown.doing != doing => say(&format!("  {label:<22}  {line}")),
                None => {}
            }
            shown.doing = doing;
            shown.tell_text(&label, live, LINE);
        }
    }
}

impl Shown {
    /// Prints the text that came since the last time, if it is at least that long and there is no terminal.
    fn tell_text(&mut self, label: &str, live: &Live, least: usize) {
        let Some(text) = live.text(&self.session).filter(|_| self.bar.is_none()) else { return };
        // A later message replaces the text of an earlier one.
        let new = text.strip_prefix(self.text.as_str()).unwrap_or(&text);
        if new.chars().count() >= least {
            say(&format!("  {label:<22}  › {}", harmless(new.trim())));
            self.text = text;
        }
    }
}

/// Returns the last part of a text on one line.
fn tail(text: &str) -> String {
    let text = harmless(text);
    let skipped = text.chars().count().saturating_sub(LINE);
    text.chars().skip(skipped).collect()
}

/// Returns a text without anything that steers a terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn spinner(bars: &MultiProgress, name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix}  {elapsed}  {wide_msg}");
    let bar = bars.add(ProgressBar::new_spinner().with_prefix(name.to_owned()));
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Describes what a running execution is doing: as its agent tells or, for a real agent, as its record tells.
fn doing(row: &Value, calls: &[AgentRequest]) -> (String, String) {
    if row[record::DETACHED_AT].is_string() {
        return (waiting(row), String::new());
    }
    let session = row[record::SESSION_ID].as_str().unwrap_or_default();
    if let Some(call) = calls.iter().rfind(|call| call.is_of(session)) {
        let doing = if call.note.is_empty() { "agent called" } else { &call.note };
        return (doing.to_owned(), figures(call.events_sent, call.bytes_sent));
    }
    match row[record::EVENTS].as_u64() {
        Some(events) => ("streaming".to_owned(), figures(events, row[record::BYTES].as_u64().unwrap_or_default())),
        None => ("started".to_owned(), String::new()),
    }
}

/// Describes a detached run: by when its agent must report.
fn waiting(row: &Value) -> String {
    let until = row[record::LEASE_UNTIL].as_i64().and_then(|millis| {
        let time = jiff::Timestamp::from_millisecond(millis).ok()?;
        Some(time.strftime("%H:%M:%S UTC").to_string())
    });
    let until = until.map(|until| format!(", until {until}")).unwrap_or_default();
    format!("waits for a report of the agent{until}")
}

fn figures(events: u64, bytes: u64) -> String {
    if events == 0 { String::new() } else { format!("{events} events, {}", HumanBytes(bytes)) }
}

fn ended(row: &Value) -> String {
    let what = match (row[record::ERROR_TYPE].as_str(), row[record::SKIP_REASON].as_str()) {
        (Some(kind), _) => kind.to_owned(),
        (None, Some(reason)) => format!("{}: {reason}", text(&row[record::STATUS])),
        (None, None) => text(&row[record::STATUS]),
    };
    row[record::DURATION_MS].as_f64().map_or_else(|| what.clone(), |ms| format!("{what} after {:.1} s", ms / 1000.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_detached_run_says_until_when_it_waits() {
        let row = json!({"sessionId": "s", "detachedAt": "2026-01-05T08:00:00Z", "leaseUntil": 1_767_600_010_000_i64});
        assert_eq!(doing(&row, &[]).0, "waits for a report of the agent, until 08:00:10 UTC");
        assert_eq!(doing(&json!({"detachedAt": "2026-01-05T08:00:00Z"}), &[]).0, "waits for a report of the agent");
        assert_eq!(doing(&json!({"sessionId": "s"}), &[]).0, "started");
    }
}
