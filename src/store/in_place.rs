//! The trigger that a Lambda request runs in place, remembered before its execution is claimed.
//!
//! An event names no trigger. The triggers for which it is meant are found by their items, and those may change. If a
//! run in place has died and its trigger was deleted or no longer matches, only this item leads Lambda's retry to the
//! execution.

use crate::{
    clock::Clock,
    domain::ids::{TriggerId, UserId},
    store::{
        Store,
        error::StoreError,
        execution_item::{TRIGGER_ID, USER_ID},
        expression::Expression,
        item::{Item, keyed, text},
        keys,
        table::{ConditionalWrite, Table, Written},
    },
};

/// A trigger with its user.
pub type InPlace = (UserId, TriggerId);

impl<T: Table, C: Clock> Store<T, C> {
    /// Remembers that this Lambda request runs a trigger in place, with a `ttl` in seconds since 1970. Returns the
    /// trigger that is remembered. It is another one if an earlier attempt ran another in place: then nothing is
    /// written.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it, or the item is unreadable.
    pub async fn remember_in_place(
        &self,
        request_id: &str,
        (user_id, trigger_id): &InPlace,
        ttl: i64,
    ) -> Result<InPlace, StoreError> {
        let mut item = keyed(keys::in_place_key(request_id), ttl);
        item.insert(USER_ID.into(), text(user_id.as_str()));
        item.insert(TRIGGER_ID.into(), text(trigger_id.as_str()));
        let mut expression = Expression::default();
        let condition = format!("attribute_not_exists({})", expression.name("PK"));
        match self.table.write(ConditionalWrite::Put { item, condition, expression }, false).await? {
            Written::Done(_) => Ok((user_id.clone(), trigger_id.clone())),
            Written::Refused(old) => old.as_ref().and_then(read).ok_or(StoreError::Unreadable),
        }
    }

    /// Returns the trigger that an earlier attempt of this Lambda request ran in place, if there is one. An unreadable
    /// item counts as none.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not answer.
    pub async fn in_place(&self, request_id: &str) -> Result<Option<InPlace>, StoreError> {
        Ok(self.table.get(keys::in_place_key(request_id), true).await?.as_ref().and_then(read))
    }
}

fn read(item: &Item) -> Option<InPlace> {
    let text = |name: &str| item.get(name)?.as_s().ok().cloned();
    Some((text(USER_ID)?.into(), text(TRIGGER_ID)?.into()))
}
