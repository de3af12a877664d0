//! AG-UI's RunAgentInput.
//! <https://docs.ag-ui.com/sdk/js/core/types#runagentinput>

use serde_json::{Value, json};

use crate::{agent::request::parts::Request, domain::agent_definition::AgentDefinition};

/// Returns the body. The session is the thread, and the execution is the run. The messages are the system prompt of the
/// agent's row, if there is one, and the prompt. The settings and `input` are the `forwardedProps`, the protocol's
/// place for values without a name of their own. If the row has a system prompt, no `systemPrompt` stands there, not
/// even that of `input`.
pub(super) fn body(request: &Request<'_>, definition: &AgentDefinition) -> Value {
    let user = json!({"id": request.derived_id("message"), "role": "user", "content": request.fire.task.prompt});
    let system = request
        .system_prompt()
        .map(|prompt| json!({"id": request.derived_id("system"), "role": "system", "content": prompt}));
    let mut properties = request.settings(definition);
    if system.is_some() {
        properties.remove("systemPrompt");
    }
    let mut body = json!({
        "threadId": request.session_id,
        "runId": request.execution_id,
        "state": {},
        "messages": system.into_iter().chain([user]).collect::<Vec<_>>(),
        "tools": [],
        "context": [],
    });
    // Not within json!, which spells numbers anew.
    body["forwardedProps"] = Value::Object(properties);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::request::tests::{definition, fire, request};

    #[test]
    fn the_body_is_a_run_of_the_sessions_thread() {
        let fire = fire(json!({"input": {"order": 7}}));
        let body = body(&request(&fire), &definition(json!({"protocol": "ag-ui"})));
        let id = body["messages"][0]["id"].clone();
        assert_eq!(id.as_str().unwrap().len(), 36);
        let expected = json!({"threadId": "session-1", "runId": "execution-1", "state": {}, "tools": [], "context": [],
            "messages": [{"id": id, "role": "user", "content": "Say \"hi\""}],
            "forwardedProps": {"order": 7, "targetUserId": "user-1", "agentId": "agent-1"}});
        assert_eq!(body, expected);
    }
}
