//! What is lost on the way: the process, the acknowledgement, a look.

use std::time::Duration;

use standins::{CognitoOperation, Fault, Gate, Rule, Step, TokenAnswer};

use super::*;
use crate::support::one_fire::{TRIGGER, assert_error, lease_is_over};
use crate::support::{LIMIT, killed_when, lease_over, stored};

/// An agent that has the call and answers only when the gate opens.
fn held(gate: &Gate) -> Script {
    Script::acknowledges(Some(120)).before_head(Step::Gate(gate.clone()))
}

#[tokio::test]
async fn a_process_that_dies_after_the_call_leaves_the_run_to_its_agent() {
    for by_look in [false, true] {
        let stack = stack().await;
        let gate = Gate::new();
        stack.agent.queue(held(&gate));
        killed_when(gate.reached(), &function(&stack).await, fire()).await;
        let first = last_look(&stack);
        lease_is_over(&stack).await;
        let function = function(&stack).await;
        if by_look {
            assert!(deliver(&function, &first).await);
        } else {
            assert_left(&stack, &function.invoke(fire()).await);
        }
        let row = execution(&stack);
        assert_eq!((&row["ackLost"], &row["status"]), (&serde_json::json!(true), &serde_json::json!("running")));
        assert_eq!(row.get("heartbeatSeconds"), None);
        let until = row["leaseUntil"].as_i64().unwrap();
        assert!(until <= now_millis() + 300_000 && until > now_millis() + 200_000, "{until}");
        // There is a timer for the first report.
        let look = last_look(&stack);
        assert_eq!(stack.sqs.sent().len(), 2);
        assert!((290..=302).contains(&look.delay_seconds), "{look:?}");
        // The same delivery again finds the agent's lease.
        assert_left(&stack, &function.invoke(fire()).await);
        if by_look {
            end_lease(&stack);
            assert!(deliver(&function, &look).await);
            assert_error(&function.invoke(fire()).await, "ReportOverdue", false);
        } else {
            assert_eq!(reports(&stack, &function, json!({"status": "completed", "output": "done"})).await.0, 200);
            assert_eq!(execution(&stack)["status"], "completed");
        }
        assert_eq!(stack.agent.call_count(), 1);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn a_lease_that_passes_before_the_acknowledgement_leaves_the_run_and_the_turn_to_the_agent() {
    let stack = stack().await;
    stored::store(&stack, json!({"overlap": "skip"}));
    let function = function(&stack).await;
    let gate = Gate::new();
    stack.agent.queue(held(&gate));
    let away = async {
        gate.reached().await;
        let away = stack.dynamodb.inject(Rule::new("UpdateItem", Fault::Throttle));
        tokio::time::sleep(lease_over(1)).await;
        stack.dynamodb.clear_faults();
        away.hits()
    };
    let (outcome, refused) = tokio::join!(function.invoke(fire()), away);
    assert!(refused > 0, "no heartbeat was refused");
    let row = assert_left(&stack, &outcome);
    assert_eq!(row["ackLost"], true);
    // The agent is at work, so the next fire has no turn.
    let lock = stack.dynamodb.item(&format!("TRIGGER#{TRIGGER}"), "RUNNING#user-1").unwrap();
    assert_eq!(lock["leaseUntil"], turn_until(&row));
    let next = fire_with(&json!({"detached": settings(), "scheduledTime": "2026-01-31T08:00:00Z"}));
    let skipped = function.invoke(next).await;
    assert_eq!(skipped.body()["skipReason"], "Overlap", "{skipped:?}");
    assert_eq!(stack.agent.call_count(), 1);
}

#[tokio::test]
async fn a_lost_acknowledgement_leaves_the_run_to_its_agent() {
    let stack = stack().await;
    stack.agent.queue(Script::reset_before_head());
    let function = function(&stack).await;
    let row = assert_left(&stack, &function.invoke(fire()).await);
    assert_eq!(row["ackLost"], true);
    assert_eq!(reports(&stack, &function, json!({"status": "running"})).await.0, 200);
    // Nothing was promised, so nothing is demanded before the deadline.
    assert_eq!(execution(&stack)["leaseUntil"], row["deadline"]);
    assert_eq!(stack.agent.call_count(), 1);
}

/// A load balancer gives up waiting, and the agent works on.
#[tokio::test]
async fn an_answer_that_a_gateway_gives_in_the_agents_place_is_a_lost_acknowledgement() {
    for status in [502, 503, 504] {
        let stack = stack().await;
        stack.agent.queue(Script::status(status, "upstream request timeout"));
        let function = function(&stack).await;
        let row = assert_left(&stack, &function.invoke(fire()).await);
        assert_eq!(row["ackLost"], true, "{status}");
        assert_eq!(reports(&stack, &function, json!({"status": "completed", "output": "done"})).await.0, 200);
        assert_eq!(execution(&stack)["status"], "completed");
        assert_eq!(stack.agent.call_count(), 1);
    }
    // The agent's own failure ends its run.
    let stack = stack().await;
    stack.agent.queue(Script::status(500, "no model"));
    assert_error(&function(&stack).await.invoke(fire()).await, "AgentFailed", false);
    assert_eq!(execution(&stack).get("detachedAt"), None);
}

/// The agent refuses the call until the run's time is over. Then it could report nothing in time.
#[tokio::test]
async fn no_agent_is_called_once_the_time_of_its_run_is_over() {
    let stack = stack().await;
    stack.agent.queue(Script::retry_after(503, 4));
    let function = function(&stack).await;
    let fire = || fire_with(&json!({"detached": {"timeoutSeconds": 3}})).request_id("request-1");
    assert_error(&function.invoke(fire()).await, "AgentUnavailable", true);
    assert_eq!(stack.agent.call_count(), 1);
    // The next attempt has as much time again.
    let row = assert_left(&stack, &function.invoke(fire()).await);
    assert_eq!((stack.agent.call_count(), &row["attempt"]), (2, &json!(2)));
}

/// The token comes when the run's time is over.
#[tokio::test]
async fn no_agent_is_called_first_once_the_time_of_its_run_is_over() {
    let stack = stack().await;
    stack.cognito.answer_next(CognitoOperation::Token, [TokenAnswer::Delay(Duration::from_millis(1_500))]);
    let function = function(&stack).await;
    let fire = || fire_with(&json!({"detached": {"timeoutSeconds": 1}})).request_id("request-1");
    assert_error(&function.invoke(fire()).await, "DeadlineExceeded", true);
    assert_eq!(stack.agent.call_count(), 0);
    assert_left(&stack, &function.invoke(fire()).await);
    assert_eq!(stack.agent.call_count(), 1);
}

#[tokio::test]
async fn a_report_that_overtakes_the_hand_over_counts() {
    for (status, error_type) in [("completed", None), ("failed", Some("AgentFailed"))] {
        let stack = stack().await;
        let gate = Gate::new();
        stack.agent.queue(held(&gate));
        let (function, other) = (function(&stack).await, function(&stack).await);
        let report_first = async {
            gate.reached().await;
            let (answered, body) = reports(&stack, &other, json!({"status": "running"})).await;
            assert_eq!((answered, &body["leaseUntil"]), (200, &Value::Null), "the lease is the invocation's");
            let end = json!({"status": status, "output": "done"});
            assert_eq!(reports(&stack, &other, end).await.0, 200);
            gate.release();
        };
        let (outcome, ()) = tokio::join!(function.invoke(fire()), report_first);
        match error_type {
            None => {
                assert_eq!((&outcome.body()["status"], &outcome.body()["detached"]), (&json!(status), &json!(true)))
            }
            Some(error_type) => {
                assert_error(&outcome, error_type, false);
            }
        }
        let row = execution(&stack);
        assert_eq!(row["status"], status, "{row:#}");
        assert_eq!(row.get("detachedAt"), None);
        assert_eq!(stack.agent.call_count(), 1);
    }
}

/// The agent says that it has begun, and promises nothing. Its acknowledgement is lost, with its function or alone.
#[tokio::test]
async fn a_report_before_a_lost_acknowledgement_is_the_first_one() {
    for is_killed in [true, false] {
        let stack = stack().await;
        let gate = Gate::new();
        stack.agent.queue(held(&gate).before_head(Step::Rst));
        let (first, other) = (function(&stack).await, function(&stack).await);
        let begun = async {
            gate.reached().await;
            assert_eq!(reports(&stack, &other, json!({"status": "running"})).await.0, 200);
            assert_eq!(execution(&stack).get("firstReportSeconds"), None);
        };
        if is_killed {
            killed_when(begun, &first, fire()).await;
            lease_is_over(&stack).await;
            assert!(deliver(&other, &last_look(&stack)).await);
        } else {
            let released = async {
                begun.await;
                gate.release();
            };
            let (outcome, ()) = tokio::join!(first.invoke(fire()), released);
            assert_left(&stack, &outcome);
        }
        let row = execution(&stack);
        assert_eq!((&row["ackLost"], &row["leaseUntil"]), (&json!(true), &row["deadline"]), "{row:#}");
        // The next look finds nothing overdue.
        assert!(deliver(&other, &last_look(&stack)).await);
        assert_eq!(execution(&stack)["status"], "running");
        assert_eq!(reports(&stack, &other, json!({"status": "completed", "output": "done"})).await.0, 200);
        assert_eq!(execution(&stack)["status"], "completed");
    }
}

#[tokio::test]
async fn there_is_no_call_without_a_timer() {
    let stack = stack().await;
    let function = function(&stack).await;
    stack.sqs.fail(&[500, 503, 500]);
    assert_error(&function.invoke(fire()).await, "DispatchFailed", true);
    assert_eq!((stack.agent.call_count(), stack.sqs.sent().len()), (0, 0));
    let row = execution(&stack);
    assert_eq!((&row["status"], &row["retryable"]), (&json!("failed"), &json!(true)));
    let key = row["reportKey"].clone();
    // Another attempt has another token.
    let row = assert_left(&stack, &function.invoke(fire()).await);
    assert_ne!(row["reportKey"], key);
    assert_eq!((stack.agent.call_count(), &row["attempt"]), (1, &json!(2)));
}

#[tokio::test]
async fn a_look_comes_again_if_the_next_one_cannot_be_sent() {
    let stack = stack().await;
    let function = function(&stack).await;
    assert_left(&stack, &function.invoke(fire()).await);
    let look = last_look(&stack);
    // Neither the next one, nor this one anew.
    stack.sqs.fail(&[500, 500, 500, 500, 500, 500]);
    assert!(!deliver(&function, &look).await, "the queue must deliver it again");
    assert!(deliver(&function, &look).await);
    assert_eq!(stack.sqs.sent().len(), 2);
    // A look of another attempt, and one of a run that is not there, change nothing.
    let mut forged = look.clone();
    forged.body = forged.body.replace(execution(&stack)["reportKey"].as_str().unwrap(), "0123");
    let mut unknown = look.clone();
    unknown.body = unknown.body.replace(TRIGGER, "nothing");
    end_lease(&stack);
    let row = execution(&stack);
    for look in [&forged, &unknown] {
        assert!(deliver(&function, look).await);
    }
    assert_eq!((execution(&stack), stack.sqs.sent().len()), (row, 2));
}

/// The queue itself brings a message again only after 90 minutes.
#[tokio::test]
async fn a_look_that_fails_comes_again_after_a_minute() {
    let stack = stack().await;
    let function = function(&stack).await;
    assert_left(&stack, &function.invoke(fire()).await);
    end_lease(&stack);
    let mut look = last_look(&stack);
    stack.dynamodb.inject(Rule::any(Fault::Throttle));
    for tries in 1..=2 {
        assert!(deliver(&function, &look).await);
        look = last_look(&stack);
        assert_eq!((&look.json()["_look"]["tries"], look.delay_seconds), (&json!(tries), 60));
    }
    // Not for ever.
    let mut last = look.clone();
    last.body = last.body.replace("\"tries\":2", "\"tries\":20");
    assert!(!deliver(&function, &last).await);
    stack.dynamodb.clear_faults();
    assert!(deliver(&function, &look).await);
    assert_eq!(execution(&stack)["errorType"], "ReportOverdue");
}

#[tokio::test]
async fn sigterm_after_the_call_leaves_the_run_to_its_agent() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(held(&gate));
    let function = function(&stack).await;
    let terminate = async {
        gate.reached().await;
        function.process.terminate();
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire()), terminate);
    let row = assert_left(&stack, &outcome);
    assert_eq!(row["ackLost"], true);
    assert!(function.process.wait_exit(LIMIT).await.is_some());
    assert_eq!(stack.agent.call_count(), 1);
}

