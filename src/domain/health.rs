//! A trigger's health: the effect of its latest final results, and when it is paused. Changes are announced from the
//! table's stream. Each is written in one transaction with the result that caused it, so that a duplicate delivery
//! cannot count a result twice and a crash cannot lose one.

use serde_json::{Map, Value};

use crate::json::fields::Fields;

/// The attributes of a trigger item on which its health depends. A write requires that they are unchanged since they
/// were read.
pub(crate) const RESTS_ON: [&str; 3] = ["health", "failures", "enabled"];

/// The state of a trigger's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum State {
    /// The last final result was a success, or there was none.
    Ok,
    /// The last final result was a failure.
    Failing,
    /// The trigger was switched off automatically after too many failures in a row.
    Paused,
}

impl State {
    /// Returns the word as trigger items hold it: `ok`, `failing` or `paused`.
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The health of a trigger, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    state: Option<State>,
    failures: Option<u32>,
    enabled: Option<bool>,
    /// The attributes of [`RESTS_ON`] as they are stored, even if they are not understood: other programs may write
    /// them.
    pub(crate) stored: [Option<Value>; RESTS_ON.len()],
}

/// The change that a final result makes to a trigger's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub(crate) state: State,
    pub(crate) failures: u32,
    /// True if the trigger was in another state before.
    pub(crate) is_new_state: bool,
    /// True if the trigger must be switched off.
    pub(crate) pauses: bool,
}

impl Health {
    /// Reads the health of a trigger item from its members `health`, `failures` and `enabled`. A value that is not
    /// understood counts as absent and is no problem, because these attributes are the function's own. Its stored value
    /// is still part of the condition of a later write.
    pub(crate) fn read(item: &Map<String, Value>) -> Self {
        let mut fields = Fields::new("$", item);
        Self {
            state: fields.text("health").and_then(|name| name.parse().ok()),
            failures: fields.count("failures"),
            enabled: fields.flag("enabled"),
            stored: RESTS_ON.map(|name| item.get(name).cloned()),
        }
    }

    /// Returns the change that one more final result makes, or `None` if nothing changes:
    ///
    /// - No result changes a paused trigger that is still switched off: its run began before the pause.
    /// - A success sets the state `ok` and the count 0, or changes nothing if they are so already.
    /// - A failure adds 1 to the count and sets `failing`. If the trigger is switched on and the count has reached
    ///   `pause_after_failures`, it is `paused` instead and must be switched off. 0 never pauses.
    /// - The first failure after a pause, once a person has switched the trigger on again, sets the count to 1 and
    ///   never pauses.
    ///
    /// A trigger counts as switched on unless `enabled` is false. The caller writes the change on the condition that
    /// the health is still as it was read.
    pub(crate) fn after(&self, is_success: bool, pause_after_failures: u32) -> Option<Change> {
        let is_enabled = self.enabled != Some(false);
        let was_paused = self.state == Some(State::Paused);
        let failures = self.failures.unwrap_or_default();
        if was_paused && !is_enabled {
            // The run began before the pause. A paused trigger stays paused until a person switches it on again.
            return None;
        }
        if is_success {
            let is_new_state = !matches!(self.state, None | Some(State::Ok));
            let change = Change { state: State::Ok, failures: 0, is_new_state, pauses: false };
            return (is_new_state || failures > 0).then_some(change);
        }
        // A person has switched it on again, so the failures that led to the pause no longer count.
        let failures = if was_paused { 1 } else { failures.saturating_add(1) };
        // A trigger that was paused is not paused again at once, even if one failure is enough: the state would not
        // change, and so nothing would be announced.
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
            // Only another writer leaves failures beside this state.
            (health(Some(Ok), 2, on), true, to(Ok, 0, false, false)),
            (health(None, 0, None), false, to(Failing, 1, true, false)),
            (health(Some(Ok), 0, on), false, to(Failing, 1, true, false)),
            (health(Some(Failing), 1, on), false, to(Failing, 2, false, false)),
            (health(Some(Failing), 1, on), true, to(Ok, 0, true, false)),
            (health(Some(Failing), 4, on), false, to(Paused, 5, true, true)),
            (health(Some(Failing), 9, None), false, to(Paused, 10, true, true)),
            // A person switched it off. It still fails, and needs no pause.
            (health(Some(Failing), 4, off), false, to(Failing, 5, false, false)),
            // The runs began before the pause.
            (health(Some(Paused), 5, off), false, None),
            (health(Some(Paused), 5, off), true, None),
            // A person switched it on again.
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
