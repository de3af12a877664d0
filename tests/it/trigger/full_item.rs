//! Trigger items that cannot take what is written beside an end: full, broken, edited or deleted. The execution ends all
//! the same, and what is left out is counted and logged.

use serde_json::{Value, json};
use standins::destination::{failed_messages, notification, report, sqs_batch};
use standins::{Fault, Gate, Lambda, Outcome, Rule, Script, Stack};

use crate::support::emf::all_metrics;
use crate::support::stored::{
    assert_completed, assert_failed, assert_health, assert_no_health, broken, delete, edit, execution_at, fire_at,
    item, long_lease, store, trigger, update,
};
use crate::support::{FINISH, LIMIT, all_logs, assert_absent, gated, killed_when, lines, now_millis, stack};

/// DynamoDB's limit for an item.
const LARGEST: usize = 400 * 1024;

/// A trigger item to which so many bytes can be added.
fn filled(left: usize, attributes: Value) -> Value {
    let Value::Object(mut item) = attributes else { panic!("attributes") };
    // Its keys, names and other attributes, as DynamoDB counts them.
    let others: usize = item.iter().map(|(name, value)| name.len() + value.to_string().len()).sum();
    let keys = "PKTRIGGER#user-1SKTRIGGER#trigger-1idtrigger-1userIduser-1nameQuarterly filesfiller".len();
    item.insert("filler".to_owned(), json!("x".repeat(LARGEST - left - keys - others)));
    item.into()
}

async fn start(attributes: Value) -> (Stack, Lambda) {
    let stack = stack().await;
    store(&stack, attributes);
    let function = stack.function(&[long_lease()]).await;
    (stack, function)
}

async fn assert_left_out(function: Lambda, count: u64) {
    let logs = all_logs(function).await;
    assert!(!lines(&logs, "the end is written without its trigger's health or tokens").is_empty(), "{logs:#?}");
    let counted: u64 = crate::support::emf::metrics(&logs).iter().filter_map(|line| line["LeftOut"].as_u64()).sum();
    assert_eq!(counted, count);
}

#[tokio::test]
async fn f62_a_trigger_item_of_395_kb_takes_what_an_end_adds() {
    let (stack, function) = start(filled(5 * 1024, json!({}))).await;
    stack.agent.queue(broken());
    let outcome = function.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &outcome, ("AgentFailed", false));
    assert_health(&stack, "failing", 1, true);
    let outcome = function.invoke(fire_at(1)).await;
    assert_completed(&stack, 1, &outcome);
    assert_health(&stack, "ok", 0, true);
    assert!(all_metrics(function).await.iter().all(|line| line["LeftOut"] == 0));
    stack.assert_clean();
}

#[tokio::test]
async fn f62_an_end_with_nothing_beside_it_leaves_nothing_out() {
    let (stack, function) = start(json!({})).await;
    let denied = stack.dynamodb.inject(Rule::new("UpdateItem", Fault::Deny).containing(FINISH).once());
    let outcome = function.invoke(fire_at(0)).await;
    assert_eq!(assert_completed(&stack, 0, &outcome)["stored"], true);
    assert_eq!(denied.hits(), 1);
    assert!(all_metrics(function).await.iter().all(|line| line["LeftOut"] == 0));
    stack.assert_clean();
}

#[tokio::test]
async fn f62_executions_of_a_full_trigger_item_end() {
    let (stack, function) = start(filled(8, json!({}))).await;
    let before = trigger(&stack);
    stack.agent.queue(broken());
    let outcome = function.invoke(fire_at(0)).await;
    let row = assert_failed(&stack, 0, &outcome, ("AgentFailed", false));
    // Its failure is announced by itself, for no health announces it.
    assert_absent(&row, &["stored"]);
    let outcome = function.invoke(fire_at(1)).await;
    assert_completed(&stack, 1, &outcome);
    assert_eq!(trigger(&stack), before);
    assert_left_out(function, 1).await;
    stack.assert_clean();
}

