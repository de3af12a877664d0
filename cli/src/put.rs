//! The command that creates or changes a trigger from a file.

use std::path::Path;

use http::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::called;
use crate::check;
use crate::needs::Needs;
use crate::options::PlaceOptions;
use crate::place::Place;
use crate::requests::{Answer, Requests, is_unsure, segment};
use crate::screen;
use crate::table::WEBHOOK;
use crate::triggers::{owner, traits};
use crate::webhook;
use crate::words::{self, pretty};

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

/// Creates a trigger. If the answer is lost, or says that a service failed, the trigger may be there. Then the request
/// is repeated once: its key keeps it from making a second trigger.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
