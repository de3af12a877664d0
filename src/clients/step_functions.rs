//! Step Functions, as far as a refused command needs it: its task is answered, so that no state machine waits for a run
//! that never begins. Only one operation is needed, so the HTTP client of the process sends it.
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskFailure.html>

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use reqwest::{
    Client, Method, Request, Url,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde_json::json;

use crate::{
    backoff,
    clients::sigv4::Signer,
    config::{Config, Secret},
    domain::failure::Failure,
    error_chain::chain,
    redact::cut,
};

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
/// The time limit of one try.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// The codes of a task that is over, or of a token that was none. Nobody waits for the answer.
const OVER: [&str; 3] = ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"];
/// The longest cause of a failure, in bytes.
const LONGEST_CAUSE: usize = 32_768;

/// A task could not be answered. No error holds its token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Step Functions did not take the answer of a task: {0}")]
pub struct NotAnswered(String);

/// The client.
#[derive(Debug)]
pub struct StepFunctions {
    http: Client,
    endpoint: Option<Url>,
    region: String,
    signer: Arc<Signer>,
}

impl StepFunctions {
    /// Creates the client. It makes no request yet.
    pub fn new(config: &Config, http: Client, signer: Arc<Signer>) -> Self {
        let (endpoint, region) = (config.step_functions_endpoint.clone(), config.region.clone());
        Self { http, endpoint, region, signer }
    }

    /// Answers a task with a failure, in at most three tries of 5 s. A task that is over counts as answered.
    ///
    /// # Errors
    /// Returns an error if Step Functions does not take the answer.
    pub(crate) async fn fail_task(&self, token: &Secret, failure: &Failure) -> Result<(), NotAnswered> {
        let cause = json!({"error": failure.message, "triggerId": failure.trigger_id}).to_string();
        let body = json!({"taskToken": token.expose(), "error": failure.error_type.as_str(),
            "cause": cut(&cause, LONGEST_CAUSE)});
        let body = body.to_string();
        let mut waits = backoff::waits();
        loop {
            let error = match self.try_send(&body).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let Some(wait) = waits.next() else { return Err(error) };
            tracing::warn!(error = %error, "the task is not answered yet, trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends the answer in one try.
    async fn try_send(&self, body: &str) -> Result<(), NotAnswered> {
        let request = self.signed_request(body).await.map_err(NotAnswered)?;
        let answer = tokio::time::timeout(TRY_TIMEOUT, async {
            let response = self.http.execute(request).await?;
            Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
        });
        let (status, answer) = match answer.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(NotAnswered(chain(&error.without_url()))),
            Err(_) => return Err(NotAnswered(format!("no answer within {} s", TRY_TIMEOUT.as_secs()))),
        };
        let said = String::from_utf8_lossy(&answer[..answer.len().min(1024)]);
        if status.is_success() || (status.is_client_error() && OVER.iter().any(|code| said.contains(code))) {
            return Ok(());
        }
        Err(NotAnswered(format!("status {status}")))
    }

    /// Builds and signs the request, at the address of the function's region or at the one that the settings name.
    async fn signed_request(&self, body: &str) -> Result<Request, String> {
        let endpoint = match &self.endpoint {
            Some(url) => url.clone(),
            None => {
                let suffix = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                Url::parse(&format!("https://states.{}.{suffix}/", self.region)).map_err(|error| error.to_string())?
            }
        };
        let mut request = Request::new(Method::POST, endpoint);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        headers.insert(TARGET, HeaderValue::from_static("AWSStepFunctions.SendTaskFailure"));
        *request.body_mut() = Some(body.to_owned().into());
        let key = self.signer.key("states", &self.region).await.map_err(|error| error.to_string())?;
        let signature = key.sign(&request, SystemTime::now()).map_err(|error| error.to_string())?;
        request.headers_mut().extend(signature);
        Ok(request)
    }
}
