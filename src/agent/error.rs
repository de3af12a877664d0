//! The reasons why an agent's answer cannot be used, and the failures of the run that they are.

use std::time::Duration;

use reqwest::StatusCode;

use crate::{
    agent::head::UnreadableHead,
    domain::failure::{ErrorType, Failure},
    error_chain::chain,
};

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It surely did not take the call: another try is safe.
    #[error("the agent is unavailable: {cause}")]
    Unavailable {
        /// The status or what happened to the connection.
        cause: String,
        /// The time that the agent asks to wait.
        retry_after: Option<Duration>,
        /// The beginning of the body, for the record alone. `None` if there is none, or it is compressed or empty.
        said: Option<String>,
    },
    /// It refused the token.
    #[error("the agent answered 401 Unauthorized")]
    Unauthorized {
        /// The beginning of the body, for the record alone. `None` if there is none, or it is compressed or empty.
        said: Option<String>,
    },
    /// It refused the call for good.
    #[error("the agent answered {status}")]
    Rejected {
        /// The status.
        status: StatusCode,
        /// The beginning of the body, for the record alone. `None` if there is none, or it is compressed or empty.
        said: Option<String>,
    },
    /// It failed.
    #[error("the agent answered {status}")]
    Failed {
        /// The status.
        status: StatusCode,
        /// The beginning of the body, for the record alone. `None` if there is none, or it is compressed or empty.
        said: Option<String>,
    },
    /// It answered with something that is no answer.
    #[error(transparent)]
    NoAnswer(#[from] UnreadableHead),
    /// The head of its answer is larger than hyper reads: 100 headers, about 400 KiB.
    #[error("the head of the agent's answer is too large: at most 100 headers are read")]
    HeadTooLarge,
    /// It took the call, and its platform gave it up: AgentCore's 408.
    #[error("the agent answered {0}")]
    TimedOut(StatusCode),
    /// The connection broke after the request was sent.
    #[error("the connection to the agent broke: {0}")]
    Torn(String),
    /// Nothing came for this time.
    #[error("the agent was silent for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The request cannot be built.
    #[error("the request to the agent cannot be built: {0}")]
    Request(String),
}

impl AgentError {
    /// Returns true if the answer may have been lost on its way: what stands before an agent answers 502, 503 or 504
    /// for it, after it has passed the request on, too. The agent may be at work then.
    pub(crate) fn may_be_of_a_gateway(&self) -> bool {
        matches!(self, Self::Failed { status, .. } if matches!(status.as_u16(), 502..=504))
    }

    /// Returns true if the agent refuses the caller, by 401 or 403. Some agents answer a wrong key with the one, others
    /// with the other.
    pub(crate) fn refuses_caller(&self) -> bool {
        match self {
            Self::Unauthorized { .. } => true,
            Self::Rejected { status, .. } => *status == StatusCode::FORBIDDEN,
            _ => false,
        }
    }
}

impl From<AgentError> for Failure {
    /// Returns the failure of the run, with the beginning of the agent's error body if there is one. Only an agent that
    /// surely did not take the call leaves a failure that another attempt may repair.
    fn from(error: AgentError) -> Self {
        let message = chain(&error);
        let fatal = |error_type| Self::fatal(error_type, message.clone());
        match error {
            AgentError::Unavailable { said, .. } => {
                Self { agent_said: said, ..Self::retryable(ErrorType::AgentUnavailable, message) }
            }
            AgentError::Unauthorized { said } | AgentError::Rejected { said, .. } => {
                Self { agent_said: said, ..fatal(ErrorType::AgentRejected) }
            }
            AgentError::Failed { said, .. } => Self { agent_said: said, ..fatal(ErrorType::AgentFailed) },
            AgentError::NoAnswer(_) | AgentError::HeadTooLarge => fatal(ErrorType::AgentFailed),
            AgentError::Torn(_) => fatal(ErrorType::StreamInterrupted),
            AgentError::Stalled(_) | AgentError::TimedOut(_) => fatal(ErrorType::StreamStalled),
            AgentError::Request(_) => fatal(ErrorType::Internal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_an_agent_may_have_lost_its_answer() {
        for (status, is_lost) in [(500, false), (501, false), (502, true), (503, true), (504, true), (529, false)] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(AgentError::Failed { status, said: None }.may_be_of_a_gateway(), is_lost, "{status}");
            assert!(!AgentError::Rejected { status, said: None }.may_be_of_a_gateway(), "{status}");
        }
    }
}
