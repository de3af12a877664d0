//! Faults around the write that finishes an execution and counts its result: it is counted once, and never not at all.

use std::time::Duration;

use serde_json::{Value, json};
use standins::{Fault, Gate, Rule, Script, Stack};

use crate::support::one_fire::assert_error;
use crate::support::stored::{
    assert_completed, assert_failed, assert_health, assert_no_health, broken, delete, edit, execution_at, fire_at,
    hold_finish, long_lease, trigger, update, wait_for,
};
use crate::support::{FINISH, LIMIT, killed_when, now_millis, scaled, skew};
use crate::trigger::health::start;

/// What stands in the request that reads the trigger.
const READ: &str = r#""PK":{"S":"TRIGGER#user-1"}"#;

fn transactions(fault: Fault) -> Rule {
    Rule::new("TransactWriteItems", fault).containing(FINISH)
}

/// Fails for good and must count once, while these faults befall the write that says so.
async fn a_failure_counts_once(rule: Rule) -> usize {
    let (stack, function) = start(json!({"health": "failing", "failures": 2})).await;
    stack.agent.queue(broken());
    let faults = stack.dynamodb.inject(rule.clone());
    let outcome = function.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &outcome, ("AgentFailed", false));
    assert_eq!((&trigger(&stack)["failures"], &trigger(&stack)["health"]), (&json!(3), &json!("failing")));
    // And so must the recovery.
    faults.remove();
    let faults_of_recovery = stack.dynamodb.inject(rule);
    let outcome = function.invoke(fire_at(1)).await;
    assert_completed(&stack, 1, &outcome);
    assert_health(&stack, "ok", 0, true);
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
    assert_eq!(faults.hits(), faults_of_recovery.hits());
    faults.hits()
}

#[tokio::test]
async fn a_finish_whose_answer_is_cut_off_counts_once() {
    assert_eq!(a_failure_counts_once(transactions(Fault::ApplyThenLose).once()).await, 1);
}

#[tokio::test]
async fn a_finish_whose_answer_never_comes_counts_once() {
    assert_eq!(a_failure_counts_once(transactions(Fault::ApplyThenHang).once()).await, 1);
}

#[tokio::test]
async fn a_finish_whose_answers_are_lost_beyond_the_sdks_retries_is_known_as_own() {
    // Six tries share a token, by which DynamoDB knows them; the seventh has one of its own.
    assert_eq!(a_failure_counts_once(transactions(Fault::ApplyThenLose).times(6)).await, 6);
}

#[tokio::test]
async fn a_finish_whose_answers_never_come_is_known_as_own() {
    let (stack, function) = start(json!({})).await;
    stack.agent.queue(broken());
    let hanging = stack.dynamodb.inject(transactions(Fault::ApplyThenHang));
    let watch = async {
        wait_for(&stack, 0, |row| row["status"] == "failed").await;
        while hanging.hits() < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        hanging.remove();
    };
    let (outcome, watched) = tokio::join!(function.invoke(fire_at(0)), tokio::time::timeout(LIMIT, watch));
    watched.expect("it is tried again and again");
    assert_failed(&stack, 0, &outcome, ("AgentFailed", false));
    assert_health(&stack, "failing", 1, true);
    stack.assert_clean();
}

#[tokio::test]
async fn a_finish_that_meets_other_transactions_counts_once() {
    // More often than the store is asked for anything else.
    assert_eq!(a_failure_counts_once(transactions(Fault::Conflict).times(12)).await, 12);
}

#[tokio::test]
async fn a_finish_that_is_throttled_counts_once() {
    assert_eq!(a_failure_counts_once(transactions(Fault::Throttle).times(8)).await, 8);
}

/// Somebody changes the trigger between what was seen of it and the write that rests on it.
async fn meanwhile(before: Value, change: impl FnOnce(&Stack)) -> Stack {
    let (stack, function) = start(before).await;
    stack.agent.queue(broken());
    let gate = Gate::new();
    let held = hold_finish(&stack, &gate);
    let changing = async {
        gate.reached().await;
        change(&stack);
        gate.release();
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire_at(0)), changing);
    assert_failed(&stack, 0, &outcome, ("AgentFailed", false));
    assert_eq!(held.hits(), 1);
    stack.assert_clean();
    stack
}

