//! MCP's `tools/call` over streamable HTTP.
//! <https://modelcontextprotocol.io/specification/2025-06-18/basic/transports>

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::members::{Members, Name, Names};
use crate::agent::protocol::reader::{Reader, decided, foreign};
use crate::agent::protocol::words::{message_of, push_content, push_parts, reported};
use crate::agent::transcript::Transcript;
use crate::domain::answer::{AnswerError, Verdict};
use crate::json::scan::{self, RawJson};
use crate::json::text::BoundedText;

/// Returns true for any message of JSON-RPC: it has `jsonrpc`, and a `result`, an `error` or a `method`. A2A must be
/// ruled out before.
pub(super) fn recognises(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    members.has(Name::Jsonrpc)
        && (members.has_any(const { Names::of(&[Name::Result, Name::Error]) })
            || RawJson::cut(frame.text).get("method").is_some())
}

#[derive(Debug, Default)]
pub(super) struct Reading;

impl Reader for Reading {
    /// Takes a JSON-RPC message. A result or an error decides the run. An error takes precedence over a result. A
    /// result with `isError` is a failure in the words of its content. Notifications and requests of the server are
    /// ignored. A frame without `jsonrpc` is left to the generic rules.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        // Notifications, and requests of the server's, come before the answer.
        let kind = RawJson::cut(frame.text).enter_any(&["method", "result", "error"]);
        if kind.is_some_and(|(at, _)| at == 0) {
            transcript.is_understood = true;
            return None;
        }
        let [version, result, error] = scan::pick(frame.text, ["jsonrpc", "result", "error"]);
        if version.is_none() {
            return foreign(transcript);
        }
        transcript.is_understood = true;
        if error.is_some_and(RawJson::is_something) {
            return Some(Verdict::Failed(reported(message_of(RawJson::cut(frame.text), &[]))));
        }
        let result = result?;
        let [is_error, content] = scan::pick(result.raw(), ["isError", "content"]);
        if is_error.is_some_and(RawJson::is_true) {
            let mut words = BoundedText::new(2 * 1024);
            content.into_iter().for_each(|content| push_parts(content, &mut words));
            let words = Some(words.into_string()).filter(|words| !words.is_empty());
            return Some(Verdict::Failed(reported(words)));
        }
        transcript.message(|out| push_content(result, out));
        decided(frame, transcript, Verdict::Completed)
    }

    /// Decides the run with `failure`: a response of JSON-RPC that has an error is one.
    fn error_beside(&mut self, failure: AnswerError, _transcript: &mut Transcript) -> Option<Verdict> {
        Some(Verdict::Failed(failure))
    }
}
