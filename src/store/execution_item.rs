//! The execution record's attributes (README.md, The record): how they are spelled, written and read.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    clock,
    domain::{
        attempt::Attempt,
        ending::{Ending, Reported, Snapshot},
        execution::{Row, Status},
        fire::{Fire, Origin},
        usage::{Usage, sum},
    },
    store::{
        item::{Item, integer, number, text},
        keys::execution_key,
    },
};

/// Builds the whole row of a running attempt. Putting it removes what an earlier attempt left, the failure and a
/// request to cancel among it, but for what `attempt` carries over. What the fire does not have is absent.
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
        Origin::Execution { id, .. } => (None, Some(String::from(id))),
        Origin::Event { .. } | Origin::Request { .. } => (None, None),
    };
    let (user_id, replay_of) = (String::from(&fire.user_id), fire.replay_of.as_ref().map(String::from));
    for (name, value) in [
        // These ids may be unknown if the fire never came to a run.
        ("userId", Some(&user_id).filter(|id| !id.is_empty())),
        ("agentId", Some(&fire.task.agent_id).filter(|id| !id.is_empty())),
        ("scheduledTime", scheduled_time),
        ("eventId", fire.event_id.as_ref()),
        ("source", fire.source.as_ref()),
        ("eventSourceId", fire.event_source_id.as_ref()),
        ("detailType", fire.detail_type.as_ref()),
        ("eventTime", fire.event_time.as_ref()),
        ("follows", follows.as_ref()),
        ("replayOf", replay_of.as_ref()),
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
    let snapshot = attempt.snapshot.as_ref().map(snapshot_attributes).unwrap_or_default();
    let usage = attempt.usage_before.as_ref().map(|usage| ("usage", usage_map(usage)));
    item.extend(snapshot.into_iter().chain(usage).map(|(name, value)| (name.to_owned(), value)));
    item
}

/// Builds the whole row of a fire that ended without any attempt's record: that of a running attempt without its owner
/// and lease, with the ending.
pub(crate) fn ended_item(fire: &Fire, attempt: &Attempt, ending: &Ending) -> Item {
    let mut item = running_item(fire, attempt, 0);
    item.remove("owner");
    item.remove("leaseUntil");
    item.extend(ending_attributes(ending).into_iter().map(|(name, value)| (name.to_owned(), value)));
    item
}

/// Returns the attributes that say how far a run has come. Its tokens are those of all attempts. The counts of skipped
/// events and tools are written at the end only.
pub(crate) fn progress_attributes(
    reported: &Reported,
    usage_before: Option<Usage>,
) -> Vec<(&'static str, AttributeValue)> {
    let Reported { progress, last_event_at } = reported;
    let mut attributes = vec![
        ("events", number(progress.events)),
        ("bytes", number(progress.bytes)),
        ("lastEventAt", text(clock::rfc3339(*last_event_at))),
    ];
    attributes.extend(sum(usage_before, progress.usage).map(|usage| ("usage", usage_map(&usage))));
    attributes
}

/// The attributes that say what ran. A fire that was skipped ran nothing.
pub(crate) const SNAPSHOT_ATTRIBUTES: [&str; 4] = ["settingsHash", "protocol", "functionVersion", "triggerVersion"];

/// Returns the attributes that say what runs.
pub(crate) fn snapshot_attributes(snapshot: &Snapshot) -> Vec<(&'static str, AttributeValue)> {
    let Snapshot { settings_hash, agent_id, protocol, trigger_version, function_version, agent_definition_changed } =
        snapshot;
    let mut attributes = vec![("agentId", text(agent_id)), ("settingsHash", text(settings_hash))];
    attributes.extend(protocol.as_ref().map(|protocol| ("protocol", text(protocol))));
    attributes.extend(function_version.map(|version| ("functionVersion", text(version))));
    attributes.extend(agent_definition_changed.then_some(("agentDefinitionChanged", AttributeValue::Bool(true))));
    attributes.extend(trigger_version.as_ref().map(|version| ("triggerVersion", text(version))));
    attributes
}

