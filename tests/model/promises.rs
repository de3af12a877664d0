//! What is promised, checked at every write, at every call that reaches the agent, at every answer to Lambda, and at the
//! end. The first promise that breaks ends the schedule.

use std::{cell::RefCell, rc::Rc};

use agent_trigger::{
    domain::agent_report::ReportStatus,
    domain::detached::LONGEST_DELAY,
    domain::execution::{MAX_ATTEMPTS, Row, Status},
    domain::failure::ErrorType,
    domain::report::report_key,
};

use crate::{
    Counts,
    detached::token,
    rules::{LEASE, millis},
    sender::Sender,
    sim::{Sim, TaskId},
    table::Kind,
};

/// One promise of the life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// After a call of an attempt that was claimed without rerun the agent accepts none; with rerun another only after an
    /// attempt that died, was ended by SIGTERM, or stopped without having written its end.
    OneAcceptedCall,
    /// With rerun, when the agent accepts a call no other attempt is awake and reading an answer. (An agent whose client
    /// has left may go on: that is not promised.)
    NeverTwoAtWork,
    /// A call that travels for less than half a lease reaches the agent only while its attempt holds the execution, or
    /// when that attempt has given up waiting and written so for good, or with rerun at SIGTERM.
    OnlyTheHolderCalls,
    /// A terminal record never changes.
    TerminalStays,
    /// When deliveries and settling are over the record is terminal.
    EndsTerminal,
    /// An attempt that lost its lease never writes.
    NoZombieWrites,
    /// Nobody takes over an execution whose owner, by its own clock, still holds the lease.
    NoTakeoverOfTheLiving,
    /// `completed` is written only by the attempt whose agent call completed.
    CompletedIsTrue,
    /// No execution has more than three attempts.
    ThreeAttempts,
    /// What Lambda is told agrees with the record: a success with what the record says, a recorded failure with the
    /// recorded `errorType`, a replay with the end that stays.
    LambdaIsToldTheTruth,
    /// Everything comes to an end at all.
    Ends,
    /// Where a trigger may not run twice at once, a call that travels for less than half a lease reaches the agent only
    /// while it is its attempt's turn, or when that attempt has given up waiting and let others have it.
    OnlyInTurn,
    /// For such a trigger: when the agent accepts a call of an attempt that waits for it, no attempt of another fire is
    /// awake and reading an answer. Where so many fires may run at once, fewer others are.
    NeverTooManyAtWork,
    /// An attempt is admitted to a slot only if fewer others hold one than its own policy lets run at once, whatever those
    /// policies were that the others were admitted under. What has been released, or is of an attempt that has ended or
    /// lost its lease, does not count.
    LoweredCounts,
    /// A skipped fire is skipped for another fire, whose turn it was and whose attempt had not ended when it looked; or,
    /// having waited for an older one, for a newer one that came first. Where so many may run at once, it is skipped for so
    /// many.
    SkippedForTheLiving,
    /// Nobody is skipped for an attempt that has been dead or frozen for longer than the lease and what clocks may differ.
    NoTurnOfTheDead,
    /// No fire asks for the end of a newer one, or of itself.
    TheNewerStay,
    /// An execution whose end was asked for is never claimed again.
    CancelledStaysCancelled,
    /// The third attempt leaves nothing that is retryable.
    TheThirdIsFinal,
    /// An attempt stops for want of its lease only when it is over, or another attempt has the execution or the run lock.
    LostIsTrue,
    /// While an attempt has the run lock, it lasts at least as long as the attempt believes its lease to last.
    LockOutlastsTheLease,
    /// No attempt loses the tokens that earlier ones used.
    TokensStay,
    /// The input that an execution's first attempt kept is never overwritten.
    InputStays,
    /// Where a trigger may not run twice at once, the agent accepts no call of a fire while it works on in the session of
    /// another fire's attempt that has written its end. Where so many may, those sessions count.
    SessionsEndFirst,
    /// A run lock that was released is not held again by its attempt.
    ReleasedStaysReleased,
    /// A report changes a record only with the token of the attempt that holds it.
    NoForgery,
    /// An end by a report is the one that the attempt's agent came to.
    ReportIsTrue,
    /// `ReportOverdue` is written only when the agent's lease, or the deadline, is over. An agent that has reported
    /// before the hand-over, and has promised no heartbeat, has until the deadline.
    OverdueIsTrue,
    /// Where a trigger may not run twice at once, the agent accepts no call of a fire while it works on for another
    /// fire, whose detached run is `running`, until a quarter of an hour after its deadline. Where so many may run at
    /// once, it works for fewer others.
    DetachedKeepTheirTurn,
    /// The agent of a detached run accepts no call after its deadline, but for what a call may travel.
    CalledInTime,
    /// A detached run ends within one look after its deadline, and what the queue takes to deliver again.
    EndsByTheDeadline,
    /// A record keeps the first report that came too late.
    FirstLateReport,
    /// A fire that has waited does not take the turn after a newer one. (Not promised: that it does not after an older
    /// one which came late, when a newer one was before that.)
    WaitersYield,
}

