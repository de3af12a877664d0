//! Framing: cuts the bytes of an answer into frames, however they are chunked. It knows no protocol.
//!
//! The content type chooses the framing, and then the body's first [`PREFIX`] bytes do:
//!
//! | content type | begins with an SSE field or comment | begins with `{` | else |
//! | --- | --- | --- | --- |
//! | `text/event-stream` | SSE | NDJSON | SSE |
//! | NDJSON in its spellings | SSE | NDJSON | NDJSON |
//! | JSON in its spellings, none | SSE | NDJSON if the first object is an event of a stream or another follows on a line of its own, else a document | document |
//! | `text/plain`, `application/octet-stream` | SSE | NDJSON; a document if its first line is a bracket alone; plain text if neither `"` nor `}` is the next token | plain text; a document if `application/octet-stream` begins with `[` or `"` |
//!
//! A body of any content type that begins with a part of the AI SDK's data stream is read as such parts ([`parts`]),
//! and one that begins with an error between server-sent events as SSE ([`begins_with_error`]).
//!
//! A byte order mark and white space at the beginning are passed over. A document that is an array is read as its
//! elements. A document is plain text if it does not begin as JSON does, or begins with a bracket as texts do
//! ([`prose`]): the AgentCore SDK for JavaScript sends a returned string unquoted, as `application/json`.

pub(crate) mod document;
pub(crate) mod elements;
pub mod frame;
pub(crate) mod lines;
mod parts;
pub(crate) mod prose;
pub(crate) mod sse;

use memchr::memchr;

use crate::agent::framing::{
    document::{Document, Fallback, has_line_of_agent},
    elements::Elements,
    frame::{Frame, PREFIX, Rest, Source},
    lines::{Line, LineEnd, Lines},
    sse::Sse,
};
use crate::agent::report::error_value;
use crate::json::scan::{self, RawJson};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The content type as far as it decides the framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declared {
    Ndjson,
    Sse,
    /// `application/json`.
    Json,
    /// Another spelling of JSON, which NDJSON is sent as, too.
    JsonOrLines,
    Text,
    Bytes,
    /// No content type.
    Nothing,
}

impl Declared {
    /// Returns the declaration of a media type, which must be in lower case and without parameters. An empty one
    /// declares nothing. Returns `None` for types that agents do not answer with.
    pub(crate) fn of(media_type: &str) -> Option<Declared> {
        Some(match media_type {
            "" => Declared::Nothing,
            "application/json" => Declared::Json,
            "text/event-stream" => Declared::Sse,
            "text/plain" => Declared::Text,
            "application/octet-stream" | "binary/octet-stream" => Declared::Bytes,
            "text/json" | "application/x-json" => Declared::JsonOrLines,
            "application/stream+json" | "application/x-json-stream" => Declared::Ndjson,
            _ => {
                let (kind, subtype) = media_type.split_once('/')?;
                let lines = ["ndjson", "jsonl", "json-lines", "jsonlines", "json-seq"];
                if matches!(kind, "application" | "text")
                    && lines.contains(&subtype.strip_prefix("x-").unwrap_or(subtype))
                {
                    Declared::Ndjson
                } else if subtype.len() > "+json".len() && subtype.ends_with("+json") {
                    Declared::JsonOrLines
                } else {
                    return None;
                }
            }
        })
    }

    /// Returns the framing that the content type alone stands for. It is used if the body's beginning says nothing
    /// else.
    fn framing(self) -> Framer {
        match self {
            Declared::Ndjson => Framer::Lines(Lines::new(LineEnd::Lf)),
            Declared::Sse => Framer::Sse(Box::new(Sse::new())),
            Declared::Json | Declared::JsonOrLines | Declared::Nothing => Framer::document(Fallback::IfNotBegun),

            Declared::Text | Declared::Bytes => Framer::document(Fallback::Text),
        }
    }
}

/// The beginnings of the lines that server-sent events consist of.
const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];

