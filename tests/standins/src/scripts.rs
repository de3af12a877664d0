//! Ready-made scripts: the answers of the known kinds of agents, both successful and failed ones.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::script::{Framing, Script, Step};

/// The token usage that the happy scripts report, summed over their two model calls:
/// input, output, cache read, cache write.
pub const HAPPY_USAGE: (u64, u64, u64, u64) = (1930, 212, 1024, 128);

fn line(event: &Value) -> Step {
    Step::text(format!("{event}\n"))
}

pub(crate) fn frame(data: &Value) -> Step {
    Step::text(format!("data: {data}\n\n"))
}

/// An SSE frame with the name of its event.
pub(crate) fn named_frame(name: &str, data: &Value) -> Step {
    Step::text(format!("event: {name}\ndata: {data}\n\n"))
}

/// Splits the text into pieces of a few words, as a model writes it.
pub(crate) fn deltas(text: &str) -> Vec<String> {
    text.split_inclusive(' ').collect::<Vec<_>>().chunks(3).map(<[&str]>::concat).collect()
}

/// Returns the NDJSON events of a run with one tool use, without the terminal event.
fn ndjson_run(answer: &str) -> Vec<Step> {
    let start = json!({"type": "modelMessageStartEvent", "role": "assistant"});
    let text =
        |text: &str| json!({"type": "modelContentBlockDeltaEvent", "delta": {"type": "textDelta", "text": text}});
    let block_stop = json!({"type": "modelContentBlockStopEvent"});
    let stop = |reason: &str| json!({"type": "modelMessageStopEvent", "stopReason": reason});
    let usage = |input: u64, output: u64, read: u64, write: u64| {
        json!({"type": "modelMetadataEvent", "usage": {"inputTokens": input, "outputTokens": output,
            "totalTokens": input + output, "cacheReadInputTokens": read, "cacheWriteInputTokens": write},
            "metrics": {"latencyMs": 840}})
    };
    let tool = json!({"type": "toolUseStart", "name": "s3_list_files", "toolUseId": "tooluse_1"});
    let mut steps = vec![
        Step::Note("thinking".to_owned()),
        line(&json!({"type": "beforeInvocationEvent"})),
        line(&start),
        line(&text("I will look first.")),
        line(&block_stop),
        Step::Note("tool s3_list_files".to_owned()),
        line(&json!({"type": "modelContentBlockStartEvent", "start": tool})),
        line(&json!({"type": "modelContentBlockDeltaEvent",
            "delta": {"type": "toolUseInputDelta", "input": "{\"path\":\"/\"}"}})),
        line(&block_stop),
        line(&stop("toolUse")),
        line(&usage(830, 42, 0, 128)),
        line(&json!({"type": "beforeToolsEvent"})),
        line(&json!({"type": "afterToolsEvent"})),
        Step::Note("answering".to_owned()),
        line(&start),
        line(&json!({"type": "modelContentBlockStartEvent"})),
    ];
    steps.extend(deltas(answer).iter().map(|piece| line(&text(piece))));
    steps.extend([line(&block_stop), line(&stop("endTurn")), line(&usage(1100, 170, 1024, 0))]);
    steps
}

fn completion() -> Step {
    Step::text(concat!(
        r#"{"type":"serverCompletionEvent","metadata":{"requestId":"{{requestId}}","sessionId":"{{sessionId}}","#,
        r#""duration":1234,"conversationLength":4}}"#,
        "\n"
    ))
}

impl Script {
    /// NDJSON: a message, a tool use, the answer in deltas, usage twice (`HAPPY_USAGE` in sum), the completion event.
    pub fn ndjson_happy(answer: &str) -> Self {
        Self::ok("application/x-ndjson", ndjson_run(answer)).then(completion()).answering(answer)
    }

