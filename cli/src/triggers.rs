//! The commands for triggers. The control plane does what they ask: behind its address, or in this process.

use std::path::Path;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets::NOTHING};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::called;
use crate::check;
use crate::executions::progress_bar;
use crate::needs::Needs;
use crate::options::PlaceOptions;
use crate::place::{Pages, Place};
use crate::requests::{Answer, Requests, is_unsure, segment, started};
use crate::screen::{self, Screen};
use crate::table::{Traits, WEBHOOK};
use crate::webhook;
use crate::words::{self, pretty};

/// The triggers of a page.
const PAGE: usize = 100;
/// More triggers of a user than any control plane has.
const MOST_TRIGGERS: usize = 100_000;
/// The fewest columns for names on a terminal.
const LEAST_NAME: usize = 8;

/// The users whose triggers are asked for: one, or everybody in a table.
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
                let reading = progress_bar();
                let users = table.owners(None, |items| reading.set_message(format!("{items} items read"))).await;
                reading.finish_and_clear();
                users?.into_iter().map(Some).collect()
            }
            _ => vec![None],
        };
        Ok(Self { requests: place.requests(Needs::Table, None)?, users })
    }
}

/// Returns all triggers of a user.
async fn all(requests: &Requests, user: Option<&str>) -> Result<Vec<Value>, String> {
    let (mut triggers, mut pages) = (Vec::new(), Pages::default());
    while pages.more() {
        if triggers.len() > MOST_TRIGGERS {
            return Err(format!("the control plane answers with more than {MOST_TRIGGERS} triggers of a user"));
        }
        let token = pages.token().map(|next| format!("&nextToken={}", segment(next))).unwrap_or_default();
        let page = requests.done(user, Method::GET, &format!("/triggers?limit={PAGE}{token}"), None).await?;
        let found = pages.take(page, "triggers")?;
        pages.used(found.len())?;
        triggers.extend(found);
    }
    Ok(triggers)
}

/// Lists triggers.
///
/// # Errors
/// A message that says what went wrong and what to do about it.
pub(crate) async fn list(place: Place, user: Option<&str>, json: bool, screen: &Screen) -> Result<(), String> {
    let (described, has_many_users) = (place.described(), place.has_many_users());
    let Asked { requests, users } = Asked::of_all(place, user).await?;
    let mut triggers = Vec::new();
    for user in &users {
        let found = all(&requests, user.as_deref()).await?;
        triggers.extend(found.into_iter().map(|mut trigger| {
            if let Some(user) = user {
                trigger["userId"] = json!(user);
            }
            trigger
        }));
    }
    if json {
        screen.print(&[pretty(&Value::from(triggers))])
    } else if triggers.is_empty() {
        screen.print(&[format!("{described}: no triggers yet; make one: {} put FILE", called::name())])
    } else {
        screen.print(&table(&triggers, has_many_users && user.is_none(), screen.width()))
    }
}

/// Draws triggers as a table, as wide as a terminal if there is one. `has_users` says whether it tells whose they are.
fn table(triggers: &[Value], has_users: bool, width: Option<usize>) -> Vec<String> {
    let text = |trigger: &Value, name: &str| words::one_line(trigger[name].as_str().unwrap_or_default());
    let mut table = Table::new();
    let user = |cell: String| has_users.then_some(cell);
    let header = ["STATE", "HEALTH", "NEXT RUN (UTC)", "TRIGGER"].map(str::to_owned);
    table.set_header(header.into_iter().chain(user("USER".to_owned())).chain(["NAME".to_owned()]));
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
        let cells = [state.to_owned(), health.unwrap_or_else(|| "-".to_owned()), next, text(trigger, "id")];
        table.add_row(cells.into_iter().chain(user(text(trigger, "userId"))).chain([text(trigger, "name")]));
    }
    lines(table, width)
}

/// Draws a table. Its last column, the name, is broken over lines if the terminal has too few columns for it. The others
/// stay in one piece, so that an id can be searched for and copied. Without room for that, or without a terminal, each row is
/// one line.
pub(crate) fn lines(mut table: Table, width: Option<usize>) -> Vec<String> {
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let widths = table.column_max_content_widths();
    let others = widths.len().saturating_sub(1);
    // A blank is on either side of each cell.
    let taken: usize = widths[..others].iter().map(|width| usize::from(*width) + 2).sum();
    if let Some(width) = width.filter(|width| taken + LEAST_NAME + 2 <= *width) {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::try_from(width).unwrap_or(u16::MAX));
        for column in table.column_iter_mut().take(others) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect()
}

