//! The input of an execution, kept so that it can be replayed.

use serde_json::Value;

use crate::store::{
    Store,
    dynamodb::{boxed, store_error},
    error::StoreError,
    item::{keyed, text},
    keys::{self},
    table::Table,
};

/// The largest input in bytes. An item may have 400 KB; the rest is for keys and other attributes.
const LARGEST_INPUT: usize = 390_000;

impl Store {
    /// Keeps the input of an execution so that it can be replayed. Returns false if it is too large to be kept.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it.
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
        let mut item = keyed(keys::input_key(trigger_id, execution_id), ttl);
        item.insert("detail".into(), text(detail));
        let request = self.table.client.put_item().table_name(&self.table.name).set_item(Some(item));
        boxed(request.send()).await.map_err(|error| store_error("PutItem", &error))?;
        Ok(true)
    }

    /// Reads the input of an execution, if it was kept.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not answer.
    pub(crate) async fn input(&self, trigger_id: &str, execution_id: &str) -> Result<Option<Value>, StoreError> {
        let item = self.table.get(keys::input_key(trigger_id, execution_id), true).await?;
        let detail = item.as_ref().and_then(|item| item.get("detail")?.as_s().ok());
        Ok(detail.and_then(|detail| serde_json::from_str(detail).ok()))
    }
}
