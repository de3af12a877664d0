//! The one handler: the story of a run (contract, §5).

use std::{
    panic::AssertUnwindSafe,
    sync::{Mutex, OnceLock, atomic::AtomicI64},
};

use futures_util::FutureExt;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    agent::{Agent, Call},
    claim::{Claim, ClaimError, claim},
    clock::{self, Deadline, millis_since, now_millis},
    config::Config,
    error::{ErrorType, Failure},
    event::{self, Fire},
    execution::{Lease, Status, is_retryable},
    fire::{self, Identity},
    lease::{Held, NotHeld, Stop},
    record::{Attempt, Ending, StopOutcome},
    reply::Reply,
    run::{Halt, Run, Seen},
    settle,
    store::{Store, StoreError, Write, in_time},
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
    if let Some(batch) = payload.and_then(settle::Batch::read) {
        return Ok(settle::settle(services, &batch, deadline).await);
    }
    let fire = event::parse(payload, services.config.is_agentcore).inspect_err(|error| {
        let (request_id, trigger_id) = (&invocation.request_id, error.trigger_id.as_deref());
        tracing::error!(
            requestId = request_id,
            triggerId = trigger_id,
            errorType = ErrorType::InvalidEvent.as_str(),
            cause = %error,
            "run failed"
        );
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
    let since = Instant::now();
    let started = Started::at(now_millis(), &services.config);
    let identifying = identify(services, fire, &invocation.request_id, &started);
    let execution_id = in_time(deadline.run_until, identifying).await?;
    tracing::Span::current().record("executionId", &execution_id);
    let execution_id = known_id.get_or_init(|| execution_id);
    let reply = Reply::new(fire, execution_id);
    let mut attempt = Attempt {
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
    let claiming = claim_or_give_up(services, fire, &mut attempt, deadline);
    let mut claiming = Box::pin(claiming);
    let mut early = None;
    let claimed = loop {
        tokio::select! {
            biased;
            claimed = &mut claiming => break claimed?,
            answer = &mut wanted, if early.is_none() => early = Some(answer),
        }
    };
    drop(claiming);
    let lease_until = match claimed {
        Claim::Owned(lease_until) => lease_until,
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
        reported: Mutex::default(),
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
    let stop = match &halted {
        Err(Halt::Stopped(Stop::Cancelled)) if seen.agent_called() => stop_agent(services, &attempt.session_id).await,
        _ => None,
    };
    let ending = Ending {
        stop,
        request_id: seen.request_id.get().cloned(),
        first_event_ms: seen.first_event_ms.get().copied(),
        duration_ms: Some(millis_since(since)),
        ..Ending::new(Status::Completed, now_millis(), None)
    };
    write_down(&held, &seen, &attempt, halted, ending, deadline, &reply).await
}

/// A cancelled agent goes on after its client has left, unless it is one that can be told.
async fn stop_agent(services: &Services, session_id: &str) -> Option<StopOutcome> {
    let token = services.tokens.token().await.ok()?;
    services.agent.stop_session(session_id, &token).await
}

/// Writes how the attempt ended, and returns what Lambda is told of it.
async fn write_down(
    held: &Held<'_>,
    seen: &Seen,
    attempt: &Attempt,
    ended: Result<Outcome, Halt>,
    mut ending: Ending,
    deadline: Deadline,
    reply: &Reply<'_>,
) -> Result<Value, Failure> {
    let failure = match ended {
        Ok(outcome) => {
            held.report(outcome.progress);
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
    ending.reported = held.reported();
    if let Some(failure) = failure {
        ending.status = Status::Failed;
        ending.failure = Some(Failure { retryable: is_retryable(failure.retryable, attempt.attempt), ..failure });
    }
    match held.finish(&ending, deadline).await {
        Ok(()) => {}
        Err(NotHeld::Stopped(_)) => return Err(lease_lost()),
        Err(NotHeld::Store(error)) => return Err(seen.unless_called(error.into())),
    }
    tracing::info!(status = ending.status.as_str(), durationMs = ending.duration_ms, "recorded");
    let session_id = ending.session_id.as_deref().unwrap_or(&attempt.session_id);
    match ending.failure {
        Some(failure) => Err(failure),
        None if ending.status == Status::Cancelled => Ok(reply.cancelled(Some(session_id))),
        None => Ok(reply.completed(ending.request_id.as_deref(), session_id)),
    }
}

/// When a fire started, in the forms it is needed in.
pub(crate) struct Started {
    pub(crate) millis: i64,
    /// RFC 3339.
    pub(crate) at: String,
    /// When the record ends, seconds since 1970.
    pub(crate) ttl: i64,
}

impl Started {
    pub(crate) fn at(millis: i64, config: &Config) -> Self {
        let life = i64::try_from(config.execution_ttl.as_secs()).unwrap_or(i64::MAX);
        Self { millis, at: clock::rfc3339(millis), ttl: (millis / 1000).saturating_add(life) }
    }
}

/// The fire's execution id; a fire that carries no identity of its own is remembered by its Lambda request.
pub(crate) async fn identify(
    services: &Services,
    fire: &Fire,
    lambda_request_id: &str,
    started: &Started,
) -> Result<String, StoreError> {
    if let Some((_, instant)) = fire.scheduled_time {
        return Ok(fire::execution_id(&fire.trigger_id, Identity::Scheduled(instant)).to_string());
    }
    let first_claim = clock::instant(started.millis);
    let identity = Identity::Request { request_id: lambda_request_id, first_claim };
    let id = fire::execution_id(&fire.trigger_id, identity).to_string();
    services.store.guard(&fire.trigger_id, lambda_request_id, &id, started.ttl).await
}

/// Claims. After a failure one of the SDK's tries may have been applied all the same, so a claim is taken back: left
/// `running`, it would be taken for a run that died.
async fn claim_or_give_up(
    services: &Services,
    fire: &Fire,
    attempt: &mut Attempt,
    deadline: Deadline,
) -> Result<Claim, Failure> {
    let claiming = claim(&services.store, fire, attempt, Lease(services.config.lease), deadline);
    let error = match tokio::time::timeout_at(deadline.run_until, claiming).await {
        Ok(Ok(claim)) => return Ok(claim),
        Ok(Err(error)) => error,
        Err(_) => ClaimError::Store(StoreError::OutOfTime),
    };
    let is_unknown = matches!(error, ClaimError::Store(_));
    let mut failure = Failure::from(error);
    if is_unknown {
        failure.retryable = is_retryable(failure.retryable, attempt.attempt);
        let ending = Ending::new(Status::Failed, now_millis(), Some(failure.clone()));
        let Attempt { execution_id, owner, .. } = &*attempt;
        let taking_back = services.store.finish(&fire.trigger_id, execution_id, owner, &ending);
        match in_time(deadline.write_until, taking_back).await {
            Ok(Write::Done) => tracing::warn!("the claim had been written and was taken back"),
            Ok(Write::Refused(_)) => tracing::info!("the claim had not been written"),
            Err(error) => tracing::warn!(error = %error, "it is unknown whether the claim was written"),
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

pub(crate) fn session_of(execution_id: &str) -> String {
    // A remembered id that is no UUID was written by nobody of ours.
    Uuid::parse_str(execution_id).map_or_else(|_| format!("s{}", Uuid::new_v4().simple()), |id| fire::session_id(&id))
}

fn lease_lost() -> Failure {
    Failure::fatal(ErrorType::LeaseLost, "another attempt owns the execution now")
}

/// A panic as a failure; the panic hook has logged where it was.
async fn catch_panic<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    AssertUnwindSafe(future)
        .catch_unwind()
        .await
        .map_err(|_| Failure::retryable(ErrorType::Internal, "the function panicked; its log says where"))
}
