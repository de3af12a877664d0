//! Texts that are not patterns.

use agent_trigger::trigger::pattern::Pattern;
use serde_json::{Value, json};

fn problems(pattern: &Value) -> Vec<String> {
    Pattern::parse(pattern).err().unwrap_or_default()
}

#[test]
fn every_problem_is_named_at_once() {
    let pattern = json!({
        "source": "aws.s3",
        "detail-type": [],
        "account": {},
        "region": [["eu-west-1"]],
        "time": [{"prefix": "2026", "suffix": "Z"}, {}],
        "detail": {
            "size": [1, {"numric": [">", 5]}, {"numeric": [">", "5"]}],
            "$or": [{"key": [{"prefix": 7}]}],
            "inner": {"$or": ["x", {"a.b": [{"wildcard": "**"}]}]}
        }
    });
    assert_eq!(
        problems(&pattern),
        [
            "$.account: must not be empty",
            "$.detail[\"$or\"]: must be an array of two objects or more, one of which has to match",
            "$.detail.inner[\"$or\"][0]: must be an object, not a string",
            "$.detail.inner[\"$or\"][1][\"a.b\"][0].wildcard: must not hold two wildcards in a row",
            "$.detail.size[1].numric: is no matcher: those are exactly, prefix, suffix, equals-ignore-case, \
             wildcard, anything-but, numeric, cidr, exists",
            "$.detail.size[2].numeric[1]: must be a number, not a string",
            "$.detail-type: must not be empty",
            "$.region[0]: must be a value or a matcher, not an array",
            "$.source: must be an array of values, or an object of fields, not a string",
            "$.time[0]: must have exactly one member, of exactly, prefix, suffix, equals-ignore-case, wildcard, \
             anything-but, numeric, cidr, exists",
            "$.time[1]: must have exactly one member, of exactly, prefix, suffix, equals-ignore-case, wildcard, \
             anything-but, numeric, cidr, exists",
        ]
    );
}

