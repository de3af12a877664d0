//! Lines of a stream that are no frames: a document in several lines, a traceback, a report of an error. An agent that
//! fails often says so in such a line, and nowhere else.

use crate::agent::framing::frame::is_kept;
use crate::agent::protocol::words::{error_text, message_of};
use crate::agent::report::{MAX_LINE, error_value, is_report, is_traceback};
use crate::json::extent::Extent;
use crate::json::scan::{self, RawJson};
use crate::json::skim::Skim;

/// Bytes of a document in several lines that are kept.
const MAX_DOCUMENT: usize = 256 * 1024;

/// What a line made known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// A document ended: [`Loose::take_document`] returns it.
    Document,
    /// The agent failed, in these words if there are any.
    Failure(Option<String>),
}

/// The lines so far.
#[derive(Debug, Default)]
pub(super) struct Loose {
    /// The document under way.
    document: Vec<u8>,
    /// Where the document is: before its end or behind it.
    extent: Extent,
    /// Skims a document that is too large to keep.
    skim: Option<Box<Skim>>,
    /// True if a part of one of the document's lines was not kept.
    is_cut: bool,
    /// True if a traceback began. The next line that is neither indented nor leads to another exception says what
    /// happened.
    in_traceback: bool,
}

impl Loose {
    /// Returns true if a line belongs to the document under way, so that it is no frame: it begins with a space, a tab,
    /// a closing bracket (`}` or `]`) or a double quote. Without a document under way no line does.
    pub(super) fn continues(&self, line: &[u8]) -> bool {
        !self.document.is_empty() && matches!(line.first(), Some(b' ' | b'\t' | b'}' | b']' | b'"'))
    }

    /// Gives up what is under way, a document or a traceback, because a frame came that is no part of it.
    pub(super) fn leave(&mut self) {
        self.in_traceback = false;
        self.give_up();
    }

    /// Gives up the document under way. Its bytes are lost.
    fn give_up(&mut self) {
        if !self.document.is_empty() {
            self.document = Vec::new();
            self.extent = Extent::default();
            self.skim = None;
            self.is_cut = false;
        }
    }

    /// Returns true if a document was begun, and was neither taken nor given up since.
    pub(super) fn is_open(&self) -> bool {
        !self.document.is_empty()
    }

    /// Returns the bytes of memory that are held.
    pub(super) fn capacity(&self) -> usize {
        self.document.capacity() + self.skim.as_ref().map_or(0, |skim| skim.capacity())
    }

    /// Returns true if a part of one of the lines of the document under way was not kept, so that the run does not
    /// complete by it. A document that is skimmed because of its size does not count.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns the document under way, and forgets it. Of one over 256 KiB this is the object of the members that were
    /// kept. The second value is `None` if the document is whole as it stands. It is the last byte of one over 256 KiB,
    /// and a space if a line of it was cut off, as in [`crate::agent::framing::frame::Frame::dropped`].
    pub(super) fn take_document(&mut self) -> (Vec<u8>, Option<u8>) {
        self.extent = Extent::default();
        let skim = self.skim.take();
        let dropped = if std::mem::take(&mut self.is_cut) { Some(b' ') } else { skim.as_ref().map(|skim| skim.last()) };
        let document = std::mem::take(&mut self.document);
        (skim.map_or(document, |mut skim| skim.object().to_vec()), dropped)
    }

    /// Takes a line that is no frame, and returns what it made known. A blank line changes nothing. A line that is no
    /// part of the document under way gives the document up, and may begin another. A document over 256 KiB is skimmed.
    /// A further line of a document of which not all was kept (`is_cut`) is left out, because a half of it would change
    /// how the lines behind it are read. The first line is kept even so.
    pub(super) fn take(&mut self, line: &[u8], is_cut: bool) -> Found {
        let text = scan::trim(line);
        if text.is_empty() {
            return Found::Nothing;
        }
        if self.continues(line) {
            if is_cut {
                self.is_cut = true;
                return Found::Nothing;
            }
            self.append(b"\n");
            self.append(text);
            if !self.extent.is_whole() {
                return Found::Nothing;
            }
            return Found::Document;
        }
        self.give_up();
        if begins_document(line) {
            self.is_cut = is_cut;
            self.append(text);
            return Found::Nothing;
        }
        self.trace(line, text)
    }

