//! Replays, and triggers that are run now.

use serde_json::{Value, json};
use standins::{Invocation, Lambda, Outcome, Script, Stack, own_event, runtime_api::scheduled_event};

use crate::support::subscribed::{PROMPT, SOURCE_ID, USER, assert_skipped, order, order_with, subscribe};
use crate::support::{assert_absent, assert_completed, assert_duplicate, assert_failed, changed, execution, stack};

const TIME: &str = "2026-01-31T07:00:00Z";

fn replay(row: &Value) -> Value {
    let detail = json!({"triggerId": row["triggerId"], "executionId": row["executionId"]});
    own_event("Replay Execution", detail)
}

fn run_now(trigger_id: &str) -> Value {
    own_event("Run Trigger", json!({"triggerId": trigger_id, "userId": USER}))
}

fn input_of(stack: &Stack, row: &Value) -> Option<Value> {
    let [pk, sk] = ["PK", "SK"].map(|name| row[name].as_str().unwrap());
    stack.dynamodb.item(pk, &sk.replace("EXECUTION#", "INPUT#"))
}

/// The execution that a replay made, which points at `row`.
fn replayed(stack: &Stack, row: &Value) -> Value {
    let rows = stack.dynamodb.executions(row["triggerId"].as_str().unwrap());
    let of_row: Vec<_> = rows.into_iter().filter(|other| other["replayOf"] == row["executionId"]).collect();
    assert_eq!(of_row.len(), 1, "{of_row:#?}");
    of_row[0].clone()
}

/// Asserts that the command is refused for what is not there, and that nothing ran.
fn assert_unknown(outcome: &Outcome, path: &str, trigger_id: &str) {
    let body = outcome.body();
    assert_eq!((outcome.error_type(), &body["retryable"]), ("InvalidEvent", &json!(false)), "{outcome:?}");
    assert_eq!((&body["triggerId"], &body["statusCode"]), (&json!(trigger_id), &json!(400)));
    assert!(body["message"].as_str().unwrap().starts_with(&format!("invalid event: {path}: ")), "{body}");
}

#[tokio::test]
async fn a_failed_scheduled_execution_runs_again_under_a_new_id() {
    let stack = stack().await;
    stack.agent.queue(Script::server_error_event("the model is gone"));
    stack.agent.default(Script::ndjson_happy("three files"));
    let function = stack.function(&[]).await;
    let task = json!({"sessionId": "session-of-the-schedule", "modelId": "model-7", "workingDirectory": "/files",
        "enabledTools": ["read"], "reasoningEffort": "low", "onInterrupted": "rerun", "input": {"colour": "red"}});
    let mut event = scheduled_event("scheduled", PROMPT, Some(TIME));
    event["detail"] = changed(event["detail"].clone(), task);
    let outcome = function.invoke(Invocation::event(&event)).await;
    let failed = execution(&stack, "scheduled");
    assert_failed(&outcome, &failed, "AgentFailed", false);
    let input = input_of(&stack, &failed).expect("what failed can be replayed");
    assert_eq!(input["ttl"], failed["ttl"]);

    let command = replay(&failed);
    let outcome = function.invoke(Invocation::event(&command)).await;
    let again = replayed(&stack, &failed);
    assert_completed(&outcome, &again);
    assert_ne!(again["executionId"], failed["executionId"]);
    for (name, expected) in [
        ("userId", &failed["userId"]),
        ("agentId", &failed["agentId"]),
        ("sessionId", &failed["sessionId"]),
        ("eventId", &command["id"]),
        ("eventTime", &command["time"]),
        ("detailType", &command["detail-type"]),
        ("source", &json!("agent-trigger")),
        ("attempt", &json!(1)),
    ] {
        assert_eq!(&again[name], expected, "{name} in {again:#}");
    }
    assert_absent(&again, &["scheduledTime", "chainDepth", "follows"]);
    let sks = stack.dynamodb.executions("scheduled");
    assert_eq!(sks.iter().find(|row| row["executionId"] == failed["executionId"]), Some(&failed), "it stays as it is");
    let calls = stack.agent.calls();
    assert_eq!((calls.len(), &calls[0].body), (2, &calls[1].body), "what is asked is the same");
    assert_eq!(calls[1].field("prompt"), PROMPT);

    // The same command delivered twice is one replay, another one is another.
    for _ in 0..2 {
        assert_duplicate(&function.invoke(Invocation::event(&command)).await, &again);
    }
    assert!(function.invoke(Invocation::event(&replay(&failed))).await.is_success());
    assert_eq!((stack.dynamodb.executions("scheduled").len(), stack.agent.call_count()), (3, 3));
    stack.assert_clean();
}

