//! Limits: events too large to keep, memory, output and message lengths (faults 31, 40).

use agent_trigger::agent::decoder::Decoder;
use agent_trigger::agent::framing::frame::{MAX_EVENT, PREFIX};
use agent_trigger::agent::transcript::MAX_OUTPUT;
use agent_trigger::domain::answer::{AnswerError, End, Interruption, Outcome, Verdict};
use agent_trigger::domain::finish_reason::FinishReason;

use crate::{COMPLETION, JSON, NDJSON, SSE, decode, whole};

const CHUNK: usize = 64 * 1024;
const LARGE: usize = 16 * MAX_EVENT;

/// What may be held beside the event under way.
const OVERHEAD: usize = 3 * MAX_OUTPUT + 2 * PREFIX;

/// Decodes in chunks, and checks the memory held after each.
fn bounded(content_type: Option<&str>, body: &[u8], limit: usize) -> Outcome {
    let mut decoder = Decoder::new(content_type).expect("a supported content type");
    for chunk in body.chunks(CHUNK) {
        let decided = decoder.feed(chunk).is_some();
        assert!(decoder.buffered() <= limit, "{} bytes held", decoder.buffered());
        if decided {
            break;
        }
    }
    decoder.finish(End::Framed)
}

fn large(head: &str, tail: &str) -> Vec<u8> {
    [head.as_bytes(), &vec![b'x'; LARGE], tail.as_bytes()].concat()
}

fn reported(message: &str) -> Verdict {
    Verdict::Failed(AnswerError::Reported { message: Some(message.to_owned()) })
}

#[test]
fn drops_large_events_and_goes_on() {
    let delta = large("{\"type\":\"modelContentBlockDeltaEvent\",\"delta\":{\"text\":\"", "\"}}\n");
    let body = [&delta[..], &delta, b"{\"type\":\"x\"}\n", COMPLETION.as_bytes(), b"\n"].concat();
    let outcome = bounded(NDJSON, &body, MAX_EVENT + OVERHEAD);
    assert_eq!(outcome.verdict, Verdict::Completed);
    assert_eq!((outcome.progress.events, outcome.progress.skipped_events, &outcome.output), (4, 2, &None));
    assert_eq!(outcome.progress.bytes, body.len() as u64);
    assert_eq!(decode(NDJSON, [&body[..]], End::Torn), outcome, "in one chunk");

    let frame = [b"data: ", &delta[..], b"\n"].concat();
    let body = [b"data: {\"type\":\"beforeInvocationEvent\"}\n\n", &frame[..], b"data: small\n\n"].concat();
    let outcome = bounded(SSE, &body, 2 * MAX_EVENT + OVERHEAD);
    assert_eq!(outcome.verdict, Verdict::Interrupted(Interruption::NoTerminalEvent));
    assert_eq!((outcome.progress.events, outcome.progress.skipped_events), (3, 1));
}

#[test]
fn hears_large_terminal_events() {
    let error = "{\"type\":\"serverErrorEvent\",\"error\":{\"message\":\"boom\",\"requestId\":\"req-2\",\"stack\":\"";
    let completion = "{\"type\":\"serverCompletionEvent\",\"metadata\":{\"requestId\":\"req-2\",\"log\":\"";
    for (head, verdict) in [(error, reported("boom")), (completion, Verdict::Completed)] {
        for (of, tail) in
            [(NDJSON, "\"}}\n"), (NDJSON, "\"}} \t\r\n"), (NDJSON, "\"}}"), (SSE, "\"}}\n\n"), (SSE, "\"}}")]
        {
            let head = if of == SSE { format!("data: {head}") } else { head.to_owned() };
            let body = large(&head, tail);
            let outcome = bounded(of, &body, 2 * MAX_EVENT + OVERHEAD);
            assert_eq!(outcome.verdict, verdict, "{of:?} {tail:?}");
            assert_eq!(outcome.request_id.as_deref(), Some("req-2"), "{of:?} {tail:?} {verdict:?}");
            assert_eq!(outcome.progress.skipped_events, 1);
            assert_eq!(decode(of, [&body[..]], End::Framed), outcome, "in one chunk");
        }
    }
}

#[test]
fn does_not_believe_large_completions_that_are_cut() {
    let head = "{\"type\":\"serverCompletionEvent\",\"metadata\":{\"log\":\"";
    for (of, field) in [(NDJSON, ""), (SSE, "data: ")] {
        let outcome = bounded(of, &large(&format!("{field}{head}"), ""), 2 * MAX_EVENT + OVERHEAD);
        assert!(matches!(outcome.verdict, Verdict::Interrupted(_)), "{:?}", outcome.verdict);
    }
}

