//! Writes that harm nothing: when one of them hangs or is refused, the outcome of an answer that was read is kept.

use serde_json::{Value, json};
use standins::{Fault, Gate, Invocation, Rule, Stack};

use crate::support::one_fire::{TRIGGER, short_lease};
use crate::support::stored::{USER, assert_completed, execution_at, fire_at, store, trigger};
use crate::support::subscribed::{order, subscribe};
use crate::support::{self, LIMIT, execution, gated, scaled, stack};

const TOUCH: &str = "lastExecutedAt";

/// The faults of a write that harms nothing.
fn faults() -> [Fault; 4] {
    [Fault::Hang, Fault::Deny, Fault::Throttle, Fault::ApplyThenHang]
}

/// A stored trigger whose `lastExecutedAt` cannot be set.
async fn untouchable(attributes: Value, fault: Fault) -> Stack {
    let stack = stack().await;
    store(&stack, attributes);
    stack.dynamodb.inject(Rule::new("UpdateItem", fault).containing(TOUCH));
    stack
}

#[tokio::test]
async fn f66_a_completed_run_outlives_its_triggers_time_limit() {
    for fault in faults() {
        let stack = untouchable(json!({"timeoutSeconds": 1 + support::factor()}), fault).await;
        let outcome = stack.function(&[short_lease()]).await.invoke(fire_at(0)).await;
        assert_completed(&stack, 0, &outcome);
        stack.assert_clean();
    }
}

/// Lets the agent answer, and then, while the write hangs, lets this befall the run. It must not be read any more.
async fn completes_though(attributes: Value, then: impl FnOnce(&Stack)) {
    let stack = untouchable(attributes, Fault::Hang).await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let function = stack.function(&[short_lease()]).await;
    let befall = async {
        gate.reached().await;
        gate.release();
        // The answer is read within this time, and the write hangs for longer.
        tokio::time::sleep(scaled(1_000)).await;
        then(&stack);
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire_at(0)), befall);
    assert_completed(&stack, 0, &outcome);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f66_a_cancel_after_the_answer_changes_nothing() {
    completes_though(json!({}), |stack| {
        let row = execution_at(stack, 0);
        let is_cancelled = stack.dynamodb.request_cancel(row["PK"].as_str().unwrap(), row["SK"].as_str().unwrap());
        assert!(!is_cancelled, "the end does not wait for the write: {row:#}");
    })
    .await;
}

#[tokio::test]
async fn f66_a_run_lock_that_is_lost_after_the_answer_changes_nothing() {
    completes_though(json!({"overlap": "skip"}), |stack| {
        let lock = json!({"executionId": "another", "owner": "another", "leaseUntil": support::now_millis() + 60_000});
        stack.dynamodb.update(&format!("TRIGGER#{TRIGGER}"), "RUNNING#user-1", &lock);
    })
    .await;
}

#[tokio::test]
async fn f66_a_run_lock_that_is_lost_while_the_end_is_written_changes_nothing() {
    let stack = stack().await;
    store(&stack, json!({"overlap": "skip"}));
    let denied = stack.dynamodb.inject(Rule::new("UpdateItem", Fault::Deny).containing(support::FINISH));
    let function = stack.function(&[short_lease()]).await;
    let befall = async {
        stack.agent.wait_until("the end of its answer", |calls| calls.first().is_some_and(|call| call.finished)).await;
        let lock = json!({"executionId": "another", "owner": "another", "leaseUntil": support::now_millis() + 60_000});
        stack.dynamodb.update(&format!("TRIGGER#{TRIGGER}"), "RUNNING#user-1", &lock);
        // Several heartbeats find that out, and a lease's time passes.
        tokio::time::sleep(scaled(2_000)).await;
        let until = execution_at(&stack, 0)["leaseUntil"].as_i64().unwrap();
        assert!(support::now_millis() <= until + support::skew(1), "nobody holds the lease");
        denied.remove();
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire_at(0)), befall);
    assert_completed(&stack, 0, &outcome);
    assert!(denied.hits() > 0);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f66_the_deadline_after_the_answer_changes_nothing() {
    let stack = untouchable(json!({}), Fault::Hang).await;
    let function = stack.function(&[short_lease()]).await;
    let outcome = function.invoke(fire_at(0).timeout(scaled(5_200))).await;
    assert_completed(&stack, 0, &outcome);
    stack.assert_clean();
}

#[tokio::test]
async fn f66_an_input_that_cannot_be_kept_changes_nothing() {
    for fault in faults() {
        let stack = stack().await;
        subscribe(&stack, TRIGGER, json!({}));
        let hanging = stack.dynamodb.inject(Rule::new("PutItem", fault).containing("INPUT#"));
        let outcome = stack.function(&[short_lease()]).await.invoke(Invocation::event(&order())).await;
        support::assert_completed(&outcome, &execution(&stack, TRIGGER));
        assert!(hanging.hits() > 0);
        stack.assert_clean();
    }
}

/// Runs a fire whose end is written in a transaction with its trigger's health or tokens, while those cannot be written.
async fn ends_though_uncounted(attributes: Value, fault: Fault) -> (Stack, Value) {
    let stack = stack().await;
    store(&stack, attributes);
    stack.dynamodb.inject(Rule::new("TransactWriteItems", fault).containing(support::FINISH));
    let function = stack.function(&[short_lease()]).await;
    let outcome = function.invoke(fire_at(0)).await;
    let row = assert_completed(&stack, 0, &outcome);
    let metrics = support::emf::all_metrics(function).await;
    assert_eq!(metrics[0]["LeftOut"], 1, "{metrics:#?}");
    stack.assert_clean();
    (stack, row)
}

#[tokio::test]
async fn f66_an_end_does_not_hang_on_its_triggers_health() {
    for fault in [Fault::Hang, Fault::Deny] {
        let (stack, row) = ends_though_uncounted(json!({"health": "failing", "failures": 2}), fault).await;
        assert_eq!((&trigger(&stack)["health"], &trigger(&stack)["failures"]), (&json!("failing"), &json!(2)));
        support::assert_absent(&row, &["stored"]);
    }
}

#[tokio::test]
async fn f66_an_end_does_not_hang_on_its_triggers_counters() {
    let (stack, _) = ends_though_uncounted(json!({"maxTokensPerDay": 1_000_000}), Fault::Hang).await;
    let day = crate::support::stored::item(&stack, "DAY#");
    assert_eq!(day.get("tokens"), None, "{day:#}");
}

#[tokio::test]
async fn f66_an_end_is_written_before_the_table_answers_about_the_trigger() {
    // The item could not be read at the start, and cannot be read for the end either.
    let stack = stack().await;
    store(&stack, json!({}));
    let read = format!(r#""PK":{{"S":"TRIGGER#{USER}"}}"#);
    stack.dynamodb.inject(Rule::new("GetItem", Fault::Hang).containing(&read));
    let function = stack.function(&[short_lease()]).await;
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let outcome = tokio::time::timeout(LIMIT, function.invoke(fire_at(0))).await.expect("it ends");
        kinds.push((outcome.error_type().to_owned(), execution_at(&stack, 0)["retryable"] == true));
    }
    let expected = [true, true, false].map(|retryable| ("RecordStoreFailed".to_owned(), retryable));
    assert_eq!(kinds, expected);
    assert_eq!(execution_at(&stack, 0)["status"], "failed");
    stack.assert_clean();
}
