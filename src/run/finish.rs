//! The end of an attempt: the ending is computed, written, and returned to Lambda.

use std::time::Duration;

use serde_json::Value;

use crate::{
    clock::{millis_since, now_millis},
    domain::answer::{Outcome, Verdict},
    domain::{
        attempt::Attempt,
        ending::{Ending, StopOutcome},
        execution::{Status, is_retryable},
        failure::{ErrorType, Failure},
        fire::Fire,
    },
    lifecycle::lease::{NotHeld, RunStop, Stop},
    response::Response,
    run::attempt::AttemptRun,
    trigger::replay,
};

/// The longest time that the record of a cancelled run waits until its agent's session is stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

impl AttemptRun<'_> {
    /// Writes the ending of the attempt, and returns the invocation's result.
    pub(super) async fn finish(&self, fire: &Fire, ended: Result<Outcome, RunStop>) -> Result<Value, Failure> {
        let (state, attempt) = (&self.context.state, self.attempt);
        let stop = self.stop_unwanted_agent(&ended).await;
        let mut ending = match self.ending(ended) {
            Ok(ending) => ending,
            Err(lost) => return Err(lost),
        };
        ending.stop = stop;
        state.facts().attempt_ended(&ending);
        let is_final = ending.failure.as_ref().is_none_or(|failure| !failure.retryable);
        let (finished, ()) = tokio::join!(
            self.owned.finish(&ending, self.context.deadline),
            self.keep_input_if_worth_it(fire, &ending, is_final)
        );
        match finished {
            Ok(()) => {}
            Err(NotHeld::Stopped(_)) => return Err(lease_lost()),
            Err(NotHeld::Store(error)) => return Err(state.retryable_unless_called(error.into())),
        }
        if is_final {
            state.facts().count_end(ending.status);
        }
        respond(fire, attempt, ending)
    }

    /// Computes the ending.
    ///
    /// # Errors
    /// Returns `LeaseLost`, for which nothing may be written.
    fn ending(&self, ended: Result<Outcome, RunStop>) -> Result<Ending, Failure> {
        let (state, attempt) = (&self.context.state, self.attempt);
        let mut ending = Ending::new(Status::Completed, now_millis(), None);
        {
            let facts = state.facts();
            ending.snapshot = facts.ran.as_deref().map(|fire| replay::snapshot(fire, facts.definition.as_ref()));
            ending.request_id = facts.request_id.clone();
            ending.first_event_ms = facts.first_event_ms;
            ending.duration_ms = Some(millis_since(self.since));
        }
        let failure = match ended {
            Ok(outcome) => {
                state.report(outcome.progress, now_millis);
                ending.request_id = outcome.request_id.or(ending.request_id);
                ending.session_id = outcome.session_id;
                ending.protocol = Some(outcome.protocol);
                ending.finish_reason = outcome.finish_reason;
                ending.output = outcome.output;
                match outcome.verdict {
                    Verdict::Completed => None,
                    Verdict::Incomplete(reason) => Some(Failure::from(reason)),
                    Verdict::Failed(failure) => Some(Failure::from(failure)),
                    Verdict::Interrupted(interruption) => Some(Failure::from(interruption)),
                }
            }
            Err(RunStop::Failed(failure)) => Some(failure),
            Err(RunStop::Stopped(Stop::Cancelled)) => {
                ending.status = Status::Cancelled;
                None
            }
            // There was an earlier attempt. The record must say how that one ended, which a skip of this one would
            // hide.
            Err(RunStop::Skipped(reason, _)) if let Some(before) = &attempt.before => {
                let message = format!("{}; not tried again: {}", before.message, reason.as_str());
                Some(Failure { message, retryable: false, ..before.clone() })
            }
            Err(RunStop::Skipped(reason, overlaps)) => {
                tracing::info!(skipReason = reason.as_str(), "skipped");
                state.facts().skip_reason.get_or_insert(reason);
                ending = Ending { overlaps, ..Ending::skipped(now_millis(), reason) };
                None
            }
            Err(RunStop::Stopped(Stop::Lost)) => return Err(lease_lost()),
        };
        ending.reported = state.facts().reported;
        if let Some(failure) = failure {
            ending.status = Status::Failed;
            ending.failure = Some(Failure { retryable: is_retryable(failure.retryable, attempt.attempt), ..failure });
        }
        Ok(ending)
    }

    /// Keeps the input of a run that did not complete, unless it was kept before.
    async fn keep_input_if_worth_it(&self, fire: &Fire, ending: &Ending, is_final: bool) {
        let (ran, definition, is_kept) = {
            let facts = self.context.state.facts();
            (facts.ran.clone(), facts.definition.clone(), facts.is_input_kept)
        };
        if matches!(ending.status, Status::Completed | Status::Skipped) || !is_final || is_kept {
            return;
        }
        let Attempt { execution_id, ttl, .. } = self.attempt;
        let until = self.context.deadline.write_until;
        let (fire, definition) = (ran.as_deref().unwrap_or(fire), definition.as_ref());
        replay::keep_input(self.owned.store, fire, definition, execution_id, *ttl, until).await;
    }

    /// Closing the connection may not stop the agent. On AgentCore, asks it to stop the session of a run that was
    /// cancelled or took too long for its trigger (best effort, 2 s).
    async fn stop_unwanted_agent(&self, ended: &Result<Outcome, RunStop>) -> Option<StopOutcome> {
        let is_unwanted = {
            let facts = self.context.state.facts();
            let is_cancelled = matches!(ended, Err(RunStop::Stopped(Stop::Cancelled)));
            (is_cancelled || facts.is_timed_out) && facts.agent_called
        };
        if !is_unwanted {
            return None;
        }
        let agents = &self.context.app.agents;
        let ran = self.context.state.facts().ran.clone()?;
        let stopping = async {
            let agent = agents.find(&ran.task.agent_id).await.ok()?;
            let authorization = agents.authorize(&agent).await.ok()?;
            agent.stop_session(&self.attempt.session_id, &authorization).await
        };
        // The record does not wait longer for this.
        tokio::time::timeout(STOP_TIMEOUT, stopping).await.unwrap_or(Some(StopOutcome { confirmed: false }))
    }
}

/// Returns the invocation's result for an attempt whose end is recorded: its failure, or what became of it. The session
/// is the one that the agent named, else the one that it was given.
fn respond(fire: &Fire, attempt: &Attempt, ending: Ending) -> Result<Value, Failure> {
    let response = Response::new(fire, &attempt.execution_id);
    let session_id = ending.session_id.as_deref().unwrap_or(&attempt.session_id);
    match ending.failure {
        Some(failure) => Err(failure),
        None if let Some(reason) = ending.skip_reason => Ok(response.skipped(reason)),
        None if ending.status == Status::Cancelled => Ok(response.cancelled(Some(session_id))),
        None => Ok(response.completed(ending.request_id.as_deref(), session_id)),
    }
}

/// Returns the failure of an attempt that lost its lease.
fn lease_lost() -> Failure {
    let message = "lease lost: another attempt owns this execution, or another execution holds its trigger's lock";
    Failure::fatal(ErrorType::LeaseLost, message)
}