#[tokio::test]
async fn what_completed_in_a_short_run_without_a_stored_trigger_is_not_kept() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::scheduled("scheduled", PROMPT, TIME)).await;
    let row = execution(&stack, "scheduled");
    assert_completed(&outcome, &row);
    assert_eq!((input_of(&stack, &row), stack.dynamodb.scan().len()), (None, 1));
    let outcome = function.invoke(Invocation::event(&replay(&row))).await;
    assert_unknown(&outcome, "$.detail.executionId", "scheduled");
    let unheard_of = json!({"triggerId": "never", "executionId": "heard#of"});
    let outcome = function.invoke(Invocation::event(&replay(&unheard_of))).await;
    assert_unknown(&outcome, "$.detail.executionId", "never");
    assert_eq!((stack.dynamodb.scan().len(), stack.agent.call_count()), (1, 1));
    stack.assert_clean();
}

#[tokio::test]
async fn an_execution_of_a_stored_trigger_runs_again_as_it_was() {
    let stack = stack().await;
    let prompt = format!("{PROMPT} {{{{ $.detail.orderId }}}}");
    subscribe(&stack, "t", json!({"prompt": prompt, "inputMapping": {"amount": "$.detail.amount"}, "version": 1}));
    let function = stack.function(&[]).await;
    let event = order();
    assert!(function.invoke(Invocation::event(&event)).await.is_success());
    let row = execution(&stack, "t");
    // Whatever became of the trigger since, unless it was switched off.
    subscribe(&stack, "t", json!({"prompt": "Something else", "enabled": false}));
    let outcome = function.invoke(Invocation::event(&replay(&row))).await;
    let skipped = replayed(&stack, &row);
    assert_eq!((&skipped["status"], &skipped["skipReason"]), (&json!("skipped"), &json!("Disabled")));
    assert_eq!((&outcome.body()["skipReason"], stack.agent.call_count()), (&json!("Disabled"), 1));
    stack.dynamodb.delete("TRIGGER#t", skipped["SK"].as_str().unwrap());
    let other =
        json!({"prompt": "Something else", "agentId": "agent-2", "input": {"amount": 7}, "modelId": "m", "version": 2});
    subscribe(&stack, "t", other);
    let outcome = function.invoke(Invocation::event(&replay(&row))).await;
    let again = replayed(&stack, &row);
    assert_completed(&outcome, &again);
    let calls = stack.agent.calls();
    let [first, second] = &calls[..] else { panic!("{calls:#?}") };
    let without = |body: &Value| changed(body.clone(), json!({"sessionId": null}));
    assert_eq!(without(&first.body), without(&second.body));
    assert_eq!((&second.body["amount"], &second.body["sessionId"]), (&json!(120), &again["sessionId"]));
    assert!(second.field("prompt").contains("\"order-7\"") && second.field("prompt").ends_with("\n</event>"));
    assert_ne!(row["sessionId"], again["sessionId"], "a conversation of its own");
    // It asked what the first version asked.
    assert_eq!((&row["triggerVersion"], again.get("triggerVersion")), (&json!("1"), None));

    // A replay can be replayed, and the trigger may be gone.
    stack.dynamodb.delete(&format!("TRIGGER#{USER}"), "TRIGGER#t");
    stack.agent.queue(Script::status(400, "no"));
    assert!(input_of(&stack, &again).is_some());
    let outcome = function.invoke(Invocation::event(&replay(&again))).await;
    let third = replayed(&stack, &again);
    assert_failed(&outcome, &third, "AgentRejected", false);
    assert_eq!(without(&stack.agent.calls()[2].body), without(&first.body));
    let outcome = function.invoke(Invocation::event(&replay(&third))).await;
    assert_completed(&outcome, &replayed(&stack, &third));
    assert_eq!(stack.dynamodb.item(&format!("TRIGGER#{USER}"), "TRIGGER#t"), None);
    stack.assert_clean();
}

