//! The one handler: the story of a run.

use std::{
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use futures_util::future::{Either, ready, select};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{Instrument, field::Empty};
use uuid::Uuid;

use crate::{
    agent::Agent,
    clients::cognito::TokenSource,
    clients::lambda::Dispatcher,
    clock::{Deadline, millis_since, now_millis},
    config::Config,
    domain::answer::{Outcome, Verdict},
    domain::execution::{Lease, Status, is_retryable},
    domain::failure::{ErrorType, Failure},
    domain::fire::Fire,
    events::schedule::{self, Event},
    lifecycle::claim::{Claim, claim_or_give_up},
    lifecycle::identify::{Started, identify, session_of},
    lifecycle::lease::{Held, NotHeld, Stop},
    lifecycle::results::failure_of,
    response::Reply,
    routing::{self, Route},
    run::{Halt, Known, Run, Seen, catch_panic, stop_agent},
    settle,
    store::record::{Attempt, Ending},
    store::{Store, boxed, in_time},
    telemetry::metrics::{Instead, timed},
    trigger::item::Subscription,
    trigger::replay,
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
    /// Where events for several triggers are handed on.
    pub dispatcher: Dispatcher,
}

/// What Lambda says of an invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Lambda's request id, the same on its own retries.
    pub request_id: String,
    /// The function that was invoked, with its version or alias if one was named.
    pub function_arn: String,
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
    let known = Known::new(invocation);
    // Of the highest level: at a lower one a log of errors alone would lack the ids.
    let run = tracing::error_span!(
        "run",
        requestId = invocation.request_id,
        triggerId = Empty,
        executionId = Empty,
        attempt = Empty,
        // As OpenTelemetry names and spells it, so that one id finds the agent's part too.
        // https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/
        trace_id = known.trace.as_ref().and_then(|trace| trace.otel_id.as_deref()),
    );
    let handled =
        boxed(catch_panic(handle_payload(services, payload, invocation, &known).instrument(run.clone()))).await;
    let result = handled.unwrap_or_else(|panicked| Err(known.seen.unless_called(panicked)));
    let result = result.map_err(|failure| known.name(failure));
    if let Err(Failure { error_type, retryable, message, trigger_id, execution_id, .. }) = &result {
        let error_type = error_type.as_str();
        // Not twice: the log in text format would have them twice.
        if known.execution_id.get().is_none() {
            tracing::record_all!(run, triggerId = trigger_id.as_deref(), executionId = execution_id.as_deref());
        }
        run.in_scope(|| tracing::error!(errorType = error_type, retryable, cause = message, "run failed"));
    }
    known.tell(services, invocation, result.as_ref().err());
    result
}

async fn handle_payload(
    services: &Services,
    payload: Option<&str>,
    invocation: &Invocation,
    known: &Known,
) -> Result<Value, Failure> {
    let deadline = Deadline::new(invocation.deadline_millis);
    if let Some(batch) = payload.and_then(settle::Batch::read) {
        known.seen.measured.instead.get_or_init(|| Instead::Settled);
        return Ok(settle::settle(services, &batch, deadline).await);
    }
    let event = schedule::parse(payload, services.config.is_agentcore)?;
    let is_too_near = || Failure::retryable(ErrorType::DeadlineExceeded, "too little time is left to start a run");
    let fire = match event {
        Event::Scheduled(fire) => fire,
        Event::Bus(_) if deadline.is_too_near() => return Err(is_too_near()),
        Event::Bus(event) => match Box::pin(routing::route(services, &event, invocation, deadline, known)).await? {
            Route::Run(fire) => fire,
            Route::Done(reply) => return Ok(reply),
        },
    };
    let fire = known.fire.get_or_init(|| fire);
    if deadline.is_too_near() {
        return Err(is_too_near());
    }
    run_fire(services, fire, invocation, deadline, known).await
}

