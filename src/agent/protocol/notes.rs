//! Reads two things from a frame of no protocol, beside its answer: the tokens it cost, and how the agent stopped.

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::duplicates;
use crate::agent::protocol::members::{ANSWERS, Members, Name, Names};
use crate::agent::protocol::names::stop_by_name;
use crate::agent::transcript::Transcript;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};

/// The members that say how the agent stopped, beside `type`.
pub(super) const STOP_SIGNS: Names = Names::of(&[
    Name::Cancelled,
    Name::Event,
    Name::GraphInterrupt,
    Name::Interrupt,
    Name::Interrupted,
    Name::NeedsApproval,
    Name::Reason,
    Name::State,
    Name::Status,
    Name::StopReason,
    Name::Tripwire,
]);

/// The members whose object may hold a stop reason if the frame has none.
pub(super) const STOP_HOLDERS: Names = Names::of(&ANSWERS);

/// The members that ask for a person if they hold something.
const ASKS: [Name; 3] = [Name::Interrupt, Name::GraphInterrupt, Name::NeedsApproval];

/// Adds the usage that a frame reports: its own `usage`, else that of its metadata, else that of the message it holds.
/// The first of them alone counts, even if it names no count. Counts among the members of the frame itself are added to
/// that of the message. If several members hold objects, the first by a fixed order of names is the message. The
/// `metrics` of a frame are those of the run, and count only if no usage was reported before.
pub(super) fn note_usage(frame: &Frame<'_>, members: &Members<'_>, transcript: &mut Transcript) {
    const HOLDERS: Names = Names::of(&[
        Name::Usage,
        Name::Tokens,
        Name::Metadata,
        Name::Metrics,
        Name::Result,
        Name::Response,
        Name::Output,
        Name::Answer,
        Name::Message,
        Name::Data,
    ]);
    if !members.has_any(HOLDERS) {
        return;
    }
    let own = members.get(Name::Usage);
    if own.is_some() {
        return transcript.add_usage(own);
    }
    if let Some(usage) = members.get(Name::Metadata).and_then(|metadata| metadata.get("usage")) {
        return transcript.add_usage(Some(usage));
    }
    let message = [Name::Result, Name::Response, Name::Output, Name::Answer, Name::Message, Name::Data]
        .into_iter()
        .find_map(|name| members.get(name).filter(|value| value.is_object()));
    if let Some(message) = message {
        let [usage, snake, metadata] = scan::pick(message.raw(), ["usage", "usage_metadata", "metadata"]);
        transcript.add_usage(usage.or(snake).or_else(|| metadata?.get("usage")));
    }
    if members.has(Name::Tokens) {
        transcript.add_usage(Some(RawJson::cut(frame.text)));
    }
    if transcript.progress.usage.is_none() {
        transcript.add_usage(members.get(Name::Metrics));
    }
}

/// Notes how a frame says that the agent stopped, by the first of these that it has: a tripwire, a member that asks for
/// a person, a flag, its own stop reason, that of an object under a member that holds an answer (under `message` only in
/// a document), and the word of its `status`, `state`, `type` or `event`. The last of several frames counts.
pub(crate) fn note_stop(frame: &Frame<'_>, members: &Members<'_>, transcript: &mut Transcript) {
    // Mastra's document has `tripwire` beside a `finishReason` that does not tell of it.
    if members.get(Name::Tripwire).is_some_and(RawJson::is_something) {
        transcript.finish = Some(FinishReason::Guardrail);
        return;
    }
    if let Some(reason) = stop_by_flag(members) {
        transcript.finish = Some(reason);
        transcript.is_understood = true;
        return;
    }
    if let Some(reason) = members.get(Name::StopReason).or_else(|| reason_of_end(members)) {
        return transcript.stopped(word_in(reason));
    }
    // In a stream a message is one of many.
    let message = members.get(Name::Message).filter(|message| frame.source == Source::Document && message.is_object());
    let mut reason = members.objects(STOP_HOLDERS).chain(message).find_map(reason_in);
    let holders = if message.is_some() { STOP_HOLDERS.and(Name::Message) } else { STOP_HOLDERS };
    if members.has_twice(holders) {
        let all = Members::all_objects(frame.text, holders).filter_map(reason_in);
        all.for_each(|other| duplicates::hear(&mut reason, other));
    }
    if let Some(reason) = reason {
        return transcript.stopped(word_in(reason));
    }
    if let Some(reason) = stop_by_state(frame, members) {
        transcript.finish = Some(reason);
        transcript.is_understood = true;
    }
}

