//! The agent: one POST to `/invocations`, what its status means, and its answer read to the end.
//! <https://docs.aws.amazon.com/bedrock-agentcore/latest/APIReference/API_InvokeAgentRuntime.html>

pub mod decoder;
mod framing;
pub(crate) mod protocol;
pub(crate) mod transcript;

use std::{
    panic,
    time::{Duration, SystemTime},
};

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{
        ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING,
    },
};
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use tokio::task::JoinSet;
use tracing::Span;

use crate::domain::failure::{ErrorType, Failure};
use crate::{
    agent::decoder::Decoder,
    config::{Config, Secret},
    domain::answer::{AnswerError, End, Outcome, Progress, Verdict},
    domain::ending::StopOutcome,
    domain::fire::Fire,
    domain::trace::traceparent,
    error_chain::chain,
    redact::redact,
};

/// What of an error body is read: enough for the record's 1 KiB after what it quotes of the prompt is masked.
const ERROR_BODY_LIMIT: usize = 16 * 1024;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWERS: &str = "text/event-stream, application/x-ndjson, application/json, text/plain";
const SESSION_ID: HeaderName = HeaderName::from_static("x-amzn-bedrock-agentcore-runtime-session-id");
const SESSION_TYPE: HeaderName = HeaderName::from_static("x-amzn-bedrock-agentcore-runtime-session-type");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Bytes of an id beyond which it is no id.
const LONGEST_ID: usize = 256;
const REQUEST_IDS: [&str; 3] = ["x-amzn-requestid", "x-amzn-request-id", "x-request-id"];

/// Why the agent's answer is none.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It surely did not take the call: another try is safe.
    #[error("the agent is unavailable: {cause}")]
    Unavailable {
        /// The status or what happened to the connection.
        cause: String,
        /// How long the agent asks to wait.
        retry_after: Option<Duration>,
    },
    /// It refused the token.
    #[error("the agent answered 401 Unauthorized")]
    Unauthorized,
    /// It refused the call for good.
    #[error("the agent answered {status}")]
    Rejected {
        /// The status.
        status: StatusCode,
        /// The beginning of the body, for the record alone.
        said: Option<String>,
    },
    /// It failed.
    #[error("the agent answered {status}")]
    Failed {
        /// The status.
        status: StatusCode,
        /// The beginning of the body, for the record alone.
        said: Option<String>,
    },
    /// It answered with something that is no answer.
    #[error(transparent)]
    NoAnswer(#[from] decoder::UnsupportedContentType),
    /// The connection broke after the request was sent.
    #[error("the connection to the agent broke: {0}")]
    Torn(String),
    /// Nothing came for that long.
    #[error("the agent was silent for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The request cannot be built.
    #[error("the request to the agent cannot be built: {0}")]
    Request(String),
}

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

/// The agent's endpoint.
#[derive(Debug)]
pub struct Agent {
    http: Client,
    url: Url,
    /// StopRuntimeSession, where the URL is that of an AgentCore runtime.
    stop_url: Option<Url>,
    is_agentcore: bool,
    idle_timeout: Option<Duration>,
}

/// One call, the same for each of its tries.
#[derive(Debug)]
pub struct Call {
    body: Vec<u8>,
    headers: HeaderMap,
    /// What the agent must not be quoted with: the prompt and the texts of `input`.
    private: Vec<String>,
}

impl Call {
    /// The call of a fire in a session, traced as `xray_trace_id`, Lambda's own.
    ///
    /// # Errors
    /// If a value cannot be sent, which the event's checks rule out.
    pub fn new(fire: &Fire, session_id: &str, xray_trace_id: Option<&str>) -> Result<Self, AgentError> {
        let unsendable = |error: &dyn std::error::Error| AgentError::Request(error.to_string());
        let mut headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ACCEPT, HeaderValue::from_static(ANSWERS)),
            (SESSION_TYPE, HeaderValue::from_static("event")),
        ]);
        headers.insert(SESSION_ID, HeaderValue::from_str(session_id).map_err(|error| unsendable(&error))?);
        // A trace header of a strange form is not worth a run.
        if let Some(value) = xray_trace_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(TRACE_ID, value);
        }
        if let Some(value) = xray_trace_id.and_then(traceparent).and_then(|id| HeaderValue::from_str(&id).ok()) {
            headers.insert(TRACEPARENT, value);
        }
        let body = serde_json::to_vec(&request_body(fire, session_id)).map_err(|error| unsendable(&error))?;
        let mut private = vec![fire.task.prompt.clone()];
        fire.task.input.values().for_each(|value| collect_texts(value, &mut private));
        Ok(Self { body, headers, private })
    }

    /// `said` by the agent, without what it quotes of the prompt, the input or the token.
    fn clean(&self, said: &str, token: &Secret) -> String {
        let private: Vec<&str> = self.private.iter().map(String::as_str).chain([token.expose()]).collect();
        redact(said, &private)
    }
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
    /// The configured agent, called through `http`.
    pub fn new(config: &Config, http: Client) -> Self {
        Self {
            http,
            url: config.agent_url.clone(),
            stop_url: stop_url(&config.agent_url),
            is_agentcore: config.is_agentcore,
            idle_timeout: config.agent_idle_timeout,
        }
    }

    /// Sends the request once and reads the answer's head.
    ///
    /// # Errors
    /// If there is no answer, or its status or content type says that there will be none.
    pub async fn post(&self, call: &Call, token: &Secret) -> Result<Answer, AgentError> {
        let request = self.http.post(self.url.clone()).headers(call.headers.clone()).bearer_auth(token.expose());
        let sent = request.body(call.body.clone()).send().await;
        let response = sent.map_err(|error| {
            let (is_connect, is_builder) = (error.is_connect(), error.is_builder());
            let cause = chain(&error.without_url());
            match (is_connect, is_builder) {
                (true, _) => AgentError::Unavailable { cause, retry_after: None },
                (_, true) => AgentError::Request(cause),
                _ => AgentError::Torn(cause),
            }
        })?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER);
        match meaning(status, retry_after.is_some(), self.is_agentcore) {
            Meaning::Accepted => answer(response),
            Meaning::Unauthorized => Err(AgentError::Unauthorized),
            Meaning::NotAccepted => Err(AgentError::Unavailable {
                cause: format!("it answered {status}"),
                retry_after: retry_after.and_then(|value| wait_of(value, SystemTime::now().into())),
            }),
            Meaning::Rejected => Err(AgentError::Rejected { status, said: error_body(response, call, token).await }),
            Meaning::Failed => Err(AgentError::Failed { status, said: error_body(response, call, token).await }),
        }
    }

    /// Reads an answer to its terminal event or its end, reporting progress after each piece of it; `token` and `call`
    /// are what the agent must not be quoted with.
    ///
    /// # Errors
    /// [`AgentError::Stalled`] if nothing comes for the idle timeout.
    pub async fn read(
        &self,
        answer: Answer,
        call: &Call,
        token: &Secret,
        report: impl Fn(Progress) + Send + 'static,
    ) -> Result<Outcome, AgentError> {
        // In a task, so that a piece of the answer wakes that alone, and not every layer of a run above it. The set ends
        // the task when this is dropped.
        let mut reading = JoinSet::new();
        reading.spawn(answer.read(self.idle_timeout, report, Span::current()));
        let read = reading.join_next().await.expect("one task was spawned");
        let mut outcome = read.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()))?;
        if let Verdict::Failed(AnswerError::Reported { message: Some(message) }) = &mut outcome.verdict {
            *message = call.clean(message, token);
        }
        Ok(outcome)
    }
}

