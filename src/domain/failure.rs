//! Failures: what went wrong with a run, under a name that never changes, and what Lambda is told of it.

use std::{error::Error, fmt};

use lambda_runtime::Diagnostic;
use serde_json::json;

use crate::{
    agent::AgentError,
    clients::cognito::TokenError,
    domain::answer::{AnswerError, Interruption},
    domain::execution::Row,
    domain::finish_reason::FinishReason,
    events::schedule::InvalidEvent,
    lifecycle::claim::ClaimError,
    redact,
    store::StoreError,
};

/// The longest `error` text of a record, in bytes.
pub const ERROR_LIMIT: usize = 1024;

/// Why a run failed. The names never change: records, alarms and people's queries hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    /// The payload is unusable.
    InvalidEvent,
    /// DynamoDB is unreachable, denies, or throttles beyond the retries.
    RecordStoreFailed,
    /// No token: refused, or Cognito is unreachable.
    AuthenticationFailed,
    /// The agent surely did not accept the call.
    AgentUnavailable,
    /// The agent refused the call for good.
    AgentRejected,
    /// The agent failed, or said so in its answer, or gave none.
    AgentFailed,
    /// The agent ended in order, but stopped short.
    AgentIncomplete,
    /// The answer was torn, or ended without its terminal event.
    StreamInterrupted,
    /// The agent was silent for longer than `AGENT_IDLE_TIMEOUT_SECONDS`.
    StreamStalled,
    /// The invocation's time was nearly up.
    DeadlineExceeded,
    /// Another attempt of this very request still holds the lease.
    InProgress,
    /// An earlier attempt died; the agent may have been called.
    Interrupted,
    /// Another attempt owns the execution now, or another execution may have its trigger's turn.
    LeaseLost,
    /// The trigger item is unusable.
    InvalidTrigger,
    /// Not all triggers of an event could be handed on to invocations of their own.
    DispatchFailed,
    /// A panic or a bug.
    Internal,
}

impl ErrorType {
    const ALL: [Self; 16] = [
        Self::InvalidEvent,
        Self::RecordStoreFailed,
        Self::AuthenticationFailed,
        Self::AgentUnavailable,
        Self::AgentRejected,
        Self::AgentFailed,
        Self::AgentIncomplete,
        Self::StreamInterrupted,
        Self::StreamStalled,
        Self::DeadlineExceeded,
        Self::InProgress,
        Self::Interrupted,
        Self::LeaseLost,
        Self::InvalidTrigger,
        Self::DispatchFailed,
        Self::Internal,
    ];

    /// The name as records and results hold it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidEvent => "InvalidEvent",
            Self::RecordStoreFailed => "RecordStoreFailed",
            Self::AuthenticationFailed => "AuthenticationFailed",
            Self::AgentUnavailable => "AgentUnavailable",
            Self::AgentRejected => "AgentRejected",
            Self::AgentFailed => "AgentFailed",
            Self::AgentIncomplete => "AgentIncomplete",
            Self::StreamInterrupted => "StreamInterrupted",
            Self::StreamStalled => "StreamStalled",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::InProgress => "InProgress",
            Self::Interrupted => "Interrupted",
            Self::LeaseLost => "LeaseLost",
            Self::InvalidTrigger => "InvalidTrigger",
            Self::DispatchFailed => "DispatchFailed",
            Self::Internal => "Internal",
        }
    }

    /// The type a record names, if it is one of ours.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|error_type| error_type.as_str() == name)
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failed run.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable name.
    pub error_type: ErrorType,
    /// One line for everybody: the cause chain, without secret, prompt or answer.
    pub message: String,
    /// What the agent itself said, for the record alone.
    pub agent_said: Option<String>,
    /// Whether a later attempt may run.
    pub retryable: bool,
    /// The fire's trigger, where the event named one.
    pub trigger_id: Option<String>,
    /// The execution, where the fire has one.
    pub execution_id: Option<String>,
}

impl Failure {
    /// A failure that no later attempt mends.
    pub fn fatal(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self {
            error_type,
            message: message.into(),
            agent_said: None,
            retryable: false,
            trigger_id: None,
            execution_id: None,
        }
    }

