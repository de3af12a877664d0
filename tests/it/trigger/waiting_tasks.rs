//! Tasks of Step Functions that wait for a run: the token stays in one item, the caller finds the run, and no task waits
//! for a command that was refused.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use serde_json::{Value, json};
use standins::destination::{failed_messages, notification, report, sqs_batch};
use standins::{Gate, Invocation, Lambda, Outcome, Script, Stack, Step, Template, own_event};

use crate::support::one_fire::short_lease;
use crate::support::subscribed::{USER, subscribe};
use crate::support::{assert_completed, assert_duplicate, changed, execution, stack};

const TOKEN: &str = "AQB8AAAAKgAAAAMAAAAAAAAAAS5jhDWm-the-task-token-of-step-functions";
const CALLER: &str = "arn:aws:states:us-east-1:123456789012:execution:nightly:6a7e8feb";

/// The command as EventBridge delivers it: the resources name the execution that waits and its state machine.
fn command(changes: Value) -> Value {
    let mut event = own_event("Run Trigger", json!({"triggerId": "t", "userId": USER, "taskToken": TOKEN}));
    event["resources"] = json!(["arn:aws:states:us-east-1:123456789012:stateMachine:nightly", CALLER]);
    changed(event, changes)
}

fn cancel(caller: &str) -> Value {
    own_event("Cancel Execution", json!({"caller": caller, "reason": "ABORTED"}))
}

async fn start() -> (Stack, Lambda) {
    let stack = stack().await;
    subscribe(&stack, "t", json!({}));
    let function = stack.function(&[short_lease()]).await;
    (stack, function)
}

async fn invoke(function: &Lambda, event: &Value) -> Outcome {
    function.invoke(Invocation::event(event)).await
}

/// The items that contain the token.
fn with_token(stack: &Stack) -> Vec<Value> {
    stack.dynamodb.scan().into_iter().filter(|item| item.to_string().contains(TOKEN)).collect()
}

#[tokio::test]
async fn a_task_that_waits_is_told_of_the_end_and_its_token_is_nowhere_else() {
    let (stack, function) = start().await;
    stack.agent.queue(Script::server_error_event("the model is gone"));
    // A prompt that asks for it gets nothing.
    subscribe(&stack, "t", json!({"prompt": "Say {{ $.detail.taskToken }} and {{ $.detail.triggerId }}"}));
    let outcome = invoke(&function, &command(json!({}))).await;
    assert_eq!(outcome.error_type(), "AgentFailed");
    let row = execution(&stack, "t");
    assert_eq!((&row["hasTask"], &row["caller"]), (&json!(true), &json!(CALLER)), "{row:#}");
    let [item] = &with_token(&stack)[..] else { panic!("{:#?}", with_token(&stack)) };
    let key = format!("TASK#{}", row["executionId"].as_str().unwrap());
    assert_eq!((&item["PK"], &item["SK"], &item["taskToken"]), (&json!("TRIGGER#t"), &json!(key), &json!(TOKEN)));
    assert_eq!(item["ttl"], row["ttl"]);
    assert!(!stack.agent.calls()[0].body.to_string().contains(TOKEN));

    // The announcement says that there is a task. The template's rule starts the answer on this alone.
    let template = Template::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("template.yaml")).unwrap();
    let definition = template.pipe().unwrap();
    let text = definition.input_template.unwrap();
    assert!(text.contains("<$.dynamodb.NewImage.hasTask.BOOL>") && !text.contains("taskToken"));

    // Step Functions sends the command again: another id and time, the same token.
    let again = command(json!({"id": "11111111-2222-4333-8444-555555555555", "time": "2030-01-01T00:00:00Z"}));
    let outcome = invoke(&function, &again).await;
    assert_eq!(outcome.body()["executionId"], row["executionId"], "{outcome:?}");
    assert_eq!((stack.dynamodb.executions("t").len(), stack.agent.call_count()), (1, 1));
    // Another task is another run.
    let other = changed(again, json!({"detail": {"triggerId": "t", "userId": USER, "taskToken": "another"}}));
    assert!(invoke(&function, &other).await.is_success());
    assert_eq!((stack.dynamodb.executions("t").len(), stack.agent.call_count()), (2, 2));
    assert!(!function.process.logs().join("\n").contains(TOKEN));
}

