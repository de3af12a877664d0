//! Tests of the local run: what it says of an answer, the scripts of its stand-in agents, the relay through which it
//! watches, and the samples of docs/agents.md, which it refers to.
#![allow(clippy::unwrap_used, reason = "the allowance of clippy.toml does not reach the helpers of tests")]
#![allow(dead_code, unreachable_pub, reason = "what only the program calls")]

mod agents_page;
mod explained;
#[path = "../../examples/local/recognised.rs"]
mod recognised;
mod relay;
mod scripts;

use agent_trigger::agent::decoder::Decoder;
use agent_trigger::domain::answer::{AnswerError, End, Outcome, Verdict};

/// Decodes a whole answer that arrives in pieces of this size.
fn decode(status: u16, content_type: &str, body: &[u8], size: usize) -> Outcome {
    let mut decoder = Decoder::new(Some(content_type)).unwrap().with_status(status);
    for piece in body.chunks(size) {
        decoder.feed(piece);
    }
    decoder.finish(End::Framed)
}

/// Returns the status and the type of the error that the record gets.
fn recorded(verdict: &Verdict) -> (&'static str, Option<&'static str>) {
    match verdict {
        Verdict::Completed => ("completed", None),
        Verdict::Incomplete(_) => ("failed", Some("AgentIncomplete")),
        Verdict::Failed(_) => ("failed", Some("AgentFailed")),
        Verdict::Interrupted(_) => ("failed", Some("StreamInterrupted")),
    }
}

/// Returns what the agent said of its failure.
fn message(outcome: &Outcome) -> Option<&str> {
    match &outcome.verdict {
        Verdict::Failed(AnswerError::Reported { message }) => message.as_deref(),
        _ => None,
    }
}
