//! The work of a look at a detached run: it is dropped, sent again, or ends the run.

use std::time::Duration;

use crate::{
    clock::{Clock, rfc3339},
    domain::{
        execution::{ExecutionRef, Lease, MAX_SWAPS, Row},
        failure::Failure,
        look::{Look, LookAction, decide_look},
        trigger_snapshot::TriggerKnowledge,
    },
    lifecycle::{
        close::{CloseLimits, close_as_cancelled, close_as_overdue},
        detached::{DetachedError, cancel_later, hand_over_dead, look_later},
        looks::{Looks, Sessions, end_later, may_stop_session},
    },
    store::{Store, Write, error::StoreError, table::Table},
};

/// The most looks in a row that may fail before the queue must bring the next.
const MOST_TRIES: u32 = 20;
/// The time after which a look that failed comes again.
const AGAIN: Duration = Duration::from_secs(60);

/// The result of a look.
#[derive(Debug, Clone)]
pub enum Looked {
    /// Nothing was to be done, or the look failed and was sent again.
    Done,
    /// The run goes on, and a further look was sent. Holds the row.
    GoesOn(Box<Row>),
    /// The lease passed to the agent.
    HandedOver,
    /// The run was ended.
    Ended {
        /// The failure, unless it was cancelled.
        failure: Option<Failure>,
        /// The row before that.
        row: Box<Row>,
        /// True if a further look counts the end. Otherwise the caller must.
        is_counted: bool,
    },
    /// The run has ended. The caller must stop the agent's session, if [`may_stop_session`] allows it.
    AfterEnd {
        /// The row.
        row: Box<Row>,
        /// True if the caller must count the end, too.
        counts: bool,
    },
}

/// Looks at a detached run, as [`decide_look`] says: sends the next look if the lease is alive, and otherwise ends the
/// run, once the agent's session is stopped, or hands that of a dead attempt over to its agent. A run whose end was
/// requested is ended by a [`Purpose::Cancel`](crate::domain::look::Purpose::Cancel) look even if its agent's lease is
/// alive. After the end of a run a look is dropped, or leads to [`Looked::AfterEnd`]. A look that fails comes again
/// after a minute, at most [`MOST_TRIES`] times in a row: the queue itself would bring it only after its visibility
/// timeout, of 90 minutes or more. Such a look is `Done` here.
///
/// # Errors
/// Returns an error if DynamoDB gives no result, the next look could not be sent, or the row keeps changing, and the
/// look was not sent anew either. The queue must deliver it again.
pub async fn look<T: Table, C: Clock>(
    store: &Store<T, C>,
    looks: &impl Looks,
    sessions: &impl Sessions,
    lease: Lease,
    look: &Look,
    limits: CloseLimits<'_>,
) -> Result<Looked, DetachedError> {
    let failed = match look_once(store, looks, sessions, lease, look, limits).await {
        Err(failed) if look.tries < MOST_TRIES => failed,
        looked => return looked,
    };
    tracing::warn!(error = %failed, tries = look.tries, "a look failed: it comes again");
    let again = Look { tries: look.tries + 1, ..look.clone() };
    match looks.send(&again, AGAIN).await {
        Ok(()) => Ok(Looked::Done),
        Err(_) => Err(failed),
    }
}

/// Looks once: does what [`decide_look`] decides, and decides again if the row has changed meanwhile. Before it ends a
/// run, it stops the agent's session if that is the run's own, and then sends the look that counts the end and stops
/// the session once more a minute later: the first stop may have failed.
///
/// # Errors
/// Returns the errors of [`look`], for this one try.
async fn look_once<T: Table, C: Clock>(
    store: &Store<T, C>,
    looks: &impl Looks,
    sessions: &impl Sessions,
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
        let (write, failure, is_counted) = match action {
            LookAction::Drop => return Ok(Looked::Done),
            LookAction::AfterEnd(counts) => return Ok(Looked::AfterEnd { row: Box::new(seen), counts }),
            LookAction::Again(lease_until) | LookAction::AgainAndCancel(lease_until) => {
                if matches!(action, LookAction::AgainAndCancel(_)) {
                    cancel_later(looks, trigger_id, execution_id, &seen).await?;
                }
                let next = Look { tries: 0, ..look.clone() };
                look_later(looks, &next, lease, lease_until, now).await?;
                return Ok(Looked::GoesOn(Box::new(seen)));
            }
            LookAction::HandOver => match hand_over_dead(store, looks, lease, execution, seen).await? {
                None => return Ok(Looked::HandedOver),
                Some(found) => {
                    row = Some(found);
                    continue;
                }
            },
            LookAction::Cancel | LookAction::Overdue => {
                // The end frees the trigger's run lock, and the agent must not be at work beside the next run.
                if may_stop_session(&seen, execution_id) {
                    sessions.stop(&seen).await;
                }
                let now = store.clock.now_millis();
                let is_counted = end_later(&store.clock, looks, execution, &seen, &rfc3339(now)).await;
                if action == LookAction::Cancel {
                    let write = close_as_cancelled(store, execution, &trigger, &seen, now, limits).await?;
                    (write, None, is_counted)
                } else {
                    let write = close_as_overdue(store, execution, &trigger, &seen, now, limits).await?;
                    (write, Some(Failure::overdue(&seen)), is_counted)
                }
            }
        };
        match write {
            Write::Done => return Ok(Looked::Ended { failure, row: Box::new(seen), is_counted }),
            Write::Refused(found) => row = found,
        }
    }
    Err(StoreError::Contended.into())
}
