//! The execution record's attributes (README.md, The record): how they are spelled, written and read.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    clock,
    domain::answer::{Output, Usage},
    domain::execution::{Row, Status},
    domain::failure::Failure,
    domain::finish_reason::FinishReason,
    domain::fire::{Fire, Origin},
    domain::protocol::Protocol,
    domain::trace::Trace,
    lifecycle::lease::Reported,
};

/// One item as DynamoDB has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// What an attempt writes when it takes an execution.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// The execution.
    pub execution_id: String,
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

/// What ran, in short: whether two executions did the same can be told without their prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// SHA-256 of what the agent was asked and told to use, in hexadecimal.
    pub settings_hash: String,
    /// The agent that ran.
    pub agent_id: String,
    /// The trigger item's version.
    pub trigger_version: Option<String>,
}

/// What became of the request to stop an agent's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopOutcome {
    /// Whether AgentCore said that it stopped it.
    pub confirmed: bool,
}

/// Why a fire that was due is deliberately not run. The names never change: records and people's queries hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SkipReason {
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
    /// The name as records hold it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::Paused => "Paused",
            Self::Deleted => "Deleted",
            Self::Overlap => "Overlap",
            Self::MaxRunsPerDay => "MaxRunsPerDay",
            Self::MaxTokensPerDay => "MaxTokensPerDay",
            Self::ChainTooDeep => "ChainTooDeep",
        }
    }
}

/// How an attempt ends. What nobody measured is absent.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
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
    /// The agent's final answer.
    pub output: Option<Output>,
    /// The protocol that the agent's answer was read by.
    pub protocol: Option<Protocol>,
    /// How the agent stopped short; also beside a failure, and beside a completion that was accepted.
    pub finish_reason: Option<FinishReason>,
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
    pub(crate) fn skipped(now: i64, reason: SkipReason) -> Self {
        Self { skip_reason: Some(reason), ..Self::new(Status::Skipped, now, None) }
    }

    /// An end without a run.
    pub(crate) fn new(status: Status, now: i64, failure: Option<Failure>) -> Self {
        Self {
            status,
            completed_at: clock::rfc3339(now),
            skip_reason: None,
            overlaps: None,
            snapshot: None,
            failure,
            request_id: None,
            session_id: None,
            output: None,
            protocol: None,
            finish_reason: None,
            reported: None,
            stop: None,
            duration_ms: None,
            first_event_ms: None,
        }
    }

    pub(crate) fn error_type(&self) -> Option<&'static str> {
        self.failure.as_ref().map(|failure| failure.error_type.as_str())
    }
}

/// The key of an execution.
pub(crate) fn execution_key(trigger_id: &str, execution_id: &str) -> (String, String) {
    (format!("TRIGGER#{trigger_id}"), format!("EXECUTION#{execution_id}"))
}

/// The key of the item that remembers the id of a fire without identity.
pub(crate) fn guard_key(trigger_id: &str, request_id: &str) -> (String, String) {
    (format!("TRIGGER#{trigger_id}"), format!("FIRE#{request_id}"))
}

/// The key of the trigger item that a management API may keep.
pub(crate) fn trigger_key(user_id: &str, trigger_id: &str) -> (String, String) {
    (format!("TRIGGER#{user_id}"), format!("TRIGGER#{trigger_id}"))
}

/// The key of what a replay of an execution needs.
pub(crate) fn input_key(trigger_id: &str, execution_id: &str) -> (String, String) {
    (format!("TRIGGER#{trigger_id}"), format!("INPUT#{execution_id}"))
}

/// The key of a trigger's count of events.
pub(crate) fn counter_key(trigger_id: &str) -> (String, String) {
    (format!("TRIGGER#{trigger_id}"), "THRESHOLD".to_owned())
}

/// The key of a trigger's counters of the day, in UTC, in which `now`, milliseconds since 1970, is.
pub(crate) fn day_key(trigger_id: &str, now: i64) -> (String, String) {
    let day = clock::rfc3339(now);
    (format!("TRIGGER#{trigger_id}"), format!("DAY#{}", &day[..10]))
}

