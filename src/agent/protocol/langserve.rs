//! LangServe: `/stream` and `/stream_log`. <https://github.com/langchain-ai/langserve>

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::members::Members;
use crate::agent::protocol::words::push_parts;
use crate::agent::protocol::{failure::failure_in, reader::Reader};
use crate::agent::transcript::Transcript;
use crate::domain::answer::Verdict;
use crate::json::scan::{self, RawJson};
use crate::json::text::BoundedText;

/// Returns true for a frame with one of LangServe's own names.
pub(super) fn recognises(frame: &Frame<'_>, _: &Members<'_>) -> bool {
    is_own_name(frame.name)
}

/// Returns true if a frame's name is one of LangServe's.
pub(super) fn is_own_name(name: &[u8]) -> bool {
    matches!(name, b"data" | b"end")
}

#[derive(Debug, Default)]
pub(super) struct Reading;

impl Reader for Reading {
    /// Takes a frame by its name. `end` decides the run. The data of `/stream` is a string or a chunk's object, that of
    /// `/stream_log` a list of changes. `metadata` is ignored; a frame of another name may still report a failure.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        match frame.name {
            b"end" => {
                transcript.is_understood = true;
                return Some(transcript.last_word());
            }
            b"data" => {}
            b"metadata" => return None,
            _ => return failure_in(frame, transcript),
        }
        transcript.is_understood = true;
        if !transcript.wants_text() {
            return None;
        }
        match frame.text {
            [b'"', ..] if scan::is_whole(frame.text) => transcript.delta(RawJson::whole(frame.text).as_str()),
            [b'{', ..] => self.take_chunk(frame, transcript),
            _ => {}
        }
        None
    }

    fn takes_strings(&self) -> bool {
        true
    }
}

impl Reading {
    /// Takes an object of data. A string under `content`, else `output`, is a piece of the answer, and anything else
    /// there is a whole message. Of the changes of `/stream_log` the one at `/final_output` holds the answer; then
    /// `content` and `output` are not looked at.
    fn take_chunk(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) {
        let [ops, content, output] = scan::pick(frame.text, ["ops", "content", "output"]);
        for op in ops.into_iter().flat_map(RawJson::elements) {
            let [path, value] = scan::pick(op.raw(), ["path", "value"]);
            if let Some(value) = value.filter(|_| path.and_then(RawJson::as_str).is_some_and(|p| p.is("/final_output")))
            {
                transcript.message(|out| push_value(value, out));
            }
        }
        if let Some(text) = content.or(output).filter(|_| ops.is_none()) {
            match text.as_str() {
                Some(text) => transcript.delta(Some(text)),
                None => transcript.message(|out| push_value(text, out)),
            }
        }
    }
}

/// Appends the text of an output: a string, or what stands under `content` or `output` of an object.
fn push_value(value: RawJson<'_>, out: &mut BoundedText) {
    match value.as_str() {
        Some(text) => text.push_into(out),
        None => {
            let [content, output] = scan::pick(value.raw(), ["content", "output"]);
            content.or(output).into_iter().for_each(|text| push_parts(text, out));
        }
    }
}
