//! Looks at what an earlier attempt of the same Lambda request left, if this invocation does not run the execution
//! itself. It waits for a living attempt, and ends the execution of a dead one.

use std::time::Duration;

use crate::{
    clock::{Clock, Deadline},
    domain::{
        close_decision::CloseAction,
        execution::{Lease, Row, Status},
        fire::Fire,
    },
    lifecycle::abandoned::{CloseError, InProgress, UnstartedExecution, close_abandoned},
    lifecycle::close::CloseLimits,
    store::{Store, error::StoreError, table::Table},
};

/// The invocation that looks.
#[derive(Debug, Clone, Copy)]
pub struct Looker<'a> {
    /// Its Lambda request.
    pub lambda_request_id: &'a str,
    /// The lease's times.
    pub lease: Lease,
    /// The invocation's time limits.
    pub deadline: Deadline,
    /// The bounds of a close.
    pub limits: CloseLimits<'a>,
}

impl Looker<'_> {
    /// Returns true if another attempt of this request is at work on the execution of `row`: it is running, its lease
    /// lasts at `now`, and the lease is not its agent's. Nobody waits for the agent of a detached run.
    fn must_wait_for(&self, row: &Row, now: i64) -> bool {
        row.status == Status::Running
            && row.detached_at.is_none()
            && self.lease.is_alive(row.lease_until, now)
            && row.lambda_request_id.as_deref() == Some(self.lambda_request_id)
    }

    /// Ends the execution of a fire that this invocation does not run. Waits while another attempt of this request
    /// holds the lease. An attempt of another request is not waited for: the action is `Alive`. If there is no row, or
    /// its ttl has passed, `unstarted` is written. Without `unstarted` nothing is written then, and the action is
    /// `Nothing` without a row. Returns the action that was taken, with the row that decided it.
    ///
    /// # Errors
    /// Returns the errors of [`close_abandoned`], and [`InProgress`] if the other attempt outlasts the deadline.
    pub async fn end<T: Table, C: Clock>(
        self,
        store: &Store<T, C>,
        fire: &Fire,
        execution_id: &str,
        unstarted: Option<&UnstartedExecution<'_>>,
    ) -> Result<(CloseAction, Option<Row>), CloseError> {
        let mut row = match unstarted {
            // Writing it shows the row that is there instead.
            Some(_) => None,
            None => self.wait(store, fire, execution_id).await?,
        };
        let is_expired = |row: &Row| row.is_expired(store.clock.now_millis());
        if unstarted.is_none() && row.as_ref().is_none_or(is_expired) {
            return Ok((CloseAction::Nothing, None));
        }
        loop {
            let closing = close_abandoned(store, self.lease, fire, execution_id, row, unstarted, self.limits);
            let (action, seen) = closing.await?;
            let must_wait = seen.as_ref().is_some_and(|row| self.must_wait_for(row, store.clock.now_millis()));
            if action != CloseAction::Alive || !must_wait {
                return Ok((action, seen));
            }
            row = look_again(store, fire, execution_id, self.lease.heartbeat(), self.deadline).await?;
        }
    }

    /// Waits until no other attempt of this request holds the lease, and returns the row as it is then.
    ///
    /// # Errors
    /// Returns an error if the first read fails, or the other attempt outlasts the deadline. A later read that fails is
    /// repeated.
    pub async fn wait<T: Table, C: Clock>(
        self,
        store: &Store<T, C>,
        fire: &Fire,
        execution_id: &str,
    ) -> Result<Option<Row>, CloseError> {
        let mut row = store.execution(&fire.trigger_id, execution_id).await?;
        while row.as_ref().is_some_and(|row| self.must_wait_for(row, store.clock.now_millis())) {
            row = look_again(store, fire, execution_id, self.lease.heartbeat(), self.deadline).await?;
        }
        Ok(row)
    }
}

/// Waits for `wait`, then reads the row, if there is one. If the read fails, it waits and reads again.
///
/// # Errors
/// Returns an error if the run's time does not last for another wait and read.
pub(crate) async fn look_again<T: Table, C: Clock>(
    store: &Store<T, C>,
    fire: &Fire,
    execution_id: &str,
    wait: Duration,
    deadline: Deadline,
) -> Result<Option<Row>, InProgress> {
    loop {
        if !deadline.allows(&store.clock, wait) {
            return Err(InProgress);
        }
        store.clock.sleep(wait).await;
        match store.in_time(deadline.run_until, store.execution(&fire.trigger_id, execution_id)).await {
            Ok(row) => return Ok(row),
            // The time is up, and nothing was written.
            Err(StoreError::OutOfTime) => return Err(InProgress),
            Err(error) => tracing::warn!(error = %error, "cannot see whether the other attempt is still at work"),
        }
    }
}
