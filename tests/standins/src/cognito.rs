//! The stand-in for Cognito: the three operations of its API that the function uses, and the token endpoint of its
//! domain.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::net::{ANY_PORT, Server, drop_connection};
pub use crate::oauth::TokenRequest;
use crate::oauth::form;

/// The only user pool.
pub const USER_POOL_ID: &str = "us-east-1_StandIn00";
/// The only client.
pub const CLIENT_ID: &str = "standinclient0000000000000";
/// The only scope the client may ask for.
pub const SCOPE: &str = "agent/invoke";

/// The kinds of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CognitoOperation {
    /// POST /oauth2/token.
    Token,
    /// AWSCognitoIdentityProviderService.GetClientToken.
    GetClientToken,
    /// AWSCognitoIdentityProviderService.DescribeUserPool.
    DescribeUserPool,
    /// AWSCognitoIdentityProviderService.DescribeUserPoolClient.
    DescribeUserPoolClient,
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum TokenAnswer {
    /// The request is checked and answered as Cognito does.
    Ok,
    /// This status, with the error body that belongs to it.
    Status(u16),
    /// Exactly this answer. `{{token}}` in the body becomes a new, valid token.
    Raw {
        /// The HTTP status.
        status: u16,
        /// The content-type header.
        content_type: String,
        /// The body.
        body: String,
    },
    /// No answer for as long as the connection lasts.
    Hang,
    /// The same as `Ok`, after this time.
    Delay(Duration),
    /// The connection is closed without an answer.
    Reset,
}

struct Book {
    secret: String,
    secrets: Vec<String>,
    auth_flows: Vec<String>,
    expires_in: i64,
    domain: Option<String>,
    custom_domain: Option<String>,
    queued: HashMap<CognitoOperation, VecDeque<TokenAnswer>>,
    always: HashMap<CognitoOperation, TokenAnswer>,
    counts: HashMap<CognitoOperation, usize>,
    issued: Vec<String>,
    revoked: usize,
    requests: Vec<TokenRequest>,
}

impl Book {
    fn issue(&mut self) -> String {
        let token = format!("standin-token-{}", uuid::Uuid::new_v4().simple());
        self.issued.push(token.clone());
        token
    }
}

/// The issuer of the tokens. The agent uses it to check a bearer token.
#[derive(Clone)]
pub struct Issuer(Arc<Mutex<Book>>);

impl Issuer {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns true if the token was issued and not revoked.
    pub fn accepts(&self, token: &str) -> bool {
        let book = self.book();
        book.issued[book.revoked..].iter().any(|t| t == token)
    }
}

/// The stand-in for Cognito.
pub struct Cognito {
    state: Issuer,
    server: Server,
}

