//! One attempt: the real claim, lease, run lock and finish, driven over the simulated ports. What stands in for the rest of
//! `src/run/` is here, and is all of the function that the model copies: the order of the steps (`run_fire`), the race of
//! the call with its limits (`AttemptRun::to_its_end`), the tries of the call (`AttemptRun::call_agent`), the token, and the choice of
//! the ending (`AttemptRun::ending`). They need an `App` with its HTTP clients, which knows no simulated machine.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use agent_trigger::{
    clock::{Clock as _, Deadline},
    domain::{
        answer::Progress,
        attempt::{Attempt as Claimed, StartTime},
        close_decision::CloseAction,
        detached::{Detachment, lease_after, lease_of_unacknowledged},
        ending::{Ending, Overlapping, SkipReason},
        execution::{ExecutionRef, Holder, Row, Status},
        failure::{ErrorType, Failure},
        fire::{Fire, Origin},
        policy::{Overlap, Policy},
        report::report_key,
        run_state::RunState,
        task::Task,
        trigger_snapshot::TriggerKnowledge,
        usage::Usage,
    },
    lifecycle::{
        abandoned::{CloseError, UnstartedExecution},
        claim::{Claim, claim_or_give_up},
        close::CloseLimits,
        detached::{Left, after_close, arm, hand_over_once, leave_to_agent, why_lost},
        earlier::Looker,
        lease::{HeldSlot, NotHeld, OwnedExecution, RunStop, Stop},
        overlap::admit,
    },
    store::{Store, detached::HandOver, in_place::Remembered},
};

use crate::{
    agent::{Agent, Posted},
    clock::SimClock,
    detached::{SimLooks, token},
    network::Client,
    promises::{REFUSED, Told},
    rules::{LEASE, Rule, Rules, millis},
    schedule::World,
    sender::{Phase, Sender},
    sim::Sim,
    table::{TRIGGER, name, number},
};

/// As in `src/backoff.rs`.
const MAX_TRIES: usize = 3;
/// As in `src/run/session.rs`, and for the input in `src/run/input.rs`.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
const STOP_TIMEOUT_AT_THE_END: Duration = Duration::from_millis(500);
const USER: &str = "u";

type Owned<'a> = OwnedExecution<'a, Client, SimClock>;

pub(crate) struct Attempt {
    pub(crate) sim: Sim,
    pub(crate) rules: Rules,
    pub(crate) store: Store<Client, SimClock>,
    pub(crate) clock: SimClock,
    pub(crate) agent: Agent,
    pub(crate) sender: Rc<Sender>,
    pub(crate) request_id: String,
    pub(crate) overlap: Overlap,
    pub(crate) detour: Option<Detour>,
    /// Whether it is an event's, which remembers the trigger that it runs in place.
    pub(crate) is_event: bool,
    /// When SIGTERM comes.
    pub(crate) terminated_at: Option<i64>,
    pub(crate) deadline: Deadline,
    pub(crate) world: World,
    /// Whether the timer of a detached run is set.
    pub(crate) is_armed: Cell<bool>,
}

/// The way in which the agent has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// To the end of its run.
    InFull,
    /// It works on, and promises to report at this interval, in seconds.
    Acknowledged(Option<u32>),
}

/// What keeps a delivery from claiming the execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detour {
    /// The trigger is deleted: the event is refused.
    Gone,
    /// The trigger is switched off: the fire is skipped.
    SwitchedOff,
    /// The index does not show the trigger.
    Unseen,
}

/// Returns the fire of an execution.
pub(crate) fn fire(rerun: bool) -> Fire {
    Fire {
        trigger_id: TRIGGER.into(),
        user_id: USER.into(),
        task: Task { rerun_if_interrupted: rerun, session_id: Some("s".to_owned()), ..Task::unknown() },
        trigger: None,
        origin: Origin::Request { dispatcher: None },
        event_id: None,
        source: None,
        event_source_id: None,
        detail_type: None,
        event_time: None,
        chain_depth: 0,
        replay_of: None,
        waiting: None,
        replayed_definition: None,
        is_stored: false,
    }
}

