//! The matchers that an event pattern applies to a single value. [`crate::trigger::pattern`] describes the language.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use crate::{
    json::{
        fields::{kind, member, member_at, push},
        number,
        steps::{Steps, of_bytes},
    },
    trigger::cidr::Block,
};

/// The matchers that a pattern may name, as problems list them.
pub(crate) const NAMES: &str =
    "exactly, prefix, suffix, equals-ignore-case, wildcard, anything-but, numeric, cidr, exists";

/// One entry of the list that a pattern has for a field.
#[derive(Debug)]
pub(crate) enum Matcher {
    Null,
    Bool(bool),
    Number(Number),
    Text(Text),
    /// A number that fulfils every comparison.
    Numeric(Vec<(Comparison, Number)>),
    Cidr(Block),
    /// A value that none of these matches.
    AnythingBut(Vec<Matcher>),
    Exists,
    /// The matcher `exists: false`, which no value matches.
    Missing,
}

/// A test of a string.
#[derive(Debug)]
pub(crate) enum Text {
    Equal(String),
    Prefix(String),
    Suffix(String),
    /// This and the two tests below contain text without its case.
    EqualIgnoringCase(String),
    PrefixIgnoringCase(String),
    SuffixIgnoringCase(String),
    /// The texts before, between and after the wildcards.
    Wildcard(Vec<String>),
}

/// A comparison of a value with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Matcher {
    /// Reads one entry of a field's list, which stands at `path`: a plain value, which must be equal, or an object with
    /// one matcher. An array is a problem. `None` comes with a problem. A matcher may come with one, too: the caller
    /// must look at the problems.
    pub(crate) fn parse(value: &Value, path: &str, problems: &mut Vec<String>) -> Option<Self> {
        match value {
            Value::Object(matcher) => {
                let (name, argument) = only_member(matcher, path, NAMES, problems)?;
                Self::parse_named(name, argument, &member(path, name), problems)
            }
            Value::Array(_) => {
                push(problems, format!("{path}: must be a value or a matcher, not an array"));
                None
            }
            Value::Null => Some(Self::Null),
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(value) => Some(Self::Number(value.clone())),
            Value::String(value) => Some(Self::equal(value)),
        }
    }

    /// Returns the matcher of a plain text. If it is an IP address, every spelling of the address matches. Otherwise
    /// only the text itself does.
    fn equal(text: &str) -> Self {
        Block::of_address(text).map_or_else(|| Self::Text(Text::Equal(text.to_owned())), Self::Cidr)
    }

    /// Reads the matcher `name` with its argument, which stands at `path`. Only `prefix`, `suffix` and `anything-but`
    /// may hold another matcher: the first two `equals-ignore-case` alone. An unknown name and an argument of the wrong
    /// form are problems. `None` comes with a problem, and a matcher may come with one, too.
    fn parse_named(name: &str, argument: &Value, path: &str, problems: &mut Vec<String>) -> Option<Self> {
        match (name, argument) {
            ("prefix" | "suffix", Value::Object(inner)) => {
                let (name_within, argument) = only_member(inner, path, "equals-ignore-case", problems)?;
                let path = &member(path, name_within);
                if name_within != "equals-ignore-case" {
                    push(problems, format!("{path}: must be equals-ignore-case"));
                    return None;
                }
                let text = folded_text(string(argument, path, problems)?);
                let is_prefix = name == "prefix";
                let test = if is_prefix { Text::PrefixIgnoringCase(text) } else { Text::SuffixIgnoringCase(text) };
                Some(Self::Text(test))
            }
            ("prefix" | "suffix" | "equals-ignore-case" | "wildcard", _) => {
                Text::parse(name, argument, path, problems).map(Self::Text)
            }
            ("exactly", _) => string(argument, path, problems).map(|text| Self::Text(Text::Equal(text.to_owned()))),
            ("anything-but", _) => parse_anything_but(argument, path, problems),
            ("numeric", _) => parse_numeric(argument, path, problems),
            ("cidr", _) => {
                let block = Block::parse(string(argument, path, problems)?);
                if block.is_none() {
                    push(
                        problems,
                        format!("{path}: must be an address and a length, such as 10.0.0.0/24 or 2001:db8::/32"),
                    );
                }
                block.map(Self::Cidr)
            }
            ("exists", Value::Bool(true)) => Some(Self::Exists),
            ("exists", Value::Bool(false)) => Some(Self::Missing),
            ("exists", other) => {
                push(problems, format!("{path}: must be true or false, not {}", kind(other)));
                None
            }
            _ => {
                push(problems, format!("{path}: is no matcher: those are {NAMES}"));
                None
            }
        }
    }

    /// Returns true if the matcher accepts `leaf`, which is no object and no array. A text's test accepts no number,
    /// and a number's no text, but for `anything-but`, which accepts a value of another type. Returns false once the
    /// steps are spent.
    pub(crate) fn matches(&self, leaf: &Value, steps: &Steps) -> bool {
        let bytes = match leaf {
            Value::String(text) => text.len(),
            Value::Number(number) => number.as_str().len(),
            _ => 0,
        };
        // No test looks at a byte twice, but letters without their case take longer.
        let folded = if let Self::Text(test) = self { test.folded_bytes().min(bytes) } else { 0 };
        if !steps.take(1 + of_bytes(bytes) + of_bytes(8 * folded)) {
            return false;
        }
        match (self, leaf) {
            (Self::Null, Value::Null) | (Self::Exists, _) => true,
            (Self::Bool(expected), Value::Bool(value)) => expected == value,
            (Self::Number(expected), Value::Number(value)) => compare(value, expected) == Some(Ordering::Equal),
            (Self::Numeric(bounds), Value::Number(value)) => {
                bounds.iter().all(|(comparison, bound)| comparison.holds(compare(value, bound)))
            }
            (Self::Text(test), Value::String(value)) => test.matches(value),
            (Self::Cidr(block), Value::String(value)) => block.contains(value),
            // A value of another type matches too: a number is anything but "initializing".
            (Self::AnythingBut(matchers), leaf) => {
                !matchers.iter().any(|matcher| matcher.matches(leaf, steps)) && !steps.are_spent()
            }
            _ => false,
        }
    }
}

