//! What is promised about the executions of one trigger that may not run twice at once, or of which only so many may,
//! checked like the promises of each of them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use agent_trigger::domain::run_lock::{RunLock, Slot};

use crate::{
    Counts,
    expression::{Clause, Operator, Request, integer},
    promises::{Broken, Promise, Promises},
    rules::{LEASE, millis},
    sim::Sim,
    table::{Kind, name, number},
};

#[derive(Default)]
struct State {
    /// The slots of the run lock. Each is the turn of its owner.
    turns: BTreeMap<Slot, RunLock>,
    /// The turns before them, each with the time at which another attempt took its slot.
    earlier: Vec<(Slot, RunLock, i64)>,
    /// When attempts took their slots last.
    taken: BTreeMap<String, i64>,
    /// The attempts that gave their turn up.
    gave_up: Vec<String>,
    /// The counts of what happened.
    counts: Counts,
}

/// The executions of one trigger.
#[derive(Clone)]
pub(crate) struct Alone {
    fires: Rc<Vec<Promises>>,
    /// How many of them the trigger's policy lets run at a time, if it has a limit. The highest, if it is edited.
    slots: Option<u32>,
    state: Rc<RefCell<State>>,
    broken: Broken,
}

impl Alone {
    pub(crate) fn new(fires: Rc<Vec<Promises>>, slots: Option<u32>, broken: Broken) -> Self {
        Self { fires, slots, state: Rc::default(), broken }
    }

    /// A write to the run lock that was applied.
    pub(crate) fn written(
        &self,
        (kind, now): (Kind, i64),
        request: &Request,
        slot: Slot,
        old: Option<&RunLock>,
        new: &RunLock,
    ) {
        let mut state = self.state.borrow_mut();
        if kind == Kind::TakeLock {
            state.taken.insert(new.owner.clone().unwrap_or_default(), now);
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
            if slot > 0 {
                *state.counts.entry(format!("turn: slot {slot} taken {from}")).or_default() += 1;
            }
        }
        if let Some(old) = old.filter(|old| kind == Kind::KeepLock && old.until == Some(0)) {
            self.broken.breaks(Promise::ReleasedStaysReleased, format!("{:?} holds the run lock again", old.owner));
        }
        let earlier = state.turns.insert(slot, new.clone()).filter(|earlier| earlier.owner != new.owner);
        state.earlier.extend(earlier.map(|earlier| (slot, earlier, now)));
    }

    /// `by` has asked for the end of `execution`, and it was noted.
    pub(crate) fn cancel_asked(&self, by: usize, execution: usize) {
        *self.state.borrow_mut().counts.entry("turn: cancel asked for".to_owned()).or_default() += 1;
        if execution >= by {
            let detail = format!("{} asked for the end of {}", name(by), name(execution));
            self.broken.breaks(Promise::TheNewerStay, detail);
        }
    }

    /// `owner`, which has a slot of the run lock, calls the agent and trusts in a lease until `until`.
    pub(crate) fn trusts(&self, owner: &str, slot: Slot, until: i64) {
        let state = self.state.borrow();
        let held = state.turns.get(&slot).filter(|turn| turn.owner.as_deref() == Some(owner));
        if let Some(lock) = held.filter(|lock| lock.until < Some(until)) {
            let detail = format!("{owner} trusts until {until} in a run lock that ends at {:?}", lock.until);
            self.broken.breaks(Promise::LockOutlastsTheLease, detail);
        }
    }

    /// The attempt that has a slot of the run lock.
    pub(crate) fn lock_owner(&self, slot: Slot) -> Option<String> {
        self.state.borrow().turns.get(&slot).and_then(|turn| turn.owner.clone())
    }

    pub(crate) fn gives_up(&self, owner: &str) {
        self.state.borrow_mut().gave_up.push(owner.to_owned());
    }

    /// `owner` was admitted, where at most so many may run at once.
    pub(crate) fn admitted(&self, sim: &Sim, owner: &str, slots: u32, asked_at: i64) {
        let state = self.state.borrow();
        let others = state.turns.values().filter(|turn| turn.owner.as_deref() != Some(owner));
        // What was held all the while, by an attempt that is neither over nor has it lost.
        let held = others.filter(|turn| {
            let (Some(other), Some(id)) = (turn.owner.as_deref(), turn.execution_id.as_deref()) else { return false };
            let skew = millis(LEASE.skew());
            let is_alive = turn.until.is_some_and(|until| until > sim.now() + skew);
            let fire = &self.fires[number(id)];
            is_alive && fire.was_left(other).is_none() && state.taken.get(other).is_some_and(|at| *at < asked_at)
        });
        let held = held.count();
        if held >= usize::try_from(slots).unwrap_or(usize::MAX) {
            let detail = format!("{owner} was admitted as one of {slots} beside {held} others");
            self.broken.breaks(Promise::LoweredCounts, detail);
        }
    }