#[test]
fn hears_large_sse_errors() {
    let frames = [
        ("event: error\ndata: {\"error\":\"boom\",\"x\":\"", "\"}\n\n"),
        ("data: {\"error\":\"boom\",\"error_type\":\"E\",\"x\":\"", "\"}\n\n"),
        ("data: {\"error\":\"boom\",\"x\":\"", "\",\"error_type\":\"E\"}\n\n"),
        ("data: {\"force_stop\":true,\"force_stop_reason\":\"boom\",\"x\":\"", "\"}\n\n"),
        ("event: error\ndata: boom ", "\n\n"),
    ];
    for (head, tail) in frames {
        let outcome = bounded(SSE, &large(head, tail), 2 * MAX_EVENT + OVERHEAD);
        match outcome.verdict {
            Verdict::Failed(AnswerError::Reported { message: Some(message) }) => {
                assert!(message.starts_with("boom") && message.len() <= 2048, "{head}: {message}");
            }
            other => panic!("{head}: {other:?}"),
        }
    }
}

#[test]
fn bounds_frames_of_many_lines() {
    let mut body = b"data: {\"type\":\"serverErrorEvent\",\n".to_vec();
    (0..LARGE / 1024).for_each(|_| body.extend_from_slice(&[&b"data: "[..], &[b' '; 1017], b"\n"].concat()));
    body.extend_from_slice(b"data: }\n\n");
    let outcome = bounded(SSE, &body, 2 * MAX_EVENT + OVERHEAD);
    assert_eq!(outcome.verdict, Verdict::Failed(AnswerError::Reported { message: None }));
    assert_eq!(outcome.progress.skipped_events, 1);
}

#[test]
fn passes_over_a_large_comment() {
    let outcome = bounded(SSE, &large(": ", "\ndata: fine\n\n"), 2 * MAX_EVENT + OVERHEAD);
    assert_eq!((outcome.verdict, outcome.progress.skipped_events), (Verdict::Completed, 0));
}

#[test]
fn the_last_byte_of_a_mebibyte_changes_nothing() {
    let event = |size: usize| {
        let tail = ",\"type\":\"serverCompletionEvent\"}";
        let pad = size - "{\"a\":\"\"".len() - tail.len();
        format!("{{\"a\":\"{}\"{tail}\n", "x".repeat(pad))
    };
    assert_eq!(whole(NDJSON, event(MAX_EVENT)).verdict, Verdict::Completed);
    let over = whole(NDJSON, event(MAX_EVENT + 1));
    assert_eq!(over.verdict, Verdict::Completed);
    assert_eq!(over.progress.skipped_events, 1);
    for size in [MAX_EVENT, MAX_EVENT + 1] {
        let body = event(size);
        let expected = whole(NDJSON, &body);
        assert_eq!(decode(NDJSON, body.as_bytes().chunks(1), End::Framed), expected);
        assert_eq!(decode(NDJSON, body.as_bytes().chunks(4093), End::Framed), expected);
    }
    // The same limit for SSE, whose line is longer than its event.
    let frame = |size| format!("data: {}\n", event(size));
    assert_eq!(whole(SSE, frame(MAX_EVENT)).verdict, Verdict::Completed);
    assert_eq!(whole(SSE, frame(MAX_EVENT + 1)).progress.skipped_events, 1);
}

#[test]
fn a_large_event_gives_its_memory_back() {
    let mut decoder = Decoder::new(NDJSON).expect("NDJSON");
    let event = [b"{\"type\":\"x\",\"a\":\"", &vec![b'x'; MAX_EVENT - 40][..], b"\"}\n"].concat();
    event.chunks(CHUNK).for_each(|chunk| assert_eq!(decoder.feed(chunk), None));
    decoder.feed(b"{\"type\"");
    assert!(decoder.buffered() < 2 * CHUNK * 4, "{}", decoder.buffered());
}

#[test]
fn small_events_are_not_buffered() {
    let mut decoder = Decoder::new(NDJSON).expect("NDJSON");
    let events = "{\"type\":\"modelStreamUpdateEvent\",\"event\":{}}\n".repeat(10_000);
    assert_eq!(decoder.feed(events.as_bytes()), None);
    assert_eq!(decoder.buffered(), 0);
    assert_eq!(decoder.progress().events, 10_000);
}

