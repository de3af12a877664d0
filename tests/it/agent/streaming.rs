//! Faults while the agent's answer streams.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use standins::{Framing, Outcome, Script, Stack, Step};

use crate::support::one_fire::{assert_completed, assert_failed, fire, fire_with, short_lease};
use crate::support::{alone, scaled, stack};

pub(crate) const ANSWER: &str = "There are three files in the quarter.";
pub(crate) const COMPLETION: &str = r#"{"type":"serverCompletionEvent","metadata":{"requestId":"agent-request-1"}}"#;

/// One run whose agent answers so.
async fn run(settings: &[(&str, &str)], script: Script) -> (Stack, Outcome) {
    let stack = stack().await;
    stack.agent.queue(script);
    let outcome = stack.function(settings).await.invoke(fire()).await;
    (stack, outcome)
}

async fn completes(settings: &[(&str, &str)], script: Script) -> Value {
    let (stack, outcome) = run(settings, script).await;
    let record = assert_completed(&stack, &outcome);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
    record
}

async fn fails(settings: &[(&str, &str)], script: Script, error_type: &str) -> Value {
    let (stack, outcome) = run(settings, script).await;
    let record = assert_failed(&stack, &outcome, error_type, false);
    assert_eq!(stack.agent.call_count(), 1, "nothing is retried after acceptance");
    stack.assert_clean();
    record
}

fn ndjson(lines: &[&str]) -> Script {
    Script::ok("application/x-ndjson", lines.iter().map(|line| Step::text(format!("{line}\n"))))
}

pub(crate) fn delta(text: &str) -> String {
    json!({"type": "modelContentBlockDeltaEvent", "delta": {"type": "textDelta", "text": text}}).to_string()
}

async fn reported_error_is_failed(script: impl Fn(&str) -> Script) {
    let record = fails(&[], script("no bucket named reports, asked: {{prompt}}"), "AgentFailed").await;
    let error = record["error"].as_str().unwrap();
    assert!(error.contains("no bucket named reports"), "the agent's own words are in the record: {error}");
}

#[tokio::test]
async fn f24_server_error_event_is_failed_with_its_message() {
    reported_error_is_failed(Script::server_error_event).await;
}

#[tokio::test]
async fn f24_sse_error_event_is_failed_with_its_message() {
    reported_error_is_failed(Script::sse_error_event).await;
}

#[tokio::test]
async fn f24_agentcore_error_frame_in_sse_is_failed_with_its_message() {
    reported_error_is_failed(Script::sse_error).await;
}

#[tokio::test]
async fn f24_force_stop_in_sse_is_failed() {
    let frame = Step::text("data: {\"force_stop\":true,\"force_stop_reason\":\"no bucket\"}\n\n");
    fails(&[], Script::sse_happy(ANSWER).midway(frame), "AgentFailed").await;
}

#[tokio::test]
async fn f24_json_error_is_failed_with_its_message() {
    reported_error_is_failed(Script::json_error).await;
}

#[tokio::test]
async fn f25_ndjson_without_terminal_event_is_failed() {
    let record = fails(&[], Script::cut(), "StreamInterrupted").await;
    assert!(record["events"].as_u64().unwrap() > 5, "what was read is counted: {record:#?}");
}

#[tokio::test]
async fn f25_typed_events_in_sse_without_terminal_event_are_failed() {
    let frames = [Step::text("data: {\"type\":\"beforeInvocationEvent\"}\n\n")];
    fails(&[], Script::ok("text/event-stream", frames), "StreamInterrupted").await;
}

#[tokio::test]
async fn f26_last_line_cut_in_half_is_failed() {
    let script = ndjson(&[&delta(ANSWER)]).then(Step::text(&COMPLETION[..COMPLETION.len() / 2]));
    fails(&[], script, "StreamInterrupted").await;
}

#[tokio::test]
async fn f26_last_line_without_newline_counts() {
    let record = completes(&[], ndjson(&[&delta(ANSWER)]).then(Step::text(COMPLETION))).await;
    assert_eq!((&record["output"], &record["requestId"]), (&json!(ANSWER), &json!("agent-request-1")));
}

#[tokio::test]
async fn f26_empty_sse_is_failed() {
    fails(&[], Script::ok("text/event-stream", []), "StreamInterrupted").await;
}

