//! The port to the timer of detached runs: looks, which come back after a delay. It is a port, as the table is, so that
//! the model check drives the same code with looks that are lost or doubled.

use std::time::Duration;

use crate::{
    clients::sqs::SettleQueue,
    domain::{
        detached::CLEAN_UP,
        execution::{ExecutionRef, Row},
        look::{Look, Purpose},
    },
    lifecycle::identify::session_of,
};

/// A look was not sent, or it is unknown whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no look could be sent to the settle queue: {0}")]
pub struct LookNotSent(pub String);

/// The timer.
pub trait Looks {
    /// Sends a look that comes back after `delay`, of at most 900 s. It may come twice.
    ///
    /// # Errors
    /// Returns an error if it is unknown whether it was sent.
    fn send(&self, look: &Look, delay: Duration) -> impl Future<Output = Result<(), LookNotSent>>;
}

impl Looks for SettleQueue {
    /// Sends the look to the settle queue as a message, which SQS delivers after `delay`.
    fn send(&self, look: &Look, delay: Duration) -> impl Future<Output = Result<(), LookNotSent>> {
        let sending = self.send_message(look.to_message(), delay);
        async { sending.await.map_err(|error| LookNotSent(error.to_string())) }
    }
}

/// Returns the first look at the detached run of `row`, for `purpose`. Returns `None` if the row is not of a detached
/// run.
pub(crate) fn look_at(row: &Row, trigger_id: &str, execution_id: &str, purpose: Purpose) -> Option<Look> {
    Some(Look {
        trigger_id: trigger_id.to_owned(),
        execution_id: execution_id.to_owned(),
        report_key: row.report_key.clone()?,
        purpose,
        tries: 0,
        counts_end_at: None,
    })
}

/// Returns true if the agent's session may be stopped once the run has ended: it must be the execution's own. A session
/// that an event or a trigger names may be somebody's conversation, or by now that of the trigger's next run.
pub fn may_stop_session(row: &Row, execution_id: &str) -> bool {
    row.session_id.as_deref() == Some(session_of(execution_id).as_str())
}

/// Sends the look that counts the end of a detached run and stops the agent's session a minute later. It is sent before
/// the end is written at `end_at`, so that no crash between the two leaves an end uncounted. If the end is not written,
/// the look finds none of that time and does nothing. Returns false if it could not be sent: the end is more important.
pub(crate) async fn end_later(looks: &impl Looks, execution: ExecutionRef<'_>, row: &Row, end_at: &str) -> bool {
    let look = look_at(row, execution.trigger_id, execution.execution_id, Purpose::End);
    let Some(look) = look.map(|look| Look { counts_end_at: Some(end_at.to_owned()), ..look }) else { return false };
    let sent = looks.send(&look, CLEAN_UP).await;
    sent.inspect_err(|error| tracing::warn!(error = %error, "nothing follows the end of a run")).is_ok()
}

/// Sends the look that stops the session of a detached run that has ended and is counted, if the session may be
/// stopped. A failure is logged only: the session then ends by itself once it is idle.
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
