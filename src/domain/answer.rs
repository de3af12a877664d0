//! The facts of an agent's answer: how it ended, what it said, what it cost.

use crate::domain::{
    failure::{ErrorType, Failure},
    finish_reason::FinishReason,
    protocol::Protocol,
    usage::Usage,
};

/// The way in which an answer's body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The last chunk, the whole content-length, or HTTP/2's end of stream: nothing is missing.
    Framed,
    /// The connection was reset or merely closed, or the caller gave up.
    Torn,
}

/// The result of the agent's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The agent finished.
    Completed,
    /// The agent ended in order but stopped short: `AgentIncomplete`.
    Incomplete(FinishReason),
    /// The agent failed: `AgentFailed`.
    Failed(AnswerError),
    /// Nobody knows: `StreamInterrupted`.
    Interrupted(Interruption),
}

/// The reason why an answer is a failure. `Display` never shows the agent's words, and may be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The agent said so in its answer.
    #[error("the agent reported an error")]
    Reported {
        /// The agent's own words, at most 2 KiB: for the record alone.
        message: Option<String>,
    },
    /// A body that should be a JSON document is not JSON.
    #[error("the answer is not JSON")]
    NotJson,
    /// The body is empty.
    #[error("the answer is empty")]
    Empty,
}

/// The reason why an answer tells nothing about the run's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Interruption {
    /// The connection ended before the body did.
    #[error("the connection closed before the answer ended")]
    Torn,
    /// The body ended well, without the event that says how the run did.
    #[error("the answer ended without its terminal event")]
    NoTerminalEvent,
    /// The body ended well, within an event.
    #[error("the answer ended within an event")]
    WithinEvent,
    /// The body ended well, without any event.
    #[error("the answer held no event")]
    Empty,
}

/// The progress of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Lines that are not blank, SSE frames with data, the elements of a JSON array, or the one document; those skipped
    /// included.
    pub events: u64,
    /// Bytes of the body, up to the end of the terminal event.
    pub bytes: u64,
    /// Events too large to keep, NDJSON lines that say nothing, and completion events that are cut off.
    pub skipped_events: u64,
    /// Tools the model asked for.
    pub tool_uses: u64,
    /// `None` until a model call reported any.
    pub usage: Option<Usage>,
}

/// The text of the agent's last message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Not empty, at most 8 KiB.
    pub text: String,
    /// True if there was more.
    pub truncated: bool,
}

/// All that is left of an answer when it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The result of the run.
    pub verdict: Verdict,
    /// The protocol that the answer was read by.
    pub protocol: Protocol,
    /// The way in which the agent stopped short. It may stand beside a failure, and beside a completion that was
    /// accepted.
    pub finish_reason: Option<FinishReason>,
    /// The text. It is present only for a run that completed or stopped short, and only if there was text.
    pub output: Option<Output>,
    /// The agent's request id, from the terminal event.
    pub request_id: Option<String>,
    /// The session, from the completion event.
    pub session_id: Option<String>,
    /// The final counts.
    pub progress: Progress,
    /// The agent's acknowledgement that it works on after its answer, if the answer is one.
    pub acknowledgement: Option<Acknowledgement>,
}

/// An agent's acknowledgement of a detached run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The interval at which the agent promises to report, in seconds.
    pub heartbeat_seconds: Option<u32>,
}

impl Outcome {
    /// Returns the outcome of an answer that acknowledges the run and is no result: the agent is still at work. The
    /// verdict becomes `Incomplete(Working)`, the finish reason `Working`, and the output is dropped. `acknowledgement`
    /// is set. All else stays.
    #[must_use]
    pub fn acknowledged(self, acknowledgement: Acknowledgement) -> Self {
        let (verdict, reason) = (Verdict::Incomplete(FinishReason::Working), Some(FinishReason::Working));
        Self { verdict, finish_reason: reason, output: None, acknowledgement: Some(acknowledgement), ..self }
    }

    /// Returns the outcome with the verdict `Completed` if the agent stopped short for a reason that `accepted` names.
    /// The reason stays beside the verdict. Any other outcome is returned as it is: a failure never becomes a
    /// completion. A run that waits for somebody or is still at work is never accepted, even if `accepted` names its
    /// reason.
    #[must_use]
    pub fn accept(self, accepted: &[FinishReason]) -> Self {
        match self.verdict {
            Verdict::Incomplete(reason) if reason.is_acceptable() && accepted.contains(&reason) => {
                Self { verdict: Verdict::Completed, ..self }
            }
            _ => self,
        }
    }
}

impl From<AnswerError> for Failure {
    /// Returns a failure `AgentFailed` that no attempt repairs. The agent's own words go into `agent_said`, not into
    /// the message.
    fn from(error: AnswerError) -> Self {
        let message = error.to_string();
        let agent_said = match error {
            AnswerError::Reported { message } => message,
            AnswerError::NotJson | AnswerError::Empty => None,
        };
        Self { agent_said, ..Self::fatal(ErrorType::AgentFailed, message) }
    }
}

impl From<FinishReason> for Failure {
    /// Returns a failure `AgentIncomplete` that no attempt repairs. Its message names the reason.
    fn from(reason: FinishReason) -> Self {
        Self::fatal(ErrorType::AgentIncomplete, format!("the agent stopped short: {reason}"))
    }
}

impl From<Interruption> for Failure {
    /// Returns a failure `StreamInterrupted` that no attempt repairs, because the agent may have done its work.
    fn from(interruption: Interruption) -> Self {
        Self::fatal(ErrorType::StreamInterrupted, interruption.to_string())
    }
}

/// Bytes of an id beyond which it is no id.
const MAX_ID: usize = 256;

/// Returns true if a text that an agent calls an id looks like one: it has 1 to 256 bytes, and only ASCII letters and
/// digits and the characters `._:=/+-`. An agent could put anything into it, the prompt included, and ids are logged.
pub fn is_plain_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= MAX_ID
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:=/+-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(verdict: Verdict, finish_reason: Option<FinishReason>) -> Outcome {
        Outcome {
            verdict,
            protocol: Protocol::Generic,
            finish_reason,
            output: None,
            request_id: None,
            session_id: None,
            progress: Progress::default(),
            acknowledgement: None,
        }
    }

    #[test]
    fn accepts_only_what_is_named_and_may_be_named() {
        let all = FinishReason::ALL;
        for reason in all {
            let stopped = outcome(Verdict::Incomplete(reason), Some(reason));
            assert_eq!(stopped.clone().accept(&[]), stopped);
            let others: Vec<_> = all.into_iter().filter(|other| *other != reason).collect();
            assert_eq!(stopped.clone().accept(&others), stopped);
            let accepted = stopped.accept(&all);
            assert_eq!(accepted.verdict == Verdict::Completed, reason.is_acceptable(), "{reason}");
            assert_eq!(accepted.finish_reason, Some(reason));
        }
    }

    #[test]
    fn accepts_no_failure() {
        let failed = Verdict::Failed(AnswerError::Reported { message: None });
        for verdict in [failed, Verdict::Interrupted(Interruption::Torn)] {
            let outcome = outcome(verdict, Some(FinishReason::MaxTokens));
            assert_eq!(outcome.clone().accept(&FinishReason::ALL), outcome);
        }
    }
}
