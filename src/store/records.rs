//! How executions become records, and records the rows that decisions rest on (docs/records.md, The record).

use crate::{
    clock,
    domain::{
        attempt::Attempt,
        detached::Detachment,
        ending::{Ending, Reported, Snapshot},
        execution::{Row, Status},
        finish_reason::FinishReason,
        fire::{Fire, Origin},
        usage::{Usage, sum},
    },
    store::{
        execution_item::{ExecutionItem, UsageItem},
        item::{Item, text},
        keys::execution_key,
    },
};

/// Builds the whole row of a running attempt. `lease_until` is in milliseconds since 1970. Putting the row removes
/// everything that an earlier attempt left, including a failure and a request to cancel. Only the members of `attempt`
/// are carried over. Members that the fire does not have are absent.
pub(crate) fn running_item(fire: &Fire, attempt: &Attempt, lease_until: i64) -> Item {
    let record = ExecutionItem {
        owner: Some(attempt.owner.clone()),
        lease_until: Some(lease_until),
        rerun_if_interrupted: fire.task.rerun_if_interrupted.then_some(true),
        ..started(fire, attempt)
    };
    keyed(record, fire, attempt)
}

/// Builds the whole row of a fire that ended without any attempt's record. It is the row of a running attempt with the
/// ending, and without the owner and the lease.
pub(crate) fn ended_item(fire: &Fire, attempt: &Attempt, ending: ExecutionItem) -> Item {
    let mut item = keyed(started(fire, attempt), fire, attempt);
    item.extend(ending.into_attributes().into_iter().map(|(name, value)| (name.to_owned(), value)));
    item
}

