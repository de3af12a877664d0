//! Detached runs: the agent works on after the invocation, reports, or is silent (docs/long-runs.md).

mod asked;
mod cost_table;
mod counted;
mod counts;
mod ends;
mod lost;
mod refused;
mod state_machine;

use serde_json::{Value, json};
use standins::{Invocation, Lambda, Outcome, Script, SentMessage, Stack, bus_event, destination::failed_messages};

use crate::support::one_fire::{execution, fire_with, update};
use crate::support::{self, now_millis};

/// The settings of the runs here: two hours.
fn settings() -> Value {
    json!({"timeoutSeconds": 7200, "firstReportSeconds": 300})
}

/// A fire of a detached run, in one Lambda request, which Lambda may deliver again.
fn fire() -> Invocation {
    fire_with(&json!({"detached": settings()})).request_id("request-1")
}

const REPORT_URL: (&str, &str) = ("REPORT_URL", "https://reports.example.com/reports");

/// The stand-ins, with an agent that acknowledges and promises to report every two minutes.
async fn stack() -> Stack {
    let stack = support::stack().await;
    stack.agent.default(Script::acknowledges(Some(120)));
    stack
}

async fn function(stack: &Stack) -> Lambda {
    stack.function(&[REPORT_URL, support::lease(1)]).await
}

/// The token that the agent was given in its last call.
fn token(stack: &Stack) -> String {
    let calls = stack.agent.calls();
    let callback = calls.last().and_then(|call| call.callback()).expect("a callback");
    callback["token"].as_str().unwrap().to_owned()
}

/// The event by which the agent of the only execution reports over the bus of reports.
fn report(stack: &Stack, token: &str, members: &Value) -> Invocation {
    let row = execution(stack);
    let mut detail = json!({"token": token, "triggerId": row["triggerId"], "executionId": row["executionId"]});
    for (name, value) in members.as_object().unwrap() {
        detail[name] = value.clone();
    }
    let event = bus_event("my.agent", "Agent Report", detail);
    Invocation::event(&json!({"_from": "report-bus", "_event": event}))
}

/// Reports, and returns the status and the body of the answer.
async fn reports(stack: &Stack, function: &Lambda, members: Value) -> (u64, Value) {
    answer(&function.invoke(report(stack, &token(stack), &members)).await)
}

fn answer(outcome: &Outcome) -> (u64, Value) {
    let Outcome::Success(response) = outcome else { panic!("{outcome:?}") };
    (response["statusCode"].as_u64().unwrap(), outcome.body())
}

/// Delivers a look. Returns true if it was dealt with.
async fn deliver(function: &Lambda, look: &SentMessage) -> bool {
    failed_messages(&function.invoke(look.delivery()).await).is_empty()
}

/// The last message that was sent to the settle queue.
fn last_look(stack: &Stack) -> SentMessage {
    stack.sqs.sent().pop().expect("a look")
}

/// The time until which a run keeps its turn, unless it ends before: a quarter of an hour after its deadline.
fn turn_until(row: &Value) -> Value {
    json!(row["deadline"].as_i64().expect("a deadline") + 900_000)
}

/// Lets the lease of the only execution be over.
fn end_lease(stack: &Stack) {
    update(stack, &json!({"leaseUntil": now_millis() - 60_000}));
}

/// Asserts that the invocation left the run to its agent.
fn assert_left(stack: &Stack, outcome: &Outcome) -> Value {
    let row = execution(stack);
    let expected = json!({"success": true, "triggerId": row["triggerId"], "executionId": row["executionId"],
        "sessionId": row["sessionId"], "status": "running", "detached": true});
    assert_eq!(outcome.body(), expected, "{outcome:?}");
    assert_eq!((&row["status"], &row["detached"]), (&json!("running"), &json!(true)), "{row:#}");
    assert!(row["detachedAt"].is_string(), "{row:#}");
    row
}
