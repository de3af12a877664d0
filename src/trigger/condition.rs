//! Conditions on the fields of an event. An event pattern lists values, and a condition compares.

use std::{cmp::Ordering, collections::HashSet};

use serde_json::Value;

use crate::{
    json::{
        fields::{kind, member, member_at, push},
        number::compare,
        query::Query,
        steps::{Steps, of_bytes},
    },
    trigger::{
        alias::{names_of, parse_query},
        bounds::MOST_CONDITIONS,
        matcher::Comparison,
    },
};

/// The most values of a listed order.
const MOST_RANKS: usize = 100;
/// The operators that a condition may name, as problems list them.
const OPERATORS: &str = "eq, ne, gt, gte, lt, lte, contains";

/// Conditions that must all hold for an event.
#[derive(Debug)]
pub struct Conditions(Vec<Condition>);

#[derive(Debug)]
struct Condition {
    field: Field,
    operator: Operator,
    value: Value,
    /// The listed order by which texts are compared, the least first. Without one they are compared by their
    /// characters.
    order: Option<Vec<String>>,
}

/// The place in the event at which a condition looks.
#[derive(Debug)]
enum Field {
    /// Names from the event's root. In an array, a number is the index of an element.
    Names(Vec<String>),
    Query(Query),
}

#[derive(Debug, Clone, Copy)]
enum Operator {
    Equal,
    NotEqual,
    Compare(Comparison),
    Contains,
}

impl Conditions {
    /// Reads a condition, or a list of conditions. All of them must hold. An empty list always holds.
    ///
    /// # Errors
    /// Returns the problems of all conditions together, each with its JSON path from `$`, which is `conditions` itself.
    /// After 50 a last one says that there are more. For a list of more than `MOST_CONDITIONS` its length is the only
    /// problem.
    pub fn parse(conditions: &Value) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let conditions: Vec<_> = match conditions {
            Value::Array(list) if list.len() > MOST_CONDITIONS => {
                return Err(vec![format!("$: must be at most {MOST_CONDITIONS} conditions, not {}", list.len())]);
            }
            Value::Array(list) => {
                let parse = |(at, condition)| Condition::parse(condition, &member_at("$", at), &mut problems);
                list.iter().enumerate().filter_map(parse).collect()
            }
            single => Condition::parse(single, "$", &mut problems).into_iter().collect(),
        };
        if problems.is_empty() { Ok(Self(conditions)) } else { Err(problems) }
    }

    /// Returns true if all conditions hold for `event`. None holds for a field that is missing. The steps are not
    /// limited.
    pub fn matches(&self, event: &Value) -> bool {
        self.matches_within(event, &Steps::new(u64::MAX))
    }

    /// Returns true if all conditions hold for `event`. Once the steps are spent, the result means nothing.
    pub fn matches_within(&self, event: &Value, steps: &Steps) -> bool {
        self.0.iter().all(|condition| condition.holds(event, steps))
    }
}

impl Condition {
    /// Reads one condition, which stands at `path`. `field`, `operator` and `value` are required. An operator that
    /// orders needs a number or a string. Any other takes every value. `order` may be absent or null. Other members are
    /// ignored. `None` comes with a problem. A condition may have one of `value` or `order`, too.
    fn parse(condition: &Value, path: &str, problems: &mut Vec<String>) -> Option<Self> {
        let Value::Object(members) = condition else {
            push(problems, format!("{path}: must be an object of field, operator and value, not {}", kind(condition)));
            return None;
        };
        let [field_path, operator_path, value_path] = ["field", "operator", "value"].map(|name| member(path, name));
        let field = text(members.get("field"), &field_path, problems).and_then(|field| {
            let field = Field::parse(field);
            field.map_err(|problem| push(problems, format!("{field_path}: {problem}"))).ok()
        });
        let operator = text(members.get("operator"), &operator_path, problems).and_then(|name| {
            let operator = Operator::from_name(name);
            if operator.is_none() {
                push(problems, format!("{operator_path}: must be one of {OPERATORS}"));
            }
            operator
        });
        let value = members.get("value");
        match (value, operator) {
            (None, _) => push(problems, format!("{value_path}: is missing")),
            (Some(Value::Number(_) | Value::String(_)), _) => {}
            (Some(other), Some(Operator::Compare(_))) => {
                let problem = "must be a number or a string to be compared with";
                push(problems, format!("{value_path}: {problem}, not {}", kind(other)));
            }
            _ => {}
        }
        let order = match members.get("order") {
            None | Some(Value::Null) => None,
            Some(order) => {
                let read = ranks(order, operator, value);
                read.map_err(|(place, problem)| push(problems, format!("{}: {problem}", member(path, place)))).ok()
            }
        };
        Some(Self { field: field?, operator: operator?, value: value?.clone(), order })
    }

