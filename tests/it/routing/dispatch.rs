//! Dispatches that fail: Lambda's retry makes them all again, and none runs twice or gets lost.

use std::time::Duration;

use serde_json::{Value, json};
use standins::{FUNCTION_ARN, Fault, Gate, Invocation, Outcome, Rule, Stack};

use crate::support::subscribed::{
    USER, assert_summary, calls_of, dispatched_to, invocation, order, order_with, publish, subscribe, subscribe_many,
};
use crate::support::{assert_completed, execution, stack};

/// Befalls the Invokes for one trigger.
fn of(trigger_id: &str, fault: Fault) -> Rule {
    Rule::new("Invoke", fault).containing(&format!("\"triggerId\":\"{trigger_id}\""))
}

fn assert_dispatch_failed(outcome: &Outcome, counts: &str, hidden: &Stack) {
    let body = outcome.body();
    assert_eq!((outcome.error_type(), &body["error"]), ("DispatchFailed", &json!("DispatchFailed")), "{outcome:?}");
    assert_eq!((&body["statusCode"], &body["retryable"]), (&json!(500), &json!(true)));
    assert_eq!((&body["triggerId"], &body["executionId"]), (&Value::Null, &Value::Null));
    let message = body["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("{counts} triggers could not be handed the event: ")), "{message}");
    assert!(!message.contains(&hidden.cognito.secret()));
}

/// Asserts that each trigger ran once and is on record so.
fn assert_each_ran_once(stack: &Stack, ids: &[String]) {
    for id in ids {
        let row = execution(stack, id);
        assert_eq!((&row["status"], &row["attempt"], calls_of(stack, id)), (&json!("completed"), &json!(1), 1), "{id}");
        let outcomes: Vec<_> = dispatched_to(stack, id).into_iter().flat_map(|seen| seen.outcomes).collect();
        let ran: Vec<_> = outcomes.iter().filter(|outcome| outcome.body().get("duplicate").is_none()).collect();
        assert!(outcomes.iter().all(Outcome::is_success) && ran.len() == 1, "{outcomes:?}");
        assert_completed(ran[0], &row);
    }
    assert_eq!(stack.agent.call_count(), ids.len());
}

#[tokio::test]
async fn a_dispatch_that_fails_half_way_runs_each_trigger_once() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 40);
    stack.pool(4, &[]);
    // Lambda's own word for good, in the first attempt alone: half of them are queued.
    let denied: Vec<_> = ids.iter().step_by(2).map(|id| stack.lambda.inject(of(id, Fault::Deny).once())).collect();
    let event = order();
    let seen = publish(&stack, &event).await;
    assert_dispatch_failed(&seen.outcomes[0], "20 of 40", &stack);
    let message = seen.outcomes[0].body()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("Lambda Invoke failed: AccessDeniedException"), "{message}");
    assert_eq!(seen.outcomes.len(), 2);
    assert_summary(&seen.outcomes[1], &event, json!({"subscriptions": 40, "dispatched": 40}));
    assert!(denied.iter().all(|rule| rule.hits() == 1));
    assert_eq!((stack.lambda.requests(), stack.lambda.dispatched().len()), (80, 60));
    assert_each_ran_once(&stack, &ids);
    stack.assert_clean();
}

#[tokio::test]
async fn invokes_that_fail_beyond_the_retries_lose_and_double_nothing() {
    const TRIES: usize = 5;
    let stack = stack().await;
    let ids = subscribe_many(&stack, 5);
    stack.pool(3, &[]);
    let faults = [Fault::Throttle, Fault::Reset, Fault::ApplyThenLose, Fault::ServerError];
    let faults: Vec<_> =
        ids.iter().zip(faults).map(|(id, fault)| stack.lambda.inject(of(id, fault).times(TRIES))).collect();
    let event = order();
    let request_id = stack.invoke_async(Invocation::event(&event).timeout(Duration::from_secs(60)));
    stack.lambda.idle().await;
    let seen = invocation(&stack, &request_id);
    assert_dispatch_failed(&seen.outcomes[0], "4 of 5", &stack);
    assert_summary(&seen.outcomes[1], &event, json!({"subscriptions": 5, "dispatched": 5}));
    assert_eq!(seen.outcomes.len(), 2);
    assert!(faults.iter().all(|rule| rule.hits() == TRIES));
    let queued: Vec<_> = ids.iter().map(|id| dispatched_to(&stack, id).len()).collect();
    assert_eq!(queued, [1, 1, TRIES + 1, 1, 2], "what was queued and not answered is queued again");
    assert_each_ran_once(&stack, &ids);
    stack.assert_clean();
}

