//! The routing of one bus event. `decide` decides which triggers the event is meant for. This file acts on the
//! decision: the event becomes the fire of one trigger, or it is handed on to an invocation for each trigger. A command
//! to end executions is carried out here.

mod counts;
mod decide;
mod unrun;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    app::App,
    clock::now_millis,
    domain::{
        attempt::StartTime,
        detour::Detour,
        ending::{Ending, SkipReason},
        execution::{Row, Status},
        failure::{ErrorType, Failure},
        fire::Fire,
        ids::{ExecutionId, TriggerId},
        run_state::Instead,
    },
    events::{bus::BusEvent, invalid::InvalidEvent, target::EventTarget},
    invocation::{Invocation, InvocationContext},
    lifecycle::detached,
    routing::{
        counts::RoutingCounts,
        decide::{Due, MOST_IN_FLIGHT, Router, RoutingDecision, Subscribers},
        unrun::Unrun,
    },
    store::in_place::InPlace,
    trigger::{bounds::EventSteps, item::TriggerDecision},
};

/// The result of routing a bus event.
pub(crate) enum Route {
    /// The event is the fire of one trigger, which this invocation must run.
    Run(Box<Fire>),
    /// The event has been handled. This is the invocation's response.
    Done(Value),
}

/// Routes a bus event: decides what it starts, as [`Router::decide`] does, and does this. Returns the fire that this
/// invocation must run, or the response if nothing is left to run here. Fires that do not run are recorded, the event
/// is handed on if several triggers are due, and a command to end executions is carried out. If nobody may run the
/// event, what an earlier attempt of this request ran in place is ended.
///
/// # Errors
/// Returns an error if the table gives no result, if a subscription failed or the event could not be handed on for
/// every trigger, if its only trigger is invalid, if a command names something unknown, or if nobody subscribes to an
/// event that looks like a schedule's.
pub(crate) async fn route(context: &InvocationContext<'_>, event: &BusEvent) -> Result<Route, Failure> {
    let started = StartTime::new(now_millis(), context.app.config.execution_ttl);
    let router = Router { context, event, started, steps: EventSteps::default() };
    match router.decide().await? {
        RoutingDecision::InPlace(decision) => router.in_place(decision).await,
        RoutingDecision::NotDue(fire, counts) => router.not_due(&fire, counts).await.map(Route::Done),
        RoutingDecision::Refused(detour, fire, failure) => {
            refused(context, &router.started, detour, &fire, failure).await.map(Route::Done)
        }
        RoutingDecision::Cancel => cancel_target(context, event).await.map(Route::Done),
        RoutingDecision::Subscribers(subscribers) => router.serve(subscribers).await,
        RoutingDecision::Unclaimed(unclaimed) => {
            router.end_earlier(Detour::Unclaimed).await?;
            Err(unclaimed.into())
        }
        RoutingDecision::ChainEnds => {
            router.end_earlier(Detour::ChainEnds).await?;
            Ok(Route::Done(router.summary(RoutingCounts::default())))
        }
    }
}

/// Refuses an invalid event. If it names its fire, the record of this fire is looked at first, and what a dead attempt
/// left is ended.
///
/// # Errors
/// Returns what is wrong with the event, unless the fire has a record: then the result is that of the record. Returns
/// the table's failure if it gives no result.
pub(crate) async fn refuse(context: &InvocationContext<'_>, mut invalid: InvalidEvent) -> Result<Value, Failure> {
    let Some(fire) = invalid.fire.take() else {
        tracing::info!(detour = Detour::UnidentifiedEvent.as_str(), "the event names no fire");
        return Err(invalid.into());
    };
    let started = StartTime::new(now_millis(), context.app.config.execution_ttl);
    refused(context, &started, Detour::InvalidFire, &fire, invalid.into()).await
}

/// Asks for the end of the execution, or of the executions, that a command names. For any other target nothing is done,
/// and the response is null.
///
/// # Errors
/// Returns the errors of [`cancel`] and [`cancel_caller`].
async fn cancel_target(context: &InvocationContext<'_>, event: &BusEvent) -> Result<Value, Failure> {
    match &event.target {
        EventTarget::CancelCaller(caller) => cancel_caller(context, caller, event.millis()).await,
        EventTarget::CancelExecution { trigger_id, execution_id } => cancel(context, trigger_id, execution_id).await,
        // Only these two are decided so.
        _ => Ok(Value::Null),
    }
}

