//! Failures: what went wrong with a run, under a name that never changes, and what Lambda is told about it.

use std::fmt;

use crate::{
    domain::{
        execution::{Row, Status},
        ids::{ExecutionId, TriggerId},
    },
    error_chain::CHAIN_LIMIT,
    redact,
};

/// The longest `error` text of a record, in bytes.
pub const ERROR_LIMIT: usize = CHAIN_LIMIT;

/// The reason why a run failed. The names never change, because records, alarms and people's queries hold them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString, strum::IntoStaticStr, strum::VariantArray,
)]
pub enum ErrorType {
    /// The payload cannot be used.
    InvalidEvent,
    /// DynamoDB is unreachable, denies, or throttles beyond the retries.
    RecordStoreFailed,
    /// There is no token, secret or signature for the call, because Cognito, SSM or the function's role did not give
    /// it.
    AuthenticationFailed,
    /// The agent certainly did not accept the call.
    AgentUnavailable,
    /// The agent refused the call, and would refuse it again.
    AgentRejected,
    /// The agent failed, or reported a failure in its answer, or gave no answer.
    AgentFailed,
    /// The agent ended in order, but stopped short.
    AgentIncomplete,
    /// No agent of this id is defined, or its definition is unusable.
    AgentNotFound,
    /// The connection broke during the answer, or the answer ended without its terminal event.
    StreamInterrupted,
    /// The agent was silent for longer than `AGENT_IDLE_TIMEOUT_SECONDS`.
    StreamStalled,
    /// The time of the invocation, or of the trigger's `timeoutSeconds`, was used up.
    DeadlineExceeded,
    /// Another attempt of the same Lambda request still holds the lease.
    InProgress,
    /// An attempt died and may have called the agent, or Lambda ended the environment during the run.
    Interrupted,
    /// Another attempt owns the execution now, or another execution may hold its trigger's run lock.
    LeaseLost,
    /// The agent of a detached run did not report in time.
    ReportOverdue,
    /// The trigger item cannot be used.
    InvalidTrigger,
    /// The event could not be handed on to an invocation for each of its triggers, a message of a topic could not be
    /// settled, or a look at a detached run could not be sent.
    DispatchFailed,
    /// The function panicked or has a bug.
    Internal,
}

impl ErrorType {
    /// Returns the name as records and results hold it: that of the variant.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the type that a record names, or `None` if this version does not know the name.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

/// One failed run.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    /// The type of the failure, whose name never changes.
    pub error_type: ErrorType,
    /// The chain of causes in one line that anybody may see. It contains no secret, prompt or answer.
    pub message: String,
    /// The agent's own words, which go into the record and nowhere else.
    pub agent_said: Option<String>,
    /// True if a later attempt may run.
    pub retryable: bool,
    /// The trigger of the fire, if the event named one.
    pub trigger_id: Option<TriggerId>,
    /// The execution of the fire, if there is one.
    pub execution_id: Option<ExecutionId>,
}

impl Failure {
    /// Returns a failure that is not retryable, because another attempt would not repair it or must not try to. It
    /// names no trigger and no execution, and has no words of the agent.
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

