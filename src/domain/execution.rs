//! An execution's row and its lease, and what they say about the attempts at it, as pure functions of the row, the time
//! and the attempt. `claim_decision` and `close_decision` decide by them. docs/records.md, What is promised, says what
//! they guarantee. The tests below contain them as tables.
//!
//! Instants are in milliseconds since 1970, as records hold them.

use std::time::Duration;

use crate::domain::{finish_reason::FinishReason, usage::Usage};

/// The most attempts that an execution gets. The failure of the last one is final whatever its cause, so that no
/// execution stays retryable for ever.
pub const MAX_ATTEMPTS: u32 = 3;

/// The number of times that another attempt's write may invalidate a decision before this attempt gives up.
pub const MAX_SWAPS: usize = 5;

/// The status of an execution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Status {
    /// An attempt works on it, or died while it did.
    #[default]
    Running,
    /// The agent's answer was read to its successful end, or the agent reported that end.
    Completed,
    /// It failed.
    Failed,
    /// Somebody requested its cancellation.
    Cancelled,
    /// It was due but deliberately not run.
    Skipped,
}

impl Status {
    /// Returns the word as records hold it: the variant's name in lower case.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the status that a record names, or `None` if this version does not know the word.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

/// The part of a stored execution on which decisions depend. An attribute that a row may lack is an `Option`, so that a
/// later write can require it to be exactly as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The status.
    pub status: Status,
    /// The user whose trigger it is of.
    pub user_id: Option<String>,
    /// The attempt that holds, or last held, the lease.
    pub owner: Option<String>,
    /// The number of attempts so far.
    pub attempt: Option<u32>,
    /// The end of the lease.
    pub lease_until: Option<i64>,
    /// True if the attempt that holds the lease stops when it ends, so that another attempt may call the agent then.
    pub rerun_if_interrupted: bool,
    /// True if somebody requested its cancellation.
    pub cancel_requested: Option<bool>,
    /// True if it failed and another attempt may claim it.
    pub retryable: bool,
    /// The Lambda request of the last attempt.
    pub lambda_request_id: Option<String>,
    /// The `time` of the bus event that fired, RFC 3339.
    pub event_time: Option<String>,
    /// The start of the first attempt, RFC 3339.
    pub started_at: Option<String>,
    /// The time at which the row expires, in seconds since 1970. DynamoDB deletes it some time later.
    pub ttl: Option<i64>,
    /// The type of the failure, if it failed.
    pub error_type: Option<String>,
    /// The text of the failure, if it failed.
    pub error: Option<String>,
    /// The agent's session.
    pub session_id: Option<String>,
    /// The agent's request id.
    pub request_id: Option<String>,
    /// The tokens that all attempts used, as far as the agent reported them.
    pub usage: Option<Usage>,
    /// The hash of the input of the last attempt, if its claim or a heartbeat has written it.
    pub settings_hash: Option<String>,
    /// The agent.
    pub agent_id: Option<String>,
    /// The ARN of the execution of Step Functions that waits for the run.
    pub caller: Option<String>,
    /// The time at which the agent was last heard, RFC 3339.
    pub last_event_at: Option<String>,
    /// The hash of the token with which the agent of a detached run reports. Only a detached run has one.
    pub report_key: Option<String>,
    /// The time at which the lease passed to the agent, RFC 3339.
    pub detached_at: Option<String>,
    /// The time by which a detached run must have ended.
    pub deadline: Option<i64>,
    /// The time for the first report if the acknowledgement was lost, in seconds. The agent's report before the
    /// hand-over removes it.
    pub first_report_seconds: Option<u32>,
    /// The interval at which the agent promised to report, in seconds.
    pub heartbeat_seconds: Option<u32>,
    /// True if the lease passed to the agent without its acknowledgement.
    pub ack_lost: Option<bool>,
    /// The time of the end, RFC 3339.
    pub completed_at: Option<String>,
    /// The status of a report that came too late.
    pub late_report: Option<String>,
    /// The ways to stop short that count as completed, joined by commas.
    pub accept_finish_reasons: Option<String>,
    /// True if the run holds its trigger's run lock until it ends.
    pub has_run_lock: Option<bool>,
    /// The slot of the run lock that it holds, if it is not slot 0.
    pub run_slot: Option<u32>,
}

impl Row {
    /// Returns the input and output tokens that all attempts used, as far as the agent reported them. They are 0 if it
    /// reported none.
    pub fn tokens(&self) -> u64 {
        self.usage.map_or(0, Usage::tokens)
    }

    /// Returns true if the row's ttl has passed at `now`, in milliseconds since 1970. DynamoDB deletes such a row late,
    /// so it counts as absent. A row without a ttl never expires.
    pub fn is_expired(&self, now: i64) -> bool {
        self.ttl.is_some_and(|ttl| ttl <= now / 1000)
    }

