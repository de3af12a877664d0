//! An execution as it is stored in the table, and its present state.

use std::time::Duration;

use agent_trigger::domain::execution::{Lease, Status};
use agent_trigger::domain::failure::ErrorType;
use agent_trigger::store::execution_item::ExecutionItem;
use agent_trigger_api::store::executions::time_of;
use console::Style;
use serde_json::{Map, Value};

use crate::words;

/// The default of `LEASE_SECONDS`. Clocks may differ by a sixth of it. A record does not say which one its function
/// has.
const LEASE: Lease = Lease(Duration::from_secs(30));
/// A day before the end of the year 9999, in milliseconds since 1970: RFC 3339 has no later times.
const LATEST: i64 = 253_402_214_400_000;

/// The present state of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// `running`, but its lease has run out without a heartbeat.
    Stale,
    Completed,
    Failed,
    Cancelled,
    Skipped,
    /// A status that only a later version of the function knows.
    Unknown,
}

impl State {
    /// Returns the symbol that distinguishes the states where there are no colours.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Running => "▸",
            Self::Stale => "!",
            Self::Completed => "✓",
            Self::Failed => "✗",
            Self::Cancelled => "■",
            Self::Skipped => "–",
            Self::Unknown => "?",
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Running => Status::Running.as_str(),
            Self::Stale => "stale",
            Self::Completed => Status::Completed.as_str(),
            Self::Failed => Status::Failed.as_str(),
            Self::Cancelled => Status::Cancelled.as_str(),
            Self::Skipped => Status::Skipped.as_str(),
            Self::Unknown => "unknown",
        }
    }

    pub(crate) fn style(self) -> Style {
        match self {
            Self::Running => Style::new().cyan(),
            Self::Stale => Style::new().yellow().bold(),
            Self::Completed => Style::new().green(),
            Self::Failed => Style::new().red().bold(),
            Self::Cancelled => Style::new().magenta(),
            Self::Skipped | Self::Unknown => Style::new().yellow(),
        }
    }
}

/// An execution's row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Execution {
    /// Every attribute as plain JSON, also one that only a later version of the function knows.
    pub(crate) row: Map<String, Value>,
    pub(crate) item: ExecutionItem,
}

impl Execution {
    /// Returns the execution of a row, or `None` for a row whose `ttl` has passed: DynamoDB deletes such rows late.
    /// `now` is in milliseconds since 1970, here and below.
    pub(crate) fn new(row: Map<String, Value>, now: i64) -> Option<Self> {
        let item = ExecutionItem::read(row.clone());
        item.ttl.is_none_or(|ttl| ttl > now / 1000).then_some(Self { row, item })
    }

    /// Returns the id, which is empty if the row has none.
    pub(crate) fn id(&self) -> &str {
        self.item.execution_id.as_deref().unwrap_or_default()
    }

    /// Returns true if `part` is the id, or the beginning or the end of it.
    pub(crate) fn is_named(&self, part: &str) -> bool {
        self.id().starts_with(part) || self.id().ends_with(part)
    }

    /// Returns the trigger's id, which is empty if the row has none.
    pub(crate) fn trigger(&self) -> &str {
        self.item.trigger_id.as_deref().unwrap_or_default()
    }

    /// Returns the start in milliseconds since 1970.
    pub(crate) fn started_at(&self) -> Option<i64> {
        words::parse_time(self.item.started_at.as_deref()?)
    }

    /// Returns the time of the fire in milliseconds since 1970.
    pub(crate) fn fired_at(&self) -> Option<i64> {
        fired_at(self.id())
    }

    /// Returns the state at `now`. A running one is stale once its lease is over by more than clocks may differ.
    pub(crate) fn state(&self, now: i64) -> State {
        match self.item.status.as_deref().and_then(Status::from_name) {
            Some(Status::Running) if LEASE.is_alive(self.item.lease_until, now) => State::Running,
            Some(Status::Running) => State::Stale,
            Some(Status::Completed) => State::Completed,
            Some(Status::Failed) => State::Failed,
            Some(Status::Cancelled) => State::Cancelled,
            Some(Status::Skipped) => State::Skipped,
            None => State::Unknown,
        }
    }

