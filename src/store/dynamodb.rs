//! The table in DynamoDB: its client with time limits and retries, and each operation of the port as a request.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html>

use std::{pin::Pin, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError, update_item::UpdateItemError},
    types::{Put, ReturnValue, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem, Update},
};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};

use crate::{
    error_chain::chain,
    store::{
        error::StoreError,
        expression::Expression,
        item::{Item, Key, text},
        table::{ConditionalWrite, Query, Table, Transacted, Written},
    },
};

/// The time limit of one try of an operation.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit of an operation with its retries.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TRIES: u32 = 6;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// A table in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    pub(super) client: Client,
    /// The table's name.
    pub(super) name: String,
}

impl DynamoDb {
    /// Creates the client of the table `name`: at most six tries of 2 s each, and 5 s in all, for each operation. The
    /// waits between the tries are random, at first at most 50 ms and later at most 1 s.
    pub(super) fn new(config: &aws_config::SdkConfig, name: String) -> Self {
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
        Self { client: Client::from_conf(config), name }
    }

    /// Returns the client, for reads that only the control plane makes.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes a whole item, in place of the one under its key if there is one, if its condition holds. A refusal
    /// returns the item as it stands, if there is one. A refusal may also mean that an earlier try of the same put was
    /// applied, and only its answer was lost.
    async fn put(&self, item: Item, condition: String, expression: Expression) -> Result<Written, StoreError> {
        let request =
            self.client.put_item().table_name(&self.name).set_item(Some(item)).condition_expression(condition);
        let request = request
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values).filter(|values| !values.is_empty()))
            .return_values_on_condition_check_failure(AllOld);
        match boxed(request.send()).await {
            Ok(_) => Ok(Written::Done(None)),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Written::Refused(refused.item.clone()))
                }
                _ => Err(store_error("PutItem", &error)),
            },
        }
    }

    /// Changes an item if its condition holds, and creates it if there is none and the condition allows this. With
    /// `return_new` the whole item after the change is returned. A refusal returns the item as it stands, if there is
    /// one. As for [`Self::put`], it may mean that an earlier try was applied.
    async fn update(
        &self,
        (pk, sk): Key,
        update: String,
        condition: Option<String>,
        expression: Expression,
        return_new: bool,
    ) -> Result<Written, StoreError> {
        let request = self.client.update_item().table_name(&self.name).key("PK", text(pk)).key("SK", text(sk));
        let request = request
            .update_expression(update)
            .set_condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values).filter(|values| !values.is_empty()))
            .return_values(if return_new { ReturnValue::AllNew } else { ReturnValue::None })
            .return_values_on_condition_check_failure(AllOld);
        match boxed(request.send()).await {
            Ok(output) => Ok(Written::Done(output.attributes)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Written::Refused(refused.item.clone()))
                }
                _ => Err(store_error("UpdateItem", &error)),
            },
        }
    }

    /// Builds one part of a transaction from a write, with the conditions and placeholders that [`Self::put`] and
    /// [`Self::update`] send. If its condition does not hold, DynamoDB returns the item as it stands.
    ///
    /// # Errors
    /// None in practice: the SDK's builders fail only if a required member is missing.
    fn transact_item(&self, write: ConditionalWrite) -> Result<TransactWriteItem, StoreError> {
        let placeholders = |expression: Expression| {
            let values = Some(expression.values).filter(|values| !values.is_empty());
            (Some(expression.names), values)
        };
        let item = TransactWriteItem::builder();
        let built = match write {
            ConditionalWrite::Put { item: written, condition, expression } => {
                let (names, values) = placeholders(expression);
                let put = Put::builder()
                    .table_name(&self.name)
                    .set_item(Some(written))
                    .condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(AllOld);
                put.build().map(|put| item.put(put))
            }
            ConditionalWrite::Update { key: (pk, sk), update, condition, expression } => {
                let (names, values) = placeholders(expression);
                let changed = Update::builder()
                    .table_name(&self.name)
                    .key("PK", text(pk))
                    .key("SK", text(sk))
                    .update_expression(update)
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(AllOld);
                changed.build().map(|update| item.update(update))
            }
        };
        // The builders fail only if a required field is missing, and all of them are set above.
        built.map(|item| item.build()).map_err(|_| StoreError::Unreadable)
    }
}

