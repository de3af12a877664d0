//! Leases, where clocks differ and heartbeats come late.

use serde_json::{Value, json};
use standins::{Fault, Gate, Invocation, Outcome, Rule, Stack};

use crate::support::one_fire::{
    TRIGGER, assert_completed, assert_duplicate, assert_failed, dead_in_mid_stream, delivery, execution, fire,
    fire_with_rerun, update,
};
use crate::support::{LIMIT, gated, lease, now_millis, skew, stack};

/// A row as an attempt leaves it whose clock differs from ours: its lease of the default 30 s ends at `lease_left`
/// milliseconds from now, by our clock. Both attempts are with `rerun` or without.
async fn met_with_lease_left(lease_left: i64, rerun: bool) -> (Stack, Value, Outcome) {
    let stack = stack().await;
    dead_in_mid_stream(&stack, rerun).await;
    update(&stack, &json!({"leaseUntil": now_millis() + lease_left}));
    let record = execution(&stack);
    let event = if rerun { fire_with_rerun() } else { fire() };
    let outcome = stack.function(&[]).await.invoke(event).await;
    (stack, record, outcome)
}

#[tokio::test]
async fn f51_lease_stored_by_a_slow_clock_is_not_taken_over_early() {
    // Alive by its owner's clock, which is within 5 s of ours; 3 s are left for a slow test machine.
    for rerun in [false, true] {
        let (stack, record, outcome) = met_with_lease_left(-2_000, rerun).await;
        assert_duplicate(&stack, &outcome, "running");
        assert_eq!(execution(&stack), record, "touches nothing");
        assert_eq!(stack.agent.call_count(), 1);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f51_lease_stored_by_a_fast_clock_is_not_taken_over_early() {
    let (stack, record, outcome) = met_with_lease_left(35_000, true).await;
    assert_duplicate(&stack, &outcome, "running");
    assert_eq!(execution(&stack), record, "touches nothing");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f51_lease_over_by_more_than_the_skew_is_taken_over() {
    let (stack, _, outcome) = met_with_lease_left(-5_100, false).await;
    assert_failed(&stack, &outcome, "Interrupted", false);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
    let (stack, _, outcome) = met_with_lease_left(-5_100, true).await;
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 2);
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

/// Another attempt has read the lapsed row of a frozen owner and is about to write `takeover`; the owner thaws and
/// beats once more before that write arrives.
async fn late_heartbeat_defeats(takeover: Rule, gate: &Gate, event: Invocation) {
    let stack = stack().await;
    let agent = Gate::new();
    stack.agent.queue(gated(&agent));
    let lease = [lease(2)];
    let (owner, other) = (stack.function(&lease).await, stack.function(&lease).await);
    let take_over = async {
        agent.reached().await;
        owner.freeze();
        let lapsed = |record: &Value| record["leaseUntil"].as_i64().is_some_and(|until| until + skew(2) < now_millis());
        let seen = stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, lapsed).await;
        update(&stack, &json!({"rerunIfInterrupted": true}));
        let held = stack.dynamodb.inject(takeover);
        let late = async {
            gate.reached().await;
            owner.thaw();
            let beaten = |record: &Value| record["leaseUntil"] != seen["leaseUntil"];
            stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, beaten).await;
            gate.release();
        };
        let (outcome, ()) = tokio::join!(other.invoke(event), late);
        assert_eq!(held.hits(), 1, "the takeover came after the heartbeat");
        assert_duplicate(&stack, &outcome, "running");
        agent.release();
    };
    // The owner's own event does not ask for a rerun, so that it may go on after its lease, whatever its row says above.
    let (outcome, ()) = tokio::join!(owner.invoke(delivery(false)), take_over);
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f51_late_heartbeat_defeats_an_interruption() {
    let gate = Gate::new();
    let takeover = Rule::new("UpdateItem", Fault::GateBefore(gate.clone())).containing("Interrupted").once();
    late_heartbeat_defeats(takeover, &gate, fire()).await;
}

#[tokio::test]
async fn f51_late_heartbeat_defeats_a_rerun() {
    let gate = Gate::new();
    // The first PutItem is the claim of an absent row, which is refused and returns the row.
    let takeover = Rule::new("PutItem", Fault::GateBefore(gate.clone())).after(1).once();
    late_heartbeat_defeats(takeover, &gate, fire_with_rerun()).await;
}
