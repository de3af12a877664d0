//! Every read and write of the table. A write that was decided on a state that was read has the condition that it is
//! unchanged.
//!
//! There is one file for each kind of item. `expression` builds the conditions, `table` is the port to the table, and
//! `dynamodb` implements it. No other folder of the function names DynamoDB's attribute values.

pub(crate) mod agents;
pub mod day_counter;
pub mod detached;
pub mod dynamodb;
pub mod endings;
pub mod error;
pub mod execution_item;
pub mod expression;
pub mod health;
pub mod in_place;
pub mod input;
pub mod item;
pub mod keys;
pub mod records;
pub mod run_lock;
pub mod run_slots;
pub mod table;
pub(crate) mod threshold;
pub mod trigger_item;
pub(crate) mod waiting_tasks;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::{
    clock::{Clock, SystemClock},
    domain::{
        attempt::Attempt,
        ending::{Reported, Snapshot},
        execution::{ExecutionRef, Holder, Row, is_held},
        fire::Fire,
        usage::Usage,
    },
    store::{
        dynamodb::DynamoDb,
        error::StoreError,
        execution_item::{EXECUTION_ID, ExecutionItem, LEASE_UNTIL, TTL},
        expression::Expression,
        item::{Item, number, string, text},
        table::{ConditionalWrite, Table, Written},
    },
};

/// The result of a conditional write to an execution's record.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one is made for each write and taken apart at once")]
pub enum Write {
    /// It is stored.
    Done,
    /// Its condition did not hold. Holds the row as it stands, if there is one.
    Refused(Option<Row>),
}

/// The result of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// The lease lasts as long as was asked for, or longer.
    Extended,
    /// The lease is extended, and somebody asked for the execution's end.
    CancelRequested,
    /// This attempt does not own the execution any more.
    Refused,
}

/// The attributes that a heartbeat writes besides the lease.
#[derive(Debug, Clone, Copy, Default)]
pub struct News<'a> {
    /// The run's progress.
    pub reported: Option<&'a Reported>,
    /// The tokens of earlier attempts.
    pub usage_before: Option<Usage>,
    /// The description of what runs, if the claim did not write it.
    pub snapshot: Option<&'a Snapshot>,
}

impl News<'_> {
    /// Returns the attributes of the news. What is not known is left out. The heartbeat does not build them itself,
    /// because its future would keep the whole item.
    fn attributes(self) -> Vec<(&'static str, AttributeValue)> {
        let mut record = ExecutionItem::default();
        if let Some(reported) = self.reported {
            record.add_progress(reported, self.usage_before);
        }
        if let Some(snapshot) = self.snapshot {
            record.add_snapshot(snapshot);
        }
        record.into_attributes()
    }
}

/// The table with its typed reads and writes. It is generic over the table itself and over the clock, so that the model
/// check (tests/model) drives these very operations over a simulated table.
#[derive(Debug, Clone)]
pub struct Store<T = DynamoDb, C = SystemClock> {
    pub(crate) table: T,
    /// The clock that the writes are stamped by.
    pub(crate) clock: C,
}

impl Store {
    /// Creates a store that sends to `table` through the shared configuration.
    pub fn new(config: &aws_config::SdkConfig, table: String) -> Self {
        Self { table: DynamoDb::new(config, table), clock: SystemClock }
    }
}

impl<T: Table, C: Clock> Store<T, C> {
    /// Creates a store over a table and a clock.
    pub fn with_ports(table: T, clock: C) -> Self {
        Self { table, clock }
    }

    /// Returns the table.
    pub fn table(&self) -> &T {
        &self.table
    }

    /// Claims the execution if it does not exist, or if its ttl has passed: writes the whole row of a running attempt.
    /// `now` and `lease_until` are in milliseconds since 1970. If the write was applied and its answer was lost, the
    /// SDK's next try is refused, and the row names this attempt as the owner: the caller must look.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been written all the same.
    pub async fn claim_new(
        &self,
        fire: &Fire,
        attempt: &Attempt,
        lease_until: i64,
        now: i64,
    ) -> Result<Write, StoreError> {
        let (condition, expression) = Expression::absent(now);
        let item = records::running_item(fire, attempt, lease_until);
        self.write_conditionally(ConditionalWrite::Put { item, condition, expression }).await
    }

    /// Claims the execution if its row is still exactly `seen`, in all attributes on which a decision depends. The row
    /// is replaced as a whole. A lost answer looks like a refusal, as that of [`Self::claim_new`] does.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been written all the same.
    pub async fn claim_over(
        &self,
        fire: &Fire,
        attempt: &Attempt,
        lease_until: i64,
        seen: &Row,
    ) -> Result<Write, StoreError> {
        let mut expression = Expression::default();
        let condition = expression.unchanged_since(seen);
        let item = records::running_item(fire, attempt, lease_until);
        self.write_conditionally(ConditionalWrite::Put { item, condition, expression }).await
    }