impl Attempt {
    /// Runs the attempt and returns what Lambda is told. As `run_fire` does.
    pub(crate) async fn run(&self) -> Told {
        let fire = fire(self.sender.rerun);
        match self.detour {
            Some(Detour::Unseen) => return self.unseen(&fire).await,
            Some(detour) => return self.past_the_claim(&fire, detour).await,
            None if self.is_event && self.rules.has(Rule::InPlaceIsRemembered) => {
                let in_place = (USER.into(), TRIGGER.into());
                let remembering = self.store.remember_in_place(&self.request_id, &in_place, i64::MAX / 1000);
                match self.clock.timeout_at(self.deadline.run_until, remembering).await {
                    Some(Ok(_)) => {}
                    None | Some(Err(_)) => return Told::Unrecorded(ErrorType::RecordStoreFailed),
                }
            }
            None => {}
        }
        let state = RunState::default();
        let mut attempt = Claimed {
            execution_id: name(self.sender.execution).into(),
            owner: self.sender.owner.clone(),
            attempt: 1,
            lambda_request_id: self.request_id.clone(),
            started_at: "2027-01-15T08:00:00.000Z".to_owned(),
            ttl: i64::MAX / 1000,
            session_id: "s".to_owned(),
            trace: None,
            snapshot: None,
            before: None,
            usage_before: None,
            detachment: self.detachment(),
        };
        let claiming = Box::pin(claim_or_give_up(&self.store, &fire, &mut attempt, LEASE, self.deadline, &state));
        let until = match self.sender.within(Phase::Claim, claiming).await {
            Ok(Claim::Owned(until)) => until,
            Ok(Claim::Duplicate(row)) if row.status == Status::Failed => {
                return Told::Replayed(Failure::of_row(&row).error_type);
            }
            Ok(Claim::Duplicate(row)) => return Told::Duplicate(row.status),
            Ok(Claim::Detached(_)) => return Told::Detached,
            Ok(Claim::Unacknowledged(row)) => return self.hand_over_dead(&attempt.execution_id, row).await,
            Ok(Claim::Cancelled(_)) => return Told::Cancelled,
            Ok(Claim::Interrupted(failure, _)) => return Told::Replayed(failure.error_type),
            Err(failure) => return Told::Unrecorded(failure.error_type),
        };
        let execution = ExecutionRef { user_id: USER, trigger_id: TRIGGER, execution_id: &attempt.execution_id };
        let owned = OwnedExecution {
            store: &self.store,
            lease: LEASE,
            holder: Holder { execution, owner: &attempt.owner },
            rerun_if_interrupted: fire.task.rerun_if_interrupted,
            until: AtomicI64::new(until),
            trigger: OnceLock::from(TriggerKnowledge::Absent),
            slot: HeldSlot::default(),
            is_detached: AtomicBool::new(self.world.detached.is_some()),
            usage_before: attempt.usage_before,
            state: &state,
        };
        let stopped = self.to_its_end(&owned, &attempt).await;
        let told = self.finish(&owned, stopped, &attempt).await;
        if owned.slot.get().is_some() {
            self.agent.alone.gives_up(&self.sender.owner);
        }
        owned.release_run_lock(self.deadline).await;
        told
    }

    /// What the claim of a detached run writes.
    fn detachment(&self) -> Option<Detachment> {
        let key = report_key(&token(&self.sender.owner));
        self.world.detached.map(|settings| settings.detachment(key, self.clock.now_millis()))
    }

    /// Leaves the run of a dead attempt to its agent. As `not_run` in src/run/mod.rs does.
    async fn hand_over_dead(&self, id: &str, row: Row) -> Told {
        let execution = ExecutionRef { user_id: USER, trigger_id: TRIGGER, execution_id: id };
        let looks = SimLooks::new(&self.world, false);
        let handing = hand_over_once(&self.store, &looks, LEASE, execution, row);
        match self.clock.timeout_at(self.deadline.run_until, handing).await {
            Some(Ok(Some(row))) if row.status == Status::Failed => Told::Replayed(Failure::of_row(&row).error_type),
            Some(Ok(Some(row))) if row.status != Status::Running => Told::Duplicate(row.status),
            Some(Ok(_)) => Told::Detached,
            Some(Err(_)) | None => Told::Unrecorded(ErrorType::RecordStoreFailed),
        }
    }

    /// Finds no trigger for the event, and ends what an earlier attempt of the request ran in place. As
    /// `Router::end_earlier` in src/routing/mod.rs does.
    async fn unseen(&self, fire: &Fire) -> Told {
        let reading = self.store.remembered(&self.request_id);
        match self.clock.timeout_at(self.deadline.run_until, reading).await {
            Some(Ok(Remembered { in_place: None, .. })) => Told::NothingDue,
            Some(Ok(_)) => match self.past_the_claim(fire, Detour::Gone).await {
                REFUSED => Told::NothingDue,
                told => told,
            },
            None | Some(Err(_)) => Told::Unrecorded(ErrorType::RecordStoreFailed),
        }
    }