/// Sends a request about a trigger: `run`, `enable`, `disable`, or `None` to delete it.
///
/// # Errors
/// A message that says what went wrong and what to do about it.
pub(crate) async fn act(place: Place, user: Option<&str>, id: &str, what: Option<&str>) -> Result<Value, String> {
    let user = owner(&place, user, id).await?;
    let needs = match what {
        Some("run") => Needs::Function,
        Some(_) if traits(&place, user.as_deref(), id).await?.has_no_schedule => Needs::Table,
        Some(_) => Needs::Schedules,
        // Its secret is deleted too.
        None if traits(&place, user.as_deref(), id).await?.has_webhook => Needs::GroupAndHooks,
        None => Needs::Group,
    };
    let requests = place.requests(needs, None)?;
    let path = format!("/triggers/{}", segment(id));
    let answer = match what {
        Some(what) => {
            let path = format!("{path}/{what}");
            let answer = requests.send(user.as_deref(), Method::POST, &path, Some(&json!({})), &[]).await;
            if what == "run" { started(answer) } else { answer.map_err(String::from).and_then(Answer::done) }
        }
        None if is_there(&requests, user.as_deref(), id).await? => {
            requests.done(user.as_deref(), Method::DELETE, &path, None).await
        }
        None => Err("there is no such trigger (404)".to_owned()),
    };
    answer.map_err(|error| format!("trigger {id}: {error}"))
}

/// Returns what a trigger of a table needs besides the table. Behind an address nobody needs to know.
async fn traits(place: &Place, user: Option<&str>, id: &str) -> Result<Traits, String> {
    match (place, user) {
        (Place::Table(table), Some(user)) => table.traits(user, id).await,
        _ => Ok(Traits::default()),
    }
}

/// Returns true if there is such a trigger, or one whose deletion was cut short. To delete what is not there is a success of
/// the control plane, and would hide a misspelt id.
async fn is_there(requests: &Requests, user: Option<&str>, id: &str) -> Result<bool, String> {
    let path = format!("/triggers/{}", segment(id));
    let answer = requests.send(user, Method::GET, &path, None, &[]).await?;
    if answer.status != StatusCode::NOT_FOUND {
        return answer.done().map(|_| true).map_err(|error| format!("trigger {id}: {error}"));
    }
    // A deleted trigger is listed until its schedule is deleted too.
    Ok(all(requests, user).await?.iter().any(|trigger| trigger["id"] == json!(id)))
}

/// Creates or changes the trigger in a file. Returns what was done, with the trigger's id, or the trigger as JSON.
///
/// # Errors
/// A message that says what went wrong and what to do about it.
pub(crate) async fn put(place: Place, options: &PlaceOptions, file: &Path, json: bool) -> Result<Vec<String>, String> {
    let trigger = check::object(file, check::read(file)?)?;
    let id = id_of(&trigger)?;
    let in_file = trigger.get("userId").and_then(Value::as_str).filter(|user| !user.is_empty());
    let given = match (options.user.as_deref(), in_file) {
        (Some(given), Some(in_file)) if given != in_file => {
            return Err(format!("--user is {given}, and the userId of the file is {in_file}: leave one of them out"));
        }
        (given, in_file) => given.or(in_file),
    };
    let user = match &id {
        Some(id) => owner(&place, given, id).await?,
        None if place.has_many_users() && given.is_none() => {
            return Err("whose trigger is it? Give --user ID, or userId in the file".to_owned());
        }
        None => given.map(str::to_owned),
    };
    let source = check::source_of(&trigger);
    let warning = check::warning_of(&trigger);
    let has_webhook = source == Some(WEBHOOK) || trigger.get("webhookConfig").is_some_and(Value::is_object);
    let has_webhook = match &id {
        Some(id) if !has_webhook => traits(&place, user.as_deref(), id).await?.has_webhook,
        _ => has_webhook,
    };
    // A trigger of type event has no schedule, but there may be one to delete if it was one of type schedule before.
    let needs = match (trigger.get("type").and_then(Value::as_str), &id) {
        (_, None) if has_webhook => Needs::Hooks,
        (_, Some(_)) if has_webhook => Needs::GroupAndHooks,
        (Some("event"), None) => Needs::Table,
        (Some("event"), Some(_)) => Needs::Group,
        _ => Needs::Schedules,
    };
    let requests = place.requests(needs, source.or(has_webhook.then_some(WEBHOOK)))?;
    if let Some(in_file) = in_file.filter(|_| options.user.is_none()) {
        // An address acts for the token's user, whoever the file names. `--user` was compared with that already.
        requests.acts_for(in_file).await?;
    }
    let version = trigger.get("version").filter(|version| !version.is_null()).map(Value::to_string);
    let enabled = trigger.get("enabled").and_then(Value::as_bool);
    let (user, body) = (user.as_deref(), Value::Object(trigger));
    let answer = match (&id, version) {
        (Some(id), version) => {
            let headers: Vec<_> = version.iter().map(|version| ("If-Match", version.as_str())).collect();
            let path = format!("/triggers/{}", segment(id));
            let answer = requests.send(user, Method::PUT, &path, Some(&body), &headers).await?;
            answer.done().map_err(|error| format!("trigger {id}: {error}"))?
        }
        (None, _) => created(&requests, user, &body).await?,
    };
    let mut said = saved(&answer["trigger"], id.as_deref(), enabled, &options.given());
    said.extend(warning);
    let (mut trigger, hook) = (answer["trigger"].clone(), &answer["webhook"]);
    if json {
        // What was not done must not be lost among what was.
        said.iter().skip(1).for_each(|line| screen::warn(line));
        if hook.is_object() {
            // It may hold a secret that is shown this once.
            trigger["webhook"] = hook.clone();
        }
        return Ok(vec![pretty(&trigger)]);
    }
    said.extend(webhook::received_at(hook, id.is_none(), trigger["id"].as_str().unwrap_or_default(), &options.given()));
    Ok(said)
}