/// The key of the mark that an execution's start is counted.
pub(crate) fn counted_key(trigger_id: &str, execution_id: &str) -> (String, String) {
    (format!("TRIGGER#{trigger_id}"), format!("COUNTED#{execution_id}"))
}

/// The key of what says which execution of a trigger is alive, where two must not be.
pub(crate) fn running_key(trigger_id: &str) -> (String, String) {
    (format!("TRIGGER#{trigger_id}"), "RUNNING".to_owned())
}

/// The key of an event that a trigger has counted.
pub(crate) fn mark_key(trigger_id: &str, mark: &str) -> (String, String) {
    (format!("TRIGGER#{trigger_id}"), format!("MARK#{mark}"))
}

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The whole row of a running attempt: putting it removes what an earlier attempt left.
pub(crate) fn running_item(fire: &Fire, attempt: &Attempt, lease_until: i64) -> Item {
    let (pk, sk) = execution_key(&fire.trigger_id, &attempt.execution_id);
    let mut item = Item::from([
        ("PK".into(), text(pk)),
        ("SK".into(), text(sk)),
        ("triggerId".into(), text(&fire.trigger_id)),
        ("executionId".into(), text(&attempt.execution_id)),
        ("status".into(), text(Status::Running.as_str())),
        ("startedAt".into(), text(&attempt.started_at)),
        ("sessionId".into(), text(&attempt.session_id)),
        ("ttl".into(), number(attempt.ttl)),
        ("attempt".into(), number(attempt.attempt)),
        ("owner".into(), text(&attempt.owner)),
        ("leaseUntil".into(), number(lease_until)),
        ("lambdaRequestId".into(), text(&attempt.lambda_request_id)),
    ]);
    let (scheduled_time, follows) = match &fire.origin {
        Origin::Schedule { text, .. } => (Some(text), None),
        Origin::Execution { id, .. } => (None, Some(id)),
        Origin::Event { .. } | Origin::Request { .. } => (None, None),
    };
    for (name, value) in [
        // Of a fire that never came to a run these may be unknown.
        ("userId", Some(&fire.user_id).filter(|id| !id.is_empty())),
        ("agentId", Some(&fire.agent_id).filter(|id| !id.is_empty())),
        ("scheduledTime", scheduled_time),
        ("eventId", fire.event_id.as_ref()),
        ("source", fire.source.as_ref()),
        ("eventSourceId", fire.event_source_id.as_ref()),
        ("detailType", fire.detail_type.as_ref()),
        ("eventTime", fire.event_time.as_ref()),
        ("follows", follows),
        ("replayOf", fire.replay_of.as_ref()),
    ] {
        if let Some(value) = value {
            item.insert(name.into(), text(value));
        }
    }
    if let Some(trace) = &attempt.trace {
        item.insert("traceId".into(), text(&trace.trace_id));
        item.extend(trace.traceparent.as_ref().map(|header| ("traceparent".into(), text(header))));
    }
    if fire.chain_depth > 0 {
        item.insert("chainDepth".into(), number(fire.chain_depth));
    }
    item
}

/// The whole row of a fire that ended without any attempt's record.
pub(crate) fn ended_item(fire: &Fire, attempt: &Attempt, ending: &Ending) -> Item {
    let mut item = running_item(fire, attempt, 0);
    item.remove("owner");
    item.remove("leaseUntil");
    item.extend(ending_attributes(ending).into_iter().map(|(name, value)| (name.to_owned(), value)));
    item
}

/// What a heartbeat writes besides the lease.
pub(crate) fn progress_attributes(reported: &Reported) -> Vec<(&'static str, AttributeValue)> {
    let Reported { progress, last_event_at } = reported;
    let mut attributes = vec![
        ("events", number(progress.events)),
        ("bytes", number(progress.bytes)),
        ("lastEventAt", text(clock::rfc3339(*last_event_at))),
    ];
    attributes.extend(progress.usage.as_ref().map(|usage| ("usage", usage_map(usage))));
    attributes
}

/// What only a failed execution has.
pub(crate) const FAILURE_ATTRIBUTES: [&str; 3] = ["error", "errorType", "retryable"];

