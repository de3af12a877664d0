//! Reports that are refused: forged, of an earlier attempt, of another bus, or unusable.

use super::*;
use crate::support::one_fire::assert_error;

#[tokio::test]
async fn a_forged_report_is_refused_before_anything_is_written() {
    let stack = stack().await;
    let function = function(&stack).await;
    assert_left(&stack, &function.invoke(fire()).await);
    let row = execution(&stack);
    stack.dynamodb.clear_requests();
    let key = row["reportKey"].as_str().unwrap().to_owned();
    let forged = ["guess".to_owned(), key, token(&stack)[..63].to_owned(), format!("{}0", token(&stack))];
    for token in &forged {
        for status in ["running", "completed", "failed"] {
            let outcome = function.invoke(report(&stack, token, &json!({"status": status}))).await;
            assert_eq!(answer(&outcome).0, 401);
        }
    }
    let other = json!({"status": "completed", "executionId": "019c12d9-f580-7649-82fb-aad573e743bb"});
    assert_eq!(reports(&stack, &function, other).await.0, 401);
    let requests = stack.dynamodb.requests();
    assert!(requests.iter().all(|request| request.operation == "GetItem"), "{requests:?}");
    assert_eq!(execution(&stack), row);
}

#[tokio::test]
async fn an_earlier_attempts_token_is_refused() {
    let stack = stack().await;
    stack.agent.queue(Script::status(429, "busy"));
    stack.agent.queue(Script::status(429, "busy"));
    stack.agent.queue(Script::status(429, "busy"));
    let function = function(&stack).await;
    assert_error(&function.invoke(fire()).await, "AgentUnavailable", true);
    let earlier = token(&stack);
    let before = last_look(&stack);
    assert_left(&stack, &function.invoke(fire()).await);
    assert_ne!(token(&stack), earlier);
    let outcome = function.invoke(report(&stack, &earlier, &json!({"status": "completed"}))).await;
    assert_eq!(answer(&outcome).0, 401);
    // So is its look.
    end_lease(&stack);
    assert!(deliver(&function, &before).await);
    assert_eq!(execution(&stack)["status"], "running");
}

#[tokio::test]
async fn the_bus_of_reports_carries_reports_alone() {
    let stack = stack().await;
    let function = function(&stack).await;
    let command = bus_event("agent-trigger", "Run Trigger", json!({"triggerId": "trigger-1", "userId": "user-1"}));
    let outcome = function.invoke(Invocation::event(&json!({"_from": "report-bus", "_event": command}))).await;
    assert_error(&outcome, "InvalidEvent", false);
    let unusable = bus_event("my.agent", "Agent Report", json!({"status": "nearly"}));
    let outcome = function.invoke(Invocation::event(&json!({"_from": "report-bus", "_event": unusable}))).await;
    assert_error(&outcome, "InvalidEvent", false);
    // On any other bus it is an event like any other.
    let detail = json!({"token": "t", "triggerId": "trigger-1", "executionId": "e", "status": "completed"});
    let outcome = function.invoke(Invocation::event(&bus_event("my.agent", "Agent Report", detail))).await;
    assert_eq!(outcome.body()["subscriptions"], 0, "{outcome:?}");
}
