//! What a successful invocation returns.

use serde_json::{Value, json};

use crate::{execution::Row, fire::Fire, record::SkipReason};

/// Replies about one execution.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    trigger_id: &'a str,
    execution_id: &'a str,
}

impl<'a> Reply<'a> {
    /// About the execution of a fire.
    pub(crate) fn new(fire: &'a Fire, execution_id: &'a str) -> Self {
        Self { trigger_id: &fire.trigger_id, execution_id }
    }

    /// The run completed.
    pub(crate) fn completed(&self, request_id: Option<&str>, session_id: &str) -> Value {
        self.reply(&[("requestId", request_id), ("sessionId", Some(session_id))], None)
    }

    /// The run was cancelled.
    pub(crate) fn cancelled(&self, session_id: Option<&str>) -> Value {
        self.reply(&[("sessionId", session_id), ("status", Some("cancelled"))], None)
    }

    /// The fire was deliberately not run.
    pub(crate) fn skipped(&self, reason: SkipReason) -> Value {
        self.reply(&[("status", Some("skipped")), ("skipReason", Some(reason.as_str()))], None)
    }

    /// The fire is another attempt's, or ended before.
    pub(crate) fn duplicate(&self, row: &Row) -> Value {
        let fields = [
            ("requestId", row.request_id.as_deref()),
            ("sessionId", row.session_id.as_deref()),
            ("status", Some(row.status.as_str())),
        ];
        self.reply(&fields, Some(true))
    }

    fn reply(&self, fields: &[(&str, Option<&str>)], duplicate: Option<bool>) -> Value {
        let mut body = json!({"success": true, "triggerId": self.trigger_id, "executionId": self.execution_id});
        for (name, value) in fields {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        if let Some(duplicate) = duplicate {
            body["duplicate"] = json!(duplicate);
        }
        json!({"statusCode": 200, "body": body.to_string()})
    }
}