/// The first promise that broke, of any fire of the schedule.
#[derive(Debug, Clone, Default)]
pub(crate) struct Broken(Rc<RefCell<Option<(Promise, String)>>>);

impl Broken {
    pub(crate) fn breaks(&self, promise: Promise, detail: String) {
        self.0.borrow_mut().get_or_insert((promise, detail));
    }

    pub(crate) fn is_any(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub(crate) fn first(&self) -> Option<(Promise, String)> {
        self.0.borrow().clone()
    }
}

/// What an attempt returned to Lambda.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Completed,
    Cancelled,
    Skipped,
    /// Success, with the status found.
    Duplicate(Status),
    /// A failure that this attempt wrote.
    Failed(ErrorType, bool),
    /// A failure that stands in the record for good.
    Replayed(ErrorType),
    /// A failure that the record does not know: the store's, or that another attempt is at work.
    Unrecorded(ErrorType),
    /// Success: nothing was left of an event that no trigger was seen for.
    NothingDue,
    /// Success: the run is the agent's.
    Detached,
    /// Success: the agent has reported this end.
    Reported(Status),
}

/// The event was refused, and there was no record.
pub(crate) const REFUSED: Told = Told::Unrecorded(ErrorType::InvalidEvent);

impl Told {
    pub(crate) fn is_success(self) -> bool {
        match self {
            Self::Completed | Self::Cancelled | Self::Skipped | Self::NothingDue | Self::Detached => true,
            Self::Duplicate(_) | Self::Reported(_) => true,
            Self::Failed(..) | Self::Replayed(_) | Self::Unrecorded(_) => false,
        }
    }
}

/// One attempt, as nobody but the model sees it.
#[derive(Debug, Clone)]
struct Attempt {
    owner: String,
    request_id: String,
    /// Whether its delivery says `onInterrupted: "rerun"`.
    rerun: bool,
    task: TaskId,
    clock: i64,
    is_reading: bool,
    was_accepted: bool,
    /// Whether the agent is at work in its session.
    is_agent_at_work: bool,
    is_session_stopped: bool,
    has_completed: bool,
    has_ended: bool,
    /// Whether it has left its run to its agent.
    has_left: bool,
    is_terminated: bool,
    told: Option<Told>,
    /// The end that its agent came to by itself.
    agent_ended: Option<ReportStatus>,
    /// Whether its agent has acknowledged and works on.
    works_on: bool,
}

#[derive(Default)]
struct State {
    attempts: Vec<Attempt>,
    claims: u32,
    history: Vec<Row>,
    holder: Option<String>,
    /// Since when the execution is not an attempt's any more.
    left: Vec<(String, i64)>,
    /// Whether a report of the event was settled for which no trigger was seen.
    is_missed: bool,
    /// The report key of the attempt whose agent has reported before the hand-over.
    reported: Option<String>,
    /// The time for which the queue kept looks, in milliseconds.
    waited: i64,
    broken: Broken,
}

#[derive(Clone, Default)]
pub(crate) struct Promises(Rc<RefCell<State>>);

