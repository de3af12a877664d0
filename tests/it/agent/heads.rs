//! What the head of an answer says: content types, encodings, transfer codings, ids, and AgentCore's statuses.

use serde_json::{Value, json};
use standins::{Framing, Outcome, Script, Stack, Step};

use crate::{
    agent::streaming::{ANSWER, delta},
    support::{
        all_logs, execution,
        one_fire::{TRIGGER, assert_completed, assert_failed, fire},
        stack,
    },
};

const DONE: &str = "{\"type\":\"serverCompletionEvent\",\"metadata\":{}}\n";

/// Runs a fire whose agent answers so.
async fn run(script: Script) -> (Stack, Outcome) {
    let (stack, outcome, _) = run_and_log(script).await;
    (stack, outcome)
}

async fn run_and_log(script: Script) -> (Stack, Outcome, Vec<String>) {
    let stack = stack().await;
    stack.agent.queue(script);
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire()).await;
    (stack, outcome, all_logs(function).await)
}

fn lines(content_type: &str) -> Script {
    Script::ok(content_type, [Step::text(format!("{}\n", delta(ANSWER))), Step::text(DONE)])
}

async fn fails(script: Script, error_type: &str) -> String {
    let (stack, outcome) = run(script).await;
    let record = assert_failed(&stack, &outcome, error_type, false);
    stack.assert_clean();
    record["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn f60_texts_in_an_answers_headers_are_not_repeated() {
    let told = "Summarise-the quarter, please";
    let (stack, outcome, logs) = run_and_log(lines("application/x-ndjson").header("x-request-id", told)).await;
    let record = assert_completed(&stack, &outcome);
    assert_eq!(record["requestId"], Value::Null);
    let (other, outcome, other_logs) = run_and_log(lines(told)).await;
    let failed = assert_failed(&other, &outcome, "AgentFailed", false);
    for text in [record.to_string(), failed.to_string(), logs.join("\n"), other_logs.join("\n")] {
        assert!(!text.contains(told), "{text}");
    }
    let (stack, outcome) = run(lines("application/x-ndjson").header("x-request-id", "req-1:a/b=")).await;
    assert_eq!(assert_completed(&stack, &outcome)["requestId"], "req-1:a/b=", "a plain id is kept");
}

#[tokio::test]
async fn f70_unknown_and_mixed_transfer_codings_are_never_completed() {
    for script in [
        lines("application/x-ndjson").header("transfer-encoding", "gzip"),
        lines("application/x-ndjson").framing(Framing::CloseDelimited).close().header("transfer-encoding", "xchunked"),
        lines("application/x-ndjson")
            .framing(Framing::CloseDelimited)
            .close()
            .header("transfer-encoding", "identity;chunked"),
    ] {
        let (stack, outcome) = run(script).await;
        let record = execution(&stack, TRIGGER);
        assert_eq!(record["status"], "failed", "{outcome:?}");
        let error_type = record["errorType"].as_str().unwrap();
        assert!(["AgentFailed", "StreamInterrupted"].contains(&error_type), "{record:#}");
        assert_eq!(stack.agent.call_count(), 1);
    }
}

#[tokio::test]
async fn f70_a_part_of_an_answer_is_no_answer() {
    let partial = Script::new(206).header("content-type", "application/x-ndjson");
    fails(partial.steps([Step::text(format!("{}\n", delta(ANSWER))), Step::text(DONE)]), "AgentFailed").await;
}

#[tokio::test]
async fn f74_a_content_encoding_is_refused_by_its_name() {
    for encoding in ["gzip", "br", "deflate"] {
        let bytes = Step::Bytes(bytes::Bytes::from_static(b"\x1f\x8b\x08\x00\xf5\xe1\x08k"));
        let script = Script::ok("application/x-ndjson", [bytes]).header("content-encoding", encoding);
        let error = fails(script, "AgentFailed").await;
        assert!(error.contains(encoding), "{error}");
    }
    let (stack, outcome) = run(lines("application/x-ndjson").header("content-encoding", "identity")).await;
    assert_completed(&stack, &outcome);
    assert_eq!(stack.agent.calls()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn f75_content_types_are_read_by_what_they_hold() {
    for content_type in [
        "application/ndjson",
        "application/jsonl",
        "application/json-lines",
        "application/octet-stream",
        "text/json",
        "application/vnd.agent+json",
        "text/plain; charset=utf-8",
    ] {
        let (stack, outcome) = run(lines(content_type)).await;
        assert_eq!(assert_completed(&stack, &outcome)["output"], ANSWER, "{content_type}");
    }
}

#[tokio::test]
async fn an_answer_with_too_many_headers_says_so() {
    let script = (0..130).fold(lines("application/x-ndjson"), |script, at| script.header(&format!("x-{at}"), "1"));
    let error = fails(script, "AgentFailed").await;
    assert!(error.contains("head"), "{error}");
}

#[tokio::test]
async fn f76_agentcores_statuses_mean_what_aws_says() {
    const ARN: &str = "arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/my-agent";
    for (status, error_type, calls, retryable) in [
        (402, "AgentUnavailable", 3, true),
        (429, "AgentUnavailable", 3, true),
        (424, "AgentFailed", 1, false),
        (408, "StreamStalled", 1, false),
    ] {
        let stack = stack().await;
        stack.agent.accept_any_bearer();
        stack.agent.default(Script::new(status));
        let (agents, endpoint) = (json!({"agent-1": {"url": ARN, "auth": "iam"}}).to_string(), stack.agent.url());
        let settings = [("AGENTS", agents.as_str()), ("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", &endpoint)];
        let outcome = stack.function(&settings).await.invoke(fire()).await;
        assert_failed(&stack, &outcome, error_type, retryable);
        assert_eq!(stack.agent.call_count(), calls, "{status}");
    }
}
