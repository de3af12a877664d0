//! Looks at detached runs: the messages that the function sends itself through the settle queue.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    app::App,
    clock::Deadline,
    domain::{
        execution::{Row, Status},
        failure::Failure,
        look::Look,
        run_state::RunState,
    },
    lifecycle::{
        close::CloseLimits,
        detached::{self, DetachedError},
        look::{self, Looked},
    },
    telemetry::metrics::MetricsLine,
};

/// The longest time for stopping an agent's session, with the proof of identity that it needs.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Acts on a look at a detached run: ends the run if it is over, hands it over to its agent, stops the agent's session,
/// or prints the metrics of an end. If the run goes on, it is cancelled if nobody waits for it any more.
///
/// # Errors
/// Returns an error if the queue must deliver the look again.
pub(super) async fn act(app: &App, look: &Look, deadline: Deadline) -> Result<(), DetachedError> {
    tracing::record_all!(
        tracing::Span::current(),
        triggerId = look.trigger_id.as_str(),
        executionId = look.execution_id.as_str()
    );
    let state = RunState::default();
    let limits = CloseLimits { until: deadline.run_until, state: &state };
    match look::look(&app.store, &app.settle_queue, app.lease(), look, limits).await? {
        Looked::Done | Looked::HandedOver => {}
        Looked::GoesOn(row) => cancel_unwanted(app, look, &row).await,
        Looked::Ended(failure, row) => {
            let status = failure.as_ref().map_or(Status::Cancelled, |_| Status::Failed);
            tracing::info!(status = status.as_str(), "a look ended a detached run");
            emit_metrics(
                app,
                look.trigger_id.as_str(),
                look.execution_id.as_str(),
                &row,
                status,
                failure.as_ref(),
                &state,
            );
        }
        Looked::StopSession(row) => stop_session(app, &row).await,
        Looked::Counted(row) => {
            let failure = (row.status == Status::Failed).then(|| Failure::of_row(&row));
            let (trigger_id, execution_id) = (look.trigger_id.as_str(), look.execution_id.as_str());
            emit_metrics(app, trigger_id, execution_id, &row, row.status, failure.as_ref(), &state);
        }
    }
    Ok(())
}

/// Cancels a run whose waiting execution of Step Functions was stopped. Nothing happens if none waits, or if the
/// cancellation was requested already. Step Functions announces the stop of an execution at best effort, so each look
/// asks for it. An error is logged only, because the next look asks again.
async fn cancel_unwanted(app: &App, look: &Look, row: &Row) {
    let Some(caller) = row.caller.as_deref().filter(|_| row.cancel_requested != Some(true)) else { return };
    if app.step_functions.is_stopped(caller).await {
        match detached::cancel(&app.store, &app.settle_queue, &look.trigger_id, &look.execution_id).await {
            Ok(_) => tracing::info!("the state machine that waits was stopped, so the run is cancelled"),
            Err(error) => tracing::warn!(error = %error, "the run of a stopped state machine is not cancelled yet"),
        }
    }
}

/// Stops the session of an agent whose run has ended, within 10 s. Nothing happens if the row names no agent or
/// session, or the agent cannot be stopped. A failure is logged only, because an idle session ends by itself.
async fn stop_session(app: &App, row: &Row) {
    let (Some(agent_id), Some(session_id)) = (&row.agent_id, &row.session_id) else { return };
    let stopping = async {
        let agent = app.agents.find(agent_id).await?;
        if !agent.can_be_stopped() {
            return Ok(None);
        }
        let authorization = app.agents.authorize(&agent).await?;
        Ok::<_, Failure>(agent.stop_session(session_id, &authorization).await)
    };
    match timeout(STOP_TIMEOUT, stopping).await {
        Ok(Ok(_)) => {}
        Ok(Err(failure)) => tracing::warn!(cause = ?failure, "the agent's session is not stopped"),
        Err(_) => tracing::warn!("the agent's session is not stopped in time"),
    }
}

/// Prints the metrics of a detached run that ended outside of its invocation, as one end with `status`.
pub(super) fn emit_metrics(
    app: &App,
    trigger_id: &str,
    execution_id: &str,
    row: &Row,
    status: Status,
    failure: Option<&Failure>,
    state: &RunState,
) {
    let mut facts = state.facts();
    facts.count_end(status);
    MetricsLine {
        config: &app.config,
        facts: &facts,
        request_id: row.lambda_request_id.as_deref().unwrap_or_default(),
        agent_id: row.agent_id.as_deref(),
        trigger_id: Some(trigger_id),
        execution_id: Some(execution_id),
        trace: None,
        failure,
        is_cold_start: None,
    }
    .print();
}
