//! Health: what the final results of a stored trigger make of it, counted once each, and when it is paused.

use futures_util::future::join_all;
use serde_json::{Value, json};
use standins::destination::{failed_messages, notification, report, sqs_batch};
use standins::{Fault, Gate, Lambda, Outcome, Rule, Script, Stack, Step};

use crate::support::stored::{
    assert_cancelled, assert_completed, assert_failed, assert_health, assert_no_health, assert_skipped, broken, cancel,
    delete, edit, execution_at, fire_at, fire_with, long_lease, store, trigger, update, wait_for,
};
use crate::support::{assert_absent, gated, killed_when, now_millis, stack};

pub(crate) async fn start(attributes: Value) -> (Stack, Lambda) {
    let stack = stack().await;
    store(&stack, attributes);
    let function = stack.function(&[long_lease()]).await;
    (stack, function)
}

async fn fails(stack: &Stack, function: &Lambda, minute: u32) -> Value {
    stack.agent.queue(broken());
    let outcome = function.invoke(fire_at(minute)).await;
    assert_failed(stack, minute, &outcome, ("AgentFailed", false))
}

async fn succeeds(stack: &Stack, function: &Lambda, minute: u32) {
    let outcome = function.invoke(fire_at(minute)).await;
    assert_completed(stack, minute, &outcome);
}

/// Lambda gives the event of this minute up, and reports it.
async fn settle(function: &Lambda, minute: u32, last: &Outcome) -> usize {
    let body = notification(&report(&fire_at(minute), 3, last).to_string());
    failed_messages(&function.invoke(sqs_batch([("message", body.as_str())])).await).len()
}

#[tokio::test]
async fn five_failures_in_a_row_pause_and_a_success_after_it_recovers() {
    let (stack, function) = start(json!({"enabled": true})).await;
    for minute in 0..5 {
        let row = fails(&stack, &function, minute).await;
        let is_last = minute == 4;
        let item = assert_health(&stack, if is_last { "paused" } else { "failing" }, minute + 1, !is_last);
        assert_eq!(item["healthExecutionId"], row["executionId"]);
        assert_eq!(item["healthErrorType"], "AgentFailed");
        assert_eq!(Some(item["healthError"].as_str().unwrap()), row["error"].as_str().unwrap().lines().next());
        assert_eq!(item["healthSince"].as_str() >= row["completedAt"].as_str(), minute == 0 || is_last, "{item:#}");
    }
    let paused = trigger(&stack);
    assert_eq!(paused["pausedReason"], "5 failures in a row");
    assert_eq!(paused["pausedAt"], paused["healthSince"]);

    let outcome = function.invoke(fire_at(5)).await;
    assert_skipped(&stack, 5, &outcome, "Paused");
    assert_eq!((trigger(&stack), stack.agent.call_count()), (paused, 5));

    edit(&stack, &json!({"enabled": true}));
    succeeds(&stack, &function, 6).await;
    let item = assert_health(&stack, "ok", 0, true);
    assert_eq!(item["healthExecutionId"], execution_at(&stack, 6)["executionId"]);
    succeeds(&stack, &function, 7).await;
    assert_eq!(trigger(&stack)["healthSince"], item["healthSince"], "a second success changes nothing");
    stack.assert_clean();
}

#[tokio::test]
async fn duplicates_of_a_failure_count_nothing() {
    let (stack, function) = start(json!({})).await;
    for minute in 0..2 {
        fails(&stack, &function, minute).await;
        let item = trigger(&stack);
        let other = stack.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "5")]).await;
        let again = (0..10).map(|at| {
            let fire = if at % 2 == 0 { fire_at(minute) } else { fire_at(minute).request_id(format!("another-{at}")) };
            if at % 3 == 0 { &function } else { &other }.invoke(fire)
        });
        for outcome in join_all(again).await {
            assert_failed(&stack, minute, &outcome, ("AgentFailed", false));
        }
        assert_eq!(trigger(&stack), item);
        assert_health(&stack, "failing", minute + 1, true);
    }
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn a_failure_that_is_tried_again_counts_with_the_third_attempt() {
    let (stack, function) = start(json!({})).await;
    stack.agent.default(Script::status(429, "busy"));
    for attempt in 1..=3 {
        assert_no_health(&stack);
        let outcome = function.invoke(fire_at(0)).await;
        assert_failed(&stack, 0, &outcome, ("AgentUnavailable", attempt < 3));
    }
    let item = assert_health(&stack, "failing", 1, true);
    assert_eq!(item["healthErrorType"], "AgentUnavailable");
    // Settled afterwards it has been counted.
    assert_eq!(settle(&function, 0, &Outcome::Died).await, 0);
    assert_eq!(trigger(&stack), item);
    stack.assert_clean();
}

