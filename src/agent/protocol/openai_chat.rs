//! OpenAI's Chat Completions API, which LiteLLM, vLLM and others serve, too.
//! <https://platform.openai.com/docs/api-reference/chat-streaming>

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::form::Form;
use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::names::name_of;
use crate::agent::protocol::reader::{Reader, decided, foreign};
use crate::agent::protocol::words::{message_of, push_content, reported, texts};
use crate::agent::transcript::Transcript;
use crate::domain::answer::Verdict;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson, Str};

/// Returns true for a chunk of a completion, or for a whole one. Servers that leave `object` out are recognised by the
/// message or the delta of the first choice.
pub(super) fn recognises(_: &Frame<'_>, members: &Members<'_>) -> bool {
    let has_own_choice = || {
        let choice = members.get(Name::Choices).and_then(RawJson::first_element).map(RawJson::end);
        choice.is_some_and(|choice| {
            scan::pick(choice.raw(), ["message", "delta"]).into_iter().flatten().any(RawJson::is_object)
        })
    };
    members.is(Name::Object, "chat.completion.chunk")
        || members.is(Name::Object, "chat.completion")
        || (!members.has(Name::Object) && has_own_choice())
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    has_refused: bool,
    form: Form,
}

impl Reader for Reading {
    /// Takes a chunk, or the whole completion. The choice with index 0 is the answer, and other choices are ignored.
    /// Its `finish_reason`, or without one its `stop_reason`, decides the run. An `error` beside that is a failure,
    /// and a refusal takes precedence over the reason. Usage is read beside a `finish_reason` and in frames without a
    /// choice, by [`Self::take_other`] and [`Self::read_usage`]. Anything but an object is ignored, or left to the
    /// generic rules if it is a line of NDJSON. Returns `None` for a frame that decides nothing.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        if self.form.is_of(frame) && !transcript.wants_text() {
            return None;
        }
        self.form.clear();
        if !frame.text.starts_with(b"{") {
            return if frame.source == Source::Line { foreign(transcript) } else { None };
        }
        let value = RawJson::cut(frame.text);
        let choice = value.enter("choices").and_then(RawJson::first_element).filter(|choice| choice.is_object());
        let Some(choice) = choice else { return self.take_other(frame, transcript) };
        transcript.is_understood = true;
        // The first of several choices is the answer. A chunk may hold another choice alone.
        let is_first = |choice: &RawJson<'_>| choice.get("index").and_then(RawJson::as_count).is_none_or(|at| at == 0);
        let choice = match is_first(&choice) {
            true => choice,
            false => value.get("choices")?.elements().find(is_first)?,
        };
        let (mut reason, mut other, mut unread, mut has_message) = (None, None, None, false);
        for (name, value) in scan::Members::of(choice.raw()) {
            match &*name_of(name) {
                b"delta" => unread = self.take_delta(value, transcript),
                b"message" => {
                    has_message = true;
                    self.has_refused |= value.get("refusal").is_some_and(RawJson::is_something);
                    transcript.message(|out| push_content(value, out));
                    count_tools(value.get("tool_calls"), transcript);
                }
                b"finish_reason" => reason = reason.filter(|first: &RawJson<'_>| first.is_something()).or(Some(value)),
                b"stop_reason" => other = Some(value),
                _ => {}
            }
        }
        // Mistral on Bedrock has no other name for it. Beside a `finish_reason` it is the sequence that was met.
        let Some(reason) = reason.or(other).filter(|reason| reason.is_something()) else {
            unread.filter(|_| !has_message).into_iter().for_each(|text| self.form.note(frame, text));
            return None;
        };
        // Members about the whole answer come in its last chunk at the latest.
        let [usage, error] = scan::pick(frame.text, ["usage", "error"]);
        transcript.set_usage(usage);
        if error.is_some_and(RawJson::is_something) {
            return Some(Verdict::Failed(reported(message_of(value, &["code"]))));
        }
        transcript.stopped(Some(reason));
        if self.has_refused {
            transcript.finish = Some(FinishReason::Refusal);
        }
        let verdict = transcript.last_word();
        decided(frame, transcript, verdict)
    }

    /// Returns true: a chunk with the usage may come after the last choice.
    fn awaits_usage(&self) -> bool {
        true
    }

    /// Takes the usage of a frame after the last choice. Returns true if it has some, and for `[DONE]`, which says that
    /// none will come.
    fn read_usage(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> bool {
        let usage = RawJson::cut(frame.text).get("usage").filter(|usage| usage.is_object());
        transcript.set_usage(usage);
        usage.is_some() || frame.text == b"[DONE]"
    }
}

impl Reading {
    /// Takes a frame that is no chunk of the answer: an error, which decides the run, or usage. Any other frame without
    /// `choices` is left to the generic rules, even if it has usage.
    fn take_other(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let [choices, usage, error, object] = scan::pick(frame.text, ["choices", "usage", "error", "object"]);
        let is_error_object = object.and_then(RawJson::as_str).is_some_and(|object| object.is("error"));
        if error.is_some_and(RawJson::is_something) || is_error_object {
            let message = message_of(RawJson::cut(frame.text), &["code"]);
            return Some(Verdict::Failed(reported(message)));
        }
        if choices.is_none() {
            return foreign(transcript);
        }
        transcript.set_usage(usage);
        None
    }

    /// Takes the delta of a choice: its text, a refusal, and the tools it asks for. Returns the text if it was not read
    /// because no more of it is kept, and the delta asks for no tools. Otherwise returns `None`.
    fn take_delta<'a>(&mut self, delta: RawJson<'a>, transcript: &mut Transcript) -> Option<Str<'a>> {
        let (mut unread, mut has_calls) = (None, false);
        for (name, value) in scan::Members::of(delta.raw()) {
            match &*name_of(name) {
                b"content" if transcript.wants_text() => match value.as_str() {
                    Some(text) => transcript.delta(Some(text)),
                    // Models that think send a list of parts, which hold their thoughts, too.
                    None => texts(value).for_each(|text| transcript.delta(Some(text))),
                },
                b"content" => unread = value.whole_str(),
                b"refusal" => self.has_refused |= value.is_something(),
                b"tool_calls" => {
                    has_calls |= value.is_something();
                    count_tools(Some(value), transcript);
                }
                _ => {}
            }
        }
        unread.filter(|_| !has_calls)
    }
}

/// Adds the tools that a list of calls asks for to the count. Each begins with its name. Calls without a name are
/// pieces of its arguments, and count nothing.
fn count_tools(calls: Option<RawJson<'_>>, transcript: &mut Transcript) {
    let calls = calls.into_iter().flat_map(RawJson::elements);
    let named = calls.filter_map(|call| call.get("function")?.get("name")?.as_str());
    transcript.progress.tool_uses += named.filter(|name| !name.is_empty()).count() as u64;
}
