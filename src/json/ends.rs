//! Where the values of a JSON text end, for [`crate::json::scan`]. Nothing is validated.

use memchr::memchr2;

/// Returns a text without JSON's white space before it.
#[inline(always)]
pub(super) fn trim_start(text: &[u8]) -> &[u8] {
    // Nearly always, for agents write no whitespace, and then without a search.
    if text.first().is_some_and(|first| !is_space(*first)) {
        return text;
    }
    &text[text.iter().position(|b| !is_space(*b)).unwrap_or(text.len())..]
}

/// Returns true for JSON's white space: space, tab, carriage return and line feed.
#[inline(always)]
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Returns the length of the value that `text` starts with. Returns `None` if its end is missing. A number or a word
/// has its end only if a comma, a closing bracket or white space follows. The length is 0 if one of these comes first.
pub(super) fn end_of_value(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'"' => end_of_string(text).map(|(end, _)| end),
        b'{' | b'[' => end_of_container(text),
        _ => text.iter().position(|b| matches!(b, b',' | b'}' | b']') || is_space(*b)),
    }
}

/// Returns the length of the string that `text` starts with, both quotes included, and whether there are escapes in it.
/// Returns `None` if its end is missing.
pub(crate) fn end_of_string(text: &[u8]) -> Option<(usize, bool)> {
    let mut at = 1;
    // Names and words are short: a call of the wide search costs more than looking at some times eight bytes here.
    while at <= 48
        && let Some(bytes) = text.get(at..).and_then(|rest| rest.first_chunk::<8>())
    {
        let word = u64::from_le_bytes(*bytes);
        let hit = bytes_equal(word, b'"') | bytes_equal(word, b'\\');
        if hit == 0 {
            at += 8;
            continue;
        }
        at += (hit.trailing_zeros() / 8) as usize;
        if text[at] == b'"' {
            return Some((at + 1, false));
        }
        break;
    }
    let mut escaped = false;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some((at + 1, escaped));
        }
        escaped = true;
        at += 2;
    }
}

/// Returns `word` with the high bit of the lowest byte set that is `byte`, or 0 if none is. The bits above that one
/// mean nothing.
#[inline(always)]
fn bytes_equal(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let zeros = word ^ (ONES * u64::from(byte));
    zeros.wrapping_sub(ONES) & !zeros & (ONES << 7)
}

/// Returns the length of the object or array that `text` starts with, or `None` if its end is missing. It counts the
/// brackets outside strings instead of recursing, so that no depth of nesting exhausts the stack, and does not
/// distinguish their kinds.
fn end_of_container(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0usize);
    loop {
        match text.get(at)? {
            b'"' => at += end_of_string(&text[at..])?.0 - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}
