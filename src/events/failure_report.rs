//! Lambda's reports of the events that it gave up on, as an SQS queue or an SNS topic delivers them.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    domain::failure::{ErrorType, Failure},
    json::lenient,
};

/// A batch of messages from the settle queue.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>
#[derive(Debug, Deserialize)]
pub(crate) struct Batch {
    #[serde(rename = "Records")]
    pub(crate) records: Vec<Message>,
    /// True for a topic, which delivers all of it again or nothing.
    #[serde(skip, default)]
    pub(crate) is_of_topic: bool,
}

/// One message of a batch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    pub(crate) message_id: String,
    pub(crate) event_source: String,
    pub(crate) body: String,
}

/// The event with which SNS invokes a function that is subscribed to a topic.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html>
#[derive(Deserialize)]
struct Notifications {
    #[serde(rename = "Records")]
    records: Vec<NotificationRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NotificationRecord {
    event_source: String,
    sns: TopicMessage,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TopicMessage {
    message_id: String,
    message: String,
}

/// The record that Lambda writes to an on-failure destination.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report<'a> {
    pub(crate) timestamp: Option<String>,
    pub(crate) request_context: RequestContext,
    #[serde(borrow)]
    pub(crate) request_payload: &'a RawValue,
    /// An error object, or anything else that the function or Lambda returned.
    #[serde(borrow)]
    response_payload: Option<&'a RawValue>,
}

/// The part of a report that describes the failed invocation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestContext {
    pub(crate) request_id: String,
    pub(crate) condition: Option<String>,
    pub(crate) approximate_invoke_count: Option<u32>,
}

impl Batch {
    /// Reads a batch of SQS or the notifications of SNS. Returns `None` for every other event, for a batch without a
    /// record, and for one that has a record of another service. The bodies of the messages are taken as texts and not
    /// read.
    pub(crate) fn read(payload: &str) -> Option<Self> {
        // No event that names neither is parsed twice. What a topic's messages hold may name the queue.
        let of_queue = || payload.contains("aws:sqs").then(|| Self::of_queue(payload)).flatten();
        let of_topic = || payload.contains("aws:sns").then(|| Self::of_topic(payload)).flatten();
        of_queue().or_else(of_topic)
    }

    /// Reads a batch of SQS. Returns `None` for any other payload.
    fn of_queue(payload: &str) -> Option<Self> {
        let batch: Self = serde_json::from_str(payload).ok()?;
        let is_sqs = |message: &Message| message.event_source == "aws:sqs";
        (!batch.records.is_empty() && batch.records.iter().all(is_sqs)).then_some(batch)
    }

    /// Reads the notifications of SNS as a batch of messages. Returns `None` for any other payload.
    fn of_topic(payload: &str) -> Option<Self> {
        let Notifications { records } = serde_json::from_str(payload).ok()?;
        let is_sns = !records.is_empty() && records.iter().all(|record| record.event_source == "aws:sns");
        let message = |NotificationRecord { event_source, sns: TopicMessage { message_id, message } }| Message {
            message_id,
            event_source,
            body: message,
        };
        let records = records.into_iter().map(message).collect();
        is_sns.then_some(Self { records, is_of_topic: true })
    }
}

/// Returns the failure that a report describes: the type that the last attempt returned, with the `message` of its
/// answer. Without one the message is that no attempt wrote a record. If the answer names none of the function's error
/// types, the failure is `Internal`, and its message says whether the event grew too old or the attempt died. It is
/// never retryable.
pub(crate) fn failure_of(report: &Report<'_>) -> Failure {
    let response = report.response_payload.and_then(|payload| lenient::parse(payload.get()).ok());
    let text = |name: &str| response.as_ref().and_then(|payload| payload.get(name)?.as_str());
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
    fn notifications_of_a_topic_are_a_batch() {
        let record = r#"{"EventSource":"aws:sns","Sns":{"MessageId":"1","Message":"x"}}"#;
        let batch = Batch::read(&format!(r#"{{"Records":[{record}]}}"#)).unwrap();
        assert_eq!(
            (batch.is_of_topic, batch.records[0].message_id.as_str(), batch.records[0].body.as_str()),
            (true, "1", "x")
        );
        let about_queues = record.replace("x", "from aws:sqs");
        assert!(Batch::read(&format!(r#"{{"Records":[{about_queues}]}}"#)).unwrap().is_of_topic);
        for other in [r#"{"Records":[],"about":"aws:sns"}"#, r#"{"Records":[{"EventSource":"aws:sns"}]}"#, "aws:sns"] {
            assert!(Batch::read(other).is_none(), "{other}");
        }
    }

    #[test]
    fn only_sqs_batches_are_batches() {
        let message = r#"{"messageId":"1","eventSource":"aws:sqs","body":"x"}"#;
        let batch = Batch::read(&format!(r#"{{"Records":[{message}]}}"#)).unwrap();
        assert_eq!((batch.records.len(), batch.is_of_topic), (1, false));
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
        failure_of(&serde_json::from_str::<Report<'_>>(&text).unwrap())
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
