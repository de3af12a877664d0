//! Settling: what Lambda's on-failure destination reports is looked at once more.

use std::time::Duration;

use serde_json::{Value, json};
use standins::destination::{failed_messages, notification, report, report_of_age, sqs_batch};
use standins::runtime_api::scheduled_event;
use standins::{CognitoOperation, Fault, Gate, Invocation, Lambda, Outcome, Rule, Script, Stack};

use crate::support::{assert_absent, execution, killed_when, lease, lease_over, now_millis, scaled, stack};

const TIME: &str = "2026-01-01T00:00:00Z";
const PROMPT: &str = "Count the files of the quarter";

async fn start() -> (Stack, Lambda) {
    let stack = stack().await;
    let function = stack.function(&[lease(1)]).await;
    (stack, function)
}

fn fire(trigger_id: &str) -> Invocation {
    Invocation::scheduled(trigger_id, PROMPT, TIME)
}

/// The record of a real run, then changed.
async fn record(stack: &Stack, function: &Lambda, trigger_id: &str, changes: Value) -> Value {
    assert!(function.invoke(fire(trigger_id)).await.is_success());
    change(stack, trigger_id, changes)
}

fn change(stack: &Stack, trigger_id: &str, changes: Value) -> Value {
    let row = execution(stack, trigger_id);
    let key = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    stack.dynamodb.update(&key("PK"), &key("SK"), &changes);
    execution(stack, trigger_id)
}

fn running(lease_ends_in_millis: i64) -> Value {
    json!({"status": "running", "completedAt": null, "output": null, "leaseUntil": now_millis() + lease_ends_in_millis})
}

fn retryable() -> Value {
    json!({"status": "failed", "errorType": "AgentUnavailable", "error": "the agent is unavailable: busy",
        "retryable": true, "output": null})
}

fn told(error_type: &str, message: &str, retryable: bool) -> Outcome {
    let body = json!({"statusCode": 500, "error": error_type, "message": message, "retryable": retryable}).to_string();
    let posted = json!({"errorType": error_type, "errorMessage": body});
    Outcome::FunctionError { error_type: error_type.to_owned(), error_message: body, posted }
}

/// The body of the message that reports `last` of the trigger's fire after three attempts.
fn reported(trigger_id: &str, last: &Outcome) -> String {
    notification(&report(&fire(trigger_id), 3, last).to_string())
}

async fn settle(function: &Lambda, bodies: &[&str]) -> Vec<String> {
    let ids: Vec<_> = (0..bodies.len()).map(|index| index.to_string()).collect();
    let batch = sqs_batch(ids.iter().map(String::as_str).zip(bodies.iter().copied()));
    failed_messages(&function.invoke(batch).await)
}

/// What settling must never ask for.
fn asked(stack: &Stack) -> (usize, usize, usize) {
    let tokens = stack.cognito.count(CognitoOperation::Token);
    (stack.agent.requests().len(), tokens, stack.cognito.count(CognitoOperation::DescribeUserPoolClient))
}

