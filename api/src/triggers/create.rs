//! `POST /triggers`: the item first, then its schedule, then the schedule's ARN in the item. A crash leaves a trigger
//! that is shown with `scheduleStatus: missing`; saving it again completes it. So it is with a webhook's secret and its
//! pointer.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    hooks::event::SOURCE,
    reply::Reply,
    request::JsonObject,
    store::{
        Changes,
        triggers::{Created, is_tombstone},
    },
    times,
    triggers::{
        draft::{Draft, violations},
        sync::{is_lost, needs_sync, sync_saved},
        view::{schedule_of, view},
    },
    webhooks::{
        alias::{alias_change, alias_taken},
        config_text,
        make::{completed, with_hook, with_webhook},
    },
};

/// The length of the window in which an `Idempotency-Key` counts, in milliseconds: a day in UTC. A key that is used
/// again after midnight makes another trigger. The time of the id is the begin of the window.
const KEY_WINDOW_MILLIS: u64 = 24 * 60 * 60 * 1000;
const LONGEST_KEY: usize = 256;

/// `POST /triggers`: stores a new trigger, makes its schedule and its webhook's secret, and answers 201 with the
/// trigger. If the `Idempotency-Key` has made a trigger already, the body is checked and otherwise ignored: this
/// trigger is returned as it is, and its schedule and its webhook are completed. But if the user has as many triggers
/// as allowed by then, that is the error.
///
/// # Errors
/// Returns an error if fields are wrong, if another trigger has the webhook's alias, if the user has too many triggers,
/// if the trigger of the key was deleted, or if a service refuses or does not answer. In the last case the trigger may
/// exist.
pub async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    JsonObject(body): JsonObject,
) -> Result<Reply, ApiError> {
    let now = times::now();
    let draft = Draft(Map::new()).merged(&body);
    let violations = violations(&draft, &body, None, &api.settings, now);
    if !violations.is_empty() {
        return Err(ApiError::Validation(violations));
    }
    let (user_id, id) = (&caller.0, new_id(&caller, &headers)?);
    let item = new_item(&with_hook(draft), user_id, &id, &times::rfc3339(now));
    let alias = alias_change(&caller, &id, None, config_text(&item, "alias"));
    let (item, is_new) = match api.items.create_trigger(&item, user_id, api.settings.trigger_limit, &alias).await? {
        Created::Done => (item, true),
        // The same key again: the first request may have been cut short.
        Created::Exists(item) if !is_tombstone(&item) => (item, false),
        Created::Exists(_) => {
            let message = "the trigger of this Idempotency-Key was deleted".to_owned();
            return Err(ApiError::Conflict { message, details: json!({"triggerId": id}) });
        }
        Created::AliasTaken(by) => return Err(alias_taken(&caller, &by)),
        Created::LimitReached => {
            let limit = api.settings.trigger_limit;
            let message = format!("Trigger limit reached (maximum {limit} per user)");
            return Err(ApiError::Conflict { message, details: json!({"limit": limit}) });
        }
    };
    let item = match schedule_of(&item) {
        Some(_) if is_new => scheduled(&api, user_id, &id, item).await?,
        // Somebody may have changed it since, so it is not removed if Scheduler refuses it.
        Some(_) if needs_sync(&item) || is_lost(&api, &id, &item).await => sync_saved(&api, user_id, &id, item).await?,
        _ => item,
    };
    let (item, secret) = completed(&api, user_id, &id, item).await?;
    Ok(with_webhook(Reply::created(json!({})), &api, &item, secret.as_ref()).with("trigger", view(&item, now)))
}

