//! The one handler: the story of a run (contract, §5).

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use futures_util::FutureExt;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    agent::{Agent, AgentError, Call},
    backoff,
    claim::{Claim, ClaimError, claim},
    clock::{self, Deadline, now_millis},
    config::{Config, Secret},
    error::{ErrorType, Failure},
    event::{self, Fire},
    execution::{Lease, Status, is_retryable},
    fire::{self, Identity},
    lease::{Held, NotHeld, Stop},
    record::{Attempt, Ending},
    reply::Reply,
    store::{Store, StoreError, in_time},
    stream::{Outcome, Verdict},
    token::TokenSource,
};

/// What every invocation of the process borrows.
#[derive(Debug)]
pub struct Services {
    /// The settings.
    pub config: Config,
    /// The table.
    pub store: Store,
    /// Where tokens come from.
    pub tokens: TokenSource,
    /// The agent.
    pub agent: Agent,
}

/// What Lambda says of an invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Lambda's request id, the same on its own retries.
    pub request_id: String,
    /// When Lambda ends it, milliseconds since 1970.
    pub deadline_millis: u64,
    /// Lambda's X-Ray header.
    pub xray_trace_id: Option<String>,
}

/// Handles one event: `payload` is `None` if it was not UTF-8.
///
/// # Errors
/// Every failure, recorded before it is returned.
pub async fn handle(services: &Services, payload: Option<&str>, invocation: &Invocation) -> Result<Value, Failure> {
    let deadline = Deadline::new(invocation.deadline_millis);
    let fire = event::parse(payload, services.config.is_agentcore).inspect_err(|error| {
        let request_id = &invocation.request_id;
        tracing::error!(requestId = request_id, errorType = "InvalidEvent", problems = ?error.problems, "run failed");
    })?;
    let span = tracing::info_span!(
        "run",
        requestId = invocation.request_id,
        triggerId = fire.trigger_id,
        executionId = tracing::field::Empty,
        attempt = tracing::field::Empty,
    );
    let execution_id = OnceLock::new();
    let fired = run_fire(services, &fire, invocation, deadline, &execution_id).instrument(span.clone());
    let result = Box::pin(catch_panic(fired)).await.and_then(|result| result);
    result.map_err(|failure| {
        let failure = Failure { trigger_id: Some(fire.trigger_id), execution_id: execution_id.into_inner(), ..failure };
        let (error_type, retryable) = (failure.error_type.as_str(), failure.retryable);
        span.in_scope(|| tracing::error!(errorType = error_type, retryable, cause = failure.message, "run failed"));
        failure
    })
}

/// One fire: identify, claim, run, or say what became of it before.
async fn run_fire(
    services: &Services,
    fire: &Fire,
    invocation: &Invocation,
    deadline: Deadline,
    known_id: &OnceLock<String>,
) -> Result<Value, Failure> {
    if deadline.is_too_near() {
        return Err(Failure::retryable(ErrorType::DeadlineExceeded, "too little time is left to start a run"));
    }
    let started = Started::now(services);
    let execution_id = in_time(deadline.run_until, identify(services, fire, invocation, &started)).await?;
    tracing::Span::current().record("executionId", &execution_id);
    let execution_id = known_id.get_or_init(|| execution_id);
    let reply = Reply::new(fire, execution_id);
    let attempt = Attempt {
        session_id: fire.session_id.clone().unwrap_or_else(|| session_of(execution_id)),
        execution_id: execution_id.clone(),
        owner: Uuid::new_v4().to_string(),
        attempt: 1,
        lambda_request_id: invocation.request_id.clone(),
        started_at: started.at.clone(),
        ttl: started.ttl,
    };

    // Neither is needed unless the claim succeeds, but both take as long as it does.
    // A panic here must not take the claim's answer with it: what is claimed is given up in order.
    let wanted = catch_panic(async { tokio::join!(services.tokens.token(), has_trigger(services, fire)) });
    tokio::pin!(wanted);
    let claiming = claim_or_give_up(services, fire, attempt, deadline);
    tokio::pin!(claiming);
    let mut early = None;
    let claimed = loop {
        tokio::select! {
            biased;
            claimed = &mut claiming => break claimed?,
            answer = &mut wanted, if early.is_none() => early = Some(answer),
        }
    };
    let (attempt, lease_until) = match claimed {
        Claim::Owned(attempt, lease_until) => (attempt, lease_until),
        Claim::Ended(row) if row.status == Status::Failed => {
            tracing::info!("this fire failed before");
            let error_type = row.error_type.as_deref().unwrap_or_default();
            return Err(Failure::from_record(error_type, row.error.as_deref().unwrap_or_default()));
        }
        Claim::Ended(row) | Claim::Duplicate(row) => {
            tracing::info!(status = row.status.as_str(), "duplicate: nothing to do");
            return Ok(reply.duplicate(&row));
        }
        Claim::Cancelled(row) => {
            tracing::info!("cancelled before it ran");
            return Ok(reply.cancelled(row.session_id.as_deref()));
        }
        Claim::Interrupted(failure) => return Err(failure),
    };
    tracing::Span::current().record("attempt", attempt.attempt);
    tracing::info!("claimed");

    let held = Held {
        store: &services.store,
        lease: Lease(services.config.lease),
        trigger_id: &fire.trigger_id,
        execution_id: &attempt.execution_id,
        owner: &attempt.owner,
        rerun_if_interrupted: fire.rerun_if_interrupted,
        until: AtomicI64::new(lease_until),
        progress: Mutex::default(),
    };
    let seen = Seen::default();
    let work = async {
        let (token, has_trigger) = match early {
            Some(answer) => answer,
            None => wanted.await,
        }?;
        let token = token?;
        let run = Run { services, fire, held: &held, seen: &seen, deadline };
        let call = Call::new(fire, &attempt.session_id, invocation.xray_trace_id.as_deref())?;
        let (outcome, ()) =
            tokio::join!(run.call_agent(&call, token), run.touch_trigger(has_trigger, &attempt.started_at));
        outcome
    };
    let halted = tokio::select! {
        biased;
        outcome = tokio::time::timeout_at(deadline.run_until, catch_panic(work)) => match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panicked)) => Err(Halt::Failed(seen.unless_called(panicked))),
            Err(_) => Err(Halt::Failed(seen.unless_called(
                Failure::retryable(ErrorType::DeadlineExceeded, "the invocation's time was nearly up"),
            ))),
        },
        stop = held.keep() => Err(Halt::Stopped(stop)),
    };
    write_down(&held, &seen, &attempt, halted, started.instant, deadline, &reply).await
}

