//! Messages of a queue or a topic: a report of Lambda's on-failure destination, an EventBridge event, or neither.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;

use crate::events::{
    classify::{FROM, MESSAGE, MESSAGE_ID, Provenance, WRAPPED},
    failure_report::Report,
};

/// The kind of a message.
pub(crate) enum Queued<'a> {
    /// A report of Lambda's on-failure destination.
    Report(Report<'a>),
    /// A report that cannot be settled: Lambda leaves the event out of one that would be too large.
    UnreadableReport,
    /// Anything else, as the payload of an invocation of its own. An event is marked as one that came in a message. A
    /// message that is no event is refused by that invocation, whose on-failure destination reports it together with
    /// the message.
    HandOn(String),
}

/// The form in which SNS wraps a message, unless raw message delivery is on.
#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(rename = "Message", borrow)]
    message: Cow<'a, str>,
}

/// The member by which a report without its event is distinguished from other messages.
#[derive(Deserialize)]
#[expect(dead_code, reason = "that it is there is all that counts")]
struct UnreadableReport {
    #[serde(rename = "requestContext")]
    request_context: IgnoredAny,
}

/// The members without which there is no event on a bus. The others are not looked at, so that no number and no text in
/// them refuses it.
#[derive(Deserialize)]
#[expect(dead_code, reason = "that they are there, and texts, is all that counts")]
struct Envelope<'a> {
    #[serde(rename = "detail-type", borrow)]
    detail_type: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
}

/// Returns true if a text can be a JSON object and nothing else. serde reads an array as a struct, too: its elements as
/// the members in their order.
fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Returns the text of a message that SNS may have wrapped: the `Message` of a notification, or `body` as it is if it
/// is no such JSON object.
pub(crate) fn unwrapped(body: &str) -> Cow<'_, str> {
    let notification = is_object(body).then(|| serde_json::from_str::<Notification<'_>>(body).ok()).flatten();
    notification.map_or(Cow::Borrowed(body), |notification| notification.message)
}

/// Classifies a message, which [`unwrapped`] must have unwrapped:
///
/// - A report of Lambda's on-failure destination is a `Report`.
/// - Any other object with `requestContext` is an `UnreadableReport`. It must not be taken for an event, because it
///   would run.
/// - Anything else is handed on. JSON with the texts `detail-type` and `source` is an event, and goes on as its own
///   text in `_event`. It is marked as a queue's and with the message's id, because the message may be delivered and
///   handed on again. All other text goes on as `_message`, which the next invocation refuses.
pub(crate) fn read<'m>(message: &'m str, message_id: &str) -> Queued<'m> {
    let is_object = is_object(message);
    if is_object && let Ok(report) = serde_json::from_str(message) {
        return Queued::Report(report);
    }
    if is_object && serde_json::from_str::<UnreadableReport>(message).is_ok() {
        return Queued::UnreadableReport;
    }
    let mark = Provenance::Queue.mark().unwrap_or_default();
    Queued::HandOn(match is_object && serde_json::from_str::<Envelope<'_>>(message).is_ok() {
        // The event stays the text that it is.
        true => {
            let id = json!(message_id);
            format!(r#"{{"{FROM}":"{mark}","{MESSAGE_ID}":{id},"{WRAPPED}":{message}}}"#)
        }
        // It is refused, so nothing asks which message it was.
        false => json!({FROM: mark, MESSAGE: message}).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn handed_on(message: &str) -> Option<Value> {
        match read(message, "m-\"1") {
            Queued::HandOn(payload) => Some(serde_json::from_str(&payload).unwrap()),
            Queued::Report(_) | Queued::UnreadableReport => None,
        }
    }

    #[test]
    fn an_event_is_handed_on_as_it_is_and_anything_else_as_a_text() {
        for (message, is_event) in [
            (r#"{"detail-type":"Object Created","source":"aws.s3","detail":{"a":1}}"#, true),
            (r#" {"source":"aws.s3","detail-type":"x","_from":"stack-bus"} "#, true),
            (r#"{"detail-type":"Object Created"}"#, false),
            (r#"{"detail-type":7,"source":"aws.s3"}"#, false),
            (r#"{"detail-type":"x","source":"aws.s3"} and more"#, false),
            (r#"[{"detail-type":"x","source":"aws.s3"}]"#, false),
            (r#"["x","aws.s3"]"#, false),
            ("hello \"there\"", false),
            ("", false),
        ] {
            let payload = handed_on(message).unwrap();
            let mut expected = match is_event {
                true => json!({"_event": serde_json::from_str::<Value>(message).unwrap()}),
                false => json!({"_message": message}),
            };
            expected["_from"] = json!("queue");
            if is_event {
                expected["_messageId"] = json!("m-\"1");
            }
            assert_eq!(payload, expected);
        }
    }

    #[test]
    fn reports_are_told_apart() {
        let report = r#"{"requestContext":{"requestId":"r"},"requestPayload":{"source":"aws.s3","detail-type":"x"}}"#;
        assert!(matches!(read(report, "m"), Queued::Report(_)));
        assert!(matches!(read(r#"{"requestContext":{"requestId":"r"}}"#, "m"), Queued::UnreadableReport));
    }

    #[test]
    fn what_sns_wrapped_is_unwrapped() {
        assert_eq!(unwrapped(r#"{"Type":"Notification","Message":"{\"a\":\"b\"}"}"#), r#"{"a":"b"}"#);
        for body in [r#"{"detail":{}}"#, r#"["{}"]"#] {
            assert_eq!(unwrapped(body), body);
        }
    }
}
