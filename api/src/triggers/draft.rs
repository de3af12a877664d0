//! Builds trigger items from clients' requests: the members that they may set, the merging of an update, and the
//! problems of the result. The function's own reader of items finds most of the problems.

use agent_trigger::{domain::platform::Platform, json::surrogate, trigger::check};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    error::Violation,
    event_sources::is_source,
    hooks::{
        event::SOURCE,
        scheme::Preset,
        webhook::{OWN_MEMBERS, Webhook},
    },
    schedules::schedule::Schedule,
    settings::Settings,
};

/// The members that a client sets as a whole.
const WHOLE: [&str; 20] = [
    "name",
    "description",
    "type",
    "agentId",
    "prompt",
    "sessionId",
    "modelId",
    "reasoningEffort",
    "workingDirectory",
    "enabledTools",
    "onInterrupted",
    "acceptFinishReasons",
    "detached",
    "input",
    "overlap",
    "timeoutSeconds",
    "maxRunsPerDay",
    "maxTokensPerDay",
    "pauseAfterFailures",
    "enabled",
];
/// The objects that an update merges, one level deep.
const MERGED: [&str; 4] = ["scheduleConfig", "eventConfig", "webhookConfig", "inputMapping"];
/// The members of `scheduleConfig` that only the API writes. Clients send them back.
const OWN_SCHEDULE_MEMBERS: [&str; 2] = ["schedulerArn", "scheduleGroupName"];
/// The longest name, and the longest description, in characters.
const LONGEST_NAME: usize = 256;
const LONGEST_DESCRIPTION: usize = 2_000;
/// The largest item in bytes of JSON. DynamoDB's limit is 400 KB, and the function adds to the item.
const LARGEST_ITEM: usize = 300 * 1024;

/// The members of a trigger that clients may set, by their names.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft(pub Map<String, Value>);

impl Draft {
    /// Returns the members of an item that a client may set. The objects among them keep what only the API writes. If
    /// the item leaves out its `type`, it is added.
    pub fn of_item(item: &Map<String, Value>) -> Self {
        let known = item.iter().filter(|(name, _)| WHOLE.contains(&name.as_str()) || MERGED.contains(&name.as_str()));
        let mut draft: Map<String, Value> = known.map(|(name, value)| (name.clone(), value.clone())).collect();
        if let Some(kind) = kind_of(item) {
            draft.entry("type").or_insert(json!(kind));
        }
        Self(draft)
    }

    /// Merges a request's body: the objects of [`MERGED`] member by member, without those that only the API writes, and
    /// any other member as a whole. Null removes a member, but from `webhookConfig` only what clients set. Unknown
    /// members are left out; [`violations`] looks for them in the body, so that a misspelt one is named. A schedule
    /// loses `eventConfig` and `webhookConfig`, and an event `scheduleConfig`. An event with a webhook gets its source
    /// and its preset if they are missing.
    #[must_use]
    pub fn merged(mut self, body: &Map<String, Value>) -> Self {
        let body = &unicode_members(body);
        for (name, value) in body.iter().filter(|(name, _)| WHOLE.contains(&name.as_str())) {
            put(&mut self.0, name, value.clone());
        }
        for (name, value) in body.iter().filter(|(name, _)| MERGED.contains(&name.as_str())) {
            let merged = match (self.0.get(name), value) {
                (Some(Value::Object(before)), Value::Object(given)) => {
                    let mut merged = before.clone();
                    for (member, value) in given {
                        if !is_own(name, member) {
                            put(&mut merged, member, value.clone());
                        }
                    }
                    Value::Object(merged)
                }
                // Null resets what a client sets. The webhook keeps its address and its secret.
                (Some(Value::Object(before)), Value::Null) if name == "webhookConfig" => {
                    let kept = before.iter().filter(|(member, _)| is_own(name, member));
                    Value::Object(kept.map(|(member, value)| (member.clone(), value.clone())).collect())
                }
                (_, Value::Object(given)) => {
                    let kept = given.iter().filter(|(member, value)| !is_own(name, member) && !value.is_null());
                    Value::Object(kept.map(|(member, value)| (member.clone(), value.clone())).collect())
                }
                (_, other) => other.clone(),
            };
            put(&mut self.0, name, merged);
        }
        // A schedule has no event, and the other way round. A client that changes the type sends only the new part.
        match self.kind() {
            Some("schedule") => {
                self.0.remove("eventConfig");
                self.0.remove("webhookConfig");
            }
            Some("event") => {
                self.0.remove("scheduleConfig");
                self.complete_webhook();
            }
            _ => {}
        }
        self
    }

