//! LangServe: `/stream`, `/stream_log` and `/stream_events`.
//! <https://github.com/langchain-ai/langserve>

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::answers::push_answer_of;
use crate::agent::protocol::langchain::note_stop;
use crate::agent::protocol::members::Members;
use crate::agent::protocol::names::is_failure_word;
use crate::agent::protocol::reader::{Reader, foreign};
use crate::agent::protocol::words::{
    error_text, is_assistants, is_users, push_last_answer, push_parts, reported, texts, unpacked,
};
use crate::agent::transcript::{MAX_OUTPUT, Transcript};
use crate::domain::answer::{AnswerError, Verdict};
use crate::json::scan::{self, RawJson};
use crate::json::text::BoundedText;

/// Returns true for a frame with one of LangServe's own names and the data that belongs to it: in `data` a chunk, a
/// list of changes or an event as an object, or anything but an object, and in `end` anything but an object that has
/// members. An agent of another kind may use the same names.
pub(super) fn recognises(frame: &Frame<'_>, _: &Members<'_>) -> bool {
    match frame.name {
        b"data" if frame.text.starts_with(b"{") => {
            let object = RawJson::cut(frame.text);
            object.enter_any(&CHUNKS).is_some() || event_of(object).is_some()
        }
        b"data" => true,
        b"end" => !says_something(frame),
        _ => false,
    }
}

/// The members of the data of `/stream` and `/stream_log`.
const CHUNKS: [&str; 3] = ["content", "output", "ops"];

/// Bytes of a run's id that are compared.
const MAX_ID: usize = 64;

/// An event of `/stream_events`.
#[derive(Debug)]
struct Event<'a> {
    name: String,
    data: RawJson<'a>,
    /// The id of the run that it is of, up to 64 bytes.
    run: &'a [u8],
    /// True if the event names a parent of that run. Version 1 of the events and LangChain's JavaScript name none.
    is_part: bool,
}

/// Returns an object as an event of `/stream_events`, or `None` if it is none.
fn event_of(object: RawJson<'_>) -> Option<Event<'_>> {
    let [event, data, run, parents] = scan::pick(object.raw(), ["event", "data", "run_id", "parent_ids"]);
    let name = event.and_then(RawJson::whole_str)?.read(64);
    let data = data.filter(|data| data.is_object() && name.starts_with("on_"))?;
    let is_part = parents.is_some_and(RawJson::is_something);
    let run = run?.raw();
    Some(Event { name, data, run: &run[..run.len().min(MAX_ID)], is_part })
}

/// Returns true if the data of `end` is an object that is not empty: LangServe sends none.
fn says_something(frame: &Frame<'_>) -> bool {
    frame.text.starts_with(b"{") && RawJson::cut(frame.text).is_something()
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// `end` came with data of the agent's own.
    is_over: bool,
    /// The run of `/stream_events` whose answer is read. The others are its parts, or other models.
    run: Vec<u8>,
    /// True if that run is a model's call.
    is_of_model: bool,
    /// True if the beginning of a model's call was told of.
    has_starts: bool,
}

impl Reader for Reading {
    /// Takes a frame by its name. `end` decides the run. If it has data of the agent's own, the generic rules read it,
    /// and the end of the stream decides. The data of `/stream` is a string or a chunk's object, that of `/stream_log`
    /// a list of changes, and that of `/stream_events` an event. `metadata` is ignored; any other object, and a frame
    /// of another name, are left to the generic rules. Returns `None` for a frame that decides nothing.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        match frame.name {
            // The generic rules read it before it decides.
            b"end" if says_something(frame) => {
                self.is_over = true;
                return foreign(transcript);
            }
            b"end" => {
                transcript.is_understood = true;
                return Some(transcript.last_word());
            }
            b"data" => {}
            b"metadata" => return None,
            _ => return foreign(transcript),
        }
        let object = RawJson::cut(frame.text);
        if frame.text.starts_with(b"{") && object.enter_any(&CHUNKS).is_none() {
            let Some(event) = event_of(object) else { return foreign(transcript) };
            transcript.is_understood = true;
            self.take_event(&event, transcript);
            return None;
        }
        transcript.is_understood = true;
        match frame.text {
            [b'"', ..] if transcript.wants_text() && scan::is_whole(frame.text) => {
                transcript.delta(RawJson::whole(frame.text).as_str());
            }
            [b'{', ..] => self.take_chunk(frame, transcript),
            _ => {}
        }
        None
    }

    /// Decides a stream that ended in order without a deciding `end`. If an `end` with data of the agent's own came,
    /// which the generic rules have read, [`Transcript::at_end`] decides. Otherwise the stream is interrupted, or
    /// failed if a failure was reported.
    fn end(&mut self, transcript: &mut Transcript) -> Verdict {
        if self.is_over { transcript.at_end() } else { transcript.without_terminal_event() }
    }

    /// Passes the error over and decides nothing: an output is the application's object, and the server has a frame of
    /// its own for errors.
    fn error_beside(&mut self, _failure: AnswerError, _transcript: &mut Transcript) -> Option<Verdict> {
        None
    }

    /// Returns true: a string is a piece of the text, even if it is JSON.
    fn takes_strings(&self) -> bool {
        true
    }
}

