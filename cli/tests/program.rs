//! Runs the built program against the embedded DynamoDB.

use std::process::Stdio;

use serde_json::{Value, json};
use standins::{DynamoDb, Fault, Rule, TABLE};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{now, rfc3339};

/// Returns the program, configured for this table only.
fn triggerctl(dynamodb: &DynamoDb, args: &[&str]) -> Command {
    let mut command = crate::program(args);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url());
    command
}

/// Returns the output of a run that must succeed.
async fn shows(dynamodb: &DynamoDb, args: &[&str]) -> String {
    let output = triggerctl(dynamodb, args).output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains('\u{1b}'), "colours are for terminals: {said}");
    said
}

/// Returns the error of a run that must be refused, and asserts that it shows nothing.
async fn refuses(dynamodb: &DynamoDb, args: &[&str]) -> String {
    let output = triggerctl(dynamodb, args).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
    assert_eq!(said.lines().count(), 1, "one error: {said}");
    said
}

const RUNNING: &str = "019aa305-7c00-7d10-9b52-5f0e6a3c0a05";
const COMPLETED: &str = "019aa304-7c00-7e21-8c63-601f7b4d1b04";
const FAILED: &str = "019aa303-7c00-7f32-9d74-712a8c5e2c03";
const SKIPPED: &str = "019aa302-7c00-7043-ae85-823b9d6f3d02";
const STALE: &str = "019aa301-7c00-7154-bf96-934cae704e01";
const EXPIRED: &str = "019aa300-7c00-7265-80a7-a45dbf815f00";

/// Returns the time of the fire that an id begins with.
fn fired(id: &str) -> String {
    rfc3339(i64::from_str_radix(&id.replace('-', "")[..12], 16).unwrap())
}

fn ago(seconds: i64) -> String {
    rfc3339(now() - seconds * 1000)
}

fn put(dynamodb: &DynamoDb, trigger: &str, id: &str, attributes: Value) {
    let mut item = json!({"PK": format!("TRIGGER#{trigger}"), "SK": format!("EXECUTION#{id}"), "triggerId": trigger,
        "executionId": id, "userId": "user-456", "agentId": "agent-789", "attempt": 1,
        "sessionId": "5f0e6a3c0a05", "ttl": now() / 1000 + 2_592_000});
    for (name, value) in attributes.as_object().into_iter().flatten() {
        item[name] = value.clone();
    }
    dynamodb.put_item(&item);
}

/// Fills a table with one execution of each kind, an expired one, and the other items that a table has.
async fn table() -> DynamoDb {
    let dynamodb = DynamoDb::start().await;
    let now = now();
    put(
        &dynamodb,
        "monthly-invoices",
        RUNNING,
        json!({"status": "running", "startedAt": ago(132), "leaseUntil":
        now + 600_000, "events": 412, "bytes": 1_258_291, "lastEventAt": ago(3),
        "usage": {"inputTokens": 48_210, "outputTokens": 5_120}}),
    );
    put(
        &dynamodb,
        "nightly-report",
        COMPLETED,
        json!({"status": "completed", "startedAt": ago(1500), "durationMs":
        74_300, "completedAt": ago(1426), "follows": FAILED, "chainDepth": 1, "usage": {"inputTokens": 12_345,
        "outputTokens": 1_024}, "output": "Three files came in since yesterday.\nAll of them are complete.",
        "outputTruncated": false}),
    );
    put(
        &dynamodb,
        "import-orders",
        FAILED,
        json!({"status": "failed", "startedAt": ago(1800), "durationMs": 9_400,
        "completedAt": ago(1791), "errorType": "AgentFailed", "retryable": false, "usage": {"inputTokens": 2_048,
        "outputTokens": 96}, "error": "the agent reported an error in its stream\n{\"message\":\"no such bucket\"}"}),
    );
    put(
        &dynamodb,
        "weekly-cleanup",
        SKIPPED,
        json!({"status": "skipped", "startedAt": ago(5400), "completedAt":
        ago(5400), "skipReason": "Disabled"}),
    );
    put(
        &dynamodb,
        "nightly-report",
        STALE,
        json!({"status": "running", "startedAt": ago(9000), "leaseUntil":
        now - 8_400_000, "events": 27, "bytes": 30_720, "lastEventAt": ago(8430), "attempt": 3}),
    );
    put(&dynamodb, "nightly-report", EXPIRED, json!({"status": "completed", "ttl": now / 1000 - 1}));
    dynamodb.put_trigger(&json!({"id": "nightly-report", "userId": "user-456", "type": "event"}));
    dynamodb.put_item(&json!({"PK": "TRIGGER#import-orders", "SK": format!("INPUT#{FAILED}"),
        "prompt": "Import the orders", "ttl": now / 1000 + 60}));
    dynamodb
}