    /// Returns a failure like [`Failure::fatal`] that is retryable: another attempt may run, most often because the
    /// agent was not called.
    pub fn retryable(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::fatal(error_type, message) }
    }

    /// Returns the failure that a failed row describes, as [`Failure::from_record`] reads its type and its text. It is
    /// never retryable and has none of the agent's own words. Without a type it is `Internal`, and without a text its
    /// message is empty.
    pub fn of_row(row: &Row) -> Self {
        Self::from_record(row.error_type.as_deref().unwrap_or_default(), row.error.as_deref().unwrap_or_default())
    }

    /// Returns the failure of the row's last attempt. For a row that is running, this attempt died, and the failure is
    /// [`Failure::interrupted`]. Otherwise it is that of [`Failure::of_row`] with the agent's own words, which follow
    /// the first line of the row's text.
    pub fn of_last_attempt(row: &Row) -> Self {
        if row.status == Status::Running {
            return Self::interrupted(row);
        }
        let said = row.error.as_deref().and_then(|text| text.split_once('\n'));
        Self { agent_said: said.map(|(_, said)| said.to_owned()), ..Self::of_row(row) }
    }

    /// Returns the failure of an attempt that died: `Interrupted`, not retryable. Its message has the row's number of
    /// the attempt, or 1 if the row has none.
    pub fn interrupted(row: &Row) -> Self {
        let attempt = row.attempt.unwrap_or(1);
        Self::fatal(ErrorType::Interrupted, format!("attempt {attempt} died and may have called the agent"))
    }

    /// Returns the failure of an attempt that lost its lease, or may have lost its trigger's run lock: `LeaseLost`, not
    /// retryable. It is returned to Lambda and never recorded.
    pub fn lease_lost() -> Self {
        let message = "lease lost: another attempt owns this execution, or another execution holds its trigger's lock";
        Self::fatal(ErrorType::LeaseLost, message)
    }

    /// Returns the failure `ReportOverdue` of a detached run whose agent was silent for too long. Its message says
    /// which report was missing: the one of the end, if the agent had until the deadline, or otherwise the first one
    /// after a lost acknowledgement, or a heartbeat. It does not say that the agent failed, because nobody knows.
    pub fn overdue(row: &Row) -> Self {
        // An agent that was heard may have reported until then.
        let had_all_its_time = row.deadline.is_none() || row.lease_until >= row.deadline;
        let silence = match (row.ack_lost, row.heartbeat_seconds) {
            _ if had_all_its_time => "no report of the end came before the run's deadline",
            (Some(true), _) => {
                "no report came, and the agent's acknowledgement was lost; the agent may have been called"
            }
            (_, Some(_)) => "no report came in time: the heartbeats that the agent promised stopped",
            (_, None) => "no report came in time",
        };
        Self::fatal(ErrorType::ReportOverdue, silence)
    }

    /// Returns the `error` text of the record: the message, then on the lines after it the agent's words, if there are
    /// any. Both together are cut to 1 KiB.
    pub fn record_text(&self) -> String {
        let mut text = self.message.clone();
        if let Some(said) = self.agent_said.as_deref().filter(|said| !said.is_empty()) {
            text.push('\n');
            text.push_str(said);
        }
        redact::cut(&text, ERROR_LIMIT).to_owned()
    }

    /// Returns the failure that a record describes by its `errorType` and its `error` text. Only the text's first line
    /// is the message, so that a duplicate delivery returns what the run returned, and none of the agent's words. A
    /// type that this version does not know becomes `Internal`. The failure is never retryable.
    pub fn from_record(error_type: &str, text: &str) -> Self {
        let message = text.lines().next().unwrap_or_default();
        Self::fatal(ErrorType::from_name(error_type).unwrap_or(ErrorType::Internal), message)
    }
}

/// Leaves out the agent's words, so that no log line that prints a failure holds them.
impl fmt::Debug for Failure {
    /// Writes the type and the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_overdue_is_named_and_nothing_is_said_that_is_unknown() {
        let row = |ack_lost, heartbeat_seconds, lease_until| Row {
            ack_lost,
            heartbeat_seconds,
            lease_until: Some(lease_until),
            deadline: Some(9_000),
            ..Row::default()
        };
        for (row, expected) in [
            (row(Some(true), None, 5_000), "acknowledgement was lost"),
            (row(None, Some(10), 5_000), "heartbeats that the agent promised stopped"),
            // It may have reported all the while.
            (row(Some(true), None, 9_000), "no report of the end came before the run's deadline"),
            (row(None, Some(10), 9_000), "no report of the end came before the run's deadline"),
            (row(None, None, 9_000), "no report of the end came before the run's deadline"),
        ] {
            let failure = Failure::overdue(&row);
            assert_eq!((failure.error_type, failure.retryable), (ErrorType::ReportOverdue, false));
            assert!(failure.message.contains(expected), "{failure:?}");
        }
    }
}