/// Asks for the end of an execution by writing the request into its row. One that has ended is left as it is. The
/// response has the row's status, and whether the end is requested.
///
/// # Errors
/// Returns `InvalidEvent` if there is no such execution, and the failures of the table and of the timer.
pub(crate) async fn cancel(
    context: &InvocationContext<'_>,
    trigger_id: &TriggerId,
    execution_id: &ExecutionId,
) -> Result<Value, Failure> {
    let App { store, settle_queue, .. } = context.app;
    let Some(row) = detached::cancel(store, settle_queue, trigger_id, execution_id).await? else {
        let problem = "$.detail.executionId: no execution of this trigger is stored under this id";
        let invalid =
            InvalidEvent { trigger_id: Some(trigger_id.clone()), ..InvalidEvent::new(vec![problem.to_owned()]) };
        return Err(invalid.into());
    };
    let is_requested = row.cancel_requested == Some(true);
    tracing::info!(status = row.status.as_str(), isRequested = is_requested, "asked for the end of an execution");
    let body = json!({"success": true, "triggerId": trigger_id, "executionId": execution_id,
        "status": row.status.as_str(), "cancelRequested": is_requested});
    Ok(json!({"statusCode": 200, "body": body.to_string()}))
}

/// Asks for the end of every execution that an execution of Step Functions waited for at `stopped_at`, in milliseconds
/// since 1970, or now if the command has no time. This is remembered, so that one that begins later finds it before it
/// calls its agent. The commands that it sends after a redrive are not stopped. The response has the number of those
/// that may still run.
///
/// # Errors
/// Returns the failures of the table and of the timer. All of it may be repeated.
async fn cancel_caller(
    context: &InvocationContext<'_>,
    caller: &str,
    stopped_at: Option<i64>,
) -> Result<Value, Failure> {
    let App { store, settle_queue, config, .. } = context.app;
    let started = StartTime::new(now_millis(), config.execution_ttl);
    let stopping = store.stop_caller(caller, stopped_at.unwrap_or(started.millis), started.ttl);
    let executions = store.in_time(context.deadline.run_until, stopping).await?;
    let mut requested = 0;
    for (trigger_id, execution_id) in &executions {
        let row = detached::cancel(store, settle_queue, trigger_id, execution_id).await?;
        // A row that has ended keeps the request.
        let may_run = |row: &Row| row.status == Status::Running || row.retryable;
        requested += usize::from(row.is_some_and(|row| row.cancel_requested == Some(true) && may_run(&row)));
    }
    tracing::info!(requested, executions = executions.len(), "the execution of Step Functions that waited was stopped");
    let body = json!({"success": true, "cancelRequested": requested});
    Ok(json!({"statusCode": 200, "body": body.to_string()}))
}

/// Ends what an earlier attempt left of a refused fire, and returns the response for it, if that is no failure.
///
/// # Errors
/// Returns `failure` if there is no record, and otherwise the failure of the record, or the table's.
async fn refused(
    context: &InvocationContext<'_>,
    started: &StartTime,
    detour: Detour,
    fire: &Fire,
    failure: Failure,
) -> Result<Value, Failure> {
    match (Unrun { context, started, fire }).look(detour).await? {
        Some(response) => Ok(response),
        None => Err(failure),
    }
}

