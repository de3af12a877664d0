//! The run lock of a trigger whose executions must not overlap, or of which only so many may: the decisions, as pure
//! functions of what was read. The lock has a slot for each execution that may run at once. `lifecycle::overlap` takes,
//! keeps and releases them. The tests below contain the decisions as tables.

use std::collections::BTreeMap;

use crate::{
    domain::execution::{Row, Status},
    domain::policy::Overlap,
};

/// The number of a slot. Slot 0 is the only one of a trigger whose executions must not overlap.
pub type Slot = u32;

/// A slot of a trigger's run lock, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLock {
    /// The execution that holds the lock.
    pub execution_id: Option<String>,
    /// The attempt of that execution that took the lock.
    pub owner: Option<String>,
    /// The end of its lease, in milliseconds since 1970. It is 0 once the lock was released.
    pub until: Option<i64>,
}

impl RunLock {
    /// Returns true if the attempt that took the lock has ended, so that nobody must wait for the end of its lease.
    /// `row` is that of the lock's execution. The attempt has ended if the row is no longer running or has another
    /// owner. Without a row this is unknown, and the answer is false.
    pub fn is_over(&self, row: Option<&Row>) -> bool {
        row.is_some_and(|row| row.status != Status::Running || row.owner != self.owner)
    }

    /// Returns true if `execution_id` may take the lock before its lease is over: its holder has ended, as
    /// [`RunLock::is_over`] says of the holder's `row`. An execution that has waited does not take the lock after a
    /// newer one, whose id is greater. Without a row the holder keeps the lock until its lease is over.
    pub fn may_be_taken(&self, row: Option<&Row>, execution_id: &str, has_waited: bool) -> bool {
        let is_newer = self.execution_id.as_deref().is_some_and(|other| other > execution_id);
        self.is_over(row) && !(has_waited && is_newer)
    }

    /// Returns true if an attempt other than `owner` has the lock and its lease did not end before `over_before`, a
    /// time in milliseconds since 1970. A lock that names no owner is another's, and one that names no end has not
    /// ended.
    pub fn is_held_beside(&self, owner: &str, over_before: i64) -> bool {
        self.owner.as_deref() != Some(owner) && self.until.is_none_or(|until| until >= over_before)
    }

    /// Returns true if `owner` has the lock already, and until later than `until`. An extension to `until` that was
    /// refused has then changed nothing for the worse.
    pub fn is_kept_longer(&self, owner: &str, until: i64) -> bool {
        self.owner.as_deref() == Some(owner) && self.until.is_some_and(|longer| longer > until)
    }
}

/// The executions that are alive beside one of the same trigger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// The slots that others hold, with their executions. A trigger that let more run at once before may have slots
    /// beyond those of its policy.
    pub held: BTreeMap<Slot, String>,
    /// The executions that hold none, because the trigger had no limit when they were admitted.
    pub without: Vec<String>,
}

impl Neighbours {
    /// Returns the newest of the executions, with and without a slot, if there are at least `most`: there is no room
    /// for another one then. Returns `None` if there is room. The newest has the greatest id. It may be the execution
    /// that asks, if another attempt of it has a slot.
    pub fn in_the_way(&self, most: u32) -> Option<&str> {
        let is_full = self.count() >= usize::try_from(most).unwrap_or(usize::MAX);
        self.held.values().chain(&self.without).max().filter(|_| is_full).map(String::as_str)
    }

    /// Returns true if an attempt of `execution_id` has a slot.
    pub fn has(&self, execution_id: &str) -> bool {
        self.held.values().any(|id| id == execution_id)
    }

    /// Returns the number of the executions, with and without a slot.
    pub fn count(&self) -> usize {
        self.held.len() + self.without.len()
    }

    /// Returns the slot that `execution_id` takes where `slots` may run at once, or `None` if there is no room. What
    /// runs outside of these slots counts, too: the highest free ones stay free for its sake. So two executions that
    /// choose at the same time cannot both take the last room. Executions that choose among several slots choose by
    /// their ids, and seldom the same one.
    pub fn choose(&self, slots: u32, execution_id: &str) -> Option<Slot> {
        let free: Vec<Slot> = (0..slots).filter(|slot| !self.held.contains_key(slot)).collect();
        let outside = self.held.range(slots..).count() + self.without.len();
        let room = free.len().saturating_sub(outside);
        let id = execution_id.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        free.get(id.checked_rem(room)?).copied()
    }
}

/// The action of an execution that finds its trigger's lock held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    /// The same execution holds it through another attempt, which owns the execution now.
    Lost,
    /// Do not run.
    Skip,
    /// Request the cancellation of the other execution, and wait for its end.
    Cancel,
    /// Wait on, because the cancellation has been requested already.
    Wait,
}

