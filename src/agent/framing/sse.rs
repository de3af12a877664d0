//! The framing of server-sent events, by the WHATWG rules
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), and what agents put into it.
//!
//! One departure: WHATWG discards a frame that no blank line ended. Here a stream that is known to have arrived whole
//! may end in such a frame, and an error must not be lost with it, so it is taken like any other; if it is visibly
//! cut off, the stream is too.

use memchr::memchr;

use crate::agent::decoder::{Failure, Interruption, MAX_EVENT, MAX_OUTPUT, PREFIX, Verdict};
use crate::agent::framing::lines::{Buffer, Line, LineEnd, Lines, last_token};
use crate::agent::transcript::{Event, Kind, Transcript, said, words};
use crate::json::scan::{self, Text, Value};

#[derive(Debug)]
pub(crate) struct Sse {
    lines: Lines,
    frame: Frame,
    seen: Seen,
}

/// The frame under way.
#[derive(Debug, Default)]
struct Frame {
    name: Name,
    /// The `data` lines joined; of too many, the first [`PREFIX`] bytes.
    data: Buffer,
    has_data: bool,
    /// Set if the data was too large: the last byte of it.
    dropped: Option<u8>,
}

/// The frame's `event` field.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Name {
    #[default]
    None,
    Error,
    Other,
}

/// What the frames so far were.
#[derive(Debug)]
struct Seen {
    any: bool,
    /// Events of the Strands protocol: then only its terminal event ends the stream well.
    typed: bool,
    /// The text of frames that are nothing but text: the answer, if there is no other.
    plain: Text,
}

impl Sse {
    pub(crate) fn new() -> Sse {
        let seen = Seen { any: false, typed: false, plain: Text::new(MAX_OUTPUT) };
        Sse { lines: Lines::new(LineEnd::Any), frame: Frame::default(), seen }
    }

    pub(crate) fn feed(&mut self, input: &mut &[u8], transcript: &mut Transcript) -> Option<Verdict> {
        while let Some(line) = self.lines.next(input) {
            if !line.bytes.is_empty() {
                self.frame.line(line);
            } else if let Some(verdict) = self.frame.dispatch(&mut self.seen, transcript) {
                return Some(verdict);
            }
        }
        None
    }

    pub(crate) fn capacity(&self) -> usize {
        self.lines.capacity() + self.frame.data.0.capacity() + self.seen.plain.capacity()
    }

    /// Decides a stream that is known to have arrived whole.
    pub(crate) fn finish(mut self, transcript: &mut Transcript) -> Verdict {
        let rest = self.lines.rest().filter(|line| !line.bytes.starts_with(b":"));
        if let Some(line) = rest {
            self.frame.line(line);
        }
        let begun = rest.is_some() || self.frame.name != Name::None;
        if self.frame.is_cut() || (begun && !self.frame.has_data && self.frame.name != Name::Error) {
            return Verdict::Interrupted(Interruption::WithinEvent);
        }
        if let Some(verdict) = self.frame.dispatch(&mut self.seen, transcript) {
            return verdict;
        }
        if transcript.text.as_str().is_empty() {
            transcript.text = self.seen.plain;
        }
        match self.seen {
            Seen { typed: true, .. } => Verdict::Interrupted(Interruption::NoTerminalEvent),
            Seen { any: false, .. } => Verdict::Interrupted(Interruption::Empty),
            _ => Verdict::Completed,
        }
    }
}

impl Frame {
    /// Takes a line that is not blank.
    fn line(&mut self, line: Line<'_>) {
        let colon = memchr(b':', line.bytes);
        let (field, value) = line.bytes.split_at(colon.unwrap_or(line.bytes.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => self.append(value, line.dropped),
            b"event" => {
                self.name = match value {
                    b"" => Name::None,
                    b"error" => Name::Error,
                    _ => Name::Other,
                }
            }
            _ => {}
        }
    }

    fn append(&mut self, value: &[u8], dropped: Option<u8>) {
        let separator: &[u8] = if self.has_data { b"\n" } else { b"" };
        self.has_data = true;
        let length = self.data.0.len() + separator.len() + value.len();
        if self.dropped.is_none() && dropped.is_none() && length <= MAX_EVENT {
            self.data.append(separator, MAX_EVENT);
            return self.data.append(value, MAX_EVENT);
        }
        let last = dropped.or_else(|| last_token(value)).or(self.dropped).or_else(|| last_token(&self.data.0));
        self.dropped = Some(last.unwrap_or(b' '));
        self.data.cut(separator, PREFIX);
        self.data.cut(value, PREFIX);
    }

    fn event(&self) -> Event<'_> {
        Event { text: &self.data.0, dropped: self.dropped }
    }

