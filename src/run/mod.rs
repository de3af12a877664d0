//! One fire: identify it, claim its execution, run the agent, write down how it ended.

mod attempt;
mod finish;

use std::{
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64},
    },
};

use futures_util::future::{Either, Ready, ready, select};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    agent::{Agent, authorization::Authorization},
    clock::now_millis,
    domain::{
        attempt::{Attempt, StartTime},
        execution::{Holder, Row, Status},
        failure::Failure,
        fire::Fire,
    },
    invocation::{InvocationContext, catch_panic},
    lifecycle::{
        claim::{Claim, claim_or_give_up},
        close::execution_of,
        identify::{identify, session_of},
        lease::OwnedExecution,
    },
    response::Response,
    run::attempt::Run,
    store::{Store, boxed, in_time},
    telemetry::metrics::timed,
    trigger::{item::TriggerItem, replay},
};

/// What is asked for beside the claim: the agent that the event names with what proves to it who calls, and the trigger
/// item if there is one.
type Prepared = (Result<Prospect, Failure>, Result<Option<TriggerItem>, Failure>);

/// An agent that is ready to be called.
struct Prospect {
    agent: Arc<Agent>,
    authorization: Authorization,
}

/// Runs one fire, or says what became of it before.
///
/// # Errors
/// Returns every failure, recorded before it is returned.
pub(crate) async fn run_fire(context: &InvocationContext<'_>, fire: Box<Fire>) -> Result<Value, Failure> {
    let InvocationContext { app, invocation, deadline, state, .. } = context;
    let fire = &*context.note_fire(fire);
    let since = Instant::now();
    let started = StartTime::new(now_millis(), app.config.execution_ttl);
    let identifying = identify(&app.store, fire, &invocation.request_id, &started);
    let execution_id = in_time(deadline.run_until, identifying).await?;
    let execution_id = &*context.note_execution(fire, execution_id);
    let mut attempt = first_attempt(context, fire, execution_id, started);
    let claiming = boxed(claim_or_give_up(&app.store, fire, &mut attempt, app.lease(), *deadline, state));
    let (claimed, prepared) =
        poll_alongside(timed(state, |facts| &mut facts.claim_ms, claiming), boxed(catch_panic(prepare(context, fire))))
            .await;
    let lease_until = match claimed? {
        Claim::Owned(lease_until) => lease_until,
        other => return not_run(context, fire, &attempt, other).await,
    };
    state.facts().attempt = Some(attempt.attempt);
    tracing::Span::current().record("attempt", attempt.attempt);

    let owned = OwnedExecution {
        store: &app.store,
        lease: app.lease(),
        holder: Holder { execution: execution_of(fire, execution_id), owner: &attempt.owner },
        rerun_if_interrupted: fire.task.rerun_if_interrupted,
        until: AtomicI64::new(lease_until),
        trigger: OnceLock::new(),
        has_run_lock: AtomicBool::new(false),
        state,
    };
    let run = Run { context, owned: &owned, attempt: &attempt, since };
    let stopped = run.to_its_end(fire, prepared).await;
    let result = run.finish(fire, stopped).await;
    owned.release_run_lock(*deadline).await;
    result
}

fn first_attempt(context: &InvocationContext<'_>, fire: &Fire, execution_id: &str, started: StartTime) -> Attempt {
    Attempt {
        session_id: fire.task.session_id.clone().unwrap_or_else(|| session_of(execution_id)),
        execution_id: execution_id.to_owned(),
        owner: Uuid::new_v4().to_string(),
        attempt: 1,
        lambda_request_id: context.invocation.request_id.clone(),
        started_at: started.at,
        ttl: started.ttl,
        trace: context.trace.clone(),
        before: None,
    }
}

/// Returns what `first` says, and the rest of `second`, which is polled meanwhile. Neither the token nor the trigger
/// item is needed unless the claim succeeds, but both take as long as it does. A panic in the second must not take the
/// claim's answer with it: a claimed execution is given up in order.
async fn poll_alongside<T, U: Future + Unpin>(
    first: impl Future<Output = T> + Unpin,
    second: U,
) -> (T, Either<U, Ready<U::Output>>) {
    match select(first, second).await {
        Either::Left((answer, second)) => (answer, Either::Left(second)),
        Either::Right((answer, first)) => (first.await, Either::Right(ready(answer))),
    }
}

async fn prepare(context: &InvocationContext<'_>, fire: &Fire) -> Prepared {
    tokio::join!(prospect(context, &fire.task.agent_id), stored_trigger(&context.app.store, fire))
}

/// Finds the agent of this id, and gets what proves to it who calls.
async fn prospect(context: &InvocationContext<'_>, agent_id: &str) -> Result<Prospect, Failure> {
    let agents = &context.app.agents;
    let agent = agents.find(agent_id).await?;
    let authorization = {
        let authorizing = pin!(agents.authorize(&agent));
        timed(&context.state, |facts| &mut facts.token_ms, authorizing).await?
    };
    Ok(Prospect { agent, authorization })
}

/// Reads the trigger item as it stands. A run that may have been switched off does not start unseen.
async fn stored_trigger(store: &Store, fire: &Fire) -> Result<Option<TriggerItem>, Failure> {
    if fire.trigger.is_some() {
        return Ok(None);
    }
    let Some(item) = store.trigger(&fire.user_id, &fire.trigger_id).await? else { return Ok(None) };
    Ok(TriggerItem::read(item).ok())
}

/// Says what became of an execution that this attempt does not own.
async fn not_run(
    context: &InvocationContext<'_>,
    fire: &Fire,
    attempt: &Attempt,
    claim: Claim,
) -> Result<Value, Failure> {
    let InvocationContext { app, deadline, state, .. } = context;
    let response = Response::new(fire, &attempt.execution_id);
    match claim {
        Claim::Duplicate(row) => {
            tracing::info!(status = row.status.as_str(), "duplicate: nothing to do");
            state.facts().duplicates += 1;
            if row.status == Status::Failed { Err(Failure::of_row(&row)) } else { Ok(response.duplicate(&row)) }
        }
        Claim::Cancelled(Row { session_id, .. }) => {
            tracing::info!("cancelled before it ran");
            state.facts().count_end(Status::Cancelled);
            Ok(response.cancelled(session_id.as_deref()))
        }
        Claim::Interrupted(failure) => {
            state.facts().count_end(Status::Failed);
            replay::keep_input(&app.store, fire, &attempt.execution_id, attempt.ttl, deadline.write_until).await;
            Err(failure)
        }
        // The caller runs what it owns.
        Claim::Owned(_) => Ok(Value::Null),
    }
}
