//! What the decoder makes of an answer's frames: the protocol, recognised or set, and the facts that it reads.

use crate::agent::framing::frame::{Frame, MAX_EVENT, Source};
use crate::agent::protocol::{
    self,
    generic::Generic,
    members::{Members, Name},
    reader::Reader,
    words::{message_of_frame, reported},
};
use crate::agent::transcript::Transcript;
use crate::domain::answer::{AnswerError, Interruption, Outcome, Verdict};
use crate::domain::finish_reason::FinishReason;
use crate::domain::protocol::Protocol;
use crate::json::scan::{self, RawJson};
use crate::json::text::BoundedText;

/// The field that agents write into data themselves.
const DATA: &[u8] = b"data:";

/// The field that names an event, which they may write before it.
const EVENT: &[u8] = b"event:";

/// Returns true if data is a frame of server-sent events itself.
fn is_frame_within(text: &[u8]) -> bool {
    text.starts_with(DATA) || text.starts_with(EVENT)
}

fn line_end(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).unwrap_or(text.len())
}

/// The state of reading an answer's frames: what is recognised, what is decided, and the transcript.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) transcript: Transcript,
    /// The protocol recognised or set, and what reads it.
    pub(super) protocol: Option<Protocol>,
    pub(super) reader: Option<Box<dyn Reader>>,
    generic: Generic,
    /// A string of JSON that was looked into.
    pub(super) inner: BoundedText,
    pub(super) verdict: Option<Verdict>,
    /// The run is decided, but its usage may still come.
    pub(super) awaits_usage: bool,
    /// The `type` of the last frame that was no protocol's, as it stands there.
    generic_type: Vec<u8>,
    /// A frame was too large to keep.
    pub(super) has_dropped: bool,
    /// HTTP 202: whatever the answer says, the agent is at work.
    pub(super) is_accepted_only: bool,
}

impl Reading {
    /// Creates the state before the first frame: no protocol is known, and nothing is decided.
    pub(super) fn new() -> Reading {
        Reading {
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
        }
    }

    /// Returns true if the run is decided and no usage is awaited: no further frame is read.
    pub(super) fn is_done(&self) -> bool {
        self.verdict.is_some() && !self.awaits_usage
    }

