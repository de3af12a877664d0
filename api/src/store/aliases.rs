//! The aliases of webhooks: each is a pointer like that of a hook's id, `PK=HOOK#{alias}`, with a `claim` that every
//! taking of it writes anew. It is written in one transaction with the trigger that names it, so a trigger has each
//! alias that it names. An alias that was given up has a `ttl`, and is free. So is one whose trigger is gone or names
//! it no more.

use agent_trigger::store::{
    error::StoreError,
    execution_item::TTL,
    table::{ConditionalWrite, Table},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::store::{
    Changes, Items, Write,
    hooks::{Pointer, pointer_key, pointer_of},
    item_of, object_of,
    triggers::is_tombstone,
};

/// A change of a trigger's alias.
#[derive(Debug, Clone)]
pub struct AliasChange<'a> {
    /// The trigger.
    pub owner: Pointer,
    /// The alias that it has, if it has one.
    pub before: Option<&'a str>,
    /// The alias that it is to have, if it is to have one.
    pub wanted: Option<&'a str>,
    /// The time at which the pointer of an alias that it gives up ends, in seconds since 1970.
    pub retired_until: i64,
}

/// What a change of an alias takes.
#[derive(Debug)]
pub(super) enum Plan {
    /// The writes, which hold for the pointers as they were read.
    Writes(Vec<ConditionalWrite>),
    /// Another trigger has it.
    Taken(Pointer),
}

/// The trigger that an alias belongs to.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    Owner,
    /// Another trigger, if it is still there and names the alias.
    Perhaps(Pointer),
}

impl Items {
    /// Plans a change of an alias: the write that takes the wanted one, unless the trigger keeps it, and the write that
    /// gives up the one before, if it is another one and still the trigger's. Nothing is written yet. Returns `Taken`
    /// if another trigger, no tombstone, has the wanted one as its alias or its hook's id.
    ///
    /// # Errors
    /// Returns an error if DynamoDB refuses or does not answer.
    pub(super) async fn plan_alias(&self, change: &AliasChange<'_>) -> Result<Plan, StoreError> {
        let mut writes = Vec::new();
        if let Some(alias) = change.wanted {
            let found = self.pointer_item(alias).await?;
            let is_kept = match holder(found.as_ref(), &change.owner) {
                Holder::Nobody => false,
                Holder::Owner => change.before == Some(alias),
                Holder::Perhaps(other) if self.has_address(&other, alias).await? => return Ok(Plan::Taken(other)),
                Holder::Perhaps(_) => false,
            };
            if !is_kept {
                writes.push(taking(alias, found.as_ref(), &change.owner));
            }
        }
        if let Some(alias) = change.before.filter(|before| Some(*before) != change.wanted)
            && holder(self.pointer_item(alias).await?.as_ref(), &change.owner) == Holder::Owner
        {
            let (changes, condition) = retiring(&change.owner, change.retired_until);
            let (update, expression) = changes.into_parts();
            let key = pointer_key(alias);
            writes.push(ConditionalWrite::Update { key, update, condition: Some(condition), expression });
        }
        Ok(Plan::Writes(writes))
    }

    /// Gives up the alias of a trigger that was deleted. It leads to the tombstone until `until`, in seconds since
    /// 1970, or until somebody takes it. One that is not the trigger's, or was given up before, stays as it is, and the
    /// write is refused.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been given up all the same.
    pub async fn retire_alias(&self, alias: &str, owner: &Pointer, until: i64) -> Result<Write, StoreError> {
        let (changes, condition) = retiring(owner, until);
        self.update(pointer_key(alias), changes, &condition).await
    }

    /// Reads the pointer of an address, or returns `None` if there is none. One whose ttl has passed is returned too:
    /// it stands in the way of a write until DynamoDB deletes it.
    async fn pointer_item(&self, address: &str) -> Result<Option<Map<String, Value>>, StoreError> {
        Ok(self.table().get(pointer_key(address), true).await?.map(object_of))
    }

    /// Returns true if the trigger of a pointer is there, is no tombstone, and has this address as its alias or its
    /// hook's id.
    async fn has_address(&self, pointer: &Pointer, address: &str) -> Result<bool, StoreError> {
        let Some(item) = self.trigger_of_hook(pointer).await? else { return Ok(false) };
        let has = |name: &str| item.get("webhookConfig").is_some_and(|config| config[name] == address);
        Ok(!is_tombstone(&item) && (has("alias") || has("hookId")))
    }
}

/// Returns the trigger that an alias belongs to, by its pointer: none if there is no pointer, or it was given up or is
/// not understood; the `owner`; or perhaps another one, which may not be there any more.
fn holder(found: Option<&Map<String, Value>>, owner: &Pointer) -> Holder {
    let Some(pointer) = found.filter(|item| !item.contains_key(TTL)).and_then(pointer_of) else {
        return Holder::Nobody;
    };
    if pointer == *owner { Holder::Owner } else { Holder::Perhaps(pointer) }
}

/// Returns the write that points an alias to `owner`, under the condition that nobody has taken it since its pointer
/// was read as `found`. The trigger that had it may come back meanwhile. It then takes the alias anew, with another
/// claim.
fn taking(alias: &str, found: Option<&Map<String, Value>>, owner: &Pointer) -> ConditionalWrite {
    let (pk, sk) = pointer_key(alias);
    let claim = Uuid::new_v4().simple().to_string();
    let item = json!({"PK": pk, "SK": sk, "userId": owner.user_id, "triggerId": owner.trigger_id, "claim": claim});
    let item = item.as_object().map(item_of).unwrap_or_default();
    let mut changes = Changes::default();
    let condition = match found.map(|item| item.get("claim")) {
        None => format!("attribute_not_exists({})", changes.name("PK")),
        Some(Some(seen)) => format!("{} = {}", changes.name("claim"), changes.value(seen)),
        Some(None) => format!("attribute_not_exists({})", changes.name("claim")),
    };
    let (_, expression) = changes.into_parts();
    ConditionalWrite::Put { item, condition, expression }
}

/// Returns the changes that let an alias end at `until`, in seconds since 1970, under the condition that it is the
/// trigger's and not given up yet.
fn retiring(owner: &Pointer, until: i64) -> (Changes, String) {
    let mut changes = Changes::default().set(TTL, &json!(until));
    let (ttl, user, trigger) = (changes.name(TTL), changes.name("userId"), changes.name("triggerId"));
    let (user_id, trigger_id) = (changes.value(&json!(owner.user_id)), changes.value(&json!(owner.trigger_id)));
    let condition = format!("{user} = {user_id} AND {trigger} = {trigger_id} AND attribute_not_exists({ttl})");
    (changes, condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_somebodys_by_its_pointer() {
        let owner = Pointer { user_id: "u".to_owned(), trigger_id: "t".to_owned() };
        let other = Pointer { trigger_id: "v".to_owned(), ..owner.clone() };
        for (item, expected) in [
            (json!(null), Holder::Nobody),
            (json!({"userId": "u", "triggerId": "t"}), Holder::Owner),
            (json!({"userId": "u", "triggerId": "v"}), Holder::Perhaps(other)),
            (json!({"userId": "u", "triggerId": "v", "ttl": 1}), Holder::Nobody),
            (json!({"userId": "u", "triggerId": "t", "ttl": 1}), Holder::Nobody),
            (json!({"userId": 7}), Holder::Nobody),
        ] {
            assert_eq!(holder(item.as_object(), &owner), expected, "{item}");
        }
    }
}
