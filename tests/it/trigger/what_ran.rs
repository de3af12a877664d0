//! What an execution asked is known from the start: it stands in the record and in the kept input, whatever becomes of the
//! trigger item, the schedule's copy and the process.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use standins::{CognitoOperation, Fault, Gate, Invocation, Lambda, Outcome, Rule, Stack, TokenAnswer, own_event};

use crate::support::one_fire::{PROMPT, TRIGGER};
use crate::support::stored::{
    assert_completed, assert_failed, edit, execution_at, fire_at, fire_with, long_lease, store, update, wait_for_item,
};
use crate::support::subscribed::{order, subscribe};
use crate::support::{assert_absent, execution, gated, killed_when, now_millis, stack};

/// What the schedule's copy of the trigger says after it was edited.
fn edited() -> Value {
    json!({"prompt": "Something else altogether", "agentId": "agent-2"})
}

fn input_of(stack: &Stack, row: &Value) -> Option<Value> {
    let [pk, sk] = ["PK", "SK"].map(|name| row[name].as_str().unwrap());
    let input = stack.dynamodb.item(pk, &sk.replace("EXECUTION#", "INPUT#"))?;
    Some(serde_json::from_str(input["detail"].as_str().unwrap()).unwrap())
}

async fn replay(function: &Lambda, row: &Value) -> Outcome {
    let detail = json!({"triggerId": row["triggerId"], "executionId": row["executionId"]});
    function.invoke(Invocation::event(&own_event("Replay Execution", detail))).await
}

/// Kills a run while the agent answers, and lets its lease pass. Gives its record as the attempt left it.
async fn dead(stack: &Stack, minute: u32, invocation: Invocation) -> Value {
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    killed_when(gate.reached(), &stack.function(&[long_lease()]).await, invocation).await;
    let row = execution_at(stack, minute);
    update(stack, minute, &json!({"leaseUntil": now_millis() - 60_000}));
    row
}

/// The prompts and agents that were asked, in order.
fn asked(stack: &Stack) -> Vec<(String, String)> {
    let calls = stack.agent.calls();
    calls.iter().map(|call| (call.field("prompt").to_owned(), call.field("agentId").to_owned())).collect()
}

#[tokio::test]
async fn f67_the_claim_says_what_a_schedules_run_asks_and_another_copy_changes_nothing() {
    let stack = stack().await;
    let claimed = dead(&stack, 0, fire_at(0)).await;
    assert_eq!((&claimed["agentId"], &claimed["protocol"]), (&json!("agent-1"), &json!("invocations")));
    assert_eq!(claimed["settingsHash"].as_str().map(str::len), Some(64), "{claimed:#}");
    assert_eq!(input_of(&stack, &claimed), None, "two writes are enough for a run whose event says everything");
    // The schedule was edited, and fires late for the same time.
    let function = stack.function(&[long_lease()]).await;
    let outcome = function.invoke(fire_with(0, &edited())).await;
    let row = assert_failed(&stack, 0, &outcome, ("Interrupted", false));
    for name in ["agentId", "settingsHash", "protocol", "functionVersion"] {
        assert_eq!(row[name], claimed[name], "{name} in {row:#}");
    }
    assert_eq!(input_of(&stack, &row), None, "the copy at hand is not what ran");
    let outcome = replay(&function, &row).await;
    assert_eq!((outcome.error_type(), stack.agent.call_count()), ("InvalidEvent", 1));
    stack.assert_clean();
}

#[tokio::test]
async fn f67_the_copy_that_ran_is_kept_when_its_run_is_found_dead() {
    let stack = stack().await;
    dead(&stack, 0, fire_at(0)).await;
    let function = stack.function(&[long_lease()]).await;
    let outcome = function.invoke(fire_at(0)).await;
    let row = assert_failed(&stack, 0, &outcome, ("Interrupted", false));
    assert_eq!(input_of(&stack, &row).unwrap()["prompt"], PROMPT);
    assert!(replay(&function, &row).await.is_success());
    let asked = asked(&stack);
    assert_eq!(asked[0], asked[1]);
    stack.assert_clean();
}

#[tokio::test]
async fn f67_a_stored_trigger_that_is_edited_after_a_death_leaves_what_ran() {
    let stack = stack().await;
    let item = json!({"prompt": "Count what the item says", "agentId": "agent-7"});
    store(&stack, item.clone());
    let function = stack.function(&[long_lease()]).await;
    let outcome = function.invoke(fire_at(1)).await;
    let hash = assert_completed(&stack, 1, &outcome)["settingsHash"].clone();
    let claimed = dead(&stack, 0, fire_at(0)).await;
    let kept = input_of(&stack, &claimed).expect("the input is kept before the call");
    assert_eq!((&kept["prompt"], &kept["agentId"]), (&item["prompt"], &item["agentId"]));
    edit(&stack, &edited());
    let outcome = function.invoke(fire_at(0)).await;
    let row = assert_failed(&stack, 0, &outcome, ("Interrupted", false));
    assert_eq!((&row["agentId"], &row["settingsHash"]), (&json!("agent-7"), &hash), "{row:#}");
    assert_eq!(input_of(&stack, &row), Some(kept), "never overwritten");
    assert!(replay(&function, &row).await.is_success());
    let asked = asked(&stack);
    assert_eq!((&asked[1], &asked[1].0), (&asked[2], &"Count what the item says".to_owned()));
    stack.assert_clean();
}

