//! The process: panics, too little time, many invocations at once, bad settings.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use standins::{CognitoOperation, Gate, Invocation, Lambda, Script, Stack, Step, runtime_api::scheduled_event};

use crate::support::emf::metrics;
use crate::support::one_fire::{
    PROMPT, TIME, TRIGGER, assert_completed, assert_error, assert_failed, execution, fire, fire_with, short_lease,
};
use crate::support::{LIMIT, all_logs, lines, stack};

/// The function with a panic built in at the first lookup of a host name, of which this setting holds the only one.
async fn panics_at(setting: &str) -> (Stack, Lambda) {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap_or(Path::new(".")).join("examples/panicking-function");
    assert!(
        built.exists(),
        "{} is missing: `cargo test --test it` leaves it to `cargo build --examples`",
        built.display()
    );
    let stack = stack().await.with_binary(built);
    let by_name = stack.env()[setting].replace("127.0.0.1", "localhost");
    // With the secret at hand the token's endpoint is the first that is asked, before the claim has its answer.
    let function = stack.function(&[(setting, &by_name), ("COGNITO_CLIENT_SECRET", &stack.cognito.secret())]).await;
    (stack, function)
}

fn assert_panic_is_logged(function: &Lambda) {
    let logs = function.logs();
    assert!(logs.iter().any(|line| line.contains("panicking_function.rs")), "where it was is logged: {logs:#?}");
}

#[tokio::test]
async fn f47_panic_at_the_agent_call_is_recorded_and_the_process_goes_on() {
    let (stack, function) = panics_at("AGENT_API_URL").await;
    let outcome = function.invoke(fire().request_id("request-1")).await;
    let record = assert_failed(&stack, &outcome, "Internal", false);
    assert_panic_is_logged(&function);
    assert_eq!(stack.agent.call_count(), 0);
    let outcome = function.invoke(fire().request_id("request-1")).await;
    assert_failed(&stack, &outcome, "Internal", false);
    assert_eq!(execution(&stack), record, "what is final is replayed");

    let next = function.invoke(fire_with(&json!({"triggerId": "trigger-2"}))).await;
    assert!(next.is_success(), "{next:#?}");
    assert_eq!(stack.dynamodb.executions("trigger-2")[0]["status"], "completed");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f47_panic_before_the_agent_call_is_recorded_and_run_by_the_next_attempt() {
    let (stack, function) = panics_at("COGNITO_DOMAIN").await;
    let outcome = function.invoke(fire().request_id("request-1")).await;
    assert_failed(&stack, &outcome, "Internal", true);
    assert_panic_is_logged(&function);
    assert_eq!(stack.agent.call_count(), 0);
    let outcome = function.invoke(fire().request_id("request-1")).await;
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 2);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f49_too_little_time_starts_nothing() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for event in [fire(), Invocation::event(&scheduled_event(TRIGGER, PROMPT, None))] {
        let outcome = function.invoke(event.timeout(Duration::from_secs(4))).await;
        let message = assert_error(&outcome, "DeadlineExceeded", true);
        assert_eq!(message["triggerId"], TRIGGER);
    }
    assert!(stack.dynamodb.scan().is_empty());
    assert!(stack.dynamodb.requests().is_empty(), "not even a claim that would have to be given up");
    assert_eq!((stack.agent.call_count(), stack.cognito.count(CognitoOperation::Token)), (0, 0));
    let outcome = function.invoke(fire()).await;
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 1);
    stack.assert_clean();
}

/// One of several fires at once: its trigger, how its agent answers behind the gate, and what must come of it.
struct Fire {
    trigger: &'static str,
    script: Script,
    status: &'static str,
    error_type: Option<&'static str>,
}

