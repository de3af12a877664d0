//! Reads JSON that serde_json refuses although it is JSON: half a surrogate pair, which JavaScript leaves where it cuts a
//! text within an emoji; a number that no f64 holds; and more than 128 levels.

use serde_json::{Value, value::RawValue};

use crate::json::scan::{Members, RawJson, Str};

/// The deepest nesting that is read. Deeper values would cost the readers of the value too much stack.
const MOST_LEVELS: usize = 256;

/// Reads a text. Half a surrogate pair becomes U+FFFD, and a number that no f64 holds becomes the text that spells it.
///
/// # Errors
/// Those of serde_json, if the text is no JSON, or is nested too deeply.
pub(crate) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| {
        // Validates the whole text, and builds nothing. What follows may rest on it.
        let raw: &RawValue = serde_json::from_str(text)?;
        let is_shallow = levels(raw.get()) <= MOST_LEVELS;
        is_shallow.then(|| value(RawJson::whole(raw.get().as_bytes()))).flatten().ok_or(error)
    })
}

/// Returns how many levels a text has that is known to be JSON.
fn levels(text: &str) -> usize {
    let (mut level, mut most, mut in_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                level += 1;
                most = most.max(level);
            }
            b'}' | b']' if !in_string => level = level.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// Builds a value of a text that is known to be JSON of few levels: it recurses, and scans each level once more.
fn value(raw: RawJson<'_>) -> Option<Value> {
    let text = raw.raw();
    Some(match text.first()? {
        b'{' => {
            let member = |(name, member): (Str<'_>, _)| Some((read(name), value(member)?));
            Value::Object(Members::of(text).map(member).collect::<Option<_>>()?)
        }
        b'[' => Value::Array(raw.elements().map(value).collect::<Option<_>>()?),
        b'"' => Value::String(read(raw.as_str()?)),
        _ => {
            let text = std::str::from_utf8(text).ok()?;
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
        }
    })
}

/// Reads a whole string. None of its escapes is shorter than a third of what it stands for.
fn read(string: Str<'_>) -> String {
    string.read(3 * string.raw().len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_json_is_read() {
        for (text, expected) in [
            (r#"{"a": "cut \ud83d", "b": [1, "\ude00 x"]}"#, json!({"a": "cut \u{fffd}", "b": [1, "\u{fffd} x"]})),
            (r#"{"cut \ud83d": "\ud83d\ude00 \"\\\n\u00e4ä"}"#, json!({"cut \u{fffd}": "😀 \"\\\nää"})),
            (
                r#" {"x": 1e400, "y": -1e400, "z": 1.5, "n": null, "t": true} "#,
                json!({"x": "1e400", "y": "-1e400", "z": 1.5, "n": null, "t": true}),
            ),
            (r#"{"x": 1e400, "e": {}, "l": [ ], "s": "", "x": 2}"#, json!({"x": 2, "e": {}, "l": [], "s": ""})),
            ("1e400", json!("1e400")),
            (r#""\ud83d""#, json!("\u{fffd}")),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in
            ["", "{", r#"{"a": 1e400"#, r#"{"a": "\ud83"}"#, r#"["\ud83d" 1]"#, r#"["\x"]"#, "1e400 2", "\"\n\""]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn levels_are_read_up_to_a_limit() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
            assert_eq!(parse(&nested(200)).unwrap().to_string(), nested(200));
            assert!(parse(&nested(MOST_LEVELS)).is_ok());
            assert!(parse(&nested(MOST_LEVELS + 1)).is_err());
            assert!(parse(&nested(100_000)).is_err());
        }
    }

    #[test]
    fn levels_are_counted_outside_of_texts() {
        for (text, expected) in
            [("1", 0), ("[]", 1), (r#"{"a":[{}],"b":[[]]}"#, 3), (r#"["[[\"[[", "\\", [[]]]"#, 3), (r#"["{\\\"["]"#, 1)]
        {
            assert_eq!(levels(text), expected, "{text}");
        }
    }

    #[test]
    fn what_serde_json_reads_is_read_as_it_does() {
        for text in [r#"{"b":{"c":[1,2.5,"x\u0041",{"d":null}]},"a":true}"#, "[[],{},\"\",0,-1.5e-3]", "\"x\""] {
            let strict: Value = serde_json::from_str(text).unwrap();
            assert_eq!(value(RawJson::whole(text.as_bytes())), Some(strict));
        }
    }
}