    /// Routes past the claim. As `Unrun` in src/routing/unrun.rs does.
    async fn past_the_claim(&self, fire: &Fire, detour: Detour) -> Told {
        if detour == Detour::Gone && !self.rules.has(Rule::DetoursLook) {
            return REFUSED;
        }
        let state = RunState::default();
        let limits = CloseLimits { until: self.deadline.run_until, state: &state };
        let (lease, deadline) = (LEASE, self.deadline);
        let looker = Looker { lambda_request_id: &self.request_id, lease, deadline, limits };
        let started = StartTime::new(self.clock.now_millis(), std::time::Duration::from_secs(30 * 24 * 60 * 60));
        let skipped = UnstartedExecution {
            fire,
            started: &started,
            lambda_request_id: &self.request_id,
            attempt: 1,
            ending: Ending::skipped(self.clock.now_millis(), SkipReason::Disabled),
        };
        let skipped = Some(&skipped).filter(|_| detour == Detour::SwitchedOff);
        let id = name(self.sender.execution);
        let ending = looker.end(&self.store, fire, &id, skipped);
        let mut ended = self.clock.timeout_at(deadline.run_until, ending).await;
        if let Some(Ok(closed)) = ended {
            let execution = ExecutionRef { user_id: USER, trigger_id: TRIGGER, execution_id: &id };
            let looks = SimLooks::new(&self.world, false);
            match after_close(&self.store, &looks, LEASE, execution, closed).await {
                Ok(closed) => ended = Some(Ok(closed)),
                Err(_) => return Told::Unrecorded(ErrorType::RecordStoreFailed),
            }
        }
        match ended {
            None | Some(Err(CloseError::Store(_) | CloseError::Contended | CloseError::OfAnotherUser(_))) => {
                Told::Unrecorded(ErrorType::RecordStoreFailed)
            }
            Some(Err(CloseError::InProgress(_))) => Told::Unrecorded(ErrorType::InProgress),
            Some(Ok((CloseAction::Create, _))) => Told::Duplicate(Status::Skipped),
            Some(Ok((_, None))) => REFUSED,
            Some(Ok((CloseAction::Interrupt, _))) => Told::Replayed(ErrorType::Interrupted),
            Some(Ok((CloseAction::Overdue, _))) => Told::Replayed(ErrorType::ReportOverdue),
            Some(Ok((CloseAction::Detached | CloseAction::HandOver, _))) => Told::Detached,
            Some(Ok((CloseAction::Cancel, _))) => Told::Cancelled,
            Some(Ok((_, Some(row)))) if row.status == Status::Failed => {
                Told::Replayed(Failure::of_row(&row).error_type)
            }
            Some(Ok((_, Some(row)))) => Told::Duplicate(row.status),
        }
    }

    async fn to_its_end(&self, owned: &Owned<'_>, claimed: &Claimed) -> Result<Answered, RunStop> {
        if self.terminated_at.is_some_and(|at| at <= self.sim.now()) {
            return Err(self.interrupted(owned));
        }
        let mut keep = pin!(owned.keep());
        let keeping = poll_fn(|context| {
            let polled = keep.as_mut().poll(context);
            let extended = self.sender.extended_meanwhile.take();
            if let Some(until) = extended.filter(|_| !self.rules.has(Rule::LockTakenMeanwhile)) {
                owned.until.fetch_max(until, Ordering::Relaxed);
            }
            polled
        });
        tokio::select! {
            biased;
            outcome = self.call_agent(owned, claimed) => outcome,
            () = self.clock.sleep_until(self.deadline.run_until) => {
                Err(self.unless_called(owned, ErrorType::DeadlineExceeded))
            }
            stop = self.sender.within(Phase::Keep, keeping) => Err(RunStop::Stopped(stop)),
            () = self.sim.sleep_until(self.terminated_at.unwrap_or(i64::MAX / 2)) => Err(self.interrupted(owned)),
        }
    }

