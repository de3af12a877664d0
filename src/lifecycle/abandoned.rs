//! Closing an execution that nobody works on, whatever its row says: the dead attempt's, the retryable one's after its
//! last delivery, and that of a fire without any record.

use crate::{
    clock::Clock,
    domain::{
        attempt::Attempt,
        attempt::StartTime,
        close_decision::{CloseAction, decide_close},
        ending::Ending,
        execution::{ExecutionRef, Lease, MAX_SWAPS, Row},
        failure::{ErrorType, Failure},
        fire::Fire,
        shared_id::{OfAnotherUser, check_user},
    },
    lifecycle::{
        close::{
            CloseLimits, FinalResult, close, close_as_cancelled, close_as_interrupted, close_as_overdue, execution_of,
            knowledge_of,
        },
        identify::session_of,
    },
    store::{Store, Write, endings::EndingWrite, error::StoreError, table::Table},
};

/// The record of a fire that no attempt will run.
#[derive(Debug)]
pub struct UnstartedExecution<'a> {
    /// The fire.
    pub fire: &'a Fire,
    /// The start that the record names.
    pub started: &'a StartTime,
    /// The Lambda request that it came with.
    pub lambda_request_id: &'a str,
    /// The attempts that Lambda made.
    pub attempt: u32,
    /// The ending.
    pub ending: Ending,
}

/// Another attempt of the same Lambda request was at work until this one's time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another attempt of this request is still at work")]
pub struct InProgress;

impl From<InProgress> for Failure {
    /// Returns a retryable failure `InProgress`.
    fn from(error: InProgress) -> Self {
        Self::retryable(ErrorType::InProgress, error.to_string())
    }
}

/// The reason why an execution could not be closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The row changed under every decision.
    #[error("the execution changed {MAX_SWAPS} times while it was ended")]
    Contended,
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The execution is of another user's trigger.
    #[error(transparent)]
    OfAnotherUser(#[from] OfAnotherUser),
    /// Another attempt of the same Lambda request was at work until this one's time was up.
    #[error(transparent)]
    InProgress(#[from] InProgress),
}

impl From<CloseError> for Failure {
    /// Returns the failure of the cause. A row that keeps changing is a retryable `RecordStoreFailed`.
    fn from(error: CloseError) -> Self {
        match error {
            CloseError::Store(error) => error.into(),
            CloseError::OfAnotherUser(error) => error.into(),
            CloseError::InProgress(error) => error.into(),
            CloseError::Contended => Self::retryable(ErrorType::RecordStoreFailed, error.to_string()),
        }
    }
}

/// Ends an execution if nobody works on it, as [`decide_close`] says for its row, and decides again if the row has
/// changed meanwhile. `row` is the row as it was read. If there is none, or its ttl has passed, `unstarted` is written.
/// Without `unstarted` nothing is written then, and the action is `Nothing`. Returns the action that was taken, with
/// the row that decided it.
///
/// An attempt that may be alive is not waited for: the action is `Alive`. A hand-over to the agent of a detached run is
/// left to the caller, because it needs the timer. If the user of `fire` is unknown, the row's user counts.
///
/// # Errors
/// Returns an error if DynamoDB gives no result, the row keeps changing, or it is another user's.
pub async fn close_abandoned<T: Table, C: Clock>(
    store: &Store<T, C>,
    lease: Lease,
    fire: &Fire,
    execution_id: &str,
    mut row: Option<Row>,
    unstarted: Option<&UnstartedExecution<'_>>,
    limits: CloseLimits<'_>,
) -> Result<(CloseAction, Option<Row>), CloseError> {
    let trigger = knowledge_of(fire);
    let mut user_id = fire.user_id.to_string();
    for _ in 0..=MAX_SWAPS {
        let now = store.clock.now_millis();
        if let Some(row) = &row {
            if user_id.is_empty() {
                user_id = row.user_id.clone().unwrap_or_default();
            }
            check_user(row, &user_id, now)?;
        }
        let execution = ExecutionRef { user_id: &user_id, ..execution_of(fire, execution_id) };
        let action = decide_close(row.as_ref(), now, lease);
        let write = match (action, &row) {
            (CloseAction::Nothing | CloseAction::Alive | CloseAction::Detached | CloseAction::HandOver, _) => {
                return Ok((action, row));
            }
            (CloseAction::Overdue, Some(seen)) => {
                close_as_overdue(store, execution, &trigger, seen, now, limits).await?
            }
            (CloseAction::Interrupt, Some(seen)) => {
                close_as_interrupted(store, execution, &trigger, seen, now, limits).await?
            }
            (CloseAction::Cancel, Some(seen)) => {
                close_as_cancelled(store, execution, &trigger, seen, now, limits).await?
            }
            (CloseAction::Finalise, Some(seen)) => {
                let failure = Failure::of_row(seen);
                let write = EndingWrite::Finalised { seen };
                close(store, execution, &trigger, FinalResult::failed(&failure, seen), write, now, limits).await?
            }
            (
                CloseAction::Create
                | CloseAction::Interrupt
                | CloseAction::Cancel
                | CloseAction::Finalise
                | CloseAction::Overdue,
                _,
            ) => {
                let Some(unstarted) = unstarted else { return Ok((CloseAction::Nothing, row)) };
                let (attempt, ending) = (unstarted.as_attempt(execution_id), &unstarted.ending);
                let write = EndingWrite::NeverRun { fire: unstarted.fire, attempt: &attempt, ending, now };
                close(store, execution, &trigger, FinalResult::of_ending(ending), write, now, limits).await?
            }
        };
        match write {
            Write::Done => return Ok((action, row)),
            Write::Refused(found) => row = found,
        }
    }
    Err(CloseError::Contended)
}

impl UnstartedExecution<'_> {
    /// Returns the attempt that the record names, with the number of attempts that Lambda made. Its `owner` is empty,
    /// because no invocation owns the execution. The session is the task's, or otherwise the execution's own.
    fn as_attempt(&self, execution_id: &str) -> Attempt {
        Attempt {
            execution_id: execution_id.into(),
            owner: String::new(),
            attempt: self.attempt,
            lambda_request_id: self.lambda_request_id.to_owned(),
            started_at: self.started.at.clone(),
            ttl: self.started.ttl,
            session_id: self.fire.task.session_id.clone().unwrap_or_else(|| session_of(execution_id)),
            trace: None,
            snapshot: None,
            before: None,
            usage_before: None,
            detachment: None,
        }
    }
}