#[tokio::test]
async fn a_failure_that_is_tried_again_with_success_counts_nothing() {
    let (stack, function) = start(json!({})).await;
    (0..3).for_each(|_| stack.agent.queue(Script::status(429, "busy")));
    let outcome = function.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &outcome, ("AgentUnavailable", true));
    succeeds(&stack, &function, 0).await;
    assert_no_health(&stack);
    stack.assert_clean();
}

#[tokio::test]
async fn a_failure_nobody_tries_again_counts_once_it_is_settled() {
    let (stack, function) = start(json!({})).await;
    stack.agent.default(Script::status(429, "busy"));
    let outcome = function.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &outcome, ("AgentUnavailable", true));
    for _ in 0..2 {
        assert_eq!(settle(&function, 0, &outcome).await, 0);
        assert_eq!(execution_at(&stack, 0)["retryable"], false);
        let item = assert_health(&stack, "failing", 1, true);
        assert_eq!((&item["healthErrorType"], &item["enabled"]), (&json!("AgentUnavailable"), &Value::Null));
    }
    // As does a fire of which no attempt left a record.
    assert_eq!(settle(&function, 1, &Outcome::Died).await, 0);
    assert_eq!(execution_at(&stack, 1)["errorType"], "Internal");
    assert_health(&stack, "failing", 2, true);
    assert_eq!(settle(&function, 1, &Outcome::Died).await, 0);
    assert_health(&stack, "failing", 2, true);
    stack.assert_clean();
}

/// A run is killed in mid-stream; its lease is over.
async fn killed(stack: &Stack, minute: u32) {
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let function = stack.function(&[long_lease()]).await;
    killed_when(gate.reached(), &function, fire_at(minute)).await;
    update(stack, minute, &json!({"leaseUntil": now_millis() - 60_000}));
}

#[tokio::test]
async fn a_killed_run_counts_once_whoever_finds_it_first() {
    let (stack, function) = start(json!({})).await;
    killed(&stack, 0).await;
    assert_no_health(&stack);
    for _ in 0..2 {
        let retry = function.invoke(fire_at(0)).await;
        assert_failed(&stack, 0, &retry, ("Interrupted", false));
        assert_eq!(settle(&function, 0, &retry).await, 0);
        assert_eq!(assert_health(&stack, "failing", 1, true)["healthErrorType"], "Interrupted");
    }
    killed(&stack, 1).await;
    for _ in 0..2 {
        assert_eq!(settle(&function, 1, &Outcome::Died).await, 0);
        let retry = function.invoke(fire_at(1)).await;
        assert_failed(&stack, 1, &retry, ("Interrupted", false));
        assert_health(&stack, "failing", 2, true);
    }
    // And if both find it at once.
    killed(&stack, 2).await;
    let other = stack.function(&[long_lease()]).await;
    tokio::join!(settle(&function, 2, &Outcome::Died), other.invoke(fire_at(2)));
    assert_health(&stack, "failing", 3, true);
    stack.assert_clean();
}

#[tokio::test]
async fn a_killed_run_that_is_run_again_counts_by_its_end() {
    let (stack, function) = start(json!({})).await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let rerun = || fire_with(0, &json!({"onInterrupted": "rerun"}));
    let first = stack.function(&[long_lease()]).await;
    killed_when(gate.reached(), &first, rerun()).await;
    update(&stack, 0, &json!({"leaseUntil": now_millis() - 60_000}));
    let outcome = function.invoke(rerun()).await;
    assert_eq!(assert_completed(&stack, 0, &outcome)["attempt"], 2);
    assert_no_health(&stack);
    stack.assert_clean();
}

#[tokio::test]
async fn a_success_resets_the_count() {
    let (stack, function) = start(json!({"pauseAfterFailures": 3})).await;
    for minute in [0, 2, 4] {
        fails(&stack, &function, minute).await;
        fails(&stack, &function, minute + 10).await;
        assert_health(&stack, "failing", 2, true);
        succeeds(&stack, &function, minute + 1).await;
        assert_health(&stack, "ok", 0, true);
    }
    stack.assert_clean();
}

