//! The conditions of the store's writes, each against the embedded DynamoDB. Every write is the one that the store really
//! sends: it is caught at the table port, and then applied to rows that satisfy it and to rows that violate one clause.
//!
//! - DynamoDB must take or refuse each as the case says, and the model check's evaluator (tests/model/expression.rs) too,
//!   with the same item afterwards.
//! - The cases must be complete: each clause of a condition, replaced by one that always or never holds, must change the
//!   outcome of a case.

mod detached;
#[path = "../model/expression.rs"]
#[allow(dead_code, reason = "the model check uses the rest")]
mod expression;
mod writes;

use std::{cell::RefCell, collections::VecDeque};

use agent_trigger::{
    clients::http::{Clients, SdkHttpClient},
    clock::SystemClock,
    store::{
        Store,
        error::StoreError,
        item::{Item, Key},
        table::{ConditionalWrite, Query, Table, Transacted, Written},
    },
};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::{config::Credentials, types::AttributeValue};
use expression::{Clause, Operator, Request};
use serde_json::{Map, Value, json};
use standins::dynamodb::{DynamoDb, TABLE};

/// A table that keeps what is written and answers from a script.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    writes: RefCell<Vec<ConditionalWrite>>,
    /// The items that the next writes are refused with; when there is none left they are applied.
    refusals: RefCell<VecDeque<Item>>,
    /// The items that reads return.
    items: RefCell<VecDeque<Option<Item>>>,
}

impl Table for &Recorder {
    async fn get(&self, _: Key, _: bool) -> Result<Option<Item>, StoreError> {
        Ok(self.items.borrow_mut().pop_front().flatten())
    }

    async fn query(&self, _: Query) -> Result<Vec<Item>, StoreError> {
        Ok(Vec::new())
    }

    async fn write(&self, write: ConditionalWrite, _: bool) -> Result<Written, StoreError> {
        self.writes.borrow_mut().push(write);
        let refusal = self.refusals.borrow_mut().pop_front();
        Ok(refusal.map_or(Written::Done(None), |item| Written::Refused(Some(item))))
    }

    async fn transact(&self, writes: Vec<ConditionalWrite>) -> Result<Transacted, StoreError> {
        self.writes.borrow_mut().extend(writes);
        Ok(Transacted::Done)
    }
}

impl Recorder {
    pub(crate) fn reading(items: impl IntoIterator<Item = Option<Value>>) -> Self {
        let items = items.into_iter().map(|item| item.as_ref().map(item_of)).collect();
        Self { items: RefCell::new(items), ..Self::default() }
    }

    pub(crate) fn refusing(self, item: &Value) -> Self {
        self.refusals.borrow_mut().push_back(item_of(item));
        self
    }

    pub(crate) fn store(&self) -> Store<&Self, SystemClock> {
        Store::with_ports(self, SystemClock)
    }

    pub(crate) fn has_written(&self) -> bool {
        !self.writes.borrow().is_empty()
    }

    pub(crate) fn written(self, index: usize) -> ConditionalWrite {
        self.writes.into_inner().swap_remove(index)
    }
}

/// A write with the rows it is applied to.
pub(crate) struct Cases {
    pub(crate) name: &'static str,
    pub(crate) write: ConditionalWrite,
    /// A row that satisfies the condition, without its key. `None` if it is that there is none.
    pub(crate) satisfying: Option<Value>,
    /// What is changed in it, and whether the write is applied then. Null removes an attribute.
    pub(crate) changed: Vec<(Value, bool)>,
    /// Whether the write is applied if there is no row.
    pub(crate) creates: bool,
}

/// Returns a DynamoDB item of a JSON object.
fn item_of(value: &Value) -> Item {
    let attribute = |value: &Value| match value {
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        other => panic!("{other} in a row"),
    };
    value.as_object().expect("an object").iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

fn json_of(item: &Item) -> Value {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => json!(text),
        AttributeValue::N(number) => serde_json::from_str(number).expect("a number"),
        AttributeValue::Bool(flag) => json!(flag),
        AttributeValue::M(map) => json_of(map),
        other => panic!("{other:?} in a row"),
    };
    Value::Object(item.iter().map(|(name, found)| (name.clone(), value(found))).collect())
}

