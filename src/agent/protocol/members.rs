//! The members of a frame that recognition and the generic dialect ask for, found in one pass.

use crate::agent::framing::Frame;
use crate::json::scan::{self, RawJson};

macro_rules! names {
    ($($variant:ident $(= $word:literal)+,)*) => {
        /// A member that somebody asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Name { $($variant,)* }

        impl Name {
            const COUNT: usize = [$(Name::$variant,)*].len();

            fn of(word: &[u8]) -> Option<Name> {
                // The words differ in their length nearly always: a `match` compares that first.
                match word {
                    $($($word)|+ => Some(Name::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

names! {
    Type = b"type",
    Event = b"event",
    Error = b"error",
    ErrorKind = b"error_type",
    OriginalType = b"original_type",
    Status = b"status",
    Success = b"success",
    IsError = b"isError",
    Errors = b"errors",
    ErrorMessage = b"errorMessage",
    ErrorType = b"errorType",
    StatusCode = b"statusCode",
    StopReason = b"stop_reason" = b"stopReason" = b"finish_reason" = b"finishReason",
    Data = b"data",
    Text = b"text",
    Content = b"content",
    Chunk = b"chunk",
    Token = b"token",
    Delta = b"delta",
    Response = b"response",
    Answer = b"answer",
    Result = b"result",
    Output = b"output",
    Message = b"message",
    Usage = b"usage" = b"usageMetadata" = b"usage_metadata",
    Metadata = b"metadata",
    Role = b"role",
    Tool = b"tool_call_id" = b"toolCallId" = b"tool_use_id" = b"toolUseId" = b"tool_name" = b"toolName"
        = b"tool" = b"toolResult" = b"tool_result",
    InitEventLoop = b"init_event_loop",
    ForceStop = b"force_stop",
    ToolInterrupt = b"tool_interrupt_event",
    Jsonrpc = b"jsonrpc",
    Object = b"object",
    RunId = b"runId",
    Payload = b"payload",
    InvocationId = b"invocationId",
    Author = b"author",
    MessageStart = b"messageStart",
    Messages = b"messages",
    GraphError = b"__error__",
    GraphInterrupt = b"__interrupt__",
    Exception = b"",
}

/// The members of one object. Of duplicates the first counts, but an error must not hide behind a null.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    found: [Option<RawJson<'a>>; Name::COUNT],
    /// The object has its end, and nothing is behind it.
    pub(crate) is_closed: bool,
    /// The object is not empty.
    pub(crate) is_any: bool,
}

impl<'a> Members<'a> {
    pub(crate) fn of(object: &'a [u8]) -> Members<'a> {
        let mut members = Members { found: [None; Name::COUNT], is_closed: false, is_any: false };
        let mut rest = scan::Members::of(object);
        for (name, value) in &mut rest {
            members.is_any = true;
            let raw = name.raw();
            let known = match raw.contains(&b'\\') {
                false => Name::of(raw),
                true => Name::of(name.read(32).as_bytes()),
            };
            let known = known.filter(|known| *known != Name::Exception);
            let known = known.or_else(|| is_exception(raw, value).then_some(Name::Exception));
            let Some(known) = known else { continue };
            let slot = &mut members.found[known as usize];
            match slot {
                None => *slot = Some(value),
                Some(seen) if known == Name::Error && !seen.is_something() => *slot = Some(value),
                Some(_) => {}
            }
        }
        members.is_closed = rest.is_closed();
        members
    }

    /// The members of a frame, if it is an object.
    pub(crate) fn of_frame(frame: &Frame<'a>) -> Option<Members<'a>> {
        frame.text.starts_with(b"{").then(|| Members::of(frame.text))
    }

    pub(crate) fn get(&self, name: Name) -> Option<RawJson<'a>> {
        self.found[name as usize]
    }

    pub(crate) fn has(&self, name: Name) -> bool {
        self.found[name as usize].is_some()
    }

    /// Returns true if the member is this string.
    pub(crate) fn is(&self, name: Name, word: &str) -> bool {
        self.get(name).and_then(RawJson::whole_str).is_some_and(|value| value.is(word))
    }

    /// Returns true if the member is an object.
    pub(crate) fn has_object(&self, name: Name) -> bool {
        self.get(name).is_some_and(RawJson::is_object)
    }

    /// Returns true if the member is an object or an array.
    pub(crate) fn has_container(&self, name: Name) -> bool {
        self.get(name).is_some_and(|value| value.is_object() || value.is_array())
    }
}

/// Returns true if a member is an exception of Bedrock's kind, such as `throttlingException`.
pub(crate) fn is_exception(name: &[u8], value: RawJson<'_>) -> bool {
    name.len() > "Exception".len()
        && name.ends_with(b"Exception")
        && (value.is_object() || value.as_str().is_some())
        && value.is_something()
}
