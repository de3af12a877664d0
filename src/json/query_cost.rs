//! The cost of a query on the event at hand, counted before the query is evaluated. serde_json_path has no limits of
//! its own, and RFC 9535 allows queries whose work is the product of an event's sizes: a filter that compares two
//! copies of the whole detail does so for each value that it examines.
//!
//! The count walks the event along the query's segments, and finds at least the values that the query finds: names
//! without an escape and indexes from 0 on exactly, a filter as if it accepted all the children, and every other
//! selector as all the children. For each value that a filter examines, the count adds the most that the filter can do
//! with it. A query that would take too many steps is not evaluated.

use serde_json::Value;

use crate::json::steps::{Steps, of_bytes};

/// The most values that a query may find at any of its segments. Each takes 8 bytes in up to four lists.
pub const MOST_FOUND: usize = 250_000;

/// One segment of a query.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) is_descendant: bool,
    pub(super) selectors: Vec<Selector>,
}

/// One selector of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selector {
    Name(String),
    Index(usize),
    /// A wildcard, a slice, or a selector that is not examined: it counts as every child.
    Every,
    Filter(FilterCost),
}

/// The most that a filter does with one value that it examines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FilterCost {
    /// The steps that it takes for any value.
    steps: u64,
    /// The number of times that the filter may look at each value inside the examined one.
    looks: u64,
    /// True if a value may be looked at again from every level above it.
    has_descendants: bool,
    /// The number of times that the filter may look at the whole event.
    looks_at_event: u64,
    /// True if the filter may look at the whole event again for each value inside the examined one.
    is_nested: bool,
}

/// The query costs too much on this event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("take too many steps on this event, or find over {MOST_FOUND} values in it")]
pub struct TooMuchWork;

/// Takes the steps of a query on an event from `steps`.
///
/// # Errors
/// Returns an error if there are not enough, or if the query may find more than [`MOST_FOUND`] values at a segment. All
/// steps are spent then.
pub(super) fn count(segments: &[Segment], event: &Value, steps: &Steps) -> Result<(), TooMuchWork> {
    let counter = Counter { event, steps };
    let mut found = vec![event];
    for segment in segments {
        let mut next = Vec::new();
        for value in found {
            counter.select(segment, value, &mut next)?;
        }
        found = next;
    }
    Ok(())
}

struct Counter<'a, 's> {
    event: &'a Value,
    steps: &'s Steps,
}

impl<'a> Counter<'a, '_> {
    /// Adds to `found` at least the values that a segment finds in a value, and takes the steps for them. A descendant
    /// segment is applied to every value within, too.
    ///
    /// # Errors
    /// Returns an error if there are not enough steps, or more than [`MOST_FOUND`] values. All steps are spent then,
    /// and `found` has only a part.
    fn select(&self, segment: &Segment, value: &'a Value, found: &mut Vec<&'a Value>) -> Result<(), TooMuchWork> {
        for selector in &segment.selectors {
            self.take(1)?;
            match selector {
                Selector::Name(name) => found.extend(value.as_object().and_then(|object| object.get(name))),
                Selector::Index(index) => found.extend(value.as_array().and_then(|items| items.get(*index))),
                Selector::Every => {
                    for child in children(value) {
                        self.take(1)?;
                        found.push(child);
                    }
                }
                Selector::Filter(cost) => {
                    for child in children(value) {
                        self.filter(cost, child)?;
                        found.push(child);
                    }
                }
            }
            if found.len() > MOST_FOUND {
                // The steps are used up as well, for a caller that looks only at them.
                self.steps.take(u64::MAX);
                return Err(TooMuchWork);
            }
        }
        if segment.is_descendant {
            for child in children(value) {
                self.take(1)?;
                self.select(segment, child, found)?;
            }
        }
        Ok(())
    }

    /// Takes the most steps that a filter may need to examine `value`, which depend on the sizes of the value and of
    /// the event. Measuring these takes steps, too. If there are not enough, all are spent and an error is returned.
    fn filter(&self, cost: &FilterCost, value: &Value) -> Result<(), TooMuchWork> {
        self.take(cost.steps)?;
        if cost.looks > 0 {
            let size = self.size(value, cost.has_descendants, 1)?;
            self.take(cost.looks.saturating_mul(size))?;
        }
        if cost.looks_at_event > 0 {
            let times = if cost.is_nested { self.size(value, false, 1)? } else { 1 };
            let size = self.size(self.event, false, 1)?;
            self.take(cost.looks_at_event.saturating_mul(times).saturating_mul(size))?;
        }
        Ok(())
    }

    /// Returns the steps of looking at all of a value once: one for each value in it, and those of its texts' bytes.
    /// With `has_descendants`, each value within counts once for every level above it, from `level` on. The measuring
    /// itself takes one step for each value. If there are not enough, all are spent and an error is returned.
    fn size(&self, value: &Value, has_descendants: bool, level: u64) -> Result<u64, TooMuchWork> {
        self.take(1)?;
        let mut size = 1 + match value {
            Value::String(text) => of_bytes(text.len()),
            Value::Number(number) => of_bytes(number.as_str().len()),
            Value::Object(members) => members.keys().map(|name| of_bytes(name.len())).sum(),
            _ => 0,
        };
        if has_descendants {
            size *= level;
        }
        for child in children(value) {
            size = size.saturating_add(self.size(child, has_descendants, level + 1)?);
        }
        Ok(size)
    }

    /// Takes steps. If there are not enough, all are spent and an error is returned.
    fn take(&self, steps: u64) -> Result<(), TooMuchWork> {
        if self.steps.take(steps) { Ok(()) } else { Err(TooMuchWork) }
    }
}

