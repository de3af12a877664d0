//! Reports of agents that came over the bus of reports. Nobody waits for an answer: what is refused is logged.

use serde_json::{Value, json};

use crate::{
    app::App,
    clock::Deadline,
    domain::{report::ReportAnswer, run_state::RunState},
    events::agent_report::BusReport,
    lifecycle::{
        close::CloseLimits,
        report::{AppliedReport, apply_report},
    },
    settle::look::DetachedEnd,
    store::error::StoreError,
};

/// Applies a report that came over the bus, and returns the invocation's response: the status and the body that the
/// same report gets over HTTP. The metrics of an end are printed here if no look could be sent that counts it. A
/// refused report is logged and is no error.
///
/// # Errors
/// Returns an error if the table gives no result in time, or the row keeps changing. The event must be delivered again.
pub(crate) async fn take(app: &App, report: &BusReport, deadline: Deadline) -> Result<Value, StoreError> {
    let BusReport { token, report } = report;
    let (trigger_id, execution_id) = (report.trigger_id.as_str(), report.execution_id.as_str());
    tracing::record_all!(tracing::Span::current(), triggerId = trigger_id, executionId = execution_id);
    let state = RunState::default();
    let limits = CloseLimits { until: deadline.run_until, state: &state };
    let applying = apply_report(&app.store, &app.settle_queue, token.expose(), report, limits);
    let AppliedReport { answer, uncounted } = app.store.in_time(deadline.run_until, applying).await?;
    let status = answer.status();
    match answer {
        ReportAnswer::Noted { .. } | ReportAnswer::Ended => tracing::info!(status, "the agent reported"),
        ReportAnswer::Late | ReportAnswer::Unknown => tracing::warn!(status, "the agent's report is refused"),
    }
    if let Some((ending, row)) = &uncounted {
        let end = DetachedEnd { app, trigger_id, execution_id, row };
        end.emit_metrics(Some((ending.status, ending.failure.as_ref())), &state);
    }
    Ok(json!({"statusCode": status, "body": answer.body().to_string()}))
}
