//! Cases 1 to 11: events in, and which deliveries are the same fire.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use standins::runtime_api::scheduled_event;
use standins::scripts::HAPPY_USAGE;
use standins::{CognitoOperation, Gate, Invocation, Lambda, Outcome, Script, Stack, Step, TokenAnswer};

use crate::support::{
    all_logs, assert_absent, assert_completed, assert_duplicate, assert_failed, execution, lines, stack,
};

const PROMPT: &str = "Count the confidential files";
const TIME: &str = "2026-01-31T07:00:00Z";
/// Computed with Python's hashlib from `scheduled`, `trigger-123` and the instant in nanoseconds, joined by NUL.
const ID_OF_TRIGGER_123: &str = "019c12d9-f580-75ef-abe2-ba7fe30c8726";

fn fire(trigger_id: &str) -> Value {
    scheduled_event(trigger_id, PROMPT, Some(TIME))
}

fn fire_without_time(trigger_id: &str) -> Invocation {
    Invocation::event(&scheduled_event(trigger_id, PROMPT, None))
}

/// A fire of `t` with these fields of `detail` changed; null takes one away.
fn changed(changes: &Value) -> Value {
    let mut event = fire("t");
    for (name, value) in changes.as_object().into_iter().flatten() {
        if value.is_null() {
            event["detail"].as_object_mut().unwrap().remove(name);
        } else {
            event["detail"][name] = value.clone();
        }
    }
    event
}

/// Invokes with a payload that must be refused, and gives the paths that the error names.
async fn refused(stack: &Stack, function: &Lambda, payload: impl Into<Vec<u8>>) -> Vec<String> {
    let outcome = function.invoke(Invocation::new(payload)).await;
    assert_eq!(outcome.error_type(), "InvalidEvent", "{outcome:?}");
    let body = outcome.body();
    assert_eq!(
        (&body["statusCode"], &body["error"], &body["retryable"], &body["executionId"]),
        (&json!(400), &json!("InvalidEvent"), &json!(false), &Value::Null),
    );
    assert_eq!(stack.dynamodb.requests().len(), 0);
    assert_eq!((stack.agent.call_count(), stack.cognito.count(CognitoOperation::Token)), (0, 0));
    let message = body["message"].as_str().unwrap().strip_prefix("invalid event: ").unwrap();
    message.split("; ").map(|problem| problem.split_once(": ").unwrap().0.to_owned()).collect()
}

