//! Trigger items: `PK=TRIGGER#{userId}`, `SK=TRIGGER#{triggerId}`, and the count of a user's triggers beside them.

use agent_trigger::store::{
    error::StoreError,
    expression::Expression,
    item::{Item, Key},
    table::{ConditionalWrite, Table, Transacted},
};
use serde_json::{Map, Value};

use crate::store::{
    Changes, Items, Write,
    aliases::{AliasChange, Plan},
    current,
    hooks::Pointer,
    is_over, item_of, object_of,
    query::{Range, key_text, number},
    text,
};

/// The number of times that a transaction is tried again after it met another one.
const MAX_CONFLICTS: usize = 5;
/// The most triggers of one list. A user can have no more, unless another API has made them (`TRIGGER_LIMIT`).
pub const MOST_LISTED: usize = 1_000;
/// The most items that one request for a list reads: tombstones stand among them for 30 days.
const MOST_READ: usize = 4 * MOST_LISTED;

/// Returns the key of a trigger: `TRIGGER#user`, `TRIGGER#trigger`.
pub fn trigger_key(user_id: &str, trigger_id: &str) -> Key {
    (format!("TRIGGER#{user_id}"), format!("TRIGGER#{trigger_id}"))
}

/// Returns the key of the count of a user's triggers: `TRIGGER#user`, `COUNT`.
fn count_key(user_id: &str) -> Key {
    (format!("TRIGGER#{user_id}"), "COUNT".to_owned())
}

/// The result of a creation.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// The item is stored.
    Done,
    /// There is an item of this id already, perhaps a tombstone. Holds it.
    Exists(Map<String, Value>),
    /// The user has as many triggers as allowed.
    LimitReached,
    /// Another trigger has the alias of its webhook.
    AliasTaken(Pointer),
}

/// The result of a change that may take another alias.
#[derive(Debug, Clone, PartialEq)]
pub enum Saved {
    /// The change is stored. Holds the item as it is then.
    Done(Map<String, Value>),
    /// The item is not as it was read. Holds it as it stands, if there is one.
    Refused(Option<Map<String, Value>>),
    /// Another trigger has the alias.
    AliasTaken(Pointer),
}

/// What a change may meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A trigger.
    Trigger,
    /// A trigger, or the tombstone of one.
    TriggerOrTombstone,
}

/// One page of a user's triggers.
#[derive(Debug)]
pub struct TriggerPage {
    /// The items. Tombstones are left out, except those that [`is_shown`] lets through.
    pub items: Vec<Map<String, Value>>,
    /// The id after which the next page begins, if there may be one.
    pub next: Option<String>,
}

impl Items {
    /// Reads a trigger, or its tombstone. One whose ttl has passed counts as absent.
    ///
    /// # Errors
    /// Returns an error if DynamoDB refuses or does not answer.
    pub async fn trigger_or_tombstone(
        &self,
        user_id: &str,
        trigger_id: &str,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        self.item(trigger_key(user_id, trigger_id)).await
    }

    /// Reads a page of a user's triggers, by their ids. Only those for which `wanted` returns true are on it. Items
    /// whose ttl has passed are left out, and tombstones that are not [shown](is_shown). Up to about 4,000 items are
    /// read, so a page may have fewer than `limit` triggers and still have a next one. A trigger that was stored just
    /// now may be missing.
    ///
    /// # Errors
    /// Returns an error if DynamoDB refuses or does not answer.
    pub async fn triggers(
        &self,
        user_id: &str,
        after: Option<&str>,
        limit: usize,
        wanted: impl Fn(&Map<String, Value>) -> bool,
    ) -> Result<TriggerPage, StoreError> {
        let pk = format!("TRIGGER#{user_id}");
        let (first, last) = ("TRIGGER#".to_owned(), "TRIGGER$".to_owned());
        let range = Range { pk, first, last, is_ascending: true, only: None };
        let mut after = after.map(|id| format!("TRIGGER#{id}"));
        let mut items = Vec::new();
        let mut read = 0;
        loop {
            let page = self.page(&range, after.as_deref(), MOST_LISTED).await?;
            let now = Self::now_seconds();
            for item in page.items {
                let key = key_text(&item, "SK").to_owned();
                if !is_over(&item, now) && is_shown(&item) && wanted(&item) {
                    if items.len() == limit {
                        let next = after.map(|key| key.trim_start_matches("TRIGGER#").to_owned());
                        return Ok(TriggerPage { items, next });
                    }
                    items.push(item);
                }
                after = Some(key);
            }
            read += page.looked_at;
            if page.next.is_none() {
                return Ok(TriggerPage { items, next: None });
            }
            if read >= MOST_READ {
                let next = after.map(|key| key.trim_start_matches("TRIGGER#").to_owned());
                return Ok(TriggerPage { items, next });
            }
        }
    }

