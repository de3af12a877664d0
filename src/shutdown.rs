//! The end of the process, which SIGTERM announces to every invocation in flight.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};

/// The time that invocations have to end once the end was announced. Lambda ends the process 2 s after SIGTERM
/// (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>, shutdown phase).
const GRACE: Duration = Duration::from_millis(1800);

/// The announcement of the process's end. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    /// Announces the end to all clones. A second call changes nothing.
    pub(crate) fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Returns true once the end was announced.
    pub(crate) fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the end is announced.
    pub(crate) async fn begun(&self) {
        // This cannot fail, because `self` keeps the sender.
        let _ = self.0.subscribe().wait_for(|begun| *begun).await;
    }

    /// Waits until the end is announced, and then for the 1.8 s that invocations have to end in order.
    pub(crate) async fn over(&self) {
        self.begun().await;
        sleep(GRACE).await;
    }
}
