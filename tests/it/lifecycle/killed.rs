//! Attempts that are killed: interrupted, or run again where that is wanted.

use standins::{CognitoOperation, Fault, Gate, Outcome, Rule, Stack, TokenAnswer};

use crate::support::one_fire::{
    TRIGGER, assert_completed, assert_duplicate, assert_failed, assert_running, dead_in_mid_stream, delivery,
    execution, lease_is_over, short_lease,
};
use crate::support::{FINISH, LIMIT, gated, killed_when, stack};

/// Where an attempt is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Its claim waits at the gate.
    BeforeClaim,
    /// It waits for its token.
    BeforeCall,
    /// The agent is answering.
    MidStream,
    /// The answer has ended; its finish waits at the gate.
    BeforeFinish,
    /// Its finish is applied and not yet answered.
    AfterFinish,
}

impl At {
    fn agent_calls(self) -> usize {
        usize::from(!matches!(self, Self::BeforeClaim | Self::BeforeCall))
    }
}

/// When the next attempt comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    AtOnce,
    AfterTheLease,
}

/// Kills an attempt there. Gives the gate: a write that waits at it is applied once it is released, late or never.
async fn killed(stack: &Stack, at: At, rerun: bool) -> Gate {
    let gate = Gate::new();
    let held = |operation: &str, fault: fn(Gate) -> Fault, text: &str| {
        stack.dynamodb.inject(Rule::new(operation, fault(gate.clone())).containing(text).once());
    };
    match at {
        At::BeforeClaim => held("PutItem", Fault::GateBefore, "running"),
        At::BeforeCall => stack.cognito.answer_next(CognitoOperation::Token, [TokenAnswer::Hang]),
        At::MidStream => stack.agent.queue(gated(&gate)),
        At::BeforeFinish => held("UpdateItem", Fault::GateBefore, FINISH),
        At::AfterFinish => held("UpdateItem", Fault::GateAfter, FINISH),
    }
    let moment = async {
        if at == At::BeforeCall {
            is_claimed(stack).await;
        } else {
            gate.reached().await;
        }
    };
    killed_when(moment, &stack.function(&[short_lease()]).await, delivery(rerun)).await;
    match at {
        At::BeforeClaim => assert!(stack.dynamodb.executions(TRIGGER).is_empty()),
        At::AfterFinish => assert_eq!(execution(stack)["status"], "completed"),
        _ => assert_eq!(assert_running(stack)["attempt"], 1),
    }
    assert_eq!(stack.agent.call_count(), at.agent_calls());
    gate
}

async fn is_claimed(stack: &Stack) {
    stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, |record| record["status"] == "running").await;
}

/// Lambda delivers again, to a new process.
async fn delivered_again(stack: &Stack, rerun: bool) -> Outcome {
    stack.function(&[short_lease()]).await.invoke(delivery(rerun)).await
}

async fn killed_then_delivered_again(at: At, next: Next, rerun: bool) -> (Stack, Outcome) {
    let stack = stack().await;
    killed(&stack, at, rerun).await;
    if next == Next::AfterTheLease {
        lease_is_over(&stack).await;
    }
    let outcome = delivered_again(&stack, rerun).await;
    (stack, outcome)
}

async fn killed_is_interrupted(at: At) {
    for next in [Next::AtOnce, Next::AfterTheLease] {
        let (stack, outcome) = killed_then_delivered_again(at, next, false).await;
        let record = assert_failed(&stack, &outcome, "Interrupted", false);
        assert_eq!(record["attempt"], 1);
        let again = delivered_again(&stack, false).await;
        assert_failed(&stack, &again, "Interrupted", false);
        assert_eq!(execution(&stack), record, "what is final stays as it is");
        assert_eq!(stack.agent.call_count(), at.agent_calls(), "called at most once");
        stack.assert_clean();
    }
}

