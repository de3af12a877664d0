//! The agents table (`AGENTS_TABLE_NAME`), which others keep. It has one row for each agent of a user.

use serde_json::{Map, Value};

use crate::store::{
    Store,
    dynamodb::{boxed, store_error},
    error::StoreError,
    item::text,
    trigger_item::json_of,
};

impl Store {
    /// Reads the row of an agent in `table`, if there is one, in an eventually consistent read. The table belongs to
    /// others and has keys of its own, `userId` and `agentId`, which are members of the row, too. Binary values become
    /// null.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result.
    pub(crate) async fn agent_row(
        &self,
        table: &str,
        user_id: &str,
        agent_id: &str,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        let request = self.table.client.get_item().table_name(table);
        let request = request.key("userId", text(user_id)).key("agentId", text(agent_id));
        let output = boxed(request.send()).await.map_err(|error| store_error("GetItem", &error))?;
        Ok(output.item.map(|item| match json_of(item) {
            Value::Object(row) => row,
            _ => Map::new(),
        }))
    }
}