    /// Returns true if the condition holds for `event`. It never does for a field that is missing, not even `ne`. If a
    /// query finds several values, it is enough that one of them fulfils the condition. Only `ne` must be fulfilled by
    /// all. Values of two types are never equal, and only numbers and strings have an order. Once the steps are spent,
    /// the result means nothing.
    fn holds(&self, event: &Value, steps: &Steps) -> bool {
        let found = self.field.find(event, steps);
        let mut found = found.iter();
        match self.operator {
            Operator::Equal => found.any(|value| is_same(value, &self.value, steps)),
            // This is the opposite of eq: if a query finds several values, none of them may be equal.
            Operator::NotEqual => found.len() > 0 && !found.any(|value| is_same(value, &self.value, steps)),
            Operator::Contains => found.any(|value| contains(value, &self.value, steps)),
            Operator::Compare(comparison) => found.any(|value| {
                steps.take(1 + of_leaf(value))
                    && match (value, &self.value) {
                        (Value::Number(left), Value::Number(right)) => comparison.holds(compare(left, right)),
                        (Value::String(left), Value::String(right)) => comparison.holds(self.rank(left, right, steps)),
                        _ => false,
                    }
            }),
        }
    }

    /// Compares two texts by the listed order, or by their characters without one. Returns `None` if one of them is not
    /// listed. Once the steps are spent, the result means nothing.
    fn rank(&self, left: &str, right: &str, steps: &Steps) -> Option<Ordering> {
        let Some(order) = &self.order else { return Some(left.cmp(right)) };
        let place = |text: &str| {
            steps.take(order.len() as u64 * (1 + of_bytes(text.len())));
            order.iter().position(|rank| rank == text)
        };
        Some(place(left)?.cmp(&place(right)?))
    }
}

/// Reads the listed order of a condition: 1 to 100 different strings, the least first. Only an operator that orders may
/// have one, and the condition's value must then be one of them. An error is the member that is wrong, and its problem.
fn ranks(
    order: &Value,
    operator: Option<Operator>,
    value: Option<&Value>,
) -> Result<Vec<String>, (&'static str, String)> {
    let texts = |values: &Vec<Value>| values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
    let ranks: Option<Vec<String>> = order.as_array().filter(|values| values.len() <= MOST_RANKS).and_then(texts);
    let is_twice = |ranks: &[String]| ranks.iter().collect::<HashSet<_>>().len() < ranks.len();
    let Some(ranks) = ranks.filter(|ranks| !ranks.is_empty() && !is_twice(ranks)) else {
        return Err(("order", format!("must be a list of 1 to {MOST_RANKS} different strings, the least first")));
    };
    match (operator, value) {
        (Some(Operator::Equal | Operator::NotEqual | Operator::Contains), _) => {
            Err(("order", "is of use with gt, gte, lt and lte alone".to_owned()))
        }
        (_, Some(Value::String(value))) if !ranks.contains(value) => {
            Err(("value", "must be one of the strings in order".to_owned()))
        }
        (_, Some(Value::Number(_))) => Err(("value", "must be one of the strings in order, not a number".to_owned())),
        _ => Ok(ranks),
    }
}

