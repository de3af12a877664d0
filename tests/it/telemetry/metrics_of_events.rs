//! What CloudWatch is told where no fire runs: events that are handed on, fires that only get a record, settling.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use standins::destination::{report, sqs_batch};
use standins::{Invocation, Lambda, Outcome, Stack, own_event};

use crate::support::emf::{all_metrics, assert_counts, dimensions, only};
use crate::support::subscribed::{USER, config, order, subscribe};
use crate::support::{changed, execution, stack};

async fn metrics_of(stack: &Stack, invocations: Vec<Invocation>) -> Vec<Value> {
    let function = stack.function(&[]).await;
    for invocation in invocations {
        function.invoke(invocation).await;
    }
    all_metrics(function).await
}

#[tokio::test]
async fn an_event_for_several_triggers_tells_how_it_was_handed_on() {
    let stack = stack().await;
    subscribe(&stack, "first", json!({}));
    subscribe(&stack, "second", json!({}));
    subscribe(&stack, "off", json!({"enabled": false}));
    subscribe(&stack, "other", config(json!({"eventPattern": {"detail": {"orderId": ["none"]}}})));
    let event = Invocation::event(&order());
    let [first, again] = &metrics_of(&stack, vec![event.clone(), event]).await[..] else { panic!("not one each") };
    for (object, counts) in [(first, json!({"Executions": 1, "Skipped": 1})), (again, json!({"Duplicates": 1}))] {
        assert_counts(object, counts);
        assert_eq!(object["status"], "dispatched");
        let counts =
            json!({"subscriptions": 4, "filtered": 1, "disabled": 1, "tooDeep": 0, "waiting": 0, "dispatched": 2});
        for (name, count) in counts.as_object().unwrap() {
            assert_eq!(&object[name], count, "{name}");
        }
        assert_eq!(dimensions(object), (json!([["service"]]), None));
        for name in ["triggerId", "executionId", "skipReason", "DurationMs", "TokenMs", "ClaimMs"] {
            assert_eq!(object.get(name), None, "{name}");
        }
    }
    stack.assert_clean();
}

#[tokio::test]
async fn what_is_handed_on_and_not_run_is_told_once() {
    let stack = stack().await;
    let dispatched = |trigger_id: &str| {
        let dispatch = json!({"triggerId": trigger_id, "userId": USER, "requestId": "dispatcher"});
        Invocation::event(&changed(order(), json!({ "_dispatch": dispatch })))
    };
    subscribe(&stack, "off", json!({"enabled": false}));
    subscribe(&stack, "broken", json!({"prompt": 7}));
    for (trigger_id, counts, error_type) in [
        ("gone", json!({"Executions": 1, "Skipped": 1}), None),
        ("broken", json!({"Executions": 1, "Failed": 1}), Some("InvalidTrigger")),
    ] {
        let event = dispatched(trigger_id);
        let objects = metrics_of(&stack, vec![event.clone(), event]).await;
        let [first, again] = &objects[..] else { panic!("not one each: {objects:#?}") };
        let row = execution(&stack, trigger_id);
        assert_counts(first, counts);
        assert_counts(again, json!({"Duplicates": 1}));
        assert_eq!((&first["status"], &again["status"]), (&row["status"], &json!("duplicate")));
        for object in [first, again] {
            assert_eq!((&object["triggerId"], &object["executionId"]), (&row["triggerId"], &row["executionId"]));
            assert_eq!(object.get("errorType").and_then(Value::as_str), error_type, "{object:#}");
        }
        assert_eq!(first.get("skipReason"), row.get("skipReason"));
        let by_type = error_type.map(|_| json!([["service", "errorType"]]));
        assert_eq!((dimensions(first).1, dimensions(again).1), (by_type, None));
    }
    assert_eq!(stack.agent.call_count(), 0);
    stack.assert_clean();
}

#[tokio::test]
async fn a_command_that_cannot_be_followed_is_an_invalid_event() {
    let stack = stack().await;
    let event = own_event("Run Trigger", json!({"triggerId": "nobody", "userId": USER}));
    let object = only(metrics_of(&stack, vec![Invocation::event(&event)]).await);
    assert_counts(&object, json!({"Executions": 1, "Failed": 1}));
    assert_eq!((&object["errorType"], &object["triggerId"]), (&json!("InvalidEvent"), &json!("nobody")));
    stack.assert_clean();
}

fn fire(trigger_id: &str) -> Invocation {
    Invocation::scheduled(trigger_id, "Count the files of the quarter", "2026-01-01T00:00:00Z")
}

/// The record of a real run, as it would be with these attributes.
async fn record(stack: &Stack, function: &Lambda, trigger_id: &str, changes: Value) {
    assert!(function.invoke(fire(trigger_id)).await.is_success());
    let row = execution(stack, trigger_id);
    stack.dynamodb.update(row["PK"].as_str().unwrap(), row["SK"].as_str().unwrap(), &changes);
}

#[tokio::test]
async fn each_execution_that_is_settled_is_told() {
    let stack = stack().await;
    let runner = stack.function(&[]).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let over = u64::try_from(now).unwrap() - 60_000;
    let running = json!({"status": "running", "completedAt": null, "output": null, "leaseUntil": over});
    record(&stack, &runner, "stale", running.clone()).await;
    record(&stack, &runner, "cancelled", changed(running, json!({"cancelRequested": true}))).await;
    let busy = json!({"status": "failed", "errorType": "AgentUnavailable", "error": "busy", "retryable": true});
    record(&stack, &runner, "busy", changed(busy, json!({"output": null}))).await;
    assert!(runner.invoke(fire("ended")).await.is_success());

    let bodies = ["stale", "cancelled", "busy", "ended", "unseen"]
        .map(|trigger_id| report(&fire(trigger_id).request_id(trigger_id), 3, &Outcome::Died).to_string());
    let batch = sqs_batch(bodies.iter().map(|body| ("message", body.as_str())));
    let objects = metrics_of(&stack, vec![batch]).await;
    let [stale, cancelled, busy, unseen, batch] = &objects[..] else { panic!("{objects:#?}") };
    for (object, trigger_id, error_type) in [
        (stale, "stale", Some("Interrupted")),
        (cancelled, "cancelled", None),
        (busy, "busy", Some("AgentUnavailable")),
        (unseen, "unseen", Some("Internal")),
    ] {
        let row = execution(&stack, trigger_id);
        for name in ["triggerId", "executionId", "status"] {
            assert_eq!(object[name], row[name], "{name} in {object:#}");
        }
        assert_eq!((&object["requestId"], &object["agent"]), (&json!(trigger_id), &json!("agent-1")));
        assert_eq!(object.get("errorType").and_then(Value::as_str), error_type);
        let ended = if error_type.is_some() { "Failed" } else { "Cancelled" };
        assert_counts(object, json!({"Executions": 1, ended: 1}));
        assert_eq!((object.get("ColdStart"), object.get("DurationMs")), (None, None), "it is no invocation");
        assert_eq!(dimensions(object).1, error_type.map(|_| json!([["service", "errorType"]])));
    }
    assert_counts(batch, json!({}));
    assert_eq!((&batch["status"], &batch["ColdStart"]), (&json!("settled"), &json!(1)));
    assert_eq!(dimensions(batch), (json!([["service"]]), None));
    stack.assert_clean();
}