/// Reads the argument of `anything-but`: a text, a number, a list of texts or a list of numbers, or one of the matchers
/// `prefix`, `suffix`, `equals-ignore-case` and `wildcard` with a text or a list of texts. A list, a prefix and a
/// suffix must not be empty. An entry with a problem is left out of the result. `None` comes with a problem, too.
fn parse_anything_but(argument: &Value, path: &str, problems: &mut Vec<String>) -> Option<Matcher> {
    const EXPECTED: &str = "prefix, suffix, equals-ignore-case, wildcard";
    let (name, path, values) = match argument {
        Value::Object(inner) => {
            let (name, values) = only_member(inner, path, EXPECTED, problems)?;
            if !EXPECTED.split(", ").any(|known| known == name) {
                let path = member(path, name);
                push(problems, format!("{path}: is no matcher of anything-but: those are {EXPECTED}"));
                return None;
            }
            (Some(name), member(path, name), values)
        }
        values => (None, path.to_owned(), values),
    };
    let list = match values {
        Value::Array(list) if list.is_empty() => {
            push(problems, format!("{path}: must not be empty"));
            return None;
        }
        Value::Array(list) => &list[..],
        single => std::slice::from_ref(single),
    };
    let mut matchers = Vec::with_capacity(list.len());
    for (at, value) in list.iter().enumerate() {
        let path = &if values.is_array() { member_at(&path, at) } else { path.clone() };
        let matcher = match (name, value) {
            (Some("prefix" | "suffix"), Value::String(text)) if text.is_empty() => {
                push(problems, format!("{path}: must not be empty: every string begins and ends so"));
                None
            }
            (Some(name), value) => Text::parse(name, value, path, problems).map(Matcher::Text),
            // As in event-ruler, the spelling of an address counts here.
            (None, Value::String(text)) => Some(Matcher::Text(Text::Equal(text.clone()))),
            (None, Value::Number(_)) => Matcher::parse(value, path, problems),
            (None, other) => {
                push(problems, format!("{path}: must be a string or a number, not {}", kind(other)));
                None
            }
        };
        matchers.extend(matcher);
    }
    if name.is_none() && list.iter().any(Value::is_string) && list.iter().any(Value::is_number) {
        push(problems, format!("{path}: must hold strings only, or numbers only"));
    }
    Some(Matcher::AnythingBut(matchers))
}

