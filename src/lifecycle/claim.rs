//! Claims an execution: decides by the stored row, acts on the decision under its condition, and decides again if the
//! condition is refused.

use crate::{
    clock::{Clock, Deadline},
    domain::{
        attempt::Attempt,
        claim_decision::{ClaimDecision, Claimant, decide_claim},
        ending::Ending,
        execution::{ExecutionRef, Lease, MAX_SWAPS, Row, Status, is_retryable},
        failure::{ErrorType, Failure},
        fire::Fire,
        run_state::RunState,
        shared_id::{OfAnotherUser, check_user},
    },
    lifecycle::{
        abandoned::InProgress,
        close::{
            CloseLimits, FinalResult, close, close_as_cancelled, close_as_interrupted, close_as_overdue, execution_of,
            knowledge_of,
        },
        earlier::look_again,
    },
    store::{Store, Write, endings::EndingWrite, error::StoreError, table::Table},
};

/// The result of a claim.
#[derive(Debug)]
pub enum Claim {
    /// This attempt owns the execution. Holds the lease's end in milliseconds since 1970.
    Owned(i64),
    /// Another attempt is at work, or the execution has ended. Holds the stored row.
    Duplicate(Row),
    /// The execution was to be cancelled and nobody works on it, so it is cancelled now. Holds the row before that.
    Cancelled(Row),
    /// An attempt had died, or the agent of a detached run was silent for too long. Holds the failure that is now
    /// stored, and the row before that.
    Interrupted(Failure, Row),
    /// The agent of a detached run works on it. Holds the row.
    Detached(Row),
    /// The attempt of a detached run died, and the lease must pass to the agent. Holds the row. The caller does this,
    /// because it needs the timer ([`crate::lifecycle::detached`]).
    Unacknowledged(Row),
}

