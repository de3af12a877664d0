//! What is kept of a run while it streams by: counts, usage, ids and the text of the last assistant message.

use crate::agent::decoder::{Failure, MAX_OUTPUT, Output, Progress, Usage, Verdict};
use crate::json::scan::{self, Str, Text, Value};

/// Bytes of an agent's error message that are kept; whoever stores it cuts it further.
const MAX_MESSAGE: usize = 2 * 1024;

/// Bytes of an id beyond which it is no id.
const MAX_ID: usize = 256;

/// What an event of the Strands protocol (`type`) is to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Completion,
    Error,
    MessageStart,
    BlockStart,
    BlockDelta,
    Metadata,
    Other,
}

impl Kind {
    /// The kind of an event that has a `type`, which may stand anywhere at its top level. The first of several counts.
    pub(crate) fn of(event: &[u8]) -> Option<Kind> {
        Value::cut(event).get("type")?.whole_str().map(Kind::named)
    }

    pub(crate) fn named(name: Str<'_>) -> Kind {
        const NAMES: [(&str, Kind); 6] = [
            ("modelContentBlockDeltaEvent", Kind::BlockDelta),
            ("modelContentBlockStartEvent", Kind::BlockStart),
            ("modelMessageStartEvent", Kind::MessageStart),
            ("modelMetadataEvent", Kind::Metadata),
            ("serverCompletionEvent", Kind::Completion),
            ("serverErrorEvent", Kind::Error),
        ];
        NAMES.into_iter().find(|(known, _)| name.is(known)).map_or(Kind::Other, |(_, kind)| kind)
    }
}

/// One event, or the beginning of one that was too large to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    pub(crate) text: &'a [u8],
    /// Set if it was too large: the last byte of it.
    pub(crate) dropped: Option<u8>,
}

impl Event<'_> {
    /// Whether it has its end. Only then is it believed when it says that all went well.
    pub(crate) fn is_whole(self) -> bool {
        self.dropped.map_or_else(|| scan::is_whole(self.text), |last| last == b'}')
    }
}

#[derive(Debug)]
pub(crate) struct Transcript {
    pub(crate) progress: Progress,
    pub(crate) text: Text,
    /// The text is a whole message: what comes next begins another.
    complete: bool,
    pub(crate) request_id: Option<String>,
    pub(crate) session_id: Option<String>,
}

impl Transcript {
    pub(crate) fn new() -> Transcript {
        Transcript {
            progress: Progress::default(),
            text: Text::new(MAX_OUTPUT),
            complete: false,
            request_id: None,
            session_id: None,
        }
    }

    /// Takes an event of the given kind, and decides if it is terminal.
    pub(crate) fn typed(&mut self, kind: Kind, event: Event<'_>) -> Option<Verdict> {
        let value = Value::cut(event.text);
        match kind {
            Kind::Error => {
                let error = value.get("error");
                self.request_id = error.and_then(|error| id(error, "requestId"));
                return Some(Verdict::Failed(Failure::Reported { message: error.and_then(said) }));
            }
            Kind::Completion if event.is_whole() => {
                let metadata = value.get("metadata");
                self.request_id = metadata.and_then(|metadata| id(metadata, "requestId"));
                self.session_id = metadata.and_then(|metadata| id(metadata, "sessionId"));
                return Some(Verdict::Completed);
            }
            Kind::Completion if event.dropped.is_none() => self.progress.skipped_events += 1,
            _ if event.dropped.is_some() => {}
            Kind::MessageStart => self.message_start(value),
            Kind::BlockDelta => self.delta(value),
            Kind::BlockStart => {
                let start = value.enter("start").and_then(|start| start.get("type")).and_then(Value::as_str);
                self.progress.tool_uses += u64::from(start.is_some_and(|start| start.is("toolUseStart")));
            }
            Kind::Metadata => self.usage(value.enter("usage")),
            Kind::Completion | Kind::Other => {}
        }
        None
    }

    /// Begins a message, unless it is not the assistant's. The role may be missing: the agent this replaces a client
    /// of leaves it out, and only assistants are streamed.
    pub(crate) fn message_start(&mut self, start: Value<'_>) {
        let role = start.get("role").or_else(|| start.get("message")?.get("role")).and_then(Value::as_str);
        if role.is_none_or(|role| role.is("assistant")) {
            self.begin();
        }
    }

    /// Appends the text of a delta event.
    pub(crate) fn delta(&mut self, event: Value<'_>) {
        // No more of this message is kept: its end is not even looked for.
        if self.text.is_truncated() && !self.complete {
            return;
        }
        let text = event.enter("delta").and_then(|delta| delta.get("text")).and_then(Value::as_str);
        let Some(text) = text else { return };
        if self.complete {
            self.begin();
        }
        text.push_into(&mut self.text);
    }

    /// Takes a whole message. Others than the assistant's, such as tool results, leave the answer alone.
    pub(crate) fn message(&mut self, message: Value<'_>) {
        if message.get("role").and_then(Value::as_str).is_some_and(|role| role.is("assistant")) {
            self.begin();
            message.push_text(&mut self.text);
            self.complete = true;
        }
    }

    /// Adds the token counts of one model call.
    pub(crate) fn usage(&mut self, usage: Option<Value<'_>>) {
        let count = |name| usage.and_then(|usage| usage.get(name)).and_then(Value::as_count);
        let call = ["inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"].map(count);
        if call.iter().all(Option::is_none) {
            return;
        }
        let [input, output, cache_read, cache_write] = call.map(Option::unwrap_or_default);
        let sum = self.progress.usage.get_or_insert_default();
        *sum = Usage {
            input_tokens: sum.input_tokens.saturating_add(input),
            output_tokens: sum.output_tokens.saturating_add(output),
            cache_read_input_tokens: sum.cache_read_input_tokens.saturating_add(cache_read),
            cache_write_input_tokens: sum.cache_write_input_tokens.saturating_add(cache_write),
        };
    }

    fn begin(&mut self) {
        self.text.clear();
        self.complete = false;
    }
}

/// The text as an output, if there is any.
pub(crate) fn output(text: Text) -> Option<Output> {
    let truncated = text.is_truncated();
    Some(text.into_string()).filter(|text| !text.is_empty()).map(|text| Output { text, truncated })
}

/// What an error says: the string itself, its `message`, the `error` within it, else all of it.
pub(crate) fn said(error: Value<'_>) -> Option<String> {
    let mut text = Text::new(MAX_MESSAGE);
    let inner = ["message", "error"].into_iter().find_map(|name| error.get(name)?.as_str().filter(|s| !s.is_empty()));
    match error.as_str().or(inner) {
        Some(message) => message.push_into(&mut text),
        None if error.is_something() => error.compact_into(&mut text),
        None => {}
    }
    Some(text.into_string()).filter(|message| !message.is_empty())
}

/// Text that is not JSON as a message.
pub(crate) fn words(text: &[u8]) -> Option<String> {
    let mut message = Text::new(MAX_MESSAGE);
    message.push_lossy(text);
    Some(message.into_string()).filter(|message| !message.is_empty())
}

fn id(of: Value<'_>, name: &str) -> Option<String> {
    of.get(name)?.whole_str()?.within(MAX_ID)
}
