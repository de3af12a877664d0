//! Cases 12 to 17: Cognito's token, discovered, cached, shared, refused.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use standins::CognitoOperation::{DescribeUserPool, DescribeUserPoolClient, GetClientToken, Token};
use standins::cognito::SCOPE;
use standins::{Cognito, Gate, Invocation, Lambda, Outcome, Script, Stack, Step, TokenAnswer};

use crate::support::{
    all_logs, alone, assert_absent, assert_completed, assert_failed, execution, factor, lines, scaled, stack,
};

const PROMPT: &str = "Count the confidential files";

async fn fire(function: &Lambda, trigger_id: &str) -> Outcome {
    function.invoke(Invocation::scheduled(trigger_id, PROMPT, "2026-01-31T07:00:00Z")).await
}

fn raw(status: u16, content_type: &str, body: &str) -> TokenAnswer {
    TokenAnswer::Raw { status, content_type: content_type.to_owned(), body: body.to_owned() }
}

/// Asserts that the run failed for want of a token, before the agent heard of it.
fn assert_no_token(stack: &Stack, outcome: &Outcome, trigger_id: &str, retryable: bool) {
    let row = execution(stack, trigger_id);
    assert_failed(outcome, &row, "AuthenticationFailed", retryable);
    assert_absent(&row, &["requestId", "events", "bytes", "usage", "firstEventMs"]);
    assert_eq!(stack.agent.requests().len(), 0);
}

/// How often each operation was asked for: DescribeUserPool, DescribeUserPoolClient, GetClientToken, the endpoint.
fn counts(cognito: &Cognito) -> [usize; 4] {
    [DescribeUserPool, DescribeUserPoolClient, GetClientToken, Token].map(|operation| cognito.count(operation))
}

/// The environment without what can be discovered.
async fn undiscovered(stack: &Stack, changes: &[(&str, &str)]) -> Lambda {
    let mut env = stack.env();
    env.remove("COGNITO_DOMAIN");
    env.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    stack.function_with(&env).await
}

#[tokio::test]
async fn f12_a_refused_configured_secret_is_final() {
    let stack = stack().await;
    let stale = stack.cognito.secret();
    stack.cognito.rotate_secret();
    let function = stack.function(&[("COGNITO_CLIENT_SECRET", &stale)]).await;
    let outcome = fire(&function, "t").await;
    assert_no_token(&stack, &outcome, "t", false);
    assert!(outcome.body()["message"].as_str().unwrap().contains("invalid_client"));
    assert_eq!(counts(&stack.cognito), [0, 0, 0, 1]);
    let again = fire(&function, "t").await;
    assert_eq!(again.body(), outcome.body());
    let logs = all_logs(function).await;
    assert_eq!(lines(&logs, "\"level\":\"ERROR\"").len(), 2, "one for each failed invocation: {logs:#?}");
    stack.assert_clean();
}

#[tokio::test]
async fn f12_a_rotated_secret_is_discovered_again_and_completes() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    assert!(fire(&function, "before").await.is_success());
    assert_eq!(counts(&stack.cognito), [0, 1, 0, 1]);
    stack.cognito.rotate_secret();
    stack.cognito.revoke_tokens();
    let outcome = fire(&function, "after").await;
    assert_completed(&outcome, &execution(&stack, "after"));
    assert_eq!(counts(&stack.cognito), [0, 2, 0, 3]);
    assert_eq!((stack.agent.call_count(), stack.cognito.issued_tokens().len()), (3, 2));
    assert!(fire(&function, "later").await.is_success());
    assert_eq!(counts(&stack.cognito), [0, 2, 0, 3]);
    stack.assert_clean();
}

#[tokio::test]
async fn f12_a_discovered_secret_is_fetched_again_only_once() {
    let stack = stack().await;
    stack.cognito.answer_always(Token, TokenAnswer::Status(400));
    let function = stack.function(&[]).await;
    let outcome = fire(&function, "t").await;
    assert_no_token(&stack, &outcome, "t", false);
    assert_eq!(counts(&stack.cognito), [0, 2, 0, 2]);
    stack.assert_clean();
}

