//! Counts the requests of a run to the services that bill for each request, where they arrive.

use std::io::Write;

use serde_json::json;
use standins::{CognitoOperation, Invocation, Lambda, Script, Stack};

use crate::support::subscribed::{order, subscribe};

const TRIGGER: &str = "trigger-1";

async fn stack() -> Stack {
    let stack = Stack::start().await.with_binary(env!("CARGO_BIN_EXE_agent-trigger"));
    stack.agent.default(Script::ndjson_happy("three files"));
    stack
}

async fn run(function: &Lambda, minute: u32) {
    let time = format!("2026-01-01T00:{minute:02}:00Z");
    let outcome = function.invoke(Invocation::scheduled(TRIGGER, "Count the files", &time)).await;
    assert!(outcome.is_success(), "{outcome:?}");
}

/// Returns the number of PutItem, UpdateItem and GetItem so far, and asserts that there was nothing else.
fn requests(stack: &Stack) -> [usize; 3] {
    let counts = ["PutItem", "UpdateItem", "GetItem"].map(|operation| stack.dynamodb.count(operation));
    assert_eq!(counts.iter().sum::<usize>(), stack.dynamodb.requests().len(), "no other operation");
    counts
}

/// Prints a count for readers of CI's log. The tests assert it.
fn print(what: &str, count: usize) {
    let _ = writeln!(std::io::stdout(), "{what}: {count}");
}

#[tokio::test]
async fn a_short_run_writes_twice_and_reads_once() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    run(&function, 0).await;
    let [puts, updates, gets] = requests(&stack);
    print("DynamoDB writes of a short run", puts + updates);
    print("DynamoDB reads of a short run", gets);
    assert_eq!([puts, updates, gets], [1, 1, 1]);
}

#[tokio::test]
async fn a_run_that_fails_without_a_trigger_item_writes_its_input_and_nothing_else_more() {
    let stack = stack().await;
    stack.agent.queue(Script::server_error_event("the disk is full"));
    let function = stack.function(&[]).await;
    let time = "2026-01-01T00:00:00Z";
    let outcome = function.invoke(Invocation::scheduled(TRIGGER, "Count the files", time)).await;
    assert_eq!(outcome.error_type(), "AgentFailed");
    assert_eq!(requests(&stack), [2, 1, 1]);
    let mut kept: Vec<_> = stack.dynamodb.scan().into_iter().map(|item| item["SK"].to_string()).collect();
    kept.sort();
    assert!(matches!(&kept[..], [row, input] if row.contains("EXECUTION#") && input.contains("INPUT#")), "{kept:?}");
}

#[tokio::test]
async fn a_failure_of_a_stored_trigger_is_counted_in_the_write_that_ends_it() {
    let stack = stack().await;
    stack.dynamodb.put_item(&json!({"PK": "TRIGGER#user-1", "SK": format!("TRIGGER#{TRIGGER}")}));
    stack.agent.queue(Script::server_error_event("the disk is full"));
    let function = stack.function(&[]).await;
    let time = "2026-01-01T00:00:00Z";
    let outcome = function.invoke(Invocation::scheduled(TRIGGER, "Count the files", time)).await;
    assert_eq!(outcome.error_type(), "AgentFailed");
    let counts = ["PutItem", "UpdateItem", "GetItem", "TransactWriteItems"].map(|name| stack.dynamodb.count(name));
    assert_eq!(counts, [2, 1, 1, 1], "the claim and the input; when it ran; the trigger; the end");
}

#[tokio::test]
async fn a_trigger_item_costs_two_writes_more() {
    let stack = stack().await;
    stack.dynamodb.put_item(&json!({"PK": "TRIGGER#user-1", "SK": format!("TRIGGER#{TRIGGER}")}));
    let function = stack.function(&[]).await;
    run(&function, 0).await;
    let [puts, updates, gets] = requests(&stack);
    print("DynamoDB writes of a short run with a trigger item", puts + updates);
    assert_eq!([puts, updates, gets], [2, 2, 1], "the claim and the input; when it ran, and the end");
}

#[tokio::test]
async fn the_run_of_an_event_writes_its_input_and_reads_its_trigger_as_it_is() {
    let stack = stack().await;
    subscribe(&stack, TRIGGER, json!({}));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::event(&order())).await;
    assert!(outcome.is_success(), "{outcome:?}");
    let counts = ["PutItem", "UpdateItem", "Query", "GetItem"].map(|operation| stack.dynamodb.count(operation));
    print("DynamoDB writes of a short run of an event", counts[0] + counts[1]);
    let what =
        "the claim, the input; which trigger runs in place, when it ran, and the end; the subscriptions; the item";
    assert_eq!(counts, [2, 3, 1, 1], "{what}");
    assert_eq!(stack.dynamodb.count_for("UpdateItem", "REQUEST#"), 1);
    assert_eq!(stack.dynamodb.requests().len(), 7);
}

#[tokio::test]
async fn an_event_that_is_handed_on_writes_once_whatever_the_number_of_its_triggers() {
    let stack = stack().await;
    subscribe(&stack, TRIGGER, json!({}));
    subscribe(&stack, "trigger-2", json!({}));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::event(&order())).await;
    assert!(outcome.is_success(), "{outcome:?}");
    let counts = ["PutItem", "UpdateItem", "Query", "GetItem"].map(|operation| stack.dynamodb.count(operation));
    assert_eq!(counts, [0, 1, 1, 0], "that it is handed on; the subscriptions");
    assert_eq!(stack.lambda.accepted(), 2);
}

#[tokio::test]
async fn one_token_serves_every_run_of_its_time() {
    const RUNS: u32 = 20;
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for minute in 0..RUNS {
        run(&function, minute).await;
    }
    let tokens = stack.cognito.count(CognitoOperation::Token);
    print("token requests of 20 runs in one process", tokens);
    assert_eq!(tokens, 1);
    assert_eq!(stack.cognito.count(CognitoOperation::DescribeUserPoolClient), 1, "the secret is discovered once");
}

#[tokio::test]
async fn a_token_is_renewed_after_three_quarters_of_its_life() {
    let stack = stack().await;
    // With a life of four seconds, three seconds correspond to 45 minutes of an hour.
    stack.cognito.set_expires_in(4);
    let function = stack.function(&[]).await;
    run(&function, 0).await;
    tokio::time::sleep(std::time::Duration::from_millis(3100)).await;
    run(&function, 1).await;
    assert_eq!(stack.cognito.count(CognitoOperation::Token), 2);
}