    /// Takes a frame. Blank lines are not counted. Once the run is decided, a frame is read for its usage only.
    /// Otherwise a frame named `error` decides, before any protocol's rules. A frame that only continues an answer of
    /// which no more is kept is passed over. A string, or an SSE frame within the data, is looked into. Anything else
    /// goes to the protocol's reader if one is known, and is interpreted if not.
    pub(super) fn read(&mut self, frame: &Frame<'_>) {
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
            // What was taken for the elements of an array was not.
            self.transcript.pieces.clear();
            self.transcript.progress.events = 1;
        } else if frame.has_data {
            self.transcript.progress.events += 1;
            self.transcript.progress.skipped_events += u64::from(frame.dropped.is_some());
        }
        self.transcript.is_muted = frame.dropped.is_some();
        self.has_dropped |= frame.dropped.is_some();
        if frame.name == b"error" {
            self.verdict = Some(self.read_error(frame));
            return;
        }
        let kind = &self.generic_type;
        if self.reader.is_none() && self.generic.is_more_of_same(frame, kind, &self.transcript) {
            return;
        }
        self.verdict = match (&mut self.reader, frame.text.first()) {
            (_, Some(b'"')) if frame.source != Source::Text => self.read_string(frame),
            (_, Some(b'd' | b'e')) if frame.source == Source::Sse && is_frame_within(frame.text) => {
                self.read_string(frame)
            }
            (Some(reader), _) => reader.read(frame, &mut self.transcript),
            (None, _) => self.interpret(frame, frame),
        };
        if self.verdict.is_some() {
            self.awaits_usage = self.reader.as_ref().is_some_and(|reader| reader.awaits_usage());
        }
    }

    /// Takes a frame that the framing itself calls an error, and decides the run. A `serverErrorEvent` is read by the
    /// rules of Strands TypeScript, whose frame it is. Otherwise the protocol's reader says what the error means, and
    /// without one it is a failure in the frame's words.
    fn read_error(&mut self, frame: &Frame<'_>) -> Verdict {
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
            None => Verdict::Failed(reported(message_of_frame(frame))),
        }
    }

    /// Takes a string or unquoted text. If another event is found within it, by [`Self::look_into`], that is read in
    /// its place: one named `error` decides the run.
    fn read_string(&mut self, frame: &Frame<'_>) -> Option<Verdict> {
        let mut inner = std::mem::replace(&mut self.inner, BoundedText::new(0));
        let verdict = match self.look_into(frame, &mut inner) {
            Some((b"error", data)) => Some(self.read_error(&Frame { text: data, data, ..*frame })),
            Some((name, data)) => {
                let name = if name.is_empty() { frame.name } else { name };
                self.interpret(&Frame { name, text: data, data, ..*frame }, frame)
            }
            None => self.interpret(frame, frame),
        };
        inner.release();
        self.inner = inner;
        verdict
    }

    /// Returns true if an object is certainly of no protocol, so that it need not be recognised: it is an unnamed frame
    /// of a stream, has none of the members that a protocol is recognised by, and has no `type` or the one that was
    /// remembered last. A `type` is remembered, up to 64 bytes, whatever the answer is.
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

    /// Returns the object within a JSON string, or within `data:` text in such a string or unquoted, and the name of
    /// the event that stands before it: agents serialize twice. Behind `data:` a whole string and `[DONE]` are returned
    /// as well, and anything at all if the event is named `error`. Returns `None` for text that is no more than that,
    /// for a frame too large to keep, and for a protocol whose strings are text whatever they hold. `inner` gets the
    /// unescaped text.
    fn look_into<'t>(&self, frame: &Frame<'_>, inner: &'t mut BoundedText) -> Option<(&'t [u8], &'t [u8])> {
        let begins = matches!(frame.text, [b'"', b'{', b'\\' | b' ' | b'}', ..] | [b'"', b'\\' | b' ', ..]);
        let is_frame = is_frame_within(frame.text);
        let is_quoted = frame.text.starts_with(b"\"");
        if !(begins || is_frame || is_quoted && is_frame_within(&frame.text[1..]))
            || frame.dropped.is_some()
            || self.reader.as_ref().is_some_and(|reader| reader.takes_strings())
        {
            return None;
        }
        if is_frame {
            inner.push_lossy(frame.text);
        } else if scan::is_whole(frame.text) {
            RawJson::whole(frame.text).as_str()?.push_into(inner);
        }
        let text = scan::trim(inner.as_str().as_bytes());
        let (name, text) = match text.strip_prefix(EVENT).map(|rest| rest.split_at(line_end(rest))) {
            Some((name, rest)) => (scan::trim(name), scan::trim(rest)),
            None => (&b""[..], text),
        };
        let is_object = |text: &[u8]| text.starts_with(b"{") && Members::of(text).is_closed;
        let data = match text.strip_prefix(DATA).map(scan::trim) {
            Some(data) => {
                (is_object(data) || data == b"[DONE]" || scan::is_whole(data) || name == b"error").then_some(data)
            }
            None => (is_object(text) && name.is_empty()).then_some(text),
        };
        data.map(|data| (name, data))
    }

    /// Takes a frame by the protocol's rules. If no protocol is known yet, it is recognised here, and the generic rules
    /// read a frame that no protocol recognises. `frame` may be the object found within the string `outer`. Otherwise
    /// both are the same frame.
    fn interpret(&mut self, frame: &Frame<'_>, outer: &Frame<'_>) -> Option<Verdict> {
        if let Some(reader) = &mut self.reader {
            return reader.read(frame, &mut self.transcript);
        }
        let mut members = Members::none();
        let is_object = frame.source != Source::Text && frame.text.starts_with(b"{");
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
        if !is_understood && is_object && !std::ptr::eq(frame, outer) {
            // An inner object that says nothing was the agent's answer, written as JSON.
            self.generic.read(outer, None, &mut self.transcript);
        } else if !is_understood && frame.source == Source::Line && frame.dropped.is_none() {
            let has_type = members.get(Name::Type).and_then(RawJson::whole_str).is_some();
            self.transcript.progress.skipped_events += u64::from(!has_type);
        }
        verdict
    }

    /// Decides an answer that ended in order without a terminal event: by the rules of its protocol, or by the generic
    /// ones, for which that is a success unless the last word said otherwise.
    pub(super) fn end(&mut self) -> Verdict {
        match &mut self.reader {
            Some(reader) => reader.end(&mut self.transcript),
            None => self.generic.end(&self.transcript),
        }
    }

    /// Decides an answer whose connection ended before it did. It is never a success.
    pub(super) fn torn(&self) -> Verdict {
        self.without(Interruption::Torn)
    }

    /// Decides an answer that broke off: what the agent said of a failure before that is known all the same, and takes
    /// precedence.
    pub(super) fn without(&self, interruption: Interruption) -> Verdict {
        match &self.transcript.failure {
            Some(failure) => Verdict::Failed(failure.clone()),
            None => Verdict::Interrupted(interruption),
        }
    }

    /// Sums up an answer that has ended. One that nothing decided is interrupted. After HTTP 202, one that would be
    /// completed, empty or no JSON is incomplete as `working`. The protocol is named only if something was understood
    /// by it: a completed answer of which nothing was is `Unknown`. The text is left out unless the run completed or
    /// stopped short. A failure or an interruption keeps the finish reason that the agent named.
    pub(super) fn into_outcome(self) -> Outcome {
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
