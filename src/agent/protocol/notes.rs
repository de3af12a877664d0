//! Reads two things from a frame of no protocol, beside its answer: the tokens it cost, and how the agent stopped.

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::duplicates;
use crate::agent::protocol::failure::{has_text, is_nothing_said};
use crate::agent::protocol::members::{ANSWERS, Members, Name, Names, WHOLE};
use crate::agent::protocol::models;
use crate::agent::protocol::names::{is_failure_word, stop_by_name};
use crate::agent::protocol::questions::asks_in;
use crate::agent::protocol::words::{are_interrupts, word_in};
use crate::agent::transcript::Transcript;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson, Str};

/// The members that say how the agent stopped, beside `type`.
pub(super) const STOP_SIGNS: Names = Names::of(&[
    Name::Cancelled,
    Name::Event,
    Name::GraphInterrupt,
    Name::Interrupt,
    Name::Interrupted,
    Name::Choices,
    Name::NeedsApproval,
    Name::Raw,
    Name::Reason,
    Name::Short,
    Name::State,
    Name::Status,
    Name::StopReason,
    Name::Tripwire,
]);

/// The members whose object may hold a stop reason if the frame has none.
pub(super) const STOP_HOLDERS: Names = Names::of(&ANSWERS);

/// The counts of a whole call of a model, at the end of what Bedrock's InvokeModelWithResponseStream sends.
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/inference-invoke.html>
const BEDROCK_METRICS: &str = "amazon-bedrock-invocationMetrics";

/// The members that ask for a person if they hold something.
const ASKS: [Name; 3] = [Name::Interrupt, Name::GraphInterrupt, Name::NeedsApproval];

/// Adds the usage that a frame reports: its own `usage`, else that of its metadata, else that of the message it holds.
/// The first of them alone counts, even if it names no count. Counts among the members of the frame itself are added to
/// that of the message. If several members hold objects, the first by a fixed order of names is the message. The
/// `metrics` of a frame are those of the run, and count only if no usage was reported before. Bedrock's are those of a
/// call, in place of what was counted of it.
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
    if let Some(usage) = metadata(RawJson::cut(frame.text), members)
        .find_map(|metadata| metadata.get("usage").filter(|usage| usage.is_object()))
    {
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
    let metrics = members.has(Name::Metrics).then(|| scan::pick(frame.text, ["metrics", BEDROCK_METRICS]));
    if let Some([of_run, of_call]) = metrics {
        if transcript.progress.usage.is_none() {
            transcript.add_usage(of_run);
        }
        transcript.meter(of_call);
    }
}

/// Notes how a frame says that the agent stopped, by the first of these that it has: a tripwire, a member that asks for
/// a person, a flag, its own stop reason, its `reason` ([`reason_of_end`]), a failure or a short stop of the model
/// whose raw answer it has ([`models`]), the stop reason of an object under a member that holds an answer (under
/// `message` only in a document), in that object's metadata or in its own [`metadata`], if it is a failure or a short
/// stop, Strands' questions in an answer's place, and the word of its `status`, `state`, `type` or `event`. A stop
/// reason that says nothing is passed over. If the transcript has no reason then, a flag that the answer was cut short
/// is one, in a document and in a frame at the end of the run ([`is_end`]). The last of several frames counts.
pub(crate) fn note_stop(frame: &Frame<'_>, members: &Members<'_>, transcript: &mut Transcript) {
    note_reason(frame, members, transcript);
    let is_short = members.get(Name::Short).is_some_and(RawJson::is_true);
    // Within a stream a piece of it may be cut short, such as a list.
    if is_short && transcript.finish.is_none() && (frame.source == Source::Document || is_end(frame, members)) {
        transcript.finish = Some(FinishReason::Limit);
        transcript.is_understood = true;
    }
}

