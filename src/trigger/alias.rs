//! `$.body` as another name of `$.detail.body`. Triggers of other systems ask for a webhook's body by it, and no event
//! has a member `body` beside its detail.

use std::borrow::Cow;

use crate::json::query::Query;

/// Parses a query that a trigger holds. `$.body` at its beginning stands for `$.detail.body`.
///
/// # Errors
/// The error says what is wrong with the query, or why it is refused.
pub(crate) fn parse_query(query: &str) -> Result<Query, String> {
    Query::parse(&spelt_out(query))
}

/// Returns a query with `$.body` at its beginning replaced by `$.detail.body`. A longer member such as `$.bodyguard` is
/// another one: such a query, like any other, stays as it is.
fn spelt_out(query: &str) -> Cow<'_, str> {
    match query.strip_prefix("$.body") {
        // `$.bodyguard` is another member.
        Some(rest) if rest.is_empty() || rest.starts_with(['.', '[']) => Cow::Owned(format!("$.detail.body{rest}")),
        _ => Cow::Borrowed(query),
    }
}

/// Returns the names on the path to a field. `detail` is added before them if the first one is `body`.
pub(crate) fn names_of(mut names: Vec<String>) -> Vec<String> {
    if names.first().is_some_and(|name| name == "body") {
        names.insert(0, "detail".to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_member_itself_is_an_alias() {
        for (query, expected) in [
            ("$.body", "$.detail.body"),
            ("$.body.text", "$.detail.body.text"),
            ("$.body[0].text", "$.detail.body[0].text"),
            ("$.body..id", "$.detail.body..id"),
            ("$.bodyguard", "$.bodyguard"),
            ("$.detail.body", "$.detail.body"),
            ("$..body", "$..body"),
        ] {
            assert_eq!(spelt_out(query), expected);
        }
        assert_eq!(names_of(vec!["body".to_owned(), "a".to_owned()]), ["detail", "body", "a"]);
        assert_eq!(names_of(vec!["detail".to_owned(), "body".to_owned()]), ["detail", "body"]);
    }
}
