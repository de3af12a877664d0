//! The cases of a single fire: how it is sent, how its attempt is killed, and what must hold of each ending.

use serde_json::{Value, json};
use standins::{Gate, Invocation, Outcome, Stack, runtime_api::scheduled_event};

use crate::support::{self, LIMIT, assert_absent, gated, killed_when, lease, now_millis, skew};

pub(crate) const TRIGGER: &str = "trigger-1";
pub(crate) const PROMPT: &str = "Count the files of the quarter";
pub(crate) const TIME: &str = "2026-01-31T07:00:00Z";

/// Heartbeats every third of a second, and clocks that may differ by a sixth.
pub(crate) fn short_lease() -> (&'static str, &'static str) {
    lease(1)
}

/// The event of a fire of this trigger at `TIME`.
pub(crate) fn event_of(trigger_id: &str) -> Value {
    scheduled_event(trigger_id, PROMPT, Some(TIME))
}

/// The fire of `TRIGGER` at `TIME`, in a Lambda request of its own.
pub(crate) fn fire() -> Invocation {
    Invocation::scheduled(TRIGGER, PROMPT, TIME)
}

/// The same with these fields in its `detail`.
pub(crate) fn fire_with(fields: &Value) -> Invocation {
    let mut event = event_of(TRIGGER);
    for (name, value) in fields.as_object().into_iter().flatten() {
        event["detail"][name] = value.clone();
    }
    Invocation::event(&event)
}

/// The same, to be run again if it is interrupted.
pub(crate) fn fire_with_rerun() -> Invocation {
    fire_with(&json!({"onInterrupted": "rerun"}))
}

/// Lambda delivers the same request again and again under one id.
pub(crate) fn delivery(rerun: bool) -> Invocation {
    let event = if rerun { fire_with_rerun() } else { fire() };
    event.request_id("request-1")
}

/// Kills an attempt at a delivery in mid-stream and gives its record.
pub(crate) async fn dead_in_mid_stream(stack: &Stack, rerun: bool) -> Value {
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    killed_when(gate.reached(), &stack.function(&[short_lease()]).await, delivery(rerun)).await;
    assert_running(stack)
}

/// Waits until anybody may take the execution over from the one that holds it with a `short_lease`.
pub(crate) async fn lease_is_over(stack: &Stack) {
    let skew = skew(1);
    let is_over = |record: &Value| record["leaseUntil"].as_i64().is_some_and(|until| until + skew < now_millis());
    stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, is_over).await;
}

/// Sets attributes of the one execution, as another attempt or a person would.
pub(crate) fn update(stack: &Stack, attributes: &Value) {
    let record = execution(stack);
    stack.dynamodb.update(record["PK"].as_str().unwrap(), record["SK"].as_str().unwrap(), attributes);
}

/// The one execution of `TRIGGER`.
pub(crate) fn execution(stack: &Stack) -> Value {
    support::execution(stack, TRIGGER)
}

/// Asserts that Lambda was told of a completed run, and that the record says the same. Gives the record.
pub(crate) fn assert_completed(stack: &Stack, outcome: &Outcome) -> Value {
    let record = execution(stack);
    support::assert_completed(outcome, &record);
    record
}

/// Asserts that Lambda was told of this failure, and that the record says the same. Gives the record.
pub(crate) fn assert_failed(stack: &Stack, outcome: &Outcome, error_type: &str, retryable: bool) -> Value {
    let record = execution(stack);
    support::assert_failed(outcome, &record, error_type, retryable);
    // What the agent itself said may follow on lines of its own, and stays out of the result.
    assert_eq!(record["error"].as_str().and_then(|text| text.lines().next()), outcome.body()["message"].as_str());
    record
}

/// Asserts that Lambda was told of this failure, whatever is stored. Gives the message's object.
pub(crate) fn assert_error(outcome: &Outcome, error_type: &str, retryable: bool) -> Value {
    let message = outcome.body();
    assert_eq!(outcome.error_type(), error_type, "{outcome:#?}");
    assert_eq!((&message["error"], &message["retryable"]), (&error_type.into(), &retryable.into()), "{message}");
    assert_eq!(message["statusCode"], if error_type == "InvalidEvent" { 400 } else { 500 });
    assert!(message["message"].as_str().is_some_and(|text| !text.is_empty()), "{message}");
    message
}

/// Asserts that Lambda was told that this fire is taken care of, with the record's `status`. Gives the record.
pub(crate) fn assert_duplicate(stack: &Stack, outcome: &Outcome, status: &str) -> Value {
    let record = execution(stack);
    support::assert_duplicate(outcome, &record);
    assert_eq!(record["status"], status);
    record
}

/// Asserts that the execution is left `running`. Gives the record.
pub(crate) fn assert_running(stack: &Stack) -> Value {
    let record = execution(stack);
    assert_eq!(record["status"], "running", "{record:#?}");
    assert_absent(&record, &["completedAt", "error", "errorType", "retryable", "output"]);
    record
}
