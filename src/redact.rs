//! Removes secrets from texts that others wrote.

use std::{borrow::Cow, collections::HashMap, fmt::Write};

/// The number of bytes that two texts must share in a row to count as a quotation.
const WINDOW: usize = 16;
/// The least length of a secret in bytes. Shorter ones are not masked.
const SHORTEST: usize = 4;
const MASK: &str = "[redacted]";

/// Replaces by `[redacted]` everything in `text` that quotes one of the `secrets`, whole or at least 16 bytes of it,
/// plain or as JSON escapes it. An agent that rejects a call often repeats what it was sent, cut to a length of its
/// own. A secret shorter than 16 bytes is masked only as a whole. One shorter than 4 bytes is left, because masking it
/// would mask ordinary words. The length of an escaped secret is that of its escaped form. The time is linear in the
/// length of all texts.
pub(crate) fn redact(text: &str, secrets: &[&str]) -> String {
    let mut quotations = Quotations::new(text);
    for secret in secrets {
        quotations.mask(secret);
        let escaped = json_escaped(secret);
        if escaped != *secret {
            quotations.mask(&escaped);
        }
        // Some writers escape everything outside ASCII, Python by default.
        if !escaped.is_ascii() {
            quotations.mask(&ascii_escaped(&escaped));
        }
    }
    quotations.masked()
}

/// The parts of a text that are quoted from elsewhere.
struct Quotations<'a> {
    text: &'a str,
    /// The positions of each run of [`WINDOW`] bytes.
    windows: HashMap<&'a [u8], Vec<usize>>,
    is_quoted: Vec<bool>,
}

impl<'a> Quotations<'a> {
    /// Takes a text and notes where each of its runs of 16 bytes stands, so that each secret is looked for in one pass.
    fn new(text: &'a str) -> Self {
        let mut windows = HashMap::<_, Vec<usize>>::new();
        for (at, window) in text.as_bytes().windows(WINDOW).enumerate() {
            windows.entry(window).or_default().push(at);
        }
        Self { text, windows, is_quoted: vec![false; text.len()] }
    }

    /// Marks what the text quotes of `secret`: each run of 16 bytes that both have, or the whole secret if it is
    /// shorter. A secret of less than 4 bytes is left.
    fn mask(&mut self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        if secret.len() < WINDOW {
            for (at, found) in self.text.match_indices(secret) {
                self.is_quoted[at..at + found.len()].fill(true);
            }
            return;
        }
        for window in secret.as_bytes().windows(WINDOW) {
            // It is removed: a window at these positions masks the same bytes, whichever secret it is found in.
            for at in self.windows.remove(window).into_iter().flatten() {
                self.is_quoted[at..at + WINDOW].fill(true);
            }
        }
    }

    /// Returns the text with each marked stretch replaced by one mask. A character is hidden if any of its bytes is
    /// marked.
    fn masked(&self) -> String {
        let mut clean = String::with_capacity(self.text.len());
        let mut in_mask = false;
        for (at, char) in self.text.char_indices() {
            let hidden = self.is_quoted[at..at + char.len_utf8()].contains(&true);
            match (hidden, in_mask) {
                (true, false) => clean.push_str(MASK),
                (true, true) => {}
                (false, _) => clean.push(char),
            }
            in_mask = hidden;
        }
        clean
    }
}

/// Returns a text as it stands within a JSON string, without the quotes.
fn json_escaped(text: &str) -> Cow<'_, str> {
    match serde_json::to_string(text) {
        Ok(quoted) => Cow::Owned(quoted[1..quoted.len() - 1].to_owned()),
        Err(_) => Cow::Borrowed(text),
    }
}

/// Returns a text with every character outside ASCII escaped as JSON's `\u`, in UTF-16 and lower case as Python writes
/// it.
fn ascii_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_ascii() {
            escaped.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// Returns the longest start of `text` that has at most `limit` bytes and ends between characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_are_masked_whole_or_in_part() {
        let prompt = "Summarise the \"quarterly\" numbers of Müller & Söhne";
        for (text, expected) in [
            ("no quotation here", "no quotation here"),
            (&format!("bad prompt: {prompt}!"), "bad prompt: [redacted]!"),
            ("cut: Summarise the \"quarterly\" num", "cut: [redacted]"),
            ("tail:, numbers of Müller & Söhne.", "tail:,[redacted]."),
            (r#"{"p":"Summarise the \"quarterly\" numbers of M"}"#, r#"{"p":"[redacted]"}"#),
            ("numbers of", "numbers of"),
            (r#"Summarise the \"quarterly\" numbers of M\u00fcller & S\u00f6hne."#, "[redacted]."),
        ] {
            assert_eq!(redact(text, &[prompt]), expected);
        }
    }

    #[test]
    fn a_text_quoted_by_two_secrets_is_masked_for_both() {
        let secrets = ["a common beginning, then one", "a common beginning, then two"];
        let text = "1: a common beginning, then one 2: a common beginning, then two";
        assert_eq!(redact(text, &secrets), "1: [redacted] 2: [redacted]");
    }

    #[test]
    fn short_secrets_are_masked_only_whole() {
        assert_eq!(redact("a pass42 b pass4", &["pass42"]), "a [redacted] b pass4");
        assert_eq!(redact("a b c", &["b"]), "a b c");
        assert_eq!(redact("", &["something"]), "");
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("héllo", 2), "h");
        assert_eq!(cut("héllo", 3), "hé");
        assert_eq!(cut("héllo", 99), "héllo");
    }
}
