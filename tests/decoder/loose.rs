//! Lines of a stream that are no frames of it, and where they stand.

use agent_trigger::domain::answer::{AnswerError, End, Interruption, Verdict};

use crate::{COMPLETION, JSON, NDJSON, SSE, decode, whole};

const WITHIN_EVENT: Verdict = Verdict::Interrupted(Interruption::WithinEvent);
const NO_TERMINAL: Verdict = Verdict::Interrupted(Interruption::NoTerminalEvent);

fn reported(message: &str) -> Verdict {
    Verdict::Failed(AnswerError::Reported { message: Some(message.to_owned()) })
}

/// Checks how a stream of server-sent events that arrived whole is recorded, however it is split.
fn check(body: &str, verdict: &Verdict) {
    let outcome = whole(SSE, body);
    assert_eq!(&outcome.verdict, verdict, "{body:?}");
    assert_eq!(decode(SSE, body.as_bytes().chunks(1), End::Framed), outcome, "byte by byte: {body:?}");
    let cr = body.replace('\n', "\r");
    assert_eq!(&whole(SSE, &cr).verdict, verdict, "{cr:?}");
    for at in 0..body.len() {
        let (first, second) = body.as_bytes().split_at(at);
        assert_eq!(decode(SSE, [first, second], End::Framed), outcome, "split at {at}: {body:?}");
    }
}

/// What stands behind the data of a frame is said behind it, though no blank line ended the frame.
#[test]
fn a_failure_behind_the_data_of_a_frame_is_the_last_word() {
    let trace = "Traceback (most recent call last):\n  File \"a.py\", line 1\n";
    let half_error = "{\"error\":\"boom\",\"x\":1";
    for data in [
        r#"{"text":"more"}"#,
        r#""more""#,
        r#"{"text":"more","usage":{"input_tokens":1}}"#,
        r#"{"event":{"contentBlockDelta":{"delta":{"text":"more"}}}}"#,
        r#"{"message":{"role":"assistant","content":[{"text":"more"}]}}"#,
        "more",
        "[1",
    ] {
        for (line, message) in [
            ("{\"error\":\"boom\"}\n".to_owned(), "boom"),
            ("{\"status\":\"failed\",\"message\":\"boom\"}\n".to_owned(), "boom"),
            ("{'error': 'boom'}\n".to_owned(), "boom"),
            ("{\n  \"error\": \"boom\"\n}\n".to_owned(), "boom"),
            (format!("{half_error}\n"), "boom"),
            (format!("{trace}RuntimeError: closed\n"), "RuntimeError: closed"),
            (format!("{trace}Killed: 9\n"), "Killed: 9"),
            ("RuntimeError: closed\n".to_owned(), "RuntimeError: closed"),
            ("Error: closed\n    at a.js:1\n".to_owned(), "Error: closed"),
            ("KeyError\n".to_owned(), "KeyError"),
        ] {
            for before in ["", "data: {\"text\":\"hi\"}\n\n", ": ping\n\nevent: message\n"] {
                let body = format!("{before}data: {data}\n{line}");
                check(&body, &reported(message));
                check(body.trim_end(), &reported(message));
                // A line end within unquoted text may stand before anything that reads like a report.
                if !(matches!(data, "more" | "[1") && line.contains("Error") && !line.contains("Traceback")) {
                    check(&format!("{body}\n"), &reported(message));
                }
                check(&format!("{body}\ndata: {{\"text\":\"again\"}}\n\n"), &Verdict::Completed);
            }
        }
    }
}

/// A frame's text may have raw line ends, and one of its lines may read like a report.
#[test]
fn an_answer_with_raw_line_ends_is_one() {
    for body in [
        "data: Errors:\nValueError: bad\n\n",
        "data: Errors:\nValueError: bad\nThat was all.\n\n",
        "data: Errors:\nValueError: bad\nThat was all.\n",
        "data: Errors:\nValueError: bad\ndata: That was all.\n",
        "data: \"He said\nValueError: bad\" and left.\n\n",
        "data: a\nData: x\n x\n\n",
        "data: {\"text\":\"a\"}\nxdata: y\n  z\n\n",
    ] {
        check(body, &Verdict::Completed);
    }
}

