//! Decodes an agent's answer: bytes in, facts out, no I/O. Framing cuts the bytes into frames, a protocol reads them,
//! and the decoder joins the two.
//!
//! - The protocol is recognised by its first frames, or set for the agent. From then on its rules decide.
//! - The first terminal event decides. After it only usage is read, if the protocol sends it last.
//! - No success: a torn answer, or an end without the terminal event that a protocol promises.
//! - Memory is constant and time linear, however the bytes are chunked. From an event of more than 1 MiB a part
//!   is kept, up to 128 KiB: the members at its top that say what it is and how the run ended, and a part of what each
//!   holds.
//! - No content of an event is an error of the decoder. An event that cannot be read is counted and passed over.

use crate::agent::framing::{
    Declared, Framer,
    frame::{Frame, Rest, Source},
};
use crate::agent::protocol;
use crate::agent::reading::Reading;
use crate::domain::answer::{AnswerError, End, Interruption, Outcome, Progress, Verdict};
use crate::domain::protocol::Protocol;
use crate::json::scan::RawJson;

/// No agent answers with this content type: `AgentFailed`. It holds the type only if it is a type and a subtype of at
/// most 100 bytes, because it is untrusted text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the agent answered with content type {0}")]
pub struct UnsupportedContentType(String);

/// Decodes one answer.
///
/// ```
/// use agent_trigger::agent::decoder::Decoder;
/// use agent_trigger::domain::answer::{End, Verdict};
///
/// let mut decoder = Decoder::new(Some("application/x-ndjson"))?;
/// assert_eq!(decoder.feed(b"{\"type\":\"serverComple"), None);
/// assert_eq!(decoder.feed(b"tionEvent\"}\n"), Some(&Verdict::Completed));
/// assert_eq!(decoder.finish(End::Torn).verdict, Verdict::Completed);
/// # Ok::<(), agent_trigger::agent::decoder::UnsupportedContentType>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    framer: Framer,
    reading: Reading,
}

impl Decoder {
    /// Prepares to decode an answer with this `Content-Type` header. The media type is compared without regard to case,
    /// its parameters are ignored, and an empty one is none. The framing is chosen by it and by the body's beginning.
    ///
    /// # Errors
    /// Returns an error for any media type but those of [`crate::agent`]'s framings. A login page with status 200, for
    /// example, is no answer.
    pub fn new(content_type: Option<&str>) -> Result<Decoder, UnsupportedContentType> {
        let content_type = content_type.unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let declared = Declared::of(&media_type).ok_or_else(|| UnsupportedContentType(shown(&media_type)))?;
        Ok(Decoder { framer: Framer::new(declared), reading: Reading::new() })
    }