/// Creates a trigger. If the answer is lost, or says that a service failed, the trigger may be there. Then the request is
/// repeated once: its key keeps it from making a second trigger.
async fn created(requests: &Requests, user: Option<&str>, body: &Value) -> Result<Value, String> {
    let key = Uuid::new_v4().to_string();
    let headers = [("Idempotency-Key", key.as_str())];
    let send = || requests.send(user, Method::POST, "/triggers", Some(body), &headers);
    let answer = send().await;
    if !is_unsure(&answer) {
        return answer?.done();
    }
    // The next command would have a key of its own.
    let answer = send().await.map_err(String::from).and_then(Answer::done);
    answer.map_err(|error| {
        format!(
            "{error}; it may have been made: look with {} triggers, and put it again with its id if it is there",
            called::name()
        )
    })
}

/// Returns the id of the trigger that a file changes, or `None` if it is a new one.
fn id_of(trigger: &Map<String, Value>) -> Result<Option<String>, String> {
    match trigger.get("id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if !id.trim().is_empty() => Ok(Some(id.clone())),
        Some(_) => {
            Err("the file's id must be a text that is not empty; without an id a new trigger is made".to_owned())
        }
    }
}

/// Words what was saved. The control plane leaves `enabled` as it is, so a file that says otherwise is told about it.
fn saved(trigger: &Value, id: Option<&str>, enabled: Option<bool>, options: &str) -> Vec<String> {
    let text = |name: &str| trigger[name].as_str().map(words::one_line);
    let done = if id.is_some() { "changed" } else { "created" };
    let next = text("nextRun").map(|next| format!(", next run {next}")).unwrap_or_default();
    let id = text("id").unwrap_or_else(|| words::one_line(id.unwrap_or_default()));
    let mut lines = vec![format!("{done} {id}{next}")];
    let is_on = trigger["enabled"] != json!(false);
    if enabled.is_some_and(|enabled| enabled != is_on) {
        let (state, switch) = if is_on { ("on", "disable") } else { ("off", "enable") };
        lines.push(format!("still {state}: {} {switch}{options} -- {}", called::name(), words::quoted(&id)));
    }
    lines
}

/// Shows the next runs of a trigger, or of all.
///
/// # Errors
/// A message that says what went wrong and what to do about it.
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
        let requests = place.requests(Needs::Table, None)?;
        let answer = requests.done(user.as_deref(), Method::GET, &path, None).await;
        let answer = answer.map_err(|error| format!("trigger {id}: {error}"))?;
        if json {
            return screen.print(&[pretty(&as_listed(id, &answer))]);
        }
        let mut lines = vec![words::one_line(answer["description"].as_str().unwrap_or_default())];
        if answer["enabled"] == json!(false) {
            lines.push("The trigger is switched off: none of these will run.".to_owned());
        }
        lines.extend(answer.as_object().map(runs).unwrap_or_default());
        return screen.print(&lines);
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
        screen.print(&[pretty(&Value::from(all))])
    } else if all.is_empty() {
        screen.print(&["no schedule will fire".to_owned()])
    } else {
        let mut table = Table::new();
        table.set_header(["AT (UTC)", "TRIGGER", "NAME"]);
        for run in &all {
            let text = |name: &str| words::one_line(run[name].as_str().unwrap_or_default());
            table.add_row([text("at"), text("triggerId"), text("name")]);
        }
        screen.print(&lines(table, screen.width()))
    }
}