/// An agent may write `data:` before the first line of an indented document alone.
#[test]
fn the_data_of_a_frame_may_go_on_in_lines_without_a_name() {
    let answer = |body: &str| whole(SSE, body).output.map(|output| output.text);
    for (body, verdict) in [
        ("data: {\n  \"error\": \"boom\"\n}\n\n", reported("boom")),
        ("data: {\n  \"error\": \"boom\"\n}\n", reported("boom")),
        ("data: {\n  \"error\": \"boom\"\n}", reported("boom")),
        ("data: {\"text\":\"a\"}\n\ndata: {\n\"error\":\n \"boom\"\n}\n\n", reported("boom")),
        ("data: {'text': 'a',\n 'error': 'boom'}\n\n", reported("boom")),
        ("data: {\n  \"text\": \"a\"\n}\n\n", Verdict::Completed),
        ("data: {\n  \"text\": \"a\",\n  \"x\": [\n    1\n  ]\n}\n\ndata: {\n  \"text\": \"b\"\n}", Verdict::Completed),
        ("data: {\n  \"text\": \"a\"", WITHIN_EVENT),
        ("data: {\n  \"text\": \"a\",\n", WITHIN_EVENT),
        ("data: {\n  \"text\": \"a\n{\"error\":\"boom\"}", reported("boom")),
    ] {
        check(body, &verdict);
    }
    assert_eq!(answer("data: {\n  \"text\": \"a\"\n}\n\n").as_deref(), Some("a"));
    // More than is kept of an event, too.
    let long = format!("data: {{\n{}  \"error\": \"boom\"\n}}\n\n", "  \"a\": 1,\n".repeat(200_000));
    assert_eq!(whole(SSE, long).verdict, reported("boom"));
}

/// The last line may be cut off within an object, whatever stands before it.
#[test]
fn a_cut_object_between_events_is_no_success() {
    for (body, verdict) in [
        ("data: {\"text\":\"a\"}\n\n{\"err", NO_TERMINAL),
        ("data: {\"text\":\"a\"}\n\n{\"error\":\"bo", reported("bo")),
        ("data: {\"text\":\"a\"}\n\n{\"error\":\"bo\n", reported("bo")),
        ("data: {\"text\":\"a\"}\n{\"err", NO_TERMINAL),
        ("data: a\n{\"err", NO_TERMINAL),
    ] {
        check(body, &verdict);
    }
    let long = format!("{{\"log\":\"{}\",\"error\":\"boom\"}}\n", "x".repeat(70_000));
    assert_eq!(whole(SSE, format!("data: a\n\n{long}")).verdict, reported("boom"));
    assert_eq!(whole(SSE, format!("data: a\n{long}")).verdict, reported("boom"));
}

#[test]
fn an_event_ends_at_the_line_that_is_none_of_it() {
    for body in [
        format!("data: {COMPLETION}\n{{\"error\":\"boom\"}}\n\n"),
        format!("data: {COMPLETION}\nRuntimeError: closed\n\n"),
        format!("data: {COMPLETION}\nTraceback (most recent call last):\n  x\nRuntimeError: closed\n"),
    ] {
        check(&body, &Verdict::Completed);
    }
}

