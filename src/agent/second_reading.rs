//! The second reading of a frame that ends a run in order and holds two members of one name. Readers of JSON differ in
//! which of them they hear, and a failure must not hide behind a success of the same name.

use crate::agent::framing::frame::Frame;
use crate::agent::protocol;
use crate::agent::transcript::Transcript;
use crate::domain::answer::Verdict;
use crate::domain::protocol::Protocol;
use crate::json::scan::{Members, RawJson};

/// Members by which protocols say what a frame is and how the run ended, those on the way to them, and those of the
/// words.
const NAMES: [&str; 48] = [
    "type",
    "kind",
    "object",
    "jsonrpc",
    "runId",
    "index",
    "method",
    "result",
    "resultType",
    "task",
    "message",
    "statusUpdate",
    "status",
    "state",
    "event",
    "payload",
    "response",
    "choices",
    "delta",
    "messageStop",
    "outcome",
    "stepResult",
    "incomplete_details",
    "metadata",
    "output",
    "finish_reason",
    "finishReason",
    "stop_reason",
    "stopReason",
    "reason",
    "refusal",
    "isError",
    "error",
    "error_type",
    "errorType",
    "errors",
    "errorCode",
    "errorMessage",
    "errorText",
    "code",
    "tripwire",
    "success",
    "content",
    "parts",
    "text",
    "role",
    "final",
    "interrupts",
];

/// Objects and arrays within one another that are looked into. The deepest end of a known protocol is five deep.
const DEPTH: usize = 8;

/// The index of the last member of one name that is told apart. Of more, the very last one is heard as well.
const MEMBERS: usize = 8;

/// Returns `verdict`, that of a frame which ends the run in order, or a graver one. If an object in the frame has
/// several members of one name, the frame is read again by the protocol's rules for each of them, with that one alone.
/// The first failure found is returned, and otherwise a stop short if `verdict` is a completion.
pub(super) fn gravest(protocol: Protocol, frame: &Frame<'_>, mut verdict: Verdict) -> Verdict {
    read_others(protocol, frame, |read, _| {
        match read {
            Some(failed @ Verdict::Failed(_)) => verdict = failed,
            Some(stopped @ Verdict::Incomplete(_)) if verdict == Verdict::Completed => verdict = stopped,
            _ => {}
        }
        matches!(verdict, Verdict::Failed(_))
    });
    verdict
}

/// Notes how the agent stopped by a frame that does not end the run, as it is read once other members of the same names
/// are heard. A failure, or a reason to stop, is noted only if the transcript has none.
pub(super) fn note_gravest(protocol: Protocol, frame: &Frame<'_>, transcript: &mut Transcript) {
    read_others(protocol, frame, |_, other| {
        if transcript.failure.is_none() {
            transcript.failure.clone_from(&other.failure);
        }
        transcript.finish = transcript.finish.or(other.finish);
        transcript.failure.is_some()
    });
}

/// Reads a frame as if it had only one member of each name: once with the first of each, once with the second, and so
/// on. Without two members of one name it is not read. `hear` gets what was read, and returns true to end this.
fn read_others(protocol: Protocol, frame: &Frame<'_>, mut hear: impl FnMut(Option<Verdict>, &Transcript) -> bool) {
    let mut text = Vec::new();
    let mut at = 0;
    loop {
        text.clear();
        let most = write(RawJson::cut(frame.text), at, DEPTH, &mut text);
        if most < 2 {
            return;
        }
        let other = Frame { text: &text, data: &text, dropped: None, ..*frame };
        let mut transcript = Transcript::new();
        let read = protocol::reader(protocol).and_then(|mut reader| reader.read(&other, &mut transcript));
        if hear(read, &transcript) {
            return;
        }
        match at {
            _ if at >= most - 1 => return,
            MEMBERS => at = usize::MAX,
            _ => at += 1,
        }
    }
}

/// Appends to `out` what a value says under [`NAMES`], each member once: of those of one name the one at the index
/// `at`, or else the last. Below `depth` levels values are copied as they are. Returns the largest number of members of
/// one name in one object.
fn write(value: RawJson<'_>, at: usize, depth: usize, out: &mut Vec<u8>) -> usize {
    let mut most = 1;
    if depth > 0 && value.is_object() {
        let mut found = [(0, None); NAMES.len()];
        for (name, value) in Members::of(value.raw()) {
            let Some(place) = name.position(&NAMES) else { continue };
            let (count, heard) = &mut found[place];
            if *count <= at {
                *heard = Some(value);
            }
            *count += 1;
        }
        out.push(b'{');
        for (name, (count, member)) in NAMES.iter().zip(found) {
            let Some(member) = member else { continue };
            if !out.ends_with(b"{") {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            most = most.max(count).max(write(member, at, depth - 1, out));
        }
        out.push(b'}');
    } else if depth > 0 && value.is_array() {
        out.push(b'[');
        for (place, element) in value.elements().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            most = most.max(write(element, at, depth - 1, out));
        }
        out.push(b']');
    } else {
        out.extend_from_slice(value.raw());
    }
    most
}
