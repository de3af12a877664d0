//! An agent's row in the agents table (`AGENTS_TABLE_NAME`). Requests use it for what neither the event nor the trigger
//! names.

use std::fmt;

use serde_json::{Map, Value};

/// An agent's row, as far as a request holds it. It must not get into a log, a record or a replay, because it holds
/// prompts and the secrets of MCP servers.
#[derive(Clone, Default, PartialEq)]
pub struct AgentProfile {
    /// `systemPrompt`.
    pub system_prompt: Option<String>,
    /// `enabledTools`.
    pub enabled_tools: Option<Vec<String>>,
    /// `mcpConfig`.
    pub mcp_config: Option<Value>,
    /// `defaultStoragePath`.
    pub storage_path: Option<String>,
}

/// The mark in a row of environment values that are kept in SSM.
const SENTINEL: &str = "__ssm";

impl AgentProfile {
    /// Reads a row. The table belongs to others, so a member of another type than its own counts as absent, and so does
    /// a list with an element that is no text. Empty texts count as absent. An empty list of tools does not: the agent
    /// then gets no tools. The environments of MCP servers may still be marks, see [`Self::needs_mcp_env`].
    pub fn read(row: &Map<String, Value>) -> Self {
        let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
        let texts = |name: &str| {
            let items = row.get(name)?.as_array()?;
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        Self {
            system_prompt: text("systemPrompt").filter(|prompt| !prompt.is_empty()),
            enabled_tools: texts("enabledTools"),
            mcp_config: row.get("mcpConfig").filter(|config| config.is_object()).cloned(),
            storage_path: text("defaultStoragePath").filter(|path| !path.is_empty()),
        }
    }

    /// Returns true if at least one MCP server of `mcpConfig` has the mark in place of its environment. The caller must
    /// then read the environments from SSM and call [`Self::restore_mcp_env`].
    pub fn needs_mcp_env(&self) -> bool {
        let servers = self.mcp_config.as_ref().and_then(|config| config.get("mcpServers")?.as_object());
        servers.is_some_and(|servers| servers.values().any(|server| is_sentinel(server.get("env"))))
    }

    /// Replaces the `env` of each MCP server whose environment is kept in SSM. `env` holds the environments by the
    /// servers' names. If it holds no object for a server, the server's `env` is removed: the mark is no environment.
    /// All other servers stay as they are.
    pub fn restore_mcp_env(&mut self, env: &Value) {
        let servers = self.mcp_config.as_mut().and_then(|config| config.get_mut("mcpServers")?.as_object_mut());
        for (name, server) in servers.into_iter().flatten() {
            if let (true, Some(server)) = (is_sentinel(server.get("env")), server.as_object_mut()) {
                match env.get(name).filter(|env| env.is_object()) {
                    Some(env) => server.insert("env".to_owned(), env.clone()),
                    None => server.remove("env"),
                };
            }
        }
    }
}

/// Returns true if the `env` of an MCP server is the mark: an object whose member `__ssm` is `true`.
fn is_sentinel(env: Option<&Value>) -> bool {
    env.and_then(|env| env.get(SENTINEL)) == Some(&Value::Bool(true))
}

/// Shows nothing of the row.
impl fmt::Debug for AgentProfile {
    /// Writes the name of the type and nothing of the row.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentProfile")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn environments_are_put_where_their_mark_is() {
        let row = json!({"systemPrompt": "Be brief", "enabledTools": ["a", "b"], "defaultStoragePath": "/x",
            "mcpConfig": {"mcpServers": {"s": {"command": "run", "env": {"__ssm": true}}, "t": {"env": {"A": "b"}},
                "u": {"env": {"__ssm": true}}}}});
        let mut profile = AgentProfile::read(row.as_object().unwrap());
        assert!(profile.needs_mcp_env());
        profile.restore_mcp_env(&json!({"s": {"KEY": "hush"}, "t": {"A": "c"}}));
        assert!(!profile.needs_mcp_env());
        let expected = json!({"s": {"command": "run", "env": {"KEY": "hush"}}, "t": {"env": {"A": "b"}}, "u": {}});
        assert_eq!(profile.mcp_config.as_ref().unwrap()["mcpServers"], expected);
        assert!(!format!("{profile:?}").contains("hush"));
    }

    #[test]
    fn members_of_another_type_count_as_absent() {
        let row = json!({"systemPrompt": 1, "enabledTools": ["a", 1], "mcpConfig": "x", "defaultStoragePath": ""});
        assert_eq!(AgentProfile::read(row.as_object().unwrap()), AgentProfile::default());
    }
}
