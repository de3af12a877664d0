//! The reports surface: each answer, no write before the key is checked, and a storm of forged reports.

use std::time::{SystemTime, UNIX_EPOCH};

use agent_trigger::domain::report::report_key;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use standins::{Fault, Function, Rule, RuntimeApi};

use crate::support::{Answer, OnLambda, OnPort, World, binary, gateway_event};

const TRIGGER: &str = "nightly";
const TOKEN: &str = "the-token-of-this-run-and-of-no-other-one-43";
const OTHER: &str = "the-token-of-this-run-and-of-no-other-one-44";
const OPERATIONS: [&str; 5] = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"];

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl World {
    /// Stores a detached run that the agent has acknowledged, and returns its id.
    fn put_detached(&self, attributes: Value) -> String {
        let row = json!({"status": "running", "completedAt": null, "output": null, "attempt": 1, "detached": true,
            "detachedAt": "2026-01-01T07:00:01Z", "reportKey": report_key(TOKEN), "heartbeatSeconds": 120,
            "deadline": now() + 3_600_000, "leaseUntil": now() + 60_000});
        let id = self.put_execution(TRIGGER, "2026-01-01T07:00:00Z", json!({}));
        let mut whole = self.row(&id);
        for part in [row, attributes] {
            whole.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        }
        whole.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.stack.dynamodb.put_item(&whole);
        self.stack.dynamodb.clear_requests();
        id
    }

    fn row(&self, id: &str) -> Value {
        self.stack.dynamodb.item(&format!("TRIGGER#{TRIGGER}"), &format!("EXECUTION#{id}")).unwrap()
    }

    /// Returns the number of writes and of reads since the run was stored.
    fn requests(&self) -> (usize, usize) {
        let count = |operation: &&str| self.stack.dynamodb.count(operation);
        (OPERATIONS.iter().map(count).sum(), self.stack.dynamodb.count("GetItem"))
    }

    async fn reports(&self) -> OnLambda {
        self.lambda(&[("SURFACE", "reports")]).await
    }
}

/// Returns the body of a report.
fn report(id: &str, status: &str) -> Value {
    json!({"executionId": id, "triggerId": TRIGGER, "status": status})
}

/// Sends a report as Lambda's function URL hands it on, which is in the payload format of API Gateway.
async fn send(api: &OnLambda, token: &str, body: &str) -> Answer {
    send_with(api, "POST", "/reports", json!({"authorization": format!("Bearer {token}")}), body).await
}

async fn send_with(api: &OnLambda, method: &str, path: &str, headers: Value, body: &str) -> Answer {
    api.send_event(gateway_event(None, method, path, Some(body.to_owned()), headers)).await
}

#[tokio::test]
async fn a_heartbeat_is_noted_and_says_when_to_stop() {
    let world = World::start().await;
    let api = world.reports().await;
    let id = world.put_detached(json!({}));
    let beat = json!({"executionId": id, "triggerId": TRIGGER, "status": "running", "usage": {"inputTokens": 7}});
    let before = now();
    let body = send(&api, TOKEN, &beat.to_string()).await.expect(200);
    let row = world.row(&id);
    assert_eq!((&body["cancel"], &body["leaseUntil"]), (&json!(false), &row["leaseUntil"]), "{body:#}");
    assert!(row["leaseUntil"].as_i64().unwrap() >= before + 360_000, "three heartbeats from now: {row:#}");
    assert_eq!((&row["status"], &row["usage"]["inputTokens"]), (&json!("running"), &json!(7)));
    assert_eq!(world.requests(), (1, 1));
    // One that follows at once costs a read alone.
    send(&api, TOKEN, &beat.to_string()).await.expect(200);
    assert_eq!(world.requests(), (1, 2));

    let id = world.put_detached(json!({"cancelRequested": true}));
    let body = send(&api, TOKEN, &report(&id, "running").to_string()).await.expect(200);
    assert_eq!(body["cancel"], true);
}

#[tokio::test]
async fn an_end_is_recorded_once() {
    let world = World::start().await;
    let api = world.reports().await;
    let id = world.put_detached(json!({}));
    let end = json!({"executionId": id, "triggerId": TRIGGER, "status": "completed", "output": "the report",
        "usage": {"inputTokens": 7, "outputTokens": 3}});
    send(&api, TOKEN, &end.to_string()).await.expect(200);
    let row = world.row(&id);
    assert_eq!((&row["status"], &row["output"]), (&json!("completed"), &json!("the report")));
    assert_eq!(row["usage"]["outputTokens"], 3);
    // The run function counts it a minute later, if it finds this very end.
    let sent = world.stack.sqs.sent();
    let [look] = &sent[..] else { panic!("one look, not {sent:?}") };
    assert_eq!((&look.json()["_look"]["purpose"], look.delay_seconds), (&json!("end"), 60));
    assert_eq!(look.json()["_look"]["countsEndAt"], row["completedAt"]);
    let writes = world.requests().0;
    send(&api, TOKEN, &end.to_string()).await.expect(200);
    assert_eq!(world.requests().0, writes, "the same end again writes nothing");
    assert_eq!(world.stack.sqs.sent().len(), 1, "and is not counted again");
    // Another end is kept once, beside the first.
    for _ in 0..3 {
        assert_eq!(send(&api, TOKEN, &report(&id, "failed").to_string()).await.status, 409);
    }
    assert_eq!(world.requests().0, writes + 1);
    let row = world.row(&id);
    assert_eq!((&row["status"], &row["lateReport"]), (&json!("completed"), &json!("failed")));
    assert_eq!(send(&api, TOKEN, &report(&id, "running").to_string()).await.status, 409);
    assert_eq!(world.requests().0, writes + 1);
}

