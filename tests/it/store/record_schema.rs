//! The record's schema (src/store/execution_item.rs) against everything that names its attributes and cannot import it: the
//! table of docs/records.md, the pipe that announces ends, and the schema of its events.

use std::{collections::BTreeMap, fs, path::Path};

use agent_trigger::store::execution_item::{ExecutionItem, UsageItem};
use serde_json::Value;
use standins::Template;

/// The attributes on which readers in other programs rest. None is ever renamed or gets another type.
const PROMISED: [(&str, &[&str]); 4] = [
    (
        "S",
        &[
            "triggerId",
            "executionId",
            "userId",
            "agentId",
            "status",
            "startedAt",
            "completedAt",
            "sessionId",
            "requestId",
            "error",
            "errorType",
            "owner",
            "lambdaRequestId",
            "scheduledTime",
            "eventId",
            "source",
            "output",
        ],
    ),
    ("BOOL", &["retryable", "outputTruncated", "cancelRequested"]),
    (
        "N",
        &["ttl", "attempt", "leaseUntil", "durationMs", "firstEventMs", "events", "bytes", "skippedEvents", "toolUses"],
    ),
    ("M", &["usage"]),
];

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Returns the words between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns the attributes of a map by their names, with their types.
fn typed(attributes: &[(&str, &str)]) -> BTreeMap<String, String> {
    attributes.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect()
}

/// Returns the attributes that docs/records.md lists under The record, with their types, and the members of `usage`.
fn listed() -> (BTreeMap<String, String>, Vec<String>) {
    let page = file("docs/records.md");
    let (_, section) = page.split_once("\n## The record\n").unwrap();
    let (_, table) = section.split_once("| --- | --- | --- | --- |\n").unwrap();
    let (mut attributes, mut usage) = (BTreeMap::new(), Vec::new());
    for line in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = line.split(" | ").collect();
        let [names, kinds, when, meaning] = cells.as_slice() else { panic!("four cells: {line}") };
        assert!(!when.is_empty(), "when it is there: {line}");
        let (names, kinds): (_, Vec<_>) = (quoted(names), kinds.split(", ").collect());
        assert!(kinds.len() == 1 || kinds.len() == names.len(), "one type, or one for each attribute: {line}");
        for (name, kind) in names.iter().zip(kinds.iter().cycle()) {
            assert_eq!(attributes.insert(name.clone(), (*kind).to_owned()), None, "{name} is listed twice");
        }
        if names == ["usage"] {
            usage = quoted(meaning);
        }
    }
    (attributes, usage)
}

#[test]
fn the_page_lists_every_attribute_with_its_type() {
    let (attributes, usage) = listed();
    assert_eq!(attributes, typed(ExecutionItem::ATTRIBUTES));
    assert_eq!(usage, UsageItem::ATTRIBUTES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

#[test]
fn promised_attributes_keep_their_names_and_types() {
    let attributes = typed(ExecutionItem::ATTRIBUTES);
    for (kind, names) in PROMISED {
        for name in names {
            assert_eq!(attributes.get(*name).map(String::as_str), Some(kind), "{name}");
        }
    }
    let usage = ["inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"];
    assert_eq!(UsageItem::ATTRIBUTES, usage.map(|name| (name, "N")));
}

#[test]
fn the_pipe_and_its_schema_name_attributes_of_the_record() {
    let pipe = Template::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("template.yaml")).unwrap().pipe().unwrap();
    let (record, usage) = (typed(ExecutionItem::ATTRIBUTES), typed(UsageItem::ATTRIBUTES));
    let template = pipe.input_template.unwrap();
    let announced: Vec<_> =
        template.lines().filter_map(|line| line.trim().split_once(": <$.dynamodb.NewImage.")).collect();
    for (member, path) in &announced {
        let member = member.trim_matches('"');
        let expected = match record.get(member) {
            Some(kind) => format!("{member}.{kind}"),
            None => format!("usage.M.{member}.{}", usage.get(member).unwrap_or_else(|| panic!("{member}"))),
        };
        assert_eq!(path.trim_end_matches([',', '>']), expected);
    }
    let schema: Value = serde_json::from_str(&file("schemas/execution-status-change.json")).unwrap();
    let detail = schema["properties"]["detail"]["properties"].as_object().unwrap();
    assert!(detail.keys().all(|name| record.contains_key(name)), "{:?}", detail.keys());
    let tokens = detail["usage"]["properties"].as_object().unwrap();
    assert!(tokens.keys().all(|name| usage.contains_key(name)), "{:?}", tokens.keys());
    // The map itself has no line of its own in the template.
    assert_eq!(detail.len() - 1 + tokens.len(), announced.len());
    for filter in &pipe.filters {
        for image in ["OldImage", "NewImage"] {
            for (name, condition) in filter["dynamodb"][image].as_object().into_iter().flatten() {
                let kinds: Vec<_> = condition.as_object().unwrap().keys().collect();
                assert_eq!(kinds, [&record[name]], "{image} {name}");
            }
        }
    }
}
