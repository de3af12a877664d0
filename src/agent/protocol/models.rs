//! Raw answers of models, which some agents pass on as they are. No agent's protocol has these forms: an answer is one
//! only if it has the members by which the model's documents tell it.
//!
//! - Gemini: <https://ai.google.dev/api/generate-content>, and as the Python SDK's `model_dump` writes it.
//! - Bedrock's InvokeModel: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html>, with a page
//!   for each of Titan, Llama, Mistral, DeepSeek, Cohere and Claude's text completions.
//! - OpenAI's completions of a text: <https://platform.openai.com/docs/api-reference/completions>

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::duplicates::{hear, pick};
use crate::agent::protocol::members::{ANSWERS, Members, Name, Names};
use crate::agent::protocol::names::name_of;
use crate::agent::protocol::usage::Counts;
use crate::agent::protocol::words::{push_parts, reported};
use crate::agent::transcript::{MAX_OUTPUT, Transcript};
use crate::domain::finish_reason::{FinishReason, is_word_of_broken, without_enum};
use crate::domain::usage::Usage;
use crate::json::scan::{self, RawJson};
use crate::json::text::BoundedText;

/// The members of which a raw answer has one. A frame without any is not looked at.
pub(super) const SIGNS: Names = Names::of(&[Name::Raw, Name::Choices]);

/// A list whose element with the index 0, or the first, is the answer: its name, that of the text, and those of the
/// stop reason. The element must have the text and one of the others.
const LISTS: [(&[u8], &str, &[&str]); 4] = [
    // Titan. <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-text.html>
    (b"results", "outputText", &["completionReason"]),
    // Mistral, and the outputs of vLLM.
    // <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-mistral-text-completion.html>
    (b"outputs", "text", &["finish_reason", "stop_reason"]),
    // Cohere. <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-cohere-command.html>
    (b"generations", "text", &["finish_reason"]),
    // DeepSeek and OpenAI. <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-deepseek.html>
    (b"choices", "text", &["finish_reason", "stop_reason"]),
];

/// The words of Gemini's `finishReason` by their number, which the older Python SDK's `to_dict` writes in their place.
/// <https://github.com/googleapis/googleapis/blob/master/google/ai/generativelanguage/v1beta/generative_service.proto>
const NUMBERED: [&str; 17] = [
    "FINISH_REASON_UNSPECIFIED",
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "OTHER",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "IMAGE_SAFETY",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_OTHER",
    "NO_IMAGE",
];

/// The end of Gemini's words for nothing.
const UNSPECIFIED: &str = "_UNSPECIFIED";

/// Bytes that are read of the model's words for its stop reason.
const MAX_WORDS: usize = 2 * 1024;

/// The words by which Gemini and Titan say that nobody knows why the model ended, or that it did not begin. It reached
/// no limit that somebody might accept, so the run failed.
const UNKNOWN: [&str; 2] = ["OTHER", "RAG_QUERY_WHEN_RAG_DISABLED"];

/// What a raw answer, or a piece of one, says.
#[derive(Debug, Default)]
pub(super) struct Answer<'a> {
    /// The member whose object it is, or `None` if it is the frame's.
    under: Option<Name>,
    is_known: bool,
    is_gemini: bool,
    /// A string, or Gemini's list of parts.
    text: Option<RawJson<'a>>,
    reason: Option<RawJson<'a>>,
    /// The model's words for its stop reason.
    told: Option<RawJson<'a>>,
    /// Gemini did not take the prompt.
    is_blocked: bool,
    counts: Counts,
    /// The counts are the last of a call of the model.
    ends: bool,
    /// The id that Gemini gives all pieces of one answer.
    id: Option<RawJson<'a>>,
}

