//! RFC 9535 queries, restricted so that they cannot bring the function down.
//!
//! The author of a trigger also writes its queries, and one bad query must not prevent the event's other triggers from
//! running. serde_json_path evaluates a filter inside a filter twice, so its time doubles with each level, and it
//! overflows the stack on a few hundred parentheses. RFC 9535 itself allows queries whose results outgrow any memory.
//! So the shape of a query is checked first. Hardly any trigger needs what is refused.

use serde_json_path::JsonPath;

/// The longest query, in bytes.
const LONGEST: usize = 1_000;
/// The deepest nesting of brackets and parentheses.
const DEEPEST: usize = 8;
/// The number of times that selectors such as `[0, 0]` may find the same value.
const MOST_REPEATS: usize = 100;

/// Parses a query, which begins with `$`.
///
/// # Errors
/// Says what is wrong with the query, or why it is refused.
pub(crate) fn parse(query: &str) -> Result<JsonPath, String> {
    if query.len() > LONGEST {
        return Err(format!("must have at most {LONGEST} bytes, not {}", query.len()));
    }
    let shape = Shape::of(query);
    if shape.depth > DEEPEST {
        return Err(format!("must nest brackets at most {DEEPEST} deep, not {}", shape.depth));
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
    JsonPath::parse(query).map_err(|error| format!("must be an RFC 9535 query, which begins with $: {error}"))
}

/// The properties of a query that decide how much it costs.
#[derive(Debug)]
struct Shape {
    depth: usize,
    descendants: usize,
    /// The number of ways to choose one selector from each bracket.
    repeats: usize,
    /// True if each value that a filter examines might be compared with each of many others.
    is_product: bool,
}

impl Shape {
    /// Examines the punctuation outside quotes. A text that is not a query may have any shape.
    fn of(query: &str) -> Self {
        let mut shape = Self { depth: 0, descendants: 0, repeats: 1, is_product: false };
        // One entry for each open bracket or parenthesis: whether it is a bracket, and the number of its selectors.
        let mut open: Vec<(bool, usize)> = Vec::new();
        let mut roots = 0_usize;
        let mut bytes = query.bytes().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\'' | b'"' => {
                    while let Some(inner) = bytes.next().filter(|inner| *inner != byte) {
                        if inner == b'\\' {
                            bytes.next();
                        }
                    }
                }
                b'[' | b'(' => {
                    open.push((byte == b'[', 1));
                    shape.depth = shape.depth.max(open.len());
                }
                b']' | b')' => {
                    if let Some((true, selectors)) = open.pop() {
                        shape.repeats = shape.repeats.saturating_mul(selectors);
                    }
                    if open.is_empty() {
                        roots = roots.min(1);
                    }
                }
                b',' => open.last_mut().into_iter().for_each(|(_, selectors)| *selectors += 1),
                b'$' => roots += 1,
                b'*' | b':' | b'?' => shape.is_product |= roots > 1,
                b'.' if bytes.peek() == Some(&b'.') => {
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
            ("$..a..b", "must have at most one descendant segment (..)"),
            (&format!("${}", "[0, 0]".repeat(7)), "must not list several selectors"),
            ("$.a[?@ == $.b[*]]", "must not have *, :, ? or .. behind a $"),
            ("$.a[?count($.a[?@.b]) > 1]", "must not have *, :, ? or .. behind a $"),
        ] {
            let problem = parse(query).unwrap_err();
            assert!(problem.starts_with(expected), "{query}: {problem}");
        }
    }

    #[test]
    fn a_query_that_cannot_is_taken() {
        let names = format!("$[{}]", ["'a'"; 100].join(","));
        for query in [
            "$",
            "$..a[*]",
            "$.a[?@.price > $.limit && @.tags[0] == 'x'].names[*]",
            "$.a[?count(@.tags[*]) > 1]",
            "$.a[0, 1]['b', 'c', 'd'][1:5]",
            &names,
            "$.a[?(((((((@.b)))))))]",
        ] {
            assert!(parse(query).is_ok(), "{query}: {:?}", parse(query));
        }
    }

    #[test]
    fn what_is_quoted_is_no_shape() {
        for name in ["a..b..c", "((((((((((", r"\'[[[[[[[[[[", r"\\", "$$**"] {
            let query = format!("$['{name}']");
            assert!(parse(&query).is_ok(), "{query}: {:?}", parse(&query));
        }
        // An escaped quote does not end the name. One behind an escaped backslash does.
        assert_eq!(Shape::of(r"$['\\']..a..b").descendants, 2);
        assert_eq!(Shape::of(r"$['\']..a..b").descendants, 0);
    }
}
