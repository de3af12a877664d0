//! Replays: the input of an execution that is kept, and the fire that runs it again.
//!
//! The input is an item of its own, because every heartbeat is billed for the whole item that it writes. It says what
//! ran, so it is kept before the call, and never overwritten. A scheduled run whose event says everything keeps one
//! only if it did not complete, so that a short run costs no further write. Its claim has the input's hash, and an
//! input that is kept later must have the same.

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::{
    domain::{
        agent_definition::DefinitionMark,
        ending::{INPUT_PROTOCOL, Snapshot, hash_of},
        execution::Row,
        fire::Fire,
        ids::{ExecutionId, TriggerId, UserId},
        platform::Platform,
        task::Task,
    },
    events::bus::BusEvent,
    events::invalid::InvalidEvent,
    json::{fields::Fields, lenient, surrogate::to_json},
    store::{Store, error::StoreError, input::KeptInput},
};

/// The member of a kept input that holds the hash of the agent's definition.
const DEFINITION: &str = "agentDefinition";

/// The task that an execution gives its agent, in the form in which it is kept.
#[derive(Debug)]
pub(crate) struct Input {
    /// The task with its user, as the JSON text of a scheduled event's detail.
    detail: String,
    /// The short description that the record has.
    pub(crate) snapshot: Snapshot,
}

impl Input {
    /// Returns the input of `fire`: its task and user as JSON text, and a description with the text's hash.
    /// `definition` is that of the agent which it calls, if it is known. The text then holds its protocol and hash. A
    /// replay has no version of the trigger item. It is marked if its agent is now defined in another way than when the
    /// replayed execution ran.
    pub(crate) fn new(fire: &Fire, definition: Option<&DefinitionMark>) -> Self {
        let detail = to_json(&marked_detail(fire, definition));
        let is_changed = |before: &String| definition.is_some_and(|definition| definition.hash != *before);
        let snapshot = Snapshot {
            settings_hash: hash_of(&detail),
            agent_id: fire.task.agent_id.clone(),
            protocol: definition.map(|definition| definition.protocol.to_owned()),
            // A replay asks what was asked, which may be an older version's. The execution that it repeats names that
            // one.
            trigger_version: fire
                .trigger
                .as_ref()
                .filter(|_| fire.replay_of.is_none())
                .and_then(|it| it.version.clone()),
            function_version: Some(env!("CARGO_PKG_VERSION")),
            agent_definition_changed: fire.replayed_definition.as_ref().is_some_and(is_changed),
        };
        Self { detail, snapshot }
    }

    /// Keeps the input in the table with its `ttl`, in seconds since 1970. An input that an earlier attempt has kept
    /// stays, even if it is another one. One that is too large is not kept. If none is kept, only a replay is
    /// impossible: all of this is logged here, and the caller may ignore an error. `has_run_lock` is true if the
    /// execution has its trigger's run lock, and is stored beside the input.
    ///
    /// # Errors
    /// Returns an error if DynamoDB refuses or has not answered by `until`. The input may have been kept all the same.
    pub(crate) async fn keep(
        &self,
        store: &Store,
        trigger_id: &TriggerId,
        execution_id: &ExecutionId,
        (has_run_lock, ttl): (bool, i64),
        until: Instant,
    ) -> Result<KeptInput, StoreError> {
        let keeping = store.keep_input(trigger_id, execution_id, &self.detail, has_run_lock, ttl);
        let kept = store.in_time(until, keeping).await;
        match &kept {
            Ok(KeptInput::Earlier(earlier)) if *earlier != self.detail => {
                tracing::warn!("an earlier attempt of this execution kept another input, which stays");
            }
            Ok(KeptInput::Stored | KeptInput::Earlier(_)) => {}
            Ok(KeptInput::TooLarge) => {
                tracing::warn!("the input is too large to be kept: the execution cannot be replayed");
            }
            Err(error) => {
                tracing::warn!(error = %error, "the input is not kept: the execution cannot be replayed");
            }
        }
        kept
    }
}

/// Keeps the input of an execution that another attempt ran, or that no attempt ran. The record says what ran, never
/// the event that is at hand now. So if there is a `row`, it must hold the hash of this very input, with `definition`
/// or without one. Nothing is kept for a scheduled fire if its trigger has an item or this cannot be read. Errors are
/// logged only.
pub(crate) async fn keep_input_of(
    store: &Store,
    fire: &Fire,
    definition: Option<&DefinitionMark>,
    (execution_id, row): (&ExecutionId, Option<&Row>),
    ttl: i64,
    until: Instant,
) {
    let mut inputs = [definition, None].into_iter().map(|definition| Input::new(fire, definition));
    let input = match row {
        None => inputs.next(),
        Some(row) => inputs.find(|input| row.settings_hash.as_ref() == Some(&input.snapshot.settings_hash)),
    };
    let Some(input) = input else {
        tracing::warn!("the event is not what ran, so no input is kept: the execution cannot be replayed");
        return;
    };
    // The item of a stored trigger takes precedence over its schedule's copy. A run that has read it keeps its own
    // input before the call. So a run that kept none called nobody.
    let is_copy = fire.event_source_id.is_none()
        && match store.in_time(until, store.trigger(&fire.user_id, &fire.trigger_id)).await {
            Ok(item) => item.is_some(),
            Err(_) => true,
        };
    if !is_copy {
        // What is not kept is logged, and harms nothing else.
        let _ = input.keep(store, &fire.trigger_id, execution_id, (false, ttl), until).await;
    }
}

/// Returns the task of a kept input's JSON text, or `None` if it is no JSON object or any part of the task is not
/// understood.
pub(crate) fn task_of(detail: &str, platform: Platform) -> Option<Task> {
    let detail = lenient::parse(detail).ok()?;
    let mut fields = Fields::new("$.input", detail.as_object()?);
    let task = Task::read(&mut fields, platform);
    fields.problems.is_empty().then_some(task)
}

/// Returns the user and the task of `fire` in the words of a scheduled event's detail. Nothing else of the fire is in
/// it, not even its trigger: a replay gets the rest from the event that requests it.
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
        waiting: _,
        replayed_definition: _,
    } = fire;
    let mut detail = Map::from_iter([("userId".to_owned(), json!(user_id))]);
    detail.extend(task.to_detail());
    Value::Object(detail)
}

/// Returns [`detail`] of `fire`, with the protocol and the hash of the agent's definition added if it is known.
fn marked_detail(fire: &Fire, definition: Option<&DefinitionMark>) -> Value {
    let mut detail = detail(fire);
    if let Some(DefinitionMark { protocol, hash }) = definition {
        detail[INPUT_PROTOCOL] = json!(protocol);
        detail[DEFINITION] = json!(hash);
    }
    detail
}

/// Returns the fire that runs the kept input `detail` again. `event` is the request to do so, and gives the fire its
/// identity and origin. `trigger_id` and `execution_id` are those that the request names. The user and the task are
/// those of the input. The fire is marked as a replay of `execution_id`.
///
/// # Errors
/// The error names everything that is not understood in the input, with the trigger. An input that is no object counts
/// as an empty one.
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
        return Err(InvalidEvent { trigger_id: Some(trigger_id.clone()), ..InvalidEvent::new(fields.problems) });
    }
    let mut fire = event.fire(trigger_id, &user_id, task);
    fire.replay_of = Some(execution_id.clone());
    fire.replayed_definition = detail.get(DEFINITION).and_then(Value::as_str).map(str::to_owned);
    Ok(fire)
}
