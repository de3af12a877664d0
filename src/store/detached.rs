//! The writes of a detached run between its call and its end.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    clock::{self, Clock},
    domain::{
        agent_report::AgentReport,
        detached::Detachment,
        ending::Snapshot,
        execution::{ExecutionRef, Holder, Row, Status},
        run_lock::Slot,
        usage::so_far,
    },
    store::{
        Store, Write,
        endings::key_of,
        error::StoreError,
        execution_item::{
            ACCEPT_FINISH_REASONS, CANCEL_REQUESTED, DEADLINE, DETACHED, DETACHED_AT, EVENTS, ExecutionItem,
            FIRST_REPORT_SECONDS, LATE_REPORT, LEASE_UNTIL, REPORT_KEY, RETRYABLE, STATUS, UsageItem,
        },
        expression::Expression,
        item::{number, text},
        keys, readable,
        table::{ConditionalWrite, Table, Written},
    },
};

/// The facts of a hand-over of the lease from an invocation to the agent.
#[derive(Debug, Clone, Default)]
pub struct HandOver {
    /// The end of the agent's lease, in milliseconds since 1970.
    pub lease_until: i64,
    /// The interval at which the agent promised to report, in seconds.
    pub heartbeat_seconds: Option<u32>,
    /// True if the agent has acknowledged nothing.
    pub is_ack_lost: bool,
    /// True if it is known that the agent has reported before.
    pub has_reported: bool,
    /// The agent's request id, from its response header.
    pub request_id: Option<String>,
    /// The description of what runs, if the claim did not write it.
    pub snapshot: Option<Snapshot>,
    /// The slot of its trigger's run lock that the run holds until it ends, if it holds one.
    pub run_slot: Option<Slot>,
}

impl HandOver {
    /// Returns the attributes that a hand-over at `now`, in milliseconds since 1970, writes: `detachedAt`, the end of
    /// the agent's lease, and those of the facts that are known. Facts that are false or absent are left out, and so is
    /// `has_reported`.
    fn into_attributes(self, now: i64) -> Vec<(&'static str, AttributeValue)> {
        let mut record = ExecutionItem::default();
        if let Some(snapshot) = &self.snapshot {
            record.add_snapshot(snapshot);
        }
        record.detached_at = Some(clock::rfc3339(now));
        record.lease_until = Some(self.lease_until);
        record.heartbeat_seconds = self.heartbeat_seconds;
        record.ack_lost = self.is_ack_lost.then_some(true);
        record.request_id = self.request_id;
        record.has_run_lock = self.run_slot.map(|_| true);
        // Slot 0 is not named, as before there were others.
        record.run_slot = self.run_slot.filter(|slot| *slot > 0);
        record.into_attributes()
    }
}

impl<T: Table, C: Clock> Store<T, C> {
    /// Writes the report key, the times and the accepted ways to stop short of the run of `owner`, or with `None`
    /// removes them, so that it is no detached one. This corrects a claim that wrote something else. The record's
    /// `ttl`, in seconds since 1970, becomes later if the deadline wants it. With `None` it stays as it is. The attempt
    /// must still own the running execution. Otherwise the write is refused.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been written all the same.
    pub async fn set_detachment(
        &self,
        holder: Holder<'_>,
        detachment: Option<&Detachment>,
        ttl: i64,
    ) -> Result<Write, StoreError> {
        let mut expression = Expression::default();
        let condition = Some(expression.owned_and_running(holder.owner));
        let update = match detachment {
            Some(detachment) => {
                let mut record = ExecutionItem { ttl: Some(detachment.ttl(ttl)), ..ExecutionItem::default() };
                record.add_detachment(detachment);
                let accepts_none = record.accept_finish_reasons.is_none();
                let set = expression.set(record.into_attributes());
                // The claim may have written what the event accepts, and the stored trigger accepts nothing.
                if accepts_none { format!("{set} {}", expression.remove(&[ACCEPT_FINISH_REASONS])) } else { set }
            }
            None => expression.remove(&[DETACHED, REPORT_KEY, DEADLINE, FIRST_REPORT_SECONDS, ACCEPT_FINISH_REASONS]),
        };
        let key = key_of(holder.execution);
        self.write_conditionally(ConditionalWrite::Update { key, update, condition, expression }).await
    }

    /// Lets the lease of `owner` pass to the agent at `now`, in milliseconds since 1970. The attempt must still own the
    /// running execution, and the lease must not have passed to the agent before. If the acknowledgement is lost, the
    /// agent must not have reported either, unless the facts say so. Otherwise the write is refused.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been written all the same.
    pub async fn hand_over(&self, holder: Holder<'_>, facts: HandOver, now: i64) -> Result<Write, StoreError> {
        let mut expression = Expression::default();
        let is_own = expression.owned_and_running(holder.owner);
        let mut condition = format!("{is_own} AND {}", expression.equals(DETACHED_AT, None));
        if facts.is_ack_lost && !facts.has_reported {
            // The report of a heartbeat removes it.
            condition = format!("{condition} AND {}", expression.exists(FIRST_REPORT_SECONDS));
        }
        let condition = Some(condition);
        let update = expression.set(facts.into_attributes(now));
        let key = key_of(holder.execution);
        self.write_conditionally(ConditionalWrite::Update { key, update, condition, expression }).await
    }

