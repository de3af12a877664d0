//! Answers written after what running SDKs send, and answers that were found to be read wrong: one line each.

use agent_trigger::domain::answer::{AnswerError, End, Verdict};
use agent_trigger::domain::finish_reason::FinishReason;
use agent_trigger::domain::protocol::Protocol;

use crate::answers::{Case, cases_in};
use crate::{JSON, NDJSON, SSE, decode, whole};

/// Bytes of the largest body that is split everywhere.
const SMALL: usize = 1024;

fn small() -> impl Iterator<Item = Case> {
    cases_in("answers-more").into_iter().filter(|case| case.body.len() <= SMALL)
}

#[test]
fn every_further_answer_is_recorded_as_what_it_says() {
    let mut wrong = Vec::new();
    for case in cases_in("answers-more") {
        match case.decode(std::iter::once(&case.body[..])) {
            Some(outcome) => wrong.extend(case.differences(&outcome)),
            None => wrong.push(format!("{}: its status decides", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn further_answers_may_come_byte_by_byte_or_in_two() {
    for case in small() {
        let whole = case.decode(std::iter::once(&case.body[..]));
        assert_eq!(case.decode(case.body.chunks(1)), whole, "{}", case.name);
        for at in (0..=case.body.len()).step_by(13) {
            let (first, second) = case.body.split_at(at);
            assert_eq!(case.decode([first, second].into_iter()), whole, "{} split at {at}", case.name);
        }
    }
}

/// What fails or stops short as a whole completes nowhere when it is torn.
#[test]
fn no_further_answer_completes_when_it_is_torn() {
    for case in small() {
        let whole = case.decode_to(std::iter::once(&case.body[..]), End::Framed);
        if whole.is_none_or(|outcome| outcome.verdict == Verdict::Completed) {
            continue;
        }
        for at in 0..case.body.len() {
            let torn = case.decode_to(std::iter::once(&case.body[..at]), End::Torn).expect("an outcome");
            assert_ne!(torn.verdict, Verdict::Completed, "{} at {at}", case.name);
        }
    }
}

/// More of an answer than is kept must not hide how it ended.
#[test]
fn the_last_word_counts_behind_more_text_than_is_kept() {
    let failed = |words: &str| Verdict::Failed(AnswerError::Reported { message: Some(words.to_owned()) });
    for (piece, last, verdict) in [
        (r#"{"type":"t","text":"a"}"#, r#"{"type":"t","error":"x"}"#, failed("x")),
        (r#"{"type":"t","text":"a"}"#, r#"{"type":"t","text":"a","isError":true}"#, failed("a")),
        (r#"{"type":"t","text":"a"}"#, r#"{"type":"error","text":"a"}"#, failed("a")),
        (r#"{"text":"a"}"#, r#"{"text":"a","error":"x"}"#, failed("x")),
        (r#"{"text":"a"}"#, r#"{"text":"a","text":"b","error":"x"}"#, failed("x")),
        (r#"{"text":"a"}"#, r#"{"text":"a","\u0065rror":"x"}"#, failed("x")),
        (r#"{"text":"a"}"#, r#"{"throttlingException":{"message":"x"}}"#, failed("x")),
        (r#"{"text":"a"}"#, r#"{"text":"a","stop_reason":"max_tokens"}"#, Verdict::Incomplete(FinishReason::MaxTokens)),
        (r#""a""#, r#""{\"error\":\"x\"}""#, failed("x")),
        (r#""a""#, r#""data: {\"error\":\"x\"}\n\n""#, failed("x")),
        (
            r#""a""#,
            r#""{'result': AgentResult(stop_reason='guardrail_intervened', x=1)}""#,
            Verdict::Incomplete(FinishReason::Guardrail),
        ),
        ("abc", r#"data: {"error":"x"}"#, failed("x")),
    ] {
        let body = format!("{}data: {last}\n\n", format!("data: {piece}\n\n").repeat(9_000));
        assert_eq!(whole(SSE, body).verdict, verdict, "{last}");
    }
    let body = format!("{}data: {{\"response\":\"b\"}}\n\n", "data: {\"text\":\"a\"}\n\n".repeat(9_000));
    assert_eq!(whole(SSE, body).output.expect("an answer").text, "b");
}

#[test]
fn events_of_an_unknown_kind_are_no_answer_in_any_number() {
    for event in [r#"{"foo":1}"#, r#"{"type":"weird","x":[1,{"error":"no"}]}"#] {
        let body = format!("data: {event}\n\n").repeat(100_000);
        let outcome = whole(SSE, &body);
        assert_eq!((outcome.verdict, outcome.protocol), (Verdict::Completed, Protocol::Unknown), "{event}");
        let outcome = whole(SSE, format!("{body}data: {{\"type\":\"weird\",\"status\":\"failed\"}}\n\n"));
        assert!(matches!(outcome.verdict, Verdict::Failed(_)), "{event}");
    }
}

#[test]
fn a_document_too_large_to_keep_needs_its_end() {
    let long = "a".repeat(1_100_000);
    for (begin, end) in [("{\"result\":\"Hello\",\"x\":\"", "\"}"), ("\"", "\"")] {
        let body = format!("{begin}{long}{end}");
        assert_eq!(whole(JSON, &body).verdict, Verdict::Completed, "{begin}");
        assert_eq!(whole(JSON, format!("{body} \n")).verdict, Verdict::Completed, "{begin}");
        let cut = &body[..body.len() - 1];
        assert_eq!(whole(JSON, cut).verdict, Verdict::Failed(AnswerError::NotJson), "{begin}");
    }
}

/// Formats of agents that are near a protocol's, and protocols as other libraries send them.
#[test]
fn what_is_near_a_protocol_is_read_as_what_it_says() {
    let stream = |end: &str| format!("0:\"Good \"\n0:\"morning.\"\n{end}\n");
    let python = r#"e:{"finishReason":"stop","usage":{"promptTokens":21,"completionTokens":8},"isContinued":false}"#;
    for (of, body, text) in [
        (None, stream(python), "Good morning."),
        (JSON, r#"{"answer":"Good morning.","steps":[{"content":[{"type":"tool-call"}],"finishReason":"tool-calls","response":{"id":"r"}}]}"#.to_owned(), "Good morning."),
        (SSE, "data: {\"type\":\"agentResult\",\"result\":\"Good morning.\"}\n\n".to_owned(), "Good morning."),
        (JSON, r#"{"content":[{"type":"tool-approval-request"},{"type":"tool-result","output":"ok"},{"type":"text","text":"Deleted."}]}"#.to_owned(), "Deleted."),
        (NDJSON, "{\"type\":\"step-start\",\"messageId\":\"m1\"}\n{\"type\":\"text\",\"text\":\"Good morning.\"}\n{\"type\":\"step-end\"}\n".to_owned(), "Good morning."),
        (NDJSON, "{\"event\":\"update\",\"data\":{\"messages\":[{\"lc\":1,\"type\":\"constructor\",\"id\":[\"langchain_core\",\"messages\",\"AIMessage\"],\"kwargs\":{\"content\":\"I will look.\"}}]}}\n{\"answer\":\"Good morning.\"}\n".to_owned(), "Good morning."),
    ] {
        let outcome = whole(of, &body);
        assert_eq!(outcome.verdict, Verdict::Completed, "{body}");
        assert_eq!(outcome.output.map(|output| output.text).as_deref(), Some(text), "{body}");
    }
    let second = "data: {\"message\":{\"messageId\":\"m2\",\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"Done.\"}]}}\n\n";
    let first = second.replace("Done.", "Let me look.").replace("m2", "m1");
    assert_eq!(whole(SSE, format!("{first}{second}")).output.map(|output| output.text).as_deref(), Some("Done."));
    for (of, body) in [
        (SSE, "data: I found this in the log:\nerror: {\"code\":\"E1\"}\n\ndata: It is harmless.\n\n"),
        (Some("text/plain"), "error: {\"level\":\"warn\"} is the only line in the log.\nNothing else came in."),
    ] {
        assert_eq!(whole(of, body).verdict, Verdict::Completed, "{body}");
    }
    for end in [r#"e:{"finishReason":"length","isContinued":false}"#, r#"d:{"finishReason":"length"}"#] {
        assert_eq!(whole(None, stream(end)).verdict, Verdict::Incomplete(FinishReason::MaxTokens), "{end}");
    }
    let of_model = |data: &str| format!("{{\"type\":\"raw_response_event\",\"data\":{data}}}\n");
    let delta = of_model(r#"{"type":"response.output_text.delta","delta":"Good "}"#);
    for failure in [
        r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"boom"}}}"#,
        r#"{"type":"error","message":"boom"}"#,
    ] {
        let expected = Verdict::Failed(AnswerError::Reported { message: Some("boom".to_owned()) });
        assert_eq!(whole(NDJSON, format!("{delta}{}", of_model(failure))).verdict, expected, "{failure}");
    }
    let cut =
        of_model(r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"}}}"#);
    let message = r#"{"type":"run_item_stream_event","name":"message_output_created","item":{"raw_item":{"content":[{"type":"output_text","text":"Good "}]}}}"#;
    let outcome = whole(NDJSON, format!("{delta}{cut}{message}\n"));
    assert_eq!(outcome.verdict, Verdict::Incomplete(FinishReason::MaxTokens));
    // A text that begins as a data stream does is a text, however it comes.
    let text = format!("0:\"a\" and {}\nmore\n", "x".repeat(2_950));
    for size in [1, 2_500, 10_000] {
        let outcome = decode(Some("text/plain"), text.as_bytes().chunks(size), End::Framed);
        assert_eq!(outcome.output.map(|output| output.text.len()), Some(text.trim_end().len()), "{size}");
    }
}

/// Events of LangChain, AG-UI and Mastra that say how a run ended, and others that only look so.
#[test]
fn an_event_says_how_the_run_ended_only_if_it_is_about_the_run() {
    let chunk = |text: &str| {
        format!(
            r#"{{"lc":1,"type":"constructor","id":["langchain_core","messages","AIMessageChunk"],"kwargs":{{"content":"{text}","id":"m"}}}}"#
        ) + "\n"
    };
    let outcome = whole(NDJSON, chunk("Good ") + &chunk("morning."));
    assert_eq!(outcome.output.map(|output| output.text).as_deref(), Some("Good morning."));
    let human = r#"{"lc":1,"type":"constructor","id":["langchain_core","messages","HumanMessage"],"kwargs":{"content":"Do it."}}"#;
    let outcome = whole(NDJSON, format!("{human}\n"));
    assert!(outcome.output.is_none_or(|output| !output.text.contains("Do it.")));

    let on = |event: &str, data: &str| {
        format!("event: data\ndata: {{\"event\":\"{event}\",\"data\":{data},\"run_id\":\"{}\"}}\n\n", "r".repeat(80))
    };
    let stream = on("on_chain_stream", r#"{"chunk":"Good morning."}"#);
    for (error, expected) in [
        ("", Verdict::Completed),
        (
            &*on("on_chain_error", r#"{"error":"boom"}"#),
            Verdict::Failed(AnswerError::Reported { message: Some("boom".to_owned()) }),
        ),
    ] {
        let outcome = whole(SSE, format!("{stream}{error}event: end\n\n"));
        assert_eq!(outcome.verdict, expected, "{error}");
        assert!(outcome.output.is_none_or(|output| output.text == "Good morning."), "{error}");
    }

    let agui = |name: &str, value: &str| {
        [
            "{\"type\":\"RUN_STARTED\"}".to_owned(),
            r#"{"type":"TEXT_MESSAGE_CHUNK","messageId":"m","role":"assistant","delta":"Hi"}"#.to_owned(),
            format!(r#"{{"type":"CUSTOM","name":"{name}","value":{{{value}"stop_reason":"max_tokens"}}}}"#),
            r#"{"type":"RUN_FINISHED","outcome":{"type":"success"}}"#.to_owned(),
        ]
        .map(|event| format!("data: {event}\n\n"))
        .concat()
    };
    let stopped = Verdict::Incomplete(FinishReason::MaxTokens);
    for (name, value, expected) in [
        ("AgentStopped", "", stopped.clone()),
        ("AgentStopped", r#""message":"Too long.","#, stopped.clone()),
        ("finish", "", stopped.clone()),
        ("finish", r#""usageMetadata":{"input_tokens":1},"#, stopped),
        ("title", r#""title":"Good morning","#, Verdict::Completed),
    ] {
        assert_eq!(whole(SSE, agui(name, value)).verdict, expected, "{name}: {value}");
    }

    let mastra = |kind: &str| {
        [
            r#"{"type":"start","runId":"r","from":"AGENT","payload":{}}"#,
            r#"{"type":"text-delta","runId":"r","from":"AGENT","payload":{"text":"Hi"}}"#,
            kind,
            r#"{"type":"finish","runId":"r","from":"AGENT","payload":{"stepResult":{"reason":"stop"}}}"#,
        ]
        .map(|event| format!("data: {event}\n\n"))
        .concat()
    };
    let own = r#"{"type":"data-upload-abort","runId":"r","from":"AGENT","payload":{}}"#;
    assert_eq!(whole(SSE, mastra(own)).verdict, Verdict::Completed);
    assert_eq!(
        whole(SSE, mastra(&own.replace("data-upload", "agent-execution"))).verdict,
        Verdict::Incomplete(FinishReason::Cancelled)
    );
}

/// A question to a person ends with its own result, and a step that goes on does not end the run.
#[test]
fn what_is_open_does_not_complete() {
    let waits = Verdict::Incomplete(FinishReason::Interrupt);
    let asks = r#"{"type":"tool-approval-request","toolCallId":"c1"}"#;
    let result = |call: &str| {
        format!(r#"{{"type":"tool-result","toolCallId":"{call}","output":"ok"}},{{"type":"text","text":"Done."}}"#)
    };
    for (parts, expected) in [
        (format!("{asks},{}", result("c1")), Verdict::Completed),
        (format!("{asks},{}", result("c2")), waits.clone()),
        (
            format!(r#"{asks},{{"type":"tool-approval-request","toolCall":{{"toolCallId":"c2"}}}},{}"#, result("c1")),
            waits.clone(),
        ),
        (format!(r#"{{"type":"tool-approval-request"}},{}"#, result("c1")), Verdict::Completed),
        (r#"{"type":"tool-approval-request"},{"type":"tool-result","output":"ok"}"#.to_owned(), waits.clone()),
    ] {
        assert_eq!(whole(JSON, format!(r#"{{"content":[{parts}]}}"#)).verdict, expected, "{parts}");
    }
    let step = r#"e:{"finishReason":"tool-calls","isContinued":false}"#;
    for (body, is_whole) in [
        ("0:\"a\"\ne:{\"finishReason\":\"length\",\"isContinued\":true}\n".to_owned(), false),
        (format!("0:\"a\"\n{step}\ng:\"I think\"\n"), false),
        (format!("0:\"a\"\n{step}\nf:{{\"messageId\":\"m\"}}\n0:\"b\"\n"), false),
        (format!("0:\"a\"\n{step}\n"), true),
    ] {
        assert_eq!(whole(None, &body).verdict == Verdict::Completed, is_whole, "{body}");
    }
    let quoted = "data: In the log:\nerror: {\"error\":{\"message\":\"E1\"}}\ndata: It is harmless.\n\n";
    assert_eq!(whole(SSE, quoted).verdict, Verdict::Completed);
    let users = r#"{"message":{"messageId":"m","role":"user","parts":[{"text":"Do it."}]}}"#;
    assert!(
        whole(SSE, format!("data: {users}\n\ndata: {{\"answer\":\"Done.\"}}\n\n"))
            .output
            .is_some_and(|output| output.text == "Done.")
    );
    let of_model = |data: &str| format!("{{\"type\":\"raw_response_event\",\"data\":{data}}}\n");
    let again = of_model(r#"{"type":"response.failed","response":{"error":{"message":"boom"}}}"#)
        + &of_model(r#"{"type":"response.created"}"#)
        + &of_model(r#"{"type":"response.output_text.delta","delta":"Done."}"#);
    assert_eq!(whole(NDJSON, again).verdict, Verdict::Completed);
}
