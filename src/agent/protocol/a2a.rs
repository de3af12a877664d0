//! A2A over JSON-RPC, 0.3 and 1.0, and over plain HTTP, whose answers are the results alone.
//! <https://a2a-protocol.org/latest/specification/>

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::form::Form;
use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::names::name_of;
use crate::agent::protocol::reader::{Reader, decided, foreign};
use crate::agent::protocol::words::{message_of, push_parts, reported};
use crate::agent::transcript::{MAX_OUTPUT, Transcript};
use crate::domain::answer::{AnswerError, Interruption, Verdict};
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};
use crate::json::text::BoundedText;

/// The members of a result, by which 1.0 distinguishes its kinds.
const KINDS: [&str; 4] = ["task", "message", "statusUpdate", "artifactUpdate"];

/// The kinds of a result in 0.3, in the same order.
const OLD_KINDS: [&str; 4] = ["task", "message", "status-update", "artifact-update"];

/// The place of an update of an artifact among the kinds.
const UPDATE: usize = 3;

/// Returns true for a JSON-RPC message whose `result` is of one of A2A's kinds. An error alone does not distinguish A2A
/// and MCP. It counts as MCP's in a document or a frame named `message`, and as A2A's elsewhere. Without an envelope a
/// result must have the members of its kind, because its names are everyday words.
pub(super) fn recognises(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    if !members.has(Name::Jsonrpc) {
        return (members.has(Name::TaskEvent) || members.has_object(Name::Message))
            && is_result(RawJson::cut(frame.text));
    }
    let Some(result) = members.get(Name::Result) else {
        // An error tells the two protocols of JSON-RPC apart by the framing alone.
        return members.has(Name::Error) && frame.source != Source::Document && frame.name != b"message";
    };
    let [kind, task, message, status, artifact] =
        scan::pick(result.raw(), ["kind", KINDS[0], KINDS[1], KINDS[2], KINDS[3]]);
    let is_kind = kind.and_then(RawJson::whole_str).is_some_and(|kind| kind.position(&OLD_KINDS).is_some());
    // MCP's tasks have their state at the top, as a string.
    let task = task.filter(|task| task.get("status").is_none_or(RawJson::is_object));
    is_kind || [task, message, status, artifact].into_iter().flatten().any(RawJson::is_object)
}

/// Returns true if an object is a result of A2A 1.0, by the members that its kind requires: a task or a status with a
/// state, or with the id of a context, because an unknown state is left out; an artifact that is an object; or a
/// message with an id and a list of parts.
fn is_result(object: RawJson<'_>) -> bool {
    let [task, message, status, artifact] = scan::pick(object.raw(), KINDS);
    let has_status = |of: RawJson<'_>| {
        let [status, context] = scan::pick(of.raw(), ["status", "contextId"]);
        status.is_some_and(|status| status.get("state").is_some() || (status.is_object() && context.is_some()))
    };
    task.is_some_and(has_status)
        || status.is_some_and(has_status)
        || artifact.is_some_and(|update| update.get("artifact").is_some_and(RawJson::is_object))
        || message.is_some_and(|message| {
            let [id, role] = scan::pick(message.raw(), ["messageId", "role"]);
            id.is_some() && !is_role_of_user(role) && parts_of(message).is_some()
        })
}

/// Returns true for the role of a user's message.
fn is_role_of_user(role: Option<RawJson<'_>>) -> bool {
    role.and_then(RawJson::whole_str).is_some_and(|role| role.is("user") || role.is("ROLE_USER"))
}

/// Returns the list of parts of a message or an artifact. Over plain HTTP, 0.3 calls a message's `content`, which is
/// one of A2A by its role: many agents have messages of that form.
fn parts_of(message: RawJson<'_>) -> Option<RawJson<'_>> {
    let [parts, content, role] = scan::pick(message.raw(), ["parts", "content", "role"]);
    let is_a2a = role.and_then(RawJson::whole_str).is_some_and(|role| role.raw().starts_with(b"ROLE_"));
    parts.or(content.filter(|_| is_a2a)).filter(|parts| parts.is_array())
}

/// The number of artifacts that are distinguished. Any further one counts as the last.
const MAX_ARTIFACTS: usize = 64;

/// An artifact, and where its text stands in the answer's.
#[derive(Debug)]
struct Artifact {
    id: Vec<u8>,
    span: (usize, usize),
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The artifacts, in the order in which they came.
    artifacts: Vec<Artifact>,
    /// The id of the artifact under way, up to 128 bytes.
    artifact: Vec<u8>,
    /// An artifact has text: then no status message is the answer.
    has_artifact: bool,
    /// A response of JSON-RPC came: then a result stands in one.
    has_envelope: bool,
    form: Form,
}

impl Reader for Reading {
    /// Takes a JSON-RPC response. A failed task, a JSON-RPC error, a final state and a message decide the run. Updates
    /// do not. An error that is null gives way to the result beside it. A frame that is neither a response nor a result
    /// without an envelope is left to the generic rules. Returns `None` for a frame that decides nothing.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        if self.form.is_of(frame) && transcript.text.is_truncated() {
            return None;
        }
        self.form.clear();
        let value = RawJson::cut(frame.text);
        // Nearly every response has `result` alone.
        let (at, member) = match value.enter_any(&["result", "error"]) {
            Some(member) => member,
            None if !self.has_envelope && is_result(value) => return self.take_result(frame, value, transcript),
            None => return foreign(transcript),
        };
        self.has_envelope = true;
        if at == 1 || !member.is_object() {
            let [version, error] = scan::pick(frame.text, ["jsonrpc", "error"]);
            if version.is_none() {
                return foreign(transcript);
            }
            if error.is_some_and(RawJson::is_something) {
                transcript.is_understood = true;
                return Some(Verdict::Failed(reported(message_of(value, &[]))));
            }
        }
        let result = if at == 0 { member } else { value.enter("result")? };
        self.take_result(frame, result, transcript)
    }

    /// Decides the run with `failure`: a response of JSON-RPC that has an error is one.
    fn error_beside(&mut self, failure: AnswerError, _transcript: &mut Transcript) -> Option<Verdict> {
        Some(Verdict::Failed(failure))
    }
}

