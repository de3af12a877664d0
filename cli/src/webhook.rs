//! The commands for webhooks. What a pipe is meant for, an address or a secret, stands alone on the standard output.

use std::{fs, io::Read, path::Path};

use comfy_table::Table;
use http::Method;
use serde_json::{Map, Value, json};

use crate::needs::Needs;
use crate::options::{PlaceOptions, WebhookCommand};
use crate::place::Place;
use crate::requests::{Answer, Requests, is_unsure, segment};
use crate::screen::{self, Screen};
use crate::triggers::{lines, owner};
use crate::{called, check, words};

/// More bytes than any secret has.
const LONGEST_SECRET: u64 = 4096;

/// A trigger's webhook, and the way to it.
struct Webhook<'a> {
    requests: Requests,
    user: Option<String>,
    id: &'a str,
}

impl<'a> Webhook<'a> {
    async fn of(place: Place, user: Option<&str>, id: &'a str, needs: Needs) -> Result<Self, String> {
        let user = owner(&place, user, id).await?;
        Ok(Self { requests: place.requests(needs, None)?, user, id })
    }

    /// Sends a request about the trigger. `path` is what follows its own.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let path = format!("/triggers/{}{path}", segment(self.id));
        let answer = self.requests.done(self.user.as_deref(), method, &path, body).await;
        answer.map_err(|error| self.told(&error))
    }

    fn told(&self, error: &str) -> String {
        format!("trigger {}: {error}", self.id)
    }
}

/// Does what a command about a webhook asks.
///
/// # Errors
/// A message that says what went wrong and what to do about it.
pub(crate) async fn run(
    place: Place,
    options: &PlaceOptions,
    command: WebhookCommand,
    screen: &Screen,
) -> Result<(), String> {
    let user = options.user.as_deref();
    match command {
        WebhookCommand::Url { trigger, json } => {
            let webhook = Webhook::of(place, user, &trigger.id, Needs::Hooks).await?;
            url(&webhook, json, screen).await
        }
        WebhookCommand::Deliveries { trigger, limit, json } => {
            let webhook = Webhook::of(place, user, &trigger.id, Needs::Table).await?;
            let mut answer = webhook.ask(Method::GET, "/deliveries", None).await?;
            let Value::Array(mut deliveries) = answer["deliveries"].take() else {
                return Err("the answer has no deliveries: is this the address of a control plane?".to_owned());
            };
            // Strangers can cause refusals. They hide nothing else here either.
            let mut listed = [0; 2];
            deliveries.retain(|delivery| {
                let listed = &mut listed[usize::from(delivery["state"] == "refused")];
                *listed += 1;
                *listed <= limit
            });
            if json {
                screen.print(&[words::pretty(&Value::from(deliveries))])
            } else if deliveries.is_empty() {
                screen.print(&["nothing came in the last seven days".to_owned()])
            } else {
                screen.print(&table(&deliveries, screen.width()))
            }
        }
        WebhookCommand::Rotate { trigger, secret, grace, json } => {
            let secret = secret.as_deref().map(read_secret).transpose()?;
            let webhook = Webhook::of(place, user, &trigger.id, Needs::Hooks).await?;
            rotate(&webhook, secret, grace, json, screen).await
        }
        WebhookCommand::Test { trigger, body, headers, json } => {
            let body = body.as_deref().map(check::read).transpose()?;
            let headers: Map<String, Value> =
                headers.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
            let webhook = Webhook::of(place, user, &trigger.id, Needs::Hooks).await?;
            let mut answer =
                webhook.ask(Method::POST, "/webhook/test", Some(&json!({"body": body, "headers": headers}))).await?;
            if let Some(members) = answer.as_object_mut().filter(|_| json) {
                members.remove("metadata");
                return screen.print(&[words::pretty(&answer)]);
            }
            let sent = words::one_line(answer["senderId"].as_str().unwrap_or_default());
            let its = words::quoted(&trigger.id);
            let look =
                format!("see what became of it: {} webhook deliveries{} -- {its}", called::name(), options.given());
            let mut lines = vec![format!("sent {sent}"), look];
            lines.extend(crate::will_be_skipped(&answer, &trigger.id, options));
            screen.print(&lines)
        }
    }
}

