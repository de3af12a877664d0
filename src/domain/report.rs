//! Reports of detached runs: the decision that an agent's report and the stored row lead to (docs/long-runs.md). An
//! agent proves by its token that it may report: the row holds the token's hash.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    clock,
    domain::{
        agent_report::{AgentReport, ReportStatus},
        detached::lease_after,
        ending::Ending,
        execution::{Row, Status},
        failure::{ErrorType, Failure},
        usage::so_far,
    },
};

/// The time within which a second heartbeat is not written, in milliseconds. An agent that beats without a pause must
/// not cost a write each time.
const LEAST_BETWEEN_NOTES: i64 = 1_000;

/// Returns the report key of a token: its SHA-256 hash in hexadecimal.
pub fn report_key(token: &str) -> String {
    let mut key = String::with_capacity(64);
    for byte in Sha256::digest(token) {
        // Writing to a string cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

/// Returns true if `token` is the one whose hash is `key`. The time does not depend on how much of the two is equal.
pub fn is_token_of(token: &str, key: &str) -> bool {
    let given = report_key(token);
    let differing = given.bytes().zip(key.bytes()).fold(0, |differing, (one, other)| differing | (one ^ other));
    std::hint::black_box(differing) == 0 && given.len() == key.len()
}

/// The decision about a report.
#[derive(Debug, Clone)]
pub enum ReportDecision {
    /// The token is not that of the execution, or there is no such execution. Nothing is written.
    Unknown,
    /// The agent is at work. Write that it was heard. Holds the end of its lease, if the lease is the agent's by now:
    /// before the hand-over it is the invocation's.
    Note(Option<i64>),
    /// The agent is at work, and was heard a moment ago. Nothing is written.
    Heard,
    /// The run has ended. Write the ending.
    End(Box<Ending>),
    /// It has ended in this very way before. Nothing is written.
    Same,
    /// It has ended in another way, or the time is over. The status stays. True if the report must be kept as the late
    /// one, and false if there is nothing to keep or one is kept already.
    Late(bool),
}

/// Decides what a report does to the stored row, at `now`, in milliseconds since 1970. It is `Unknown` if there is no
/// row, the row's ttl has passed, or the token is not the row's. Once the run has ended, or its deadline has passed, a
/// heartbeat is `Late`. An end with another status or type of failure than the stored one is `Late`, too. Any other is
/// the `Same`, and so is the failure of a run that was cancelled. The decision holds for this row only: the caller
/// writes on the condition that it is unchanged in what matters, and decides again if it is not. An end is accepted for
/// as long as the row is running: that the time is over is written by others, and until then the agent's word is the
/// truth.
pub fn decide_report(row: Option<&Row>, token: &str, report: &AgentReport, now: i64) -> ReportDecision {
    let row = row.filter(|row| !row.is_expired(now));
    let Some((row, key)) = row.and_then(|row| Some((row, row.report_key.as_deref()?))) else {
        return ReportDecision::Unknown;
    };
    if !is_token_of(token, key) {
        return ReportDecision::Unknown;
    }
    let is_running = row.status == Status::Running;
    match report.status {
        ReportStatus::Running if !is_running => ReportDecision::Late(false),
        ReportStatus::Running => note(row, now),
        ReportStatus::Completed | ReportStatus::Failed => {
            let ending = ending(row, report, now);
            if is_running {
                return ReportDecision::End(Box::new(ending));
            }
            // An agent that was asked to stop may say that it did after its run was ended for that.
            let is_stopped = row.status == Status::Cancelled && report.status == ReportStatus::Failed;
            let is_same = row.status == ending.status && row.error_type.as_deref() == ending.error_type();
            match is_same || is_stopped {
                true => ReportDecision::Same,
                false => ReportDecision::Late(row.late_report.is_none()),
            }
        }
    }
}

/// Decides about a heartbeat of a running row. Once the deadline is over, no heartbeat extends a lease any more: it is
/// `Late`. A row without a deadline counts as one whose deadline is now. A heartbeat within a second after the last is
/// only `Heard`, unless it extends the lease by more than a second, or is the first report of a run that is not handed
/// over yet. Any other is a `Note`, whose end of the lease is never earlier than the stored one.
fn note(row: &Row, now: i64) -> ReportDecision {
    let deadline = row.deadline.unwrap_or(now);
    if now > deadline {
        return ReportDecision::Late(false);
    }
    let last = row.last_event_at.as_deref().and_then(clock::millis_of);
    let is_recent = last.is_some_and(|last| (0..LEAST_BETWEEN_NOTES).contains(&now.saturating_sub(last)));
    // The clock that wrote the lease may be ahead of this one.
    let lease_until = row.detached_at.as_ref().map(|_| {
        let promised = lease_after(now, row.heartbeat_seconds, deadline);
        row.lease_until.map_or(promised, |until| until.max(promised))
    });
    // A heartbeat before the hand-over extended no lease of the agent's.
    let is_extended = lease_until
        .is_none_or(|until| row.lease_until.is_some_and(|kept| until.saturating_sub(kept) <= LEAST_BETWEEN_NOTES));
    // The last event may have been one of an answer, which is no report.
    let is_first = row.detached_at.is_none() && row.first_report_seconds.is_some();
    if is_recent && is_extended && !is_first { ReportDecision::Heard } else { ReportDecision::Note(lease_until) }
}

/// Returns the ending that a report describes. An agent that stopped short is `AgentIncomplete`, unless it reports a
/// completion and the run accepts its reason. One that failed after its cancellation was requested is cancelled. Each
/// count of tokens is the larger one of the report's and the row's. They stand in `usage_before`, because no answer was
/// read. The duration counts from the start of the first attempt. The output and the reason are kept whatever the end
/// is.
fn ending(row: &Row, report: &AgentReport, now: i64) -> Ending {
    let stopped_short = report
        .finish_reason
        .filter(|reason| !(report.status == ReportStatus::Completed && reason.is_acceptable() && row.accepts(*reason)));
    let mut ending = match (report.status, stopped_short) {
        (ReportStatus::Completed, None) => Ending::new(Status::Completed, now, None),
        (ReportStatus::Failed, _) if row.cancel_requested == Some(true) => Ending::new(Status::Cancelled, now, None),
        (_, Some(reason)) => {
            let failure = Failure { agent_said: report.error.clone(), ..Failure::from(reason) };
            Ending::new(Status::Failed, now, Some(failure))
        }
        (ReportStatus::Failed | ReportStatus::Running, None) => {
            let failure = Failure::fatal(ErrorType::AgentFailed, "the agent reported that it failed");
            Ending::new(Status::Failed, now, Some(Failure { agent_said: report.error.clone(), ..failure }))
        }
    };
    ending.finish_reason = report.finish_reason;
    ending.output = report.output.clone();
    ending.usage_before = so_far(row.usage, report.usage);
    let started = row.started_at.as_deref().and_then(clock::millis_of);
    ending.duration_ms = started.and_then(|started| u64::try_from(now.saturating_sub(started)).ok());
    ending
}

/// The answer to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportAnswer {
    /// 200: the heartbeat counts.
    Noted {
        /// True if the agent must stop, because somebody asked for the run's end.
        cancel: bool,
        /// The time by which the agent must report again, in milliseconds since 1970, if it is known.
        lease_until: Option<i64>,
    },
    /// 200: the end is recorded, now or before.
    Ended,
    /// 409: the run has ended otherwise, or its time is over.
    Late,
    /// 401: the token is wrong, or there is no such execution.
    Unknown,
}

impl ReportAnswer {
    /// Returns the status of the HTTP response.
    pub fn status(self) -> u16 {
        match self {
            Self::Noted { .. } | Self::Ended => 200,
            Self::Late => 409,
            Self::Unknown => 401,
        }
    }

    /// Returns the JSON body of the HTTP response.
    pub fn body(self) -> Value {
        match self {
            Self::Noted { cancel, lease_until } => json!({"cancel": cancel, "leaseUntil": lease_until}),
            Self::Ended => json!({"cancel": false}),
            Self::Late => json!({"cancel": true, "message": "the run has ended"}),
            Self::Unknown => json!({"message": "unknown execution or token"}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{finish_reason::FinishReason, usage::Usage};

    const NOW: i64 = 1_769_842_800_000;
    const TOKEN: &str = "the agent's token";

    fn row(status: Status) -> Row {
        Row {
            status,
            report_key: Some(report_key(TOKEN)),
            detached_at: Some("then".into()),
            deadline: Some(NOW + 100_000),
            heartbeat_seconds: Some(10),
            started_at: Some("2026-01-31T06:59:50.000Z".into()),
            usage: Some(Usage { input_tokens: 5, ..Usage::default() }),
            ttl: Some(NOW / 1000 + 1),
            ..Row::default()
        }
    }

    fn report(status: ReportStatus) -> AgentReport {
        AgentReport {
            trigger_id: "t".into(),
            execution_id: "e".into(),
            status,
            output: None,
            error: None,
            finish_reason: None,
            usage: None,
        }
    }

    /// Returns the decision's name, with the ending's status and error type.
    fn decided(row: Option<&Row>, token: &str, report: &AgentReport) -> String {
        match decide_report(row, token, report, NOW) {
            ReportDecision::End(ending) => {
                format!("{} {}", ending.status.as_str(), ending.error_type().unwrap_or_default()).trim_end().to_owned()
            }
            ReportDecision::Note(until) => format!("note {:?}", until.map(|until| until - NOW)),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    #[test]
    fn the_decision_table() {
        use ReportStatus::{Completed, Failed, Running};
        let running = || row(Status::Running);
        let cancelled = |row: Row| Row { cancel_requested: Some(true), ..row };
        let failed = |error_type: &str| Row { error_type: Some(error_type.into()), ..row(Status::Failed) };
        let heard = |at: &str, kept| Row { last_event_at: Some(at.into()), lease_until: Some(NOW + kept), ..running() };
        let moment_ago = "2026-01-31T06:59:59.500Z";
        for (name, row, status, expected) in [
            ("a heartbeat", running(), Running, "note Some(30000)"),
            ("before the hand-over", Row { detached_at: None, ..running() }, Running, "note None"),
            ("nothing promised", Row { heartbeat_seconds: None, ..running() }, Running, "note Some(100000)"),
            ("near the deadline", Row { deadline: Some(NOW + 9_000), ..running() }, Running, "note Some(9000)"),
            ("after the deadline", Row { deadline: Some(NOW - 1), ..running() }, Running, "late(false)"),
            ("a moment after the last", heard(moment_ago, 29_500), Running, "heard"),
            ("a moment after one before the hand-over", heard(moment_ago, 20_000), Running, "note Some(30000)"),
            ("a moment after, no hand-over", Row { detached_at: None, ..heard(moment_ago, 0) }, Running, "heard"),
            (
                "the first report, a moment after an event",
                Row { detached_at: None, first_report_seconds: Some(300), ..heard(moment_ago, 0) },
                Running,
                "note None",
            ),
            ("by a clock that is behind", heard("2026-01-31T07:00:03.000Z", 33_000), Running, "note Some(33000)"),
            ("after an end", row(Status::Completed), Running, "late(false)"),
            ("completed", running(), Completed, "completed"),
            ("completed, cancel asked", cancelled(running()), Completed, "completed"),
            ("completed before the hand-over", Row { detached_at: None, ..running() }, Completed, "completed"),
            ("completed after the deadline", Row { deadline: Some(NOW - 1), ..running() }, Completed, "completed"),
            ("failed", running(), Failed, "failed AgentFailed"),
            ("failed, cancel asked", cancelled(running()), Failed, "cancelled"),
            ("the same end", row(Status::Completed), Completed, "same"),
            ("the same failure", failed("AgentFailed"), Failed, "same"),
            ("stopped after its cancellation", row(Status::Cancelled), Failed, "same"),
            ("another end", row(Status::Completed), Failed, "late(true)"),
            ("completed, cancelled before", row(Status::Cancelled), Completed, "late(true)"),
            ("too late", failed("ReportOverdue"), Completed, "late(true)"),
            ("failed too late", failed("ReportOverdue"), Failed, "late(true)"),
            (
                "late once more",
                Row { late_report: Some("x".into()), ..failed("ReportOverdue") },
                Completed,
                "late(false)",
            ),
            ("expired", Row { ttl: Some(NOW / 1000), ..running() }, Completed, "unknown"),
            ("of no detached run", Row { report_key: None, ..running() }, Completed, "unknown"),
        ] {
            assert_eq!(decided(Some(&row), TOKEN, &report(status)), expected, "{name}");
            assert_eq!(decided(Some(&row), "a guess", &report(status)), "unknown", "{name}, forged");
        }
        assert_eq!(decided(None, TOKEN, &report(Completed)), "unknown");
    }

    #[test]
    fn an_agent_that_stopped_short_has_not_completed_unless_that_is_accepted() {
        let stopped = |status| AgentReport { finish_reason: Some(FinishReason::MaxTokens), ..report(status) };
        let accepting = Row { accept_finish_reasons: Some("limit,max_tokens".into()), ..row(Status::Running) };
        for (row, status, expected) in [
            (row(Status::Running), ReportStatus::Completed, "failed AgentIncomplete"),
            (accepting.clone(), ReportStatus::Completed, "completed"),
            (accepting.clone(), ReportStatus::Failed, "failed AgentIncomplete"),
        ] {
            assert_eq!(decided(Some(&row), TOKEN, &stopped(status)), expected);
        }
        let waits = AgentReport { finish_reason: Some(FinishReason::Working), ..report(ReportStatus::Completed) };
        let accepting = Row { accept_finish_reasons: Some("working".into()), ..accepting };
        assert_eq!(decided(Some(&accepting), TOKEN, &waits), "failed AgentIncomplete");
    }

    #[test]
    fn tokens_that_the_report_does_not_name_are_those_before() {
        let output = Usage { output_tokens: 2, ..Usage::default() };
        let input = Usage { input_tokens: 9, ..Usage::default() };
        for (usage, expected) in [(None, 5), (Some(input), 9), (Some(output), 7)] {
            let report = AgentReport { usage, ..report(ReportStatus::Completed) };
            let ReportDecision::End(ending) = decide_report(Some(&row(Status::Running)), TOKEN, &report, NOW) else {
                panic!("an end")
            };
            assert_eq!((ending.usage().map(Usage::tokens), ending.duration_ms), (Some(expected), Some(10_000)));
        }
    }

    #[test]
    fn a_token_is_known_by_its_hash_alone() {
        let key = report_key(TOKEN);
        assert!(is_token_of(TOKEN, &key));
        for (token, key) in [("", key.as_str()), (key.as_str(), &key), (TOKEN, ""), (TOKEN, &key[..63]), (TOKEN, "x")] {
            assert!(!is_token_of(token, key), "{token:?} {key:?}");
        }
    }
}
