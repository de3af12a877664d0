//! Claiming an execution: decide from the stored row, act on the decision under its condition, decide again if refused.

use std::time::Duration;

use crate::{
    clock::{Deadline, now_millis},
    error::Failure,
    event::Fire,
    execution::{Decision, Lease, Me, Row, Status, decide},
    record::{Attempt, Ending},
    settle::interrupted,
    store::{Store, StoreError, Write},
};

/// How often a decision may be overtaken by another attempt's write.
const MAX_SWAPS: usize = 5;

/// What became of the claim.
#[derive(Debug)]
pub enum Claim {
    /// The execution is this attempt's, with the lease's end in milliseconds since 1970.
    Owned(i64),
    /// The execution ended before: what is stored.
    Ended(Row),
    /// Another attempt is at work.
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
pub async fn claim(
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
        let decision = decide(seen.as_ref(), now, lease, me);
        let lease_until = lease.until(now);
        let write = match (decision, seen) {
            (Decision::Claim(1), None) => {
                (attempt.started_at, attempt.ttl) = fresh_start.clone();
                attempt.attempt = 1;
                store.claim_new(fire, attempt, lease_until, now).await?
            }
            (Decision::Claim(number), Some(row)) => {
                continue_from(attempt, number, &row, now, &fresh_start);
                store.claim_over(fire, attempt, lease_until, &row).await?
            }
            (Decision::Mine, Some(row)) => {
                continue_from(attempt, row.attempt.unwrap_or(1), &row, now, &fresh_start);
                return Ok(Claim::Owned(row.lease_until.unwrap_or(now)));
            }
            (Decision::Replay, Some(row)) => return Ok(Claim::Ended(row)),
            (Decision::Duplicate, Some(row)) => return Ok(Claim::Duplicate(row)),
            (Decision::Cancel, Some(row)) => {
                let ending = Ending::new(Status::Cancelled, now, None);
                let write = store.end_abandoned(&fire.trigger_id, &attempt.execution_id, &ending, &row).await?;
                if matches!(write, Write::Done) {
                    return Ok(Claim::Cancelled(row));
                }
                write
            }
            (Decision::Interrupt, Some(row)) => {
                let failure = interrupted(&row);
                let ending = Ending::new(Status::Failed, now, Some(failure.clone()));
                let write = store.end_abandoned(&fire.trigger_id, &attempt.execution_id, &ending, &row).await?;
                if matches!(write, Write::Done) {
                    return Ok(Claim::Interrupted(failure));
                }
                write
            }
            (Decision::Wait, Some(_)) => {
                seen = look_again(store, fire, &attempt.execution_id, lease.heartbeat(), deadline).await?;
                continue;
            }
            (_, None) => return Err(ClaimError::Contended),
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
        match store.execution(&fire.trigger_id, execution_id).await {
            Ok(row) => return Ok(row),
            Err(error) => tracing::warn!(error = %error, "cannot see whether the other attempt is still at work"),
        }
    }
}
