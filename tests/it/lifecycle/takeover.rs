//! Attempts that are frozen, and wake when another may have taken their execution over.

use serde_json::json;
use standins::{Fault, Gate, Lambda, Rule, Stack};

use crate::support::one_fire::{
    TRIGGER, assert_completed, assert_error, assert_failed, assert_running, delivery, execution, lease_is_over,
    short_lease, update,
};
use crate::support::{FINISH, gated, stack};

/// Freezes an attempt in mid-stream until its lease is over, and lets the agent's answer to it end meanwhile or not.
async fn freeze(stack: &Stack, function: &Lambda, gate: &Gate, answer_ends_while_frozen: bool) {
    gate.reached().await;
    function.freeze();
    lease_is_over(stack).await;
    if answer_ends_while_frozen {
        gate.release();
        stack.agent.wait_until("the end of its answer", |calls| calls[0].finished).await;
    }
}

/// Freezes the first attempt in mid-stream, lets another process take the execution over, thaws the first. The winner's
/// record must stay byte for byte what it was.
async fn frozen_over_a_takeover(rerun: bool, answer_ends_while_frozen: bool) {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let (frozen, winner) = (stack.function(&[short_lease()]).await, stack.function(&[short_lease()]).await);
    let take_over = async {
        freeze(&stack, &frozen, &gate, answer_ends_while_frozen).await;
        let outcome = winner.invoke(delivery(rerun)).await;
        let record = execution(&stack);
        frozen.thaw();
        (outcome, record)
    };
    let (lost, (won, record)) = tokio::join!(frozen.invoke(delivery(rerun)), take_over);
    let message = assert_error(&lost, "LeaseLost", false);
    assert_eq!(message["executionId"], record["executionId"]);
    assert_eq!(execution(&stack).to_string(), record.to_string(), "a zombie wrote");
    if rerun {
        assert_eq!(assert_completed(&stack, &won)["attempt"], 2);
        assert_eq!(stack.agent.call_count(), 2);
    } else {
        assert_failed(&stack, &won, "Interrupted", false);
        assert_eq!(stack.agent.call_count(), 1);
    }
    if !answer_ends_while_frozen {
        stack.agent.wait_until("the zombie's leaving", |calls| calls[0].client_left).await;
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f46_frozen_over_a_rerun_writes_nothing() {
    frozen_over_a_takeover(true, false).await;
}

#[tokio::test]
async fn f46_frozen_over_a_rerun_writes_nothing_of_an_answer_that_ended_meanwhile() {
    frozen_over_a_takeover(true, true).await;
}

#[tokio::test]
async fn f46_frozen_over_its_interruption_writes_nothing() {
    frozen_over_a_takeover(false, false).await;
}

#[tokio::test]
async fn f46_frozen_over_its_interruption_writes_nothing_of_an_answer_that_ended_meanwhile() {
    frozen_over_a_takeover(false, true).await;
}

/// Only an attempt that was claimed with rerun stops when its lease is over. So what a next delivery wants does not count
/// alone: the first may still be at work.
#[tokio::test]
async fn f44_an_attempt_that_did_not_promise_to_stop_is_not_rerun() {
    for (claimed, wanted) in [(false, true), (true, false)] {
        let stack = stack().await;
        let gate = Gate::new();
        stack.agent.queue(gated(&gate));
        let (frozen, other) = (stack.function(&[short_lease()]).await, stack.function(&[short_lease()]).await);
        let meet = async {
            freeze(&stack, &frozen, &gate, false).await;
            assert_eq!(execution(&stack)["rerunIfInterrupted"], if claimed { json!(true) } else { json!(null) });
            let outcome = other.invoke(delivery(wanted)).await;
            frozen.thaw();
            outcome
        };
        let (_, outcome) = tokio::join!(frozen.invoke(delivery(claimed)), meet);
        assert_failed(&stack, &outcome, "Interrupted", false);
        assert_eq!(stack.agent.call_count(), 1, "claimed with rerun: {claimed}");
        stack.assert_clean();
    }
}

/// As above, but the winner is still at work when the first thaws: only the owner tells them apart.
async fn frozen_over_a_takeover_that_lasts(answer_ends_while_frozen: bool) {
    let stack = stack().await;
    let (gate, winners) = (Gate::new(), Gate::new());
    stack.agent.queue(gated(&gate));
    stack.agent.queue(gated(&winners));
    let (frozen, winner) = (stack.function(&[short_lease()]).await, stack.function(&[short_lease()]).await);
    let first = async {
        // Without rerun in its own event the zombie does not stop by itself, whatever its row says below.
        let lost = frozen.invoke(delivery(false)).await;
        let record = assert_running(&stack);
        winners.release();
        (lost, record)
    };
    let second = async {
        freeze(&stack, &frozen, &gate, answer_ends_while_frozen).await;
        update(&stack, &json!({"rerunIfInterrupted": true}));
        let thaw = async {
            winners.reached().await;
            frozen.thaw();
        };
        tokio::join!(winner.invoke(delivery(true)), thaw).0
    };
    let ((lost, meanwhile), won) = tokio::join!(first, second);
    assert_error(&lost, "LeaseLost", false);
    let record = assert_completed(&stack, &won);
    assert_eq!((&record["attempt"], &record["owner"]), (&json!(2), &meanwhile["owner"]));
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn f46_frozen_over_a_rerun_that_lasts_writes_nothing() {
    frozen_over_a_takeover_that_lasts(false).await;
}

#[tokio::test]
async fn f46_frozen_over_a_rerun_that_lasts_writes_nothing_of_an_answer_that_ended_meanwhile() {
    frozen_over_a_takeover_that_lasts(true).await;
}

#[tokio::test]
async fn f46_frozen_without_a_takeover_goes_on() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let function = stack.function(&[short_lease()]).await;
    let thaw = async {
        freeze(&stack, &function, &gate, false).await;
        gate.release();
        function.thaw();
    };
    let (outcome, ()) = tokio::join!(function.invoke(delivery(false)), thaw);
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn a_record_deleted_by_hand_in_mid_run_stops_the_run_and_is_not_made_again() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let function = stack.function(&[short_lease()]).await;
    let delete = async {
        gate.reached().await;
        let record = execution(&stack);
        stack.dynamodb.delete(record["PK"].as_str().unwrap(), record["SK"].as_str().unwrap());
        stack.agent.wait_until("the run's leaving", |calls| calls[0].client_left).await;
    };
    let (outcome, ()) = tokio::join!(function.invoke(delivery(false)), delete);
    assert_error(&outcome, "LeaseLost", false);
    assert!(stack.dynamodb.executions(TRIGGER).is_empty());
    stack.assert_clean();
}

#[tokio::test]
async fn a_record_deleted_by_hand_before_its_end_is_written_is_not_made_again() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.dynamodb.inject(Rule::new("UpdateItem", Fault::GateBefore(gate.clone())).containing(FINISH).once());
    let function = stack.function(&[short_lease()]).await;
    let delete = async {
        gate.reached().await;
        let record = execution(&stack);
        stack.dynamodb.delete(record["PK"].as_str().unwrap(), record["SK"].as_str().unwrap());
        gate.release();
    };
    let (outcome, ()) = tokio::join!(function.invoke(delivery(false)), delete);
    assert_error(&outcome, "LeaseLost", false);
    assert!(stack.dynamodb.executions(TRIGGER).is_empty());
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}
