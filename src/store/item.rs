//! An item of the table as DynamoDB has it: its key and its attributes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::store::execution_item::TTL;

/// One item as DynamoDB has it.
pub type Item = HashMap<String, AttributeValue>;

/// A key: `PK` and `SK`.
pub type Key = (String, String);

/// Returns a text as DynamoDB has it.
pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// Returns a number as DynamoDB has it.
pub(crate) fn number(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Returns an attribute of an item that is a text, or `None` if it is absent or anything else.
pub(crate) fn string(item: &Item, name: &str) -> Option<String> {
    item.get(name)?.as_s().ok().cloned()
}

/// Returns an attribute of an item that is a whole number, or `None` if it is absent or anything else.
pub(crate) fn integer(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// Returns an item with this key and ttl, in seconds since 1970, and nothing else.
pub(crate) fn keyed((pk, sk): Key, ttl: i64) -> Item {
    Item::from([("PK".into(), text(pk)), ("SK".into(), text(sk)), (TTL.into(), number(ttl))])
}
