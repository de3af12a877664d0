//! One attempt: the steps of `src/handler.rs` and `src/claim.rs` around the same decisions.

use std::cell::Cell;

use agent_trigger::{
    domain::execution::{ClaimDecision, Claimant, Row, Status},
    domain::failure::ErrorType,
    domain::policy::Overlap,
};
use futures_util::future::{Either, select};

use crate::{
    agent::{Agent, Posted},
    network::{Client, StoreError},
    promises::Told,
    rules::{LEASE, Rule, Rules, millis},
    sim::Sim,
    table::{Answer, Ending, Request, new_row},
};

/// As in `src/claim.rs`.
pub(crate) const MAX_SWAPS: usize = 5;
/// As in `src/backoff.rs`.
const MAX_TRIES: usize = 3;

pub(crate) struct Attempt {
    pub(crate) sim: Sim,
    pub(crate) rules: Rules,
    pub(crate) client: Client,
    pub(crate) agent: Agent,
    pub(crate) owner: String,
    pub(crate) request_id: String,
    pub(crate) rerun: bool,
    pub(crate) overlap: Overlap,
    /// Whether it may freeze at the worst of moments too.
    pub(crate) may_freeze: bool,
    /// How far its clock is ahead.
    pub(crate) clock: i64,
    pub(crate) run_until: i64,
    pub(crate) write_until: i64,
    pub(crate) number: Cell<u32>,
    pub(crate) until: Cell<i64>,
    pub(crate) called: Cell<bool>,
    pub(crate) has_turn: Cell<bool>,
    /// How the attempt before it ended.
    pub(crate) before: Cell<Option<ErrorType>>,
}

enum Claim {
    Owned,
    Duplicate(Box<Row>),
    Cancelled,
    Interrupted,
}

enum ClaimError {
    Store(StoreError),
    Contended,
    InProgress,
}

impl From<StoreError> for ClaimError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Why a run stopped short of an answer's good end.
pub(crate) enum Halt {
    Lost,
    Cancelled,
    Skipped,
    Failed(ErrorType, bool),
}

