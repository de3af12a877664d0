//! Explains an answer: what was recognised in it, what was not, and why it ended as it did. The function's own decoder
//! reads it, one frame at a time, so that the effect of each frame shows.

use agent_trigger::agent::decoder::{Decoder, UnsupportedContentType};
use agent_trigger::agent::framing::frame::MAX_EVENT;
use agent_trigger::domain::answer::{AnswerError, End, Interruption, Outcome, Progress, Verdict};
use agent_trigger::domain::finish_reason::FinishReason;
use agent_trigger::domain::protocol::Protocol;
use serde_json::{Map, Value};

/// The number of kinds of frames that are listed.
const MOST_KINDS: usize = 6;
/// The number of frames up to which it is worked out which of them said that the run failed or stopped short. All frames
/// are read again for each.
const MOST_FRAMES: usize = 400;

/// An answer as it was received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
    /// Whether the end of the body was marked, so that nothing is missing.
    pub(crate) is_whole: bool,
}

/// What was understood of an answer, as lines of text.
pub(crate) fn explain(answer: &Answer, protocol: Option<&str>) -> Vec<String> {
    let sent = answer.content_type.as_deref().unwrap_or("no content type");
    if answer.status >= 300 || (204..207).contains(&answer.status) {
        return by_status(answer.status, protocol);
    }
    let set = protocol.and_then(|name| Protocol::from_name(name.trim_end_matches("-1.0")));
    let decoder = || {
        let decoder = Decoder::new(answer.content_type.as_deref())?;
        Ok(decoder.with_protocol(set).with_status(answer.status))
    };
    let reading = match read(&decoder, answer) {
        Ok(reading) => reading,
        Err(refused) => return vec![format!("{refused}: that is no agent's answer.")],
    };
    let outcome = &reading.outcome;
    let mut lines = vec![format!("protocol    {}: {}", outcome.protocol, why_protocol(outcome, set, sent))];
    lines.push(format!("end         {}", why_ended(&reading, answer.is_whole)));
    if let Some(reason) = outcome.finish_reason {
        lines.push(format!("finish      {reason}"));
    }
    lines.push(format!(
        "answer      {}",
        match &outcome.output {
            Some(output) =>
                format!("{} characters{}", output.text.chars().count(), if output.truncated { ", cut" } else { "" }),
            None => "none".to_owned(),
        }
    ));
    lines.push(format!(
        "usage       {}",
        match outcome.progress.usage {
            Some(usage) => format!("{} tokens in, {} out", usage.input_tokens, usage.output_tokens),
            None => "none was reported".to_owned(),
        }
    ));
    lines.extend(frames(&reading));
    lines
}

/// Explains an answer whose status is that of no answer.
fn by_status(status: u16, protocol: Option<&str>) -> Vec<String> {
    let mut lines = vec![format!("HTTP {status}: the status alone decides, and the body only gives the message.")];
    if matches!(status, 404 | 405) && protocol.is_none_or(|name| name == "invocations") {
        lines.push(
            "The request went to /invocations below the agent's address. Another path takes --protocol custom"
                .to_owned(),
        );
        lines.push("and --definition with a template (docs/agents.md, Try it).".to_owned());
    }
    lines
}

/// How an answer was read.
struct Reading {
    outcome: Outcome,
    /// The kind of the frame that decided, if one did.
    decided_by: Option<String>,
    /// The kinds of frames that changed something in the record, with their number.
    useful: Vec<(String, usize)>,
    /// The kinds of the other ones.
    idle: Vec<(String, usize)>,
    /// The frames after the one that decided.
    unread: usize,
    /// The frames that were too large to keep.
    large: usize,
    /// The lines that say nothing.
    strange: usize,
}

/// Feeds the frames one by one.
fn read(
    decoder: &dyn Fn() -> Result<Decoder, UnsupportedContentType>,
    answer: &Answer,
) -> Result<Reading, UnsupportedContentType> {
    let (mut useful, mut idle, mut decided_by, mut unread) = (Vec::new(), Vec::new(), None, 0);
    let (mut large, mut strange) = (0, 0);
    let frames = split(&answer.body);
    let state = |decoder: &Decoder| (decoder.text().into_owned(), figures(decoder.progress()), decoder.is_decided());
    let skipped = |decoder: &Decoder| decoder.progress().skipped_events;
    let mut reading = decoder()?;
    let (mut before, mut last_word) = (state(&reading), None);
    for (at, frame) in frames.iter().enumerate() {
        let kind = kind_of(frame);
        let is_over = before.2;
        let skipped_before = skipped(&reading);
        reading.feed(frame);
        let after = state(&reading);
        let word = if is_over || frames.len() > MOST_FRAMES { None } else { last_word_of(decoder()?, &frames[..=at]) };
        if let Some(kind) = kind {
            let has_decided = after.2 && !is_over;
            let has_said = word.is_some() && word != last_word;
            if has_decided || has_said {
                decided_by = Some(kind.clone());
            } else if word.is_none() && !is_over {
                // The agent went on after what it had said of a failure.
                decided_by = None;
            }
            unread += usize::from(is_over);
            if skipped(&reading) > skipped_before {
                if frame.len() > MAX_EVENT { large += 1 } else { strange += 1 }
            }
            count(if after == before && !has_said { &mut idle } else { &mut useful }, kind);
        }
        (before, last_word) = (after, word);
    }
    let outcome = reading.finish(if answer.is_whole { End::Framed } else { End::Torn });
    if useful.is_empty() && outcome.output.is_some() {
        // A document is read at its end, so none of its lines shows an effect.
        useful = std::mem::take(&mut idle);
    }
    Ok(Reading { outcome, decided_by, useful, idle, unread, large, strange })
}

