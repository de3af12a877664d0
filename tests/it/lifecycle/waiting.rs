//! The same fire delivered while an attempt at it is alive, or may be.

use std::time::Duration;

use serde_json::json;
use standins::{Fault, Gate, Outcome, Rule, Script, Stack, Step};

use crate::support::one_fire::{
    assert_completed, assert_duplicate, assert_error, assert_failed, assert_running, dead_in_mid_stream, delivery,
    execution, fire, short_lease, update,
};
use crate::support::{LIMIT, gated, now_millis, scaled, skew, stack};

#[tokio::test]
async fn f45_retry_waits_until_the_dead_attempts_lease_is_over() {
    let stack = stack().await;
    let dead = dead_in_mid_stream(&stack, false).await;
    let outcome = stack.function(&[short_lease()]).await.invoke(delivery(false)).await;
    assert_failed(&stack, &outcome, "Interrupted", false);
    let over = dead["leaseUntil"].as_i64().unwrap() + skew(1);
    assert!(now_millis() > over, "it may have been alive");
    assert!(stack.dynamodb.count_for("GetItem", "EXECUTION#") >= 1, "it looked again");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f45_other_request_while_the_dead_attempts_lease_lives_is_a_duplicate() {
    let stack = stack().await;
    dead_in_mid_stream(&stack, false).await;
    update(&stack, &json!({"leaseUntil": now_millis() + 60_000}));
    let dead = execution(&stack);
    let outcome = stack.function(&[short_lease()]).await.invoke(fire()).await;
    assert_duplicate(&stack, &outcome, "running");
    assert_eq!(execution(&stack), dead, "touches nothing");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

/// A second delivery of the request comes while the first is mid-stream; it must look at least twice before the agent
/// goes on. Gives what came of both.
async fn twins(stack: &Stack, script: impl FnOnce(&Gate) -> Script) -> (Outcome, Outcome) {
    let gate = Gate::new();
    stack.agent.queue(script(&gate));
    let (first, twin) = (stack.function(&[short_lease()]).await, stack.function(&[short_lease()]).await);
    let second = async {
        gate.reached().await;
        let go_on = async {
            let looked_twice = async {
                while stack.dynamodb.count_for("GetItem", "EXECUTION#") < 2 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(LIMIT, looked_twice).await.expect("it must look again and again");
            assert_eq!(twin.api.in_flight(), 1, "it waits");
            gate.release();
        };
        tokio::join!(twin.invoke(delivery(false)), go_on).0
    };
    tokio::join!(first.invoke(delivery(false)), second)
}

#[tokio::test]
async fn f45_twin_of_the_living_attempt_replays_its_result() {
    let stack = stack().await;
    let (first, twin) = twins(&stack, gated).await;
    let record = assert_completed(&stack, &first);
    assert_duplicate(&stack, &twin, "completed");
    for name in ["requestId", "sessionId", "executionId"] {
        assert_eq!(twin.body()[name], first.body()[name]);
    }
    assert_eq!(record["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f45_twin_of_the_living_attempt_replays_its_failure() {
    let stack = stack().await;
    let cut = |gate: &Gate| Script::cut().midway(Step::Gate(gate.clone()));
    let (first, twin) = twins(&stack, cut).await;
    assert_failed(&stack, &first, "StreamInterrupted", false);
    assert_eq!(first, twin);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

/// A second delivery of the request comes while the first is mid-stream, and its time is up before the agent goes on.
async fn twin_is_in_progress(stack: &Stack) {
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let (first, twin) = (stack.function(&[short_lease()]).await, stack.function(&[short_lease()]).await);
    let second = async {
        gate.reached().await;
        let outcome = twin.invoke(delivery(false).timeout(scaled(5_200))).await;
        assert_running(stack);
        gate.release();
        outcome
    };
    let (first, twin) = tokio::join!(first.invoke(delivery(false)), second);
    assert_error(&twin, "InProgress", true);
    assert_eq!(assert_completed(stack, &first)["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f45_twin_is_in_progress_only_at_its_own_deadline() {
    let stack = stack().await;
    twin_is_in_progress(&stack).await;
    let looks = stack.dynamodb.count_for("GetItem", "EXECUTION#");
    assert!(looks >= 4, "it looked again and again until then, not {looks} times");
}

#[tokio::test]
async fn f45_twin_whose_time_is_up_in_the_midst_of_a_look_is_in_progress() {
    let stack = stack().await;
    let hanging = stack.dynamodb.inject(Rule::new("GetItem", Fault::Hang).containing("EXECUTION#"));
    twin_is_in_progress(&stack).await;
    assert!(hanging.hits() > 0, "it looked");
}
