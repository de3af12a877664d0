//! Reads single members out of JSON that may be cut off, malformed or 10,000 levels deep.
//!
//! A parser that refuses such input could hide an event that decides a run, and one that builds values would pay for
//! everything a stream carries. So this reads slices: no recursion, no allocation, one pass over the text before the
//! member. It does not validate. Where that matters, [`is_whole`] or `serde_json` does.

use memchr::memchr;

use crate::json::{
    ends::{end_of_string, end_of_value, is_space, trim_start},
    text::BoundedText,
};

/// A value as it stands in the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawJson<'a> {
    raw: &'a [u8],
    /// False where the text ended within the value.
    whole: bool,
    /// True if it is a string with escapes, or if nobody has looked for them.
    escaped: bool,
}

impl<'a> RawJson<'a> {
    /// Takes all of a text, known to be one whole value without white space around it, as a value. A string must have
    /// both of its quotes.
    pub(crate) fn whole(text: &'a [u8]) -> RawJson<'a> {
        RawJson { raw: text, whole: true, escaped: true }
    }

    /// Takes a text whose end may be missing, or may have more behind it, as a value. White space before it is passed
    /// over.
    pub(crate) fn cut(text: &'a [u8]) -> RawJson<'a> {
        RawJson { raw: trim_start(text), whole: false, escaped: true }
    }

    /// Returns the value of the first member of this name. Its end may be missing. Returns `None` if there is no such
    /// member, if this is no object, or if the text before the member ends within a value or is no JSON.
    pub(crate) fn get(self, name: &str) -> Option<RawJson<'a>> {
        self.enter(name).map(RawJson::end)
    }

    /// Returns the value of the first member of this name, or `None`, as [`RawJson::get`] does, but does not look for
    /// its end: a value within it is scanned once, not once for each level above it. The result reaches to the end of
    /// the text. [`RawJson::end`] comes before anything that needs all of the value, such as [`RawJson::as_str`].
    pub(crate) fn enter(self, name: &str) -> Option<RawJson<'a>> {
        let mut rest = self.raw.strip_prefix(b"{")?;
        while !take_name(&mut rest)?.is(name) {
            skip_value(&mut rest)?;
        }
        Some(RawJson { raw: rest, whole: false, escaped: true })
    }

    /// Returns the value of the first member that has one of these names, as [`RawJson::enter`] does, with the index of
    /// its name. Returns `None` if there is none.
    pub(crate) fn enter_any(self, names: &[&str]) -> Option<(usize, RawJson<'a>)> {
        let mut rest = self.raw.strip_prefix(b"{")?;
        loop {
            if let Some(at) = take_name(&mut rest)?.position(names) {
                return Some((at, RawJson { raw: rest, whole: false, escaped: true }));
            }
            skip_value(&mut rest)?;
        }
    }