impl Promises {
    pub(crate) fn new(broken: Broken) -> Self {
        Self(Rc::new(RefCell::new(State { broken, ..State::default() })))
    }

    pub(crate) fn starts(&self, sender: &Sender, request_id: &str, task: TaskId, clock: i64) {
        self.0.borrow_mut().attempts.push(Attempt {
            owner: sender.owner.clone(),
            request_id: request_id.to_owned(),
            rerun: sender.rerun,
            task,
            clock,
            is_reading: false,
            was_accepted: false,
            is_agent_at_work: false,
            is_session_stopped: false,
            has_completed: false,
            has_ended: false,
            has_left: false,
            is_terminated: false,
            told: None,
            agent_ended: None,
            works_on: false,
        });
    }

    /// A look died, or it failed and could not be sent anew: the queue keeps it for so many milliseconds.
    pub(crate) fn look_waits(&self, millis: i64) {
        self.0.borrow_mut().waited += millis;
    }

    /// A write that was applied.
    pub(crate) fn written(&self, sim: &Sim, kind: Kind, sender: &Sender, old: Option<&Row>, new: &Row) {
        let owner = sender.owner.as_str();
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        state.check_detached(sim, kind, sender, old, new);
        let without_late = |row: &Row| Row { late_report: None, ..row.clone() };
        if let Some(old) = old.filter(|old| is_terminal(old) && without_late(old) != without_late(new)) {
            state.breaks(Promise::TerminalStays, format!("{} became {}", old.status.as_str(), new.status.as_str()));
        }
        if let Some(old) = old.filter(|old| old.tokens() > new.tokens()) {
            let detail = format!("{} tokens of {owner} became {}", old.tokens(), new.tokens());
            state.breaks(Promise::TokensStay, detail);
        }
        if matches!(kind, Kind::Heartbeat | Kind::Finish | Kind::HandOver)
            && !old.is_some_and(|old| old.owner.as_deref() == Some(owner) && old.status == Status::Running)
        {
            state.breaks(Promise::NoZombieWrites, format!("{owner} wrote without holding the execution"));
        }
        // The lease of a run that was handed over is its agent's.
        if let (Kind::ClaimOver | Kind::EndAbandoned | Kind::HandOverDead, Some(old)) = (kind, old)
            && old.status == Status::Running
            && old.detached_at.is_none()
            && let Some(owner) = state.attempt(old.owner.as_deref())
            && old.lease_until.is_some_and(|until| sim.now() + owner.clock < until)
        {
            let detail = format!("{} still held the lease", owner.owner);
            state.breaks(Promise::NoTakeoverOfTheLiving, detail);
        }
        if matches!(kind, Kind::ClaimNew | Kind::ClaimOver) {
            state.claims += 1;
            if state.claims > MAX_ATTEMPTS || new.attempt > Some(MAX_ATTEMPTS) {
                state.breaks(Promise::ThreeAttempts, format!("claimed {} times", state.claims));
            }
            if old.is_some_and(|old| old.cancel_requested == Some(true)) {
                state.breaks(Promise::CancelledStaysCancelled, format!("{owner} claimed what was to be cancelled"));
            }
        }
        if new.attempt >= Some(MAX_ATTEMPTS) && new.status == Status::Failed && new.retryable {
            state.breaks(Promise::TheThirdIsFinal, format!("{owner} left it retryable"));
        }
        if kind == Kind::HandOver
            && let Some(attempt) = state.attempts.iter_mut().find(|attempt| attempt.owner == owner)
        {
            attempt.has_left = true;
        }
        if kind == Kind::Finish {
            let attempt = state.attempt(Some(owner));
            if new.status == Status::Completed && !attempt.is_some_and(|attempt| attempt.has_completed) {
                state.breaks(Promise::CompletedIsTrue, format!("{owner} wrote completed"));
            }
            if let Some(attempt) = state.attempts.iter_mut().find(|attempt| attempt.owner == owner) {
                attempt.has_ended = true;
            }
        } else if kind != Kind::Report
            && new.status == Status::Completed
            && old.is_none_or(|old| old.status != Status::Completed)
        {
            state.breaks(Promise::CompletedIsTrue, "completed was written by another than its attempt".to_owned());
        }
        let holder = new.owner.clone().filter(|_| new.status == Status::Running);
        if let Some(left) = state.holder.take().filter(|left| Some(left) != holder.as_ref()) {
            state.left.push((left, sim.now()));
        }
        state.holder = holder;
        state.history.push(new.clone());
    }

