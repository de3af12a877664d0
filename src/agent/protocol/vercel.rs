//! The UI stream of the Vercel AI SDK <https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol>, its `fullStream`, sent
//! on as it is <https://ai-sdk.dev/docs/reference/ai-sdk-core/stream-text>, whose parts have the same types, the data
//! stream of its versions up to 4 <https://v4.ai-sdk.dev/docs/ai-sdk-ui/stream-protocol>, and the result of its
//! `generateText`, which has only steps as JSON.

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::members::{ANSWERS, Members, Name, Names};
use crate::agent::protocol::questions::{Questions, asks_in};
use crate::agent::protocol::reader::{Reader, decided, foreign, type_of};
use crate::agent::protocol::words::{error_text, message_of, push_content, reported};
use crate::agent::transcript::Transcript;
use crate::domain::answer::Verdict;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};

/// Returns true for the first part of a stream, whose `type` is `start`, and for a result. Mastra's parts, which have
/// the same types, are looked for before them.
pub(super) fn recognises(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    // The `fullStream` of version 4 begins with a step.
    let is_step = || {
        let [message, request] = scan::pick(frame.text, ["messageId", "request"]);
        members.is(Name::Type, "step-start") && message.is_some() && request.is_some()
    };
    members.is(Name::Type, "start") || is_step() || steps_of(frame, members).is_some()
}

/// Returns the steps of a document that is a result, or `None` if it is none. Each step has its content, its reason to
/// finish and its response. What has a text or a reason of its own is an agent's own document.
fn steps_of<'a>(frame: &Frame<'a>, members: &Members<'_>) -> Option<RawJson<'a>> {
    let is_open = frame.source == Source::Document
        && !members.has_any(const { Names::of(&[Name::StopReason]) })
        && !members.has_any(const { Names::of(&ANSWERS) })
        && !members.has(Name::Message);
    let steps = RawJson::cut(frame.text).get("steps").filter(|_| is_open)?;
    let [content, reason, response] =
        scan::pick(steps.elements().last()?.raw(), ["content", "finishReason", "response"]);
    let is_step = content?.is_array() && reason?.as_str().is_some() && response?.is_object();
    is_step.then_some(steps)
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The tools of this step that wait for a person's approval. The stream ends in order then.
    questions: Questions,
    /// The answer is a data stream that may end here: it has told of no step, or of the end of the last one.
    is_bare: bool,
    /// The last part that says something was the end of a step whose text does not go on.
    is_step_over: bool,
    /// A data stream has told of the beginning of a step. Such servers also send `d`.
    has_beginnings: bool,
}

impl Reader for Reading {
    /// Takes a part. `finish`, `error` and `abort` decide the run. The answer is the text of the last step, and the
    /// usage that of the whole run, from `finish`. A run whose last step asks a person to approve a tool is
    /// interrupted, unless `finish` gives another reason to stop. Other parts are ignored, including the errors of
    /// tools. A frame that is no part is left to the generic rules. Returns `None` for a frame that decides nothing.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        if frame.source == Source::Part {
            return self.take_data(frame, transcript);
        }
        let Some(kind) = type_of(frame) else { return take_result(frame, transcript) };
        let value = RawJson::cut(frame.text);
        match &*kind {
            b"text-delta" if transcript.wants_text() => {
                let text = value.enter_any(&["delta", "text", "textDelta"]).map(|(_, text)| text.end());
                transcript.delta(text.and_then(RawJson::as_str));
            }
            // No more of this message is kept.
            b"text-delta" => {}
            // The application's own parts may come first, and what they hold says nothing of the run.
            b"start" => {
                transcript.go_on();
                transcript.finish = None;
            }
            // A step is one message of the model's, and what came of it before a reset counts no more.
            b"start-step" | b"reset-step" | b"step-start" => {
                self.questions.clear();
                transcript.begin_message();
            }
            b"tool-input-available" | b"tool-call" => transcript.progress.tool_uses += 1,
            b"tool-approval-request" | b"tool-approval-response" | b"tool-result" => self.ask(&kind, value),
            raw if raw.starts_with(b"tool-output-") || raw == b"tool-error" => self.ask(&kind, value),
            b"error" => return Some(Verdict::Failed(reported(message_of(value, &[])))),
            b"abort" => {
                transcript.finish = Some(FinishReason::Cancelled);
                return decided(frame, transcript, Verdict::Incomplete(FinishReason::Cancelled));
            }
            b"finish" => return self.take_finish(frame, transcript),
            raw if is_own(raw) => {}
            _ => return foreign(transcript),
        }
        transcript.is_understood = true;
        None
    }

    /// Decides a stream that ended in order without `finish`: it is interrupted, or failed if a failure was reported.
    /// Adapters of other libraries send the text of a data stream alone. Then the end of the stream ends the run.
    fn end(&mut self, transcript: &mut Transcript) -> Verdict {
        if self.is_bare { transcript.at_end() } else { transcript.without_terminal_event() }
    }
}

