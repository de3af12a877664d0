//! The content of one call in any protocol, and the ids that are derived from it.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    config::Secret,
    domain::{agent_definition::AgentDefinition, agent_profile::AgentProfile, fire::Fire, task::Task},
};

/// The way in which the agent of a detached run reports (docs/long-runs.md). The execution and the trigger are added.
#[derive(Debug, Clone)]
pub struct Callback {
    /// The token that proves a report. It is new for each attempt.
    pub token: Secret,
    /// The time by which the run must have ended, RFC 3339.
    pub deadline: String,
    /// The address of the reports' endpoint.
    pub url: Option<String>,
    /// The bus that carries reports.
    pub event_bus_name: Option<String>,
}

/// The content of one call in any protocol.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The task and the user.
    pub fire: &'a Fire,
    /// The session: AgentCore's, and the thread, context or conversation of the protocols.
    pub session_id: &'a str,
    /// The execution.
    pub execution_id: &'a str,
    /// The agent's row of the agents table.
    pub profile: Option<&'a AgentProfile>,
    /// The way in which the agent of a detached run reports.
    pub callback: Option<&'a Callback>,
}

impl<'a> Request<'a> {
    /// Returns the model: the one that the task asks for, or otherwise the definition's, or `None` without either.
    pub(super) fn model(&self, definition: &'a AgentDefinition) -> Option<&'a str> {
        self.fire.task.model_id.as_deref().or(definition.model.as_deref())
    }

    /// Returns the agent's name on its server: the definition's `name`, or otherwise the agent's id.
    pub(super) fn name_on_server(&self, definition: &'a AgentDefinition) -> &'a str {
        definition.name.as_deref().unwrap_or(&self.fire.task.agent_id)
    }

    /// Returns the system prompt of the agent's row, or `None` if there is no row or none in it.
    pub(super) fn system_prompt(&self) -> Option<&'a str> {
        self.profile.and_then(|profile| profile.system_prompt.as_deref())
    }

    /// Returns the settings of the call, under the names of `/invocations`, with the members of `input`. The task takes
    /// precedence over `input`, and that over the agent's row. A value that is absent everywhere is left out. The
    /// prompt and the session are not among them.
    pub(super) fn settings(&self, definition: &AgentDefinition) -> Map<String, Value> {
        // A new field of a task does not compile until it is sent, or said not to be.
        let Task {
            agent_id,
            enabled_tools,
            working_directory,
            reasoning_effort,
            input,
            // The session and the prompt have places of their own, and the model is one of two.
            prompt: _,
            session_id: _,
            model_id: _,
            // These are about the function's own attempts and records.
            rerun_if_interrupted: _,
            accept_finish_reasons: _,
            // Its callback has a place of its own.
            detached: _,
        } = &self.fire.task;
        let mut settings = Map::new();
        let profile = self.profile.cloned().unwrap_or_default();
        for (name, value) in [
            ("systemPrompt", profile.system_prompt.map(Value::from)),
            ("mcpConfig", profile.mcp_config),
            ("enabledTools", profile.enabled_tools.map(Value::from)),
            ("storagePath", profile.storage_path.map(Value::from)),
        ] {
            settings.extend(value.map(|value| (name.to_owned(), value)));
        }
        settings.extend(input.clone());
        for (name, value) in [
            ("targetUserId", Some(json!(self.fire.user_id))),
            ("agentId", Some(json!(agent_id))),
            ("modelId", self.model(definition).map(Value::from)),
            ("enabledTools", enabled_tools.as_ref().map(|tools| json!(tools))),
            ("storagePath", working_directory.as_ref().map(|path| json!(path))),
            ("reasoningEffort", reasoning_effort.as_ref().map(|effort| json!(effort))),
        ] {
            settings.extend(value.map(|value| (name.to_owned(), value)));
        }
        settings
    }

    /// Returns the callback of a detached run, and `None` for any other run. An address that is not set is left out.
    pub(super) fn callback(&self) -> Option<Value> {
        let Callback { token, deadline, url, event_bus_name } = self.callback?;
        let mut callback = json!({"executionId": self.execution_id, "triggerId": self.fire.trigger_id,
            "token": token.expose(), "deadline": deadline});
        for (name, value) in [("url", url), ("eventBusName", event_bus_name)] {
            if let Some(value) = value {
                callback[name] = json!(value);
            }
        }
        Some(callback)
    }

    /// Returns an id for one thing of this execution, a UUID made of the hash of the execution's id and `what`. It is
    /// the same for each attempt and each try, and another one for each `what`.
    pub(super) fn derived_id(&self, what: &str) -> String {
        let mut bytes = [0; 16];
        let digest = Sha256::digest(format!("{}\0{what}", self.execution_id));
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
    }

    /// Returns the session as a UUID, for servers that take no other ids. It is the session's own id if that is one, or
    /// otherwise one derived from it, so that a session has one thread.
    pub(super) fn session_uuid(&self) -> String {
        match Uuid::parse_str(self.session_id) {
            Ok(id) => id.to_string(),
            Err(_) => {
                let mut bytes = [0; 16];
                bytes.copy_from_slice(&Sha256::digest(self.session_id)[..16]);
                uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
            }
        }
    }
}
