//! The run of one fire: identify it, claim its execution, run the agent, and record the ending.

mod attempt;
mod detached;
mod finish;
mod input;
mod prospect;
mod session;
mod stored;
mod token;

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicI64},
};

use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    agent::decision::Decision,
    app::App,
    clock::now_millis,
    domain::{
        attempt::{Attempt, StartTime},
        execution::{ExecutionRef, Holder, Row, Status},
        failure::Failure,
        fire::Fire,
        ids::ExecutionId,
        trigger_snapshot::TriggerKnowledge,
        waiting_task::is_stopped_with,
    },
    invocation::{InvocationContext, catch_panic, poll_alongside},
    lifecycle::{
        claim::{Claim, claim_or_give_up},
        close::execution_of,
        detached::hand_over_once,
        identify::{identify, session_of},
        lease::{HeldSlot, OwnedExecution, RunStop, Stop},
        looks::stop_later,
    },
    response::Response,
    run::{
        attempt::{AttemptRun, Beside},
        prospect::prospect,
        stored::Resolved,
        token::DetachedRun,
    },
    store::{Store, error::StoreError},
    telemetry::metrics::timed,
    trigger::{
        item::TriggerItem,
        replay::{self, Input},
    },
};

/// Runs one fire: resolves its stored parts, claims its execution, calls the agent, writes the end and returns the
/// response. If an earlier attempt ended it or works on it, the agent is not called, and the result is that of its
/// record. The agent is made ready while the claim is under way. If the fire must not run, or its Step Functions
/// execution was stopped, the end is written without a call. The run lock is released last, after the end is written.
///
/// # Errors
/// Returns every failure. It is recorded before it is returned, unless it says that the record could not be written or
/// read.
pub(crate) async fn run_fire(context: &InvocationContext<'_>, fire: Box<Fire>) -> Result<Value, Failure> {
    let InvocationContext { app, invocation, deadline, state, .. } = context;
    let since = Instant::now();
    let Resolved { fire, stop } = Box::pin(stored::resolve(context, fire)).await?;
    let fire = &*context.note_fire(fire);
    let started = StartTime::new(now_millis(), app.config.execution_ttl);
    let identifying = identify(&app.store, fire, &invocation.request_id, &started);
    let execution_id = ExecutionId::from(app.store.in_time(deadline.run_until, identifying).await?);
    let execution_id = &*context.note_execution(fire, execution_id);
    let detached = fire.task.detached.filter(|_| stop.is_none());
    let mut detached = detached.map(|settings| DetachedRun::new(settings, started.millis));
    if let (Some(run), Some(accepted)) = (&mut detached, &fire.task.accept_finish_reasons) {
        run.detachment.accept_finish_reasons.clone_from(accepted);
    }
    let mut attempt = first_attempt(context, fire, execution_id, started);
    attempt.detachment = detached.as_ref().map(|detached| detached.detachment.clone());
    if stop.is_some() {
        attempt.snapshot = None;
    }
    let claiming = Box::pin(claim_or_give_up(&app.store, fire, &mut attempt, app.lease(), *deadline, state));
    let runs = stop.is_none();
    let preparing = async move {
        // A fire that ends without a run needs no token.
        if runs { prospect(context, fire).await } else { std::future::pending().await }
    };
    let claiming = timed(state, |facts| &mut facts.claim_ms, claiming);
    let reading = Box::pin(catch_panic(stored_trigger(&app.store, fire)));
    let claiming = Box::pin(poll_alongside(claiming, reading));
    let ((claimed, item), prospect) = poll_alongside(claiming, Box::pin(catch_panic(preparing))).await;
    let lease_until = match claimed? {
        Claim::Owned(lease_until) => lease_until,
        other => return not_run(context, fire, &attempt, other).await,
    };
    // The mark is read once the claim is there: who cancels afterwards finds the record.
    let stop = match stop {
        None => stopped_caller(context, fire).await.map(|stop| Box::new((stop, TriggerKnowledge::Unread))),
        stop => stop,
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
        slot: HeldSlot::default(),
        is_detached: AtomicBool::new(false),
        usage_before: attempt.usage_before,
        state,
    };
    let run = AttemptRun {
        context,
        owned: &owned,
        attempt: &attempt,
        since,
        called: OnceLock::new(),
        beside: Beside::default(),
        decision: Decision::default(),
        claimed: detached,
        detached: OnceLock::new(),
    };
    run.with_writes_beside(async {
        let stopped = match stop {
            Some(stop) => {
                let (stop, knowledge) = *stop;
                // It is set only here, so this cannot fail.
                let _ = owned.trigger.set(knowledge);
                Err(stop)
            }
            None => Box::pin(run.to_its_end(fire, item, prospect)).await,
        };
        let result = Box::pin(run.finish(fire, stopped)).await;
        owned.release_run_lock(*deadline).await;
        result
    })
    .await
}

/// Returns a cancellation if the execution of Step Functions that waits for this fire was stopped before the fire's
/// record could say so. Returns a failure if the table gives no result in time. Returns `None` if nothing was stopped
/// or nobody waits. An execution that was redriven after its stop has the same ARN, and so still the mark of that stop.
/// A command that it sent more than 5 s after the stop is not stopped.
async fn stopped_caller(context: &InvocationContext<'_>, fire: &Fire) -> Option<RunStop> {
    let task = fire.waiting.as_ref()?;
    let store = &context.app.store;
    let stopped_at = store.caller_stopped_at(task.caller.as_deref()?);
    match store.in_time(context.deadline.run_until, stopped_at).await {
        Ok(at) => at.is_some_and(|at| is_stopped_with(task.sent, at)).then_some(RunStop::Stopped(Stop::Cancelled)),
        Err(error) => Some(RunStop::Failed(error.into())),
    }
}

