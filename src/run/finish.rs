//! The end of an attempt: the ending is computed, written, and returned to Lambda.

use serde_json::Value;

use crate::{
    clock::{millis_since, now_millis},
    domain::answer::{Outcome, Verdict},
    domain::{
        attempt::Attempt,
        ending::{Ending, Overlapping, Snapshot},
        execution::{Status, is_retryable},
        failure::Failure,
        fire::Fire,
        trigger_snapshot::TriggerKnowledge,
    },
    lifecycle::lease::{NotHeld, RunStop, Stop},
    response::Response,
    run::{attempt::AttemptRun, detached::WayOn},
    trigger::replay::Input,
};

impl AttemptRun<'_> {
    /// Writes the ending of the attempt, and returns the invocation's result. A detached run whose agent may be at work
    /// is left to the agent instead. Before the end is written, the agent's session is stopped if the agent may still
    /// be at work. A final end is counted once it is written. Beside the end, the input of a run that may be replayed
    /// is kept. A detached run that its agent's report has ended meanwhile is told as it ended.
    ///
    /// # Errors
    /// Returns the failure of the run once it is recorded, `LeaseLost` if nothing may be written, and the table's
    /// failure if the ending could not be written. The last is retryable only if the agent was not called.
    pub(super) async fn finish(&self, fire: &Fire, ended: Result<Outcome, RunStop>) -> Result<Value, Failure> {
        let ended = match self.way_on(fire, ended).await {
            WayOn::Left(result) => return result,
            WayOn::Ends(ended) => ended,
        };
        let (state, attempt) = (&self.context.state, self.attempt);
        let stop = self.stop_session(&ended).await;
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
        let mut is_final = is_final;
        match finished {
            Ok(false) => {}
            Ok(true) => {
                is_final = true;
                ending.failure = ending.failure.map(|failure| Failure { retryable: false, ..failure });
            }
            Err(NotHeld::Stopped(_)) => return self.end_refused(fire).await,
            Err(NotHeld::Store(error)) => return Err(state.retryable_unless_called(error.into())),
        }
        if is_final {
            state.facts().count_end(ending.status);
        }
        respond(fire, attempt, ending)
    }

    /// Computes the ending from the outcome or the stop, and from what the invocation knows. If a run is skipped
    /// although an earlier attempt had failed, it ends with that failure, made final. A failure of the last attempt is
    /// not retryable.
    ///
    /// # Errors
    /// Returns `LeaseLost`, for which nothing may be written.
    fn ending(&self, ended: Result<Outcome, RunStop>) -> Result<Ending, Failure> {
        let (state, attempt) = (&self.context.state, self.attempt);
        let mut ending = Ending::new(Status::Completed, now_millis(), None);
        {
            let facts = state.facts();
            // An ended run names the protocol of its answer, and none without an answer.
            ending.snapshot = facts.snapshot.clone().map(|snapshot| Snapshot { protocol: None, ..snapshot });
            ending.usage_before = attempt.usage_before;
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
            Err(RunStop::Skipped(reason, overlaps)) if let Some(before) = &attempt.before => {
                let running = Overlapping::suffix(overlaps.as_ref());
                let message = format!("{}; not tried again: {}{running}", before.message, reason.as_str());
                Some(Failure { message, retryable: false, ..before.clone() })
            }
            Err(RunStop::Skipped(reason, overlaps)) => {
                tracing::info!(skipReason = reason.as_str(), "skipped{}", Overlapping::suffix(overlaps.as_ref()));
                state.facts().skip_reason.get_or_insert(reason);
                ending = Ending { overlaps, ..Ending::skipped(now_millis(), reason) };
                None
            }
            Err(RunStop::Stopped(Stop::Lost)) => return Err(Failure::lease_lost()),
        };
        ending.reported = state.facts().reported;
        if let Some(failure) = failure {
            ending.status = Status::Failed;
            ending.failure = Some(Failure { retryable: is_retryable(failure.retryable, attempt.attempt), ..failure });
        }
        Ok(ending)
    }

    /// Keeps the input of a run that failed for good or was cancelled, unless it was kept before. A completed or
    /// skipped run needs none. Its task is the one that ran, or otherwise that of `fire`. If nothing ran and the
    /// trigger has an item, nothing is kept, because the item takes precedence over `fire`. A failure is logged only.
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
        let fire = match &ran {
            Some(ran) => ran,
            // The item of a stored trigger takes precedence over the event, so the event does not say what would have
            // run.
            None if matches!(self.owned.trigger.get(), Some(TriggerKnowledge::Present(_))) => return,
            None => fire,
        };
        let input = Input::new(fire, definition.as_ref());
        // What is not kept is logged, and harms nothing else.
        let _ = input.keep(self.owned.store, &fire.trigger_id, execution_id, (false, *ttl), until).await;
    }
}

/// Returns the invocation's result for an attempt whose end is recorded: its failure, or the response. The session is
/// the one that the agent named, or otherwise the one that it was given.
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
