//! Replays: the input of an execution that is kept, and the fire that runs it again.
//!
//! The input is an item of its own, because every heartbeat is billed for the whole item that it writes. A scheduled
//! run keeps one only if it did not complete, so that a short run costs no further write.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    domain::ending::Snapshot,
    domain::{
        agent_definition::DefinitionMark,
        fire::Fire,
        ids::{ExecutionId, TriggerId, UserId},
        platform::Platform,
        task::Task,
    },
    events::bus::BusEvent,
    events::invalid::InvalidEvent,
    json::fields::Fields,
    store::Store,
};

/// The members of a kept input that say how the agent was defined.
const PROTOCOL: &str = "agentProtocol";
const DEFINITION: &str = "agentDefinition";

/// Keeps the task of `fire` as the input of its execution. If that fails, only a replay is impossible.
pub(crate) async fn keep_input(
    store: &Store,
    fire: &Fire,
    definition: Option<&DefinitionMark>,
    execution_id: &ExecutionId,
    ttl: i64,
    until: tokio::time::Instant,
) {
    let detail = marked_detail(fire, definition);
    match store.in_time(until, store.keep_input(&fire.trigger_id, execution_id, &detail, ttl)).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!("the input is too large to be kept: the execution cannot be replayed"),
        Err(error) => tracing::warn!(error = %error, "the input is not kept: the execution cannot be replayed"),
    }
}

/// Returns the task of `fire` and its user in the words of a scheduled event's detail.
pub(crate) fn detail(fire: &Fire) -> Value {
    let Fire {
        user_id,
        task,
        // These a replay gets from the event that requests it.
        trigger_id: _,
        is_stored: _,
        trigger: _,
        origin: _,
        event_id: _,
        source: _,
        event_source_id: _,
        detail_type: _,
        event_time: _,
        chain_depth: _,
        replay_of: _,
        replayed_definition: _,
    } = fire;
    let mut detail = Map::from_iter([("userId".to_owned(), json!(user_id))]);
    detail.extend(task.to_detail());
    Value::Object(detail)
}

/// Returns the detail with what it says of the agent's definition: its protocol and its hash, and nothing else of it.
fn marked_detail(fire: &Fire, definition: Option<&DefinitionMark>) -> Value {
    let mut detail = detail(fire);
    if let Some(DefinitionMark { protocol, hash }) = definition {
        detail[PROTOCOL] = json!(protocol);
        detail[DEFINITION] = json!(hash);
    }
    detail
}

/// Returns a short description of what `fire` ran, with the agent as it was defined.
pub(crate) fn snapshot(fire: &Fire, definition: Option<&DefinitionMark>) -> Snapshot {
    let mut settings_hash = String::with_capacity(64);
    for byte in Sha256::digest(marked_detail(fire, definition).to_string()) {
        // Writing to a string cannot fail.
        let _ = write!(settings_hash, "{byte:02x}");
    }
    let trigger_version = fire.trigger.as_ref().and_then(|stored| stored.version.clone());
    let is_changed = |before: &String| definition.is_some_and(|definition| definition.hash != *before);
    Snapshot {
        settings_hash,
        agent_id: fire.task.agent_id.clone(),
        trigger_version,
        agent_definition_changed: fire.replayed_definition.as_ref().is_some_and(is_changed),
    }
}

/// Returns the fire that runs the kept input `detail` again. `event` is the request to do so.
///
/// # Errors
/// Returns an error if the input is not understood.
pub(crate) fn fire(
    event: &BusEvent,
    trigger_id: &TriggerId,
    execution_id: &ExecutionId,
    detail: &Value,
    platform: Platform,
) -> Result<Fire, InvalidEvent> {
    let no_detail = Map::new();
    let mut fields = Fields::new("$.input", detail.as_object().unwrap_or(&no_detail));
    let user_id = fields.id("userId").map(UserId::from).unwrap_or_default();
    let task = Task::read(&mut fields, platform);
    if !fields.problems.is_empty() {
        return Err(InvalidEvent { problems: fields.problems, trigger_id: Some(trigger_id.clone()) });
    }
    let mut fire = event.fire(trigger_id, &user_id, task);
    fire.replay_of = Some(execution_id.clone());
    fire.replayed_definition = detail.get(DEFINITION).and_then(Value::as_str).map(str::to_owned);
    Ok(fire)
}
