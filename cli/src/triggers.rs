//! The commands for triggers. The control plane does what they ask: behind its address, or in this process.

use std::{fs, path::Path};

use comfy_table::{ContentArrangement, presets::NOTHING};
use http::Method;
use serde_json::{Map, Value, json};

use crate::executions::pretty;
use crate::place::Place;
use crate::requests::{Requests, segment};
use crate::screen::Screen;
use crate::words;

/// The triggers of a page.
const PAGE: usize = 100;

/// Who is asked for: one user, or everybody in a table.
struct Asked {
    requests: Requests,
    /// `None` is the user of the token.
    users: Vec<Option<String>>,
}

impl Asked {
    async fn of_all(place: Place, user: Option<&str>) -> Result<Self, String> {
        let users = match (&place, user) {
            (_, Some(user)) => vec![Some(user.to_owned())],
            (Place::Table(table), None) if !table.is_local_run() => {
                table.users().await?.into_iter().map(Some).collect()
            }
            _ => vec![None],
        };
        Ok(Self { requests: place.requests(false, None).await?, users })
    }
}

/// Lists triggers.
///
/// # Errors
/// What went wrong and what to do about it.
pub(crate) async fn list(place: Place, user: Option<&str>, json: bool, screen: &Screen) -> Result<(), String> {
    let described = place.described();
    let Asked { requests, users } = Asked::of_all(place, user).await?;
    let mut triggers = Vec::new();
    for user in &users {
        let mut next: Option<String> = None;
        loop {
            let token = next.map(|next| format!("&nextToken={}", segment(&next))).unwrap_or_default();
            let path = format!("/triggers?limit={PAGE}{token}");
            let page = requests.done(user.as_deref(), Method::GET, &path, None).await?;
            let found = page["triggers"].as_array().cloned().unwrap_or_default();
            triggers.extend(found.into_iter().map(|mut trigger| {
                if let Some(user) = user {
                    trigger["userId"] = json!(user);
                }
                trigger
            }));
            next = page["nextToken"].as_str().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
    }
    if json {
        screen.print(&[pretty(&Value::from(triggers))]);
    } else if triggers.is_empty() {
        screen.print(&[format!("{described}: no triggers yet; make one: triggerctl put FILE")]);
    } else {
        screen.print(&table(&triggers, screen));
    }
    Ok(())
}

fn table(triggers: &[Value], screen: &Screen) -> Vec<String> {
    let text = |trigger: &Value, name: &str| words::one_line(trigger[name].as_str().unwrap_or_default());
    let mut table = rows(screen);
    table.set_header(["STATE", "HEALTH", "NEXT RUN (UTC)", "TRIGGER", "NAME"]);
    let now = words::now();
    for trigger in triggers {
        let is_on = trigger["enabled"] != json!(false);
        let state = match (is_on, trigger["pausedAt"].is_string()) {
            (true, _) => "● on",
            (false, true) => "‖ paused",
            (false, false) => "○ off",
        };
        let next = match (trigger["nextRun"].as_str().and_then(words::parse_time), text(trigger, "type").as_str()) {
            (Some(next), _) => words::moment(next, now),
            (None, "schedule") => text(trigger, "scheduleStatus"),
            (None, _) => {
                format!("on {}", words::one_line(trigger["eventConfig"]["eventSourceId"].as_str().unwrap_or("events")))
            }
        };
        let health = Some(text(trigger, "health")).filter(|health| !health.is_empty());
        table.add_row([
            state.to_owned(),
            health.unwrap_or_else(|| "-".to_owned()),
            next,
            text(trigger, "id"),
            text(trigger, "name"),
        ]);
    }
    lines(&table)
}

fn rows(screen: &Screen) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(screen.view().width).unwrap_or(u16::MAX));
    table
}

fn lines(table: &comfy_table::Table) -> Vec<String> {
    table.lines().map(|line| line.trim().to_owned()).collect()
}

