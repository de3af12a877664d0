//! The edge on Lambda: API Gateway's HTTP API with payload format 2.0. The claims are those that its authorizer checked.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>

use std::{convert::Infallible, sync::Arc};

use axum::{body::Body, extract::Request, response::Response};
use lambda_http::{RequestExt, request::RequestContext};
use tower::{ServiceExt, service_fn};

use crate::{
    api::Api,
    auth::Claims,
    router::{self, RequestId},
};

/// Serves invocations until the process ends.
///
/// # Errors
/// Returns an error if Lambda's Runtime API fails.
pub async fn serve(api: Arc<Api>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let router = router::routes(api);
    let service = service_fn(move |request: lambda_http::Request| {
        let router = router.clone();
        async move {
            let Ok(response) = router.oneshot(with_claims(request)).await;
            Ok::<Response, Infallible>(response)
        }
    });
    lambda_http::run(service).await
}

/// Puts what API Gateway says about a request into its extensions.
fn with_claims(request: lambda_http::Request) -> Request {
    let mut found = None;
    let mut id = None;
    if let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() {
        id = context.request_id.clone();
        let jwt = context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref());
        found = jwt.map(|jwt| Claims(jwt.claims.clone()));
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().remove::<Claims>();
    if let Some(claims) = found {
        request.extensions_mut().insert(claims);
    }
    if let Some(id) = id {
        request.extensions_mut().insert(RequestId(id));
    }
    request
}
