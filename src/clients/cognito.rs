//! Tokens of the machine user, from Cognito's client-credentials grant (RFC 6749 §4.4): discovered, cached and shared.
//! <https://docs.aws.amazon.com/cognito/latest/developerguide/token-endpoint.html>

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use aws_sdk_cognitoidentityprovider::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::UserPoolClientType,
};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use crate::domain::failure::{ErrorType, Failure};
use crate::{
    backoff,
    config::{Config, Secret, token_endpoint},
    error_chain::{causes, chain},
    json::fields::whole_number,
};

/// The time limit of one try of any request to Cognito.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest life that is believed. Cognito's access tokens live at most a day, so a longer life is a mistake.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// The flow of an app client whose tokens come from GetClientToken. The SDK has no name for it yet.
const CLIENT_TOKEN_FLOW: &str = "ALLOW_CLIENT_TOKEN_AUTH";

/// The reason why there is no token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// Cognito refused, and would refuse again.
    #[error("Cognito refused: {0}")]
    Refused(String),
    /// Cognito says that the client's id or secret is wrong.
    #[error("Cognito refused: invalid_client")]
    InvalidClient,
    /// Cognito was unreachable, busy or failing, or its answer made no sense.
    #[error("Cognito did not give a token: {0}")]
    Transient(String),
}

impl TokenError {
    /// Returns true if a later attempt may get a token. A wrong client secret is not transient. A discovered one has
    /// been read anew by then.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }
}

/// The source of tokens, one for the process.
#[derive(Debug)]
pub struct TokenSource(Arc<Source>);

#[derive(Debug)]
struct Source {
    http: reqwest::Client,
    aws: aws_config::SdkConfig,
    cognito: OnceLock<Client>,
    config: Config,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    client: Option<MachineClient>,
    token: Option<Cached>,
    /// The request that concurrent callers share. It goes on while any caller waits. The caller that began it may leave
    /// first: a duplicate leaves as soon as it knows that it is one.
    under_way: Option<WeakShared<Fetch>>,
}

type Fetch = BoxFuture<'static, Result<Secret, TokenError>>;

/// The app client, as configured, or as discovered once for the process.
#[derive(Debug, Clone)]
struct MachineClient {
    secret: Secret,
    /// True if the secret was discovered and so may be out of date. A configured secret is used as it is.
    is_discovered: bool,
    /// The token endpoint, or `None` if GetClientToken is used instead.
    endpoint: Option<Url>,
}

#[derive(Debug)]
struct Cached {
    token: Secret,
    /// The time of the next refresh by the wall clock, because the monotonic clock may stand still in a frozen
    /// environment.
    refresh_at: SystemTime,
}

/// The token endpoint's success response, RFC 6749 §5.1.
#[derive(Deserialize)]
struct TokenResponse {
    access_token: Option<String>,
    /// In seconds. Some servers write it as a text, or as `3600.0`.
    expires_in: Option<Value>,
}

/// The token endpoint's error response, RFC 6749 §5.2.
#[derive(Deserialize)]
struct ErrorResponse {
    error: String,
}

impl TokenSource {
    /// Creates the source. It makes no request until the first token is needed.
    pub fn new(config: Config, http: reqwest::Client, aws: &aws_config::SdkConfig) -> Self {
        Self(Arc::new(Source { http, aws: aws.clone(), cognito: OnceLock::new(), config, state: Mutex::default() }))
    }

