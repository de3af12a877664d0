//! The signs by which an answer without a protocol reports that its run failed: error members, statuses, flags and
//! exceptions.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::members::{ANSWERS, Members, Name, Names, WHOLE, is_exception};
use crate::agent::protocol::names::{is_failure_word, name_of};
use crate::agent::protocol::words::{error_text, message_of, message_of_frame, push_answer, reported, word_in};
use crate::domain::answer::AnswerError;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson, Str};
use crate::json::text::BoundedText;

/// The beginning of a line of a JavaScript trace, as it stands in a JSON string.
static STACK_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br"\n    at "));

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
    Name::Result,
    Name::Sole,
    Name::Ok,
    Name::Stack,
    Name::State,
    Name::Status,
    Name::StatusCode,
    Name::Succeeded,
    Name::Success,
    Name::Type,
    Name::ErrorKind,
]);

/// The members that hold an answer, and may hold the failure in its place.
pub(super) const HOLDERS: Names = Names::of(&ANSWERS).and(Name::Event).and(Name::Message);

/// Returns the failure that a frame reports, or `None` if it reports none. A `type` or `event` of `error`, an
/// exception, and the AgentCore SDK's error frame always report one. Any other sign counts only if the frame is not
/// about a tool, because the agent itself deals with the errors of tools. The object in a member that holds an answer
/// may report the failure as well, and so may each of several of one name. The SDK's report that it could not serialize
/// something (`original_type`) is no failure.
pub(crate) fn failure_of(frame: &Frame<'_>, members: &Members<'_>) -> Option<Failed> {
    let top = if frame.source == Source::Document { Place::Document } else { Place::Frame };
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
    if is_certain || says_failed(members, top) || is_sole_report(frame, members) {
        let message = match exception {
            Some(exception) => error_text(exception),
            None => {
                let value = if members.is_closed { RawJson::whole(frame.text) } else { RawJson::cut(frame.text) };
                message_of(value, &[]).or_else(|| message_of_frame(frame).filter(|_| is_final))
            }
        };
        return Some(Failed { message, is_final });
    }
    let place = if nested.peek().is_some() && has_text(members) { Place::BesideText } else { Place::Answer };
    let found = nested.find_map(|value| failure_in(frame, value, place));
    if found.is_some() || !members.has_twice(HOLDERS) {
        return found;
    }
    Members::all_objects(frame.text, HOLDERS).find_map(|value| failure_in(frame, value, place))
}

/// Returns true if a document has one member alone, and that is `detail` or another that reports a failure. Web
/// frameworks answer an error so.
fn is_sole_report(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    frame.source == Source::Document
        && members.get(Name::Sole).is_some_and(|value| value.is_something() && !is_nothing_said(value))
        && scan::Members::of(frame.text).count() == 1
}

/// Returns the failure that the object in a member of a frame reports. Returns `None` if it reports none or is about a
/// tool.
fn failure_in(frame: &Frame<'_>, value: RawJson<'_>, place: Place) -> Option<Failed> {
    let inner = Members::of(value.raw());
    let exception = exception_of(&inner);
    let is_failure = !is_tools(frame, &inner)
        && (inner.is(Name::Type, "error") || exception.is_some() || says_failed(&inner, place));
    is_failure
        .then(|| Failed { message: exception.map_or_else(|| message_of(value, &[]), error_text), is_final: false })
}

/// Returns the failure that an `error`, or a `type` of that word, reports beside what a frame of a protocol's own says.
/// Returns `None` if there is none. The error of a tool is the tool's, and the agent itself deals with it. An `error`
/// beside an `original_type` is the SDK's report that it could not serialize something, and no failure.
pub(crate) fn error_beside(frame: &Frame<'_>) -> Option<AnswerError> {
    // Nearly no frame has the name, and this costs the least.
    static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"rror\""));
    if !frame.text.starts_with(b"{") || NAME.find(frame.text).is_none() {
        return None;
    }
    let members = Members::of(frame.text);
    let kind = members.get(Name::Type).and_then(RawJson::whole_str).map(|kind| kind.read(64).to_ascii_lowercase());
    let is_tools = is_tools(frame, &members) || kind.is_some_and(|kind| kind.contains("tool"));
    let is_error = members.get(Name::Error).is_some_and(|error| Name::Error.says_failed(error));
    let says_failed = is_error && !members.has(Name::OriginalType) || members.is(Name::Type, "error");
    (says_failed && !is_tools).then(|| reported(message_of(RawJson::cut(frame.text), &[])))
}

