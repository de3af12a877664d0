//! Life and death of attempts: killed, frozen, retried, cancelled.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use standins::{CognitoOperation, Fault, Gate, Invocation, Lambda, Outcome, Rule, Script, Stack, Step, TokenAnswer};

use crate::one_fire::{
    SHORT_LEASE, TRIGGER, assert_completed, assert_duplicate, assert_error, assert_failed, assert_running, execution,
    fire, fire_with,
};
use crate::support::stack;

const ANSWER: &str = "There are three files in the quarter.";
const FINISH: &str = "#completedAt";
const LIMIT: Duration = Duration::from_secs(30);
const SKEW_OF_SHORT_LEASE: i64 = 166;

fn now_millis() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Lambda delivers the same request again and again under one id.
fn delivery(rerun: bool) -> Invocation {
    let event = if rerun { fire_with(&json!({"onInterrupted": "rerun"})) } else { fire() };
    event.request_id("request-1")
}

fn gated(gate: &Gate) -> Script {
    Script::ndjson_happy(ANSWER).midway(Step::Gate(gate.clone()))
}

/// Sets attributes of the one execution, as another attempt or a person would.
fn update(stack: &Stack, attributes: &Value) {
    let record = execution(stack);
    stack.dynamodb.update(record["PK"].as_str().unwrap(), record["SK"].as_str().unwrap(), attributes);
}

async fn lease_is_over(stack: &Stack) {
    let is_over =
        |record: &Value| record["leaseUntil"].as_i64().is_some_and(|until| until + SKEW_OF_SHORT_LEASE < now_millis());
    stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, is_over).await;
}

/// Where an attempt is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Its claim has not been applied, and never is.
    BeforeClaim,
    /// It waits for its token.
    BeforeCall,
    /// The agent is answering.
    MidStream,
    /// The answer has ended; its finish has not been applied, and never is.
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

/// An attempt is killed, then Lambda delivers again to a new process. Gives what came of the second.
async fn killed_then_delivered_again(at: At, next: Next, rerun: bool) -> (Stack, Outcome) {
    let stack = stack().await;
    let gate = Gate::new();
    let before =
        |operation: &str, text: &str| Rule::new(operation, Fault::GateBefore(gate.clone())).containing(text).once();
    match at {
        At::BeforeClaim => drop(stack.dynamodb.inject(before("PutItem", "running"))),
        At::BeforeCall => stack.cognito.answer_next(CognitoOperation::Token, [TokenAnswer::Hang]),
        At::MidStream => stack.agent.queue(gated(&gate)),
        At::BeforeFinish => drop(stack.dynamodb.inject(before("UpdateItem", FINISH))),
        At::AfterFinish => drop(
            stack.dynamodb.inject(Rule::new("UpdateItem", Fault::GateAfter(gate.clone())).containing(FINISH).once()),
        ),
    }
    let function = stack.function(&[SHORT_LEASE]).await;
    let kill = async {
        if at == At::BeforeCall {
            stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, |record| record["status"] == "running").await;
        } else {
            gate.reached().await;
        }
        function.kill();
    };
    let (killed, ()) = tokio::join!(function.invoke(delivery(rerun)), kill);
    assert_eq!(killed, Outcome::Died);
    match at {
        At::BeforeClaim => assert!(stack.dynamodb.executions(TRIGGER).is_empty()),
        At::AfterFinish => assert_eq!(execution(&stack)["status"], "completed"),
        _ => assert_eq!(assert_running(&stack)["attempt"], 1),
    }
    assert_eq!(stack.agent.call_count(), at.agent_calls());
    if next == Next::AfterTheLease && at != At::BeforeClaim {
        lease_is_over(&stack).await;
    }
    let outcome = stack.function(&[SHORT_LEASE]).await.invoke(delivery(rerun)).await;
    (stack, outcome)
}