impl Table for DynamoDb {
    /// Reads an item with `GetItem`, or returns `None` if there is none. The table's failure is an error.
    async fn get(&self, (pk, sk): Key, consistent: bool) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(&self.name).key("PK", text(pk)).key("SK", text(sk));
        let output =
            boxed(request.consistent_read(consistent).send()).await.map_err(|error| store_error("GetItem", &error))?;
        Ok(output.item)
    }

    /// Reads page by page until there is no other, in consistent reads. The limit of 5 s holds for each page. If one
    /// page fails, this is an error, and nothing is returned of the others.
    async fn query(&self, query: Query) -> Result<Vec<Item>, StoreError> {
        let Query { partition, from, to, filter, mut expression } = query;
        let (pk, sk) = (expression.name("PK"), expression.name("SK"));
        expression
            .values
            .extend([(":pk", partition), (":from", from), (":to", to)].map(|(n, v)| (n.to_owned(), text(v))));
        let request = self
            .client
            .query()
            .table_name(&self.name)
            .consistent_read(true)
            .key_condition_expression(format!("{pk} = :pk AND {sk} BETWEEN :from AND :to"))
            .filter_expression(filter)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values));
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = request.clone().set_exclusive_start_key(after);
            let page = boxed(page.send()).await.map_err(|error| store_error("Query", &error))?;
            found.extend(page.items.unwrap_or_default());
            after = page.last_evaluated_key.filter(|key| !key.is_empty());
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    /// Makes one write, as [`DynamoDb::put`] or [`DynamoDb::update`] does, and returns what that returns.
    async fn write(&self, write: ConditionalWrite, return_new: bool) -> Result<Written, StoreError> {
        match write {
            ConditionalWrite::Put { item, condition, expression } => self.put(item, condition, expression).await,
            ConditionalWrite::Update { key, update, condition, expression } => {
                self.update(key, update, condition, expression, return_new).await
            }
        }
    }

    /// Makes all writes or none. The first write whose condition failed is reported. A conflict is reported only if no
    /// condition failed, and a write that can never be made only if there is no conflict. Any other reason for a
    /// cancellation is an error.
    async fn transact(&self, writes: Vec<ConditionalWrite>) -> Result<Transacted, StoreError> {
        let items = writes.into_iter().map(|write| self.transact_item(write)).collect::<Result<_, _>>()?;
        let request = self.client.transact_write_items().set_transact_items(Some(items));
        // The SDK makes an idempotency token of its own for each call, which all its tries share.
        let error = match boxed(request.send()).await {
            Ok(_) => return Ok(Transacted::Done),
            Err(error) => error,
        };
        if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() {
            let mut is_conflict = false;
            let mut unwritable = None;
            for (index, reason) in cancelled.cancellation_reasons().iter().enumerate() {
                match reason.code() {
                    Some("ConditionalCheckFailed") => return Ok(Transacted::Refused(index, reason.item.clone())),
                    Some("TransactionConflict") => is_conflict = true,
                    Some("ValidationError" | "ItemCollectionSizeLimitExceeded") => {
                        let message = reason.message().unwrap_or_default().to_owned();
                        unwritable.get_or_insert(StoreError::Unwritable { index, message });
                    }
                    _ => {}
                }
            }
            if is_conflict {
                return Ok(Transacted::Conflict);
            }
            if let Some(unwritable) = unwritable {
                return Err(unwritable);
            }
        }
        Err(store_error("TransactWriteItems", &error))
    }
}

/// Returns the error of an operation that failed, without the SDK's types. If DynamoDB did not answer, it is unknown
/// whether something was written.
pub(super) fn store_error<E>(operation: &'static str, error: &SdkError<E>) -> StoreError
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

/// Puts a future on the heap, so that the large futures of the SDK do not enlarge the future that awaits them. A run
/// awaits some of them two at once. Pass the call itself: a variable would take its place in the caller's future as
/// well. For the same reason [`Store::in_time`](super::Store::in_time) is no async function: an async function keeps
/// both its argument and the future that it awaits.
pub(crate) fn boxed<F: Future>(sending: F) -> Pin<Box<F>> {
    Box::pin(sending)
}
