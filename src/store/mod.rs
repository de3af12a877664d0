//! DynamoDB: every read and write of the function, each write conditional on what it rests on.

pub(crate) mod day_counter;
pub(crate) mod endings;
pub(crate) mod execution_item;
pub(crate) mod expression;
pub(crate) mod health;
pub(crate) mod input;
pub(crate) mod keys;
pub(crate) mod run_lock;
pub(crate) mod threshold;
pub(crate) mod transact;
pub(crate) mod trigger_item;

use std::{pin::Pin, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{put_item::PutItemError, update_item::UpdateItemError},
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure::AllOld},
};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use futures_util::FutureExt;

use crate::{
    domain::{
        attempt::Attempt,
        ending::Reported,
        execution::{ExecutionRef, Holder, Row, is_held},
        failure::{ErrorType, Failure},
        fire::Fire,
    },
    error_chain::chain,
    store::{
        execution_item::{Item, number, text},
        expression::Expression,
        transact::ConditionalWrite,
    },
};

/// One try of an operation.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// An operation with its retries.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TRIES: u32 = 6;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// Why the table did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB answered with an error.
    #[error("DynamoDB {operation} failed: {code}: {message}")]
    Service {
        /// The operation.
        operation: &'static str,
        /// DynamoDB's error code.
        code: String,
        /// DynamoDB's own words.
        message: String,
    },
    /// No answer came: whether something was written is unknown.
    #[error("DynamoDB {operation} got no answer: {cause}")]
    NoAnswer {
        /// The operation.
        operation: &'static str,
        /// What happened to the request.
        cause: String,
    },
    /// The invocation's time was up first: whether something was written is unknown.
    #[error("DynamoDB had not answered when the invocation's time was nearly up")]
    OutOfTime,
    /// The items changed under every write.
    #[error("the execution's items changed too often while they were written")]
    Contended,
    /// The stored row is not one this version understands.
    #[error("the stored execution has no status this version knows")]
    Unreadable,
}

/// What became of a conditional write.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one is made for each write and taken apart at once")]
pub(crate) enum Write {
    /// It is stored.
    Done,
    /// Its condition did not hold; the row as it stands.
    Refused(Option<Row>),
}

/// What a heartbeat learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    /// The lease lasts as long as was asked for, or longer.
    Extended,
    /// The lease is extended, and somebody asked for the execution's end.
    CancelRequested,
    /// This attempt does not own the execution any more.
    Refused,
}

/// The table.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) client: Client,
    pub(crate) table: String,
}

