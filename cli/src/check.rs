//! The check of triggers in a file. It needs no place: the control plane's code does it in this process.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use agent_trigger::json::{lenient, surrogate};
use http::Method;
use serde_json::{Map, Value, json};

use crate::place::set;
use crate::requests::Requests;
use crate::screen::{self, Screen};
use crate::triggers::runs;
use crate::words::{self, pretty};

/// The name that stands for the standard input.
const STDIN: &str = "-";
/// The most columns of an event's value that are shown.
const LONGEST_VALUE: usize = 60;
/// The settings of the control plane on which a verdict depends.
const SETTINGS: [&str; 2] = ["MIN_SCHEDULE_MINUTES", "AGENT_ON_AGENTCORE"];

/// Says what is wrong with the triggers in a file, and what an event would make of them. Returns whether all are valid.
///
/// # Errors
/// If a file cannot be read as JSON, or holds no trigger or anything but objects. An event is refused for triggers of
/// type schedule alone, and if it and the trigger are both the standard input.
pub(crate) async fn check(file: &Path, event: Option<&Path>, json: bool, screen: &Screen) -> Result<bool, String> {
    if event == Some(file) && file == Path::new(STDIN) {
        return Err("only one of the trigger and the event can be the standard input".to_owned());
    }
    let (triggers, is_array) = match read(file)? {
        Value::Array(triggers) => (triggers, true),
        trigger => (vec![trigger], false),
    };
    let triggers: Vec<_> = triggers.into_iter().map(|trigger| object(file, trigger)).collect::<Result<_, _>>()?;
    if triggers.is_empty() {
        return Err(format!("{} holds no trigger", file.display()));
    }
    let takes_event = |trigger: &Map<String, Value>| trigger.get("type") != Some(&json!("schedule"));
    if event.is_some() && !triggers.iter().any(takes_event) {
        let what = if is_array { "these are" } else { "this one is" };
        return Err(format!("--event is for triggers of type event; {what} of type schedule"));
    }
    let event = event.map(|event| Ok::<_, String>(Value::Object(object(event, read(event)?)?))).transpose()?;
    let (mut answers, mut lines, mut are_valid) = (Vec::new(), Vec::new(), true);
    for (at, trigger) in triggers.into_iter().enumerate() {
        let name = ["id", "name"].iter().find_map(|name| trigger.get(*name)?.as_str());
        let name = name.map_or_else(|| format!("[{at}]"), words::one_line);
        let answer = verdict_on(&trigger, event.as_ref().filter(|_| takes_event(&trigger))).await;
        let answer = answer.map_err(|error| if is_array { format!("{name}: {error}") } else { error })?;
        let is_valid = answer["valid"] == json!(true);
        are_valid &= is_valid;
        if is_array {
            lines.extend((at > 0).then(String::new));
            lines.push(name);
        }
        lines.extend(verdict(&answer, is_valid, source_of(&trigger)));
        if let Some(warning) = warning_of(&trigger) {
            if json {
                screen::warn(&warning);
            } else {
                lines.push(format!("  {warning}"));
            }
        }
        if event.is_some() && !takes_event(&trigger) {
            lines.push("  no event runs it: its type is schedule".to_owned());
        }
        answers.push(answer);
    }
    if !json {
        screen.print(&lines)?;
    } else if is_array {
        screen.print(&[pretty(&Value::from(answers))])?;
    } else {
        screen.print(&[pretty(&answers.pop().unwrap_or_default())])?;
    }
    Ok(are_valid)
}

/// Asks the control plane's code what it says to a trigger.
async fn verdict_on(trigger: &Map<String, Value>, event: Option<&Value>) -> Result<Value, String> {
    // The stack decides which sources there are. Here the trigger's own counts as one.
    let sources = json!([{"id": source_of(trigger).filter(|id| !id.is_empty()).unwrap_or("none")}]).to_string();
    let requests = Requests::nowhere(|name| match name {
        "EVENT_SOURCES" => Some(sources.clone()),
        name if SETTINGS.contains(&name) => set(name),
        _ => None,
    })?;
    let body = json!({"trigger": trigger, "event": event});
    let mut answer = requests.done(Some("nobody"), Method::POST, "/triggers/check", Some(&body)).await?;
    if let Some(members) = answer.as_object_mut() {
        members.remove("metadata");
    }
    Ok(answer)
}

/// Returns the event source to which a trigger is subscribed, or `None` if it names none.
pub(crate) fn source_of(trigger: &Map<String, Value>) -> Option<&str> {
    trigger.get("eventConfig")?.get("eventSourceId")?.as_str()
}

