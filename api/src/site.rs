//! The page: its static files, and the settings that it needs before a login. They need no token. Everything else does.

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

use crate::{api::Api, error::ApiError, request::Path, settings::Settings};

const PAGE: &[u8] = include_bytes!("../site/index.html");
const SCRIPT: &str = "text/javascript; charset=utf-8";
/// The files that the page loads: path, content type and content. The first script imports the others, some of them
/// only when somebody opens what they show.
const ASSETS: [(&str, &str, &[u8]); 14] = [
    ("/assets/style.css", "text/css; charset=utf-8", include_bytes!("../site/style.css")),
    ("/assets/app.js", SCRIPT, include_bytes!("../site/app.js")),
    ("/assets/actions.js", SCRIPT, include_bytes!("../site/actions.js")),
    ("/assets/api.js", SCRIPT, include_bytes!("../site/api.js")),
    ("/assets/dom.js", SCRIPT, include_bytes!("../site/dom.js")),
    ("/assets/form.js", SCRIPT, include_bytes!("../site/form.js")),
    ("/assets/login.js", SCRIPT, include_bytes!("../site/login.js")),
    ("/assets/reasons.js", SCRIPT, include_bytes!("../site/reasons.js")),
    ("/assets/runs.js", SCRIPT, include_bytes!("../site/runs.js")),
    ("/assets/samples.js", SCRIPT, include_bytes!("../site/samples.js")),
    ("/assets/senders.js", SCRIPT, include_bytes!("../site/senders.js")),
    ("/assets/timeline.js", SCRIPT, include_bytes!("../site/timeline.js")),
    ("/assets/triggers.js", SCRIPT, include_bytes!("../site/triggers.js")),
    ("/assets/webhook.js", SCRIPT, include_bytes!("../site/webhook.js")),
];

/// Returns true for a path of the page, its files or its settings. These are served without a token.
pub fn is_open(path: &str) -> bool {
    matches!(path, "/" | "/config.json") || ASSETS.iter().any(|(asset, ..)| *asset == path)
}

/// Adds the routes of the page to a router.
pub fn routes(router: Router<Arc<Api>>) -> Router<Arc<Api>> {
    router.route("/", get(page)).route("/config.json", get(config)).route("/assets/{file}", get(asset))
}

/// `GET /assets/{file}`: one of the page's files, or 404.
async fn asset(Path(name): Path<String>) -> Result<Response, ApiError> {
    let found = ASSETS.iter().find(|(path, ..)| path.strip_prefix("/assets/") == Some(&name));
    found.map(|(_, kind, content)| file(content, kind)).ok_or(ApiError::NotFound)
}

/// `GET /`: the page, with its content security policy.
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

/// `GET /config.json`: where users log in, `null` if the settings name no login, and the version of this build.
async fn config(State(api): State<Arc<Api>>) -> Response {
    let login = api.settings.login.as_ref().map(|login| json!({"domain": login.domain, "clientId": login.client_id}));
    let config = json!({"login": login, "version": env!("CARGO_PKG_VERSION")}).to_string();
    let mut response = file(b"", "application/json");
    *response.body_mut() = Body::from(config);
    response
}

/// Returns a response with this content and content type. The browser asks again each time whether it has changed.
fn file(content: &'static [u8], kind: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_page_are_open_and_nothing_else_is() {
        assert!(is_open("/") && is_open("/config.json") && is_open("/assets/app.js"));
        for path in ["/assets/", "/assets/other.js", "/assets/app.js/", "/triggers", ""] {
            assert!(!is_open(path), "{path}");
        }
    }

    /// A module that is imported but not served would leave the page empty.
    #[test]
    fn each_module_that_is_imported_is_served() {
        let is_script = |(_, kind, _): &&(&str, &str, &[u8])| *kind == SCRIPT;
        for (path, _, content) in ASSETS.iter().filter(is_script) {
            let text = str::from_utf8(content).unwrap();
            let imports = ["from './", "import('./"].map(|before| text.split(before).skip(1)).into_iter().flatten();
            for import in imports.filter_map(|rest| rest.split_once('\'')) {
                let import = format!("/assets/{}", import.0);
                assert!(ASSETS.iter().any(|(asset, ..)| *asset == import), "{path} imports {import}");
            }
        }
    }
}
