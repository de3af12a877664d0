//! Closing an execution. The end is written together with the change of its trigger's health and tokens, if the trigger
//! is stored. One compare-and-swap loop serves every end: an attempt's own, and that of an execution that nobody works
//! on.
//!
//! Others write the trigger item. It may be full, broken or gone, and its requests may hang. An end does not depend on
//! it. A change of the trigger that cannot be written beside the end in time is left out, counted and logged.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    backoff,
    clock::Clock,
    domain::{
        ending::{Ending, Snapshot},
        execution::{ExecutionRef, Row, Status},
        failure::Failure,
        fire::Fire,
        health::Change,
        run_lock::Slot,
        run_state::RunState,
        trigger_snapshot::{TriggerKnowledge, TriggerSnapshot},
        usage::Usage,
    },
    store::{
        Store, Write,
        day_counter::tokens_write,
        endings::{EndingWrite, key_of},
        error::StoreError,
        health::health_write,
        readable,
        run_lock::free_run_lock,
        table::{ConditionalWrite, Table, Transacted},
        trigger_item::current,
    },
};

/// The most times a write may find the trigger changed: as many as executions of one trigger may end at the same time.
const MAX_REFUSALS: usize = 32;
/// The longest time for which an end waits for the writes beside it.
const BESIDE_LIMIT: Duration = Duration::from_secs(10);

/// The bounds of a close: the time by which the end must be written, and the facts that count the writes that were left
/// out for that.
#[derive(Debug, Clone, Copy)]
pub struct CloseLimits<'a> {
    /// The time by which the end must be written. The writes beside it get half of the time until then, and at most 10
    /// s.
    pub until: Instant,
    /// The invocation's facts.
    pub state: &'a RunState,
}

impl CloseLimits<'_> {
    /// Returns the time until which the end waits for the writes beside it: half of the time that is left, and at most
    /// 10 s from now.
    fn beside(self, clock: &impl Clock) -> Instant {
        let start = clock.instant();
        start + BESIDE_LIMIT.min(self.until.saturating_duration_since(start) / 2)
    }
}

/// The part of an ending that changes the trigger's health and its count of tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FinalResult<'a> {
    status: Status,
    failure: Option<&'a Failure>,
    tokens: u64,
    /// The slot of its trigger's run lock that the execution may hold although no attempt does.
    held_slot: Option<Slot>,
}

impl<'a> FinalResult<'a> {
    /// Returns the result of an ending. The tokens of all attempts count once, when the execution ends for good. Those
    /// of a retryable failure are kept by the next attempt's claim.
    pub(crate) fn of_ending(ending: &'a Ending) -> Self {
        let is_final = ending.failure.as_ref().is_none_or(|failure| !failure.retryable);
        let tokens = ending.usage().filter(|_| is_final).map_or(0, Usage::tokens);
        Self { status: ending.status, failure: ending.failure.as_ref(), tokens, held_slot: None }
    }

    /// Returns the result of an ending that the agent of a detached run reported. The run left `row`, which names the
    /// slot of the run lock that it holds. The tokens are the ending's.
    pub(crate) fn reported(ending: &'a Ending, row: &Row) -> Self {
        Self { held_slot: row.held_slot(), ..Self::of_ending(ending) }
    }

    /// Returns the result of an execution whose failure is made final. Its attempts left `row`.
    pub(crate) fn failed(failure: &'a Failure, row: &Row) -> Self {
        Self { status: Status::Failed, failure: Some(failure), tokens: row.tokens(), held_slot: row.held_slot() }
    }

    /// Returns the result of an execution that is cancelled. Its attempts left `row`.
    pub(crate) fn cancelled(row: &Row) -> Self {
        Self { status: Status::Cancelled, failure: None, tokens: row.tokens(), held_slot: row.held_slot() }
    }

    /// Returns true if the result may change the trigger's health or its counters: it is a success or a final failure,
    /// or tokens were used.
    fn concerns_trigger(self) -> bool {
        self.is_success().is_some() || self.tokens > 0
    }

