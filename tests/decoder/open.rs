//! What is still open when an answer ends, and what takes back a failure or ends a question.

use agent_trigger::domain::answer::{AnswerError, Verdict};
use agent_trigger::domain::finish_reason::FinishReason;

use crate::{JSON, NDJSON, SSE, whole};

fn failed(words: &str) -> Verdict {
    Verdict::Failed(AnswerError::Reported { message: Some(words.to_owned()) })
}

const WAITS: Verdict = Verdict::Incomplete(FinishReason::Interrupt);

/// Checks one body. The answer's text counts only if the run completes.
fn check(of: Option<&str>, body: &str, verdict: &Verdict, text: &str) {
    for size in [1, 7, body.len()] {
        let outcome = crate::decode(of, body.as_bytes().chunks(size), agent_trigger::domain::answer::End::Framed);
        assert_eq!(outcome.verdict, *verdict, "{body}");
        if *verdict == Verdict::Completed {
            assert_eq!(outcome.output.map(|output| output.text).unwrap_or_default(), text, "{body}");
        }
    }
}

/// OpenAI's Agents SDK: another turn or try alone takes nothing back.
#[test]
fn only_what_a_further_try_says_takes_the_last_one_back() {
    let of = |data: &str| format!("{{\"type\":\"raw_response_event\",\"data\":{data}}}\n");
    let begins = of(r#"{"type":"response.created"}"#);
    let failure = of(r#"{"type":"response.failed","response":{"error":{"message":"boom"}}}"#);
    let cut = of(r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"}}}"#);
    let says = of(r#"{"type":"response.output_text.delta","delta":"Done."}"#);
    let ends = of(r#"{"type":"response.completed","response":{}}"#);
    let own = "{\"error\":\"first try failed\"}\n".to_owned();
    for (events, verdict, text) in [
        (vec![&failure, &begins], failed("boom"), ""),
        (vec![&begins, &own, &begins], failed("first try failed"), ""),
        (vec![&cut, &begins], Verdict::Incomplete(FinishReason::MaxTokens), ""),
        (vec![&failure, &begins, &says], Verdict::Completed, "Done."),
        (vec![&failure, &begins, &ends], failed("boom"), ""),
        (vec![&begins, &says, &own, &ends], failed("first try failed"), ""),
        (vec![&cut, &begins, &says, &ends], Verdict::Completed, "Done."),
    ] {
        check(NDJSON, &events.into_iter().map(String::as_str).collect::<String>(), &verdict, text);
    }
}

/// A question is ended by what is about the same call, under all names of its id.
#[test]
fn each_question_waits_for_its_own_end() {
    const ASKED: &str = r#"{"type":"tool-approval-request","approvalId":"a1","toolCall":{"toolCallId":"c1"}}"#;
    for (parts, is_open) in [
        (
            r#"{"type":"tool-approval-request","approvalId":"a2","isAutomatic":true,"toolCall":{"toolCallId":"c2"}}"#,
            true,
        ),
        (r#"{"type":"tool-approval-response","approvalId":"a2","approved":true,"toolCall":{"toolCallId":"c2"}}"#, true),
        (r#"{"type":"tool-output-denied","toolCallId":"c2"}"#, true),
        (r#"{"type":"tool-result","toolCallId":"c2","output":"a.txt"}"#, true),
        (r#"{"type":"tool-result","toolCallId":"c2","output":"a.txt"},{"type":"text","text":"Done."}"#, true),
        (r#"{"type":"tool-approval-response","approvalId":"a1","approved":true}"#, false),
        (r#"{"type":"tool-output-denied","toolCallId":"c1"}"#, false),
        (r#"{"type":"tool_result","tool_use_id":"c1","content":"ok"}"#, false),
        (r#"{"type":"tool_result","call_id":"c1","content":"ok"}"#, false),
    ] {
        let body = format!(r#"{{"content":[{ASKED},{parts}],"finishReason":"tool-calls"}}"#);
        assert_eq!(whole(JSON, &body).verdict, if is_open { WAITS } else { Verdict::Completed }, "{body}");
    }
    let asked = r#"{"type":"tool_approval_request","id":"a"}"#;
    for (parts, is_open) in [
        (r#"{"type":"mcp_tool_result","tool_use_id":"m1","content":[]}"#, true),
        (r#"{"type":"mcp_tool_result","tool_use_id":"m1","content":[]},{"type":"text","text":" "}"#, true),
        (r#"{"type":"mcp_tool_result","tool_use_id":"m1","content":[]},{"type":"reasoning","text":"So."}"#, true),
        (r#"{"type":"mcp_tool_result","tool_use_id":"m1","content":[]},{"type":"text","text":"Done."}"#, false),
        (r#"{"type":"tool_result","output":"ok"},{"type":"output_text","text":"Done."}"#, false),
        (r#"{"type":"tool_result","output":"ok"},{"text":"Done."}"#, false),
        (r#"{"type":"tool_result","output":"ok"},{"type":"tool_approval_request","id":"b"},{"text":"Done."}"#, true),
    ] {
        let body = format!(r#"{{"content":[{asked},{parts}]}}"#);
        assert_eq!(whole(JSON, &body).verdict, if is_open { WAITS } else { Verdict::Completed }, "{body}");
    }
    let mcp = r#"{"type":"mcp_approval_request","id":"r1"},{"type":"mcp_approval_request","id":"r2"},{"type":"mcp_approval_response","approval_request_id":"r1","approve":true}"#;
    assert_eq!(whole(JSON, format!(r#"{{"content":[{mcp}]}}"#)).verdict, WAITS);
    let two =
        r#"{"type":"tool_approval_request","tool_call_id":"c1"},{"type":"tool_approval_request","tool_call_id":"c2"}"#;
    let body = format!(r#"{{"content":[{two},{{"type":"tool_result","tool_call_id":"c1"}},{{"text":"Done."}}]}}"#);
    assert_eq!(whole(JSON, &body).verdict, WAITS, "{body}");
    let of_call = r#"{"type":"tool_approval_request","tool_call":{"id":"c1"}},{"type":"tool_result","tool_use_id":"c2"},{"text":"Wait."}"#;
    assert_eq!(whole(JSON, format!(r#"{{"content":[{of_call}]}}"#)).verdict, WAITS);
    let result = r#"{"type":"tool_result","output":"ok"}"#;
    let beside = format!(r#"{{"text":"Done.","content":[{asked},{result}]}}"#);
    assert_eq!(whole(JSON, beside).verdict, Verdict::Completed);
    let thought = format!(r#"{{"content":[{asked},{result},{{"text":"So.","thought":true}}]}}"#);
    assert_eq!(whole(JSON, thought).verdict, WAITS);
    let many = |count: usize| {
        let parts = ["approval-request", "result"].map(|kind| {
            (0..64).map(|at| format!(r#"{{"type":"tool-{kind}","toolCallId":"c{at}"}}"#)).collect::<Vec<_>>().join(",")
        });
        let more = r#"{"type":"tool-approval-request","toolCallId":"more"},"#.repeat(count);
        format!(r#"{{"content":[{},{more}{},{{"text":"Done."}}]}}"#, parts[0], parts[1])
    };
    assert_eq!(whole(JSON, many(0)).verdict, Verdict::Completed);
    assert_eq!(whole(JSON, many(1)).verdict, WAITS);
}

/// The UI stream of the AI SDK: within a step, too.
#[test]
fn a_stream_may_wait_for_the_answer_to_its_question() {
    let stream = |parts: &[&str]| {
        let parts = ["{\"type\":\"start\"}", "{\"type\":\"start-step\"}"].iter().chain(parts);
        parts.chain(&["{\"type\":\"finish\"}"]).map(|part| format!("data: {part}\n\n")).collect::<String>()
    };
    let asks = r#"{"type":"tool-approval-request","approvalId":"a1","toolCallId":"c1"}"#;
    let given = r#"{"type":"tool-approval-response","approvalId":"a1","approved":true}"#;
    let output = r#"{"type":"tool-output-available","toolCallId":"c1","output":"ok"}"#;
    let others = r#"{"type":"tool-output-available","toolCallId":"c2","output":"ok"}"#;
    let text = r#"{"type":"text-delta","id":"t","delta":"Done."}"#;
    for (parts, verdict) in [
        (vec![asks, text], WAITS),
        (vec![asks, others, text], WAITS),
        (vec![asks, given, output, text], Verdict::Completed),
        (vec![asks, output, text], Verdict::Completed),
        (vec![asks, "{\"type\":\"start-step\"}", text], Verdict::Completed),
    ] {
        check(SSE, &stream(&parts), &verdict, "Done.");
    }
}

/// The data stream of the AI SDK up to version 4: its text goes on behind `length` alone.
#[test]
fn the_end_of_a_step_says_whether_another_follows() {
    let end = |reason: &str, continued: bool| {
        format!("e:{{\"finishReason\":\"{reason}\",\"usage\":{{}},\"isContinued\":{continued}}}\n")
    };
    let (one, two) = ("0:\"One.\"\n", "f:{\"messageId\":\"m\"}\n0:\"Two.\"\n");
    let last = end("stop", false);
    let torn = || whole(None, "0:\"a\"\ne:{\"finishReason\":\"length\",\"isContinued\":true}\n").verdict;
    for (body, verdict, text) in [
        (format!("{one}{}{two}{last}", end("tool-calls", true)), Verdict::Completed, "Two."),
        (format!("{one}{}{two}{last}", end("length", true)), Verdict::Completed, "One.Two."),
        (format!("{one}{}", end("stop", true)), Verdict::Completed, "One."),
        (format!("{one}{}", end("tool-calls", false)), Verdict::Completed, "One."),
        (format!("{one}{}", end("tool-calls", true)), torn(), ""),
        (format!("{one}{}", end("tool_calls", true)), torn(), ""),
        (format!("f:{{\"messageId\":\"m\"}}\n{one}{}", end("tool-calls", false)), torn(), ""),
        (format!("f:{{\"messageId\":\"m\"}}\n{one}{}", end("stop", false)), Verdict::Completed, "One."),
        (format!("{one}{}a:{{\"toolCallId\":\"c\",\"result\":\"x\"}}\n", end("tool-calls", false)), torn(), ""),
    ] {
        check(None, &body, &verdict, text);
    }
}

/// An error between server-sent events, in the spellings of several servers.
#[test]
fn a_line_of_an_error_between_events_is_a_report() {
    let message = "data: {\"text\":\"Three \"}\n\n";
    for error in [
        "error: {\"error\":{\"status\":\"INTERNAL\",\"message\":\"boom\"}}",
        "error: {\"error\": {\"status\": \"INTERNAL\", \"message\": \"boom\"}}",
        "error: {\"error\": \"boom\"}",
        "error:{\"message\": \"boom\"}",
        "error: \"boom\"",
    ] {
        for end in ["", "\n", "\n\n"] {
            check(SSE, &format!("{message}{error}{end}"), &failed("boom"), "");
            check(SSE, &format!("data: {{\"text\":\"Hel\"}}\n{error}{end}"), &failed("boom"), "");
            check(
                SSE,
                &format!("{message}{error}\n\ndata: {{\"text\":\"files.\"}}\n\n"),
                &Verdict::Completed,
                "Three files.",
            );
        }
        for of in [None, Some("text/plain"), SSE, NDJSON] {
            check(of, &format!("{error}\n\n"), &failed("boom"), "");
        }
        for quoted in ["", "\n", "\n\n"] {
            let body = format!("data: In the log:\n{quoted}{error}\n{quoted}data: It is harmless.\n\n");
            assert_eq!(whole(SSE, &body).verdict, Verdict::Completed, "{body}");
        }
    }
    let text = "error: {\"level\":\"warn\"}";
    check(Some("text/plain"), text, &Verdict::Completed, text);
    for text in [
        "error: {\"level\":\"warn\"}\nNothing else came in.",
        "error: {\"message\":\"quota exceeded\"}\n\nThat line means that the quota is used up.",
    ] {
        check(Some("text/plain"), text, &Verdict::Completed, text);
        check(None, text, &Verdict::Completed, text);
    }
    let sole = "error: {\"error\":{\"message\":\"boom\"}}";
    for of in [None, Some("text/plain"), SSE] {
        check(of, sole, &failed("boom"), "");
        check(of, &format!("{sole}\n"), &failed("boom"), "");
        check(of, &format!("{sole}\n\ndata: {{\"text\":\"Done.\"}}\n\n"), &Verdict::Completed, "Done.");
        let large = sole.replace("boom", &"boom ".repeat(2_000));
        assert!(matches!(whole(of, format!("{large}\n\n")).verdict, Verdict::Failed(_)));
    }
    let indented = "data: The config says:\n\n  error: {\"retry\": 3}\n\n";
    assert_eq!(whole(SSE, indented).verdict, Verdict::Completed);
    for nothing in ["{}", "\"\"", "{\"error\":null}"] {
        check(SSE, &format!("{message}error: {nothing}\n\n"), &Verdict::Completed, "Three ");
    }
    let known = "data: {\"error\":\"no such bucket\"}\n\n";
    check(SSE, &format!("{known}error: {{}}\n\n"), &failed("no such bucket"), "");
    let by_code = whole(SSE, format!("{message}error: {{\"code\":500}}\n\n")).verdict;
    assert_eq!(by_code, failed("{\"code\":500}"));
    let long =
        format!("{message}error: {{\"error\":{{\"message\":\"boom\",\"stack\":\"{}\"}}}}\n\n", "at x ".repeat(2_000));
    check(SSE, &long, &failed("boom"), "");
}

/// LangServe's event stream, as LangChain's JavaScript sends it, and with models and tools alone.
#[test]
fn an_event_stream_is_read_for_its_run() {
    let on = |event: &str, data: &str, run: &str| {
        format!("event: data\ndata: {{\"event\":\"{event}\",\"data\":{data},\"run_id\":\"{run}\"}}\n\n")
    };
    let packed = |text: &str, reason: &str| {
        format!(
            r#"{{"lc":1,"type":"constructor","id":["langchain_core","messages","AIMessageChunk"],"kwargs":{{"content":"{text}","response_metadata":{{{reason}}}}}}}"#
        )
    };
    let chunk = |text: &str| format!("{{\"chunk\":{}}}", packed(text, ""));
    let begins = on("on_chain_start", "{\"input\":\"x\"}", "r");
    let pieces = on("on_chain_stream", &chunk("Done"), "r") + &on("on_chain_stream", &chunk("."), "r");
    let output = |output: &str| on("on_chain_end", &format!("{{\"output\":{output}}}"), "r");
    let model = |text: &str, run: &str| {
        on("on_chat_model_start", "{}", run)
            + &on("on_chat_model_stream", &format!("{{\"chunk\":{{\"content\":\"{text}\"}}}}"), run)
    };
    let tool = on("on_tool_start", "{}", "t") + &on("on_tool_error", "{\"error\":\"no such bucket\"}", "t");
    let cut = Verdict::Incomplete(FinishReason::MaxTokens);
    let length = r#""finish_reason":"length""#;
    let thread = |reason| {
        let last = packed("Done.", reason).replace("AIMessageChunk", "AIMessage");
        format!(r#"{{"messages":[{},{last}]}}"#, packed("Do it.", "").replace("AIMessageChunk", "HumanMessage"))
    };
    // The message of before the user's last one.
    let earlier = packed("Earlier.", length).replace("AIMessageChunk", "AIMessage");
    let before = thread("").replacen("{\"messages\":[", &format!("{{\"messages\":[{earlier},"), 1);
    let speaks =
        |text: &str, run: &str| on("on_chat_model_stream", &format!("{{\"chunk\":{{\"content\":\"{text}\"}}}}"), run);
    let ends_by_length = model("Let me", "m1")
        + &on(
            "on_chat_model_end",
            &format!("{{\"output\":{{\"content\":\"Let me\",\"response_metadata\":{{{length}}}}}}}"),
            "m1",
        );
    for (events, verdict) in [
        (begins.clone() + &pieces, Verdict::Completed),
        (begins.clone() + &pieces + &output(&packed("Done.", "")), Verdict::Completed),
        (begins.clone() + &pieces + &output(&packed("Done.", length)), cut.clone()),
        (begins.clone() + &output(&thread("")), Verdict::Completed),
        (begins.clone() + &output(&thread(length)), cut),
        (begins.clone() + &output("{\"question\":\"x\",\"answer\":\"Done.\"}"), Verdict::Completed),
        (tool.clone() + &model("Done.", "m1"), Verdict::Completed),
        (model("Let me look.", "m1") + &tool + &model("Done.", "m2"), Verdict::Completed),
        (
            begins.clone()
                + &output(
                    "{\"output\":\"Done.\",\"messages\":[{\"type\":\"ai\",\"content\":\"Final Answer: Done.\"}]}",
                ),
            Verdict::Completed,
        ),
        (begins.clone() + &output(&before), Verdict::Completed),
        (on("on_retriever_start", "{}", "t") + &model("Done.", "m1"), Verdict::Completed),
        (
            on("on_custom_event", "{\"a\":1}", "r")
                + &on("on_chat_model_stream", "{\"chunk\":{\"content\":\"Done.\"}}", "m1"),
            Verdict::Completed,
        ),
        (
            model("Let me", "m1") + &model("Done", "m2") + &speaks(" look.", "m1") + &speaks(".", "m2"),
            Verdict::Completed,
        ),
        (ends_by_length.clone() + &model("Done.", "m2"), Verdict::Completed),
        (on("on_prompt_start", "{}", "p") + &model("Done.", "m1"), Verdict::Completed),
        (begins.clone() + &pieces + &output("\"Done.\""), Verdict::Completed),
        (
            begins.clone()
                + &pieces
                + &on(
                    "on_llm_end",
                    r#"{"output":{"generations":[[{"text":"Done.","generation_info":{"finish_reason":"length"}}]]}}"#,
                    "m1",
                )
                + &output("\"Done.\""),
            Verdict::Incomplete(FinishReason::MaxTokens),
        ),
        (
            begins.clone() + &pieces + &ends_by_length + &output("\"Done.\""),
            Verdict::Incomplete(FinishReason::MaxTokens),
        ),
        (begins + &on("on_chain_error", "{\"error\":\"boom\"}", "r"), failed("boom")),
    ] {
        check(SSE, &format!("{events}event: end\n\n"), &verdict, "Done.");
    }
}

#[test]
fn words_of_a_user_are_no_result() {
    let users = r#"{"jsonrpc":"2.0","id":1,"result":{"kind":"message","messageId":"m","role":"user","parts":[{"kind":"text","text":"Do it."}]}}"#;
    let agents = users.replace("\"user\"", "\"agent\"").replace("Do it.", "Done.");
    check(SSE, &format!("data: {users}\n\ndata: {agents}\n\n"), &Verdict::Completed, "Done.");
    assert_ne!(whole(JSON, users).verdict, Verdict::Completed);
    let chat = r#"{"lc":1,"type":"constructor","id":["langchain_core","messages","ChatMessage"],"kwargs":{"content":"Done.","role":"assistant"}}"#;
    check(NDJSON, &format!("{chat}\n"), &Verdict::Completed, "Done.");
}

/// Where LangChain, LangServe, ADK and agents of one's own say how the model stopped.
#[test]
fn a_stop_reason_may_stand_in_metadata() {
    let cut = Verdict::Incomplete(FinishReason::MaxTokens);
    let message = r#"{"content":"Three ","type":"ai","response_metadata":{"finish_reason":"length"},"usage_metadata":{"input_tokens":3,"output_tokens":2}}"#;
    for (of, body) in [
        (JSON, message.to_owned()),
        (JSON, format!(r#"{{"output":{message},"metadata":{{"run_id":"r"}}}}"#)),
        (JSON, r#"{"answer":"Three ","metadata":{"finish_reason":"length"}}"#.to_owned()),
        (JSON, message.replace(r#""response_metadata""#, r#""metadata":{"run":"1"},"response_metadata""#)),
        (JSON, message.replace(r#""response_metadata""#, r#""metadata":{"finish_reason":""},"response_metadata""#)),
        (JSON, format!(r#"{{"output":{}}}"#, message.replace(r#""type""#, r#""finish_reason":null,"type""#))),
        (SSE, format!("data: {{\"chunk\":{message}}}\n\n")),
        (NDJSON, "{\"text\":\"Three \"}\n{\"metadata\":{\"finish_reason\":\"length\"}}\n".to_owned()),
    ] {
        let outcome = whole(of, &body);
        assert_eq!(outcome.verdict, cut, "{body}");
        assert_eq!(outcome.output.map(|output| output.text.trim().to_owned()).as_deref(), Some("Three"), "{body}");
    }
    for (of, body) in [
        (JSON, message.replace("length", "stop")),
        (JSON, r#"{"answer":"Three ","metadata":{"length":"max_tokens"}}"#.to_owned()),
    ] {
        assert_eq!(whole(of, &body).verdict, Verdict::Completed, "{body}");
    }
    let agui = |events: &[&str]| {
        let text = r#"{"type":"TEXT_MESSAGE_CHUNK","messageId":"m","role":"assistant","delta":"Three "}"#;
        let begins = ["{\"type\":\"RUN_STARTED\"}", text];
        let all = begins.iter().chain(events).chain(&["{\"type\":\"RUN_FINISHED\"}"]);
        all.map(|event| format!("data: {event}\n\n")).collect::<String>()
    };
    let raw = |reason: &str, id: &str| {
        format!(
            r#"{{"type":"RAW","source":"langgraph","event":{{"event":"on_chat_model_end","data":{{"output":{{"content":"Three ","id":"{id}","response_metadata":{{"finish_reason":"{reason}"}}}}}},"run_id":"r"}}}}"#
        )
    };
    let calls = |tool: &str| format!(r#"{{"type":"TOOL_CALL_START","toolCallId":"c","toolCallName":"{tool}"}}"#);
    let again = r#"{"type":"TEXT_MESSAGE_CHUNK","messageId":"m2","role":"assistant","delta":"Three files."}"#;
    for (events, verdict) in [
        (vec![raw("length", "m")], cut),
        (vec![raw("length", "title")], Verdict::Completed),
        (vec![raw("stop", "m")], Verdict::Completed),
        (vec![raw("error", "m")], Verdict::Failed(AnswerError::Reported { message: None })),
        (vec![raw("length", "m"), again.to_owned()], Verdict::Completed),
        (vec![raw("length", "thinks").replace("Three ", "")], Verdict::Incomplete(FinishReason::MaxTokens)),
        (
            vec![raw("length", "m"), raw("tool_calls", "calls").replace("Three ", "")],
            Verdict::Incomplete(FinishReason::MaxTokens),
        ),
        (vec![calls("adk_request_confirmation")], WAITS),
        (vec![calls("adk_request_credential")], Verdict::Incomplete(FinishReason::AuthRequired)),
        (vec![calls("request_report")], Verdict::Completed),
        (vec![calls("adk_request_confirmation"), again.to_owned()], Verdict::Completed),
    ] {
        let body = agui(&events.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(whole(SSE, &body).verdict, verdict, "{body}");
    }
    let error = r#"{"event_type":"error","message":"boom"}"#;
    assert_eq!(whole(NDJSON, format!("{{\"event_type\":\"text\",\"text\":\"a\"}}\n{error}\n")).verdict, failed("boom"));
}

/// LangChain keeps the stop reason of the model under the name that its provider gives it.
#[test]
fn a_models_own_word_is_heard_beside_a_message_of_langchain() {
    let cut = Verdict::Incomplete(FinishReason::MaxTokens);
    for (beside, expected) in [
        (r#""response_metadata":{"finish_reason":"length"}"#, cut.clone()),
        (r#""response_metadata":{"finishReason":"MAX_TOKENS"}"#, cut.clone()),
        (r#""response_metadata":{"stopReason":"max_tokens"}"#, cut.clone()),
        (
            r#""response_metadata":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}"#,
            cut.clone(),
        ),
        (r#""additional_kwargs":{"stop_reason":"max_tokens"},"response_metadata":{}"#, cut),
        (r#""response_metadata":{"finishReason":"SAFETY"}"#, Verdict::Incomplete(FinishReason::ContentFilter)),
        (r#""response_metadata":{"finishReason":"LANGUAGE"}"#, Verdict::Incomplete(FinishReason::ContentFilter)),
        (r#""response_metadata":{"finishReason":"TOO_MANY_TOOL_CALLS"}"#, Verdict::Incomplete(FinishReason::Limit)),
        (
            r#""response_metadata":{"finishReason":"UNEXPECTED_TOOL_CALL"}"#,
            Verdict::Failed(AnswerError::Reported { message: None }),
        ),
        (r#""response_metadata":{"finishReason":"STOP"}"#, Verdict::Completed),
    ] {
        let message = format!(r#"{{"type":"ai","content":"Three ",{beside}}}"#);
        let state = format!("event: metadata\ndata: {{}}\n\nevent: values\ndata: {{\"messages\":[{message}]}}\n\n");
        assert_eq!(whole(SSE, &state).verdict, expected, "{state}");
    }
}

/// What an agent says beside the raw answer of a model.
#[test]
fn a_model_that_finished_does_not_hide_what_its_agent_says() {
    let gemini = |text: &str, reason: &str| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}],"role":"model"}},"finishReason":"{reason}"}}]}}"#
        )
    };
    let cut = Verdict::Incomplete(FinishReason::MaxTokens);
    let which = gemini("Which?", "STOP");
    let three = gemini("Three ", "MAX_TOKENS");
    for (body, expected) in [
        (
            format!(r#"{{"status":"input_required","response":{which}}}"#),
            Verdict::Incomplete(FinishReason::InputRequired),
        ),
        (format!(r#"{{"status":"cancelled","response":{which}}}"#), Verdict::Incomplete(FinishReason::Cancelled)),
        (format!(r#"{{"response":{which},"metadata":{{"finish_reason":"length"}}}}"#), cut.clone()),
        (format!(r#"{{"response":{three},"metadata":{{"finish_reason":"stop"}}}}"#), cut.clone()),
        (format!(r#"{{"data":{{"results":[{{"title":"A file"}}]}},"response":{three}}}"#), cut.clone()),
        (
            r#"{"status":"input_required","answer":"Which?","metadata":{"finish_reason":"stop"}}"#.to_owned(),
            Verdict::Incomplete(FinishReason::InputRequired),
        ),
        (r#"{"answer":"Three ","metadata":null,"metadata":{"finish_reason":"length"}}"#.to_owned(), cut.clone()),
        (
            r#"{"text":"Done.","prompt_feedback":{"block_reason":"None","safety_ratings":[]}}"#.to_owned(),
            Verdict::Completed,
        ),
        (
            r#"{"request_id":"r","outputs":[{"index":0,"text":"Three ","finish_reason":"length","stop_reason":null}]}"#
                .to_owned(),
            cut.clone(),
        ),
        (format!(r#"{{"response":{which}}}"#), Verdict::Completed),
        (
            r#"{"status":"input_required","output":{"text":"Which?","stop_reason":"end_turn"}}"#.to_owned(),
            Verdict::Incomplete(FinishReason::InputRequired),
        ),
        (
            r#"{"candidates":[{"finishReason":"MAX_TOKENS"}],"usageMetadata":{"promptTokenCount":10}}"#.to_owned(),
            cut.clone(),
        ),
        (r#"{"candidates":[{"finishReason":"SAFETY"}]}"#.to_owned(), Verdict::Incomplete(FinishReason::ContentFilter)),
        (
            r#"{"candidates":[{"name":"Ada","finishReason":"cancelled"}],"answer":"Ada."}"#.to_owned(),
            Verdict::Completed,
        ),
        (r#"{"outputs":[{"text":"Done.","stop_reason":128009}]}"#.to_owned(), Verdict::Completed),
    ] {
        assert_eq!(whole(JSON, &body).verdict, expected, "{body}");
    }
    check(SSE, &format!("data: {{\"message\":{three}}}\n\n"), &cut, "");
    let pieces = "data: {\"text\":\"Three \"}\n\ndata: {\"text\":\"files.\"}\n\n";
    let all = gemini("Three files.", "STOP");
    check(SSE, &format!("{pieces}data: {{\"result\":{all}}}\n\n"), &Verdict::Completed, "Three files.");
    check(SSE, &format!("{pieces}data: {all}\n\n"), &Verdict::Completed, "Three files.");
    let two = "data: {\"choices\":[{\"index\":0,\"text\":\"Yes.\",\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[{\"index\":1,\"text\":\"No, beca\",\"finish_reason\":\"length\"}]}\n\n";
    check(SSE, two, &Verdict::Completed, "Yes.");
    let turns = format!(
        "data: {}\n\ndata: {{\"text\":\"(asks again) \"}}\n\ndata: {}\n\n",
        gemini("Three ", "STOP"),
        gemini("files.", "STOP")
    );
    check(SSE, &turns, &Verdict::Completed, "Three (asks again) files.");
    check(JSON, r#"{"completion":" Done.","stop_reason":"stop_sequence"}"#, &Verdict::Completed, " Done.");
    let share = r#"{"completion":"100%","stop_reason":null,"message":"Three files came in."}"#;
    check(JSON, share, &Verdict::Completed, "Three files came in.");
}

#[test]
fn tokens_are_counted_once() {
    let counts = |of, body: &str| whole(of, body).progress.usage.map(|usage| (usage.input_tokens, usage.output_tokens));
    let adk = |total: u32| {
        format!(
            r#"{{"invocationId":"i","author":"a","content":{{"parts":[{{"text":"Done."}}],"role":"model"}},"usageMetadata":{{"promptTokenCount":21,"candidatesTokenCount":30,"thoughtsTokenCount":20,"totalTokenCount":{total}}}}}"#
        )
    };
    assert_eq!(counts(SSE, &format!("data: {}\n\n", adk(51))), Some((21, 30)));
    assert_eq!(counts(SSE, &format!("data: {}\n\n", adk(71))), Some((21, 50)));
    let failed = r#"{"message":{"role":"assistant","content":[{"text":"Three "}]},"error":"no bucket","usage":{"inputTokens":21,"outputTokens":8}}"#;
    assert_eq!(counts(JSON, failed), Some((21, 8)));
    let piece = |more: &str| {
        format!(
            "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"a\"}}]}}}}],{more}\"usageMetadata\":{{\"promptTokenCount\":21,\"candidatesTokenCount\":3}}}}\n\n"
        )
    };
    let fails = piece("\"error\":{\"message\":\"overloaded\"},").replace(":3}", ":4}");
    assert_eq!(counts(SSE, &(piece("") + &fails)), Some((21, 4)));
    let named = piece("").replacen("data:", "event: tool_call\ndata:", 1).replace(":3}", ":4}");
    assert_eq!(counts(SSE, &(piece("") + &named)), Some((21, 4)));
    let named = piece("").replacen("data:", "event: agent_failed\ndata:", 1).replace(":3}", ":4}");
    assert_eq!(counts(SSE, &(piece("") + &named)), Some((21, 4)));
    let call = |input: u32, output: u32| {
        format!(
            "data: {{\"text\":\"a\"}}\n\ndata: {{\"usage\":{{\"output_tokens\":{output}}}}}\n\ndata: {{\"type\":\"message_stop\",\"amazon-bedrock-invocationMetrics\":{{\"inputTokenCount\":{input},\"outputTokenCount\":{output}}}}}\n\n"
        )
    };
    assert_eq!(counts(SSE, &(call(21, 8) + &call(40, 9))), Some((61, 17)));
}

#[test]
fn an_end_without_words_does_not_end_an_interrupt() {
    let asks = r#"data: {"tool_interrupt_event":{"tool_use":{"toolUseId":"t","name":"rm"}}}"#;
    let ends = |parts: &str| {
        format!(r#"data: {{"message":{{"role":"assistant","content":[{parts}]}},"stop_reason":"end_turn"}}"#)
    };
    check(SSE, &format!("{asks}\n\n{}\n\n", ends("")), &WAITS, "");
    check(SSE, &format!("{asks}\n\n{}\n\n", ends("{\"text\":\"Done.\"}")), &Verdict::Completed, "Done.");
}