impl Operator {
    /// Returns the operator of this name, in lower case as the items hold it, or `None` for an unknown one.
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "eq" => Some(Self::Equal),
            "ne" => Some(Self::NotEqual),
            "gt" => Some(Self::Compare(Comparison::Greater)),
            "gte" => Some(Self::Compare(Comparison::GreaterOrEqual)),
            "lt" => Some(Self::Compare(Comparison::Less)),
            "lte" => Some(Self::Compare(Comparison::LessOrEqual)),
            "contains" => Some(Self::Contains),
            _ => None,
        }
    }
}

impl Field {
    /// Reads a field: a query if it begins with `$`, else names joined by dots. An array's element is named by its
    /// index. A name that holds a dot can only be asked for by a query. A leading `body` or `$.body` stands for
    /// `detail.body`. An error says what is wrong with the query, or that a name is empty.
    fn parse(field: &str) -> Result<Self, String> {
        if field.starts_with('$') {
            return parse_query(field).map(Self::Query);
        }
        let names: Vec<_> = field.split('.').map(str::to_owned).collect();
        if names.iter().any(String::is_empty) {
            return Err("must be names joined by dots, such as detail.amount, or a query beginning with $".to_owned());
        }
        Ok(Self::Names(names_of(names)))
    }

    /// Returns the values of the field in `event`: at most one for names, and none if a query's steps do not suffice.
    fn find<'a>(&self, event: &'a Value, steps: &Steps) -> Vec<&'a Value> {
        match self {
            // An error means that the steps are spent.
            Self::Query(query) => query.find(event, steps).unwrap_or_default(),
            Self::Names(names) => {
                steps.take(names.len() as u64);
                names.iter().try_fold(event, |value, name| child(value, name)).into_iter().collect()
            }
        }
    }
}

/// Returns an object's member by its name, or an array's element by its index. Any other value has none.
fn child<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Returns true if two values are the same, at every depth. Numbers are compared by value, and members in any order.
/// Returns false once the steps are spent.
fn is_same(left: &Value, right: &Value, steps: &Steps) -> bool {
    if !steps.take(1 + of_leaf(left).min(of_leaf(right))) {
        return false;
    }
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => Comparison::Equal.holds(compare(left, right)),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same(left, right, steps))
        }
        (Value::Object(left), Value::Object(right)) => {
            let has_same = |(name, left): (&String, &Value)| {
                steps.take(of_bytes(name.len())) && right.get(name).is_some_and(|right| is_same(left, right, steps))
            };
            left.len() == right.len() && left.iter().all(has_same)
        }
        _ => left == right,
    }
}

/// Returns true if `value` is a string that contains the string `part`, or an array with an element that is the same as
/// `part`. Returns false once the steps are spent.
fn contains(value: &Value, part: &Value, steps: &Steps) -> bool {
    match (value, part) {
        (Value::String(text), Value::String(part)) => {
            steps.take(1 + of_bytes(text.len() + part.len())) && text.contains(&part[..])
        }
        (Value::Array(items), part) => items.iter().any(|item| is_same(item, part, steps)),
        _ => false,
    }
}

/// Returns the steps of looking at the bytes of a text or a number, one for every 32 bytes. Other values take none.
fn of_leaf(value: &Value) -> u64 {
    match value {
        Value::String(text) => of_bytes(text.len()),
        Value::Number(number) => of_bytes(number.as_str().len()),
        _ => 0,
    }
}

