//! No accepted item costs more than its bounds, on any event: the work is counted on a second, slow reading of queries, and
//! by the counters of the filters.

use std::{cell::Cell, fmt::Write, fs, path::Path};

use agent_trigger::{
    domain::platform::Platform,
    events::schedule::{Event, parse},
    json::{query::Query, query_cost::MOST_FOUND, steps::Steps},
    trigger::{
        bounds::{MOST_RENDERED, MOST_STEPS, TABLE},
        condition::Conditions,
        pattern::Pattern,
        prompt::{Allowance, Mapping, Prompt},
    },
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// The largest event that Lambda takes asynchronously, in bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const LARGEST_EVENT: usize = 1024 * 1024;

#[test]
fn the_documentation_names_each_bound() {
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/triggers.md")).unwrap();
    let (_, section) = docs.split_once("\n## What an item may cost\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let rows: Vec<_> = rows.skip(1).filter(|(name, _)| !name.starts_with("---")).collect();
    let number = |text: &str| text.replace(',', "").parse::<u64>().unwrap();
    let documented: Vec<_> = rows.into_iter().map(|(name, most)| (name, number(most))).collect();
    assert_eq!(documented, TABLE);
}

/// A query as it is generated.
#[derive(Debug, Clone)]
enum Selector {
    Name(&'static str),
    Index(usize),
    Every,
    Slice,
    Filter(Box<Expression>),
}

#[derive(Debug, Clone)]
struct Segment {
    is_descendant: bool,
    selectors: Vec<Selector>,
}

#[derive(Debug, Clone)]
enum Expression {
    Exists(Vec<Segment>),
    Equal(Operand, Operand),
    Count(Vec<Segment>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone)]
enum Operand {
    Current(Vec<&'static str>),
    Root(Vec<&'static str>),
    LengthOfRoot(Vec<&'static str>),
    Text(&'static str),
}

fn write_segments(segments: &[Segment], out: &mut String) {
    for Segment { is_descendant, selectors } in segments {
        out.push_str(if *is_descendant { "..[" } else { "[" });
        for (at, selector) in selectors.iter().enumerate() {
            out.push_str(if at > 0 { ", " } else { "" });
            match selector {
                Selector::Name(name) => write!(out, "'{name}'").unwrap(),
                Selector::Index(index) => write!(out, "{index}").unwrap(),
                Selector::Every => out.push('*'),
                Selector::Slice => out.push_str("0:3"),
                Selector::Filter(expression) => {
                    out.push('?');
                    write_expression(expression, out);
                }
            }
        }
        out.push(']');
    }
}

fn write_expression(expression: &Expression, out: &mut String) {
    let operand = |operand: &Operand, out: &mut String| match operand {
        Operand::Current(names) => write!(out, "@{}", dotted(names)).unwrap(),
        Operand::Root(names) => write!(out, "${}", dotted(names)).unwrap(),
        Operand::LengthOfRoot(names) => write!(out, "length(${})", dotted(names)).unwrap(),
        Operand::Text(text) => write!(out, "'{text}'").unwrap(),
    };
    match expression {
        Expression::Exists(segments) => {
            out.push('@');
            write_segments(segments, out);
        }
        Expression::Equal(left, right) => {
            operand(left, out);
            out.push_str(" == ");
            operand(right, out);
        }
        Expression::Count(segments) => {
            out.push_str("count(@");
            write_segments(segments, out);
            out.push_str(") > 1");
        }
        Expression::And(left, right) | Expression::Or(left, right) => {
            out.push('(');
            write_expression(left, out);
            out.push_str(if matches!(expression, Expression::And(..)) { " && " } else { " || " });
            write_expression(right, out);
            out.push(')');
        }
    }
}

fn dotted(names: &[&str]) -> String {
    names.iter().map(|name| format!(".{name}")).collect()
}

/// Evaluates as the engine does, and counts each value that it visits, compares or measures.
struct Slow<'a> {
    event: &'a Value,
    visited: Cell<u64>,
}

impl<'a> Slow<'a> {
    fn visit(&self, values: u64) {
        self.visited.set(self.visited.get() + values);
    }

    fn query(&self, segments: &[Segment], from: &'a Value) -> Vec<&'a Value> {
        segments.iter().fold(vec![from], |found, segment| {
            let mut next = Vec::new();
            found.into_iter().for_each(|value| self.segment(segment, value, &mut next));
            next
        })
    }

    fn segment(&self, segment: &Segment, value: &'a Value, found: &mut Vec<&'a Value>) {
        for selector in &segment.selectors {
            self.visit(1);
            match selector {
                Selector::Name(name) => found.extend(value.get(*name)),
                Selector::Index(index) => found.extend(value.get(*index)),
                Selector::Every => found.extend(children(value)),
                Selector::Slice => found.extend(value.as_array().into_iter().flatten().take(3)),
                Selector::Filter(expression) => {
                    found.extend(children(value).into_iter().filter(|child| self.holds(expression, child)));
                }
            }
        }
        if segment.is_descendant {
            children(value).into_iter().for_each(|child| self.segment(segment, child, found));
        }
    }

    fn holds(&self, expression: &Expression, value: &'a Value) -> bool {
        self.visit(1);
        match expression {
            Expression::Exists(segments) => !self.query(segments, value).is_empty(),
            Expression::Count(segments) => self.query(segments, value).len() > 1,
            Expression::Equal(left, right) => {
                let of = |operand: &Operand| -> Option<Value> {
                    let at = |from: &Value, names: &[&str]| {
                        names.iter().try_fold(from, |value, name| value.get(*name)).cloned()
                    };
                    match operand {
                        Operand::Current(names) => at(value, names),
                        Operand::Root(names) => at(self.event, names),
                        Operand::LengthOfRoot(names) => match at(self.event, names)? {
                            Value::String(text) => {
                                self.visit(text.len() as u64 / 32);
                                Some(json!(text.chars().count()))
                            }
                            Value::Array(items) => Some(json!(items.len())),
                            Value::Object(members) => Some(json!(members.len())),
                            _ => None,
                        },
                        Operand::Text(text) => Some(json!(text)),
                    }
                };
                let (left, right) = (of(left), of(right));
                let size = |side: &Option<Value>| side.as_ref().map_or(0, size);
                self.visit(size(&left).min(size(&right)));
                left == right
            }
            Expression::And(left, right) => self.holds(left, value) && self.holds(right, value),
            Expression::Or(left, right) => self.holds(left, value) || self.holds(right, value),
        }
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    }
}

fn size(value: &Value) -> u64 {
    let own = 1 + value.as_str().map_or(0, |text| text.len() as u64 / 32);
    own + children(value).into_iter().map(size).sum::<u64>()
}

fn names() -> impl Strategy<Value = Vec<&'static str>> {
    vec(select(&["a", "b", "c"][..]), 0..3)
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![
        3 => names().prop_map(Operand::Current),
        2 => names().prop_map(Operand::Root),
        1 => names().prop_map(Operand::LengthOfRoot),
        2 => select(&["x", "y"][..]).prop_map(Operand::Text),
    ]
}

fn segments_of(
    filter: impl Strategy<Value = Expression> + Clone + 'static,
) -> impl Strategy<Value = Vec<Segment>> + Clone {
    let selector = prop_oneof![
        3 => select(&["a", "b", "c"][..]).prop_map(Selector::Name),
        1 => (0..3_usize).prop_map(Selector::Index),
        2 => Just(Selector::Every),
        1 => Just(Selector::Slice),
        3 => filter.prop_map(|filter| Selector::Filter(Box::new(filter))),
    ];
    let segment = (proptest::bool::weighted(0.2), vec(selector, 1..3))
        .prop_map(|(is_descendant, selectors)| Segment { is_descendant, selectors });
    vec(segment, 1..4)
}

fn expression() -> impl Strategy<Value = Expression> + Clone {
    let leaf = (operand(), operand()).prop_map(|(left, right)| Expression::Equal(left, right));
    leaf.boxed().prop_recursive(3, 12, 3, |inner| {
        let segments = segments_of(inner.clone());
        prop_oneof![
            segments.clone().prop_map(Expression::Exists),
            segments.prop_map(Expression::Count),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| Expression::And(left.into(), right.into())),
            (inner.clone(), inner).prop_map(|(left, right)| Expression::Or(left.into(), right.into())),
        ]
    })
}

/// An event of a few hundred values, in which equal parts are likely.
fn event() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!("x")),
        Just(json!(1)),
        Just(json!("y".repeat(500))),
        Just(Value::Null),
        Just(json!([1, [2], {"a": "x"}])),
    ];
    let value = leaf.prop_recursive(5, 60, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            (inner.clone(), 1..20_usize).prop_map(|(value, times)| Value::from(vec![value; times])),
            btree_map(select(&["a", "b", "c"][..]).prop_map(str::to_owned), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    btree_map(select(&["a", "b", "c"][..]).prop_map(str::to_owned), value, 1..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_query_never_visits_more_than_was_counted(segments in segments_of(expression()), event in event()) {
        let mut text = "$".to_owned();
        write_segments(&segments, &mut text);
        // Some are refused for their shape, whatever the event is.
        let Ok(query) = Query::parse(&text) else { return Ok(()) };
        let steps = Steps::new(MOST_STEPS);
        let Ok(found) = query.find(&event, &steps) else {
            prop_assert!(steps.are_spent());
            return Ok(());
        };
        let slow = Slow { event: &event, visited: Cell::new(0) };
        let expected = slow.query(&segments, &event).len();
        prop_assert_eq!(found.len(), expected, "{}", text);
        prop_assert!(found.len() <= MOST_FOUND);
        prop_assert!(slow.visited.get() <= steps.taken(), "{} > {} of {}", slow.visited.get(), steps.taken(), text);
    }
}

/// Events of the largest size, each made to make something expensive.
fn largest_events() -> Vec<(&'static str, Value)> {
    let copy = || json!({"list": vec![json!({"k": "v"}); 20_000], "text": "x".repeat(100_000)});
    let deep = (0..240).fold(json!(vec![1; 200]), |inner, _| json!({"a": inner, "b": vec![1; 200]}));
    vec![
        ("numbers", json!({"detail": vec![1; 500_000]})),
        ("empty lists", json!({"detail": vec![json!([]); 340_000]})),
        ("two copies", json!({"detail": {"a": copy(), "b": copy()}})),
        ("texts", json!({"detail": vec!["aab".repeat(40); 8_000]})),
        ("one text", json!({"detail": {"text": "a".repeat(1_000_000)}})),
        ("objects", json!({"detail": vec![json!({"a": 1, "b": "x"}); 50_000]})),
        ("deep", json!({"detail": deep})),
    ]
}

/// Every query ends within its steps on the largest events, or is not asked. What is asked is evaluated here, so that a
/// query which is wrongly taken for a cheap one is noticed: the test does not end.
#[test]
fn no_query_outgrows_the_largest_events() {
    let long = format!("$..[?{}@.a]", "@.a == 'x' || ".repeat(60));
    let all = format!("$.detail[{}]", ["*"; 90].join(","));
    let queries = [
        "$",
        "$..*",
        "$..a",
        "$.detail.*",
        "$.detail[?$.detail.a == $.detail.b]",
        "$.detail.a.list[?$.detail.a == $.detail.b]",
        "$..[?$.detail.a == $.detail.b]",
        "$..[?@ == $.detail]",
        "$..[?length($.detail.text) > 1]",
        "$.detail.a.list[?length($.detail.b.text) > 1]",
        "$.detail[?count(@.*) > 0]",
        "$.detail[?@[?@.a]]",
        "$..[?@.a == @.b]",
        "$.detail[*][*][*]",
        "$.detail[0,0,0,0][*][*]",
        &long,
        &all,
    ];
    let mut outcomes = [0, 0];
    for (name, event) in largest_events() {
        assert!(event.to_string().len() <= LARGEST_EVENT, "{name}");
        for text in queries {
            let query = Query::parse(text).unwrap();
            let steps = Steps::new(MOST_STEPS);
            match query.find(&event, &steps) {
                Ok(found) => {
                    outcomes[0] += 1;
                    assert!(found.len() <= MOST_FOUND && steps.taken() <= MOST_STEPS, "{text} on {name}");
                }
                Err(_) => outcomes[1] += 1,
            }
            // The search in the values that were found is counted, too. `$` finds an object, which is not searched.
            let condition = json!({"field": text, "operator": "contains", "value": "aaaaab"});
            let steps = Steps::new(MOST_STEPS);
            Conditions::parse(&condition).unwrap().matches_within(&event, &steps);
            assert!(steps.taken() > 0 || text == "$", "{text} on {name}");
        }
    }
    assert!(outcomes.iter().all(|count| *count > 20), "{outcomes:?}");
}

#[test]
fn ordinary_queries_are_taken_on_large_events() {
    let items: Vec<_> =
        (0..10_000).map(|at| json!({"sku": format!("sku-{at}"), "n": at, "tags": ["a", "b"]})).collect();
    let event = json!({"source": "com.example", "detail": {"items": items, "limit": 5_000, "most": 6_000}});
    for (text, expected) in [
        ("$.detail.items[?@.sku == 'sku-7'].n", 1),
        ("$.detail.items[?@.n > $.detail.limit && @.n < $.detail.most]", 999),
        ("$.detail.items[*].tags[0]", 10_000),
        ("$..sku", 10_000),
        ("$.detail.items[?count(@.tags[*]) > 1 && length(@.sku) == 5]", 10),
        ("$.detail.items[-1].sku", 1),
        ("$..[?@.sku == 'sku-9999']", 1),
    ] {
        let found = Query::parse(text).unwrap().find(&event, &Steps::new(MOST_STEPS)).map(|found| found.len());
        assert_eq!(found, Ok(expected), "{text}");
    }
}

#[test]
fn no_filter_outgrows_the_largest_events() {
    let many: Vec<_> = (0..2_000).map(|at| json!({"anything-but": format!("{at}")})).collect();
    let folded: Vec<_> =
        (0..2_000).map(|at| json!({"equals-ignore-case": format!("{}{at}", "aab".repeat(40))})).collect();
    let wildcards: Vec<_> = (0..2_000).map(|at| json!({"wildcard": format!("*a*b*{at}")})).collect();
    let branches: Vec<_> = (0..1_000).map(|at| json!({"detail": {"a": [at], "b": [format!("{at}")]}})).collect();
    let mut spent = 0;
    for (name, event) in largest_events() {
        for pattern in [
            json!({"detail": many}),
            json!({"detail": folded}),
            json!({"detail": wildcards}),
            json!({"detail": {"text": wildcards}}),
            json!({"$or": branches}),
        ] {
            let steps = Steps::new(MOST_STEPS);
            Pattern::parse(&pattern).unwrap().matches_within(&event, &steps);
            // One matcher may ask for more than there is, but nothing goes on behind it.
            assert!(steps.taken() < 2 * MOST_STEPS, "{} on {name}", steps.taken());
            spent += u32::from(steps.are_spent());
        }
    }
    assert!(spent > 5, "{spent}");
}

#[test]
fn what_is_rendered_is_bounded() {
    for (name, event) in largest_events() {
        let mut text = event.clone();
        text["detail-type"] = json!("x");
        text["source"] = json!("y");
        let Ok(Event::Bus(bus)) = parse(Some(&text.to_string()), Platform::Other) else { panic!("{name}") };
        for query in ["$", "$.detail", "$.detail.text", "$..*", "$.detail[*]", "$.detail.a.text"] {
            let mut problems = Vec::new();
            let prompt = Prompt::parse(&format!("{{{{ {query} }}}}").repeat(100), &mut problems);
            let mapping = (0..100).map(|at| (format!("name-{at}"), json!(query))).collect();
            let mapping = Mapping::parse(&mapping, &mut problems);
            assert!(problems.is_empty(), "{problems:?}");
            let allowance = Allowance::default();
            let rendered = prompt.render(&bus, "t", None, &allowance);
            let room = MOST_RENDERED + 12 * 1024;
            assert!(rendered.as_ref().map_or(0, String::len) <= room, "{query} on {name}");
            let mapped = mapping.apply(&bus.event, &allowance).map(|mapped| Value::Object(mapped).to_string());
            assert!(mapped.as_ref().map_or(0, String::len) <= room, "{query} on {name}");
            let (steps, bytes) = allowance.taken();
            assert!(steps <= MOST_STEPS || rendered.is_err() || mapped.is_err(), "{query} on {name}");
            assert!(bytes <= MOST_RENDERED);
        }
    }
}

#[test]
fn braces_are_read_once() {
    for text in ["{{".repeat(200_000), "{{$".repeat(130_000), "{{ $ ".repeat(80_000), "{{ $.a }}".repeat(40_000)] {
        let mut problems = Vec::new();
        Prompt::parse(&text, &mut problems);
        assert!(problems.len() <= 1, "{problems:?}");
    }
}
