//! Shows the executions of a table, on AWS or on this machine, and how they ended.
//!
//! `cargo run --example history -- --help` lists the options.

mod execution;
mod list;
mod options;
mod screen;
mod show;
mod source;
mod table;
mod words;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::execution::Execution;
use crate::options::Options;
use crate::screen::Screen;
use crate::source::Source;
use crate::table::{Newest, Table};
use crate::words::View;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<(), String> {
    let screen = Screen::new();
    let (options, mut problems) = options::parse(std::env::args_os());
    let Some(options) = options else {
        screen.print(&[options::HELP.trim_end().to_owned()]);
        return Ok(());
    };
    let env_file = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(source::ENV_FILE));
    let env_file = env_file.ok();
    let source = Source::find(options.table.as_deref(), |name| std::env::var(name).ok(), env_file.as_deref());
    let source = match source {
        Ok(source) if problems.is_empty() => source,
        Ok(_) => return Err(told(&problems)),
        Err(more) => {
            problems.extend(more);
            return Err(told(&problems));
        }
    };
    let table = Table::open(source).await?;
    let reading = progress_bar();
    let found = Found::read(&table, &options, |items| reading.set_message(format!("{items} items read"))).await;
    reading.finish_and_clear();
    let found = found?;
    if options.watch {
        tokio::select! {
            stopped = tokio::signal::ctrl_c() => stopped.map_err(|error| error.to_string()),
            // The watch ends when its reader has gone.
            () = watch(screen, &table, &options, found) => Ok(()),
        }
    } else {
        screen.print(&found.lines(&table, &options, screen.view()));
        Ok(())
    }
}

fn told(problems: &[String]) -> String {
    format!("{}; --help tells what there is", problems.join("; "))
}

/// Returns a progress bar, visible only on a terminal, because a large table takes a while to read.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}

/// Draws every second. It reads again after as many seconds as the shown executions have pages, so that watching a
/// large table costs no more than watching a small one.
async fn watch(mut screen: Screen, table: &Table, options: &Options, mut found: Found) {
    let mut unread = 0;
    let mut trouble: Option<String> = None;
    loop {
        let view = screen.view();
        let mut lines = found.lines(table, options, view);
        lines.extend(trouble.iter().map(|error| format!("trying again: {}", words::one_line(error))));
        if screen.redraw(lines).is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        unread += 1;
        if unread >= found.pages() {
            unread = 0;
            // The next reading may bring a newer state; until then an older one is better than none.
            match Found::read_again(table, options, &found).await {
                Ok(newer) => (found, trouble) = (newer, None),
                Err(error) => trouble = Some(error),
            }
        }
    }
}

/// The part of the table that the options ask for.
enum Found {
    Newest(Newest),
    One { execution: Box<Execution>, input: Option<Option<i64>>, pages: u32 },
}

impl Found {
    async fn read(table: &Table, options: &Options, read: impl Fn(usize)) -> Result<Self, String> {
        let now = words::now();
        let trigger = options.trigger.as_deref();
        match (&options.show, trigger) {
            (Some(id), _) => Self::one(table, trigger, id, read).await,
            (None, Some(trigger)) => table.of_trigger(trigger, options.limit, now).await.map(Self::Newest),
            (None, None) => table.of_all(options.limit, now, read).await.map(Self::Newest),
        }
    }

    /// Reads the same part again. The trigger of a single execution is known by now.
    async fn read_again(table: &Table, options: &Options, found: &Self) -> Result<Self, String> {
        match found {
            Self::One { execution, .. } => Self::one(table, Some(execution.trigger()), execution.id(), |_| ()).await,
            Self::Newest(_) => Self::read(table, options, |_| ()).await,
        }
    }

    async fn one(table: &Table, trigger: Option<&str>, id: &str, read: impl Fn(usize)) -> Result<Self, String> {
        let now = words::now();
        let (execution, pages) = table.one(trigger, id, now, read).await?;
        let Some(execution) = execution else {
            let whose = trigger.map_or_else(
                || "nothing in the table has that id".to_owned(),
                |trigger| {
                    format!("trigger {trigger} has none with that id; without --trigger the whole table is searched")
                },
            );
            return Err(format!("no such execution: {id} in {}: {whose}", table.described()));
        };
        let input = table.input(&execution, now).await?;
        Ok(Self::One { execution: Box::new(execution), input, pages })
    }

    fn pages(&self) -> u32 {
        match self {
            Self::Newest(newest) => newest.pages,
            Self::One { pages, .. } => *pages,
        }
    }

    fn lines(&self, table: &Table, options: &Options, view: View) -> Vec<String> {
        let mut lines = Vec::new();
        match self {
            Self::One { execution, input, .. } => {
                lines.extend([format!("Table {}", table.described()), String::new()]);
                lines.extend(show::lines(execution, *input, view));
            }
            Self::Newest(newest) if newest.executions.is_empty() => lines.push(nothing(table, options)),
            Self::Newest(newest) => {
                lines.push(format!("Table {}", table.described()));
                lines.push(match &options.trigger {
                    Some(trigger) => format!("Trigger {trigger}, newest fire first"),
                    None => format!(
                        "All triggers, newest fire first: the whole table is read ({} items); --trigger ID reads its own",
                        newest.items
                    ),
                });
                lines.push(String::new());
                lines.extend(list::lines(&newest.executions, options.trigger.is_some(), view));
                lines.push(String::new());
                let older = if newest.more { "Older ones: --limit N. " } else { "" };
                lines.push(format!("{older}One in full: --show EXECUTION_ID"));
            }
        }
        lines
    }
}

/// Returns one line for an empty table, with what to do about it.
fn nothing(table: &Table, options: &Options) -> String {
    let what_to_do = match &options.trigger {
        Some(_) => "without --trigger those of all are listed",
        None if table.is_local_run() => {
            "send an event: cargo lambda invoke agent-trigger --invoke-address 127.0.0.1 --data-file events/scheduled.json"
        }
        None => "send an event as README.md says (Deploy, Try it)",
    };
    let whose = options.trigger.as_ref().map(|trigger| format!(" of trigger {trigger}")).unwrap_or_default();
    format!("Table {}: no executions{whose} yet; {what_to_do}", table.described())
}
