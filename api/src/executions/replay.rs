//! `POST …/executions/{execution}/replay`: the run function sends the agent the kept input again, as a new execution.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    executions::row,
    reply::Reply,
    triggers::run::{command, invoke},
};

/// `POST /triggers/{id}/executions/{execution}/replay`
///
/// # Errors
/// If there is no such execution, its input is not kept, or Lambda does not take the event.
pub async fn replay(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((id, execution)): Path<(String, String)>,
) -> Result<Reply, ApiError> {
    one(&api, &caller, &id, &execution).await.map(Reply::accepted)
}

/// Runs the kept input of one execution again.
///
/// # Errors
/// If there is no such execution, its input is not kept, or Lambda does not take the event.
pub async fn one(api: &Api, caller: &Caller, id: &str, execution: &str) -> Result<Value, ApiError> {
    row(api, caller, id, execution).await?;
    // The input names the user as whom it ran. The trigger id alone is in its key.
    let input = api.items.input(id, execution).await?.filter(|input| input["userId"] == caller.0.as_str());
    if input.is_none() {
        let message =
            "the input of this execution is not kept, so it cannot be replayed; run the trigger instead".to_owned();
        return Err(ApiError::Conflict { message, details: json!({"reason": "NotReplayable"}) });
    }
    let (event, replayed) = command("Replay Execution", id, json!({"triggerId": id, "executionId": execution}));
    invoke(api, &event).await?;
    Ok(json!({"executionId": replayed.to_string(), "triggerId": id, "replayOf": execution}))
}
