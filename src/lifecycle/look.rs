//! The work of a look at a detached run: it is dropped, sent again, or ends the run.

use std::time::Duration;

use crate::{
    clock::{Clock, rfc3339},
    domain::{
        execution::{DetachedState, ExecutionRef, Lease, MAX_SWAPS, Row, Status},
        failure::Failure,
        look::{Look, Purpose},
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

/// The action of a look at a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookAction {
    /// Nothing is left to do.
    Drop,
    /// The run has ended: stop the agent's session, and count the end if this is true.
    AfterEnd(bool),
    /// Look again when the lease that ends at this time may be over.
    Again(i64),
    /// The same. Somebody asked for the run's end, so send the look that ends it first: nobody knows whether that was
    /// sent.
    AgainAndCancel(i64),
    /// Somebody asked for the run's end, and the agent had its time. Write `cancelled`.
    Cancel,
    /// The agent's lease is over. Write `ReportOverdue`.
    Overdue,
    /// The attempt died. Let the lease pass to the agent.
    HandOver,
}

/// Decides what a look does. A look of another attempt, and one at no row or an expired one, is dropped.
///
/// - The run has ended: an `End` look leads to `AfterEnd`, which counts the end if the look was sent for this end,
///   unless a further attempt may come. Any other look is dropped.
/// - It is running: an `End` look is dropped.
/// - A `Cancel` look ends a run whose end was requested. If an invocation still has the lease, it comes again. Without
///   a request it is dropped.
/// - A `Timer` look comes again while a lease lasts, and if the end of an agent's run was requested, a `Cancel` look is
///   sent too. Once the lease is over, it cancels the run if that was requested, and otherwise ends an agent's run as
///   overdue, and hands over that of a dead attempt.
///
/// The decision holds for this row only.
pub fn decide_look(row: Option<&Row>, look: &Look, now: i64, lease: Lease) -> LookAction {
    let row = row.filter(|row| !row.is_expired(now) && row.report_key.as_ref() == Some(&look.report_key));
    let Some(row) = row else { return LookAction::Drop };
    let is_cancelled = row.cancel_requested == Some(true);
    if row.status != Status::Running {
        return match look.purpose {
            // A next attempt may work in the session of one that failed retryably.
            Purpose::End if !row.retryable => {
                LookAction::AfterEnd(look.counts_end_at.is_some() && look.counts_end_at == row.completed_at)
            }
            Purpose::End | Purpose::Timer | Purpose::Cancel => LookAction::Drop,
        };
    }
    match (row.detached_state(now, lease), look.purpose) {
        // The end was not written. The one that will be has its own look.
        (_, Purpose::End) => LookAction::Drop,
        (Some(_), Purpose::Cancel) if is_cancelled => LookAction::Cancel,
        // The invocation may leave the run to its agent before it sees the request.
        (None, Purpose::Cancel) if is_cancelled => LookAction::Again(row.lease_until.unwrap_or(now)),
        (_, Purpose::Cancel) => LookAction::Drop,
        (Some(DetachedState::Overdue | DetachedState::Unacknowledged), Purpose::Timer) if is_cancelled => {
            LookAction::Cancel
        }
        (Some(DetachedState::Overdue), Purpose::Timer) => LookAction::Overdue,
        (Some(DetachedState::Unacknowledged), Purpose::Timer) => LookAction::HandOver,
        (Some(DetachedState::AtWork), Purpose::Timer) if is_cancelled => {
            LookAction::AgainAndCancel(row.lease_until.unwrap_or(now))
        }
        (Some(DetachedState::AtWork) | None, Purpose::Timer) => LookAction::Again(row.lease_until.unwrap_or(now)),
    }
}

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
    /// The run has ended. The caller must stop the agent's session.
    AfterEnd {
        /// The row.
        row: Box<Row>,
        /// True if the caller must count the end, too.
        counts: bool,
    },
}

/// Looks at a detached run: drops the look if the run has ended, sends the next one if the lease is alive, and ends the
/// run if it is over, once the agent's session is stopped. A look that fails comes again after a minute, at most
/// [`MOST_TRIES`] times in a row: the queue itself would bring it only after its visibility timeout, of 90 minutes or
/// more. Such a look is `Done` here.
///
/// # Errors
/// Returns an error if DynamoDB does not answer, the next look could not be sent, or the row keeps changing, and the
/// look could not be sent anew either. The queue must deliver it again.
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;
    const LEASE: Lease = Lease(Duration::from_secs(30));
    const ENDED: &str = "2026-01-31T07:00:00.000Z";

    #[test]
    fn what_a_look_does() {
        let row = |status, lease_until| Row {
            status,
            report_key: Some("key".into()),
            lease_until: Some(lease_until),
            ..Row::default()
        };
        let (alive, over) = (NOW, NOW - 5_001);
        let called = |until| row(Status::Running, until);
        let left = |until| Row { detached_at: Some("then".into()), ..called(until) };
        let cancelled = |row: Row| Row { cancel_requested: Some(true), ..row };
        let ended = row(Status::Completed, over);
        let ended_at = |at: &str| Row { completed_at: Some(at.into()), ..ended.clone() };
        use LookAction::{AfterEnd, Again, AgainAndCancel, Cancel, Drop, HandOver, Overdue};
        for (name, row, timer, cancel, end) in [
            ("the invocation's", called(alive), Again(alive), Drop, Drop),
            ("the invocation's, cancel asked", cancelled(called(alive)), Again(alive), Again(alive), Drop),
            ("unacknowledged", called(over), HandOver, Drop, Drop),
            ("unacknowledged, cancel asked", cancelled(called(over)), Cancel, Cancel, Drop),
            ("the agent's", left(alive), Again(alive), Drop, Drop),
            ("the agent's, cancel asked", cancelled(left(alive)), AgainAndCancel(alive), Cancel, Drop),
            ("silent", left(over), Overdue, Drop, Drop),
            ("silent, cancel asked", cancelled(left(over)), Cancel, Cancel, Drop),
            ("ended", ended.clone(), Drop, Drop, AfterEnd(false)),
            ("ended then", ended_at(ENDED), Drop, Drop, AfterEnd(true)),
            ("ended at another time", ended_at("2026-01-31T07:00:00.001Z"), Drop, Drop, AfterEnd(false)),
            ("to be retried", Row { status: Status::Failed, retryable: true, ..ended.clone() }, Drop, Drop, Drop),
            ("expired", Row { ttl: Some(0), ..left(over) }, Drop, Drop, Drop),
            ("of another attempt", Row { report_key: Some("other".into()), ..left(over) }, Drop, Drop, Drop),
            ("of no detached run", Row { report_key: None, ..called(over) }, Drop, Drop, Drop),
        ] {
            for (purpose, expected) in [(Purpose::Timer, timer), (Purpose::Cancel, cancel), (Purpose::End, end)] {
                let look = Look {
                    trigger_id: "t".into(),
                    execution_id: "e".into(),
                    report_key: "key".into(),
                    purpose,
                    tries: 0,
                    counts_end_at: Some(ENDED.into()),
                };
                assert_eq!(decide_look(Some(&row), &look, NOW, LEASE), expected, "{name}, {purpose:?}");
            }
        }
    }
}
