//! What proves to an agent who calls: a token, a signature, a secret header, or nothing.

use std::time::Duration;

use serde_json::{Value, json};
use standins::{Script, Stack, Verifier};

use crate::support::{
    all_logs, execution,
    one_fire::{TRIGGER, fire, fire_with},
    stack,
};

const ARN: &str = "arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/my-agent";
const RUNTIME: &str = "/runtimes/arn%3Aaws%3Abedrock-agentcore%3Aeu-west-1%3A123456789012%3Aruntime%2Fmy-agent";
pub(crate) const TOKEN: &str = "a-session-token/with+signs==";

pub(crate) fn verifier(service: &str, region: &str) -> Verifier {
    Verifier {
        access_key: "standin".to_owned(),
        secret_key: "standin".to_owned(),
        session_token: Some(TOKEN.to_owned()),
        region: region.to_owned(),
        service: service.to_owned(),
        tolerance: Some(Duration::from_secs(300)),
    }
}

fn agents(definition: &Value) -> String {
    json!({"agent-1": definition}).to_string()
}

/// A function whose only agent has this definition. It has no setting of Cognito's.
async fn function(stack: &Stack, definition: &Value) -> standins::Lambda {
    let agents = agents(definition);
    let endpoint = stack.agent.url();
    let settings = [
        ("AGENTS", agents.as_str()),
        ("AGENT_API_URL", ""),
        ("COGNITO_USER_POOL_ID", ""),
        ("COGNITO_CLIENT_ID", ""),
        ("AWS_SESSION_TOKEN", TOKEN),
        ("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", &endpoint),
        ("LEASE_SECONDS", "4"),
    ];
    stack.function(&settings).await
}

#[tokio::test]
async fn iam_signs_the_call_and_asks_for_no_token() {
    for (url, path) in [
        (ARN.to_owned(), format!("{RUNTIME}/invocations")),
        (format!("{ARN}/runtime-endpoint/v2"), format!("{RUNTIME}/invocations?qualifier=v2")),
        (String::new(), format!("{RUNTIME}/invocations?qualifier=v1")),
    ] {
        let stack = stack().await;
        stack.agent.require_signature(verifier("bedrock-agentcore", "eu-west-1"));
        let url = if url.is_empty() { format!("{}/runtimes/{ARN}?qualifier=v1", stack.agent.url()) } else { url };
        let function = function(&stack, &json!({"url": url, "auth": "iam"})).await;
        let outcome = function.invoke(fire()).await;
        assert!(outcome.is_success(), "{outcome:?}: {:#?}", stack.agent.requests());
        let calls = stack.agent.calls();
        assert_eq!((calls.len(), calls[0].path.as_str()), (1, path.as_str()));
        let session = calls[0].header("x-amzn-bedrock-agentcore-runtime-session-id");
        assert_eq!(session, execution(&stack, TRIGGER)["sessionId"].as_str());
        assert!(stack.cognito.token_requests().is_empty());
        stack.assert_clean();
    }
}

#[tokio::test]
async fn iam_signs_the_stop_of_a_session() {
    let stack = stack().await;
    stack.agent.require_signature(verifier("bedrock-agentcore", "eu-west-1"));
    stack.agent.default(Script::endless(Duration::from_millis(50)));
    let function = function(&stack, &json!({"url": ARN, "auth": "iam"})).await;
    let run = function.invoke(fire());
    let cancel = async {
        stack.agent.wait_until("an answer under way", |calls| calls.iter().any(|call| call.events_sent > 2)).await;
        let row = execution(&stack, TRIGGER);
        let key = |name: &str| row[name].as_str().unwrap().to_owned();
        assert!(stack.dynamodb.request_cancel(&key("PK"), &key("SK")));
    };
    let (outcome, ()) = tokio::join!(run, cancel);
    assert!(outcome.is_success(), "{outcome:?}");
    let row = execution(&stack, TRIGGER);
    assert_eq!((&row["status"], &row["stopConfirmed"]), (&json!("cancelled"), &json!(true)), "{row:#}");
    let stops = stack.agent.stops();
    assert_eq!(
        (stops.len(), stops[0].path.as_str(), stops[0].status),
        (1, &*format!("{RUNTIME}/stopruntimesession"), 200)
    );
    assert!(stack.cognito.token_requests().is_empty());
}

#[tokio::test]
async fn a_wrong_region_or_service_is_refused() {
    // The stand-in's own check: otherwise it might accept anything.
    for wrong in [
        verifier("bedrock-agentcore", "us-east-1"),
        verifier("execute-api", "eu-west-1"),
        Verifier { secret_key: "another".to_owned(), ..verifier("bedrock-agentcore", "eu-west-1") },
        Verifier { session_token: None, ..verifier("bedrock-agentcore", "eu-west-1") },
    ] {
        let stack = stack().await;
        stack.agent.require_signature(wrong);
        let function = function(&stack, &json!({"url": ARN, "auth": "iam"})).await;
        let outcome = function.invoke(fire()).await;
        assert_eq!((outcome.error_type(), &outcome.body()["retryable"]), ("AgentRejected", &json!(false)));
        assert_eq!(stack.agent.call_count(), 1);
    }
}

