//! How the model stopped that wrote a message of LangChain's, which LangGraph, LangServe and AG-UI's adapter for
//! LangGraph send.
//! <https://docs.langchain.com/oss/python/langchain/messages>

use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::words::unpacked;
use crate::agent::transcript::Transcript;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};

/// Notes how the model stopped that wrote a message. What was noted of the message before is taken back if this is
/// another. While the run waits for a person, nothing changes.
pub(super) fn note_stop(message: RawJson<'_>, is_another: bool, transcript: &mut Transcript) {
    if transcript.finish.is_some_and(FinishReason::waits) {
        return;
    }
    if is_another {
        transcript.finish = None;
    }
    if let Some(reason) = stop_reason_of(message) {
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
    fn own(of: RawJson<'_>) -> Option<RawJson<'_>> {
        Members::of(of.raw()).get(Name::StopReason).filter(|reason| reason.is_something())
    }
    let [response, others] = scan::pick(unpacked(message).raw(), ["response_metadata", "additional_kwargs"]);
    // OpenAI's Responses.
    let why_incomplete = || response?.get("incomplete_details")?.get("reason");
    response.and_then(own).or_else(why_incomplete).or_else(|| others.and_then(own))
}
