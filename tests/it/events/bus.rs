//! The cases of events and identity, for bus events.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use standins::{CognitoOperation, Gate, Invocation, Lambda, Script, Stack, Step, own_event};

use crate::support::subscribed::{
    SOURCE, USER, dispatched_to, invocation, order, order_with, publish, subscribe, subscribe_many,
};
use crate::support::{
    alone, assert_absent, assert_completed, assert_duplicate, assert_failed, changed, crowd, execution, stack,
};

/// Invokes with an event that must be refused, and gives the paths that the error names.
async fn refused(stack: &Stack, function: &Lambda, event: &Value) -> Vec<String> {
    let outcome = function.invoke(Invocation::event(event)).await;
    assert_eq!(outcome.error_type(), "InvalidEvent", "{outcome:?}");
    let body = outcome.body();
    assert_eq!((&body["statusCode"], &body["retryable"]), (&json!(400), &json!(false)));
    assert_eq!(stack.dynamodb.requests().len(), 0);
    assert_eq!((stack.agent.call_count(), stack.cognito.count(CognitoOperation::Token)), (0, 0));
    let message = body["message"].as_str().unwrap().strip_prefix("invalid event: ").unwrap();
    assert!(!message.contains("hidden"), "{message}");
    message.split("; ").map(|problem| problem.split_once(": ").unwrap().0.to_owned()).collect()
}

fn command(detail_type: &str, detail: Value) -> Value {
    own_event(detail_type, detail)
}

