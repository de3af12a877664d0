//! One attempt: the real claim, lease, run lock and finish, driven over the simulated ports. What stands in for the rest of
//! `src/run/` is here, and is all of the function that the model copies: the order of the steps (`run_fire`), the race of
//! the call with its limits (`Run::to_its_end`), the tries of the call (`Run::call_agent`), the token, and the choice of
//! the ending (`Run::ending`). They need an `App` with its HTTP clients, which knows no simulated machine.

use std::{
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use agent_trigger::{
    clock::{Clock as _, Deadline},
    domain::{
        attempt::Attempt as Claimed,
        ending::Ending,
        execution::{ExecutionRef, Holder, Status},
        failure::{ErrorType, Failure},
        fire::{Fire, Origin},
        policy::{Overlap, Policy},
        run_state::RunState,
        task::Task,
        trigger_snapshot::TriggerKnowledge,
    },
    lifecycle::{
        claim::{Claim, claim_or_give_up},
        lease::{NotHeld, OwnedExecution, RunStop, Stop},
        overlap::admit,
    },
    store::Store,
};

use crate::{
    agent::{Agent, Posted},
    clock::SimClock,
    network::Client,
    promises::Told,
    rules::{LEASE, Rule, Rules, millis},
    sender::{Phase, Sender},
    sim::Sim,
    table::{TRIGGER, name, number},
};

/// As in `src/backoff.rs`.
const MAX_TRIES: usize = 3;
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
    pub(crate) deadline: Deadline,
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
        replayed_definition: None,
        is_stored: false,
    }
}

impl Attempt {
    /// Runs the attempt and returns what Lambda is told. As `run_fire` does.
    pub(crate) async fn run(&self) -> Told {
        let fire = fire(self.sender.rerun);
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
            before: None,
        };
        let claiming = claim_or_give_up(&self.store, &fire, &mut attempt, LEASE, self.deadline, &state);
        let until = match self.sender.within(Phase::Claim, claiming).await {
            Ok(Claim::Owned(until)) => until,
            Ok(Claim::Duplicate(row)) if row.status == Status::Failed => {
                return Told::Replayed(Failure::of_row(&row).error_type);
            }
            Ok(Claim::Duplicate(row)) => return Told::Duplicate(row.status),
            Ok(Claim::Cancelled(_)) => return Told::Cancelled,
            Ok(Claim::Interrupted(failure)) => return Told::Replayed(failure.error_type),
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
            has_run_lock: AtomicBool::new(false),
            state: &state,
        };
        let stopped = self.to_its_end(&owned).await;
        let told = self.finish(&owned, stopped, &attempt).await;
        if owned.has_run_lock.load(Ordering::Relaxed) {
            self.agent.alone.gives_up(&self.sender.owner);
        }
        owned.release_run_lock(self.deadline).await;
        told
    }

    async fn to_its_end(&self, owned: &Owned<'_>) -> Result<(), RunStop> {
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
            outcome = self.call_agent(owned) => outcome,
            () = self.clock.sleep_until(self.deadline.run_until) => {
                Err(self.unless_called(owned, ErrorType::DeadlineExceeded))
            }
            stop = self.sender.within(Phase::Keep, keeping) => Err(RunStop::Stopped(stop)),
        }
    }

    /// Calls the agent and reads its answer to the end.
    async fn call_agent(&self, owned: &Owned<'_>) -> Result<(), RunStop> {
        let token = self.token(owned).await;
        let policy = Policy { overlap: self.overlap, ..Policy::default() };
        self.sender.within(Phase::Admit, admit(owned, &policy)).await?;
        token?;
        let mut tries = 1;
        let mut may_refresh = true;
        // It stands for the connection, which ends where the run does.
        let (reading, (answer_millis, failure)) = loop {
            self.sender.within(Phase::Window, owned.ensure_call_window()).await?;
            if owned.has_run_lock.load(Ordering::Relaxed) {
                self.agent.alone.trusts(&self.sender.owner, owned.until.load(Ordering::Relaxed));
            }
            owned.state.facts().agent_called = true;
            let reading = self.agent.promises.reads(&self.sender.owner);
            match self.agent.post(&self.sender.owner).await {
                Posted::Streams { millis, failure } => break (reading, (millis, failure)),
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
                    let wait = std::time::Duration::from_millis(wait.unsigned_abs());
                    if tries == MAX_TRIES || !self.deadline.allows(&self.clock, wait) {
                        return Err(retryable(ErrorType::AgentUnavailable));
                    }
                    tries += 1;
                    drop(reading);
                    self.clock.sleep(wait).await;
                }
            }
        };
        self.sim.sleep(answer_millis).await;
        drop(reading);
        match failure {
            _ if self.sim.chance(1) => Err(self.unless_called(owned, ErrorType::Internal)),
            Some(error_type) => Err(fatal(error_type)),
            None => {
                self.agent.promises.call_completed(&self.sender.owner);
                Ok(())
            }
        }
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

    /// Chooses the ending, writes it, and returns what Lambda is told. As `Run::finish` does.
    async fn finish(&self, owned: &Owned<'_>, outcome: Result<(), RunStop>, attempt: &Claimed) -> Told {
        let now = self.clock.now_millis();
        let mut ending = Ending::new(Status::Completed, now, None);
        let failure = match outcome {
            Ok(()) => None,
            Err(RunStop::Failed(failure)) => Some(failure),
            Err(RunStop::Stopped(Stop::Lost)) => return self.lost(owned),
            Err(RunStop::Stopped(Stop::Cancelled)) => {
                // The agent's session is stopped first, where there is one.
                self.sim.sleep(self.sim.draw(0..=millis(LEASE.skew()))).await;
                ending.status = Status::Cancelled;
                None
            }
            Err(RunStop::Skipped(reason, other)) => {
                self.skipped(other.as_deref());
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
            Ok(()) => {}
            Err(NotHeld::Stopped(_)) => return self.lost(owned),
            Err(NotHeld::Store(_)) => return Told::Unrecorded(ErrorType::RecordStoreFailed),
        }
        match ending.failure {
            Some(failure) => Told::Failed(failure.error_type, failure.retryable),
            None if ending.status == Status::Cancelled => Told::Cancelled,
            None if ending.status == Status::Skipped => Told::Skipped,
            None => Told::Completed,
        }
    }

    fn skipped(&self, other: Option<&str>) {
        let found = self.sender.found.borrow();
        let (Some(other), Some((lock, asked_at))) = (other, found.as_ref()) else { return };
        let other = number(other.trim_start_matches('!'));
        let has_waited = self.sender.has_waited.get();
        self.agent.alone.skips(&self.sim, self.sender.execution, other, lock, *asked_at, has_waited);
    }

    fn lost(&self, owned: &Owned<'_>) -> Told {
        let is_over = owned.until.load(Ordering::Relaxed) <= self.clock.now_millis();
        self.agent.promises.stops(&self.sender.owner, is_over, self.agent.alone.lock_owner().as_deref());
        Told::Unrecorded(ErrorType::LeaseLost)
    }
}

fn fatal(error_type: ErrorType) -> RunStop {
    RunStop::Failed(Failure::fatal(error_type, ""))
}

fn retryable(error_type: ErrorType) -> RunStop {
    RunStop::Failed(Failure::retryable(error_type, ""))
}