/// Prints the address of a webhook. A trigger without one is an error.
async fn url(webhook: &Webhook<'_>, json: bool, screen: &Screen) -> Result<(), String> {
    let answer = webhook.ask(Method::GET, "", None).await?;
    let (url, trigger) = (&answer["webhook"]["url"], &answer["trigger"]);
    let Some(address) = url.as_str() else { return Err(webhook.told("it has no webhook")) };
    if json {
        let mut shown =
            json!({"url": url, "webhookStatus": trigger["webhookStatus"], "webhookConfig": trigger["webhookConfig"]});
        if let Some(by_alias) = answer["webhook"].get("aliasUrl") {
            shown["aliasUrl"] = by_alias.clone();
        }
        return screen.print(&[words::pretty(&shown)]);
    }
    screen.print(&[words::one_line(address)])?;
    if let Some(by_alias) = answer["webhook"]["aliasUrl"].as_str() {
        screen::warn(&format!("by its alias: {}", words::one_line(by_alias)));
    }
    if trigger["webhookStatus"] == "missing" {
        let program = called::name();
        screen::warn(&format!(
            "it has no secret yet, because its making was cut short: {program} webhook rotate completes it"
        ));
    }
    Ok(())
}

/// Replaces the secret by `secret`, or by a new one, which is printed. The one before works for `grace` seconds more,
/// or for the control plane's default without it.
async fn rotate(
    webhook: &Webhook<'_>,
    secret: Option<String>,
    grace: Option<u32>,
    json: bool,
    screen: &Screen,
) -> Result<(), String> {
    let path = format!("/triggers/{}/webhook/secret", segment(webhook.id));
    let body = json!({"secret": secret, "graceSeconds": grace});
    let answer = webhook.requests.send(webhook.user.as_deref(), Method::POST, &path, Some(&body), &[]).await;
    // A secret whose answer is lost is known to nobody, and the one before it has begun to end.
    let advice = if is_unsure(&answer) { "; it may have been replaced: do it again to learn the secret" } else { "" };
    let answer = answer.map_err(String::from).and_then(Answer::done);
    let mut answer = answer.map_err(|error| webhook.told(&format!("{error}{advice}")))?;
    if json {
        if let Some(members) = answer.as_object_mut() {
            members.remove("metadata");
        }
        return screen.print(&[words::pretty(&answer)]);
    }
    let until = answer["previousSecretUntil"].as_str().map(words::one_line);
    let before = match until {
        // Its time is the present.
        Some(_) if grace == Some(0) => "; the one before no longer works".to_owned(),
        Some(until) => format!("; the one before works until {until}"),
        None => String::new(),
    };
    match answer["webhook"]["secret"].as_str() {
        Some(made) => {
            screen.print(&[words::one_line(made)])?;
            screen::warn(&format!("a new secret, shown this once{before}"));
            Ok(())
        }
        None => screen.print(&[format!("the secret is stored{before}")]),
    }
}

/// Words the address of a webhook, and its secret if it was made now.
pub(crate) fn received_at(webhook: &Value, is_new: bool, id: &str, options: &str) -> Vec<String> {
    let text = |name: &str| webhook[name].as_str().map(words::one_line);
    let Some(url) = text("url") else { return Vec::new() };
    let mut lines = vec![format!("webhook {url}")];
    lines.extend(text("aliasUrl").map(|by_alias| format!("by its alias {by_alias}")));
    match text("secret") {
        Some(secret) => lines.push(format!("its secret, shown this once: {secret}")),
        None if is_new => {
            let id = words::quoted(id);
            lines.push(format!(
                "its secret was lost with an answer: {} webhook rotate{options} -- {id}",
                called::name()
            ));
        }
        None => {}
    }
    lines
}