impl<'a> Answer<'a> {
    /// Reads an object, or returns `None` if it is no raw answer. With `goes_on`, an object with Gemini's usage is a
    /// piece of one.
    fn of(object: RawJson<'a>, goes_on: bool) -> Option<Answer<'a>> {
        let mut answer = Answer::default();
        let [mut text, mut completion, mut stop] = [None; 3];
        let mut is_completion = false;
        let (mut has_counts, mut has_id, mut billed) = (false, false, None);
        for (name, value) in scan::Members::of(object.raw()) {
            match &*name_of(name) {
                b"candidates" => answer.take_candidates(value),
                b"promptFeedback" | b"prompt_feedback" => {
                    let reason = value.get("blockReason").or_else(|| value.get("block_reason"));
                    answer.is_blocked |= reason.is_some_and(says_blocked);
                }
                b"usageMetadata" | b"usage_metadata" => {
                    answer.is_known |= goes_on && value.is_object();
                    answer.count(Counts::of(value));
                }
                b"responseId" | b"response_id" => answer.id = answer.id.or(Some(value)),
                b"amazon-bedrock-invocationMetrics" => {
                    answer.ends |= value.is_object();
                    answer.count(Counts::of(value));
                }
                b"generation" | b"outputText" => text = text.or(Some(value)),
                b"completion" => completion = completion.or(Some(value)),
                b"stop_reason" => hear(&mut stop, value),
                b"stop" => is_completion = true,
                b"type" => is_completion |= value.as_str().is_some_and(|kind| kind.is("completion")),
                b"completionReason" => {
                    hear(&mut answer.reason, value);
                    has_counts = true;
                }
                b"prompt_token_count" | b"inputTextTokenCount" => {
                    answer.count(Some(Counts { input: value.as_count(), ..Counts::default() }));
                    has_counts = true;
                }
                b"generation_token_count" | b"totalOutputTextTokenCount" => {
                    answer.count(Some(Counts { output: value.as_count(), ..Counts::default() }));
                    has_counts = true;
                }
                b"generation_id" => has_id = true,
                b"meta" => billed = billed.or(Counts::of(value)),
                name => {
                    let list = LISTS.iter().find(|(list, ..)| *list == name);
                    list.into_iter().for_each(|(_, text, reasons)| answer.take_list(value, text, reasons));
                }
            }
        }
        // Llama's answers, the pieces of Titan's, and Claude's completions of a text.
        let text = text
            .filter(|_| has_counts)
            .or(completion.filter(|_| stop.is_some_and(|stop| is_completion || stop.is_something())));
        let text = text.filter(|text| text.as_str().is_some());
        answer.is_known |= text.is_some() || answer.is_blocked;
        answer.text = answer.text.or(text);
        stop.filter(|_| text.is_some()).into_iter().for_each(|stop| hear(&mut answer.reason, stop));
        answer.ends |= !answer.is_gemini && answer.reason.is_some_and(RawJson::is_something);
        if has_id && billed.is_some() {
            // Command R's text and its reason are an agent's own, too.
            (answer.is_known, answer.ends) = (true, true);
            answer.count(billed);
        }
        answer.is_known.then_some(answer)
    }

    /// Takes Gemini's candidates: objects with `content.parts`, or with a reason why the model stopped beside another
    /// member of theirs. The first with the index 0 or none is the answer. An element of another form ends the list.
    fn take_candidates(&mut self, list: RawJson<'a>) {
        let names =
            ["content", "finishReason", "finish_reason", "finishMessage", "finish_message", "index", "safetyRatings"];
        for item in list.elements() {
            let [content, camel, snake, told, told_snake, index, ratings] = pick(item, names);
            let content = content.filter(|content| content.is_object());
            let parts = content.and_then(|content| content.get("parts")).filter(|parts| parts.is_array());
            let is_reason =
                |reason: &RawJson<'_>| reason.as_str().is_some() || content.is_some() && reason.as_count().is_some();
            let mut reason: Option<RawJson<'_>> = None;
            [camel, snake].into_iter().flatten().filter(is_reason).for_each(|word| hear(&mut reason, word));
            // Gemini's words are in capitals.
            let is_word = |reason: RawJson<'_>| reason.whole_str().is_some_and(|word| is_in_capitals(&word.read(64)));
            let is_beside = content.is_some() || index.is_some() || ratings.is_some() || told.or(told_snake).is_some();
            let is_candidate = parts.is_some() || reason.is_some_and(|reason| is_beside || is_word(reason));
            if !is_candidate {
                return;
            }
            (self.is_known, self.is_gemini) = (true, true);
            if index.and_then(RawJson::as_count).is_none_or(|index| index == 0) {
                self.text = self.text.or(parts);
                self.told = self.told.or(told).or(told_snake);
                reason.into_iter().for_each(|reason| hear(&mut self.reason, reason));
                return;
            }
        }
    }

    /// Takes one of [`LISTS`]. The element that counts has the index 0, or none. Titan counts the tokens of the text
    /// beside it.
    fn take_list(&mut self, list: RawJson<'a>, text: &str, reasons: &[&str]) {
        let is_first = |item: &RawJson<'_>| item.get("index").and_then(RawJson::as_count).is_none_or(|at| at == 0);
        let Some(item) = list.elements().find(is_first).or_else(|| list.elements().next()) else { return };
        let [text, count] = pick(item, [text, "tokenCount"]);
        // vLLM writes a null beside the reason.
        let said = || reasons.iter().filter_map(|name| item.get(name));
        let reason = said().find(|reason| reason.is_something()).or_else(|| said().next());
        let (Some(text), Some(reason)) = (text.filter(|text| text.as_str().is_some()), reason) else { return };
        self.is_known = true;
        if !is_first(&item) {
            return;
        }
        self.text = self.text.or(Some(text));
        hear(&mut self.reason, reason);
        self.count(count.map(|count| Counts { output: count.as_count(), ..Counts::default() }));
    }

    /// Adds what other counts name.
    fn count(&mut self, counts: Option<Counts>) {
        self.counts = self.counts.updated(counts.unwrap_or_default());
    }

    /// Returns true if tokens are counted.
    pub(super) fn has_usage(&self) -> bool {
        self.counts.is_some()
    }

    /// Returns the member whose object it is, or [`Name::Raw`] if it is the frame's.
    pub(super) fn under(&self) -> Name {
        self.under.unwrap_or(Name::Raw)
    }

    /// Returns the text, or `None` if there is none. Thoughts are left out.
    pub(super) fn text(&self) -> Option<BoundedText> {
        let mut text = BoundedText::new(MAX_OUTPUT + 4);
        push_parts(self.text?, &mut text);
        Some(text).filter(|text| !text.is_empty())
    }

    /// Returns the word for how the model stopped, or `None` if it says nothing. A number is Gemini's, and one that no
    /// document names is `OTHER`.
    fn word(&self) -> Option<String> {
        let reason = self.reason?;
        let numbered = || {
            let reason = Some(reason).filter(|_| self.is_gemini)?;
            let number = usize::try_from(reason.as_count()?).ok()?;
            Some((*NUMBERED.get(number).unwrap_or(&"OTHER")).to_owned())
        };
        let word = reason.whole_str().map(|word| without_enum(&word.read(64)).to_owned()).or_else(numbered)?;
        Some(word).filter(|word| says_something(word))
    }

    /// Notes how the model stopped, and returns true if it failed or stopped short. That it finished says how its call
    /// ended, and not the run.
    fn note_stop(&self, transcript: &mut Transcript) -> bool {
        let Some(word) = self.word() else {
            if self.is_blocked {
                (transcript.is_understood, transcript.has_stopped) = (true, true);
                transcript.finish = Some(FinishReason::ContentFilter);
            }
            return self.is_blocked;
        };
        transcript.stopped_by(&word);
        if is_word_of_broken(&word) || UNKNOWN.contains(&&*word) {
            let told = self.told.and_then(RawJson::as_str).filter(|told| !told.is_empty());
            let words = told.map_or_else(|| word.clone(), |told| told.read(MAX_WORDS));
            transcript.failure = Some(reported(Some(words)));
        }
        transcript.finish.is_some() || transcript.failure.is_some()
    }
}

/// Returns true for a word of capitals and `_` alone, whatever the enum before it is called.
fn is_in_capitals(word: &str) -> bool {
    let word = without_enum(word);
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// Returns true for a word that is not one of those for nothing.
fn says_something(word: &str) -> bool {
    let is_nothing = ["none", "null", "n/a", "0"].iter().any(|nothing| word.eq_ignore_ascii_case(nothing));
    !word.is_empty() && !word.ends_with(UNSPECIFIED) && !is_nothing
}

/// Returns true for a word, or its number, for why Gemini did not take a prompt.
fn says_blocked(reason: RawJson<'_>) -> bool {
    let is_word = reason.whole_str().is_some_and(|word| says_something(without_enum(&word.read(64))));
    is_word || reason.as_count().is_some_and(|number| number > 0)
}

/// Returns the raw answer that a frame is, or that stands in the place of its answer, and takes its usage as another
/// piece of `call`. A frame about a tool has the agent's own answer at the top alone. Its own usage beside another's
/// answer comes first, and is not taken. Returns `None` for a frame without a raw answer.
pub(super) fn take<'a>(
    frame: &Frame<'a>,
    members: &Members<'a>,
    call: &mut Call,
    transcript: &mut Transcript,
    is_of_tool: bool,
) -> Option<Answer<'a>> {
    let goes_on = call.is_under_way;
    let is_raw = members.has_any(SIGNS) || goes_on && members.has(Name::Usage);
    let top = if is_raw { Answer::of(RawJson::cut(frame.text), goes_on) } else { None };
    let has_own_usage = top.is_none() && members.get(Name::Usage).is_some_and(|usage| Counts::of(usage).is_some());
    let held = |name| {
        let answer = Answer::of(members.get(name).filter(|held| held.is_object())?, false)?;
        Some(Answer { under: Some(name), ..answer })
    };
    let mut answer =
        top.or_else(|| ANSWERS.into_iter().chain([Name::Message]).filter(|_| !is_of_tool).find_map(held))?;
    transcript.is_understood = true;
    if has_own_usage {
        answer.counts = Counts::default();
    }
    if answer.has_usage() {
        call.note(&answer, transcript);
    }
    Some(answer)
}