/// The members of an update of an artifact, found in one pass with its kind.
#[derive(Debug, Default, Clone, Copy)]
struct Update<'a> {
    append: Option<RawJson<'a>>,
    artifact: Option<RawJson<'a>>,
}

impl<'a> Update<'a> {
    /// Returns the kind of a result by its place in [`KINDS`], and the value that holds it: the result itself in 0.3, a
    /// member of it in 1.0. Returns `None` if it is of no known kind. In 0.3 the members of an update are found as
    /// well. In 1.0 the caller finds them by [`Self::read`].
    fn kind_of(&mut self, result: RawJson<'a>) -> Option<(usize, RawJson<'a>)> {
        let mut members = scan::Members::of(result.raw());
        while let Some(name) = members.name() {
            if let Some(at) = name.position(&KINDS)
                && members.cut().is_object()
            {
                return Some((at, members.cut()));
            }
            let value = members.value()?;
            match &*name_of(name) {
                b"kind" => {
                    let kind = value.whole_str()?;
                    let at = kind.position(&OLD_KINDS)?;
                    if at == UPDATE && (self.append.is_none() || self.artifact.is_none()) {
                        self.read(result);
                    }
                    return Some((at, result));
                }
                b"append" => self.append = Some(value),
                b"artifact" => self.artifact = Some(value),
                _ => {}
            }
        }
        None
    }

    /// Finds both members of an update, in place of those found before.
    fn read(&mut self, update: RawJson<'a>) {
        [self.append, self.artifact] = scan::pick(update.raw(), ["append", "artifact"]);
    }
}

impl Reading {
    /// Takes a result by its kind. A message of the agent's decides the run, a task and a status may, and an artifact
    /// never does. Returns `None` if nothing is decided, also for a result of no known kind.
    fn take_result(&mut self, frame: &Frame<'_>, result: RawJson<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        transcript.is_understood = true;
        let mut update = Update::default();
        let (kind, value) = update.kind_of(result)?;
        match kind {
            0 => self.take_task(frame, value, transcript),
            // A message of the user's, sent back, is no result.
            1 if is_role_of_user(value.get("role")) => None,
            1 => {
                transcript.message(|out| push_message(value, out));
                decided(frame, transcript, Verdict::Completed)
            }
            2 => self.take_status(frame, value.get("status")?, false, transcript),
            _ => {
                if update.artifact.is_none() {
                    update.read(value);
                }
                self.take_artifact(frame, update, transcript);
                None
            }
        }
    }

    /// Takes a task. Its artifacts, if it has any, replace those that came before and are the answer. Then its state
    /// counts, by [`Self::take_status`]. In a document, a task that is still at work is the whole answer. A task
    /// without a status decides nothing.
    fn take_task(&mut self, frame: &Frame<'_>, task: RawJson<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let [status, artifacts] = scan::pick(task.raw(), ["status", "artifacts"]);
        if let Some(artifacts) = artifacts {
            let mut text = BoundedText::new(MAX_OUTPUT);
            if artifacts.elements().next().is_some() {
                self.artifacts.clear();
            }
            for artifact in artifacts.elements() {
                let (at, _) = self.place_of(id_of(artifact), text.len());
                push_message(artifact, &mut text);
                self.artifacts[at].span.1 = text.len();
            }
            self.has_artifact |= !text.is_empty();
            transcript.message(|out| *out = text);
        }
        self.take_status(frame, status?, frame.is_document(), transcript)
    }

