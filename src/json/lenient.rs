//! Reads JSON as it came. serde_json refuses half a surrogate pair, which JavaScript leaves where it cuts a text within
//! an emoji, and more than 128 levels. serde_json also changes the spelling of a number (`1e15` becomes `1e+15`), and
//! takes an object whose only name begins with `$serde_json` for a number or a text of its own. Here numbers keep their
//! spelling and any size, and halves are marked ([`crate::json::surrogate`]).

use memchr::{memchr, memchr2};
use serde_json::{Map, Number, Value, error::Category, value::RawValue};

use crate::json::surrogate;

/// The deepest nesting that is read. Deeper values would cost the readers of the value too much stack.
pub const MOST_LEVELS: usize = 256;

/// The reasons why a text is not read. They hold nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LenientError {
    /// It is not JSON.
    #[error("must be JSON ({fault})")]
    Syntax {
        /// The first fault and its place.
        fault: String,
    },
    /// It is nested too deeply.
    #[error("must have at most {MOST_LEVELS} levels")]
    TooDeep,
}

/// Reads a text as JSON. If an object has several members of one name, the last one counts. Numbers keep their
/// spelling.
///
/// # Errors
/// Returns an error, with its place, if the text is not JSON, and another if it has more than [`MOST_LEVELS`] levels.
pub fn parse(text: &str) -> Result<Value, LenientError> {
    // This validates the whole text without recursion, and builds nothing. The reader below relies on it.
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| LenientError::Syntax { fault: fault(&error) })?;
    Reader { text: raw.get(), at: 0 }.value(MOST_LEVELS).ok_or(LenientError::TooDeep)
}

/// Returns what keeps a text from being JSON, and where. It holds nothing of the text: the words for a fault of syntax
/// are fixed, and of any other fault only the place is named.
pub(crate) fn fault(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Syntax | Category::Eof => error.to_string(),
        Category::Io | Category::Data => format!("at line {} column {}", error.line(), error.column()),
    }
}

/// A reader of a text that is known to be JSON.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    /// Reads the next value, of any type. Returns `None` if it has more than `levels` levels. The text is known to be
    /// JSON, so nothing is checked.
    fn value(&mut self, levels: usize) -> Option<Value> {
        match self.next_byte()? {
            b'{' => {
                let levels = levels.checked_sub(1)?;
                let mut members = Map::new();
                self.at += 1;
                while self.has_next(b'}')? {
                    let name = self.string()?;
                    // The colon.
                    self.next_byte()?;
                    self.at += 1;
                    members.insert(name, self.value(levels)?);
                }
                Some(Value::Object(members))
            }
            b'[' => {
                let levels = levels.checked_sub(1)?;
                let mut items = Vec::new();
                self.at += 1;
                while self.has_next(b']')? {
                    items.push(self.value(levels)?);
                }
                Some(Value::Array(items))
            }
            b'"' => self.string().map(Value::String),
            first => {
                let rest = &self.text[self.at..];
                let word = &rest[..rest.find([',', ']', '}', ' ', '\t', '\r', '\n']).unwrap_or(rest.len())];
                self.at += word.len();
                Some(match first {
                    b'n' => Value::Null,
                    b't' | b'f' => Value::Bool(first == b't'),
                    _ => Value::Number(Number::from_string_unchecked(word.to_owned())),
                })
            }
        }
    }

    /// Passes over the comma before the next element, or over `end`, the bracket of the object or array. Returns true
    /// if there is another element, and `None` if the text ends first.
    fn has_next(&mut self, end: u8) -> Option<bool> {
        let byte = self.next_byte()?;
        if byte == end || byte == b',' {
            self.at += 1;
        }
        Some(byte != end)
    }

    /// Reads a string, whose opening quote is next, with its escapes read. Halves of surrogate pairs are marked.
    /// Returns `None` if its closing quote is missing or an escape is malformed.
    fn string(&mut self) -> Option<String> {
        self.next_byte()?;
        let begin = self.at + 1;
        let (mut end, mut has_escapes) = (begin, false);
        loop {
            end += memchr2(b'"', b'\\', &self.text.as_bytes()[end..])?;
            if self.text.as_bytes()[end] == b'"' {
                break;
            }
            has_escapes = true;
            end += 2;
        }
        self.at = end + 1;
        let raw = &self.text[begin..end];
        let mut text = String::with_capacity(raw.len());
        if has_escapes {
            unescape(raw, &mut text)?
        } else {
            surrogate::push_plain(&mut text, raw)
        }
        Some(text)
    }

    /// Passes over white space, and returns the byte after it without taking it. Returns `None` at the end of the text.
    fn next_byte(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at)?, b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }
}

