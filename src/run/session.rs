//! The stop of an agent's session. Closing the connection may not stop the agent, but AgentCore can stop its session.
//! This is requested before the record ends and the run lock is released, so that no other run begins while the agent
//! is still at work.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    clock::now_millis,
    domain::{
        answer::{Outcome, Verdict},
        ending::StopOutcome,
        execution::Lease,
        failure::ErrorType,
        finish_reason::FinishReason,
    },
    lifecycle::lease::{RunStop, Stop},
    run::attempt::AttemptRun,
};

/// The longest time that the end of a run waits until its agent's session is stopped. It is less than the clocks'
/// tolerance of an ordinary lease (5 s): during this time nobody takes over a lease that is lost.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The same after SIGTERM, when the process has less than 2 s for all of its runs.
const STOP_TIMEOUT_AT_THE_END: Duration = Duration::from_millis(500);

/// The reason why the agent of a run that has ended may still be at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtWork {
    /// Somebody asked for the run's end, and so for that of its session.
    Cancelled,
    /// The lease or the run lock is lost.
    Lost,
    /// The answer was not read to its end, or says that the agent works on.
    Unfinished,
}

/// Returns the reason why the agent, which was called, may still be at work: the run was cancelled, its lease was lost,
/// its answer was not read to the end, or the answer says that the agent works on. Returns `None` if it is not at work.
fn at_work(ended: &Result<Outcome, RunStop>) -> Option<AtWork> {
    use ErrorType::{DeadlineExceeded, Internal, Interrupted, StreamInterrupted, StreamStalled};
    match ended {
        Err(RunStop::Stopped(Stop::Cancelled)) => Some(AtWork::Cancelled),
        Err(RunStop::Stopped(Stop::Lost)) => Some(AtWork::Lost),
        Err(RunStop::Failed(failure)) => {
            let is_unread = [DeadlineExceeded, Internal, Interrupted, StreamInterrupted, StreamStalled]
                .contains(&failure.error_type);
            is_unread.then_some(AtWork::Unfinished)
        }
        Err(RunStop::Skipped(..)) => None,
        Ok(outcome) => match outcome.verdict {
            Verdict::Interrupted(_) | Verdict::Incomplete(FinishReason::Working) => Some(AtWork::Unfinished),
            Verdict::Incomplete(_) | Verdict::Failed(_) | Verdict::Completed => None,
        },
    }
}

/// Returns true if the agent, which was called, may be at work because its answer was not read to its end, or says that
/// the agent works on. A cancelled run and one that lost its lease do not count, nor does the answer of a gateway that
/// may have lost the agent's own. A detached run whose answer was not read to its end is left to its agent. The stop of
/// a session does not ask it.
pub(super) fn is_unfinished(ended: &Result<Outcome, RunStop>) -> bool {
    at_work(ended) == Some(AtWork::Unfinished)
}

/// Returns the time that an attempt has to stop its session: 2 s. With rerun, the next attempt works in a session of
/// the same id, so the time also ends when that attempt may begin, at the lease's end plus the tolerated skew. `None`
/// means that the session must not be stopped any more: this moment has passed, or the execution was taken over.
/// Without rerun the time is always 2 s.
fn time_to_stop(lease: Lease, lease_until: i64, now: i64, is_rerun: bool, is_taken_over: bool) -> Option<Duration> {
    if !is_rerun {
        return Some(STOP_TIMEOUT);
    }
    let left = u64::try_from(lease.over_after(lease_until).saturating_sub(now)).ok().filter(|left| *left > 0);
    left.filter(|_| !is_taken_over).map(|left| STOP_TIMEOUT.min(Duration::from_millis(left)))
}

