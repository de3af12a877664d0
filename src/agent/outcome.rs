//! The outcome of an answer, summed up once it has ended.

use crate::agent::reading::Reading;
use crate::domain::answer::{Acknowledgement, AnswerError, Interruption, Outcome, Verdict};
use crate::domain::finish_reason::FinishReason;
use crate::domain::protocol::Protocol;

impl Reading {
    /// Sums up an answer that has ended. If nothing decided it, it is interrupted. After HTTP 202, an answer that would
    /// be completed, or is empty or no JSON, is incomplete as `working`. The protocol is the one that was recognised or
    /// set, and `Generic` without one. It is `Unknown` if the answer is completed and had events, but nothing of it was
    /// understood. The text is left out unless the run completed or stopped short. A failure or an interruption keeps
    /// the finish reason that the agent named. An answer that is incomplete as `working` acknowledges a detached run if
    /// it came with HTTP 202 or is A2A's.
    pub(super) fn into_outcome(self) -> Outcome {
        let mut transcript = self.transcript;
        let mut verdict = self.verdict.unwrap_or(Verdict::Interrupted(Interruption::NoTerminalEvent));
        let is_empty = Verdict::Failed(AnswerError::Empty);
        if self.is_accepted_only
            && (matches!(verdict, Verdict::Completed | Verdict::Failed(AnswerError::NotJson)) || verdict == is_empty)
        {
            verdict = Verdict::Incomplete(FinishReason::Working);
        }
        let finish_reason = match verdict {
            Verdict::Incomplete(reason) => Some(reason),
            Verdict::Completed => None,
            _ => transcript.finish,
        };
        let protocol = match self.protocol {
            Some(protocol) if transcript.is_understood => protocol,
            None if transcript.is_understood || transcript.progress.events == 0 => Protocol::Generic,
            _ if verdict == Verdict::Completed => Protocol::Unknown,
            other => other.unwrap_or(Protocol::Generic),
        };
        let (progress, request_id, session_id) =
            (transcript.progress, transcript.request_id.take(), transcript.session_id.take());
        let has_output = matches!(verdict, Verdict::Completed | Verdict::Incomplete(_));
        let output = transcript.into_output().filter(|_| has_output);
        // The status and a task's state are no words of a model.
        let is_told = self.is_accepted_only || protocol == Protocol::A2a;
        let is_at_work = verdict == Verdict::Incomplete(FinishReason::Working);
        let acknowledgement = (is_told && is_at_work).then(Acknowledgement::default);
        Outcome { verdict, protocol, finish_reason, output, request_id, session_id, progress, acknowledgement }
    }
}
