//! Makes a webhook: the item first, which names the hook, then the secret, then the pointer, then the secret's version
//! in the item. A crash between them leaves `webhookStatus: missing`, and the same request again completes it. A secret
//! is shown once: one whose answer was lost is replaced by another.

use agent_trigger::config::Secret;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    api::Api,
    error::ApiError,
    hooks::{
        scheme::{Preset, Scheme},
        signature::to_hex,
        webhook::replace_secret,
    },
    reply::Reply,
    store::{
        Changes, Write,
        hooks::Pointer,
        triggers::{Target, has_schedule, has_webhook, is_tombstone},
    },
    times,
    triggers::{
        draft::Draft,
        sync::{tombstone_ttl, version_of},
    },
    webhooks::{config_text, scheme_of},
};

/// The number of times that the item may change under a request before it gives up.
const MAX_ROUNDS: usize = 5;
/// The random bytes of a secret that is made here.
const SECRET_BYTES: usize = 32;

/// Returns the draft with a hook id if it has a webhook. An id that it has already stays. Nobody can guess the id, and
/// no client chooses it.
#[must_use]
pub fn with_hook(mut draft: Draft) -> Draft {
    if draft.has_webhook()
        && let Some(Value::Object(config)) = draft.0.get_mut("webhookConfig")
        && !config.contains_key("hookId")
    {
        config.insert("hookId".to_owned(), json!(Uuid::new_v4().simple().to_string()));
    }
    draft
}

/// Adds the webhook's address to an answer about a trigger that has one, with that of its alias if it has one, and with
/// its `secret` if that was made just now. Without the hooks surface an address is a path alone. A tombstone has none.
pub fn with_webhook(reply: Reply, api: &Api, item: &Map<String, Value>, secret: Option<&Secret>) -> Reply {
    let Some(hook_id) = config_text(item, "hookId").filter(|_| !is_tombstone(item)) else { return reply };
    let base = api.settings.hooks.as_ref().map(|hooks| hooks.url.as_str()).unwrap_or_default();
    let mut webhook = json!({"url": format!("{base}/hooks/{hook_id}")});
    if let Some(alias) = config_text(item, "alias") {
        webhook["aliasUrl"] = json!(format!("{base}/hooks/{alias}"));
    }
    if let Some(secret) = secret {
        webhook["secret"] = json!(secret.expose());
    }
    reply.with("webhook", webhook)
}

/// Completes the webhook of a trigger that was just saved. Returns the item as it is then, and the secret if it was
/// made now. A tombstone, or a trigger without a webhook or with a complete one, is returned as it is.
///
/// # Errors
/// Returns [`ApiError::Saved`] with the cause, such as a service that refuses or does not answer. The webhook then
/// counts as missing, unless the item was written all the same. Returns `NotFound` if the trigger was deleted
/// meanwhile.
pub async fn completed(
    api: &Api,
    user_id: &str,
    id: &str,
    item: Map<String, Value>,
) -> Result<(Map<String, Value>, Option<Secret>), ApiError> {
    if !has_webhook(&item) || is_tombstone(&item) || secret_version(&item) > 0 {
        return Ok((item, None));
    }
    let preset = scheme_of(&item).as_ref().map_or(Preset::Standard, Scheme::preset);
    let secret = new_secret(preset)?;
    let version = version_of(&item);
    let stored = store(api, user_id, id, item, &secret, 0).await.map_err(|cause| match cause {
        ApiError::NotFound => cause,
        // The trigger itself is written: a client that sends the same again has not been overtaken by anybody.
        cause => ApiError::Saved { trigger_id: id.to_owned(), version, cause: Box::new(cause) },
    });
    Ok((stored?, Some(secret)))
}