impl Cognito {
    /// Starts Cognito on a free port.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub async fn start() -> Self {
        Self::bind(ANY_PORT).await.expect("loopback has a free port")
    }

    /// Starts Cognito on `addr`.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let secret = new_secret();
        let state = Issuer(Arc::new(Mutex::new(Book {
            secrets: vec![secret.clone()],
            secret,
            auth_flows: vec!["ALLOW_REFRESH_TOKEN_AUTH".to_owned()],
            expires_in: 3600,
            domain: Some("standin-domain".to_owned()),
            custom_domain: None,
            queued: HashMap::new(),
            always: HashMap::new(),
            counts: HashMap::new(),
            issued: Vec::new(),
            revoked: 0,
            requests: Vec::new(),
        })));
        let router =
            Router::new().route("/", post(api)).route("/oauth2/token", any(token_endpoint)).with_state(state.clone());
        let server = Server::start_http(addr, router).await?;
        Ok(Self { state, server })
    }

    /// Returns `http://127.0.0.1:port`, which is both the API's endpoint and the domain.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Returns the issuer, with which the agent checks bearer tokens.
    pub fn issuer(&self) -> Issuer {
        self.state.clone()
    }

    /// Returns the client secret that is valid now.
    pub fn secret(&self) -> String {
        self.state.book().secret.clone()
    }

    /// Returns every secret there ever was, also in the form of Basic credentials.
    pub fn secrets(&self) -> Vec<String> {
        let book = self.state.book();
        book.secrets.iter().flat_map(|s| [s.clone(), BASE64_STANDARD.encode(format!("{CLIENT_ID}:{s}"))]).collect()
    }

    /// Replaces the client secret. The old one is refused from now on.
    pub fn rotate_secret(&self) -> String {
        let secret = new_secret();
        self.set_secret(&secret);
        secret
    }

    /// Sets the client secret. An empty one makes a client without a secret.
    pub fn set_secret(&self, secret: &str) {
        let mut book = self.state.book();
        book.secret = secret.to_owned();
        if !secret.is_empty() {
            book.secrets.push(secret.to_owned());
        }
    }

    /// Sets the client's ExplicitAuthFlows. With `ALLOW_CLIENT_TOKEN_AUTH`, GetClientToken works.
    pub fn set_auth_flows(&self, flows: &[&str]) {
        self.state.book().auth_flows = flows.iter().map(|flow| (*flow).to_owned()).collect();
    }

    /// Sets the life of tokens issued from now on, in seconds.
    pub fn set_expires_in(&self, seconds: i64) {
        self.state.book().expires_in = seconds;
    }

    /// Sets what DescribeUserPool returns as `Domain` and `CustomDomain` (any string).
    pub fn set_domains(&self, domain: Option<&str>, custom: Option<&str>) {
        let mut book = self.state.book();
        book.domain = domain.map(str::to_owned);
        book.custom_domain = custom.map(str::to_owned);
    }

    /// Revokes the tokens issued so far: the agent no longer accepts them.
    pub fn revoke_tokens(&self) {
        let mut book = self.state.book();
        book.revoked = book.issued.len();
    }

    /// Sets the answers to the next requests of this kind, one after another.
    pub fn answer_next(&self, operation: CognitoOperation, answers: impl IntoIterator<Item = TokenAnswer>) {
        self.state.book().queued.entry(operation).or_default().extend(answers);
    }

    /// Sets the answer to every request of this kind for which none is queued.
    pub fn answer_always(&self, operation: CognitoOperation, answer: TokenAnswer) {
        self.state.book().always.insert(operation, answer);
    }

    /// Returns the number of requests of this kind.
    pub fn count(&self, operation: CognitoOperation) -> usize {
        self.state.book().counts.get(&operation).copied().unwrap_or_default()
    }

    /// Returns every token ever issued.
    pub fn issued_tokens(&self) -> Vec<String> {
        self.state.book().issued.clone()
    }

    /// Returns the requests to the token endpoint.
    pub fn token_requests(&self) -> Vec<TokenRequest> {
        self.state.book().requests.clone()
    }
}

fn new_secret() -> String {
    format!("standin-secret-{}", uuid::Uuid::new_v4().simple())
}