    /// Returns how long the execution took, or how long it has been running, in milliseconds. Returns `None` if that is
    /// not known, as of a stale one, and of one that ended without a record of it.
    pub(crate) fn duration(&self, now: i64) -> Option<i64> {
        match self.state(now) {
            State::Running => Some(now.saturating_sub(self.started_at()?).max(0)),
            State::Stale => None,
            _ => i64::try_from(self.item.duration_ms?).ok(),
        }
    }

    /// Returns the reason for the state, in a word or two.
    pub(crate) fn why(&self, now: i64) -> String {
        match self.state(now) {
            State::Running if self.item.cancel_requested == Some(true) => "cancel requested".to_owned(),
            State::Stale => self.item.lease_until.map_or_else(
                || "no lease".to_owned(),
                |until| format!("lease over {}", words::roughly(now.saturating_sub(until))),
            ),
            State::Failed => self.failure(),
            // How the agent stopped short, where the trigger accepts that.
            State::Completed => self.item.finish_reason.clone().unwrap_or_default(),
            State::Skipped => self.item.skip_reason.clone().unwrap_or_default(),
            // A later version's status is shown as it is.
            State::Unknown => self.item.status.as_deref().unwrap_or("no status").to_owned(),
            State::Running | State::Cancelled => String::new(),
        }
    }

    /// Returns the type of the failure. The type `AgentIncomplete` says less than how the agent stopped short.
    fn failure(&self) -> String {
        let error_type = self.item.error_type.as_deref().unwrap_or_default();
        match &self.item.finish_reason {
            Some(reason) if error_type == ErrorType::AgentIncomplete.as_str() => format!("stopped: {reason}"),
            _ => error_type.to_owned(),
        }
    }

    /// Describes how far the agent's answer has come.
    pub(crate) fn progress(&self, now: i64) -> String {
        let Some(events) = self.item.events else { return "nothing heard from the agent yet".to_owned() };
        let bytes = self.item.bytes.unwrap_or_default();
        let mut progress = format!(
            "{}, {}",
            words::counted(i64::try_from(events).unwrap_or(i64::MAX), "event"),
            indicatif::HumanBytes(bytes)
        );
        if let Some(heard) = self.item.last_event_at.as_deref().and_then(words::parse_time) {
            progress.push_str(&format!(", last heard {}", words::distance(heard.min(now), now)));
        }
        progress
    }
}

/// Returns the time of a fire in milliseconds since 1970, with which its execution's id begins, or `None` if that is no
/// UUIDv7.
pub(crate) fn fired_at(id: &str) -> Option<i64> {
    Some(time_of(id)?.as_millisecond())
}