/// Returns the next runs of one trigger with the members that those of all triggers have: `triggerId` and `at`. The runs of a
/// trigger that is switched off say so.
fn as_listed(id: &str, answer: &Value) -> Value {
    let runs = answer["nextRuns"].as_array().into_iter().flatten().map(|run| {
        let mut listed = run.clone();
        listed["triggerId"] = json!(id);
        listed["at"] = run["utc"].clone();
        if answer["enabled"] == json!(false) {
            listed["enabled"] = json!(false);
        }
        listed
    });
    runs.collect()
}

/// Words the next runs of a schedule.
pub(crate) fn runs(schedule: &Map<String, Value>) -> Vec<String> {
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

/// Returns the user whose trigger is meant: `user`, or else the one who has it in a table, or `None`: the token's user.
///
/// # Errors
/// If nobody has it, or several have.
pub(crate) async fn owner(place: &Place, user: Option<&str>, id: &str) -> Result<Option<String>, String> {
    let table = match (user, place) {
        (Some(user), _) => return Ok(Some(user.to_owned())),
        (None, Place::Table(table)) if !table.is_local_run() => table,
        (None, _) => return Ok(None),
    };
    let reading = progress_bar();
    let owners = table.owners(Some(id), |items| reading.set_message(format!("{items} items read"))).await;
    reading.finish_and_clear();
    let mut owners = owners?;
    match owners.len() {
        0 => Err(format!("no such trigger: {id} in {}", place.described())),
        1 => Ok(owners.pop()),
        _ => Err(format!("{id} is a trigger of {}: give --user ID", owners.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_of_one_trigger_have_the_members_of_those_of_all() {
        let run = json!({"utc": "2026-01-01T08:00:00.000Z", "local": "2026-01-01T09:00:00+01:00"});
        let answer = json!({"enabled": true, "nextRuns": [run]});
        let expected = json!([{"triggerId": "x", "at": run["utc"], "utc": run["utc"], "local": run["local"]}]);
        assert_eq!(as_listed("x", &answer), expected);
        let off = as_listed("x", &json!({"enabled": false, "nextRuns": [run]}));
        assert_eq!(off[0]["enabled"], false);
        assert_eq!(as_listed("x", &json!({"enabled": true, "nextRuns": []})), json!([]));
    }

    #[test]
    fn only_a_text_is_an_id() {
        let id = |id: Value| id_of(json!({"id": id}).as_object().unwrap());
        assert_eq!(id(json!("nightly")), Ok(Some("nightly".to_owned())));
        assert_eq!(id(Value::Null), Ok(None));
        assert_eq!(id_of(&Map::new()), Ok(None));
        for strange in [json!(5), json!(""), json!(" "), json!(["x"]), json!(false)] {
            assert!(id(strange.clone()).unwrap_err().contains("id must be"), "{strange}");
        }
    }

    #[test]
    fn what_a_file_says_of_enabled_and_was_not_done_is_told() {
        let said = |stored: bool, file| saved(&json!({"id": "x", "enabled": stored}), Some("x"), file, " --table=runs");
        assert_eq!(said(true, None), ["changed x"]);
        assert_eq!(said(true, Some(true)), ["changed x"]);
        assert_eq!(said(true, Some(false)), ["changed x", "still on: triggerctl disable --table=runs -- x"]);
        assert_eq!(said(false, Some(true)), ["changed x", "still off: triggerctl enable --table=runs -- x"]);
        let hostile = json!({"id": "x\u{9b}2J", "nextRun": "\u{1b}[2J"});
        assert_eq!(saved(&hostile, None, None, ""), ["created x 2J, next run [2J"]);
    }

    #[test]
    fn names_alone_are_broken_over_lines_and_users_are_told_apart() {
        let id = "019aa303-7c00-7f32-9d74-712a8c5e2c03";
        let trigger = json!({"id": id, "name": "Daily report of uploads", "userId": "user-1", "enabled": true,
            "health": "healthy", "type": "schedule", "nextRun": "2999-01-31T08:00:00Z"});
        let drawn = |has_users, width| table(std::slice::from_ref(&trigger), has_users, width);
        let expected = "\
STATE  HEALTH   NEXT RUN (UTC)  TRIGGER                               NAME
● on   healthy  99-01-31 08:00  019aa303-7c00-7f32-9d74-712a8c5e2c03  Daily
                                                                      report
                                                                      of
                                                                      uploads";
        assert_eq!(drawn(false, Some(80)).join("\n"), expected);
        for width in [None, Some(50), Some(80)] {
            let drawn = drawn(true, width);
            assert!(drawn.len() == 2 && drawn[1].contains("user-1  Daily report of uploads"), "{width:?}: {drawn:?}");
        }
        let wide = drawn(true, Some(100)).join("\n");
        assert!(wide.contains(id) && wide.contains("USER") && wide.contains("user-1") && wide.lines().count() > 2);
    }
}
