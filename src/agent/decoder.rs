//! Decodes an agent's answer: bytes in, a verdict out, no I/O.
//!
//! Three framings, chosen by content type and then by content, all decided by the same few rules:
//!
//! - The first terminal event decides. Bytes behind it are not read.
//! - A torn answer is never a success, and neither is an end without the terminal event a framing promises.
//! - Memory is constant and time linear, however the bytes are chunked: an event of more than [`MAX_EVENT`] bytes is
//!   dropped as it streams by; only its first [`PREFIX`] bytes are read, for the `type` or error that decides.
//! - Nothing an event holds is an error of the decoder: what cannot be read is counted and passed over.
//!
//! Which framing it is:
//!
//! | content type | begins with an SSE field or comment | begins with `{` | else |
//! | --- | --- | --- | --- |
//! | `text/event-stream` | SSE | NDJSON | SSE |
//! | `application/x-ndjson`, `text/plain` | SSE | NDJSON | NDJSON |
//! | `application/json`, none | SSE | NDJSON if its `type` is one of the events read here, else JSON | JSON |
//!
//! A byte order mark and blank lines before that are passed over. No row makes a failure a success: where content
//! overrules the content type, the framing it picks asks for more.

use crate::agent::framing::document::Document;
use crate::agent::framing::lines::{Line, LineEnd, Lines};
use crate::agent::framing::sse::Sse;
use crate::agent::transcript::{Event, Kind, Transcript, output};
use crate::json::scan;

/// Bytes of the largest event that is read (1 MiB).
pub const MAX_EVENT: usize = 1024 * 1024;

/// Bytes of a larger event in which its `type` must stand to be heard (4 KiB).
pub const PREFIX: usize = 4 * 1024;

/// Bytes of the answer's text that are kept (8 KiB), cut between characters.
pub const MAX_OUTPUT: usize = 8 * 1024;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// How an answer's body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The last chunk, the whole content-length, or HTTP/2's end of stream: nothing is missing.
    Framed,
    /// The connection was reset or merely closed, or the caller gave up.
    Torn,
}

/// What became of the agent's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The agent finished.
    Completed,
    /// The agent failed: `AgentFailed`.
    Failed(Failure),
    /// Nobody knows: `StreamInterrupted`.
    Interrupted(Interruption),
}

/// Why an answer is a failure. `Display` never shows what the agent said, and may be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The agent said so in its answer.
    #[error("the agent reported an error")]
    Reported {
        /// The agent's own words, at most 2 KiB: for the record alone.
        message: Option<String>,
    },
    /// A body that should be a JSON document is not JSON.
    #[error("the answer is not JSON")]
    NotJson,
    /// A body that should be a JSON document is empty.
    #[error("the answer is empty")]
    Empty,
}

/// Why an answer tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Interruption {
    /// The connection ended before the body did.
    #[error("the connection closed before the answer ended")]
    Torn,
    /// The body ended well, without the event that says how the run did.
    #[error("the answer ended without its terminal event")]
    NoTerminalEvent,
    /// The body ended well, within an event.
    #[error("the answer ended within an event")]
    WithinEvent,
    /// The body ended well, without any event.
    #[error("the answer held no event")]
    Empty,
}

/// The answer's content type is none an agent answers with: `AgentFailed`. Holds at most 100 bytes of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the agent answered with content type {0:?}")]
pub struct UnsupportedContentType(String);

/// Tokens, summed over the model calls of a run. Sums stop at `u64::MAX`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens sent to the model.
    pub input_tokens: u64,
    /// Tokens the model wrote.
    pub output_tokens: u64,
    /// Input tokens read from the prompt cache.
    pub cache_read_input_tokens: u64,
    /// Input tokens written to the prompt cache.
    pub cache_write_input_tokens: u64,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Lines that are not blank, SSE frames with data, or the one JSON document; those skipped included.
    pub events: u64,
    /// Bytes of the body, up to the end of the terminal event.
    pub bytes: u64,
    /// Events over [`MAX_EVENT`], NDJSON lines without a `type`, and completion events that are cut off.
    pub skipped_events: u64,
    /// Tools the model asked for.
    pub tool_uses: u64,
    /// `None` until a model call reported any.
    pub usage: Option<Usage>,
}

/// The text of the agent's last message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Not empty, at most [`MAX_OUTPUT`] bytes.
    pub text: String,
    /// There was more.
    pub truncated: bool,
}

