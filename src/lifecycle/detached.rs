//! Detached runs between their call and their end: the lease passes to the agent, looks find out whether it is over, and
//! silence ends the run. A look is sent before every step that leaves a run to the agent: there is no run without a timer.

use crate::{
    clock::Clock,
    domain::{
        detached::{CLEAN_UP, lease_of_unacknowledged, look_delay},
        execution::{CloseAction, DetachedState, ExecutionRef, Lease, MAX_SWAPS, Row, Status},
        failure::{ErrorType, Failure},
        look::{Look, Purpose},
        trigger_snapshot::TriggerKnowledge,
    },
    lifecycle::{
        close::{CloseLimits, close_as_cancelled, close_as_overdue},
        looks::{LookNotSent, Looks, look_at},
        report::stop_later,
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
    fn from(error: LookNotSent) -> Self {
        Self::retryable(ErrorType::DispatchFailed, error.to_string())
    }
}

impl From<DetachedError> for Failure {
    fn from(error: DetachedError) -> Self {
        match error {
            DetachedError::Store(error) => error.into(),
            DetachedError::Look(error) => error.into(),
        }
    }
}

/// Sends the look that comes when the agent's lease, which ends at `lease_until`, counts as over.
async fn look_later(
    looks: &impl Looks,
    look: &Look,
    lease: Lease,
    lease_until: i64,
    now: i64,
) -> Result<(), LookNotSent> {
    let skew = i64::try_from(lease.skew().as_millis()).unwrap_or(0);
    looks.send(look, look_delay(lease_until.saturating_add(skew), now)).await
}

/// Lets the lease of a detached run whose attempt died pass to its agent, which may be at work. The agent is never called
/// again, and gets `firstReportSeconds` for its first report. Returns the row that refused this if it has changed in what
/// matters: the caller then acts on that row.
///
/// # Errors
/// Returns an error if DynamoDB does not answer, no look could be sent, or the row keeps changing.
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
        let lease_until = lease_of_unacknowledged(now, row.first_report_seconds.unwrap_or_default(), deadline);
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

/// Does what the closing of an execution leaves to the timer. A dead attempt of a detached run is handed over, and the
/// session of an agent whose run was ended is stopped later. `row` is the row that decided the action.
///
/// # Errors
/// Returns the errors of [`hand_over_dead`].
pub async fn after_close<T: Table, C: Clock>(
    store: &Store<T, C>,
    looks: &impl Looks,
    lease: Lease,
    execution: ExecutionRef<'_>,
    action: CloseAction,
    row: Option<&Row>,
) -> Result<(), DetachedError> {
    let Some(row) = row.filter(|row| row.report_key.is_some()) else { return Ok(()) };
    match action {
        CloseAction::HandOver => {
            hand_over_dead(store, looks, lease, execution, row.clone()).await?;
        }
        CloseAction::Overdue => stop_later(looks, execution, &Row { status: Status::Failed, ..row.clone() }).await,
        CloseAction::Cancel => stop_later(looks, execution, &Row { status: Status::Cancelled, ..row.clone() }).await,
        _ => {}
    }
    Ok(())
}

/// The action of a look at a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookAction {
    /// Nothing is left to do.
    Drop,
    /// The run has ended: stop the agent's session.
    StopSession,
    /// The run has ended: count it.
    Count,
    /// Look again when the lease that ends at this time may be over.
    Again(i64),
    /// Somebody asked for the run's end, and the agent had its time. Write `cancelled`.
    Cancel,
    /// The agent's lease is over. Write `ReportOverdue`.
    Overdue,
    /// The attempt died. Let the lease pass to the agent.
    HandOver,
}

/// Decides what a look does. A look of another attempt changes nothing. The decision holds for this row only.
pub fn decide_look(row: Option<&Row>, look: &Look, now: i64, lease: Lease) -> LookAction {
    let row = row.filter(|row| !row.is_expired(now) && row.report_key.as_ref() == Some(&look.report_key));
    let Some(row) = row else { return LookAction::Drop };
    let is_cancelled = row.cancel_requested == Some(true);
    if row.status != Status::Running {
        return match look.purpose {
            Purpose::Stop => LookAction::StopSession,
            Purpose::Count => LookAction::Count,
            Purpose::Timer | Purpose::Cancel => LookAction::Drop,
        };
    }
    match (row.detached_state(now, lease), look.purpose) {
        // A stop comes after an end, and the end is not undone.
        (_, Purpose::Stop | Purpose::Count) => LookAction::Drop,
        (Some(_), Purpose::Cancel) if is_cancelled => LookAction::Cancel,
        (_, Purpose::Cancel) => LookAction::Drop,
        (Some(DetachedState::Overdue | DetachedState::Unacknowledged), Purpose::Timer) if is_cancelled => {
            LookAction::Cancel
        }
        (Some(DetachedState::Overdue), Purpose::Timer) => LookAction::Overdue,
        (Some(DetachedState::Unacknowledged), Purpose::Timer) => LookAction::HandOver,
        (Some(DetachedState::AtWork) | None, Purpose::Timer) => LookAction::Again(row.lease_until.unwrap_or(now)),
    }
}