impl Reading {
    /// Takes a part of a data stream, by its code. The last of a run is `d`. An error is one of the run, because up to
    /// version 4 a tool that fails ends it. Servers in Python end the last step alone, so the end of a stream behind it
    /// ends the run.
    fn take_data(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let value = if scan::is_whole(frame.text) { RawJson::whole(frame.text) } else { RawJson::cut(frame.text) };
        self.is_bare |= !transcript.is_understood;
        transcript.is_understood = true;
        // What a further step says replaces what the one before it said, and it ends by itself.
        let begins = matches!(frame.name, b"0" | b"9" | b"b" | b"c" | b"f" | b"g" | b"i" | b"j");
        if begins && std::mem::take(&mut self.is_step_over) {
            self.is_bare = false;
            transcript.finish = None;
            transcript.begin_message();
        }
        match frame.name {
            b"0" if transcript.wants_text() => transcript.delta(value.as_str()),
            b"3" => return Some(Verdict::Failed(reported(error_text(value)))),
            b"9" => transcript.progress.tool_uses += 1,
            b"d" => return self.take_finish(frame, transcript),
            b"e" => self.end_step(value, transcript),
            // A tool's result behind the end of its step means that the agent goes on.
            b"a" if self.is_step_over => self.is_bare = false,
            b"f" => (self.is_bare, self.has_beginnings) = (false, true),
            _ => {}
        }
        None
    }

    /// Takes the end of a step, and its usage. `isContinued` promises another one, though some servers write it behind
    /// `stop`, too. Behind the reason `length` that step goes on with the text of this one, and the reason says nothing.
    /// Behind any other it begins anew. Servers that tell of the beginnings follow a tool's call with another step.
    fn end_step(&mut self, value: RawJson<'_>, transcript: &mut Transcript) {
        let [reason, usage, continued] = scan::pick(value.raw(), ["finishReason", "usage", "isContinued"]);
        let is = |word| reason.and_then(RawJson::whole_str).is_some_and(|reason| reason.is(word));
        let is_continued = continued.is_some_and(RawJson::is_true);
        let is_followed = is_continued && !is("stop") || self.has_beginnings && is("tool-calls");
        self.is_bare = !is_followed;
        transcript.add_usage(usage);
        if !(is_continued && is("length")) {
            transcript.stopped(reason);
            self.is_step_over = true;
        }
    }

    /// Takes a part that may ask a person about a tool, or end such a question.
    fn ask(&mut self, kind: &[u8], part: RawJson<'_>) {
        self.questions.take(&String::from_utf8_lossy(kind), part);
    }

    /// Takes the end of the run, its usage and its reason.
    fn take_finish(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let value = RawJson::cut(frame.text);
        // The usage within `messageMetadata` is the application's own.
        transcript.set_usage(value.get("totalUsage").or_else(|| value.get("usage")));
        transcript.stopped(value.get("finishReason"));
        if self.questions.is_open() {
            transcript.finish.get_or_insert(FinishReason::Interrupt);
        }
        let verdict = transcript.last_word();
        decided(frame, transcript, verdict)
    }
}

/// Takes a result: the text of its last step, why that finished, and the usage of all. A tool that waits for an
/// approval ends the last step. A frame that is no result is left to the generic rules.
fn take_result(frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
    let Some(steps) = steps_of(frame, &Members::of(frame.text)) else { return foreign(transcript) };
    steps.elements().for_each(|step| transcript.add_usage(step.get("usage")));
    let last = steps.elements().last()?;
    transcript.message(|out| push_content(last, out));
    transcript.stopped(last.get("finishReason"));
    if last.get("content").is_some_and(|content| asks_in(content, false)) {
        transcript.finish.get_or_insert(FinishReason::Interrupt);
    }
    let verdict = transcript.last_word();
    decided(frame, transcript, verdict)
}

/// Returns true if a type is that of a part of the UI stream or of `fullStream`. The application's own begin with
/// `data-`.
fn is_own(kind: &[u8]) -> bool {
    const OWN: [&[u8]; 7] =
        [b"start", b"finish-step", b"file", b"raw", b"message-metadata", b"custom", b"steering-message"];
    const FAMILIES: [&[u8]; 6] = [b"text-", b"reasoning", b"source", b"tool-", b"data-", b"step-"];
    OWN.contains(&kind) || FAMILIES.iter().any(|family| kind.starts_with(family))
}
