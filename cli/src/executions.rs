//! The commands that show executions, and those that act on one.

use std::time::Duration;

use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::execution::{Execution, State, fired_at};
use crate::needs::Needs;
use crate::options::{ExecutionOptions, Which};
use crate::place::Place;
use crate::requests::{Answer, segment, started};
use crate::screen::Screen;
use crate::table::{Named, Newest, WHOLE_ID};
use crate::words::{self, View, pretty};
use crate::{called, list, show, triggers};

/// The fewest characters of an id by which an execution is cancelled or run again: a slip of one key must not name
/// another.
const LEAST_PART: usize = 4;
/// The longest time between a fire and the beginning of its execution in milliseconds: Lambda drops an event after 6 h
/// (`MaximumEventAgeInSeconds` of the function in template.yaml).
const LONGEST_WAIT: i64 = 6 * 60 * 60 * 1000;

/// Shows the newest executions, as a table or as JSON.
///
/// # Errors
/// A message that says what went wrong and what to do about it.
pub(crate) async fn list(place: &Place, which: &Which, json: bool, screen: &Screen) -> Result<(), String> {
    let found = Found::read(place, &Asked::Newest(which.clone())).await?;
    if json { screen.print(&[pretty(&found.rows())]) } else { screen.print(&found.lines(place, screen.view())) }
}

/// Shows one execution.
///
/// # Errors
/// A message that says what went wrong and what to do about it.
pub(crate) async fn show(
    place: &Place,
    ExecutionOptions { id, trigger }: &ExecutionOptions,
    json: bool,
    screen: &Screen,
) -> Result<(), String> {
    let found = Found::read(place, &Asked::One { trigger: trigger.clone(), id: id.clone(), waits: false }).await?;
    match &found {
        Found::One { execution, .. } if json => screen.print(&[pretty(&Value::from(execution.row.clone()))]),
        _ => screen.print(&found.lines(place, screen.view())),
    }
}

/// Follows the newest executions, or one, until Ctrl-C. One whose trigger and whole id are known is waited for: the
/// control plane names an execution before it begins. If `to_its_end`, it follows one until that has ended, and returns
/// false if that one did not complete, or the watch ended before it. Otherwise returns true.
///
/// # Errors
/// A message that says what went wrong at first, that the output cannot be written, or that the execution cannot begin
/// any more. What else goes wrong later is shown, and tried again.
pub(crate) async fn watch(
    place: &Place,
    (id, to_its_end): (Option<&str>, bool),
    which: &Which,
    screen: Screen,
) -> Result<bool, String> {
    let mut asked = match id {
        Some(id) => Asked::One { trigger: which.trigger.clone(), id: id.to_owned(), waits: true },
        None => Asked::Newest(which.clone()),
    };
    let found = Found::read(place, &asked).await?;
    // Its trigger is known by now, so it is read by its key from here on.
    if let Found::One { execution, .. } = &found {
        let (trigger, id) = (Some(execution.trigger().to_owned()), execution.id().to_owned());
        asked = Asked::One { trigger, id, waits: false };
    }
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => stopped.map(|()| !to_its_end).map_err(|error| error.to_string()),
        // The watch ends when its reader has gone.
        has_completed = draw(screen, place, &asked, found, to_its_end) => Ok(has_completed?.unwrap_or(!to_its_end)),
    }
}

