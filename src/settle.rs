//! Settling: what Lambda's on-failure destination reports is looked at once more, so that no execution stays `running`
//! or retryable after its last delivery, and no fire without a record. Never calls an agent.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use tracing::{Instrument, field::Empty};

use crate::{
    clock::{Deadline, now_millis},
    domain::execution::{Lease, Row, Settlement, Status},
    domain::failure::{ErrorType, Failure},
    domain::fire::Fire,
    events::bus::{Audience, BusEvent},
    events::schedule::{self, Event},
    handler::Services,
    lifecycle::identify::{Started, identify},
    lifecycle::results::failure_of,
    lifecycle::unheld::{EndError, Unrun, end_unheld},
    store::StoreError,
    store::record::Ending,
    telemetry::metrics::{Line, Measured},
    trigger::item::{Interest, Subscription},
    trigger::replay,
};

/// A batch of the settle queue.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>
#[derive(Debug, Deserialize)]
pub(crate) struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Message>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    message_id: String,
    event_source: String,
    body: String,
}

/// What SNS wraps a message in, unless raw message delivery is on.
#[derive(Deserialize)]
struct Notification {
    #[serde(rename = "Message")]
    message: String,
}

/// What Lambda writes to an on-failure destination.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    timestamp: Option<String>,
    request_context: RequestContext,
    #[serde(borrow)]
    request_payload: &'a RawValue,
    /// An error object, or whatever else the function or Lambda had to say.
    response_payload: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    request_id: String,
    condition: Option<String>,
    approximate_invoke_count: Option<u32>,
}

/// Why a message is left for another delivery.
#[derive(Debug, thiserror::Error)]
enum Unsettled {
    #[error("the message is not a record of Lambda's on-failure destination")]
    NotAReport,
    #[error("an attempt may still be at work")]
    Alive,
    #[error("the invocation's time was up")]
    OutOfTime,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    End(#[from] EndError),
}

/// How long keeping an input may hold up a batch.
const INPUT_TIMEOUT: Duration = Duration::from_secs(5);

impl Batch {
    /// Reads an SQS batch; `None` for every other event.
    pub(crate) fn read(payload: &str) -> Option<Self> {
        // Spares every other event a second parse.
        if !payload.contains("aws:sqs") {
            return None;
        }
        let batch: Self = serde_json::from_str(payload).ok()?;
        let is_sqs = |message: &Message| message.event_source == "aws:sqs";
        (!batch.records.is_empty() && batch.records.iter().all(is_sqs)).then_some(batch)
    }
}

/// Settles every message it can, and names the others, which SQS delivers again.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
pub(crate) async fn settle(services: &Services, batch: &Batch, deadline: Deadline) -> Value {
    let mut failures = Vec::new();
    for message in &batch.records {
        let span = tracing::error_span!(
            "settle",
            messageId = message.message_id,
            requestId = Empty,
            triggerId = Empty,
            executionId = Empty,
        );
        let settling = settle_message(services, message).instrument(span.clone());
        let settled = tokio::time::timeout_at(deadline.run_until, settling).await;
        if let Err(unsettled) = settled.unwrap_or(Err(Unsettled::OutOfTime)) {
            span.in_scope(|| tracing::warn!(cause = %unsettled, "not settled yet"));
            failures.push(json!({"itemIdentifier": message.message_id}));
        }
    }
    json!({"batchItemFailures": failures})
}

async fn settle_message(services: &Services, message: &Message) -> Result<(), Unsettled> {
    let notification: Option<Notification> = serde_json::from_str(&message.body).ok();
    let report = notification.as_ref().map_or(message.body.as_str(), |notification| &notification.message);
    let report: Report<'_> = serde_json::from_str(report).map_err(|_| Unsettled::NotAReport)?;
    let span = tracing::Span::current();
    span.record("requestId", &report.request_context.request_id);
    let Ok(event) = schedule::parse(Some(report.request_payload.get()), services.config.is_agentcore) else {
        tracing::info!("nothing to settle: the event was invalid");
        return Ok(());
    };
    let started_at = report.timestamp.as_deref().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let millis = started_at.and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
    let started = Started::at(millis.unwrap_or_else(now_millis), &services.config);
    let settler = Settler { services, report: &report, started };
    match &event {
        Event::Scheduled(fire) => settler.settle(fire, true).await,
        Event::Bus(_) if reported(&report).error_type == ErrorType::InvalidEvent => Ok(()),
        Event::Bus(event) => match &event.audience {
            Audience::Subscribers => settler.settle_subscribers(event).await,
            Audience::Dispatched { trigger_id, user_id } | Audience::RunTrigger { trigger_id, user_id } => {
                settler.settle(&event.fire(trigger_id, user_id), true).await
            }
            Audience::ReplayExecution { trigger_id, execution_id } => {
                // Whose it is stands in what is kept; without that no attempt got as far as to run it.
                let key = (trigger_id.as_str(), execution_id.as_str());
                let detail = services.store.input(trigger_id, execution_id).await?;
                match detail.map(|detail| replay::fire(event, key, &detail, services.config.is_agentcore)) {
                    Some(Ok(fire)) => settler.settle(&fire, true).await,
                    None | Some(Err(_)) => settler.settle(&event.fire(trigger_id, ""), false).await,
                }
            }
        },
    }
}

struct Settler<'a> {
    services: &'a Services,
    report: &'a Report<'a>,
    started: Started,
}

