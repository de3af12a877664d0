//! The generic dialect: frames and documents of an agent's own making, where no protocol is recognised (docs/agents.md, In
//! your own format). The last word decides.

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::failure::{failure_of, is_tools};
use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::strands;
use crate::agent::protocol::words::{is_repr, is_word, push_answer, reported};
use crate::agent::transcript::{MAX_OUTPUT, Transcript};
use crate::domain::answer::Verdict;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};
use crate::json::text::BoundedText;

/// The members that hold an answer. The first that has text counts.
const ANSWERS: [Name; 11] = [
    Name::Data,
    Name::Text,
    Name::Content,
    Name::Chunk,
    Name::Token,
    Name::Delta,
    Name::Response,
    Name::Answer,
    Name::Result,
    Name::Output,
    Name::Message,
];

/// Types of frames that are about the run, not its answer. Their text counts only where nothing else is said.
const REMARKS: [&str; 11] = [
    "usage",
    "status",
    "metadata",
    "done",
    "progress",
    "log",
    "ping",
    "heartbeat",
    "keepalive",
    "thinking",
    "reasoning",
];

/// Levels within a member in which an answer's text is looked for: a message, its content, the parts of that.
const DEPTH: usize = 4;

/// What a piece of the answer stood under.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Under {
    #[default]
    Nothing,
    /// A string, plain text or unquoted data.
    Bare,
    Member(Name),
    /// A frame about the run: what is said next replaces it.
    Remark,
}

/// Reads the generic dialect.
#[derive(Debug, Default)]
pub(crate) struct Generic {
    under: Under,
}