#[tokio::test]
async fn f02_unusable_bus_events_are_refused_naming_every_path() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let long = "x".repeat(257);
    let ended = json!({"executionId": "e", "completedAt": "2026-01-31T07:00:00.000Z"});
    for (event, paths) in [
        (order_with(json!({"source": null})), vec!["$.source"]),
        (order_with(json!({"source": " "})), vec!["$.source"]),
        (order_with(json!({"source": ["hidden"]})), vec!["$.source"]),
        (order_with(json!({"source": "x".repeat(300)})), vec!["$.source"]),
        (order_with(json!({"source": "hidden\u{0}"})), vec!["$.source"]),
        (order_with(json!({"_eventSourceId": ""})), vec!["$._eventSourceId"]),
        (order_with(json!({"_eventSourceId": {"hidden": 1}})), vec!["$._eventSourceId"]),
        (order_with(json!({"_eventSourceId": "hidden\n"})), vec!["$._eventSourceId"]),
        (order_with(json!({"_eventSourceId": long})), vec!["$._eventSourceId"]),
        (order_with(json!({"id": 7})), vec!["$.id"]),
        (order_with(json!({"id": long})), vec!["$.id"]),
        (order_with(json!({"time": 1_769_842_800})), vec!["$.time"]),
        (order_with(json!({"replay-name": ["hidden"]})), vec!["$.replay-name"]),
        (order_with(json!({"detail-type": long})), vec!["$.detail-type"]),
        (order_with(json!({"_dispatch": "hidden"})), vec!["$._dispatch"]),
        (
            order_with(json!({"_dispatch": {}})),
            vec!["$._dispatch.triggerId", "$._dispatch.userId", "$._dispatch.requestId"],
        ),
        (
            order_with(json!({"_dispatch": {"triggerId": "hidden\n", "userId": long, "requestId": 7}})),
            vec!["$._dispatch.triggerId", "$._dispatch.userId", "$._dispatch.requestId"],
        ),
        (command("Run Trigger", json!({})), vec!["$.detail.triggerId", "$.detail.userId"]),
        (command("Run Trigger", json!("hidden")), vec!["$.detail.triggerId", "$.detail.userId"]),
        (
            command("Run Trigger", json!({"triggerId": "\t", "userId": long})),
            vec!["$.detail.triggerId", "$.detail.userId"],
        ),
        (command("Replay Execution", json!({"triggerId": "t"})), vec!["$.detail.executionId"]),
        (command("Replay Execution", json!({"executionId": long})), vec!["$.detail.triggerId", "$.detail.executionId"]),
        (command("Execution Status Change", json!({})), vec!["$.detail.executionId", "$.detail.completedAt"]),
        (
            command("Execution Status Change", changed(ended.clone(), json!({"completedAt": "1969-01-31T07:00:00Z"}))),
            vec!["$.detail.completedAt"],
        ),
        (
            command("Execution Status Change", changed(ended.clone(), json!({"chainDepth": "hidden"}))),
            vec!["$.detail.chainDepth"],
        ),
        (command("Execution Status Change", changed(ended, json!({"chainDepth": -1}))), vec!["$.detail.chainDepth"]),
        (
            order_with(json!({"source": long, "id": [], "time": {}, "_dispatch": {"userId": "u"}})),
            vec!["$.source", "$.id", "$.time", "$._dispatch.triggerId", "$._dispatch.requestId"],
        ),
    ] {
        let mut named = refused(&stack, &function, &event).await;
        named.sort_unstable();
        let mut paths = paths;
        paths.sort_unstable();
        assert_eq!(named, paths, "{event}");
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f03_unknown_members_and_missing_ones_are_tolerated() {
    let stack = stack().await;
    subscribe(&stack, "t", json!({}));
    let function = stack.function(&[]).await;
    let missing = json!({"version": null, "id": null, "account": null, "time": null, "region": null, "resources": null,
        "detail": null});
    for (at, event) in [
        order_with(missing),
        order_with(json!({"time": "yesterday"})),
        order_with(json!({"time": "1969-12-31T23:59:59Z"})),
        order_with(json!({"detail": "a text"})),
        order_with(json!({"detail": ["a", {"list": true}]})),
        order_with(json!({"ofALaterVersion": {"nested": [1]}, "resources": {}, "region": 7, "account": []})),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = function.invoke(Invocation::event(&event)).await;
        assert!(outcome.is_success(), "{event}: {outcome:?}");
        let rows = stack.dynamodb.executions("t");
        assert_eq!((rows.len(), stack.agent.call_count()), (at + 1, at + 1), "{event}");
        let id = outcome.body()["executionId"].clone();
        let row = rows.iter().find(|row| row["executionId"] == id).unwrap();
        assert_completed(&outcome, row);
        let of_event = |name: &str| event.get(name);
        assert_eq!((row.get("eventId"), row.get("eventTime")), (of_event("id"), of_event("time")));
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f07_a_completed_bus_event_is_not_run_again() {
    let stack = stack().await;
    subscribe(&stack, "t", json!({}));
    let event = order();
    let function = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::event(&event)).await;
    let row = execution(&stack, "t");
    assert_completed(&outcome, &row);
    for lambda in [&function, &stack.function(&[]).await] {
        assert_duplicate(&lambda.invoke(Invocation::event(&event)).await, &row);
        assert_eq!(execution(&stack, "t"), row);
    }
    // Alone or one of several, in place or handed on: it is the same fire.
    subscribe(&stack, "u", json!({}));
    stack.pool(1, &[]);
    assert!(publish(&stack, &event).await.outcome().unwrap().is_success());
    assert_duplicate(dispatched_to(&stack, "t")[0].outcome().unwrap(), &row);
    assert_eq!((execution(&stack, "t"), stack.agent.call_count()), (row, 2));
    stack.assert_clean();
}

#[tokio::test]
async fn f08_a_failed_bus_event_fails_again_at_once() {
    let stack = stack().await;
    stack.agent.queue(Script::status(422, r#"{"message":"no such marmalade"}"#));
    subscribe(&stack, "t", json!({}));
    let function = stack.function(&[]).await;
    let event = order();
    let outcome = function.invoke(Invocation::event(&event)).await;
    let row = execution(&stack, "t");
    assert_failed(&outcome, &row, "AgentRejected", false);
    for _ in 0..2 {
        let again = function.invoke(Invocation::event(&event)).await;
        assert_eq!((again.error_type(), again.body()), (outcome.error_type(), outcome.body()));
        assert_eq!(execution(&stack, "t"), row);
    }
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f10_fifty_concurrent_deliveries_of_a_bus_event_make_one_call() {
    let _machine = alone().await;
    let crowd = crowd(50);
    let stack = stack().await;
    subscribe(&stack, "t", json!({}));
    let gate = Gate::new();
    stack.agent.default(Script::ndjson_happy("three files").midway(Step::Gate(gate.clone())));
    let env = [("AWS_LAMBDA_MAX_CONCURRENCY", "25")];
    let functions = [stack.function(&env).await, stack.function(&env).await];
    let (event, answered) = (order(), Cell::new(0));
    let deliveries = (0..crowd).map(|n| {
        let (function, event, answered, gate) = (&functions[n % 2], &event, &answered, &gate);
        async move {
            let outcome = function.invoke(Invocation::event(event)).await;
            answered.set(answered.get() + 1);
            if answered.get() == crowd - 1 {
                gate.release();
            }
            outcome
        }
    });
    let outcomes = join_all(deliveries).await;
    let row = execution(&stack, "t");
    let (owners, others): (Vec<_>, Vec<_>) = outcomes.iter().partition(|o| o.body().get("duplicate").is_none());
    assert_eq!((owners.len(), others.len()), (1, crowd - 1));
    assert_completed(owners[0], &row);
    let running = changed(row.clone(), json!({"status": "running", "requestId": null}));
    others.into_iter().for_each(|other| assert_duplicate(other, &running));
    assert_eq!((stack.agent.call_count(), &row["attempt"]), (1, &json!(1)));
    stack.assert_clean();
}

#[tokio::test]
async fn f10_concurrent_deliveries_of_a_dispatched_bus_event_make_one_call_for_each_trigger() {
    const DELIVERIES: usize = 15;
    let stack = stack().await;
    let ids = subscribe_many(&stack, 4);
    let gate = Gate::new();
    stack.agent.default(Script::ndjson_happy("three files").midway(Step::Gate(gate.clone())));
    stack.pool(10, &[]);
    let event = order();
    let requests: Vec<_> = (0..DELIVERIES).map(|_| stack.invoke_async(Invocation::event(&event))).collect();
    gate.reached_by(ids.len()).await;
    // Four of the ten processes wait with their agents; the others work off what is left.
    let duplicates = async {
        while stack.lambda.dispatched().iter().filter(|seen| seen.over).count() < (DELIVERIES - 1) * ids.len() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), duplicates).await.is_ok());
    gate.release();
    stack.lambda.idle().await;
    assert!(requests.iter().all(|id| invocation(&stack, id).outcome().unwrap().is_success()));
    for id in &ids {
        let outcomes: Vec<_> = dispatched_to(&stack, id).into_iter().flat_map(|seen| seen.outcomes).collect();
        let ran: Vec<_> = outcomes.iter().filter(|outcome| outcome.body().get("duplicate").is_none()).collect();
        assert_eq!((outcomes.len(), ran.len()), (DELIVERIES, 1));
        assert_completed(ran[0], &execution(&stack, id));
    }
    assert_eq!(stack.agent.call_count(), ids.len());
    stack.assert_clean();
}

#[tokio::test]
async fn f11_hostile_ids_of_triggers_are_stored_and_found_exactly() {
    let stack = stack().await;
    let longest = format!("{}é", "x".repeat(254));
    let hostile = ["a#EXECUTION#b", "#", " padded ", "täglich–日本🦀", "\"}],\\", "${jndi:ldap}", "</event>", &longest];
    for id in hostile {
        let user_keys = json!({"PK": format!("TRIGGER#{id}"), "userId": id, "agentId": id, "name": id});
        subscribe(&stack, id, user_keys);
    }
    stack.pool(3, &[]);
    let event = order();
    for _ in 0..2 {
        let seen = publish(&stack, &event).await;
        assert_eq!(seen.outcome().unwrap().body()["dispatched"], hostile.len());
    }
    for id in hostile {
        let [first, again] = &dispatched_to(&stack, id)[..] else { panic!("{id} was not invoked twice") };
        let row = execution(&stack, id);
        assert_completed(first.outcome().unwrap(), &row);
        assert_duplicate(again.outcome().unwrap(), &row);
        for name in ["triggerId", "userId", "agentId"] {
            assert_eq!(row[name], id);
        }
        let item = stack.dynamodb.item(&format!("TRIGGER#{id}"), &format!("TRIGGER#{id}")).unwrap();
        assert_eq!(item["lastExecutedAt"], row["startedAt"], "{id}");
        let is_of = |call: &&standins::AgentRequest| (call.field("targetUserId"), call.field("agentId")) == (id, id);
        assert_eq!(stack.agent.calls().iter().filter(is_of).count(), 1, "{id}");
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f11_hostile_texts_of_an_event_are_in_no_key() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let longest = format!("{}é", "x".repeat(254));
    for (at, text) in
        ["a#b", "EXECUTION#", "'; DROP --", "日本🦀\u{2028}", "line\nfeed\u{0}", &longest].into_iter().enumerate()
    {
        // No key is made of these, so control characters may stand in them.
        let event = order_with(json!({"id": text, "detail-type": text, "time": text, "region": text}));
        let id = format!("of-texts-{at}");
        subscribe(&stack, &id, json!({"GSI2PK": format!("EVENTSOURCE#{id}")}));
        let event = changed(event, json!({"_eventSourceId": id}));
        let outcome = function.invoke(Invocation::event(&event)).await;
        let row = execution(&stack, &id);
        assert_completed(&outcome, &row);
        for name in ["eventId", "detailType", "eventTime"] {
            assert_eq!(row[name], text, "{name}");
        }
        for item in stack.dynamodb.scan() {
            let sk = item["SK"].as_str().unwrap();
            assert!(!sk.contains(text) || sk.starts_with("TRIGGER#") || text == "EXECUTION#", "{sk}");
        }
    }
    for (at, text) in ["a#b", "EVENTSOURCE#", "'; DROP --", "日本🦀\u{2028}", &longest].into_iter().enumerate() {
        let id = format!("of-source-{at}");
        subscribe(&stack, &id, json!({"GSI2PK": format!("EVENTSOURCE#{text}")}));
        for event in [order_with(json!({"_eventSourceId": text})), order_with(json!({"source": text}))] {
            let outcome = function.invoke(Invocation::event(&event)).await;
            assert_eq!(outcome.body()["triggerId"], id, "{text}: {outcome:?}");
        }
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f11_the_same_event_in_another_notation_is_the_same_fire() {
    let stack = stack().await;
    subscribe(&stack, "t", json!({}));
    let function = stack.function(&[]).await;
    let id = "17793124-05d4-b198-2fde-7ededc63b103";
    let mut row = Value::Null;
    for (at, (id, time)) in [
        (id.to_owned(), "2026-01-31T07:00:00Z"),
        (id.to_uppercase(), "2026-01-31T07:00:00+00:00"),
        (id.replace('-', ""), "2026-01-31T08:00:00.000+01:00"),
    ]
    .into_iter()
    .enumerate()
    {
        let event = order_with(json!({"id": id, "time": time, "source": SOURCE}));
        let outcome = function.invoke(Invocation::event(&event)).await;
        if at == 0 {
            row = execution(&stack, "t");
            assert_completed(&outcome, &row);
        } else {
            assert_duplicate(&outcome, &row);
        }
        assert_eq!(execution(&stack, "t"), row);
    }
    assert_eq!((&row["userId"], stack.agent.call_count()), (&json!(USER), 1));
    stack.assert_clean();
}

#[tokio::test]
async fn f49_too_little_time_for_a_bus_event_leaves_nothing() {
    let stack = stack().await;
    subscribe(&stack, "off", json!({"enabled": false}));
    let function = stack.function(&[]).await;
    let short = Invocation::event(&order()).timeout(Duration::from_secs(4));
    let outcome = function.invoke(short).await;
    assert_eq!((outcome.error_type(), &outcome.body()["retryable"]), ("DeadlineExceeded", &json!(true)));
    assert_eq!(stack.dynamodb.requests().len(), 0);
    assert_absent(&stack.dynamodb.item(&format!("TRIGGER#{USER}"), "TRIGGER#off").unwrap(), &["lastExecutedAt"]);
    stack.assert_clean();
}
