//! What CloudWatch is told of a run: one metric object for each invocation, whatever becomes of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use standins::{
    CognitoOperation, Fault, Gate, Invocation, Rule, Script, Stack, Step, TokenAnswer, lambda_api::FUNCTION_NAME,
    runtime_api::scheduled_event,
};

use crate::support::emf::{METRICS, all_metrics, assert_counts, dimensions, metrics, only};
use crate::support::one_fire::{PROMPT, TIME, TRIGGER, fire, fire_with, short_lease};
use crate::support::{all_logs, execution, lines, stack};

const ANSWER: &str = "Three files of the quarter, as confidential as their count";

fn of(trigger_id: &str) -> Invocation {
    Invocation::scheduled(trigger_id, PROMPT, TIME)
}

/// One invocation in a process of its own, and its metric object.
async fn metric_of(stack: &Stack, settings: &[(&str, &str)], invocation: Invocation) -> Value {
    let function = stack.function(settings).await;
    function.invoke(invocation).await;
    only(all_metrics(function).await)
}

/// Asserts that the object tells of the execution that `row` records.
fn assert_of(object: &Value, row: &Value) {
    for name in ["triggerId", "executionId", "status", "attempt"] {
        assert_eq!(object[name], row[name], "{name} in {object:#}");
    }
    for name in ["errorType", "retryable", "skipReason", "protocol", "finishReason", "traceId"] {
        assert_eq!(object.get(name), row.get(name), "{name} in {object:#}");
    }
}

#[tokio::test]
async fn a_completed_run_is_told_as_its_record_has_it() {
    let stack = stack().await;
    stack.agent.default(Script::ndjson_happy(ANSWER));
    let function = stack.function(&[]).await;
    assert!(function.invoke(fire().request_id("request-1")).await.is_success());
    assert!(function.invoke(of("next")).await.is_success());
    let [cold, warm] = &all_metrics(function).await[..] else { panic!("not one object for each") };

    let row = execution(&stack, TRIGGER);
    assert_of(cold, &row);
    assert_eq!((&row["protocol"], row.get("finishReason")), (&json!("strands-typescript"), None));
    assert_counts(cold, json!({"Executions": 1, "Completed": 1}));
    assert_eq!(dimensions(cold), (json!([["service"], ["service", "agent"]]), None));
    assert_eq!((&cold["service"], &cold["agent"]), (&json!(FUNCTION_NAME), &row["agentId"]));
    for (name, attribute) in [("DurationMs", "durationMs"), ("FirstEventMs", "firstEventMs"), ("StreamBytes", "bytes")]
    {
        assert_eq!(cold[name], row[attribute], "{name}");
    }
    for (name, attribute) in [("InputTokens", "inputTokens"), ("OutputTokens", "outputTokens")] {
        assert_eq!(cold[name], row["usage"][attribute], "{name}");
        assert!(cold[name].as_u64().unwrap() > 0);
    }
    for name in ["TokenMs", "ClaimMs"] {
        assert!(cold[name].as_u64() <= cold["DurationMs"].as_u64(), "{name} in {cold:#}");
    }
    assert_eq!(
        (&cold["ColdStart"], &cold["requestId"], &cold["level"]),
        (&json!(1), &json!("request-1"), &json!("INFO"))
    );
    for (name, _) in METRICS.iter().filter(|(name, _)| *name != "DetachedFailures") {
        assert!(cold.get(name).is_some(), "{name} is never told");
    }

    assert_of(warm, &execution(&stack, "next"));
    assert_eq!((&warm["ColdStart"], warm.get("TokenMs")), (&json!(0), None), "the token was at hand: {warm:#}");
    stack.assert_clean();
}