/// The attributes that only a failed execution has.
pub(crate) const FAILURE_ATTRIBUTES: [&str; 3] = ["error", "errorType", "retryable"];

/// Returns what the end of an attempt writes. An attribute that nobody measured is absent, and so is one that says "no"
/// where its absence says so too.
pub(crate) fn ending_attributes(ending: &Ending) -> Vec<(&'static str, AttributeValue)> {
    // Destructured in full: a new field does not compile until it is written, or left out on purpose.
    let Ending {
        status,
        completed_at,
        skip_reason,
        overlaps,
        snapshot,
        failure,
        request_id,
        session_id,
        protocol,
        finish_reason,
        output,
        reported,
        usage_before,
        stop,
        duration_ms,
        first_event_ms,
    } = ending;
    let mut attributes = vec![("status", text(status.as_str())), ("completedAt", text(completed_at))];
    attributes.extend(skip_reason.map(|reason| ("skipReason", text(reason.as_str()))));
    attributes.extend(overlaps.as_ref().map(|id| ("overlaps", text(id))));
    attributes.extend(snapshot.as_ref().map(snapshot_attributes).unwrap_or_default());
    if let Some(failure) = failure {
        attributes.push(("error", text(failure.record_text())));
        attributes.push(("errorType", text(failure.error_type.as_str())));
        attributes.push(("retryable", AttributeValue::Bool(failure.retryable)));
    }
    attributes.extend(protocol.map(|protocol| ("protocol", text(protocol.as_str()))));
    attributes.extend(finish_reason.map(|reason| ("finishReason", text(reason.as_str()))));
    attributes.extend(request_id.as_ref().map(|id| ("requestId", text(id))));
    attributes.extend(duration_ms.map(|millis| ("durationMs", number(millis))));
    attributes.extend(first_event_ms.map(|millis| ("firstEventMs", number(millis))));
    attributes.extend(session_id.as_ref().map(|id| ("sessionId", text(id))));
    if let Some(reported) = reported {
        attributes.extend(progress_attributes(reported, *usage_before));
        attributes.push(("skippedEvents", number(reported.progress.skipped_events)));
        attributes.push(("toolUses", number(reported.progress.tool_uses)));
    }
    if let Some(stop) = stop {
        attributes.push(("stopRequested", AttributeValue::Bool(true)));
        attributes.push(("stopConfirmed", AttributeValue::Bool(stop.confirmed)));
    }
    if let Some(output) = output {
        attributes.push(("output", text(&output.text)));
        attributes.push(("outputTruncated", AttributeValue::Bool(output.truncated)));
    }
    attributes
}

/// Returns the token counts as the record holds them. A count of zero is written, too.
fn usage_map(usage: &Usage) -> AttributeValue {
    AttributeValue::M(Item::from([
        ("inputTokens".into(), number(usage.input_tokens)),
        ("outputTokens".into(), number(usage.output_tokens)),
        ("cacheReadInputTokens".into(), number(usage.cache_read_input_tokens)),
        ("cacheWriteInputTokens".into(), number(usage.cache_write_input_tokens)),
    ]))
}

/// Reads a stored execution; `None` if its status is not one this version knows. Any other attribute that is missing or
/// of another type counts as absent.
pub fn row(item: &Item) -> Option<Row> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    let bool = |name: &str| item.get(name).and_then(|value| value.as_bool().ok()).copied();
    Some(Row {
        status: Status::from_name(&text("status")?)?,
        user_id: text("userId"),
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
        usage: item.get("usage").and_then(|usage| usage.as_m().ok()).map(usage_of),
        settings_hash: text("settingsHash"),
    })
}

fn usage_of(usage: &Item) -> Usage {
    let count = |name| integer(usage, name).and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
    Usage {
        input_tokens: count("inputTokens"),
        output_tokens: count("outputTokens"),
        cache_read_input_tokens: count("cacheReadInputTokens"),
        cache_write_input_tokens: count("cacheWriteInputTokens"),
    }
}