#[tokio::test]
async fn what_others_counted_meanwhile_is_counted_on() {
    let stack = meanwhile(json!({}), |stack| edit(stack, &json!({"health": "failing", "failures": 3}))).await;
    assert_eq!(trigger(&stack)["failures"], 4);
    let stack = meanwhile(json!({}), |stack| edit(stack, &json!({"health": "failing", "failures": 4}))).await;
    assert_eq!(trigger(&stack)["failures"], 5);
    assert_eq!((&trigger(&stack)["health"], &trigger(&stack)["enabled"]), (&json!("paused"), &json!(false)));
    // A success meanwhile.
    let before = json!({"health": "failing", "failures": 4});
    let stack = meanwhile(before, |stack| edit(stack, &json!({"health": "ok", "failures": 0}))).await;
    assert_eq!((&trigger(&stack)["health"], &trigger(&stack)["failures"]), (&json!("failing"), &json!(1)));
}

#[tokio::test]
async fn f62_what_a_person_edited_meanwhile_stays() {
    let before = json!({"health": "failing", "failures": 4, "enabled": true});
    let stack = meanwhile(before.clone(), |stack| edit(stack, &json!({"enabled": false, "name": "Renamed"}))).await;
    let item = trigger(&stack);
    assert_eq!((&item["enabled"], &item["name"], &item["failures"]), (&json!(false), &json!("Renamed"), &json!(5)));
    assert_eq!((&item["health"], item.get("pausedAt")), (&json!("failing"), None), "a person switched it off");
    // The policy as it is by then.
    let never = json!({"pauseAfterFailures": 0, "failures": 9});
    let stack = meanwhile(before, |stack| edit(stack, &never)).await;
    let item = trigger(&stack);
    assert_eq!((&item["enabled"], &item["failures"], &item["health"]), (&json!(true), &json!(10), &json!("failing")));
}

#[tokio::test]
async fn f62_a_trigger_deleted_at_that_very_moment_is_not_made_again() {
    let stack = meanwhile(json!({}), delete).await;
    assert_eq!(trigger(&stack), Value::Null);
}

/// A run is killed while its finish waits at the gate.
async fn killed_at_its_finish(fault: Fault, gate: &Gate) -> Stack {
    let (stack, function) = start(json!({})).await;
    stack.agent.queue(broken());
    stack.dynamodb.inject(transactions(fault).once());
    killed_when(gate.reached(), &function, fire_at(0)).await;
    stack
}

#[tokio::test]
async fn a_run_killed_before_its_finish_counts_as_interrupted() {
    let gate = Gate::new();
    let stack = killed_at_its_finish(Fault::GateBefore(gate.clone()), &gate).await;
    assert_no_health(&stack);
    update(&stack, 0, &json!({"leaseUntil": now_millis() - 60_000}));
    let function = stack.function(&[long_lease()]).await;
    let retry = function.invoke(fire_at(0)).await;
    let row = assert_failed(&stack, 0, &retry, ("Interrupted", false));
    let item = assert_health(&stack, "failing", 1, true);
    // Its finish arrives after all: of a transaction nothing is written, or all.
    gate.release();
    let again = function.invoke(fire_at(0)).await;
    assert_eq!((again, execution_at(&stack, 0), trigger(&stack)), (retry, row, item));
    stack.assert_clean();
}

#[tokio::test]
async fn a_finish_that_arrives_after_its_run_was_killed_counts_once() {
    let gate = Gate::new();
    let stack = killed_at_its_finish(Fault::GateBefore(gate.clone()), &gate).await;
    gate.release();
    let row = wait_for(&stack, 0, |row| row["status"] == "failed").await;
    let retry = stack.function(&[long_lease()]).await.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &retry, ("AgentFailed", false));
    assert_eq!(execution_at(&stack, 0), row);
    assert_health(&stack, "failing", 1, true);
    stack.assert_clean();
}

#[tokio::test]
async fn a_run_killed_after_its_finish_counts_once() {
    let gate = Gate::new();
    let stack = killed_at_its_finish(Fault::GateAfter(gate.clone()), &gate).await;
    let item = assert_health(&stack, "failing", 1, true);
    let retry = stack.function(&[long_lease()]).await.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &retry, ("AgentFailed", false));
    assert_eq!(trigger(&stack), item);
    stack.assert_clean();
}

