//! The port to the table: conditional writes as data, and the few operations that the store needs.
//!
//! [`DynamoDb`](super::dynamodb::DynamoDb) implements it for the function. The model check (tests/model) implements it
//! with a simulated table, so that the conditions it checks are those that the store really sends.

use crate::store::{
    error::StoreError,
    expression::Expression,
    item::{Item, Key},
};

/// A write of one item that is applied only if its condition holds.
#[derive(Debug, Clone)]
pub enum ConditionalWrite {
    /// Writes the item as a whole, in place of the one under its key if there is one.
    Put {
        /// The item with its key.
        item: Item,
        /// The condition expression.
        condition: String,
        /// The names and values of the condition.
        expression: Expression,
    },
    /// Changes some attributes, and creates the item if there is none.
    Update {
        /// The item's key.
        key: Key,
        /// The update expression.
        update: String,
        /// The condition expression. `None` always holds.
        condition: Option<String>,
        /// The names and values of both expressions.
        expression: Expression,
    },
}

/// A read of the items of one partition whose sort keys lie between two others.
#[derive(Debug, Clone)]
pub struct Query {
    /// The partition.
    pub partition: String,
    /// The lowest sort key.
    pub from: String,
    /// The highest sort key.
    pub to: String,
    /// The condition on the items to return.
    pub filter: String,
    /// The names and values of the filter.
    pub expression: Expression,
}

/// The result of one conditional write.
#[derive(Debug, Clone)]
pub enum Written {
    /// The write was applied. Holds the item after it, if the caller asked for it.
    Done(Option<Item>),
    /// The condition did not hold. Holds the item as it stands, if there is one.
    Refused(Option<Item>),
}

/// The result of a transaction.
#[derive(Debug, Clone)]
pub enum Transacted {
    /// All writes were applied.
    Done,
    /// The condition of the write with this index did not hold. Holds the item as it stands, if there is one. Nothing
    /// was written.
    Refused(usize, Option<Item>),
    /// Another transaction was writing the same items. Nothing was written.
    Conflict,
}

/// The table with its retries. The futures are not boxed here, and `Send` where those of the implementation are.
pub trait Table {
    /// Reads an item. Without `consistent` a write of the last moments may be missing. An item whose ttl has passed is
    /// returned until DynamoDB deletes it.
    ///
    /// # Errors
    /// Returns an error if the table gives no result.
    fn get(&self, key: Key, consistent: bool) -> impl Future<Output = Result<Option<Item>, StoreError>>;

    /// Reads all items that a query finds, in the order of their keys. Later writes may be missing or not.
    ///
    /// # Errors
    /// Returns an error if the table gives no result.
    fn query(&self, query: Query) -> impl Future<Output = Result<Vec<Item>, StoreError>>;

    /// Makes one write. `return_new` asks for the item after an update.
    ///
    /// # Errors
    /// Returns an error if the table gives no result. The write may have been applied all the same.
    fn write(&self, write: ConditionalWrite, return_new: bool) -> impl Future<Output = Result<Written, StoreError>>;

    /// Makes all of `writes` or none of them.
    ///
    /// # Errors
    /// Returns an error if a write can never be made, or if the table gives no result. In the second case the writes
    /// may have been applied all the same.
    fn transact(&self, writes: Vec<ConditionalWrite>) -> impl Future<Output = Result<Transacted, StoreError>>;
}