#[tokio::test]
async fn s7_every_message_of_a_batch_is_settled_for_itself() {
    let (stack, function) = start().await;
    record(&stack, &function, "dead", running(-2000)).await;
    record(&stack, &function, "raw", running(-2000)).await;
    record(&stack, &function, "busy", retryable()).await;
    let alive = record(&stack, &function, "alive", running(60_000)).await;
    let mut invalid = scheduled_event("invalid", PROMPT, Some(TIME));
    invalid["detail"]["userId"] = Value::Null;
    let invalid = Invocation::event(&invalid);
    let count = || stack.dynamodb.scan().iter().filter(|row| row["status"].is_string()).count();
    let rows = count();

    // Nothing here may need a token or the agent, so neither could be had.
    let settler = stack.function(&[lease(1), ("COGNITO_DOMAIN", "http://127.0.0.1:9")]).await;
    let before = asked(&stack);
    let bodies = [
        "not JSON".to_owned(),
        reported("dead", &Outcome::Died),
        notification("neither"),
        report(&fire("raw"), 3, &Outcome::Died).to_string(),
        r#"{"Type":"Notification"}"#.to_owned(),
        reported("busy", &told("AgentUnavailable", "the agent is unavailable: busy", true)),
        notification(r#"{"requestContext":{"requestId":7},"requestPayload":{}}"#),
        reported("alive", &Outcome::Died),
        String::new(),
        notification(&report(&invalid, 3, &told("InvalidEvent", "invalid event", false)).to_string()),
        reported("nothing", &told("RecordStoreFailed", "DynamoDB PutItem failed: denied: no", true)),
    ];
    let failed = settle(&settler, &bodies.each_ref().map(String::as_str)).await;
    assert_eq!(failed, ["6", "7"], "a report that is not understood, and the one alive");
    // What is no report is refused by an invocation of its own, whose on-failure destination keeps it.
    let handed_on: Vec<_> = stack.lambda.dispatched().iter().map(|seen| seen.json()["_message"].clone()).collect();
    assert_eq!(handed_on, ["not JSON", "neither", r#"{"Type":"Notification"}"#, ""]);

    for trigger_id in ["dead", "raw"] {
        let row = execution(&stack, trigger_id);
        assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!("Interrupted")), "{row:#}");
        assert_eq!(row["retryable"], false);
        assert!(row["completedAt"].is_string() && row["error"].is_string(), "{row:#}");
    }
    let busy = execution(&stack, "busy");
    assert_eq!((&busy["errorType"], &busy["retryable"]), (&json!("AgentUnavailable"), &json!(false)), "{busy:#}");
    assert_eq!(execution(&stack, "alive"), alive);
    assert_eq!(execution(&stack, "nothing")["errorType"], "RecordStoreFailed");
    assert!(stack.dynamodb.executions("invalid").is_empty());
    assert_eq!(count(), rows + 1, "only the fire without a record gets one");
    assert_eq!(asked(&stack), before, "settling calls no agent and needs no token");
    stack.assert_clean();
}

#[tokio::test]
async fn s7_a_run_whose_process_was_killed_is_settled_once_its_lease_is_over() {
    let (stack, function) = start().await;
    stack.agent.default(Script::endless(Duration::from_millis(50)));
    killed_when(stack.agent.wait_for_calls(1), &function, fire("killed")).await;
    let left = execution(&stack, "killed");
    let settler = stack.function(&[lease(1)]).await;
    let body = reported("killed", &Outcome::Died);
    assert_eq!(settle(&settler, &[&body]).await, ["0"], "its lease is alive");
    assert_eq!(execution(&stack, "killed"), left);
    tokio::time::sleep(lease_over(1)).await;
    assert!(settle(&settler, &[&body]).await.is_empty());
    let row = execution(&stack, "killed");
    assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!("Interrupted")), "{row:#}");
    assert_eq!(stack.agent.call_count(), 1);
    // What a late delivery is told is what the record says.
    let late = settler.invoke(fire("killed")).await;
    assert_eq!((late.error_type(), late.body()["retryable"].clone()), ("Interrupted", json!(false)));
    assert_eq!(execution(&stack, "killed"), row);
    stack.assert_clean();
}

