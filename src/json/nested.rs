//! Keeps a part of an object or an array that is too large to keep. A long string or a long list leaves room for what
//! stands behind it. Once little room is left, an object keeps only the members that are asked for, and an array keeps
//! no more values.

use crate::json::extent::Extent;

/// Bytes that are kept of one string (24 KiB): enough for the longest output, all of it escaped.
pub(super) const STRING: usize = 24 * 1024;

/// Bytes of a name. No name that anybody asks for is longer, all of it escaped.
pub(super) const NAME: usize = 512;

/// Bytes of an object's room that are left to the members that are asked for, once the others have filled the rest.
const RESERVE: usize = 2 * 1024;

/// Bytes that are kept of a member that is asked for, out of the reserve.
const FEW: usize = 320;

/// Bytes below which a value is not worth keeping. Every number that anybody reads is shorter.
const LEAST: usize = 64;

/// What stands in an object or a list of which nothing had room: an empty one would say that there is nothing.
const CUT_OBJECT: &[u8] = "\"…\":0".as_bytes();
const CUT_LIST: &[u8] = b"0";

/// An object or an array of which a part is kept.
#[derive(Debug, Clone, Copy)]
struct Level {
    is_object: bool,
    /// Where its part may end, without its bracket and the mark of what was cut.
    limit: usize,
    /// The reserve is begun: of an object only the members are kept that are asked for.
    is_full: bool,
    /// Something in it was not kept.
    is_cut: bool,
    /// Nothing but objects and the first values of arrays is above it: it may say how the run ended.
    is_head: bool,
}

/// What may come next in the innermost level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Name,
    Colon,
    Value,
    Comma,
}

/// What is under way.
#[derive(Debug, Clone, Copy)]
enum Token {
    None,
    Name,
    /// A string or a word that is kept up to this length of the output.
    Text(usize),
    Word(usize),
    /// What is not kept: a word, or anything that has its own end.
    PastWord,
    Past(Extent),
}

/// Keeps a part of one object or array while its bytes arrive. What is kept is appended to the caller's buffer.
#[derive(Debug)]
pub(super) struct Nested {
    keep: fn(&[u8]) -> bool,
    levels: Vec<Level>,
    expect: Expect,
    token: Token,
    escaped: bool,
    name: Vec<u8>,
    is_lost: bool,
}

impl Nested {
    /// Creates the keeper before any value. `keep` gets the bytes of a name, escapes unread, and returns true if its
    /// member is asked for. It is called only where room is short.
    pub(super) fn new(keep: fn(&[u8]) -> bool) -> Nested {
        Nested {
            keep,
            levels: Vec::new(),
            expect: Expect::Value,
            token: Token::None,
            escaped: false,
            name: Vec::new(),
            is_lost: false,
        }
    }

    /// Begins a value at its bracket, and appends the bracket to `out`. At most `room` bytes are kept of the value,
    /// with its brackets. A room below nine counts as nine.
    pub(super) fn begin(&mut self, bracket: u8, room: usize, out: &mut Vec<u8>) {
        self.token = Token::None;
        self.open(bracket, out.len() + room.max(CUT_OBJECT.len() + 2), true, out);
    }

    /// Returns true if, in any value so far, something that may say how the run ended had no room, or something was no
    /// JSON.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Returns the bytes of memory that are held, without the caller's buffer.
    pub(super) fn capacity(&self) -> usize {
        self.name.capacity() + self.levels.capacity() * size_of::<Level>()
    }