/// Returns the rows of the cases with their verdicts.
fn rows(cases: &Cases, (pk, sk): &Key) -> Vec<(Option<Value>, bool)> {
    let keyed = |mut row: Map<String, Value>| {
        row.retain(|_, value| !value.is_null());
        row.insert("PK".to_owned(), json!(pk));
        row.insert("SK".to_owned(), json!(sk));
        Value::Object(row)
    };
    let object = |value: &Value| value.as_object().cloned().expect("an object");
    let mut rows = vec![(None, cases.creates)];
    if let Some(satisfying) = &cases.satisfying {
        rows.push((Some(keyed(object(satisfying))), true));
    }
    for (change, is_applied) in &cases.changed {
        let mut row = cases.satisfying.as_ref().map(object).unwrap_or_default();
        row.extend(object(change));
        rows.push((Some(keyed(row)), *is_applied));
    }
    rows
}

/// Returns how many clauses a condition has, after replacing the one at `index` by `clause`.
fn replace(request: &mut Request, index: usize, clause: &Clause) -> usize {
    let mut count = 0;
    request.condition.edit(&mut |found| {
        if count == index {
            *found = clause.clone();
        }
        count += 1;
    });
    count
}

async fn store_of(dynamodb: &DynamoDb) -> Store {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .http_client(SdkHttpClient::new(Clients::new(None).expect("clients").aws))
        .endpoint_url(dynamodb.url())
        .load()
        .await;
    Store::new(&config, TABLE.to_owned())
}

#[tokio::test]
async fn each_condition_of_each_write_is_what_dynamodb_evaluates() {
    let dynamodb = DynamoDb::start().await;
    let store = store_of(&dynamodb).await;
    for cases in writes::all().await {
        let name = cases.name;
        let request = Request::from(cases.write.clone());
        let (pk, sk) = &request.key;
        for (row, is_applied) in rows(&cases, &request.key) {
            dynamodb.delete(pk, sk);
            if let Some(row) = &row {
                dynamodb.put_item(row);
            }
            let written = store.table().write(cases.write.clone(), false).await.expect("DynamoDB answers");
            assert_eq!(matches!(written, Written::Done(_)), is_applied, "{name}, DynamoDB: {row:?}");
            if let Written::Refused(found) = written {
                assert_eq!(found.as_ref().map(json_of), row, "{name}, the refused row");
            }
            let new = request.applied_to(row.as_ref().map(item_of).as_ref());
            assert_eq!(new.is_some(), is_applied, "{name}, the evaluator: {row:?}");
            if let Some(new) = new {
                assert_eq!(dynamodb.item(pk, sk), Some(json_of(&new)), "{name}, the item after {row:?}");
            }
        }
    }
}

#[tokio::test]
async fn each_clause_of_each_condition_decides_a_case() {
    // No row has this attribute.
    let never = Clause::Compare("none".to_owned(), Operator::Equal, AttributeValue::Bool(true));
    for cases in writes::all().await {
        let request = Request::from(cases.write.clone());
        let rows = rows(&cases, &request.key);
        let count = replace(&mut request.clone(), usize::MAX, &never);
        for index in 0..count {
            for clause in [&Clause::Always, &never] {
                // An item with an attribute of this value exists: the clause decides only where all others are absent,
                // as for the trigger's first health.
                let is_implied = cases.name == "the trigger's health" && index == 0 && *clause == Clause::Always;
                if is_implied {
                    continue;
                }
                let mut changed = request.clone();
                replace(&mut changed, index, clause);
                let decides = rows.iter().any(|(row, is_applied)| {
                    changed.applied_to(row.as_ref().map(item_of).as_ref()).is_some() != *is_applied
                });
                assert!(decides, "{}: no case depends on clause {index} of {:?}", cases.name, request.condition);
            }
        }
    }
}
