//! Cases 1 and 3: events that are run, and what the agent and the table get of them.

use serde_json::{Value, json};
use standins::{CognitoOperation, Invocation, Script, scripts::HAPPY_USAGE};

use crate::support::one_fire::{PROMPT, TIME, TRIGGER, event_of, fire_with};
use crate::support::{all_logs, assert_absent, assert_completed, execution, lines, now_millis, stack};

/// Computed with Python's hashlib from `scheduled`, `trigger-123` and the instant in nanoseconds, joined by NUL.
const ID_OF_TRIGGER_123: &str = "019c12d9-f580-75ef-abe2-ba7fe30c8726";

#[tokio::test]
async fn f01_happy_path_completes() {
    let stack = stack().await;
    stack.agent.default(Script::ndjson_happy("three files"));
    let function = stack.function(&[]).await;
    let before = now_millis() / 1_000;
    let invocation = Invocation::event(&event_of("trigger-123")).request_id("request-1");
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

#[tokio::test]
async fn f01_the_agent_gets_the_request_as_documented() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let outcome = function.invoke(Invocation::event(&event_of("trigger-123")).trace_id(trace)).await;
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
    let outcome = function.invoke(fire_with(&optional)).await;
    assert_completed(&outcome, &execution(&stack, TRIGGER));
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
        let outcome = function.invoke(Invocation::event(&event_of(trigger_id))).await;
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
        let outcome = function.invoke(Invocation::event(&event_of(trigger_id))).await;
        let row = execution(&stack, trigger_id);
        assert_completed(&outcome, &row);
        assert_eq!(row.get("requestId").and_then(Value::as_str), expected);
        assert_eq!(row["output"], "two files");
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f03_unknown_fields_and_a_bare_envelope_complete() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let mut event = event_of("unknown");
    event["unknown"] = json!({"deep": [1]});
    event["detail"]["unknown"] = json!("kept from the agent");
    let outcome = function.invoke(Invocation::event(&event)).await;
    assert_completed(&outcome, &execution(&stack, "unknown"));
    assert_eq!(stack.agent.calls()[0].body.get("unknown"), None);

    let bare = json!({"detail-type": "Scheduled Event", "detail": event_of("bare")["detail"]});
    let outcome = function.invoke(Invocation::event(&bare)).await;
    let row = execution(&stack, "bare");
    assert_completed(&outcome, &row);
    assert_absent(&row, &["eventId", "source"]);

    let mut nulls = event_of("nulls");
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
    // A constant id, as schedules of the management API have it, is none that EventBridge gives.
    for (source, id) in [
        ("aws.scheduler", "6a7e8feb-b491-4cf7-a9f1-bf3703467718"),
        ("aws.events", "6a7e8feb-b491-4cf7-a9f1-bf3703467718"),
        ("agentcore.trigger", "trigger-123"),
    ] {
        let mut event = event_of(source);
        event["source"] = json!(source);
        event["id"] = json!(id);
        let outcome = function.invoke(Invocation::event(&event)).await;
        let row = execution(&stack, source);
        assert_completed(&outcome, &row);
        assert_eq!(row["source"], source);
    }
    stack.assert_clean();
}