/// Returns the whole item of a record: its key and its attributes.
fn keyed(record: ExecutionItem, fire: &Fire, attempt: &Attempt) -> Item {
    let (pk, sk) = execution_key(&fire.trigger_id, &attempt.execution_id);
    let key = [("PK", text(pk)), ("SK", text(sk))];
    key.into_iter().chain(record.into_attributes()).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Returns the record of a running execution: what its fire says of the event, what its attempt says of this run, the
/// snapshot of its settings if there is one, and for a detached run its deadline, its report key and a ttl of its own.
/// The owner and the lease are not in it. Unknown ids are left out.
fn started(fire: &Fire, attempt: &Attempt) -> ExecutionItem {
    // These ids may be unknown if the fire never came to a run.
    let known = |id: &str| (!id.is_empty()).then(|| id.to_owned());
    let (scheduled_time, follows) = match &fire.origin {
        Origin::Schedule { text, .. } => (Some(text.clone()), None),
        Origin::Execution { id, .. } => (None, Some(String::from(id))),
        Origin::Event { .. } | Origin::Request { .. } => (None, None),
    };
    let mut record = ExecutionItem {
        trigger_id: Some(String::from(&fire.trigger_id)),
        execution_id: Some(String::from(&attempt.execution_id)),
        user_id: known(&fire.user_id),
        agent_id: known(&fire.task.agent_id),
        status: Some(Status::Running.as_str().to_owned()),
        started_at: Some(attempt.started_at.clone()),
        session_id: Some(attempt.session_id.clone()),
        ttl: Some(attempt.ttl),
        attempt: Some(attempt.attempt),
        lambda_request_id: Some(attempt.lambda_request_id.clone()),
        scheduled_time,
        event_id: fire.event_id.clone(),
        source: fire.source.clone(),
        event_source_id: fire.event_source_id.clone(),
        detail_type: fire.detail_type.clone(),
        event_time: fire.event_time.clone(),
        follows,
        replay_of: fire.replay_of.as_ref().map(String::from),
        has_task: fire.waiting.is_some().then_some(true),
        caller: fire.waiting.as_ref().and_then(|task| task.caller.clone()),
        trace_id: attempt.trace.as_ref().map(|trace| trace.trace_id.clone()),
        traceparent: attempt.trace.as_ref().and_then(|trace| trace.traceparent.clone()),
        chain_depth: Some(fire.chain_depth).filter(|depth| *depth > 0),
        usage: attempt.usage_before.map(UsageItem::from),
        ..ExecutionItem::default()
    };
    if let Some(snapshot) = &attempt.snapshot {
        record.add_snapshot(snapshot);
    }
    if let Some(detachment) = &attempt.detachment {
        record.add_detachment(detachment);
        record.ttl = Some(detachment.ttl(attempt.ttl));
    }
    record
}

/// Returns the names of finish reasons, joined by commas, or `None` if the list is empty.
fn joined(reasons: &[FinishReason]) -> Option<String> {
    let names: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
    (!names.is_empty()).then(|| names.join(","))
}

impl ExecutionItem {
    /// Adds how far a run has come: the events and bytes of its answer, the time of the last event, and the tokens of
    /// all attempts. The counts of skipped events and tools are written at the end only.
    pub(crate) fn add_progress(&mut self, reported: &Reported, usage_before: Option<Usage>) {
        let Reported { progress, last_event_at } = reported;
        self.events = Some(progress.events);
        self.bytes = Some(progress.bytes);
        self.last_event_at = Some(clock::rfc3339(*last_event_at));
        self.usage = sum(usage_before, progress.usage).map(UsageItem::from);
    }

    /// Adds what makes a run a detached one: its report key, its deadline, the time for its first report, and the ways
    /// to stop short that count as completed.
    pub(crate) fn add_detachment(&mut self, detachment: &Detachment) {
        let Detachment { report_key, deadline, first_report_seconds, accept_finish_reasons } = detachment;
        self.detached = Some(true);
        self.report_key = Some(report_key.clone());
        self.deadline = Some(*deadline);
        self.first_report_seconds = Some(*first_report_seconds);
        self.accept_finish_reasons = joined(accept_finish_reasons);
    }

    /// Adds the short description of what runs, in place of the one that the record has.
    pub(crate) fn add_snapshot(&mut self, snapshot: &Snapshot) {
        let Snapshot { settings_hash, agent_id, protocol, trigger_version, function_version, agent_definition_changed } =
            snapshot;
        self.agent_id = Some(agent_id.clone());
        self.settings_hash = Some(settings_hash.clone());
        self.protocol = protocol.clone();
        self.function_version = function_version.map(str::to_owned);
        self.agent_definition_changed = agent_definition_changed.then_some(true);
        self.trigger_version = trigger_version.clone();
    }
}

/// Returns what the end of an attempt writes. An attribute that nobody measured is absent, and so is one that says "no"
/// where its absence says so too. `retryable` is written with every failure.
pub(crate) fn ended(ending: &Ending) -> ExecutionItem {
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
    let mut record = ExecutionItem {
        status: Some(status.as_str().to_owned()),
        completed_at: Some(completed_at.clone()),
        skip_reason: skip_reason.map(|reason| reason.as_str().to_owned()),
        overlaps: overlaps.as_ref().map(|overlapping| overlapping.execution_id.clone()),
        overlap_limit: overlaps.as_ref().and_then(|overlapping| overlapping.limit),
        error: failure.as_ref().map(|failure| failure.record_text()),
        error_type: failure.as_ref().map(|failure| failure.error_type.as_str().to_owned()),
        retryable: failure.as_ref().map(|failure| failure.retryable),
        finish_reason: finish_reason.map(|reason| reason.as_str().to_owned()),
        request_id: request_id.clone(),
        session_id: session_id.clone(),
        duration_ms: *duration_ms,
        first_event_ms: *first_event_ms,
        stop_requested: stop.map(|_| true),
        stop_confirmed: stop.map(|stop| stop.confirmed),
        output: output.as_ref().map(|output| output.text.clone()),
        output_truncated: output.as_ref().map(|output| output.truncated),
        ..ExecutionItem::default()
    };
    if let Some(snapshot) = snapshot {
        record.add_snapshot(snapshot);
    }
    // The protocol of the answer says more than the one in which the agent was asked.
    if let Some(protocol) = protocol {
        record.protocol = Some(protocol.as_str().to_owned());
    }
    if let Some(reported) = reported {
        record.add_progress(reported, *usage_before);
        record.skipped_events = Some(reported.progress.skipped_events);
        record.tool_uses = Some(reported.progress.tool_uses);
    }
    record
}

/// Reads a stored execution. Returns `None` if this version does not know its status. Any other attribute that is
/// missing or of another type counts as absent.
pub fn row(item: Item) -> Option<Row> {
    let record = ExecutionItem::read(item);
    Some(Row {
        status: Status::from_name(&record.status?)?,
        user_id: record.user_id,
        owner: record.owner,
        attempt: record.attempt,
        lease_until: record.lease_until,
        rerun_if_interrupted: record.rerun_if_interrupted.unwrap_or(false),
        cancel_requested: record.cancel_requested,
        retryable: record.retryable.unwrap_or(false),
        lambda_request_id: record.lambda_request_id,
        event_time: record.event_time,
        started_at: record.started_at,
        ttl: record.ttl,
        error_type: record.error_type,
        error: record.error,
        session_id: record.session_id,
        request_id: record.request_id,
        usage: record.usage.map(Usage::from),
        settings_hash: record.settings_hash,
        agent_id: record.agent_id,
        caller: record.caller,
        last_event_at: record.last_event_at,
        report_key: record.report_key,
        detached_at: record.detached_at,
        deadline: record.deadline,
        first_report_seconds: record.first_report_seconds,
        heartbeat_seconds: record.heartbeat_seconds,
        ack_lost: record.ack_lost,
        completed_at: record.completed_at,
        late_report: record.late_report,
        accept_finish_reasons: record.accept_finish_reasons,
        has_run_lock: record.has_run_lock,
        run_slot: record.run_slot,
    })
}

impl From<Usage> for UsageItem {
    /// Writes every count, zero too.
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: Some(usage.input_tokens),
            output_tokens: Some(usage.output_tokens),
            cache_read_input_tokens: Some(usage.cache_read_input_tokens),
            cache_write_input_tokens: Some(usage.cache_write_input_tokens),
        }
    }
}

impl From<UsageItem> for Usage {
    /// A count that is absent is zero.
    fn from(usage: UsageItem) -> Self {
        Self {
            input_tokens: usage.input_tokens.unwrap_or_default(),
            output_tokens: usage.output_tokens.unwrap_or_default(),
            cache_read_input_tokens: usage.cache_read_input_tokens.unwrap_or_default(),
            cache_write_input_tokens: usage.cache_write_input_tokens.unwrap_or_default(),
        }
    }
}
