//! Skims an object that is too large to keep. Its top-level members that are asked for are kept while the bytes pass,
//! each up to a limit, and a part of what the objects and lists among them hold: see [`crate::json::nested`]. So the
//! members that decide a run are known wherever they stand.

use crate::json::extent::Extent;
use crate::json::nested::{NAME, Nested, STRING};

/// Bytes that are kept of all members together (128 KiB). Each member may take at most half of what is left, so that
/// there is always room for a short one behind it.
const ALL: usize = 128 * 1024;

/// Bytes that are kept of one object or array: those of its longest string, and as many for what stands beside that.
const NESTED: usize = 2 * STRING;

/// Bytes below which a member is not worth keeping: every id that anybody reads is shorter.
const LEAST: usize = 320;

/// Where the object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before its bracket, or within the `data:` before that.
    Before,
    /// Before a member's name, or the end.
    Between,
    Name,
    /// Between a name and its colon.
    Colon,
    /// Between a colon and a value.
    Value,
    /// Within a value that is neither a string nor has brackets.
    Word,
    Text,
    Nested,
    /// Behind its end.
    Behind,
    /// It is no object.
    Broken,
}

/// The members so far, as an object of its own.
#[derive(Debug)]
pub(crate) struct Skim {
    keep: fn(&[u8]) -> bool,
    place: Place,
    /// It begins with the bracket of one.
    is_object: bool,
    escaped: bool,
    name: Vec<u8>,
    nested: Nested,
    /// The brackets that are open in a nested value that is passed over.
    passed: Extent,
    /// There was no room for a member that was asked for.
    is_lost: bool,
    out: Vec<u8>,
    /// Where the value under way may end in `out`; 0 if it is not kept any more.
    limit: usize,
}

impl Skim {
    /// Creates a skim before the object's first byte. `keep` gets the bytes of a name, escapes unread, and returns true
    /// if its member is asked for. Of the object's own members only these are kept. Within them, `keep` decides only
    /// where room is short. A name of 512 bytes or more is not asked for.
    pub(crate) fn new(keep: fn(&[u8]) -> bool) -> Skim {
        Skim {
            keep,
            place: Place::Before,
            is_object: false,
            escaped: false,
            name: Vec::new(),
            nested: Nested::new(keep),
            passed: Extent::default(),
            is_lost: false,
            out: b"{".to_vec(),
            limit: 0,
        }
    }

    /// Returns the members that were kept so far, as an object: at first its bracket alone. Values that were too large
    /// are cut. The object has its end only if the skimmed one had, and only white space came after it. Nothing may be
    /// fed after this call.
    pub(crate) fn object(&mut self) -> &[u8] {
        if self.place == Place::Behind && !self.out.ends_with(b"\n") {
            // A mark that closes it once: whitespace behind an object is none of it.
            self.out.extend_from_slice(b"}\n");
        }
        &self.out
    }

    /// Returns true if the bytes so far begin with the bracket of an object, whatever came behind that.
    pub(crate) fn is_object(&self) -> bool {
        self.is_object
    }

    /// Returns true if the object had its end, and only white space came after it.
    pub(crate) fn is_whole(&self) -> bool {
        self.place == Place::Behind
    }

    /// Returns the last byte of the object: its bracket, or a space if it is not to be believed when it says that all
    /// went well. It has no end then, or something came behind that, or a member that was asked for had no room. A
    /// value that was cut does not count.
    pub(crate) fn last(&self) -> u8 {
        if self.is_whole() && !self.is_lost && !self.nested.is_lost() { b'}' } else { b' ' }
    }

    /// Returns the bytes of memory that are held.
    pub(crate) fn capacity(&self) -> usize {
        self.out.capacity() + self.name.capacity() + self.nested.capacity()
    }

