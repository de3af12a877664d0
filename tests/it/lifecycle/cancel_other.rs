//! Overlap, the other way: the newest fire of a trigger ends the older ones.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use standins::{Gate, Lambda, Script, Stack};

use crate::support::stored::{
    assert_cancelled, assert_completed, assert_failed, assert_skipped, cancel, execution_at, fire_at, fire_with, item,
    long_lease, store, update, wait_for, wait_for_item,
};
use crate::support::{LIMIT, gated, killed_when, now_millis, scaled, stack};

async fn start(processes: usize) -> (Stack, Vec<Lambda>) {
    let stack = stack().await;
    store(&stack, json!({"overlap": "cancelOther"}));
    let mut functions = Vec::new();
    for _ in 0..processes {
        functions.push(stack.function(&[long_lease()]).await);
    }
    (stack, functions)
}

fn endless() -> Script {
    Script::endless(Duration::from_millis(50))
}

#[tokio::test]
async fn the_old_run_ends_cancelled_and_the_new_one_completes() {
    let (stack, functions) = start(2).await;
    stack.agent.queue(endless());
    let next = async {
        stack.agent.wait_until("an answer under way", |calls| calls.iter().any(|call| call.events_sent > 2)).await;
        let outcome = functions[1].invoke(fire_at(1)).await;
        let calls = stack.agent.calls();
        assert!(calls[0].client_left, "two agents at work: {calls:#?}");
        outcome
    };
    let (old, new) = tokio::join!(functions[0].invoke(fire_at(0)), next);
    assert_cancelled(&stack, 0, &old);
    assert_completed(&stack, 1, &new);
    assert_eq!(stack.agent.call_count(), 2);
    assert_eq!(item(&stack, "RUNNING")["leaseUntil"], 0);
    stack.assert_clean();
}

#[tokio::test]
async fn of_several_new_fires_the_newest_runs_whoever_comes_first() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let (stack, functions) = start(4).await;
        // Which prompt is whose: the item says none.
        let fire = |minute: u32| fire_with(minute, &json!({"prompt": format!("Count the files of minute {minute}.")}));
        for minute in 0..3 {
            stack.agent.on_prompt(&format!("minute {minute}."), endless());
        }
        let others = async {
            stack.agent.wait_for_calls(1).await;
            join_all((1..).zip(order).map(|(at, minute)| functions[at].invoke(fire(minute)))).await
        };
        let (oldest, outcomes) = tokio::join!(functions[0].invoke(fire(0)), others);
        assert_cancelled(&stack, 0, &oldest);
        for (minute, outcome) in order.into_iter().zip(&outcomes) {
            match execution_at(&stack, minute)["status"].as_str().unwrap() {
                _ if minute == 3 => drop(assert_completed(&stack, 3, outcome)),
                "cancelled" => assert_cancelled(&stack, minute, outcome),
                _ => {
                    let row = assert_skipped(&stack, minute, outcome, "Overlap");
                    assert!(row["overlaps"].as_str() > row["executionId"].as_str(), "{row:#}");
                }
            }
        }
        let calls = stack.agent.calls();
        let last = calls.iter().position(|call| call.field("prompt").contains("minute 3.")).unwrap();
        assert!(calls[..last].iter().all(|call| call.client_left), "two agents at work: {calls:#?}");
        assert_eq!(last, calls.len() - 1, "the newest is the last to run: {calls:#?}");
        stack.assert_clean();
    }
}

