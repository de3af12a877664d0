//! Strands, the TypeScript SDK, and moca, which sends its events bare: one family, whose types end in `Event`.
//! <https://github.com/strands-agents/sdk-typescript>

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::duplicates;
use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::names::name_of;
use crate::agent::protocol::reader::{Reader, decided, foreign, type_of};
use crate::agent::protocol::words::{error_text, has_thought, is_assistants, is_word, push_content, reported};
use crate::agent::transcript::{Transcript, id};
use crate::domain::answer::{AnswerError, Verdict};
use crate::json::scan::{self, RawJson, Str};

/// Events that no other agent sends, in NDJSON or in server-sent events.
const OWN: [&str; 5] = [
    "beforeInvocationEvent",
    "modelStreamUpdateEvent",
    "agentResultEvent",
    "serverCompletionEvent",
    "serverErrorEvent",
];

/// Events of the model. If they come bare in server-sent events, the agent chose them itself: then only the end of the
/// stream ends the run.
const MODEL: [&str; 6] = [
    "modelContentBlockDeltaEvent",
    "modelContentBlockStartEvent",
    "modelContentBlockStopEvent",
    "modelMessageStartEvent",
    "modelMessageStopEvent",
    "modelMetadataEvent",
];

/// Returns true if a type is one of [`OWN`] or [`MODEL`].
pub(super) fn is_known(kind: Str<'_>) -> bool {
    kind.position(&OWN).or_else(|| kind.position(&MODEL)).is_some()
}

/// Returns true for a frame of this family. In NDJSON any type counts that ends in `Event` and does not begin with a
/// capital letter: other agents send the names of classes. In server-sent events only those count that no other agent
/// sends, and an `agentResult`. A document must be one of these.
pub(super) fn recognises(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    let Some(kind) = members.get(Name::Type).and_then(RawJson::whole_str) else { return false };
    match frame.source {
        Source::Line => {
            let kind = name_of(kind);
            kind.ends_with(b"Event") && !kind[0].is_ascii_uppercase()
        }
        _ => kind.is("agentResult") && is_result(RawJson::cut(frame.text)) || kind.position(&OWN).is_some(),
    }
}

/// Returns true if an object, or its `result`, has the last message of a run or why that stopped.
fn is_result(object: RawJson<'_>) -> bool {
    let has_either = |of: RawJson<'_>| scan::pick(of.raw(), ["lastMessage", "stopReason"]).iter().any(Option::is_some);
    has_either(object) || object.get("result").is_some_and(has_either)
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// True if `agentResultEvent` came: then the run ends well with the stream.
    has_result: bool,
    /// An event came that is neither the model's nor the result: the agent sends on more than it chose itself.
    has_others: bool,
    /// The last message of the model has stopped, and not for a tool.
    has_message: bool,
}

impl Reader for Reading {
    /// Takes an event. `serverErrorEvent` and `serverCompletionEvent` decide the run. The result decides with the end
    /// of the stream. Unknown types that end in `Event` are ignored. Any other frame is left to the generic rules.
    /// Returns `None` for a frame that decides nothing.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let Some(kind) = type_of(frame) else { return foreign(transcript) };
        transcript.is_understood = true;
        let value = RawJson::cut(frame.text);
        // Nearly all events are deltas, bare or wrapped.
        match &*kind {
            b"modelStreamUpdateEvent" => {
                if let Some(event) = value.enter("event")
                    && let Some(kind) = event.get("type").and_then(RawJson::whole_str)
                {
                    let kind = name_of(kind);
                    self.has_message = match &*kind {
                        b"modelMessageStopEvent" => !is_word(event.get("stopReason"), &["toolUse"]),
                        b"modelMetadataEvent" => self.has_message,
                        _ => false,
                    };
                    self.take_model_event(&kind, event, transcript);
                }
                None
            }
            b"serverErrorEvent" => Some(server_error(value, transcript)),
            b"serverCompletionEvent" if frame.is_whole() => {
                let metadata = value.get("metadata");
                transcript.request_id = metadata.and_then(|metadata| id(metadata, "requestId"));
                transcript.session_id = metadata.and_then(|metadata| id(metadata, "sessionId"));
                Some(transcript.last_word())
            }
            b"serverCompletionEvent" => decided(frame, transcript, Verdict::Completed),
            b"agentResultEvent" | b"agentResult" => self.take_result(frame, value, transcript),
            raw if self.take_model_event(raw, value, transcript) => None,
            // An agent that catches its error may say so in an object of its own.
            raw if !raw.ends_with(b"Event") => foreign(transcript),
            _ => {
                self.has_others = true;
                None
            }
        }
    }

    /// Passes the error over and decides nothing: it is that of a call which the agent may make again. The server has
    /// an event of its own for errors.
    fn error_beside(&mut self, _failure: AnswerError, _transcript: &mut Transcript) -> Option<Verdict> {
        None
    }

    /// Decides a stream that ended in order without a server's event. If a result came, [`Transcript::at_end`] decides,
    /// and so it does if the agent sent on the model's events alone, and the last message has stopped. Otherwise the
    /// stream is interrupted, or failed if a failure was reported.
    fn end(&mut self, transcript: &mut Transcript) -> Verdict {
        let is_whole = self.has_result || self.has_message && !self.has_others;
        if is_whole { transcript.at_end() } else { transcript.without_terminal_event() }
    }
}

