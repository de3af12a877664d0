//! Events in: an EventBridge envelope becomes a [`Fire`], or one error that names everything wrong with it.
//! <https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>

use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::redact::cut;

/// The longest id, and the longest other text that is stored as it is, in bytes: two of them and their prefixes stay far below DynamoDB's 1 KiB sort key.
const ID_LIMIT: usize = 256;
/// AgentCore's runtimeSessionId has 33 to 256 characters (InvokeAgentRuntime, API reference).
const SESSION_ID_LIMIT: usize = 256;
const AGENTCORE_SESSION_ID_LENGTH: usize = 33;
/// How Scheduler spells its context attributes; one left in an event was never substituted.
/// <https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html>
const SCHEDULER_KEYWORD: &str = "<aws.scheduler.";
/// Somebody whose event has more problems sees the first of them, on about as many lines as a screen has.
const MOST_PROBLEMS: usize = 50;
/// The longest path shown, in bytes.
const PATH_LIMIT: usize = 200;
const SCHEDULED_EVENT: &str = "Scheduled Event";

/// Names of the agent's request body that the function sets; `input` must not.
pub const BODY_FIELDS: [&str; 8] =
    ["prompt", "targetUserId", "agentId", "sessionId", "modelId", "enabledTools", "storagePath", "reasoningEffort"];

/// One moment a trigger is due: what to run, for whom, and what identifies it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fire {
    /// The trigger that fires.
    pub trigger_id: String,
    /// The user the agent acts for.
    pub user_id: String,
    /// The agent to run.
    pub agent_id: String,
    /// What the agent is asked.
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
    /// The schedule time as the event spells it, and the instant it names.
    pub scheduled_time: Option<(String, OffsetDateTime)>,
    /// Whether an execution whose attempt died runs again.
    pub rerun_if_interrupted: bool,
    /// The envelope's `id`.
    pub event_id: Option<String>,
    /// The envelope's `source`.
    pub source: Option<String>,
}

/// Everything that is wrong with an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid event: {}", problems.join("; "))]
pub struct InvalidEvent {
    /// One sentence a problem, each beginning with the JSON path; none shows a value.
    pub problems: Vec<String>,
    /// The event's trigger, where it named one.
    pub trigger_id: Option<String>,
}

/// Reads one event. `payload` is `None` if it was not UTF-8; `is_agentcore` holds session ids to AgentCore's length.
///
/// # Errors
/// Names every unusable field by its JSON path at once.
pub fn parse(payload: Option<&str>, is_agentcore: bool) -> Result<Fire, InvalidEvent> {
    let unreadable = |problem: String| InvalidEvent { problems: vec![problem], trigger_id: None };
    let payload = payload.ok_or_else(|| unreadable("$: must be JSON, but is not UTF-8 text".to_owned()))?;
    let event: Value = serde_json::from_str(payload)
        // The position only: serde_json quotes the value in some of its messages.
        .map_err(|error| unreadable(format!("$: must be JSON (line {}, column {})", error.line(), error.column())))?;
    let Value::Object(envelope) = &event else {
        return Err(unreadable(format!("$: must be an object, not {}", kind(&event))));
    };

    let mut fields = Fields { path: "$".to_owned(), object: envelope, problems: Vec::new() };
    let detail_type = fields.required_text("detail-type");
    if detail_type.is_some_and(|detail_type| detail_type != SCHEDULED_EVENT) {
        // What its detail should hold is not ours to say.
        fields.problem("detail-type", &format!("unsupported event type: must be \"{SCHEDULED_EVENT}\""));
        return Err(InvalidEvent { problems: fields.problems, trigger_id: None });
    }
    let event_id = fields.short_text("id");
    let source = fields.short_text("source");
    let no_detail = Map::new();
    let detail = match envelope.get("detail") {
        Some(Value::Object(detail)) => detail,
        Some(other) => {
            fields.problem("detail", &format!("must be an object, not {}", kind(other)));
            &no_detail
        }
        None => {
            fields.problem("detail", "is missing");
            &no_detail
        }
    };
    let has_detail = !std::ptr::eq(detail, &no_detail);
    let mut problems = fields.problems;
    find_keywords(&event, "$", &mut problems);

    let mut fields = Fields { path: "$.detail".to_owned(), object: detail, problems };
    if !has_detail {
        return Err(InvalidEvent { problems: fields.problems, trigger_id: None });
    }
    let trigger_id = fields.id("triggerId");
    let user_id = fields.id("userId");
    let agent_id = fields.id("agentId");
    let prompt = fields.required_text("prompt");
    let fire = Fire {
        session_id: fields.session_id(is_agentcore),
        model_id: fields.text("modelId"),
        working_directory: fields.text("workingDirectory"),
        enabled_tools: fields.texts("enabledTools"),
        reasoning_effort: fields.text("reasoningEffort"),
        scheduled_time: fields.instant("scheduledTime"),
        rerun_if_interrupted: fields.on_interrupted(),
        input: fields.input(),
        trigger_id: trigger_id.clone().unwrap_or_default(),
        user_id: user_id.unwrap_or_default(),
        agent_id: agent_id.unwrap_or_default(),
        prompt: prompt.unwrap_or_default(),
        event_id,
        source,
    };
    if fields.problems.is_empty() { Ok(fire) } else { Err(InvalidEvent { problems: fields.problems, trigger_id }) }
}

/// Reads the fields of one object, collecting what is wrong with them.
struct Fields<'a> {
    path: String,
    object: &'a Map<String, Value>,
    problems: Vec<String>,
}

