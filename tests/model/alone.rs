//! What is promised about the executions of one trigger that may not run twice at once, checked like the promises of
//! each of them.

use std::{cell::RefCell, rc::Rc};

use agent_trigger::domain::run_lock::RunLock;

use crate::{
    Counts,
    expression::{Clause, Operator, Request, integer},
    promises::{Broken, Promise, Promises},
    rules::{LEASE, millis},
    sim::Sim,
    table::{Kind, name},
};

#[derive(Default)]
struct State {
    turn: Option<RunLock>,
    /// The attempts that gave their turn up.
    gave_up: Vec<String>,
    /// The counts of what happened.
    counts: Counts,
}

/// The executions of one trigger.
#[derive(Clone)]
pub(crate) struct Alone {
    fires: Rc<Vec<Promises>>,
    /// Whether the trigger's policy lets only one of them run at a time.
    is_wanted: bool,
    state: Rc<RefCell<State>>,
    broken: Broken,
}

impl Alone {
    pub(crate) fn new(fires: Rc<Vec<Promises>>, is_wanted: bool, broken: Broken) -> Self {
        Self { fires, is_wanted, state: Rc::default(), broken }
    }

    /// A write to the run lock that was applied.
    pub(crate) fn written(&self, kind: Kind, request: &Request, old: Option<&RunLock>, new: &RunLock) {
        let mut state = self.state.borrow_mut();
        if kind == Kind::TakeLock {
            if let Some(old) = old.filter(|old| request.has_waited && old.execution_id > new.execution_id) {
                let detail = format!("{:?} took the run lock after {:?}", new.execution_id, old.execution_id);
                self.broken.breaks(Promise::WaitersYield, detail);
            }
            let is_over = |old: &RunLock| {
                request.condition.has(&|clause| {
                    matches!(clause, Clause::Compare(_, Operator::Less, before) if old.until < integer(before))
                })
            };
            let from = match old {
                _ if kind.takes_over(request) => "of one that had ended",
                Some(old) if old.owner == new.owner => "a second time",
                Some(old) if old.until == Some(0) => "when it was given up",
                Some(old) if is_over(old) => "when its lease was over",
                Some(_) => "of the living",
                None => "when there was none",
            };
            *state.counts.entry(format!("turn: taken {from}")).or_default() += 1;
        }
        if let Some(old) = old.filter(|old| kind == Kind::KeepLock && old.until == Some(0)) {
            self.broken.breaks(Promise::ReleasedStaysReleased, format!("{:?} holds the run lock again", old.owner));
        }
        state.turn = Some(new.clone());
    }

    /// `by` has asked for the end of `execution`, and it was noted.
    pub(crate) fn cancel_asked(&self, by: usize, execution: usize) {
        *self.state.borrow_mut().counts.entry("turn: cancel asked for".to_owned()).or_default() += 1;
        if execution >= by {
            let detail = format!("{} asked for the end of {}", name(by), name(execution));
            self.broken.breaks(Promise::TheNewerStay, detail);
        }
    }

    /// `owner`, which has the run lock, calls the agent and trusts in a lease until `until`.
    pub(crate) fn trusts(&self, owner: &str, until: i64) {
        let state = self.state.borrow();
        let held = state.turn.as_ref().filter(|turn| turn.owner.as_deref() == Some(owner));
        if let Some(lock) = held.filter(|lock| lock.until < Some(until)) {
            let detail = format!("{owner} trusts until {until} in a run lock that ends at {:?}", lock.until);
            self.broken.breaks(Promise::LockOutlastsTheLease, detail);
        }
    }

    /// The attempt that has the run lock.
    pub(crate) fn lock_owner(&self) -> Option<String> {
        self.state.borrow().turn.as_ref().and_then(|turn| turn.owner.clone())
    }

    pub(crate) fn gives_up(&self, owner: &str) {
        self.state.borrow_mut().gave_up.push(owner.to_owned());
    }

    /// A call reaches the agent.
    pub(crate) fn call_arrives(&self, sim: &Sim, execution: usize, owner: &str, is_accepted: bool) {
        if !self.is_wanted {
            return;
        }
        let state = self.state.borrow();
        let turn_of = state.turn.as_ref().filter(|turn| turn.until > Some(0)).and_then(|turn| turn.owner.as_deref());
        let has_left = state.gave_up.iter().any(|gone| gone == owner) || self.fires[execution].has_ended(owner);
        if turn_of != Some(owner) && !has_left {
            let detail = format!("{owner} called when it was the turn of {}", turn_of.unwrap_or("nobody"));
            self.broken.breaks(Promise::OnlyInTurn, detail);
        }
        let others = self.fires.iter().enumerate().filter(|(other, _)| *other != execution);
        if let Some(other) = others.clone().find_map(|(_, fire)| fire.left_at_work()).filter(|_| is_accepted) {
            let detail = format!("the agent accepted {owner} while it was at work for {other}, which had ended");
            self.broken.breaks(Promise::SessionsEndFirst, detail);
        }
        if let Some(other) =
            others.clone().find_map(|(_, fire)| fire.works_on(sim)).filter(|_| is_accepted && !has_left)
        {
            let detail = format!("the agent accepted {owner} while it worked on for {other}");
            self.broken.breaks(Promise::DetachedKeepTheirTurn, detail);
        }
        if let Some(other) =
            others.into_iter().find_map(|(_, fire)| fire.at_work(sim)).filter(|_| is_accepted && !has_left)
        {
            let detail = format!("the agent accepted {owner} while {other} was reading for another fire");
            self.broken.breaks(Promise::NeverTwoFiresAtWork, detail);
        }
    }

    /// `execution`, which has asked for the turn at `asked_at`, is not run for the sake of `other`, whose it was.
    pub(crate) fn skips(
        &self,
        sim: &Sim,
        execution: usize,
        other: usize,
        turn: &RunLock,
        asked_at: i64,
        has_waited: bool,
    ) {
        *self.state.borrow_mut().counts.entry("turn: skipped".to_owned()).or_default() += 1;
        if has_waited && other > execution {
            return;
        }
        let owner = turn.owner.as_deref().unwrap_or_default();
        let fire = &self.fires[other];
        if other == execution || fire.was_left(owner).is_some_and(|left_at| left_at < asked_at) {
            let detail = format!("{} was skipped for {}, of which {owner} had ended", name(execution), name(other));
            self.broken.breaks(Promise::SkippedForTheLiving, detail);
        }
        // A detached run keeps its turn while its agent works, and until its deadline if the agent is dead.
        if fire.is_detached() {
            return;
        }
        let last_alive = fire.last_awake(sim, owner);
        let longest = millis(LEASE.0 + 2 * LEASE.skew());
        if last_alive.is_none_or(|at| asked_at - at > longest) {
            let detail = format!("{} was skipped for {owner}, who had long died", name(execution));
            self.broken.breaks(Promise::NoTurnOfTheDead, detail);
        }
    }

    /// The input of an execution became another.
    pub(crate) fn input_overwritten(&self, detail: String) {
        self.broken.breaks(Promise::InputStays, detail);
    }

    pub(crate) fn count(&self, counts: &mut Counts) {
        for (what, count) in &self.state.borrow().counts {
            *counts.entry(what.clone()).or_default() += count;
        }
    }
}
