//! Strands, the Python SDK: the events of `stream_async`, as AgentCore's SDK sends them on, and
//! `AgentResult.to_dict()`.
//! <https://strandsagents.com/latest/documentation/docs/user-guide/concepts/streaming/>

use memchr::memmem;

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::failure::{HOLDERS, SIGNS, failure_of};
use crate::agent::protocol::members::{Members, Name, is_exception};
use crate::agent::protocol::names::name_of;
use crate::agent::protocol::notes::{STOP_SIGNS, note_stop};
use crate::agent::protocol::words::{are_interrupts, error_text, is_assistants, is_repr, push_content, reported};
use crate::agent::protocol::{
    bedrock, duplicates,
    reader::{Reader, foreign},
};
use crate::agent::transcript::{MAX_OUTPUT, Transcript};
use crate::domain::answer::Verdict;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};
use crate::json::text::BoundedText;

/// The beginning of Python's repr of the last event of a raw stream, up to the word that is read.
const RESULT: &[u8] = b"{'result': AgentResult(stop_reason='";

/// The beginning of the repr of what several agents did together, and of the status in it.
const TOGETHER: (&[u8], &[u8]) = (b"{'type': 'multiagent_result', 'result': ", b"Result(status=<Status.");

/// Returns true for a frame of the Python SDK. A `message` counts only without a `type`: with one it is Anthropic's.
pub(super) fn recognises(_: &Frame<'_>, members: &Members<'_>) -> bool {
    members.has(Name::InitEventLoop)
        || members.get(Name::ForceStop).is_some_and(RawJson::is_true)
        || members.get(Name::Event).is_some_and(is_model_event)
        || members.has(Name::ToolInterrupt)
        || members.is(Name::Type, "agent_result")
        || (!members.has(Name::Type) && members.get(Name::Message).is_some_and(|message| is_message(message)))
}

/// Returns true if the first member of an object is an event of the model, such as `messageStart`, or an exception of
/// Bedrock's.
fn is_model_event(event: RawJson<'_>) -> bool {
    const EVENTS: [&str; 7] = [
        "messageStart",
        "contentBlockStart",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
        "redactContent",
    ];
    let first = scan::Members::of(event.raw()).next();
    first.is_some_and(|(name, value)| name.position(&EVENTS).is_some() || is_exception(&name_of(name), value))
}

/// Returns true if a value is a message of Strands: it has a `role`, and its `content` is a list. Ollama's chunks have
/// a string.
fn is_message(value: RawJson<'_>) -> bool {
    let [role, content] = scan::pick(value.raw(), ["role", "content"]);
    role.is_some() && content.is_some_and(RawJson::is_array)
}

/// Reads the end of a raw stream, which is no JSON but Python's repr within a string. Only its reason counts. A reason
/// that means a finished run, or cannot be read, takes back one before it. Interrupts in the result's place are an
/// `Interrupt`. The result of a graph or a swarm has a status in place of a reason, and may have failed. Returns false
/// if `inner`, the string without its first quote, is no such end, or its reason cannot be read.
pub(super) fn repr_stopped(inner: &[u8], transcript: &mut Transcript) -> bool {
    if let Some(status) = inner.strip_prefix(TOGETHER.0).and_then(status_of) {
        match status {
            b"FAILED" => transcript.failure = Some(reported(None)),
            b"INTERRUPTED" => transcript.finish = Some(FinishReason::Interrupt),
            _ => {}
        }
        return true;
    }
    if are_interrupts(inner) {
        transcript.finish = Some(FinishReason::Interrupt);
        return true;
    }
    let Some(reason) = inner.strip_prefix(RESULT) else { return false };
    let end = reason.iter().take(64).position(|byte| *byte == b'\'');
    let word = end.and_then(|end| std::str::from_utf8(&reason[..end]).ok());
    transcript.finish = word.and_then(FinishReason::from_wire);
    word.is_some()
}

