//! The meaning of a frame's or a state's name for the end of the run.

use std::borrow::Cow;

use crate::domain::finish_reason::FinishReason;
use crate::json::scan::Str;

/// Returns a name with its escapes read, and without a copy if it has none.
pub(crate) fn name_of(name: Str<'_>) -> Cow<'_, [u8]> {
    if name.has_escapes() { Cow::Owned(name.read(256).into_bytes()) } else { Cow::Borrowed(name.raw()) }
}

/// Returns true if a word that names a frame or a state means that something failed: `error`, `failed` and similar
/// words, or a name that ends with one, such as `agent_error`, `run.failed` and `RuntimeError`. A tool's failure is not
/// the run's.
pub(crate) fn is_failure_word(word: &str) -> bool {
    const ENDS: [&str; 4] = ["error", "failed", "failure", "exception"];
    let lower = word.to_ascii_lowercase();
    if lower.contains("tool") || lower == "no_error" {
        return false;
    }
    let ends_so = |end: &&str| {
        let Some(before) = lower.strip_suffix(*end) else { return false };
        let is_camel = word[before.len()..].starts_with(|c: char| c.is_ascii_uppercase())
            && before.ends_with(|_: char| word[..before.len()].ends_with(|c: char| c.is_ascii_lowercase()));
        before.is_empty() || before.ends_with(['_', '-', '.', ':', '/', ' ']) || is_camel
    };
    matches!(lower.as_str(), "errored" | "fail" | "fatal" | "crashed" | "crash") || ENDS.iter().any(ends_so)
}

/// Returns the reason if a frame of this name, type or event means that the agent stopped to wait for a person, was
/// cancelled, or refused, and otherwise `None`. Other words for stopping short have too many meanings to be believed as
/// a frame's name.
pub(crate) fn stop_by_name(name: &str) -> Option<FinishReason> {
    let lower = name.to_ascii_lowercase();
    if matches!(lower.as_str(), "approval" | "approval_request" | "approval-request" | "human_input_request") {
        return Some(FinishReason::Interrupt);
    }
    FinishReason::from_wire(name)
        .filter(|reason| reason.waits() || matches!(reason, FinishReason::Cancelled | FinishReason::Refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_failure_ends_in_one() {
        for name in ["error", "ERROR", "Failed", "failure", "errored", "exception", "agent_error", "run.failed"] {
            assert!(is_failure_word(name), "{name}");
        }
        for name in ["RuntimeError", "agentFailed", "on_chain_error", "run:failure", "node/exception"] {
            assert!(is_failure_word(name), "{name}");
        }
        for name in ["", "terror", "no_error", "errors", "error_free", "tool_error", "on_tool_error", "ToolFailed"] {
            assert!(!is_failure_word(name), "{name}");
        }
    }

    #[test]
    fn a_name_of_waiting_is_believed_and_others_are_not() {
        for (name, reason) in [
            ("interrupt", Some(FinishReason::Interrupt)),
            ("approval_request", Some(FinishReason::Interrupt)),
            ("input-required", Some(FinishReason::InputRequired)),
            ("cancelled", Some(FinishReason::Cancelled)),
            ("working", None),
            ("length", None),
            ("limit", None),
            ("text", None),
        ] {
            assert_eq!(stop_by_name(name), reason, "{name}");
        }
    }
}
