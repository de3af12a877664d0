//! What an agent is sent: one file for each protocol's body. Every id in a body is the session's, the execution's, or
//! derived from it, so that another try sends the same bytes.

pub(super) mod a2a;
pub(super) mod adk;
mod ag_ui;
mod invocations;
mod langgraph;
pub(super) mod mcp;
mod openai;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::{
    agent_definition::AgentDefinition, agent_profile::AgentProfile, agent_template::Placeholders, fire::Fire,
    request_format::RequestFormat, task::Task,
};

/// What one call says, whatever the protocol.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What is asked, and for whom.
    pub fire: &'a Fire,
    /// The session: AgentCore's, and the thread, context or conversation of the protocols.
    pub session_id: &'a str,
    /// The execution.
    pub execution_id: &'a str,
    /// The agent's row of the agents table.
    pub profile: Option<&'a AgentProfile>,
}

impl<'a> Request<'a> {
    /// Returns the body for an agent of this definition.
    pub(super) fn body(&self, definition: &AgentDefinition) -> Value {
        match definition.format {
            RequestFormat::Invocations => invocations::body(self, definition),
            RequestFormat::AgUi => ag_ui::body(self, definition),
            RequestFormat::A2a(version) => a2a::body(self, definition, version),
            RequestFormat::Mcp => mcp::body(self, definition),
            RequestFormat::OpenaiResponses => openai::responses_body(self, definition),
            RequestFormat::OpenaiChat => openai::chat_body(self, definition),
            RequestFormat::Langgraph => langgraph::body(self, definition),
            RequestFormat::Adk => adk::body(self, definition),
            RequestFormat::Custom => self.custom_body(definition),
        }
    }

    /// Fills in the definition's template. Members of `input` stand beside the template's own.
    fn custom_body(&self, definition: &AgentDefinition) -> Value {
        let Fire { task, user_id, .. } = self.fire;
        let values = Placeholders {
            prompt: &task.prompt,
            session_id: self.session_id,
            execution_id: self.execution_id,
            user_id,
            agent_id: &task.agent_id,
            model_id: self.model(definition),
        };
        let mut body = definition.template.as_ref().map_or(Value::Null, |template| template.fill(values));
        if let Value::Object(members) = &mut body {
            for (name, value) in &task.input {
                members.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        body
    }

    /// Returns the model: the one asked for, else the definition's.
    fn model(&self, definition: &'a AgentDefinition) -> Option<&'a str> {
        self.fire.task.model_id.as_deref().or(definition.model.as_deref())
    }

    /// Returns the agent's name on its server.
    fn name_on_server(&self, definition: &'a AgentDefinition) -> &'a str {
        definition.name.as_deref().unwrap_or(&self.fire.task.agent_id)
    }

    fn system_prompt(&self) -> Option<&'a str> {
        self.profile.and_then(|profile| profile.system_prompt.as_deref())
    }

    /// Returns the members that tell what the agent is to use, under the names of `/invocations`, with those of `input`.
    /// What the trigger says wins over the agent's row; `input` wins over the row, and the task over `input`.
    fn settings(&self, definition: &AgentDefinition) -> Map<String, Value> {
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

    /// Returns an id for one thing of this execution, a UUID: the same each time it is computed.
    fn derived_id(&self, what: &str) -> String {
        let mut bytes = [0; 16];
        let digest = Sha256::digest(format!("{}\0{what}", self.execution_id));
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
    }

    /// Returns the session as a UUID, for servers that take no other ids: the session's own if it is one.
    fn session_uuid(&self) -> String {
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        domain::{agent_definition::Defaults, platform::Platform},
        events::schedule::{Event, parse},
    };

    /// The fire of an event with these members in its detail.
    pub(in crate::agent) fn fire(members: Value) -> Fire {
        let mut event = json!({"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": {"triggerId": "trigger-1",
            "userId": "user-1", "agentId": "agent-1", "prompt": "Say \"hi\"", "scheduledTime": "2026-01-31T07:00:00Z"}});
        for (name, value) in members.as_object().unwrap() {
            event["detail"][name] = value.clone();
        }
        match parse(Some(&event.to_string()), Platform::Other).unwrap() {
            Event::Scheduled(fire) => *fire,
            Event::Bus(event) => panic!("{event:?}"),
        }
    }

    /// A definition with these members.
    pub(in crate::agent) fn definition(members: Value) -> AgentDefinition {
        let mut definition = json!({"url": "https://a.example.com"});
        for (name, value) in members.as_object().unwrap() {
            definition[name] = value.clone();
        }
        let mut problems = Vec::new();
        let read = AgentDefinition::read("AGENTS", "agent-1", &definition, Defaults::default(), &mut problems);
        read.unwrap_or_else(|| panic!("{problems:?}"))
    }

    pub(in crate::agent) fn request(fire: &Fire) -> Request<'_> {
        Request { fire, session_id: "session-1", execution_id: "execution-1", profile: None }
    }

    #[test]
    fn a_retry_sends_the_same_ids_and_another_execution_others() {
        let fire = fire(json!({}));
        for format in RequestFormat::ALL {
            let mut members = json!({"protocol": format.as_str()});
            match format {
                RequestFormat::Mcp => members["tool"] = json!({"name": "run", "argument": "task"}),
                RequestFormat::Custom => members["template"] = json!(["{{prompt}}", "{{executionId}}"]),
                _ => {}
            }
            let definition = definition(members);
            let body = |execution_id| Request { execution_id, ..request(&fire) }.body(&definition);
            assert_eq!(body("execution-1"), body("execution-1"), "{format}");
            // These hold no id but the session's, which an event may give.
            let is_the_same = matches!(format, RequestFormat::Invocations | RequestFormat::Adk);
            assert_eq!(body("execution-1") == body("execution-2"), is_the_same, "{format}");
            assert!(body("execution-1").to_string().contains(r#"Say \"hi\""#), "{format}");
        }
    }

    #[test]
    fn a_custom_body_is_the_template_with_the_input_beside_it() {
        let fire = fire(json!({"input": {"order": 7, "q": "not this"}}));
        let template = json!({"q": "{{prompt}}", "session": "{{sessionId}}", "model": "{{modelId}}"});
        let definition = definition(json!({"protocol": "custom", "template": template}));
        let expected = json!({"q": "Say \"hi\"", "session": "session-1", "order": 7});
        assert_eq!(request(&fire).body(&definition), expected);
    }
}