impl Fields<'_> {
    fn problem(&mut self, name: &str, problem: &str) {
        push(&mut self.problems, format!("{}: {problem}", member(&self.path, name)));
    }

    /// An optional field: null counts as absent, as in the languages that write these events.
    fn value(&self, name: &str) -> Option<&Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str) -> Option<String> {
        match self.value(name)?.clone() {
            Value::String(text) => Some(text),
            other => {
                self.problem(name, &format!("must be a string, not {}", kind(&other)));
                None
            }
        }
    }

    fn required_text(&mut self, name: &str) -> Option<String> {
        if self.value(name).is_none() {
            self.problem(name, "is missing");
            return None;
        }
        let text = self.text(name)?;
        if text.trim().is_empty() {
            self.problem(name, "must not be empty");
            return None;
        }
        Some(text)
    }

    /// A text that is stored as it is.
    fn short_text(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        if text.len() > ID_LIMIT {
            self.problem(name, &format!("must have at most {ID_LIMIT} bytes, not {}", text.len()));
            return None;
        }
        Some(text)
    }

    fn id(&mut self, name: &str) -> Option<String> {
        let id = self.required_text(name)?;
        if id.len() > ID_LIMIT {
            self.problem(name, &format!("must have at most {ID_LIMIT} bytes, not {}", id.len()));
        } else if id.contains(char::is_control) {
            self.problem(name, "must not contain control characters");
        } else {
            return Some(id);
        }
        None
    }

    /// The session id travels in an HTTP header, so only visible ASCII passes.
    fn session_id(&mut self, is_agentcore: bool) -> Option<String> {
        let id = self.text("sessionId")?;
        let shortest = if is_agentcore { AGENTCORE_SESSION_ID_LENGTH } else { 1 };
        if !id.chars().all(|char| char.is_ascii_graphic()) {
            self.problem("sessionId", "must contain visible ASCII characters only");
        } else if !(shortest..=SESSION_ID_LIMIT).contains(&id.len()) {
            let problem = format!("must have {shortest} to {SESSION_ID_LIMIT} characters, not {}", id.len());
            self.problem("sessionId", &problem);
        } else {
            return Some(id);
        }
        None
    }

    fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let Value::Array(items) = self.value(name)?.clone() else {
            self.problem(name, "must be an array of strings");
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text),
                other => self.problem(&format!("{name}[{at}]"), &format!("must be a string, not {}", kind(&other))),
            }
        }
        Some(texts)
    }

    /// An RFC 3339 time not before 1970, which a UUIDv7 cannot hold.
    fn instant(&mut self, name: &str) -> Option<(String, OffsetDateTime)> {
        let text = self.short_text(name)?;
        if text.contains(SCHEDULER_KEYWORD) {
            return None;
        }
        match OffsetDateTime::parse(&text, &Rfc3339) {
            Ok(instant) if instant.unix_timestamp() >= 0 => Some((text, instant)),
            Ok(_) => {
                self.problem(name, "must not be before 1970");
                None
            }
            Err(_) => {
                self.problem(name, "must be an RFC 3339 time such as 2026-01-31T07:00:00Z");
                None
            }
        }
    }

    fn on_interrupted(&mut self) -> bool {
        match self.text("onInterrupted").as_deref() {
            Some("rerun") => true,
            None | Some("fail") => false,
            Some(_) => {
                self.problem("onInterrupted", "must be \"rerun\" or \"fail\"");
                false
            }
        }
    }

    fn input(&mut self) -> Map<String, Value> {
        let input = match self.value("input").cloned() {
            None => return Map::new(),
            Some(Value::Object(input)) => input,
            Some(other) => {
                self.problem("input", &format!("must be an object, not {}", kind(&other)));
                return Map::new();
            }
        };
        for name in BODY_FIELDS {
            if input.contains_key(name) {
                let problem =
                    format!("{}: is set by the function and must not be given", member("$.detail.input", name));
                self.problems.push(problem);
            }
        }
        input
    }
}

/// Adds a problem, unless there are enough: a hostile event must not make an error longer than itself.
fn push(problems: &mut Vec<String>, problem: String) {
    match problems.len() {
        0..MOST_PROBLEMS => problems.push(problem),
        MOST_PROBLEMS => problems.push("$: has further problems".to_owned()),
        _ => {}
    }
}

/// Names every text that still holds a Scheduler keyword: with it every fire would have the same identity.
fn find_keywords(value: &Value, path: &str, problems: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains(SCHEDULER_KEYWORD) => {
            let problem = "holds an unsubstituted <aws.scheduler.…> keyword, which only EventBridge Scheduler replaces";
            push(problems, format!("{path}: {problem}"));
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                find_keywords(item, &member_at(path, at), problems);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                find_keywords(field, &member(path, name), problems);
            }
        }
        _ => {}
    }
}

/// The path of `name` in `path`: in dot notation where the name allows it, else in brackets (RFC 9535 §2.5). A name is
/// the sender's text, so a long one is cut.
fn member(path: &str, name: &str) -> String {
    let name = cut(name, 64);
    if path.len() > PATH_LIMIT {
        return if path.ends_with('…') { path.to_owned() } else { format!("{path}…") };
    }
    let plain = name.chars().all(|char| char.is_ascii_alphanumeric() || "_-[]".contains(char));
    if plain { format!("{path}.{name}") } else { format!("{path}[{name:?}]") }
}

fn member_at(path: &str, at: usize) -> String {
    if path.len() > PATH_LIMIT { member(path, "") } else { format!("{path}[{at}]") }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
