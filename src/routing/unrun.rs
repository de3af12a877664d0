//! A fire that this invocation does not run. Its execution is looked at first: an earlier attempt of the same request
//! may have claimed it and died, and what it read may have changed since.

use serde_json::Value;

use crate::{
    app::App,
    domain::{
        attempt::StartTime,
        close_decision::CloseAction,
        detour::Detour,
        ending::Ending,
        execution::{Row, Status},
        failure::Failure,
        fire::Fire,
        ids::ExecutionId,
    },
    invocation::InvocationContext,
    lifecycle::{
        abandoned::{CloseError, UnstartedExecution},
        close::{CloseLimits, execution_of},
        detached::after_close,
        earlier::Looker,
        identify::{identify, recall},
    },
    response::Response,
    store::error::StoreError,
};

/// A fire that this invocation does not run.
pub(super) struct Unrun<'a> {
    pub(super) context: &'a InvocationContext<'a>,
    pub(super) started: &'a StartTime,
    pub(super) fire: &'a Fire,
}

/// The result for a fire that is not run.
struct Closed {
    execution_id: ExecutionId,
    action: CloseAction,
    row: Option<Row>,
}

impl Unrun<'_> {
    /// Writes the record of the fire with `ending`, unless there is one already. Then an earlier delivery ran the fire,
    /// or died while it did, and the result is that of this record. Either result is counted. `is_of_many` is true if
    /// the event is for all subscribers. Then a failure that another request recorded is not returned again: the
    /// invocation that ran the trigger reports it.
    ///
    /// # Errors
    /// Returns the failure of `ending` once it is recorded, that of the record, or the errors of [`Self::close`].
    pub(super) async fn record(&self, ending: Ending, is_of_many: bool) -> Result<Value, Failure> {
        let (status, skip_reason, failure) = (ending.status, ending.skip_reason, ending.failure.clone());
        let Some(closed) = self.close(Some(ending)).await? else { return Ok(Value::Null) };
        self.context.state.facts().count_close(closed.action, status);
        let is_created = closed.action == CloseAction::Create;
        if let Some(row) = closed.row.as_ref().filter(|_| !is_created) {
            let is_own = row.lambda_request_id.as_ref() == Some(&self.context.invocation.request_id);
            return self.respond(&closed, row, is_of_many && !is_own);
        }
        match (failure, skip_reason) {
            (Some(failure), _) => Err(self.with_ids(failure, &closed.execution_id)),
            (None, Some(reason)) => Ok(Response::new(self.fire, &closed.execution_id).skipped(reason)),
            (None, None) => Ok(Value::Null),
        }
    }

    /// Ends what an earlier attempt of this request left, counts it, and returns the response for it. If there is no
    /// record, or only that of another user's trigger, nothing is written and the result is `None`.
    ///
    /// # Errors
    /// Returns the failure of the record, or the errors of [`Self::close`].
    pub(super) async fn look(&self, detour: Detour) -> Result<Option<Value>, Failure> {
        tracing::info!(detour = detour.as_str(), "looking for what an earlier attempt left");
        let Some(closed) = self.close(None).await? else { return Ok(None) };
        let Some(row) = &closed.row else { return Ok(None) };
        self.context.state.facts().count_close(closed.action, row.status);
        self.respond(&closed, row, false).map(Some)
    }

    /// Waits until no other attempt of this request works on the execution. Nothing is written. Without an execution
    /// there is nothing to wait for.
    ///
    /// # Errors
    /// Returns an error if the table gives no result, or the other attempt outlasts the deadline.
    pub(super) async fn wait(&self, detour: Detour) -> Result<(), Failure> {
        tracing::info!(detour = detour.as_str(), "waiting for what an earlier attempt left");
        let InvocationContext { app, deadline, .. } = self.context;
        let Some(id) = self.id(false).await? else { return Ok(()) };
        let waiting = self.looker().wait(&app.store, self.fire, &id);
        let waited = tokio::time::timeout_at(deadline.run_until, waiting).await;
        let waited = waited.unwrap_or(Err(StoreError::OutOfTime.into()));
        waited.map(|_| ()).map_err(|error| self.with_ids(error.into(), &id))
    }

    /// Returns a looker for this request, which looks at executions and ends them until the invocation's time is nearly
    /// up.
    fn looker(&self) -> Looker<'_> {
        let InvocationContext { app, invocation, deadline, state, .. } = self.context;
        let limits = CloseLimits { until: deadline.run_until, state };
        Looker { lambda_request_id: &invocation.request_id, lease: app.lease(), deadline: *deadline, limits }
    }

    /// Returns the execution's id. With `writes`, the id of a fire that only its request identifies is remembered if it
    /// is new. Otherwise nothing is written, and such a fire has none, `None`, unless an earlier attempt remembered it.
    ///
    /// # Errors
    /// Returns an error if the table gives no result in time.
    async fn id(&self, writes: bool) -> Result<Option<ExecutionId>, Failure> {
        let InvocationContext { app: App { store, .. }, invocation, deadline, .. } = self.context;
        let request_id = &invocation.request_id;
        let identifying = async {
            if writes {
                return identify(store, self.fire, request_id, self.started).await.map(Some);
            }
            recall(store, self.fire, request_id, self.started).await
        };
        Ok(store.in_time(deadline.run_until, identifying).await?.map(ExecutionId::from))
    }

    /// Ends the execution if nobody works on it, as [`Looker::end`] and then [`after_close`] do, and returns the action
    /// with the row that decided it. Notes the execution if the invocation has noted a fire. If there is no record, or
    /// its ttl has passed, one with `ending` is written. Without `ending`, nothing is written then, and the result is
    /// `None`, as it is for the record of another user's trigger. With an `ending`, such a record is an error.
    ///
    /// # Errors
    /// Returns an error without ids if the execution's id cannot be had in time, and one with the fire's ids if the row
    /// cannot be closed in time, is another user's, or cannot be left to its agent.
    async fn close(&self, ending: Option<Ending>) -> Result<Option<Closed>, Failure> {
        let InvocationContext { app, invocation, deadline, state, .. } = self.context;
        let is_look = ending.is_none();
        let Some(execution_id) = self.id(!is_look).await? else { return Ok(None) };
        let unstarted = ending.map(|ending| UnstartedExecution {
            fire: self.fire,
            started: self.started,
            lambda_request_id: &invocation.request_id,
            attempt: 1,
            ending,
        });
        let closing = self.looker().end(&app.store, self.fire, &execution_id, unstarted.as_ref());
        let closed = tokio::time::timeout_at(deadline.run_until, closing).await;
        let closed = closed.unwrap_or(Err(StoreError::OutOfTime.into()));
        let is_other = matches!(closed, Err(CloseError::OfAnotherUser(_))) || matches!(closed, Ok((_, None)));
        if is_look && is_other {
            return Ok(None);
        }
        let is_this_fire = state.facts().fire.is_some();
        if is_this_fire {
            self.context.note_execution(self.fire, execution_id.clone());
        }
        let closed = closed.map_err(|error| self.with_ids(error.into(), &execution_id))?;
        let execution = execution_of(self.fire, &execution_id);
        let after = after_close(&app.store, &app.settle_queue, app.lease(), execution, closed).await;
        let (action, row) = after.map_err(|error| self.with_ids(error.into(), &execution_id))?;
        Ok(Some(Closed { execution_id, action, row }))
    }

    /// Returns the response for a fire that has a record, by the action that was taken on it:
    ///
    /// - It was cancelled now: the response of a cancelled run.
    /// - `is_reported_elsewhere`: the response of a duplicate, whatever the record says.
    /// - It was ended now as interrupted or overdue, or has failed: that failure, as an error.
    /// - Its agent works on it: the response of a detached run.
    /// - Otherwise: the response of a duplicate.
    fn respond(&self, closed: &Closed, row: &Row, is_reported_elsewhere: bool) -> Result<Value, Failure> {
        let Closed { execution_id, action, .. } = closed;
        let response = Response::new(self.fire, execution_id);
        let failure = match action {
            CloseAction::Cancel => return Ok(response.cancelled(row.session_id.as_deref())),
            _ if is_reported_elsewhere => return Ok(response.duplicate(row)),
            CloseAction::Interrupt => Failure::interrupted(row),
            CloseAction::Overdue => Failure::overdue(row),
            CloseAction::Detached | CloseAction::HandOver => {
                return Ok(response.detached(row.session_id.as_deref().unwrap_or_default()));
            }
            _ if row.status == Status::Failed => Failure::of_row(row),
            _ => return Ok(response.duplicate(row)),
        };
        Err(self.with_ids(failure, execution_id))
    }

    /// Returns the failure with the ids of the fire's trigger and of the execution.
    fn with_ids(&self, failure: Failure, execution_id: &ExecutionId) -> Failure {
        let trigger_id = Some(self.fire.trigger_id.clone());
        Failure { trigger_id, execution_id: Some(execution_id.clone()), ..failure }
    }
}