#[tokio::test]
async fn invokes_that_recover_within_the_retries_cost_nothing() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 4);
    stack.pool(2, &[]);
    for (id, fault) in ids.iter().zip([Fault::Throttle, Fault::Reset, Fault::ApplyThenLose]) {
        stack.lambda.inject(of(id, fault).once());
    }
    let event = order();
    let seen = publish(&stack, &event).await;
    assert_eq!(seen.outcomes.len(), 1);
    assert_summary(&seen.outcomes[0], &event, json!({"subscriptions": 4, "dispatched": 4}));
    assert_each_ran_once(&stack, &ids);
    stack.assert_clean();
}

#[tokio::test]
async fn an_invoke_without_an_answer_is_tried_again_and_given_up_in_time() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 3);
    stack.pool(2, &[]);
    let once = stack.lambda.inject(of(&ids[0], Fault::Hang).once());
    let lost = stack.lambda.inject(of(&ids[1], Fault::ApplyThenHang).once());
    // Longer than all tries of one attempt.
    let never = stack.lambda.inject(of(&ids[2], Fault::Hang).times(4));
    let event = order();
    let request_id = stack.invoke_async(Invocation::event(&event).timeout(Duration::from_secs(60)));
    stack.lambda.idle().await;
    let seen = invocation(&stack, &request_id);
    assert_dispatch_failed(&seen.outcomes[0], "1 of 3", &stack);
    let message = seen.outcomes[0].body()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("no answer within 20 s; before: Lambda Invoke got no answer: no answer within 5 s"),
        "{message}"
    );
    assert_summary(&seen.outcomes[1], &event, json!({"subscriptions": 3, "dispatched": 3}));
    assert_eq!((once.hits(), lost.hits(), never.hits()), (1, 1, 4));
    assert_each_ran_once(&stack, &ids);
    stack.assert_clean();
}

#[tokio::test]
async fn an_invoke_is_signed_as_it_is_sent() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 2);
    let token = crate::agent::authorization::TOKEN;
    stack.lambda.require_signature(crate::agent::authorization::verifier("lambda", "us-east-1"));
    let function = stack.function(&[("AWS_SESSION_TOKEN", token)]).await;
    let event = Invocation::event(&order()).function_arn(format!("{FUNCTION_ARN}:$LATEST"));
    let outcome = function.invoke(event).await;
    assert_eq!(outcome.body()["dispatched"], 2, "{outcome:?}");
    assert_eq!(stack.lambda.accepted(), ids.len());
}

#[tokio::test]
async fn a_dispatcher_killed_half_way_is_made_up_for_by_its_retry() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 30);
    stack.pool(3, &[]);
    let gate = Gate::new();
    // The first sixteen go out at once; of these ten are queued when it dies.
    stack.lambda.inject(Rule::new("Invoke", Fault::GateBefore(gate.clone())).after(10).times(6));
    let event = order();
    let request_id = stack.invoke_async(Invocation::event(&event));
    gate.reached().await;
    assert!(stack.lambda.kill(&request_id));
    // What was under way arrives all the same.
    gate.release();
    stack.lambda.idle().await;
    let seen = invocation(&stack, &request_id);
    assert_eq!((seen.outcomes.len(), &seen.outcomes[0]), (2, &Outcome::Died));
    assert_summary(&seen.outcomes[1], &event, json!({"subscriptions": 30, "dispatched": 30}));
    assert!(stack.lambda.dispatched().len() >= 40);
    assert_each_ran_once(&stack, &ids);
    stack.assert_clean();
}