impl Router<'_> {
    /// Records the skips. Then it runs the only due trigger, if a consistent read confirms it, or else hands the event
    /// on for each due trigger. With failures the event is always handed on, because Lambda's retry of this invocation
    /// must decide those anew. A trigger that is handed the event twice runs once.
    ///
    /// # Errors
    /// Returns the table's failure if the only due trigger cannot be read again, or if it cannot be remembered that the
    /// event is handed on. Then it was handed to no trigger. Returns `DispatchFailed`, which is retryable, if the event
    /// was not handed on for every trigger. Otherwise returns a failure of a subscription, or of the trigger that ran
    /// in place before, preferably a retryable one.
    async fn serve(&self, subscribers: Subscribers) -> Result<Route, Failure> {
        let mut subscribers = self.decide_only_one_anew(subscribers).await?;
        subscribers.refuse_shared_ids();
        self.record_skips(&mut subscribers).await;
        let Subscribers { counts, due, first, mut failures, .. } = subscribers;
        if let ([only], [], Some(first)) = (&due[..], &failures[..], first) {
            let decision = first.handed_on(self.event, self.context.app.platform(), only.is_too_costly);
            if self.may_run_in_place(&only.trigger, &decision).await? {
                return self.in_place(decision).await;
            }
        }
        self.note(counts);
        if due.is_empty() {
            failures.extend(self.end_earlier(Detour::NothingDue).await.err());
        } else {
            failures.extend(self.give_way(&due).await?.err());
        }
        if let Some((count, cause)) = self.dispatch(&due).await {
            let message = format!("{count} of {} triggers could not be handed the event: {cause}", due.len());
            return Err(Failure::retryable(ErrorType::DispatchFailed, message));
        }
        // If another delivery may repair one of the failures, Lambda must deliver the event again.
        match failures.iter().find(|failure| failure.retryable).or(failures.first()) {
            Some(failure) => Err(failure.clone()),
            None => Ok(Route::Done(self.summary(counts))),
        }
    }

    /// Returns true if this invocation may handle the only due trigger: no earlier attempt of this request ran another
    /// trigger in place. If the trigger is to run, this is remembered first. If the attempt dies and the trigger no
    /// longer matches, only this memory leads Lambda's retry to the execution. Nothing is remembered for a trigger that
    /// will not run.
    ///
    /// # Errors
    /// Returns an error if the table gives no result.
    async fn may_run_in_place(&self, only: &InPlace, decision: &TriggerDecision) -> Result<bool, Failure> {
        let InvocationContext { app: App { store, .. }, invocation, deadline, .. } = self.context;
        let until = deadline.run_until;
        let earlier = if matches!(decision, TriggerDecision::Run(..)) {
            let remembering = store.remember_in_place(&invocation.request_id, only, self.started.ttl);
            Some(store.in_time(until, remembering).await?)
        } else {
            store.in_time(until, store.remembered(&invocation.request_id)).await?.in_place
        };
        Ok(earlier.is_none_or(|earlier| earlier == *only))
    }

    /// Ends the execution of the trigger that an earlier attempt of this request ran in place, if there is one.
    ///
    /// # Errors
    /// Returns the failure of that execution, or the table's.
    async fn end_earlier(&self, detour: Detour) -> Result<(), Failure> {
        let InvocationContext { app: App { store, .. }, invocation, deadline, .. } = self.context;
        let reading = store.remembered(&invocation.request_id);
        let Some(earlier) = store.in_time(deadline.run_until, reading).await?.in_place else { return Ok(()) };
        self.unrun(&self.unknown_fire(&earlier.1, &earlier.0)).look(detour).await.map(|_| ())
    }

    /// Remembers that the event is handed on, before the first invocation gets it: settling must know even if this
    /// attempt dies or fails for another cause. Then ends the execution of the trigger that an earlier attempt of this
    /// request ran in place, if there is one. If that trigger is among the `due` ones, its attempt is only waited for:
    /// the invocation that gets it would take a living attempt for a duplicate. The inner error is that of the earlier
    /// execution.
    ///
    /// # Errors
    /// Returns the table's failure if it cannot be remembered. Then nothing may be handed on.
    async fn give_way(&self, due: &[Due]) -> Result<Result<(), Failure>, Failure> {
        let InvocationContext { app: App { store, .. }, invocation, deadline, .. } = self.context;
        let remembering = store.remember_hand_on(&invocation.request_id, self.started.ttl);
        let Some(earlier) = store.in_time(deadline.run_until, remembering).await? else { return Ok(Ok(())) };
        let fire = self.unknown_fire(&earlier.1, &earlier.0);
        let unrun = self.unrun(&fire);
        Ok(if due.iter().any(|due| due.trigger == earlier) {
            unrun.wait(Detour::HandedOn).await
        } else {
            unrun.look(Detour::HandedOn).await.map(|_| ())
        })
    }

    /// Records a skipped execution for each skip, up to 16 at the same time, and empties `skips`. Each one recorded
    /// counts as disabled or too deep, by its reason. The failure of one that could not be recorded is added to
    /// `failures`, and it is not counted.
    async fn record_skips(&self, subscribers: &mut Subscribers) {
        let skips = std::mem::take(&mut subscribers.skips);
        // The futures are collected first, because a lazy stream of them would not be `Send` for every lifetime.
        let recording: Vec<_> =
            skips.iter().map(|(fire, reason)| async move { (*reason, self.skip(fire, *reason).await) }).collect();
        let mut answers = stream::iter(recording).buffered(MOST_IN_FLIGHT);
        while let Some((reason, answer)) = answers.next().await {
            match answer {
                Ok(_) if reason == SkipReason::ChainTooDeep => subscribers.counts.too_deep += 1,
                Ok(_) => subscribers.counts.disabled += 1,
                Err(failure) => subscribers.failures.push(failure),
            }
        }
    }

    /// Hands the event on for each of these triggers, up to 16 at the same time, whatever fails. Returns `None` if all
    /// went well, or the number of those for which it failed, with the cause of the first failure.
    async fn dispatch(&self, due: &[Due]) -> Option<(usize, String)> {
        // The futures are collected first, because a lazy stream of them would not be `Send` for every lifetime.
        let dispatches: Vec<_> = due.iter().map(|due| self.dispatch_to(due)).collect();
        let mut answers = stream::iter(dispatches).buffered(MOST_IN_FLIGHT);
        let mut failed: Option<(usize, String)> = None;
        while let Some(answer) = answers.next().await {
            if let Err(cause) = answer {
                failed = Some(failed.map_or((1, cause), |(count, first)| (count + 1, first)));
            }
        }
        failed
    }

    /// Hands the event on for one trigger: invokes this function with it and does not wait for the run. Fails, with the
    /// cause, if Lambda refuses it or has not taken it by the end of the invocation's time.
    async fn dispatch_to(&self, Due { trigger: (user_id, trigger_id), is_too_costly }: &Due) -> Result<(), String> {
        let Invocation { function_arn, request_id, xray_trace_id, .. } = self.context.invocation;
        let payload = self.event.dispatched_to(trigger_id, user_id, request_id, *is_too_costly);
        let invoking = self.context.app.dispatcher.invoke(function_arn, payload, xray_trace_id.as_deref());
        let error = match tokio::time::timeout_at(self.context.deadline.run_until, invoking).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the invocation's time was nearly up".to_owned(),
        };
        tracing::warn!(toTriggerId = trigger_id.as_str(), error, "the trigger could not be handed the event");
        Err(error)
    }

    /// Ends what an earlier attempt left of an event that its only trigger refuses by now, and returns the response for
    /// it. If there is no record, returns the summary.
    ///
    /// # Errors
    /// Returns the failure of the record, or the table's.
    async fn not_due(&self, fire: &Fire, counts: RoutingCounts) -> Result<Value, Failure> {
        let left = self.unrun(fire).look(Detour::NothingDue).await?;
        Ok(left.unwrap_or_else(|| self.summary(counts)))
    }

    /// Returns the fire to run in this invocation, or records why it does not run and returns the response. A fire that
    /// does not run is noted as the invocation's fire.
    ///
    /// # Errors
    /// Returns the failure of an invalid trigger, once it is recorded, that of a record which was there before, or the
    /// table's.
    async fn in_place(&self, decision: TriggerDecision) -> Result<Route, Failure> {
        match decision {
            TriggerDecision::Run(fire) => Ok(Route::Run(fire)),
            TriggerDecision::Skip(fire, reason) => {
                let fire = self.context.note_fire(fire);
                self.skip(&fire, reason).await.map(Route::Done)
            }
            TriggerDecision::Invalid(fire, failure) => {
                let fire = self.context.note_fire(fire);
                tracing::info!(detour = Detour::InvalidTrigger.as_str(), "the trigger item is invalid");
                let ending = Ending::new(Status::Failed, now_millis(), Some(failure));
                self.unrun(&fire).record(ending, false).await.map(Route::Done)
            }
        }
    }

    /// Records that a fire is skipped, unless it has a record. Returns the response. The first reason is noted for the
    /// metrics.
    ///
    /// # Errors
    /// Returns the failure of the fire's record, or the table's.
    async fn skip(&self, fire: &Fire, reason: SkipReason) -> Result<Value, Failure> {
        let (detour, skipped, reason_name) = (Detour::Skipped.as_str(), fire.trigger_id.as_str(), reason.as_str());
        tracing::info!(detour, skippedTriggerId = skipped, skipReason = reason_name, "skipped");
        self.context.state.facts().skip_reason.get_or_insert(reason);
        let is_of_many = matches!(self.event.target, EventTarget::Subscribers);
        self.unrun(fire).record(Ending::skipped(now_millis(), reason), is_of_many).await
    }

    /// Returns `fire` as one that this invocation does not run.
    fn unrun<'f>(&'f self, fire: &'f Fire) -> Unrun<'f> {
        Unrun { context: self.context, started: &self.started, fire }
    }

    /// Returns the response, status 200, for an event that ran nothing in this invocation: its source, its id and the
    /// counts. Notes the counts for the metrics, unless they are noted already. At the end of a chain all counts are 0,
    /// because no subscriber was looked up.
    fn summary(&self, counts: RoutingCounts) -> Value {
        self.note(counts);
        let mut body = json!({
            "success": true,
            "eventSourceId": self.event.event_source_id,
            "eventId": self.event.text("id"),
        });
        for (name, count) in counts.named() {
            body[name] = json!(count);
        }
        json!({"statusCode": 200, "body": body.to_string()})
    }

    /// Notes the counts for the metrics. Only the first call has an effect.
    fn note(&self, counts: RoutingCounts) {
        self.context.state.facts().instead.get_or_insert(Instead::Dispatched(counts.named()));
    }
}
