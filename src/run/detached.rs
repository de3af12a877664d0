//! The part of an attempt that only a detached run has: what it is fenced by, the timer before the call, and the lease
//! that passes to the agent (docs/long-runs.md).

use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::{
    agent::request::parts::Callback,
    backoff,
    clients::random,
    clock::{now_millis, rfc3339},
    config::{Config, Secret},
    domain::{
        answer::{Acknowledgement, Outcome, Verdict},
        detached::{Detached, Detachment, lease_after, lease_of_unacknowledged},
        execution::{Row, Status},
        failure::{ErrorType, Failure},
        fire::Fire,
        look::{Look, Purpose},
        platform::Platform,
        report::report_key,
        request_format::RequestFormat,
    },
    lifecycle::{
        lease::{RunStop, Stop},
        looks::Looks,
    },
    response::Response,
    run::{attempt::AttemptRun, finish::lease_lost, prospect::Prospect, session::is_unfinished},
    store::{Write, detached::HandOver, error::StoreError, records::joined},
};

/// The settings of a detached run with the token of this attempt.
#[derive(Debug, Clone)]
pub(super) struct DetachedRun {
    settings: Detached,
    pub(super) detachment: Detachment,
    token: Secret,
}

impl DetachedRun {
    /// Returns the run of an attempt that begins at `now`, in milliseconds since 1970, with a new token.
    pub(super) fn new(settings: Detached, now: i64) -> Self {
        let token = random::token();
        let detachment = settings.detachment(report_key(token.expose()), now);
        Self { settings, detachment, token }
    }

    /// Returns the way in which the agent reports.
    pub(super) fn callback(&self, config: &Config) -> Callback {
        Callback {
            token: self.token.clone(),
            deadline: rfc3339(self.detachment.deadline),
            url: config.report_url.as_ref().map(ToString::to_string),
            event_bus_name: config.report_bus_name.clone(),
        }
    }
}

/// The way on of an attempt whose work has ended.
pub(super) enum WayOn {
    /// The run is the agent's now, or has ended by its report. Holds the invocation's result.
    Left(Result<Value, Failure>),
    /// The run ends with this invocation.
    Ends(Result<Outcome, RunStop>),
}

