//! The port to the timer of detached runs: looks, which come back after a delay. It is a port, as the table is, so that
//! the model check drives the same code with looks that are lost or doubled.

use std::time::Duration;

use crate::{
    clients::sqs::SettleQueue,
    clock::Clock,
    domain::{
        detached::CLEAN_UP,
        execution::{ExecutionRef, Row},
        look::{Look, Purpose},
    },
    lifecycle::identify::session_of,
};

/// The longest time for which an end waits for the look that is sent before it. A report is answered within 9 s.
const SEND_LIMIT: Duration = Duration::from_secs(2);

/// A look was not sent, or it is unknown whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no look could be sent to the settle queue: {0}")]
pub struct LookNotSent(pub String);

/// The timer.
pub trait Looks {
    /// Sends a look that comes back after `delay`, of at most 900 s. It may come twice.
    ///
    /// # Errors
    /// Returns an error if it was not sent, or if this is unknown.
    fn send(&self, look: &Look, delay: Duration) -> impl Future<Output = Result<(), LookNotSent>>;

    /// Sends a look in one try. Otherwise it is as [`Looks::send`].
    ///
    /// # Errors
    /// Returns an error if it was not sent, or if this is unknown.
    fn send_once(&self, look: &Look, delay: Duration) -> impl Future<Output = Result<(), LookNotSent>> {
        self.send(look, delay)
    }
}

/// The port to the sessions of agents.
pub trait Sessions {
    /// Stops the session of the run of `row`, in a bounded time. A failure is logged only.
    fn stop(&self, row: &Row) -> impl Future<Output = ()>;
}

impl Looks for SettleQueue {
    /// Sends the look to the settle queue as a message, which SQS delivers after `delay`.
    fn send(&self, look: &Look, delay: Duration) -> impl Future<Output = Result<(), LookNotSent>> {
        let sending = self.send_message(look.to_message(), delay);
        async { sending.await.map_err(|error| LookNotSent(error.to_string())) }
    }

    /// Sends the message in one try.
    fn send_once(&self, look: &Look, delay: Duration) -> impl Future<Output = Result<(), LookNotSent>> {
        let sending = self.send_message_once(look.to_message(), delay);
        async { sending.await.map_err(|error| LookNotSent(error.to_string())) }
    }
}

/// Returns the first look at the detached run of `row`, for `purpose`. Returns `None` if the row is not of a detached
/// run.
pub(crate) fn look_at(row: &Row, trigger_id: &str, execution_id: &str, purpose: Purpose) -> Option<Look> {
    Some(Look::new(trigger_id, execution_id, row.report_key.clone()?, purpose))
}

/// Returns true if the agent's session may be stopped once the run has ended: it must be the execution's own. A session
/// that an event or a trigger names may be somebody's conversation, or by now that of the trigger's next run.
pub fn may_stop_session(row: &Row, execution_id: &str) -> bool {
    row.session_id.as_deref() == Some(session_of(execution_id).as_str())
}

/// Sends the look that counts the end of a detached run and stops the agent's session a minute later. It is sent before
/// the end is written at `end_at`, so that no crash between the two leaves an end uncounted. If the end is not written,
/// the look finds none of that time and counts nothing. Returns false if no look is known to be sent after one try of
/// at most 2 s. The end is more important, and must be written before the agent's request for it is over. The look may
/// have been sent all the same, and the end is then counted twice.
pub(crate) async fn end_later(
    clock: &impl Clock,
    looks: &impl Looks,
    execution: ExecutionRef<'_>,
    row: &Row,
    end_at: &str,
) -> bool {
    let look = look_at(row, execution.trigger_id, execution.execution_id, Purpose::End);
    let Some(look) = look.map(|look| Look { counts_end_at: Some(end_at.to_owned()), ..look }) else { return false };
    let sent = clock.timeout_at(clock.instant() + SEND_LIMIT, looks.send_once(&look, CLEAN_UP)).await;
    let sent = sent.unwrap_or_else(|| Err(LookNotSent(format!("no answer within {} s", SEND_LIMIT.as_secs()))));
    sent.inspect_err(|error| tracing::warn!(error = %error, "nothing follows the end of a run")).is_ok()
}

/// Sends the look that stops, a minute later, the session of a detached run that has ended and is counted. Nothing is
/// sent if the session may not be stopped, as [`may_stop_session`] says. A failure is logged only: the session then
/// ends by itself once it is idle.
pub(crate) async fn stop_later(looks: &impl Looks, execution: ExecutionRef<'_>, ended: &Row) {
    if !may_stop_session(ended, execution.execution_id) {
        return;
    }
    let look = look_at(ended, execution.trigger_id, execution.execution_id, Purpose::End);
    let Some(look) = look else { return };
    if let Err(error) = looks.send(&look, CLEAN_UP).await {
        tracing::warn!(error = %error, "the agent's session is not stopped: it ends when it is idle");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;

    /// A queue that never answers.
    struct Hanging;

    impl Looks for Hanging {
        async fn send(&self, _: &Look, _: Duration) -> Result<(), LookNotSent> {
            std::future::pending().await
        }
    }

    /// A clock whose time limits are over at once. It keeps the last one.
    struct Over {
        start: Instant,
        limit: Cell<Option<Duration>>,
    }

    impl Clock for Over {
        fn now_millis(&self) -> i64 {
            0
        }

        fn instant(&self) -> Instant {
            self.start
        }

        async fn sleep(&self, _: Duration) {}

        async fn timeout_at<F: Future>(&self, until: Instant, future: F) -> Option<F::Output> {
            self.limit.set(Some(until - self.start));
            future.now_or_never()
        }
    }

    #[test]
    fn an_end_does_not_wait_for_a_queue_that_hangs() {
        let execution = ExecutionRef { user_id: "u", trigger_id: "t", execution_id: "e" };
        let row = Row { report_key: Some("key".into()), ..Row::default() };
        let clock = Over { start: Instant::now(), limit: Cell::default() };
        let sent = end_later(&clock, &Hanging, execution, &row, "then").now_or_never();
        assert_eq!((sent, clock.limit.get()), (Some(false), Some(Duration::from_secs(2))));
    }
}
