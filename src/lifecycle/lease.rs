//! The lease an attempt holds on its execution: extended while the run lasts, given up with its end.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::{
    clock::{Deadline, now_millis},
    domain::answer::Progress,
    domain::execution::{Lease, Row, is_own_finish},
    lifecycle::results::{Conclusion, Of, Seen, write_result},
    store::endings,
    store::record::Ending,
    store::{Heartbeat, Store, StoreError, Write, in_time},
    telemetry::metrics::Measured,
};

/// Why a run must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Another attempt owns the execution: nothing may be written any more.
    Lost,
    /// Somebody asked for the execution's end.
    Cancelled,
}

/// Why the agent may not be called now.
#[derive(Debug)]
pub(crate) enum NotHeld {
    /// See [`Stop`].
    Stopped(Stop),
    /// The lease is too short and DynamoDB does not extend it.
    Store(StoreError),
}

/// A held lease.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    /// The table.
    pub store: &'a Store,
    /// Its times.
    pub lease: Lease,
    /// The user of the trigger.
    pub user_id: &'a str,
    /// The trigger of the execution.
    pub trigger_id: &'a str,
    /// The execution.
    pub execution_id: &'a str,
    /// The attempt that holds it.
    pub owner: &'a str,
    /// Whether another attempt may run the agent once the lease is over, so that a run whose lease cannot be extended
    /// must stop.
    pub rerun_if_interrupted: bool,
    /// When it ends, in milliseconds since 1970.
    pub until: AtomicI64,
    /// What was seen of the trigger item.
    pub trigger: OnceLock<Seen>,
    /// Whether the trigger's turn is taken (see `overlap`), to be kept as long as the lease.
    pub has_turn: AtomicBool,
    /// What the next heartbeat reports.
    pub reports: Arc<Reports>,
    /// Where heartbeats that fail are counted.
    pub measured: &'a Measured,
}

/// How far a run has come, and when it last came further.
#[derive(Debug, Clone, Copy)]
pub struct Reported {
    /// What the decoder counts.
    pub progress: Progress,
    /// When the last event arrived, milliseconds since 1970.
    pub last_event_at: i64,
}

/// How far a run has come, told by the task that reads the answer.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    last: Mutex<Option<Reported>>,
    /// From the call to the first event of the answer, milliseconds.
    pub(crate) first_event_ms: OnceLock<u64>,
}

impl Reports {
    /// Keeps `progress` for the next heartbeat.
    pub(crate) fn report(&self, progress: Progress) {
        let Ok(mut last) = self.last.lock() else { return };
        match last.as_mut() {
            Some(before) if before.progress.events == progress.events => before.progress = progress,
            _ if progress.events == 0 => {}
            _ => *last = Some(Reported { progress, last_event_at: now_millis() }),
        }
    }

    /// What was reported last.
    pub(crate) fn last(&self) -> Option<Reported> {
        self.last.lock().ok().and_then(|last| *last)
    }
}

