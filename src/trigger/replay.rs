//! Replays: what is kept of an execution's request, and the fire that makes it once more.
//!
//! It is an item of its own, for every heartbeat bills the whole item it writes. A scheduled
//! run keeps one only if it did not complete, so that a short one costs no further write.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    domain::ending::Snapshot,
    domain::{fire::Fire, task::Task},
    events::bus::BusEvent,
    events::invalid::InvalidEvent,
    json::fields::Fields,
    store::Store,
};

/// Keeps what `fire` asks as the input of its execution. A failure harms nothing but a replay.
pub(crate) async fn keep_input(store: &Store, fire: &Fire, execution_id: &str, ttl: i64, until: tokio::time::Instant) {
    let detail = detail(fire);
    match store.in_time(until, store.keep_input(&fire.trigger_id, execution_id, &detail, ttl)).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!("the input is too large to be kept: the execution cannot be replayed"),
        Err(error) => tracing::warn!(error = %error, "the input is not kept: the execution cannot be replayed"),
    }
}

/// Returns what `fire` asks in the words of a scheduled event's detail, with its user.
pub(crate) fn detail(fire: &Fire) -> Value {
    let mut detail = Map::from_iter([("userId".to_owned(), json!(fire.user_id))]);
    detail.extend(fire.task.to_detail());
    Value::Object(detail)
}

/// What ran, in short.
pub(crate) fn snapshot(fire: &Fire) -> Snapshot {
    let mut settings_hash = String::with_capacity(64);
    for byte in Sha256::digest(detail(fire).to_string()) {
        // Writing to a string cannot fail.
        let _ = write!(settings_hash, "{byte:02x}");
    }
    let trigger_version = fire.trigger.as_ref().and_then(|stored| stored.version.clone());
    Snapshot { settings_hash, agent_id: fire.task.agent_id.clone(), trigger_version }
}

/// The fire that asks once more what `detail` says, `event` being the request to do so.
///
/// # Errors
/// If what was kept is not understood.
pub(crate) fn fire(
    event: &BusEvent,
    (trigger_id, execution_id): (&str, &str),
    detail: &Value,
    is_agentcore: bool,
) -> Result<Fire, InvalidEvent> {
    let no_detail = Map::new();
    let mut fields = Fields::new("$.input", detail.as_object().unwrap_or(&no_detail));
    let user_id = fields.id("userId").unwrap_or_default();
    let task = Task::read(&mut fields, is_agentcore);
    if !fields.problems.is_empty() {
        return Err(InvalidEvent { problems: fields.problems, trigger_id: Some(trigger_id.to_owned()) });
    }
    let replay_of = Some(execution_id.to_owned());
    Ok(Fire { task, replay_of, ..event.fire(trigger_id, &user_id) })
}
