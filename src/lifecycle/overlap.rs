//! Overlap: a trigger that must not run twice at once has a run lock, one item that names the execution that may run. The
//! lock has a lease of its own beside the execution's, so that it frees itself after a crash. A run that cannot extend the
//! lock stops before the lock's lease is over.

use std::{sync::atomic::Ordering, time::Duration};

use crate::{
    clock::Clock,
    domain::{
        ending::SkipReason,
        execution::{ExecutionRef, Holder},
        policy::{Overlap, Policy},
        run_lock::{Meeting, meet},
        shared_id::OfAnotherUser,
    },
    lifecycle::lease::{OwnedExecution, RunStop, Stop},
    store::{day_counter::Start, run_lock::Taking, table::Table},
};

/// The wait between two looks at whether a cancelled execution has ended.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Makes sure that the trigger's policy lets the execution start: that no other execution is alive where that matters,
/// and that the limits of the day are not reached. A run lock that was taken is not released here: the caller does that
/// at the end of the run.
///
/// # Errors
/// Returns an error if it is to be skipped, or DynamoDB does not answer.
pub async fn admit<T: Table, C: Clock>(held: &OwnedExecution<'_, T, C>, policy: &Policy) -> Result<(), RunStop> {
    // Count first if this execution is to replace another: it must not end the other and then be skipped itself. Otherwise
    // count last: an execution that is skipped for another is no start.
    let counts_first = policy.overlap == Overlap::CancelOther;
    if !counts_first {
        enter(held, policy.overlap).await?;
    }
    let OwnedExecution { store, holder: Holder { execution, .. }, .. } = held;
    let now = store.clock.now_millis();
    let start = store.count_start(*execution, policy, now).await?;
    if let Start::Refused(reason) = start {
        return Err(RunStop::Skipped(reason, None));
    }
    if !counts_first {
        return Ok(());
    }
    let entered = enter(held, policy.overlap).await;
    // An execution that is skipped is no start. If it cannot be taken back, one run less may start on this day.
    if matches!((&entered, start), (Err(RunStop::Skipped(..)), Start::Counted))
        && let Err(error) = store.take_back_start(*execution, now).await
    {
        tracing::warn!(error = %error, "the start of a skipped execution stays counted");
    }
    entered
}

/// Makes sure that no other execution of the trigger is alive, as its policy wants it. Waits without end for an
/// execution whose end it has requested: the caller limits the time.
///
/// # Errors
/// A skip if another execution comes first, or the loss of the execution to another attempt of its own.
async fn enter<T: Table, C: Clock>(held: &OwnedExecution<'_, T, C>, overlap: Overlap) -> Result<(), RunStop> {
    if overlap == Overlap::Allow {
        return Ok(());
    }
    let OwnedExecution {
        store,
        lease,
        holder: Holder { execution: ExecutionRef { trigger_id, execution_id, .. }, .. },
        ..
    } = held;
    let mut asked = None;
    loop {
        let Some(other) = other_alive(held, asked.is_some()).await? else { return Ok(()) };
        let meeting = meet(overlap, execution_id, &other, asked.as_deref());
        // An execution that was asked to end already is counted once: meeting it again is a `Wait`.
        if matches!(meeting, Meeting::Skip | Meeting::Cancel) {
            held.state.facts().overlaps += 1;
        }
        match meeting {
            Meeting::Lost => return Err(RunStop::Stopped(Stop::Lost)),
            Meeting::Skip => return Err(RunStop::Skipped(SkipReason::Overlap, Some(other))),
            Meeting::Cancel => {
                tracing::info!(otherExecutionId = other, "cancelling the execution that is alive");
                store.request_cancel(trigger_id, &other).await?;
                asked = Some(other);
            }
            Meeting::Wait => {}
        }
        store.clock.sleep(lease.heartbeat().min(LOOK_AGAIN)).await;
    }
}

/// Takes the run lock, unless this attempt has it. Returns the execution of the trigger that is alive, if another is: it has
/// the lock, or it was admitted before the trigger's policy wanted one.
///
/// # Errors
/// Returns an error if another user's trigger of the same id has the lock, or DynamoDB does not answer.
async fn other_alive<T: Table, C: Clock>(
    held: &OwnedExecution<'_, T, C>,
    has_waited: bool,
) -> Result<Option<String>, RunStop> {
    let OwnedExecution { store, lease, holder, has_run_lock, .. } = held;
    if !has_run_lock.load(Ordering::Relaxed) {
        // An execution that has waited while a newer one came and went is late: the newer one has replaced it.
        match store.take_run_lock(*holder, *lease, has_waited).await? {
            Taking::Taken(until) => held.took_run_lock(until),
            Taking::Refused(other) => return Ok(Some(other)),
            // Its run must not be ended, nor this one be skipped for it in silence.
            Taking::OfAnotherUser => return Err(OfAnotherUser.into()),
        }
    }
    Ok(store.living_without_lock(*holder, *lease).await?)
}
