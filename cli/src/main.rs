//! `triggerctl`: manages triggers and shows executions, on AWS or on this machine.
//!
//! `place` decides where to look. Executions in a table are read from it. Everything that concerns triggers, and everything
//! that changes something, goes to the control plane: behind its address, or in this process (`requests`).

mod called;
mod causes;
mod check;
mod execution;
mod executions;
mod list;
mod needs;
mod options;
mod place;
mod put;
mod requests;
mod screen;
mod sdk_http;
mod show;
mod source;
mod table;
mod triggers;
mod webhook;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use serde_json::Value;

use crate::options::{Command, ListOptions, Options, PlaceOptions, TriggerOptions};
use crate::place::Place;
use crate::screen::Screen;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(code) => code,
        Err(message) => {
            screen::warn(&format!("error: {}", words::one_line(&message)));
            ExitCode::FAILURE
        }
    }
}

async fn run(Options { place: options, command }: Options) -> Result<ExitCode, String> {
    let screen = Screen::new();
    // These need no place.
    match &command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Options::command(), "triggerctl", &mut script);
            screen.write(&script)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Check { file, event, json } => {
            let is_valid = check::check(file, event.as_deref(), *json, &screen).await?;
            return Ok(if is_valid { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        _ => {}
    }
    let place = Place::find(&options).await?;
    let user = options.user.as_deref();
    match command {
        Command::List(ListOptions { which, json }) => executions::list(&place, &which, json, &screen).await?,
        Command::Show { execution, json } => executions::show(&place, &execution, json, &screen).await?,
        Command::Watch { id, exit_status, which } => {
            let has_completed = executions::watch(&place, (id.as_deref(), exit_status), &which, screen).await?;
            return Ok(if has_completed { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Triggers { json } => triggers::list(place, user, json, &screen).await?,
        Command::Next { id, limit, json } => triggers::next(place, user, (id.as_deref(), limit), json, &screen).await?,
        Command::Put { file, json } => screen.print(&put::put(place, &options, &file, json).await?)?,
        Command::Replay { execution, json } => {
            let answer = executions::act(place, user, "replay", &execution).await?;
            screen.print(&said("replayed as", answer, &options, json))?;
        }
        Command::Cancel { execution, json } => {
            let answer = executions::act(place, user, "cancel", &execution).await?;
            screen.print(&said("asked to end:", answer, &options, json))?;
        }
        Command::Run { trigger: TriggerOptions { id }, json } => {
            let answer = triggers::act(place, user, &id, Some("run")).await?;
            screen.print(&said("runs as", answer, &options, json))?;
        }
        Command::Enable(TriggerOptions { id }) => {
            triggers::act(place, user, &id, Some("enable")).await?;
            screen.print(&[format!("switched on: {id}")])?;
        }
        Command::Disable(TriggerOptions { id }) => {
            triggers::act(place, user, &id, Some("disable")).await?;
            screen.print(&[format!("switched off: {id}")])?;
        }
        Command::Delete(TriggerOptions { id }) => {
            triggers::act(place, user, &id, None).await?;
            screen.print(&[format!("deleted: {id}")])?;
        }
        Command::Webhook(command) => webhook::run(place, &options, command, &screen).await?,
        Command::Completions { .. } | Command::Check { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what was done to an execution, how to follow it and whether it will be skipped, or returns the answer as JSON.
fn said(what: &str, mut answer: Value, options: &PlaceOptions, json: bool) -> Vec<String> {
    if json {
        if let Some(members) = answer.as_object_mut() {
            members.remove("metadata");
        }
        return vec![words::pretty(&answer)];
    }
    let text = |name: &str| answer[name].as_str().map(words::one_line).unwrap_or_default();
    let (execution, trigger) = (text("executionId"), text("triggerId"));
    let (id, its) = (words::quoted(&execution), words::quoted(&trigger));
    let follow = format!("follow it: {} watch --trigger={its}{} -- {id}", called::name(), options.given());
    let mut lines = vec![format!("{what} {execution}"), follow];
    lines.extend(will_be_skipped(&answer, &trigger, options));
    lines
}

/// Returns a line for an answer with a `skipReason`: what it means, and the command that switches the trigger on.
fn will_be_skipped(answer: &Value, trigger: &str, options: &PlaceOptions) -> Option<String> {
    let reason = answer["skipReason"].as_str()?;
    let why = list::meaning(Some(reason), None).unwrap_or_else(|| words::one_line(reason));
    let enable = format!("{} enable{} -- {}", called::name(), options.given(), words::quoted(trigger));
    Some(format!("it will be skipped: {why}; to switch it on: {enable}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_advice_leads_to_the_same_place_and_runs_nothing_else() {
        let options = PlaceOptions { table: Some("runs".to_owned()), ..PlaceOptions::default() };
        let answer = json!({"executionId": "019aa303", "triggerId": "$(rm x)\u{1b}[2J"});
        assert_eq!(
            said("runs as", answer.clone(), &options, false),
            ["runs as 019aa303", "follow it: triggerctl watch --trigger='$(rm x) [2J' --table=runs -- 019aa303"]
        );
        let mut off = answer.clone();
        off["skipReason"] = json!("Paused");
        assert_eq!(
            said("replayed as", off, &options, false)[2],
            "it will be skipped: the trigger is paused because it failed too often; to switch it on: triggerctl enable \
             --table=runs -- '$(rm x) [2J'"
        );
        let json = said("runs as", answer.clone(), &options, true).concat();
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), answer);
    }

    #[cfg(unix)]
    #[test]
    fn no_id_becomes_an_option_of_the_advice() {
        for strange in ["--help", "--api=https://evil", "-", "it's  $(x)", "a`b`", "~", "--", "=x"] {
            let options = PlaceOptions { user: Some(strange.to_owned()), ..PlaceOptions::default() };
            let answer = json!({"executionId": strange, "triggerId": strange});
            let advice = said("runs as", answer, &options, false).pop().unwrap();
            // A shell divides it into words.
            let script = advice.replace("follow it: triggerctl", "printf '%s\\n' triggerctl");
            let words = std::process::Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
            let words = String::from_utf8(words).unwrap();
            let Options { place, command } = Options::try_parse_from(words.lines()).unwrap();
            let Command::Watch { id, which, .. } = command else { panic!("{advice}") };
            let given = (id.as_deref(), which.trigger.as_deref(), place.user.as_deref(), place.api.as_deref());
            // The first is what `one_line` has made of the answer.
            let shown = words::one_line(strange);
            assert_eq!(given, (Some(shown.as_str()), Some(shown.as_str()), Some(strange), None), "{advice}");
        }
    }
}
