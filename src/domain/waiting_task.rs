//! A task of Step Functions that waits for an execution. Its token is a secret of the state machine: whoever has it may
//! answer the task. It is stored in one item, which nobody else reads, and stands in no record and no announcement.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-wait-token>

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::clock::millis_of;

/// The member of a command's detail.
pub(crate) const TASK_TOKEN: &str = "taskToken";
/// The longest token, in characters.
/// <https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html>
const LONGEST: usize = 2048;

/// The time by which a command may be later than a stop and still be of before it, in milliseconds. Their times are
/// whole seconds, and a command may be under way when its execution is stopped.
const SKEW_MILLIS: i64 = 5_000;

/// A task that waits.
#[derive(Clone, PartialEq, Eq)]
pub struct WaitingTask {
    token: String,
    /// The ARN of the execution of Step Functions that it is part of.
    pub caller: Option<String>,
    /// The time of the command, in milliseconds since 1970, if it has one.
    pub sent: Option<i64>,
}

/// Returns true if a command of the time `sent` is stopped with the execution that sent it, which was stopped at
/// `stopped_at`, both in milliseconds since 1970. A command that is more than five seconds later is one of the
/// execution after a redrive, which has the same ARN. A command without a time is stopped.
pub(crate) fn is_stopped_with(sent: Option<i64>, stopped_at: i64) -> bool {
    sent.is_none_or(|sent| sent <= stopped_at.saturating_add(SKEW_MILLIS))
}

/// Returns true if a command of the time `sent` is of more than five seconds before the last redrive of the execution
/// that sent it, at `redriven_at`, both in milliseconds since 1970: nobody waits for its task any more. Returns false
/// for a command without a time, and for an execution that was never redriven.
pub(crate) fn is_of_before(sent: Option<i64>, redriven_at: Option<i64>) -> bool {
    sent.zip(redriven_at).is_some_and(|(sent, redriven_at)| sent.saturating_add(SKEW_MILLIS) < redriven_at)
}

impl fmt::Debug for WaitingTask {
    /// Writes the caller. Leaves the token out, so that it reaches no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingTask").field("caller", &self.caller).finish_non_exhaustive()
    }
}

impl WaitingTask {
    /// Returns the token by which Step Functions is told the task's result. The item that keeps it needs it, and so
    /// does the answer.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Removes `taskToken` from the detail of a command, so that no prompt, filter or record sees it, and returns the
    /// task. Returns `None` if it is absent or null. A token that is no text of 1 to 2,048 bytes is a problem, and
    /// `None`. The caller is the first of the event's `resources` that is the ARN of an execution of Step Functions:
    /// EventBridge names it there. A publisher may name another's execution. Then the stop of that execution cancels
    /// the publisher's own run, and nothing else.
    pub(crate) fn take(command: &mut Map<String, Value>, problems: &mut Vec<String>) -> Option<Self> {
        let detail = command.get_mut("detail").and_then(Value::as_object_mut);
        let token = match detail.and_then(|detail| detail.remove(TASK_TOKEN))? {
            Value::Null => return None,
            Value::String(token) if !token.is_empty() && token.len() <= LONGEST => token,
            _ => {
                problems.push(format!("$.detail.{TASK_TOKEN}: must be a text of 1 to {LONGEST} characters"));
                return None;
            }
        };
        let resources = command.get("resources").and_then(Value::as_array);
        let mut resources = resources.into_iter().flatten().filter_map(Value::as_str);
        let sent = command.get("time").and_then(Value::as_str).and_then(millis_of);
        Some(Self { token, caller: resources.find(|arn| is_execution(arn)).map(str::to_owned), sent })
    }

    /// Returns the name by which deliveries of the command are recognised: `task-` and the hash of its token. A command
    /// that Step Functions sends again has another id and time, but the same token.
    pub(crate) fn name(&self) -> String {
        format!("task-{}", hash_of(&self.token))
    }
}

/// Returns true if a text has the form of an ARN of an execution of Step Functions, be it a standard or an express one.
/// Its partition, region and account may be anything, and so may what follows `execution` or `express`.
pub(crate) fn is_execution(arn: &str) -> bool {
    let mut parts = arn.split(':');
    let (scheme, service, kind) = (parts.next(), parts.nth(1), parts.nth(2));
    scheme == Some("arn") && service == Some("states") && matches!(kind, Some("execution" | "express"))
}

/// Returns the SHA-256 hash of a text, as 64 hexadecimal digits in lower case.
pub(crate) fn hash_of(text: &str) -> String {
    let mut hash = String::with_capacity(64);
    for byte in Sha256::digest(text) {
        // Writing to a string cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EXECUTION: &str = "arn:aws:states:us-east-1:123456789012:execution:nightly:6a7e8feb";

    fn take(command: &mut Value) -> Result<Option<WaitingTask>, Vec<String>> {
        let mut problems = Vec::new();
        let task = WaitingTask::take(command.as_object_mut().unwrap(), &mut problems);
        if problems.is_empty() { Ok(task) } else { Err(problems) }
    }

    #[test]
    fn a_command_is_stopped_unless_it_was_sent_after_the_stop() {
        for (sent, stopped_at, expected) in [
            (None, 0, true),
            (Some(10_000), 10_000, true),
            (Some(15_000), 10_000, true),
            (Some(15_001), 10_000, false),
            (Some(i64::MAX), i64::MAX, true),
        ] {
            assert_eq!(is_stopped_with(sent, stopped_at), expected, "{sent:?} {stopped_at}");
        }
        for (sent, redriven_at, expected) in [
            (None, Some(10_000), false),
            (Some(0), None, false),
            (Some(5_000), Some(10_000), false),
            (Some(4_999), Some(10_000), true),
            (Some(i64::MAX), Some(i64::MAX), false),
        ] {
            assert_eq!(is_of_before(sent, redriven_at), expected, "{sent:?} {redriven_at:?}");
        }
    }

    #[test]
    fn the_token_is_taken_out() {
        let machine = "arn:aws:states:us-east-1:123456789012:stateMachine:nightly";
        let mut command =
            json!({"resources": [machine, EXECUTION], "detail": {"triggerId": "t", "taskToken": "s3cret"}});
        let task = take(&mut command).unwrap().unwrap();
        assert_eq!((task.token(), task.caller.as_deref()), ("s3cret", Some(EXECUTION)));
        assert!(!command.to_string().contains("s3cret") && !format!("{task:?}").contains("s3cret"));
        assert_eq!(task.name(), format!("task-{}", hash_of("s3cret")));
        for without in [json!({}), json!({"detail": {}}), json!({"detail": {"taskToken": null}}), json!({"detail": 3})]
        {
            assert_eq!(take(&mut without.clone()), Ok(None));
        }
        for wrong in [json!(""), json!(3), json!({}), json!("x".repeat(2049))] {
            assert!(take(&mut json!({"detail": {"taskToken": wrong}})).is_err());
        }
    }

    #[test]
    fn only_an_execution_is_a_caller() {
        for (arn, expected) in [
            (EXECUTION, true),
            ("arn:aws-cn:states:cn-north-1:123456789012:express:m:e:1", true),
            ("arn:aws:states:us-east-1:123456789012:stateMachine:m", false),
            ("arn:aws:lambda:us-east-1:123456789012:execution:m", false),
            ("execution", false),
            ("", false),
        ] {
            assert_eq!(is_execution(arn), expected, "{arn}");
        }
    }
}