impl Store {
    /// Speaks to `table` through the shared configuration.
    pub fn new(config: &aws_config::SdkConfig, table: String) -> Self {
        let config = aws_sdk_dynamodb::config::Builder::from(config)
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .operation_timeout(OPERATION_TIMEOUT)
                    .build(),
            )
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(MAX_TRIES)
                    .with_initial_backoff(FIRST_BACKOFF)
                    .with_max_backoff(LONGEST_BACKOFF),
            )
            .build();
        Self { client: Client::from_conf(config), table }
    }

    /// Claims the execution if it does not exist, or if its ttl has passed.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
    pub(crate) async fn claim_new(
        &self,
        fire: &Fire,
        attempt: &Attempt,
        lease_until: i64,
        now: i64,
    ) -> Result<Write, StoreError> {
        let (condition, expression) = Expression::absent(now);
        self.put(execution_item::running_item(fire, attempt, lease_until), condition, expression).await
    }

    /// Claims the execution if its row is still exactly `seen`.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
    pub(crate) async fn claim_over(
        &self,
        fire: &Fire,
        attempt: &Attempt,
        lease_until: i64,
        seen: &Row,
    ) -> Result<Write, StoreError> {
        let mut expression = Expression::default();
        let condition = expression.unchanged_since(seen);
        self.put(execution_item::running_item(fire, attempt, lease_until), condition, expression).await
    }

    /// Extends the lease and writes the progress, if `owner` still owns a running execution. One that arrives after a
    /// later one leaves the longer lease: else another could take over what its owner believes to hold.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
    pub(crate) async fn heartbeat(
        &self,
        holder: Holder<'_>,
        lease_until: i64,
        reported: Option<&Reported>,
    ) -> Result<Heartbeat, StoreError> {
        let Holder { execution: ExecutionRef { trigger_id, execution_id, .. }, owner } = holder;
        let mut expression = Expression::default();
        let is_longer = expression.at_most("leaseUntil", number(lease_until));
        let condition = format!("{} AND {is_longer}", expression.owned_and_running(owner));
        let progress = reported.map(execution_item::progress_attributes).unwrap_or_default();
        let update = expression.set([("leaseUntil", number(lease_until))].into_iter().chain(progress));
        let key = keys::execution_key(trigger_id, execution_id);
        let row = match self.update(key, update, condition, expression, true).await? {
            Updated::Done(row) => row,
            Updated::Refused(row) if is_held(row.as_ref(), owner) => row,
            Updated::Refused(_) => return Ok(Heartbeat::Refused),
        };
        let is_cancelled = row.is_some_and(|row| row.cancel_requested == Some(true));
        Ok(if is_cancelled { Heartbeat::CancelRequested } else { Heartbeat::Extended })
    }

    /// Makes a write of an execution's.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
    pub(crate) async fn write_conditionally(&self, part: ConditionalWrite) -> Result<Write, StoreError> {
        match part {
            ConditionalWrite::Put { item, condition, expression } => self.put(item, condition, expression).await,
            ConditionalWrite::Update { key, update, condition, expression } => {
                self.write(key, update, condition.unwrap_or_default(), expression).await
            }
        }
    }

    /// The execution as it stands.
    ///
    /// # Errors
    /// If DynamoDB does not answer, or the row is unreadable.
    pub async fn execution(&self, trigger_id: &str, execution_id: &str) -> Result<Option<Row>, StoreError> {
        let item = self.get(keys::execution_key(trigger_id, execution_id), true).await?;
        item.map(|item| execution_item::row(&item).ok_or(StoreError::Unreadable)).transpose()
    }

    /// Remembers `execution_id` as that of the fire which only its Lambda request identifies. Returns the id remembered
    /// first, which is another one on Lambda's retry.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
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
            ("executionId".into(), text(execution_id)),
            ("ttl".into(), number(ttl)),
        ]);
        let mut expression = Expression::default();
        let condition = format!("attribute_not_exists({})", expression.name("PK"));
        match self.put_item(item, condition, expression).await? {
            Ok(()) => Ok(execution_id.to_owned()),
            Err(old) => {
                old.as_ref().and_then(|old| old.get("executionId")?.as_s().ok().cloned()).ok_or(StoreError::Unreadable)
            }
        }
    }

    /// Sets `lastExecutedAt` on the trigger item if it still exists: a plain update would recreate a deleted trigger.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
    pub async fn touch_trigger(&self, user_id: &str, trigger_id: &str, started_at: &str) -> Result<(), StoreError> {
        let mut expression = Expression::default();
        let condition = format!("attribute_exists({})", expression.name("PK"));
        let update = expression.set([("lastExecutedAt", text(started_at))]);
        let key = keys::trigger_key(user_id, trigger_id);
        self.update(key, update, condition, expression, false).await.map(|_| ())
    }

    pub(crate) async fn get(&self, (pk, sk): (String, String), consistent: bool) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(&self.table).key("PK", text(pk)).key("SK", text(sk));
        let output =
            boxed(request.consistent_read(consistent).send()).await.map_err(|error| store_error("GetItem", &error))?;
        Ok(output.item)
    }

    async fn put(&self, item: Item, condition: String, expression: Expression) -> Result<Write, StoreError> {
        Ok(match self.put_item(item, condition, expression).await? {
            Ok(()) => Write::Done,
            Err(old) => Write::Refused(readable(old.as_ref())?),
        })
    }

    pub(crate) async fn put_item(
        &self,
        item: Item,
        condition: String,
        expression: Expression,
    ) -> Result<Result<(), Option<Item>>, StoreError> {
        let request =
            self.client.put_item().table_name(&self.table).set_item(Some(item)).condition_expression(condition);
        let request = request
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values).filter(|values| !values.is_empty()))
            .return_values_on_condition_check_failure(AllOld);
        match boxed(request.send()).await {
            Ok(_) => Ok(Ok(())),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => Ok(Err(refused.item.clone())),
                _ => Err(store_error("PutItem", &error)),
            },
        }
    }

    pub(crate) async fn write(
        &self,
        key: (String, String),
        update: String,
        condition: String,
        expression: Expression,
    ) -> Result<Write, StoreError> {
        Ok(match self.update(key, update, condition, expression, false).await? {
            Updated::Done(_) => Write::Done,
            Updated::Refused(row) => Write::Refused(row),
        })
    }

    async fn update(
        &self,
        key: (String, String),
        update: String,
        condition: String,
        expression: Expression,
        return_new: bool,
    ) -> Result<Updated, StoreError> {
        Ok(match self.update_item(key, update, condition, expression, return_new).await? {
            Ok(item) => Updated::Done(item.as_ref().and_then(execution_item::row)),
            Err(item) => Updated::Refused(readable(item.as_ref())?),
        })
    }

    /// Updates an item of any kind: as it is afterwards, if `return_new`, or as it refused the update.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
    pub(crate) async fn update_item(
        &self,
        (pk, sk): (String, String),
        update: String,
        condition: String,
        expression: Expression,
        return_new: bool,
    ) -> Result<Result<Option<Item>, Option<Item>>, StoreError> {
        let request = self.client.update_item().table_name(&self.table).key("PK", text(pk)).key("SK", text(sk));
        let request = request
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values).filter(|values| !values.is_empty()))
            .return_values(if return_new { ReturnValue::AllNew } else { ReturnValue::None })
            .return_values_on_condition_check_failure(AllOld);
        match boxed(request.send()).await {
            Ok(output) => Ok(Ok(output.attributes)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => Ok(Err(refused.item.clone())),
                _ => Err(store_error("UpdateItem", &error)),
            },
        }
    }
}