/// Returns how an answer of these frames would end other than well, if it ended here.
fn last_word_of(mut decoder: Decoder, frames: &[&[u8]]) -> Option<(bool, Option<FinishReason>)> {
    frames.iter().for_each(|frame| {
        decoder.feed(frame);
    });
    let outcome = decoder.finish(End::Framed);
    match outcome.verdict {
        Verdict::Failed(AnswerError::Reported { .. }) => Some((true, outcome.finish_reason)),
        Verdict::Incomplete(_) => Some((false, outcome.finish_reason)),
        _ => None,
    }
}

/// The figures that a frame can change besides the counts of frames, of bytes and of what was passed over.
fn figures(progress: Progress) -> (u64, Option<agent_trigger::domain::usage::Usage>) {
    (progress.tool_uses, progress.usage)
}

fn count(kinds: &mut Vec<(String, usize)>, kind: String) {
    match kinds.iter_mut().find(|(other, _)| *other == kind) {
        Some((_, count)) => *count += 1,
        None => kinds.push((kind, 1)),
    }
}

/// Cuts a body where frames end: at the blank lines of an event stream, else at each line. A document is one frame,
/// however many lines it has.
fn split(body: &[u8]) -> Vec<&[u8]> {
    if serde_json::from_slice::<Value>(body).is_ok() {
        return vec![body];
    }
    let is_sse = body
        .split(|byte| *byte == b'\n')
        .take(8)
        .any(|line| [&b"data:"[..], b"event:", b"id:", b":"].iter().any(|field| line.starts_with(field)));
    let mut frames = Vec::new();
    let (mut start, mut line_start) = (0, 0);
    for (at, _) in body.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        let is_blank = body[line_start..at].iter().all(|byte| *byte == b'\r');
        if !is_sse || is_blank {
            frames.push(&body[start..=at]);
            start = at + 1;
        }
        line_start = at + 1;
    }
    frames.push(&body[start..]);
    frames
}

/// Names the kind of a frame as its author would: by its `type`, the name of its event, or its first member. `None` for
/// what is no frame, such as a blank line or a comment.
fn kind_of(frame: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(frame);
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let data = field("data:").unwrap_or_else(|| text.trim());
    if data.is_empty() || data.starts_with(':') {
        return None;
    }
    // Every event has the name `message` unless it says another, so that name says nothing.
    let name = field("event:").filter(|name| *name != "message");
    let kind = match serde_json::from_str::<Value>(data) {
        Ok(Value::Object(members)) if name != Some("error") => kind_of_object(&members, name),
        _ if name.is_some() => name.unwrap_or_default().to_owned(),
        Ok(Value::Object(members)) => kind_of_object(&members, name),
        Ok(Value::String(_)) => "a string".to_owned(),
        Ok(Value::Array(_)) => "an array".to_owned(),
        Ok(_) => "a bare value".to_owned(),
        Err(_) if data == "[DONE]" => data.to_owned(),
        Err(_) if data.starts_with(['{', '[', '"']) => "not JSON".to_owned(),
        Err(_) => "text".to_owned(),
    };
    Some(kind.chars().filter(|c| !c.is_control()).take(40).collect())
}

fn kind_of_object(members: &Map<String, Value>, name: Option<&str>) -> String {
    let word = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let first = |object: &Map<String, Value>| object.keys().next().cloned();
    if members.contains_key("jsonrpc") {
        let Some(result) = members.get("result").and_then(Value::as_object) else {
            return word(members.get("method")).unwrap_or_else(|| "error".to_owned());
        };
        let status = result.get("status").or_else(|| result.get("statusUpdate")?.get("status"));
        let status = status.and_then(|status| status["state"].as_str()).map(|state| format!("status {state}"));
        let wrapper = first(result).filter(|_| result.len() == 1);
        return status.or_else(|| word(result.get("kind"))).or(wrapper).unwrap_or_else(|| "result".to_owned());
    }
    let event = members.get("event").and_then(Value::as_object).and_then(first);
    let named = word(members.get("type")).or(event).or_else(|| name.map(str::to_owned));
    named.or_else(|| first(members)).unwrap_or_else(|| "{}".to_owned())
}

