//! Events in the form in which EventBridge delivers them to a rule's target.

use serde_json::{Value, json};

use crate::destination::timestamp;

/// Builds an event on the bus with a new id and the present time
/// (<https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>).
pub fn bus_event(source: &str, detail_type: &str, detail: Value) -> Value {
    let now = timestamp();
    // An event's time is precise to the second.
    let time = format!("{}Z", now.split('.').next().unwrap_or_default());
    json!({"version": "0", "id": uuid::Uuid::new_v4().to_string(), "detail-type": detail_type, "source": source,
        "account": "123456789012", "time": time, "region": "us-east-1", "resources": [], "detail": detail})
}

/// Builds an event of the function's own source, as a caller marks it who invokes the function directly.
pub fn own_event(detail_type: &str, detail: Value) -> Value {
    let mut event = bus_event("agent-trigger", detail_type, detail);
    event["_from"] = "stack-bus".into();
    event
}
