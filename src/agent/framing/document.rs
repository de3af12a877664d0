//! The framing of one JSON document: kept to its first MiB, decided at its end.

use serde::de::IgnoredAny;

use crate::agent::decoder::{Failure, MAX_EVENT, Verdict};
use crate::agent::framing::lines::Buffer;
use crate::agent::transcript::{Transcript, said};
use crate::json::scan::{self, Text, Value};

/// The document as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Document {
    kept: Buffer,
    /// More came than is kept.
    cut: bool,
}

impl Document {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let room = MAX_EVENT - self.kept.0.len();
        self.cut |= bytes.len() > room;
        self.kept.append(&bytes[..bytes.len().min(room)], MAX_EVENT);
    }

    pub(crate) fn capacity(&self) -> usize {
        self.kept.0.capacity()
    }

    /// Decides the document, which is known to have arrived whole.
    pub(crate) fn finish(self, transcript: &mut Transcript) -> Verdict {
        let text = scan::trim(&self.kept.0);
        if text.is_empty() {
            return Verdict::Failed(Failure::Empty);
        }
        transcript.progress.events += 1;
        // Of a cut document there is only its beginning to judge. IgnoredAny does not recurse: no depth is refused.
        let is_json = match self.cut {
            true => matches!(text[0], b'{' | b'[' | b'"'),
            false => serde_json::from_slice::<IgnoredAny>(text).is_ok(),
        };
        if !is_json {
            return Verdict::Failed(Failure::NotJson);
        }
        let document = if self.cut { Value::cut(text) } else { Value::whole(text) };
        // Any of duplicate members: an error must not hide behind a null.
        let error = scan::members(text).find(|(key, value)| key.is("error") && value.is_something());
        if let Some((_, error)) = error {
            let message = said(error).or_else(|| document.get("message").and_then(said));
            return Verdict::Failed(Failure::Reported { message });
        }
        answer(document, &mut transcript.text);
        Verdict::Completed
    }
}

/// Appends the document's answer: the string itself, the text of the first of `result`, `output` and `message` that
/// has one, else the whole document.
fn answer(document: Value<'_>, out: &mut Text) {
    let named = || ["result", "output", "message"].into_iter().filter_map(|name| document.get(name));
    match document.as_str() {
        Some(text) => text.push_into(out),
        None if named().any(|value| value.push_text(out)) => {}
        None => document.compact_into(out),
    }
}
