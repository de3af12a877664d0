//! Events in: an EventBridge envelope becomes a [`Fire`] of a schedule or a [`BusEvent`], or one error that names
//! everything wrong with it.
//! <https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>

use serde_json::{Map, Value};

use crate::{
    domain::fire::{Fire, Origin},
    domain::task::Task,
    events::{bus::BusEvent, classify::MarkedEvent, invalid::InvalidEvent},
    json::{
        fields::{Fields, SCHEDULER_KEYWORD, kind, member, member_at, push},
        lenient,
        near_miss::near_misses,
    },
};

/// The members of a scheduled event's `detail`.
const DETAIL_FIELDS: [&str; 14] = [
    "triggerId",
    "userId",
    "agentId",
    "prompt",
    "sessionId",
    "modelId",
    "workingDirectory",
    "enabledTools",
    "reasoningEffort",
    "scheduledTime",
    "onInterrupted",
    "detached",
    "stored",
    "input",
];

/// What reaches the function from EventBridge.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A schedule fired: the event says what to run.
    Scheduled(Box<Fire>),
    /// Any other event: the triggers that are subscribed to it say what to run.
    Bus(Box<BusEvent>),
}

/// Reads one event. `payload` is `None` if it was not UTF-8; `is_agentcore` holds session ids to AgentCore's length.
///
/// # Errors
/// Names every unusable field by its JSON path at once.
pub fn parse(payload: Option<&str>, is_agentcore: bool) -> Result<Event, InvalidEvent> {
    let unreadable = |problem: String| InvalidEvent::new(vec![problem]);
    let payload = payload.ok_or_else(|| unreadable("$: must be JSON, but is not UTF-8 text".to_owned()))?;
    let event = lenient::parse(payload)
        // The position only: serde_json quotes the value in some of its messages.
        .map_err(|error| unreadable(format!("$: must be JSON (line {}, column {})", error.line(), error.column())))?;
    let Value::Object(envelope) = event else {
        return Err(unreadable(format!("$: must be an object, not {}", kind(&event))));
    };
    let event = MarkedEvent::read(envelope)?;
    event.check_claim()?;
    let has_type =
        event.envelope.get("detail-type").and_then(Value::as_str).is_some_and(|name| !name.trim().is_empty());
    if has_type && !event.is_fire() {
        return BusEvent::read(event, payload).map(|event| Event::Bus(Box::new(event)));
    }
    scheduled(&event.envelope, is_agentcore).map(|fire| Event::Scheduled(Box::new(fire)))
}

fn scheduled(envelope: &Map<String, Value>, is_agentcore: bool) -> Result<Fire, InvalidEvent> {
    let mut fields = Fields::new("$", envelope);
    fields.required_text("detail-type");
    let event_id = fields.short_text("id");
    let source = fields.short_text("source");
    let detail = match envelope.get("detail") {
        Some(Value::Object(detail)) => Some(detail),
        Some(other) => {
            fields.problem("detail", &format!("must be an object, not {}", kind(other)));
            None
        }
        None => {
            fields.problem("detail", "is missing");
            None
        }
    };
    let mut problems = fields.problems;
    // Hardly any event holds one, and a path for each of its members takes longer than to look for one.
    if envelope.values().any(holds_keyword) {
        for (name, value) in envelope {
            find_keywords(value, &member("$", name), &mut problems);
        }
    }
    let Some(detail) = detail else { return Err(InvalidEvent::new(problems)) };

    let mut fields = Fields { problems, ..Fields::new("$.detail", detail) };
    let trigger_id = fields.id("triggerId");
    let user_id = fields.id("userId");
    let task = Task::read(&mut fields, is_agentcore);
    let origin = match fields.instant("scheduledTime") {
        Some((text, instant)) => Origin::Schedule { text, instant },
        None => Origin::Request { dispatcher: None },
    };
    near_misses(&mut fields, &DETAIL_FIELDS);
    if !fields.problems.is_empty() {
        return Err(InvalidEvent { problems: fields.problems, trigger_id });
    }
    Ok(Fire {
        trigger_id: trigger_id.unwrap_or_default(),
        user_id: user_id.unwrap_or_default(),
        task,
        trigger: None,
        origin,
        event_id,
        source,
        event_source_id: None,
        detail_type: None,
        event_time: None,
        chain_depth: 0,
        replay_of: None,
    })
}

fn holds_keyword(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(SCHEDULER_KEYWORD),
        Value::Array(items) => items.iter().any(holds_keyword),
        Value::Object(fields) => fields.values().any(holds_keyword),
        _ => false,
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
