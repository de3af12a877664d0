//! Life and death of bus events: killed attempts, retries, and what is settled when none is left.

use std::time::Duration;

use serde_json::{Value, json};
use standins::destination::{failed_messages, notification, report, sqs_batch};
use standins::{AsyncInvocation, Fault, Gate, Invocation, Lambda, Outcome, Rule, Script, Stack, Step, own_event};

use crate::support::one_fire::short_lease;
use crate::support::subscribed::{
    PROMPT, SOURCE_ID, USER, assert_skipped, assert_summary, calls_of, dispatched_to, invocation, order, order_with,
    subscribe, subscribe_many,
};
use crate::support::{LIMIT, assert_completed, assert_failed, execution, lease_over, stack};

/// A stack with so many triggers, whose agent waits in the middle of its first answer, and with a pool.
async fn start(triggers: usize) -> (Stack, Vec<String>, Gate) {
    let stack = stack().await;
    let ids = subscribe_many(&stack, triggers);
    let gate = Gate::new();
    stack.agent.queue(Script::ndjson_happy("three files").midway(Step::Gate(gate.clone())));
    stack.lambda.retry_delay(lease_over(1));
    stack.pool(3, &[short_lease()]);
    (stack, ids, gate)
}

/// Delivers an event and kills the process that calls the agent first, in the middle of the answer. Gives the trigger, and
/// the request that was killed.
async fn killed(stack: &Stack, event: &Value, ids: &[String], gate: &Gate) -> (String, String) {
    let request_id = stack.invoke_async(Invocation::event(event));
    gate.reached().await;
    let call = stack.agent.calls().swap_remove(0);
    let is_called = |id: &&String| call.field("prompt").contains(&format!("\"The one named {id}\""));
    let id = ids.iter().find(is_called).unwrap().clone();
    let at_work = if ids.len() == 1 { request_id } else { dispatched_to(stack, &id)[0].request_id.clone() };
    assert!(stack.lambda.kill(&at_work));
    (id, at_work)
}

/// The messages that are to be delivered again, of the reports that these are.
async fn settle(function: &Lambda, reports: &[Value]) -> Vec<String> {
    let bodies: Vec<_> = reports.iter().map(|report| notification(&report.to_string())).collect();
    let ids: Vec<_> = (0..bodies.len()).map(|index| index.to_string()).collect();
    let batch = sqs_batch(ids.iter().map(String::as_str).zip(bodies.iter().map(String::as_str)));
    failed_messages(&function.invoke(batch).await)
}

fn kinds(seen: &AsyncInvocation) -> Vec<&str> {
    seen.outcomes.iter().map(Outcome::error_type).collect()
}

fn assert_interrupted(row: &Value) {
    assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!("Interrupted")), "{row:#}");
    assert_eq!(row["retryable"], false);
    assert!(row["completedAt"].is_string() && row["error"].is_string(), "{row:#}");
}

#[tokio::test]
async fn f43_an_attempt_of_a_bus_event_that_was_killed_is_interrupted() {
    for count in [1, 3] {
        let (stack, ids, gate) = start(count).await;
        let event = order();
        let (id, killed) = killed(&stack, &event, &ids, &gate).await;
        stack.lambda.idle().await;
        let seen = invocation(&stack, &killed);
        assert_eq!(seen.outcomes[0], Outcome::Died);
        assert_eq!(kinds(&seen), ["", "Interrupted", "Interrupted"]);
        let row = execution(&stack, &id);
        seen.outcomes[1..].iter().for_each(|outcome| assert_failed(outcome, &row, "Interrupted", false));
        assert_eq!((&row["attempt"], calls_of(&stack, &id)), (&json!(1), 1), "called at most once");
        for other in ids.iter().filter(|other| **other != id) {
            assert_completed(dispatched_to(&stack, other)[0].outcome().unwrap(), &execution(&stack, other));
        }
        assert_eq!((stack.agent.call_count(), stack.lambda.failures().len()), (count, 1));

        // What it was asked is kept, so that a person may decide to run it again.
        let detail = json!({"triggerId": id, "executionId": row["executionId"]});
        let replay = stack.invoke_async(Invocation::event(&own_event("Replay Execution", detail)));
        stack.lambda.idle().await;
        assert!(invocation(&stack, &replay).outcome().unwrap().is_success());
        assert_eq!((execution_count(&stack, &id), calls_of(&stack, &id)), (2, 2));
        stack.assert_clean();
    }
}

