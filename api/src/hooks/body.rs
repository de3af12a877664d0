//! Reads the body of a delivery: JSON, a form, or text. The result is a text of JSON, which stays as the sender wrote
//! it.

use std::borrow::Cow;

use agent_trigger::json::lenient::{self, LenientError};
use serde_json::{Map, Value};

use crate::hooks::scheme::Preset;

/// The reason why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "camelCase")]
pub enum BodyError {
    /// It is not UTF-8.
    NotUtf8,
    /// It says that it is JSON and is not.
    NotJson,
    /// It is nested so deeply that the run function could not read its event.
    TooDeep,
}

/// The deepest nesting of a body. It stands in two objects of its event.
const MOST_LEVELS: usize = lenient::MOST_LEVELS - 2;

/// A body that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// The JSON, as the sender spelt it if it was JSON.
    pub json: String,
    /// The parsed JSON.
    pub value: Value,
}

/// Reads a body by its content type. JSON keeps its text. A form becomes an object; a name that occurs several times
/// gets a list. The form in which GitHub and Slack put their JSON, a field `payload` alone, becomes that JSON. Anything
/// else is JSON if it is an object or an array, and text otherwise. An empty or blank body becomes null. A byte order
/// mark, which some libraries write before UTF-8, is left out (RFC 8259, 8.1).
///
/// # Errors
/// Returns the reason why it cannot be read.
pub fn read(body: &[u8], content_type: &str, preset: Preset) -> Result<Body, BodyError> {
    let text = std::str::from_utf8(body).map_err(|_| BodyError::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let kind = kind_of(content_type);
    if text.trim().is_empty() {
        return Ok(Body { json: "null".to_owned(), value: Value::Null });
    }
    let is_json = is_json(content_type);
    let begins_as_json = text.trim_start().starts_with(['{', '[']);
    let body = if is_json {
        json(text)?
    } else if kind == "application/x-www-form-urlencoded" {
        form(text, preset)?
    } else {
        match json(text) {
            Ok(body) if begins_as_json => body,
            Err(BodyError::TooDeep) if begins_as_json => return Err(BodyError::TooDeep),
            _ => of_value(Value::from(text)),
        }
    };
    if is_deeper(&body.value, MOST_LEVELS) { Err(BodyError::TooDeep) } else { Ok(body) }
}

/// Returns true for a content type of JSON: `application/json`, or any that ends in `+json`. Parameters and case do not
/// count.
pub fn is_json(content_type: &str) -> bool {
    let kind = kind_of(content_type);
    kind == "application/json" || kind.ends_with("+json")
}

/// Returns a content type without its parameters, in lower case.
fn kind_of(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns true if a value has more than `levels` levels of objects and arrays.
fn is_deeper(value: &Value, levels: usize) -> bool {
    let (is_nested, inner): (bool, Box<dyn Iterator<Item = &Value>>) = match value {
        Value::Array(values) => (true, Box::new(values.iter())),
        Value::Object(members) => (true, Box::new(members.values())),
        _ => (false, Box::new(std::iter::empty())),
    };
    match levels.checked_sub(1) {
        None => is_nested,
        Some(levels) => inner.into_iter().any(|value| is_deeper(value, levels)),
    }
}

/// Reads a text of JSON, which is kept as it is, without the white space around it.
///
/// # Errors
/// `TooDeep` or `NotJson`.
fn json(text: &str) -> Result<Body, BodyError> {
    match lenient::parse(text) {
        Ok(value) => Ok(Body { json: text.trim().to_owned(), value }),
        Err(LenientError::TooDeep) => Err(BodyError::TooDeep),
        Err(_) => Err(BodyError::NotJson),
    }
}

/// Returns a body of this value, spelt by this function.
fn of_value(value: Value) -> Body {
    Body { json: value.to_string(), value }
}

/// Reads a form as an object of texts. A name that occurs several times gets a list. If GitHub or Slack sent a field
/// `payload` alone and it is JSON, the body is that JSON.
///
/// # Errors
/// `TooDeep` if that JSON is nested too deeply to be read.
fn form(text: &str, preset: Preset) -> Result<Body, BodyError> {
    let pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = form_urlencoded::parse(text.as_bytes()).collect();
    if let [(name, payload)] = &pairs[..]
        && name == "payload"
        && matches!(preset, Preset::Github | Preset::Slack)
        && let Some(read) = Some(json(payload)).filter(|read| *read != Err(BodyError::NotJson))
    {
        return read;
    }
    let mut members = Map::new();
    for (name, value) in pairs {
        let value = Value::from(value.into_owned());
        match members.get_mut(name.as_ref()) {
            None => {
                members.insert(name.into_owned(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Ok(of_value(Value::Object(members)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_are_json_forms_or_text() {
        let read = |body: &str, kind: &str| read(body.as_bytes(), kind, Preset::Github).map(|body| body.json);
        let form = "application/x-www-form-urlencoded";
        for (body, kind, expected) in [
            (r#" {"n": 1.10e2, "h": "\ud83d"} "#, "application/json", Ok(r#"{"n": 1.10e2, "h": "\ud83d"}"#)),
            ("7", "application/cloudevents+json; charset=utf-8", Ok("7")),
            ("{\"a\":1}", "", Ok("{\"a\":1}")),
            ("{\"a\":1", "text/plain", Ok(r#""{\"a\":1""#)),
            ("7", "text/plain", Ok("\"7\"")),
            ("{", "Application/JSON", Err(BodyError::NotJson)),
            ("{} {}", "application/json", Err(BodyError::NotJson)),
            ("\u{feff}{\"a\":1}", "application/json", Ok("{\"a\":1}")),
            ("\u{feff}[1]", "text/plain", Ok("[1]")),
            ("\u{feff}", "application/json", Ok("null")),
            ("\u{feff}a=1", form, Ok(r#"{"a":"1"}"#)),
            ("{\u{feff}}", "application/json", Err(BodyError::NotJson)),
            ("", "application/json", Ok("null")),
            (" \n", "", Ok("null")),
            ("a=1&b=%C3%BC+x&a=2&a=3", form, Ok(r#"{"a":["1","2","3"],"b":"ü x"}"#)),
            ("payload=%7B%22n%22%3A1.0%7D", form, Ok(r#"{"n":1.0}"#)),
            ("payload=%7B", form, Ok(r#"{"payload":"{"}"#)),
        ] {
            assert_eq!(read(body, kind), expected.map(str::to_owned), "{body} {kind}");
        }
        let other = super::read(b"payload=%7B%7D", form, Preset::Hmac).unwrap();
        assert_eq!(other.value, json!({"payload": "{}"}));
        assert_eq!(super::read(b"\xff", "text/plain", Preset::Hmac), Err(BodyError::NotUtf8));
        for (levels, problem) in [(254, None), (255, Some(BodyError::TooDeep)), (257, Some(BodyError::TooDeep))] {
            let nested = "[".repeat(levels) + &"]".repeat(levels);
            for kind in ["application/json", "text/plain"] {
                assert_eq!(read(&nested, kind).err(), problem.clone(), "{levels} {kind}");
            }
            assert_eq!(read(&format!("payload={nested}"), form).err(), problem, "{levels} {form}");
        }
    }
}