/// The rules of a recognised protocol decide: a line of a log counts only where its terminal event does not come.
#[test]
fn a_report_counts_until_the_event_that_ends_the_run() {
    for (of, begin, end) in [
        (NDJSON, r#"{"type":"modelContentBlockDeltaEvent","delta":{"text":"a"}}"#, COMPLETION),
        (
            NDJSON,
            r#"{"object":"chat.completion.chunk","choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"object":"chat.completion.chunk","choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        ),
        (NDJSON, r#"{"type":"RUN_STARTED"}"#, r#"{"type":"RUN_FINISHED"}"#),
        (NDJSON, r#"{"type":"start"}"#, r#"{"type":"finish","finishReason":"stop"}"#),
        (SSE, r#"{"type":"message_start","message":{}}"#, r#"{"type":"message_stop"}"#),
        (SSE, r#"{"type":"response.created"}"#, r#"{"type":"response.completed","response":{"status":"completed"}}"#),
        (SSE, r#"{"messageStart":{"role":"assistant"}}"#, r#"{"messageStop":{"stopReason":"end_turn"}}"#),
        (SSE, r#"{"type":"start","runId":"1","payload":{}}"#, r#"{"type":"finish","runId":"1","payload":{}}"#),
        (
            SSE,
            r#"{"jsonrpc":"2.0","result":{"kind":"status-update","status":{"state":"working"}}}"#,
            r#"{"jsonrpc":"2.0","result":{"kind":"status-update","status":{"state":"completed"}}}"#,
        ),
        (
            SSE,
            r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#,
        ),
    ] {
        for report in ["ThrottlingException: retrying in 2 s", "Traceback (most recent call last):\n  x\nKeyError: x"] {
            let frame = |data: &str| if of == SSE { format!("data: {data}\n\n") } else { format!("{data}\n") };
            let body = format!("{}{report}\n", frame(begin));
            let words = report.rsplit('\n').next().expect("a line");
            assert_eq!(whole(of, &body).verdict, reported(words), "{body}");
            assert_eq!(decode(of, [body.as_bytes()], End::Torn).verdict, reported(words), "{body}");
            assert_eq!(whole(of, format!("{body}{}", frame(end))).verdict, Verdict::Completed, "{body}{end}");
        }
    }
    // What an agent says of its own failure in an object is no line of a log.
    let body = format!("{{\"type\":\"modelMessageStartEvent\"}}\n{{\"error\":\"boom\"}}\n{COMPLETION}\n");
    assert_eq!(whole(NDJSON, body).verdict, reported("boom"));
    // Where no event ends a run, the last word counts.
    for (of, body) in [
        (NDJSON, "{\"text\":\"a\"}\nThrottlingException: x\n{\"usage\":{\"input_tokens\":1}}\n"),
        (SSE, "data: {\"init_event_loop\":true}\n\nThrottlingException: x\n"),
        (
            SSE,
            "data: {\"type\":\"agentResultEvent\",\"result\":{\"stopReason\":\"endTurn\"}}\n\nThrottlingException: x\n",
        ),
        (SSE, "event: values\ndata: {\"messages\":[]}\n\nThrottlingException: x\n"),
        (SSE, "data: {\"invocationId\":\"1\",\"author\":\"a\"}\n\nThrottlingException: x\n"),
    ] {
        assert_eq!(whole(of, body).verdict, reported("ThrottlingException: x"), "{body}");
    }
}

/// A stream that is cut off before the data of an event is no success, whatever else came.
#[test]
fn a_field_without_its_data_is_cut() {
    for before in ["", "data: {\"text\":\"a\"}\n\n", ": ping\n\n", "data: a\n", "event: message\n"] {
        for field in ["data", "data:", "data: "] {
            check(&format!("{before}{field}"), &WITHIN_EVENT);
        }
    }
    check("data: a\n\ndata:\n\n", &Verdict::Completed);
}

/// What an agent says of its failure beside the frames of a protocol that no event ends is its last word.
#[test]
fn a_failure_beside_the_frames_of_a_protocol_is_heard() {
    for begin in [
        r#"{"init_event_loop":true}"#,
        r#"{"invocationId":"1","author":"a","content":{"role":"model","parts":[{"text":"a"}]}}"#,
        r#"{"type":"start"}"#,
    ] {
        for failure in [
            "{'error': 'boom'}",
            r#"{"data":{"error":"boom"}}"#,
            r#"{"event":"error","data":"boom"}"#,
            r#"{"type":"error","data":"boom"}"#,
            r#"{"data":"boom","success":false}"#,
            r#"{"data":"boom","throttlingException":{"message":"boom"}}"#,
        ] {
            check(&format!("data: {begin}\n\ndata: {failure}\n\n"), &reported("boom"));
        }
    }
    let delta = r#"{"data":"a","delta":{"text":"a"},"request_state":{}}"#;
    check(&format!("data: {{\"init_event_loop\":true}}\n\ndata: {delta}\n\n"), &Verdict::Completed);
}

/// Strings may come in lines, and the runtime's words for an error behind them, whatever the label says.
#[test]
fn strings_in_lines_are_no_quoted_speech_before_a_failure() {
    for (behind, verdict) in [
        ("Traceback (most recent call last):\n  x\nKeyError: boom", reported("KeyError: boom")),
        ("RuntimeError: boom", reported("RuntimeError: boom")),
        ("{\"error\":\"boom\"}", reported("boom")),
        ("\"{\\\"error\\\": \\\"boom\\\"}\"", reported("boom")),
        ("\"data: {\\\"error\\\": \\\"boom\\\"}\"", reported("boom")),
        ("and so on", Verdict::Completed),
        ("\"and\" so on", Verdict::Completed),
    ] {
        for of in [JSON, None] {
            let body = format!("\"hello\"\n{behind}\n");
            assert_eq!(whole(of, &body).verdict, verdict, "{body}");
            assert_eq!(decode(of, body.as_bytes().chunks(1), End::Framed).verdict, verdict, "{body}");
        }
    }
}

/// A document may have as many lines as bytes, in any framing: were it scanned at each of them, these would take minutes.
#[test]
fn documents_of_very_many_lines_are_read_in_linear_time() {
    for (first, line, count) in [("{", "  1,", 60_000), ("{\"a\":", " \"", 80_000), ("{\"a\":[", "\"b\",", 60_000)] {
        let lines = format!("{first}\n{}", format!("{line}\n").repeat(count));
        for (of, body) in [
            (NDJSON, format!("{{\"x\":1}}\n{lines}")),
            (SSE, format!("data: a\n\n{lines}")),
            (SSE, format!("data: {lines}")),
            (SSE, format!("data: {{\ndata: \"x\":1,\n{lines}")),
            (SSE, format!("data: {{\n{}", format!("x\ndata: {line}\n").repeat(count))),
            (JSON, lines.clone()),
        ] {
            whole(of, body);
        }
    }
}