/// All that is left of an answer when it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What became of the run.
    pub verdict: Verdict,
    /// Only of a run that completed, and only if there was text.
    pub output: Option<Output>,
    /// The agent's request id, from the terminal event.
    pub request_id: Option<String>,
    /// The session, from the completion event.
    pub session_id: Option<String>,
    /// The final counts.
    pub progress: Progress,
}

/// Decodes one answer.
///
/// ```
/// use agent_trigger::stream::{Decoder, End, Verdict};
///
/// let mut decoder = Decoder::new(Some("application/x-ndjson"))?;
/// assert_eq!(decoder.feed(b"{\"type\":\"serverComple"), None);
/// assert_eq!(decoder.feed(b"tionEvent\"}\n"), Some(&Verdict::Completed));
/// assert_eq!(decoder.finish(End::Torn).verdict, Verdict::Completed);
/// # Ok::<(), agent_trigger::stream::UnsupportedContentType>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    state: State,
    transcript: Transcript,
    verdict: Option<Verdict>,
}

#[derive(Debug)]
enum State {
    /// The framing is open. `head` holds the body so far, at most [`PREFIX`] bytes.
    Open {
        declared: Declared,
        head: Vec<u8>,
    },
    Ndjson(Lines),
    Sse(Sse),
    Document(Document),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Declared {
    Ndjson,
    Sse,
    /// `application/json`, or nothing.
    Document,
}

impl Decoder {
    /// Prepares to decode an answer with this `Content-Type` header. The media type is compared without regard to
    /// case, its parameters are ignored, and an empty one is none.
    ///
    /// # Errors
    ///
    /// Any media type but the four named above: a login page with status 200 is no answer.
    pub fn new(content_type: Option<&str>) -> Result<Decoder, UnsupportedContentType> {
        let content_type = content_type.unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let declared = match media_type.as_str() {
            "application/x-ndjson" | "text/plain" => Declared::Ndjson,
            "text/event-stream" => Declared::Sse,
            "application/json" | "" => Declared::Document,
            other => return Err(UnsupportedContentType(other[..other.floor_char_boundary(100)].to_owned())),
        };
        let state = State::Open { declared, head: Vec::new() };
        Ok(Decoder { state, transcript: Transcript::new(), verdict: None })
    }

    /// Takes the next bytes of the body, split anywhere. `Some` once the terminal event has been read: the stream can
    /// be dropped, and whatever is fed after it is ignored. A JSON document is decided at its end only.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<&Verdict> {
        if self.verdict.is_none() {
            self.open_and_read(bytes);
        }
        self.verdict.as_ref()
    }

    /// How far the run has come. Costs nothing; heartbeats write it.
    pub fn progress(&self) -> Progress {
        self.transcript.progress
    }

    /// Bytes of memory held at present: at most a few KiB, the text kept, and the event under way.
    pub fn buffered(&self) -> usize {
        let text = self.transcript.text.capacity();
        text + match &self.state {
            State::Open { head, .. } => head.capacity(),
            State::Ndjson(lines) => lines.capacity(),
            State::Sse(sse) => sse.capacity(),
            State::Document(document) => document.capacity(),
        }
    }

    /// Ends the answer. How it ended no longer matters once a terminal event was read.
    ///
    /// At a framed end a last line without its line end, or a last SSE frame without its blank line, counts if it is
    /// whole.
    pub fn finish(mut self, end: End) -> Outcome {
        if end == End::Framed
            && self.verdict.is_none()
            && let State::Open { declared, head } = &mut self.state
        {
            let head = std::mem::take(head);
            let declared = *declared;
            self.state = State::new(declared, &head, true).unwrap_or_else(|| declared.framing());
            self.transcript.progress.bytes = 0;
            self.read_from_start(&head);
        }
        let transcript = &mut self.transcript;
        let verdict = match (self.verdict, end, self.state) {
            (Some(verdict), ..) => verdict,
            (None, End::Torn, _) => Verdict::Interrupted(Interruption::Torn),
            (None, End::Framed, State::Ndjson(mut lines)) => lines
                .rest()
                .and_then(|line| read_line(line, transcript))
                .unwrap_or(Verdict::Interrupted(Interruption::NoTerminalEvent)),
            (None, End::Framed, State::Sse(sse)) => sse.finish(transcript),
            (None, End::Framed, State::Document(document)) => document.finish(transcript),
            (None, End::Framed, State::Open { .. }) => Verdict::Interrupted(Interruption::Empty),
        };
        let Transcript { progress, text, request_id, session_id, .. } = self.transcript;
        let output = output(text).filter(|_| verdict == Verdict::Completed);
        Outcome { verdict, output, request_id, session_id, progress }
    }

