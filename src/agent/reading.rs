//! The reading of an answer's frames: the protocol, recognised or set, and the facts that it reads.

use crate::agent::framing::frame::{Frame, MAX_EVENT, Source};
use crate::agent::loose::{Found, Loose, begins_document};
use crate::agent::protocol::{
    self,
    failure::{error_beside, failure_of},
    generic::Generic,
    members::{Members, Name},
    notes::note_stop,
    reader::Reader,
    words::{message_of_frame, reported},
};
use crate::agent::second_reading;
use crate::agent::transcript::Transcript;
use crate::agent::within::{self, DATA, EVENT, is_frame_within, literals};
use crate::domain::answer::{Interruption, Verdict};
use crate::domain::protocol::Protocol;
use crate::json::scan::{self, RawJson};
use crate::json::text::BoundedText;

/// The state of reading an answer's frames: the protocol, the verdict, and the transcript.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) transcript: Transcript,
    /// The protocol that was recognised or set, and its reader.
    pub(super) protocol: Option<Protocol>,
    pub(super) reader: Option<Box<dyn Reader>>,
    generic: Generic,
    /// Lines that are no frames.
    pub(super) loose: Loose,
    /// The name of an event that an `event:` line gave, for the next `data:` line.
    line_name: Vec<u8>,
    /// The protocol was set for the agent.
    pub(super) is_set: bool,
    /// Frames of the recognised protocol's own.
    own_frames: u64,
    /// A frame named `metadata` came.
    has_metadata: bool,
    /// A string of JSON that was looked into.
    pub(super) inner: BoundedText,
    pub(super) verdict: Option<Verdict>,
    /// The run is decided, but its usage may still come.
    pub(super) awaits_usage: bool,
    /// The `type` of the last frame of no protocol, escapes unread.
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
            loose: Loose::default(),
            line_name: Vec::new(),
            is_set: false,
            own_frames: 0,
            has_metadata: false,
            inner: BoundedText::new(MAX_EVENT),
            verdict: None,
            awaits_usage: false,
            generic_type: Vec::new(),
            has_dropped: false,
            is_accepted_only: false,
        }
    }

    /// Returns true if the run is decided and no usage is awaited.
    pub(super) fn is_done(&self) -> bool {
        self.verdict.is_some() && !self.awaits_usage
    }

    /// Takes a frame. Blank lines are not counted. A line that is no frame goes to [`Self::take_loose`]. Once the run
    /// is decided, a frame is read for its usage only. Otherwise a frame named `error` decides, before any protocol's
    /// rules. A frame that only adds to an answer that is full already is passed over. A string, or an SSE frame within
    /// the data, is looked into. Anything else goes to the protocol's reader, or without one to [`Self::interpret`]. An
    /// object of which not all was kept may say that the run failed: it puts an end in order in doubt.
    pub(super) fn read(&mut self, frame: &Frame<'_>) {
        if frame.source == Source::Line
            && frame.text.is_empty()
            && frame.dropped.is_none_or(|last| last.is_ascii_whitespace())
        {
            return;
        }
        if frame.source == Source::Loose || frame.source == Source::Line && self.loose.continues(frame.data) {
            if self.verdict.is_none() {
                self.verdict = self.take_loose(frame);
            }
            return;
        }
        self.loose.leave();
        if self.verdict.is_some() {
            let reader = self.reader.as_mut();
            self.awaits_usage = !reader.is_none_or(|reader| reader.read_usage(frame, &mut self.transcript));
            return;
        }
        if frame.source == Source::Text {
            // It looked like the elements of an array and is plain text.
            self.transcript.pieces.clear();
            self.transcript.progress.events = 1;
        } else if frame.has_data {
            self.transcript.progress.events += 1;
            self.transcript.progress.skipped_events += u64::from(frame.dropped.is_some());
        }
        self.transcript.is_muted = frame.dropped.is_some() && !frame.is_document();
        self.has_dropped |= frame.dropped.is_some() && !(frame.text.starts_with(b"{") && frame.is_whole());
        if frame.name == b"error" {
            self.verdict = Some(self.read_error(frame));
            return;
        }
        let kind = &self.generic_type;
        if self.reader.is_none()
            && (self.generic.is_more_of_same(frame, kind, &self.transcript) || self.generic.is_silent_again(frame))
        {
            return;
        }
        self.verdict = match (&mut self.reader, frame.text.first()) {
            (None, _) if frame.source == Source::Part => self.follow_as(Protocol::Vercel, frame, frame),
            (_, Some(b'"')) if !matches!(frame.source, Source::Text | Source::Part) => self.read_string(frame),
            (_, Some(b'd' | b'e'))
                if matches!(frame.source, Source::Sse | Source::Line) && is_frame_within(frame.text) =>
            {
                self.read_frame_within(frame)
            }
            (Some(_), _) => self.follow(frame),
            (None, _) => self.interpret(frame, frame),
        };
        if frame.dropped.is_some() && frame.text.starts_with(b"{") && !frame.is_whole() {
            self.transcript.doubt_the_end();
        }
        if self.verdict.is_some() {
            self.awaits_usage = self.reader.as_ref().is_some_and(|reader| reader.awaits_usage());
        }
    }

    /// Takes a frame named `error`, and decides the run. A `serverErrorEvent` is read by the rules of Strands
    /// TypeScript, whose frame it is. Otherwise the protocol's reader says what it means; without one it is a failure
    /// in the frame's words.
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

    /// Takes data, or a line, that begins with `data:` or `event:` itself. Data is looked into as a string is. A line
    /// with a name counts as skipped, and its name, cut to 64 bytes, is kept for the next `data:` line. Data named
    /// `error` decides the run, even if it is no JSON.
    fn read_frame_within(&mut self, frame: &Frame<'_>) -> Option<Verdict> {
        if frame.source != Source::Line {
            return self.read_string(frame);
        }
        if let Some(name) = frame.text.strip_prefix(EVENT) {
            let name = scan::trim(name);
            self.line_name = name[..name.len().min(64)].to_vec();
            self.transcript.progress.skipped_events += 1;
            return None;
        }
        let name = std::mem::take(&mut self.line_name);
        let named = Frame { name: &name, ..*frame };
        if name == b"error" {
            let data = scan::trim(&frame.text[DATA.len()..]);
            return Some(self.read_error(&Frame { text: data, data, ..named }));
        }
        self.read_string(&named)
    }

    /// Takes a line that is no frame. Three things are read as a line of NDJSON: an object between server-sent events,
    /// a document in several lines once it is whole, and a dictionary as Python prints it. A failure is noted, and
    /// later text takes it back.
    fn take_loose(&mut self, frame: &Frame<'_>) -> Option<Verdict> {
        if frame.source == Source::Loose && frame.data.starts_with(b"{") && !begins_document(frame.data) {
            self.read(&Frame { source: Source::Line, ..*frame });
            return self.verdict.take();
        }
        if let Some(json) = literals(frame.text) {
            return self.interpret_object(json.as_bytes(), frame);
        }
        match self.loose.take(frame.data, frame.dropped.is_some()) {
            Found::Nothing => {
                if self.loose.is_cut() {
                    self.transcript.doubt_the_end();
                }
                None
            }
            Found::Failure(words) => {
                self.transcript.is_understood = true;
                self.transcript.doubt_by(reported(words));
                None
            }
            Found::Document => {
                let (document, dropped) = self.loose.take_document();
                let skipped = &mut self.transcript.progress.skipped_events;
                *skipped = skipped.saturating_sub(u64::from(frame.source == Source::Line));
                self.transcript.progress.events += u64::from(frame.source == Source::Loose);
                self.transcript.is_muted = dropped.is_some();
                let verdict = self.interpret_object(&document, &Frame { dropped, ..*frame });
                if dropped.is_some_and(|last| last != b'}') {
                    self.transcript.doubt_the_end();
                }
                verdict
            }
        }
    }

    /// Takes an object that was found in the lines of a stream, as a frame by itself. `of` is the frame that holds its
    /// last line.
    fn interpret_object(&mut self, object: &[u8], of: &Frame<'_>) -> Option<Verdict> {
        let source = if of.source == Source::Loose { Source::Line } else { of.source };
        let frame = Frame { source, data: object, text: object, ..*of };
        self.interpret(&frame, &frame)
    }

    /// Returns true if the stream ended within a document in several lines.
    pub(super) fn is_within_document(&self) -> bool {
        self.loose.is_open()
    }

    /// Takes a string or unquoted text. If [`Self::look_into`] finds another event within it, this event is read in its
    /// place. An event named `error` decides the run.
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

    /// Returns true if an object is certainly of no protocol and need not be recognised: a frame of a stream with no
    /// name or `message`, without the members that tell protocols, and with the `type` that was remembered last, or
    /// with none once an answer of no protocol was understood. At most 64 bytes of each such `type` are remembered.
    fn is_known_as_generic(&mut self, frame: &Frame<'_>, members: &Members<'_>) -> bool {
        let is_open = frame.is_document()
            || !matches!(frame.name, b"" | b"message")
            || members.has_any(protocol::SIGNS)
            || members.has_object(Name::Message);
        if is_open {
            return false;
        }
        let Some(kind) = members.get(Name::Type).map(RawJson::raw) else { return self.generic.has_said() };
        let kind = &kind[..kind.len().min(64)];
        let is_same = self.generic_type == kind;
        if !is_same {
            self.generic_type = kind.to_vec();
        }
        is_same
    }

    /// Returns the event within a JSON string, or within `data:` text in such a string or unquoted: its name, and its
    /// data, which is an object, because agents serialize twice. After `data:` a whole string and `[DONE]` are data as
    /// well, and so is anything under the name `error`. Returns `None` for text that holds no event, for a frame too
    /// large to keep, and for a protocol whose strings are always text. `inner` gets the unescaped text.
    fn look_into<'t>(&self, frame: &Frame<'_>, inner: &'t mut BoundedText) -> Option<(&'t [u8], &'t [u8])> {
        let is_frame = is_frame_within(frame.text);
        if !(is_frame || within::may_begin(frame.text))
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
        within::event(scan::trim(inner.as_str().as_bytes()))
    }

    /// Takes the frame by which a protocol was recognised. `frame` is `outer`, or the object found within that string.
    fn follow_as(&mut self, protocol: Protocol, frame: &Frame<'_>, outer: &Frame<'_>) -> Option<Verdict> {
        let reader = protocol::reader(protocol)?;
        let frame = if reader.takes_strings() { outer } else { frame };
        (self.protocol, self.reader) = (Some(protocol), Some(reader));
        self.follow(frame)
    }

    /// Takes a frame by the rules of the protocol that is known. A frame that is not its own is read by the generic
    /// rules: a failure, a stop or an answer in it counts as without a protocol. Of an event that ends the run in order
    /// they read a failure and a stop, and other members of the same names are heard. In a frame that decides nothing
    /// an `error` is heard that stands beside what the protocol reads.
    fn follow(&mut self, frame: &Frame<'_>) -> Option<Verdict> {
        let verdict = self.reader.as_mut()?.read(frame, &mut self.transcript);
        if std::mem::take(&mut self.transcript.is_foreign) {
            return self.read_foreign(frame);
        }
        self.own_frames += 1;
        if std::mem::take(&mut self.transcript.has_stopped)
            && verdict.is_none()
            && let Some(protocol) = self.protocol
        {
            second_reading::note_gravest(protocol, frame, &mut self.transcript);
        }
        match verdict {
            Some(verdict @ (Verdict::Completed | Verdict::Incomplete(_))) => {
                let verdict = self.confirmed(frame, verdict);
                Some(match self.protocol {
                    Some(protocol) => second_reading::gravest(protocol, frame, verdict),
                    None => verdict,
                })
            }
            None => {
                let failure = error_beside(frame)?;
                self.transcript.is_understood = true;
                self.reader.as_mut()?.error_beside(failure, &mut self.transcript)
            }
            other => other,
        }
    }

    /// Takes a frame that is not the recognised protocol's by the generic rules. Returns their verdict, or `None` if
    /// nothing is decided. A frame without data is ignored. In SSE a dictionary as Python prints it is read as the JSON
    /// that it means. A line of NDJSON that is no object, or that the rules do not understand, is passed over.
    fn read_foreign(&mut self, frame: &Frame<'_>) -> Option<Verdict> {
        if !frame.has_data {
            return None;
        }
        if let Some(json) = literals(frame.text).filter(|_| frame.source == Source::Sse) {
            return self.read_foreign(&Frame { data: json.as_bytes(), text: json.as_bytes(), ..*frame });
        }
        if frame.source == Source::Line && !frame.text.starts_with(b"{") {
            return self.pass_over(frame, &Members::none());
        }
        let is_object = frame.source != Source::Text && frame.text.starts_with(b"{");
        let members = if is_object { Members::of(frame.text) } else { Members::none() };
        let (is_understood, verdict) =
            self.generic.read(frame, Some(&members).filter(|_| is_object), &mut self.transcript);
        if !is_understood && frame.source == Source::Line && frame.dropped.is_none() {
            return self.pass_over(frame, &members).or(verdict);
        }
        verdict
    }

    /// Returns the verdict of an event that ends the run in order, unless that event itself says in the generic way
    /// that the run failed or stopped short. Unless a reason to stop was noted, an earlier failure replaces a success.
    fn confirmed(&mut self, frame: &Frame<'_>, verdict: Verdict) -> Verdict {
        if !frame.text.starts_with(b"{") {
            return verdict;
        }
        let members = Members::of(frame.text);
        if let Some(failed) = failure_of(frame, &members) {
            return Verdict::Failed(reported(failed.message));
        }
        if verdict == Verdict::Completed && self.transcript.finish.is_none() {
            note_stop(frame, &members, &mut self.transcript);
            return self.transcript.last_word();
        }
        verdict
    }

    /// Takes a frame by the protocol's rules. If no protocol is known yet, it is recognised here, and the generic rules
    /// read a frame with data that no protocol recognises. `frame` is `outer`, or the object found within that string.
    /// If the object says nothing, the string is the answer. In SSE a dictionary as Python prints it is read as JSON.
    fn interpret(&mut self, frame: &Frame<'_>, outer: &Frame<'_>) -> Option<Verdict> {
        if frame.source == Source::Sse
            && let Some(json) = literals(frame.text)
        {
            return self.interpret_object(json.as_bytes(), frame);
        }
        if self.reader.is_some() {
            return self.follow(frame);
        }
        let mut members = Members::none();
        let is_object = frame.source != Source::Text && frame.text.starts_with(b"{");
        if is_object {
            members.read(frame.text);
        }
        self.has_metadata |= frame.name == b"metadata";
        let recognised = match Some(&members).filter(|_| is_object) {
            Some(members) if self.is_known_as_generic(frame, members) => None,
            Some(members) => protocol::recognise(frame, members),
            None if frame.name.is_empty() && !frame.text.starts_with(b"[") => None,
            None => protocol::recognise(frame, &members),
        };
        // A string is LangServe's, whatever stands within it.
        let is_known = self.has_metadata || frame.name == b"data" && outer.text.starts_with(b"\"");
        let by_name = || if is_known { protocol::recognise_by_name(frame.name) } else { None };
        let recognised = recognised.filter(|protocol| !self.generic.has_said() || !protocol::is_weak(*protocol));
        if let Some(protocol) = recognised.or_else(by_name) {
            return self.follow_as(protocol, frame, outer);
        }
        if !frame.has_data {
            return None;
        }
        let (is_understood, verdict) =
            self.generic.read(frame, Some(&members).filter(|_| is_object), &mut self.transcript);
        if !is_understood && is_object && !std::ptr::eq(frame, outer) {
            self.generic.read(outer, None, &mut self.transcript);
        } else if !is_understood && frame.source == Source::Line && frame.dropped.is_none() {
            return self.pass_over(frame, &members).or(verdict);
        }
        verdict
    }

    /// Passes over a line that says nothing, and counts it as skipped if it has no `type`. A line that is no whole
    /// object or string goes to [`Self::take_loose`], whose verdict is returned.
    fn pass_over(&mut self, frame: &Frame<'_>, members: &Members<'_>) -> Option<Verdict> {
        let has_type = members.get(Name::Type).and_then(RawJson::whole_str).is_some();
        self.transcript.progress.skipped_events += u64::from(!has_type);
        let is_string = frame.text.starts_with(b"\"") && scan::is_whole(frame.text);
        if members.is_closed || is_string { None } else { self.take_loose(frame) }
    }

    /// Decides an answer that ended in order without a terminal event, by its protocol's rules or by the generic ones,
    /// by which it is a success unless the last word said otherwise. These also decide, and the protocol is forgotten,
    /// if only the `start` of a Vercel stream came, and they understood an answer in other frames: any agent may send a
    /// `start`.
    pub(super) fn end(&mut self) -> Verdict {
        let Some(reader) = &mut self.reader else { return self.generic.end(&self.transcript) };
        let verdict = reader.end(&mut self.transcript);
        let was_none =
            self.protocol == Some(Protocol::Vercel) && self.own_frames == 1 && self.generic.has_said() && !self.is_set;
        if was_none && verdict == Verdict::Interrupted(Interruption::NoTerminalEvent) {
            self.protocol = None;
            self.reader = None;
            return self.generic.end(&self.transcript);
        }
        verdict
    }

    /// Decides an answer that broke off, as no success. A failure that the agent reported before `interruption` counts.
    pub(super) fn without(&self, interruption: Interruption) -> Verdict {
        match self.transcript.failed() {
            Some(failure) => Verdict::Failed(failure.clone()),
            None => Verdict::Interrupted(interruption),
        }
    }
}