#[tokio::test]
async fn f26_sse_of_comments_alone_is_failed() {
    fails(&[], Script::ok("text/event-stream", [Step::text(": keep-alive\n\n")]), "StreamInterrupted").await;
}

#[tokio::test]
async fn f26_sse_ended_by_closing_alone_is_failed() {
    fails(&[], Script::sse_happy(ANSWER).framing(Framing::CloseDelimited), "StreamInterrupted").await;
}

#[tokio::test]
async fn f26_json_ended_by_closing_alone_is_failed() {
    fails(&[], Script::json_happy(ANSWER).framing(Framing::CloseDelimited), "StreamInterrupted").await;
}

async fn torn_in_mid_body_is_failed(framing: Framing, tear: Step) {
    for script in [Script::ndjson_happy(ANSWER), Script::sse_happy(ANSWER)] {
        fails(&[], script.framing(framing).midway(tear.clone()), "StreamInterrupted").await;
    }
    // A whole document without its framed end is torn too.
    let document = Script::json_happy(ANSWER).framing(framing).then(tear);
    let document = if framing == Framing::ContentLength { document.then(Step::text(" ")) } else { document };
    fails(&[], document, "StreamInterrupted").await;
}

#[tokio::test]
async fn f27_fin_in_chunked_body_is_failed() {
    torn_in_mid_body_is_failed(Framing::Chunked, Step::Fin).await;
}

#[tokio::test]
async fn f27_fin_before_content_length_is_failed() {
    torn_in_mid_body_is_failed(Framing::ContentLength, Step::Fin).await;
}

#[tokio::test]
async fn f27_rst_in_chunked_body_is_failed() {
    torn_in_mid_body_is_failed(Framing::Chunked, Step::Rst).await;
}

#[tokio::test]
async fn f27_rst_before_content_length_is_failed() {
    torn_in_mid_body_is_failed(Framing::ContentLength, Step::Rst).await;
}

fn idle_limit() -> (&'static str, &'static str) {
    ("AGENT_IDLE_TIMEOUT_SECONDS", short_lease().1)
}

#[tokio::test]
async fn f28_silence_over_the_idle_limit_is_failed() {
    fails(&[idle_limit(), short_lease()], Script::ndjson_happy(ANSWER).midway(Step::Hang), "StreamStalled").await;
}

#[tokio::test]
async fn f28_slow_drip_under_the_idle_limit_completes() {
    // In all longer than the limit, each pause far below it.
    completes(&[idle_limit(), short_lease()], Script::ndjson_happy(ANSWER).paced(scaled(60))).await;
}

#[tokio::test]
async fn f28_silence_without_a_limit_completes() {
    let pause = Step::Sleep(scaled(2_000));
    completes(&[short_lease()], Script::ndjson_happy(ANSWER).midway(pause)).await;
}

#[tokio::test]
async fn f29_endless_stream_is_failed_before_lambdas_own_limit() {
    let stack = stack().await;
    stack.agent.queue(Script::endless(Duration::from_millis(5)));
    let function = stack.function(&[short_lease()]).await;
    let outcome = function.invoke(fire().timeout(scaled(5_500))).await;
    let record = assert_failed(&stack, &outcome, "DeadlineExceeded", false);
    assert!(record["events"].as_u64().unwrap() > 100, "how far it came is recorded: {record:#?}");
    let calls = stack.agent.wait_until("the client's leaving", |calls| calls[0].client_left).await;
    assert_eq!(calls.len(), 1);
    assert!(function.invoke(fire()).await.body()["retryable"] == false, "replayed by the same process");
    stack.assert_clean();
}

const MIB: usize = 1024 * 1024;
/// What may be added to a happy path's peak: one event of the largest size kept, and buffers.
const ALLOWED_KIB: u64 = 8 * 1024;

/// Runs the script in a process that had a happy path before; its peak must stay near that of the happy path.
async fn runs_in_constant_memory(script: Script) -> (Stack, Outcome) {
    let _machine = alone().await;
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let happy = function.invoke(fire_with(&json!({"triggerId": "trigger-0"}))).await;
    assert!(happy.is_success());
    let happy = function.process.peak_rss_kib().unwrap();
    stack.agent.queue(script);
    let outcome = function.invoke(fire().timeout(Duration::from_secs(120))).await;
    let peak = function.process.peak_rss_kib().unwrap();
    assert!(peak <= happy + ALLOWED_KIB, "{peak} KiB at the most, {happy} KiB for a happy path");
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
    (stack, outcome)
}