#[tokio::test]
async fn f62_a_dead_attempt_of_a_full_trigger_item_is_ended_by_its_retry_and_by_settling() {
    for is_settled in [false, true] {
        let (stack, function) = start(filled(8, json!({}))).await;
        let gate = Gate::new();
        stack.agent.queue(gated(&gate));
        killed_when(gate.reached(), &function, fire_at(0)).await;
        update(&stack, 0, &json!({"leaseUntil": now_millis() - 60_000}));
        let function = stack.function(&[long_lease()]).await;
        if is_settled {
            let body = notification(&report(&fire_at(0), 3, &Outcome::Died).to_string());
            let left = failed_messages(&function.invoke(sqs_batch([("message", body.as_str())])).await);
            assert!(left.is_empty());
        } else {
            let outcome = function.invoke(fire_at(0)).await;
            assert_failed(&stack, 0, &outcome, ("Interrupted", false));
        }
        let row = execution_at(&stack, 0);
        assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!("Interrupted")), "{row:#}");
        assert_no_health(&stack);
        assert_left_out(function, 1).await;
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f62_tokens_that_cannot_be_counted_leave_the_health_to_be_counted() {
    let limits = json!({"health": "failing", "failures": 2, "maxTokensPerDay": 1_000_000});
    let (stack, function) = start(limits).await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let spoil = async {
        gate.reached().await;
        let day = item(&stack, "DAY#");
        stack.dynamodb.update(day["PK"].as_str().unwrap(), day["SK"].as_str().unwrap(), &json!({"tokens": "many"}));
        gate.release();
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire_at(0)), spoil);
    assert_completed(&stack, 0, &outcome);
    assert_health(&stack, "ok", 0, true);
    assert_eq!(item(&stack, "DAY#")["tokens"], "many");
    assert_left_out(function, 1).await;
    stack.assert_clean();
}

#[tokio::test]
async fn f62_a_trigger_item_that_is_edited_before_each_write_of_an_end_leaves_its_health_uncounted() {
    let (stack, function) = start(json!({})).await;
    stack.agent.queue(broken());
    let gates: Vec<_> = (0..40).map(|_| Gate::new()).collect();
    for gate in &gates {
        let held = Rule::new("TransactWriteItems", standins::Fault::GateBefore(gate.clone())).containing(FINISH);
        stack.dynamodb.inject(held.once());
    }
    let editing = async {
        for (count, gate) in gates.iter().enumerate() {
            let arrived = async {
                gate.reached().await;
                edit(&stack, &json!({"health": "failing", "failures": count + 1}));
                gate.release();
            };
            if tokio::time::timeout(LIMIT, arrived).await.is_err() {
                return;
            }
        }
    };
    let outcome = tokio::select! {
        outcome = function.invoke(fire_at(0)) => outcome,
        () = editing => panic!("it goes on for ever"),
    };
    assert_failed(&stack, 0, &outcome, ("AgentFailed", false));
    assert_left_out(function, 1).await;
    stack.assert_clean();
}

#[tokio::test]
async fn f62_a_trigger_item_that_is_deleted_while_its_run_works_stays_deleted() {
    for script in [Script::ndjson_happy("three files"), broken()] {
        let (stack, function) = start(json!({"health": "failing", "failures": 2, "maxTokensPerDay": 1_000})).await;
        let gate = Gate::new();
        stack.agent.queue(script.midway(standins::Step::Gate(gate.clone())));
        let deleting = async {
            gate.reached().await;
            delete(&stack);
            gate.release();
        };
        let (outcome, ()) = tokio::join!(function.invoke(fire_at(0)), deleting);
        let row = execution_at(&stack, 0);
        assert!(matches!(row["status"].as_str(), Some("completed" | "failed")), "{row:#} with {outcome:?}");
        assert_eq!(trigger(&stack), Value::Null);
        stack.assert_clean();
    }
}
