//! The facts about an invocation so far. The run's future shares them, and they stay readable after the deadline has
//! dropped that future. The record's end and the metrics are computed from them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    domain::agent_definition::DefinitionMark,
    domain::answer::Progress,
    domain::{
        close_decision::CloseAction,
        ending::{Ending, Reported, SkipReason, Snapshot},
        execution::Status,
        failure::{ErrorType, Failure},
        finish_reason::FinishReason,
        fire::Fire,
        ids::ExecutionId,
        protocol::Protocol,
    },
};

/// The facts of one invocation behind one lock, which is never held while anything is awaited.
#[derive(Debug, Default)]
pub struct RunState(Mutex<RunFacts>);

/// The facts themselves.
#[derive(Debug, Default)]
pub struct RunFacts {
    /// The fire that this invocation handles.
    pub fire: Option<Arc<Fire>>,
    /// The fire as it ran. It may differ from `fire`, because the trigger item takes precedence over the event.
    pub ran: Option<Arc<Fire>>,
    /// The description of what runs, if the claim did not write it. The next heartbeat writes it.
    pub snapshot: Option<Snapshot>,
    /// The definition of the agent that is called.
    pub definition: Option<DefinitionMark>,
    /// The execution of the fire.
    pub execution_id: Option<Arc<ExecutionId>>,
    /// The number of the attempt, from 1.
    pub attempt: Option<u32>,
    /// True if the agent may be at work.
    pub agent_called: bool,
    /// The agent's request id, from its response header.
    pub request_id: Option<String>,
    /// True if the input for a replay is kept.
    pub is_input_kept: bool,
    /// The hash of the input that an earlier attempt kept, if this attempt runs it.
    pub kept_hash: Option<String>,
    /// True if a heartbeat found that another attempt owns the execution, or that it has ended.
    pub is_taken_over: bool,
    /// True if the trigger's own time limit ended the run.
    pub is_timed_out: bool,
    /// The progress of the answer, for the next heartbeat.
    pub reported: Option<Reported>,
    /// The time from the call to the first event of the answer, in milliseconds.
    pub first_event_ms: Option<u64>,
    /// The time that the claim kept its caller waiting, in milliseconds.
    pub claim_ms: Option<u64>,
    /// The time that the token kept its caller waiting, in milliseconds. It is absent if the token was at hand.
    pub token_ms: Option<u64>,
    /// The reason why the fire was skipped.
    pub skip_reason: Option<SkipReason>,
    /// The invocation's work if it ran no fire.
    pub instead: Option<Instead>,
    /// The measurements of the attempt that ended.
    pub ended_attempt: Option<EndedAttempt>,
    /// The number of executions that ended, by their final status.
    pub ends: EndCounts,
    /// The number of deliveries that found their execution ended or at work.
    pub duplicates: u64,
    /// The number of times that another execution of the trigger was found alive although they must not overlap.
    pub overlaps: u64,
    /// The number of heartbeats that DynamoDB did not accept.
    pub heartbeat_failures: u64,
    /// The number of writes that were left out beside an end, so that the end could be written.
    pub left_out: u64,
    /// The number of detached runs that failed after they were left to their agents. It is absent if none ended.
    pub detached_failures: Option<u64>,
}

/// The number of executions whose records say that they ended for good. A failure that may be retried does not count.
#[derive(Debug, Default, Clone, Copy)]
pub struct EndCounts {
    /// Executions that are `completed`.
    pub completed: u64,
    /// Executions that are `failed` and not retryable.
    pub failed: u64,
    /// Executions that are `skipped`.
    pub skipped: u64,
    /// Executions that are `cancelled`.
    pub cancelled: u64,
}

