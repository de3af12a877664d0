//! Cases 2, 6 and some of 11: events that are refused before anything is asked for.

use serde_json::{Value, json};
use standins::{CognitoOperation, Invocation, Lambda, Stack};

use crate::support::one_fire::{PROMPT, event_of};
use crate::support::{all_logs, changed, lines, stack};

/// The event of a fire of `t` with these members of `detail` changed; null takes one away.
fn event_with(changes: Value) -> Value {
    let mut event = event_of("t");
    event["detail"] = changed(event["detail"].take(), changes);
    event
}

/// Invokes with a payload that must be refused, and gives the paths that the error names.
async fn refused(stack: &Stack, function: &Lambda, payload: impl Into<Vec<u8>>) -> Vec<String> {
    let outcome = function.invoke(Invocation::new(payload)).await;
    assert_eq!(outcome.error_type(), "InvalidEvent", "{outcome:?}");
    let body = outcome.body();
    assert_eq!(
        (&body["statusCode"], &body["error"], &body["retryable"], &body["executionId"]),
        (&json!(400), &json!("InvalidEvent"), &json!(false), &Value::Null),
    );
    // An event that names its fire is looked for: an earlier attempt may have understood it.
    assert!(stack.dynamodb.requests().iter().all(|request| request.operation == "GetItem"), "nothing is written");
    assert!(stack.dynamodb.scan().is_empty());
    assert_eq!((stack.agent.call_count(), stack.cognito.count(CognitoOperation::Token)), (0, 0));
    let message = body["message"].as_str().unwrap().strip_prefix("invalid event: ").unwrap();
    message.split("; ").map(|problem| problem.split_once(": ").unwrap().0.to_owned()).collect()
}

#[tokio::test]
async fn f02_what_is_no_event_is_refused() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for payload in [&b"not JSON"[..], b"", b"[]", b"[{}]", b"null", b"\"text\"", b"7", b"{\"a\":", b"\xff\xfe{}"] {
        assert_eq!(refused(&stack, &function, payload).await, ["$"], "{payload:?}");
    }
    assert_eq!(refused(&stack, &function, "{}").await, ["$.detail-type", "$.detail"]);
    for detail in [json!(null), json!([]), json!("text")] {
        let event = json!({"detail-type": "Scheduled Event", "detail": detail});
        assert_eq!(refused(&stack, &function, event.to_string()).await, ["$.detail"]);
    }
    stack.assert_clean();
}

#[tokio::test]
async fn a_refused_event_is_logged_with_the_trigger_that_it_names() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let event = event_with(json!({"prompt": null}));
    assert_eq!(refused(&stack, &function, event.to_string()).await, ["$.detail.prompt"]);
    let logs = all_logs(function).await;
    let failed = lines(&logs, "run failed");
    assert_eq!(failed.len(), 1, "{logs:#?}");
    assert_eq!(serde_json::from_str::<Value>(failed[0]).unwrap()["span"]["triggerId"], "t");
    stack.assert_clean();
}