#[tokio::test]
async fn f67_an_event_whose_trigger_is_edited_after_a_death_leaves_what_ran() {
    let stack = stack().await;
    subscribe(&stack, "t", json!({}));
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let event = Invocation::event(&order()).request_id("request-1");
    killed_when(gate.reached(), &stack.function(&[long_lease()]).await, event.clone()).await;
    let claimed = execution(&stack, "t");
    let kept = input_of(&stack, &claimed).expect("the input is kept before the call");
    stack.dynamodb.update("TRIGGER#t", claimed["SK"].as_str().unwrap(), &json!({"leaseUntil": now_millis() - 60_000}));
    subscribe(&stack, "t", edited());
    let function = stack.function(&[long_lease()]).await;
    let outcome = function.invoke(event).await;
    let row = execution(&stack, "t");
    crate::support::assert_failed(&outcome, &row, "Interrupted", false);
    assert_eq!((&row["agentId"], &row["settingsHash"]), (&json!("agent-1"), &claimed["settingsHash"]), "{row:#}");
    assert_eq!(input_of(&stack, &row), Some(kept));
    assert!(replay(&function, &row).await.is_success());
    let asked = asked(&stack);
    assert_eq!(asked[0], asked[1]);
    stack.assert_clean();
}

#[tokio::test]
async fn f67_a_rerun_asks_what_its_dead_attempt_asked() {
    let stack = stack().await;
    store(&stack, json!({"prompt": "Count what the item says", "agentId": "agent-7"}));
    let rerun = || fire_with(0, &json!({"onInterrupted": "rerun"}));
    let claimed = dead(&stack, 0, rerun()).await;
    let kept = input_of(&stack, &claimed);
    edit(&stack, &edited());
    let outcome = stack.function(&[long_lease()]).await.invoke(rerun()).await;
    let row = assert_completed(&stack, 0, &outcome);
    assert_eq!((&row["attempt"], &row["agentId"]), (&json!(2), &json!("agent-7")), "{row:#}");
    assert_eq!(input_of(&stack, &row), kept);
    let asked = asked(&stack);
    assert_eq!(asked[0], asked[1]);
    stack.assert_clean();
}

/// The session is each attempt's own, and no part of the input that an earlier attempt kept. So neither is it of the hash.
#[tokio::test]
async fn f67_a_rerun_in_another_session_names_the_hash_of_the_kept_input() {
    let stack = stack().await;
    store(&stack, json!({"prompt": "Count what the item says", "agentId": "agent-7"}));
    let rerun = |changes: Value| {
        let mut fields = json!({"onInterrupted": "rerun"});
        fields.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        fire_with(0, &fields)
    };
    let claimed = dead(&stack, 0, rerun(json!({}))).await;
    let kept = input_of(&stack, &claimed);
    let session = "a-session-of-somebody-that-is-long-enough";
    let outcome = stack.function(&[long_lease()]).await.invoke(rerun(json!({"sessionId": session}))).await;
    let row = assert_completed(&stack, 0, &outcome);
    assert_eq!((&row["attempt"], &row["sessionId"]), (&json!(2), &json!(session)), "{row:#}");
    assert_eq!(input_of(&stack, &row), kept);
    let [pk, sk] = ["PK", "SK"].map(|name| row[name].as_str().unwrap());
    let input = stack.dynamodb.item(pk, &sk.replace("EXECUTION#", "INPUT#")).unwrap();
    let digest = Sha256::digest(input["detail"].as_str().unwrap());
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&row["settingsHash"], stack.agent.calls()[1].session()), (&json!(hash), session), "{row:#}");
    stack.assert_clean();
}

#[tokio::test]
async fn f67_an_input_that_cannot_be_kept_fails_no_run() {
    for fault in [Fault::Hang, Fault::Deny, Fault::Throttle, Fault::Reset] {
        let stack = stack().await;
        store(&stack, json!({}));
        let harmless = stack.dynamodb.inject(Rule::new("PutItem", fault).containing("INPUT#"));
        let outcome = stack.function(&[]).await.invoke(fire_at(0)).await;
        let row = assert_completed(&stack, 0, &outcome);
        assert!(harmless.hits() > 0);
        assert_eq!((input_of(&stack, &row), stack.agent.call_count()), (None, 1));
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f67_an_input_is_kept_while_the_token_is_on_its_way() {
    let stack = stack().await;
    store(&stack, json!({}));
    stack.cognito.answer_next(CognitoOperation::Token, [TokenAnswer::Hang]);
    let function = stack.function(&[]).await;
    let kept = async {
        wait_for_item(&stack, "INPUT#", |input| input["detail"].is_string()).await;
        assert_eq!(stack.agent.call_count(), 0, "no token came yet");
        function.kill();
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire_at(0)), kept);
    assert_eq!(outcome, Outcome::Died);
    stack.assert_clean();
}

#[tokio::test]
async fn f67_a_skipped_fire_asks_nothing() {
    let stack = stack().await;
    store(&stack, json!({"overlap": "skip"}));
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let (one, other) = (stack.function(&[]).await, stack.function(&[]).await);
    let skip = async {
        gate.reached().await;
        let outcome = other.invoke(fire_at(1)).await;
        gate.release();
        outcome
    };
    let (ran, skipped) = tokio::join!(one.invoke(fire_at(0)), skip);
    assert_completed(&stack, 0, &ran);
    let row = crate::support::stored::assert_skipped(&stack, 1, &skipped, "Overlap");
    assert_absent(&row, &["protocol", "functionVersion", "triggerVersion"]);
    assert_eq!(stack.dynamodb.executions(TRIGGER).len(), 2);
    stack.assert_clean();
}
