//! The ends of detached runs in the metrics: each is counted once, by the look that is sent before it is written.

use standins::{Fault, Gate, Rule, Step, own_event};

use super::*;
use crate::support::emf::{all_metrics, assert_counts};
use crate::support::killed_when;
use crate::support::one_fire::TRIGGER;

/// Delivers every look that follows an end. They come in any order, a minute later.
async fn deliver_ends(stack: &Stack, function: &Lambda) {
    let looks = stack.sqs.sent().into_iter().filter(|look| look.json()["_look"]["purpose"] == "end");
    for look in looks.rev() {
        assert!(deliver(function, &look).await);
    }
}

/// Returns the objects of metrics that count a detached run's end, and ends the process.
async fn ends(function: Lambda) -> Vec<Value> {
    all_metrics(function).await.into_iter().filter(|object| object.get("DetachedFailures").is_some()).collect()
}

#[tokio::test]
async fn a_run_that_fails_after_its_invocation_is_a_detached_failure() {
    for (end, counts, failures) in [
        ("completed", json!({"Executions": 1, "Completed": 1}), 0),
        ("failed", json!({"Executions": 1, "Failed": 1}), 1),
        ("silent", json!({"Executions": 1, "Failed": 1}), 1),
        ("cancelled", json!({"Executions": 1, "Cancelled": 1}), 0),
    ] {
        let stack = stack().await;
        let function = function(&stack).await;
        let row = assert_left(&stack, &function.invoke(fire()).await);
        let timer = last_look(&stack);
        match end {
            "silent" => {
                end_lease(&stack);
                assert!(deliver(&function, &timer).await);
            }
            "cancelled" => {
                let detail = json!({"triggerId": TRIGGER, "executionId": row["executionId"]});
                assert!(function.invoke(Invocation::event(&own_event("Cancel Execution", detail))).await.is_success());
                assert!(deliver(&function, &last_look(&stack)).await);
            }
            status => assert_eq!(reports(&stack, &function, json!({"status": status})).await.0, 200),
        }
        assert_eq!(last_look(&stack).json()["_look"]["countsEndAt"], execution(&stack)["completedAt"]);
        deliver_ends(&stack, &function).await;
        let error_type = execution(&stack).get("errorType").cloned();
        let counted = ends(function).await;
        let [object] = &counted[..] else { panic!("{end}: counted once, not {counted:#?}") };
        assert_counts(object, counts);
        assert_eq!((&object["DetachedFailures"], object.get("errorType").cloned()), (&json!(failures), error_type));
    }
}

#[tokio::test]
async fn a_silent_run_that_a_delivery_ends_is_a_detached_failure() {
    let stack = stack().await;
    let function = function(&stack).await;
    assert_left(&stack, &function.invoke(fire()).await);
    end_lease(&stack);
    assert_eq!(function.invoke(fire()).await.error_type(), "ReportOverdue");
    // Its look stops the session, and counts nothing again.
    deliver_ends(&stack, &function).await;
    let counted = ends(function).await;
    assert_eq!(counted.iter().map(|object| object["DetachedFailures"].clone()).collect::<Vec<_>>(), [json!(1)]);
}

/// The process that writes the end dies then, or it does not hear that the end is written. The agent reports again, and
/// the queue delivers the look again.
#[tokio::test]
async fn an_end_whose_writer_died_is_counted_once() {
    for (by_look, is_killed) in [(false, true), (false, false), (true, true), (true, false)] {
        let stack = stack().await;
        let function = function(&stack).await;
        assert_left(&stack, &function.invoke(fire()).await);
        let end = if by_look {
            end_lease(&stack);
            last_look(&stack).delivery()
        } else {
            report(&stack, &token(&stack), &json!({"status": "failed"}))
        };
        if is_killed {
            let gate = Gate::new();
            stack.dynamodb.inject(Rule::new("UpdateItem", Fault::GateAfter(gate.clone())).once());
            killed_when(gate.reached(), &super::function(&stack).await, end.clone()).await;
        } else {
            stack.dynamodb.inject(Rule::new("UpdateItem", Fault::ApplyThenLose).once());
            assert!(function.invoke(end.clone()).await.is_success());
        }
        assert_eq!(execution(&stack)["status"], "failed");
        assert!(function.invoke(end).await.is_success());
        deliver_ends(&stack, &function).await;
        assert_eq!(ends(function).await.len(), 1, "by a look: {by_look}, killed: {is_killed}");
    }
}