/// Returns the line on which an execution begins, found by the line below it.
fn line_of<'a>(said: &'a str, id: &str) -> &'a str {
    let lines: Vec<_> = said.lines().collect();
    lines[lines.iter().position(|line| line.trim_start().starts_with(id)).unwrap_or_else(|| panic!("no {id}: {said}"))
        - 1]
}

#[tokio::test]
async fn executions_are_told_apart_by_words_newest_first() {
    let dynamodb = table().await;
    let said = shows(&dynamodb, &["list", "--table", TABLE]).await;
    // This output is the picture in docs/operations.md.
    eprintln!("{said}");
    let shown = [RUNNING, COMPLETED, FAILED, SKIPPED, STALE];
    for (id, word, why) in [
        (RUNNING, "▸ running", "monthly-invoices"),
        (COMPLETED, "✓ completed", "12.3k / 1.0k"),
        (FAILED, "✗ failed", "AgentFailed"),
        (SKIPPED, "– skipped", "Disabled"),
        (STALE, "! stale", "lease over 2h"),
    ] {
        let line = line_of(&said, id);
        assert!(line.starts_with(word) && line.contains(why), "{line}");
    }
    let places: Vec<_> = shown.iter().map(|id| said.find(id)).collect();
    assert!(places.is_sorted(), "{said}");
    assert!(!said.contains(EXPIRED), "{said}");
    assert!(said.lines().all(|line| console::measure_text_width(line) <= 100), "{said}");
    let first = said.lines().next().unwrap();
    assert!(first.contains(TABLE) && first.contains(&dynamodb.url()), "{first}");
    assert!(said.contains("412 events, 1.20 MiB, last heard") && said.contains("follows import-orders"), "{said}");
    assert!(said.contains("the whole table is read"), "{said}");
}

#[tokio::test]
async fn a_triggers_are_one_query_in_as_many_pages_as_it_takes() {
    let dynamodb = table().await;
    dynamodb.page_size(1);
    let all = shows(&dynamodb, &["list", "--table", TABLE, "--trigger", "nightly-report"]).await;
    assert!(all.contains(COMPLETED) && all.contains(STALE) && !all.contains(FAILED) && !all.contains("Older"), "{all}");
    assert_eq!((dynamodb.count("Query"), dynamodb.count("Scan")), (4, 0), "the last page has nothing more");
    let newest = shows(&dynamodb, &["list", "--table", TABLE, "--trigger", "nightly-report", "--limit", "1"]).await;
    assert!(
        newest.contains(COMPLETED) && !newest.contains(STALE) && newest.contains("Older ones: --limit"),
        "{newest}"
    );
}

#[tokio::test]
async fn rows_that_have_expired_take_few_queries() {
    let dynamodb = table().await;
    for at in 0..250 {
        let id = format!("019aa302-7c00-7265-80a7-a45dbf81{at:04}");
        put(&dynamodb, "nightly-report", &id, json!({"status": "completed", "ttl": now() / 1000 - 1}));
    }
    let said = shows(&dynamodb, &["list", "--table", TABLE, "--trigger", "nightly-report", "--limit", "1"]).await;
    assert!(said.contains(COMPLETED) && said.contains("Older ones"), "{said}");
    assert!(dynamodb.count("Query") <= 3, "{} queries", dynamodb.count("Query"));
}

#[tokio::test]
async fn one_is_shown_in_full_and_its_input_only_mentioned() {
    let dynamodb = table().await;
    for args in [vec!["show", FAILED], vec!["show", FAILED, "--trigger", "import-orders"]] {
        let said = shows(&dynamodb, &[args.as_slice(), &["--table", TABLE]].concat()).await;
        for text in ["✗ failed  AgentFailed", "\"no such bucket\"", "user-456", "usage.outputTokens", "kept until"] {
            assert!(said.contains(text), "{text} in {said}");
        }
        assert!(!said.contains("Import the orders"), "{said}");
    }
    assert_eq!(dynamodb.count("Scan"), 1);
}

#[tokio::test]
async fn a_part_of_an_id_is_enough_if_it_means_one() {
    let dynamodb = table().await;
    for args in [vec!["show", "5e2c03"], vec!["show", "019aa303"], vec!["show", "5e2c03", "--trigger", "import-orders"]]
    {
        let said = shows(&dynamodb, &[args.as_slice(), &["--table", TABLE, "--json"]].concat()).await;
        let shown: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&shown["executionId"], &shown["status"]), (&json!(FAILED), &json!("failed")), "{args:?}");
    }
    let said = refuses(&dynamodb, &["show", "019aa3", "--table", TABLE]).await;
    assert!(said.contains("means 5 executions") && said.contains(FAILED), "{said}");
    // The middle of an id is no name of it.
    assert!(refuses(&dynamodb, &["show", "7c00", "--table", TABLE]).await.contains("no such execution"));
}