    /// SSE as Bedrock AgentCore sends it for a Strands agent: events, Python reprs, whole messages, no terminal event.
    pub fn sse_happy(answer: &str) -> Self {
        let delta =
            |text: &str| json!({"event": {"contentBlockDelta": {"delta": {"text": text}, "contentBlockIndex": 0}}});
        let start = json!({"event": {"messageStart": {"role": "assistant"}}});
        let block_stop = json!({"event": {"contentBlockStop": {"contentBlockIndex": 0}}});
        let stop = |reason: &str| json!({"event": {"messageStop": {"stopReason": reason}}});
        let usage = |input: u64, output: u64, read: u64, write: u64| {
            json!({"event": {"metadata": {"usage": {"inputTokens": input, "outputTokens": output,
                "totalTokens": input + output, "cacheReadInputTokens": read, "cacheWriteInputTokens": write},
                "metrics": {"latencyMs": 840}}}})
        };
        let tool = json!({"toolUseId": "tooluse_1", "name": "s3_list_files"});
        let message = |role: &str, content: Value| json!({"message": {"role": role, "content": content}});
        let mut steps = vec![
            Step::Note("thinking".to_owned()),
            frame(&json!({"init_event_loop": true})),
            frame(&json!({"start": true})),
            frame(&json!({"start_event_loop": true})),
            frame(&start),
            frame(&delta("I will look first.")),
            frame(&block_stop),
            Step::Note("tool s3_list_files".to_owned()),
            frame(&json!({"event": {"contentBlockStart": {"start": {"toolUse": tool}, "contentBlockIndex": 1}}})),
            frame(
                &json!({"event": {"contentBlockDelta": {"delta": {"toolUse": {"input": "{}"}}, "contentBlockIndex": 1}}}),
            ),
            frame(&block_stop),
            frame(&stop("tool_use")),
            frame(&usage(830, 42, 0, 128)),
            frame(&message("assistant", json!([{"text": "I will look first."}, {"toolUse": tool}]))),
            frame(&message(
                "user",
                json!([{"toolResult": {"toolUseId": "tooluse_1", "status": "success",
                "content": [{"text": "a.txt"}]}}]),
            )),
            Step::text(": keep-alive\n\n"),
            Step::Note("answering".to_owned()),
            frame(&start),
        ];
        for piece in deltas(answer) {
            steps.push(frame(&delta(&piece)));
            steps.push(frame(&Value::from(format!("{{'data': {piece:?}, 'agent': <strands.Agent object at 0x7f>}}"))));
        }
        steps.extend([frame(&block_stop), frame(&stop("end_turn")), frame(&usage(1100, 170, 1024, 0))]);
        steps.push(frame(&message("assistant", json!([{"text": answer}]))));
        steps.push(frame(&Value::from("{'result': AgentResult(stop_reason='end_turn')}")));
        // AgentCore returns its request id in a header, because the stream does not contain one.
        let script = Self::ok("text/event-stream; charset=utf-8", steps).header("x-amzn-requestid", "{{requestId}}");
        script.answering(answer)
    }

    /// Acknowledges a detached run, and promises to report at this interval.
    pub fn acknowledges(heartbeat_seconds: Option<u32>) -> Self {
        let promise = heartbeat_seconds.map(|seconds| format!(",\"heartbeatSeconds\":{seconds}")).unwrap_or_default();
        let body = format!("{{\"status\":\"accepted\",\"executionId\":\"{{{{executionId}}}}\"{promise}}}");
        Self::ok("application/json", [Step::text(body)])
    }

    /// One JSON document with the answer as its `result`.
    pub fn json_happy(answer: &str) -> Self {
        let document = Step::text(json!({"result": answer}).to_string());
        Self::ok("application/json", [document]).framing(Framing::ContentLength).answering(answer)
    }

    /// NDJSON under status 200 that ends with a serverErrorEvent with this message.
    pub fn server_error_event(message: &str) -> Self {
        let mut steps = ndjson_run("This will not be finished.");
        steps.truncate(14);
        steps.push(Step::Note("failing".to_owned()));
        steps.push(line(&json!({"type": "serverErrorEvent",
            "error": {"message": message, "requestId": "{{requestId}}", "savedToHistory": true}})));
        Self::ok("application/x-ndjson", steps)
    }

