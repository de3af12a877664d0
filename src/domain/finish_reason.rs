//! The ways in which an agent ends in order without having finished (docs/agents.md, Words for stopping short).

use std::fmt;

use serde_json::Value;

use crate::json::fields::Fields;

/// The way in which an agent stopped short. The names never change: records and settings hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The model reached its token limit or the end of its context window.
    MaxTokens,
    /// The model's provider filtered the content.
    ContentFilter,
    /// A guardrail intervened.
    Guardrail,
    /// The model refused to answer.
    Refusal,
    /// The agent reached a limit of its own, such as its number of turns.
    Limit,
    /// The agent cancelled its run itself.
    Cancelled,
    /// The agent interrupted its run and waits to be resumed, for an approval for example.
    Interrupt,
    /// The agent waits for input.
    InputRequired,
    /// The agent waits for an authorisation.
    AuthRequired,
    /// The agent is still at work.
    Working,
    /// The model paused its turn.
    Pause,
}

impl FinishReason {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::MaxTokens,
        Self::ContentFilter,
        Self::Guardrail,
        Self::Refusal,
        Self::Limit,
        Self::Cancelled,
        Self::Interrupt,
        Self::InputRequired,
        Self::AuthRequired,
        Self::Working,
        Self::Pause,
    ];

    /// Returns the name as records and settings hold it, in lower case with underscores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::ContentFilter => "content_filter",
            Self::Guardrail => "guardrail",
            Self::Refusal => "refusal",
            Self::Limit => "limit",
            Self::Cancelled => "cancelled",
            Self::Interrupt => "interrupt",
            Self::InputRequired => "input_required",
            Self::AuthRequired => "auth_required",
            Self::Working => "working",
            Self::Pause => "pause",
        }
    }

    /// Returns the reason whose name, as [`FinishReason::as_str`] spells it, is exactly `name`. Returns `None` for any
    /// other text.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// Returns true if `acceptFinishReasons` may name the reason. A run that waits for somebody or is still at work has
    /// no result to accept.
    pub fn is_acceptable(self) -> bool {
        !matches!(self, Self::Working | Self::InputRequired | Self::AuthRequired | Self::Interrupt)
    }

    /// Returns true if the run waits for a person, by an interrupt or for input or an authorisation. If an agent has
    /// said so, only further answer takes it back. Any other word does not.
    pub fn waits(self) -> bool {
        matches!(self, Self::Interrupt | Self::InputRequired | Self::AuthRequired)
    }

    /// Returns the reason that an agent's stop reason or state stands for. Returns `None` for the words of a run that
    /// finished and for unknown words. The name of Python's enum may stand before the word. Each SDK spells the words
    /// in its own way, so case, `_`, `-`, spaces and a `TASK_STATE_` before the word do not matter. Timeouts and
    /// budgets are limits. So is every word that is not listed and begins or ends with `limit`, or begins with `max`.
    pub fn from_wire(word: &str) -> Option<Self> {
        let word: String =
            without_enum(word).chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect();
        let word = word.strip_prefix("taskstate").unwrap_or(&word);
        Some(match word {
            "maxtokens" | "maxoutputtokens" | "length" | "tokenlimit" | "modelcontextwindowexceeded" => Self::MaxTokens,
            "contentfilter"
            | "contentfiltered"
            | "safety"
            | "recitation"
            | "blocklist"
            | "blocked"
            | "prohibitedcontent"
            | "spii"
            | "imagesafety"
            | "imagerecitation"
            | "imageprohibitedcontent"
            | "errortoxic"
            | "modelarmor" => Self::ContentFilter,
            "guardrail" | "guardrailintervened" | "tripwire" => Self::Guardrail,
            "refusal" | "refused" => Self::Refusal,
            "cancelled" | "canceled" | "abort" | "aborted" | "usercancel" | "usercancelled" | "usercanceled" => {
                Self::Cancelled
            }
            "interrupt"
            | "interrupted"
            | "suspended"
            | "requiresaction"
            | "actionrequired"
            | "approvalrequired"
            | "requiresapproval"
            | "needsapproval"
            | "pendingapproval"
            | "waitingforapproval"
            | "awaitingapproval"
            | "confirmationrequired"
            | "requiresconfirmation"
            | "needsconfirmation"
            | "waitingforconfirmation"
            | "awaitingconfirmation"
            | "waitingforhuman"
            | "humanintheloop" => Self::Interrupt,
            "inputrequired"
            | "requiresinput"
            | "needsinput"
            | "humaninput"
            | "waitingforinput"
            | "awaitinginput"
            | "humaninputrequired"
            | "userinputrequired"
            | "waitingforuser"
            | "awaitinguser"
            | "waitingforuserinput"
            | "awaitinguserinput" => Self::InputRequired,
            "authrequired" | "authenticationrequired" | "authorizationrequired" => Self::AuthRequired,
            "queued" | "inprogress" | "submitted" | "working" | "running" | "pending" | "processing" => Self::Working,
            "pause" | "paused" | "pauseturn" => Self::Pause,
            "timeout" | "timedout" | "budgetexceeded" => Self::Limit,
            _ if word.starts_with("limit") || word.ends_with("limit") || word.starts_with("max") => Self::Limit,
            _ => return None,
        })
    }
}

/// Returns true for a stop reason that says that the model's text is broken. Gemini has a word for each way in which it
/// may be, and those for a call that is no JSON begin with `MALFORMED_`. Other SDKs write these in small letters.
/// <https://ai.google.dev/api/generate-content#FinishReason>
pub fn is_word_of_broken(word: &str) -> bool {
    let is_malformed = word.get(..10).is_some_and(|begin| begin.eq_ignore_ascii_case("malformed_"));
    is_malformed || matches!(word, "UNEXPECTED_TOOL_CALL" | "MISSING_THOUGHT_SIGNATURE" | "NO_IMAGE" | "IMAGE_OTHER")
}

