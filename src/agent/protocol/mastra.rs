//! Mastra's `fullStream`, sent on.
//! <https://mastra.ai/reference/streaming/ChunkType>

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::failure::failure_of;
use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::names::name_of;
use crate::agent::protocol::reader::{Reader, decided, foreign, type_of};
use crate::agent::protocol::words::{message_of, reported};
use crate::agent::transcript::Transcript;
use crate::domain::answer::Verdict;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};

/// Returns true for a chunk of Mastra. The AI SDK's parts, which have the same types, have no `runId` or `payload`.
pub(super) fn recognises(_: &Frame<'_>, members: &Members<'_>) -> bool {
    let kind = members.get(Name::Type).and_then(RawJson::whole_str);
    members.has(Name::RunId) && members.has_object(Name::Payload) && kind.is_some_and(|kind| is_own(&name_of(kind)))
}

/// Returns true if a `type` is one of Mastra's, or begins as those of one of its families do, such as `text-`, `tool-`
/// or `data-`.
fn is_own(kind: &[u8]) -> bool {
    const OWN: [&[u8]; 11] = [
        b"start",
        b"finish",
        b"error",
        b"abort",
        b"tripwire",
        b"response-metadata",
        b"source",
        b"file",
        b"raw",
        b"object",
        b"watch",
    ];
    const FAMILIES: [&[u8]; 9] =
        [b"step-", b"text-", b"reasoning-", b"redacted-", b"tool-", b"workflow-", b"network-", b"agent-", b"routing-"];
    OWN.contains(&kind) || kind.starts_with(b"data-") || FAMILIES.iter().any(|family| kind.starts_with(family))
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// A tool waits for an approval, or suspended the run. The stream ends there.
    is_suspended: bool,
}

impl Reader for Reading {
    /// Takes a chunk. `finish`, `error`, `tripwire` and `abort` decide the run. The answer is the text of the last
    /// step. The usage of `finish` is that of the whole run, and its step's reason comes before its own. A failure that
    /// its payload reports fails the run. A frame that is no chunk is left to the generic rules, and other chunks are
    /// ignored.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let value = RawJson::cut(frame.text);
        let Some(kind) = type_of(frame) else { return foreign(transcript) };
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
                if let Some(failed) = failure_of(frame, &Members::of(payload)) {
                    transcript.failure = Some(reported(message_of(RawJson::cut(payload), &[]).or(failed.message)));
                }
                let [result, output, reason] = scan::pick(payload, ["stepResult", "output", "finishReason"]);
                transcript.set_usage(output.and_then(|output| output.get("usage")));
                transcript.stopped(result.and_then(|result| result.get("reason")).or(reason));
                let verdict = transcript.last_word();
                return decided(frame, transcript, verdict);
            }
            raw if !is_own(raw) || value.get("payload").is_none() => return foreign(transcript),
            _ => {}
        }
        transcript.is_understood = true;
        None
    }

    /// Decides a stream that ended in order without `finish`. It is failed if a failure was reported, an interrupt if a
    /// tool waits for an approval or suspended the run, and otherwise interrupted.
    fn end(&mut self, transcript: &mut Transcript) -> Verdict {
        match transcript.failed() {
            None if self.is_suspended => Verdict::Incomplete(FinishReason::Interrupt),
            _ => transcript.without_terminal_event(),
        }
    }
}

/// Takes a chunk that says that the run stopped short for this reason, and decides the run as incomplete if the chunk
/// has its end.
fn stopped(frame: &Frame<'_>, reason: FinishReason, transcript: &mut Transcript) -> Option<Verdict> {
    transcript.finish = Some(reason);
    decided(frame, transcript, Verdict::Incomplete(reason))
}
