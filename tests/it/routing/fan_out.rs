//! One event and the triggers that are subscribed to it.

use std::path::Path;

use serde_json::{Value, json};
use standins::{Fault, Invocation, Rule, Script, bus_event};

use crate::support::subscribed::{
    DETAIL_TYPE, SOURCE, SOURCE_ID, USER, assert_skipped, assert_summary, calls_of, config, dispatched_to, invocation,
    order, order_with, publish, subscribe, subscribe_many,
};
use crate::support::{assert_absent, assert_completed, assert_duplicate, changed, execution, stack};

/// Computed with Python's hashlib from `event`, `trigger-1` and the id of the event, joined by NUL; of a replay by an
/// archive, and its name.
const ID_OF_TRIGGER_1: &str = "019c12d9-f580-75ca-a8a0-ba8a40cfa031";
const ID_OF_REPLAY: &str = "019c12d9-f580-77ac-a4ba-fc54a5e87528";

fn known_order() -> Value {
    order_with(json!({"id": "17793124-05d4-b198-2fde-7ededc63b103", "time": "2026-01-31T07:00:00Z"}))
}

#[tokio::test]
async fn one_due_trigger_runs_in_place() {
    let stack = stack().await;
    stack.agent.default(Script::ndjson_happy("three files"));
    let of_agent = json!({"sessionId": "session-of-the-trigger", "modelId": "model-7", "workingDirectory": "/orders",
        "enabledTools": ["read", "write"], "reasoningEffort": "high", "input": {"colour": "red"}});
    subscribe(&stack, "trigger-1", of_agent);
    let function = stack.function(&[]).await;
    let event = known_order();
    let outcome = function.invoke(Invocation::event(&event).request_id("request-1")).await;

    let row = execution(&stack, "trigger-1");
    assert_completed(&outcome, &row);
    for (name, expected) in [
        ("SK", json!(format!("EXECUTION#{ID_OF_TRIGGER_1}"))),
        ("triggerId", json!("trigger-1")),
        ("executionId", json!(ID_OF_TRIGGER_1)),
        ("userId", json!(USER)),
        ("agentId", json!("agent-1")),
        ("sessionId", json!("session-of-the-trigger")),
        ("lambdaRequestId", json!("request-1")),
        ("eventId", event["id"].clone()),
        ("eventTime", event["time"].clone()),
        ("source", json!(SOURCE)),
        ("eventSourceId", json!(SOURCE_ID)),
        ("detailType", json!(DETAIL_TYPE)),
        ("output", json!("three files")),
        ("attempt", json!(1)),
    ] {
        assert_eq!(row[name], expected, "{name} in {row:#}");
    }
    assert_absent(&row, &["scheduledTime", "chainDepth", "follows", "replayOf", "skipReason"]);
    let call = &stack.agent.calls()[0];
    let body = changed(call.body.clone(), json!({"prompt": null}));
    let expected = json!({"targetUserId": USER, "agentId": "agent-1", "sessionId": "session-of-the-trigger",
        "modelId": "model-7", "storagePath": "/orders", "enabledTools": ["read", "write"], "reasoningEffort": "high",
        "colour": "red"});
    assert_eq!(body, expected);

    let trigger = stack.dynamodb.item(&format!("TRIGGER#{USER}"), "TRIGGER#trigger-1").unwrap();
    assert_eq!(trigger["lastExecutedAt"], row["startedAt"]);
    let input = stack.dynamodb.item("TRIGGER#trigger-1", &format!("INPUT#{ID_OF_TRIGGER_1}")).unwrap();
    assert_eq!(input["ttl"], row["ttl"]);
    let counts = ["Query", "GetItem", "PutItem", "UpdateItem"].map(|operation| stack.dynamodb.count(operation));
    let what = "the item; the record and its input; which trigger runs in place, lastExecutedAt, and the record's end";
    assert_eq!(counts, [1, 1, 2, 3], "{what}");
    assert_eq!((stack.lambda.requests(), stack.agent.call_count()), (0, 1));

    // An archive's replay is meant to run, once.
    for is_again in [false, true] {
        let event = changed(event.clone(), json!({"replay-name": "replay-1"}));
        let outcome = function.invoke(Invocation::event(&event)).await;
        let row = stack.dynamodb.item("TRIGGER#trigger-1", &format!("EXECUTION#{ID_OF_REPLAY}")).unwrap();
        if is_again { assert_duplicate(&outcome, &row) } else { assert_completed(&outcome, &row) }
    }
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn several_due_triggers_each_become_an_invocation() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 3);
    stack.pool(3, &[]);
    let event = known_order();
    let seen = publish(&stack, &event).await;
    assert_summary(seen.outcome().unwrap(), &event, json!({"subscriptions": 3, "dispatched": 3}));

    assert_eq!((stack.lambda.requests(), stack.agent.call_count()), (3, 3));
    for id in &ids {
        let [invoked] = &dispatched_to(&stack, id)[..] else { panic!("{id} was not invoked once") };
        let dispatch = json!({"triggerId": id, "userId": USER, "requestId": seen.request_id});
        let sent = changed(event.clone(), json!({"_eventSourceId": SOURCE_ID, "_dispatch": dispatch}));
        assert_eq!(invoked.json(), sent);
        let row = execution(&stack, id);
        assert_completed(invoked.outcome().unwrap(), &row);
        assert_eq!(row["lambdaRequestId"], invoked.request_id, "each is a request of its own");
        assert_eq!((&row["eventId"], &row["source"]), (&event["id"], &json!(SOURCE)));
        assert_eq!((&row["eventSourceId"], calls_of(&stack, id)), (&json!(SOURCE_ID), 1));
    }
    stack.assert_clean();
}

