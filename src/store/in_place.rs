//! What the attempts of a Lambda request did with its event, remembered before they did it: the trigger that ran in
//! place, and that the event was handed on.
//!
//! An event names no trigger. The triggers for which it is meant are found by their items, and those may change. If a
//! run in place has died and its trigger was deleted or no longer matches, only this item leads Lambda's retry to the
//! execution. If the event was handed on, only this item tells settling that an invocation of its own may still run a
//! trigger that is the only one by now.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    clock::Clock,
    domain::ids::{TriggerId, UserId},
    store::{
        Store,
        error::StoreError,
        execution_item::{TRIGGER_ID, TTL, USER_ID},
        expression::Expression,
        item::{Item, number, string, text},
        keys,
        table::{ConditionalWrite, Table, Written},
    },
};

/// The attribute that says that the event was, or was about to be, handed on.
const HANDED_ON: &str = "handedOn";

/// A trigger with its user.
pub type InPlace = (UserId, TriggerId);

/// What the attempts of a Lambda request did with its event, as far as it is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The trigger that ran in place.
    pub in_place: Option<InPlace>,
    /// True if the event was handed on to invocations of its own, or an attempt was about to do it.
    pub is_handed_on: bool,
}

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
        let mut expression = Expression::default();
        // The item may exist without a trigger: an earlier attempt has handed the event on.
        let condition = expression.equals(TRIGGER_ID, None);
        let update = expression.set([
            (USER_ID, text(user_id.as_str())),
            (TRIGGER_ID, text(trigger_id.as_str())),
            (TTL, number(ttl)),
        ]);
        let key = keys::in_place_key(request_id);
        let write = ConditionalWrite::Update { key, update, condition: Some(condition), expression };
        match self.table.write(write, false).await? {
            Written::Done(_) => Ok((user_id.clone(), trigger_id.clone())),
            Written::Refused(old) => old.as_ref().and_then(read).ok_or(StoreError::Unreadable),
        }
    }

    /// Remembers that this Lambda request hands its event on, with a `ttl` in seconds since 1970. Returns the trigger
    /// that an earlier attempt ran in place, as [`Self::remembered`] does.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been written all the same.
    pub async fn remember_hand_on(&self, request_id: &str, ttl: i64) -> Result<Option<InPlace>, StoreError> {
        let mut expression = Expression::default();
        let update = expression.set([(HANDED_ON, AttributeValue::Bool(true)), (TTL, number(ttl))]);
        let key = keys::in_place_key(request_id);
        let write = ConditionalWrite::Update { key, update, condition: None, expression };
        match self.table.write(write, true).await? {
            Written::Done(item) | Written::Refused(item) => Ok(item.as_ref().and_then(read)),
        }
    }

    /// Returns what the attempts of this Lambda request have done. An unreadable trigger counts as none.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result.
    pub async fn remembered(&self, request_id: &str) -> Result<Remembered, StoreError> {
        let item = self.table.get(keys::in_place_key(request_id), true).await?.unwrap_or_default();
        let is_handed_on = item.get(HANDED_ON).is_some_and(|flag| flag.as_bool() == Ok(&true));
        Ok(Remembered { in_place: read(&item), is_handed_on })
    }
}

/// Reads the trigger of an item, or returns `None` if the item names none.
fn read(item: &Item) -> Option<InPlace> {
    Some((string(item, USER_ID)?.into(), string(item, TRIGGER_ID)?.into()))
}
