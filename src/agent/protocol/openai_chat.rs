//! OpenAI's Chat Completions API, which LiteLLM, vLLM and others serve, too.
//! <https://platform.openai.com/docs/api-reference/chat-streaming>

use crate::agent::framing::Frame;
use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::words::{message_of, push_content, reported};
use crate::agent::protocol::{Reader, decided, foreign};
use crate::agent::transcript::Transcript;
use crate::domain::answer::Verdict;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};

pub(super) fn recognises(_: &Frame<'_>, members: &Members<'_>) -> bool {
    members.is(Name::Object, "chat.completion.chunk") || members.is(Name::Object, "chat.completion")
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    has_refused: bool,
}

impl Reader for Reading {
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        if !frame.text.starts_with(b"{") {
            return None;
        }
        let [choices, usage, error, object] = scan::pick(frame.text, ["choices", "usage", "error", "object"]);
        if error.is_some_and(RawJson::is_something)
            || object.and_then(RawJson::as_str).is_some_and(|object| object.is("error"))
        {
            return Some(Verdict::Failed(reported(message_of(RawJson::cut(frame.text), &["code"]))));
        }
        let Some(choices) = choices else { return foreign(frame, transcript) };
        transcript.is_understood = true;
        // The counts are those of the whole answer, also where each chunk repeats them.
        transcript.set_usage(usage);
        // Of several choices the first is the answer; a chunk may hold another's alone.
        let is_first = |choice: &RawJson<'_>| choice.get("index").and_then(RawJson::as_count).is_none_or(|at| at == 0);
        let choice = choices.elements().find(is_first)?;
        let [delta, message, reason] = scan::pick(choice.raw(), ["delta", "message", "finish_reason"]);
        if let Some(delta) = delta {
            let [content, refusal] = scan::pick(delta.raw(), ["content", "refusal"]);
            self.has_refused |= refusal.is_some_and(RawJson::is_something);
            if transcript.wants_text() {
                transcript.delta(content.and_then(RawJson::as_str));
            }
            self.count_tools(delta, transcript);
        }
        if let Some(message) = message {
            self.has_refused |= message.get("refusal").is_some_and(RawJson::is_something);
            transcript.message(|out| push_content(message, out));
            self.count_tools(message, transcript);
        }
        reason.filter(|reason| reason.is_something())?;
        transcript.stopped(reason);
        if self.has_refused {
            transcript.finish = Some(FinishReason::Refusal);
        }
        let verdict = transcript.last_word();
        decided(frame, transcript, verdict)
    }

    fn awaits_usage(&self) -> bool {
        true
    }

    fn read_usage(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> bool {
        let usage = RawJson::cut(frame.text).get("usage").filter(|usage| usage.is_object());
        transcript.set_usage(usage);
        usage.is_some() || frame.text == b"[DONE]"
    }
}

impl Reading {
    /// Counts the tools asked for: each begins with its name, the rest are pieces of its arguments.
    fn count_tools(&self, message: RawJson<'_>, transcript: &mut Transcript) {
        let calls = message.get("tool_calls").into_iter().flat_map(RawJson::elements);
        let named = calls.filter_map(|call| call.get("function")?.get("name")?.as_str());
        transcript.progress.tool_uses += named.filter(|name| !name.is_empty()).count() as u64;
    }
}