#[tokio::test]
async fn a_run_that_is_skipped_has_its_task_too() {
    let (stack, function) = start().await;
    subscribe(&stack, "t", json!({"enabled": false}));
    assert!(invoke(&function, &command(json!({}))).await.is_success());
    let row = execution(&stack, "t");
    assert_eq!((&row["status"], &row["hasTask"]), (&json!("skipped"), &json!(true)), "{row:#}");
    assert_eq!(with_token(&stack).len(), 1);
}

/// Returns a function whose agent waits at the gate in the middle of its answer, and another to stop the run.
async fn begun() -> (Stack, Lambda, Gate, Lambda) {
    let stack = stack().await;
    subscribe(&stack, "t", json!({}));
    let gate = Gate::new();
    stack.agent.queue(Script::ndjson_happy("three files").midway(Step::Gate(gate.clone())));
    let [function, canceller] = [stack.function(&[short_lease()]).await, stack.function(&[short_lease()]).await];
    (stack, function, gate, canceller)
}

#[tokio::test]
async fn a_stopped_caller_cancels_what_runs_and_what_comes_later() {
    let (stack, function, gate, canceller) = begun().await;
    let event = command(json!({}));
    let stopping = async {
        gate.reached().await;
        // The execution of somebody else changes nothing.
        assert_eq!(invoke(&canceller, &cancel(&format!("{CALLER}x"))).await.body()["cancelRequested"], 0);
        let outcome = invoke(&canceller, &cancel(CALLER)).await;
        assert_eq!(outcome.body()["cancelRequested"], 1, "{outcome:?}");
    };
    let (outcome, ()) = tokio::join!(invoke(&function, &event), stopping);
    assert_eq!(outcome.body()["status"], "cancelled", "{outcome:?}");
    assert_eq!(execution(&stack, "t")["status"], "cancelled");
    // A command of the same caller that was still under way.
    subscribe(&stack, "u", json!({}));
    let late = json!({"detail": {"triggerId": "u", "userId": USER, "taskToken": "of-another-state"}});
    let outcome = invoke(&function, &changed(event, late)).await;
    assert_eq!(outcome.body()["status"], "cancelled", "{outcome:?}");
    let row = execution(&stack, "u");
    assert_eq!((&row["status"], &row["hasTask"]), (&json!("cancelled"), &json!(true)));
    assert_eq!(stack.agent.call_count(), 1, "the second agent is not called");
    // The same cancellation again.
    assert_eq!(invoke(&canceller, &cancel(CALLER)).await.body()["cancelRequested"], 0);
}

/// It has the ARN under which it was stopped before. The times of its commands tell them apart.
#[tokio::test]
async fn a_caller_that_is_redriven_after_its_stop_gets_its_run() {
    let at = |time: &str| json!({"time": time});
    for (stops, sent, status) in [
        (vec!["2026-01-31T07:00:00Z"], at("2026-01-31T06:59:59Z"), "cancelled"),
        // It was under way when its execution was stopped.
        (vec!["2026-01-31T07:00:00Z"], at("2026-01-31T07:00:01Z"), "cancelled"),
        (vec!["2026-01-31T07:00:00Z"], at("2026-01-31T07:01:00Z"), "completed"),
        (vec!["2026-01-31T07:00:00Z"], json!({"time": null}), "cancelled"),
        // It is stopped again.
        (vec!["2026-01-31T07:00:00Z", "2026-01-31T07:02:00Z"], at("2026-01-31T07:01:00Z"), "cancelled"),
        // The event of the first stop comes again, after that of the second.
        (vec!["2026-01-31T07:02:00Z", "2026-01-31T07:00:00Z"], at("2026-01-31T07:01:00Z"), "cancelled"),
    ] {
        let (stack, function) = start().await;
        for stop in &stops {
            let outcome = invoke(&function, &changed(cancel(CALLER), at(stop))).await;
            assert_eq!(outcome.body()["cancelRequested"], 0);
        }
        assert!(invoke(&function, &command(sent.clone())).await.is_success());
        assert_eq!(execution(&stack, "t")["status"], status, "{stops:?} {sent}");
        assert_eq!(stack.agent.call_count(), usize::from(status == "completed"));
    }
}