    /// Reads the answer by the rules of a protocol that was set for the agent. `None`, and a protocol without rules of
    /// its own, change nothing: the answers are recognised.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Option<Protocol>) -> Decoder {
        if let Some(protocol) = protocol.filter(|protocol| protocol.is_set_for_answers()) {
            self.reading.is_set = true;
            self.reading.protocol = Some(protocol);
            self.reading.reader = protocol::reader(protocol);
        }
        self
    }

    /// Tells the decoder the answer's HTTP status. After 202 the agent is still at work: an answer that would be
    /// completed, or is empty or no JSON, is then incomplete, as `working`. A failure or another reason for stopping
    /// short stays.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Decoder {
        self.reading.is_accepted_only = status == 202;
        self
    }

    /// Takes the next bytes of the body, split anywhere. Returns the verdict once the answer is decided and nothing
    /// more is awaited. The caller can then drop the stream, and bytes that are fed later are ignored. A JSON document
    /// is decided only by [`Decoder::finish`].
    pub fn feed(&mut self, bytes: &[u8]) -> Option<&Verdict> {
        if !self.reading.is_done() {
            self.open_and_read(bytes, false);
        }
        if self.reading.is_done() { self.reading.verdict.as_ref() } else { None }
    }

    /// Returns true once the answer is decided. If [`Decoder::feed`] still returns `None`, only usage is awaited. The
    /// caller need not wait long for it, because nothing that comes changes the verdict.
    pub fn is_decided(&self) -> bool {
        self.reading.verdict.is_some()
    }

    /// Returns the progress of the run. It costs nothing. Heartbeats write it.
    pub fn progress(&self) -> Progress {
        self.reading.transcript.progress
    }

    /// Returns the answer's text so far: the beginning of a plain text, or what the readers have kept. Later messages
    /// may replace it.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        match self.framer.plain_text() {
            Some(text) => String::from_utf8_lossy(text),
            None => self.reading.transcript.answer().as_str().into(),
        }
    }

    /// Returns the bytes of memory that are held at present: at most a few KiB, the text that is kept, and the event
    /// under way.
    pub fn buffered(&self) -> usize {
        self.framer.capacity()
            + self.reading.loose.capacity()
            + self.reading.transcript.capacity()
            + self.reading.inner.capacity()
    }

    /// Ends the answer and returns all that is known of it.
    ///
    /// If the run is decided already, `end` does not matter, except that at a framed end a last frame may hold the
    /// usage that is awaited. Otherwise a torn answer is interrupted, unless the agent had reported a failure, and an
    /// answer that arrived whole is decided by its protocol. At a framed end a last line without its line end, or a
    /// last SSE frame without its blank line, counts if it is whole.
    pub fn finish(mut self, end: End) -> Outcome {
        if self.reading.awaits_usage && end == End::Framed {
            if let Rest::Frame(frame) = self.framer.rest() {
                self.reading.read(&frame);
            }
        } else if self.reading.verdict.is_none() {
            let verdict = match end {
                End::Torn => self.reading.without(Interruption::Torn),
                End::Framed => self.framed(),
            };
            self.reading.verdict = Some(verdict);
        }
        self.reading.into_outcome()
    }

    /// Decides an answer that arrived whole before anything decided it. The framing is chosen now if it is still open,
    /// and what it holds back is read. Then, in this order:
    ///
    /// - A line that was cut off within an object is an interruption, unless the protocol that is known says that the
    ///   run failed or stopped short.
    /// - What the framing itself cannot read decides: an event that was cut, a document that is not JSON, an empty one.
    ///   A failure that was reported before the cut comes first. A document that is lines of JSON is read as these.
    /// - A body without a byte is empty, and a failure, unless it is an event stream. An event stream or lines without an
    ///   event are interrupted, because a stream may be kept open and end without a word. An array without elements is a
    ///   whole answer.
    /// - A frame that was too large to keep may have said how the run ended. If nothing else was understood, the answer
    ///   is interrupted.
    /// - The protocol's reader decides, or the generic rules.
    fn framed(&mut self) -> Verdict {
        if matches!(self.framer, Framer::Open { .. }) {
            self.open_and_read(&[], true);
        }
        let Decoder { framer, reading } = self;
        let is_sse = framer.is_sse();
        if reading.verdict.is_none() {
            match framer.rest() {
                Rest::Nothing if reading.is_within_document() && reading.reader.is_none() => {
                    return reading.transcript.without_terminal_event();
                }
                Rest::Nothing => {}
                Rest::Frame(frame) => {
                    let is_cut_line = |frame: &Frame<'_>| {
                        let is_line = matches!(frame.source, Source::Line | Source::Loose);
                        (is_line && frame.text.starts_with(b"{") || frame.source == Source::Part) && !frame.is_whole()
                    };
                    let mut is_cut = is_cut_line(&frame);
                    if !is_cut_done(&frame) {
                        reading.read(&frame);
                    }
                    if let Some(frame) = framer.behind().filter(|_| reading.verdict.is_none()) {
                        is_cut |= is_cut_line(&frame);
                        reading.read(&frame);
                    }
                    let is_cut = is_cut || reading.is_within_document();
                    if is_cut && reading.verdict.is_none() {
                        // What the line would have said is not known.
                        let verdict = if reading.reader.is_some() { reading.end() } else { Verdict::Completed };
                        return match verdict {
                            Verdict::Completed => reading.transcript.without_terminal_event(),
                            verdict => verdict,
                        };
                    }
                }
                Rest::Cut => {
                    if let Some(frame) = framer.behind() {
                        reading.read(&frame);
                    }
                    return match reading.verdict.take() {
                        Some(failed @ Verdict::Failed(_)) => failed,
                        _ => reading.without(Interruption::WithinEvent),
                    };
                }
                Rest::NotJson => {
                    let Some(lines) = framer.lines_of_document() else { return Verdict::Failed(AnswerError::NotJson) };
                    return self.framed_again(&lines);
                }
                Rest::Empty => return Verdict::Failed(AnswerError::Empty),
            }
        }
        if let Some(verdict) = &reading.verdict {
            return verdict.clone();
        }
        if reading.transcript.progress.events == 0 {
            return match reading.transcript.progress.bytes {
                // An event stream may be kept open and end without a word; any other body without a byte is no answer.
                0 if !is_sse => Verdict::Failed(AnswerError::Empty),
                _ if matches!(framer, Framer::Elements(_)) => {
                    let verdict = reading.end();
                    self.whole_document();
                    verdict
                }
                _ if is_sse => reading.without(Interruption::Empty),
                _ if matches!(framer, Framer::Lines(_)) => reading.without(Interruption::NoTerminalEvent),
                _ => reading.end(),
            };
        }
        // An event too large to keep may have said how the run ended.
        if reading.reader.is_none() && reading.has_dropped && !reading.transcript.is_understood {
            return reading.without(Interruption::NoTerminalEvent);
        }
        let verdict = reading.end();
        if verdict == Verdict::Completed && reading.transcript.answer().is_empty() && reading.reader.is_none() {
            self.whole_document();
        }
        verdict
    }

    /// Decides a body that was taken for a document and is lines of JSON. It was not seen before because the first line
    /// is a string, or longer than [`crate::agent::framing::frame::PREFIX`].
    fn framed_again(&mut self, lines: &[u8]) -> Verdict {
        self.framer = Framer::lines();
        let bytes = std::mem::take(&mut self.reading.transcript.progress.bytes);
        self.read(lines);
        self.reading.transcript.progress.bytes = bytes;
        match &self.reading.verdict {
            Some(verdict) => verdict.clone(),
            None => self.framed(),
        }
    }

    /// Takes the whole document as the answer, once none of its members was one. A string was read already, and null
    /// says nothing. An empty object or array counts as understood and gives no text. For an array, the beginning that
    /// was kept is taken. So it is with a body of one line that has no line end: it was taken for lines, because it is
    /// declared as text. Any other body changes nothing.
    fn whole_document(&mut self) {
        let pieces = &mut self.reading.transcript.pieces;
        match &mut self.framer {
            Framer::Document(document) => {
                let is_told = matches!(document.rest(), Rest::Frame(frame)
                    if frame.source == Source::Document && !matches!(frame.text, [b'"', ..] | b"null"));
                let value = RawJson::cut(document.head());
                if is_told && !(value.is_object() || value.is_array()) || value.is_something() && is_told {
                    value.compact_into(pieces);
                } else {
                    // An answer without text, as null is.
                    self.reading.transcript.is_understood |= is_told;
                }
            }
            Framer::Elements(elements) => {
                let value = RawJson::cut(elements.head().0);
                if value.is_something() {
                    value.compact_into(pieces);
                }
                self.reading.transcript.is_understood |= !value.is_something();
            }
            Framer::Lines(_) if self.reading.transcript.progress.events == 1 => {
                if let Rest::Frame(line) = self.framer.rest()
                    && line.text.starts_with(b"{")
                    && line.is_whole()
                    && line.dropped.is_none()
                {
                    RawJson::whole(line.text).compact_into(pieces);
                }
            }
            _ => {}
        }
    }

    /// Takes bytes, and chooses the framing first if it is still open. While it stays open, the bytes are held back and
    /// only counted. Once it is chosen, the bytes that were held back are read before the others. A byte order mark is
    /// counted and passed over. With `ended` the framing is always chosen.
    fn open_and_read(&mut self, bytes: &[u8], ended: bool) {
        if !matches!(self.framer, Framer::Open { .. }) {
            return self.read(bytes);
        }
        let Some((head, rest)) = self.framer.open(bytes, ended, protocol::is_stream) else {
            self.reading.transcript.progress.bytes += bytes.len() as u64;
            return;
        };
        self.reading.transcript.progress.bytes = 0;
        let first = if head.is_empty() { rest } else { &head };
        let mark = Framer::mark(first);
        self.reading.transcript.progress.bytes += mark as u64;
        self.read(&first[mark..]);
        if !head.is_empty() {
            self.read(rest);
        }
    }

    /// Reads the frames that `bytes` complete, until the run is decided and no usage is awaited. Bytes after that are
    /// neither read nor counted. A body of plain text is one event, however long it is.
    fn read(&mut self, bytes: &[u8]) {
        let Decoder { framer, reading } = self;
        if reading.is_done() {
            return;
        }
        let mut rest = bytes;
        while let Some(frame) = framer.next(&mut rest) {
            reading.read(&frame);
            if reading.is_done() {
                break;
            }
        }
        reading.transcript.progress.bytes += (bytes.len() - rest.len()) as u64;
        if framer.plain_text().is_some() {
            reading.transcript.progress.events = 1;
        }
    }
}

/// Returns a content type for display, quoted, if it is a type and a subtype of at most 100 bytes. Otherwise returns
/// `that is none` and nothing of it.
fn shown(media_type: &str) -> String {
    let is_token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    match media_type.split_once('/') {
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) && media_type.len() <= 100 => {
            format!("{media_type:?}")
        }
        _ => "that is none".to_owned(),
    }
}

/// Returns true for a `[DONE]` whose end is missing, in the last event of a stream. It is no text that takes a failure
/// back.
fn is_cut_done(frame: &Frame<'_>) -> bool {
    frame.source == Source::Sse && !matches!(frame.text, b"" | b"[DONE]") && b"[DONE]".starts_with(frame.text)
}
