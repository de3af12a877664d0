//! The decision of an answer. Its reader and the run above it share it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

/// The signals about one answer. The reader signals that the answer is decided. A run that must stop then ends the wait
/// for usage, which decides nothing.
#[derive(Debug, Clone, Default)]
pub struct Decision(Arc<Signals>);

#[derive(Debug, Default)]
struct Signals {
    is_made: AtomicBool,
    enough: Notify,
}

impl Decision {
    /// Notes that the answer is decided.
    pub(super) fn make(&self) {
        self.0.is_made.store(true, Ordering::Release);
    }

    /// Waits until a call of [`Self::end_wait`] returns true, or returns at once if one did. One such call ends one
    /// wait. Two before a wait end that one alone.
    pub(super) async fn wait_ended(&self) {
        self.0.enough.notified().await;
    }

    /// Ends the wait for usage if the answer is decided, and returns true. Reading then ends at once, and its outcome
    /// counts. Returns false, and does nothing, if the answer is not decided.
    #[must_use]
    pub fn end_wait(&self) -> bool {
        let is_made = self.0.is_made.load(Ordering::Acquire);
        if is_made {
            self.0.enough.notify_one();
        }
        is_made
    }
}