    /// Returns true if the run succeeded, and false if it failed for good. Returns `None` if the end says nothing about
    /// the trigger: for a retryable failure, a cancellation and a skip.
    fn is_success(self) -> Option<bool> {
        match self.status {
            Status::Completed => Some(true),
            Status::Failed if self.failure.is_none_or(|failure| !failure.retryable) => Some(false),
            Status::Failed | Status::Running | Status::Cancelled | Status::Skipped => None,
        }
    }
}

/// Returns the knowledge of the trigger item that `fire` carries. Without an item it is `Unread`: the trigger may still
/// be a stored one.
pub(crate) fn knowledge_of(fire: &Fire) -> TriggerKnowledge {
    fire.trigger.clone().map_or(TriggerKnowledge::Unread, TriggerKnowledge::Present)
}

/// Returns the execution with the ids of `fire`.
pub(crate) fn execution_of<'a>(fire: &'a Fire, execution_id: &'a str) -> ExecutionRef<'a> {
    ExecutionRef { user_id: &fire.user_id, trigger_id: &fire.trigger_id, execution_id }
}

/// Writes the end of an execution, and in the same transaction the change that `result` makes to its trigger, and the
/// release of the run lock that a detached run holds. `trigger` is the caller's knowledge of the trigger item. The item
/// is read here if the result needs it, nobody has read it and the user is known. If the trigger's part cannot be
/// written in the time that [`CloseLimits`] gives it, the end is written alone, and what is left out is counted. The
/// end itself has no time limit here. If its condition does not hold, nothing is written, and the row is returned.
///
/// # Errors
/// Returns an error if DynamoDB does not take the end, which may have been written all the same.
pub(crate) async fn close<T: Table, C: Clock>(
    store: &Store<T, C>,
    execution: ExecutionRef<'_>,
    trigger: &TriggerKnowledge,
    result: FinalResult<'_>,
    write: EndingWrite<'_>,
    now: i64,
    limits: CloseLimits<'_>,
) -> Result<Write, StoreError> {
    let end = |is_stored| write.build(key_of(execution), is_stored);
    if !result.concerns_trigger() && result.held_slot.is_none() {
        return store.write_conditionally(end(matches!(trigger, TriggerKnowledge::Present(_)))).await;
    }
    let until = limits.beside(&store.clock);
    let closing = Closing { store, execution, result, now, end: &end };
    // Boxed: it would make the futures of claim and finish, where it is seldom needed, half as large again.
    let together = Box::pin(closing.with_trigger(trigger.clone()));
    let (written, left_out) = match store.clock.timeout_at(until, together).await {
        Some(Ok(Together { written: Some(written), left_out, .. })) => (written, left_out),
        Some(Ok(Together { written: None, is_stored, left_out })) => {
            (store.write_conditionally(end(is_stored)).await?, left_out)
        }
        Some(Err(cause)) => (store.write_conditionally(end(false)).await?, Some((1, cause))),
        None => (store.write_conditionally(end(false)).await?, Some((1, StoreError::OutOfTime))),
    };
    if let (Write::Done, Some((count, cause))) = (&written, left_out) {
        limits.state.facts().left_out += count;
        tracing::warn!(error = %cause, leftOut = count, "the end is written without its trigger's health or tokens");
    }
    Ok(written)
}

/// A write beside an end, by what it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Health,
    Tokens,
    RunLock,
}

/// What became of an end and its parts.
#[derive(Debug)]
struct Together {
    /// The result of the write, or `None` if no part is to be written beside the end, which is not written yet.
    written: Option<Write>,
    /// True if the trigger's health announces a failure.
    is_stored: bool,
    /// The number of parts that can never be written, and the cause of the first, if there are such.
    left_out: Option<(u64, StoreError)>,
}

/// One end with the writes beside it.
struct Closing<'a, T, C, E> {
    store: &'a Store<T, C>,
    execution: ExecutionRef<'a>,
    result: FinalResult<'a>,
    now: i64,
    /// Builds the write of the end. Its argument says whether the trigger's health announces a failure.
    end: &'a E,
}