impl AttemptRun<'_> {
    /// Asks AgentCore to stop the session of a run whose agent may still be at work. It is one try of at most 2 s, or
    /// 0.5 s after SIGTERM, and takes at most half of the time until the last write. A session that the event or the
    /// trigger names may be somebody's conversation. It is stopped only if somebody cancels the run. Returns `None` if
    /// nothing was asked, which is also so if no token came in time, and an unconfirmed result if the stop had no
    /// answer in time.
    pub(super) async fn stop_session(&self, ended: &Result<Outcome, RunStop>) -> Option<StopOutcome> {
        let reason = at_work(ended)?;
        let (ran, is_called, is_taken_over) = {
            let facts = self.context.state.facts();
            (facts.ran.clone()?, facts.agent_called, facts.is_taken_over)
        };
        let is_own = ran.task.session_id.is_none();
        if !is_called || !(is_own || reason == AtWork::Cancelled) {
            return None;
        }
        let owned = self.owned;
        let until = owned.until.load(std::sync::atomic::Ordering::Relaxed);
        // After SIGTERM, too, the next attempt may work in this session already.
        let most = if self.context.app.shutdown.has_begun() { STOP_TIMEOUT_AT_THE_END } else { STOP_TIMEOUT };
        let limit =
            time_to_stop(owned.lease, until, now_millis(), owned.rerun_if_interrupted, is_taken_over)?.min(most);
        // The record does not wait longer for this, and has as much time again to be written.
        let left = self.context.deadline.write_until.saturating_duration_since(Instant::now());
        let end = Instant::now() + limit.min(left / 2);
        let agent = self.called.get().filter(|agent| agent.can_be_stopped())?;
        let authorizing = self.context.app.agents.authorize(agent);
        let Ok(Ok(authorization)) = tokio::time::timeout_at(end, authorizing).await else { return None };
        let stopping = agent.stop_session(&self.attempt.session_id, &authorization);
        tokio::time::timeout_at(end, stopping).await.unwrap_or(Some(StopOutcome { confirmed: false }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        answer::{AnswerError, Interruption, Progress},
        ending::SkipReason,
        failure::Failure,
        protocol::Protocol,
    };

    fn answered(verdict: Verdict) -> Result<Outcome, RunStop> {
        Ok(Outcome {
            verdict,
            protocol: Protocol::Generic,
            finish_reason: None,
            request_id: None,
            session_id: None,
            output: None,
            progress: Progress::default(),
            acknowledgement: None,
        })
    }

    #[test]
    fn an_agent_may_be_at_work_unless_its_answer_ended() {
        let failed = |error_type| Err(RunStop::Failed(Failure::fatal(error_type, "x")));
        for (ended, expected) in [
            (answered(Verdict::Completed), None),
            (answered(Verdict::Failed(AnswerError::Empty)), None),
            (answered(Verdict::Incomplete(FinishReason::MaxTokens)), None),
            (answered(Verdict::Incomplete(FinishReason::InputRequired)), None),
            (answered(Verdict::Incomplete(FinishReason::Working)), Some(AtWork::Unfinished)),
            (answered(Verdict::Interrupted(Interruption::Torn)), Some(AtWork::Unfinished)),
            (failed(ErrorType::StreamInterrupted), Some(AtWork::Unfinished)),
            (failed(ErrorType::StreamStalled), Some(AtWork::Unfinished)),
            (failed(ErrorType::DeadlineExceeded), Some(AtWork::Unfinished)),
            (failed(ErrorType::Internal), Some(AtWork::Unfinished)),
            (failed(ErrorType::Interrupted), Some(AtWork::Unfinished)),
            (failed(ErrorType::AgentRejected), None),
            (failed(ErrorType::AgentFailed), None),
            (Err(RunStop::Stopped(Stop::Lost)), Some(AtWork::Lost)),
            (Err(RunStop::Stopped(Stop::Cancelled)), Some(AtWork::Cancelled)),
            (Err(RunStop::Skipped(SkipReason::Overlap, None)), None),
        ] {
            assert_eq!(at_work(&ended), expected, "{ended:?}");
        }
    }

    #[test]
    fn the_session_of_a_next_attempt_is_not_stopped() {
        const UNTIL: i64 = 1_000_000;
        let lease = Lease(Duration::from_secs(30));
        let two_seconds = Some(Duration::from_secs(2));
        for (now, is_rerun, is_taken_over, expected) in [
            (UNTIL, false, false, two_seconds),
            (UNTIL + 90_000, false, true, two_seconds),
            (UNTIL, true, false, two_seconds),
            (UNTIL + 4_000, true, false, Some(Duration::from_secs(1))),
            (UNTIL + 5_000, true, false, None),
            (UNTIL + 90_000, true, false, None),
            (UNTIL - 1_000, true, true, None),
        ] {
            assert_eq!(time_to_stop(lease, UNTIL, now, is_rerun, is_taken_over), expected, "{now} {is_rerun}");
        }
    }
}
