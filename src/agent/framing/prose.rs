//! Texts that begin with a bracket: a footnote's mark, a link, a time. They are told from JSON arrays that were cut or
//! are malformed, because such an array may have held that the run failed, and a text cannot.

use serde::de::IgnoredAny;

use crate::json::scan::trim;

/// Returns true if a byte behind a closed array shows by itself that the array was the beginning of a text. JSON's own
/// signs do not, and neither do a semicolon and the beginning of a web page. The byte must not be a space.
pub(crate) fn goes_on_as_text(byte: u8) -> bool {
    !byte.is_ascii_control() && !b"[]{},;\"<".contains(&byte)
}

/// Returns true if a body that begins with a bracket is a text. It is none if it is a JSON array, or the beginning of
/// one. Otherwise the place decides at which it stops being JSON: there must be something that people write, not a sign
/// of JSON. An array that was broken behind the beginning of an object is no text: what it says of the run is not
/// known.
pub(crate) fn is_prose(text: &[u8]) -> bool {
    let mut text = trim(text);
    loop {
        let Some(at) = place_of_error(text) else { return false };
        let (before, rest) = text.split_at(at);
        let is_closed = serde_json::from_slice::<IgnoredAny>(before).is_ok();
        if !is_closed {
            return breaks_as_text(before, rest);
        }
        if rest.first().copied().is_some_and(goes_on_as_text) {
            return true;
        }
        if before.contains(&b'{') {
            return false;
        }
        // Nothing but numbers and strings has come so far: "[1], [2] and [3]".
        let rest = trim(rest.strip_prefix(b",").unwrap_or(rest));
        match rest.first() {
            Some(b'[') => text = rest,
            Some(b'<') => return [&b"<http"[..], b"<mailto"].iter().any(|link| rest.starts_with(link)),
            Some(byte) => return goes_on_as_text(*byte) || matches!(byte, b'"' | b';'),
            None => return false,
        }
    }
}

/// Returns the offset of the byte at which a text stops being JSON, or `None` if it is JSON or may go on to be.
fn place_of_error(text: &[u8]) -> Option<usize> {
    let is_open = |error: &serde_json::Error| error.is_eof();
    let error = serde_json::from_slice::<IgnoredAny>(text).err().filter(|error| !is_open(error))?;
    // serde_json refuses a number of which only the beginning has come, such as `-` or `1e`.
    let with_digit = [text, b"0"].concat();
    if serde_json::from_slice::<IgnoredAny>(&with_digit).is_err_and(|error| is_open(&error)) {
        return None;
    }
    let line_start = match error.line() {
        0 | 1 => 0,
        line => memchr::memchr_iter(b'\n', text).nth(line - 2)? + 1,
    };
    // A column counts from 1. At the beginning of a line it is 0: the line's end before is meant.
    (line_start + error.column()).checked_sub(1).filter(|at| *at < text.len())
}

/// Returns true if an array that breaks off before `rest` was meant as text. A letter there, or a sign that people
/// write, shows this. It is no text if an object was begun, if it breaks off within a string, or if a sign follows a
/// string.
fn breaks_as_text(before: &[u8], rest: &[u8]) -> bool {
    let Some(byte) = rest.first().copied().filter(|_| !before.contains(&b'{') && !is_within_string(before)) else {
        return false;
    };
    let (last, last_token) = (before.last().copied().unwrap_or_default(), trim(before).last().copied());
    match byte {
        _ if byte.is_ascii_alphabetic() || !byte.is_ascii() => true,
        // For example Swift's `["status": "failed"]`.
        _ if last_token == Some(b'"') => false,
        // A word like `[f]`, or a text behind the bracket: `[-] to do`.
        b']' => last.is_ascii_alphabetic() || trim(&rest[1..]).first().copied().is_some_and(goes_on_as_text),
        // A time: no number of JSON begins with another zero.
        b'0'..=b'9' => last.is_ascii_digit(),
        _ => goes_on_as_text(byte),
    }
}

/// Returns true if JSON ends within a string.
fn is_within_string(json: &[u8]) -> bool {
    let mut is_within = false;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => is_within = !is_within,
            b'\\' if is_within => {
                bytes.next();
            }
            _ => {}
        }
    }
    is_within
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_from_arrays() {
        for text in [
            "[1]: https://example.com",
            "[1]",
            "[12, 13]. See there.",
            "[1], [2] and [3] say so",
            "[1][2] both say so",
            "[1] \"Attention is all you need\", 2017.",
            "[1] <https://example.com>",
            "[\"a\"]; that is all",
            "[]: nothing",
            "[ ] buy milk\n[x] sell it",
            "[-] in progress",
            "[2024-01-02] we met",
            "[10:30] Bob: hello",
            "[00:12:03] Bob: hello",
            "[007] is his number",
            "[1/3] the first step",
            "[0.5, 1.0) is half open",
            "[1 of 3] the first step",
            "[\"a\" or \"b\"] are both right",
            "[[wiki link]] says so",
            "[[1, 2], [3, 4]] is the matrix",
            "[Docs](https://example.com) say so",
            "[Docs say so",
            "['a', 'b']",
            "[1, None]",
            "[f]",
            "[tomato]",
            "[\n1\n]\n:\nmore",
            "[{\"a\": 1}] is what I found",
            "[{\"a\": 1}]: that",
            "[1] ü",
            "[ü",
        ] {
            let is_array = serde_json::from_str::<IgnoredAny>(text).is_ok();
            assert_eq!(is_prose(text.as_bytes()), !is_array, "{text}");
        }
    }

    #[test]
    fn arrays_that_were_cut_or_are_malformed_are_no_texts() {
        let whole = r#"[1, -2.5e3, "a\"]", true, false, null, [[]], {"a": [{"b": null}], "c": "d"}, "ä"]"#;
        for end in 1..=whole.len() {
            assert!(!is_prose(&whole.as_bytes()[..end]), "{}", &whole[..whole.floor_char_boundary(end)]);
        }
        for text in [
            "[1,]",
            "[1 2]",
            "[\"a\" \"b\"]",
            "[{\"a\":1} {\"b\":2}]",
            "[{\"a\":1},]",
            "[{\"a\":1}]]",
            "[{\"a\":1}],[{\"b\":2}]",
            "[{\"a\":1}]\n[{\"b\":2}]",
            "[{\"a\":1}]{\"b\":2}",
            "[{'status': 'failed'}]",
            "[{name}] hello",
            "[{\"a\": NaN}]",
            "[1]\n[2]",
            "[1][2",
            "[1],",
            "[1] {\"status\":\"failed\"}",
            "[1] [{\"status\":\"failed\"}]",
            "[1]<html>",
            "[]<br />\n<b>Fatal error</b>",
            "[{\"a\":1}]<html>",
            "[\"status\": \"failed\"]",
            "[\"status\" => \"failed\"]",
            "[\"a\nb\"]",
            "[\"\\d\"]",
            "[",
            "[\n",
        ] {
            assert!(!is_prose(text.as_bytes()), "{text}");
        }
    }
}
