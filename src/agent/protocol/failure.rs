//! The signs by which an answer without a protocol reports that its run failed: error members, statuses, flags and
//! exceptions.

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::members::{Members, Name, Names, is_exception};
use crate::agent::protocol::names::is_failure_word;
use crate::agent::protocol::words::{error_text, message_of, message_of_frame};
use crate::json::scan::{self, RawJson, Str};

/// A failure that a frame reports.
pub(crate) struct Failed {
    pub(crate) message: Option<String>,
    /// True for the AgentCore SDK's own frame, after which nothing comes.
    pub(crate) is_final: bool,
}

/// The members that may report a failure.
pub(super) const SIGNS: Names = Names::of(&[
    Name::Kind,
    Name::Code,
    Name::Error,
    Name::ErrorCode,
    Name::ErrorMessage,
    Name::Errors,
    Name::Event,
    Name::Exception,
    Name::ExceptionText,
    Name::Failed,
    Name::GraphError,
    Name::IsError,
    Name::Ok,
    Name::Status,
    Name::StatusCode,
    Name::Success,
    Name::Type,
    Name::ErrorKind,
]);

/// The members that hold an answer, and may hold the failure in its place.
pub(super) const HOLDERS: Names = Names::of(&[
    Name::Data,
    Name::Content,
    Name::Event,
    Name::Response,
    Name::Answer,
    Name::Result,
    Name::Output,
    Name::Message,
]);

/// Returns the failure that a frame reports, or `None` if it reports none. A `type` or `event` of `error`, an
/// exception, and the AgentCore SDK's error frame always report one. Any other sign counts only if the frame is not
/// about a tool, because the agent itself deals with the errors of tools. The object in a member that holds an answer
/// may report the failure as well. The SDK's report that it could not serialize something (`original_type`) is no
/// failure.
pub(crate) fn failure_of(frame: &Frame<'_>, members: &Members<'_>) -> Option<Failed> {
    let mut nested = members.objects(HOLDERS).peekable();
    if nested.peek().is_none() && !members.has_any(SIGNS) {
        return None;
    }
    let is_error_by_type = members.is(Name::Type, "error") || members.is(Name::Event, "error");
    let exception = exception_of(members);
    let is_final = !members.has(Name::Type)
        && matches!((members.get(Name::Error), members.get(Name::ErrorKind)), (Some(error), Some(kind))
            if !(error.is_null() && kind.is_null()));
    let is_certain = is_error_by_type || exception.is_some() || is_final;
    if !is_certain && is_tools(frame, members) {
        return None;
    }
    if is_certain || says_failed(members) {
        let message = match exception {
            Some(exception) => error_text(exception),
            None => {
                let value = if members.is_closed { RawJson::whole(frame.text) } else { RawJson::cut(frame.text) };
                message_of(value, &[]).or_else(|| message_of_frame(frame).filter(|_| is_final))
            }
        };
        return Some(Failed { message, is_final });
    }
    nested.find_map(|value| {
        let inner = Members::of(value.raw());
        let exception = exception_of(&inner);
        let is_failure =
            !is_tools(frame, &inner) && (inner.is(Name::Type, "error") || exception.is_some() || says_failed(&inner));
        is_failure
            .then(|| Failed { message: exception.map_or_else(|| message_of(value, &[]), error_text), is_final: false })
    })
}