#[test]
fn each_malformed_matcher_is_an_error() {
    const RANGE: &str = "$.a[0].numeric: must be one or two comparisons, such as [\"=\", 5] or [\">\", 0, \"<=\", 5]";
    const ORDER: &str = "$.a[0].numeric: must begin with > or >=, and go on with < or <= a greater number";
    const CIDR: &str = "$.a[0].cidr: must be an address and a length, such as 10.0.0.0/24 or 2001:db8::/32";
    const BUT: &str = "is no matcher of anything-but: those are prefix, suffix, equals-ignore-case, wildcard";
    const ESCAPE: &str = "$.a[0].wildcard: must hold a backslash only before * or another backslash";
    for (matcher, expected) in [
        (json!({"prefix": 1}), "$.a[0].prefix: must be a string, not a number"),
        (json!({"prefix": ["a"]}), "$.a[0].prefix: must be a string, not an array"),
        (json!({"suffix": {"prefix": "a"}}), "$.a[0].suffix.prefix: must be equals-ignore-case"),
        (
            json!({"suffix": {"equals-ignore-case": []}}),
            "$.a[0].suffix.equals-ignore-case: must be a string, not an array",
        ),
        (json!({"equals-ignore-case": ["a"]}), "$.a[0].equals-ignore-case: must be a string, not an array"),
        (json!({"wildcard": null}), "$.a[0].wildcard: must be a string, not null"),
        (json!({"wildcard": "a**"}), "$.a[0].wildcard: must not hold two wildcards in a row"),
        (json!({"wildcard": r"a\b"}), ESCAPE),
        (json!({"wildcard": r"a*\"}), ESCAPE),
        (json!({"numeric": 5}), RANGE),
        (json!({"numeric": []}), RANGE),
        (json!({"numeric": ["="]}), RANGE),
        (json!({"numeric": [">", 0, "<"]}), RANGE),
        (json!({"numeric": [">", 0, "<", 5, "<", 6]}), RANGE),
        (json!({"numeric": ["==", 0]}), "$.a[0].numeric[0]: must be one of =, <, <=, >, >="),
        (json!({"numeric": [0, 0]}), "$.a[0].numeric[0]: must be one of =, <, <=, >, >="),
        (json!({"numeric": ["<", 5, ">", 0]}), ORDER),
        (json!({"numeric": ["=", 5, "<", 6]}), ORDER),
        (json!({"numeric": [">", 5, "<", 5]}), ORDER),
        (json!({"numeric": [">", 5, "=", 6]}), ORDER),
        (json!({"cidr": 10}), "$.a[0].cidr: must be a string, not a number"),
        (json!({"cidr": "10.0.0.0"}), CIDR),
        (json!({"cidr": "10.0.0.0/33"}), CIDR),
        (json!({"cidr": "10.0.0.0/+8"}), CIDR),
        (json!({"cidr": "10.0.0/8"}), CIDR),
        (json!({"cidr": "::/129"}), CIDR),
        (json!({"cidr": "::/8/8"}), CIDR),
        (json!({"exists": "true"}), "$.a[0].exists: must be true or false, not a string"),
        (json!({"anything-but": null}), "$.a[0].anything-but: must be a string or a number, not null"),
        (json!({"anything-but": []}), "$.a[0].anything-but: must not be empty"),
        (json!({"anything-but": ["a", true]}), "$.a[0].anything-but[1]: must be a string or a number, not a boolean"),
        (json!({"anything-but": ["a", 1]}), "$.a[0].anything-but: must hold strings only, or numbers only"),
        (json!({"anything-but": {"numeric": ["=", 1]}}), &format!("$.a[0].anything-but.numeric: {BUT}")),
        (json!({"anything-but": {"prefix": []}}), "$.a[0].anything-but.prefix: must not be empty"),
        (json!({"anything-but": {"prefix": 1}}), "$.a[0].anything-but.prefix: must be a string, not a number"),
        (
            json!({"anything-but": {"prefix": ["a", ""]}}),
            "$.a[0].anything-but.prefix[1]: must not be empty: every string begins and ends so",
        ),
        (
            json!({"anything-but": {"suffix": {"equals-ignore-case": "a"}}}),
            "$.a[0].anything-but.suffix: must be a string, not an object",
        ),
        (
            json!({"anything-but": {"wildcard": ["a", "**"]}}),
            "$.a[0].anything-but.wildcard[1]: must not hold two wildcards in a row",
        ),
    ] {
        assert_eq!(problems(&json!({"a": [matcher]})), [expected], "{matcher}");
    }
}

#[test]
fn a_pattern_is_an_object_of_fields() {
    let or = |value: Value| problems(&json!({"$or": value}));
    const OR: &str = "$[\"$or\"]: must be an array of two objects or more, one of which has to match";
    assert_eq!(problems(&json!({})), ["$: must not be empty"]);
    assert_eq!(problems(&json!(["aws.s3"])), ["$: must be an object, not an array"]);
    assert_eq!(problems(&json!(null)), ["$: must be an object, not null"]);
    assert_eq!(or(json!({"a": [1]})), [OR]);
    assert_eq!(or(json!([{"a": [1]}])), [OR]);
    assert_eq!(or(json!([{"a": [1]}, {}])), ["$[\"$or\"][1]: must not be empty"]);
}

#[test]
fn a_field_asked_for_twice_at_once_is_an_error() {
    const TWICE: &str = "is asked for twice where both have to match";
    let pattern = json!({
        "a": {"b": [1]},
        "c": [1],
        "$or": [{"a": {"b": [2], "c": [1]}}, {"a": [3]}, {"c": {"d": [1]}}, {"d": [4]}]
    });
    assert_eq!(problems(&pattern), ["$.a.b", "$.c"].map(|path| format!("{path}: {TWICE}")));
    assert_eq!(problems(&json!({"$or": [{"a": [1]}, {"a": [2], "b": [3]}]})), Vec::<String>::new());
}