/// Returns the warning about an event source with a dot. It may be right: a rule can give an event any name.
pub(crate) fn warning_of(trigger: &Map<String, Value>) -> Option<String> {
    let source = source_of(trigger).filter(|source| source.contains('.'))?;
    let (shown, hyphens) = (words::one_line(source), words::one_line(&source.replace('.', "-")));
    Some(format!(
        "warning: eventConfig.eventSourceId: {shown} has a dot, and the events of {shown} go to triggers of {hyphens}"
    ))
}

/// Words what a check found. `source` is the event source to which the trigger is subscribed.
fn verdict(answer: &Value, is_valid: bool, source: Option<&str>) -> Vec<String> {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(words::one_line).collect()
    };
    let mut lines = vec![if is_valid { "✓ valid" } else { "✗ invalid" }.to_owned()];
    for violation in answer["fieldViolations"].as_array().into_iter().flatten() {
        let said = |name: &str| words::one_line(violation[name].as_str().unwrap_or_default());
        lines.push(format!("  {}: {}", said("field"), said("description")));
    }
    if let Some(schedule) = answer["schedule"].as_object() {
        lines.extend([String::new(), words::one_line(schedule["description"].as_str().unwrap_or_default())]);
        lines.extend(runs(schedule));
    }
    if !is_valid && answer["event"].is_object() {
        lines.extend([String::new(), "The event: not asked while the trigger is invalid.".to_owned()]);
    } else if let Some(event) = answer["event"].as_object() {
        lines.push(String::new());
        let refused = texts(&event["refusedBy"]);
        lines.push(match (refused.is_empty(), event["skipReason"].as_str()) {
            (true, None) => "The event would run it.".to_owned(),
            (true, Some(reason)) => format!("The event would be skipped: {reason}."),
            (false, _) => format!("The event would not run it: {}.", refusal(&refused, event, source)),
        });
        for query in texts(&event["emptyQueries"]) {
            lines.push(format!("  finds nothing in the event: {query}"));
        }
        if let Some(prompt) = event["prompt"].as_str() {
            lines.extend([String::new(), "The prompt:".to_owned()]);
            lines.extend(words::harmless(prompt).lines().map(|line| format!("  {line}")));
        }
    }
    lines
}

/// Words why an event would not run a trigger that is subscribed to `source`.
fn refusal(refused: &[String], event: &Map<String, Value>, source: Option<&str>) -> String {
    let (subscription, filters): (Vec<&str>, Vec<&str>) =
        refused.iter().map(String::as_str).partition(|name| *name == "eventSourceId");
    let goes = words::one_line(event.get("eventSourceId").and_then(Value::as_str).unwrap_or_default());
    let own = words::one_line(source.unwrap_or_default());
    let subscription = subscription
        .first()
        .map(|_| format!("its events go to triggers of {goes}, and this one is subscribed to {own}"));
    let filters = (!filters.is_empty()).then(|| format!("{} refuses it", filters.join(" and ")));
    let place = event.get("patternRefusal").and_then(Value::as_object).map(place_of);
    subscription.into_iter().chain(filters).chain(place).collect::<Vec<_>>().join("; ")
}

/// Words the place at which the event pattern refuses an event.
fn place_of(place: &Map<String, Value>) -> String {
    let path = words::one_line(place.get("path").and_then(Value::as_str).unwrap_or_default());
    match place.get("value") {
        None => format!("the pattern wants {path}, which the event does not have"),
        Some(value) => {
            let value = words::cut(&words::one_line(&surrogate::to_json(value)), LONGEST_VALUE);
            format!("the pattern does not take {path}, which is {value}")
        }
    }
}

/// Reads a file of JSON, or the standard input. It is read as the function reads events: numbers keep their spelling,
/// and half a surrogate pair is taken.
///
/// # Errors
/// If it cannot be read, or is not JSON.
pub(crate) fn read(file: &Path) -> Result<Value, String> {
    let shown = file.display();
    let mut text = String::new();
    let read = if file == Path::new(STDIN) {
        io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    let text = read.map_err(|error| format!("cannot read {shown}: {error}"))?;
    // Some editors begin a file with a mark of its byte order.
    lenient::parse(text.trim_start_matches('\u{feff}')).map_err(|error| format!("{shown} {error}"))
}

/// Returns the object of a file.
///
/// # Errors
/// If it is another value.
pub(crate) fn object(file: &Path, value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(format!("{} is not a JSON object", file.display())),
    }
}