impl AttemptRun<'_> {
    /// Returns the detached run of `fire`, or `None` if the run ends with its invocation. What the claim wrote is kept
    /// if the settings are the same. Otherwise there is a new token, which [`AttemptRun::arm`] writes.
    ///
    /// # Errors
    /// `InvalidTrigger` if the agent's protocol has no room for a callback, its platform does not hold a run for so
    /// long, or the function has no settle queue or no address for reports.
    pub(super) fn detached_run(&self, fire: &Fire, prospect: &Prospect) -> Result<Option<DetachedRun>, Failure> {
        let Some(settings) = fire.task.detached else { return Ok(None) };
        let app = self.context.app;
        let invalid = |message: String| Err(Failure::fatal(ErrorType::InvalidTrigger, message));
        let definition = &prospect.agent.definition;
        if !matches!(definition.format, RequestFormat::Invocations | RequestFormat::A2a(_)) {
            return invalid(format!("a run by the protocol {} cannot be detached", definition.format));
        }
        let longest = Platform::of(definition.is_agentcore).longest_detached_seconds();
        if settings.timeout_seconds > longest {
            return invalid(format!("detached.timeoutSeconds must be from 1 to {longest} for this agent"));
        }
        if !app.settle_queue.is_configured() {
            return invalid("a run cannot be detached: SETTLE_QUEUE_URL is not set".to_owned());
        }
        if app.config.report_url.is_none() && app.config.report_bus_name.is_none() {
            return invalid("a run cannot be detached: neither REPORT_URL nor REPORT_BUS_NAME is set".to_owned());
        }
        let claimed = self.claimed.as_ref().filter(|claimed| claimed.settings == settings);
        Ok(Some(claimed.cloned().unwrap_or_else(|| DetachedRun::new(settings, now_millis()))))
    }

    /// Makes the row, the run lock and the timer ready for a call after which this process may die. There is no call
    /// without a timer.
    ///
    /// # Errors
    /// Returns the loss of the lease, and a retryable failure if the table does not answer or no look could be sent.
    pub(super) async fn arm(&self, run: Option<&DetachedRun>) -> Result<(), RunStop> {
        let detachment = run.map(|run| &run.detachment);
        let store = self.owned.store;
        if detachment != self.attempt.detachment.as_ref() {
            let written = store.set_detachment(self.owned.holder, detachment, self.attempt.ttl).await?;
            if matches!(written, Write::Refused(_)) {
                return Err(RunStop::Stopped(Stop::Lost));
            }
        }
        let Some(run) = run else { return Ok(()) };
        self.owned.hold_run_lock(run.detachment.deadline).await?;
        let look = Look {
            trigger_id: self.owned.holder.execution.trigger_id.to_owned(),
            execution_id: self.owned.holder.execution.execution_id.to_owned(),
            report_key: run.detachment.report_key.clone(),
            purpose: Purpose::Timer,
        };
        self.context.app.settle_queue.send(&look, run.settings.first_look()).await?;
        // It is set only here, and once for an attempt.
        let _ = self.detached.set(run.clone());
        Ok(())
    }

    /// Decides what becomes of a run whose work in this invocation has ended. An agent that acknowledged, or that may be
    /// at work although nothing says so, gets the lease. A run that was ended by its report meanwhile is told as it
    /// ended. Any other run ends here.
    pub(super) async fn way_on(&self, fire: &Fire, ended: Result<Outcome, RunStop>) -> WayOn {
        let is_called = self.context.state.facts().agent_called;
        let Some(run) = self.detached.get().filter(|_| is_called) else { return WayOn::Ends(ended) };
        match &ended {
            Ok(outcome) if let Some(acknowledgement) = outcome.acknowledgement => {
                WayOn::Left(self.leave(fire, run, Some(acknowledgement)).await)
            }
            // The agent has said in full that it stopped, if only because it is at work.
            Ok(Outcome { verdict: Verdict::Incomplete(_), .. }) => WayOn::Ends(ended),
            _ if is_unfinished(&ended) => WayOn::Left(self.leave(fire, run, None).await),
            Err(RunStop::Stopped(Stop::Lost)) => match self.row().await {
                Ok(Some(row)) if row.report_key.as_ref() == Some(&run.detachment.report_key) => {
                    self.told(fire, Some(row)).map_or_else(|| WayOn::Left(Err(lease_lost())), WayOn::Left)
                }
                _ => WayOn::Left(Err(lease_lost())),
            },
            _ => WayOn::Ends(ended),
        }
    }

    /// Lets the lease pass to the agent, and repeats this until the time of the last write.
    ///
    /// # Errors
    /// Returns the failure of a run that has failed by its report, the loss of the lease, or the table's failure. Then
    /// a look, or Lambda's retry, hands the run over without the acknowledgement.
    async fn leave(
        &self,
        fire: &Fire,
        run: &DetachedRun,
        acknowledgement: Option<Acknowledgement>,
    ) -> Result<Value, Failure> {
        let until = self.context.deadline.write_until;
        let store = self.owned.store;
        let mut waits = backoff::endless();
        loop {
            let now = now_millis();
            let handing = store.hand_over(self.owned.holder, self.hand_over(fire, run, acknowledgement, now), now);
            let error = match store.in_time(until, handing).await {
                Ok(Write::Done) => {
                    // The lock lasts until the deadline, and is freed by whoever ends the run.
                    self.owned.has_run_lock.store(false, Ordering::Relaxed);
                    self.context.state.facts().handed_over += 1;
                    tracing::info!(isAcknowledged = acknowledgement.is_some(), "the run is left to its agent");
                    return Ok(Response::new(fire, &self.attempt.execution_id).detached(&self.attempt.session_id));
                }
                Ok(Write::Refused(row)) => {
                    let own = row.filter(|row| row.report_key.as_ref() == Some(&run.detachment.report_key));
                    return self.told(fire, own).unwrap_or_else(|| Err(lease_lost()));
                }
                Err(error) => error,
            };
            let wait = waits.next().unwrap_or_default();
            if tokio::time::Instant::now() + wait >= until {
                return Err(self.context.state.retryable_unless_called(error.into()));
            }
            tracing::warn!(error = %error, "the run is not left to its agent yet, trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Returns the facts of a hand-over at `now`.
    fn hand_over(&self, fire: &Fire, run: &DetachedRun, answer: Option<Acknowledgement>, now: i64) -> HandOver {
        let Detachment { deadline, first_report_seconds, .. } = run.detachment;
        let heartbeat_seconds = answer.and_then(|acknowledgement| acknowledgement.heartbeat_seconds);
        let facts = self.context.state.facts();
        let fire = facts.ran.as_deref().unwrap_or(fire);
        let of_agent = self.called.get().map(|agent| &agent.definition.accept_finish_reasons);
        let accepted = fire.task.accept_finish_reasons.as_ref().or(of_agent);
        HandOver {
            lease_until: match answer {
                Some(_) => lease_after(now, heartbeat_seconds, deadline),
                None => lease_of_unacknowledged(now, first_report_seconds, deadline),
            },
            heartbeat_seconds,
            is_ack_lost: answer.is_none(),
            request_id: facts.request_id.clone(),
            snapshot: facts.snapshot.clone(),
            accept_finish_reasons: accepted.and_then(|reasons| joined(reasons)),
            has_run_lock: self.owned.has_run_lock.load(Ordering::Relaxed),
        }
    }

    /// Reads the execution's row.
    async fn row(&self) -> Result<Option<Row>, StoreError> {
        let execution = self.owned.holder.execution;
        let reading = self.owned.store.execution(execution.trigger_id, execution.execution_id);
        self.owned.store.in_time(self.context.deadline.write_until, reading).await
    }

    /// Returns the result for a detached run that this attempt need not end any more: its agent has reported the end, or
    /// the lease is the agent's already, because an answer was lost or another invocation took this one for dead. Returns
    /// `None` for any other row.
    fn told(&self, fire: &Fire, row: Option<Row>) -> Option<Result<Value, Failure>> {
        let row = row?;
        let response = Response::new(fire, &self.attempt.execution_id);
        Some(match row.status {
            Status::Running if row.detached_at.is_some() => {
                self.owned.has_run_lock.store(false, Ordering::Relaxed);
                Ok(response.detached(&self.attempt.session_id))
            }
            Status::Running => return None,
            Status::Failed => Err(Failure::of_row(&row)),
            Status::Completed | Status::Cancelled | Status::Skipped => Ok(response.reported(&row)),
        })
    }
}
