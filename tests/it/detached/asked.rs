//! The ways to ask for a detached run, and the ones who may.

use super::*;
use crate::support::one_fire::assert_error;
use crate::support::stored;

#[tokio::test]
async fn a_trigger_item_may_ask_for_it_and_takes_precedence() {
    for asked in [json!({}), json!({"detached": {"timeoutSeconds": 7200, "firstReportSeconds": 10}})] {
        let stack = stack().await;
        stored::store(&stack, json!({"detached": {"timeoutSeconds": 600}}));
        let function = function(&stack).await;
        let row = assert_left(&stack, &function.invoke(fire_with(&asked)).await);
        assert!(row["deadline"].as_i64().unwrap() < now_millis() + 600_001, "{asked}: {row:#}");
        assert_eq!(row["firstReportSeconds"], 300, "{asked}");
        assert_eq!(reports(&stack, &function, json!({"status": "completed"})).await.0, 200);
        assert_eq!(execution(&stack)["status"], "completed");
    }
}

#[tokio::test]
async fn a_run_that_answers_in_full_ends_with_its_invocation() {
    let stack = stack().await;
    stack.agent.queue(Script::ndjson_happy("three files"));
    let function = function(&stack).await;
    let outcome = function.invoke(fire()).await;
    let row = execution(&stack);
    support::assert_completed(&outcome, &row);
    assert_eq!(row.get("detachedAt"), None);
    // Its agent may say the same once more.
    assert_eq!(reports(&stack, &function, json!({"status": "completed"})).await.0, 200);
    assert!(deliver(&function, &last_look(&stack)).await);
    assert_eq!(execution(&stack), row);
}

#[tokio::test]
async fn accepted_without_being_asked_is_no_completion() {
    let stack = stack().await;
    stack.agent.queue(Script::status(202, ""));
    let function = function(&stack).await;
    let outcome = function.invoke(fire_with(&json!({}))).await;
    assert_error(&outcome, "AgentIncomplete", false);
    assert_eq!(execution(&stack)["finishReason"], "working");
    assert_eq!(stack.agent.calls()[0].callback(), None);
    assert_eq!(stack.sqs.requests(), 0);
}

#[tokio::test]
async fn http_202_acknowledges_a_detached_run_and_promises_nothing() {
    let stack = stack().await;
    stack.agent.queue(Script::status(202, ""));
    let function = function(&stack).await;
    let row = assert_left(&stack, &function.invoke(fire()).await);
    assert_eq!(row["leaseUntil"], row["deadline"]);
    assert_eq!((row.get("ackLost"), row.get("heartbeatSeconds")), (None, None));
}

#[tokio::test]
async fn an_acknowledgement_must_repeat_the_execution_id() {
    let stack = stack().await;
    let body = r#"{"status":"accepted","executionId":"another","heartbeatSeconds":60}"#;
    stack.agent.queue(Script::ok("application/json", [standins::Step::text(body)]));
    let function = function(&stack).await;
    assert!(function.invoke(fire()).await.is_success());
    let row = execution(&stack);
    assert_eq!((&row["status"], row.get("detachedAt")), (&json!("completed"), None), "{row:#}");
}

#[tokio::test]
async fn an_a2a_agent_finds_the_callback_in_its_message_and_acknowledges_by_its_state() {
    let stack = stack().await;
    let task =
        r#"{"jsonrpc":"2.0","id":"1","result":{"kind":"task","id":"t","contextId":"c","status":{"state":"working"}}}"#;
    stack.agent.queue(Script::ok("application/json", [standins::Step::text(task)]));
    stack.agent.serve_any_path();
    let function = stack.function(&[REPORT_URL, ("AGENT_PROTOCOL", "a2a"), support::lease(1)]).await;
    let row = assert_left(&stack, &function.invoke(fire()).await);
    let call = &stack.agent.requests()[0];
    assert_eq!(call.body["params"]["message"]["metadata"]["callback"]["executionId"], row["executionId"]);
    assert_eq!(call.body["params"]["metadata"].get("callback"), None);
    assert_eq!(row["leaseUntil"], row["deadline"]);
}

#[tokio::test]
async fn what_cannot_be_detached_is_refused_before_the_call() {
    let detached = json!({"detached": settings()});
    for (env, fields, error_type) in [
        (vec![REPORT_URL, ("AGENT_PROTOCOL", "openai-responses")], detached.clone(), "InvalidTrigger"),
        (vec![REPORT_URL, ("SETTLE_QUEUE_URL", "")], detached.clone(), "InvalidTrigger"),
        (vec![], detached, "InvalidTrigger"),
        (vec![REPORT_URL], json!({"detached": settings(), "onInterrupted": "rerun"}), "InvalidEvent"),
        (vec![REPORT_URL], json!({"detached": {"timeoutSeconds": 86_401}}), "InvalidEvent"),
        (vec![REPORT_URL], json!({"detached": {"timeoutSecond": 60}}), "InvalidEvent"),
        (vec![REPORT_URL], json!({"detached": settings(), "input": {"callback": 1}}), "InvalidEvent"),
    ] {
        let stack = stack().await;
        let function = stack.function(&env).await;
        let outcome = function.invoke(fire_with(&fields)).await;
        assert_eq!(outcome.error_type(), error_type, "{env:?} {fields} {outcome:?}");
        assert_eq!(stack.agent.requests().len(), 0, "{env:?} {fields}");
        assert_eq!(stack.sqs.requests(), 0);
    }
}

