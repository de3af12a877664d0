//! Each protocol by its row of docs/agents.md, In a protocol: how it is recognised, completes, fails, stops short and is
//! cut, what its answer is and what its usage. Every case is read whole, byte by byte, and torn before its end.

use agent_trigger::agent::decoder::Decoder;
use agent_trigger::domain::answer::{AnswerError, End, Interruption, Outcome, Verdict};
use agent_trigger::domain::finish_reason::FinishReason::{self, *};
use agent_trigger::domain::protocol::Protocol;
use agent_trigger::domain::usage::Usage;

use crate::{JSON, NDJSON, SSE, decode};

/// What must be recorded.
#[derive(Debug)]
enum Is {
    /// Completed, with this answer.
    Done(&'static str),
    /// Failed, with these words.
    Failed(&'static str),
    Short(FinishReason),
    /// Ended without its terminal event.
    Cut,
}
use Is::{Cut, Done, Failed, Short};

fn check(protocol: &str, of: Option<&str>, body: &str, expected: &Is) -> Outcome {
    let outcome = decode(of, [body.as_bytes()], End::Framed);
    let output = outcome.output.as_ref().map(|output| output.text.as_str()).unwrap_or_default();
    let is_right = match (&outcome.verdict, expected) {
        (Verdict::Completed, Done(text)) => output == *text,
        (Verdict::Failed(AnswerError::Reported { message }), Failed(words)) => {
            message.as_deref().unwrap_or_default() == *words
        }
        (Verdict::Incomplete(reason), Short(expected)) => reason == expected && outcome.finish_reason == Some(*reason),
        (Verdict::Interrupted(Interruption::NoTerminalEvent), Cut) => true,
        _ => false,
    };
    assert!(is_right, "{body}\nis {outcome:#?}\nnot {expected:?}");
    if protocol != "any" {
        assert_eq!(outcome.protocol.as_str(), protocol, "{body}");
    }
    assert_eq!(decode(of, body.as_bytes().chunks(1), End::Framed), outcome, "byte by byte: {body}");
    outcome
}

/// Server-sent events with these data, one a line.
fn sse(lines: &str) -> String {
    let frames = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    frames
        .map(|line| if line.starts_with("event:") { format!("{line}\n") } else { format!("data: {line}\n\n") })
        .collect()
}

fn all(protocol: &str, cases: &[(&str, Is)]) {
    for (lines, expected) in cases {
        check(protocol, SSE, &sse(lines), expected);
    }
}

fn documents(protocol: &str, cases: &[(&str, Is)]) {
    for (body, expected) in cases {
        check(protocol, JSON, body, expected);
    }
}

fn usage_of(lines: &str) -> Option<[u64; 4]> {
    let outcome = decode(SSE, [sse(lines).as_bytes()], End::Framed);
    outcome.progress.usage.map(|usage| {
        let Usage { input_tokens, output_tokens, cache_read_input_tokens, cache_write_input_tokens } = usage;
        [input_tokens, output_tokens, cache_read_input_tokens, cache_write_input_tokens]
    })
}

#[test]
fn ag_ui() {
    const START: &str = r#"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#;
    let with = |rest: &str| format!("{START}\n{rest}");
    for (rest, expected) in [
        (r#"{"type":"RUN_FINISHED"}"#, Done("")),
        (
            r#"{"type":"TEXT_MESSAGE_START","messageId":"1","role":"assistant"}
               {"type":"TEXT_MESSAGE_CONTENT","messageId":"1","delta":"a"}
               {"type":"TEXT_MESSAGE_START","messageId":"2","role":"assistant"}
               {"type":"RUN_FINISHED","outcome":{"type":"success"}}"#,
            Done("a"),
        ),
        (
            r#"{"type":"TEXT_MESSAGE_CHUNK","messageId":"1","role":"assistant","delta":"a"}
               {"type":"TEXT_MESSAGE_CHUNK","messageId":"1","delta":"b"}
               {"type":"TEXT_MESSAGE_CHUNK","messageId":"2","role":"assistant","delta":"c"}
               {"type":"TEXT_MESSAGE_CHUNK","delta":"d"}
               {"type":"RUN_FINISHED"}"#,
            Done("cd"),
        ),
        (
            r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"1","delta":"a"}
               {"type":"TEXT_MESSAGE_START","messageId":"2","role":"tool"}
               {"type":"TEXT_MESSAGE_CONTENT","messageId":"2","delta":"no"}
               {"type":"RUN_FINISHED"}"#,
            Done("a"),
        ),
        (
            r#"{"type":"MESSAGES_SNAPSHOT","messages":[{"role":"assistant","content":"old"},{"role":"user","content":"hi"}]}
               {"type":"RUN_FINISHED"}"#,
            Done(""),
        ),
        (
            r#"{"type":"MESSAGES_SNAPSHOT","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"a"},
               {"role":"tool","content":"t"},{"role":"assistant","content":""}]}"#,
            Cut,
        ),
        (r#"{"type":"RUN_ERROR","message":"boom","code":"E"}"#, Failed("boom")),
        (r#"{"type":"RUN_ERROR","code":"E"}"#, Failed("E")),
        (r#"{"type":"RUN_FINISHED","outcome":{"type":"interrupt"}}"#, Short(Interrupt)),
        (r#"{"type":"RUN_FINISHED","outcome":"interrupt"}"#, Short(Interrupt)),
        (
            r#"{"type":"CUSTOM","name":"on_interrupt","value":"May I?"}
               {"type":"RUN_FINISHED","outcome":null}"#,
            Short(Interrupt),
        ),
        (
            r#"{"type":"CUSTOM","name":"on_interrupt","value":"May I?"}
               {"type":"TEXT_MESSAGE_CHUNK","messageId":"1","role":"assistant","delta":"a"}
               {"type":"RUN_FINISHED"}"#,
            Done("a"),
        ),
        (
            r#"{"type":"CUSTOM","name":"AgentStopped","value":{"stop_reason":"guardrail_intervened"}}
               {"type":"RUN_FINISHED","outcome":{"type":"success"}}"#,
            Short(Guardrail),
        ),
        (
            r#"{"type":"CUSTOM","name":"AgentStopped","value":{"stop_reason":"max_tokens"}}
               {"type":"RUN_FINISHED"}"#,
            Short(MaxTokens),
        ),
        (
            r#"{"type":"CUSTOM","name":"AgentStopped","value":{"stop_reason":"end_turn"}}
               {"type":"RUN_FINISHED","outcome":{"type":"success"}}"#,
            Done(""),
        ),
        (
            r#"{"type":"CUSTOM","name":"AgentStopped","value":{"stop_reason":"max_tokens"}}
               {"type":"RUN_FINISHED","outcome":{"type":"interrupt"}}"#,
            Short(Interrupt),
        ),
        (
            r#"{"type":"CUSTOM","name":"step","value":{"stop_reason":"max_tokens"}}
               {"type":"TEXT_MESSAGE_CHUNK","messageId":"1","role":"assistant","delta":"a"}
               {"type":"RUN_FINISHED"}"#,
            Done("a"),
        ),
        (
            r#"{"type":"CUSTOM","name":"job","value":{"status":"max_tokens","stop_reason":null}}
               {"type":"RUN_FINISHED"}"#,
            Done(""),
        ),
        (
            r#"{"type":"TEXT_MESSAGE_CHUNK","messageId":"1","role":"assistant","delta":"a"}
               {"type":"RUN_FINISHED","result":"b"}"#,
            Done("a"),
        ),
        ("{\"type\":\"RUN_FINISHED\"}\n{\"type\":\"RUN_ERROR\",\"message\":\"late\"}", Done("")),
        ("{\"type\":\"RUN_ERROR\",\"message\":\"boom\"}\n{\"type\":\"RUN_FINISHED\"}", Failed("boom")),
        (r#"{"type":"TOOL_CALL_RESULT","toolCallId":"1","content":"Error: boom"}"#, Cut),
        (r#"{"type":"CUSTOM","name":"x","value":{"error":"no"}}"#, Cut),
        (r#"{"type":"STATE_SNAPSHOT","snapshot":{"error":"no"}}"#, Cut),
        (r#"{"error":"boom","error_type":"E","message":"An error occurred during streaming"}"#, Failed("boom")),
        (r#"{"type":"\u0052UN_FINISHED"}"#, Done("")),
        ("", Cut),
    ] {
        check("ag-ui", SSE, &sse(&with(rest)), &expected);
        let lines: String = with(rest).lines().map(|line| format!("{}\n", line.trim())).collect();
        if !rest.contains("},\n") {
            check("ag-ui", NDJSON, &lines, &expected);
            check("ag-ui", JSON, &lines, &expected);
        }
    }
    let finished =
        r#"{"type":"RUN_FINISHED","usage":[{"inputTokens":1,"outputTokens":2},{"inputTokens":3,"outputTokens":4}]}"#;
    assert_eq!(usage_of(&with(finished)), Some([4, 6, 0, 0]));
}

#[test]
fn a2a() {
    let old = |result: &str| format!(r#"{{"id":"1","jsonrpc":"2.0","result":{result}}}"#);
    let status = |state: &str, text: &str| {
        old(&format!(
            r#"{{"kind":"status-update","status":{{"state":"{state}","message":{{"parts":[{{"kind":"text","text":"{text}"}}]}}}}}}"#
        ))
    };
    let artifact = |id: &str, append: bool, text: &str| {
        old(&format!(
            r#"{{"kind":"artifact-update","append":{append},"artifact":{{"artifactId":"{id}","parts":[{{"kind":"text","text":"{text}"}}]}}}}"#
        ))
    };
    // The members may stand in any order.
    let late = |text: &str| {
        old(&format!(
            r#"{{"artifact":{{"artifactId":"1","parts":[{{"kind":"text","text":"{text}"}}]}},"kind":"artifact-update","append":true}}"#
        ))
    };
    let working = status("working", "on it");
    for (frames, expected) in [
        (vec![status("completed", "all done")], Done("all done")),
        (vec![artifact("1", false, "a"), artifact("1", true, "b"), status("completed", "no")], Done("ab")),
        (vec![artifact("1", false, "a"), artifact("1", false, "b"), status("completed", "no")], Done("b")),
        (vec![artifact("1", false, "a"), late("b"), late("c"), status("completed", "no")], Done("abc")),
        (vec![artifact("1", false, "a"), artifact("2", false, "b"), status("completed", "no")], Done("ab")),
        (
            vec![
                artifact("1", false, "a"),
                artifact("2", false, "b"),
                artifact("2", false, "c"),
                status("completed", ""),
            ],
            Done("ac"),
        ),
        (vec![status("failed", "boom")], Failed("boom")),
        (vec![status("rejected", "boom")], Failed("boom")),
        (vec![status("canceled", "x")], Short(Cancelled)),
        (vec![status("input-required", "which?")], Short(InputRequired)),
        (vec![status("auth-required", "x")], Short(AuthRequired)),
        (vec![status("submitted", "x")], Cut),
        // Where responses have an envelope, what has none is no result.
        (vec![status("working", "x"), r#"{"message":{"messageId":"1","parts":[{"text":"no"}]}}"#.to_owned()], Cut),
        (vec![old(r#"{"kind":"task","status":{"state":"working"}}"#)], Cut),
        (vec![old(r#"{"kind":"task","status":{"state":"submitted"}}"#), status("completed", "a")], Done("a")),
        (
            vec![old(
                r#"{"kind":"task","status":{"state":"completed"},"artifacts":[{"artifactId":"1","parts":[{"text":"a"}]}]}"#,
            )],
            Done("a"),
        ),
        (vec![old(r#"{"kind":"message","role":"agent","parts":[{"kind":"text","text":"a"}]}"#)], Done("a")),
        (vec![r#"{"jsonrpc":"2.0","id":"1","error":{"code":-32603,"message":"boom"}}"#.to_owned()], Failed("boom")),
        (vec!["event: error".to_owned(), r#"{"error":{"code":-1,"message":"boom"}}"#.to_owned()], Failed("boom")),
    ] {
        let frames = [vec![working.clone()], frames].concat().join("\n");
        check("a2a", SSE, &sse(&frames), &expected);
    }
    let new = |kind: &str, value: &str| format!(r#"{{"result":{{"{kind}":{value}}},"id":"1","jsonrpc":"2.0"}}"#);
    let state =
        |state: &str| new("statusUpdate", &format!(r#"{{"taskId":"1","status":{{"state":"TASK_STATE_{state}"}}}}"#));
    let piece = r#"{"artifact":{"artifactId":"1","parts":[{"text":"a"}]},"append":true}"#;
    for (frames, expected) in [
        (vec![new("artifactUpdate", piece), new("artifactUpdate", piece), state("COMPLETED")], Done("aa")),
        (vec![state("FAILED")], Failed("")),
        (vec![state("REJECTED")], Failed("")),
        (vec![state("CANCELED")], Short(Cancelled)),
        (vec![state("INPUT_REQUIRED")], Short(InputRequired)),
        (vec![state("AUTH_REQUIRED")], Short(AuthRequired)),
        (vec![state("WORKING")], Cut),
        (vec![new("message", r#"{"parts":[{"text":"a"}]}"#)], Done("a")),
    ] {
        check("a2a", SSE, &sse(&frames.join("\n")), &expected);
    }
    for state in ["submitted", "working"] {
        let body = old(&format!(r#"{{"kind":"task","status":{{"state":"{state}"}}}}"#));
        check("a2a", JSON, &body, &Short(Working));
    }
    documents("a2a", &[(r#"{"jsonrpc":"2.0","result":{"task":{"status":{"state":"TASK_STATE_UNSPECIFIED"}}}}"#, Cut)]);
}

/// 0.3 over plain HTTP calls a message's parts `content`, and a state that is unknown is left out.
#[test]
fn a2a_over_plain_http() {
    const MESSAGE: &str = r#"{"messageId":"1","role":"ROLE_AGENT","content":[{"text":"a"},{"text":"b"}]}"#;
    let status = |state: &str| {
        format!(r#"{{"statusUpdate":{{"taskId":"1","status":{{"state":"TASK_STATE_{state}","message":{MESSAGE}}}}}}}"#)
    };
    let task = |status: &str| format!(r#"{{"task":{{"id":"1","contextId":"2","status":{status}}}}}"#);
    for (frame, expected) in [
        (format!(r#"{{"message":{MESSAGE}}}"#), Done("ab")),
        (status("COMPLETED"), Done("ab")),
        (status("FAILED"), Failed("ab")),
        (status("INPUT_REQUIRED"), Short(InputRequired)),
        (task(r#"{"timestamp":"2026"}"#), Cut),
        (task("{}"), Cut),
    ] {
        check("a2a", SSE, &sse(&frame), &expected);
        check("a2a", JSON, &frame, &expected);
    }
    documents(
        "generic",
        &[
            (r#"{"task":{"id":"1","status":{"done":true}},"result":"a"}"#, Done("a")),
            (r#"{"task":{"id":"1","contextId":"2","status":"open"},"result":"a"}"#, Done("a")),
        ],
    );
}

#[test]
fn mcp() {
    let result =
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}}"#;
    let failed = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"boom"}],"isError":true}}"#;
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"boom"}}"#;
    let notice = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"error":"no"}}"#;
    for (body, expected) in [(result, Done("ab")), (failed, Failed("boom")), (error, Failed("boom"))] {
        check("mcp", JSON, body, &expected);
        check("mcp", SSE, &sse(&format!("event: message\n{body}")), &expected);
        check("mcp", SSE, &sse(&format!("event: message\n{notice}\nevent: message\n{body}")), &expected);
    }
    all("mcp", &[("event: message\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}", Cut)]);
}

#[test]
fn openai_responses() {
    const START: &str =
        r#"{"type":"response.created","response":{"id":"1","object":"response","status":"in_progress"}}"#;
    let cases = [
        (
            r#"{"type":"response.output_text.delta","delta":"a"}
               {"type":"response.output_text.delta","delta":"b"}
               {"type":"response.completed","response":{"status":"completed","output":[]}}"#,
            Done("ab"),
        ),
        (
            r#"{"type":"response.output_text.delta","delta":"a"}
               {"type":"response.output_item.added","item":{"type":"message"}}
               {"type":"response.output_text.delta","delta":"b"}
               {"type":"response.completed","response":{"status":"completed"}}"#,
            Done("b"),
        ),
        (
            r#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[
               {"type":"output_text","text":"x"}]},{"type":"function_call"}]}}"#,
            Done("x"),
        ),
        (r#"{"type":"response.failed","response":{"status":"failed","error":{"message":"boom"}}}"#, Failed("boom")),
        (r#"{"type":"error","code":"c","message":"boom"}"#, Failed("boom")),
        (
            r#"{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}"#,
            Short(MaxTokens),
        ),
        (
            r#"{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}}"#,
            Short(ContentFilter),
        ),
        (
            r#"{"type":"response.refusal.delta","delta":"I"}
               {"type":"response.completed","response":{"status":"completed"}}"#,
            Short(Refusal),
        ),
        (r#"{"type":"response.output_text.delta","delta":"a"}"#, Cut),
        // The agent goes on after its calls, and is cut off then.
        (
            r#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call"}]}}
               {"type":"response.created","response":{"id":"2","object":"response","status":"in_progress"}}"#,
            Cut,
        ),
        ("[DONE]", Cut),
    ];
    for (rest, expected) in cases {
        if rest.contains("[\n") {
            let rest = rest.split('\n').map(str::trim).collect::<String>();
            check("openai-responses", SSE, &sse(&format!("{START}\n{rest}")), &expected);
        } else {
            check("openai-responses", SSE, &sse(&format!("{START}\n{rest}")), &expected);
        }
    }
    let document = |rest: &str| format!(r#"{{"id":"1","object":"response",{rest}}}"#);
    for (rest, expected) in [
        (
            r#""status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}]"#,
            Done("a"),
        ),
        (r#""status":"failed","error":{"message":"boom"}"#, Failed("boom")),
        (r#""status":"queued""#, Short(Working)),
        (r#""status":"in_progress""#, Short(Working)),
        (r#""status":"cancelled""#, Short(Cancelled)),
        (r#""status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}"#, Short(MaxTokens)),
        (
            r#""status":"completed","output":[{"type":"message","content":[{"type":"refusal","refusal":"no"}]}]"#,
            Short(Refusal),
        ),
    ] {
        check("openai-responses", JSON, &document(rest), &expected);
    }
    let usage = r#"{"type":"response.completed","response":{"usage":{"input_tokens":5,"output_tokens":6,"input_tokens_details":{"cached_tokens":2}}}}"#;
    assert_eq!(usage_of(&format!("{START}\n{usage}")), Some([5, 6, 2, 0]));
    let calls = usage.replace("\"usage\"", "\"output\":[{\"type\":\"function_call\"}],\"usage\"");
    assert_eq!(usage_of(&format!("{START}\n{calls}\n{START}\n{usage}")), Some([10, 12, 4, 0]), "of all responses");
}

#[test]
fn openai_chat() {
    let chunk = |choice: &str| format!(r#"{{"object":"chat.completion.chunk","choices":[{{"index":0,{choice}}}]}}"#);
    let text = |text: &str| chunk(&format!(r#""delta":{{"content":"{text}"}},"finish_reason":null"#));
    let stop = |reason: &str| chunk(&format!(r#""delta":{{}},"finish_reason":"{reason}""#));
    for (end, expected) in [
        (stop("stop"), Done("ab")),
        (stop("tool_calls"), Done("ab")),
        (stop("length"), Short(MaxTokens)),
        (stop("content_filter"), Short(ContentFilter)),
        (stop("error"), Failed("")),
        (r#"{"error":{"message":"boom","code":500}}"#.to_owned(), Failed("boom")),
        (r#"{"object":"error","message":"boom"}"#.to_owned(), Failed("boom")),
        (format!("{}\n{}", chunk(r#""delta":{"refusal":"I"}"#), stop("stop")), Short(Refusal)),
        (format!("{}\n[DONE]", stop("stop")), Done("ab")),
        (format!("{}\n{}", stop("stop"), r#"{"error":{"message":"late"}}"#), Done("ab")),
        ("[DONE]".to_owned(), Cut),
        (String::new(), Cut),
    ] {
        check("openai-chat", SSE, &sse(&format!("{}\n{}\n{end}", text("a"), text("b"))), &expected);
    }
    let document = |choice: &str| format!(r#"{{"object":"chat.completion","choices":[{{{choice}}}]}}"#);
    for (choice, expected) in [
        (r#""message":{"role":"assistant","content":"a"},"finish_reason":"stop""#, Done("a")),
        (r#""message":{"content":[{"type":"text","text":"a"}]},"finish_reason":"stop""#, Done("a")),
        (r#""message":{"content":null,"refusal":"no"},"finish_reason":"stop""#, Short(Refusal)),
        (r#""message":{"content":"a"},"finish_reason":"length""#, Short(MaxTokens)),
    ] {
        check("openai-chat", JSON, &document(choice), &expected);
    }
    let last = r#"{"object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6,"prompt_tokens_details":{"cached_tokens":2}}}"#;
    assert_eq!(usage_of(&format!("{}\n{}\n{last}\n[DONE]", text("a"), stop("stop"))), Some([5, 6, 2, 0]));
}

/// Usage may follow the terminal event: it is awaited, and the connection need not end for it.
#[test]
fn usage_behind_the_terminal_event_is_awaited_and_nothing_else() {
    let stop = sse(r#"{"object":"chat.completion.chunk","choices":[{"delta":{},"finish_reason":"stop"}]}"#);
    let usage = sse(r#"{"object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":5}}"#);
    for (last, awaits) in [(usage.as_str(), false), ("data: [DONE]\n\n", false), (": ping\n\n", true)] {
        let mut decoder = Decoder::new(SSE).expect("SSE");
        assert_eq!(decoder.feed(stop.as_bytes()), None);
        assert!(decoder.is_decided());
        assert_eq!(decoder.feed(last.as_bytes()).is_none(), awaits, "{last}");
        assert_eq!(decoder.finish(End::Torn).verdict, Verdict::Completed);
    }
}

#[test]
fn anthropic() {
    const START: &str = r#"{"type":"message_start","message":{"type":"message","role":"assistant","usage":{"input_tokens":10,"output_tokens":1}}}"#;
    const TEXT: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
    let stop = |reason: &str| {
        format!(
            "{{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{reason}\"}},\"usage\":{{\"output_tokens\":5}}}}\n{{\"type\":\"message_stop\"}}"
        )
    };
    for (end, expected) in [
        (stop("end_turn"), Done("a")),
        (stop("stop_sequence"), Done("a")),
        (stop("tool_use"), Done("a")),
        (stop("max_tokens"), Short(MaxTokens)),
        (stop("model_context_window_exceeded"), Short(MaxTokens)),
        (stop("refusal"), Short(Refusal)),
        (stop("pause_turn"), Short(Pause)),
        (stop("max_tokens").lines().next().expect("a line").to_owned(), Cut),
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"boom"}}"#.to_owned(), Failed("boom")),
        (r#"{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"hm"}}"#.to_owned(), Cut),
        (String::new(), Cut),
        (format!("{}\n{START}\n{}\n{}", stop("tool_use"), TEXT.replace("\"a\"", "\"b\""), stop("end_turn")), Done("b")),
        (format!("{}\n{START}\n{TEXT}", stop("tool_use")), Cut),
    ] {
        check("anthropic", SSE, &sse(&format!("{START}\n{{\"type\":\"ping\"}}\n{TEXT}\n{end}")), &expected);
    }
    // An error behind a stop reason is a failure, and the reason stands beside it.
    let both = format!(
        "{START}\n{}\n{}",
        stop("max_tokens").lines().next().expect("a line"),
        r#"{"type":"error","error":{"message":"boom"}}"#
    );
    let outcome = check("anthropic", SSE, &sse(&both), &Failed("boom"));
    assert_eq!(outcome.finish_reason, Some(MaxTokens));
    assert_eq!(usage_of(&format!("{START}\n{}", stop("end_turn"))), Some([10, 5, 0, 0]));
    let two = format!("{START}\n{}\n{START}\n{}", stop("tool_use"), stop("end_turn"));
    assert_eq!(usage_of(&two), Some([20, 10, 0, 0]));
    documents(
        "anthropic",
        &[
            (
                r#"{"type":"message","role":"assistant","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn"}"#,
                Done("a"),
            ),
            (r#"{"type":"message","role":"assistant","content":[],"stop_reason":"max_tokens"}"#, Short(MaxTokens)),
        ],
    );
}

#[test]
fn vercel() {
    const START: &str = r#"{"type":"start","messageId":"1"}"#;
    const TEXT: &str = r#"{"type":"text-delta","id":"1","delta":"a"}"#;
    for (rest, expected) in [
        (r#"{"type":"finish"}"#, Done("a")),
        (r#"{"type":"finish","finishReason":"stop"}"#, Done("a")),
        (r#"{"type":"finish","finishReason":"tool-calls"}"#, Done("a")),
        (r#"{"type":"finish","finishReason":"other"}"#, Done("a")),
        (r#"{"type":"finish","finishReason":"unknown"}"#, Done("a")),
        (r#"{"type":"finish","finishReason":"length"}"#, Short(MaxTokens)),
        (r#"{"type":"finish","finishReason":"content-filter"}"#, Short(ContentFilter)),
        (r#"{"type":"finish","finishReason":"error"}"#, Failed("")),
        (r#"{"type":"abort"}"#, Short(Cancelled)),
        ("{\"type\":\"error\",\"errorText\":\"boom\"}\n{\"type\":\"finish\"}", Failed("boom")),
        ("{\"type\":\"tool-output-error\",\"errorText\":\"no\"}\n{\"type\":\"finish\"}", Done("a")),
        ("[DONE]", Cut),
        ("{\"type\":\"finish-step\"}", Cut),
        ("{\"type\":\"start-step\"}\n{\"type\":\"text-delta\",\"delta\":\"b\"}\n{\"type\":\"finish\"}", Done("b")),
        ("{\"type\":\"reset-step\"}\n{\"type\":\"text-delta\",\"delta\":\"b\"}\n{\"type\":\"finish\"}", Done("b")),
        ("{\"type\":\"tool-approval-request\"}\n{\"type\":\"finish\",\"finishReason\":\"stop\"}", Short(Interrupt)),
        ("{\"type\":\"tool-approval-request\",\"isAutomatic\":true}\n{\"type\":\"finish\"}", Done("a")),
        ("{\"type\":\"tool-approval-request\"}\n{\"type\":\"finish\",\"finishReason\":\"length\"}", Short(MaxTokens)),
        (
            "{\"type\":\"tool-approval-request\"}\n{\"type\":\"start-step\"}\n{\"type\":\"text-delta\",\"delta\":\"b\"}\n{\"type\":\"finish\"}",
            Done("b"),
        ),
    ] {
        check("vercel", SSE, &sse(&format!("{START}\n{TEXT}\n{rest}")), &expected);
    }
    let metadata = r#"{"type":"finish","messageMetadata":{"usage":{"inputTokens":5}}}"#;
    assert_eq!(usage_of(&format!("{START}\n{metadata}")), None);
}

#[test]
fn mastra() {
    let frame =
        |kind: &str, payload: &str| format!(r#"{{"type":"{kind}","runId":"r","from":"AGENT","payload":{payload}}}"#);
    let finish = |reason: &str| {
        frame(
            "finish",
            &format!(r#"{{"stepResult":{{"reason":"{reason}"}},"output":{{"usage":{{"inputTokens":5}}}}}}"#),
        )
    };
    let begin = format!("{}\n{}", frame("start", "{}"), frame("text-delta", r#"{"text":"a"}"#));
    for (rest, expected) in [
        (finish("stop"), Done("a")),
        (finish("length"), Short(MaxTokens)),
        (finish("error"), Failed("")),
        (frame("error", r#"{"error":{"message":"boom","stack":"s"}}"#), Failed("boom")),
        (frame("tripwire", r#"{"tripwireReason":"no"}"#), Short(Guardrail)),
        (frame("abort", "{}"), Short(Cancelled)),
        (format!("{}\n{}", frame("tool-error", r#"{"error":"no"}"#), finish("stop")), Done("a")),
        ("[DONE]".to_owned(), Cut),
    ] {
        check("mastra", SSE, &sse(&format!("{begin}\n{rest}")), &expected);
    }
    assert_eq!(usage_of(&format!("{begin}\n{}", finish("stop"))), Some([5, 0, 0, 0]));
}

#[test]
fn adk() {
    let event = |rest: &str| format!(r#"{{"invocationId":"i","author":"agent",{rest}}}"#);
    let text =
        |text: &str, rest: &str| event(&format!(r#""content":{{"parts":[{{"text":"{text}"}}],"role":"model"}}{rest}"#));
    let partial = text("a", r#","partial":true"#);
    let waits = |tool: &str| {
        event(&format!(
            r#""content":{{"parts":[{{"functionCall":{{"id":"1","name":"{tool}"}}}}],"role":"model"}},"longRunningToolIds":["1"]"#
        ))
    };
    for (rest, expected) in [
        (waits("ask"), Short(Interrupt)),
        (waits("adk_request_credential"), Short(AuthRequired)),
        (format!("{}\n{}", waits("ask"), text("ab", "")), Done("ab")),
        (text("ab", ""), Done("ab")),
        (text("ab", r#","finishReason":"STOP""#), Done("ab")),
        (partial.clone(), Done("aa")),
        (text("ab", r#","finishReason":"MAX_TOKENS""#), Short(MaxTokens)),
        (event(r#""errorCode":"MAX_TOKENS","errorMessage":"""#), Short(MaxTokens)),
        (event(r#""errorCode":"PROHIBITED_CONTENT""#), Short(ContentFilter)),
        (event(r#""errorCode":"SAFETY","errorMessage":"blocked""#), Short(ContentFilter)),
        (event(r#""errorCode":"MALFORMED_FUNCTION_CALL","errorMessage":"boom""#), Failed("boom")),
        (event(r#""errorCode":"E""#), Failed("E")),
        (text("ab", r#","interrupted":true"#), Short(Interrupt)),
        (r#"{"error":"boom","error_details":{"error_type":"E"}}"#.to_owned(), Failed("boom")),
        (format!("{}\n{}", event(r#""errorCode":"E""#), text("ab", "")), Done("ab")),
        (
            format!(
                "{}\n{}",
                text("ab", ""),
                event(r#""content":{"parts":[{"functionCall":{"name":"f"}}],"role":"model"}"#)
            ),
            Done("ab"),
        ),
        (
            format!(
                "{}\n{}",
                text("ab", ""),
                event(r#""content":{"parts":[{"functionResponse":{"error":"no"}}],"role":"user"}"#)
            ),
            Done("ab"),
        ),
        (event(r#""content":{"parts":[{"text":"hm","thought":true},{"text":"ab"}],"role":"model"}"#), Done("ab")),
    ] {
        check("adk", SSE, &sse(&format!("{partial}\n{rest}")), &expected);
    }
    let document = format!(
        "[{},\n {}]",
        text("a", r#","usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}"#),
        text("b", "")
    );
    let outcome = check("adk", JSON, &document, &Done("b"));
    assert_eq!(outcome.progress.usage.map(|usage| (usage.input_tokens, usage.output_tokens)), Some((1, 2)));
    assert_eq!(outcome.progress.events, 2);
    check(
        "adk",
        JSON,
        &format!("[{},{}]", text("a", ""), event(r#""errorCode":"E","errorMessage":"boom""#)),
        &Failed("boom"),
    );
}

#[test]
fn langgraph() {
    let human = r#"{"type":"human","content":"hi"}"#;
    let ai = |text: &str| {
        format!(r#"{{"type":"ai","content":"{text}","usage_metadata":{{"input_tokens":1,"output_tokens":2}}}}"#)
    };
    let values = |messages: &str| format!("event: values\n{{\"messages\":[{messages}]}}");
    let update = |reason: &str| {
        format!(
            r#"{{"agent":{{"messages":[{{"type":"ai","content":"a","response_metadata":{{"finish_reason":"{reason}"}}}}]}}}}"#
        )
    };
    let chunk = |text: &str| {
        format!("event: messages\n[{{\"type\":\"AIMessageChunk\",\"id\":\"1\",\"content\":\"{text}\"}},{{\"a\":1}}]")
    };
    let task = |rest: &str| format!("event: tasks\n{{\"id\":\"1\",\"name\":\"agent\",{rest}}}");
    for (rest, expected) in [
        (values(&format!("{human},{}", ai("a"))), Done("a")),
        (values(&format!("{},{human}", ai("old"))), Done("")),
        (format!("{}\n{}", chunk("a"), chunk("b")), Done("ab")),
        (format!("{}\n{}", chunk("a"), values(&format!("{human},{}", ai("ab")))), Done("ab")),
        ("event: updates\n{\"agent\":{\"messages\":[{\"type\":\"ai\",\"content\":\"a\"}]}}".to_owned(), Done("a")),
        ("event: updates\n{\"__interrupt__\":[{\"value\":\"ok?\"}]}".to_owned(), Short(Interrupt)),
        // A breakpoint has no words.
        ("event: updates\n{\"__interrupt__\":[]}".to_owned(), Short(Interrupt)),
        (task("\"result\":{\"messages\":[{\"type\":\"ai\",\"content\":\"a\"}]},\"interrupts\":[]"), Done("a")),
        (task("\"result\":{},\"interrupts\":[{\"value\":\"ok?\"}]"), Short(Interrupt)),
        (task("\"input\":{\"messages\":[{\"type\":\"ai\",\"content\":\"old\"}]},\"triggers\":[\"x\"]"), Done("")),
        ("event: values\n{\"messages\":[],\"__interrupt__\":[{\"value\":\"ok?\"}]}".to_owned(), Short(Interrupt)),
        // The model stopped in order, and the run waits all the same.
        (
            format!(
                "event: updates\n{{\"__interrupt__\":[{{\"value\":\"ok?\"}}]}}\nevent: updates\n{}",
                update("stop")
            ),
            Short(Interrupt),
        ),
        (format!("event: updates\n{}", update("length")), Short(MaxTokens)),
        // The next message was not cut.
        (
            format!(
                "event: updates\n{}\nevent: updates\n{{\"agent\":{{\"messages\":[{}]}}}}",
                update("length"),
                ai("b")
            ),
            Done("b"),
        ),
        ("event: error\n{\"error\":\"ValueError\",\"message\":\"boom\"}".to_owned(), Failed("boom")),
        (format!("{}\nevent: end\nnull", chunk("a")), Done("a")),
        (
            values(&format!("{human},{{\"type\":\"tool\",\"content\":\"Error\",\"status\":\"error\"}},{}", ai("a"))),
            Done("a"),
        ),
    ] {
        let begin = values(human);
        check("langgraph", SSE, &sse(&format!("event: metadata\n{{\"run_id\":\"1\"}}\n{begin}\n{rest}")), &expected);
    }
    documents(
        "langgraph",
        &[
            (
                r#"{"messages":[{"type":"human","content":"hi"},{"type":"ai","content":[{"type":"text","text":"a"}]}]}"#,
                Done("a"),
            ),
            (r#"{"__error__":{"error":"ValueError","message":"boom"}}"#, Failed("boom")),
            (r#"{"messages":[],"__interrupt__":[{"value":"ok?"}]}"#, Short(Interrupt)),
        ],
    );
    let two = format!("{human},{},{human},{},{}", ai("old"), ai("a"), ai("b"));
    assert_eq!(usage_of(&values(&two)), Some([2, 4, 0, 0]));
}

/// The events of `/stream_events`: only those of the run itself hold the answer, not those of its parts.
#[test]
fn langserve_events() {
    let event = |name: &str, run: &str, data: &str| {
        format!("event: data\n{{\"event\":\"on_{name}\",\"data\":{data},\"name\":\"x\",\"run_id\":\"{run}\"}}")
    };
    let start = event("chain_start", "1", "{\"input\":{\"output\":\"no\"}}");
    for (rest, expected) in [
        (event("chain_stream", "1", "{\"chunk\":\"a\"}"), Done("a")),
        (event("chain_stream", "1", "{\"chunk\":{\"content\":\"a\",\"type\":\"AIMessageChunk\"}}"), Done("a")),
        (event("chain_stream", "1", "{\"chunk\":{\"output\":\"a\"}}"), Done("a")),
        (event("chain_stream", "2", "{\"chunk\":\"a\"}"), Done("")),
        (event("chain_end", "1", "{\"output\":{\"content\":\"a\",\"type\":\"ai\"}}"), Done("a")),
        (
            event(
                "chain_end",
                "1",
                "{\"output\":{\"content\":\"a\",\"response_metadata\":{\"stop_reason\":\"max_tokens\"}}}",
            ),
            Short(MaxTokens),
        ),
        (event("chain_end", "2", "{\"output\":\"a\"}"), Done("")),
        (
            [event("chain_stream", "1", "{\"chunk\":\"a\"}"), event("chain_end", "1", "{\"output\":{\"n\":1}}")]
                .join("\n"),
            Done("a"),
        ),
        (
            [event("chain_stream", "1", "{\"chunk\":\"a\"}"), event("chain_end", "1", "{\"output\":\"ab\"}")]
                .join("\n"),
            Done("ab"),
        ),
    ] {
        check("langserve", SSE, &sse(&format!("{start}\n{rest}\nevent: end\nnull")), &expected);
        check("langserve", SSE, &sse(&format!("{start}\n{rest}")), &Cut);
    }
}

#[test]
fn langserve() {
    all(
        "langserve",
        &[
            ("event: data\n\"a\"", Cut),
            ("event: data\n\"{\\\"error\\\": 1}\"", Cut),
            (
                "event: data\n{\"content\":\"a\"}\nevent: error\n{\"status_code\":500,\"message\":\"boom\"}",
                Failed("boom"),
            ),
        ],
    );
    let end = "event: end\n\n";
    for (lines, expected) in [
        ("event: data\n\"a\"\nevent: data\n\"b\"", Done("ab")),
        ("event: data\n{\"content\":\"a\"}\nevent: data\n{\"content\":\"b\"}", Done("ab")),
        ("event: data\n\"{\\\"error\\\": 1}\"", Done("{\"error\": 1}")),
        (
            "event: data\n{\"ops\":[{\"op\":\"add\",\"path\":\"/streamed_output/-\",\"value\":\"a\"},{\"path\":\"/final_output\",\"value\":\"ab\"}]}",
            Done("ab"),
        ),
        ("event: data\n{\"ops\":[{\"path\":\"/final_output\",\"value\":{\"content\":\"ab\"}}]}", Done("ab")),
        ("event: data\n{\"ops\":[{\"path\":\"/final_output\",\"value\":[{\"text\":\"a\"},\"b\"]}]}", Done("ab")),
        (
            "event: data\n{\"content\":[{\"type\":\"thinking\",\"thinking\":\"x\"},{\"type\":\"text\",\"text\":\"a\"}]}\nevent: data\n{\"content\":[{\"text\":\"b\",\"index\":0}]}\nevent: data\n{\"content\":[]}",
            Done("ab"),
        ),
        ("event: data\n{\"output\":[{\"text\":\"a\"}]}\nevent: data\n{\"content\":\"b\"}", Done("ab")),
        (
            "event: data\n{\"content\":\"a\"}\nevent: data\n{\"content\":\"\",\"response_metadata\":{\"finish_reason\":\"length\"}}",
            Short(MaxTokens),
        ),
        (
            "event: data\n{\"content\":\"a\",\"response_metadata\":{\"finish_reason\":\"length\"}}\nevent: data\n{\"content\":\"b\",\"response_metadata\":{\"stop_reason\":\"end_turn\"}}",
            Done("ab"),
        ),
        (
            "event: data\n{\"ops\":[{\"path\":\"/final_output\",\"value\":{\"content\":\"ab\",\"response_metadata\":{\"finish_reason\":\"content_filter\"}}}]}",
            Short(ContentFilter),
        ),
        ("event: data\n{\"output\":{\"content\":\"ab\",\"finish_reason\":\"length\"}}", Done("ab")),
    ] {
        check("langserve", SSE, &format!("{}{end}", sse(lines)), &expected);
        check("langserve", SSE, &format!("{}event: end", sse(lines)), &expected);
    }
}

#[test]
fn bedrock() {
    const START: &str =
        "{\"messageStart\":{\"role\":\"assistant\"}}\n{\"contentBlockDelta\":{\"delta\":{\"text\":\"a\"}}}";
    let stop = |reason: &str| format!("{{\"messageStop\":{{\"stopReason\":\"{reason}\"}}}}");
    const USAGE: &str = r#"{"metadata":{"usage":{"inputTokens":5,"outputTokens":6,"cacheReadInputTokens":7,"cacheWriteInputTokens":8}}}"#;
    for (rest, expected) in [
        (stop("end_turn"), Done("a")),
        (stop("stop_sequence"), Done("a")),
        (stop("tool_use"), Done("a")),
        (stop("max_tokens"), Short(MaxTokens)),
        (stop("guardrail_intervened"), Short(Guardrail)),
        (stop("content_filtered"), Short(ContentFilter)),
        (stop("malformed_model_output"), Failed("")),
        (r#"{"throttlingException":{"message":"boom"}}"#.to_owned(), Failed("boom")),
        (r#"{"event":{"modelStreamErrorException":{"message":"boom"}}}"#.to_owned(), Failed("boom")),
        (format!("{}\n{{\"internalServerException\":{{\"message\":\"late\"}}}}", stop("end_turn")), Done("a")),
        (format!("{}\n{START}", stop("tool_use")), Cut),
        (String::new(), Cut),
    ] {
        check("bedrock", SSE, &sse(&format!("{START}\n{rest}")), &expected);
    }
    assert_eq!(usage_of(&format!("{START}\n{}\n{USAGE}", stop("end_turn"))), Some([5, 6, 7, 8]));
}

/// The result of a graph or a swarm is a text with its status, which may be longer than what is kept.
#[test]
fn strands_together() {
    const PIECE: &str = r#"{"type":"multiagent_node_stream","node_id":"b","event":{"init_event_loop":true}}"#;
    for rest in [String::new(), "x".repeat(9_000)] {
        for (result, expected) in [
            ("GraphResult(status=<Status.COMPLETED: 'completed'>", Done("")),
            ("SwarmResult(status=<Status.FAILED: 'failed'>", Failed("")),
            ("GraphResult(status=<Status.INTERRUPTED: 'interrupted'>", Short(Interrupt)),
        ] {
            let last = format!("\"{{'type': 'multiagent_result', 'result': {result}, results={{'b': '{rest}'}})}}\"");
            check("generic", SSE, &sse(&format!("{PIECE}\n{last}")), &expected);
        }
    }
}

/// A Strands result is a text of its interrupts if the agent waits for a person.
#[test]
fn strands_as_text() {
    const ASKS: &str = "[{'id': 'v1:tool_call:1', 'name': 'approve', 'reason': 'may I?', 'response': None}]";
    documents(
        "generic",
        &[
            (&format!("\"{ASKS}\""), Short(Interrupt)),
            (&format!("{{\"result\":\"{ASKS}\"}}"), Short(Interrupt)),
            (&format!("{{\"message\":\"{ASKS}\"}}"), Short(Interrupt)),
            (&format!("{{\"response\":\"{ASKS}\",\"status\":\"success\"}}"), Short(Interrupt)),
            (&format!("{{\"result\":\"{ASKS}\",\"stop_reason\":\"end_turn\"}}"), Done(ASKS)),
            (
                &format!("\"a {ASKS}\""),
                Done("a [{'id': 'v1:tool_call:1', 'name': 'approve', 'reason': 'may I?', 'response': None}]"),
            ),
            (
                r#""[{'id': 'a', 'name': 'b', 'reason': 'c', 'response': None}]""#,
                Done("[{'id': 'a', 'name': 'b', 'reason': 'c', 'response': None}]"),
            ),
        ],
    );
    check("generic", SSE, &format!("data: \"{ASKS}\"\n\n"), &Short(Interrupt));
}

#[test]
fn strands() {
    const START: &str = r#"{"init_event_loop": true}"#;
    let stop = |reason: &str| format!("{{\"event\":{{\"messageStop\":{{\"stopReason\":\"{reason}\"}}}}}}");
    const TEXT: &str = "{\"event\":{\"messageStart\":{\"role\":\"assistant\"}}}\n{\"event\":{\"contentBlockDelta\":{\"delta\":{\"text\":\"a\"}}}}";
    let result = |reason: &str| {
        format!("\"{{'result': AgentResult(stop_reason='{reason}', message={{'role': 'assistant'}})}}\"")
    };
    for (rest, expected) in [
        (String::new(), Done("a")),
        (stop("end_turn"), Done("a")),
        (stop("guardrail_intervened"), Short(Guardrail)),
        (stop("content_filtered"), Short(ContentFilter)),
        (format!("{}\n{TEXT}\n{}", stop("guardrail_intervened"), stop("end_turn")), Done("a")),
        (result("end_turn"), Done("a")),
        (result("limit_turns"), Short(Limit)),
        (result("limit_total_tokens"), Short(Limit)),
        (result("cancelled"), Short(Cancelled)),
        (result("interrupt"), Short(Interrupt)),
        (format!("{}\n{}", stop("tool_use"), result("interrupt")), Short(Interrupt)),
        (r#"{"tool_interrupt_event":{"tool_use":{},"interrupts":[]}}"#.to_owned(), Short(Interrupt)),
        (r#"{"force_stop":true,"force_stop_reason":"boom"}"#.to_owned(), Failed("boom")),
        (
            r#"{"error":"boom","error_type":"E","message":"An error occurred during streaming"}"#.to_owned(),
            Failed("boom"),
        ),
        (r#"{"event":{"modelStreamErrorException":{"message":"boom"}}}"#.to_owned(), Failed("boom")),
        (r#"{"error":"boom"}"#.to_owned(), Failed("boom")),
        (format!("{{\"error\":\"boom\"}}\n{TEXT}"), Done("a")),
        (r#"{"error":"Serialization failed","original_type":"X"}"#.to_owned(), Done("a")),
        (r#"{"message":{"role":"user","content":[{"toolResult":{"status":"error"}}]}}"#.to_owned(), Done("a")),
        (r#"{"message":{"role":"assistant","content":[{"toolUse":{"name":"x"}}]}}"#.to_owned(), Done("a")),
        ("\"<object object at 0x7f00>\"".to_owned(), Done("a")),
    ] {
        check("strands", SSE, &sse(&format!("{START}\n{TEXT}\n{rest}")), &expected);
    }
    let both = format!("{START}\n{}\n{}", stop("max_tokens"), r#"{"error":"boom","error_type":"E"}"#);
    assert_eq!(check("strands", SSE, &sse(&both), &Failed("boom")).finish_reason, Some(MaxTokens));
    // Each event is a string of JSON where the agent serializes it itself.
    let quoted: Vec<_> = TEXT.lines().map(|line| serde_json::to_string(line).expect("a string")).collect();
    check("strands", SSE, &sse(&quoted.join("\n")), &Done("a"));
    documents(
        "strands",
        &[
            (
                r#"{"type":"agent_result","message":{"role":"assistant","content":[{"text":"a"}]},"stop_reason":"end_turn"}"#,
                Done("a"),
            ),
            (
                r#"{"type":"agent_result","message":{"role":"assistant","content":[]},"stop_reason":"guardrail_intervened"}"#,
                Short(Guardrail),
            ),
        ],
    );
}

#[test]
fn strands_typescript_and_moca() {
    const START: &str = r#"{"type":"beforeInvocationEvent"}"#;
    const TEXT: &str =
        r#"{"type":"modelStreamUpdateEvent","event":{"type":"modelContentBlockDeltaEvent","delta":{"text":"a"}}}"#;
    let result = |reason: &str| {
        format!(
            r#"{{"type":"agentResultEvent","result":{{"type":"agentResult","stopReason":"{reason}","lastMessage":{{"role":"assistant","content":[{{"text":"ab"}}]}}}}}}"#
        )
    };
    const COMPLETED: &str = r#"{"type":"serverCompletionEvent","metadata":{"requestId":"r"}}"#;
    const FAILED: &str = r#"{"type":"serverErrorEvent","error":{"message":"boom"}}"#;
    for (rest, expected) in [
        (result("endTurn"), Done("ab")),
        (result("stopSequence"), Done("ab")),
        (result("maxTokens"), Short(MaxTokens)),
        (result("guardrailIntervened"), Short(Guardrail)),
        (result("contentFiltered"), Short(ContentFilter)),
        (result("modelContextWindowExceeded"), Short(MaxTokens)),
        (result("cancelled"), Short(Cancelled)),
        (result("interrupt"), Short(Interrupt)),
        (COMPLETED.to_owned(), Done("a")),
        (FAILED.to_owned(), Failed("boom")),
        (format!("{}\n{FAILED}", result("endTurn")), Failed("boom")),
        (format!("{}\n{COMPLETED}", result("endTurn")), Done("ab")),
        (format!("{COMPLETED}\n{FAILED}"), Done("a")),
        (format!("{FAILED}\n{COMPLETED}"), Failed("boom")),
        (r#"{"type":"afterModelCallEvent","error":{"message":"no"}}"#.to_owned(), Cut),
        (String::new(), Cut),
    ] {
        for wrap in [sse as fn(&str) -> String, |lines| format!("{}\n", lines.trim_end())] {
            let body = wrap(&format!("{START}\n{TEXT}\n{rest}"));
            let of = if body.starts_with("data") { SSE } else { NDJSON };
            check("strands-typescript", of, &body, &expected);
        }
    }
    all("strands-typescript", &[(&format!("{START}\nevent: error\n{{\"error\":\"boom\"}}"), Failed("boom"))]);
    let torn = sse(&format!("{START}\n{TEXT}\n{}", result("endTurn")));
    assert_eq!(decode(SSE, [torn.as_bytes()], End::Torn).verdict, Verdict::Interrupted(Interruption::Torn));
    documents(
        "strands-typescript",
        &[
            (
                r#"{"type":"agentResult","stopReason":"endTurn","lastMessage":{"role":"assistant","content":[{"text":"a"}]}}"#,
                Done("a"),
            ),
            (r#"{"type":"agentResult","stopReason":"guardrailIntervened","lastMessage":{}}"#, Short(Guardrail)),
        ],
    );
    // An agent's own selection of model events, in server-sent events.
    let bare = r#"{"type":"modelMessageStartEvent","role":"assistant"}
        {"type":"modelContentBlockDeltaEvent","delta":{"text":"x"}}
        {"type":"modelMessageStartEvent","role":"assistant"}
        {"type":"modelContentBlockDeltaEvent","delta":{"text":"a"}}
        {"type":"modelContentBlockDeltaEvent","delta":{"text":"b"}}"#;
    all("generic", &[(bare, Done("ab"))]);
    // Any type in NDJSON that ends so.
    check("strands-typescript", NDJSON, "{\"type\":\"orderEvent\",\"text\":\"a\"}\n", &Cut);
}

#[test]
fn generic_frames() {
    all(
        "any",
        &[
            ("{\"text\":\"a\"}\n{\"text\":\"b\"}", Done("ab")),
            ("{\"type\":\"chunk\",\"content\":\"a\"}\n{\"type\":\"complete\"}", Done("a")),
            ("{\"data\":\"a\",\"delta\":{\"text\":\"x\"}}", Done("a")),
            ("{\"chunk\":\"a\"}\n{\"token\":\"b\"}", Done("ab")),
            ("{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"result\":\"ab\"}", Done("ab")),
            ("{\"text\":\"a\"}\n{\"response\":\"ab\"}\n{\"done\":true}", Done("ab")),
            ("\"a\"\n\"b\"\n{\"answer\":\"c\"}", Done("c")),
            ("{\"response\":\"a\"}\n{\"response\":\"b\"}", Done("ab")),
            // Only an event of another kind says all of it again.
            ("{\"type\":\"chunk\",\"text\":\"ha\"}\n{\"type\":\"chunk\",\"text\":\"ha\"}", Done("haha")),
            ("{\"type\":\"chunk\",\"text\":\"ha\"}\n{\"type\":\"end\",\"text\":\"ha\"}", Done("ha")),
            ("{\"text\":\"ha\"}\n{\"text\":\"ha\"}", Done("haha")),
            ("{\"text\":\"a\"}\n{\"status\":\"done\",\"message\":\"finished\"}", Done("a")),
            ("{\"content\":{\"parts\":[{\"text\":\"a\"},{\"text\":\"b\"}]}}", Done("ab")),
            ("{\"message\":{\"content\":\"a\"}}", Done("a")),
            ("{\"content\":[{\"role\":\"user\",\"text\":\"no\"},{\"text\":\"a\"}]}", Done("a")),
            ("{\"role\":\"user\",\"content\":\"no\"}\n{\"text\":\"a\"}", Done("a")),
            (
                "{\"text\":\"a\"}\nevent: interrupt\n{\"message\":\"May I?\"}\n{\"stop_reason\":\"end_turn\"}",
                Short(Interrupt),
            ),
            (
                "{\"text\":\"a\"}\nevent: interrupt\n{\"text\":\"May I?\"}\n{\"stop_reason\":\"end_turn\"}",
                Short(Interrupt),
            ),
            (
                "event: interrupt\n{\"message\":\"May I?\"}\n{\"text\":\"on\"}\n{\"stop_reason\":\"end_turn\"}",
                Done("May I?on"),
            ),
            ("event: interrupt\n{\"stop_reason\":\"max_tokens\"}", Short(MaxTokens)),
            ("\"a\"\n{\"error\":\"boom\"}", Failed("boom")),
            (
                "\"a\"\n{\"error\":null}\n{\"error\":\"\"}\n{\"error\":{}}\n{\"error\":[]}\n{\"error\":false}\n{\"error\":0}",
                Done("a"),
            ),
            ("\"a\"\n{\"type\":\"error\",\"message\":\"boom\"}", Failed("boom")),
            ("\"a\"\n{\"event\":\"error\",\"data\":\"boom\"}", Failed("boom")),
            ("\"a\"\n{\"status\":\"ERROR\",\"reason\":\"boom\"}", Failed("boom")),
            ("\"a\"\n{\"status\":\"Failed\",\"message\":\"boom\"}", Failed("boom")),
            ("\"a\"\n{\"success\":false,\"message\":\"boom\"}", Failed("boom")),
            ("\"a\"\n{\"isError\":true,\"errorText\":\"boom\"}", Failed("boom")),
            ("\"a\"\n{\"errors\":[{\"message\":\"boom\"}]}", Failed("boom")),
            ("\"a\"\n{\"errors\":[]}", Done("a")),
            ("\"a\"\n{\"errorMessage\":\"boom\",\"errorType\":\"E\"}", Failed("boom")),
            ("\"a\"\n{\"errorMessage\":\"boom\"}", Failed("boom")),
            ("\"a\"\n{\"errorMessage\":\"\"}", Done("a")),
            ("\"a\"\n{\"statusCode\":500,\"body\":\"boom\"}", Failed("boom")),
            ("\"a\"\n{\"statusCode\":200}", Done("a")),
            ("\"a\"\n{\"throttlingException\":{\"message\":\"boom\"}}", Failed("boom")),
            ("\"a\"\n\"{\\\"error\\\": \\\"boom\\\"}\"", Failed("boom")),
            ("\"a\"\n\"data: {\\\"error\\\": \\\"boom\\\"}\\n\\n\"", Failed("boom")),
            ("\"data: {\\\"text\\\": \\\"a\\\"}\\n\\n\"\n\"data: {\\\"text\\\": \\\"b\\\"}\\n\\n\"", Done("ab")),
            ("\"{\\\"a\\\": 1}\"", Done("{\"a\": 1}")),
            ("{\"error\":\"boom\"}\n{\"text\":\"a\"}", Done("a")),
            ("{\"error\":\"boom\"}\n\"a\"", Done("a")),
            ("{\"error\":\"boom\"}\n{\"message\":\"goodbye\"}", Failed("boom")),
            ("{\"error\":\"boom\"}\n{\"usage\":{\"inputTokens\":5}}\n{\"done\":true}\n[DONE]", Failed("boom")),
            ("{\"error\":\"boom\"}\n{\"status\":\"done\"}\n{\"metadata\":{\"a\":1}}", Failed("boom")),
            ("{\"error\":\"boom\"}\n{\"text\":\"x\",\"error\":\"again\"}", Failed("again")),
            ("{\"type\":\"tool_result\",\"error\":\"no\",\"content\":\"no\"}\n{\"text\":\"a\"}", Done("a")),
            ("{\"text\":\"a\"}\n{\"type\":\"tool_result\",\"status\":\"error\",\"error\":\"no\"}", Done("a")),
            ("{\"text\":\"a\"}\n{\"toolUseId\":\"1\",\"error\":\"no\"}", Done("a")),
            ("{\"text\":\"a\"}\n{\"progress\":50,\"error\":null}", Done("a")),
            ("\"a\"\n{\"error\":\"Serialization failed\",\"original_type\":\"X\"}", Done("a")),
            ("{\"text\":\"a\",\"stop_reason\":\"max_tokens\"}", Short(MaxTokens)),
            ("{\"text\":\"a\"}\n{\"stopReason\":\"guardrailIntervened\"}", Short(Guardrail)),
            ("{\"text\":\"a\"}\n{\"finish_reason\":\"content_filter\"}", Short(ContentFilter)),
            ("{\"finish_reason\":\"length\"}\n{\"text\":\"a\",\"finish_reason\":\"stop\"}", Done("a")),
            ("{\"text\":\"a\",\"finish_reason\":null}", Done("a")),
            ("\"<strands.Agent object at 0x7f>\"\n\"a\"", Done("a")),
            ("event: token\na\nevent: token\nb", Done("ab")),
            ("a\nb\nnull\n[DONE]", Done("ab")),
        ],
    );
    // Events of an unknown kind: completed, but not in silence.
    let unknown = check("unknown", SSE, &sse("{\"kind\":\"tick\"}\n{\"kind\":\"tock\"}"), &Done(""));
    assert_eq!(unknown.progress.events, 2);
    check("unknown", NDJSON, "{\"kind\":\"tick\"}\nnot json\n", &Done(""));
    check("unknown", SSE, "data: [DONE]\n\n", &Done(""));
    check("generic", NDJSON, "{\"text\":\"a\"}\n{\"text\":\"b\"}\n", &Done("ab"));
    check("generic", NDJSON, "{\"error\": \"boom\"}\n", &Failed("boom"));
    check("generic", NDJSON, "\"a\"\n\"b\"\n", &Done("ab"));
    for (lines, usage) in [
        (
            "{\"usage\":{\"inputTokens\":1,\"outputTokens\":2}}\n{\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}",
            [4, 6, 0, 0],
        ),
        ("{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}", [1, 2, 0, 0]),
        (
            "{\"usageMetadata\":{\"promptTokenCount\":1,\"candidatesTokenCount\":2,\"cachedContentTokenCount\":1}}",
            [1, 2, 1, 0],
        ),
        (
            "{\"usage_metadata\":{\"input_tokens\":1,\"output_tokens\":2,\"input_token_details\":{\"cache_read\":1,\"cache_creation\":2}}}",
            [1, 2, 1, 2],
        ),
        ("{\"metadata\":{\"usage\":{\"inputTokens\":1}}}", [1, 0, 0, 0]),
    ] {
        assert_eq!(usage_of(lines), Some(usage), "{lines}");
    }
    assert_eq!(usage_of("{\"messages\":[{\"usage\":{\"inputTokens\":1}}]}"), None);
}

#[test]
fn generic_documents() {
    documents(
        "any",
        &[
            (r#"{"response":"a","status":"success"}"#, Done("a")),
            (r#"{"result":{"role":"assistant","content":[{"text":"a"}]}}"#, Done("a")),
            (r#"{"success":false,"message":"boom"}"#, Failed("boom")),
            (r#"{"errorMessage":"boom","errorType":"KeyError","stackTrace":[]}"#, Failed("boom")),
            (r#"{"statusCode":502,"body":"{}","message":"boom"}"#, Failed("boom")),
            (r#"{"result":"a","stop_reason":"guardrail_intervened"}"#, Short(Guardrail)),
            (r#"{"result":"a","error":null}"#, Done("a")),
            (r#""{\"error\":\"boom\"}""#, Failed("boom")),
            (r#""{\"answer\":\"a\"}""#, Done("a")),
            (r#""{\"x\":1}""#, Done("{\"x\":1}")),
            ("null", Done("")),
            ("\"\"", Done("")),
            ("\"<object object at 0x7f>\"", Done("")),
            ("[\"a\",\"b\"]", Done("ab")),
            ("[]", Done("")),
            ("Hello there", Done("Hello there")),
            ("\"Hello,\" she said.", Done("\"Hello,\" she said.")),
            ("[Docs](https://example.com) say so", Done("[Docs](https://example.com) say so")),
            ("[1]: https://example.com", Done("[1]: https://example.com")),
            ("[10:30] Bob: hello", Done("[10:30] Bob: hello")),
            ("[1], [2] and [3] say so", Done("[1], [2] and [3] say so")),
            ("[\"a\" or \"b\"] will do", Done("[\"a\" or \"b\"] will do")),
            ("{\"type\":\"message\",\"content\":\"a\"}", Done("a")),
        ],
    );
    for body in [
        "{\"result\":\"a\"",
        "{'result': 'a'}",
        "\"a",
        "<html>",
        "<!DOCTYPE html>",
        "[1, 2",
        "[true, fal",
        "[{\"a\":1}",
        "[{\"a\":1},]",
        "[\"a\",\"b\"]\n[\"c\"]",
    ] {
        assert_eq!(
            decode(JSON, [body.as_bytes()], End::Framed).verdict,
            Verdict::Failed(AnswerError::NotJson),
            "{body}"
        );
    }
}

#[test]
fn plain_text() {
    let plain = Some("text/plain; charset=utf-8");
    for (body, expected) in [
        ("Hello", Done("Hello")),
        ("Hello\n\n{\"error\":\"no\"}\n", Done("Hello\n\n{\"error\":\"no\"}")),
        ("{name}, hello", Done("{name}, hello")),
        ("[1] is a footnote", Done("[1] is a footnote")),
        ("grüß dich 🚀", Done("grüß dich 🚀")),
        ("{\n  \"result\": \"a\"\n}", Done("a")),
        ("{\"text\":\"a\"}\n{\"error\":\"boom\"}\n", Failed("boom")),
    ] {
        check("any", plain, body, &expected);
        check("any", Some("application/octet-stream"), body, &expected);
    }
    for of in [plain, JSON, NDJSON, None, Some("application/octet-stream")] {
        assert_eq!(decode(of, [], End::Framed).verdict, Verdict::Failed(AnswerError::Empty), "{of:?}");
    }
    let outcome = decode(plain, [b"Hel".as_slice()], End::Torn);
    assert_eq!((outcome.verdict, outcome.progress.events), (Verdict::Interrupted(Interruption::Torn), 1));
}

#[test]
fn content_decides_where_content_types_leave_it_open() {
    let lines = "{\"text\":\"a\"}\n{\"text\":\"b\"}\n";
    for of in [
        "application/ndjson",
        "application/jsonl",
        "application/json-lines",
        "application/octet-stream",
        "text/json",
        "application/x+json",
    ] {
        check("generic", Some(of), lines, &Done("ab"));
        check("generic", Some(of), &sse("{\"text\":\"a\"}"), &Done("a"));
    }
    for of in ["application/json", "text/json", "application/problem+json"] {
        check("generic", Some(of), "{\n \"result\": \"a\"\n}", &Done("a"));
    }
    let moca = "{\"type\": \"modelContentBlockDeltaEvent\", \"delta\": {\"text\": \"zipped\"}}\n{\"type\": \"serverCompletionEvent\"}\n";
    for of in
        ["application/json", "application/octet-stream", "application/x-ndjson", "text/plain", "text/event-stream"]
    {
        check("strands-typescript", Some(of), moca, &Done("zipped"));
    }
}

#[test]
fn the_row_that_asks_for_more_wins() {
    for (protocol, lines) in [
        ("mastra", r#"{"type":"start","runId":"1","payload":{}}"#),
        ("vercel", r#"{"type":"start"}"#),
        ("strands", r#"{"event":{"messageStart":{"role":"assistant"}}}"#),
        ("bedrock", r#"{"messageStart":{"role":"assistant"}}"#),
        ("anthropic", r#"{"type":"message_start","message":{"role":"assistant"}}"#),
        ("strands", r#"{"message":{"role":"assistant","content":[]}}"#),
        ("ag-ui", "event: data\n{\"type\":\"RUN_STARTED\"}"),
        ("langgraph", "event: metadata\n{\"run_id\":\"1\"}\nevent: values\n{\"messages\":[]}"),
        ("langserve", "event: metadata\n{\"run_id\":\"1\"}\nevent: data\n\"a\""),
        ("strands-typescript", "event: message\n{\"type\":\"beforeInvocationEvent\"}"),
        (
            "a2a",
            "event: message\n{\"jsonrpc\":\"2.0\",\"result\":{\"kind\":\"task\",\"status\":{\"state\":\"working\"}}}",
        ),
        ("mcp", "event: message\n{\"jsonrpc\":\"2.0\",\"method\":\"x\"}"),
    ] {
        let outcome = decode(SSE, [sse(lines).as_bytes()], End::Framed);
        assert_eq!(outcome.protocol.as_str(), protocol, "{lines}");
    }
    // Recognised once, its rules decide, whatever else is sent.
    let switched =
        "{\"type\":\"RUN_STARTED\"}\n{\"type\":\"start\"}\n{\"type\":\"finish\"}\n{\"type\":\"serverCompletionEvent\"}";
    all("ag-ui", &[(switched, Cut)]);
    // Recognised late is recognised.
    all("ag-ui", &[("{\"status\":\"starting\"}\n\"hm\"\n{\"type\":\"RUN_STARTED\"}", Cut)]);
}

#[test]
fn a_protocol_that_is_set_decides_from_the_start() {
    let read = |protocol, of, body: &str| {
        let mut decoder = Decoder::new(of).expect("a type").with_protocol(Some(protocol));
        decoder.feed(body.as_bytes());
        decoder.finish(End::Framed)
    };
    for (protocol, of, body, expected) in [
        (Protocol::AgUi, SSE, sse("{\"text\":\"a\"}"), Verdict::Interrupted(Interruption::NoTerminalEvent)),
        (Protocol::A2a, JSON, "{\"result\":\"a\"}".to_owned(), Verdict::Interrupted(Interruption::NoTerminalEvent)),
        (
            Protocol::Mcp,
            JSON,
            "{\"error\":\"boom\"}".to_owned(),
            Verdict::Failed(AnswerError::Reported { message: Some("boom".into()) }),
        ),
        (Protocol::Langgraph, SSE, sse("event: values\n{\"messages\":[]}"), Verdict::Completed),
        (Protocol::Invocations, JSON, "{\"result\":\"a\"}".to_owned(), Verdict::Completed),
        (Protocol::Custom, SSE, sse("{\"type\":\"RUN_STARTED\"}\n{\"type\":\"RUN_FINISHED\"}"), Verdict::Completed),
    ] {
        assert_eq!(read(protocol, of, &body).verdict, expected, "{protocol} {body}");
    }
    assert_eq!(read(Protocol::Custom, SSE, &sse("{\"type\":\"RUN_FINISHED\"}")).protocol, Protocol::AgUi);
}

#[test]
fn an_accepted_call_is_at_work() {
    let read = |of, body: &str, end| {
        let mut decoder = Decoder::new(of).expect("a type").with_status(202);
        decoder.feed(body.as_bytes());
        decoder.finish(end)
    };
    for body in ["", "{\"taskId\":\"1\"}", "{\"result\":\"a\"}", "<html>"] {
        assert_eq!(read(JSON, body, End::Framed).verdict, Verdict::Incomplete(Working), "{body}");
    }
    assert!(matches!(read(JSON, "{\"error\":\"boom\"}", End::Framed).verdict, Verdict::Failed(_)));
    assert_eq!(read(JSON, "{\"a\":1}", End::Torn).verdict, Verdict::Interrupted(Interruption::Torn));
}

/// An array larger than one event is read to its last element, in bounded memory.
#[test]
fn the_last_element_of_a_large_array_decides() {
    let event = |rest: &str| {
        format!(
            r#"{{"invocationId":"i","author":"a","content":{{"parts":[{{"text":"{}"}}]}}{rest}}}"#,
            "x".repeat(1000)
        )
    };
    let mut body = "[".to_owned();
    for _ in 0..3000 {
        body += &event("");
        body.push(',');
    }
    body += &event(r#","errorCode":"E","errorMessage":"boom""#);
    body.push(']');
    let mut decoder = Decoder::new(JSON).expect("JSON");
    for chunk in body.as_bytes().chunks(60_000) {
        decoder.feed(chunk);
        assert!(decoder.buffered() < 128 * 1024, "{} bytes held", decoder.buffered());
    }
    let outcome = decoder.finish(End::Framed);
    assert_eq!(outcome.verdict, Verdict::Failed(AnswerError::Reported { message: Some("boom".into()) }));
    assert_eq!(outcome.progress.events, 3001);
}
