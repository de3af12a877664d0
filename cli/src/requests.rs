//! Requests to the control plane: to its address, or to its router in this process, which then works on the table with the
//! caller's own AWS credentials.

use std::{collections::HashMap, sync::Arc, time::Duration};

use agent_trigger::clients::{
    http::{Clients, SdkHttpClient},
    lambda::Dispatcher,
};
use agent_trigger::{error_chain::chain, store::Store};
use agent_trigger_api::{
    api::Api, auth::Claims, clients::scheduler::Scheduler, router, settings::Settings, store::Items,
};
use aws_config::{BehaviorVersion, Region};
use axum::{Router, body::Body};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use serde_json::Value;
use tower::ServiceExt;

/// The longest time of one request. API Gateway gives up after 30 s.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of an answer that are read.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
/// The value of a setting that the command does not need.
const UNUSED: &str = "unused";

/// The settings without which nothing can be run, and no schedule written.
const SETTINGS: [&str; 3] = ["RUN_FUNCTION_ARN", "SCHEDULE_GROUP_NAME", "SCHEDULER_ROLE_ARN"];

/// The way to the control plane.
pub(crate) enum Requests {
    /// Its address, and the bearer token if there is one.
    Http { client: reqwest::Client, base: Url, token: Option<String> },
    /// Its router in this process.
    Here(Router),
}

/// The control plane's answer: the status and the body.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Requests {
    /// Returns the way to an address. A token is sent to https, or to this machine, alone.
    ///
    /// # Errors
    /// If the address is no such URL.
    pub(crate) fn to(address: &str, token: Option<String>) -> Result<Self, String> {
        let wrong = || format!("{address} is not the address of a control plane: it takes https, or http on loopback");
        let base = Url::parse(address).map_err(|_| wrong())?;
        let is_near = crate::source::is_loopback(&base);
        if !(base.scheme() == "https" || base.scheme() == "http" && is_near) || !base.has_host() {
            return Err(wrong());
        }
        Ok(Self::Http { client: clients()?.aws, base, token })
    }

    /// Returns the router in this process, for this table. `set` looks a setting up; those of [`SETTINGS`] that are
    /// missing are an error if `writes`.
    ///
    /// # Errors
    /// Names every setting that is missing or malformed.
    pub(crate) async fn here(
        table: &str,
        region: &str,
        writes: bool,
        set: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let given = |name: &str| set(name).filter(|value| !value.trim().is_empty());
        let settings = Settings::from_lookup(|name| match name {
            "TRIGGERS_TABLE_NAME" => Some(table.to_owned()),
            "AWS_REGION" => Some(region.to_owned()),
            // The port is another program's.
            "LOCAL_PORT" | "LOGIN_DOMAIN" => None,
            name if SETTINGS.contains(&name) && !writes => given(name).or_else(|| Some(UNUSED.to_owned())),
            name => given(name),
        });
        let settings =
            settings.map_err(|error| format!("{error}; a stack's outputs have them, and --api URL needs none"))?;
        let aws = aws_config::defaults(BehaviorVersion::latest())
            .http_client(SdkHttpClient::new(clients()?.aws))
            .region(Region::new(region.to_owned()))
            .load()
            .await;
        let api = Api {
            items: Items::new(Store::new(&aws, table.to_owned())),
            scheduler: Scheduler::new(&aws, &settings),
            dispatcher: Dispatcher::new(aws),
            settings,
        };
        Ok(Self::Here(router::routes(Arc::new(api))))
    }

    /// Sends a request as `user`, where the control plane runs here. At an address the token says who calls.
    ///
    /// # Errors
    /// If there is no answer, or none of a control plane.
    pub(crate) async fn send(
        &self,
        user: Option<&str>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let (status, bytes) = match self {
            Self::Http { client, base, token } => {
                let url = format!("{}{path}", base.as_str().trim_end_matches('/'));
                let mut request = client.request(method, url).timeout(TIMEOUT);
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                if let Some(body) = body {
                    request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
                }
                let lost = |error: reqwest::Error| format!("no answer from {base}: {}", chain(&error.without_url()));
                let response = request.send().await.map_err(lost)?;
                let status = response.status();
                if response.content_length().is_some_and(|length| length > LARGEST_ANSWER as u64) {
                    return Err(format!("{base} is no control plane: its answer is too large"));
                }
                (status, response.bytes().await.map_err(lost)?.to_vec())
            }
            Self::Here(router) => {
                let request = Request::builder().method(method).uri(path);
                let request = request.header(header::CONTENT_TYPE, "application/json").extension(claims(user));
                let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
                let request = request.body(body).map_err(|error| error.to_string())?;
                let Ok(response) = router.clone().oneshot(request).await;
                let (parts, body) = response.into_parts();
                (parts.status, body.collect().await.map_err(|error| error.to_string())?.to_bytes().to_vec())
            }
        };
        if bytes.is_empty() {
            return Ok(Answer { status, body: Value::Null });
        }
        let body = serde_json::from_slice(&bytes)
            .map_err(|_| format!("the answer ({status}) is not JSON: is this the address of a control plane?"))?;
        Ok(Answer { status, body })
    }

    /// Sends a request and returns the body of a success.
    ///
    /// # Errors
    /// In the control plane's own words.
    pub(crate) async fn done(
        &self,
        user: Option<&str>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        let answer = self.send(user, method, path, body).await?;
        if answer.status.is_success() { Ok(answer.body) } else { Err(answer.refusal()) }
    }
}

impl Answer {
    /// Returns a refusal in the control plane's words.
    pub(crate) fn refusal(&self) -> String {
        let said = self.body.get("message").and_then(Value::as_str).unwrap_or("without a reason");
        match self.status {
            StatusCode::UNAUTHORIZED => {
                format!("{said}: set AGENT_TRIGGER_TOKEN to an access token that the control plane accepts")
            }
            status => format!("{said} ({})", status.as_u16()),
        }
    }
}

fn clients() -> Result<Clients, String> {
    let bundle = std::env::var("AWS_CA_BUNDLE").ok().filter(|path| !path.is_empty());
    Clients::new(bundle.as_deref())
}

/// Returns the claims of a token of this user, as the authorizer would hand them on.
fn claims(user: Option<&str>) -> Claims {
    let names = [("sub", user.unwrap_or("nobody")), ("username", "cli"), ("client_id", "cli"), ("token_use", "access")];
    Claims(names.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect::<HashMap<_, _>>())
}

/// Returns a text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
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
            assert_eq!(Requests::to(address, None).is_ok(), is_taken, "{address}");
        }
    }

    #[test]
    fn ids_are_one_segment_whatever_they_hold() {
        assert_eq!(segment("a/b?c#d é"), "a%2Fb%3Fc%23d%20%C3%A9");
    }
}
