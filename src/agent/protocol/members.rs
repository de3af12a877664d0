//! The members of a frame that recognition and the generic dialect ask for, found in one pass.

use crate::agent::protocol::names::name_of;
use crate::json::scan::{self, RawJson, Str};

macro_rules! names {
    ($($(#[$doc:meta])* $variant:ident $(= $word:literal)+,)*) => {
        /// A member that somebody asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Name { $($(#[$doc])* $variant,)* }

        impl Name {
            /// Returns the bit of this name in a set.
            const fn bit(self) -> u64 {
                1 << self as u64
            }

            /// Returns the member's name, the first of its spellings.
            pub(crate) fn word(self) -> &'static [u8] {
                match self { $(Name::$variant => [$($word as &[u8]),+][0],)* }
            }

            #[cfg(test)]
            const SPELLINGS: &[&[u8]] = &[$($($word as &[u8]),+),*];

            /// Returns the name that `word` is a spelling of, or `None` if it is none.
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
    Error = b"error" = b"Error" = b"ERROR" = b"err",
    ErrorKind = b"error_type",
    OriginalType = b"original_type",
    Status = b"status",
    State = b"state",
    Success = b"success" = b"isSuccess" = b"is_success",
    Succeeded = b"succeeded",
    IsError = b"isError" = b"is_error" = b"hasError" = b"has_error",
    Ok = b"ok",
    Failed = b"failed" = b"hasFailed" = b"has_failed",
    Errors = b"errors",
    ErrorMessage = b"errorMessage" = b"error_message" = b"errorMsg" = b"error_msg" = b"errMsg" = b"err_msg" = b"errmsg",
    ErrorCode = b"errorCode" = b"error_code",
    Code = b"code",
    Msg = b"msg",
    StatusCode = b"statusCode" = b"status_code" = b"httpStatus" = b"http_status",
    ExceptionText = b"exception" = b"Exception" = b"traceback" = b"fault",
    Stack = b"stack" = b"stackTrace",
    /// It reports a failure if it is all that a document has.
    Sole = b"detail" = b"failure" = b"failureReason" = b"failure_reason",
    Kind = b"kind" = b"event_type" = b"eventType",
    Choices = b"choices",
    StopReason = b"stop_reason" = b"stopReason" = b"finish_reason" = b"finishReason" = b"done_reason"
        = b"stopreason" = b"StopReason",
    Tripwire = b"tripwire",
    Interrupt = b"interrupt",
    NeedsApproval = b"requires_approval" = b"requiresApproval" = b"needs_approval" = b"needsApproval"
        = b"approval_required" = b"approvalRequired" = b"awaiting_approval" = b"awaitingApproval"
        = b"pending_approval" = b"pendingApproval",
    Cancelled = b"cancelled" = b"canceled" = b"aborted",
    Interrupted = b"interrupted",
    Short = b"truncated" = b"isTruncated" = b"is_truncated" = b"timedOut" = b"timed_out",
    Reason = b"reason",
    Data = b"data",
    Text = b"text",
    Content = b"content",
    Chunk = b"chunk",
    Token = b"token",
    Delta = b"delta",
    Response = b"response" = b"reply",
    Answer = b"answer",
    Result = b"result",
    Output = b"output" = b"finalOutput" = b"final_output",
    Message = b"message",
    Usage = b"usage" = b"usageMetadata" = b"usage_metadata" = b"token_usage" = b"tokenUsage",
    Tokens = b"input_tokens" = b"output_tokens" = b"inputTokens" = b"outputTokens" = b"prompt_tokens"
        = b"completion_tokens" = b"promptTokens" = b"completionTokens",
    /// `response_metadata` is LangChain's, in which the model says how it stopped.
    Metadata = b"metadata" = b"response_metadata",
    Metrics = b"metrics" = b"amazon-bedrock-invocationMetrics",
    Role = b"role",
    Tool = b"tool_call_id" = b"toolCallId" = b"tool_use_id" = b"toolUseId" = b"tool_name" = b"toolName"
        = b"tool" = b"toolResult" = b"tool_result",
    InitEventLoop = b"init_event_loop",
    ForceStop = b"force_stop",
    ToolInterrupt = b"tool_interrupt_event",
    Jsonrpc = b"jsonrpc",
    TaskEvent = b"task" = b"statusUpdate" = b"artifactUpdate",
    Object = b"object",
    RunId = b"runId",
    Payload = b"payload",
    InvocationId = b"invocationId",
    Author = b"author",
    MessageStart = b"messageStart",
    Messages = b"messages",
    GraphError = b"__error__",
    GraphInterrupt = b"__interrupt__",
    /// A sign of a model's raw answer.
    Raw = b"candidates" = b"promptFeedback" = b"prompt_feedback" = b"results" = b"outputText" = b"generation"
        = b"outputs" = b"generations" = b"generation_id" = b"completion",
    Exception = b"\0",
}

// Each name is a bit of a set, and all 64 are used. Another name needs the place of one that is no longer asked for.
const _: () = assert!(Name::Exception as u32 == 63);

/// A set of names. Constant sets cost nothing while a stream is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names(u64);

impl Names {
    /// Returns the set of these names.
    pub(crate) const fn of(names: &[Name]) -> Names {
        let (mut bits, mut at) = (0, 0);
        while at < names.len() {
            bits |= names[at].bit();
            at += 1;
        }
        Names(bits)
    }

    /// Returns the set of these names and another.
    pub(crate) const fn and(self, name: Name) -> Names {
        Names(self.0 | name.bit())
    }

    /// Returns true if the name is in the set.
    pub(crate) fn contains(self, name: Name) -> bool {
        self.0 & name.bit() != 0
    }
}

/// The members that hold an answer, in the order in which they are looked at. An object in one of them may say in place
/// of the frame that the run failed, or how the agent stopped.
pub(super) const ANSWERS: [Name; 10] = [
    Name::Data,
    Name::Text,
    Name::Content,
    Name::Chunk,
    Name::Token,
    Name::Delta,
    Name::Response,
    Name::Answer,
    Name::Result,
    Name::Output,
];

/// Those of [`ANSWERS`] that may hold a whole answer.
pub(super) const WHOLE: Names =
    Names::of(&[Name::Data, Name::Text, Name::Content, Name::Response, Name::Answer, Name::Result, Name::Output]);

impl Name {
    /// Returns which member this is, by its name in any spelling, with its escapes read. A member whose name ends in
    /// `Exception`, with an exception as its value, is [`Name::Exception`]. Returns `None` if nobody asks for it.
    pub(super) fn of_member(name: Str<'_>, value: RawJson<'_>) -> Option<Name> {
        let known = match name.has_escapes() {
            false => Name::of(name.raw()),
            true => Name::of(name.read(32).as_bytes()),
        };
        known.or_else(|| is_exception(&name_of(name), value).then_some(Name::Exception))
    }
}

/// Members of one object that are kept without an allocation.
const FEW: usize = 8;

/// The members of one object. If there are duplicates, the one that says the most of the run's end counts, and the
/// first among equals.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    /// A bit for each name that is there.
    seen: u64,
    found: [(Name, RawJson<'a>); FEW],
    count: usize,
    more: Vec<(Name, RawJson<'a>)>,
    /// The names that came once more with an object or an array. What each of their values holds must be heard.
    twice: u64,
    /// The object has its end, and nothing comes after it.
    pub(crate) is_closed: bool,
}

impl<'a> Members<'a> {
    /// Returns no members. [`Members::read`] fills them in, because they are too large to be moved.
    #[inline(always)]
    pub(crate) fn none() -> Members<'a> {
        let nothing = (Name::Exception, RawJson::cut(b""));
        Members { seen: 0, found: [nothing; FEW], count: 0, more: Vec::new(), twice: 0, is_closed: false }
    }

    /// Reads the members of an object. Anything else has none.
    pub(crate) fn of(object: &'a [u8]) -> Members<'a> {
        let mut members = Members::none();
        members.read(object);
        members
    }

    /// Fills in the members that [`Name`] knows, in any of their spellings, and notes whether the object is closed. A
    /// member whose name ends in `Exception` and whose value is an exception's is [`Name::Exception`]. Members after a
    /// place that is no JSON are lost.
    pub(crate) fn read(&mut self, object: &'a [u8]) {
        let members = self;
        let mut rest = scan::Members::of(object);
        for (name, value) in &mut rest {
            if let Some(known) = Name::of_member(name, value) {
                members.add(known, value);
            }
        }
        members.is_closed = rest.is_closed();
    }

    /// Keeps a member. Among duplicates, and among two spellings of one name, the one of the most [`Name::weight`]
    /// counts: readers of JSON differ in which of them they hear, and a failure must not hide behind a null or a
    /// success.
    fn add(&mut self, name: Name, value: RawJson<'a>) {
        if self.seen & name.bit() != 0 {
            if value.is_object() || value.is_array() {
                self.twice |= name.bit();
            }
            if let Some(seen) = self.entry(name).filter(|seen| name.weight(value) > name.weight(**seen)) {
                *seen = value;
            }
            return;
        }
        self.seen |= name.bit();
        match self.found.get_mut(self.count) {
            Some(place) => {
                *place = (name, value);
                self.count += 1;
            }
            None => self.more.push((name, value)),
        }
    }

    /// Returns the place of the kept value of this name, or `None` if there is none.
    fn entry(&mut self, name: Name) -> Option<&mut RawJson<'a>> {
        let found = self.found[..self.count].iter_mut().chain(&mut self.more);
        found.filter(|(known, _)| *known == name).map(|(_, value)| value).next()
    }

    /// Returns the value of this name that was kept, or `None` if there is none.
    #[inline(always)]
    pub(crate) fn get(&self, name: Name) -> Option<RawJson<'a>> {
        if self.has(name) { self.find(name) } else { None }
    }

    /// Looks for the value of this name among those that were kept. Returns the first, or `None` if there is none.
    fn find(&self, name: Name) -> Option<RawJson<'a>> {
        let mut found = self.found[..self.count].iter().chain(&self.more);
        found.find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// Returns true if a member of this name is there.
    #[inline(always)]
    pub(crate) fn has(&self, name: Name) -> bool {
        self.seen & name.bit() != 0
    }

    /// Returns true if one of these names is there.
    #[inline(always)]
    pub(crate) fn has_any(&self, names: Names) -> bool {
        self.seen & names.0 != 0
    }

    /// Returns true if the object may hold several objects or arrays under one of these names.
    #[inline(always)]
    pub(crate) fn has_twice(&self, names: Names) -> bool {
        self.twice & names.0 != 0
    }

    /// Returns true if no name is there except perhaps this one.
    #[inline(always)]
    pub(crate) fn has_none_but(&self, name: Name) -> bool {
        self.seen & !name.bit() == 0
    }

    /// Returns true if `is_so` of the name and the value of one of the members.
    pub(crate) fn any(&self, is_so: impl Fn(Name, RawJson<'a>) -> bool) -> bool {
        self.found[..self.count].iter().chain(&self.more).any(|(name, value)| is_so(*name, *value))
    }

    /// Returns true if the member is the whole string `word`.
    pub(crate) fn is(&self, name: Name, word: &str) -> bool {
        self.get(name).and_then(RawJson::whole_str).is_some_and(|value| value.is(word))
    }

    /// Returns the members of these names that hold an object, in the order in which they stand in it.
    pub(crate) fn objects(&self, names: Names) -> impl Iterator<Item = RawJson<'a>> {
        let found = self.found[..self.count].iter().chain(&self.more);
        found.filter(move |(name, value)| names.contains(*name) && value.is_object()).map(|(_, value)| *value)
    }

    /// Returns all objects under these names in `object`, duplicates included.
    pub(crate) fn all_objects(object: &'a [u8], names: Names) -> impl Iterator<Item = RawJson<'a>> {
        let is_asked = move |name, value| Name::of_member(name, value).is_some_and(|name| names.contains(name));
        let members =
            scan::Members::of(object).filter(move |(name, value)| value.is_object() && is_asked(*name, *value));
        members.map(|(_, value)| value)
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

/// Returns true if a member is an exception of Bedrock's kind, such as `throttlingException`: its name has more than
/// `Exception` and ends in it, and its value is an object or a string that is not empty.
pub(crate) fn is_exception(name: &[u8], value: RawJson<'_>) -> bool {
    name.len() > "Exception".len()
        && name.ends_with(b"Exception")
        && (value.is_object() || value.as_str().is_some())
        && value.is_something()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::framing::frame::is_kept;

    /// A name that is asked for, but is not kept of an event that is too large, would be missed there.
    #[test]
    fn every_name_is_kept_of_a_large_event() {
        for word in Name::SPELLINGS.iter().filter(|word| **word != b"\0") {
            assert!(is_kept(word), "{}", String::from_utf8_lossy(word));
        }
    }
}