/// One event of more than `size` bytes between this beginning and end.
fn event_of(size: usize, begin: &str, end: &str) -> [Step; 3] {
    let bytes = Bytes::from(vec![b'x'; 64 * 1024]);
    let times = (size / bytes.len()) as u64;
    [Step::text(begin), Step::RepeatBytes { bytes, times }, Step::text(end)]
}

#[tokio::test]
async fn f31_a_16_mib_event_is_dropped_as_it_streams_by() {
    let big = event_of(16 * MIB, r#"{"type":"toolResultEvent","content":""#, "\"}\n");
    let script = ndjson(&[&delta(ANSWER)]).steps(big).then(Step::text(format!("{COMPLETION}\n")));
    let (stack, outcome) = runs_in_constant_memory(script).await;
    let record = assert_completed(&stack, &outcome);
    assert_eq!(
        (&record["skippedEvents"], &record["events"], &record["output"]),
        (&json!(1), &json!(3), &json!(ANSWER))
    );
    assert!(record["bytes"].as_u64().unwrap() > 16 * MIB as u64);
}

#[tokio::test]
async fn f31_a_16_mib_event_in_sse_is_dropped_as_it_streams_by() {
    let big = event_of(16 * MIB, r#"data: {"toolResult":""#, "\"}\n\n");
    let answer = json!({"message": {"role": "assistant", "content": [{"text": ANSWER}]}});
    let script = Script::ok("text/event-stream", big).then(Step::text(format!("data: {answer}\n\n")));
    let (stack, outcome) = runs_in_constant_memory(script).await;
    let record = assert_completed(&stack, &outcome);
    assert_eq!(
        (&record["skippedEvents"], &record["events"], &record["output"]),
        (&json!(1), &json!(2), &json!(ANSWER))
    );
}

#[tokio::test]
async fn f31_of_a_16_mib_document_the_first_mib_decides() {
    let big = event_of(16 * MIB, r#"{"result":"There are"#, "\"}");
    let (stack, outcome) = runs_in_constant_memory(Script::ok("application/json", big)).await;
    let record = assert_completed(&stack, &outcome);
    assert!(record["output"].as_str().unwrap().starts_with("There arexxx"));
    assert_eq!(record["outputTruncated"], true);
}

#[tokio::test]
async fn f31_64_events_of_1_mib_complete() {
    // With the rest of its line just under what is still read whole.
    let (stack, outcome) = runs_in_constant_memory(Script::large(ANSWER, MIB - 100, 64)).await;
    let record = assert_completed(&stack, &outcome);
    assert_eq!((&record["skippedEvents"], &record["output"]), (&json!(0), &json!(ANSWER)));
    assert!(record["bytes"].as_u64().unwrap() > 63 * MIB as u64);
}

#[tokio::test]
async fn f31_200_mib_of_small_events_complete() {
    let (stack, outcome) = runs_in_constant_memory(Script::large(ANSWER, 1000, 200 * 1024)).await;
    let record = assert_completed(&stack, &outcome);
    assert_eq!((&record["skippedEvents"], &record["output"]), (&json!(0), &json!(ANSWER)));
    assert!(record["bytes"].as_u64().unwrap() > 200 * MIB as u64);
}

#[tokio::test]
async fn f31_a_16_mib_error_event_is_failed() {
    let big = event_of(16 * MIB, r#"{"type":"serverErrorEvent","error":{"message":"no bucket "#, "\"}}\n");
    let (stack, outcome) = runs_in_constant_memory(ndjson(&[&delta(ANSWER)]).steps(big)).await;
    let record = assert_failed(&stack, &outcome, "AgentFailed", false);
    assert!(record["error"].as_str().unwrap().contains("no bucket"), "{record:#?}");
}

/// Lines that are no events of any use, between good ones.
async fn survives(lines: &[&[u8]], skipped: usize) {
    let lines = lines.iter().flat_map(|line| [Bytes::copy_from_slice(line), Bytes::from_static(b"\n")]);
    let garbage: Vec<u8> = lines.flatten().collect();
    let script = ndjson(&[&delta("There are ")])
        .then(Step::Bytes(garbage.clone().into()))
        .then(Step::text(format!("{}\n", delta("three files."))))
        .then(Step::Bytes(garbage.into()))
        .then(Step::text(format!("{COMPLETION}\n")));
    let record = completes(&[], script).await;
    assert_eq!(
        (&record["output"], &record["requestId"]),
        (&json!("There are three files."), &json!("agent-request-1"))
    );
    assert_eq!(record["skippedEvents"], json!(2 * skipped), "{record:#?}");
}

#[tokio::test]
async fn f32_garbage_lines_are_counted() {
    survives(&[b"<html>", b"]", b"null", b"{", b"{}", b"{\"type\":7}", b"\0\x01\x02", b"\"type\""], 8).await;
}

#[tokio::test]
async fn f32_invalid_utf8_is_counted() {
    survives(&[b"\xff\xfe\x80", b"{\"kind\":\"\xc3\x28\"}"], 2).await;
}

#[tokio::test]
async fn f32_deep_nesting_is_survived() {
    let arrays = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    let objects = [b"{\"a\":".repeat(10_000), b"1".to_vec(), vec![b'}'; 10_000]].concat();
    let open = b"{\"a\":[".repeat(10_000);
    let typed = [b"{\"type\":\"toolResultEvent\",\"content\":".to_vec(), arrays.clone(), b"}".to_vec()].concat();
    survives(&[&arrays, &objects, &open, &typed], 3).await;
}

#[tokio::test]
async fn f32_duplicate_keys_are_survived() {
    survives(&[br#"{"type":"toolResultEvent","type":"toolResultEvent"}"#, br#"{"a":1,"a":2}"#], 1).await;
}

#[tokio::test]
async fn f32_garbage_does_not_replace_a_terminal_event() {
    let script = ndjson(&["<html>", "{", &delta(ANSWER)]);
    let record = fails(&[], script, "StreamInterrupted").await;
    assert_eq!(record["skippedEvents"], 2);
}

#[tokio::test]
async fn f33_bytes_after_the_terminal_event_are_not_waited_for() {
    let more = Step::Forever(vec![Step::text(format!("{}\n", delta("and on"))), Step::Sleep(Duration::from_millis(5))]);
    let (stack, outcome) = run(&[], Script::ndjson_happy(ANSWER).then(more)).await;
    assert_eq!(assert_completed(&stack, &outcome)["output"], ANSWER);
    let calls = stack.agent.wait_until("the client's leaving", |calls| calls[0].client_left).await;
    assert_eq!(calls.len(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f33_connection_kept_open_after_the_terminal_event_completes_at_once() {
    let (stack, outcome) = run(&[], Script::never_ends(ANSWER)).await;
    assert_eq!(assert_completed(&stack, &outcome)["output"], ANSWER);
    let calls = stack.agent.wait_until("the client's leaving", |calls| calls[0].client_left).await;
    assert_eq!(calls.len(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f33_connection_kept_open_after_an_error_event_is_failed_at_once() {
    let (stack, outcome) = run(&[], Script::server_error_event("no bucket").then(Step::Hang)).await;
    assert_failed(&stack, &outcome, "AgentFailed", false);
    stack.agent.wait_until("the client's leaving", |calls| calls[0].client_left).await;
    stack.assert_clean();
}

const ERROR: &str = r#"{"type":"serverErrorEvent","error":{"message":"no bucket"}}"#;

#[tokio::test]
async fn f34_completion_then_error_completes() {
    completes(&[], ndjson(&[&delta(ANSWER), COMPLETION, ERROR])).await;
    completes(&[], ndjson(&[COMPLETION]).then(Step::Rst)).await;
    // In one piece, so that both are there when the first is read.
    completes(&[], ndjson(&[&format!("{COMPLETION}\n{ERROR}")])).await;
}

#[tokio::test]
async fn f34_error_then_completion_is_failed() {
    fails(&[], ndjson(&[&delta(ANSWER), ERROR, COMPLETION]), "AgentFailed").await;
    fails(&[], ndjson(&[&format!("{ERROR}\n{COMPLETION}")]), "AgentFailed").await;
}
