//! Fires whose trigger item alone says what to run (`stored: true`). The item is read before the claim, because the
//! claim's row holds the agent and the session.

use crate::{
    domain::{ending::SkipReason, failure::Failure, fire::Fire, trigger_snapshot::TriggerKnowledge},
    invocation::InvocationContext,
    lifecycle::lease::RunStop,
    trigger::item::{StoredTask, TriggerItem},
};

/// A fire whose item was read, if it needs one.
pub(super) struct Resolved {
    pub(super) fire: Box<Fire>,
    /// The reason why the fire ends without a run, and the knowledge of its trigger. The end is recorded like that of a
    /// run.
    pub(super) stop: Option<Box<(RunStop, TriggerKnowledge)>>,
}

/// Completes a fire with the task of its trigger item, unless its event says itself what to run. If the item is gone,
/// switched off or invalid, the result has a `stop`.
///
/// # Errors
/// Returns an error if the table gives no result. Nothing has been written then.
pub(super) async fn resolve(context: &InvocationContext<'_>, fire: Box<Fire>) -> Result<Resolved, Failure> {
    if !fire.is_stored || fire.trigger.is_some() {
        return Ok(Resolved { fire, stop: None });
    }
    let store = &context.app.store;
    let reading = store.trigger(&fire.user_id, &fire.trigger_id);
    let item = store.in_time(context.deadline.run_until, reading).await;
    let item = item.map_err(|error| Failure { trigger_id: Some(fire.trigger_id.clone()), ..error.into() })?;
    // The ids of the key were checked when the event was read, so an item that was found is readable.
    let Some(item) = item.and_then(|item| TriggerItem::read(item).ok()) else {
        let stop = (RunStop::Skipped(SkipReason::Deleted, None), TriggerKnowledge::Absent);
        return Ok(Resolved { fire, stop: Some(Box::new(stop)) });
    };
    let platform = context.app.platform();
    let stop = match item.stored_task(&fire, platform) {
        Ok(StoredTask::Run(fire)) => return Ok(Resolved { fire, stop: None }),
        Ok(StoredTask::Skip(reason)) => RunStop::Skipped(reason, None),
        Err(invalid) => RunStop::Failed(invalid),
    };
    let fire = Box::new(Fire { task: item.task(platform), ..*fire });
    let knowledge = TriggerKnowledge::Present(Box::new(item.snapshot()));
    Ok(Resolved { fire, stop: Some(Box::new((stop, knowledge))) })
}
