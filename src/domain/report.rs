//! Reports of detached runs: what an agent says about its run, and the decision that the report and the stored row lead
//! to (docs/long-runs.md). An agent proves by its token that it may report: the row holds the token's hash.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    clock,
    domain::{
        answer::Output,
        detached::lease_after,
        ending::Ending,
        execution::{Row, Status},
        failure::{ErrorType, Failure},
        finish_reason::FinishReason,
        ids::{ExecutionId, TriggerId},
        usage::Usage,
    },
    json::{
        fields::{Fields, kind},
        lenient,
    },
    redact::cut,
};

/// The longest output of a record, in bytes.
const MAX_OUTPUT: usize = 8 * 1024;
/// The time within which a second heartbeat is not written, in milliseconds. An agent that beats without a pause must
/// not cost a write each time.
const LEAST_BETWEEN_NOTES: i64 = 1_000;

/// The status that an agent reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum ReportStatus {
    /// It is at work: a heartbeat.
    Running,
    /// It has finished.
    Completed,
    /// It has failed.
    Failed,
}

/// An agent's report about its detached run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentReport {
    /// The trigger.
    pub trigger_id: TriggerId,
    /// The execution.
    pub execution_id: ExecutionId,
    /// The status.
    pub status: ReportStatus,
    /// The final answer, cut to 8 KiB.
    pub output: Option<Output>,
    /// The agent's words for its failure.
    pub error: Option<String>,
    /// The way in which the agent stopped short.
    pub finish_reason: Option<FinishReason>,
    /// The tokens of the run so far.
    pub usage: Option<Usage>,
}

/// The reason why a report cannot be used: every problem, each named by its JSON path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the report is unusable: {}", problems.join("; "))]
pub struct InvalidReport {
    /// The problems.
    pub problems: Vec<String>,
}

impl AgentReport {
    /// Reads the JSON text of a report. Members that are not known are ignored.
    ///
    /// # Errors
    /// Names the ids and the status that are unusable, all at once. A text that is no JSON object is named alone.
    pub fn read(text: &str) -> Result<Self, InvalidReport> {
        let unreadable = |problem: String| InvalidReport { problems: vec![problem] };
        match lenient::parse(text).map_err(|error| unreadable(format!("$: {error}")))? {
            Value::Object(report) => Self::of_members("$", &report),
            other => Err(unreadable(format!("$: must be an object, not {}", kind(&other)))),
        }
    }

    /// Reads the members of a report, whose own path is `path`.
    ///
    /// # Errors
    /// As [`AgentReport::read`].
    pub fn of_members(path: &str, report: &Map<String, Value>) -> Result<Self, InvalidReport> {
        let mut fields = Fields::new(path, report);
        let trigger_id = fields.id("triggerId").unwrap_or_default().into();
        let execution_id = fields.id("executionId").unwrap_or_default().into();
        let status = fields.required_text("status").and_then(|name| {
            let status = name.parse().ok();
            if status.is_none() {
                fields.problem("status", "must be \"running\", \"completed\" or \"failed\"");
            }
            status
        });
        let output = text_of(fields.value("output")).filter(|text| !text.is_empty()).map(|text| {
            let kept = cut(&text, MAX_OUTPUT);
            Output { truncated: kept.len() < text.len(), text: kept.to_owned() }
        });
        let error = text_of(fields.value("error"));
        // What is wrong with these is dropped with them: the end of a run must not be lost for a count.
        let mut details = Fields::new(path, report);
        // A word that is not known is one for an end in order, as in an answer.
        let finish_reason = details.text("finishReason").and_then(|word| FinishReason::from_wire(&word));
        let usage = usage(&details);
        match (status, fields.problems) {
            (Some(status), problems) if problems.is_empty() => {
                Ok(Self { trigger_id, execution_id, status, output, error, finish_reason, usage })
            }
            (_, problems) => Err(InvalidReport { problems }),
        }
    }
}

/// Returns a text as it is, and any other value as its JSON text.
fn text_of(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(crate::json::surrogate::shown(text).into_owned()),
        other => Some(crate::json::surrogate::to_json(other)),
    }
}

/// Reads `usage`. A count that is absent or unusable is zero. Without any usable count there is none.
fn usage(fields: &Fields<'_>) -> Option<Usage> {
    let mut counts = Fields::new("$", fields.value("usage")?.as_object()?);
    let names = ["inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"];
    let read = names.map(|name| counts.whole_number(name));
    let [input_tokens, output_tokens, cache_read, cache_write] = read.map(Option::unwrap_or_default);
    read.iter().any(Option::is_some).then_some(Usage {
        input_tokens,
        output_tokens,
        cache_read_input_tokens: cache_read,
        cache_write_input_tokens: cache_write,
    })
}

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

