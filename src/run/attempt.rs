//! The work of an attempt that owns its execution: it calls the agent, reads the answer, and stops in time.

use std::{
    pin::pin,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::Notify, time::Instant};

use crate::{
    agent::{Agent, call::Call, decision::Decision, error::AgentError, request::parts::Request},
    backoff,
    clock::{Moment, SystemClock, millis_between, now_millis},
    domain::{
        answer::{Outcome, Progress},
        attempt::Attempt,
        failure::{ErrorType, Failure},
        fire::Fire,
        platform::Platform,
        policy::Policy,
        trigger_snapshot::TriggerKnowledge,
    },
    invocation::{InvocationContext, catch_panic, poll_alongside},
    lifecycle::{
        lease::{OwnedExecution, RunStop},
        overlap,
    },
    run::{
        prospect::{FoundItem, FoundProspect, Prospect, prospect},
        token::DetachedRun,
    },
    telemetry::metrics::timed,
    trigger::item::StoredTask,
};

/// The longest time that an invocation whose run has ended still waits for the writes beside it: one try of the table's
/// client.
const BESIDE_TIMEOUT: Duration = Duration::from_secs(2);

/// The work of an attempt that owns its execution.
pub(super) struct AttemptRun<'a> {
    pub(super) context: &'a InvocationContext<'a>,
    pub(super) owned: &'a OwnedExecution<'a>,
    pub(super) attempt: &'a Attempt,
    /// The time at which the invocation began to handle this fire.
    pub(super) since: Instant,
    /// The agent that was called, as it was defined then.
    pub(super) called: OnceLock<Arc<Agent>>,
    /// The signal for the writes beside the call.
    pub(super) beside: Beside,
    /// The signal that the agent's answer is decided.
    pub(super) decision: Decision,
    /// The detached run that the claim has written, if the event asks for one.
    pub(super) claimed: Option<DetachedRun>,
    /// The detached run once its timer is set.
    pub(super) detached: OnceLock<DetachedRun>,
}

/// The signal that the agent is about to be called, for the writes beside the call. They are no part of the run, and
/// its outcome never waits for them.
#[derive(Default)]
pub(super) struct Beside {
    fire: OnceLock<Arc<Fire>>,
    begun: Notify,
}

impl Beside {
    /// Tells the writes beside the call that the agent is about to be called for `fire`. An attempt does this once.
    fn begin(&self, fire: &Arc<Fire>) {
        // It is set only here, so this cannot fail.
        let _ = self.fire.set(Arc::clone(fire));
        self.begun.notify_one();
    }
}