fn execution_count(stack: &Stack, id: &str) -> usize {
    stack.dynamodb.executions(id).len()
}

#[tokio::test]
async fn f43_a_bus_event_whose_attempt_was_killed_before_the_claim_runs() {
    let (stack, ids, gate) = start(1).await;
    gate.release();
    let claim = Gate::new();
    let rule = Rule::new("PutItem", Fault::GateBefore(claim.clone())).containing("EXECUTION#").once();
    stack.dynamodb.inject(rule);
    let request_id = stack.invoke_async(Invocation::event(&order()));
    claim.reached().await;
    assert!(stack.lambda.kill(&request_id));
    stack.lambda.idle().await;
    let seen = invocation(&stack, &request_id);
    assert_eq!((seen.outcomes.len(), &seen.outcomes[0]), (2, &Outcome::Died));
    assert_completed(&seen.outcomes[1], &execution(&stack, &ids[0]));
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f44_a_killed_attempt_of_a_bus_event_is_rerun_where_its_trigger_says_so() {
    for count in [1, 2] {
        let (stack, ids, gate) = start(count).await;
        ids.iter().for_each(|id| subscribe(&stack, id, json!({"onInterrupted": "rerun"})));
        let (id, killed) = killed(&stack, &order(), &ids, &gate).await;
        stack.lambda.idle().await;
        let seen = invocation(&stack, &killed);
        assert_eq!((seen.outcomes.len(), &seen.outcomes[0]), (2, &Outcome::Died));
        let row = execution(&stack, &id);
        assert_completed(&seen.outcomes[1], &row);
        assert_eq!((&row["attempt"], calls_of(&stack, &id)), (&json!(2), 2));
        stack.assert_clean();
    }
}

/// What becomes of a trigger between the death of its execution and the settling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    Disabled,
    Invalid,
    Deleted,
}

