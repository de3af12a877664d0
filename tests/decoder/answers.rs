//! Answers captured from running SDKs and servers: each is recorded as what it says (docs/agents.md, Answers).

use std::path::Path;

use agent_trigger::agent::decoder::Decoder;
use agent_trigger::domain::answer::{End, Outcome, Verdict};
use serde_json::Value;

/// One line of the manifest.
pub(crate) struct Case {
    pub(crate) name: String,
    content_type: Option<String>,
    status: u64,
    pub(crate) end: End,
    pub(crate) body: Vec<u8>,
    expect: Value,
}

pub(crate) fn cases() -> Vec<Case> {
    cases_in("answers")
}

/// The cases of a manifest. A short body stands in its line, a long one in a file beside it.
pub(crate) fn cases_in(fixtures: &str) -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixtures);
    let manifest = std::fs::read_to_string(directory.join("manifest.jsonl")).expect("a manifest");
    let cases = manifest.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let is_whole = line["torn"] == false && line["framed"] == true;
        Case {
            name: text("name").expect("a name"),
            content_type: text("contentType").filter(|text| !text.is_empty()),
            status: line["httpStatus"].as_u64().expect("a status"),
            end: if is_whole { End::Framed } else { End::Torn },
            body: match text("body") {
                Some(body) => body.into_bytes(),
                None => std::fs::read(directory.join(text("file").expect("a file"))).expect("a body"),
            },
            expect: line["expect"].clone(),
        }
    });
    cases.collect()
}

impl Case {
    /// Decodes the body in these chunks; `None` where the status decides alone.
    pub(crate) fn decode<'a>(&self, chunks: impl Iterator<Item = &'a [u8]>) -> Option<Outcome> {
        self.decode_to(chunks, self.end)
    }

    pub(crate) fn decode_to<'a>(&self, chunks: impl Iterator<Item = &'a [u8]>, end: End) -> Option<Outcome> {
        if !matches!(self.status, 200 | 202) {
            return None;
        }
        let status = self.status as u16;
        let mut decoder = Decoder::new(self.content_type.as_deref()).expect(&self.name).with_status(status);
        for chunk in chunks {
            if decoder.feed(chunk).is_some() {
                break;
            }
        }
        Some(decoder.finish(end))
    }

    /// What differs from what must be recorded.
    pub(crate) fn differences(&self, outcome: &Outcome) -> Vec<String> {
        let mut wrong = Vec::new();
        let (status, error_type) = match &outcome.verdict {
            Verdict::Completed => ("completed", None),
            Verdict::Incomplete(_) => ("failed", Some("AgentIncomplete")),
            Verdict::Failed(_) => ("failed", Some("AgentFailed")),
            Verdict::Interrupted(_) => ("failed", Some("StreamInterrupted")),
        };
        let mut check = |what: &str, is: Option<&str>, expected: &Value| {
            if expected.as_str().is_some_and(|expected| is != Some(expected)) {
                wrong.push(format!("{}: {what} is {is:?}, not {expected}", self.name));
            }
        };
        check("status", Some(status), &self.expect["status"]);
        check("errorType", error_type, &self.expect["errorType"]);
        let reason = outcome.finish_reason.map(|reason| reason.as_str());
        check("finishReason", reason, &self.expect["finishReason"]);
        check("protocol", Some(outcome.protocol.as_str()), &self.expect["protocol"]);
        let output = outcome.output.as_ref().map(|output| output.text.as_str());
        if let Some(expected) = self.expect["output"].as_array() {
            let is_one_of = expected.iter().any(|text| text.as_str() == output.map(str::trim));
            if !is_one_of {
                wrong.push(format!("{}: the answer is {output:?}, not {expected:?}", self.name));
            }
        }
        let usage = outcome.progress.usage.map(|usage| (usage.input_tokens, usage.output_tokens));
        if self.expect["usage"] == true && !matches!(usage, Some((10 | 20, 5 | 10))) {
            wrong.push(format!("{}: the usage is {usage:?}", self.name));
        }
        wrong
    }
}

#[test]
fn every_captured_answer_is_recorded_as_what_it_says() {
    let cases = cases();
    assert_eq!(cases.len(), 218);
    let mut wrong = Vec::new();
    for case in &cases {
        if let Some(outcome) = case.decode(std::iter::once(&case.body[..])) {
            wrong.extend(case.differences(&outcome));
        } else {
            assert_eq!(case.expect["status"], "failed", "{}", case.name);
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn captured_answers_may_come_byte_by_byte_or_in_two() {
    for case in cases() {
        let whole = case.decode(std::iter::once(&case.body[..]));
        assert_eq!(case.decode(case.body.chunks(1)), whole, "{}", case.name);
        for at in (0..=case.body.len()).step_by(13) {
            let (first, second) = case.body.split_at(at);
            assert_eq!(case.decode([first, second].into_iter()), whole, "{} split at {at}", case.name);
        }
    }
}

/// A body cut anywhere by a torn connection is no success, unless its terminal event was read before.
#[test]
fn no_captured_answer_completes_when_it_is_torn() {
    for case in cases() {
        for at in 0..case.body.len() {
            let torn = case.decode_to(std::iter::once(&case.body[..at]), End::Torn);
            let Some(torn) = torn.filter(|outcome| outcome.verdict == Verdict::Completed) else { continue };
            let decided = String::from_utf8_lossy(&case.body[..at]);
            let terminal = [
                "RUN_FINISHED",
                "response.completed",
                "finish_reason\":\"stop",
                "message_stop",
                "\"finish\"",
                "messageStop",
                "event: end",
                "TASK_STATE_COMPLETED",
                "state\":\"completed",
                "\"message\":",
                "\"result\":",
                "event: message",
            ];
            assert!(terminal.iter().any(|word| decided.contains(word)), "{} at {at}: {torn:?}", case.name);
        }
    }
}
