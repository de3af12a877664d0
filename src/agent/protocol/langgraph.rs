//! The LangGraph server: `/runs/stream` and `/runs/wait`. Graphs in JavaScript are often served without it: their
//! states, updates and chunks then come without a name, and are known by the form of LangChain's messages.
//! <https://langchain-ai.github.io/langgraph/cloud/reference/api/api_ref.html>

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::answers::push_answer_of;
use crate::agent::protocol::duplicates;
use crate::agent::protocol::failure::failure_of;
use crate::agent::protocol::form::Form;
use crate::agent::protocol::langchain::note_stop;
use crate::agent::protocol::members::{Members, Name, Names};
use crate::agent::protocol::reader::{Reader, foreign};
use crate::agent::protocol::usage::Counts;
use crate::agent::protocol::words::{
    error_text, is_assistants, is_users, message_of, message_of_frame, push_content, push_last_answer, push_parts,
    reported, role_of, texts, unpacked,
};
use crate::agent::transcript::{MAX_OUTPUT, Transcript};
use crate::domain::finish_reason::FinishReason;
use crate::domain::{
    answer::{AnswerError, Verdict},
    usage::Usage,
};
use crate::json::scan::{self, RawJson};
use crate::json::text::BoundedText;

/// Returns true for a frame in one of LangGraph's stream modes, or for a document that is a graph's state: with an
/// error, an interrupt, or messages of LangChain's types. `event: metadata` is LangServe's, too, and decides nothing.
pub(super) fn recognises(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    has_own_form(frame, members)
        || (frame.name.is_empty() && mode_of_packed(frame.text).is_some())
        || (frame.is_document()
            && (members.has(Name::GraphError)
                || members.has(Name::GraphInterrupt)
                || members.get(Name::Messages).is_some_and(has_graph_messages)))
}

/// Returns true if a frame's name is that of a stream mode that no other server uses: `values`, `messages` or
/// `updates`, alone or before a `/` or `|`, or `tasks`.
pub(super) fn is_own_name(name: &[u8]) -> bool {
    // A mode may name its part or its subgraph: `messages/partial`, `values|agent:1`.
    let mode = name.split(|byte| matches!(byte, b'/' | b'|')).next().unwrap_or_default();
    matches!(mode, b"values" | b"messages" | b"updates" | b"tasks")
}

/// Returns true if a frame has the name of a stream mode, and its data has the form of that mode. An agent of another
/// kind may use the same names.
fn has_own_form(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    if !is_own_name(frame.name) {
        return false;
    }
    match frame.name {
        [b'v', ..] => {
            members.has_any(const { Names::of(&[Name::GraphError, Name::GraphInterrupt]) })
                || members.get(Name::Messages).is_some_and(RawJson::is_array)
        }
        _ => has_form_of_mode(frame),
    }
}

/// Returns true if the data of a frame of `messages`, `updates` or `tasks` has the form of that mode: a list, an object
/// of one or more nodes' changes, each an object or null, or a task with lists of its triggers or its interrupts. A
/// node called `error` is not believed. The value of `__interrupt__` and the data of a frame of `messages/metadata` may
/// be anything.
fn has_form_of_mode(frame: &Frame<'_>) -> bool {
    match frame.name {
        // Each node has the object that it changed, or null.
        [b'u', ..] => {
            let mut nodes = scan::Members::of(frame.text).peekable();
            frame.text.starts_with(b"{")
                && nodes.peek().is_some()
                && nodes.all(|(name, value)| {
                    let is_change = (value.is_object() || value.is_null()) && !name.is("error");
                    is_change || name.is("__interrupt__")
                })
        }
        [b't', ..] => {
            let lists = scan::pick(frame.text, ["triggers", "interrupts"]);
            lists.into_iter().flatten().any(RawJson::is_array)
        }
        _ => frame.text.starts_with(b"[") || frame.name.starts_with(b"messages/metadata"),
    }
}