    /// A call reaches the agent.
    pub(crate) fn call_arrives(&self, sim: &Sim, owner: &str, is_accepted: bool) {
        let mut state = self.0.borrow_mut();
        let is_for_good =
            state.history.last().is_some_and(|row| is_terminal(row) && row.owner.as_deref() == Some(owner));
        let has_ended_for_good = state.attempt(Some(owner)).is_some_and(|attempt| {
            // One that left its run to the agent waits for no answer either.
            let has_left = attempt.has_ended || attempt.has_left;
            has_left && (is_for_good || attempt.is_terminated && attempt.rerun)
        });
        if state.holder.as_deref() != Some(owner) && !has_ended_for_good {
            let holder = state.holder.clone().unwrap_or_else(|| "nobody".to_owned());
            state.breaks(Promise::OnlyTheHolderCalls, format!("{owner} called while {holder} held the execution"));
        }
        if !is_accepted {
            return;
        }
        let is_second = state.attempts.iter().any(|attempt| {
            let has_ended = attempt.has_ended && !attempt.is_terminated;
            attempt.was_accepted && (!attempt.rerun || attempt.owner == owner || has_ended)
        });
        let at_work = state.at_work(sim, owner);
        // A call travels for less than half a lease.
        let travel = millis(LEASE.0 / 2 + LEASE.skew());
        let row = state.history.last().filter(|row| row.owner.as_deref() == Some(owner));
        if let Some(deadline) = row.and_then(|row| row.deadline).filter(|deadline| sim.now() > deadline + travel) {
            state.breaks(Promise::CalledInTime, format!("the agent accepted {owner} after its deadline, {deadline}"));
        }
        if is_second {
            state.breaks(Promise::OneAcceptedCall, format!("the agent accepted a second call, of {owner}"));
        }
        if let Some(other) = at_work {
            state.breaks(Promise::NeverTwoAtWork, format!("the agent accepted {owner} while {other} was reading"));
        }
        if let Some(attempt) = state.attempt_mut(owner) {
            attempt.was_accepted = true;
            attempt.is_agent_at_work = !attempt.is_session_stopped;
        }
    }

    /// The agent has ended its answer to the attempt.
    pub(crate) fn agent_rests(&self, owner: &str) {
        if let Some(attempt) = self.0.borrow_mut().attempt_mut(owner) {
            attempt.is_agent_at_work = false;
        }
    }

    /// The attempt has stopped its agent's session.
    pub(crate) fn session_stopped(&self, owner: &str) {
        if let Some(attempt) = self.0.borrow_mut().attempt_mut(owner) {
            attempt.is_agent_at_work = false;
            attempt.is_session_stopped = true;
        }
    }

    /// An attempt that has written its end and whose agent works on.
    pub(crate) fn left_at_work(&self) -> Option<String> {
        let state = self.0.borrow();
        let left = state.attempts.iter().find(|attempt| attempt.has_ended && attempt.is_agent_at_work);
        left.map(|attempt| attempt.owner.clone())
    }

    /// The attempts that are awake and read an answer.
    pub(crate) fn at_work(&self, sim: &Sim) -> Option<String> {
        self.0.borrow().at_work(sim, "")
    }

    /// Whether the attempt has written its end, or has left its run to its agent and the run has ended.
    pub(crate) fn has_ended(&self, owner: &str) -> bool {
        let state = self.0.borrow();
        let is_over = state.history.last().is_some_and(is_terminal);
        state.attempt(Some(owner)).is_some_and(|attempt| attempt.has_ended || attempt.has_left && is_over)
    }

