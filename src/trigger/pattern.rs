//! Event patterns, which decide whether an event is meant for a trigger.
//!
//! The language is that of EventBridge's rules, as its user guide describes it
//! (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html>,
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html>) and, where the guide is
//! silent, as its open source engine reads it (<https://github.com/aws/event-ruler>). Where these leave a choice:
//!
//! - Numbers are compared by value, as doubles, so `[300]` matches 300.0. EventBridge does the same, although the guide
//!   says otherwise. The guide's limit of five billion, above which EventBridge compares no numbers, does not apply.
//! - A text that is an IP address matches every spelling of that address. `exactly` matches the spelling.
//! - `$or` is a field's name like any other, if a member of its objects has the name of a matcher.
//! - An array matches if one of its elements matches. The fields that a pattern requires of an object must be found in
//!   one object: fields of two elements of an array never match together. `exists: false` beside other fields applies
//!   to the element in which these were found. If all of an object's fields must be missing, it applies to every
//!   element.
//! - A dot in a field's name is part of the name. event-ruler joins names by dots, and says not to rely on that.
//! - It is an error if two parts of a pattern, one of them in a `$or`, require the same field together. EventBridge
//!   would use only the last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use crate::{
    json::{
        fields::{kind, member, member_at, push},
        steps::Steps,
    },
    trigger::{
        bounds::{MOST_MATCHERS, MOST_NAMES},
        matcher::{self, Matcher},
    },
};

/// A valid pattern.
#[derive(Debug)]
pub struct Pattern {
    /// The alternatives. An event must match one of them. There are several only with `$or`, which is multiplied out,
    /// because a branch and the fields beside the `$or` must match in the same elements of arrays.
    alternatives: Vec<Fields>,
    /// The number of names in all their places together.
    names: usize,
}

/// The requirements for an object's fields, by name.
type Fields = BTreeMap<Arc<str>, Node>;

/// The requirement for a field.
#[derive(Debug)]
enum Node {
    /// The field's value, or a value in it, must match one of these.
    Value(Arc<[Matcher]>),
    /// The field must be an object, or contain one, with these fields.
    Object(Fields),
}

impl Pattern {
    /// Reads a pattern. Each `$or` is multiplied out, so that an event must match one of the alternatives as a whole.
    ///
    /// # Errors
    /// Returns up to 50 problems together, each with its JSON path within the pattern, and then an entry that says that
    /// there are more. Besides the faults of single parts, it is a problem if the pattern is no object or has no field,
    /// if its `$or` make it too large once multiplied out, and if two parts require one place together. A pattern with
    /// more than [`MOST_MATCHERS`] matchers is not read: that is then the only problem.
    pub fn parse(pattern: &Value) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let Value::Object(fields) = pattern else {
            return Err(vec![format!("$: must be an object, not {}", kind(pattern))]);
        };
        let matchers = matchers_of(fields);
        if matchers > MOST_MATCHERS {
            return Err(vec![format!("$: must have at most {MOST_MATCHERS} matchers, not {matchers}")]);
        }
        let read = Alternatives::of_fields(fields, &[], "$", &mut problems);
        if read.are_too_many {
            push(&mut problems, format!("$: its $or multiply out to more than {MOST_NAMES} names"));
        }
        let mut twice = BTreeSet::new();
        let mut alternatives = Vec::with_capacity(read.list.len());
        for alternative in read.list {
            let mut fields = Fields::new();
            for leaf in alternative {
                if !insert(&mut fields, &leaf.place, leaf.matchers) {
                    twice.insert(leaf.place);
                }
            }
            alternatives.push(fields);
        }
        for place in twice {
            let path = place.iter().fold("$".to_owned(), |path, name| member(&path, name));
            push(&mut problems, format!("{path}: is asked for twice where both have to match"));
        }
        if problems.is_empty() { Ok(Self { alternatives, names: read.names }) } else { Err(problems) }
    }

    /// Returns true if `event` matches. The steps are not limited. The time is proportional to the size of the event,
    /// whatever it contains.
    pub fn matches(&self, event: &Value) -> bool {
        self.matches_within(event, &Steps::new(u64::MAX))
    }

    /// Returns true if `event` matches. One that is no object never does. Once the steps are spent, the result means
    /// nothing. Two steps are taken for each name of the alternatives beforehand, even if the first name decides: a
    /// stored pattern is read anew for each event.
    pub fn matches_within(&self, event: &Value, steps: &Steps) -> bool {
        let names = u64::try_from(self.names).unwrap_or(u64::MAX);
        steps.take(names.saturating_mul(2))
            && event.is_object()
            && self.alternatives.iter().any(|fields| find_fields(fields, Some(event), steps).is_found())
    }
}