    /// Returns this value without what follows it. If its end is missing, or a comma or a closing bracket stands in its
    /// place, this is all of the text. A number or a word has its end only if a comma, a closing bracket or white space
    /// follows.
    pub(crate) fn end(self) -> RawJson<'a> {
        let mut rest = self.raw;
        take_value(&mut rest).unwrap_or(RawJson { raw: self.raw, whole: false, escaped: true })
    }

    /// Returns the string, or `None` if this is no string. If its end is missing, or was not looked for, it reaches to
    /// the end of the text.
    #[inline(always)]
    pub(crate) fn as_str(self) -> Option<Str<'a>> {
        let inner = self.raw.strip_prefix(b"\"")?;
        let raw = if self.whole { &inner[..inner.len() - 1] } else { inner };
        Some(Str { raw, escaped: self.escaped })
    }

    /// Returns the bytes of the value as they stand in the text.
    pub(crate) fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// Returns the string if its end was found, and otherwise `None`: half an id is another id. Anything but a string
    /// is `None`, too.
    pub(crate) fn whole_str(self) -> Option<Str<'a>> {
        self.as_str().filter(|_| self.whole)
    }

    /// Returns a number as a count, or `None` if this is no number. A negative one is 0, a fraction is rounded down,
    /// and one that is too large is `u64::MAX`. A number cut off is read as it stands, or is `None` if a sign or its
    /// `e` came last.
    pub(crate) fn as_count(self) -> Option<u64> {
        if !matches!(self.raw.first(), Some(b'-' | b'0'..=b'9')) {
            return None;
        }
        // 64 digits already exceed every u64, and bound the work on a number a megabyte long.
        let digits = std::str::from_utf8(&self.raw[..self.raw.len().min(64)]).ok()?;
        digits.parse().ok().or_else(|| Some(digits.parse::<f64>().ok()? as u64))
    }

    /// Returns true if the value is the word `true`.
    pub(crate) fn is_true(self) -> bool {
        self.raw == b"true"
    }

    /// Returns true if the value is the word `false`.
    pub(crate) fn is_false(self) -> bool {
        self.raw == b"false"
    }

    /// Returns true if the value begins as an array.
    pub(crate) fn is_array(self) -> bool {
        self.raw.starts_with(b"[")
    }

    /// Returns true if the value is the word `null`.
    pub(crate) fn is_null(self) -> bool {
        self.raw == b"null"
    }

    /// Returns true if the value begins as an object.
    pub(crate) fn is_object(self) -> bool {
        self.raw.starts_with(b"{")
    }

    /// Returns true if it is not null, false, empty, or 0 (spelled `0`, `-0` or `0.0`). An object or array that is cut
    /// off is empty if nothing but its bracket is there.
    pub(crate) fn is_something(self) -> bool {
        match self.raw {
            b"null" | b"false" | b"\"\"" | b"0" | b"-0" | b"0.0" => false,
            [b'{' | b'[', inside @ ..] => !matches!(trim_start(inside), [] | [b'}' | b']', ..]),
            raw => !raw.is_empty(),
        }
    }

    /// Returns the first value of an array, without looking for its end. Returns `None` if this is no array, or an
    /// empty one. If the array is cut off behind its bracket, the value has no bytes.
    pub(crate) fn first_element(self) -> Option<RawJson<'a>> {
        let raw = trim_start(self.raw.strip_prefix(b"[")?);
        (!raw.starts_with(b"]")).then_some(RawJson { raw, whole: false, escaped: true })
    }

    /// Returns the values of an array in their order, or none if this is no array. The last may be cut off. Nothing is
    /// validated: they end at any closing bracket, and where a value is missing.
    pub(crate) fn elements(self) -> impl Iterator<Item = RawJson<'a>> {
        let mut rest = self.raw.strip_prefix(b"[").unwrap_or_default();
        std::iter::from_fn(move || {
            rest = trim_start(rest);
            rest = trim_start(rest.strip_prefix(b",").unwrap_or(rest));
            take_value(&mut rest)
        })
    }

    /// Appends this value to `out` without the white space between its tokens, until `out` is full. Nothing is
    /// validated, but invalid UTF-8 becomes U+FFFD.
    pub(crate) fn compact_into(self, out: &mut BoundedText) {
        let mut rest = trim_start(self.raw);
        while !rest.is_empty() && !out.is_truncated() {
            let token = match rest[0] {
                b'"' => end_of_string(rest).map_or(rest.len(), |(end, _)| end),
                _ => rest.iter().position(|b| *b == b'"' || is_space(*b)).unwrap_or(rest.len()),
            };
            out.push_lossy(&rest[..token]);
            rest = trim_start(&rest[token..]);
        }
    }
}

/// The inside of a JSON string, its escapes unread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Str<'a> {
    raw: &'a [u8],
    /// There may be escapes in it.
    escaped: bool,
}

impl<'a> Str<'a> {
    /// Returns true if the string, with its escapes read, is `other`, which is ASCII without a backslash.
    #[inline(always)]
    pub(crate) fn is(self, other: &str) -> bool {
        self.raw == other.as_bytes() || (self.escaped && self.has_escapes() && self.reads(other))
    }

    /// Returns the index in `names`, all ASCII, of the string with its escapes read, or `None` if it is none of them.
    pub(crate) fn position(self, names: &[&str]) -> Option<usize> {
        let same = names.iter().position(|name| self.raw == name.as_bytes());
        if same.is_some() || !self.has_escapes() {
            return same;
        }
        names.iter().position(|name| self.reads(name))
    }

    /// Returns true if the string, with its escapes read, is `other`. It is read no further than needed.
    fn reads(self, other: &str) -> bool {
        let mut text = BoundedText::new(other.len());
        self.push_into(&mut text);
        !text.is_truncated() && text.as_str() == other
    }

