//! Lines of a stream that are no frames of it, and where they stand.

use agent_trigger::domain::answer::{AnswerError, End, Interruption, Verdict};
use agent_trigger::domain::finish_reason::FinishReason;

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
        // Without its last line end, a line that reads like a report is the last word.
        let cut = body.trim_end();
        if !cut.rsplit('\n').next().expect("a line").starts_with("ValueError") {
            check(cut, &Verdict::Completed);
        }
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
        let cut = ["data: ", "event: "].into_iter().flat_map(|field| (1..=field.len()).map(|end| &field[..end]));
        for field in cut {
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
            r#"{"data":"a","err":"boom"}"#,
            r#"{"data":"a","Error":"boom"}"#,
            r#"{"data":"a","\u0065rror":"boom"}"#,
            r#"{"data":"a","traceback":"boom"}"#,
            r#"{"data":"a","__error__":"boom"}"#,
            r#"{"data":"boom","fault":"x"}"#,
            r#"{"data":"boom","kind":"error"}"#,
            r#"{"data":"boom","statusCode":500}"#,
            r#"{"data":"a","result":{"error":"boom"}}"#,
            r#"{"data":"a","output":{"status":"failed","message":"boom"}}"#,
            r#"{"data":"a","response":{"throttlingException":{"message":"boom"}}}"#,
        ] {
            check(&format!("data: {begin}\n\ndata: {failure}\n\n"), &reported("boom"));
        }
        for (stop, reason) in [
            (r#"{"data":"May I?","requires_approval":true}"#, FinishReason::Interrupt),
            (r#"{"data":"May I?","interrupt":{"value":1}}"#, FinishReason::Interrupt),
            (r#"{"data":"a","done_reason":"length"}"#, FinishReason::MaxTokens),
            (r#"{"data":"a","tripwire":true}"#, FinishReason::Guardrail),
            (r#"{"data":"a","result":{"finish_reason":"length"}}"#, FinishReason::MaxTokens),
        ] {
            // A stream of Vercel's needs its own end.
            if !begin.contains("start") {
                check(&format!("data: {begin}\n\ndata: {stop}\n\n"), &Verdict::Incomplete(reason));
            }
        }
    }
    // Beside what a protocol's own frame holds.
    for frame in [
        r#"{"message":{"role":"assistant","content":[{"text":"a"}]},@}"#,
        r#"{"result":{"stop_reason":"end_turn","message":{"role":"assistant","content":[{"text":"a"}]}},@}"#,
        r#"{"type":"agent_result","stop_reason":"end_turn","message":{"role":"assistant","content":[]},@}"#,
        r#"{"invocationId":"1","author":"a","content":{"role":"model","parts":[{"text":"a"}]},@}"#,
        r#"{"invocationId":"1","author":"a","partial":true,"content":{"role":"model","parts":[{"text":"a"}]},@}"#,
    ] {
        let begin = if frame.contains("author") { "" } else { "data: {\"init_event_loop\":true}\n\n" };
        for failure in [
            r#""error":"boom""#,
            r#""err":"boom""#,
            r#""\u0065rror":"boom""#,
            r#""exception":"boom""#,
            r#""failed":true,"reason":"boom""#,
            r#""statusCode":500,"reason":"boom""#,
            r#""throttlingException":{"message":"boom"}"#,
            r#""success":false,"reason":"boom""#,
        ] {
            let body = format!("{begin}data: {}\n\n", frame.replace('@', failure));
            match whole(SSE, &body).verdict {
                Verdict::Failed(_) => {}
                other => panic!("{other:?} {body}"),
            }
        }
        for plain in [r#""type":"event""#, r#""kind":"text""#, r#""code":1"#, r#""error":null"#, r#""status":"ok""#] {
            if !(plain.contains("type") && frame.contains("type")) {
                let body = format!("{begin}data: {}\n\n", frame.replace('@', plain));
                assert_eq!(whole(SSE, &body).verdict, Verdict::Completed, "{body}");
            }
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

/// A document in several lines that says more than could be kept of it is not believed, whichever of its lines that is.
#[test]
fn a_document_in_lines_of_which_too_much_is_lost_completes_nothing() {
    let flood = "\"error\":null,\n".repeat(100_000);
    let long = |size: usize| format!("  \"log\":\"{}\",\n", "x".repeat(size));
    let quotes = format!("  \"log\":\"{}\",\n \"a\\\"b\":1,\n", "\\\"".repeat(40_000));
    let failed = reported("boom");
    for (of, first, document, verdict) in [
        (NDJSON, "{", format!("\"data\": {{\"text\":\"a\",\n{flood}\"error\":\"boom\"\n}}\n}}"), &NO_TERMINAL),
        (SSE, "{", format!("\"data\": {{\"text\":\"a\",\n{flood}\"error\":\"boom\"\n}}\n}}"), &NO_TERMINAL),
        (NDJSON, "{", format!("{} \"text\":\"a\"\n}}", long(1_100_000)), &NO_TERMINAL),
        (SSE, "{", format!("{} \"text\":\"a\"\n}}", long(1_100_000)), &NO_TERMINAL),
        (NDJSON, "{", format!("{} \"error\":\"boom\"\n}}", long(1_100_000)), &failed),
        (SSE, "{", format!("{} \"error\":\"boom\"\n}}", long(1_100_000)), &failed),
        (NDJSON, "{", format!("{} \"text\":\"a\"\n}}", long(70_000)), &Verdict::Completed),
        (SSE, "{", format!("{} \"text\":\"a\"\n}}", long(70_000)), &NO_TERMINAL),
        (SSE, "{", format!("{} \"error\":\"boom\"\n}}", long(70_000)), &failed),
        (SSE, "{", format!("{quotes} \"text\":\"a\"\n}}"), &NO_TERMINAL),
        (SSE, "{\"x\":1,", format!("{quotes} \"text\":\"a\"\n}}"), &NO_TERMINAL),
        // A frame gives it up, and says nothing of it.
        (NDJSON, "{", format!("{}{{\"usage\":{{\"input_tokens\":1}}}}", long(1_100_000)), &NO_TERMINAL),
    ] {
        let before = if of == SSE { "data: {\"x\":1}\n\n" } else { "{\"x\":1}\n" };
        for end in ["\n", ""] {
            let body = format!("{before}{first}\n{document}{end}");
            let shown = format!("{of:?} {first} … {}", &document[document.len() - 40..]);
            assert_eq!(&whole(of, &body).verdict, verdict, "{shown}");
            assert_eq!(&decode(of, body.as_bytes().chunks(4093), End::Framed).verdict, verdict, "in chunks: {shown}");
        }
        // Only further answer shows that the agent went on.
        let frame = |data: &str| if of == SSE { format!("\ndata: {data}\n\n") } else { format!("\n{data}\n") };
        let body = format!("{before}{first}\n{document}");
        let usage = frame("{\"usage\":{\"input_tokens\":1}}");
        assert_eq!(&whole(of, format!("{body}{usage}")).verdict, verdict);
        assert_eq!(whole(of, format!("{body}{}{usage}", frame("{\"text\":\"b\"}"))).verdict, Verdict::Completed);
    }
}

/// What a line reported is the last word until text follows it, whatever else could not be kept.
#[test]
fn a_large_frame_replaces_no_failure() {
    let log = "x".repeat(1_100_000);
    for (report, words) in
        [("RuntimeError: boom", Some("RuntimeError: boom")), ("Traceback (most recent call last):", None)]
    {
        let failed = Verdict::Failed(AnswerError::Reported { message: words.map(str::to_owned) });
        for frame in [
            format!("{{\"usage\":{{\"input_tokens\":1}},\"log\":\"{log}"),
            format!("{{\"usage\":{{\"input_tokens\":1}},\"log\":\"{log}\"}} x"),
        ] {
            let bodies = [
                (NDJSON, format!("{{\"text\":\"a\"}}\n{report}\n{frame}\n")),
                (SSE, format!("data: {{\"text\":\"a\"}}\n\n{report}\ndata: {frame}\n\n")),
            ];
            for (of, body) in bodies {
                assert_eq!(whole(of, &body).verdict, failed, "{of:?} {report}");
                assert_eq!(decode(of, [body.as_bytes()], End::Torn).verdict, failed, "{of:?} {report}");
            }
        }
    }
}

/// A frame ends a traceback: the next line may be anything.
#[test]
fn a_traceback_ends_where_a_frame_comes() {
    let trace = "Traceback (most recent call last):\n";
    for (of, frame) in [(NDJSON, "{\"text\":\"on\"}\n"), (SSE, "data: {\"text\":\"on\"}\n\n")] {
        for (behind, verdict) in [
            ("INFO: done\n", Verdict::Completed),
            ("  File \"a.py\", line 1\nINFO: done\n", Verdict::Completed),
            ("KeyError: x\n", reported("KeyError: x")),
        ] {
            assert_eq!(whole(of, format!("{trace}{frame}{behind}")).verdict, verdict, "{of:?} {behind}");
        }
    }
    // An object between server-sent events is one, too.
    assert_eq!(whole(SSE, format!(": ping\n\n{trace}{{\"text\":\"on\"}}\nINFO: done\n")).verdict, Verdict::Completed);
    assert_eq!(
        whole(NDJSON, format!("{trace}{{\"usage\":{{}}}}\nINFO: done\n")).verdict,
        Verdict::Failed(AnswerError::Reported { message: None })
    );
}

/// A document may have as many lines as bytes, in any framing. Its lines are no success before its end. That each byte is
/// looked at once is tested where the lines are taken.
#[test]
fn documents_of_very_many_lines_need_their_ends() {
    for (first, line, count) in [("{", "  1,", 60_000), ("{\"a\":", " \"", 80_000), ("{\"a\":[", "\"b\",", 60_000)] {
        let lines = format!("{first}\n{}", format!("{line}\n").repeat(count));
        for (of, body, verdict) in [
            (NDJSON, format!("{{\"x\":1}}\n{lines}"), &NO_TERMINAL),
            (SSE, format!("data: a\n\n{lines}"), &NO_TERMINAL),
            (SSE, format!("data: {lines}"), &WITHIN_EVENT),
            (SSE, format!("data: {{\ndata: \"x\":1,\n{lines}"), &NO_TERMINAL),
            (SSE, format!("data: {{\n{}", format!("x\ndata: {line}\n").repeat(count)), &WITHIN_EVENT),
            (JSON, lines.clone(), &Verdict::Failed(AnswerError::NotJson)),
        ] {
            assert_eq!(&whole(of, body).verdict, verdict, "{of:?} {first} {line}");
        }
    }
}
