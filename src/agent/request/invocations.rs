//! The body of `/invocations`, as AgentCore's samples and moca read it.

use serde_json::{Value, json};

use crate::{
    agent::request::parts::Request,
    domain::{agent_definition::AgentDefinition, task::CALLBACK},
};

/// Returns the body: the settings as members, and the prompt, the session and the callback of a detached run, which
/// replace members of the same names. Absent members are left out.
pub(super) fn body(request: &Request<'_>, definition: &AgentDefinition) -> Value {
    let mut body = request.settings(definition);
    body.insert("prompt".into(), json!(request.fire.task.prompt));
    body.insert("sessionId".into(), json!(request.session_id));
    body.extend(request.callback().map(|callback| (CALLBACK.to_owned(), callback)));
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::request::tests::{definition, fire, request},
        domain::agent_profile::AgentProfile,
    };

    #[test]
    fn the_body_holds_what_is_asked_and_nothing_absent() {
        let fire = fire(json!({"input": {"order": 7}, "reasoningEffort": "high"}));
        let body = body(&request(&fire), &definition(json!({"model": "m"})));
        let expected = json!({"prompt": "Say \"hi\"", "targetUserId": "user-1", "agentId": "agent-1", "sessionId": "session-1",
            "modelId": "m", "reasoningEffort": "high", "order": 7});
        assert_eq!(body, expected);
    }

    #[test]
    fn the_trigger_wins_over_the_agents_row() {
        let row = json!({"systemPrompt": "Be brief", "enabledTools": ["a"], "defaultStoragePath": "/row",
            "mcpConfig": {"mcpServers": {}}});
        let profile = AgentProfile::read(row.as_object().unwrap());
        let of_row =
            |body: &Value| ["systemPrompt", "enabledTools", "storagePath", "mcpConfig"].map(|name| body[name].clone());
        for (task, expected) in [
            (json!({}), [json!("Be brief"), json!(["a"]), json!("/row"), json!({"mcpServers": {}})]),
            (
                json!({"enabledTools": [], "workingDirectory": "/own", "input": {"systemPrompt": "x", "mcpConfig": null}}),
                [json!("x"), json!([]), json!("/own"), json!(null)],
            ),
        ] {
            let fire = fire(task);
            let request = Request { profile: Some(&profile), ..request(&fire) };
            assert_eq!(of_row(&body(&request, &definition(json!({})))), expected);
        }
    }
}
