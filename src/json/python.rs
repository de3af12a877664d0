//! Python's way to print a dictionary, which agents send by mistake in place of JSON.

use std::fmt::Write;

/// Bytes of the longest text that is read.
const LONGEST: usize = 64 * 1024;

/// Returns a dictionary of literals, as Python prints it, as JSON. Tuples become arrays. `True`, `False` and `None`
/// become JSON's words. Returns `None` if the text does not begin with `{`, holds anything else, or has more than 64
/// KiB.
pub(crate) fn to_json(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= LONGEST && text.starts_with('{'))?;
    let mut json = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match first {
            '\'' | '"' => {
                rest = string(&rest[1..], first, &mut json)?;
                continue;
            }
            '(' => json.push('['),
            ')' => {
                // A tuple of one value is printed with a comma: `(1,)`.
                if json.ends_with(',') {
                    json.pop();
                }
                json.push(']');
            }
            '{' | '}' | '[' | ']' | ',' | ':' | ' ' | '\n' => json.push(first),
            _ => {
                let end = rest.find([',', '}', ']', ')', ':', ' ', '\n']).unwrap_or(rest.len());
                match &rest[..end] {
                    "True" => json.push_str("true"),
                    "False" => json.push_str("false"),
                    "None" => json.push_str("null"),
                    word if word.parse::<f64>().is_ok_and(f64::is_finite) => json.push_str(word),
                    _ => return None,
                }
                rest = &rest[end..];
                continue;
            }
        }
        rest = &rest[first.len_utf8()..];
    }
    serde_json::from_str::<serde::de::IgnoredAny>(&json).ok().map(|_| json)
}

/// Takes a string up to its `quote`, and appends it to `json` as JSON. `text` begins after the opening quote. Returns
/// the text after the closing one. Returns `None` if there is none, or another escape than `\'`, `\"`, `\\`, `\n`,
/// `\r`, `\t`, `\u`, `\U` and `\x`. A part is appended then.
fn string<'t>(text: &'t str, quote: char, json: &mut String) -> Option<&'t str> {
    json.push('"');
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            _ if char == quote => {
                json.push('"');
                return Some(&text[at + 1..]);
            }
            '"' => json.push_str("\\\""),
            '\\' => match chars.next()?.1 {
                '\'' => json.push('\''),
                'x' => {
                    let digits = text.get(at + 2..at + 4)?;
                    write!(json, "\\u00{digits}").ok()?;
                    chars.nth(1)?;
                }
                'U' => {
                    let code = u32::from_str_radix(text.get(at + 2..at + 10)?, 16).ok()?;
                    json.push(char::from_u32(code)?);
                    chars.nth(7)?;
                }
                escape @ ('"' | '\\' | 'n' | 'r' | 't' | 'u') => json.extend(['\\', escape]),
                _ => return None,
            },
            char if char.is_control() => write!(json, "\\u{:04x}", char as u32).ok()?,
            char => json.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_read() {
        for (python, json) in [
            ("{'a': 'b'}", r#"{"a": "b"}"#),
            (r#"{'a': "it's", 'b': 'say "x"'}"#, r#"{"a": "it's", "b": "say \"x\""}"#),
            ("{'a': (False,), 'b': (1,), 'c': ()}", r#"{"a": [false], "b": [1], "c": []}"#),
            ("{'a': (1,,)}", ""),
            (
                "{'a': True, 'b': None, 'c': [1, 2.5, (False, -1)]}",
                r#"{"a": true, "b": null, "c": [1, 2.5, [false, -1]]}"#,
            ),
            (r"{'a': 'x\'y\n\x1b\\'}", r#"{"a": "x'y\n\u001b\\"}"#),
            (r"{'a': '\U0001f600\U000e0001.'}", "{\"a\": \"\u{1f600}\u{e0001}.\"}"),
            (r"{'a': '\U00d80000'}", ""),
            ("{'a': <object at 0x1>}", ""),
            ("{'a': AgentResult(x='y')}", ""),
            ("{'a': 'b'", ""),
            ("{'a", ""),
            ("{name} came in.", ""),
        ] {
            assert_eq!(to_json(python.as_bytes()).unwrap_or_default(), json, "{python}");
        }
    }
}
