//! The routes, and the layer around them: the caller, the body's metadata, entity tags, and one log line for each
//! request. Each route is also served under `/v1`.

use std::{fmt::Write, sync::Arc};

use agent_trigger::json::surrogate::to_json;
use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, uri::PathAndQuery},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tower::ServiceBuilder;

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

/// Returns the router of the manage surface. Each route stands in it once and has all layers at once, because most of
/// the time that the start takes beyond the SDK's goes into it.
pub fn routes(api: Arc<Api>) -> Router {
    let layers = ServiceBuilder::new()
        .layer(from_fn(render))
        // It stands around the fallbacks too: without a token nobody learns which routes there are.
        .layer(from_fn_with_state(Arc::clone(&api), authenticate))
        .layer(DefaultBodyLimit::max(LARGEST_BODY));
    let routes = site::routes(managed(Router::new()))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(layers)
        .with_state(api);
    // A router's own layers run once the route is found, so the version leaves the path outside of it.
    Router::new().fallback_service(ServiceBuilder::new().map_request(without_version).service(routes))
}

/// Takes `/v1` out of a request's path. The page's own files have no version.
fn without_version(mut request: Request) -> Request {
    let rest = request.uri().path_and_query().and_then(|path| path.as_str().strip_prefix("/v1"));
    let rest = rest.filter(|rest| rest.starts_with('/')).and_then(|rest| rest.parse::<PathAndQuery>().ok());
    if let Some(rest) = rest.filter(|rest| !site::is_open(rest.path())) {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(rest);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// Adds the routes of the API to a router.
fn managed(router: Router<Arc<Api>>) -> Router<Arc<Api>> {
    let routes: [(&str, MethodRouter<Arc<Api>>); 24] = [
        ("/triggers", get(triggers::list).post(triggers::create::create)),
        ("/triggers/check", post(triggers::check::check)),
        ("/triggers/{id}", get(triggers::get).put(triggers::update::update).delete(triggers::delete::delete)),
        ("/triggers/{id}/enable", post(triggers::switch::enable)),
        ("/triggers/{id}/disable", post(triggers::switch::disable)),
        ("/triggers/{id}/run", post(triggers::run::run)),
        ("/triggers/{id}/status", get(triggers::status::status)),
        ("/triggers/{id}/deliveries", get(webhooks::deliveries::list)),
        ("/triggers/{id}/webhook/secret", post(webhooks::secret::rotate)),
        ("/triggers/{id}/webhook/test", post(webhooks::test_delivery::send)),
        ("/providers", get(webhooks::providers)),
        ("/triggers/{id}/next-runs", get(schedules::next_runs)),
        ("/triggers/{id}/executions", get(executions::list)),
        ("/triggers/{id}/executions/{execution}", get(executions::get)),
        ("/triggers/{id}/executions/{execution}/input", get(executions::input)),
        ("/triggers/{id}/executions/{execution}/cancel", post(executions::cancel::cancel)),
        ("/triggers/{id}/executions/{execution}/replay", post(executions::replay::replay)),
        ("/executions", get(executions::across::list)),
        ("/executions/cancel", post(executions::bulk::cancel)),
        ("/executions/replay", post(executions::bulk::replay)),
        ("/schedules/preview", post(schedules::preview)),
        ("/upcoming-runs", get(schedules::upcoming)),
        ("/events", get(event_sources::list)),
        ("/ping", get(event_sources::ping)),
    ];
    routes.into_iter().fold(router, |router, (path, methods)| router.route(path, methods))
}

/// Answers 404.
pub(crate) async fn not_found() -> ApiError {
    ApiError::NotFound
}

/// Answers 405.
pub(crate) async fn not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}

/// Lets a request pass if it acts for somebody, who is put into its extensions and the response's. `/ping` and the
/// page's own files need no caller. Any other request is 401, or 400 if a token without a user may act for others, but
/// names none or has not the scope.
async fn authenticate(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/ping" || site::is_open(path) {
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

/// Writes the body of each answer, see [`rendered`], and logs the request by its route alone, because paths, queries,
/// headers and bodies hold ids and texts of users.
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

/// Writes the body of a response of this API. `known` is the request's `If-None-Match`: if it names the entity tag of
/// an answer 200, the response becomes a 304 without a body. Without a `request_id`, `local` stands in its place. A
/// response of another kind, such as a file, is returned as it is.
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

/// Returns the weak tag of an answer: a hash of its members without the metadata, which differs each time.
fn entity_tag(members: &Map<String, Value>) -> Option<HeaderValue> {
    let mut tag = String::from("W/\"");
    for byte in &Sha256::digest(serde_json::to_vec(members).ok()?)[..16] {
        // Writing to a string cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag.parse().ok()
}

/// Sets the body of a response to this JSON, with its content type.
fn with_json(mut response: Response, body: &Value) -> Response {
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    *response.body_mut() = Body::from(to_json(body));
    response
}

/// Returns the answer of a route that only reports that it was done: 200, `success` and `message`.
pub(crate) fn done(message: &str) -> Reply {
    Reply::ok(json!({"success": true, "message": message}))
}
