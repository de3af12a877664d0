//! Decodes an agent's answer: bytes in, facts out, no I/O. Framing cuts the bytes into frames, a protocol reads them, and
//! the decoder joins the two.
//!
//! - The protocol is recognised by its first frames, or set for the agent. From then on its rules decide.
//! - The first terminal event decides. Behind it only usage is read, where a protocol sends it last.
//! - A torn answer is never a success, and neither is an end without the terminal event that a protocol promises.
//! - Memory is constant and time linear, however the bytes are chunked: an event of more than [`MAX_EVENT`] bytes is
//!   dropped as it streams by; only its first [`PREFIX`] bytes are read, for the `type` or error that decides.
//! - Nothing an event holds is an error of the decoder: what cannot be read is counted and passed over.

use crate::agent::framing::{Declared, Frame, Framer, Rest, Source};
pub use crate::agent::framing::{MAX_EVENT, PREFIX};
use crate::agent::protocol::{
    self, Reader,
    generic::Generic,
    members::{Members, Name},
};
pub use crate::agent::transcript::MAX_OUTPUT;
use crate::agent::transcript::Transcript;
use crate::domain::answer::{AnswerError, End, Interruption, Outcome, Progress, Verdict};
use crate::domain::finish_reason::FinishReason;
use crate::domain::protocol::Protocol;
use crate::json::scan::{self, RawJson};
use crate::json::text::BoundedText;

/// The answer's content type is none an agent answers with: `AgentFailed`. Holds the type only if it is a type and a
/// subtype, for it is untrusted text.
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

/// What is read of the frames.
#[derive(Debug)]
struct Reading {
    transcript: Transcript,
    /// The protocol recognised or set, and what reads it.
    protocol: Option<Protocol>,
    reader: Option<Box<dyn Reader>>,
    generic: Generic,
    /// A string of JSON that was looked into.
    inner: BoundedText,
    verdict: Option<Verdict>,
    /// The run is decided, but its usage may still come.
    awaits_usage: bool,
    /// The `type` of the last frame that was no protocol's, as it stands there.
    generic_type: Vec<u8>,
    /// A frame was too large to keep.
    has_dropped: bool,
    /// HTTP 202: whatever the answer says, the agent is at work.
    is_accepted_only: bool,
}

impl Decoder {
    /// Prepares to decode an answer with this `Content-Type` header. The media type is compared without regard to
    /// case, its parameters are ignored, and an empty one is none.
    ///
    /// # Errors
    ///
    /// Any media type but those of [`crate::agent`]'s framings: a login page with status 200 is no answer.
    pub fn new(content_type: Option<&str>) -> Result<Decoder, UnsupportedContentType> {
        let content_type = content_type.unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let declared = Declared::of(&media_type).ok_or_else(|| UnsupportedContentType(shown(&media_type)))?;
        let reading = Reading {
            transcript: Transcript::new(),
            protocol: None,
            reader: None,
            generic: Generic::default(),
            inner: BoundedText::new(MAX_EVENT),
            verdict: None,
            awaits_usage: false,
            generic_type: Vec::new(),
            has_dropped: false,
            is_accepted_only: false,
        };
        Ok(Decoder { framer: Framer::new(declared), reading })
    }