/// One fire: identify, claim, run, write down, or say what became of it before.
async fn run_fire(
    services: &Services,
    fire: &Fire,
    invocation: &Invocation,
    deadline: Deadline,
    known: &Known,
) -> Result<Value, Failure> {
    let Services { store, config, .. } = services;
    let since = Instant::now();
    let started = Started::at(now_millis(), config);
    let identifying = identify(store, fire, &invocation.request_id, &started);
    let execution_id = in_time(deadline.run_until, identifying).await?;
    let execution_id = known.identified(fire, execution_id);
    let reply = Reply::new(fire, execution_id);
    let mut attempt = Attempt {
        session_id: fire.session_id.clone().unwrap_or_else(|| session_of(execution_id)),
        execution_id: execution_id.clone(),
        owner: Uuid::new_v4().to_string(),
        attempt: 1,
        lambda_request_id: invocation.request_id.clone(),
        started_at: started.at,
        ttl: started.ttl,
        trace: known.trace.clone(),
        before: None,
    };
    let seen = &known.seen;
    let measured = &seen.measured;

    // Neither is needed unless the claim succeeds, but both take as long as it does. A panic here must not take the
    // claim's answer with it: what is claimed is given up in order.
    let prepared = boxed(catch_panic(async {
        let token = pin!(services.tokens.token());
        tokio::join!(timed(&measured.token_ms, token), stored_trigger(store, fire))
    }));
    let lease = Lease(config.lease);
    let claiming = boxed(claim_or_give_up(store, fire, &mut attempt, lease, deadline, measured));
    let (claimed, prepared) = match select(timed(&measured.claim_ms, claiming), prepared).await {
        Either::Left((claimed, prepared)) => (claimed, Either::Left(prepared)),
        Either::Right((answer, claiming)) => (claiming.await, Either::Right(ready(answer))),
    };
    let lease_until = match claimed? {
        Claim::Owned(lease_until) => lease_until,
        Claim::Duplicate(row) => {
            tracing::info!(status = row.status.as_str(), "duplicate: nothing to do");
            measured.duplicates.one_more();
            return if row.status == Status::Failed { Err(failure_of(&row)) } else { Ok(reply.duplicate(&row)) };
        }
        Claim::Cancelled(row) => {
            tracing::info!("cancelled before it ran");
            measured.ended(Status::Cancelled);
            return Ok(reply.cancelled(row.session_id.as_deref()));
        }
        Claim::Interrupted(failure) => {
            measured.ended(Status::Failed);
            replay::keep_input(store, fire, execution_id, attempt.ttl, deadline.write_until).await;
            return Err(failure);
        }
    };
    tracing::Span::current().record("attempt", *measured.attempt.get_or_init(|| attempt.attempt));

    let held = Held {
        store,
        lease,
        user_id: &fire.user_id,
        trigger_id: &fire.trigger_id,
        execution_id: &attempt.execution_id,
        owner: &attempt.owner,
        rerun_if_interrupted: fire.rerun_if_interrupted,
        until: AtomicI64::new(lease_until),
        trigger: OnceLock::new(),
        has_turn: AtomicBool::new(false),
        reports: Arc::default(),
        measured,
    };
    let xray_trace_id = invocation.xray_trace_id.as_deref();
    let run = Run { services, held: &held, seen, attempt: &attempt, since, deadline, xray_trace_id };
    let ended = run.to_its_end(fire, prepared).await;
    let is_unwanted = matches!(ended, Err(Halt::Stopped(Stop::Cancelled))) || seen.timed_out.load(Ordering::Relaxed);
    let stop = if is_unwanted && seen.agent_called() { stop_agent(services, &attempt.session_id).await } else { None };
    let ending = Ending {
        stop,
        snapshot: seen.ran.get().map(replay::snapshot),
        request_id: seen.request_id.get().cloned(),
        first_event_ms: held.reports.first_event_ms.get().copied(),
        duration_ms: Some(millis_since(since)),
        ..Ending::new(Status::Completed, now_millis(), None)
    };
    let result = write_down(&held, seen, fire, &attempt, ended, ending, deadline).await;
    held.give_turn_up(deadline).await;
    result
}

