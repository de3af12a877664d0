//! An execution as answers show it. The frontend that the API serves paints everything green that has no
//! `errorMessage`, so whatever did not complete has one.

use agent_trigger::store::execution_item::{
    ExecutionItem, HAS_RUN_LOCK, LAMBDA_REQUEST_ID, OUTPUT, OUTPUT_TRUNCATED, OWNER, REPORT_KEY, RUN_SLOT,
    SETTINGS_HASH, STORED, TTL, USER_ID,
};
use serde_json::{Map, Value, json};

use crate::{store::executions::time_of, times::rfc3339};

/// The attributes that are the function's own business. The lease is shown, because a running execution whose lease is
/// over is one that nobody works on.
const HIDDEN: [&str; 11] =
    ["PK", "SK", TTL, USER_ID, OWNER, LAMBDA_REQUEST_ID, SETTINGS_HASH, STORED, REPORT_KEY, HAS_RUN_LOCK, RUN_SLOT];

/// Returns an execution as its own route answers it: the attributes of `row` that are neither null nor among
/// [`HIDDEN`], with the agent's answer. Four members are added: `executedAt` (RFC 3339, empty if unknown),
/// `errorMessage` if it did not complete, `canCancel` and `canReplay`. `canCancel` is true if it runs or may run again,
/// and nobody has asked for its end. `canReplay` is true if an execution of its kind and status has a kept input.
pub fn shown(row: &Map<String, Value>) -> Value {
    let mut shown: Map<String, Value> = row
        .iter()
        .filter(|(name, value)| !HIDDEN.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let item = ExecutionItem::read(row.clone());
    let status = item.status.as_deref().unwrap_or_default();
    // The rows of the function that this one replaces have `executedAt`.
    let executed = item.started_at.clone().or_else(|| Some(row.get("executedAt")?.as_str()?.to_owned()));
    let executed = executed.or_else(|| Some(rfc3339(time_of(item.execution_id.as_deref()?)?)));
    shown.insert("executedAt".to_owned(), json!(executed.unwrap_or_default()));
    if let Some(message) = error_message(&item, row) {
        shown.insert("errorMessage".to_owned(), json!(message));
    }
    let may_run = status == "running" || item.retryable == Some(true);
    let is_cancelled = item.cancel_requested == Some(true);
    shown.insert("canCancel".to_owned(), json!(may_run && !is_cancelled));
    // An input is kept for every run of an event, of a stored trigger and of a detached run, and for every other that
    // ended and did not complete.
    let is_kept = match status {
        "failed" | "cancelled" => !may_run,
        "completed" => item.event_source_id.is_some() || item.stored == Some(true) || item.detached == Some(true),
        _ => false,
    };
    shown.insert("canReplay".to_owned(), json!(is_kept));
    Value::Object(shown)
}

/// Returns an execution of a list: as [`shown`] does, but without the agent's answer, which may have 8 KB. `hasOutput`
/// is true if there is one, and otherwise absent.
pub fn listed(row: &Map<String, Value>) -> Value {
    let mut shown = shown(row);
    if let Some(members) = shown.as_object_mut()
        && members.remove(OUTPUT).is_some()
    {
        members.remove(OUTPUT_TRUNCATED);
        members.insert("hasOutput".to_owned(), json!(true));
    }
    shown
}

/// Returns the words for an execution that did not complete: its status, with the reason of a skip or the type and text
/// of a failure. Returns `None` for one that completed. A row of another status has the words that it holds itself.
fn error_message(item: &ExecutionItem, row: &Map<String, Value>) -> Option<String> {
    match item.status.as_deref().unwrap_or_default() {
        "completed" => None,
        "running" => Some("running".to_owned()),
        "skipped" => Some(format!("skipped: {}", item.skip_reason.as_deref().unwrap_or("no reason"))),
        "cancelled" => Some("cancelled".to_owned()),
        "failed" => Some(match (item.error_type.as_deref(), item.error.as_deref()) {
            (Some(kind), Some(error)) => format!("{kind}: {error}"),
            (kind, error) => kind.or(error).unwrap_or("failed").to_owned(),
        }),
        // A row of the function that this one replaces.
        _ => Some(row.get("errorMessage")?.as_str()?.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_completed_has_no_error_message() {
        for (row, message, can_cancel, can_replay) in [
            (json!({"status": "completed"}), None, false, false),
            (json!({"status": "completed", "eventSourceId": "aws-s3"}), None, false, true),
            (json!({"status": "completed", "stored": true}), None, false, true),
            (json!({"status": "running"}), Some("running"), true, false),
            (json!({"status": "running", "cancelRequested": true}), Some("running"), false, false),
            (
                json!({"status": "failed", "errorType": "AgentFailed", "error": "500"}),
                Some("AgentFailed: 500"),
                false,
                true,
            ),
            (json!({"status": "failed", "retryable": true}), Some("failed"), true, false),
            (json!({"status": "cancelled"}), Some("cancelled"), false, true),
            (json!({"status": "skipped", "skipReason": "Deleted"}), Some("skipped: Deleted"), false, false),
        ] {
            let mut full = row.clone();
            for (name, value) in [
                ("PK", json!("TRIGGER#t")),
                ("owner", json!("o")),
                ("userId", json!("u")),
                ("startedAt", json!("now")),
                ("output", json!("x")),
            ] {
                full[name] = value;
            }
            let shown = listed(full.as_object().unwrap());
            assert_eq!(shown.get("errorMessage").and_then(Value::as_str), message, "{row}");
            assert_eq!((&shown["canCancel"], &shown["canReplay"]), (&json!(can_cancel), &json!(can_replay)), "{row}");
            assert_eq!((&shown["executedAt"], &shown["hasOutput"]), (&json!("now"), &json!(true)));
            for hidden in ["PK", "owner", "userId", "output"] {
                assert_eq!(shown.get(hidden), None);
            }
        }
    }
}
