//! A task: what an agent is asked to do.

use serde_json::{Map, Value, json};

use crate::json::fields::{Fields, member, push};

/// AgentCore's runtimeSessionId has 33 to 256 characters (InvokeAgentRuntime, API reference).
const SESSION_ID_LIMIT: usize = 256;
pub(crate) const AGENTCORE_SESSION_ID_LENGTH: usize = 33;
/// The names of the agent's request body that the function sets. An `input` must not hold them.
pub const BODY_FIELDS: [&str; 8] =
    ["prompt", "targetUserId", "agentId", "sessionId", "modelId", "enabledTools", "storagePath", "reasoningEffort"];

/// What an agent is asked to do, as scheduled events, trigger items and kept inputs spell it. It has no default: a new
/// field does not compile until every reader handles it.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The agent to run.
    pub agent_id: String,
    /// The prompt.
    pub prompt: String,
    /// The agent session to use instead of one of the execution's own.
    pub session_id: Option<String>,
    /// The model the agent should use.
    pub model_id: Option<String>,
    /// The agent's working directory, its `storagePath`.
    pub working_directory: Option<String>,
    /// The tools the agent may use.
    pub enabled_tools: Option<Vec<String>>,
    /// How hard the model should think.
    pub reasoning_effort: Option<String>,
    /// Further fields of the agent's request body.
    pub input: Map<String, Value>,
    /// Whether an execution whose attempt died runs again (`onInterrupted: "rerun"`).
    pub rerun_if_interrupted: bool,
}

impl Task {
    /// Reads a task. Problems go into `fields`; a field with a problem is left empty. `is_agentcore` holds session ids
    /// to AgentCore's length.
    pub(crate) fn read(fields: &mut Fields<'_>, is_agentcore: bool) -> Self {
        Self {
            agent_id: fields.id("agentId").unwrap_or_default(),
            prompt: fields.required_text("prompt").unwrap_or_default(),
            session_id: session_id(fields, is_agentcore),
            model_id: fields.text("modelId"),
            working_directory: fields.text("workingDirectory"),
            enabled_tools: fields.texts("enabledTools"),
            reasoning_effort: fields.text("reasoningEffort"),
            input: body_members(fields, "input"),
            rerun_if_interrupted: rerun_if_interrupted(fields),
        }
    }

    /// Returns the task of a fire that does not run, whose trigger item nobody could read.
    pub fn unknown() -> Self {
        Self {
            agent_id: String::new(),
            prompt: String::new(),
            session_id: None,
            model_id: None,
            working_directory: None,
            enabled_tools: None,
            reasoning_effort: None,
            input: Map::new(),
            rerun_if_interrupted: false,
        }
    }

    /// Returns the task in the words of a scheduled event's detail, which [`Task::read`] reads.
    pub(crate) fn to_detail(&self) -> Map<String, Value> {
        let Self {
            agent_id,
            prompt,
            session_id,
            model_id,
            working_directory,
            enabled_tools,
            reasoning_effort,
            input,
            rerun_if_interrupted,
        } = self;
        let present = [
            ("agentId", Some(json!(agent_id))),
            ("prompt", Some(json!(prompt))),
            ("sessionId", session_id.as_ref().map(|value| json!(value))),
            ("modelId", model_id.as_ref().map(|value| json!(value))),
            ("workingDirectory", working_directory.as_ref().map(|value| json!(value))),
            ("enabledTools", enabled_tools.as_ref().map(|value| json!(value))),
            ("reasoningEffort", reasoning_effort.as_ref().map(|value| json!(value))),
            ("onInterrupted", rerun_if_interrupted.then(|| json!("rerun"))),
            ("input", Some(json!(input)).filter(|_| !input.is_empty())),
        ];
        present.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// Reads an optional object whose members go into the agent's request body.
pub(crate) fn body_members(fields: &mut Fields<'_>, name: &str) -> Map<String, Value> {
    let members = fields.object(name);
    for reserved in BODY_FIELDS.into_iter().filter(|reserved| members.contains_key(*reserved)) {
        let path = member(&member(&fields.path, name), reserved);
        push(&mut fields.problems, format!("{path}: is set by the function and must not be given"));
    }
    members
}

/// Reads the session id. It travels in an HTTP header, so only visible ASCII passes.
fn session_id(fields: &mut Fields<'_>, is_agentcore: bool) -> Option<String> {
    let id = fields.text("sessionId")?;
    let shortest = if is_agentcore { AGENTCORE_SESSION_ID_LENGTH } else { 1 };
    if !id.chars().all(|char| char.is_ascii_graphic()) {
        fields.problem("sessionId", "must contain visible ASCII characters only");
    } else if !(shortest..=SESSION_ID_LIMIT).contains(&id.len()) {
        let problem = format!("must have {shortest} to {SESSION_ID_LIMIT} characters, not {}", id.len());
        fields.problem("sessionId", &problem);
    } else {
        return Some(id);
    }
    None
}

fn rerun_if_interrupted(fields: &mut Fields<'_>) -> bool {
    match fields.text("onInterrupted").as_deref() {
        Some("rerun") => true,
        None | Some("fail") => false,
        Some(_) => {
            fields.problem("onInterrupted", "must be \"rerun\" or \"fail\"");
            false
        }
    }
}