/// Cuts a body into frames.
#[derive(Debug)]
pub(crate) enum Framer {
    /// The framing is open. `head` holds the body so far, at most [`PREFIX`] bytes.
    Open {
        declared: Declared,
        head: Vec<u8>,
    },
    Lines(Lines),
    /// Lines of the AI SDK's data stream.
    Parts(Lines),
    Sse(Box<Sse>),
    Document(Document),
    Elements(Box<Elements>),
}

impl Framer {
    /// Creates the framer before the body's first byte. The framing is open.
    pub(crate) fn new(declared: Declared) -> Framer {
        Framer::Open { declared, head: Vec::new() }
    }

    /// Returns the framing for lines of JSON.
    pub(crate) fn lines() -> Framer {
        Declared::Ndjson.framing()
    }

    /// Returns the bytes of a document that is not JSON if they are lines of an agent's: an object and another on a
    /// line of its own, or a string and a line that no quoted speech has. Otherwise, and if not all of it was kept,
    /// returns `None`.
    pub(crate) fn lines_of_document(&self) -> Option<Vec<u8>> {
        let Framer::Document(document) = self else { return None };
        let text = scan::trim(document.whole()?);
        let end = scan::end_of_object(text)?;
        let are_lines = match text.first() {
            Some(b'{') => are_lines(&text[end..]),
            Some(b'"') => has_line_of_agent(&text[end..]),
            _ => false,
        };
        are_lines.then(|| text.to_vec())
    }

    /// Returns the framing for one document, or for plain text as `fallback` says.
    fn document(fallback: Fallback) -> Framer {
        Framer::Document(Document::new(fallback))
    }

    /// Chooses the framing by the table above, or returns `None` while more of the body could change the choice. It
    /// depends on the body's first [`PREFIX`] bytes alone, not on how they are chunked. With `ended`, or that many
    /// bytes, it is always chosen. `is_stream` gets the beginning of an object. It returns true if this is an event of
    /// a stream, and `None` while this is open.
    fn choose(declared: Declared, head: &[u8], ended: bool, is_stream: fn(&[u8]) -> Option<bool>) -> Option<Framer> {
        let is_final = ended || head.len() >= PREFIX;
        if !is_final && BOM.starts_with(head) {
            return None;
        }
        let text = scan::trim(head.strip_prefix(BOM).unwrap_or(head));
        if text.is_empty() || FIELDS.iter().any(|field| text.len() < field.len() && field.starts_with(text)) {
            return is_final.then(|| declared.framing());
        }
        if FIELDS.iter().any(|field| text.starts_with(field)) {
            return Some(Declared::Sse.framing());
        }
        match begins_with_error(head.strip_prefix(BOM).unwrap_or(head), is_final) {
            Some(true) => return Some(Declared::Sse.framing()),
            None if !is_final => return None,
            _ => {}
        }
        match parts::begins(text, ended) {
            Some(true) => return Some(Framer::Parts(Lines::new(LineEnd::Lf))),
            None if !is_final => return None,
            // A line that has no end in so many bytes counts by its beginning.
            None => return Some(Framer::Parts(Lines::new(LineEnd::Lf))),
            Some(false) => {}
        }
        match (declared, text[0]) {
            (Declared::Sse, b'{') => Some(Declared::Ndjson.framing()),
            (Declared::Json | Declared::JsonOrLines | Declared::Nothing, b'{') => match is_stream(text) {
                Some(true) => Some(Declared::Ndjson.framing()),
                _ => match scan::end_of_object(text) {
                    Some(end) if !scan::trim(&text[end..]).is_empty() => {
                        Some(if are_lines(&text[end..]) { Declared::Ndjson.framing() } else { declared.framing() })
                    }
                    _ => is_final.then(|| declared.framing()),
                },
            },
            (Declared::Json | Declared::JsonOrLines | Declared::Nothing, b'[') => {
                Some(Framer::Elements(Box::new(Elements::new(true))))
            }
            (Declared::Text | Declared::Bytes, b'{') => {
                let space = text[1..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                let space = &text[1..=space];
                match text.get(1 + space.len()) {
                    Some(b'"' | b'}') if !space.contains(&b'\n') => Some(Declared::Ndjson.framing()),
                    Some(b'"' | b'}') => Some(Framer::document(Fallback::IfNotBegun)),
                    Some(_) => Some(declared.framing()),
                    None => is_final.then(|| declared.framing()),
                }
            }
            (Declared::Bytes, b'[') => Some(Framer::Elements(Box::new(Elements::new(true)))),
            (Declared::Bytes, b'"') => Some(Framer::document(Fallback::IfNotBegun)),
            _ => Some(declared.framing()),
        }
    }

    /// Takes bytes of the body and chooses the framing by [`Self::choose`], which explains `ended` and `is_stream`.
    /// Once it is chosen, returns the bytes to read: the head that was held back, and the part of `bytes` that is not
    /// in it. A byte order mark is still there. Returns `None` while the framing stays open: then all of `bytes` is
    /// held back. If the framing was chosen before, returns all of `bytes`. If the first bytes of a body decide it
    /// alone before the end, nothing is copied.
    pub(crate) fn open<'i>(
        &mut self,
        bytes: &'i [u8],
        ended: bool,
        is_stream: fn(&[u8]) -> Option<bool>,
    ) -> Option<(Vec<u8>, &'i [u8])> {
        let Framer::Open { declared, head } = self else { return Some((Vec::new(), bytes)) };
        let declared = *declared;
        if head.is_empty()
            && !ended
            && let Some(framer) = Self::choose(declared, &bytes[..bytes.len().min(PREFIX)], false, is_stream)
        {
            *self = framer;
            return Some((Vec::new(), bytes));
        }
        let (part, rest) = bytes.split_at(bytes.len().min(PREFIX - head.len()));
        head.extend_from_slice(part);
        let framer = Self::choose(declared, head, ended, is_stream)?;
        let head = std::mem::take(head);
        *self = framer;
        Some((head, rest))
    }

