//! Requests to the control plane: to its address, or to its router in this process, which then works on the table with
//! the caller's own AWS credentials.

use std::{collections::HashMap, sync::Arc, time::Duration};

use agent_trigger::clients::{
    http::{AwsClient, Clients},
    lambda::{self, Dispatcher},
};
use agent_trigger::{error_chain::chain, json::surrogate};
use agent_trigger_api::{
    api::Api,
    auth::{Claims, TARGET_USER},
    clients::{scheduler::Scheduler, ssm::SecretStore},
    router,
    settings::Settings,
    store::Items,
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use axum::{Router, body::Body};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use serde_json::Value;
use tower::ServiceExt;

use crate::called;
use crate::causes;
use crate::needs::{self, Needs};

/// The longest time of one request. API Gateway gives up after 30 s.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of an answer that are read.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
/// The permissions of which one is missing if Scheduler denies access.
const PERMISSIONS: &str = "; it takes scheduler:GetSchedule, CreateSchedule, UpdateSchedule and DeleteSchedule, and \
                           iam:PassRole for SCHEDULER_ROLE_ARN";

/// The way to the control plane.
pub(crate) enum Requests {
    /// Its address, the bearer token if there is one, and the user for whom a token without a user acts.
    Http { client: reqwest::Client, base: Url, token: Option<HeaderValue>, target: Option<HeaderValue> },
    /// Its router in this process.
    Here(Router),
}

/// The control plane's answer: the status and the body, and the cause of a failure if the control plane runs here.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    cause: Option<String>,
}

/// An error of a request.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no answer, so it is unknown whether the request was carried out.
    NoAnswer(String),
    /// The request cannot be sent, or the answer is none of a control plane.
    Other(String),
}

/// Returns true if it is unknown whether a request was carried out: its answer is lost, or says that a service failed.
pub(crate) fn is_unsure(answer: &Result<Answer, Failure>) -> bool {
    match answer {
        Ok(answer) => answer.status.is_server_error(),
        Err(failure) => matches!(failure, Failure::NoAnswer(_)),
    }
}

/// Returns the body of a success of a request that starts an execution. A second request would start another, so it is
/// not repeated.
///
/// # Errors
/// In the control plane's own words, and with what to look for if one may have been started.
pub(crate) fn started(answer: Result<Answer, Failure>) -> Result<Value, String> {
    let advice = match is_unsure(&answer) {
        true => format!("; it may have been started: look with {} list first", called::name()),
        false => String::new(),
    };
    answer.map_err(String::from).and_then(Answer::done).map_err(|error| format!("{error}{advice}"))
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        let (Failure::NoAnswer(message) | Failure::Other(message)) = failure;
        message
    }
}

