//! The agent: one POST to `/invocations`, what its status means, and its answer read to the end.
//! <https://docs.aws.amazon.com/bedrock-agentcore/latest/APIReference/API_InvokeAgentRuntime.html>

pub mod authorization;
mod call;
pub mod decoder;
mod error;
mod framing;
pub(crate) mod protocol;
mod request;
mod setup;
pub(crate) mod transcript;

pub use call::Call;
pub use error::AgentError;
pub use request::Request;

use std::{
    panic,
    sync::Arc,
    time::{Duration, SystemTime},
};

use reqwest::{
    Client, Method, Response, StatusCode, Url,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING},
};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use tokio::task::JoinSet;
use tracing::Span;

use crate::{
    agent::{
        authorization::Authorization,
        call::{SESSION_ID, Setup},
        decoder::Decoder,
    },
    domain::agent_definition::AgentDefinition,
    domain::answer::{AnswerError, End, Outcome, Progress, Verdict},
    domain::ending::StopOutcome,
    domain::protocol::Protocol,
    error_chain::chain,
};

/// What of an error body is read: enough for the record's 1 KiB after what it quotes of the prompt is masked.
const ERROR_BODY_LIMIT: usize = 16 * 1024;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an id beyond which it is no id.
const LONGEST_ID: usize = 256;
const REQUEST_IDS: [&str; 3] = ["x-amzn-requestid", "x-amzn-request-id", "x-request-id"];

/// What a status means for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Accepted,
    Unauthorized,
    NotAccepted,
    Rejected,
    Failed,
}

/// A 503 alone does not say "not accepted": proxies also say it after losing a request they had passed on.
fn meaning(status: StatusCode, has_retry_after: bool, is_agentcore: bool) -> Meaning {
    match status.as_u16() {
        204 | 205 => Meaning::Failed,
        200..=299 => Meaning::Accepted,
        401 => Meaning::Unauthorized,
        409 | 425 | 429 => Meaning::NotAccepted,
        503 if has_retry_after || is_agentcore => Meaning::NotAccepted,
        300..=499 => Meaning::Rejected,
        _ => Meaning::Failed,
    }
}

/// An agent, as it is called.
#[derive(Debug)]
pub struct Agent {
    http: Client,
    /// Its definition.
    pub definition: Arc<AgentDefinition>,
    /// StopRuntimeSession, where the URL is that of an AgentCore runtime.
    stop_url: Option<Url>,
    idle_timeout: Option<Duration>,
}

/// An answer under way.
#[derive(Debug)]
pub struct Answer {
    response: Response,
    decoder: Decoder,
    /// Whether the end of the body is told apart from the end of the connection.
    is_framed: bool,
    /// The request id of the response's headers.
    pub request_id: Option<String>,
}

impl Answer {
    /// Reads it to its terminal event or its end. `run` is the span to log in, which is not entered with each piece.
    async fn read(
        mut self,
        idle_timeout: Option<Duration>,
        report: impl Fn(Progress),
        run: Span,
    ) -> Result<Outcome, AgentError> {
        let end = loop {
            let next = self.response.chunk();
            let chunk = match idle_timeout {
                Some(limit) => tokio::time::timeout(limit, next).await.map_err(|_| AgentError::Stalled(limit))?,
                None => next.await,
            };
            match chunk {
                Ok(Some(bytes)) => {
                    let is_decided = self.decoder.feed(&bytes).is_some();
                    report(self.decoder.progress());
                    if is_decided {
                        break End::Framed;
                    }
                }
                Ok(None) if self.is_framed => break End::Framed,
                Ok(None) => break End::Torn,
                Err(error) => {
                    run.in_scope(|| tracing::warn!(error = chain(&error.without_url()), "the agent's answer was torn"));
                    break End::Torn;
                }
            }
        };
        Ok(self.decoder.finish(end))
    }
}

impl Agent {
    /// The agent of this definition, called through `http`.
    pub fn new(definition: Arc<AgentDefinition>, http: Client, idle_timeout: Option<Duration>) -> Self {
        Self { http, stop_url: stop_url(&definition.url), definition, idle_timeout }
    }

