//! Checks that the filter of the template's pipe passes executions that became final, once, and nothing else.

use std::path::Path;

use agent_trigger::trigger::pattern::Pattern;
use serde_json::{Value, json};
use standins::Template;

/// Returns a record of the table's stream, with the parts that filters read.
fn change(sk: &str, old: Option<&Value>, new: Option<&Value>) -> Value {
    let mut change =
        json!({"Keys": {"PK": {"S": "TRIGGER#t"}, "SK": {"S": sk}}, "StreamViewType": "NEW_AND_OLD_IMAGES"});
    for (name, image) in [("OldImage", old), ("NewImage", new)] {
        if let Some(image) = image {
            change[name] = image.clone();
        }
    }
    json!({"eventSource": "aws:dynamodb", "dynamodb": change})
}

#[test]
fn what_became_final_is_announced_once() {
    let template = Template::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("template.yaml")).unwrap();
    let filters = template.pipe().unwrap().filters;
    let filters: Vec<_> = filters.iter().map(|filter| Pattern::parse(filter).unwrap()).collect();
    let is_announced = |change: &Value| filters.iter().any(|filter| filter.matches(change));

    let ended = |status: &str| json!({"status": {"S": status}, "completedAt": {"S": "2026-01-31T07:00:00Z"}});
    let failed = |retryable: bool| {
        let mut row = ended("failed");
        row["retryable"] = json!({"BOOL": retryable});
        row
    };
    let running = json!({"status": {"S": "running"}, "attempt": {"N": "1"}});
    let [completed, cancelled, skipped] = ["completed", "cancelled", "skipped"].map(ended);
    for (name, old, new, expected) in [
        ("begun", None, Some(&running), false),
        ("a heartbeat", Some(&running), Some(&running), false),
        ("completed", Some(&running), Some(&completed), true),
        ("cancelled", Some(&running), Some(&cancelled), true),
        ("skipped at once", None, Some(&skipped), true),
        ("failed at once", None, Some(&failed(false)), true),
        ("failed for good", Some(&running), Some(&failed(false)), true),
        ("failed for now", Some(&running), Some(&failed(true)), false),
        ("tried again", Some(&failed(true)), Some(&running), false),
        ("given up", Some(&failed(true)), Some(&failed(false)), true),
        ("cancelled before it is tried again", Some(&failed(true)), Some(&cancelled), true),
        ("changed after its end", Some(&completed), Some(&completed), false),
        ("changed after its failure", Some(&failed(false)), Some(&failed(false)), false),
        ("removed", Some(&completed), None, false),
    ] {
        assert_eq!(is_announced(&change("EXECUTION#e", old, new)), expected, "{name}");
        assert!(!is_announced(&change("INPUT#e", old, new)), "{name}, of another item");
    }
}
