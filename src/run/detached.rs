//! The part of an attempt that only a detached run has: what it is fenced by, the timer before the call, and the lease
//! that passes to the agent (docs/long-runs.md).

use serde_json::Value;

use crate::{
    clock::now_millis,
    domain::{
        answer::{Acknowledgement, Outcome, Verdict},
        detached::{Detachment, lease_after, lease_of_unacknowledged},
        execution::Status,
        failure::{ErrorType, Failure},
        fire::Fire,
        platform::Platform,
        request_format::RequestFormat,
    },
    invocation::InvocationContext,
    lifecycle::{
        detached::{Left, arm, leave_to_agent, why_lost},
        lease::{RunStop, Stop},
    },
    response::Response,
    run::{attempt::AttemptRun, prospect::Prospect, session::is_unfinished, token::DetachedRun},
    store::detached::HandOver,
};

/// The way on of an attempt whose work has ended.
pub(super) enum WayOn {
    /// The run is the agent's now, or has ended by its report. Holds the invocation's result.
    Left(Result<Value, Failure>),
    /// The run ends with this invocation.
    Ends(Result<Outcome, RunStop>),
}

impl AttemptRun<'_> {
    /// Returns the detached run of `fire`, or `None` if the run ends with its invocation. What the claim wrote is kept
    /// if the settings are the same, but for the ways to stop short that are accepted. Otherwise there is a new token
    /// and a deadline that counts from now, which [`AttemptRun::arm`] writes.
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
        let mut run = claimed.cloned().unwrap_or_else(|| DetachedRun::new(settings, now_millis()));
        let accepted = fire.task.accept_finish_reasons.as_ref().unwrap_or(&definition.accept_finish_reasons);
        run.detachment.accept_finish_reasons.clone_from(accepted);
        Ok(Some(run))
    }

    /// Makes the row, the run lock and the timer ready for the call, as [`arm`] does, and remembers the run for
    /// [`AttemptRun::way_on`]. Without a run, only a detachment that the claim wrote is removed.
    ///
    /// # Errors
    /// Returns the errors of [`arm`].
    pub(super) async fn arm(&self, run: Option<&DetachedRun>) -> Result<(), RunStop> {
        let claimed = self.attempt.detachment.as_ref();
        let armed = run.map(|run| (&run.detachment, run.settings.first_look()));
        arm(self.owned, &self.context.app.settle_queue, claimed, armed, self.attempt.ttl).await?;
        if let Some(run) = run {
            // It is set only here, and once for an attempt.
            let _ = self.detached.set(run.clone());
        }
        Ok(())
    }

    /// Decides what becomes of a run whose work in this invocation has ended. A run whose agent was not called ends
    /// here. An agent that acknowledged, or that may be at work although nothing says so, gets the lease: its answer is
    /// torn, or another one came in its place. A run that was ended by its report meanwhile is told as it ended. After
    /// the loss of the lease the result is `LeaseLost` if another attempt has it, or if it cannot be found out who has
    /// it. Any other run ends here.
    pub(super) async fn way_on(&self, fire: &Fire, ended: Result<Outcome, RunStop>) -> WayOn {
        let (is_called, is_answer_lost) = {
            let facts = self.context.state.facts();
            (facts.agent_called, facts.is_answer_lost)
        };
        let Some(run) = self.detached.get().filter(|_| is_called) else { return WayOn::Ends(ended) };
        match &ended {
            Ok(outcome) if let Some(acknowledgement) = outcome.acknowledgement => {
                WayOn::Left(self.leave(fire, run, Some(acknowledgement)).await)
            }
            // The agent has said in full that it stopped, if only because it is at work.
            Ok(Outcome { verdict: Verdict::Incomplete(_), .. }) => WayOn::Ends(ended),
            _ if is_unfinished(&ended) || is_answer_lost => {
                if let Err(RunStop::Failed(failure)) = &ended {
                    tracing::warn!(cause = ?failure, "no acknowledgement came");
                }
                WayOn::Left(self.leave(fire, run, None).await)
            }
            Err(RunStop::Stopped(Stop::Lost)) => {
                WayOn::Left(match why_lost(self.owned, &run.detachment.report_key, self.context.deadline).await {
                    // Nobody else has it, and the agent may be at work.
                    Ok(Left::Own) => self.leave(fire, run, None).await,
                    Ok(left) => self.told(fire, left),
                    Err(_) => {
                        self.owned.forget_run_lock();
                        Err(Failure::lease_lost())
                    }
                })
            }
            _ => WayOn::Ends(ended),
        }
    }

    /// Returns the result of an attempt whose end the row has refused. For a detached run the row is read again, and
    /// the result is that of [`Self::told`]. The agent of a detached run may have reported the end before it answered
    /// the call in full. That end counts, and this one does not.
    ///
    /// # Errors
    /// Returns the failure of a run that has failed by its report, and otherwise `LeaseLost`.
    pub(super) async fn end_refused(&self, fire: &Fire) -> Result<Value, Failure> {
        let Some(run) = self.detached.get() else { return Err(Failure::lease_lost()) };
        match why_lost(self.owned, &run.detachment.report_key, self.context.deadline).await {
            Ok(left) => self.told(fire, left),
            Err(_) => Err(Failure::lease_lost()),
        }
    }

    /// Lets the lease pass to the agent, and returns the response. If the agent has reported the end meanwhile, the
    /// response is that of the end. If the table fails, the run lock stays with the agent, and a look hands the run
    /// over later.
    ///
    /// # Errors
    /// Returns the failure of a run that has failed by its report, the loss of the lease, or the table's failure.
    async fn leave(
        &self,
        fire: &Fire,
        run: &DetachedRun,
        acknowledgement: Option<Acknowledgement>,
    ) -> Result<Value, Failure> {
        let InvocationContext { deadline, state, .. } = self.context;
        let facts = |now, has_reported| self.hand_over(run, acknowledgement, has_reported, now);
        match leave_to_agent(self.owned, &run.detachment.report_key, facts, *deadline).await {
            Ok(left) => {
                if matches!(left, Left::ToAgent) {
                    tracing::info!(isAcknowledged = acknowledgement.is_some(), "the run is left to its agent");
                }
                self.told(fire, left)
            }
            Err(error) => {
                // A look hands the run over, and the agent keeps the trigger's run lock.
                self.owned.forget_run_lock();
                Err(state.retryable_unless_called(error.into()))
            }
        }
    }

    /// Returns the facts of a hand-over at `now`: the end of the agent's lease by what it has acknowledged, or by
    /// whether it has reported, its promise to report, and what the invocation knows of the run.
    fn hand_over(&self, run: &DetachedRun, answer: Option<Acknowledgement>, has_reported: bool, now: i64) -> HandOver {
        let Detachment { deadline, first_report_seconds, .. } = run.detachment;
        let heartbeat_seconds = answer.and_then(|acknowledgement| acknowledgement.heartbeat_seconds);
        let facts = self.context.state.facts();
        HandOver {
            lease_until: match answer {
                Some(_) => lease_after(now, heartbeat_seconds, deadline),
                None => {
                    let seconds = Some(first_report_seconds).filter(|_| !has_reported);
                    lease_of_unacknowledged(now, seconds, deadline)
                }
            },
            heartbeat_seconds,
            is_ack_lost: answer.is_none(),
            has_reported,
            request_id: facts.request_id.clone(),
            snapshot: facts.snapshot.clone(),
            run_slot: self.owned.slot.get(),
        }
    }

    /// Returns the result for a detached run that this attempt need not end any more: the response of a run that is its
    /// agent's, or of one that ended by its report. A failed one is its failure. `Own` and `Lost` are `LeaseLost`.
    fn told(&self, fire: &Fire, left: Left) -> Result<Value, Failure> {
        let response = Response::new(fire, &self.attempt.execution_id);
        match left {
            Left::ToAgent => Ok(response.detached(&self.attempt.session_id)),
            Left::Ended(row) if row.status == Status::Failed => Err(Failure::of_row(&row)),
            Left::Ended(row) => Ok(response.reported(&row)),
            Left::Own | Left::Lost => Err(Failure::lease_lost()),
        }
    }
}