    /// Sends the request once, after those that its protocol needs before it, and reads the answer's head.
    ///
    /// # Errors
    /// If there is no answer, or its status or content type says that there will be none.
    pub async fn post(&self, call: &Call, authorization: &Authorization) -> Result<Answer, AgentError> {
        let url = &self.definition.url;
        if let Some(Setup::AdkSession(session)) = &call.setup {
            self.make_adk_session(session, call, authorization).await?;
        }
        let mut response = self.send(url, call.headers.clone(), call.body.clone(), authorization).await?;
        if let (StatusCode::BAD_REQUEST, Some(Setup::McpSession(initialize))) = (response.status(), &call.setup)
            && let Some(headers) = self.open_mcp_session(initialize, call, authorization).await?
        {
            response = self.send(url, headers, call.body.clone(), authorization).await?;
        }
        self.judge(response, call, authorization).await
    }

    /// Sends one request.
    async fn send(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Vec<u8>,
        authorization: &Authorization,
    ) -> Result<Response, AgentError> {
        let mut request = reqwest::Request::new(Method::POST, url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.into());
        authorization.add_to(&mut request)?;
        self.http.execute(request).await.map_err(|error| {
            let (is_connect, is_builder) = (error.is_connect(), error.is_builder());
            let cause = chain(&error.without_url());
            match (is_connect, is_builder) {
                (true, _) => AgentError::Unavailable { cause, retry_after: None },
                (_, true) => AgentError::Request(cause),
                _ => AgentError::Torn(cause),
            }
        })
    }

    /// Decides by its head whether a response is an answer.
    async fn judge(
        &self,
        response: Response,
        call: &Call,
        authorization: &Authorization,
    ) -> Result<Answer, AgentError> {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER);
        match meaning(status, retry_after.is_some(), self.definition.is_agentcore) {
            Meaning::Accepted => answer(response, self.definition.protocol()),
            Meaning::Unauthorized => Err(AgentError::Unauthorized),
            Meaning::NotAccepted => Err(AgentError::Unavailable {
                cause: format!("it answered {status}"),
                retry_after: retry_after.and_then(|value| wait_of(value, SystemTime::now().into())),
            }),
            Meaning::Rejected => {
                Err(AgentError::Rejected { status, said: error_body(response, call, authorization).await })
            }
            Meaning::Failed => {
                Err(AgentError::Failed { status, said: error_body(response, call, authorization).await })
            }
        }
    }

    /// Reads an answer to its terminal event or its end, reporting progress after each piece of it; `authorization`
    /// and `call` are what the agent must not be quoted with.
    ///
    /// # Errors
    /// [`AgentError::Stalled`] if nothing comes for the idle timeout.
    pub async fn read(
        &self,
        answer: Answer,
        call: &Call,
        authorization: &Authorization,
        report: impl Fn(Progress) + Send + 'static,
    ) -> Result<Outcome, AgentError> {
        // In a task, so that a piece of the answer wakes that alone, and not every layer of a run above it. The set ends
        // the task when this is dropped.
        let mut reading = JoinSet::new();
        reading.spawn(answer.read(self.idle_timeout, report, Span::current()));
        let read = reading.join_next().await.expect("one task was spawned");
        let mut outcome = read.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()))?;
        if let Verdict::Failed(AnswerError::Reported { message: Some(message) }) = &mut outcome.verdict {
            *message = call.clean(message, authorization);
        }
        Ok(outcome)
    }
}

impl Agent {
    /// Stops the session of a call, best effort; `None` where the agent is not AgentCore's.
    /// <https://docs.aws.amazon.com/bedrock-agentcore/latest/APIReference/API_StopRuntimeSession.html>
    pub(crate) async fn stop_session(&self, session_id: &str, authorization: &Authorization) -> Option<StopOutcome> {
        let url = self.stop_url.as_ref()?;
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        headers.insert(SESSION_ID, HeaderValue::from_str(session_id).ok()?);
        let stopped = self.send(url, headers, b"{}".to_vec(), authorization).await;
        let confirmed = stopped.is_ok_and(|response| response.status().is_success());
        tracing::info!(confirmed, "asked AgentCore to stop the session");
        Some(StopOutcome { confirmed })
    }
}

