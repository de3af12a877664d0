//! Signs requests as AWS services want it (SigV4), with the crate and the credentials that the SDK uses itself.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use aws_config::SdkConfig;
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use reqwest::{
    Request,
    header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue},
};

use crate::error_chain::chain;

/// How long before their end credentials are replaced: a request must not expire under way.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);

/// The reason why a request is not signed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SignError {
    /// The function's role gives no credentials.
    #[error("no AWS credentials: {0}")]
    Credentials(String),
    /// The request cannot be signed.
    #[error("the request cannot be signed: {0}")]
    Request(String),
}

/// The source of the function's own credentials.
#[derive(Debug)]
pub struct Signer {
    provider: Option<SharedCredentialsProvider>,
    /// Credentials that end. Those of Lambda's environment do not, and are read anew each time.
    cached: Mutex<Option<Credentials>>,
}

/// What signs requests for one service in one region.
#[derive(Clone)]
pub struct SigningKey {
    credentials: Credentials,
    region: String,
    service: &'static str,
}

impl Signer {
    /// Creates the source on the SDK's configuration.
    pub fn new(aws: &SdkConfig) -> Self {
        Self { provider: aws.credentials_provider(), cached: Mutex::default() }
    }

    /// Returns a key for requests of the next few minutes.
    ///
    /// # Errors
    /// If there are no credentials.
    pub async fn key(&self, service: &'static str, region: &str) -> Result<SigningKey, SignError> {
        let credentials = self.credentials(SystemTime::now()).await?;
        Ok(SigningKey { credentials, region: region.to_owned(), service })
    }

    async fn credentials(&self, now: SystemTime) -> Result<Credentials, SignError> {
        let lasts = |credentials: &Credentials| credentials.expiry().is_some_and(|end| end > now + RENEW_BEFORE);
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(lasts);
        if let Some(credentials) = cached {
            return Ok(credentials);
        }
        let Some(provider) = &self.provider else {
            return Err(SignError::Credentials("none are configured".to_owned()));
        };
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|error| SignError::Credentials(chain(&error)))?;
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(credentials.clone());
        Ok(credentials)
    }
}

impl SigningKey {
    /// Signs `request` and returns the headers to add. Signed are its method, path, query and body, and of its headers
    /// the host, the content type and those of AWS. What a proxy may change, such as a trace's, is left out. The path is
    /// encoded once more, as all services but S3 want it: the ARN of a runtime is encoded twice in what is signed.
    ///
    /// # Errors
    /// If the request has no body in memory, or its headers are no texts.
    pub fn sign(&self, request: &Request, at: SystemTime) -> Result<HeaderMap, SignError> {
        let unsignable = |error: &dyn std::error::Error| SignError::Request(error.to_string());
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(at)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsignable(&error))?;
        let mut headers = Vec::with_capacity(8);
        let host = host(request);
        headers.push((HOST.as_str(), host.as_str()));
        for (name, value) in request.headers() {
            if is_signed(name) {
                headers.push((name.as_str(), value.to_str().map_err(|error| unsignable(&error))?));
            }
        }
        let body = request.body().map_or(Some(&[][..]), reqwest::Body::as_bytes);
        let body = SignableBody::Bytes(body.ok_or_else(|| SignError::Request("its body is a stream".to_owned()))?);
        let (method, url) = (request.method().as_str(), request.url().as_str());
        let signable =
            SignableRequest::new(method, url, headers.into_iter(), body).map_err(|error| unsignable(&error))?;
        let signed = sign(signable, &params.into()).map_err(|error| unsignable(&error))?;
        let (instructions, _) = signed.into_parts();
        let mut added = HeaderMap::new();
        for (name, text) in instructions.headers() {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| unsignable(&error))?;
            let mut value = HeaderValue::from_str(text).map_err(|error| unsignable(&error))?;
            value.set_sensitive(true);
            added.insert(name, value);
        }
        Ok(added)
    }
}

/// Returns the host header that HTTP/1.1 will send.
fn host(request: &Request) -> String {
    let host = request.url().host_str().unwrap_or_default();
    request.url().port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn is_signed(name: &HeaderName) -> bool {
    name == CONTENT_TYPE || (name.as_str().starts_with("x-amz") && name != "x-amzn-trace-id")
}

/// Shows nothing of the credentials.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}, {})", self.service, self.region)
    }
}
