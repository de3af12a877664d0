//! A test delivery. The manage surface invokes this function with it; this one reads the secret, signs it, and receives
//! it like any other. So the secret has one reader, and a test shows what a sender would meet.

use agent_trigger::json::surrogate::{shown, to_json};
use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE, header::USER_AGENT},
    response::Response,
};
use serde_json::{Map, Value};

use crate::{
    error::ApiError,
    hooks::{
        body::is_json,
        event::content_type,
        receive::{Delivery, deliver, found},
        signature::sign,
        state::Hooks,
    },
    times,
};

/// The route key of an invocation by the manage surface. API Gateway's own are a method and a path, or `$default`, and
/// no sender can choose them.
pub const TEST_ROUTE_KEY: &str = "agent-trigger test";

/// Marks a request that the manage surface made.
#[derive(Debug, Clone, Copy)]
pub struct FromManage;

/// Signs and receives a test delivery, `{id, headers, body}`. The list of addresses is not asked: it has no sender. The
/// headers of the signature and the id replace those that are given. A body that is a text is sent as it is unless the
/// content type is JSON. Any other is sent as JSON.
///
/// # Errors
/// Returns the errors of any delivery.
pub async fn receive(hooks: &Hooks, hook_id: &str, request: &Map<String, Value>) -> Result<Response, ApiError> {
    let at = times::now();
    let id = request.get("id").and_then(Value::as_str).unwrap_or_default();
    let mut headers = given(request.get("headers"));
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("agent-trigger test"));
    let body = match request.get("body").unwrap_or(&Value::Null) {
        // A form or a text is sent as it is.
        Value::String(text) if !is_json(content_type(&headers)) => shown(text).into_owned(),
        body => to_json(body),
    };
    // The headers may hold another id, as a sender's do.
    let test_id = Some(id.to_owned());
    let mut delivery = Delivery { headers, source_ip: None, at, bytes: Some(body.len()), test_id };
    let hook = found(hooks, hook_id, &delivery).await?;
    if let Ok(id) = HeaderValue::from_str(id) {
        // Lambda may invoke this function twice with one test.
        if let Some(name) = &hook.webhook.manners.id_header {
            delivery.headers.insert(name.clone(), id);
        }
    }
    // Without a secret it is refused for that reason, as a sender's delivery is.
    if let Ok(secret) = hooks.present_secret(&hook).await {
        for (name, value) in sign(&hook.webhook.scheme, &secret, id, at.as_second(), body.as_bytes()) {
            delivery.headers.insert(name, value);
        }
    }
    deliver(hooks, &hook, &delivery, Bytes::from(body)).await
}

/// Reads the headers of a test delivery. One that is no header is left out: the manage surface has refused such a one.
fn given(headers: Option<&Value>) -> HeaderMap {
    let members = headers.and_then(Value::as_object).into_iter().flatten();
    let header = |(name, value): (&String, &Value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.as_str()?).ok()?))
    };
    members.filter_map(header).collect()
}