#[tokio::test]
async fn what_is_kept_and_not_understood_is_refused() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let row = json!({"triggerId": "t", "executionId": "e"});
    for (detail, path) in [
        (json!({"userId": USER, "prompt": PROMPT}).to_string(), "$.input.agentId"),
        (json!([]).to_string(), "$.input.userId"),
        ("no JSON".to_owned(), "$.detail.executionId"),
    ] {
        stack.dynamodb.put_item(&json!({"PK": "TRIGGER#t", "SK": "INPUT#e", "detail": detail}));
        assert_unknown(&function.invoke(Invocation::event(&replay(&row))).await, path, "t");
    }
    assert_eq!((stack.dynamodb.executions("t").len(), stack.agent.call_count()), (0, 0));
    stack.assert_clean();
}

#[tokio::test]
async fn a_stored_trigger_is_run_now() {
    let stack = stack().await;
    // Whatever it waits for.
    let config = json!({"eventSourceId": SOURCE_ID, "eventPattern": {"detail": {"amount": [7]}},
        "condition": {"field": "detail.amount", "operator": "eq", "value": 7},
        "threshold": {"count": 5, "windowSeconds": 60}});
    subscribe(&stack, "t", json!({"eventConfig": config}));
    subscribe(
        &stack,
        "not-subscribed",
        json!({"GSI2PK": null, "GSI2SK": null, "eventConfig": null, "type": "schedule"}),
    );
    let function = stack.function(&[]).await;
    for id in ["t", "not-subscribed"] {
        let command = run_now(id);
        let outcome = function.invoke(Invocation::event(&command)).await;
        let row = execution(&stack, id);
        assert_completed(&outcome, &row);
        assert_eq!((&row["eventId"], &row["detailType"]), (&command["id"], &json!("Run Trigger")));
        assert_duplicate(&function.invoke(Invocation::event(&command)).await, &row);
        let trigger = stack.dynamodb.item(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{id}")).unwrap();
        assert_eq!(trigger["lastExecutedAt"], row["startedAt"]);
        let prompt = stack.agent.calls().pop().unwrap().field("prompt").to_owned();
        assert!(prompt.starts_with(PROMPT) && prompt.contains("detail-type: \"Run Trigger\""), "{prompt}");
    }
    assert!(function.invoke(Invocation::event(&run_now("t"))).await.is_success());
    assert_eq!((stack.dynamodb.executions("t").len(), stack.agent.call_count()), (2, 3));
    assert_eq!((stack.dynamodb.count("Query"), stack.dynamodb.count("TransactWriteItems")), (0, 0));
    stack.assert_clean();
}

#[tokio::test]
async fn a_trigger_that_cannot_be_run_now_is_not() {
    let stack = stack().await;
    subscribe(&stack, "off", json!({"enabled": false}));
    subscribe(&stack, "broken", json!({"agentId": null}));
    subscribe(&stack, "of-another", json!({"PK": "TRIGGER#user-2", "userId": "user-2"}));
    let function = stack.function(&[]).await;
    for id in ["missing", "of-another", "a#b"] {
        assert_unknown(&run(&function, &run_now(id)).await, "$.detail.triggerId", id);
    }
    let outcome = run(&function, &run_now("off")).await;
    let row = execution(&stack, "off");
    assert_skipped(&row, "Disabled");
    assert_eq!((&outcome.body()["status"], &outcome.body()["skipReason"]), (&json!("skipped"), &json!("Disabled")));
    let outcome = run(&function, &run_now("broken")).await;
    assert_failed(&outcome, &execution(&stack, "broken"), "InvalidTrigger", false);
    assert_eq!((stack.agent.requests().len(), stack.dynamodb.scan().len()), (0, 5));
    stack.assert_clean();
}

async fn run(function: &Lambda, event: &Value) -> Outcome {
    function.invoke(Invocation::event(event)).await
}

#[tokio::test]
async fn commands_are_those_of_the_projects_own_source() {
    let stack = stack().await;
    subscribe(&stack, "t", json!({}));
    let function = stack.function(&[]).await;
    // From another source they are events as any other.
    for detail_type in ["Run Trigger", "Replay Execution", "Execution Status Change"] {
        let event = order_with(json!({"detail-type": detail_type, "detail": {"triggerId": "other", "userId": "u",
            "executionId": "e", "completedAt": TIME, "chainDepth": 100}}));
        let outcome = run(&function, &event).await;
        assert_eq!(outcome.body()["triggerId"], "t", "{outcome:?}");
    }
    assert!(stack.dynamodb.executions("t").iter().all(|row| row.get("follows").or(row.get("chainDepth")).is_none()));
    stack.assert_clean();
}
