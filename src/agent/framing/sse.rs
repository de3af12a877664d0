//! The framing of server-sent events, by the WHATWG rules
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! Three departures. WHATWG discards a frame that no blank line ended. Here a stream that is known to have arrived
//! whole may end in such a frame, and an error must not be lost with it, so it is taken like any other; if it is
//! visibly cut off, the stream is too. A frame of a name alone is a frame: LangServe ends its streams with `event:
//! end`. And a line that is no field is not ignored: an agent that fails often says so in one, which [`Standing`]
//! relates to the frame.

use memchr::{memchr, memchr2};

use crate::agent::framing::{
    frame::{Frame, MAX_EVENT, PREFIX, Rest, Source, is_kept},
    lines::{Buffer, Line, LineEnd, Lines, last_token},
};
use crate::agent::report::{MAX_LINE, is_report, is_traceback};
use crate::json::extent::Extent;
use crate::json::scan;
use crate::json::skim::Skim;

/// The bytes of a frame's name that are kept. No known name is longer, so a longer one may be cut.
const MAX_NAME: usize = 64;

/// The bytes of a line that is no field of an event which are handed on (64 KiB). Of a longer object the members that
/// are asked for are.
const MAX_LOOSE: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Sse {
    lines: Lines,
    pending: Pending,
    loose: Loose,
    /// The frame was handed out, and goes with the next call.
    done: bool,
}

/// A line that is no field.
#[derive(Debug, Default)]
struct Loose {
    line: Vec<u8>,
    dropped: Option<u8>,
    /// It is handed out behind the frame.
    is_held: bool,
}

/// The frame under way.
#[derive(Debug, Default)]
struct Pending {
    /// The `event` field.
    name: Vec<u8>,
    /// The `data` lines, joined. If they are too large, the first [`PREFIX`] bytes, or the members that are kept.
    data: Buffer,
    has_data: bool,
    /// Set if the data was too large: the last byte of it.
    dropped: Option<u8>,
    /// Skims data of several lines that is too large.
    skim: Option<Box<Skim>>,
    /// Where the data is as JSON, once a line that is no field asked for it.
    extent: Option<Extent>,
    /// The last line within the data that reports an error, with nothing but indented lines behind it.
    report: Vec<u8>,
}

/// How a line that is no field stands to the frame under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is read before the frame: there is none, or its text may have raw line ends, and a line of it may read
    /// `ValueError: …`. The frame's text follows it, so the agent went on.
    Before,
    /// It is a part of the frame's data: JSON in several lines, of which the first alone is named `data`.
    Within,
    /// It ends the frame: an object, a traceback, or a report behind JSON that has its end.
    Behind,
}

impl Sse {
    /// Creates the framing before the stream's first byte.
    pub(crate) fn new() -> Sse {
        Sse { lines: Lines::new(LineEnd::Any), pending: Pending::default(), loose: Loose::default(), done: false }
    }

    /// Takes the next frame that has its end from `input`. At `None` all of `input` is taken. Blank lines, comments and
    /// fields before the first `data` or `event` make no frame. A line that is no field is part of the frame's data, or
    /// a frame by itself, before or behind the one that it stands in. A blank line ends a frame, and so does a line
    /// that is a frame behind it.
    pub(crate) fn next<'f, 'i: 'f>(&'f mut self, input: &mut &'i [u8]) -> Option<Frame<'f>> {
        self.clear_done();
        if std::mem::take(&mut self.loose.is_held) {
            return Some(self.loose.frame());
        }
        if !self.pending.is_begun()
            && self.lines.is_between()
            && let Some((frame, length)) = whole_frame(input)
        {
            *input = &input[length..];
            return Some(frame);
        }
        while let Some(line) = self.lines.next(input) {
            let mut is_end = line.bytes.is_empty() && self.pending.is_begun();
            if !line.bytes.is_empty() && !self.pending.take_line(line) {
                match self.pending.standing(line.bytes) {
                    Standing::Within => self.pending.append(line.bytes, line.dropped),
                    Standing::Before => {
                        self.pending.note_report(line.bytes);
                        self.loose.take(line);
                        return Some(self.loose.frame());
                    }
                    Standing::Behind => {
                        self.loose.take(line);
                        self.loose.is_held = true;
                        is_end = true;
                    }
                }
            }
            if is_end {
                self.done = true;
                self.pending.close();
                return Some(self.pending.frame());
            }
        }
        None
    }

