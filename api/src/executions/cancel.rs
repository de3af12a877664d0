//! `POST …/executions/{execution}/cancel`: the attempt that works on the execution sees the request with its next heartbeat.

use agent_trigger::store::execution_item::STATUS;
use serde_json::{Value, json};

use crate::{error::ApiError, executions::Named, reply::Reply, store::Write};

/// `POST /triggers/{id}/executions/{execution}/cancel`
///
/// # Errors
/// If there is no such execution, or it has ended.
pub async fn cancel(named: Named) -> Result<Reply, ApiError> {
    one(&named).await.map(Reply::accepted)
}

/// Requests the end of one execution.
///
/// # Errors
/// If there is no such execution, or it has ended.
pub async fn one(named: &Named) -> Result<Value, ApiError> {
    named.read().await?;
    let Named { api, id, execution, .. } = named;
    match api.items.request_cancel(id, execution).await? {
        Write::Done(_) => Ok(json!({"executionId": execution, "triggerId": id, "cancelRequested": true})),
        Write::Refused(Some(row)) => {
            let details = json!({"status": row.get(STATUS)});
            Err(ApiError::Conflict { message: "the execution has ended".to_owned(), details })
        }
        Write::Refused(None) => Err(ApiError::NotFound),
    }
}
