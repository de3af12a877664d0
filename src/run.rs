//! The work of an attempt that owns its execution: call the agent, read its answer, stop in time.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    agent::{AgentError, Call},
    backoff,
    clock::{Deadline, millis_since},
    config::Secret,
    error::Failure,
    fire::Fire,
    handler::Services,
    lease::{Held, NotHeld, Stop},
    record::{Attempt, SkipReason, StopOutcome},
    replay,
    store::in_time,
    stream::Outcome,
};

/// How long the record of a cancelled run may wait for its agent's session to be stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The work of an owner.
pub(crate) struct Run<'a> {
    pub(crate) services: &'a Services,
    pub(crate) fire: &'a Fire,
    pub(crate) held: &'a Held<'a>,
    pub(crate) seen: &'a Seen,
    pub(crate) deadline: Deadline,
}

impl Run<'_> {
    /// Calls the agent and reads its answer to the end, trying again only what it surely did not accept.
    pub(crate) async fn call_agent(&self, call: &Call, mut token: Secret) -> Result<Outcome, Halt> {
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
                    token = tokens.token().await?;
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
        if let Some(id) = &answer.request_id {
            self.seen.request_id.get_or_init(|| id.clone());
        }
        tracing::info!(agentRequestId = answer.request_id, "reading the answer");
        let outcome = agent.read(answer, call, &token, |progress| {
            if progress.events > 0 {
                self.seen.first_event_ms.get_or_init(|| millis_since(since));
            }
            self.held.report(progress);
        });
        Ok(outcome.await?)
    }

    /// What a stored trigger has written beside its run: `lastExecutedAt`, for whoever shows triggers to people, and of an
    /// event the input, for a replay. Their failure harms nothing.
    pub(crate) async fn tend_trigger(&self, exists: bool, attempt: &Attempt) {
        if !exists {
            return;
        }
        let Self { services, fire, deadline, .. } = self;
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

/// What of a run outlives its cancellation at the deadline.
#[derive(Default)]
pub(crate) struct Seen {
    agent_called: AtomicBool,
    pub(crate) request_id: OnceLock<String>,
    pub(crate) first_event_ms: OnceLock<u64>,
    input_kept: AtomicBool,
    /// Whether the trigger's own limit ended the run.
    pub(crate) timed_out: AtomicBool,
    /// The fire as it ran: the trigger item may say something else than the event.
    pub(crate) ran: OnceLock<Fire>,
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