/// Does as [`note_stop`] without that flag.
fn note_reason(frame: &Frame<'_>, members: &Members<'_>, transcript: &mut Transcript) {
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
    let own = members.get(Name::StopReason);
    if let Some(reason) = own.filter(says).or_else(|| reason_of_end(frame, members)) {
        return transcript.stopped(word_in(reason));
    }
    if members.has_any(models::SIGNS) && models::note_stop(RawJson::cut(frame.text), transcript) {
        return;
    }
    let mut reason = None;
    // A raw answer is read under `message`, too.
    for holder in within(frame, members).chain(members.get(Name::Message).filter(|message| message.is_object())) {
        let inner = Members::of(holder.raw());
        if inner.has_any(models::SIGNS) && models::note_stop(holder, transcript) {
            return;
        }
    }
    for holder in within(frame, members) {
        let inner = Members::of(holder.raw());
        reason_in(holder, &inner).into_iter().for_each(|other| duplicates::hear(&mut reason, other));
    }
    if let Some(reason) = reason.or_else(|| reason_in_metadata(RawJson::cut(frame.text), members)) {
        transcript.stopped(word_in(reason));
        // A model that finished is no run that finished.
        if transcript.finish.is_some() || transcript.failure.is_some() {
            return;
        }
    }
    const TEXTS: Names = STOP_HOLDERS.and(Name::Message);
    let asks = |name, value: RawJson<'_>| TEXTS.contains(name) && value.raw().get(1..).is_some_and(are_interrupts);
    let by_text = members.any(asks).then_some(FinishReason::Interrupt);
    if let Some(reason) = by_text.or_else(|| stop_by_state(frame, members)) {
        transcript.finish = Some(reason);
        transcript.is_understood = true;
    } else if let Some(nothing) = own {
        transcript.stopped(word_in(nothing));
    }
}

/// Returns the objects under the members that hold an answer, duplicates included. The message of a document is one of
/// them. In a stream a message is one of many.
fn within<'a>(frame: &Frame<'a>, members: &Members<'a>) -> impl Iterator<Item = RawJson<'a>> {
    let is_document = frame.source == Source::Document;
    let holders = if is_document { STOP_HOLDERS.and(Name::Message) } else { STOP_HOLDERS };
    let all = members.has_twice(holders).then(|| Members::all_objects(frame.text, holders));
    let first = all.is_none().then(|| members.objects(holders));
    all.into_iter().flatten().chain(first.into_iter().flatten())
}

/// Returns the reason if a member asks for a person, or a flag says that the run was interrupted or cancelled. Returns
/// `None` if none does.
fn stop_by_flag(members: &Members<'_>) -> Option<FinishReason> {
    const FLAGS: Names = Names::of(&ASKS).and(Name::Interrupted).and(Name::Cancelled);
    if !members.has_any(FLAGS) {
        return None;
    }
    let is_true = |name| members.get(name).is_some_and(RawJson::is_true);
    let asks = |value: RawJson<'_>| value.is_something() && !is_count(value) && !says_no(value);
    if ASKS.into_iter().any(|name| members.get(name).is_some_and(asks)) || is_true(Name::Interrupted) {
        return Some(FinishReason::Interrupt);
    }
    is_true(Name::Cancelled).then_some(FinishReason::Cancelled)
}

/// Returns true for a number of several, which may be a text: `pending_approval: 3` tells how many wait for somebody.
fn is_count(value: RawJson<'_>) -> bool {
    let count = value.as_count().or_else(|| value.whole_str()?.read(8).trim().parse().ok());
    count.is_some_and(|count| count > 1)
}

/// Returns true for a text that says no.
fn says_no(value: RawJson<'_>) -> bool {
    let is_no = |text: Str<'_>| text.read(8).trim().eq_ignore_ascii_case("no");
    value.whole_str().is_some_and(|text| is_no(text) || is_nothing_said(value))
}

