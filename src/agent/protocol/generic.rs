//! The generic dialect: frames and documents of an agent's own making, if no protocol is recognised (docs/agents.md, In
//! your own format). The last word decides.

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::answers::{DEPTH, answer_of, texts};
use crate::agent::protocol::failure::{failure_of, is_of_tool, is_tools};
use crate::agent::protocol::marks::{is_word_of_end, take_mark};
use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::models::{self, Answer, Call};
use crate::agent::protocol::names::{is_failure_word, stop_by_name};
use crate::agent::protocol::notes::{
    STOP_HOLDERS, STOP_SIGNS, asks, has_result, note_stop, note_usage, stop_by_state, waits_within,
};
use crate::agent::protocol::strands;
use crate::agent::protocol::words::{is_repr, is_thought, message_of, message_of_frame, push_answer, reported};
use crate::agent::transcript::{MAX_OUTPUT, Transcript};
use crate::domain::answer::Verdict;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};
use crate::json::text::BoundedText;

/// Types of frames that are about the run, not its answer, beside thoughts. Without other text, theirs counts.
const REMARKS: [&str; 12] = [
    "usage",
    "status",
    "metadata",
    "done",
    "progress",
    "log",
    "ping",
    "heartbeat",
    "keepalive",
    "bye",
    "close",
    "closed",
];

/// The place at which a piece of the answer stood.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Under {
    #[default]
    Nothing,
    /// A string, plain text or unquoted data.
    Bare,
    Member(Name),
    /// A frame about the run: what is said next replaces it.
    Remark,
}

impl Under {
    /// Returns true if nothing was understood yet, or only a remark.
    fn is_silent(self) -> bool {
        matches!(self, Under::Nothing | Under::Remark)
    }
}

/// Returns true if the name of a server-sent event says that it is about the run, not its answer.
fn is_remark_by_name(frame: &Frame<'_>) -> bool {
    let is_remark = |name: &[u8]| REMARKS.iter().any(|remark| name == remark.as_bytes()) || is_thought(name);
    frame.source == Source::Sse && is_remark(frame.name)
}

/// Reads the generic dialect.
#[derive(Debug, Default)]
pub(crate) struct Generic {
    pub(super) under: Under,
    /// Something was understood that is an answer and no remark.
    has_said: bool,
    /// The agent waits for a person and has said nothing since.
    waits: bool,
    /// It waits because a tool needs an approval.
    tool_waits: bool,
    /// The last name of an event, and the last type, that do not say how the run ends.
    pub(super) plain_name: Vec<u8>,
    plain_type: Vec<u8>,
    /// The last `kind` of a frame that had no other member which anybody reads, and reported no failure.
    pub(super) plain_kind: Vec<u8>,
    /// The last object said nothing.
    pub(super) is_silent: bool,
    /// The kind of the event that the pieces began with, as [`kind_of`] tells it.
    first_kind: Vec<u8>,
    /// The call of a model whose raw answer came last.
    call: Call,
}

/// The meaning of a server-sent event's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// The run failed.
    Failure,
    /// The agent stopped short.
    Stop(FinishReason),
    Nothing,
}

impl Generic {
    /// Takes a frame. `members` are those of an object. Without them it is a string, unquoted text or another value.
    /// Returns true if the frame was understood, and the verdict if it decides the run, which only the AgentCore SDK's
    /// error frame does.
    pub(crate) fn read(
        &mut self,
        frame: &Frame<'_>,
        members: Option<&Members<'_>>,
        transcript: &mut Transcript,
    ) -> (bool, Option<Verdict>) {
        let was_understood = std::mem::take(&mut transcript.is_understood);
        let is_named = frame.source == Source::Sse && !frame.name.is_empty();
        let finish_before = transcript.finish;
        let named = if is_named { self.take_name(frame, members, transcript) } else { Named::Nothing };
        let verdict = match members {
            _ if named == Named::Failure => None,
            Some(members) => self.take_object(frame, members, transcript),
            None => {
                self.take_bare(frame, transcript);
                None
            }
        };
        // After the frame's text, which takes the waiting back. The frame's own word comes first.
        if let Named::Stop(reason) = named
            && transcript.finish == finish_before
        {
            transcript.is_understood = true;
            transcript.finish = Some(reason);
            self.waits = reason.waits();
            self.tool_waits = self.waits && is_of_tool(frame.name);
        }
        let understood = transcript.is_understood;
        transcript.is_understood |= was_understood;
        (understood, verdict)
    }