impl Held<'_> {
    /// Extends the lease until the run must stop. Runs beside the work in the invocation's own future: a spawned task
    /// would wake in an environment that is frozen in between.
    pub(crate) async fn keep(&self) -> Stop {
        tokio::select! {
            biased;
            () = self.lapse() => Stop::Lost,
            stop = self.beat() => stop,
        }
    }

    async fn beat(&self) -> Stop {
        loop {
            tokio::time::sleep(self.lease.heartbeat()).await;
            match self.renew().await {
                Ok(()) => {}
                Err(NotHeld::Stopped(stop)) => return stop,
                Err(NotHeld::Store(error)) => {
                    self.measured.heartbeat_failures.one_more();
                    tracing::warn!(error = %error, "heartbeat failed");
                }
            }
        }
    }

    /// Ends with a lease that was not extended, if the run must stop then: beside the heartbeats, for one of them may
    /// hang until long after another attempt took over.
    async fn lapse(&self) {
        loop {
            let (until, now) = (self.until.load(Ordering::Relaxed), now_millis());
            // The turn is held with the lease: when both are over it may be another execution's.
            let another_may_call = self.rerun_if_interrupted || self.has_turn.load(Ordering::Relaxed);
            if Lease::must_stop(until, now, another_may_call) {
                return;
            }
            // Never for long: in a paused machine the clock that sleeps are measured by may stand still.
            let left = u64::try_from(until - now).ok().filter(|left| *left > 0).map(Duration::from_millis);
            let heartbeat = self.lease.heartbeat();
            tokio::time::sleep(left.map_or(heartbeat, |left| left.min(heartbeat))).await;
        }
    }

    /// Makes sure that enough of the lease is left to call the agent, as it must before every request.
    ///
    /// # Errors
    /// If the execution is another's or was cancelled, or the lease cannot be extended.
    pub(crate) async fn ensure_half(&self) -> Result<(), NotHeld> {
        // Looked at again after a renewal: its answer may have come to a process that was frozen meanwhile.
        while !self.lease.may_call(self.until.load(Ordering::Relaxed), now_millis()) {
            self.renew().await?;
        }
        Ok(())
    }

    /// Notes that the trigger's turn was taken until then: the run must not outlast it, though heartbeats may have
    /// extended the lease while the answer was awaited.
    pub(crate) fn took_turn(&self, until: i64) {
        self.until.fetch_min(until, Ordering::Relaxed);
        self.has_turn.store(true, Ordering::Relaxed);
    }

    async fn renew(&self) -> Result<(), NotHeld> {
        let had_turn = self.has_turn.load(Ordering::Relaxed);
        let until = self.lease.until(now_millis());
        let reported = self.reports.last();
        let beating = self.store.heartbeat(self.trigger_id, self.execution_id, self.owner, until, reported.as_ref());
        let (beat, kept) = tokio::join!(beating, self.keep_turn(until));
        match beat.map_err(NotHeld::Store)? {
            Heartbeat::Extended => {}
            Heartbeat::CancelRequested => return Err(NotHeld::Stopped(Stop::Cancelled)),
            Heartbeat::Refused => return Err(NotHeld::Stopped(Stop::Lost)),
        }
        if !kept.map_err(NotHeld::Store)? {
            tracing::warn!("another execution of the trigger has its turn");
            return Err(NotHeld::Stopped(Stop::Lost));
        }
        // A turn that was taken meanwhile was not kept with it.
        if had_turn == self.has_turn.load(Ordering::Relaxed) {
            self.until.fetch_max(until, Ordering::Relaxed);
        }
        Ok(())
    }

    /// `true` too where no turn is to be kept.
    async fn keep_turn(&self, until: i64) -> Result<bool, StoreError> {
        if !self.has_turn.load(Ordering::Relaxed) {
            return Ok(true);
        }
        self.store.keep_turn(self, until).await
    }

    /// Lets another execution of the trigger run, if this one kept it from doing so. Left undone, the lease does it.
    pub(crate) async fn give_turn_up(&self, deadline: Deadline) {
        if self.has_turn.load(Ordering::Relaxed)
            && let Err(error) = in_time(deadline.write_until, self.store.give_turn_up(self)).await
        {
            tracing::warn!(error = %error, "the trigger's turn is not given up: it ends with its lease");
        }
    }

    /// Writes how the attempt ended, again and again until the invocation's deadline, extending the lease all the while.
    ///
    /// # Errors
    /// If the execution is another's, or DynamoDB did not take it in time.
    pub(crate) async fn finish(&self, ending: &Ending, deadline: Deadline) -> Result<(), NotHeld> {
        let beating = async {
            // A cancellation comes too late; whatever else stops the heartbeats, the finish meets it too.
            while self.beat().await == Stop::Cancelled {}
            std::future::pending().await
        };
        tokio::select! {
            biased;
            finished = self.write(ending, deadline) => finished,
            never = beating => never,
        }
    }

    async fn write(&self, ending: &Ending, deadline: Deadline) -> Result<(), NotHeld> {
        let mut waits = crate::backoff::endless();
        let (status, error_type) = (ending.status.as_str(), ending.error_type());
        let is_own = |row: Option<&Row>| is_own_finish(row, self.owner, ending.status, error_type);
        loop {
            let of = Of {
                user_id: self.user_id,
                trigger_id: self.trigger_id,
                execution_id: self.execution_id,
                trigger: self.trigger.get().cloned().unwrap_or_default(),
            };
            let part = |is_stored| endings::finished(self.trigger_id, self.execution_id, self.owner, ending, is_stored);
            let finishing = write_result(self.store, &of, Conclusion::of(ending), now_millis(), part);
            let error = match in_time(deadline.write_until, finishing).await {
                Ok(Write::Done) => return Ok(()),
                Ok(Write::Refused(row)) if is_own(row.as_ref()) => return Ok(()),
                Ok(Write::Refused(_)) => return Err(NotHeld::Stopped(Stop::Lost)),
                Err(error) => error,
            };
            let wait = waits.next().unwrap_or_default();
            if tokio::time::Instant::now() + wait >= deadline.write_until {
                return Err(NotHeld::Store(error));
            }
            tracing::warn!(error = %error, status, errorType = error_type, "the run's end is not written, trying again");
            tokio::time::sleep(wait).await;
        }
    }
}
