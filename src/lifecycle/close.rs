//! Closing an execution: its end is written together with what the end means for its trigger, where that is stored.
//! One compare-and-swap loop serves every end: an attempt's own, and that of an execution that nobody works on.

use crate::{
    backoff,
    clock::Clock,
    domain::{
        attempt::{Attempt, StartTime},
        ending::Ending,
        execution::{CloseAction, ExecutionRef, Lease, MAX_SWAPS, Row, Status, decide_close},
        failure::{ErrorType, Failure},
        fire::Fire,
        trigger_snapshot::{TriggerKnowledge, TriggerSnapshot},
    },
    lifecycle::identify::session_of,
    store::{
        Store, Write,
        day_counter::tokens_write,
        endings::{EndingWrite, key_of},
        error::StoreError,
        health::health_write,
        readable,
        table::{Table, Transacted},
        trigger_item::current,
    },
};

/// The most times a write may find the trigger changed: as many as executions of one trigger may end at the same time.
const MAX_REFUSALS: usize = 32;

/// The part of an ending that changes the trigger's health and its count of tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FinalResult<'a> {
    status: Status,
    failure: Option<&'a Failure>,
    tokens: u64,
}

impl<'a> FinalResult<'a> {
    /// Returns the result of an ending.
    pub(crate) fn of_ending(ending: &'a Ending) -> Self {
        let usage = ending.reported.as_ref().and_then(|reported| reported.progress.usage.as_ref());
        let tokens = usage.map_or(0, |usage| usage.input_tokens.saturating_add(usage.output_tokens));
        Self { status: ending.status, failure: ending.failure.as_ref(), tokens }
    }

    /// Returns the result of a failure that is made final.
    pub(crate) fn finalised(failure: &'a Failure) -> Self {
        Self { status: Status::Failed, failure: Some(failure), tokens: 0 }
    }

    /// Returns the result of an attempt that died and left `row`.
    pub(crate) fn interrupted(failure: &'a Failure, row: &Row) -> Self {
        Self { tokens: row.tokens, ..Self::finalised(failure) }
    }

    /// Returns whether the run succeeded or failed for good; `None` if the end says nothing about the trigger.
    fn is_success(self) -> Option<bool> {
        match self.status {
            Status::Completed => Some(true),
            Status::Failed if self.failure.is_none_or(|failure| !failure.retryable) => Some(false),
            Status::Failed | Status::Running | Status::Cancelled | Status::Skipped => None,
        }
    }
}

/// Returns the knowledge of the trigger item that `fire` carries.
pub(crate) fn knowledge_of(fire: &Fire) -> TriggerKnowledge {
    fire.trigger.clone().map_or(TriggerKnowledge::Unread, TriggerKnowledge::Present)
}

/// Returns the execution of `fire`.
pub(crate) fn execution_of<'a>(fire: &'a Fire, execution_id: &'a str) -> ExecutionRef<'a> {
    ExecutionRef { user_id: &fire.user_id, trigger_id: &fire.trigger_id, execution_id }
}

/// Writes the end of an execution, and in the same transaction the change that `result` makes to its trigger. `trigger` is
/// the caller's knowledge of the trigger item. The item is read here if the result needs it and nobody has read it.
///
/// # Errors
/// Returns an error if DynamoDB does not take it.
pub(crate) async fn close<T: Table, C: Clock>(
    store: &Store<T, C>,
    execution: ExecutionRef<'_>,
    trigger: &TriggerKnowledge,
    result: FinalResult<'_>,
    write: EndingWrite<'_>,
    now: i64,
) -> Result<Write, StoreError> {
    let build = |is_stored| write.build(key_of(execution), is_stored);
    let is_success = result.is_success();
    if is_success.is_none() && result.tokens == 0 {
        return store.write_conditionally(build(matches!(trigger, TriggerKnowledge::Present(_)))).await;
    }
    let mut known = trigger.clone();
    if matches!(known, TriggerKnowledge::Unread) && !execution.user_id.is_empty() {
        let item = store.trigger(execution.user_id, execution.trigger_id).await?;
        known = TriggerKnowledge::read(item.as_ref());
    }
    let mut refusals = 0;
    while refusals <= MAX_REFUSALS {
        let TriggerKnowledge::Present(snapshot) = &known else {
            return store.write_conditionally(build(false)).await;
        };
        let TriggerSnapshot { policy, health, .. } = snapshot.as_ref();
        let change = is_success.and_then(|is_success| health.after(is_success, policy.pause_after_failures));
        let counts_tokens = policy.max_tokens_per_day.is_some() && result.tokens > 0;
        let mut writes = vec![build(true)];
        writes.extend(change.map(|change| health_write(execution, health, change, result.failure, now)));
        writes.extend(counts_tokens.then(|| tokens_write(execution.trigger_id, result.tokens, now)));
        if writes.len() == 1 {
            return store.write_conditionally(build(true)).await;
        }
        match store.table.transact(writes).await? {
            Transacted::Done => {
                if let Some(change) = change.filter(|change| change.is_new_state) {
                    let (health, failures) = (change.state.as_str(), change.failures);
                    tracing::info!(health, failures, "the trigger's health changed");
                }
                return Ok(Write::Done);
            }
            Transacted::Refused(0, row) => return Ok(Write::Refused(readable(row.as_ref())?)),
            Transacted::Refused(_, item) => {
                known = TriggerKnowledge::read(item.and_then(|item| current(item, now)).as_ref());
                refusals += 1;
            }
            // Another transaction won the conflict; retry after a short jittered wait.
            Transacted::Conflict => store.clock.sleep(backoff::short()).await,
        }
    }
    Err(StoreError::Contended)
}

