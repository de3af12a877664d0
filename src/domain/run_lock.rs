//! A trigger's turn: decisions only, as pure functions of what was seen of it. How it is taken, kept and given up is in
//! `overlap`; their table is the test below.

use crate::{
    domain::execution::{Lease, Row, Status},
    domain::policy::Overlap,
};

/// Whose turn it is, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLock {
    /// The execution that has it.
    pub execution_id: Option<String>,
    /// The attempt of that execution which took it.
    pub owner: Option<String>,
    /// When its lease ends, in milliseconds since 1970; 0 once it was given up.
    pub until: Option<i64>,
}

impl RunLock {
    /// Whether the attempt whose turn it is has ended, so that its lease need not be waited for. Of a row that was
    /// deleted nobody knows.
    pub fn is_over(&self, row: Option<&Row>) -> bool {
        row.is_some_and(|row| row.status != Status::Running || row.owner != self.owner)
    }

    /// Whether `execution_id` may take it from its holder, whose row is `row`, before the lease is over. Who has waited
    /// does not take it after a newer one.
    pub fn may_be_taken(&self, row: Option<&Row>, execution_id: &str, has_waited: bool) -> bool {
        let is_newer = self.execution_id.as_deref().is_some_and(|other| other > execution_id);
        self.is_over(row) && !(has_waited && is_newer)
    }

    /// Whether the turn that refused to be kept until `until` is `owner`'s for even longer.
    pub fn is_kept_longer(&self, owner: &str, until: i64) -> bool {
        self.owner.as_deref() == Some(owner) && self.until.is_some_and(|longer| longer > until)
    }
}

/// A turn whose lease ended before this may be taken.
pub fn over_before(lease: Lease, now: i64) -> i64 {
    now.saturating_sub(i64::try_from(lease.skew().as_millis()).unwrap_or(i64::MAX))
}

/// What a fire does about the execution that has the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    /// It is its own execution, by another attempt: that one's now.
    Lost,
    /// It is not run.
    Skip,
    /// It asks for the other's end, and waits for it.
    Cancel,
    /// It has asked already.
    Wait,
}

/// Decides what `execution_id`, which has asked for the end of `asked` last, does about `other`. Ids sort by the time of
/// their fires: what comes late, or is tried again, must not end what is newer.
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
    fn a_turn_ends_with_the_attempt_that_took_it() {
        let turn = RunLock { execution_id: Some("e2".into()), owner: Some("a".into()), until: Some(1_000) };
        for (name, row, is_over) in [
            ("deleted", None, false),
            ("running", Some(row(Status::Running, "a")), false),
            ("another attempt's", Some(row(Status::Running, "b")), true),
            ("failed, perhaps to run again", Some(row(Status::Failed, "a")), true),
            ("completed", Some(row(Status::Completed, "a")), true),
            ("cancelled", Some(row(Status::Cancelled, "a")), true),
        ] {
            assert_eq!(turn.is_over(row.as_ref()), is_over, "{name}");
            for (execution_id, has_waited, may_be_taken) in
                [("e1", false, is_over), ("e1", true, false), ("e2", true, is_over), ("e3", true, is_over)]
            {
                let actual = turn.may_be_taken(row.as_ref(), execution_id, has_waited);
                assert_eq!(actual, may_be_taken, "{name}, by {execution_id}, waited: {has_waited}");
            }
        }
    }

    #[test]
    fn a_turn_is_kept_by_a_longer_lease_of_the_same_attempt() {
        let turn = RunLock { execution_id: Some("e".into()), owner: Some("a".into()), until: Some(1_000) };
        for (owner, until, is_kept) in [("a", 999, true), ("a", 1_000, false), ("b", 999, false)] {
            assert_eq!(turn.is_kept_longer(owner, until), is_kept, "{owner}, until {until}");
        }
        assert!(!RunLock { until: Some(0), ..turn }.is_kept_longer("a", 999), "given up");
    }

    #[test]
    fn a_turn_may_be_taken_when_no_clock_says_that_it_is_held() {
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
