//! `POST /triggers/{id}/enable` and `/disable`. Switching off changes the item first, so that no fire runs from then
//! on. Switching on changes the schedule first, so that the item never promises fires that do not come. A crash in
//! between leaves a trigger that is off, and whose fires are skipped. A schedule that is not there is made after the
//! item, which says until then that it is missing.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    reply::Reply,
    request::Path,
    store::{
        Changes, Write,
        triggers::{Target, is_tombstone},
    },
    times,
    triggers::{
        find_alive,
        sync::{is_lost, needs_sync, sync_saved, version_of, write_enabled},
        view::{is_enabled, is_synced, schedule_of, view},
    },
};

/// The number of times that a switch is tried because another change came first.
const MAX_ROUNDS: usize = 5;

/// `POST /triggers/{id}/enable`: switches the schedule on, and then the trigger. It also ends a pause.
///
/// # Errors
/// Returns an error if there is no such trigger, a service refuses or does not answer, or others change the trigger in
/// five rounds.
pub async fn enable(State(api): State<Arc<Api>>, caller: Caller, Path(id): Path<String>) -> Result<Reply, ApiError> {
    let item = find_alive(&api, &caller, &id).await?;
    // A schedule that another API has made is replaced only after the item has noted it. One that is on is left alone:
    // a rate would count anew.
    if schedule_of(&item).is_some() && item.contains_key("scheduleVersion") && !is_settled(&item, true) {
        write_enabled(&api, &caller.0, &id, &item).await?;
    }
    switch(&api, &caller, &id, item, true).await
}

/// `POST /triggers/{id}/disable`: switches the trigger off, and then its schedule.
///
/// # Errors
/// Returns an error if there is no such trigger, a service refuses or does not answer, or others change the trigger in
/// five rounds. The trigger may be off all the same.
pub async fn disable(State(api): State<Arc<Api>>, caller: Caller, Path(id): Path<String>) -> Result<Reply, ApiError> {
    let item = find_alive(&api, &caller, &id).await?;
    switch(&api, &caller, &id, item, false).await
}

/// Returns true if the trigger stands as it is wanted, and by the item's note Scheduler has it so.
fn is_settled(item: &Map<String, Value>, is_wanted: bool) -> bool {
    is_enabled(item) == is_wanted && is_synced(item)
}

/// Sets `enabled` of the item, under its next version, makes Scheduler agree with it, and answers with the trigger.
/// `before` is the item as it was read. If another change came first, it is tried again on the newer item.
///
/// # Errors
/// Returns `NotFound` if the trigger was deleted, `Conflict` after five rounds, or that a service refuses or does not
/// answer. In the last case the item may be changed all the same.
async fn switch(
    api: &Api,
    caller: &Caller,
    id: &str,
    before: Map<String, Value>,
    is_wanted: bool,
) -> Result<Reply, ApiError> {
    let mut before = before;
    for _ in 0..MAX_ROUNDS {
        let next = version_of(&before) + 1;
        let mut changes = Changes::default()
            .set("enabled", &json!(is_wanted))
            .set("version", &json!(next))
            .set("updatedAt", &json!(times::rfc3339(times::now())));
        if schedule_of(&before).is_some() && !before.contains_key("scheduleVersion") {
            // The item of another API is not believed about its schedule until Scheduler has it.
            changes = changes.set("scheduleVersion", &json!(0));
        } else if schedule_of(&before).is_some() && is_settled(&before, is_wanted) {
            changes = changes.set("scheduleVersion", &json!(next));
        }
        if is_wanted {
            changes = changes.remove("pausedAt").remove("pausedReason");
        }
        let version = before.get("version").cloned().unwrap_or_default();
        match api.items.change_trigger(&caller.0, id, &version, Target::Trigger, changes).await? {
            Write::Done(after) => {
                // It makes sure of the schedule's state, and notes the version that it was made from.
                let is_out = schedule_of(&after).is_some() && (needs_sync(&after) || is_lost(api, id, &after).await);
                let after = if is_out { sync_saved(api, &caller.0, id, after).await? } else { after };
                return Ok(Reply::ok(json!({})).with("trigger", view(&after, times::now())));
            }
            Write::Refused(Some(newer)) if !is_tombstone(&newer) => before = newer,
            Write::Refused(_) => return Err(ApiError::NotFound),
        }
    }
    Err(ApiError::Conflict { message: "the trigger is changed by somebody else".to_owned(), details: json!({}) })
}
