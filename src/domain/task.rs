//! A task: what an agent is asked to do.

use serde_json::{Map, Value, json};

use crate::{
    domain::{
        detached::{DETACHED, Detached},
        finish_reason::{FinishReason, accept_finish_reasons},
        platform::Platform,
    },
    json::fields::{Fields, member, push},
};

/// The longest session id, in bytes: AgentCore's limit (InvokeAgentRuntime, API reference).
const SESSION_ID_LIMIT: usize = 256;
/// The names in the agent's request body that the function sets. An `input` must not contain them.
pub const BODY_FIELDS: [&str; 8] =
    ["prompt", "targetUserId", "agentId", "sessionId", "modelId", "enabledTools", "storagePath", "reasoningEffort"];
/// The name in the request body of a detached run that the function sets besides [`BODY_FIELDS`].
pub const CALLBACK: &str = "callback";

/// The names of a task's fields, in the order in which [`Task::fields`] writes them. Scheduled events and trigger items
/// know them all.
pub const TASK_FIELDS: [&str; 11] = [
    "agentId",
    "prompt",
    "sessionId",
    "modelId",
    "workingDirectory",
    "enabledTools",
    "reasoningEffort",
    "onInterrupted",
    "input",
    "acceptFinishReasons",
    DETACHED,
];

/// The instructions for an agent, which scheduled events, trigger items and kept inputs contain in the same words. It
/// has no default, so that a new field does not compile until every reader handles it.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The agent to run.
    pub agent_id: String,
    /// The prompt.
    pub prompt: String,
    /// The agent session to use. If absent, the execution gets a session of its own.
    pub session_id: Option<String>,
    /// The model that the agent should use.
    pub model_id: Option<String>,
    /// The agent's working directory, which its request body calls `storagePath`.
    pub working_directory: Option<String>,
    /// The tools that the agent may use.
    pub enabled_tools: Option<Vec<String>>,
    /// The effort that the model should put into reasoning.
    pub reasoning_effort: Option<String>,
    /// Additional fields of the agent's request body.
    pub input: Map<String, Value>,
    /// True if an execution whose attempt died runs again (`onInterrupted: "rerun"`).
    pub rerun_if_interrupted: bool,
    /// The ways to stop short that count as completed. If absent, the agent's definition decides.
    pub accept_finish_reasons: Option<Vec<FinishReason>>,
    /// The settings of a run that may go on after its invocation. If absent, the run ends with it.
    pub detached: Option<Detached>,
}

/// The source of a field's value if an event and a stored trigger's item both have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precedence {
    /// The item's value, because a trigger may have been changed since its schedule was made.
    Item,
    /// The event's value.
    Event,
}

impl Task {
    /// Reads a task. It always returns one, and adds the problems to `fields`: the caller must not run a task with
    /// problems. A field with a problem is left empty, with three exceptions: a list keeps its valid elements, `input`
    /// keeps a member that the function sets itself, and `detached` stays beside a rerun. The agent's id and the prompt
    /// are required. A detached task must not rerun, and its `input` must not hold `callback`. The shortest session id
    /// depends on `platform`.
    pub(crate) fn read(fields: &mut Fields<'_>, platform: Platform) -> Self {
        let rerun_if_interrupted = rerun_if_interrupted(fields);
        let detached = Detached::read(fields, platform);
        if detached.is_some() && rerun_if_interrupted {
            // Nobody can tell whether the agent of the first attempt is still at work.
            fields.problem(DETACHED, "cannot be combined with onInterrupted \"rerun\"");
        }
        let input = body_members(fields, "input");
        if detached.is_some() {
            refuse_callback(fields, "input", &input);
        }
        Self {
            agent_id: fields.id("agentId").unwrap_or_default(),
            prompt: fields.required_text("prompt").unwrap_or_default(),
            session_id: session_id(fields, platform),
            model_id: fields.text("modelId"),
            working_directory: fields.text("workingDirectory"),
            enabled_tools: fields.texts("enabledTools"),
            reasoning_effort: fields.text("reasoningEffort"),
            input,
            rerun_if_interrupted,
            accept_finish_reasons: accept_finish_reasons(fields),
            detached,
        }
    }