    /// Takes the name of a server-sent event. A name of failure gives the transcript a failure in the frame's words and
    /// its usage, and the caller reads nothing else. If it says how the agent stopped, the reason is returned and
    /// not noted: the rest of the frame comes first. `self` keeps the last other name, only to skip its repetitions.
    fn take_name(&mut self, frame: &Frame<'_>, members: Option<&Members<'_>>, transcript: &mut Transcript) -> Named {
        // Nearly every name is that of the frame before.
        if frame.name == self.plain_name {
            return Named::Nothing;
        }
        let Ok(name) = std::str::from_utf8(frame.name) else { return Named::Nothing };
        if is_failure_word(name) {
            transcript.is_understood = true;
            transcript.failure = Some(reported(message_of_frame(frame)));
            if let Some(members) = members {
                self.take_raw(frame, members, false, transcript);
            }
            return Named::Failure;
        }
        if let Some(reason) = stop_by_name(name) {
            return Named::Stop(reason);
        }
        self.plain_name = frame.name.to_vec();
        Named::Nothing
    }

    /// Returns true once something of an answer was understood that is no remark.
    pub(crate) fn has_said(&self) -> bool {
        self.has_said
    }

    /// Takes a frame that is not an object. A string, a list of objects in an SSE frame, plain text and the unquoted
    /// data of an SSE frame are pieces of the answer. Python's repr of a result is read for its stop reason alone.
    /// `null` says nothing but is understood. `[DONE]` and other values are passed over. A string too large to keep
    /// counts only in a document.
    fn take_bare(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) {
        match (frame.source, frame.text) {
            (Source::Sse | Source::Line | Source::Document | Source::Element, [b'"', inner @ ..])
                if frame.dropped.is_some() || scan::is_whole(frame.text) =>
            {
                transcript.is_understood |= strands::repr_stopped(inner, transcript);
                let is_full = transcript.pieces.is_truncated() && self.under == Under::Bare && !inner.starts_with(b"[");
                if is_full && !transcript.may_go_on() && frame.dropped.is_none() {
                    transcript.is_understood = true;
                } else if frame.dropped.is_none() {
                    let mut text = BoundedText::new(MAX_OUTPUT + 4);
                    if let Some(string) = RawJson::whole(frame.text).as_str() {
                        string.push_into(&mut text);
                    }
                    self.take_string(frame, text.as_str(), transcript);
                } else if frame.is_document()
                    && let Some(string) = RawJson::cut(frame.text).as_str()
                {
                    transcript.is_understood = true;
                    string.push_into(&mut transcript.pieces);
                }
            }
            (_, b"null") => transcript.is_understood = true,
            (_, b"[DONE]") | (Source::Line | Source::Document | Source::Element, _) => {}
            (Source::Sse, [b'[', ..]) if frame.dropped.is_none() && is_list_of_objects(frame.text) => {
                // For example LangGraph's pair: a chunk of a message and its metadata.
                let mut text = BoundedText::new(MAX_OUTPUT + 4);
                push_answer(RawJson::whole(frame.text), &mut text, DEPTH);
                self.take_string(frame, text.as_str(), transcript);
            }
            (Source::Text, _) | (Source::Sse, _) if frame.dropped.is_none() => {
                // The whitespace of a piece counts, the end of a text file does not.
                let text = if frame.source == Source::Text { frame.text } else { frame.data };
                let before = transcript.pieces.len();
                self.take_unquoted(frame, text, transcript);
                transcript.is_understood |= transcript.pieces.len() > before || transcript.pieces.is_truncated();
            }
            _ => {}
        }
    }

    /// Takes text without quotes as a piece of the answer, or as a mark. It is taken even if it is Python's repr. The
    /// text of an event that is a remark counts only if nothing else has been said.
    fn take_unquoted(&mut self, frame: &Frame<'_>, text: &[u8], transcript: &mut Transcript) {
        let is_said = !self.under.is_silent() || transcript.may_go_on();
        if text.is_empty() || (is_said && is_remark_by_name(frame)) || take_mark(frame, text, transcript) {
            return;
        }
        self.make_room(Under::Bare, text, transcript);
        transcript.pieces.push_lossy(text);
    }

    /// Takes a string as a piece of the answer, unless it is a mark, or Python's repr of an object, which is no text
    /// for a reader. The string of an event that is a remark counts only if nothing else has been said. In any case the
    /// answer counts as understood.
    fn take_string(&mut self, frame: &Frame<'_>, text: &str, transcript: &mut Transcript) {
        transcript.is_understood = true;
        let is_said = !self.under.is_silent() || transcript.may_go_on();
        if (is_said && is_remark_by_name(frame)) || take_mark(frame, text.as_bytes(), transcript) {
            return;
        }
        if !text.is_empty() && !is_repr(text) && !transcript.is_muted {
            self.make_room(Under::Bare, text.as_bytes(), transcript);
            transcript.pieces.push(text);
        }
    }