#[tokio::test]
async fn a_late_fire_does_not_end_a_newer_one() {
    let (stack, functions) = start(2).await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let late = async {
        gate.reached().await;
        let late = functions[1].invoke(fire_at(1)).await;
        gate.release();
        late
    };
    let (newer, late) = tokio::join!(functions[0].invoke(fire_at(5)), late);
    assert_completed(&stack, 5, &newer);
    let row = assert_skipped(&stack, 1, &late, "Overlap");
    assert_eq!(row["overlaps"], execution_at(&stack, 5)["executionId"]);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn a_retry_does_not_end_a_newer_one_and_its_failure_is_not_hidden() {
    let (stack, functions) = start(2).await;
    let gate = Gate::new();
    for _ in 0..3 {
        stack.agent.queue(Script::status(429, "busy"));
    }
    stack.agent.queue(gated(&gate));
    let first = functions[1].invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &first, ("AgentUnavailable", true));
    let retry = async {
        gate.reached().await;
        let retry = functions[1].invoke(fire_at(0)).await;
        gate.release();
        retry
    };
    let (newer, retry) = tokio::join!(functions[0].invoke(fire_at(1)), retry);
    assert_completed(&stack, 1, &newer);
    let row = assert_failed(&stack, 0, &retry, ("AgentUnavailable", false));
    assert!(row["error"].as_str().unwrap().contains("; not tried again: Overlap"), "{row:#}");
    assert_eq!(stack.agent.call_count(), 4);
    stack.assert_clean();
}

#[tokio::test]
async fn a_dead_run_is_waited_for_and_ends_cancelled() {
    let (stack, functions) = start(2).await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    killed_when(gate.reached(), &functions[0], fire_at(0)).await;
    let until = item(&stack, "RUNNING")["leaseUntil"].as_i64().unwrap();
    let new = functions[1].invoke(fire_at(1)).await;
    assert_completed(&stack, 1, &new);
    assert!(now_millis() > until, "it may have been alive");
    let retry = functions[1].invoke(fire_at(0)).await;
    assert_cancelled(&stack, 0, &retry);
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn a_run_that_may_not_start_ends_no_other() {
    let (stack, functions) = start(2).await;
    store(&stack, json!({"overlap": "cancelOther", "maxRunsPerDay": 1}));
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let next = async {
        gate.reached().await;
        let next = functions[1].invoke(fire_at(1)).await;
        gate.release();
        next
    };
    let (outcome, next) = tokio::join!(functions[0].invoke(fire_at(0)), next);
    assert_skipped(&stack, 1, &next, "MaxRunsPerDay");
    assert_completed(&stack, 0, &outcome);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

/// An execution that holds the turn and does not hear that it is to end.
async fn deaf(stack: &Stack, function: &Lambda) {
    let outcome = function.invoke(fire_at(0)).await;
    assert_completed(stack, 0, &outcome);
    let until = now_millis() + 600_000;
    update(stack, 0, &json!({"status": "running", "completedAt": null, "leaseUntil": until}));
    stack.dynamodb.update("TRIGGER#trigger-1", "RUNNING#user-1", &json!({"leaseUntil": until}));
}

#[tokio::test]
async fn waiting_for_another_ends_with_the_time_and_may_be_tried_again() {
    let (stack, functions) = start(2).await;
    deaf(&stack, &functions[0]).await;
    store(&stack, json!({"overlap": "cancelOther", "timeoutSeconds": 2}));
    let outcome = functions[1].invoke(fire_at(1)).await;
    let row = assert_failed(&stack, 1, &outcome, ("DeadlineExceeded", true));
    assert!(row["error"].as_str().unwrap().contains("timeoutSeconds, 2,"), "{row:#}");
    store(&stack, json!({"overlap": "cancelOther"}));
    let outcome = functions[1].invoke(fire_at(2).timeout(scaled(6_000))).await;
    assert_failed(&stack, 2, &outcome, ("DeadlineExceeded", true));
    assert_eq!(stack.agent.call_count(), 1, "the first one's");
    stack.assert_clean();
}

#[tokio::test]
async fn who_waits_can_be_cancelled_too() {
    let (stack, functions) = start(2).await;
    deaf(&stack, &functions[0]).await;
    let ask = async {
        let is_asked = |row: &serde_json::Value| row["cancelRequested"] == true;
        wait_for(&stack, 0, is_asked).await;
        cancel(&stack, 1);
    };
    let (outcome, ()) = tokio::join!(functions[1].invoke(fire_at(1)), ask);
    assert_cancelled(&stack, 1, &outcome);
    assert_eq!(stack.agent.call_count(), 1);
    // It had no turn to give up.
    let turn = wait_for_item(&stack, "RUNNING", |_| true).await;
    assert!(turn["leaseUntil"].as_i64().unwrap() > now_millis() + i64::try_from(LIMIT.as_millis()).unwrap());
    stack.assert_clean();
}