    /// Appends to the document under way. From 256 KiB on only the members that readers look for are kept. Each byte is
    /// looked at once: a document may have as many lines as bytes.
    fn append(&mut self, text: &[u8]) {
        self.extent.feed(text);
        if self.skim.is_none() && self.document.len() + text.len() > MAX_DOCUMENT {
            let mut skim = Box::new(Skim::new(is_kept));
            skim.feed(&self.document);
            self.skim = Some(skim);
            // What is left says that a document is under way.
            self.document = b"{".to_vec();
        }
        match &mut self.skim {
            Some(skim) => skim.feed(text),
            None => self.document.extend_from_slice(text),
        }
    }

    /// Takes a line that is no part of a document, and returns the failure that it reports, if it does. `text` is the
    /// line without white space around it. The first line of a traceback is a failure without words. After it, lines
    /// that are indented and lines that lead to another exception say nothing. The next other line ends the traceback.
    /// It is a failure with the line as words, cut to 2 KiB. So is a report by itself. The words of an object or a
    /// string are its own.
    fn trace(&mut self, line: &[u8], text: &[u8]) -> Found {
        let cut = &text[..text.len().min(MAX_LINE)];
        if is_traceback(cut) {
            self.in_traceback = true;
            return Found::Failure(None);
        }
        let is_indented = line.first().is_some_and(|first| first.is_ascii_whitespace());
        let words = String::from_utf8_lossy(cut);
        if self.in_traceback {
            let is_between = words.starts_with("During handling of") || words.starts_with("The above exception");
            if is_indented || is_between {
                return Found::Nothing;
            }
            self.in_traceback = false;
            return Found::Failure(Some(words.into_owned()));
        }
        if let Some(value) = error_value(line) {
            let value = if scan::is_whole(value) { RawJson::whole(value) } else { RawJson::cut(value) };
            return Found::Failure(message_of(value, &[]).or_else(|| error_text(value)));
        }
        match is_report(line) {
            true => Found::Failure(Some(words.into_owned())),
            false => Found::Nothing,
        }
    }
}

/// Returns true if a line that is no frame may be the first of a document in several lines: it begins with `{`, and its
/// last byte that is no white space is `{`, `[`, `,` or `:`.
pub(super) fn begins_document(line: &[u8]) -> bool {
    line.first() == Some(&b'{') && matches!(scan::trim(line).last(), Some(b'{' | b'[' | b',' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(lines: &[&str]) -> Found {
        let mut loose = Loose::default();
        lines
            .iter()
            .map(|line| loose.take(line.as_bytes(), false))
            .filter(|found| *found != Found::Nothing)
            .last()
            .unwrap_or(Found::Nothing)
    }

    #[test]
    fn the_end_of_a_traceback_is_its_message() {
        let failure = |words: &str| Found::Failure(Some(words.to_owned()));
        let trace = ["Traceback (most recent call last):", "  File \"a.py\", line 1", "    x()"];
        assert_eq!(last(&trace), Found::Failure(None));
        assert_eq!(last(&[&trace[..], &["RuntimeError: closed"]].concat()), failure("RuntimeError: closed"));
        let chained = ["KeyError: 'x'", "", "During handling of the above exception, another exception occurred:", ""];
        let lines = [&trace[..], &chained, &trace, &["ValueError: closed"]].concat();
        assert_eq!(last(&lines), failure("ValueError: closed"));
        assert_eq!(last(&[&trace[..], &["Killed"]].concat()), failure("Killed"));
    }

    #[test]
    fn a_document_may_come_in_several_lines() {
        let mut loose = Loose::default();
        for line in ["{", "  \"error\": [", "    \"a\"", "  ]"] {
            assert_eq!(loose.take(line.as_bytes(), false), Found::Nothing, "{line}");
        }
        assert_eq!(loose.take(b"}", false), Found::Document);
        assert_eq!(loose.take_document(), (b"{\n\"error\": [\n\"a\"\n]\n}".to_vec(), None));
        assert!(!loose.is_open());
        assert_eq!(loose.take(b"{", false), Found::Nothing);
        assert_eq!(loose.take(b"a line", false), Found::Nothing);
        assert!(!loose.is_open());
    }

    /// A document of very many lines is looked at once, not again at each of them.
    #[test]
    fn every_byte_of_a_document_is_looked_at_once() {
        for (first, line) in [("{", "  1,"), ("{\"a\":", " \""), ("{", "}{")] {
            let mut loose = Loose::default();
            for line in std::iter::once(first).chain(std::iter::repeat_n(line, 100_000)) {
                loose.take(line.as_bytes(), false);
            }
            let bytes = first.len() + 100_000 * (line.len() + 1);
            assert!(loose.extent.looked_at() <= bytes, "{line:?}: {}", loose.extent.looked_at());
        }
    }
}