    /// Takes the next bytes, split anywhere. White space, `data:` and a record separator (0x1e) may stand before the
    /// bracket. Not all of JSON's rules are checked. Once a byte stands where no object has one, nothing more is taken.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.place != Place::Broken {
            let taken = match self.place {
                Place::Text => self.text(rest),
                Place::Nested => self.within_nested(rest),
                _ => {
                    self.byte(rest[0]);
                    1
                }
            };
            rest = &rest[taken..];
        }
    }

    /// Takes one byte outside strings and nested values, and finds out what comes next. A byte that no object has there
    /// breaks it: from then on nothing is taken.
    fn byte(&mut self, byte: u8) {
        let is_space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.place = match (self.place, byte) {
            (Place::Before, b'{') => {
                self.is_object = true;
                Place::Between
            }
            (Place::Before, b'd' | b'a' | b't' | b':' | 0x1e) => Place::Before,
            (Place::Before | Place::Between | Place::Colon | Place::Value | Place::Behind, _) if is_space => self.place,
            (Place::Between, b',') => Place::Between,
            (Place::Between, b'}') => Place::Behind,
            (Place::Between, b'"') => {
                self.name.clear();
                Place::Name
            }
            (Place::Name, _) => self.in_name(byte),
            (Place::Colon, b':') => Place::Value,
            (Place::Value, b'"') => self.begin(byte, Place::Text),
            (Place::Value, b'{' | b'[') => self.begin(byte, Place::Nested),
            (Place::Value, b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') => self.begin(byte, Place::Word),
            (Place::Word, b',') => Place::Between,
            (Place::Word, b'}') => Place::Behind,
            (Place::Word, _) if is_space => Place::Between,
            (Place::Word, _) => {
                self.push(byte);
                Place::Word
            }
            _ => Place::Broken,
        };
    }

    /// Takes a byte of a name, and returns what comes next: the colon after its closing quote, and otherwise more of
    /// it. At most 512 bytes are held. A member whose name has so many or more is not kept.
    fn in_name(&mut self, byte: u8) -> Place {
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            return Place::Colon;
        }
        if self.name.len() < NAME {
            self.name.push(byte);
        }
        Place::Name
    }

    /// Begins a value, whose first byte is `first`, and returns `place`, where it is now. Its name and `first` are kept
    /// if the member is asked for and there is room for at least [`LEAST`] bytes. Otherwise the value is passed over. A
    /// member that is asked for and has no room is lost.
    fn begin(&mut self, first: u8, place: Place) -> Place {
        self.limit = 0;
        let is_asked_for = self.name.len() < NAME && (self.keep)(&self.name);
        let most = if place == Place::Nested { NESTED } else { STRING };
        let room = (ALL.saturating_sub(self.out.len() + self.name.len() + 4) / 2).min(most);
        if is_asked_for && room >= LEAST {
            if self.out.len() > 1 {
                self.out.push(b',');
            }
            self.out.push(b'"');
            self.out.extend_from_slice(&self.name);
            self.out.extend_from_slice(b"\":");
            // One byte for its quote.
            self.limit = self.out.len() + room - 1;
            match place {
                Place::Nested => self.nested.begin(first, room, &mut self.out),
                _ => self.push(first),
            }
        } else if place == Place::Nested {
            self.passed = Extent::default();
            self.passed.feed(&[first]);
        }
        self.is_lost |= is_asked_for && self.limit == 0;
        place
    }

    /// Keeps a byte of the value under way. If there is no room for it, the value is cut. Of a value that is not kept,
    /// or was cut before, nothing is kept.
    fn push(&mut self, byte: u8) {
        if self.out.len() < self.limit {
            self.out.push(byte);
        } else if self.limit > 0 {
            self.cut();
        }
    }

    /// Ends a value that is longer than is kept, and the rest is passed over. A string gets its quote. It never ends in
    /// a lone backslash, but may end in a part of a `\u` escape.
    fn cut(&mut self) {
        if self.place == Place::Text {
            if self.escaped {
                // Half an escape.
                self.out.pop();
            }
            self.out.push(b'"');
        }
        self.limit = 0;
    }

    /// Takes the bytes of a string, up to and with its closing quote, and keeps them as far as there is room. Returns
    /// how many were taken. If the quote is not among them, all were.
    fn text(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            if self.limit == 0 && !self.escaped {
                // Nothing more is kept.
                at += memchr::memchr2(b'"', b'\\', &bytes[at..]).unwrap_or(bytes.len() - at);
                match bytes.get(at) {
                    Some(b'"') => {
                        self.place = Place::Between;
                        return at + 1;
                    }
                    Some(_) => self.escaped = true,
                    None => return at,
                }
                at += 1;
                continue;
            }
            at += 1;
            if self.escaped {
                self.push(byte);
                self.escaped = false;
            } else if byte == b'"' {
                if self.limit > 0 {
                    self.out.push(byte);
                }
                self.place = Place::Between;
                return at;
            } else {
                self.push(byte);
                self.escaped = byte == b'\\';
            }
        }
        at
    }

    /// Takes what belongs to an object or array, up to and with its closing bracket, and keeps a part of it if it was
    /// asked for. Returns how many bytes that is: all of them, if the bracket is not among them.
    fn within_nested(&mut self, bytes: &[u8]) -> usize {
        let (taken, is_end) = match self.limit {
            0 => self.passed.take(bytes),
            _ => self.nested.take(bytes, &mut self.out),
        };
        if is_end {
            self.place = Place::Between;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn skimmed(text: &[u8], chunk: usize) -> (Vec<u8>, bool) {
        let mut skim = Skim::new(|name| name != b"other");
        text.chunks(chunk).for_each(|part| skim.feed(part));
        let is_whole = skim.is_whole();
        (skim.object().to_vec(), is_whole)
    }

    /// Any value of a moderate size.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                vec((any::<String>(), inner), 0..4).prop_map(|members| Map::from_iter(members).into()),
            ]
        })
    }

    fn object() -> impl Strategy<Value = Value> {
        let name =
            prop::sample::select(vec!["error", "status", "text", "other", "usage", "type"]).prop_map(str::to_owned);
        vec((name, value()), 0..6).prop_map(|members| Map::from_iter(members).into())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// What fits is what serde_json reads, without the members that nobody asked for, however it is split.
        #[test]
        fn small_members_are_kept_as_they_are(object in object(), pretty in any::<bool>(), chunk in 1..40_usize) {
            let text = if pretty { serde_json::to_vec_pretty(&object) } else { serde_json::to_vec(&object) };
            let text = text.expect("JSON");
            let (kept, is_whole) = skimmed(&text, chunk);
            prop_assert!(is_whole);
            let mut expected = object;
            expected.as_object_mut().expect("an object").remove("other");
            prop_assert_eq!(serde_json::from_slice::<Value>(&kept).expect("JSON"), expected);
        }

        /// A cut object is never whole, whatever is behind it, and never causes a panic.
        #[test]
        fn a_part_is_not_whole(object in object(), cut in any::<u16>(), garbage in vec(any::<u8>(), 0..20)) {
            let text = serde_json::to_vec(&object).expect("JSON");
            let at = usize::from(cut) * (text.len() - 1) / usize::from(u16::MAX);
            prop_assert!(!skimmed(&text[..at], 7).1);
            skimmed(&[&text[..at], &garbage].concat(), 3);
            let behind = [&text[..], b" x"].concat();
            prop_assert!(!skimmed(&behind, 5).1);
        }

        /// Whatever a long member holds, the others are found and the object stays one.
        #[test]
        fn a_long_member_hides_no_other(long in value(), times in 1..3_usize, chunk in 1..5_000_usize) {
            let list: Vec<Value> = std::iter::repeat_n(long, 3_000).collect();
            for long in [json!(list), json!({"a": {"b": list}}), json!(serde_json::to_string(&list).expect("JSON"))] {
                let body = format!(
                    "{{{}\"error\":\"closed\",\"usage\":{{\"input_tokens\":21}}}}",
                    format!("\"text\":{long},").repeat(times)
                );
                let (kept, is_whole) = skimmed(body.as_bytes(), chunk);
                prop_assert!(is_whole && kept.len() <= ALL);
                let [error, usage] = crate::json::scan::pick(&kept, ["error", "usage"]);
                prop_assert_eq!(error.map(crate::json::scan::RawJson::raw), Some(&b"\"closed\""[..]));
                prop_assert_eq!(usage.map(crate::json::scan::RawJson::raw), Some(&b"{\"input_tokens\":21}"[..]));
                prop_assert!(crate::json::scan::is_whole(&kept));
                prop_assert_eq!(&skimmed(body.as_bytes(), usize::MAX).0, &kept);
            }
        }
    }

    #[test]
    fn what_is_no_object_is_none() {
        for text in ["[1]", "\"a\"", "x", "{x}", "{\"a\" 1}", "{\"a\":}", "{\"a\":1}}", "{\"a\":1} {}"] {
            assert!(!skimmed(text.as_bytes(), 2).1, "{text}");
        }
        for text in ["data: {\"a\":1}", "{}", " {\"a\":\"\\\"}\"} \n", "\u{1e}{\"a\":[\"]\"]}"] {
            assert!(skimmed(text.as_bytes(), 2).1, "{text}");
        }
    }
}
