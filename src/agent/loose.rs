//! Lines of a stream that are no frames of it: a document in several lines, a traceback, an object as Python prints it. An
//! agent that fails often says so in such a line, and nowhere else.

use crate::agent::framing::frame::is_kept;
use crate::json::scan;
use crate::json::skim::Skim;

/// Bytes of a document in several lines that are kept.
const MAX_DOCUMENT: usize = 256 * 1024;

/// Bytes of a line that are looked at, and of a message.
const MAX_LINE: usize = 2 * 1024;

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
    /// Skims a document that is too large to keep.
    skim: Option<Box<Skim>>,
    /// A traceback began: the last line that is not indented says what happened.
    in_traceback: bool,
}

impl Loose {
    /// Returns true if a line belongs to the document under way: it is indented, or ends a bracket.
    pub(super) fn continues(&self, line: &[u8]) -> bool {
        !self.document.is_empty() && matches!(line.first(), Some(b' ' | b'\t' | b'}' | b']' | b'"'))
    }

    /// Gives up the document under way, at a frame that is none of it.
    pub(super) fn leave(&mut self) {
        if !self.document.is_empty() {
            self.document = Vec::new();
            self.skim = None;
        }
    }

    /// Returns true if a document was begun and has not ended.
    pub(super) fn is_open(&self) -> bool {
        !self.document.is_empty()
    }

    pub(super) fn capacity(&self) -> usize {
        self.document.capacity() + self.skim.as_ref().map_or(0, |skim| skim.capacity())
    }

    /// Returns the document that has ended.
    pub(super) fn take_document(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.document)
    }

    /// Takes a line that is no frame. Of a document over 256 KiB the members at its top are kept. It is given up
    /// at a line that is none of it.
    pub(super) fn take(&mut self, line: &[u8]) -> Found {
        let text = scan::trim(line);
        if text.is_empty() {
            return Found::Nothing;
        }
        if self.continues(line) {
            if self.skim.is_none() && self.document.len() + text.len() > MAX_DOCUMENT {
                let mut skim = Box::new(Skim::new(is_kept));
                skim.feed(&self.document);
                self.skim = Some(skim);
                self.document.truncate(1);
            }
            if let Some(skim) = &mut self.skim {
                skim.feed(b"\n");
                skim.feed(text);
                if !skim.is_whole() {
                    return Found::Nothing;
                }
                self.document = skim.object().to_vec();
                self.skim = None;
                return Found::Document;
            }
            self.document.push(b'\n');
            self.document.extend_from_slice(text);
            return if scan::is_whole(&self.document) { Found::Document } else { Found::Nothing };
        }
        self.document = Vec::new();
        self.skim = None;
        if line.first() == Some(&b'{') && matches!(text.last(), Some(b'{' | b'[' | b',' | b':')) {
            self.document.extend_from_slice(&text[..text.len().min(MAX_DOCUMENT)]);
            return Found::Nothing;
        }
        self.trace(line, text)
    }

    /// Takes a line that may be one of a traceback, or the report of an error.
    fn trace(&mut self, line: &[u8], text: &[u8]) -> Found {
        let cut = &text[..text.len().min(MAX_LINE)];
        if cut.starts_with(b"Traceback (most recent call last)") {
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
        match !is_indented && is_report(&words) {
            true => Found::Failure(Some(words.into_owned())),
            false => Found::Nothing,
        }
    }
}

/// Returns true if a line reports an error as the runtimes of languages do: `RuntimeError: closed`,
/// `botocore.exceptions.ClientError: …`, `panic: …`.
fn is_report(line: &str) -> bool {
    const BEGIN: [&str; 4] = ["panic: ", "fatal error: ", "Exception in thread ", "Uncaught "];
    if BEGIN.iter().any(|begin| line.starts_with(begin)) || line.starts_with("thread '") && line.contains("panicked at")
    {
        return true;
    }
    let name = line.split_once(':').map_or(line, |(name, _)| name);
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '$'));
    let class = name.rsplit('.').next().unwrap_or_default();
    is_name
        && class.starts_with(|c: char| c.is_ascii_uppercase())
        && (class.ends_with("Error") || class.ends_with("Exception"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(lines: &[&str]) -> Found {
        let mut loose = Loose::default();
        lines
            .iter()
            .map(|line| loose.take(line.as_bytes()))
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
    fn only_a_report_is_a_failure() {
        for line in
            ["RuntimeError: closed", "botocore.exceptions.ClientError: no", "Error: boom", "panic: closed", "KeyError"]
        {
            assert_eq!(last(&[line]), Found::Failure(Some(line.to_owned())), "{line}");
        }
        for line in [
            "An Error: none",
            "Errors: 0",
            "INFO: started",
            "no error",
            "error",
            "  RuntimeError: quoted",
            "Terror",
            "",
        ] {
            assert_eq!(last(&[line]), Found::Nothing, "{line}");
        }
    }

    #[test]
    fn a_document_may_come_in_several_lines() {
        let mut loose = Loose::default();
        for line in ["{", "  \"error\": [", "    \"a\"", "  ]"] {
            assert_eq!(loose.take(line.as_bytes()), Found::Nothing, "{line}");
        }
        assert_eq!(loose.take(b"}"), Found::Document);
        assert_eq!(loose.take_document(), b"{\n\"error\": [\n\"a\"\n]\n}");
        assert!(!loose.is_open());
        assert_eq!(loose.take(b"{"), Found::Nothing);
        assert_eq!(loose.take(b"a line"), Found::Nothing);
        assert!(!loose.is_open());
    }
}