impl AttemptRun<'_> {
    /// Runs the agent for `fire` until its verdict, or until the deadline, a cancellation, SIGTERM or the loss of the
    /// lease ends the run. If the process is to end already, nothing is begun. Dropping the work ends the call. A panic
    /// is a failure that may be retried unless the agent was called.
    ///
    /// Once the answer is decided, none of these ends the run. They only end the wait for usage. If the lease is really
    /// lost, the table refuses the outcome.
    pub(super) async fn to_its_end(
        &self,
        fire: &Fire,
        item: impl Future<Output = Result<FoundItem, Failure>> + Unpin,
        prospect: impl Future<Output = Result<FoundProspect, Failure>> + Unpin,
    ) -> Result<Outcome, RunStop> {
        let shutdown = &self.context.app.shutdown;
        if shutdown.has_begun() {
            return Err(self.interrupted(fire));
        }
        // FuturesUnordered polls a limit only when it is woken, and not with every piece of the answer.
        let limits: [BoxFuture<'_, RunStop>; 3] = [
            Box::pin(async {
                tokio::time::sleep_until(self.context.deadline.run_until).await;
                self.out_of_time("the invocation's time was nearly up".to_owned())
            }),
            Box::pin(async { RunStop::Stopped(self.owned.keep().await) }),
            Box::pin(async {
                shutdown.begun().await;
                self.interrupted(fire)
            }),
        ];
        let mut limits = FuturesUnordered::from_iter(limits);
        let mut working = pin!(catch_panic(self.admit_and_call(fire, item, prospect)));
        let worked = tokio::select! {
            biased;
            worked = &mut working => worked,
            Some(stop) = limits.next() => match self.decision.end_wait() {
                true => working.await,
                false => return Err(stop),
            },
        };
        let stop = |panicked| RunStop::Failed(self.context.state.retryable_unless_called(panicked));
        worked.unwrap_or_else(|panicked| Err(stop(panicked)))
    }

    /// Returns the stop for a time limit that was exceeded, with `message`: a failure `DeadlineExceeded`, which is
    /// retryable unless the agent may have been called.
    fn out_of_time(&self, message: String) -> RunStop {
        let failure = Failure::retryable(ErrorType::DeadlineExceeded, message);
        RunStop::Failed(self.context.state.retryable_unless_called(failure))
    }

    /// Returns the stop for a process that is to end: a failure `Interrupted`. Another attempt may run if the agent was
    /// not called, or if the trigger wants an interrupted run to be run again.
    fn interrupted(&self, fire: &Fire) -> RunStop {
        let message = "Lambda ended the environment (SIGTERM) while the run was in flight";
        let failure = Failure::retryable(ErrorType::Interrupted, message);
        if fire.task.rerun_if_interrupted {
            return RunStop::Failed(failure);
        }
        RunStop::Failed(self.context.state.retryable_unless_called(failure))
    }

    /// Takes over the trigger item's values, admits the run, makes everything ready for the call, and calls the agent.
    /// A failure to make the agent ready counts only after the admission, so a run that is skipped never fails for it.
    /// The trigger's time limit counts from `since`. It does not interrupt the wait for `item`, and does not apply to a
    /// detached run.
    ///
    /// # Errors
    /// Returns the reason why the run stopped without an outcome: a skip, the loss of the lease, a cancellation, or a
    /// failure, that of the trigger's time limit included.
    async fn admit_and_call(
        &self,
        fire: &Fire,
        item: impl Future<Output = Result<FoundItem, Failure>> + Unpin,
        prospect: impl Future<Output = Result<FoundProspect, Failure>> + Unpin,
    ) -> Result<Outcome, RunStop> {
        let (item, prospect) = poll_alongside(item, prospect).await;
        // The trigger item takes precedence over the event's copy, because a trigger may have been changed since its
        // schedule was made.
        let before = fire;
        let fire = self.current(fire, item?)?;
        let policy = fire.trigger.as_ref().map(|trigger| trigger.policy.clone()).unwrap_or_default();
        let is_detached = fire.task.detached.is_some();
        let running = async {
            let admitting = Box::pin(self.admit(fire, &policy));
            let (admitted, prospect) = poll_alongside(admitting, prospect).await;
            let (fire, prospect) = self.ready_to_call(admitted?, before, prospect.await?).await?;
            let detached = self.detached_run(&fire, &prospect)?;
            let call = self.call(&fire, &prospect, detached.as_ref())?;
            self.arm(detached.as_ref()).await?;
            self.beside.begin(&fire);
            self.call_agent(&fire, &call, prospect).await
        };
        // A detached run has a time limit of its own, from its claim to the last report.
        let Some(limit) = policy.timeout.filter(|_| !is_detached) else { return running.await };
        let mut running = pin!(running);
        match tokio::time::timeout_at(self.since + limit, &mut running).await {
            Ok(ran) => ran,
            Err(_) if self.decision.end_wait() => running.await,
            Err(_) => {
                self.context.state.facts().is_timed_out = true;
                Err(self.out_of_time(format!("the trigger's timeoutSeconds, {}, were over", limit.as_secs())))
            }
        }
    }

    /// Returns the fire with the values of the trigger item, and keeps the knowledge of the item for the end of the
    /// execution. A fire that carries its item is returned as it is. Without an item, the event alone decides.
    ///
    /// # Errors
    /// Returns a failure to read the item, or an item that cannot be used, and a skip if the trigger is disabled or
    /// deleted.
    fn current(&self, fire: &Fire, item: FoundItem) -> Result<Fire, RunStop> {
        let know = |knowledge: TriggerKnowledge| {
            // It is set only here, so this cannot fail.
            let _ = self.owned.trigger.set(knowledge);
        };
        if let Some(trigger) = &fire.trigger {
            know(TriggerKnowledge::Present(trigger.clone()));
            return Ok(fire.clone());
        }
        let Some(item) = item? else {
            know(TriggerKnowledge::Absent);
            return Ok(fire.clone());
        };
        know(TriggerKnowledge::Present(Box::new(item.snapshot())));
        match item.stored_task(fire, self.context.app.platform())? {
            StoredTask::Run(fire) => Ok(*fire),
            StoredTask::Skip(reason) => Err(RunStop::Skipped(reason, None)),
        }
    }

    /// Notes the fire as the one that ran, and makes sure that the trigger's policy lets the run start. Then keeps the
    /// input if the agent is known without a request. Returns the fire as it runs: with the task of an earlier attempt,
    /// if that kept one. The token may be on its way meanwhile.
    ///
    /// # Errors
    /// Returns the errors of [`overlap::admit`]. A failure to keep the input is no error.
    async fn admit(&self, fire: Fire, policy: &Policy) -> Result<Arc<Fire>, RunStop> {
        let fire = Arc::new(fire);
        let definition = self.context.app.agents.known(&fire.task.agent_id);
        let is_known = definition.is_some();
        self.note_input(&fire, definition);
        self.context.state.facts().ran = Some(Arc::clone(&fire));
        self.owned.is_detached.store(fire.task.detached.is_some(), Ordering::Relaxed);
        overlap::admit(self.owned, policy, &self.context.app.settle_queue).await?;
        Ok(if is_known { self.keep_input(fire).await } else { fire })
    }

    /// Returns the fire as it runs, with its input kept, and the agent to call. If an earlier attempt kept another
    /// input, its task and its agent are the ones. `before` is the fire as the event has it, for which `prepared` was
    /// made ready.
    ///
    /// # Errors
    /// Returns the failure to make the agent ready. A failure to keep the input is no error.
    async fn ready_to_call(
        &self,
        fire: Arc<Fire>,
        before: &Fire,
        prepared: FoundProspect,
    ) -> Result<(Arc<Fire>, Prospect), Failure> {
        let ready = self.prospect_of(&fire, before, prepared).await?;
        let is_kept_with_definition = self.context.state.facts().definition.is_some();
        if is_kept_with_definition {
            return Ok((fire, ready));
        }
        self.note_input(&fire, Some(ready.agent.definition.mark()));
        let kept = self.keep_input(Arc::clone(&fire)).await;
        let ready =
            if kept.task.agent_id == fire.task.agent_id { ready } else { prospect(self.context, &kept).await? };
        Ok((kept, ready))
    }

    /// Returns the agent to call, which is the one that `fire` names. It is the one that was made ready beside the
    /// claim, unless the trigger item names another one than `before`, the event. That one is made ready now, and a
    /// failure to prepare the first does not count.
    ///
    /// # Errors
    /// Returns the failure to make the agent ready.
    async fn prospect_of(
        &self,
        fire: &Fire,
        before: &Fire,
        prepared: Result<Prospect, Failure>,
    ) -> Result<Prospect, Failure> {
        if fire.task.agent_id == before.task.agent_id {
            return prepared;
        }
        prospect(self.context, fire).await
    }

    /// Builds the call of the agent, and notes the agent's definition for the record. It sends nothing. If the fire is
    /// a replay, and the definition has changed since the replayed execution, this is logged.
    ///
    /// # Errors
    /// Returns `InvalidTrigger`, or `InvalidEvent` for a fire without a trigger item, if the session id is too short
    /// for the agent's platform. Returns an error if a value cannot be sent.
    fn call(
        &self,
        fire: &Fire,
        Prospect { agent, profile, .. }: &Prospect,
        detached: Option<&DetachedRun>,
    ) -> Result<Call, Failure> {
        let Attempt { session_id, execution_id, .. } = self.attempt;
        let shortest = Platform::of(agent.definition.is_agentcore).shortest_session_id();
        if session_id.len() < shortest {
            let error_type = if fire.trigger.is_some() { ErrorType::InvalidTrigger } else { ErrorType::InvalidEvent };
            let length = session_id.len();
            let message = format!("sessionId must have at least {shortest} characters for this agent, not {length}");
            return Err(Failure::fatal(error_type, message));
        }
        let mark = agent.definition.mark();
        if fire.replayed_definition.as_ref().is_some_and(|before| *before != mark.hash) {
            tracing::warn!("the agent's definition was changed since the execution that is replayed");
        }
        self.note_input(fire, Some(mark));
        let callback = detached.map(|detached| detached.callback(&self.context.app.config));
        let (profile, callback) = (profile.as_ref(), callback.as_ref());
        let request = Request { fire, session_id, execution_id, profile, callback };
        let call = Call::new(&agent.definition, &request, self.context.invocation.xray_trace_id.as_deref());
        call.map_err(Failure::from)
    }

    /// Calls the agent and reads its answer to the end. Only a call that the agent surely did not accept is tried
    /// again: at most three tries, each after at least the wait that the agent asks for, and only if the run's time
    /// lasts for it, and that of a detached run. One more try is made with a new authorization if the agent refused the
    /// caller. Before each try half of the lease must be left. With each try the facts say that the agent was called,
    /// until it is sure that it did not accept it. A reason for stopping short that the task, or otherwise the agent's
    /// definition, accepts is a completion.
    ///
    /// # Errors
    /// Returns the errors of [`OwnedExecution::ensure_call_window`], the failure to get a new authorization, or that of
    /// the last try. Once the agent may have taken the call, no failure is tried again. Returns `DeadlineExceeded` if
    /// the time of a detached run is over before a try.
    async fn call_agent(&self, fire: &Fire, call: &Call, prospect: Prospect) -> Result<Outcome, RunStop> {
        let agents = &self.context.app.agents;
        let Prospect { agent, mut authorization, .. } = prospect;
        // An attempt calls one agent, so this cannot fail.
        let _ = self.called.set(Arc::clone(&agent));
        let state = &self.context.state;
        let mut waits = backoff::waits();
        let mut may_refresh = true;
        let (answer, since) = loop {
            self.owned.ensure_call_window().await?;
            if !self.may_call_after(Duration::ZERO) {
                return Err(self.out_of_time("the time of the detached run was over before the call".to_owned()));
            }
            tracing::info!("calling the agent");
            state.facts().agent_called = true;
            let since = Instant::now();
            let error = match agent.post(call, &authorization).await {
                Ok(answer) => break (answer, since),
                Err(error) => error,
            };
            match error {
                error if may_refresh && agents.is_renewable(&agent, &authorization, &error) => {
                    state.facts().agent_called = false;
                    tracing::warn!(
                        auth = agent.definition.auth.as_str(),
                        "the agent refused who calls, getting another proof"
                    );
                    may_refresh = false;
                    let authorizing = pin!(agents.authorize(&agent));
                    authorization = timed(state, |facts| &mut facts.token_ms, authorizing).await?;
                }
                AgentError::Unavailable { retry_after, .. } => {
                    state.facts().agent_called = false;
                    let Some(wait) = waits.next().map(|wait| wait.max(retry_after.unwrap_or_default())) else {
                        return Err(error.into());
                    };
                    if !self.context.deadline.allows(&SystemClock, wait) || !self.may_call_after(wait) {
                        return Err(error.into());
                    }
                    tracing::warn!(error = %error, waitMs = wait.as_millis(), "trying again");
                    tokio::time::sleep(wait).await;
                }
                _ => {
                    state.facts().is_answer_lost = error.may_be_of_a_gateway();
                    return Err(error.into());
                }
            }
        };
        if let Some(id) = answer.request_id() {
            state.facts().request_id.get_or_insert_with(|| id.to_owned());
        }
        tracing::info!(agentRequestId = answer.request_id(), "reading the answer");
        let reported = Arc::clone(state);
        let report = move |progress: Progress, at: Moment| {
            let mut facts = reported.facts();
            if progress.events > 0 {
                facts.first_event_ms.get_or_insert_with(|| millis_between(since, at.instant));
            }
            facts.report(progress, || at.millis);
        };
        let outcome = agent.read(answer, call, &authorization, report, &self.decision);
        // The event and the trigger take precedence over the agent's definition.
        let accepted = fire.task.accept_finish_reasons.as_ref().unwrap_or(&agent.definition.accept_finish_reasons);
        Ok(outcome.await?.accept(accepted))
    }

    /// Returns true if the agent may be called after `wait`. The time of a detached run must not be over then.
    fn may_call_after(&self, wait: Duration) -> bool {
        self.detached.get().is_none_or(|run| run.detachment.may_call_after(wait, now_millis()))
    }

    /// Awaits `run`, and beside it makes the writes that the run does not need. Once the run's end is recorded, they
    /// get 2 s more if they have begun, and are dropped then. Otherwise they are dropped at once.
    pub(super) async fn with_writes_beside<T>(&self, run: impl Future<Output = T>) -> T {
        let mut run = pin!(run);
        let mut writing = pin!(catch_panic(self.touch_trigger()));
        tokio::select! {
            biased;
            ended = &mut run => {
                let has_begun = self.beside.fire.get().is_some();
                if has_begun && tokio::time::timeout(BESIDE_TIMEOUT, writing).await.is_err() {
                    tracing::warn!("what is written beside the run does not come to its end, and is left out");
                }
                ended
            }
            _ = &mut writing => run.await,
        }
    }

    /// Sets `lastExecutedAt` of a stored trigger to the start of the execution's first attempt once the agent is
    /// called. It waits without end if the agent is never called. A failure does not affect the run.
    async fn touch_trigger(&self) {
        self.beside.begun.notified().await;
        let Some(fire) = self.beside.fire.get().filter(|fire| fire.trigger.is_some()) else { return };
        let InvocationContext { app, deadline, .. } = self.context;
        let touching = app.store.touch_trigger(&fire.user_id, &fire.trigger_id, &self.attempt.started_at);
        if let Err(error) = app.store.in_time(deadline.run_until, touching).await {
            tracing::warn!(error = %error, "lastExecutedAt is not set");
        }
    }
}
