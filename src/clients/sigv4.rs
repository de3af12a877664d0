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

/// The time before their end at which credentials are replaced. A request must not expire under way.
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

/// The credentials that sign requests for one service in one region.
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

    /// Returns a key for requests of the next few minutes. The credentials come from the provider in one try, or from
    /// the cache if they last for more than 5 minutes.
    ///
    /// # Errors
    /// Returns an error if there are no credentials.
    pub async fn key(&self, service: &'static str, region: &str) -> Result<SigningKey, SignError> {
        let credentials = self.credentials(SystemTime::now()).await?;
        Ok(SigningKey { credentials, region: region.to_owned(), service })
    }

    /// Returns the cached credentials if they end later than 5 minutes after `now`, else those that the provider gives,
    /// which are cached. If it gives none, the cached ones are good until their end. Credentials without an end are
    /// never taken from the cache.
    ///
    /// # Errors
    /// Returns an error if no provider is configured, or it gives no credentials and none are left.
    async fn credentials(&self, now: SystemTime) -> Result<Credentials, SignError> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(credentials) = cached.as_ref().filter(|kept| lasts_until(kept, now + RENEW_BEFORE)) {
            return Ok(credentials.clone());
        }
        let Some(provider) = &self.provider else {
            return Err(SignError::Credentials("none are configured".to_owned()));
        };
        let credentials = match (provider.provide_credentials().await, cached.filter(|kept| lasts_until(kept, now))) {
            (Ok(credentials), _) => credentials,
            // They are replaced before their end, and until then they are good.
            (Err(_), Some(kept)) => return Ok(kept),
            (Err(error), None) => return Err(SignError::Credentials(chain(&error))),
        };
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(credentials.clone());
        Ok(credentials)
    }
}