impl Requests {
    /// Returns the way to an address. A token is sent to https, or to this machine, alone. `user` goes into
    /// [`TARGET_USER`]: a token without a user acts for that one.
    ///
    /// # Errors
    /// If the address is no such URL, or the token no text of a header.
    pub(crate) fn to(address: &str, token: Option<String>, user: Option<&str>) -> Result<Self, String> {
        let wrong = || "that is not the address of a control plane: it takes https, or http on loopback".to_owned();
        let base = Url::parse(address.trim()).map_err(|_| wrong())?;
        let is_near = crate::source::is_loopback(&base);
        if !(base.scheme() == "https" || base.scheme() == "http" && is_near) || !base.has_host() {
            return Err(wrong());
        }
        // None of them is repeated: each may hold a key.
        let has_user = !base.username().is_empty() || base.password().is_some();
        let part = match (base.fragment(), base.query()) {
            (Some(_), _) => Some("fragment (#…); the key of a link goes into AGENT_TRIGGER_TOKEN"),
            (None, Some(_)) => Some("query (?…)"),
            (None, None) if has_user => Some("user or password"),
            (None, None) => None,
        };
        if let Some(part) = part {
            return Err(format!("the address of a control plane has no {part}"));
        }
        let token = token.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
                .map_err(|_| "AGENT_TRIGGER_TOKEN is no token: it holds control characters")?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        });
        let target = user.map(|user| HeaderValue::from_str(user).map_err(|_| "--user is no id of a user".to_owned()));
        // What goes to this machine unencrypted must not go through a proxy.
        let clients = if is_near { Clients::direct(bundle().as_deref()) } else { Clients::new(bundle().as_deref()) };
        Ok(Self::Http { client: clients?.aws, base, token: token.transpose()?, target: target.transpose()? })
    }

    /// Makes sure that requests act for this user. A token of a user acts for that user alone; only one without a user
    /// can act for others.
    ///
    /// # Errors
    /// If they act for another user, or the control plane does not say for whom.
    pub(crate) async fn acts_for(&self, user: &str) -> Result<(), String> {
        if matches!(self, Self::Here(_)) {
            return Ok(());
        }
        let answer = self.done(None, Method::GET, "/events", None).await?;
        match answer["metadata"]["userId"].as_str() {
            Some(own) if own == user => Ok(()),
            Some(own) => Err(format!("the token is that of {own}, and opens nothing of {user}")),
            None => Err(format!("the control plane does not say that the token opens what {user} has")),
        }
    }

    /// Returns the router in this process, for this table, with the credentials and the region of `aws`. `set` looks a
    /// setting up.
    ///
    /// # Errors
    /// Names every setting that the command needs and that is missing or malformed, or `AWS_CA_BUNDLE` if it is
    /// unusable.
    pub(crate) fn here(
        aws: &SdkConfig,
        table: &str,
        needs: Needs,
        set: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        // As in SdkHttp, no proxy sees what goes to this machine.
        let is_near = lambda::endpoint(aws).is_ok_and(|url| crate::source::is_loopback(&url));
        let clients = if is_near { Clients::direct(bundle().as_deref()) } else { Clients::new(bundle().as_deref()) };
        Self::within(aws, clients?.aws, table, needs, set)
    }

    /// Returns the router in this process. What starts an execution goes through `http`.
    ///
    /// # Errors
    /// Names every setting that the command needs and that is missing or malformed.
    fn within(
        aws: &SdkConfig,
        http: AwsClient,
        table: &str,
        needs: Needs,
        set: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        causes::keep();
        let region = aws.region().map(ToString::to_string).unwrap_or_default();
        let given = |name: &str| set(name).filter(|value| !value.trim().is_empty());
        if let Some(problem) = needs.missing(given) {
            return Err(problem);
        }
        let settings = Settings::from_lookup(|name| match name {
            "TRIGGERS_TABLE_NAME" => Some(table.to_owned()),
            "AWS_REGION" => Some(region.clone()),
            // The port is another program's.
            "LOCAL_PORT" | "LOGIN_DOMAIN" => None,
            name => needs::setting(name, given),
        });
        let settings = settings.map_err(|error| error.to_string())?;
        let api = Api {
            items: Items::new(aws, table.to_owned()),
            scheduler: Scheduler::new(aws, &settings),
            secrets: SecretStore::of_settings(aws, &settings),
            dispatcher: Dispatcher::new(aws, http),
            settings,
        };
        Ok(Self::Here(router::routes(Arc::new(api))))
    }

    /// Returns the router in this process without a table: for checks alone.
    ///
    /// # Errors
    /// Names every setting that is malformed.
    pub(crate) fn nowhere(set: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        // What the environment says of AWS is not read, because none of it is called.
        let aws = SdkConfig::builder().behavior_version(BehaviorVersion::latest());
        let set = |name: &str| needs::nowhere(name).or_else(|| set(name));
        let aws = aws.region(Region::from_static("us-east-1")).build();
        Self::within(&aws, Clients::aws_alone(None)?, "none", Needs::Table, set)
    }

    /// Sends a request as `user`, where the control plane runs here. At an address the token says who calls.
    ///
    /// # Errors
    /// If there is no answer, or none of a control plane, or if `user` is missing where the control plane runs here.
    pub(crate) async fn send(
        &self,
        user: Option<&str>,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, Failure> {
        let body = body.map(surrogate::to_json);
        let (status, bytes, cause) = match self {
            Self::Http { client, base, token, target } => {
                let url = format!("{}{path}", base.as_str().trim_end_matches('/'));
                let mut request = client.request(method, url).timeout(TIMEOUT);
                for (name, value) in [(header::AUTHORIZATION.as_str(), token), (TARGET_USER, target)] {
                    request = value.iter().fold(request, |request, value| request.header(name, (*value).clone()));
                }
                request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
                if let Some(body) = body {
                    request = request.header(header::CONTENT_TYPE, "application/json").body(body);
                }
                let (status, bytes) = received(request, base).await?;
                (status, bytes, None)
            }
            Self::Here(router) => {
                let user = user.ok_or_else(|| Failure::Other("whose trigger is it? Give --user ID".to_owned()))?;
                let request = Request::builder().method(method).uri(path);
                let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
                let request = request.header(header::CONTENT_TYPE, "application/json").extension(claims(user));
                let request = request.body(body.map_or_else(Body::empty, Body::from));
                let request = request.map_err(|error| Failure::Other(error.to_string()))?;
                causes::forget();
                let Ok(response) = router.clone().oneshot(request).await;
                let (parts, body) = response.into_parts();
                let body = body.collect().await.map_err(|error| Failure::Other(error.to_string()))?;
                (parts.status, body.to_bytes().to_vec(), causes::last())
            }
        };
        if bytes.is_empty() {
            return Ok(Answer { status, body: Value::Null, cause });
        }
        let body = serde_json::from_slice(&bytes).map_err(|_| {
            let message = format!("the answer ({status}) is not JSON: is this the address of a control plane?");
            // A body that a gateway made says nothing of what became of the request.
            if status.is_server_error() { Failure::NoAnswer(message) } else { Failure::Other(message) }
        })?;
        Ok(Answer { status, body, cause })
    }

    /// Sends a request and returns the body of a success.
    ///
    /// # Errors
    /// Returns a message that says what went wrong if there is no answer, none of a control plane, or a refusal.
    pub(crate) async fn done(
        &self,
        user: Option<&str>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        self.send(user, method, path, body, &[]).await?.done()
    }
}

