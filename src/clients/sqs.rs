//! The settle queue, to which the function sends messages that come back to it after a delay. Only one operation is
//! needed, so the HTTP client of the process sends it. The SDK for SQS would add to the binary.
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use reqwest::{
    Client, Method, Request, Url,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde_json::json;

use crate::{backoff, clients::sigv4::Signer, error_chain::chain};

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
/// The time limit of one try.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);

/// The reason why a message was not sent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// The settings name no queue.
    #[error("SETTLE_QUEUE_URL is not set")]
    NoQueue,
    /// SQS refused, and would refuse again.
    #[error("SQS refused the message: {0}")]
    Refused(String),
    /// SQS was unreachable, busy or failing. The message may have been sent all the same.
    #[error("SQS did not take the message: {0}")]
    Transient(String),
}

/// The queue.
#[derive(Debug, Clone)]
pub struct SettleQueue {
    http: Client,
    url: Option<Url>,
    region: String,
    signer: Arc<Signer>,
}

impl SettleQueue {
    /// Creates the queue at `url`, which messages reach through `http`. Without a URL every message is an error. The
    /// region is the label after `sqs.` if the URL's host begins so, and otherwise `region`.
    pub fn new(url: Option<Url>, region: &str, http: Client, signer: Arc<Signer>) -> Self {
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        let named = host.strip_prefix("sqs.").and_then(|rest| rest.split('.').next());
        let region = named.unwrap_or(region).to_owned();
        Self { http, url, region, signer }
    }

    /// Returns true if there is a queue.
    pub fn is_configured(&self) -> bool {
        self.url.is_some()
    }

    /// Sends a message that is delivered after the whole seconds of `delay`, in at most three tries of 5 s each. Only
    /// transient errors are tried again. It may be sent twice. SQS refuses a delay of more than 900 s.
    ///
    /// # Errors
    /// Returns an error if SQS does not confirm it, and `NoQueue` if there is no queue.
    pub fn send_message(
        &self,
        body: String,
        delay: Duration,
    ) -> impl Future<Output = Result<(), SendError>> + Send + use<> {
        let queue = self.clone();
        async move {
            let mut waits = backoff::waits();
            loop {
                match queue.try_send(&body, delay).await {
                    Err(SendError::Transient(cause)) => {
                        let Some(wait) = waits.next() else { return Err(SendError::Transient(cause)) };
                        tracing::warn!(cause, "the message is not sent, trying again");
                        tokio::time::sleep(wait).await;
                    }
                    sent => return sent,
                }
            }
        }
    }

    /// Sends a message that is delivered after the whole seconds of `delay`, in one try of 5 s. SQS refuses a delay of
    /// more than 900 s.
    ///
    /// # Errors
    /// Returns an error if SQS does not confirm it, and `NoQueue` if there is no queue.
    pub fn send_message_once(
        &self,
        body: String,
        delay: Duration,
    ) -> impl Future<Output = Result<(), SendError>> + Send + use<> {
        let queue = self.clone();
        async move { queue.try_send(&body, delay).await }
    }

    /// Sends a message in one try. SQS delivers it after `delay`.
    ///
    /// # Errors
    /// Returns `Transient` if the request could not be signed or no answer came within 5 s, and for 429, 5xx and an
    /// answer that speaks of throttling. Returns `Refused` for any other status but success. Returns `NoQueue` if there
    /// is no queue.
    async fn try_send(&self, body: &str, delay: Duration) -> Result<(), SendError> {
        let request = self.signed_request(body, delay).await?;
        let answer = tokio::time::timeout(TRY_TIMEOUT, async {
            let response = self.http.execute(request).await?;
            Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
        });
        let (status, body) = match answer.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(SendError::Transient(chain(&error.without_url()))),
            Err(_) => return Err(SendError::Transient(format!("no answer within {} s", TRY_TIMEOUT.as_secs()))),
        };
        if status.is_success() {
            return Ok(());
        }
        let is_throttled = String::from_utf8_lossy(&body[..body.len().min(1024)]).contains("Throttl");
        if status.is_server_error() || status.as_u16() == 429 || is_throttled {
            return Err(SendError::Transient(format!("status {status}")));
        }
        Err(SendError::Refused(format!("status {status}")))
    }

    /// Builds and signs the request. It goes to the origin of the queue's URL, and names the queue in its body.
    ///
    /// # Errors
    /// Returns `NoQueue` if there is no queue, `Transient` if there are no credentials or no signature, and `Refused`
    /// if the queue's URL has no origin.
    async fn signed_request(&self, body: &str, delay: Duration) -> Result<Request, SendError> {
        let queue = self.url.as_ref().ok_or(SendError::NoQueue)?;
        let endpoint = queue.join("/").map_err(|error| SendError::Refused(error.to_string()))?;
        let mut request = Request::new(Method::POST, endpoint);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        headers.insert(TARGET, HeaderValue::from_static("AmazonSQS.SendMessage"));
        let message = json!({"QueueUrl": queue.as_str(), "MessageBody": body, "DelaySeconds": delay.as_secs()});
        *request.body_mut() = Some(message.to_string().into());
        let unsigned = |error: crate::clients::sigv4::SignError| SendError::Transient(error.to_string());
        let key = self.signer.key("sqs", &self.region).await.map_err(unsigned)?;
        let signature = key.sign(&request, SystemTime::now()).map_err(unsigned)?;
        request.headers_mut().extend(signature);
        Ok(request)
    }
}