#[tokio::test]
async fn three_hundred_subscribers_run_once_each_however_often_the_event_comes() {
    const COUNT: usize = 300;
    let stack = stack().await;
    stack.dynamodb.page_size(64);
    let ids = subscribe_many(&stack, COUNT);
    stack.pool(12, &[]);
    let event = order();
    for round in 1..=2 {
        let seen = publish(&stack, &event).await;
        assert_summary(seen.outcome().unwrap(), &event, json!({"subscriptions": COUNT, "dispatched": COUNT}));
        assert_eq!((seen.outcomes.len(), stack.lambda.requests()), (1, round * COUNT));
        assert_eq!(stack.dynamodb.count("Query"), round * 5, "every page of the index");
    }
    assert!(stack.lambda.invocations().iter().all(|seen| seen.outcome().is_some_and(standins::Outcome::is_success)));
    let most = stack.lambda.most_in_flight();
    assert!((2..=16).contains(&most), "{most} at once");
    assert_eq!(stack.agent.call_count(), COUNT);
    let rows: Vec<_> = ids.iter().map(|id| execution(&stack, id)).collect();
    assert!(rows.iter().all(|row| row["status"] == "completed" && row["attempt"] == 1));
    stack.assert_clean();
}

#[tokio::test]
async fn no_subscription_is_a_success_that_says_so() {
    let stack = stack().await;
    subscribe(&stack, "of-another-source", json!({"GSI2PK": "EVENTSOURCE#com-example"}));
    let function = stack.function(&[]).await;
    let event = order();
    assert_summary(&function.invoke(Invocation::event(&event)).await, &event, json!({}));
    let requests = stack.dynamodb.requests();
    let operations: Vec<_> = requests.iter().map(|request| request.operation.as_str()).collect();
    assert_eq!(operations, ["Query", "GetItem"], "the subscriptions, and whether an earlier attempt ran one");
    assert_eq!((stack.agent.requests().len(), stack.lambda.requests()), (0, 0));
    stack.assert_clean();
}

