//! A point at which a stand-in waits until the test lets it go on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Holds whoever waits at it until [`Gate::release`]; clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<State>);

#[derive(Debug)]
struct State {
    open: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self(Arc::new(State { open: watch::Sender::new(false), arrived: watch::Sender::new(0) }))
    }

    /// Lets everyone through, now and later.
    pub fn release(&self) {
        self.0.open.send_replace(true);
    }

    /// How many have come to the gate so far, let through or not.
    pub fn arrivals(&self) -> usize {
        *self.0.arrived.borrow()
    }

    /// Waits until someone is at the gate.
    ///
    /// # Panics
    /// After 30 seconds, so that a test that never gets there says so.
    pub async fn reached(&self) {
        self.reached_by(1).await;
    }

    /// Waits until `count` have come to the gate; panics after 30 seconds.
    pub async fn reached_by(&self, count: usize) {
        let mut arrived = self.0.arrived.subscribe();
        let wait = arrived.wait_for(|n| *n >= count);
        let reached = tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok();
        assert!(reached, "only {} of {count} came to the gate in 30 s", self.arrivals());
    }

    /// Comes to the gate and waits until it is released.
    pub async fn pass(&self) {
        self.0.arrived.send_modify(|n| *n += 1);
        let mut open = self.0.open.subscribe();
        // The sender lives as long as this gate, so the wait ends only by release.
        let _ = open.wait_for(|open| *open).await;
    }
}
