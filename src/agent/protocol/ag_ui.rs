//! AG-UI.
//! <https://docs.ag-ui.com/concepts/events>

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::langchain::stop_reason_of;
use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::names::stop_by_name;
use crate::agent::protocol::reader::{Reader, decided, foreign, type_of};
use crate::agent::protocol::words::{message_of, push_answer, push_last_answer, push_parts, reported, unpacked};
use crate::agent::transcript::Transcript;
use crate::domain::answer::Verdict;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson, Str};
use crate::json::text::BoundedText;

/// Bytes of a message's id that are compared.
const MAX_ID: usize = 128;

/// Returns true for an event that begins or ends a run: `RUN_STARTED`, `RUN_FINISHED` or `RUN_ERROR`. Other types of
/// AG-UI are not recognised by themselves.
pub(super) fn recognises(_: &Frame<'_>, members: &Members<'_>) -> bool {
    let kind = members.get(Name::Type).and_then(RawJson::whole_str);
    kind.is_some_and(|kind| ["RUN_STARTED", "RUN_FINISHED", "RUN_ERROR"].iter().any(|name| kind.is(name)))
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The message that deltas belong to.
    message_id: Vec<u8>,
    /// The message is not the assistant's.
    is_others: bool,
    /// What the agent waits for, as an event of its own or a call of ADK's tools says. It has begun no message since.
    waits: Option<FinishReason>,
    /// How the agent stopped, in the word of an event of its own or of a model's. It has begun no message since.
    stopped: Option<String>,
}

impl Reader for Reading {
    /// Takes an event. `RUN_FINISHED` and `RUN_ERROR` decide the run. Text counts if its message is the assistant's. A
    /// snapshot replaces it by the last answer in it. An event of the agent's own, one of a model's and the call of a
    /// tool may say that it waits or how it stopped. Unknown types in capitals are ignored. Any other frame is left to
    /// the generic rules. Returns `None` for a frame that decides nothing.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let Some(kind) = type_of(frame) else { return foreign(transcript) };
        match &*kind {
            b"TEXT_MESSAGE_CONTENT" | b"TEXT_MESSAGE_CHUNK" => {
                let value = RawJson::cut(frame.text);
                let id = value.get("messageId").and_then(RawJson::as_str);
                // A chunk may begin a message, and names its role then.
                if id.is_some_and(|id| !self.is_in(id)) {
                    self.turn_to(id, value.get("role"), transcript);
                }
                if !self.is_others && transcript.wants_text() {
                    transcript.delta(value.get("delta").and_then(RawJson::as_str));
                }
            }
            b"TEXT_MESSAGE_START" => {
                let [id, role] = scan::pick(frame.text, ["messageId", "role"]);
                self.message_id.clear();
                self.turn_to(id.and_then(RawJson::as_str), role, transcript);
            }
            b"TOOL_CALL_START" => {
                transcript.progress.tool_uses += 1;
                self.waits = waits_for_tool(RawJson::cut(frame.text)).or(self.waits);
            }
            b"RAW" => self.take_raw(RawJson::cut(frame.text)),
            b"CUSTOM" => self.take_custom(RawJson::cut(frame.text)),
            b"MESSAGES_SNAPSHOT" => {
                if let Some(messages) = RawJson::cut(frame.text).get("messages") {
                    transcript.message(|out| push_last_answer(messages, out));
                }
            }
            b"RUN_FINISHED" => return self.take_finish(frame, transcript),
            b"RUN_ERROR" => {
                take_usage(frame, RawJson::cut(frame.text).get("usage"), transcript);
                return Some(Verdict::Failed(reported(message_of(RawJson::cut(frame.text), &["code"]))));
            }
            b"RUN_STARTED" => transcript.is_understood = true,
            // The protocol's own types are in capitals.
            raw if raw.iter().any(u8::is_ascii_lowercase) => return foreign(transcript),
            _ => {}
        }
        None
    }
}

impl Reading {
    /// Returns true if the message under way is that of this id, by its first 128 bytes.
    fn is_in(&self, id: Str<'_>) -> bool {
        let id = id.raw();
        self.message_id == id[..id.len().min(MAX_ID)]
    }

    /// Takes an event of the agent's own. Its name may say that the agent waits. The value of Strands' `AgentStopped`
    /// says how the agent stopped. So does a value of any name that holds nothing but the stop reason and the usage:
    /// beside other members it may be part of what the event is about.
    fn take_custom(&mut self, event: RawJson<'_>) {
        self.waits = waits_by(event).or(self.waits);
        let [name, value] = scan::pick(event.raw(), ["name", "value"]);
        let is_strands = name.and_then(RawJson::whole_str).is_some_and(|name| name.is("AgentStopped"));
        let Some(value) = value.filter(|value| is_strands || says_only_how_it_ended(*value)) else { return };
        let reason = Members::of(value.raw()).get(Name::StopReason);
        if let Some(reason) = reason.and_then(RawJson::whole_str) {
            self.stopped = Some(reason.read(64));
        }
    }