    /// Reads the answer by the rules of a protocol that was set for the agent. Names without rules of their own change
    /// nothing: their answers are recognised.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Option<Protocol>) -> Decoder {
        if let Some(protocol) = protocol.filter(|protocol| protocol.is_set_for_answers()) {
            self.reading.protocol = Some(protocol);
            self.reading.reader = protocol::reader(protocol);
        }
        self
    }

    /// Tells the decoder the answer's HTTP status. After 202 the agent is still at work.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Decoder {
        self.reading.is_accepted_only = status == 202;
        self
    }

    /// Takes the next bytes of the body, split anywhere. `Some` once the answer is decided and nothing more is awaited:
    /// the stream can be dropped, and whatever is fed after it is ignored. A JSON document is decided at its end only.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<&Verdict> {
        if !self.reading.is_done() {
            self.open_and_read(bytes, false);
        }
        if self.reading.is_done() { self.reading.verdict.as_ref() } else { None }
    }

    /// Returns true once the answer is decided. Where [`Decoder::feed`] still returns `None`, only usage is awaited, and
    /// nobody need wait long for it.
    pub fn is_decided(&self) -> bool {
        self.reading.verdict.is_some()
    }

    /// How far the run has come. Costs nothing; heartbeats write it.
    pub fn progress(&self) -> Progress {
        self.reading.transcript.progress
    }

    /// The answer's text so far, of which later messages may replace what is there.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        match self.framer.plain_text() {
            Some(text) => String::from_utf8_lossy(text),
            None => self.reading.transcript.answer().as_str().into(),
        }
    }

    /// Bytes of memory held at present: at most a few KiB, the text kept, and the event under way.
    pub fn buffered(&self) -> usize {
        self.framer.capacity() + self.reading.transcript.capacity() + self.reading.inner.capacity()
    }

    /// Ends the answer. How it ended no longer matters once a terminal event was read.
    ///
    /// At a framed end a last line without its line end, or a last SSE frame without its blank line, counts if it is
    /// whole.
    pub fn finish(mut self, end: End) -> Outcome {
        if self.reading.awaits_usage && end == End::Framed {
            if let Rest::Frame(frame) = self.framer.rest() {
                self.reading.read(&frame);
            }
        } else if self.reading.verdict.is_none() {
            let verdict = match end {
                End::Torn => self.reading.torn(),
                End::Framed => self.framed(),
            };
            self.reading.verdict = Some(verdict);
        }
        self.reading.into_outcome()
    }

    /// Decides an answer that arrived whole.
    fn framed(&mut self) -> Verdict {
        if matches!(self.framer, Framer::Open { .. }) {
            self.open_and_read(&[], true);
        }
        let Decoder { framer, reading } = self;
        let is_sse = framer.is_sse();
        if reading.verdict.is_none() {
            match framer.rest() {
                Rest::Nothing => {}
                Rest::Frame(frame) => {
                    let is_cut = frame.source == Source::Line && frame.text.starts_with(b"{") && !frame.is_whole();
                    reading.read(&frame);
                    if is_cut && reading.verdict.is_none() && reading.reader.is_none() {
                        return reading.transcript.without_terminal_event();
                    }
                }
                Rest::Cut => return reading.without(Interruption::WithinEvent),
                Rest::NotJson => return Verdict::Failed(AnswerError::NotJson),
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
                _ if is_sse => reading.without(Interruption::Empty),
                _ if matches!(framer, Framer::Lines(_)) => reading.without(Interruption::NoTerminalEvent),
                _ => reading.end(),
            };
        }
        // What was too large to keep may have said how the run ended.
        if reading.reader.is_none() && reading.has_dropped && !reading.transcript.is_understood {
            return reading.without(Interruption::NoTerminalEvent);
        }
        let verdict = reading.end();
        if verdict == Verdict::Completed && reading.transcript.answer().is_empty() && reading.reader.is_none() {
            self.whole_document();
        }
        verdict
    }

    /// Takes the document as it stands for the answer, where nothing in it is named one.
    fn whole_document(&mut self) {
        let pieces = &mut self.reading.transcript.pieces;
        match &mut self.framer {
            Framer::Document(document) => {
                if let Rest::Frame(frame) = document.rest()
                    && frame.source == Source::Document
                    && !matches!(frame.text, [b'"', ..] | b"null")
                {
                    RawJson::cut(frame.text).compact_into(pieces);
                }
            }
            Framer::Elements(elements) => RawJson::cut(elements.head().0).compact_into(pieces),
            _ => {}
        }
    }

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

impl Reading {
    fn is_done(&self) -> bool {
        self.verdict.is_some() && !self.awaits_usage
    }