#[tokio::test]
async fn f50_invocations_at_once_in_one_process_are_isolated() {
    let gate = Gate::new();
    let fire = |trigger, script: Script, status, error_type| Fire {
        trigger,
        script: script.before_head(Step::Gate(gate.clone())),
        status,
        error_type,
    };
    let never = Script::ndjson_happy("never").midway(Step::Hang);
    let fires = [
        fire("alpha", Script::ndjson_happy("the answer to alpha"), "completed", None),
        fire("bravo", Script::sse_happy("the answer to bravo"), "completed", None),
        fire("charlie", Script::json_happy("the answer to charlie"), "completed", None),
        fire("delta", Script::server_error_event("no bucket for delta"), "failed", Some("AgentFailed")),
        fire("echo", Script::cut(), "failed", Some("StreamInterrupted")),
        fire("foxtrot", Script::status(403, "no"), "failed", Some("AgentRejected")),
        fire("golf", Script::ndjson_happy("never").midway(Step::Rst), "failed", Some("StreamInterrupted")),
        fire("hotel", never, "cancelled", None),
    ];
    let stack = stack().await;
    for fire in &fires {
        stack.agent.on_agent(&format!("agent-of-{}", fire.trigger), fire.script.clone());
    }
    let function = stack.function(&[short_lease(), ("AWS_LAMBDA_MAX_CONCURRENCY", "8")]).await;
    let invoked = fires.each_ref().map(|fire| {
        let mut event = scheduled_event(fire.trigger, &format!("the prompt of {}", fire.trigger), Some(TIME));
        event["detail"]["agentId"] = format!("agent-of-{}", fire.trigger).into();
        event["detail"]["userId"] = format!("user-of-{}", fire.trigger).into();
        function.invoke(Invocation::event(&event))
    });
    let steer = async {
        gate.reached_by(fires.len()).await;
        assert_eq!(function.api.in_flight(), fires.len(), "all at once");
        let record = &stack.dynamodb.executions("hotel")[0];
        let key = |name: &str| record[name].as_str().unwrap();
        stack.dynamodb.update(key("PK"), key("SK"), &json!({"cancelRequested": true}));
        gate.release();
    };
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(invoked), steer);

    let calls = stack.agent.calls();
    assert_eq!(calls.len(), fires.len());
    let mut ids = Vec::new();
    for (fire, outcome) in fires.iter().zip(outcomes) {
        let executions = stack.dynamodb.executions(fire.trigger);
        assert_eq!(executions.len(), 1);
        let (record, body) = (&executions[0], outcome.body());
        assert_eq!(record["status"], fire.status, "{record:#?}");
        assert_eq!(record.get("errorType").and_then(Value::as_str), fire.error_type);
        assert_eq!(outcome.error_type(), fire.error_type.unwrap_or_default());
        for name in ["triggerId", "executionId"] {
            assert_eq!(body[name], record[name]);
        }
        assert_eq!(record["userId"], format!("user-of-{}", fire.trigger));
        if fire.status == "completed" {
            assert_eq!(record["output"], format!("the answer to {}", fire.trigger));
        }
        let agent = format!("agent-of-{}", fire.trigger);
        let call: Vec<_> = calls.iter().filter(|call| call.field("agentId") == agent).collect();
        assert_eq!(call.len(), 1);
        assert_eq!(call[0].field("prompt"), format!("the prompt of {}", fire.trigger));
        assert_eq!(call[0].field("sessionId"), record["sessionId"]);
        ids.push(record["executionId"].as_str().unwrap().to_owned());
    }
    assert_eq!(stack.cognito.count(CognitoOperation::Token), 1, "what can be shared is");
    for line in function.logs() {
        for (fire, id) in fires.iter().zip(&ids) {
            if line.contains(id) {
                let others = fires.iter().filter(|other| other.trigger != fire.trigger);
                for other in others {
                    assert!(!line.contains(&format!("\"{}\"", other.trigger)), "of two runs: {line}");
                }
            }
        }
    }
    stack.assert_clean();
}

/// Starts the function with these settings, `None` for not set; it must not run. Gives what it said.
async fn does_not_start(settings: &[(&str, Option<&str>)]) -> String {
    let stack = stack().await;
    let mut env = stack.env();
    for (name, value) in settings {
        match value {
            Some(value) => env.insert((*name).to_owned(), (*value).to_owned()),
            None => env.remove(*name),
        };
    }
    let function = stack.function_with(&env).await;
    let status = function.process.wait_exit(LIMIT).await.expect("it must end");
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    assert_eq!(function.api.polls(), 0, "it must not ask for work");
    assert!(stack.dynamodb.requests().is_empty());
    assert_eq!(stack.agent.call_count(), 0);
    stack.assert_clean();
    let said = function.logs().join("\n");
    for (name, _) in settings {
        assert!(said.contains(name), "{name} is not named in: {said}");
    }
    said
}