/// The record of a fire that no attempt will run.
#[derive(Debug)]
pub struct UnstartedExecution<'a> {
    /// The fire.
    pub fire: &'a Fire,
    /// When it was due.
    pub started: &'a StartTime,
    /// The Lambda request that it came with.
    pub lambda_request_id: &'a str,
    /// The attempts that Lambda made.
    pub attempt: u32,
    /// How it ended.
    pub ending: Ending,
}

/// Why an execution could not be closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The row changed under every decision.
    #[error("the execution changed {MAX_SWAPS} times while it was ended")]
    Contended,
    /// DynamoDB failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CloseError> for Failure {
    fn from(error: CloseError) -> Self {
        match error {
            CloseError::Store(error) => error.into(),
            CloseError::Contended => Self::retryable(ErrorType::RecordStoreFailed, error.to_string()),
        }
    }
}

/// Ends an execution if nobody works on it. `row` is the row as it was read, and `unstarted` is written if there is
/// none. Returns the action that was taken, with the row that decided it.
///
/// # Errors
/// Returns an error if DynamoDB does not answer, or the row keeps changing.
pub async fn close_abandoned<T: Table, C: Clock>(
    store: &Store<T, C>,
    lease: Lease,
    fire: &Fire,
    execution_id: &str,
    mut row: Option<Row>,
    unstarted: Option<&UnstartedExecution<'_>>,
) -> Result<(CloseAction, Option<Row>), CloseError> {
    let execution = execution_of(fire, execution_id);
    let trigger = knowledge_of(fire);
    for _ in 0..=MAX_SWAPS {
        let now = store.clock.now_millis();
        let action = decide_close(row.as_ref(), now, lease);
        let write = match (action, &row) {
            (CloseAction::Nothing | CloseAction::Alive, _) => return Ok((action, row)),
            (CloseAction::Interrupt, Some(seen)) => {
                let failure = Failure::interrupted(seen);
                let ending = Ending::new(Status::Failed, now, Some(failure.clone()));
                let write = EndingWrite::Abandoned { seen, ending: &ending };
                close(store, execution, &trigger, FinalResult::interrupted(&failure, seen), write, now).await?
            }
            (CloseAction::Cancel, Some(seen)) => {
                let ending = Ending::new(Status::Cancelled, now, None);
                let write = EndingWrite::Abandoned { seen, ending: &ending };
                store.write_conditionally(write.build(key_of(execution), false)).await?
            }
            (CloseAction::Finalise, Some(seen)) => {
                let failure = Failure::of_row(seen);
                let write = EndingWrite::Finalised { seen };
                close(store, execution, &trigger, FinalResult::finalised(&failure), write, now).await?
            }
            (CloseAction::Create | CloseAction::Interrupt | CloseAction::Cancel | CloseAction::Finalise, _) => {
                let Some(unstarted) = unstarted else { return Ok((CloseAction::Nothing, row)) };
                let (attempt, ending) = (unstarted.attempt(execution_id), &unstarted.ending);
                let write = EndingWrite::NeverRun { fire: unstarted.fire, attempt: &attempt, ending, now };
                close(store, execution, &trigger, FinalResult::of_ending(ending), write, now).await?
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
    fn attempt(&self, execution_id: &str) -> Attempt {
        Attempt {
            execution_id: execution_id.into(),
            owner: String::new(),
            attempt: self.attempt,
            lambda_request_id: self.lambda_request_id.to_owned(),
            started_at: self.started.at.clone(),
            ttl: self.started.ttl,
            session_id: self.fire.task.session_id.clone().unwrap_or_else(|| session_of(execution_id)),
            trace: None,
            before: None,
        }
    }
}
