//! Halves of surrogate pairs in Rust's strings. JavaScript leaves half a pair where it cuts a text within an emoji. It
//! is JSON (`"\ud83d"`), but no Unicode text can hold it. An agent must get an event as it came. So the reader
//! ([`crate::json::lenient`]) marks a half in the string, and every writer of JSON for others writes it as the escape
//! that it was.

use std::{borrow::Cow, fmt::Write};

use serde_json::Value;

/// Stands before a half, and before itself. It is a noncharacter, which Unicode reserves for use inside a program.
/// <https://www.unicode.org/faq/private_use.html#nonchar1>
const MARK: char = '\u{fdd0}';
/// The private character that stands for the first half, U+D800. The 2,048 halves follow each other.
const FIRST: u32 = 0xE000;
/// The first half, and their number.
const HALVES: (u32, u32) = (0xD800, 0x800);

/// Appends half a surrogate pair, the UTF-16 code `unit`, as two characters: the mark, and a private character that
/// stands for it.
pub(crate) fn push_half(text: &mut String, unit: u16) {
    let place = u32::from(unit).wrapping_sub(HALVES.0);
    text.push(MARK);
    text.push(char::from_u32(FIRST + place % HALVES.1).unwrap_or(char::REPLACEMENT_CHARACTER));
}

/// Appends a text without halves. A mark that it holds itself is doubled.
pub(crate) fn push_plain(text: &mut String, plain: &str) {
    let mut parts = plain.split(MARK);
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        text.extend([MARK, MARK]);
        text.push_str(part);
    }
}

/// Returns a JSON text in which marked halves are escapes again, and doubled marks single ones. Any other mark stays.
pub(crate) fn unmarked(json: String) -> String {
    if !json.contains(MARK) {
        return json;
    }
    let mut text = String::with_capacity(json.len() + 64);
    replace(&json, &mut text, |text, half| {
        // Writing to a string cannot fail.
        let _ = write!(text, "\\u{half:04x}");
    });
    text
}

/// Returns the JSON text of a value for others. Marked halves in its strings are written as the escapes that they were.
pub fn to_json(value: &Value) -> String {
    unmarked(value.to_string())
}

/// Returns the text for a record or a key, which hold Unicode: each half becomes U+FFFD, and a doubled mark a single
/// one.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(MARK) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    replace(text, &mut shown, |shown, _| shown.push(char::REPLACEMENT_CHARACTER));
    Cow::Owned(shown)
}

/// Appends a part of a JSON text with its halves as escapes. All other text is appended by `push`. Doubled marks stay
/// doubled in it, because it becomes part of a string that is written as JSON again.
pub(crate) fn escape_halves(json: &str, text: &mut String, push: &mut impl FnMut(&mut String, &str)) {
    let mut rest = json;
    while let Some((at, half)) = next_half(rest) {
        push(text, &rest[..at]);
        // Writing to a string cannot fail.
        let _ = write!(text, "\\u{half:04x}");
        rest = &rest[at + 2 * MARK.len_utf8()..];
    }
    push(text, rest);
}

/// Returns the place of the first marked half, which is two characters of three bytes, and the half. Returns `None` if
/// there is none. A doubled mark is passed over.
fn next_half(text: &str) -> Option<(usize, u32)> {
    let mut chars = text[text.find(MARK)?..].chars();
    let mut at = text.find(MARK)?;
    while let Some(char) = chars.next() {
        if char == MARK {
            let next = chars.next()?;
            let place = u32::from(next).wrapping_sub(FIRST);
            if place < HALVES.1 {
                return Some((at, HALVES.0 + place));
            }
            at += next.len_utf8();
        }
        at += char.len_utf8();
    }
    None
}

/// Appends `marked` to `text`, with what `write_half` writes in place of each half, and a single mark in place of each
/// doubled one. A mark before anything else stays.
fn replace(marked: &str, text: &mut String, mut write_half: impl FnMut(&mut String, u32)) {
    let mut rest = marked;
    while let Some(at) = rest.find(MARK) {
        text.push_str(&rest[..at]);
        rest = &rest[at + MARK.len_utf8()..];
        let Some(next) = rest.chars().next() else { return text.push(MARK) };
        let place = u32::from(next).wrapping_sub(FIRST);
        match next {
            MARK => text.push(MARK),
            _ if place < HALVES.1 => write_half(text, HALVES.0 + place),
            // This text was never marked.
            _ => text.extend([MARK, next]),
        }
        rest = &rest[next.len_utf8()..];
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_come_back_as_escapes() {
        for unit in [0xD800, 0xD83D, 0xDBFF, 0xDC00, 0xDFFF] {
            let mut text = String::new();
            push_plain(&mut text, "cut \u{fdd0}\u{e000} ");
            push_half(&mut text, unit);
            push_plain(&mut text, "ä\u{fdd0}");
            let json = to_json(&Value::from(text.clone()));
            assert_eq!(json, format!("\"cut \u{fdd0}\u{e000} \\u{unit:04x}ä\u{fdd0}\""));
            assert_eq!(shown(&text), "cut \u{fdd0}\u{e000} \u{fffd}ä\u{fdd0}");
        }
    }

    #[test]
    fn what_nobody_marked_stays() {
        for text in ["", "plain", "\u{fdd0}", "\u{fdd0}x", "x\u{fdd0}y"] {
            assert_eq!(shown(text), text);
            assert_eq!(unmarked(text.to_owned()), text);
        }
    }
}
