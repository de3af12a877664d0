//! The work of an attempt that owns its execution: call the agent, read its answer, stop in time.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, TryFutureExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::Instant;

use crate::{
    agent::{AgentError, Call},
    backoff,
    clients::cognito::TokenError,
    clock::{Deadline, millis_since},
    config::Secret,
    domain::answer::Outcome,
    domain::failure::{ErrorType, Failure},
    domain::fire::Fire,
    domain::trace::Trace,
    handler::{Invocation, Services},
    lifecycle::lease::{Held, NotHeld, Stop},
    lifecycle::overlap,
    lifecycle::results::Seen as SeenTrigger,
    store::in_time,
    store::record::{Attempt, SkipReason, StopOutcome},
    telemetry::metrics::{self, Measured, timed},
    trigger::item::{Subscription, Truth},
    trigger::replay,
};

/// How long the record of a cancelled run may wait for its agent's session to be stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What was asked for beside the claim: a token, and the trigger item if there is one.
pub(crate) type Prepared = (Result<Secret, TokenError>, Result<Option<Subscription>, Failure>);

/// The work of an owner.
pub(crate) struct Run<'a> {
    pub(crate) services: &'a Services,
    pub(crate) held: &'a Held<'a>,
    pub(crate) seen: &'a Seen,
    pub(crate) attempt: &'a Attempt,
    /// When the invocation turned to this fire.
    pub(crate) since: Instant,
    pub(crate) deadline: Deadline,
    pub(crate) xray_trace_id: Option<&'a str>,
}

