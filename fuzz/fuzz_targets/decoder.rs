//! Checks that any body gives the same outcome however it is split into chunks, and never a panic: of any content type,
//! recognised or read by a protocol that is set. The first byte picks the content type (bits 0, 1 and 3), the end (bit 2)
//! and the protocol (the others), the second byte the length of the chunks.

#![no_main]

use agent_trigger::agent::decoder::Decoder;
use agent_trigger::domain::answer::{End, Outcome, Verdict};
use agent_trigger::domain::protocol::Protocol;
use libfuzzer_sys::fuzz_target;

const CONTENT_TYPES: [Option<&str>; 8] = [
    Some("application/x-ndjson"),
    Some("text/event-stream"),
    Some("application/json"),
    None,
    Some("text/plain"),
    Some("application/octet-stream"),
    Some("text/json"),
    Some("application/problem+json"),
];

fn decode<'a>(
    content_type: Option<&str>,
    protocol: Option<Protocol>,
    chunks: impl Iterator<Item = &'a [u8]>,
    end: End,
) -> Outcome {
    let mut decoder = Decoder::new(content_type).expect("a supported content type").with_protocol(protocol);
    for chunk in chunks {
        if let Some(verdict) = decoder.feed(chunk).cloned() {
            // Once decided, decided.
            decoder.feed(b"data: {\"type\":\"RUN_ERROR\"}\n\n");
            let outcome = decoder.finish(end);
            assert_eq!(outcome.verdict, verdict);
            return outcome;
        }
    }
    decoder.finish(end)
}

fuzz_target!(|input: &[u8]| {
    let [choice, length, body @ ..] = input else { return };
    let content_type = CONTENT_TYPES[usize::from((choice & 3) | ((choice & 8) >> 1))];
    let protocol = Protocol::ALL.into_iter().filter(|protocol| protocol.is_setting()).nth(usize::from(choice >> 4));
    let end = if choice & 4 == 0 { End::Framed } else { End::Torn };
    let whole = decode(content_type, protocol, std::iter::once(body), end);
    let chunked = decode(content_type, protocol, body.chunks(usize::from(*length).max(1)), end);
    assert_eq!(whole, chunked);
    assert!(whole.output.is_none() || matches!(whole.verdict, Verdict::Completed | Verdict::Incomplete(_)));
});
