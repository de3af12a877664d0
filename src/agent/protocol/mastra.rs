//! Mastra's `fullStream`, sent on, and the streams of its workflows and networks of agents.
//! <https://mastra.ai/reference/streaming/ChunkType>

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::answers::push_answer_of;
use crate::agent::protocol::failure::failure_of;
use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::names::name_of;
use crate::agent::protocol::reader::{Reader, decided, foreign, type_of};
use crate::agent::protocol::words::{error_text, message_of, push_answer, reported};
use crate::agent::transcript::Transcript;
use crate::domain::answer::Verdict;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};
use crate::json::text::BoundedText;

/// Returns true for a chunk of Mastra. The AI SDK's parts, which have the same types, have no `runId` or `payload`.
pub(super) fn recognises(_: &Frame<'_>, members: &Members<'_>) -> bool {
    let kind = members.get(Name::Type).and_then(RawJson::whole_str);
    members.has(Name::RunId) && members.has_object(Name::Payload) && kind.is_some_and(|kind| is_own(&name_of(kind)))
}

/// Returns true if a `type` is one of Mastra's, or begins as those of one of its families do, such as `text-`, `tool-`
/// or `data-`.
fn is_own(kind: &[u8]) -> bool {
    const OWN: [&[u8]; 15] = [
        b"start",
        b"custom",
        b"goal",
        b"is-task-complete",
        b"object-result",
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
    const FAMILIES: [&[u8]; 10] = [
        b"step-",
        b"text-",
        b"reasoning-",
        b"redacted-",
        b"tool-",
        b"workflow-",
        b"network-",
        b"agent-",
        b"routing-",
        b"background-",
    ];
    OWN.contains(&kind) || kind.starts_with(b"data-") || FAMILIES.iter().any(|family| kind.starts_with(family))
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// A tool waits for an approval, or suspended the run. The stream ends there.
    is_suspended: bool,
    /// The stream is an agent's: the end of a workflow in it is not that of the run.
    is_agents: bool,
    /// The words of the last step of a workflow that failed.
    words: Option<String>,
}

impl Reader for Reading {
    /// Takes a chunk. `finish`, `error`, `tripwire` and `abort` decide the run, and so do the ends of a workflow and of
    /// a network. The answer is the text of the last step. The usage of `finish` is that of the whole run, and its
    /// step's reason comes before its own. A failure that its payload reports fails the run. A frame that is no chunk
    /// is left to the generic rules, and other chunks are ignored. Returns `None` for a frame that decides nothing.
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
            b"start" => self.is_agents = true,
            // A step is one message of the model's.
            b"step-start" => {
                self.is_suspended = false;
                transcript.begin_message();
            }
            b"routing-agent-start" => self.is_suspended = false,
            b"tool-call-approval"
            | b"tool-call-suspended"
            | b"agent-execution-approval"
            | b"agent-execution-suspended"
            | b"tool-execution-approval"
            | b"tool-execution-suspended"
            | b"workflow-execution-suspended" => self.is_suspended = true,
            b"workflow-step-result" if !self.is_agents => self.take_step(value, transcript),
            b"workflow-finish" if !self.is_agents => return self.take_workflow(frame, value, transcript),
            b"workflow-canceled" if !self.is_agents => return stopped(frame, FinishReason::Cancelled, transcript),
            b"workflow-paused" if !self.is_agents => return stopped(frame, FinishReason::Pause, transcript),
            b"network-execution-event-finish" => return take_network(frame, value, transcript),
            raw if raw.ends_with(b"-abort") && !raw.starts_with(b"data-") => {
                return stopped(frame, FinishReason::Cancelled, transcript);
            }
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

impl Reading {
    /// Takes the result of a workflow's step. The output of the last one is the answer, unless the workflow has another
    /// result.
    fn take_step(&mut self, chunk: RawJson<'_>, transcript: &mut Transcript) {
        let Some(payload) = chunk.get("payload") else { return };
        let [output, error] = scan::pick(payload.raw(), ["output", "error"]);
        self.words = error.and_then(error_text).or(self.words.take());
        if let Some(output) = output {
            transcript.message(|out| push_result(output, out));
        }
    }

    /// Takes the end of a workflow: its status, its result and its usage. One that failed did so in the words of its
    /// step.
    fn take_workflow(&mut self, frame: &Frame<'_>, chunk: RawJson<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let payload = chunk.get("payload").map(RawJson::raw).unwrap_or_default();
        let [status, output, result] = scan::pick(payload, ["workflowStatus", "output", "finalWorkflowResult"]);
        transcript.set_usage(output.and_then(|output| output.get("usage")));
        if let Some(result) = result {
            transcript.message(|out| push_result(result, out));
        }
        transcript.stopped(status);
        if transcript.failure.is_some() {
            return Some(Verdict::Failed(reported(self.words.take())));
        }
        let verdict = transcript.last_word();
        decided(frame, transcript, verdict)
    }
}

/// Takes the end of a network: its result and its usage. One that did not complete its task had reached its limit.
fn take_network(frame: &Frame<'_>, chunk: RawJson<'_>, transcript: &mut Transcript) -> Option<Verdict> {
    let payload = chunk.get("payload").map(RawJson::raw).unwrap_or_default();
    let [result, is_complete, usage] = scan::pick(payload, ["result", "isComplete", "usage"]);
    transcript.set_usage(usage);
    if let Some(result) = result {
        transcript.message(|out| push_result(result, out));
    }
    if is_complete.is_some_and(|is_complete| is_complete.raw() == b"false") {
        return stopped(frame, FinishReason::Limit, transcript);
    }
    decided(frame, transcript, Verdict::Completed)
}

/// Appends the result of a workflow, a step or a network: the answer that it holds, or all of it as JSON.
fn push_result(result: RawJson<'_>, out: &mut BoundedText) {
    if result.is_object() {
        push_answer_of(&Members::of(result.raw()), out);
    } else {
        push_answer(result, out, 4);
    }
    if out.is_empty() && result.is_something() {
        result.compact_into(out);
    }
}

/// Takes a chunk that says that the run stopped short for this reason, and decides the run as incomplete if the chunk
/// has its end.
fn stopped(frame: &Frame<'_>, reason: FinishReason, transcript: &mut Transcript) -> Option<Verdict> {
    transcript.finish = Some(reason);
    decided(frame, transcript, Verdict::Incomplete(reason))
}