/// Returns true if a frame about a tool asks a person: by a member, or by its `type` or `event`.
pub(super) fn asks(members: &Members<'_>) -> bool {
    stop_by_flag(members) == Some(FinishReason::Interrupt) || asks_by_kind(members)
}

/// Returns true if a frame's `type` or `event` is that of a question to a person.
fn asks_by_kind(members: &Members<'_>) -> bool {
    let word = |name| Some(members.get(name).and_then(RawJson::whole_str)?.read(64));
    let by_name = |name| stop_by_name(&word(name)?).filter(|reason| reason.waits());
    by_name(Name::Type).or_else(|| by_name(Name::Event)).is_some()
}

/// Returns true if a frame about a tool has the tool's result, which may be empty, but not null. What stands in a
/// question to a person is none, and an empty one beside a member that asks is none either.
pub(super) fn has_result(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    const RESULTS: Names = Names::of(&[Name::Result, Name::Output, Name::Content]);
    let is_question = || {
        let name = std::str::from_utf8(frame.name).ok().and_then(stop_by_name);
        name.is_some_and(FinishReason::waits) || asks_by_kind(members)
    };
    // A question may have an empty place for the result. A result may be empty, too: many tools print nothing.
    let asks = stop_by_flag(members) == Some(FinishReason::Interrupt);
    let is_result = |value: RawJson<'_>| if asks { value.is_something() } else { !value.is_null() };
    members.any(|name, value| RESULTS.contains(name) && is_result(value)) && !is_question()
}

/// Returns the `reason` of a frame at the end of the run ([`is_end`]), if it is a word that says how. It is often
/// prose, and must not hide what the frame says elsewhere. The `reason` of any other frame means other things.
fn reason_of_end<'a>(frame: &Frame<'_>, members: &Members<'a>) -> Option<RawJson<'a>> {
    let reason = members.get(Name::Reason)?;
    let word = word_in(reason)?.whole_str()?.read(64);
    let is_word = !word.contains(' ') && (FinishReason::from_wire(&word).is_some() || is_failure_word(&word));
    (is_word && is_end(frame, members)).then_some(reason)
}

/// Returns true if the `type` of a frame says that the run is over, or without a `type` its `event`, or without both
/// its name.
fn is_end(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    const ENDS: [&str; 8] = ["done", "end", "ended", "finish", "finished", "complete", "completed", "stop"];
    let is_end = |kind: &[u8]| ENDS.iter().any(|end| kind.eq_ignore_ascii_case(end.as_bytes()));
    let kind = members.get(Name::Type).or_else(|| members.get(Name::Event));
    match kind.and_then(RawJson::whole_str) {
        Some(kind) => is_end(kind.read(16).as_bytes()),
        None => kind.is_none() && is_end(frame.name),
    }
}

/// Returns the reason if the object under a member that holds an answer says that the agent waits for a person: by a
/// member that asks for one, or by its `status`, `state` or `type`. Beside the answer's text these three are of what
/// the answer is about. Other states in it always are. In a document, a part of the content may ask for an
/// approval ([`asks_in`]).
pub(super) fn waits_within(frame: &Frame<'_>, members: &Members<'_>) -> Option<FinishReason> {
    let is_beside_text = has_text(members);
    if frame.source == Source::Document && (asks_in_content(members) || has_interruptions(frame)) {
        return Some(FinishReason::Interrupt);
    }
    within(frame, members).find_map(|value| {
        let inner = Members::of(value.raw());
        let word = |name| inner.get(name).and_then(RawJson::whole_str).map(|word| word.read(64));
        let by_state = |name| FinishReason::from_wire(&word(name)?);
        let by_type = || stop_by_name(&word(Name::Type)?);
        let by_word = || by_state(Name::Status).or_else(|| by_state(Name::State)).or_else(by_type);
        let found = stop_by_flag(&inner).or_else(|| if is_beside_text { None } else { by_word() });
        found.filter(|reason| reason.waits())
    })
}