impl Reading {
    /// Takes an object of data. A string or a list of parts under `content`, or otherwise under `output`, is a piece of
    /// the answer, and anything else there is a whole message. Among the changes of `/stream_log`, the one at
    /// `/final_output` holds the answer. Then `content` and `output` are not read.
    fn take_chunk(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) {
        let [ops, content, output] = scan::pick(frame.text, ["ops", "content", "output"]);
        for op in ops.into_iter().flat_map(RawJson::elements) {
            let [path, value] = scan::pick(op.raw(), ["path", "value"]);
            if let Some(value) = value.filter(|_| path.and_then(RawJson::as_str).is_some_and(|p| p.is("/final_output")))
            {
                transcript.message(|out| push_value(value, out));
                note_stop(value, false, transcript);
            }
        }
        if let Some(piece) = content.or(output).filter(|_| ops.is_none()) {
            take_piece(piece, transcript);
            note_stop(RawJson::cut(frame.text), false, transcript);
        }
    }

    /// Turns to the run of an event, if that is the one whose answer is read, and begins a message if it is a model's:
    /// the first run that is no part of another, nor that of a tool, a retriever, a prompt, a parser or the
    /// application. Before it, or where models alone are told of, it is that of the model that began last, and each is
    /// a message. Without the beginnings it is that of the model that speaks.
    fn turn_to(&mut self, event: &Event<'_>, transcript: &mut Transcript) {
        if self.run == event.run || !(self.run.is_empty() || self.is_of_model) {
            return;
        }
        let is = |kinds: &[&str]| kinds.iter().any(|kind| event.name.starts_with(kind));
        if is(&["on_chat_model_", "on_llm_"]) {
            let begins = event.name.ends_with("_start");
            self.has_starts |= begins;
            if !begins && self.has_starts {
                return;
            }
            self.is_of_model = true;
            transcript.finish = None;
            transcript.begin_message();
        } else if event.is_part || is(&["on_tool_", "on_retriever_", "on_prompt_", "on_parser_", "on_custom_event"]) {
            return;
        } else {
            self.is_of_model = false;
        }
        self.run = event.run.to_vec();
    }

    /// Takes an event of `/stream_events`. The chunks of the run itself are pieces of the answer. Its output is the
    /// whole answer, if it has text. Its error is a failure. How a model stopped that is a part of it counts, too: the
    /// output may be text alone.
    fn take_event(&mut self, event: &Event<'_>, transcript: &mut Transcript) {
        self.turn_to(event, transcript);
        let Event { name, data, run, .. } = event;
        if self.run != *run {
            let is_of_part = !self.run.is_empty()
                && !self.is_of_model
                && matches!(name.as_str(), "on_chat_model_end" | "on_llm_end");
            if let Some(output) = data.get("output").filter(|_| is_of_part) {
                note_stop(output, true, transcript);
            }
            return;
        }
        if is_failure_word(name) {
            transcript.failure = Some(reported(data.get("error").and_then(error_text)));
        }
        let [chunk, output] = scan::pick(data.raw(), ["chunk", "output"]);
        if name.ends_with("_stream") {
            let [content, output] = match chunk {
                Some(chunk) if chunk.is_object() => scan::pick(unpacked(chunk).raw(), ["content", "output"]),
                chunk => [chunk, None],
            };
            content.or(output).into_iter().for_each(|piece| take_piece(piece, transcript));
            chunk.filter(|chunk| chunk.is_object()).into_iter().for_each(|chunk| note_stop(chunk, false, transcript));
        } else if name.ends_with("_end")
            && let Some(output) = output
        {
            let mut text = BoundedText::new(MAX_OUTPUT);
            push_output(output, &mut text);
            if !text.is_empty() {
                transcript.message(|out| *out = text);
            }
            note_stop_in(output, transcript);
        }
    }
}

/// Notes how the model stopped that wrote an output: a message, or the assistant's last of its `messages`, if that
/// stands behind the user's last.
fn note_stop_in(output: RawJson<'_>, transcript: &mut Transcript) {
    let messages = output.get("messages");
    let mut last = if messages.is_some() { None } else { Some(output) };
    for message in messages.into_iter().flat_map(RawJson::elements) {
        if is_users(message) {
            last = None;
        } else if is_assistants(message) {
            last = Some(message);
        }
    }
    last.into_iter().for_each(|message| note_stop(message, false, transcript));
}

/// Appends the answer of a run's output: that of a message, or of an agent, or else of the last of its `messages`, or
/// else of an object of the application's own.
fn push_output(output: RawJson<'_>, out: &mut BoundedText) {
    push_value(unpacked(output), out);
    if let Some(messages) = output.get("messages").filter(|_| out.is_empty()) {
        push_last_answer(messages, out);
    }
    if out.is_empty() && output.is_object() {
        push_answer_of(&Members::of(output.raw()), out);
    }
}

/// Takes a piece of the answer: a string or a list of parts. Anything else is a whole message.
fn take_piece(piece: RawJson<'_>, transcript: &mut Transcript) {
    match piece.as_str() {
        Some(text) => transcript.delta(Some(text)),
        // A model that answers in parts sends each chunk as a list of them.
        None if piece.is_array() => texts(piece).for_each(|text| transcript.delta(Some(text))),
        None => transcript.message(|out| push_value(piece, out)),
    }
}

/// Appends the text of an output: a string, a list of parts, or the value under `content`, or otherwise under `output`,
/// of an object.
fn push_value(value: RawJson<'_>, out: &mut BoundedText) {
    if !value.is_object() {
        return push_parts(value, out);
    }
    let [content, output] = scan::pick(value.raw(), ["content", "output"]);
    content.or(output).into_iter().for_each(|text| push_parts(text, out));
}
