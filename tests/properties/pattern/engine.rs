//! Patterns on which EventBridge's documentation, its engine and people's reports differ, each with the engine's answer.

use std::{fs, path::Path};

use agent_trigger::{json::lenient::parse, trigger::pattern::Pattern};
use serde_json::Value;

#[test]
fn f64_patterns_answer_as_the_engine_does() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/patterns.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut decided = 0;
    for case in &cases {
        let text = |name: &str| case[name].as_str().unwrap_or_else(|| panic!("{name} of {case}"));
        let pattern = Pattern::parse(&parse(text("detailPattern")).unwrap());
        let event = parse(text("detail")).unwrap();
        let answer = pattern.map_or_else(|_| Value::from("invalid"), |pattern| Value::from(pattern.matches(&event)));
        // The engine's answer to some is not known.
        if !case["expected"].is_null() {
            assert_eq!(answer, case["expected"], "{}", text("name"));
            decided += 1;
        }
    }
    assert_eq!((decided, cases.len()), (33, 36));
}
