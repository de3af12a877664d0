//! The framing of a JSON document that is an array: each element is a frame, so that memory stays constant and the last
//! element still decides.

use memchr::memchr2;
use serde::de::IgnoredAny;

use crate::agent::framing::{
    frame::{Frame, MAX_EVENT, PREFIX, Rest, Source, is_kept},
    lines::{Buffer, last_token},
    prose::{goes_on_as_text, is_prose},
};
use crate::json::skim::Skim;

/// Bytes of the array's beginning that are kept. It is the answer if no element holds one.
const MAX_HEAD: usize = 16 * 1024;

/// Where the array is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the opening bracket.
    Before,
    /// Behind the bracket, or behind a comma.
    Between {
        after_comma: bool,
    },
    Within,
    /// Behind the closing bracket.
    Behind,
    /// What came is no JSON array.
    Broken,
}

/// The element under way.
#[derive(Debug)]
pub(crate) struct Elements {
    may_be_text: bool,
    /// Text followed the array.
    is_text: bool,
    place: Place,
    depth: usize,
    in_string: bool,
    escaped: bool,
    element: Buffer,
    dropped: Option<u8>,
    /// Skims an element that is too large to be kept.
    skim: Option<Box<Skim>>,
    /// The element was handed out. The next call clears it.
    done: bool,
    head: Vec<u8>,
    head_is_cut: bool,
}

impl Elements {
    /// Creates the framing before the array's first byte. With `may_be_text`, a body that turns out to be no array may
    /// be read as plain text.
    pub(crate) fn new(may_be_text: bool) -> Elements {
        Elements {
            may_be_text,
            is_text: false,
            place: Place::Before,
            depth: 0,
            in_string: false,
            escaped: false,
            element: Buffer::default(),
            dropped: None,
            skim: None,
            done: false,
            head: Vec::new(),
            head_is_cut: false,
        }
    }

    /// Returns the array's beginning, and true if there was more.
    pub(crate) fn head(&self) -> (&[u8], bool) {
        (&self.head, self.head_is_cut)
    }

    /// Returns the bytes of memory that are held.
    pub(crate) fn capacity(&self) -> usize {
        let skim = self.skim.as_ref().map_or(0, |skim| skim.capacity());
        self.element.0.capacity() + self.head.capacity() + skim
    }

    /// Takes the next element that is complete from `input`. At `None` all of `input` is taken. A body that breaks the
    /// form of an array gives no further elements, and [`Elements::rest`] says what it is then. An element that is no
    /// JSON breaks the form, too. An element that was too large to keep is not checked.
    pub(crate) fn next<'f>(&'f mut self, input: &mut &[u8]) -> Option<Frame<'f>> {
        if self.done {
            self.done = false;
            self.dropped = None;
            self.skim = None;
            self.element.clear();
        }
        while let Some(first) = input.first().copied() {
            let taken = match (self.place, first) {
                (Place::Broken, _) => input.len(),
                (Place::Within, _) => self.within(input),
                (_, byte) if byte.is_ascii_whitespace() => 1,
                (Place::Before, b'[') => {
                    self.place = Place::Between { after_comma: false };
                    1
                }
                (Place::Between { after_comma: false }, b']') => {
                    self.place = Place::Behind;
                    1
                }
                (Place::Between { .. }, b',' | b']' | b'}') | (Place::Before | Place::Behind, _) => {
                    // A footnote's mark, or a link: text that begins like an array.
                    self.is_text = self.place == Place::Behind && goes_on_as_text(first);
                    self.place = Place::Broken;
                    1
                }
                (Place::Between { .. }, _) => {
                    self.place = Place::Within;
                    0
                }
            };
            self.keep_head(&input[..taken]);
            *input = &input[taken..];
            if self.done {
                if self.dropped.is_none() && serde_json::from_slice::<IgnoredAny>(&self.element.0).is_err() {
                    self.place = Place::Broken;
                    self.done = false;
                    self.element.clear();
                    continue;
                }
                return Some(self.frame());
            }
        }
        None
    }

    /// Takes the bytes of the element, and the comma or bracket that ends it. Returns their number: all, if no end is
    /// among them. Brackets are only counted: an element that mixes their kinds is found to be no JSON later.
    fn within(&mut self, input: &[u8]) -> usize {
        let mut at = 0;
        while let Some(byte) = input.get(at) {
            if self.in_string {
                if self.escaped {
                    self.escaped = false;
                } else {
                    at += memchr2(b'"', b'\\', &input[at..]).unwrap_or(input.len() - at);
                    match input.get(at) {
                        Some(b'"') => self.in_string = false,
                        Some(_) => self.escaped = true,
                        None => break,
                    }
                }
                at += 1;
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => self.depth -= 1,
                b',' | b']' if self.depth == 0 => {
                    self.append(&input[..at]);
                    self.place = if *byte == b',' { Place::Between { after_comma: true } } else { Place::Behind };
                    self.done = true;
                    return at + 1;
                }
                _ => {}
            }
            at += 1;
        }
        self.append(input);
        input.len()
    }

    /// Appends a part of the element. Once the element exceeds 1 MiB, three things are kept: its first 4 KiB, the last
    /// byte that is no white space, and the members of an object that readers look for.
    fn append(&mut self, part: &[u8]) {
        if self.dropped.is_none() && self.element.0.len() + part.len() <= MAX_EVENT {
            return self.element.append(part, MAX_EVENT);
        }
        let last = last_token(part).or(self.dropped).or_else(|| last_token(&self.element.0));
        let skim = self.skim.get_or_insert_with(|| {
            let mut skim = Box::new(Skim::new(is_kept));
            skim.feed(&self.element.0);
            skim
        });
        skim.feed(part);
        if self.dropped.is_none() {
            self.element.cut(part, PREFIX);
        }
        self.dropped = Some(last.unwrap_or(b' '));
    }

    /// Keeps the bytes that still fit the 16 KiB of the array's beginning.
    fn keep_head(&mut self, part: &[u8]) {
        let room = MAX_HEAD - self.head.len();
        self.head_is_cut |= part.len() > room;
        self.head.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// Returns the element that is complete as a frame: for an object that was too large to keep, the members that were
    /// kept.
    fn frame(&mut self) -> Frame<'_> {
        if let Some(skim) = self.skim.as_deref_mut().filter(|skim| skim.is_object()) {
            let dropped = Some(skim.last());
            return Frame { dropped, ..Frame::new(Source::Element, skim.object()) };
        }
        Frame { dropped: self.dropped, ..Frame::new(Source::Element, &self.element.0) }
    }

    /// Decides an array that has arrived whole, and of which nothing is left. A body that is no array is not JSON. It
    /// is plain text instead, up to 16 KiB of it, if the content type allows this, and text follows a closed array or
    /// its beginning is [`is_prose`].
    pub(crate) fn rest(&mut self) -> Rest<'_> {
        match self.place {
            Place::Behind => Rest::Nothing,
            _ if self.may_be_text && (self.is_text || is_prose(&self.head)) => {
                Rest::Frame(Frame::new(Source::Text, &self.head))
            }
            _ => Rest::NotJson,
        }
    }
}