#[tokio::test]
async fn an_event_without_a_uuid_is_known_by_the_request_that_dispatched_it() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 3);
    stack.pool(2, &[]);
    for event in
        [order_with(json!({"id": "order-7"})), order_with(json!({"id": null})), order_with(json!({"time": null}))]
    {
        let before = stack.agent.call_count();
        let denied = stack.lambda.inject(of(&ids[1], Fault::Deny).once());
        let seen = publish(&stack, &event).await;
        assert_dispatch_failed(&seen.outcomes[0], "1 of 3", &stack);
        assert_eq!((seen.outcomes.len(), denied.hits()), (2, 1));
        assert_summary(&seen.outcomes[1], &event, json!({"subscriptions": 3, "dispatched": 3}));
        assert_eq!(stack.agent.call_count() - before, 3, "what is dispatched again is absorbed");
        for id in &ids {
            let sent = dispatched_to(&stack, id).pop().unwrap().json();
            assert_eq!(sent["_dispatch"]["requestId"], seen.request_id);
            let guard = stack.dynamodb.item(&format!("TRIGGER#{id}"), &format!("FIRE#{}", seen.request_id)).unwrap();
            let sk = format!("EXECUTION#{}", guard["executionId"].as_str().unwrap());
            let row = stack.dynamodb.item(&format!("TRIGGER#{id}"), &sk).unwrap();
            assert_eq!((&row["status"], row.get("eventId")), (&json!("completed"), event.get("id")));
        }
    }
    assert!(ids.iter().all(|id| stack.dynamodb.executions(id).len() == 3));

    // Nobody can tell of such an event whether another request brings it again.
    let seen = publish(&stack, &order_with(json!({"id": "order-7"}))).await;
    assert!(seen.outcome().unwrap().is_success());
    assert_eq!(stack.agent.call_count(), 12);
    stack.assert_clean();
}

#[tokio::test]
async fn a_dispatched_event_brought_again_by_a_third_party_keeps_its_identity() {
    let stack = stack().await;
    subscribe(&stack, "t", json!({}));
    let function = stack.function(&[]).await;
    let dispatch = json!({"triggerId": "t", "userId": USER, "requestId": "request-of-the-dispatcher"});
    let event = order_with(json!({"id": "order-7", "_dispatch": dispatch}));
    for _ in 0..3 {
        assert!(function.invoke(Invocation::event(&event)).await.is_success());
    }
    assert_eq!((execution(&stack, "t")["attempt"].clone(), stack.agent.call_count()), (json!(1), 1));
    assert!(stack.dynamodb.item("TRIGGER#t", "FIRE#request-of-the-dispatcher").is_some());
    stack.assert_clean();
}

#[tokio::test]
async fn an_event_near_lambdas_limit_is_handed_on() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 2);
    stack.pool(2, &[]);
    let text = "x".repeat(standins::lambda_api::MAX_EVENT_BYTES - 2048);
    let event = order_with(json!({"detail": {"text": text}}));
    let seen = publish(&stack, &event).await;
    assert_summary(seen.outcome().unwrap(), &event, json!({"subscriptions": 2, "dispatched": 2}));
    assert_each_ran_once(&stack, &ids);
    stack.assert_clean();
}

#[tokio::test]
async fn an_event_is_handed_on_to_the_alias_that_took_it_in_the_same_trace() {
    let stack = stack().await;
    let ids = subscribe_many(&stack, 2);
    let alias = format!("{FUNCTION_ARN}:live");
    let traces = ["1-5759e988-bd862e3fe1be46a994272793", "1-5759e988-bd862e3fe1be46a994272794"]
        .map(|root| format!("Root={root};Parent=53995c3f42cd8ad8;Sampled=1"));
    // Two at once in one process, which has one environment for both.
    let function = stack.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "2")]).await;
    let gate = Gate::new();
    stack.lambda.inject(Rule::new("Invoke", Fault::GateBefore(gate.clone())));
    let events = [order(), order()];
    let invoke = |at: usize| function.invoke(Invocation::event(&events[at]).function_arn(&alias).trace_id(&traces[at]));
    let release = async {
        gate.reached_by(4).await;
        gate.release();
    };
    let (first, second, ()) = tokio::join!(invoke(0), invoke(1), release);
    for (outcome, event) in [(first, &events[0]), (second, &events[1])] {
        assert_summary(&outcome, event, json!({"subscriptions": 2, "dispatched": 2}));
    }
    for id in &ids {
        let handed_on = dispatched_to(&stack, id);
        assert_eq!(handed_on.len(), 2);
        assert!(handed_on.iter().all(|seen| seen.function == alias), "{handed_on:#?}");
        for (event, trace) in events.iter().zip(&traces) {
            let of_event = handed_on.iter().find(|seen| seen.event()["id"] == event["id"]);
            assert_eq!(of_event.unwrap().trace_id.as_ref(), Some(trace));
        }
    }
}