#[tokio::test]
async fn f01_happy_path_completes() {
    let stack = stack().await;
    stack.agent.default(Script::ndjson_happy("three files"));
    let function = stack.function(&[]).await;
    let before = unix_seconds();
    let invocation = Invocation::event(&fire("trigger-123")).request_id("request-1");
    let outcome = function.invoke(invocation).await;

    let row = execution(&stack, "trigger-123");
    assert_completed(&outcome, &row);
    let call = &stack.agent.calls()[0];
    assert_eq!(stack.agent.requests().len(), 1);
    for (name, expected) in [
        ("PK", json!("TRIGGER#trigger-123")),
        ("SK", json!(format!("EXECUTION#{ID_OF_TRIGGER_123}"))),
        ("triggerId", json!("trigger-123")),
        ("executionId", json!(ID_OF_TRIGGER_123)),
        ("userId", json!("user-1")),
        ("agentId", json!("agent-1")),
        ("sessionId", json!(format!("s{}", ID_OF_TRIGGER_123.replace('-', "")))),
        ("requestId", json!(call.request_id)),
        ("attempt", json!(1)),
        ("lambdaRequestId", json!("request-1")),
        ("scheduledTime", json!(TIME)),
        ("eventId", json!("53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa")),
        ("source", json!("aws.scheduler")),
        ("output", json!("three files")),
        ("outputTruncated", json!(false)),
        ("toolUses", json!(1)),
        ("skippedEvents", json!(0)),
        ("events", json!(call.events_sent)),
        ("bytes", json!(call.bytes_sent)),
    ] {
        assert_eq!(row[name], expected, "{name} in {row:#}");
    }
    let (input, output, read, write) = HAPPY_USAGE;
    let usage = json!({"inputTokens": input, "outputTokens": output, "cacheReadInputTokens": read,
        "cacheWriteInputTokens": write});
    assert_eq!(row["usage"], usage);
    let life = row["ttl"].as_i64().unwrap() - before - 30 * 24 * 60 * 60;
    assert!((0..=120).contains(&life), "{row:#}");
    for name in ["startedAt", "completedAt"] {
        let time = row[name].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "{time}");
    }
    assert!(row["durationMs"].is_number() && row["firstEventMs"].is_number() && row["leaseUntil"].is_number());
    assert_eq!(row["owner"].as_str().unwrap().len(), 36);

    // A short run costs two writes and one read.
    assert_eq!(stack.dynamodb.requests().len(), 3);
    assert_eq!((stack.dynamodb.count("PutItem"), stack.dynamodb.count("UpdateItem")), (1, 1));
    assert_eq!(stack.dynamodb.count_for("GetItem", "TRIGGER#user-1"), 1);
    assert_eq!(stack.dynamodb.scan().len(), 1);

    let logs = all_logs(function).await;
    assert_eq!(lines(&logs, "\"level\":\"ERROR\"").len() + lines(&logs, "\"level\":\"WARN\"").len(), 0, "{logs:#?}");
    assert!(logs.len() >= 3);
    for line in &logs {
        let line: Value = serde_json::from_str(line).unwrap();
        // The metric object is of no span.
        let span = line.get("span").unwrap_or(&line);
        assert_eq!((&span["executionId"], &span["triggerId"]), (&json!(ID_OF_TRIGGER_123), &json!("trigger-123")));
        assert_eq!(span["attempt"], 1);
    }
    stack.assert_clean();
}

fn unix_seconds() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[tokio::test]
async fn f01_the_agent_gets_the_request_as_documented() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let outcome = function.invoke(Invocation::event(&fire("trigger-123")).trace_id(trace)).await;
    assert!(outcome.is_success(), "{outcome:?}");

    let call = &stack.agent.calls()[0];
    let session_id = format!("s{}", ID_OF_TRIGGER_123.replace('-', ""));
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/invocations"));
    assert_eq!(
        call.body,
        json!({"prompt": PROMPT, "targetUserId": "user-1", "agentId": "agent-1", "sessionId": session_id})
    );
    let bearer = format!("Bearer {}", stack.cognito.issued_tokens()[0]);
    for (name, expected) in [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("accept", "text/event-stream, application/x-ndjson, application/json, text/plain"),
        ("x-amzn-bedrock-agentcore-runtime-session-id", &session_id),
        ("x-amzn-bedrock-agentcore-runtime-session-type", "event"),
        ("x-amzn-trace-id", trace),
        ("traceparent", "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"),
    ] {
        let values: Vec<_> = call.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).collect();
        assert_eq!(values.len(), 1, "{name}");
        assert_eq!(call.header(name), Some(expected), "{name}");
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f01_optional_fields_and_input_reach_the_agent() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let input = json!({"budget": 3, "nested": {"list": ["a", null]}});
    let optional = json!({"sessionId": "short-session", "modelId": "model-1", "workingDirectory": "/work",
        "enabledTools": ["s3-list-files"], "reasoningEffort": "high", "onInterrupted": "rerun", "input": input});
    let outcome = function.invoke(Invocation::event(&changed(&optional))).await;
    assert_completed(&outcome, &execution(&stack, "t"));
    assert_eq!(outcome.body()["sessionId"], "short-session");

    let call = &stack.agent.calls()[0];
    assert_eq!(
        call.body,
        json!({"prompt": PROMPT, "targetUserId": "user-1", "agentId": "agent-1", "sessionId": "short-session",
            "modelId": "model-1", "enabledTools": ["s3-list-files"], "storagePath": "/work",
            "reasoningEffort": "high", "budget": 3, "nested": {"list": ["a", null]}})
    );
    assert_eq!(call.header("x-amzn-bedrock-agentcore-runtime-session-id"), Some("short-session"));
    // Lambda sent no trace.
    assert_eq!((call.header("x-amzn-trace-id"), call.header("traceparent")), (None, None));
    stack.assert_clean();
}

