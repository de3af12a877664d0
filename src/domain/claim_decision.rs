//! The decision of an attempt that finds a row for its fire, or none, as a pure function of the row, the time and the
//! attempt. The test below contains it as a table. A fire is one moment at which a trigger is due. It is run by an
//! execution, whose row in the table says how far it is. An attempt is one invocation that works on it, and a lease
//! says until when.

use crate::domain::execution::{DetachedState, Lease, MAX_ATTEMPTS, Row, Status};

/// The attempt that tries to claim an execution.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// This attempt's own id.
    pub owner: &'a str,
    /// The Lambda request that the attempt serves.
    pub lambda_request_id: &'a str,
    /// True if an interrupted execution runs again (`onInterrupted: "rerun"`), provided that its last attempt was
    /// claimed with the same.
    pub rerun_if_interrupted: bool,
}

/// The action of an attempt that found a row for its fire, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimDecision {
    /// Claim it as the attempt with this number, from 1.
    Claim(u32),
    /// An earlier try to claim it succeeded, but its answer was lost.
    AlreadyOwned,
    /// It has ended. Return the stored result.
    AlreadyEnded,
    /// Its cancellation was requested and no attempt is at work. Write `cancelled`.
    Cancel,
    /// An attempt of another request is at work. Succeed and change nothing.
    Duplicate,
    /// Another attempt of the same request is at work. Read the row again later.
    Wait,
    /// An attempt died and may have called the agent. Write `Interrupted`.
    Interrupt,
    /// The agent of a detached run works on it. Succeed and change nothing.
    Detached,
    /// The agent of a detached run has been silent for too long. Write `ReportOverdue`.
    Overdue,
    /// The attempt of a detached run died, and the agent may be at work. Let the lease pass to the agent.
    HandOver,
}