/// Sends a request and reads the answer, up to [`LARGEST_ANSWER`].
async fn received(request: reqwest::RequestBuilder, base: &Url) -> Result<(StatusCode, Vec<u8>), Failure> {
    let lost = |error: reqwest::Error| {
        let message = format!("no answer from {base}: {}", chain(&error.without_url()));
        Failure::NoAnswer(message)
    };
    let mut response = request.send().await.map_err(lost)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST_ANSWER {
            return Err(Failure::Other(format!("{base} is no control plane: its answer is too large")));
        }
    }
    Ok((response.status(), bytes))
}

impl Answer {
    /// Returns the body of a success (any status 2xx), which is null if it was empty.
    ///
    /// # Errors
    /// Returns [`Self::refusal`] for any other status.
    pub(crate) fn done(self) -> Result<Value, String> {
        if self.status.is_success() { Ok(self.body) } else { Err(self.refusal()) }
    }

    /// Words which version a failed save has made all the same: a file with this `version` completes it. Returns an
    /// empty text if it made none.
    fn half_saved(&self) -> String {
        let details = &self.body["details"];
        match (details["triggerId"].as_str(), details["version"].as_u64()) {
            (Some(id), Some(version)) => {
                format!(
                    "; trigger {} is saved as version {version}, its schedule or webhook is not",
                    crate::words::one_line(id)
                )
            }
            _ => String::new(),
        }
    }

    /// Returns a refusal as a message for the user: the control plane's `message`, and beside it the status, the cause
    /// if the control plane runs here, what to do about it, or the version that was saved all the same.
    pub(crate) fn refusal(&self) -> String {
        let said = self.body.get("message").and_then(Value::as_str).unwrap_or("without a reason");
        let cause = self.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
        // The control plane drops Scheduler's words, because they hold the trigger's id and its log must not.
        let missing = if self.status == StatusCode::BAD_GATEWAY && self.cause.is_some() { PERMISSIONS } else { "" };
        match self.status {
            StatusCode::UNAUTHORIZED => {
                format!("{said}: set AGENT_TRIGGER_TOKEN to an access token that the control plane accepts")
            }
            StatusCode::PRECONDITION_FAILED => {
                format!("{said} (412); read the trigger again, or leave `version` out to merge into what is there")
            }
            status => format!("{said} ({}){cause}{missing}{}", status.as_u16(), self.half_saved()),
        }
    }
}

/// Returns the path of the PEM file of further roots.
pub(crate) fn bundle() -> Option<String> {
    std::env::var("AWS_CA_BUNDLE").ok().filter(|path| !path.is_empty())
}

/// Returns the claims of a token of this user, as the authorizer would hand them on.
fn claims(user: &str) -> Claims {
    let names = [("sub", user), ("username", "cli"), ("client_id", "cli"), ("token_use", "access")];
    Claims(names.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect::<HashMap<_, _>>())
}

/// Returns a text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_go_to_https_or_to_this_machine() {
        for (address, is_taken) in [
            ("https://abc.execute-api.eu-central-1.amazonaws.com", true),
            ("http://127.0.0.1:9010", true),
            ("http://localhost:9010/v1", true),
            ("http://example.com", false),
            ("ftp://127.0.0.1", false),
            ("example.com", false),
        ] {
            assert_eq!(Requests::to(address, None, None).is_ok(), is_taken, "{address}");
        }
    }

    #[test]
    fn an_address_with_a_key_is_refused_and_not_repeated() {
        for (address, word) in [
            ("http://127.0.0.1:9010/#key=secret", "fragment"),
            ("http://127.0.0.1:9010/?key=secret", "query"),
            ("http://secret@127.0.0.1:9010", "user"),
            ("http://127.0.0.1:99999/#key=secret", "address"),
        ] {
            let error = Requests::to(address, None, None).err().unwrap();
            assert!(error.contains(word) && !error.contains("secret"), "{address}: {error}");
        }
        let error = Requests::to("http://127.0.0.1", Some("a\rsecret".to_owned()), None).err().unwrap();
        assert!(error.contains("AGENT_TRIGGER_TOKEN") && !error.contains("secret"), "{error}");
        assert!(Requests::to("http://127.0.0.1", Some("secret\r\n".to_owned()), None).is_ok());
    }

    #[test]
    fn a_save_that_is_half_done_names_the_version_that_it_made() {
        let refusal = |body| Answer { status: StatusCode::SERVICE_UNAVAILABLE, body, cause: None }.refusal();
        let details = json!({"triggerId": "report", "version": 4});
        let told = refusal(json!({"message": "Scheduler does not answer", "details": details}));
        assert_eq!(
            told,
            "Scheduler does not answer (503); trigger report is saved as version 4, its schedule or webhook is not"
        );
        assert_eq!(refusal(Value::Null), "without a reason (503)");
    }

    #[test]
    fn ids_are_one_segment_whatever_they_hold() {
        assert_eq!(segment("a/b?c#d é"), "a%2Fb%3Fc%23d%20%C3%A9");
    }
}