/// Returns the status of a graph's or a swarm's result, in its repr.
fn status_of(result: &[u8]) -> Option<&[u8]> {
    let head = &result[..result.len().min(64)];
    let begin = memmem::find(head, TOGETHER.1)? + TOGETHER.1.len();
    let word = &head[begin..];
    Some(&word[..word.iter().position(|byte| *byte == b':')?])
}

/// Returns true if `data` is a string, and the frame that holds it says nothing of how the run ended. Such a frame is
/// the SDK's own: a piece of text.
fn is_text_event(frame: &Frame<'_>, data: Option<RawJson<'_>>) -> bool {
    let says_more = || {
        let members = Members::of(frame.text);
        members.has_any(SIGNS) || members.has_any(STOP_SIGNS) || members.objects(HOLDERS).next().is_some()
    };
    data.is_some_and(|data| data.as_str().is_some()) && !says_more()
}

/// Leaves a frame of the SDK's own that was taken to the generic rules as well if it reports a failure: an agent may
/// write one beside what the SDK sends. Decides nothing.
fn heard(frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
    match failure_of(frame, &Members::of(frame.text)) {
        Some(_) => foreign(transcript),
        None => None,
    }
}

/// Does as [`heard`], and hears what an agent of another kind says beside a message: how it stopped, unless it waits
/// and the message has no text, and its tokens if none were counted. Cohere's answers are such frames.
fn heard_beside(frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
    let members = Members::of(frame.text);
    if failure_of(frame, &members).is_some() {
        return foreign(transcript);
    }
    // Only further answer ends a wait.
    let mut text = BoundedText::new(1);
    members.get(Name::Message).into_iter().for_each(|message| push_content(message, &mut text));
    let waits = transcript.finish.is_some_and(FinishReason::waits) && text.is_empty();
    if members.has(Name::StopReason) && !waits {
        note_stop(frame, &members, transcript);
    }
    if transcript.progress.usage.is_none() {
        transcript.add_usage(members.get(Name::Usage));
    }
    None
}

#[derive(Debug, Default)]
pub(super) struct Reading;

impl Reader for Reading {
    /// Takes a frame: a string, an object, or the unquoted data of an SSE frame, which is a piece of the answer. Other
    /// values are ignored, or left to the generic rules if they are lines of NDJSON. Returns `None` for a frame that
    /// decides nothing.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        match frame.text {
            [b'"', inner @ ..] => {
                self.take_string(frame, inner, transcript);
                None
            }
            [b'{', ..] => self.take_object(frame, transcript),
            b"null" | b"[DONE]" => None,
            _ if frame.source == Source::Sse && frame.dropped.is_none() => {
                transcript.pieces.push_lossy(frame.data);
                None
            }
            _ if frame.source == Source::Line => foreign(transcript),
            _ => None,
        }
    }

    /// Decides an answer that ends in order by what was said last, as [`Transcript::at_end`] does.
    fn end(&mut self, transcript: &mut Transcript) -> Verdict {
        transcript.at_end()
    }
}

impl Reading {
    /// Takes a string. It is a piece of the answer if there is no message. The repr of a value that cannot be
    /// serialized, and a string too large to keep, are no text. `inner` is the string without its first quote. Text
    /// takes back a failure that was reported before it.
    fn take_string(&mut self, frame: &Frame<'_>, inner: &[u8], transcript: &mut Transcript) {
        if repr_stopped(inner, transcript) || inner.starts_with(b"{'") || frame.dropped.is_some() {
            return;
        }
        let mut text = BoundedText::new(MAX_OUTPUT + 4);
        let string = if scan::is_whole(frame.text) { RawJson::whole(frame.text).as_str() } else { None };
        string.into_iter().for_each(|string| string.push_into(&mut text));
        if !text.is_empty() && !is_repr(text.as_str()) {
            transcript.go_on();
            transcript.pieces.push(text.as_str());
        }
    }

