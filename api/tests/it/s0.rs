//! The types of the frontend that the API serves, over every answer that a test gets (api/tests/s0/types.json).

use std::{collections::HashMap, sync::LazyLock};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::Answer;

/// The types of the answers that the frontend reads, and of its errors.
const TYPES: [&str; 6] = [
    "TriggerResponse",
    "TriggersListResponse",
    "ExecutionsListResponse",
    "EventSourcesResponse",
    "MessageResponse",
    "Error",
];

static VALIDATORS: LazyLock<HashMap<&str, Validator>> = LazyLock::new(|| {
    let types: Value = serde_json::from_str(include_str!("../s0/types.json")).unwrap();
    let of = |name: &str| {
        let mut schema = types.clone();
        schema["$ref"] = json!(format!("#/$defs/{name}"));
        jsonschema::validator_for(&schema).unwrap()
    };
    TYPES.map(|name| (name, of(name))).into()
});

/// Returns the type of the frontend's answer to a request, or `None` if the frontend does not send it.
fn type_of(method: &str, path: &str) -> Option<&'static str> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let path = path.strip_prefix("/v1").unwrap_or(path);
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (method, parts.as_slice()) {
        ("GET", ["events"]) => Some("EventSourcesResponse"),
        ("GET", ["triggers"]) => Some("TriggersListResponse"),
        ("POST", ["triggers"]) | ("GET" | "PUT", ["triggers", _]) | ("POST", ["triggers", _, "enable" | "disable"]) => {
            (parts.get(1) != Some(&"check")).then_some("TriggerResponse")
        }
        ("DELETE", ["triggers", _]) => Some("MessageResponse"),
        ("GET", ["triggers", _, "executions"]) => Some("ExecutionsListResponse"),
        _ => None,
    }
}

/// Asserts that the frontend's type holds over the answer to one of its requests.
pub(crate) fn assert_typed(method: &str, path: &str, answer: &Answer) {
    let Some(expected) = type_of(method, path) else { return };
    let name = match answer.status {
        200..=299 => expected,
        400.. => "Error",
        // What is known already has no body.
        _ => return,
    };
    let problems = problems(name, &answer.body);
    assert!(problems.is_empty(), "{method} {path} is no {name}: {problems:#?} in {:#}", answer.body);
}

fn problems(name: &str, body: &Value) -> Vec<String> {
    VALIDATORS[name].iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_types_refuse_what_the_frontend_could_not_read() {
    let trigger = json!({"id": "01926fb0-0000-7000-8000-000000000000", "userId": "u", "name": "n", "agentId": "a", "type": "event",
        "enabled": true, "prompt": "p", "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00Z"});
    let metadata = json!({"requestId": "r", "timestamp": "2026-01-01T00:00:00.000Z", "userId": "u", "count": 1});
    let body = |change: Value| {
        let mut trigger = trigger.clone();
        trigger.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({"triggers": [trigger], "metadata": metadata})
    };
    assert_eq!(problems("TriggersListResponse", &body(json!({}))), Vec::<String>::new());
    for change in [
        json!({"type": "webhook"}),
        json!({"description": null}),
        json!({"enabled": "true"}),
        json!({"lastExecutedAt": "yesterday"}),
        json!({"enabledTools": [1]}),
        json!({"reasoningEffort": "medium"}),
        json!({"scheduleConfig": {"timezone": "UTC"}}),
        json!({"eventConfig": {}}),
        json!({"id": 1}),
    ] {
        assert_eq!(problems("TriggersListResponse", &body(change.clone())).len(), 1, "{change}");
    }
    let mut body = body(json!({}));
    body["triggers"][0].as_object_mut().unwrap().remove("userId");
    body["metadata"].as_object_mut().unwrap().remove("count");
    assert_eq!(problems("TriggersListResponse", &body).len(), 2);
}

#[test]
fn every_request_of_the_frontend_has_a_type() {
    for (method, path, expected) in [
        ("GET", "/triggers?type=event&limit=10", Some("TriggersListResponse")),
        ("POST", "/v1/triggers", Some("TriggerResponse")),
        ("GET", "/triggers/t", Some("TriggerResponse")),
        ("PUT", "/triggers/t", Some("TriggerResponse")),
        ("POST", "/triggers/t/enable", Some("TriggerResponse")),
        ("POST", "/triggers/t/disable", Some("TriggerResponse")),
        ("DELETE", "/triggers/t", Some("MessageResponse")),
        ("GET", "/triggers/t/executions?limit=20", Some("ExecutionsListResponse")),
        ("GET", "/events", Some("EventSourcesResponse")),
        ("POST", "/triggers/check", None),
        ("GET", "/triggers/t/status", None),
    ] {
        assert_eq!(type_of(method, path), expected, "{method} {path}");
    }
}