/// Decides what a report does to the stored row, at `now`. The decision holds for this row only: the caller writes on
/// the condition that it is unchanged in what matters, and decides again if it is not. An end is accepted for as long as
/// the row is running: that the time is over is written by others, and until then the agent's word is the truth.
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

/// Decides about a heartbeat of a running row. Once the deadline is over, no heartbeat extends a lease any more.
fn note(row: &Row, now: i64) -> ReportDecision {
    let deadline = row.deadline.unwrap_or(now);
    if now > deadline {
        return ReportDecision::Late(false);
    }
    let last = row.last_event_at.as_deref().and_then(clock::millis_of);
    if last.is_some_and(|last| (0..LEAST_BETWEEN_NOTES).contains(&now.saturating_sub(last))) {
        return ReportDecision::Heard;
    }
    ReportDecision::Note(row.detached_at.is_some().then(|| lease_after(now, row.heartbeat_seconds, deadline)))
}

/// Returns the ending that a report describes. An agent that stopped short is `AgentIncomplete`, unless the run accepts
/// its reason. One that failed after its cancellation was requested is cancelled. Tokens that the report does not name
/// are those that were noted before. They stand in `usage_before`, because no answer was read.
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
    ending.usage_before = report.usage.or(row.usage);
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
    /// 200: the end is recorded, now or by an earlier report.
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
        let heard = |at: &str| Row { last_event_at: Some(at.into()), ..running() };
        for (name, row, status, expected) in [
            ("a heartbeat", running(), Running, "note Some(30000)"),
            ("before the hand-over", Row { detached_at: None, ..running() }, Running, "note None"),
            ("nothing promised", Row { heartbeat_seconds: None, ..running() }, Running, "note Some(100000)"),
            ("near the deadline", Row { deadline: Some(NOW + 9_000), ..running() }, Running, "note Some(9000)"),
            ("after the deadline", Row { deadline: Some(NOW - 1), ..running() }, Running, "late(false)"),
            ("a moment after the last", heard("2026-01-31T06:59:59.500Z"), Running, "heard"),
            ("by a clock that is behind", heard("2026-01-31T07:00:03.000Z"), Running, "note Some(30000)"),
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
        for (usage, expected) in [(None, 5), (Some(Usage { input_tokens: 9, ..Usage::default() }), 9)] {
            let report = AgentReport { usage, ..report(ReportStatus::Completed) };
            let ReportDecision::End(ending) = decide_report(Some(&row(Status::Running)), TOKEN, &report, NOW) else {
                panic!("an end")
            };
            assert_eq!((ending.usage().map(Usage::tokens), ending.duration_ms), (Some(expected), Some(10_000)));
        }
    }

    #[test]
    fn a_report_is_read_or_every_problem_of_its_ids_and_status_named() {
        let text = r#"{"triggerId": "t", "executionId": "e", "status": "completed", "output": {"files": 3}, "colour": 1,
            "finishReason": "end_turn", "usage": {"inputTokens": 1e3}}"#;
        let report = AgentReport::read(text).unwrap();
        assert_eq!(report.output.map(|output| output.text).as_deref(), Some(r#"{"files":3}"#));
        assert_eq!((report.finish_reason, report.usage.map(|usage| usage.input_tokens)), (None, Some(1_000)));
        let long =
            serde_json::json!({"triggerId": "t", "executionId": "e", "status": "failed", "output": "ü".repeat(9_000)});
        let output = AgentReport::read(&long.to_string()).unwrap().output.unwrap();
        assert_eq!((output.text.len(), output.truncated), (MAX_OUTPUT, true));
        for (text, problems) in [
            ("[]", vec!["$: must be an object, not an array"]),
            (
                r#"{"status": "done", "usage": {"inputTokens": -1}, "finishReason": 7}"#,
                vec![
                    "$.triggerId: is missing",
                    "$.executionId: is missing",
                    "$.status: must be \"running\", \"completed\" or \"failed\"",
                ],
            ),
        ] {
            assert_eq!(AgentReport::read(text).unwrap_err().problems, problems);
        }
        assert_eq!(AgentReport::read("{").unwrap_err().problems.len(), 1);
        // Nothing else costs a run its end.
        for (members, usage) in [
            (r#""usage": {"inputTokens": 12.01, "outputTokens": 7}"#, Some((0, 7))),
            (r#""usage": {"inputTokens": -1}"#, None),
            (r#""usage": {"inputTokens": 1e400, "outputTokens": "7"}"#, Some((0, 7))),
            (r#""usage": "many", "finishReason": 7"#, None),
        ] {
            let text = format!(r#"{{"triggerId": "t", "executionId": "e", "status": "completed", {members}}}"#);
            let report = AgentReport::read(&text).unwrap();
            assert_eq!(report.usage.map(|usage| (usage.input_tokens, usage.output_tokens)), usage, "{members}");
            assert_eq!(report.finish_reason, None);
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
