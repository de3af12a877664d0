//! The function's own events: commands, and announcements of an execution's end.

use std::mem;

use serde_json::{Map, Value};

use crate::{
    config::Secret,
    domain::{
        fire::Origin,
        waiting_task::{TASK_TOKEN, WaitingTask, is_execution},
    },
    events::{
        classify::{OWN_SOURCE, WRAPPED},
        target::EventTarget,
    },
    json::{fields::Fields, lenient, near_miss::near_misses},
};

/// The `detail-type` of the announcement that an execution has ended.
const EXECUTION_STATUS_CHANGE: &str = "Execution Status Change";
/// The `detail-type` of the command to run a trigger now.
pub(super) const RUN_TRIGGER: &str = "Run Trigger";
/// The `detail-type` of the command to run an execution's input again.
const REPLAY_EXECUTION: &str = "Replay Execution";
/// The `detail-type` of the command to end an execution.
pub(super) const CANCEL_EXECUTION: &str = "Cancel Execution";
/// The member of a command that cancels what an execution of Step Functions waits for.
const CALLER: &str = "caller";

/// The part of an event that only the function's own events have: commands, and announcements of an execution's end.
pub(super) struct OwnEvent {
    pub(super) target: EventTarget,
    pub(super) origin: Option<Origin>,
    pub(super) chain_depth: u32,
}

impl OwnEvent {
    /// Reads the detail of an event by its `detail-type`. `own_type` is `None` if the event is not the function's own.
    ///
    /// - `Run Trigger` requires `triggerId` and `userId`.
    /// - `Replay Execution` and `Cancel Execution` require `triggerId` and `executionId`.
    /// - `Cancel Execution` with `caller`, the ARN of an execution of Step Functions, requires nothing else.
    /// - `Execution Status Change` requires `executionId` and `completedAt`, which become the origin. `chainDepth` is 0
    ///   if it is absent. The event is for all subscribers.
    /// - Any other type is an event for all subscribers, and nothing is read.
    ///
    /// A command's misspelt members are problems, too. A detail that is missing or no object is read as an empty one. A
    /// member with a problem is left empty: the caller refuses the event.
    pub(super) fn read(own_type: Option<&str>, detail: Option<&Value>, problems: &mut Vec<String>) -> Self {
        let no_detail = Map::new();
        let detail = detail.and_then(Value::as_object).unwrap_or(&no_detail);
        let mut detail = Fields { problems: mem::take(problems), ..Fields::new("$.detail", detail) };
        let mut own = Self { target: EventTarget::Subscribers, origin: None, chain_depth: 0 };
        match own_type {
            Some(RUN_TRIGGER) => {
                own.target = EventTarget::RunTrigger {
                    trigger_id: detail.id("triggerId").unwrap_or_default().into(),
                    user_id: detail.id("userId").unwrap_or_default().into(),
                };
                near_misses(&mut detail, &[&["triggerId", "userId", TASK_TOKEN]]);
            }
            Some(CANCEL_EXECUTION) if detail.value(CALLER).is_some() => {
                let caller = detail.required_text(CALLER).unwrap_or_default();
                if !caller.is_empty() && !is_execution(&caller) {
                    detail.problem(CALLER, "must be the ARN of an execution of Step Functions");
                }
                own.target = EventTarget::CancelCaller(caller);
                near_misses(&mut detail, &[&[CALLER, "reason"]]);
            }
            Some(command @ (REPLAY_EXECUTION | CANCEL_EXECUTION)) => {
                let trigger_id = detail.id("triggerId").unwrap_or_default().into();
                let execution_id = detail.id("executionId").unwrap_or_default().into();
                own.target = match command {
                    REPLAY_EXECUTION => EventTarget::ReplayExecution { trigger_id, execution_id },
                    _ => EventTarget::CancelExecution { trigger_id, execution_id },
                };
                near_misses(&mut detail, &[&["triggerId", "executionId"]]);
            }
            Some(EXECUTION_STATUS_CHANGE) => {
                // The pipe delivers at least once, and each time as a new event. Only the execution that it announces
                // is the same.
                let (id, completed_at) = (detail.id("executionId"), detail.required_instant("completedAt"));
                let named = id.zip(completed_at);
                own.origin = named.map(|(id, (_, completed_at))| Origin::Execution { id: id.into(), completed_at });
                own.chain_depth = detail.streamed_count("chainDepth").unwrap_or_default();
            }
            _ => {}
        }
        *problems = detail.problems;
        own
    }
}

/// Returns the token of the Step Functions task that waits for the run that a payload commands. The payload may be a
/// command that was refused and is unreadable, so nothing else in it is checked. Returns `None` if it is no JSON
/// object, if its source is not the function's own, or if its detail has no usable token.
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
    WaitingTask::take(&mut command, &mut Vec::new()).map(|task| Secret::new(task.token()))
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