    /// `owner` stops because its lease is lost. `is_over` says whether it is by its own clock, `lock` who has the run lock.
    pub(crate) fn stops(&self, owner: &str, is_over: bool, lock: Option<&str>) {
        let state = self.0.borrow();
        if state.holder.as_deref() == Some(owner) && !is_over && lock.is_none_or(|lock| lock == owner) {
            state.breaks(Promise::LostIsTrue, format!("{owner} stopped though it held everything"));
        }
    }

    /// Since when the execution is not the attempt's any more, if it was.
    pub(crate) fn was_left(&self, owner: &str) -> Option<i64> {
        self.0.borrow().left.iter().find(|(left, _)| left == owner).map(|(_, at)| *at)
    }

    /// When the attempt last did anything.
    pub(crate) fn last_awake(&self, sim: &Sim, owner: &str) -> Option<i64> {
        self.0.borrow().attempt(Some(owner)).map(|attempt| sim.last_awake(attempt.task))
    }

    /// From the POST until the attempt drops the answer.
    pub(crate) fn reads(&self, owner: &str) -> Reading {
        if let Some(attempt) = self.0.borrow_mut().attempt_mut(owner) {
            attempt.is_reading = true;
        }
        Reading { promises: self.clone(), owner: owner.to_owned() }
    }

    pub(crate) fn call_completed(&self, owner: &str) {
        if let Some(attempt) = self.0.borrow_mut().attempt_mut(owner) {
            attempt.has_completed = true;
        }
    }

    pub(crate) fn told(&self, owner: &str, told: Told) {
        if let Some(attempt) = self.0.borrow_mut().attempt_mut(owner) {
            attempt.told = Some(told);
        }
    }

    /// SIGTERM comes to the attempt.
    pub(crate) fn terminated(&self, owner: &str) {
        if let Some(attempt) = self.0.borrow_mut().attempt_mut(owner) {
            attempt.is_terminated = true;
        }
    }

    /// A report of the event is settled for which no trigger is seen: it need not leave a record.
    pub(crate) fn missed(&self) {
        self.0.borrow_mut().is_missed = true;
    }

    /// The attempt's agent has come to its end, and will say so.
    pub(crate) fn agent_ends(&self, owner: &str, status: ReportStatus) {
        if let Some(attempt) = self.0.borrow_mut().attempt_mut(owner) {
            attempt.agent_ended = Some(status);
            attempt.works_on = false;
        }
    }

    /// The attempt's agent works on by itself, or does so no more.
    pub(crate) fn agent_works_on(&self, owner: &str, works_on: bool) {
        if let Some(attempt) = self.0.borrow_mut().attempt_mut(owner) {
            attempt.works_on = works_on;
        }
    }

    /// The attempt whose agent works on for a detached run that may.
    pub(crate) fn works_on(&self, sim: &Sim) -> Option<String> {
        let state = self.0.borrow();
        let row = state.history.last().filter(|row| row.status == Status::Running)?;
        let last = millis(LONGEST_DELAY);
        let is_in_time = row.deadline.is_some_and(|deadline| sim.now() <= deadline + last);
        let attempt = state.attempt(row.owner.as_deref()).filter(|attempt| attempt.works_on && is_in_time);
        attempt.map(|attempt| attempt.owner.clone())
    }

    /// The tokens that are not those of the present record.
    pub(crate) fn tokens_of_others(&self) -> Vec<String> {
        let state = self.0.borrow();
        let key = state.history.last().and_then(|row| row.report_key.clone());
        let tokens = state.attempts.iter().map(|attempt| token(&attempt.owner));
        // A token of an attempt that has yet to claim could become the record's.
        let was_held = |own: &String| state.history.iter().any(|row| row.report_key.as_ref() == Some(own));
        tokens.filter(|token| Some(report_key(token)) != key && was_held(&report_key(token))).collect()
    }

    /// Whether the execution is of a detached run.
    pub(crate) fn is_detached(&self) -> bool {
        self.0.borrow().history.last().is_some_and(|row| row.report_key.is_some())
    }