    /// A failure before the agent was called, after which another attempt may run.
    pub fn retryable(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::fatal(error_type, message) }
    }

    /// That of an attempt which died.
    pub fn interrupted(row: &Row) -> Self {
        let attempt = row.attempt.unwrap_or(1);
        Self::fatal(ErrorType::Interrupted, format!("attempt {attempt} died and may have called the agent"))
    }

    /// The `error` text of the record: the message, and on lines of its own what the agent said.
    pub fn record_text(&self) -> String {
        let mut text = self.message.clone();
        if let Some(said) = self.agent_said.as_deref().filter(|said| !said.is_empty()) {
            text.push('\n');
            text.push_str(said);
        }
        redact::cut(&text, ERROR_LIMIT).to_owned()
    }

    /// The failure a record tells of. Its first line is the message, so that a replay returns what the run returned and
    /// nothing that the agent said.
    pub fn from_record(error_type: &str, text: &str) -> Self {
        let message = text.lines().next().unwrap_or_default();
        Self::fatal(ErrorType::from_name(error_type).unwrap_or(ErrorType::Internal), message)
    }
}

/// Never shows what the agent said: the runtime logs a handler's error through `Debug`.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        let status_code = if failure.error_type == ErrorType::InvalidEvent { 400 } else { 500 };
        Self {
            error_type: failure.error_type.as_str().to_owned(),
            error_message: json!({
                "statusCode": status_code,
                "error": failure.error_type.as_str(),
                "message": failure.message,
                "triggerId": failure.trigger_id,
                "executionId": failure.execution_id,
                "retryable": failure.retryable,
            })
            .to_string(),
        }
    }
}

impl From<InvalidEvent> for Failure {
    fn from(error: InvalidEvent) -> Self {
        let message = error.to_string();
        Self { trigger_id: error.trigger_id, ..Self::fatal(ErrorType::InvalidEvent, message) }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::retryable(ErrorType::RecordStoreFailed, chain(&error))
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        let retryable = error.is_transient();
        Self { retryable, ..Self::fatal(ErrorType::AuthenticationFailed, chain(&error)) }
    }
}

impl From<ClaimError> for Failure {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Store(error) => error.into(),
            ClaimError::Contended => Self::retryable(ErrorType::RecordStoreFailed, error.to_string()),
            ClaimError::InProgress => Self::retryable(ErrorType::InProgress, error.to_string()),
        }
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        let message = chain(&error);
        let fatal = |error_type| Self::fatal(error_type, message.clone());
        match error {
            AgentError::Unavailable { .. } => Self::retryable(ErrorType::AgentUnavailable, message),
            AgentError::Unauthorized => fatal(ErrorType::AgentRejected),
            AgentError::Rejected { said, .. } => Self { agent_said: said, ..fatal(ErrorType::AgentRejected) },
            AgentError::Failed { said, .. } => Self { agent_said: said, ..fatal(ErrorType::AgentFailed) },
            AgentError::NoAnswer(_) | AgentError::HeadTooLarge => fatal(ErrorType::AgentFailed),
            AgentError::Torn(_) => fatal(ErrorType::StreamInterrupted),
            AgentError::Stalled(_) | AgentError::TimedOut(_) => fatal(ErrorType::StreamStalled),
            AgentError::Request(_) => fatal(ErrorType::Internal),
        }
    }
}

impl From<AnswerError> for Failure {
    fn from(failure: AnswerError) -> Self {
        let message = failure.to_string();
        let agent_said = match failure {
            AnswerError::Reported { message } => message,
            AnswerError::NotJson | AnswerError::Empty => None,
        };
        Self { agent_said, ..Self::fatal(ErrorType::AgentFailed, message) }
    }
}

impl From<FinishReason> for Failure {
    fn from(reason: FinishReason) -> Self {
        Self::fatal(ErrorType::AgentIncomplete, format!("the agent stopped short: {reason}"))
    }
}

impl From<Interruption> for Failure {
    fn from(interruption: Interruption) -> Self {
        Self::fatal(ErrorType::StreamInterrupted, interruption.to_string())
    }
}

/// `error` and its causes on one line, each said once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    redact::cut(&text.replace(char::is_control, " "), ERROR_LIMIT).to_owned()
}
