//! The trigger items: how they are found, read and compared.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::{
    clock::Clock,
    json::number::number,
    store::{
        Store,
        dynamodb::{boxed, store_error},
        error::StoreError,
        execution_item::TTL,
        expression::Expression,
        item::{Item, integer, text},
        keys,
        table::Table,
    },
};

/// The index of triggers by the events they are subscribed to.
const INDEX: &str = "GSI2";
/// Five years. Leap days are left out. So an item that DynamoDB is about to delete counts for a day longer. This is
/// safer than an item that DynamoDB never deletes and that does not count.
const OLDEST_TTL_SECONDS: i64 = 5 * 365 * 24 * 60 * 60;

/// One page of an event source's trigger items.
pub(crate) struct Page {
    pub(crate) items: Vec<Value>,
    /// The start of the next page, if there is one.
    pub(crate) next: Option<Cursor>,
}

/// The key after which a page begins.
pub(crate) struct Cursor(Item);

impl Store {
    /// Reads a page of the trigger items that are subscribed to an event source, through the index, which is eventually
    /// consistent. `after` is the end of the page before, and `None` for the first page. Items whose ttl has passed are
    /// left out, so a page may be empty and still not be the last.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result.
    pub(crate) async fn subscriptions(&self, event_source_id: &str, after: Option<Cursor>) -> Result<Page, StoreError> {
        let mut expression = Expression::default();
        let condition = expression.equals("GSI2PK", Some(text(keys::subscribers_of(event_source_id))));
        let request = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name(INDEX)
            .key_condition_expression(condition);
        let request = request
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .set_exclusive_start_key(after.map(|Cursor(key)| key));
        let output = boxed(request.send()).await.map_err(|error| store_error("Query", &error))?;
        let now = self.clock.now_millis();
        let items = output.items.unwrap_or_default().into_iter().filter_map(|item| current(item, now)).collect();
        Ok(Page { items, next: output.last_evaluated_key.filter(|key| !key.is_empty()).map(Cursor) })
    }
}

impl<T: Table, C: Clock> Store<T, C> {
    /// Reads a trigger item in a consistent read. Returns `None` if there is none, or if its ttl has passed.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result.
    pub(crate) async fn trigger(&self, user_id: &str, trigger_id: &str) -> Result<Option<Value>, StoreError> {
        let item = self.table.get(keys::trigger_key(user_id, trigger_id), true).await?;
        Ok(item.and_then(|item| current(item, self.clock.now_millis())))
    }
}

/// Returns a trigger item without DynamoDB's types, or `None` if its ttl had passed at `now`, in milliseconds since
/// 1970. DynamoDB deletes such an item only later.
pub(crate) fn current(item: Item, now: i64) -> Option<Value> {
    let is_over = integer(&item, TTL).is_some_and(|ttl| is_expired(ttl, now / 1000));
    (!is_over).then(|| json_of(item))
}

/// Returns true if an item of this `ttl` counts as gone at `now`, because DynamoDB deletes it. Both are in seconds
/// since 1970. The ttl must have passed, but not more than five years ago: DynamoDB never deletes an older one, so such
/// an item counts. A trigger that is switched off stays off.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-before-you-start.html>
pub fn is_expired(ttl: i64, now: i64) -> bool {
    (now.saturating_sub(OLDEST_TTL_SECONDS)..=now).contains(&ttl)
}

/// Returns an item without DynamoDB's types. Binary values, which no trigger has, become null.
pub fn json_of(item: Item) -> Value {
    item.into_iter().map(|(name, value)| (name, json_value(value))).collect()
}

/// Returns a value as it was read, for the condition that it is unchanged, or `None` for a list or a map, which no
/// condition compares.
pub(crate) fn attribute_of(value: &Value) -> Option<AttributeValue> {
    Some(match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(_) | Value::Object(_) => return None,
    })
}

/// Returns a value without DynamoDB's types. A set of texts or numbers becomes an array. A number that JSON cannot hold
/// becomes a text. A binary value and a set of them become null.
fn json_value(value: AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::String(text),
        AttributeValue::N(text) => number(&text).map_or(Value::String(text), Value::Number),
        AttributeValue::Bool(flag) => Value::Bool(flag),
        AttributeValue::L(values) => values.into_iter().map(json_value).collect(),
        AttributeValue::M(item) => json_of(item),
        AttributeValue::Ss(texts) => json!(texts),
        AttributeValue::Ns(numbers) => numbers.into_iter().map(|n| json_value(AttributeValue::N(n))).collect(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_expired_only_if_dynamodb_deletes_it() {
        const NOW: i64 = 1_769_842_800;
        for (ttl, expected) in [
            (NOW + 1, false),
            (NOW, true),
            (NOW - 1, true),
            (NOW - OLDEST_TTL_SECONDS, true),
            (NOW - OLDEST_TTL_SECONDS - 1, false),
            (0, false),
            (-1, false),
            (i64::MIN, false),
            // Milliseconds, a common mistake, lie in the far future.
            (NOW * 1000, false),
        ] {
            assert_eq!(is_expired(ttl, NOW), expected, "{ttl}");
        }
    }
}
