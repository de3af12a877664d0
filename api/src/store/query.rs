//! Queries of one partition, page by page.

use agent_trigger::{
    error_chain::chain,
    store::{error::StoreError, item::Item},
};
use aws_sdk_dynamodb::{error::ProvideErrorMetadata, types::AttributeValue};
use serde_json::{Map, Value};

use crate::store::{Items, object_of, text};

/// A part of a partition: the items whose sort keys lie between `first` and `last`, both included.
#[derive(Debug, Clone, Default)]
pub(super) struct Range {
    pub(super) pk: String,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) is_ascending: bool,
    /// An attribute and the texts of which it must have one, if others are to be left out. DynamoDB reads and charges
    /// for what it leaves out, but does not send it.
    pub(super) only: Option<(&'static str, Vec<String>)>,
}

/// A page as DynamoDB gave it.
pub(super) struct Read {
    pub(super) items: Vec<Map<String, Value>>,
    /// The number of items that were looked at, those that were left out among them.
    pub(super) looked_at: usize,
    /// The sort key after which the next page begins, if there may be one.
    pub(super) next: Option<String>,
}

impl Items {
    /// Reads a page of a range, for which at most `limit` items and 1 MB are looked at, after the item with this sort
    /// key, in an eventually consistent read. Items whose ttl has passed are among them.
    ///
    /// # Errors
    /// Returns an error if DynamoDB refuses or does not answer.
    pub(super) async fn page(&self, range: &Range, after: Option<&str>, limit: usize) -> Result<Read, StoreError> {
        let table = self.table();
        let start = after.map(|sk| Item::from([("PK".to_owned(), text(&range.pk)), ("SK".to_owned(), text(sk))]));
        let request = table
            .client()
            .query()
            .table_name(table.name())
            .key_condition_expression("PK = :pk AND SK BETWEEN :first AND :last")
            .expression_attribute_values(":pk", text(&range.pk))
            .expression_attribute_values(":first", text(&range.first))
            .expression_attribute_values(":last", text(&range.last))
            .scan_index_forward(range.is_ascending)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start);
        let request = match &range.only {
            None => request,
            Some((attribute, wanted)) => {
                let names: Vec<_> = (0..wanted.len()).map(|at| format!(":only{at}")).collect();
                let request = request.expression_attribute_names("#only", *attribute);
                let request = request.filter_expression(format!("#only IN ({})", names.join(", ")));
                let values = names.into_iter().zip(wanted);
                values.fold(request, |request, (name, value)| request.expression_attribute_values(name, text(value)))
            }
        };
        let output = Box::pin(request.send()).await.map_err(|error| match error.as_service_error() {
            Some(service) => StoreError::Service {
                operation: "Query",
                code: service.code().unwrap_or("unknown error").to_owned(),
                message: service.message().unwrap_or_default().to_owned(),
            },
            None => StoreError::NoAnswer { operation: "Query", cause: chain(&error) },
        })?;
        let next = output.last_evaluated_key.as_ref().and_then(|key| key.get("SK")?.as_s().ok().cloned());
        let looked_at = usize::try_from(output.scanned_count).unwrap_or_default();
        let items = output.items.unwrap_or_default().into_iter().map(object_of).collect();
        Ok(Read { items, looked_at, next })
    }
}

/// Returns the text of a key's attribute, or an empty one.
pub(super) fn key_text<'a>(item: &'a Map<String, Value>, name: &str) -> &'a str {
    item.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Returns a number as DynamoDB has it.
pub(super) fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
