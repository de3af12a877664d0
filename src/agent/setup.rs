//! The requests that a protocol needs before its call: ADK's session, and MCP's if the server requires one. No run has
//! begun while they are made, so their failures are those of an agent that did not accept the call.

use reqwest::{
    StatusCode, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use crate::agent::{
    Agent,
    authorization::Authorization,
    call::{Call, bytes},
    error::AgentError,
    request::mcp,
};

impl Agent {
    /// Makes the session of an ADK server at `url`. Every 2xx status counts as success. The server answers 400 or 409
    /// if the session is there already, so these count as success, too.
    ///
    /// # Errors
    /// Returns the errors of a call that the agent did not accept, see [`not_begun`].
    pub(super) async fn make_adk_session(
        &self,
        url: &Url,
        call: &Call,
        authorization: &Authorization,
    ) -> Result<(), AgentError> {
        let response = self.send(url, call.headers.clone(), b"{}".to_vec(), authorization).await;
        let response = response.map_err(not_begun)?;
        match response.status() {
            status if status.is_success() => Ok(()),
            StatusCode::BAD_REQUEST | StatusCode::CONFLICT => Ok(()),
            _ => match self.judge(response, call, authorization).await {
                Ok(_) => Ok(()),
                Err(error) => Err(not_begun(error)),
            },
        }
    }

    /// Opens a session on an MCP server by `initialize` and its notification, each in one try. Returns the call's
    /// headers with those that name the session and the version. The version is the one that the server agreed to, or
    /// the one asked for if its answer names none. Returns `None` if the server gives no session, or answers one of the
    /// two with another status than 2xx: then it refused the call for another reason.
    ///
    /// # Errors
    /// Returns the errors of a call that the agent did not accept, see [`not_begun`].
    pub(super) async fn open_mcp_session(
        &self,
        initialize: &[u8],
        call: &Call,
        authorization: &Authorization,
    ) -> Result<Option<HeaderMap>, AgentError> {
        let headers = call.headers.clone();
        let sent = self.send(&self.definition.url, headers.clone(), initialize.to_vec(), authorization).await;
        let mut response = sent.map_err(not_begun)?;
        let session = response.headers().get(mcp::SESSION_HEADER).cloned();
        let Some(session) = session.filter(|_| response.status().is_success()) else { return Ok(None) };
        let answer = super::beginning_of(&mut response, super::ERROR_BODY_TIMEOUT).await;
        let version = mcp::agreed_version(&answer).and_then(|version| HeaderValue::from_str(&version).ok());
        let version = version.unwrap_or(HeaderValue::from_static(mcp::VERSION));
        let mut with_session = headers;
        with_session.insert(HeaderName::from_static(mcp::SESSION_HEADER), session);
        with_session.insert(HeaderName::from_static(mcp::VERSION_HEADER), version);
        let initialized = bytes(&mcp::initialized())?;
        let sent = self.send(&self.definition.url, with_session.clone(), initialized, authorization).await;
        let response = sent.map_err(not_begun)?;
        if !response.status().is_success() {
            return Ok(None);
        }
        Ok(Some(with_session))
    }
}

/// Returns the error of a request that came before the call. No work of the agent was lost with it. So a broken
/// connection and a failure of the agent become `Unavailable`, after which another try is safe. All other errors stay.
fn not_begun(error: AgentError) -> AgentError {
    match error {
        AgentError::Torn(cause) => AgentError::Unavailable { cause, retry_after: None, said: None },
        AgentError::Failed { status, said } => AgentError::Unavailable {
            cause: format!("it answered {status} when its session was made"),
            retry_after: None,
            said,
        },
        other => other,
    }
}
