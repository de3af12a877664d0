//! An agent's words: the text of messages in the shapes that several protocols share, and its words for a failure.

use crate::agent::framing::frame::Frame;
use crate::agent::transcript::MAX_OUTPUT;
use crate::domain::answer::AnswerError;
use crate::json::scan::{self, RawJson, Str};
use crate::json::text::BoundedText;

/// Bytes of an agent's error message that are kept. The record cuts it further.
const MAX_MESSAGE: usize = 2 * 1024;

/// The beginning of Python's repr of interrupts, up to the version of an id, and its end. Strands writes a result so as
/// text if the agent waits for a person.
const INTERRUPTS: (&[u8], &[u8]) = (b"[{'id': 'v1:", b"'response': None}]\"");

/// Appends the text of a message's content: the string itself, or the [`texts`] of its parts, one after the other.
pub(crate) fn push_parts(content: RawJson<'_>, out: &mut BoundedText) {
    if let Some(text) = content.as_str() {
        return text.push_into(out);
    }
    texts(content).for_each(|text| text.push_into(out));
}

/// Returns the texts of a list of parts: the `text` of each, and the parts that are strings. Parts that are thoughts
/// are left out.
pub(crate) fn texts(parts: RawJson<'_>) -> impl Iterator<Item = Str<'_>> {
    parts.elements().filter_map(|part| {
        let [kind, text, thought] = scan::pick(part.raw(), ["type", "text", "thought"]);
        let is_thought = thought.is_some_and(RawJson::is_true) || has_thought(kind);
        part.as_str().or_else(|| text?.as_str()).filter(|_| !is_thought)
    })
}

/// Returns true if the `type` of a part, or a name, is that of a thought: it begins with `reasoning` or `thinking`, in
/// any case, as `reasoningContentDelta` does.
pub(crate) fn is_thought(kind: &[u8]) -> bool {
    let begins = |word: &[u8]| kind.get(..word.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(word));
    begins(b"reasoning") || begins(b"thinking")
}

/// Returns true if the `type` of a part is that of a thought, as [`is_thought`] decides.
pub(crate) fn has_thought(kind: Option<RawJson<'_>>) -> bool {
    kind.and_then(RawJson::as_str).is_some_and(|kind| is_thought(kind.raw()))
}

/// Returns true if a value is one of these strings.
pub(crate) fn is_word(value: Option<RawJson<'_>>, words: &[&str]) -> bool {
    value.and_then(RawJson::as_str).is_some_and(|word| words.iter().any(|name| word.is(name)))
}

/// Appends the text of a member that holds an answer: a string, or the value under `text`, `content` or `parts` of an
/// object, at most `depth` levels down. The first of these that has text counts. Every item of a list is appended. The
/// object may hold the message instead, as the answer of Bedrock's Converse and the result of Strands do. Words of the
/// user, the system or a tool are no answer, and neither is a thought.
pub(crate) fn push_answer(value: RawJson<'_>, out: &mut BoundedText, depth: usize) {
    if let Some(text) = value.as_str() {
        return text.push_into(out);
    }
    if depth == 0 {
        return;
    }
    if value.is_object() {
        let names = ["role", "type", "text", "content", "parts", "message", "lastMessage"];
        let [role, kind, text, content, parts, message, last] = scan::pick(value.raw(), names);
        let is_others = is_word(role, &["user", "tool", "system"])
            || is_word(kind, &["tool_use", "tool_result", "human", "tool"])
            || has_thought(kind);
        if is_others && !is_assistants(value) {
            return;
        }
        let message = message.or(last).filter(|message| message.is_object());
        for held in [text, content, parts, message].into_iter().flatten() {
            let before = out.len();
            push_answer(held, out, depth - 1);
            if out.len() > before {
                return;
            }
        }
        return;
    }
    value.elements().for_each(|item| push_answer(item, out, depth - 1));
}

/// Appends the text of a message's `content`, as [`push_parts`] does. A message without `content` has none.
pub(crate) fn push_content(message: RawJson<'_>, out: &mut BoundedText) {
    if let Some(content) = unpacked(message).get("content") {
        push_parts(content, out);
    }
}

/// Returns the role of a message: its `role`, or without one its `type`. The messages of LangChain's JavaScript print
/// themselves as calls of their class: then the class, such as `AIMessage`, is the last of the `id`. A `ChatMessage` has
/// a role of its own.
pub(crate) fn role_of(message: RawJson<'_>) -> Option<Str<'_>> {
    let [role, kind, id] = scan::pick(message.raw(), ["role", "type", "id"]);
    let word = role.or(kind).and_then(RawJson::as_str)?;
    if !word.is("constructor") {
        return Some(word);
    }
    let class = id?.elements().last()?.as_str()?;
    if class.raw().starts_with(b"ChatMessage") { unpacked(message).get("role")?.as_str() } else { Some(class) }
}

/// Returns the members of a message: it itself, or those with which LangChain's JavaScript says that it is made.
pub(crate) fn unpacked(message: RawJson<'_>) -> RawJson<'_> {
    let [version, kwargs] = scan::pick(message.raw(), ["lc", "kwargs"]);
    kwargs.filter(|kwargs| version.is_some() && kwargs.is_object()).unwrap_or(message)
}

/// Returns true if a message is the assistant's: its role, or without one its type, is one of the names that providers
/// use.
pub(crate) fn is_assistants(message: RawJson<'_>) -> bool {
    let word = role_of(message);
    word.is_some_and(|word| ["assistant", "ai", "AIMessage", "AIMessageChunk"].iter().any(|name| word.is(name)))
}

/// Returns true if a message is the user's: its role, or without one its type, is one of the names that providers use.
pub(crate) fn is_users(message: RawJson<'_>) -> bool {
    let word = role_of(message);
    word.is_some_and(|word| ["user", "human", "HumanMessage"].iter().any(|name| word.is(name)))
}

/// Appends the last assistant message with text out of a thread's messages, after the last message of the user. Earlier
/// ones belong to earlier runs. `out` must be empty, and keeps at most 8 KiB from then on.
pub(crate) fn push_last_answer(messages: RawJson<'_>, out: &mut BoundedText) {
    for message in messages.elements() {
        if is_users(message) {
            out.clear();
        } else if is_assistants(message) {
            let length = out.len();
            let was = std::mem::replace(out, BoundedText::new(MAX_OUTPUT));
            push_content(message, out);
            if out.is_empty() && length > 0 {
                *out = was;
            }
        }
    }
}

/// Returns true if a text is Python's repr of an object, which is no agent's words: `{'…}`, or `<… object at 0x…>`.
/// White space around it does not count. A text that is cut may lack its end.
pub(crate) fn is_repr(text: &str) -> bool {
    let is_cut = text.len() >= MAX_OUTPUT;
    let text = text.trim();
    (text.starts_with("{'") && (is_cut || text.ends_with('}')))
        || (text.starts_with('<') && text.ends_with('>') && text.contains(" object at 0x"))
}

/// Returns true if `inner`, a JSON string without its first quote, is a result of Strands in whose place the SDK
/// wrote what the agent asks a person.
pub(crate) fn are_interrupts(inner: &[u8]) -> bool {
    inner.starts_with(INTERRUPTS.0) && inner.ends_with(INTERRUPTS.1)
}

/// Returns the words of an error: the string itself, its `message`, the `error` within it, or otherwise all of it, in
/// at most 2 KiB. Returns `None` if it says nothing.
pub(crate) fn error_text(error: RawJson<'_>) -> Option<String> {
    let mut text = BoundedText::new(MAX_MESSAGE);
    let inner = ["message", "error"].into_iter().find_map(|name| error.get(name)?.as_str().filter(|s| !s.is_empty()));
    match error.as_str().or(inner) {
        Some(message) => message.push_into(&mut text),
        None if error.is_something() => error.compact_into(&mut text),
        None => {}
    }
    Some(text.into_string()).filter(|message| !message.is_empty())
}

/// Returns the value that is the word of a stop reason: of an object its `type`, or else its `reason`, of a list the
/// first element, and otherwise the value itself. Returns `None` if an object or a list has none.
pub(super) fn word_in(reason: RawJson<'_>) -> Option<RawJson<'_>> {
    match reason.raw().first() {
        Some(b'{') => reason.get("type").or_else(|| reason.get("reason")),
        Some(b'[') => reason.elements().next(),
        _ => Some(reason),
    }
}

/// Returns text that is not JSON as the words of a failure, at most 2 KiB of it, or `None` if it is empty.
pub(super) fn plain(text: &[u8]) -> Option<String> {
    let mut message = BoundedText::new(MAX_MESSAGE);
    message.push_lossy(text);
    Some(message.into_string()).filter(|message| !message.is_empty())
}

/// Returns the words of one member, in at most 2 KiB: a string, or the `message` of an object, or its `error` if its
/// `message` is no string. Of duplicates, only the first that is not null, false, 0 or empty is read. Returns `None` if
/// it has no words. A flag, a number or a list has none, because the other members say it better.
fn words_of(object: RawJson<'_>, name: &str) -> Option<String> {
    // Only the first of duplicate members that holds something is read: an error must not hide behind a null.
    let mut values = scan::Members::of(object.raw()).filter(|(key, value)| key.is(name) && value.is_something());
    let (_, value) = values.next()?;
    let inner = || ["message", "error"].into_iter().find_map(|name| value.get(name)?.as_str());
    let text = value.as_str().or_else(inner).filter(|text| !text.is_empty())?;
    Some(text.read(MAX_MESSAGE))
}

/// Returns an object's words for a failure, at most 2 KiB, in the order of docs/agents.md, The members:
/// `error.message`, `message`, `errorMessage`, `errorText`, `reason`. If none of them has words, the members `last` are
/// asked for, then some others, and then the `error` or the first of `errors` is repeated as it stands. Returns `None`
/// if it has no words.
pub(crate) fn message_of(object: RawJson<'_>, last: &[&str]) -> Option<String> {
    let names = ["error", "message", "errorMessage", "errorText", "reason"];
    let all = names.into_iter().chain(last.iter().copied());
    let spellings = [
        "error_message",
        "errorMsg",
        "error_msg",
        "errMsg",
        "err_msg",
        "errmsg",
        "error_description",
        "exception",
        "Error",
        "ERROR",
        "err",
        "Exception",
        "traceback",
        "__error__",
    ];
    let others = [
        "msg",
        "description",
        "failure",
        "failureReason",
        "failure_reason",
        "error_type",
        "content",
        "text",
        "data",
        "detail",
        "details",
        "errors",
        "body",
        "result",
        "output",
        "title",
    ];
    let said = all.chain(spellings).chain(others).find_map(|name| words_of(object, name));
    said.or_else(|| {
        // MCP's results and Anthropic's messages say it in parts.
        let mut parts = BoundedText::new(MAX_MESSAGE);
        push_content(object, &mut parts);
        Some(parts.into_string()).filter(|parts| !parts.is_empty())
    })
    .or_else(|| {
        let mut members = scan::Members::of(object.raw());
        let error = members.find(|(name, error)| name.is("error") && error.is_something()).map(|(_, error)| error);
        let errors = object.get("errors");
        let first = errors.and_then(|errors| errors.elements().next().or(errors.is_object().then_some(errors)));
        // FastAPI lists what is wrong with a request. Beside its words stands what was sent, which is left out.
        let told = || object.get("detail")?.elements().next()?.get("msg")?.as_str().map(|text| text.read(MAX_MESSAGE));
        error.or(first).and_then(error_text).or_else(told)
    })
}

/// Returns the words of a frame that is an error as a whole: those in an object or a string, or its text as it is.
/// Returns `None` if it is empty or says nothing.
pub(crate) fn message_of_frame(frame: &Frame<'_>) -> Option<String> {
    let value = if scan::is_whole(frame.text) { RawJson::whole(frame.text) } else { RawJson::cut(frame.text) };
    match frame.text.first()? {
        b'{' => message_of(value, &[]).or_else(|| error_text(value)),
        b'"' => error_text(value),
        _ => plain(frame.text),
    }
}

/// Returns the failure that an agent reported, in its words if it has any.
pub(crate) fn reported(message: Option<String>) -> AnswerError {
    AnswerError::Reported { message }
}