impl<T: Table, C: Clock, E: Fn(bool) -> ConditionalWrite> Closing<'_, T, C, E> {
    /// Writes the end together with its parts. Failures of DynamoDB are tried again until the future is dropped: the
    /// end may have been written by then. An end without parts is left to the caller, whose time for it is longer. A
    /// run lock that another execution has by now is left out without being counted. An end whose condition does not
    /// hold is a `Refused`, and nothing is written then.
    ///
    /// # Errors
    /// Returns an error if the request itself is at fault, if the row that refuses the end is unreadable, or if the
    /// trigger changes more than [`MAX_REFUSALS`] times.
    async fn with_trigger(&self, mut known: TriggerKnowledge) -> Result<Together, StoreError> {
        let Self { store, execution, result, now, end } = self;
        let mut waits = backoff::endless();
        let mut refusals = 0;
        let mut unwritable: Vec<(Part, StoreError)> = Vec::new();
        let mut held_slot = result.held_slot;
        let needs_trigger = result.concerns_trigger() && !execution.user_id.is_empty();
        while refusals <= MAX_REFUSALS {
            if matches!(known, TriggerKnowledge::Unread) && needs_trigger {
                match store.trigger(execution.user_id, execution.trigger_id).await {
                    Ok(item) => known = TriggerKnowledge::read(item.as_ref()),
                    Err(error) => {
                        tracing::warn!(error = %error, "the trigger is not read for the end, trying again");
                        store.clock.sleep(waits.next().unwrap_or_default()).await;
                        continue;
                    }
                }
            }
            let snapshot = if let TriggerKnowledge::Present(snapshot) = &known { Some(snapshot) } else { None };
            if snapshot.is_none() {
                unwritable.clear();
            }
            let is_left_out = |part: Part| unwritable.iter().any(|(left_out, _)| *left_out == part);
            let change = snapshot.and_then(|snapshot| Some((snapshot, self.health_change(snapshot)?)));
            let change = change.filter(|_| !is_left_out(Part::Health));
            let tokens = snapshot.and_then(|snapshot| self.counted_tokens(snapshot));
            let tokens = tokens.filter(|_| !is_left_out(Part::Tokens));
            let health = change
                .as_ref()
                .map(|(snapshot, change)| health_write(*execution, &snapshot.health, *change, result.failure, *now));
            let tokens = tokens.map(|tokens| tokens_write(*execution, tokens, *now));
            let run_lock = held_slot.map(|slot| free_run_lock(*execution, slot));
            let beside = [(Part::Health, health), (Part::Tokens, tokens), (Part::RunLock, run_lock)].into_iter();
            let beside = beside.filter_map(|(part, write)| Some((part, write?)));
            let (parts, beside): (Vec<Part>, Vec<ConditionalWrite>) = beside.unzip();
            let is_stored = snapshot.is_some() && !is_left_out(Part::Health);
            if beside.is_empty() {
                return Ok(Together { written: None, is_stored, left_out: summed(unwritable) });
            }
            match store.table.transact(std::iter::once(end(is_stored)).chain(beside).collect()).await {
                Ok(Transacted::Done) => {
                    if let Some((_, change)) = change.filter(|(_, change)| change.is_new_state) {
                        let (health, failures) = (change.state.as_str(), change.failures);
                        tracing::info!(health, failures, "the trigger's health changed");
                    }
                    let left_out = summed(unwritable);
                    return Ok(Together { written: Some(Write::Done), is_stored, left_out });
                }
                Ok(Transacted::Refused(0, row)) => {
                    let written = Some(Write::Refused(readable(row)?));
                    return Ok(Together { written, is_stored, left_out: None });
                }
                // Another execution has the lock by now.
                Ok(Transacted::Refused(index, _)) if parts.get(index - 1) == Some(&Part::RunLock) => {
                    held_slot = None;
                }
                Ok(Transacted::Refused(_, item)) => {
                    known = TriggerKnowledge::read(item.and_then(|item| current(item, *now)).as_ref());
                    refusals += 1;
                }
                // Another transaction won the conflict; retry after a short jittered wait.
                Ok(Transacted::Conflict) => store.clock.sleep(backoff::short()).await,
                Err(StoreError::Unwritable { index, message }) if index > 0 && index <= parts.len() => {
                    unwritable.push((parts[index - 1], StoreError::Unwritable { index, message }));
                }
                Err(error) if error.is_of_request() => return Err(error),
                Err(error) => {
                    tracing::warn!(error = %error, "the end is not written together with its trigger, trying again");
                    store.clock.sleep(waits.next().unwrap_or_default()).await;
                }
            }
        }
        Err(StoreError::Contended)
    }

    /// Returns the change of the trigger's health by this result. Returns `None` if the result says nothing about the
    /// trigger, or the health does not change.
    fn health_change(&self, TriggerSnapshot { policy, health, .. }: &TriggerSnapshot) -> Option<Change> {
        health.after(self.result.is_success()?, policy.pause_after_failures)
    }

    /// Returns the tokens to count for the day. Returns `None` if the trigger's tokens are not limited, or none were
    /// used.
    fn counted_tokens(&self, TriggerSnapshot { policy, .. }: &TriggerSnapshot) -> Option<u64> {
        policy.max_tokens_per_day.map(|_| self.result.tokens).filter(|tokens| *tokens > 0)
    }
}