/// The work of an invocation that runs no fire.
#[derive(Debug, Clone)]
pub enum Instead {
    /// It handed an event on. These are the counts of the event's subscriptions, by name.
    Dispatched([(&'static str, usize); 6]),
    /// It settled executions. Each of them has a line of metrics of its own.
    Settled,
}

/// The measurements of an attempt that ended, whether or not its end could be written.
#[derive(Debug, Clone, Copy)]
pub struct EndedAttempt {
    /// The time from the attempt's start to its end, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The time from the call to the first event of the answer, in milliseconds.
    pub first_event_ms: Option<u64>,
    /// The progress of the answer when reading ended.
    pub progress: Option<Progress>,
    /// The protocol that the answer was read by.
    pub protocol: Option<Protocol>,
    /// The way in which the agent stopped short.
    pub finish_reason: Option<FinishReason>,
}

impl RunState {
    /// Locks the facts and returns them. A panic of another thread while it held the lock does not matter.
    pub fn facts(&self) -> MutexGuard<'_, RunFacts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `failure` with `retryable` set to false if the agent may have been called. All else stays.
    pub fn retryable_unless_called(&self, failure: Failure) -> Failure {
        let retryable = failure.retryable && !self.facts().agent_called;
        Failure { retryable, ..failure }
    }

    /// Does what [`RunFacts::report`] does, with the facts locked meanwhile.
    pub fn report(&self, progress: Progress, now: impl FnOnce() -> i64) {
        self.facts().report(progress, now);
    }
}

impl RunFacts {
    /// Keeps `progress` for the next heartbeat, in place of what was kept before. Nothing is kept before the first
    /// event. `now` returns milliseconds since 1970. It is called only if the number of events has changed since the
    /// last report: progress without one, such as usage or bytes, leaves the time of the last event.
    pub fn report(&mut self, progress: Progress, now: impl FnOnce() -> i64) {
        match self.reported.as_mut() {
            Some(before) if before.progress.events == progress.events => before.progress = progress,
            _ if progress.events == 0 => {}
            _ => self.reported = Some(Reported { progress, last_event_at: now() }),
        }
    }

    /// Adds 1 to the number of executions that ended with this status. The caller has written that end. `Running` is no
    /// end and counts nothing.
    pub fn count_end(&mut self, status: Status) {
        match status {
            Status::Completed => self.ends.completed += 1,
            Status::Failed => self.ends.failed += 1,
            Status::Skipped => self.ends.skipped += 1,
            Status::Cancelled => self.ends.cancelled += 1,
            Status::Running => {}
        }
    }

    /// Counts a detached run that ended after it was left to its agent, and whose record has this status: among all
    /// ends, and if it failed among the failures of detached runs.
    pub fn count_detached_end(&mut self, status: Status) {
        self.count_end(status);
        *self.detached_failures.get_or_insert_default() += u64::from(status == Status::Failed);
    }

    /// Counts an execution that failed because its attempt was dead, or with `ReportOverdue` because its agent was
    /// silent: then among the failures of detached runs, too.
    pub fn count_dead(&mut self, error_type: ErrorType) {
        match error_type {
            ErrorType::ReportOverdue => self.count_detached_end(Status::Failed),
            _ => self.count_end(Status::Failed),
        }
    }

    /// Counts the result of closing an execution. `created` is its status if it had no record before. An interrupted,
    /// finalised or overdue one counts as failed, and a cancelled one as cancelled. One that is alive, with its agent,
    /// or has ended counts as a duplicate, because the delivery changed nothing. One that was handed over to its agent
    /// counts nothing: it goes on.
    pub fn count_close(&mut self, action: CloseAction, created: Status) {
        match action {
            CloseAction::Create => self.count_end(created),
            CloseAction::Interrupt | CloseAction::Finalise => self.count_end(Status::Failed),
            CloseAction::Overdue => self.count_detached_end(Status::Failed),
            CloseAction::Cancel => self.count_end(Status::Cancelled),
            CloseAction::Alive | CloseAction::Nothing | CloseAction::Detached => self.duplicates += 1,
            // It has not ended.
            CloseAction::HandOver => {}
        }
    }

    /// Counts the failure that the invocation returns as failed if it may have left no record: `InvalidEvent` or
    /// `InvalidTrigger`. Every other execution is counted by the invocation that records its end. Nothing is counted if
    /// this invocation has counted a failure or a duplicate already, because that was the same one.
    pub fn count_returned(&mut self, failure: &Failure) {
        let may_be_unrecorded = matches!(failure.error_type, ErrorType::InvalidEvent | ErrorType::InvalidTrigger);
        if may_be_unrecorded && self.ends.failed + self.duplicates == 0 {
            self.count_end(Status::Failed);
        }
    }

    /// Keeps the measurements of the attempt that ended, which the metrics show. Only the first call has an effect.
    pub fn attempt_ended(&mut self, ending: &Ending) {
        self.ended_attempt.get_or_insert(EndedAttempt {
            duration_ms: ending.duration_ms,
            first_event_ms: ending.first_event_ms,
            progress: ending.reported.map(|reported| reported.progress),
            protocol: ending.protocol,
            finish_reason: ending.finish_reason,
        });
    }
}

impl EndCounts {
    /// Returns the number of executions that ended, with any status.
    pub fn total(self) -> u64 {
        self.completed + self.failed + self.skipped + self.cancelled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows: what became of the execution, and the failures of detached runs that it counts, if it was one.
    #[test]
    fn a_silent_agents_end_is_a_failure_of_a_detached_run() {
        let closed = |action| {
            let mut facts = RunFacts::default();
            facts.count_close(action, Status::Failed);
            (facts.ends.failed, facts.ends.cancelled, facts.detached_failures)
        };
        for (action, expected) in [
            (CloseAction::Create, (1, 0, None)),
            (CloseAction::Interrupt, (1, 0, None)),
            (CloseAction::Finalise, (1, 0, None)),
            (CloseAction::Overdue, (1, 0, Some(1))),
            (CloseAction::Cancel, (0, 1, None)),
            (CloseAction::HandOver, (0, 0, None)),
            (CloseAction::Detached, (0, 0, None)),
        ] {
            assert_eq!(closed(action), expected, "{action:?}");
        }
        for (error_type, expected) in [(ErrorType::ReportOverdue, Some(1)), (ErrorType::Interrupted, None)] {
            let mut facts = RunFacts::default();
            facts.count_dead(error_type);
            assert_eq!((facts.ends.failed, facts.detached_failures), (1, expected), "{error_type:?}");
        }
        for (status, expected) in [(Status::Completed, 0), (Status::Failed, 1), (Status::Cancelled, 0)] {
            let mut facts = RunFacts::default();
            facts.count_detached_end(status);
            assert_eq!((facts.ends.total(), facts.detached_failures), (1, Some(expected)), "{status:?}");
        }
    }
}