#[tokio::test]
async fn f01_the_url_gains_invocations_and_keeps_its_query() {
    let stack = stack().await;
    let arn = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/demo-1";
    let encoded = "arn%3Aaws%3Abedrock-agentcore%3Aus-west-2%3A123456789012%3Aruntime%2Fdemo-1";
    for (trigger_id, given, expected) in [
        ("base", "/api/".to_owned(), "/api/invocations".to_owned()),
        ("whole", "/api/invocations?qualifier=DEFAULT".to_owned(), "/api/invocations?qualifier=DEFAULT".to_owned()),
        (
            "arn",
            format!("/runtimes/{arn}/invocations?qualifier=DEFAULT"),
            format!("/runtimes/{encoded}/invocations?qualifier=DEFAULT"),
        ),
    ] {
        let url = format!("{}{given}", stack.agent.url());
        let function = stack.function(&[("AGENT_API_URL", &url)]).await;
        let outcome = function.invoke(Invocation::event(&fire(trigger_id))).await;
        assert_completed(&outcome, &execution(&stack, trigger_id));
        assert_eq!(stack.agent.requests().last().unwrap().path, expected);
    }
    assert_eq!(stack.agent.requests().len(), 3);
    stack.assert_clean();
}

#[tokio::test]
async fn f01_without_a_completion_event_the_headers_request_id_counts() {
    let stack = stack().await;
    stack.agent.queue(Script::json_happy("two files").header("x-amzn-requestid", "from-the-header"));
    stack.agent.queue(Script::json_happy("two files"));
    let function = stack.function(&[]).await;
    for (trigger_id, expected) in [("named", Some("from-the-header")), ("nameless", None)] {
        let outcome = function.invoke(Invocation::event(&fire(trigger_id))).await;
        let row = execution(&stack, trigger_id);
        assert_completed(&outcome, &row);
        assert_eq!(row.get("requestId").and_then(Value::as_str), expected);
        assert_eq!(row["output"], "two files");
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f02_what_is_no_event_is_refused() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for payload in [&b"not JSON"[..], b"", b"[]", b"[{}]", b"null", b"\"text\"", b"7", b"{\"a\":", b"\xff\xfe{}"] {
        assert_eq!(refused(&stack, &function, payload).await, ["$"], "{payload:?}");
    }
    assert_eq!(refused(&stack, &function, "{}").await, ["$.detail-type", "$.detail"]);
    for detail in [json!(null), json!([]), json!("text")] {
        let event = json!({"detail-type": "Scheduled Event", "detail": detail});
        assert_eq!(refused(&stack, &function, event.to_string()).await, ["$.detail"]);
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f02_each_bad_field_is_named_by_its_path() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for (changes, path) in [
        (json!({"triggerId": null}), "$.detail.triggerId"),
        (json!({"triggerId": ""}), "$.detail.triggerId"),
        (json!({"userId": null}), "$.detail.userId"),
        (json!({"userId": 7}), "$.detail.userId"),
        (json!({"agentId": null}), "$.detail.agentId"),
        (json!({"agentId": {}}), "$.detail.agentId"),
        (json!({"prompt": null}), "$.detail.prompt"),
        (json!({"prompt": ""}), "$.detail.prompt"),
        (json!({"prompt": ["Count the confidential files"]}), "$.detail.prompt"),
        (json!({"sessionId": true}), "$.detail.sessionId"),
        (json!({"sessionId": "s".repeat(257)}), "$.detail.sessionId"),
        (json!({"sessionId": "line\nbreak"}), "$.detail.sessionId"),
        (json!({"modelId": 1}), "$.detail.modelId"),
        (json!({"workingDirectory": []}), "$.detail.workingDirectory"),
        (json!({"enabledTools": "all"}), "$.detail.enabledTools"),
        (json!({"enabledTools": ["a", 7]}), "$.detail.enabledTools[1]"),
        (json!({"reasoningEffort": 3}), "$.detail.reasoningEffort"),
        (json!({"scheduledTime": "yesterday"}), "$.detail.scheduledTime"),
        (json!({"scheduledTime": 1_769_842_800}), "$.detail.scheduledTime"),
        (json!({"onInterrupted": "again"}), "$.detail.onInterrupted"),
        (json!({"input": "text"}), "$.detail.input"),
        (json!({"input": {"prompt": "Another prompt"}}), "$.detail.input.prompt"),
        (json!({"input": {"storagePath": "/"}}), "$.detail.input.storagePath"),
    ] {
        assert_eq!(refused(&stack, &function, changed(&changes).to_string()).await, [path], "{changes}");
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f02_all_bad_fields_are_named_at_once() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let event = json!({"id": 1, "detail": {"userId": "", "agentId": 2, "prompt": null, "enabledTools": [1, "a", 2]}});
    let mut paths = refused(&stack, &function, event.to_string()).await;
    paths.sort();
    let expected = [
        "$.detail-type",
        "$.detail.agentId",
        "$.detail.enabledTools[0]",
        "$.detail.enabledTools[2]",
        "$.detail.prompt",
        "$.detail.triggerId",
        "$.detail.userId",
        "$.id",
    ];
    assert_eq!(paths, expected);
    let logs = all_logs(function).await;
    assert_eq!(lines(&logs, "\"level\":\"ERROR\"").len(), 1, "{logs:#?}");
    stack.assert_clean();
}

#[tokio::test]
async fn f02_the_error_names_the_trigger_if_the_event_did() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::event(&changed(&json!({"prompt": null})))).await;
    assert_eq!(outcome.body()["triggerId"], "t");
    let outcome = function.invoke(Invocation::new("{}")).await;
    assert_eq!(outcome.body()["triggerId"], Value::Null);
    stack.assert_clean();
}

#[tokio::test]
async fn f02_a_bus_event_needs_a_source() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let mut event = fire("t");
    event["detail-type"] = json!("Object Created");
    for (source, path) in [(Value::Null, "$.source"), (json!(""), "$.source"), (json!("a\u{0}b"), "$.source")] {
        event["source"] = source;
        assert_eq!(refused(&stack, &function, event.to_string()).await, [path]);
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f02_agentcore_needs_33_characters_of_session_id() {
    let stack = stack().await;
    let url = "https://bedrock-agentcore.us-east-1.amazonaws.com/runtimes/x";
    let function = stack.function(&[("AGENT_API_URL", url)]).await;
    let event = changed(&json!({"sessionId": "s".repeat(32)}));
    assert_eq!(refused(&stack, &function, event.to_string()).await, ["$.detail.sessionId"]);
    stack.assert_clean();
}

#[tokio::test]
async fn f03_unknown_fields_and_a_bare_envelope_complete() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let mut event = fire("unknown");
    event["unknown"] = json!({"deep": [1]});
    event["detail"]["unknown"] = json!("kept from the agent");
    let outcome = function.invoke(Invocation::event(&event)).await;
    assert_completed(&outcome, &execution(&stack, "unknown"));
    assert_eq!(stack.agent.calls()[0].body.get("unknown"), None);

    let bare = json!({"detail-type": "Scheduled Event", "detail": fire("bare")["detail"]});
    let outcome = function.invoke(Invocation::event(&bare)).await;
    let row = execution(&stack, "bare");
    assert_completed(&outcome, &row);
    assert_absent(&row, &["eventId", "source"]);

    let mut nulls = fire("nulls");
    for name in ["sessionId", "modelId", "workingDirectory", "enabledTools", "reasoningEffort", "input"] {
        nulls["detail"][name] = Value::Null;
    }
    let outcome = function.invoke(Invocation::event(&nulls)).await;
    assert_completed(&outcome, &execution(&stack, "nulls"));
    assert_eq!(stack.agent.calls()[2].body.as_object().unwrap().len(), 4);
    assert_eq!((stack.agent.call_count(), stack.cognito.count(CognitoOperation::Token)), (3, 1));
    stack.assert_clean();
}

#[tokio::test]
async fn f03_every_source_of_a_scheduled_event_completes() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for source in ["aws.scheduler", "agentcore.trigger", "aws.events"] {
        let mut event = fire(source);
        event["source"] = json!(source);
        let outcome = function.invoke(Invocation::event(&event)).await;
        let row = execution(&stack, source);
        assert_completed(&outcome, &row);
        assert_eq!(row["source"], source);
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f04_lambdas_retry_of_a_completed_fire_without_time_replays_it() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire_without_time("t").request_id("same")).await;
    let row = execution(&stack, "t");
    assert_completed(&outcome, &row);
    assert_absent(&row, &["scheduledTime"]);
    // Another environment, another moment: only the guard remembers the id.
    let outcome = stack.function(&[]).await.invoke(fire_without_time("t").request_id("same")).await;
    assert_eq!(execution(&stack, "t"), row);
    assert_duplicate(&outcome, &row);
    assert_eq!(stack.agent.call_count(), 1);
    let guard = stack.dynamodb.item("TRIGGER#t", "FIRE#same").unwrap();
    assert_eq!(
        guard,
        json!({"PK": "TRIGGER#t", "SK": "FIRE#same", "executionId": row["executionId"], "ttl": row["ttl"]})
    );
    stack.assert_clean();
}