#[tokio::test]
async fn f12_other_refusals_are_final_at_once() {
    let stack = stack().await;
    let function = stack.function(&[("COGNITO_SCOPE", "no/such")]).await;
    let outcome = fire(&function, "scope").await;
    assert_no_token(&stack, &outcome, "scope", false);
    assert!(outcome.body()["message"].as_str().unwrap().contains("invalid_scope"));
    assert_eq!(counts(&stack.cognito), [0, 1, 0, 1]);

    // What else it says is free text, and may hold anything.
    let private = r#"{"error":"the marmalade is private","error_description":"marmalade"}"#;
    stack.cognito.answer_next(Token, [raw(403, "application/json", private), raw(302, "text/html", "marmalade")]);
    for trigger_id in ["private", "redirect"] {
        let outcome = fire(&function, trigger_id).await;
        assert_no_token(&stack, &outcome, trigger_id, false);
        assert!(!execution(&stack, trigger_id).to_string().contains("marmalade"));
    }
    assert_eq!(counts(&stack.cognito), [0, 1, 0, 3]);
    let logs = all_logs(function).await;
    assert_eq!(lines(&logs, "marmalade").len(), 0, "{logs:#?}");
    stack.assert_clean();
}

#[tokio::test]
async fn f12_what_is_not_there_to_discover_is_final() {
    let stack = stack().await;
    stack.cognito.set_domains(None, None);
    let outcome = fire(&undiscovered(&stack, &[]).await, "domainless").await;
    assert_no_token(&stack, &outcome, "domainless", false);
    assert_eq!(counts(&stack.cognito), [1, 1, 0, 0]);

    stack.cognito.set_secret("");
    let outcome = fire(&stack.function(&[]).await, "secretless").await;
    assert_no_token(&stack, &outcome, "secretless", false);

    let function = stack.function(&[("COGNITO_CLIENT_ID", "nobody")]).await;
    let outcome = fire(&function, "unknown").await;
    assert_no_token(&stack, &outcome, "unknown", false);
    assert_eq!(counts(&stack.cognito), [1, 3, 0, 0]);
    stack.assert_clean();
}

#[tokio::test]
async fn f12_a_refused_secret_of_get_client_token_is_discovered_again_once() {
    let stack = stack().await;
    stack.cognito.set_auth_flows(&["ALLOW_CLIENT_TOKEN_AUTH"]);
    stack.cognito.answer_next(GetClientToken, [TokenAnswer::Status(400)]);
    let function = stack.function(&[]).await;
    let outcome = fire(&function, "once").await;
    assert_completed(&outcome, &execution(&stack, "once"));
    assert_eq!(counts(&stack.cognito), [0, 2, 2, 0]);
    stack.assert_clean();
}

#[tokio::test]
async fn f12_a_denied_get_client_token_is_final() {
    let stack = stack().await;
    stack.cognito.set_auth_flows(&["ALLOW_CLIENT_TOKEN_AUTH"]);
    stack.cognito.answer_always(GetClientToken, TokenAnswer::Status(403));
    let outcome = fire(&stack.function(&[]).await, "t").await;
    assert_no_token(&stack, &outcome, "t", false);
    assert_eq!(counts(&stack.cognito), [0, 1, 1, 0]);
    stack.assert_clean();
}

#[tokio::test]
async fn f13_a_passing_failure_is_tried_again_and_completes() {
    let stack = stack().await;
    stack.cognito.answer_next(Token, [TokenAnswer::Status(429), TokenAnswer::Status(503)]);
    let function = stack.function(&[]).await;
    let outcome = fire(&function, "status").await;
    assert_completed(&outcome, &execution(&stack, "status"));
    assert_eq!(counts(&stack.cognito), [0, 1, 0, 3]);

    stack.cognito.answer_next(Token, [TokenAnswer::Reset, TokenAnswer::Status(500)]);
    let outcome = fire(&stack.function(&[]).await, "reset").await;
    assert_completed(&outcome, &execution(&stack, "reset"));
    assert_eq!((counts(&stack.cognito), stack.agent.call_count()), ([0, 2, 0, 6], 2));
    stack.assert_clean();
}