async fn killed_is_interrupted(at: At, next: Next) {
    let (stack, outcome) = killed_then_delivered_again(at, next, false).await;
    let record = assert_failed(&stack, &outcome, "Interrupted", false);
    assert_eq!(record["attempt"], 1);
    let again = stack.function(&[SHORT_LEASE]).await.invoke(delivery(false)).await;
    assert_failed(&stack, &again, "Interrupted", false);
    assert_eq!(execution(&stack), record, "what is final stays as it is");
    assert_eq!(stack.agent.call_count(), at.agent_calls(), "called at most once");
    stack.assert_clean();
}

async fn killed_is_rerun(at: At, next: Next) {
    let (stack, outcome) = killed_then_delivered_again(at, next, true).await;
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 2);
    assert_eq!(stack.agent.call_count(), at.agent_calls() + 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f43_killed_before_the_claim_is_run_by_the_retry() {
    let (stack, outcome) = killed_then_delivered_again(At::BeforeClaim, Next::AtOnce, false).await;
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f43_claim_of_a_killed_attempt_applied_before_the_retry_is_interrupted() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.dynamodb.inject(Rule::new("PutItem", Fault::GateBefore(gate.clone())).once());
    let function = stack.function(&[SHORT_LEASE]).await;
    let kill = async {
        gate.reached().await;
        function.kill();
    };
    let (killed, ()) = tokio::join!(function.invoke(delivery(false)), kill);
    assert_eq!(killed, Outcome::Died);
    gate.release();
    stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, |record| record["status"] == "running").await;
    let outcome = stack.function(&[SHORT_LEASE]).await.invoke(delivery(false)).await;
    assert_failed(&stack, &outcome, "Interrupted", false);
    assert_eq!(stack.agent.call_count(), 0);
    stack.assert_clean();
}

#[tokio::test]
async fn f43_claim_of_a_killed_attempt_applied_after_the_retry_changes_nothing() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.dynamodb.inject(Rule::new("PutItem", Fault::GateBefore(gate.clone())).once());
    let function = stack.function(&[SHORT_LEASE]).await;
    let kill = async {
        gate.reached().await;
        function.kill();
    };
    let (killed, ()) = tokio::join!(function.invoke(delivery(false)), kill);
    assert_eq!(killed, Outcome::Died);
    let outcome = stack.function(&[SHORT_LEASE]).await.invoke(delivery(false)).await;
    let record = assert_completed(&stack, &outcome);
    gate.release();
    // One more delivery, so that the late claim has had its time.
    let again = stack.function(&[SHORT_LEASE]).await.invoke(delivery(false)).await;
    assert_duplicate(&stack, &again, "completed");
    assert_eq!(execution(&stack), record);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f43_killed_between_claim_and_call_is_interrupted() {
    killed_is_interrupted(At::BeforeCall, Next::AtOnce).await;
    killed_is_interrupted(At::BeforeCall, Next::AfterTheLease).await;
}

#[tokio::test]
async fn f43_killed_mid_stream_is_interrupted() {
    killed_is_interrupted(At::MidStream, Next::AtOnce).await;
    killed_is_interrupted(At::MidStream, Next::AfterTheLease).await;
}

#[tokio::test]
async fn f43_killed_between_stream_end_and_finish_is_interrupted() {
    killed_is_interrupted(At::BeforeFinish, Next::AtOnce).await;
    killed_is_interrupted(At::BeforeFinish, Next::AfterTheLease).await;
}

