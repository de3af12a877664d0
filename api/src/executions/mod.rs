//! The routes of executions. They are read through their trigger, and the row's user must agree.

pub mod across;
pub mod bulk;
pub mod cancel;
pub mod replay;
pub mod view;

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, State},
    http::request::Parts,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    executions::view::{listed, shown},
    page,
    reply::Reply,
    request::{Params, Path},
    store::executions::Filter,
    triggers::{checked, find},
};

/// The statuses of executions.
const STATUSES: [&str; 5] = ["running", "completed", "failed", "cancelled", "skipped"];
/// The number of executions of a page, unless the client says otherwise.
pub const DEFAULT_PAGE: usize = 20;

/// `GET /triggers/{id}/executions`: answers with one page of a trigger's executions, and the token of the next page if
/// there is one. The parameters are `status`, `from`, `to`, `limit`, `nextToken` and `order`.
///
/// # Errors
/// Returns an error if there is no such trigger, a parameter is wrong, or the table refuses or does not answer.
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
) -> Result<Reply, ApiError> {
    let filter = filter(&params)?;
    let limit = page::limit(params.get("limit"), DEFAULT_PAGE)?;
    let after = page::after(params.get("nextToken"))?;
    let (trigger, page) =
        tokio::join!(find(&api, &caller, &id), api.items.executions(&caller.0, &id, &filter, after.as_deref(), limit));
    trigger?;
    let page = page?;
    let executions: Vec<Value> = page.rows.iter().map(listed).collect();
    let (count, next) = (executions.len(), page.next.map(|id| page::token(&id)));
    Ok(Reply::ok(json!({"nextToken": next})).with("executions", executions.into()).count(count))
}

/// An execution that a request names, and who asks for it.
#[derive(Debug)]
pub struct Named {
    /// The services.
    pub api: Arc<Api>,
    /// The user.
    pub caller: Caller,
    /// The trigger's id.
    pub id: String,
    /// The execution's id.
    pub execution: String,
}

impl FromRequestParts<Arc<Api>> for Named {
    type Rejection = ApiError;

    /// Reads the caller and the ids of the path. Nothing is read from the table.
    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let Path((id, execution)) = Path::from_request_parts(parts, api).await?;
        Ok(Self { api: Arc::clone(api), caller, id, execution })
    }
}

impl Named {
    /// Reads the trigger and the execution's row, at the same time.
    ///
    /// # Errors
    /// Returns [`ApiError::NotFound`] if one of them is not there, or is somebody else's, and the error of the table.
    pub async fn read(&self) -> Result<(Map<String, Value>, Map<String, Value>), ApiError> {
        let Self { api, caller, id, execution } = self;
        let execution = checked(execution)?;
        let (trigger, row) = tokio::join!(find(api, caller, id), api.items.execution(&caller.0, id, execution));
        Ok((trigger?, row?.ok_or(ApiError::NotFound)?))
    }
}

/// `GET /triggers/{id}/executions/{execution}`: the execution, as [`shown`] shows it.
///
/// # Errors
/// Returns an error if there is no such execution of a trigger of the caller.
pub async fn get(named: Named) -> Result<Reply, ApiError> {
    let (_, row) = named.read().await?;
    Ok(Reply::ok(json!({})).with("execution", shown(&row)))
}

/// `GET /triggers/{id}/executions/{execution}/input`: the task that the agent got, if it is kept.
///
/// # Errors
/// Returns `NotFound` if there is no such execution or its input is not kept, and an error if the table refuses or does
/// not answer.
pub async fn input(named: Named) -> Result<Reply, ApiError> {
    named.read().await?;
    let Named { api, caller, id, execution } = named;
    // The input names the user as whom it ran. The trigger id alone is in its key.
    let input = api.items.input(&id, &execution).await?.filter(|input| input["userId"] == caller.0.as_str());
    let mut input = input.ok_or(ApiError::NotFound)?;
    if let Some(input) = input.as_object_mut() {
        input.remove("userId");
    }
    Ok(Reply::ok(json!({"executionId": execution, "triggerId": id})).with("input", input))
}

/// Reads the filters of a list: `status`, words joined by commas, `from`, `to` and `order`. The newest executions come
/// first unless `order` is `asc`.
///
/// # Errors
/// Returns an error if one of them is not understood, or a time is before 1970.
pub fn filter(params: &Params) -> Result<Filter, ApiError> {
    let instant = |name: &str| -> Result<Option<Timestamp>, ApiError> {
        let Some(text) = params.get(name) else { return Ok(None) };
        let at = text.parse::<Timestamp>().ok().filter(|at| at.as_second() >= 0);
        at.map(Some).ok_or_else(|| ApiError::field(name, "must be an RFC 3339 time such as 2026-01-31T07:00:00Z"))
    };
    let mut statuses: Vec<String> = params
        .get("status")
        .map(|list| list.split(',').map(|status| status.trim().to_owned()).collect())
        .unwrap_or_default();
    // DynamoDB takes at most a hundred.
    statuses.sort_unstable();
    statuses.dedup();
    if statuses.iter().any(|status| !STATUSES.contains(&status.as_str())) {
        return Err(ApiError::field("status", format!("must be a list of {}", STATUSES.join(", "))));
    }
    let is_ascending = match params.get("order") {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(_) => return Err(ApiError::field("order", "must be asc or desc")),
    };
    Ok(Filter { from: instant("from")?, to: instant("to")?, statuses, is_ascending })
}
