//! The task token of a command that was refused. Such a command may be unreadable, so this looks at nothing else in it.

use serde_json::Value;

use crate::{
    config::Secret,
    domain::waiting_task::{TASK_TOKEN, WaitingTask},
    events::classify::{OWN_SOURCE, WRAPPED},
    json::lenient,
};

/// Returns the token of the task that waits for the run that a payload commands, if there is one. Only the function's own
/// events are commands.
pub(crate) fn task_token_of(payload: &str) -> Option<Secret> {
    if !payload.contains(TASK_TOKEN) {
        return None;
    }
    let Ok(Value::Object(mut payload)) = lenient::parse(payload) else { return None };
    let mut command = match payload.remove(WRAPPED) {
        Some(Value::Object(event)) => event,
        _ => payload,
    };
    if command.get("source").and_then(Value::as_str) != Some(OWN_SOURCE) {
        return None;
    }
    WaitingTask::take(&mut command, &mut Vec::new()).map(|task| task.token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_whatever_else_is_wrong() {
        for (payload, expected) in [
            (r#"{"_from":"stack-bus","_event":{"source":"agent-trigger","detail":{"taskToken":"s3cret"}}}"#, true),
            (r#"{"source":"agent-trigger","detail-type":7,"detail":{"taskToken":"s3cret"}}"#, true),
            (r#"{"source":"my.app","detail":{"taskToken":"s3cret"}}"#, false),
            (r#"{"source":"agent-trigger","detail":{"taskToken":7}}"#, false),
            (r#"{"source":"agent-trigger","detail":{}}"#, false),
            (r#"["taskToken"]"#, false),
            ("taskToken", false),
        ] {
            let found = task_token_of(payload);
            assert_eq!(found.as_ref().map(Secret::expose), expected.then_some("s3cret"), "{payload}");
        }
    }
}
