//! Step Functions. The task of a refused command is answered, so that no state machine waits for a run that never
//! begins, and looks ask whether somebody still waits for a run. Only two operations are needed, so the HTTP client of
//! the process sends them.
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskFailure.html>
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html>

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use reqwest::{
    Client, Method, Request, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use crate::{
    backoff,
    clients::{
        region::{Variant, address},
        sigv4::Signer,
    },
    config::{Config, Secret},
    domain::{failure::Failure, waiting_task::is_of_before},
    error_chain::chain,
    redact::cut,
};

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
/// The time limit of one try.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// The codes of a task that is over, or of a token that was none. Nobody waits for the answer.
const OVER: [&str; 3] = ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"];
/// The states of an execution that somebody or its time limit stopped. The template's rule names the same.
const STOPPED: [&str; 2] = ["ABORTED", "TIMED_OUT"];
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

    /// Answers a task with the type and the message of a failure, in at most three tries of 5 s each, whatever the
    /// error is. A task that is over, or whose token is none, counts as answered. So does one that the function's role
    /// may not answer, which is logged: another try would be denied too.
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

    /// Returns true if nobody waits any more for the run of a command of the time `sent`, in milliseconds since 1970:
    /// the execution with this ARN was stopped, its time is up, or it was redriven since. A redriven execution has new
    /// tasks. It asks once, for 5 s at most. Returns false if that is unknown, which it logs.
    pub(crate) async fn is_stopped(&self, arn: &str, sent: Option<i64>) -> bool {
        let Some(answer) = self.describe(arn).await else { return false };
        STOPPED.iter().any(|state| answer["status"] == *state) || is_of_before(sent, redriven_at(&answer))
    }

    /// Returns what Step Functions says of the execution with this ARN. It asks once, for 5 s at most. Returns `None`
    /// if there is no answer, another status than success, or an answer that is no JSON, and logs that.
    async fn describe(&self, arn: &str) -> Option<Value> {
        let body = json!({"executionArn": arn, "includedData": "METADATA_ONLY"}).to_string();
        match self.send("DescribeExecution", &body).await {
            Ok((status, answer)) if status.is_success() => {
                let answer = serde_json::from_slice::<Value>(&answer).ok();
                if answer.is_none() {
                    tracing::warn!("it is unknown whether the state machine still waits: the answer is no JSON");
                }
                answer
            }
            Ok((status, _)) => {
                tracing::warn!(status = status.as_u16(), "it is unknown whether the state machine still waits");
                None
            }
            Err(error) => {
                tracing::warn!(error, "it is unknown whether the state machine still waits");
                None
            }
        }
    }

    /// Sends the answer of a task in one try. A task that is over, a token that is none, and a denial count as sent.
    ///
    /// # Errors
    /// Returns an error if no answer came in time, and for any other status but success.
    async fn try_send(&self, body: &str) -> Result<(), NotAnswered> {
        let (status, answer) = self.send("SendTaskFailure", body).await.map_err(NotAnswered)?;
        let said = String::from_utf8_lossy(&answer[..answer.len().min(1024)]);
        if said.contains("AccessDenied") {
            // Another try is denied too. The task waits for its own time limit.
            tracing::error!("the task is not answered: the function's role may not (StepFunctionsState)");
            return Ok(());
        }
        if status.is_success() || (status.is_client_error() && OVER.iter().any(|code| said.contains(code))) {
            return Ok(());
        }
        Err(NotAnswered(format!("status {status}")))
    }

    /// Sends a request in one try of at most 5 s. Returns the status, whatever it is, and the body of the answer.
    ///
    /// # Errors
    /// The error says why there is no answer, or why the request could not be signed.
    async fn send(&self, operation: &str, body: &str) -> Result<(StatusCode, Bytes), String> {
        let request = self.signed_request(operation, body).await?;
        let answer = tokio::time::timeout(TRY_TIMEOUT, async {
            let response = self.http.execute(request).await?;
            Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
        });
        match answer.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(chain(&error.without_url())),
            Err(_) => Err(format!("no answer within {} s", TRY_TIMEOUT.as_secs())),
        }
    }

    /// Builds and signs the request of `operation`, at the address of the function's region or at the one that the
    /// settings name.
    ///
    /// # Errors
    /// The error says why there are no credentials or no signature.
    async fn signed_request(&self, operation: &str, body: &str) -> Result<Request, String> {
        let endpoint = match &self.endpoint {
            Some(url) => url.clone(),
            None => address("states", &self.region, Variant::default())?,
        };
        let mut request = Request::new(Method::POST, endpoint);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        let target = HeaderValue::from_str(&format!("AWSStepFunctions.{operation}"));
        headers.insert(TARGET, target.map_err(|error| error.to_string())?);
        *request.body_mut() = Some(body.to_owned().into());
        let key = self.signer.key("states", &self.region).await.map_err(|error| error.to_string())?;
        let signature = key.sign(&request, SystemTime::now()).map_err(|error| error.to_string())?;
        request.headers_mut().extend(signature);
        Ok(request)
    }
}

/// Returns the time at which an execution was redriven the last time, in milliseconds since 1970, by the answer of
/// DescribeExecution. Returns `None` if it never was.
fn redriven_at(described: &Value) -> Option<i64> {
    let seconds = described["redriveDate"].as_f64()?;
    // The conversion keeps a number that is too large at the largest.
    Some((seconds * 1_000.0) as i64)
}
