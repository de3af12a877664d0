//! The edge on Lambda: API Gateway's HTTP API with payload format 2.0. The claims are those that its authorizer
//! checked. <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>

use std::sync::Arc;

use axum::{Router, body::Body, extract::Request, http::Uri, response::Response};
use lambda_http::{RequestExt, request::RequestContext};
use tower::{ServiceExt, service_fn};

use crate::{
    api::Api,
    auth::Claims,
    hooks::{
        self,
        receive::SourceIp,
        state::Hooks,
        test_delivery::{FromManage, TEST_ROUTE_KEY},
    },
    reports::{self, state::Reports},
    router::{self, RequestId},
};

/// Serves invocations until the process ends.
///
/// # Errors
/// Returns an error if Lambda's Runtime API fails.
pub async fn serve(api: Arc<Api>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    run(router::routes(api)).await
}

/// Serves invocations of the hooks surface until the process ends.
///
/// # Errors
/// Returns an error if Lambda's Runtime API fails.
pub async fn serve_hooks(hooks: Arc<Hooks>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    run(hooks::router::routes(hooks)).await
}

/// Serves invocations of the reports surface until the process ends. Its function has a URL, whose events are in
/// payload format 2.0, too.
///
/// # Errors
/// Returns an error if Lambda's Runtime API fails.
pub async fn serve_reports(reports: Arc<Reports>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    run(reports::receive::routes(reports)).await
}

/// Serves invocations with a router until the process ends.
///
/// # Errors
/// Returns an error if Lambda's Runtime API fails.
async fn run(router: Router) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let service = service_fn(move |request: lambda_http::Request| {
        let router = router.clone();
        async move {
            let request = routed(request);
            let is_test = request.extensions().get::<FromManage>().is_some();
            let Ok(response) = router.oneshot(request).await;
            result_of(response, is_test)
        }
    });
    lambda_http::run(service).await
}

/// Returns the result of an invocation: the response, or an error if it is one of 500 to 599 to a test delivery. Nobody
/// reads the response to a test delivery, which is invoked asynchronously. Lambda tries it twice more after an error,
/// and not after a response with an error's status.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
fn result_of(response: Response, is_test: bool) -> Result<Response, lambda_http::Error> {
    if is_test && response.status().is_server_error() {
        return Err(format!("the test delivery met a fault: {}", response.status()).into());
    }
    Ok(response)
}

/// Puts what API Gateway says about a request into its extensions: the claims of its authorizer, the sender's address,
/// the request's id, and [`FromManage`] for a test delivery. What was there before is removed, because nobody else may
/// say it. What is none of the route's is taken out of the path: the stage, and the mapping of a domain of one's own.
fn routed(request: lambda_http::Request) -> Request {
    let mut found = None;
    let mut id = None;
    let mut stage = None;
    let mut route_key = None;
    let mut source = None;
    let mut is_from_manage = false;
    if let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() {
        id = context.request_id.clone();
        stage = context.stage.clone();
        route_key = context.route_key.clone();
        is_from_manage = context.route_key.as_deref() == Some(TEST_ROUTE_KEY);
        source = context.http.source_ip.as_deref().and_then(|address| address.parse().ok());
        let jwt = context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref());
        found = jwt.map(|jwt| Claims(jwt.claims.clone()));
    }
    let mut request = request.map(Body::new);
    if let Some(uri) = stage.and_then(|stage| without_stage(request.uri(), &stage)) {
        *request.uri_mut() = uri;
    }
    if let Some(uri) = route_key.and_then(|key| without_mapping(request.uri(), &key)) {
        *request.uri_mut() = uri;
    }
    request.extensions_mut().remove::<Claims>();
    if let Some(claims) = found {
        request.extensions_mut().insert(claims);
    }
    // Headers such as X-Forwarded-For are the sender's to choose.
    request.extensions_mut().remove::<SourceIp>();
    request.extensions_mut().remove::<FromManage>();
    if is_from_manage {
        request.extensions_mut().insert(FromManage);
    }
    if let Some(address) = source {
        request.extensions_mut().insert(SourceIp(address));
    }
    if let Some(id) = id {
        request.extensions_mut().insert(RequestId(id));
    }
    request
}

