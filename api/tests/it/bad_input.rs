//! Requests that are wrong in one place: each member of each body with a value of every kind, ids and queries of every kind, and
//! bodies that are no JSON. None is answered as a fault of the API, and none that is refused changes anything.

use reqwest::Method;
use serde_json::{Value, json};

use crate::hooks::manage::hook_function;
use crate::support::{LIMIT, OnPort, USER, World, client, id, scheduled, subscribed};

/// Values of every kind, each of which is wrong in most places.
fn values() -> Vec<Value> {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let far: Value = serde_json::from_str("1e400").unwrap_or(json!(1e300));
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        far,
        json!(""),
        json!(" "),
        json!("\u{0}"),
        json!("#TRIGGER#"),
        json!("\u{1f600}\u{202e}"),
        json!("x".repeat(20_000)),
        json!([]),
        json!([null, 1, {}]),
        json!({}),
        json!({"": null, "$ref": 1, "preset": [], "eventSourceId": 5, "expression": {}, "hookId": "mine"}),
        deep,
    ]
}

fn hooked() -> Value {
    json!({"name": "Hook", "type": "event", "agentId": "a", "prompt": "p", "webhookConfig": {"preset": "hmac",
        "header": "x-signature", "prefix": "sha256=", "encoding": "hex", "algorithm": "sha256", "timestampHeader": "x-time",
        "allowedIps": ["192.0.2.1"], "ratePerMinute": 5}})
}

/// The bodies that the routes take, with every member that they know.
fn bodies(trigger: &Value, hook: &Value, run: &str) -> Vec<(Method, String, Value)> {
    let (trigger, hook) = (format!("/triggers/{}", id(trigger)), format!("/triggers/{}", id(hook)));
    let mut whole = scheduled();
    for (name, value) in [
        ("sessionId", json!("0123456789012345678901234567890123")),
        ("onInterrupted", json!("fail")),
        ("acceptFinishReasons", json!(["stop"])),
        ("detached", json!({})),
        ("input", json!({"x": 1})),
        ("inputMapping", json!({"x": "$.detail"})),
        ("overlap", json!("skip")),
        ("timeoutSeconds", json!(60)),
        ("maxRunsPerDay", json!(5)),
        ("maxTokensPerDay", json!(5)),
        ("pauseAfterFailures", json!(5)),
        ("enabled", json!(true)),
    ] {
        whole[name] = value;
    }
    whole["scheduleConfig"]["flexibleTimeWindowMinutes"] = json!(5);
    whole["scheduleConfig"]["startDate"] = json!("2026-01-01T00:00:00Z");
    whole["scheduleConfig"]["endDate"] = json!("2046-01-01T00:00:00Z");
    let mut event = subscribed();
    event["eventConfig"]["eventPattern"] = json!({"source": ["x"]});
    event["eventConfig"]["condition"] = json!("$.detail.x");
    event["eventConfig"]["threshold"] = json!({"count": 2, "seconds": 60});
    let ids = json!({"executions": [{"triggerId": "x", "executionId": "y"}]});
    vec![
        (Method::POST, "/triggers".to_owned(), whole.clone()),
        (Method::POST, "/triggers".to_owned(), event.clone()),
        (Method::POST, "/triggers".to_owned(), hooked()),
        (Method::PUT, trigger.clone(), whole.clone()),
        (Method::PUT, hook.clone(), hooked()),
        (
            Method::POST,
            "/triggers/check".to_owned(),
            json!({"trigger": event, "item": whole, "triggerId": "x", "event": {}}),
        ),
        (
            Method::POST,
            format!("{hook}/webhook/secret"),
            json!({"secret": "0123456789abcdef0123456789abcdef", "graceSeconds": 5}),
        ),
        (Method::POST, format!("{hook}/webhook/test"), json!({"body": {}})),
        (
            Method::POST,
            "/schedules/preview".to_owned(),
            json!({"scheduleConfig": whole["scheduleConfig"], "expression": "rate(1 hour)",
            "timezone": "UTC", "count": 3, "from": "2026-01-01T00:00:00Z"}),
        ),
        (Method::POST, "/executions/cancel".to_owned(), ids.clone()),
        (Method::POST, "/executions/replay".to_owned(), ids),
        (Method::POST, format!("{trigger}/executions/{run}/cancel"), json!({"x": 1})),
    ]
}

/// Returns the body with each of its members in turn, and each member of an object in it, replaced by a value.
fn changed(body: &Value, value: &Value) -> Vec<Value> {
    let mut all = vec![value.clone()];
    for (name, member) in body.as_object().unwrap() {
        let mut other = body.clone();
        other[name] = value.clone();
        all.push(other);
        for inner in member.as_object().into_iter().flatten().map(|(inner, _)| inner) {
            let mut other = body.clone();
            other[name][inner] = value.clone();
            all.push(other);
        }
    }
    all
}

