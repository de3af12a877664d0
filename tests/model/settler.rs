//! Settling: the real `close_abandoned`, and the queue that delivers again. `Settler::settle` in `src/settle.rs` reads the
//! row before it in the same way.

use std::time::Duration;

use agent_trigger::{
    clock::Clock as _,
    domain::{
        attempt::StartTime,
        close_decision::CloseAction,
        ending::Ending,
        execution::{ExecutionRef, Status},
        failure::{ErrorType, Failure},
        run_state::RunState,
    },
    lifecycle::abandoned::{UnstartedExecution, close_abandoned},
    lifecycle::close::CloseLimits,
    lifecycle::detached::after_close,
    store::in_place::Remembered,
};

use crate::{
    attempt::fire,
    detached::SimLooks,
    rules::{LEASE, Rule},
    schedule::{Machine, World},
    table::{TRIGGER, name},
};

/// The settle queue's delay, and its visibility timeout.
pub(crate) const DELAY: i64 = 60_000;
/// The time of an invocation that settles.
const LIMIT: Duration = Duration::from_secs(900);

/// One message of the settle queue: delivered until it is settled.
///
/// `was_refused` says that the last attempt returned `InvalidEvent`, after which no record is needed.
pub(crate) async fn receive(world: &World, request_id: &str, was_refused: bool) {
    loop {
        world.sim.sleep(DELAY).await;
        if settle(world, request_id, was_refused).await {
            return;
        }
        world.sim.note(|| "not settled yet".to_owned());
    }
}

/// Returns false if the message is left for another delivery.
async fn settle(world: &World, request_id: &str, was_refused: bool) -> bool {
    if was_refused && !world.rules.has(Rule::DetoursLook) {
        return true;
    }
    let Machine { store, clock, .. } = world.machine("");
    let is_unseen = world.is_unseen();
    if is_unseen {
        // As `Settler::settle_subscribers` does.
        match store.remembered(request_id).await {
            Err(_) => return false,
            Ok(Remembered { in_place: None, .. }) => {
                world.promises().missed();
                return true;
            }
            Ok(_) => {}
        }
    }
    let (fire, id) = (fire(world.rerun), name(world.execution()));
    let Ok(row) = store.execution(TRIGGER, &id).await else { return false };
    let started = StartTime::new(world.sim.now(), Duration::from_secs(30 * 24 * 60 * 60));
    let failure = Failure::fatal(ErrorType::RecordStoreFailed, "");
    let unstarted = UnstartedExecution {
        fire: &fire,
        started: &started,
        lambda_request_id: request_id,
        attempt: 3,
        ending: Ending::new(Status::Failed, world.sim.now(), Some(failure)),
    };
    let unstarted = Some(&unstarted).filter(|_| !was_refused && !is_unseen);
    let state = RunState::default();
    let limits = CloseLimits { until: clock.instant() + LIMIT, state: &state };
    let closed = close_abandoned(&store, LEASE, &fire, &id, row, unstarted, limits).await;
    if let Ok((action, row)) = &closed {
        let id = name(world.execution());
        let execution = ExecutionRef { user_id: "u", trigger_id: TRIGGER, execution_id: &id };
        let looks = SimLooks::new(world, false);
        if after_close(&store, &looks, LEASE, execution, *action, row.as_ref()).await.is_err() {
            return false;
        }
    }
    if is_unseen && matches!(closed, Ok((CloseAction::Nothing, None))) {
        world.promises().missed();
    }
    closed.is_ok_and(|(action, _)| action != CloseAction::Alive)
}
