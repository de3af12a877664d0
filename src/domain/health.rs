//! A trigger's health: what its last final results make of it, and when it is paused. Its changes are announced from the
//! table's stream, so each is written in one transaction with the result that made it: a duplicate or a crash can neither
//! count twice nor not at all.

use serde_json::{Map, Value};

use crate::json::fields::Fields;

/// What of a trigger item its health rests on: a write demands that it is still as it was seen.
pub(crate) const RESTS_ON: [&str; 3] = ["health", "failures", "enabled"];

/// How a trigger fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum State {
    /// The last final result was a success, or there was none.
    Ok,
    /// The last final result was a failure.
    Failing,
    /// Switched off after too many failures in a row.
    Paused,
}

impl State {
    /// Returns the word as trigger items hold it.
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a trigger fares, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    state: Option<State>,
    failures: Option<u32>,
    enabled: Option<bool>,
    /// [`RESTS_ON`], as it is stored: others may write what is not understood.
    pub(crate) stored: [Option<Value>; RESTS_ON.len()],
}

/// What a final result changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub(crate) state: State,
    pub(crate) failures: u32,
    /// Whether the trigger was in another state before.
    pub(crate) is_new_state: bool,
    /// Whether it is to be switched off.
    pub(crate) pauses: bool,
}

impl Health {
    /// Reads it; what is not understood counts as absent, for it is the function's own.
    pub(crate) fn read(item: &Map<String, Value>) -> Self {
        let mut fields = Fields::new("$", item);
        Self {
            state: fields.text("health").and_then(|name| name.parse().ok()),
            failures: fields.count("failures"),
            enabled: fields.flag("enabled"),
            stored: RESTS_ON.map(|name| item.get(name).cloned()),
        }
    }

    /// What one more final result makes of it; `None` if nothing changes.
    pub(crate) fn after(&self, is_success: bool, pause_after_failures: u32) -> Option<Change> {
        let is_enabled = self.enabled != Some(false);
        let was_paused = self.state == Some(State::Paused);
        let failures = self.failures.unwrap_or_default();
        if was_paused && !is_enabled {
            // A run that had begun before the pause: what its trigger needs is a person.
            return None;
        }
        if is_success {
            let is_well = failures == 0 && matches!(self.state, None | Some(State::Ok));
            let change = Change { state: State::Ok, failures: 0, is_new_state: true, pauses: false };
            return (!is_well).then_some(change);
        }
        // Somebody has switched it on again: what led to the pause is forgiven.
        let failures = if was_paused { 1 } else { failures.saturating_add(1) };
        // Not at once, even if one failure is enough: a pause that follows a pause would change nothing that is announced.
        let pauses = is_enabled && !was_paused && pause_after_failures > 0 && failures >= pause_after_failures;
        let state = if pauses { State::Paused } else { State::Failing };
        Some(Change { state, failures, is_new_state: self.state != Some(state), pauses })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(state: Option<State>, failures: u32, enabled: Option<bool>) -> Health {
        let stored = RESTS_ON.map(|_| None);
        Health { state, failures: (failures > 0).then_some(failures), enabled, stored }
    }

    fn to(state: State, failures: u32, is_new_state: bool, pauses: bool) -> Option<Change> {
        Some(Change { state, failures, is_new_state, pauses })
    }

    #[test]
    fn what_a_final_result_changes() {
        use State::{Failing, Ok, Paused};
        let (on, off) = (Some(true), Some(false));
        for (seen, is_success, expected) in [
            (health(None, 0, None), true, None),
            (health(Some(Ok), 0, on), true, None),
            (health(None, 0, None), false, to(Failing, 1, true, false)),
            (health(Some(Ok), 0, on), false, to(Failing, 1, true, false)),
            (health(Some(Failing), 1, on), false, to(Failing, 2, false, false)),
            (health(Some(Failing), 1, on), true, to(Ok, 0, true, false)),
            (health(Some(Failing), 4, on), false, to(Paused, 5, true, true)),
            (health(Some(Failing), 9, None), false, to(Paused, 10, true, true)),
            // Switched off by somebody: it still fails, and needs no pause.
            (health(Some(Failing), 4, off), false, to(Failing, 5, false, false)),
            // Runs that had begun before the pause.
            (health(Some(Paused), 5, off), false, None),
            (health(Some(Paused), 5, off), true, None),
            // Switched on again.
            (health(Some(Paused), 5, on), true, to(Ok, 0, true, false)),
            (health(Some(Paused), 5, on), false, to(Failing, 1, true, false)),
        ] {
            assert_eq!(seen.after(is_success, 5), expected, "{seen:?}, {is_success}");
        }
    }

    #[test]
    fn zero_never_pauses_and_one_pauses_at_once() {
        assert_eq!(health(Some(State::Failing), 99, None).after(false, 0), to(State::Failing, 100, false, false));
        assert_eq!(health(None, 0, None).after(false, 1), to(State::Paused, 1, true, true));
        let again = health(Some(State::Paused), 1, Some(true));
        assert_eq!(again.after(false, 1), to(State::Failing, 1, true, false), "a change that is announced");
        assert_eq!(health(Some(State::Failing), 1, None).after(false, 1), to(State::Paused, 2, true, true));
    }

    #[test]
    fn what_others_wrote_and_nobody_understands_counts_as_absent() {
        let item = serde_json::json!({"health": null, "failures": "three", "enabled": "yes"});
        let Value::Object(item) = item else { unreachable!() };
        let read = Health::read(&item);
        assert_eq!(read.after(false, 5), to(State::Failing, 1, true, false));
        assert!(read.stored.iter().all(Option::is_some), "as it is stored");
    }
}