impl Reading {
    /// Takes an event of the model, bare or from within an update. Notes its text, the start of a message or of a tool
    /// call, the stop reason, or the usage. An event too large to keep gives no text and no usage. Returns false for
    /// any other `kind`, and for `modelContentBlockStopEvent`, which says nothing.
    fn take_model_event(&mut self, kind: &[u8], event: RawJson<'_>, transcript: &mut Transcript) -> bool {
        match kind {
            b"modelContentBlockDeltaEvent" => {
                if transcript.wants_text() {
                    let delta = event.enter("delta").map(|delta| scan::pick(delta.raw(), ["type", "text"]));
                    let text = delta.and_then(|[kind, text]| text.filter(|_| !has_thought(kind)));
                    transcript.delta(text.and_then(RawJson::as_str));
                }
            }
            b"modelMessageStartEvent" => {
                let role = event.get("role").or_else(|| event.get("message")?.get("role"));
                transcript.begin_message_of(role);
            }
            b"modelContentBlockStartEvent" => {
                let start = event.enter("start").and_then(|start| start.get("type")).and_then(RawJson::as_str);
                transcript.progress.tool_uses += u64::from(start.is_some_and(|start| start.is("toolUseStart")));
            }
            b"modelMessageStopEvent" => transcript.stopped(duplicates::pick(event, ["stopReason"])[0]),
            b"modelMetadataEvent" if !transcript.is_muted => transcript.add_usage(event.get("usage")),
            b"modelMetadataEvent" => {}
            _ => return false,
        }
        true
    }

    /// Takes the result of the run. It decides with the end of the stream, unless an event of the server follows it.
    /// Its message replaces the text. Its usage counts only if no event of the model reported any. A result that is cut
    /// off is only counted as skipped. Returns `None` always.
    fn take_result(&mut self, frame: &Frame<'_>, value: RawJson<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        if !frame.is_whole() {
            return decided(frame, transcript, Verdict::Completed);
        }
        let result = value.get("result").filter(|result| result.is_object()).unwrap_or(value);
        let [message, reason] = duplicates::pick(result, ["lastMessage", "stopReason"]);
        if let Some(message) = message.filter(|message| is_assistants(*message)) {
            transcript.message(|out| push_content(message, out));
            if transcript.progress.usage.is_none() {
                transcript.add_usage(message.get("metadata").and_then(|metadata| metadata.get("usage")));
            }
        }
        transcript.stopped(reason);
        self.has_result = true;
        None
    }
}

/// Returns the failure that the server's event reports, in its words, and keeps its request id.
fn server_error(value: RawJson<'_>, transcript: &mut Transcript) -> Verdict {
    let error = value.get("error");
    transcript.request_id = error.and_then(|error| id(error, "requestId"));
    Verdict::Failed(reported(error.and_then(error_text)))
}