/// Returns a required text. Anything else, and its absence, is a problem at `path`, and `None`.
fn text<'a>(value: Option<&'a Value>, path: &str, problems: &mut Vec<String>) -> Option<&'a str> {
    match value {
        Some(Value::String(text)) => return Some(text),
        Some(other) => push(problems, format!("{path}: must be a string, not {}", kind(other))),
        None => push(problems, format!("{path}: is missing")),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(field: &str, operator: &str, value: &Value, event: &Value) -> bool {
        let condition = json!({"field": field, "operator": operator, "value": value});
        Conditions::parse(&condition).unwrap().matches(event)
    }

    #[test]
    fn each_operator_compares_what_can_be_compared() {
        let event = json!({"detail-type": "Order Placed", "time": "2026-01-31T07:00:00Z", "detail": {
            "amount": 100, "rate": 1.0, "huge": 9_007_199_254_740_993_u64, "text": "10", "none": null, "on": true,
            "tags": ["a", "b", 2], "items": [{"sku": "x", "n": 1}, {"sku": "y", "n": 5}], "empty": [], "a.b": 1}});
        for (field, operator, value, expected) in [
            ("detail-type", "eq", json!("Order Placed"), true),
            ("detail-type", "eq", json!("order placed"), false),
            ("detail.rate", "eq", json!(1), true),
            ("detail.amount", "eq", json!(100.0), true),
            ("detail.amount", "eq", json!("100"), false),
            ("detail.huge", "eq", json!(9_007_199_254_740_992_u64), false),
            ("detail.none", "eq", json!(null), true),
            ("detail.missing", "eq", json!(null), false),
            ("detail.tags", "eq", json!(["a", "b", 2.0]), true),
            ("detail.tags", "eq", json!(["a", "b"]), false),
            ("detail.items.1", "eq", json!({"n": 5.0, "sku": "y"}), true),
            ("detail.items.1", "eq", json!({"n": 5}), false),
            ("detail.items.1", "eq", json!({"n": 5, "sku": "y", "more": 1}), false),
            ("detail.amount", "ne", json!(99), true),
            ("detail.amount", "ne", json!(100.0), false),
            ("detail.amount", "ne", json!("100"), true),
            ("detail.missing", "ne", json!(1), false),
            ("detail.amount.deeper", "ne", json!(1), false),
            ("detail.amount", "gt", json!(99.5), true),
            ("detail.amount", "gt", json!(100), false),
            ("detail.amount", "gte", json!(100), true),
            ("detail.amount", "lt", json!(100), false),
            ("detail.amount", "lt", json!(101), true),
            ("detail.amount", "lte", json!(100), true),
            ("detail.amount", "gt", json!("1"), false),
            ("detail.text", "gt", json!(9), false),
            ("detail.text", "lt", json!("9"), true),
            ("detail.on", "gte", json!(0), false),
            ("detail.missing", "lt", json!(1), false),
            ("time", "gte", json!("2026-01-31"), true),
            ("time", "gt", json!("2026-02"), false),
            ("detail-type", "contains", json!("Place"), true),
            ("detail-type", "contains", json!("place"), false),
            ("detail.tags", "contains", json!("a"), true),
            ("detail.tags", "contains", json!(2.0), true),
            ("detail.tags", "contains", json!("c"), false),
            ("detail.items", "contains", json!({"sku": "x", "n": 1}), true),
            ("detail.amount", "contains", json!(100), false),
            ("detail.tags.1", "eq", json!("b"), true),
            ("detail.tags.3", "ne", json!("b"), false),
            ("detail.a.b", "eq", json!(1), false),
            ("$.detail['a.b']", "eq", json!(1), true),
            ("$['detail-type']", "contains", json!("Order"), true),
            ("$.detail.items[*].n", "gt", json!(4), true),
            ("$.detail.items[*].n", "gt", json!(5), false),
            ("$.detail.items[?@.sku == 'x'].n", "eq", json!(1), true),
            ("$.detail.items[*].sku", "ne", json!("z"), true),
            ("$.detail.items[*].sku", "ne", json!("x"), false),
            ("$.detail.empty[*]", "ne", json!("x"), false),
            ("$..sku", "eq", json!("y"), true),
            ("$.detail[?length(@) == 0]", "eq", json!([]), true),
        ] {
            assert_eq!(holds(field, operator, &value, &event), expected, "{field} {operator} {value}");
        }
    }

    #[test]
    fn a_listed_order_ranks_texts() {
        let order = json!(["low", "medium", "high", "critical"]);
        let condition = |operator: &str, value: Value, order: &Value| {
            Conditions::parse(
                &json!({"field": "detail.body.severity", "operator": operator, "value": value, "order": order}),
            )
        };
        let event = |severity: Value| json!({"detail": {"body": {"severity": severity}}});
        for (operator, value, expected) in [
            ("gte", "high", [false, false, true, true]),
            ("gt", "high", [false, false, false, true]),
            ("lte", "medium", [true, true, false, false]),
            ("lt", "low", [false; 4]),
        ] {
            let condition = condition(operator, json!(value), &order).unwrap();
            let found =
                ["low", "medium", "high", "critical"].map(|severity| condition.matches(&event(json!(severity))));
            assert_eq!(found, expected, "{operator} {value}");
            for other in [json!("severe"), json!("HIGH"), json!(3), json!(null)] {
                assert!(!condition.matches(&event(other.clone())), "{operator} {value} {other}");
            }
        }
        // Null is no order: texts are compared by their characters.
        assert!(condition("gt", json!("high"), &json!(null)).unwrap().matches(&event(json!("low"))));
        let list = "$.order: must be a list of 1 to 100 different strings, the least first";
        let many: Vec<_> = (0..=MOST_RANKS).map(|rank| rank.to_string()).collect();
        for (operator, value, order, problem) in [
            ("gte", json!("high"), json!("low,high"), list),
            ("gte", json!("high"), json!([]), list),
            ("gte", json!("high"), json!(["low", 2]), list),
            ("gte", json!("high"), json!(["high", "high"]), list),
            ("gte", json!("1"), json!(many), list),
            ("eq", json!("high"), order.clone(), "$.order: is of use with gt, gte, lt and lte alone"),
            ("gte", json!("severe"), order.clone(), "$.value: must be one of the strings in order"),
            ("gte", json!(3), order.clone(), "$.value: must be one of the strings in order, not a number"),
        ] {
            assert_eq!(condition(operator, value, &order).unwrap_err(), [problem]);
        }
        let dear = Steps::new(8);
        condition("gte", json!("high"), &order).unwrap().matches_within(&event(json!("low")), &dear);
        assert!(dear.are_spent());
    }

    #[test]
    fn a_list_means_all() {
        let conditions = |list: Value| Conditions::parse(&list).unwrap();
        let [small, large] = [("lt", 10), ("gt", 5)].map(
            |(operator, value)| json!({"field": "n", "operator": operator, "value": value, "unknown": "is tolerated"}),
        );
        let both = conditions(json!([small, large]));
        assert_eq!([4, 7, 12].map(|n| both.matches(&json!({"n": n}))), [false, true, false]);
        assert!(conditions(json!([])).matches(&json!({})));
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let problems = |conditions: Value| Conditions::parse(&conditions).unwrap_err();
        assert_eq!(
            problems(json!([
                {"field": "detail..x", "operator": "between", "value": 1},
                {"operator": "gt", "value": [1]},
                {"field": 7, "operator": "lte"},
                "amount > 5",
            ])),
            [
                "$[0].field: must be names joined by dots, such as detail.amount, or a query beginning with $",
                "$[0].operator: must be one of eq, ne, gt, gte, lt, lte, contains",
                "$[1].field: is missing",
                "$[1].value: must be a number or a string to be compared with, not an array",
                "$[2].field: must be a string, not a number",
                "$[2].value: is missing",
                "$[3]: must be an object of field, operator and value, not a string",
            ]
        );
        assert_eq!(problems(json!(null)), ["$: must be an object of field, operator and value, not null"]);
        let problems = problems(json!({"field": "$.detail[", "operator": "eq", "value": 1}));
        assert!(
            problems.len() == 1 && problems[0].starts_with("$.field: must be an RFC 9535 query, which begins with $: "),
            "{problems:?}"
        );
    }
}
