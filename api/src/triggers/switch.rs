//! `POST /triggers/{id}/enable` and `/disable`. Switching off changes the item first, so that no fire runs from then
//! on. Switching on changes the schedule first, so that the item never promises fires that do not come. A crash in
//! between leaves a trigger that is off, and whose fires are skipped. A schedule that is not there is made after the
//! item, which says until then that it is missing.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    reply::Reply,
    store::{
        Changes, Write,
        triggers::{Target, is_tombstone},
    },
    times,
    triggers::{
        find_alive,
        sync::{sync, version_of, write_enabled},
        view::{schedule_of, view},
    },
};

/// The number of times that a switch is tried because another change came first.
const MAX_ROUNDS: usize = 5;

/// `POST /triggers/{id}/enable`. It also ends a pause.
///
/// # Errors
/// If there is no such trigger, or a service does not answer.
pub async fn enable(State(api): State<Arc<Api>>, caller: Caller, Path(id): Path<String>) -> Result<Reply, ApiError> {
    let item = find_alive(&api, &caller, &id).await?;
    // A schedule that another API has made is replaced only after the item has noted it.
    if schedule_of(&item).is_some() && item.contains_key("scheduleVersion") {
        write_enabled(&api, &caller.0, &id, &item).await?;
    }
    switch(&api, &caller, &id, item, true).await
}

/// `POST /triggers/{id}/disable`
///
/// # Errors
/// If there is no such trigger, or a service does not answer.
pub async fn disable(State(api): State<Arc<Api>>, caller: Caller, Path(id): Path<String>) -> Result<Reply, ApiError> {
    let item = find_alive(&api, &caller, &id).await?;
    switch(&api, &caller, &id, item, false).await
}

async fn switch(
    api: &Api,
    caller: &Caller,
    id: &str,
    before: Map<String, Value>,
    is_enabled: bool,
) -> Result<Reply, ApiError> {
    let mut before = before;
    for _ in 0..MAX_ROUNDS {
        let mut changes = Changes::default()
            .set("enabled", &json!(is_enabled))
            .set("version", &json!(version_of(&before) + 1))
            .set("updatedAt", &json!(times::rfc3339(times::now())));
        if schedule_of(&before).is_some() && !before.contains_key("scheduleVersion") {
            // The item of another API is not believed about its schedule until Scheduler has it.
            changes = changes.set("scheduleVersion", &json!(0));
        }
        if is_enabled {
            changes = changes.remove("pausedAt").remove("pausedReason");
        }
        let version = before.get("version").cloned().unwrap_or_default();
        match api.items.change_trigger(&caller.0, id, &version, Target::Trigger, changes).await? {
            Write::Done(after) => {
                // It makes sure of the schedule's state, and notes the version that it was made from.
                let after = if schedule_of(&after).is_some() { sync(api, &caller.0, id, after).await? } else { after };
                return Ok(Reply::ok(json!({})).with("trigger", view(&after, times::now())));
            }
            Write::Refused(Some(newer)) if !is_tombstone(&newer) => before = newer,
            Write::Refused(_) => return Err(ApiError::NotFound),
        }
    }
    Err(ApiError::Conflict { message: "the trigger is changed by somebody else".to_owned(), details: json!({}) })
}
