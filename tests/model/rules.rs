//! The rules that keep the promises, each of which can be taken out; and the decisions of `agent_trigger::execution` as
//! actors reach them, with what a missing rule makes of their answers.

use std::time::Duration;

use agent_trigger::{
    domain::execution::{self, ClaimDecision, Claimant, CloseAction, Lease, Row, Status},
    domain::policy::Overlap,
    domain::run_lock::{self, Meeting},
};

pub(crate) const LEASE: Lease = Lease(Duration::from_secs(30));

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).expect("a short time")
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Heartbeat and finish demand the owner.
    Owner,
    /// A takeover waits until the lease is over.
    Lease,
    /// And for as long as clocks may differ.
    Skew,
    /// A takeover demands `leaseUntil` as it was seen.
    LeaseUntilAsSeen,
    /// Every write demands a status that is not terminal.
    Terminal,
    /// Half a lease must be left before a POST.
    HalfALease,
    /// And still be left when the answer of the renewal is there.
    HalfALeaseAfterRenewing,
    /// A claim demands that the failure it goes over is still retryable.
    RetryableAsSeen,
    /// A heartbeat that arrives late does not shorten the lease.
    LeaseOnlyGrows,
    /// With rerun an attempt stops at the very end of its lease, not at its next failing heartbeat.
    StopAtTheEnd,
    /// The row that refused a finish must show that very finish, its failure too.
    OwnFailure,
    /// The third attempt's failure is final.
    ThirdIsFinal,
    /// Nothing is retryable once the agent may have been called.
    FinalOnceCalled,
    /// The turn is kept with each heartbeat.
    TurnIsKept,
    /// It is not taken from an attempt that works before its lease is over.
    TurnLease,
    /// Nor before no clock says that it is held.
    TurnSkew,
    /// But then it is.
    TurnLapses,
    /// It is kept and given up by its attempt alone.
    TurnOwner,
    /// A write that arrives late does not shorten it.
    TurnOnlyGrows,
    /// Taken from an attempt that has ended, it is so as it was seen.
    TurnAsSeen,
    /// What it finds instead, when that is refused, is asked for in its turn: it may be its own.
    LookAnew,
    /// It is free when its attempt has ended, given up or not.
    EndedTurnIsFree,
    /// An attempt whose turn it is stops at the end of its lease, with rerun or without.
    StopWithTheTurn,
    /// What is newer is not cancelled.
    NewerStays,
    /// Who has waited does not take the turn after a newer one.
    WaitersYield,
}

/// The rules of one run: all, or all but one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) without: Option<Rule>,
}

impl Rules {
    pub(crate) fn has(self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    pub(crate) fn decide(self, row: Option<&Row>, now: i64, me: Claimant<'_>) -> ClaimDecision {
        execution::decide_claim(row, self.takeover_clock(row, now), LEASE, me)
    }

    pub(crate) fn settle(self, row: Option<&Row>, now: i64) -> CloseAction {
        execution::decide_close(row, self.takeover_clock(row, now), LEASE)
    }

    /// A clock that is ahead by what a rule makes a takeover wait.
    fn takeover_clock(self, row: Option<&Row>, now: i64) -> i64 {
        match row.filter(|row| row.status == Status::Running).and_then(|row| row.lease_until) {
            Some(until) if !self.has(Rule::Lease) => now.max(until + millis(LEASE.skew()) + 1),
            Some(_) if !self.has(Rule::Skew) => now + millis(LEASE.skew()),
            _ => now,
        }
    }

    pub(crate) fn may_call(self, lease_until: i64, now: i64) -> bool {
        !self.has(Rule::HalfALease) || LEASE.may_call(lease_until, now)
    }

    pub(crate) fn over_before(self, now: i64) -> i64 {
        if !self.has(Rule::TurnLease) {
            i64::MAX
        } else if self.has(Rule::TurnSkew) {
            run_lock::over_before(LEASE, now)
        } else {
            now
        }
    }

    pub(crate) fn meet(self, overlap: Overlap, me: &str, other: &str, asked: Option<&str>) -> Meeting {
        // Without the rule nothing is newer than what comes.
        let me = if self.has(Rule::NewerStays) { me } else { "~" };
        match run_lock::meet(overlap, me, other, asked) {
            Meeting::Lost if !self.has(Rule::LookAnew) => Meeting::Skip,
            meeting => meeting,
        }
    }

    pub(crate) fn is_retryable(self, retryable: bool, attempt: u32) -> bool {
        if self.has(Rule::ThirdIsFinal) { execution::is_retryable(retryable, attempt) } else { retryable }
    }
}
