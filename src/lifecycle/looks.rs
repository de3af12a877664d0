//! The port to the timer of detached runs: looks, which come back after a delay. It is a port, as the table is, so that
//! the model check drives the same code with looks that are lost or doubled.

use std::time::Duration;

use crate::{
    clients::sqs::SettleQueue,
    domain::{
        execution::{Row, Status},
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
    })
}

/// Returns true if the agent's session may be stopped once the run has ended: it must be the execution's own. A session
/// that an event or a trigger names may be somebody's conversation. Such a one is stopped only after a cancellation.
pub fn may_stop_session(row: &Row, execution_id: &str) -> bool {
    let is_own = row.session_id.as_deref() == Some(session_of(execution_id).as_str());
    is_own || (row.status == Status::Cancelled && row.session_id.is_some())
}
