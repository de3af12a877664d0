//! The body of an agent that speaks a protocol of its own: the template of its definition.

use serde_json::Value;

use crate::{
    agent::request::parts::Request,
    domain::{agent_definition::AgentDefinition, agent_template::Placeholders, fire::Fire},
};

/// Returns the definition's template, filled in. Members of `input` stand beside the template's own, which take
/// precedence. A template that is no object has no place for them, so they are left out. Without a template the body is
/// null.
pub(super) fn body(request: &Request<'_>, definition: &AgentDefinition) -> Value {
    let Fire { task, user_id, .. } = request.fire;
    let values = Placeholders {
        prompt: &task.prompt,
        session_id: request.session_id,
        execution_id: request.execution_id,
        user_id,
        agent_id: &task.agent_id,
        model_id: request.model(definition),
    };
    let mut body = definition.template.as_ref().map_or(Value::Null, |template| template.fill(values));
    if let Value::Object(members) = &mut body {
        for (name, value) in &task.input {
            members.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    body
}