    /// Returns the length of the byte order mark at the beginning of a body, or 0.
    pub(crate) fn mark(head: &[u8]) -> usize {
        if head.starts_with(BOM) { BOM.len() } else { 0 }
    }

    /// Takes the next frame that is complete from `input`. At `None` all of `input` is taken. A document is kept until
    /// the body ends, and gives no frame here. The framing must have been chosen.
    pub(crate) fn next<'f, 'i: 'f>(&'f mut self, input: &mut &'i [u8]) -> Option<Frame<'f>> {
        match self {
            Framer::Lines(lines) => lines.next(input).map(frame_of_line),
            Framer::Parts(lines) => lines.next(input).map(frame_of_part),
            Framer::Sse(sse) => sse.next(input),
            Framer::Elements(elements) => elements.next(input),
            Framer::Document(document) => {
                document.feed(input);
                *input = &[];
                None
            }
            Framer::Open { .. } => None,
        }
    }

    /// Returns the rest of a body that has arrived whole. The caller must have chosen the framing. An open one counts
    /// as an empty body.
    pub(crate) fn rest(&mut self) -> Rest<'_> {
        match self {
            Framer::Lines(lines) => lines.rest().map_or(Rest::Nothing, |line| Rest::Frame(frame_of_line(line))),
            Framer::Parts(lines) => lines.rest().map_or(Rest::Nothing, |line| Rest::Frame(frame_of_part(line))),
            Framer::Sse(sse) => sse.rest(),
            Framer::Elements(elements) => elements.rest(),
            Framer::Document(document) => document.rest(),
            Framer::Open { .. } => Rest::Empty,
        }
    }

    /// Returns the line that stands behind the last frame of a body that is known to have arrived whole, or `None` if
    /// none does. Only server-sent events have one.
    pub(crate) fn behind(&mut self) -> Option<Frame<'_>> {
        if let Framer::Sse(sse) = self { sse.behind() } else { None }
    }

    /// Returns the text of a body that is plain text in any case, as far as it is kept. Returns `None` for any other
    /// body, and as long as the text is blank.
    pub(crate) fn plain_text(&self) -> Option<&[u8]> {
        match self {
            Framer::Document(document) => document.plain_text(),
            _ => None,
        }
    }

    /// Returns true if the framing that was chosen is that of server-sent events.
    pub(crate) fn is_sse(&self) -> bool {
        matches!(self, Framer::Sse(_))
    }

    /// Returns the bytes of memory that the framing holds.
    pub(crate) fn capacity(&self) -> usize {
        match self {
            Framer::Open { head, .. } => head.capacity(),
            Framer::Lines(lines) | Framer::Parts(lines) => lines.capacity(),
            Framer::Sse(sse) => sse.capacity(),
            Framer::Document(document) => document.capacity(),
            Framer::Elements(elements) => elements.capacity(),
        }
    }
}

