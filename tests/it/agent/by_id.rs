//! Agents by their ids: inline, in SSM, unknown, and where credentials go.

use serde_json::{Value, json};
use standins::{Agent, Outcome, Stack};

use crate::support::{
    LIMIT, execution,
    one_fire::{TRIGGER, fire, fire_with},
    stack,
};

/// Runs the agent of this id.
async fn run(stack: &Stack, settings: &[(&str, &str)], agent_id: &str) -> (Outcome, Value) {
    let outcome = stack.function(settings).await.invoke(fire_with(&json!({"agentId": agent_id}))).await;
    (outcome, execution(stack, TRIGGER))
}

#[tokio::test]
async fn an_id_chooses_its_agent_and_others_the_unnamed_one() {
    let (stack, other) = (stack().await, Agent::start().await);
    let agents = json!({"other": {"url": other.url(), "auth": "none"}}).to_string();
    let function = stack.function(&[("AGENTS", &agents)]).await;
    for (at, agent_id) in ["other", "agent-1", "another"].into_iter().enumerate() {
        let fields = json!({"agentId": agent_id, "scheduledTime": format!("2026-01-31T07:00:0{at}Z")});
        assert!(function.invoke(fire_with(&fields)).await.is_success());
    }
    let called = |agent: &Agent| agent.calls().iter().map(|call| call.field("agentId").to_owned()).collect::<Vec<_>>();
    assert_eq!(
        (called(&other), called(&stack.agent)),
        (vec!["other".to_owned()], vec!["agent-1".to_owned(), "another".to_owned()])
    );
    // A credential goes only to the agent whose definition asks for it.
    assert!(other.calls().iter().all(|call| call.header("authorization").is_none()));
    assert!(stack.agent.calls().iter().all(|call| call.header("authorization").is_some()));
}

#[tokio::test]
async fn an_event_cannot_name_an_address() {
    let (stack, thief) = (stack().await, Agent::start().await);
    thief.accept_any_bearer();
    let url = thief.url();
    for agent_id in [url.as_str(), "https://thief.example.com/", "arn:aws:bedrock-agentcore:eu-west-1:1:runtime/x"] {
        let input = json!({"url": url, "agentUrl": url, "AGENT_API_URL": url});
        let fields = json!({"agentId": agent_id, "url": url, "agentUrl": url, "auth": "none", "input": input,
            "scheduledTime": format!("2026-01-31T07:00:0{}Z", agent_id.len() % 10)});
        assert!(stack.function(&[]).await.invoke(fire_with(&fields)).await.is_success());
    }
    assert!(thief.requests().is_empty());
    assert_eq!(stack.agent.call_count(), 3);
}

#[tokio::test]
async fn an_id_that_nothing_defines_is_a_final_failure() {
    let stack = stack().await;
    let agents = json!({"other": {"url": stack.agent.url(), "auth": "none"}}).to_string();
    let (outcome, row) = run(&stack, &[("AGENTS", &agents), ("AGENT_API_URL", "")], "agent-1").await;
    assert_eq!((outcome.error_type(), &outcome.body()["retryable"]), ("AgentNotFound", &json!(false)), "{row:#}");
    assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!("AgentNotFound")));
    assert!(row["error"].as_str().unwrap().contains("\"agent-1\""), "{row:#}");
    assert_eq!(stack.agent.call_count(), 0);
}

#[tokio::test]
async fn a_definition_in_ssm_is_read_once() {
    let stack = stack().await;
    let definition = json!({"url": stack.agent.url(), "auth": "none", "model": "of-the-parameter"}).to_string();
    stack.ssm.put("/agents/agent-1", &definition);
    stack.agent.accept_any_bearer();
    let function =
        stack.function(&[("AGENTS", "ssm:/agents/"), ("AGENT_API_URL", ""), ("COGNITO_CLIENT_ID", "")]).await;
    assert!(stack.ssm.asked().is_empty());
    for second in 0..2 {
        let time = format!("2026-01-31T07:00:0{second}Z");
        assert!(function.invoke(fire_with(&json!({"scheduledTime": time}))).await.is_success());
    }
    assert_eq!(stack.ssm.asked(), ["/agents/agent-1"]);
    assert_eq!(stack.agent.calls()[1].field("modelId"), "of-the-parameter");
}

#[tokio::test]
async fn a_parameter_that_is_not_there_leaves_the_unnamed_agent() {
    let (stack, path) = (stack().await, [("AGENTS", "ssm:/agents/")]);
    assert!(run(&stack, &path, "agent-1").await.0.is_success());
    assert_eq!(stack.ssm.asked(), ["/agents/agent-1"]);
}

