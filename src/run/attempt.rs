//! The work of an attempt that owns its execution: it calls the agent, reads the answer, and stops in time.

use std::{pin::pin, sync::Arc};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::Instant;

use crate::{
    agent::{AgentError, Call},
    app::App,
    backoff,
    clients::cognito::TokenError,
    clock::{SystemClock, millis_since, now_millis},
    config::Secret,
    domain::{
        answer::Outcome,
        attempt::Attempt,
        failure::{ErrorType, Failure},
        fire::Fire,
        trigger_snapshot::TriggerKnowledge,
    },
    invocation::{InvocationContext, catch_panic},
    lifecycle::{
        lease::{OwnedExecution, RunStop},
        overlap,
    },
    telemetry::metrics::timed,
    trigger::{
        item::{StoredTask, TriggerItem},
        replay,
    },
};

/// The results of the requests that run beside the claim: a token, and the trigger item if there is one.
pub(super) type Prepared = (Result<Secret, TokenError>, Result<Option<TriggerItem>, Failure>);

/// The work of an attempt that owns its execution.
pub(super) struct Run<'a> {
    pub(super) context: &'a InvocationContext<'a>,
    pub(super) owned: &'a OwnedExecution<'a>,
    pub(super) attempt: &'a Attempt,
    /// The time at which the invocation began to handle this fire.
    pub(super) since: Instant,
}

impl Run<'_> {
    /// Runs the agent for `fire` until its verdict, or until the deadline or the loss of the lease ends the run.
    pub(super) async fn to_its_end(
        &self,
        fire: &Fire,
        prepared: impl Future<Output = Result<Prepared, Failure>>,
    ) -> Result<Outcome, RunStop> {
        // FuturesUnordered polls a limit only when it is woken, and not with every piece of the answer.
        let limits: [BoxFuture<'_, RunStop>; 2] = [
            Box::pin(async {
                tokio::time::sleep_until(self.context.deadline.run_until).await;
                self.out_of_time("the invocation's time was nearly up".to_owned())
            }),
            Box::pin(async { RunStop::Stopped(self.owned.keep().await) }),
        ];
        let mut limits = FuturesUnordered::from_iter(limits);
        tokio::select! {
            biased;
            worked = catch_panic(self.work(fire, prepared)) => {
                let stop = |panicked| RunStop::Failed(self.context.state.retryable_unless_called(panicked));
                worked.unwrap_or_else(|panicked| Err(stop(panicked)))
            }
            Some(stop) = limits.next() => Err(stop),
        }
    }

    /// Returns the stop for a time limit that was exceeded.
    fn out_of_time(&self, message: String) -> RunStop {
        let failure = Failure::retryable(ErrorType::DeadlineExceeded, message);
        RunStop::Failed(self.context.state.retryable_unless_called(failure))
    }

    /// Admits the run and calls the agent, within the trigger's own time limit.
    async fn work(
        &self,
        fire: &Fire,
        prepared: impl Future<Output = Result<Prepared, Failure>>,
    ) -> Result<Outcome, RunStop> {
        let (token, item) = prepared.await?;
        // The trigger item takes precedence over the event's copy, because a trigger may have been changed since its
        // schedule was made.
        let fire = Arc::new(self.current(fire, item)?);
        self.context.state.facts().ran = Some(Arc::clone(&fire));
        let fire = &*fire;
        let policy = fire.trigger.as_ref().map(|trigger| trigger.policy.clone()).unwrap_or_default();
        let running = async {
            overlap::admit(self.owned, &policy).await?;
            let call = Call::new(fire, &self.attempt.session_id, self.context.invocation.xray_trace_id.as_deref())?;
            let calling = self.call_agent(&call, token?);
            tokio::join!(calling, self.tend_trigger(fire)).0
        };
        let Some(limit) = policy.timeout else { return running.await };
        tokio::time::timeout_at(self.since + limit, running).await.unwrap_or_else(|_| {
            self.context.state.facts().is_timed_out = true;
            Err(self.out_of_time(format!("the trigger's timeoutSeconds, {}, were over", limit.as_secs())))
        })
    }

    /// Returns the fire with the values of the trigger item. Without an item, the event alone decides.
    fn current(&self, fire: &Fire, item: Result<Option<TriggerItem>, Failure>) -> Result<Fire, RunStop> {
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

    /// Calls the agent and reads its answer to the end. A call is tried again only if the agent certainly did not
    /// accept it.
    async fn call_agent(&self, call: &Call, mut token: Secret) -> Result<Outcome, RunStop> {
        let App { agent, tokens, .. } = self.context.app;
        let state = &self.context.state;
        let mut waits = backoff::waits();
        let mut may_refresh = true;
        let (answer, since) = loop {
            self.owned.ensure_call_window().await?;
            tracing::info!("calling the agent");
            state.facts().agent_called = true;
            let since = Instant::now();
            let error = match agent.post(call, &token).await {
                Ok(answer) => break (answer, since),
                Err(error) => error,
            };
            match error {
                AgentError::Unauthorized if may_refresh => {
                    state.facts().agent_called = false;
                    tracing::warn!("the agent refused the token, getting another");
                    may_refresh = false;
                    tokens.forget(&token);
                    token = timed(state, |facts| &mut facts.token_ms, pin!(tokens.token())).await?;
                }
                AgentError::Unavailable { retry_after, .. } => {
                    state.facts().agent_called = false;
                    let Some(wait) = waits.next().map(|wait| wait.max(retry_after.unwrap_or_default())) else {
                        return Err(error.into());
                    };
                    if !self.context.deadline.allows(&SystemClock, wait) {
                        return Err(error.into());
                    }
                    tracing::warn!(error = %error, waitMs = wait.as_millis(), "trying again");
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(error.into()),
            }
        };
        if let Some(id) = answer.request_id() {
            state.facts().request_id.get_or_insert_with(|| id.to_owned());
        }
        tracing::info!(agentRequestId = answer.request_id(), "reading the answer");
        let reported = Arc::clone(state);
        let outcome = agent.read(answer, call, &token, move |progress| {
            if progress.events > 0 {
                reported.facts().first_event_ms.get_or_insert_with(|| millis_since(since));
            }
            reported.report(progress, now_millis);
        });
        Ok(outcome.await?)
    }

    /// Writes two things for a stored trigger beside its run: `lastExecutedAt`, and the input of an event for a replay.
    /// A failure to write them does not affect the run.
    async fn tend_trigger(&self, fire: &Fire) {
        if fire.trigger.is_none() {
            return;
        }
        let InvocationContext { app, deadline, state, .. } = self.context;
        let attempt = self.attempt;
        let touching = async {
            let touching = app.store.touch_trigger(&fire.user_id, &fire.trigger_id, &attempt.started_at);
            // Without this limit a write that hangs would lose the run's outcome at the deadline.
            if let Err(error) = app.store.in_time(deadline.run_until, touching).await {
                tracing::warn!(error = %error, "lastExecutedAt is not set");
            }
        };
        let keeping = async {
            // The task of a schedule is in the trigger item. The task of an event is stored nowhere else.
            if fire.event_source_id.is_some() {
                replay::keep_input(&app.store, fire, &attempt.execution_id, attempt.ttl, deadline.run_until).await;
                state.facts().is_input_kept = true;
            }
        };
        tokio::join!(touching, keeping);
    }
}
