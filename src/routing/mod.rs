//! The routing of one bus event. `decide` says which triggers the event is meant for, and this file carries that out:
//! the event becomes the fire of one trigger, or it is handed on to an invocation for each trigger.

mod decide;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    clock::now_millis,
    domain::{
        attempt::StartTime,
        ending::{Ending, SkipReason},
        execution::{CloseAction, Row, Status},
        failure::{ErrorType, Failure},
        fire::Fire,
        ids::{ExecutionId, TriggerId, UserId},
        run_state::Instead,
        shared_id::check_user,
    },
    events::bus::{BusEvent, EventTarget},
    invocation::{Invocation, InvocationContext},
    lifecycle::{
        close::{UnstartedExecution, close_abandoned},
        identify::identify,
    },
    response::Response,
    routing::decide::{MOST_IN_FLIGHT, Router, RoutingCounts, RoutingDecision, Subscribers},
    trigger::item::TriggerDecision,
};

/// The result of routing a bus event.
pub(crate) enum Route {
    /// The event is the fire of one trigger, which this invocation must run.
    Run(Box<Fire>),
    /// The event has been handled. This is the invocation's response.
    Done(Value),
}

/// Routes a bus event.
///
/// # Errors
/// Returns an error if the table does not answer, if the event could not be handed on for every trigger, or if its only
/// trigger is invalid.
pub(crate) async fn route(context: &InvocationContext<'_>, event: &BusEvent) -> Result<Route, Failure> {
    let started = StartTime::new(now_millis(), context.app.config.execution_ttl);
    let router = Router { context, event, started };
    match router.decide().await? {
        RoutingDecision::InPlace(decision) => router.in_place(decision).await,
        RoutingDecision::Subscribers(subscribers) => router.serve(subscribers).await,
        RoutingDecision::ChainEnds => Ok(Route::Done(router.summary(RoutingCounts::default()))),
    }
}