#[test]
fn cuts_output_between_characters() {
    let text = |text: &str| {
        format!("{{\"type\":\"modelContentBlockDeltaEvent\",\"delta\":{{\"text\":\"{text}\"}}}}\n{COMPLETION}\n")
    };
    for (sent, kept, truncated) in [
        ("x".repeat(MAX_OUTPUT), "x".repeat(MAX_OUTPUT), false),
        ("x".repeat(MAX_OUTPUT + 1), "x".repeat(MAX_OUTPUT), true),
        (format!("xx{}", "日".repeat(MAX_OUTPUT)), format!("xx{}", "日".repeat(2730)), true),
        (format!("{}🚀", "x".repeat(MAX_OUTPUT - 1)), "x".repeat(MAX_OUTPUT - 1), true),
        (format!("{}\\ud83d\\ude80x", "x".repeat(MAX_OUTPUT - 3)), "x".repeat(MAX_OUTPUT - 3), true),
    ] {
        let output = whole(NDJSON, text(&sent)).output.expect("an output");
        assert_eq!((output.text == kept, output.truncated), (true, truncated), "{} bytes", output.text.len());
        let output = whole(JSON, format!("\"{sent}\"")).output.expect("an output");
        assert_eq!((output.text == kept, output.truncated), (true, truncated), "{} bytes", output.text.len());
    }
}

#[test]
fn a_message_after_a_cut_one_is_whole() {
    let start = "{\"type\":\"modelMessageStartEvent\",\"role\":\"assistant\"}\n";
    let delta =
        |text: &str| format!("{{\"type\":\"modelContentBlockDeltaEvent\",\"delta\":{{\"text\":\"{text}\"}}}}\n");
    let long = delta(&"x".repeat(5000));
    let body = format!("{start}{long}{long}{start}{}{COMPLETION}", delta("short"));
    let output = whole(NDJSON, body).output.expect("an output");
    assert_eq!((output.text.as_str(), output.truncated), ("short", false));
}

