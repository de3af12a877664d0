//! `POST /triggers/{id}/run`: the run function is invoked asynchronously. The identity of the fire is chosen here, so
//! the execution's id is known before it runs.

use std::sync::Arc;

use agent_trigger::{
    clients::lambda::DispatchError,
    domain::fire::{Identity, execution_id},
};
use axum::extract::State;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    reply::Reply,
    request::Path,
    times::{self, rfc3339},
    triggers::{draft::kind_of, find_alive, view::add_skip_reason},
};

/// `POST /triggers/{id}/run`: invokes the run function with the trigger's fire of this moment, and answers 202 with the
/// execution's id. If the trigger is off, the answer has the `skipReason` with which the execution will be recorded.
///
/// # Errors
/// Returns an error if there is no such trigger, the table refuses or does not answer, or Lambda does not take the
/// event. In the last case the run may begin all the same.
pub async fn run(State(api): State<Arc<Api>>, caller: Caller, Path(id): Path<String>) -> Result<Reply, ApiError> {
    let item = find_alive(&api, &caller, &id).await?;
    let user_id = &caller.0;
    let (event, execution) = if kind_of(&item) == Some("schedule") {
        // It runs as its schedule would, at this moment. Such a fire has no id of a bus.
        let now = times::now();
        let event = json!({"detail-type": "Scheduled Event", "source": "agent-trigger.api", "detail":
            {"triggerId": id, "userId": user_id, "stored": true, "scheduledTime": rfc3339(now)}});
        (event, execution_id(&id, Identity::Scheduled(instant(now.as_millisecond()))))
    } else {
        command("Run Trigger", &id, json!({"triggerId": id, "userId": user_id}))
    };
    invoke(&api, &event).await?;
    let mut answer = json!({"executionId": execution.to_string(), "triggerId": id});
    add_skip_reason(&mut answer, &item);
    Ok(Reply::accepted(answer))
}

/// Returns the command `name` for the run function, with a new id, and the id of the execution that it makes of the
/// trigger. A command to cancel makes none.
pub fn command(name: &str, trigger_id: &str, detail: Value) -> (Value, Uuid) {
    let (id, now) = (Uuid::new_v4(), times::now());
    let event = json!({"_from": "stack-bus", "version": "0", "id": id.to_string(), "detail-type": name,
        "source": "agent-trigger", "time": rfc3339(now), "resources": [], "detail": detail});
    let identity = Identity::Event { id, time: instant(now.as_millisecond()), replay_name: None };
    (event, execution_id(trigger_id, identity))
}

/// Invokes the run function asynchronously.
///
/// # Errors
/// Returns an error if Lambda does not take the event. The run may begin all the same.
pub async fn invoke(api: &Api, event: &Value) -> Result<(), ApiError> {
    let invoking = api.dispatcher.invoke(&api.settings.run_function, event.to_string(), None);
    invoking.await.map_err(|error| {
        tracing::error!(cause = %error, "the run function could not be invoked");
        let begins = match error {
            DispatchError::NoAnswer(_) => "; it is unknown whether the run begins",
            DispatchError::Service(_) | DispatchError::NotSent(_) => "",
        };
        ApiError::Unavailable(format!("the run function could not be invoked{begins}"))
    })
}

/// Returns the instant at these milliseconds since 1970, or 1970 itself if no calendar has it.
fn instant(millis: i64) -> OffsetDateTime {
    let nanos = i128::from(millis) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
