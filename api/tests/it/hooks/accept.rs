//! Deliveries that are accepted: what runs, and how often.

use reqwest::StatusCode;
use serde_json::{Value, json};
use standins::{Fault, Rule};

use crate::hooks::{HOOK, TRIGGER, now, signed, signed_by};
use crate::support::{SECRETS, USER, World};

#[tokio::test]
async fn a_delivery_runs_the_trigger_and_its_filters_are_asked() {
    let world = World::start().await;
    let pattern = json!({"detail": {"body": {"ref": ["main"]}}});
    world.put_hook(json!({}), json!({"eventConfig": {"eventSourceId": "webhook", "eventPattern": pattern}}));
    world.stack.pool(2, &[]);
    let hooks = world.hooks().await;
    let (status, answer) = hooks.deliver("msg_1", r#"{"ref": "main", "n": 1.10e2}"#).await;
    assert_eq!((status, &answer["duplicate"]), (StatusCode::ACCEPTED, &json!(false)), "{answer}");
    let (status, _) = hooks.deliver("msg_2", r#"{"ref": "other"}"#).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    world.stack.lambda.idle().await;
    let executions = world.stack.dynamodb.executions(TRIGGER);
    assert_eq!(executions.len(), 1, "{executions:#?}");
    assert_eq!(
        (&executions[0]["status"], &executions[0]["executionId"]),
        (&json!("completed"), &answer["executionId"])
    );
    let prompt = world.stack.agent.calls()[0].field("prompt").to_owned();
    assert!(prompt.starts_with("Look at \"main\"") && prompt.contains("1.10e2"), "{prompt}");
    let receipts = world.receipts();
    assert_eq!(receipts.len(), 2);
    assert_eq!((&receipts[0]["senderId"], &receipts[0]["sourceIp"]), (&json!("msg_1"), &json!("127.0.0.1")));
    assert!(receipts.iter().all(|receipt| receipt["dispatchedAt"].is_string()), "{receipts:#?}");

    // Sent again with another time, it is the same event.
    let (_, again) = hooks.deliver("msg_1", r#"{"ref": "main", "n": 1.10e2}"#).await;
    assert_eq!((&again["duplicate"], &again["executionId"]), (&json!(true), &answer["executionId"]));
    // Under another signature it is nobody's.
    let mut forged = signed("msg_3", now(), "{}");
    forged[2].1 = signed("msg_4", now(), "{}")[2].1.clone();
    let (status, _) = hooks.send(&format!("/hooks/{HOOK}"), &forged, "{}").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let refused = world.receipts().into_iter().find(|receipt| receipt["outcome"] == "refused").unwrap();
    assert_eq!(refused["reason"], "wrongSignature");
    world.stack.lambda.idle().await;
    assert_eq!(world.stack.agent.call_count(), 1);
    world.stack.assert_clean();
}

#[tokio::test]
async fn one_delivery_fifty_times_at_once_runs_once() {
    let world = World::start().await;
    world.put_hook(json!({}), json!({}));
    let hooks = world.hooks().await;
    let sent = (0..50).map(|_| hooks.insist("msg_1", r#"{"ref": "main"}"#));
    let answers = futures_util::future::join_all(sent).await;
    let first = &answers[0]["executionId"];
    assert!(answers.iter().all(|answer| answer["executionId"] == *first), "{answers:#?}");
    assert!(answers.iter().filter(|answer| answer["duplicate"] == false).count() <= 1);
    world.stack.pool(4, &[]);
    world.stack.lambda.idle().await;
    let executions = world.stack.dynamodb.executions(TRIGGER);
    assert_eq!((executions.len(), world.stack.agent.call_count()), (1, 1));
    assert_eq!((&executions[0]["executionId"], &executions[0]["status"]), (first, &json!("completed")));
    let receipts = world.receipts();
    assert!(receipts.len() == 1 && receipts[0]["duplicates"].as_u64().unwrap() >= 49, "{receipts:#?}");
    assert_eq!(world.stack.ssm.asked(), [format!("{SECRETS}{HOOK}:1")]);
}

#[tokio::test]
async fn fifty_equal_pings_without_an_id_run_fifty_times() {
    let world = World::start().await;
    let config = json!({"preset": "hmac"});
    world.put_hook(config.clone(), json!({"prompt": "Pinged"}));
    let hooks = world.hooks().await;
    let headers = signed_by(&config, "", "");
    let path = format!("/hooks/{HOOK}");
    // Ten at once: more would be told to come again on a slow machine, and would then run twice.
    for _ in 0..5 {
        let sent = (0..10).map(|_| hooks.send(&path, &headers, ""));
        for (status, answer) in futures_util::future::join_all(sent).await {
            assert_eq!((status, &answer["duplicate"]), (StatusCode::ACCEPTED, &json!(false)), "{answer}");
        }
    }
    // A key that the sender chooses makes two of them one.
    let mut keyed = headers.clone();
    keyed.push(("idempotency-key".to_owned(), "ping-51".to_owned()));
    for is_duplicate in [false, true] {
        assert_eq!(hooks.send(&path, &keyed, "").await.1["duplicate"], is_duplicate);
    }
    world.stack.pool(4, &[]);
    world.stack.lambda.idle().await;
    assert_eq!((world.stack.dynamodb.executions(TRIGGER).len(), world.stack.agent.call_count()), (51, 51));
}

/// Hours later the sender tries again, with a new time: the event keeps the time at which it first came.
#[tokio::test]
async fn a_delivery_that_comes_again_hours_later_is_the_same_event() {
    let world = World::start().await;
    world.put_hook(json!({}), json!({}));
    let hooks = world.hooks().await;
    let denied = world.stack.lambda.inject(Rule::new("Invoke", Fault::Deny).once());
    let response = hooks.send_full(&format!("/hooks/{HOOK}"), &signed("msg_1", now(), "{}"), "{}").await;
    assert_eq!(
        (response.status(), &response.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap())
    );
    assert_eq!(denied.hits(), 1);
    let is_seen = |item: &Value| item["SK"].as_str().is_some_and(|sk| sk.starts_with("SEEN#"));
    let mut seen = world.stack.dynamodb.scan().into_iter().find(is_seen).unwrap();
    let first: jiff::Timestamp = seen["eventTime"].as_str().unwrap().parse().unwrap();
    let earlier = first - jiff::SignedDuration::from_hours(5);
    seen["eventTime"] = json!(agent_trigger_api::times::rfc3339(earlier));
    world.stack.dynamodb.put_item(&seen);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let (status, answer) = hooks.deliver("msg_1", "{}").await;
        assert_eq!((status, &answer["duplicate"]), (StatusCode::ACCEPTED, &json!(true)));
        ids.push(answer["executionId"].as_str().unwrap().to_owned());
    }
    let of = |id: &str| uuid::Uuid::parse_str(id).unwrap().get_timestamp().unwrap().to_unix().0;
    assert_eq!(of(&ids[0]), u64::try_from(earlier.as_second()).unwrap());
    assert!(ids.iter().all(|id| *id == ids[0]));
    // The first of the three invoked, the others found that noted.
    assert_eq!(world.stack.lambda.dispatched().len(), 1);
    world.stack.pool(1, &[]);
    world.stack.lambda.idle().await;
    assert_eq!(world.stack.dynamodb.executions(TRIGGER)[0]["executionId"], ids[0].as_str());
    assert_eq!(world.stack.agent.call_count(), 1);
}

/// A trigger that is switched off has a record that says so, and a threshold counts deliveries.
#[tokio::test]
async fn a_switched_off_trigger_is_skipped_and_a_threshold_is_asked() {
    let world = World::start().await;
    world.put_hook(json!({}), json!({"enabled": false}));
    world.stack.pool(1, &[]);
    let hooks = world.hooks().await;
    let (status, answer) = hooks.deliver("msg_0", r#"{"ref": "main"}"#).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    world.stack.lambda.idle().await;
    let row = world.stack.dynamodb.executions(TRIGGER).remove(0);
    assert_eq!((&row["status"], &row["skipReason"]), (&json!("skipped"), &json!("Disabled")));
    assert_eq!(row["executionId"], answer["executionId"]);

    let threshold = json!({"count": 3, "windowSeconds": 600});
    world.put_hook(json!({}), json!({"eventConfig": {"eventSourceId": "webhook", "threshold": threshold}}));
    for id in ["msg_1", "msg_2", "msg_2", "msg_3"] {
        assert_eq!(hooks.deliver(id, r#"{"ref": "main"}"#).await.0, StatusCode::ACCEPTED);
    }
    world.stack.lambda.idle().await;
    assert_eq!((world.stack.dynamodb.executions(TRIGGER).len(), world.stack.agent.call_count()), (2, 1));
}

/// Every alias reaches the hook, under `/v1` too.
#[tokio::test]
async fn aliases_reach_the_hook() {
    let world = World::start().await;
    world.put_hook(json!({}), json!({"prompt": "Look at {{ $.body.text }}", "inputMapping": {"text": "$.body.text"}}));
    world.stack.pool(1, &[]);
    let hooks = world.hooks().await;
    for path in [format!("/hooks/{HOOK}"), format!("/webhooks/{HOOK}"), format!("/triggers/{HOOK}/webhook")] {
        for prefix in ["", "/v1"] {
            let path = format!("{prefix}{path}");
            let (status, _) =
                hooks.send(&path, &signed(&path, now(), r#"{"text": "Hello"}"#), r#"{"text": "Hello"}"#).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{path}");
        }
    }
    world.stack.lambda.idle().await;
    let calls = world.stack.agent.calls();
    assert_eq!(calls.len(), 6);
    assert!(calls.iter().all(|call| call.field("prompt").starts_with("Look at \"Hello\"")));
    assert!(calls.iter().all(|call| call.field("text") == "Hello" && call.field("targetUserId") == USER));
}