fn why_protocol(outcome: &Outcome, set: Option<Protocol>, sent: &str) -> String {
    match (outcome.protocol, set) {
        (Protocol::Unknown, _) => format!(
            "there were events ({sent}), and none was understood: docs/agents.md, The members, says under which names"
        ),
        (Protocol::Generic, _) => format!("no known protocol was recognised in it ({sent}); the generic rules read it"),
        (protocol, Some(set)) if protocol == set => format!("as --protocol says ({sent})"),
        _ => format!("recognised by its first frames ({sent})"),
    }
}

fn why_ended(reading: &Reading, is_whole: bool) -> String {
    let end = if is_whole { "the answer ended in order" } else { "the connection ended before the answer did" };
    let said = |kind: &Option<String>| {
        kind.as_ref().map_or_else(|| end.to_owned(), |kind| format!("the frame {kind} says so"))
    };
    match &reading.outcome.verdict {
        Verdict::Completed => {
            let doubt = match reading.strange {
                0 => String::new(),
                1 => ". One frame was passed over: if it says that the agent failed, say so as docs/agents.md does"
                    .to_owned(),
                many => format!(
                    ". {many} frames were passed over: if one says that the agent failed, say so as docs/agents.md does"
                ),
            };
            format!("completed: {}{doubt}", said(&reading.decided_by))
        }
        Verdict::Incomplete(_) => format!("stopped short: {}", said(&reading.decided_by)),
        Verdict::Failed(AnswerError::Reported { message }) => {
            let message = message.as_deref().unwrap_or("without a message");
            let by = reading.decided_by.as_ref().map_or_else(String::new, |kind| format!(" in the frame {kind}"));
            format!("failed: the agent reported an error{by}: {message}")
        }
        Verdict::Failed(error) => format!("failed: {error}"),
        Verdict::Interrupted(interruption) => {
            let terminal = terminal_events(reading.outcome.protocol);
            if *interruption == Interruption::NoTerminalEvent && terminal.is_none() {
                return "interrupted: the answer ended within a line or a document, or said nothing".to_owned();
            }
            let hint = match (interruption, terminal) {
                (Interruption::NoTerminalEvent | Interruption::Torn, Some(events)) => {
                    format!("; expected was {events}")
                }
                (Interruption::WithinEvent, _) => ": a blank line ends each event".to_owned(),
                _ => String::new(),
            };
            format!("interrupted: {interruption}{hint}")
        }
    }
}

/// Returns the events of which a protocol's stream must end with one.
fn terminal_events(protocol: Protocol) -> Option<&'static str> {
    Some(match protocol {
        Protocol::AgUi => "RUN_FINISHED or RUN_ERROR",
        Protocol::A2a => "a task or status-update in a final state, or a message",
        Protocol::Mcp => "the result or error of the request",
        Protocol::OpenaiResponses => "response.completed, response.failed or response.incomplete",
        Protocol::OpenaiChat => "a finish_reason",
        Protocol::Anthropic => "message_stop or error",
        Protocol::Vercel | Protocol::Mastra => "finish, abort or error",
        Protocol::Bedrock => "messageStop",
        Protocol::Langserve => "event: end",
        Protocol::StrandsTypescript => "serverCompletionEvent, serverErrorEvent or agentResultEvent",
        _ => return None,
    })
}

/// Lists the frames: those that changed something in the record, and those that did not.
fn frames(reading: &Reading) -> Vec<String> {
    let progress = reading.outcome.progress;
    let mut lines = vec![format!("frames      {}; used: {}", progress.events, listed(&reading.useful))];
    if !reading.idle.is_empty() {
        lines.push(format!("            not used: {}", listed(&reading.idle)));
    }
    if reading.large > 0 {
        lines
            .push(format!("            over 1 MiB, of which only the members at the top were read: {}", reading.large));
    }
    if reading.strange > 0 {
        lines.push(format!("            passed over, because nothing in them was understood: {}", reading.strange));
    }
    if reading.unread > 0 {
        lines.push(format!("            after the end, where only usage is read: {}", reading.unread));
    }
    lines
}

fn listed(kinds: &[(String, usize)]) -> String {
    if kinds.is_empty() {
        return "none".to_owned();
    }
    let mut listed: Vec<_> = kinds
        .iter()
        .take(MOST_KINDS)
        .map(|(kind, count)| if *count == 1 { kind.clone() } else { format!("{kind} ×{count}") })
        .collect();
    if kinds.len() > MOST_KINDS {
        listed.push(format!("others ×{}", kinds[MOST_KINDS..].iter().map(|(_, count)| count).sum::<usize>()));
    }
    listed.join(", ")
}