#[tokio::test]
async fn f13_a_passing_failure_of_discovery_is_tried_again_and_completes() {
    let stack = stack().await;
    stack.cognito.set_domains(None, Some(&stack.cognito.url()));
    stack.cognito.answer_next(DescribeUserPoolClient, [TokenAnswer::Status(429)]);
    stack.cognito.answer_next(DescribeUserPool, [TokenAnswer::Status(500)]);
    let outcome = fire(&undiscovered(&stack, &[]).await, "t").await;
    assert_completed(&outcome, &execution(&stack, "t"));
    assert_eq!(counts(&stack.cognito), [2, 3, 0, 1]);
    stack.assert_clean();
}

#[tokio::test]
async fn f13_a_failure_for_ever_stays_retryable_until_the_third_attempt() {
    let stack = stack().await;
    stack.cognito.answer_always(Token, TokenAnswer::Status(503));
    let function = stack.function(&[]).await;
    for attempt in 1..=3 {
        let invocation = Invocation::scheduled("t", PROMPT, "2026-01-31T07:00:00Z").request_id("same");
        let outcome = function.invoke(invocation).await;
        assert_no_token(&stack, &outcome, "t", attempt < 3);
        assert_eq!(execution(&stack, "t")["attempt"], attempt);
        assert_eq!(stack.cognito.count(Token), attempt * 3);
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f13_throttling_for_ever_is_retryable() {
    let stack = stack().await;
    stack.cognito.answer_always(Token, TokenAnswer::Status(429));
    let outcome = fire(&stack.function(&[]).await, "t").await;
    assert_no_token(&stack, &outcome, "t", true);
    assert_eq!(counts(&stack.cognito), [0, 1, 0, 3]);
    stack.assert_clean();
}

#[tokio::test]
async fn f14_nonsense_for_ever_is_retryable() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for (trigger_id, answer) in [
        ("html", raw(200, "text/html", "<!doctype html><title>Log in to marmalade</title>")),
        ("tokenless", raw(200, "application/json", r#"{"expires_in":3600,"token_type":"Bearer","note":"marmalade"}"#)),
        ("empty", raw(200, "application/json", r#"{"access_token":"","expires_in":3600}"#)),
        ("bodyless", raw(204, "text/plain", "")),
    ] {
        let before = stack.cognito.count(Token);
        stack.cognito.answer_always(Token, answer);
        let outcome = fire(&function, trigger_id).await;
        assert_no_token(&stack, &outcome, trigger_id, true);
        assert_eq!(stack.cognito.count(Token), before + 3);
    }
    let logs = all_logs(function).await;
    assert_eq!(lines(&logs, "marmalade").len(), 0, "{logs:#?}");
    assert!(stack.dynamodb.scan().iter().all(|row| !row.to_string().contains("marmalade")));
    stack.assert_clean();
}

#[tokio::test]
async fn f14_a_token_without_a_life_is_used_once() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for (n, life) in [r#","expires_in":0"#, ""].into_iter().enumerate() {
        let body = format!(r#"{{"access_token":"{{{{token}}}}","token_type":"Bearer"{life}}}"#);
        stack.cognito.answer_always(Token, raw(200, "application/json", &body));
        for k in 0..2 {
            let trigger_id = format!("t{n}{k}");
            let outcome = fire(&function, &trigger_id).await;
            assert_completed(&outcome, &execution(&stack, &trigger_id));
        }
    }
    assert_eq!(counts(&stack.cognito), [0, 1, 0, 4]);
    let bearers: Vec<_> =
        stack.agent.calls().iter().filter_map(|c| c.header("authorization").map(str::to_owned)).collect();
    let issued: Vec<_> = stack.cognito.issued_tokens().iter().map(|token| format!("Bearer {token}")).collect();
    assert_eq!(bearers, issued);
    stack.assert_clean();
}

#[tokio::test]
async fn f15_a_hanging_request_is_given_up_and_tried_again() {
    let stack = stack().await;
    stack.cognito.answer_next(Token, [TokenAnswer::Hang]);
    let outcome = fire(&stack.function(&[]).await, "t").await;
    assert_completed(&outcome, &execution(&stack, "t"));
    assert_eq!(counts(&stack.cognito), [0, 1, 0, 2]);
    stack.assert_clean();
}

#[tokio::test]
async fn f15_a_hang_at_the_last_try_is_retryable() {
    let stack = stack().await;
    stack.cognito.answer_next(Token, [TokenAnswer::Status(500), TokenAnswer::Status(500), TokenAnswer::Hang]);
    let outcome = fire(&stack.function(&[]).await, "t").await;
    assert_no_token(&stack, &outcome, "t", true);
    assert_eq!(counts(&stack.cognito), [0, 1, 0, 3]);
    stack.assert_clean();
}

#[tokio::test]
async fn f15_a_hanging_discovery_is_given_up_and_tried_again() {
    let stack = stack().await;
    stack.cognito.answer_next(DescribeUserPoolClient, [TokenAnswer::Hang]);
    let outcome = fire(&stack.function(&[]).await, "t").await;
    assert_completed(&outcome, &execution(&stack, "t"));
    assert_eq!(counts(&stack.cognito), [0, 2, 0, 1]);
    stack.assert_clean();
}

#[tokio::test]
async fn f15_a_hang_to_the_deadline_is_retryable() {
    let stack = stack().await;
    stack.cognito.answer_always(Token, TokenAnswer::Hang);
    let function = stack.function(&[]).await;
    let invocation = Invocation::scheduled("t", PROMPT, "2026-01-31T07:00:00Z").timeout(Duration::from_secs(6));
    let outcome = function.invoke(invocation).await;
    assert_failed(&outcome, &execution(&stack, "t"), "DeadlineExceeded", true);
    assert_eq!(stack.agent.requests().len(), 0);
    stack.assert_clean();
}

#[tokio::test]
async fn f16_a_refused_cached_token_is_fetched_again_and_completes() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    assert!(fire(&function, "before").await.is_success());
    stack.cognito.revoke_tokens();
    let outcome = fire(&function, "after").await;
    assert_completed(&outcome, &execution(&stack, "after"));
    assert_eq!((counts(&stack.cognito), stack.agent.call_count()), ([0, 1, 0, 2], 3));
    let statuses: Vec<_> = stack.agent.calls().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [200, 401, 200]);
    assert_eq!(stack.agent.calls()[1].body, stack.agent.calls()[2].body);
    assert!(fire(&function, "later").await.is_success());
    assert_eq!(counts(&stack.cognito), [0, 1, 0, 2]);
    stack.assert_clean();
}

#[tokio::test]
async fn f16_a_second_401_is_final() {
    let stack = stack().await;
    stack.agent.queue(Script::status(401, r#"{"message":"marmalade"}"#));
    stack.agent.queue(Script::status(401, r#"{"message":"marmalade"}"#));
    let function = stack.function(&[]).await;
    let outcome = fire(&function, "t").await;
    assert_failed(&outcome, &execution(&stack, "t"), "AgentRejected", false);
    let error = execution(&stack, "t")["error"].clone();
    assert_eq!(error, "the agent answered 401 Unauthorized\n{\"message\":\"marmalade\"}");
    assert_eq!((counts(&stack.cognito), stack.agent.call_count()), ([0, 1, 0, 2], 2));
    let logs = all_logs(function).await;
    assert_eq!(lines(&logs, "marmalade").len(), 0, "{logs:#?}");
    stack.assert_clean();
}

#[tokio::test]
async fn f16_no_token_after_a_401_is_retryable() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    assert!(fire(&function, "before").await.is_success());
    stack.cognito.revoke_tokens();
    stack.cognito.answer_always(Token, TokenAnswer::Status(500));
    let outcome = fire(&function, "after").await;
    assert_failed(&outcome, &execution(&stack, "after"), "AuthenticationFailed", true);
    assert_eq!((counts(&stack.cognito), stack.agent.call_count()), ([0, 1, 0, 4], 2));
    stack.assert_clean();
}

#[tokio::test]
async fn f16_a_token_is_cached_for_three_quarters_of_its_life() {
    let stack = stack().await;
    stack.cognito.set_expires_in(6 * i64::from(factor()));
    let function = stack.function(&[]).await;
    for (trigger_id, requests) in [("first", 1), ("second", 1), ("third", 2)] {
        if trigger_id == "third" {
            // 4.5 s of 6: the agent would still take it.
            tokio::time::sleep(scaled(4_600)).await;
        }
        let outcome = fire(&function, trigger_id).await;
        assert_completed(&outcome, &execution(&stack, trigger_id));
        assert_eq!(stack.cognito.count(Token), requests, "{trigger_id}");
    }
    stack.assert_clean();
}

#[tokio::test]
async fn f17_a_hundred_concurrent_runs_share_one_token_request() {
    let _machine = alone().await;
    let stack = stack().await;
    stack.cognito.answer_always(Token, TokenAnswer::Delay(Duration::from_secs(2)));
    // What they share is the token, not the table: they claim one after another and finish ten at a time.
    let prompt = |group: usize| format!("{PROMPT}, group {group}");
    let gates: [Gate; 10] = std::array::from_fn(|_| Gate::new());
    for (group, gate) in gates.iter().enumerate() {
        let answer = Script::ndjson_happy("There are three files.").before_head(Step::Gate(gate.clone()));
        stack.agent.on_prompt(&prompt(group), answer);
    }
    let function = stack.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "100")]).await;
    let ended = Cell::new(0);
    let pause = || tokio::time::sleep(Duration::from_millis(5));
    let runs = join_all((0..100).map(|n| {
        let (function, stack, ended) = (&function, &stack, &ended);
        async move {
            while stack.dynamodb.count("PutItem") < n {
                pause().await;
            }
            let (trigger_id, prompt) = (format!("t{n}"), prompt(n / 10));
            let outcome = function.invoke(Invocation::scheduled(&trigger_id, &prompt, "2026-01-31T07:00:00Z")).await;
            ended.set(ended.get() + 1);
            outcome
        }
    }));
    let steer = async {
        for (group, gate) in gates.iter().enumerate() {
            gate.reached_by(10).await;
            gate.release();
            while ended.get() < 10 * (group + 1) {
                pause().await;
            }
        }
    };
    let (outcomes, ()) = tokio::join!(runs, steer);
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_completed(outcome, &execution(&stack, &format!("t{n}")));
    }
    assert_eq!((counts(&stack.cognito), stack.agent.call_count()), ([0, 1, 0, 1], 100));
    stack.assert_clean();
}

#[tokio::test]
async fn f17_concurrent_runs_share_one_refusal() {
    let stack = stack().await;
    let refusal = raw(400, "application/json", r#"{"error":"invalid_scope"}"#);
    stack.cognito.answer_always(DescribeUserPoolClient, TokenAnswer::Delay(Duration::from_secs(2)));
    stack.cognito.answer_always(Token, refusal);
    let function = stack.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "20")]).await;
    let outcomes = join_all((0..20).map(|n| {
        let function = &function;
        async move { fire(function, &format!("t{n}")).await }
    }))
    .await;
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_no_token(&stack, outcome, &format!("t{n}"), false);
    }
    assert_eq!(counts(&stack.cognito), [0, 1, 0, 1]);
    stack.assert_clean();
}

