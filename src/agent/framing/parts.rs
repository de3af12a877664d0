//! The data stream of the AI SDK up to version 4 <https://v4.ai-sdk.dev/docs/ai-sdk-ui/stream-protocol>: lines of a
//! code, a colon and a JSON value, such as `0:"Hello"`. It is declared as plain text.

use crate::agent::framing::{
    frame::{Frame, PREFIX, Source},
    lines::Line,
};

/// Returns true if the beginning of a body is that of a data stream: its first line is a part whose value has its end.
/// Returns `None` while the line has no end. With `ended` nothing comes behind `text`.
pub(super) fn begins(text: &[u8], ended: bool) -> Option<bool> {
    if text.len() < 3 {
        let may_begin =
            text.first().is_none_or(|code| sign_of(*code).is_some()) && text.get(1).is_none_or(|c| *c == b':');
        return if may_begin && !ended { None } else { Some(false) };
    }
    if !is_part(text) {
        return Some(false);
    }
    let value = |line: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(&line[2..]).is_ok();
    match memchr::memchr(b'\n', text) {
        Some(end) => Some(value(&text[..end])),
        None if ended => Some(value(text)),
        None => None,
    }
}

/// Returns a line as a part, or `None` if it is none. A part of a line that is too long to keep has its beginning.
pub(super) fn part_of(line: Line<'_>) -> Option<Frame<'_>> {
    if !is_part(line.bytes) {
        return None;
    }
    let kept = if line.dropped.is_some() { &line.bytes[..PREFIX] } else { line.bytes };
    Some(Frame { name: &kept[..1], dropped: line.dropped, ..Frame::new(Source::Part, &kept[2..]) })
}

/// Returns true if a line begins as a part does: with a code, a colon and the sign of the code's values.
fn is_part(line: &[u8]) -> bool {
    matches!(line, [code, b':', sign, ..] if sign_of(*code) == Some(*sign))
}

/// Returns the sign with which the values of a code begin, or `None` if it is no code.
fn sign_of(code: u8) -> Option<u8> {
    match code {
        b'0' | b'3' | b'g' => Some(b'"'),
        b'2' | b'8' => Some(b'['),
        b'9' | b'a'..=b'f' | b'h'..=b'k' => Some(b'{'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_stream_is_told_from_a_text() {
        for (text, expected) in [
            ("0:\"Hello\"\n", Some(true)),
            ("f:{\"messageId\":\"m1\"}\n0:\"Hel", Some(true)),
            ("2:[{\"a\":1}]\r\n", Some(true)),
            ("0:\"Hello\"", None),
            ("0", None),
            ("0:", None),
            ("0:1\n", Some(false)),
            ("0:\"Hello\" said he\n", Some(false)),
            ("a:\"Hello\"\n", Some(false)),
            ("7:{\"a\":1}\n", Some(false)),
            ("a: {\"b\":1}\n", Some(false)),
            ("an answer", Some(false)),
        ] {
            assert_eq!(begins(text.as_bytes(), false), expected, "{text}");
        }
        assert_eq!(begins(b"0:\"Hello\"", true), Some(true));
        assert_eq!(begins(b"0:\"Hel", true), Some(false));
        assert_eq!(begins(b"0:", true), Some(false));
    }
}