/// Where an object stands whose members may say that the run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is the one document of the answer.
    Document,
    /// It is a frame of a stream.
    Frame,
    /// It stands in the place of the answer.
    Answer,
    /// It stands beside the answer's text, and may be what the answer is about.
    BesideText,
}

/// Returns true if a member that holds an answer is a text that is not empty, or a list of parts with text.
pub(super) fn has_text(members: &Members<'_>) -> bool {
    const HOLDING: Names = Names::of(&ANSWERS);
    let is_part = |part: RawJson<'_>| {
        let mut text = BoundedText::new(8);
        if part.is_object() {
            push_answer(part, &mut text, 2);
        }
        !text.is_empty()
    };
    let is_text = |value: RawJson<'_>| match value.as_str() {
        Some(text) => !text.is_empty(),
        None => value.is_array() && value.elements().any(is_part),
    };
    members.has_any(HOLDING) && members.any(|name, value| HOLDING.contains(name) && is_text(value))
}

/// Returns true if one of the members says by [`Name::says_failed`] that the run failed. An `error` beside an
/// `original_type` does not count. A `code` and a `stack` count only without an answer. A `code` must stand beside a
/// `message`, and then be one of failure ([`is_code_of_failure`]), or beside a `msg` that tells of it ([`is_refusal`]).
/// A 0 under `success` or `ok` counts only beside a `message`, without an answer and without a count of errors. A
/// `state`, a `stack` and a `code` do not count beside the answer's text. JSend's `fail` counts only as the `status` of a
/// frame without the text of an answer. A word of failure under `result` counts only in a frame, beside a `message` or
/// a
/// `msg` that does not tell of success, and without another answer. The object must not be about a tool.
fn says_failed(members: &Members<'_>, place: Place) -> bool {
    let has_answer =
        || members.has_any(WHOLE) && members.any(|name, value| WHOLE.contains(name) && value.is_something());
    let has_other_answer =
        || members.any(|name, value| name != Name::Result && WHOLE.contains(name) && value.is_something());
    let is_top = matches!(place, Place::Document | Place::Frame);
    members.has_any(SIGNS)
        && members.any(|name, value| {
            name.says_failed(value)
                && match name {
                    Name::Error => !members.has(Name::OriginalType),
                    // A bare `code` is many things. Beside nothing but a message it is a status.
                    Name::Code => {
                        let is_sure = is_code_of_failure(value);
                        // An empty `msg` beside a `message` tells nothing.
                        let is_told = |msg: &RawJson<'_>| msg.is_something() || !members.has(Name::Message);
                        let is_told = members.has(Name::Message) && is_sure
                            || members
                                .get(Name::Msg)
                                .filter(is_told)
                                .is_some_and(|msg| is_refusal(msg, is_sure, place));
                        is_told && place != Place::BesideText && !has_answer()
                    }
                    // A 0 may be a count.
                    Name::Success | Name::Ok if value.raw() == b"0" => {
                        let is_tally = |name| members.get(name).is_some_and(|count| count.as_count().is_some());
                        let is_count = members.has(Name::Failed) || is_tally(Name::Errors) || is_tally(Name::Error);
                        members.has(Name::Message) && !is_count && !has_answer()
                    }
                    Name::Status | Name::State if is_fail(value) => {
                        name == Name::Status && is_top && !has_text(members)
                    }
                    Name::State => place != Place::BesideText,
                    Name::Result => {
                        let is_told = members.has(Name::Message)
                            || members.get(Name::Msg).is_some_and(|msg| msg.is_something() && !tells_success(msg));
                        is_top && is_told && !has_other_answer()
                    }
                    Name::Stack => place != Place::BesideText && !has_answer(),
                    _ => true,
                }
        })
}

