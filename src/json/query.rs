//! RFC 9535 queries, restricted so that they cannot bring the function down.
//!
//! The author of a trigger also writes its queries, and one bad query must not prevent the event's other triggers from
//! running. serde_json_path reads a filter inside a filter twice, so its time doubles with each level, and it overflows
//! the stack on a few hundred parentheses. RFC 9535 itself allows queries whose results outgrow any memory. So the
//! shape of a query is checked first, and its work on an event is counted before it is evaluated
//! ([`crate::json::query_cost`]). Hardly any trigger needs a query that is refused.

use std::fmt;

use serde_json::Value;
use serde_json_path::JsonPath;

use crate::json::{
    query_cost::{FilterCost, Segment, Selector, TooMuchWork, count, quoted_length},
    steps::Steps,
};

/// The longest query, in bytes.
pub const LONGEST: usize = 1_000;
/// The deepest nesting of brackets and parentheses.
pub const DEEPEST: usize = 8;
/// The deepest nesting of filters. The parser takes twice as long for each level.
pub const DEEPEST_FILTERS: usize = 2;
/// The number of times that selectors such as `[0, 0]` may find the same value.
pub const MOST_REPEATS: usize = 100;

/// A query, which begins with `$`.
#[derive(Debug)]
pub struct Query {
    path: JsonPath,
    segments: Vec<Segment>,
}

impl Query {
    /// Parses a query. It must have at most [`LONGEST`] bytes, and a shape whose cost has a bound.
    ///
    /// # Errors
    /// The error says what is wrong with the query, or why it is refused.
    pub fn parse(query: &str) -> Result<Self, String> {
        if query.len() > LONGEST {
            return Err(format!("must have at most {LONGEST} bytes, not {}", query.len()));
        }
        let shape = Shape::of(query);
        if shape.depth > DEEPEST {
            return Err(format!("must nest brackets at most {DEEPEST} deep, not {}", shape.depth));
        }
        if shape.filters > DEEPEST_FILTERS {
            return Err(format!("must nest filters at most {DEEPEST_FILTERS} deep, not {}", shape.filters));
        }
        if shape.descendants > 1 {
            return Err("must have at most one descendant segment (..)".to_owned());
        }
        if shape.repeats > MOST_REPEATS {
            return Err(format!(
                "must not list several selectors ([a, b]) so often that there are over {MOST_REPEATS} ways"
            ));
        }
        if shape.is_product {
            return Err("must not have *, :, ? or .. behind a $ within a filter".to_owned());
        }
        let path = JsonPath::parse(query).map_err(|error| {
            let hint = hyphenated(query)
                .map(|name| format!("; a name with a hyphen is written in brackets: ['{name}']"))
                .unwrap_or_default();
            format!("must be an RFC 9535 query, which begins with $: {error}{hint}")
        })?;
        Ok(Self { segments: segments(query), path })
    }

    /// Returns the values that the query finds in an event, in the query's order. What this costs is taken from `steps`
    /// before the query is evaluated.
    ///
    /// # Errors
    /// Returns an error if the query would take more steps than are left, or find too many values. All steps are spent
    /// then.
    pub fn find<'e>(&self, event: &'e Value, steps: &Steps) -> Result<Vec<&'e Value>, TooMuchWork> {
        count(&self.segments, event, steps)?;
        Ok(self.path.query(event).all())
    }
}