#[tokio::test]
async fn an_end_that_was_not_written_at_first_is_counted_once() {
    let stack = stack().await;
    let function = function(&stack).await;
    assert_left(&stack, &function.invoke(fire()).await);
    let refused = stack.dynamodb.inject(Rule::new("UpdateItem", Fault::ServerError));
    let outcome = function.invoke(report(&stack, &token(&stack), &json!({"status": "completed"}))).await;
    assert!(!outcome.is_success() && refused.hits() > 0, "{outcome:?}");
    // Its look finds the run at work.
    deliver_ends(&stack, &function).await;
    assert_eq!(execution(&stack)["status"], "running");
    refused.remove();
    assert_eq!(reports(&stack, &function, json!({"status": "completed"})).await.0, 200);
    deliver_ends(&stack, &function).await;
    assert_eq!(ends(function).await.len(), 1);
}

#[tokio::test]
async fn without_a_look_the_writer_of_the_end_counts_it() {
    for by_look in [false, true] {
        let stack = stack().await;
        let function = function(&stack).await;
        assert_left(&stack, &function.invoke(fire()).await);
        let timer = last_look(&stack);
        // There is no second try: each could be one more message, and the agent waits.
        stack.sqs.fail(&[500]);
        if by_look {
            end_lease(&stack);
            assert!(deliver(&function, &timer).await);
        } else {
            assert_eq!(reports(&stack, &function, json!({"status": "failed"})).await.0, 200);
        }
        assert_eq!((execution(&stack)["status"].clone(), stack.sqs.sent().len()), (json!("failed"), 1));
        let counted = ends(function).await;
        assert_eq!(counted.iter().map(|object| object["DetachedFailures"].clone()).collect::<Vec<_>>(), [json!(1)]);
    }
}

/// The report ends the run, and its look counts that. The answer says the same and ends nothing.
#[tokio::test]
async fn an_end_that_is_reported_and_answered_in_full_is_counted_once() {
    for status in ["completed", "failed"] {
        let stack = stack().await;
        let gate = Gate::new();
        let answer = Script::ok("application/json", [Step::text(r#"{"answer":"done"}"#)]);
        stack.agent.queue(answer.before_head(Step::Gate(gate.clone())));
        let (function, beside) = (function(&stack).await, stack.function(&[REPORT_URL]).await);
        let reporting = async {
            gate.reached().await;
            assert_eq!(reports(&stack, &function, json!({"status": status})).await.0, 200);
            gate.release();
        };
        let (outcome, ()) = tokio::join!(beside.invoke(fire()), reporting);
        let row = execution(&stack);
        assert_eq!(
            (outcome.is_success(), row["status"].as_str()),
            (status == "completed", Some(status)),
            "{outcome:?}"
        );
        deliver_ends(&stack, &function).await;
        let mut counted = all_metrics(function).await;
        counted.extend(all_metrics(beside).await);
        let executions: u64 = counted.iter().filter_map(|object| object["Executions"].as_u64()).sum();
        assert_eq!(executions, 1, "{counted:#?}");
        stack.assert_clean();
    }
}

/// A request that is written and whose look is lost must not wait for an agent that promised no report.
#[tokio::test]
async fn a_cancellation_whose_look_was_lost_ends_the_run_by_its_timer() {
    let stack = stack().await;
    stack.agent.default(Script::acknowledges(None));
    let function = function(&stack).await;
    let row = assert_left(&stack, &function.invoke(fire()).await);
    let timer = last_look(&stack);
    stack.sqs.fail(&[500, 500, 500]);
    let detail = json!({"triggerId": TRIGGER, "executionId": row["executionId"]});
    let outcome = function.invoke(Invocation::event(&own_event("Cancel Execution", detail))).await;
    assert!(!outcome.is_success(), "{outcome:?}");
    assert_eq!((execution(&stack)["cancelRequested"].clone(), stack.sqs.sent().len()), (json!(true), 1));
    assert!(deliver(&function, &timer).await);
    let sent = stack.sqs.sent();
    let purposes: Vec<_> = sent[1..].iter().map(|look| look.json()["_look"]["purpose"].clone()).collect();
    assert_eq!((purposes, sent[1].delay_seconds), (vec![json!("cancel"), json!("timer")], 60));
    assert!(deliver(&function, &sent[1]).await);
    assert_eq!(execution(&stack)["status"], "cancelled");
}
