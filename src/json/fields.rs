//! Reads the fields of a JSON object that others wrote. It collects every problem, each named by its JSON path.

use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    json::{number, surrogate},
    redact::cut,
};

/// The longest id, and the longest other text that is stored as it is, in bytes. Two of them with their prefixes stay
/// far below the 1 KiB of DynamoDB's sort key.
pub(crate) const ID_LIMIT: usize = 256;
/// The beginning of Scheduler's context attributes. One that is left in an event was never substituted.
/// <https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html>
pub(crate) const SCHEDULER_KEYWORD: &str = "<aws.scheduler.";
/// The most problems that are reported, about as many as a screen has lines.
const MOST_PROBLEMS: usize = 50;
/// The longest path shown, in bytes.
const PATH_LIMIT: usize = 200;

/// A reader of one object's fields, which collects the problems that it finds.
pub(crate) struct Fields<'a> {
    pub(crate) path: String,
    pub(crate) object: &'a Map<String, Value>,
    pub(crate) problems: Vec<String>,
}

impl<'a> Fields<'a> {
    /// Returns a reader of `object`, whose own path is `path`, without any problem yet.
    pub(crate) fn new(path: &str, object: &'a Map<String, Value>) -> Self {
        Self { path: path.to_owned(), object, problems: Vec::new() }
    }

    /// Adds a problem of the field `name`, with its path before it, as [`push`] does.
    pub(crate) fn problem(&mut self, name: &str, problem: &str) {
        push(&mut self.problems, format!("{}: {problem}", member(&self.path, name)));
    }

    /// Returns an optional field, or `None` if it is absent. Null counts as absent, as in the languages that write
    /// these events.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// Reads an optional text, which may be empty. Anything but a text is a problem, and `None`.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        match self.value(name)?.clone() {
            Value::String(text) => Some(text),
            other => {
                self.problem(name, &format!("must be a string, not {}", kind(&other)));
                None
            }
        }
    }

    /// Reads a text that must be present and not blank. It is returned as it stands, with the blanks around it. An
    /// absent, null or blank one and anything but a text are problems, and `None`.
    pub(crate) fn required_text(&mut self, name: &str) -> Option<String> {
        if self.value(name).is_none() {
            self.problem(name, "is missing");
            return None;
        }
        let text = self.text(name)?;
        if text.trim().is_empty() {
            self.problem(name, "must not be empty");
            return None;
        }
        Some(text)
    }

    /// Reads an optional text that is stored as it is, of at most [`ID_LIMIT`] bytes. A longer one, and anything but a
    /// text, is a problem, and `None`. Half a surrogate pair, which the table cannot hold, becomes U+FFFD.
    pub(crate) fn short_text(&mut self, name: &str) -> Option<String> {
        let text = surrogate::shown(&self.text(name)?).into_owned();
        if text.len() > ID_LIMIT {
            self.problem(name, &format!("must have at most {ID_LIMIT} bytes, not {}", text.len()));
            return None;
        }
        Some(text)
    }

    /// Reads an id: a required text that is not blank, of at most [`ID_LIMIT`] bytes, without control characters.
    /// Anything else, and its absence, is a problem, and `None`. Half a surrogate pair becomes U+FFFD.
    pub(crate) fn id(&mut self, name: &str) -> Option<String> {
        let id = surrogate::shown(&self.required_text(name)?).into_owned();
        if id.len() > ID_LIMIT {
            self.problem(name, &format!("must have at most {ID_LIMIT} bytes, not {}", id.len()));
        } else if id.contains(char::is_control) {
            self.problem(name, "must not contain control characters");
        } else {
            return Some(id);
        }
        None
    }

    /// Reads an optional array of texts. Returns `None` if it is absent, and for a value that is no array, which is a
    /// problem. An element that is no text is a problem and is left out.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let Value::Array(items) = self.value(name)?.clone() else {
            self.problem(name, "must be an array of strings");
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text),
                other => self.problem(&format!("{name}[{at}]"), &format!("must be a string, not {}", kind(&other))),
            }
        }
        Some(texts)
    }

    /// Reads an optional boolean. Anything else is a problem, and `None`, which looks like an absent one. A caller that
    /// starts runs must look at the problems.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        match self.value(name)?.clone() {
            Value::Bool(flag) => Some(flag),
            other => {
                self.problem(name, &format!("must be true or false, not {}", kind(&other)));
                None
            }
        }
    }

    /// Reads an optional whole number that fits 32 bits, as [`Fields::whole_number`] does. A larger one is a problem,
    /// and `None`.
    pub(crate) fn count(&mut self, name: &str) -> Option<u32> {
        let count = u32::try_from(self.whole_number(name)?).ok();
        if count.is_none() {
            self.problem(name, &format!("must be at most {}", u32::MAX));
        }
        count
    }

    /// Reads an optional whole number as [`Fields::count`] does, from a record that the table's stream delivered.
    /// There, an attribute that the record does not have arrives as an empty text. This counts as absent here and
    /// nowhere else: it is `None` without a problem.
    pub(crate) fn streamed_count(&mut self, name: &str) -> Option<u32> {
        self.value(name).filter(|value| value.as_str() != Some(""))?;
        self.count(name)
    }

    /// Reads an optional whole number that is not negative and fits 64 bits, in any spelling (`900.0`, `1E+6`). It is
    /// given as a number or as a text, which is the form of DynamoDB's stream. Anything else is a problem, and `None`:
    /// an empty text, too, because a limit that is present must not be read as one that is absent.
    pub(crate) fn whole_number(&mut self, name: &str) -> Option<u64> {
        let number = whole_number(self.value(name)?);
        if number.is_none() {
            self.problem(name, "must be a whole number");
        }
        number
    }

    /// Reads an RFC 3339 time that must be present, as [`Fields::instant`] does. Returns its text, too. A time that is
    /// absent is a problem, and `None`.
    pub(crate) fn required_instant(&mut self, name: &str) -> Option<(String, OffsetDateTime)> {
        self.required_text(name)?;
        self.instant(name)
    }

    /// Reads an optional RFC 3339 time of at most [`ID_LIMIT`] bytes, and returns its text, too. Anything else is a
    /// problem, and `None`. So is a time before 1970, because a UUIDv7 cannot represent it. A text with a Scheduler
    /// keyword that was never substituted is `None` without a problem: the reader of the whole event reports it.
    pub(crate) fn instant(&mut self, name: &str) -> Option<(String, OffsetDateTime)> {
        let text = self.short_text(name)?;
        // It has been reported as such already.
        if text.contains(SCHEDULER_KEYWORD) {
            return None;
        }
        match OffsetDateTime::parse(&text, &Rfc3339) {
            Ok(instant) if instant.unix_timestamp() >= 0 => Some((text, instant)),
            Ok(_) => {
                self.problem(name, "must not be before 1970");
                None
            }
            Err(_) => {
                self.problem(name, "must be an RFC 3339 time such as 2026-01-31T07:00:00Z");
                None
            }
        }
    }

    /// Returns a copy of an optional object. It is empty if it is absent, and for a value that is no object, which is a
    /// problem.
    pub(crate) fn object(&mut self, name: &str) -> Map<String, Value> {
        match self.value(name).cloned() {
            None => Map::new(),
            Some(Value::Object(object)) => object,
            Some(other) => {
                self.problem(name, &format!("must be an object, not {}", kind(&other)));
                Map::new()
            }
        }
    }
}