/// Returns the triggers as they stand. Receipts of test deliveries come in later.
fn written(world: &World) -> Vec<Value> {
    let mut items = world.stack.dynamodb.scan();
    items.retain(|item| {
        item["SK"].as_str().is_some_and(|sk| sk.starts_with("TRIGGER#")) && item["PK"] == format!("TRIGGER#{USER}")
    });
    items
}

async fn is_alive(api: &OnPort) {
    api.get("/ping").await.expect(200);
}

#[tokio::test]
async fn no_member_of_a_wrong_kind_is_a_fault() {
    let world = World::start().await;
    let api = world.port().await;
    let _function = hook_function(&world).await;
    let (trigger, hook) = (api.create(scheduled()).await, api.create(hooked()).await);
    let run = world.put_execution(id(&trigger), "2026-01-01T07:00:00Z", json!({"status": "running"}));
    let mut sent = 0;
    for (method, path, body) in bodies(&trigger, &hook, &run) {
        for value in values() {
            for body in changed(&body, &value) {
                // Every scan would take longer than the request.
                let before = (sent % 16 == 0).then(|| written(&world));
                let answer = api.send(method.clone(), &path, Some(body.clone())).await;
                let is_known = [200, 201, 202, 400, 404, 409, 413].contains(&answer.status);
                assert!(is_known, "{method} {path} {}: {} {:#}", cut(&body), answer.status, answer.body);
                if let Some(before) = before.filter(|_| answer.status >= 400) {
                    assert_eq!(written(&world), before, "{method} {path} {}", cut(&body));
                }
                if answer.status == 201 {
                    api.delete(&format!("/triggers/{}", id(&answer.body["trigger"]))).await.expect(200);
                }
                sent += 1;
            }
        }
    }
    assert!(sent > 1_000, "{sent}");
    is_alive(&api).await;
}

fn cut(body: &Value) -> String {
    body.to_string().chars().take(600).collect()
}

#[tokio::test]
async fn no_id_no_query_and_no_body_is_a_fault() {
    let world = World::start().await;
    let api = world.port().await;
    let _function = hook_function(&world).await;
    let hook = id(&api.create(hooked()).await).to_owned();
    let before = written(&world).len();
    let ids = ["%00", "%23", "..%2F..", "%F0%9F%98%80", "%FF", "a%20b", "TRIGGER%23x", "nobody", "'%22%3C"];
    let long = "x".repeat(3_000);
    for name in ids.into_iter().chain([long.as_str()]) {
        for route in ["", "/status", "/deliveries", "/next-runs", "/executions", "/executions/x", "/executions/x/input"]
        {
            for path in [format!("/triggers/{name}{route}"), format!("/triggers/{hook}/executions/{name}")] {
                let status = api.get(&path).await.status;
                assert!([400, 404].contains(&status), "GET {path}: {status}");
            }
        }
        for route in
            ["/run", "/enable", "/webhook/secret", "/webhook/test", "/executions/x/cancel", "/executions/x/replay"]
        {
            let status = api.post(&format!("/triggers/{name}{route}"), json!({})).await.status;
            assert!([400, 404].contains(&status), "POST {name}{route}: {status}");
        }
        for list in ["/triggers", "/executions", "/upcoming-runs"] {
            for parameter in
                ["type", "enabled", "health", "limit", "nextToken", "status", "from", "to", "order", "count"]
            {
                let path = format!("{list}?{parameter}={name}");
                let status = api.get(&path).await.status;
                assert!([200, 400].contains(&status), "GET {path}: {status}");
            }
        }
    }
    for body in [
        &b"{"[..],
        b"[]",
        b"null",
        b"\xff",
        b"{\"a\":1}{",
        b"\"x\"",
        b"{\"a\":\"\\ud800\"}",
        &vec![b'['; 100_000],
        &vec![b' '; 300_000],
    ] {
        for path in [
            "/triggers".to_owned(),
            format!("/triggers/{hook}/webhook/secret"),
            format!("/triggers/{hook}/webhook/test"),
        ] {
            let request = client().post(format!("{}{path}", api.url)).timeout(LIMIT).body(body.to_vec());
            let request = request.header("content-type", "application/json").bearer_auth(crate::support::KEY);
            let status = request.send().await.unwrap().status().as_u16();
            let is_text = body.starts_with(b"{\"a\":\"");
            assert!([400, 413].contains(&status) || is_text && status < 300, "POST {path}: {status}");
        }
    }
    is_alive(&api).await;
    assert_eq!(written(&world).len(), before);
}
