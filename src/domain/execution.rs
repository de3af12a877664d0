//! The execution record's life cycle: decisions only, as pure functions of (row, now, attempt). What they
//! promise is in README.md, What is promised; their table is the test below.
//!
//! Instants are milliseconds since 1970, as records hold them.

use std::time::Duration;

/// The most attempts an execution gets. The last one's failure is final whatever its cause, so that nothing stays
/// retryable for ever.
pub const MAX_ATTEMPTS: u32 = 3;

/// How often a decision may be overtaken by another attempt's write before it is given up.
pub const MAX_SWAPS: usize = 5;

/// Where an execution stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Status {
    /// An attempt works on it, or died doing so.
    #[default]
    Running,
    /// The agent's answer was read to its successful end.
    Completed,
    /// It failed.
    Failed,
    /// Somebody asked for its end.
    Cancelled,
    /// It was due but deliberately not run.
    Skipped,
}

impl Status {
    /// Returns the word as records hold it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the status that a record names, if this version knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

/// A stored execution, as far as decisions look at it. What may be missing from a row is an `Option`, so that a later
/// write can demand it exactly as it was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Where it stands.
    pub status: Status,
    /// Whose it is.
    pub user_id: Option<String>,
    /// The attempt that holds, or last held, the lease.
    pub owner: Option<String>,
    /// How many attempts there were.
    pub attempt: Option<u32>,
    /// When the lease ends.
    pub lease_until: Option<i64>,
    /// Whether somebody asked for its end.
    pub cancel_requested: Option<bool>,
    /// Of a failed one: whether an attempt may claim it again.
    pub retryable: bool,
    /// The Lambda request of the last attempt.
    pub lambda_request_id: Option<String>,
    /// When the first attempt started, RFC 3339.
    pub started_at: Option<String>,
    /// When the row ends, in seconds since 1970; DynamoDB deletes it later than that.
    pub ttl: Option<i64>,
    /// Of a failed one: why.
    pub error_type: Option<String>,
    /// Of a failed one: the text.
    pub error: Option<String>,
    /// The agent's session.
    pub session_id: Option<String>,
    /// The agent's request id.
    pub request_id: Option<String>,
    /// The input and output tokens it has used, as far as they were reported.
    pub tokens: u64,
}

/// An execution by its ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutionRef<'a> {
    /// The user of the trigger; empty where nobody knows it.
    pub user_id: &'a str,
    /// The trigger.
    pub trigger_id: &'a str,
    /// The execution.
    pub execution_id: &'a str,
}

/// The attempt that holds an execution's lease, or asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder<'a> {
    /// The execution.
    pub execution: ExecutionRef<'a>,
    /// The attempt's own id.
    pub owner: &'a str,
}

/// The lease's times.
#[derive(Debug, Clone, Copy)]
pub struct Lease(pub Duration);

impl Lease {
    /// How often the owner extends it: every third, so that one lost heartbeat costs nothing.
    pub fn heartbeat(self) -> Duration {
        self.0 / 3
    }

    /// How far two clocks may differ.
    pub fn skew(self) -> Duration {
        self.0 / 6
    }

    /// The end of a lease taken at `now`.
    pub fn until(self, now: i64) -> i64 {
        now.saturating_add(millis(self.0))
    }

    /// Whether the owner of a lease that ends at `lease_until` may send a request to the agent: half of it must be left,
    /// else it could be over, and the execution another's, before the agent has the request.
    pub fn may_call(self, lease_until: i64, now: i64) -> bool {
        lease_until.saturating_sub(now) >= millis(self.0 / 2)
    }

    /// Whether an owner that cannot extend its lease must stop: if another may call the agent once the lease is over, as
    /// another attempt may with rerun. Else nobody does, and fencing keeps two attempts from writing.
    pub fn must_stop(lease_until: i64, now: i64, another_may_call: bool) -> bool {
        another_may_call && now >= lease_until
    }

    /// Whether an attempt whose lease ends at `lease_until` may still be at work.
    pub fn is_alive(self, lease_until: Option<i64>, now: i64) -> bool {
        lease_until.is_some_and(|until| now <= until.saturating_add(millis(self.skew())))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The attempt that asks.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// This attempt's own id.
    pub owner: &'a str,
    /// The Lambda request it serves.
    pub lambda_request_id: &'a str,
    /// `onInterrupted: "rerun"`.
    pub rerun_if_interrupted: bool,
}

/// What an attempt does about its fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimDecision {
    /// Take it as this attempt, counted from 1.
    Claim(u32),
    /// The claim had succeeded: its answer was lost.
    AlreadyOwned,
    /// It ended: return what is stored.
    AlreadyEnded,
    /// Its end was asked for and nobody is at work: write `cancelled`.
    Cancel,
    /// Another request's attempt is at work: succeed and touch nothing.
    Duplicate,
    /// Another attempt of this very request is at work: look again later.
    Wait,
    /// An attempt died and the agent may have been called: write `Interrupted`.
    Interrupt,
}