    /// Lets the lease of a dead attempt pass to the agent at `now`, in milliseconds since 1970. The caller knows from
    /// `seen` that the attempt is dead. The row must still have the status, owner, attempt, lease, request to cancel,
    /// time of hand-over and `firstReportSeconds` of `seen`. Otherwise the write is refused.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been written all the same.
    pub async fn hand_over_dead(
        &self,
        execution: ExecutionRef<'_>,
        seen: &Row,
        facts: HandOver,
        now: i64,
    ) -> Result<Write, StoreError> {
        let mut expression = Expression::default();
        let first_report = expression.equals(FIRST_REPORT_SECONDS, seen.first_report_seconds.map(number));
        let condition = Some(format!("{} AND {first_report}", expression.unchanged_since(seen)));
        let update = expression.set(facts.into_attributes(now));
        let key = key_of(execution);
        self.write_conditionally(ConditionalWrite::Update { key, update, condition, expression }).await
    }

    /// Requests the end of an execution that is running or may be retried, and returns its row after that. Any other
    /// execution is left as it is, and its row is returned. Returns `None` if there is no execution.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it, or the row is unreadable.
    pub async fn ask_to_cancel(&self, trigger_id: &str, execution_id: &str) -> Result<Option<Row>, StoreError> {
        let mut expression = Expression::default();
        let is_running = expression.equals(STATUS, Some(text(Status::Running.as_str())));
        let may_be_retried = expression.equals(RETRYABLE, Some(AttributeValue::Bool(true)));
        let condition = Some(format!("{is_running} OR {may_be_retried}"));
        let update = expression.set([(CANCEL_REQUESTED, AttributeValue::Bool(true))]);
        let key = keys::execution_key(trigger_id, execution_id);
        let write = ConditionalWrite::Update { key, update, condition, expression };
        match self.table.write(write, true).await? {
            Written::Done(item) | Written::Refused(item) => readable(item),
        }
    }

    /// Notes a heartbeat that the agent of a detached run reported at `now`, in milliseconds since 1970: that it was
    /// heard, one more event, and its tokens if it named any, none of them fewer than before. The run must still be
    /// running, with the report key and the request to cancel of `seen`. `lease_until` becomes the end of the agent's
    /// lease, and the stored one must not be later. Without it the lease is the invocation's: it must not have passed
    /// to the agent, and once it does, no first report is waited for. Otherwise the write is refused.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been written all the same.
    pub async fn note_report(
        &self,
        execution: ExecutionRef<'_>,
        seen: &Row,
        report: &AgentReport,
        lease_until: Option<i64>,
        now: i64,
    ) -> Result<Write, StoreError> {
        let mut expression = Expression::default();
        let mut condition = expression.reportable(seen);
        let of_lease = match lease_until {
            Some(until) => expression.absent_or_at_most(LEASE_UNTIL, number(until)),
            // The hand-over may have come since, and the report must extend the agent's lease then.
            None => expression.equals(DETACHED_AT, None),
        };
        condition = format!("{condition} AND {of_lease}");
        let news = ExecutionItem {
            lease_until,
            last_event_at: Some(clock::rfc3339(now)),
            usage: report.usage.and_then(|usage| so_far(seen.usage, Some(usage))).map(UsageItem::from),
            ..ExecutionItem::default()
        };
        let set = expression.set(news.into_attributes());
        let mut update = format!("{set} {}", expression.add(EVENTS, number(1)));
        if lease_until.is_none() {
            update = format!("{update} {}", expression.remove(&[FIRST_REPORT_SECONDS]));
        }
        let write = ConditionalWrite::Update { key: key_of(execution), update, condition: Some(condition), expression };
        self.write_conditionally(write).await
    }

    /// Keeps the status of a report that came after the run's end. The row must still have the status and the report
    /// key of `seen`, and no late report. Otherwise nothing happens.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it.
    pub async fn keep_late_report(
        &self,
        execution: ExecutionRef<'_>,
        seen: &Row,
        report: &AgentReport,
    ) -> Result<(), StoreError> {
        let mut expression = Expression::default();
        let condition = expression.ended_as(seen, LATE_REPORT);
        let status: &'static str = report.status.into();
        let update = expression.set([(LATE_REPORT, AttributeValue::S(status.to_owned()))]);
        let write = ConditionalWrite::Update { key: key_of(execution), update, condition: Some(condition), expression };
        self.write_conditionally(write).await.map(|_| ())
    }
}

impl Expression {
    /// Builds the condition that a run has the status and the report key of `seen`, and no attribute `absent` yet.
    fn ended_as(&mut self, seen: &Row, absent: &str) -> String {
        let status = self.equals(STATUS, Some(text(seen.status.as_str())));
        let key = self.equals(REPORT_KEY, seen.report_key.as_ref().map(text));
        format!("{status} AND {key} AND {}", self.equals(absent, None))
    }
}
