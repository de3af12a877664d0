//! The facts that are kept of a run while its answer streams by: counts, usage, ids, the answer's text, and the last
//! word on its end.

use crate::agent::protocol::{names::is_failure_word, usage::Counts};
use crate::domain::answer::{AnswerError, Interruption, Output, Progress, Verdict, is_plain_id};
use crate::domain::finish_reason::{FinishReason, is_word_of_broken, without_enum};
use crate::domain::usage::Usage;
use crate::json::scan::{RawJson, Str};
use crate::json::text::BoundedText;

/// Bytes of the answer's text that are kept (8 KiB), cut between characters.
pub const MAX_OUTPUT: usize = 8 * 1024;

#[derive(Debug)]
pub(crate) struct Transcript {
    pub(crate) progress: Progress,
    /// The text of the last assistant message, if the stream marks messages.
    pub(crate) text: BoundedText,
    /// The text of frames that belong to no message: the answer if there is no other.
    pub(crate) pieces: BoundedText,
    /// True if the next text begins another message, which replaces the last one.
    between_messages: bool,
    /// The frame under way was too large to keep, and is no document: the reader of a protocol takes no text from it.
    pub(crate) is_muted: bool,
    /// The frame under way is not the recognised protocol's own: the generic rules read it.
    pub(crate) is_foreign: bool,
    /// Something of the answer was understood.
    pub(crate) is_understood: bool,
    /// The last word of the agent, if that was a failure.
    pub(crate) failure: Option<AnswerError>,
    /// What an answer is that ends now, in place of a success: a line that is no frame reported an error, or a frame
    /// said more than was kept of it. Text takes it back, as it does a failure, and the event that ends a protocol's
    /// run takes precedence.
    pub(crate) doubt: Option<Verdict>,
    /// How the agent stopped, as far as it has said.
    pub(crate) finish: Option<FinishReason>,
    /// A frame said how the agent stopped, and was not read a second time for that.
    pub(crate) has_stopped: bool,
    pub(crate) request_id: Option<String>,
    pub(crate) session_id: Option<String>,
    /// The usage up to the last counts of a whole call.
    pub(crate) metered: Usage,
}

impl Transcript {
    /// Creates the transcript of an answer that is not read yet.
    pub(crate) fn new() -> Transcript {
        Transcript {
            progress: Progress::default(),
            text: BoundedText::new(MAX_OUTPUT),
            pieces: BoundedText::new(MAX_OUTPUT),
            between_messages: false,
            is_muted: false,
            is_foreign: false,
            is_understood: false,
            failure: None,
            doubt: None,
            finish: None,
            has_stopped: false,
            request_id: None,
            session_id: None,
            metered: Usage::default(),
        }
    }

    /// Begins an assistant's message. The last one stays until this one has text. The answer counts as understood.
    pub(crate) fn begin_message(&mut self) {
        self.is_understood = true;
        self.between_messages = true;
    }

    /// Begins a message whose role is the assistant's or missing, because only assistants are streamed. After the start
    /// of another role, text is appended to the message before. In any case the answer counts as understood.
    pub(crate) fn begin_message_of(&mut self, role: Option<RawJson<'_>>) {
        self.is_understood = true;
        if role.and_then(RawJson::as_str).is_none_or(|role| role.is("assistant")) {
            self.begin_message();
        }
    }

    /// Returns true if text that comes now changes something: it is kept, replaces another message's, or takes back a
    /// failure. Otherwise the caller need not look for it.
    #[inline(always)]
    pub(crate) fn wants_text(&self) -> bool {
        !self.is_muted && (self.between_messages || self.may_go_on() || !self.text.is_truncated())
    }

    /// Appends a piece of the message's text. The first piece of a message replaces the message before. Text also takes
    /// back a failure that was reported before it, and a doubt, because the agent went on. A missing or empty piece,
    /// and the text of a frame too large to keep, do none of this. In any case the answer counts as understood.
    pub(crate) fn delta(&mut self, text: Option<Str<'_>>) {
        self.is_understood = true;
        let Some(text) = text.filter(|text| !text.is_empty() && !self.is_muted) else { return };
        if std::mem::take(&mut self.between_messages) {
            self.text.clear();
        }
        self.go_on();
        text.push_into(&mut self.text);
    }

