//! schemas/trigger.json says of each member what the function's reader of trigger items says.

use std::{fs, path::Path};

use agent_trigger::{
    domain::{finish_reason::FinishReason, platform::Platform},
    trigger::{bounds::MOST_CONDITIONS, check::problems},
};
use jsonschema::Validator;
use serde_json::{Value, json};

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/trigger.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn trigger() -> Value {
    json!({"PK": "TRIGGER#user-1", "SK": "TRIGGER#trigger-1", "type": "event", "agentId": "agent-1", "prompt": "Look"})
}

/// Values of every type, and every word, number and name that a member's rule could turn on.
fn values() -> Vec<Value> {
    let mut values =
        vec![json!(null), json!(true), json!(false), json!([]), json!({}), json!([1]), json!([null]), json!([[]])];
    for number in [
        "-1",
        "0",
        "1",
        "1.5",
        "900.0",
        "9e2",
        "86400",
        "86401",
        "100000",
        "100001",
        "4294967295",
        "4294967296",
        "9007199254740992",
        "9007199254740993",
        "1e30",
    ] {
        values.push(serde_json::from_str(number).unwrap());
    }
    for text in [
        "",
        " ",
        "x",
        "ü",
        "a b",
        "$",
        "$.detail.x",
        "rerun",
        "fail",
        "allow",
        "skip",
        "cancelOther",
        "event",
        "schedule",
        "eq",
        "gt",
        "detail.x",
        "postponed",
    ] {
        values.extend([json!(text), json!([text]), json!({text: text})]);
    }
    values.extend(FinishReason::ALL.map(|reason| json!([reason.as_str()])));
    values.extend(["prompt", "agentId", "storagePath", "colour"].map(|name| json!({name: "$.detail.x"})));
    values.extend([256, 257].map(|length| json!("x".repeat(length))));
    let condition = json!({"field": "detail.x", "operator": "gt", "value": 1});
    values.extend([MOST_CONDITIONS, MOST_CONDITIONS + 1].map(|length| json!(vec![condition.clone(); length])));
    for (member, value) in
        [("field", json!(1)), ("field", json!(null)), ("operator", json!("like")), ("operator", json!(null))]
    {
        let mut wrong = condition.clone();
        wrong[member] = value;
        values.extend([json!([wrong.clone()]), wrong]);
    }
    values.push(json!({"field": "detail.x", "operator": "eq"}));
    values.push(condition);
    let count = |count: Value| json!({"count": count, "windowSeconds": 300});
    values.extend([json!(5), json!(0), json!(100_001), json!("5"), json!(1.5), json!(null)].map(count));
    values
        .extend([json!(86_400), json!(86_401), json!(0)].map(|seconds| json!({"count": 5, "windowSeconds": seconds})));
    let detached = |seconds: Value| json!({"timeoutSeconds": seconds});
    values.extend([json!(1), json!(0), json!(86_400), json!(86_401), json!("60"), json!(null)].map(detached));
    values.extend(
        [json!(0), json!(7), json!("x")].map(|first| json!({"timeoutSeconds": 60, "firstReportSeconds": first})),
    );
    values.push(json!({"count": 5}));
    values.push(json!({"detail-type": ["Object Created"]}));
    values
}

/// Compares the schema with the reader where `place` leads, for each of the values.
fn compare(validator: &Validator, place: &[&str], differences: &mut Vec<String>) {
    for value in values() {
        let mut trigger = trigger();
        let mut at = &mut trigger;
        for name in place {
            at = &mut at[*name];
        }
        *at = value.clone();
        let (is_valid, problems) = (validator.is_valid(&trigger), problems(trigger, Platform::Other));
        if is_valid != problems.is_empty() {
            differences
                .push(format!("{}: {value}: the schema says {is_valid}, the reader {problems:?}", place.join(".")));
        }
    }
}

#[test]
fn the_schema_of_triggers_agrees_with_their_reader() {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut differences = Vec::new();
    // The keys decide in the table, and what belongs to the control plane is its own to refuse.
    let elsewhere = ["$schema", "PK", "SK", "GSI2PK", "GSI2SK", "id", "userId", "type", "scheduleConfig"];
    for name in schema["properties"].as_object().unwrap().keys().filter(|name| !elsewhere.contains(&name.as_str())) {
        compare(&validator, &[name], &mut differences);
    }
    for name in ["condition", "threshold"] {
        compare(&validator, &["eventConfig", name], &mut differences);
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn the_sample_triggers_fit_the_schema() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for file in ["events/triggers.json", "events/loop-triggers.json"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        for trigger in serde_json::from_str::<Vec<Value>>(&text).unwrap() {
            assert!(validator.is_valid(&trigger), "{file}: {trigger:#}");
        }
    }
}