    /// Returns a token, from the cache while it is younger than 75 % of its life. Concurrent callers share one request,
    /// which goes on while one of them waits for it. The agent may refuse the token all the same: the caller says so by
    /// [`TokenSource::forget`].
    ///
    /// # Errors
    /// Returns an error if Cognito refuses, or if three tries fail. A try is one request of at most 5 s, or up to three
    /// such requests if the client must be discovered. If a discovered secret is wrong, there are three more tries with
    /// one that is discovered anew.
    pub async fn token(&self) -> Result<Secret, TokenError> {
        let fetch = {
            let mut state = self.0.state();
            if let Some(cached) = state.token.as_ref().filter(|cached| SystemTime::now() < cached.refresh_at) {
                return Ok(cached.token.clone());
            }
            let under_way = state.under_way.as_ref().and_then(WeakShared::upgrade);
            // A request that has ended answers only the callers that waited for it, not later ones.
            under_way.filter(|fetch| fetch.peek().is_none()).unwrap_or_else(|| {
                let source = Arc::clone(&self.0);
                let fetch: Shared<Fetch> = async move { source.fetch().await }.boxed().shared();
                state.under_way = fetch.downgrade();
                fetch
            })
        };
        fetch.await
    }

    /// Removes `token` from the cache after the agent refused it, unless a newer one is cached already.
    pub fn forget(&self, token: &Secret) {
        self.0.state().token.take_if(|cached| cached.token == *token);
    }
}

impl Source {
    /// Locks the state. The lock is never held across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets a token with retries and caches it until 75 % of its life are over. The cache is not read. If Cognito calls
    /// the client's secret wrong and it had been discovered, it is discovered anew once, with three more tries: it was
    /// rotated. A configured secret is never replaced. A life of more than a day is taken for a day. A token without a
    /// life is returned, and the cache is empty then.
    ///
    /// # Errors
    /// Returns the errors of [`TokenSource::token`].
    async fn fetch(&self) -> Result<Secret, TokenError> {
        let mut fetched = self.with_retries().await;
        if matches!(fetched, Err(TokenError::InvalidClient))
            && self.state().client.take_if(|client| client.is_discovered).is_some()
        {
            // The secret was rotated after it was discovered.
            fetched = self.with_retries().await;
        }
        let (token, life) = fetched?;
        let life = life.min(LONGEST_LIFE);
        // A token without a stated life is used once.
        self.state().token = (!life.is_zero())
            .then(|| Cached { token: token.clone(), refresh_at: SystemTime::now() + life.mul_f64(0.75) });
        Ok(token)
    }

