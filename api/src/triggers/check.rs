//! `POST /triggers/check`: the problems of a trigger, and its result for an event. Nothing is written.

use std::sync::Arc;

use agent_trigger::{
    json::surrogate::to_json,
    trigger::check::{self, Preview},
};
use axum::extract::State;
use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::{ApiError, Violation},
    reply::Reply,
    request::JsonObject,
    schedules::routes::preview_of,
    times,
    triggers::{
        draft::{Draft, violations},
        find_alive,
    },
};

/// `POST /triggers/check`: `{trigger, event?}`, or `{triggerId, trigger?, event?}` for changes of a stored one. The
/// answer has every problem, the schedule's next runs, and for an event what the trigger does with it. Unless the
/// trigger's type is `event`, `event` is ignored.
///
/// # Errors
/// Returns an error if the body or the event is not understood, there is no such trigger, or the table refuses or does
/// not answer.
pub async fn check(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonObject(body): JsonObject,
) -> Result<Reply, ApiError> {
    let given = match body.get("trigger") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(trigger)) => trigger.clone(),
        Some(_) => return Err(ApiError::field("trigger", "must be an object")),
    };
    let stored = match body.get("triggerId") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(find_alive(&api, &caller, id).await?),
        Some(_) => return Err(ApiError::field("triggerId", "must be a string")),
    };
    let before = stored.as_ref().map_or(Draft(Map::new()), Draft::of_item);
    let draft = before.merged(&given);
    let now = times::now();
    let violations = violations(&draft, &given, stored.as_ref(), &api.settings, now);
    let listed: Vec<Value> = violations
        .iter()
        .map(|Violation { field, description }| json!({"field": field, "description": description}))
        .collect();
    let mut answer = json!({"valid": violations.is_empty(), "fieldViolations": listed});
    if let Some(schedule) = draft.schedule() {
        answer["schedule"] = preview_of(&schedule, now, now, 3);
    }
    if draft.kind() == Some("schedule") {
        answer["prompt"] = draft.0.get("prompt").cloned().unwrap_or_default();
    }
    if let Some(event) = body.get("event").filter(|event| !event.is_null() && draft.kind() == Some("event")) {
        match previewed(&draft, stored.as_ref(), &caller, event, &api) {
            Ok(preview) => answer["event"] = preview,
            Err(problems) => {
                let description = problems.join("; ");
                return Err(ApiError::field("event", description));
            }
        }
    }
    Ok(Reply::ok(answer))
}

/// Returns the result of the draft for an event, as [`check::preview`] finds it, or what is wrong with the event.
fn previewed(
    draft: &Draft,
    stored: Option<&Map<String, Value>>,
    Caller(user_id): &Caller,
    event: &Value,
    api: &Api,
) -> Result<Value, Vec<String>> {
    let mut item = draft.0.clone();
    let id = stored.and_then(|item| item.get("id")?.as_str()).unwrap_or("new");
    item.insert("PK".to_owned(), json!(format!("TRIGGER#{user_id}")));
    item.insert("SK".to_owned(), json!(format!("TRIGGER#{id}")));
    item.remove("id");
    let preview = check::preview(Value::Object(item), &to_json(event), api.settings.platform);
    let Preview { refused_by, event_source_id, pattern_refusal, skip_reason, prompt, input, empty_queries } =
        preview.map_err(|invalid| invalid.problems)?;
    let mut shown = json!({"matches": refused_by.is_empty(), "refusedBy": refused_by, "skipReason": skip_reason, "prompt": prompt,
        "eventSourceId": event_source_id, "emptyQueries": empty_queries});
    // The macro would spell their numbers anew.
    if let Some((path, value)) = pattern_refusal {
        let mut place = Map::from_iter([("path".to_owned(), json!(path))]);
        place.extend(value.map(|value| ("value".to_owned(), value)));
        shown["patternRefusal"] = place.into();
    }
    shown["input"] = input.unwrap_or_default();
    Ok(shown)
}