    /// Calls the agent and reads its answer to the end.
    async fn call_agent(&self, owned: &Owned<'_>, claimed: &Claimed) -> Result<Answered, RunStop> {
        let token = self.token(owned).await;
        let policy = Policy { overlap: self.overlap, ..Policy::default() };
        let looks = SimLooks::new(&self.world, false);
        self.sender.asks_since.set(self.sim.now());
        self.sender.within(Phase::Admit, admit(owned, &policy, &looks)).await?;
        if let Overlap::AtMost(most) = self.overlap {
            let (owner, since) = (&self.sender.owner, self.sender.asks_since.get());
            self.agent.alone.admitted(&self.sim, owner, most, since);
        }
        self.keep_input(owned).await;
        token?;
        if let (Some(settings), Some(detachment)) = (self.world.detached, &claimed.detachment) {
            let looks = SimLooks::new(&self.world, false);
            arm(owned, &looks, Some(detachment), Some((detachment, settings.first_look())), i64::MAX / 1000).await?;
            self.is_armed.set(true);
        }
        let mut tries = 1;
        let mut may_refresh = true;
        // It stands for the connection, which ends where the run does.
        let (reading, (answer_millis, failure)) = loop {
            self.sender.within(Phase::Window, owned.ensure_call_window()).await?;
            if !self.may_call_after(claimed, Duration::ZERO) {
                return Err(self.unless_called(owned, ErrorType::DeadlineExceeded));
            }
            if let Some(slot) = owned.slot.get() {
                self.agent.alone.trusts(&self.sender.owner, slot, owned.until.load(Ordering::Relaxed));
            }
            owned.state.facts().agent_called = true;
            let reading = self.agent.promises.reads(&self.sender.owner);
            match self.agent.post(&self.sender.owner).await {
                Posted::Streams { millis, failure } => break (reading, (millis, failure)),
                Posted::Acknowledges { heartbeat_seconds } => {
                    return Ok(Answered::Acknowledged(heartbeat_seconds));
                }
                Posted::Failed(error_type) => return Err(fatal(error_type)),
                Posted::Unauthorized if may_refresh => {
                    owned.state.facts().agent_called = false;
                    may_refresh = false;
                    self.token(owned).await?;
                }
                Posted::Unauthorized => return Err(fatal(ErrorType::AgentRejected)),
                Posted::Unavailable { retry_after } => {
                    owned.state.facts().agent_called = false;
                    let wait = self.sim.draw(0..=400 << tries).max(retry_after);
                    let wait = Duration::from_millis(wait.unsigned_abs());
                    let may_wait = self.deadline.allows(&self.clock, wait) && self.may_call_after(claimed, wait);
                    if tries == MAX_TRIES || !may_wait {
                        return Err(retryable(ErrorType::AgentUnavailable));
                    }
                    tries += 1;
                    drop(reading);
                    self.clock.sleep(wait).await;
                }
            }
        };
        let usage = Some(Usage { input_tokens: 7, output_tokens: 3, ..Usage::default() });
        let progress = Progress { events: 1, usage, ..Progress::default() };
        owned.state.report(progress, || self.clock.now_millis());
        self.sim.sleep(answer_millis).await;
        drop(reading);
        match failure {
            _ if self.sim.chance(1) => Err(self.unless_called(owned, ErrorType::Internal)),
            Some(error_type) => {
                if error_type == ErrorType::AgentFailed {
                    self.agent.promises.agent_rests(&self.sender.owner);
                }
                Err(fatal(error_type))
            }
            None => {
                self.agent.promises.agent_rests(&self.sender.owner);
                self.agent.promises.call_completed(&self.sender.owner);
                Ok(Answered::InFull)
            }
        }
    }

    /// Returns true if the time of a detached run is not over after `wait`. As `AttemptRun::may_call_after` does.
    fn may_call_after(&self, claimed: &Claimed, wait: Duration) -> bool {
        let detachment = claimed.detachment.as_ref().filter(|_| self.rules.has(Rule::CalledInTime));
        detachment.is_none_or(|detachment| detachment.may_call_after(wait, self.clock.now_millis()))
    }

    /// Keeps the input, which differs from attempt to attempt as if the trigger item were edited all the time. As
    /// `AttemptRun::keep_input` does.
    async fn keep_input(&self, owned: &Owned<'_>) {
        let (id, has_lock) = (owned.holder.execution.execution_id, owned.slot.get().is_some());
        let keeping = self.store.keep_input(TRIGGER, id, &self.sender.owner, has_lock, i64::MAX / 1000);
        let until = self.clock.instant() + STOP_TIMEOUT;
        // Kept or not, the run goes on.
        let _ = self.clock.timeout_at(until, keeping).await;
    }

