//! `GET /executions`: the executions of all of a user's triggers, newest first. Ids sort by the fires' times, so the lists of
//! the triggers are merged by them, and no index is needed.

use std::sync::Arc;

use agent_trigger::store::execution_item::{EXECUTION_ID, TRIGGER_ID};
use axum::extract::State;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    executions::{DEFAULT_PAGE, filter, view::listed},
    page,
    reply::Reply,
    request::Params,
};

/// The most queries at the same time.
const MOST_IN_FLIGHT: usize = 16;
/// The most triggers that are asked.
const MOST_TRIGGERS: usize = 1_000;

/// `GET /executions`: `status`, `from`, `to`, `limit`, `nextToken`, `order`.
///
/// # Errors
/// If a parameter is wrong, or the table does not answer.
pub async fn list(State(api): State<Arc<Api>>, caller: Caller, params: Params) -> Result<Reply, ApiError> {
    let filter = filter(&params)?;
    let limit = page::limit(params.get("limit"), DEFAULT_PAGE)?;
    let after = page::after(params.get("nextToken"))?;
    let triggers = api.items.triggers(&caller.0, None, MOST_TRIGGERS, |_| true).await?.items;
    let ids: Vec<String> = triggers.iter().filter_map(|item| Some(item.get("id")?.as_str()?.to_owned())).collect();
    let pages = ids.iter().map(|id| api.items.executions(&caller.0, id, &filter, after.as_deref(), limit));
    let pages: Vec<_> = stream::iter(pages.collect::<Vec<_>>()).buffer_unordered(MOST_IN_FLIGHT).try_collect().await?;
    let has_more = pages.iter().any(|page| page.next.is_some());
    let mut rows: Vec<Map<String, Value>> = pages.into_iter().flat_map(|page| page.rows).collect();
    rows.sort_by(|left, right| id(left).cmp(id(right)));
    if !filter.is_ascending {
        rows.reverse();
    }
    let has_more = has_more || rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| page::token(id(row)));
    let names: Map<String, Value> = triggers
        .iter()
        .filter_map(|item| Some((item.get("id")?.as_str()?.to_owned(), item.get("name")?.clone())))
        .collect();
    let executions: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut shown = listed(row);
            if let Some(name) = row.get(TRIGGER_ID).and_then(|id| names.get(id.as_str()?)) {
                shown["triggerName"] = name.clone();
            }
            shown
        })
        .collect();
    let count = executions.len();
    Ok(Reply::ok(json!({"executions": executions, "nextToken": next})).count(count))
}

fn id(row: &Map<String, Value>) -> &str {
    row.get(EXECUTION_ID).and_then(Value::as_str).unwrap_or_default()
}