/// Counts the request and plays its planned answer. Returns `None` if the request itself decides the answer.
async fn planned(state: &Issuer, operation: CognitoOperation) -> Option<Response> {
    let answer = {
        let mut book = state.book();
        *book.counts.entry(operation).or_default() += 1;
        let queued = book.queued.get_mut(&operation).and_then(VecDeque::pop_front);
        queued.or_else(|| book.always.get(&operation).cloned()).unwrap_or(TokenAnswer::Ok)
    };
    match answer {
        TokenAnswer::Ok => None,
        TokenAnswer::Status(status) if operation == CognitoOperation::Token => Some(oauth_status(status)),
        TokenAnswer::Status(status) => {
            let name = match status {
                429 => "TooManyRequestsException",
                500.. => "InternalErrorException",
                403 => "ForbiddenException",
                404 => "ResourceNotFoundException",
                _ => "NotAuthorizedException",
            };
            Some(api_error(status, name, "as asked by the test"))
        }
        TokenAnswer::Raw { status, content_type, mut body } => {
            if body.contains("{{token}}") {
                body = body.replace("{{token}}", &state.book().issue());
            }
            Some((code(status), [("content-type", content_type)], body).into_response())
        }
        TokenAnswer::Hang => pending().await,
        TokenAnswer::Delay(time) => {
            tokio::time::sleep(time).await;
            None
        }
        TokenAnswer::Reset => Some(drop_connection()),
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn oauth_status(status: u16) -> Response {
    match status {
        400 | 401 => oauth_error(code(status), "invalid_client"),
        429 => (code(429), "Too Many Requests").into_response(),
        _ => (code(status), axum::Json(json!({"error": "server_error"}))).into_response(),
    }
}

fn oauth_error(status: StatusCode, error: &str) -> Response {
    (status, [("cache-control", "no-store")], axum::Json(json!({"error": error}))).into_response()
}

async fn token_endpoint(
    State(state): State<Issuer>,
    method: axum::http::Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let request = TokenRequest {
        authorization: header("authorization"),
        content_type: header("content-type"),
        form: form(&String::from_utf8_lossy(&body)),
    };
    state.book().requests.push(request.clone());
    if let Some(response) = planned(&state, CognitoOperation::Token).await {
        return response;
    }
    if method != axum::http::Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let mut book = state.book();
    match request.check(&book.secret) {
        Err(error) => oauth_error(StatusCode::BAD_REQUEST, error),
        Ok(()) => {
            let (access_token, expires_in) = (book.issue(), book.expires_in);
            let token = json!({"access_token": access_token, "expires_in": expires_in, "token_type": "Bearer"});
            ([("cache-control", "no-store")], axum::Json(token)).into_response()
        }
    }
}

fn api_error(status: u16, name: &str, message: &str) -> Response {
    let content_type = [("content-type", "application/x-amz-json-1.1"), ("x-amzn-errortype", name)];
    (code(status), content_type, json!({"__type": name, "message": message}).to_string()).into_response()
}

fn api_ok(body: &Value) -> Response {
    ([("content-type", "application/x-amz-json-1.1")], body.to_string()).into_response()
}

async fn api(State(state): State<Issuer>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let operation = match target.strip_prefix("AWSCognitoIdentityProviderService.") {
        Some("GetClientToken") => CognitoOperation::GetClientToken,
        Some("DescribeUserPool") => CognitoOperation::DescribeUserPool,
        Some("DescribeUserPoolClient") => CognitoOperation::DescribeUserPoolClient,
        _ => return api_error(400, "UnknownOperationException", "not an operation of this stand-in"),
    };
    if let Some(response) = planned(&state, operation).await {
        return response;
    }
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return api_error(400, "SerializationException", "not JSON");
    };
    let mut book = state.book();
    let pool_known = operation == CognitoOperation::GetClientToken || request["UserPoolId"] == USER_POOL_ID;
    let client_known = operation == CognitoOperation::DescribeUserPool || request["ClientId"] == CLIENT_ID;
    if !pool_known || !client_known {
        return api_error(400, "ResourceNotFoundException", "no such user pool or client");
    }
    match operation {
        CognitoOperation::DescribeUserPool => {
            let mut pool = json!({"Id": USER_POOL_ID, "Name": "stand-in"});
            for (name, domain) in [("Domain", &book.domain), ("CustomDomain", &book.custom_domain)] {
                if let Some(domain) = domain {
                    pool[name] = domain.as_str().into();
                }
            }
            api_ok(&json!({"UserPool": pool}))
        }
        CognitoOperation::DescribeUserPoolClient => {
            let mut client = json!({"UserPoolId": USER_POOL_ID, "ClientId": CLIENT_ID, "ClientName": "stand-in",
                "ExplicitAuthFlows": book.auth_flows, "AllowedOAuthFlows": ["client_credentials"],
                "AllowedOAuthScopes": [SCOPE], "AllowedOAuthFlowsUserPoolClient": true});
            if !book.secret.is_empty() {
                client["ClientSecret"] = book.secret.as_str().into();
            }
            api_ok(&json!({"UserPoolClient": client}))
        }
        CognitoOperation::GetClientToken | CognitoOperation::Token => {
            if !book.auth_flows.iter().any(|flow| flow == "ALLOW_CLIENT_TOKEN_AUTH") {
                return api_error(400, "OperationNotEnabledException", "the client does not allow it");
            }
            if request["Secret"] != book.secret.as_str() {
                return api_error(400, "NotAuthorizedException", "wrong secret");
            }
            let scopes = request["Scopes"].as_array().cloned().unwrap_or_default();
            if scopes.iter().any(|scope| scope != SCOPE) {
                return api_error(400, "InvalidParameterException", "unknown scope");
            }
            let (token, expires_in) = (book.issue(), book.expires_in);
            let result = json!({"AccessToken": token, "ExpiresIn": expires_in, "TokenType": "Bearer"});
            api_ok(&json!({"ClientAuthenticationResult": result}))
        }
    }
}
