//! Settling. An event that Lambda gave up on comes back as a report through the on-failure destination. The executions
//! of the event are closed, so that none stays `running` or retryable after its last delivery, and no fire stays
//! without a record. The same queue brings looks at detached runs, and messages that are no report. This never calls an
//! agent.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>

mod look;
pub(crate) mod report;

use std::time::Duration;

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::{Instrument, field::Empty};

use crate::{
    app::App,
    clients::{lambda::DispatchError, step_functions::NotAnswered},
    clock::{Deadline, now_millis},
    domain::{
        attempt::StartTime,
        close_decision::CloseAction,
        detour::Detour,
        ending::Ending,
        execution::{Row, Status},
        failure::{ErrorType, Failure},
        fire::Fire,
        ids::{ExecutionId, UserId},
        look::Look,
        run_state::RunState,
        task::Task,
    },
    events::{
        bus::BusEvent,
        command::task_token_of,
        failure_report::{Batch, Message, Report, RequestContext, failure_of},
        invalid::InvalidEvent,
        queued::{self, Queued},
        schedule::{self, Event},
        target::EventTarget,
    },
    invocation::Invocation,
    lifecycle::{
        abandoned::{CloseError, UnstartedExecution, close_abandoned},
        close::{CloseLimits, execution_of},
        detached::{self, DetachedError, after_close},
        identify::{identify, recall},
    },
    store::{
        error::StoreError,
        in_place::{InPlace, Remembered},
    },
    telemetry::metrics::MetricsLine,
    trigger::{
        bounds::EventSteps,
        item::{FilterDecision, TriggerItem},
        replay,
    },
};

