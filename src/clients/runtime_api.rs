//! Lambda's Runtime API, from which the function takes invocations and to which it answers them.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
//!
//! The loops of `lambda_runtime` 1.5 are replaced, and its types are kept. Three faults of these loops cannot be
//! avoided from outside. A refused poll is repeated at once and without end (`concurrent_worker_loop`) or ends the
//! process (`run_with_incoming`). A client context or an identity that is no JSON, or an answer without a request id,
//! ends the worker before any layer sees the invocation (`Context::new`, `invoke_request_id`). An answer that cannot be
//! posted ends the worker and is not posted again (`RuntimeApiClientFuture`).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use lambda_runtime::Context;
use reqwest::Client;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use crate::{backoff, error_chain::chain};

const INVOCATION_PATH: &str = "2018-06-01/runtime/invocation";
const RESTORE_PATH: &str = "2018-06-01/runtime/restore/next";
/// The header that tells two deliveries with one request id apart. It comes with a delivery and goes with its answer.
const INVOCATION_ID: &str = "lambda-runtime-invocation-id";
const FUNCTION_ARN: &str = "lambda-runtime-invoked-function-arn";
const DEADLINE: &str = "lambda-runtime-deadline-ms";
const TRACE_ID: &str = "lambda-runtime-trace-id";
/// The time limit of one try to post an answer. The API is on the same machine. A poll has no limit: it waits for work.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The reason why the Runtime API gave no invocation or took no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuntimeApiError {
    /// The connection failed.
    #[error("the Runtime API did not answer: {0}")]
    NoAnswer(String),
    /// It refused.
    #[error("the Runtime API answered with the status {0}")]
    Refused(StatusCode),
    /// The head of an invocation could not be read.
    #[error("the Runtime API gave an invocation whose head cannot be read: {0}")]
    Unreadable(String),
    /// An invocation without a request id cannot be answered.
    #[error("the Runtime API gave an invocation without a request id")]
    NoRequestId,
}

impl From<reqwest::Error> for RuntimeApiError {
    /// Returns `NoAnswer` with the chain of causes.
    fn from(error: reqwest::Error) -> Self {
        Self::NoAnswer(chain(&error))
    }
}

/// An invocation as the Runtime API delivers it.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Lambda's request id, the function with its version or alias if one was named, the time at which Lambda ends the
    /// invocation, and the value of its X-Ray header. The time is 0 if Lambda names no readable one, which leaves too
    /// little time to start. The client context and the identity are left out.
    pub(crate) context: Context,
    /// True if the caller gave a client context, which the function does not read.
    pub(crate) has_client_context: bool,
    /// The event, or the reason why it could not be read to its end.
    pub(crate) payload: Result<Bytes, RuntimeApiError>,
    id: Option<HeaderValue>,
}

/// The answer to an invocation, as JSON.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The function's response.
    Response(Bytes),
    /// The function's error, which Lambda counts and retries.
    Error(Bytes),
}

/// The Runtime API of this process.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    client: Client,
    base: String,
}

impl RuntimeApi {
    /// Creates a client for the API at `authority`, the value of `AWS_LAMBDA_RUNTIME_API`. On Lambda this is a host
    /// with its port. Local tools give a URL instead.
    ///
    /// # Errors
    /// Returns an error if there is no HTTP client to be had.
    pub(crate) fn new(authority: &str) -> Result<Self, String> {
        // The API speaks plain HTTP. Without a configuration reqwest would look for TLS roots, which takes a
        // millisecond at every start.
        let no_tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(no_tls)
            // A proxy that the environment names is for other machines.
            .no_proxy()
            .retry(reqwest::retry::never())
            .build()
            .map_err(|error| chain(&error))?;
        let authority = authority.strip_prefix("http://").unwrap_or(authority).trim_end_matches('/');
        Ok(Self { client, base: format!("http://{authority}/{INVOCATION_PATH}") })
    }

    /// Tells Lambda that the start is done, and waits, without a time limit, until the process goes on from its
    /// snapshot (SnapStart). It consumes the client, because no connection outlives a snapshot.
    ///
    /// # Errors
    /// Returns an error if the API does not answer or refuses.
    pub(crate) async fn restored(self) -> Result<(), RuntimeApiError> {
        let url = self.base.replace(INVOCATION_PATH, RESTORE_PATH);
        match self.client.get(url).send().await?.status() {
            status if status.is_success() => Ok(()),
            status => Err(RuntimeApiError::Refused(status)),
        }
    }

    /// Waits for an invocation, without a time limit. Returns `None` if the API has none and did not wait, as local
    /// tools do. A body that breaks off is no error here: the delivery holds it, so that it can be answered.
    ///
    /// # Errors
    /// Returns an error if the API does not answer, refuses, or delivers an invocation that cannot be answered.
    pub(crate) async fn next(&self) -> Result<Option<Delivery>, RuntimeApiError> {
        let response = self.client.get(format!("{}/next", self.base)).send().await?;
        match response.status() {
            StatusCode::NO_CONTENT => return Ok(None),
            status if !status.is_success() => return Err(RuntimeApiError::Refused(status)),
            _ => {}
        }
        let mut delivery = Delivery::of_head(response.headers())?;
        delivery.payload = response.bytes().await.map_err(RuntimeApiError::from);
        Ok(Some(delivery))
    }

