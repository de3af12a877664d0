//! The identity of a fire: its execution id, the mark of its event, and its session.

use uuid::Uuid;

use crate::{
    clock::{self, Clock},
    domain::{
        attempt::StartTime,
        detached::ttl_of_longest,
        fire::{self, Fire, Identity, Origin},
    },
    store::{Store, error::StoreError, table::Table},
};

/// Returns the fire's execution id. The id of a fire without an identity of its own is remembered under its Lambda
/// request, so that Lambda's retry gets the same one, although its time is another. `started` is the time of this
/// delivery. The task of Step Functions that waits for the execution is kept here, before there can be an end that it
/// must hear of.
///
/// # Errors
/// Returns an error if DynamoDB does not take it.
pub(crate) async fn identify<T: Table, C: Clock>(
    store: &Store<T, C>,
    fire: &Fire,
    lambda_request_id: &str,
    started: &StartTime,
) -> Result<String, StoreError> {
    let identity = identity_of(&fire.origin, lambda_request_id, started);
    let id = fire::execution_id(&fire.trigger_id, identity).to_string();
    let id = match identity {
        Identity::Request { request_id, .. } => {
            store.remember_execution_id(&fire.trigger_id, request_id, &id, started.ttl).await?
        }
        _ => id,
    };
    if let Some(task) = &fire.waiting {
        // Whether the run is detached may stand in the trigger's item, which is not read yet.
        let ttl = ttl_of_longest(started.ttl, started.millis);
        store.keep_task(&fire.trigger_id, &id, task, ttl).await?;
    }
    Ok(id)
}

/// Returns the execution id of a fire, or `None` if it has none. A fire that only its Lambda request identifies has an
/// id only if it was remembered. Nothing is written.
///
/// # Errors
/// Returns an error if DynamoDB gives no result.
pub(crate) async fn recall<T: Table, C: Clock>(
    store: &Store<T, C>,
    fire: &Fire,
    lambda_request_id: &str,
    started: &StartTime,
) -> Result<Option<String>, StoreError> {
    match identity_of(&fire.origin, lambda_request_id, started) {
        Identity::Request { request_id, .. } => store.remembered_execution_id(&fire.trigger_id, request_id).await,
        identity => Ok(Some(fire::execution_id(&fire.trigger_id, identity).to_string())),
    }
}

/// Returns the name of an event's mark at a trigger that counts its events: 20 hexadecimal digits of the identity's
/// hash. It is the same for each delivery.
pub(crate) fn mark_of(trigger_id: &str, origin: &Origin, lambda_request_id: &str, started: &StartTime) -> String {
    let bits = fire::identity_bits(trigger_id, identity_of(origin, lambda_request_id, started));
    bits.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the identity of a fire with this origin. If the origin has none of its own, it is the message in which the
/// event came, the Lambda request of the invocation that handed the event on, or otherwise that of this invocation.
fn identity_of<'a>(origin: &'a Origin, lambda_request_id: &'a str, started: &StartTime) -> Identity<'a> {
    match origin {
        Origin::Schedule { instant, .. } => Identity::Scheduled(*instant),
        Origin::Event { id, time, replay_name } => {
            Identity::Event { id: *id, time: *time, replay_name: replay_name.as_deref() }
        }
        Origin::Execution { id, completed_at } => Identity::Execution { id, completed_at: *completed_at },
        Origin::Request { dispatcher } => Identity::Request {
            request_id: dispatcher.as_deref().unwrap_or(lambda_request_id),
            first_claim: clock::instant(started.millis),
        },
    }
}

/// Returns the agent session of an execution whose event names none: `s` and the 32 hexadecimal digits of its id. An id
/// that is no UUID gets a random session, another one with each call.
pub(crate) fn session_of(execution_id: &str) -> String {
    // The function writes only UUIDs. Any other id was written by somebody else.
    Uuid::parse_str(execution_id).map_or_else(|_| format!("s{}", Uuid::new_v4().simple()), |id| fire::session_id(&id))
}