    /// Stores a new trigger, counts it, and takes its alias, all or nothing. It is refused if there is an item of its
    /// id, if the user has `limit` triggers, or if another trigger has the alias. If several of these hold, the item of
    /// the id is what is returned.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been stored all the same. After six tries that other
    /// writes crossed, the error is [`StoreError::Contended`].
    pub async fn create_trigger(
        &self,
        item: &Map<String, Value>,
        user_id: &str,
        limit: u32,
        alias: &AliasChange<'_>,
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
                // The trigger of an `Idempotency-Key` may be there already, and be the one that reached the limit.
                let found = self.trigger_or_tombstone(user_id, &alias.owner.trigger_id).await?;
                return Ok(found.map_or(Created::LimitReached, Created::Exists));
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
            let mut writes = vec![put, count_write];
            match self.plan_alias(alias).await? {
                Plan::Writes(of_alias) => writes.extend(of_alias),
                Plan::Taken(by) => {
                    // The trigger of an `Idempotency-Key` may be there already, under another alias by now.
                    let found = self.trigger_or_tombstone(user_id, &alias.owner.trigger_id).await?;
                    return Ok(found.map_or(Created::AliasTaken(by), Created::Exists));
                }
            }
            match self.table().transact(writes).await? {
                Transacted::Done => return Ok(Created::Done),
                Transacted::Refused(0, found) => return Ok(Created::Exists(found.map(object_of).unwrap_or_default())),
                Transacted::Refused(1, found) => {
                    conflicts += 1;
                    counted = found;
                }
                // The alias is looked at again.
                Transacted::Refused(..) | Transacted::Conflict => conflicts += 1,
            }
            if conflicts > MAX_CONFLICTS {
                return Err(StoreError::Contended);
            }
        }
    }

    /// Counts the triggers that are stored, by reading all of them. Tombstones are not counted, nor items whose ttl has
    /// passed. The reads are eventually consistent: a trigger that was stored just now may be missing.
    ///
    /// # Errors
    /// Returns an error if DynamoDB refuses or does not answer.
    async fn count_triggers(&self, user_id: &str) -> Result<i64, StoreError> {
        let mut count = 0;
        let mut after = None;
        loop {
            let page = self.triggers(user_id, after.as_deref(), MOST_LISTED, |item| !is_tombstone(item)).await?;
            count += i64::try_from(page.items.len()).unwrap_or(i64::MAX);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(count),
            }
        }
    }

    /// Changes a trigger if its version is still this one, or if it still has none and `version` is null. A tombstone
    /// is only changed if `target` allows it. Otherwise the write is refused, and the item as it stands is in the
    /// result.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been changed all the same.
    pub async fn change_trigger(
        &self,
        user_id: &str,
        trigger_id: &str,
        version: &Value,
        target: Target,
        mut changes: Changes,
    ) -> Result<Write, StoreError> {
        let condition = condition(&mut changes, version, target);
        self.update(trigger_key(user_id, trigger_id), changes, &condition).await
    }

    /// Changes a trigger as [`Self::change_trigger`] does, together with its alias, both or neither. A tombstone is
    /// refused. If the alias stays, only the trigger is written. If another trigger has it, nothing is.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been changed all the same. After six tries that other
    /// writes crossed, the error is [`StoreError::Contended`].
    pub async fn save_trigger(
        &self,
        alias: &AliasChange<'_>,
        version: &Value,
        changes: Changes,
    ) -> Result<Saved, StoreError> {
        let Pointer { user_id, trigger_id } = &alias.owner;
        for _ in 0..=MAX_CONFLICTS {
            let of_alias = match self.plan_alias(alias).await? {
                Plan::Writes(writes) => writes,
                Plan::Taken(by) => return Ok(Saved::AliasTaken(by)),
            };
            if of_alias.is_empty() {
                let written = self.change_trigger(user_id, trigger_id, version, Target::Trigger, changes).await?;
                return Ok(match written {
                    Write::Done(after) => Saved::Done(after),
                    Write::Refused(found) => Saved::Refused(found),
                });
            }
            let mut changes = changes.clone();
            let condition = Some(condition(&mut changes, version, Target::Trigger));
            let (update, expression) = changes.into_parts();
            let key = trigger_key(user_id, trigger_id);
            let mut writes = vec![ConditionalWrite::Update { key, update, condition, expression }];
            writes.extend(of_alias);
            match self.table().transact(writes).await? {
                Transacted::Done => {
                    // A transaction returns no items. Somebody may have changed it again since.
                    let after = self.trigger_or_tombstone(user_id, trigger_id).await?;
                    return Ok(after.map_or(Saved::Refused(None), Saved::Done));
                }
                Transacted::Refused(0, found) => return Ok(Saved::Refused(found.map(object_of))),
                // The alias is looked at again.
                Transacted::Refused(..) | Transacted::Conflict => {}
            }
        }
        Err(StoreError::Contended)
    }

    /// Makes a trigger a tombstone by `changes`, and takes one from the user's count if this is above 0, both or
    /// neither. Returns false if there is no such trigger, it is a tombstone already, its version is another one, or
    /// the count has fallen to 0 meanwhile: then nothing was written.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been written all the same. After six tries that other
    /// writes crossed, the error is [`StoreError::Contended`].
    pub async fn bury_trigger(
        &self,
        user_id: &str,
        trigger_id: &str,
        version: &Value,
        mut changes: Changes,
    ) -> Result<bool, StoreError> {
        let condition = condition(&mut changes, version, Target::Trigger);
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

/// Returns true if Scheduler may have a schedule of a trigger: this API has begun to make one, or another one has.
pub fn has_schedule(item: &Map<String, Value>) -> bool {
    item.contains_key("scheduleVersion")
        || item.get("scheduleConfig").is_some_and(|config| config["schedulerArn"].is_string())
}

/// Returns true if a trigger has a webhook, or a tombstone still has its secret: `webhookConfig` names a hook.
pub fn has_webhook(item: &Map<String, Value>) -> bool {
    item.get("webhookConfig").is_some_and(|config| config["hookId"].is_string())
}

/// Returns true if a trigger is one for whoever reads. A tombstone is one while its schedule may still fire, or its
/// webhook's secret is left, so that it can be deleted again.
pub fn is_shown(item: &Map<String, Value>) -> bool {
    !is_tombstone(item) || has_schedule(item) || has_webhook(item)
}

/// Builds the condition that an item is such a target and has this version, or none if it is null.
fn condition(changes: &mut Changes, version: &Value, target: Target) -> String {
    let (key, version_name) = (changes.name("PK"), changes.name("version"));
    let mut condition = format!("attribute_exists({key})");
    if target == Target::Trigger {
        condition += &format!(" AND attribute_not_exists({})", changes.name("deletedAt"));
    }
    condition
        + &if version.is_null() {
            format!(" AND attribute_not_exists({version_name})")
        } else {
            format!(" AND {version_name} = {}", changes.value(version))
        }
}

/// Returns the number that a count holds, or 0.
fn count(item: &Item) -> i64 {
    current(item.clone(), 0).and_then(|item| item.get("triggers")?.as_i64()).unwrap_or_default()
}

/// Builds the write of the first count, which must not exist yet.
fn first_count((pk, sk): &Key, count: i64) -> ConditionalWrite {
    let item = Item::from([("PK".into(), text(pk)), ("SK".into(), text(sk)), ("triggers".into(), number(count))]);
    ConditionalWrite::Put { item, condition: "attribute_not_exists(PK)".to_owned(), expression: Expression::default() }
}

/// Builds the write that changes a count by `change`. The count must be there, and below `limit`, or without one above
/// 0.
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