    /// Takes the next bytes of the value, split anywhere, and appends what is kept of them to `out`. Nothing behind the
    /// value's closing bracket is taken. Returns how many bytes were taken, and true if that bracket was among them.
    /// Without it all are taken.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            match self.token {
                Token::None => {
                    at += 1;
                    if self.between(byte, out) {
                        return (at, true);
                    }
                }
                Token::Name | Token::Text(_) => {
                    self.within_string(byte, out);
                    at += 1;
                }
                Token::Word(_) | Token::PastWord => {
                    if matches!(byte, b',' | b'}' | b']' | b':' | b'"' | b'{' | b'[') || byte.is_ascii_whitespace() {
                        self.end();
                    } else {
                        if let Token::Word(limit) = self.token
                            && out.len() < limit
                        {
                            out.push(byte);
                        }
                        at += 1;
                    }
                }
                Token::Past(mut extent) => {
                    let (taken, is_end) = extent.take(&bytes[at..]);
                    at += taken;
                    self.token = Token::Past(extent);
                    if is_end {
                        self.end();
                    }
                }
            }
        }
        (at, false)
    }

    /// Takes a byte between two tokens: white space, a closing bracket, a comma, a colon, or the first byte of a name
    /// or a value. A closing bracket is appended, after a mark if nothing of its level had room. Neither its kind nor
    /// the number of commas is checked. Where a value is due, any other byte counts as its first. Elsewhere any other
    /// byte is no JSON: the rest of that token is passed over, and [`Self::is_lost`] is true from then on. Returns true
    /// at the end of the value.
    fn between(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'}' | b']' => {
                if let Some(level) = self.levels.pop()
                    && level.is_cut
                    && matches!(out.last(), Some(b'{' | b'['))
                {
                    out.extend_from_slice(if level.is_object { CUT_OBJECT } else { CUT_LIST });
                }
                out.push(byte);
                self.expect = Expect::Comma;
                return self.levels.is_empty();
            }
            b',' => {
                let is_object = self.levels.last().is_some_and(|level| level.is_object);
                self.expect = if is_object { Expect::Name } else { Expect::Value };
            }
            b':' if self.expect == Expect::Colon => self.expect = Expect::Value,
            b'"' if self.expect == Expect::Name => {
                self.name.clear();
                self.token = Token::Name;
            }
            _ if self.expect == Expect::Value => self.begin_value(byte, out),
            _ => {
                self.is_lost = true;
                self.pass(byte);
            }
        }
        false
    }

    /// Begins a value of the innermost level, whose first byte is `first`. If [`Self::room`] grants it room, the comma
    /// before it, its name in an object and `first` are appended. Otherwise nothing is appended, the value is passed
    /// over, and the level counts as cut. Something is lost then if the value is an object, the first one of a list
    /// that may say how the run ended.
    fn begin_value(&mut self, first: u8, out: &mut Vec<u8>) {
        let is_first = matches!(out.last(), Some(b'{' | b'['));
        let Some(room) = self.room(out.len()) else {
            if let Some(level) = self.levels.last_mut() {
                level.is_cut = true;
                // An object that is the first value of a list may say how the run ended.
                self.is_lost |= is_first && first == b'{' && !level.is_object && level.is_head;
            }
            return self.pass(first);
        };
        let Some(level) = self.levels.last().copied() else { return };
        if !is_first {
            out.push(b',');
        }
        if level.is_object {
            out.push(b'"');
            out.extend_from_slice(&self.name);
            out.extend_from_slice(b"\":");
        }
        match first {
            b'{' | b'[' => {
                let is_head = level.is_head && (level.is_object || is_first);
                self.open(first, out.len() + room, is_head, out);
            }
            b'"' => {
                out.push(first);
                // One byte for its quote.
                self.token = Token::Text(out.len() + room.min(STRING) - 2);
            }
            _ => {
                out.push(first);
                self.token = Token::Word(out.len() + room - 1);
            }
        }
    }

    /// Returns how many bytes may be kept of the next value of the innermost level, beside its name, if `length` bytes
    /// are kept so far. It may take all that is left but the reserve, or half of what is left, if that is more:
    /// something is always left behind it. Once an object has only its reserve left, only a member that is asked for
    /// gets room, and little. `None` means that the value is not kept. A name of 512 bytes or more gets no room, nor
    /// does anything once fewer than 64 bytes are left. What is asked for and gets none is lost, if it may say how the
    /// run ended.
    fn room(&mut self, length: usize) -> Option<usize> {
        let level = self.levels.last_mut()?;
        let name = if level.is_object { self.name.len() + "\"\":".len() } else { 0 };
        let left = level.limit.saturating_sub(length + 1 + name);
        if !level.is_object {
            return (left >= LEAST).then(|| left.saturating_sub(RESERVE).max(left / 2));
        }
        level.is_full |= left <= RESERVE;
        if self.name.len() >= NAME {
            return None;
        }
        if !level.is_full {
            return Some((left - RESERVE).max(left / 2));
        }
        let is_asked_for = (self.keep)(&self.name);
        let room = (is_asked_for && left >= LEAST).then(|| left.min(FEW));
        self.is_lost |= is_asked_for && room.is_none() && level.is_head;
        room
    }

    /// Opens a level at its bracket, which is appended. The level's part, with its closing bracket, may end at the
    /// length `end` of the output. `is_head` is true if only objects and the first values of arrays are above it.
    fn open(&mut self, bracket: u8, end: usize, is_head: bool, out: &mut Vec<u8>) {
        out.push(bracket);
        let is_object = bracket == b'{';
        let mark = if is_object { CUT_OBJECT.len() } else { CUT_LIST.len() };
        self.levels.push(Level { is_object, limit: end - 1 - mark, is_full: false, is_cut: false, is_head });
        self.expect = if is_object { Expect::Name } else { Expect::Value };
    }

    /// Begins to pass over a value or name whose first byte is `first`. Nothing of it is kept.
    fn pass(&mut self, first: u8) {
        self.token = match first {
            b'"' | b'{' | b'[' => Token::Past(begun(&[first])),
            _ => Token::PastWord,
        };
    }

    /// Takes a byte within a name or a string that is kept, or its closing quote. A string that has no room left gets
    /// its quote, and the rest is passed over. It never ends in a lone backslash, but may end in a part of a `\u`
    /// escape. A name is held back until its value is kept. At most 512 bytes of it are held: [`Self::room`] keeps no
    /// member with so long a name.
    fn within_string(&mut self, byte: u8, out: &mut Vec<u8>) {
        let is_end = byte == b'"' && !self.escaped;
        let was_escaped = std::mem::take(&mut self.escaped);
        self.escaped = byte == b'\\' && !was_escaped;
        match self.token {
            Token::Name if is_end => {
                self.token = Token::None;
                self.expect = Expect::Colon;
            }
            Token::Name if self.name.len() < NAME => self.name.push(byte),
            Token::Text(_) if is_end => {
                out.push(byte);
                self.end();
            }
            Token::Text(limit) if out.len() < limit => out.push(byte),
            Token::Text(_) => {
                if was_escaped {
                    // Half an escape.
                    out.pop();
                }
                out.push(b'"');
                // The second byte of an escape is no byte of its own.
                self.token = Token::Past(if was_escaped { begun(b"\"") } else { begun(&[b'"', byte]) });
                self.escaped = false;
            }
            _ => {}
        }
    }

    /// Ends the value at hand. A comma or a bracket must follow.
    fn end(&mut self) {
        self.token = Token::None;
        self.expect = Expect::Comma;
    }
}