impl Attempt {
    /// What Lambda is told.
    pub(crate) async fn run(&self) -> Told {
        match self.claim_or_give_up().await {
            Ok(Claim::Owned) => {}
            Ok(Claim::Duplicate(row)) if row.status == Status::Failed => {
                let error_type = row.error_type.as_deref().and_then(ErrorType::from_name);
                return Told::Replayed(error_type.unwrap_or(ErrorType::Internal));
            }
            Ok(Claim::Duplicate(row)) => return Told::Duplicate(row.status),
            Ok(Claim::Cancelled) => return Told::Cancelled,
            Ok(Claim::Interrupted) => return Told::Replayed(ErrorType::Interrupted),
            Err(told) => return told,
        }
        let work = Box::pin(self.call_agent());
        let limited = async {
            match select(work, Box::pin(self.sim.sleep_until(self.run_until))).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(_) => Err(self.unless_called(ErrorType::DeadlineExceeded)),
            }
        };
        let outcome = match select(Box::pin(limited), Box::pin(self.keep())).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((halt, _)) => Err(halt),
        };
        let told = self.write_down(outcome).await;
        self.give_turn_up().await;
        told
    }

    pub(crate) fn now(&self) -> i64 {
        self.sim.now() + self.clock
    }

    async fn claim_or_give_up(&self) -> Result<Claim, Told> {
        let error = match self.in_time(self.run_until, self.claim()).await {
            Some(Ok(claim)) => return Ok(claim),
            Some(Err(error)) => error,
            None => ClaimError::Store(StoreError),
        };
        let ClaimError::Store(StoreError) = error else {
            let is_in_progress = matches!(error, ClaimError::InProgress);
            return Err(Told::Unrecorded(if is_in_progress { ErrorType::InProgress } else { StoreError::ERROR_TYPE }));
        };
        let ending = Ending::failed(StoreError::ERROR_TYPE, self.rules.is_retryable(true, self.number.get()));
        // Whether it is taken back or not, Lambda is told the same.
        let taking_back = self.client.send(Request::Finish { owner: self.owner.clone(), ending });
        let _ = self.in_time(self.write_until, taking_back).await;
        Err(Told::Unrecorded(StoreError::ERROR_TYPE))
    }

    async fn claim(&self) -> Result<Claim, ClaimError> {
        let mut seen: Option<Row> = None;
        let mut swaps = 0;
        loop {
            let now = self.now();
            let me =
                Claimant { owner: &self.owner, lambda_request_id: &self.request_id, rerun_if_interrupted: self.rerun };
            let decision = self.rules.decide(seen.as_ref(), now, me);
            let lease_until = LEASE.until(now);
            let request = match (decision, seen) {
                (ClaimDecision::Claim(number), seen) => {
                    self.number.set(number);
                    let mut row = new_row(Status::Running, Some(&self.owner), number, &self.request_id);
                    row.lease_until = Some(lease_until);
                    self.before.set(seen.as_ref().filter(|_| number > 1).map(end_of));
                    match seen {
                        Some(seen) => Request::ClaimOver { row, seen },
                        None => Request::ClaimNew { row },
                    }
                }
                (ClaimDecision::AlreadyOwned, Some(row)) => {
                    self.number.set(row.attempt.unwrap_or(1));
                    self.until.set(row.lease_until.unwrap_or(now));
                    return Ok(Claim::Owned);
                }
                (ClaimDecision::AlreadyEnded | ClaimDecision::Duplicate, Some(row)) => {
                    return Ok(Claim::Duplicate(Box::new(row)));
                }
                (ClaimDecision::Cancel, Some(seen)) => Request::EndAbandoned { ending: Ending::cancelled(), seen },
                (ClaimDecision::Interrupt, Some(seen)) => {
                    Request::EndAbandoned { ending: Ending::failed(ErrorType::Interrupted, false), seen }
                }
                (ClaimDecision::Wait, Some(_)) => {
                    seen = self.look_again().await?;
                    continue;
                }
                (_, None) => return Err(ClaimError::Contended),
            };
            match self.client.send(request).await? {
                Answer::Done(_) => {
                    return Ok(match decision {
                        ClaimDecision::Cancel => Claim::Cancelled,
                        ClaimDecision::Interrupt => Claim::Interrupted,
                        _ => {
                            self.until.set(lease_until);
                            Claim::Owned
                        }
                    });
                }
                Answer::Refused(row) => seen = row,
                Answer::RunLock(_) => return Err(ClaimError::Contended),
            }
            swaps += 1;
            if swaps > MAX_SWAPS {
                return Err(ClaimError::Contended);
            }
        }
    }

    async fn look_again(&self) -> Result<Option<Row>, ClaimError> {
        let wait = millis(LEASE.heartbeat());
        loop {
            if !self.allows(wait) {
                return Err(ClaimError::InProgress);
            }
            self.sim.sleep(wait).await;
            if let Ok(Answer::Done(row) | Answer::Refused(row)) = self.client.send(Request::Read).await {
                return Ok(row);
            }
        }
    }

    fn allows(&self, wait: i64) -> bool {
        self.sim.now() + wait < self.run_until
    }

    async fn call_agent(&self) -> Result<(), Halt> {
        let token = self.token().await;
        self.may_start().await?;
        token?;
        let mut tries = 1;
        let mut may_refresh = true;
        // It stands for the connection, which ends where the run does.
        let (reading, stream) = loop {
            self.ensure_half().await?;
            self.called.set(true);
            let reading = self.agent.promises.reads(&self.owner);
            match self.agent.post(&self.owner).await {
                Posted::Streams { millis, failure } => break (reading, (millis, failure)),
                Posted::Failed(error_type) => return Err(Halt::Failed(error_type, false)),
                Posted::Unauthorized if may_refresh => {
                    self.called.set(false);
                    may_refresh = false;
                    self.token().await?;
                }
                Posted::Unauthorized => return Err(Halt::Failed(ErrorType::AgentRejected, false)),
                Posted::Unavailable { retry_after } => {
                    self.called.set(false);
                    let wait = self.sim.draw(0..=400 << tries).max(retry_after);
                    if tries == MAX_TRIES || !self.allows(wait) {
                        return Err(Halt::Failed(ErrorType::AgentUnavailable, true));
                    }
                    tries += 1;
                    drop(reading);
                    self.sim.sleep(wait).await;
                }
            }
        };
        let (millis, failure) = stream;
        self.sim.sleep(millis).await;
        drop(reading);
        match failure {
            _ if self.sim.chance(1) => Err(self.unless_called(ErrorType::Internal)),
            Some(error_type) => Err(Halt::Failed(error_type, false)),
            None => {
                self.agent.promises.call_completed(&self.owner);
                Ok(())
            }
        }
    }

    async fn token(&self) -> Result<(), Halt> {
        let sim = &self.sim;
        sim.sleep(if sim.chance(10) { sim.draw(1..=15_000) } else { sim.draw(1..=100) }).await;
        match sim.draw(0..=49) {
            0 => Err(Halt::Failed(ErrorType::AuthenticationFailed, false)),
            1 => Err(Halt::Failed(ErrorType::AuthenticationFailed, true)),
            2 => Err(self.unless_called(ErrorType::Internal)),
            _ => Ok(()),
        }
    }

    fn unless_called(&self, error_type: ErrorType) -> Halt {
        Halt::Failed(error_type, !self.called.get() || !self.rules.has(Rule::FinalOnceCalled))
    }

    async fn write_down(&self, outcome: Result<(), Halt>) -> Told {
        let ending = match outcome {
            Ok(()) => Ending::completed(),
            Err(Halt::Lost) => return Told::Unrecorded(ErrorType::LeaseLost),
            Err(Halt::Cancelled) => {
                // The session is stopped first, where there is one.
                self.sim.sleep(self.sim.draw(0..=5_000)).await;
                Ending::cancelled()
            }
            // What was tried is not told as if it had not been.
            Err(Halt::Skipped) => self.before.get().map_or(Ending::skipped(), |before| Ending::failed(before, false)),
            Err(Halt::Failed(error_type, retryable)) => {
                Ending::failed(error_type, self.rules.is_retryable(retryable, self.number.get()))
            }
        };
        match self.finish(ending).await {
            Ok(()) => {}
            Err(Some(_)) => return Told::Unrecorded(StoreError::ERROR_TYPE),
            Err(None) => return Told::Unrecorded(ErrorType::LeaseLost),
        }
        match ending.error_type {
            Some(error_type) => Told::Failed(error_type, ending.retryable),
            None if ending.status == Status::Cancelled => Told::Cancelled,
            None if ending.status == Status::Skipped => Told::Skipped,
            None => Told::Completed,
        }
    }
}

/// As in `src/results.rs`.
fn end_of(row: &Row) -> ErrorType {
    let stored = row.error_type.as_deref().and_then(ErrorType::from_name).unwrap_or(ErrorType::Internal);
    if row.status == Status::Running { ErrorType::Interrupted } else { stored }
}
