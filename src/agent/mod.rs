//! The agent: one POST in its protocol, the meaning of the status, and the answer read to the end.
//! <https://docs.aws.amazon.com/bedrock-agentcore/latest/APIReference/API_InvokeAgentRuntime.html>

mod acknowledgement;
mod agentcore;
pub mod authorization;
pub mod call;
pub mod decision;
pub mod decoder;
pub mod error;
pub mod framing;
mod head;
mod idle;
mod loose;
mod outcome;
pub(crate) mod protocol;
mod reading;
mod report;
pub mod request;
mod second_reading;
mod setup;
mod status;
pub mod transcript;
mod within;

use std::{
    panic,
    sync::Arc,
    time::{Duration, SystemTime},
};

use reqwest::{
    Client, Method, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use tokio::task::JoinSet;
use tracing::Span;

use crate::{
    agent::{
        acknowledgement::ShortBody,
        authorization::Authorization,
        call::{Call, SESSION_ID, Setup},
        decision::Decision,
        error::AgentError,
        head::Head,
        idle::Idle,
        status::{StatusClass, classify},
    },
    clock::Moment,
    domain::agent_definition::AgentDefinition,
    domain::answer::{AnswerError, End, Outcome, Progress, Verdict},
    domain::ending::StopOutcome,
    domain::protocol::Protocol,
    error_chain::chain,
};

/// The bytes of an error body that are read: enough for the record's 1 KiB after quotations of the prompt are masked.
const ERROR_BODY_LIMIT: usize = 16 * 1024;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a refusal behind which the call is tried again.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest wait for usage that may follow the terminal event. An agent may keep the connection open after it, and
/// send other things meanwhile.
const USAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// An agent that can be called.
#[derive(Debug)]
pub struct Agent {
    http: Client,
    /// Its definition.
    pub definition: Arc<AgentDefinition>,
    /// The URL of StopRuntimeSession, if the agent is an AgentCore runtime.
    stop_url: Option<Url>,
    idle_timeout: Option<Duration>,
}

/// An answer under way.
#[derive(Debug)]
pub struct Answer {
    response: Response,
    head: Head,
}

impl Answer {
    /// Returns the request id of the response's headers, or `None` if they have none.
    pub fn request_id(&self) -> Option<&str> {
        self.head.request_id.as_deref()
    }

    /// Reads it to its terminal event or its end, and calls `report` after each piece, with the moment at which it
    /// came. `run` is the span to log in, which is not entered with each piece.
    ///
    /// `idle_timeout` bounds the wait for each piece. The whole answer has no limit here. Once the run is decided, or
    /// the answer has ended, `decision` is told. After the decision the wait for usage is at most 2 s, and ends sooner
    /// if `decision` says so. An answer that is kept open counts as ended then. If the connection breaks, or closes
    /// where this cannot be distinguished from the body's end, the answer is torn. This is no error. A short body that
    /// acknowledges the execution is no result, whether or not the run is a detached one.
    ///
    /// # Errors
    /// Returns [`AgentError::Stalled`] if nothing comes for the idle timeout before the run is decided.
    async fn read(
        mut self,
        idle_timeout: Option<Duration>,
        report: impl Fn(Progress, Moment),
        decision: Decision,
        run: Span,
        execution_id: String,
    ) -> Result<Outcome, AgentError> {
        let Head { mut decoder, is_framed, .. } = self.head;
        let mut short = ShortBody::default();
        let mut moment = Moment::now();
        let mut idle = Idle::new(idle_timeout, moment.instant);
        let mut is_decided = false;
        let end = loop {
            let next = self.response.chunk();
            let chunk = match idle.limit() {
                _ if is_decided => tokio::select! {
                    // The ends of the wait come first: an agent may send without a pause.
                    biased;
                    () = decision.wait_ended() => break End::Framed,
                    () = idle.over() => break End::Framed,
                    chunk = next => chunk,
                },
                Some(limit) => tokio::select! {
                    biased;
                    chunk = next => chunk,
                    () = idle.over() => return Err(AgentError::Stalled(limit)),
                },
                None => next.await,
            };
            match chunk {
                Ok(Some(bytes)) => {
                    moment = moment.next();
                    idle.heard(moment.instant);
                    short.feed(&bytes);
                    let is_done = decoder.feed(&bytes).is_some();
                    report(decoder.progress(), moment);
                    if !is_decided && decoder.is_decided() {
                        is_decided = true;
                        decision.make();
                        idle.end_at(moment.instant + USAGE_TIMEOUT);
                    }
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
        decision.make();
        let outcome = decoder.finish(end);
        if end == End::Framed
            && let Some(acknowledgement) = short.acknowledges(&execution_id)
        {
            return Ok(outcome.acknowledged(acknowledgement));
        }
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
    /// Creates the agent of this definition, called through `http`. Without `idle_timeout` its answers may be silent
    /// for as long as the caller waits.
    pub fn new(definition: Arc<AgentDefinition>, http: Client, idle_timeout: Option<Duration>) -> Self {
        Self { http, stop_url: agentcore::stop_url(&definition.url), definition, idle_timeout }
    }

    /// Sends the request in one try, after those that its protocol needs before it, and reads the head of the answer.
    /// ADK's session is made first. If an MCP server answers 400, a session is requested from it, and if it gives one,
    /// the request is sent once more. The wait for the head has no limit here. The caller decides by the error whether
    /// it may try again.
    ///
    /// # Errors
    /// Returns an error if there is no answer, or if its status, coding or content type says that there will be none. A
    /// session that cannot be made, and a request that cannot be built or signed, are errors, too.
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

    /// Sends one request in one try and returns the head of the response, whatever its status. The wait has no limit
    /// here.
    ///
    /// # Errors
    /// Returns `Unavailable` if no connection was made: the agent has nothing of the request. Returns `Torn` if the
    /// connection broke later, when the agent may be at work. Returns `Request` if the request cannot be built or
    /// signed. Returns `HeadTooLarge` if the head of the response is larger than hyper reads.
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
            // hyper's words: its own error type is none of reqwest's interface.
            if cause.contains("message head is too large") {
                return AgentError::HeadTooLarge;
            }
            match (is_connect, is_builder) {
                (true, _) => AgentError::Unavailable { cause, retry_after: None, said: None },
                (_, true) => AgentError::Request(cause),
                _ => AgentError::Torn(cause),
            }
        })
    }

    /// Decides by its head whether a response is an answer. Its content type and coding are examined only if its status
    /// accepts the call. For a refusal or a failure the beginning of the body is read, cleaned of `call` and
    /// `authorization`.
    ///
    /// # Errors
    /// Returns the error that the status stands for, or that the head cannot be read.
    async fn judge(
        &self,
        response: Response,
        call: &Call,
        authorization: &Authorization,
    ) -> Result<Answer, AgentError> {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER);
        match classify(status, retry_after.is_some(), self.definition.is_agentcore) {
            StatusClass::Accepted => {
                let head = Head::read(status.as_u16(), response.headers(), Some(self.definition.protocol()))?;
                Ok(Answer { response, head })
            }
            StatusClass::Unauthorized => {
                Err(AgentError::Unauthorized { said: error_body(response, REFUSAL_TIMEOUT, call, authorization).await })
            }
            StatusClass::NotAccepted => Err(AgentError::Unavailable {
                cause: format!("it answered {status}"),
                retry_after: retry_after.and_then(|value| status::retry_after(value, SystemTime::now().into())),
                said: error_body(response, REFUSAL_TIMEOUT, call, authorization).await,
            }),
            StatusClass::Rejected => Err(AgentError::Rejected {
                status,
                said: error_body(response, ERROR_BODY_TIMEOUT, call, authorization).await,
            }),
            StatusClass::TimedOut => Err(AgentError::TimedOut(status)),
            StatusClass::Failed => Err(AgentError::Failed {
                status,
                said: error_body(response, ERROR_BODY_TIMEOUT, call, authorization).await,
            }),
        }
    }

    /// Reads an answer to its terminal event or its end, and reports the progress after each piece of it, with the
    /// moment at which it came. `decision` is told when the answer is decided, and may end the wait for usage that
    /// follows. The agent's words for a failure are masked by `call` and `authorization`. If the future is dropped,
    /// reading ends and the connection closes.
    ///
    /// # Errors
    /// Returns [`AgentError::Stalled`] if nothing comes for the idle timeout before the run is decided.
    pub async fn read(
        &self,
        answer: Answer,
        call: &Call,
        authorization: &Authorization,
        report: impl Fn(Progress, Moment) + Send + 'static,
        decision: &Decision,
    ) -> Result<Outcome, AgentError> {
        // In a task, so that a piece of the answer wakes the task alone, and not every layer of a run above it. The set
        // ends the task when this is dropped.
        let mut reading = JoinSet::new();
        let execution_id = call.execution_id.clone();
        reading.spawn(answer.read(self.idle_timeout, report, decision.clone(), Span::current(), execution_id));
        let read = reading.join_next().await.expect("one task was spawned");
        let mut outcome = read.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()))?;
        if let Verdict::Failed(AnswerError::Reported { message: Some(message) }) = &mut outcome.verdict {
            *message = call.clean(message, authorization);
        }
        Ok(outcome)
    }
}

