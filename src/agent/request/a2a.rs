//! A2A's streamed message, in the names of version 0.3 or 1.0.
//! <https://a2a-protocol.org/v0.3.0/specification/#72-messagestream>,
//! <https://a2a-protocol.org/latest/specification/>

use serde_json::{Value, json};

use crate::{
    agent::request::parts::Request,
    domain::{agent_definition::AgentDefinition, request_format::A2aVersion, task::CALLBACK},
};

/// The header that asks for version 1.0. Without it a server takes a request for 0.3.
pub(crate) const VERSION_HEADER: &str = "a2a-version";

/// Returns the body: a JSON-RPC request that streams the answer to one message. The session is the context, and the
/// execution's id is the request's. The settings and `input` are the `metadata`, the protocol's place for values
/// without a name of their own. The callback of a detached run is in the message's metadata. Nothing is added to the
/// JSON-RPC envelope.
pub(super) fn body(request: &Request<'_>, definition: &AgentDefinition, version: A2aVersion) -> Value {
    let prompt = &request.fire.task.prompt;
    let message_id = request.derived_id("message");
    let (method, message) = match version {
        A2aVersion::V0_3 => (
            "message/stream",
            json!({"kind": "message", "messageId": message_id, "contextId": request.session_id, "role": "user",
                "parts": [{"kind": "text", "text": prompt}]}),
        ),
        A2aVersion::V1_0 => (
            "SendStreamingMessage",
            json!({"messageId": message_id, "contextId": request.session_id, "role": "ROLE_USER",
                "parts": [{"text": prompt}]}),
        ),
    };
    let mut body = json!({
        "jsonrpc": "2.0",
        "id": request.execution_id,
        "method": method,
        "params": {"message": message},
    });
    // Not within json!, which spells numbers anew.
    body["params"]["metadata"] = Value::Object(request.settings(definition));
    if let Some(callback) = request.callback() {
        body["params"]["message"]["metadata"] = json!({CALLBACK: callback});
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::request::tests::{definition, fire, request};

    #[test]
    fn each_version_has_its_own_names() {
        let fire = fire(json!({"input": {"order": 7}}));
        let definition = definition(json!({"protocol": "a2a"}));
        let metadata = json!({"order": 7, "targetUserId": "user-1", "agentId": "agent-1"});
        for (version, method, role, part) in [
            (A2aVersion::V0_3, "message/stream", "user", json!({"kind": "text", "text": "Say \"hi\""})),
            (A2aVersion::V1_0, "SendStreamingMessage", "ROLE_USER", json!({"text": "Say \"hi\""})),
        ] {
            let body = body(&request(&fire), &definition, version);
            let mut message = json!({"messageId": body["params"]["message"]["messageId"], "contextId": "session-1",
                "role": role, "parts": [part]});
            if version == A2aVersion::V0_3 {
                message["kind"] = json!("message");
            }
            let expected = json!({"jsonrpc": "2.0", "id": "execution-1", "method": method,
                "params": {"message": message, "metadata": metadata}});
            assert_eq!(body, expected);
        }
    }
}
