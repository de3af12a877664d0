//! Claiming an execution: decide from the stored row, act on the decision under its condition, decide again if refused.

use std::time::Duration;

use crate::{
    clock::{Deadline, now_millis},
    domain::execution::{Decision, Lease, Me, Row, Status, decide, is_retryable},
    domain::failure::Failure,
    domain::fire::Fire,
    lifecycle::results::{Conclusion, Of, end_of, write_result},
    store::endings,
    store::record::{Attempt, Ending},
    store::{Store, StoreError, Write, in_time},
    telemetry::metrics::Measured,
};

/// How often a decision may be overtaken by another attempt's write before it is given up.
pub(crate) const MAX_SWAPS: usize = 5;

/// What became of the claim.
#[derive(Debug)]
pub(crate) enum Claim {
    /// The execution is this attempt's, with the lease's end in milliseconds since 1970.
    Owned(i64),
    /// Another attempt is at work, or was: what is stored.
    Duplicate(Row),
    /// It was cancelled before anybody could run it.
    Cancelled(Row),
    /// An attempt had died: the failure now stored.
    Interrupted(Failure),
}

/// Why the execution could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The row changed under every decision.
    #[error("the execution changed {MAX_SWAPS} times while it was claimed")]
    Contended,
    /// Another attempt of this very request was at work until this one's time was up.
    #[error("another attempt of this request is still at work")]
    InProgress,
}

/// Claims the execution for `attempt`, whose number and start are set from what is stored; after an error they are those
/// of the claim that may have been written.
///
/// # Errors
/// If DynamoDB fails, the row keeps changing, or another attempt of this request outlasts the deadline.
pub(crate) async fn claim(
    store: &Store,
    fire: &Fire,
    attempt: &mut Attempt,
    lease: Lease,
    deadline: Deadline,
) -> Result<Claim, ClaimError> {
    let fresh_start = (attempt.started_at.clone(), attempt.ttl);
    let mut seen: Option<Row> = None;
    let mut swaps = 0;
    loop {
        let now = now_millis();
        let me = Me {
            owner: &attempt.owner,
            lambda_request_id: &attempt.lambda_request_id,
            rerun_if_interrupted: fire.rerun_if_interrupted,
        };
        let id = attempt.execution_id.clone();
        let id = id.as_str();
        let lease_until = lease.until(now);
        let decision = decide(seen.as_ref(), now, lease, me);
        let write = match (seen, decision) {
            (None, _) => {
                (attempt.started_at, attempt.ttl) = fresh_start.clone();
                attempt.attempt = 1;
                attempt.before = None;
                store.claim_new(fire, attempt, lease_until, now).await?
            }
            (Some(row), Decision::Claim(number)) => {
                continue_from(attempt, number, &row, now, &fresh_start);
                attempt.before = (number > 1).then(|| end_of(&row));
                store.claim_over(fire, attempt, lease_until, &row).await?
            }
            (Some(row), Decision::Mine) => {
                continue_from(attempt, row.attempt.unwrap_or(1), &row, now, &fresh_start);
                return Ok(Claim::Owned(row.lease_until.unwrap_or(now)));
            }
            (Some(row), Decision::Replay | Decision::Duplicate) => return Ok(Claim::Duplicate(row)),
            (Some(row), Decision::Cancel) => {
                let ending = Ending::new(Status::Cancelled, now, None);
                let write = store.write_part(endings::abandoned(&fire.trigger_id, id, &ending, &row, false)).await?;
                if matches!(write, Write::Done) {
                    return Ok(Claim::Cancelled(row));
                }
                write
            }
            (Some(row), Decision::Interrupt) => {
                let failure = Failure::interrupted(&row);
                let ending = Ending::new(Status::Failed, now, Some(failure.clone()));
                let part = |is_stored| endings::abandoned(&fire.trigger_id, id, &ending, &row, is_stored);
                let conclusion = Conclusion::interrupted(&failure, &row);
                let write = write_result(store, &Of::fire(fire, id), conclusion, now, part).await?;
                if matches!(write, Write::Done) {
                    return Ok(Claim::Interrupted(failure));
                }
                write
            }
            (Some(_), Decision::Wait) => {
                seen = look_again(store, fire, &attempt.execution_id, lease.heartbeat(), deadline).await?;
                continue;
            }
        };
        match write {
            Write::Done => return Ok(Claim::Owned(lease_until)),
            Write::Refused(row) => seen = row,
        }
        swaps += 1;
        if swaps > MAX_SWAPS {
            return Err(ClaimError::Contended);
        }
    }
}

