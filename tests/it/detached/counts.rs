//! Counts what a detached run costs: writes, reads, messages and invocations. docs/long-runs.md names the prices.

use super::*;
use crate::support::one_fire::TRIGGER;

/// Returns the number of writes and of reads of the table so far.
fn table(stack: &Stack) -> (usize, usize) {
    let requests = stack.dynamodb.requests();
    let reads = requests.iter().filter(|request| request.operation == "GetItem").count();
    (requests.len() - reads, reads)
}

#[tokio::test]
async fn two_hours_with_24_heartbeats_cost_this() {
    let stack = stack().await;
    let function = function(&stack).await;
    let mut invocations = 1;
    assert_left(&stack, &function.invoke(fire()).await);
    assert_eq!(table(&stack), (3, 1), "the claim, the input and the hand-over; the trigger item");
    assert_eq!(stack.sqs.sent().len(), 1, "the timer");
    stack.dynamodb.clear_requests();
    for beat in 0..24 {
        // Five minutes have passed.
        update(&stack, &json!({"lastEventAt": null}));
        assert_eq!(reports(&stack, &function, json!({"status": "running"})).await.0, 200, "{beat}");
    }
    assert_eq!(table(&stack), (24, 24), "each heartbeat reads before it writes");
    stack.dynamodb.clear_requests();
    assert_eq!(reports(&stack, &function, json!({"status": "completed", "output": "x"})).await.0, 200);
    assert_eq!(table(&stack), (1, 2), "the end; the row and the trigger item");
    assert_eq!(stack.sqs.sent().len(), 2, "the timer, and the look after the end");
    stack.dynamodb.clear_requests();
    // Each look reads once and writes nothing, and there are nine in two hours.
    for look in stack.sqs.sent() {
        invocations += 1;
        assert!(deliver(&function, &look).await);
    }
    assert_eq!((table(&stack), invocations), ((0, 2), 3));
    // The work of all invocations, the reports' too, and of the start: CPU, because a busy machine makes each wait. An
    // unoptimised build needs several times that of a release.
    let busy = support::cpu(&function);
    eprintln!("the function was busy for {busy:.2} s in two hours");
    assert!(busy < 2.0, "{busy} s");
    let row = execution(&stack);
    assert_eq!((&row["events"], &row["triggerId"]), (&json!(24), &json!(TRIGGER)));
}

#[tokio::test]
async fn a_second_heartbeat_within_a_second_costs_no_write() {
    let stack = stack().await;
    let function = function(&stack).await;
    assert_left(&stack, &function.invoke(fire()).await);
    assert_eq!(reports(&stack, &function, json!({"status": "running"})).await.0, 200);
    let at = "2099-01-01T00:00:00.000Z";
    update(&stack, &json!({"lastEventAt": at}));
    stack.dynamodb.clear_requests();
    // A clock that runs behind the one that wrote is no reason to drop a heartbeat.
    assert_eq!(reports(&stack, &function, json!({"status": "running"})).await.0, 200);
    assert_eq!(table(&stack).0, 1);
}

#[tokio::test]
async fn a_look_of_a_living_run_reads_once_and_sends_the_next() {
    let stack = stack().await;
    let function = function(&stack).await;
    assert_left(&stack, &function.invoke(fire()).await);
    update(&stack, &json!({"leaseUntil": now_millis() + 7_000_000}));
    stack.dynamodb.clear_requests();
    let mut looks = 0;
    for _ in 0..8 {
        assert!(deliver(&function, &last_look(&stack)).await);
        looks += 1;
        assert_eq!(last_look(&stack).delay_seconds, 900);
    }
    assert_eq!((table(&stack), stack.sqs.sent().len()), ((0, looks), looks + 1));
}