/// Returns the extent of a value that begins with these bytes.
fn begun(first: &[u8]) -> Extent {
    let mut extent = Extent::default();
    extent.feed(first);
    extent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scan::{self, RawJson};

    /// Keeps so many bytes of a text, in chunks of this size. Returns what was kept, and whether something was lost.
    fn kept(text: &str, room: usize, chunk: usize) -> (String, bool) {
        let mut nested = Nested::new(|name| matches!(name, b"error" | b"status"));
        let mut out = Vec::new();
        nested.begin(text.as_bytes()[0], room, &mut out);
        let mut is_end = false;
        for part in text.as_bytes()[1..].chunks(chunk) {
            let (taken, ended) = nested.take(part, &mut out);
            assert!(!is_end && (ended || taken == part.len()), "{text}");
            is_end = ended;
        }
        assert!(is_end && out.len() <= room, "{} of {room} bytes", out.len());
        (String::from_utf8(out).expect("UTF-8"), nested.is_lost())
    }

    #[test]
    fn what_has_room_is_kept_without_its_white_space() {
        for text in ["{}", "[]", "{\"a\":[1,{\"b\":\"}\\\"]\"},null]}", "[[[]],-1.5e9,true,\"\"]"] {
            for chunk in [1, 3, 100] {
                assert_eq!(kept(text, 10_000, chunk), (text.to_owned(), false));
            }
        }
        assert_eq!(kept("{ \"a\" : [ 1 , 2 ]\n}", 10_000, 1).0, "{\"a\":[1,2]}");
    }

    #[test]
    fn what_is_asked_for_is_kept_behind_anything() {
        let many = "{\"error\":1},".repeat(3_000);
        for long in [
            format!("\"{}\"", "x".repeat(60_000)),
            format!("\"{}\"", "\\\"".repeat(30_000)),
            format!("[{many}0]"),
            format!("{{\"a\":[{many}0],\"b\":\"{}\"}}", "x".repeat(60_000)),
            format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)),
        ] {
            let text =
                format!("{{\"a\":{long},\"b\":{long},\"c\":{long},\"status\":\"failed\",\"error\":{{\"x\":1}}}}");
            for chunk in [1, 777, usize::MAX] {
                let (kept, is_lost) = kept(&text, 40_000, chunk);
                assert!(!is_lost && kept.contains("\"status\":\"failed\""), "{}", &long[..20]);
                assert!(serde_json::from_str::<serde_json::Value>(&kept).is_ok(), "{}", &long[..20]);
            }
        }
    }

    /// What is asked for is kept, or known to be lost, however little room there is. It never becomes an empty value.
    #[test]
    fn nothing_that_is_asked_for_is_emptied() {
        let list = format!("[{}0]", "{\"x\":1},".repeat(300));
        for error in ["{\"title\":\"boom\"}", "[{\"title\":\"boom\"}]", "{\"error\":{\"x\":[[1]]}}", "\"boom\""] {
            let text = format!("{{\"a\":{list},\"error\":{error},\"b\":{list}}}");
            let nested = format!("{{\"a\":{{\"b\":{list},\"error\":{error}}},\"status\":1}}");
            for room in 20..3_000 {
                for (text, of) in [(&text, ""), (&nested, "a")] {
                    let (kept, is_lost) = kept(text, room, 777);
                    let kept: serde_json::Value = serde_json::from_str(&kept).expect("JSON");
                    // What nobody asks for need not be kept, whatever is in it.
                    let holder = if of.is_empty() { Some(&kept) } else { kept.get(of) };
                    let Some(holder) = holder else { continue };
                    let error = &holder["error"];
                    // A list without its first object says as little as an empty one.
                    let is_empty = matches!(error.to_string().as_str(), "null" | "{}" | "[]" | "[0]" | "\"\"");
                    assert!(is_lost || !is_empty, "{error} of {room} bytes");
                }
            }
        }
    }

    /// A string that is cut ends where the whole one does, wherever its escapes stand.
    #[test]
    fn what_follows_a_cut_string_is_kept() {
        for part in ["x", "\\\"", "\\\\", "x\\\\\\\"", "\\u0022"] {
            for shift in 0..4 {
                let text = format!("{{\"a\":\"{}{}\",\"error\":1}}", "x".repeat(shift), part.repeat(4_000));
                for chunk in [1, 5, usize::MAX] {
                    let (kept, _) = kept(&text, 4_000, chunk);
                    // A part of an escape of six bytes may be kept. Readers take it for a character that is missing.
                    let [error] = scan::pick(kept.as_bytes(), ["error"]);
                    assert_eq!(error.map(RawJson::raw), Some(&b"1"[..]), "{part}");
                }
            }
        }
    }

    #[test]
    fn what_is_asked_for_and_has_no_room_is_lost() {
        let flood = "\"status\":\"at work\",".repeat(3_000);
        assert!(kept(&format!("{{{flood}\"error\":1}}"), 20_000, 100).1);
        assert!(!kept(&format!("[{{}},{{{flood}\"error\":1}}]"), 20_000, 100).1, "no more than a value of a list");
        assert!(kept(&format!("[{{{flood}\"error\":1}}]"), 20_000, 100).1, "the first may say how the run ended");
        assert!(kept("{\"a\" \"error\":1}", 20_000, 100).1, "no JSON");
    }
}
