//! The frames that the generic rules pass over: more of an answer that is full, and progress of an agent's own making.

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::failure::failure_of;
use crate::agent::protocol::generic::{Generic, Under};
use crate::agent::protocol::members::{Members, Name};
use crate::agent::transcript::Transcript;
use crate::json::scan::{self, RawJson};

impl Generic {
    /// Returns true if a frame only adds to an answer that is full already: it is a string that begins with a letter or
    /// a digit, or an object with nothing but the same member and perhaps a `type`. The `type` must be `kind`, in raw
    /// JSON, which no protocol has. A server-sent event's name must be the one before it. The frame need not be
    /// examined further. It is examined all the same if there is a failure that text takes back.
    pub(crate) fn is_more_of_same(&self, frame: &Frame<'_>, kind: &[u8], transcript: &Transcript) -> bool {
        let has_new_name = !frame.name.is_empty() && frame.name != self.plain_name;
        if !transcript.pieces.is_truncated() || transcript.may_go_on() || frame.dropped.is_some() || has_new_name {
            return false;
        }
        match self.under {
            Under::Bare => {
                matches!(frame.text, [b'"', b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9', next, ..] if *next != b':')
                    && !frame.text.starts_with(b"\"data:")
                    && !frame.text.starts_with(b"\"event:")
                    && scan::is_whole(frame.text)
            }
            Under::Member(name) => {
                let word = name.word();
                let mut members = scan::Members::of(frame.text);
                let is_same = members.by_ref().all(|(name, value)| match name.raw() {
                    b"type" => value.raw() == kind,
                    raw => raw == word && matches!(value.raw(), [b'"', inner, ..] if !matches!(inner, b'"' | b'[')),
                });
                is_same && members.is_closed()
            }
            _ => false,
        }
    }

    /// Returns true for an unnamed object of a stream without a member that the generic rules read, except a `kind`.
    /// Returns false if that says that the run failed. Progress of an agent's own making comes so, again and again. The
    /// `kind` is remembered, up to 64 bytes.
    pub(super) fn says_nothing(&mut self, frame: &Frame<'_>, members: &Members<'_>) -> bool {
        let is_named = !frame.name.is_empty();
        if is_named || !members.is_closed || frame.source == Source::Document || !members.has_none_but(Name::Kind) {
            return false;
        }
        let kind = members.get(Name::Kind).map(RawJson::raw).unwrap_or_default();
        if kind == self.plain_kind {
            return true;
        }
        if failure_of(frame, members).is_some() {
            return false;
        }
        self.plain_kind = kind[..kind.len().min(64)].to_vec();
        true
    }

    /// Returns true if a server-sent event says nothing, as the one before it, and is of the same `kind` or has none.
    /// It has no member by which a protocol is recognised, and need not be examined further.
    pub(crate) fn is_silent_again(&self, frame: &Frame<'_>) -> bool {
        if !self.is_silent || frame.source != Source::Sse || !frame.name.is_empty() || frame.dropped.is_some() {
            return false;
        }
        let mut members = scan::Members::of(frame.text);
        let is_silent = members.by_ref().all(|(name, value)| match Name::of_member(name, value) {
            None => true,
            Some(Name::Kind) => value.raw() == self.plain_kind,
            Some(_) => false,
        });
        is_silent && members.is_closed()
    }
}
