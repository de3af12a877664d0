//! Triggers that run on every nth event.

use std::time::Duration;

use futures_util::{StreamExt, future::join_all, stream};
use serde_json::{Value, json};
use standins::{Fault, Gate, Invocation, Lambda, Outcome, Rule, Stack};

use crate::support::subscribed::{assert_summary, config, invocation, order, order_with, publish, subscribe};
use crate::support::{alone, crowd, execution, now_millis, stack};

fn subscribe_to_every(stack: &Stack, count: u32, id: &str) {
    subscribe(stack, id, config(json!({"threshold": {"count": count, "windowSeconds": 300}})));
}

fn waits(outcome: &Outcome, event: &Value) {
    assert_summary(outcome, event, json!({"subscriptions": 1, "waiting": 1}));
}

/// An order at so many seconds past seven.
fn order_at(seconds: u32) -> Value {
    order_with(json!({"time": format!("2026-01-31T07:{:02}:{:02}Z", seconds / 60, seconds % 60)}))
}

/// Delivers the events one by one; gives the indices of those that ran.
async fn fired(function: &Lambda, events: &[Value]) -> Vec<usize> {
    let mut fired = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let outcome = function.invoke(Invocation::event(event)).await;
        if outcome.body()["waiting"] == 1 {
            waits(&outcome, event);
        } else {
            assert!(outcome.is_success() && outcome.body()["triggerId"] == "t", "{outcome:?}");
            fired.push(at);
        }
    }
    fired
}

/// Delivers an event as Lambda does, which tries again what failed: all at once they may be too many for the stand-in of
/// the table on a slow machine.
async fn delivered(function: &Lambda, event: &Value) -> Outcome {
    let invocation = Invocation::event(event).timeout(Duration::from_secs(120));
    for _ in 0..2 {
        let outcome = function.invoke(invocation.clone()).await;
        if outcome.body()["retryable"] != true {
            return outcome;
        }
    }
    function.invoke(invocation).await
}

#[tokio::test]
async fn every_fifth_of_fifty_events_runs_however_they_are_delivered() {
    let _machine = alone().await;
    let stack = stack().await;
    subscribe_to_every(&stack, 5, "t");
    let env = [("AWS_LAMBDA_MAX_CONCURRENCY", "25")];
    let functions = [(); 4].map(|()| stack.function(&env));
    let functions = join_all(functions).await;
    // Not one after the other: each event and its twin reach different processes, and none is first for sure.
    let events: Vec<_> = (0..50).map(|_| order()).collect();
    let deliveries = (0..100).map(|n| {
        let (function, event) = (&functions[n % 4], &events[(n * 37) % 50]);
        async move { (event, delivered(function, event).await) }
    });
    let outcomes: Vec<_> = stream::iter(deliveries).buffer_unordered(crowd(100)).collect().await;

    let rows = stack.dynamodb.executions("t");
    assert_eq!((rows.len(), stack.agent.call_count()), (10, 10));
    assert!(rows.iter().all(|row| row["status"] == "completed"), "{rows:#?}");
    let mut ran: Vec<_> = rows.iter().map(|row| row["eventId"].as_str().unwrap()).collect();
    ran.sort_unstable();
    ran.dedup();
    assert_eq!(ran.len(), 10, "each of another event");
    for (event, outcome) in &outcomes {
        if ran.contains(&event["id"].as_str().unwrap()) {
            assert!(outcome.is_success() && outcome.body()["executionId"].is_string(), "{outcome:?}");
        } else {
            waits(outcome, event);
        }
    }
    let marks: Vec<_> =
        stack.dynamodb.scan().into_iter().filter(|item| item["SK"].as_str().unwrap().starts_with("MARK#")).collect();
    assert_eq!(marks.len(), 50);
    for ordinal in 1..=5 {
        assert_eq!(marks.iter().filter(|mark| mark["ordinal"] == ordinal).count(), 10);
    }
    assert!(marks.iter().all(|mark| mark["ttl"].is_i64()));
    stack.assert_clean();
}

#[tokio::test]
async fn a_lost_answer_loses_and_doubles_no_event() {
    let stack = stack().await;
    subscribe_to_every(&stack, 5, "t");
    let function = stack.function(&[]).await;
    let events: Vec<_> = (0..10).map(|_| order()).collect();
    let rules = [Fault::ApplyThenLose, Fault::Reset, Fault::Throttle, Fault::Conflict, Fault::ServerError];
    let mut firing = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let fault = stack.dynamodb.inject(Rule::new("TransactWriteItems", rules[at % rules.len()].clone()).once());
        firing.extend(fired(&function, std::slice::from_ref(event)).await.into_iter().map(|_| at));
        assert_eq!(fault.hits(), 1);
    }
    assert_eq!(firing, [4, 9]);
    assert_eq!(fired(&function, &events).await, [4, 9], "each delivered again");
    assert_eq!((stack.dynamodb.executions("t").len(), stack.agent.call_count()), (2, 2));
    stack.assert_clean();
}