/// Writes how the attempt ended, and returns what Lambda is told of it.
async fn write_down(
    held: &Held<'_>,
    seen: &Seen,
    attempt: &Attempt,
    ended: Result<Outcome, Halt>,
    since: Instant,
    deadline: Deadline,
    reply: &Reply<'_>,
) -> Result<Value, Failure> {
    let mut ending = Ending {
        progress: held.progress.lock().ok().and_then(|progress| *progress),
        request_id: seen.request_id.get().cloned(),
        first_event_ms: seen.first_event_ms.get().copied(),
        duration_ms: Some(millis_since(since)),
        ..Ending::new(Status::Failed, now_millis(), None)
    };
    let failure = match ended {
        Ok(outcome) => {
            ending.progress = Some(outcome.progress);
            ending.request_id = outcome.request_id.or(ending.request_id);
            ending.session_id = outcome.session_id;
            ending.output = outcome.output;
            match outcome.verdict {
                Verdict::Completed => None,
                Verdict::Failed(failure) => Some(Failure::from(failure)),
                Verdict::Interrupted(interruption) => Some(Failure::from(interruption)),
            }
        }
        Err(Halt::Failed(failure)) => Some(failure),
        Err(Halt::Stopped(Stop::Cancelled)) => {
            ending.status = Status::Cancelled;
            None
        }
        Err(Halt::Stopped(Stop::Lost)) => return Err(lease_lost()),
    };
    match failure {
        Some(failure) => {
            let retryable = is_retryable(failure.retryable, attempt.attempt);
            ending.failure = Some(Failure { retryable, ..failure });
        }
        None if ending.status != Status::Cancelled => ending.status = Status::Completed,
        None => {}
    }
    // On the heap: the SDK's futures are large, and a heartbeat's goes beside the write's.
    match Box::pin(held.finish(&ending, deadline)).await {
        Ok(()) => {}
        Err(NotHeld::Stopped(_)) => return Err(lease_lost()),
        Err(NotHeld::Store(error)) => return Err(seen.unless_called(error.into())),
    }
    let status = ending.status.as_str();
    tracing::info!(status, durationMs = ending.duration_ms, "recorded");
    let session_id = ending.session_id.as_deref().unwrap_or(&attempt.session_id);
    match ending.failure {
        Some(failure) => Err(failure),
        None if ending.status == Status::Cancelled => Ok(reply.cancelled(Some(session_id))),
        None => Ok(reply.completed(ending.request_id.as_deref(), session_id)),
    }
}

/// The work of an owner.
struct Run<'a> {
    services: &'a Services,
    fire: &'a Fire,
    held: &'a Held<'a>,
    seen: &'a Seen,
    deadline: Deadline,
}

