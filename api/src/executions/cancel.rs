//! `POST …/executions/{execution}/cancel`: the attempt that works on the execution sees the request with its next heartbeat.

use std::sync::Arc;

use agent_trigger::store::execution_item::STATUS;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::{api::Api, auth::Caller, error::ApiError, executions::row, reply::Reply, store::Write};

/// `POST /triggers/{id}/executions/{execution}/cancel`
///
/// # Errors
/// If there is no such execution, or it has ended.
pub async fn cancel(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((id, execution)): Path<(String, String)>,
) -> Result<Reply, ApiError> {
    one(&api, &caller, &id, &execution).await.map(Reply::accepted)
}

/// Requests the end of one execution.
///
/// # Errors
/// If there is no such execution, or it has ended.
pub async fn one(api: &Api, caller: &Caller, id: &str, execution: &str) -> Result<Value, ApiError> {
    row(api, caller, id, execution).await?;
    match api.items.request_cancel(id, execution).await? {
        Write::Done(_) => Ok(json!({"executionId": execution, "triggerId": id, "cancelRequested": true})),
        Write::Refused(Some(row)) => {
            let details = json!({"status": row.get(STATUS)});
            Err(ApiError::Conflict { message: "the execution has ended".to_owned(), details })
        }
        Write::Refused(None) => Err(ApiError::NotFound),
    }
}
