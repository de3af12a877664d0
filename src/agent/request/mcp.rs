//! MCP: the call of one tool, and the requests that open a session where the server wants one.
//! <https://modelcontextprotocol.io/specification/2025-06-18/basic/transports>

use serde_json::{Value, json};

use crate::{agent::request::parts::Request, domain::agent_definition::AgentDefinition};

/// The header of a session.
pub(crate) const SESSION_HEADER: &str = "mcp-session-id";
/// The header of the version that both sides agreed on.
pub(crate) const VERSION_HEADER: &str = "mcp-protocol-version";
/// The version that is asked for.
pub(crate) const VERSION: &str = "2025-06-18";

/// Returns the body: a call of the definition's tool. The tool gets the prompt as the argument that the definition
/// names, and the members of `input` as others. The prompt replaces a member of its name. Without a tool the name is
/// empty, and the prompt is left out.
pub(super) fn body(request: &Request<'_>, definition: &AgentDefinition) -> Value {
    let task = &request.fire.task;
    let mut arguments = task.input.clone();
    let name = definition.tool.as_ref().map_or("", |tool| &tool.name);
    if let Some(tool) = &definition.tool {
        arguments.insert(tool.argument.clone(), json!(task.prompt));
    }
    let mut body = json!({
        "jsonrpc": "2.0",
        "id": request.execution_id,
        "method": "tools/call",
        "params": {"name": name},
    });
    // Not within json!, which spells numbers anew.
    body["params"]["arguments"] = Value::Object(arguments);
    body
}

/// Returns the request that opens a session. The function offers the server no capabilities.
pub(crate) fn initialize(request: &Request<'_>) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": request.derived_id("initialize"),
        "method": "initialize",
        "params": {
            "protocolVersion": VERSION,
            "capabilities": {},
            "clientInfo": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
        },
    })
}

/// Returns the notification that the session is open.
pub(crate) fn initialized() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/initialized"})
}

/// Returns the version that the answer to `initialize` agrees to, sent as a document or in an event stream. The first
/// one that is named counts. Returns `None` if none is, or if it cannot stand in a header or has more than 32 bytes.
/// The caller then uses the version that it asked for. The answer may be cut off.
pub(crate) fn agreed_version(answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).ok()?;
    let documents = text.lines().filter_map(|line| line.strip_prefix("data:")).chain([text]);
    let mut versions = documents.filter_map(|document| {
        let document: Value = serde_json::from_str(document).ok()?;
        Some(document["result"]["protocolVersion"].as_str()?.to_owned())
    });
    versions.next().filter(|version| version.len() <= 32 && version.bytes().all(|byte| byte.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::request::tests::{definition, fire, request};

    #[test]
    fn the_tool_gets_the_prompt_and_the_input() {
        let fire = fire(json!({"input": {"order": 7, "task": "not this"}}));
        let tool = json!({"protocol": "mcp", "tool": {"name": "run", "argument": "task"}});
        let expected = json!({"jsonrpc": "2.0", "id": "execution-1", "method": "tools/call",
            "params": {"name": "run", "arguments": {"order": 7, "task": "Say \"hi\""}}});
        assert_eq!(body(&request(&fire), &definition(tool)), expected);
    }

    #[test]
    fn the_version_is_read_from_both_framings() {
        let document = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-03-26"}}"#;
        let version = Some("2025-03-26".to_owned());
        assert_eq!(agreed_version(document.as_bytes()), version);
        assert_eq!(agreed_version(format!("event: message\r\ndata: {document}\r\n\r\n").as_bytes()), version);
        for nothing in ["", "{}", r#"{"result":{"protocolVersion":"a b"}}"#] {
            assert_eq!(agreed_version(nothing.as_bytes()), None);
        }
    }
}