    /// Gets a token and its life in at most three tries. Only transient errors are tried again.
    async fn with_retries(&self) -> Result<(Secret, Duration), TokenError> {
        let mut waits = backoff::waits();
        loop {
            let error = match self.try_once().await {
                Err(error) if error.is_transient() => error,
                result => return result,
            };
            let Some(wait) = waits.next() else { return Err(error) };
            tracing::warn!(error = %error, "no token yet, trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Gets a token and its life in one try. The try includes the discovery of the client if it is not known. A client
    /// that was discovered is kept even if the token fails.
    async fn try_once(&self) -> Result<(Secret, Duration), TokenError> {
        let known = self.state().client.clone();
        let client = match known {
            Some(client) => client,
            None => {
                let client = self.discover().await?;
                self.state().client.insert(client).clone()
            }
        };
        match &client.endpoint {
            Some(endpoint) => self.request_token(endpoint, &client.secret).await,
            None => self.get_client_token(&client.secret).await,
        }
    }

    /// Finds out the client's secret and where its tokens come from. Configured values are used as they are, and a
    /// configured secret always means the token endpoint. If a discovered client has the flow of GetClientToken, this
    /// is used, even if an endpoint is configured.
    ///
    /// # Errors
    /// Returns `Refused` if the client has no secret or the user pool no usable domain. Errors of the requests are as
    /// [`cognito_error`] has them.
    async fn discover(&self) -> Result<MachineClient, TokenError> {
        let (secret, is_discovered, has_token_flow) = match &self.config.client_secret {
            Some(secret) => (secret.clone(), false, false),
            None => {
                let client = self.describe_client().await?;
                let has_token_flow = client.explicit_auth_flows().iter().any(|flow| flow.as_str() == CLIENT_TOKEN_FLOW);
                let secret = client.client_secret.ok_or_else(|| {
                    TokenError::Refused(format!(
                        "the app client {} has no secret, so it cannot use the client-credentials grant",
                        self.config.client_id
                    ))
                })?;
                (Secret::new(secret), true, has_token_flow)
            }
        };
        let endpoint = match (&self.config.token_endpoint, has_token_flow) {
            (_, true) => None,
            (Some(endpoint), false) => Some(endpoint.clone()),
            (None, false) => Some(self.describe_endpoint().await?),
        };
        Ok(MachineClient { secret, is_discovered, endpoint })
    }

    /// Returns the SDK's client. It is built at its first use: a start does not need it, and neither does a function
    /// whose settings hold the secret and the domain.
    fn cognito(&self) -> &Client {
        self.cognito.get_or_init(|| {
            let config = aws_sdk_cognitoidentityprovider::config::Builder::from(&self.aws)
                .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(TRY_TIMEOUT).build())
                // Tries are counted here, in one place for both ways to get a token.
                .retry_config(RetryConfig::disabled())
                .build();
            Client::from_conf(config)
        })
    }

    /// Reads the app client in one try.
    ///
    /// # Errors
    /// As [`cognito_error`] has them. `Transient` if the answer holds no client.
    async fn describe_client(&self) -> Result<UserPoolClientType, TokenError> {
        let request = self.cognito().describe_user_pool_client();
        let request = request.user_pool_id(&self.config.user_pool_id).client_id(&self.config.client_id);
        let output = request.send().await.map_err(|error| cognito_error("DescribeUserPoolClient", &error))?;
        output.user_pool_client.ok_or_else(|| TokenError::Transient("DescribeUserPoolClient says nothing".to_owned()))
    }

    /// Finds the token endpoint by the user pool's domain, in one try. A custom domain is preferred to a domain at
    /// Cognito.
    ///
    /// # Errors
    /// Returns `Refused` if the pool has no domain, or one that is no host. Returns `Transient` if the answer holds no
    /// pool. Errors of the request are as [`cognito_error`] has them.
    async fn describe_endpoint(&self) -> Result<Url, TokenError> {
        let request = self.cognito().describe_user_pool().user_pool_id(&self.config.user_pool_id);
        let output = request.send().await.map_err(|error| cognito_error("DescribeUserPool", &error))?;
        let pool = output.user_pool.ok_or_else(|| TokenError::Transient("DescribeUserPool says nothing".to_owned()))?;
        let named = |domain: Option<String>| domain.filter(|domain| !domain.is_empty());
        let prefix = |domain: String| prefix_host(&domain, &self.config.region);
        let domain = named(pool.custom_domain).or_else(|| named(pool.domain).map(prefix)).ok_or_else(|| {
            TokenError::Refused(format!("the user pool {} has no domain; give it one", self.config.user_pool_id))
        })?;
        token_endpoint(&domain).map_err(|problem| TokenError::Refused(format!("the user pool's domain {problem}")))
    }

    /// Requests a token from the token endpoint in one try of at most 5 s. Without a configured scope the token has all
    /// scopes that the client may have. Returns the token and its life, which is zero if the answer does not say it.
    ///
    /// # Errors
    /// Returns `Transient` if no answer came in time, and otherwise as [`token_response`] reads it.
    async fn request_token(&self, endpoint: &Url, secret: &Secret) -> Result<(Secret, Duration), TokenError> {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.config.scope.as_deref().map(|scope| ("scope", scope)));
        let request =
            self.http.post(endpoint.clone()).basic_auth(&self.config.client_id, Some(secret.expose())).form(&form);
        // The body is part of the try, because a server may answer the head and then hang.
        let answer = tokio::time::timeout(TRY_TIMEOUT, async {
            let response = request.send().await?;
            Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
        });
        let (status, body) = match answer.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(TokenError::Transient(chain(&error.without_url()))),
            Err(_) => return Err(TokenError::Transient(format!("no answer within {} s", TRY_TIMEOUT.as_secs()))),
        };
        token_response(status, &body)
    }