    /// Once nothing is left to do.
    pub(crate) fn over(&self, has_ended: bool, row: Option<&Row>) {
        let state = self.0.borrow();
        if !has_ended {
            state.breaks(Promise::Ends, "the schedule does not end".to_owned());
        }
        // An event that was refused, or for which no trigger was seen, needs no record if no attempt has left one.
        let needs_none = |told: Option<Told>| matches!(told, Some(REFUSED | Told::NothingDue));
        if row.is_none() && (state.is_missed || state.attempts.iter().any(|attempt| needs_none(attempt.told))) {
            return;
        }
        let Some(row) = row.filter(|row| is_terminal(row)) else {
            let status = row.map_or("absent", |row| row.status.as_str());
            state.breaks(Promise::EndsTerminal, format!("in the end it is {status}"));
            return;
        };
        let lie = state.attempts.iter().find_map(|attempt| {
            let told = attempt.told?;
            (!is_true(attempt, told, row, &state.history)).then(|| {
                let error_type = row.error_type.as_deref().unwrap_or_default();
                format!("{} told {told:?}, the record says {} {error_type}", attempt.owner, row.status.as_str())
            })
        });
        if let Some(lie) = lie {
            state.breaks(Promise::LambdaIsToldTheTruth, lie);
        }
    }

    /// What happened, for the table at the end.
    pub(crate) fn count(&self, row: Option<&Row>, counts: &mut Counts) {
        let state = self.0.borrow();
        let mut add = |name: String| *counts.entry(name).or_default() += 1;
        if let Some(row) = row {
            add(["record: ", row.status.as_str(), " ", row.error_type.as_deref().unwrap_or_default()].concat());
        }
        for attempt in &state.attempts {
            match attempt.told {
                Some(Told::Duplicate(status)) => add(format!("told: duplicate {}", status.as_str())),
                Some(Told::Failed(error_type, retryable)) => {
                    add(format!("told: {error_type}{}", if retryable { " retryable" } else { "" }));
                }
                Some(Told::Replayed(error_type)) => add(format!("told: {error_type} replayed")),
                Some(Told::Unrecorded(error_type)) => add(format!("told: {error_type} unrecorded")),
                Some(told) => add(format!("told: {told:?}")),
                None => add("told: nothing, it died".to_owned()),
            }
        }
        add(format!("accepted calls: {}", state.attempts.iter().filter(|attempt| attempt.was_accepted).count()));
        add(format!("claims: {}", state.claims));
        if row.is_some_and(|row| row.late_report.is_some()) {
            add("late report".to_owned());
        }
    }
}