    /// Stops the agent's session, where the agent may still be at work. As `AttemptRun::stop_session` does.
    async fn stop_session(&self) {
        let is_terminated = self.terminated_at.is_some_and(|at| at <= self.sim.now());
        let limit = if is_terminated { STOP_TIMEOUT_AT_THE_END } else { STOP_TIMEOUT };
        self.sim.sleep(self.sim.draw(0..=millis(limit))).await;
        self.agent.promises.session_stopped(&self.sender.owner);
    }

    async fn token(&self, owned: &Owned<'_>) -> Result<(), RunStop> {
        let sim = &self.sim;
        sim.sleep(if sim.chance(10) { sim.draw(1..=15_000) } else { sim.draw(1..=100) }).await;
        match sim.draw(0..=49) {
            0 => Err(fatal(ErrorType::AuthenticationFailed)),
            1 => Err(retryable(ErrorType::AuthenticationFailed)),
            2 => Err(self.unless_called(owned, ErrorType::Internal)),
            _ => Ok(()),
        }
    }

    fn unless_called(&self, owned: &Owned<'_>, error_type: ErrorType) -> RunStop {
        let failure = Failure::retryable(error_type, "");
        if !self.rules.has(Rule::FinalOnceCalled) {
            return RunStop::Failed(failure);
        }
        RunStop::Failed(owned.state.retryable_unless_called(failure))
    }

    /// Returns the stop at SIGTERM. As `AttemptRun::interrupted` does.
    fn interrupted(&self, owned: &Owned<'_>) -> RunStop {
        let failure = Failure::retryable(ErrorType::Interrupted, "");
        if self.sender.rerun || !self.rules.has(Rule::TerminatedIsFinalOnceCalled) {
            return RunStop::Failed(failure);
        }
        RunStop::Failed(owned.state.retryable_unless_called(failure))
    }

    /// Chooses the ending, writes it, and returns what Lambda is told. As `AttemptRun::finish` does.
    async fn finish(&self, owned: &Owned<'_>, outcome: Result<Answered, RunStop>, attempt: &Claimed) -> Told {
        let is_called = owned.state.facts().agent_called;
        if let Some(detachment) = attempt.detachment.as_ref().filter(|_| is_called && self.is_armed.get())
            && let Some(told) = self.way_on(owned, &outcome, detachment).await
        {
            return told;
        }
        let may_be_at_work = owned.state.facts().agent_called && may_be_at_work(&outcome);
        if may_be_at_work && self.rules.has(Rule::StopBeforeTheTurn) {
            self.stop_session().await;
        }
        let now = self.clock.now_millis();
        let mut ending = Ending::new(Status::Completed, now, None);
        ending.usage_before = attempt.usage_before;
        ending.reported = owned.state.facts().reported;
        let failure = match outcome {
            Ok(_) => None,
            Err(RunStop::Failed(failure)) => Some(failure),
            Err(RunStop::Stopped(Stop::Lost)) => return self.lost(owned),
            Err(RunStop::Stopped(Stop::Cancelled)) => {
                ending.status = Status::Cancelled;
                None
            }
            Err(RunStop::Skipped(reason, overlapping)) => {
                self.skipped(overlapping.as_ref());
                // What was tried is not told as if it had not been.
                let before = attempt.before.clone().map(|before| Failure { retryable: false, ..before });
                if before.is_none() {
                    ending = Ending::skipped(now, reason);
                }
                before
            }
        };
        if let Some(failure) = failure {
            let retryable = self.rules.is_retryable(failure.retryable, attempt.attempt);
            ending.status = Status::Failed;
            ending.failure = Some(Failure { retryable, ..failure });
        }
        match owned.finish(&ending, self.deadline).await {
            Ok(false) => {}
            Ok(true) => ending.failure = ending.failure.map(|failure| Failure { retryable: false, ..failure }),
            Err(NotHeld::Stopped(_)) => return self.lost(owned),
            Err(NotHeld::Store(_)) => return Told::Unrecorded(ErrorType::RecordStoreFailed),
        }
        if may_be_at_work && !self.rules.has(Rule::StopBeforeTheTurn) {
            self.stop_session().await;
        }
        match ending.failure {
            Some(failure) => Told::Failed(failure.error_type, failure.retryable),
            None if ending.status == Status::Cancelled => Told::Cancelled,
            None if ending.status == Status::Skipped => Told::Skipped,
            None => Told::Completed,
        }
    }

