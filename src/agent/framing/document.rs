//! The framing of one JSON document, or of plain text: kept to its beginning, read at its end.

use serde::de::IgnoredAny;

use crate::agent::framing::{
    frame::{Frame, MAX_EVENT, Rest, Source, is_kept},
    lines::{Buffer, last_token},
};
use crate::agent::report::{is_report, is_traceback};
use crate::json::scan;
use crate::json::skim::Skim;

/// Bytes of plain text that are kept, and of a document too large to be kept: more than any output holds.
const MAX_HEAD: usize = 16 * 1024;

/// The reading of a body that is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// Plain text, unless JSON or HTML was begun.
    IfNotBegun,
    /// Plain text in any case: it is not read as JSON.
    Text,
}

/// The document as far as it has come.
#[derive(Debug)]
pub(crate) struct Document {
    fallback: Fallback,
    kept: Buffer,
    /// Set if more came than is kept: the last byte that is no white space.
    dropped: Option<u8>,
    /// Skims the part that is not kept.
    skim: Option<Box<Skim>>,
}

impl Document {
    /// Creates the framing before the body's first byte.
    pub(crate) fn new(fallback: Fallback) -> Document {
        Document { fallback, kept: Buffer::default(), dropped: None, skim: None }
    }

    /// Takes the next bytes. At most 1 MiB is kept, and 16 KiB of plain text. Of a larger document three things are
    /// kept: the first 16 KiB, the members of an object that readers look for, and the last byte that is no white
    /// space. The last one shows whether the document has its end.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.dropped.is_none() && self.kept.0.len() + bytes.len() <= self.limit() {
            return self.kept.append(bytes, self.limit());
        }
        if self.fallback != Fallback::Text {
            let skim = self.skim.get_or_insert_with(|| {
                let mut skim = Box::new(Skim::new(is_kept));
                skim.feed(&self.kept.0);
                skim
            });
            skim.feed(bytes);
        }
        if self.dropped.is_none() {
            self.dropped = last_token(&self.kept.0);
            self.kept.cut(bytes, MAX_HEAD);
        }
        self.dropped = last_token(bytes).or(self.dropped).or(Some(b' '));
    }

    /// Returns the bytes of the largest document that is kept whole.
    fn limit(&self) -> usize {
        if self.fallback == Fallback::Text { MAX_HEAD } else { MAX_EVENT }
    }

    /// Returns the bytes of memory that are held.
    pub(crate) fn capacity(&self) -> usize {
        self.kept.0.capacity() + self.skim.as_ref().map_or(0, |skim| skim.capacity())
    }

    /// Returns the document, or `None` if not all of it was kept, or if it is read as plain text.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        (self.fallback != Fallback::Text && self.dropped.is_none()).then_some(&self.kept.0)
    }

    /// Returns the document's beginning.
    pub(crate) fn head(&self) -> &[u8] {
        &self.kept.0
    }

    /// Returns the part that is kept of a body that is plain text in any case, or `None` if it is blank so far.
    pub(crate) fn plain_text(&self) -> Option<&[u8]> {
        (self.fallback == Fallback::Text && !scan::trim(&self.kept.0).is_empty()).then_some(&self.kept.0)
    }

    /// Decides what the document is. It must have arrived whole. One too large to keep counts as JSON if it is an
    /// object with its end, of which only some members were kept, or if its first and last bytes belong together. A
    /// document that is not JSON is no answer, or plain text, as its fallback says. White space alone is empty.
    pub(crate) fn rest(&mut self) -> Rest<'_> {
        let text = scan::trim(&self.kept.0);
        if text.is_empty() {
            return Rest::Empty;
        }
        // Only the first and last bytes of a document that is too large to keep can be judged. IgnoredAny does not
        // recurse, so no depth is refused.
        let is_json = match (self.fallback, self.dropped) {
            (Fallback::Text, _) => false,
            (_, Some(_)) if text[0] == b'{' => self.skim.as_ref().is_some_and(|skim| skim.is_whole()),
            (_, Some(last)) => matches!((text[0], last), (b'{', b'}') | (b'[', b']') | (b'"', b'"')),
            (_, None) => serde_json::from_slice::<IgnoredAny>(text).is_ok(),
        };
        if let Some(skim) = self.skim.as_deref_mut().filter(|skim| is_json && skim.is_whole()) {
            return Rest::Frame(Frame { dropped: Some(skim.last()), ..Frame::new(Source::Document, skim.object()) });
        }
        if is_json {
            return Rest::Frame(Frame { dropped: self.dropped, ..Frame::new(Source::Document, &self.kept.0) });
        }
        match self.fallback {
            Fallback::IfNotBegun if is_begun(text) => Rest::NotJson,
            _ => Rest::Frame(Frame::new(Source::Text, &self.kept.0)),
        }
    }
}

/// Returns true if behind a string, on a line of its own, stands an object, a string that begins like an object or a
/// frame, or what a runtime says of an error: then the string was the first of an agent's lines.
pub(crate) fn has_line_of_agent(behind: &[u8]) -> bool {
    let mut lines = behind.split(|byte| *byte == b'\n');
    lines.next().is_some_and(|rest| scan::trim(rest).is_empty())
        && lines.any(|line| {
            let inner = line.strip_prefix(b"\"").unwrap_or_default();
            line.starts_with(b"{")
                || is_traceback(line)
                || is_report(line)
                || [&b"{"[..], b"data:", b"event:"].iter().any(|begin| inner.starts_with(begin))
        })
}

/// Returns true if a text that is not JSON was meant to be an object or a string, or is a web page. A string that has
/// its end was meant as one only if a line of an agent's stands behind it. Arrays have a framing of their own.
fn is_begun(text: &[u8]) -> bool {
    let begin: Vec<u8> = text.iter().take(16).map(u8::to_ascii_lowercase).collect();
    match text {
        [b'{', ..] => true,
        // A quote that never ends is JSON that was cut; with more behind it, it is quoted speech, unless that is a line
        // that no speech has.
        [b'"', ..] => scan::end_of_object(text).is_none_or(|end| has_line_of_agent(&text[end..])),
        _ => [&b"<!doctype"[..], b"<html", b"<?xml", b"<head", b"<body"].iter().any(|tag| begin.starts_with(tag)),
    }
}