/// Returns true if a part of the content asks a person ([`asks_in`]). Text that the document has beside the content
/// counts as one behind it.
fn asks_in_content(members: &Members<'_>) -> bool {
    let is_text = |value: RawJson<'_>| value.whole_str().is_some_and(|text| !text.read(64).trim().is_empty());
    let has_text = || members.any(|name, value| name != Name::Content && STOP_HOLDERS.contains(name) && is_text(value));
    members.get(Name::Content).filter(|parts| parts.is_array()).is_some_and(|parts| asks_in(parts, has_text()))
}

/// Returns true if a document has the interruptions of a run of OpenAI's Agents SDK: tools that wait for an approval.
fn has_interruptions(frame: &Frame<'_>) -> bool {
    let interruptions = RawJson::cut(frame.text).get("interruptions");
    let mut kinds = interruptions.into_iter().flat_map(RawJson::elements).filter_map(|item| item.get("type"));
    kinds.any(|kind| kind.as_str().is_some_and(|kind| kind.is("tool_approval_item")))
}

/// Returns the stop reason in an object that holds the message, under any of its names, or else that in its metadata.
/// Returns `None` if none of them says something.
fn reason_in<'a>(object: RawJson<'a>, members: &Members<'a>) -> Option<RawJson<'a>> {
    members.get(Name::StopReason).filter(says).or_else(|| reason_in_metadata(object, members))
}

/// Returns the stop reason in an object's [`metadata`], or `None` if there is none that says something.
fn reason_in_metadata<'a>(object: RawJson<'a>, members: &Members<'a>) -> Option<RawJson<'a>> {
    metadata(object, members).find_map(|metadata| Members::of(metadata.raw()).get(Name::StopReason).filter(says))
}

/// Returns true if a stop reason says something. Gateways send an empty one beside the true one.
fn says(reason: &RawJson<'_>) -> bool {
    reason.is_something() && !is_nothing_said(*reason)
}

/// Returns the `metadata` beside an answer, and LangChain's `response_metadata`. `members` are those of the object.
fn metadata<'a>(object: RawJson<'a>, members: &Members<'a>) -> impl Iterator<Item = RawJson<'a>> {
    let picked = members.has(Name::Metadata).then(|| duplicates::pick(object, ["metadata", "response_metadata"]));
    picked.into_iter().flatten().flatten()
}

/// Returns true for reasons whose words are states of many things, too: windows are maximized, and tickets blocked.
fn is_of_things(reason: FinishReason) -> bool {
    matches!(reason, FinishReason::Limit | FinishReason::ContentFilter)
}

/// Returns the reason if the `status`, `state`, `type` or `event` of a frame says that the agent stopped, looked at in
/// this order. Returns `None` if none says so. A status "at work" counts only in a document without an answer that says
/// something: in a stream it is progress. A `state` of a limit or of blocked content does not count.
pub(super) fn stop_by_state(frame: &Frame<'_>, members: &Members<'_>) -> Option<FinishReason> {
    const STATES: Names = Names::of(&[Name::Status, Name::State, Name::Type, Name::Event]);
    if !members.has_any(STATES) {
        return None;
    }
    let word = |name| members.get(name).and_then(RawJson::whole_str).map(|word| word.read(64));
    let has_answer = || members.any(|name, value| WHOLE.contains(name) && value.is_something());
    let is_ticket = frame.source == Source::Document
        && !members.has_any(models::SIGNS)
        && !(members.has_any(WHOLE) && has_answer());
    let by_status =
        |name| FinishReason::from_wire(&word(name)?).filter(|reason| *reason != FinishReason::Working || is_ticket);
    by_status(Name::Status)
        .or_else(|| by_status(Name::State).filter(|reason| !is_of_things(*reason)))
        .or_else(|| stop_by_name(&word(Name::Type)?))
        .or_else(|| stop_by_name(&word(Name::Event)?))
}
