//! The commands that show executions, and those that act on one.

use std::time::Duration;

use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::execution::Execution;
use crate::options::{ExecutionOptions, Which};
use crate::place::Place;
use crate::requests::segment;
use crate::screen::Screen;
use crate::table::Newest;
use crate::words::{self, View};
use crate::{list, show};

/// The most ids that are named where a part of one means several.
const MOST_NAMED: usize = 5;

/// Shows the newest executions, as a table or as JSON.
///
/// # Errors
/// What went wrong and what to do about it.
pub(crate) async fn list(place: &Place, which: &Which, json: bool, screen: &Screen) -> Result<(), String> {
    let found = Found::read(place, &Asked::Newest(which.clone())).await?;
    if json {
        screen.print(&[pretty(&found.rows())]);
    } else {
        screen.print(&found.lines(place, screen.view()));
    }
    Ok(())
}

/// Shows one execution.
///
/// # Errors
/// What went wrong and what to do about it.
pub(crate) async fn show(
    place: &Place,
    ExecutionOptions { id, trigger }: &ExecutionOptions,
    json: bool,
    screen: &Screen,
) -> Result<(), String> {
    let found = Found::read(place, &Asked::One { trigger: trigger.clone(), id: id.clone() }).await?;
    match &found {
        Found::One { execution, .. } if json => screen.print(&[pretty(&Value::from(execution.row.clone()))]),
        _ => screen.print(&found.lines(place, screen.view())),
    }
    Ok(())
}

/// Follows the newest executions, or one, until Ctrl-C.
///
/// # Errors
/// What went wrong at first. What goes wrong later is shown, and tried again.
pub(crate) async fn watch(place: &Place, id: Option<&str>, which: &Which, screen: Screen) -> Result<(), String> {
    let mut asked = match id {
        Some(id) => Asked::One { trigger: which.trigger.clone(), id: id.to_owned() },
        None => Asked::Newest(which.clone()),
    };
    let found = Found::read(place, &asked).await?;
    // Its trigger is known by now, so it is read by its key from here on.
    if let Found::One { execution, .. } = &found {
        asked = Asked::One { trigger: Some(execution.trigger().to_owned()), id: execution.id().to_owned() };
    }
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => stopped.map_err(|error| error.to_string()),
        // The watch ends when its reader has gone.
        () = draw(screen, place, &asked, found) => Ok(()),
    }
}

/// Requests an execution's end, or runs its input again, through the control plane.
///
/// # Errors
/// What went wrong and what to do about it.
pub(crate) async fn act(
    place: Place,
    what: &str,
    ExecutionOptions { id, trigger }: &ExecutionOptions,
) -> Result<Value, String> {
    let (execution, _) = one(&place, trigger.as_deref(), id).await?;
    let (trigger, id, user) = (execution.trigger(), execution.id(), execution.item.user_id.as_deref());
    let path = format!("/triggers/{}/executions/{}/{what}", segment(trigger), segment(id));
    place
        .requests(what == "replay", None)
        .await?
        .done(user, Method::POST, &path, Some(&Value::Object(Default::default())))
        .await
}

/// Draws every second. It reads again after as many seconds as the shown executions have pages, so that watching a
/// large table costs no more than watching a small one.
async fn draw(mut screen: Screen, place: &Place, asked: &Asked, mut found: Found) {
    let mut unread = 0;
    let mut trouble: Option<String> = None;
    loop {
        let mut lines = found.lines(place, screen.view());
        lines.extend(trouble.iter().map(|error| format!("trying again: {}", words::one_line(error))));
        if screen.redraw(lines).is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        unread += 1;
        if unread >= found.pages() {
            unread = 0;
            // The next reading may bring a newer state; until then an older one is better than none.
            match Found::read(place, asked).await {
                Ok(newer) => (found, trouble) = (newer, None),
                Err(error) => trouble = Some(error),
            }
        }
    }
}

/// What the options ask for.
enum Asked {
    Newest(Which),
    One { trigger: Option<String>, id: String },
}

/// What was found.
enum Found {
    Newest { newest: Newest, which: Which },
    One { execution: Box<Execution>, input: Option<Option<i64>>, pages: u32 },
}

impl Found {
    async fn read(place: &Place, asked: &Asked) -> Result<Self, String> {
        match asked {
            Asked::Newest(which) => {
                let reading = progress_bar();
                let newest = place.newest(which, |items| reading.set_message(format!("{items} items read"))).await;
                reading.finish_and_clear();
                Ok(Self::Newest { newest: newest?, which: which.clone() })
            }
            Asked::One { trigger, id } => {
                let (execution, pages) = one(place, trigger.as_deref(), id).await?;
                let input = match place {
                    Place::Table(table) => table.input(&execution, words::now()).await?,
                    Place::Api { .. } => None,
                };
                Ok(Self::One { execution: Box::new(execution), input, pages })
            }
        }
    }

    fn pages(&self) -> u32 {
        match self {
            Self::Newest { newest, .. } => newest.pages,
            Self::One { pages, .. } => *pages,
        }
    }

    fn rows(&self) -> Value {
        match self {
            Self::Newest { newest, .. } => newest.executions.iter().map(|one| Value::from(one.row.clone())).collect(),
            Self::One { execution, .. } => execution.row.clone().into(),
        }
    }

    fn lines(&self, place: &Place, view: View) -> Vec<String> {
        let mut lines = Vec::new();
        match self {
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
                lines.push(format!("{older}One in full: triggerctl show EXECUTION"));
            }
        }
        lines
    }
}

/// Returns the one execution that an id, or a part of it, means, and the pages read for it.
async fn one(place: &Place, trigger: Option<&str>, id: &str) -> Result<(Execution, u32), String> {
    let reading = progress_bar();
    let found = place.named(trigger, id, |items| reading.set_message(format!("{items} items read"))).await;
    reading.finish_and_clear();
    let (mut found, pages) = found?;
    match found.len() {
        1 => Ok((found.remove(0), pages)),
        0 => {
            let whose = trigger.map_or_else(
                || "nothing there has that id".to_owned(),
                |trigger| format!("trigger {trigger} has none with that id; without --trigger all are searched"),
            );
            Err(format!("no such execution: {id} in {}: {whose}", place.described()))
        }
        count => {
            let ids: Vec<_> = found.iter().take(MOST_NAMED).map(Execution::id).collect();
            Err(format!("{id} means {count} executions: {}; give more of the id", ids.join(", ")))
        }
    }
}

/// Returns one line for an empty list, with what to do about it.
fn nothing(place: &Place, which: &Which) -> String {
    let is_local_run = matches!(place, Place::Table(table) if table.is_local_run());
    let what_to_do = match which {
        Which { trigger: Some(_), .. } => "without --trigger those of all are listed",
        which if !which.status.is_empty() || which.since.is_some() => "without --status and --since all are listed",
        _ if is_local_run => {
            "send an event: cargo lambda invoke agent-trigger --invoke-address 127.0.0.1 --data-file events/scheduled.json"
        }
        _ => "run a trigger: triggerctl run TRIGGER",
    };
    let whose = which.trigger.as_ref().map(|trigger| format!(" of trigger {trigger}")).unwrap_or_default();
    format!("{}: no executions{whose} yet; {what_to_do}", place.described())
}

/// Returns a progress bar, visible only on a terminal, because a large table takes a while to read.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}

/// Returns a value as indented JSON.
pub(crate) fn pretty(value: &Value) -> String {
    format!("{value:#}")
}
