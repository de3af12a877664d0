//! Marks in brackets that agents write where a piece of the answer would stand: `[DONE]` and `[ERROR] …`.

use crate::agent::framing::frame::{Frame, Source};
use crate::agent::protocol::words::{plain, reported};
use crate::agent::transcript::Transcript;
use crate::json::scan;

/// What a text in the place of a piece says of the run.
#[derive(Debug, PartialEq, Eq)]
enum Mark<'t> {
    /// The stream is at its end.
    End,
    /// The run failed, in these words. They may be empty.
    Failure(&'t [u8]),
}

/// Returns what the whole text of a piece says of the run, or `None` if it is a piece like any other. In an event
/// stream and in lines, `[DONE]` and `[END]` are marks, in capitals or not, and so is `[ERROR]` with its words behind
/// it: many agents write them by the function that writes their text. `[ERROR]` with several lines behind it is no
/// mark. A document and plain text have no marks.
fn mark_of<'t>(frame: &Frame<'_>, text: &'t [u8]) -> Option<Mark<'t>> {
    let inner = scan::trim(text).strip_prefix(b"[")?;
    if !matches!(frame.source, Source::Sse | Source::Line) {
        return None;
    }
    if [&b"DONE]"[..], b"END]"].iter().any(|end| inner.eq_ignore_ascii_case(end)) {
        return Some(Mark::End);
    }
    let (begin, words) = inner.split_at_checked("ERROR]".len())?;
    // Several lines are a log that the agent quotes.
    if words.contains(&b'\n') {
        return None;
    }
    begin.eq_ignore_ascii_case(b"ERROR]").then(|| Mark::Failure(scan::trim(words.strip_prefix(b":").unwrap_or(words))))
}

/// Takes a mark in the place of a piece, and returns true if the text is one. That of an error is a failure, which
/// further answer takes back.
pub(super) fn take_mark(frame: &Frame<'_>, text: &[u8], transcript: &mut Transcript) -> bool {
    let mark = mark_of(frame, text);
    if let Some(Mark::Failure(words)) = mark {
        transcript.is_understood = true;
        transcript.failure = Some(reported(plain(words)));
    }
    mark.is_some()
}

/// Returns true if a text without a member's name is the word for the end of a stream. It may be a piece of the answer,
/// but it takes no failure back.
pub(super) fn is_word_of_end(text: &[u8]) -> bool {
    matches!(text, b"DONE" | b"END" | b"EOF")
}
