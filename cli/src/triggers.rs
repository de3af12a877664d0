//! The commands for triggers. The control plane does what they ask: behind its address, or in this process.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets::NOTHING};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::called;
use crate::executions::progress_bar;
use crate::needs::Needs;
use crate::place::{Pages, Place};
use crate::requests::{Answer, Requests, segment, started};
use crate::screen::Screen;
use crate::table::Traits;
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

/// Draws a table. Its last column, the name, is broken over lines if the terminal has too few columns for it. The
/// others stay in one piece, so that an id can be searched for and copied. Without room for that, or without a
/// terminal, each row is one line.
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
pub(crate) async fn traits(place: &Place, user: Option<&str>, id: &str) -> Result<Traits, String> {
    match (place, user) {
        (Place::Table(table), Some(user)) => table.traits(user, id).await,
        _ => Ok(Traits::default()),
    }
}

/// Returns true if there is such a trigger, or one whose deletion was cut short. To delete what is not there is a
/// success of the control plane, and would hide a misspelt id.
async fn is_there(requests: &Requests, user: Option<&str>, id: &str) -> Result<bool, String> {
    let path = format!("/triggers/{}", segment(id));
    let answer = requests.send(user, Method::GET, &path, None, &[]).await?;
    if answer.status != StatusCode::NOT_FOUND {
        return answer.done().map(|_| true).map_err(|error| format!("trigger {id}: {error}"));
    }
    // A deleted trigger is listed until its schedule is deleted too.
    Ok(all(requests, user).await?.iter().any(|trigger| trigger["id"] == json!(id)))
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

/// Returns the next runs of one trigger with the members that those of all triggers have: `triggerId` and `at`. The
/// runs of a trigger that is switched off say so.
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