impl Agent {
    /// Returns true if the sessions of its calls can be stopped: those of AgentCore.
    pub(crate) fn can_be_stopped(&self) -> bool {
        self.stop_url.is_some()
    }

    /// Asks AgentCore once to stop the session of a call. Only the status of its answer counts. A request that fails
    /// counts as not confirmed and is no error. Returns `None` if the agent is not on AgentCore or the session id
    /// cannot be sent. The caller limits the time.
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

/// Returns the beginning of an error's body, masked, as far as it comes within `limit`. Returns `None` if it is
/// compressed, or if neither words nor the hint of [`Call::clean`] are left of it.
async fn error_body(
    mut response: Response,
    limit: Duration,
    call: &Call,
    authorization: &Authorization,
) -> Option<String> {
    // Compressed bytes are nobody's words.
    if head::content_encoding(response.headers()).is_some() {
        return None;
    }
    let body = beginning_of(&mut response, limit).await;
    let said = call.clean(String::from_utf8_lossy(&body).trim(), authorization);
    Some(said).filter(|said| !said.is_empty())
}

/// Returns the beginning of a body: at most 16 KiB of it, as far as it comes within `limit`. A connection that breaks
/// ends it, too.
async fn beginning_of(response: &mut Response, limit: Duration) -> Vec<u8> {
    let mut body = Vec::new();
    // The bytes that came by then are kept.
    let _ = tokio::time::timeout(limit, async {
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
