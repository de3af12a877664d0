//! `POST …/executions/{execution}/cancel`: the attempt that works on the execution sees the request with its next
//! heartbeat. No attempt works on a detached run, so the run function is told, which ends the run if its agent does
//! not.

use agent_trigger::store::execution_item::{DETACHED, STATUS};
use serde_json::{Value, json};

use crate::{
    error::ApiError,
    executions::Named,
    reply::Reply,
    store::Write,
    triggers::run::{command, invoke},
};

/// `POST /triggers/{id}/executions/{execution}/cancel`: requests the end of the execution, as [`one`] does, and answers
/// 202.
///
/// # Errors
/// Returns an error if there is no such execution, it has ended, or the run function cannot be told of the end of a
/// detached run.
pub async fn cancel(named: Named) -> Result<Reply, ApiError> {
    one(&named).await.map(Reply::accepted)
}

/// Requests the end of one execution: writes the request into its row, and for a detached run tells the run function.
/// Returns the body of the answer. A second request is taken like the first.
///
/// # Errors
/// Returns an error if there is no such execution, it has ended, or the run function cannot be told of the end of a
/// detached run. In the last case the request stands in the row all the same.
pub async fn one(named: &Named) -> Result<Value, ApiError> {
    let (_, row) = named.read().await?;
    let Named { api, id, execution, .. } = named;
    match api.items.request_cancel(id, execution).await? {
        Write::Done(_) => {
            // Such an agent may not report for hours, and hears of the request only then.
            if row.get(DETACHED).is_some_and(|detached| detached == true) {
                let (event, _) = command("Cancel Execution", id, json!({"triggerId": id, "executionId": execution}));
                invoke(api, &event).await.map_err(|_| untold())?;
            }
            Ok(json!({"executionId": execution, "triggerId": id, "cancelRequested": true}))
        }
        Write::Refused(Some(row)) => {
            let details = json!({"status": row.get(STATUS)});
            Err(ApiError::Conflict { message: "the execution has ended".to_owned(), details })
        }
        Write::Refused(None) => Err(ApiError::NotFound),
    }
}

/// Returns the error for a detached run whose end is requested and of which the run function could not be told.
fn untold() -> ApiError {
    let message = "the end is requested, but the run function could not be told, so the run may go on until its agent reports: \
                   cancel it again";
    ApiError::Unavailable(message.to_owned())
}
