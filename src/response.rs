//! The result that a successful invocation returns, and the form in which a failure is reported to Lambda.

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::failure::{ErrorType, Failure};
use crate::{
    domain::ending::SkipReason,
    domain::execution::{Row, Status},
    domain::fire::Fire,
    domain::ids::ExecutionId,
};
use lambda_runtime::Diagnostic;

/// A response about one execution. Absent fields are left out.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Response<'a> {
    success: bool,
    trigger_id: &'a str,
    execution_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detached: Option<bool>,
}

impl<'a> Response<'a> {
    /// Returns a successful response about the execution of a fire, with its ids alone.
    pub(crate) fn new(fire: &'a Fire, execution_id: &'a ExecutionId) -> Self {
        Self { success: true, trigger_id: &fire.trigger_id, execution_id: execution_id.as_str(), ..Self::default() }
    }

    /// Returns the response for a run that completed: the ids, and those of the agent's request and session.
    pub(crate) fn completed(self, request_id: Option<&'a str>, session_id: &'a str) -> Value {
        Self { request_id, session_id: Some(session_id), ..self }.to_value()
    }

    /// Returns the response for a run that was cancelled, with the status `cancelled`.
    pub(crate) fn cancelled(self, session_id: Option<&'a str>) -> Value {
        Self { session_id, status: Some(Status::Cancelled.as_str()), ..self }.to_value()
    }

    /// Returns the response for a run that its agent works on and reports about: the status `running`, and `detached`.
    pub(crate) fn detached(self, session_id: &'a str) -> Value {
        let status = Some(Status::Running.as_str());
        Self { session_id: Some(session_id), status, detached: Some(true), ..self }.to_value()
    }

    /// Returns the response for a detached run that its agent has ended by a report: the status of its row, `detached`,
    /// and the ids of the agent's request and session if the row has them.
    pub(crate) fn reported(self, row: &'a Row) -> Value {
        let Row { request_id, session_id, status, .. } = row;
        let (request_id, session_id) = (request_id.as_deref(), session_id.as_deref());
        Self { request_id, session_id, status: Some(status.as_str()), detached: Some(true), ..self }.to_value()
    }

    /// Returns the response for a fire that was deliberately not run: the status `skipped`, and the reason.
    pub(crate) fn skipped(self, reason: SkipReason) -> Value {
        Self { status: Some(Status::Skipped.as_str()), skip_reason: Some(reason.as_str()), ..self }.to_value()
    }

    /// Returns the response for a fire on which another attempt works, or which ended before: the status of its row,
    /// `duplicate`, and the ids of the agent's request and session if the row has them. It does not hold the row's
    /// failure: for an execution that failed, the caller returns a failure instead.
    pub(crate) fn duplicate(self, row: &'a Row) -> Value {
        let Row { request_id, session_id, status, .. } = row;
        let (request_id, session_id) = (request_id.as_deref(), session_id.as_deref());
        Self { request_id, session_id, status: Some(status.as_str()), duplicate: Some(true), ..self }.to_value()
    }

    /// Returns the response as Lambda returns it: status 200, with this as JSON in the text `body`.
    fn to_value(&self) -> Value {
        // This is the form for a function behind an HTTP API: the body is JSON in a text.
        json!({"statusCode": 200, "body": serde_json::to_string(self).unwrap_or_default()})
    }
}

impl From<Failure> for Diagnostic {
    /// Returns the failure as Lambda reports it: its type, and as message a JSON text with the status 400 for an
    /// invalid event and 500 for any other, the message, the ids and whether it may be retried. The agent's own words
    /// are left out.
    fn from(failure: Failure) -> Self {
        let status_code = if failure.error_type == ErrorType::InvalidEvent { 400 } else { 500 };
        Self {
            error_type: failure.error_type.as_str().to_owned(),
            error_message: json!({
                "statusCode": status_code,
                "error": failure.error_type.as_str(),
                "message": failure.message,
                "triggerId": failure.trigger_id,
                "executionId": failure.execution_id,
                "retryable": failure.retryable,
            })
            .to_string(),
        }
    }
}