#[test]
fn a_delta_after_a_cut_whole_message_begins_another() {
    let message = |text: &str| frame("message", &format!(r#"{{"role":"assistant","content":[{{"text":"{text}"}}]}}"#));
    let delta = frame("event", r#"{"contentBlockDelta":{"delta":{"text":"short"}}}"#);
    let body = format!("{}{delta}", message(&"x".repeat(MAX_OUTPUT + 1)));
    let output = whole(SSE, body).output.expect("an output");
    assert_eq!((output.text.as_str(), output.truncated), ("short", false));
}

/// An SSE frame of an object with one member.
fn frame(name: &str, value: &str) -> String {
    format!("data: {{\"{name}\":{value}}}\n\n")
}

#[test]
fn decides_json_documents_of_any_size() {
    let limit = MAX_EVENT + OVERHEAD;
    let error = bounded(JSON, &large("{\"error\":\"boom\",\"x\":\"", "\"}"), limit);
    assert_eq!(error.verdict, reported("boom"));
    let result = bounded(JSON, &large("{\"error\":null,\"result\":\"fine\",\"x\":\"", "\"}"), limit);
    assert_eq!((result.verdict, result.output.expect("an output").text.as_str()), (Verdict::Completed, "fine"));
    let error = bounded(JSON, &large("{\"result\":\"", "\",\"error\":\"seen\"}"), limit);
    assert_eq!(error.verdict, reported("seen"));
    let result = bounded(JSON, &large("{\"result\":\"", "\",\"error\":null}"), limit);
    assert_eq!(result.verdict, Verdict::Completed);
    assert!(result.output.is_some_and(|output| output.truncated && output.text.len() == MAX_OUTPUT));
    let string = bounded(JSON, &large("\"", "\""), limit);
    assert!(string.output.is_some_and(|output| output.truncated));
    let cut = bounded(JSON, &large("{\"error\":\"", "\"}"), limit);
    assert!(matches!(cut.verdict, Verdict::Failed(AnswerError::Reported { message: Some(_) })));
    assert_eq!(bounded(JSON, &large("<html>", ""), limit).verdict, Verdict::Failed(AnswerError::NotJson));
    let torn = decode(JSON, [&large("{\"result\":\"", "\"}")[..]], End::Torn);
    assert_eq!(torn.verdict, Verdict::Interrupted(Interruption::Torn));
}

#[test]
fn bounds_messages_and_ids() {
    let long = "é".repeat(10_000);
    let body =
        format!("{{\"type\":\"serverErrorEvent\",\"error\":{{\"message\":\"{long}\",\"requestId\":\"{long}\"}}}}\n");
    let outcome = whole(NDJSON, body);
    assert_eq!(outcome.request_id, None);
    match outcome.verdict {
        Verdict::Failed(AnswerError::Reported { message: Some(message) }) => assert_eq!(message.len(), 2048),
        other => panic!("{other:?}"),
    }
}

#[test]
fn whitespace_behind_a_large_event_is_no_part_of_it() {
    let spaces = vec![b' '; MAX_EVENT];
    for (of, head) in [(NDJSON, COMPLETION.to_owned()), (SSE, format!("data: {COMPLETION}"))] {
        let outcome = decode(of, [head.as_bytes(), &spaces], End::Framed);
        assert_eq!((&outcome.verdict, outcome.progress.skipped_events), (&Verdict::Completed, 1));
        let body = [head.as_bytes(), &spaces].concat();
        assert_eq!(decode(of, [&body[..]], End::Framed), outcome);
    }
}

#[test]
fn the_type_of_a_large_event_is_heard_wherever_it_stands() {
    for over in [0, 1, 2 * MAX_EVENT] {
        let kind = "\",\"type\":\"serverCompletionEvent\"";
        let pad = "x".repeat(PREFIX + over - kind.len() - "{\"a\":\"".len());
        let body = large(&format!("{{\"a\":\"{pad}{kind},\"log\":\""), "\"}\n");
        assert_eq!(whole(NDJSON, &body).verdict, Verdict::Completed, "{over}");
    }
}

/// What says how the run ended is heard of a frame of any size, wherever it stands.
#[test]
fn the_end_of_a_large_frame_says_how_the_run_ended() {
    let closed = reported("closed");
    let asks = Verdict::Incomplete(FinishReason::Interrupt);
    for (tail, verdict) in [
        ("\"success\":false,\"message\":\"closed\"", &closed),
        ("\"error\":\"closed\"", &closed),
        ("\"error\":{\"message\":\"closed\"},\"usage\":{}", &closed),
        ("\"status\":\"failed\",\"reason\":\"closed\"", &closed),
        ("\"stop_reason\":\"interrupt\"", &asks),
        ("\"usage\":{\"input_tokens\":21}", &Verdict::Completed),
        ("\"steps\":[{\"error\":\"no\"}]", &Verdict::Completed),
    ] {
        for (of, head, end) in [
            (JSON, "", "}"),
            (JSON, "", " \n}\n"),
            (NDJSON, "", "}\n"),
            (NDJSON, "{\"text\":\"a\"}\n", "}"),
            (SSE, "data: ", "}\n\n"),
            (SSE, "data: {\"text\":\"a\"}\n\ndata: ", "}"),
            (JSON, "[{\"text\":\"a\"},", "}]"),
        ] {
            let body = large(&format!("{head}{{\"result\":\""), &format!("\",{tail}{end}"));
            let outcome = bounded(of, &body, 2 * MAX_EVENT + OVERHEAD);
            assert_eq!(&outcome.verdict, verdict, "{of:?} {head:?} {tail}");
            assert_eq!(decode(of, [&body[..]], End::Framed), outcome, "{of:?} {head:?} {tail} in one chunk");
            assert_ne!(decode(of, [&body[..body.len() - 3]], End::Torn).verdict, Verdict::Completed);
            if *verdict != closed {
                assert!(outcome.output.is_some_and(|output| output.truncated), "{of:?} {head:?} {tail}");
            }
        }
    }
    // The errors of tools are the agent's own business, however large they are.
    let tool = large("{\"type\":\"tool_result\",\"content\":\"", "\",\"is_error\":true}\n{\"text\":\"a\"}\n");
    assert_eq!(whole(NDJSON, &tool).verdict, Verdict::Completed);
}

/// White space is no part of a document, however large that is and wherever it is cut.
#[test]
fn white_space_around_a_document_changes_nothing() {
    for size in [MAX_EVENT - 2, MAX_EVENT - 1, MAX_EVENT] {
        let body = format!("\"{}\"", "x".repeat(size));
        for end in ["", "\n", "\r\n \n"] {
            let ended = format!("{body}{end}");
            for chunks in [vec![ended.as_bytes()], vec![body.as_bytes(), end.as_bytes()]] {
                let outcome = decode(JSON, chunks, End::Framed);
                assert_eq!(outcome.verdict, Verdict::Completed, "{size} {end:?}");
            }
        }
    }
    let lines = format!("{{\"a\":\"{}\"}}\n{{\"text\":\"hi\"}}\n", "x".repeat(5_000));
    for before in ["", "\n", "  \r\n"] {
        let outcome = whole(JSON, format!("{before}{lines}"));
        assert_eq!(outcome.output.map(|output| output.text).as_deref(), Some("hi"), "{before:?}");
    }
}