impl Name {
    /// Returns true if `value`, the value of a member of this name, says that the run failed:
    ///
    /// - `error`, `errors`, `exception` and its like, an error of the graph: it is not empty, and [`is_nothing_said`]
    ///   does not hold.
    /// - `errorMessage`, `errorCode`: so, too, and it is no word of success or number below 400.
    /// - `status`, `state`: a word of failure. `status`: a number from 400 to 599, too.
    /// - `result`: it is `error`, `failed`, `failure` or `fail`, in any case.
    /// - `success`, `ok`: false or 0. `succeeded`: false. `isError`, `failed`: true. Each but the 0 may be a text.
    /// - `statusCode`: at least 400. `code`: at least 400, negative, a word of failure, or a code of Node's, such as
    ///   `ERR_X`. A number may be a text.
    /// - `stack`: it has a line of a JavaScript trace.
    /// - `type`, `event`, `kind`: a word of failure.
    ///
    /// Any other name says nothing of it. [`exception_of`] finds Bedrock's exceptions.
    pub(super) fn says_failed(self, value: RawJson<'_>) -> bool {
        let is_said = || value.is_something() && !is_nothing_said(value);
        let is_failure_word = || value.whole_str().is_some_and(is_failure);
        // A count may be written as a text.
        let count = || value.as_count().or_else(|| value.whole_str()?.read(8).trim().parse().ok());
        let is_flag = |flag: &str| {
            value.raw() == flag.as_bytes()
                || value.whole_str().is_some_and(|word| word.read(8).eq_ignore_ascii_case(flag))
        };
        match self {
            Name::Error | Name::Errors | Name::ExceptionText | Name::GraphError => is_said(),
            Name::ErrorCode | Name::ErrorMessage => is_said() && !is_word_of_success(value),
            // RFC 9457's problem documents tell the status as a number.
            Name::Status | Name::State => {
                is_failure_word() || self == Name::Status && count().is_some_and(|code| (400..600).contains(&code))
            }
            Name::Result => value.whole_str().is_some_and(|word| {
                let is_word = |failure: &&str| word.raw().eq_ignore_ascii_case(failure.as_bytes());
                ["error", "failed", "failure", "fail"].iter().any(is_word)
            }),
            Name::Success | Name::Ok => is_flag("false") || value.raw() == b"0",
            Name::Succeeded => is_flag("false"),
            Name::IsError | Name::Failed => is_flag("true"),
            Name::StatusCode => count().is_some_and(|code| code >= 400),
            Name::Code => count().is_some_and(|code| code >= 400) || is_code_of_failure(value),
            // Nothing but a trace has such lines: the stack of an infrastructure has none.
            Name::Stack => value.whole_str().is_some_and(|stack| STACK_LINE.find(stack.raw()).is_some()),
            Name::Type | Name::Event | Name::Kind => is_failure_word(),
            _ => false,
        }
    }

    /// Returns how much a member of this name says of the run's end: 3 if it says that the run failed, 2 if that it
    /// stopped short, 1 if it says anything else, and 0 if it says nothing.
    pub(super) fn weight(self, value: RawJson<'_>) -> u8 {
        let is_reason = matches!(self, Name::StopReason | Name::Status | Name::State);
        let word = if is_reason { word_in(value).and_then(RawJson::whole_str) } else { None }.map(|word| word.read(64));
        let word = word.as_deref().unwrap_or_default();
        if self.says_failed(value) || self == Name::StopReason && is_failure_word(word) {
            3
        } else if FinishReason::from_wire(word).is_some() {
            2
        } else {
            u8::from(value.is_something())
        }
    }
}

/// Returns true for JSend's `fail`, in any case.
fn is_fail(word: RawJson<'_>) -> bool {
    word.whole_str().is_some_and(|word| word.raw().eq_ignore_ascii_case(b"fail"))
}

/// Returns true if the `msg` beside a code from 400 on, or a negative one, tells of a refusal. API platforms have codes
/// of their own for success, too: if the code `is_sure` to be of a failure, any `msg` tells of it that is no word of
/// success. Any other counts only in a document, and if its `msg` does not tell of success.
fn is_refusal(msg: RawJson<'_>, is_sure: bool, place: Place) -> bool {
    !is_word_of_success(msg) && (is_sure || place == Place::Document && !tells_success(msg))
}

/// Returns true if the first 256 bytes of a text tell of success, and do not deny it.
fn tells_success(text: RawJson<'_>) -> bool {
    const WHOLE: [&str; 4] = ["done", "finished", "complete", "completed"];
    const WORDS: [&str; 4] = ["success", "succeeded", "成功", "完成"];
    const DENIALS: [&str; 8] = ["unsuccess", "not ", "n't ", "no success", "without success", "不", "未", "没"];
    let told = text.whole_str().map(|text| text.read(256).to_ascii_lowercase()).unwrap_or_default();
    let has = |words: &[&str]| words.iter().any(|word| told.contains(word));
    WHOLE.contains(&told.trim()) || has(&WORDS) && !has(&DENIALS)
}

