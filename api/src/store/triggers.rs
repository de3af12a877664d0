//! Trigger items: `PK=TRIGGER#{userId}`, `SK=TRIGGER#{triggerId}`, and the count of a user's triggers beside them.

use agent_trigger::store::{
    error::StoreError,
    execution_item::TTL,
    expression::Expression,
    item::{Item, Key},
    table::{ConditionalWrite, Table, Transacted},
};
use serde_json::{Map, Value};

use crate::store::{
    Changes, Items, Write, current, item_of, object_of,
    query::{Range, key_text, number},
    text,
};

/// How often a transaction is tried again that met another one.
const MAX_CONFLICTS: usize = 5;
/// The most items that one request for a list reads.
const MOST_READ: usize = 1_000;

/// Returns the key of a trigger.
pub fn trigger_key(user_id: &str, trigger_id: &str) -> Key {
    (format!("TRIGGER#{user_id}"), format!("TRIGGER#{trigger_id}"))
}

fn count_key(user_id: &str) -> Key {
    (format!("TRIGGER#{user_id}"), "COUNT".to_owned())
}

/// The result of a creation.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// The item is stored.
    Done,
    /// There is an item of this id already. Holds it.
    Exists(Map<String, Value>),
    /// The user has as many triggers as allowed.
    LimitReached,
}

/// One page of a user's triggers.
#[derive(Debug)]
pub struct TriggerPage {
    /// The items. Tombstones are left out.
    pub items: Vec<Map<String, Value>>,
    /// The id after which the next page begins, if there is one.
    pub next: Option<String>,
}

impl Items {
    /// Reads a trigger, or its tombstone.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not answer.
    pub async fn trigger_or_tombstone(
        &self,
        user_id: &str,
        trigger_id: &str,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        self.item(trigger_key(user_id, trigger_id)).await
    }

    /// Reads a page of a user's triggers, by their ids. `wanted` says which of them count.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not answer.
    pub async fn triggers(
        &self,
        user_id: &str,
        after: Option<&str>,
        limit: usize,
        wanted: impl Fn(&Map<String, Value>) -> bool,
    ) -> Result<TriggerPage, StoreError> {
        let pk = format!("TRIGGER#{user_id}");
        let range = Range { pk, first: "TRIGGER#".to_owned(), last: "TRIGGER$".to_owned(), is_ascending: true };
        let mut after = after.map(|id| format!("TRIGGER#{id}"));
        let mut items = Vec::new();
        let mut read = 0;
        loop {
            let page = self.page(&range, after.as_deref(), MOST_READ).await?;
            let now = Self::now_seconds();
            let count = page.items.len();
            for item in page.items {
                let key = key_text(&item, "SK").to_owned();
                let is_over = item.get(TTL).and_then(Value::as_i64).is_some_and(|ttl| ttl > 0 && ttl <= now);
                if !is_over && !is_tombstone(&item) && wanted(&item) {
                    if items.len() == limit {
                        let next = after.map(|key| key.trim_start_matches("TRIGGER#").to_owned());
                        return Ok(TriggerPage { items, next });
                    }
                    items.push(item);
                }
                after = Some(key);
            }
            read += count;
            if !page.has_more {
                return Ok(TriggerPage { items, next: None });
            }
            if read >= MOST_READ {
                let next = after.map(|key| key.trim_start_matches("TRIGGER#").to_owned());
                return Ok(TriggerPage { items, next });
            }
        }
    }

    /// Stores a new trigger and counts it, both or neither.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it.
    pub async fn create_trigger(
        &self,
        item: &Map<String, Value>,
        user_id: &str,
        limit: u32,
    ) -> Result<Created, StoreError> {
        let key = count_key(user_id);
        let mut counted = self.table().get(key.clone(), true).await?;
        let mut conflicts = 0;
        loop {
            let count = match &counted {
                Some(item) => self::count(item),
                // Triggers may be older than their count.
                None => self.count_triggers(user_id).await?,
            };
            if count >= i64::from(limit) {
                return Ok(Created::LimitReached);
            }
            let count_write = match &counted {
                Some(_) => add_to_count(key.clone(), 1, Some(limit)),
                None => first_count(&key, count + 1),
            };
            let put = ConditionalWrite::Put {
                item: item_of(item),
                condition: "attribute_not_exists(PK)".to_owned(),
                expression: Expression::default(),
            };
            match self.table().transact(vec![put, count_write]).await? {
                Transacted::Done => return Ok(Created::Done),
                Transacted::Refused(0, found) => return Ok(Created::Exists(found.map(object_of).unwrap_or_default())),
                Transacted::Refused(_, found) => {
                    conflicts += 1;
                    counted = found;
                }
                Transacted::Conflict => conflicts += 1,
            }
            if conflicts > MAX_CONFLICTS {
                return Err(StoreError::Contended);
            }
        }
    }