    /// NDJSON of an agent that waits for an approval after it has said this.
    pub fn ndjson_interrupted(said: &str) -> Self {
        let message = json!({"role": "assistant", "content": [{"text": said}]});
        let result = json!({"type": "agentResult", "stopReason": "interrupt", "lastMessage": message});
        let mut steps = ndjson_run(said);
        steps.push(line(&json!({"type": "agentResultEvent", "result": result})));
        Self::ok("application/x-ndjson", steps)
    }

    /// SSE under status 200 with AgentCore's error frame in the middle.
    pub fn sse_error(message: &str) -> Self {
        let mut script = Self::sse_happy("This will not be finished.").midway(Step::Note("failing".to_owned()));
        script.steps.truncate(10);
        script.answer = None;
        script.then(frame(&json!({"error": message, "error_type": "ThrottlingException",
            "message": "An error occurred during streaming"})))
    }

    /// SSE under status 200 with a frame `event: error`.
    pub fn sse_error_event(message: &str) -> Self {
        let mut script = Self::sse_happy("This will not be finished.");
        script.steps.truncate(8);
        script.answer = None;
        script.then(Step::text(format!("event: error\ndata: {}\n\n", json!({"message": message}))))
    }

    /// One JSON document under status 200 that is an error.
    pub fn json_error(message: &str) -> Self {
        let document = Step::text(json!({"error": message}).to_string());
        Self::ok("application/json", [document]).framing(Framing::ContentLength)
    }

    /// NDJSON that ends cleanly without a terminal event.
    pub fn cut() -> Self {
        Self::ok("application/x-ndjson", ndjson_run("This will not be finished."))
    }

    /// A status with a short JSON or text body.
    pub fn status(status: u16, body: &str) -> Self {
        let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
        let script = Self::new(status).header("content-type", kind);
        script.framing(Framing::ContentLength).then(Step::text(body))
    }

    /// A status with `Retry-After`.
    pub fn retry_after(status: u16, seconds: u64) -> Self {
        Self::status(status, r#"{"message":"busy"}"#).header("retry-after", &seconds.to_string())
    }

    /// A redirect to `location`.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status, "").header("location", location)
    }

    /// A login page with status 200.
    pub fn html() -> Self {
        Self::ok("text/html", [Step::text("<!doctype html><title>Log in</title>")]).framing(Framing::ContentLength)
    }

    /// Reads the request and never answers.
    pub fn hang_before_head() -> Self {
        Self::new(200).before_head(Step::Hang)
    }

    /// Reads the request and resets the connection.
    pub fn reset_before_head() -> Self {
        Self::new(200).before_head(Step::Rst)
    }

    /// NDJSON deltas, one every `pause`, without end.
    pub fn endless(pause: Duration) -> Self {
        let delta = json!({"type": "modelContentBlockDeltaEvent", "delta": {"type": "textDelta", "text": "and on "}});
        let start = json!({"type": "modelMessageStartEvent", "role": "assistant"});
        Self::ok("application/x-ndjson", [line(&start), Step::Forever(vec![line(&delta), Step::Sleep(pause)])])
    }

    /// The happy NDJSON, `size` bytes at a time with a `pause` before each.
    pub fn drip(answer: &str, size: usize, pause: Duration) -> Self {
        let mut script = Self::ok("application/x-ndjson", ndjson_run(answer)).split(size).paced(pause);
        script.steps.push(completion());
        script.answering(answer)
    }

    /// The happy NDJSON with `times` additional events of about `size` bytes, which carry no information.
    pub fn large(answer: &str, size: usize, times: u64) -> Self {
        let filler = json!({"type": "toolResultEvent", "content": "x".repeat(size)});
        let bytes = Bytes::from(format!("{filler}\n"));
        Self::ndjson_happy(answer).insert(3, Step::RepeatBytes { bytes, times })
    }

    /// The happy NDJSON, after whose last event the connection is neither ended nor closed.
    pub fn never_ends(answer: &str) -> Self {
        Self::ndjson_happy(answer).then(Step::Hang)
    }

    /// Returns the whole body of a script of `Bytes` steps, for tests without sockets.
    pub fn body(&self) -> Vec<u8> {
        let bytes = |step: &Step| if let Step::Bytes(bytes) = step { bytes.clone() } else { Bytes::new() };
        self.steps.iter().flat_map(bytes).collect()
    }
}
