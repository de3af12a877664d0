//! The meaning of a frame's or a state's name for the end of the run.

use std::borrow::Cow;

use crate::domain::finish_reason::FinishReason;
use crate::json::scan::Str;

/// Returns a name with its escapes read, and without a copy if it has none. A name with escapes is cut to 256 bytes.
pub(crate) fn name_of(name: Str<'_>) -> Cow<'_, [u8]> {
    if name.has_escapes() { Cow::Owned(name.read(256).into_bytes()) } else { Cow::Borrowed(name.raw()) }
}

/// Returns true if a word that names a frame or a state means that something failed, with or without `Event` or
/// `_event` behind it: `error`, `failed`, `failure` or `exception`, or a name whose last word is one of these four,
/// such as `agent_error`, `run.failed` and `RuntimeError`. `err`, `errored`, `fail`, `fatal`, `crash` and `crashed`
/// count only alone. A name that contains `tool` is none, because a tool's failure is not the run's. Neither is
/// `no_error`.
pub(crate) fn is_failure_word(word: &str) -> bool {
    let word = without_event(word);
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
    matches!(lower.as_str(), "err" | "errored" | "fail" | "fatal" | "crashed" | "crash") || ENDS.iter().any(ends_so)
}

/// Returns the reason if a frame of this name, type or event means that the agent stopped to wait for a person, was
/// cancelled, or refused, and otherwise `None`. Before the word may stand what stopped, as in `RunCancelled` and
/// `workflow.paused`, and behind it `Event`. Behind what stopped, a pause and a timeout are believed, too. Other words
/// for stopping short have too many meanings to be believed as a frame's name.
pub(crate) fn stop_by_name(name: &str) -> Option<FinishReason> {
    let name = without_event(name);
    let lower = name.to_ascii_lowercase();
    if asks_for_approval(&lower) {
        return Some(FinishReason::Interrupt);
    }
    let is_believed =
        |reason: &FinishReason| reason.waits() || matches!(reason, FinishReason::Cancelled | FinishReason::Refusal);
    FinishReason::from_wire(name).filter(is_believed).or_else(|| {
        let word = of_the_run(&lower)?;
        let is_timeout = matches!(word, "timedout" | "timed_out" | "timeout");
        FinishReason::from_wire(word)
            .filter(|reason| is_believed(reason) || *reason == FinishReason::Pause || is_timeout)
    })
}

/// Returns true if a name in small letters means that the agent, or a tool of it, asks a person for an approval. An
/// answer to such a question does not ask.
fn asks_for_approval(name: &str) -> bool {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let asked = name.strip_prefix("tool").unwrap_or(&name);
    const ASKS: [&str; 8] = [
        "approval",
        "approvalrequest",
        "approvalrequested",
        "approvalrequired",
        "approvalneeded",
        "requestapproval",
        "humaninputrequest",
        "confirmationrequest",
    ];
    ASKS.contains(&asked)
}

/// Returns a name without the `Event` or `_event` at its end, with which the names of events end. A name that is
/// nothing else stays.
fn without_event(name: &str) -> &str {
    let short = name.strip_suffix("_event").or_else(|| name.strip_suffix("Event"));
    short.filter(|name| !name.is_empty()).unwrap_or(name)
}

/// Returns what a name in small letters says of the run: what stands behind the words for the run itself. Returns
/// `None` for a name that does not begin with one.
fn of_the_run(name: &str) -> Option<&str> {
    const WHOLES: [&str; 7] = ["run", "agent", "team", "workflow", "thread", "crew", "flow"];
    let mut rest = name;
    while let Some(behind) = WHOLES.iter().find_map(|whole| rest.strip_prefix(whole)) {
        rest = behind.trim_start_matches(['_', '-', '.', ':', '/', ' ']);
    }
    Some(rest).filter(|rest| rest.len() < name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_failure_ends_in_one() {
        for name in ["error", "ERROR", "Failed", "failure", "errored", "exception", "agent_error", "error_event"] {
            assert!(is_failure_word(name), "{name}");
        }
        for name in
            ["WorkflowFailedEvent", "RuntimeError", "agentFailed", "on_chain_error", "run:failure", "node/exception"]
        {
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
            ("RunCancelled", Some(FinishReason::Cancelled)),
            ("TeamRunPaused", Some(FinishReason::Pause)),
            ("workflow.suspended", Some(FinishReason::Interrupt)),
            ("thread.run.requires_action", Some(FinishReason::Interrupt)),
            ("InputRequiredEvent", Some(FinishReason::InputRequired)),
            ("WorkflowTimedOutEvent", Some(FinishReason::Limit)),
            ("timeout", None),
            ("cancelled_event", Some(FinishReason::Cancelled)),
            ("StopEvent", None),
            ("Event", None),
            ("tool_cancelled", None),
            ("paused", None),
            ("run", None),
            ("run_pending", None),
            ("runtime_limit", None),
            ("working", None),
            ("length", None),
            ("limit", None),
            ("text", None),
        ] {
            assert_eq!(stop_by_name(name), reason, "{name}");
        }
    }
}
