//! Every fixture gives its outcome however its bytes are split and its lines are ended (faults 24-26, 30, 32-34).

use std::path::Path;

use agent_trigger::domain::answer::{AnswerError, End, Interruption, Outcome, Output, Progress, Verdict};
use agent_trigger::domain::usage::Usage;

use crate::{JSON, NDJSON, SSE, decode};

struct Expected {
    name: &'static str,
    verdict: Verdict,
    output: Option<&'static str>,
    request_id: Option<&'static str>,
    /// events, skipped events, tool uses
    counts: [u64; 3],
    /// input, output, cache read, cache write
    usage: Option<[u64; 4]>,
}

fn completed(name: &'static str, output: &'static str, counts: [u64; 3], usage: Option<[u64; 4]>) -> Expected {
    let request_id = (name.contains("ndjson") || name.starts_with("typed")).then_some("req-1");
    Expected { name, verdict: Verdict::Completed, output: Some(output), request_id, counts, usage }
}

fn failed(name: &'static str, message: &str, request_id: Option<&'static str>, counts: [u64; 3]) -> Expected {
    let verdict = Verdict::Failed(AnswerError::Reported { message: Some(message.to_owned()) });
    Expected { name, verdict, output: None, request_id, counts, usage: None }
}

fn interrupted(name: &'static str, why: Interruption, counts: [u64; 3], usage: Option<[u64; 4]>) -> Expected {
    Expected { name, verdict: Verdict::Interrupted(why), output: None, request_id: None, counts, usage }
}

fn all() -> Vec<Expected> {
    const ANSWER: &str = "Drei Dateien: ä, 日本, 🚀\ndone.";
    const USAGE: Option<[u64; 4]> = Some([30, 12, 3, 4]);
    vec![
        completed("completed.ndjson", ANSWER, [14, 0, 1], USAGE),
        completed("completed-without-newline.ndjson", ANSWER, [14, 0, 1], USAGE),
        completed("completed-then-error.ndjson", ANSWER, [14, 0, 1], USAGE),
        failed("error-then-completed.ndjson", "the model refused: \"zu groß\"", Some("req-2"), [5, 0, 1]),
        interrupted("cut.ndjson", Interruption::NoTerminalEvent, [14, 1, 1], USAGE),
        interrupted("unfinished.ndjson", Interruption::NoTerminalEvent, [13, 0, 1], USAGE),
        completed("garbage.ndjson", ANSWER, [13 * 9 + 2, 13 * 8, 1], USAGE),
        completed("strands.sse", "Es sind zwei 🚀", [17, 0, 1], USAGE),
        failed("strands-error.sse", "Too many tokens: ü", None, [7, 0, 0]),
        failed("strands-force-stop.sse", "max cycles", None, [7, 0, 0]),
        failed("error-event.sse", "stream failed", None, [2, 0, 0]),
        failed("error-event-unterminated.sse", "stream failed", None, [2, 0, 0]),
        completed("plain.sse", "Grüß\n dich\n世界ü😀", [5, 0, 0], None),
        completed("typed.sse", ANSWER, [14, 0, 1], USAGE),
        interrupted("typed-unfinished.sse", Interruption::NoTerminalEvent, [13, 0, 1], USAGE),
        interrupted("cut.sse", Interruption::WithinEvent, [16, 0, 1], USAGE),
        interrupted("empty.sse", Interruption::Empty, [0, 0, 0], None),
        failed("multi-line.sse", "boom", Some("req-2"), [1, 0, 0]),
        completed("result.json", "Grüße 🚀", [1, 0, 0], None),
        completed("message.json", "one two", [1, 0, 0], None),
        completed("string.json", "an \"answer\"\n", [1, 0, 0], None),
        completed("other.json", r#"{"error":"","answer":[1,{"a b":" c "}]}"#, [1, 0, 0], None),
        failed("error.json", "quota exceeded ü", None, [1, 0, 0]),
        failed("error-object.json", "boom", None, [1, 0, 0]),
    ]
}

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/streams"))
}

fn body(name: &str) -> Vec<u8> {
    std::fs::read(directory().join(name)).expect(name)
}

fn content_type(name: &str) -> Option<&'static str> {
    match name.rsplit('.').next() {
        Some("ndjson") => NDJSON,
        Some("sse") => SSE,
        _ => JSON,
    }
}