/// Writes how the attempt ended, and returns what Lambda is told of it.
async fn write_down(
    held: &Held<'_>,
    seen: &Seen,
    fire: &Fire,
    attempt: &Attempt,
    ended: Result<Outcome, Halt>,
    mut ending: Ending,
    deadline: Deadline,
) -> Result<Value, Failure> {
    let reply = Reply::new(fire, &attempt.execution_id);
    let failure = match ended {
        Ok(outcome) => {
            held.reports.report(outcome.progress);
            ending.request_id = outcome.request_id.or(ending.request_id);
            ending.session_id = outcome.session_id;
            ending.output = outcome.output;
            ending.protocol = Some(outcome.protocol);
            ending.finish_reason = outcome.finish_reason;
            match outcome.verdict {
                Verdict::Completed => None,
                Verdict::Incomplete(reason) => Some(Failure::from(reason)),
                Verdict::Failed(failure) => Some(Failure::from(failure)),
                Verdict::Interrupted(interruption) => Some(Failure::from(interruption)),
            }
        }
        Err(Halt::Failed(failure)) => Some(failure),
        Err(Halt::Stopped(Stop::Cancelled)) => {
            ending.status = Status::Cancelled;
            None
        }
        // An attempt was made: that this one is not says nothing of how it ended.
        Err(Halt::Skipped(reason, _)) if let Some(before) = &attempt.before => {
            let message = format!("{}; not tried again: {}", before.message, reason.as_str());
            Some(Failure { message, retryable: false, ..before.clone() })
        }
        Err(Halt::Skipped(reason, overlaps)) => {
            tracing::info!(skipReason = reason.as_str(), "skipped");
            seen.measured.skip_reason.get_or_init(|| reason);
            ending = Ending { overlaps, ..Ending::skipped(now_millis(), reason) };
            None
        }
        Err(Halt::Stopped(Stop::Lost)) => return Err(lease_lost()),
    };
    ending.reported = held.reports.last();
    seen.measured.ran(&ending);
    if let Some(failure) = failure {
        ending.status = Status::Failed;
        ending.failure = Some(Failure { retryable: is_retryable(failure.retryable, attempt.attempt), ..failure });
    }
    let is_final = ending.failure.as_ref().is_none_or(|failure| !failure.retryable);
    let has_run = !matches!(ending.status, Status::Completed | Status::Skipped);
    let is_worth_a_replay = has_run && is_final && !seen.is_input_kept();
    let keeping = async {
        if is_worth_a_replay {
            let Attempt { execution_id, ttl, .. } = attempt;
            let fire = seen.ran.get().unwrap_or(fire);
            replay::keep_input(held.store, fire, execution_id, *ttl, deadline.write_until).await;
        }
    };
    let (finished, ()) = tokio::join!(held.finish(&ending, deadline), keeping);
    match finished {
        Ok(()) => {}
        Err(NotHeld::Stopped(_)) => return Err(lease_lost()),
        Err(NotHeld::Store(error)) => return Err(seen.unless_called(error.into())),
    }
    let session_id = ending.session_id.as_deref().unwrap_or(&attempt.session_id);
    if is_final {
        seen.measured.ended(ending.status);
    }
    match ending.failure {
        Some(failure) => Err(failure),
        None if let Some(reason) = ending.skip_reason => Ok(reply.skipped(reason)),
        None if ending.status == Status::Cancelled => Ok(reply.cancelled(Some(session_id))),
        None => Ok(reply.completed(ending.request_id.as_deref(), session_id)),
    }
}

/// The trigger item as it stands. A run that may have been switched off does not start unseen.
async fn stored_trigger(store: &Store, fire: &Fire) -> Result<Option<Subscription>, Failure> {
    if fire.stored.is_some() {
        return Ok(None);
    }
    let Some(item) = store.trigger(&fire.user_id, &fire.trigger_id).await? else { return Ok(None) };
    Ok(Subscription::read(item).ok())
}

fn lease_lost() -> Failure {
    Failure::fatal(ErrorType::LeaseLost, "the execution, or its trigger's turn, is another's now")
}
