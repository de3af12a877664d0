//! The run lock of a trigger whose executions must not overlap: the decisions, as pure functions of the lock that was
//! read. `lifecycle::overlap` takes, keeps and releases it. The tests below contain the decisions as tables.

use crate::{
    domain::execution::{Lease, Row, Status},
    domain::policy::Overlap,
};

/// A trigger's run lock, as it was read.
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

    /// Returns true if `owner` has the lock already, and until later than `until`. An extension to `until` that was
    /// refused has then changed nothing for the worse.
    pub fn is_kept_longer(&self, owner: &str, until: i64) -> bool {
        self.owner.as_deref() == Some(owner) && self.until.is_some_and(|longer| longer > until)
    }
}

/// Returns the time before which a lock's lease must have ended for the lock to be free at `now`: `now` less
/// [`Lease::skew`]. All times are in milliseconds since 1970.
pub fn over_before(lease: Lease, now: i64) -> i64 {
    now.saturating_sub(i64::try_from(lease.skew().as_millis()).unwrap_or(i64::MAX))
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

/// Decides what `execution_id` does about the execution `other`, which holds the lock. `asked` is the execution whose
/// cancellation it requested last.
///
/// - It is the same execution: `Lost`.
/// - `overlap` is `Skip`, or the other one is newer: `Skip`. An execution that is late or retried must not cancel a
///   newer one. Ids sort by the time of their fires.
/// - The other one's cancellation was requested already: `Wait`.
/// - Otherwise: `Cancel`.
///
/// `overlap` must not be `Allow`: such triggers have no lock.
pub fn meet(overlap: Overlap, execution_id: &str, other: &str, asked: Option<&str>) -> Meeting {
    if other == execution_id {
        Meeting::Lost
    } else if overlap == Overlap::Skip || other > execution_id {
        Meeting::Skip
    } else if asked == Some(other) {
        Meeting::Wait
    } else {
        Meeting::Cancel
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
    fn a_lock_may_be_taken_when_it_is_over_by_every_clock() {
        assert_eq!(over_before(Lease(Duration::from_secs(30)), 1_000_000), 995_000);
    }

    #[test]
    fn only_what_is_older_is_cancelled_and_only_once() {
        for (overlap, other, asked, meeting) in [
            (Overlap::Skip, "e1", None, Meeting::Skip),
            (Overlap::Skip, "e3", None, Meeting::Skip),
            (Overlap::Skip, "e2", None, Meeting::Lost),
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
