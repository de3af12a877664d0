//! Overlap: one item for each trigger that may not run twice at once says whose turn it is. It is held under a lease of its
//! own beside the execution's, so that it frees itself after a crash; a run that cannot keep it stops before it is over.

use std::time::Duration;

use crate::{
    clock::Clock,
    domain::{
        ending::SkipReason,
        execution::{ExecutionRef, Holder},
        policy::{Overlap, Policy},
        run_lock::{Meeting, meet},
    },
    lifecycle::lease::{OwnedExecution, RunStop, Stop},
    store::{run_lock::Taking, table::Table},
};

/// How often it is looked whether a cancelled execution is over.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Makes sure that the trigger's policy lets the execution start.
///
/// # Errors
/// If it is to be skipped, or DynamoDB does not answer.
pub async fn admit<T: Table, C: Clock>(held: &OwnedExecution<'_, T, C>, policy: &Policy) -> Result<(), RunStop> {
    // What is to take another's place must not end it and then be kept from running itself; what another keeps from
    // running is no start.
    let counts_first = policy.overlap == Overlap::CancelOther;
    if !counts_first {
        enter(held, policy.overlap).await?;
    }
    let OwnedExecution {
        store, holder: Holder { execution: ExecutionRef { trigger_id, execution_id, .. }, .. }, ..
    } = held;
    if let Some(reason) = store.count_start(trigger_id, execution_id, policy, store.clock.now_millis()).await? {
        return Err(RunStop::Skipped(reason, None));
    }
    if counts_first {
        enter(held, policy.overlap).await?;
    }
    Ok(())
}

/// Makes sure that no other execution of the trigger is alive, as its policy wants it.
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
        // One that has waited while a newer one came and went is late: the newer one has taken its place.
        let other = match store.take_run_lock(held.holder, *lease, asked.is_some()).await? {
            Taking::Taken(until) => {
                held.took_run_lock(until);
                return Ok(());
            }
            Taking::Refused(other) => other,
        };
        let meeting = meet(overlap, execution_id, &other, asked.as_deref());
        // Of one that was asked to end already the meeting is to wait.
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
