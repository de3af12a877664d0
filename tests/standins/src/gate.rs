//! A gate: a point at which a stand-in waits until the test lets it continue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// A gate that stops everything that passes until [`Gate::release`]. Clones are the same gate.
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
    /// Returns a closed gate.
    pub fn new() -> Self {
        Self(Arc::new(State { open: watch::Sender::new(false), arrived: watch::Sender::new(0) }))
    }

    /// Opens the gate, for those that wait and for all later ones.
    pub fn release(&self) {
        self.0.open.send_replace(true);
    }

    /// Returns how many have arrived at the gate so far, whether they were let through or not.
    pub fn arrivals(&self) -> usize {
        *self.0.arrived.borrow()
    }

    /// Waits until something has arrived at the gate.
    ///
    /// # Panics
    /// After 120 seconds, so that a test that never gets there fails with a reason.
    pub async fn reached(&self) {
        self.reached_by(1).await;
    }

    /// Waits until `count` have arrived at the gate. Panics after 120 seconds.
    pub async fn reached_by(&self, count: usize) {
        let mut arrived = self.0.arrived.subscribe();
        let wait = arrived.wait_for(|n| *n >= count);
        let reached = tokio::time::timeout(Duration::from_secs(120), wait).await.is_ok();
        assert!(reached, "only {} of {count} came to the gate in 120 s", self.arrivals());
    }

    /// Arrives at the gate and waits until it is opened.
    pub async fn pass(&self) {
        self.0.arrived.send_modify(|n| *n += 1);
        let mut open = self.0.open.subscribe();
        // The sender lives as long as this gate, so only a release ends the wait.
        let _ = open.wait_for(|open| *open).await;
    }
}