/// The first place at which an event differs from a pattern.
#[derive(Debug, PartialEq)]
pub struct Refusal<'e> {
    /// The JSON path.
    pub path: String,
    /// The value there. `None` if there is none.
    pub value: Option<&'e Value>,
}

impl Pattern {
    /// Returns the first place at which `event` does not match. `None` if it matches, if the pattern has several
    /// alternatives, because then no single place decides, or if the steps are spent. The first is the least by its
    /// fields' names.
    pub(crate) fn refusal<'e>(&self, event: &'e Value, steps: &Steps) -> Option<Refusal<'e>> {
        let [fields] = &self.alternatives[..] else { return None };
        refusal(fields, event, "$", steps).filter(|_| !steps.are_spent())
    }
}

/// Returns the first place in `value`, which stands at `path`, at which one of the fields is not found, or `None` if
/// all are found. Where an object is required and there is one, this is a place within it. The elements of an array are
/// not told apart: the whole array is the place.
fn refusal<'e>(fields: &Fields, value: &'e Value, path: &str, steps: &Steps) -> Option<Refusal<'e>> {
    fields.iter().find_map(|(name, node)| {
        let (path, value) = (member(path, name), value.get(&**name));
        match node {
            Node::Object(below) if !find_fields(below, value, steps).is_found() => {
                let below =
                    value.filter(|value| value.is_object()).and_then(|value| refusal(below, value, &path, steps));
                Some(below.unwrap_or(Refusal { path, value }))
            }
            Node::Value(matchers) if !find_value(matchers, value, steps).is_found() => Some(Refusal { path, value }),
            Node::Object(_) | Node::Value(_) => None,
        }
    })
}

/// The ways in which a part of a pattern is fulfilled. A part with `exists: false` may be fulfilled in both ways.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// True if a value was found, which determines the element of each array around it.
    with_something: bool,
    /// True if nothing was found and all the required fields must be missing.
    with_nothing: bool,
}

impl Found {
    /// Returns true if the part is fulfilled in one way or the other.
    fn is_found(self) -> bool {
        self.with_something || self.with_nothing
    }

    /// Combines two parts that one object must fulfil. Both must be found, and for `with_something` one of them with a
    /// value. For `with_nothing` both must be fulfilled by nothing.
    fn and(self, other: Self) -> Self {
        let any_with_something = self.with_something || other.with_something;
        Self {
            with_something: self.is_found() && other.is_found() && any_with_something,
            with_nothing: self.with_nothing && other.with_nothing,
        }
    }
}

/// Looks for these fields in `value`, which is `None` for a missing field. All of them must be found in one object, or
/// be missing in it where this is required. In an array, one element must have them all. A value that is neither an
/// object nor an array has no fields. Once the steps are spent, the result means nothing. The recursion is as deep as
/// the event, whose depth its reader limits to 256.
fn find_fields(fields: &Fields, value: Option<&Value>, steps: &Steps) -> Found {
    if let Some(Value::Array(items)) = value {
        return find_in_array(items, steps, |item| find_fields(fields, item, steps));
    }
    let object = value.and_then(Value::as_object);
    let mut found = Found { with_something: false, with_nothing: true };
    for (name, node) in fields {
        let field = object.and_then(|object| object.get(&**name));
        found = found.and(match node {
            Node::Value(matchers) => find_value(matchers, field, steps),
            Node::Object(fields) => find_fields(fields, field, steps),
        });
        if !steps.take(1) || !found.is_found() {
            break;
        }
    }
    found
}