    /// Adds what a webhook lacks: its event source, or its settings. Either is enough to ask for one.
    fn complete_webhook(&mut self) {
        let has_config = self.0.contains_key("webhookConfig");
        if has_config && self.event_source().is_none() {
            let config = self.0.entry("eventConfig").or_insert_with(|| json!({}));
            if let Value::Object(config) = config {
                config.insert("eventSourceId".to_owned(), json!(SOURCE));
            }
        }
        if self.event_source() == Some(SOURCE) {
            let config = self.0.entry("webhookConfig").or_insert_with(|| json!({}));
            if let Value::Object(config) = config {
                config.entry("preset").or_insert(json!(Preset::Standard.as_str()));
            }
        }
    }

    /// Returns true if the draft has a webhook: it is of the type `event`, and its source is that of webhooks.
    pub fn has_webhook(&self) -> bool {
        self.kind() == Some("event") && self.event_source() == Some(SOURCE)
    }

    /// Returns `type`, or `None` if it is absent or no text.
    pub fn kind(&self) -> Option<&str> {
        self.0.get("type")?.as_str()
    }

    /// Returns `eventConfig.eventSourceId`, or `None` if it is absent or no text.
    pub fn event_source(&self) -> Option<&str> {
        self.0.get("eventConfig")?.get("eventSourceId")?.as_str()
    }

    /// Returns the schedule, or `None` if the draft is none or it is invalid.
    pub fn schedule(&self) -> Option<Schedule> {
        Schedule::read(self.0.get("scheduleConfig").filter(|_| self.kind() == Some("schedule"))?.as_object()?).ok()
    }
}

/// Returns the type of an item. Items of other writers may leave it out: then it is a schedule if there is a
/// `scheduleConfig`, and otherwise an event. Returns `None` if it is null or no text.
pub fn kind_of(item: &Map<String, Value>) -> Option<&str> {
    match item.get("type") {
        Some(kind) => kind.as_str(),
        None if item.contains_key("scheduleConfig") => Some("schedule"),
        None => Some("event"),
    }
}

/// Returns a value as the table can hold it: it holds Unicode, so half a surrogate pair becomes U+FFFD.
fn unicode(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(surrogate::shown(text).into_owned()),
        Value::Array(values) => values.iter().map(unicode).collect(),
        Value::Object(members) => Value::Object(unicode_members(members)),
        other => other.clone(),
    }
}

/// Returns members as the table can hold them, see [`unicode`].
fn unicode_members(members: &Map<String, Value>) -> Map<String, Value> {
    members.iter().map(|(name, value)| (surrogate::shown(name).into_owned(), unicode(value))).collect()
}

/// Returns true if the draft changes a webhook that has a secret to the preset of Standard Webhooks. The secret was
/// made for another one, and nothing would be believed any more.
fn has_other_secret(before: &Map<String, Value>, draft: &Draft) -> bool {
    let standard = Preset::Standard.as_str();
    let config = &before.get("webhookConfig").unwrap_or(&Value::Null);
    let was_other = config["secretVersion"].is_i64() && config["preset"].as_str().is_some_and(|was| was != standard);
    was_other && draft.0.get("webhookConfig").is_some_and(|config| config["preset"] == standard)
}

/// Returns true for a member of a merged object that only the API writes.
fn is_own(object: &str, member: &str) -> bool {
    match object {
        "scheduleConfig" => OWN_SCHEDULE_MEMBERS.contains(&member),
        "webhookConfig" => OWN_MEMBERS.contains(&member),
        _ => false,
    }
}

/// Sets a member, or removes it if the value is null.
fn put(object: &mut Map<String, Value>, name: &str, value: Value) {
    if value.is_null() {
        object.remove(name);
    } else {
        object.insert(name.to_owned(), value);
    }
}

