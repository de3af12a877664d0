//! `POST /executions/cancel` and `/executions/replay`: the same for up to 25 executions. Each has a result of its own,
//! so a wrong one keeps no other from being done.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    executions::{Named, cancel, replay},
    reply::Reply,
    request::JsonObject,
};

/// The most executions of one request.
const MOST: usize = 25;

/// `POST /executions/cancel`: `{executions: [{triggerId, executionId}]}`. They are cancelled one after the other,
/// whatever becomes of each. The answer is 200 with their `results` in the same order, each with a status of its own.
///
/// # Errors
/// Returns an error, and none is cancelled, if the list does not have 1 to 25 objects with both ids.
pub async fn cancel(State(api): State<Arc<Api>>, caller: Caller, body: JsonObject) -> Result<Reply, ApiError> {
    let mut results = Vec::new();
    for named in listed(&api, &caller, &body)? {
        results.push(shown(&named, cancel::one(&named).await));
    }
    Ok(Reply::ok(json!({"results": results})).count(results.len()))
}

/// `POST /executions/replay`: `{executions: [{triggerId, executionId}]}`. They are replayed one after the other,
/// whatever becomes of each. The answer is 200 with their `results` in the same order, each with a status of its own.
///
/// # Errors
/// Returns an error, and none is replayed, if the list does not have 1 to 25 objects with both ids.
pub async fn replay(State(api): State<Arc<Api>>, caller: Caller, body: JsonObject) -> Result<Reply, ApiError> {
    let mut results = Vec::new();
    for named in listed(&api, &caller, &body)? {
        results.push(shown(&named, replay::one(&named).await));
    }
    Ok(Reply::ok(json!({"results": results})).count(results.len()))
}

/// Reads the list of executions of a body, with the caller who asks.
///
/// # Errors
/// Returns an error if it is no list of 1 to 25 objects with texts as both ids.
fn listed(api: &Arc<Api>, caller: &Caller, JsonObject(body): &JsonObject) -> Result<Vec<Named>, ApiError> {
    let problem = || {
        ApiError::field("executions", format!("must be a list of 1 to {MOST} objects with triggerId and executionId"))
    };
    let list = body.get("executions").and_then(Value::as_array).ok_or_else(problem)?;
    if !(1..=MOST).contains(&list.len()) {
        return Err(problem());
    }
    let named = list.iter().map(|entry| {
        let id = |name: &str| entry[name].as_str().map(str::to_owned);
        let (id, execution) = (id("triggerId")?, id("executionId")?);
        Some(Named { api: Arc::clone(api), caller: caller.clone(), id, execution })
    });
    named.collect::<Option<_>>().ok_or_else(problem)
}

/// Returns the result of one execution. The ids that the request named are in `of`. For a success it is the body of its
/// own route with `of`, and `status`, 202. For an error it is `of`, `status`, `code` and `message` alone: the `details`
/// that its own route gives are left out.
fn shown(Named { id, execution, .. }: &Named, result: Result<Value, ApiError>) -> Value {
    let of = json!({"triggerId": id, "executionId": execution});
    match result {
        Ok(mut answer) => {
            answer["of"] = of;
            answer["status"] = json!(202);
            answer
        }
        Err(error) => {
            let (status, code, _) = error.kind();
            json!({"of": of, "status": status.as_u16(), "code": code, "message": error.to_string()})
        }
    }
}