/// Reads a secret from a file, `-` being the standard input. At most 4 KiB are read. A newline at its end is dropped.
fn read_secret(file: &Path) -> Result<String, String> {
    let (mut text, shown) = (String::new(), words::one_line(&file.to_string_lossy()));
    let read = if file == Path::new("-") {
        std::io::stdin().take(LONGEST_SECRET).read_to_string(&mut text)
    } else {
        fs::File::open(file).and_then(|file| file.take(LONGEST_SECRET).read_to_string(&mut text))
    };
    // The error may not repeat what was read.
    read.map_err(|error| format!("cannot read the secret in {shown}: {}", error.kind()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() { Err(format!("there is no secret in {shown}")) } else { Ok(secret.to_owned()) }
}

/// Draws deliveries as a table, as wide as a terminal if there is one.
fn table(deliveries: &[Value], width: Option<usize>) -> Vec<String> {
    let mut table = Table::new();
    table.set_header(["TIME (UTC)", "OUTCOME", "FROM", "NOTE"]);
    let now = words::now();
    for delivery in deliveries {
        let text = |name: &str| delivery[name].as_str().map(words::one_line);
        let outcome = match delivery["state"].as_str() {
            Some("dispatched") => "✓ accepted",
            Some("pending") => "▸ accepted",
            Some("notDispatched") => "! not begun",
            Some("handshake") => "↔ handshake",
            _ => "✗ refused",
        };
        let at = text("receivedAt").and_then(|at| words::parse_time(&at));
        let at = at.map(|at| words::moment(at, now)).unwrap_or_default();
        let from = text("sourceIp").unwrap_or_else(|| "-".to_owned());
        table.add_row([at, outcome.to_owned(), from, note(delivery)]);
    }
    lines(table, width)
}

/// Says why nothing ran, or what did.
fn note(delivery: &Value) -> String {
    let text = |name: &str| delivery[name].as_str().map(words::one_line);
    let mut parts = Vec::new();
    if delivery["test"] == true {
        parts.push("test".to_owned());
    }
    match (text("reason"), text("message")) {
        (Some(reason), Some(message)) => parts.push(format!("{reason}: {message}")),
        (one, other) => parts.extend(one.or(other)),
    }
    if let Some(times) = delivery["duplicates"].as_i64() {
        parts.push(format!("sent again: {times}"));
    }
    if let Some(count) = delivery["count"].as_i64() {
        parts.push(format!("{count} like this one"));
    }
    // The end of an id is enough for the other commands, and stays in one piece on a narrow terminal.
    let run = text("executionId").map(|id| id.rsplit('-').next().unwrap_or_default().to_owned());
    parts.extend(run.map(|id| format!("run {id}")));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_fit_into_80_columns_and_say_why_nothing_ran() {
        let deliveries = [
            json!({"state": "dispatched", "receivedAt": "2020-01-31T08:00:00Z", "sourceIp": "192.0.2.1", "test": true,
                "executionId": "019aa303-7c00-7f32-9d74-712a8c5e2c03", "duplicates": 2}),
            json!({"state": "refused", "receivedAt": "2020-01-31T08:00:00Z", "sourceIp": "255.255.255.255",
                "reason": "wrongSignature", "message": "The signature was made with another secret, or of another body.",
                "count": 7}),
            json!({"state": "notDispatched", "message": "\u{1b}[2JLet it\nbe sent again."}),
        ];
        let drawn = table(&deliveries, Some(80));
        assert!(drawn.iter().all(|line| console::measure_text_width(line) <= 80), "{drawn:#?}");
        let text = drawn.join("\n");
        for words in ["20-01-31 08:00", "✓ accepted", "✗ refused", "! not begun", "wrongSignature:", "712a8c5e2c03"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains('\u{1b}'));
        // For another program each is one line.
        let piped = table(&deliveries, None);
        assert_eq!(piped.len(), 4);
        assert!(piped[1].ends_with("test, sent again: 2, run 712a8c5e2c03"), "{piped:#?}");
        assert!(piped[2].ends_with("or of another body., 7 like this one"), "{piped:#?}");
    }
}
