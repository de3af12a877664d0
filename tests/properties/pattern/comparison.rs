//! Compares two matchers on patterns and events of a small alphabet, which makes matches likely.

use std::cell::Cell;

use agent_trigger::trigger::pattern::Pattern;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::naive;

const PATTERNS: u32 = 2_000;
const TEXTS: [&str; 12] = ["", "a", "b", "A", "ab", "Ab", "aab", "bab", "a*b", "10.1.2.3", "10.9.9.9", "::1"];

fn text() -> impl Strategy<Value = Value> {
    select(&TEXTS[..]).prop_map(Value::from)
}

fn number() -> impl Strategy<Value = Value> {
    select(vec![json!(0), json!(1), json!(1.0), json!(1.5), json!(2), json!(-1)])
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![4 => text(), 3 => number(), 1 => any::<bool>().prop_map(Value::from), 1 => Just(Value::Null)]
}

/// Generates an object of few fields with few names.
fn object(value: impl Strategy<Value = Value>, most: usize) -> impl Strategy<Value = Value> {
    let name = select(vec!["a", "b", "c"]).prop_map(str::to_owned);
    btree_map(name, value, 1..=most).prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

fn event() -> impl Strategy<Value = Value> {
    let value = leaf().prop_recursive(
        4,
        24,
        3,
        |inner| prop_oneof![2 => vec(inner.clone(), 0..=3).prop_map(Value::from), 3 => object(inner, 3)],
    );
    object(value, 3)
}

/// Generates one argument of a matcher, or a list of arguments.
fn one_or_more<S: Strategy<Value = Value> + Clone>(value: S) -> impl Strategy<Value = Value> {
    prop_oneof![value.clone(), vec(value, 1..=2).prop_map(Value::from)]
}

fn wildcard() -> impl Strategy<Value = Value> + Clone {
    select(vec!["*", "a*", "*b", "a*b", "*a*", "*a*b", r"a\*b", "a*b*", "b", "", "ab*b", "a*ab"]).prop_map(Value::from)
}

fn not_empty() -> impl Strategy<Value = Value> + Clone {
    select(&TEXTS[1..]).prop_map(Value::from)
}

fn matcher() -> impl Strategy<Value = Value> {
    let texts = || select(&TEXTS[..]).prop_map(Value::from);
    let sign = |signs: &'static [&'static str]| select(signs);
    let cidr = select(vec!["10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0", "::/0", "::1/128", "10.1.2.3/32"]);
    prop_oneof![
        4 => leaf(),
        1 => text().prop_map(|text| json!({"prefix": text})),
        1 => text().prop_map(|text| json!({"suffix": text})),
        1 => text().prop_map(|text| json!({"prefix": {"equals-ignore-case": text}})),
        1 => text().prop_map(|text| json!({"suffix": {"equals-ignore-case": text}})),
        1 => text().prop_map(|text| json!({"equals-ignore-case": text})),
        1 => wildcard().prop_map(|pattern| json!({"wildcard": pattern})),
        1 => one_or_more(texts()).prop_map(|texts| json!({"anything-but": texts})),
        1 => one_or_more(select(vec![json!(1), json!(2), json!(1.5)])).prop_map(|numbers| json!({"anything-but": numbers})),
        1 => one_or_more(not_empty()).prop_map(|texts| json!({"anything-but": {"prefix": texts}})),
        1 => one_or_more(not_empty()).prop_map(|texts| json!({"anything-but": {"suffix": texts}})),
        1 => one_or_more(texts()).prop_map(|texts| json!({"anything-but": {"equals-ignore-case": texts}})),
        1 => one_or_more(wildcard()).prop_map(|patterns| json!({"anything-but": {"wildcard": patterns}})),
        1 => (sign(&["=", "<", "<=", ">", ">="]), number()).prop_map(|(sign, bound)| json!({"numeric": [sign, bound]})),
        1 => (sign(&[">", ">="]), sign(&["<", "<="]), 0..3_i32, 1..3_i32).prop_map(|(from, to, bottom, width)| {
            json!({"numeric": [from, f64::from(bottom) / 2.0, to, bottom + width]})
        }),
        1 => cidr.prop_map(|block| json!({"cidr": block})),
        2 => Just(json!({"exists": true})),
        4 => Just(json!({"exists": false})),
    ]
}

fn pattern() -> impl Strategy<Value = Value> {
    let list = vec(matcher(), 1..=3).prop_map(Value::from);
    let value = list.prop_recursive(2, 4, 2, |inner| fields(inner).boxed());
    fields(value)
}

/// Generates fields, of which one may be `$or` with such fields.
fn fields(value: impl Strategy<Value = Value> + Clone + 'static) -> impl Strategy<Value = Value> {
    let branches = vec(object(value.clone(), 2), 2..=3).prop_map(Value::from);
    (object(value, 2), proptest::option::weighted(0.2, branches)).prop_map(|(mut fields, branches)| {
        if let Some(branches) = branches {
            fields["$or"] = branches;
        }
        fields
    })
}

#[test]
fn agrees_with_a_naive_matcher() {
    let (matched, unmatched, contradictory) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let count = |counter: &Cell<u32>| counter.set(counter.get() + 1);
    let config = Config { cases: PATTERNS, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(pattern(), vec(event(), 5)), |(pattern, events)| {
        let decider = Pattern::parse(&pattern);
        // In rare cases there are so many nested $or that they are refused.
        if decider.as_ref().is_err_and(|problems| problems.iter().any(|problem| problem.contains("multiply out"))) {
            return Ok(());
        }
        for event in events {
            let decided = decider.as_ref().map(|pattern| pattern.matches(&event));
            match (naive::matches(&pattern, &event), decided) {
                (None, Err(problems)) => {
                    count(&contradictory);
                    prop_assert!(problems.iter().all(|problem| problem.contains("is asked for twice")), "{problems:?}");
                }
                (Some(expected), Ok(decided)) => {
                    count(if expected { &matched } else { &unmatched });
                    prop_assert_eq!(decided, expected, "the naive matcher on the right, of {}", event);
                }
                (expected, decided) => prop_assert!(false, "naively {expected:?}, here {decided:?}"),
            }
        }
        Ok(())
    });
    outcome.unwrap();
    let counts = [&matched, &unmatched, &contradictory].map(Cell::get);
    assert!(counts.iter().all(|count| *count > PATTERNS / 4), "one outcome is hardly tried: {counts:?}");
}