fn check(expected: &Expected, outcome: &Outcome) {
    let name = expected.name;
    assert_eq!(outcome.verdict, expected.verdict, "{name}");
    let output = expected.output.map(|text| Output { text: text.to_owned(), truncated: false });
    assert_eq!(outcome.output, output, "{name}");
    assert_eq!(outcome.request_id.as_deref(), expected.request_id, "{name}");
    let session = expected.request_id.filter(|_| expected.verdict == Verdict::Completed).map(|_| "session-1");
    assert_eq!(outcome.session_id.as_deref(), session, "{name}");
    let Progress { events, skipped_events, tool_uses, usage, .. } = outcome.progress;
    assert_eq!([events, skipped_events, tool_uses], expected.counts, "{name}: events, skipped, tools");
    let usage =
        usage.map(|u: Usage| [u.input_tokens, u.output_tokens, u.cache_read_input_tokens, u.cache_write_input_tokens]);
    assert_eq!(usage, expected.usage, "{name}");
}

#[test]
fn every_fixture_is_listed() {
    let mut files: Vec<_> = std::fs::read_dir(directory())
        .expect("fixtures")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("name"))
        .collect();
    let mut listed: Vec<_> = all().iter().map(|expected| expected.name.to_owned()).collect();
    files.sort();
    listed.sort();
    assert_eq!(files, listed);
}

#[test]
fn decides_fixtures_fed_whole() {
    for expected in all() {
        let body = body(expected.name);
        let outcome = decode(content_type(expected.name), [&body[..]], End::Framed);
        check(&expected, &outcome);
    }
}

#[test]
fn decides_fixtures_split_anywhere() {
    for expected in all() {
        let body = body(expected.name);
        let whole = decode(content_type(expected.name), [&body[..]], End::Framed);
        for at in 0..=body.len() {
            let (first, second) = body.split_at(at);
            let outcome = decode(content_type(expected.name), [first, second], End::Framed);
            assert_eq!(outcome, whole, "{} split at {at}", expected.name);
        }
        let outcome = decode(content_type(expected.name), body.chunks(1), End::Framed);
        assert_eq!(outcome, whole, "{} byte by byte", expected.name);
    }
}

/// The line ends that SSE allows, and CRLF for NDJSON, change nothing but the number of bytes.
#[test]
fn decides_fixtures_with_any_line_end() {
    for expected in all() {
        let ends: &[&str] = match content_type(expected.name) {
            SSE => &["\r\n", "\r"],
            NDJSON => &["\r\n"],
            _ => &[],
        };
        for end in ends {
            let mut other = Vec::new();
            for line in body(expected.name).split_inclusive(|byte| *byte == b'\n') {
                match line.strip_suffix(b"\n") {
                    Some(line) => other.extend_from_slice(&[line, end.as_bytes()].concat()),
                    None => other.extend_from_slice(line),
                }
            }
            let whole = decode(content_type(expected.name), [&other[..]], End::Framed);
            check(&expected, &whole);
            assert_eq!(decode(content_type(expected.name), other.chunks(1), End::Framed), whole, "{}", expected.name);
            for at in 0..=other.len() {
                let (first, second) = other.split_at(at);
                let outcome = decode(content_type(expected.name), [first, second], End::Framed);
                assert_eq!(outcome, whole, "{} with {end:?} split at {at}", expected.name);
            }
        }
    }
}

/// A body cut anywhere by a torn connection is no success, unless the terminal event was read before.
#[test]
fn never_completes_torn_fixtures() {
    for expected in all() {
        let body = body(expected.name);
        for at in 0..=body.len() {
            let outcome = decode(content_type(expected.name), [&body[..at]], End::Torn);
            let decided = expected.request_id == Some("req-1") && outcome.request_id.is_some();
            assert_eq!(outcome.verdict == Verdict::Completed, decided, "{} torn at {at}", expected.name);
        }
    }
}

#[test]
fn sniffs_fixtures_without_content_type() {
    for expected in all() {
        // Its first event is none that tells NDJSON from a JSON document.
        let body = body(expected.name);
        let body = body.strip_prefix(b"{\"type\":\"beforeInvocationEvent\"}\n").unwrap_or(&body);
        if expected.name == "garbage.ndjson" {
            continue;
        }
        let outcome = decode(None, [body], End::Framed);
        assert_eq!(outcome.verdict, expected.verdict, "{}", expected.name);
        assert_eq!(decode(None, body.chunks(1), End::Framed), outcome, "{} byte by byte", expected.name);
    }
}