#[tokio::test]
async fn a_failed_run_is_told_by_its_type() {
    let stack = stack().await;
    let cases = [
        ("AgentRejected", Script::status(400, "no")),
        ("AgentFailed", Script::status(500, "no")),
        ("AgentFailed", Script::server_error_event("no")),
        ("AgentIncomplete", Script::status(202, "")),
        ("StreamInterrupted", Script::cut()),
        ("StreamStalled", Script::ndjson_happy(ANSWER).midway(Step::Gate(Gate::new()))),
    ];
    let mut error_types: Vec<_> = cases.iter().map(|(error_type, _)| *error_type).collect();
    let function = stack.function(&[("AGENT_IDLE_TIMEOUT_SECONDS", "1")]).await;
    for (error_type, script) in cases {
        stack.agent.queue(script);
        let outcome = function.invoke(of(&format!("trigger-{}", stack.agent.call_count()))).await;
        assert_eq!(outcome.error_type(), error_type);
    }
    let mut objects = all_metrics(function).await;
    // Cognito refuses for good.
    stack.cognito.answer_always(CognitoOperation::Token, TokenAnswer::Status(400));
    objects.push(metric_of(&stack, &[], of("trigger-6")).await);
    error_types.push("AuthenticationFailed");
    assert!(objects[6]["TokenMs"].is_u64(), "{:#}", objects[6]);
    assert_eq!(objects[3]["finishReason"], "working");

    assert_eq!(objects.len(), error_types.len());
    for (number, (object, error_type)) in objects.iter().zip(error_types).enumerate() {
        assert_of(object, &execution(&stack, &format!("trigger-{number}")));
        assert_eq!(object["errorType"], error_type);
        assert_counts(object, json!({"Executions": 1, "Failed": 1}));
        let sets = json!([["service"], ["service", "agent"]]);
        assert_eq!(dimensions(object), (sets, Some(json!([["service", "errorType"]]))));
    }
    stack.assert_clean();
}

#[tokio::test]
async fn what_a_later_attempt_may_mend_is_no_failed_execution() {
    let stack = stack().await;
    stack.agent.default(Script::status(409, "busy"));
    let function = stack.function(&[]).await;
    for _ in 1..=4 {
        let outcome = function.invoke(fire().request_id("same")).await;
        assert_eq!(outcome.error_type(), "AgentUnavailable");
    }
    let objects = all_metrics(function).await;
    assert_eq!(objects.len(), 4);
    for (object, attempt) in objects[..2].iter().zip(1..) {
        assert_counts(object, json!({}));
        assert_eq!((&object["status"], &object["retryable"]), (&json!("failed"), &json!(true)));
        assert_eq!((&object["errorType"], &object["attempt"]), (&json!("AgentUnavailable"), &json!(attempt)));
        assert_eq!(dimensions(object).1, None);
        assert!(object["DurationMs"].is_u64(), "{object:#}");
    }
    assert_counts(&objects[2], json!({"Executions": 1, "Failed": 1}));
    assert_of(&objects[2], &execution(&stack, TRIGGER));
    // It is returned again, for Lambda's destination, and is no further failure.
    assert_counts(&objects[3], json!({"Duplicates": 1}));
    assert_eq!((&objects[3]["status"], &objects[3]["errorType"]), (&json!("duplicate"), &json!("AgentUnavailable")));
    assert_eq!((dimensions(&objects[3]).1, objects[3].get("DurationMs")), (None, None));
    stack.assert_clean();
}

#[tokio::test]
async fn what_fails_before_there_is_a_record_is_told_too() {
    let stack = stack().await;
    let mut without_user = scheduled_event(TRIGGER, PROMPT, Some(TIME));
    without_user["detail"]["userId"] = Value::Null;
    for (invocation, trigger_id) in
        [(Invocation::new(*b"\xff{"), None), (Invocation::event(&without_user), Some(TRIGGER))]
    {
        let object = metric_of(&stack, &[], invocation).await;
        assert_counts(&object, json!({"Executions": 1, "Failed": 1}));
        assert_eq!((&object["errorType"], object.get("executionId")), (&json!("InvalidEvent"), None));
        assert_eq!(object.get("triggerId").and_then(Value::as_str), trigger_id);
        assert_eq!(dimensions(&object), (json!([["service"]]), Some(json!([["service", "errorType"]]))));
    }
    let object = metric_of(&stack, &[], fire().timeout(Duration::from_secs(4))).await;
    assert_counts(&object, json!({}));
    assert_eq!((&object["errorType"], &object["retryable"]), (&json!("DeadlineExceeded"), &json!(true)));
    assert_eq!(object["agent"], "agent-1");

    let denied = stack.dynamodb.inject(Rule::any(Fault::Deny));
    let object = metric_of(&stack, &[], fire()).await;
    assert_counts(&object, json!({}));
    assert_eq!((&object["errorType"], &object["retryable"]), (&json!("RecordStoreFailed"), &json!(true)));
    assert!(denied.hits() > 0 && object["ClaimMs"].is_u64() && object.get("DurationMs").is_none(), "{object:#}");
    stack.assert_clean();
}

