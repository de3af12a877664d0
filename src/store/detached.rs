//! The writes of a detached run between its call and its end.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    clock::{self, Clock},
    domain::{
        execution::{ExecutionRef, Row},
        report::AgentReport,
    },
    store::{
        Store, Write,
        endings::key_of,
        error::StoreError,
        execution_item::{EVENTS, ExecutionItem, LATE_REPORT, LEASE_UNTIL, UsageItem},
        expression::Expression,
        item::{number, text},
        table::{ConditionalWrite, Table},
    },
};

impl<T: Table, C: Clock> Store<T, C> {
    /// Notes a heartbeat that the agent of a detached run reported at `now`, in milliseconds since 1970: that it was
    /// heard, its tokens, and the end of its lease if the lease is the agent's. The run must still be as `seen`, but for
    /// its lease, which is never shortened.
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
        if let Some(until) = lease_until {
            condition = format!("{condition} AND {}", expression.absent_or_at_most(LEASE_UNTIL, number(until)));
        }
        let news = ExecutionItem {
            lease_until,
            last_event_at: Some(clock::rfc3339(now)),
            usage: report.usage.map(UsageItem::from),
            ..ExecutionItem::default()
        };
        let set = expression.set(news.into_attributes());
        let update = format!("{set} {}", expression.add(EVENTS, number(1)));
        let write = ConditionalWrite::Update { key: key_of(execution), update, condition: Some(condition), expression };
        self.write_conditionally(write).await
    }

    /// Keeps the status of a report that came after the run's end, unless one is kept already. Nothing happens then.
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
    /// Builds the condition that a run is as it ended, and that it has no attribute of this name yet.
    fn ended_as(&mut self, seen: &Row, absent: &str) -> String {
        use crate::store::execution_item::{REPORT_KEY, STATUS};
        let status = self.equals(STATUS, Some(text(seen.status.as_str())));
        let key = self.equals(REPORT_KEY, seen.report_key.as_ref().map(text));
        format!("{status} AND {key} AND {}", self.equals(absent, None))
    }
}