/// The agent has reported before the hand-over, and again a moment after it.
#[tokio::test]
async fn a_heartbeat_a_moment_after_the_hand_over_extends_the_lease() {
    let stack = stack().await;
    stack.agent.queue(Script::reset_before_head());
    let function = function(&stack).await;
    let row = assert_left(&stack, &function.invoke(fire()).await);
    assert!(row["leaseUntil"].as_i64() < row["deadline"].as_i64(), "the time for the first report: {row:#}");
    crate::support::one_fire::update(&stack, &json!({"lastEventAt": row["detachedAt"]}));
    let (status, body) = reports(&stack, &function, json!({"status": "running"})).await;
    assert_eq!((status, &body["leaseUntil"]), (200, &row["deadline"]));
    assert_eq!(execution(&stack)["leaseUntil"], row["deadline"]);
}

/// The clock that wrote the lease was ahead of this one.
#[tokio::test]
async fn a_heartbeat_never_shortens_a_lease() {
    let stack = stack().await;
    let function = function(&stack).await;
    assert_left(&stack, &function.invoke(fire()).await);
    let until = now_millis() + 400_000;
    crate::support::one_fire::update(&stack, &json!({"leaseUntil": until}));
    let (status, body) = reports(&stack, &function, json!({"status": "running"})).await;
    assert_eq!((status, &body["leaseUntil"]), (200, &json!(until)));
    assert_eq!((&execution(&stack)["events"], &execution(&stack)["leaseUntil"]), (&json!(1), &json!(until)));
}

