//! The input of an execution, kept so that it can be replayed. It says what ran, so it is written once and never
//! changed.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use crate::{
    clock::Clock,
    json::lenient,
    store::{
        Store,
        error::StoreError,
        expression::Expression,
        item::{keyed, string, text},
        keys,
        table::{ConditionalWrite, Table, Written},
    },
};

/// The largest input in bytes. An item may have 400 KB. The rest is for keys and other attributes.
const LARGEST_INPUT: usize = 390_000;

/// The attribute of an input that was kept by the holder of the run lock.
const HAS_RUN_LOCK: &str = "hasRunLock";

/// The result of keeping an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptInput {
    /// It is stored now.
    Stored,
    /// One is stored already, and this is it. It is empty if it is unreadable.
    Earlier(String),
    /// It is too large to be stored.
    TooLarge,
}

impl<T: Table, C: Clock> Store<T, C> {
    /// Keeps the input of an execution, unless one is kept already: the task that an earlier attempt gave its agent is
    /// never overwritten. `has_run_lock` is true if the execution has its trigger's run lock. `ttl` is in seconds since
    /// 1970. An input whose ttl has passed counts as absent. One of more than 390,000 bytes is not kept. If a try was
    /// applied and its answer was lost, this input is returned as an earlier one.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been kept all the same.
    pub async fn keep_input(
        &self,
        trigger_id: &str,
        execution_id: &str,
        detail: &str,
        has_run_lock: bool,
        ttl: i64,
    ) -> Result<KeptInput, StoreError> {
        if detail.len() > LARGEST_INPUT {
            return Ok(KeptInput::TooLarge);
        }
        let mut item = keyed(keys::input_key(trigger_id, execution_id), ttl);
        item.insert("detail".into(), text(detail));
        if has_run_lock {
            item.insert(HAS_RUN_LOCK.into(), AttributeValue::Bool(true));
        }
        let (condition, expression) = Expression::absent(self.clock.now_millis());
        Ok(match self.table.write(ConditionalWrite::Put { item, condition, expression }, false).await? {
            Written::Done(_) => KeptInput::Stored,
            Written::Refused(earlier) => {
                let detail = earlier.as_ref().and_then(|item| string(item, "detail"));
                KeptInput::Earlier(detail.unwrap_or_default())
            }
        })
    }

    /// Returns true if the input of an execution was kept without the run lock. Then the execution was admitted while
    /// its trigger limited no overlap. Returns false if no input is kept.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result.
    pub async fn was_admitted_without_lock(&self, trigger_id: &str, execution_id: &str) -> Result<bool, StoreError> {
        let item = self.table.get(keys::input_key(trigger_id, execution_id), true).await?;
        Ok(item.is_some_and(|item| !item.contains_key(HAS_RUN_LOCK)))
    }

    /// Reads the kept input of an execution as JSON. Returns `None` if none is kept, or if it is no JSON. An input
    /// whose ttl has passed is returned until DynamoDB deletes it.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result.
    pub async fn input(&self, trigger_id: &str, execution_id: &str) -> Result<Option<Value>, StoreError> {
        let text = self.input_text(trigger_id, execution_id).await?;
        Ok(text.and_then(|text| lenient::parse(&text).ok()))
    }

    /// Reads the kept input of an execution as the text that was given to [`Store::keep_input`]. Returns `None` if none
    /// is kept.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result.
    pub async fn input_text(&self, trigger_id: &str, execution_id: &str) -> Result<Option<String>, StoreError> {
        let item = self.table.get(keys::input_key(trigger_id, execution_id), true).await?;
        Ok(item.as_ref().and_then(|item| string(item, "detail")))
    }
}