    /// A call reaches the agent.
    pub(crate) fn call_arrives(&self, sim: &Sim, execution: usize, owner: &str, is_accepted: bool) {
        let Some(slots) = self.slots.and_then(|slots| usize::try_from(slots).ok()) else { return };
        let state = self.state.borrow();
        let held = state.turns.values().filter(|turn| turn.until > Some(0));
        let turn_of: Vec<&str> = held.filter_map(|turn| turn.owner.as_deref()).collect();
        let has_left = state.gave_up.iter().any(|gone| gone == owner) || self.fires[execution].has_ended(owner);
        if !turn_of.contains(&owner) && !has_left {
            let detail = format!("{owner} called when it was the turn of {turn_of:?}");
            self.broken.breaks(Promise::OnlyInTurn, detail);
        }
        let others = self.fires.iter().enumerate().filter(|(other, _)| *other != execution).map(|(_, fire)| fire);
        let at_work: Vec<String> = others.clone().filter_map(|fire| fire.at_work(sim)).collect();
        let works_on: Vec<String> = others.clone().filter_map(|fire| fire.works_on(sim)).collect();
        let left: Vec<String> = others.filter_map(Promises::left_at_work).collect();
        if is_accepted && !left.is_empty() && left.len() + at_work.len() >= slots {
            let detail = format!("the agent accepted {owner} while it was at work for {left:?}, which had ended");
            self.broken.breaks(Promise::SessionsEndFirst, detail);
        }
        // One that reads the answer of an agent which works on is one at work.
        let busy: BTreeSet<&String> = at_work.iter().chain(&works_on).collect();
        if is_accepted && !has_left && !works_on.is_empty() && busy.len() >= slots {
            let detail =
                format!("the agent accepted {owner} while it worked on for {works_on:?}, and {at_work:?} read");
            self.broken.breaks(Promise::DetachedKeepTheirTurn, detail);
        }
        if is_accepted && !has_left && at_work.len() >= slots {
            let detail = format!("the agent accepted {owner} while {at_work:?} read for other fires");
            self.broken.breaks(Promise::NeverTooManyAtWork, detail);
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
        // A detached run keeps its turn while its agent works, and a quarter of an hour beyond its deadline if the agent is
        // dead.
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

    /// `execution`, whose attempt `owner` has looked since `asked_at`, is not run because `limit` others run at once.
    pub(crate) fn skips_as_full(&self, sim: &Sim, execution: usize, owner: &str, limit: u32, asked_at: i64) {
        *self.state.borrow_mut().counts.entry("turn: skipped, no slot was free".to_owned()).or_default() += 1;
        let state = self.state.borrow();
        let longest = millis(LEASE.0 + 2 * LEASE.skew());
        // Between the look and its end as skipped the process may have been frozen, and the slots have changed hands.
        let since = state.earlier.iter().filter(|(_, _, until)| *until >= asked_at).map(|(slot, turn, _)| (slot, turn));
        let (mut living, mut awake) = (BTreeSet::new(), BTreeSet::new());
        for (slot, turn) in state.turns.iter().chain(since).filter(|(_, turn)| turn.owner.as_deref() != Some(owner)) {
            let (Some(other), Some(id)) = (turn.owner.as_deref(), turn.execution_id.as_deref()) else { continue };
            let fire = &self.fires[number(id)];
            if fire.was_left(other).is_some_and(|left_at| left_at < asked_at) {
                continue;
            }
            living.insert(slot);
            if fire.is_detached() || fire.last_awake(sim, other).is_some_and(|at| asked_at - at <= longest) {
                awake.insert(slot);
            }
        }
        let (living, awake) = (u32::try_from(living.len()).unwrap_or(0), u32::try_from(awake.len()).unwrap_or(0));
        if living < limit {
            let detail = format!("{} was skipped for {limit} of which {living} had not ended", name(execution));
            self.broken.breaks(Promise::SkippedForTheLiving, detail);
        } else if awake < limit {
            let dead = living - awake;
            let detail = format!("{} was skipped for {limit} of which {dead} had long died", name(execution));
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
