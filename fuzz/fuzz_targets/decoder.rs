//! Checks that any body gives the same outcome however it is split into chunks, and never a panic. The first byte picks
//! the content type and the end, the second the length of the chunks.

#![no_main]

use agent_trigger::agent::decoder::{Decoder, End, Outcome};
use libfuzzer_sys::fuzz_target;

fn decode<'a>(content_type: Option<&str>, chunks: impl Iterator<Item = &'a [u8]>, end: End) -> Outcome {
    let mut decoder = Decoder::new(content_type).expect("a supported content type");
    for chunk in chunks {
        if decoder.feed(chunk).is_some() {
            break;
        }
    }
    decoder.finish(end)
}

fuzz_target!(|input: &[u8]| {
    let [choice, length, body @ ..] = input else { return };
    let content_type = match choice % 4 {
        0 => Some("application/x-ndjson"),
        1 => Some("text/event-stream"),
        2 => Some("application/json"),
        _ => None,
    };
    let end = if choice & 4 == 0 { End::Framed } else { End::Torn };
    let whole = decode(content_type, std::iter::once(body), end);
    let chunked = decode(content_type, body.chunks(usize::from(*length).max(1)), end);
    assert_eq!(whole, chunked);
});