#[tokio::test]
async fn f17_the_token_request_is_the_client_credentials_grant() {
    let stack = stack().await;
    assert!(fire(&stack.function(&[]).await, "all").await.is_success());
    assert!(fire(&stack.function(&[("COGNITO_SCOPE", SCOPE)]).await, "scoped").await.is_success());
    let requests = stack.cognito.token_requests();
    let basic = format!("Basic {}", stack.cognito.secrets()[1]);
    for request in &requests {
        assert_eq!(request.authorization.as_ref(), Some(&basic));
        assert_eq!(request.content_type.as_deref(), Some("application/x-www-form-urlencoded"));
    }
    let forms: Vec<_> = requests.iter().map(|request| json!(request.form)).collect();
    let grant = "client_credentials";
    assert_eq!(forms, [json!({"grant_type": grant}), json!({"grant_type": grant, "scope": SCOPE})]);
    stack.assert_clean();
}

#[tokio::test]
async fn f17_what_is_configured_is_not_discovered() {
    let stack = stack().await;
    let function = stack.function(&[("COGNITO_CLIENT_SECRET", &stack.cognito.secret())]).await;
    assert!(fire(&function, "t").await.is_success());
    assert_eq!(counts(&stack.cognito), [0, 0, 0, 1]);
    stack.assert_clean();
}