    /// Takes the text of a whole message that `write` appends. If there is any, it replaces the text so far and takes
    /// back a failure that was reported before it, and a doubt, and what comes next begins another message. A frame too
    /// large to keep has no text. In any case the answer counts as understood.
    pub(crate) fn message(&mut self, write: impl FnOnce(&mut BoundedText)) {
        self.is_understood = true;
        if self.is_muted {
            return;
        }
        let mut text = BoundedText::new(MAX_OUTPUT);
        write(&mut text);
        if !text.is_empty() {
            self.text = text;
            self.between_messages = true;
            self.go_on();
        }
    }

    /// Adds the token counts of one model call, and notes that the answer was understood. A value that names no count
    /// changes nothing.
    pub(crate) fn add_usage(&mut self, usage: Option<RawJson<'_>>) {
        if let Some(usage) = usage.and_then(Counts::of) {
            self.is_understood = true;
            let sum = self.progress.usage.get_or_insert_default();
            *sum = sum.plus(usage.into());
        }
    }

    /// Takes the token counts of a whole call in place of what was counted since the last ones, and notes that the
    /// answer was understood. A value that names no count changes nothing.
    pub(crate) fn meter(&mut self, usage: Option<RawJson<'_>>) {
        if let Some(usage) = usage.and_then(Counts::of) {
            self.is_understood = true;
            self.metered = self.metered.plus(usage.into());
            self.progress.usage = Some(self.metered);
        }
    }

    /// Replaces the token counts, where an agent sends those of the whole run, and notes that the answer was
    /// understood. A value that names no count changes nothing.
    pub(crate) fn set_usage(&mut self, usage: Option<RawJson<'_>>) {
        if let Some(usage) = usage.and_then(Counts::of) {
            self.is_understood = true;
            self.progress.usage = Some(usage.into());
        }
    }

    /// Notes how the agent says that it stopped, and that it said so. The last word counts, and a word that means a
    /// finished run, or is unknown, takes back a reason before it. `error`, `failed` and similar words, and the words
    /// for a broken answer ([`is_word_of_broken`]), are a failure, too, unless a failure was reported already. A reason
    /// that is no string, is cut off, or is empty or `none`, is ignored.
    pub(crate) fn stopped(&mut self, reason: Option<RawJson<'_>>) {
        if let Some(reason) = reason.and_then(RawJson::whole_str) {
            self.stopped_by(&reason.read(64));
        }
    }

    /// Notes a word for how the agent stopped, as [`Transcript::stopped`] does.
    pub(crate) fn stopped_by(&mut self, reason: &str) {
        self.is_understood = true;
        let reason = without_enum(reason);
        if matches!(reason.trim().to_ascii_lowercase().as_str(), "" | "none" | "null") {
            return;
        }
        self.has_stopped = true;
        // As a state the word says less: a document may be called incomplete.
        let is_incomplete = reason.eq_ignore_ascii_case("incomplete").then_some(FinishReason::Limit);
        // Words of models, of which an agent of its own may mean something else in small letters.
        let of_model = match reason {
            // Gemini flags a text in a language that it does not support as it flags an unsafe one.
            "LANGUAGE" => Some(FinishReason::ContentFilter),
            "TOO_MANY_TOOL_CALLS" => Some(FinishReason::Limit),
            // Cohere's, of the model's context.
            "ERROR_LIMIT" => Some(FinishReason::MaxTokens),
            _ => None,
        };
        self.finish = of_model.or_else(|| FinishReason::from_wire(reason)).or(is_incomplete);
        if is_failure_word(reason) || is_word_of_broken(reason) {
            self.failure.get_or_insert(AnswerError::Reported { message: None });
        }
    }

    /// Returns true if a failure or a doubt was noted, which text that comes now would take back.
    #[inline(always)]
    pub(crate) fn may_go_on(&self) -> bool {
        self.failure.is_some() || self.doubt.is_some()
    }