    /// Gets a token with GetClientToken in one try. Returns it with its life, which is zero if the answer does not say
    /// it.
    /// <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_GetClientToken.html>
    ///
    /// # Errors
    /// Returns `InvalidClient` if Cognito says that the client is not authorised. Returns `Transient` if the answer
    /// holds no token. Otherwise as [`cognito_error`] has it.
    async fn get_client_token(&self, secret: &Secret) -> Result<(Secret, Duration), TokenError> {
        let scopes = self.config.scope.as_ref().map(|scope| scope.split_whitespace().map(str::to_owned).collect());
        let request = self.cognito().get_client_token().client_id(&self.config.client_id).secret(secret.expose());
        let output =
            request.set_scopes(scopes).send().await.map_err(|error| match cognito_error("GetClientToken", &error) {
                TokenError::Refused(_) if error.code() == Some("NotAuthorizedException") => TokenError::InvalidClient,
                other => other,
            })?;
        let result = output.client_authentication_result;
        let life = result.as_ref().and_then(|result| u64::try_from(result.expires_in).ok()).unwrap_or_default();
        match result.and_then(|result| result.access_token).filter(|token| !token.is_empty()) {
            Some(token) => Ok((Secret::new(token), Duration::from_secs(life))),
            None => Err(TokenError::Transient("GetClientToken's answer holds no access token".to_owned())),
        }
    }
}