    fn open_and_read(&mut self, bytes: &[u8]) {
        let State::Open { declared, head } = &mut self.state else { return self.read(bytes) };
        if head.is_empty()
            && let Some(state) = State::new(*declared, &bytes[..bytes.len().min(PREFIX)], false)
        {
            self.state = state;
            return self.read_from_start(bytes);
        }
        let (head_part, rest) = bytes.split_at(bytes.len().min(PREFIX - head.len()));
        head.extend_from_slice(head_part);
        let Some(state) = State::new(*declared, head, false) else {
            self.transcript.progress.bytes += bytes.len() as u64;
            return;
        };
        let head = std::mem::take(head);
        self.state = state;
        self.transcript.progress.bytes = 0;
        self.read_from_start(&head);
        self.read(rest);
    }

    fn read_from_start(&mut self, head: &[u8]) {
        let text = head.strip_prefix(BOM).unwrap_or(head);
        self.transcript.progress.bytes += (head.len() - text.len()) as u64;
        self.read(text);
    }

    fn read(&mut self, bytes: &[u8]) {
        if self.verdict.is_some() {
            return;
        }
        let mut rest = bytes;
        self.verdict = match &mut self.state {
            State::Ndjson(lines) => read_lines(lines, &mut rest, &mut self.transcript),
            State::Sse(sse) => sse.feed(&mut rest, &mut self.transcript),
            State::Document(document) => {
                document.feed(bytes);
                rest = &[];
                None
            }
            State::Open { .. } => None,
        };
        self.transcript.progress.bytes += (bytes.len() - rest.len()) as u64;
    }
}

impl Declared {
    fn framing(self) -> State {
        match self {
            Declared::Ndjson => State::Ndjson(Lines::new(LineEnd::Lf)),
            Declared::Sse => State::Sse(Sse::new()),
            Declared::Document => State::Document(Document::default()),
        }
    }
}

impl State {
    /// Chooses the framing, or `None` while more of the body could change the choice: it depends on the body's first
    /// [`PREFIX`] bytes alone, not on how they are chunked.
    fn new(declared: Declared, head: &[u8], ended: bool) -> Option<State> {
        let is_final = ended || head.len() >= PREFIX;
        if !is_final && BOM.starts_with(head) {
            return None;
        }
        let text = scan::trim(head.strip_prefix(BOM).unwrap_or(head));
        let fields: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];
        if text.is_empty() || fields.iter().any(|field| text.len() < field.len() && field.starts_with(text)) {
            return is_final.then(|| declared.framing());
        }
        if fields.iter().any(|field| text.starts_with(field)) {
            return Some(Declared::Sse.framing());
        }
        match (declared, text[0]) {
            (Declared::Sse, b'{') => Some(Declared::Ndjson.framing()),
            (Declared::Document, b'{') => match Kind::of(text) {
                Some(Kind::Other) => Some(declared.framing()),
                Some(_) => Some(Declared::Ndjson.framing()),
                None => (is_final || scan::is_whole(text)).then(|| declared.framing()),
            },
            _ => Some(declared.framing()),
        }
    }
}

fn read_lines(lines: &mut Lines, input: &mut &[u8], transcript: &mut Transcript) -> Option<Verdict> {
    while let Some(line) = lines.next(input) {
        let verdict = read_line(line, transcript);
        if verdict.is_some() {
            return verdict;
        }
    }
    None
}

/// Takes one line of NDJSON.
fn read_line(line: Line<'_>, transcript: &mut Transcript) -> Option<Verdict> {
    // Only of a dropped line are there bytes behind the prefix that could depend on chunking.
    let kept = if line.dropped.is_some() { &line.bytes[..PREFIX] } else { line.bytes };
    let event = Event { text: scan::trim(kept), dropped: line.dropped };
    if event.text.is_empty() && line.dropped.is_none_or(|last| last.is_ascii_whitespace()) {
        return None;
    }
    transcript.progress.events += 1;
    let kind = Kind::of(event.text);
    transcript.progress.skipped_events += u64::from(kind.is_none() || line.dropped.is_some());
    transcript.typed(kind?, event)
}