/// Decides what `execution_id` does about the execution `other`, which is in its way. `asked` is the execution whose
/// cancellation it requested last.
///
/// - It is the same execution: `Lost`.
/// - `overlap` is not `CancelOther`, or the other one is newer: `Skip`. An execution that is late or retried must not
///   cancel a newer one. Ids sort by the time of their fires.
/// - The other one's cancellation was requested already: `Wait`.
/// - Otherwise: `Cancel`.
///
/// `overlap` must not be `Allow`: such triggers have no lock.
pub fn meet(overlap: Overlap, execution_id: &str, other: &str, asked: Option<&str>) -> Meeting {
    if other == execution_id {
        Meeting::Lost
    } else if overlap != Overlap::CancelOther || other > execution_id {
        Meeting::Skip
    } else if asked == Some(other) {
        Meeting::Wait
    } else {
        Meeting::Cancel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(status: Status, owner: &str) -> Row {
        Row { status, owner: Some(owner.to_owned()), ..Row::default() }
    }

    #[test]
    fn a_lock_ends_with_the_attempt_that_took_it() {
        let lock = RunLock { execution_id: Some("e2".into()), owner: Some("a".into()), until: Some(1_000) };
        for (name, row, is_over) in [
            ("deleted", None, false),
            ("running", Some(row(Status::Running, "a")), false),
            ("another attempt's", Some(row(Status::Running, "b")), true),
            ("failed, perhaps to run again", Some(row(Status::Failed, "a")), true),
            ("completed", Some(row(Status::Completed, "a")), true),
            ("cancelled", Some(row(Status::Cancelled, "a")), true),
        ] {
            assert_eq!(lock.is_over(row.as_ref()), is_over, "{name}");
            for (execution_id, has_waited, may_be_taken) in
                [("e1", false, is_over), ("e1", true, false), ("e2", true, is_over), ("e3", true, is_over)]
            {
                let actual = lock.may_be_taken(row.as_ref(), execution_id, has_waited);
                assert_eq!(actual, may_be_taken, "{name}, by {execution_id}, waited: {has_waited}");
            }
        }
    }

    #[test]
    fn a_lock_is_kept_by_a_longer_lease_of_the_same_attempt() {
        let lock = RunLock { execution_id: Some("e".into()), owner: Some("a".into()), until: Some(1_000) };
        for (owner, until, is_kept) in [("a", 999, true), ("a", 1_000, false), ("b", 999, false)] {
            assert_eq!(lock.is_kept_longer(owner, until), is_kept, "{owner}, until {until}");
        }
        assert!(!RunLock { until: Some(0), ..lock }.is_kept_longer("a", 999), "released");
    }

    #[test]
    fn a_lock_is_held_until_its_lease_is_over_by_all_but_its_owner() {
        let lock = RunLock { execution_id: Some("e".into()), owner: Some("a".into()), until: Some(1_000) };
        for (owner, over_before, is_held) in [("b", 1_000, true), ("b", 1_001, false), ("a", 1_000, false)] {
            assert_eq!(lock.is_held_beside(owner, over_before), is_held, "{owner}, before {over_before}");
        }
        assert!(!RunLock { until: Some(0), ..lock.clone() }.is_held_beside("b", 1_000), "released");
        assert!(RunLock { until: None, ..lock }.is_held_beside("b", 1_000), "without a lease");
    }

    fn neighbours(held: &[(Slot, &str)], without: &[&str]) -> Neighbours {
        Neighbours {
            held: held.iter().map(|(slot, id)| (*slot, (*id).to_owned())).collect(),
            without: without.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    #[test]
    fn what_is_alive_is_in_the_way_once_it_is_as_many_as_may_run() {
        for (held, without, most, newest) in [
            (&[][..], &[][..], 1, None),
            (&[(1, "e1")], &[], 1, Some("e1")),
            (&[(1, "e1")], &[], 2, None),
            (&[(0, "e3"), (1, "e1")], &[], 2, Some("e3")),
            (&[(7, "e1")], &["e4", "e2"], 3, Some("e4")),
            (&[(7, "e5")], &["e4", "e2"], 3, Some("e5")),
            (&[(7, "e5")], &["e4", "e2"], 4, None),
            (&[], &["e4", "e2"], 2, Some("e4")),
            (&[], &["e4", "e2"], 1, Some("e4")),
        ] {
            let neighbours = neighbours(held, without);
            assert_eq!(neighbours.in_the_way(most), newest, "{neighbours:?}, at most {most}");
        }
    }

    #[test]
    fn a_slot_is_chosen_among_the_free_ones_and_what_runs_outside_of_them_counts() {
        // The last byte of these ids decides: 'a' is 97.
        for (held, without, slots, chosen) in [
            (&[][..], &[][..], 1, [Some(0), Some(0)]),
            (&[], &[], 3, [Some(1), Some(2)]),
            (&[(0, "x")], &[], 3, [Some(2), Some(1)]),
            (&[(0, "x"), (2, "y")], &[], 3, [Some(1), Some(1)]),
            (&[(0, "x"), (1, "y"), (2, "z")], &[], 3, [None, None]),
            // The policy was lowered: what has a slot beyond it counts.
            (&[(3, "x")], &[], 3, [Some(1), Some(0)]),
            (&[(3, "x"), (4, "y")], &[], 3, [Some(0), Some(0)]),
            (&[(3, "x"), (4, "y")], &["z"], 3, [None, None]),
            (&[(0, "x"), (4, "y")], &[], 3, [Some(1), Some(1)]),
            (&[(0, "x"), (4, "y"), (5, "z")], &[], 3, [None, None]),
            (&[(0, "x"), (4, "y"), (5, "z"), (6, "w")], &[], 3, [None, None]),
            // It had no limit before.
            (&[], &["x"], 2, [Some(0), Some(0)]),
            (&[(1, "x")], &["y"], 3, [Some(0), Some(0)]),
            (&[], &["x", "y"], 2, [None, None]),
        ] {
            let neighbours = neighbours(held, without);
            assert_eq!(["a", "b"].map(|id| neighbours.choose(slots, id)), chosen, "{neighbours:?}, of {slots}");
        }
    }

    /// Executions look and take in any order. One that asks for slot 0 unseen looks afterwards, and counts for the
    /// others until then. None starts beside as many as may run, as long as nothing new runs outside of the slots.
    #[test]
    fn executions_that_look_before_others_take_never_exceed_the_limit() {
        const LOOKS: &str = "looks";
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let slots = random.u32(1..=5);
            let limit = usize::try_from(slots).unwrap();
            let mut now = Neighbours::default();
            for slot in 0..slots + 3 {
                if random.u32(0..3) == 0 {
                    now.held.insert(slot, format!("before {slot}"));
                }
            }
            now.without = vec!["before".to_owned(); random.usize(0..3)];
            let running = |now: &Neighbours| now.count() - usize::from(now.held.get(&0).is_some_and(|id| id == LOOKS));
            let mut chosen = Vec::new();
            for fire in 0..40 {
                match random.u32(0..6) {
                    // It looks now, and takes later. Its first request for slot 0 was refused.
                    0 if now.held.contains_key(&0) => chosen.extend(now.choose(slots, &format!("f{fire}"))),
                    0 => {
                        now.held.insert(0, LOOKS.to_owned());
                    }
                    1 | 2 if !chosen.is_empty() => {
                        let slot = chosen.swap_remove(random.usize(..chosen.len()));
                        if let std::collections::btree_map::Entry::Vacant(free) = now.held.entry(slot) {
                            free.insert(format!("f{fire}"));
                            assert!(running(&now) <= limit, "{now:?} of {slots}");
                        }
                    }
                    3 if now.held.get(&0).is_some_and(|id| id == LOOKS) => {
                        now.held.remove(&0);
                        if now.in_the_way(slots).is_none() {
                            now.held.insert(0, format!("f{fire}"));
                            assert!(running(&now) <= limit, "{now:?} of {slots}");
                        }
                    }
                    4 => drop(now.without.pop()),
                    _ => {
                        let held: Vec<Slot> = now.held.keys().copied().collect();
                        if !held.is_empty() {
                            now.held.remove(&held[random.usize(..held.len())]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn only_what_is_older_is_cancelled_and_only_once() {
        for (overlap, other, asked, meeting) in [
            (Overlap::Skip, "e1", None, Meeting::Skip),
            (Overlap::Skip, "e3", None, Meeting::Skip),
            (Overlap::Skip, "e2", None, Meeting::Lost),
            (Overlap::AtMost(2), "e1", None, Meeting::Skip),
            (Overlap::AtMost(2), "e3", None, Meeting::Skip),
            (Overlap::AtMost(2), "e2", None, Meeting::Lost),
            (Overlap::CancelOther, "e1", None, Meeting::Cancel),
            (Overlap::CancelOther, "e1", Some("e1"), Meeting::Wait),
            (Overlap::CancelOther, "e1", Some("e0"), Meeting::Cancel),
            (Overlap::CancelOther, "e2", None, Meeting::Lost),
            (Overlap::CancelOther, "e2", Some("e1"), Meeting::Lost),
            (Overlap::CancelOther, "e3", None, Meeting::Skip),
            (Overlap::CancelOther, "e3", Some("e1"), Meeting::Skip),
        ] {
            assert_eq!(meet(overlap, "e2", other, asked), meeting, "{overlap:?}, {other} after {asked:?}");
        }
    }
}
