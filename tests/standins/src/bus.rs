//! Events as EventBridge delivers them to a rule's target.

use serde_json::{Value, json};

use crate::destination::timestamp;

/// An event on the bus, with an id of its own and of this moment
/// (<https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>).
pub fn bus_event(source: &str, detail_type: &str, detail: Value) -> Value {
    let now = timestamp();
    // The time of an event is told to the second.
    let time = format!("{}Z", now.split('.').next().unwrap_or_default());
    json!({"version": "0", "id": uuid::Uuid::new_v4().to_string(), "detail-type": detail_type, "source": source,
        "account": "123456789012", "time": time, "region": "us-east-1", "resources": [], "detail": detail})
}
