//! How an execution ends, and what its record says of it.

use crate::{
    clock,
    domain::answer::{Output, Progress},
    domain::{execution::Status, failure::Failure, finish_reason::FinishReason, protocol::Protocol},
};

/// What ran, in short: whether two executions did the same can be told without their prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// SHA-256 of what the agent was asked and told to use, in hexadecimal.
    pub settings_hash: String,
    /// The agent that ran.
    pub agent_id: String,
    /// The trigger item's version.
    pub trigger_version: Option<String>,
}

/// What became of the request to stop an agent's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopOutcome {
    /// Whether AgentCore said that it stopped it.
    pub confirmed: bool,
}

/// Why a fire that was due is deliberately not run. The names never change: records and people's queries hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
pub enum SkipReason {
    /// The trigger is switched off.
    Disabled,
    /// The trigger was switched off after too many failures in a row.
    Paused,
    /// The trigger was deleted.
    Deleted,
    /// Another execution of the trigger is alive.
    Overlap,
    /// The trigger has run as often as it may on a day.
    MaxRunsPerDay,
    /// The trigger has used as many tokens as it may on a day.
    MaxTokensPerDay,
    /// Too many executions led to it: a loop, most likely (`CHAIN_DEPTH_LIMIT`).
    ChainTooDeep,
}

impl SkipReason {
    /// Returns the name as records hold it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How an attempt ends. What nobody measured is absent.
#[derive(Debug, Clone)]
pub struct Ending {
    /// `completed`, `failed`, `cancelled` or `skipped`.
    pub status: Status,
    /// When, RFC 3339.
    pub completed_at: String,
    /// Of a skipped one: why.
    pub skip_reason: Option<SkipReason>,
    /// Of one that is skipped for its overlap: the execution that is alive.
    pub overlaps: Option<String>,
    /// What ran.
    pub snapshot: Option<Snapshot>,
    /// Of a failed one: why, and whether an attempt may claim it again.
    pub failure: Option<Failure>,
    /// The agent's request id: of its completion event, else of its response header.
    pub request_id: Option<String>,
    /// The agent's session, where it names another than it was given.
    pub session_id: Option<String>,
    /// The protocol that the answer was read by.
    pub protocol: Option<Protocol>,
    /// How the agent stopped short, also beside a failure or an accepted completion.
    pub finish_reason: Option<FinishReason>,
    /// The agent's final answer.
    pub output: Option<Output>,
    /// How far the answer was read.
    pub reported: Option<Reported>,
    /// Of one on AgentCore that was cancelled or took too long for its trigger: whether its session was stopped.
    pub stop: Option<StopOutcome>,
    /// From the attempt's start to its end, milliseconds.
    pub duration_ms: Option<u64>,
    /// From the call to the first event of the answer, milliseconds.
    pub first_event_ms: Option<u64>,
}

impl Ending {
    /// Of a fire that is deliberately not run.
    pub fn skipped(now: i64, reason: SkipReason) -> Self {
        Self { skip_reason: Some(reason), ..Self::new(Status::Skipped, now, None) }
    }

    /// An end without a run.
    pub fn new(status: Status, now: i64, failure: Option<Failure>) -> Self {
        Self {
            status,
            completed_at: clock::rfc3339(now),
            skip_reason: None,
            overlaps: None,
            snapshot: None,
            failure,
            request_id: None,
            session_id: None,
            protocol: None,
            finish_reason: None,
            output: None,
            reported: None,
            stop: None,
            duration_ms: None,
            first_event_ms: None,
        }
    }

    /// Returns the name of the failure, if it failed.
    pub fn error_type(&self) -> Option<&'static str> {
        self.failure.as_ref().map(|failure| failure.error_type.as_str())
    }
}

/// How far a run has come, and when it last came further.
#[derive(Debug, Clone, Copy)]
pub struct Reported {
    /// What the decoder counts.
    pub progress: Progress,
    /// When the last event arrived, milliseconds since 1970.
    pub last_event_at: i64,
}