#[tokio::test]
async fn a_duplicate_is_no_execution() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for _ in 0..2 {
        assert!(function.invoke(fire()).await.is_success());
    }
    let objects = all_metrics(function).await;
    let row = execution(&stack, TRIGGER);
    assert_eq!(objects.len(), 2);
    assert_counts(&objects[1], json!({"Duplicates": 1}));
    assert_eq!((&objects[1]["status"], &objects[1]["executionId"]), (&json!("duplicate"), &row["executionId"]));
    for name in ["DurationMs", "FirstEventMs", "InputTokens", "OutputTokens", "StreamBytes", "attempt"] {
        assert_eq!(objects[1].get(name), None, "{name}");
    }
    assert!(objects[1]["ClaimMs"].is_u64());
    stack.assert_clean();
}

#[tokio::test]
async fn a_skipped_fire_says_why() {
    let stack = stack().await;
    let item = json!({"id": TRIGGER, "userId": "user-1", "agentId": "agent-1", "prompt": PROMPT});
    stack.dynamodb.put_trigger(&item);
    let (pk, sk) = ("TRIGGER#user-1", format!("TRIGGER#{TRIGGER}"));
    stack.dynamodb.update(pk, &sk, &json!({"enabled": false}));
    let object = metric_of(&stack, &[], fire()).await;
    let row = execution(&stack, TRIGGER);
    assert_of(&object, &row);
    assert_eq!((&row["skipReason"], &object["agent"]), (&json!("Disabled"), &json!("agent-1")));
    assert_counts(&object, json!({"Executions": 1, "Skipped": 1}));
    assert_eq!(object.get("DurationMs"), None, "it would be among the durations of runs: {object:#}");

    // Another execution of the trigger is alive.
    stack.dynamodb.update(pk, &sk, &json!({"enabled": true, "overlap": "skip"}));
    let far = i64::MAX / 2;
    let turn =
        json!({"PK": format!("TRIGGER#{TRIGGER}"), "SK": "RUNNING#user-1", "executionId": "other", "leaseUntil": far});
    stack.dynamodb.put_item(&turn);
    let next = fire_with(&json!({"scheduledTime": "2026-01-02T00:00:00Z"}));
    let object = metric_of(&stack, &[], next).await;
    assert_counts(&object, json!({"Executions": 1, "Skipped": 1, "Overlaps": 1}));
    assert_eq!(object["skipReason"], "Overlap");
    assert_eq!(stack.agent.call_count(), 0);
    stack.assert_clean();
}

#[tokio::test]
async fn an_overlap_that_ends_counts_once() {
    let stack = stack().await;
    let item =
        json!({"id": TRIGGER, "userId": "user-1", "agentId": "agent-1", "prompt": PROMPT, "overlap": "cancelOther"});
    stack.dynamodb.put_trigger(&item);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    // Alive for several looks at it.
    let until = u64::try_from(now).unwrap() + 1000;
    let turn =
        json!({"PK": format!("TRIGGER#{TRIGGER}"), "SK": "RUNNING#user-1", "executionId": "0", "leaseUntil": until});
    stack.dynamodb.put_item(&turn);
    let object = metric_of(&stack, &[short_lease()], fire()).await;
    assert_counts(&object, json!({"Executions": 1, "Completed": 1, "Overlaps": 1}));
    stack.assert_clean();
}