#[tokio::test]
async fn a_filtered_trigger_leaves_nothing() {
    let stack = stack().await;
    let pattern = json!({"detail": {"amount": [{"numeric": [">", 1000]}]}});
    subscribe(&stack, "large", config(json!({"eventPattern": pattern})));
    subscribe(&stack, "as-text", config(json!({"eventPattern": pattern.to_string()})));
    let conditions = json!([{"field": "detail.amount", "operator": "gt", "value": 100},
        {"field": "detail.missing", "operator": "ne", "value": 1}]);
    subscribe(&stack, "of-another-field", config(json!({"condition": conditions})));
    let mut disabled = config(json!({"eventPattern": pattern}));
    disabled["enabled"] = json!(false);
    subscribe(&stack, "disabled", disabled);
    let mut invalid = config(json!({"eventPattern": pattern}));
    invalid["prompt"] = Value::Null;
    subscribe(&stack, "without-prompt", invalid);
    let function = stack.function(&[]).await;
    let event = order();
    let outcome = function.invoke(Invocation::event(&event)).await;
    assert_summary(&outcome, &event, json!({"subscriptions": 5, "filtered": 5}));
    assert_eq!((stack.dynamodb.scan().len(), stack.dynamodb.requests().len()), (5, 2), "read, and nothing written");

    let pattern = json!({"source": [SOURCE], "detail": {"items": {"sku": [{"prefix": "cu"}]}}});
    let condition = json!({"field": "$.detail.items[?@.sku == 'tea'].count", "operator": "gte", "value": 2});
    subscribe(&stack, "matching", config(json!({"eventPattern": pattern, "condition": condition})));
    let outcome = function.invoke(Invocation::event(&event)).await;
    assert_completed(&outcome, &execution(&stack, "matching"));
    assert_eq!((stack.agent.call_count(), stack.lambda.requests()), (1, 0), "the only one that is due runs in place");
    stack.assert_clean();
}