    /// Extends the lease to `lease_until`, in milliseconds since 1970, and writes the news, if `owner` still owns a
    /// running execution. If a heartbeat arrives after a later one, the longer lease stays, its news are not written,
    /// and it still counts as extended. Otherwise another attempt could take over an execution that the owner believes
    /// to hold. Returns `CancelRequested` if the row asks for the execution's end, and `Refused` if `owner` does not
    /// own it.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it, or the row is unreadable. It may have been written all the same.
    pub async fn heartbeat(
        &self,
        holder: Holder<'_>,
        lease_until: i64,
        news: News<'_>,
    ) -> Result<Heartbeat, StoreError> {
        let Holder { execution: ExecutionRef { trigger_id, execution_id, .. }, owner } = holder;
        let mut expression = Expression::default();
        let is_longer = expression.at_most(LEASE_UNTIL, number(lease_until));
        let condition = format!("{} AND {is_longer}", expression.owned_and_running(owner));
        let lease = [(LEASE_UNTIL, number(lease_until))];
        let update = expression.set(lease.into_iter().chain(news.attributes()));
        let key = keys::execution_key(trigger_id, execution_id);
        let write = ConditionalWrite::Update { key, update, condition: Some(condition), expression };
        let row = match self.table.write(write, true).await? {
            Written::Done(item) => item.and_then(records::row),
            Written::Refused(item) => {
                let row = readable(item)?;
                if !is_held(row.as_ref(), owner) {
                    return Ok(Heartbeat::Refused);
                }
                row
            }
        };
        let is_cancelled = row.is_some_and(|row| row.cancel_requested == Some(true));
        Ok(if is_cancelled { Heartbeat::CancelRequested } else { Heartbeat::Extended })
    }

    /// Makes a write of an execution's record. A refusal is no error and holds the row as it stands.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it, which may have been written all the same, or if the row that
    /// refused it is unreadable.
    pub async fn write_conditionally(&self, write: ConditionalWrite) -> Result<Write, StoreError> {
        Ok(match self.table.write(write, false).await? {
            Written::Done(_) => Write::Done,
            Written::Refused(item) => Write::Refused(readable(item)?),
        })
    }

    /// Reads the execution's row, if there is one, in a consistent read. A row whose ttl has passed is returned, too.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result, or the row is unreadable.
    pub async fn execution(&self, trigger_id: &str, execution_id: &str) -> Result<Option<Row>, StoreError> {
        let item = self.table.get(keys::execution_key(trigger_id, execution_id), true).await?;
        readable(item)
    }

    /// Remembers `execution_id` for a fire that only its Lambda request identifies, with a `ttl` in seconds since 1970.
    /// Returns the id that is remembered: on Lambda's retry, the one that was remembered first. An item whose ttl has
    /// passed still counts until DynamoDB deletes it.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it, or the item is unreadable.
    pub async fn remember_execution_id(
        &self,
        trigger_id: &str,
        request_id: &str,
        execution_id: &str,
        ttl: i64,
    ) -> Result<String, StoreError> {
        let (pk, sk) = keys::guard_key(trigger_id, request_id);
        let item = Item::from([
            ("PK".into(), text(pk)),
            ("SK".into(), text(sk)),
            (EXECUTION_ID.into(), text(execution_id)),
            (TTL.into(), number(ttl)),
        ]);
        let mut expression = Expression::default();
        let condition = format!("attribute_not_exists({})", expression.name("PK"));
        match self.table.write(ConditionalWrite::Put { item, condition, expression }, false).await? {
            Written::Done(_) => Ok(execution_id.to_owned()),
            Written::Refused(old) => {
                old.as_ref().and_then(|old| string(old, EXECUTION_ID)).ok_or(StoreError::Unreadable)
            }
        }
    }

    /// Returns the execution id that is remembered for a fire that only its Lambda request identifies, in a consistent
    /// read. Returns `None` if there is none or its item is unreadable. An item whose ttl has passed still counts until
    /// DynamoDB deletes it.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result.
    pub(crate) async fn remembered_execution_id(
        &self,
        trigger_id: &str,
        request_id: &str,
    ) -> Result<Option<String>, StoreError> {
        let item = self.table.get(keys::guard_key(trigger_id, request_id), true).await?;
        Ok(item.as_ref().and_then(|item| string(item, EXECUTION_ID)))
    }

    /// Sets `lastExecutedAt` on the trigger item to `started_at`, even over a later time, if the item still exists. A
    /// plain update would recreate a deleted trigger. Without an item nothing is written, and this is no error.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it.
    pub async fn touch_trigger(&self, user_id: &str, trigger_id: &str, started_at: &str) -> Result<(), StoreError> {
        let mut expression = Expression::default();
        let condition = format!("attribute_exists({})", expression.name("PK"));
        let update = expression.set([("lastExecutedAt", text(started_at))]);
        let key = keys::trigger_key(user_id, trigger_id);
        let write = ConditionalWrite::Update { key, update, condition: Some(condition), expression };
        self.table.write(write, false).await.map(|_| ())
    }

    /// Waits for `answer` until `until`. If it is not there by then, it is dropped. A write that it made may have been
    /// applied.
    ///
    /// # Errors
    /// Returns the errors of `answer`, and [`StoreError::OutOfTime`] if there is no answer by then.
    pub(crate) fn in_time<A>(
        &self,
        until: Instant,
        answer: impl Future<Output = Result<A, StoreError>>,
    ) -> impl Future<Output = Result<A, StoreError>> {
        self.clock.timeout_at(until, answer).map(|answer| answer.unwrap_or(Err(StoreError::OutOfTime)))
    }
}

/// Returns the row of an execution's item, or `None` if there is no item.
///
/// # Errors
/// Returns an error if this version does not know the row's status.
pub(crate) fn readable(item: Option<Item>) -> Result<Option<Row>, StoreError> {
    item.map(|item| records::row(item).ok_or(StoreError::Unreadable)).transpose()
}