/// Returns the elements of an array or the values of an object, in their order. Any other value has none.
fn children(value: &Value) -> impl Iterator<Item = &Value> {
    let items = value.as_array().into_iter().flatten();
    items.chain(value.as_object().into_iter().flat_map(|members| members.values()))
}

impl FilterCost {
    /// Returns the most that a filter can cost for one value, judged by its punctuation alone. `filter` is the text
    /// after the question mark, in a query that the parser has accepted: for any other text the result means nothing.
    /// Counts saturate.
    pub(super) fn of(filter: &str) -> Self {
        let mut shape = FilterShape::default();
        shape.read(filter.as_bytes());
        let FilterShape { repeats, operations, wild, has_descendants, event_operations, .. } = shape;
        // Each part that is evaluated separately has at least two bytes.
        let length = (filter.len() as u64).div_ceil(2);
        let looks = if wild { length.saturating_add(operations) } else { operations };
        Self {
            steps: length.saturating_add(1).saturating_mul(repeats),
            looks: looks.saturating_mul(repeats),
            has_descendants,
            looks_at_event: event_operations.saturating_mul(repeats),
            is_nested: wild,
        }
    }
}

/// The facts in a filter's punctuation.
#[derive(Debug)]
struct FilterShape {
    /// The ways to choose one selector from each bracket.
    repeats: u64,
    /// Its comparisons and functions.
    operations: u64,
    /// The comparisons of two queries that begin with `$`, and the functions of one.
    event_operations: u64,
    /// True if a query in it may find several values.
    wild: bool,
    has_descendants: bool,
    /// The number of `$` in the comparison at hand.
    roots: u64,
    /// The open brackets: their kind, and the number of their selectors.
    open: Vec<(Open, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Selectors,
    Group,
    Function,
}

impl Default for FilterShape {
    /// Returns the facts of a filter before its text is read: one way to choose its selectors, and nothing found.
    fn default() -> Self {
        Self {
            repeats: 1,
            operations: 0,
            event_operations: 0,
            wild: false,
            has_descendants: false,
            roots: 0,
            open: Vec::new(),
        }
    }
}

impl FilterShape {
    /// Reads the text of a filter for its cost: adds what its punctuation outside quotes shows to the facts. For a text
    /// that is no filter the result means nothing: the parser refuses it.
    fn read(&mut self, filter: &[u8]) {
        let mut at = 0;
        while let Some(byte) = filter.get(at) {
            at += 1;
            match byte {
                b'\'' | b'"' => at += quoted_length(&filter[at..], *byte),
                b'[' => self.open.push((Open::Selectors, 1)),
                b'(' => {
                    let is_function = at > 1 && matches!(filter[at - 2], b'a'..=b'z' | b'0'..=b'9' | b'_');
                    self.operations += u64::from(is_function);
                    self.open.push((if is_function { Open::Function } else { Open::Group }, 1));
                    self.roots = if is_function { self.roots } else { 0 };
                }
                b']' | b')' => match self.open.pop() {
                    Some((Open::Selectors, selectors)) => self.repeats = self.repeats.saturating_mul(selectors),
                    Some((Open::Group, _)) => self.roots = 0,
                    Some((Open::Function, _)) | None => {}
                },
                b',' => self.open.last_mut().into_iter().for_each(|(_, selectors)| *selectors += 1),
                b'$' => {
                    self.roots += 1;
                    let in_function = self.open.iter().any(|(open, _)| *open == Open::Function);
                    self.event_operations += u64::from(self.roots > 1 || in_function);
                }
                b'=' | b'<' | b'>' | b'!' => self.operations += 1,
                b'&' | b'|' => self.roots = 0,
                b'?' => (self.wild, self.roots) = (true, 0),
                b'*' | b':' => self.wild = true,
                b'.' if filter.get(at) == Some(&b'.') => (self.wild, self.has_descendants) = (true, true),
                _ => {}
            }
        }
        // A list of selectors finds several values, too.
        self.wild |= self.repeats > 1;
    }
}

/// Returns the length of a quoted text with its closing quote. `text` begins after the opening one, and a backslash
/// takes away the meaning of the next byte. Without a closing quote it is all of the text.
pub(super) fn quoted_length(text: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            byte if *byte == quote => break,
            _ => {}
        }
    }
    at.min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filters_cost_is_in_its_punctuation() {
        for (filter, looks, looks_at_event, is_nested) in [
            ("@.sku == 'x'", 2, 0, false),
            ("@.a", 0, 0, false),
            ("@.price > $.limit && @.price < $.most", 2, 0, false),
            ("$.a == $.b", 2, 1, false),
            ("(@.x == $.a) || ($.b == 1)", 4, 0, false),
            ("length(@.a) > $.limit", 2, 0, false),
            ("length($.a) > 1", 2, 1, false),
            ("'$$(==' == @['$.*']", 2, 0, false),
            ("@[?@.x == $.y]", 9, 0, true),
            ("@[?$.x == $.y]", 9, 1, true),
            ("@.*", 2, 0, true),
        ] {
            let cost = FilterCost::of(filter);
            assert_eq!(
                (cost.looks, cost.looks_at_event, cost.is_nested),
                (looks, looks_at_event, is_nested),
                "{filter}"
            );
        }
        assert_eq!(FilterCost::of("@['a','b']['c','d']").steps, 4 * 11);
        assert!(FilterCost::of("@..x").has_descendants);
    }
}
