//! Executions that a person cancels.

use std::time::Duration;

use serde_json::{Value, json};
use standins::{Gate, Outcome, Script, Stack};

use crate::support::one_fire::{
    TRIGGER, assert_completed, assert_duplicate, assert_failed, dead_in_mid_stream, delivery, execution, fire,
    short_lease, update,
};
use crate::support::{LIMIT, gated, now_millis, stack};

fn assert_cancelled(stack: &Stack, outcome: &Outcome) -> Value {
    let (record, body) = (execution(stack), outcome.body());
    assert!(outcome.is_success(), "{outcome:#?}");
    assert_eq!((&body["success"], &body["status"]), (&json!(true), &json!("cancelled")), "{body}");
    assert_eq!(body["executionId"], record["executionId"]);
    assert_eq!(record["status"], "cancelled", "{record:#?}");
    assert!(record["completedAt"].is_string());
    record
}

#[tokio::test]
async fn f48_cancelled_before_its_retry_is_not_run() {
    let stack = stack().await;
    stack.agent.default(Script::status(429, "busy"));
    let function = stack.function(&[short_lease()]).await;
    let outcome = function.invoke(delivery(false)).await;
    assert_failed(&stack, &outcome, "AgentUnavailable", true);
    let calls = stack.agent.call_count();
    update(&stack, &json!({"cancelRequested": true}));
    let outcome = function.invoke(delivery(false)).await;
    let record = assert_cancelled(&stack, &outcome);
    let outcome = function.invoke(delivery(false)).await;
    assert_duplicate(&stack, &outcome, "cancelled");
    assert_eq!(execution(&stack), record);
    assert_eq!(stack.agent.call_count(), calls, "no call after the cancellation");
    stack.assert_clean();
}

#[tokio::test]
async fn f48_cancelled_after_its_attempt_died_is_not_rerun() {
    for rerun in [false, true] {
        let stack = stack().await;
        dead_in_mid_stream(&stack, false).await;
        update(&stack, &json!({"cancelRequested": true, "leaseUntil": now_millis() - 60_000}));
        let outcome = stack.function(&[short_lease()]).await.invoke(delivery(rerun)).await;
        assert_cancelled(&stack, &outcome);
        assert_eq!(stack.agent.call_count(), 1);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f48_cancelled_while_it_runs_ends_with_the_next_heartbeat() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let function = stack.function(&[short_lease()]).await;
    let cancel = async {
        gate.reached().await;
        update(&stack, &json!({"cancelRequested": true}));
        let beats = stack.dynamodb.count("UpdateItem");
        stack.agent.wait_until("the client's leaving", |calls| calls[0].client_left).await;
        beats
    };
    let (outcome, beats) = tokio::join!(function.invoke(delivery(false)), cancel);
    let record = assert_cancelled(&stack, &outcome);
    assert!(record["events"].as_u64().unwrap() > 0, "how far it came is recorded: {record:#?}");
    assert_eq!(stack.dynamodb.count("UpdateItem"), beats + 2, "one heartbeat, and the end");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f48_cancelled_after_the_end_is_unchanged() {
    let stack = stack().await;
    let function = stack.function(&[short_lease()]).await;
    let outcome = function.invoke(delivery(false)).await;
    assert_completed(&stack, &outcome);
    update(&stack, &json!({"cancelRequested": true}));
    let record = execution(&stack);
    let outcome = function.invoke(delivery(false)).await;
    assert_duplicate(&stack, &outcome, "completed");
    assert_eq!(execution(&stack), record);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn s6_progress_shows_while_it_runs_and_a_cancel_ends_it_with_the_next_heartbeat() {
    let stack = stack().await;
    stack.agent.default(Script::endless(Duration::from_millis(20)));
    let function = stack.function(&[short_lease()]).await;
    let events = |row: &Value| row["events"].as_u64().unwrap_or_default();
    let watch = async {
        let first = stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, |row| events(row) > 0).await;
        let later = stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, |row| events(row) > events(&first)).await;
        for row in [&first, &later] {
            assert_eq!((&row["status"], row["bytes"].is_number()), (&json!("running"), true), "{row:#}");
        }
        assert!(later["lastEventAt"].as_str() > first["lastEventAt"].as_str(), "from {first:#} to {later:#}");
        assert!(later["leaseUntil"].as_i64() > first["leaseUntil"].as_i64(), "from {first:#} to {later:#}");
        let key = |name: &str| later[name].as_str().unwrap().to_owned();
        assert!(stack.dynamodb.request_cancel(&key("PK"), &key("SK")));
        stack.dynamodb.clear_requests();
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire()), watch);
    let record = assert_cancelled(&stack, &outcome);
    assert!(events(&record) > 0 && record["lastEventAt"].is_string(), "{record:#}");
    // The heartbeat that learned of it and the end; one more may have been on its way.
    assert!(stack.dynamodb.count("UpdateItem") <= 3);
    stack.assert_clean();
}