#[tokio::test]
async fn f02_each_bad_field_is_named_by_its_path() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for (changes, path) in [
        (json!({"triggerId": null}), "$.detail.triggerId"),
        (json!({"triggerId": ""}), "$.detail.triggerId"),
        (json!({"userId": null}), "$.detail.userId"),
        (json!({"userId": 7}), "$.detail.userId"),
        (json!({"agentId": null}), "$.detail.agentId"),
        (json!({"agentId": {}}), "$.detail.agentId"),
        (json!({"prompt": null}), "$.detail.prompt"),
        (json!({"prompt": ""}), "$.detail.prompt"),
        (json!({"prompt": [PROMPT]}), "$.detail.prompt"),
        (json!({"sessionId": true}), "$.detail.sessionId"),
        (json!({"sessionId": "s".repeat(257)}), "$.detail.sessionId"),
        (json!({"sessionId": "line\nbreak"}), "$.detail.sessionId"),
        (json!({"modelId": 1}), "$.detail.modelId"),
        (json!({"workingDirectory": []}), "$.detail.workingDirectory"),
        (json!({"enabledTools": "all"}), "$.detail.enabledTools"),
        (json!({"enabledTools": ["a", 7]}), "$.detail.enabledTools[1]"),
        (json!({"reasoningEffort": 3}), "$.detail.reasoningEffort"),
        (json!({"scheduledTime": "yesterday"}), "$.detail.scheduledTime"),
        (json!({"scheduledTime": 1_769_842_800}), "$.detail.scheduledTime"),
        (json!({"onInterrupted": "again"}), "$.detail.onInterrupted"),
        (json!({"input": "text"}), "$.detail.input"),
        (json!({"input": {"prompt": "Another prompt"}}), "$.detail.input.prompt"),
        (json!({"input": {"storagePath": "/"}}), "$.detail.input.storagePath"),
    ] {
        let event = event_with(changes.clone());
        assert_eq!(refused(&stack, &function, event.to_string()).await, [path], "{changes}");
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f02_all_bad_fields_are_named_at_once() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let event = json!({"id": 1, "detail": {"userId": "", "agentId": 2, "prompt": null, "enabledTools": [1, "a", 2]}});
    let mut paths = refused(&stack, &function, event.to_string()).await;
    paths.sort();
    let expected = [
        "$.detail-type",
        "$.detail.agentId",
        "$.detail.enabledTools[0]",
        "$.detail.enabledTools[2]",
        "$.detail.prompt",
        "$.detail.triggerId",
        "$.detail.userId",
        "$.id",
    ];
    assert_eq!(paths, expected);
    let logs = all_logs(function).await;
    assert_eq!(lines(&logs, "\"level\":\"ERROR\"").len(), 1, "{logs:#?}");
    stack.assert_clean();
}

#[tokio::test]
async fn f02_the_error_names_the_trigger_if_the_event_did() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::event(&event_with(json!({"prompt": null})))).await;
    assert_eq!(outcome.body()["triggerId"], "t");
    let outcome = function.invoke(Invocation::new("{}")).await;
    assert_eq!(outcome.body()["triggerId"], Value::Null);
    stack.assert_clean();
}

#[tokio::test]
async fn f02_a_bus_event_needs_a_source() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let mut event = event_of("t");
    event["detail-type"] = json!("Object Created");
    for (source, path) in [(Value::Null, "$.source"), (json!(""), "$.source"), (json!("a\u{0}b"), "$.source")] {
        event["source"] = source;
        assert_eq!(refused(&stack, &function, event.to_string()).await, [path]);
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f02_agentcore_needs_33_characters_of_session_id() {
    let stack = stack().await;
    let url = "https://bedrock-agentcore.us-east-1.amazonaws.com/runtimes/x";
    let function = stack.function(&[("AGENT_API_URL", url)]).await;
    let event = event_with(json!({"sessionId": "s".repeat(32)}));
    assert_eq!(refused(&stack, &function, event.to_string()).await, ["$.detail.sessionId"]);
    stack.assert_clean();
}

#[tokio::test]
async fn f06_an_unsubstituted_keyword_is_refused_wherever_it_stands() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for (changes, path) in [
        (json!({"scheduledTime": "<aws.scheduler.scheduled-time>"}), "$.detail.scheduledTime"),
        (json!({"prompt": "Report on <aws.scheduler.scheduled-time>"}), "$.detail.prompt"),
        (json!({"input": {"at": ["<aws.scheduler.attempt-number>"]}}), "$.detail.input.at[0]"),
    ] {
        let event = event_with(changes.clone());
        assert_eq!(refused(&stack, &function, event.to_string()).await, [path], "{changes}");
    }
    let mut event = event_of("t");
    event["id"] = json!("<aws.scheduler.execution-id>");
    assert_eq!(refused(&stack, &function, event.to_string()).await, ["$.id"]);
    stack.assert_clean();
}

#[tokio::test]
async fn f11_ids_that_cannot_be_kept_are_refused() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for name in ["triggerId", "userId", "agentId"] {
        let path = format!("$.detail.{name}");
        for id in
            ["x".repeat(257), "é".repeat(129), "a\nb".to_owned(), "a\0".to_owned(), "\u{7f}".to_owned(), " ".to_owned()]
        {
            let event = event_with(json!({name: id}));
            assert_eq!(refused(&stack, &function, event.to_string()).await, [path.as_str()], "{id:?}");
        }
    }
    stack.assert_clean();
}