async fn killed_is_settled(count: usize, meanwhile: Meanwhile) {
    let (stack, ids, gate) = start(count).await;
    stack.lambda.retries(0);
    let (id, killed) = killed(&stack, &order(), &ids, &gate).await;
    stack.lambda.idle().await;
    assert_eq!(invocation(&stack, &killed).outcomes, [Outcome::Died]);
    match meanwhile {
        Meanwhile::Nothing => {}
        Meanwhile::Disabled => subscribe(&stack, &id, json!({"enabled": false})),
        Meanwhile::Invalid => subscribe(&stack, &id, json!({"prompt": 7})),
        Meanwhile::Deleted => stack.dynamodb.delete(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{id}")),
    }
    let left = execution(&stack, &id);
    assert_eq!(left["status"], "running");
    // Settled by a process that can reach neither agent nor Cognito, for it needs none.
    let settler = stack.function(&[short_lease(), ("COGNITO_DOMAIN", "http://127.0.0.1:9")]).await;
    let reports = stack.lambda.failures();
    assert_eq!(reports.len(), 1);
    if settle(&settler, &reports).await == ["0"] {
        assert_eq!(execution(&stack, &id), left, "its lease is alive");
        tokio::time::sleep(lease_over(1)).await;
        assert!(settle(&settler, &reports).await.is_empty());
    }
    let row = execution(&stack, &id);
    assert_interrupted(&row);
    assert!(settle(&settler, &reports).await.is_empty());
    assert_eq!((execution(&stack, &id), stack.agent.call_count()), (row, count));
    let others = ids.iter().filter(|other| **other != id);
    others.for_each(|other| assert_eq!(execution(&stack, other)["status"], "completed"));
    stack.assert_clean();
}

#[tokio::test]
async fn s7_a_bus_event_that_died_in_place_is_settled() {
    for meanwhile in [Meanwhile::Nothing, Meanwhile::Disabled, Meanwhile::Invalid] {
        killed_is_settled(1, meanwhile).await;
    }
}

#[tokio::test]
async fn s7_a_bus_event_that_died_after_its_dispatch_is_settled() {
    for meanwhile in [Meanwhile::Nothing, Meanwhile::Disabled, Meanwhile::Invalid, Meanwhile::Deleted] {
        killed_is_settled(2, meanwhile).await;
    }
}

#[tokio::test]
async fn a_retry_that_finds_its_trigger_disabled_ends_what_died() {
    for count in [1, 2] {
        let (stack, ids, gate) = start(count).await;
        let (id, killed) = killed(&stack, &order(), &ids, &gate).await;
        subscribe(&stack, &id, json!({"enabled": false}));
        stack.lambda.idle().await;
        let seen = invocation(&stack, &killed);
        assert_eq!(kinds(&seen), ["", "Interrupted", "Interrupted"]);
        let row = execution(&stack, &id);
        assert_interrupted(&row);
        seen.outcomes[1..].iter().for_each(|outcome| assert_failed(outcome, &row, "Interrupted", false));
        assert_eq!(calls_of(&stack, &id), 1);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f08_the_failure_that_paused_a_trigger_fails_again_on_every_retry() {
    for count in [1, 2] {
        let (stack, ids, gate) = start(count).await;
        gate.release();
        stack.lambda.retry_delay(Duration::ZERO);
        stack.agent.on_prompt(&format!("\"The one named {}\"", ids[0]), Script::status(400, "no"));
        subscribe(&stack, &ids[0], json!({"pauseAfterFailures": 1}));
        let event = order();
        let request_id = stack.invoke_async(Invocation::event(&event));
        stack.lambda.idle().await;
        let at_work = if count == 1 { request_id } else { dispatched_to(&stack, &ids[0]).swap_remove(0).request_id };
        let row = execution(&stack, &ids[0]);
        let seen = invocation(&stack, &at_work);
        assert_eq!(seen.outcomes.len(), 3);
        seen.outcomes.iter().for_each(|outcome| assert_failed(outcome, &row, "AgentRejected", false));
        assert_eq!((stack.lambda.failures().len(), stack.agent.call_count()), (1, count));

        // Another request with the event has nothing to tell of a failure that is not its own.
        let request_id = stack.invoke_async(Invocation::event(&event));
        stack.lambda.idle().await;
        let seen = invocation(&stack, &request_id);
        assert!(seen.outcome().unwrap().is_success(), "{seen:?}");
        assert_eq!((execution(&stack, &ids[0]), stack.agent.call_count()), (row, count));
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f53_a_bus_event_no_attempt_could_record_gets_its_record() {
    for count in [1, 2] {
        let (stack, ids, gate) = start(count).await;
        gate.release();
        stack.lambda.retry_delay(Duration::ZERO);
        let id = &ids[0];
        let rule = Rule::new("PutItem", Fault::Deny).containing("EXECUTION#").containing(&format!("TRIGGER#{id}\""));
        let denied = stack.dynamodb.inject(rule);
        let event = order();
        let request_id = stack.invoke_async(Invocation::event(&event));
        stack.lambda.idle().await;
        let seen = if count == 1 { invocation(&stack, &request_id) } else { dispatched_to(&stack, id).swap_remove(0) };
        assert_eq!(kinds(&seen), ["RecordStoreFailed"; 3]);
        assert!(denied.hits() >= 3 && stack.dynamodb.executions(id).is_empty());
        denied.remove();

        let settler = stack.function(&[short_lease()]).await;
        let reports = stack.lambda.failures();
        assert!(reports.len() == 1 && settle(&settler, &reports).await.is_empty());
        let row = execution(&stack, id);
        assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!("RecordStoreFailed")), "{row:#}");
        let told = seen.outcome().unwrap().body();
        assert_eq!((&row["error"], &row["retryable"]), (&told["message"], &json!(false)));
        assert_eq!((&row["attempt"], &row["lambdaRequestId"]), (&json!(3), &json!(seen.request_id)));
        assert_eq!((&row["executionId"], &row["eventId"]), (&told["executionId"], &event["id"]));
        assert_eq!((&row["userId"], &row["eventSourceId"]), (&json!(USER), &json!(SOURCE_ID)));
        assert!(settle(&settler, &reports).await.is_empty());
        assert_eq!((execution(&stack, id), stack.agent.call_count()), (row, count - 1));
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f53_a_replay_no_attempt_could_record_gets_its_record() {
    let (stack, ids, gate) = start(1).await;
    gate.release();
    stack.lambda.retry_delay(Duration::ZERO);
    stack.invoke_async(Invocation::event(&order()));
    stack.lambda.idle().await;
    let row = execution(&stack, &ids[0]);
    stack.dynamodb.inject(Rule::new("PutItem", Fault::Deny).containing("EXECUTION#"));
    let replay = |execution_id: &Value| {
        let detail = json!({"triggerId": ids[0], "executionId": execution_id});
        stack.invoke_async(Invocation::event(&own_event("Replay Execution", detail)))
    };
    let request_id = replay(&row["executionId"]);
    stack.lambda.idle().await;
    assert_eq!(kinds(&invocation(&stack, &request_id)), ["RecordStoreFailed"; 3]);
    stack.dynamodb.clear_faults();
    // What is not kept can have no record.
    stack.dynamodb.inject(Rule::new("GetItem", Fault::Deny).containing("INPUT#"));
    let request_id = replay(&json!("unheard-of"));
    stack.lambda.idle().await;
    assert_eq!(kinds(&invocation(&stack, &request_id)), ["RecordStoreFailed"; 3]);
    stack.dynamodb.clear_faults();

    let settler = stack.function(&[short_lease()]).await;
    let reports = stack.lambda.failures();
    assert!(reports.len() == 2 && settle(&settler, &reports).await.is_empty());
    let rows = stack.dynamodb.executions(&ids[0]);
    let settled = rows.iter().find(|row| row["status"] == "failed").unwrap();
    assert_eq!((rows.len(), &settled["errorType"]), (2, &json!("RecordStoreFailed")), "{rows:#?}");
    assert_eq!((&settled["replayOf"], &settled["userId"]), (&row["executionId"], &json!(USER)), "{settled:#}");
    assert_eq!((&settled["agentId"], stack.agent.call_count()), (&json!("agent-1"), 1));
    stack.assert_clean();
}

#[tokio::test]
async fn s7_an_event_that_was_not_handed_on_is_left_to_those_who_got_it() {
    let (stack, ids, gate) = start(3).await;
    gate.release();
    stack.lambda.retry_delay(Duration::ZERO);
    stack.lambda.inject(Rule::new("Invoke", Fault::Deny).containing(&format!("\"triggerId\":\"{}\"", ids[1])));
    let request_id = stack.invoke_async(Invocation::event(&order()));
    stack.lambda.idle().await;
    assert_eq!(kinds(&invocation(&stack, &request_id)), ["DispatchFailed"; 3]);
    let before = stack.dynamodb.scan();
    let settler = stack.function(&[short_lease()]).await;
    let reports = stack.lambda.failures();
    assert!(reports.len() == 1 && settle(&settler, &reports).await.is_empty());
    // Whether the third is still on its way nobody can tell: Lambda may have queued it.
    assert_eq!(stack.dynamodb.scan().len(), before.len());
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

/// A trigger that is the only one by now may have been handed the event while it was one of several.
#[tokio::test]
async fn s7_a_trigger_that_is_left_alone_is_left_to_the_invocation_that_got_the_event() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 2);
    stack.lambda.inject(Rule::new("Invoke", Fault::Deny).containing(&format!("\"triggerId\":\"{}\"", ids[1])));
    let function = stack.function(&[short_lease()]).await;
    let delivery = || Invocation::event(&order_with(json!({"id": null}))).request_id("request-1");
    for delivery in [Invocation::event(&order()), delivery()] {
        let outcome = function.invoke(delivery.clone()).await;
        assert_eq!(outcome.error_type(), "DispatchFailed");
        stack.dynamodb.delete(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{}", ids[1]));
        let report = report(&delivery, 3, &outcome);
        assert!(settle(&function, &[report]).await.is_empty());
        assert_eq!(stack.dynamodb.executions(&ids[1]).len(), 0);
        subscribe(&stack, &ids[1], json!({}));
    }
    // What was queued comes only now.
    stack.pool(1, &[short_lease()]);
    stack.lambda.idle().await;
    let rows = stack.dynamodb.executions(&ids[0]);
    assert!(rows.len() == 2 && rows.iter().all(|row| row["status"] == "completed"), "{rows:#?}");
    assert_eq!(calls_of(&stack, &ids[0]), 2);
    stack.assert_clean();
}

/// A hand-on is remembered even if its attempt fails for another cause.
#[tokio::test]
async fn s7_a_trigger_that_got_the_event_beside_a_skip_that_failed_is_left_to_its_invocation() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 1);
    subscribe(&stack, "off", json!({"enabled": false}));
    stack.dynamodb.inject(Rule::new("PutItem", Fault::Deny).containing("EXECUTION#").containing("TRIGGER#off"));
    let function = stack.function(&[short_lease()]).await;
    let delivery = Invocation::event(&order()).request_id("request-1");
    let outcome = function.invoke(delivery.clone()).await;
    assert_eq!((outcome.error_type(), stack.lambda.accepted()), ("RecordStoreFailed", 1));
    stack.dynamodb.delete(&format!("TRIGGER#{USER}"), "TRIGGER#off");
    let report = report(&delivery, 3, &outcome);
    assert!(settle(&function, &[report]).await.is_empty());
    assert_eq!(stack.dynamodb.executions(&ids[0]), Vec::<Value>::new());
    // What was queued comes only now.
    stack.pool(1, &[short_lease()]);
    stack.lambda.idle().await;
    assert_eq!((&execution(&stack, &ids[0])["status"], stack.agent.call_count()), (&json!("completed"), 1));
    stack.assert_clean();
}

/// A hand-on is remembered before its attempt dies, and before a later one that finds only one trigger dies.
#[tokio::test]
async fn s7_a_trigger_that_got_the_event_of_an_attempt_that_died_is_left_to_its_invocation() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 2);
    let (handing, remembering) = (Gate::new(), Gate::new());
    let to_second = format!("\"triggerId\":\"{}\"", ids[1]);
    stack.lambda.inject(Rule::new("Invoke", Fault::GateBefore(handing.clone())).containing(&to_second));
    let delivery = Invocation::event(&order()).request_id("request-1");
    let killed = async |gate: &Gate| {
        let function = stack.function(&[short_lease()]).await;
        let kill = async {
            gate.reached().await;
            function.kill();
        };
        assert_eq!(tokio::join!(function.invoke(delivery.clone()), kill).0, Outcome::Died);
    };
    let handed_on = async {
        while stack.lambda.accepted() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await
        }
    };
    tokio::join!(killed(&handing), handed_on);
    stack.dynamodb.delete(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{}", ids[1]));
    let rule = Rule::new("UpdateItem", Fault::GateBefore(remembering.clone())).containing("REQUEST#");
    let gate = stack.dynamodb.inject(rule);
    killed(&remembering).await;
    gate.remove();
    let function = stack.function(&[short_lease()]).await;
    assert!(settle(&function, &[report(&delivery, 3, &Outcome::Died)]).await.is_empty());
    assert_eq!(stack.dynamodb.executions(&ids[0]), Vec::<Value>::new());
    // What was queued comes only now.
    stack.pool(1, &[short_lease()]);
    stack.lambda.idle().await;
    assert_eq!((&execution(&stack, &ids[0])["status"], stack.agent.call_count()), (&json!("completed"), 1));
    stack.assert_clean();
}

/// A retry that finds only one trigger of several runs it in place, although the event was handed on before.
#[tokio::test]
async fn a_retry_whose_trigger_is_left_alone_runs_it_in_place_after_a_hand_on() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 2);
    let denied = stack.lambda.inject(Rule::new("Invoke", Fault::Deny));
    let function = stack.function(&[short_lease()]).await;
    let delivery = || Invocation::event(&order_with(json!({"id": null}))).request_id("request-1");
    assert_eq!(function.invoke(delivery()).await.error_type(), "DispatchFailed");
    denied.remove();
    stack.dynamodb.delete(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{}", ids[1]));
    let outcome = function.invoke(delivery()).await;
    assert_completed(&outcome, &execution(&stack, &ids[0]));
    assert_eq!((stack.lambda.accepted(), stack.agent.call_count()), (0, 1));
    stack.assert_clean();
}