    /// Whether the data is JSON that lacks its end.
    fn is_cut(&self) -> bool {
        let is_json = matches!(scan::trim(&self.data.0).first(), Some(b'{' | b'"'));
        self.name != Name::Error && is_json && !self.event().is_whole()
    }

    /// Ends the frame and takes what it says. A frame without data is none, unless it is an error.
    fn dispatch(&mut self, seen: &mut Seen, transcript: &mut Transcript) -> Option<Verdict> {
        let mut verdict = None;
        if self.has_data {
            seen.any = true;
            transcript.progress.events += 1;
            transcript.progress.skipped_events += u64::from(self.dropped.is_some());
        }
        if self.name == Name::Error {
            verdict = Some(Verdict::Failed(Failure::Reported { message: message(&self.data.0) }));
        } else if self.has_data {
            verdict = seen.take(self.event(), transcript);
        }
        self.name = Name::None;
        self.has_data = false;
        self.dropped = None;
        self.data.clear();
        verdict
    }
}

impl Seen {
    fn take(&mut self, event: Event<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        match scan::trim(event.text) {
            [b'{', ..] => return self.object(event, transcript),
            _ if event.dropped.is_some() => {}
            text @ [b'"', ..] if scan::is_whole(text) => {
                let mut string = Text::new(MAX_OUTPUT);
                Value::whole(text).push_text(&mut string);
                // What an AgentCore agent cannot serialize arrives as Python's repr of it: "{'data': 'Hel', …}".
                let is_repr = text.starts_with(b"\"{'") && text.ends_with(b"}\"");
                if !is_repr {
                    self.plain.push(string.as_str());
                }
            }
            b"[DONE]" | b"null" => {}
            _ => self.plain.push_lossy(event.text),
        }
        None
    }

    fn object(&mut self, event: Event<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        let names = ["type", "error", "error_type", "force_stop", "force_stop_reason", "event", "message"];
        let [kind, error, error_type, force_stop, reason, model, whole] = scan::pick(event.text, names);
        if force_stop.is_some_and(Value::is_true) {
            return Some(Verdict::Failed(Failure::Reported { message: reason.and_then(said) }));
        }
        let name = kind.and_then(Value::whole_str);
        let kind = name.map(Kind::named);
        let is_error = match (error, error_type) {
            _ if kind == Some(Kind::Error) => false,
            (Some(error), Some(error_type)) => !(error.is_null() && error_type.is_null()),
            // Its `error_type` may be in the part that was dropped.
            (Some(error), None) => kind.is_none() && event.dropped.is_some() && error.is_something(),
            (None, _) => false,
        };
        if is_error {
            return Some(Verdict::Failed(Failure::Reported { message: message(event.text) }));
        }
        // All of the protocol's event types end so; those of other protocols (`response.created`) do not.
        if let Some(kind) = kind.filter(|kind| *kind != Kind::Other || name.is_some_and(|name| name.ends_with("Event")))
        {
            self.typed = true;
            return transcript.typed(kind, event);
        }
        if event.dropped.is_some() {
            return None;
        }
        match (model, whole) {
            (None, None) if !scan::is_whole(event.text) => self.plain.push_lossy(event.text),
            _ => {
                model.into_iter().for_each(|model| bedrock(model, transcript));
                whole.into_iter().for_each(|message| transcript.message(message));
            }
        }
        None
    }
}

/// Takes an event of Bedrock's ConverseStream, which Strands agents pass on. The usage is read here only: the finished
/// `message` repeats it.
fn bedrock(event: Value<'_>, transcript: &mut Transcript) {
    if let Some(delta) = event.enter("contentBlockDelta") {
        return transcript.delta(delta);
    }
    let names = ["contentBlockStart", "messageStart", "metadata"];
    let [block, start, metadata] = scan::pick(event.raw(), names);
    if let Some(start) = start {
        transcript.message_start(start);
    }
    let tool = block.and_then(|block| block.get("start")?.get("toolUse"));
    transcript.progress.tool_uses += u64::from(tool.is_some_and(Value::is_object));
    transcript.usage(metadata.and_then(|metadata| metadata.get("usage")));
}

/// What an error frame says: its `error`, else its `message`, else its `error_type`, else its text.
fn message(data: &[u8]) -> Option<String> {
    let text = scan::trim(data);
    let value = if scan::is_whole(text) { Value::whole(text) } else { Value::cut(text) };
    match text.first()? {
        b'{' => {
            let named = |name| value.get(name).and_then(said);
            named("error").or_else(|| named("message")).or_else(|| named("error_type")).or_else(|| said(value))
        }
        b'"' => said(value),
        _ => words(text),
    }
}
