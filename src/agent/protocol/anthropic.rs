//! Anthropic's Messages API.
//! <https://docs.anthropic.com/en/docs/build-with-claude/streaming>

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::duplicates;
use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::reader::{Reader, decided, foreign, type_of};
use crate::agent::protocol::usage::Counts;
use crate::agent::protocol::words::{message_of, push_content, reported};
use crate::agent::transcript::Transcript;
use crate::domain::{answer::Verdict, usage::Usage};
use crate::json::scan::{self, RawJson};

/// Returns true for the start of a streamed message, `message_start`, or for a document that is a whole `message` of
/// the assistant's.
pub(super) fn recognises(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    members.is(Name::Type, "message_start")
        || (frame.is_document()
            && members.is(Name::Type, "message")
            && members.is(Name::Role, "assistant")
            && members.has_container(Name::Content))
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The usage of the messages before this one.
    before: Usage,
    /// The usage of this message: its output count is cumulative.
    message: Counts,
    /// The last message stopped for a tool. An agent then sends another message. A single model call ends there.
    stopped_for_tool: bool,
    is_stopped: bool,
}

impl Reader for Reading {
    /// Takes an event. `message_stop` decides the run unless the message stopped for a tool: an agent then goes on with
    /// another message. `error` and a whole message decide it, too. An event of another type is left to the generic
    /// rules. Returns `None` for a frame that decides nothing.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let Some(kind) = type_of(frame) else { return foreign(transcript) };
        let value = RawJson::cut(frame.text);
        match &*kind {
            b"content_block_delta" => {
                transcript.is_understood = true;
                if transcript.wants_text() {
                    let text = value.enter("delta").and_then(|delta| delta.get("text"));
                    transcript.delta(text.and_then(RawJson::as_str));
                }
            }
            b"message_start" => {
                let message = value.get("message");
                transcript.begin_message();
                self.before = transcript.progress.usage.unwrap_or_default();
                self.message = Counts::default();
                self.is_stopped = false;
                self.note_usage(message.and_then(|message| message.get("usage")), transcript);
            }
            b"content_block_start" => {
                let block = value.get("content_block");
                let kind = block.and_then(|block| block.get("type")).and_then(RawJson::as_str);
                transcript.progress.tool_uses += u64::from(kind.is_some_and(|kind| kind.ends_with("tool_use")));
                if transcript.wants_text() {
                    transcript.delta(block.and_then(|block| block.get("text")).and_then(RawJson::as_str));
                }
            }
            b"message_delta" => {
                let [delta, usage] = scan::pick(frame.text, ["delta", "usage"]);
                let reason = delta.and_then(|delta| duplicates::pick(delta, ["stop_reason"])[0]);
                self.note_stop(reason, transcript);
                self.note_usage(usage, transcript);
            }
            b"message_stop" => {
                self.is_stopped = true;
                if self.stopped_for_tool {
                    return None;
                }
                let verdict = transcript.last_word();
                return decided(frame, transcript, verdict);
            }
            b"error" => return Some(Verdict::Failed(reported(message_of(value, &[])))),
            b"message" => {
                let [reason, usage] = scan::pick(frame.text, ["stop_reason", "usage"]);
                transcript.message(|out| push_content(value, out));
                self.note_usage(usage, transcript);
                self.note_stop(reason, transcript);
                let verdict = transcript.last_word();
                return decided(frame, transcript, verdict);
            }
            b"content_block_stop" | b"ping" => {}
            _ => return foreign(transcript),
        }
        None
    }

    /// Decides a stream that ended in order. If a `message_stop` came after the last `message_start`,
    /// [`Transcript::at_end`] decides: a message that stopped for a tool is complete. Otherwise the stream is
    /// interrupted, or failed if a failure was reported.
    fn end(&mut self, transcript: &mut Transcript) -> Verdict {
        if self.is_stopped { transcript.at_end() } else { transcript.without_terminal_event() }
    }
}

impl Reading {
    /// Notes how the message stopped, and whether it stopped for a tool. Without a reason it did not.
    fn note_stop(&mut self, reason: Option<RawJson<'_>>, transcript: &mut Transcript) {
        self.stopped_for_tool = reason.and_then(RawJson::as_str).is_some_and(|reason| reason.is("tool_use"));
        transcript.stopped(reason);
    }

    /// Counts the usage of this message beside that of the messages before. Its newer counts replace its older ones.
    fn note_usage(&mut self, usage: Option<RawJson<'_>>, transcript: &mut Transcript) {
        if let Some(newer) = usage.and_then(Counts::of) {
            self.message = self.message.updated(newer);
            transcript.progress.usage = Some(self.before.plus(self.message.into()));
        }
    }
}