    /// Takes an object. An object that reports a failure is read for this, its usage and its stop reason, and its text
    /// is no answer. It decides the run only if nothing can come after it. An object that is not closed is unquoted
    /// text in an SSE frame, and garbage elsewhere. An object about a tool holds no answer, unless it is a document.
    fn take_object(
        &mut self,
        frame: &Frame<'_>,
        members: &Members<'_>,
        transcript: &mut Transcript,
    ) -> Option<Verdict> {
        self.is_silent = self.says_nothing(frame, members);
        if self.is_silent {
            return None;
        }
        if let Some(failed) = failure_of(frame, members) {
            transcript.is_understood = true;
            self.take_raw(frame, members, is_tools(frame, members), transcript);
            self.note_stop(frame, members, false, transcript);
            transcript.failure = Some(reported(failed.message));
            return failed.is_final.then(|| transcript.last_word());
        }
        if !members.is_closed && frame.dropped.is_none() {
            // Unquoted text that happens to begin with a bracket. A line of NDJSON is garbage then.
            if frame.source == Source::Sse {
                self.take_unquoted(frame, frame.data, transcript);
                transcript.is_understood = true;
            }
            return None;
        }
        // The one document of an answer may be named after a tool, and still hold what the agent says.
        if frame.source != Source::Document && is_tools(frame, members) {
            self.take_raw(frame, members, true, transcript);
            // A result of the tool that had asked means that somebody approved.
            let has_result = has_result(frame, members);
            let asks = asks(members) && !has_result;
            if has_result && self.tool_waits {
                (self.waits, self.tool_waits) = (false, false);
                transcript.finish = None;
            }
            if members.has(Name::StopReason) || asks {
                self.note_stop(frame, members, false, transcript);
                self.tool_waits = asks && self.waits;
            }
            return None;
        }
        if members.is(Name::Type, "modelMessageStartEvent") {
            transcript.begin_message_of(members.get(Name::Role));
            self.under = Under::Remark;
        }
        let raw = self.take_raw(frame, members, false, transcript);
        self.take_answer(frame, members, raw.as_ref(), transcript);
        self.note_stop(frame, members, raw.is_some(), transcript);
        None
    }

