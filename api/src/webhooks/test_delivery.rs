//! `POST /triggers/{id}/webhook/test`: the hook function is invoked with a delivery that it signs itself. The manage
//! surface cannot read a secret.

use std::sync::Arc;

use agent_trigger::json::surrogate::to_json;
use axum::{
    extract::State,
    http::{HeaderName, HeaderValue},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    api::Api,
    auth::Caller,
    error::{ApiError, Violation},
    hooks::{
        receive::{LARGEST_BODY, LARGEST_PAYLOAD},
        test_delivery::TEST_ROUTE_KEY,
    },
    reply::Reply,
    request::{JsonObject, Path},
    times,
    triggers::view::add_skip_reason,
    webhooks::{config_text, find_hooked, make::not_deployed},
};

/// The most headers of a test delivery, and the longest value of one in bytes. API Gateway takes about 10 KB of them.
const MOST_HEADERS: usize = 50;
const LONGEST_HEADER: usize = 1_024;

/// `POST /triggers/{id}/webhook/test`: `{body?, headers?}`. It runs the trigger like any delivery. Without a body it
/// sends a sample. Its receipt has the `senderId` that is returned, whatever the headers say. One that counts as sent
/// again has the receipt of the first. If the trigger is off, the answer says with which `skipReason` the execution
/// will be recorded.
///
/// # Errors
/// Returns an error if there is no such trigger or it has no webhook, if webhooks are not deployed, if a header is
/// wrong, if the body has more than 200 KiB or its event is too large, if the table refuses or does not answer, or if
/// Lambda does not take the invocation. In the last case the delivery may come all the same.
pub async fn send(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    JsonObject(body): JsonObject,
) -> Result<Reply, ApiError> {
    let item = find_hooked(&api, &caller, &id).await?;
    let hooks = api.settings.hooks.as_ref().ok_or_else(not_deployed)?;
    let hook_id = config_text(&item, "hookId").ok_or(ApiError::NotFound)?;
    let test_id = format!("test_{}", Uuid::new_v4().simple());
    // Slack's and Stripe's deliveries are told apart by these members.
    let sample = || {
        json!({"type": "test", "id": test_id, "event_id": test_id, "test": true,
            "sentAt": times::rfc3339(times::now())})
    };
    let headers = headers(body.get("headers"))?;
    let body = body.get("body").filter(|body| !body.is_null()).cloned().unwrap_or_else(sample);
    let event = to_json(&invocation(hook_id, &to_json(&json!({"id": test_id, "headers": headers, "body": body}))));
    // It has a sender's limit. Quoted twice, a body may also exceed what Lambda queues.
    if to_json(&body).len() > LARGEST_BODY || event.len() > LARGEST_PAYLOAD {
        return Err(ApiError::TooLarge);
    }
    api.dispatcher.invoke(&hooks.function, event, None).await.map_err(|error| {
        tracing::error!(cause = %error, "the hook function could not be invoked");
        ApiError::Unavailable("the hook function could not be invoked".to_owned())
    })?;
    let mut answer = json!({"senderId": test_id, "triggerId": id});
    add_skip_reason(&mut answer, &item);
    Ok(Reply::accepted(answer))
}

/// Reads the headers of a test delivery, an object of at most [`MOST_HEADERS`] texts. Any header may be sent, as long
/// as it is one. Without a value, or with null, there are none.
///
/// # Errors
/// The error names every header that is none, or whose value has more than 1,024 bytes. Any other value, and an object
/// of more headers, is an error of `headers` as a whole.
fn headers(value: Option<&Value>) -> Result<Map<String, Value>, ApiError> {
    let members = match value {
        None | Some(Value::Null) => return Ok(Map::new()),
        Some(Value::Object(members)) if members.len() <= MOST_HEADERS => members,
        Some(_) => {
            return Err(ApiError::field("headers", format!("must be an object of at most {MOST_HEADERS} headers")));
        }
    };
    let is_header = |(name, value): &(&String, &Value)| {
        let value = value.as_str().filter(|value| value.len() <= LONGEST_HEADER);
        HeaderName::from_bytes(name.as_bytes()).is_ok()
            && value.is_some_and(|value| HeaderValue::from_str(value).is_ok())
    };
    let violations: Vec<_> = members
        .iter()
        .filter(|member| !is_header(member))
        .map(|(name, _)| Violation {
            field: format!("headers.{name}"),
            description: format!(
                "must be the name of a header with a text of one line, of at most {LONGEST_HEADER} bytes"
            ),
        })
        .collect();
    if violations.is_empty() { Ok(members.clone()) } else { Err(ApiError::Validation(violations)) }
}

/// Returns an invocation in the form of API Gateway's payload 2.0, with a route key that API Gateway never has.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
fn invocation(hook_id: &str, body: &str) -> Value {
    let path = format!("/test/{hook_id}");
    let at = times::now();
    json!({"version": "2.0", "routeKey": TEST_ROUTE_KEY, "rawPath": path, "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "agent-trigger"},
        "requestContext": {"accountId": "", "apiId": "agent-trigger", "domainName": "agent-trigger",
            "domainPrefix": "agent-trigger", "requestId": Uuid::new_v4().to_string(), "routeKey": TEST_ROUTE_KEY,
            "stage": "$default", "time": times::rfc3339(at), "timeEpoch": at.as_millisecond(),
            "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
                "userAgent": "agent-trigger"}},
        "body": body, "isBase64Encoded": false})
}