impl State {
    fn attempt(&self, owner: Option<&str>) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| Some(attempt.owner.as_str()) == owner)
    }

    fn attempt_mut(&mut self, owner: &str) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| attempt.owner == owner)
    }

    /// The attempts that are awake and read an answer beside `owner`.
    fn at_work(&self, sim: &Sim, owner: &str) -> Option<String> {
        let heartbeat = millis(LEASE.heartbeat());
        let mut others = self.attempts.iter().filter(|attempt| attempt.owner != owner);
        let at_work = others.find(|attempt| {
            // An agent that has come to its end may say so before its acknowledgement is read.
            let is_reading = attempt.is_reading && attempt.agent_ended.is_none();
            is_reading && !sim.is_done(attempt.task) && !sim.is_unaware(attempt.task, heartbeat)
        });
        at_work.map(|attempt| attempt.owner.clone())
    }

    fn breaks(&self, promise: Promise, detail: String) {
        self.broken.breaks(promise, detail);
    }

    /// What only detached runs promise.
    fn check_detached(&mut self, sim: &Sim, kind: Kind, sender: &Sender, old: Option<&Row>, new: &Row) {
        let Some(old) = old else { return };
        let skew = millis(LEASE.skew());
        let token = sender.token.borrow();
        if matches!(kind, Kind::Note | Kind::Report | Kind::LateReport) {
            let is_own = token.as_ref().is_some_and(|token| Some(report_key(token)) == old.report_key);
            if !is_own {
                self.breaks(Promise::NoForgery, format!("{kind:?} with {token:?}"));
            }
        }
        if kind == Kind::Report {
            let agent = self.attempt(old.owner.as_deref()).and_then(|attempt| attempt.agent_ended);
            let is_true = match new.status {
                Status::Completed => agent == Some(ReportStatus::Completed),
                Status::Failed => agent == Some(ReportStatus::Failed) || old.cancel_requested == Some(true),
                Status::Cancelled => old.cancel_requested == Some(true),
                Status::Running | Status::Skipped => false,
            };
            if !is_true {
                self.breaks(Promise::ReportIsTrue, format!("{} of an agent that {agent:?}", new.status.as_str()));
            }
        }
        if kind == Kind::Note && old.detached_at.is_none() {
            self.reported.clone_from(&old.report_key);
        }
        let is_overdue = new.error_type.as_deref() == Some(ErrorType::ReportOverdue.as_str());
        if is_overdue && old.status == Status::Running {
            let is_over = old.lease_until.is_none_or(|until| sim.now() + skew >= until);
            if !is_over || old.detached_at.is_none() {
                self.breaks(Promise::OverdueIsTrue, format!("the agent had until {:?}", old.lease_until));
            }
            let has_promised = old.heartbeat_seconds.is_some();
            let is_heard = self.reported.is_some() && self.reported == old.report_key;
            if let Some(deadline) =
                old.deadline.filter(|deadline| is_heard && !has_promised && sim.now() + skew < *deadline)
            {
                self.breaks(Promise::OverdueIsTrue, format!("the agent had reported, and had until {deadline}"));
            }
        }
        if let Some(first) = &old.late_report
            && new.report_key == old.report_key
            && new.late_report.as_ref() != Some(first)
        {
            self.breaks(Promise::FirstLateReport, format!("{first} became {:?}", new.late_report));
        }
        if old.detached_at.is_some()
            && is_terminal(new)
            && !is_terminal(old)
            && old.deadline.is_some_and(|deadline| sim.now() > deadline + LATEST + self.waited)
        {
            self.breaks(Promise::EndsByTheDeadline, format!("the deadline was {:?}", old.deadline));
        }
    }
}

/// The time after a deadline by which a look must have come through: its delay, and outages and looks after them. The time
/// for which the queue keeps a look that died comes on top.
const LATEST: i64 = 1_500_000;

pub(crate) fn is_terminal(row: &Row) -> bool {
    match row.status {
        Status::Running => false,
        Status::Failed => !row.retryable,
        Status::Completed | Status::Cancelled | Status::Skipped => true,
    }
}

fn is_true(attempt: &Attempt, told: Told, row: &Row, history: &[Row]) -> bool {
    let says =
        |error_type: ErrorType| row.status == Status::Failed && row.error_type.as_deref() == Some(error_type.as_str());
    let is_own = row.owner.as_deref() == Some(&attempt.owner);
    match told {
        Told::Completed => row.status == Status::Completed && is_own,
        Told::Cancelled => row.status == Status::Cancelled,
        Told::Skipped => row.status == Status::Skipped && is_own,
        Told::Duplicate(Status::Running) => history
            .iter()
            .any(|row| row.status == Status::Running && row.lambda_request_id.as_ref() != Some(&attempt.request_id)),
        Told::Duplicate(status) => row.status == status,
        Told::Failed(error_type, false) => says(error_type) && is_own,
        Told::Failed(error_type, true) => history.iter().any(|row| {
            row.status == Status::Failed
                && row.retryable
                && row.owner.as_deref() == Some(&attempt.owner)
                && row.error_type.as_deref() == Some(error_type.as_str())
        }),
        Told::Replayed(error_type) => says(error_type),
        Told::Detached => history.iter().any(|row| row.detached_at.is_some()),
        Told::Reported(status) => row.status == status,
        Told::Unrecorded(_) | Told::NothingDue => true,
    }
}

/// An answer that an attempt waits for or reads.
pub(crate) struct Reading {
    promises: Promises,
    owner: String,
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(attempt) = self.promises.0.borrow_mut().attempt_mut(&self.owner) {
            attempt.is_reading = false;
        }
    }
}