/// EventBridge delivers the event of a stop for a day, and more than once.
#[tokio::test]
async fn a_late_stop_cancels_no_run_of_after_the_redrive() {
    let (stack, function, gate, canceller) = begun().await;
    let stopping = async {
        gate.reached().await;
        let stop = changed(cancel(CALLER), json!({"time": "2026-01-31T07:00:00Z"}));
        assert_eq!(invoke(&canceller, &stop).await.body()["cancelRequested"], 0);
        gate.release();
    };
    let event = command(json!({"time": "2026-01-31T07:01:00Z"}));
    let (outcome, ()) = tokio::join!(invoke(&function, &event), stopping);
    assert_completed(&outcome, &execution(&stack, "t"));
}

#[tokio::test]
async fn a_command_without_a_task_has_none() {
    let (stack, function) = start().await;
    let event = command(json!({"detail": {"triggerId": "t", "userId": USER}}));
    let outcome = invoke(&function, &event).await;
    let row = execution(&stack, "t");
    assert_completed(&outcome, &row);
    assert_eq!((&row["hasTask"], &row["caller"]), (&Value::Null, &Value::Null));
    assert_duplicate(&invoke(&function, &event).await, &row);
}

/// Serves SendTaskFailure, and returns its address and what it is sent. The first request fails.
async fn step_functions() -> (String, Arc<Mutex<Vec<Value>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let book = Arc::clone(&sent);
    let answer = move |body: Bytes| async move {
        let mut book = book.lock().unwrap();
        book.push(serde_json::from_slice(&body).unwrap());
        if book.len() == 1 { (StatusCode::SERVICE_UNAVAILABLE, "{}") } else { (StatusCode::OK, "{}") }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(answer))).await });
    (url, sent)
}

#[tokio::test]
async fn no_task_waits_for_a_command_that_was_refused() {
    let (url, sent) = step_functions().await;
    let stack = stack().await;
    let function = stack.function(&[short_lease(), ("AWS_ENDPOINT_URL_SFN", &url)]).await;
    let gone = json!({"detail": {"triggerId": "gone", "userId": USER, "taskToken": TOKEN}});
    let nameless = json!({"detail": {"taskToken": "of-a-nameless-command"}});
    for (changes, token) in [(gone, TOKEN), (nameless, "of-a-nameless-command")] {
        let event = command(changes);
        let refused = invoke(&function, &event).await;
        assert_eq!(refused.error_type(), "InvalidEvent");
        let body = notification(&report(&Invocation::event(&event), 1, &refused).to_string());
        let settled = function.invoke(sqs_batch([("message", body.as_str())])).await;
        assert!(failed_messages(&settled).is_empty(), "{settled:?}");
        let answer = sent.lock().unwrap().last().cloned().unwrap();
        assert_eq!((&answer["taskToken"], &answer["error"]), (&json!(token), &json!("InvalidEvent")), "{answer}");
        assert!(answer["cause"].as_str().unwrap().contains("$.detail.triggerId"), "{answer}");
    }
    assert_eq!(sent.lock().unwrap().len(), 3, "what was not taken is sent again");
    assert_eq!(stack.dynamodb.scan(), Vec::<Value>::new());
    assert!(!function.process.logs().join("\n").contains(TOKEN));
}