impl Settler<'_> {
    /// Settles one fire; one without a record gets one if `creates`.
    async fn settle(&self, fire: &Fire, creates: bool) -> Result<(), Unsettled> {
        let Services { store, config, .. } = self.services;
        let span = tracing::Span::current();
        span.record("triggerId", &fire.trigger_id);
        let RequestContext { request_id, approximate_invoke_count, .. } = &self.report.request_context;
        let execution_id = identify(store, fire, request_id, &self.started).await?;
        span.record("executionId", &execution_id);
        let row = store.execution(&fire.trigger_id, &execution_id).await?;
        let unrun = creates.then(|| Unrun {
            fire,
            started: &self.started,
            lambda_request_id: request_id,
            attempt: approximate_invoke_count.unwrap_or(1).max(1),
            ending: Ending::new(Status::Failed, now_millis(), Some(reported(self.report))),
        });
        let (settlement, row) =
            end_unheld(store, Lease(config.lease), fire, &execution_id, row, unrun.as_ref()).await?;
        if settlement == Settlement::Alive {
            return Err(Unsettled::Alive);
        }
        tracing::info!(?settlement, "settled");
        if settlement != Settlement::Nothing {
            self.tell(fire, &execution_id, settlement, row.as_ref());
        }
        // What a bus event asked is known to the invocation that ran it alone, and was kept by it.
        if settlement != Settlement::Nothing && !fire.prompt.is_empty() {
            let until = tokio::time::Instant::now() + INPUT_TIMEOUT;
            replay::keep_input(store, fire, &execution_id, self.started.ttl, until).await;
        }
        Ok(())
    }

    /// Prints the metrics of an execution that was settled.
    fn tell(&self, fire: &Fire, execution_id: &str, settlement: Settlement, row: Option<&Row>) {
        let failure = match settlement {
            Settlement::Create => Some(reported(self.report)),
            Settlement::Interrupt => row.map(Failure::interrupted),
            Settlement::Finalise => row.map(failure_of),
            Settlement::Cancel | Settlement::Alive | Settlement::Nothing => None,
        };
        let measured = Measured::default();
        measured.settled(settlement, Status::Failed);
        Line {
            config: &self.services.config,
            measured: &measured,
            request_id: &self.report.request_context.request_id,
            agent_id: Some(&fire.agent_id),
            trigger_id: Some(&fire.trigger_id),
            execution_id: Some(execution_id),
            trace: None,
            failure: failure.as_ref(),
            is_cold_start: None,
        }
        .print();
    }

    /// An event whose triggers nobody can name any more: each that is subscribed to it is looked at. What none of them
    /// has a record of may still be on its way to an invocation of its own, unless only one was due.
    async fn settle_subscribers(&self, event: &BusEvent) -> Result<(), Unsettled> {
        let mut after = None;
        let mut due = Vec::new();
        let mut is_certain = true;
        loop {
            let page = self.services.store.subscriptions(&event.event_source_id, after).await?;
            for item in page.items {
                let Ok(trigger) = Subscription::read(item) else { continue };
                match trigger.interest(event, self.services.config.is_agentcore) {
                    Interest::None => {}
                    Interest::Run(fire, threshold) => {
                        is_certain &= threshold.is_none();
                        due.push(fire);
                    }
                    Interest::Skip(fire, _) | Interest::Invalid(fire, _) => due.push(fire),
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

/// Why a fire has no record: what its last attempt returned, or that Lambda says there was none.
fn reported(report: &Report<'_>) -> Failure {
    let text = |name: &str| report.response_payload.as_ref().and_then(|payload| payload.get(name)?.as_str());
    if let Some(error_type) = text("errorType").and_then(ErrorType::from_name) {
        let body: Option<Value> = text("errorMessage").and_then(|message| serde_json::from_str(message).ok());
        let message =
            body.as_ref().and_then(|body| body.get("message")?.as_str()).unwrap_or("no attempt wrote a record");
        return Failure::fatal(error_type, message);
    }
    let condition = match report.request_context.condition.as_deref() {
        Some("EventAgeExceeded") => "no attempt wrote a record before the event grew too old",
        _ => "no attempt wrote a record, and the last one died",
    };
    Failure::fatal(ErrorType::Internal, condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sqs_batches_are_batches() {
        let message = r#"{"messageId":"1","eventSource":"aws:sqs","body":"x"}"#;
        assert_eq!(Batch::read(&format!(r#"{{"Records":[{message}]}}"#)).unwrap().records.len(), 1);
        for other in [
            r#"{"Records":[{"messageId":"1","eventSource":"aws:s3","body":"aws:sqs"}]}"#,
            r#"{"detail":{"prompt":"what is aws:sqs?"}}"#,
            r#"{"Records":[],"about":"aws:sqs"}"#,
            "aws:sqs",
            "{}",
        ] {
            assert!(Batch::read(other).is_none(), "{other}");
        }
    }

    fn report(condition: &str, response: &str) -> Failure {
        let text = format!(
            r#"{{"requestContext":{{"requestId":"r","condition":"{condition}"}},"requestPayload":{{}},"responsePayload":{response}}}"#
        );
        reported(&serde_json::from_str::<Report<'_>>(&text).unwrap())
    }

    #[test]
    fn the_reason_is_what_the_last_attempt_returned() {
        let failure = report(
            "RetriesExhausted",
            r#"{"errorType":"RecordStoreFailed","errorMessage":"{\"message\":\"DynamoDB PutItem failed\"}"}"#,
        );
        assert_eq!(failure, Failure::fatal(ErrorType::RecordStoreFailed, "DynamoDB PutItem failed"));
        let died = report("RetriesExhausted", r#"{"errorType":"Runtime.ExitError","errorMessage":"signal: killed"}"#);
        assert_eq!(died.error_type, ErrorType::Internal);
        assert!(died.message.contains("died"));
        assert!(report("EventAgeExceeded", "null").message.contains("too old"));
    }
}