    /// Takes back a failure that was reported, and a doubt: the agent went on.
    pub(crate) fn go_on(&mut self) {
        self.failure = None;
        self.doubt = None;
    }

    /// Notes an error that a line reports which is no frame. If a frame had reported a failure, the line's words, if it
    /// has any, replace its words. Otherwise the error is a doubt, in place of another one.
    pub(crate) fn doubt_by(&mut self, failure: AnswerError) {
        match &mut self.failure {
            Some(_) if failure == (AnswerError::Reported { message: None }) => {}
            Some(known) => *known = failure,
            None => self.doubt = Some(Verdict::Failed(failure)),
        }
    }

    /// Notes that a frame said more than was kept of it: unless further answer follows, an end in order is no success.
    /// What was reported before comes first.
    pub(crate) fn doubt_the_end(&mut self) {
        self.doubt.get_or_insert(Verdict::Interrupted(Interruption::NoTerminalEvent));
    }

    /// Returns the failure of a run that ends without an event that says how: the one that a frame reported, or else
    /// that of a line which is no frame. Returns `None` if nothing failed.
    pub(crate) fn failed(&self) -> Option<&AnswerError> {
        let by_line = || if let Some(Verdict::Failed(failure)) = &self.doubt { Some(failure) } else { None };
        self.failure.as_ref().or_else(by_line)
    }

    /// Decides a run whose answer ended in order, and that owed no event which says how it ended. Its protocol has no
    /// such event, or none was due: the last message stopped for a tool, say, or a result had come. A failure that was
    /// reported comes first, then what `doubt` holds, then a reason to stop short. Without any of these it is complete.
    pub(crate) fn at_end(&self) -> Verdict {
        match (&self.failure, &self.doubt) {
            (None, Some(doubt)) => doubt.clone(),
            _ => self.last_word(),
        }
    }

    /// Decides a run that an event ended in order by what was said last: a failure that was reported comes first, then
    /// a reason to stop short. Without either it is complete. A doubt does not count, because the event says how the
    /// run ended.
    pub(crate) fn last_word(&self) -> Verdict {
        match (&self.failure, self.finish) {
            (Some(failure), _) => Verdict::Failed(failure.clone()),
            (None, Some(reason)) => Verdict::Incomplete(reason),
            (None, None) => Verdict::Completed,
        }
    }

    /// Decides a run that ended without the event that its protocol promises. A failure that was reported takes
    /// precedence over the interruption.
    pub(crate) fn without_terminal_event(&self) -> Verdict {
        match self.failed() {
            Some(failure) => Verdict::Failed(failure.clone()),
            None => Verdict::Interrupted(Interruption::NoTerminalEvent),
        }
    }

    /// Returns the answer so far: the text of the last message, or the pieces that belong to no message if no message
    /// has text.
    pub(crate) fn answer(&self) -> &BoundedText {
        if self.text.is_empty() { &self.pieces } else { &self.text }
    }

    /// Returns the answer, as [`Transcript::answer`] chooses it, or `None` if it is empty.
    pub(crate) fn into_output(self) -> Option<Output> {
        let text = if self.text.is_empty() { self.pieces } else { self.text };
        let truncated = text.is_truncated();
        Some(text.into_string()).filter(|text| !text.is_empty()).map(|text| Output { text, truncated })
    }

    /// Returns the bytes of memory that the texts hold.
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity() + self.pieces.capacity()
    }
}

impl From<Counts> for Usage {
    /// A count that is absent is zero.
    fn from(counts: Counts) -> Self {
        let Counts { input, output, cache_read, cache_write } = counts;
        Self {
            input_tokens: input.unwrap_or_default(),
            output_tokens: output.unwrap_or_default(),
            cache_read_input_tokens: cache_read.unwrap_or_default(),
            cache_write_input_tokens: cache_write.unwrap_or_default(),
        }
    }
}

/// Returns the member `name` of `of` as an id. Returns `None` if it is missing or cut off, has more than 256 bytes, or
/// does not look like an id ([`is_plain_id`]).
pub(crate) fn id(of: RawJson<'_>, name: &str) -> Option<String> {
    of.get(name)?.whole_str()?.within(256).filter(|id| is_plain_id(id))
}
