//! The decision of how to close an execution that no attempt will work on again, as a pure function of its row. The
//! test below contains it as a table.

use crate::domain::execution::{DetachedState, Lease, Row, Status};

/// The action that closes an execution which no attempt will work on again. It never calls an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseAction {
    /// There is no record. Write one with the ending that the caller gives.
    Create,
    /// The last attempt died. Write `Interrupted`.
    Interrupt,
    /// It could be retried, but no further attempt will come. Make the failure final.
    Finalise,
    /// Its cancellation was requested. Write `cancelled`.
    Cancel,
    /// An attempt may still be at work. Read the row again later.
    Alive,
    /// It has ended. There is nothing to do.
    Nothing,
    /// The agent of a detached run works on it, or reports about it. There is nothing to do: a look ends it.
    Detached,
    /// The agent of a detached run has been silent for too long. Write `ReportOverdue`.
    Overdue,
    /// The attempt of a detached run died, and the agent may be at work. Let the lease pass to the agent.
    HandOver,
}

/// Decides how to close an execution that no attempt will work on again. `now` is in milliseconds since 1970. A lease
/// lasts until its end plus [`Lease::skew`]. The first line that applies decides:
///
/// - There is no row, or its ttl has passed: `Create`.
/// - The row is that of a running detached run and no invocation holds its lease: `Detached` if the agent's lease
///   lasts. If it is over, or if the invocation's is and the agent has none: `Cancel` if that was requested, and
///   otherwise `Overdue` for an agent's lease and `HandOver` for an invocation's.
/// - It is running and its lease lasts: `Alive`.
/// - It is completed, cancelled, skipped, or failed for good: `Nothing`.
/// - Its cancellation was requested: `Cancel`.
/// - It is running: `Interrupt`. It failed and may be retried: `Finalise`.
///
/// The decision holds for this row only: the caller writes on the condition that it is unchanged, and decides again if
/// it is not.
pub fn decide_close(row: Option<&Row>, now: i64, lease: Lease) -> CloseAction {
    let Some(row) = row.filter(|row| row.ttl.is_none_or(|ttl| ttl > now / 1000)) else {
        return CloseAction::Create;
    };
    match (row.detached_state(now, lease), row.cancel_requested == Some(true)) {
        (None, _) => {}
        (Some(DetachedState::AtWork), _) => return CloseAction::Detached,
        (Some(DetachedState::Overdue | DetachedState::Unacknowledged), true) => return CloseAction::Cancel,
        (Some(DetachedState::Overdue), false) => return CloseAction::Overdue,
        (Some(DetachedState::Unacknowledged), false) => return CloseAction::HandOver,
    }
    let is_open = match row.status {
        Status::Completed | Status::Cancelled | Status::Skipped => false,
        Status::Failed => row.retryable,
        Status::Running if lease.is_alive(row.lease_until, now) => return CloseAction::Alive,
        Status::Running => true,
    };
    match row.status {
        _ if !is_open => CloseAction::Nothing,
        _ if row.cancel_requested == Some(true) => CloseAction::Cancel,
        Status::Running => CloseAction::Interrupt,
        _ => CloseAction::Finalise,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: i64 = 1_000_000_000;
    const LEASE: Lease = Lease(Duration::from_secs(30));

    fn row(status: Status) -> Row {
        Row { status, attempt: Some(1), lease_until: Some(NOW - 60_000), ttl: Some(NOW / 1000 + 1), ..Row::default() }
    }

    fn running(lease_until: i64) -> Row {
        Row { lease_until: Some(lease_until), ..row(Status::Running) }
    }

    fn failed(retryable: bool, attempt: u32) -> Row {
        Row { retryable, attempt: Some(attempt), ..row(Status::Failed) }
    }

    #[test]
    fn closing_ends_an_execution_without_an_attempt() {
        let cancelled = |row: Row| Row { cancel_requested: Some(true), ..row };
        let over = NOW - 5_001;
        let detached = |row: Row| Row { report_key: Some("key".into()), ..row };
        let left = |row: Row| Row { detached_at: Some("then".into()), ..detached(row) };
        for (name, row, expected) in [
            ("absent", None, CloseAction::Create),
            ("expired", Some(Row { ttl: Some(NOW / 1000), ..row(Status::Running) }), CloseAction::Create),
            ("alive", Some(running(NOW)), CloseAction::Alive),
            ("alive, cancel asked", Some(cancelled(running(NOW))), CloseAction::Alive),
            ("over", Some(running(over)), CloseAction::Interrupt),
            ("over, cancel asked", Some(cancelled(running(over))), CloseAction::Cancel),
            ("retryable", Some(failed(true, 3)), CloseAction::Finalise),
            ("retryable, cancel asked", Some(cancelled(failed(true, 1))), CloseAction::Cancel),
            ("final", Some(failed(false, 1)), CloseAction::Nothing),
            ("final, cancel asked", Some(cancelled(failed(false, 1))), CloseAction::Nothing),
            ("completed", Some(row(Status::Completed)), CloseAction::Nothing),
            ("cancelled", Some(row(Status::Cancelled)), CloseAction::Nothing),
            ("skipped", Some(row(Status::Skipped)), CloseAction::Nothing),
            ("of a detached run, alive", Some(detached(running(NOW))), CloseAction::Alive),
            ("unacknowledged", Some(detached(running(over))), CloseAction::HandOver),
            ("unacknowledged, cancel asked", Some(cancelled(detached(running(over)))), CloseAction::Cancel),
            ("the agent's", Some(left(running(NOW))), CloseAction::Detached),
            ("the agent's, cancel asked", Some(cancelled(left(running(NOW)))), CloseAction::Detached),
            ("silent", Some(left(running(over))), CloseAction::Overdue),
            ("silent, cancel asked", Some(cancelled(left(running(over)))), CloseAction::Cancel),
            ("detached and completed", Some(left(row(Status::Completed))), CloseAction::Nothing),
        ] {
            assert_eq!(decide_close(row.as_ref(), NOW, LEASE), expected, "{name}");
        }
    }
}