impl Agent {
    /// Stops the session of a call, best effort; `None` where the agent is not AgentCore's.
    /// <https://docs.aws.amazon.com/bedrock-agentcore/latest/APIReference/API_StopRuntimeSession.html>
    pub(crate) async fn stop_session(&self, session_id: &str, token: &Secret) -> Option<StopOutcome> {
        let url = self.stop_url.clone()?;
        let request = self.http.post(url).bearer_auth(token.expose()).header(SESSION_ID, session_id);
        let request = request.header(CONTENT_TYPE, "application/json").body("{}");
        let confirmed = request.send().await.is_ok_and(|response| response.status().is_success());
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

fn answer(response: Response) -> Result<Answer, AgentError> {
    let headers = response.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let decoder = Decoder::new(text(CONTENT_TYPE.as_str()))?;
    let is_chunked = text(TRANSFER_ENCODING.as_str())
        .is_some_and(|codings| codings.trim_end().to_ascii_lowercase().ends_with("chunked"));
    let is_framed = is_chunked || headers.contains_key(CONTENT_LENGTH);
    let request_id = REQUEST_IDS.into_iter().find_map(text).filter(|id| id.len() <= LONGEST_ID).map(str::to_owned);
    Ok(Answer { response, decoder, is_framed, request_id })
}

/// The beginning of an error's body, as far as it comes soon and may be repeated.
async fn error_body(mut response: Response, call: &Call, token: &Secret) -> Option<String> {
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
    let said = call.clean(String::from_utf8_lossy(&body).trim(), token);
    Some(said).filter(|said| !said.is_empty())
}

fn request_body(fire: &Fire, session_id: &str) -> Value {
    let mut body: Map<String, Value> = fire.task.input.clone();
    body.insert("prompt".into(), json!(fire.task.prompt));
    body.insert("targetUserId".into(), json!(fire.user_id));
    body.insert("agentId".into(), json!(fire.task.agent_id));
    body.insert("sessionId".into(), json!(session_id));
    let mut optional = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.into(), value);
        }
    };
    optional("modelId", fire.task.model_id.as_ref().map(|value| json!(value)));
    optional("enabledTools", fire.task.enabled_tools.as_ref().map(|value| json!(value)));
    optional("storagePath", fire.task.working_directory.as_ref().map(|value| json!(value)));
    optional("reasoningEffort", fire.task.reasoning_effort.as_ref().map(|value| json!(value)));
    Value::Object(body)
}

fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Number(number) => texts.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(fields) => fields.values().for_each(|field| collect_texts(field, texts)),
        _ => {}
    }
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

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        let message = chain(&error);
        let fatal = |error_type| Self::fatal(error_type, message.clone());
        match error {
            AgentError::Unavailable { .. } => Self::retryable(ErrorType::AgentUnavailable, message),
            AgentError::Unauthorized => fatal(ErrorType::AgentRejected),
            AgentError::Rejected { said, .. } => Self { agent_said: said, ..fatal(ErrorType::AgentRejected) },
            AgentError::Failed { said, .. } => Self { agent_said: said, ..fatal(ErrorType::AgentFailed) },
            AgentError::NoAnswer(_) => fatal(ErrorType::AgentFailed),
            AgentError::Torn(_) => fatal(ErrorType::StreamInterrupted),
            AgentError::Stalled(_) => fatal(ErrorType::StreamStalled),
            AgentError::Request(_) => fatal(ErrorType::Internal),
        }
    }
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
