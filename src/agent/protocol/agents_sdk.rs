//! The events of OpenAI's Agents SDK, sent on as they are: those of the model, wrapped, and those of the run.
//! <https://openai.github.io/openai-agents-js/guides/streaming/>

use crate::agent::protocol::words::{error_text, message_of, push_content, reported};
use crate::agent::transcript::Transcript;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};

/// The types of the events, in JavaScript and in Python.
const TYPES: [&str; 4] =
    ["raw_model_stream_event", "raw_response_event", "run_item_stream_event", "agent_updated_stream_event"];

/// Returns true if a `type` is that of an event of the SDK.
pub(super) fn is_event(kind: &[u8]) -> bool {
    TYPES.iter().any(|name| kind == name.as_bytes())
}

/// Takes an event of the SDK. The answer is the last message, in pieces or as a whole. A tool that needs an approval
/// makes the run wait, and the stream ends. An event of another agent's turn says nothing.
pub(super) fn take(event: RawJson<'_>, transcript: &mut Transcript) {
    transcript.is_understood = true;
    let [data, name, item] = scan::pick(event.raw(), ["data", "name", "item"]);
    if let Some(data) = data {
        take_of_model(data, transcript);
    }
    let Some(name) = name.and_then(RawJson::whole_str) else { return };
    let raw = item.and_then(|item| item.get("rawItem").or_else(|| item.get("raw_item")));
    match name.read(32).as_str() {
        "message_output_created" => {
            if let Some(message) = raw {
                transcript.message(|out| push_content(message, out));
                let mut parts = message.get("content").into_iter().flat_map(RawJson::elements);
                let has_refused = parts.any(|part| part.get("refusal").is_some_and(RawJson::is_something));
                if has_refused {
                    transcript.finish = Some(FinishReason::Refusal);
                }
            }
        }
        "tool_called" => transcript.progress.tool_uses += 1,
        "tool_approval_requested" => transcript.finish = Some(FinishReason::Interrupt),
        _ => {}
    }
}

/// Takes an event of the model: a piece of text, the beginning of an answer, or its end with the usage and, in Python,
/// the reason for which it is incomplete.
fn take_of_model(data: RawJson<'_>, transcript: &mut Transcript) {
    let [kind, delta, response] = scan::pick(data.raw(), ["type", "delta", "response"]);
    let kind = kind.and_then(RawJson::whole_str).map(|kind| kind.read(64)).unwrap_or_default();
    match kind.as_str() {
        "output_text_delta" | "response.output_text.delta" => {
            let text = delta.and_then(RawJson::as_str);
            if text.is_some_and(|text| !text.is_empty()) {
                transcript.finish = None;
            }
            transcript.delta(text);
        }
        // Another turn, or another try. Only its text takes back how the one before it ended.
        "response_started" | "response.created" => transcript.begin_message(),
        "response.failed" | "error" => {
            let error = response.and_then(|response| response.get("error"));
            transcript.failure = Some(reported(error.and_then(error_text).or_else(|| message_of(data, &["code"]))));
        }
        "response.cancelled" => transcript.finish = Some(FinishReason::Cancelled),
        "response_done" | "response.completed" => {
            transcript.add_usage(response.and_then(|response| response.get("usage")));
        }
        "response.incomplete" => {
            let reason = response.and_then(|response| response.get("incomplete_details")?.get("reason")?.whole_str());
            let reason = reason.and_then(|reason| FinishReason::from_wire(&reason.read(64)));
            transcript.finish = Some(reason.unwrap_or(FinishReason::Limit));
        }
        _ => {}
    }
}
