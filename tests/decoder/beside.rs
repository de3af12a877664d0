//! What an agent says beside a protocol's own members, and in a member that it gives twice: a failure there is heard.

use agent_trigger::domain::answer::{AnswerError, Verdict};
use agent_trigger::domain::finish_reason::FinishReason;
use agent_trigger::domain::usage::Usage;

use crate::{COMPLETION, JSON, NDJSON, SSE, whole};

/// Events of a stream, each with the name before it, if it has one. `@` is replaced.
fn sse(events: &[&str], at: &str) -> String {
    let frame = |event: &&str| match event.split_once(" {") {
        Some((name, data)) => format!("event: {name}\ndata: {{{}\n\n", data.replace('@', at)),
        None if event.starts_with('{') => format!("data: {}\n\n", event.replace('@', at)),
        None => format!("event: {event}\n\n"),
    };
    events.iter().map(frame).collect()
}

/// The events of a run in one protocol. Members may stand at the `@`.
const RUNS: [&[&str]; 10] = [
    &[
        r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}],@"id":1}"#,
        r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    ],
    &[
        r#"{"object":"chat.completion.chunk","choices":[{"index":1,"delta":{"content":"a"}}],@"id":1}"#,
        r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    ],
    &[
        r#"{"jsonrpc":"2.0","result":{"kind":"artifact-update","artifact":{"artifactId":"1","parts":[{"text":"a"}]}},@"id":1}"#,
        r#"{"jsonrpc":"2.0","result":{"kind":"status-update","status":{"state":"completed"}}}"#,
    ],
    &[
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{},@"id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"a"}]}}"#,
    ],
    &[r#"{"type":"step-start","runId":"r","payload":{},@"id":1}"#, r#"{"type":"finish","runId":"r","payload":{}}"#],
    &[r#"{"type":"message_start","message":{},@"id":1}"#, r#"{"type":"message_stop"}"#],
    &[r#"{"type":"start",@"id":1}"#, r#"{"type":"finish"}"#],
    &[r#"{"invocationId":"e","author":"a","content":{"parts":[{"text":"a"}]},@"id":1}"#],
    &[r#"{"event":{"messageStart":{"role":"assistant"}},@"id":1}"#],
    &[
        r#"{"messageStart":{"role":"assistant"}}"#,
        r#"{"contentBlockDelta":{"delta":{"text":"a"}},@"id":1}"#,
        r#"{"messageStop":{"stopReason":"end_turn"}}"#,
    ],
];

#[test]
fn an_error_beside_what_a_protocol_reads_is_heard() {
    let boom = Verdict::Failed(AnswerError::Reported { message: Some("boom".to_owned()) });
    for run in RUNS {
        for error in [
            r#""error":{"message":"boom"},"#,
            r#""error":"boom","#,
            r#""error":null,"error":"boom","#,
            r#""\u0065rror":"boom","#,
        ] {
            let body = sse(run, error);
            assert_eq!(whole(SSE, &body).verdict, boom, "{body}");
        }
        for none in ["", r#""error":null,"#, r#""error":"","#, r#""error":{"code":0},"#, r#""x":{"error":"boom"},"#] {
            let body = sse(run, none);
            assert_eq!(whole(SSE, &body).verdict, Verdict::Completed, "{body}");
        }
    }
}

/// Without the event that ends the run, the error is what is known. AG-UI's end takes it back: the protocol has `RUN_ERROR`.
#[test]
fn an_error_beside_an_event_is_all_that_is_known_of_a_run_without_its_end() {
    let boom = Verdict::Failed(AnswerError::Reported { message: Some("boom".to_owned()) });
    for (event, end, verdict) in [
        (r#"{"type":"RUN_STARTED",@"id":1}"#, r#"{"type":"RUN_FINISHED"}"#, Verdict::Completed),
        (
            r#"{"type":"response.created","response":{},@"id":1}"#,
            r#"{"type":"response.completed","response":{}}"#,
            boom.clone(),
        ),
    ] {
        assert_eq!(whole(SSE, sse(&[event], r#""error":"boom","#)).verdict, boom, "{event}");
        assert_eq!(whole(SSE, sse(&[event, end], r#""error":"boom","#)).verdict, verdict, "{event}");
    }
}

#[test]
fn a_tools_error_beside_what_a_protocol_reads_is_the_tools() {
    for run in [
        &[r#"{"type":"start"}"#, r#"{"type":"tool-output-error","error":"boom"}"#, r#"{"type":"finish"}"#][..],
        &[r#"{"type":"beforeInvocationEvent"}"#, r#"{"type":"afterToolCallEvent","error":"boom"}"#, COMPLETION],
        &[r#"data {"content":"a"}"#, r#"data {"content":"x","type":"tool","error":"boom"}"#, "end"],
    ] {
        assert_eq!(whole(SSE, sse(run, "")).verdict, Verdict::Completed, "{run:?}");
    }
}

/// These hold what the application chose, and their servers report an error in a frame of its own.
#[test]
fn an_error_in_what_an_application_streams_is_its_own() {
    for run in [
        &[r#"{"type":"beforeInvocationEvent"}"#, r#"{"type":"afterModelCallEvent","error":"boom"}"#, COMPLETION][..],
        &[r#"values {"messages":[{"type":"ai","content":"a"}],"error":"boom"}"#],
        &[r#"data {"output":"a","error":"boom"}"#, "end"],
    ] {
        assert_eq!(whole(SSE, sse(run, "")).verdict, Verdict::Completed, "{run:?}");
    }
}

/// Text that comes later says that the agent went on.
#[test]
fn text_takes_back_an_error_beside_a_chunk() {
    let chunk = r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}],@"id":1}"#;
    let end = r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let body = sse(&[chunk], r#""error":"boom","#) + &sse(&[chunk, end], "");
    assert_eq!(whole(SSE, body).verdict, Verdict::Completed);
}

/// Readers of JSON differ in which of two members of one name they hear.
#[test]
fn of_two_members_of_one_name_the_failure_is_heard() {
    for (well, failed) in [
        (r#""status":"ok""#, r#""status":"failed""#),
        (r#""status":200"#, r#""status":500"#),
        (r#""type":"text""#, r#""type":"error""#),
        (r#""event":"text""#, r#""event":"run.failed""#),
        (r#""kind":"text""#, r#""kind":"error""#),
        (r#""error":null"#, r#""error":"boom""#),
        (r#""error":"None""#, r#""error":{"message":"boom"}"#),
        (r#""error":{"code":0}"#, r#""err":"boom""#),
        (r#""errors":[]"#, r#""errors":["boom"]"#),
        (r#""errorMessage":null"#, r#""error_message":"boom""#),
        (r#""exception":null"#, r#""traceback":"boom""#),
        (r#""errorCode":0"#, r#""error_code":"boom""#),
        (r#""isError":false"#, r#""is_error":true"#),
        (r#""success":true"#, r#""success":false"#),
        (r#""ok":true"#, r#""ok":"false""#),
        (r#""status_code":200"#, r#""statusCode":500"#),
        (r#""stop_reason":"end_turn""#, r#""stopReason":"error""#),
        (r#""message":"m","code":0"#, r#""code":500"#),
    ] {
        for members in [format!("{well},{failed}"), format!("{failed},{well}")] {
            for object in [format!("{{{members}}}"), format!("{{\"text\":\"b\",\"result\":{{{members}}}}}")] {
                let is_nested = object.contains("result");
                if is_nested && ["event", "kind", "stop", "code\":0"].iter().any(|name| well.contains(name)) {
                    continue;
                }
                let outcome = whole(NDJSON, format!("{{\"text\":\"a\"}}\n{object}\n"));
                assert!(matches!(outcome.verdict, Verdict::Failed(_)), "{object} is {:?}", outcome.verdict);
            }
        }
    }
}

#[test]
fn of_two_members_of_one_name_the_one_that_says_something_is_heard() {
    let short = Verdict::Incomplete(FinishReason::MaxTokens);
    for members in [
        r#""stop_reason":null,"finish_reason":"length""#,
        r#""stop_reason":"end_turn","stop_reason":"length""#,
        r#""finish_reason":"length","stop_reason":"end_turn""#,
        r#""status":"ok","status":"length""#,
    ] {
        assert_eq!(whole(NDJSON, format!("{{\"text\":\"a\",{members}}}\n")).verdict, short, "{members}");
    }
    let outcome =
        whole(NDJSON, "{\"text\":\"\",\"text\":\"a\",\"usage\":null,\"usage_metadata\":{\"input_tokens\":2}}\n");
    assert_eq!(outcome.output.expect("an answer").text, "a");
    assert_eq!(outcome.progress.usage, Some(Usage { input_tokens: 2, ..Usage::default() }));
    assert_eq!(outcome.verdict, Verdict::Completed);
}

/// What the server of a graph does not count, an agent may have counted itself.
#[test]
fn a_graph_that_counts_nothing_keeps_the_usage_before() {
    let body = sse(
        &[
            r#"values {"messages":[{"type":"ai","content":"a"}]}"#,
            r#"custom {"usage":{"input_tokens":2}}"#,
            r#"values {"messages":[{"type":"ai","content":"ab"}]}"#,
        ],
        "",
    );
    assert_eq!(whole(SSE, body).progress.usage, Some(Usage { input_tokens: 2, ..Usage::default() }));
}

/// A message in the form of Strands is one of many agents', and Cohere's.
#[test]
fn a_stop_reason_and_tokens_beside_a_message_are_heard() {
    let message = r#""message":{"role":"assistant","content":[{"text":"Yes."}]}"#;
    for (word, verdict) in [
        ("end_turn", Verdict::Completed),
        ("tool_use", Verdict::Completed),
        ("max_tokens", Verdict::Incomplete(FinishReason::MaxTokens)),
        ("content_filtered", Verdict::Incomplete(FinishReason::ContentFilter)),
        ("error", Verdict::Failed(AnswerError::Reported { message: None })),
    ] {
        for name in ["stop_reason", "stopReason", "finish_reason"] {
            let body = format!(r#"{{{message},"{name}":"{word}","usage":{{"inputTokens":21,"outputTokens":8}}}}"#);
            for outcome in [whole(JSON, &body), whole(SSE, format!("data: {body}\n\n")), whole(NDJSON, body + "\n")] {
                assert_eq!(outcome.verdict, verdict, "{name} {word}");
                let tokens = outcome.progress.usage.map(|usage| (usage.input_tokens, usage.output_tokens));
                assert_eq!(tokens, Some((21, 8)), "{name} {word}");
            }
        }
    }
}
