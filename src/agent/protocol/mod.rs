//! Protocols: frames in, facts out. One file for each protocol, and one row of [`ROWS`]: how it is recognised, and what
//! reads it then (PROTOCOLS.md §2).

mod a2a;
mod adk;
mod ag_ui;
mod anthropic;
mod bedrock;
pub(crate) mod generic;
mod langgraph;
mod langserve;
mod mastra;
mod mcp;
pub(crate) mod members;
mod openai_chat;
mod openai_responses;
mod strands;
mod strands_typescript;
pub(crate) mod usage;
mod vercel;
pub(crate) mod words;

use std::borrow::Cow;
use std::fmt;

use memchr::memchr2;

use crate::agent::framing::Frame;
use crate::agent::protocol::members::{Members, Name};
use crate::agent::protocol::words::{message_of_frame, reported};
use crate::agent::transcript::Transcript;
use crate::domain::answer::Verdict;
use crate::domain::protocol::Protocol;
use crate::json::scan::{RawJson, Str};

/// Reads the frames of one protocol.
pub(crate) trait Reader: fmt::Debug + Send {
    /// Takes a frame. `Some` once it decides the run.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict>;

    /// Decides a run whose answer ended in order without a terminal event.
    fn end(&mut self, transcript: &mut Transcript) -> Verdict {
        transcript.without_terminal_event()
    }

    /// Takes a frame named `error`.
    fn error(&mut self, frame: &Frame<'_>, _transcript: &mut Transcript) -> Verdict {
        Verdict::Failed(reported(message_of_frame(frame)))
    }

    /// Returns true if usage may still come once the run is decided.
    fn awaits_usage(&self) -> bool {
        false
    }

    /// Takes a frame that came after the run was decided. Returns true once no more is awaited.
    fn read_usage(&mut self, _frame: &Frame<'_>, _transcript: &mut Transcript) -> bool {
        true
    }

    /// Returns true if a JSON string is text, even if that text is JSON.
    fn takes_strings(&self) -> bool {
        false
    }
}

/// How a protocol is recognised, and read.
struct Row {
    protocol: Protocol,
    /// Returns true if a frame is one of this protocol's and of no other's.
    recognises: fn(&Frame<'_>, &Members<'_>) -> bool,
    reader: fn() -> Box<dyn Reader>,
}

macro_rules! rows {
    ($($protocol:ident: $module:ident,)*) => {
        [$(Row {
            protocol: Protocol::$protocol,
            recognises: $module::recognises,
            reader: || Box::new($module::Reading::default()),
        },)*]
    };
}

/// All protocols that are recognised. Where two could claim a frame, the one that asks for more stands first.
const ROWS: [Row; 14] = rows! {
    A2a: a2a,
    Mcp: mcp,
    Mastra: mastra,
    AgUi: ag_ui,
    OpenaiResponses: openai_responses,
    OpenaiChat: openai_chat,
    Anthropic: anthropic,
    StrandsTypescript: strands_typescript,
    Vercel: vercel,
    Adk: adk,
    Langgraph: langgraph,
    Langserve: langserve,
    Strands: strands,
    Bedrock: bedrock,
};

/// The members that protocols are recognised by, beside `type` and a `message` that is an object.
pub(crate) const SIGNS: [Name; 9] = [
    Name::Event,
    Name::ForceStop,
    Name::InitEventLoop,
    Name::InvocationId,
    Name::Jsonrpc,
    Name::MessageStart,
    Name::Object,
    Name::RunId,
    Name::ToolInterrupt,
];

/// Recognises the protocol of a frame.
pub(crate) fn recognise(frame: &Frame<'_>, members: &Members<'_>) -> Option<Protocol> {
    ROWS.iter().find(|row| (row.recognises)(frame, members)).map(|row| row.protocol)
}

/// The reader of a protocol, if it has one of its own.
pub(crate) fn reader(protocol: Protocol) -> Option<Box<dyn Reader>> {
    ROWS.iter().find(|row| row.protocol == protocol).map(|row| (row.reader)())
}

/// Returns whether the beginning of an object is an event of a stream, so that the body is NDJSON though it is declared as
/// a document. `None` while that is open.
pub(crate) fn is_stream(object: &[u8]) -> Option<bool> {
    let members = Members::of(object);
    if members.has_object(Name::Event) || members.has(Name::InitEventLoop) || members.has_object(Name::MessageStart) {
        return Some(true);
    }
    let word = |name| members.get(name).and_then(RawJson::whole_str);
    if let Some(object) = word(Name::Object) {
        return Some(object.is("chat.completion.chunk"));
    }
    word(Name::Type).map(|kind| {
        strands_typescript::is_known(kind)
            || ["RUN_STARTED", "message_start", "response.created", "start"].iter().any(|name| kind.is(name))
    })
}

/// Takes a frame that is none of the protocol's own. An agent may still say in it that it failed, as the AgentCore SDK
/// does for whatever its agent streams.
fn foreign(frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
    generic::failure(frame, transcript)
}

/// The `type` of a frame, its escapes read.
fn type_of<'a>(frame: &Frame<'a>) -> Option<Cow<'a, [u8]>> {
    // The first member nearly always, and without escapes.
    let first = frame.text.strip_prefix(b"{\"type\":").map(|rest| rest.strip_prefix(b" ").unwrap_or(rest));
    if let Some(rest) = first.and_then(|rest| rest.strip_prefix(b"\""))
        && let Some(end) = memchr2(b'"', b'\\', &rest[..rest.len().min(64)])
        && rest[end] == b'"'
    {
        return Some(Cow::Borrowed(&rest[..end]));
    }
    RawJson::cut(frame.text).get("type")?.whole_str().map(name_of)
}

fn name_of(name: Str<'_>) -> Cow<'_, [u8]> {
    if name.has_escapes() { Cow::Owned(name.read(256).into_bytes()) } else { Cow::Borrowed(name.raw()) }
}

/// Decides a run by an event that says all went well or stopped in order, if the event has its end: half an event is not
/// believed.
fn decided(frame: &Frame<'_>, transcript: &mut Transcript, verdict: Verdict) -> Option<Verdict> {
    transcript.is_understood = true;
    if frame.is_whole() {
        return Some(verdict);
    }
    transcript.progress.skipped_events += u64::from(frame.dropped.is_none());
    None
}
