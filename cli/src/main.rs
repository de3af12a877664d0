//! `triggerctl`: manages triggers and shows executions, on AWS or on this machine.
//!
//! `place` decides where to look. Executions in a table are read from it. Everything that concerns triggers, and everything
//! that changes something, goes to the control plane: behind its address, or in this process (`requests`).

mod execution;
mod executions;
mod list;
mod options;
mod place;
mod requests;
mod screen;
mod show;
mod source;
mod table;
mod triggers;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use serde_json::Value;

use crate::options::{Command, ListOptions, Options, TriggerOptions};
use crate::place::Place;
use crate::screen::Screen;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(code) => code,
        Err(message) => {
            eprintln!("error: {}", words::one_line(&message));
            ExitCode::FAILURE
        }
    }
}

async fn run(Options { place: options, command }: Options) -> Result<ExitCode, String> {
    let screen = Screen::new();
    let user = options.user.as_deref();
    // These need no place.
    match &command {
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Options::command(), "triggerctl", &mut std::io::stdout());
            return Ok(ExitCode::SUCCESS);
        }
        Command::Check { file, event, json } => {
            let is_valid = triggers::check(file, event.as_deref(), *json, &screen).await?;
            return Ok(if is_valid { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        _ => {}
    }
    let place = Place::find(&options).await?;
    match command {
        Command::List(ListOptions { which, json }) => executions::list(&place, &which, json, &screen).await?,
        Command::Show { execution, json } => executions::show(&place, &execution, json, &screen).await?,
        Command::Watch { id, which } => executions::watch(&place, id.as_deref(), &which, screen).await?,
        Command::Triggers { json } => triggers::list(place, user, json, &screen).await?,
        Command::Next { id, limit, json } => triggers::next(place, user, (id.as_deref(), limit), json, &screen).await?,
        Command::Put { file } => screen.print(&[triggers::put(place, user, &file).await?]),
        Command::Replay(which) => said(&screen, "replayed as", &executions::act(place, "replay", &which).await?),
        Command::Cancel(which) => said(&screen, "asked to end:", &executions::act(place, "cancel", &which).await?),
        Command::Run(TriggerOptions { id }) => {
            said(&screen, "runs as", &triggers::act(place, user, &id, Some("run")).await?);
        }
        Command::Enable(TriggerOptions { id }) => {
            triggers::act(place, user, &id, Some("enable")).await?;
            screen.print(&[format!("switched on: {id}")]);
        }
        Command::Disable(TriggerOptions { id }) => {
            triggers::act(place, user, &id, Some("disable")).await?;
            screen.print(&[format!("switched off: {id}")]);
        }
        Command::Delete(TriggerOptions { id }) => {
            triggers::act(place, user, &id, None).await?;
            screen.print(&[format!("deleted: {id}")]);
        }
        Command::Completions { .. } | Command::Check { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what was done to an execution, and how to follow it.
fn said(screen: &Screen, what: &str, answer: &Value) {
    let text = |name: &str| answer[name].as_str().map(words::one_line).unwrap_or_default();
    let (execution, trigger) = (text("executionId"), text("triggerId"));
    let follow = format!("follow it: triggerctl watch {execution} --trigger {trigger}");
    screen.print(&[format!("{what} {execution}"), follow]);
}
