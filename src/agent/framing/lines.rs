//! Cuts a stream into lines, however it is chunked, in bounded memory and linear time.

use memchr::memchr2;

use crate::agent::framing::frame::{MAX_EVENT, PREFIX, is_kept};
use crate::json::skim::Skim;

/// The bytes by which a line may be longer than an event: those of SSE's `data: `.
const FIELD: usize = 16;

/// Above this a buffer is given back when its line is done, so that one large event does not cost its size for the
/// rest of the run.
const KEEP: usize = 256 * 1024;

/// The line ends of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnd {
    /// LF, or the record separator of RFC 7464, which Mastra sends without LF: NDJSON. A CR before it is whitespace to
    /// JSON, and no JSON holds a separator.
    Lf,
    /// CR, LF or CRLF: SSE.
    Any,
}

/// A line without its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// All of it. For a line that was too long, the beginning, with at least [`PREFIX`] bytes of its event.
    pub(crate) bytes: &'a [u8],
    /// Set if the line was too long to be kept: the last byte of it that is not whitespace, or a space.
    pub(crate) dropped: Option<u8>,
    /// The members that were kept of an object too long to be kept whole, or otherwise empty.
    pub(crate) skimmed: &'a [u8],
}

/// The line under way.
#[derive(Debug)]
pub(crate) struct Lines {
    end: LineEnd,
    limit: usize,
    buffer: Buffer,
    dropped: Option<u8>,
    /// Skims a line that is too long to be kept.
    skim: Option<Box<Skim>>,
    /// The buffered line was handed out. The next call clears it.
    done: bool,
    /// The last line ended in CR: an LF now belongs to it.
    after_cr: bool,
}

impl Lines {
    /// Creates the cutter of a stream with these line ends. A line may be as long as an event with its field's name.
    pub(crate) fn new(end: LineEnd) -> Lines {
        let limit = match end {
            LineEnd::Lf => MAX_EVENT,
            LineEnd::Any => MAX_EVENT + FIELD,
        };
        Lines { end, limit, buffer: Buffer::default(), dropped: None, skim: None, done: false, after_cr: false }
    }

    /// Takes the next line that is complete from `input`. At `None` all of `input` is taken. Blank lines are returned,
    /// too. A line that lies within `input` is not copied.
    pub(crate) fn next<'l, 'i: 'l>(&'l mut self, input: &mut &'i [u8]) -> Option<Line<'l>> {
        self.clear_done();
        if self.after_cr && !input.is_empty() {
            self.after_cr = false;
            *input = input.strip_prefix(b"\n").unwrap_or(input);
        }
        if input.is_empty() {
            return None;
        }
        let found = match self.end {
            LineEnd::Lf => memchr2(b'\n', b'\x1e', input),
            LineEnd::Any => memchr2(b'\r', b'\n', input),
        };
        let Some(at) = found else {
            self.append(input);
            *input = &[];
            return None;
        };
        let line = &input[..at];
        self.after_cr = input[at] == b'\r';
        *input = &input[at + 1..];
        if self.is_empty() && line.len() <= self.limit {
            return Some(Line { bytes: line, dropped: None, skimmed: b"" });
        }
        self.append(line);
        self.done = true;
        Some(self.line())
    }

    /// Returns the bytes after the last line end, or `None` if there are none. The caller must feed nothing after it.
    pub(crate) fn rest(&mut self) -> Option<Line<'_>> {
        self.clear_done();
        (!self.is_empty()).then(|| self.line())
    }

    /// Returns true if no line is under way, none is to be cleared away, and no LF may still belong to the last one.
    pub(crate) fn is_between(&self) -> bool {
        !self.done && !self.after_cr && self.buffer.0.is_empty() && self.dropped.is_none()
    }

    /// Returns the bytes of memory that are held.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.0.capacity() + self.skim.as_ref().map_or(0, |skim| skim.capacity())
    }

    /// Returns true if nothing of the line under way is kept.
    fn is_empty(&self) -> bool {
        self.buffer.0.is_empty()
    }

    /// Returns the line in the buffer, as far as it was kept.
    fn line(&mut self) -> Line<'_> {
        let Some(skim) = self.skim.as_deref_mut().filter(|skim| skim.is_object()) else {
            return Line { bytes: &self.buffer.0, dropped: self.dropped, skimmed: b"" };
        };
        let dropped = Some(skim.last());
        Line { bytes: &self.buffer.0, dropped, skimmed: skim.object() }
    }

    /// Clears away a line that was handed out from the buffer.
    fn clear_done(&mut self) {
        if self.done {
            self.done = false;
            self.dropped = None;
            self.skim = None;
            self.buffer.clear();
        }
    }

    /// Appends a part of the line. Once the line exceeds its limit, three things are kept: the first 4 KiB with the
    /// field's name, the last byte that is no white space, and the members of an object that readers look for.
    fn append(&mut self, part: &[u8]) {
        if self.dropped.is_none() && self.buffer.0.len() + part.len() <= self.limit {
            return self.buffer.append(part, self.limit);
        }
        let last = last_token(part).or(self.dropped).or_else(|| last_token(&self.buffer.0));
        let skim = self.skim.get_or_insert_with(|| {
            let mut skim = Box::new(Skim::new(is_kept));
            skim.feed(&self.buffer.0);
            skim
        });
        skim.feed(part);
        if self.dropped.is_none() {
            self.buffer.cut(part, PREFIX + FIELD);
        }
        self.dropped = Some(last.unwrap_or(b' '));
    }
}

/// Returns the last byte that is not white space, or `None` if all of it is.
pub(crate) fn last_token(part: &[u8]) -> Option<u8> {
    part.iter().rfind(|b| !b.is_ascii_whitespace()).copied()
}

/// Bytes whose capacity never exceeds their limit, which a plain `Vec` overshoots by doubling.
#[derive(Debug, Default)]
pub(crate) struct Buffer(pub(crate) Vec<u8>);

impl Buffer {
    /// Appends `part`. The caller must make sure that the buffer does not exceed `limit` with it. The memory doubles as
    /// it grows, but never beyond the limit.
    pub(crate) fn append(&mut self, part: &[u8], limit: usize) {
        let needed = self.0.len() + part.len();
        if needed > self.0.capacity() {
            let capacity = needed.max(2 * self.0.capacity()).min(limit.max(needed));
            self.0.reserve_exact(capacity - self.0.len());
        }
        self.0.extend_from_slice(part);
    }

    /// Keeps the first `length` bytes of the buffer and `part` together, and gives the rest of the memory back.
    pub(crate) fn cut(&mut self, part: &[u8], length: usize) {
        self.0.truncate(length);
        self.0.shrink_to(length);
        let room = length - self.0.len();
        self.append(&part[..part.len().min(room)], length);
    }

    /// Empties the buffer. Its memory is kept for the next line, up to 256 KiB.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(KEEP);
    }
}