    /// Answers an invocation, in at most three tries of 5 s each. A try without an answer, or with 5xx, is repeated. If
    /// the API accepted the first try all the same, it refuses the second one. This changes nothing, but returns an
    /// error.
    ///
    /// # Errors
    /// Returns an error if the API does not take the answer. Lambda then reports the invocation as timed out, and tries
    /// it again, unless an earlier try was accepted.
    pub(crate) async fn answer(&self, delivery: &Delivery, answer: &Answer) -> Result<(), RuntimeApiError> {
        let mut waits = backoff::waits();
        loop {
            let error = match self.post(delivery, answer).await {
                Ok(status) if status.is_success() => return Ok(()),
                Ok(status) if !status.is_server_error() => return Err(RuntimeApiError::Refused(status)),
                Ok(status) => RuntimeApiError::Refused(status),
                Err(error) => error.into(),
            };
            let Some(wait) = waits.next() else { return Err(error) };
            tracing::warn!(%error, "the answer could not be posted, trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Posts an answer once, within 5 s, with the delivery's own id if it has one. Returns the status of the API's
    /// reply, whatever it is.
    ///
    /// # Errors
    /// Returns an error if the API does not reply.
    async fn post(&self, delivery: &Delivery, answer: &Answer) -> Result<StatusCode, reqwest::Error> {
        let (kind, body) = match answer {
            Answer::Response(body) => ("response", body),
            Answer::Error(body) => ("error", body),
        };
        let url = format!("{}/{}/{kind}", self.base, delivery.context.request_id);
        let mut request = self.client.post(url).timeout(ANSWER_TIMEOUT).body(body.clone());
        if kind == "error" {
            request = request.header("lambda-runtime-function-error-type", "unhandled");
        }
        if let Some(id) = &delivery.id {
            request = request.header(INVOCATION_ID, id);
        }
        Ok(request.send().await?.status())
    }
}

impl Delivery {
    /// Reads the headers of a delivery. The payload is empty: the caller sets it. Headers that cannot be read count as
    /// absent.
    ///
    /// # Errors
    /// Returns `NoRequestId` if there is no readable request id. Returns `Unreadable` if the context cannot be built.
    fn of_head(headers: &HeaderMap) -> Result<Self, RuntimeApiError> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
        let request_id = text("lambda-runtime-aws-request-id").ok_or(RuntimeApiError::NoRequestId)?;
        // Only these, each readable: anything else ends the process in `Context::new`.
        let mut read = HeaderMap::new();
        for (name, default) in [(FUNCTION_ARN, Some("")), (DEADLINE, Some("0")), (TRACE_ID, None)] {
            let is_readable = |text: &&str| name != DEADLINE || text.parse::<u64>().is_ok();
            let given = headers.get(name).and_then(|value| value.to_str().ok()).filter(is_readable);
            if let Some(value) = given.or(default).and_then(|text| HeaderValue::from_str(text).ok()) {
                read.insert(name, value);
            }
        }
        let context = Context::new(&request_id, Arc::default(), &read)
            .map_err(|error| RuntimeApiError::Unreadable(error.to_string()))?;
        Ok(Self {
            context,
            has_client_context: headers.get("lambda-runtime-client-context").is_some_and(|value| !value.is_empty()),
            payload: Ok(Bytes::new()),
            id: headers.get(INVOCATION_ID).cloned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_request_id_is_needed() {
        let head = |pairs: &[(&'static str, &'static [u8])]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap()));
            Delivery::of_head(&pairs.collect())
        };
        let id = ("lambda-runtime-aws-request-id", b"request-1".as_slice());
        let odd: [(&str, &[u8]); 5] = [
            ("lambda-runtime-client-context", b"no JSON \xff"),
            ("lambda-runtime-cognito-identity", b"{"),
            ("lambda-runtime-deadline-ms", b"soon"),
            ("lambda-runtime-trace-id", b"\xff"),
            ("lambda-runtime-invocation-id", b"\xff"),
        ];
        let delivery = head(&[&[id], odd.as_slice()].concat()).unwrap();
        assert_eq!((delivery.context.request_id.as_str(), delivery.context.deadline), ("request-1", 0));
        assert_eq!((delivery.has_client_context, delivery.context.xray_trace_id), (true, None));
        assert!(!head(&[id, ("lambda-runtime-client-context", b"")]).unwrap().has_client_context);
        assert_eq!(head(&[id, ("lambda-runtime-deadline-ms", b"123")]).unwrap().context.deadline, 123);
        assert!(matches!(head(&odd), Err(RuntimeApiError::NoRequestId)));
    }
}