/// Returns the attempt as it would be if it were the first, with a new owner id at each call. The session is the
/// task's, or else the execution's own. If there were others, the claim changes the number, the start and the expiry,
/// and adds what they left.
fn first_attempt(
    context: &InvocationContext<'_>,
    fire: &Fire,
    execution_id: &ExecutionId,
    started: StartTime,
) -> Attempt {
    Attempt {
        session_id: fire.task.session_id.clone().unwrap_or_else(|| session_of(execution_id)),
        execution_id: execution_id.clone(),
        owner: Uuid::new_v4().to_string(),
        attempt: 1,
        lambda_request_id: context.invocation.request_id.clone(),
        started_at: started.at,
        ttl: started.ttl,
        trace: context.trace.clone(),
        snapshot: Some(Input::new(fire, context.app.agents.known(&fire.task.agent_id).as_ref()).snapshot),
        before: None,
        usage_before: None,
        detachment: None,
    }
}

/// Reads the current trigger item, unless it has been read already. Returns `None` then, and if there is no item or its
/// key is unusable.
///
/// # Errors
/// Returns an error if the table gives no result. Then the run must not start, because its trigger may have been
/// switched off.
async fn stored_trigger(store: &Store, fire: &Fire) -> Result<Option<TriggerItem>, Failure> {
    if fire.trigger.is_some() || fire.is_stored {
        return Ok(None);
    }
    let Some(item) = store.trigger(&fire.user_id, &fire.trigger_id).await? else { return Ok(None) };
    Ok(TriggerItem::read(item).ok())
}

/// Returns the response for an execution that this attempt does not own. It is counted, unless it was to be handed
/// over:
///
/// - A duplicate has the response of its row, or its failure.
/// - A detached run that its agent works on has the response of such a run. One whose attempt died is handed over to
///   its agent first.
/// - One that the claim cancelled or ended has that response or failure. A look is sent to stop its agent's session, if
///   it is a detached run. The input of one whose attempt had died is kept here if it is known, because nobody else
///   will.
///
/// # Errors
/// Returns the failure of an execution that has failed or was ended as failed, and that of the table or of the timer.
async fn not_run(
    context: &InvocationContext<'_>,
    fire: &Fire,
    attempt: &Attempt,
    claim: Claim,
) -> Result<Value, Failure> {
    let InvocationContext { app, deadline, state, .. } = context;
    let response = Response::new(fire, &attempt.execution_id);
    let execution = execution_of(fire, &attempt.execution_id);
    match claim {
        Claim::Duplicate(row) => {
            tracing::info!(status = row.status.as_str(), "duplicate: nothing to do");
            state.facts().duplicates += 1;
            if row.status == Status::Failed { Err(Failure::of_row(&row)) } else { Ok(response.duplicate(&row)) }
        }
        Claim::Detached(row) => {
            tracing::info!("detached: its agent works on it");
            state.facts().duplicates += 1;
            Ok(response.detached(row.session_id.as_deref().unwrap_or_default()))
        }
        Claim::Unacknowledged(row) => {
            let session_id = row.session_id.clone().unwrap_or_default();
            let handing = hand_over_once(&app.store, &app.settle_queue, app.lease(), execution, row);
            let handed = tokio::time::timeout_at(deadline.run_until, handing).await;
            match handed.unwrap_or(Err(StoreError::OutOfTime.into()))? {
                Some(row) if row.status == Status::Failed => return Err(Failure::of_row(&row)),
                Some(row) if row.status != Status::Running => return Ok(response.duplicate(&row)),
                None | Some(_) => {}
            }
            Ok(response.detached(&session_id))
        }
        Claim::Cancelled(row) => {
            tracing::info!("cancelled before it ran");
            state.facts().count_end(Status::Cancelled);
            stopped_later(app, execution, &row).await;
            Ok(response.cancelled(row.session_id.as_deref()))
        }
        Claim::Interrupted(failure, row) => {
            stopped_later(app, execution, &row).await;
            state.facts().count_dead(failure.error_type);
            let definition = app.agents.known(&fire.task.agent_id);
            let dead = (&attempt.execution_id, Some(&row));
            let until = deadline.write_until;
            // The task of a stored trigger that is gone is unknown.
            if !fire.task.prompt.is_empty() {
                replay::keep_input_of(&app.store, fire, definition.as_ref(), dead, attempt.ttl, until).await;
            }
            Err(failure)
        }
        // This does not happen, because the caller runs an execution that it owns.
        Claim::Owned(_) => Ok(Value::Null),
    }
}

/// Sends the look that stops the session of a detached run that was ended here, as [`stop_later`] does. Any other run
/// needs none, and nothing happens. A failure is logged only.
async fn stopped_later(app: &App, execution: ExecutionRef<'_>, row: &Row) {
    if row.report_key.is_some() {
        stop_later(&app.settle_queue, execution, row).await;
    }
}
