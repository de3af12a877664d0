//! The table: one row for each execution, the item that says whose turn it is, and the writes of `src/store.rs` and
//! `src/overlap.rs` under the conditions of `src/expression.rs`.

use std::{cell::RefCell, rc::Rc};

use agent_trigger::{
    domain::execution::{Row, Status},
    domain::failure::ErrorType,
    domain::run_lock::RunLock,
};

use crate::{
    alone::Alone,
    overlap::name,
    promises::Promises,
    rules::{Rule, Rules},
    sim::Sim,
};

/// How an execution is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) status: Status,
    pub(crate) error_type: Option<ErrorType>,
    pub(crate) retryable: bool,
}

impl Ending {
    pub(crate) fn cancelled() -> Self {
        Self { status: Status::Cancelled, error_type: None, retryable: false }
    }

    pub(crate) fn skipped() -> Self {
        Self { status: Status::Skipped, ..Self::cancelled() }
    }

    pub(crate) fn completed() -> Self {
        Self { status: Status::Completed, ..Self::cancelled() }
    }

    pub(crate) fn failed(error_type: ErrorType, retryable: bool) -> Self {
        Self { status: Status::Failed, error_type: Some(error_type), retryable }
    }
}

/// One request, named as in `src/store.rs`.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a few exist at a time")]
pub(crate) enum Request {
    ClaimNew {
        row: Row,
    },
    ClaimOver {
        row: Row,
        seen: Row,
    },
    EndAbandoned {
        ending: Ending,
        seen: Row,
    },
    CreateEnded {
        row: Row,
    },
    Finalise {
        seen: Row,
    },
    Heartbeat {
        owner: String,
        until: i64,
    },
    Finish {
        owner: String,
        ending: Ending,
    },
    /// `cancelRequested`, as another fire sets it, or if none does a person.
    AskForCancel {
        by: Option<usize>,
    },
    Read,
    TakeTurn {
        turn: RunLock,
        over_before: i64,
        over: Option<RunLock>,
        has_waited: bool,
    },
    KeepTurn {
        owner: String,
        until: i64,
    },
    GiveTurnUp {
        owner: String,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Applied, or read: the row after it.
    Done(Option<Row>),
    /// The condition did not hold: the row as it stands.
    Refused(Option<Row>),
    /// Of the turn: the item as it stands if the condition did not hold.
    RunLock(Option<Option<RunLock>>),
}

#[derive(Clone)]
pub(crate) struct Table {
    sim: Sim,
    rules: Rules,
    fires: Rc<Vec<Promises>>,
    alone: Alone,
    rows: Rc<RefCell<Vec<Option<Row>>>>,
    turn: Rc<RefCell<Option<RunLock>>>,
}

impl Table {
    pub(crate) fn new(sim: Sim, rules: Rules, fires: Rc<Vec<Promises>>, alone: Alone) -> Self {
        let rows = Rc::new(RefCell::new(vec![None; fires.len()]));
        Self { sim, rules, fires, alone, rows, turn: Rc::default() }
    }

    pub(crate) fn row(&self, execution: usize) -> Option<Row> {
        self.rows.borrow()[execution].clone()
    }

    /// Applies a request at the moment it arrives.
    pub(crate) fn apply(&self, execution: usize, request: &Request) -> Answer {
        if matches!(request, Request::TakeTurn { .. } | Request::KeepTurn { .. } | Request::GiveTurnUp { .. }) {
            return self.apply_to_turn(request);
        }
        let old = self.row(execution);
        let of = if self.fires.len() > 1 { format!("{}: ", name(execution)) } else { String::new() };
        let new = match self.written(request, old.as_ref()) {
            Some(new) => new,
            None if matches!(request, Request::Read) => return Answer::Done(old),
            None => {
                self.sim.note(|| format!("{of}refused: {}", tell(request)));
                return Answer::Refused(old);
            }
        };
        self.sim.note(|| format!("{of}applied: {}", tell(request)));
        self.fires[execution].written(&self.sim, request, old.as_ref(), &new);
        if let Request::AskForCancel { by: Some(by) } = request {
            self.alone.cancel_asked(*by, execution);
        }
        self.rows.borrow_mut()[execution] = Some(new.clone());
        Answer::Done(Some(new))
    }