#[tokio::test]
async fn f53_a_fire_no_attempt_could_record_gets_its_record() {
    for (scheduled_time, guard_lost) in [(Some(TIME), false), (None, true), (None, false)] {
        let (stack, function) = start().await;
        let fire = Invocation::event(&scheduled_event("unrecorded", PROMPT, scheduled_time)).timeout(scaled(9_000));
        let rule = Rule::new("PutItem", Fault::Deny);
        let denied = stack.dynamodb.inject(if guard_lost { rule } else { rule.containing("EXECUTION#") });
        let mut last = Outcome::Died;
        for _ in 0..3 {
            last = function.invoke(fire.clone()).await;
            assert_eq!((last.error_type(), &last.body()["retryable"]), ("RecordStoreFailed", &json!(true)));
        }
        assert!(denied.hits() >= 3);
        denied.remove();
        assert!(stack.dynamodb.executions("unrecorded").is_empty());

        let before = asked(&stack);
        let body = notification(&report(&fire, 3, &last).to_string());
        assert!(settle(&function, &[&body]).await.is_empty());
        let row = execution(&stack, "unrecorded");
        assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!("RecordStoreFailed")), "{row:#}");
        assert_eq!((&row["error"], &row["retryable"]), (&last.body()["message"], &json!(false)));
        assert_eq!((&row["attempt"], &row["lambdaRequestId"]), (&json!(3), &json!(fire.request_id)));
        assert_eq!((&row["userId"], &row["agentId"]), (&json!("user-1"), &json!("agent-1")));
        assert_eq!(row.get("scheduledTime"), scheduled_time.map(Value::from).as_ref());
        assert!(row["startedAt"].is_string() && row["completedAt"].is_string() && row["ttl"].is_i64(), "{row:#}");
        if let Some(id) = last.body()["executionId"].as_str() {
            assert_eq!(row["executionId"], id, "the id the attempts told");
        }
        assert_eq!(last.body()["executionId"].is_string(), !guard_lost, "an id is told where one is known");
        assert_eq!(asked(&stack), before);

        // Again, and a late delivery of the same fire.
        assert!(settle(&function, &[&body]).await.is_empty());
        let late = function.invoke(fire).await;
        assert_eq!((late.error_type(), &late.body()["retryable"]), ("RecordStoreFailed", &json!(false)));
        assert_eq!(execution(&stack, "unrecorded"), row);
        assert_eq!(stack.agent.call_count(), 0);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f53_the_reason_is_what_the_last_attempt_came_to() {
    let (stack, function) = start().await;
    let too_late = told("DeadlineExceeded", "too little time is left to start a run", true);
    let foreign = json!({"errorMessage": "RequestId: 1 Process exited before completing request"});
    let foreign = Outcome::FunctionError { error_type: String::new(), error_message: String::new(), posted: foreign };
    let bodies = [
        reported("too-late", &too_late),
        reported("killed", &Outcome::Died),
        reported("out-of-time", &Outcome::TimedOut),
        reported("exited", &foreign),
        notification(&report_of_age(&fire("old")).to_string()),
    ];
    assert!(settle(&function, &bodies.each_ref().map(String::as_str)).await.is_empty());
    for (trigger_id, error_type, attempt, text) in [
        ("too-late", "DeadlineExceeded", 3, "too little time is left to start a run"),
        ("killed", "Internal", 3, "died"),
        ("out-of-time", "Internal", 3, "died"),
        ("exited", "Internal", 3, "died"),
        ("old", "Internal", 1, "too old"),
    ] {
        let row = execution(&stack, trigger_id);
        assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!(error_type)), "{row:#}");
        assert!(row["error"].as_str().unwrap().contains(text), "{row:#}");
        assert_eq!((&row["attempt"], &row["retryable"]), (&json!(attempt), &json!(false)), "{row:#}");
    }
    assert_eq!(asked(&stack), (0, 0, 0));
}

#[tokio::test]
async fn f54_what_is_alive_or_ended_stays_byte_for_byte() {
    let (stack, function) = start().await;
    let final_failure =
        json!({"status": "failed", "errorType": "AgentFailed", "error": "it broke", "retryable": false});
    for (trigger_id, changes, expected) in [
        ("alive", running(60_000), &["0"][..]),
        (
            "alive-to-cancel",
            json!({"status": "running", "leaseUntil": now_millis() + 60_000, "cancelRequested": true}),
            &["0"],
        ),
        ("completed", json!({"output": "six files"}), &[]),
        ("completed-to-cancel", json!({"cancelRequested": true}), &[]),
        ("failed", final_failure, &[]),
        ("cancelled", json!({"status": "cancelled"}), &[]),
        ("skipped", json!({"status": "skipped"}), &[]),
        ("of-a-later-version", json!({"status": "paused"}), &["0"]),
    ] {
        let before = record(&stack, &function, trigger_id, changes).await;
        let body = reported(trigger_id, &Outcome::Died);
        assert_eq!(settle(&function, &[&body, &body]).await.len(), 2 * expected.len(), "{trigger_id}");
        assert_eq!(execution(&stack, trigger_id), before, "{trigger_id}");
    }
    assert_eq!(stack.dynamodb.count("UpdateItem"), 8, "one for the end of each run and none to settle");
}

#[tokio::test]
async fn f54_settling_twice_changes_nothing_more() {
    let (stack, function) = start().await;
    record(&stack, &function, "dead", running(-2000)).await;
    record(&stack, &function, "busy", retryable()).await;
    for trigger_id in ["dead", "busy", "nothing"] {
        let body = reported(trigger_id, &Outcome::Died);
        assert!(settle(&function, &[&body]).await.is_empty());
        let settled = execution(&stack, trigger_id);
        assert_eq!((&settled["status"], &settled["retryable"]), (&json!("failed"), &json!(false)));
        assert!(settle(&function, &[&body, &body]).await.is_empty());
        assert_eq!(execution(&stack, trigger_id), settled, "{trigger_id}");
    }
}

