//! The decision of an answer, as its reader and the run above it share it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

/// The signals about one answer. The reader says when the answer is decided, and whoever must stop the run asks for the
/// end of the wait for usage, which decides nothing.
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

    /// Waits until [`Self::end_wait`] is called, or returns at once if it was.
    pub(super) async fn wait_ended(&self) {
        self.0.enough.notified().await;
    }

    /// Ends the wait for usage if the answer is decided, and returns true if it is: reading ends at once then, and its
    /// outcome counts, whatever made the caller ask.
    #[must_use]
    pub fn end_wait(&self) -> bool {
        let is_made = self.0.is_made.load(Ordering::Acquire);
        if is_made {
            self.0.enough.notify_one();
        }
        is_made
    }
}
