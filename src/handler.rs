//! The handler of every invocation. It finds out which kind of invocation it is, and reports the result to Lambda, the
//! log and the metrics.

use serde_json::Value;
use tracing::{Instrument, field::Empty};

use crate::{
    app::App,
    domain::{
        detour::Detour,
        failure::{ErrorType, Failure},
        run_state::Instead,
    },
    events::{
        failure_report::Batch,
        schedule::{self, Event},
    },
    invocation::{Invocation, InvocationContext, catch_panic},
    routing::{self, Route},
    run, settle,
};

/// Handles one event, and prints the invocation's metrics. `payload` is `None` if it was not UTF-8. A panic becomes a
/// failure, which is retryable if the agent was not called. The future must not be dropped before it is ready: then
/// nothing records the end of a run.
///
/// # Errors
/// Returns every failure. It is logged, and recorded if it has an execution whose record could be written.
pub async fn handle(app: &App, payload: Option<&str>, invocation: &Invocation) -> Result<Value, Failure> {
    let context = InvocationContext::new(app, invocation);
    // The span has the level ERROR. With a lower level, a log of errors alone would lack the ids.
    let span = tracing::error_span!(
        "run",
        requestId = invocation.request_id,
        triggerId = Empty,
        executionId = Empty,
        attempt = Empty,
        // The name and the notation are OpenTelemetry's, so that one id also finds the agent's part.
        // https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/
        trace_id = context.trace.as_ref().and_then(|trace| trace.otel_id.as_deref()),
    );
    let handled = Box::pin(catch_panic(handle_payload(&context, payload).instrument(span.clone()))).await;
    let result = handled.unwrap_or_else(|panicked| Err(context.state.retryable_unless_called(panicked)));
    let result = result.map_err(|failure| context.with_ids(failure));
    if let Err(Failure { error_type, retryable, message, trigger_id, execution_id, .. }) = &result {
        // The span has the ids once the execution is known. The text format would print them twice.
        if context.state.facts().execution_id.is_none() {
            tracing::record_all!(span, triggerId = trigger_id.as_deref(), executionId = execution_id.as_deref());
        }
        let error_type = error_type.as_str();
        span.in_scope(|| tracing::error!(errorType = error_type, retryable, cause = message, "run failed"));
    }
    context.emit_metrics(result.as_ref().err());
    result
}

/// Does what the payload asks for, and returns the response. A batch of failure reports is settled, and an invalid
/// event is refused, however little time is left. For anything else 5 s must be left. The fire of a schedule is run, a
/// report of a detached run's agent is applied, and a bus event is routed, which may give a fire to run here.
///
/// # Errors
/// Returns the failure of what was done, and `DeadlineExceeded`, retryable, if too little time is left.
async fn handle_payload(context: &InvocationContext<'_>, payload: Option<&str>) -> Result<Value, Failure> {
    if let Some(batch) = payload.and_then(Batch::read) {
        context.state.facts().instead = Some(Instead::Settled);
        return settle::settle(context.app, &batch, context.invocation, context.deadline).await;
    }
    let event = match schedule::parse(payload, context.app.platform()) {
        Ok(event) => event,
        Err(invalid) => return Box::pin(routing::refuse(context, invalid)).await,
    };
    if context.deadline.is_too_near() {
        if let Event::Scheduled(fire) = event {
            context.note_fire(fire);
        }
        tracing::info!(detour = Detour::TooLittleTime.as_str(), "too little time is left");
        return Err(Failure::retryable(ErrorType::DeadlineExceeded, "too little time is left to start a run"));
    }
    let fire = match event {
        Event::Scheduled(fire) => fire,
        Event::Report(report) => return Ok(settle::report::take(context.app, &report, context.deadline).await?),
        Event::Bus(event) => match Box::pin(routing::route(context, &event)).await? {
            Route::Run(fire) => fire,
            Route::Done(response) => return Ok(response),
        },
    };
    Box::pin(run::run_fire(context, fire)).await
}