/// Returns the time of the fire that an id with this beginning has, or `None` if it begins no UUIDv7. All of its time
/// is in the first twelve digits, which a hyphen divides: the end of an id has none at this place.
pub(crate) fn fired_at_beginning(part: &str) -> Option<i64> {
    let (high, rest) = part.split_once('-')?;
    let low = rest.get(..4)?;
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_other_version = rest.as_bytes().get(5).is_some_and(|version| *version != b'7');
    if high.len() != 8 || !is_hex(high) || !is_hex(low) || is_other_version {
        return None;
    }
    i64::from_str_radix(&format!("{high}{low}"), 16).ok().filter(|fired| *fired < LATEST)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// The time 2026-11-21T02:42:00Z.
    pub(crate) const NOW: i64 = 1_795_228_920_000;

    pub(crate) fn execution(row: Value) -> Execution {
        let Value::Object(row) = row else { panic!("{row}") };
        Execution::new(row, NOW).unwrap()
    }

    #[test]
    fn a_running_one_is_stale_once_its_lease_and_what_clocks_differ_by_are_over() {
        assert_eq!(words::rfc3339(NOW), "2026-11-21T02:42:00Z");
        for (lease, state, why) in [
            (json!(NOW + 30_000), State::Running, ""),
            (json!(NOW - 5_000), State::Running, ""),
            (json!(NOW - 5_001), State::Stale, "lease over 5s"),
            (Value::Null, State::Stale, "no lease"),
        ] {
            let execution = execution(json!({"status": "running", "leaseUntil": lease}));
            assert_eq!((execution.state(NOW), execution.why(NOW).as_str()), (state, why));
        }
    }

    #[test]
    fn every_state_has_a_symbol_and_a_word_of_its_own() {
        use State::{Cancelled, Completed, Failed, Running, Skipped, Stale, Unknown};
        let all = [Running, Stale, Completed, Failed, Cancelled, Skipped, Unknown];
        for one in all {
            for other in all.into_iter().filter(|other| *other != one) {
                assert_ne!(one.symbol(), other.symbol());
                assert_ne!(one.word(), other.word());
            }
        }
    }

    #[test]
    fn what_stopped_short_says_how() {
        for (row, why) in [
            (json!({"status": "failed", "errorType": "AgentIncomplete", "finishReason": "limit"}), "stopped: limit"),
            (json!({"status": "failed", "errorType": "AgentIncomplete"}), "AgentIncomplete"),
            (json!({"status": "failed", "errorType": "AgentFailed", "finishReason": "limit"}), "AgentFailed"),
            (json!({"status": "completed", "finishReason": "max_tokens"}), "max_tokens"),
            (json!({"status": "completed"}), ""),
        ] {
            assert_eq!(execution(row.clone()).why(NOW), why, "{row}");
        }
    }

    #[test]
    fn a_later_versions_status_is_told_as_it_is() {
        let execution = execution(json!({"status": "postponed"}));
        assert_eq!((execution.state(NOW), execution.why(NOW).as_str()), (State::Unknown, "postponed"));
    }

    #[test]
    fn what_has_expired_is_no_execution() {
        for (ttl, is_there) in [(NOW / 1000, false), (NOW / 1000 + 1, true)] {
            let row = json!({"status": "completed", "ttl": ttl});
            assert_eq!(Execution::new(row.as_object().unwrap().clone(), NOW).is_some(), is_there);
        }
    }

    #[test]
    fn durations_are_of_the_clock_while_running_and_of_the_record_after() {
        let row = |status: &str, lease: i64| {
            execution(json!({"status": status, "leaseUntil": NOW + lease, "startedAt": "2026-11-21T02:40:00.000Z",
                "durationMs": 900}))
        };
        assert_eq!(row("running", 10).duration(NOW), Some(120_000));
        assert_eq!(row("running", 10).duration(NOW - 200_000), Some(0), "a clock that is behind");
        assert_eq!(row("running", -60_000).duration(NOW), None);
        assert_eq!(row("completed", 0).duration(NOW), Some(900));
    }

    #[test]
    fn only_ids_that_hold_a_time_have_one() {
        const FIRED: i64 = 0x019a_a303_7c00;
        let ids =
            [("019aa303-7c00-7f32-9d74-712a8c5e2c03", Some(FIRED)), ("f81d4fae-7dec-4f32-9d74-712a8c5e2c03", None)];
        for (id, fired) in ids.into_iter().chain([("019aa303", None), ("", None)]) {
            assert_eq!(fired_at(id), fired, "{id}");
        }
        for (part, fired) in [
            ("019aa303-7c00", Some(FIRED)),
            ("019aa303-7c00-7f32-9d74-712a8c5e2c03", Some(FIRED)),
            ("019aa303-7c0", None),
            ("712a8c5e2c03", None),
            ("c00-7f32-9d74-712a8c5e2c03", None),
            ("f81d4fae-7dec-4f32-9d74-712a8c5e2c03", None),
            ("019aa303-7c00-4", None),
            ("f81d4fae-7dec", None),
        ] {
            assert_eq!(fired_at_beginning(part), fired, "{part}");
        }
    }

    #[test]
    fn progress_tells_what_came_and_when() {
        assert_eq!(execution(json!({})).progress(NOW), "nothing heard from the agent yet");
        let heard = execution(json!({"events": 1, "bytes": 2048, "lastEventAt": "2026-11-21T02:41:57.000Z"}));
        assert_eq!(heard.progress(NOW), "1 event, 2.00 KiB, last heard 3s ago");
    }
}
