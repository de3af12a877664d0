//! Settling: an event that Lambda gave up on comes back as a report through the on-failure destination. The executions
//! of the event are closed, so that none stays `running` or retryable after its last delivery, and no fire stays
//! without a record. This never calls an agent.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>

use std::time::Duration;

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::{Instrument, field::Empty};

use crate::{
    app::App,
    clients::lambda::DispatchError,
    clock::{Deadline, now_millis},
    domain::{
        attempt::StartTime,
        ending::Ending,
        execution::{CloseAction, Row, Status},
        failure::{ErrorType, Failure},
        fire::Fire,
        ids::{ExecutionId, UserId},
        run_state::RunFacts,
        task::Task,
    },
    events::{
        bus::{BusEvent, EventTarget},
        failure_report::{Batch, Message, Report, RequestContext, reported},
        queued::{self, Queued},
        schedule::{self, Event},
    },
    invocation::Invocation,
    lifecycle::{
        close::{CloseError, UnstartedExecution, close_abandoned},
        identify::identify,
    },
    store::error::StoreError,
    telemetry::metrics::MetricsLine,
    trigger::{
        item::{TriggerDecision, TriggerItem},
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
    #[error("an attempt may still be at work")]
    Alive,
    #[error("the invocation's time was up")]
    OutOfTime,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    End(#[from] CloseError),
}

/// The longest time that keeping an input may delay a batch.
const INPUT_TIMEOUT: Duration = Duration::from_secs(5);

/// Settles every message that can be settled. The response names the others, which SQS delivers again.
/// A message that is no report is handed on as an invocation of its own.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
///
/// # Errors
/// If a notification of a topic is left, which only the failure of the whole invocation brings again.
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
        let settling = settle_message(app, message, invocation).instrument(span.clone());
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

async fn settle_message(app: &App, message: &Message, invocation: &Invocation) -> Result<(), Unsettled> {
    let text = queued::unwrapped(&message.body);
    match queued::read(&text) {
        Queued::Report(report) => settle_report(app, report).await,
        Queued::UnreadableReport => Err(Unsettled::UnreadableReport),
        Queued::HandOn(payload) => {
            let Invocation { function_arn, xray_trace_id, .. } = invocation;
            app.dispatcher.invoke(function_arn, payload, xray_trace_id.as_deref()).await?;
            tracing::info!("the message is no report: it was handed on as an invocation of its own");
            Ok(())
        }
    }
}

async fn settle_report(app: &App, report: Report<'_>) -> Result<(), Unsettled> {
    let span = tracing::Span::current();
    span.record("requestId", &report.request_context.request_id);
    let Ok(event) = schedule::parse(Some(report.request_payload.get()), app.platform()) else {
        tracing::info!("nothing to settle: the event was invalid");
        return Ok(());
    };
    let started_at = report.timestamp.as_deref().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let millis = started_at.and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
    let started = StartTime::new(millis.unwrap_or_else(now_millis), app.config.execution_ttl);
    let settler = Settler { app, report: &report, started };
    match &event {
        Event::Scheduled(fire) => settler.settle(fire, true).await,
        Event::Bus(_) if reported(&report).error_type == ErrorType::InvalidEvent => Ok(()),
        Event::Bus(event) => match &event.target {
            EventTarget::Subscribers => settler.settle_subscribers(event).await,
            EventTarget::Dispatched { trigger_id, user_id } | EventTarget::RunTrigger { trigger_id, user_id } => {
                settler.settle(&event.fire(trigger_id, user_id, Task::unknown()), true).await
            }
            EventTarget::ReplayExecution { trigger_id, execution_id } => {
                // Only the kept input names the user. Without an input no attempt got as far as running the replay.
                let detail = app.store.input(trigger_id, execution_id).await?;
                match detail.map(|detail| replay::fire(event, trigger_id, execution_id, &detail, app.platform())) {
                    Some(Ok(fire)) => settler.settle(&fire, true).await,
                    None | Some(Err(_)) => {
                        settler.settle(&event.fire(trigger_id, &UserId::default(), Task::unknown()), false).await
                    }
                }
            }
        },
    }
}

/// The settling of one report.
struct Settler<'a> {
    app: &'a App,
    report: &'a Report<'a>,
    started: StartTime,
}

impl Settler<'_> {
    /// Settles one fire. If it has no record, one is written only if `creates` is true.
    async fn settle(&self, fire: &Fire, creates: bool) -> Result<(), Unsettled> {
        let App { store, .. } = self.app;
        let span = tracing::Span::current();
        span.record("triggerId", fire.trigger_id.as_str());
        let RequestContext { request_id, approximate_invoke_count, .. } = &self.report.request_context;
        let execution_id = ExecutionId::from(identify(store, fire, request_id, &self.started).await?);
        span.record("executionId", execution_id.as_str());
        let row = store.execution(&fire.trigger_id, &execution_id).await?;
        let unstarted = creates.then(|| UnstartedExecution {
            fire,
            started: &self.started,
            lambda_request_id: request_id,
            attempt: approximate_invoke_count.unwrap_or(1).max(1),
            ending: Ending::new(Status::Failed, now_millis(), Some(reported(self.report))),
        });
        let (action, row) =
            close_abandoned(store, self.app.lease(), fire, &execution_id, row, unstarted.as_ref()).await?;
        if action == CloseAction::Alive {
            return Err(Unsettled::Alive);
        }
        tracing::info!(?action, "settled");
        if action != CloseAction::Nothing {
            self.emit_metrics(fire, &execution_id, action, row.as_ref());
        }
        // The task of a bus event is unknown here. The invocation that ran it has kept its input.
        if action != CloseAction::Nothing && !fire.task.prompt.is_empty() {
            let until = tokio::time::Instant::now() + INPUT_TIMEOUT;
            replay::keep_input(store, fire, None, &execution_id, self.started.ttl, until).await;
        }
        Ok(())
    }

    /// Prints the metrics of an execution that was settled.
    fn emit_metrics(&self, fire: &Fire, execution_id: &ExecutionId, action: CloseAction, row: Option<&Row>) {
        let failure = match action {
            CloseAction::Create => Some(reported(self.report)),
            CloseAction::Interrupt => row.map(Failure::interrupted),
            CloseAction::Finalise => row.map(Failure::of_row),
            CloseAction::Cancel | CloseAction::Alive | CloseAction::Nothing => None,
        };
        let mut facts = RunFacts::default();
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

    /// Settles an event that was meant for all subscribers. It is no longer known which of them were due, so each one
    /// is settled. If there is no record for a trigger, the event may still be on its way to an invocation of its own,
    /// unless only one trigger was due.
    async fn settle_subscribers(&self, event: &BusEvent) -> Result<(), Unsettled> {
        let mut after = None;
        let mut due = Vec::new();
        let mut is_certain = true;
        loop {
            let page = self.app.store.subscriptions(&event.event_source_id, after).await?;
            for item in page.items {
                let Ok(trigger) = TriggerItem::read(item) else { continue };
                match trigger.decide(event, self.app.platform()) {
                    TriggerDecision::Filtered => {}
                    TriggerDecision::Run(fire, threshold) => {
                        is_certain &= threshold.is_none();
                        due.push(fire);
                    }
                    TriggerDecision::Skip(fire, _) | TriggerDecision::Invalid(fire, _) => due.push(fire),
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let creates = due.len() == 1 && is_certain;
        let mut result = Ok(());
        for fire in &due {
            if let Err(unsettled) = self.settle(fire, creates).await {
                result = Err(unsettled);
            }
        }
        result
    }
}
