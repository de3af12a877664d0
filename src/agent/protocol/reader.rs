//! The port of a protocol: the reader of its frames, and the functions that all readers share.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr2;

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::names::name_of;
use crate::agent::protocol::words::{message_of_frame, reported};
use crate::agent::transcript::Transcript;
use crate::domain::answer::{AnswerError, Verdict};
use crate::json::scan::RawJson;

/// Reads the frames of one protocol.
pub(crate) trait Reader: fmt::Debug + Send {
    /// Takes a frame, and writes down what it says: text, tool calls, usage, ids and how the agent stopped. Returns the
    /// verdict once the frame decides the run. A frame that is cut off never decides that all went well. A frame of no
    /// type that the protocol knows is ignored, or left to the generic rules by [`foreign`].
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict>;

    /// Decides a run whose answer ended in order without a terminal event. By default it is interrupted, or failed if a
    /// failure was reported.
    fn end(&mut self, transcript: &mut Transcript) -> Verdict {
        transcript.without_terminal_event()
    }

    /// Takes a frame named `error`, and decides the run: by default as failed, in the frame's words.
    fn error(&mut self, frame: &Frame<'_>, _transcript: &mut Transcript) -> Verdict {
        Verdict::Failed(reported(message_of_frame(frame)))
    }

    /// Takes an error that a frame of the protocol's own reports beside what it says. Returns the verdict if it decides
    /// the run. By default it is only noted: text that comes later takes it back, and an event that ends the run counts
    /// as its protocol says.
    fn error_beside(&mut self, failure: AnswerError, transcript: &mut Transcript) -> Option<Verdict> {
        transcript.failure = Some(failure);
        None
    }

    /// Returns true if usage may still come once the run is decided. By default none does.
    fn awaits_usage(&self) -> bool {
        false
    }

    /// Takes a frame that came after the run was decided, for its usage. Returns true once no more usage is awaited,
    /// which is at once by default.
    fn read_usage(&mut self, _frame: &Frame<'_>, _transcript: &mut Transcript) -> bool {
        true
    }

    /// Returns true if a JSON string is text, even if that text is JSON. By default it is looked into.
    fn takes_strings(&self) -> bool {
        false
    }
}

/// Returns the `type` of a frame, its escapes read. Returns `None` if it has none, or one that is no string or is cut
/// off.
pub(super) fn type_of<'a>(frame: &Frame<'a>) -> Option<Cow<'a, [u8]>> {
    // The first member nearly always, and without escapes.
    let first = frame.text.strip_prefix(b"{\"type\":").map(|rest| rest.strip_prefix(b" ").unwrap_or(rest));
    if let Some(rest) = first.and_then(|rest| rest.strip_prefix(b"\""))
        && let Some(end) = memchr2(b'"', b'\\', &rest[..rest.len().min(64)])
        && rest[end] == b'"'
    {
        return Some(Cow::Borrowed(&rest[..end]));
    }
    RawJson::cut(frame.text).get("type")?.whole_str().map(name_of)
}

/// Leaves a frame that is not the protocol's own to the generic rules: marks it as foreign and decides nothing. An
/// agent may say in it that it failed or stopped, as the AgentCore SDK does for whatever its agent streams. Its text is
/// the answer if the protocol's frames hold none.
pub(super) fn foreign(transcript: &mut Transcript) -> Option<Verdict> {
    transcript.is_foreign = true;
    None
}

/// Decides a run by an event that says that all went well or stopped in order, if the event has its end. Half an event
/// is not believed: it decides nothing and is counted as skipped. One too large to keep was counted before. In any case
/// the answer counts as understood.
pub(super) fn decided(frame: &Frame<'_>, transcript: &mut Transcript, verdict: Verdict) -> Option<Verdict> {
    transcript.is_understood = true;
    if frame.is_whole() {
        return Some(verdict);
    }
    transcript.progress.skipped_events += u64::from(frame.dropped.is_none());
    None
}