    fn apply_to_turn(&self, request: &Request) -> Answer {
        let old = self.turn.borrow().clone();
        let Some(new) = self.turned(request, old.as_ref()) else {
            self.sim.note(|| format!("refused: {}", tell(request)));
            return Answer::RunLock(Some(old));
        };
        self.sim.note(|| format!("applied: {}", tell(request)));
        self.alone.written(request, old.as_ref(), &new);
        *self.turn.borrow_mut() = Some(new);
        Answer::RunLock(None)
    }

    /// The turn after the request, unless its condition does not hold.
    fn turned(&self, request: &Request, old: Option<&RunLock>) -> Option<RunLock> {
        let is_of =
            |old: &&RunLock, owner: &String| old.owner.as_ref() == Some(owner) || !self.rules.has(Rule::TurnOwner);
        let is_longer = |old: &RunLock, until: i64| old.until <= Some(until) || !self.rules.has(Rule::TurnOnlyGrows);
        match request {
            Request::TakeTurn { turn, over: Some(seen), .. } => {
                (old == Some(seen) || !self.rules.has(Rule::TurnAsSeen)).then(|| turn.clone())
            }
            Request::TakeTurn { turn, over_before, has_waited, .. } => {
                let yields = *has_waited && self.rules.has(Rule::WaitersYield);
                let may_take = old.is_none_or(|old| {
                    let is_over =
                        old.until < Some(*over_before) && (self.rules.has(Rule::TurnLapses) || old.until == Some(0));
                    let is_mine = old.owner == turn.owner && is_longer(old, turn.until.unwrap_or_default());
                    (is_over || is_mine) && (!yields || old.execution_id <= turn.execution_id)
                });
                may_take.then(|| turn.clone())
            }
            Request::KeepTurn { owner, until } => old
                .filter(|old| is_of(old, owner) && old.until > Some(0) && is_longer(old, *until))
                .map(|old| RunLock { until: Some(*until), ..old.clone() }),
            Request::GiveTurnUp { owner } => {
                old.filter(|old| is_of(old, owner)).map(|old| RunLock { until: Some(0), ..old.clone() })
            }
            _ => None,
        }
    }

    /// The row after the request, unless its condition does not hold.
    fn written(&self, request: &Request, old: Option<&Row>) -> Option<Row> {
        match request {
            Request::Read | Request::TakeTurn { .. } | Request::KeepTurn { .. } | Request::GiveTurnUp { .. } => None,
            Request::ClaimNew { row } | Request::CreateEnded { row } => old.is_none().then(|| row.clone()),
            Request::ClaimOver { row, seen } => old.filter(|old| self.is_as_seen(old, seen)).map(|_| row.clone()),
            Request::EndAbandoned { ending, seen } => {
                old.filter(|old| self.is_as_seen(old, seen)).map(|old| ended(old, *ending))
            }
            Request::Finalise { seen } => {
                old.filter(|old| self.is_as_seen(old, seen)).map(|old| Row { retryable: false, ..old.clone() })
            }
            Request::Heartbeat { owner, until } => old
                .filter(|old| self.is_owned_and_running(old, owner))
                .filter(|old| !self.rules.has(Rule::LeaseOnlyGrows) || old.lease_until <= Some(*until))
                .map(|old| Row { lease_until: Some(*until), ..old.clone() }),
            Request::Finish { owner, ending } => {
                old.filter(|old| self.is_owned_and_running(old, owner)).map(|old| ended(old, *ending))
            }
            // Another fire waits for an attempt that runs, a person for whatever may still run.
            Request::AskForCancel { by } => old
                .filter(|old| {
                    let may_run_again = old.retryable && by.is_none();
                    !self.rules.has(Rule::Terminal) || old.status == Status::Running || may_run_again
                })
                .map(|old| Row { cancel_requested: Some(true), ..old.clone() }),
        }
    }

