//! The form of a frame whose text is not read any more, because the answer is full: a frame of the same form says
//! nothing.

use crate::agent::framing::frame::{Frame, Source};
use crate::json::{ends::end_of_string, scan::Str};

/// Bytes around the text up to which a form is kept (2 KiB). The deltas of all known agents have fewer.
const MAX_FORM: usize = 2 * 1024;

/// All of a frame but one text in it. The reader of a protocol notes a frame that changed nothing, because its text was
/// not read and no other member says anything. Another frame that differs in that text alone changes nothing either:
/// what a reader finds depends on the bytes around the text alone. Any other frame ends the form, because it may change
/// what the noted one would say.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// `None` while no frame is noted.
    source: Option<Source>,
    name: Vec<u8>,
    /// What stands before the text, its first quote included.
    before: Vec<u8>,
    /// What stands behind the text's second quote.
    behind: Vec<u8>,
}

impl Form {
    /// Returns true if a frame differs from the noted one in the text alone. The text must have its end.
    pub(super) fn is_of(&self, frame: &Frame<'_>) -> bool {
        let Some(quote) = self.before.len().checked_sub(1) else { return false };
        frame.dropped.is_none()
            && self.source == Some(frame.source)
            // On x86-64, comparing two empty slices takes 70 ns: `memcmp` reads at the address of an empty vector,
            // which no page has, and the processor discards the fault.
            && (frame.name.is_empty() && self.name.is_empty() || frame.name == self.name)
            && frame.text.starts_with(&self.before)
            && end_of_string(&frame.text[quote..])
                .is_some_and(|(end, _)| frame.text[quote + end..] == self.behind)
    }

    /// Forgets the noted frame.
    pub(super) fn clear(&mut self) {
        self.source = None;
    }

    /// Notes a frame that says nothing but `text`, a whole string in it. A form of more than 2 KiB, or of a frame too
    /// large to keep, is not noted, and what was noted before stays.
    pub(super) fn note(&mut self, frame: &Frame<'_>, text: Str<'_>) {
        let text = text.raw();
        let Some(at) = text.as_ptr().addr().checked_sub(frame.text.as_ptr().addr()) else { return };
        let (Some(before), Some(behind)) = (frame.text.get(..at), frame.text.get(at + text.len() + 1..)) else {
            return;
        };
        if frame.dropped.is_some() || before.len() + behind.len() > MAX_FORM {
            return;
        }
        self.source = Some(frame.source);
        for (part, of) in [(&mut self.name, frame.name), (&mut self.before, before), (&mut self.behind, behind)] {
            part.clear();
            part.extend_from_slice(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scan::RawJson;

    fn frame<'a>(name: &'a [u8], data: &'a str) -> Frame<'a> {
        Frame { name, ..Frame::new(Source::Sse, data.as_bytes()) }
    }

    #[test]
    fn a_form_is_all_but_one_text() {
        let first = frame(b"a", r#"{"text":"one","id":1}"#);
        let mut form = Form::default();
        assert!(!form.is_of(&first));
        form.note(&first, RawJson::cut(first.text).get("text").and_then(RawJson::whole_str).expect("a text"));
        for (data, is_same) in [
            (r#"{"text":"one","id":1}"#, true),
            (r#"{"text":"","id":1}"#, true),
            (r#"{"text":"a \" quote, and a \\","id":1}"#, true),
            (r#"{"text":"one","id":2}"#, false),
            (r#"{"text":"one","id":1} "#, true),
            (r#"{"text":"one","id":1"#, false),
            (r#"{"text":"one","error":"x","id":1}"#, false),
            (r#"{"text":"one","#, false),
            (r#"{"text":"one"#, false),
            (r#"{"text":"one\","id":1}"#, false),
            (r#"{"text":["one"],"id":1}"#, false),
            (r#"{"text" :"one","id":1}"#, false),
            ("", false),
        ] {
            assert_eq!(form.is_of(&frame(b"a", data)), is_same, "{data}");
            assert!(!form.is_of(&frame(b"b", data)), "{data}");
            assert!(!form.is_of(&Frame { source: Source::Line, ..frame(b"a", data) }), "{data}");
            assert!(!form.is_of(&Frame { dropped: Some(b'}'), ..frame(b"a", data) }), "{data}");
        }
        form.clear();
        assert!(!form.is_of(&first));
    }

    #[test]
    fn a_large_form_is_not_kept() {
        for (size, is_kept) in [(2_000, true), (2_100, false)] {
            let data = format!(r#"{{"text":"one","log":"{}"}}"#, "x".repeat(size));
            let large = frame(b"", &data);
            let mut form = Form::default();
            form.note(&large, RawJson::cut(large.text).get("text").and_then(RawJson::whole_str).expect("a text"));
            assert_eq!(form.is_of(&large), is_kept);
        }
    }
}
