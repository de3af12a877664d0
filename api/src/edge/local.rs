//! The edge on a port of 127.0.0.1, for one user. Any web page can reach a local port, and a run costs money. So each
//! request must name a loopback host, and none may come from a foreign origin. To act for the user it must carry the
//! key, and a write must be JSON, which a foreign page cannot send without a preflight. The ports for deliveries and
//! for agents' reports ask for neither of these two.

use std::{
    collections::HashMap,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Method, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use tokio::net::TcpListener;

use crate::{
    api::Api,
    auth::Claims,
    error::ApiError,
    hooks::{self, receive::SourceIp, state::Hooks},
    reports::{self, state::Reports},
    router,
    settings::Local,
};

/// Serves the port until the process ends. Writes the address to standard output once it listens.
///
/// # Errors
/// Returns an error if the port cannot be used, such as one that is taken, or the address cannot be written.
pub async fn serve(api: Arc<Api>, local: Local) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, local.port)).await?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "listening on http://{address}")?;
    axum::serve(listener, guarded(router::routes(api), local)).await?;
    Ok(())
}

/// Serves the reports surface on a port until the process ends. Writes the address to standard output once it listens.
/// An agent needs no key here, because the token of its run is one, but a page of another origin is refused.
///
/// # Errors
/// Returns an error if the port cannot be used, such as one that is taken, or the address cannot be written.
pub async fn serve_reports(reports: Arc<Reports>, port: u16) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "listening on http://{address}")?;
    axum::serve(listener, reports::receive::routes(reports).layer(from_fn(guard_reports))).await?;
    Ok(())
}

/// Answers 403 unless the request names a loopback host and comes from no page of another origin. Otherwise passes it
/// on.
async fn guard_reports(request: Request, next: Next) -> Response {
    if !is_loopback(request.headers()) || !is_own_origin(request.headers()) {
        return router::rendered(ApiError::Forbidden.into_response(), None, None);
    }
    next.run(request).await
}

/// Serves the hooks surface on a port until the process ends. Writes the address to standard output once it listens. A
/// sender needs no key here, but a page of another origin is refused before its signature is looked at.
///
/// # Errors
/// Returns an error if the port cannot be used, such as one that is taken, or the address cannot be written.
pub async fn serve_hooks(hooks: Arc<Hooks>, port: u16) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "listening on http://{address}")?;
    let router = hooks::router::routes(hooks).layer(from_fn(guard_hooks));
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

/// Answers 403 unless the request names a loopback host and comes from no page of another origin. Otherwise passes it
/// on, with the peer's address as the sender's.
async fn guard_hooks(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !is_loopback(headers) || !is_own_origin(headers) {
        return router::rendered(ApiError::Forbidden.into_response(), None, None);
    }
    request.extensions_mut().insert(SourceIp(peer.ip()));
    next.run(request).await
}

/// Returns the router with the checks of a local port around it, see [`guard`].
pub fn guarded(router: Router, local: Local) -> Router {
    router.layer(from_fn_with_state(Arc::new(local), guard))
}

/// Checks a request to the local port and passes it on. It is 403 unless it names a loopback host and comes from no
/// page of another origin, and an invalid argument if it is a write, other than DELETE, without a JSON content type.
/// Claims that were there are removed. With the right key it gets those of the local user: without them the routes find
/// no caller.
async fn guard(State(local): State<Arc<Local>>, mut request: Request, next: Next) -> Response {
    let (method, headers) = (request.method(), request.headers());
    if !is_loopback(headers) || !is_own_origin(headers) {
        return router::rendered(ApiError::Forbidden.into_response(), None, None);
    }
    if !method.is_safe() && *method != Method::DELETE && !is_json(headers) {
        let problem = ApiError::InvalidArgument("the content type must be application/json".to_owned());
        return router::rendered(problem.into_response(), None, None);
    }
    request.extensions_mut().remove::<Claims>();
    if has_key(request.headers(), &local.key) {
        let claims =
            [("sub", local.user_id.as_str()), ("username", "local"), ("client_id", "local"), ("token_use", "access")];
        let claims: HashMap<_, _> = claims.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        request.extensions_mut().insert(Claims(claims));
    }
    next.run(request).await
}

/// Returns the value of a header that is a text, or `None`.
fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Returns true if the host is this machine. So a name that a page has made to point here is not served.
fn is_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = text(headers, header::HOST) else { return false };
    ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|name| host.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')))
}

/// Returns true if the request has no `Origin`, or that of its own host. A page of another origin has another one.
fn is_own_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = text(headers, header::ORIGIN) else { return !headers.contains_key(header::ORIGIN) };
    text(headers, header::HOST).is_some_and(|host| origin == format!("http://{host}"))
}

/// Returns true if the content type is `application/json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = text(headers, header::CONTENT_TYPE).and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Returns true if the request has the key as its bearer token. The comparison does not stop at the first difference.
fn has_key(headers: &HeaderMap, key: &str) -> bool {
    let bearer =
        text(headers, header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let differences = bearer.bytes().zip(key.bytes()).fold(0, |found, (left, right)| found | (left ^ right));
    differences == 0 && bearer.len() == key.len()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_names_of_this_machine_are_served() {
        for (host, is_served) in [
            (Some("127.0.0.1:9012"), true),
            (Some("localhost"), true),
            (Some("[::1]"), true),
            (Some("[::1]:9012"), true),
            (Some("localhost.example.com"), false),
            (Some("127.0.0.1.example.com:9012"), false),
            (Some("example.com:9012"), false),
            (Some(""), false),
            (None, false),
        ] {
            let host = host.map(|host| (header::HOST, HeaderValue::from_static(host)));
            assert_eq!(is_loopback(&host.clone().into_iter().collect()), is_served, "{host:?}");
        }
    }
}