/// Returns everything that is wrong with a draft. `body` is the request's, for misspelt names. `before` is the item
/// that the draft changes: its source may stay, and so may its schedule, even if it fires no more. But no webhook may
/// stay where webhooks are not deployed.
pub fn violations(
    draft: &Draft,
    body: &Map<String, Value>,
    before: Option<&Map<String, Value>>,
    settings: &Settings,
    now: Timestamp,
) -> Vec<Violation> {
    let mut violations = of_reader(draft, body, settings.platform);
    let mut add = |field: &str, description: String| {
        if !violations.iter().any(|known: &Violation| known.field == field) {
            violations.push(Violation { field: field.to_owned(), description });
        }
    };
    match draft.0.get("name") {
        None => add("name", "is missing".to_owned()),
        Some(Value::String(name)) if name.trim().is_empty() => add("name", "must not be empty".to_owned()),
        Some(Value::String(name)) if name.chars().count() > LONGEST_NAME => {
            add("name", format!("must have at most {LONGEST_NAME} characters"));
        }
        Some(Value::String(_)) => {}
        Some(_) => add("name", "must be a string".to_owned()),
    }
    if let Some(description) = draft.0.get("description") {
        match description {
            Value::String(text) if text.chars().count() <= LONGEST_DESCRIPTION => {}
            _ => add("description", format!("must be a string of at most {LONGEST_DESCRIPTION} characters")),
        }
    }
    match draft.kind() {
        Some("schedule") => {
            if before.map(Draft::of_item).is_some_and(|before| before.has_webhook()) {
                add("type", "a webhook stays one; delete the trigger instead".to_owned());
            }
            for (field, description) in of_schedule(draft, before, settings, now) {
                add(&format!("scheduleConfig.{field}"), description);
            }
        }
        Some("event") => {
            let was = before.map(Draft::of_item).and_then(|draft| draft.event_source().map(str::to_owned));
            match draft.event_source() {
                None => add("eventConfig.eventSourceId", "is required for a trigger of type event".to_owned()),
                Some(source) if was.as_deref() == Some(source) || is_source(&settings.event_sources, source) => {}
                Some(_) => add("eventConfig.eventSourceId", unknown_source(&settings.event_sources)),
            }
            if before.is_some_and(|before| has_other_secret(before, draft)) {
                let problem = "the secret of this webhook is none of Standard Webhooks, which has a form of its own; \
                               make another trigger";
                add("webhookConfig.preset", problem.to_owned());
            }
            for (field, description) in of_webhook(draft, was.as_deref(), settings) {
                add(&field, description);
            }
        }
        _ => add("type", "must be \"event\" or \"schedule\"".to_owned()),
    }
    if serde_json::to_vec(&draft.0).is_ok_and(|item| item.len() > LARGEST_ITEM) {
        add("prompt", format!("the trigger must have at most {LARGEST_ITEM} bytes"));
    }
    violations
}

/// Returns the problem of an unknown event source, which names those that there are. Those who deploy the stack decide
/// which.
fn unknown_source(sources: &[Value]) -> String {
    let ids: Vec<_> = sources.iter().filter_map(|source| source["id"].as_str()).collect();
    let known = if ids.is_empty() { "there is none".to_owned() } else { format!("must be one of {}", ids.join(", ")) };
    format!("{known}; the stack's parameter EventSources lists them")
}

/// Returns the problems that the function's own reader finds in the draft, and the misspelt members of `body`. Those of
/// `type` are left to [`violations`].
fn of_reader(draft: &Draft, body: &Map<String, Value>, platform: Platform) -> Vec<Violation> {
    // Further members of the request are looked at for misspelt names, and never stored.
    let mut item = body.clone();
    for name in ["id", "userId", "PK", "SK", "ttl", "deletedAt", "pausedAt", "version", "followsAnyUser"] {
        item.remove(name);
    }
    for name in WHOLE.iter().chain(&MERGED) {
        item.remove(*name);
    }
    item.extend(draft.0.clone());
    item.insert("PK".to_owned(), json!("TRIGGER#check"));
    item.insert("SK".to_owned(), json!("TRIGGER#check"));
    let violation = |problem: String| {
        let (path, description) = problem.split_once(": ").unwrap_or(("$", &problem));
        let field = path.strip_prefix("$.").unwrap_or(path).to_owned();
        Violation { field, description: description.to_owned() }
    };
    // A change is also read alone: what it means to set, the item may have.
    let mut problems = check::problems(Value::Object(item), platform);
    let misspelt = check::misspelt(body).into_iter().filter(|problem| !problems.contains(problem));
    problems.extend(misspelt.collect::<Vec<_>>());
    // `violations` says which types there are.
    problems.into_iter().map(violation).filter(|violation| violation.field != "type").collect()
}

