//! Detached runs between their call and their end: the lease passes to the agent, looks find out whether it is over,
//! and silence ends the run. A look is sent before every step that leaves a run to the agent: there is no run without a
//! timer.

use std::time::Duration;

use crate::{
    backoff,
    clock::{Clock, Deadline},
    domain::{
        close_decision::CloseAction,
        detached::{CLEAN_UP, Detachment, lease_of_unacknowledged, look_delay},
        execution::{DetachedState, ExecutionRef, Lease, MAX_SWAPS, Row, Status},
        failure::{ErrorType, Failure},
        look::{Look, Purpose},
    },
    lifecycle::{
        lease::{OwnedExecution, RunStop, Stop},
        looks::{LookNotSent, Looks, look_at, stop_later},
    },
    store::{Store, Write, detached::HandOver, error::StoreError, table::Table},
};

/// A detached run could not be left to its agent, or looked at.
#[derive(Debug, thiserror::Error)]
pub enum DetachedError {
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There would be no timer.
    #[error(transparent)]
    Look(#[from] LookNotSent),
}

impl From<LookNotSent> for Failure {
    /// Returns a retryable failure `DispatchFailed`.
    fn from(error: LookNotSent) -> Self {
        Self::retryable(ErrorType::DispatchFailed, error.to_string())
    }
}

impl From<DetachedError> for Failure {
    /// Returns the failure of the cause.
    fn from(error: DetachedError) -> Self {
        match error {
            DetachedError::Store(error) => error.into(),
            DetachedError::Look(error) => error.into(),
        }
    }
}

/// Sends the look that comes when the agent's lease, which ends at `lease_until`, counts as over: after its end and the
/// tolerated skew, or sooner if SQS cannot wait so long. Both times are in milliseconds since 1970.
///
/// # Errors
/// Returns an error if the look was not sent, or if this is unknown.
pub(super) async fn look_later(
    looks: &impl Looks,
    look: &Look,
    lease: Lease,
    lease_until: i64,
    now: i64,
) -> Result<(), LookNotSent> {
    looks.send(look, look_delay(lease.over_after(lease_until), now)).await
}

/// Lets the lease of a detached run whose attempt died pass to its agent, which may be at work. The agent is never
/// called again, and gets `firstReportSeconds` for its first report. One that has reported already has the lease until
/// the run's deadline. The look at the end of that lease is sent first. Returns `None` once the agent has the lease.
/// Returns the row if the run is no such one, or not any more, or if its end was requested: the caller then acts on
/// that row.
///
/// # Errors
/// Returns an error if DynamoDB gives no result, no look could be sent, or the row keeps changing or is gone.
pub async fn hand_over_dead<T: Table, C: Clock>(
    store: &Store<T, C>,
    looks: &impl Looks,
    lease: Lease,
    execution: ExecutionRef<'_>,
    mut row: Row,
) -> Result<Option<Row>, DetachedError> {
    for _ in 0..=MAX_SWAPS {
        let now = store.clock.now_millis();
        let is_unacknowledged = row.detached_state(now, lease) == Some(DetachedState::Unacknowledged);
        let look = look_at(&row, execution.trigger_id, execution.execution_id, Purpose::Timer);
        let Some(look) = look.filter(|_| is_unacknowledged && row.cancel_requested != Some(true)) else {
            return Ok(Some(row));
        };
        let deadline = row.deadline.unwrap_or(now);
        let lease_until = lease_of_unacknowledged(now, row.first_report_seconds, deadline);
        look_later(looks, &look, lease, lease_until, now).await?;
        let facts = HandOver { lease_until, is_ack_lost: true, ..HandOver::default() };
        match store.hand_over_dead(execution, &row, facts, now).await? {
            Write::Done => {
                tracing::warn!("the attempt died: the run is left to its agent, whose acknowledgement is lost");
                return Ok(None);
            }
            Write::Refused(Some(found)) => row = found,
            Write::Refused(None) => return Err(StoreError::Unreadable.into()),
        }
    }
    Err(StoreError::Contended.into())
}

/// Makes the row, the run lock and the timer ready for a call after which the attempt may die. `claimed` is what the
/// claim has written, `run` what the run is by now, with the delay of its first look. `ttl` is the row's, in seconds
/// since 1970, and becomes later if the deadline of `run` wants it. Without `run` the run is no detached one, and
/// only what the claim wrote is removed.
///
/// # Errors
/// Returns the loss of the lease or of the run lock, and a retryable failure if the table gives no result or no look
/// could be sent: there is no call without a timer.
pub async fn arm<T: Table, C: Clock>(
    held: &OwnedExecution<'_, T, C>,
    looks: &impl Looks,
    claimed: Option<&Detachment>,
    run: Option<(&Detachment, Duration)>,
    ttl: i64,
) -> Result<(), RunStop> {
    let detachment = run.map(|(detachment, _)| detachment);
    if detachment != claimed
        && let Write::Refused(_) = held.store.set_detachment(held.holder, detachment, ttl).await?
    {
        return Err(RunStop::Stopped(Stop::Lost));
    }
    let Some((detachment, first_look)) = run else { return Ok(()) };
    held.hold_run_lock(detachment.turn_until()).await?;
    let ExecutionRef { trigger_id, execution_id, .. } = held.holder.execution;
    let look = Look::new(trigger_id, execution_id, detachment.report_key.clone(), Purpose::Timer);
    Ok(looks.send(&look, first_look).await?)
}

/// The state of a detached run that its attempt has left, or has lost.
#[derive(Debug)]
pub enum Left {
    /// The lease is the agent's.
    ToAgent,
    /// The agent has reported the run's end. Holds the row.
    Ended(Box<Row>),
    /// The row is still this attempt's, and was not handed over.
    Own,
    /// Another attempt owns the execution.
    Lost,
}

/// Lets the lease of an attempt pass to its agent, and repeats this until the time of the last write. The run lock, if
/// the attempt has one, is the agent's then. `facts` returns what is written at a time, in milliseconds since 1970. Its
/// second argument says whether the agent is known to have reported before. A hand-over whose answer was lost, and one
/// that another invocation made because it took this attempt for dead, count like this one.
///
/// # Errors
/// Returns the table's failure. Then a look, or Lambda's retry, hands the run over without its acknowledgement. The
/// attempt still has the run lock.
pub async fn leave_to_agent<T: Table, C: Clock>(
    held: &OwnedExecution<'_, T, C>,
    report_key: &str,
    facts: impl Fn(i64, bool) -> HandOver,
    deadline: Deadline,
) -> Result<Left, StoreError> {
    let mut waits = backoff::endless();
    let mut has_reported = false;
    loop {
        let now = held.store.clock.now_millis();
        let handing = held.store.hand_over(held.holder, facts(now, has_reported), now);
        let error = match held.store.in_time(deadline.write_until, handing).await {
            Ok(Write::Done) => {
                held.forget_run_lock();
                return Ok(Left::ToAgent);
            }
            Ok(Write::Refused(row)) => {
                let is_awaited = row.as_ref().is_some_and(|row| row.first_report_seconds.is_some());
                match left_as(held, report_key, row) {
                    // The agent has reported, so its first report is not waited for.
                    Left::Own if !has_reported && !is_awaited => {
                        has_reported = true;
                        continue;
                    }
                    left => return Ok(left),
                }
            }
            Err(error) => error,
        };
        let wait = waits.next().unwrap_or_default();
        if held.store.clock.instant() + wait >= deadline.write_until {
            return Err(error);
        }
        tracing::warn!(error = %error, "the run is not left to its agent yet, trying again");
        held.store.clock.sleep(wait).await;
    }
}

/// Finds out why an attempt has lost its lease: its agent may have reported the end before the hand-over. If the agent
/// has the lease, the run lock is left to it.
///
/// # Errors
/// Returns an error if DynamoDB gives no result.
pub async fn why_lost<T: Table, C: Clock>(
    held: &OwnedExecution<'_, T, C>,
    report_key: &str,
    deadline: Deadline,
) -> Result<Left, StoreError> {
    let ExecutionRef { trigger_id, execution_id, .. } = held.holder.execution;
    let reading = held.store.execution(trigger_id, execution_id);
    Ok(left_as(held, report_key, held.store.in_time(deadline.write_until, reading).await?))
}

/// Returns what a row that refused the attempt says about its detached run. The row of another report key, and none, is
/// `Lost`. One that is not running has `Ended`. One that was handed over is the agent's, `ToAgent`: the run lock is
/// then left to it. One that names this attempt as owner is its `Own`. Any other running row is `Lost`.
fn left_as<T: Table, C: Clock>(held: &OwnedExecution<'_, T, C>, report_key: &str, row: Option<Row>) -> Left {
    match row.filter(|row| row.report_key.as_deref() == Some(report_key)) {
        Some(row) if row.status != Status::Running => Left::Ended(Box::new(row)),
        Some(row) if row.detached_at.is_some() => {
            held.forget_run_lock();
            Left::ToAgent
        }
        Some(row) if row.owner.as_deref() == Some(held.holder.owner) => Left::Own,
        _ => Left::Lost,
    }
}

/// Hands the run of a dead attempt to its agent, as [`hand_over_dead`] does. Returns `None` once the agent has the
/// lease, or the row if the run has ended, or was the agent's already.
///
/// # Errors
/// Returns the errors of [`hand_over_dead`], and [`StoreError::Contended`] for any other row: the attempt lives or
/// failed retryably, or the run's end was requested. The next delivery decides.
pub async fn hand_over_once<T: Table, C: Clock>(
    store: &Store<T, C>,
    looks: &impl Looks,
    lease: Lease,
    execution: ExecutionRef<'_>,
    row: Row,
) -> Result<Option<Row>, DetachedError> {
    let found = hand_over_dead(store, looks, lease, execution, row).await?;
    let is_decided = |row: &Row| match row.status {
        Status::Running => row.detached_at.is_some(),
        Status::Failed => !row.retryable,
        Status::Completed | Status::Cancelled | Status::Skipped => true,
    };
    match found {
        Some(row) if !is_decided(&row) => Err(StoreError::Contended.into()),
        found => Ok(found),
    }
}

/// Does what the closing of an execution leaves to the timer. A dead attempt of a detached run is handed over, and the
/// session of an agent whose run was ended is stopped later. `row` is the row that decided the action. Returns the
/// action and the row that count then: a run that was to be handed over may have ended meanwhile.
///
/// # Errors
/// Returns the errors of [`hand_over_once`].
pub async fn after_close<T: Table, C: Clock>(
    store: &Store<T, C>,
    looks: &impl Looks,
    lease: Lease,
    execution: ExecutionRef<'_>,
    (action, row): (CloseAction, Option<Row>),
) -> Result<(CloseAction, Option<Row>), DetachedError> {
    let Some(seen) = row.as_ref().filter(|row| row.report_key.is_some()) else { return Ok((action, row)) };
    match action {
        CloseAction::HandOver => {
            let found = hand_over_once(store, looks, lease, execution, seen.clone()).await?;
            return Ok(match found {
                Some(row) if row.status == Status::Running => (CloseAction::Detached, Some(row)),
                Some(row) => (CloseAction::Nothing, Some(row)),
                None => (action, row),
            });
        }
        CloseAction::Overdue | CloseAction::Cancel => stop_later(looks, execution, seen).await,
        _ => {}
    }
    Ok((action, row))
}

/// Asks for the end of an execution that is running or may be retried: the request is written into its row. An
/// attempt at work stops with its next heartbeat, and a later one does not call the agent. The agent of a detached
/// run hears of it with its next report. A look ends that run a minute after this call, whether the agent has heard
/// of it or not. While an invocation has the lease, the look comes again. Returns the row as it is then. An execution
/// that has ended is left as it is, and its row is returned. Returns `None` if there is no row.
///
/// # Errors
/// Returns an error if DynamoDB gives no result, or the row is unreadable: the end may have been asked for. Returns an
/// error, too, if the look was not sent, or if this is unknown: the end was asked for. All of it may be repeated.
pub async fn cancel<T: Table, C: Clock>(
    store: &Store<T, C>,
    looks: &impl Looks,
    trigger_id: &str,
    execution_id: &str,
) -> Result<Option<Row>, DetachedError> {
    let Some(row) = store.ask_to_cancel(trigger_id, execution_id).await? else { return Ok(None) };
    cancel_later(looks, trigger_id, execution_id, &row).await?;
    Ok(Some(row))
}

/// Sends the look that ends a detached run a minute after its end was asked for. `row` is its row after that. Nothing
/// is sent if the run is no detached one, has ended, or its end was not asked for.
///
/// # Errors
/// Returns an error if the look was not sent, or if this is unknown.
pub(crate) async fn cancel_later(
    looks: &impl Looks,
    trigger_id: &str,
    execution_id: &str,
    row: &Row,
) -> Result<(), LookNotSent> {
    let is_asked = row.status == Status::Running && row.cancel_requested == Some(true);
    match look_at(row, trigger_id, execution_id, Purpose::Cancel).filter(|_| is_asked) {
        Some(look) => looks.send(&look, CLEAN_UP).await,
        None => Ok(()),
    }
}