    /// Takes the usage of a frame, that of a model's raw answer in it first, and returns that answer.
    fn take_raw<'a>(
        &mut self,
        frame: &Frame<'a>,
        members: &Members<'a>,
        is_of_tool: bool,
        transcript: &mut Transcript,
    ) -> Option<Answer<'a>> {
        let raw = models::take(frame, members, &mut self.call, transcript, is_of_tool);
        if !raw.as_ref().is_some_and(Answer::has_usage) {
            note_usage(frame, members, transcript);
        }
        raw
    }

    /// Takes the answer that an object holds, in the first of its members that has text. A remark about the run counts
    /// only if nothing else has been said, and the next answer replaces it. All of the answer said again by an event of
    /// another kind is not taken twice.
    fn take_answer(
        &mut self,
        frame: &Frame<'_>,
        members: &Members<'_>,
        raw: Option<&Answer<'_>>,
        transcript: &mut Transcript,
    ) {
        if self.is_full_of(members, transcript) {
            transcript.is_understood = true;
            return;
        }
        let Some((name, text)) = answer_of(members, raw) else { return };
        transcript.is_understood = true;
        if take_mark(frame, text.as_str().as_bytes(), transcript) {
            return;
        }
        let kind = members.get(Name::Type).and_then(RawJson::whole_str);
        let is_remark = kind.is_some_and(|kind| kind.position(&REMARKS).is_some() || is_thought(kind.raw()))
            || (name == Name::Message && raw.is_none() && members.has(Name::Status))
            || is_remark_by_name(frame);
        if is_remark && !self.under.is_silent() || self.is_said_again(frame, members, text.as_str(), transcript) {
            return;
        }
        // A model's answer that begins with what was said is all of it, said again.
        if name == Name::Raw
            && self.under != Under::Member(name)
            && text.as_str().starts_with(transcript.pieces.as_str())
        {
            transcript.pieces.clear();
        }
        self.make_room(
            if is_remark { Under::Remark } else { Under::Member(name) },
            text.as_str().as_bytes(),
            transcript,
        );
        if transcript.pieces.is_empty() {
            let kind = kind_of(frame, members);
            self.first_kind = kind[..kind.len().min(64)].to_vec();
        }
        transcript.pieces.push(text.as_str());
    }

    /// Returns true if a text is all of the answer so far, said once more by an event of another kind than its pieces:
    /// the one that ends the run often repeats it.
    fn is_said_again(&self, frame: &Frame<'_>, members: &Members<'_>, text: &str, transcript: &Transcript) -> bool {
        let said = transcript.pieces.as_str();
        if !matches!(self.under, Under::Member(_)) || said.len() != text.len() || said != text {
            return false;
        }
        let kind = kind_of(frame, members);
        !kind.is_empty() && !self.first_kind.is_empty() && self.first_kind != kind[..kind.len().min(64)]
    }

    /// Returns true if an object has text under the member that the pieces came from, no more of it is kept, and there
    /// is no failure that it could take back.
    fn is_full_of(&self, members: &Members<'_>, transcript: &Transcript) -> bool {
        let first = || texts().find(|name| members.has(*name));
        transcript.pieces.is_truncated()
            && !transcript.may_go_on()
            && first().is_some_and(|name| {
                let text = members.get(name).and_then(RawJson::as_str);
                self.under == Under::Member(name)
                    && text.is_some_and(|text| !text.is_empty() && !text.raw().starts_with(b"["))
            })
    }

    /// Makes room for a piece that stands under `under`. The next piece replaces a remark. A member that holds the
    /// whole answer replaces pieces under another. Text after a failure takes the failure back, because the agent went
    /// on, unless it stands under `message` or is a remark. It also lets a later stop word replace one that says that
    /// the agent waits. Blank text, the same answer said again and a bare word such as `DONE` take nothing back.
    fn make_room(&mut self, under: Under, text: &[u8], transcript: &mut Transcript) {
        let is_whole_answer =
            matches!(under, Under::Member(Name::Response | Name::Answer | Name::Result | Name::Output | Name::Message));
        let goes_on = !matches!(under, Under::Member(Name::Message) | Under::Remark);
        if goes_on && (transcript.may_go_on() || self.waits) {
            let text = text.trim_ascii();
            let said = transcript.pieces.as_str().as_bytes().trim_ascii();
            let is_news = !text.is_empty() && text != said && !(under == Under::Bare && is_word_of_end(text));
            if is_news {
                transcript.go_on();
                self.waits = false;
            }
        }
        if self.under == Under::Remark || (is_whole_answer && self.under != under) {
            transcript.pieces.clear();
        }
        self.has_said |= under != Under::Remark;
        self.under = under;
    }

    /// Notes how a frame says that the agent stopped, by [`note_stop`] and [`waits_within`]. `has_raw`: it has a
    /// model's raw answer. A failure that a stop word reports gets the frame's words. Once the agent waits, only
    /// further answer takes this back: a `finally` says `end_turn` whatever went before.
    fn note_stop(&mut self, frame: &Frame<'_>, members: &Members<'_>, has_raw: bool, transcript: &mut Transcript) {
        let kind = members.get(Name::Type).map(RawJson::raw).unwrap_or_default();
        let says_nothing = !has_raw
            && !members.has_any(STOP_SIGNS)
            && members.objects(STOP_HOLDERS.and(Name::Metadata)).next().is_none()
            && frame.source != Source::Document;
        if says_nothing && (kind.is_empty() || kind == self.plain_type) {
            return;
        }
        let had_failed = transcript.failure.is_some();
        let before = transcript.finish.filter(|reason| self.waits && reason.waits());
        let had_stopped = std::mem::take(&mut transcript.has_stopped);
        let earlier = transcript.finish.take();
        note_stop(frame, members, transcript);
        if let Some(reason) = waits_within(frame, members) {
            transcript.finish = Some(reason);
            transcript.is_understood = true;
        }
        // What the run itself says is no tool's.
        self.tool_waits &= transcript.finish.is_none();
        if transcript.finish.is_none() && !transcript.has_stopped {
            transcript.finish = earlier;
        }
        transcript.has_stopped |= had_stopped;
        if !had_failed && transcript.failure == Some(reported(None)) {
            transcript.failure = Some(reported(message_of(RawJson::cut(frame.text), &[])));
        }
        if transcript.finish.is_none() {
            transcript.finish = before;
        }
        self.waits = transcript.finish.is_some_and(FinishReason::waits);
        self.tool_waits &= self.waits;
        if says_nothing && stop_by_state(frame, members).is_none() {
            self.plain_type = kind[..kind.len().min(64)].to_vec();
        }
    }

    /// Decides an answer that ended in order, as [`Transcript::at_end`] does.
    pub(crate) fn end(&self, transcript: &Transcript) -> Verdict {
        transcript.at_end()
    }
}

/// Returns the kind of an event: its `type` or its `event`, a string in its quotes, or otherwise its name. The escapes
/// are unread. It is empty if the event has none.
fn kind_of<'a>(frame: &Frame<'a>, members: &Members<'a>) -> &'a [u8] {
    let named = members.get(Name::Type).or_else(|| members.get(Name::Event)).filter(|kind| kind.whole_str().is_some());
    named.map_or(frame.name, RawJson::raw)
}

/// Returns true if a text that begins with `[` is a JSON array whose first element is an object.
fn is_list_of_objects(text: &[u8]) -> bool {
    scan::trim(&text[1..]).starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}
