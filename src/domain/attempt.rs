//! One attempt at an execution.

use std::time::Duration;

use crate::{
    clock,
    domain::{failure::Failure, ids::ExecutionId, trace::Trace},
};

/// What an attempt writes when it takes an execution.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The execution.
    pub execution_id: ExecutionId,
    /// This attempt's own id.
    pub owner: String,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// The Lambda request it serves.
    pub lambda_request_id: String,
    /// When the first attempt started, RFC 3339.
    pub started_at: String,
    /// When the row ends, seconds since 1970.
    pub ttl: i64,
    /// The agent's session.
    pub session_id: String,
    /// The ids of the trace that the agent is called in.
    pub trace: Option<Trace>,
    /// How the attempt before it ended.
    pub before: Option<Failure>,
}

/// When a fire started, in the forms it is needed in.
#[derive(Debug, Clone)]
pub struct StartTime {
    /// Milliseconds since 1970.
    pub millis: i64,
    /// RFC 3339.
    pub at: String,
    /// When the record ends, seconds since 1970.
    pub ttl: i64,
}

impl StartTime {
    /// Returns the start at `millis` since 1970 of an execution whose record is kept for `record_life`.
    pub fn new(millis: i64, record_life: Duration) -> Self {
        let life = i64::try_from(record_life.as_secs()).unwrap_or(i64::MAX);
        Self { millis, at: clock::rfc3339(millis), ttl: (millis / 1000).saturating_add(life) }
    }
}
