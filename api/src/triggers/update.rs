//! `PUT /triggers/{id}`: one conditional write on the item's version, then the schedule. A client sends only what
//! changes; see [`Draft::merged`].

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, header::IF_MATCH},
};
use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    reply::Reply,
    request::{JsonObject, Path},
    store::{
        Changes,
        triggers::{Saved, has_schedule, is_tombstone},
    },
    times,
    triggers::{
        create::index_keys,
        draft::{Draft, violations},
        find_alive,
        sync::{foreign_group, is_lost, needs_sync, sync_saved, version_of},
        view::{is_synced, view},
    },
    webhooks::{
        alias::{alias_change, alias_taken},
        config_text,
        make::{completed, with_hook, with_webhook},
    },
};

/// The number of times that an update without `If-Match` is merged because another change came first.
const MAX_ROUNDS: usize = 5;

/// `PUT /triggers/{id}`: merges the body into the trigger, writes the difference, and makes Scheduler and the webhook
/// agree with it. `enabled` in the body is ignored: the routes for switching set it. Without `If-Match` it is merged
/// again if another change came first, in five rounds at most.
///
/// # Errors
/// Returns an error if there is no such trigger, fields are wrong, another trigger has the alias, the version is
/// another one, others change the trigger in five rounds, or a service refuses or does not answer. In the last case the
/// item may be changed already, and its schedule or its webhook may be missing.
pub async fn update(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonObject(body): JsonObject,
) -> Result<Reply, ApiError> {
    let wanted = if_match(&headers)?;
    let mut before = find_alive(&api, &caller, &id).await?;
    for _ in 0..MAX_ROUNDS {
        if let Some(wanted) = wanted
            && wanted != version_of(&before)
        {
            return Err(ApiError::VersionMismatch { version: json!(version_of(&before)) });
        }
        let now = times::now();
        let draft = with_hook(Draft::of_item(&before).merged(&without_enabled(&body)));
        let violations = violations(&draft, &body, Some(&before), &api.settings, now);
        if !violations.is_empty() {
            return Err(ApiError::Validation(violations));
        }
        let version = before.get("version").cloned().unwrap_or_default();
        let changes = changes(&before, &draft, &caller.0, &id, api.scheduler.group());
        let (was, wanted) = (config_text(&before, "alias"), config_text(&draft.0, "alias"));
        match api.items.save_trigger(&alias_change(&caller, &id, was, wanted), &version, changes).await? {
            Saved::Done(after) => {
                // A client that sends the schedule wants it to be so.
                let is_out =
                    needs_sync(&after) || body.contains_key("scheduleConfig") && is_lost(&api, &id, &after).await;
                let after = if is_out { sync_saved(&api, &caller.0, &id, after).await? } else { after };
                let (after, secret) = completed(&api, &caller.0, &id, after).await?;
                let reply = with_webhook(Reply::ok(json!({})), &api, &after, secret.as_ref());
                return Ok(reply.with("trigger", view(&after, now)));
            }
            Saved::AliasTaken(by) => return Err(alias_taken(&caller, &by)),
            Saved::Refused(Some(newer)) if !is_tombstone(&newer) => before = newer,
            Saved::Refused(_) => return Err(ApiError::NotFound),
        }
    }
    Err(ApiError::Conflict { message: "the trigger is changed by somebody else".to_owned(), details: json!({}) })
}

/// Reads the version that a client has. Returns `None` without the header, and for `*`.
///
/// # Errors
/// Returns `InvalidArgument` if it is no number, with or without quotes.
fn if_match(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text.trim_matches('"').parse().ok();
    version.map(Some).ok_or_else(|| ApiError::InvalidArgument("If-Match must be the trigger's version".to_owned()))
}

/// Returns the body without `enabled`. Switching has an order of its own, and a form that sends the whole trigger back
/// must not undo it.
fn without_enabled(body: &Map<String, Value>) -> Map<String, Value> {
    body.iter().filter(|(name, _)| *name != "enabled").map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Returns the difference between an item and its draft, with the next version. The function writes to the item, too,
/// so only the difference is written.
fn changes(before: &Map<String, Value>, draft: &Draft, user_id: &str, id: &str, own_group: &str) -> Changes {
    let Draft(was) = Draft::of_item(before);
    let mut changes = Changes::default();
    for (name, value) in &draft.0 {
        if was.get(name) != Some(value) {
            changes = changes.set(name, value);
        }
    }
    // It names the group of a schedule that is still to be deleted.
    let is_kept = |name: &str| name == "scheduleConfig" && foreign_group(before, own_group).is_some();
    for name in was.keys().filter(|name| !draft.0.contains_key(*name) && !is_kept(name)) {
        changes = changes.remove(name);
    }
    let keys: Map<String, Value> = index_keys(draft, user_id, id).into_iter().collect();
    for name in ["GSI1PK", "GSI1SK", "GSI2PK", "GSI2SK"] {
        changes = match (before.get(name), keys.get(name)) {
            (before, Some(key)) if before != Some(key) => changes.set(name, key),
            (Some(_), None) => changes.remove(name),
            _ => changes,
        };
    }
    // The API neither sets nor keeps it: it lets a trigger follow other users' executions.
    if before.contains_key("followsAnyUser") {
        changes = changes.remove("followsAnyUser");
    }
    let version = version_of(before) + 1;
    let is_schedule = draft.kind() == Some("schedule");
    let is_same_schedule = was.get("scheduleConfig") == draft.0.get("scheduleConfig");
    if is_schedule && is_same_schedule && is_synced(before) {
        // Scheduler has ids alone, so nothing that it has has changed.
        changes = changes.set("scheduleVersion", &json!(version));
    } else if (is_schedule || has_schedule(before)) && !before.contains_key("scheduleVersion") {
        // From now on Scheduler may have it, or still has what another API has made.
        changes = changes.set("scheduleVersion", &json!(0));
    }
    changes.set("version", &json!(version)).set("updatedAt", &json!(times::rfc3339(times::now())))
}
