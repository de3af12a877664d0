//! Metric objects read out of a log, each held against the specification and against the function's own table.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use standins::Lambda;

use crate::support::all_logs;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../../fixtures/emf-schema.json")).unwrap();
    jsonschema::validator_for(&schema).unwrap()
});

/// Name and unit of each entry of `METRICS`, as the template's check reads them.
pub(crate) static METRICS: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let (_, table) = include_str!("../../../src/telemetry/metrics.rs").split_once("const METRICS").unwrap();
    let (table, _) = table.split_once("];").unwrap();
    let entries = table.lines().filter(|line| line.trim_start().starts_with("(\""));
    entries.map(|line| line.split('"')).map(|mut parts| (parts.nth(1).unwrap(), parts.nth(1).unwrap())).collect()
});

/// Ends the process and gives the metric objects that it printed.
pub(crate) async fn all_metrics(function: Lambda) -> Vec<Value> {
    metrics(&all_logs(function).await)
}

/// The metric objects in these lines.
pub(crate) fn metrics(logs: &[String]) -> Vec<Value> {
    let objects = logs.iter().filter(|line| line.contains("_aws"));
    objects.map(|line| serde_json::from_str(line).unwrap()).inspect(assert_valid).collect()
}

fn assert_valid(object: &Value) {
    let problems: Vec<_> = SCHEMA.iter_errors(object).map(|error| error.to_string()).collect();
    assert_eq!(problems, Vec::<String>::new(), "{object:#}");
    let directives = object["_aws"]["CloudWatchMetrics"].as_array().unwrap();
    let mut defined = Vec::new();
    for directive in directives {
        assert_eq!(directive["Namespace"], "AgentTrigger");
        for name in directive["Dimensions"].as_array().unwrap().iter().flat_map(|set| set.as_array().unwrap()) {
            let value = object[name.as_str().unwrap()].as_str().unwrap_or_else(|| panic!("no {name} in {object:#}"));
            // https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html
            assert!((1..=1024).contains(&value.len()) && !value.trim().is_empty(), "{value:?}");
            assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{value:?}");
        }
        for metric in directive["Metrics"].as_array().unwrap() {
            let (name, unit) = (metric["Name"].as_str().unwrap(), metric["Unit"].as_str().unwrap());
            assert!(METRICS.contains(&(name, unit)), "{name} in {unit} is not in METRICS");
            assert!(object[name].is_u64(), "no number for {name} in {object:#}");
            defined.push(name);
        }
    }
    let undefined = METRICS.iter().find(|(name, _)| object.get(name).is_some() && !defined.contains(name));
    assert_eq!(undefined, None, "a value that is no metric: {object:#}");
    let millis = object["_aws"]["Timestamp"].as_i64().unwrap();
    let at = time::OffsetDateTime::parse(
        object["timestamp"].as_str().unwrap(),
        &time::format_description::well_known::Rfc3339,
    );
    assert_eq!(at.unwrap().unix_timestamp_nanos() / 1_000_000, i128::from(millis));
    assert!(["INFO", "WARN", "ERROR", "FATAL"].contains(&object["level"].as_str().unwrap()), "{object:#}");
}

/// The only one of these.
pub(crate) fn only(mut objects: Vec<Value>) -> Value {
    assert_eq!(objects.len(), 1, "{objects:#?}");
    objects.remove(0)
}

/// Asserts what was counted; what is not named is zero.
pub(crate) fn assert_counts(object: &Value, counts: Value) {
    let names =
        ["Executions", "Completed", "Failed", "Skipped", "Cancelled", "Duplicates", "Overlaps", "HeartbeatFailures"];
    let mut expected: Map<String, Value> = names.into_iter().map(|name| (name.to_owned(), json!(0))).collect();
    expected.extend(counts.as_object().unwrap().clone());
    let found: Map<String, Value> = names.into_iter().map(|name| (name.to_owned(), object[name].clone())).collect();
    assert_eq!(Value::from(found), Value::from(expected), "{object:#}");
}

/// The sets of dimensions under which all that was measured is kept, and those under which failures are.
pub(crate) fn dimensions(object: &Value) -> (Value, Option<Value>) {
    let mut directives = object["_aws"]["CloudWatchMetrics"].as_array().unwrap().clone();
    let by_protocol = directives.pop_if(|directive| directive["Dimensions"] == json!([["service", "protocol"]]));
    assert_eq!(by_protocol.is_some(), object["protocol"].is_string(), "{object:#}");
    if let Some(directive) = by_protocol {
        let counts = json!([{"Name": "Completed", "Unit": "Count"}, {"Name": "Failed", "Unit": "Count"}]);
        assert_eq!(directive["Metrics"], counts);
    }
    assert!(matches!(directives.len(), 1 | 2), "{object:#}");
    let failures = directives.get(1).map(|directive| {
        assert_eq!(directive["Metrics"], json!([{"Name": "Failed", "Unit": "Count"}]));
        directive["Dimensions"].clone()
    });
    (directives[0]["Dimensions"].clone(), failures)
}
