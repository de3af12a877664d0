//! The agent: one POST to `/invocations`, what its status means, and its answer read to the end.
//! <https://docs.aws.amazon.com/bedrock-agentcore/latest/APIReference/API_InvokeAgentRuntime.html>

mod agentcore;
pub mod decoder;
mod framing;
mod head;
pub(crate) mod protocol;
mod status;
pub(crate) mod transcript;

use std::{
    panic,
    time::{Duration, SystemTime},
};

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tracing::Span;

use crate::{
    agent::{
        head::{Head, UnreadableHead},
        status::{StatusClass, classify},
    },
    config::{Config, Secret},
    domain::answer::{AnswerError, End, Outcome, Progress, Verdict},
    domain::ending::StopOutcome,
    domain::failure::{ErrorType, Failure},
    domain::fire::Fire,
    domain::protocol::Protocol,
    domain::task::Task,
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
/// How long to wait for usage that may follow the terminal event: an agent may keep the connection open behind it.
const USAGE_TIMEOUT: Duration = Duration::from_secs(2);

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
    NoAnswer(#[from] UnreadableHead),
    /// The head of its answer is larger than hyper reads: 100 headers, about 400 KiB.
    #[error("the head of the agent's answer is too large: at most 100 headers are read")]
    HeadTooLarge,
    /// It took the call, and its platform gave it up: AgentCore's 408.
    #[error("the agent answered {0}")]
    TimedOut(StatusCode),
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
    /// The protocol that the answer is read by, if one is set.
    protocol: Option<Protocol>,
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
            (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
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
        Ok(Self { body, headers, protocol: None, private })
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
    head: Head,
}

impl Answer {
    /// The request id of the response's headers.
    pub fn request_id(&self) -> Option<&str> {
        self.head.request_id.as_deref()
    }

    /// Reads it to its terminal event or its end. `run` is the span to log in, which is not entered with each piece.
    async fn read(
        mut self,
        idle_timeout: Option<Duration>,
        report: impl Fn(Progress),
        run: Span,
    ) -> Result<Outcome, AgentError> {
        let Head { mut decoder, is_framed, .. } = self.head;
        let end = loop {
            let next = self.response.chunk();
            let chunk = match (decoder.is_decided(), idle_timeout) {
                (true, _) => match tokio::time::timeout(USAGE_TIMEOUT, next).await {
                    Ok(chunk) => chunk,
                    Err(_) => break End::Framed,
                },
                (false, Some(limit)) => {
                    tokio::time::timeout(limit, next).await.map_err(|_| AgentError::Stalled(limit))?
                }
                (false, None) => next.await,
            };
            match chunk {
                Ok(Some(bytes)) => {
                    let is_done = decoder.feed(&bytes).is_some();
                    report(decoder.progress());
                    if is_done {
                        break End::Framed;
                    }
                }
                Ok(None) if is_framed => break End::Framed,
                Ok(None) => break End::Torn,
                Err(error) => {
                    run.in_scope(|| tracing::warn!(error = chain(&error.without_url()), "the agent's answer was torn"));
                    break End::Torn;
                }
            }
        };
        let outcome = decoder.finish(end);
        if outcome.protocol == Protocol::Unknown {
            let events = outcome.progress.events;
            run.in_scope(|| {
                tracing::warn!(events, protocol = "unknown", "no event of the agent's answer was understood")
            });
        }
        Ok(outcome)
    }
}

impl Agent {
    /// The configured agent, called through `http`.
    pub fn new(config: &Config, http: Client) -> Self {
        Self {
            http,
            url: config.agent_url.clone(),
            stop_url: agentcore::stop_url(&config.agent_url),
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
            // hyper's words: its own error type is none of reqwest's interface.
            if cause.contains("message head is too large") {
                return AgentError::HeadTooLarge;
            }
            match (is_connect, is_builder) {
                (true, _) => AgentError::Unavailable { cause, retry_after: None },
                (_, true) => AgentError::Request(cause),
                _ => AgentError::Torn(cause),
            }
        })?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER);
        match classify(status, retry_after.is_some(), self.is_agentcore) {
            StatusClass::Accepted => {
                let head = Head::read(status.as_u16(), response.headers(), call.protocol)?;
                Ok(Answer { response, head })
            }
            StatusClass::Unauthorized => Err(AgentError::Unauthorized),
            StatusClass::NotAccepted => Err(AgentError::Unavailable {
                cause: format!("it answered {status}"),
                retry_after: retry_after.and_then(|value| status::retry_after(value, SystemTime::now().into())),
            }),
            StatusClass::Rejected => {
                Err(AgentError::Rejected { status, said: error_body(response, call, token).await })
            }
            StatusClass::TimedOut => Err(AgentError::TimedOut(status)),
            StatusClass::Failed => Err(AgentError::Failed { status, said: error_body(response, call, token).await }),
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

/// The beginning of an error's body, as far as it comes soon and may be repeated.
async fn error_body(mut response: Response, call: &Call, token: &Secret) -> Option<String> {
    // Compressed bytes are nobody's words.
    if head::content_encoding(response.headers()).is_some() {
        return None;
    }
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
    // Destructured in full: a new field of the task does not compile until it is sent, or left out on purpose.
    let Task {
        agent_id,
        prompt,
        // The attempt's own session id stands for it.
        session_id: _,
        model_id,
        working_directory,
        enabled_tools,
        reasoning_effort,
        input,
        // It is about the function's own attempts.
        rerun_if_interrupted: _,
    } = &fire.task;
    let mut body: Map<String, Value> = input.clone();
    let sent = [
        ("prompt", Some(json!(prompt))),
        ("targetUserId", Some(json!(fire.user_id))),
        ("agentId", Some(json!(agent_id))),
        ("sessionId", Some(json!(session_id))),
        ("modelId", model_id.as_ref().map(|value| json!(value))),
        ("enabledTools", enabled_tools.as_ref().map(|value| json!(value))),
        ("storagePath", working_directory.as_ref().map(|value| json!(value))),
        ("reasoningEffort", reasoning_effort.as_ref().map(|value| json!(value))),
    ];
    body.extend(sent.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
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

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        let message = chain(&error);
        let fatal = |error_type| Self::fatal(error_type, message.clone());
        match error {
            AgentError::Unavailable { .. } => Self::retryable(ErrorType::AgentUnavailable, message),
            AgentError::Unauthorized => fatal(ErrorType::AgentRejected),
            AgentError::Rejected { said, .. } => Self { agent_said: said, ..fatal(ErrorType::AgentRejected) },
            AgentError::Failed { said, .. } => Self { agent_said: said, ..fatal(ErrorType::AgentFailed) },
            AgentError::NoAnswer(_) | AgentError::HeadTooLarge => fatal(ErrorType::AgentFailed),
            AgentError::Torn(_) => fatal(ErrorType::StreamInterrupted),
            AgentError::Stalled(_) | AgentError::TimedOut(_) => fatal(ErrorType::StreamStalled),
            AgentError::Request(_) => fatal(ErrorType::Internal),
        }
    }
}
