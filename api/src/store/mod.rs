//! The table as the control plane uses it: trigger items, executions and their inputs. Keys and conditions are those of
//! the function. The results are JSON. No other folder of this package names DynamoDB's types.

pub mod aliases;
pub mod executions;
pub mod hooks;
mod query;
pub mod triggers;

use std::sync::OnceLock;

use agent_trigger::{
    clock::{Clock, SystemClock},
    store::{
        Store,
        dynamodb::DynamoDb,
        error::StoreError,
        execution_item::TTL,
        expression::Expression,
        item::{Item, Key},
        table::{ConditionalWrite, Table, Written},
        trigger_item::{is_expired, json_of},
    },
};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

/// The table. Its client is created for the first request that reads it: whoever opens the page asks for its files at
/// first, each perhaps of another process, and the client would be a fourteenth of the start (docs/performance.md).
#[derive(Debug)]
pub struct Items {
    aws: SdkConfig,
    name: String,
    store: OnceLock<Store>,
}

/// The result of a conditional write of one item.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// It is stored. Holds the item after it.
    Done(Map<String, Value>),
    /// Its condition did not hold. Holds the item as it stands, if there is one.
    Refused(Option<Map<String, Value>>),
}

impl Items {
    /// Creates the table `name` on the shared configuration.
    pub fn new(aws: &SdkConfig, name: String) -> Self {
        Self { aws: aws.clone(), name, store: OnceLock::new() }
    }

    /// Creates the client at once, for a surface whose every request reads the table.
    #[must_use]
    pub fn connected(self) -> Self {
        self.table();
        self
    }

    /// Returns the table, whose client is built by the first caller.
    fn table(&self) -> &DynamoDb {
        self.store.get_or_init(|| Store::new(&self.aws, self.name.clone())).table()
    }

    /// Returns the present time in seconds since 1970.
    fn now_seconds() -> i64 {
        SystemClock.now_millis() / 1000
    }

    /// Reads an item in a consistent read. One whose ttl has passed counts as absent.
    ///
    /// # Errors
    /// Returns an error if DynamoDB refuses or does not answer.
    async fn item(&self, key: Key) -> Result<Option<Map<String, Value>>, StoreError> {
        let item = self.table().get(key, true).await?;
        Ok(item.and_then(|item| current(item, Self::now_seconds())))
    }

    /// Changes an item if `condition` holds, and creates it if there is none and the condition allows this.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been written all the same.
    async fn update(&self, key: Key, changes: Changes, condition: &str) -> Result<Write, StoreError> {
        let (update, expression) = changes.into_parts();
        let write = ConditionalWrite::Update { key, update, condition: Some(condition.to_owned()), expression };
        Ok(match self.table().write(write, true).await? {
            Written::Done(item) => Write::Done(item.map(object_of).unwrap_or_default()),
            Written::Refused(item) => Write::Refused(item.map(object_of)),
        })
    }
}

/// Attributes to set and to remove, with the values that a condition needs.
#[derive(Debug, Default, Clone)]
pub struct Changes {
    set: Vec<String>,
    remove: Vec<String>,
    add: Vec<String>,
    expression: Expression,
}

impl Changes {
    /// Sets an attribute. A null value removes it instead.
    #[must_use]
    pub fn set(mut self, name: &str, value: &Value) -> Self {
        if value.is_null() {
            return self.remove(name);
        }
        let (name, value) = (self.name(name), self.value(value));
        self.set.push(format!("{name} = {value}"));
        self
    }

    /// Sets a member of a map that exists. A null value is stored as null.
    #[must_use]
    pub fn set_member(mut self, name: &str, member: &str, value: &Value) -> Self {
        let (name, member, value) = (self.name(name), self.name(member), self.value(value));
        self.set.push(format!("{name}.{member} = {value}"));
        self
    }

    /// Removes an attribute.
    #[must_use]
    pub fn remove(mut self, name: &str) -> Self {
        let name = self.name(name);
        self.remove.push(name);
        self
    }

    /// Adds one to an attribute. An absent one counts as 0.
    #[must_use]
    pub fn count(mut self, name: &str) -> Self {
        let (name, one) = (self.name(name), self.value(&Value::from(1)));
        self.add.push(format!("{name} {one}"));
        self
    }

    /// Returns the placeholder of an attribute, for a condition.
    pub fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#{}", name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
        self.expression.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    /// Returns the placeholder of a value, for a condition.
    pub fn value(&mut self, value: &Value) -> String {
        let placeholder = format!(":{}", self.expression.values.len());
        self.expression.values.insert(placeholder.clone(), attribute_of(value));
        placeholder
    }

    /// Returns the update expression, and the names and values of all expressions.
    fn into_parts(self) -> (String, Expression) {
        let clause = |word: &str, parts: &[String]| match parts {
            [] => String::new(),
            parts => format!("{word} {} ", parts.join(", ")),
        };
        let (set, remove) = (clause("SET", &self.set), clause("REMOVE", &self.remove));
        let update = format!("{set}{remove}{}", clause("ADD", &self.add));
        (update.trim_end().to_owned(), self.expression)
    }
}

/// Returns an item as JSON, or `None` if its ttl has passed. DynamoDB deletes it only later.
fn current(item: Item, now: i64) -> Option<Map<String, Value>> {
    let item = object_of(item);
    (!is_over(&item, now)).then_some(item)
}

/// Returns true if an item's ttl has passed at `now`, in seconds since 1970, as the function sees it.
fn is_over(item: &Map<String, Value>, now: i64) -> bool {
    item.get(TTL).and_then(Value::as_i64).is_some_and(|ttl| is_expired(ttl, now))
}

/// Returns an item as JSON.
fn object_of(item: Item) -> Map<String, Value> {
    match json_of(item) {
        Value::Object(item) => item,
        _ => Map::new(),
    }
}

/// Returns JSON as an attribute.
fn attribute_of(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(values) => AttributeValue::L(values.iter().map(attribute_of).collect()),
        Value::Object(members) => AttributeValue::M(item_of(members)),
    }
}

/// Returns a JSON object as an item.
fn item_of(members: &Map<String, Value>) -> Item {
    members.iter().map(|(name, value)| (name.clone(), attribute_of(value))).collect()
}

/// Returns a text as DynamoDB has it.
fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}