/// Looks for a value that one of the matchers accepts. An object counts as a missing field, because matchers apply only
/// to the leaves of an event: both fulfil `exists: false` and no other matcher. In an array, one element is enough, but
/// `exists: false` must hold for every element, and holds for an empty array. Once the steps are spent, the result
/// means nothing.
fn find_value(matchers: &[Matcher], value: Option<&Value>, steps: &Steps) -> Found {
    match value {
        Some(Value::Array(items)) => find_in_array(items, steps, |item| find_value(matchers, item, steps)),
        None | Some(Value::Object(_)) => {
            let with_nothing = matchers.iter().any(|matcher| steps.take(1) && matches!(matcher, Matcher::Missing));
            Found { with_something: false, with_nothing }
        }
        Some(leaf) => {
            Found { with_something: matchers.iter().any(|matcher| matcher.matches(leaf, steps)), with_nothing: false }
        }
    }
}

/// Looks in each element with `find`. A value must be found in one of them. What must be missing must be so in all. An
/// empty array counts as a missing field. Stops once no further element can change the result, or the steps are spent.
fn find_in_array(items: &[Value], steps: &Steps, find: impl Fn(Option<&Value>) -> Found) -> Found {
    let mut so_far = find(None);
    for item in items {
        // A found value stays found.
        if (so_far.with_something && !so_far.with_nothing) || !steps.take(1) {
            break;
        }
        let found = find(Some(item));
        so_far.with_something |= found.with_something;
        so_far.with_nothing &= found.with_nothing;
    }
    so_far
}

/// Returns true if a field is the relation `$or`, even with a value of the wrong form. If a member of its branches has
/// the name of a matcher, it is an ordinary field of this name.
fn is_or(name: &str, value: &Value) -> bool {
    let branches = || value.as_array().into_iter().flatten().filter_map(Value::as_object);
    name == "$or" && !branches().flat_map(Map::keys).any(|name| matcher::NAMES.split(", ").any(|known| known == name))
}

/// Returns the number of matchers in a pattern, before its `$or` are multiplied out. Each plain value counts as one. A
/// matcher counts as one, or with a list as many as the list has.
fn matchers_of(fields: &Map<String, Value>) -> usize {
    let of_list = |argument: &Value| argument.as_array().map_or(1, Vec::len);
    let of_entry = |entry: &Value| match entry {
        Value::Object(matcher) => matcher
            .values()
            .map(|argument| match argument {
                Value::Object(inner) => inner.values().map(of_list).sum(),
                argument => of_list(argument),
            })
            .sum(),
        _ => 1,
    };
    let of_field = |(name, value): (&String, &Value)| match value {
        Value::Object(fields) => matchers_of(fields),
        Value::Array(branches) if is_or(name, value) => {
            branches.iter().filter_map(Value::as_object).map(matchers_of).sum()
        }
        Value::Array(entries) => entries.iter().map(of_entry).sum(),
        _ => 0,
    };
    fields.iter().map(of_field).sum()
}

/// The requirement for one place in an event.
#[derive(Debug, Clone)]
struct Leaf {
    /// The names on the path to the place.
    place: Arc<[Arc<str>]>,
    matchers: Arc<[Matcher]>,
}

/// A part of a pattern as a list of alternatives. All leaves of one of them must match.
#[derive(Debug)]
struct Alternatives {
    list: Vec<Vec<Leaf>>,
    /// The number of names in all their places together.
    names: usize,
    are_too_many: bool,
}

impl Alternatives {
    /// Reads an object of fields that stands at `path`, below the names `above`. Returns the alternatives of all its
    /// fields combined. The branches of a `$or` stand at the same place. An empty object, and a field that is neither
    /// an object nor an array, are problems. With a problem, the result means nothing.
    fn of_fields(
        fields: &Map<String, Value>,
        above: &[Arc<str>],
        path: &str,
        problems: &mut Vec<String>,
    ) -> Alternatives {
        let mut all = Self { list: vec![Vec::new()], names: 0, are_too_many: false };
        if fields.is_empty() {
            push(problems, format!("{path}: must not be empty"));
        }
        for (name, value) in fields {
            let path = &member(path, name);
            let place = || [above, &[Arc::from(&name[..])]].concat();
            match value {
                _ if is_or(name, value) => all.and(Self::of_branches(value, above, path, problems)),
                Value::Object(fields) => all.and(Self::of_fields(fields, &place(), path, problems)),
                Value::Array(entries) => all.and(Self::of_value(entries, place(), path, problems)),
                other => {
                    let problem = "must be an array of values, or an object of fields";
                    push(problems, format!("{path}: {problem}, not {}", kind(other)));
                }
            }
        }
        all
    }