#[tokio::test]
async fn f04_lambdas_retry_of_a_retryable_fire_without_time_is_its_next_attempt() {
    let stack = stack().await;
    stack.agent.queue(Script::retry_after(429, 3600));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire_without_time("t").request_id("same")).await;
    let first = execution(&stack, "t");
    assert_failed(&outcome, &first, "AgentUnavailable", true);
    let outcome = function.invoke(fire_without_time("t").request_id("same")).await;
    let second = execution(&stack, "t");
    assert_completed(&outcome, &second);
    assert_eq!((&second["executionId"], &second["attempt"]), (&first["executionId"], &json!(2)));
    for name in ["startedAt", "ttl", "sessionId"] {
        assert_eq!(second[name], first[name], "{name}");
    }
    assert_ne!(second["owner"], first["owner"]);
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn f04_a_twin_of_a_fire_without_time_waits_and_replays() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.default(Script::ndjson_happy("three files").midway(Step::Gate(gate.clone())));
    let (one, other) =
        (stack.function(&[("LEASE_SECONDS", "1")]).await, stack.function(&[("LEASE_SECONDS", "1")]).await);
    let twin = || fire_without_time("t").request_id("same");
    let owner = one.invoke(twin());
    let waiting = async {
        gate.reached().await;
        let looked_again = async {
            while stack.dynamodb.count_for("GetItem", "EXECUTION#") == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            gate.release();
        };
        tokio::join!(other.invoke(twin()), looked_again).0
    };
    let (owner, waiting) = tokio::join!(owner, waiting);
    let row = execution(&stack, "t");
    assert_completed(&owner, &row);
    assert_duplicate(&waiting, &row);
    assert_eq!(row["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f05_two_fires_that_share_id_and_time_both_run() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for request_id in ["first", "second"] {
        let outcome = function.invoke(fire_without_time("t").request_id(request_id)).await;
        assert_eq!(outcome.body()["success"], true, "{outcome:?}");
        assert_eq!(outcome.body().get("duplicate"), None);
    }
    let rows = stack.dynamodb.executions("t");
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["status"] == "completed"), "{rows:#?}");
    // Ids sort by time, so the older run comes first.
    assert_eq!((&rows[0]["lambdaRequestId"], &rows[1]["lambdaRequestId"]), (&json!("first"), &json!("second")));
    assert_eq!((stack.agent.call_count(), stack.cognito.count(CognitoOperation::Token)), (2, 1));
    let sessions: Vec<_> = stack.agent.calls().iter().map(|call| call.field("sessionId").to_owned()).collect();
    assert_ne!(sessions[0], sessions[1]);
    stack.assert_clean();
}