/// Returns the mode of data without a name that hold messages of LangChain's JavaScript, as these print themselves: a
/// state, or one message, is of `values`, the changes of nodes are of `updates`, and a list that begins with a chunk,
/// or a chunk, is of `messages`. A list of a mode and its data is a `pair`. Returns `None` for any other data.
fn mode_of_packed(text: &[u8]) -> Option<&'static [u8]> {
    static PACKED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""langchain_core","messages","#));
    PACKED.find(text)?;
    let value = RawJson::cut(text);
    let is_packed = |message: RawJson<'_>| message.get("kwargs").is_some();
    let holds = |value: RawJson<'_>| value.get("messages").is_some_and(|messages| messages.elements().any(is_packed));
    if pair_of(text).is_some() {
        return Some(b"pair");
    }
    if text.starts_with(b"[") {
        return value.first_element().filter(|first| is_packed(*first)).map(|_| &b"messages"[..]);
    }
    if is_packed(value) && role_of(value).is_some_and(|kind| kind.is("AIMessageChunk")) {
        return Some(b"messages");
    }
    if is_packed(value) || holds(value) {
        return Some(b"values");
    }
    let are_nodes = scan::Members::of(text).all(|(_, node)| node.is_object() || node.is_null());
    (are_nodes && scan::Members::of(text).any(|(_, node)| holds(node))).then_some(b"updates")
}

/// Returns the mode and the data of a list of both, as a graph yields them in several modes, or `None` if it is none.
fn pair_of(text: &[u8]) -> Option<(&[u8], &[u8])> {
    text.strip_prefix(b"[").filter(|rest| scan::trim(rest).starts_with(b"\""))?;
    let mut elements = RawJson::cut(text).elements();
    let (mode, data) = (elements.next()?.whole_str()?.raw(), elements.next()?.raw());
    is_own_name(mode).then_some((mode, data))
}

/// Returns true if an element of a list has the `type` `human` or `ai`, LangChain's types of messages.
fn has_graph_messages(messages: RawJson<'_>) -> bool {
    messages.elements().any(|message| {
        let kind = message.get("type").and_then(RawJson::as_str);
        kind.is_some_and(|kind| kind.is("human") || kind.is("ai"))
    })
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The message that chunks belong to.
    message_id: Vec<u8>,
    /// The usage that each mode reports of the same model calls: the first of them that has any counts.
    by_values: Option<Usage>,
    by_updates: Option<Usage>,
    by_chunks: Option<Usage>,
    by_tasks: Option<Usage>,
    form: Form,
}

impl Reader for Reading {
    /// Takes a frame by its mode. One without a name is read as a state. An error in a state decides the run.
    /// `metadata` says nothing, and neither does `end` without an object. The usage of one mode counts, because each
    /// mode reports that of the same model calls. A frame of another name, or without the form of its mode, is left to
    /// the generic rules. Returns `None` for a frame that decides nothing.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        if self.form.is_of(frame) && !transcript.wants_text() {
            return None;
        }
        if let Some((mode, data)) = Some(frame.text).filter(|_| frame.name.is_empty()).and_then(pair_of) {
            return self.read(&Frame { name: mode, data, text: data, ..*frame }, transcript);
        }
        self.form.clear();
        // The mode stands before `/` or `|`; a part or a subgraph may follow. A frame without a name is read as a
        // state.
        let mode = frame.name.split(|byte| matches!(byte, b'/' | b'|')).next().unwrap_or_default();
        let mode = if mode.is_empty() { mode_of_packed(frame.text).unwrap_or_default() } else { mode };
        match mode {
            b"messages" | b"updates" | b"tasks" if !frame.name.is_empty() && !has_form_of_mode(frame) => {
                return foreign(transcript);
            }
            b"end" if frame.text.starts_with(b"{") => return foreign(transcript),
            b"messages" => self.take_chunk(frame, transcript),
            b"values" | b"" => {
                let verdict = self.take_state(frame, transcript);
                self.note_usage(transcript);
                return verdict;
            }
            b"updates" => self.take_updates(frame, transcript),
            b"tasks" => self.take_task(frame, transcript),
            b"metadata" | b"end" => {}
            _ => return foreign(transcript),
        }
        self.note_usage(transcript);
        None
    }

    /// Decides an answer that ends in order by what was said last, as [`Transcript::at_end`] does.
    fn end(&mut self, transcript: &mut Transcript) -> Verdict {
        transcript.at_end()
    }

    /// Passes the error over and decides nothing: a state may have channels of any name, and the server has names of
    /// its own for errors.
    fn error_beside(&mut self, _failure: AnswerError, _transcript: &mut Transcript) -> Option<Verdict> {
        None
    }

    /// Decides the run as failed, in the words of the server's error, or otherwise of the frame.
    fn error(&mut self, frame: &Frame<'_>, _transcript: &mut Transcript) -> Verdict {
        Verdict::Failed(graph_error(RawJson::cut(frame.text)).unwrap_or_else(|| reported(message_of_frame(frame))))
    }
}