    /// Leaves a detached run to its agent, or tells the end that it has reported. As `AttemptRun::way_on` does.
    async fn way_on(
        &self,
        owned: &Owned<'_>,
        outcome: &Result<Answered, RunStop>,
        detachment: &Detachment,
    ) -> Option<Told> {
        let key = &detachment.report_key;
        let (heartbeat, is_ack_lost) = match outcome {
            Ok(Answered::Acknowledged(heartbeat)) => (*heartbeat, false),
            Err(RunStop::Failed(_)) if may_be_at_work(outcome) => (None, true),
            Err(RunStop::Stopped(Stop::Lost)) => match why_lost(owned, key, self.deadline).await {
                Ok(Left::Own) => (None, true),
                Ok(left) => return Some(self.told(left, owned)),
                Err(_) => {
                    owned.forget_run_lock();
                    return Some(Told::Unrecorded(ErrorType::LeaseLost));
                }
            },
            _ => return None,
        };
        let facts = |now, has_reported: bool| HandOver {
            lease_until: match is_ack_lost {
                false => lease_after(now, heartbeat, detachment.deadline),
                true => {
                    let seconds = Some(detachment.first_report_seconds).filter(|_| !has_reported);
                    lease_of_unacknowledged(now, seconds, detachment.deadline)
                }
            },
            heartbeat_seconds: heartbeat,
            is_ack_lost,
            has_reported,
            run_slot: owned.slot.get(),
            ..HandOver::default()
        };
        Some(match leave_to_agent(owned, key, facts, self.deadline).await {
            Ok(left) => self.told(left, owned),
            Err(_) => {
                owned.forget_run_lock();
                Told::Unrecorded(ErrorType::RecordStoreFailed)
            }
        })
    }

    fn told(&self, left: Left, owned: &Owned<'_>) -> Told {
        match left {
            Left::ToAgent => Told::Detached,
            Left::Ended(row) if row.status == Status::Failed => Told::Replayed(Failure::of_row(&row).error_type),
            Left::Ended(row) => Told::Reported(row.status),
            Left::Own | Left::Lost => self.lost(owned),
        }
    }

    fn skipped(&self, overlapping: Option<&Overlapping>) {
        let Some(Overlapping { execution_id, limit }) = overlapping else { return };
        if let Some(limit) = *limit {
            let (sender, since) = (&self.sender, self.sender.asks_since.get());
            return self.agent.alone.skips_as_full(&self.sim, sender.execution, &sender.owner, limit, since);
        }
        let found = self.sender.found.borrow();
        let Some((lock, asked_at)) = found.as_ref() else { return };
        let other = number(execution_id.trim_start_matches('!'));
        let has_waited = self.sender.has_waited.get();
        self.agent.alone.skips(&self.sim, self.sender.execution, other, lock, *asked_at, has_waited);
    }

    fn lost(&self, owned: &Owned<'_>) -> Told {
        let is_over = owned.until.load(Ordering::Relaxed) <= self.clock.now_millis();
        let lock = self.agent.alone.lock_owner(owned.slot.get().unwrap_or(0));
        self.agent.promises.stops(&self.sender.owner, is_over, lock.as_deref());
        Told::Unrecorded(ErrorType::LeaseLost)
    }
}

/// Returns true if the agent, which was called, may still be at work. As `at_work` in `src/run/session.rs` says.
fn may_be_at_work(outcome: &Result<Answered, RunStop>) -> bool {
    use ErrorType::{DeadlineExceeded, Internal, Interrupted, StreamInterrupted, StreamStalled};
    match outcome {
        Err(RunStop::Failed(failure)) => {
            [DeadlineExceeded, Internal, Interrupted, StreamInterrupted, StreamStalled].contains(&failure.error_type)
        }
        Err(RunStop::Stopped(_)) => true,
        Ok(_) | Err(RunStop::Skipped(..)) => false,
    }
}

fn fatal(error_type: ErrorType) -> RunStop {
    RunStop::Failed(Failure::fatal(error_type, ""))
}

fn retryable(error_type: ErrorType) -> RunStop {
    RunStop::Failed(Failure::retryable(error_type, ""))
}