impl Run<'_> {
    /// Runs the agent for `fire`, up to its verdict or to what ends the run before.
    pub(crate) async fn to_its_end(
        &self,
        fire: &Fire,
        prepared: impl Future<Output = Result<Prepared, Failure>>,
    ) -> Result<Outcome, Halt> {
        // Each is polled only when it is due: a set does not ask all of them again with every piece of the answer.
        let limits: [BoxFuture<'_, Halt>; 2] = [
            Box::pin(async {
                tokio::time::sleep_until(self.deadline.run_until).await;
                self.out_of_time("the invocation's time was nearly up".to_owned())
            }),
            Box::pin(async { Halt::Stopped(self.held.keep().await) }),
        ];
        let mut limits = FuturesUnordered::from_iter(limits);
        tokio::select! {
            biased;
            worked = catch_panic(self.work(fire, prepared)) => {
                worked.unwrap_or_else(|panicked| Err(Halt::Failed(self.seen.unless_called(panicked))))
            }
            Some(halt) = limits.next() => Err(halt),
        }
    }

    fn out_of_time(&self, message: String) -> Halt {
        Halt::Failed(self.seen.unless_called(Failure::retryable(ErrorType::DeadlineExceeded, message)))
    }

    async fn work(
        &self,
        fire: &Fire,
        prepared: impl Future<Output = Result<Prepared, Failure>>,
    ) -> Result<Outcome, Halt> {
        let (token, trigger) = prepared.await?;
        // What is stored wins over the event's copy: a trigger may have been changed since its schedule was made.
        let fire = self.current(fire, trigger)?;
        let fire = self.seen.ran.get_or_init(|| fire);
        let policy = fire.stored.as_ref().map(|stored| stored.policy.clone()).unwrap_or_default();
        let running = async {
            overlap::may_start(self.held, &policy).await?;
            let call = Call::new(fire, &self.attempt.session_id, self.xray_trace_id)?;
            let calling = self.call_agent(&call, token?);
            tokio::join!(calling, self.tend_trigger(fire)).0
        };
        let Some(limit) = policy.timeout else { return running.await };
        tokio::time::timeout_at(self.since + limit, running).await.unwrap_or_else(|_| {
            self.seen.timed_out.store(true, Ordering::Relaxed);
            Err(self.out_of_time(format!("the trigger's timeoutSeconds, {}, were over", limit.as_secs())))
        })
    }

    /// The fire as the trigger item has it; the event alone decides where there is none.
    fn current(&self, fire: &Fire, trigger: Result<Option<Subscription>, Failure>) -> Result<Fire, Halt> {
        let see = |seen: SeenTrigger| {
            // Nobody else sets it.
            let _ = self.held.trigger.set(seen);
        };
        if let Some(stored) = &fire.stored {
            see(SeenTrigger::item(&stored.health, &stored.policy));
            return Ok(fire.clone());
        }
        let Some(trigger) = trigger? else {
            see(SeenTrigger::None);
            return Ok(fire.clone());
        };
        see(trigger.seen());
        match trigger.truth(fire, self.services.config.is_agentcore)? {
            Truth::Run(fire) => Ok(*fire),
            Truth::Skip(reason) => Err(Halt::Skipped(reason, None)),
        }
    }

    /// Calls the agent and reads its answer to the end, trying again only what it surely did not accept.
    async fn call_agent(&self, call: &Call, mut token: Secret) -> Result<Outcome, Halt> {
        let Services { agent, tokens, .. } = self.services;
        let mut waits = backoff::waits();
        let mut may_refresh = true;
        let (answer, since) = loop {
            self.held.ensure_half().await?;
            tracing::info!("calling the agent");
            self.seen.agent_called.store(true, Ordering::Relaxed);
            let since = Instant::now();
            let error = match agent.post(call, &token).await {
                Ok(answer) => break (answer, since),
                Err(error) => error,
            };
            match error {
                AgentError::Unauthorized if may_refresh => {
                    self.seen.agent_called.store(false, Ordering::Relaxed);
                    tracing::warn!("the agent refused the token, getting another");
                    may_refresh = false;
                    tokens.forget(&token);
                    token = timed(&self.seen.measured.token_ms, pin!(tokens.token())).await?;
                }
                AgentError::Unavailable { retry_after, .. } => {
                    self.seen.agent_called.store(false, Ordering::Relaxed);
                    let Some(wait) = waits.next().map(|wait| wait.max(retry_after.unwrap_or_default())) else {
                        return Err(error.into());
                    };
                    if !self.deadline.allows(wait) {
                        return Err(error.into());
                    }
                    tracing::warn!(error = %error, waitMs = wait.as_millis(), "trying again");
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(error.into()),
            }
        };
        if let Some(id) = answer.request_id() {
            self.seen.request_id.get_or_init(|| id.to_owned());
        }
        tracing::info!(agentRequestId = answer.request_id(), "reading the answer");
        let reports = Arc::clone(&self.held.reports);
        let outcome = agent.read(answer, call, &token, move |progress| {
            if progress.events > 0 {
                reports.first_event_ms.get_or_init(|| millis_since(since));
            }
            reports.report(progress);
        });
        Ok(outcome.await?)
    }

    /// What a stored trigger has written beside its run: `lastExecutedAt`, for whoever shows triggers to people, and of an
    /// event the input, for a replay. Their failure harms nothing.
    async fn tend_trigger(&self, fire: &Fire) {
        if fire.stored.is_none() {
            return;
        }
        let Self { services, attempt, deadline, .. } = self;
        let touching = async {
            let touching = services.store.touch_trigger(&fire.user_id, &fire.trigger_id, &attempt.started_at);
            // Left hanging it would take the run's outcome with it at the deadline.
            if let Err(error) = in_time(deadline.run_until, touching).await {
                tracing::warn!(error = %error, "lastExecutedAt is not set");
            }
        };
        let keeping = async {
            // What a schedule asks is in the trigger item; what came with an event is nowhere else.
            if fire.event_source_id.is_some() {
                replay::keep_input(&services.store, fire, &attempt.execution_id, attempt.ttl, deadline.run_until).await;
                self.seen.input_kept.store(true, Ordering::Relaxed);
            }
        };
        tokio::join!(touching, keeping);
    }
}

/// An agent goes on after its client has left, unless it is one that can be told.
pub(crate) async fn stop_agent(services: &Services, session_id: &str) -> Option<StopOutcome> {
    let stopping = async {
        let token = services.tokens.token().await.ok()?;
        services.agent.stop_session(session_id, &token).await
    };
    // Not at the expense of the record.
    tokio::time::timeout(STOP_TIMEOUT, stopping).await.unwrap_or(Some(StopOutcome { confirmed: false }))
}

