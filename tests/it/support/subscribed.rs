//! The cases of bus events: triggers in the table, what is published, and what must hold of it.

use serde_json::{Map, Value, json};
use standins::{AsyncInvocation, Invocation, Outcome, Stack, bus_event};

use crate::support::changed;

pub(crate) const USER: &str = "user-1";
pub(crate) const SOURCE: &str = "com.example.orders";
pub(crate) const SOURCE_ID: &str = "com-example-orders";
pub(crate) const DETAIL_TYPE: &str = "Order Placed";
pub(crate) const PROMPT: &str = "Check the confidential order";

/// An order is placed: another event each time.
pub(crate) fn order() -> Value {
    let items = json!([{"sku": "tea", "count": 2}, {"sku": "cup", "count": 1}]);
    bus_event(SOURCE, DETAIL_TYPE, json!({"orderId": "order-7", "amount": 120, "items": items}))
}

/// An order with these members; null takes one away.
pub(crate) fn order_with(changes: Value) -> Value {
    changed(order(), changes)
}

/// A trigger item of `user-1` for `agent-1` that is subscribed to orders, as the management API writes it, with these
/// members; null takes one away.
pub(crate) fn trigger(id: &str, changes: Value) -> Value {
    let config = json!({"eventSourceId": SOURCE_ID, "eventBusName": "orders", "ruleArn": "arn:aws:events:rule/orders"});
    let trigger = json!({"PK": format!("TRIGGER#{USER}"), "SK": format!("TRIGGER#{id}"),
        "GSI2PK": format!("EVENTSOURCE#{SOURCE_ID}"), "GSI2SK": format!("USER#{USER}#TRIGGER#{id}"),
        "id": id, "userId": USER, "name": format!("The one named {id}"), "type": "event", "enabled": true,
        "agentId": "agent-1", "prompt": PROMPT, "eventConfig": config, "createdAt": "2026-01-01T00:00:00.000Z",
        "ofALaterVersion": {"list": [1, "two", false]}});
    changed(trigger, changes)
}

/// `eventConfig` with these members, for the changes of a [`trigger`].
pub(crate) fn config(members: Value) -> Value {
    let Value::Object(members) = members else { panic!("members, not {members}") };
    let mut config = Map::from_iter([("eventSourceId".to_owned(), json!(SOURCE_ID))]);
    config.extend(members);
    json!({ "eventConfig": config })
}

/// Stores a [`trigger`].
pub(crate) fn subscribe(stack: &Stack, id: &str, changes: Value) {
    stack.dynamodb.put_item(&trigger(id, changes));
}

/// Stores this many triggers, and gives their ids.
pub(crate) fn subscribe_many(stack: &Stack, count: usize) -> Vec<String> {
    let ids: Vec<_> = (0..count).map(|n| format!("trigger-{n:03}")).collect();
    ids.iter().for_each(|id| subscribe(stack, id, json!({})));
    ids
}

/// The event reaches the function through Lambda's queue, which a pool works off; gives what came of it.
pub(crate) async fn publish(stack: &Stack, event: &Value) -> AsyncInvocation {
    let request_id = stack.invoke_async(Invocation::event(event));
    stack.lambda.idle().await;
    invocation(stack, &request_id)
}

/// What came of a request.
pub(crate) fn invocation(stack: &Stack, request_id: &str) -> AsyncInvocation {
    stack.lambda.invocations().into_iter().find(|seen| seen.request_id == request_id).unwrap()
}

/// What came of the events that were handed on to a trigger, in order.
pub(crate) fn dispatched_to(stack: &Stack, trigger_id: &str) -> Vec<AsyncInvocation> {
    let is_to = |seen: &AsyncInvocation| seen.json()["_dispatch"]["triggerId"] == trigger_id;
    stack.lambda.dispatched().into_iter().filter(is_to).collect()
}

/// Asserts that the event was dealt with, counted so; what is not named is zero.
pub(crate) fn assert_summary(outcome: &Outcome, event: &Value, counts: Value) {
    let Outcome::Success(result) = outcome else { panic!("{outcome:?}") };
    assert_eq!(result["statusCode"], 200);
    let mut expected = json!({"success": true, "eventId": event["id"],
        "eventSourceId": event["source"].as_str().unwrap_or_default().replace('.', "-"),
        "subscriptions": 0, "filtered": 0, "disabled": 0, "tooDeep": 0, "waiting": 0, "dispatched": 0});
    expected = changed(expected, counts);
    assert_eq!(outcome.body(), expected);
}

/// Asserts that the record says that the fire was deliberately not run.
pub(crate) fn assert_skipped(row: &Value, reason: &str) {
    assert_eq!((&row["status"], &row["skipReason"]), (&json!("skipped"), &json!(reason)), "{row:#}");
    assert!(row["startedAt"].is_string() && row["completedAt"].is_string() && row["ttl"].is_i64(), "{row:#}");
    crate::support::assert_absent(row, &["error", "errorType", "retryable", "output", "owner", "leaseUntil"]);
}

/// How many calls the agent had for each of these triggers, told by the names in its prompts.
pub(crate) fn calls_of(stack: &Stack, trigger_id: &str) -> usize {
    let line = format!("\ntrigger: \"The one named {trigger_id}\"\n");
    stack.agent.calls().iter().filter(|call| call.field("prompt").contains(&line)).count()
}
