//! Answers of which more has come than is kept: what changes the run is still heard.

use agent_trigger::agent::transcript::MAX_OUTPUT;
use agent_trigger::domain::answer::{AnswerError, End, Outcome, Verdict};
use agent_trigger::domain::finish_reason::FinishReason;

use crate::{SSE, decode, whole};

/// Reads a stream at once and in small pieces; both must record the same.
fn read(body: &str) -> Outcome {
    let outcome = whole(SSE, body);
    assert_eq!(decode(SSE, body.as_bytes().chunks(7), End::Framed), outcome);
    outcome
}

fn text_of(body: &str) -> String {
    read(body).output.expect("an answer").text
}

fn named(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// A message behind one that is full replaces it, however it comes.
#[test]
fn the_next_message_replaces_one_that_is_full() {
    let chunk = |id: &str, text: &str| {
        named("messages", &format!(r#"[{{"type":"AIMessageChunk","content":"{text}","id":"{id}"}},{{"a":1}}]"#))
    };
    let whole_message =
        |mode: &str, text: &str| named(mode, &format!(r#"[{{"type":"ai","content":"{text}","id":"2"}}]"#));
    for size in [10, MAX_OUTPUT - 100, MAX_OUTPUT, MAX_OUTPUT + 1, 9_000] {
        let piece = "x".repeat(size / 10);
        let first = "event: metadata\ndata: {}\n\n".to_owned() + &chunk("1", &piece).repeat(11);
        for next in [
            chunk("2", "final"),
            chunk("2", "fi") + &chunk("2", "nal"),
            named("messages", r#"[{"type":"AIMessageChunk","content":[{"text":"final"}],"id":"2"},{}]"#),
            whole_message("messages/complete", "final"),
            whole_message("messages/partial", "final"),
            whole_message("messages", "final"),
            named("values", r#"{"messages":[{"type":"ai","content":"final"}]}"#),
        ] {
            assert_eq!(text_of(&format!("{first}{next}")), "final", "{size} {next}");
        }
        // A message without text replaces nothing.
        assert!(text_of(&format!("{first}{}", chunk("2", ""))).starts_with('x'), "{size}");
    }
    for size in [10, MAX_OUTPUT + 1] {
        let delta = named("data", &format!("\"{}\"", "x".repeat(size / 10))).repeat(11);
        for next in [
            named("data", r#"{"output":{"content":"final"}}"#),
            named("data", r#"{"output":{"content":[{"type":"text","text":"final"}]}}"#),
            named("data", r#"{"ops":[{"op":"replace","path":"/final_output","value":"final"}]}"#),
        ] {
            let body = format!("event: metadata\ndata: {{}}\n\n{delta}{next}event: end\n\n");
            assert_eq!(text_of(&body), "final", "{size} {next}");
        }
    }
}