/// Returns an error of the server: `error` is its class. `message` describes it, and takes precedence. Returns `None`
/// if it has no words.
fn graph_error(error: RawJson<'_>) -> Option<AnswerError> {
    let message = error.get("message").filter(|message| message.as_str().is_some_and(|text| !text.is_empty()));
    Some(reported(Some(message.and_then(error_text).or_else(|| message_of(error, &[]))?)))
}

/// Returns the sum of `usage` and that of another message. A message that counts nothing leaves `usage` as it is, and
/// `None` counts as 0.
fn added(usage: Option<Usage>, of_message: Option<RawJson<'_>>) -> Option<Usage> {
    match of_message.and_then(Counts::of) {
        Some(counts) => Some(usage.unwrap_or_default().plus(counts.into())),
        None => usage,
    }
}

/// Takes what a node changed. The last answer in its messages replaces the text so far, and the usage of its
/// assistant's messages is added to `usage`.
fn take_change(change: RawJson<'_>, usage: &mut Option<Usage>, transcript: &mut Transcript) {
    let Some(messages) = change.get("messages") else { return };
    transcript.message(|out| push_last_answer(messages, out));
    messages.elements().filter(|message| is_assistants(*message)).map(unpacked).for_each(|message| {
        note_stop(message, true, transcript);
        *usage = added(*usage, message.get("usage_metadata"));
    });
}

impl Reading {
    /// Takes the state of the graph. The last one holds the answer. An error in it decides the run, and takes
    /// precedence over an interrupt, which is only noted. A state that has neither of them nor messages is read by the
    /// generic rules for its answer. It is left to them altogether if it has a stop reason or reports a failure.
    /// Without a name, such a frame is not LangGraph's, and is left to them altogether, too.
    fn take_state(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let names = ["messages", "__error__", "__interrupt__"];
        let state = RawJson::cut(frame.text);
        let [messages, error, interrupt] = duplicates::pick(state, names);
        // The one message of an answer.
        let is_message = || state.get("lc").is_some() && state.get("kwargs").is_some();
        let messages = messages.or_else(|| is_message().then_some(state));
        if messages.is_none() && error.is_none() && interrupt.is_none() {
            // A frame without a name is somebody else's, but a state may have channels of any name.
            if frame.name.is_empty() {
                return foreign(transcript);
            }
            let members = Members::of(frame.text);
            if members.has(Name::StopReason) || failure_of(frame, &members).is_some() {
                return foreign(transcript);
            }
            transcript.message(|out| push_answer_of(&members, out));
            return None;
        }
        transcript.is_understood = true;
        if let Some(error) = error.filter(|error| error.is_something()) {
            return Some(Verdict::Failed(graph_error(error).unwrap_or_else(|| reported(error_text(error)))));
        }
        if let Some(messages) = messages.filter(|_| !transcript.is_muted) {
            self.take_thread(messages, transcript);
        }
        if interrupt.is_some_and(RawJson::is_something) {
            transcript.finish = Some(FinishReason::Interrupt);
        }
        None
    }

    /// Takes the messages of a thread. Only those after the user's last one belong to this run. Their usage replaces
    /// that of the state before, and the larger count of tool calls is kept. The assistant's last one says how the
    /// model stopped.
    fn take_thread(&mut self, messages: RawJson<'_>, transcript: &mut Transcript) {
        let mut text = BoundedText::new(MAX_OUTPUT);
        match messages.is_object() {
            true if is_assistants(messages) => push_content(messages, &mut text),
            true => {}
            false => push_last_answer(messages, &mut text),
        }
        if !text.is_empty() {
            transcript.message(|out| *out = text);
        }
        let mut usage = None::<Usage>;
        let mut tools = 0;
        let mut last = None;
        let one = Some(messages).filter(|message| message.is_object());
        for message in messages.elements().chain(one) {
            if is_users(message) {
                (usage, tools, last) = (None, 0, None);
            }
            if is_assistants(message) {
                let message = unpacked(message);
                last = Some(message);
                usage = added(usage, message.get("usage_metadata"));
                tools += message.get("tool_calls").into_iter().flat_map(RawJson::elements).count() as u64;
            }
        }
        last.into_iter().for_each(|message| note_stop(message, true, transcript));
        self.by_values = usage.or(self.by_values);
        transcript.progress.tool_uses = tools.max(transcript.progress.tool_uses);
    }

