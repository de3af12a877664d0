//! Cases 4, 5 and 7 to 11: which deliveries are the same fire.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use standins::{CognitoOperation, Gate, Invocation, Outcome, Script, TokenAnswer, runtime_api::scheduled_event};

use crate::support::one_fire::{PROMPT, TIME, event_of, short_lease};
use crate::support::{
    alone, assert_absent, assert_completed, assert_duplicate, assert_failed, crowd, execution, gated, stack,
};

fn fire_without_time(trigger_id: &str) -> Invocation {
    Invocation::event(&scheduled_event(trigger_id, PROMPT, None))
}

#[tokio::test]
async fn f04_lambdas_retry_of_a_completed_fire_without_time_replays_it() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire_without_time("t").request_id("same")).await;
    let row = execution(&stack, "t");
    assert_completed(&outcome, &row);
    assert_absent(&row, &["scheduledTime"]);
    // Another environment, another moment: only the guard remembers the id.
    let outcome = stack.function(&[]).await.invoke(fire_without_time("t").request_id("same")).await;
    assert_eq!(execution(&stack, "t"), row);
    assert_duplicate(&outcome, &row);
    assert_eq!(stack.agent.call_count(), 1);
    let guard = stack.dynamodb.item("TRIGGER#t", "FIRE#same").unwrap();
    assert_eq!(
        guard,
        json!({"PK": "TRIGGER#t", "SK": "FIRE#same", "executionId": row["executionId"], "ttl": row["ttl"]})
    );
    stack.assert_clean();
}

#[tokio::test]
async fn f04_lambdas_retry_of_a_retryable_fire_without_time_is_its_next_attempt() {
    let stack = stack().await;
    stack.agent.queue(Script::retry_after(429, 3600));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire_without_time("t").request_id("same")).await;
    let first = execution(&stack, "t");
    assert_failed(&outcome, &first, "AgentUnavailable", true);
    let outcome = function.invoke(fire_without_time("t").request_id("same")).await;
    let second = execution(&stack, "t");
    assert_completed(&outcome, &second);
    assert_eq!((&second["executionId"], &second["attempt"]), (&first["executionId"], &json!(2)));
    for name in ["startedAt", "ttl", "sessionId"] {
        assert_eq!(second[name], first[name], "{name}");
    }
    assert_ne!(second["owner"], first["owner"]);
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn f04_a_twin_of_a_fire_without_time_waits_and_replays() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.default(gated(&gate));
    let (one, other) = (stack.function(&[short_lease()]).await, stack.function(&[short_lease()]).await);
    let twin = || fire_without_time("t").request_id("same");
    let owner = one.invoke(twin());
    let waiting = async {
        gate.reached().await;
        let looked_again = async {
            while stack.dynamodb.count_for("GetItem", "EXECUTION#") == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            gate.release();
        };
        tokio::join!(other.invoke(twin()), looked_again).0
    };
    let (owner, waiting) = tokio::join!(owner, waiting);
    let row = execution(&stack, "t");
    assert_completed(&owner, &row);
    assert_duplicate(&waiting, &row);
    assert_eq!(row["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f05_two_fires_that_share_id_and_time_both_run() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for request_id in ["first", "second"] {
        let outcome = function.invoke(fire_without_time("t").request_id(request_id)).await;
        assert_eq!(outcome.body()["success"], true, "{outcome:?}");
        assert_eq!(outcome.body().get("duplicate"), None);
    }
    let rows = stack.dynamodb.executions("t");
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["status"] == "completed"), "{rows:#?}");
    // Ids sort by time, so the older run comes first.
    assert_eq!((&rows[0]["lambdaRequestId"], &rows[1]["lambdaRequestId"]), (&json!("first"), &json!("second")));
    assert_eq!((stack.agent.call_count(), stack.cognito.count(CognitoOperation::Token)), (2, 1));
    let sessions: Vec<_> = stack.agent.calls().iter().map(|call| call.field("sessionId").to_owned()).collect();
    assert_ne!(sessions[0], sessions[1]);
    stack.assert_clean();
}