/// Creates the schedule of a new trigger. If Scheduler refuses it, the trigger becomes a tombstone of an hour, unless
/// somebody has changed it meanwhile.
///
/// # Errors
/// Returns the refusal, the table's error if there can be no tombstone, `NotFound` if the item is gone, or
/// [`ApiError::Saved`] with any other cause. In the last case the trigger stays, and its schedule counts as missing.
async fn scheduled(
    api: &Api,
    user_id: &str,
    id: &str,
    item: Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    let version = item["version"].clone();
    match sync_saved(api, user_id, id, item).await {
        Err(ApiError::Saved { cause, .. }) if matches!(*cause, ApiError::Validation(_)) => {
            let gone = Changes::default().set("deletedAt", &json!(times::rfc3339(times::now())));
            // Nothing was ever scheduled, so the tombstone need not outlive the hour.
            let gone =
                gone.set("ttl", &json!(times::now().as_second() + 60 * 60)).remove("prompt").remove("scheduleVersion");
            api.items.bury_trigger(user_id, id, &version, gone).await?;
            Err(*cause)
        }
        result => result,
    }
}

/// Returns the item of a new trigger: the draft, its keys, version 1 and its times. It is switched on unless the draft
/// says otherwise. One with a schedule says that Scheduler may have it.
fn new_item(draft: &Draft, user_id: &str, id: &str, now: &str) -> Map<String, Value> {
    let mut item = draft.0.clone();
    let kind = draft.kind().unwrap_or_default();
    item.extend(index_keys(draft, user_id, id));
    for (name, value) in [
        ("PK", json!(format!("TRIGGER#{user_id}"))),
        ("SK", json!(format!("TRIGGER#{id}"))),
        ("id", json!(id)),
        ("userId", json!(user_id)),
        ("version", json!(1)),
        ("createdAt", json!(now)),
        ("updatedAt", json!(now)),
    ] {
        item.insert(name.to_owned(), value);
    }
    item.entry("enabled").or_insert(json!(true));
    if kind == "schedule" {
        // From now on a schedule may exist.
        item.insert("scheduleVersion".to_owned(), json!(0));
    }
    item
}

/// Returns the keys of the indexes: by type, and for an event by its source, unless that is a webhook's.
pub fn index_keys(draft: &Draft, user_id: &str, id: &str) -> Vec<(String, Value)> {
    let mut keys = vec![
        ("GSI1PK".to_owned(), json!(format!("TYPE#{}", draft.kind().unwrap_or_default()))),
        ("GSI1SK".to_owned(), json!(format!("USER#{user_id}#{id}"))),
    ];
    // Deliveries are addressed to their trigger. In the index, whoever may put events on a bus would reach it unsigned.
    let source = draft.event_source().filter(|source| draft.kind() == Some("event") && *source != SOURCE);
    if let Some(source) = source {
        keys.push(("GSI2PK".to_owned(), json!(format!("EVENTSOURCE#{source}"))));
        keys.push(("GSI2SK".to_owned(), json!(format!("USER#{user_id}#TRIGGER#{id}"))));
    }
    keys
}

/// Returns the id of a new trigger. The server chooses it: executions are stored under it alone, so a chosen id would
/// open another user's history. With an `Idempotency-Key` the id follows from the key, the user and the day in UTC.
///
/// # Errors
/// Returns an error if the `Idempotency-Key` does not have 1 to 256 characters of visible ASCII, spaces or tabs.
fn new_id(Caller(user_id): &Caller, headers: &HeaderMap) -> Result<String, ApiError> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(Uuid::now_v7().to_string()) };
    let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= LONGEST_KEY);
    let key = key.ok_or_else(|| ApiError::field("Idempotency-Key", "must have 1 to 256 visible characters"))?;
    let millis = u64::try_from(times::now().as_millisecond()).unwrap_or_default();
    let window = millis - millis % KEY_WINDOW_MILLIS;
    let mut bits = [0; 10];
    bits.copy_from_slice(&Sha256::digest(format!("trigger\0{user_id}\0{key}\0{window}"))[..10]);
    Ok(Builder::from_unix_timestamp_millis(window, &bits).into_uuid().to_string())
}