    /// Takes the state of the task, in either version's spelling. A status without one decides nothing. `is_all` is
    /// true if the frame is the whole answer. Then a task at work is incomplete, and an unknown state an interruption.
    /// In a stream both decide nothing. For a failed task, the words of the status are the error. Otherwise they are
    /// the answer unless an artifact had text.
    fn take_status(
        &mut self,
        frame: &Frame<'_>,
        status: RawJson<'_>,
        is_all: bool,
        transcript: &mut Transcript,
    ) -> Option<Verdict> {
        let [state, message] = scan::pick(status.raw(), ["state", "message"]);
        let state = state.and_then(RawJson::whole_str)?.read(64).to_ascii_lowercase();
        let state = state.strip_prefix("task_state_").unwrap_or(&state).replace('_', "-");
        let mut said = BoundedText::new(MAX_OUTPUT);
        message.into_iter().for_each(|message| push_message(message, &mut said));
        let verdict = match state.as_str() {
            "completed" => Verdict::Completed,
            "failed" | "rejected" => {
                let words = Some(said.as_str().to_owned()).filter(|words| !words.is_empty());
                return Some(Verdict::Failed(reported(words.map(cut))));
            }
            _ => match FinishReason::from_wire(&state) {
                Some(FinishReason::Working) if !is_all => return None,
                Some(reason) => {
                    transcript.finish = Some(reason);
                    Verdict::Incomplete(reason)
                }
                None if is_all => return Some(Verdict::Interrupted(Interruption::NoTerminalEvent)),
                None => return None,
            },
        };
        if !self.has_artifact {
            transcript.message(|out| *out = said);
        }
        decided(frame, transcript, verdict)
    }

    /// Returns the index of an artifact among the others, and true if it is new: then its text begins at `end`, the
    /// answer's end. Beyond 64 artifacts a new one counts as the last one. It becomes the artifact under way.
    fn place_of(&mut self, id: &[u8], end: usize) -> (usize, bool) {
        if self.artifact != id {
            self.artifact.clear();
            self.artifact.extend_from_slice(id);
        }
        let known = self.artifacts.iter().position(|artifact| artifact.id == id);
        let last = (self.artifacts.len() >= MAX_ARTIFACTS).then(|| self.artifacts.len() - 1);
        if let Some(at) = known.or(last) {
            return (at, false);
        }
        self.artifacts.push(Artifact { id: id.to_vec(), span: (end, end) });
        (self.artifacts.len() - 1, true)
    }

    /// Takes a part of an artifact. It is appended to the artifact's text if `append` is true, and replaces it
    /// otherwise. The text of the artifacts after it moves. A part is passed over if it would be appended to a text
    /// that is full, or if the frame was too large to keep.
    fn take_artifact(&mut self, frame: &Frame<'_>, update: Update<'_>, transcript: &mut Transcript) {
        let Some(artifact) = update.artifact.filter(|_| !transcript.is_muted) else { return };
        let id = id_of(artifact);
        let append = update.append;
        if transcript.text.is_truncated() && self.artifact == id && append.is_some_and(RawJson::is_true) {
            let text = || artifact.get("parts")?.first_element()?.get("text")?.whole_str();
            return text().into_iter().for_each(|text| self.form.note(frame, text));
        }
        let parts = artifact.get("parts");
        let (at, is_new) = self.place_of(id, transcript.text.len());
        let (begins, ends) = self.artifacts[at].span;
        let keeps = append.is_some_and(RawJson::is_true) && !is_new;
        let end = transcript.text.replace(if keeps { ends } else { begins }, ends, |out| {
            parts.into_iter().for_each(|parts| push_texts(parts, out));
        });
        self.artifacts[at].span.1 = end;
        // The text after it moved.
        let moved = |place: usize| (place + end).saturating_sub(ends);
        self.artifacts[at + 1..].iter_mut().for_each(|artifact| {
            artifact.span = (moved(artifact.span.0), moved(artifact.span.1));
        });
        self.has_artifact |= !transcript.text.is_empty();
    }
}

/// Returns the first 128 bytes of an artifact's id, which are compared, with its quotes. They are empty if it has no
/// id.
fn id_of(artifact: RawJson<'_>) -> &[u8] {
    let id = artifact.get("artifactId").map(RawJson::raw).unwrap_or_default();
    &id[..id.len().min(128)]
}

/// Cuts the agent's words to 2 KiB, between characters.
fn cut(mut words: String) -> String {
    words.truncate(words.floor_char_boundary(2 * 1024));
    words
}

/// Appends the texts of a message's or an artifact's parts.
fn push_message(message: RawJson<'_>, out: &mut BoundedText) {
    if let Some(parts) = parts_of(message) {
        push_parts(parts, out);
    }
}

/// Appends the texts of parts. A string in their place is none of A2A's and is left out.
fn push_texts(parts: RawJson<'_>, out: &mut BoundedText) {
    if parts.is_array() {
        push_parts(parts, out);
    }
}
