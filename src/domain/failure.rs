//! Failures: what went wrong with a run, under a name that never changes, and what Lambda is told of it.

use std::fmt;

use crate::{
    domain::execution::{Row, Status},
    error_chain::CHAIN_LIMIT,
    redact,
};

/// The longest `error` text of a record, in bytes.
pub const ERROR_LIMIT: usize = CHAIN_LIMIT;

/// Why a run failed. The names never change: records, alarms and people's queries hold them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString, strum::IntoStaticStr, strum::VariantArray,
)]
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
    /// No agent of this id is defined, or its definition is unusable.
    AgentNotFound,
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
    /// Returns the name as records and results hold it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the type that a record names, if this version knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
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

    /// Returns the failure that a failed row tells of.
    pub fn of_row(row: &Row) -> Self {
        Self::from_record(row.error_type.as_deref().unwrap_or_default(), row.error.as_deref().unwrap_or_default())
    }

    /// Returns how the last attempt of `row` ended: it failed, or it died. The agent's own words are kept.
    pub fn of_last_attempt(row: &Row) -> Self {
        if row.status == Status::Running {
            return Self::interrupted(row);
        }
        let said = row.error.as_deref().and_then(|text| text.split_once('\n'));
        Self { agent_said: said.map(|(_, said)| said.to_owned()), ..Self::of_row(row) }
    }

    /// Returns the failure of an attempt that died.
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