/// Reads the argument of `numeric`, an array: one comparison (`[">", 0]`), or a lower bound and a greater upper one
/// (`[">", 0, "<=", 5]`). A bound with a problem is left out. Two bounds of another kind are a problem, and are
/// returned all the same. Another form is a problem, and `None`.
fn parse_numeric(argument: &Value, path: &str, problems: &mut Vec<String>) -> Option<Matcher> {
    let terms = argument.as_array().filter(|terms| matches!(terms.len(), 2 | 4));
    let Some(terms) = terms else {
        push(problems, format!("{path}: must be one or two comparisons, such as [\"=\", 5] or [\">\", 0, \"<=\", 5]"));
        return None;
    };
    let mut bounds = Vec::new();
    for (at, term) in terms.iter().enumerate().step_by(2) {
        let comparison = term.as_str().and_then(Comparison::from_sign);
        if comparison.is_none() {
            push(problems, format!("{}: must be one of =, <, <=, >, >=", member_at(path, at)));
        }
        let number = match &terms[at + 1] {
            Value::Number(number) => Some(number.clone()),
            other => {
                push(problems, format!("{}: must be a number, not {}", member_at(path, at + 1), kind(other)));
                None
            }
        };
        bounds.extend(comparison.zip(number));
    }
    if let [(from, bottom), (to, top)] = &bounds[..] {
        let is_from = matches!(from, Comparison::Greater | Comparison::GreaterOrEqual);
        let is_to = matches!(to, Comparison::Less | Comparison::LessOrEqual);
        if !is_from || !is_to || compare(bottom, top) != Some(Ordering::Less) {
            push(problems, format!("{path}: must begin with > or >=, and go on with < or <= a greater number"));
        }
    }
    Some(Matcher::Numeric(bounds))
}

impl Text {
    /// Reads the matcher `name` of texts: `prefix`, `suffix` or `equals-ignore-case`. Any other name is taken for
    /// `wildcard`. An argument that is no text, or no valid pattern of wildcards, is a problem, and `None`.
    fn parse(name: &str, argument: &Value, path: &str, problems: &mut Vec<String>) -> Option<Self> {
        let text = string(argument, path, problems)?;
        match name {
            "prefix" => Some(Self::Prefix(text.to_owned())),
            "suffix" => Some(Self::Suffix(text.to_owned())),
            "equals-ignore-case" => Some(Self::EqualIgnoringCase(folded_text(text))),
            _ => match wildcard(text) {
                Ok(parts) => Some(Self::Wildcard(parts)),
                Err(problem) => {
                    push(problems, format!("{path}: {problem}"));
                    None
                }
            },
        }
    }

    /// Returns the length of the text that is compared without its case, in bytes. It is 0 for a test that heeds the
    /// case.
    fn folded_bytes(&self) -> usize {
        match self {
            Self::EqualIgnoringCase(text) | Self::PrefixIgnoringCase(text) | Self::SuffixIgnoringCase(text) => {
                text.len()
            }
            Self::Equal(_) | Self::Prefix(_) | Self::Suffix(_) | Self::Wildcard(_) => 0,
        }
    }

    /// Returns true if `text` passes the test: it is equal to the test's text, begins or ends with it, or fits its
    /// wildcards.
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Equal(expected) => text == expected,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::EqualIgnoringCase(expected) => folded(text).eq(expected.chars()),
            Self::PrefixIgnoringCase(prefix) => begins(folded(text), prefix.chars()),
            Self::SuffixIgnoringCase(suffix) => begins(folded(text).rev(), suffix.chars().rev()),
            Self::Wildcard(parts) => fits(parts, text),
        }
    }
}