#[tokio::test]
async fn what_was_cancelled_or_skipped_changes_nothing() {
    let (stack, function) = start(json!({})).await;
    fails(&stack, &function, 0).await;
    let failing = trigger(&stack);
    stack.agent.queue(Script::ndjson_happy("three files").midway(Step::Hang));
    let ask = async {
        wait_for(&stack, 1, |row| row["events"].as_u64().is_some()).await;
        cancel(&stack, 1);
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire_at(1)), ask);
    assert_cancelled(&stack, 1, &outcome);
    edit(&stack, &json!({"enabled": false}));
    let outcome = function.invoke(fire_at(2)).await;
    assert_skipped(&stack, 2, &outcome, "Disabled");
    // As is one that was to be cancelled when its attempt had died.
    edit(&stack, &json!({"enabled": null}));
    killed(&stack, 3).await;
    update(&stack, 3, &json!({"cancelRequested": true}));
    assert_eq!(settle(&function, 3, &Outcome::Died).await, 0);
    assert_eq!(execution_at(&stack, 3)["status"], "cancelled");
    let mut now = trigger(&stack);
    now["lastExecutedAt"] = failing["lastExecutedAt"].clone();
    assert_eq!(now, failing);
    stack.assert_clean();
}

#[tokio::test]
async fn pausing_can_be_switched_off_or_come_at_once() {
    let (stack, function) = start(json!({"pauseAfterFailures": 0})).await;
    for minute in 0..7 {
        fails(&stack, &function, minute).await;
    }
    assert_health(&stack, "failing", 7, true);

    let (stack, function) = start(json!({"pauseAfterFailures": 1})).await;
    fails(&stack, &function, 0).await;
    assert_health(&stack, "paused", 1, false);
    let outcome = function.invoke(fire_at(1)).await;
    assert_skipped(&stack, 1, &outcome, "Paused");
    stack.assert_clean();
}

#[tokio::test]
async fn an_invalid_trigger_is_a_failing_one() {
    let (stack, function) = start(json!({"overlap": "queue", "pauseAfterFailures": 2})).await;
    for minute in 0..2 {
        let outcome = function.invoke(fire_at(minute)).await;
        assert_failed(&stack, minute, &outcome, ("InvalidTrigger", false));
    }
    assert_eq!(assert_health(&stack, "paused", 2, false)["healthErrorType"], "InvalidTrigger");
    let outcome = function.invoke(fire_at(2)).await;
    assert_skipped(&stack, 2, &outcome, "Paused");
    stack.assert_clean();
}

#[tokio::test]
async fn concurrent_failures_count_each_exactly_once() {
    for attributes in [json!({}), json!({"health": null, "failures": null, "enabled": null})] {
        let (stack, _) = start(attributes).await;
        edit(&stack, &json!({"pauseAfterFailures": 0}));
        let gate = Gate::new();
        stack.agent.default(broken().midway(Step::Gate(gate.clone())));
        let mut functions = Vec::new();
        for _ in 0..3 {
            functions.push(stack.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "4")]).await);
        }
        let fires = (0..12).map(|minute| functions[minute as usize % 3].invoke(fire_at(minute)));
        let release = async {
            gate.reached_by(12).await;
            gate.release();
        };
        let (outcomes, ()) = tokio::join!(join_all(fires), release);
        for (minute, outcome) in (0..).zip(&outcomes) {
            assert_failed(&stack, minute, outcome, ("AgentFailed", false));
        }
        assert_health(&stack, "failing", 12, true);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn runs_that_end_after_the_pause_change_nothing() {
    let (stack, function) = start(json!({"pauseAfterFailures": 1})).await;
    let (first, second) = (Gate::new(), Gate::new());
    stack.agent.queue(gated(&first));
    stack.agent.queue(broken().midway(Step::Gate(second.clone())));
    let other = stack.function(&[long_lease()]).await;
    let pause = async {
        tokio::join!(first.reached(), second.reached());
        let third = stack.function(&[long_lease()]).await;
        fails(&stack, &third, 2).await;
        let paused = assert_health(&stack, "paused", 1, false);
        first.release();
        second.release();
        paused
    };
    let begin_second = async {
        first.reached().await;
        other.invoke(fire_at(1)).await
    };
    let (done, failed, paused) = tokio::join!(function.invoke(fire_at(0)), begin_second, pause);
    assert_completed(&stack, 0, &done);
    assert_failed(&stack, 1, &failed, ("AgentFailed", false));
    assert_eq!(trigger(&stack), paused, "what it needs is a person");
    stack.assert_clean();
}

