//! A frame: one event, line or document of an answer, and the limits of its size.

use crate::json::scan;

/// Bytes of the largest event that is read (1 MiB).
pub const MAX_EVENT: usize = 1024 * 1024;

/// Bytes of a larger event in which its `type` must stand to be heard (4 KiB).
pub const PREFIX: usize = 4 * 1024;

/// What a frame was in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A frame of server-sent events.
    Sse,
    /// A line of NDJSON.
    Line,
    /// The one JSON document.
    Document,
    /// An element of the one JSON document, which is an array.
    Element,
    /// Plain text, all that is kept of it.
    Text,
}

/// One frame, or the beginning of one that was too large to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) source: Source,
    /// The `event` field of server-sent events; else empty.
    pub(crate) name: &'a [u8],
    /// The data as it came.
    pub(crate) data: &'a [u8],
    /// The data without the whitespace around it.
    pub(crate) text: &'a [u8],
    /// False for server-sent events of a name alone.
    pub(crate) has_data: bool,
    /// Set if it was too large: the last byte of it.
    pub(crate) dropped: Option<u8>,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(source: Source, data: &'a [u8]) -> Frame<'a> {
        Frame { source, name: b"", data, text: scan::trim(data), has_data: true, dropped: None }
    }

    /// Returns true if the frame has its end. Only then is it believed when it says that all went well. Of a frame too
    /// large to keep the last byte decides.
    pub(crate) fn is_whole(&self) -> bool {
        self.dropped.map_or_else(|| scan::is_whole(self.text), |last| matches!(last, b'}' | b']'))
    }

    pub(crate) fn is_document(&self) -> bool {
        matches!(self.source, Source::Document | Source::Element)
    }
}

/// What is left at a framed end.
#[derive(Debug)]
pub(crate) enum Rest<'a> {
    Nothing,
    /// The last frame, which the body's end ended.
    Frame(Frame<'a>),
    /// The body ended within a frame that cannot be read.
    Cut,
    NotJson,
    /// A document, or plain text, of no byte but whitespace.
    Empty,
}
