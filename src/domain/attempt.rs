//! One attempt at an execution: an invocation that owns the execution and works on it.

use std::time::Duration;

use crate::{
    clock,
    domain::{detached::Detachment, ending::Snapshot, failure::Failure, ids::ExecutionId, trace::Trace, usage::Usage},
};

/// The values that an attempt writes when it claims an execution.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The attempt's own id.
    pub owner: String,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The Lambda request that the attempt serves.
    pub lambda_request_id: String,
    /// The start of the first attempt, RFC 3339.
    pub started_at: String,
    /// The time at which the row expires, in seconds since 1970.
    pub ttl: i64,
    /// The agent's session.
    pub session_id: String,
    /// The ids of the trace in which the agent is called.
    pub trace: Option<Trace>,
    /// The description of what the attempt runs, as far as its event says it.
    pub snapshot: Option<Snapshot>,
    /// The failure with which the attempt before this one ended.
    pub before: Option<Failure>,
    /// The tokens of the attempts before this one, as far as they are known. They count when the execution ends.
    pub usage_before: Option<Usage>,
    /// The part of a detached run that the claim writes.
    pub detachment: Option<Detachment>,
}

/// The start of a fire, in each form that is needed.
#[derive(Debug, Clone)]
pub struct StartTime {
    /// Milliseconds since 1970.
    pub millis: i64,
    /// RFC 3339.
    pub at: String,
    /// The time at which the record expires, in seconds since 1970.
    pub ttl: i64,
}

impl StartTime {
    /// Returns the start at `millis` since 1970, as a number and as an RFC 3339 text. The ttl is the start's second
    /// plus `record_life`, for which the record is kept.
    pub fn new(millis: i64, record_life: Duration) -> Self {
        let life = i64::try_from(record_life.as_secs()).unwrap_or(i64::MAX);
        Self { millis, at: clock::rfc3339(millis), ttl: (millis / 1000).saturating_add(life) }
    }
}
