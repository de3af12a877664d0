//! How the model stopped that wrote a message of LangChain's, which LangGraph, LangServe and AG-UI's adapter for
//! LangGraph send.
//! <https://docs.langchain.com/oss/python/langchain/messages>

use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::words::unpacked;
use crate::agent::transcript::Transcript;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};

/// Notes how the model stopped that wrote a message or an output ([`stop_reason_in`]). What was noted of the message
/// before is taken back if this is another. A failure that was noted is not. While the run waits for a person, nothing
/// changes.
pub(super) fn note_stop(message: RawJson<'_>, is_another: bool, transcript: &mut Transcript) {
    if transcript.finish.is_some_and(FinishReason::waits) {
        return;
    }
    if is_another {
        transcript.finish = None;
    }
    if let Some(reason) = stop_reason_in(message) {
        transcript.stopped(Some(reason));
    }
    let others = unpacked(message).get("additional_kwargs");
    if others.and_then(|others| others.get("refusal")).is_some_and(RawJson::is_something) {
        transcript.finish = Some(FinishReason::Refusal);
    }
}

/// Returns the stop reason of the model that wrote a message, in the word of its provider. LangChain keeps it in the
/// message's `response_metadata`, under the provider's own name, and Anthropic's package for JavaScript in
/// `additional_kwargs`. Returns `None` if there is none.
pub(super) fn stop_reason_of(message: RawJson<'_>) -> Option<RawJson<'_>> {
    let [response, others] = scan::pick(unpacked(message).raw(), ["response_metadata", "additional_kwargs"]);
    // OpenAI's Responses.
    let why_incomplete = || response?.get("incomplete_details")?.get("reason");
    response.and_then(own_of).or_else(why_incomplete).or_else(|| others.and_then(own_of))
}

/// Returns the stop reason of the model that wrote the output of a run: a message, or the result of a model, as version
/// 1 of LangChain's events has it. That is a list of generations for each prompt, and one prompt was sent. Returns
/// `None` if there is none.
pub(super) fn stop_reason_in(output: RawJson<'_>) -> Option<RawJson<'_>> {
    let generations = unpacked(output).get("generations").and_then(RawJson::first_element);
    let Some(first) = generations.map(|first| first.first_element().unwrap_or(first)) else {
        return stop_reason_of(output);
    };
    let [message, info] = scan::pick(unpacked(first).raw(), ["message", "generation_info"]);
    message.and_then(stop_reason_of).or_else(|| own_of(info?))
}

/// Returns the stop reason among the members of an object, under any of its names, if it says something.
fn own_of(object: RawJson<'_>) -> Option<RawJson<'_>> {
    Members::of(object.raw()).get(Name::StopReason).filter(|reason| reason.is_something())
}