/// What the end of an attempt writes.
pub(crate) fn ending_attributes(ending: &Ending) -> Vec<(&'static str, AttributeValue)> {
    let mut attributes = vec![("status", text(ending.status.as_str())), ("completedAt", text(&ending.completed_at))];
    attributes.extend(ending.skip_reason.map(|reason| ("skipReason", text(reason.as_str()))));
    attributes.extend(ending.overlaps.as_ref().map(|id| ("overlaps", text(id))));
    if let Some(Snapshot { settings_hash, agent_id, trigger_version }) = &ending.snapshot {
        attributes.push(("agentId", text(agent_id)));
        attributes.push(("settingsHash", text(settings_hash)));
        attributes.push(("functionVersion", text(env!("CARGO_PKG_VERSION"))));
        attributes.extend(trigger_version.as_ref().map(|version| ("triggerVersion", text(version))));
    }
    if let Some(failure) = &ending.failure {
        attributes.push(("error", text(failure.record_text())));
        attributes.push(("errorType", text(failure.error_type.as_str())));
        attributes.push(("retryable", AttributeValue::Bool(failure.retryable)));
    }
    attributes.extend(ending.protocol.map(|protocol| ("protocol", text(protocol.as_str()))));
    attributes.extend(ending.finish_reason.map(|reason| ("finishReason", text(reason.as_str()))));
    attributes.extend(ending.request_id.as_ref().map(|id| ("requestId", text(id))));
    attributes.extend(ending.duration_ms.map(|millis| ("durationMs", number(millis))));
    attributes.extend(ending.first_event_ms.map(|millis| ("firstEventMs", number(millis))));
    attributes.extend(ending.session_id.as_ref().map(|id| ("sessionId", text(id))));
    if let Some(reported) = &ending.reported {
        attributes.extend(progress_attributes(reported));
        attributes.push(("skippedEvents", number(reported.progress.skipped_events)));
        attributes.push(("toolUses", number(reported.progress.tool_uses)));
    }
    if let Some(stop) = ending.stop {
        attributes.push(("stopRequested", AttributeValue::Bool(true)));
        attributes.push(("stopConfirmed", AttributeValue::Bool(stop.confirmed)));
    }
    if let Some(output) = &ending.output {
        attributes.push(("output", text(&output.text)));
        attributes.push(("outputTruncated", AttributeValue::Bool(output.truncated)));
    }
    attributes
}

fn usage_map(usage: &Usage) -> AttributeValue {
    AttributeValue::M(Item::from([
        ("inputTokens".into(), number(usage.input_tokens)),
        ("outputTokens".into(), number(usage.output_tokens)),
        ("cacheReadInputTokens".into(), number(usage.cache_read_input_tokens)),
        ("cacheWriteInputTokens".into(), number(usage.cache_write_input_tokens)),
    ]))
}

/// Reads a stored execution; `None` if its status is not one this version knows.
pub(crate) fn row(item: &Item) -> Option<Row> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    let bool = |name: &str| item.get(name).and_then(|value| value.as_bool().ok()).copied();
    Some(Row {
        status: Status::from_name(&text("status")?)?,
        owner: text("owner"),
        attempt: integer(item, "attempt").and_then(|number| u32::try_from(number).ok()),
        lease_until: integer(item, "leaseUntil"),
        cancel_requested: bool("cancelRequested"),
        retryable: bool("retryable").unwrap_or(false),
        lambda_request_id: text("lambdaRequestId"),
        started_at: text("startedAt"),
        ttl: integer(item, "ttl"),
        error_type: text("errorType"),
        error: text("error"),
        session_id: text("sessionId"),
        request_id: text("requestId"),
        tokens: item.get("usage").and_then(|usage| usage.as_m().ok()).map_or(0, tokens),
    })
}

/// The tokens of a stored usage.
fn tokens(usage: &Item) -> u64 {
    let count = |name| integer(usage, name).and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
    count("inputTokens").saturating_add(count("outputTokens"))
}

pub(crate) fn integer(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}
