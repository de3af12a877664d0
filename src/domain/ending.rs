//! The ending of an attempt, or of a fire that was not run, as the execution's record describes it.

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    clock,
    domain::answer::{Output, Progress},
    domain::{
        execution::Status,
        failure::Failure,
        finish_reason::FinishReason,
        protocol::Protocol,
        usage::{Usage, sum},
    },
    json::lenient,
};

/// A short description of what runs. It shows whether two executions did the same, without their prompts. The claim
/// writes it. The first heartbeat writes it again if the trigger item says something else, and the end writes it with
/// the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The SHA-256 hash of the kept input (the agent's prompt and settings), in hexadecimal.
    pub settings_hash: String,
    /// The agent that runs.
    pub agent_id: String,
    /// The protocol of the agent's request. `None` if its definition is not known yet.
    pub protocol: Option<String>,
    /// The trigger item's version. `None` for a replay, which may ask what an older version asked.
    pub trigger_version: Option<String>,
    /// The version of the function that runs it. `None` if another process ran it, which has written its own.
    pub function_version: Option<&'static str>,
    /// True for a replay whose agent was defined in another way when the replayed execution ran.
    pub agent_definition_changed: bool,
}

/// The member of a kept input that names the protocol of the agent.
pub(crate) const INPUT_PROTOCOL: &str = "agentProtocol";

impl Snapshot {
    /// Reads the description of a run from the JSON text of the input that it kept. The hash is that of the text as it
    /// stands. The protocol is `None` if the input names none. Both versions are `None` and `agent_definition_changed`
    /// is false, because the input does not hold them. Returns `None` if the text is not JSON, has more than 256
    /// levels, or has no `agentId` that is a string. Nothing else in it is checked.
    pub fn of_input(detail: &str) -> Option<Self> {
        let input: Value = lenient::parse(detail).ok()?;
        let text = |name: &str| input.get(name)?.as_str().map(str::to_owned);
        Some(Self {
            settings_hash: hash_of(detail),
            agent_id: text("agentId")?,
            protocol: text(INPUT_PROTOCOL),
            trigger_version: None,
            function_version: None,
            agent_definition_changed: false,
        })
    }
}

/// Returns the SHA-256 hash of an input's JSON text, as 64 hexadecimal digits in lower case.
pub(crate) fn hash_of(detail: &str) -> String {
    let mut hash = String::with_capacity(64);
    for byte in Sha256::digest(detail) {
        // Writing to a string cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

/// The result of the request to stop an agent's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopOutcome {
    /// True if AgentCore confirmed that it stopped the session.
    pub confirmed: bool,
}

/// The reason why a fire that was due is deliberately not run. The names never change, because records and people's
/// queries hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
pub enum SkipReason {
    /// The trigger is switched off.
    Disabled,
    /// The trigger was switched off automatically after too many failures in a row.
    Paused,
    /// The trigger was deleted.
    Deleted,
    /// Another execution of the trigger is alive.
    Overlap,
    /// The trigger has reached its limit of runs for the day.
    MaxRunsPerDay,
    /// The trigger has reached its limit of tokens for the day.
    MaxTokensPerDay,
    /// The chain of executions that led to this one is too long, most likely because it is a loop
    /// (`CHAIN_DEPTH_LIMIT`).
    ChainTooDeep,
}

impl SkipReason {
    /// Returns the name as records hold it: that of the variant.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The executions of the trigger that were alive when a fire was not run because of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlapping {
    /// One of them: the newest, or the one that holds the run lock.
    pub execution_id: String,
    /// Their number, if the trigger's policy names the number that may run at once.
    pub limit: Option<u32>,
}

impl Overlapping {
    /// Returns the words that stand behind the reason of a skip, such as `, 3 of 3 run`, or an empty text if no limit
    /// is named.
    pub fn suffix(overlapping: Option<&Self>) -> String {
        let limit = overlapping.and_then(|overlapping| overlapping.limit);
        limit.map_or_else(String::new, |limit| format!(", {limit} of {limit} run"))
    }
}

/// The ending of an attempt, or of a fire that was not run. A value that was not measured is absent.
#[derive(Debug, Clone)]
pub struct Ending {
    /// `completed`, `failed`, `cancelled` or `skipped`.
    pub status: Status,
    /// The time of the end, RFC 3339.
    pub completed_at: String,
    /// The reason, if it was skipped.
    pub skip_reason: Option<SkipReason>,
    /// What stood in the way, if this one was skipped because of it.
    pub overlaps: Option<Overlapping>,
    /// A description of what ran.
    pub snapshot: Option<Snapshot>,
    /// The failure, if it failed. It says whether another attempt may claim the execution.
    pub failure: Option<Failure>,
    /// The agent's request id, from its completion event or otherwise from its response header.
    pub request_id: Option<String>,
    /// The agent's session, if the agent names another one than it was given.
    pub session_id: Option<String>,
    /// The protocol that the answer was read by.
    pub protocol: Option<Protocol>,
    /// The way in which the agent stopped short. It may stand beside a failure or an accepted completion.
    pub finish_reason: Option<FinishReason>,
    /// The agent's final answer.
    pub output: Option<Output>,
    /// The progress of the answer when reading ended.
    pub reported: Option<Reported>,
    /// The tokens of the execution's earlier attempts.
    pub usage_before: Option<Usage>,
    /// The result of stopping the agent's session. It is present only on AgentCore, and for a run that ended before its
    /// agent did.
    pub stop: Option<StopOutcome>,
    /// The time from the attempt's start to its end, in milliseconds. For an end that an agent reported, it is the time
    /// from the start of the first attempt.
    pub duration_ms: Option<u64>,
    /// The time from the call to the first event of the answer, in milliseconds.
    pub first_event_ms: Option<u64>,
}

impl Ending {
    /// Returns the ending of a fire that is deliberately not run, with the status `skipped` and its reason. `now` is in
    /// milliseconds since 1970. All else is absent.
    pub fn skipped(now: i64, reason: SkipReason) -> Self {
        Self { skip_reason: Some(reason), ..Self::new(Status::Skipped, now, None) }
    }

    /// Returns an ending at `now`, in milliseconds since 1970, with `completed_at` as RFC 3339. All other members are
    /// absent: the caller adds those that it knows.
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
            usage_before: None,
            stop: None,
            duration_ms: None,
            first_event_ms: None,
        }
    }

    /// Returns the tokens of all attempts: those of the earlier ones and those that this answer reported. What is
    /// unknown counts as nothing. Returns `None` if both are unknown.
    pub fn usage(&self) -> Option<Usage> {
        sum(self.usage_before, self.reported.and_then(|reported| reported.progress.usage))
    }

    /// Returns the name of the failure's type, or `None` if there is no failure.
    pub fn error_type(&self) -> Option<&'static str> {
        self.failure.as_ref().map(|failure| failure.error_type.as_str())
    }
}

/// The progress of a run, and the time at which it last advanced.
#[derive(Debug, Clone, Copy)]
pub struct Reported {
    /// The decoder's counts.
    pub progress: Progress,
    /// The time at which the last event arrived, in milliseconds since 1970.
    pub last_event_at: i64,
}
