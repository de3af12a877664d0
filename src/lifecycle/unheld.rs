//! Ending executions that no attempt works on: those that are not run at all, and those whose attempts are all over.

use crate::{
    clock::now_millis,
    domain::execution::{self, Lease, Row, Settlement, Status},
    domain::failure::Failure,
    domain::fire::Fire,
    lifecycle::claim::MAX_SWAPS,
    lifecycle::identify::{Started, session_of},
    lifecycle::results::{Conclusion, Of, failure_of, write_result},
    store::endings,
    store::record::{Attempt, Ending},
    store::{Store, StoreError, Write},
};

/// The record of a fire that no attempt will run.
pub(crate) struct Unrun<'a> {
    pub(crate) fire: &'a Fire,
    pub(crate) started: &'a Started,
    pub(crate) lambda_request_id: &'a str,
    pub(crate) attempt: u32,
    pub(crate) ending: Ending,
}

/// Why an execution could not be ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndError {
    #[error("the execution changed {MAX_SWAPS} times while it was ended")]
    Contended,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Ends an execution if nobody works on it; `row` is what was seen of it, and `unrun` what is written if it does not
/// exist. Returns what was done, with the row that decided it.
pub(crate) async fn end_unheld(
    store: &Store,
    lease: Lease,
    fire: &Fire,
    execution_id: &str,
    mut row: Option<Row>,
    unrun: Option<&Unrun<'_>>,
) -> Result<(Settlement, Option<Row>), EndError> {
    let of = Of::fire(fire, execution_id);
    let trigger_id = of.trigger_id;
    for _ in 0..=MAX_SWAPS {
        let now = now_millis();
        let settlement = execution::settle(row.as_ref(), now, lease);
        let write = match (settlement, &row) {
            (Settlement::Nothing | Settlement::Alive, _) => return Ok((settlement, row)),
            (Settlement::Interrupt, Some(seen)) => {
                let failure = Failure::interrupted(seen);
                let ending = Ending::new(Status::Failed, now, Some(failure.clone()));
                let part = |is_stored| endings::abandoned(trigger_id, execution_id, &ending, seen, is_stored);
                write_result(store, &of, Conclusion::interrupted(&failure, seen), now, part).await?
            }
            (Settlement::Cancel, Some(seen)) => {
                let ending = Ending::new(Status::Cancelled, now, None);
                store.write_part(endings::abandoned(trigger_id, execution_id, &ending, seen, false)).await?
            }
            (Settlement::Finalise, Some(seen)) => {
                let failure = failure_of(seen);
                let part = |is_stored| endings::finalised(trigger_id, execution_id, seen, is_stored);
                write_result(store, &of, Conclusion::failed(&failure), now, part).await?
            }
            (Settlement::Create | Settlement::Interrupt | Settlement::Cancel | Settlement::Finalise, _) => {
                let Some(unrun) = unrun else { return Ok((Settlement::Nothing, row)) };
                let attempt = unrun.attempt(execution_id);
                let part = |is_stored| endings::never_run(unrun.fire, &attempt, &unrun.ending, now, is_stored);
                write_result(store, &of, Conclusion::of(&unrun.ending), now, part).await?
            }
        };
        match write {
            Write::Done => return Ok((settlement, row)),
            Write::Refused(found) => row = found,
        }
    }
    Err(EndError::Contended)
}

impl Unrun<'_> {
    fn attempt(&self, execution_id: &str) -> Attempt {
        Attempt {
            execution_id: execution_id.to_owned(),
            owner: String::new(),
            attempt: self.attempt,
            lambda_request_id: self.lambda_request_id.to_owned(),
            started_at: self.started.at.clone(),
            ttl: self.started.ttl,
            session_id: self.fire.session_id.clone().unwrap_or_else(|| session_of(execution_id)),
            trace: None,
            before: None,
        }
    }
}