/// Returns true for a code from 400 to 599 and a negative one, which may be texts, a word of failure, and a code of
/// Node's.
fn is_code_of_failure(code: RawJson<'_>) -> bool {
    let word = code.whole_str();
    let count = code.as_count().or_else(|| word?.read(8).trim().parse().ok());
    count.is_some_and(|code| (400..600).contains(&code))
        || code.raw().starts_with(b"-")
        || word.is_some_and(|word| is_failure(word) || word.raw().starts_with(b"ERR_") || is_negative(word))
}

/// Returns true if a text is a negative number.
fn is_negative(text: Str<'_>) -> bool {
    text.read(16).trim().parse::<i64>().is_ok_and(|number| number < 0)
}

/// Returns true if the first 64 bytes of a word say that something failed, as [`is_failure_word`] decides.
fn is_failure(word: Str<'_>) -> bool {
    // Nearly every type is none: no copy is made of it.
    const HINTS: [&[u8]; 5] = [b"err", b"fai", b"exc", b"cra", b"fat"];
    let hints = |part: &[u8]| HINTS.iter().any(|hint| part.eq_ignore_ascii_case(hint));
    (word.has_escapes() || word.raw().windows(3).take(64).any(hints)) && is_failure_word(&word.read(64))
}

/// Returns true for a text that is blank, `none`, `null`, `false`, `undefined`, `n/a` or `0`, in any case, for an
/// object whose `code` is 0 and whose `message` is absent, empty, `ok` or `success`, and for one with nothing but
/// nulls.
pub(super) fn is_nothing_said(value: RawJson<'_>) -> bool {
    if value.is_object() {
        let [code, message] = scan::pick(value.raw(), ["code", "message"]);
        let message = message.and_then(RawJson::as_str).map(|text| text.read(16).to_ascii_lowercase());
        let mut members = scan::Members::of(value.raw());
        return code.is_some_and(|code| matches!(code.raw(), b"0" | b"\"0\""))
            && message.is_none_or(|text| matches!(text.as_str(), "" | "ok" | "success"))
            || members.by_ref().all(|(_, value)| value.is_null()) && members.is_closed();
    }
    const NOTHING: [&str; 7] = ["", "none", "null", "false", "undefined", "n/a", "0"];
    value.whole_str().is_some_and(|text| NOTHING.contains(&text.read(16).trim().to_ascii_lowercase().as_str()))
}

/// Returns true if a code says that nothing went wrong: a word such as `ok`, or a number below 400, which may be a
/// text.
fn is_word_of_success(value: RawJson<'_>) -> bool {
    const WORDS: [&str; 7] = ["ok", "success", "successful", "no_error", "no error", "no errors", "成功"];
    let word = value.whole_str().map(|word| word.read(16).to_ascii_lowercase()).unwrap_or_default();
    let word = word.trim().trim_end_matches('.');
    WORDS.contains(&word) || value.as_count().or_else(|| word.parse().ok()).is_some_and(|code: u64| code < 400)
}

/// Returns an exception of Bedrock's kind: the one at the top of the object, or otherwise the first within its `event`.
/// Returns `None` if there is none.
fn exception_of<'a>(members: &Members<'a>) -> Option<RawJson<'a>> {
    members.get(Name::Exception).or_else(|| {
        let event = members.get(Name::Event).filter(|event| event.is_object())?;
        scan::Members::of(event.raw())
            .find(|(name, value)| is_exception(&name_of(*name), *value))
            .map(|(_, value)| value)
    })
}

/// Returns true if a frame is about a tool, so that its errors and its texts are the tool's, not the agent's: the
/// frame's name, its `type` or its `event` begins with `tool`, its role is `tool`, or it names a tool. The one document
/// of an answer may name a tool beside the agent's words.
pub(super) fn is_tools(frame: &Frame<'_>, members: &Members<'_>) -> bool {
    if is_of_tool(frame.name) {
        return true;
    }
    if !members.has_any(const { Names::of(&[Name::Tool, Name::Type, Name::Event, Name::Role]) }) {
        return false;
    }
    let names_tool =
        |name| members.get(name).and_then(RawJson::whole_str).is_some_and(|word| is_of_tool(&name_of(word)));
    (frame.source != Source::Document && members.get(Name::Tool).is_some_and(RawJson::is_something))
        || names_tool(Name::Type)
        || names_tool(Name::Event)
        || members.is(Name::Role, "tool")
}

/// Returns true if a name begins with `tool`, in any case.
pub(super) fn is_of_tool(name: &[u8]) -> bool {
    name.len() >= 4 && name[..4].eq_ignore_ascii_case(b"tool")
}
