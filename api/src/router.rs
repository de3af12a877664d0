//! The routes, and the layer around them: the caller, the body's metadata, entity tags, and one log line for each
//! request. Each route is also served under `/v1`.

use std::{fmt::Write, sync::Arc};

use agent_trigger::json::surrogate::to_json;
use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    api::Api,
    auth::{Caller, Claims, Refusal, TARGET_USER, caller},
    error::{ApiError, Failed},
    event_sources, executions,
    reply::{Answered, Reply},
    request::LARGEST_BODY,
    schedules::routes as schedules,
    site,
    times::rfc3339,
    triggers, webhooks,
};

/// The id of a request: API Gateway's, or one of its own.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// Returns the router of the manage surface.
pub fn routes(api: Arc<Api>) -> Router {
    Router::new()
        .nest("/v1", managed())
        .merge(managed())
        .merge(site::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        // It stands around the fallbacks too: without a token nobody learns which routes there are.
        .layer(from_fn_with_state(Arc::clone(&api), authenticate))
        .layer(from_fn(render))
        .with_state(api)
}

fn managed() -> Router<Arc<Api>> {
    Router::new()
        .route("/triggers", get(triggers::list).post(triggers::create::create))
        .route("/triggers/check", post(triggers::check::check))
        .route("/triggers/{id}", get(triggers::get).put(triggers::update::update).delete(triggers::delete::delete))
        .route("/triggers/{id}/enable", post(triggers::switch::enable))
        .route("/triggers/{id}/disable", post(triggers::switch::disable))
        .route("/triggers/{id}/run", post(triggers::run::run))
        .route("/triggers/{id}/status", get(triggers::status::status))
        .route("/triggers/{id}/deliveries", get(webhooks::deliveries::list))
        .route("/triggers/{id}/webhook/secret", post(webhooks::secret::rotate))
        .route("/triggers/{id}/webhook/test", post(webhooks::test_delivery::send))
        .route("/providers", get(webhooks::providers))
        .route("/triggers/{id}/next-runs", get(schedules::next_runs))
        .route("/triggers/{id}/executions", get(executions::list))
        .route("/triggers/{id}/executions/{execution}", get(executions::get))
        .route("/triggers/{id}/executions/{execution}/input", get(executions::input))
        .route("/triggers/{id}/executions/{execution}/cancel", post(executions::cancel::cancel))
        .route("/triggers/{id}/executions/{execution}/replay", post(executions::replay::replay))
        .route("/executions", get(executions::across::list))
        .route("/executions/cancel", post(executions::bulk::cancel))
        .route("/executions/replay", post(executions::bulk::replay))
        .route("/schedules/preview", post(schedules::preview))
        .route("/upcoming-runs", get(schedules::upcoming))
        .route("/events", get(event_sources::list))
        .route("/ping", get(event_sources::ping))
}

async fn not_found() -> ApiError {
    ApiError::NotFound
}

async fn not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}

/// Lets a request pass if it acts for somebody. `/ping` and the page's own files need no caller.
async fn authenticate(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if matches!(path, "/ping" | "/v1/ping") || site::is_open(path) {
        return next.run(request).await;
    }
    let target = request.headers().get(TARGET_USER).and_then(|value| value.to_str().ok());
    match caller(request.extensions().get::<Claims>(), target, &api.settings) {
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            let mut response = next.run(request).await;
            response.extensions_mut().insert(caller);
            response
        }
        Err(Refusal::Unauthenticated) => ApiError::Unauthenticated.into_response(),
        Err(Refusal::NoUser) => {
            let problem = "a token without a user needs the scope agent-trigger/manage and the header X-Target-User-Id";
            ApiError::InvalidArgument(problem.to_owned()).into_response()
        }
    }
}

/// Writes the body of each answer, and logs the request by its route alone, because paths, queries, headers and bodies
/// hold ids and texts of users.
pub(crate) async fn render(request: Request, next: Next) -> Response {
    let started = tokio::time::Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let id = request.extensions().get::<RequestId>().map(|RequestId(id)| id.clone());
    let id = id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let is_read = method == Method::GET || method == Method::HEAD;
    let response = rendered(next.run(request).await, Some(&id), known.filter(|_| is_read));
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let route = route.as_deref().unwrap_or("none");
    tracing::info!(
        requestId = id,
        method = method.as_str(),
        route,
        status = response.status().as_u16(),
        millis,
        "request"
    );
    response
}

/// Writes the body of a response of this API. `known` is the entity tag that the client has: if the answer has the
/// same, the response becomes a 304 without a body. A response of another kind, such as a file, is returned as it is.
pub(crate) fn rendered(mut response: Response, request_id: Option<&str>, known: Option<HeaderValue>) -> Response {
    let timestamp = rfc3339(Timestamp::now());
    let extensions = response.extensions_mut();
    let request_id = request_id.unwrap_or("local");
    if let Some(Failed(error)) = extensions.remove::<Failed>() {
        return with_json(response, &error.body(request_id, &timestamp));
    }
    let caller = extensions.remove::<Caller>();
    let Some(Answered { members, count }) = extensions.remove::<Answered>() else { return response };
    let is_read = response.status() == StatusCode::OK;
    if let Some(tag) = is_read.then(|| entity_tag(&members)).flatten() {
        let is_known = known.is_some_and(|known| {
            known.as_bytes().split(|b| *b == b',').any(|part| part.trim_ascii() == tag.as_bytes())
        });
        response.headers_mut().insert(header::ETAG, tag);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
    }
    let mut metadata = json!({"requestId": request_id, "timestamp": timestamp});
    if let Some(Caller(user)) = caller {
        metadata["userId"] = json!(user);
    }
    if let Some(count) = count {
        metadata["count"] = json!(count);
    }
    let mut body = Value::Object(members);
    body["metadata"] = metadata;
    with_json(response, &body)
}

/// Returns the tag of an answer: a hash of its members without the metadata, which differs each time.
fn entity_tag(members: &Map<String, Value>) -> Option<HeaderValue> {
    let mut tag = String::from("W/\"");
    for byte in &Sha256::digest(serde_json::to_vec(members).ok()?)[..16] {
        // Writing to a string cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag.parse().ok()
}

fn with_json(mut response: Response, body: &Value) -> Response {
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    *response.body_mut() = Body::from(to_json(body));
    response
}

/// Returns the answer of a route that only reports that it was done.
pub(crate) fn done(message: &str) -> Reply {
    Reply::ok(json!({"success": true, "message": message}))
}
