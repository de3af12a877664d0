//! What an agent says about its detached run (docs/long-runs.md).

use std::collections::BTreeMap;

use serde_json::{Map, Value, value::RawValue};

use crate::{
    domain::{
        answer::Output,
        finish_reason::FinishReason,
        ids::{ExecutionId, TriggerId},
        usage::Usage,
    },
    json::{
        fields::{Fields, kind},
        lenient::{self, LenientError},
    },
    redact::cut,
};

/// The longest output of a record, in bytes.
const MAX_OUTPUT: usize = 8 * 1024;

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
    /// Reads the JSON text of a report. Members that are not known are ignored. An output must not cost a run of hours
    /// its end: a member that is nested too deeply is its own text, and Python's NaN and Infinity are null.
    ///
    /// # Errors
    /// Names the ids and the status that are unusable, all at once. A text that is no JSON object is named alone.
    pub fn read(text: &str) -> Result<Self, InvalidReport> {
        let unreadable = |problem: String| InvalidReport { problems: vec![problem] };
        match value_of(text).map_err(|error| unreadable(format!("$: {error}")))? {
            Value::Object(report) => Self::of_members("$", &report),
            other => Err(unreadable(format!("$: must be an object, not {}", kind(&other)))),
        }
    }

    /// Reads the members of a report, whose own path is `path`. Only the ids and the status must be usable. An unusable
    /// `usage` and a `finishReason` that is unknown or no text count as absent, and so does an empty output.
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

/// Reads the text of a report. If it cannot be read as a whole but is an object, each member is read for itself: one
/// that cannot be read is the text that stands there. Words that Python writes for what is no number are read as null
/// then.
///
/// # Errors
/// Returns an error if it is not JSON in spite of all leniency, or if it is nested too deeply and is no object.
fn value_of(text: &str) -> Result<Value, LenientError> {
    let error = match lenient::parse(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let text = match &error {
        LenientError::Syntax { .. } => without_non_numbers(text),
        LenientError::TooDeep => text.to_owned(),
    };
    let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(&text) else { return Err(error) };
    let value = |raw: &RawValue| lenient::parse(raw.get()).unwrap_or_else(|_| Value::String(raw.get().to_owned()));
    Ok(Value::Object(members.into_iter().map(|(name, raw)| (name, value(raw))).collect()))
}

/// Replaces the words that Python's `json` writes for what is no number, by `null`. Those within strings stay.
fn without_non_numbers(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let (mut is_in_string, mut rest) = (false, text);
    while let Some(first) = rest.chars().next() {
        let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| !is_in_string && rest.starts_with(word));
        let taken = match word {
            Some(word) => word.len(),
            // The character after a backslash ends no string.
            None if is_in_string && first == '\\' => rest.chars().take(2).map(char::len_utf8).sum(),
            None => first.len_utf8(),
        };
        written.push_str(if word.is_some() { "null" } else { &rest[..taken] });
        is_in_string ^= first == '"';
        rest = &rest[taken..];
    }
    written
}

/// Returns a text as it is, and any other value as its JSON text. Returns `None` if there is none.
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

#[cfg(test)]
mod tests {
    use super::*;

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
        for text in ["{", "", r#"{"status": NaN"#, r#"{"status": nan}"#] {
            assert_eq!(AgentReport::read(text).unwrap_err().problems.len(), 1, "{text}");
        }
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
    fn what_python_writes_and_what_is_too_deep_costs_no_end() {
        let of = |members: &str| {
            let text = format!(r#"{{"triggerId": "t", "executionId": "e", "status": "completed", {members}}}"#);
            AgentReport::read(&text).unwrap()
        };
        let report = of(r#""output": {"score": NaN, "text": "a \"NaN\" \\", "range": [-Infinity, Infinity]},
            "usage": {"inputTokens": NaN, "outputTokens": 7}"#);
        let output = report.output.map(|output| output.text).unwrap();
        assert_eq!(output, r#"{"range":[null,null],"score":null,"text":"a \"NaN\" \\"}"#);
        assert_eq!(report.usage.map(|usage| usage.output_tokens), Some(7));
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        let report = of(&format!(r#""output": {deep}, "usage": {{"inputTokens": 5}}"#));
        assert_eq!(report.output.map(|output| output.text), Some(deep));
        assert_eq!(report.usage.map(|usage| usage.input_tokens), Some(5));
    }
}