#[tokio::test]
async fn lists_are_filtered_and_are_json_on_demand() {
    let dynamodb = table().await;
    let of_one = ["--trigger", "nightly-report"];
    for (args, expected) in [
        (vec!["--status", "failed,skipped"], vec![FAILED, SKIPPED]),
        (vec!["--status", "running", "--trigger", "nightly-report"], vec![STALE]),
        (vec!["--since", &fired(FAILED)], vec![RUNNING, COMPLETED, FAILED]),
        ([of_one.as_slice(), &["--since", &fired(COMPLETED)]].concat(), vec![COMPLETED]),
        (vec!["--since", "0s"], vec![]),
    ] {
        let said = shows(&dynamodb, &[&["list", "--table", TABLE, "--json"], args.as_slice()].concat()).await;
        let rows: Vec<Value> = serde_json::from_str(&said).unwrap();
        let ids: Vec<_> = rows.iter().map(|row| row["executionId"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{args:?}");
    }
}

#[tokio::test]
async fn an_empty_table_says_so_in_one_line() {
    let dynamodb = DynamoDb::start().await;
    for args in [vec!["list", "--table", TABLE], vec!["list", "--table", TABLE, "--trigger", "nightly-report"]] {
        let said = shows(&dynamodb, &args).await;
        assert!(said.lines().count() == 1 && said.contains("no executions"), "{said}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_in_one_error() {
    let dynamodb = table().await;
    let said = refuses(&dynamodb, &["list", "--table", "no-such-table"]).await;
    assert!(said.contains("no table no-such-table"), "{said}");
    let said = refuses(&dynamodb, &["show", EXPIRED, "--table", TABLE]).await;
    assert!(said.contains("no such execution"), "what has expired is none either: {said}");
    let said = refuses(&dynamodb, &["show", FAILED, "--trigger", "nightly-report", "--table", TABLE]).await;
    assert!(said.contains("trigger nightly-report"), "{said}");
    dynamodb.put_trigger(&json!({"id": "daily", "userId": "user-456", "type": "schedule"}));
    let said = refuses(&dynamodb, &["disable", "daily", "--table", TABLE]).await;
    for name in ["RUN_FUNCTION_ARN", "SCHEDULE_GROUP_NAME", "SCHEDULER_ROLE_ARN", "SCHEDULE_DLQ_ARN", "--api"] {
        assert!(said.contains(name), "{name} in {said}");
    }
    let said = refuses(&dynamodb, &["run", "nightly-report", "--table", TABLE]).await;
    assert!(said.contains("RUN_FUNCTION_ARN") && !said.contains("SCHEDULE"), "{said}");
    dynamodb.inject(Rule::any(Fault::Deny));
    let said = refuses(&dynamodb, &["list", "--table", TABLE]).await;
    assert!(said.contains("access denied") && said.contains("dynamodb:Scan"), "{said}");
}

#[tokio::test]
async fn a_table_that_does_not_answer_is_named() {
    let dynamodb = table().await;
    let mut command = triggerctl(&dynamodb, &["list", "--table", TABLE]);
    let url = dynamodb.url();
    drop(dynamodb);
    let output = command.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains(&url) && said.contains("refused"), "{said}");
}

/// Reads until a line contains this text.
async fn until(lines: &mut Lines<BufReader<ChildStdout>>, text: &str) {
    loop {
        let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended without {text}"));
        if line.contains(text) {
            return;
        }
    }
}

fn watched(dynamodb: &DynamoDb, args: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = triggerctl(dynamodb, args).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

#[tokio::test]
async fn watching_follows_what_happens_until_it_is_interrupted() {
    let dynamodb = table().await;
    for args in [vec!["watch", "--table", TABLE], vec!["watch", RUNNING, "--table", TABLE]] {
        put(
            &dynamodb,
            "monthly-invoices",
            RUNNING,
            json!({"status": "running", "startedAt": ago(1), "leaseUntil":
            now() + 600_000}),
        );
        let (mut child, mut lines) = watched(&dynamodb, &args);
        until(&mut lines, "▸ running").await;
        let failing = dynamodb.inject(Rule::any(Fault::Deny));
        until(&mut lines, "trying again: access denied").await;
        failing.remove();
        put(&dynamodb, "monthly-invoices", RUNNING, json!({"status": "cancelled", "startedAt": ago(1)}));
        until(&mut lines, "■ cancelled").await;
        let pid = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
        while lines.next_line().await.unwrap().is_some() {}
        assert!(child.wait().await.unwrap().success());
    }
}