/// Returns the reason if a member asks for a person, or a flag says that the run was interrupted or cancelled. Returns
/// `None` if none does.
fn stop_by_flag(members: &Members<'_>) -> Option<FinishReason> {
    const FLAGS: Names = Names::of(&ASKS).and(Name::Interrupted).and(Name::Cancelled);
    if !members.has_any(FLAGS) {
        return None;
    }
    let is_true = |name| members.get(name).is_some_and(RawJson::is_true);
    let asks = ASKS.into_iter().any(|name| members.get(name).is_some_and(RawJson::is_something));
    if asks || is_true(Name::Interrupted) {
        return Some(FinishReason::Interrupt);
    }
    is_true(Name::Cancelled).then_some(FinishReason::Cancelled)
}

/// Returns true if a frame about a tool asks a person: by a member, or by its `type` or `event`.
pub(super) fn asks(members: &Members<'_>) -> bool {
    let by_name = |name| {
        let word = members.get(name).and_then(RawJson::whole_str)?;
        stop_by_name(&word.read(64)).filter(|reason| reason.waits())
    };
    stop_by_flag(members) == Some(FinishReason::Interrupt)
        || by_name(Name::Type).or_else(|| by_name(Name::Event)).is_some()
}

/// Returns the `reason` of a frame whose `type` says that the run is over. That of any other frame means other things.
fn reason_of_end<'a>(members: &Members<'a>) -> Option<RawJson<'a>> {
    const ENDS: [&str; 8] = ["done", "end", "ended", "finish", "finished", "complete", "completed", "stop"];
    let reason = members.get(Name::Reason)?;
    let kind = members.get(Name::Type)?.whole_str()?.read(16);
    ENDS.iter().any(|end| kind.eq_ignore_ascii_case(end)).then_some(reason)
}

/// Returns the reason if the object under a member that holds an answer says that the agent waits for a person: by a
/// member that asks for one, or by its `status` or `type`. Other states in it are of what the answer is about.
pub(super) fn waits_within(members: &Members<'_>) -> Option<FinishReason> {
    members.objects(STOP_HOLDERS).find_map(|value| {
        let inner = Members::of(value.raw());
        let word = |name| inner.get(name).and_then(RawJson::whole_str).map(|word| word.read(64));
        let by_state = |name| FinishReason::from_wire(&word(name)?);
        let by_type = || stop_by_name(&word(Name::Type)?);
        let found = stop_by_flag(&inner).or_else(|| by_state(Name::Status)).or_else(|| by_state(Name::State));
        found.or_else(by_type).filter(|reason| reason.waits())
    })
}

/// Returns the stop reason in an object that holds the message, under the first of four names. Returns `None` if it has
/// none.
fn reason_in(holder: RawJson<'_>) -> Option<RawJson<'_>> {
    let names = ["stop_reason", "stopReason", "finish_reason", "finishReason"];
    let [snake, camel, chat, other] = duplicates::pick(holder, names);
    snake.or(camel).or(chat).or(other)
}

/// Returns the value that is the word of a stop reason: of an object its `type`, or else its `reason`, of a list the
/// first element, and otherwise the value itself. Returns `None` if an object or a list has none.
pub(super) fn word_in(reason: RawJson<'_>) -> Option<RawJson<'_>> {
    match reason.raw().first() {
        Some(b'{') => reason.get("type").or_else(|| reason.get("reason")),
        Some(b'[') => reason.elements().next(),
        _ => Some(reason),
    }
}

/// Returns the reason if the `status`, `state`, `type` or `event` of a frame says that the agent stopped, looked at in
/// this order. Returns `None` if none says so. A status "at work" counts only in a document without an answer that says
/// something: in a stream it is progress.
pub(super) fn stop_by_state(frame: &Frame<'_>, members: &Members<'_>) -> Option<FinishReason> {
    const STATES: Names = Names::of(&[Name::Status, Name::State, Name::Type, Name::Event]);
    const WHOLE: Names =
        Names::of(&[Name::Data, Name::Text, Name::Content, Name::Response, Name::Answer, Name::Result, Name::Output]);
    if !members.has_any(STATES) {
        return None;
    }
    let word = |name| members.get(name).and_then(RawJson::whole_str).map(|word| word.read(64));
    let has_answer = || members.any(|name, value| WHOLE.contains(name) && value.is_something());
    let is_ticket = frame.source == Source::Document && !(members.has_any(WHOLE) && has_answer());
    let by_status =
        |name| FinishReason::from_wire(&word(name)?).filter(|reason| *reason != FinishReason::Working || is_ticket);
    by_status(Name::Status)
        .or_else(|| by_status(Name::State))
        .or_else(|| stop_by_name(&word(Name::Type)?))
        .or_else(|| stop_by_name(&word(Name::Event)?))
}
