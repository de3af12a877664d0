//! Bedrock's ConverseStream, sent on as it comes.
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html>

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::members::{Members, Name, is_exception};
use crate::agent::protocol::names::name_of;
use crate::agent::protocol::reader::{Reader, decided, foreign};
use crate::agent::protocol::words::{error_text, reported};
use crate::agent::transcript::Transcript;
use crate::domain::answer::Verdict;
use crate::json::scan::{self, RawJson};

/// Returns true for the start of a message: an object `messageStart` with a `role`. Other events of Bedrock are not
/// recognised by themselves.
pub(super) fn recognises(_: &Frame<'_>, members: &Members<'_>) -> bool {
    members.get(Name::MessageStart).and_then(|start| start.get("role")).is_some()
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The last message stopped for a tool. An agent then sends another message. A single model call ends there.
    stopped_for_tool: bool,
}

impl Reader for Reading {
    /// Takes an event. `messageStop` decides the run, unless the message stopped for a tool. An exception decides it at
    /// once. The usage of each `metadata` is added. A frame with a `contentBlockDelta` is read for that alone. At a
    /// member that is no event's, reading ends, and the generic rules take the frame. Returns `None` for a frame that
    /// decides nothing.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let union = RawJson::cut(frame.text);
        if let Some(event) = union.enter("contentBlockDelta") {
            delta(event, transcript);
            return None;
        }
        if frame.source == Source::Line && !frame.text.starts_with(b"{") {
            return foreign(transcript);
        }
        for (name, value) in scan::Members::of(frame.text) {
            match &*name_of(name) {
                b"messageStart" => {
                    self.stopped_for_tool = false;
                    transcript.begin_message_of(value.get("role"));
                }
                b"contentBlockStart" => block_start(value, transcript),
                b"messageStop" => {
                    let reason = value.get("stopReason");
                    transcript.stopped(reason);
                    self.stopped_for_tool = reason.and_then(RawJson::as_str).is_some_and(|word| word.is("tool_use"));
                    if !self.stopped_for_tool {
                        let verdict = transcript.last_word();
                        return decided(frame, transcript, verdict);
                    }
                }
                b"metadata" => transcript.add_usage(value.get("usage")),
                b"contentBlockStop" => {}
                raw if is_exception(raw, value) => return Some(Verdict::Failed(reported(error_text(value)))),
                _ => return foreign(transcript),
            }
        }
        None
    }

    /// Decides a stream that ended in order without a deciding `messageStop`. If the last message stopped for a tool,
    /// [`Transcript::at_end`] decides. Otherwise the stream is interrupted, or failed if a failure was reported.
    fn end(&mut self, transcript: &mut Transcript) -> Verdict {
        if self.stopped_for_tool { transcript.at_end() } else { transcript.without_terminal_event() }
    }

    /// Returns true: `metadata` with the usage comes after `messageStop`.
    fn awaits_usage(&self) -> bool {
        true
    }

    /// Takes the usage of a `metadata` event, and returns true, even if it has none: no further one is awaited. Returns
    /// false for any other frame.
    fn read_usage(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> bool {
        let metadata = RawJson::cut(frame.text).get("metadata");
        transcript.add_usage(metadata.and_then(|metadata| metadata.get("usage")));
        metadata.is_some()
    }
}

/// Takes the text of a `contentBlockDelta`.
pub(super) fn delta(event: RawJson<'_>, transcript: &mut Transcript) {
    transcript.is_understood = true;
    if transcript.wants_text() {
        transcript.delta(event.enter("delta").and_then(|delta| delta.get("text")).and_then(RawJson::as_str));
    }
}

/// Counts the tool that a `contentBlockStart` asks for.
pub(super) fn block_start(event: RawJson<'_>, transcript: &mut Transcript) {
    transcript.is_understood = true;
    let tool = event.get("start").and_then(|start| start.get("toolUse"));
    transcript.progress.tool_uses += u64::from(tool.is_some_and(RawJson::is_object));
}
