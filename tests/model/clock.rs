//! The clock port: each machine's own clock, which is ahead of others and may stand still while the machine is frozen.

use std::{future::pending, rc::Rc, sync::LazyLock, time::Duration};

use agent_trigger::clock::Clock;
use tokio::time::Instant;

use crate::{
    rules::{Rule, Rules, millis},
    sender::{Phase, Sender},
    sim::{START, Sim},
};

/// The instant that the simulation's start is mapped to.
static BASE: LazyLock<Instant> = LazyLock::new(Instant::now);

#[derive(Clone)]
pub(crate) struct SimClock {
    pub(crate) sim: Sim,
    pub(crate) rules: Rules,
    pub(crate) sender: Rc<Sender>,
    /// How far it is ahead, milliseconds.
    pub(crate) ahead: i64,
}

impl SimClock {
    /// Waits until `until`.
    pub(crate) async fn sleep_until(&self, until: Instant) {
        self.sim.sleep(round_up(until.saturating_duration_since(self.instant()))).await;
    }
}

impl Clock for SimClock {
    fn now_millis(&self) -> i64 {
        let now = self.sim.now() + self.ahead;
        if self.sender.phase.get() == Phase::Window {
            let (looks, first) = self.sender.looks.get();
            self.sender.looks.set((looks + 1, if looks == 0 { now } else { first }));
            if !self.rules.has(Rule::HalfALease) {
                // Every lease has half of it left in 1970.
                return 0;
            }
            // The first look is at the lease, the second sets the new one, the third is at the lease again.
            if !self.rules.has(Rule::HalfALeaseAfterRenewing) && looks == 2 {
                return first;
            }
        }
        now
    }

    fn instant(&self) -> Instant {
        *BASE + Duration::from_millis(u64::try_from(self.sim.clock() - START).unwrap_or_default())
    }

    async fn sleep(&self, duration: Duration) {
        // In `keep` the watch on the lease's end is polled before the heartbeats, so that its sleep is the first.
        if self.sender.phase.get() == Phase::Keep && !self.sender.watch_sleeps.replace(true) {
            let watches =
                self.rules.has(Rule::StopAtTheEnd) && (self.rules.has(Rule::StopWithTheTurn) || self.sender.rerun);
            if !watches {
                pending::<()>().await;
            }
        }
        self.sim.sleep(round_up(duration)).await;
    }

    async fn timeout_at<F: Future>(&self, until: Instant, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = self.sleep_until(until) => None,
        }
    }
}

/// Returns the milliseconds of a duration. The simulation knows no shorter times.
fn round_up(duration: Duration) -> i64 {
    millis(duration) + i64::from(!duration.subsec_nanos().is_multiple_of(1_000_000))
}