    /// Counts the triggers that are stored.
    async fn count_triggers(&self, user_id: &str) -> Result<i64, StoreError> {
        let mut count = 0;
        let mut after = None;
        loop {
            let page = self.triggers(user_id, after.as_deref(), MOST_READ, |_| true).await?;
            count += i64::try_from(page.items.len()).unwrap_or(i64::MAX);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(count),
            }
        }
    }

    /// Changes a trigger if its version is still this one.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it.
    pub async fn change_trigger(
        &self,
        user_id: &str,
        trigger_id: &str,
        version: &Value,
        mut changes: Changes,
    ) -> Result<Write, StoreError> {
        let condition = version_condition(&mut changes, version);
        self.update(trigger_key(user_id, trigger_id), changes, &condition).await
    }

    /// Notes in a trigger, or in its tombstone, what Scheduler has, if its version is still this one.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it.
    pub async fn note_schedule(
        &self,
        user_id: &str,
        trigger_id: &str,
        version: &Value,
        mut changes: Changes,
    ) -> Result<Write, StoreError> {
        let key = changes.name("PK");
        let condition = format!("attribute_exists({key}) AND {}", is_version(&mut changes, version));
        self.update(trigger_key(user_id, trigger_id), changes, &condition).await
    }

    /// Makes a trigger a tombstone and counts it no more, both or neither. Returns false if its version is another one.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it.
    pub async fn bury_trigger(
        &self,
        user_id: &str,
        trigger_id: &str,
        version: &Value,
        mut changes: Changes,
    ) -> Result<bool, StoreError> {
        let condition = version_condition(&mut changes, version);
        let (update, expression) = changes.into_parts();
        let write = ConditionalWrite::Update {
            key: trigger_key(user_id, trigger_id),
            update,
            condition: Some(condition),
            expression,
        };
        let key = count_key(user_id);
        let is_counted = self.table().get(key.clone(), true).await?.is_some_and(|item| count(&item) > 0);
        for _ in 0..=MAX_CONFLICTS {
            let mut writes = vec![write.clone()];
            writes.extend(is_counted.then(|| add_to_count(key.clone(), -1, None)));
            match self.table().transact(writes).await? {
                Transacted::Done => return Ok(true),
                Transacted::Refused(..) => return Ok(false),
                Transacted::Conflict => {}
            }
        }
        Err(StoreError::Contended)
    }
}

/// Returns true if a trigger was deleted.
pub fn is_tombstone(item: &Map<String, Value>) -> bool {
    item.get("deletedAt").is_some_and(|at| !at.is_null())
}

/// Builds the condition that a trigger exists, is no tombstone, and has this version, or none if it is null.
fn version_condition(changes: &mut Changes, version: &Value) -> String {
    let (key, deleted) = (changes.name("PK"), changes.name("deletedAt"));
    format!("attribute_exists({key}) AND attribute_not_exists({deleted}) AND {}", is_version(changes, version))
}

/// Builds the condition that an item has this version, or none if it is null.
fn is_version(changes: &mut Changes, version: &Value) -> String {
    let name = changes.name("version");
    if version.is_null() {
        format!("attribute_not_exists({name})")
    } else {
        format!("{name} = {}", changes.value(version))
    }
}

fn count(item: &Item) -> i64 {
    current(item.clone(), 0).and_then(|item| item.get("triggers")?.as_i64()).unwrap_or_default()
}

fn first_count((pk, sk): &Key, count: i64) -> ConditionalWrite {
    let item = Item::from([("PK".into(), text(pk)), ("SK".into(), text(sk)), ("triggers".into(), number(count))]);
    ConditionalWrite::Put { item, condition: "attribute_not_exists(PK)".to_owned(), expression: Expression::default() }
}

fn add_to_count(key: Key, change: i64, limit: Option<u32>) -> ConditionalWrite {
    let mut expression = Expression::default();
    expression.names.insert("#triggers".into(), "triggers".into());
    expression.values.insert(":change".into(), number(change));
    let condition = match limit {
        Some(limit) => {
            expression.values.insert(":limit".into(), number(limit.into()));
            "#triggers < :limit"
        }
        None => {
            expression.values.insert(":none".into(), number(0));
            "#triggers > :none"
        }
    };
    let update = "ADD #triggers :change".to_owned();
    ConditionalWrite::Update { key, update, condition: Some(condition.to_owned()), expression }
}