/// Returns true if the members of an object that is about no tool say that the run failed.
fn says_failed(members: &Members<'_>) -> bool {
    const ANSWERS: Names =
        Names::of(&[Name::Data, Name::Text, Name::Content, Name::Answer, Name::Result, Name::Output]);
    let get = |name| members.get(name);
    let is_failure_word = |value: Option<RawJson<'_>>| value.and_then(RawJson::whole_str).is_some_and(is_failure);
    let is_text = |name| get(name).is_some_and(|value| value.is_something() && !is_nothing_said(value));
    // A count may be written as a text.
    let count =
        |name| get(name).and_then(|code| code.as_count().or_else(|| code.whole_str()?.read(8).trim().parse().ok()));
    let is_flag = |name, flag: &str| {
        get(name).is_some_and(|value| {
            value.raw() == flag.as_bytes()
                || value.whole_str().is_some_and(|word| word.read(8).eq_ignore_ascii_case(flag))
        })
    };
    let by_error = || is_text(Name::Error) && !members.has(Name::OriginalType);
    // RFC 9457's problem documents tell the status as a number.
    let by_status = || {
        // JSend's `fail` is the caller's fault, and says nothing of the run.
        (is_failure_word(get(Name::Status)) && !members.is(Name::Status, "fail"))
            || get(Name::Status).and_then(RawJson::as_count).is_some_and(|code| (400..600).contains(&code))
    };
    let by_flag = || {
        [Name::Success, Name::Ok].into_iter().any(|name| is_flag(name, "false"))
            || [Name::IsError, Name::Failed].into_iter().any(|name| is_flag(name, "true"))
    };
    let by_text = || {
        [Name::Errors, Name::ErrorMessage, Name::ExceptionText, Name::GraphError].into_iter().any(is_text)
            || (is_text(Name::ErrorCode) && !is_word_of_success(get(Name::ErrorCode)))
    };
    // A bare `code` is many things. Beside nothing but a message it is a status.
    let by_code = || {
        count(Name::StatusCode).is_some_and(|code| code >= 400)
            || (count(Name::Code).is_some_and(|code| (400..600).contains(&code))
                && members.has(Name::Message)
                && !members.has_any(ANSWERS))
    };
    let by_name = || [Name::Type, Name::Event, Name::Kind].into_iter().any(|name| is_failure_word(get(name)));
    by_error() || by_status() || by_flag() || by_text() || by_code() || by_name()
}

/// Returns true if a word says that something failed.
fn is_failure(word: Str<'_>) -> bool {
    // Nearly every type is none: no copy is made of it.
    const HINTS: [&[u8]; 5] = [b"err", b"fai", b"exc", b"cra", b"fat"];
    let hints = |part: &[u8]| HINTS.iter().any(|hint| part.eq_ignore_ascii_case(hint));
    (word.has_escapes() || word.raw().windows(3).take(64).any(hints)) && is_failure_word(&word.read(64))
}

/// Returns true for texts without meaning, such as the placeholders of languages, and for an object whose code is 0.
fn is_nothing_said(value: RawJson<'_>) -> bool {
    if value.is_object() {
        let [code, message] = scan::pick(value.raw(), ["code", "message"]);
        let message = message.and_then(RawJson::as_str).map(|text| text.read(16).to_ascii_lowercase());
        return code.is_some_and(|code| code.raw() == b"0")
            && message.is_none_or(|text| matches!(text.as_str(), "" | "ok" | "success"));
    }
    value.whole_str().is_some_and(|text| {
        matches!(text.read(16).trim().to_ascii_lowercase().as_str(), "" | "none" | "null" | "false" | "undefined")
    })
}

/// Returns true if a code says that nothing went wrong.
fn is_word_of_success(value: Option<RawJson<'_>>) -> bool {
    let word = value.and_then(RawJson::whole_str).map(|word| word.read(16).to_ascii_lowercase());
    word.is_some_and(|word| matches!(word.as_str(), "0" | "ok" | "success" | "no_error" | "200"))
        || value.and_then(RawJson::as_count).is_some_and(|code| code < 400)
}

/// Returns an exception of Bedrock's kind, at the top or within `event`. The one at the top comes first.
fn exception_of<'a>(members: &Members<'a>) -> Option<RawJson<'a>> {
    members.get(Name::Exception).or_else(|| {
        let event = members.get(Name::Event).filter(|event| event.is_object())?;
        scan::Members::of(event.raw()).find(|(name, value)| is_exception(name.raw(), *value)).map(|(_, value)| value)
    })
}

/// Returns true if a frame is about a tool: its errors and its texts are the tool's, not the agent's. The one document
/// of an answer may name a tool beside the agent's words.
pub(super) fn is_tools(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    let is_tools_name = |name: &[u8]| name.len() >= 4 && name[..4].eq_ignore_ascii_case(b"tool");
    if is_tools_name(frame.name) {
        return true;
    }
    if !members.has_any(const { Names::of(&[Name::Tool, Name::Type, Name::Event, Name::Role]) }) {
        return false;
    }
    let names_tool =
        |name| members.get(name).and_then(RawJson::whole_str).is_some_and(|word| is_tools_name(word.raw()));
    (frame.source != Source::Document && members.get(Name::Tool).is_some_and(RawJson::is_something))
        || names_tool(Name::Type)
        || names_tool(Name::Event)
        || members.is(Name::Role, "tool")
}