#[tokio::test]
async fn f54_what_a_report_of_a_bus_event_names_and_nobody_can_mend_stays_as_it_is() {
    let (stack, ids, gate) = start(1).await;
    gate.release();
    let function = stack.function(&[short_lease()]).await;
    let (ran, unheard) = (order(), order_with(json!({"source": "com.example.nobody"})));
    assert!(function.invoke(Invocation::event(&ran)).await.is_success());
    let run = |detail: Value| own_event("Run Trigger", detail);
    let missing = run(json!({"triggerId": "missing", "userId": USER}));
    let refused = function.invoke(Invocation::event(&missing)).await;
    assert_eq!(refused.error_type(), "InvalidEvent");
    let before = stack.dynamodb.scan();
    let reports = [
        report(&Invocation::event(&ran), 3, &Outcome::Died),
        report(&Invocation::event(&unheard), 3, &Outcome::Died),
        report(&Invocation::event(&missing), 3, &refused),
        report(&Invocation::event(&run(json!({}))), 3, &refused),
    ];
    assert!(settle(&function, &reports).await.is_empty());
    assert_eq!(stack.dynamodb.scan(), before);
    assert_eq!((&execution(&stack, &ids[0])["status"], stack.agent.call_count()), (&json!("completed"), 1));
    stack.assert_clean();
}

