//! What an agent asks a person about its tools, and what ends such a question: the parts of the AI SDK, and those of
//! agents that speak like it. <https://ai-sdk.dev/docs/ai-sdk-core/tools-and-tool-calling#tool-execution-approval>

use crate::agent::protocol::words::is_thought;
use crate::json::scan::{self, RawJson};

/// The number of questions that are told apart. With more the agent waits until it goes on.
const MAX_QUESTIONS: usize = 64;

/// Bytes of an id that are compared.
const MAX_ID: usize = 128;

/// The names of the id of a tool's call, and of that of a question about it.
const CALL: [&str; 6] = ["toolCallId", "tool_call_id", "toolUseId", "tool_use_id", "callId", "call_id"];
const APPROVAL: [&str; 4] = ["approvalId", "approval_id", "approvalRequestId", "approval_request_id"];

/// What a part names: the call of a tool, and the question about it.
#[derive(Debug, Default)]
struct Ids {
    call: Option<Vec<u8>>,
    approval: Option<Vec<u8>>,
}

/// A question that is open.
#[derive(Debug)]
struct Question {
    about: Ids,
    /// A result came behind it, of which nobody can say whether it is of the same call.
    may_have_result: bool,
}

/// The questions that are open.
#[derive(Debug, Default)]
pub(super) struct Questions {
    told_apart: Vec<Question>,
    has_more: bool,
}

impl Questions {
    /// Takes a part of the type `kind`. A type that ends in `approval-request`, such as `tool-approval-request`, asks,
    /// unless `isAutomatic` says that no person is asked. A bare `approval` may be anything. Any other type with
    /// `approval` or `denied` in it is an answer. An answer or a result ends the question that it is about. If their
    /// ids cannot be compared, an answer ends it, and a result does so once a part with text follows.
    pub(super) fn take(&mut self, kind: &str, part: RawJson<'_>) {
        let kind = kind.to_ascii_lowercase().replace(['-', '_'], "");
        let is = |words: &[&str]| words.iter().any(|word| kind.contains(word));
        if kind.strip_suffix("approvalrequest").is_some_and(|of| !of.is_empty()) {
            if part.get("isAutomatic").is_some_and(RawJson::is_true) {
                return;
            }
            self.has_more |= self.told_apart.len() == MAX_QUESTIONS;
            if !self.has_more {
                self.told_apart.push(Question { about: Ids::of_question(&kind, part), may_have_result: false });
            }
        } else if self.told_apart.is_empty() {
            // Nothing waits for it.
        } else if is(&["approval", "denied"]) {
            let ids = Ids::of(part);
            self.told_apart.retain(|question| question.about.is_same(&ids) == Some(false));
        } else if is(&["toolresult", "toolerror", "tooloutput"]) {
            let ids = Ids::of(part);
            self.told_apart.retain_mut(|question| {
                let is_same = question.about.is_same(&ids);
                question.may_have_result |= is_same.is_none();
                is_same != Some(true)
            });
        } else if !is_thought(kind.as_bytes()) && has_text(part) {
            self.go_on();
        }
    }

    /// Returns true if a question is open.
    pub(super) fn is_open(&self) -> bool {
        self.has_more || !self.told_apart.is_empty()
    }

    /// Forgets all questions: the agent went on.
    pub(super) fn clear(&mut self) {
        self.told_apart.clear();
        self.has_more = false;
    }

    /// Takes text of the answer: it ends the questions of which a result may be.
    fn go_on(&mut self) {
        self.told_apart.retain(|question| !question.may_have_result);
    }
}

impl Ids {
    /// Returns the ids that a part names, itself or in its `toolCall`.
    fn of(part: RawJson<'_>) -> Self {
        let call = part.get("toolCall").or_else(|| part.get("tool_call"));
        Self {
            call: among(part, &CALL).or_else(|| among(call?, &CALL)).or_else(|| among(call?, &["id"])),
            approval: among(part, &APPROVAL),
        }
    }

    /// Returns the ids that a question of this kind names. OpenAI's `mcp_approval_request` names itself by its `id`.
    fn of_question(kind: &str, part: RawJson<'_>) -> Self {
        let mut ids = Self::of(part);
        if kind.starts_with("mcp") {
            ids.approval = among(part, &["id"]);
        }
        ids
    }

    /// Returns true if both are about the same call, or question, and `None` if they cannot be compared.
    fn is_same(&self, other: &Self) -> Option<bool> {
        let by_call = self.call.as_ref().zip(other.call.as_ref());
        let by_approval = self.approval.as_ref().zip(other.approval.as_ref());
        by_call.or(by_approval).map(|(one, other)| one == other)
    }
}

/// Returns the first member of these names that is something, as it is written, by its first 128 bytes. Returns `None`
/// if there is none.
fn among(of: RawJson<'_>, names: &[&str]) -> Option<Vec<u8>> {
    let id = names.iter().find_map(|name| of.get(name).filter(|id| id.is_something()))?;
    Some(id.raw()[..id.raw().len().min(MAX_ID)].to_vec())
}

/// Returns true if a part is a text, or has one that is not blank.
fn has_text(part: RawJson<'_>) -> bool {
    let [text, thought] = scan::pick(part.raw(), ["text", "thought"]);
    let text = part.as_str().or_else(|| text?.as_str()).filter(|_| !thought.is_some_and(RawJson::is_true));
    text.is_some_and(|text| !text.read(64).trim().is_empty())
}

/// Returns true if a part in a list asks a person, and no part behind it ends that question. `has_text` is true if the
/// answer has text beside the list.
pub(super) fn asks_in(parts: RawJson<'_>, has_text: bool) -> bool {
    let mut questions = Questions::default();
    for part in parts.elements() {
        let kind = part.get("type").and_then(RawJson::whole_str).map(|kind| kind.read(64)).unwrap_or_default();
        questions.take(&kind, part);
    }
    if has_text {
        questions.go_on();
    }
    questions.is_open()
}
