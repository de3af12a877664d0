//! One machine as the ports see it: who sends, how far its attempt is, and what a mutation must remember.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
};

use agent_trigger::domain::run_lock::RunLock;

/// The step that an attempt is at. Mutations tell by it where in the code a request or a look at the clock comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Other,
    /// In `claim_or_give_up`.
    Claim,
    /// In `admit`.
    Admit,
    /// In `ensure_call_window`.
    Window,
    /// In `keep`.
    Keep,
    /// In `apply_report`.
    Report,
    /// In `look`.
    Look,
}

/// The sender of requests: an attempt, a settler or a person.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// The attempt's own id, as the record holds it.
    pub(crate) owner: String,
    /// The execution that it works on.
    pub(crate) execution: usize,
    /// `onInterrupted: "rerun"`.
    pub(crate) rerun: bool,
    /// Whether it may freeze at the worst of moments too.
    pub(crate) may_freeze: bool,
    pub(crate) phase: Cell<Phase>,
    /// Whether it has asked for the end of another execution.
    pub(crate) has_waited: Cell<bool>,
    /// Whether it knows that it has the run lock.
    pub(crate) has_lock: Cell<bool>,
    /// When it began to ask for a slot of the run lock.
    pub(crate) asks_since: Cell<i64>,
    /// The run lock that it was refused for last, and when it had asked for it.
    pub(crate) found: RefCell<Option<(RunLock, i64)>>,
    /// The end of a lease that a heartbeat extended while the run lock was taken.
    pub(crate) extended_meanwhile: Cell<Option<i64>>,
    /// Whether its next request for the run lock is refused with what is there.
    pub(crate) next_take_is_refused: Cell<bool>,
    /// How often the clock was looked at in this call window, and the first time seen.
    pub(crate) looks: Cell<(u32, i64)>,
    /// Whether the watch on the lease's end has gone to sleep.
    pub(crate) watch_sleeps: Cell<bool>,
    /// When it sends its present request, by the clock that no actor sees.
    pub(crate) sent_at: Cell<i64>,
    /// The token with which an agent, or a stranger, reports.
    pub(crate) token: RefCell<Option<String>>,
}

impl Sender {
    /// Runs `step`, which is `phase` of the attempt.
    pub(crate) async fn within<F: Future>(&self, phase: Phase, step: F) -> F::Output {
        let mut step = pin!(step);
        self.looks.set((0, 0));
        poll_fn(|context| {
            let before = self.phase.replace(phase);
            let polled = step.as_mut().poll(context);
            self.phase.set(before);
            polled
        })
        .await
    }
}