impl SigningKey {
    /// Signs `request` and returns the headers that the caller must add. The signature covers the method, the path, the
    /// query, the body, and these headers: the host, the content type and those of AWS. Headers that a proxy may
    /// change, such as the trace's, are not covered. The path is encoded once more, as all services but S3 require: the
    /// signed text has the ARN of a runtime encoded twice.
    ///
    /// # Errors
    /// Returns an error if the body is a stream, or a header to be signed is no text.
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

/// Returns true if credentials have an end, and that is later than `at`.
fn lasts_until(credentials: &Credentials, at: SystemTime) -> bool {
    credentials.expiry().is_some_and(|end| end > at)
}

/// Returns the host header as HTTP/1.1 sends it: with the port unless it is the scheme's usual one.
fn host(request: &Request) -> String {
    let host = request.url().host_str().unwrap_or_default();
    request.url().port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Returns true if the header `name` is part of the signature: `content-type`, and those that begin with `x-amz` but
/// for the trace's. The host is signed too, but is added apart.
fn is_signed(name: &HeaderName) -> bool {
    name == CONTENT_TYPE || (name.as_str().starts_with("x-amz") && name != "x-amzn-trace-id")
}

/// Shows nothing of the credentials.
impl std::fmt::Debug for SigningKey {
    /// Writes the service and the region, and nothing of the credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}, {})", self.service, self.region)
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::{error::CredentialsError, future};
    use reqwest::Method;

    use super::*;

    const RUNTIME: &str = "https://bedrock-agentcore.eu-west-1.amazonaws.com/runtimes/arn%3Aaws%3Abedrock-agentcore%3Aeu-west-1%3A123456789012%3Aruntime%2Fdemo-1";

    /// Signs at 2026-01-31T07:00:00Z and returns the signed headers and the signature.
    fn signed(
        (service, region, token): (&'static str, &str, Option<&str>),
        url: &str,
        headers: &[(&'static str, &str)],
        body: &'static str,
    ) -> (String, String) {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let credentials = Credentials::new("AKIDEXAMPLE", secret, token.map(str::to_owned), None, "test");
        let key = SigningKey { credentials, region: region.to_owned(), service };
        let mut request = Request::new(Method::POST, url.parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        // What a proxy may change is not signed.
        for name in ["traceparent", "x-amzn-trace-id", "accept"] {
            request.headers_mut().insert(name, "x".parse().unwrap());
        }
        *request.body_mut() = Some(body.into());
        let added = key.sign(&request, SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_842_800)).unwrap();
        assert_eq!(added["x-amz-date"], "20260131T070000Z");
        assert_eq!(added.get("x-amz-security-token").map(|token| token.to_str().unwrap()), token);
        let authorization = added["authorization"].to_str().unwrap();
        let scope = format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260131/{region}/{service}/aws4_request, ");
        let (names, signature) = authorization.strip_prefix(&scope).unwrap().split_once(", ").unwrap();
        let names = names.strip_prefix("SignedHeaders=").unwrap();
        (names.to_owned(), signature.strip_prefix("Signature=").unwrap().to_owned())
    }

    /// The signatures are botocore's, computed with its SigV4Auth (1.44) at the time of 2026-01-31T07:00:00Z:
    ///
    /// ```python
    /// with mock.patch("botocore.auth.get_current_datetime", return_value=datetime(2026, 1, 31, 7)):
    ///     request = AWSRequest("POST", url, data=body, headers=headers)
    ///     SigV4Auth(Credentials("AKIDEXAMPLE", secret, token), service, region).add_auth(request)
    /// print(request.headers["Authorization"])
    /// ```
    #[test]
    fn signatures_are_those_of_botocore() {
        let session = "s".repeat(33);
        let agent = [
            ("content-type", "application/json"),
            ("x-amzn-bedrock-agentcore-runtime-session-id", &session),
            ("x-amzn-bedrock-agentcore-runtime-session-type", "event"),
        ];
        let agentcore = |token| ("bedrock-agentcore", "eu-west-1", token);
        let token = Some("a+token/==");
        let names = "x-amzn-bedrock-agentcore-runtime-session-id;x-amzn-bedrock-agentcore-runtime-session-type";
        assert_eq!(
            signed(agentcore(None), &format!("{RUNTIME}/invocations"), &agent, r#"{"prompt":"hi"}"#),
            (
                format!("content-type;host;x-amz-date;{names}"),
                "556866b4510a440ff615016bfe8287475ae7a74bf69347ce9de5c357253195a1".to_owned()
            )
        );
        assert_eq!(
            signed(agentcore(token), &format!("{RUNTIME}/invocations?qualifier=v1"), &agent, r#"{"prompt":"hi"}"#),
            (
                format!("content-type;host;x-amz-date;x-amz-security-token;{names}"),
                "57dc09b9d75e0f01d4860ee7bd370b09475c939bc29df4d251ff1f6889a505d6".to_owned()
            )
        );
        let stop = format!("{RUNTIME}/stopruntimesession?qualifier=v1&x=a%20b");
        assert_eq!(
            signed(agentcore(token), &stop, &agent[..2], "{}").1,
            "66425c1fb0f801273f892805d25795e356528c1ed26de03c24c9dfc2b7bad1b1"
        );
        let ssm = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "AmazonSSM.GetParameter")];
        assert_eq!(
            signed(("ssm", "us-east-1", None), "http://127.0.0.1:8080/", &ssm, r#"{"Name":"/agents/key"}"#).1,
            "d46a5b1ffcdf04bd815507f93b69dcde349fd7e79f2596be76f9c4ab4bd4f114"
        );
    }

    /// Gives credentials once, and fails after that.
    #[derive(Debug)]
    struct Once(Mutex<Option<Credentials>>);

    impl ProvideCredentials for Once {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let gone = || CredentialsError::provider_error("no answer");
            future::ProvideCredentials::ready(self.0.lock().unwrap().take().ok_or_else(gone))
        }
    }

    #[tokio::test]
    async fn credentials_are_used_to_their_end_if_no_others_are_given() {
        let now = SystemTime::now();
        let minutes = |count: u64| now + Duration::from_secs(60 * count);
        let given = Credentials::new("key", "secret", None, Some(minutes(2)), "test");
        let provider = SharedCredentialsProvider::new(Once(Mutex::new(Some(given))));
        let signer = Signer { provider: Some(provider), cached: Mutex::default() };
        for (at, is_given) in [(0, true), (1, true), (2, false), (3, false)] {
            assert_eq!(signer.credentials(minutes(at)).await.is_ok(), is_given, "{at}");
        }
    }
}
