//! `POST …/executions/{execution}/replay`: the run function sends the agent the kept input again, as a new execution.

use serde_json::{Value, json};

use crate::{
    error::ApiError,
    executions::Named,
    reply::Reply,
    store::triggers::is_tombstone,
    triggers::{
        run::{command, invoke},
        view::add_skip_reason,
    },
};

/// `POST /triggers/{id}/executions/{execution}/replay`: runs the kept input again, as [`one`] does, and answers 202.
///
/// # Errors
/// Returns an error if there is no such execution or its trigger was deleted, its input is not kept, or Lambda does not
/// take the event.
pub async fn replay(named: Named) -> Result<Reply, ApiError> {
    one(&named).await.map(Reply::accepted)
}

/// Runs the kept input of one execution again: invokes the run function with the command, and returns the body of the
/// answer with the new execution's id. If the trigger is off, it says with which `skipReason` the execution will be
/// recorded.
///
/// # Errors
/// Returns an error if there is no such execution or its trigger was deleted, its input is not kept, or Lambda does not
/// take the event.
pub async fn one(named: &Named) -> Result<Value, ApiError> {
    let (trigger, _) = named.read().await?;
    if is_tombstone(&trigger) {
        return Err(ApiError::NotFound);
    }
    let Named { api, caller, id, execution } = named;
    // The input names the user as whom it ran. The trigger id alone is in its key.
    let input = api.items.input(id, execution).await?.filter(|input| input["userId"] == caller.0.as_str());
    if input.is_none() {
        let message =
            "the input of this execution is not kept, so it cannot be replayed; run the trigger instead".to_owned();
        return Err(ApiError::Conflict { message, details: json!({"reason": "NotReplayable"}) });
    }
    let (event, replayed) = command("Replay Execution", id, json!({"triggerId": id, "executionId": execution}));
    invoke(api, &event).await?;
    let mut answer = json!({"executionId": replayed.to_string(), "triggerId": id, "replayOf": execution});
    add_skip_reason(&mut answer, &trigger);
    Ok(answer)
}