/// Returns a word without the name of Python's enum before it, as in `FinishReason.MAX_TOKENS`. A name is one if it
/// ends in `reason`, in any case.
pub fn without_enum(word: &str) -> &str {
    let is_enum = |name: &str| name.to_ascii_lowercase().ends_with("reason");
    word.rsplit_once('.').filter(|(name, _)| is_enum(name)).map_or(word, |(_, word)| word)
}

impl fmt::Display for FinishReason {
    /// Writes the name, as [`FinishReason::as_str`] returns it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads `acceptFinishReasons`, an array of reasons' names. Returns `None` if it is absent or null, which leaves the
/// decision to the agent's definition, and for a value that is no array, which is a problem. An empty list accepts
/// nothing. An element that is unknown or cannot be accepted is a problem and is left out. A repeated one counts once.
pub(crate) fn accept_finish_reasons(fields: &mut Fields<'_>) -> Option<Vec<FinishReason>> {
    const NAME: &str = "acceptFinishReasons";
    let given = fields.value(NAME).and_then(Value::as_array).cloned().unwrap_or_default();
    fields.texts(NAME)?;
    let words = given.iter().enumerate().filter_map(|(at, word)| Some((at, word.as_str()?)));
    let mut reasons = Vec::with_capacity(given.len());
    for (at, word) in words {
        let acceptable = FinishReason::ALL.into_iter().filter(|reason| reason.is_acceptable());
        match acceptable.clone().find(|reason| reason.as_str() == word) {
            Some(reason) if reasons.contains(&reason) => {}
            Some(reason) => reasons.push(reason),
            None => {
                let names: Vec<_> = acceptable.map(FinishReason::as_str).collect();
                fields.problem(&format!("{NAME}[{at}]"), &format!("must be one of {}", names.join(", ")));
            }
        }
    }
    Some(reasons)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_place_in_the_list() {
        let members = serde_json::json!({"acceptFinishReasons": [5, "bogus", "limit"]});
        let mut fields = Fields::new("", members.as_object().unwrap());
        assert_eq!(accept_finish_reasons(&mut fields), Some(vec![FinishReason::Limit]));
        let places: Vec<_> = fields.problems.iter().map(|problem| problem.split(':').next().unwrap()).collect();
        assert_eq!(places, [".acceptFinishReasons[0]", ".acceptFinishReasons[1]"], "{:?}", fields.problems);
    }

    #[test]
    fn every_name_reads_back() {
        for reason in FinishReason::ALL {
            assert_eq!(FinishReason::from_name(reason.as_str()), Some(reason));
        }
        assert_eq!(FinishReason::from_name("Max_Tokens"), None);
    }

    #[test]
    fn each_word_on_the_wire_has_its_reason() {
        use FinishReason::*;
        let table: [(FinishReason, &[&str]); 11] = [
            (
                MaxTokens,
                &[
                    "max_tokens",
                    "maxTokens",
                    "max_output_tokens",
                    "MAX_TOKENS",
                    "length",
                    "model_context_window_exceeded",
                    "modelContextWindowExceeded",
                    "FinishReason.MAX_TOKENS",
                ],
            ),
            (
                ContentFilter,
                &[
                    "content_filter",
                    "content_filtered",
                    "contentFiltered",
                    "content-filter",
                    "SAFETY",
                    "RECITATION",
                    "BLOCKLIST",
                    "PROHIBITED_CONTENT",
                    "SPII",
                    "IMAGE_SAFETY",
                    "IMAGE_RECITATION",
                    "IMAGE_PROHIBITED_CONTENT",
                    "MODEL_ARMOR",
                    "ERROR_TOXIC",
                    "FinishReason.SAFETY",
                ],
            ),
            (Guardrail, &["guardrail", "guardrail_intervened", "guardrailIntervened", "tripwire"]),
            (
                Limit,
                &[
                    "limit",
                    "limit_turns",
                    "limit_output_tokens",
                    "limitTurns",
                    "recursion_limit",
                    "iteration_limit",
                    "max_turns",
                    "timeout",
                    "timed out",
                ],
            ),
            (Cancelled, &["cancelled", "canceled", "TASK_STATE_CANCELED", "abort", "USER_CANCEL"]),
            (Interrupt, &["interrupt", "suspended", "requires_action", "approval_required", "REQUIRES-APPROVAL"]),
            (Refusal, &["refusal", "refused"]),
            (Pause, &["pause_turn", "pause", "paused"]),
            (InputRequired, &["input-required", "TASK_STATE_INPUT_REQUIRED"]),
            (AuthRequired, &["auth-required", "TASK_STATE_AUTH_REQUIRED"]),
            (Working, &["queued", "in_progress", "submitted", "working", "TASK_STATE_WORKING", "processing"]),
        ];
        for (reason, words) in table {
            for word in words {
                assert_eq!(FinishReason::from_wire(word), Some(reason), "{word}");
            }
        }
        for word in [
            "",
            "stop",
            "end_turn",
            "endTurn",
            "stop_sequence",
            "tool_use",
            "tool_calls",
            "STOP",
            "completed",
            "success",
            "FinishReason.STOP",
            "the.length",
        ] {
            assert_eq!(FinishReason::from_wire(word), None, "{word}");
        }
    }

    #[test]
    fn a_run_that_waits_or_works_is_never_accepted() {
        let refused =
            [FinishReason::Working, FinishReason::InputRequired, FinishReason::AuthRequired, FinishReason::Interrupt];
        for reason in FinishReason::ALL {
            assert_eq!(reason.is_acceptable(), !refused.contains(&reason), "{reason}");
        }
    }
}
