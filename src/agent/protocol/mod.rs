//! Protocols: frames in, facts out. Each protocol has one file, and one row of [`ROWS`] with its recognition and its
//! reader (docs/agents.md, In a protocol).

mod a2a;
mod adk;
mod ag_ui;
mod agents_sdk;
mod answers;
mod anthropic;
mod bedrock;
mod duplicates;
pub(crate) mod failure;
mod form;
pub(crate) mod generic;
mod langchain;
mod langgraph;
mod langserve;
mod marks;
mod mastra;
mod mcp;
pub(crate) mod members;
mod models;
pub(crate) mod names;
pub(crate) mod notes;
mod openai_chat;
mod openai_responses;
mod questions;
pub(crate) mod reader;
mod repeats;
mod strands;
mod strands_typescript;
pub(crate) mod usage;
mod vercel;
pub(crate) mod words;

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::members::{Members, Name, Names};
use crate::agent::protocol::reader::Reader;
use crate::domain::protocol::Protocol;
use crate::json::scan::RawJson;

/// The recognition and the reader of a protocol.
struct Row {
    protocol: Protocol,
    /// Returns true if a frame shows this protocol's signs. The first row that claims a frame counts.
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

/// All protocols that are recognised. If two could claim a frame, the one that requires more comes first.
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
pub(crate) const SIGNS: Names = Names::of(&[
    Name::Choices,
    Name::Event,
    Name::ForceStop,
    Name::InitEventLoop,
    Name::InvocationId,
    Name::Jsonrpc,
    Name::MessageStart,
    Name::Object,
    Name::RunId,
    Name::TaskEvent,
    Name::ToolInterrupt,
]);

/// Recognises the protocol of a frame: the first row of [`ROWS`] that claims it, or `None` if none does. `members` are
/// those of an object, and none for anything else.
pub(crate) fn recognise(frame: &Frame<'_>, members: &Members<'_>) -> Option<Protocol> {
    ROWS.iter().find(|row| (row.recognises)(frame, members)).map(|row| row.protocol)
}

/// Returns true if a protocol is recognised by a sign that agents of another kind give, too: a word of everyday English
/// that names a frame. The sign no longer counts once the generic rules have understood answer text.
pub(crate) fn is_weak(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Langgraph | Protocol::Langserve | Protocol::Vercel)
}

/// Recognises the protocol after `event: metadata`, with which both servers of LangChain begin, by a frame's name
/// alone: LangServe by `data` or `end`, LangGraph by a mode of its own. Any other name is `None`.
pub(crate) fn recognise_by_name(name: &[u8]) -> Option<Protocol> {
    match name {
        b"data" | b"end" => Some(Protocol::Langserve),
        name => langgraph::is_own_name(name).then_some(Protocol::Langgraph),
    }
}

/// Returns a new reader of a protocol, or `None` if the protocol has none of its own.
pub(crate) fn reader(protocol: Protocol) -> Option<Box<dyn Reader>> {
    ROWS.iter().find(|row| row.protocol == protocol).map(|row| (row.reader)())
}

/// Returns true if the beginning of an object is an event of a stream. Then the body is NDJSON though it is declared as
/// a document. Returns false once it has a string `object` or `type`, and none of both is an event's. Returns `None`
/// while it has neither, be it a whole object.
pub(crate) fn is_stream(object: &[u8]) -> Option<bool> {
    let members = Members::of(object);
    if members.has_object(Name::Event) || members.has(Name::InitEventLoop) || members.has_object(Name::MessageStart) {
        return Some(true);
    }
    // Each sign counts by itself, so that a beginning which has one is an event whatever comes behind it.
    let word = |name| members.get(name).and_then(RawJson::whole_str);
    let is_chunk = word(Name::Object).map(|object| object.is("chat.completion.chunk"));
    let is_known = word(Name::Type).map(|kind| {
        strands_typescript::is_known(kind)
            || ["RUN_STARTED", "message_start", "response.created", "start"].iter().any(|name| kind.is(name))
    });
    match (is_chunk, is_known) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (None, None) => None,
        _ => Some(false),
    }
}