async fn killed_is_rerun(at: At) {
    for next in [Next::AtOnce, Next::AfterTheLease] {
        let (stack, outcome) = killed_then_delivered_again(at, next, true).await;
        assert_eq!(assert_completed(&stack, &outcome)["attempt"], 2);
        assert_eq!(stack.agent.call_count(), at.agent_calls() + 1);
        stack.assert_clean();
    }
}

/// Nobody knows of the killed attempt, so it counts for nothing.
async fn killed_before_the_claim_is_run_by_the_retry(rerun: bool) {
    let (stack, outcome) = killed_then_delivered_again(At::BeforeClaim, Next::AtOnce, rerun).await;
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

async fn killed_after_the_finish_is_replayed(next: Next, rerun: bool) {
    let (stack, outcome) = killed_then_delivered_again(At::AfterFinish, next, rerun).await;
    assert_duplicate(&stack, &outcome, "completed");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f43_killed_before_the_claim_is_run_by_the_retry() {
    killed_before_the_claim_is_run_by_the_retry(false).await;
}

#[tokio::test]
async fn f43_claim_of_a_killed_attempt_applied_before_the_retry_is_interrupted() {
    let stack = stack().await;
    killed(&stack, At::BeforeClaim, false).await.release();
    is_claimed(&stack).await;
    let outcome = delivered_again(&stack, false).await;
    assert_failed(&stack, &outcome, "Interrupted", false);
    assert_eq!(stack.agent.call_count(), 0);
    stack.assert_clean();
}

#[tokio::test]
async fn f43_claim_of_a_killed_attempt_applied_after_the_retry_changes_nothing() {
    let stack = stack().await;
    let gate = killed(&stack, At::BeforeClaim, false).await;
    let outcome = delivered_again(&stack, false).await;
    let record = assert_completed(&stack, &outcome);
    gate.release();
    // One more delivery, so that the late claim has had its time.
    let again = delivered_again(&stack, false).await;
    assert_duplicate(&stack, &again, "completed");
    assert_eq!(execution(&stack), record);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f43_killed_between_claim_and_call_is_interrupted() {
    killed_is_interrupted(At::BeforeCall).await;
}

#[tokio::test]
async fn f43_killed_mid_stream_is_interrupted() {
    killed_is_interrupted(At::MidStream).await;
}

#[tokio::test]
async fn f43_killed_between_stream_end_and_finish_is_interrupted() {
    killed_is_interrupted(At::BeforeFinish).await;
}

#[tokio::test]
async fn f43_killed_after_the_finish_is_replayed() {
    killed_after_the_finish_is_replayed(Next::AtOnce, false).await;
}

#[tokio::test]
async fn f44_killed_before_the_claim_is_first_attempt_with_rerun_too() {
    killed_before_the_claim_is_run_by_the_retry(true).await;
}

#[tokio::test]
async fn f44_killed_between_claim_and_call_is_rerun() {
    killed_is_rerun(At::BeforeCall).await;
}

#[tokio::test]
async fn f44_killed_mid_stream_is_rerun() {
    killed_is_rerun(At::MidStream).await;
}

#[tokio::test]
async fn f44_killed_between_stream_end_and_finish_is_rerun() {
    killed_is_rerun(At::BeforeFinish).await;
}

#[tokio::test]
async fn f44_killed_after_the_finish_is_not_rerun() {
    killed_after_the_finish_is_replayed(Next::AfterTheLease, true).await;
}

#[tokio::test]
async fn f44_third_attempt_killed_is_interrupted_with_rerun_too() {
    let stack = stack().await;
    for attempt in 1..=3 {
        assert_eq!(dead_in_mid_stream(&stack, true).await["attempt"], attempt);
    }
    let outcome = delivered_again(&stack, true).await;
    assert_eq!(assert_failed(&stack, &outcome, "Interrupted", false)["attempt"], 3);
    assert_eq!(stack.agent.call_count(), 3);
    stack.assert_clean();
}