    /// Takes an object: an event of the model, a forced stop, an interrupt, a result or a message, looked for in this
    /// order. A forced stop decides the run. An interrupt is noted, and the rest is read. The text of `data` is not
    /// read, because the model's event has it, too. An object that is none of these is left to the generic rules, and
    /// so is one that reports a failure beside a result or a message. A stop reason beside a message is heard.
    fn take_object(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        if let Some(event) = RawJson::cut(frame.text).enter("event").filter(|event| event.is_object()) {
            return self.take_model_event(event, transcript);
        }
        let names =
            ["type", "message", "force_stop", "force_stop_reason", "tool_interrupt_event", "result", "data", "error"];
        let [kind, message, force_stop, reason, interrupt, result, data, error] =
            duplicates::pick(RawJson::cut(frame.text), names);
        if force_stop.is_some_and(RawJson::is_true) {
            return Some(Verdict::Failed(reported(reason.and_then(error_text))));
        }
        if interrupt.is_some_and(RawJson::is_something) {
            transcript.finish = Some(FinishReason::Interrupt);
            transcript.is_understood = true;
        }
        if kind.and_then(RawJson::whole_str).is_some_and(|kind| kind.is("agent_result")) {
            self.take_result(RawJson::cut(frame.text), transcript);
            return heard(frame, transcript);
        }
        if let Some(result) = result.filter(|result| result.get("stop_reason").is_some()) {
            self.take_result(result, transcript);
            return heard(frame, transcript);
        }
        match message.filter(|message| kind.is_none() && message.is_object()) {
            Some(message) => {
                self.take_message(message, transcript);
                return heard_beside(frame, transcript);
            }
            None if error.is_some() || kind.is_some() || !is_text_event(frame, data) => return foreign(transcript),
            None => transcript.is_understood = true,
        }
        None
    }

    /// Takes an event of the model. Strands sends Bedrock's events, whatever the model is. An exception decides the
    /// run. An event that is not the model's is left to the generic rules.
    fn take_model_event(&mut self, event: RawJson<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        if let Some(delta) = event.enter("contentBlockDelta") {
            bedrock::delta(delta, transcript);
            return None;
        }
        for (name, value) in scan::Members::of(event.raw()) {
            match &*name_of(name) {
                b"messageStart" => transcript.begin_message_of(value.get("role")),
                b"contentBlockStart" => bedrock::block_start(value, transcript),
                b"messageStop" => transcript.stopped(duplicates::pick(value, ["stopReason"])[0]),
                // A later message repeats this usage. `take_message` counts it only if none was counted before.
                b"metadata" => transcript.add_usage(value.get("usage")),
                raw if is_exception(raw, value) => return Some(Verdict::Failed(reported(error_text(value)))),
                b"contentBlockStop" | b"redactContent" => {}
                // An event of the agent's own, which may say anything.
                _ => return foreign(transcript),
            }
        }
        None
    }

    /// Takes a finished message. The assistant's message replaces the text so far, because it repeats it. Its usage
    /// counts only if none was counted before: the model's events report the same.
    fn take_message(&mut self, message: RawJson<'_>, transcript: &mut Transcript) {
        transcript.is_understood = true;
        if is_assistants(message) {
            transcript.message(|out| push_content(message, out));
        }
        if transcript.progress.usage.is_none() {
            transcript.add_usage(message.get("metadata").and_then(|metadata| metadata.get("usage")));
        }
    }

    /// Takes the result of the run: its last message, and how the agent stopped. It decides nothing, because the end of
    /// the stream does.
    fn take_result(&mut self, result: RawJson<'_>, transcript: &mut Transcript) {
        let [message, reason] = duplicates::pick(result, ["message", "stop_reason"]);
        message.into_iter().for_each(|message| self.take_message(message, transcript));
        transcript.stopped(reason);
    }
}
