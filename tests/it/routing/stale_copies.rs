//! Triggers that were changed a moment ago: the index still gives the copy from before, and the item says what counts.

use serde_json::{Value, json};
use standins::{Fault, Gate, Invocation, Outcome, Rule, Script, Stack};

use crate::support::subscribed::{SOURCE_ID, USER, assert_skipped, assert_summary, config, order, subscribe};
use crate::support::{all_logs, assert_completed, assert_failed, changed, execution, lines, stack};

const TRIGGER: &str = "trigger-1";

/// Delivers an order. Its subscriptions are read from the index, and `change` happens before the answer arrives: what
/// the index gave is the copy from before. Gives the event, the outcome and what the process logged.
async fn delivered(stack: &Stack, change: impl FnOnce(&Stack)) -> (Value, Outcome, Vec<String>) {
    let gate = Gate::new();
    stack.dynamodb.inject(Rule::new("Query", Fault::GateAfter(gate.clone())).once());
    let event = order();
    let function = stack.function(&[]).await;
    let changing = async {
        gate.reached().await;
        change(stack);
        gate.release();
    };
    let (outcome, ()) = tokio::join!(function.invoke(Invocation::event(&event)), changing);
    let logs = all_logs(function).await;
    stack.assert_clean();
    (event, outcome, logs)
}

/// A trigger as it is in the index, with these attributes, and the change of its item that the index does not have yet.
async fn changed_late(attributes: Value, change: impl FnOnce(&Stack)) -> (Stack, Value, Outcome, Vec<String>) {
    let stack = stack().await;
    stack.agent.default(Script::ndjson_happy("three files"));
    subscribe(&stack, TRIGGER, attributes);
    let (event, outcome, logs) = delivered(&stack, change).await;
    (stack, event, outcome, logs)
}

/// Sets attributes of the trigger's item; null takes one away.
fn set(attributes: Value) -> impl FnOnce(&Stack) {
    move |stack| stack.dynamodb.update(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{TRIGGER}"), &attributes)
}

fn assert_detour(logs: &[String], detour: &str) {
    assert_eq!(lines(logs, &format!(r#""detour":"{detour}""#)).len(), 1, "{detour} in {logs:#?}");
}

#[tokio::test]
async fn a_trigger_that_was_switched_off_a_moment_ago_is_skipped() {
    for (change, reason) in [
        (json!({"enabled": false}), "Disabled"),
        (json!({"deletedAt": "2026-01-31T07:00:00Z"}), "Deleted"),
        (json!({"enabled": false, "prompt": 7}), "Disabled"),
    ] {
        let (stack, event, outcome, logs) = changed_late(json!({}), set(change)).await;
        assert_summary(&outcome, &event, json!({"subscriptions": 1, "disabled": 1}));
        assert_skipped(&execution(&stack, TRIGGER), reason);
        assert_detour(&logs, "skipped");
        assert_eq!(stack.agent.call_count(), 0);
    }
}

#[tokio::test]
async fn a_trigger_that_was_deleted_a_moment_ago_is_skipped() {
    let delete = |stack: &Stack| stack.dynamodb.delete(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{TRIGGER}"));
    let (stack, event, outcome, logs) = changed_late(json!({}), delete).await;
    assert_summary(&outcome, &event, json!({"subscriptions": 1, "disabled": 1}));
    assert_skipped(&execution(&stack, TRIGGER), "Deleted");
    assert_detour(&logs, "skipped");
    assert_eq!(stack.agent.call_count(), 0);
}

#[tokio::test]
async fn a_trigger_that_filters_the_event_since_a_moment_ago_does_not_run() {
    for change in [
        config(json!({"eventPattern": {"source": ["another"]}})),
        config(json!({"condition": {"field": "detail.amount", "operator": "gt", "value": 1_000}})),
        json!({"GSI2PK": "EVENTSOURCE#another", "eventConfig": {"eventSourceId": "another"}}),
        json!({"GSI2PK": null, "GSI2SK": null}),
    ] {
        let (stack, event, outcome, _) = changed_late(json!({}), set(change)).await;
        assert_summary(&outcome, &event, json!({"subscriptions": 1, "filtered": 1}));
        assert_eq!(stack.dynamodb.executions(TRIGGER), Vec::<Value>::new());
        assert_eq!(stack.agent.call_count(), 0);
    }
}

#[tokio::test]
async fn a_trigger_that_waits_for_a_threshold_since_a_moment_ago_does_not_run() {
    let change = set(config(json!({"threshold": {"count": 3, "windowSeconds": 60}})));
    let (stack, event, outcome, _) = changed_late(json!({}), change).await;
    assert_summary(&outcome, &event, json!({"subscriptions": 1, "waiting": 1}));
    assert_eq!(stack.agent.call_count(), 0);
}

#[tokio::test]
async fn a_trigger_is_counted_for_its_threshold_once_though_it_was_edited() {
    let threshold = json!({"threshold": {"count": 1, "windowSeconds": 60}});
    let (stack, _, outcome, _) = changed_late(config(threshold), set(json!({"prompt": "The new prompt"}))).await;
    assert_completed(&outcome, &execution(&stack, TRIGGER));
    let is_counter = |item: &&Value| item["SK"].as_str().is_some_and(|key| key.starts_with("THRESHOLD#"));
    let items = stack.dynamodb.scan();
    assert_eq!(items.iter().filter(is_counter).map(|item| &item["count"]).collect::<Vec<_>>(), [1], "{items:#?}");
}

#[tokio::test]
async fn a_trigger_that_was_edited_a_moment_ago_runs_as_it_is() {
    let (stack, _, outcome, _) = changed_late(json!({}), set(json!({"modelId": "model-new"}))).await;
    assert_completed(&outcome, &execution(&stack, TRIGGER));
    assert_eq!(stack.agent.calls()[0].body["modelId"], "model-new");
}

#[tokio::test]
async fn a_trigger_that_was_made_invalid_a_moment_ago_fails() {
    let (stack, _, outcome, logs) = changed_late(json!({}), set(json!({"prompt": 7}))).await;
    assert_failed(&outcome, &execution(&stack, TRIGGER), "InvalidTrigger", false);
    assert_detour(&logs, "invalid-trigger");
    assert_eq!(stack.agent.call_count(), 0);
}

#[tokio::test]
async fn a_trigger_that_cannot_be_read_before_it_runs_is_left_to_the_next_delivery() {
    let stack = stack().await;
    stack.agent.default(Script::ndjson_happy("three files"));
    subscribe(&stack, TRIGGER, json!({}));
    stack.dynamodb.inject(Rule::new("GetItem", Fault::Deny).containing(&format!("TRIGGER#{TRIGGER}")).once());
    let function = stack.function(&[]).await;
    let invocation = Invocation::event(&changed(order(), json!({"_eventSourceId": SOURCE_ID}))).request_id("request-1");
    let outcome = function.invoke(invocation.clone()).await;
    assert_eq!(outcome.error_type(), "RecordStoreFailed", "{outcome:?}");
    assert_eq!((outcome.body()["retryable"].clone(), stack.agent.call_count()), (json!(true), 0));
    assert_completed(&function.invoke(invocation).await, &execution(&stack, TRIGGER));
    stack.assert_clean();
}
