//! The turn of an attempt's trigger: the steps of `src/overlap.rs` around the same decisions.

use agent_trigger::{
    domain::policy::Overlap,
    domain::run_lock::{Meeting, RunLock},
};

use crate::{
    attempt::{Attempt, Halt, MAX_SWAPS},
    network::StoreError,
    rules::{LEASE, Rule},
    table::{Answer, Request},
};

/// As in `src/overlap.rs`.
const LOOK_AGAIN: i64 = 1_000;

/// What the name of an execution is, among those of its trigger: names sort by the time of their fires.
pub(crate) fn name(execution: usize) -> String {
    format!("e{execution}")
}

fn number(name: &str) -> usize {
    name.trim_start_matches('e').parse().expect("the name of an execution")
}

/// Another execution that has the turn, and when it was asked for.
struct Found {
    other: String,
    turn: RunLock,
    asked_at: i64,
}

impl Attempt {
    /// Makes sure that no other execution of the trigger is alive, as its policy wants it.
    pub(crate) async fn may_start(&self) -> Result<(), Halt> {
        if self.overlap == Overlap::Allow {
            return Ok(());
        }
        let me = name(self.client.execution);
        let mut asked: Option<String> = None;
        loop {
            let Found { other, turn, asked_at } = match self.take_turn(asked.is_some()).await? {
                Ok(until) => {
                    self.took_turn(until);
                    return Ok(());
                }
                Err(found) => found,
            };
            match self.rules.meet(self.overlap, &me, &other, asked.as_deref()) {
                Meeting::Lost => return Err(Halt::Lost),
                Meeting::Skip => {
                    let has_waited = asked.is_some();
                    self.agent.alone.skips(
                        &self.sim,
                        self.client.execution,
                        number(&other),
                        &turn,
                        asked_at,
                        has_waited,
                    );
                    return Err(Halt::Skipped);
                }
                Meeting::Cancel => {
                    let request = Request::AskForCancel { by: Some(self.client.execution) };
                    self.client.send_to(number(&other), request).await.map_err(unstarted)?;
                    asked = Some(other);
                }
                Meeting::Wait => {}
            }
            self.sim.sleep(LOOK_AGAIN).await;
        }
    }

    /// Until when it is taken, or whose it is.
    async fn take_turn(&self, has_waited: bool) -> Result<Result<i64, Found>, Halt> {
        let me = name(self.client.execution);
        let yields = has_waited && self.rules.has(Rule::WaitersYield);
        let mut over: Option<RunLock> = None;
        for _ in 0..=MAX_SWAPS {
            let (now, asked_at) = (self.now(), self.sim.now());
            let until = LEASE.until(now);
            let turn = RunLock { execution_id: Some(me.clone()), owner: Some(self.owner.clone()), until: Some(until) };
            let was_over = over.is_some();
            let over_before = self.rules.over_before(now);
            let request = Request::TakeTurn { turn, over_before, over: over.take(), has_waited };
            if self.may_freeze {
                self.sim.may_freeze_here();
            }
            let Answer::RunLock(refused) = self.client.send(request).await.map_err(unstarted)? else {
                return Err(unstarted(StoreError));
            };
            let Some(found) = refused else { return Ok(Ok(until)) };
            if was_over && self.rules.has(Rule::LookAnew) {
                continue;
            }
            let Some((turn, other)) = found.and_then(|turn| Some((turn.clone(), turn.execution_id?))) else { continue };
            let row = match self.client.send_to(number(&other), Request::Read).await.map_err(unstarted)? {
                Answer::Done(row) | Answer::Refused(row) => row,
                Answer::RunLock(_) => None,
            };
            let row = row.filter(|_| self.rules.has(Rule::EndedTurnIsFree));
            if !turn.may_be_taken(row.as_ref(), &me, yields) {
                return Ok(Err(Found { other, turn, asked_at }));
            }
            over = Some(turn);
        }
        Err(unstarted(StoreError))
    }

    /// `true` too where no turn is to be kept.
    pub(crate) async fn keep_turn(&self, until: i64) -> Result<bool, StoreError> {
        if !self.has_turn.get() || !self.rules.has(Rule::TurnIsKept) {
            return Ok(true);
        }
        let answer = self.client.send(Request::KeepTurn { owner: self.owner.clone(), until }).await?;
        Ok(match answer {
            Answer::RunLock(Some(found)) => found.is_some_and(|turn| turn.is_kept_longer(&self.owner, until)),
            _ => true,
        })
    }

    /// Lets another execution of the trigger run, if this one kept it from doing so.
    pub(crate) async fn give_turn_up(&self) {
        if self.has_turn.get() {
            self.agent.alone.gives_up(&self.owner);
            let giving_up = self.client.send(Request::GiveTurnUp { owner: self.owner.clone() });
            let _ = self.in_time(self.write_until, giving_up).await;
        }
    }
}

/// The agent was not called yet.
fn unstarted(_: StoreError) -> Halt {
    Halt::Failed(StoreError::ERROR_TYPE, true)
}
