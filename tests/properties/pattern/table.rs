//! The cases of the documentation: each example of the user guide with an event that matches and one that does not, and
//! event-ruler's behaviour where the guide is silent.

use serde_json::{Value, json};

use super::matches;

/// A case: what it shows, the pattern, events that match it, and events that do not.
type Case = (&'static str, Value, Vec<Value>, Vec<Value>);

fn check(cases: Vec<Case>) {
    for (name, pattern, taken, refused) in cases {
        assert!(!taken.is_empty() && !refused.is_empty(), "{name}: shows one outcome only");
        for event in taken {
            assert!(matches(&pattern, &event), "{name}: {pattern} must match {event}");
        }
        for event in refused {
            assert!(!matches(&pattern, &event), "{name}: {pattern} must not match {event}");
        }
    }
}

/// Returns an event whose detail has one field.
fn detail(name: &str, value: impl Into<Value>) -> Value {
    json!({"detail-type": "Test", "source": "test", "detail": {name: value.into()}})
}

fn ec2(state: &str) -> Value {
    json!({
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": "EC2 Instance State-change Notification",
        "source": "aws.ec2",
        "account": "111122223333",
        "time": "2017-12-22T18:43:48Z",
        "region": "us-west-1",
        "resources": ["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"],
        "detail": {"instance-id": "i-1234567890abcdef0", "state": state}
    })
}

/// The examples of eb-event-patterns.html, eb-event-patterns-null-values.html and eb-event-patterns-arrays.html.
#[test]
fn exact_values() {
    let launch = json!({
        "detail-type": "EC2 Instance Launch Successful",
        "source": "aws.autoscaling",
        "account": "123456789012",
        "resources": [],
        "detail": {"eventVersion": "", "responseElements": null}
    });
    let macie = |score: Value, risk: Value| {
        json!({"source": "aws.macie", "detail-type": "Macie Alert",
            "detail": {"tags": ["Custom_Alert", "Insider"], "risk-score": score, "trigger": {"risk": risk}}})
    };
    check(vec![
        (
            "every field named has to match",
            json!({
                "source": ["aws.ec2"],
                "detail-type": ["EC2 Instance State-change Notification"],
                "detail": {"state": ["terminated"]}
            }),
            vec![ec2("terminated")],
            vec![ec2("running"), launch.clone(), json!({}), json!([]), json!("aws.ec2")],
        ),
        (
            "one value of a list is enough",
            json!({"source": ["aws.ec2", "aws.fargate"]}),
            vec![ec2("any"), json!({"source": "aws.fargate"})],
            vec![launch.clone(), json!({"source": "aws.EC2"}), json!({"source": "aws.ec2 "})],
        ),
        (
            "null",
            json!({"detail": {"responseElements": [null]}}),
            vec![launch.clone()],
            vec![ec2("any"), detail("responseElements", ""), detail("responseElements", "null")],
        ),
        (
            "the empty string is not null",
            json!({"detail": {"eventVersion": [""]}}),
            vec![launch.clone()],
            vec![detail("eventVersion", Value::Null), detail("eventVersion", "1"), detail("x", "")],
        ),
        (
            "an empty array holds nothing, nor null",
            json!({"resources": [null]}),
            vec![json!({"resources": [null]})],
            vec![launch.clone()],
        ),
        (
            "numbers, nested",
            json!({"source": ["aws.macie"], "detail": {"risk-score": [80], "trigger": {"risk": [8]}}}),
            vec![macie(json!(80), json!(8)), macie(json!(80.0), json!(8))],
            vec![macie(json!(80), json!(9)), macie(json!("80"), json!(8)), macie(json!([]), json!(8))],
        ),
        (
            "numbers compare by value",
            json!({"number": [300]}),
            vec![json!({"number": 300}), json!({"number": 300.0}), json!({"number": 3.0e2})],
            vec![json!({"number": 300.5}), json!({"number": "300"})],
        ),
        (
            "an account number is more than five billion",
            json!({"account": [123_456_789_012_u64]}),
            vec![json!({"account": 123_456_789_012_u64})],
            vec![json!({"account": 123_456_789_013_u64})],
        ),
        (
            "integers beyond what a double holds",
            json!({"n": [9_007_199_254_740_993_u64]}),
            vec![json!({"n": 9_007_199_254_740_993_u64}), json!({"n": 9_007_199_254_740_992_u64})],
            vec![json!({"n": 9_007_199_254_740_994_u64})],
        ),
        (
            "booleans",
            json!({"on": [true]}),
            vec![json!({"on": true}), json!({"on": [false, true]})],
            vec![json!({"on": false}), json!({"on": "true"}), json!({"on": 1}), json!({"on": null})],
        ),
        (
            "an array matches if one of its values does",
            json!({"resources": ["arn:1", "arn:2", "arn:3"]}),
            vec![json!({"resources": ["arn:0", "arn:2"]}), json!({"resources": "arn:3"})],
            vec![json!({"resources": ["arn:0", "arn:4"]}), json!({"resources": []})],
        ),
        (
            "a dot is part of a name",
            json!({"labels": {"app.kubernetes.io/name": ["web"]}}),
            vec![json!({"labels": {"app.kubernetes.io/name": "web"}})],
            vec![json!({"labels": {"app": {"kubernetes": {"io/name": "web"}}}})],
        ),
    ]);
}

/// The examples of eb-create-pattern-operators.html: prefix, suffix, equals-ignore-case.
#[test]
fn starts_ends_and_case() {
    check(vec![
        (
            "prefix",
            json!({"time": [{"prefix": "2017-10-02"}]}),
            vec![json!({"time": "2017-10-02T18:43:48Z"}), json!({"time": "2017-10-02"})],
            vec![json!({"time": "2017-10-03T18:43:48Z"}), json!({"time": "x2017-10-02"}), json!({"time": 2017})],
        ),
        (
            "an empty prefix begins every string",
            json!({"a": [{"prefix": ""}]}),
            vec![json!({"a": ""}), json!({"a": "x"})],
            vec![json!({"a": 1}), json!({"a": null})],
        ),
        (
            "prefix ignoring case",
            json!({"detail": {"service": [{"prefix": {"equals-ignore-case": "EventB"}}]}}),
            vec![detail("service", "eventbridge"), detail("service", "EVENTBUS"), detail("service", "EventB")],
            vec![detail("service", "event"), detail("service", "an eventb"), detail("service", 5)],
        ),
        (
            "suffix",
            json!({"FileName": [{"suffix": ".png"}]}),
            vec![json!({"FileName": "a.png"}), json!({"FileName": ".png"})],
            vec![json!({"FileName": "a.png.gz"}), json!({"FileName": "a.PNG"}), json!({"FileName": "png"})],
        ),
        (
            "suffix ignoring case",
            json!({"detail": {"FileName": [{"suffix": {"equals-ignore-case": ".png"}}]}}),
            vec![detail("FileName", "a.PNG"), detail("FileName", "a.pNg")],
            vec![detail("FileName", "a.PNG "), detail("FileName", "NG")],
        ),
        (
            "equals-ignore-case",
            json!({
                "detail-type": [{"equals-ignore-case": "ec2 instance state-change notification"}],
                "resources": [{"equals-ignore-case": "ARN:aws:ec2:us-west-1:123456789012:instance/i-1234567890ABCDEF0"}]
            }),
            vec![ec2("any")],
            vec![json!({"detail-type": "EC2 Instance State-change Notification", "resources": ["arn"]})],
        ),
        (
            "case of other alphabets",
            json!({"a": [{"equals-ignore-case": "ΣΊΣΥΦΟΣ Straße Ⱥ"}]}),
            vec![json!({"a": "σίσυφος STRASSE ⱥ"}), json!({"a": "Σίσυφοσ straße Ⱥ"})],
            vec![json!({"a": "σίσυφος STRASE ⱥ"}), json!({"a": "σίσυφος STRASSE ⱥ!"})],
        ),
    ]);
}

/// The examples of eb-create-pattern-operators.html, and event-ruler on escapes.
#[test]
fn wildcards() {
    let arn = |bus: &str| json!({"EventBusArn": format!("arn:aws:events:us-east-1:123456789012:event-bus/{bus}")});
    check(vec![
        (
            "within and at the end",
            json!({"EventBusArn": [{"wildcard": "arn:aws:events:us-east-1:*:event-bus/*"}]}),
            vec![arn("my"), arn(""), arn("a:event-bus/b")],
            vec![json!({"EventBusArn": "arn:aws:events:us-west-1:1:event-bus/a"}), json!({"EventBusArn": "arn"})],
        ),
        (
            "a folder's files",
            json!({"FileName": [{"wildcard": "dir/*.png"}]}),
            vec![json!({"FileName": "dir/a.png"}), json!({"FileName": "dir/.png"}), json!({"FileName": "dir/b/a.png"})],
            vec![json!({"FileName": "a.png"}), json!({"FileName": "dir/a.png2"}), json!({"FileName": "dir.png"})],
        ),
        (
            "everything",
            json!({"a": [{"wildcard": "*"}]}),
            vec![json!({"a": ""}), json!({"a": "x"})],
            vec![json!({"a": 1})],
        ),
        ("without any", json!({"a": [{"wildcard": "x"}]}), vec![json!({"a": "x"})], vec![json!({"a": "xx"})]),
        (
            "start and end do not overlap",
            json!({"a": [{"wildcard": "aba*aba"}]}),
            vec![json!({"a": "abaaba"}), json!({"a": "abaxaba"})],
            vec![json!({"a": "aba"}), json!({"a": "ababa"})],
        ),
        (
            "parts in their order",
            json!({"a": [{"wildcard": "*ab*bc*"}]}),
            vec![json!({"a": "abbc"}), json!({"a": "xabxbcx"}), json!({"a": "ababbc"})],
            vec![json!({"a": "abc"}), json!({"a": "bcab"})],
        ),
        (
            "escaped",
            json!({"a": [{"wildcard": r"\**\\"}]}),
            vec![json!({"a": r"*\"}), json!({"a": r"*x\"})],
            vec![json!({"a": r"x\"}), json!({"a": "*x"})],
        ),
        ("? is a letter", json!({"a": [{"wildcard": "a?"}]}), vec![json!({"a": "a?"})], vec![json!({"a": "ab"})]),
    ]);
}

/// The examples of eb-create-pattern-operators.html. event-ruler and AWS accept other types too, including null.
#[test]
fn anything_but() {
    check(vec![
        (
            "a string",
            json!({"detail": {"state": [{"anything-but": "initializing"}]}}),
            vec![ec2("running"), detail("state", 7), detail("state", Value::Null), detail("state", "Initializing")],
            vec![ec2("initializing"), detail("other", "x"), detail("state", json!([])), detail("state", json!({}))],
        ),
        (
            "a number",
            json!({"detail": {"x-limit": [{"anything-but": 123}]}}),
            vec![detail("x-limit", 122), detail("x-limit", "123"), detail("x-limit", 123.5)],
            vec![detail("x-limit", 123), detail("x-limit", 123.0), detail("y-limit", 1)],
        ),
        (
            "strings",
            json!({"detail": {"state": [{"anything-but": ["stopped", "overloaded"]}]}}),
            vec![ec2("running")],
            vec![ec2("stopped"), ec2("overloaded")],
        ),
        (
            "numbers",
            json!({"detail": {"x-limit": [{"anything-but": [100, 200, 300]}]}}),
            vec![detail("x-limit", 150), detail("x-limit", Value::Null)],
            vec![detail("x-limit", 100), detail("x-limit", 300.0)],
        ),
        (
            "ignoring case",
            json!({"detail": {"state": [{"anything-but": {"equals-ignore-case": "initializing"}}]}}),
            vec![ec2("running"), detail("state", 1)],
            vec![ec2("Initializing"), ec2("INITIALIZING")],
        ),
        (
            "ignoring case, several",
            json!({"detail": {"state": [{"anything-but": {"equals-ignore-case": ["initializing", "stopped"]}}]}}),
            vec![ec2("running")],
            vec![ec2("Initializing"), ec2("STOPPED")],
        ),
        (
            "a prefix",
            json!({"detail": {"state": [{"anything-but": {"prefix": "init"}}]}}),
            vec![ec2("running"), detail("state", 12), detail("state", Value::Null)],
            vec![ec2("init"), ec2("initializing"), detail("other", 1)],
        ),
        (
            "prefixes",
            json!({"detail": {"state": [{"anything-but": {"prefix": ["init", "error"]}}]}}),
            vec![ec2("running")],
            vec![ec2("initializing"), ec2("error: x")],
        ),
        (
            "a suffix",
            json!({"detail": {"FileName": [{"anything-but": {"suffix": ".txt"}}]}}),
            vec![detail("FileName", "a.txt.gz")],
            vec![detail("FileName", "a.txt")],
        ),
        (
            "suffixes",
            json!({"detail": {"FileName": [{"anything-but": {"suffix": [".txt", ".rtf"]}}]}}),
            vec![detail("FileName", "a.png")],
            vec![detail("FileName", "a.txt"), detail("FileName", "a.rtf")],
        ),
        (
            "a wildcard",
            json!({"detail": {"FilePath": [{"anything-but": {"wildcard": "*/lib/*"}}]}}),
            vec![detail("FilePath", "/usr/bin/a"), detail("FilePath", "lib/")],
            vec![detail("FilePath", "/usr/lib/a")],
        ),
        (
            "wildcards",
            json!({"detail": {"FilePath": [{"anything-but": {"wildcard": ["*/lib/*", "*/bin/*"]}}]}}),
            vec![detail("FilePath", "/usr/share/a")],
            vec![detail("FilePath", "/usr/lib/a"), detail("FilePath", "/usr/bin/a")],
        ),
        (
            "one element that is something else is enough",
            json!({"tags": [{"anything-but": "banned"}]}),
            vec![json!({"tags": ["banned", "ok"]})],
            vec![json!({"tags": ["banned", "banned"]}), json!({"tags": []})],
        ),
    ]);
}

/// The examples of eb-create-pattern-operators.html: numeric, cidr, exists.
#[test]
fn numbers_addresses_and_existence() {
    let counts = |c: f64, d: i64, x: f64| json!({"detail": {"c-count": c, "d-count": d, "x-limit": x}});
    let size = |size: Value| json!({"size": size});
    check(vec![
        (
            "numeric",
            json!({"detail": {
                "c-count": [{"numeric": [">", 0, "<=", 5]}],
                "d-count": [{"numeric": ["<", 10]}],
                "x-limit": [{"numeric": ["=", 3.018e2]}]
            }}),
            vec![counts(5.0, 3, 301.8), counts(0.000_001, -4, 301.8)],
            vec![counts(0.0, 3, 301.8), counts(5.1, 3, 301.8), counts(5.0, 10, 301.8), counts(5.0, 3, 301.81)],
        ),
        (
            "of numbers only, of any size",
            json!({"size": [{"numeric": [">=", 5_368_709_120_u64]}]}),
            vec![size(json!(5_368_709_120_u64)), size(json!(u64::MAX)), size(json!(1e300))],
            vec![size(json!(5_368_709_119_u64)), size(json!("9999999999")), size(json!(null)), size(json!(true))],
        ),
        (
            "half open",
            json!({"size": [{"numeric": [">=", -2, "<", 3]}]}),
            vec![size(json!(-2)), size(json!(2.999))],
            vec![size(json!(-2.001)), size(json!(3))],
        ),
        ("at most", json!({"size": [{"numeric": ["<=", 3]}]}), vec![size(json!(3))], vec![size(json!(3.001))]),
        (
            "an IPv4 block",
            json!({"detail": {"sourceIPAddress": [{"cidr": "10.0.0.0/24"}]}}),
            vec![detail("sourceIPAddress", "10.0.0.0"), detail("sourceIPAddress", "10.0.0.255")],
            vec![
                detail("sourceIPAddress", "10.0.1.0"),
                detail("sourceIPAddress", "10.0.0"),
                detail("sourceIPAddress", "cloudtrail.amazonaws.com"),
                detail("sourceIPAddress", "::ffff:10.0.0.1"),
                detail("sourceIPAddress", 10),
            ],
        ),
        (
            "whatever its address ends in",
            json!({"ip": [{"cidr": "10.1.2.200/25"}]}),
            vec![json!({"ip": "10.1.2.128"})],
            vec![json!({"ip": "10.1.2.127"})],
        ),
        (
            "an IPv6 block",
            json!({"ip": [{"cidr": "2001:db8::/33"}]}),
            vec![json!({"ip": "2001:db8::1"}), json!({"ip": "2001:0DB8:7fff::"})],
            vec![json!({"ip": "2001:db8:8000::"}), json!({"ip": "10.0.0.1"})],
        ),
        (
            "all addresses of a kind",
            json!({"ip": [{"cidr": "::/0"}]}),
            vec![json!({"ip": "::"}), json!({"ip": "ffff::"})],
            vec![json!({"ip": "0.0.0.0"})],
        ),
        (
            "one address",
            json!({"ip": [{"cidr": "::1/128"}]}),
            vec![json!({"ip": "0:0::1"})],
            vec![json!({"ip": "::2"})],
        ),
        (
            "exists",
            json!({"detail": {"state": [{"exists": true}]}}),
            vec![ec2("pending"), detail("state", Value::Null), detail("state", json!(["x"]))],
            vec![detail("c-count", json!({"c1": 100})), detail("state", json!([])), json!({"detail": "state"})],
        ),
        (
            "exists is said of leaves",
            json!({"detail": {"c-count": [{"exists": false}]}}),
            vec![
                json!({"detail-type": ["x"], "resources": ["y"], "detail": {"state": ["initializing", "running"]}}),
                detail("c-count", json!({"c1": 100})),
                detail("c-count", json!([])),
                detail("c-count", json!([{"c1": 100}])),
                json!({}),
            ],
            vec![
                detail("c-count", 5),
                detail("c-count", Value::Null),
                detail("c-count", json!([[], [5]])),
                json!([]),
                json!("no event"),
            ],
        ),
        (
            "exists beside values",
            json!({"dynamodb": {"NewImage": {"homemade": {"S": [{"anything-but": ["roses"]}, {"exists": false}]}}}}),
            vec![
                json!({"dynamodb": {"NewImage": {"purchased": {"N": "789"}}}}),
                json!({"dynamodb": {"NewImage": {"homemade": {"S": "tulips"}}}}),
            ],
            vec![json!({"dynamodb": {"NewImage": {"homemade": {"S": "roses"}}}})],
        ),
    ]);
}

/// The guide's complex examples, and event-ruler's on `$or`.
#[test]
fn combinations() {
    let complex = |state: &str, c: i64, d: i64, x: f64| {
        json!({"time": "2017-10-02T00:00:00Z", "source": "aws.cloudwatch",
            "detail": {"state": state, "c-count": c, "d-count": d, "x-limit": x}})
    };
    let metric = |fields: Value| {
        let mut event = json!({"source": "aws.cloudwatch"});
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        event
    };
    check(vec![
        (
            "several matchers",
            json!({
                "time": [{"prefix": "2017-10-02"}],
                "detail": {
                    "state": [{"anything-but": "initializing"}],
                    "c-count": [{"numeric": [">", 0, "<=", 5]}],
                    "d-count": [{"numeric": ["<", 10]}],
                    "x-limit": [{"anything-but": [100, 200, 300]}]
                }
            }),
            vec![complex("running", 5, 9, 301.8)],
            vec![
                complex("initializing", 5, 9, 301.8),
                complex("running", 6, 9, 301.8),
                complex("running", 5, 10, 301.8),
                complex("running", 5, 9, 200.0),
            ],
        ),
        (
            "$or in detail",
            json!({"source": ["aws.cloudwatch"], "detail": {"$or": [
                {"c-count": [{"numeric": [">", 0, "<=", 5]}]},
                {"d-count": [{"numeric": ["<", 10]}]},
                {"x-limit": [{"numeric": ["=", 3.018e2]}]}
            ]}}),
            vec![complex("x", 5, 10, 1.0), complex("x", 9, 9, 1.0), complex("x", 9, 10, 301.8)],
            vec![complex("x", 9, 10, 1.0), json!({"source": "other", "detail": {"c-count": 5}})],
        ),
        (
            "two $or",
            json!({
                "$or": [{"metricName": ["CPUUtilization", "ReadLatency"]}, {"namespace": ["AWS/EC2", "AWS/ES"]}],
                "detail": {"$or": [{"source": ["aws.cloudwatch"]}, {"detail-type": ["CloudWatch Alarm State Change"]}]}
            }),
            vec![
                json!({"metricName": "ReadLatency", "detail": {"source": "aws.cloudwatch"}}),
                json!({"namespace": "AWS/ES", "detail": {"detail-type": "CloudWatch Alarm State Change"}}),
            ],
            vec![json!({"namespace": "AWS/ES"}), json!({"detail": {"source": "aws.cloudwatch"}})],
        ),
        (
            "$or within $or, with several fields",
            json!({"source": ["aws.cloudwatch"], "$or": [
                {"metricName": ["CPUUtilization"]},
                {
                    "metricType": ["MetricType"],
                    "namespace": ["AWS/EC2"],
                    "$or": [{"metricId": [1234]}, {"spaceId": [1000]}]
                },
                {"scope": ["Service"]}
            ]}),
            vec![
                metric(json!({"metricName": "CPUUtilization"})),
                metric(json!({"metricType": "MetricType", "namespace": "AWS/EC2", "spaceId": 1000})),
                metric(json!({"metricType": "MetricType", "namespace": "AWS/EC2", "metricId": 1234})),
                metric(json!({"scope": "Service"})),
            ],
            vec![
                metric(json!({"metricType": "MetricType", "namespace": "AWS/EC2"})),
                metric(json!({"metricType": "MetricType", "spaceId": 1000})),
                json!({"scope": "Service"}),
            ],
        ),
    ]);
}

/// event-ruler's rule for matching in JSON arrays.
#[test]
fn fields_match_in_the_same_element() {
    let employees = json!([
        {"firstName": "John", "lastName": "Doe"},
        {"firstName": "Anna", "lastName": "Smith"},
        {"firstName": "Peter", "lastName": "Jones"}
    ]);
    let nested = json!([[employees[0], employees[1]], [employees[2]]]);
    let both = |first: &str, last: &str| json!({"employees": {"firstName": [first], "lastName": [last]}});
    for event in [json!({"employees": employees}), json!({"employees": nested})] {
        assert!(matches(&json!({"employees": {"firstName": ["Anna"]}}), &event), "{event}");
        assert!(matches(&both("Anna", "Smith"), &event), "{event}");
        assert!(!matches(&both("Anna", "Jones"), &event), "{event}");
    }
    let tags = |tags: Value| json!({"user": [{"name": "x", "tags": tags}, {"name": "y"}], "version": "1"});
    check(vec![
        (
            "through two arrays, beside a field of neither",
            json!({"user": {"name": ["x"], "tags": {"k": ["color"], "v": ["blue"]}}, "version": ["1"]}),
            vec![tags(json!([{"k": "size", "v": "xl"}, {"k": "color", "v": "blue"}]))],
            vec![
                tags(json!([{"k": "color", "v": "red"}, {"k": "size", "v": "blue"}])),
                json!({"user": [{"name": "x"}, {"tags": {"k": "color", "v": "blue"}}], "version": "1"}),
            ],
        ),
        (
            "with $or around it",
            json!({"d": {"a": [1]}, "$or": [{"d": {"b": [2]}}, {"c": [3]}]}),
            vec![json!({"d": [{"a": 1, "b": 2}]}), json!({"d": [{"a": 1}], "c": 3})],
            vec![json!({"d": [{"a": 1}, {"b": 2}]}), json!({"d": [{"b": 2}], "c": 3})],
        ),
        (
            "what is missing beside what is there is missing in that element",
            json!({"d": {"a": [1], "b": [{"exists": false}]}}),
            vec![json!({"d": [{"a": 1}]}), json!({"d": [{"a": 1}, {"a": 2, "b": 2}]}), json!({"d": {"a": 1}})],
            vec![json!({"d": [{"a": 1, "b": 2}]}), json!({"d": [{"a": 1, "b": 2}, {"a": 2}]}), json!({"d": []})],
        ),
        (
            "what is missing alone is missing everywhere",
            json!({"d": {"b": [{"exists": false}]}}),
            vec![json!({"d": [{"a": 1}, {"a": 2}]}), json!({"d": []}), json!({})],
            vec![json!({"d": [{"a": 1}, {"b": 2}]}), json!({"d": {"b": null}})],
        ),
        (
            "values and objects in one array",
            json!({"d": {"a": [1]}, "e": [5]}),
            vec![json!({"d": [7, null, {"a": [0, 1]}], "e": [{"a": 1}, [4, 5]]})],
            vec![json!({"d": [1, [1]], "e": 5}), json!({"d": {"a": 1}, "e": {"a": 5}})],
        ),
    ]);
}