/// The reason why the execution could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The row changed under every decision.
    #[error("the execution changed {MAX_SWAPS} times while it was claimed")]
    Contended,
    /// Another attempt of the same Lambda request was at work until this one's time was up.
    #[error(transparent)]
    InProgress(#[from] InProgress),
    /// The execution is of another user's trigger.
    #[error(transparent)]
    OfAnotherUser(#[from] OfAnotherUser),
}

/// Claims the execution for `attempt`, as [`decide_claim`] decides for its row. What is decided is done under the
/// condition that the row is unchanged, and decided anew if it is not, at most [`MAX_SWAPS`] times. Waiting for another
/// attempt of the same request does not count. The first try writes without a read, on the condition that there is no
/// row, or only one whose ttl has passed. An execution that was to be cancelled, whose attempt died, or whose agent was
/// silent for too long, may be ended here instead.
///
/// Sets the attempt's number, its start and what earlier attempts left from the stored row. After an error they are
/// those of the claim that may have been written.
///
/// # Errors
/// Returns an error if DynamoDB fails, the row keeps changing, the execution is another user's, or another attempt of
/// this request outlasts the deadline. If DynamoDB fails or the future is dropped, the claim may have been written.
pub async fn claim<T: Table, C: Clock>(
    store: &Store<T, C>,
    fire: &Fire,
    attempt: &mut Attempt,
    lease: Lease,
    deadline: Deadline,
    state: &RunState,
) -> Result<Claim, ClaimError> {
    let limits = CloseLimits { until: deadline.run_until, state };
    let fresh_start = (attempt.started_at.clone(), attempt.ttl);
    let mut seen: Option<Row> = None;
    let mut swaps = 0;
    loop {
        let now = store.clock.now_millis();
        let me = Claimant {
            owner: &attempt.owner,
            lambda_request_id: &attempt.lambda_request_id,
            rerun_if_interrupted: fire.task.rerun_if_interrupted,
        };
        let id = attempt.execution_id.clone();
        let id = id.as_str();
        let lease_until = lease.until(now);
        if let Some(row) = &seen {
            check_user(row, &fire.user_id, now)?;
        }
        let decision = decide_claim(seen.as_ref(), now, lease, me);
        let write = match (seen, decision) {
            (None, _) => {
                (attempt.started_at, attempt.ttl) = fresh_start.clone();
                attempt.attempt = 1;
                (attempt.before, attempt.usage_before) = (None, None);
                store.claim_new(fire, attempt, lease_until, now).await?
            }
            (Some(row), ClaimDecision::Claim(number)) => {
                continue_from(attempt, number, &row, now, &fresh_start);
                attempt.before = (number > 1).then(|| Failure::of_last_attempt(&row));
                store.claim_over(fire, attempt, lease_until, &row).await?
            }
            (Some(row), ClaimDecision::AlreadyOwned) => {
                continue_from(attempt, row.attempt.unwrap_or(1), &row, now, &fresh_start);
                return Ok(Claim::Owned(row.lease_until.unwrap_or(now)));
            }
            (Some(row), ClaimDecision::AlreadyEnded | ClaimDecision::Duplicate) => return Ok(Claim::Duplicate(row)),
            (Some(row), ClaimDecision::Detached) => return Ok(Claim::Detached(row)),
            (Some(row), ClaimDecision::HandOver) => return Ok(Claim::Unacknowledged(row)),
            (Some(row), ClaimDecision::Cancel | ClaimDecision::Overdue | ClaimDecision::Interrupt) => {
                match close_dead(store, execution_of(fire, id), fire, decision, row, now, limits).await? {
                    Ok(claim) => return Ok(claim),
                    Err(found) => Write::Refused(found),
                }
            }
            (Some(_), ClaimDecision::Wait) => {
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

/// Ends an execution that nobody works on: as overdue or interrupted if `decision` says so, and otherwise as cancelled.
/// Returns the claim that results, or as inner error the row that refused this.
///
/// # Errors
/// Returns an error if DynamoDB does not take it.
async fn close_dead<T: Table, C: Clock>(
    store: &Store<T, C>,
    execution: ExecutionRef<'_>,
    fire: &Fire,
    decision: ClaimDecision,
    row: Row,
    now: i64,
    limits: CloseLimits<'_>,
) -> Result<Result<Claim, Option<Row>>, StoreError> {
    let trigger = knowledge_of(fire);
    let (write, failure) = match decision {
        ClaimDecision::Overdue => {
            let write = close_as_overdue(store, execution, &trigger, &row, now, limits).await?;
            (write, Some(Failure::overdue(&row)))
        }
        ClaimDecision::Interrupt => {
            let write = close_as_interrupted(store, execution, &trigger, &row, now, limits).await?;
            (write, Some(Failure::interrupted(&row)))
        }
        _ => (close_as_cancelled(store, execution, &trigger, &row, now, limits).await?, None),
    };
    Ok(match (write, failure) {
        (Write::Refused(found), _) => Err(found),
        (Write::Done, Some(failure)) => Ok(Claim::Interrupted(failure, row)),
        (Write::Done, None) => Ok(Claim::Cancelled(row)),
    })
}

/// Makes `attempt` the attempt `number` of `row`. Its start and ttl are those of the first attempt. The tokens of
/// earlier attempts are kept, because they were used however those ended. A row whose ttl has passed at `now` counts as
/// absent: the start is then `started_at`, with its `ttl`, and there are no earlier tokens.
fn continue_from(attempt: &mut Attempt, number: u32, row: &Row, now: i64, (started_at, ttl): &(String, i64)) {
    let expired = row.is_expired(now);
    attempt.attempt = number;
    attempt.usage_before = row.usage.filter(|_| !expired);
    attempt.started_at = row.started_at.clone().filter(|_| !expired).unwrap_or_else(|| started_at.clone());
    attempt.ttl = row.ttl.filter(|_| !expired).unwrap_or(*ttl);
}

/// Tries to claim the execution until the run's time is up. After a failure of the table it takes the claim back: it
/// ends the execution with the failure that it returns. One of the SDK's tries may have been applied all the same. If
/// the execution were left `running`, it would look like a run that died. Taking it back is tried once, until the time
/// of the last write, and is counted as the execution's end if the failure is final. No claim is begun once the run's
/// time is up: a process that was frozen until then may be forgotten, and nobody would settle what it claims.
///
/// # Errors
/// Returns the errors of the claim, and a retryable failure if none was begun. A failure of the table is retryable
/// unless this was the last attempt. The claim may be in the table all the same.
pub async fn claim_or_give_up<T: Table, C: Clock>(
    store: &Store<T, C>,
    fire: &Fire,
    attempt: &mut Attempt,
    lease: Lease,
    deadline: Deadline,
    state: &RunState,
) -> Result<Claim, Failure> {
    if store.clock.instant() >= deadline.run_until {
        return Err(StoreError::OutOfTime.into());
    }
    let claiming = claim(store, fire, attempt, lease, deadline, state);
    let error = match store.clock.timeout_at(deadline.run_until, claiming).await {
        Some(Ok(claim)) => return Ok(claim),
        Some(Err(error)) => error,
        None => ClaimError::Store(StoreError::OutOfTime),
    };
    let is_unknown = matches!(error, ClaimError::Store(_));
    let mut failure = Failure::from(error);
    if is_unknown {
        failure.retryable = is_retryable(failure.retryable, attempt.attempt);
        let Attempt { execution_id, owner, usage_before, .. } = &*attempt;
        let ending = Ending::new(Status::Failed, store.clock.now_millis(), Some(failure.clone()));
        let ending = Ending { usage_before: *usage_before, ..ending };
        let (execution, trigger) = (execution_of(fire, execution_id), knowledge_of(fire));
        let write = EndingWrite::Finished { owner, ending: &ending };
        let result = FinalResult::of_ending(&ending);
        let limits = CloseLimits { until: deadline.write_until, state };
        let taking_back = close(store, execution, &trigger, result, write, store.clock.now_millis(), limits);
        match store.in_time(deadline.write_until, taking_back).await {
            Ok(Write::Done) => {
                if !failure.retryable {
                    state.facts().count_end(Status::Failed);
                }
                tracing::warn!("the claim had been written and was taken back");
            }
            Ok(Write::Refused(_)) => tracing::info!("the claim had not been written"),
            Err(error) => tracing::warn!(error = %error, "it is unknown whether the claim was written"),
        }
    }
    Err(failure)
}

impl From<ClaimError> for Failure {
    /// Returns the failure of the cause. A row that keeps changing is a retryable `RecordStoreFailed`.
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Store(error) => error.into(),
            ClaimError::Contended => Self::retryable(ErrorType::RecordStoreFailed, error.to_string()),
            ClaimError::InProgress(error) => error.into(),
            ClaimError::OfAnotherUser(error) => error.into(),
        }
    }
}
