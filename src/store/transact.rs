//! DynamoDB: conditional writes as data, alone or several as one.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html>

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem, Update},
};

use crate::{
    store::execution_item::{Item, text},
    store::expression::Expression,
    store::{Store, StoreError, boxed, store_error},
};

/// A conditional write of one item.
pub(crate) enum ConditionalWrite {
    Put { item: Item, condition: String, expression: Expression },
    Update { key: (String, String), update: String, condition: Option<String>, expression: Expression },
}

/// What became of a transaction.
pub(crate) enum Transacted {
    Done,
    /// The condition of this part, counted from 0, did not hold; its item as it stands. Nothing is written.
    Refused(usize, Option<Item>),
    /// Another transaction was at the same items. Nothing is written.
    Conflict,
}

impl Store {
    /// Writes all of `writes` or nothing.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
    pub(crate) async fn transact(&self, writes: Vec<ConditionalWrite>) -> Result<Transacted, StoreError> {
        let items = writes.into_iter().map(|part| self.transact_item(part)).collect::<Result<_, _>>()?;
        let request = self.client.transact_write_items().set_transact_items(Some(items));
        // The SDK makes an idempotency token of its own for each call, which its tries share.
        let error = match boxed(request.send()).await {
            Ok(_) => return Ok(Transacted::Done),
            Err(error) => error,
        };
        if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() {
            let mut is_conflict = false;
            for (part, reason) in cancelled.cancellation_reasons().iter().enumerate() {
                match reason.code() {
                    Some("ConditionalCheckFailed") => return Ok(Transacted::Refused(part, reason.item.clone())),
                    Some("TransactionConflict") => is_conflict = true,
                    _ => {}
                }
            }
            if is_conflict {
                return Ok(Transacted::Conflict);
            }
        }
        Err(store_error("TransactWriteItems", &error))
    }

    fn transact_item(&self, part: ConditionalWrite) -> Result<TransactWriteItem, StoreError> {
        let some_of = |expression: Expression| {
            let values = Some(expression.values).filter(|values| !values.is_empty());
            (Some(expression.names), values)
        };
        let item = TransactWriteItem::builder();
        let built = match part {
            ConditionalWrite::Put { item: written, condition, expression } => {
                let (names, values) = some_of(expression);
                let put = Put::builder()
                    .table_name(&self.table)
                    .set_item(Some(written))
                    .condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(AllOld);
                put.build().map(|put| item.put(put))
            }
            ConditionalWrite::Update { key: (pk, sk), update, condition, expression } => {
                let (names, values) = some_of(expression);
                let changed = Update::builder()
                    .table_name(&self.table)
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
        // What these builders demand is all set above.
        built.map(|item| item.build()).map_err(|_| StoreError::Unreadable)
    }
}