/// Decides what an attempt does about the stored row. `now` is in milliseconds since 1970. A lease lasts until its end
/// plus [`Lease::skew`]. The first line that applies decides:
///
/// - There is no row, or its ttl has passed: `Claim(1)`. DynamoDB deletes such a row late.
/// - The row names `me.owner` as its owner, is running and was not handed over to an agent: `AlreadyOwned`.
/// - The row is that of a running detached run and no invocation holds its lease: `Detached` if the agent's lease
///   lasts. If it is over, or if the invocation's is and the agent has none: `Cancel` if that was requested, and
///   otherwise `Overdue` for an agent's lease and `HandOver` for an invocation's.
/// - It is completed, cancelled, skipped, or failed for good: `AlreadyEnded`.
/// - It failed and may be retried: `Cancel` if that was requested, `Claim` with the next number while there are
///   attempts left ([`MAX_ATTEMPTS`]), and otherwise `AlreadyEnded`.
/// - It is running and its lease lasts: `Wait` for an attempt of the same Lambda request, and `Duplicate` for
///   another's.
/// - It is running and its lease is over: `Cancel` if that was requested. `Claim` with the next number if attempts are
///   left and both this attempt and the last one were claimed with rerun. Otherwise `Interrupt`.
///
/// Cancelling comes before claiming, because otherwise a cancelled execution would run. Both attempts must have rerun:
/// an attempt without it does not stop when its lease ends, so it may still be at work. The decision holds for this row
/// only: the caller writes on the condition that it is unchanged, and decides again if it is not.
pub fn decide_claim(row: Option<&Row>, now: i64, lease: Lease, me: Claimant<'_>) -> ClaimDecision {
    let Some(row) = row.filter(|row| row.ttl.is_none_or(|ttl| ttl > now / 1000)) else {
        return ClaimDecision::Claim(1);
    };
    let attempt = row.attempt.unwrap_or(0);
    let may_claim_again = attempt < MAX_ATTEMPTS;
    let cancel_requested = row.cancel_requested == Some(true);
    let is_mine = row.owner.as_deref() == Some(me.owner) && row.detached_at.is_none();
    match (row.detached_state(now, lease), cancel_requested) {
        _ if is_mine => {}
        (None, _) => {}
        (Some(DetachedState::AtWork), _) => return ClaimDecision::Detached,
        (Some(DetachedState::Overdue | DetachedState::Unacknowledged), true) => return ClaimDecision::Cancel,
        (Some(DetachedState::Overdue), false) => return ClaimDecision::Overdue,
        (Some(DetachedState::Unacknowledged), false) => return ClaimDecision::HandOver,
    }
    match row.status {
        Status::Running if is_mine => ClaimDecision::AlreadyOwned,
        Status::Completed | Status::Cancelled | Status::Skipped => ClaimDecision::AlreadyEnded,
        Status::Failed if !row.retryable => ClaimDecision::AlreadyEnded,
        Status::Failed if cancel_requested => ClaimDecision::Cancel,
        Status::Failed if may_claim_again => ClaimDecision::Claim(attempt + 1),
        Status::Failed => ClaimDecision::AlreadyEnded,
        Status::Running if lease.is_alive(row.lease_until, now) => {
            if row.lambda_request_id.as_deref() == Some(me.lambda_request_id) {
                ClaimDecision::Wait
            } else {
                ClaimDecision::Duplicate
            }
        }
        Status::Running if cancel_requested => ClaimDecision::Cancel,
        Status::Running if me.rerun_if_interrupted && row.rerun_if_interrupted && may_claim_again => {
            ClaimDecision::Claim(attempt + 1)
        }
        Status::Running => ClaimDecision::Interrupt,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: i64 = 1_000_000_000;
    const LEASE: Lease = Lease(Duration::from_secs(30));
    const ME: Claimant<'_> = Claimant { owner: "me", lambda_request_id: "request", rerun_if_interrupted: false };

    fn row(status: Status) -> Row {
        Row {
            status,
            owner: Some("other".into()),
            attempt: Some(1),
            lease_until: Some(NOW - 60_000),
            lambda_request_id: Some("another request".into()),
            rerun_if_interrupted: true,
            ttl: Some(NOW / 1000 + 1),
            ..Row::default()
        }
    }

    fn running(lease_until: i64) -> Row {
        Row { lease_until: Some(lease_until), ..row(Status::Running) }
    }

    fn failed(retryable: bool, attempt: u32) -> Row {
        Row { retryable, attempt: Some(attempt), ..row(Status::Failed) }
    }

    /// Checks every kind of row, claimed with rerun unless its name says no, without and with rerun.
    #[test]
    fn the_decision_table() {
        let cancelled = |row: Row| Row { cancel_requested: Some(true), ..row };
        let mine = |row: Row| Row { owner: Some("me".into()), ..row };
        let same_request = |row: Row| Row { lambda_request_id: Some("request".into()), ..row };
        let expired = |row: Row| Row { ttl: Some(NOW / 1000), ..row };
        let alive = NOW + 5_001;
        let last_alive_moment = NOW - 5_000;
        let just_over = NOW - 5_001;
        let third = |row: Row| Row { attempt: Some(3), ..row };
        let detached = |row: Row| Row { report_key: Some("key".into()), ..row };
        let left = |row: Row| Row { detached_at: Some("then".into()), ..detached(row) };
        let no_rerun = |row: Row| Row { rerun_if_interrupted: false, ..row };
        for (name, row, plain, rerun) in [
            ("expired completed", expired(row(Status::Completed)), ClaimDecision::Claim(1), ClaimDecision::Claim(1)),
            ("expired running", expired(running(alive)), ClaimDecision::Claim(1), ClaimDecision::Claim(1)),
            ("mine", mine(running(alive)), ClaimDecision::AlreadyOwned, ClaimDecision::AlreadyOwned),
            ("mine and lapsed", mine(running(just_over)), ClaimDecision::AlreadyOwned, ClaimDecision::AlreadyOwned),
            ("completed", row(Status::Completed), ClaimDecision::AlreadyEnded, ClaimDecision::AlreadyEnded),
            ("completed by me", mine(row(Status::Completed)), ClaimDecision::AlreadyEnded, ClaimDecision::AlreadyEnded),
            ("cancelled", row(Status::Cancelled), ClaimDecision::AlreadyEnded, ClaimDecision::AlreadyEnded),
            ("skipped", row(Status::Skipped), ClaimDecision::AlreadyEnded, ClaimDecision::AlreadyEnded),
            (
                "completed, cancel asked",
                cancelled(row(Status::Completed)),
                ClaimDecision::AlreadyEnded,
                ClaimDecision::AlreadyEnded,
            ),
            ("final", failed(false, 1), ClaimDecision::AlreadyEnded, ClaimDecision::AlreadyEnded),
            (
                "final, cancel asked",
                cancelled(failed(false, 1)),
                ClaimDecision::AlreadyEnded,
                ClaimDecision::AlreadyEnded,
            ),
            ("retryable", failed(true, 1), ClaimDecision::Claim(2), ClaimDecision::Claim(2)),
            ("retryable twice", failed(true, 2), ClaimDecision::Claim(3), ClaimDecision::Claim(3)),
            ("retryable thrice", failed(true, 3), ClaimDecision::AlreadyEnded, ClaimDecision::AlreadyEnded),
            ("retryable, cancel asked", cancelled(failed(true, 1)), ClaimDecision::Cancel, ClaimDecision::Cancel),
            ("alive, other request", running(alive), ClaimDecision::Duplicate, ClaimDecision::Duplicate),
            ("alive by skew", running(last_alive_moment), ClaimDecision::Duplicate, ClaimDecision::Duplicate),
            ("alive, cancel asked", cancelled(running(alive)), ClaimDecision::Duplicate, ClaimDecision::Duplicate),
            ("alive, same request", same_request(running(alive)), ClaimDecision::Wait, ClaimDecision::Wait),
            ("over", running(just_over), ClaimDecision::Interrupt, ClaimDecision::Claim(2)),
            ("over, no rerun", no_rerun(running(just_over)), ClaimDecision::Interrupt, ClaimDecision::Interrupt),
            ("retryable, no rerun", no_rerun(failed(true, 1)), ClaimDecision::Claim(2), ClaimDecision::Claim(2)),
            ("over, same request", same_request(running(just_over)), ClaimDecision::Interrupt, ClaimDecision::Claim(2)),
            ("over, cancel asked", cancelled(running(just_over)), ClaimDecision::Cancel, ClaimDecision::Cancel),
            ("over, third attempt", third(running(just_over)), ClaimDecision::Interrupt, ClaimDecision::Interrupt),
            (
                "no lease at all",
                Row { lease_until: None, attempt: None, ..row(Status::Running) },
                ClaimDecision::Interrupt,
                ClaimDecision::Claim(1),
            ),
            ("of a detached run, alive", detached(running(alive)), ClaimDecision::Duplicate, ClaimDecision::Duplicate),
            (
                "of a detached run, same request",
                same_request(detached(running(alive))),
                ClaimDecision::Wait,
                ClaimDecision::Wait,
            ),
            ("unacknowledged", detached(running(just_over)), ClaimDecision::HandOver, ClaimDecision::HandOver),
            (
                "unacknowledged, third attempt",
                third(detached(running(just_over))),
                ClaimDecision::HandOver,
                ClaimDecision::HandOver,
            ),
            (
                "unacknowledged, cancel asked",
                cancelled(detached(running(just_over))),
                ClaimDecision::Cancel,
                ClaimDecision::Cancel,
            ),
            (
                "unacknowledged and mine",
                mine(detached(running(just_over))),
                ClaimDecision::AlreadyOwned,
                ClaimDecision::AlreadyOwned,
            ),
            ("the agent's", left(running(alive)), ClaimDecision::Detached, ClaimDecision::Detached),
            (
                "the agent's, same request",
                same_request(left(running(alive))),
                ClaimDecision::Detached,
                ClaimDecision::Detached,
            ),
            ("the agent's, once mine", mine(left(running(alive))), ClaimDecision::Detached, ClaimDecision::Detached),
            (
                "the agent's, cancel asked",
                cancelled(left(running(alive))),
                ClaimDecision::Detached,
                ClaimDecision::Detached,
            ),
            ("silent", left(running(just_over)), ClaimDecision::Overdue, ClaimDecision::Overdue),
            ("silent, cancel asked", cancelled(left(running(just_over))), ClaimDecision::Cancel, ClaimDecision::Cancel),
            ("detached and retryable", detached(failed(true, 1)), ClaimDecision::Claim(2), ClaimDecision::Claim(2)),
            (
                "detached and completed",
                left(row(Status::Completed)),
                ClaimDecision::AlreadyEnded,
                ClaimDecision::AlreadyEnded,
            ),
        ] {
            assert_eq!(decide_claim(Some(&row), NOW, LEASE, ME), plain, "{name}");
            let rerun_if_interrupted = Claimant { rerun_if_interrupted: true, ..ME };
            assert_eq!(decide_claim(Some(&row), NOW, LEASE, rerun_if_interrupted), rerun, "{name}, rerun");
        }
        assert_eq!(decide_claim(None, NOW, LEASE, ME), ClaimDecision::Claim(1));
    }
}
