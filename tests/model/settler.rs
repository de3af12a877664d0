//! Settling: the real `close_abandoned`, and the queue that delivers again. `Settler::settle` in `src/settle.rs` reads the
//! row before it in the same way.

use agent_trigger::{
    domain::{
        attempt::StartTime,
        ending::Ending,
        execution::{CloseAction, Status},
        failure::{ErrorType, Failure},
    },
    lifecycle::close::{UnstartedExecution, close_abandoned},
};

use crate::{
    attempt::fire,
    rules::LEASE,
    schedule::World,
    table::{TRIGGER, name},
};

/// The settle queue's delay, and its visibility timeout.
pub(crate) const DELAY: i64 = 60_000;

/// One message of the settle queue: delivered until it is settled.
pub(crate) async fn receive(world: &World, request_id: &str) {
    loop {
        world.sim.sleep(DELAY).await;
        if settle(world, request_id).await {
            return;
        }
        world.sim.note(|| "not settled yet".to_owned());
    }
}

/// Returns false if the message is left for another delivery.
async fn settle(world: &World, request_id: &str) -> bool {
    let store = world.machine("").store;
    let (fire, id) = (fire(world.rerun), name(world.execution()));
    let Ok(row) = store.execution(TRIGGER, &id).await else { return false };
    let started = StartTime::new(world.sim.now(), std::time::Duration::from_secs(30 * 24 * 60 * 60));
    let failure = Failure::fatal(ErrorType::RecordStoreFailed, "");
    let unstarted = UnstartedExecution {
        fire: &fire,
        started: &started,
        lambda_request_id: request_id,
        attempt: 3,
        ending: Ending::new(Status::Failed, world.sim.now(), Some(failure)),
    };
    let closed = close_abandoned(&store, LEASE, &fire, &id, row, Some(&unstarted)).await;
    closed.is_ok_and(|(action, _)| action != CloseAction::Alive)
}
