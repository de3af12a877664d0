//! Messages of queues and topics that are no report: an EventBridge event in one runs, and anything else is refused.

use serde_json::{Value, json};
use standins::destination::{failed_messages, notification, sqs_batch};
use standins::{Fault, Invocation, Rule, Script, own_event};

use crate::support::one_fire::event_of;
use crate::support::subscribed::{USER, order, order_with, subscribe, subscribe_many};
use crate::support::{assert_completed, execution, stack};

/// An event in a queue's message is handed on, and runs what is subscribed to it.
#[tokio::test]
async fn f02_an_event_in_a_message_is_an_invocation_of_its_own() {
    let stack = stack().await;
    subscribe(&stack, "t", json!({}));
    stack.pool(2, &[]);
    let function = stack.function(&[]).await;
    let event = order().to_string();
    let topic = json!({"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0",
        "EventSubscriptionArn": "arn:aws:sns:us-east-1:123456789012:orders:1",
        "Sns": {"MessageId": "m-1", "Type": "Notification", "Message": event}}]});
    let by_topic = notification(&event);
    for (at, delivery) in [
        sqs_batch([("m-1", event.as_str())]),
        sqs_batch([("m-1", event.as_str()), ("m-2", by_topic.as_str())]),
        Invocation::event(&topic),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(failed_messages(&function.invoke(delivery).await), Vec::<String>::new());
        stack.lambda.idle().await;
        assert_eq!(stack.lambda.dispatched().len(), [1, 3, 4][at]);
    }
    let row = execution(&stack, "t");
    let outcomes: Vec<_> = stack.lambda.dispatched().into_iter().flat_map(|seen| seen.outcomes).collect();
    assert_completed(&outcomes[0], &row);
    assert_eq!((row["eventId"].as_str(), stack.agent.call_count()), (order_id(&event).as_deref(), 1));
    assert!(outcomes[1..].iter().all(|outcome| outcome.body()["duplicate"] == true), "{outcomes:?}");
    stack.assert_clean();
}

fn order_id(event: &str) -> Option<String> {
    serde_json::from_str::<Value>(event).ok()?["id"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn f02_what_is_neither_event_nor_report_is_refused_in_words_and_kept() {
    let stack = stack().await;
    stack.lambda.retries(0);
    stack.pool(2, &[]);
    let function = stack.function(&[]).await;
    let fire = event_of("t").to_string();
    let command = own_event("Run Trigger", json!({"triggerId": "t", "userId": USER})).to_string();
    for (at, (message, told)) in [
        ("hello \"there\"", "neither an EventBridge event nor a report"),
        ("{\"detail\":{}}", "neither an EventBridge event nor a report"),
        // The sender of a message wrote all of it.
        (fire.as_str(), "looks like a scheduled event but came in a message"),
        (command.as_str(), "$.source: is the function's own"),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = function.invoke(sqs_batch([("m-1", message)])).await;
        assert_eq!(failed_messages(&outcome), Vec::<String>::new());
        stack.lambda.idle().await;
        let failures = stack.lambda.failures();
        assert_eq!(failures.len(), at + 1);
        let failed = &failures[at];
        assert_eq!(failed["responsePayload"]["errorType"], "InvalidEvent");
        assert!(failed["responsePayload"]["errorMessage"].as_str().unwrap().contains(told), "{failed:#}");
        let payload = &failed["requestPayload"];
        assert!(payload["_message"] == message || payload["_event"]["detail"].is_object(), "{payload:#}");
        // What Lambda then reports of it is settled: it comes back no more.
        let report = failed.to_string();
        assert_eq!(
            failed_messages(&function.invoke(sqs_batch([("m-2", report.as_str())])).await),
            Vec::<String>::new()
        );
        assert_eq!(stack.lambda.dispatched().len(), at + 1);
    }
    // A report without its event stays in the queue, whose dead-letter queue and alarm it reaches.
    let report = json!({"version": "1.0", "requestContext": {"requestId": "r"}}).to_string();
    assert_eq!(failed_messages(&function.invoke(sqs_batch([("m-3", report.as_str())])).await), ["m-3"]);
    assert_eq!((stack.dynamodb.scan().len(), stack.agent.call_count()), (0, 0));
    stack.assert_clean();
}

#[tokio::test]
async fn f02_a_message_that_cannot_be_handed_on_comes_again() {
    let stack = stack().await;
    let denied = stack.lambda.inject(Rule::new("Invoke", Fault::Deny));
    stack.agent.default(Script::ndjson_happy("three files"));
    let function = stack.function(&[]).await;
    let event = order().to_string();
    let outcome = function.invoke(sqs_batch([("m-1", event.as_str()), ("m-2", "hello")])).await;
    assert_eq!(failed_messages(&outcome), ["m-1", "m-2"]);
    let topic = json!({"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "m-1", "Message": event}}]});
    let outcome = function.invoke(Invocation::event(&topic)).await;
    assert_eq!((outcome.error_type(), &outcome.body()["retryable"]), ("DispatchFailed", &json!(true)));
    assert_eq!(denied.hits(), 3);
    stack.assert_clean();
}

/// What a message holds does not decide what delivers it.
#[tokio::test]
async fn f02_a_topics_message_that_mentions_a_queue_is_a_message() {
    let stack = stack().await;
    subscribe(&stack, "t", json!({}));
    stack.pool(2, &[]);
    let function = stack.function(&[]).await;
    let event = order_with(json!({"detail": {"from": "aws:sqs", "to": "aws:sns"}})).to_string();
    let topic = json!({"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "m-1", "Message": event}}]});
    assert_eq!(failed_messages(&function.invoke(Invocation::event(&topic)).await), Vec::<String>::new());
    stack.lambda.idle().await;
    assert_eq!(execution(&stack, "t")["status"], "completed");
    assert_eq!(failed_messages(&function.invoke(sqs_batch([("m-1", event.as_str())])).await), Vec::<String>::new());
    stack.lambda.idle().await;
    assert_eq!((stack.lambda.dispatched().len(), stack.agent.call_count()), (2, 1));
    stack.assert_clean();
}

/// SQS delivers at least once, and again whatever a batch that died had handed on.
#[tokio::test]
async fn f04_an_event_without_an_id_runs_once_however_often_its_message_comes() {
    for count in [1, 2] {
        let stack = stack().await;
        let ids = subscribe_many(&stack, count);
        stack.pool(2, &[]);
        let function = stack.function(&[]).await;
        let event = order_with(json!({"id": null})).to_string();
        for (id, runs) in [("m-1", 1), ("m-1", 1), ("m-2", 2)] {
            let outcome = function.invoke(sqs_batch([(id, event.as_str())])).await;
            assert_eq!(failed_messages(&outcome), Vec::<String>::new());
            stack.lambda.idle().await;
            assert_eq!(stack.agent.call_count(), runs * count, "{id}");
        }
        for id in &ids {
            let rows = stack.dynamodb.executions(id);
            assert!(rows.len() == 2 && rows.iter().all(|row| row["status"] == "completed"), "{rows:#?}");
        }
        stack.assert_clean();
    }
}