impl fmt::Display for Query {
    /// Writes the query as the parser spells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

/// Returns the first name with a hyphen that a query writes behind a dot, where RFC 9535 takes none, or `None`. An
/// error's text then shows how to write it.
fn hyphenated(query: &str) -> Option<&str> {
    query.split('.').skip(1).find_map(|part| {
        let end = part.find(|char: char| !(char.is_alphanumeric() || matches!(char, '_' | '-')));
        let name = &part[..end.unwrap_or(part.len())];
        (name.contains('-') && name.starts_with(|char: char| char.is_alphabetic() || char == '_')).then_some(name)
    })
}

/// Separates the segments of a query that the parser has accepted, for the count of its cost. For any other text the
/// result means nothing, but the loop ends.
fn segments(query: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut rest = query.trim_start_matches('$').trim_start();
    while !rest.is_empty() {
        let (is_descendant, behind) = match rest.strip_prefix("..") {
            Some(behind) => (true, behind.trim_start()),
            None => (false, rest.strip_prefix('.').unwrap_or(rest).trim_start()),
        };
        let (selectors, behind) = match behind.strip_prefix('[') {
            Some(inside) => bracket(inside),
            None => {
                let end = behind.find(['.', '[', ' ', '\t', '\r', '\n']).unwrap_or(behind.len());
                // Always at least one character, so that the loop ends whatever the text is.
                let end = if end == 0 { behind.chars().next().map_or(0, char::len_utf8) } else { end };
                let (name, behind) = behind.split_at(end);
                let selector = if name == "*" { Selector::Every } else { Selector::Name(name.to_owned()) };
                (vec![selector], behind)
            }
        };
        segments.push(Segment { is_descendant, selectors });
        rest = behind.trim_start();
    }
    segments
}

/// Reads the selectors of a bracket, which are separated by commas. `inside` begins after the opening bracket. Returns
/// the text after the closing one, too. Without one that text is empty, and the last selector is left out.
fn bracket(inside: &str) -> (Vec<Selector>, &str) {
    let bytes = inside.as_bytes();
    let (mut selectors, mut begin, mut at, mut depth) = (Vec::new(), 0, 0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\'' | b'"' => at += quoted_length(&bytes[at + 1..], *byte),
            b'[' | b'(' => depth += 1,
            b',' | b']' if depth == 0 => {
                selectors.push(selector(inside[begin..at].trim()));
                begin = at + 1;
                if *byte == b']' {
                    break;
                }
            }
            b']' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    (selectors, inside.get(begin.max(at)..).map_or("", |rest| rest.strip_prefix(']').unwrap_or(rest)))
}

/// Reads one selector for its cost. A name or an index from 0 on finds at most one value. A filter has its own cost.
/// Any other selector, and a name with an escape, counts as every child.
fn selector(text: &str) -> Selector {
    if let Some(filter) = text.strip_prefix('?') {
        return Selector::Filter(FilterCost::of(filter));
    }
    let quoted = ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
    match quoted {
        // A name with an escape is not examined.
        Some(name) if !name.contains('\\') => Selector::Name(name.to_owned()),
        _ => text.parse().map_or(Selector::Every, Selector::Index),
    }
}

/// The properties of a query that decide how much it costs.
#[derive(Debug)]
struct Shape {
    depth: usize,
    /// The number of filters within each other.
    filters: usize,
    descendants: usize,
    /// The number of ways to choose one selector from each bracket.
    repeats: usize,
    /// True if each value that a filter examines might be compared with each of many others.
    is_product: bool,
}

impl Shape {
    /// Returns the properties of a query that decide its cost, counted by its punctuation outside quotes: brackets,
    /// commas, filters, `..`, and what may find many values behind a `$` within a filter. For a text that is no query
    /// the result means nothing.
    fn of(query: &str) -> Self {
        let mut shape = Self { depth: 0, filters: 0, descendants: 0, repeats: 1, is_product: false };
        // One entry for each open bracket or parenthesis: whether it is a bracket, the number of its selectors, and
        // whether one of them is a filter.
        let mut open: Vec<(bool, usize, bool)> = Vec::new();
        let mut roots = 0_usize;
        let (bytes, mut at) = (query.as_bytes(), 0);
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'\'' | b'"' => at += quoted_length(&bytes[at..], byte),
                b'[' | b'(' => {
                    open.push((byte == b'[', 1, false));
                    shape.depth = shape.depth.max(open.len());
                }
                b']' | b')' => {
                    if let Some((true, selectors, _)) = open.pop() {
                        shape.repeats = shape.repeats.saturating_mul(selectors);
                    }
                    if open.is_empty() {
                        roots = roots.min(1);
                    }
                }
                b',' => open.last_mut().into_iter().for_each(|(_, selectors, _)| *selectors += 1),
                b'$' => roots += 1,
                b'?' => {
                    open.last_mut().into_iter().for_each(|(_, _, has_filter)| *has_filter = true);
                    shape.filters = shape.filters.max(open.iter().filter(|(_, _, has_filter)| *has_filter).count());
                    shape.is_product |= roots > 1;
                }
                b'*' | b':' => shape.is_product |= roots > 1,
                b'.' if bytes.get(at) == Some(&b'.') => {
                    shape.descendants += 1;
                    shape.is_product |= roots > 1;
                }
                _ => {}
            }
        }
        shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_could_explode_is_refused() {
        let nested =
            |open: &str, close: &str, levels| format!("$[?{}@.a{}]", open.repeat(levels), close.repeat(levels));
        for (query, expected) in [
            ("$.detail[", "must be an RFC 9535 query, which begins with $: "),
            ("$.detail[?match(@.x, 'a')]", "must be an RFC 9535 query, which begins with $: "),
            (&nested("(", ")", 8), "must nest brackets at most 8 deep, not 9"),
            (&nested("@[?", "]", 8), "must nest brackets at most 8 deep, not 9"),
            (&format!("$.{}", "a".repeat(999)), "must have at most 1000 bytes, not 1001"),
            ("$.a[?@[?@[?@.b]]]", "must nest filters at most 2 deep, not 3"),
            ("$..a..b", "must have at most one descendant segment (..)"),
            (&format!("${}", "[0, 0]".repeat(7)), "must not list several selectors"),
            ("$.a[?@ == $.b[*]]", "must not have *, :, ? or .. behind a $"),
            ("$.a[?count($.a[?@.b]) > 1]", "must not have *, :, ? or .. behind a $"),
        ] {
            let problem = Query::parse(query).unwrap_err();
            assert!(problem.starts_with(expected), "{query}: {problem}");
        }
    }

    /// Events of AWS are full of such names.
    #[test]
    fn a_name_with_a_hyphen_is_said_to_need_brackets() {
        for (query, name) in [
            ("$.detail.execution-id", Some("execution-id")),
            ("$.detail-type", Some("detail-type")),
            ("$.detail.execution-id[0].x", Some("execution-id")),
            ("$.detail[", None),
            ("$.detail[?@.a == 1 - 2]", None),
        ] {
            let problem = Query::parse(query).unwrap_err();
            let hint = name.map(|name| format!("; a name with a hyphen is written in brackets: ['{name}']"));
            assert!(hint.as_ref().is_none_or(|hint| problem.ends_with(hint)), "{query}: {problem}");
            assert_eq!(problem.contains("hyphen"), hint.is_some(), "{query}: {problem}");
        }
        assert!(Query::parse("$.detail['execution-id']").is_ok());
    }

    #[test]
    fn a_query_that_cannot_is_taken() {
        let names = format!("$[{}]", ["'a'"; 100].join(","));
        for query in [
            "$",
            "$..a[*]",
            "$.a[?@.price > $.limit && @.tags[0] == 'x'].names[*]",
            "$.a[?count(@.tags[*]) > 1]",
            "$.a[?@.b[?@.c], ?@.d[?@.e]][?@.f]",
            "$.a[0, 1]['b', 'c', 'd'][1:5]",
            &names,
            "$.a[?(((((((@.b)))))))]",
        ] {
            assert!(Query::parse(query).is_ok(), "{query}: {:?}", Query::parse(query));
        }
    }

    #[test]
    fn what_is_quoted_is_no_shape() {
        for name in ["a..b..c", "((((((((((", r"\'[[[[[[[[[[", r"\\", "$$**"] {
            let query = format!("$['{name}']");
            assert!(Query::parse(&query).is_ok(), "{query}: {:?}", Query::parse(&query));
        }
        // An escaped quote does not end the name. One behind an escaped backslash does.
        assert_eq!(Shape::of(r"$['\\']..a..b").descendants, 2);
        assert_eq!(Shape::of(r"$['\']..a..b").descendants, 0);
    }
}