#[tokio::test]
async fn f07_a_completed_fire_is_not_run_again() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::event(&event_of("t"))).await;
    let row = execution(&stack, "t");
    assert_completed(&outcome, &row);
    for lambda in [&function, &stack.function(&[]).await] {
        let again = lambda.invoke(Invocation::event(&event_of("t"))).await;
        assert_eq!(execution(&stack, "t"), row);
        assert_duplicate(&again, &row);
    }
    assert_eq!(stack.agent.call_count(), 1);
    assert_eq!(stack.dynamodb.count("UpdateItem"), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f08_a_failed_fire_fails_again_at_once() {
    let stack = stack().await;
    stack.agent.queue(Script::status(422, r#"{"message":"no such marmalade"}"#));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::event(&event_of("t")).request_id("same")).await;
    let row = execution(&stack, "t");
    assert_failed(&outcome, &row, "AgentRejected", false);
    assert!(row["error"].as_str().unwrap().contains("marmalade"));
    for request_id in ["same", "other"] {
        let again = function.invoke(Invocation::event(&event_of("t")).request_id(request_id)).await;
        assert_eq!(again.error_type(), outcome.error_type());
        assert_eq!(again.body(), outcome.body());
        assert_eq!(execution(&stack, "t"), row);
    }
    assert_eq!((stack.agent.call_count(), stack.dynamodb.count("UpdateItem")), (1, 1));
    stack.assert_clean();
}

#[tokio::test]
async fn f09_a_fire_is_the_same_under_another_event_id() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::event(&event_of("t"))).await;
    let row = execution(&stack, "t");
    assert_completed(&outcome, &row);
    let mut event = event_of("t");
    event["id"] = json!("00000000-0000-4000-8000-000000000000");
    event["time"] = json!("2026-02-02T02:02:02Z");
    let again = function.invoke(Invocation::event(&event)).await;
    assert_eq!(execution(&stack, "t"), row);
    assert_duplicate(&again, &row);

    let mut event = event_of("t");
    event["detail"]["scheduledTime"] = json!("2026-01-31T07:00:00.001Z");
    let other = function.invoke(Invocation::event(&event)).await;
    assert_eq!(other.body().get("duplicate"), None, "another instant is another fire");
    assert_eq!((stack.dynamodb.executions("t").len(), stack.agent.call_count()), (2, 2));
    stack.assert_clean();
}

#[tokio::test]
async fn f10_fifty_concurrent_deliveries_make_one_call() {
    let _machine = alone().await;
    let crowd = crowd(50);
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.default(gated(&gate));
    stack.cognito.answer_always(CognitoOperation::Token, TokenAnswer::Delay(Duration::from_millis(300)));
    let env = [("AWS_LAMBDA_MAX_CONCURRENCY", "25")];
    let functions = [stack.function(&env).await, stack.function(&env).await];
    let answered = std::cell::Cell::new(0);
    let deliveries = (0..crowd).map(|n| {
        let function = &functions[n % 2];
        let (answered, gate) = (&answered, &gate);
        async move {
            let outcome = function.invoke(Invocation::event(&event_of("t"))).await;
            answered.set(answered.get() + 1);
            if answered.get() == crowd - 1 {
                gate.release();
            }
            outcome
        }
    });
    let outcomes = join_all(deliveries).await;
    let row = execution(&stack, "t");
    let (owners, others): (Vec<_>, Vec<_>) = outcomes.iter().partition(|o| o.body().get("duplicate").is_none());
    assert_eq!((owners.len(), others.len()), (1, crowd - 1));
    assert_completed(owners[0], &row);
    let mut running = row.clone();
    running["status"] = json!("running");
    running.as_object_mut().unwrap().remove("requestId");
    for other in others {
        assert_duplicate(other, &running);
    }
    assert_eq!((stack.agent.call_count(), &row["attempt"]), (1, &json!(1)));
    assert_eq!(stack.cognito.count(CognitoOperation::Token), 2, "one for each process");
    stack.assert_clean();
}

#[tokio::test]
async fn f11_hostile_ids_are_stored_and_found_exactly() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let longest = format!("{}é", "x".repeat(254));
    assert_eq!(longest.len(), 256);
    for id in ["a#EXECUTION#b", "#", " padded ", "täglich–日本🦀", "'; DROP TABLE --", "${jndi:ldap}", &longest]
    {
        let mut event = event_of(id);
        event["detail"]["userId"] = json!(id);
        event["detail"]["agentId"] = json!(id);
        for is_again in [false, true] {
            let outcome = function.invoke(Invocation::event(&event)).await;
            let row = execution(&stack, id);
            if is_again {
                assert_duplicate(&outcome, &row);
            } else {
                assert_completed(&outcome, &row);
            }
            for name in ["triggerId", "userId", "agentId"] {
                assert_eq!(row[name], id);
            }
        }
        let call = stack.agent.calls().pop().unwrap();
        assert_eq!((call.field("targetUserId"), call.field("agentId")), (id, id));
    }
    assert_eq!((stack.agent.call_count(), stack.dynamodb.scan().len()), (7, 7));
    stack.assert_clean();
}

#[tokio::test]
async fn f11_the_same_instant_in_another_notation_is_the_same_fire() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for time in [TIME, "2026-01-31T07:00:00+00:00", "2026-01-31T08:00:00.000+01:00", "2026-01-31t07:00:00z"] {
        outcomes.push(function.invoke(Invocation::scheduled("t", PROMPT, time)).await);
    }
    let row = execution(&stack, "t");
    assert_completed(&outcomes[0], &row);
    for again in &outcomes[1..] {
        assert_duplicate(again, &row);
    }
    assert_eq!((&row["scheduledTime"], stack.agent.call_count()), (&json!(TIME), 1));
    stack.assert_clean();
}
