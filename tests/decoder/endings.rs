//! No false success: streams of each protocol that are cut off anywhere, or in which a failure is said last, in every form.

use agent_trigger::domain::answer::{End, Verdict};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::properties::chunks;
use crate::{JSON, NDJSON, SSE, decode};

/// Protocols: the name, whether an event must end the stream, frames that end none, of which the first is sent first, and
/// one that does.
const PROTOCOLS: &[(&str, bool, &[&str], &str)] = &[
    (
        "ag-ui",
        true,
        &[
            r#"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#,
            r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"1","delta":"hello"}"#,
            r#"{"type":"CUSTOM","name":"x","value":{"a":1}}"#,
        ],
        r#"{"type":"RUN_FINISHED","threadId":"t"}"#,
    ),
    (
        "a2a",
        true,
        &[
            r#"{"jsonrpc":"2.0","id":"1","result":{"kind":"status-update","status":{"state":"working"},"final":false}}"#,
            r#"{"jsonrpc":"2.0","id":"1","result":{"kind":"artifact-update","append":true,"artifact":{"artifactId":"1","parts":[{"kind":"text","text":"hello"}]}}}"#,
        ],
        r#"{"jsonrpc":"2.0","id":"1","result":{"kind":"status-update","status":{"state":"completed"},"final":true}}"#,
    ),
    (
        "a2a1",
        true,
        &[
            r#"{"jsonrpc":"2.0","id":"1","result":{"statusUpdate":{"status":{"state":"TASK_STATE_WORKING"}}}}"#,
            r#"{"jsonrpc":"2.0","id":"1","result":{"artifactUpdate":{"append":true,"artifact":{"artifactId":"1","parts":[{"text":"hello"}]}}}}"#,
        ],
        r#"{"jsonrpc":"2.0","id":"1","result":{"statusUpdate":{"status":{"state":"TASK_STATE_COMPLETED"}}}}"#,
    ),
    (
        "mcp",
        true,
        &[r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#],
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello"}]}}"#,
    ),
    (
        "responses",
        true,
        &[
            r#"{"type":"response.created","response":{"id":"1","object":"response","status":"in_progress"}}"#,
            r#"{"type":"response.output_text.delta","delta":"hello"}"#,
        ],
        r#"{"type":"response.completed","response":{"status":"completed"}}"#,
    ),
    (
        "chat",
        true,
        &[
            r#"{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":null}]}"#,
        ],
        r#"{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    ),
    (
        "anthropic",
        true,
        &[
            r#"{"type":"message_start","message":{"role":"assistant","usage":{"input_tokens":1}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello"}}"#,
        ],
        r#"{"type":"message_stop"}"#,
    ),
    (
        "vercel",
        true,
        &[
            r#"{"type":"start","messageId":"1"}"#,
            r#"{"type":"text-delta","id":"1","delta":"hello"}"#,
            r#"{"type":"start-step"}"#,
        ],
        r#"{"type":"finish","finishReason":"stop"}"#,
    ),
    (
        "mastra",
        true,
        &[
            r#"{"type":"start","runId":"1","from":"AGENT","payload":{}}"#,
            r#"{"type":"text-delta","runId":"1","payload":{"text":"hello"}}"#,
        ],
        r#"{"type":"finish","runId":"1","payload":{"stepResult":{"reason":"stop"}}}"#,
    ),
    (
        "strands-ts",
        true,
        &[
            r#"{"type":"beforeInvocationEvent"}"#,
            r#"{"type":"modelStreamUpdateEvent","event":{"type":"modelContentBlockDeltaEvent","delta":{"type":"textDelta","text":"hello"}}}"#,
        ],
        r#"{"type":"serverCompletionEvent","metadata":{"requestId":"r"}}"#,
    ),
    (
        "bedrock",
        true,
        &[
            r#"{"messageStart":{"role":"assistant"}}"#,
            r#"{"contentBlockDelta":{"delta":{"text":"hello"},"contentBlockIndex":0}}"#,
        ],
        r#"{"messageStop":{"stopReason":"end_turn"}}"#,
    ),
    (
        "strands",
        false,
        &[
            r#"{"init_event_loop":true}"#,
            r#"{"event":{"contentBlockDelta":{"delta":{"text":"hello"}}}}"#,
            r#"{"event":{"messageStop":{"stopReason":"end_turn"}}}"#,
            r#"{"message":{"role":"assistant","content":[{"text":"hello"}]}}"#,
        ],
        "",
    ),
    (
        "adk",
        false,
        &[
            r#"{"invocationId":"1","author":"a","partial":true,"content":{"role":"model","parts":[{"text":"hello"}]}}"#,
            r#"{"invocationId":"1","author":"a","content":{"role":"model","parts":[{"text":"hello"}]}}"#,
        ],
        "",
    ),
    (
        "generic",
        false,
        &[
            r#"{"text":"hello"}"#,
            r#"{"data":"hello","x":{"a":[1,2]}}"#,
            r#"{"type":"chunk","content":"hello"}"#,
            r#"{"usage":{"input_tokens":1}}"#,
            r#"{"type":"tool_result","error":"no"}"#,
        ],
        "",
    ),
    ("strings", false, &[r#""hello""#, r#"" more""#], ""),
];

/// Failures that are the data of an event, or a line.
const FAILURES: &[&str] = &[
    r#"{"error":"boom"}"#,
    r#"{"error":"boom","error_type":"E","message":"An error occurred during streaming"}"#,
    r#"{"error":{"code":-1,"message":"boom"}}"#,
    r#"{"type":"error","message":"boom"}"#,
    r#"{"type":"error","error":{"type":"overloaded_error","message":"boom"}}"#,
    r#"{"status":"failed","reason":"boom"}"#,
    r#"{"success":false,"message":"boom"}"#,
    r#"{"errors":[{"message":"boom"}]}"#,
    r#"{"isError":true,"content":[{"text":"boom"}]}"#,
    r#"{"throttlingException":{"message":"boom"}}"#,
    r#"{"event":{"throttlingException":{"message":"boom"}}}"#,
    r#"{"errorMessage":"boom","errorType":"E","stackTrace":[]}"#,
    r#"{"statusCode":500,"message":"boom"}"#,
    r#"{"detail":"boom","status":500}"#,
    r#"{"data":{"error":"boom"}}"#,
    r#"{"result":{"status":"error","message":"boom"}}"#,
    r#"{'error': 'boom'}"#,
    r#""{\"error\": \"boom\"}""#,
    r#""data: {\"error\": \"boom\"}\n\n""#,
    r#""event: error\ndata: {\"message\": \"boom\"}\n\n""#,
    r#"{"type":"agent_error","message":"boom"}"#,
    r#"{"event":"error","data":"boom"}"#,
    r#"{"event":"run.failed"}"#,
];

/// Failures in lines that are no frames.
const LOOSE: &[&str] = &[
    "Traceback (most recent call last):\n  File \"a.py\", line 1\nRuntimeError: boom",
    "RuntimeError: boom",
    "{\n  \"error\": \"boom\"\n}",
    "{\"error\": \"boom\"}",
    "Error: boom\n    at a.js:1:2",
    "thread 'main' panicked at src/main.rs:1",
    "panic: boom\n\ngoroutine 1 [running]:\nmain.main()",
    "Exception in thread \"main\" java.lang.RuntimeException: boom\n\tat A.main(A.java:1)",
];

/// The frames of a stream that nothing has ended so far.
#[derive(Debug)]
struct Stream {
    of: Option<&'static str>,
    needs_end: bool,
    body: String,
    /// What ends it well.
    end: String,
}

fn stream() -> impl Strategy<Value = Stream> {
    (0..PROTOCOLS.len(), vec(any::<u8>(), 0..5), any::<bool>(), 0..8_usize).prop_map(
        |(protocol, picks, is_sse, style)| {
            let (name, needs_end, frames, end) = PROTOCOLS[protocol];
            let picked = picks.iter().map(|pick| frames[usize::from(*pick) % frames.len()]);
            let frame = |frame: &str| match (is_sse, name, style) {
                (false, ..) => format!("{frame}\n"),
                (true, "mcp", _) => format!("event: message\ndata: {frame}\n\n"),
                (true, _, 0) => format!(": ping\n\ndata: {frame}\n\n"),
                (true, _, 1) => format!("id: 1\ndata: {frame}\nretry: 5\n\n"),
                (true, _, 2) => format!("data:{frame}\r\n\r\n"),
                _ => format!("data: {frame}\n\n"),
            };
            let end = if end.is_empty() { String::new() } else { frame(end) };
            let body = std::iter::once(frames[0]).chain(picked).map(frame).collect();
            Stream { of: if is_sse { SSE } else { [NDJSON, NDJSON, JSON, None][style % 4] }, needs_end, body, end }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A stream that ends anywhere before the event that its protocol promises is no success, and neither is any that
    /// was torn. With that event it is one.
    #[test]
    fn no_cut_stream_completes(stream in stream(), cut in any::<u16>(), cuts in vec(any::<u16>(), 0..5)) {
        let body = &stream.body.as_bytes()[..usize::from(cut) * stream.body.len() / usize::from(u16::MAX)];
        let torn = decode(stream.of, chunks(body, &cuts), End::Torn);
        prop_assert_ne!(torn.verdict, Verdict::Completed);
        let framed = decode(stream.of, chunks(body, &cuts), End::Framed);
        let whole = format!("{}{}", stream.body, stream.end);
        prop_assert_eq!(decode(stream.of, chunks(whole.as_bytes(), &cuts), End::Framed).verdict, Verdict::Completed);
        prop_assert!(!stream.needs_end || framed.verdict != Verdict::Completed, "{}", String::from_utf8_lossy(body));
    }

    /// A failure that is said last is heard, in whatever form, and whatever ends the stream behind it.
    #[test]
    fn no_stream_completes_that_says_last_that_it_failed(
        stream in stream(),
        failure in prop::sample::select(FAILURES),
        loose in prop::sample::select(LOOSE),
        form in 0..3_usize,
        end in prop::sample::select(vec!["\n", "", "\n\n", "\n\n: bye\n\n"]),
        cuts in vec(any::<u16>(), 0..5),
    ) {
        let is_sse = stream.of == SSE;
        let body = match form {
            0 if is_sse => format!("{}data: {failure}", stream.body),
            0 => format!("{}{failure}", stream.body),
            1 => format!("{}{loose}", stream.body),
            // Right behind the data of an event.
            _ => format!("{}\n{loose}", stream.body.trim_end()),
        };
        let body = body + if is_sse { end } else { end.trim_end_matches(": bye\n\n") };
        let outcome = decode(stream.of, chunks(body.as_bytes(), &cuts), End::Framed);
        prop_assert!(!matches!(outcome.verdict, Verdict::Completed | Verdict::Incomplete(_)), "{:?} {body}", outcome);
    }
}
