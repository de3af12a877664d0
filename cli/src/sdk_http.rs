//! The HTTP client of the AWS SDK in this program.

use agent_trigger::clients::http::{Clients, SdkHttpClient};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};
use reqwest::Url;

use crate::source::is_loopback;

/// A client that reaches addresses on this machine directly, and others through the proxies of the environment. No
/// proxy leads to this machine, and one that is asked sees a signature and a session token unencrypted.
#[derive(Clone, Debug)]
pub(crate) struct SdkHttp {
    near: SdkHttpClient,
    far: SdkHttpClient,
}

impl SdkHttp {
    /// Builds it with the roots of this PEM file too.
    ///
    /// # Errors
    /// If the file cannot be read as PEM, or holds no usable certificate.
    pub(crate) fn new(bundle: Option<&str>) -> Result<Self, String> {
        let (near, far) = (Clients::direct(bundle)?.aws, Clients::new(bundle)?.aws);
        Ok(Self { near: SdkHttpClient::new(near), far: SdkHttpClient::new(far) })
    }
}

impl HttpConnector for SdkHttp {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_near = Url::parse(request.uri()).is_ok_and(|url| is_loopback(&url));
        if is_near { self.near.call(request) } else { self.far.call(request) }
    }
}

impl HttpClient for SdkHttp {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
