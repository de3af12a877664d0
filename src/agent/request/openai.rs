//! OpenAI's Responses and Chat Completions APIs, and the many servers that speak them.
//! <https://platform.openai.com/docs/api-reference/responses/create>,
//! <https://platform.openai.com/docs/api-reference/chat/create>

use serde_json::{Map, Value, json};

use crate::{agent::request::parts::Request, domain::agent_definition::AgentDefinition};

/// Returns the body of the Responses API. `input` goes into the metadata. A system prompt and a reasoning effort are
/// left out if there are none.
pub(super) fn responses_body(request: &Request<'_>, definition: &AgentDefinition) -> Value {
    let task = &request.fire.task;
    let mut body = json!({
        "model": model(request, definition),
        "input": [{"role": "user", "content": task.prompt}],
        "stream": true,
        "metadata": metadata(request),
    });
    if let Some(prompt) = request.system_prompt() {
        body["instructions"] = json!(prompt);
    }
    if let Some(effort) = &task.reasoning_effort {
        body["reasoning"] = json!({"effort": effort});
    }
    body
}

/// Returns the body of the Chat Completions API. `input` goes into the metadata, and the system prompt before the
/// user's message. Without `stream_options` a stream does not report its usage.
pub(super) fn chat_body(request: &Request<'_>, definition: &AgentDefinition) -> Value {
    let task = &request.fire.task;
    let system = request.system_prompt().map(|prompt| json!({"role": "system", "content": prompt}));
    let user = json!({"role": "user", "content": task.prompt});
    let mut body = json!({
        "model": model(request, definition),
        "messages": system.into_iter().chain([user]).collect::<Vec<_>>(),
        "stream": true,
        "stream_options": {"include_usage": true},
        "metadata": metadata(request),
    });
    if let Some(effort) = &task.reasoning_effort {
        body["reasoning_effort"] = json!(effort);
    }
    body
}

/// Returns the model: the one asked for, or otherwise the definition's. Without either it is the agent's name, because
/// some servers offer agents as models.
fn model<'a>(request: &Request<'a>, definition: &'a AgentDefinition) -> &'a str {
    request.model(definition).unwrap_or_else(|| request.name_on_server(definition))
}

/// Returns the metadata: the members of `input`, and the ids of the execution, session, trigger, user and agent, which
/// replace members of the same names. A value that is no text is written as JSON, because the API takes only texts.
/// Nothing is cut to the limits of OpenAI's own servers: they reject the call.
fn metadata(request: &Request<'_>) -> Map<String, Value> {
    let fire = request.fire;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut metadata: Map<_, _> =
        fire.task.input.iter().map(|(name, value)| (name.clone(), Value::String(text(value)))).collect();
    for (name, value) in [
        ("executionId", request.execution_id),
        ("sessionId", request.session_id),
        ("triggerId", fire.trigger_id.as_str()),
        ("userId", fire.user_id.as_str()),
        ("agentId", fire.task.agent_id.as_str()),
    ] {
        metadata.insert(name.to_owned(), json!(value));
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::request::tests::{definition, fire, request};

    #[test]
    fn both_have_the_model_the_prompt_and_texts_as_metadata() {
        let fire = fire(json!({"input": {"order": 7, "colour": "red"}, "reasoningEffort": "low"}));
        let metadata = json!({"order": "7", "colour": "red", "executionId": "execution-1", "sessionId": "session-1",
            "triggerId": "trigger-1", "userId": "user-1", "agentId": "agent-1"});
        let messages = json!([{"role": "user", "content": "Say \"hi\""}]);
        let expected = json!({"model": "agent-1", "input": messages, "stream": true, "reasoning": {"effort": "low"},
            "metadata": metadata});
        assert_eq!(responses_body(&request(&fire), &definition(json!({}))), expected);
        let expected = json!({"model": "m", "messages": messages, "stream": true, "reasoning_effort": "low",
            "stream_options": {"include_usage": true}, "metadata": metadata});
        assert_eq!(chat_body(&request(&fire), &definition(json!({"model": "m"}))), expected);
    }
}