impl Generic {
    /// Returns true if a frame is nothing but more of an answer of which no more is kept: a string, or an object of the
    /// same member and of `kind`, a type that is known as nobody's. It need not be looked at any closer. A failure that
    /// text would take back is looked at.
    pub(crate) fn is_more_of_same(&self, frame: &Frame<'_>, kind: &[u8], transcript: &Transcript) -> bool {
        if !transcript.pieces.is_truncated() || transcript.failure.is_some() || frame.dropped.is_some() {
            return false;
        }
        match self.under {
            Under::Bare => {
                matches!(frame.text, [b'"', b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9', next, ..] if *next != b':')
                    && !frame.text.starts_with(b"\"data:")
                    && !frame.text.starts_with(b"\"event:")
                    && scan::is_whole(frame.text)
            }
            Under::Member(name) => {
                let word = name.word();
                let mut members = scan::Members::of(frame.text);
                let is_same = members.by_ref().all(|(name, value)| match name.raw() {
                    b"type" => value.raw() == kind,
                    raw => raw == word && matches!(value.raw(), [b'"', inner, ..] if *inner != b'"'),
                });
                is_same && members.is_closed()
            }
            _ => false,
        }
    }

    /// Takes a frame. `members` are those of an object; without them it is a string, unquoted text or another value.
    /// Returns false if the frame says nothing, and the verdict if it decides the run, which only the AgentCore SDK's
    /// error frame does.
    pub(crate) fn read(
        &mut self,
        frame: &Frame<'_>,
        members: Option<&Members<'_>>,
        transcript: &mut Transcript,
    ) -> (bool, Option<Verdict>) {
        let was_understood = std::mem::take(&mut transcript.is_understood);
        let verdict = match members {
            Some(members) => self.take_object(frame, members, transcript),
            None => {
                self.take_bare(frame, transcript);
                None
            }
        };
        let understood = transcript.is_understood;
        transcript.is_understood |= was_understood;
        (understood, verdict)
    }

    /// Takes what is not an object. A string, a list of objects in an SSE frame, plain text and the unquoted data of an
    /// SSE frame are pieces of the answer. Python's repr of a result is read for its stop reason alone. `null` says
    /// nothing but is understood; `[DONE]` and other values are passed over. A string too large to keep counts only in
    /// a document.
    fn take_bare(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) {
        match (frame.source, frame.text) {
            (Source::Sse | Source::Line | Source::Document | Source::Element, [b'"', inner @ ..])
                if frame.dropped.is_some() || scan::is_whole(frame.text) =>
            {
                transcript.is_understood |= strands::repr_stopped(inner, transcript);
                let is_full = transcript.pieces.is_truncated() && self.under == Under::Bare;
                if is_full && transcript.failure.is_none() && frame.dropped.is_none() {
                    transcript.is_understood = true;
                } else if frame.dropped.is_none() {
                    let mut text = BoundedText::new(MAX_OUTPUT + 4);
                    if let Some(string) = RawJson::whole(frame.text).as_str() {
                        string.push_into(&mut text);
                    }
                    self.take_string(text.as_str(), transcript);
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
                // A pair of LangGraph's, for one: a chunk of a message, and what is known of it.
                let mut text = BoundedText::new(MAX_OUTPUT + 4);
                push_answer(RawJson::whole(frame.text), &mut text, DEPTH);
                self.take_string(text.as_str(), transcript);
            }
            (Source::Text, _) | (Source::Sse, _) if frame.dropped.is_none() => {
                // The whitespace of a piece counts, the end of a text file does not.
                let text = if frame.source == Source::Text { frame.text } else { frame.data };
                let before = transcript.pieces.len();
                self.take_unquoted(text, transcript);
                transcript.is_understood |= transcript.pieces.len() > before || transcript.pieces.is_truncated();
            }
            _ => {}
        }
    }

    /// Takes text without quotes as a piece of the answer. Unlike a string it may be Python's repr: it is plain text
    /// then.
    fn take_unquoted(&mut self, text: &[u8], transcript: &mut Transcript) {
        if text.is_empty() {
            return;
        }
        self.make_room(Under::Bare, transcript);
        transcript.pieces.push_lossy(text);
    }

    /// Takes a string as a piece of the answer, unless it is Python's repr of an object, which nobody can read.
    pub(crate) fn take_string(&mut self, text: &str, transcript: &mut Transcript) {
        transcript.is_understood = true;
        if !text.is_empty() && !is_repr(text) && !transcript.is_muted {
            self.make_room(Under::Bare, transcript);
            transcript.pieces.push(text);
        }
    }

    /// Takes an object. One that reports a failure is read for that, its usage and its stop reason, and its text is no
    /// answer. One that is not closed is unquoted text in an SSE frame, and garbage elsewhere. One about a tool holds
    /// no answer, unless it is the only document. One too large to keep has none either, unless it is a document or an
    /// element of one.
    fn take_object(
        &mut self,
        frame: &Frame<'_>,
        members: &Members<'_>,
        transcript: &mut Transcript,
    ) -> Option<Verdict> {
        if let Some(failed) = failure_of(frame, members) {
            transcript.is_understood = true;
            note_usage(members, transcript);
            note_stop(members, transcript);
            transcript.failure = Some(reported(failed.message));
            return failed.is_final.then(|| transcript.last_word());
        }
        if !members.is_closed && frame.dropped.is_none() {
            // Unquoted text that happens to begin with a bracket. A line of NDJSON is garbage then.
            if frame.source == Source::Sse {
                self.take_unquoted(frame.data, transcript);
                transcript.is_understood = true;
            }
            return None;
        }
        note_usage(members, transcript);
        note_stop(members, transcript);
        // The one document of an answer may be named after a tool, and still hold what the agent says.
        let is_document = frame.source == Source::Document;
        if !is_document && is_tools(frame, members) || transcript.is_muted && !frame.is_document() {
            return None;
        }
        if members.is(Name::Type, "modelMessageStartEvent") {
            transcript.begin_message_of(members.get(Name::Role));
            self.under = Under::Remark;
        }
        self.take_answer(members, transcript);
        None
    }

    /// Takes the answer that an object holds, in the first of its members that has text. A remark about the run counts
    /// only where nothing else has been said, and is replaced by what is said next.
    fn take_answer(&mut self, members: &Members<'_>, transcript: &mut Transcript) {
        if self.is_full_of(members, transcript) {
            transcript.is_understood = true;
            return;
        }
        let Some((name, text)) = answer_of(members) else { return };
        transcript.is_understood = true;
        let kind = members.get(Name::Type).and_then(RawJson::whole_str);
        let is_remark = kind.is_some_and(|kind| kind.position(&REMARKS).is_some())
            || (name == Name::Message && members.has(Name::Status));
        if is_remark && !matches!(self.under, Under::Nothing | Under::Remark) {
            return;
        }
        self.make_room(if is_remark { Under::Remark } else { Under::Member(name) }, transcript);
        transcript.pieces.push(text.as_str());
    }

    /// Returns true if no more of what an object says is kept, and no failure is to be taken back.
    fn is_full_of(&self, members: &Members<'_>, transcript: &Transcript) -> bool {
        let first = || ANSWERS.into_iter().find(|name| members.has(*name));
        transcript.pieces.is_truncated()
            && transcript.failure.is_none()
            && first().is_some_and(|name| {
                let text = members.get(name).and_then(RawJson::as_str);
                self.under == Under::Member(name) && text.is_some_and(|text| !text.is_empty())
            })
    }

    /// Makes room for a piece that stands under `under`. A remark is replaced by what comes next. A member that says
    /// the whole answer replaces pieces under another. Whatever is said after a failure by another name than `message`
    /// takes it back: the agent went on.
    fn make_room(&mut self, under: Under, transcript: &mut Transcript) {
        let is_whole_answer =
            matches!(under, Under::Member(Name::Response | Name::Answer | Name::Result | Name::Output | Name::Message));
        if self.under == Under::Remark || (is_whole_answer && self.under != under) {
            transcript.pieces.clear();
        }
        if !matches!(under, Under::Member(Name::Message) | Under::Remark) {
            transcript.failure = None;
        }
        self.under = under;
    }

    /// Decides an answer that ended in order: its last word decides, and without one it is complete.
    pub(crate) fn end(&self, transcript: &Transcript) -> Verdict {
        transcript.last_word()
    }
}

/// Returns true if a text is a JSON array that begins with an object.
fn is_list_of_objects(text: &[u8]) -> bool {
    scan::trim(&text[1..]).starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

/// Adds the usage that a frame reports: its own, else that of its metadata, else that of the message it holds. The
/// first of them alone counts, even if it names no count. Of several members that hold objects the first is the
/// message.
fn note_usage(members: &Members<'_>, transcript: &mut Transcript) {
    const HOLDERS: [Name; 8] = [
        Name::Usage,
        Name::Metadata,
        Name::Result,
        Name::Response,
        Name::Output,
        Name::Answer,
        Name::Message,
        Name::Data,
    ];
    if !members.has_any(&HOLDERS) {
        return;
    }
    let own = members.get(Name::Usage);
    if own.is_some() {
        return transcript.add_usage(own);
    }
    if let Some(usage) = members.get(Name::Metadata).and_then(|metadata| metadata.get("usage")) {
        return transcript.add_usage(Some(usage));
    }
    let message = [Name::Result, Name::Response, Name::Output, Name::Answer, Name::Message, Name::Data]
        .into_iter()
        .find_map(|name| members.get(name).filter(|value| value.is_object()));
    if let Some(message) = message {
        let [usage, snake, metadata] = scan::pick(message.raw(), ["usage", "usage_metadata", "metadata"]);
        transcript.add_usage(usage.or(snake).or_else(|| metadata?.get("usage")));
    }
}

/// Notes how a frame says that the agent stopped. A tripwire comes first, then the frame's own reason, then that of the
/// object in `result` or `response`.
fn note_stop(members: &Members<'_>, transcript: &mut Transcript) {
    // Mastra's document has `tripwire` beside a `finishReason` that does not tell of it.
    if members.get(Name::Tripwire).is_some_and(RawJson::is_something) {
        transcript.finish = Some(FinishReason::Guardrail);
        return;
    }
    if let Some(reason) = members.get(Name::StopReason) {
        return transcript.stopped(Some(reason));
    }
    let result =
        [Name::Result, Name::Response].into_iter().find_map(|name| members.get(name).filter(|v| v.is_object()));
    if let Some(result) = result {
        let [snake, camel, chat] = scan::pick(result.raw(), ["stop_reason", "stopReason", "finish_reason"]);
        transcript.stopped(snake.or(camel).or(chat));
    }
}

/// Returns the first of the members of [`ANSWERS`] that has text, and that text. What the user or a tool said is no
/// answer, and Python's repr is no text.
fn answer_of(members: &Members<'_>) -> Option<(Name, BoundedText)> {
    if is_word(members.get(Name::Role), &["user", "tool"]) || is_word(members.get(Name::Type), &["human"]) {
        return None;
    }
    ANSWERS.into_iter().find_map(|name| {
        let mut text = BoundedText::new(MAX_OUTPUT + 4);
        push_answer(members.get(name)?, &mut text, DEPTH);
        Some((name, text)).filter(|(_, text)| !text.is_empty() && !is_repr(text.as_str()))
    })
}

/// Appends the answer that an object of an agent's own holds, if any.
pub(super) fn push_answer_of(members: &Members<'_>, out: &mut BoundedText) {
    if let Some((_, text)) = answer_of(members) {
        out.push(text.as_str());
    }
}
