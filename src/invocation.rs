//! One Lambda invocation: Lambda's description of it, and the function's knowledge of it, whichever way it ends.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::{
    FutureExt, TryFutureExt,
    future::{Either, Ready, ready, select},
};

use crate::{
    app::App,
    clock::{Deadline, SystemClock},
    domain::{
        failure::{ErrorType, Failure},
        fire::Fire,
        ids::ExecutionId,
        run_state::RunState,
        trace::Trace,
    },
    telemetry::metrics::{self, MetricsLine},
};

/// An invocation as Lambda describes it.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Lambda's request id, which stays the same when Lambda retries.
    pub request_id: String,
    /// The function that was invoked, with its version or alias if one was named.
    pub function_arn: String,
    /// The time at which Lambda ends the invocation, in milliseconds since 1970.
    pub deadline_millis: u64,
    /// The value of Lambda's X-Ray header.
    pub xray_trace_id: Option<String>,
}

/// An invocation that is being handled.
pub(crate) struct InvocationContext<'a> {
    pub(crate) app: &'a App,
    pub(crate) invocation: &'a Invocation,
    pub(crate) deadline: Deadline,
    pub(crate) trace: Option<Trace>,
    pub(crate) state: Arc<RunState>,
    is_cold_start: bool,
}

impl<'a> InvocationContext<'a> {
    /// Begins an invocation: its time limits count from now, and its trace is that of Lambda's header. Only the first
    /// one of the process is a cold start.
    pub(crate) fn new(app: &'a App, invocation: &'a Invocation) -> Self {
        Self {
            app,
            invocation,
            deadline: Deadline::new(&SystemClock, invocation.deadline_millis),
            trace: invocation.xray_trace_id.as_deref().and_then(Trace::of),
            state: Arc::default(),
            is_cold_start: metrics::is_cold_start(),
        }
    }

    /// Keeps the fire that the invocation handles, and returns it. If one is kept already, that one stays and is
    /// returned.
    pub(crate) fn note_fire(&self, fire: Box<Fire>) -> Arc<Fire> {
        Arc::clone(self.state.facts().fire.get_or_insert_with(|| fire.into()))
    }

    /// Keeps the execution of the fire, and adds its ids to every log line of the invocation from now on. Only the
    /// first one is kept, and returned: a later call changes no more than the ids of the log.
    pub(crate) fn note_execution(&self, fire: &Fire, execution_id: ExecutionId) -> Arc<ExecutionId> {
        // Both fields are recorded at once, because the log formats all fields of the span anew each time.
        tracing::record_all!(
            tracing::Span::current(),
            triggerId = fire.trigger_id.as_str(),
            executionId = execution_id.as_str()
        );
        Arc::clone(self.state.facts().execution_id.get_or_insert_with(|| execution_id.into()))
    }

    /// Returns `failure` with the ids of its trigger and its execution, if they are known. Ids that it has already
    /// stay.
    pub(crate) fn with_ids(&self, failure: Failure) -> Failure {
        let facts = self.state.facts();
        let trigger_id = failure.trigger_id.or_else(|| facts.fire.as_ref().map(|fire| fire.trigger_id.clone()));
        let execution_id = failure.execution_id.or_else(|| facts.execution_id.as_deref().cloned());
        Failure { trigger_id, execution_id, ..failure }
    }

    /// Prints the metrics of the invocation. A failure that may have left no record is counted first. `failure` is the
    /// failure with which it ends, if it fails. The agent is that of the fire as it ran, or otherwise of the event. It
    /// must be called once, at the end.
    pub(crate) fn emit_metrics(&self, failure: Option<&Failure>) {
        let mut facts = self.state.facts();
        if let Some(failure) = failure {
            facts.count_returned(failure);
        }
        let fire = facts.fire.as_deref();
        let execution_id = facts.execution_id.as_deref().map(ExecutionId::as_str);
        MetricsLine {
            config: &self.app.config,
            facts: &facts,
            request_id: &self.invocation.request_id,
            agent_id: facts.ran.as_deref().or(fire).map(|fire| fire.task.agent_id.as_str()),
            trigger_id: fire.map(|fire| fire.trigger_id.as_str()).or_else(|| failure?.trigger_id.as_deref()),
            execution_id: execution_id.or_else(|| failure?.execution_id.as_deref()),
            trace: self.trace.as_ref(),
            failure,
            is_cold_start: Some(self.is_cold_start),
        }
        .print();
    }
}

/// Turns a panic of `future` into a failure. The panic hook has logged where it happened. The failure is retryable: if
/// the agent may have been called, the caller must make it final.
pub(crate) fn catch_panic<T>(future: impl Future<Output = T>) -> impl Future<Output = Result<T, Failure>> {
    AssertUnwindSafe(future)
        .catch_unwind()
        .map_err(|_| Failure::retryable(ErrorType::Internal, "the function panicked; its log says where"))
}

/// Polls both futures until `first` is done. Returns its output, and `second` for the caller to await, or a future of
/// its output if it is done.
///
/// The token and the trigger item are needed only if the claim succeeds, but both take as long as the claim does. The
/// trigger's admission and the input's write use the rest of the token's time. A panic in `second` must not lose the
/// claim's answer, because a claimed execution has to be given up in order. So the caller passes a `second` that
/// catches panics.
pub(crate) async fn poll_alongside<T, U: Future + Unpin>(
    first: impl Future<Output = T> + Unpin,
    second: U,
) -> (T, Either<U, Ready<U::Output>>) {
    match select(first, second).await {
        Either::Left((answer, second)) => (answer, Either::Left(second)),
        Either::Right((answer, first)) => (first.await, Either::Right(ready(answer))),
    }
}