impl Router<'_> {
    /// Records the skips. Then it runs the only trigger that is due, or hands the event on for each that is due.
    async fn serve(&self, mut subscribers: Subscribers) -> Result<Route, Failure> {
        subscribers.refuse_shared_ids();
        self.record_skips(&mut subscribers).await;
        let Subscribers { counts, due, first, failures, .. } = subscribers;
        if let ([_], []) = (&due[..], &failures[..])
            && let Some(first) = first
        {
            return self.in_place(first).await;
        }
        self.note(counts);
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

    /// Records a skipped execution for each skip, and counts it.
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

    /// Hands the event on for each of these triggers. Returns the number of those for which it failed, with the cause
    /// of the first failure.
    async fn dispatch(&self, due: &[(UserId, TriggerId)]) -> Option<(usize, String)> {
        // The futures are collected first, because a lazy stream of them would not be `Send` for every lifetime.
        let dispatches: Vec<_> =
            due.iter().map(|(user_id, trigger_id)| self.dispatch_to(user_id, trigger_id)).collect();
        let mut answers = stream::iter(dispatches).buffered(MOST_IN_FLIGHT);
        let mut failed: Option<(usize, String)> = None;
        while let Some(answer) = answers.next().await {
            if let Err(cause) = answer {
                failed = Some(failed.map_or((1, cause), |(count, first)| (count + 1, first)));
            }
        }
        failed
    }

    /// Hands the event on for one trigger.
    async fn dispatch_to(&self, user_id: &UserId, trigger_id: &TriggerId) -> Result<(), String> {
        let payload = self.event.dispatched_to(trigger_id, user_id, &self.context.invocation.request_id);
        let Invocation { function_arn, xray_trace_id, .. } = self.context.invocation;
        let invoking = self.context.app.dispatcher.invoke(function_arn, payload, xray_trace_id.as_deref());
        let error = match tokio::time::timeout_at(self.context.deadline.run_until, invoking).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the invocation's time was nearly up".to_owned(),
        };
        tracing::warn!(toTriggerId = trigger_id.as_str(), error, "the trigger could not be handed the event");
        Err(error)
    }

    /// Returns the fire to run in this invocation, or records why it does not run.
    async fn in_place(&self, decision: TriggerDecision) -> Result<Route, Failure> {
        match decision {
            TriggerDecision::Run(fire, _) => Ok(Route::Run(fire)),
            TriggerDecision::Skip(fire, reason) => {
                let fire = self.context.note_fire(fire);
                self.skip(&fire, reason).await.map(Route::Done)
            }
            TriggerDecision::Invalid(fire, failure) => {
                let fire = self.context.note_fire(fire);
                let ending = Ending::new(Status::Failed, now_millis(), Some(failure));
                self.end(&fire, ending).await.map(Route::Done)
            }
            TriggerDecision::Filtered => Ok(Route::Done(self.summary(RoutingCounts::default()))),
        }
    }

    /// Records that a fire is skipped.
    async fn skip(&self, fire: &Fire, reason: SkipReason) -> Result<Value, Failure> {
        tracing::info!(skippedTriggerId = fire.trigger_id.as_str(), skipReason = reason.as_str(), "skipped");
        self.context.state.facts().skip_reason.get_or_insert(reason);
        self.end(fire, Ending::skipped(now_millis(), reason)).await
    }

    /// Writes the record of a fire that does not run, and returns the response. If there is a record already, an
    /// earlier delivery ran the fire, or died while it did.
    async fn end(&self, fire: &Fire, ending: Ending) -> Result<Value, Failure> {
        let InvocationContext { app, invocation, deadline, state, .. } = self.context;
        let request_id = &invocation.request_id;
        let (status, skip_reason, failure) = (ending.status, ending.skip_reason, ending.failure.clone());
        let ending_it = async {
            let execution_id = ExecutionId::from(identify(&app.store, fire, request_id, &self.started).await?);
            let started = &self.started;
            let unstarted = UnstartedExecution { fire, started, lambda_request_id: request_id, attempt: 1, ending };
            let ended = close_abandoned(&app.store, app.lease(), fire, &execution_id, None, Some(&unstarted)).await;
            Ok((execution_id, ended))
        };
        let (execution_id, ended) = self.context.app.store.in_time(deadline.run_until, ending_it).await?;
        let is_this_fire = state.facts().fire.is_some();
        if is_this_fire {
            self.context.note_execution(fire, execution_id.clone());
        }
        let (action, row) = ended?;
        if let Some(row) = &row
            && let Err(refused) = check_user(row, &fire.user_id, now_millis())
        {
            let ids = (Some(fire.trigger_id.clone()), Some(execution_id));
            return Err(Failure { trigger_id: ids.0, execution_id: ids.1, ..refused.into() });
        }
        state.facts().count_close(action, status);
        let response = Response::new(fire, &execution_id);
        // A trigger that runs in an invocation of its own reports its failure there.
        let is_reported_elsewhere = |row: &Row| {
            let is_of_many = matches!(self.event.target, EventTarget::Subscribers) && skip_reason.is_some();
            is_of_many && row.lambda_request_id.as_ref() != Some(request_id)
        };
        let failure = match (action, row) {
            (CloseAction::Create, _) | (_, None) => match (failure, skip_reason) {
                (Some(failure), _) => failure,
                (None, Some(reason)) => return Ok(response.skipped(reason)),
                (None, None) => return Ok(Value::Null),
            },
            (CloseAction::Cancel, Some(row)) => return Ok(response.cancelled(row.session_id.as_deref())),
            (_, Some(row)) if is_reported_elsewhere(&row) => return Ok(response.duplicate(&row)),
            (CloseAction::Interrupt, Some(row)) => Failure::interrupted(&row),
            (_, Some(row)) if row.status == Status::Failed => Failure::of_row(&row),
            (_, Some(row)) => return Ok(response.duplicate(&row)),
        };
        Err(Failure { trigger_id: Some(fire.trigger_id.clone()), execution_id: Some(execution_id), ..failure })
    }

    /// Returns the response for an event that several triggers, or none, were subscribed to.
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

    /// Notes the counts for the metrics.
    fn note(&self, counts: RoutingCounts) {
        self.context.state.facts().instead.get_or_insert(Instead::Dispatched(counts.named()));
    }
}