    /// Takes a frame.
    fn read(&mut self, frame: &Frame<'_>) {
        if frame.source == Source::Line
            && frame.text.is_empty()
            && frame.dropped.is_none_or(|last| last.is_ascii_whitespace())
        {
            return;
        }
        if self.verdict.is_some() {
            let reader = self.reader.as_mut();
            self.awaits_usage = !reader.is_none_or(|reader| reader.read_usage(frame, &mut self.transcript));
            return;
        }
        if frame.source == Source::Text {
            self.transcript.progress.events = 1;
        } else if frame.has_data {
            self.transcript.progress.events += 1;
            self.transcript.progress.skipped_events += u64::from(frame.dropped.is_some());
        }
        self.transcript.is_muted = frame.dropped.is_some();
        self.has_dropped |= frame.dropped.is_some();
        if frame.name == b"error" {
            self.verdict = Some(self.error(frame));
            return;
        }
        let kind = &self.generic_type;
        if self.reader.is_none() && self.generic.is_more_of_same(frame, kind, &self.transcript) {
            return;
        }
        self.verdict = match (&mut self.reader, frame.text.first()) {
            (_, Some(b'"' | b'd')) => self.string(frame),
            (Some(reader), _) => reader.read(frame, &mut self.transcript),
            (None, _) => self.object(frame, frame),
        };
        if self.verdict.is_some() {
            self.awaits_usage = self.reader.as_ref().is_some_and(|reader| reader.awaits_usage());
        }
    }

    /// Takes a frame that the framing itself calls an error.
    fn error(&mut self, frame: &Frame<'_>) -> Verdict {
        let kind = RawJson::cut(frame.text).get("type").and_then(RawJson::whole_str);
        if kind.is_some_and(|kind| kind.is("serverErrorEvent"))
            && let Some(mut reader) = protocol::reader(Protocol::StrandsTypescript)
            && let Some(verdict) = reader.read(frame, &mut self.transcript)
        {
            self.transcript.is_understood = true;
            return verdict;
        }
        self.transcript.is_understood = true;
        match &mut self.reader {
            Some(reader) => reader.error(frame, &mut self.transcript),
            None => Verdict::Failed(protocol::words::reported(protocol::words::message_of_frame(frame))),
        }
    }

    /// Takes a string or unquoted text, or the object within it.
    fn string(&mut self, frame: &Frame<'_>) -> Option<Verdict> {
        let mut inner = std::mem::replace(&mut self.inner, BoundedText::new(0));
        let verdict = match self.look_into(frame, &mut inner) {
            Some(object) => self.object(&Frame { text: object, data: object, ..*frame }, frame),
            None => self.object(frame, frame),
        };
        inner.release();
        self.inner = inner;
        verdict
    }

    /// Returns true if an object's protocol is certainly none: it has no member that a protocol is recognised by, but for
    /// a type that another frame had.
    fn is_known_as_generic(&mut self, frame: &Frame<'_>, members: &Members<'_>) -> bool {
        let is_open = frame.is_document()
            || !matches!(frame.name, b"" | b"message")
            || members.has_any(&protocol::SIGNS)
            || members.has_object(Name::Message);
        if is_open {
            return false;
        }
        let Some(kind) = members.get(Name::Type).map(RawJson::raw) else { return true };
        let kind = &kind[..kind.len().min(64)];
        let is_same = self.generic_type == kind;
        if !is_same {
            self.generic_type = kind.to_vec();
        }
        is_same
    }

    /// The object within a JSON string, or within `data:` text in such a string or unquoted: agents serialize twice. Also
    /// the `[DONE]` in such text.
    fn look_into<'t>(&self, frame: &Frame<'t>, inner: &'t mut BoundedText) -> Option<&'t [u8]> {
        let begins = matches!(
            frame.text,
            [b'"', b'{', b'\\' | b' ' | b'}', ..] | [b'"', b'd', b'a', b't', b'a', b':', ..] | [b'"', b'\\' | b' ', ..]
        );
        let begins = begins || frame.text.starts_with(b"data:");
        if !begins || frame.dropped.is_some() || self.reader.as_ref().is_some_and(|reader| reader.takes_strings()) {
            return None;
        }
        let text = match frame.text {
            [b'"', ..] if scan::is_whole(frame.text) => {
                RawJson::whole(frame.text).as_str()?.push_into(inner);
                scan::trim(inner.as_str().as_bytes())
            }
            [b'"', ..] => return None,
            text => text,
        };
        let data = text.strip_prefix(b"data:").map(scan::trim);
        let text = data.unwrap_or(text);
        let is_done = data == Some(b"[DONE]");
        (is_done || text.starts_with(b"{") && Members::of(text).is_closed).then_some(text)
    }

