//! The cases of a stored trigger that a schedule fires: its item, its fires minute by minute, and what must hold of them.

use std::time::Duration;

use serde_json::{Value, json};
use standins::runtime_api::scheduled_event;
use standins::{Fault, Gate, Injected, Invocation, Outcome, Rule, Script, Stack};

use crate::support::one_fire::{PROMPT, TRIGGER};
use crate::support::{FINISH, LIMIT, assert_absent, lease};

pub(crate) const USER: &str = "user-1";
/// Long enough for a slow machine to start a process in, short enough to wait for its end.
pub(crate) fn long_lease() -> (&'static str, &'static str) {
    lease(4)
}

/// Stores the trigger with these attributes beside its keys.
pub(crate) fn store(stack: &Stack, attributes: Value) {
    let mut item = json!({"PK": format!("TRIGGER#{USER}"), "SK": format!("TRIGGER#{TRIGGER}"), "id": TRIGGER,
        "userId": USER, "name": "Quarterly files"});
    item.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
    stack.dynamodb.put_item(&item);
}

/// The trigger as it is stored.
pub(crate) fn trigger(stack: &Stack) -> Value {
    stack.dynamodb.item(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{TRIGGER}")).unwrap_or(Value::Null)
}

/// Sets attributes of the trigger as a person would; null takes one away.
pub(crate) fn edit(stack: &Stack, attributes: &Value) {
    stack.dynamodb.update(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{TRIGGER}"), attributes);
}

/// Deletes the trigger.
pub(crate) fn delete(stack: &Stack) {
    stack.dynamodb.delete(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{TRIGGER}"));
}

/// The other item of the trigger whose sort key starts so; null if there is none.
pub(crate) fn item(stack: &Stack, sk: &str) -> Value {
    let mut found = stack.dynamodb.scan().into_iter().filter(|item| {
        item["PK"] == format!("TRIGGER#{TRIGGER}") && item["SK"].as_str().is_some_and(|key| key.starts_with(sk))
    });
    let first = found.next().unwrap_or(Value::Null);
    assert_eq!(found.next(), None, "one {sk}");
    first
}

pub(crate) fn time_of(minute: u32) -> String {
    format!("2026-01-01T{:02}:{:02}:00Z", minute / 60, minute % 60)
}

/// The fire of this minute, the same Lambda request however often it is delivered.
pub(crate) fn fire_at(minute: u32) -> Invocation {
    fire_with(minute, &json!({}))
}

/// The same with these fields in its `detail`.
pub(crate) fn fire_with(minute: u32, fields: &Value) -> Invocation {
    let mut event = scheduled_event(TRIGGER, PROMPT, Some(&time_of(minute)));
    event["detail"].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Invocation::event(&event).request_id(format!("request-{minute}"))
}

/// The execution of this minute's fire.
pub(crate) fn execution_at(stack: &Stack, minute: u32) -> Value {
    let time = time_of(minute);
    let mut found = stack.dynamodb.executions(TRIGGER).into_iter().filter(|row| row["scheduledTime"] == time);
    let first = found.next().unwrap_or_else(|| panic!("no execution at {time}: {:#?}", stack.dynamodb.scan()));
    assert_eq!(found.next(), None);
    first
}

/// Waits until the execution of this minute's fire is so, and gives it.
pub(crate) async fn wait_for(stack: &Stack, minute: u32, wanted: impl Fn(&Value) -> bool) -> Value {
    let time = time_of(minute);
    stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, |row| row["scheduledTime"] == time && wanted(row)).await
}

/// Waits until the trigger's other item is so, and gives it.
pub(crate) async fn wait_for_item(stack: &Stack, sk: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let look = async {
        loop {
            let found = item(stack, sk);
            if wanted(&found) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, look).await.unwrap_or_else(|_| panic!("{sk} is {:#}", item(stack, sk)))
}

/// Sets attributes of the execution of this minute's fire.
pub(crate) fn update(stack: &Stack, minute: u32, attributes: &Value) {
    let row = execution_at(stack, minute);
    stack.dynamodb.update(row["PK"].as_str().unwrap(), row["SK"].as_str().unwrap(), attributes);
}

/// Asks for the end of this minute's execution.
pub(crate) fn cancel(stack: &Stack, minute: u32) {
    let row = execution_at(stack, minute);
    assert!(stack.dynamodb.request_cancel(row["PK"].as_str().unwrap(), row["SK"].as_str().unwrap()));
}

/// An answer that fails for good.
pub(crate) fn broken() -> Script {
    Script::server_error_event("the disk is full")
}

/// The finish waits at the gate, is applied, and answered if anybody is left to hear it.
pub(crate) fn hold_finish(stack: &Stack, gate: &Gate) -> Injected {
    let fault = Fault::GateBefore(gate.clone());
    stack.dynamodb.inject(Rule::new("TransactWriteItems", fault).containing(FINISH).once())
}

/// Asserts that the run of this minute completed, and that the record says so. Gives the record.
pub(crate) fn assert_completed(stack: &Stack, minute: u32, outcome: &Outcome) -> Value {
    let row = execution_at(stack, minute);
    crate::support::assert_completed(outcome, &row);
    row
}

/// Asserts that the run of this minute failed so, and that the record says the same. Gives the record.
pub(crate) fn assert_failed(
    stack: &Stack,
    minute: u32,
    outcome: &Outcome,
    (error_type, retryable): (&str, bool),
) -> Value {
    let row = execution_at(stack, minute);
    crate::support::assert_failed(outcome, &row, error_type, retryable);
    row
}

/// Asserts that this minute's fire was deliberately not run, and that the record says why. Gives the record.
pub(crate) fn assert_skipped(stack: &Stack, minute: u32, outcome: &Outcome, reason: &str) -> Value {
    let row = execution_at(stack, minute);
    assert_eq!((&row["status"], &row["skipReason"]), (&json!("skipped"), &json!(reason)), "{row:#}");
    assert!(row["startedAt"].is_string() && row["completedAt"].is_string(), "{row:#}");
    assert_absent(&row, &["error", "errorType", "retryable", "output", "settingsHash", "durationMs"]);
    assert_eq!(row.get("overlaps").is_some(), reason == "Overlap", "{row:#}");
    let Outcome::Success(result) = outcome else { panic!("{outcome:?} with {row:#}") };
    assert_eq!(result["statusCode"], 200);
    let expected = json!({"success": true, "triggerId": TRIGGER, "executionId": row["executionId"],
        "status": "skipped", "skipReason": reason});
    assert_eq!(outcome.body(), expected);
    let input = format!("INPUT#{}", row["executionId"].as_str().unwrap());
    assert_eq!(stack.dynamodb.item(row["PK"].as_str().unwrap(), &input), None, "nothing to ask again");
    row
}

/// Asserts that this minute's fire was cancelled, and that the record says so.
pub(crate) fn assert_cancelled(stack: &Stack, minute: u32, outcome: &Outcome) {
    let row = execution_at(stack, minute);
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!((&outcome.body()["status"], &row["status"]), (&json!("cancelled"), &json!("cancelled")), "{row:#}");
    assert_absent(&row, &["error", "errorType", "retryable", "skipReason"]);
}

/// Asserts how the trigger fares: its health, the failures in a row, and whether it is enabled.
pub(crate) fn assert_health(stack: &Stack, health: &str, failures: u32, enabled: bool) -> Value {
    let trigger = trigger(stack);
    let is_enabled = trigger["enabled"] != json!(false);
    assert_eq!(
        (trigger["health"].as_str(), trigger["failures"].as_u64(), is_enabled),
        (Some(health), Some(u64::from(failures)), enabled),
        "{trigger:#}"
    );
    let names = ["healthErrorType", "healthError"];
    assert!(names.iter().all(|name| trigger[name].is_string() == (health != "ok")), "{trigger:#}");
    let names = ["pausedAt", "pausedReason"];
    assert!(names.iter().all(|name| trigger[name].is_string() == (health == "paused")), "{trigger:#}");
    assert!(trigger["healthSince"].is_string(), "{trigger:#}");
    trigger
}

/// Asserts that no result has counted.
pub(crate) fn assert_no_health(stack: &Stack) {
    let names = ["health", "healthSince", "failures", "healthExecutionId", "healthErrorType", "healthError"];
    assert_absent(&trigger(stack), &names);
    assert_absent(&trigger(stack), &["pausedAt", "pausedReason"]);
}
