//! Patterns and events that were made to take long or to use much memory.

use agent_trigger::{json::steps::Steps, trigger::pattern::Pattern};
use serde_json::{Value, json};

use super::matches;

#[test]
fn or_that_multiplies_out_to_too_much_is_an_error() {
    // Returns a pattern of `count` pairs of alternatives side by side.
    let pattern = |count: usize| -> Value {
        let fields = (0..count).map(|at| {
            let branch = |side: &str| json!({format!("{side}{at}"): [1]});
            (format!("f{at}"), json!({"$or": [branch("a"), branch("b")]}))
        });
        Value::Object(fields.collect())
    };
    const TOO_MANY: &str = "$: its $or multiply out to more than 10000 names";
    assert!(Pattern::parse(&pattern(9)).is_ok());
    for count in [10, 14, 1_000] {
        assert_eq!(Pattern::parse(&pattern(count)).unwrap_err(), [TOO_MANY], "{count}");
    }
    let deep = (0..1_001)
        .map(|at| (format!("f{at}"), json!({"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": [1]}}}}}}}}})));
    let deep: Value = deep.collect::<serde_json::Map<_, _>>().into();
    assert_eq!(Pattern::parse(&deep).unwrap_err(), [TOO_MANY]);
}

/// A pattern is read anew for each event, so its names count, even if the first of them decides.
#[test]
fn the_names_of_a_pattern_take_steps() {
    let fields = (0..2_000).map(|at| (format!("f{at}"), json!({"a": {"b": {"c": [1]}}})));
    let pattern = Pattern::parse(&Value::Object(fields.collect())).unwrap();
    let steps = Steps::new(u64::MAX);
    assert!(!pattern.matches_within(&json!({}), &steps));
    assert!((16_000..17_000).contains(&steps.taken()), "{}", steps.taken());
    let few = Steps::new(15_000);
    pattern.matches_within(&json!({}), &few);
    assert!(few.are_spent());
    // One that people write takes hardly any.
    let steps = Steps::new(u64::MAX);
    Pattern::parse(&json!({"source": ["a"], "detail": {"b": ["c"]}})).unwrap().matches_within(&json!({}), &steps);
    assert!(steps.taken() < 10, "{}", steps.taken());
}

/// It ends because alternatives count although they have no names: 34 such pairs would be 17,000 million.
#[test]
fn or_of_branches_that_require_nothing_multiplies_out_no_further() {
    for branch in [json!({}), json!({"x": 5}), json!({"x": []})] {
        let fields = (0..1_000).map(|at| (format!("f{at}"), json!({"$or": [branch, branch]})));
        let fields: serde_json::Map<_, _> = fields.collect();
        assert!(Pattern::parse(&Value::Object(fields.clone())).is_err(), "{branch}");
        // One that is right beside them does not hide them.
        let or = json!({"$or": [Value::Object(fields), {"y": [1]}]});
        assert!(Pattern::parse(&or).is_err(), "{branch}");
    }
}

/// These tests end because an event of 21,000 elements is examined once for each of 128 alternatives, and not in each
/// combination with itself.
#[test]
fn an_event_of_large_arrays_is_looked_through_once() {
    let branches = |at: usize| json!([{format!("a{at}"): [1]}, {format!("b{at}"): [1]}]);
    let fields = |range: std::ops::Range<usize>| -> Vec<(String, Value)> {
        range.map(|at| (format!("f{at}"), json!({"x": {"$or": branches(at)}, "y": [2]}))).collect()
    };
    let pattern = Value::Object(fields(0..7).into_iter().collect());
    let event = |y: i64| -> Value {
        let element = |at: usize| json!({"x": [{format!("b{at}"): 1}], "y": y});
        let array = |at: usize| Value::from(vec![element(at); 3_000]);
        (0..7).map(|at| (format!("f{at}"), array(at))).collect::<serde_json::Map<_, _>>().into()
    };
    assert!(matches(&pattern, &event(2)));
    assert!(!matches(&pattern, &event(1)));
}

#[test]
fn wildcards_do_not_go_back() {
    let pattern = json!({"a": [{"wildcard": format!("{}b", "*a".repeat(1_000))}]});
    assert!(!matches(&pattern, &json!({"a": "a".repeat(1_000_000)})));
    assert!(matches(&pattern, &json!({"a": format!("{}b", "a".repeat(1_000_000))})));
}

/// The value is parsed from text, because serde_json cannot read a deeper one.
#[test]
fn depth_does_not_exhaust_the_stack() {
    let nested = |open: &str, inner: &str, close: &str, levels: usize| -> Value {
        serde_json::from_str(&format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))).unwrap()
    };
    let pattern = nested("{\"a\":", "[1]", "}", 126);
    assert!(matches(&pattern, &nested("{\"a\":", "1", "}", 126)));
    assert!(!matches(&pattern, &nested("{\"a\":", "1", "}", 125)));
    let branches = nested("{\"$or\":[{\"a\":[1]},", "{\"b\":[2]}", "]}", 62);
    assert!(matches(&branches, &json!({"b": 2})));
    assert!(!matches(&branches, &json!({"b": 1})));
    let arrays = nested("[", "1", "]", 126);
    assert!(matches(&json!({"a": [1]}), &json!({"a": arrays})));
    assert!(matches(&json!({"a": {"b": [{"exists": false}]}}), &json!({"a": arrays})));
}