#[tokio::test]
async fn a_dead_attempt_is_told_by_who_finds_it() {
    let stack = stack().await;
    let function = stack.function(&[short_lease()]).await;
    assert!(function.invoke(fire()).await.is_success());
    let row = execution(&stack, TRIGGER);
    let running = json!({"status": "running", "completedAt": null, "output": null, "leaseUntil": 1});
    stack.dynamodb.update(row["PK"].as_str().unwrap(), row["SK"].as_str().unwrap(), &running);
    for _ in 0..2 {
        assert_eq!(function.invoke(fire()).await.error_type(), "Interrupted");
    }
    let objects = all_metrics(function).await;
    assert_eq!(objects.len(), 3);
    assert_counts(&objects[1], json!({"Executions": 1, "Failed": 1}));
    assert_eq!((&objects[1]["status"], &objects[1]["errorType"]), (&json!("failed"), &json!("Interrupted")));
    assert_eq!(dimensions(&objects[1]).1, Some(json!([["service", "errorType"]])));
    assert_counts(&objects[2], json!({"Duplicates": 1}));
    stack.assert_clean();
}

#[tokio::test]
async fn an_execution_that_another_attempt_owns_is_counted_by_that() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(Script::ndjson_happy(ANSWER).midway(Step::Gate(gate.clone())));
    let function = stack.function(&[short_lease()]).await;
    let take_over = async {
        gate.reached().await;
        let row = execution(&stack, TRIGGER);
        let owner = json!({"owner": "another"});
        stack.dynamodb.update(row["PK"].as_str().unwrap(), row["SK"].as_str().unwrap(), &owner);
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire()), take_over);
    assert_eq!(outcome.error_type(), "LeaseLost");
    let object = only(all_metrics(function).await);
    assert_counts(&object, json!({}));
    assert_eq!((&object["status"], &object["errorType"]), (&json!("failed"), &json!("LeaseLost")));
    assert_eq!((&object["retryable"], dimensions(&object).1), (&json!(false), None));
    stack.assert_clean();
}

#[tokio::test]
async fn a_cancelled_run_tells_what_it_used() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(Script::ndjson_happy(ANSWER).midway(Step::Gate(gate.clone())));
    let function = stack.function(&[short_lease()]).await;
    let cancel = async {
        gate.reached().await;
        let row = execution(&stack, TRIGGER);
        assert!(stack.dynamodb.request_cancel(row["PK"].as_str().unwrap(), row["SK"].as_str().unwrap()));
    };
    tokio::join!(function.invoke(fire()), cancel);
    let object = only(all_metrics(function).await);
    let row = execution(&stack, TRIGGER);
    assert_of(&object, &row);
    assert_counts(&object, json!({"Executions": 1, "Cancelled": 1}));
    assert_eq!((&object["status"], &object["StreamBytes"]), (&json!("cancelled"), &row["bytes"]));
    assert_eq!(object.get("InputTokens"), row.get("usage").map(|usage| &usage["inputTokens"]));
    stack.assert_clean();
}

#[tokio::test]
async fn each_heartbeat_that_fails_counts() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(Script::ndjson_happy(ANSWER).midway(Step::Gate(gate.clone())));
    // Denied, so that the SDK does not try again by itself.
    let heartbeats = Rule::new("UpdateItem", Fault::Deny).containing("leaseUntil");
    let denied = stack.dynamodb.inject(heartbeats.times(2));
    let function = stack.function(&[short_lease()]).await;
    let watch = async {
        let until = tokio::time::Instant::now() + Duration::from_secs(120);
        while denied.hits() < 2 && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gate.release();
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire()), watch);
    assert!(outcome.is_success(), "{outcome:?}");
    let logs = all_logs(function).await;
    let failed = lines(&logs, "heartbeat failed").len();
    let object = only(metrics(&logs));
    assert_counts(&object, json!({"Executions": 1, "Completed": 1, "HeartbeatFailures": failed}));
    assert_eq!(failed, 2, "{logs:#?}");
    stack.assert_clean();
}