#[tokio::test]
async fn f43_killed_after_the_finish_is_replayed() {
    let (stack, outcome) = killed_then_delivered_again(At::AfterFinish, Next::AtOnce, false).await;
    assert_duplicate(&stack, &outcome, "completed");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f44_killed_before_the_claim_is_first_attempt_with_rerun_too() {
    let (stack, outcome) = killed_then_delivered_again(At::BeforeClaim, Next::AtOnce, true).await;
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f44_killed_between_claim_and_call_is_rerun() {
    killed_is_rerun(At::BeforeCall, Next::AtOnce).await;
    killed_is_rerun(At::BeforeCall, Next::AfterTheLease).await;
}

#[tokio::test]
async fn f44_killed_mid_stream_is_rerun() {
    killed_is_rerun(At::MidStream, Next::AtOnce).await;
    killed_is_rerun(At::MidStream, Next::AfterTheLease).await;
}

#[tokio::test]
async fn f44_killed_between_stream_end_and_finish_is_rerun() {
    killed_is_rerun(At::BeforeFinish, Next::AtOnce).await;
    killed_is_rerun(At::BeforeFinish, Next::AfterTheLease).await;
}

#[tokio::test]
async fn f44_killed_after_the_finish_is_not_rerun() {
    let (stack, outcome) = killed_then_delivered_again(At::AfterFinish, Next::AfterTheLease, true).await;
    assert_duplicate(&stack, &outcome, "completed");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f44_third_attempt_killed_is_interrupted_with_rerun_too() {
    let stack = stack().await;
    let gate = Gate::new();
    for attempt in 1..=3 {
        stack.agent.queue(gated(&gate));
        let function = stack.function(&[SHORT_LEASE]).await;
        let kill = async {
            gate.reached_by(attempt).await;
            function.kill();
        };
        let (killed, ()) = tokio::join!(function.invoke(delivery(true)), kill);
        assert_eq!(killed, Outcome::Died);
        assert_eq!(assert_running(&stack)["attempt"], attempt);
    }
    let outcome = stack.function(&[SHORT_LEASE]).await.invoke(delivery(true)).await;
    assert_eq!(assert_failed(&stack, &outcome, "Interrupted", false)["attempt"], 3);
    assert_eq!(stack.agent.call_count(), 3);
    stack.assert_clean();
}

/// Kills an attempt in mid-stream and gives its record.
async fn dead_in_mid_stream(stack: &Stack) -> Value {
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let function = stack.function(&[SHORT_LEASE]).await;
    let kill = async {
        gate.reached().await;
        function.kill();
    };
    let (killed, ()) = tokio::join!(function.invoke(delivery(false)), kill);
    assert_eq!(killed, Outcome::Died);
    assert_running(stack)
}

#[tokio::test]
async fn f45_retry_waits_until_the_dead_attempts_lease_is_over() {
    let stack = stack().await;
    let dead = dead_in_mid_stream(&stack).await;
    let outcome = stack.function(&[SHORT_LEASE]).await.invoke(delivery(false)).await;
    assert_failed(&stack, &outcome, "Interrupted", false);
    let over = dead["leaseUntil"].as_i64().unwrap() + SKEW_OF_SHORT_LEASE;
    assert!(now_millis() > over, "it may have been alive");
    assert!(stack.dynamodb.count_for("GetItem", "EXECUTION#") >= 1, "it looked again");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f45_other_request_while_the_dead_attempts_lease_lives_is_a_duplicate() {
    let stack = stack().await;
    dead_in_mid_stream(&stack).await;
    update(&stack, &json!({"leaseUntil": now_millis() + 60_000}));
    let dead = execution(&stack);
    let outcome = stack.function(&[SHORT_LEASE]).await.invoke(fire()).await;
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
    let (first, twin) = (stack.function(&[SHORT_LEASE]).await, stack.function(&[SHORT_LEASE]).await);
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

#[tokio::test]
async fn f45_twin_is_in_progress_only_at_its_own_deadline() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let (first, twin) = (stack.function(&[SHORT_LEASE]).await, stack.function(&[SHORT_LEASE]).await);
    let second = async {
        gate.reached().await;
        let outcome = twin.invoke(delivery(false).timeout(Duration::from_millis(5_200))).await;
        assert_running(&stack);
        gate.release();
        outcome
    };
    let (first, twin) = tokio::join!(first.invoke(delivery(false)), second);
    assert_error(&twin, "InProgress", true);
    let looks = stack.dynamodb.count_for("GetItem", "EXECUTION#");
    assert!(looks >= 8, "it looked every third of a lease until then, not {looks} times");
    assert_eq!(assert_completed(&stack, &first)["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

/// Freezes the first attempt in mid-stream, lets another process take the execution over, thaws the first. The winner's
/// record must stay byte for byte what it was.
async fn frozen_over_a_takeover(rerun: bool, answer_ends_while_frozen: bool) {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let (frozen, winner) = (stack.function(&[SHORT_LEASE]).await, stack.function(&[SHORT_LEASE]).await);
    let take_over = async {
        gate.reached().await;
        frozen.freeze();
        lease_is_over(&stack).await;
        if answer_ends_while_frozen {
            gate.release();
            stack.agent.wait_until("the end of its answer", |calls| calls[0].finished).await;
        }
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

/// As above, but the winner is still at work when the first thaws: only the owner tells them apart.
async fn frozen_over_a_takeover_that_lasts(answer_ends_while_frozen: bool) {
    let stack = stack().await;
    let (gate, winners) = (Gate::new(), Gate::new());
    stack.agent.queue(gated(&gate));
    stack.agent.queue(gated(&winners));
    let (frozen, winner) = (stack.function(&[SHORT_LEASE]).await, stack.function(&[SHORT_LEASE]).await);
    let first = async {
        // Without rerun in its own event the zombie does not stop by itself.
        let lost = frozen.invoke(delivery(false)).await;
        let record = assert_running(&stack);
        winners.release();
        (lost, record)
    };
    let second = async {
        gate.reached().await;
        frozen.freeze();
        lease_is_over(&stack).await;
        if answer_ends_while_frozen {
            gate.release();
            stack.agent.wait_until("the end of its answer", |calls| calls[0].finished).await;
        }
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
    let function = stack.function(&[SHORT_LEASE]).await;
    let thaw = async {
        gate.reached().await;
        function.freeze();
        lease_is_over(&stack).await;
        gate.release();
        function.thaw();
    };
    let (outcome, ()) = tokio::join!(function.invoke(delivery(false)), thaw);
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

fn assert_cancelled(stack: &Stack, outcome: &Outcome) -> Value {
    let (record, body) = (execution(stack), outcome.body());
    assert!(outcome.is_success(), "{outcome:#?}");
    assert_eq!((&body["success"], &body["status"]), (&json!(true), &json!("cancelled")), "{body}");
    assert_eq!(body["executionId"], record["executionId"]);
    assert_eq!(record["status"], "cancelled", "{record:#?}");
    assert!(record["completedAt"].is_string());
    record
}

#[tokio::test]
async fn f48_cancelled_before_its_retry_is_not_run() {
    let stack = stack().await;
    stack.agent.default(Script::status(429, "busy"));
    let function = stack.function(&[SHORT_LEASE]).await;
    let outcome = function.invoke(delivery(false)).await;
    assert_failed(&stack, &outcome, "AgentUnavailable", true);
    let calls = stack.agent.call_count();
    update(&stack, &json!({"cancelRequested": true}));
    let outcome = function.invoke(delivery(false)).await;
    let record = assert_cancelled(&stack, &outcome);
    let outcome = function.invoke(delivery(false)).await;
    assert_duplicate(&stack, &outcome, "cancelled");
    assert_eq!(execution(&stack), record);
    assert_eq!(stack.agent.call_count(), calls, "no call after the cancellation");
    stack.assert_clean();
}

#[tokio::test]
async fn f48_cancelled_after_its_attempt_died_is_not_rerun() {
    for rerun in [false, true] {
        let stack = stack().await;
        dead_in_mid_stream(&stack).await;
        update(&stack, &json!({"cancelRequested": true, "leaseUntil": now_millis() - 60_000}));
        let outcome = stack.function(&[SHORT_LEASE]).await.invoke(delivery(rerun)).await;
        assert_cancelled(&stack, &outcome);
        assert_eq!(stack.agent.call_count(), 1);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f48_cancelled_while_it_runs_ends_with_the_next_heartbeat() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let function = stack.function(&[SHORT_LEASE]).await;
    let cancel = async {
        gate.reached().await;
        update(&stack, &json!({"cancelRequested": true}));
        let beats = stack.dynamodb.count("UpdateItem");
        stack.agent.wait_until("the client's leaving", |calls| calls[0].client_left).await;
        beats
    };
    let (outcome, beats) = tokio::join!(function.invoke(delivery(false)), cancel);
    let record = assert_cancelled(&stack, &outcome);
    assert!(record["events"].as_u64().unwrap() > 0, "how far it came is recorded: {record:#?}");
    assert_eq!(stack.dynamodb.count("UpdateItem"), beats + 2, "one heartbeat, and the end");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f48_cancelled_after_the_end_is_unchanged() {
    let stack = stack().await;
    let function = stack.function(&[SHORT_LEASE]).await;
    let outcome = function.invoke(delivery(false)).await;
    assert_completed(&stack, &outcome);
    update(&stack, &json!({"cancelRequested": true}));
    let record = execution(&stack);
    let outcome = function.invoke(delivery(false)).await;
    assert_duplicate(&stack, &outcome, "completed");
    assert_eq!(execution(&stack), record);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

/// A row as an attempt leaves it whose clock differs from ours: its lease of the default 30 s ends at `lease_left`
/// milliseconds from now, by our clock.
async fn met_with_lease_left(lease_left: i64, invocation: Invocation) -> (Stack, Value, Outcome) {
    let stack = stack().await;
    dead_in_mid_stream(&stack).await;
    update(&stack, &json!({"leaseUntil": now_millis() + lease_left}));
    let record = execution(&stack);
    let outcome = stack.function(&[]).await.invoke(invocation).await;
    (stack, record, outcome)
}

#[tokio::test]
async fn f51_lease_stored_by_a_slow_clock_is_not_taken_over_early() {
    // Alive by its owner's clock, which is within 5 s of ours; 3 s are left for a slow test machine.
    for rerun in [json!({}), json!({"onInterrupted": "rerun"})] {
        let (stack, record, outcome) = met_with_lease_left(-2_000, fire_with(&rerun)).await;
        assert_duplicate(&stack, &outcome, "running");
        assert_eq!(execution(&stack), record, "touches nothing");
        assert_eq!(stack.agent.call_count(), 1);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f51_lease_stored_by_a_fast_clock_is_not_taken_over_early() {
    let (stack, record, outcome) = met_with_lease_left(35_000, fire_with(&json!({"onInterrupted": "rerun"}))).await;
    assert_duplicate(&stack, &outcome, "running");
    assert_eq!(execution(&stack), record, "touches nothing");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f51_lease_over_by_more_than_the_skew_is_taken_over() {
    let (stack, _, outcome) = met_with_lease_left(-5_100, fire()).await;
    assert_failed(&stack, &outcome, "Interrupted", false);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
    let (stack, _, outcome) = met_with_lease_left(-5_100, fire_with(&json!({"onInterrupted": "rerun"}))).await;
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 2);
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

/// Another attempt has read the lapsed row of a frozen owner and is about to write `takeover`; the owner thaws and
/// beats once more before that write arrives.
async fn late_heartbeat_defeats(takeover: Rule, gate: &Gate, rerun: bool) {
    let stack = stack().await;
    let agent = Gate::new();
    stack.agent.queue(gated(&agent));
    let lease = [("LEASE_SECONDS", "2")];
    let (owner, other) = (stack.function(&lease).await, stack.function(&lease).await);
    let take_over = async {
        agent.reached().await;
        owner.freeze();
        let lapsed = |record: &Value| record["leaseUntil"].as_i64().is_some_and(|until| until + 333 < now_millis());
        let seen = stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, lapsed).await;
        let held = stack.dynamodb.inject(takeover);
        let event = if rerun { fire_with(&json!({"onInterrupted": "rerun"})) } else { fire() };
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
    // The owner's own event does not ask for a rerun, so that it may go on after its lease.
    let (outcome, ()) = tokio::join!(owner.invoke(delivery(false)), take_over);
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f51_late_heartbeat_defeats_an_interruption() {
    let gate = Gate::new();
    let takeover = Rule::new("UpdateItem", Fault::GateBefore(gate.clone())).containing("Interrupted").once();
    late_heartbeat_defeats(takeover, &gate, false).await;
}

#[tokio::test]
async fn f51_late_heartbeat_defeats_a_rerun() {
    let gate = Gate::new();
    // The first PutItem is the claim of an absent row, which is refused and returns the row.
    let takeover = Rule::new("PutItem", Fault::GateBefore(gate.clone())).after(1).once();
    late_heartbeat_defeats(takeover, &gate, true).await;
}

/// Three attempts fail in the same way; the third is final.
async fn fails_three_times(function: &Lambda, stack: &Stack, error_type: &str) {
    for attempt in 1..=3 {
        let outcome = function.invoke(delivery(false)).await;
        let record = assert_failed(stack, &outcome, error_type, attempt < 3);
        assert_eq!(record["attempt"], attempt);
    }
    let record = execution(stack);
    let calls = stack.agent.call_count();
    let outcome = function.invoke(delivery(false)).await;
    assert_failed(stack, &outcome, error_type, false);
    assert_eq!(execution(stack), record);
    assert_eq!(stack.agent.call_count(), calls, "a final failure is replayed");
    stack.assert_clean();
}

#[tokio::test]
async fn f55_third_refusal_by_a_busy_agent_is_final() {
    let stack = stack().await;
    stack.agent.default(Script::status(429, "busy"));
    let function = stack.function(&[]).await;
    fails_three_times(&function, &stack, "AgentUnavailable").await;
    assert_eq!(stack.agent.call_count(), 9, "three tries in each of three attempts");
}

#[tokio::test]
async fn f55_third_failure_of_the_token_is_final() {
    let stack = stack().await;
    stack.cognito.answer_always(CognitoOperation::Token, TokenAnswer::Status(500));
    let function = stack.function(&[]).await;
    fails_three_times(&function, &stack, "AuthenticationFailed").await;
    assert_eq!(stack.agent.call_count(), 0);
}

#[tokio::test]
async fn s6_progress_shows_while_it_runs_and_a_cancel_ends_it_with_the_next_heartbeat() {
    let limit = Duration::from_secs(30);
    let stack = stack().await;
    stack.agent.default(Script::endless(Duration::from_millis(20)));
    let function = stack.function(&[SHORT_LEASE]).await;
    let events = |row: &Value| row["events"].as_u64().unwrap_or_default();
    let watch = async {
        let first = stack.dynamodb.wait_for_execution(TRIGGER, limit, |row| events(row) > 0).await;
        let later = stack.dynamodb.wait_for_execution(TRIGGER, limit, |row| events(row) > events(&first)).await;
        for row in [&first, &later] {
            assert_eq!((&row["status"], row["bytes"].is_number()), (&json!("running"), true), "{row:#}");
        }
        assert!(later["lastEventAt"].as_str() > first["lastEventAt"].as_str(), "from {first:#} to {later:#}");
        assert!(later["leaseUntil"].as_i64() > first["leaseUntil"].as_i64(), "from {first:#} to {later:#}");
        let key = |name: &str| later[name].as_str().unwrap().to_owned();
        assert!(stack.dynamodb.request_cancel(&key("PK"), &key("SK")));
        stack.dynamodb.clear_requests();
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire()), watch);
    let record = assert_cancelled(&stack, &outcome);
    assert!(events(&record) > 0 && record["lastEventAt"].is_string(), "{record:#}");
    // The heartbeat that learned of it and the end; one more may have been on its way.
    assert!(stack.dynamodb.count("UpdateItem") <= 3);
    stack.assert_clean();
}