/// Reads the token endpoint's answer: the token and its life. A life that is missing or no whole number of seconds is
/// zero. It may be written as a text. From an error only the known codes of RFC 6749 are repeated, because descriptions
/// are free text. Without one the status stands in its place.
///
/// # Errors
/// Returns `Transient` for 429, 5xx, any success other than 200, and a 200 without a token. Returns `InvalidClient` for
/// the code `invalid_client`. Returns `Refused` for everything else, redirects included.
fn token_response(status: StatusCode, body: &[u8]) -> Result<(Secret, Duration), TokenError> {
    if status == StatusCode::OK {
        let response: Option<TokenResponse> = serde_json::from_slice(body).ok();
        let life = response.as_ref().and_then(|response| whole_number(response.expires_in.as_ref()?));
        let life = Duration::from_secs(life.unwrap_or_default());
        return match response.and_then(|response| response.access_token).filter(|token| !token.is_empty()) {
            Some(token) => Ok((Secret::new(token), life)),
            None => Err(TokenError::Transient("the token endpoint's answer holds no access token".to_owned())),
        };
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status.is_success() {
        return Err(TokenError::Transient(format!("the token endpoint answered {status}")));
    }
    let code = serde_json::from_slice::<ErrorResponse>(body).map(|response| response.error).unwrap_or_default();
    // RFC 6749 §5.2 and Cognito define these codes. Any other text is not repeated.
    const CODES: [&str; 5] =
        ["invalid_request", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"];
    Err(match CODES.into_iter().find(|known| *known == code) {
        _ if code == "invalid_client" => TokenError::InvalidClient,
        Some(code) => TokenError::Refused(format!("{code} (the token endpoint answered {status})")),
        None => TokenError::Refused(format!("the token endpoint answered {status}")),
    })
}

/// The codes of throttling, which AWS also answers with 400.
const THROTTLING: [&str; 4] = ["TooManyRequestsException", "ThrottlingException", "Throttling", "RequestLimitExceeded"];

/// Classifies an error of the SDK. Throttling, 429, 5xx and a request without a readable answer are transient, all
/// others are refusals. An error of Cognito is repeated by its code alone.
fn cognito_error<E>(operation: &str, error: &SdkError<E>) -> TokenError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let SdkError::ServiceError(service) = error else {
        let cause = causes(error);
        return TokenError::Transient(format!("{operation} got no answer: {cause}"));
    };
    let code = error.code().unwrap_or("unknown error");
    let status = service.raw().status();
    if status.is_server_error() || status.as_u16() == 429 || THROTTLING.contains(&code) {
        TokenError::Transient(format!("{operation} failed: {code}"))
    } else {
        TokenError::Refused(format!("{operation} failed: {code}"))
    }
}

impl From<TokenError> for Failure {
    /// Returns a failure `AuthenticationFailed`, which is retryable if the error is transient.
    fn from(error: TokenError) -> Self {
        let retryable = error.is_transient();
        Self { retryable, ..Self::fatal(ErrorType::AuthenticationFailed, chain(&error)) }
    }
}

/// Returns the host of a user pool's prefix domain: the prefix, `auth`, the region and `amazoncognito.com`. AWS
/// GovCloud (US) has only FIPS endpoints for them
/// (<https://docs.aws.amazon.com/govcloud-us/latest/UserGuide/govcloud-cog.html>), so there it is `auth-fips`.
fn prefix_host(domain: &str, region: &str) -> String {
    let auth = if region.starts_with("us-gov-") { "auth-fips" } else { "auth" };
    format!("{domain}.{auth}.{region}.amazoncognito.com")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_stands_in_its_regions_host() {
        assert_eq!(prefix_host("a", "eu-west-1"), "a.auth.eu-west-1.amazoncognito.com");
        assert_eq!(prefix_host("a", "us-gov-west-1"), "a.auth-fips.us-gov-west-1.amazoncognito.com");
    }

    #[test]
    fn the_token_endpoints_answers() {
        let ok = |body: &str| token_response(StatusCode::OK, body.as_bytes());
        let (token, life) = ok(r#"{"access_token":"t","expires_in":3600,"token_type":"Bearer"}"#).unwrap();
        assert_eq!((token.expose(), life.as_secs()), ("t", 3600));
        assert_eq!(ok(r#"{"access_token":"t"}"#).unwrap().1, Duration::ZERO);
        assert_eq!(ok(r#"{"access_token":"t","expires_in":0}"#).unwrap().1, Duration::ZERO);
        for spelling in [r#""3600""#, "3600.0", r#""3600.0""#, "3.6e3"] {
            let (token, life) = ok(&format!(r#"{{"access_token":"t","expires_in":{spelling}}}"#)).unwrap();
            assert_eq!((token.expose(), life.as_secs()), ("t", 3600), "{spelling}");
        }
        for unknown in [r#""soon""#, "-1", "0.5", "null", "[3600]"] {
            let body = format!(r#"{{"access_token":"t","expires_in":{unknown}}}"#);
            assert_eq!(ok(&body).unwrap().1, Duration::ZERO, "{unknown}");
        }
        for nonsense in ["<html>", "{}", r#"{"access_token":""}"#, r#"{"access_token":7}"#, ""] {
            assert!(ok(nonsense).unwrap_err().is_transient(), "{nonsense}");
        }
        for (status, body, transient, text) in [
            (400, r#"{"error":"invalid_client"}"#, false, "invalid_client"),
            (401, r#"{"error":"invalid_client"}"#, false, "invalid_client"),
            (400, r#"{"error":"invalid_scope"}"#, false, "invalid_scope"),
            (400, r#"{"error":"something private"}"#, false, "400 Bad Request"),
            (403, "<html>", false, "403 Forbidden"),
            (302, "", false, "302 Found"),
            (429, "", true, "429"),
            (500, "", true, "500"),
            (503, r#"{"error":"invalid_client"}"#, true, "503"),
        ] {
            let error = token_response(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap_err();
            assert_eq!(error.is_transient(), transient, "{status} {body}");
            assert!(error.to_string().contains(text), "{error}");
            assert!(!error.to_string().contains("private"));
        }
    }
}
