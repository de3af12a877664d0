//! The lease an attempt holds: the steps of `src/lease.rs` around the same decisions.

use agent_trigger::execution::{self, Lease, Row, Status};
use futures_util::future::{Either, select};

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
                Err(Renewal::Failed) => {
                    if Lease::must_stop(self.until.get(), self.now(), self.rerun) {
                        return Halt::Lost;
                    }
                }
            }
        }
    }

    /// Waits until the run must stop for want of a lease.
    async fn lapse(&self) {
        while !Lease::must_stop(self.until.get(), self.now(), self.rerun) {
            // Without rerun it never must; the beats go on for ever, and so may this.
            let left = (self.until.get() - self.now()).max(1_000);
            self.sim.sleep(left).await;
        }
    }

    /// Makes sure that enough of the lease is left for a call.
    pub(crate) async fn ensure_half(&self) -> Result<(), Halt> {
        while !self.rules.may_call(self.until.get(), self.now()) {
            match self.renew().await {
                Ok(()) if self.rules.has(Rule::HalfALeaseAfterRenewing) => {}
                Ok(()) => return Ok(()),
                Err(Renewal::Stopped(halt)) => return Err(halt),
                Err(Renewal::Failed) => return Err(Halt::Failed(StoreError::ERROR_TYPE, !self.called.get())),
            }
        }
        Ok(())
    }

    async fn renew(&self) -> Result<(), Renewal> {
        let until = LEASE.until(self.now());
        let beat = self.client.send(Request::Heartbeat { owner: self.owner.clone(), until }).await;
        let row = match beat.map_err(|_| Renewal::Failed)? {
            Answer::Done(row) => row,
            // A longer lease than this one asked for is this attempt's too.
            Answer::Refused(row) if self.rules.has(Rule::LeaseOnlyGrows) && self.is_mine(row.as_ref()) => row,
            Answer::Refused(_) => return Err(Renewal::Stopped(Halt::Lost)),
        };
        if row.is_some_and(|row| row.cancel_requested == Some(true)) {
            return Err(Renewal::Stopped(Halt::Cancelled));
        }
        let before = if self.rules.has(Rule::LeaseOnlyGrows) { self.until.get() } else { i64::MIN };
        self.until.set(until.max(before));
        Ok(())
    }

    fn is_mine(&self, row: Option<&Row>) -> bool {
        row.is_some_and(|row| row.status == Status::Running && row.owner.as_ref() == Some(&self.owner))
    }

    /// Writes how the attempt ended until the invocation's deadline; `Err(None)` if the lease is lost.
    pub(crate) async fn finish(&self, ending: Ending) -> Result<(), Option<StoreError>> {
        let mut longest = 400;
        loop {
            let request = Request::Finish { owner: self.owner.clone(), ending };
            let error = match self.before_the_end(self.client.send(request)).await {
                Some(Ok(Answer::Done(_))) => return Ok(()),
                Some(Ok(Answer::Refused(row))) if self.is_own_finish(row.as_ref(), ending) => return Ok(()),
                Some(Ok(Answer::Refused(_))) => return Err(None),
                Some(Err(error)) => error,
                None => return Err(Some(StoreError { may_have_written: true })),
            };
            let wait = self.sim.draw(0..=longest);
            longest = (longest * 2).min(5_000);
            if self.sim.now() + wait >= self.write_until {
                return Err(Some(error));
            }
            self.sim.sleep(wait).await;
            // Whatever this finds, the next finish meets it too.
            let _ = self.before_the_end(self.ensure_half()).await;
        }
    }

    fn is_own_finish(&self, row: Option<&Row>, ending: Ending) -> bool {
        let error_type = ending.error_type.map(|error_type| error_type.as_str());
        execution::is_own_finish(row, &self.owner, ending.status)
            && (!self.rules.has(Rule::OwnFailure) || row.and_then(|row| row.error_type.as_deref()) == error_type)
    }

    async fn before_the_end<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        match select(Box::pin(step), Box::pin(self.sim.sleep_until(self.write_until))).await {
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