#[tokio::test]
async fn a_failure_is_recorded_with_the_agents_words() {
    let world = World::start().await;
    let api = world.reports().await;
    let id = world.put_detached(json!({}));
    let mut end = report(&id, "failed");
    end["error"] = json!("the bucket does not exist");
    send(&api, TOKEN, &end.to_string()).await.expect(200);
    let row = world.row(&id);
    assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!("AgentFailed")));
    assert!(row["error"].as_str().unwrap().contains("the bucket does not exist"), "{row:#}");
    let logs = api.process.logs().join("\n");
    assert!(!logs.contains("bucket") && !logs.contains(TOKEN), "{logs}");
}

/// A member that nobody can use must not cost a run of hours its end.
#[tokio::test]
async fn an_end_counts_whatever_stands_beside_it() {
    let world = World::start().await;
    let api = world.reports().await;
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    for (members, output) in [
        (r#""output": {"score": NaN}"#.to_owned(), r#"{"score":null}"#),
        (format!(r#""output": "x", "usage": {deep}, "finishReason": {deep}, "error": {deep}"#), "x"),
        (r#""output": "x", "usage": {"inputTokens": "many"}, "finishReason": "no such reason""#.to_owned(), "x"),
        (format!(r#""output": {deep}"#), &deep),
    ] {
        let id = world.put_detached(json!({}));
        let ids = format!(r#""executionId": "{id}", "triggerId": "{TRIGGER}", "status""#);
        // A heartbeat counts, too.
        send(&api, TOKEN, &format!(r#"{{{ids}: "running", {members}}}"#)).await.expect(200);
        send(&api, TOKEN, &format!(r#"{{{ids}: "completed", {members}}}"#)).await.expect(200);
        let row = world.row(&id);
        assert_eq!((&row["status"], row["output"].as_str()), (&json!("completed"), Some(output)), "{members}");
        assert_eq!(row["events"], 1, "{row:#}");
    }
}

/// An agent may cut its output within a character.
#[tokio::test]
async fn an_end_counts_whose_output_is_no_utf_8() {
    let world = World::start().await;
    let api = world.reports().await;
    let id = world.put_detached(json!({}));
    let mut body = report(&id, "completed");
    body["output"] = json!("caf@");
    let body = body.to_string().into_bytes().into_iter().map(|byte| if byte == b'@' { 0xc3 } else { byte });
    let headers = json!({"authorization": format!("Bearer {TOKEN}")});
    let mut event = gateway_event(None, "POST", "/reports", None, headers);
    event["body"] = json!(STANDARD.encode(body.collect::<Vec<_>>()));
    event["isBase64Encoded"] = json!(true);
    api.send_event(event).await.expect(200);
    let row = world.row(&id);
    assert_eq!((&row["status"], &row["output"]), (&json!("completed"), &json!("caf\u{fffd}")), "{row:#}");
}

#[tokio::test]
async fn nothing_is_written_for_a_stranger() {
    let world = World::start().await;
    let api = world.reports().await;
    let id = world.put_detached(json!({}));
    let before = world.stack.dynamodb.scan();
    let plain = |answer: &Answer| {
        let mut body = answer.body.clone();
        for name in ["requestId", "timestamp"] {
            body.as_object_mut().unwrap().remove(name);
        }
        (answer.status, body)
    };
    let unknown = send(&api, TOKEN, &report("0199f0a0-0000-7000-8000-000000000000", "completed").to_string()).await;
    assert_eq!(unknown.status, 401, "{:#}", unknown.body);
    let mut of_another = report(&id, "completed");
    of_another["triggerId"] = json!("another");
    let mut forged = Vec::new();
    for (token, body) in [
        (OTHER, report(&id, "completed")),
        (&OTHER.to_uppercase(), report(&id, "failed")),
        (&report_key(TOKEN), report(&id, "running")),
        (TOKEN, of_another),
        ("", report(&id, "completed")),
        ("short", report(&id, "completed")),
    ] {
        forged.push(send(&api, token, &body.to_string()).await);
    }
    let bare = json!({"authorization": TOKEN});
    forged.push(send_with(&api, "POST", "/reports", bare, &report(&id, "completed").to_string()).await);
    for answer in &forged {
        assert_eq!(plain(answer), plain(&unknown), "the answers tell nothing");
    }
    assert_eq!(world.requests(), (0, 5), "no write, and no read for what cannot be a token");
    assert_eq!(world.stack.dynamodb.scan(), before);
}

#[tokio::test]
async fn what_is_no_report_is_refused_before_the_table_is_asked() {
    let world = World::start().await;
    let api = world.reports().await;
    let id = world.put_detached(json!({}));
    let large =
        json!({"executionId": id, "triggerId": TRIGGER, "status": "completed", "output": "x".repeat(256 * 1024)});
    for (body, status) in [
        (String::new(), 400),
        ("[]".to_owned(), 400),
        ("{\"status\"".to_owned(), 400),
        (report(&id, "finished").to_string(), 400),
        (json!({"status": "completed"}).to_string(), 400),
        (json!({"executionId": id, "triggerId": TRIGGER}).to_string(), 400),
        (json!({"executionId": "e".repeat(2_000), "triggerId": TRIGGER, "status": "running"}).to_string(), 400),
        (large.to_string(), 413),
    ] {
        let answer = send(&api, TOKEN, &body).await;
        assert_eq!(answer.status, status, "{}: {:#}", &body[..body.len().min(80)], answer.body);
        assert!(answer.body["message"].is_string());
    }
    let headers = json!({"authorization": format!("Bearer {TOKEN}")});
    for (method, path, status) in [("GET", "/reports", 405), ("POST", "/", 404), ("POST", "/triggers", 404)] {
        assert_eq!(send_with(&api, method, path, headers.clone(), "{}").await.status, status, "{method} {path}");
    }
    assert_eq!(world.requests(), (0, 0));
    // The largest report that is taken.
    let mut end = report(&id, "completed");
    end["output"] = json!("x".repeat(255 * 1024));
    send(&api, TOKEN, &end.to_string()).await.expect(200);
    assert_eq!(world.row(&id)["outputTruncated"], true);
}

#[tokio::test]
async fn a_table_that_does_not_answer_asks_for_another_try() {
    let world = World::start().await;
    let api = world.reports().await;
    let id = world.put_detached(json!({}));
    let rule = world.stack.dynamodb.inject(Rule::any(Fault::ServerError));
    let end = report(&id, "completed").to_string();
    let answer = send(&api, TOKEN, &end).await;
    assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (503, Some("5")), "{:#}", answer.body);
    rule.remove();
    // An answer that is lost after the write: the agent comes again, and it is the same end.
    let rule = world.stack.dynamodb.inject(Rule::new("UpdateItem", Fault::ApplyThenLose).once());
    send(&api, TOKEN, &end).await.expect(200);
    assert_eq!((rule.hits(), &world.row(&id)["status"]), (1, &json!("completed")));
    send(&api, TOKEN, &end).await.expect(200);
}

#[tokio::test]
async fn a_storm_of_forged_reports_writes_nothing_and_hides_nothing() {
    let world = World::start().await;
    let runtime = RuntimeApi::start().await;
    let env = world.env(&[("SURFACE", "reports"), ("LOCAL_PORT", "0")]);
    let process = Function::spawn(binary(), &env, &runtime).unwrap();
    let api = OnPort::started(process, runtime).await;
    let id = world.put_detached(json!({}));
    let post = |token: &str, body: Value| {
        let (api, bearer) = (&api, format!("Bearer {token}"));
        async move { api.try_send(Method::POST, "/reports", Some(body), &[("authorization", &bearer)]).await.unwrap() }
    };
    let forged = (0..1_000).map(|n| {
        let post = post(if n % 2 == 0 { OTHER } else { "x" }, report(&id, "completed"));
        // On a slow machine the table may not answer all of them in time.
        async move { assert!([401, 503].contains(&post.await.status)) }
    });
    let genuine = async {
        // As an agent does.
        while post(TOKEN, report(&id, "completed")).await.status == 503 {}
    };
    tokio::join!(futures_util::future::join_all(forged), genuine);
    assert_eq!(world.row(&id)["status"], "completed");
    let (writes, reads) = world.requests();
    assert_eq!(writes, 1, "the genuine end alone");
    // The SDK tries a read again that has no answer.
    assert!(reads < 1_000, "{reads}: what cannot be a token costs nothing");
    // A page in a browser of this machine is no agent.
    let headers = [("authorization", "Bearer x"), ("origin", "https://example.com")];
    assert_eq!(api.try_send(Method::POST, "/reports", Some(json!({})), &headers).await.unwrap().status, 403);
}