/// Sends a request about a trigger: `run`, `enable`, `disable`, or `None` to delete it.
///
/// # Errors
/// What went wrong and what to do about it.
pub(crate) async fn act(place: Place, user: Option<&str>, id: &str, what: Option<&str>) -> Result<Value, String> {
    let user = owner(&place, user, id).await?;
    let requests = place.requests(true, None).await?;
    let path = format!("/triggers/{}", segment(id));
    match what {
        Some(what) => {
            let path = format!("{path}/{what}");
            requests.done(user.as_deref(), Method::POST, &path, Some(&json!({}))).await
        }
        None => requests.done(user.as_deref(), Method::DELETE, &path, None).await,
    }
}

/// Creates or changes the trigger in a file. Returns what was done and the trigger's id.
///
/// # Errors
/// What went wrong and what to do about it.
pub(crate) async fn put(place: Place, user: Option<&str>, file: &Path) -> Result<String, String> {
    let trigger = read(file)?;
    let text = |name: &str| trigger.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (id, given) = (text("id").map(str::to_owned), user.or(text("userId")).map(str::to_owned));
    let user = match &id {
        Some(id) => owner(&place, given.as_deref(), id).await?,
        None if matches!(&place, Place::Table(table) if !table.is_local_run()) && given.is_none() => {
            return Err("whose trigger is it? Give --user ID, or userId in the file".to_owned());
        }
        None => given,
    };
    let source = trigger.get("eventConfig").and_then(|config| config.get("eventSourceId")?.as_str());
    let requests = place.requests(true, source).await?;
    let (method, path) = match &id {
        Some(id) => (Method::PUT, format!("/triggers/{}", segment(id))),
        None => (Method::POST, "/triggers".to_owned()),
    };
    let saved = requests.done(user.as_deref(), method, &path, Some(&Value::Object(trigger))).await?;
    let done = if id.is_some() { "changed" } else { "created" };
    let shown = &saved["trigger"];
    let next = shown["nextRun"].as_str().map(|next| format!(", next run {next}")).unwrap_or_default();
    Ok(format!("{done} {}{next}", shown["id"].as_str().or(id.as_deref()).unwrap_or_default()))
}

/// Says what is wrong with the trigger in a file, and what an event would make of it. Returns whether it is valid.
///
/// # Errors
/// If a file is not readable, or the event is none.
pub(crate) async fn check(file: &Path, event: Option<&Path>, json: bool, screen: &Screen) -> Result<bool, String> {
    let trigger = read(file)?;
    let event = event.map(read).transpose()?.map(Value::Object);
    // The stack decides which sources there are. Here the trigger's own counts as one.
    let source = &Value::Object(trigger.clone())["eventConfig"]["eventSourceId"];
    let sources = json!([{"id": source.as_str().filter(|id| !id.is_empty()).unwrap_or("none")}]).to_string();
    let set = |name: &str| (name == "EVENT_SOURCES").then(|| sources.clone());
    let requests = Requests::here("none", "none", false, set).await?;
    let body = json!({"trigger": trigger, "event": event});
    let answer = requests.done(Some("nobody"), Method::POST, "/triggers/check", Some(&body)).await?;
    let is_valid = answer["valid"] == json!(true);
    if json {
        let mut answer = answer;
        if let Some(members) = answer.as_object_mut() {
            members.remove("metadata");
        }
        screen.print(&[pretty(&answer)]);
    } else {
        screen.print(&verdict(&answer, is_valid));
    }
    Ok(is_valid)
}

