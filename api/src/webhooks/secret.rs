//! `POST /triggers/{id}/webhook/secret`: a new secret, while the one before stays live for a grace time.

use std::sync::Arc;

use agent_trigger::config::Secret;
use axum::extract::State;
use serde_json::{Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    hooks::{scheme::Scheme, signature::problem_of},
    reply::Reply,
    request::{JsonObject, Path},
    webhooks::{config_text, find_hooked, make, scheme_of},
};

/// The grace time if the request names none: a day.
const DEFAULT_GRACE_SECONDS: i64 = 24 * 60 * 60;
/// The longest grace time: a week.
const LONGEST_GRACE_SECONDS: i64 = 7 * 24 * 60 * 60;

/// `POST /triggers/{id}/webhook/secret`: `{secret?, graceSeconds?}`. Senders such as Slack and Stripe choose their
/// secret themselves; without one, a secret is made here and returned this once. The grace time is a day unless
/// `graceSeconds` says otherwise. It also completes a webhook that was cut short.
///
/// # Errors
/// Returns an error if there is no such trigger or it has no webhook, if a field is wrong, if webhooks are not
/// deployed, if others change the trigger in five rounds, or if a service refuses or does not answer.
pub async fn rotate(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    JsonObject(body): JsonObject,
) -> Result<Reply, ApiError> {
    let item = find_hooked(&api, &caller, &id).await?;
    let scheme = scheme_of(&item).unwrap_or(Scheme::Standard);
    let given = match body.get("secret") {
        None | Some(Value::Null) => None,
        Some(Value::String(secret)) => Some(Secret::new(secret.clone())),
        Some(_) => return Err(ApiError::field("secret", "must be a string")),
    };
    if let Some(problem) = given.as_ref().and_then(|secret| problem_of(&scheme, secret)) {
        return Err(ApiError::field("secret", problem));
    }
    let grace = match body.get("graceSeconds") {
        None | Some(Value::Null) => DEFAULT_GRACE_SECONDS,
        Some(value) => {
            let seconds = value.as_i64().filter(|seconds| (0..=LONGEST_GRACE_SECONDS).contains(seconds));
            let problem = || format!("must be a whole number from 0 to {LONGEST_GRACE_SECONDS}");
            seconds.ok_or_else(|| ApiError::field("graceSeconds", problem()))?
        }
    };
    let made = if given.is_none() { Some(make::new_secret(scheme.preset())?) } else { None };
    let Some(secret) = given.as_ref().or(made.as_ref()) else { return Err(ApiError::Internal) };
    let after = make::store(&api, &caller.0, &id, item, secret, grace).await?;
    let until = config_text(&after, "previousSecretUntil");
    let reply = Reply::ok(json!({"previousSecretUntil": until}));
    Ok(make::with_webhook(reply, &api, &after, made.as_ref()))
}
