//! A trigger as answers show it: the members that the client set, and those that the API and the function write. The
//! keys are left out.

use agent_trigger::trigger::item::why_off;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    schedules::schedule::Schedule,
    store::triggers::{has_schedule, has_webhook, is_tombstone},
    times::rfc3339,
    triggers::draft::{Draft, kind_of},
};

/// The attributes that the API and the function write, in the order of their meaning.
const SHOWN: [&str; 15] = [
    "id",
    // The frontend's type requires it. It is the caller's own.
    "userId",
    "enabled",
    "version",
    "createdAt",
    "updatedAt",
    "lastExecutedAt",
    "health",
    "healthSince",
    "failures",
    "healthExecutionId",
    "healthErrorType",
    "pausedAt",
    "pausedReason",
    "deletedAt",
];

/// Returns a trigger as answers show it at `now`: the members that clients set, [`SHOWN`], and the states of its
/// schedule and its webhook, the schedule in words, and its next run if its state is `ok`. Nulls are left out. A member
/// that the frontend requires and the item lacks is an empty text.
pub fn view(item: &Map<String, Value>, now: Timestamp) -> Value {
    let Draft(mut shown) = Draft::of_item(item);
    for name in SHOWN {
        if let Some(value) = item.get(name).filter(|value| !value.is_null()) {
            shown.insert(name.to_owned(), value.clone());
        }
    }
    shown.insert("enabled".to_owned(), json!(is_enabled(item)));
    // Items of other writers may hold nulls, and may lack what the frontend's type requires.
    shown.retain(|_, value| !value.is_null());
    for name in ["scheduleConfig", "eventConfig"] {
        if let Some(Value::Object(members)) = shown.get_mut(name) {
            members.retain(|_, value| !value.is_null());
        }
    }
    for name in ["name", "prompt", "agentId", "createdAt", "updatedAt"] {
        shown.entry(name).or_insert(json!(""));
    }
    if shown.get("type").is_some_and(|kind| kind == "event") {
        // It stays in the item until the schedule is deleted.
        shown.remove("scheduleConfig");
    }
    let status = schedule_status(item, now);
    if let Some(status) = status {
        shown.insert("scheduleStatus".to_owned(), json!(status));
    }
    if has_webhook(item) {
        let is_made = item["webhookConfig"]["secretVersion"].as_i64().is_some_and(|version| version > 0);
        shown.insert("webhookStatus".to_owned(), json!(if is_made { "ok" } else { "missing" }));
    }
    if let Some(schedule) = schedule_of(item) {
        shown.insert("scheduleDescription".to_owned(), json!(schedule.describe()));
        let next = schedule.runs_after(now, saved_at(item, now)).next();
        if let Some(next) = next.filter(|_| status == Some("ok")) {
            shown.insert("nextRun".to_owned(), json!(rfc3339(next)));
        }
    }
    Value::Object(shown)
}

/// Returns the schedule of a trigger, also of one that is switched off, and of a tombstone that still has it. Returns
/// `None` if the trigger is of another type, or if its schedule is missing or invalid.
pub fn schedule_of(item: &Map<String, Value>) -> Option<Schedule> {
    let config = item.get("scheduleConfig").filter(|_| kind_of(item) == Some("schedule"))?;
    Schedule::read(config.as_object()?).ok()
}

/// Returns false only for a trigger that is switched off, or that was deleted.
pub fn is_enabled(item: &Map<String, Value>) -> bool {
    why_off(item).is_none()
}

/// Adds to the answer of a run that was started the reason why it will be skipped, as its record will name it. It adds
/// nothing if the trigger is on.
pub fn add_skip_reason(answer: &mut Value, trigger: &Map<String, Value>) {
    if let Some(reason) = why_off(trigger) {
        answer["skipReason"] = json!(reason.as_str());
    }
}

/// Returns the time at which Scheduler got the schedule, as far as the item says, or else that of the trigger's
/// creation. A rate counts from it. Without a readable time it is `now`.
pub fn saved_at(item: &Map<String, Value>, now: Timestamp) -> Timestamp {
    let text = ["scheduleSavedAt", "createdAt"].into_iter().find_map(|name| item.get(name)?.as_str());
    text.and_then(|text| text.parse().ok()).unwrap_or(now)
}

/// Returns true if Scheduler has what this version of the item says, as far as the item knows.
pub fn is_synced(item: &Map<String, Value>) -> bool {
    item.get("scheduleVersion").is_some_and(|synced| Some(synced) == item.get("version"))
}

