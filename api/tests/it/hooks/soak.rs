//! The soak: 2,000 deliveries at 200 a second, and the first 50 of them once more. It takes a machine of its own, so it is
//! run by hand, with optimised programs (docs/performance.md):
//! `cargo build --profile local`, then
//! `cargo test --profile local -p agent-trigger-api --test it soak -- --ignored --nocapture`.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use standins::TABLE;

use crate::hooks::{Hooks, TRIGGER};
use crate::support::{HOOK_FUNCTION, World, client};

const DELIVERIES: usize = 2_000;
const PER_SECOND: usize = 200;

fn percentile(times: &[Duration], percent: usize) -> f64 {
    times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1_000.0
}

/// Returns the time that the stand-ins' own answers to the requests of one delivery take, one after another: two reads,
/// three writes and an invocation. It is the median of a hundred, with `pause` between them.
async fn own_answers(world: &World, pause: Duration) -> Duration {
    let table = |operation: &str, body: Value| {
        let request =
            client().post(world.stack.dynamodb.url()).header("x-amz-target", format!("DynamoDB_20120810.{operation}"));
        let signature = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, \
                         Signature=0";
        let request = request.header("authorization", signature).header("x-amz-date", "20260101T000000Z");
        request.header("content-type", "application/x-amz-json-1.0").body(body.to_string())
    };
    world.stack.lambda.serve_other(HOOK_FUNCTION, |_| {});
    let mut times = Vec::new();
    for n in 0..100 {
        let key = json!({"PK": {"S": "HOOK#probe"}, "SK": {"S": format!("PROBE#{n}")}});
        let names = json!({"#at": "at"});
        let update = json!({"TableName": TABLE, "Key": key, "UpdateExpression": "SET #at = :at",
            "ExpressionAttributeNames": names, "ExpressionAttributeValues": {":at": {"N": "1"}}});
        let path = format!("{}/2015-03-31/functions/{HOOK_FUNCTION}/invocations", world.stack.lambda.url());
        let invoke = client().post(path).header("authorization", "AWS4-HMAC-SHA256 /lambda/aws4_request");
        let requests = [
            table("GetItem", json!({"TableName": TABLE, "Key": key, "ConsistentRead": true})),
            table("GetItem", json!({"TableName": TABLE, "Key": key, "ConsistentRead": true})),
            table("PutItem", json!({"TableName": TABLE, "Item": key})),
            table("PutItem", json!({"TableName": TABLE, "Item": key})),
            table("UpdateItem", update),
            invoke.header("x-amz-invocation-type", "Event").body("{}"),
        ];
        let started = Instant::now();
        for request in requests {
            let response = request.send().await.unwrap();
            assert!(response.status().is_success(), "{}", response.text().await.unwrap());
        }
        times.push(started.elapsed());
        tokio::time::sleep(pause).await;
    }
    times.sort();
    times[50]
}

/// Sends one delivery until it is accepted. Returns the number of times that it was told to come again, the answer, and how
/// long the first one took.
async fn timed(hooks: &Hooks, n: usize) -> (usize, Value, Duration) {
    let started = Instant::now();
    let mut first = None;
    for again in 0.. {
        let (status, answer) = hooks.deliver(&format!("msg_{n}"), r#"{"ref": "main"}"#).await;
        let first = *first.get_or_insert(started.elapsed());
        match status {
            StatusCode::ACCEPTED => return (again, answer, first),
            StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(Duration::from_secs(1)).await,
            other => panic!("{other}: {answer}"),
        }
    }
    unreachable!("senders do not give up")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures, and takes the whole machine for half a minute"]
async fn soak() {
    let world = World::start().await;
    world.stack.dynamodb.without_index_and_stream();
    world.put_hook(json!({}), json!({"prompt": "Count"}));
    let own = own_answers(&world, Duration::ZERO).await;
    // Otherwise the deliveries queue before the stand-ins, and the soak says nothing about the function.
    assert!(
        own.as_secs_f64() * (PER_SECOND as f64) < 0.5,
        "the stand-ins take {own:?} for one delivery, too long for {PER_SECOND} a second: build with --profile local"
    );
    let started = Instant::now();
    let hooks = world.hooks().await;
    timed(&hooks, DELIVERIES).await;
    let cold = started.elapsed();
    let hooks = std::sync::Arc::new(hooks);
    let mut sent = tokio::task::JoinSet::new();
    let started = Instant::now();
    let sending = async {
        for n in 0..DELIVERIES {
            let due = Duration::from_secs_f64(n as f64 / PER_SECOND as f64);
            tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
            let hooks = std::sync::Arc::clone(&hooks);
            sent.spawn(async move { timed(&hooks, n).await });
        }
        (sent.join_all().await, started.elapsed())
    };
    // Beside the deliveries, because a machine that does nothing else answers at another speed.
    let ((answers, took), beside) = tokio::join!(sending, own_answers(&world, Duration::from_millis(80)));
    let again: usize = answers.iter().map(|(again, ..)| again).sum();
    let mut ids: HashSet<String> = HashSet::new();
    ids.extend(answers.iter().map(|(_, answer, _)| answer["executionId"].as_str().unwrap().to_owned()));
    assert_eq!(ids.len(), DELIVERIES, "each is an event of its own");
    let twice: Vec<_> = futures_util::future::join_all((0..50).map(|n| timed(&hooks, n))).await;
    assert!(
        twice
            .iter()
            .all(|(_, answer, _)| answer["duplicate"] == true && ids.contains(answer["executionId"].as_str().unwrap()))
    );
    let invoked: Vec<_> = world.stack.lambda.dispatched();
    let events: HashSet<String> = invoked.iter().map(|seen| seen.json()["id"].to_string()).collect();
    // One whose dispatch could not be noted was invoked again, with the same event.
    assert!(events.len() == DELIVERIES + 1 && invoked.len() <= DELIVERIES + 1 + again, "none lost, none twice");
    world.stack.pool(4, &[]);
    world.stack.lambda.idle().await;
    let executions = world.stack.dynamodb.executions(TRIGGER);
    assert_eq!((executions.len(), world.stack.agent.call_count()), (DELIVERIES + 1, DELIVERIES + 1));
    let mut times: Vec<Duration> = answers.into_iter().map(|(_, _, took)| took).collect();
    times.sort();
    eprintln!(
        "| deliveries | a second | p50 ms | p90 ms | p99 ms | cold start and delivery ms | the stand-ins' own answers before, and beside ms | told to come again | lost | twice |"
    );
    eprintln!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    eprintln!(
        "| {DELIVERIES} | {:.0} | {:.1} | {:.1} | {:.1} | {:.0} | {:.2}, {:.2} | {again} | 0 | 0 |",
        DELIVERIES as f64 / took.as_secs_f64(),
        percentile(&times, 50),
        percentile(&times, 90),
        percentile(&times, 99),
        cold.as_secs_f64() * 1_000.0,
        own.as_secs_f64() * 1_000.0,
        beside.as_secs_f64() * 1_000.0,
    );
}
