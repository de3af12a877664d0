//! Answers that come in other pieces, with other ends of lines or a byte order mark: nothing depends on that.

use bytes::Bytes;
use serde_json::{Value, json};
use standins::{Script, Step, scripts::HAPPY_USAGE};

use crate::agent::streaming::{ANSWER, COMPLETION, delta};
use crate::support::one_fire::{TRIGGER, fire_with};
use crate::support::stack;

/// The body as the agent would send it to a request with these values.
fn filled(script: &Script) -> Vec<u8> {
    let body = String::from_utf8(script.body()).unwrap();
    body.replace("{{requestId}}", "agent-request-1").replace("{{sessionId}}", &"s".repeat(33)).into_bytes()
}

/// What must not depend on how the bytes came.
fn result(record: &Value) -> Value {
    let names = ["status", "output", "outputTruncated", "usage", "events", "toolUses", "skippedEvents", "errorType"];
    names.into_iter().map(|name| (name.to_owned(), record[name].clone())).collect()
}

/// Sends each of the bodies whole and byte by byte to one process; all must be recorded alike.
async fn the_same_however_it_comes(content_type: &str, bodies: &[Vec<u8>]) -> Value {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let mut results = Vec::new();
    for (i, body) in bodies.iter().enumerate() {
        let whole = Script::ok(content_type, [Step::Bytes(Bytes::from(body.clone()))]);
        for (j, script) in [whole.clone(), whole.clone().split(1), whole.split(7)].into_iter().enumerate() {
            stack.agent.queue(script);
            let time = format!("2026-01-{:02}T00:00:{j:02}Z", i + 1);
            let outcome = function.invoke(fire_with(&json!({"scheduledTime": time}))).await;
            let executions = stack.dynamodb.executions(TRIGGER);
            let record = executions.iter().find(|record| record["scheduledTime"] == time.as_str()).unwrap().clone();
            assert_eq!(outcome.is_success(), record["status"] == "completed", "{outcome:#?}");
            results.push(result(&record));
        }
    }
    assert_eq!(stack.agent.call_count(), 3 * bodies.len());
    for other in &results {
        assert_eq!(other, &results[0]);
    }
    stack.assert_clean();
    results.remove(0)
}

fn assert_happy(result: &Value, tool_uses: u64) {
    assert_eq!((&result["status"], &result["output"]), (&json!("completed"), &json!(ANSWER)), "{result:#?}");
    let (input, output, read, write) = HAPPY_USAGE;
    let usage = json!({"inputTokens": input, "outputTokens": output,
        "cacheReadInputTokens": read, "cacheWriteInputTokens": write});
    assert_eq!((&result["usage"], &result["toolUses"]), (&usage, &json!(tool_uses)));
}

fn replaced(body: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8(body.to_vec()).unwrap().replace(from, to).into_bytes()
}

fn with_bom(body: &[u8]) -> Vec<u8> {
    [b"\xEF\xBB\xBF", body].concat()
}

#[tokio::test]
async fn f30_ndjson_is_the_same_however_it_is_split() {
    let lf = filled(&Script::ndjson_happy(ANSWER));
    let bodies = [lf.clone(), replaced(&lf, "\n", "\r\n"), replaced(&lf, "\n", "\n\n"), with_bom(&lf)];
    assert_happy(&the_same_however_it_comes("application/x-ndjson", &bodies).await, 1);
}

#[tokio::test]
async fn f30_sse_is_the_same_however_it_is_split() {
    let lf = filled(&Script::sse_happy(ANSWER));
    let multi_line = replaced(&lf, "data: {\"event\":", "data: {\ndata:\ndata: \"event\":");
    assert_ne!(lf, multi_line);
    let bodies = [lf.clone(), replaced(&lf, "\n", "\r\n"), replaced(&lf, "\n", "\r"), with_bom(&lf), multi_line];
    assert_happy(&the_same_however_it_comes("text/event-stream", &bodies).await, 1);
}

#[tokio::test]
async fn f30_typed_events_in_sse_are_the_same_however_they_are_split() {
    let ndjson = filled(&Script::ndjson_happy(ANSWER));
    let sse: String = String::from_utf8(ndjson).unwrap().lines().map(|line| format!("data: {line}\n\n")).collect();
    assert_happy(&the_same_however_it_comes("text/event-stream", &[sse.into_bytes()]).await, 1);
}

#[tokio::test]
async fn f30_json_is_the_same_however_it_is_split() {
    let body = json!({"result": "Drei Dateien: ä, 日本, 🦀"}).to_string().into_bytes();
    let result = the_same_however_it_comes("application/json", &[body.clone(), with_bom(&body)]).await;
    assert_eq!(result["output"], "Drei Dateien: ä, 日本, 🦀");
}

#[tokio::test]
async fn f30_failures_are_the_same_however_they_are_split() {
    let event = filled(&Script::server_error_event("no bucket"));
    let result = the_same_however_it_comes("application/x-ndjson", &[event]).await;
    assert_eq!(result["errorType"], "AgentFailed");
    let frame = filled(&Script::sse_error("no bucket"));
    let result = the_same_however_it_comes("text/event-stream", &[frame]).await;
    assert_eq!(result["errorType"], "AgentFailed");
    let cut = filled(&Script::cut());
    let result = the_same_however_it_comes("application/x-ndjson", &[cut]).await;
    assert_eq!(result["errorType"], "StreamInterrupted");
}

#[tokio::test]
async fn f30_characters_of_many_bytes_survive_every_split() {
    let answer = "ä 日本 🦀 e\u{301}";
    let body = format!("{}\n{COMPLETION}\n", delta(answer));
    let result = the_same_however_it_comes("application/x-ndjson", &[body.into_bytes()]).await;
    assert_eq!(result["output"], answer);
}