#[tokio::test]
async fn a_disabled_trigger_is_recorded_as_skipped() {
    let stack = stack().await;
    subscribe(&stack, "off", json!({"enabled": false}));
    let function = stack.function(&[]).await;
    let event = known_order();
    for _ in 0..2 {
        let outcome = function.invoke(Invocation::event(&event)).await;
        assert_summary(&outcome, &event, json!({"subscriptions": 1, "disabled": 1}));
        let row = execution(&stack, "off");
        assert_skipped(&row, "Disabled");
        assert_eq!((&row["eventId"], &row["userId"]), (&event["id"], &json!(USER)));
        assert_eq!((&row["eventSourceId"], &row["agentId"]), (&json!(SOURCE_ID), &json!("agent-1")));
    }
    subscribe(&stack, "on", json!({}));
    subscribe(&stack, "by-default", json!({"enabled": null}));
    stack.pool(2, &[]);
    let event = order();
    let seen = publish(&stack, &event).await;
    let counts = json!({"subscriptions": 3, "disabled": 1, "dispatched": 2});
    assert_summary(seen.outcome().unwrap(), &event, counts);
    assert_eq!(stack.dynamodb.executions("off").len(), 2);
    for id in ["on", "by-default"] {
        assert_eq!(execution(&stack, id)["status"], "completed");
    }
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn a_trigger_that_changed_after_the_dispatch_is_taken_as_it_is() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 4);
    let [deleted, disabled, edited, kept] = &ids[..] else { panic!("{ids:?}") };
    let function = stack.function(&[]).await;
    let event = order();
    let outcome = function.invoke(Invocation::event(&event)).await;
    assert_summary(&outcome, &event, json!({"subscriptions": 4, "dispatched": 4}));
    stack.dynamodb.delete(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{deleted}"));
    subscribe(&stack, disabled, json!({"enabled": false}));
    subscribe(&stack, edited, json!({"agentId": "agent-2"}));
    stack.pool(2, &[]);
    stack.lambda.idle().await;

    for (id, reason) in [(deleted, "Deleted"), (disabled, "Disabled")] {
        let row = execution(&stack, id);
        assert_skipped(&row, reason);
        let seen = &dispatched_to(&stack, id)[0];
        let told = json!({"success": true, "triggerId": id, "executionId": row["executionId"], "status": "skipped",
            "skipReason": reason});
        assert_eq!((seen.outcomes.len(), seen.outcome().unwrap().body()), (1, told));
        assert_eq!((&row["userId"], &row["eventId"]), (&json!(USER), &event["id"]));
    }
    let item = stack.dynamodb.item(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{deleted}"));
    assert_eq!(item, None, "a deleted trigger is not made again");
    assert_eq!(execution(&stack, edited)["agentId"], "agent-2");
    assert_eq!(execution(&stack, kept)["status"], "completed");
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn what_an_input_transformer_names_is_what_triggers_subscribe_to() {
    let stack = stack().await;
    subscribe(&stack, "of-source", json!({}));
    subscribe(&stack, "of-name", json!({"GSI2PK": "EVENTSOURCE#team.a/orders"}));
    let function = stack.function(&[]).await;
    for (event, id) in [
        (order_with(json!({"_eventSourceId": "team.a/orders"})), "of-name"),
        (order_with(json!({"_eventSourceId": "team.a/orders", "source": null})), "of-name"),
        (order(), "of-source"),
    ] {
        let outcome = function.invoke(Invocation::event(&event)).await;
        assert!(outcome.is_success(), "{outcome:?}");
        assert_eq!(outcome.body()["triggerId"], id);
    }
    let prompts: Vec<_> = stack.agent.calls().iter().map(|call| call.field("prompt").to_owned()).collect();
    assert!(prompts.iter().all(|prompt| !prompt.contains("_eventSourceId")));
    stack.assert_clean();
}

#[tokio::test]
async fn every_sample_event_reaches_its_subscriber() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for (name, source_id) in [
        ("s3-object-created", "aws-s3"),
        ("cloudwatch-alarm-state-change", "aws-cloudwatch"),
        ("guardduty-finding", "aws-guardduty"),
        ("custom-order-placed", SOURCE_ID),
        ("lambda-destination-failure", "lambda"),
        ("execution-status-change", "agent-trigger"),
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(format!("{name}.json"));
        let event: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let user = event["detail"]["userId"].as_str().unwrap_or("user-1");
        let item =
            json!({"PK": format!("TRIGGER#{user}"), "userId": user, "GSI2PK": format!("EVENTSOURCE#{source_id}")});
        subscribe(&stack, name, item);
        // As the rules of the stack's own bus wrap it.
        let payload = match source_id {
            "agent-trigger" => json!({"_from": "stack-bus", "_event": event}),
            _ => event.clone(),
        };
        let outcome = function.invoke(Invocation::event(&payload)).await;
        let row = execution(&stack, name);
        assert_completed(&outcome, &row);
        assert_eq!((&row["eventId"], &row["detailType"]), (&event["id"], &event["detail-type"]), "{name}");
    }
    stack.assert_clean();
}

#[tokio::test]
async fn an_index_that_cannot_be_read_to_its_end_hands_nothing_on() {
    let stack = stack().await;
    stack.dynamodb.page_size(2);
    let ids = subscribe_many(&stack, 5);
    stack.pool(3, &[]);
    let denied = stack.dynamodb.inject(Rule::new("Query", Fault::Deny).after(1).once());
    let event = bus_event(SOURCE, DETAIL_TYPE, json!("no object"));
    let request_id = stack.invoke_async(Invocation::event(&event));
    stack.lambda.idle().await;
    let seen = invocation(&stack, &request_id);
    let failed = &seen.outcomes[0];
    assert_eq!((failed.error_type(), &failed.body()["retryable"]), ("RecordStoreFailed", &json!(true)));
    assert_summary(&seen.outcomes[1], &event, json!({"subscriptions": 5, "dispatched": 5}));
    assert_eq!((denied.hits(), seen.outcomes.len(), stack.lambda.requests()), (1, 2, 5));
    assert!(ids.iter().all(|id| execution(&stack, id)["status"] == "completed"));
    assert!(stack.lambda.dispatched().iter().all(|seen| seen.event()["source"] == SOURCE));
    stack.assert_clean();
}