#[tokio::test]
async fn a_zombie_that_wakes_at_its_finish_counts_nothing() {
    let (stack, frozen) = start(json!({})).await;
    stack.agent.queue(broken());
    let gate = Gate::new();
    hold_finish(&stack, &gate);
    let take_over = async {
        gate.reached().await;
        frozen.freeze();
        wait_for(&stack, 0, |row| row["leaseUntil"].as_i64().unwrap() + skew(4) + 40 < now_millis()).await;
        let outcome = stack.function(&[long_lease()]).await.invoke(fire_at(0).request_id("another")).await;
        let row = assert_failed(&stack, 0, &outcome, ("Interrupted", false));
        let item = assert_health(&stack, "failing", 1, true);
        gate.release();
        frozen.thaw();
        (row, item)
    };
    let (lost, (row, item)) = tokio::join!(frozen.invoke(fire_at(0)), take_over);
    assert_error(&lost, "LeaseLost", false);
    assert_eq!((execution_at(&stack, 0), trigger(&stack)), (row, item));
    stack.assert_clean();
}

#[tokio::test]
async fn f62_a_finish_that_is_impossible_with_its_trigger_is_written_alone() {
    let (stack, function) = start(json!({})).await;
    stack.agent.queue(broken());
    let failing = stack.dynamodb.inject(transactions(Fault::Throttle));
    let outcome = function.invoke(fire_at(0).timeout(scaled(8_000))).await;
    let row = assert_failed(&stack, 0, &outcome, ("AgentFailed", false));
    assert!(failing.hits() > 6, "it is tried again, not {} times", failing.hits());
    assert_no_health(&stack);
    failing.remove();
    let retry = function.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &retry, ("AgentFailed", false));
    assert_eq!(execution_at(&stack, 0), row);
    stack.assert_clean();
}

#[tokio::test]
async fn a_failure_before_the_trigger_was_read_counts_once_it_can_be_read() {
    let (stack, function) = start(json!({})).await;
    let unread = stack.dynamodb.inject(Rule::new("GetItem", Fault::Deny).containing(READ));
    for _ in 0..2 {
        let outcome = function.invoke(fire_at(0)).await;
        assert_failed(&stack, 0, &outcome, ("RecordStoreFailed", true));
    }
    let hits = unread.hits();
    let heal = async {
        // Its own look, and those of its finish.
        while unread.hits() < hits + 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(execution_at(&stack, 0)["status"], "running", "it is not finished uncounted");
        unread.remove();
    };
    let (outcome, healed) = tokio::join!(function.invoke(fire_at(0)), tokio::time::timeout(LIMIT, heal));
    healed.expect("it looks again and again");
    assert_failed(&stack, 0, &outcome, ("RecordStoreFailed", false));
    assert_health(&stack, "failing", 1, true);
    assert_eq!(stack.agent.call_count(), 0);
    stack.assert_clean();
}

#[tokio::test]
async fn f62_a_failure_whose_trigger_can_never_be_read_is_written_alone() {
    let (stack, function) = start(json!({})).await;
    let unread = stack.dynamodb.inject(Rule::new("GetItem", Fault::Deny).containing(READ));
    for _ in 0..2 {
        let outcome = function.invoke(fire_at(0)).await;
        assert_failed(&stack, 0, &outcome, ("RecordStoreFailed", true));
    }
    let outcome = function.invoke(fire_at(0).timeout(scaled(8_000))).await;
    assert_failed(&stack, 0, &outcome, ("RecordStoreFailed", false));
    unread.remove();
    assert_no_health(&stack);
    stack.assert_clean();
}

#[tokio::test]
async fn a_last_attempt_whose_claim_is_taken_back_counts_once() {
    let (stack, function) = start(json!({})).await;
    stack.agent.default(Script::status(429, "busy"));
    for _ in 0..2 {
        let outcome = function.invoke(fire_at(0)).await;
        assert_failed(&stack, 0, &outcome, ("AgentUnavailable", true));
    }
    // The first try is refused, and shows the row that the second one claims.
    let claims = Rule::new("PutItem", Fault::ApplyThenLose).containing("\"running\"");
    let lost = stack.dynamodb.inject(claims.after(1));
    let outcome = function.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &outcome, ("RecordStoreFailed", false));
    lost.remove();
    assert_health(&stack, "failing", 1, true);
    let again = function.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &again, ("RecordStoreFailed", false));
    assert_health(&stack, "failing", 1, true);
    assert_eq!(stack.agent.call_count(), 6);
    stack.assert_clean();
}