/// Returns the address without the stage at the beginning of its path, or `None` if it does not stand there or is
/// `$default`. API Gateway leaves a stage of a name in `rawPath`, except under a domain of one's own, and `lambda_http`
/// adds one that is not there.
fn without_stage(uri: &Uri, stage: &str) -> Option<Uri> {
    let path = uri.path_and_query()?.as_str();
    let rest = path.strip_prefix('/')?.strip_prefix(stage).filter(|_| stage != "$default")?;
    let rest = match rest.chars().next() {
        Some('/') => rest.to_owned(),
        None | Some('?') => format!("/{rest}"),
        Some(_) => return None,
    };
    with_path(uri, &rest)
}

/// Returns the address with the part of its path that the route matches, or `None` if nothing stands before it, or
/// nothing in it matches. A domain of one's own may map a path such as `/agents` to the API, and `rawPath` has it.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-mappings.html>
fn without_mapping(uri: &Uri, route_key: &str) -> Option<Uri> {
    let (_, template) = route_key.split_once(' ').filter(|(_, template)| template.starts_with('/'))?;
    let (path, query) = (uri.path(), uri.query().map(|query| format!("?{query}")).unwrap_or_default());
    let starts = path.match_indices('/').map(|(at, _)| &path[at..]);
    let matched = if template == "/" { "/" } else { starts.into_iter().find(|rest| fits(template, rest))? };
    if matched == path { None } else { with_path(uri, &format!("{matched}{query}")) }
}

/// Returns true if `path` is one of the route `template`: a part `{name}` stands for any one part that is not empty,
/// `{name+}` for all that is left, and any other part for itself.
fn fits(template: &str, path: &str) -> bool {
    let mut given = path.split('/');
    for part in template.split('/') {
        let found = given.next();
        if part.ends_with("+}") {
            return found.is_some_and(|found| !found.is_empty());
        }
        let is_met = found.is_some_and(|found| found == part || part.starts_with('{') && !found.is_empty());
        if !is_met {
            return false;
        }
    }
    given.next().is_none()
}

/// Returns `uri` with `path`, which may have a query, in place of its own, or `None` if this is no address.
fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mapping_of_a_domain_is_no_part_of_the_path() {
        let hook = "POST /hooks/{hookId}";
        for (path, route_key, expected) in [
            ("/hooks/x", hook, None),
            ("/agents/hooks/x?a=/hooks/y", hook, Some("/hooks/x?a=/hooks/y")),
            ("/a/b/hooks/x", hook, Some("/hooks/x")),
            // A mapping that is called as the route is.
            ("/hooks/hooks/x", hook, Some("/hooks/x")),
            ("/hooks/x/y", hook, None),
            ("/agents/triggers/x/webhook", "POST /triggers/{hookId}/webhook", Some("/triggers/x/webhook")),
            ("/agents/v1/hooks/a%2Fb", "POST /v1/hooks/{hookId}", Some("/v1/hooks/a%2Fb")),
            ("/agents/triggers/t/executions", "GET /triggers/{proxy+}", Some("/triggers/t/executions")),
            ("/triggers/t/triggers/u", "GET /triggers/{proxy+}", None),
            ("/agents", "GET /", Some("/")),
            ("/", "GET /", None),
            ("/agents/hooks/x", "$default", None),
            ("/test/x", TEST_ROUTE_KEY, None),
        ] {
            let uri = format!("https://api.example.com{path}").parse().unwrap();
            let found = without_mapping(&uri, route_key).map(|uri| uri.to_string());
            assert_eq!(found, expected.map(|path| format!("https://api.example.com{path}")), "{path} {route_key}");
        }
    }

    #[test]
    fn a_stage_is_no_part_of_the_path() {
        for (path, stage, expected) in [
            ("/prod/triggers?limit=1", "prod", Some("/triggers?limit=1")),
            ("/prod", "prod", Some("/")),
            ("/prod?code=1", "prod", Some("/?code=1")),
            ("/prod/prod/x", "prod", Some("/prod/x")),
            ("/production/x", "prod", None),
            ("/triggers", "prod", None),
            ("/$default/x", "$default", None),
            ("/", "prod", None),
        ] {
            let uri = format!("https://api.example.com{path}").parse().unwrap();
            let found = without_stage(&uri, stage).map(|uri| uri.to_string());
            assert_eq!(found, expected.map(|path| format!("https://api.example.com{path}")), "{path} {stage}");
        }
    }
}
