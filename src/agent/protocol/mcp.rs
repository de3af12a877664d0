//! MCP's `tools/call` over streamable HTTP.
//! <https://modelcontextprotocol.io/specification/2025-06-18/basic/transports>

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::members::{Members, Name, Names};
use crate::agent::protocol::reader::{Reader, decided, foreign};
use crate::agent::protocol::words::{message_of, push_content, push_parts, reported};
use crate::agent::transcript::Transcript;
use crate::domain::answer::{AnswerError, Interruption, Verdict};
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson, Str};
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
    /// result with `isError` is a failure in the words of its content, and one that is not yet that of the tool stopped
    /// short. A result without content is written as the JSON of its `structuredContent`. Notifications and requests of
    /// the server are ignored. A frame without `jsonrpc` is left to the generic rules. Returns `None` for a frame that
    /// decides nothing.
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
        let [is_error, content, structured, kind, task] =
            scan::pick(result.raw(), ["isError", "content", "structuredContent", "resultType", "task"]);
        if is_error.is_some_and(RawJson::is_true) {
            let mut words = BoundedText::new(2 * 1024);
            content.into_iter().for_each(|content| push_parts(content, &mut words));
            let words = Some(words.into_string()).filter(|words| !words.is_empty());
            return Some(Verdict::Failed(reported(words)));
        }
        transcript.message(|out| {
            push_content(result, out);
            if let Some(structured) = structured.filter(|value| out.is_empty() && value.is_something()) {
                structured.compact_into(out);
            }
        });
        let verdict = match (kind.and_then(RawJson::whole_str), task.filter(|task| task.is_object())) {
            (_, Some(task)) => take_task(task, transcript),
            (Some(kind), None) if !kind.is("complete") => take_interim(kind, transcript),
            _ => Verdict::Completed,
        };
        match verdict {
            failed @ Verdict::Failed(_) => Some(failed),
            verdict => decided(frame, transcript, verdict),
        }
    }

    /// Decides the run with `failure`: a response of JSON-RPC that has an error is one.
    fn error_beside(&mut self, failure: AnswerError, _transcript: &mut Transcript) -> Option<Verdict> {
        Some(Verdict::Failed(failure))
    }
}

/// Decides a run whose result is of the type `kind`, another than the tool's own. It is incomplete with the reason that
/// the type names, `Working` for a `task`. For an unknown type it is interrupted, because it is only known that the
/// tool's result did not come. The reason is noted.
fn take_interim(kind: Str<'_>, transcript: &mut Transcript) -> Verdict {
    let kind = kind.read(64);
    let reason = if kind == "task" { Some(FinishReason::Working) } else { FinishReason::from_wire(&kind) };
    transcript.finish = reason;
    reason.map_or(Verdict::Interrupted(Interruption::NoTerminalEvent), Verdict::Incomplete)
}

/// Decides a run whose result is a task, which the server goes on with. A task that failed is a failure in the words of
/// its `statusMessage`. Any other is incomplete with the reason that its status names, or `Working`, because the tool's
/// result has yet to be fetched. The reason is noted.
fn take_task(task: RawJson<'_>, transcript: &mut Transcript) -> Verdict {
    let [status, message] = scan::pick(task.raw(), ["status", "statusMessage"]);
    let status = status.and_then(RawJson::whole_str).map(|status| status.read(64)).unwrap_or_default();
    if status == "failed" {
        return Verdict::Failed(reported(message.and_then(RawJson::as_str).map(|words| words.read(2 * 1024))));
    }
    let reason = FinishReason::from_wire(&status).unwrap_or(FinishReason::Working);
    transcript.finish = Some(reason);
    Verdict::Incomplete(reason)
}