/// Notes how the model stopped whose raw answer an object is. Returns false if it is none, or the model finished, or it
/// does not say so.
pub(super) fn note_stop(object: RawJson<'_>, transcript: &mut Transcript) -> bool {
    Answer::of(object, false).is_some_and(|answer| answer.note_stop(transcript))
}

/// The tokens of the model's call whose pieces are under way. Each piece repeats those of all before it.
#[derive(Debug, Default)]
pub(super) struct Call {
    counts: Counts,
    id: Vec<u8>,
    is_under_way: bool,
}

impl Call {
    /// Takes the counts of another piece in place of those before. A call begins with another id, and behind the last
    /// piece of the call before. Some of Gemini's models say in each piece that they stopped: only the id tells two of
    /// its calls apart.
    fn note(&mut self, answer: &Answer<'_>, transcript: &mut Transcript) {
        let id = answer.id.and_then(RawJson::whole_str).map(|id| id.read(64).into_bytes());
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| self.id.clone());
        if !self.is_under_way || id != self.id {
            self.counts = Counts::default();
        }
        let counts = self.counts.updated(answer.counts);
        let sum = transcript.progress.usage.get_or_insert_default();
        *sum = sum.minus(Usage::from(self.counts)).plus(Usage::from(counts));
        if answer.ends {
            transcript.metered = *sum;
        }
        *self = Call { counts, id, is_under_way: !answer.ends };
    }
}
