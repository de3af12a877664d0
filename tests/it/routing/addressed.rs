//! Events that are addressed to one trigger, as the hooks surface sends them: its filters and its threshold are asked, and
//! nobody else's.

use serde_json::{Value, json};
use standins::destination::{failed_messages, notification, sqs_batch};
use standins::{Gate, Invocation, Outcome, Script, Stack, Step};

use crate::support::one_fire::short_lease;
use crate::support::subscribed::{USER, assert_skipped, config, invocation, order, publish, subscribe, trigger};
use crate::support::{assert_completed, changed, execution, lease_over, stack};

/// An order that is addressed to a trigger.
fn addressed(id: &str, changes: Value) -> Value {
    let marks = json!({"_eventSourceId": "webhook", "_address": {"triggerId": id, "userId": USER}});
    changed(changed(order(), marks), changes)
}

fn summary(outcome: &Outcome) -> [Value; 4] {
    ["subscriptions", "filtered", "waiting", "dispatched"].map(|name| outcome.body()[name].clone())
}

#[tokio::test]
async fn the_filters_of_the_trigger_are_asked_and_no_others() {
    let stack = stack().await;
    stack.pool(1, &[]);
    let pattern = json!({"detail": {"amount": [{"numeric": [">", 100]}]}});
    // It is not subscribed to anything: no index holds it.
    let one = config(json!({"eventPattern": pattern}));
    stack.dynamodb.put_item(&changed(trigger("one", one), json!({"GSI2PK": null, "GSI2SK": null})));
    subscribe(&stack, "other", json!({}));
    let seen = publish(&stack, &addressed("one", json!({}))).await;
    assert_completed(seen.outcome().unwrap(), &execution(&stack, "one"));
    let cheap = json!({"detail": {"amount": 7}});
    let seen = publish(&stack, &addressed("one", cheap)).await;
    assert_eq!(summary(seen.outcome().unwrap()), [1, 1, 0, 0].map(Value::from));
    assert_eq!((stack.dynamodb.executions("one").len(), stack.dynamodb.executions("other").len()), (1, 0));

    subscribe(&stack, "off", json!({"enabled": false}));
    publish(&stack, &addressed("off", json!({}))).await;
    assert_skipped(&execution(&stack, "off"), "Disabled");
    publish(&stack, &addressed("gone", json!({}))).await;
    assert_skipped(&execution(&stack, "gone"), "Deleted");
    for address in [json!("one"), json!({"triggerId": "one"}), json!({"triggerId": 7, "userId": USER})] {
        stack.lambda.retries(0);
        let seen = publish(&stack, &addressed("one", json!({"_address": address}))).await;
        let error = seen.outcome().unwrap().body();
        assert_eq!(error["error"], "InvalidEvent");
        assert!(error["message"].as_str().unwrap().contains("$._address"), "{error}");
    }
    assert_eq!((stack.agent.call_count(), stack.lambda.dispatched().len()), (1, 0));
    stack.assert_clean();
}

#[tokio::test]
async fn an_addressed_event_counts_once_for_a_threshold() {
    let stack = stack().await;
    stack.pool(1, &[]);
    subscribe(&stack, "one", config(json!({"threshold": {"count": 2, "windowSeconds": 600}})));
    let (first, second) = (addressed("one", json!({})), addressed("one", json!({})));
    for event in [&first, &first] {
        let seen = publish(&stack, event).await;
        assert_eq!(summary(seen.outcome().unwrap()), [1, 0, 1, 0].map(Value::from));
    }
    for _ in 0..2 {
        assert!(publish(&stack, &second).await.outcome().unwrap().is_success());
    }
    assert_eq!((stack.dynamodb.executions("one").len(), stack.agent.call_count()), (1, 1));
}

/// Kills the attempt that runs an addressed event, in the middle of the agent's answer, and changes the trigger so that the
/// event does not match it any more. Gives the request.
async fn died_and_filtered(retries: usize) -> (Stack, String) {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(Script::ndjson_happy("three files").midway(Step::Gate(gate.clone())));
    stack.lambda.retry_delay(lease_over(1));
    stack.lambda.retries(retries);
    stack.pool(2, &[short_lease()]);
    subscribe(&stack, "one", json!({}));
    let request = stack.invoke_async(Invocation::event(&addressed("one", json!({}))));
    gate.reached().await;
    subscribe(&stack, "one", config(json!({"eventPattern": {"detail": {"amount": [7]}}})));
    assert!(stack.lambda.kill(&request));
    stack.lambda.idle().await;
    (stack, request)
}

fn assert_interrupted(stack: &Stack) {
    let row = execution(stack, "one");
    assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!("Interrupted")), "{row:#}");
    assert_eq!(stack.agent.call_count(), 1);
}

#[tokio::test]
async fn f65_an_addressed_event_that_died_and_matches_no_more_is_ended() {
    let (stack, request) = died_and_filtered(2).await;
    let seen = invocation(&stack, &request);
    assert_eq!((&seen.outcomes[0], seen.outcomes[1].error_type()), (&Outcome::Died, "Interrupted"));
    assert_interrupted(&stack);
    stack.assert_clean();
}

#[tokio::test]
async fn f65_a_report_of_an_addressed_event_that_matches_no_more_ends_what_died() {
    let (stack, _) = died_and_filtered(0).await;
    let settler = stack.function(&[short_lease()]).await;
    let report = stack.lambda.failures().remove(0);
    let bodies = [notification(&report.to_string())];
    tokio::time::sleep(lease_over(1)).await;
    let batch = sqs_batch([("0", bodies[0].as_str())].into_iter());
    assert!(failed_messages(&settler.invoke(batch).await).is_empty());
    assert_interrupted(&stack);
    // One that no attempt could record, and that matches nothing, gets no record.
    let event = addressed("one", json!({"id": "7b0e4a2c-7e0c-4f43-8a3e-0b6a8d1a9f11"}));
    let mut report = report;
    report["requestPayload"] = event;
    report["requestContext"]["requestId"] = json!("another-request");
    let body = notification(&report.to_string());
    let batch = sqs_batch([("0", body.as_str())].into_iter());
    assert!(failed_messages(&settler.invoke(batch).await).is_empty());
    assert_eq!(stack.dynamodb.executions("one").len(), 1);
    stack.assert_clean();
}