/// The attempt as the next one of `row`, whose start stays the first attempt's; a row whose ttl has passed counts as
/// absent.
fn continue_from(attempt: &mut Attempt, number: u32, row: &Row, now: i64, (started_at, ttl): &(String, i64)) {
    let expired = row.ttl.is_some_and(|ttl| ttl <= now / 1000);
    attempt.attempt = number;
    attempt.started_at = row.started_at.clone().filter(|_| !expired).unwrap_or_else(|| started_at.clone());
    attempt.ttl = row.ttl.filter(|_| !expired).unwrap_or(*ttl);
}

/// Claims. After a failure one of the SDK's tries may have been applied all the same, so a claim is taken back: left
/// `running`, it would be taken for a run that died.
///
/// # Errors
/// Those of the claim.
pub(crate) async fn claim_or_give_up(
    store: &Store,
    fire: &Fire,
    attempt: &mut Attempt,
    lease: Lease,
    deadline: Deadline,
    measured: &Measured,
) -> Result<Claim, Failure> {
    let claiming = claim(store, fire, attempt, lease, deadline);
    let error = match tokio::time::timeout_at(deadline.run_until, claiming).await {
        Ok(Ok(claim)) => return Ok(claim),
        Ok(Err(error)) => error,
        Err(_) => ClaimError::Store(StoreError::OutOfTime),
    };
    let is_unknown = matches!(error, ClaimError::Store(_));
    let mut failure = Failure::from(error);
    if is_unknown {
        failure.retryable = is_retryable(failure.retryable, attempt.attempt);
        let ending = Ending::new(Status::Failed, now_millis(), Some(failure.clone()));
        let Attempt { execution_id, owner, .. } = &*attempt;
        let of = Of::fire(fire, execution_id);
        let part = |is_stored| endings::finished(&fire.trigger_id, execution_id, owner, &ending, is_stored);
        let taking_back = write_result(store, &of, Conclusion::of(&ending), now_millis(), part);
        match in_time(deadline.write_until, taking_back).await {
            Ok(Write::Done) => {
                if !failure.retryable {
                    measured.ended(Status::Failed);
                }
                tracing::warn!("the claim had been written and was taken back");
            }
            Ok(Write::Refused(_)) => tracing::info!("the claim had not been written"),
            Err(error) => tracing::warn!(error = %error, "it is unknown whether the claim was written"),
        }
    }
    Err(failure)
}

/// Waits, then reads the row; a failing read is no news, so it waits on.
async fn look_again(
    store: &Store,
    fire: &Fire,
    execution_id: &str,
    wait: Duration,
    deadline: Deadline,
) -> Result<Option<Row>, ClaimError> {
    loop {
        if !deadline.allows(wait) {
            return Err(ClaimError::InProgress);
        }
        tokio::time::sleep(wait).await;
        match in_time(deadline.run_until, store.execution(&fire.trigger_id, execution_id)).await {
            Ok(row) => return Ok(row),
            // It is the wait that is over: nothing was written.
            Err(StoreError::OutOfTime) => return Err(ClaimError::InProgress),
            Err(error) => tracing::warn!(error = %error, "cannot see whether the other attempt is still at work"),
        }
    }
}
