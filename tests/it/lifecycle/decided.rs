//! Answers that are decided while their agent keeps the connection open: usage may follow, and nothing that happens in the
//! wait for it changes the outcome.

use std::time::Duration;

use serde_json::{Value, json};
use standins::{Lambda, Outcome, Script, Stack, Step};

use crate::support::one_fire::{PROMPT, TRIGGER, short_lease};
use crate::support::stored::{assert_completed, cancel, execution_at, fire_at, store, update, wait_for};
use crate::support::{self, changed, scaled, stack};

/// The last chunk of an answer, behind which usage may follow. The agent sends comments instead, for ever.
fn kept_open() -> Script {
    let choice = json!({"index": 0, "delta": {"content": "three files"}, "finish_reason": "stop"});
    let last = json!({"object": "chat.completion.chunk", "choices": [choice]});
    let comment = vec![Step::Sleep(Duration::from_millis(100)), Step::Bytes(": working\n\n".into())];
    let last = Step::Bytes(format!("data: {last}\n\n").into());
    Script::ok("text/event-stream", [last, Step::Forever(comment)])
}

/// The stand-ins around a stored trigger whose agent keeps its answers open.
async fn stack_of(attributes: Value) -> Stack {
    let stack = stack().await;
    store(&stack, attributes);
    stack.agent.default(kept_open());
    stack
}

/// Runs a fire, and lets this befall it once its answer is decided.
async fn befallen(attributes: Value, then: impl FnOnce(&Stack, &Lambda)) -> (Stack, Outcome) {
    let stack = stack_of(attributes).await;
    let function = stack.function(&[short_lease()]).await;
    let befall = async {
        wait_for(&stack, 0, |row| row["events"] == 1).await;
        then(&stack, &function);
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire_at(0)), befall);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
    (stack, outcome)
}

#[tokio::test]
async fn f66_an_answer_that_is_kept_open_is_not_read_for_ever() {
    let stack = stack_of(json!({})).await;
    let outcome = stack.function(&[short_lease()]).await.invoke(fire_at(0)).await;
    assert_completed(&stack, 0, &outcome);
    stack.assert_clean();
}

#[tokio::test]
async fn f66_a_cancel_once_the_answer_is_decided_changes_nothing() {
    let (stack, outcome) = befallen(json!({}), |stack, _| cancel(stack, 0)).await;
    assert_completed(&stack, 0, &outcome);
}

#[tokio::test]
async fn f66_a_run_lock_that_is_lost_once_the_answer_is_decided_changes_nothing() {
    let (stack, outcome) = befallen(json!({"overlap": "skip"}), |stack, _| {
        let lock = json!({"executionId": "another", "owner": "another", "leaseUntil": support::now_millis() + 60_000});
        stack.dynamodb.update(&format!("TRIGGER#{TRIGGER}"), "RUNNING#user-1", &lock);
    })
    .await;
    assert_completed(&stack, 0, &outcome);
}

#[tokio::test]
async fn f66_sigterm_once_the_answer_is_decided_changes_nothing() {
    let (stack, outcome) = befallen(json!({}), |_, function| function.process.terminate()).await;
    assert_completed(&stack, 0, &outcome);
}

#[tokio::test]
async fn f66_the_triggers_time_limit_once_the_answer_is_decided_changes_nothing() {
    let (stack, outcome) = befallen(json!({"timeoutSeconds": 1 + support::factor()}), |_, _| {}).await;
    assert_completed(&stack, 0, &outcome);
}

#[tokio::test]
async fn f66_the_deadline_once_the_answer_is_decided_changes_nothing() {
    let stack = stack().await;
    store(&stack, json!({}));
    // The answer comes when less is left until the deadline than the wait for usage takes.
    stack.agent.default(kept_open().before_head(Step::Sleep(scaled(3_500))));
    let outcome = stack.function(&[short_lease()]).await.invoke(fire_at(0).timeout(scaled(5_200))).await;
    assert_completed(&stack, 0, &outcome);
    stack.assert_clean();
}

#[tokio::test]
async fn f66_what_another_attempt_owns_once_the_answer_is_decided_is_not_written() {
    let others = json!({"owner": "another", "attempt": 2, "leaseUntil": support::now_millis() + 60_000});
    let (stack, outcome) = befallen(json!({}), |stack, _| update(stack, 0, &others)).await;
    assert_eq!(outcome.error_type(), "LeaseLost", "{outcome:?}");
    let row = execution_at(&stack, 0);
    assert_eq!(row["status"], "running");
    assert_eq!(changed(row.clone(), others), row);
    assert!(!outcome.body().to_string().contains(PROMPT));
}
