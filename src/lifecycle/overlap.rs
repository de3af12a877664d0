//! Overlap: a trigger that must not run twice at once has a run lock, one item that names the execution that may run.
//! The lock has a lease of its own beside the execution's, so that it frees itself after a crash. A run that cannot
//! extend the lock stops before the lock's lease is over.

use std::{sync::atomic::Ordering, time::Duration};

use crate::{
    clock::Clock,
    domain::{
        ending::SkipReason,
        execution::{ExecutionRef, Holder},
        policy::{Overlap, Policy},
        run_lock::{Meeting, meet},
    },
    lifecycle::{
        detached::cancel_later,
        lease::{OwnedExecution, RunStop, Stop},
        looks::Looks,
    },
    store::{day_counter::Start, run_lock::Taking, table::Table},
};

/// The wait between two looks at whether a cancelled execution has ended.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Checks two things before the execution starts: no other execution is alive where the policy forbids this, and the
/// limits of the day are not reached. With `cancelOther`, the other execution is cancelled and waited for, without end:
/// the caller limits the time. A run lock that was taken is not released here, even after an error: the caller does
/// this at the end of the run.
///
/// # Errors
/// Returns a skip, the loss of the execution to another attempt of its own, or a failure of DynamoDB.
pub async fn admit<T: Table, C: Clock>(
    held: &OwnedExecution<'_, T, C>,
    policy: &Policy,
    looks: &impl Looks,
) -> Result<(), RunStop> {
    // Count first if this execution is to replace another. It must not end the other and then be skipped itself.
    // Otherwise count last: an execution that is skipped for another is no start.
    let counts_first = policy.overlap == Overlap::CancelOther;
    if !counts_first {
        enter(held, policy.overlap, looks).await?;
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
    let entered = enter(held, policy.overlap, looks).await;
    // An execution that is skipped is no start. If it cannot be taken back, one run less may start on this day.
    if matches!((&entered, start), (Err(RunStop::Skipped(..)), Start::Counted))
        && let Err(error) = store.take_back_start(*execution, now).await
    {
        tracing::warn!(error = %error, "the start of a skipped execution stays counted");
    }
    entered
}

/// Makes sure that no other execution of the trigger is alive, as `overlap` says. Waits without end for an execution
/// whose end it has requested: the caller limits the time.
///
/// # Errors
/// Returns a skip if another execution comes first, the loss of the execution to another attempt of its own, or a
/// failure of DynamoDB.
async fn enter<T: Table, C: Clock>(
    held: &OwnedExecution<'_, T, C>,
    overlap: Overlap,
    looks: &impl Looks,
) -> Result<(), RunStop> {
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
        let Some(other) = take_lock_or_blocker(held, asked.is_some()).await? else { return Ok(()) };
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
                let row = store.request_cancel(trigger_id, &other).await?;
                // The agent of a detached run may be silent: a look ends the run once it had time to stop.
                if let Some(row) = row
                    && let Err(error) = cancel_later(looks, trigger_id, &other, &row).await
                {
                    tracing::warn!(error = %error, "the other execution ends with its agent's next report");
                }
                asked = Some(other);
            }
            Meeting::Wait => {}
        }
        store.clock.sleep(lease.heartbeat().min(LOOK_AGAIN)).await;
    }
}

/// Takes the run lock, unless this attempt has it, and then looks for executions that run without one. Returns the
/// execution that stands in the way: the holder of the lock, or one that was admitted before the trigger's policy
/// wanted a lock. In the second case the lock stays taken. `has_waited` is true if this attempt has requested the end
/// of another execution. Then a newer execution that has taken the lock stands in the way even if it has ended, because
/// it has replaced this one.
///
/// # Errors
/// Returns an error if DynamoDB does not answer, or the lock keeps changing.
async fn take_lock_or_blocker<T: Table, C: Clock>(
    held: &OwnedExecution<'_, T, C>,
    has_waited: bool,
) -> Result<Option<String>, RunStop> {
    let OwnedExecution { store, lease, holder, has_run_lock, .. } = held;
    if !has_run_lock.load(Ordering::Relaxed) {
        // An execution that has waited while a newer one came and went is late: the newer one has replaced it.
        match store.take_run_lock(*holder, *lease, has_waited).await? {
            Taking::Taken(until) => held.took_run_lock(until),
            Taking::Refused(other) => return Ok(Some(other)),
        }
    }
    Ok(store.living_without_lock(*holder, *lease, held.is_detached.load(Ordering::Relaxed)).await?)
}