/// Splits a pattern at its wildcards `*`: one text more than there are wildcards, any of them possibly empty. A
/// backslash before `*` or another backslash takes away its meaning.
///
/// # Errors
/// The error says what is wrong with the pattern: two wildcards in a row, or a backslash before anything else.
/// event-ruler refuses both.
fn wildcard(pattern: &str) -> Result<Vec<String>, &'static str> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '*' if chars.peek() == Some(&'*') => return Err("must not hold two wildcards in a row"),
            '*' => parts.push(std::mem::take(&mut part)),
            '\\' => match chars.next() {
                Some(escaped @ ('*' | '\\')) => part.push(escaped),
                _ => return Err("must hold a backslash only before * or another backslash"),
            },
            char => part.push(char),
        }
    }
    parts.push(part);
    Ok(parts)
}

/// Returns true if `text` contains these parts in their order, with the first at its start and the last at its end. A
/// single part must be the whole text. Each part is taken where it first occurs. This leaves the most text for the
/// parts after it, so nothing is tried twice.
fn fits(parts: &[String], text: &str) -> bool {
    let [first, between @ .., last] = parts else {
        return parts.iter().all(|whole| whole == text);
    };
    let rest = text.strip_prefix(&first[..]).and_then(|rest| rest.strip_suffix(&last[..]));
    rest.is_some_and(|mut rest| {
        // A search prepares itself for the whole part, so it is not begun for one that cannot be there.
        let search = |rest: &'_ str, part: &String| if part.len() > rest.len() { None } else { rest.find(&part[..]) };
        between.iter().all(|part| match search(rest, part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    })
}

/// Returns the text's characters without their case. They go through upper case, so that ς and σ, both Σ, are the same
/// letter. One may become several: ß, whose upper case is SS, becomes ss. The capital ẞ becomes ß, so the two differ.
fn folded(text: &str) -> impl DoubleEndedIterator<Item = char> {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Returns the text without its case, see [`folded`].
fn folded_text(text: &str) -> String {
    folded(text).collect()
}

/// Returns true if `text` begins with all the characters of `start`, in their order.
fn begins(mut text: impl Iterator<Item = char>, mut start: impl Iterator<Item = char>) -> bool {
    start.all(|char| text.next() == Some(char))
}

impl Comparison {
    /// Returns the comparison of the sign `=`, `<`, `<=`, `>` or `>=`, and `None` for any other text.
    fn from_sign(sign: &str) -> Option<Self> {
        match sign {
            "=" => Some(Self::Equal),
            "<" => Some(Self::Less),
            "<=" => Some(Self::LessOrEqual),
            ">" => Some(Self::Greater),
            ">=" => Some(Self::GreaterOrEqual),
            _ => None,
        }
    }

    /// Returns true if the comparison holds for two values with this ordering. It never holds for values that cannot be
    /// compared.
    pub(crate) fn holds(self, ordering: Option<Ordering>) -> bool {
        ordering.is_some_and(|ordering| match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        })
    }
}

/// Compares two numbers as EventBridge does: as doubles, so that 9007199254740993 and 9007199254740992 are the same. If
/// one is too large for a double, both are compared exactly. `None` if they cannot be compared.
fn compare(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.partial_cmp(&right),
        _ => number::compare(left, right),
    }
}

/// Returns the text that `value` is. Anything else is a problem at `path`, and `None`.
fn string<'a>(value: &'a Value, path: &str, problems: &mut Vec<String>) -> Option<&'a str> {
    let text = value.as_str();
    if text.is_none() {
        push(problems, format!("{path}: must be a string, not {}", kind(value)));
    }
    text
}

/// Returns the name and the value of a matcher's only member. No member or several are a problem at `path`, and `None`.
/// `expected` lists the possible names for the problem. The name is not checked.
fn only_member<'a>(
    object: &'a Map<String, Value>,
    path: &str,
    expected: &str,
    problems: &mut Vec<String>,
) -> Option<(&'a str, &'a Value)> {
    let mut members = object.iter();
    match (members.next(), members.next()) {
        (Some((name, value)), None) => Some((name, value)),
        _ => {
            push(problems, format!("{path}: must have exactly one member, of {expected}"));
            None
        }
    }
}
