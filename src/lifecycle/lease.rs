//! The lease that an attempt holds on its execution: extended while the run lasts, ended by the run's end.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    backoff,
    clock::{Clock, Deadline, SystemClock},
    domain::{
        ending::{Ending, Overlapping, SkipReason},
        execution::{Holder, Lease, Row, is_held, is_own_finish},
        failure::Failure,
        run_lock::Slot,
        run_state::RunState,
        trigger_snapshot::TriggerKnowledge,
        usage::Usage,
    },
    lifecycle::close::{CloseLimits, FinalResult, close},
    store::{Heartbeat, News, Store, Write, dynamodb::DynamoDb, endings::EndingWrite, error::StoreError, table::Table},
};

/// The reason why a run must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// This attempt does not own the execution any more, another execution has the run lock, or the lease has ended
    /// without being extended. Nothing may be written any more.
    Lost,
    /// The execution's end was requested.
    Cancelled,
}

/// The reason why the agent may not be called now.
#[derive(Debug)]
pub enum NotHeld {
    /// See [`Stop`].
    Stopped(Stop),
    /// The lease is too short and DynamoDB does not extend it.
    Store(StoreError),
}

/// The reason why a run stopped before the agent's answer decided it.
#[derive(Debug)]
pub enum RunStop {
    /// The lease ended, or somebody asked for the execution's end.
    Stopped(Stop),
    /// The fire is deliberately not run. Holds the executions that keep it from running, if some do.
    Skipped(SkipReason, Option<Overlapping>),
    /// It failed.
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for RunStop {
    /// Returns a failed run with this error's failure.
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<NotHeld> for RunStop {
    /// Returns the stop, or the failure of the table.
    fn from(not_held: NotHeld) -> Self {
        match not_held {
            NotHeld::Stopped(stop) => Self::Stopped(stop),
            NotHeld::Store(error) => Self::Failed(error.into()),
        }
    }
}

/// The slot of its trigger's run lock that an attempt holds, if it holds one.
#[derive(Debug, Default)]
pub struct HeldSlot(AtomicU32);

impl HeldSlot {
    /// Returns the slot, or `None` if the attempt holds none.
    pub fn get(&self) -> Option<Slot> {
        self.0.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Notes the slot that the attempt holds, or with `None` that it holds none.
    pub fn set(&self, slot: Option<Slot>) {
        self.0.store(slot.map_or(0, |slot| slot.saturating_add(1)), Ordering::Relaxed);
    }
}

/// An execution that this attempt has claimed.
#[derive(Debug)]
pub struct OwnedExecution<'a, T = DynamoDb, C = SystemClock> {
    /// The table.
    pub store: &'a Store<T, C>,
    /// The lease's times.
    pub lease: Lease,
    /// The execution and the attempt that holds it.
    pub holder: Holder<'a>,
    /// True if another attempt may run the agent once the lease is over. Then a run whose lease cannot be extended must
    /// stop.
    pub rerun_if_interrupted: bool,
    /// The lease's end, in milliseconds since 1970.
    pub until: AtomicI64,
    /// The knowledge of the trigger item.
    pub trigger: OnceLock<TriggerKnowledge>,
    /// The slot of the trigger's run lock that is taken (see `overlap`). It must be kept as long as the lease.
    pub slot: HeldSlot,
    /// True if the run is to be detached, as earlier ones of its trigger may be.
    pub is_detached: AtomicBool,
    /// The tokens of the attempts before this one.
    pub usage_before: Option<Usage>,
    /// The run's progress for the next heartbeat, and the count of heartbeats that fail.
    pub state: &'a RunState,
}

impl<T: Table, C: Clock> OwnedExecution<'_, T, C> {
    /// Extends the lease until the run must stop, and returns why. It must be polled beside the work, in the
    /// invocation's own future: a spawned task would wake in an environment that Lambda froze in between. The first
    /// heartbeat comes after a third of the lease.
    pub async fn keep(&self) -> Stop {
        tokio::select! {
            biased;
            () = self.lapse() => Stop::Lost,
            stop = self.beat() => stop,
        }
    }

    /// Renews the lease at every heartbeat, until a renewal says that the run must stop. A renewal that fails is
    /// counted and logged, and the next one comes as usual. [`Self::lapse`] stops the run if there is no time left for
    /// this.
    async fn beat(&self) -> Stop {
        loop {
            self.store.clock.sleep(self.lease.heartbeat()).await;
            match self.renew().await {
                Ok(()) => {}
                Err(NotHeld::Stopped(stop)) => return stop,
                Err(NotHeld::Store(error)) => {
                    self.state.facts().heartbeat_failures += 1;
                    tracing::warn!(error = %error, "heartbeat failed");
                }
            }
        }
    }

    /// Waits until the lease has ended without being extended and the run must stop. It does not return while nobody
    /// else may call the agent: without rerun, and without the run lock. It runs beside the heartbeats, because one of
    /// them may hang until long after another attempt has taken over.
    async fn lapse(&self) {
        loop {
            let (until, now) = (self.until.load(Ordering::Relaxed), self.store.clock.now_millis());
            // The run lock is held as long as the lease. When both are over, another execution may have it.
            let another_may_call = self.rerun_if_interrupted || self.slot.get().is_some();
            if Lease::must_stop(until, now, another_may_call) {
                return;
            }
            // No sleep is longer than a heartbeat's, because the clock of sleeps may stand still in a frozen machine.
            let left = u64::try_from(until - now).ok().filter(|left| *left > 0).map(Duration::from_millis);
            let heartbeat = self.lease.heartbeat();
            self.store.clock.sleep(left.map_or(heartbeat, |left| left.min(heartbeat))).await;
        }
    }

    /// Makes sure that at least half of the lease is left. This must be so before every request to the agent. Otherwise
    /// it renews the lease, and does so again if the answer took too long.
    ///
    /// # Errors
    /// Returns an error if another attempt owns the execution or the run lock, it was cancelled, or the lease cannot be
    /// extended.
    pub async fn ensure_call_window(&self) -> Result<(), NotHeld> {
        // Check again after a renewal: the process may have been frozen before its answer arrived.
        while !self.lease.may_call(self.until.load(Ordering::Relaxed), self.store.clock.now_millis()) {
            self.renew().await?;
        }
        Ok(())
    }

    /// Notes that a slot of the run lock was taken until `until`, in milliseconds since 1970. If the known end of the
    /// lease is later, it becomes `until`: heartbeats may have extended the lease alone while the answer was awaited.
    /// From now on a heartbeat extends both. If they end without being extended, the run must stop, even without rerun.
    pub fn took_run_lock(&self, slot: Slot, until: i64) {
        self.until.fetch_min(until, Ordering::Relaxed);
        self.slot.set(Some(slot));
    }

    /// Extends the lease, and the run lock if it was taken, by one heartbeat that also writes the news. The lease
    /// counts from the time before the request. If another attempt owns the execution, this is noted in the facts. If
    /// the run lock is taken while the request is on its way, the known end of the lease stays, because this renewal
    /// did not extend the lock.
    ///
    /// # Errors
    /// Returns an error if another attempt owns the execution or the run lock, the execution's end was requested, or
    /// DynamoDB fails. If both fail, the lease's error is returned.
    async fn renew(&self) -> Result<(), NotHeld> {
        let had_slot = self.slot.get();
        let until = self.lease.until(self.store.clock.now_millis());
        let (reported, snapshot) = {
            let facts = self.state.facts();
            (facts.reported, facts.snapshot.clone())
        };
        let news = News { reported: reported.as_ref(), usage_before: self.usage_before, snapshot: snapshot.as_ref() };
        let beating = self.store.heartbeat(self.holder, until, news);
        let (beat, kept) = tokio::join!(beating, self.keep_run_lock(until));
        match beat.map_err(NotHeld::Store)? {
            Heartbeat::Extended => {}
            Heartbeat::CancelRequested => return Err(NotHeld::Stopped(Stop::Cancelled)),
            Heartbeat::Refused => {
                self.state.facts().is_taken_over = true;
                return Err(NotHeld::Stopped(Stop::Lost));
            }
        }
        if !kept.map_err(NotHeld::Store)? {
            tracing::warn!("another execution of the trigger has its run lock");
            return Err(NotHeld::Stopped(Stop::Lost));
        }
        // This renewal did not extend a run lock that was taken while it was on its way.
        if had_slot == self.slot.get() {
            self.until.fetch_max(until, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Extends the run lock, if this attempt has it. Returns true if it does or has none, and false if another attempt
    /// has it now. The table's failure is an error.
    async fn keep_run_lock(&self, until: i64) -> Result<bool, StoreError> {
        let Some(slot) = self.slot.get() else { return Ok(true) };
        self.store.keep_run_lock(self.holder, slot, until).await
    }

    /// Extends the run lock, if it was taken, to `until`, in milliseconds since 1970: the time for which a detached run
    /// may have it. Heartbeats then leave it as it is.
    ///
    /// # Errors
    /// Returns an error if another attempt has the lock, or DynamoDB fails.
    pub async fn hold_run_lock(&self, until: i64) -> Result<(), NotHeld> {
        match self.keep_run_lock(until).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotHeld::Stopped(Stop::Lost)),
            Err(error) => Err(NotHeld::Store(error)),
        }
    }

    /// Leaves the run lock to whoever ends the detached run: this attempt neither extends nor releases it any more.
    pub fn forget_run_lock(&self) {
        self.slot.set(None);
    }

    /// Releases the run lock, if this attempt has it, in one try until the time of the last write. If this fails, the
    /// lock ends with its lease.
    pub async fn release_run_lock(&self, deadline: Deadline) {
        let Some(slot) = self.slot.get() else { return };
        let releasing = self.store.release_run_lock(self.holder, slot);
        if let Err(error) = self.store.in_time(deadline.write_until, releasing).await {
            tracing::warn!(error = %error, "the trigger's run lock is not released: it ends with its lease");
        }
    }

    /// Writes the attempt's end, and repeats this until the time of the last write. The lease is extended all the
    /// while. A cancellation that is requested meanwhile comes too late and is ignored, as is the loss of the run lock.
    /// Returns true if a failure that might have been retried was made final, because another invocation took this
    /// attempt for dead and left the run to its agent.
    ///
    /// # Errors
    /// Returns an error if another attempt owns the execution, or DynamoDB did not take the end in time. It may have
    /// been written all the same.
    pub async fn finish(&self, ending: &Ending, deadline: Deadline) -> Result<bool, NotHeld> {
        let beating = async {
            // A cancellation comes too late, and so does the loss of the run lock: the lease is extended for as long as
            // this attempt owns the execution. If another one does, the write finds that out.
            while self.beat().await == Stop::Cancelled || !self.state.facts().is_taken_over {}
            std::future::pending().await
        };
        tokio::select! {
            biased;
            finished = self.write(ending, deadline) => finished,
            never = beating => never,
        }
    }

    /// Writes the attempt's end until it is taken, the row refuses it, or the time of the last write does not last for
    /// another try. If the row that refuses it holds this very end, it was written before, and only the answer was
    /// lost. If this attempt still owns the running row, the run was left to its agent: the failure is made final, and
    /// written once more. The write is repeated whatever the error is.
    ///
    /// # Errors
    /// Returns the errors of [`Self::finish`], with its result.
    async fn write(&self, ending: &Ending, deadline: Deadline) -> Result<bool, NotHeld> {
        let mut waits = backoff::endless();
        let mut final_ending = None;
        let (status, error_type) = (ending.status.as_str(), ending.error_type());
        let Holder { execution, owner } = self.holder;
        // The ending that is made final keeps its time.
        let is_own = |row: Option<&Row>| is_own_finish(row, owner, ending.status, &ending.completed_at, error_type);
        loop {
            let ending = final_ending.as_ref().unwrap_or(ending);
            let result = FinalResult::of_ending(ending);
            let trigger = self.trigger.get().unwrap_or(&TriggerKnowledge::Unread);
            let write = EndingWrite::Finished { owner, ending };
            let limits = CloseLimits { until: deadline.write_until, state: self.state };
            let finishing = close(self.store, execution, trigger, result, write, self.store.clock.now_millis(), limits);
            let error = match self.store.in_time(deadline.write_until, finishing).await {
                Ok(Write::Done) => return Ok(final_ending.is_some()),
                Ok(Write::Refused(row)) if is_own(row.as_ref()) => {
                    return Ok(final_ending.is_some());
                }
                Ok(Write::Refused(row)) if is_held(row.as_ref(), owner) && final_ending.is_none() => {
                    let failure = ending.failure.clone().map(|failure| Failure { retryable: false, ..failure });
                    final_ending = Some(Ending { failure, ..ending.clone() });
                    continue;
                }
                Ok(Write::Refused(_)) => return Err(NotHeld::Stopped(Stop::Lost)),
                Err(error) => error,
            };
            let wait = waits.next().unwrap_or_default();
            if self.store.clock.instant() + wait >= deadline.write_until {
                return Err(NotHeld::Store(error));
            }
            tracing::warn!(error = %error, status, errorType = error_type, "the run's end is not written, trying again");
            self.store.clock.sleep(wait).await;
        }
    }
}