/// A run may outlive the record's own time. What its end needs outlives it, too.
#[tokio::test]
async fn what_the_end_of_a_day_long_run_needs_is_kept_as_long_as_its_record() {
    let stack = stack().await;
    let function = stack.function(&[REPORT_URL, support::lease(1), ("EXECUTION_TTL_DAYS", "1")]).await;
    let day = json!({"timeoutSeconds": 86_400});
    let command = standins::own_event(
        "Run Trigger",
        json!({"triggerId": "trigger-1", "userId": "user-1", "taskToken": "the-token"}),
    );
    stored::store(&stack, json!({"detached": day, "agentId": "agent-1", "prompt": "Count"}));
    let row = assert_left(&stack, &function.invoke(Invocation::event(&command)).await);
    let least = row["deadline"].as_i64().unwrap() / 1000 + 86_400;
    assert!(row["ttl"].as_i64().unwrap() >= least, "{row:#}");
    for kind in ["INPUT", "TASK"] {
        let key = format!("{kind}#{}", row["executionId"].as_str().unwrap());
        let item = stack.dynamodb.item("TRIGGER#trigger-1", &key).unwrap();
        assert!(item["ttl"].as_i64().unwrap() >= least, "{item:#}");
    }
}

#[tokio::test]
async fn a_run_on_agentcore_must_end_before_its_session() {
    for (seconds, is_refused) in [(28_200, false), (28_201, true)] {
        let stack = stack().await;
        stack.agent.accept_any_bearer();
        stack.agent.serve_any_path();
        let arn = "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/x";
        let agents = json!({"agent-1": {"url": arn, "auth": "iam"}}).to_string();
        let endpoint = stack.agent.url();
        let settings =
            [REPORT_URL, support::lease(1), ("AGENTS", &agents), ("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", &endpoint)];
        let function = stack.function(&settings).await;
        let outcome = function.invoke(fire_with(&json!({"detached": {"timeoutSeconds": seconds}}))).await;
        assert_eq!(outcome.is_success(), !is_refused, "{outcome:?}");
        if is_refused {
            assert_error(&outcome, "InvalidTrigger", false);
        } else {
            let row = execution(&stack);
            let started = row["deadline"].as_i64().unwrap() - 28_200_000;
            assert!((now_millis() - 60_000..=now_millis()).contains(&started), "{row:#}");
        }
    }
}

/// A detached run lives for hours. `overlap` may have become `skip` meanwhile.
#[tokio::test]
async fn a_run_without_the_lock_is_seen_for_as_long_as_it_may_live() {
    let stack = stack().await;
    let day = json!({"timeoutSeconds": 86_400});
    stored::store(&stack, json!({"detached": day}));
    let function = function(&stack).await;
    let first = assert_left(&stack, &function.invoke(fire_with(&json!({}))).await);
    stored::edit(&stack, &json!({"overlap": "skip"}));
    let later = function.invoke(fire_with(&json!({"scheduledTime": "2026-02-01T06:30:00Z"}))).await;
    assert_eq!(later.body()["skipReason"], "Overlap", "{later:?}");
    assert_eq!(stack.agent.call_count(), 1);
    let rows = stack.dynamodb.executions("trigger-1");
    let skipped = rows.iter().find(|row| row["status"] == "skipped").unwrap();
    assert_eq!(skipped["overlaps"], first["executionId"]);
}

/// The event accepts what the stored trigger does not. The trigger counts.
#[tokio::test]
async fn what_the_stored_trigger_does_not_accept_is_no_completion() {
    let stack = stack().await;
    stored::store(
        &stack,
        json!({"detached": settings(), "agentId": "agent-1", "prompt": "Count", "acceptFinishReasons": []}),
    );
    let function = function(&stack).await;
    let fire = fire_with(&json!({"detached": settings(), "acceptFinishReasons": ["max_tokens"]}));
    let row = assert_left(&stack, &function.invoke(fire).await);
    assert_eq!(row.get("acceptFinishReasons"), None, "{row:#}");
    let end = json!({"status": "completed", "finishReason": "max_tokens"});
    assert_eq!(reports(&stack, &function, end).await.0, 200);
    assert_eq!(execution(&stack)["errorType"], "AgentIncomplete");
}

/// Its own time limit counts, which begins with the claim, and no answer is late by that of the trigger.
#[tokio::test]
async fn the_triggers_time_limit_is_none_of_a_detached_run() {
    let stack = stack().await;
    stored::store(
        &stack,
        json!({"detached": settings(), "agentId": "agent-1", "prompt": "Count", "timeoutSeconds": 1}),
    );
    let pause = standins::Step::Sleep(std::time::Duration::from_millis(1500));
    stack.agent.queue(Script::acknowledges(Some(120)).before_head(pause));
    let function = function(&stack).await;
    let row = assert_left(&stack, &function.invoke(fire()).await);
    assert_eq!((row.get("ackLost"), &row["heartbeatSeconds"]), (None, &json!(120)), "{row:#}");
}