    /// Sets the usage of the run so far: that of the states, or otherwise of the updates, the chunks or the tasks. They
    /// report the same model calls and are never added up. If no mode reported any, the count before stays.
    fn note_usage(&self, transcript: &mut Transcript) {
        let usage = self.by_values.or(self.by_updates).or(self.by_chunks).or(self.by_tasks);
        transcript.progress.usage = usage.or(transcript.progress.usage);
    }

    /// Takes the changes of the graph's nodes, by their names. An interrupt is noted. That of a breakpoint, which waits
    /// as well, is an empty list.
    fn take_updates(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) {
        transcript.is_understood = true;
        for (name, value) in scan::Members::of(frame.text) {
            if name.is("__interrupt__") && (value.is_something() || value.is_array()) {
                transcript.finish = Some(FinishReason::Interrupt);
            } else {
                take_change(value, &mut self.by_updates, transcript);
            }
        }
    }

    /// Takes a node's task: what it changed, and what it asks a person.
    fn take_task(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) {
        transcript.is_understood = true;
        let [interrupts, result] = scan::pick(frame.text, ["interrupts", "result"]);
        result.into_iter().for_each(|change| take_change(change, &mut self.by_tasks, transcript));
        if interrupts.is_some_and(RawJson::is_something) {
            transcript.finish = Some(FinishReason::Interrupt);
        }
    }

    /// Takes a chunk of a message: `[chunk, metadata]`, the chunk alone, or the whole of it in the modes `/partial` and
    /// `/complete`. Only the assistant's messages count. A chunk is appended, and begins another message if its id is
    /// another; a whole message replaces the text. The usage of chunks alone is added: a whole message repeats it.
    fn take_chunk(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) {
        transcript.is_understood = true;
        let value = RawJson::cut(frame.text);
        let first = if frame.text.starts_with(b"{") { Some(value) } else { value.first_element() };
        let Some(message) = first.filter(|message| message.is_object()) else { return };
        let kind = role_of(message);
        let message = unpacked(message);
        let [content, id, usage] = scan::pick(message.raw(), ["content", "id", "usage_metadata"]);
        let is_chunk = kind.is_some_and(|kind| kind.is("AIMessageChunk"));
        if !is_chunk && !kind.is_some_and(|kind| kind.is("ai") || kind.is("AIMessage")) {
            return;
        }
        let id = id.map(RawJson::raw).unwrap_or_default();
        let id = &id[..id.len().min(128)];
        note_stop(message, !is_chunk || self.message_id != id, transcript);
        // In a stream the calls come in pieces, and a whole message repeats them.
        if frame.is_document() {
            let calls = message.get("tool_calls").into_iter().flat_map(RawJson::elements);
            transcript.progress.tool_uses += calls.count() as u64;
        }
        if is_chunk && matches!(frame.name, b"messages" | b"") {
            self.by_chunks = added(self.by_chunks, usage);
        }
        let Some(content) = content else { return };
        if frame.name.starts_with(b"messages/") || !is_chunk {
            transcript.message(|out| push_parts(content, out));
            return note_stop(message, false, transcript);
        }
        if self.message_id != id {
            self.message_id = id.to_vec();
            transcript.begin_message();
        }
        if !transcript.wants_text() {
            if usage.and_then(Counts::of).is_none() {
                content.whole_str().into_iter().for_each(|text| self.form.note(frame, text));
            }
            return;
        }
        match content.as_str() {
            Some(text) => transcript.delta(Some(text)),
            None => texts(content).for_each(|text| transcript.delta(Some(text))),
        }
        // The text of the same message takes no failure back.
        note_stop(message, false, transcript);
    }
}