    fn is_as_seen(&self, row: &Row, seen: &Row) -> bool {
        let has_terminal = self.rules.has(Rule::Terminal);
        (row.status == seen.status || !has_terminal)
            && row.owner == seen.owner
            && row.attempt == seen.attempt
            && (row.lease_until == seen.lease_until || !self.rules.has(Rule::LeaseUntilAsSeen))
            && row.cancel_requested == seen.cancel_requested
            && (row.retryable || !seen.retryable || !has_terminal || !self.rules.has(Rule::RetryableAsSeen))
    }

    fn is_owned_and_running(&self, row: &Row, owner: &str) -> bool {
        (row.owner.as_deref() == Some(owner) || !self.rules.has(Rule::Owner))
            && (row.status == Status::Running || !self.rules.has(Rule::Terminal))
    }
}

/// What the end of an attempt sets, and what it takes off.
fn ended(row: &Row, ending: Ending) -> Row {
    let error_type = ending.error_type.map(|error_type| error_type.as_str().to_owned());
    Row { status: ending.status, error_type, retryable: ending.retryable, ..row.clone() }
}

/// A row as far as the model fills it.
pub(crate) fn new_row(status: Status, owner: Option<&str>, attempt: u32, request_id: &str) -> Row {
    Row {
        status,
        owner: owner.map(str::to_owned),
        attempt: Some(attempt),
        lambda_request_id: Some(request_id.to_owned()),
        ..Row::default()
    }
}

fn tell(request: &Request) -> String {
    let owner = |row: &Row| row.owner.clone().unwrap_or_default();
    match request {
        Request::ClaimNew { row } => format!("{} claims the absent fire", owner(row)),
        Request::ClaimOver { row, seen } => {
            format!(
                "{} claims it as attempt {} over {:?} of {}",
                owner(row),
                row.attempt.unwrap_or(0),
                seen.status,
                owner(seen)
            )
        }
        Request::EndAbandoned { ending, seen } => format!("{} over the run of {}", tell_ending(ending), owner(seen)),
        Request::CreateEnded { row } => {
            format!("failed {} for want of a record", row.error_type.clone().unwrap_or_default())
        }
        Request::Finalise { seen } => format!("the failure of {} made final", owner(seen)),
        Request::Heartbeat { owner, until } => {
            format!("{owner} holds until {}", seconds(*until))
        }
        Request::Finish { owner, ending } => format!("{owner} writes {}", tell_ending(ending)),
        Request::AskForCancel { by: None } => "cancel is asked for".to_owned(),
        Request::AskForCancel { by: Some(by) } => format!("cancel is asked for by {}", name(*by)),
        Request::Read => "read".to_owned(),
        Request::TakeTurn { turn, over, has_waited, .. } => format!(
            "{} takes the turn until {}{}{}",
            turn.owner.clone().unwrap_or_default(),
            seconds(turn.until.unwrap_or_default()),
            if over.is_some() { ", of one that has ended" } else { "" },
            if *has_waited { ", having waited" } else { "" }
        ),
        Request::KeepTurn { owner, until } => format!("{owner} keeps the turn until {}", seconds(*until)),
        Request::GiveTurnUp { owner } => format!("{owner} gives the turn up"),
    }
}

fn tell_ending(ending: &Ending) -> String {
    match ending.error_type {
        Some(error_type) if ending.retryable => format!("{} {error_type} retryable", ending.status.as_str()),
        Some(error_type) => format!("{} {error_type}", ending.status.as_str()),
        None => ending.status.as_str().to_owned(),
    }
}

fn seconds(instant: i64) -> String {
    format!("{:.3} s", (instant - 1_000_000) as f64 / 1000.0)
}
