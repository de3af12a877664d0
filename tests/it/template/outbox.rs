//! Which changes of the table are announced: the template's own filter, by the function's own reading of patterns.

use std::path::Path;

use agent_trigger::trigger::pattern::Pattern;
use serde_json::{Value, json};
use standins::{PipeDefinition, Template};

/// A row of the table at some moment, as the stream shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Absent,
    Running,
    /// With progress, after a heartbeat.
    Beaten,
    /// Failed, and another attempt may run.
    Retryable,
    Failed,
    Completed,
    Cancelled,
    Skipped,
}

const ROWS: [Row; 8] =
    [Row::Absent, Row::Running, Row::Beaten, Row::Retryable, Row::Failed, Row::Completed, Row::Cancelled, Row::Skipped];

impl Row {
    fn is_final(self) -> bool {
        matches!(self, Self::Failed | Self::Completed | Self::Cancelled | Self::Skipped)
    }

    fn image(self, keys: &Value) -> Option<Value> {
        let own = match self {
            Self::Absent => return None,
            Self::Running => json!({"status": {"S": "running"}, "leaseUntil": {"N": "1"}, "owner": {"S": "o"}}),
            Self::Beaten => json!({"status": {"S": "running"}, "leaseUntil": {"N": "2"}, "owner": {"S": "o"},
                "events": {"N": "7"}}),
            Self::Retryable => json!({"status": {"S": "failed"}, "retryable": {"BOOL": true}, "errorType": {"S": "e"}}),
            Self::Failed => json!({"status": {"S": "failed"}, "retryable": {"BOOL": false}, "errorType": {"S": "e"}}),
            Self::Completed => json!({"status": {"S": "completed"}, "output": {"S": "three files"}}),
            Self::Cancelled => json!({"status": {"S": "cancelled"}, "cancelRequested": {"BOOL": true}}),
            Self::Skipped => json!({"status": {"S": "skipped"}, "skipReason": {"S": "Disabled"}}),
        };
        let mut image = json!({"startedAt": {"S": "2026-01-31T07:00:00.000Z"}, "attempt": {"N": "1"}});
        let ended = json!({"completedAt": {"S": "2026-01-31T07:00:41.087Z"}});
        let ended = if matches!(self, Self::Running | Self::Beaten) { json!({}) } else { ended };
        for part in [keys, &ended, &own] {
            image.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        }
        Some(image)
    }
}

fn record(sk: &str, old: Row, new: Row) -> Value {
    let keys = json!({"PK": {"S": "TRIGGER#t"}, "SK": {"S": sk}});
    let mut change = json!({"ApproximateCreationDateTime": 1, "Keys": keys, "SequenceNumber": "1", "SizeBytes": 1,
        "StreamViewType": "NEW_AND_OLD_IMAGES"});
    for (name, row) in [("OldImage", old), ("NewImage", new)] {
        if let Some(image) = row.image(&keys) {
            change[name] = image;
        }
    }
    let name = match (old, new) {
        (Row::Absent, _) => "INSERT",
        (_, Row::Absent) => "REMOVE",
        _ => "MODIFY",
    };
    json!({"eventID": "1", "eventName": name, "eventVersion": "1.1", "eventSource": "aws:dynamodb", "dynamodb": change})
}

fn pipe() -> PipeDefinition {
    Template::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("template.yaml")).unwrap().pipe().unwrap()
}

#[test]
fn an_execution_is_announced_when_it_becomes_final() {
    let definition = pipe();
    let patterns: Vec<_> = definition.filters.iter().map(|pattern| Pattern::parse(pattern).unwrap()).collect();
    let matches = |record: &Value| patterns.iter().filter(|pattern| pattern.matches(record)).count();
    let mut announced = 0;
    for old in ROWS {
        for new in ROWS {
            if (old, new) == (Row::Absent, Row::Absent) {
                continue;
            }
            let expected = usize::from(new.is_final() && !old.is_final());
            announced += expected;
            // By one pattern alone, for a record that two match is sent once, and each has its own reason.
            assert_eq!(matches(&record("EXECUTION#e", old, new)), expected, "{old:?} to {new:?}");
            for other in ["TRIGGER#t", "INPUT#EXECUTION#e", "FIRE#r", "MARK#m", "THRESHOLD#u", "EXECUTIONS"] {
                assert_eq!(matches(&record(other, old, new)), 0, "{other}: {old:?} to {new:?}");
            }
        }
    }
    assert_eq!(announced, 16, "four ends, of what was absent, running, beaten or retryable");
}

#[test]
fn a_change_of_what_has_ended_is_not_announced_again() {
    let definition = pipe();
    let matcher = definition.matcher(|pattern| {
        let pattern = Pattern::parse(pattern).unwrap();
        move |record: &Value| pattern.matches(record)
    });
    for row in ROWS.into_iter().filter(|row| row.is_final()) {
        for (name, value) in [
            ("note", json!({"S": "seen by a person"})),
            ("cancelRequested", json!({"BOOL": true})),
            ("ttl", json!({"N": "1"})),
            ("completedAt", json!({"S": "2026-01-31T08:00:00.000Z"})),
        ] {
            let mut record = record("EXECUTION#e", row, row);
            assert!(!matcher(&record));
            record["dynamodb"]["NewImage"][name] = value;
            assert!(!matcher(&record), "{name} of {row:?}");
        }
    }
}

#[test]
fn what_is_announced_of_an_end_says_only_what_the_record_does() {
    let definition = pipe();
    for row in ROWS.into_iter().filter(|row| row.is_final()) {
        let event = definition.event(&record("EXECUTION#e", Row::Running, row)).unwrap();
        let detail = event["detail"].as_object().unwrap();
        let text = |name: &str| detail[name].as_str().unwrap().to_owned();
        assert_eq!(text("status"), format!("{row:?}").to_lowercase());
        assert_eq!(text("completedAt"), "2026-01-31T07:00:41.087Z");
        assert_eq!(text("output").is_empty(), row != Row::Completed);
        assert_eq!(text("skipReason").is_empty(), row != Row::Skipped);
        assert_eq!(text("errorType").is_empty(), row != Row::Failed);
    }
}
