//! Overlap: a trigger whose policy limits how many of its executions run at once has a run lock. The lock has an item
//! for each slot, which names the execution that may run in it. A slot has a lease of its own beside the execution's,
//! so that it frees itself after a crash. A run that cannot extend its slot stops before the slot's lease is over.

use std::{sync::atomic::Ordering, time::Duration};

use crate::{
    clock::Clock,
    domain::{
        ending::{Overlapping, SkipReason},
        execution::{ExecutionRef, Holder},
        policy::{Overlap, Policy},
        run_lock::{Meeting, meet},
    },
    lifecycle::{
        detached::cancel_later,
        lease::{OwnedExecution, RunStop, Stop},
        looks::Looks,
    },
    store::{day_counter::Start, run_lock::Taking, run_slots::LookBack, table::Table},
};

/// The wait between two looks at whether a cancelled execution has ended.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Checks two things before the execution starts: no more executions are alive than the policy lets run at once, and
/// the limits of the day are not reached. With such a limit the start is counted, once for an execution. It is taken
/// back if an execution that would cancel another is skipped after all. With `cancelOther`, the other execution is
/// cancelled and waited for, without end: the caller limits the time. A run lock that was taken is not released here,
/// even after an error: the caller does this at the end of the run.
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

/// Makes sure that there is room for the execution beside others of the trigger, as `overlap` says. Takes a slot of the
/// run lock for it. Waits without end for an execution whose end it has requested: the caller limits the time. Without
/// a limit nothing is done. Each other execution that is met is counted once in the facts.
///
/// # Errors
/// Returns a skip if another execution comes first, the loss of the execution to another attempt of its own, or a
/// failure of DynamoDB.
async fn enter<T: Table, C: Clock>(
    held: &OwnedExecution<'_, T, C>,
    overlap: Overlap,
    looks: &impl Looks,
) -> Result<(), RunStop> {
    let Some(slots) = overlap.slots() else { return Ok(()) };
    let OwnedExecution {
        store,
        lease,
        holder: Holder { execution: ExecutionRef { trigger_id, execution_id, .. }, .. },
        ..
    } = held;
    let mut asked = None;
    loop {
        let Some(other) = take_slot_or_blocker(held, slots, asked.is_some()).await? else { return Ok(()) };
        let meeting = meet(overlap, execution_id, &other, asked.as_deref());
        // An execution that was asked to end already is counted once: meeting it again is a `Wait`.
        if matches!(meeting, Meeting::Skip | Meeting::Cancel) {
            held.state.facts().overlaps += 1;
        }
        match meeting {
            Meeting::Lost => return Err(RunStop::Stopped(Stop::Lost)),
            Meeting::Skip => {
                let overlapping = Overlapping { execution_id: other, limit: overlap.named_limit() };
                return Err(RunStop::Skipped(SkipReason::Overlap, Some(overlapping)));
            }
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

/// Takes one of `slots` slots of the run lock, unless this attempt has one, and looks for other executions that leave
/// no room. Returns `None` if there is room, or the one that stands in the way: the holder of a slot, which is this
/// execution if another attempt of it has one, or an execution that was admitted before the trigger's policy wanted a
/// lock. A slot that this attempt has stays taken even if another execution is in the way. `has_waited` is true if this
/// attempt has requested the end of another execution. Then a newer execution that has taken the lock stands in the way
/// even if it has ended, because it has replaced this one.
///
/// # Errors
/// Returns an error if DynamoDB gives no result, or the slots keep changing.
async fn take_slot_or_blocker<T: Table, C: Clock>(
    held: &OwnedExecution<'_, T, C>,
    slots: u32,
    has_waited: bool,
) -> Result<Option<String>, RunStop> {
    let OwnedExecution { store, lease, holder, slot, .. } = held;
    let look_back = LookBack::of(held.is_detached.load(Ordering::Relaxed));
    if slot.get().is_none() {
        let taking = match slots {
            // An execution that has waited while a newer one came and went is late: the newer one has replaced it.
            1 => store.take_run_lock(*holder, *lease, has_waited).await?,
            _ => store.take_slot(*holder, *lease, look_back, slots).await?,
        };
        match taking {
            Taking::Taken(slot, until) => held.took_run_lock(slot, until),
            Taking::Refused(other) => return Ok(Some(other)),
        }
    }
    // A further slot was chosen by what runs beside it.
    if slot.get() != Some(0) {
        return Ok(None);
    }
    let found = store.neighbours(*holder, *lease, look_back, slots, None).await?;
    Ok(found.neighbours.in_the_way(slots).map(str::to_owned))
}
