//! One call: the bytes and headers that are the same for each of its tries.

use reqwest::{
    Url,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;

use crate::{
    agent::{
        authorization::Authorization,
        error::AgentError,
        request::{a2a, adk, body, mcp, parts::Request},
    },
    domain::{
        agent_definition::AgentDefinition,
        request_format::{A2aVersion, RequestFormat},
        trace::traceparent,
    },
    json::surrogate,
    redact::redact,
};

const ANSWERS: &str = "text/event-stream, application/x-ndjson, application/json, text/plain";
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("x-amzn-bedrock-agentcore-runtime-session-id");
const SESSION_TYPE: HeaderName = HeaderName::from_static("x-amzn-bedrock-agentcore-runtime-session-type");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The hint that is added to the words of an agent on AgentCore that was asked for A2A 1.0. No answer names the most
/// common cause.
const A2A_HINT: &str =
    "AgentCore passes the header A2A-Version on only if the runtime's allow-list of headers names it";

/// The part of an agent's call that each of its tries sends.
#[derive(Debug)]
pub struct Call {
    pub(super) body: Vec<u8>,
    pub(super) headers: HeaderMap,
    pub(super) setup: Option<Setup>,
    pub(super) execution_id: String,
    /// The texts that must be masked in the agent's words, see [`private_texts`].
    private: Vec<String>,
    hint: Option<&'static str>,
}

/// The requests that a protocol may need before the call.
#[derive(Debug)]
pub(super) enum Setup {
    /// ADK runs only in a session that exists.
    AdkSession(Url),
    /// An MCP server that wants a session refuses the call until it has one. Holds the request that opens it.
    McpSession(Vec<u8>),
}

impl Call {
    /// Builds the call of an agent with this definition. `xray_trace_id` is Lambda's own trace. Without it, or if it
    /// cannot be sent, the call has no trace headers. The authorization is no part of the call, because each request
    /// gets its own.
    ///
    /// # Errors
    /// Returns an error if a value cannot be sent, which the checks of events and settings rule out.
    pub fn new(
        definition: &AgentDefinition,
        request: &Request<'_>,
        xray_trace_id: Option<&str>,
    ) -> Result<Self, AgentError> {
        let setup = match definition.format {
            RequestFormat::Adk => Some(Setup::AdkSession(adk::session_url(request, definition))),
            RequestFormat::Mcp => Some(Setup::McpSession(bytes(&mcp::initialize(request))?)),
            _ => None,
        };
        Ok(Self {
            body: bytes(&body(request, definition))?,
            headers: request_headers(definition, request, xray_trace_id)?,
            setup,
            execution_id: request.execution_id.to_owned(),
            private: private_texts(request),
            hint: (definition.is_agentcore && definition.format == RequestFormat::A2a(A2aVersion::V1_0))
                .then_some(A2A_HINT),
        })
    }

    /// Returns the agent's words with everything masked that quotes the prompt, the texts and numbers of `input`, the
    /// system prompt and those of `mcpConfig` in the agent's row, the token of a detached run, or the secret of
    /// `authorization`, as [`redact`] does. If AgentCore may have withheld the header of the A2A version, a hint at
    /// this follows, even after no words.
    pub(super) fn clean(&self, said: &str, authorization: &Authorization) -> String {
        let private = self.private.iter().map(String::as_str).chain(authorization.secret());
        let said = redact(said, &private.collect::<Vec<_>>());
        match self.hint {
            Some(hint) => format!("{said} ({hint})").trim_start().to_owned(),
            None => said,
        }
    }
}

/// Returns a body as JSON text. Halves of surrogate pairs in it are escapes, as the event had them.
///
/// # Errors
/// Returns an error if the body cannot be written as JSON, which does not happen.
pub(super) fn bytes(body: &Value) -> Result<Vec<u8>, AgentError> {
    let json = serde_json::to_string(body).map_err(|error| AgentError::Request(error.to_string()))?;
    Ok(surrogate::unmarked(json).into_bytes())
}

/// Returns the headers that each try of a call sends, all but the authorization. The function's own replace those of
/// the definition. AgentCore and agents of the form `invocations` also get the headers of AgentCore's session. A trace
/// header that cannot be sent is left out.
///
/// # Errors
/// Returns an error if a header of the definition or the session id cannot be sent.
fn request_headers(
    definition: &AgentDefinition,
    request: &Request<'_>,
    xray_trace_id: Option<&str>,
) -> Result<HeaderMap, AgentError> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| AgentError::Request(error.to_string()));
    let mut headers = HeaderMap::new();
    for (name, text) in &definition.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| AgentError::Request(error.to_string()))?;
        headers.insert(name, value(text)?);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static(ANSWERS));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if definition.is_agentcore || definition.format == RequestFormat::Invocations {
        headers.insert(SESSION_TYPE, HeaderValue::from_static("event"));
        headers.insert(SESSION_ID, value(request.session_id)?);
    }
    if definition.format == RequestFormat::A2a(A2aVersion::V1_0) {
        headers.insert(HeaderName::from_static(a2a::VERSION_HEADER), HeaderValue::from_static("1.0"));
    }
    // A trace header of a strange form is not worth a run.
    if let Some(value) = xray_trace_id.and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert(TRACE_ID, value);
    }
    if let Some(value) = xray_trace_id.and_then(traceparent).and_then(|id| HeaderValue::from_str(&id).ok()) {
        headers.insert(TRACEPARENT, value);
    }
    Ok(headers)
}

/// Returns the texts of a request that must not be repeated: the prompt, the token of a detached run, the values within
/// `input`, and from the agent's row the system prompt and the values within `mcpConfig`. Half a surrogate pair in them
/// is U+FFFD, as the agent quotes it.
fn private_texts(request: &Request<'_>) -> Vec<String> {
    let task = &request.fire.task;
    let mut private = vec![task.prompt.clone()];
    private.extend(request.callback.map(|callback| callback.token.expose().to_owned()));
    task.input.values().for_each(|value| collect_texts(value, &mut private));
    if let Some(profile) = request.profile {
        private.extend(profile.system_prompt.clone());
        profile.mcp_config.iter().for_each(|config| collect_texts(config, &mut private));
    }
    // The agent quotes half a surrogate pair as U+FFFD.
    private.iter_mut().for_each(|text| *text = surrogate::shown(text).into_owned());
    private
}

/// Appends every text and every number within a value, at any depth. The names of members are left out, and so are
/// booleans and nulls, which would mask ordinary words.
fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Number(number) => texts.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(fields) => fields.values().for_each(|field| collect_texts(field, texts)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agent::request::tests::{definition, fire, request};

    #[test]
    fn an_agent_on_agentcore_that_refuses_a2a_1_0_is_said_to_need_the_header() {
        let arn = "arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/x";
        for (url, protocol, is_hinted) in
            [(arn, "a2a-1.0", true), (arn, "a2a", false), ("https://a.example.com", "a2a-1.0", false)]
        {
            let fire = fire(json!({}));
            let call =
                Call::new(&definition(json!({"url": url, "protocol": protocol})), &request(&fire), None).unwrap();
            let said = call.clean("version not supported", &Authorization::None);
            assert_eq!(said.contains("A2A-Version"), is_hinted, "{said}");
            assert!(said.starts_with("version not supported"));
        }
    }
}