#[tokio::test]
async fn f52_missing_settings_are_all_named() {
    let required = ["AGENT_API_URL", "COGNITO_USER_POOL_ID", "COGNITO_CLIENT_ID", "TRIGGERS_TABLE_NAME", "AWS_REGION"];
    does_not_start(&required.map(|name| (name, None))).await;
    for name in required {
        does_not_start(&[(name, None)]).await;
        does_not_start(&[(name, Some(" "))]).await;
    }
}

#[tokio::test]
async fn f52_bad_settings_are_all_named() {
    let bad = [
        ("AGENT_API_URL", Some("http://agent.example.com")),
        ("COGNITO_DOMAIN", Some("http://auth.example.com")),
        ("EXECUTION_TTL_DAYS", Some("soon")),
        ("AGENT_IDLE_TIMEOUT_SECONDS", Some("-1")),
        ("LEASE_SECONDS", Some("0")),
        ("METRICS_BY_TRIGGER", Some("some")),
    ];
    does_not_start(&bad).await;
    for setting in bad {
        does_not_start(&[setting]).await;
    }
}

#[tokio::test]
async fn f52_bad_and_missing_settings_are_named_together_without_their_values() {
    let said = does_not_start(&[
        ("AGENT_API_URL", Some("https://agent:hunter2hunter2@agent.example.com")),
        ("LEASE_SECONDS", Some("51")),
        ("TRIGGERS_TABLE_NAME", None),
    ])
    .await;
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn f52_unreadable_ca_bundle_is_named() {
    does_not_start(&[("AWS_CA_BUNDLE", Some("/nowhere/roots.pem"))]).await;
}

#[tokio::test]
async fn an_error_is_logged_with_its_ids_where_nothing_else_is_logged() {
    let stack = stack().await;
    stack.agent.default(Script::status(400, "no"));
    let function = stack.function(&[("AWS_LAMBDA_LOG_LEVEL", "FATAL")]).await;
    let outcome = function.invoke(fire()).await;
    let record = assert_failed(&stack, &outcome, "AgentRejected", false);
    let logs = all_logs(function).await;
    assert_eq!((logs.len(), metrics(&logs).len()), (2, 1), "{logs:#?}");
    let line: Value = serde_json::from_str(&logs[0]).unwrap();
    assert_eq!((&line["level"], &line["errorType"]), (&json!("ERROR"), &json!("AgentRejected")));
    assert_eq!(
        (&line["span"]["executionId"], &line["span"]["triggerId"]),
        (&record["executionId"], &record["triggerId"])
    );
}

#[tokio::test]
async fn in_text_format_an_error_is_logged_with_each_id_once() {
    let stack = stack().await;
    stack.agent.default(Script::status(400, "no"));
    let function = stack.function(&[("AWS_LAMBDA_LOG_FORMAT", "Text")]).await;
    assert_failed(&stack, &function.invoke(fire()).await, "AgentRejected", false);
    let logs = all_logs(function).await;
    let failed = lines(&logs, "run failed");
    assert_eq!(failed.len(), 1, "{logs:#?}");
    for id in ["triggerId=", "executionId="] {
        assert_eq!(failed[0].matches(id).count(), 1, "{failed:?}");
    }
}

#[tokio::test]
async fn no_level_logs_a_secret() {
    let stack = stack().await;
    let function = stack.function(&[("AWS_LAMBDA_LOG_LEVEL", "TRACE")]).await;
    let outcome = function.invoke(fire()).await;
    assert_completed(&stack, &outcome);
    stack.assert_clean();
}

#[tokio::test]
async fn a_process_with_snapstart_waits_until_it_is_restored_before_it_asks_for_work() {
    let stack = stack().await;
    let of_type = async |name: &str| stack.function(&[("AWS_LAMBDA_INITIALIZATION_TYPE", name)]).await;
    let snapped = of_type("snap-start").await;
    snapped.api.restoring().reached().await;
    // A process without SnapStart is started and runs a fire meanwhile.
    let other = of_type("on-demand").await;
    assert!(other.invoke(fire()).await.is_success());
    assert_eq!((other.api.restoring().arrivals(), snapped.api.polls()), (0, 0));
    snapped.api.restoring().release();
    assert!(snapped.invoke(fire()).await.is_success());
    assert_eq!(snapped.api.restoring().arrivals(), 1);
}