    /// Returns the bytes of memory that are held.
    pub(crate) fn capacity(&self) -> usize {
        let skim = self.pending.skim.as_ref().map_or(0, |skim| skim.capacity());
        self.lines.capacity()
            + self.pending.data.0.capacity()
            + self.pending.name.capacity()
            + self.pending.report.capacity()
            + self.loose.line.capacity()
            + skim
    }

    /// Returns what is left of a stream that is known to have arrived whole: a frame without its blank line counts. It
    /// is cut if its data is JSON without its end, unless it is named `error`, or if it has begun without data or ends
    /// within the name of a field, unless its name says all (`error` or `end`). A last line that is surely no field is
    /// a frame by itself if none was begun. Otherwise [`Self::behind`] has what stands behind the frame.
    pub(crate) fn rest(&mut self) -> Rest<'_> {
        self.clear_done();
        let rest = self.lines.rest().filter(|line| !line.bytes.starts_with(b":"));
        let is_begun = rest.is_some();
        // The data that this line was to have did not come.
        let fields = [&b"data: "[..], b"event: "];
        let is_cut_field = rest.is_some_and(|line| fields.iter().any(|field| field.starts_with(line.bytes)));
        if let Some(line) = rest
            && !self.pending.take_line(line)
        {
            if !self.pending.is_begun() && is_no_part_of_a_field(line.bytes) {
                self.loose.take(line);
                return Rest::Frame(self.loose.frame());
            }
            match self.pending.standing(line.bytes) {
                Standing::Within => self.pending.append(line.bytes, line.dropped),
                _ if is_indented(line.bytes) => {}
                _ => {
                    self.loose.take(line);
                    self.loose.is_held = self.pending.is_begun();
                }
            }
        }
        // No blank line ends the frame, so its text does not follow what it holds. The last line may take it back.
        if !self.loose.is_held && !self.pending.report.is_empty() {
            std::mem::swap(&mut self.loose.line, &mut self.pending.report);
            self.loose.dropped = None;
            self.loose.is_held = true;
        }
        self.pending.close();
        let begun = is_begun || !self.pending.name.is_empty();
        let is_named = matches!(self.pending.name.as_slice(), b"error" | b"end");
        if self.pending.is_cut() || (is_cut_field && !is_named) || (begun && !self.pending.has_data && !is_named) {
            return Rest::Cut;
        }
        if self.pending.is_begun() { Rest::Frame(self.pending.frame()) } else { Rest::Nothing }
    }

    /// Returns the line that stands behind the last frame of a stream that is known to have arrived whole, if it is no
    /// field, and otherwise `None`. The caller asks for it behind [`Self::rest`]. A second call returns `None`.
    pub(crate) fn behind(&mut self) -> Option<Frame<'_>> {
        std::mem::take(&mut self.loose.is_held).then(|| self.loose.frame())
    }

    /// Clears away a frame that was handed out.
    fn clear_done(&mut self) {
        if self.done {
            self.done = false;
            self.pending.clear();
        }
    }
}

impl Loose {
    /// Takes a line in place of the one before. At most [`MAX_LOOSE`] bytes of it are kept. Of a longer object, or one
    /// that was cut, only the members that readers look for are kept. `dropped` says whether something was left out.
    fn take(&mut self, line: Line<'_>) {
        self.line.clear();
        self.dropped = None;
        let is_whole = line.bytes.len() <= MAX_LOOSE && line.dropped.is_none();
        if is_whole || line.bytes.first() != Some(&b'{') {
            self.dropped = if is_whole { None } else { Some(b' ') };
            return self.line.extend_from_slice(&line.bytes[..line.bytes.len().min(MAX_LOOSE)]);
        }
        if line.skimmed.is_empty() {
            let mut skim = Skim::new(is_kept);
            skim.feed(line.bytes);
            self.line.extend_from_slice(skim.object());
            self.dropped = Some(line.dropped.unwrap_or(skim.last()));
        } else {
            self.line.extend_from_slice(line.skimmed);
            self.dropped = line.dropped;
        }
    }

