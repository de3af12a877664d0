//! The write that changes a trigger's health.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    clock,
    domain::{
        execution::ExecutionRef,
        failure::{ERROR_LIMIT, Failure},
        health::{Change, Health, RESTS_ON, State},
    },
    redact::cut,
    store::{
        expression::Expression,
        item::{number, text},
        keys,
        table::ConditionalWrite,
        trigger_item::attribute_of,
    },
};

/// Builds the condition that the trigger item exists and its `health`, `failures` and `enabled` are unchanged since
/// they were read. An attribute whose value no condition can compare is left out of it.
fn is_unchanged(expression: &mut Expression, seen: &Health) -> String {
    let mut conditions = vec![format!("attribute_exists({})", expression.name("PK"))];
    for (name, value) in RESTS_ON.iter().zip(&seen.stored) {
        match value.as_ref().map(attribute_of) {
            None => conditions.push(expression.equals(name, None)),
            Some(Some(value)) => conditions.push(expression.equals(name, Some(value))),
            Some(None) => {}
        }
    }
    conditions.join(" AND ")
}

/// Builds the trigger item's part of a transaction, which writes `change`. It is applied only if the item exists and
/// its `health`, `failures` and `enabled` are unchanged since `seen` was read. `now` is in milliseconds since 1970. The
/// state, the count of failures and the execution are always written, and the time of the change if the state is a new
/// one. A success, for which `failure` is `None`, removes the attributes of the last failure and of a pause. A failure
/// writes its type and its message, cut to [`ERROR_LIMIT`] bytes, and removes those of a pause unless it pauses the
/// trigger: then `enabled` becomes false, with the time and the reason. The members `id` and `userId` are set to the
/// ids of the item's key.
pub fn health_write(
    execution: ExecutionRef<'_>,
    seen: &Health,
    change: Change,
    failure: Option<&Failure>,
    now: i64,
) -> ConditionalWrite {
    let mut expression = Expression::default();
    let condition = is_unchanged(&mut expression, seen);
    let mut set = vec![("failures", number(change.failures)), ("health", text(change.state.as_str()))];
    let mut remove = Vec::new();
    set.push(("healthExecutionId", text(execution.execution_id)));
    if change.is_new_state {
        set.push(("healthSince", text(clock::rfc3339(now))));
    }
    match failure {
        Some(failure) => {
            set.push(("healthErrorType", text(failure.error_type.as_str())));
            set.push(("healthError", text(cut(&failure.message, ERROR_LIMIT))));
        }
        None => remove.extend(["healthErrorType", "healthError", "pausedReason", "pausedAt"]),
    }
    if change.pauses {
        set.push(("enabled", AttributeValue::Bool(false)));
        set.push(("pausedAt", text(clock::rfc3339(now))));
        set.push(("pausedReason", text(format!("{} failures in a row", change.failures))));
    } else if change.state == State::Failing {
        remove.extend(["pausedReason", "pausedAt"]);
    }
    // A health event names the trigger by these attributes. The item's writer may have put them into the key alone, or
    // another trigger's beside it.
    set.extend([("id", text(execution.trigger_id)), ("userId", text(execution.user_id))]);
    let mut update = expression.set(set);
    if !remove.is_empty() {
        update = format!("{update} {}", expression.remove(&remove));
    }
    let key = keys::trigger_key(execution.user_id, execution.trigger_id);
    ConditionalWrite::Update { key, update, condition: Some(condition), expression }
}