#[tokio::test]
async fn f17_the_custom_domain_and_the_secret_are_discovered_once() {
    let stack = stack().await;
    stack.cognito.set_domains(Some("never-asked"), Some(&stack.cognito.url()));
    // Without a life, so that each run asks anew.
    stack.cognito.set_expires_in(0);
    let function = undiscovered(&stack, &[]).await;
    for trigger_id in ["first", "second"] {
        let outcome = fire(&function, trigger_id).await;
        assert_completed(&outcome, &execution(&stack, trigger_id));
    }
    assert_eq!(counts(&stack.cognito), [1, 1, 0, 2]);
    stack.assert_clean();
}

/// The host is not of this machine, so a proxy tells where the request would go.
#[tokio::test]
async fn f17_a_domain_prefix_is_completed_with_the_region() {
    let stack = stack().await;
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let function = undiscovered(&stack, &[("HTTPS_PROXY", &url)]).await;
    let first_line = async {
        let (mut socket, _) = proxy.accept().await.unwrap();
        let mut head = [0; 200];
        let length = tokio::io::AsyncReadExt::read(&mut socket, &mut head).await.unwrap();
        drop(proxy);
        String::from_utf8_lossy(&head[..length]).lines().next().unwrap_or_default().to_owned()
    };
    let (outcome, first_line) = tokio::join!(fire(&function, "t"), first_line);
    assert_eq!(first_line, "CONNECT standin-domain.auth.us-east-1.amazoncognito.com:443 HTTP/1.1");
    assert_no_token(&stack, &outcome, "t", true);
    assert_eq!(counts(&stack.cognito), [1, 1, 0, 0]);
    stack.assert_clean();
}

#[tokio::test]
async fn f17_get_client_token_takes_the_endpoints_place() {
    let stack = stack().await;
    stack.cognito.set_auth_flows(&["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_CLIENT_TOKEN_AUTH"]);
    for (trigger_id, function) in
        [("domainless", undiscovered(&stack, &[]).await), ("scoped", stack.function(&[("COGNITO_SCOPE", SCOPE)]).await)]
    {
        for run in ["first", "second"] {
            let trigger_id = format!("{trigger_id}-{run}");
            let outcome = fire(&function, &trigger_id).await;
            assert_completed(&outcome, &execution(&stack, &trigger_id));
        }
    }
    assert_eq!(counts(&stack.cognito), [0, 2, 2, 0]);
    assert_eq!(stack.cognito.issued_tokens().len(), 2);
    stack.assert_clean();
}
