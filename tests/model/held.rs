//! The lease an attempt holds: the steps of `src/lease.rs` around the same decisions.

use agent_trigger::domain::execution::{self, Lease, Row};
use futures_util::future::{Either, join, pending, select};

use crate::{
    attempt::{Attempt, Halt},
    network::StoreError,
    rules::{LEASE, Rule, millis},
    table::{Answer, Ending, Request},
};

impl Attempt {
    /// Extends the lease until the run must stop.
    pub(crate) async fn keep(&self) -> Halt {
        let beats = Box::pin(self.beats());
        if !self.rules.has(Rule::StopAtTheEnd) {
            return beats.await;
        }
        match select(Box::pin(self.lapse()), beats).await {
            Either::Left(((), _)) => Halt::Lost,
            Either::Right((halt, _)) => halt,
        }
    }

    async fn beats(&self) -> Halt {
        loop {
            self.sim.sleep(millis(LEASE.heartbeat())).await;
            match self.renew().await {
                Ok(()) => {}
                Err(Renewal::Stopped(halt)) => return halt,
                // Where the end of the lease is not watched, it is noticed here.
                Err(Renewal::Failed) if self.rules.has(Rule::StopAtTheEnd) => {}
                Err(Renewal::Failed) if self.must_stop() => return Halt::Lost,
                Err(Renewal::Failed) => {}
            }
        }
    }

    /// Waits until the run must stop for want of a lease.
    async fn lapse(&self) {
        let heartbeat = millis(LEASE.heartbeat());
        while !self.must_stop() {
            let left = self.until.get() - self.now();
            self.sim.sleep(if left > 0 { left.min(heartbeat) } else { heartbeat }).await;
        }
    }

    fn must_stop(&self) -> bool {
        let has_turn = self.has_turn.get() && self.rules.has(Rule::StopWithTheTurn);
        Lease::must_stop(self.until.get(), self.now(), self.rerun || has_turn)
    }

    /// Makes sure that enough of the lease is left for a call.
    pub(crate) async fn ensure_half(&self) -> Result<(), Halt> {
        while !self.rules.may_call(self.until.get(), self.now()) {
            if self.may_freeze {
                self.sim.may_freeze_here();
            }
            match self.renew().await {
                Ok(()) if self.rules.has(Rule::HalfALeaseAfterRenewing) => {}
                Ok(()) => return Ok(()),
                Err(Renewal::Stopped(halt)) => return Err(halt),
                Err(Renewal::Failed) => return Err(Halt::Failed(StoreError::ERROR_TYPE, !self.called.get())),
            }
        }
        Ok(())
    }

    /// The trigger's turn was taken until then.
    pub(crate) fn took_turn(&self, until: i64) {
        self.until.set(self.until.get().min(until));
        self.has_turn.set(true);
    }

    async fn renew(&self) -> Result<(), Renewal> {
        let had_turn = self.has_turn.get();
        let until = LEASE.until(self.now());
        let beating = self.client.send(Request::Heartbeat { owner: self.owner.clone(), until });
        let (beat, kept) = join(beating, self.keep_turn(until)).await;
        let row = match beat.map_err(|_| Renewal::Failed)? {
            Answer::Done(row) => row,
            // A longer lease than this one asked for is this attempt's too.
            Answer::Refused(row)
                if self.rules.has(Rule::LeaseOnlyGrows) && execution::is_held(row.as_ref(), &self.owner) =>
            {
                row
            }
            Answer::Refused(_) | Answer::RunLock(_) => return Err(Renewal::Stopped(Halt::Lost)),
        };
        if row.is_some_and(|row| row.cancel_requested == Some(true)) {
            return Err(Renewal::Stopped(Halt::Cancelled));
        }
        if !kept.map_err(|_| Renewal::Failed)? {
            return Err(Renewal::Stopped(Halt::Lost));
        }
        // A turn that was taken meanwhile was not kept with it.
        if had_turn != self.has_turn.get() {
            return Ok(());
        }
        let before = if self.rules.has(Rule::LeaseOnlyGrows) { self.until.get() } else { i64::MIN };
        self.until.set(until.max(before));
        Ok(())
    }

    /// Writes how the attempt ended until the invocation's deadline, extending the lease all the while; `Err(None)` if
    /// it is lost.
    pub(crate) async fn finish(&self, ending: Ending) -> Result<(), Option<StoreError>> {
        let beating = async {
            // Whatever stops it, the finish meets it too.
            self.beats().await;
            pending().await
        };
        match select(Box::pin(self.write(ending)), Box::pin(beating)).await {
            Either::Left((finished, _)) => finished,
            Either::Right((never, _)) => never,
        }
    }

    async fn write(&self, ending: Ending) -> Result<(), Option<StoreError>> {
        let mut longest = 400;
        loop {
            let request = Request::Finish { owner: self.owner.clone(), ending };
            let error = match self.in_time(self.write_until, self.client.send(request)).await {
                Some(Ok(Answer::Done(_))) => return Ok(()),
                Some(Ok(Answer::Refused(row))) if self.is_own_finish(row.as_ref(), ending) => return Ok(()),
                Some(Ok(Answer::Refused(_) | Answer::RunLock(_))) => return Err(None),
                Some(Err(error)) => error,
                None => return Err(Some(StoreError)),
            };
            let wait = self.sim.draw(0..=longest);
            longest = (longest * 2).min(5_000);
            if self.sim.now() + wait >= self.write_until {
                return Err(Some(error));
            }
            self.sim.sleep(wait).await;
        }
    }

    fn is_own_finish(&self, row: Option<&Row>, ending: Ending) -> bool {
        let error_type = ending.error_type.map(|error_type| error_type.as_str());
        // Without the rule whatever failure is found is taken for the own one.
        let found = row.and_then(|row| row.error_type.as_deref());
        let error_type = if self.rules.has(Rule::OwnFailure) { error_type } else { found };
        execution::is_own_finish(row, &self.owner, ending.status, error_type)
    }

    /// `None` if it takes longer.
    pub(crate) async fn in_time<T>(&self, until: i64, step: impl Future<Output = T>) -> Option<T> {
        match select(Box::pin(step), Box::pin(self.sim.sleep_until(until))).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }
}

/// Why a lease was not extended.
enum Renewal {
    Stopped(Halt),
    Failed,
}