impl Run<'_> {
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
                    tokens.forget(&token).await;
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
            if let Ok(mut shared) = self.held.progress.lock() {
                *shared = Some(progress);
            }
        });
        Ok(outcome.await?)
    }

    /// `lastExecutedAt`, for whoever shows triggers to people: its failure harms nothing.
    async fn touch_trigger(&self, exists: bool, started_at: &str) {
        if !exists {
            return;
        }
        let touching = self.services.store.touch_trigger(&self.fire.user_id, &self.fire.trigger_id, started_at);
        // Left hanging it would take the run's outcome with it at the deadline.
        if let Err(error) = in_time(self.deadline.run_until, touching).await {
            tracing::warn!(error = %error, "lastExecutedAt is not set");
        }
    }
}

/// Why a run stopped short of a verdict.
enum Halt {
    Stopped(Stop),
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
struct Seen {
    agent_called: AtomicBool,
    request_id: OnceLock<String>,
    first_event_ms: OnceLock<u64>,
}

impl Seen {
    /// `failure`, retryable only if the agent was not called.
    fn unless_called(&self, failure: Failure) -> Failure {
        let retryable = failure.retryable && !self.agent_called.load(Ordering::Relaxed);
        Failure { retryable, ..failure }
    }
}

/// When the invocation started, in the forms it is needed in.
struct Started {
    instant: Instant,
    millis: i64,
    at: String,
    ttl: i64,
}

impl Started {
    fn now(services: &Services) -> Self {
        let millis = now_millis();
        let life = i64::try_from(services.config.execution_ttl.as_secs()).unwrap_or(i64::MAX);
        let ttl = (millis / 1000).saturating_add(life);
        Self { instant: Instant::now(), millis, at: clock::rfc3339(millis), ttl }
    }
}

/// The fire's execution id; a fire that carries no identity of its own is remembered by its Lambda request.
async fn identify(
    services: &Services,
    fire: &Fire,
    invocation: &Invocation,
    started: &Started,
) -> Result<String, StoreError> {
    if let Some((_, instant)) = fire.scheduled_time {
        return Ok(fire::execution_id(&fire.trigger_id, Identity::Scheduled(instant)).to_string());
    }
    let first_claim = clock::instant(started.millis);
    let identity = Identity::Request { request_id: &invocation.request_id, first_claim };
    let id = fire::execution_id(&fire.trigger_id, identity).to_string();
    services.store.guard(&fire.trigger_id, &invocation.request_id, &id, started.ttl).await
}

/// Claims, and if it cannot be known whether the claim was written, takes it back: left `running`, it would be taken
/// for a run that died.
async fn claim_or_give_up(
    services: &Services,
    fire: &Fire,
    attempt: Attempt,
    deadline: Deadline,
) -> Result<Claim, Failure> {
    let (execution_id, owner) = (attempt.execution_id.clone(), attempt.owner.clone());
    let claiming = claim(&services.store, fire, attempt, Lease(services.config.lease), deadline);
    let error = match tokio::time::timeout_at(deadline.run_until, claiming).await {
        Ok(Ok(claim)) => return Ok(claim),
        Ok(Err(error)) => error,
        Err(_) => ClaimError::Store(StoreError::OutOfTime),
    };
    let may_be_running = matches!(&error, ClaimError::Store(error) if error.may_have_written());
    let failure = Failure::from(error);
    if may_be_running {
        let ending = Ending::new(Status::Failed, now_millis(), Some(failure.clone()));
        let taking_back = services.store.finish(&fire.trigger_id, &execution_id, &owner, &ending);
        match in_time(deadline.write_until, taking_back).await {
            Ok(_) => tracing::warn!("the claim had no answer and was taken back"),
            Err(error) => tracing::warn!(error = %error, "the claim had no answer and cannot be taken back"),
        }
    }
    Err(failure)
}

async fn has_trigger(services: &Services, fire: &Fire) -> bool {
    services.store.has_trigger(&fire.user_id, &fire.trigger_id).await.unwrap_or_else(|error| {
        tracing::warn!(error = %error, "cannot see whether there is a trigger item");
        false
    })
}

fn session_of(execution_id: &str) -> String {
    // A remembered id that is no UUID was written by nobody of ours.
    Uuid::parse_str(execution_id).map_or_else(|_| format!("s{}", Uuid::new_v4().simple()), |id| fire::session_id(&id))
}

fn lease_lost() -> Failure {
    Failure::fatal(ErrorType::LeaseLost, "another attempt owns the execution now")
}

fn millis_since(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A panic as a failure; the panic hook has logged where it was.
async fn catch_panic<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    AssertUnwindSafe(future)
        .catch_unwind()
        .await
        .map_err(|_| Failure::retryable(ErrorType::Internal, "the function panicked; its log says where"))
}
