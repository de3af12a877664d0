//! `DELETE /triggers/{id}`: the item becomes a tombstone first, so that fires on their way are skipped, and its
//! schedule is deleted after that. Deleting again completes what was cut short. A schedule that another API has made is
//! deleted before: its fires do not ask the item, and the API may not be allowed to delete it. The secret of a webhook
//! is deleted like a schedule; its pointer leads to the tombstone as long as there is one, so that senders learn that
//! the hook is gone.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    reply::Reply,
    request::Path,
    router::done,
    store::{
        Changes,
        triggers::{has_schedule, has_webhook, is_tombstone},
    },
    times,
    triggers::{
        checked,
        sync::{foreign_group, sync, tombstone_ttl, version_of},
    },
    webhooks::make::removed,
};

const MAX_ROUNDS: usize = 5;

/// `DELETE /triggers/{id}`: makes the trigger a tombstone, deletes its secret and its schedule, and answers that it is
/// deleted. The answer is the same if there is no such trigger. A trigger that somebody changes meanwhile is read
/// again, in five rounds at most.
///
/// # Errors
/// Returns an error if a service refuses or does not answer: deleting again completes it. Returns `Conflict` after five
/// rounds, and if the trigger has a webhook and these are not deployed.
pub async fn delete(State(api): State<Arc<Api>>, caller: Caller, Path(id): Path<String>) -> Result<Reply, ApiError> {
    let Ok(id) = checked(&id) else { return Ok(done("Trigger deleted")) };
    for _ in 0..MAX_ROUNDS {
        let Some(item) = api.items.trigger_or_tombstone(&caller.0, id).await? else {
            return Ok(done("Trigger deleted"));
        };
        if is_tombstone(&item) {
            let item = removed(&api, &caller.0, id, item).await?;
            if has_schedule(&item) {
                sync(&api, &caller.0, id, item).await?;
            }
            return Ok(done("Trigger deleted"));
        }
        if let Some(group) = foreign_group(&item, api.scheduler.group()) {
            api.scheduler.delete_in(group, id).await?;
        }
        let version = item.get("version").cloned().unwrap_or_default();
        api.items.bury_trigger(&caller.0, id, &version, tombstone(&item)).await?;
    }
    Err(ApiError::Conflict { message: "the trigger is changed by somebody else".to_owned(), details: json!({}) })
}

/// Returns the changes that make an item a tombstone. It loses its place in the indexes, its prompt and its input. It
/// expires after 30 days, unless a schedule or a secret must be deleted before.
fn tombstone(item: &Map<String, Value>) -> Changes {
    let now = times::now();
    let mut changes = Changes::default()
        .set("deletedAt", &json!(times::rfc3339(now)))
        .set("updatedAt", &json!(times::rfc3339(now)))
        .set("version", &json!(version_of(item) + 1));
    if !has_schedule(item) && !has_webhook(item) {
        changes = changes.set("ttl", &json!(tombstone_ttl()));
    }
    for name in ["prompt", "input", "inputMapping", "GSI1PK", "GSI1SK", "GSI2PK", "GSI2SK"] {
        changes = changes.remove(name);
    }
    changes
}
