//! Cases 18 to 23: the agent before it accepts a call, or when it never says so.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};
use standins::{Agent, CognitoOperation, Fault, Gate, Invocation, Lambda, Outcome, Rule, Script, Stack, Step};
use tokio::net::TcpSocket;

use crate::support::{
    all_logs, assert_absent, assert_completed, assert_duplicate, assert_failed, execution, factor, lease, lines,
    scaled, skew, stack,
};

const PROMPT: &str = "Count the \"confidential\" files of Müller & Söhne";

fn invocation(trigger_id: &str) -> Invocation {
    Invocation::scheduled(trigger_id, PROMPT, "2026-01-31T07:00:00Z")
}

async fn fire(function: &Lambda, trigger_id: &str) -> Outcome {
    function.invoke(invocation(trigger_id)).await
}

/// Bound and not listened on: while it is held no other test's stand-in gets its port.
fn socket_of_nobody() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// Asserts that a row knows of no answer.
fn assert_no_answer(row: &Value) {
    assert_absent(row, &["requestId", "events", "bytes", "usage", "toolUses", "skippedEvents", "firstEventMs"]);
}

fn millis(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Asserts three tries in each of three attempts of one Lambda request, the last one final, and gives the messages.
async fn assert_unavailable_three_times(stack: &Stack, url: &str) -> Vec<String> {
    let function = stack.function(&[("AGENT_API_URL", url)]).await;
    let mut messages = Vec::new();
    for attempt in 1..=3 {
        let outcome = function.invoke(invocation("t").request_id("same")).await;
        let row = execution(stack, "t");
        assert_failed(&outcome, &row, "AgentUnavailable", attempt < 3);
        assert_eq!(row["attempt"], attempt);
        assert_no_answer(&row);
        messages.push(outcome.body()["message"].as_str().unwrap().to_owned());
    }
    let row = execution(stack, "t");
    let fourth = function.invoke(invocation("t").request_id("same")).await;
    assert_failed(&fourth, &row, "AgentUnavailable", false);
    assert_eq!(execution(stack, "t"), row);

    let logs = all_logs(function).await;
    assert_eq!(lines(&logs, "calling the agent").len(), 9, "{logs:#?}");
    assert_eq!(lines(&logs, "\"level\":\"ERROR\"").len(), 4, "one for each failed invocation: {logs:#?}");
    assert_eq!(stack.cognito.count(CognitoOperation::Token), 1);
    messages
}

#[tokio::test]
async fn f18_a_refused_connection_is_retryable_twice() {
    let stack = stack().await;
    let (_held, port) = socket_of_nobody();
    let messages = assert_unavailable_three_times(&stack, &format!("http://127.0.0.1:{port}")).await;
    assert!(messages.iter().all(|message| message.contains("onnection refused")), "{messages:?}");
    stack.assert_clean();
}

#[tokio::test]
async fn f18_a_dns_failure_is_retryable_twice() {
    let stack = stack().await;
    let messages = assert_unavailable_three_times(&stack, "https://nonexistent.invalid/api").await;
    assert!(messages.iter().all(|message| message.contains("dns error")), "{messages:?}");
    stack.assert_clean();
}

#[tokio::test]
async fn f18_a_tls_failure_is_retryable_twice() {
    let stack = stack().await;
    let url = stack.agent.url().replace("http://", "https://");
    assert_unavailable_three_times(&stack, &url).await;
    assert_eq!((stack.agent.connections(), stack.agent.requests().len()), (9, 0));
    stack.assert_clean();
}

#[tokio::test]
async fn f19_a_busy_agent_is_tried_again_and_completes() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let busy = |status| Script::status(status, r#"{"message":"busy with marmalade"}"#);
    for (trigger_id, busy) in
        [("t409", busy(409)), ("t425", busy(425)), ("t429", busy(429)), ("t503", Script::retry_after(503, 0))]
    {
        let before = stack.agent.call_count();
        stack.agent.queue(busy.clone());
        stack.agent.queue(busy);
        let outcome = fire(&function, trigger_id).await;
        let row = execution(&stack, trigger_id);
        assert_completed(&outcome, &row);
        assert_eq!(row["attempt"], 1);
        let calls = &stack.agent.calls()[before..];
        assert_eq!(calls.len(), 3);
        for call in &calls[..2] {
            assert_eq!((&call.body, call.header("authorization")), (&calls[2].body, calls[2].header("authorization")));
        }
        assert_eq!(row["requestId"], calls[2].request_id);
    }
    assert_eq!(stack.cognito.count(CognitoOperation::Token), 1);
    assert!(stack.dynamodb.scan().iter().all(|row| !row.to_string().contains("marmalade")));
    stack.assert_clean();
}

#[tokio::test]
async fn f19_an_agent_that_stays_busy_is_retryable_twice() {
    let stack = stack().await;
    stack.agent.default(Script::status(429, r#"{"message":"busy with marmalade"}"#));
    let messages = assert_unavailable_three_times(&stack, &stack.agent.url()).await;
    assert!(messages.iter().all(|message| message.contains("429") && !message.contains("marmalade")), "{messages:?}");
    assert_eq!(stack.agent.call_count(), 9);
    let error = execution(&stack, "t")["error"].clone();
    assert!(error.as_str().unwrap().contains("busy with marmalade"), "{error}");
    stack.assert_clean();
}

#[tokio::test]
async fn f19_an_attempt_that_succeeds_leaves_nothing_of_the_failed_one() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(Script::retry_after(503, 3600));
    stack.agent.queue(Script::ndjson_happy("three files").midway(Step::Gate(gate.clone())));
    let function = stack.function(&[]).await;
    let outcome = fire(&function, "t").await;
    let failed = execution(&stack, "t");
    assert_failed(&outcome, &failed, "AgentUnavailable", true);
    let second = async {
        gate.reached().await;
        let running = execution(&stack, "t");
        assert_eq!((&running["status"], &running["attempt"]), (&json!("running"), &json!(2)));
        assert_absent(&running, &["error", "errorType", "retryable", "completedAt", "durationMs"]);
        gate.release();
    };
    // Another Lambda request may claim it as well.
    let (outcome, ()) = tokio::join!(fire(&function, "t"), second);
    let row = execution(&stack, "t");
    assert_completed(&outcome, &row);
    assert_eq!((&row["attempt"], &row["startedAt"]), (&json!(2), &failed["startedAt"]));
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn f19_retry_after_is_honoured() {
    let stack = stack().await;
    stack.agent.queue(Script::retry_after(429, 2));
    let outcome = fire(&stack.function(&[]).await, "t").await;
    assert_completed(&outcome, &execution(&stack, "t"));
    let calls = stack.agent.calls();
    assert_eq!(calls.len(), 2);
    assert!(millis(calls[1].at) - millis(calls[0].at) >= 2_000, "{calls:#?}");
    stack.assert_clean();
}

#[tokio::test]
async fn f19_a_retry_after_longer_than_the_time_left_is_retryable_at_once() {
    let stack = stack().await;
    for status in [409, 425, 429, 503] {
        let trigger_id = format!("t{status}");
        stack.agent.default(Script::retry_after(status, 3600));
        let outcome = fire(&stack.function(&[]).await, &trigger_id).await;
        let row = execution(&stack, &trigger_id);
        // Waiting until the deadline would end in DeadlineExceeded.
        assert_failed(&outcome, &row, "AgentUnavailable", true);
        assert_no_answer(&row);
    }
    assert_eq!(stack.agent.call_count(), 4);
    stack.assert_clean();
}

#[tokio::test]
async fn f19_a_wait_longer_than_the_lease_keeps_it_and_duplicates_stay_duplicates() {
    let stack = stack().await;
    stack.agent.queue(Script::retry_after(429, 4 * u64::from(factor())));
    let lease = [lease(2)];
    let (function, other) = (stack.function(&lease).await, stack.function(&lease).await);
    let meanwhile = async {
        stack.agent.wait_for_calls(1).await;
        let first_lease = execution(&stack, "t")["leaseUntil"].as_i64().unwrap();
        // A sixth of a lease later it would be over for everybody.
        let over = u64::try_from(first_lease + skew(2) + 70 - millis(SystemTime::now())).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(over)).await;
        let outcome = fire(&other, "t").await;
        (outcome, execution(&stack, "t"), stack.agent.call_count())
    };
    let (outcome, (duplicate, running, calls)) = tokio::join!(fire(&function, "t"), meanwhile);
    assert_eq!((&running["status"], calls), (&json!("running"), 1));
    assert_duplicate(&duplicate, &running);
    let row = execution(&stack, "t");
    assert_completed(&outcome, &row);
    assert_eq!((&row["attempt"], stack.agent.call_count()), (&json!(1), 2));
    stack.assert_clean();
}

#[tokio::test]
async fn f19_no_call_goes_out_until_the_lease_is_renewed() {
    let stack = stack().await;
    stack.agent.queue(Script::retry_after(429, 2 * u64::from(factor())));
    let gate = Gate::new();
    let held_back = stack.dynamodb.inject(Rule::new("UpdateItem", Fault::GateBefore(gate.clone())));
    let function = stack.function(&[lease(1)]).await;
    let watch = async {
        // The first heartbeat, then the renewal before the second call; the next try of the heartbeat comes later.
        gate.reached_by(2).await;
        let calls = stack.agent.call_count();
        held_back.remove();
        gate.release();
        calls
    };
    let (outcome, calls) = tokio::join!(fire(&function, "t"), watch);
    assert_eq!(calls, 1, "the lease is over and not renewed");
    assert_completed(&outcome, &execution(&stack, "t"));
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn f19_a_call_whose_lease_cannot_be_renewed_is_not_made() {
    let stack = stack().await;
    stack.agent.queue(Script::retry_after(429, 2 * u64::from(factor())));
    let denied = stack.dynamodb.inject(Rule::new("UpdateItem", Fault::Deny).containing("leaseUntil"));
    let outcome = fire(&stack.function(&[lease(1)]).await, "t").await;
    assert!(denied.hits() > 1);
    let row = execution(&stack, "t");
    assert_failed(&outcome, &row, "RecordStoreFailed", true);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f20_a_rejected_call_is_final_and_its_body_in_the_record_alone() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let tail = "marmalade ".repeat(400);
    for status in [400, 403, 404, 405, 413, 422] {
        let trigger_id = format!("t{status}");
        let before = stack.agent.call_count();
        let body = r#"{"message":"no jam","you_said":"{{prompt}}","tail":""#;
        stack.agent.queue(Script::status(status, &format!("{body}{tail}\"}}")));
        let outcome = fire(&function, &trigger_id).await;
        let row = execution(&stack, &trigger_id);
        assert_failed(&outcome, &row, "AgentRejected", false);
        assert_no_answer(&row);
        assert_eq!(stack.agent.call_count(), before + 1);
        let error = row["error"].as_str().unwrap();
        assert!(error.contains("no jam") && error.contains(&status.to_string()), "{error}");
        assert!(error.contains("\"you_said\":\"[redacted]\""), "{error}");
        assert!(error.len() > 1000, "only {} bytes: {error}", error.len());
        assert!(!outcome.body().to_string().contains("jam"));
    }
    assert_eq!(stack.cognito.count(CognitoOperation::Token), 1);
    let logs = all_logs(function).await;
    assert_eq!(lines(&logs, "jam").len() + lines(&logs, "marmalade").len(), 0, "{logs:#?}");
    assert_eq!(lines(&logs, "\"level\":\"ERROR\"").len(), 6, "{logs:#?}");
    stack.assert_clean();
}

#[tokio::test]
async fn f20_input_values_and_the_token_are_replaced_too() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    assert!(fire(&function, "before").await.is_success());
    let token = stack.cognito.issued_tokens().remove(0);
    let body =
        format!("bearer {token}; passphrase correct-horse-battery; part of it: the \\\"confidential\\\" files of");
    stack.agent.queue(Script::status(400, &body));
    let mut event = standins::runtime_api::scheduled_event("t", PROMPT, Some("2026-01-31T07:00:00Z"));
    event["detail"]["input"] = json!({"nested": ["correct-horse-battery"]});
    let outcome = function.invoke(Invocation::event(&event)).await;
    let row = execution(&stack, "t");
    assert_failed(&outcome, &row, "AgentRejected", false);
    let error = row["error"].as_str().unwrap();
    assert!(error.ends_with("bearer [redacted]; passphrase [redacted]; part of it:[redacted]"), "{error}");
    stack.assert_clean();
}

#[tokio::test]
async fn f20_a_body_that_does_not_end_is_not_waited_for() {
    let stack = stack().await;
    let body = Step::text("no jam today");
    stack.agent.queue(Script::new(400).header("content-type", "text/plain").then(body).then(Step::Hang));
    let flood = Step::RepeatBytes { bytes: Bytes::from_static(b"jam and marmalade "), times: u64::MAX };
    stack.agent.queue(Script::new(422).header("content-type", "text/plain").then(flood));
    let function = stack.function(&[]).await;
    for (trigger_id, said) in [("hang", "no jam today"), ("flood", "jam and marmalade")] {
        let outcome = fire(&function, trigger_id).await;
        let row = execution(&stack, trigger_id);
        assert_failed(&outcome, &row, "AgentRejected", false);
        assert!(row["error"].as_str().unwrap().contains(said), "{row:#}");
    }
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn f21_a_failing_agent_is_final_after_one_try() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for status in [500, 501, 502, 503, 504, 529] {
        let trigger_id = format!("t{status}");
        let before = stack.agent.call_count();
        stack.agent.queue(Script::status(status, r#"{"message":"no jam","you_said":"{{prompt}}"}"#));
        let outcome = fire(&function, &trigger_id).await;
        let row = execution(&stack, &trigger_id);
        assert_failed(&outcome, &row, "AgentFailed", false);
        assert_no_answer(&row);
        assert_eq!(stack.agent.call_count(), before + 1);
        let error = row["error"].as_str().unwrap();
        assert!(error.contains("no jam") && error.contains(&status.to_string()), "{error}");
    }
    let logs = all_logs(function).await;
    assert_eq!(lines(&logs, "jam").len(), 0, "{logs:#?}");
    stack.assert_clean();
}

#[tokio::test]
async fn f21_a_retry_after_does_not_make_other_failures_retryable() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for (status, error_type) in
        [(500, "AgentFailed"), (502, "AgentFailed"), (504, "AgentFailed"), (403, "AgentRejected")]
    {
        let trigger_id = format!("t{status}");
        stack.agent.queue(Script::retry_after(status, 0));
        let outcome = fire(&function, &trigger_id).await;
        assert_failed(&outcome, &execution(&stack, &trigger_id), error_type, false);
    }
    assert_eq!(stack.agent.call_count(), 4);
    stack.assert_clean();
}

#[tokio::test]
async fn f21_an_answer_that_is_none_is_a_failure() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for (trigger_id, script) in [
        ("html", Script::html()),
        ("image", Script::ok("image/png", [Step::text("marmalade")])),
        ("nothing", Script::new(204).framing(standins::Framing::ContentLength)),
    ] {
        let before = stack.agent.call_count();
        stack.agent.queue(script);
        let outcome = fire(&function, trigger_id).await;
        let row = execution(&stack, trigger_id);
        assert_failed(&outcome, &row, "AgentFailed", false);
        assert_absent(&row, &["output"]);
        assert_eq!(stack.agent.call_count(), before + 1);
    }
    assert!(stack.dynamodb.scan().iter().all(|row| !row.to_string().contains("Log in")));
    stack.assert_clean();
}

#[tokio::test]
async fn f21_a_connection_lost_after_the_request_is_not_tried_again() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let half_a_head = Script::new(200)
        .before_head(Step::text("HTTP/1.1 200 OK\r\ncontent-ty"))
        .framing(standins::Framing::CloseDelimited);
    for (trigger_id, script) in [
        ("reset", Script::reset_before_head()),
        ("closed", Script::new(200).before_head(Step::Fin)),
        ("torn", half_a_head.before_head(Step::Fin)),
    ] {
        let before = stack.agent.call_count();
        stack.agent.queue(script);
        let outcome = fire(&function, trigger_id).await;
        let row = execution(&stack, trigger_id);
        assert_failed(&outcome, &row, "StreamInterrupted", false);
        assert_no_answer(&row);
        assert_eq!(stack.agent.call_count(), before + 1);
        let again = fire(&function, trigger_id).await;
        assert_eq!(again.body(), outcome.body());
        assert_eq!(stack.agent.call_count(), before + 1);
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f22_a_redirect_is_final_and_not_followed() {
    let stack = stack().await;
    let elsewhere = Agent::start().await;
    let function = stack.function(&[]).await;
    for status in [301, 302, 303, 307, 308] {
        let trigger_id = format!("t{status}");
        stack.agent.queue(Script::redirect(status, &format!("{}/invocations", elsewhere.url())));
        let outcome = fire(&function, &trigger_id).await;
        let row = execution(&stack, &trigger_id);
        assert_failed(&outcome, &row, "AgentRejected", false);
        assert_no_answer(&row);
        assert!(row["error"].as_str().unwrap().contains(&status.to_string()));
    }
    stack.agent.queue(Script::redirect(307, "/elsewhere/invocations"));
    let outcome = fire(&function, "same-host").await;
    assert_failed(&outcome, &execution(&stack, "same-host"), "AgentRejected", false);
    assert_eq!(stack.agent.requests().len(), 6);
    assert_eq!((elsewhere.connections(), elsewhere.requests().len()), (0, 0));
    stack.assert_clean();
}

#[tokio::test]
async fn f23_headers_that_never_come_are_final_and_the_lease_alive_to_the_end() {
    let stack = stack().await;
    stack.agent.default(Script::hang_before_head());
    let lease = [lease(2)];
    let (function, other) = (stack.function(&lease).await, stack.function(&lease).await);
    let meanwhile = async {
        stack.agent.wait_for_calls(1).await;
        tokio::time::sleep(scaled(3_000)).await;
        (fire(&other, "t").await, execution(&stack, "t"))
    };
    let (outcome, (duplicate, running)) =
        tokio::join!(function.invoke(invocation("t").timeout(scaled(6_000))), meanwhile);
    assert_duplicate(&duplicate, &running);
    assert_eq!(running["status"], "running");
    let row = execution(&stack, "t");
    assert_failed(&outcome, &row, "DeadlineExceeded", false);
    assert_no_answer(&row);
    let finished = stack.dynamodb.requests().into_iter().rfind(|r| r.operation == "UpdateItem").unwrap();
    assert!(row["leaseUntil"].as_i64().unwrap() > millis(finished.at), "{row:#}");
    let calls = stack.agent.wait_until("the function's leaving", |calls| calls[0].client_left).await;
    assert_eq!(calls.len(), 1);
    let again = fire(&function, "t").await;
    assert_eq!((again.body(), stack.agent.call_count()), (outcome.body(), 1));
    stack.assert_clean();
}