    /// Returns the state of a running detached run whose lease no living invocation holds. If the agent has the lease,
    /// it is `AtWork` or, once that is over, `Overdue`. If an invocation had the lease last and it is over, it is
    /// `Unacknowledged`. Returns `None` if an invocation's lease lasts, if the row is not running, or if it has no
    /// report key, which only a detached run has.
    pub fn detached_state(&self, now: i64, lease: Lease) -> Option<DetachedState> {
        if self.status != Status::Running || self.report_key.is_none() {
            return None;
        }
        match (self.detached_at.is_some(), lease.is_alive(self.lease_until, now)) {
            (true, true) => Some(DetachedState::AtWork),
            (true, false) => Some(DetachedState::Overdue),
            (false, false) => Some(DetachedState::Unacknowledged),
            (false, true) => None,
        }
    }

    /// Returns the slot of its trigger's run lock that the run holds until it ends, or `None` if it holds none. A row
    /// that names no slot holds slot 0.
    pub fn held_slot(&self) -> Option<u32> {
        self.has_run_lock.filter(|has| *has).map(|_| self.run_slot.unwrap_or(0))
    }

    /// Returns true if the row's `accept_finish_reasons` name `reason`, so that a run whose agent stops short for it
    /// counts as completed. A row without them accepts none.
    pub fn accepts(&self, reason: FinishReason) -> bool {
        let accepted = self.accept_finish_reasons.as_deref().unwrap_or_default();
        accepted.split(',').any(|accepted| accepted == reason.as_str())
    }
}

/// An execution, identified by its ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutionRef<'a> {
    /// The user of the trigger. It is empty where it is unknown.
    pub user_id: &'a str,
    /// The trigger.
    pub trigger_id: &'a str,
    /// The execution.
    pub execution_id: &'a str,
}

/// An attempt that holds an execution's lease, or tries to get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder<'a> {
    /// The execution.
    pub execution: ExecutionRef<'a>,
    /// The attempt's own id.
    pub owner: &'a str,
}

/// The duration of a lease, from which its other times follow.
#[derive(Debug, Clone, Copy)]
pub struct Lease(pub Duration);

impl Lease {
    /// Returns the interval at which the owner extends the lease: a third of it, so that one lost heartbeat does no
    /// harm.
    pub fn heartbeat(self) -> Duration {
        self.0 / 3
    }

    /// Returns the difference between two machines' clocks that is tolerated: a sixth of the lease.
    pub fn skew(self) -> Duration {
        self.0 / 6
    }

    /// Returns the end of a lease that is taken at `now`: its whole duration later.
    pub fn until(self, now: i64) -> i64 {
        now.saturating_add(millis(self.0))
    }

    /// Returns true if the owner of a lease that ends at `lease_until` may send a request to the agent at `now`: at
    /// least half of a lease's duration must be left. Otherwise it could end, and another attempt could own the
    /// execution, before the agent has the request.
    pub fn may_call(self, lease_until: i64, now: i64) -> bool {
        lease_until.saturating_sub(now) >= millis(self.0 / 2)
    }

    /// Returns true if an owner that cannot extend its lease must stop at `now`: the lease is over, and somebody else
    /// may call the agent then. This is another attempt with rerun, or another execution that takes the run lock. If
    /// nobody may, the conditions of the writes keep two attempts from recording an end.
    pub fn must_stop(lease_until: i64, now: i64, another_may_call: bool) -> bool {
        another_may_call && now >= lease_until
    }

    /// Returns true if an attempt whose lease ends at `lease_until` may still be at work at `now`: until the lease's
    /// end plus [`Lease::skew`], that moment included. An attempt without a lease is not alive.
    pub fn is_alive(self, lease_until: Option<i64>, now: i64) -> bool {
        lease_until.is_some_and(|until| now <= self.over_after(until))
    }

    /// Returns the time after which a lease that ends at `lease_until` counts as over, by whatever clock: its end plus
    /// [`Lease::skew`].
    pub fn over_after(self, lease_until: i64) -> i64 {
        lease_until.saturating_add(millis(self.skew()))
    }

    /// Returns the time before which a lease must have ended to count as over at `now`: `now` less [`Lease::skew`].
    pub fn over_before(self, now: i64) -> i64 {
        now.saturating_sub(millis(self.skew()))
    }
}

/// Returns a duration in milliseconds. One that does not fit becomes the largest number.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The state of a detached run that no invocation holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetachedState {
    /// The agent holds the lease.
    AtWork,
    /// The agent's lease is over.
    Overdue,
    /// The invocation's lease is over, and the agent has acknowledged nothing.
    Unacknowledged,
}

/// Returns true if the failure of the attempt with this number is recorded as retryable: it is `retryable` itself, and
/// the attempt is not the last ([`MAX_ATTEMPTS`]).
pub fn is_retryable(retryable: bool, attempt: u32) -> bool {
    retryable && attempt < MAX_ATTEMPTS
}

