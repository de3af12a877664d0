//! How an answer says that its run failed, where no protocol says how: error members, statuses, flags and exceptions.

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::members::{Members, Name, is_exception};
use crate::agent::protocol::words::{error_text, message_of, message_of_frame, reported};
use crate::agent::transcript::Transcript;
use crate::domain::answer::Verdict;
use crate::json::scan::{self, RawJson};

/// Takes a frame that is none of a recognised protocol's own. An agent may still say in it that it failed, as the
/// AgentCore SDK does for whatever its agent streams. The failure is noted, and later text takes it back; only the
/// SDK's own error frame decides the run, because nothing comes behind it.
pub(super) fn failure_in(frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
    if !frame.text.starts_with(b"{") {
        return None;
    }
    let members = Members::of(frame.text);
    let failed = failure_of(frame, &members)?;
    transcript.is_understood = true;
    transcript.failure = Some(reported(failed.message));
    failed.is_final.then(|| transcript.last_word())
}

/// A failure that a frame reports.
pub(super) struct Failed {
    pub(super) message: Option<String>,
    /// It is the AgentCore SDK's own frame, behind which there is nothing.
    pub(super) is_final: bool,
}

/// Returns the failure that a frame reports, if it says that the run failed. A `type` or `event` of `error`, an
/// exception, and the AgentCore SDK's error frame always say so. An `error`, a status, a flag, and Lambda's form of an
/// error do so only where the frame is not about a tool: the errors of tools are the agent's own business. The SDK's
/// report that it could not serialize something (`original_type`) is no failure.
pub(super) fn failure_of(frame: &Frame<'_>, members: &Members<'_>) -> Option<Failed> {
    const SIGNS: [Name; 10] = [
        Name::Error,
        Name::ErrorMessage,
        Name::Errors,
        Name::Event,
        Name::Exception,
        Name::IsError,
        Name::Status,
        Name::StatusCode,
        Name::Success,
        Name::Type,
    ];
    if !members.has_any(&SIGNS) {
        return None;
    }
    let word = |name| members.get(name).and_then(RawJson::whole_str);
    let is_error_by_type = members.is(Name::Type, "error") || members.is(Name::Event, "error");
    let exception = exception_of(members);
    let is_final = !members.has(Name::Type)
        && matches!((members.get(Name::Error), members.get(Name::ErrorKind)), (Some(error), Some(kind))
            if !(error.is_null() && kind.is_null()));
    let by_error = || members.get(Name::Error).is_some_and(RawJson::is_something) && !members.has(Name::OriginalType);
    let by_status = || {
        // RFC 9457's problem documents tell the status as a number.
        let code = members.get(Name::Status).and_then(RawJson::as_count);
        code.is_some_and(|code| (400..600).contains(&code))
            || word(Name::Status)
                .is_some_and(|status| ["error", "failed"].iter().any(|name| status.read(8).eq_ignore_ascii_case(name)))
    };
    let by_flag = || {
        members.get(Name::Success).is_some_and(RawJson::is_false)
            || members.get(Name::IsError).is_some_and(RawJson::is_true)
            || members.get(Name::Errors).is_some_and(|errors| errors.is_array() && errors.is_something())
    };
    let by_lambda = || {
        let code = members.get(Name::StatusCode);
        let code = code.and_then(|code| code.as_count().or_else(|| code.whole_str()?.read(8).parse().ok()));
        members.has(Name::ErrorMessage) && members.has(Name::ErrorType) || code.is_some_and(|code| code >= 400)
    };
    let is_failure = is_error_by_type
        || exception.is_some()
        || is_final
        || (!is_tools(frame, members) && (by_error() || by_status() || by_flag() || by_lambda()));
    if !is_failure {
        return None;
    }
    let message = match exception {
        Some(exception) => error_text(exception),
        None => {
            let value = if members.is_closed { RawJson::whole(frame.text) } else { RawJson::cut(frame.text) };
            message_of(value, &[]).or_else(|| message_of_frame(frame).filter(|_| is_final))
        }
    };
    Some(Failed { message, is_final })
}

/// Returns an exception of Bedrock's kind, at the top or within `event`. The one at the top comes first.
fn exception_of<'a>(members: &Members<'a>) -> Option<RawJson<'a>> {
    members.get(Name::Exception).or_else(|| {
        let event = members.get(Name::Event).filter(|event| event.is_object())?;
        scan::Members::of(event.raw()).find(|(name, value)| is_exception(name.raw(), *value)).map(|(_, value)| value)
    })
}

/// Returns true if a frame is about a tool: its errors and its texts are the tool's, not the agent's. The one document of
/// an answer may name a tool beside what the agent says.
pub(super) fn is_tools(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    if !members.has_any(&[Name::Tool, Name::Type, Name::Event, Name::Role]) {
        return false;
    }
    let names_tool = |name| {
        members.get(name).and_then(RawJson::whole_str).is_some_and(|word| {
            let word = word.raw();
            word.len() >= 4 && word[..4].eq_ignore_ascii_case(b"tool")
        })
    };
    (frame.source != Source::Document && members.get(Name::Tool).is_some_and(RawJson::is_something))
        || names_tool(Name::Type)
        || names_tool(Name::Event)
        || members.is(Name::Role, "tool")
}