#[tokio::test]
async fn an_id_cannot_reach_beyond_its_path() {
    for agent_id in ["../secrets", "a/b", "a b", "ä"] {
        let stack = stack().await;
        let (outcome, _) = run(&stack, &[("AGENTS", "ssm:/agents/"), ("AGENT_API_URL", "")], agent_id).await;
        assert_eq!(outcome.error_type(), "AgentNotFound", "{agent_id}");
        assert!(stack.ssm.asked().is_empty(), "{agent_id}");
    }
}

#[tokio::test]
async fn a_parameter_that_is_no_definition_is_a_final_failure_that_says_so() {
    let cognito = json!({"url": "https://a.example.com"}).to_string();
    for (text, expected) in [
        ("{hunter2", "must be JSON (key must be a string at line 1 column 2)"),
        (r#"{"url": "http://hunter2.example.com", "auth": "none"}"#, "AGENTS.agent-1.url: must be https"),
        (r#"{"url": "https://a.example.com", "protocol": "custom"}"#, "AGENTS.agent-1.template: is missing"),
        (cognito.as_str(), "COGNITO_CLIENT_ID"),
    ] {
        let stack = stack().await;
        stack.ssm.put("/agents/agent-1", text);
        let settings = [("AGENTS", "ssm:/agents/"), ("AGENT_API_URL", ""), ("COGNITO_CLIENT_ID", "")];
        let (outcome, row) = run(&stack, &settings, "agent-1").await;
        assert_eq!((outcome.error_type(), &outcome.body()["retryable"]), ("AgentNotFound", &json!(false)), "{row:#}");
        let error = row["error"].as_str().unwrap();
        assert!(error.contains(expected) && error.contains("/agents/agent-1") && !error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn ssm_that_fails_is_tried_again_later() {
    let stack = stack().await;
    stack.ssm.fail(&[(500, "InternalServerError"); 3]);
    let (outcome, row) = run(&stack, &[("AGENTS", "ssm:/agents/")], "agent-1").await;
    assert_eq!((outcome.error_type(), &outcome.body()["retryable"]), ("AgentUnavailable", &json!(true)), "{row:#}");
    assert_eq!((stack.ssm.asked().len(), stack.agent.call_count()), (3, 0));
}

#[tokio::test]
async fn a_session_id_that_agentcore_does_not_take_is_refused_before_the_call() {
    let stack = stack().await;
    let arn = "arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/x";
    let agents = json!({"agent-1": {"url": arn, "auth": "iam"}}).to_string();
    let endpoint = stack.agent.url();
    let function = stack.function(&[("AGENTS", &agents), ("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", &endpoint)]).await;
    let outcome = function.invoke(fire_with(&json!({"sessionId": "short"}))).await;
    assert_eq!((outcome.error_type(), stack.agent.call_count()), ("InvalidEvent", 0), "{outcome:?}");
}

#[tokio::test]
async fn problems_of_agents_end_the_start_all_at_once() {
    let stack = stack().await;
    let agents = json!({
        "report": {"url": "http://hunter2.example.com", "protocol": "soap"},
        "letter": {"url": "https://a.example.com", "auth": "basic", "uri": "x"},
        "tool": {"url": "https://a.example.com", "protocol": "mcp"},
        "own": {"url": "https://a.example.com", "protocol": "custom", "template": {"q": "{{promt}}"}},
    });
    let agents = agents.to_string();
    let settings = [
        ("AGENTS", agents.as_str()),
        ("AGENT_PROTOCOL", "custom"),
        ("AGENT_AUTH", "basic"),
        ("LEASE_SECONDS", "0"),
        ("COGNITO_CLIENT_ID", ""),
    ];
    let function = stack.function(&settings).await;
    let status = function.process.wait_exit(LIMIT).await.expect("it must end");
    assert!(!status.success());
    let said = function.logs().join("\n");
    for expected in [
        "AGENTS.report.url",
        "AGENTS.report.protocol",
        "AGENTS.letter.auth",
        "AGENTS.letter.uri",
        "AGENTS.tool.tool",
        "AGENTS.own.template",
        "{{promt}}",
        "AGENT_PROTOCOL",
        "AGENT_AUTH",
        "LEASE_SECONDS",
        "COGNITO_CLIENT_ID",
    ] {
        assert!(said.contains(expected), "{expected} is not in: {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn settings_for_all_agents_need_no_definition() {
    let stack = stack().await;
    stack.agent.accept_any_bearer();
    stack.agent.serve_any_path();
    let url = format!("{}/agent", stack.agent.url());
    let settings = [("AGENT_API_URL", url.as_str()), ("AGENT_PROTOCOL", "a2a"), ("AGENT_AUTH", "none")];
    stack.function(&settings).await.invoke(fire()).await;
    let requests = stack.agent.requests();
    assert_eq!((requests[0].path.as_str(), requests[0].field("method")), ("/agent", "message/stream"));
}