    /// Returns the line as a frame.
    fn frame(&self) -> Frame<'_> {
        Frame { dropped: self.dropped, ..Frame::new(Source::Loose, &self.line) }
    }
}

/// Returns true if a line begins with a space or a tab.
fn is_indented(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// Returns true if the last line of a stream, which is no field, is surely not the beginning of one either: it holds a
/// colon, or begins with a curly bracket, `]`, a space or a tab.
fn is_no_part_of_a_field(line: &[u8]) -> bool {
    matches!(line.first(), Some(b'{' | b'}' | b']' | b' ' | b'\t')) || line.contains(&b':')
}

/// Returns the frame that `input` begins with, not copied, and its length with the blank line. It is the short way for
/// nearly all frames: at most one `event: ` line, with a name of 1 to 63 bytes, then one `data: ` line of at most 1 MiB
/// and a blank line, all ended by LF. `None` means that the frame, if there is one, must be read line by line. The
/// caller must be between two frames.
fn whole_frame(input: &[u8]) -> Option<(Frame<'_>, usize)> {
    let mut at = 0;
    let mut name: &[u8] = b"";
    if let Some(rest) = input.strip_prefix(b"event: ") {
        let end = rest.iter().take(MAX_NAME).position(|byte| matches!(byte, b'\n' | b'\r'))?;
        name = &rest[..end];
        at = b"event: ".len() + end + 1;
        if name.is_empty() || rest[end] == b'\r' {
            return None;
        }
    }
    let rest = input[at..].strip_prefix(b"data: ")?;
    let end = memchr2(b'\n', b'\r', rest)?;
    if rest[end..].get(..2) != Some(b"\n\n") || end > MAX_EVENT {
        return None;
    }
    let frame = Frame { name, ..Frame::new(Source::Sse, &rest[..end]) };
    Some((frame, at + b"data: ".len() + end + 2))
}

impl Pending {
    /// Takes a line that is not blank. A line without a colon is a field with an empty value. A further `event`
    /// replaces the name, which is cut to 64 bytes. A further `data` is appended, and takes back a report that was
    /// noted. The other fields and every comment are ignored. Returns false for a line that is no field of an event.
    fn take_line(&mut self, line: Line<'_>) -> bool {
        let colon = memchr(b':', line.bytes);
        let (field, value) = line.bytes.split_at(colon.unwrap_or(line.bytes.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" if !line.skimmed.is_empty() && !self.has_data => {
                self.has_data = true;
                self.dropped = line.dropped;
                self.data.append(line.skimmed, MAX_EVENT);
            }
            b"data" => {
                self.report.clear();
                self.append(value, line.dropped);
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(&value[..value.len().min(MAX_NAME)]);
            }
            b"" | b"id" | b"retry" => {}
            _ => return false,
        }
        true
    }

    /// Returns how a line that is no field stands to this frame: `Before` if the frame has no data, `Behind` for a
    /// traceback, `Within` for a line that begins like a further line of the frame's open JSON. Otherwise an object, or
    /// a report after JSON that has its end, is `Behind`, and anything else is `Before`.
    fn standing(&mut self, line: &[u8]) -> Standing {
        if !self.has_data {
            return Standing::Before;
        }
        if is_traceback(line) {
            return Standing::Behind;
        }
        let data = &self.data.0;
        let extent = self.extent.get_or_insert_with(|| {
            let mut extent = Extent::default();
            extent.feed(data);
            extent
        });
        if extent.is_between_tokens() && matches!(line.first(), Some(b' ' | b'\t' | b'}' | b']' | b'"')) {
            return Standing::Within;
        }
        let is_whole = match (&self.skim, self.dropped) {
            (Some(skim), _) => skim.is_whole(),
            (None, Some(last)) => last == b'}',
            (None, None) => extent.is_whole(),
        };
        if line.starts_with(b"{") || is_whole && is_report(line) { Standing::Behind } else { Standing::Before }
    }

    /// Notes a line that is read before this frame, though it stands within it, if it reports an error. Any other line
    /// that is not indented takes the last report back.
    fn note_report(&mut self, line: &[u8]) {
        if self.has_data && is_report(line) {
            self.report.clear();
            self.report.extend_from_slice(&line[..line.len().min(MAX_LINE)]);
        } else if !is_indented(line) {
            self.report.clear();
        }
    }

    /// Appends the value of a `data` line, behind a line end if it is not the first. `dropped` is set if the line
    /// itself was too long to keep. Once the data exceeds 1 MiB, three things are kept: its first 4 KiB, the last byte
    /// that is no whitespace, and the members of an object that readers look for, unless one of its lines was too long.
    fn append(&mut self, value: &[u8], dropped: Option<u8>) {
        let separator: &[u8] = if self.has_data { b"\n" } else { b"" };
        self.has_data = true;
        if let Some(extent) = &mut self.extent {
            extent.feed(separator);
            extent.feed(value);
        }
        let length = self.data.0.len() + separator.len() + value.len();
        if self.dropped.is_none() && dropped.is_none() && length <= MAX_EVENT {
            self.data.append(separator, MAX_EVENT);
            return self.data.append(value, MAX_EVENT);
        }
        if self.dropped.is_none() && dropped.is_none() {
            let mut skim = Box::new(Skim::new(is_kept));
            skim.feed(&self.data.0);
            self.skim = Some(skim);
        }
        match &mut self.skim {
            Some(skim) if dropped.is_none() => {
                skim.feed(separator);
                skim.feed(value);
            }
            _ => self.skim = None,
        }
        let is_lost = self.skim.is_none() && !separator.is_empty();
        let last = dropped.or_else(|| last_token(value)).or(self.dropped).or_else(|| last_token(&self.data.0));
        // Nothing is known of data in several lines of which one was not kept: its last byte says nothing.
        self.dropped = Some(last.filter(|_| !is_lost).unwrap_or(b' '));
        self.data.cut(separator, PREFIX);
        self.data.cut(value, PREFIX);
    }

    /// Ends the data of a frame that was too large. If it is an object, only the members that were kept are left.
    fn close(&mut self) {
        let Some(mut skim) = self.skim.take().filter(|skim| skim.is_object()) else { return };
        self.dropped = Some(skim.last());
        self.data.clear();
        self.data.append(skim.object(), MAX_EVENT);
    }

    /// Returns true if the lines so far are a frame: data, or a name alone.
    fn is_begun(&self) -> bool {
        self.has_data || !self.name.is_empty()
    }

    /// Returns the frame under way as far as it has come: its name, its data, and as its text the data without white
    /// space around it.
    fn frame(&self) -> Frame<'_> {
        let data = &self.data.0;
        Frame {
            source: Source::Sse,
            name: &self.name,
            data,
            text: scan::trim(data),
            has_data: self.has_data,
            dropped: self.dropped,
        }
    }

    /// Returns true if the data is an object or a string that lacks its end. A frame named `error` is never cut.
    fn is_cut(&self) -> bool {
        let frame = self.frame();
        self.name != b"error" && matches!(frame.text.first(), Some(b'{' | b'"')) && !frame.is_whole()
    }

    /// Forgets the frame, so that the next one begins without a name.
    fn clear(&mut self) {
        self.name.clear();
        self.has_data = false;
        self.dropped = None;
        self.skim = None;
        self.extent = None;
        self.report.clear();
        self.data.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame may have as many lines as bytes. It is looked at once, not again at each line that is no field.
    #[test]
    fn every_byte_of_a_frame_is_looked_at_once() {
        for (first, line) in [("{", "  1,"), ("{\"a\":[", " \"b\","), ("{\"a\":[", "x\ndata: 1,"), ("{", "}\ndata: {")]
        {
            let mut sse = Sse::new();
            let body = format!("data: {first}\n{}", format!("{line}\n").repeat(50_000));
            let mut input = body.as_bytes();
            while sse.next(&mut input).is_some() {}
            let extent = sse.pending.extent.expect("a line that is no field");
            assert!(
                extent.looked_at() > 50_000 && extent.looked_at() <= body.len(),
                "{line:?}: {}",
                extent.looked_at()
            );
        }
    }
}
