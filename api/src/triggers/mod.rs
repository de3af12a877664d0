//! The routes of triggers. Each write has an order that survives a crash after any of its steps (docs/api.md, Writes).
//! The rest of the work is shown, and the same request again completes it.

pub mod check;
pub mod create;
pub mod delete;
pub mod draft;
pub mod run;
pub mod status;
pub mod switch;
pub mod sync;
pub mod update;
pub mod view;

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    auth::{Caller, is_id},
    error::ApiError,
    page,
    reply::Reply,
    request::{Params, Path},
    store::triggers::{MOST_LISTED, is_shown, is_tombstone},
    times,
    triggers::{
        draft::kind_of,
        view::{is_enabled, view},
    },
    webhooks::make::with_webhook,
};

/// `GET /triggers`: answers with one page of a user's triggers, and the token of the next page if there may be one. The
/// parameters `type`, `enabled` and `health` choose among them, `limit` and `nextToken` the page. Without `limit` a
/// page has up to 1,000 triggers, which is the most that `TRIGGER_LIMIT` allows a user.
///
/// # Errors
/// Returns an error if a parameter is wrong, or if the table refuses or does not answer.
pub async fn list(State(api): State<Arc<Api>>, caller: Caller, params: Params) -> Result<Reply, ApiError> {
    let kind = params.get("type").filter(|kind| ["schedule", "event"].contains(kind));
    if kind != params.get("type") {
        return Err(ApiError::field("type", "must be schedule or event"));
    }
    let enabled = match params.get("enabled") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(ApiError::field("enabled", "must be true or false")),
    };
    let health = params.get("health");
    let wanted = |item: &Map<String, Value>| {
        let text = |name: &str| item.get(name).and_then(Value::as_str);
        kind.is_none_or(|kind| kind_of(item) == Some(kind))
            && enabled.is_none_or(|enabled| enabled == is_enabled(item))
            && health.is_none_or(|health| text("health").unwrap_or("ok") == health)
    };
    let limit = page::limit(params.get("limit"), MOST_LISTED)?;
    let after = page::after(params.get("nextToken"))?;
    let found = api.items.triggers(&caller.0, after.as_deref(), limit, wanted).await?;
    let now = times::now();
    let triggers: Vec<Value> = found.items.iter().map(|item| view(item, now)).collect();
    let next = found.next.map(|id| page::token(&id));
    let count = triggers.len();
    Ok(Reply::ok(json!({"nextToken": next})).with("triggers", triggers.into()).count(count))
}

/// `GET /triggers/{id}`: the trigger, and the address of its webhook.
///
/// # Errors
/// Returns an error if there is no such trigger of the caller, or the table refuses or does not answer.
pub async fn get(State(api): State<Arc<Api>>, caller: Caller, Path(id): Path<String>) -> Result<Reply, ApiError> {
    let item = find(&api, &caller, &id).await?;
    let reply = with_webhook(Reply::ok(json!({})), &api, &item, None);
    Ok(reply.with("trigger", view(&item, times::now())))
}

/// Reads a trigger of the caller to show it. It may be a tombstone whose schedule or secret is not deleted yet.
///
/// # Errors
/// Returns [`ApiError::NotFound`] if there is none, or if it is somebody else's, and the error of a table that refuses
/// or does not answer.
pub async fn find(api: &Api, caller: &Caller, id: &str) -> Result<Map<String, Value>, ApiError> {
    let item = api.items.trigger_or_tombstone(&caller.0, checked(id)?).await?;
    item.filter(is_shown).ok_or(ApiError::NotFound)
}

/// Reads a trigger of the caller to change it or to run it.
///
/// # Errors
/// Returns [`ApiError::NotFound`] if there is none, or only a tombstone, or if it is somebody else's, and the error of
/// a table that refuses or does not answer.
pub async fn find_alive(api: &Api, caller: &Caller, id: &str) -> Result<Map<String, Value>, ApiError> {
    let item = find(api, caller, id).await?;
    Some(item).filter(|item| !is_tombstone(item)).ok_or(ApiError::NotFound)
}

/// Returns an id from a path, if it can be part of a key.
///
/// # Errors
/// [`ApiError::NotFound`] otherwise, because nothing has such an id.
pub fn checked(id: &str) -> Result<&str, ApiError> {
    if is_id(id) { Ok(id) } else { Err(ApiError::NotFound) }
}