#[tokio::test]
async fn an_answer_lost_for_good_is_made_up_for_by_the_retry() {
    let stack = stack().await;
    subscribe_to_every(&stack, 2, "t");
    stack.pool(1, &[]);
    let (first, second) = (order(), order());
    for (event, ran) in [(&first, false), (&second, true)] {
        let lost = stack.dynamodb.inject(Rule::new("TransactWriteItems", Fault::ApplyThenLose).times(6));
        let seen = publish(&stack, event).await;
        let kinds: Vec<_> = seen.outcomes.iter().map(Outcome::error_type).collect();
        assert_eq!((kinds, lost.hits()), (vec!["RecordStoreFailed", ""], 6));
        assert_eq!(seen.outcomes[0].body()["retryable"], true);
        assert_eq!(seen.outcomes[1].body()["executionId"].is_string(), ran, "{seen:?}");
        assert_eq!(stack.agent.call_count(), usize::from(ran));
        lost.remove();
    }
    assert_eq!(execution(&stack, "t")["eventId"], second["id"]);
    stack.assert_clean();
}

#[tokio::test]
async fn a_crash_after_counting_loses_no_run() {
    let stack = stack().await;
    subscribe_to_every(&stack, 2, "t");
    stack.pool(1, &[]);
    let event = order();
    waits(publish(&stack, &event).await.outcome().unwrap(), &event);
    let gate = Gate::new();
    stack.dynamodb.inject(Rule::new("TransactWriteItems", Fault::GateAfter(gate.clone())).once());
    let event = order();
    let request_id = stack.invoke_async(Invocation::event(&event));
    gate.reached().await;
    assert!(stack.lambda.kill(&request_id));
    stack.lambda.idle().await;
    let seen = invocation(&stack, &request_id);
    assert_eq!((seen.outcomes.len(), &seen.outcomes[0]), (2, &Outcome::Died));
    let row = execution(&stack, "t");
    assert_eq!((&row["status"], &row["eventId"], stack.agent.call_count()), (&json!("completed"), &event["id"], 1));
    gate.release();
    stack.assert_clean();
}

#[tokio::test]
async fn a_window_that_is_over_begins_anew() {
    let stack = stack().await;
    subscribe_to_every(&stack, 3, "t");
    let function = stack.function(&[]).await;
    // The window of the first two is over as the next one comes. The one at 10 is late, and the third of the window that
    // is open, which is over with it.
    let events = [0, 299, 300, 301, 10, 302, 303, 304].map(order_at);
    assert_eq!(fired(&function, &events).await, [4, 7]);
    assert_eq!(fired(&function, &events).await, [4, 7], "each delivered again");
    assert_eq!((stack.dynamodb.executions("t").len(), stack.agent.call_count()), (2, 2));
    let counter = stack.dynamodb.item("TRIGGER#t", "THRESHOLD#user-1").unwrap();
    assert_eq!(counter["count"], 3);
    assert!(counter["windowStart"].is_i64() && counter["ttl"].is_i64(), "{counter}");
    stack.assert_clean();
}

#[tokio::test]
async fn only_events_that_match_are_counted() {
    let stack = stack().await;
    let threshold = json!({"count": 2, "windowSeconds": 300});
    let condition = json!({"field": "detail.amount", "operator": "gt", "value": 100});
    subscribe(&stack, "t", config(json!({"threshold": threshold, "condition": condition})));
    let function = stack.function(&[]).await;
    for (amount, is_due) in [(50, false), (150, false), (60, false), (100, false), (200, true)] {
        let event = order_with(json!({"detail": {"amount": amount}}));
        let outcome = function.invoke(Invocation::event(&event)).await;
        assert_eq!(outcome.body()["executionId"].is_string(), is_due, "{amount}: {outcome:?}");
    }
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn each_of_several_triggers_counts_for_itself() {
    let stack = stack().await;
    for (id, count) in [("every", 1), ("every-second", 2), ("every-third", 3)] {
        subscribe_to_every(&stack, count, id);
    }
    stack.pool(2, &[]);
    let mut counted = Vec::new();
    for _ in 0..6 {
        let event = order();
        for _ in 0..2 {
            let seen = publish(&stack, &event).await;
            let body = seen.outcome().unwrap().body();
            counted.push((body["waiting"].as_u64(), body["dispatched"].as_u64()));
        }
    }
    let alone = (None, None);
    let of = |waiting, dispatched| (Some(waiting), Some(dispatched));
    let expected = [alone, of(1, 2), of(1, 2), of(1, 2), alone, of(0, 3)];
    assert_eq!(counted, expected.iter().flat_map(|counts| [*counts, *counts]).collect::<Vec<_>>());
    for (id, runs) in [("every", 6), ("every-second", 3), ("every-third", 2)] {
        assert_eq!(stack.dynamodb.executions(id).len(), runs, "{id}");
    }
    assert_eq!(stack.agent.call_count(), 11);
    stack.assert_clean();
}

#[tokio::test]
async fn a_publishers_time_far_off_holds_no_window_open() {
    let stack = stack().await;
    let short = config(json!({"threshold": {"count": 2, "windowSeconds": 1}}));
    subscribe(&stack, "t", short);
    let function = stack.function(&[]).await;
    let first = order_with(json!({"time": "2099-12-31T23:59:59Z"}));
    waits(&function.invoke(Invocation::event(&first)).await, &first);
    let counter = stack.dynamodb.scan().into_iter().find(|item| item["windowStart"].is_i64()).unwrap();
    let start = counter["windowStart"].as_i64().unwrap();
    assert!(start <= now_millis(), "the window began when the event was counted, not in 2099: {counter}");

    // The next event is after the window, so it is the first of its own.
    while now_millis() <= start + 1_000 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let second = order_with(json!({"time": "2099-12-31T23:59:59Z"}));
    waits(&function.invoke(Invocation::event(&second)).await, &second);
    stack.assert_clean();
}