/// Returns true if there is a row, it is running, and `owner` is its owner.
pub fn is_held(row: Option<&Row>, owner: &str) -> bool {
    row.is_some_and(|row| row.owner.as_deref() == Some(owner) && row.status == Status::Running)
}

/// Returns true if the row that refused an owner's final write is the result of that same write, whose answer was lost:
/// it has the owner, the status, the time and the type of the failure that were written. The owner and the status alone
/// do not show this. Another attempt that finds the owner dead writes `failed` and leaves the owner's id in the row,
/// and so does the report of a detached run's agent, which may also answer its call in full.
pub fn is_own_finish(
    row: Option<&Row>,
    owner: &str,
    status: Status,
    completed_at: &str,
    error_type: Option<&str>,
) -> bool {
    row.is_some_and(|row| {
        row.owner.as_deref() == Some(owner)
            && row.status == status
            && row.completed_at.as_deref() == Some(completed_at)
            && row.error_type.as_deref() == error_type
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;
    const LEASE: Lease = Lease(Duration::from_secs(30));

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

    #[test]
    fn a_call_needs_half_the_lease() {
        for (left, may_call) in [(30_000, true), (15_000, true), (14_999, false), (0, false), (-1, false)] {
            assert_eq!(LEASE.may_call(NOW + left, NOW), may_call, "{left} ms left");
        }
    }

    #[test]
    fn a_lease_is_over_when_it_is_so_by_every_clock() {
        assert_eq!((LEASE.over_after(NOW), LEASE.over_before(NOW)), (NOW + 5_000, NOW - 5_000));
        for (late, is_alive) in [(-60_000, true), (0, true), (5_000, true), (5_001, false)] {
            assert_eq!(LEASE.is_alive(Some(NOW), NOW + late), is_alive, "{late} ms after its end");
            assert_eq!(NOW >= LEASE.over_before(NOW + late), is_alive, "{late} ms after its end");
        }
        assert!(!LEASE.is_alive(None, NOW));
    }

    #[test]
    fn only_a_run_that_may_be_rerun_stops_when_its_lease_cannot_be_extended() {
        for (left, rerun, must_stop) in [(1, true, false), (0, true, true), (0, false, false), (-60_000, false, false)]
        {
            assert_eq!(Lease::must_stop(NOW + left, NOW, rerun), must_stop, "{left} ms left, rerun {rerun}");
        }
    }

    #[test]
    fn the_third_failure_is_final() {
        for (retryable, attempt, expected) in [(true, 1, true), (true, 2, true), (true, 3, false), (false, 1, false)] {
            assert_eq!(is_retryable(retryable, attempt), expected);
        }
    }

    #[test]
    fn an_execution_is_held_while_it_runs() {
        assert!(is_held(Some(&running(0)), "other"));
        assert!(!is_held(Some(&running(0)), "me"));
        assert!(!is_held(Some(&failed(true, 1)), "other"));
        assert!(!is_held(None, "other"));
    }

    #[test]
    fn an_own_finish_is_known_by_owner_status_time_and_failure() {
        let is_own = |row: Option<&Row>, status, error_type| is_own_finish(row, "me", status, "then", error_type);
        for (status, error_type) in [(Status::Completed, None), (Status::Failed, Some("Interrupted"))] {
            let own = Row {
                owner: Some("me".into()),
                completed_at: Some("then".into()),
                error_type: error_type.map(str::to_owned),
                ..row(status)
            };
            assert!(is_own(Some(&own), status, error_type));
            assert!(!is_own(None, status, error_type));
            for other in [
                Row { owner: Some("other".into()), ..own.clone() },
                Row { status: Status::Cancelled, ..own.clone() },
                Row { error_type: Some("AgentUnavailable".into()), ..own.clone() },
                // The agent of a detached run has reported the same end.
                Row { completed_at: Some("before".into()), ..own.clone() },
                Row { completed_at: None, ..own.clone() },
            ] {
                assert!(!is_own(Some(&other), status, error_type), "{other:?}");
            }
        }
    }

    #[test]
    fn a_run_that_names_no_slot_holds_the_first() {
        for (has_run_lock, run_slot, held) in [
            (None, None, None),
            (Some(false), None, None),
            (None, Some(2), None),
            (Some(true), None, Some(0)),
            (Some(true), Some(2), Some(2)),
        ] {
            let row = Row { has_run_lock, run_slot, ..Row::default() };
            assert_eq!(row.held_slot(), held, "{has_run_lock:?}, {run_slot:?}");
        }
    }

    #[test]
    fn statuses_keep_their_words() {
        for status in <Status as strum::VariantArray>::VARIANTS.iter().copied() {
            assert_eq!(Status::from_name(status.as_str()), Some(status));
        }
        assert_eq!(Status::from_name("done"), None);
    }
}