#[tokio::test]
async fn any_agent_is_a_valid_dimension() {
    let stack = stack().await;
    let longest = "\u{fc}".repeat(128);
    let cases = [
        ("agent \"7\" \\ {x}", "agent \"7\" \\u{5c} {x}"),
        ("agent-\u{fc}-\u{1F600}", "agent-\\u{fc}-\\u{1f600}"),
        (&longest, &"\\u{fc}".repeat(128)),
        ("\u{3000}\u{a0}x", "\\u{3000}\\u{a0}x"),
    ];
    for (number, (agent_id, dimension)) in cases.into_iter().enumerate() {
        let event = fire_with(&json!({"agentId": agent_id, "triggerId": number.to_string()}));
        let object = metric_of(&stack, &[], event).await;
        assert_eq!((&object["agent"], &object["Completed"]), (&json!(dimension), &json!(1)));
    }
    stack.assert_clean();
}

#[tokio::test]
async fn triggers_are_a_dimension_on_request() {
    let stack = stack().await;
    let by_trigger = [("METRICS_BY_TRIGGER", "true")];
    let object = metric_of(&stack, &by_trigger, fire()).await;
    let sets = json!([["service"], ["service", "agent"], ["service", "trigger"]]);
    assert_eq!((dimensions(&object), &object["trigger"]), ((sets, None), &json!(TRIGGER)));
    let object = metric_of(&stack, &[("METRICS_BY_TRIGGER", "false")], of("other")).await;
    assert_eq!((dimensions(&object).0, object.get("trigger")), (json!([["service"], ["service", "agent"]]), None));
    stack.assert_clean();
}

#[tokio::test]
async fn no_level_and_no_format_keeps_metrics_from_cloudwatch() {
    let stack = stack().await;
    for (level, expected) in [("TRACE", "INFO"), ("warn", "WARN"), ("ERROR", "ERROR"), ("FATAL", "FATAL")] {
        let object = metric_of(&stack, &[("AWS_LAMBDA_LOG_LEVEL", level)], of(level)).await;
        assert_eq!((&object["level"], &object["Completed"]), (&json!(expected), &json!(1)));
    }
    let object = metric_of(&stack, &[("AWS_LAMBDA_LOG_FORMAT", "Text")], of("text")).await;
    assert_counts(&object, json!({"Executions": 1, "Completed": 1}));
    stack.assert_clean();
}

#[tokio::test]
async fn one_trace_leads_from_the_metrics_to_the_agent() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let xray = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    assert!(function.invoke(fire().trace_id(xray)).await.is_success());
    assert!(function.invoke(of("untraced")).await.is_success());
    let logs = all_logs(function).await;
    let objects = metrics(&logs);
    let (row, call) = (execution(&stack, TRIGGER), &stack.agent.calls()[0]);

    let trace_id = call.header("traceparent").unwrap().split('-').nth(1).unwrap();
    assert_eq!(trace_id, "5759e988bd862e3fe1be46a994272793");
    assert_eq!(row["traceparent"].as_str(), call.header("traceparent"));
    assert!(call.header("x-amzn-trace-id").unwrap().contains(row["traceId"].as_str().unwrap()));
    assert_eq!((&objects[0]["trace_id"], &objects[0]["traceId"]), (&json!(trace_id), &row["traceId"]));
    let spans: Vec<Value> = logs.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let spans: Vec<_> = spans.iter().map(|line| &line["span"]).filter(|span| span.is_object()).collect();
    let (traced, others): (Vec<&Value>, Vec<&Value>) = spans.into_iter().partition(|span| span["triggerId"] == TRIGGER);
    assert!(!traced.is_empty() && traced.iter().all(|span| span["trace_id"] == trace_id), "{traced:#?}");
    assert!(!others.is_empty() && others.iter().all(|span| span.get("trace_id").is_none()), "{others:#?}");
    assert_eq!((objects[1].get("trace_id"), objects[1].get("traceId")), (None, None));
    stack.assert_clean();
}
