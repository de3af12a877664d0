//! OpenAI's Responses API <https://platform.openai.com/docs/api-reference/responses-streaming>, and the events of the
//! Agents SDK around it.

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::agents_sdk;
use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::reader::{Reader, decided, foreign, type_of};
use crate::agent::protocol::words::{error_text, message_of, push_content, reported};
use crate::agent::transcript::Transcript;
use crate::domain::answer::{AnswerError, Verdict};
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};

/// Events that begin or end a stream.
const OWN: [&str; 6] = [
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.completed",
    "response.failed",
    "response.incomplete",
];

/// Returns true for an event that begins or ends a response, for a response as a document, or for an event of the
/// Agents SDK.
pub(super) fn recognises(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    let kind = members.get(Name::Type).and_then(RawJson::whole_str);
    kind.is_some_and(|kind| kind.position(&OWN).is_some() || agents_sdk::is_event(kind.raw()))
        || (frame.is_document()
            && members.is(Name::Object, "response")
            && members.get(Name::Output).is_none_or(|output| output.is_array() || output.is_null()))
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    has_refused: bool,
    /// The response ended with calls that its caller answers. An agent that is the caller goes on with another response
    /// in the same stream.
    is_between_turns: bool,
    /// The stream is the Agents SDK's, which names no end.
    is_sdks: bool,
}

/// Items of a response that its caller answers.
const CALLS: [&str; 6] =
    ["function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call", "computer_call"];

impl Reader for Reading {
    /// Takes an event, or a response as a document. `error` and the four last events of a response decide the run,
    /// except a completed response that calls tools: an agent's stream goes on with what the model makes of their
    /// results. Deltas of text, refusals and items that are added are noted. Other events of `response.` are ignored.
    /// Any other frame is left to the generic rules. Returns `None` for a frame that decides nothing.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let value = RawJson::cut(frame.text);
        let Some(kind) = type_of(frame) else {
            let object = value.get("object").and_then(RawJson::whole_str);
            if object.is_some_and(|object| object.is("response")) {
                return self.take_response(frame, value, transcript);
            }
            return foreign(transcript);
        };
        match &*kind {
            b"response.created" => {
                transcript.is_understood = true;
                self.is_between_turns = false;
            }
            b"response.output_text.delta" => {
                transcript.is_understood = true;
                if transcript.wants_text() {
                    transcript.delta(value.get("delta").and_then(RawJson::as_str));
                }
            }
            b"response.refusal.delta" | b"response.refusal.done" => {
                let [delta, refusal] = scan::pick(frame.text, ["delta", "refusal"]);
                self.has_refused |= [delta, refusal].into_iter().flatten().any(RawJson::is_something);
            }
            b"response.output_item.added" => {
                let kind = value.get("item").and_then(|item| item.get("type")).and_then(RawJson::as_str);
                if kind.is_some_and(|kind| kind.is("message")) {
                    transcript.begin_message();
                }
                transcript.progress.tool_uses += u64::from(kind.is_some_and(|kind| kind.ends_with("_call")));
            }
            b"response.completed" | b"response.failed" | b"response.incomplete" | b"response.cancelled" => {
                return self.take_response(frame, value.get("response").unwrap_or(value), transcript);
            }
            b"error" => return Some(Verdict::Failed(reported(message_of(value, &["code"])))),
            raw if agents_sdk::is_event(raw) => {
                self.is_sdks = true;
                agents_sdk::take(value, transcript);
            }
            raw if !raw.starts_with(b"response.") => return foreign(transcript),
            _ => transcript.is_understood = true,
        }
        None
    }

    /// Decides a stream that ended in order. If its last response calls tools, [`Transcript::at_end`] decides, because
    /// who reads it answers them, and so it does for a stream of the Agents SDK. Otherwise the stream is interrupted,
    /// or failed if a failure was reported.
    fn end(&mut self, transcript: &mut Transcript) -> Verdict {
        if self.is_between_turns || self.is_sdks { transcript.at_end() } else { transcript.without_terminal_event() }
    }
}

impl Reading {
    /// Takes a whole response, the document or the one in the last event, and decides the run. A failed status comes
    /// first, then an `error`, then a refusal, then the reason that the status or `incomplete_details` names. An
    /// incomplete one without a known reason is a limit. If the event was too large to keep its status, its type stands
    /// for it. The tools of a stream were counted by its events, and its usage is that of all its responses. A response
    /// that asks for an approval is interrupted. One that calls tools completes a document alone.
    fn take_response(
        &mut self,
        frame: &Frame<'_>,
        response: RawJson<'_>,
        transcript: &mut Transcript,
    ) -> Option<Verdict> {
        let names = ["status", "error", "incomplete_details", "output", "usage"];
        let [status, error, details, output, usage] = scan::pick(response.raw(), names);
        transcript.add_usage(usage);
        let (mut calls, mut asks) = (false, false);
        for item in output.into_iter().flat_map(RawJson::elements) {
            let kind = item.get("type").and_then(RawJson::as_str);
            calls |= kind.is_some_and(|kind| kind.position(&CALLS).is_some());
            asks |= kind.is_some_and(|kind| kind.is("mcp_approval_request"));
            if kind.is_some_and(|kind| kind.is("message")) {
                transcript.message(|out| push_content(item, out));
                let parts = item.get("content").into_iter().flat_map(RawJson::elements);
                self.has_refused |= parts.filter_map(|part| part.get("refusal")).any(RawJson::is_something);
            } else if frame.is_document() {
                transcript.progress.tool_uses += u64::from(kind.is_some_and(|kind| kind.ends_with("_call")));
            }
        }
        let status = status.and_then(RawJson::whole_str).map(|status| status.read(32));
        // The type of an event too large to keep stands for its status.
        let kind = type_of(frame);
        let status =
            status.as_deref().or_else(|| std::str::from_utf8(kind.as_deref()?).ok()?.strip_prefix("response."));
        let reason = match status {
            Some("failed") => {
                return Some(Verdict::Failed(error.and_then(error_text).map_or(reported(None), |m| reported(Some(m)))));
            }
            Some("incomplete") => {
                let reason = details.and_then(|details| details.get("reason")).and_then(RawJson::whole_str);
                let reason = reason.and_then(|reason| FinishReason::from_wire(&reason.read(64)));
                Some(reason.unwrap_or(FinishReason::Limit))
            }
            Some("completed") | None => None,
            Some(other) => FinishReason::from_wire(other),
        };
        let reason = if self.has_refused { Some(FinishReason::Refusal) } else { reason };
        let reason = reason.or(asks.then_some(FinishReason::Interrupt));
        transcript.finish = reason;
        if let Some(message) = error.filter(|error| error.is_something()) {
            return Some(Verdict::Failed(AnswerError::Reported { message: error_text(message) }));
        }
        if calls && reason.is_none() && !frame.is_document() && frame.is_whole() {
            self.is_between_turns = true;
            transcript.is_understood = true;
            return None;
        }
        decided(frame, transcript, reason.map_or(Verdict::Completed, Verdict::Incomplete))
    }
}