#[tokio::test]
async fn without_auth_nothing_is_sent() {
    let stack = stack().await;
    stack.agent.accept_any_bearer();
    let function = function(&stack, &json!({"url": stack.agent.url(), "auth": "none"})).await;
    assert!(function.invoke(fire()).await.is_success());
    let calls = stack.agent.calls();
    assert_eq!((calls[0].header("authorization"), calls[0].header("x-amz-date")), (None, None));
    assert!(stack.cognito.token_requests().is_empty() && stack.ssm.asked().is_empty());
}

#[tokio::test]
async fn a_refusal_without_a_token_is_final() {
    let stack = stack().await;
    stack.agent.accept_any_bearer();
    stack.agent.default(Script::status(401, "no"));
    let function = function(&stack, &json!({"url": stack.agent.url(), "auth": "none"})).await;
    let outcome = function.invoke(fire()).await;
    assert_eq!((outcome.error_type(), stack.agent.call_count()), ("AgentRejected", 1));
}

fn secret(stack: &Stack, header: &str) -> Value {
    json!({"url": stack.agent.url(), "auth": {"secret": {"header": header, "parameter": "/agents/key"}}})
}

#[tokio::test]
async fn a_secret_header_comes_from_ssm_once() {
    let stack = stack().await;
    stack.ssm.require_signature(verifier("ssm", "us-east-1"));
    stack.ssm.put("/agents/key", "Bearer hunter2hunter2\n");
    stack.agent.require_header("authorization", "Bearer hunter2hunter2", 403);
    let function = function(&stack, &secret(&stack, "Authorization")).await;
    for second in 0..3 {
        let time = format!("2026-01-31T07:00:0{second}Z");
        let outcome = function.invoke(fire_with(&json!({"scheduledTime": time}))).await;
        assert!(outcome.is_success(), "{outcome:?}");
    }
    assert_eq!(stack.ssm.asked(), ["/agents/key"]);
    assert!(stack.cognito.token_requests().is_empty());
    stack.assert_clean();
}

#[tokio::test]
async fn a_secret_that_was_changed_is_read_again_once() {
    for status in [401, 403] {
        let stack = stack().await;
        stack.ssm.put("/agents/key", "the-first-key");
        stack.agent.require_header("x-api-key", "the-first-key", status);
        let function = function(&stack, &secret(&stack, "X-Api-Key")).await;
        assert!(function.invoke(fire()).await.is_success());
        stack.ssm.put("/agents/key", "the-second-key");
        stack.agent.require_header("x-api-key", "the-second-key", status);
        assert!(function.invoke(fire_with(&json!({"scheduledTime": "2026-02-01T07:00:00Z"}))).await.is_success());
        stack.agent.require_header("x-api-key", "a-key-that-nobody-has", status);
        let outcome = function.invoke(fire_with(&json!({"scheduledTime": "2026-03-01T07:00:00Z"}))).await;
        assert_eq!(outcome.error_type(), "AgentRejected");
        assert_eq!((stack.ssm.asked().len(), stack.agent.call_count()), (3, 5));
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_an_authentication_failure() {
    for (failures, retryable, asked) in [
        (&[(400, "AccessDeniedException")][..], false, 1),
        (&[(400, "ThrottlingException"), (500, "InternalServerError"), (503, "x")][..], true, 3),
        (&[][..], false, 1),
    ] {
        let stack = stack().await;
        stack.ssm.fail(failures);
        let function = function(&stack, &secret(&stack, "x-api-key")).await;
        let outcome = function.invoke(fire()).await;
        assert_eq!((outcome.error_type(), &outcome.body()["retryable"]), ("AuthenticationFailed", &json!(retryable)));
        assert_eq!((stack.ssm.asked().len(), stack.agent.call_count()), (asked, 0));
    }
}

#[tokio::test]
async fn a_secret_that_cannot_stand_in_a_header_is_an_authentication_failure() {
    let stack = stack().await;
    stack.ssm.put("/agents/key", "two\nlines");
    stack.agent.accept_any_bearer();
    let function = function(&stack, &secret(&stack, "x-api-key")).await;
    let outcome = function.invoke(fire()).await;
    assert_eq!((outcome.error_type(), &outcome.body()["retryable"]), ("AuthenticationFailed", &json!(false)));
    let row = execution(&stack, TRIGGER);
    assert!(row["error"].as_str().unwrap().contains("/agents/key cannot stand in the header x-api-key"), "{row:#}");
    assert_eq!(stack.agent.call_count(), 0);
    // The value that was mended is read.
    stack.ssm.put("/agents/key", "one-line");
    let later = fire_with(&json!({"scheduledTime": "2026-02-01T07:00:00Z"}));
    assert!(function.invoke(later).await.is_success());
    assert!(!all_logs(function).await.join("\n").contains("two\\nlines"));
}

#[tokio::test]
async fn what_an_agent_repeats_of_its_secret_is_masked() {
    let stack = stack().await;
    stack.ssm.put("/agents/key", "hunter2hunter2hunter2");
    stack.agent.accept_any_bearer();
    stack.agent.default(Script::status(400, r#"{"message":"the key hunter2hunter2hunter2 is odd"}"#));
    let function = function(&stack, &secret(&stack, "x-api-key")).await;
    assert_eq!(function.invoke(fire()).await.error_type(), "AgentRejected");
    let row = execution(&stack, TRIGGER);
    assert!(row["error"].as_str().unwrap().contains("the key [redacted] is odd"), "{row:#}");
    assert!(!all_logs(function).await.join("\n").contains("hunter2"));
}
