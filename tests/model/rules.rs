//! The rules that keep the promises, each of which can be taken out. A mutation wraps the ports: it changes a condition as
//! the request passes ([`Rules::change`]), or the answer as the caller gets it ([`Rules::show`]), or the machine's clock
//! (`clock`), so that the real code behaves as it would without the rule.

use std::time::Duration;

use agent_trigger::{
    domain::detached::LONGEST_DELAY,
    domain::execution::{self, Lease},
    domain::report::report_key,
    store::{
        item::{Item, Key},
        table::Written,
    },
};
use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    expression::{Action, Change, Clause, Operator, Request, integer},
    sender::{Phase, Sender},
    table::{Answer, Kind, Operation, name, slot_of},
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
    /// An attempt gives up its own slot, and no other.
    OwnSlotIsFreed,
    /// What has a slot beyond the policy's number counts.
    LoweredCounts,
    /// What it finds instead, when that is refused, is asked for in its turn: it may be its own.
    LookAnew,
    /// It is free when its attempt has ended, given up or not.
    EndedTurnIsFree,
    /// An attempt whose turn it is stops at the end of its lease, with rerun or without.
    StopWithTheTurn,
    /// What is newer is not cancelled.
    NewerStays,
    /// An attempt that has waited does not take the run lock after a newer one.
    WaitersYield,
    /// A claim demands that `cancelRequested` is as it was seen.
    CancelRequestedAsSeen,
    /// Only a run lock that was not released is kept.
    ReleasedStaysReleased,
    /// A heartbeat that arrives late does not shorten the run lock.
    KeptLockOnlyGrows,
    /// A lease that was extended while the run lock was taken does not count.
    LockTakenMeanwhile,
    /// The third attempt's claim that is taken back is final too.
    TakenBackIsFinal,
    /// An event that is refused, and the report of one, look at the execution's row before.
    DetoursLook,
    /// A claim keeps the tokens of the attempts before it.
    TokensAreKept,
    /// An input is kept only if none is.
    InputIfAbsent,
    /// The session of an agent that may be at work is stopped before the end is written.
    StopBeforeTheTurn,
    /// Nothing that SIGTERM ends is retryable once the agent may have been called, unless it is to be run again.
    TerminatedIsFinalOnceCalled,
    /// An event remembers which trigger its request runs in place, before the claim.
    InPlaceIsRemembered,
    /// Only an attempt that was claimed with rerun is run again once its lease is over.
    RerunAsClaimed,
    /// A report must bear the token of the attempt that holds the record.
    KeyIsChecked,
    /// No heartbeat extends a lease beyond the deadline.
    DeadlineEnds,
    /// A look is sent before the call.
    LookIsSent,
    /// A look at a living run sends the next.
    LookIsSentAgain,
    /// A hand-over demands that the attempt owns a running execution.
    HandOverIsConditional,
    /// The run lock of a detached run is taken until its deadline before the call.
    LockUntilTheDeadline,
    /// And for a while longer, because the look that ends the run comes after the deadline.
    LockAfterTheDeadline,
    /// A report before the hand-over is the first one.
    EarlyReportCounts,
    /// No agent of a detached run is called once its deadline is over.
    CalledInTime,
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

    pub(crate) fn is_retryable(self, retryable: bool, attempt: u32) -> bool {
        if self.has(Rule::ThirdIsFinal) { execution::is_retryable(retryable, attempt) } else { retryable }
    }

    /// Makes of an operation what the store would send without the rule.
    pub(crate) fn change(self, operation: &mut Operation, sender: &Sender) {
        if self.without.is_none() {
            return;
        }
        match operation {
            Operation::Get(key) => shown_as_older(key),
            Operation::Query { .. } => {}
            Operation::Write(request) => self.change_write(request, sender),
            Operation::Transact(requests, _) => {
                requests.iter_mut().for_each(|request| self.change_write(request, sender));
            }
        }
    }

    fn change_write(self, request: &mut Request, sender: &Sender) {
        let kind = Kind::of(request);
        let is_lock = matches!(kind, Kind::TakeLock | Kind::KeepLock | Kind::ReleaseLock);
        let takes_over = kind.takes_over(request);
        let is_taken_back = kind == Kind::Finish && sender.phase.get() == Phase::Claim;
        if is_taken_back && !self.has(Rule::TakenBackIsFinal) {
            request.replace("retryable", &AttributeValue::Bool(true));
        }
        if kind == Kind::ClaimOver
            && !self.has(Rule::TokensAreKept)
            && let Change::Put(item) = &mut request.change
        {
            item.remove("usage");
        }
        if kind == Kind::KeepLock && sender.phase.get() == Phase::Other && !self.has(Rule::LockUntilTheDeadline) {
            let until = sender.sent_at.get() + millis(LEASE.0);
            request.replace("leaseUntil", &AttributeValue::N(until.to_string()));
        }
        if kind == Kind::KeepLock
            && sender.phase.get() == Phase::Other
            && !self.has(Rule::LockAfterTheDeadline)
            && let Some(until) = request.value("leaseUntil").and_then(integer)
        {
            let deadline = until - millis(LONGEST_DELAY);
            request.replace("leaseUntil", &AttributeValue::N(deadline.to_string()));
        }
        if kind == Kind::Note
            && !self.has(Rule::EarlyReportCounts)
            && let Change::Update(actions) = &mut request.change
        {
            actions.retain(|action| !matches!(action, Action::Remove(_)));
        }
        if !self.has(Rule::InputIfAbsent) && request.key.1.starts_with("INPUT#") {
            request.condition.edit(&mut |clause| *clause = Clause::Always);
        }
        shown_as_older(&mut request.key);
        if kind == Kind::ReleaseLock && !self.has(Rule::OwnSlotIsFreed) {
            // The slot beside its own, whoever has it.
            request.key.1 = neighbour(&request.key.1);
            request.condition.edit(&mut |clause| *clause = Clause::Always);
        }
        request.condition.edit(&mut |clause| self.change_clause(clause, kind, is_lock, takes_over));
    }

    fn change_clause(self, clause: &mut Clause, kind: Kind, is_lock: bool, takes_over: bool) {
        use Operator::{AtMost, Equal, Less, More};
        let Some(rule) = self.without else { return };
        let is = |attribute: &str, operator| clause.compares(attribute, operator);
        let is_report = matches!(kind, Kind::Note | Kind::Report | Kind::LateReport);
        let is_left_out = match rule {
            Rule::KeyIsChecked => is_report && is("reportKey", Equal),
            Rule::HandOverIsConditional => kind == Kind::HandOver,
            Rule::Owner => !is_lock && matches!(kind, Kind::Heartbeat | Kind::Finish) && is("owner", Equal),
            Rule::Terminal => !is_lock && (is("status", Equal) || is("retryable", Equal)),
            Rule::LeaseUntilAsSeen => !is_lock && is("leaseUntil", Equal),
            Rule::RetryableAsSeen => !is_lock && is("retryable", Equal) && kind != Kind::AskForCancel,
            Rule::CancelRequestedAsSeen => clause.attribute() == "cancelRequested",
            Rule::LeaseOnlyGrows => kind == Kind::Heartbeat && is("leaseUntil", AtMost),
            Rule::TurnOwner => matches!(kind, Kind::KeepLock | Kind::ReleaseLock) && is("owner", Equal),
            Rule::TurnOnlyGrows => is_lock && is("leaseUntil", AtMost),
            Rule::KeptLockOnlyGrows => kind == Kind::KeepLock && is("leaseUntil", AtMost),
            Rule::ReleasedStaysReleased => kind == Kind::KeepLock && is("leaseUntil", More),
            Rule::TurnAsSeen => takes_over,
            Rule::WaitersYield => kind == Kind::TakeLock && !takes_over && clause.attribute() == "executionId",
            _ => false,
        };
        if is_left_out {
            *clause = Clause::Always;
        }
        let Clause::Compare(attribute, operator, value) = clause else { return };
        match value {
            AttributeValue::N(number) => {
                let mut instant: i64 = number.parse().unwrap_or_default();
                match (rule, attribute.as_str(), operator) {
                    (Rule::TurnLease, "leaseUntil", Less) => instant = i64::MAX,
                    (Rule::TurnSkew, "leaseUntil", Less) => instant += millis(LEASE.skew()),
                    (Rule::TurnLapses, "leaseUntil", Less) => instant = 1,
                    (Rule::Lease | Rule::Skew, "leaseUntil", Equal) if !is_lock => instant += self.looks_older(),
                    _ => return,
                }
                *number = instant.to_string();
            }
            AttributeValue::S(text) => {
                if let Some(real) = text.strip_prefix('!') {
                    *text = real.to_owned();
                }
            }
            _ => {}
        }
    }

    /// How much older than they are the leases of others look.
    fn looks_older(self) -> i64 {
        match self.without {
            Some(Rule::Skew) => millis(LEASE.skew()),
            Some(Rule::Lease) => 1_000_000_000,
            _ => 0,
        }
    }

    /// Makes of an answer what leads the store's caller where it would go without the rule.
    pub(crate) fn show(self, operation: &Operation, answer: &mut Answer, sender: &Sender) {
        let Some(rule) = self.without else { return };
        let is_execution = |key: &Key| key.1.starts_with("EXECUTION#");
        match (operation, answer) {
            (Operation::Query { .. }, Answer::Found(items)) if rule == Rule::LoweredCounts => {
                items.retain(|item| item["SK"].as_s().is_ok_and(|key| slot_of(key).is_none()));
            }
            (Operation::Get(key), Answer::Got(item)) if is_execution(key) => {
                if rule == Rule::EndedTurnIsFree && sender.phase.get() == Phase::Admit {
                    *item = None;
                }
                self.show_row(item.as_mut(), sender);
            }
            (Operation::Write(request), Answer::Written(Written::Refused(item))) => {
                let kind = Kind::of(request);
                if is_execution(&request.key) {
                    self.show_row(item.as_mut(), sender);
                }
                if let Some(item) = item {
                    if rule == Rule::OwnFailure && kind == Kind::Finish {
                        for name in ["completedAt", "errorType"] {
                            match request.value(name) {
                                Some(value) => item.insert(name.to_owned(), value.clone()),
                                None => item.remove(name),
                            };
                        }
                    }
                    if rule == Rule::NewerStays
                        && kind == Kind::TakeLock
                        && let Some(AttributeValue::S(id)) = item.get_mut("executionId")
                        && id.as_str() > name(sender.execution).as_str()
                    {
                        id.insert(0, '!');
                    }
                }
            }
            _ => {}
        }
    }

    /// Shows a report's endpoint what it would see without a rule of its own.
    fn show_to_report(self, item: &mut Item, sender: &Sender) {
        if sender.phase.get() != Phase::Report {
            return;
        }
        let token = sender.token.borrow();
        match (self.without, token.as_ref()) {
            (Some(Rule::KeyIsChecked), Some(token)) if item.contains_key("reportKey") => {
                item.insert("reportKey".to_owned(), AttributeValue::S(report_key(token)));
            }
            (Some(Rule::DeadlineEnds), _) if item.contains_key("deadline") => {
                item.insert("deadline".to_owned(), AttributeValue::N((i64::MAX / 2).to_string()));
            }
            _ => {}
        }
    }

    fn show_row(self, mut item: Option<&mut Item>, sender: &Sender) {
        if let Some(item) = item.as_deref_mut() {
            self.show_to_report(item, sender);
        }
        let Some(item) = item else { return };
        if !self.has(Rule::RerunAsClaimed) {
            item.insert("rerunIfInterrupted".to_owned(), AttributeValue::Bool(true));
        }
        if self.looks_older() == 0 {
            return;
        }
        let is_own = item.get("owner").is_some_and(|owner| owner.as_s().is_ok_and(|owner| *owner == sender.owner));
        if let Some(AttributeValue::N(until)) = item.get_mut("leaseUntil").filter(|_| !is_own) {
            *until = (until.parse::<i64>().unwrap_or_default() - self.looks_older()).to_string();
        }
    }
}

/// Returns the key of the slot beside this one.
fn neighbour(key: &str) -> String {
    match slot_of(key) {
        Some(0) => "EXECUTION_SLOT#1#u".to_owned(),
        Some(1) => "RUNNING#u".to_owned(),
        _ => "EXECUTION_SLOT#1#u".to_owned(),
    }
}

/// An execution that was shown as an older one (`!e1`) is meant where its key is used.
fn shown_as_older(key: &mut Key) {
    if let Some(real) = key.1.strip_prefix("EXECUTION#!") {
        key.1 = format!("EXECUTION#{real}");
    }
}
