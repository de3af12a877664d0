//! Finds misspelt names. Unknown members are ignored, so a misspelt `scheduledTime` would run a fire twice, and a
//! misspelt `threshold` would run a trigger on every event.

use crate::json::fields::Fields;

/// The least length of a known name for which one edit is taken for a slip, not for another word.
const LEAST_EDITED: usize = 8;

/// Adds a problem for each unknown member that is nearly one of the names in `known`, if the known name itself is
/// absent. Null counts as absent, for both. The names of DynamoDB's keys are never problems.
pub(crate) fn near_misses(fields: &mut Fields<'_>, known: &[&[&str]]) {
    let known = known.concat();
    let object = fields.object;
    // Null counts as absent, here as everywhere.
    let has = |name: &str| object.get(name).is_some_and(|value| !value.is_null());
    let absent: Vec<&str> = known.iter().copied().filter(|known| !has(known)).collect();
    for name in object.keys().filter(|name| !known.contains(&name.as_str()) && !is_key(name) && has(name)) {
        if let Some(meant) = absent.iter().find(|known| is_near(name, known)) {
            fields.problem(name, &format!("is not known; {meant} is, and nearly the same"));
        }
    }
}

/// Returns true for the names of DynamoDB's keys, `PK` and `SK`, and for those of its indexes, which begin with `GSI`.
fn is_key(name: &str) -> bool {
    matches!(name, "PK" | "SK") || name.starts_with("GSI")
}

/// Returns true if two names differ only in case, `_` and `-`, or by one edit of a known name of at least eight bytes.
fn is_near(name: &str, known: &str) -> bool {
    plain(name).eq(plain(known)) || (known.len() >= LEAST_EDITED && is_one_edit(name, known))
}

/// Returns a name's characters in lower case, without `_` and `-`.
fn plain(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase)
}

/// Returns true if one insertion, removal or replacement of a character turns one text into the other. For two equal
/// texts the result means nothing.
fn is_one_edit(left: &str, right: &str) -> bool {
    if left.len().abs_diff(right.len()) > char::MAX.len_utf8() {
        return false;
    }
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let same = left.iter().zip(&right).take_while(|(l, r)| l == r).count();
    let (left, right) = (&left[same..], &right[same..]);
    match left.len().abs_diff(right.len()) {
        0 => left.get(1..) == right.get(1..),
        1 if left.len() > right.len() => &left[1..] == right,
        1 => left == &right[1..],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const KNOWN: [&str; 7] = ["id", "input", "agentId", "sessionId", "scheduledTime", "threshold", "maxRunsPerDay"];

    fn found(object: &Value) -> Vec<String> {
        let mut fields = Fields::new("$", object.as_object().unwrap());
        near_misses(&mut fields, &[&KNOWN]);
        fields.problems.iter().map(|problem| problem.split(": ").next().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_name_is_near_if_it_differs_in_spelling_or_by_one_edit_of_a_long_one() {
        for (name, meant) in [
            ("scheduledTme", Some("scheduledTime")),
            ("scheduledTimes", Some("scheduledTime")),
            ("scheduledTame", Some("scheduledTime")),
            ("scheduled_time", Some("scheduledTime")),
            ("SCHEDULED-TIME", Some("scheduledTime")),
            ("treshold", Some("threshold")),
            ("maxRunPerDay", Some("maxRunsPerDay")),
            ("agent_id", Some("agentId")),
            ("agentID", Some("agentId")),
            ("Id", Some("id")),
            ("sesionId", Some("sessionId")),
            // Two edits, or one of a short name, are another word.
            ("scheduldTme", None),
            ("agentsId", None),
            ("inputs", None),
            ("it", None),
            ("", None),
            ("scheduledTime", None),
            ("täglich", None),
        ] {
            let near = KNOWN.iter().find(|known| **known != name && is_near(name, known));
            assert_eq!(near.copied(), meant, "{name}");
        }
    }

    #[test]
    fn a_near_miss_counts_only_where_the_known_name_is_absent() {
        assert_eq!(found(&json!({"treshold": 1, "agent_id": 2, "other": 3})), ["$.agent_id", "$.treshold"]);
        assert_eq!(found(&json!({"treshold": 1, "threshold": null})), ["$.treshold"]);
        assert_eq!(found(&json!({"treshold": 1, "threshold": false})), Vec::<String>::new());
        assert_eq!(found(&json!({"treshold": null})), Vec::<String>::new());
        assert_eq!(found(&json!({"PK": 1, "SK": 1, "GSI1PK": 1})), Vec::<String>::new());
    }

    #[test]
    fn the_name_that_is_meant_is_named() {
        let object = json!({"treshold": "hidden"});
        let mut fields = Fields::new("$.detail", object.as_object().unwrap());
        near_misses(&mut fields, &[&KNOWN]);
        assert_eq!(fields.problems, ["$.detail.treshold: is not known; threshold is, and nearly the same"]);
    }
}
