//! Keeps what must not be repeated out of texts that others wrote.

use std::{borrow::Cow, collections::HashSet};

/// How long a run of bytes two texts must share before it counts as a quotation.
const WINDOW: usize = 16;
const MASK: &str = "[redacted]";

/// `text` without what it quotes of `secrets`, whole or in part, plain or as JSON escapes it: an agent that rejects a
/// call likes to say what it was sent, cut to a length of its own. A secret shorter than 16 bytes is masked where it
/// stands whole; one shorter than 4 would mask ordinary words and is left.
pub fn redact(text: &str, secrets: &[&str]) -> String {
    let mut masked = vec![false; text.len()];
    for secret in secrets {
        mask_quotations(text, secret, &mut masked);
        let escaped = json_escaped(secret);
        if escaped != *secret {
            mask_quotations(text, &escaped, &mut masked);
        }
    }
    let mut clean = String::with_capacity(text.len());
    let mut in_mask = false;
    for (at, char) in text.char_indices() {
        let hidden = masked[at..at + char.len_utf8()].contains(&true);
        match (hidden, in_mask) {
            (true, false) => clean.push_str(MASK),
            (true, true) => {}
            (false, _) => clean.push(char),
        }
        in_mask = hidden;
    }
    clean
}

fn mask_quotations(text: &str, secret: &str, masked: &mut [bool]) {
    if secret.len() < 4 {
        return;
    }
    let mut mask = |from: usize, length: usize| masked[from..from + length].fill(true);
    if secret.len() < WINDOW {
        text.match_indices(secret).for_each(|(at, found)| mask(at, found.len()));
        return;
    }
    // One pass over each: the secret may be a quarter of a megabyte.
    let wanted: HashSet<&[u8]> = text.as_bytes().windows(WINDOW).collect();
    let quoted: HashSet<&[u8]> = secret.as_bytes().windows(WINDOW).filter(|window| wanted.contains(window)).collect();
    for (at, window) in text.as_bytes().windows(WINDOW).enumerate() {
        if quoted.contains(window) {
            mask(at, WINDOW);
        }
    }
}

fn json_escaped(text: &str) -> Cow<'_, str> {
    match serde_json::to_string(text) {
        Ok(quoted) => Cow::Owned(quoted[1..quoted.len() - 1].to_owned()),
        Err(_) => Cow::Borrowed(text),
    }
}

/// The longest start of `text` that has at most `limit` bytes and ends between characters.
pub fn cut(text: &str, limit: usize) -> &str {
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
        ] {
            assert_eq!(redact(text, &[prompt]), expected);
        }
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