#[tokio::test]
async fn f06_an_unsubstituted_keyword_is_refused_wherever_it_stands() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for (changes, path) in [
        (json!({"scheduledTime": "<aws.scheduler.scheduled-time>"}), "$.detail.scheduledTime"),
        (json!({"prompt": "Report on <aws.scheduler.scheduled-time>"}), "$.detail.prompt"),
        (json!({"input": {"at": ["<aws.scheduler.attempt-number>"]}}), "$.detail.input.at[0]"),
    ] {
        assert_eq!(refused(&stack, &function, changed(&changes).to_string()).await, [path], "{changes}");
    }
    let mut event = fire("t");
    event["id"] = json!("<aws.scheduler.execution-id>");
    assert_eq!(refused(&stack, &function, event.to_string()).await, ["$.id"]);
    stack.assert_clean();
}

#[tokio::test]
async fn f07_a_completed_fire_is_not_run_again() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::event(&fire("t"))).await;
    let row = execution(&stack, "t");
    assert_completed(&outcome, &row);
    for lambda in [&function, &stack.function(&[]).await] {
        let again = lambda.invoke(Invocation::event(&fire("t"))).await;
        assert_eq!(execution(&stack, "t"), row);
        assert_duplicate(&again, &row);
    }
    assert_eq!(stack.agent.call_count(), 1);
    assert_eq!(stack.dynamodb.count("UpdateItem"), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f08_a_failed_fire_fails_again_at_once() {
    let stack = stack().await;
    stack.agent.queue(Script::status(422, r#"{"message":"no such marmalade"}"#));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::event(&fire("t")).request_id("same")).await;
    let row = execution(&stack, "t");
    assert_failed(&outcome, &row, "AgentRejected", false);
    assert!(row["error"].as_str().unwrap().contains("marmalade"));
    for request_id in ["same", "other"] {
        let again = function.invoke(Invocation::event(&fire("t")).request_id(request_id)).await;
        assert_eq!(again.error_type(), outcome.error_type());
        assert_eq!(again.body(), outcome.body());
        assert_eq!(execution(&stack, "t"), row);
    }
    assert_eq!((stack.agent.call_count(), stack.dynamodb.count("UpdateItem")), (1, 1));
    stack.assert_clean();
}

#[tokio::test]
async fn f09_a_fire_is_the_same_under_another_event_id() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::event(&fire("t"))).await;
    let row = execution(&stack, "t");
    assert_completed(&outcome, &row);
    let mut event = fire("t");
    event["id"] = json!("00000000-0000-4000-8000-000000000000");
    event["time"] = json!("2026-02-02T02:02:02Z");
    let again = function.invoke(Invocation::event(&event)).await;
    assert_eq!(execution(&stack, "t"), row);
    assert_duplicate(&again, &row);

    let mut event = fire("t");
    event["detail"]["scheduledTime"] = json!("2026-01-31T07:00:00.001Z");
    let other = function.invoke(Invocation::event(&event)).await;
    assert_eq!(other.body().get("duplicate"), None, "another instant is another fire");
    assert_eq!((stack.dynamodb.executions("t").len(), stack.agent.call_count()), (2, 2));
    stack.assert_clean();
}

#[tokio::test]
async fn f10_fifty_concurrent_deliveries_make_one_call() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.default(Script::ndjson_happy("three files").midway(Step::Gate(gate.clone())));
    stack.cognito.answer_always(CognitoOperation::Token, TokenAnswer::Delay(Duration::from_millis(300)));
    let env = [("AWS_LAMBDA_MAX_CONCURRENCY", "25")];
    let functions = [stack.function(&env).await, stack.function(&env).await];
    let answered = std::cell::Cell::new(0);
    let deliveries = (0..50).map(|n| {
        let function = &functions[n % 2];
        let (answered, gate) = (&answered, &gate);
        async move {
            let outcome = function.invoke(Invocation::event(&fire("t"))).await;
            answered.set(answered.get() + 1);
            if answered.get() == 49 {
                gate.release();
            }
            outcome
        }
    });
    let outcomes = join_all(deliveries).await;
    let row = execution(&stack, "t");
    let (owners, others): (Vec<_>, Vec<_>) = outcomes.iter().partition(|o| o.body().get("duplicate").is_none());
    assert_eq!((owners.len(), others.len()), (1, 49));
    assert_completed(owners[0], &row);
    let mut running = row.clone();
    running["status"] = json!("running");
    running.as_object_mut().unwrap().remove("requestId");
    for other in others {
        assert_duplicate(other, &running);
    }
    assert_eq!((stack.agent.call_count(), &row["attempt"]), (1, &json!(1)));
    assert_eq!(stack.cognito.count(CognitoOperation::Token), 2, "one for each process");
    stack.assert_clean();
}