/// Requests an execution's end (`what` is `cancel`), or runs its input again (`replay`), through the control plane. In
/// a table it acts as the execution's user. If the row names none, as older ones do, it acts as `user`, or else as the
/// user who has the trigger.
///
/// # Errors
/// A message that says what went wrong and what to do about it, also if `user` is another user than the execution's.
pub(crate) async fn act(
    place: Place,
    user: Option<&str>,
    what: &str,
    ExecutionOptions { id, trigger }: &ExecutionOptions,
) -> Result<Value, String> {
    if id.chars().count() < LEAST_PART {
        return Err(format!("{id} is too short to {what} by: give {LEAST_PART} characters of the id at least"));
    }
    let (execution, _) = single(&place, trigger.as_deref(), id, search(&place, trigger.as_deref(), id).await?)?;
    let (trigger, id) = (execution.trigger(), execution.id());
    let user = match (execution.item.user_id.as_deref(), user) {
        (Some(its), Some(user)) if its != user => {
            return Err(format!("execution {id} of trigger {trigger} is one of {its}, not of {user}"));
        }
        (Some(user), _) | (None, Some(user)) => Some(user.to_owned()),
        (None, None) => triggers::owner(&place, None, trigger).await?,
    };
    let path = format!("/triggers/{}/executions/{}/{what}", segment(trigger), segment(id));
    // The function is told of the end of a detached run, which no attempt watches over.
    let is_detached = execution.item.detached == Some(true);
    let needs = if what == "replay" || is_detached { Needs::Function } else { Needs::Table };
    let requests = place.requests(needs, None)?;
    let body = Value::Object(Default::default());
    let answer = requests.send(user.as_deref(), Method::POST, &path, Some(&body), &[]).await;
    let whose = format!("execution {id} of trigger {trigger}");
    if answer.as_ref().is_ok_and(|answer| answer.status == http::StatusCode::NOT_FOUND) {
        let reason = "it is there, but its trigger is no stored one of this user (404)";
        return Err(format!("{whose}: cannot {what} it: {reason}"));
    }
    let answer = if what == "replay" { started(answer) } else { answer.map_err(String::from).and_then(Answer::done) };
    answer.map_err(|error| format!("{whose}: {error}"))
}