/// Stores a secret as the present one, and returns the item as it is then. The secret before it stays live for
/// `grace_seconds`. Those before that one that are still live end then at the latest.
///
/// # Errors
/// Returns an error if a service refuses or does not answer, or if others change the item in five rounds. The secret
/// before it is then still the present one, unless the item was written all the same. Returns `Conflict` if webhooks
/// are not deployed, and `NotFound` if the item names no hook, or if the trigger was deleted meanwhile: then the secret
/// is deleted, too.
pub async fn store(
    api: &Api,
    user_id: &str,
    id: &str,
    item: Map<String, Value>,
    secret: &Secret,
    grace_seconds: i64,
) -> Result<Map<String, Value>, ApiError> {
    let secrets = api.secrets.as_ref().ok_or_else(not_deployed)?;
    let hook_id = config_text(&item, "hookId").ok_or(ApiError::NotFound)?.to_owned();
    let version = secrets.put(&hook_id, secret).await?;
    if secret_version(&item) == 0 {
        let pointer = Pointer { user_id: user_id.to_owned(), trigger_id: id.to_owned() };
        api.items.point_hook(&hook_id, &pointer).await?;
    }
    let mut item = item;
    for _ in 0..MAX_ROUNDS {
        let mut config = item.get("webhookConfig").and_then(Value::as_object).cloned().unwrap_or_default();
        replace_secret(&mut config, version, times::now(), grace_seconds);
        // An update that was begun before writes the settings as a whole. Under another version it is refused.
        let changes = Changes::default().set("webhookConfig", &Value::Object(config));
        let changes = changes.set("version", &json!(version_of(&item) + 1));
        let seen = item.get("version").cloned().unwrap_or_default();
        let is_written = |newer: &Map<String, Value>| secret_version(newer) == version && !is_tombstone(newer);
        match api.items.change_trigger(user_id, id, &seen, Target::Trigger, changes).await {
            Ok(Write::Done(after)) => return Ok(after),
            // The answer to an earlier try of this very write was lost. Written again, the secret would be the one
            // before itself, and the one that senders still use would end.
            Ok(Write::Refused(Some(newer))) if is_written(&newer) => return Ok(newer),
            Ok(Write::Refused(Some(newer))) if !is_tombstone(&newer) && has_webhook(&newer) => item = newer,
            // It was deleted meanwhile. The deletion may have come before the secret, and nobody would see what is
            // left.
            Ok(Write::Refused(_)) => {
                secrets.delete(&hook_id).await?;
                api.items.retire_hook(&hook_id, tombstone_ttl()).await?;
                return Err(ApiError::NotFound);
            }
            // It may be written all the same. Then the webhook is complete, and the trigger has the next version.
            Err(error) => match api.items.trigger_or_tombstone(user_id, id).await {
                Ok(Some(newer)) if is_written(&newer) => return Ok(newer),
                _ => return Err(error.into()),
            },
        }
    }
    Err(ApiError::Unavailable("the trigger is changed by somebody else all the time; try again".to_owned()))
}

/// Deletes the secret of a tombstone's webhook, and returns the tombstone as it is then: without `webhookConfig`. The
/// pointers of the hook and its alias expire 30 days from now. So does the tombstone, unless it has a schedule that
/// must be deleted before. A tombstone that names no hook is returned as it is. If another request has changed it
/// meanwhile, it is returned as that has left it.
///
/// # Errors
/// Returns an error if a service refuses or does not answer. Returns `Conflict` if webhooks are not deployed, and
/// `NotFound` if the item is gone. Deleting again completes it.
pub async fn removed(
    api: &Api,
    user_id: &str,
    id: &str,
    item: Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    let Some(hook_id) = config_text(&item, "hookId") else { return Ok(item) };
    // Without the surface's settings the secret would be left behind, and nobody would see it.
    api.secrets.as_ref().ok_or_else(not_deployed)?.delete(hook_id).await?;
    let ttl = tombstone_ttl();
    api.items.retire_hook(hook_id, ttl).await?;
    if let Some(alias) = config_text(&item, "alias") {
        let owner = Pointer { user_id: user_id.to_owned(), trigger_id: id.to_owned() };
        api.items.retire_alias(alias, &owner, ttl).await?;
    }
    let mut changes = Changes::default().remove("webhookConfig");
    if !has_schedule(&item) {
        changes = changes.set("ttl", &json!(ttl));
    }
    let seen = item.get("version").cloned().unwrap_or_default();
    match api.items.change_trigger(user_id, id, &seen, Target::TriggerOrTombstone, changes).await? {
        Write::Done(after) => Ok(after),
        // Another request deletes it, too.
        Write::Refused(newer) => newer.ok_or(ApiError::NotFound),
    }
}

/// Returns a secret of random bytes, in the form that the senders of the preset expect.
///
/// # Errors
/// Returns an error if there are no random bytes.
pub fn new_secret(preset: Preset) -> Result<Secret, ApiError> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    let mut bytes = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ApiError::Internal)?;
    Ok(Secret::new(match preset {
        Preset::Standard => format!("whsec_{}", STANDARD.encode(bytes)),
        _ => to_hex(&bytes),
    }))
}

/// Returns the error of a stack without the hooks surface.
pub fn not_deployed() -> ApiError {
    ApiError::Conflict { message: "webhooks are not deployed here".to_owned(), details: json!({}) }
}

/// Returns the version of the present secret, or 0 if there is none yet.
fn secret_version(item: &Map<String, Value>) -> i64 {
    item.get("webhookConfig").and_then(|config| config["secretVersion"].as_i64()).unwrap_or_default()
}