/// Returns the number of parts that were left out, with the cause of the first, or `None` if there are none.
fn summed(left_out: Vec<(Part, StoreError)>) -> Option<(u64, StoreError)> {
    let count = u64::try_from(left_out.len()).unwrap_or(u64::MAX);
    left_out.into_iter().next().map(|(_, cause)| (count, cause))
}

/// Ends an execution whose last attempt died and left `seen`, as failed by `Interrupted`, with what [`close`] writes
/// beside it. The record gets the description of what that attempt ran from the kept input, if it is read in time: the
/// row may only have one from before the trigger item was read. If the row is no longer as `seen`, nothing is written,
/// and it is returned.
///
/// # Errors
/// Returns an error if DynamoDB does not take it.
pub(crate) async fn close_as_interrupted<T: Table, C: Clock>(
    store: &Store<T, C>,
    execution: ExecutionRef<'_>,
    trigger: &TriggerKnowledge,
    seen: &Row,
    now: i64,
    limits: CloseLimits<'_>,
) -> Result<Write, StoreError> {
    let failure = Failure::interrupted(seen);
    // Without this the record still ends, and says what the row says.
    let reading = store.input_text(execution.trigger_id, execution.execution_id);
    let input = store.in_time(limits.beside(&store.clock), reading).await.unwrap_or_default();
    let snapshot = input.as_deref().and_then(Snapshot::of_input);
    let ending = Ending { snapshot, ..Ending::new(Status::Failed, now, Some(failure.clone())) };
    let write = EndingWrite::Abandoned { seen, ending: &ending };
    close(store, execution, trigger, FinalResult::failed(&failure, seen), write, now, limits).await
}

/// Ends a detached run whose agent was silent for too long, and left `seen`, as failed by `ReportOverdue`, with what
/// [`close`] writes beside it. If the row is no longer as `seen`, nothing is written, and it is returned.
///
/// # Errors
/// Returns an error if DynamoDB does not take it.
pub(crate) async fn close_as_overdue<T: Table, C: Clock>(
    store: &Store<T, C>,
    execution: ExecutionRef<'_>,
    trigger: &TriggerKnowledge,
    seen: &Row,
    now: i64,
    limits: CloseLimits<'_>,
) -> Result<Write, StoreError> {
    let failure = Failure::overdue(seen);
    let ending = Ending::new(Status::Failed, now, Some(failure.clone()));
    let write = EndingWrite::Abandoned { seen, ending: &ending };
    close(store, execution, trigger, FinalResult::failed(&failure, seen), write, now, limits).await
}

/// Ends an execution that was to be cancelled, and whose row is `seen`, as cancelled. Its last attempt failed or died,
/// or has left the run to its agent. The end is written with what [`close`] writes beside it: the tokens of its
/// attempts, and the release of a run lock that it holds. If the row is no longer as `seen`, nothing is written, and it
/// is returned.
///
/// # Errors
/// Returns an error if DynamoDB does not take it.
pub(crate) async fn close_as_cancelled<T: Table, C: Clock>(
    store: &Store<T, C>,
    execution: ExecutionRef<'_>,
    trigger: &TriggerKnowledge,
    seen: &Row,
    now: i64,
    limits: CloseLimits<'_>,
) -> Result<Write, StoreError> {
    let ending = Ending::new(Status::Cancelled, now, None);
    let write = EndingWrite::Abandoned { seen, ending: &ending };
    close(store, execution, trigger, FinalResult::cancelled(seen), write, now, limits).await
}
