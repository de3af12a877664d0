//! `stored: true`: the trigger item alone says what a schedule runs.

use serde_json::{Value, json};
use standins::{Fault, Invocation, Rule, Stack};

use crate::support::one_fire::TRIGGER;
use crate::support::stored::{
    USER, assert_completed, assert_skipped, delete, edit, execution_at, item, store, time_of, trigger,
};
use crate::support::{all_logs, assert_absent, assert_failed, stack};

const STORED_PROMPT: &str = "Count the stored files";

/// The fire that carries ids only, as the control plane writes it into a schedule.
fn fire_at(minute: u32) -> Invocation {
    fire_with(minute, &json!({}))
}

fn fire_with(minute: u32, fields: &Value) -> Invocation {
    let mut event = json!({"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail":
        {"triggerId": TRIGGER, "userId": USER, "stored": true, "scheduledTime": time_of(minute)}});
    event["detail"].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Invocation::event(&event).request_id(format!("request-{minute}"))
}

fn full() -> Value {
    json!({"type": "schedule", "agentId": "stored-agent", "prompt": STORED_PROMPT, "modelId": "stored-model",
        "sessionId": "session-of-the-item", "workingDirectory": "/stored", "enabledTools": ["stored-tool"],
        "reasoningEffort": "high", "input": {"budget": 2}, "enabled": true})
}

#[tokio::test]
async fn the_item_alone_says_what_runs() {
    let stack = stack().await;
    store(&stack, full());
    let function = stack.function(&[]).await;
    // An old copy in the event counts for nothing, not even where the item is silent or the copy is wrong.
    let copy = json!({"agentId": "event-agent", "prompt": 7, "sessionId": "session-of-the-event", "input": []});
    for (minute, fields) in [(0, json!({})), (1, copy)] {
        let outcome = function.invoke(fire_with(minute, &fields)).await;
        let row = assert_completed(&stack, minute, &outcome);
        assert_eq!(
            stack.agent.calls()[minute as usize].body,
            json!({"prompt": STORED_PROMPT, "targetUserId": USER, "agentId": "stored-agent", "modelId": "stored-model",
                "sessionId": "session-of-the-item", "enabledTools": ["stored-tool"], "storagePath": "/stored",
                "reasoningEffort": "high", "budget": 2})
        );
        assert_eq!((&row["agentId"], &row["sessionId"]), (&json!("stored-agent"), &json!("session-of-the-item")));
        assert_eq!(trigger(&stack)["lastExecutedAt"], row["startedAt"]);
    }
    stack.assert_clean();
}

#[tokio::test]
async fn what_the_item_says_changes_between_two_fires() {
    let stack = stack().await;
    store(&stack, full());
    let function = stack.function(&[]).await;
    function.invoke(fire_at(0)).await;
    edit(&stack, &json!({"prompt": "Count them again", "sessionId": null}));
    function.invoke(fire_at(1)).await;
    let calls = stack.agent.calls();
    assert_eq!(
        (&calls[0].body["prompt"], &calls[1].body["prompt"]),
        (&json!(STORED_PROMPT), &json!("Count them again"))
    );
    assert_ne!(calls[1].body["sessionId"], "session-of-the-item");
}

#[tokio::test]
async fn a_trigger_that_is_gone_or_off_is_skipped() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire_at(0)).await;
    let row = assert_skipped(&stack, 0, &outcome, "Deleted");
    assert_absent(&row, &["agentId"]);
    let mut tombstone = full();
    tombstone["deletedAt"] = json!("2026-01-02T00:00:00.000Z");
    let mut off = full();
    off["enabled"] = json!(false);
    for (minute, attributes, reason) in [(1, tombstone, "Deleted"), (2, off, "Disabled")] {
        store(&stack, attributes);
        let outcome = function.invoke(fire_at(minute)).await;
        let row = assert_skipped(&stack, minute, &outcome, reason);
        assert_eq!(row["agentId"], "stored-agent");
    }
    assert!(stack.agent.requests().is_empty());
    assert_eq!(stack.cognito.issued_tokens(), Vec::<String>::new());
}

#[tokio::test]
async fn an_item_that_is_unusable_fails_the_run_with_every_problem() {
    let stack = stack().await;
    store(&stack, json!({"agentId": 7, "sessionId": "täglich", "onInterrupted": "again", "treshold": 1}));
    let outcome = stack.function(&[]).await.invoke(fire_at(0)).await;
    let row = execution_at(&stack, 0);
    assert_failed(&outcome, &row, "InvalidTrigger", false);
    let error = row["error"].as_str().unwrap();
    for path in ["$.agentId", "$.prompt", "$.sessionId", "$.onInterrupted"] {
        assert!(error.contains(path), "{path} in {error}");
    }
    assert_eq!(trigger(&stack)["failures"], 1);
    assert!(stack.agent.requests().is_empty());
}

#[tokio::test]
async fn a_retry_after_the_trigger_was_deleted_repeats_what_ran() {
    let stack = stack().await;
    store(&stack, full());
    let function = stack.function(&[]).await;
    function.invoke(fire_at(0)).await;
    delete(&stack);
    let outcome = function.invoke(fire_at(0)).await;
    assert_eq!(outcome.body()["duplicate"], true);
    assert_eq!(execution_at(&stack, 0)["status"], "completed");
}

#[tokio::test]
async fn nothing_is_claimed_while_the_item_cannot_be_read() {
    let stack = stack().await;
    store(&stack, full());
    let rule = stack.dynamodb.inject(Rule::new("GetItem", Fault::Deny));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire_at(0)).await;
    assert_eq!(outcome.error_type(), "RecordStoreFailed");
    assert_eq!(outcome.body()["triggerId"], TRIGGER);
    assert_eq!(stack.dynamodb.executions(TRIGGER), Vec::<Value>::new());
    rule.remove();
    let outcome = function.invoke(fire_at(0)).await;
    assert_completed(&stack, 0, &outcome);
}

#[tokio::test]
async fn a_wrong_or_misspelt_flag_is_named() {
    let stack: Stack = stack().await;
    let function = stack.function(&[]).await;
    for (fields, path) in
        [(json!({"stored": "yes"}), "$.detail.stored"), (json!({"stored": null, "Stored": true}), "$.detail.Stored")]
    {
        let outcome = function.invoke(fire_with(0, &fields)).await;
        assert_eq!(outcome.error_type(), "InvalidEvent");
        let message = outcome.body()["message"].to_string();
        assert!(message.contains(path) && message.contains("$.detail.agentId"), "{message}");
    }
    all_logs(function).await;
}

#[tokio::test]
async fn the_input_of_a_failed_run_is_kept_as_the_item_said() {
    let stack = stack().await;
    store(&stack, full());
    stack.agent.queue(standins::Script::status(500, "broken"));
    stack.function(&[]).await.invoke(fire_at(0)).await;
    let kept: Value = serde_json::from_str(item(&stack, "INPUT#")["detail"].as_str().unwrap()).unwrap();
    assert_eq!((&kept["agentId"], &kept["prompt"]), (&json!("stored-agent"), &json!(STORED_PROMPT)));
}
