//! Lines in which an agent or the runtime of a language reports an error: an agent that fails often says so in such a
//! line alone.

use crate::agent::protocol::words::message_of;
use crate::json::scan::{self, RawJson};

/// Bytes of a line that are looked at, and of a message.
pub(super) const MAX_LINE: usize = 2 * 1024;

/// Returns true if a line begins with `Traceback (most recent call last)`, as a traceback of Python's does.
pub(super) fn is_traceback(line: &[u8]) -> bool {
    line.starts_with(b"Traceback (most recent call last)")
}

/// Returns the object or the string of a line such as `error: {…}`, with any white space between both. Genkit,
/// llama.cpp's server and many others write one between server-sent events, as if `error` were a field. The value must
/// be whole, or the line have 2 KiB and more. A value that is empty, or has an empty `error` and no words, is none.
/// <https://genkit.dev/docs/js/frameworks/express/>
pub(super) fn error_value(line: &[u8]) -> Option<&[u8]> {
    let value = scan::trim(line.strip_prefix(b"error:")?);
    let is_whole = || line.len() >= MAX_LINE || scan::is_whole(value);
    let is_one = matches!(value.first(), Some(b'{' | b'"')) && is_whole() && RawJson::cut(value).is_something();
    let error = RawJson::cut(value).get("error");
    let has_words = || message_of(RawJson::cut(value), &[]).is_some();
    (is_one && (error.is_none_or(RawJson::is_something) || has_words())).then_some(value)
}

/// Returns true if a line reports an error, as [`error_value`] does or the runtimes of languages do. Such a line begins
/// with `panic: `, `fatal error: `, `Exception in thread ` or `Uncaught `, or is a panic of Rust's. Or the text before
/// its first colon, or all of it if it has none, is the name of a class that begins with a capital and ends in `Error`
/// or `Exception`: `KeyError`, `botocore.exceptions.ClientError: …`. An indented line is part of something else. Only
/// the first 2 KiB are looked at.
pub(super) fn is_report(line: &[u8]) -> bool {
    const BEGIN: [&str; 4] = ["panic: ", "fatal error: ", "Exception in thread ", "Uncaught "];
    if error_value(line).is_some() {
        return true;
    }
    let line = String::from_utf8_lossy(&line[..line.len().min(MAX_LINE)]);
    let line = line.trim_end();
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

    #[test]
    fn only_a_report_is_one() {
        for line in [
            "RuntimeError: closed",
            "botocore.exceptions.ClientError: no",
            "Error: boom",
            "panic: closed",
            "KeyError",
            "KeyError\r",
            "thread 'main' panicked at a.rs:1",
            "error: {\"error\": {\"message\": \"no\"}}",
            "error:{\"code\":1}\r",
            "error: \"no\"",
        ] {
            assert!(is_report(line.as_bytes()), "{line}");
        }
        for line in [
            "An Error: none",
            "Errors: 0",
            "INFO: started",
            "no error",
            "error: no",
            "error: {\"error\":",
            "error: {} is empty",
            "error: {}",
            "error: \"\"",
            "error: {\"error\":null}",
            "error: \"no\" and \"no\"",
            "  error: {}",
            "error",
            "  RuntimeError: quoted",
            "Terror",
            "",
        ] {
            assert!(!is_report(line.as_bytes()), "{line}");
        }
        assert!(is_traceback(b"Traceback (most recent call last):") && !is_traceback(b"Traceback"));
    }
}