/// Returns the state of a trigger's schedule. `disabled`: the trigger is switched off. `done`: it fires no more.
/// `missing`: a write was cut short, so that it is missing or one is left over, or none was ever made. `ok`: anything
/// else. `None` if there is no schedule, and none is left.
pub fn schedule_status(item: &Map<String, Value>, now: Timestamp) -> Option<&'static str> {
    let is_left = if is_tombstone(item) { has_schedule(item) } else { item.contains_key("scheduleVersion") };
    match schedule_of(item).filter(|_| !is_tombstone(item)) {
        Some(schedule) => Some(status_of(&schedule, item, now)),
        None => is_left.then_some("missing"),
    }
}

/// Returns the state of this schedule of a trigger that is no tombstone, see [`schedule_status`].
fn status_of(schedule: &Schedule, item: &Map<String, Value>, now: Timestamp) -> &'static str {
    // A trigger of another API has an ARN and no versions.
    let is_foreign = item.get("scheduleVersion").is_none()
        && item.get("scheduleConfig").is_some_and(|config| config["schedulerArn"].is_string());
    if !is_enabled(item) {
        "disabled"
    } else if schedule.runs_after(now, saved_at(item, now)).next().is_none() {
        "done"
    } else if is_synced(item) || is_foreign {
        "ok"
    } else {
        "missing"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_has_a_status() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let item = |changes: Value| {
            let mut item = json!({"id": "t", "PK": "TRIGGER#u", "userId": "u", "type": "schedule", "version": 3,
                "scheduleVersion": 3, "scheduleConfig": {"expression": "rate(1 hour)"}, "createdAt": "2025-12-31T23:30:00.000Z"});
            item.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            item.as_object().unwrap().clone()
        };
        for (changes, expected) in [
            (json!({}), "ok"),
            (json!({"scheduleVersion": 2}), "missing"),
            (json!({"scheduleVersion": null}), "missing"),
            (json!({"enabled": false, "scheduleVersion": 2}), "disabled"),
            (json!({"scheduleConfig": {"expression": "at(2025-12-31T23:00:00)"}}), "done"),
            (json!({"scheduleConfig": {"expression": "at(2026-01-01T00:30:00)"}}), "ok"),
            (json!({"scheduleConfig": {"expression": "rate(1 hour)", "endDate": "2025-12-31T00:00:00Z"}}), "done"),
            // The end is still to come, and no run is left before it.
            (json!({"scheduleConfig": {"expression": "rate(1 hour)", "endDate": "2026-01-01T00:20:00Z"}}), "done"),
            (json!({"type": null, "scheduleConfig": {"expression": "rate(1 hour)"}}), "ok"),
        ] {
            let mut item = item(changes.clone());
            // Items of other writers may leave the type out.
            item.retain(|name, value| name != "type" || !value.is_null());
            let shown = view(&item, now);
            assert_eq!(shown["scheduleStatus"], expected, "{changes}");
            assert_eq!((shown.get("PK"), &shown["userId"]), (None, &json!("u")));
            assert_eq!(shown.get("nextRun").is_some(), expected == "ok", "{changes}");
        }
        let shown = view(&item(json!({})), now);
        assert_eq!(shown["nextRun"], "2026-01-01T00:30:00.000Z");
        assert_eq!(shown["scheduleDescription"], "Every hour");
        let mut foreign = item(json!({"scheduleConfig": {"expression": "0 9 * * ? *", "schedulerArn": "arn"}}));
        foreign.remove("scheduleVersion");
        foreign.remove("version");
        assert_eq!(view(&foreign, now)["scheduleStatus"], "ok");
        // What is left of a schedule is shown, and what has none has no status.
        let deleted = json!({"deletedAt": "2025-12-31T23:59:00.000Z", "scheduleVersion": 2});
        for (changes, is_left) in [
            (json!({"type": "event", "scheduleVersion": 3}), true),
            (json!({"type": "event", "scheduleVersion": null, "scheduleConfig": null}), false),
            (deleted, true),
        ] {
            let mut left = item(changes.clone());
            left.retain(|_, value| !value.is_null());
            let shown = view(&left, now);
            assert_eq!(shown.get("scheduleStatus"), is_left.then_some(&json!("missing")), "{changes}");
            assert_eq!(shown.get("nextRun"), None, "{changes}");
            assert_eq!(shown["enabled"], changes.get("deletedAt").is_none(), "{changes}");
        }
    }
}
