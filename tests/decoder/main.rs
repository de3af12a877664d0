//! The decoder of agents' answers, through its public interface.

mod answers;
mod beside;
mod bounds;
mod endings;
mod fixtures;
mod full;
mod loose;
mod more;
mod nested;
mod open;
mod own;
mod properties;
mod protocols;
mod raw;
mod rules;
mod spelling;
mod twice;

use agent_trigger::agent::decoder::Decoder;
use agent_trigger::domain::answer::{End, Outcome};

const NDJSON: Option<&str> = Some("application/x-ndjson");
const SSE: Option<&str> = Some("text/event-stream");
const JSON: Option<&str> = Some("application/json");

const COMPLETION: &str = r#"{"type":"serverCompletionEvent","metadata":{"requestId":"req-1"}}"#;

/// Decodes a body fed in these chunks, which stop where the decoder has decided, as a caller would.
fn decode<'a>(content_type: Option<&str>, chunks: impl IntoIterator<Item = &'a [u8]>, end: End) -> Outcome {
    let mut decoder = Decoder::new(content_type).expect("a supported content type");
    for chunk in chunks {
        if let Some(verdict) = decoder.feed(chunk).cloned() {
            let outcome = decoder.finish(End::Torn);
            assert_eq!(outcome.verdict, verdict, "finish keeps the verdict");
            return outcome;
        }
    }
    decoder.finish(end)
}

/// Decodes a body that came at once and whole.
fn whole(content_type: Option<&str>, body: impl AsRef<[u8]>) -> Outcome {
    decode(content_type, [body.as_ref()], End::Framed)
}