/// Decides from the stored row, in the order of the table below; cancelling comes before claiming, else a cancelled
/// execution would run.
pub fn decide_claim(row: Option<&Row>, now: i64, lease: Lease, me: Claimant<'_>) -> ClaimDecision {
    let Some(row) = row.filter(|row| row.ttl.is_none_or(|ttl| ttl > now / 1000)) else {
        return ClaimDecision::Claim(1);
    };
    let attempt = row.attempt.unwrap_or(0);
    let may_claim_again = attempt < MAX_ATTEMPTS;
    let cancel_requested = row.cancel_requested == Some(true);
    match row.status {
        Status::Running if row.owner.as_deref() == Some(me.owner) => ClaimDecision::AlreadyOwned,
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
        Status::Running if me.rerun_if_interrupted && may_claim_again => ClaimDecision::Claim(attempt + 1),
        Status::Running => ClaimDecision::Interrupt,
    }
}

/// What settling does about an execution for which Lambda will deliver no further attempt. It never calls an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseAction {
    /// No attempt got as far as a record: write `failed` with the reason Lambda reports.
    Create,
    /// The last attempt died: write `Interrupted`.
    Interrupt,
    /// No attempt will use the right to run again: make the failure final.
    Finalise,
    /// Its end was asked for: write `cancelled`.
    Cancel,
    /// An attempt may still be at work: look again later.
    Alive,
    /// It ended.
    Nothing,
}

/// Decides how to settle, from the stored row.
pub fn decide_close(row: Option<&Row>, now: i64, lease: Lease) -> CloseAction {
    let Some(row) = row.filter(|row| row.ttl.is_none_or(|ttl| ttl > now / 1000)) else {
        return CloseAction::Create;
    };
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

/// Whether a failure of `attempt` is written as retryable.
pub fn is_retryable(retryable: bool, attempt: u32) -> bool {
    retryable && attempt < MAX_ATTEMPTS
}

/// Whether `owner` still owns the running execution.
pub fn is_held(row: Option<&Row>, owner: &str) -> bool {
    row.is_some_and(|row| row.owner.as_deref() == Some(owner) && row.status == Status::Running)
}

/// Whether the row that refused an owner's final write shows that very write, its answer lost. The owner and the status
/// do not say so: who finds an attempt dead writes `failed` and leaves the owner.
pub fn is_own_finish(row: Option<&Row>, owner: &str, status: Status, error_type: Option<&str>) -> bool {
    row.is_some_and(|row| {
        row.owner.as_deref() == Some(owner) && row.status == status && row.error_type.as_deref() == error_type
    })
}

#[cfg(test)]
mod tests {
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

    /// Every row there can be, without and with rerun.
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
            ("over, same request", same_request(running(just_over)), ClaimDecision::Interrupt, ClaimDecision::Claim(2)),
            ("over, cancel asked", cancelled(running(just_over)), ClaimDecision::Cancel, ClaimDecision::Cancel),
            ("over, third attempt", third(running(just_over)), ClaimDecision::Interrupt, ClaimDecision::Interrupt),
            (
                "no lease at all",
                Row { lease_until: None, attempt: None, ..row(Status::Running) },
                ClaimDecision::Interrupt,
                ClaimDecision::Claim(1),
            ),
        ] {
            assert_eq!(decide_claim(Some(&row), NOW, LEASE, ME), plain, "{name}");
            let rerun_if_interrupted = Claimant { rerun_if_interrupted: true, ..ME };
            assert_eq!(decide_claim(Some(&row), NOW, LEASE, rerun_if_interrupted), rerun, "{name}, rerun");
        }
        assert_eq!(decide_claim(None, NOW, LEASE, ME), ClaimDecision::Claim(1));
    }

    #[test]
    fn settling_ends_what_nobody_works_on() {
        let cancelled = |row: Row| Row { cancel_requested: Some(true), ..row };
        let over = NOW - 5_001;
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
        ] {
            assert_eq!(decide_close(row.as_ref(), NOW, LEASE), expected, "{name}");
        }
    }

    #[test]
    fn a_call_needs_half_the_lease() {
        for (left, may_call) in [(30_000, true), (15_000, true), (14_999, false), (0, false), (-1, false)] {
            assert_eq!(LEASE.may_call(NOW + left, NOW), may_call, "{left} ms left");
        }
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
    fn an_own_finish_is_known_by_owner_status_and_failure() {
        let own = Row { owner: Some("me".into()), ..row(Status::Completed) };
        assert!(is_own_finish(Some(&own), "me", Status::Completed, None));
        assert!(!is_own_finish(Some(&own), "me", Status::Failed, None));
        assert!(!is_own_finish(Some(&own), "other", Status::Completed, None));
        assert!(!is_own_finish(None, "me", Status::Completed, None));
        let interrupted = Row { owner: Some("me".into()), error_type: Some("Interrupted".into()), ..failed(false, 1) };
        assert!(is_own_finish(Some(&interrupted), "me", Status::Failed, Some("Interrupted")));
        assert!(!is_own_finish(Some(&interrupted), "me", Status::Failed, Some("AgentUnavailable")));
    }

    #[test]
    fn statuses_keep_their_words() {
        for status in <Status as strum::VariantArray>::VARIANTS.iter().copied() {
            assert_eq!(Status::from_name(status.as_str()), Some(status));
        }
        assert_eq!(Status::from_name("done"), None);
    }
}
