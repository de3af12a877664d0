//! The item of the trigger that fires: what a run writes to it, and what its faults do to a run.

use serde_json::{Value, json};
use standins::{Fault, Gate, Invocation, Rule, Stack};

use crate::support::one_fire::{assert_completed, assert_failed, fire};
use crate::support::{scaled, stack};

const TRIGGER_ITEM: (&str, &str) = ("TRIGGER#user-1", "TRIGGER#trigger-1");
/// What stands in the request that tells it of a run.
const TOUCH: &str = "#lastExecutedAt";

fn put_trigger(stack: &Stack) -> Value {
    let trigger = json!({"PK": TRIGGER_ITEM.0, "SK": TRIGGER_ITEM.1, "name": "nightly", "lastExecutedAt": "never"});
    stack.dynamodb.put_item(&trigger);
    trigger
}

fn trigger(stack: &Stack) -> Option<Value> {
    stack.dynamodb.item(TRIGGER_ITEM.0, TRIGGER_ITEM.1)
}

#[tokio::test]
async fn f42_absent_trigger_item_is_not_created() {
    let stack = stack().await;
    let outcome = stack.function(&[]).await.invoke(fire()).await;
    assert_completed(&stack, &outcome);
    assert_eq!(trigger(&stack), None);
    let counts = ["PutItem", "UpdateItem", "GetItem"].map(|operation| stack.dynamodb.count(operation));
    assert_eq!(counts, [1, 1, 1], "a short run costs two writes and one read");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f42_present_trigger_item_learns_when_it_ran() {
    let stack = stack().await;
    let mut expected = put_trigger(&stack);
    let outcome = stack.function(&[]).await.invoke(fire()).await;
    let record = assert_completed(&stack, &outcome);
    expected["lastExecutedAt"] = record["startedAt"].clone();
    assert_eq!(trigger(&stack), Some(expected));
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f42_trigger_item_deleted_in_the_meantime_is_not_created_again() {
    let stack = stack().await;
    put_trigger(&stack);
    let gate = Gate::new();
    stack.dynamodb.inject(Rule::new("UpdateItem", Fault::GateBefore(gate.clone())).containing(TOUCH));
    let function = stack.function(&[]).await;
    let delete = async {
        gate.reached().await;
        stack.dynamodb.delete(TRIGGER_ITEM.0, TRIGGER_ITEM.1);
        gate.release();
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire()), delete);
    assert_completed(&stack, &outcome);
    assert_eq!(trigger(&stack), None);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

async fn trigger_item_that_fails_harms_nothing(rule: Rule, invocation: Invocation) {
    let stack = stack().await;
    let expected = put_trigger(&stack);
    let failed = stack.dynamodb.inject(rule);
    let outcome = stack.function(&[]).await.invoke(invocation).await;
    assert_completed(&stack, &outcome);
    assert!(failed.hits() >= 1);
    assert_eq!(trigger(&stack), Some(expected));
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f42_denied_update_of_the_trigger_item_harms_nothing() {
    trigger_item_that_fails_harms_nothing(Rule::new("UpdateItem", Fault::Deny).containing(TOUCH), fire()).await;
}

#[tokio::test]
async fn f42_hanging_update_of_the_trigger_item_harms_nothing_even_when_time_is_short() {
    let hanging = Rule::new("UpdateItem", Fault::Hang).containing(TOUCH);
    trigger_item_that_fails_harms_nothing(hanging, fire().timeout(scaled(5_400))).await;
}

#[tokio::test]
async fn f42_a_trigger_that_may_be_switched_off_does_not_run_unseen() {
    let stack = stack().await;
    let denied = stack.dynamodb.inject(Rule::new("GetItem", Fault::Deny));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire().request_id("request-1")).await;
    assert_failed(&stack, &outcome, "RecordStoreFailed", true);
    assert_eq!(stack.agent.call_count(), 0);
    denied.remove();
    let outcome = function.invoke(fire().request_id("request-1")).await;
    assert_completed(&stack, &outcome);
    stack.assert_clean();
}