    /// Takes an event of what the agent is made of. The end of a model's call in LangChain says how the model stopped,
    /// which the adapter for LangGraph says nowhere else. It counts if that call wrote the message under way, or no
    /// message, because all of its tokens went into thoughts or a tool's call.
    fn take_raw(&mut self, raw: RawJson<'_>) {
        let Some(event) = raw.get("event").filter(|event| event.is_object()) else { return };
        let [name, data] = scan::pick(event.raw(), ["event", "data"]);
        if !name.and_then(RawJson::whole_str).is_some_and(|name| name.is("on_chat_model_end")) {
            return;
        }
        let Some(output) = data.and_then(|data| data.get("output")) else { return };
        let [id, content] = scan::pick(unpacked(output).raw(), ["id", "content"]);
        let mut text = BoundedText::new(1);
        content.into_iter().for_each(|content| push_parts(content, &mut text));
        let word = stop_reason_of(output).and_then(RawJson::whole_str).map(|reason| reason.read(64));
        // A call without text behind the answer may be for a title. That it finished takes nothing back.
        let is_short = || word.as_deref().is_some_and(|word| FinishReason::from_wire(word).is_some());
        if id.and_then(RawJson::as_str).is_some_and(|id| self.is_in(id)) || text.is_empty() && is_short() {
            self.stopped = word;
        }
    }

    /// Turns to the message of a delta or a start. If its id is another one than before, it begins a message, which
    /// ends what the agent waited for. A message whose role is not given is the assistant's, and one of another role
    /// has no text of the answer and ends no wait. Without an id the message under way goes on.
    fn turn_to(&mut self, id: Option<Str<'_>>, role: Option<RawJson<'_>>, transcript: &mut Transcript) {
        if let Some(role) = role.and_then(RawJson::as_str) {
            self.is_others = !role.is("assistant");
        }
        let Some(id) = id else { return };
        if !self.is_in(id) {
            self.message_id.clear();
            self.message_id.extend_from_slice(&id.raw()[..id.raw().len().min(MAX_ID)]);
            self.is_others &= role.is_some();
            if !self.is_others {
                (self.waits, self.stopped) = (None, None);
                transcript.begin_message();
            }
        }
    }

    /// Takes the end of the run, and its usage by [`take_usage`]. `outcome`, or its `type`, says how the agent stopped.
    /// Without an outcome another event may have said that the agent waits. Whatever the outcome, another event may
    /// have said how the agent stopped, because an outcome has no word for a limit, a filter or a model that failed.
    /// Any other failure that was reported before is taken back, because the protocol has `RUN_ERROR` for one. `result`
    /// is the answer if there was no message.
    fn take_finish(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let [outcome, usage, result] = scan::pick(frame.text, ["outcome", "usage", "result"]);
        take_usage(frame, usage, transcript);
        transcript.failure = None;
        match outcome.filter(|outcome| outcome.is_something()) {
            Some(outcome) => transcript.stopped(outcome.get("type").or(Some(outcome))),
            None => transcript.finish = self.waits.or(transcript.finish),
        }
        if let Some(word) = self.stopped.as_deref().filter(|_| transcript.finish.is_none()) {
            transcript.stopped_by(word);
        }
        if let Some(result) = result.filter(|_| transcript.answer().is_empty()) {
            transcript.message(|out| push_answer(result, out, 4));
        }
        let verdict = transcript.last_word();
        decided(frame, transcript, verdict)
    }
}

/// Returns what the agent waits for if it calls one of the tools by which ADK asks a person, and otherwise `None`. The
/// adapter for ADK ends the run behind such a call.
fn waits_for_tool(event: RawJson<'_>) -> Option<FinishReason> {
    let name = event.get("toolCallName")?.whole_str()?;
    if name.is("adk_request_credential") {
        return Some(FinishReason::AuthRequired);
    }
    name.raw().starts_with(b"adk_request_").then_some(FinishReason::Interrupt)
}

/// Returns true if a value has no members but a stop reason and usage.
fn says_only_how_it_ended(value: RawJson<'_>) -> bool {
    scan::Members::of(value.raw()).all(|(name, member)| {
        matches!(Name::of_member(name, member), Some(Name::StopReason | Name::Usage | Name::Tokens))
    })
}

/// Adds the usage of a run's end: a list or an object. That of an event that is cut off is not counted.
fn take_usage(frame: &Frame<'_>, usage: Option<RawJson<'_>>, transcript: &mut Transcript) {
    if frame.is_whole() {
        usage.into_iter().flat_map(RawJson::elements).for_each(|usage| transcript.add_usage(Some(usage)));
        transcript.add_usage(usage.filter(|usage| usage.is_object()));
    }
}

/// Returns what the agent waits for, if the name of an event of its own says so, with or without `on_` before it, and
/// otherwise `None`. LangGraph's interrupts are named `on_interrupt`.
fn waits_by(event: RawJson<'_>) -> Option<FinishReason> {
    let name = event.get("name")?.whole_str()?.read(64);
    stop_by_name(name.strip_prefix("on_").unwrap_or(&name)).filter(|reason| reason.waits())
}
