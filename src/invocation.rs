//! One Lambda invocation: what Lambda says of it, and what is known of it when it ends, however it does.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::{FutureExt, TryFutureExt};

use crate::{
    app::App,
    clock::{Deadline, SystemClock},
    domain::{
        failure::{ErrorType, Failure},
        fire::Fire,
        run_state::RunState,
        trace::Trace,
    },
    telemetry::metrics::{self, MetricsLine},
};

/// What Lambda says of an invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Lambda's request id, the same on its own retries.
    pub request_id: String,
    /// The function that was invoked, with its version or alias if one was named.
    pub function_arn: String,
    /// When Lambda ends it, milliseconds since 1970.
    pub deadline_millis: u64,
    /// Lambda's X-Ray header.
    pub xray_trace_id: Option<String>,
}

/// An invocation under way.
pub(crate) struct InvocationContext<'a> {
    pub(crate) app: &'a App,
    pub(crate) invocation: &'a Invocation,
    pub(crate) deadline: Deadline,
    pub(crate) trace: Option<Trace>,
    pub(crate) state: Arc<RunState>,
    is_cold_start: bool,
}

impl<'a> InvocationContext<'a> {
    /// Begins an invocation.
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

    /// Notes the fire that the invocation is about. The first one counts.
    pub(crate) fn note_fire(&self, fire: Box<Fire>) -> Arc<Fire> {
        Arc::clone(self.state.facts().fire.get_or_insert_with(|| fire.into()))
    }

    /// Notes the execution of the fire, for everything that is logged of the invocation from now on.
    pub(crate) fn note_execution(&self, fire: &Fire, execution_id: String) -> Arc<str> {
        // Both fields at once: the log formats all of the span's fields anew each time.
        tracing::record_all!(tracing::Span::current(), triggerId = fire.trigger_id, executionId = execution_id);
        Arc::clone(self.state.facts().execution_id.get_or_insert_with(|| execution_id.into()))
    }

    /// Returns `failure` with the ids of what failed.
    pub(crate) fn with_ids(&self, failure: Failure) -> Failure {
        let facts = self.state.facts();
        let trigger_id = failure.trigger_id.or_else(|| facts.fire.as_ref().map(|fire| fire.trigger_id.clone()));
        let execution_id = failure.execution_id.or_else(|| facts.execution_id.as_deref().map(str::to_owned));
        Failure { trigger_id, execution_id, ..failure }
    }

    /// Prints the metrics of the invocation, which ends with this failure if it failed.
    pub(crate) fn emit_metrics(&self, failure: Option<&Failure>) {
        let mut facts = self.state.facts();
        if let Some(failure) = failure {
            facts.count_returned(failure);
        }
        let failed = |id: fn(&Failure) -> &Option<String>| failure.and_then(|failure| id(failure).as_deref());
        let fire = facts.fire.as_deref();
        MetricsLine {
            config: &self.app.config,
            facts: &facts,
            request_id: &self.invocation.request_id,
            agent_id: facts.ran.as_deref().or(fire).map(|fire| fire.task.agent_id.as_str()),
            trigger_id: fire.map(|fire| fire.trigger_id.as_str()).or(failed(|failure| &failure.trigger_id)),
            execution_id: facts.execution_id.as_deref().or(failed(|failure| &failure.execution_id)),
            trace: self.trace.as_ref(),
            failure,
            is_cold_start: Some(self.is_cold_start),
        }
        .print();
    }
}

/// Turns a panic of `future` into a failure. The panic hook has logged where it was.
pub(crate) fn catch_panic<T>(future: impl Future<Output = T>) -> impl Future<Output = Result<T, Failure>> {
    AssertUnwindSafe(future)
        .catch_unwind()
        .map_err(|_| Failure::retryable(ErrorType::Internal, "the function panicked; its log says where"))
}