/// Returns the problems of an event's webhook, each with its field. `was` is the event source before the change: a
/// webhook stays one, and settings of one need its source.
fn of_webhook(draft: &Draft, was: Option<&str>, settings: &Settings) -> Vec<(String, String)> {
    let source = || "eventConfig.eventSourceId".to_owned();
    if !draft.has_webhook() {
        // Its address and its secret would be left behind.
        let lost =
            (was == Some(SOURCE)).then(|| (source(), "a webhook stays one; delete the trigger instead".to_owned()));
        let config = draft.0.contains_key("webhookConfig");
        let config = config.then(|| ("webhookConfig".to_owned(), format!("needs the event source {SOURCE}")));
        return lost.or(config).into_iter().collect();
    }
    if settings.hooks.is_none() {
        return vec![(source(), "webhooks are not deployed here".to_owned())];
    }
    let Some(Value::Object(config)) = draft.0.get("webhookConfig") else {
        return vec![("webhookConfig".to_owned(), "must be an object".to_owned())];
    };
    let problems = Webhook::read(config).err().unwrap_or_default();
    problems.into_iter().map(|(name, problem)| (format!("webhookConfig.{name}"), problem)).collect()
}

/// Returns the problems of a schedule, each with its member. A schedule that the change leaves as it was is checked
/// neither against the present time nor for the least time between two runs: one that has fired its last time may be
/// renamed, or get another prompt.
fn of_schedule(
    draft: &Draft,
    before: Option<&Map<String, Value>>,
    settings: &Settings,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let none = Map::new();
    let config = match draft.0.get("scheduleConfig") {
        Some(Value::Object(config)) => config,
        None => &none,
        Some(_) => return vec![("expression", "scheduleConfig must be an object".to_owned())],
    };
    match Schedule::read(config) {
        Err(problems) => problems,
        // A schedule that has fired its last time may be renamed, or get another prompt.
        Ok(schedule) if before.is_some_and(|item| Draft::of_item(item).schedule().as_ref() == Some(&schedule)) => {
            Vec::new()
        }
        Ok(schedule) => schedule.check(now, settings.min_schedule_minutes).err().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { unreachable!() };
        object
    }

    #[test]
    fn an_unknown_source_is_told_which_there_are() {
        let of = |ids: &[&str]| unknown_source(&ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>());
        assert_eq!(
            of(&["aws-s3", "github"]),
            "must be one of aws-s3, github; the stack's parameter EventSources lists them"
        );
        assert_eq!(of(&[]), "there is none; the stack's parameter EventSources lists them");
    }

    #[test]
    fn an_update_merges_one_level_deep_and_null_removes() {
        let before = Draft(object(json!({"type": "schedule", "name": "n", "modelId": "m", "prompt": "p",
            "scheduleConfig": {"expression": "rate(1 hour)", "timezone": "Europe/Berlin", "schedulerArn": "arn"},
            "inputMapping": {"a": "$.a", "b": "$.b"}})));
        let body = object(json!({"name": "new", "modelId": null, "unknown": 1, "PK": "x", "followsAnyUser": true,
            "scheduleConfig": {"expression": "rate(2 hours)", "schedulerArn": "forged", "timezone": null},
            "inputMapping": {"b": null, "c": "$.c"}}));
        let expected = object(json!({"type": "schedule", "name": "new", "prompt": "p",
            "scheduleConfig": {"expression": "rate(2 hours)", "schedulerArn": "arn"},
            "inputMapping": {"a": "$.a", "c": "$.c"}}));
        assert_eq!(before.clone().merged(&body).0, expected);
        assert_eq!(before.clone().merged(&object(json!({"inputMapping": null}))).0.get("inputMapping"), None);
        let event = before.merged(&object(json!({"type": "event", "eventConfig": {"eventSourceId": "s"}})));
        assert_eq!(
            (event.kind(), event.event_source(), event.0.get("scheduleConfig")),
            (Some("event"), Some("s"), None)
        );
    }
}
