//! The agent: what a POST meets on its way, and how its answer ends.

use std::{cell::RefCell, rc::Rc};

use agent_trigger::domain::failure::ErrorType;
use futures_util::future::{Either, select};

use crate::{
    alone::Alone,
    detached::begins,
    promises::Promises,
    rules::{LEASE, millis},
    schedule::World,
    sim::{Letter, Sim},
};

/// What became of one POST.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Posted {
    /// Surely not accepted, and how long the agent asks to wait.
    Unavailable { retry_after: i64 },
    /// 401.
    Unauthorized,
    /// A refusal for good, a failure, or a connection that broke.
    Failed(ErrorType),
    /// Accepted: its answer takes that long, and ends well or with a failure.
    Streams { millis: i64, failure: Option<ErrorType> },
    /// Accepted: it works on, and promises to report at this interval, in seconds.
    Acknowledges { heartbeat_seconds: Option<u32> },
}

#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) sim: Sim,
    pub(crate) promises: Promises,
    pub(crate) alone: Alone,
    /// The execution that calls it.
    pub(crate) execution: usize,
    /// Percent of the calls that it refuses, whatever the kind of refusal.
    pub(crate) refuses: i64,
    /// What a detached run's agent works on in. Set once for the schedule.
    pub(crate) world: Rc<RefCell<Option<World>>>,
}

impl Agent {
    /// Sends the request once. What was sent arrives, whether or not somebody waits for the answer; it travels for less
    /// than half a lease, which is what the rule of that name is for.
    pub(crate) async fn post(&self, owner: &str) -> Posted {
        let sim = &self.sim;
        if sim.chance(self.refuses / 4) {
            sim.sleep(sim.draw(1..=5_000)).await;
            return Posted::Unavailable { retry_after: 0 };
        }
        let letter = Letter::new();
        let (agent, answer, owner) = (self.clone(), letter.clone(), owner.to_owned());
        sim.spawn(None, async move { agent.answer(&owner, &answer).await });
        // A connection that breaks before the head of the answer is there.
        let breaks_at = if sim.chance(3) { sim.now() + sim.draw(1..=30_000) } else { i64::MAX };
        if breaks_at == i64::MAX {
            return letter.read(sim).await;
        }
        match select(Box::pin(letter.read(sim)), Box::pin(sim.sleep_until(breaks_at))).await {
            Either::Left((posted, _)) => posted,
            Either::Right(_) => Posted::Failed(ErrorType::StreamInterrupted),
        }
    }

    async fn answer(&self, owner: &str, answer: &Letter<Posted>) {
        let sim = &self.sim;
        let half = millis(LEASE.0) / 2;
        let travel = if sim.chance(20) { sim.draw(50..=half - 2_000) } else { sim.draw(1..=50) };
        sim.sleep(travel).await;
        let posted = match (self.decide(), self.detached_world()) {
            // Seven of ten agents of a detached run acknowledge it. The others answer in full.
            (Posted::Streams { .. }, Some(world)) if sim.chance(70) => {
                Posted::Acknowledges { heartbeat_seconds: begins(&world, owner) }
            }
            (posted, _) => posted,
        };
        let is_accepted = matches!(
            posted,
            Posted::Streams { .. }
                | Posted::Acknowledges { .. }
                | Posted::Failed(ErrorType::AgentFailed | ErrorType::StreamInterrupted)
        );
        sim.note(|| format!("{owner} reaches the agent: {posted:?}"));
        self.promises.call_arrives(sim, owner, is_accepted);
        self.alone.call_arrives(sim, self.execution, owner, is_accepted);
        if matches!(posted, Posted::Failed(ErrorType::AgentFailed)) {
            self.promises.agent_rests(owner);
        }
        sim.sleep(if sim.chance(20) { sim.draw(1..=40_000) } else { sim.draw(1..=50) }).await;
        answer.deliver(sim, posted);
    }

    /// The schedule's world, for this agent's execution, if its runs are detached.
    fn detached_world(&self) -> Option<World> {
        let world = self.world.borrow().clone()?;
        Some(World { agent: self.clone(), ..world })
    }

    fn decide(&self) -> Posted {
        let sim = &self.sim;
        if sim.chance(self.refuses) {
            return match sim.draw(0..=9) {
                0..=6 => Posted::Unavailable { retry_after: if sim.chance(40) { sim.draw(1_000..=70_000) } else { 0 } },
                7 | 8 => Posted::Unauthorized,
                _ => Posted::Failed(ErrorType::AgentRejected),
            };
        }
        let failures = [ErrorType::AgentFailed, ErrorType::StreamInterrupted, ErrorType::StreamStalled];
        match sim.draw(0..=19) {
            0 => Posted::Failed(ErrorType::AgentFailed),
            1..=3 => Posted::Streams { millis: sim.draw(1..=60_000), failure: Some(sim.pick(&failures)) },
            4..=11 => Posted::Streams { millis: sim.draw(1..=5_000), failure: None },
            _ => Posted::Streams { millis: sim.draw(5_000..=150_000), failure: None },
        }
    }
}
