//! Queries of one partition, page by page.

use agent_trigger::{
    error_chain::chain,
    store::{error::StoreError, item::Item},
};
use aws_sdk_dynamodb::{error::ProvideErrorMetadata, types::AttributeValue};
use serde_json::{Map, Value};

use crate::store::{Items, object_of, text};

/// A part of a partition: the items whose sort keys lie between two others.
#[derive(Debug, Clone)]
pub(super) struct Range {
    pub(super) pk: String,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) is_ascending: bool,
}

/// A page as DynamoDB gave it.
pub(super) struct Read {
    pub(super) items: Vec<Map<String, Value>>,
    /// True if there may be more.
    pub(super) has_more: bool,
}

impl Items {
    /// Reads a page of a range, of at most `limit` items, after the item with this sort key, in an eventually
    /// consistent read. Items whose ttl has passed are among them.
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
        let output = Box::pin(request.send()).await.map_err(|error| match error.as_service_error() {
            Some(service) => StoreError::Service {
                operation: "Query",
                code: service.code().unwrap_or("unknown error").to_owned(),
                message: service.message().unwrap_or_default().to_owned(),
            },
            None => StoreError::NoAnswer { operation: "Query", cause: chain(&error) },
        })?;
        let has_more = output.last_evaluated_key.as_ref().is_some_and(|key| !key.is_empty());
        let items = output.items.unwrap_or_default().into_iter().map(object_of).collect();
        Ok(Read { items, has_more })
    }
}

/// Returns the text of a key.
pub(super) fn key_text<'a>(item: &'a Map<String, Value>, name: &str) -> &'a str {
    item.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the number of an attribute.
pub(super) fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
