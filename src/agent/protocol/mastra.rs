//! Mastra's `fullStream`, sent on. <https://mastra.ai/reference/streaming/ChunkType>

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::words::{message_of, reported};
use crate::agent::protocol::{
    failure::failure_in,
    reader::{Reader, decided, type_of},
};
use crate::agent::transcript::Transcript;
use crate::domain::answer::Verdict;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};

/// Returns true for a chunk of Mastra's. The AI SDK's parts, which have the same types, have no `runId` or `payload`.
pub(super) fn recognises(_: &Frame<'_>, members: &Members<'_>) -> bool {
    members.has(Name::Type) && members.has(Name::RunId) && members.has_object(Name::Payload)
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// A tool waits for an approval, or suspended the run: the stream ends so.
    is_suspended: bool,
}

impl Reader for Reading {
    /// Takes a chunk. `finish`, `error`, `tripwire` and `abort` decide the run. The answer is the text of the last
    /// step. The usage of `finish` is that of the whole run, and its step's reason comes before its own. A frame
    /// without a type or of an unknown one without a payload may still report a failure, and other chunks are ignored.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let value = RawJson::cut(frame.text);
        let Some(kind) = type_of(frame) else { return failure_in(frame, transcript) };
        transcript.is_understood = true;
        match &*kind {
            b"text-delta" if transcript.wants_text() => {
                let text = value.enter("payload").and_then(|payload| payload.get("text"));
                transcript.delta(text.and_then(RawJson::as_str));
            }
            // No more of this message is kept.
            b"text-delta" => {}
            // A step is one message of the model's.
            b"step-start" => {
                self.is_suspended = false;
                transcript.begin_message();
            }
            b"tool-call-approval" | b"tool-call-suspended" => self.is_suspended = true,
            b"tool-call" => transcript.progress.tool_uses += 1,
            b"error" => {
                let payload = value.get("payload").unwrap_or(value);
                return Some(Verdict::Failed(reported(message_of(payload, &[]))));
            }
            b"tripwire" => return stopped(frame, FinishReason::Guardrail, transcript),
            b"abort" => return stopped(frame, FinishReason::Cancelled, transcript),
            b"finish" => {
                let payload = value.get("payload").map(RawJson::raw).unwrap_or_default();
                let [result, output, reason] = scan::pick(payload, ["stepResult", "output", "finishReason"]);
                transcript.set_usage(output.and_then(|output| output.get("usage")));
                transcript.stopped(result.and_then(|result| result.get("reason")).or(reason));
                let verdict = transcript.last_word();
                return decided(frame, transcript, verdict);
            }
            _ if value.get("payload").is_none() => return failure_in(frame, transcript),
            _ => {}
        }
        None
    }

    /// Decides a stream that ended in order without `finish`. If a tool waits for an approval or suspended the run, and
    /// no failure was reported, it is incomplete as an interrupt.
    fn end(&mut self, transcript: &mut Transcript) -> Verdict {
        match transcript.failure {
            None if self.is_suspended => Verdict::Incomplete(FinishReason::Interrupt),
            _ => transcript.without_terminal_event(),
        }
    }
}

/// Takes a chunk that says that the run stopped short for this reason.
fn stopped(frame: &Frame<'_>, reason: FinishReason, transcript: &mut Transcript) -> Option<Verdict> {
    transcript.finish = Some(reason);
    decided(frame, transcript, Verdict::Incomplete(reason))
}