/// Words what a check found.
fn verdict(answer: &Value, is_valid: bool) -> Vec<String> {
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
    if let Some(event) = answer["event"].as_object() {
        lines.push(String::new());
        let refused = texts(&event["refusedBy"]);
        lines.push(match (refused.is_empty(), event["skipReason"].as_str()) {
            (true, None) => "The event would run it.".to_owned(),
            (true, Some(reason)) => format!("The event would be skipped: {reason}."),
            (false, _) => format!("The event would not run it: {} refuses it.", refused.join(" and ")),
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

/// Shows the next runs of a trigger, or of all.
///
/// # Errors
/// What went wrong and what to do about it.
pub(crate) async fn next(
    place: Place,
    user: Option<&str>,
    (id, limit): (Option<&str>, u16),
    json: bool,
    screen: &Screen,
) -> Result<(), String> {
    if let Some(id) = id {
        let user = owner(&place, user, id).await?;
        let path = format!("/triggers/{}/next-runs?limit={limit}", segment(id));
        let answer = place.requests(false, None).await?.done(user.as_deref(), Method::GET, &path, None).await?;
        if json {
            screen.print(&[pretty(&answer["nextRuns"])]);
            return Ok(());
        }
        let mut lines = vec![words::one_line(answer["description"].as_str().unwrap_or_default())];
        if answer["enabled"] == json!(false) {
            lines.push("The trigger is switched off: none of these will run.".to_owned());
        }
        lines.extend(answer.as_object().map(runs).unwrap_or_default());
        screen.print(&lines);
        return Ok(());
    }
    let Asked { requests, users } = Asked::of_all(place, user).await?;
    let mut all = Vec::new();
    for user in &users {
        let path = format!("/upcoming-runs?limit={limit}");
        let answer = requests.done(user.as_deref(), Method::GET, &path, None).await?;
        all.extend(answer["runs"].as_array().cloned().unwrap_or_default());
    }
    all.sort_by(|one, other| one["at"].as_str().cmp(&other["at"].as_str()));
    all.truncate(usize::from(limit));
    if json {
        screen.print(&[pretty(&Value::from(all))]);
    } else if all.is_empty() {
        screen.print(&["no schedule will fire".to_owned()]);
    } else {
        let mut table = rows(screen);
        table.set_header(["AT (UTC)", "TRIGGER", "NAME"]);
        for run in &all {
            let text = |name: &str| words::one_line(run[name].as_str().unwrap_or_default());
            table.add_row([text("at"), text("triggerId"), text("name")]);
        }
        screen.print(&lines(&table));
    }
    Ok(())
}

/// Words the next runs of a schedule.
fn runs(schedule: &Map<String, Value>) -> Vec<String> {
    let text = |value: &Value| words::one_line(value.as_str().unwrap_or_default());
    let list = |name: &str| schedule.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut lines: Vec<String> = list("nextRuns")
        .iter()
        .map(|run| {
            let note = run["note"].as_str().map(|note| format!("  ({})", words::one_line(note))).unwrap_or_default();
            format!("  {}  {}{note}", text(&run["utc"]), text(&run["local"]))
        })
        .collect();
    if lines.is_empty() {
        lines.push("  It fires no more.".to_owned());
    }
    lines.extend(list("notes").iter().map(|note| format!("  {}", text(note))));
    lines
}

/// Returns the user whose trigger is meant. In a table it is the one who has it, unless an option names somebody.
async fn owner(place: &Place, user: Option<&str>, id: &str) -> Result<Option<String>, String> {
    let table = match (user, place) {
        (Some(user), _) => return Ok(Some(user.to_owned())),
        (None, Place::Table(table)) if !table.is_local_run() => table,
        (None, _) => return Ok(None),
    };
    let mut owners = table.owners(id).await?;
    match owners.len() {
        0 => Err(format!("no such trigger: {id} in {}", place.described())),
        1 => Ok(owners.pop()),
        _ => Err(format!("{id} is a trigger of {}: give --user ID", owners.join(", "))),
    }
}

fn read(file: &Path) -> Result<Map<String, Value>, String> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(format!("{shown} is not a JSON object")),
        Err(error) => Err(format!("{shown} is not JSON: {error}")),
    }
}