#[tokio::test]
async fn f11_hostile_ids_are_stored_and_found_exactly() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let longest = format!("{}é", "x".repeat(254));
    assert_eq!(longest.len(), 256);
    for id in ["a#EXECUTION#b", "#", " padded ", "täglich–日本🦀", "'; DROP TABLE --", "${jndi:ldap}", &longest]
    {
        let mut event = fire(id);
        event["detail"]["userId"] = json!(id);
        event["detail"]["agentId"] = json!(id);
        for is_again in [false, true] {
            let outcome = function.invoke(Invocation::event(&event)).await;
            let row = execution(&stack, id);
            if is_again {
                assert_duplicate(&outcome, &row);
            } else {
                assert_completed(&outcome, &row);
            }
            for name in ["triggerId", "userId", "agentId"] {
                assert_eq!(row[name], id);
            }
        }
        let call = stack.agent.calls().pop().unwrap();
        assert_eq!((call.field("targetUserId"), call.field("agentId")), (id, id));
    }
    assert_eq!((stack.agent.call_count(), stack.dynamodb.scan().len()), (7, 7));
    stack.assert_clean();
}

#[tokio::test]
async fn f11_ids_that_cannot_be_kept_are_refused() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for name in ["triggerId", "userId", "agentId"] {
        let path = format!("$.detail.{name}");
        for id in
            ["x".repeat(257), "é".repeat(129), "a\nb".to_owned(), "a\0".to_owned(), "\u{7f}".to_owned(), " ".to_owned()]
        {
            let event = changed(&json!({name: id}));
            assert_eq!(refused(&stack, &function, event.to_string()).await, [path.as_str()], "{id:?}");
        }
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f11_the_same_instant_in_another_notation_is_the_same_fire() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for time in [TIME, "2026-01-31T07:00:00+00:00", "2026-01-31T08:00:00.000+01:00", "2026-01-31t07:00:00z"] {
        outcomes.push(function.invoke(Invocation::scheduled("t", PROMPT, time)).await);
    }
    let row = execution(&stack, "t");
    assert_completed(&outcomes[0], &row);
    for again in &outcomes[1..] {
        assert_duplicate(again, &row);
    }
    assert_eq!((&row["scheduledTime"], stack.agent.call_count()), (&json!(TIME), 1));
    stack.assert_clean();
}