/// Draws every second. It reads again after as many seconds as the shown executions have pages, so that watching a
/// large table costs no more than watching a small one: a page a second on average. If `to_its_end`, it returns whether
/// the execution has completed, once it has ended, or `None` if the reader has gone.
///
/// # Errors
/// If the output cannot be written, or the execution cannot begin any more.
async fn draw(
    mut screen: Screen,
    place: &Place,
    asked: &Asked,
    mut found: Found,
    to_its_end: bool,
) -> Result<Option<bool>, String> {
    let mut unread = 0;
    let mut trouble: Option<String> = None;
    loop {
        let mut lines = found.lines(place, screen.view());
        lines.extend(trouble.iter().map(|error| format!("trying again: {}", words::one_line(error))));
        if !screen.redraw(lines)? {
            return Ok(None);
        }
        if let Some(has_completed) = found.has_completed(words::now()).filter(|_| to_its_end) {
            return Ok(Some(has_completed));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        unread += 1;
        if unread >= found.pages() {
            unread = 0;
            // The next reading may bring a newer state; until then an older one is better than none.
            match Found::read(place, asked).await {
                Ok(newer) => (found, trouble) = (newer, None),
                Err(error) if matches!(&found, Found::NotYet { id, .. } if !may_begin(id, words::now())) => {
                    return Err(error);
                }
                Err(error) => trouble = Some(error),
            }
        }
    }
}

/// The executions that the options ask for.
enum Asked {
    Newest(Which),
    /// One of them. `waits` says whether it may still have to begin.
    One {
        trigger: Option<String>,
        id: String,
        waits: bool,
    },
}

/// The executions that were found.
enum Found {
    /// None: it has not begun yet.
    NotYet {
        trigger: String,
        id: String,
    },
    Newest {
        newest: Newest,
        which: Which,
    },
    One {
        execution: Box<Execution>,
        input: Option<Option<i64>>,
        pages: u32,
    },
}

impl Found {
    /// Reads the executions that are asked for. If one is asked for, none and several are errors, except that one which
    /// is waited for and may still begin is [`Self::NotYet`].
    async fn read(place: &Place, asked: &Asked) -> Result<Self, String> {
        match asked {
            Asked::Newest(which) => {
                let reading = progress_bar();
                let newest = place.newest(which, |items| reading.set_message(format!("{items} items read"))).await;
                reading.finish_and_clear();
                Ok(Self::Newest { newest: newest?, which: which.clone() })
            }
            Asked::One { trigger, id, waits } => {
                let named = search(place, trigger.as_deref(), id).await?;
                if let (Some(trigger), 0, true) = (trigger, named.count, *waits && may_begin(id, words::now())) {
                    return Ok(Self::NotYet { trigger: trigger.clone(), id: id.clone() });
                }
                let (execution, pages) = single(place, trigger.as_deref(), id, named)?;
                let input = match place {
                    Place::Table(table) => table.input(&execution, words::now()).await?,
                    Place::Api { .. } => None,
                };
                Ok(Self::One { execution: Box::new(execution), input, pages })
            }
        }
    }

    /// Returns whether one execution has completed, or `None` if it has not ended, or there are several.
    fn has_completed(&self, now: i64) -> Option<bool> {
        let Self::One { execution, .. } = self else { return None };
        match execution.state(now) {
            State::Completed => Some(true),
            // Lambda runs it again.
            State::Failed if execution.item.retryable == Some(true) => None,
            State::Failed | State::Cancelled | State::Skipped => Some(false),
            State::Running | State::Stale | State::Unknown => None,
        }
    }

    fn pages(&self) -> u32 {
        match self {
            Self::Newest { newest, .. } => newest.pages,
            Self::One { pages, .. } => *pages,
            Self::NotYet { .. } => 1,
        }
    }

    /// Returns the rows as JSON: an array, or one row, which is null before it begins.
    fn rows(&self) -> Value {
        match self {
            Self::Newest { newest, .. } => newest.executions.iter().map(|one| Value::from(one.row.clone())).collect(),
            Self::One { execution, .. } => execution.row.clone().into(),
            Self::NotYet { .. } => Value::Null,
        }
    }

    fn lines(&self, place: &Place, view: View) -> Vec<String> {
        let mut lines = Vec::new();
        match self {
            Self::NotYet { trigger, id } => {
                lines.extend([
                    place.described(),
                    String::new(),
                    words::one_line(&format!("… {id} of trigger {trigger}")),
                ]);
                lines.push("It has not begun yet.".to_owned());
            }
            Self::One { execution, input, .. } => {
                lines.extend([place.described(), String::new()]);
                lines.extend(show::lines(execution, *input, view));
            }
            Self::Newest { newest, which } if newest.executions.is_empty() => lines.push(nothing(place, which)),
            Self::Newest { newest, which } => {
                lines.push(place.described());
                lines.push(match (&which.trigger, place) {
                    (Some(trigger), _) => format!("Trigger {trigger}, newest fire first"),
                    (None, Place::Table(_)) => format!(
                        "All triggers, newest fire first: the whole table is read ({} items); --trigger ID reads its own",
                        newest.items
                    ),
                    (None, Place::Api { .. }) => "All triggers, newest fire first".to_owned(),
                });
                lines.push(String::new());
                lines.extend(list::lines(&newest.executions, which.trigger.is_some(), view));
                lines.push(String::new());
                let older = if newest.more { "Older ones: --limit N. " } else { "" };
                lines.push(format!("{older}One in full: {} show EXECUTION", called::name()));
            }
        }
        lines
    }
}

/// Returns true for the id of an execution that may still begin. `now` is in milliseconds since 1970.
fn may_begin(id: &str, now: i64) -> bool {
    // The clock that made the id may be ahead of this one.
    id.len() == WHOLE_ID && fired_at(id).is_some_and(|fired| (now - fired).abs() <= LONGEST_WAIT)
}

/// Looks for the executions whose id is `id`, or begins or ends with it, and shows on a terminal how many items were
/// read. None found is no error.
///
/// # Errors
/// Returns a message if the table or the control plane cannot be read.
async fn search(place: &Place, trigger: Option<&str>, id: &str) -> Result<Named, String> {
    let reading = progress_bar();
    let named = place.named(trigger, id, |items| reading.set_message(format!("{items} items read"))).await;
    reading.finish_and_clear();
    named
}

/// Returns the one execution that was found, and the pages read for it.
fn single(place: &Place, trigger: Option<&str>, id: &str, mut named: Named) -> Result<(Execution, u32), String> {
    match (named.count, named.cut_short_at) {
        (1, _) if named.executions.len() == 1 => Ok((named.executions.remove(0), named.pages)),
        (0, Some(searched)) => Err(format!(
            "{id} is not among the newest {searched} executions in {}: give --trigger and the whole id",
            place.described()
        )),
        (0, None) => {
            let whose = trigger.map_or_else(
                || {
                    format!(
                        "no execution has that id; {} list --trigger {} shows those of a trigger",
                        called::name(),
                        words::quoted(id)
                    )
                },
                |trigger| format!("trigger {trigger} has none with that id; without --trigger all are searched"),
            );
            Err(format!("no such execution: {id} in {}: {whose}", place.described()))
        }
        (count, _) => {
            let ids: Vec<_> = named.executions.iter().map(Execution::id).collect();
            let more = if count > ids.len() { ", …" } else { "" };
            Err(format!("{id} means {count} executions: {}{more}; give more of the id", ids.join(", ")))
        }
    }
}

/// Returns one line for an empty list, with what to do about it.
fn nothing(place: &Place, which: &Which) -> String {
    let is_local_run = matches!(place, Place::Table(table) if table.is_local_run());
    let (said, options) = filters(which);
    let described = place.described();
    if !options.is_empty() {
        return format!("{described}: no executions{said}; without {} there may be others", options.join(" and "));
    }
    let what_to_do = if is_local_run && !called::is_release() {
        "send an event: cargo lambda invoke agent-trigger --invoke-address 127.0.0.1 --data-file events/scheduled.json"
            .to_owned()
    } else {
        format!("run a trigger: {} run TRIGGER", called::name())
    };
    format!("{described}: no executions yet; {what_to_do}")
}

/// Words the filters of a list, and names their options.
fn filters(which: &Which) -> (String, Vec<&'static str>) {
    let (mut said, mut options) = (String::new(), Vec::new());
    if let Some(trigger) = &which.trigger {
        said.push_str(&format!(" of trigger {}", words::one_line(trigger)));
        options.push("--trigger");
    }
    if !which.status.is_empty() {
        said.push_str(&format!(" that are {}", which.status.join(" or ")));
        options.push("--status");
    }
    if let Some(since) = which.since {
        said.push_str(&format!(" since {}", words::rfc3339(since)));
        options.push("--since");
    }
    (said, options)
}

/// Returns a progress bar, visible only on a terminal, because a large table takes a while to read.
pub(crate) fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::execution::tests::{NOW, execution};

    #[test]
    fn an_execution_has_ended_when_nothing_more_comes() {
        for (row, has_completed) in [
            (json!({"status": "completed"}), Some(true)),
            (json!({"status": "failed"}), Some(false)),
            (json!({"status": "failed", "retryable": true}), None),
            (json!({"status": "cancelled"}), Some(false)),
            (json!({"status": "skipped"}), Some(false)),
            (json!({"status": "running"}), None),
            (json!({"status": "postponed"}), None),
        ] {
            let found = Found::One { execution: Box::new(execution(row.clone())), input: None, pages: 1 };
            assert_eq!(found.has_completed(NOW), has_completed, "{row}");
        }
    }

    #[test]
    fn no_execution_begins_hours_after_its_fire() {
        const FIRED: i64 = 0x019a_a303_7c00;
        let id = "019aa303-7c00-7f32-9d74-712a8c5e2c03";
        for (id, now, may) in [
            (id, FIRED + LONGEST_WAIT, true),
            (id, FIRED + LONGEST_WAIT + 1, false),
            (id, FIRED - 1_000, true),
            (id, FIRED - LONGEST_WAIT - 1, false),
            (&id[..35], FIRED, false),
            ("f81d4fae-7dec-4f32-9d74-712a8c5e2c03", FIRED, false),
        ] {
            assert_eq!(may_begin(id, now), may, "{id} at {now}");
        }
    }

    #[test]
    fn every_filter_of_an_empty_list_is_named() {
        let which = Which {
            trigger: Some("nightly".to_owned()),
            status: vec!["failed".to_owned(), "skipped".to_owned()],
            since: Some(0),
            limit: 20,
        };
        let (said, options) = filters(&which);
        assert_eq!(said, " of trigger nightly that are failed or skipped since 1970-01-01T00:00:00Z");
        assert_eq!(options, ["--trigger", "--status", "--since"]);
        assert_eq!(filters(&Which::default()), (String::new(), Vec::new()));
    }
}