#[tokio::test]
async fn s7_what_several_triggers_left_of_one_event_is_settled_for_each() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 3);
    subscribe(&stack, "off", json!({"enabled": false}));
    let function = stack.function(&[short_lease()]).await;
    let event = order();
    let outcome = function.invoke(Invocation::event(&event)).await;
    assert_summary(&outcome, &event, json!({"subscriptions": 4, "disabled": 1, "dispatched": 3}));
    // Nothing but their common event is reported, as if its own attempt had died after all were queued.
    stack.pool(3, &[short_lease()]);
    stack.lambda.idle().await;
    let row = execution(&stack, &ids[0]);
    let [pk, sk] = ["PK", "SK"].map(|name| row[name].as_str().unwrap());
    stack.dynamodb.update(pk, sk, &json!({"status": "running", "completedAt": null, "output": null, "leaseUntil": 1}));
    let others = |stack: &Stack| [execution(stack, &ids[1]), execution(stack, &ids[2]), execution(stack, "off")];
    let before = others(&stack);
    let report = report(&Invocation::event(&event), 3, &Outcome::Died);
    assert!(settle(&function, &[report]).await.is_empty());
    assert_interrupted(&stack.dynamodb.wait_for_execution(&ids[0], LIMIT, |row| row["status"] == "failed").await);
    assert_eq!(others(&stack), before);
    assert_skipped(&before[2], "Disabled");
    assert!(stack.agent.calls()[0].field("prompt").starts_with(PROMPT));
    stack.assert_clean();
}
