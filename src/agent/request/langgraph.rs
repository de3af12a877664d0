//! A stateless run on a LangGraph server, `/runs/stream`.
//! <https://langchain-ai.github.io/langgraph/cloud/reference/api/api_ref.html>

use serde_json::{Value, json};

use crate::{agent::request::parts::Request, domain::agent_definition::AgentDefinition};

/// Returns the body. The session is the thread, as a UUID, because the server takes no other thread ids. `input` is the
/// graph's input. Its `messages` are replaced by the system prompt and the prompt. The mode `values` sends the whole
/// state after each step, whose last message is the answer.
pub(super) fn body(request: &Request<'_>, definition: &AgentDefinition) -> Value {
    let task = &request.fire.task;
    let system = request.system_prompt().map(|prompt| json!({"role": "system", "content": prompt}));
    let user = json!({"role": "user", "content": task.prompt, "id": request.derived_id("message")});
    let mut input = task.input.clone();
    input.insert("messages".into(), system.into_iter().chain([user]).collect());
    let mut configurable = json!({"thread_id": request.session_uuid(), "user_id": request.fire.user_id});
    if let Some(model) = request.model(definition) {
        configurable["model"] = json!(model);
    }
    let mut body = json!({
        "assistant_id": request.name_on_server(definition),
        "stream_mode": ["values"],
        "config": {"configurable": configurable},
        "metadata": {"executionId": request.execution_id, "sessionId": request.session_id},
    });
    // Not within json!, which spells numbers anew.
    body["input"] = Value::Object(input);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::request::tests::{definition, fire, request};

    #[test]
    fn the_body_is_a_run_of_the_assistant() {
        let fire = fire(json!({"input": {"order": 7}, "modelId": "m"}));
        let body = body(&request(&fire), &definition(json!({"protocol": "langgraph", "name": "graph"})));
        let (id, thread) = (&body["input"]["messages"][0]["id"], &body["config"]["configurable"]["thread_id"]);
        let expected = json!({"assistant_id": "graph", "stream_mode": ["values"],
            "input": {"order": 7, "messages": [{"role": "user", "content": "Say \"hi\"", "id": id}]},
            "config": {"configurable": {"thread_id": thread, "user_id": "user-1", "model": "m"}},
            "metadata": {"executionId": "execution-1", "sessionId": "session-1"}});
        assert_eq!(body, expected);
        assert_eq!(thread.as_str().unwrap().len(), 36);
        let own = "6a7e8feb-b491-4cf7-a9f1-bf3703467718";
        assert_eq!(Request { session_id: own, ..request(&fire) }.session_uuid(), own);
    }
}
