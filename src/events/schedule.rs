//! The parser of events. An EventBridge envelope becomes the [`Fire`] of a schedule or a [`BusEvent`], or one error
//! that names everything that is wrong with it.
//! <https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>

use serde_json::{Map, Value};

use crate::{
    domain::{
        fire::{Fire, Origin},
        ids::{TriggerId, UserId},
        platform::Platform,
        task::{TASK_FIELDS, Task},
    },
    events::{
        agent_report::BusReport,
        bus::BusEvent,
        classify::{MarkedEvent, Provenance},
        invalid::InvalidEvent,
    },
    json::{
        fields::{Fields, SCHEDULER_KEYWORD, kind, member, member_at, push},
        lenient,
        near_miss::near_misses,
    },
};

/// The members of a scheduled event's `detail` besides those of a task.
pub const DETAIL_FIELDS: [&str; 4] = ["triggerId", "userId", "scheduledTime", "stored"];

/// An event that reaches the function from EventBridge.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The event of a schedule, which contains everything needed to run an agent.
    Scheduled(Box<Fire>),
    /// Any other event. The triggers that are subscribed to it define what to run.
    Bus(Box<BusEvent>),
    /// A report of a detached run's agent.
    Report(Box<BusReport>),
}

/// Reads one event. `payload` is `None` if it was not UTF-8. The shortest session id depends on `platform`.
///
/// - An event of the bus of reports is a report or an error.
/// - An event with a `detail-type` that is not blank is a bus event, unless [`MarkedEvent::is_fire`] accepts it.
/// - Every other event is read as a schedule's fire.
///
/// # Errors
/// The error names every unusable field at once. A payload that is no object, a wrong mark, and a source that
/// [`MarkedEvent::check_claim`] does not believe are each named alone. The error holds a fire only if the event may be
/// read as one and names its trigger and its user, with a usable time or none.
pub fn parse(payload: Option<&str>, platform: Platform) -> Result<Event, InvalidEvent> {
    let unreadable = |problem: String| InvalidEvent::new(vec![problem]);
    let payload = payload.ok_or_else(|| unreadable("$: must be JSON, but is not UTF-8 text".to_owned()))?;
    let event = lenient::parse(payload).map_err(|error| unreadable(format!("$: {error}")))?;
    let Value::Object(envelope) = event else {
        return Err(unreadable(format!("$: must be an object, not {}", kind(&event))));
    };
    let event = MarkedEvent::read(envelope)?;
    if event.provenance == Provenance::ReportBus {
        return BusReport::read(&event).map(|report| Event::Report(Box::new(report)));
    }
    event.check_claim()?;
    let has_type =
        event.envelope.get("detail-type").and_then(Value::as_str).is_some_and(|name| !name.trim().is_empty());
    if has_type && !event.is_fire() {
        return BusEvent::read(event, payload).map(|event| Event::Bus(Box::new(event)));
    }
    let is_fire = event.is_fire();
    let forget = |invalid| if is_fire { invalid } else { InvalidEvent { fire: None, ..invalid } };
    scheduled(&event.envelope, platform).map_err(forget).map(|fire| Event::Scheduled(Box::new(fire)))
}

/// Reads the event of a schedule. `detail-type` and an object `detail` are required, and in the detail `triggerId` and
/// `userId`. With `stored: true` the trigger item says what to run, and the task stays empty. Otherwise the detail is
/// read as a task. Without `scheduledTime` the Lambda request identifies the fire. A Scheduler keyword that was never
/// substituted and a misspelt member are problems.
///
/// # Errors
/// The error names every problem at once. The error holds the fire, with an empty task, if the trigger, the user and
/// the time are usable.
fn scheduled(envelope: &Map<String, Value>, platform: Platform) -> Result<Fire, InvalidEvent> {
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
    // Hardly any event contains a keyword, and building a path for each member takes longer than looking for one.
    if envelope.values().any(holds_keyword) {
        for (name, value) in envelope {
            find_keywords(value, &member("$", name), &mut problems);
        }
    }
    let Some(detail) = detail else { return Err(InvalidEvent::new(problems)) };

    let mut fields = Fields { problems, ..Fields::new("$.detail", detail) };
    let trigger_id = fields.id("triggerId").map(TriggerId::from);
    let user_id = fields.id("userId").map(UserId::from);
    // The item alone says what to run, so an old copy of it in the event is not even read.
    let is_stored = fields.flag("stored") == Some(true);
    let task = if is_stored { Task::unknown() } else { Task::read(&mut fields, platform) };
    let has_time = fields.value("scheduledTime").is_some();
    let origin = match fields.instant("scheduledTime") {
        Some((text, instant)) => Some(Origin::Schedule { text, instant }),
        None => (!has_time).then_some(Origin::Request { dispatcher: None }),
    };
    near_misses(&mut fields, &[&TASK_FIELDS, &DETAIL_FIELDS]);
    let problems = fields.problems;
    let is_identified = trigger_id.is_some() && user_id.is_some() && origin.is_some();
    let fire = Fire {
        trigger_id: trigger_id.clone().unwrap_or_default(),
        user_id: user_id.unwrap_or_default(),
        task: if problems.is_empty() { task } else { Task::unknown() },
        is_stored,
        trigger: None,
        origin: origin.unwrap_or(Origin::Request { dispatcher: None }),
        event_id,
        source,
        event_source_id: None,
        detail_type: None,
        event_time: None,
        chain_depth: 0,
        replay_of: None,
        waiting: None,
        replayed_definition: None,
    };
    if problems.is_empty() {
        return Ok(fire);
    }
    Err(InvalidEvent { problems, trigger_id, fire: is_identified.then(|| Box::new(fire)) })
}

/// Returns true if a text within a value, at any depth, contains `<aws.scheduler.`, the beginning of a Scheduler
/// keyword. Names of members are not looked at.
fn holds_keyword(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(SCHEDULER_KEYWORD),
        Value::Array(items) => items.iter().any(holds_keyword),
        Value::Object(fields) => fields.values().any(holds_keyword),
        _ => false,
    }
}

/// Adds a problem for each text within a value, at any depth, that still contains a Scheduler keyword. With the
/// keyword, every fire would have the same identity.
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