/// Returns the whole number that a value spells in any way, as a number or as a text. Returns `None` if it spells none,
/// or one that is negative or does not fit 64 bits.
pub(crate) fn whole_number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number::whole(number.as_str()),
        Value::String(text) => number::whole(text),
        _ => None,
    }
}

/// Adds a problem. After 50, one more entry says that there are further ones, and all after that are dropped. A hostile
/// event must not cause an error longer than itself.
pub(crate) fn push(problems: &mut Vec<String>, problem: String) {
    match problems.len() {
        0..MOST_PROBLEMS => problems.push(problem),
        MOST_PROBLEMS => problems.push("$: has further problems".to_owned()),
        _ => {}
    }
}

/// Returns the path of the member `name` in `path`, in dot notation if the name is plain, and otherwise quoted in
/// brackets (RFC 9535 §2.5). The sender chose the name, so it is cut to 64 bytes. If `path` has more than 200 bytes,
/// the name is left out and the path ends in an ellipsis.
pub(crate) fn member(path: &str, name: &str) -> String {
    let name = cut(name, 64);
    if path.len() > PATH_LIMIT {
        return if path.ends_with('…') { path.to_owned() } else { format!("{path}…") };
    }
    let plain = name.chars().all(|char| char.is_ascii_alphanumeric() || "_-[]".contains(char));
    if plain { format!("{path}.{name}") } else { format!("{path}[{name:?}]") }
}

/// Returns the path of the element at this index of `path`, as [`member`] does: `path[at]`.
pub(crate) fn member_at(path: &str, at: usize) -> String {
    if path.len() > PATH_LIMIT { member(path, "") } else { format!("{path}[{at}]") }
}

/// Returns the kind of a value with its article, for the text of a problem.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_whole_number_may_be_spelt_in_any_way() {
        for (value, expected) in [
            (json!(0), Some(0)),
            (json!(5_000_000_000_u64), Some(5_000_000_000)),
            (json!(900.0), Some(900)),
            (json!(1e6), Some(1_000_000)),
            (json!(u64::MAX), Some(u64::MAX)),
            (json!("3600"), Some(3600)),
            (json!("1E+6"), Some(1_000_000)),
            (json!("900.0"), Some(900)),
            (json!(-0.0), Some(0)),
            (json!(-1), None),
            (json!(1.5), None),
            (json!(1e300), None),
            (json!("1.5"), None),
            (json!("inf"), None),
            (json!("nan"), None),
            (json!(" 1"), None),
            (json!(""), None),
            (json!(true), None),
            (json!([1]), None),
            (json!(null), None),
        ] {
            assert_eq!(whole_number(&value), expected, "{value}");
        }
    }

    #[test]
    fn a_count_says_how_large_it_may_be() {
        let object = json!({"fits": 4_294_967_295_u64, "large": 4_294_967_296_u64, "part": 0.5, "empty": ""});
        let mut fields = Fields::new("$", object.as_object().unwrap());
        let counts = ["fits", "large", "part", "empty", "absent"].map(|name| fields.count(name));
        assert_eq!(counts, [Some(u32::MAX), None, None, None, None]);
        let problems = [
            "$.large: must be at most 4294967295",
            "$.part: must be a whole number",
            "$.empty: must be a whole number",
        ];
        assert_eq!(fields.problems, problems);

        let mut fields = Fields::new("$", object.as_object().unwrap());
        let counts = ["fits", "part", "empty", "absent"].map(|name| fields.streamed_count(name));
        assert_eq!(counts, [Some(u32::MAX), None, None, None]);
        assert_eq!(fields.problems, ["$.part: must be a whole number"]);
    }
}