/// What `answer` tells, or that none came by then.
///
/// # Errors
/// Those of `answer`; [`StoreError::OutOfTime`] if there is none.
pub(crate) fn in_time<T>(
    until: tokio::time::Instant,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> impl Future<Output = Result<T, StoreError>> {
    tokio::time::timeout_at(until, answer).map(|answer| answer.unwrap_or(Err(StoreError::OutOfTime)))
}

enum Updated {
    Done(Option<Row>),
    Refused(Option<Row>),
}

/// On the heap: these futures are large, and those of a run, of which some are awaited two at once, would lie side by side in
/// its own. Pass the call itself, no variable, which would have its place in the caller's future as well. For the same reason
/// [`in_time`] is no async function: one keeps both its argument and what it awaits.
pub(crate) fn boxed<F: Future>(sending: F) -> Pin<Box<F>> {
    Box::pin(sending)
}

pub(crate) fn readable(item: Option<&Item>) -> Result<Option<Row>, StoreError> {
    item.map(|item| execution_item::row(item).ok_or(StoreError::Unreadable)).transpose()
}

pub(crate) fn store_error<E>(operation: &'static str, error: &SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if matches!(error, SdkError::ServiceError(_)) {
        return StoreError::Service {
            operation,
            code: error.code().unwrap_or("unknown error").to_owned(),
            message: error.message().unwrap_or_default().to_owned(),
        };
    }
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), chain);
    StoreError::NoAnswer { operation, cause }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::retryable(ErrorType::RecordStoreFailed, chain(&error))
    }
}
