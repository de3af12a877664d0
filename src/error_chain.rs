//! An error and its causes as one line of text.

use std::error::Error;

use crate::redact::cut;

/// The longest text of a chain, in bytes; a record's `error` has the same limit.
pub(crate) const CHAIN_LIMIT: usize = 1024;

/// Returns `error` and its causes on one line, at most 1 KiB long. A cause that the text already ends in is left out.
/// Control characters become blanks. The text is not redacted.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    cut(&text.replace(char::is_control, " "), CHAIN_LIMIT).to_owned()
}

/// Returns the causes of `error` as [`chain`] does. Its own text, which in the AWS SDK names no more than the step that
/// failed, is left out unless there is no other.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    chain(error.source().unwrap_or(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the call failed: {0}")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("reset\nby peer")]
    struct Inner;

    #[test]
    fn a_cause_is_said_once_on_one_line() {
        assert_eq!(chain(&Outer(Inner)), "the call failed: reset by peer");
        assert_eq!((causes(&Outer(Inner)), causes(&Inner)), ("reset by peer".to_owned(), "reset by peer".to_owned()));
    }
}