#[tokio::test]
async fn f54_what_was_to_be_cancelled_is_cancelled() {
    let (stack, function) = start().await;
    let mut dead = running(-2000);
    let mut busy = retryable();
    dead["cancelRequested"] = json!(true);
    busy["cancelRequested"] = json!(true);
    for (trigger_id, changes) in [("dead", dead), ("busy", busy)] {
        record(&stack, &function, trigger_id, changes).await;
        assert!(settle(&function, &[&reported(trigger_id, &Outcome::Died)]).await.is_empty());
        let row = execution(&stack, trigger_id);
        assert_eq!(row["status"], "cancelled", "{row:#}");
        assert_absent(&row, &["error", "errorType", "retryable"]);
    }
}

#[tokio::test]
async fn f54_a_store_that_is_down_loses_no_message() {
    let (stack, function) = start().await;
    let dead = record(&stack, &function, "dead", running(-2000)).await;
    record(&stack, &function, "fine", running(-2000)).await;
    let of_dead = |rule: Rule| rule.containing("TRIGGER#dead");
    let bodies = [reported("dead", &Outcome::Died), reported("fine", &Outcome::Died)];
    let bodies = bodies.each_ref().map(String::as_str);
    for rule in [Rule::any(Fault::Deny), Rule::any(Fault::Hang), Rule::new("UpdateItem", Fault::ServerError)] {
        let down = stack.dynamodb.inject(of_dead(rule));
        assert_eq!(settle(&function, &bodies).await, ["0"], "the other one is not held up");
        assert_eq!(execution(&stack, "fine")["errorType"], "Interrupted");
        assert_eq!(execution(&stack, "dead"), dead);
        assert!(down.hits() > 0);
        down.remove();
    }
    // Its own write whose answer is lost is known again.
    let lost = stack.dynamodb.inject(of_dead(Rule::new("UpdateItem", Fault::ApplyThenLose)).once());
    assert!(settle(&function, &bodies).await.is_empty());
    assert_eq!((lost.hits(), &execution(&stack, "dead")["errorType"]), (1, &json!("Interrupted")));

    // With no time left every message is named, settled or not.
    stack.dynamodb.inject(Rule::new("GetItem", Fault::Hang));
    let batch = sqs_batch([("first", bodies[0]), ("second", bodies[1])]).timeout(Duration::from_secs(3));
    assert_eq!(failed_messages(&function.invoke(batch).await), ["first", "second"]);
}

#[tokio::test]
async fn f54_a_heartbeat_between_reading_and_writing_refuses_the_write() {
    let (stack, function) = start().await;
    let stalled = record(&stack, &function, "stalled", running(-2000)).await;
    let gate = Gate::new();
    stack
        .dynamodb
        .inject(Rule::new("UpdateItem", Fault::GateBefore(gate.clone())).containing("TRIGGER#stalled").once());
    let body = reported("stalled", &Outcome::Died);
    let bodies = [body.as_str()];
    let settling = settle(&function, &bodies);
    let heartbeat = async {
        gate.reached().await;
        let row = change(&stack, "stalled", json!({"leaseUntil": now_millis() + 60_000}));
        gate.release();
        row
    };
    let (failed, extended) = tokio::join!(settling, heartbeat);
    assert_eq!(failed, ["0"], "looked at again it is alive");
    assert_eq!(execution(&stack, "stalled"), extended);
    assert_ne!(stalled, extended);
    // Or it ended meanwhile.
    change(&stack, "stalled", json!({"leaseUntil": now_millis() - 2000}));
    let gate = Gate::new();
    stack
        .dynamodb
        .inject(Rule::new("UpdateItem", Fault::GateBefore(gate.clone())).containing("TRIGGER#stalled").once());
    let finish = async {
        gate.reached().await;
        let row = change(&stack, "stalled", json!({"status": "completed", "completedAt": "2026-01-01T00:00:09.000Z"}));
        gate.release();
        row
    };
    let (failed, completed) = tokio::join!(settle(&function, &bodies), finish);
    assert_eq!(failed.len(), 0);
    assert_eq!(execution(&stack, "stalled"), completed);
}