    /// Returns the bytes between the quotes, with the escapes unread.
    pub(crate) fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// Returns true if there are escapes in the string.
    pub(crate) fn has_escapes(self) -> bool {
        self.escaped && memchr(b'\\', self.raw).is_some()
    }

    /// Returns true if nothing stands between the quotes.
    pub(crate) fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// Returns the string with its escapes read, up to `limit` bytes of it, cut between characters.
    pub(crate) fn read(self, limit: usize) -> String {
        let mut text = BoundedText::new(limit);
        self.push_into(&mut text);
        text.into_string()
    }

    /// Returns true if the string, its escapes unread, ends with `end`.
    pub(crate) fn ends_with(self, end: &str) -> bool {
        self.raw.ends_with(end.as_bytes())
    }

    /// Appends the string to `out` with its escapes read, as far as there is room. Invalid UTF-8 and lone surrogates
    /// become U+FFFD: JavaScript agents split a pair over two events, and losing a character is better than losing the
    /// event.
    pub(crate) fn push_into(self, out: &mut BoundedText) {
        if !self.escaped {
            return out.push_lossy(self.raw);
        }
        let mut rest = self.raw;
        while !out.is_truncated() && !rest.is_empty() {
            let plain = memchr(b'\\', rest).unwrap_or(rest.len());
            out.push_lossy(&rest[..plain]);
            rest = &rest[plain..];
            if let [b'\\', escape @ ..] = rest {
                let (character, length) = unescape(escape);
                out.push(character.encode_utf8(&mut [0; 4]));
                rest = &escape[length..];
            }
        }
    }

    /// Returns the string with its escapes read if it is not empty and at most `limit` bytes long, and otherwise
    /// `None`.
    pub(crate) fn within(self, limit: usize) -> Option<String> {
        let mut text = BoundedText::new(limit);
        self.push_into(&mut text);
        (!text.is_truncated() && !text.as_str().is_empty()).then(|| text.into_string())
    }
}

/// Reads what follows a backslash: the character, and how many bytes it took. A lone half of a surrogate pair gives
/// U+FFFD. So does a `\u` without four hexadecimal digits, of which only the `u` is taken. An unknown escape gives
/// U+FFFD too, and nothing of it is taken.
fn unescape(escape: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let digits = escape.get(at..at + 4)?;
        digits.iter().try_fold(0, |n, digit| Some(n * 16 + char::from(*digit).to_digit(16)?))
    };
    match escape.first() {
        Some(b'n') => ('\n', 1),
        Some(b't') => ('\t', 1),
        Some(b'r') => ('\r', 1),
        Some(b'b') => ('\u{8}', 1),
        Some(b'f') => ('\u{c}', 1),
        Some(c @ (b'"' | b'\\' | b'/')) => (char::from(*c), 1),
        Some(b'u') => match (unit(1), escape.get(5..7), unit(7)) {
            (Some(high @ 0xD800..=0xDBFF), Some(b"\\u"), Some(low @ 0xDC00..=0xDFFF)) => {
                let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 11)
            }
            (Some(code), ..) => (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 5),
            (None, ..) => (char::REPLACEMENT_CHARACTER, 1),
        },
        // A backslash before anything else is not JSON; what follows it may be half a character, so it is left alone.
        _ => (char::REPLACEMENT_CHARACTER, 0),
    }
}

