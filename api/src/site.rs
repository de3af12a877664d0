//! The page: three static files, and the settings that it needs before a login. They need no token. Everything else
//! does.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use crate::{api::Api, settings::Settings};

const PAGE: &[u8] = include_bytes!("../site/index.html");
const SCRIPT: &[u8] = include_bytes!("../site/app.js");
const STYLE: &[u8] = include_bytes!("../site/style.css");

/// The paths that are served without a token.
pub const OPEN_PATHS: [&str; 4] = ["/", "/assets/app.js", "/assets/style.css", "/config.json"];

/// Returns the routes of the page.
pub fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/", get(page))
        .route("/assets/app.js", get(|| async { file(SCRIPT, "text/javascript; charset=utf-8") }))
        .route("/assets/style.css", get(|| async { file(STYLE, "text/css; charset=utf-8") }))
        .route("/config.json", get(config))
}

async fn page(State(api): State<Arc<Api>>) -> Response {
    let mut response = file(PAGE, "text/html; charset=utf-8");
    let headers = response.headers_mut();
    if let Ok(policy) = policy(&api.settings).parse() {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Returns the content security policy: the page may load its own files, the API, and the login's token endpoint.
fn policy(settings: &Settings) -> String {
    let login = settings.login.as_ref().map(|login| format!(" https://{}", login.domain)).unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{login}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

async fn config(State(api): State<Arc<Api>>) -> Response {
    let login = api.settings.login.as_ref().map(|login| json!({"domain": login.domain, "clientId": login.client_id}));
    let config = json!({"login": login, "version": env!("CARGO_PKG_VERSION")}).to_string();
    let mut response = file(b"", "application/json");
    *response.body_mut() = Body::from(config);
    response
}

fn file(content: &'static [u8], kind: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, content).into_response()
}