/// Before the hand-over the lease is the invocation's, and nothing that an agent could keep.
#[tokio::test]
async fn a_heartbeat_before_the_hand_over_is_told_no_lease() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(held(&gate));
    let (function, beside) = (function(&stack).await, function(&stack).await);
    let reporting = async {
        gate.reached().await;
        for heartbeat in ["noted", "heard, for it comes a moment after the first"] {
            let (status, body) = reports(&stack, &function, json!({"status": "running"})).await;
            assert_eq!((status, &body["leaseUntil"]), (200, &Value::Null), "{heartbeat}");
            assert_eq!(execution(&stack)["events"], 1, "{heartbeat}");
        }
        gate.release();
    };
    let (outcome, ()) = tokio::join!(beside.invoke(fire()), reporting);
    assert_left(&stack, &outcome);
}

/// Reports may overtake one another, and one may leave out what another has said.
#[tokio::test]
async fn a_heartbeat_never_lowers_what_was_used() {
    let stack = stack().await;
    let function = function(&stack).await;
    assert_left(&stack, &function.invoke(fire()).await);
    let beats = [json!({"inputTokens": 50, "outputTokens": 4}), json!({"inputTokens": 7}), json!({"outputTokens": 9})];
    for usage in beats {
        assert_eq!(reports(&stack, &function, json!({"status": "running", "usage": usage})).await.0, 200);
        // The next one comes later.
        crate::support::one_fire::update(&stack, &json!({"lastEventAt": "2026-01-31T07:00:00.000Z"}));
    }
    let usage = &execution(&stack)["usage"];
    assert_eq!((&usage["inputTokens"], &usage["outputTokens"]), (&json!(50), &json!(9)), "{usage:#}");
}