    /// Returns the empty task of a fire that does not run, because its trigger item could not be read. It is never sent
    /// to an agent.
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
            accept_finish_reasons: None,
            detached: None,
        }
    }

    /// Returns the task in the words of a scheduled event's detail, which [`Task::read`] reads. Absent fields are left
    /// out, and so are an empty `input` and the default of `onInterrupted`.
    pub(crate) fn to_detail(&self) -> Map<String, Value> {
        self.fields().into_iter().filter_map(|(name, value, _)| Some((name.to_owned(), value?))).collect()
    }

    /// Returns the task like [`Task::to_detail`], but with the values that `item`, a trigger item, has for the same
    /// names. The event's `sessionId` and `onInterrupted` stay. A null in the item counts as absent. The item's values
    /// are not checked: [`Task::read`] does this.
    pub(crate) fn to_detail_over(&self, item: &Map<String, Value>) -> Map<String, Value> {
        let value = |(name, value, precedence)| {
            let stored = item.get(name).filter(|value| !value.is_null() && precedence == Precedence::Item);
            Some((String::from(name), stored.cloned().or(value)?))
        };
        self.fields().into_iter().filter_map(value).collect()
    }

    /// Returns every field by its name in a detail, with its value there and its precedence. The value is `None` if a
    /// detail leaves the field out: an absent one, an empty `input`, and `onInterrupted` unless it is `rerun`. An empty
    /// list is a value. Every field that is added must state its precedence here.
    fn fields(&self) -> [(&'static str, Option<Value>, Precedence); TASK_FIELDS.len()] {
        use Precedence::{Event, Item};
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
            accept_finish_reasons,
            detached,
        } = self;
        let accepted = accept_finish_reasons.as_ref().map(|reasons| reasons.iter().map(|reason| reason.as_str()));
        [
            ("agentId", Some(json!(agent_id)), Item),
            ("prompt", Some(json!(prompt)), Item),
            ("sessionId", session_id.as_ref().map(|value| json!(value)), Event),
            ("modelId", model_id.as_ref().map(|value| json!(value)), Item),
            ("workingDirectory", working_directory.as_ref().map(|value| json!(value)), Item),
            ("enabledTools", enabled_tools.as_ref().map(|value| json!(value)), Item),
            ("reasoningEffort", reasoning_effort.as_ref().map(|value| json!(value)), Item),
            ("onInterrupted", rerun_if_interrupted.then(|| json!("rerun")), Event),
            // Not json!, which spells numbers anew.
            ("input", Some(Value::Object(input.clone())).filter(|_| !input.is_empty()), Item),
            ("acceptFinishReasons", accepted.map(|names| names.collect()), Item),
            (DETACHED, detached.map(Detached::to_value), Item),
        ]
    }
}

/// Adds a problem if `members`, those of the object `name`, have the name [`CALLBACK`], under which the function itself
/// tells the agent of a detached run where to report.
pub(crate) fn refuse_callback(fields: &mut Fields<'_>, name: &str, members: &Map<String, Value>) {
    if members.contains_key(CALLBACK) {
        let path = member(&member(&fields.path, name), CALLBACK);
        push(&mut fields.problems, format!("{path}: is set by the function in a detached run and must not be given"));
    }
}

/// Reads the optional object `name`, whose members go into the agent's request body. It is empty if it is absent, and
/// if it is no object, which is a problem. A member named in [`BODY_FIELDS`] is a problem and stays in the result. The
/// caller checks [`CALLBACK`], which only a detached run sets.
pub(crate) fn body_members(fields: &mut Fields<'_>, name: &str) -> Map<String, Value> {
    let members = fields.object(name);
    for reserved in BODY_FIELDS.into_iter().filter(|reserved| members.contains_key(*reserved)) {
        let path = member(&member(&fields.path, name), reserved);
        push(&mut fields.problems, format!("{path}: is set by the function and must not be given"));
    }
    members
}

/// Reads `sessionId`. It travels in an HTTP header, so it must be visible ASCII, without blanks. It has at most 256
/// characters, and at least as many as the platform demands. Returns `None` if it is absent, and for an id with a
/// problem. An empty id does not count as absent: it is too short.
fn session_id(fields: &mut Fields<'_>, platform: Platform) -> Option<String> {
    let id = fields.text("sessionId")?;
    let shortest = platform.shortest_session_id();
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

/// Reads `onInterrupted`: true for `rerun`, false for `fail` and if it is absent. Anything else is a problem, and
/// false.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { unreachable!() };
        object
    }

    #[test]
    fn every_field_is_a_known_name() {
        assert_eq!(Task::unknown().fields().map(|(name, ..)| name), TASK_FIELDS);
    }

    #[test]
    fn an_item_takes_precedence_where_it_says_anything() {
        let event = object(json!({"agentId": "a", "prompt": "p", "sessionId": "s", "modelId": "m",
            "workingDirectory": "w", "enabledTools": ["t"], "reasoningEffort": "r", "input": {"x": 1},
            "acceptFinishReasons": ["max_tokens"], "detached": {"timeoutSeconds": 9, "firstReportSeconds": 3}}));
        let item = object(json!({"agentId": "A", "prompt": "P", "sessionId": "S", "modelId": "M",
            "workingDirectory": "W", "enabledTools": [], "reasoningEffort": "R", "onInterrupted": "rerun", "input": {},
            "acceptFinishReasons": [], "detached": {"timeoutSeconds": 7, "firstReportSeconds": 7}, "name": "N"}));
        let task = Task::read(&mut Fields::new("$", &event), Platform::Other);
        assert_eq!(task.to_detail(), event);
        assert_eq!(task.to_detail_over(&Map::new()), event);
        let nulls = item.keys().map(|name| (name.clone(), Value::Null)).collect();
        assert_eq!(task.to_detail_over(&nulls), event);
        let mut expected = item.clone();
        expected.retain(|name, _| !["name", "onInterrupted"].contains(&name.as_str()));
        expected["sessionId"] = json!("s");
        assert_eq!(task.to_detail_over(&item), expected);
    }
}
