//! DynamoDB: the trigger items, and what is kept beside a trigger's executions.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::{
    backoff,
    clock::now_millis,
    domain::threshold::{Counter, Threshold},
    lifecycle::identify::Started,
    store::expression::Expression,
    store::record::{self, Item, number, text},
    store::transact::{Part, Transacted},
    store::{Store, StoreError, boxed, store_error},
};

/// The index of triggers by the events they are subscribed to.
const INDEX: &str = "GSI2";
/// A stored item may have 400 KB; the rest is for keys and other attributes.
const LARGEST_INPUT: usize = 390_000;

/// Some of the trigger items of an event source.
pub(crate) struct Page {
    pub(crate) items: Vec<Value>,
    /// Where the next ones begin.
    pub(crate) next: Option<Cursor>,
}

/// The key after which a page begins.
pub(crate) struct Cursor(Item);

impl Store {
    /// A page of the trigger items that are subscribed to an event source.
    ///
    /// # Errors
    /// If DynamoDB does not answer.
    pub(crate) async fn subscriptions(&self, event_source_id: &str, after: Option<Cursor>) -> Result<Page, StoreError> {
        let mut expression = Expression::default();
        let condition = expression.equals("GSI2PK", Some(text(format!("EVENTSOURCE#{event_source_id}"))));
        let request = self.client.query().table_name(&self.table).index_name(INDEX).key_condition_expression(condition);
        let request = request
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .set_exclusive_start_key(after.map(|Cursor(key)| key));
        let output = boxed(request.send()).await.map_err(|error| store_error("Query", &error))?;
        let items = output.items.unwrap_or_default().into_iter().filter_map(current).collect();
        Ok(Page { items, next: output.last_evaluated_key.filter(|key| !key.is_empty()).map(Cursor) })
    }

    /// A trigger item, as it stands.
    ///
    /// # Errors
    /// If DynamoDB does not answer.
    pub(crate) async fn trigger(&self, user_id: &str, trigger_id: &str) -> Result<Option<Value>, StoreError> {
        Ok(self.get(record::trigger_key(user_id, trigger_id), true).await?.and_then(current))
    }

    /// Counts an event of a trigger, once however often it is delivered, and says which one of its window it is. Its
    /// mark is written with the count, so that a crash in between loses neither.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
    pub(crate) async fn count_event(
        &self,
        trigger_id: &str,
        mark: &str,
        threshold: Threshold,
        time: i64,
        started: &Started,
    ) -> Result<u32, StoreError> {
        let counter_key = record::counter_key(trigger_id);
        for wait in backoff::endless() {
            // Read after each wait: what was seen before it is another one's by now.
            let seen = self.get(counter_key.clone(), true).await?.as_ref().and_then(counter);
            let next = threshold.counted(seen, time);
            let mut mark_item = keyed(record::mark_key(trigger_id, mark), started.ttl);
            mark_item.insert("ordinal".into(), number(next.count));
            let mut counter_item = keyed(counter_key.clone(), started.ttl);
            counter_item.insert("windowStart".into(), number(next.window_start));
            counter_item.insert("count".into(), number(next.count));
            let mut unmarked = Expression::default();
            let is_unmarked = format!("attribute_not_exists({})", unmarked.name("PK"));
            let mut unchanged = Expression::default();
            let is_unchanged = [
                unchanged.equals("windowStart", seen.map(|seen| number(seen.window_start))),
                unchanged.equals("count", seen.map(|seen| number(seen.count))),
            ]
            .join(" AND ");
            let parts = vec![
                Part::Put { item: mark_item, condition: is_unmarked, expression: unmarked },
                Part::Put { item: counter_item, condition: is_unchanged, expression: unchanged },
            ];
            match self.transact(parts, None).await? {
                Transacted::Done => return Ok(next.count),
                Transacted::Refused(0, marked) => {
                    let ordinal = marked.as_ref().and_then(|item| record::integer(item, "ordinal"));
                    return Ok(ordinal.and_then(|ordinal| u32::try_from(ordinal).ok()).unwrap_or_default());
                }
                Transacted::Refused(..) | Transacted::Conflict => {}
            }
            // Others count at this moment: the fewer at once, the sooner all are through.
            tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
        }
        Err(StoreError::OutOfTime)
    }

    /// Keeps what an execution was asked, so that it can be replayed; `false` if it is too large to be kept.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
    pub(crate) async fn keep_input(
        &self,
        trigger_id: &str,
        execution_id: &str,
        detail: &Value,
        ttl: i64,
    ) -> Result<bool, StoreError> {
        let detail = detail.to_string();
        if detail.len() > LARGEST_INPUT {
            return Ok(false);
        }
        let mut item = keyed(record::input_key(trigger_id, execution_id), ttl);
        item.insert("detail".into(), text(detail));
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        boxed(request.send()).await.map_err(|error| store_error("PutItem", &error))?;
        Ok(true)
    }

    /// What an execution was asked, if it is kept.
    ///
    /// # Errors
    /// If DynamoDB does not answer.
    pub(crate) async fn input(&self, trigger_id: &str, execution_id: &str) -> Result<Option<Value>, StoreError> {
        let item = self.get(record::input_key(trigger_id, execution_id), true).await?;
        let detail = item.as_ref().and_then(|item| item.get("detail")?.as_s().ok());
        Ok(detail.and_then(|detail| serde_json::from_str(detail).ok()))
    }
}

const LONGEST_WAIT: Duration = Duration::from_millis(500);

pub(crate) fn keyed((pk, sk): (String, String), ttl: i64) -> Item {
    HashMap::from([("PK".into(), text(pk)), ("SK".into(), text(sk)), ("ttl".into(), number(ttl))])
}

fn counter(item: &Item) -> Option<Counter> {
    let count = u32::try_from(record::integer(item, "count")?).ok()?;
    Some(Counter { window_start: record::integer(item, "windowStart")?, count })
}

/// A trigger item, unless DynamoDB has only not deleted it yet.
pub(crate) fn current(item: Item) -> Option<Value> {
    let is_over = record::integer(&item, "ttl").is_some_and(|ttl| ttl <= now_millis() / 1000);
    (!is_over).then(|| json_of(item))
}

/// An item without DynamoDB's types. Binary values, which no trigger has, are null.
fn json_of(item: Item) -> Value {
    item.into_iter().map(|(name, value)| (name, json_value(value))).collect()
}

/// A value as it was read, for a condition that it is still the same; `None` where that cannot be told.
pub(crate) fn attribute_of(value: &Value) -> Option<AttributeValue> {
    Some(match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(_) | Value::Object(_) => return None,
    })
}

fn json_value(value: AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::String(text),
        AttributeValue::N(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        AttributeValue::Bool(flag) => Value::Bool(flag),
        AttributeValue::L(values) => values.into_iter().map(json_value).collect(),
        AttributeValue::M(item) => json_of(item),
        AttributeValue::Ss(texts) => json!(texts),
        AttributeValue::Ns(numbers) => numbers.into_iter().map(|n| json_value(AttributeValue::N(n))).collect(),
        _ => Value::Null,
    }
}
