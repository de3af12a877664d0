//! Settling: the steps of `src/settle.rs` around the same decision, and the queue that delivers again.

use agent_trigger::{
    domain::execution::{CloseAction, Row, Status},
    domain::failure::ErrorType,
};

use crate::{
    network::{Client, StoreError},
    schedule::World,
    table::{Answer, Ending, Request, new_row},
};

/// As in `src/settle.rs`.
const MAX_SWAPS: usize = 5;
/// The settle queue's delay, and its visibility timeout.
pub(crate) const DELAY: i64 = 60_000;

/// One message of the settle queue: delivered until it is settled.
pub(crate) async fn receive(world: &World, request_id: &str) {
    loop {
        world.sim.sleep(DELAY).await;
        let client = world.client(world.next_actor());
        if settle(world, &client, world.clock(), request_id).await.is_ok() {
            return;
        }
        world.sim.note(|| "not settled yet".to_owned());
    }
}

/// Why a message is left for another delivery.
struct Unsettled;

impl From<StoreError> for Unsettled {
    fn from(_: StoreError) -> Self {
        Self
    }
}

async fn settle(world: &World, client: &Client, clock: i64, request_id: &str) -> Result<(), Unsettled> {
    let mut row: Option<Row> = match client.send(Request::Read).await? {
        Answer::Done(row) | Answer::Refused(row) => row,
        Answer::RunLock(_) => return Err(Unsettled),
    };
    for _ in 0..MAX_SWAPS {
        let settlement = world.rules.settle(row.as_ref(), world.sim.now() + clock);
        let request = match (settlement, row) {
            (CloseAction::Nothing, _) => return Ok(()),
            (CloseAction::Alive, _) => return Err(Unsettled),
            (CloseAction::Interrupt, Some(seen)) => {
                Request::EndAbandoned { ending: Ending::failed(ErrorType::Interrupted, false), seen }
            }
            (CloseAction::Cancel, Some(seen)) => Request::EndAbandoned { ending: Ending::cancelled(), seen },
            (CloseAction::Finalise, Some(seen)) => Request::Finalise { seen },
            (CloseAction::Create | CloseAction::Interrupt | CloseAction::Cancel | CloseAction::Finalise, _) => {
                let mut row = new_row(Status::Failed, None, 3, request_id);
                row.error_type = Some(StoreError::ERROR_TYPE.as_str().to_owned());
                Request::CreateEnded { row }
            }
        };
        match client.send(request).await? {
            Answer::Done(_) => return Ok(()),
            Answer::Refused(found) => row = found,
            Answer::RunLock(_) => return Err(Unsettled),
        }
    }
    Err(Unsettled)
}