/// Appends the inside of a JSON string with its escapes read and halves of surrogate pairs marked. `raw` must be valid:
/// an unknown escape stands for its own character. Returns `None` for an escape that is cut off or a `\u` without four
/// hexadecimal digits. A part is appended then.
fn unescape(raw: &str, text: &mut String) -> Option<()> {
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        surrogate::push_plain(text, &rest[..at]);
        let escape = *rest.as_bytes().get(at + 1)?;
        rest = &rest[at + 2..];
        let plain = match escape {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => {
                rest = unescape_units(rest, text)?;
                continue;
            }
            other => char::from(other),
        };
        text.push(plain);
    }
    surrogate::push_plain(text, rest);
    Some(())
}

/// Appends the character whose four hexadecimal digits, a UTF-16 code, are at the beginning of `rest`, and returns the
/// rest after it. If the code is the first half of a pair and the other half is the next escape, this is taken as well.
/// A half alone is marked. Returns `None` without four digits.
fn unescape_units<'a>(rest: &'a str, text: &mut String) -> Option<&'a str> {
    let unit = |text: &str| u16::from_str_radix(text.get(..4)?, 16).ok();
    let (first, behind) = (unit(rest)?, &rest[4..]);
    let second = behind.strip_prefix("\\u").and_then(unit);
    let mut units = char::decode_utf16([first].into_iter().chain(second));
    match units.next()? {
        Ok(char) => surrogate::push_plain(text, char.encode_utf8(&mut [0; 4])),
        Err(half) => surrogate::push_half(text, half.unpaired_surrogate()),
    }
    // A pair took both.
    let is_pair = second.is_some() && units.next().is_none();
    Some(if is_pair { &behind[6..] } else { behind })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json::surrogate::to_json;

    #[test]
    fn what_is_json_is_read_and_written_as_it_came() {
        for text in [
            r#"{"a":"cut \ud83d","b":[1,"\ude00 x",{}],"c":{"\ud83d":null}}"#,
            r#"{"x":1e400,"y":-1E+400,"z":1.50}"#,
            r#"[1e15,123456789012345678901234567890,-0,0.10,true,false,null,[],""]"#,
            r#"{"$serde_json::private::Number":"5"}"#,
            r#"{"$serde_json::private::RawValue":"{}"}"#,
            "\"\u{fdd0}\u{e000}\u{fdd0}\\ud800\"",
            "1e400",
            r#""\ud83d\ud83d""#,
            r#""\udc00\ud83d""#,
        ] {
            assert_eq!(to_json(&parse(text).unwrap()), text);
        }
    }

    #[test]
    fn escapes_and_spaces_are_read() {
        for (text, expected) in [
            (r#" { "a" : [ 1 , 2 ] , "b" : { } , "c" : [ ] } "#, json!({"a": [1, 2], "b": {}, "c": []})),
            (r#""\ud83d\ude00 \"\\\n\t\r\b\f\/\u00e4ä\u0041""#, json!("😀 \"\\\n\t\r\u{8}\u{c}/ääA")),
            (r#"{"x": 1, "x": 2}"#, json!({"x": 2})),
            (r#"{"a\u0022":"[{,}]"}"#, json!({"a\"": "[{,}]"})),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "{",
            r#"{"a": 1e400"#,
            r#"{"a": "\ud83"}"#,
            r#"["\ud83d" 1]"#,
            r#"["\x"]"#,
            "1e400 2",
            "\"\n\"",
            "[1,]",
        ] {
            assert!(matches!(parse(text), Err(LenientError::Syntax { .. })), "{text}");
        }
    }

    #[test]
    fn a_fault_is_named_and_its_text_is_not() {
        for (text, expected) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{\"secret\": 1,\n", "EOF while parsing an object at line 2 column 0"),
            ("{\"secret\": 1,}", "key must be a string at line 1"),
            ("{secret}", "key must be a string at line 1"),
            ("{'secret': 1}", "key must be a string at line 1"),
            ("secret", "expected value at line 1"),
            ("[1] secret", "trailing characters at line 1"),
        ] {
            let said = parse(text).unwrap_err().to_string();
            assert!(said.starts_with(&format!("must be JSON ({expected}")) && !said.contains("secret"), "{said}");
        }
        // A message about data quotes it.
        let error = serde_json::from_str::<u8>("\"secret\"").unwrap_err();
        assert_eq!(fault(&error), "at line 1 column 8");
    }

    #[test]
    fn levels_are_read_up_to_a_limit() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
            assert_eq!(parse(&nested(200)).unwrap().to_string(), nested(200));
            assert!(parse(&nested(MOST_LEVELS)).is_ok());
            assert_eq!(parse(&nested(MOST_LEVELS + 1)), Err(LenientError::TooDeep));
            assert_eq!(parse(&nested(100_000)), Err(LenientError::TooDeep));
        }
    }
}