/// The members of an object in their order, duplicates included; of anything else, none. Ends where the text does, and
/// where no name with its colon or no value follows. Nothing else is validated.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Members<'a> {
    /// Returns the members of an object, whose end may be missing: the last value may then be cut off. There are none
    /// in anything else.
    pub(crate) fn of(object: &'a [u8]) -> Members<'a> {
        Members { rest: trim_start(object).strip_prefix(b"{").unwrap_or_default() }
    }

    /// Takes the next member's name alone, with its colon. Returns `None`, and takes nothing, where none follows: at
    /// the object's end, for example. The value is [`Members::cut`], or is taken by [`Members::value`].
    pub(crate) fn name(&mut self) -> Option<Str<'a>> {
        take_name(&mut self.rest)
    }

    /// Takes the value whose name was taken. One without its end is all the rest of the text. Returns `None` if nothing
    /// is left, or if a comma or a closing bracket stands in its place.
    pub(crate) fn value(&mut self) -> Option<RawJson<'a>> {
        take_value(&mut self.rest)
    }

    /// Returns the value whose name was taken, without looking for its end: it reaches to the end of the text. It is
    /// not taken.
    pub(crate) fn cut(&self) -> RawJson<'a> {
        RawJson { raw: self.rest, whole: false, escaped: true }
    }

    /// Returns true if nothing but the object's own end is left, once all members are taken.
    pub(crate) fn is_closed(&self) -> bool {
        trim_start(self.rest).strip_prefix(b"}").is_some_and(|behind| trim_start(behind).is_empty())
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Str<'a>, RawJson<'a>);

    /// Takes the next name and its value. Returns `None` if one of them is missing, as at the end of the object or of
    /// the text. A name without a value is taken all the same.
    fn next(&mut self) -> Option<Self::Item> {
        let name = take_name(&mut self.rest)?;
        Some((name, take_value(&mut self.rest)?))
    }
}

/// Returns the value of the first member of each of these names, or `None` for a name that is not there. They are found
/// in one pass, which ends with the last of them. The last value may be cut off.
pub(crate) fn pick<'a, const N: usize>(object: &'a [u8], names: [&str; N]) -> [Option<RawJson<'a>>; N] {
    let mut picked = [None; N];
    for (key, value) in Members::of(object) {
        if let Some(at) = key.position(&names)
            && picked[at].is_none()
        {
            picked[at] = Some(value);
            if picked.iter().all(Option::is_some) {
                break;
            }
        }
    }
    picked
}

/// Returns true if `text` is one object or string with its end, and nothing but white space is around it. Its inside is
/// not validated.
pub(crate) fn is_whole(text: &[u8]) -> bool {
    let text = trim(text);
    matches!(text, [b'{' | b'"', ..]) && end_of_value(text) == Some(text.len())
}

/// Returns the length of the object or string that `text` begins with. Returns `None` if its end is missing, or if it
/// begins with anything else.
pub(crate) fn end_of_object(text: &[u8]) -> Option<usize> {
    matches!(text, [b'{' | b'"', ..]).then(|| end_of_value(text)).flatten()
}

/// Returns a text without JSON's white space around it.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let text = trim_start(text);
    &text[..text.iter().rposition(|b| !is_space(*b)).map_or(0, |last| last + 1)]
}

/// Takes a member's name, the comma before it, the colon after it, and the white space around them. The comma may be
/// missing. Returns `None`, and takes nothing, if no name with its colon follows, as at the object's end.
#[inline(always)]
fn take_name<'a>(rest: &mut &'a [u8]) -> Option<Str<'a>> {
    let text = trim_start(rest);
    let text = trim_start(text.strip_prefix(b",").unwrap_or(text));
    if text.first() != Some(&b'"') {
        return None;
    }
    let (end, escaped) = end_of_string(text)?;
    let behind = &text[end..];
    *rest = match behind {
        // Nearly always.
        [b':', next, ..] if !is_space(*next) => &behind[1..],
        _ => trim_start(trim_start(behind).strip_prefix(b":")?),
    };
    Some(Str { raw: &text[1..end - 1], escaped })
}

/// Takes a value. One without its end is all the rest of the text, and not whole. Returns `None` if nothing is left, or
/// if a comma or a closing bracket stands in its place, which is not taken.
#[inline(always)]
fn take_value<'a>(rest: &mut &'a [u8]) -> Option<RawJson<'a>> {
    let (end, escaped) = match rest.first()? {
        b'"' => end_of_string(rest).map_or((None, true), |(end, escaped)| (Some(end), escaped)),
        _ => (end_of_value(rest), true),
    };
    let (raw, behind) = rest.split_at(end.unwrap_or(rest.len()));
    *rest = behind;
    (!raw.is_empty()).then_some(RawJson { raw, whole: end.is_some(), escaped })
}

/// Passes over a value. Returns `None` if its end is missing, and passes over nothing then.
fn skip_value(rest: &mut &[u8]) -> Option<()> {
    *rest = &rest[end_of_value(rest)?..];
    Some(())
}
