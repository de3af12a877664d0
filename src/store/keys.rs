//! The keys of the table's items.

use crate::{clock, domain::run_lock::Slot, store::item::Key};

/// Returns the key of an execution: `TRIGGER#trigger`, `EXECUTION#execution`.
pub(crate) fn execution_key(trigger_id: &str, execution_id: &str) -> Key {
    (format!("TRIGGER#{trigger_id}"), format!("EXECUTION#{execution_id}"))
}

/// Returns the key of the item that remembers the execution id of a fire that only its Lambda request identifies:
/// `TRIGGER#trigger`, `FIRE#request`.
pub(crate) fn guard_key(trigger_id: &str, request_id: &str) -> Key {
    (format!("TRIGGER#{trigger_id}"), format!("FIRE#{request_id}"))
}

/// Returns the key of the item that remembers which trigger a Lambda request runs in place, and whether it handed its
/// event on: `REQUEST#request`, `IN_PLACE`.
pub(crate) fn in_place_key(request_id: &str) -> Key {
    (format!("REQUEST#{request_id}"), "IN_PLACE".to_owned())
}

/// Returns the key of a trigger item: `TRIGGER#user`, `TRIGGER#trigger`. A management API may keep it.
pub(crate) fn trigger_key(user_id: &str, trigger_id: &str) -> Key {
    (format!("TRIGGER#{user_id}"), format!("TRIGGER#{trigger_id}"))
}

/// Returns the partition of the index that holds the triggers which are subscribed to an event source:
/// `EVENTSOURCE#source`.
pub(crate) fn subscribers_of(event_source_id: &str) -> String {
    format!("EVENTSOURCE#{event_source_id}")
}

/// Returns the key of the kept input of an execution, for a replay: `TRIGGER#trigger`, `INPUT#execution`.
pub(crate) fn input_key(trigger_id: &str, execution_id: &str) -> Key {
    (format!("TRIGGER#{trigger_id}"), format!("INPUT#{execution_id}"))
}

/// Returns the key of a trigger's count of events: `TRIGGER#trigger`, `THRESHOLD#user`. It names the user, as the other
/// counters' keys do: another user's trigger of the same id must not count for this one.
pub(crate) fn counter_key(user_id: &str, trigger_id: &str) -> Key {
    (format!("TRIGGER#{trigger_id}"), format!("THRESHOLD#{user_id}"))
}

/// Returns the key of a trigger's counters of the day of `now`, in UTC: `TRIGGER#trigger`, `DAY#date#user`. `now` is in
/// milliseconds since 1970.
pub(crate) fn day_key(user_id: &str, trigger_id: &str, now: i64) -> Key {
    let day = clock::rfc3339(now);
    (format!("TRIGGER#{trigger_id}"), format!("DAY#{}#{user_id}", &day[..10]))
}

/// Returns the key of the mark that an execution's start is counted: `TRIGGER#trigger`, `COUNTED#execution`.
pub(crate) fn counted_key(trigger_id: &str, execution_id: &str) -> Key {
    (format!("TRIGGER#{trigger_id}"), format!("COUNTED#{execution_id}"))
}

/// The first letters of the sort keys of a run lock's further slots. They sort after those of executions, so that one
/// query reads both, or the slots alone.
pub(crate) const FURTHER_SLOT: &str = "EXECUTION_SLOT#";
/// Sorts after the sort key of every further slot of a run lock.
pub(crate) const LAST_SLOT: &str = "EXECUTION_SLOT#~";

/// Returns the key of a slot of a trigger's run lock: `TRIGGER#trigger`, and `RUNNING#user` for slot 0 or
/// `EXECUTION_SLOT#slot#user` for a further one. It names the user, as the counters' keys do: the run of another user's
/// trigger of the same id must not stand in the way of this one.
pub(crate) fn slot_key(user_id: &str, trigger_id: &str, slot: Slot) -> Key {
    let sort_key = if slot == 0 { format!("RUNNING#{user_id}") } else { format!("{FURTHER_SLOT}{slot}#{user_id}") };
    (format!("TRIGGER#{trigger_id}"), sort_key)
}

/// Returns the slot of a sort key, or `None` if it is not one of this user's further slots.
pub(crate) fn slot_of(sort_key: &str, user_id: &str) -> Option<Slot> {
    let (slot, user) = sort_key.strip_prefix(FURTHER_SLOT)?.split_once('#')?;
    slot.parse().ok().filter(|_| user == user_id)
}

/// Returns the key of the mark that a trigger has counted an event: `TRIGGER#trigger`, `MARK#mark#user`. `mark`
/// identifies the event.
pub(crate) fn mark_key(user_id: &str, trigger_id: &str, mark: &str) -> Key {
    (format!("TRIGGER#{trigger_id}"), format!("MARK#{mark}#{user_id}"))
}

/// Returns the key of the token of a task that waits for an execution: `TRIGGER#trigger`, `TASK#execution`.
pub(crate) fn task_key(trigger_id: &str, execution_id: &str) -> Key {
    (format!("TRIGGER#{trigger_id}"), format!("TASK#{execution_id}"))
}

/// Returns the key under which an execution is found by the execution of Step Functions that waits for it:
/// `CALLER#caller`, `EXECUTION#execution#trigger`. `caller` is the hash of that one's ARN.
pub(crate) fn caller_key(caller: &str, trigger_id: &str, execution_id: &str) -> Key {
    (format!("CALLER#{caller}"), format!("EXECUTION#{execution_id}#{trigger_id}"))
}

/// Returns the key of the mark that an execution of Step Functions was stopped: `CALLER#caller`, `STOPPED`. `caller` is
/// the hash of its ARN.
pub(crate) fn stopped_caller_key(caller: &str) -> Key {
    (format!("CALLER#{caller}"), "STOPPED".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_found_again_by_its_key_for_its_user_alone() {
        for user in ["u", "1#u", "#", "u#2", ""] {
            for slot in [1, 2, 10, 99] {
                let (_, key) = slot_key(user, "t", slot);
                assert_eq!(slot_of(&key, user), Some(slot), "{key}");
                assert_eq!(slot_of(&key, "another"), None, "{key}");
                let (_, execution) = execution_key("t", "~");
                assert!(execution.as_str() < key.as_str() && key.as_str() < LAST_SLOT, "{key}");
                assert!(!key.starts_with("EXECUTION#"), "{key} is read as an execution");
            }
            assert_eq!(slot_key(user, "t", 0).1, format!("RUNNING#{user}"));
        }
        for key in ["EXECUTION#e1", "EXECUTION_SLOT#1", "EXECUTION_SLOT#x#u", "EXECUTION_SLOT##u", "RUNNING#u"] {
            assert_eq!(slot_of(key, "u"), None, "{key}");
        }
    }
}