/// Returns true if the text after an object begins another one on a line of its own.
fn are_lines(behind: &[u8]) -> bool {
    let line_end = behind.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(behind.len());
    behind[..line_end].contains(&b'\n') && behind[line_end..].starts_with(b"{")
}

/// Returns true if a body begins with an error between server-sent events: a line `error: {…}` ([`error_value`]), and
/// behind it a blank line and then nothing, a field or another line that begins with `error:`. A body of that line
/// alone, of which the first 4 KiB are looked at, is one, too, if its object has an `error`: without it the line may be
/// a text. Returns `None` while `head` is too short to tell.
/// `is_final` is true if no more of the body would change that.
fn begins_with_error(head: &[u8], is_final: bool) -> Option<bool> {
    const FIELD: &[u8] = b"error:";
    let goes_on = |rest: &[u8]| FIELDS.iter().chain([&FIELD]).any(|field| rest.starts_with(field));
    let may_go_on = |rest: &[u8]| FIELDS.iter().chain([&FIELD]).any(|field| field.starts_with(rest));
    let head = head.trim_ascii_start();
    if !head.starts_with(FIELD) {
        return if FIELD.starts_with(head) && !is_final { None } else { Some(false) };
    }
    let (line, behind) = match memchr(b'\n', head) {
        Some(end) => (&head[..end], &head[end + 1..]),
        None if is_final => (head, &b""[..]),
        None => return None,
    };
    let Some(value) = error_value(line) else { return Some(false) };
    let behind = behind.strip_prefix(b"\r").unwrap_or(behind);
    let rest = behind.trim_ascii_start();
    match behind.first() {
        None | Some(b'\n') if rest.is_empty() && !is_final => None,
        None => Some(RawJson::cut(value).get("error").is_some_and(RawJson::is_something)),
        Some(b'\n') if !rest.is_empty() && may_go_on(rest) && !is_final => None,
        Some(b'\n') => Some(rest.is_empty() || goes_on(rest)),
        Some(_) => Some(false),
    }
}

/// Returns a line of NDJSON as a frame. For a line too long to keep, the frame has the members that were kept, or the
/// first 4 KiB if the line is no object.
fn frame_of_line(line: Line<'_>) -> Frame<'_> {
    if !line.skimmed.is_empty() {
        return Frame { dropped: line.dropped, ..Frame::new(Source::Line, line.skimmed) };
    }
    // Only a dropped line has bytes after the prefix that could depend on chunking.
    let kept = if line.dropped.is_some() { &line.bytes[..PREFIX] } else { line.bytes };
    Frame { dropped: line.dropped, ..Frame::new(Source::Line, kept) }
}

/// Returns a line of a data stream as a part, or as a line of NDJSON if it is none.
fn frame_of_part(line: Line<'_>) -> Frame<'_> {
    parts::part_of(line).unwrap_or_else(|| frame_of_line(line))
}
