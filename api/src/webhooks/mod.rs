//! The webhooks of triggers as their owners manage them: they are made and removed with their triggers, their secrets
//! are rotated, and their deliveries are shown.

pub mod alias;
pub mod deliveries;
pub mod make;
pub mod secret;
pub mod test_delivery;

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    hooks::scheme::{self, Scheme},
    reply::Reply,
    store::triggers::has_webhook,
    triggers::find_alive,
};

/// `GET /providers`: the presets of webhooks with their options, and the address of the hooks surface if it is
/// deployed.
pub async fn providers(State(api): State<Arc<Api>>) -> Reply {
    let providers = scheme::providers();
    let count = providers.len();
    let url = api.settings.hooks.as_ref().map(|hooks| hooks.url.as_str());
    Reply::ok(json!({"hooksUrl": url})).with("providers", providers.into()).count(count)
}

/// Reads a trigger of the caller that has a webhook.
///
/// # Errors
/// Returns `NotFound` if there is no such trigger, an invalid field if it has no webhook, and the error of a table that
/// refuses or does not answer.
async fn find_hooked(api: &Api, caller: &Caller, id: &str) -> Result<Map<String, Value>, ApiError> {
    let item = find_alive(api, caller, id).await?;
    let problem = || ApiError::field("eventConfig.eventSourceId", "the trigger has no webhook");
    Some(item).filter(has_webhook).ok_or_else(problem)
}

/// Returns a text of an item's `webhookConfig`, or `None` if it has none.
pub(crate) fn config_text<'a>(item: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    item.get("webhookConfig")?.get(name)?.as_str()
}

/// Returns the scheme of an item's webhook, or `None` if it has no `webhookConfig` or its scheme is not understood.
fn scheme_of(item: &Map<String, Value>) -> Option<Scheme> {
    Scheme::read(item.get("webhookConfig")?.as_object()?, &mut Vec::new())
}
