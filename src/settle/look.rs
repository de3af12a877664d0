//! Looks at detached runs: the messages that the function sends itself through the settle queue.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    app::App,
    clock::{Deadline, millis_of},
    domain::{
        execution::{Row, Status},
        failure::Failure,
        look::Look,
        run_state::{Instead, RunState},
    },
    lifecycle::{
        close::CloseLimits,
        detached::{self, DetachedError},
        look::{self, Looked},
        looks::{Sessions, may_stop_session},
    },
    telemetry::metrics::MetricsLine,
};

/// The longest time for stopping an agent's session, with the proof of identity that it needs.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Acts on a look at a detached run, as [`look::look`] does, and then does what this leaves to the caller: prints the
/// metrics of an end that no other look counts, and stops the session of an agent whose run has ended. If the run goes
/// on, it is cancelled if nobody waits for it any more.
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
    match look::look(&app.store, &app.settle_queue, app, app.lease(), look, limits).await? {
        Looked::Done | Looked::HandedOver => {}
        Looked::GoesOn(row) => cancel_unwanted(app, look, &row).await,
        Looked::Ended { failure, row, is_counted } => {
            let status = failure.as_ref().map_or(Status::Cancelled, |_| Status::Failed);
            tracing::info!(status = status.as_str(), "a look ended a detached run");
            let uncounted = (!is_counted).then_some((status, failure.as_ref()));
            end_of(app, look, &row).emit_metrics(uncounted, &state);
        }
        Looked::AfterEnd { row, counts } => {
            let failure = (row.status == Status::Failed).then(|| Failure::of_row(&row));
            let uncounted = counts.then_some((row.status, failure.as_ref()));
            end_of(app, look, &row).emit_metrics(uncounted, &state);
            if may_stop_session(&row, &look.execution_id) {
                app.stop(&row).await;
            }
        }
    }
    Ok(())
}

/// Returns the end of the run of `row`, at which `look` looks, for its metrics.
fn end_of<'a>(app: &'a App, look: &'a Look, row: &'a Row) -> DetachedEnd<'a> {
    DetachedEnd { app, trigger_id: &look.trigger_id, execution_id: &look.execution_id, row }
}

/// Cancels a run for which nobody waits any more: its execution of Step Functions was stopped, or was redriven since.
/// Nothing happens if nobody ever waited, or if the cancellation was requested already. Step Functions announces the
/// stop of an execution at best effort, so each look asks for it. An error is logged only, because the next look asks
/// again.
async fn cancel_unwanted(app: &App, look: &Look, row: &Row) {
    let Some(caller) = row.caller.as_deref().filter(|_| row.cancel_requested != Some(true)) else { return };
    let sent = row.event_time.as_deref().and_then(millis_of);
    if app.step_functions.is_stopped(caller, sent).await {
        match detached::cancel(&app.store, &app.settle_queue, &look.trigger_id, &look.execution_id).await {
            Ok(_) => tracing::info!("the state machine waits no more for the run, so it is cancelled"),
            Err(error) => tracing::warn!(error = %error, "a run for which no state machine waits is not cancelled yet"),
        }
    }
}

impl Sessions for App {
    /// Stops the session of an agent, within 10 s. Nothing happens if the row names no agent or session, or the agent
    /// cannot be stopped. A failure is logged only, because an idle session ends by itself.
    async fn stop(&self, row: &Row) {
        let (Some(agent_id), Some(session_id)) = (&row.agent_id, &row.session_id) else { return };
        let stopping = async {
            let agent = self.agents.find(agent_id).await?;
            if !agent.can_be_stopped() {
                return Ok(None);
            }
            let authorization = self.agents.authorize(&agent).await?;
            Ok::<_, Failure>(agent.stop_session(session_id, &authorization).await)
        };
        match timeout(STOP_TIMEOUT, stopping).await {
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => tracing::warn!(cause = ?failure, "the agent's session is not stopped"),
            Err(_) => tracing::warn!("the agent's session is not stopped in time"),
        }
    }
}

/// A detached run that ended outside of its invocation.
pub(super) struct DetachedEnd<'a> {
    pub(super) app: &'a App,
    pub(super) trigger_id: &'a str,
    pub(super) execution_id: &'a str,
    pub(super) row: &'a Row,
}

impl DetachedEnd<'_> {
    /// Prints the metrics of the invocation that `state` has the facts of. The end is counted if it is given, with its
    /// failure. An end that another look counts is not given. Then a line is printed only if writes beside it were left
    /// out.
    pub(super) fn emit_metrics(&self, uncounted: Option<(Status, Option<&Failure>)>, state: &RunState) {
        let Self { app, trigger_id, execution_id, row } = *self;
        let mut facts = state.facts();
        match uncounted {
            Some((status, _)) => facts.count_detached_end(status),
            None if facts.left_out == 0 => return,
            None => facts.instead = Some(Instead::Settled),
        }
        MetricsLine {
            config: &app.config,
            facts: &facts,
            request_id: row.lambda_request_id.as_deref().unwrap_or_default(),
            agent_id: row.agent_id.as_deref(),
            trigger_id: Some(trigger_id),
            execution_id: Some(execution_id),
            trace: None,
            failure: uncounted.and_then(|(_, failure)| failure),
            is_cold_start: None,
        }
        .print();
    }
}