/// Why a run stopped short of a verdict.
pub(crate) enum Halt {
    Stopped(Stop),
    /// It is deliberately not run; with the execution that keeps it from running, if one does.
    Skipped(SkipReason, Option<String>),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<NotHeld> for Halt {
    fn from(not_held: NotHeld) -> Self {
        match not_held {
            NotHeld::Stopped(stop) => Self::Stopped(stop),
            NotHeld::Store(error) => Self::Failed(error.into()),
        }
    }
}

/// What is known of an invocation when it ends, however it does.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) is_cold_start: bool,
    pub(crate) trace: Option<Trace>,
    pub(crate) fire: OnceLock<Box<Fire>>,
    pub(crate) execution_id: OnceLock<String>,
    pub(crate) seen: Seen,
}

impl Known {
    /// Of an invocation that begins.
    pub(crate) fn new(invocation: &Invocation) -> Self {
        let trace = invocation.xray_trace_id.as_deref().and_then(Trace::of);
        Self { is_cold_start: metrics::is_cold_start(), trace, ..Self::default() }
    }

    /// Notes the execution of the fire, for all that is told of the invocation from now on.
    pub(crate) fn identified(&self, fire: &Fire, execution_id: String) -> &String {
        // Both at once: each time, the log writes all of the span's fields anew.
        tracing::record_all!(tracing::Span::current(), triggerId = fire.trigger_id, executionId = execution_id);
        self.execution_id.get_or_init(|| execution_id)
    }

    /// `failure` with the ids of what failed.
    pub(crate) fn name(&self, failure: Failure) -> Failure {
        let trigger_id = failure.trigger_id.or_else(|| self.fire.get().map(|fire| fire.trigger_id.clone()));
        let execution_id = failure.execution_id.or_else(|| self.execution_id.get().cloned());
        Failure { trigger_id, execution_id, ..failure }
    }

    /// Prints the metrics of an invocation that ends, with this failure if it failed.
    pub(crate) fn tell(&self, services: &Services, invocation: &Invocation, failure: Option<&Failure>) {
        let Self { fire, seen, .. } = self;
        let fire = fire.get().map(Box::as_ref);
        if let Some(failure) = failure {
            seen.measured.returned(failure);
        }
        let of_failure = |id: fn(&Failure) -> &Option<String>| failure.and_then(|failure| id(failure).as_deref());
        metrics::Line {
            config: &services.config,
            measured: &seen.measured,
            request_id: &invocation.request_id,
            agent_id: seen.ran.get().or(fire).map(|fire| fire.agent_id.as_str()),
            trigger_id: fire.map(|fire| fire.trigger_id.as_str()).or(of_failure(|failure| &failure.trigger_id)),
            execution_id: self.execution_id.get().map(String::as_str).or(of_failure(|failure| &failure.execution_id)),
            trace: self.trace.as_ref(),
            failure,
            is_cold_start: Some(self.is_cold_start),
        }
        .print();
    }
}

/// A panic as a failure; the panic hook has logged where it was.
pub(crate) fn catch_panic<T>(future: impl Future<Output = T>) -> impl Future<Output = Result<T, Failure>> {
    AssertUnwindSafe(future)
        .catch_unwind()
        .map_err(|_| Failure::retryable(ErrorType::Internal, "the function panicked; its log says where"))
}

/// What of a run outlives its cancellation at the deadline.
#[derive(Default)]
pub(crate) struct Seen {
    agent_called: AtomicBool,
    pub(crate) request_id: OnceLock<String>,
    input_kept: AtomicBool,
    /// Whether the trigger's own limit ended the run.
    pub(crate) timed_out: AtomicBool,
    /// The fire as it ran: the trigger item may say something else than the event.
    pub(crate) ran: OnceLock<Fire>,
    pub(crate) measured: Measured,
}

impl Seen {
    /// Whether the agent may be at work.
    pub(crate) fn agent_called(&self) -> bool {
        self.agent_called.load(Ordering::Relaxed)
    }

    /// Whether what a replay needs was written, or tried to be.
    pub(crate) fn is_input_kept(&self) -> bool {
        self.input_kept.load(Ordering::Relaxed)
    }

    /// `failure`, retryable only if the agent was not called.
    pub(crate) fn unless_called(&self, failure: Failure) -> Failure {
        let retryable = failure.retryable && !self.agent_called();
        Failure { retryable, ..failure }
    }
}