/// The reason why a message is left for another delivery.
#[derive(Debug, thiserror::Error)]
enum Unsettled {
    #[error("the message is a record of Lambda's on-failure destination that holds no event")]
    UnreadableReport,
    #[error("the message could not be handed on: {0}")]
    NotHandedOn(#[from] DispatchError),
    #[error(transparent)]
    NotAnswered(#[from] NotAnswered),
    #[error("an attempt may still be at work")]
    Alive,
    #[error("the invocation's time was up")]
    OutOfTime,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    End(#[from] CloseError),
    #[error(transparent)]
    Detached(#[from] DetachedError),
}

/// The longest time that keeping the input of one message may delay a batch.
const INPUT_TIMEOUT: Duration = Duration::from_secs(5);

/// Settles every message that can be settled. The response names the others, which SQS delivers again. A message that
/// is neither a report nor a look is handed on as an invocation of its own. Messages that are not settled when the
/// run's time is up are among the others.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
///
/// # Errors
/// Returns an error at the first notification of a topic that cannot be settled. Only the failure of the whole
/// invocation brings it again, and those after it are not begun.
pub(crate) async fn settle(
    app: &App,
    batch: &Batch,
    invocation: &Invocation,
    deadline: Deadline,
) -> Result<Value, Failure> {
    let mut failures = Vec::new();
    for message in &batch.records {
        let span = tracing::error_span!(
            "settle",
            messageId = message.message_id,
            requestId = Empty,
            triggerId = Empty,
            executionId = Empty,
        );
        let settling = settle_message(app, message, invocation, deadline).instrument(span.clone());
        let settled = tokio::time::timeout_at(deadline.run_until, settling).await;
        if let Err(unsettled) = settled.unwrap_or(Err(Unsettled::OutOfTime)) {
            span.in_scope(|| tracing::warn!(cause = %unsettled, "not settled yet"));
            if batch.is_of_topic {
                let message = format!("a message of a topic could not be dealt with: {unsettled}");
                return Err(Failure::retryable(ErrorType::DispatchFailed, message));
            }
            failures.push(json!({"itemIdentifier": message.message_id}));
        }
    }
    Ok(json!({"batchItemFailures": failures}))
}

/// Settles one message: acts on a look at a detached run, settles a report, or hands anything else on as an invocation
/// of its own.
///
/// # Errors
/// Returns an error if the message must be delivered again: a report cannot be read, or what it asks for could not be
/// done.
async fn settle_message(
    app: &App,
    message: &Message,
    invocation: &Invocation,
    deadline: Deadline,
) -> Result<(), Unsettled> {
    let text = queued::unwrapped(&message.body);
    if let Some(look) = Look::read(&text) {
        return Ok(look::act(app, &look, deadline).await?);
    }
    match queued::read(&text, &message.message_id) {
        Queued::Report(report) => settle_report(app, report, deadline).await,
        Queued::UnreadableReport => Err(Unsettled::UnreadableReport),
        Queued::HandOn(payload) => {
            let Invocation { function_arn, xray_trace_id, .. } = invocation;
            app.dispatcher.invoke(function_arn, payload, xray_trace_id.as_deref()).await?;
            tracing::info!("the message is no report: it was handed on as an invocation of its own");
            Ok(())
        }
    }
}

/// Settles the executions of the event that a report is about, by the event's target. A record's time starts with the
/// report's time, or now if the report has no readable one.
///
/// - No record is written for an event that is invalid, and for a bus event that the last attempt refused, replays
///   excepted. None is written for a replay whose input is not kept or not understood, because its user is unknown.
///   Only an execution that an earlier attempt left is ended then, and the task that waits for a refused command is
///   answered.
/// - A command to end executions and an agent's report are carried out here.
/// - For an addressed trigger a record is written only if [`Settler::is_due`] says so.
///
/// # Errors
/// Returns an error if the report must be delivered again: an attempt may still be at work, or the table, the timer or
/// Step Functions gives no result.
async fn settle_report(app: &App, report: Report<'_>, deadline: Deadline) -> Result<(), Unsettled> {
    let span = tracing::Span::current();
    span.record("requestId", &report.request_context.request_id);
    let started_at = report.timestamp.as_deref().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let millis = started_at.and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
    let started = StartTime::new(millis.unwrap_or_else(now_millis), app.config.execution_ttl);
    let settler = Settler { app, deadline, report: &report, started };
    let event = match schedule::parse(Some(report.request_payload.get()), app.platform()) {
        Ok(event) => event,
        Err(InvalidEvent { fire: Some(fire), .. }) => {
            note(Detour::SettledInvalid);
            return settler.settle(&fire, false).await;
        }
        Err(invalid) => {
            tracing::info!("nothing to settle: the event was invalid");
            return refuse_task(app, &report, &invalid.into()).await;
        }
    };
    // An event that the last attempt refused needs no record. An earlier attempt may have left one all the same.
    let is_refused = failure_of(&report).error_type == ErrorType::InvalidEvent;
    match &event {
        Event::Scheduled(fire) => settler.settle(fire, true).await,
        // No report is lost because the table was away.
        Event::Report(report) => report::take(app, report, deadline).await.map(|_| ()).map_err(Unsettled::from),
        Event::Bus(event) => match &event.target {
            EventTarget::Subscribers => settler.settle_subscribers(event, !is_refused).await,
            EventTarget::Dispatched { trigger_id, user_id } | EventTarget::RunTrigger { trigger_id, user_id } => {
                if is_refused {
                    note(Detour::SettledRefused);
                }
                settler.settle(&event.fire(trigger_id, user_id, Task::unknown()), !is_refused).await?;
                if is_refused { refuse_task(app, &report, &failure_of(&report)).await } else { Ok(()) }
            }
            EventTarget::CancelCaller(caller) => {
                let stopped_at = event.millis().unwrap_or(settler.started.millis);
                let executions = app.store.stop_caller(caller, stopped_at, settler.started.ttl).await?;
                for (trigger_id, execution_id) in executions {
                    detached::cancel(&app.store, &app.settle_queue, &trigger_id, &execution_id).await?;
                }
                Ok(())
            }
            EventTarget::Addressed { trigger_id, user_id } => {
                let creates = !is_refused && settler.is_due(event, user_id, trigger_id).await?;
                if !creates {
                    note(Detour::SettledNotDue);
                }
                settler.settle(&event.fire(trigger_id, user_id, Task::unknown()), creates).await
            }
            EventTarget::CancelExecution { trigger_id, execution_id } => {
                let cancelling = detached::cancel(&app.store, &app.settle_queue, trigger_id, execution_id);
                Ok(cancelling.await.map(|_| ())?)
            }
            EventTarget::ReplayExecution { trigger_id, execution_id } => {
                // Only the kept input names the user, and the row, if an attempt got as far as running the replay.
                let detail = app.store.input(trigger_id, execution_id).await?;
                match detail.map(|detail| replay::fire(event, trigger_id, execution_id, &detail, app.platform())) {
                    Some(Ok(fire)) => settler.settle(&fire, true).await,
                    None | Some(Err(_)) => {
                        note(Detour::SettledInputGone);
                        settler.settle(&event.fire(trigger_id, &UserId::default(), Task::unknown()), false).await
                    }
                }
            }
        },
    }
}

/// Answers the task that waits for the run of a refused command with `failure`. Nothing happens if the event has no
/// token. There is no record of such a run, so no announcement answers it.
///
/// # Errors
/// Returns an error if Step Functions does not take the answer.
async fn refuse_task(app: &App, report: &Report<'_>, failure: &Failure) -> Result<(), Unsettled> {
    let Some(token) = task_token_of(report.request_payload.get()) else { return Ok(()) };
    app.step_functions.fail_task(&token, failure).await?;
    tracing::info!("the task that waited for a refused command is answered");
    Ok(())
}

/// Logs that what the attempts left is looked for, and on which detour.
fn note(detour: Detour) {
    tracing::info!(detour = detour.as_str(), "looking for what the attempts left");
}

/// The settling of one report.
struct Settler<'a> {
    app: &'a App,
    deadline: Deadline,
    report: &'a Report<'a>,
    started: StartTime,
}

impl Settler<'_> {
    /// Settles one fire: ends its execution unless it has ended or its agent works on it. If it has no record, one is
    /// written with the report's failure, but only if `creates` is true. The metrics of an execution that this ended
    /// are printed, and its input is kept if it is known, for which up to 5 s more are used. An execution of another
    /// user's trigger is left as it is.
    ///
    /// # Errors
    /// Returns `Alive` if an attempt may still be at work, and the errors of the table and of the timer of a detached
    /// run.
    async fn settle(&self, fire: &Fire, creates: bool) -> Result<(), Unsettled> {
        let App { store, .. } = self.app;
        let span = tracing::Span::current();
        span.record("triggerId", fire.trigger_id.as_str());
        let RequestContext { request_id, approximate_invoke_count, .. } = &self.report.request_context;
        let id = if creates {
            Some(identify(store, fire, request_id, &self.started).await?)
        } else {
            recall(store, fire, request_id, &self.started).await?
        };
        let Some(execution_id) = id.map(ExecutionId::from) else { return Ok(()) };
        span.record("executionId", execution_id.as_str());
        let row = store.execution(&fire.trigger_id, &execution_id).await?;
        let unstarted = creates.then(|| UnstartedExecution {
            fire,
            started: &self.started,
            lambda_request_id: request_id,
            attempt: approximate_invoke_count.unwrap_or(1).max(1),
            ending: Ending::new(Status::Failed, now_millis(), Some(failure_of(self.report))),
        });
        let state = RunState::default();
        let limits = CloseLimits { until: self.deadline.run_until, state: &state };
        let closing =
            close_abandoned(store, self.app.lease(), fire, &execution_id, row, unstarted.as_ref(), limits).await;
        let (action, row) = match closing {
            Err(CloseError::OfAnotherUser(other)) => {
                tracing::info!(cause = %other, "nothing to settle");
                return Ok(());
            }
            closed => closed?,
        };
        if action == CloseAction::Alive {
            return Err(Unsettled::Alive);
        }
        let (app, execution) = (self.app, execution_of(fire, &execution_id));
        let (action, row) = after_close(store, &app.settle_queue, app.lease(), execution, (action, row)).await?;
        tracing::info!(?action, "settled");
        // A detached run goes on: a look ends it.
        if matches!(action, CloseAction::Detached | CloseAction::HandOver) {
            return Ok(());
        }
        if action != CloseAction::Nothing {
            self.emit_metrics(fire, &execution_id, action, row.as_ref(), &state);
        }
        // The task of a bus event is unknown here. The invocation that ran it has kept its input.
        if action != CloseAction::Nothing && !fire.task.prompt.is_empty() {
            let until = tokio::time::Instant::now() + INPUT_TIMEOUT;
            let finding = tokio::time::timeout_at(until, self.app.agents.find(&fire.task.agent_id)).await;
            let definition = finding.ok().and_then(Result::ok).map(|agent| agent.definition.mark());
            let row = row.as_ref().filter(|_| action != CloseAction::Create);
            let ended = (&execution_id, row);
            replay::keep_input_of(store, fire, definition.as_ref(), ended, self.started.ttl, until).await;
        }
        Ok(())
    }

    /// Prints the metrics of an execution that was settled, as one end by `action`. The failure is the one with which
    /// it ended: of the report, of the row, or none for an action that fails nothing.
    fn emit_metrics(
        &self,
        fire: &Fire,
        execution_id: &ExecutionId,
        action: CloseAction,
        row: Option<&Row>,
        state: &RunState,
    ) {
        let failure = match action {
            CloseAction::Create => Some(failure_of(self.report)),
            CloseAction::Interrupt => row.map(Failure::interrupted),
            CloseAction::Finalise => row.map(Failure::of_row),
            CloseAction::Overdue => row.map(Failure::overdue),
            CloseAction::Cancel
            | CloseAction::Alive
            | CloseAction::Nothing
            | CloseAction::Detached
            | CloseAction::HandOver => None,
        };
        let mut facts = state.facts();
        facts.count_close(action, Status::Failed);
        MetricsLine {
            config: &self.app.config,
            facts: &facts,
            request_id: &self.report.request_context.request_id,
            agent_id: Some(&fire.task.agent_id),
            trigger_id: Some(&fire.trigger_id),
            execution_id: Some(execution_id),
            trace: None,
            failure: failure.as_ref(),
            is_cold_start: None,
        }
        .print();
    }

    /// Returns true if an event that is addressed to a trigger surely makes an execution of it: the trigger is gone, or
    /// its filters match and it has no threshold. A trigger that is switched off, or whose filters cost too much, makes
    /// one whether it has a threshold or not. An unreadable item makes none.
    ///
    /// # Errors
    /// Returns an error if the table gives no result.
    async fn is_due(&self, event: &BusEvent, user_id: &str, trigger_id: &str) -> Result<bool, Unsettled> {
        let Some(item) = self.app.store.trigger(user_id, trigger_id).await? else { return Ok(true) };
        let Ok(trigger) = TriggerItem::read(item) else { return Ok(false) };
        let decision = trigger.decide(event, self.app.platform(), &EventSteps::default());
        Ok(!matches!(decision, FilterDecision::Filtered | FilterDecision::Due(_, Some(_))))
    }

    /// Settles an event that was meant for all subscribers. It is no longer known which of them were due. So each
    /// trigger is settled that is not filtered out now: it is due, skipped or too costly. The one that ran in place is
    /// settled, too, without a new record if it is not one of these. A record is written only if the event cannot be on
    /// its way to an invocation of its own. This is so if exactly one trigger is not filtered out, it does not wait for
    /// a threshold, every subscription is readable, and no attempt is remembered to have handed the event on or to have
    /// run another trigger in place. `may_create` is false if the event was refused.
    ///
    /// # Errors
    /// Returns an error if a trigger could not be settled, once all others were tried. Returns one before any is tried
    /// if the table does not say which triggers there are, or what the attempts did.
    async fn settle_subscribers(&self, event: &BusEvent, may_create: bool) -> Result<(), Unsettled> {
        let mut after = None;
        let mut due = Vec::new();
        let mut is_certain = true;
        let steps = EventSteps::default();
        loop {
            let page = self.app.store.subscriptions(&event.event_source_id, after).await?;
            for item in page.items {
                // Filters take CPU. Runs beside this invocation must have their heartbeats meanwhile.
                tokio::task::yield_now().await;
                let Ok(trigger) = TriggerItem::read(item) else {
                    is_certain = false;
                    continue;
                };
                match trigger.decide(event, self.app.platform(), &steps) {
                    FilterDecision::Filtered => {}
                    FilterDecision::Due(fire, threshold) => {
                        is_certain &= threshold.is_none();
                        due.push(fire);
                    }
                    FilterDecision::Skip(fire, _) | FilterDecision::TooCostly(fire) => due.push(fire),
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let Remembered { in_place, is_handed_on } =
            self.app.store.remembered(&self.report.request_context.request_id).await?;
        let is_due = |(user_id, trigger_id): &InPlace| {
            due.iter().any(|fire| fire.user_id == *user_id && fire.trigger_id == *trigger_id)
        };
        let is_alone = due.len() == 1 && is_certain && !is_handed_on && in_place.as_ref().is_none_or(is_due);
        let creates = may_create && is_alone;
        let mut result = Ok(());
        for fire in &due {
            if let Err(unsettled) = self.settle(fire, creates).await {
                result = Err(unsettled);
            }
        }
        if let Some((user_id, trigger_id)) = in_place.filter(|in_place| !is_due(in_place)) {
            note(Detour::SettledNotDue);
            self.settle(&event.fire(&trigger_id, &user_id, Task::unknown()), false).await?;
        }
        result
    }
}