#[tokio::test]
async fn a_trigger_deleted_while_it_runs_is_not_made_again() {
    for script in [Script::ndjson_happy("three files"), broken()] {
        let is_broken = script.answer.is_none();
        let (stack, function) = start(json!({"health": "failing", "failures": 2, "maxTokensPerDay": 9})).await;
        let gate = Gate::new();
        stack.agent.queue(script.midway(Step::Gate(gate.clone())));
        let remove = async {
            gate.reached().await;
            delete(&stack);
            gate.release();
        };
        let (outcome, ()) = tokio::join!(function.invoke(fire_at(0)), remove);
        if is_broken {
            assert_failed(&stack, 0, &outcome, ("AgentFailed", false));
        } else {
            assert_completed(&stack, 0, &outcome);
        }
        assert_eq!(trigger(&stack), Value::Null);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn a_trigger_paused_before_the_retry_of_a_failure_ends_it_as_that_failure() {
    let (stack, function) = start(json!({})).await;
    (0..3).for_each(|_| stack.agent.queue(Script::status(429, "busy")));
    let outcome = function.invoke(fire_at(0)).await;
    let first = assert_failed(&stack, 0, &outcome, ("AgentUnavailable", true));
    edit(&stack, &json!({"enabled": false, "pausedAt": "2026-01-01T00:00:00.000Z"}));
    let outcome = function.invoke(fire_at(0)).await;
    let row = assert_failed(&stack, 0, &outcome, ("AgentUnavailable", false));
    let message = first["error"].as_str().unwrap().lines().next().unwrap();
    assert_eq!(outcome.body()["message"], format!("{message}; not tried again: Paused"));
    assert_eq!((&row["attempt"], &row["startedAt"]), (&json!(2), &first["startedAt"]));
    assert_absent(&row, &["skipReason", "output"]);
    assert_health(&stack, "failing", 1, false);
    let again = function.invoke(fire_at(0)).await;
    assert_eq!((again, execution_at(&stack, 0)), (outcome, row));
    assert_eq!(stack.agent.call_count(), 3);
    stack.assert_clean();
}

#[tokio::test]
async fn a_state_that_nobody_understands_holds_up_no_result() {
    let garbage = [json!(null), json!("weird"), json!(7), json!(["ok"]), json!({"S": "ok"}), json!("3"), json!(true)];
    let (stack, function) = start(json!({})).await;
    for (minute, value) in (0..).zip(garbage) {
        store(&stack, json!({"health": value, "failures": value, "pauseAfterFailures": 0, "enabled": true}));
        fails(&stack, &function, minute * 2).await;
        let item = trigger(&stack);
        assert_eq!(item["health"], "failing", "{value}: {item:#}");
        succeeds(&stack, &function, minute * 2 + 1).await;
        assert_health(&stack, "ok", 0, true);
    }
    // Whether it is enabled is asked before.
    for (minute, value) in (100..).zip([json!("no"), json!(0), json!({})]) {
        store(&stack, json!({"enabled": value}));
        let outcome = function.invoke(fire_at(minute)).await;
        assert_failed(&stack, minute, &outcome, ("InvalidTrigger", false));
        assert_eq!(trigger(&stack)["health"], "failing");
    }
    stack.assert_clean();
}

#[tokio::test]
async fn the_health_tells_nothing_that_an_agent_said() {
    let (stack, function) = start(json!({})).await;
    stack.agent.queue(Script::status(400, r#"{"message":"what the agent said"}"#));
    stack.dynamodb.inject(Rule::new("UpdateItem", Fault::Deny).containing("lastExecutedAt"));
    let outcome = function.invoke(fire_at(0)).await;
    let row = assert_failed(&stack, 0, &outcome, ("AgentRejected", false));
    assert!(row["error"].as_str().unwrap().contains("what the agent said"));
    let item = assert_health(&stack, "failing", 1, true);
    assert!(!item.to_string().contains("what the agent said"), "{item:#}");
    stack.assert_clean();
}