    /// Reads a `$or`, an array of at least two objects, which stands at `path` below the names `above`. Returns the
    /// alternatives of all its branches, one after the other. What is no such array or object is a problem and left
    /// out.
    fn of_branches(value: &Value, above: &[Arc<str>], path: &str, problems: &mut Vec<String>) -> Self {
        let mut any = Self { list: Vec::new(), names: 0, are_too_many: false };
        let Some(branches) = value.as_array().filter(|branches| branches.len() >= 2) else {
            push(problems, format!("{path}: must be an array of two objects or more, one of which has to match"));
            return any;
        };
        for (at, branch) in branches.iter().enumerate() {
            let path = &member_at(path, at);
            match branch {
                Value::Object(fields) => any.or(Self::of_fields(fields, above, path, problems)),
                other => push(problems, format!("{path}: must be an object, not {}", kind(other))),
            }
        }
        any
    }

    /// Reads the list of matchers of the field at `place`. Returns one alternative: a value there must match one of
    /// them. An empty list is a problem, and a matcher with a problem may be left out.
    fn of_value(entries: &[Value], place: Vec<Arc<str>>, path: &str, problems: &mut Vec<String>) -> Self {
        if entries.is_empty() {
            push(problems, format!("{path}: must not be empty"));
        }
        let parse = |(at, entry)| Matcher::parse(entry, &member_at(path, at), problems);
        let matchers = entries.iter().enumerate().filter_map(parse).collect();
        let names = place.len();
        Self { list: vec![vec![Leaf { place: place.into(), matchers }]], names, are_too_many: false }
    }

    /// Adds the alternatives of another branch. Once they are too many, none are added, and the pattern is refused.
    fn or(&mut self, other: Self) {
        self.names = self.names.saturating_add(other.names);
        self.bound(self.list.len().saturating_add(other.list.len()), other.are_too_many);
        if !self.are_too_many {
            self.list.extend(other.list);
        }
    }

    /// Notes that the alternatives are too many if their number `alternatives` or that of their names is more than
    /// [`MOST_NAMES`], or if the other part's `are_too_many` already. The alternatives count by themselves, too: one
    /// that requires nothing has no names, and a `$or` of such doubles their number all the same.
    fn bound(&mut self, alternatives: usize, are_too_many: bool) {
        self.are_too_many |= are_too_many || self.names.max(alternatives) > MOST_NAMES;
    }

    /// Combines each alternative with each one of another part, because an event must match both parts. Once they are
    /// too many, none are added, and the pattern is refused.
    fn and(&mut self, other: Self) {
        let (ours, theirs) = (self.names.saturating_mul(other.list.len()), other.names.saturating_mul(self.list.len()));
        self.names = ours.saturating_add(theirs);
        self.bound(self.list.len().saturating_mul(other.list.len()), other.are_too_many);
        if self.are_too_many {
            return;
        }
        if let [single] = &other.list[..] {
            self.list.iter_mut().for_each(|alternative| alternative.extend_from_slice(single));
        } else {
            let mut both = Vec::with_capacity(self.list.len() * other.list.len());
            for ours in &self.list {
                both.extend(other.list.iter().map(|theirs| [&ours[..], theirs].concat()));
            }
            self.list = both;
        }
    }
}

/// Adds the requirement for a place to `fields`, with the objects on its path. Returns false if there is one already
/// for this place, for one above it, or for one below it. The requirements then mean nothing, because this one may have
/// replaced another.
fn insert(fields: &mut Fields, place: &[Arc<str>], matchers: Arc<[Matcher]>) -> bool {
    let [name, below @ ..] = place else { return false };
    if below.is_empty() {
        return fields.insert(name.clone(), Node::Value(matchers)).is_none();
    }
    match fields.entry(name.clone()).or_insert_with(|| Node::Object(Fields::new())) {
        Node::Object(fields) => insert(fields, below, matchers),
        Node::Value(_) => false,
    }
}
