//! One table per rule of the three framings.

use agent_trigger::agent::decoder::Decoder;
use agent_trigger::domain::answer::{AnswerError, End, Interruption, Verdict};
use agent_trigger::domain::usage::Usage;

use crate::{COMPLETION, JSON, NDJSON, SSE, decode, whole};

const NO_TERMINAL: Verdict = Verdict::Interrupted(Interruption::NoTerminalEvent);
const WITHIN_EVENT: Verdict = Verdict::Interrupted(Interruption::WithinEvent);
const EMPTY: Verdict = Verdict::Interrupted(Interruption::Empty);

fn reported(message: &str) -> Verdict {
    let message = Some(message.to_owned()).filter(|message| !message.is_empty());
    Verdict::Failed(AnswerError::Reported { message })
}

fn output(content_type: Option<&str>, body: impl AsRef<[u8]>) -> String {
    let outcome = whole(content_type, body);
    assert_eq!(outcome.verdict, Verdict::Completed);
    outcome.output.map(|output| output.text).unwrap_or_default()
}

#[test]
fn accepts_the_content_types_of_agents_only() {
    for supported in [
        None,
        Some(""),
        Some("application/json"),
        Some("Application/JSON; charset=utf-8"),
        Some("TEXT/EVENT-STREAM;charset=UTF-8"),
        Some(" text/plain "),
        Some("application/x-ndjson"),
        Some("application/ndjson"),
        Some("application/jsonl"),
        Some("application/x-jsonlines"),
        Some("application/json-lines"),
        Some("text/json"),
        Some("application/vnd.api+json"),
        Some("application/stream+json"),
        Some("application/octet-stream"),
    ] {
        assert!(Decoder::new(supported).is_ok(), "{supported:?}");
    }
    for other in ["text/html", "text/html; charset=utf-8", "application/xml", "application/jsonx", "image/png"] {
        let error = Decoder::new(Some(other)).expect_err(other).to_string();
        assert!(error.contains(other.split(';').next().expect("a type")), "{error}");
    }
    // What is no type and subtype is untrusted text, and is not shown.
    for other in ["json", "the prompt was: go/away now", "a/b/c", "/x", &format!("a/{}", "b".repeat(100))] {
        let error = Decoder::new(Some(other)).expect_err(other).to_string();
        assert_eq!(error, "the agent answered with content type that is none", "{other}");
    }
}

#[test]
fn lines_end_as_their_protocol_says() {
    let torn = Verdict::Interrupted(Interruption::Torn);
    let cut = &COMPLETION[..COMPLETION.len() - 1];
    let table: Vec<(String, Verdict, Verdict)> = vec![
        // body, framed, torn
        (String::new(), Verdict::Failed(AnswerError::Empty), torn.clone()),
        ("{\"type\":\"x\"}\n".into(), Verdict::Completed, torn.clone()),
        ("{\"type\":\"xEvent\"}\n".into(), NO_TERMINAL, torn.clone()),
        ("{\"type\":\"x\"}\n{\"ty".into(), NO_TERMINAL, torn.clone()),
        (format!("{COMPLETION}\n"), Verdict::Completed, Verdict::Completed),
        (COMPLETION.into(), Verdict::Completed, torn.clone()),
        (format!("{COMPLETION}  "), Verdict::Completed, torn.clone()),
        (cut.into(), NO_TERMINAL, torn.clone()),
        (format!("{cut}\n"), NO_TERMINAL, torn.clone()),
        (format!("{COMPLETION} x\n"), NO_TERMINAL, torn.clone()),
        ("{\"type\":\"serverErrorEvent\",\"error\":{\"message\":\"bo".into(), reported("bo"), torn.clone()),
        ("{\"type\":\"serverErrorEv".into(), NO_TERMINAL, torn.clone()),
        (format!("\u{feff}{COMPLETION}\n"), Verdict::Completed, Verdict::Completed),
        (format!("  {COMPLETION}\r\n"), Verdict::Completed, Verdict::Completed),
        ("a plain answer".into(), Verdict::Completed, torn),
    ];
    assert_eq!(whole(NDJSON, "\n\n").verdict, NO_TERMINAL);
    assert_eq!(whole(Some("text/plain"), "\n\n").verdict, Verdict::Failed(AnswerError::Empty));
    for (body, framed, torn) in table {
        for of in [NDJSON, Some("text/plain")] {
            assert_eq!(decode(of, [body.as_bytes()], End::Framed).verdict, framed, "{body:?}");
            assert_eq!(decode(of, [body.as_bytes()], End::Torn).verdict, torn, "{body:?}");
        }
    }
}