    /// Takes a frame, or the object within it, by the protocol's rules or the generic ones.
    fn object(&mut self, frame: &Frame<'_>, outer: &Frame<'_>) -> Option<Verdict> {
        if let Some(reader) = &mut self.reader {
            return reader.read(frame, &mut self.transcript);
        }
        let mut members = Members::none();
        let is_object = frame.text.starts_with(b"{");
        if is_object {
            members.read(frame.text);
        }
        let recognised = match Some(&members).filter(|_| is_object) {
            Some(members) if self.is_known_as_generic(frame, members) => None,
            Some(members) => protocol::recognise(frame, members),
            None if frame.name.is_empty() => None,
            None => protocol::recognise(frame, &members),
        };
        if let Some(protocol) = recognised {
            let mut reader = protocol::reader(protocol)?;
            let frame = if reader.takes_strings() { outer } else { frame };
            let verdict = reader.read(frame, &mut self.transcript);
            self.protocol = Some(protocol);
            self.reader = Some(reader);
            return verdict;
        }
        if !frame.has_data {
            return None;
        }
        let (is_understood, verdict) =
            self.generic.read(frame, Some(&members).filter(|_| is_object), &mut self.transcript);
        if !is_understood && !std::ptr::eq(frame, outer) && is_object {
            // What is no message of anybody's is the text of an agent that answers in JSON.
            self.generic.read(outer, None, &mut self.transcript);
        } else if !is_understood && frame.source == Source::Line && frame.dropped.is_none() {
            let has_type = members.get(Name::Type).and_then(RawJson::whole_str).is_some();
            self.transcript.progress.skipped_events += u64::from(!has_type);
        }
        verdict
    }

    /// Decides an answer that ended in order.
    fn end(&mut self) -> Verdict {
        match &mut self.reader {
            Some(reader) => reader.end(&mut self.transcript),
            None => self.generic.end(&self.transcript),
        }
    }

    fn torn(&self) -> Verdict {
        self.without(Interruption::Torn)
    }

    /// Decides an answer that broke off: what the agent said of a failure before that is known all the same.
    fn without(&self, interruption: Interruption) -> Verdict {
        match &self.transcript.failure {
            Some(failure) => Verdict::Failed(failure.clone()),
            None => Verdict::Interrupted(interruption),
        }
    }

    fn into_outcome(self) -> Outcome {
        let mut transcript = self.transcript;
        let mut verdict = self.verdict.unwrap_or(Verdict::Interrupted(Interruption::NoTerminalEvent));
        let is_empty = Verdict::Failed(AnswerError::Empty);
        if self.is_accepted_only
            && (matches!(verdict, Verdict::Completed | Verdict::Failed(AnswerError::NotJson)) || verdict == is_empty)
        {
            verdict = Verdict::Incomplete(FinishReason::Working);
        }
        let finish_reason = match verdict {
            Verdict::Incomplete(reason) => Some(reason),
            Verdict::Completed => None,
            _ => transcript.finish,
        };
        let protocol = match self.protocol {
            Some(protocol) if transcript.is_understood => protocol,
            None if transcript.is_understood || transcript.progress.events == 0 => Protocol::Generic,
            _ if verdict == Verdict::Completed => Protocol::Unknown,
            other => other.unwrap_or(Protocol::Generic),
        };
        let (progress, request_id, session_id) =
            (transcript.progress, transcript.request_id.take(), transcript.session_id.take());
        let has_output = matches!(verdict, Verdict::Completed | Verdict::Incomplete(_));
        let output = transcript.into_output().filter(|_| has_output);
        Outcome { verdict, protocol, finish_reason, output, request_id, session_id, progress }
    }
}

/// A content type as it may be shown: a type and a subtype of at most 100 bytes, else nothing of it.
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
