//! The content of a text: a frame of server-sent events that an agent wrote into its data itself, or an object.

use crate::agent::protocol::members::Members;
use crate::json::{python, scan};

/// The field that agents write into data themselves.
pub(super) const DATA: &[u8] = b"data:";

/// The field that names an event, which they may write before it.
pub(super) const EVENT: &[u8] = b"event:";

/// Returns true if data is a frame of server-sent events itself: it begins with `data:` or `event:`.
pub(super) fn is_frame_within(text: &[u8]) -> bool {
    text.starts_with(DATA) || text.starts_with(EVENT)
}

/// Returns true if a JSON string, with its opening quote, may hold an object or a frame, by its first bytes. The object
/// may have a space or an escape before it. False means that it holds none.
pub(super) fn may_begin(string: &[u8]) -> bool {
    let Some(inner) = string.strip_prefix(b"\"") else { return false };
    matches!(inner, [b'{', b'\\' | b' ' | b'}', ..] | [b'\\' | b' ', ..]) || is_frame_within(inner)
}

/// Returns a dictionary of literals, as Python prints it, as JSON. Returns `None` for any text that does not begin with
/// `{'`, and for one that [`python::to_json`] does not read.
pub(super) fn literals(text: &[u8]) -> Option<String> {
    if text.starts_with(b"{'") { python::to_json(text) } else { None }
}

/// Returns the name and the data of the event in a text, or `None` if there is none. The data is an object that is the
/// whole text, or the text after `data:`. This must be a whole object or string, `[DONE]`, or anything at all under the
/// name `error`. Without an `event:` line the name is empty.
pub(super) fn event(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, text) = match text.strip_prefix(EVENT).map(|rest| rest.split_at(line_end(rest))) {
        Some((name, rest)) => (scan::trim(name), scan::trim(rest)),
        None => (&b""[..], text),
    };
    let is_object = |text: &[u8]| text.starts_with(b"{") && Members::of(text).is_closed;
    let data = match text.strip_prefix(DATA).map(scan::trim) {
        Some(data) => {
            (is_object(data) || data == b"[DONE]" || scan::is_whole(data) || name == b"error").then_some(data)
        }
        None => (is_object(text) && name.is_empty()).then_some(text),
    };
    data.map(|data| (name, data))
}

/// Returns the place of the first line end in a text, or the text's length.
fn line_end(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).unwrap_or(text.len())
}