#[test]
fn the_type_is_found_wherever_it_stands() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for event in [
        r#"{"metadata":{"type":"x"},"type":"serverCompletionEvent"}"#.to_owned(),
        r#"{"a":"\"type\":\"serverErrorEvent\"","type":"serverCompletionEvent"}"#.to_owned(),
        r#"{"a":[{"type":"serverErrorEvent"}],"type":"serverCompletionEvent"}"#.to_owned(),
        r#"{ "type" : "serverCompletionEvent" , "a":1}"#.to_owned(),
        r#"{"\u0074ype":"\u0073erverCompletionEvent"}"#.to_owned(),
        r#"{"type":"serverCompletionEvent","type":"x"}"#.to_owned(),
        r#"{"x\\":"\\","type":"serverCompletionEvent"}"#.to_owned(),
        format!(r#"{{"a":{deep},"type":"serverCompletionEvent"}}"#),
        format!(r#"{{"type":"serverCompletionEvent","metadata":{deep}}}"#),
    ] {
        let body = format!("{event}\n");
        assert_eq!(whole(NDJSON, &body).verdict, Verdict::Completed, "{}", &event[..event.len().min(80)]);
        assert_eq!(whole(SSE, format!("data: {body}\n")).verdict, Verdict::Completed);
    }
    for event in [
        r#"["type","serverCompletionEvent"]"#,
        r#"{"a":{"type":"serverCompletionEvent"}}"#,
        r#"{"type":["serverCompletionEvent"]}"#,
        r#"{"type":null}"#,
        r#"{"a" "type":"serverCompletionEvent"}"#,
        r#"x{"type":"serverCompletionEvent"}"#,
        "{",
        "[[[[",
    ] {
        let outcome = whole(NDJSON, format!("{{}}\n{event}\n{COMPLETION}\n"));
        assert_eq!((outcome.verdict, outcome.progress.skipped_events), (Verdict::Completed, 2), "{event}");
        assert_eq!(outcome.progress.events, 3, "{event}");
    }
}

#[test]
fn reads_error_messages_of_any_shape() {
    for (error, message) in [
        (r#"{"message":"boom"}"#, "boom"),
        (r#""boom""#, "boom"),
        (r#"{"error":"boom"}"#, "boom"),
        (r#"{"code": 7 }"#, r#"{"code":7}"#),
        (r#"{"message":"","code":7}"#, r#"{"message":"","code":7}"#),
        ("null", ""),
        ("{}", ""),
        (r#"{"message":"a\u00e4\ud83d\ude80\ud83d\n"}"#, "aä🚀\u{fffd}\n"),
    ] {
        let body = format!("{{\"type\":\"serverErrorEvent\",\"error\":{error}}}\n");
        assert_eq!(whole(NDJSON, body).verdict, reported(message), "{error}");
    }
    assert_eq!(whole(NDJSON, "{\"type\":\"serverErrorEvent\"}\n").verdict, reported(""));
    assert_eq!(whole(NDJSON, b"{\"type\":\"serverErrorEvent\",\"error\":\"b\xff\"}\n").verdict, reported("b\u{fffd}"));
}

#[test]
fn a_typed_error_keeps_its_request_id() {
    let error = r#"{"type":"serverErrorEvent","error":{"message":"boom","requestId":"req-2"},"error_type":"E"}"#;
    for (of, body) in [(NDJSON, format!("{error}\n")), (SSE, format!("data: {error}\n\n"))] {
        let outcome = whole(of, body);
        assert_eq!((outcome.verdict, outcome.request_id.as_deref()), (reported("boom"), Some("req-2")));
    }
}

#[test]
fn displays_nothing_the_agent_said() {
    let outcome = whole(NDJSON, "{\"type\":\"serverErrorEvent\",\"error\":\"SECRET\"}\n");
    let Verdict::Failed(failure) = outcome.verdict else { panic!("a failure") };
    assert!(!failure.to_string().contains("SECRET"));
}

#[test]
fn the_answer_is_the_last_assistant_message() {
    let start = |role: &str| format!("{{\"type\":\"modelMessageStartEvent\"{role}}}\n");
    let delta =
        |text: &str| format!("{{\"type\":\"modelContentBlockDeltaEvent\",\"delta\":{{\"text\":\"{text}\"}}}}\n");
    let assistant = start(",\"role\":\"assistant\"");
    for (events, answer) in [
        (format!("{}{}", delta("a"), delta("b")), "ab"),
        (format!("{assistant}{}{assistant}{}", delta("a"), delta("b")), "b"),
        (format!("{}{}{}{}", start(""), delta("a"), start(""), delta("b")), "b"),
        (format!("{assistant}{}{}", delta("a"), start(",\"role\":\"user\"")), "a"),
        (format!("{assistant}{}{}", delta("a"), start(",\"message\":{\"role\":\"user\"}")), "a"),
        (format!("{assistant}{}{assistant}", delta("a")), "a"),
        (format!("{}{}", delta("a"), delta("b").replace("\"text\"", "\"input\"")), "a"),
    ] {
        assert_eq!(output(NDJSON, format!("{events}{COMPLETION}\n")), answer, "{events}");
        let frames: String = events.lines().map(|event| format!("data: {event}\n\n")).collect();
        assert_eq!(output(SSE, format!("{frames}data: {COMPLETION}\n\n")), answer, "{events}");
    }
}

#[test]
fn failures_have_no_output() {
    let body = "{\"type\":\"modelContentBlockDeltaEvent\",\"delta\":{\"text\":\"a\"}}\n";
    assert_eq!(whole(NDJSON, body).output, None);
}

#[test]
fn sums_usage_of_any_numbers() {
    let sum = |calls: &[&str]| {
        let events = calls.iter().map(|usage| format!("{{\"type\":\"modelMetadataEvent\",\"usage\":{usage}}}\n"));
        let body: String = events.collect();
        whole(NDJSON, format!("{body}{COMPLETION}\n")).progress.usage
    };
    let input = |input_tokens| Some(Usage { input_tokens, ..Usage::default() });
    assert_eq!(sum(&[]), None);
    assert_eq!(sum(&["null", "{}", "[]", "{\"inputTokens\":\"5\"}", "{\"inputTokens\":null}"]), None);
    assert_eq!(sum(&["{\"inputTokens\":1}", "{\"inputTokens\":2}"]), input(3));
    assert_eq!(sum(&["{\"inputTokens\":1,\"inputTokens\":2}"]), input(1));
    assert_eq!(sum(&["{\"inputTokens\":-7}"]), input(0));
    assert_eq!(sum(&["{\"inputTokens\":2.9}"]), input(2));
    assert_eq!(sum(&["{\"inputTokens\":1e3}"]), input(1000));
    assert_eq!(sum(&["{\"inputTokens\":1e999}", "{\"inputTokens\":5}"]), input(u64::MAX));
    assert_eq!(sum(&[&format!("{{\"inputTokens\":{}}}", "9".repeat(5000))]), input(u64::MAX));
    let all = r#"{"inputTokens":1,"outputTokens":2,"cacheReadInputTokens":3,"cacheWriteInputTokens":4}"#;
    let usage = Usage { input_tokens: 1, output_tokens: 2, cache_read_input_tokens: 3, cache_write_input_tokens: 4 };
    assert_eq!(sum(&[all]), Some(usage));
}

#[test]
fn counts_tool_uses() {
    let start =
        |kind: &str| format!("{{\"type\":\"modelContentBlockStartEvent\",\"start\":{{\"type\":\"{kind}\"}}}}\n");
    let body = format!("{}{}{}{COMPLETION}\n", start("toolUseStart"), start("textStart"), start("toolUseStart"));
    assert_eq!(whole(NDJSON, body).progress.tool_uses, 2);
}

#[test]
fn sse_follows_whatwg() {
    for (body, text) in [
        ("data: a\n\n", "a"),
        ("data:a\n\n", "a"),
        ("data:  a\n\n", " a"),
        ("data: a\ndata: b\n\n", "a\nb"),
        ("data\ndata: b\n\n", "\nb"),
        (": comment\ndata: a\n: comment\ndata: b\n\n", "a\nb"),
        ("Data: x\ndatax: x\n data: x\ndata: a\n\n", "a"),
        ("\u{feff}data: a\n\n", "a"),
        ("data: \u{feff}a\n\n", "\u{feff}a"),
        ("event: x\n\ndata: a\n\n", "a"),
        ("data: a\r\rdata: b\r\n\r\ndata: c\n\n", "abc"),
        ("event: error\nevent: fine\ndata: a\n\n", "a"),
        ("event: error\nevent:\ndata: a\n\n", "a"),
        ("event: errors\ndata: a\n\n", "a"),
        ("data: a: b\n\n", "a: b"),
    ] {
        assert_eq!(output(SSE, body), text, "{body:?}");
    }
    assert_eq!(whole(SSE, b"data: a\xff\n\n").output.expect("text").text, "a\u{fffd}");
}

#[test]
fn sse_failures() {
    for (frame, message) in [
        ("event: error\ndata: {\"error\":\"boom\",\"message\":\"m\"}", "boom"),
        ("event: error\ndata: {\"error\":{\"message\":\"boom\"}}", "boom"),
        ("event: error\ndata: {\"message\":\"boom\"}", "boom"),
        ("event: error\ndata: it went boom", "it went boom"),
        ("event: error\ndata: \"boom\"", "boom"),
        ("data: x\nevent: error", "x"),
        ("event: error\ndata:", ""),
        ("event: error", ""),
        ("data: {\"error\":\"boom\",\"error_type\":\"E\"}", "boom"),
        ("data: {\"error_type\":\"E\",\"error\":\"boom\"}", "boom"),
        ("data: {\"error\":\"\",\"error_type\":\"E\",\"message\":\"boom\"}", "boom"),
        ("data: {\"error\":\"\",\"error_type\":\"KeyError\"}", "KeyError"),
        ("data: {\"error\":\"boom\",\"error_type\":\"E\",", "boom"),
        ("data: {\"force_stop\":true,\"force_stop_reason\":\"boom\"}", "boom"),
        ("data: {\"force_stop\": true}", ""),
        ("data: {\"type\":\"serverErrorEvent\",\"error\":{\"message\":\"boom\"}}", "boom"),
    ] {
        for before in ["", "data: fine\n\n"] {
            let body = format!("{before}{frame}\n\ndata: {COMPLETION}\n\n");
            assert_eq!(whole(SSE, &body).verdict, reported(message), "{body:?}");
        }
    }
    for frame in [
        "{\"error\":\"Serialization failed\",\"original_type\":\"X\"}",
        "{\"error\":null,\"error_type\":null}",
        "{\"force_stop\":false}",
        "{\"force_stop\":\"true\"}",
        "{\"message\":{\"role\":\"assistant\",\"content\":[{\"text\":\"{\\\"error\\\":1,\\\"error_type\\\":2}\"}]}}",
        "{\"a\":{\"error\":1,\"error_type\":2}}",
        "[{\"error\":1,\"error_type\":2}]",
    ] {
        assert_eq!(whole(SSE, format!("data: {frame}\n\n")).verdict, Verdict::Completed, "{frame}");
    }
}

#[test]
fn sse_ends() {
    let torn = Verdict::Interrupted(Interruption::Torn);
    for (body, framed) in [
        ("", EMPTY),
        (": ping\n\n", EMPTY),
        ("event: done\n\n", EMPTY),
        ("data: a\n\n", Verdict::Completed),
        ("data: a\n", Verdict::Completed),
        ("data: a", Verdict::Completed),
        ("data: a\n\n: bye", Verdict::Completed),
        ("data: {\"a\":1}", Verdict::Completed),
        ("data: a\n\ndata: {\"a\":", WITHIN_EVENT),
        ("data: a\n\ndata: {\"a\":\n", WITHIN_EVENT),
        ("data: a\n\ndata: \"b", WITHIN_EVENT),
        ("data: a\n\nevent: fin", WITHIN_EVENT),
        ("data: a\n\nda", WITHIN_EVENT),
        ("data: a\n\nevent: error", reported("")),
        ("data: a\n\nevent: error\ndata: {\"error\":\"bo", reported("bo")),
        ("data: {\"type\":\"beforeInvocationEvent\"}\n\n", NO_TERMINAL),
        ("data: {\"type\":\"modelMetadataEvent\"}\n\ndata: a\n\n", Verdict::Completed),
        ("data: {\"type\":\"response.created\"}\n\ndata: [DONE]\n\n", NO_TERMINAL),
        ("data: {\"type\":\"serverCompletionEvent\"}", Verdict::Completed),
        ("data: {\"type\":\"serverCompletionEvent\"", WITHIN_EVENT),
    ] {
        assert_eq!(decode(SSE, [body.as_bytes()], End::Framed).verdict, framed, "{body:?}");
        assert_eq!(decode(SSE, [body.as_bytes()], End::Torn).verdict, torn, "{body:?}");
    }
}

#[test]
fn sse_text() {
    for (frames, text) in [
        (&["a", " b"][..], "a b"),
        (&["\"a\"", "\" b\"", "\"\\n\""], "a b\n"),
        (&["\"{'data': 'x', 'agent': <Agent>}\"", "\"a\""], "a"),
        (&["\"{'a\"", "\"{\""], "{'a{"),
        (&["a", "null", "[DONE]"], "a"),
        (&["{ not json", "{"], "{ not json{"),
        (&["{\"data\":\"a\"}"], "a"),
        (&[r#"{"event":{"contentBlockDelta":{"delta":{"text":"a"}}}}"#, "plain"], "a"),
        (&[r#"{"message":{"role":"assistant","content":[{"text":"a"},{"text":"b"}]}}"#, "plain"], "ab"),
        (&[r#"{"message":{"role":"assistant","content":"a"}}"#], "a"),
        (
            &[
                r#"{"message":{"role":"assistant","content":[{"text":"a"}]}}"#,
                r#"{"message":{"role":"user","content":[{"text":"b"}]}}"#,
            ],
            "a",
        ),
        (
            &[
                r#"{"message":{"role":"assistant","content":[{"text":"a"}]}}"#,
                r#"{"event":{"contentBlockDelta":{"delta":{"text":"b"}}}}"#,
                r#"{"event":{"contentBlockDelta":{"delta":{"text":"c"}}}}"#,
            ],
            "bc",
        ),
    ] {
        let body: String = frames.iter().map(|frame| format!("data: {frame}\n\n")).collect();
        assert_eq!(output(SSE, &body), text, "{body}");
    }
}

#[test]
fn json_documents() {
    let not_json = Verdict::Failed(AnswerError::NotJson);
    for (body, verdict) in [
        ("", Verdict::Failed(AnswerError::Empty)),
        (" \n", Verdict::Failed(AnswerError::Empty)),
        ("<html>", not_json.clone()),
        ("{\"result\":\"a\"", not_json.clone()),
        ("{\"result\":\"a\"}}", not_json.clone()),
        ("{\"result\":\"a\"} {\"result\":\"b\"}", not_json),
        // Lines of JSON, whatever their label.
        ("{\"result\":\"a\"}\n{\"result\":\"b\"}", Verdict::Completed),
        ("{\"error\":null,\"error\":\"boom\"}", reported("boom")),
        ("{\"error\":\"boom\"}", reported("boom")),
        ("{\"error\":true,\"message\":\"boom\"}", reported("boom")),
        ("{\"error\":true}", reported("true")),
        ("{\"error\":{\"message\":\"boom\"}}", reported("boom")),
        ("{\"error\":0}", Verdict::Completed),
        ("{\"error\":[ 1 ]}", reported("[1]")),
        ("{\"\\u0065rror\":\"boom\"}", reported("boom")),
        ("{\"error\":null}", Verdict::Completed),
        ("{\"error\":false}", Verdict::Completed),
        ("{\"error\":\"\"}", Verdict::Completed),
        ("{\"error\":{ }}", Verdict::Completed),
        ("{\"error\":[ ]}", Verdict::Completed),
        ("{\"a\":{\"error\":1}}", Verdict::Completed),
        ("[{\"error\":1}]", reported("1")),
        ("[[{\"error\":1}]]", Verdict::Completed),
    ] {
        assert_eq!(whole(JSON, body).verdict, verdict, "{body:?}");
        let torn = decode(JSON, [body.as_bytes()], End::Torn).verdict;
        assert!(torn == Verdict::Interrupted(Interruption::Torn) || body.starts_with('['), "{body:?}");
        assert_ne!(torn, Verdict::Completed, "{body:?}");
    }
    for (body, text) in [
        ("\"a\\u00e4\"", "aä"),
        ("\"\"", ""),
        ("{\"result\":\"a\",\"output\":\"b\"}", "a"),
        ("{\"message\":\"c\",\"output\":\"b\"}", "b"),
        ("{\"message\":\"c\",\"result\":{\"x\":1}}", "c"),
        ("{\"result\":{\"role\":\"assistant\",\"content\":[{\"text\":\"a\"}]}}", "a"),
        ("{ \"x\" : [ 1, \"a b\" ] }", "{\"x\":[1,\"a b\"]}"),
        ("[1, 2]", "[1,2]"),
        (" 42 ", "42"),
        ("true", "true"),
        ("\u{feff}\"a\"", "a"),
    ] {
        assert_eq!(output(JSON, body), text, "{body:?}");
    }
    let deep = format!("{{\"a\":{}{},\"result\":\"a\"}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(output(JSON, deep), "a");
}

#[test]
fn content_overrules_the_content_type() {
    let plain = Some("text/plain");
    for (of, body, verdict) in [
        (plain, "data: a\n\n", Verdict::Completed),
        (plain, "event: error\ndata: boom\n\n", reported("boom")),
        (plain, ": ping\n\nid: 1\ndata: a\n\n", Verdict::Completed),
        (NDJSON, "\n\ndata: a\n\n", Verdict::Completed),
        (JSON, "data: {\"error\":\"boom\",\"error_type\":\"E\"}\n\n", reported("boom")),
        (None, "retry: 1\ndata: a\n\n", Verdict::Completed),
        (SSE, "{\"type\":\"modelMessageStartEvent\"}\n{\"type\":\"serverCompletionEvent\"}\n", Verdict::Completed),
        (SSE, "{\"type\":\"modelMessageStartEvent\"}\n", NO_TERMINAL),
        (JSON, "{\"type\":\"modelMessageStartEvent\"}\n{\"type\":\"serverCompletionEvent\"}\n", Verdict::Completed),
        (JSON, "{\"type\":\"modelMessageStartEvent\"}\n", NO_TERMINAL),
        (JSON, "{\"type\":\"orderEvent\"}\n", Verdict::Completed),
        (JSON, "{\"type\":\"modelMetadataEvent\",\"object\":\"x\",\"answer\":\"hi\"}", NO_TERMINAL),
        (JSON, "{\"object\":\"x\",\"type\":\"modelMetadataEvent\",\"answer\":\"hi\"}", NO_TERMINAL),
        (JSON, "{\"type\":\"x\",\"object\":\"chat.completion.chunk\",\"choices\":[]}", NO_TERMINAL),
        (JSON, "{\"type\":\"x\",\"object\":\"y\",\"answer\":\"hi\"}", Verdict::Completed),
        (None, "{\"type\":\"serverErrorEvent\",\"error\":\"boom\"}\n", reported("boom")),
        (None, "{\"result\":\"a\"}", Verdict::Completed),
        (None, "<html>", Verdict::Failed(AnswerError::NotJson)),
        (None, "", Verdict::Failed(AnswerError::Empty)),
        (None, "data", Verdict::Completed),
    ] {
        assert_eq!(whole(of, body).verdict, verdict, "{of:?} {body:?}");
        assert_eq!(decode(of, body.as_bytes().chunks(1), End::Framed).verdict, verdict, "{of:?} {body:?}");
    }
}

#[test]
fn what_follows_the_terminal_event_is_not_read() {
    let mut decoder = Decoder::new(NDJSON).expect("NDJSON");
    let body = format!("{COMPLETION}\n{{\"type\":\"serverErrorEvent\"}}\n");
    assert_eq!(decoder.feed(body.as_bytes()), Some(&Verdict::Completed));
    assert_eq!(decoder.feed(b"{\"type\":\"serverErrorEvent\"}\n"), Some(&Verdict::Completed));
    assert_eq!((decoder.progress().events, decoder.progress().bytes), (1, COMPLETION.len() as u64 + 1));
    assert_eq!(decoder.finish(End::Torn).verdict, Verdict::Completed);
}

#[test]
fn shows_progress_while_it_reads() {
    let mut decoder = Decoder::new(NDJSON).expect("NDJSON");
    decoder.feed(b"{\"type\":\"modelMetadataEvent\",\"usage\":{\"inputTokens\":5}}\n{\"ty");
    let progress = decoder.progress();
    assert_eq!((progress.events, progress.bytes, progress.skipped_events), (1, 60, 0));
    assert_eq!(progress.usage.map(|usage| usage.input_tokens), Some(5));
}