/// An AgentCore runtime is called at `/runtimes/{arn}/invocations`, and stopped beside that.
fn stop_url(agent_url: &Url) -> Option<Url> {
    let runtime = agent_url.path().strip_suffix("/invocations")?;
    if !runtime.starts_with("/runtimes/arn%3A") {
        return None;
    }
    let mut url = agent_url.clone();
    url.set_path(&format!("{runtime}/stopruntimesession"));
    Some(url)
}

fn answer(response: Response, protocol: Protocol) -> Result<Answer, AgentError> {
    let headers = response.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let decoder = Decoder::new(text(CONTENT_TYPE.as_str()))?.with_protocol(Some(protocol));
    let decoder = decoder.with_status(response.status().as_u16());
    let is_chunked = text(TRANSFER_ENCODING.as_str())
        .is_some_and(|codings| codings.trim_end().to_ascii_lowercase().ends_with("chunked"));
    let is_framed = is_chunked || headers.contains_key(CONTENT_LENGTH);
    let request_id = REQUEST_IDS.into_iter().find_map(text).filter(|id| id.len() <= LONGEST_ID).map(str::to_owned);
    Ok(Answer { response, decoder, is_framed, request_id })
}

/// The beginning of an error's body, as far as it comes soon and may be repeated.
async fn error_body(mut response: Response, call: &Call, authorization: &Authorization) -> Option<String> {
    let body = beginning_of(&mut response).await;
    let said = call.clean(String::from_utf8_lossy(&body).trim(), authorization);
    Some(said).filter(|said| !said.is_empty())
}

/// The beginning of a body, as far as it comes soon.
async fn beginning_of(response: &mut Response) -> Vec<u8> {
    let mut body = Vec::new();
    // Whatever came by then is kept.
    let _ = tokio::time::timeout(ERROR_BODY_TIMEOUT, async {
        while body.len() < ERROR_BODY_LIMIT
            && let Ok(Some(bytes)) = response.chunk().await
        {
            body.extend_from_slice(&bytes);
        }
    })
    .await;
    body.truncate(ERROR_BODY_LIMIT);
    body
}

/// What `Retry-After` asks for: seconds, or a date (RFC 9110 §10.2.3).
fn wait_of(value: &HeaderValue, now: OffsetDateTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some((date - now).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_status_means() {
        for (statuses, expected) in [
            (&[200, 201, 202][..], Meaning::Accepted),
            (&[401][..], Meaning::Unauthorized),
            (&[409, 425, 429][..], Meaning::NotAccepted),
            (&[301, 302, 307, 308, 400, 403, 404, 405, 413, 422, 499][..], Meaning::Rejected),
            (&[204, 500, 501, 502, 503, 504, 529][..], Meaning::Failed),
        ] {
            for status in statuses {
                assert_eq!(meaning(StatusCode::from_u16(*status).unwrap(), false, false), expected, "{status}");
            }
        }
        let meaning_of_503 = |retry_after, agentcore| meaning(StatusCode::SERVICE_UNAVAILABLE, retry_after, agentcore);
        assert_eq!(meaning_of_503(true, false), Meaning::NotAccepted);
        assert_eq!(meaning_of_503(false, true), Meaning::NotAccepted);
        assert_eq!(meaning(StatusCode::INTERNAL_SERVER_ERROR, true, true), Meaning::Failed);
    }

    #[test]
    fn only_agentcore_runtimes_can_be_stopped() {
        let runtime = "https://bedrock-agentcore.us-west-2.amazonaws.com/runtimes/arn%3Aaws%3Ax";
        for (url, expected) in [
            (format!("{runtime}/invocations?qualifier=v1"), Some(format!("{runtime}/stopruntimesession?qualifier=v1"))),
            ("https://agent.example.com/invocations".to_owned(), None),
        ] {
            assert_eq!(stop_url(&Url::parse(&url).unwrap()).map(String::from), expected);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = OffsetDateTime::from_unix_timestamp(784_111_777).unwrap();
        for (value, expected) in [
            ("3", Some(3)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let wait = wait_of(&HeaderValue::from_static(value), now);
            assert_eq!(wait.map(|wait| wait.as_secs()), expected, "{value}");
        }
    }
}
