//! The routes of the hooks surface. None of them needs a token: what a sender signs is its proof.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Extension, FromRequest, Request, State},
    middleware::from_fn,
    response::Response,
    routing::{any, get},
};

use crate::{
    error::ApiError,
    event_sources,
    hooks::{
        receive::receive,
        state::Hooks,
        test_delivery::{self, FromManage},
    },
    request::{JsonObject, Path},
    router::render,
};

/// Returns the router of the hooks surface. Every method reaches a hook, so that a wrong one leaves a receipt.
pub fn routes(hooks: Arc<Hooks>) -> Router {
    Router::new()
        .nest("/v1", received())
        .merge(received())
        .route("/ping", get(event_sources::ping))
        .route("/test/{hook}", any(test))
        .fallback(not_found)
        .layer(from_fn(render))
        .with_state(hooks)
}

/// Returns the routes that receive deliveries: those of a hook, under three names, and that of the stack's own GitHub
/// webhook.
fn received() -> Router<Arc<Hooks>> {
    Router::new()
        .route("/hooks/{hook}", any(hook))
        .route("/webhooks/{hook}", any(hook))
        .route("/triggers/{hook}/webhook", any(hook))
        .route("/webhooks/github", any(github))
}

/// Answers 404.
async fn not_found() -> ApiError {
    ApiError::NotFound
}

/// Serves `/hooks/{hookId}` under any method, as [`receive`] does. Only `POST` is a delivery.
async fn hook(State(hooks): State<Arc<Hooks>>, Path(hook): Path<String>, request: Request) -> Response {
    receive(&hooks, Some(&hook), request).await
}

/// Serves `/webhooks/github` under any method, as [`receive`] does for the stack's own hook. Only `POST` is a delivery.
async fn github(State(hooks): State<Arc<Hooks>>, request: Request) -> Response {
    receive(&hooks, None, request).await
}

/// `POST /test/{hook}`: a test delivery, which only the manage surface can send. For everybody else there is no such
/// route, 404.
async fn test(
    State(hooks): State<Arc<Hooks>>,
    Path(hook): Path<String>,
    from: Option<Extension<FromManage>>,
    request: Request,
) -> Result<Response, ApiError> {
    // Before anything is read that an answer could tell of.
    let Extension(FromManage) = from.ok_or(ApiError::NotFound)?;
    let JsonObject(body) = JsonObject::from_request(request, &()).await?;
    test_delivery::receive(&hooks, &hook, &body).await
}