/// The result of a look.
#[derive(Debug, Clone)]
pub enum Looked {
    /// Nothing was to be done, or a further look was sent.
    Done,
    /// The lease passed to the agent.
    HandedOver,
    /// The run was ended. Holds the failure, unless it was cancelled, and the row before that.
    Ended(Option<Failure>, Box<Row>),
    /// The caller must stop the agent's session. Holds the row.
    StopSession(Box<Row>),
    /// The caller must count the end. Holds the row.
    Counted(Box<Row>),
}

/// Looks at a detached run: drops the look if the run has ended, sends the next one if the lease is alive, and ends the
/// run if it is over.
///
/// # Errors
/// Returns an error if DynamoDB does not answer, the next look could not be sent, or the row keeps changing. The queue
/// must deliver the look again.
pub async fn look<T: Table, C: Clock>(
    store: &Store<T, C>,
    looks: &impl Looks,
    lease: Lease,
    look: &Look,
    limits: CloseLimits<'_>,
) -> Result<Looked, DetachedError> {
    let Look { trigger_id, execution_id, .. } = look;
    let mut row = store.execution(trigger_id, execution_id).await?;
    for _ in 0..=MAX_SWAPS {
        let now = store.clock.now_millis();
        let action = decide_look(row.as_ref(), look, now, lease);
        let Some(seen) = row.take() else { return Ok(Looked::Done) };
        let user_id = seen.user_id.clone().unwrap_or_default();
        let execution = ExecutionRef { user_id: &user_id, trigger_id, execution_id };
        let trigger = TriggerKnowledge::Unread;
        let (write, failure) = match action {
            LookAction::Drop => return Ok(Looked::Done),
            LookAction::StopSession => return Ok(Looked::StopSession(Box::new(seen))),
            LookAction::Count => return Ok(Looked::Counted(Box::new(seen))),
            LookAction::Again(lease_until) => {
                look_later(looks, look, lease, lease_until, now).await?;
                return Ok(Looked::Done);
            }
            LookAction::HandOver => match hand_over_dead(store, looks, lease, execution, seen).await? {
                None => return Ok(Looked::HandedOver),
                Some(found) => {
                    row = Some(found);
                    continue;
                }
            },
            LookAction::Cancel => (close_as_cancelled(store, execution, &trigger, &seen, now, limits).await?, None),
            LookAction::Overdue => {
                let write = close_as_overdue(store, execution, &trigger, &seen, now, limits).await?;
                (write, Some(Failure::overdue(&seen)))
            }
        };
        match write {
            Write::Done => {
                let status = if failure.is_some() { Status::Failed } else { Status::Cancelled };
                stop_later(looks, execution, &Row { status, ..seen.clone() }).await;
                return Ok(Looked::Ended(failure, Box::new(seen)));
            }
            Write::Refused(found) => row = found,
        }
    }
    Err(StoreError::Contended.into())
}

/// Asks for the end of an execution that is running or may be retried. The agent of a detached run hears of it with its
/// next report, and gets a minute to clean up: then a look ends the run. Returns the row as it is now, or the row that is
/// none of these.
///
/// # Errors
/// Returns an error if DynamoDB does not answer, or the look could not be sent. The end was then asked for all the same.
pub async fn cancel<T: Table, C: Clock>(
    store: &Store<T, C>,
    looks: &impl Looks,
    trigger_id: &str,
    execution_id: &str,
) -> Result<Option<Row>, DetachedError> {
    let row = store.ask_to_cancel(trigger_id, execution_id).await?;
    let Some(row) = row else { return Ok(None) };
    let is_asked = row.status == Status::Running && row.cancel_requested == Some(true);
    if is_asked && let Some(look) = look_at(&row, trigger_id, execution_id, Purpose::Cancel) {
        looks.send(&look, CLEAN_UP).await?;
    }
    Ok(Some(row))
}
