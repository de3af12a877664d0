//! The ends of detached runs: by a report, by silence, by a cancellation.

use serde_json::{Value, json};
use standins::{Fault, Gate, Outcome, Rule, Step, own_event};

use super::*;
use crate::support::one_fire::{TRIGGER, assert_error};
use crate::support::stored;

#[tokio::test]
async fn a_run_goes_on_after_its_invocation_and_ends_by_its_report() {
    let stack = stack().await;
    let function = function(&stack).await;
    let before = now_millis();
    let row = assert_left(&stack, &function.invoke(fire()).await);
    assert_eq!(row["heartbeatSeconds"], 120);
    assert_eq!(row.get("ackLost"), None);
    let (until, deadline) = (row["leaseUntil"].as_i64().unwrap(), row["deadline"].as_i64().unwrap());
    assert!((before + 360_000..=now_millis() + 360_000).contains(&until), "{until}");
    assert!((before + 7_200_000..=now_millis() + 7_200_000).contains(&deadline), "{deadline}");
    assert!(row["ttl"].as_i64().unwrap() >= deadline / 1000 + 86_400);

    let calls = stack.agent.calls();
    let callback = calls[0].callback().unwrap();
    assert_eq!(callback["executionId"], row["executionId"]);
    assert_eq!(callback["triggerId"], TRIGGER);
    assert_eq!(callback["url"], "https://reports.example.com/reports");
    assert_eq!(callback["token"].as_str().unwrap().len(), 64);
    assert!(callback["deadline"].as_str().unwrap().ends_with('Z'));
    let look = last_look(&stack);
    assert_eq!(look.delay_seconds, 300);
    assert_eq!(look.json()["_look"]["executionId"], row["executionId"]);

    let usage = json!({"inputTokens": 40, "outputTokens": 2});
    let (status, body) = reports(&stack, &function, json!({"status": "running", "usage": usage})).await;
    assert_eq!((status, &body["cancel"]), (200, &json!(false)));
    let row = execution(&stack);
    assert_eq!((&row["events"], &row["usage"]["inputTokens"]), (&json!(1), &json!(40)));
    assert_eq!(row["leaseUntil"], body["leaseUntil"]);
    assert!(row["leaseUntil"].as_i64().unwrap() >= until);

    let end = json!({"status": "completed", "output": "three files", "usage": {"inputTokens": 50, "outputTokens": 4}});
    assert_eq!(reports(&stack, &function, end.clone()).await.0, 200);
    let row = execution(&stack);
    assert_eq!((&row["status"], &row["output"]), (&json!("completed"), &json!("three files")), "{row:#}");
    assert_eq!((&row["usage"]["inputTokens"], &row["usage"]["outputTokens"]), (&json!(50), &json!(4)));
    assert_eq!(row["outputTruncated"], false);

    // The same end again changes nothing, and another one is noted once. The look that follows the end was sent before it.
    let sent = stack.sqs.sent().len();
    assert_eq!(last_look(&stack).json()["_look"]["purpose"], "end");
    assert_eq!(reports(&stack, &function, end).await.0, 200);
    assert_eq!((execution(&stack), stack.sqs.sent().len()), (row.clone(), sent));
    for _ in 0..2 {
        assert_eq!(reports(&stack, &function, json!({"status": "failed", "error": "no"})).await.0, 409);
        let late = execution(&stack);
        assert_eq!((&late["status"], &late["lateReport"]), (&json!("completed"), &json!("failed")));
    }
    assert_eq!(reports(&stack, &function, json!({"status": "running"})).await.0, 409);

    // The timer finds the end, and a duplicate of the fire is told of it.
    let sent = stack.sqs.sent().len();
    assert!(deliver(&function, &look).await);
    let again = function.invoke(fire()).await;
    assert_eq!((&again.body()["status"], &again.body()["duplicate"]), (&json!("completed"), &json!(true)));
    assert_eq!((stack.sqs.sent().len(), stack.agent.call_count()), (sent, 1));
    stack.assert_clean();
}

#[tokio::test]
async fn a_failure_is_recorded_in_the_agents_words_without_the_prompt_and_the_token() {
    let stack = stack().await;
    let function = function(&stack).await;
    assert_left(&stack, &function.invoke(fire()).await);
    let prompt = stack.agent.calls()[0].field("prompt").to_owned();
    let words = format!("no disk for {prompt:?} with {}", token(&stack));
    assert_eq!(reports(&stack, &function, json!({"status": "failed", "error": words})).await.0, 200);
    let row = execution(&stack);
    assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!("AgentFailed")));
    assert_eq!(row["retryable"], false);
    assert!(row["error"].as_str().unwrap().contains("no disk for"), "{row:#}");
    stack.assert_clean();
    let again = function.invoke(fire()).await;
    assert_error(&again, "AgentFailed", false);
}

#[tokio::test]
async fn stopping_short_is_no_completion() {
    let stack = stack().await;
    let function = function(&stack).await;
    assert_left(&stack, &function.invoke(fire()).await);
    let end = json!({"status": "completed", "output": "half", "finishReason": "max_tokens"});
    assert_eq!(reports(&stack, &function, end.clone()).await.0, 200);
    let row = execution(&stack);
    assert_eq!((&row["errorType"], &row["finishReason"]), (&json!("AgentIncomplete"), &json!("max_tokens")));
    // Unless the run accepts it.
    let accepting = fire_with(&json!({"detached": settings(), "acceptFinishReasons": ["max_tokens"],
        "scheduledTime": "2026-01-31T08:00:00Z"}));
    assert!(function.invoke(accepting).await.is_success());
    let rows = stack.dynamodb.executions(TRIGGER);
    let row = rows.iter().find(|row| row["status"] == "running").unwrap();
    let mut members = end;
    members["executionId"] = row["executionId"].clone();
    let mut event: Value = json!({"token": token(&stack), "triggerId": TRIGGER});
    event.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let event = bus_event("my.agent", "Agent Report", event);
    let outcome = function.invoke(Invocation::event(&json!({"_from": "report-bus", "_event": event}))).await;
    assert_eq!(answer(&outcome).0, 200);
    let completed = stack.dynamodb.executions(TRIGGER).into_iter().filter(|row| row["status"] == "completed");
    assert_eq!(completed.count(), 1);
}

/// What the agent's definition accepts is known to a report that overtakes the hand-over.
#[tokio::test]
async fn what_an_agents_definition_accepts_counts_before_its_acknowledgement_too() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(Script::acknowledges(Some(120)).before_head(Step::Gate(gate.clone())));
    let url = stack.agent.url();
    let agents = json!({"agent-1": {"url": url, "acceptFinishReasons": ["max_tokens"]}}).to_string();
    let function = stack.function(&[REPORT_URL, support::lease(1), ("AGENTS", &agents)]).await;
    let overtaking = async {
        gate.reached().await;
        let end = json!({"status": "completed", "output": "half", "finishReason": "max_tokens"});
        assert_eq!(reports(&stack, &function, end).await.0, 200);
        gate.release();
    };
    let beside = stack.function(&[REPORT_URL, support::lease(1), ("AGENTS", &agents)]).await;
    let (outcome, ()) = tokio::join!(beside.invoke(fire()), overtaking);
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!(execution(&stack)["status"], "completed", "{:#}", execution(&stack));
}

#[tokio::test]
async fn an_agent_that_dies_in_silence_is_overdue() {
    let stack = stack().await;
    let function = function(&stack).await;
    assert_left(&stack, &function.invoke(fire()).await);
    // The first look comes while the lease lives, and sends the next.
    let look = last_look(&stack);
    assert!(deliver(&function, &look).await);
    let next = last_look(&stack);
    assert_eq!(next.json(), look.json());
    assert!((300..=362).contains(&next.delay_seconds), "{next:?}");
    assert_eq!(execution(&stack)["status"], "running");

    end_lease(&stack);
    assert!(deliver(&function, &next).await);
    let row = execution(&stack);
    assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!("ReportOverdue")), "{row:#}");
    assert_eq!(row["retryable"], false);
    let stop = last_look(&stack);
    assert_eq!((&stop.json()["_look"]["purpose"], stop.delay_seconds), (&json!("end"), 60));
    // Delivered again, or late, neither changes anything.
    let sent = stack.sqs.sent().len();
    for message in [&look, &next, &stop] {
        assert!(deliver(&function, message).await);
    }
    assert_eq!((execution(&stack), stack.sqs.sent().len()), (row, sent));
    assert_error(&function.invoke(fire()).await, "ReportOverdue", false);
    assert_eq!(reports(&stack, &function, json!({"status": "completed"})).await.0, 409);
    assert_eq!(execution(&stack)["lateReport"], "completed");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn a_delivery_and_a_failure_report_end_a_silent_run_too() {
    for by_report in [false, true] {
        let stack = stack().await;
        let function = function(&stack).await;
        assert_left(&stack, &function.invoke(fire()).await);
        let reported = standins::destination::report(&fire(), 3, &Outcome::Died).to_string();
        let settle = || standins::destination::sqs_batch([("1", reported.as_str())]);
        // While the agent has time, nobody waits and nothing changes.
        let row = execution(&stack);
        assert_eq!(assert_left(&stack, &function.invoke(fire()).await), row);
        assert!(failed_messages(&function.invoke(settle()).await).is_empty());
        assert_eq!(execution(&stack), row);
        end_lease(&stack);
        if by_report {
            assert!(failed_messages(&function.invoke(settle()).await).is_empty());
        } else {
            assert_error(&function.invoke(fire()).await, "ReportOverdue", false);
        }
        assert_eq!(execution(&stack)["errorType"], "ReportOverdue");
        assert_eq!(stack.agent.call_count(), 1);
    }
}

#[tokio::test]
async fn a_cancelled_run_ends_with_the_agents_report_or_after_a_minute() {
    for is_silent in [false, true] {
        let stack = stack().await;
        let function = function(&stack).await;
        let row = assert_left(&stack, &function.invoke(fire()).await);
        let detail = json!({"triggerId": TRIGGER, "executionId": row["executionId"]});
        let outcome = function.invoke(Invocation::event(&own_event("Cancel Execution", detail.clone()))).await;
        assert_eq!(outcome.body()["cancelRequested"], true, "{outcome:?}");
        let look = last_look(&stack);
        assert_eq!((&look.json()["_look"]["purpose"], look.delay_seconds), (&json!("cancel"), 60));
        if is_silent {
            assert!(deliver(&function, &look).await);
        } else {
            let (status, body) = reports(&stack, &function, json!({"status": "running"})).await;
            assert_eq!((status, &body["cancel"]), (200, &json!(true)));
            assert_eq!(reports(&stack, &function, json!({"status": "failed", "error": "stopped"})).await.0, 200);
        }
        let row = execution(&stack);
        assert_eq!(row["status"], "cancelled", "{row:#}");
        assert_eq!(row.get("errorType"), None);
        assert_eq!(last_look(&stack).json()["_look"]["purpose"], "end");
        // An agent that stops later than that says nothing new.
        assert_eq!(reports(&stack, &function, json!({"status": "failed", "error": "stopped"})).await.0, 200);
        assert!(deliver(&function, &look).await);
        assert_eq!(execution(&stack), row);
        let outcome = function.invoke(Invocation::event(&own_event("Cancel Execution", detail))).await;
        assert_eq!(
            (&outcome.body()["status"], &outcome.body()["cancelRequested"]),
            (&json!("cancelled"), &json!(true))
        );
    }
}

/// The end frees the run lock. The agent must not be at work beside the next run, so its session is stopped before that.
#[tokio::test]
async fn a_look_stops_the_session_before_it_ends_the_run() {
    for is_cancelled in [false, true] {
        let stack = stack().await;
        let url = format!("{}/runtimes/arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/a", stack.agent.url());
        let function = stack.function(&[REPORT_URL, support::lease(1), ("AGENT_API_URL", &url)]).await;
        let row = assert_left(&stack, &function.invoke(fire()).await);
        if is_cancelled {
            let detail = json!({"triggerId": TRIGGER, "executionId": row["executionId"]});
            assert!(function.invoke(Invocation::event(&own_event("Cancel Execution", detail))).await.is_success());
        } else {
            end_lease(&stack);
        }
        let look = last_look(&stack);
        assert_eq!(stack.agent.stops().len(), 0, "the agent may clean up first");
        let refused = stack.dynamodb.inject(Rule::new("UpdateItem", Fault::ServerError));
        function.invoke(look.delivery()).await;
        assert_eq!((execution(&stack)["status"].as_str(), stack.agent.stops().len()), (Some("running"), 1));
        refused.remove();
        // An end is written although the session cannot be stopped.
        stack.agent.on_stop(Script::new(500));
        assert!(deliver(&function, &look).await);
        let ended = if is_cancelled { "cancelled" } else { "failed" };
        assert_eq!((execution(&stack)["status"].as_str(), stack.agent.stops().len()), (Some(ended), 2));
    }
}

#[tokio::test]
async fn an_own_session_alone_is_stopped() {
    let stack = stack().await;
    let url = format!("{}/runtimes/arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/a", stack.agent.url());
    let function = stack.function(&[REPORT_URL, support::lease(1), ("AGENT_API_URL", &url)]).await;
    let session = "a-conversation-of-somebody-that-goes-on";
    let fire = fire_with(&json!({"detached": settings(), "sessionId": session}));
    assert_left(&stack, &function.invoke(fire).await);
    end_lease(&stack);
    assert!(deliver(&function, &last_look(&stack)).await);
    assert!(deliver(&function, &last_look(&stack)).await);
    assert_eq!((execution(&stack)["status"].as_str(), stack.agent.stops().len()), (Some("failed"), 0));
}

#[tokio::test]
async fn a_command_to_cancel_an_unknown_execution_is_refused() {
    let stack = stack().await;
    let function = function(&stack).await;
    let detail = json!({"triggerId": TRIGGER, "executionId": "019c12d9-f580-7649-82fb-aad573e743bb"});
    let outcome = function.invoke(Invocation::event(&own_event("Cancel Execution", detail))).await;
    assert_error(&outcome, "InvalidEvent", false);
    let detail = json!({"triggerId": TRIGGER, "executionld": "x"});
    let outcome = function.invoke(Invocation::event(&own_event("Cancel Execution", detail))).await;
    assert_error(&outcome, "InvalidEvent", false);
}

#[tokio::test]
async fn the_turn_is_kept_until_the_end_and_the_tokens_are_counted_with_it() {
    let stack = stack().await;
    stored::store(&stack, json!({"overlap": "skip", "maxTokensPerDay": 1000}));
    let function = function(&stack).await;
    let row = assert_left(&stack, &function.invoke(fire()).await);
    assert_eq!(row["hasRunLock"], true);
    let lock = || stack.dynamodb.item(&format!("TRIGGER#{TRIGGER}"), "RUNNING#user-1").unwrap();
    assert_eq!(lock()["leaseUntil"], turn_until(&row));
    assert!(lock()["ttl"].as_i64() > lock()["leaseUntil"].as_i64().map(|until| until / 1000), "{:#}", lock());
    let later = |minute: u32| {
        fire_with(&json!({"detached": settings(), "scheduledTime": format!("2026-01-31T08:{minute:02}:00Z")}))
    };
    let skipped = function.invoke(later(1)).await;
    assert_eq!(skipped.body()["skipReason"], "Overlap", "{skipped:?}");
    let (id, token) = (row["executionId"].clone(), token(&stack));
    let usage = json!({"inputTokens": 600, "outputTokens": 1});
    let detail =
        json!({"token": token, "triggerId": TRIGGER, "executionId": id, "status": "completed", "usage": usage});
    let event = json!({"_from": "report-bus", "_event": bus_event("my.agent", "Agent Report", detail)});
    stack.dynamodb.clear_requests();
    assert_eq!(answer(&function.invoke(Invocation::event(&event)).await).0, 200);
    let transactions: Vec<_> =
        stack.dynamodb.requests().into_iter().filter(|request| request.operation == "TransactWriteItems").collect();
    assert_eq!(transactions.len(), 1, "the end, the tokens and the turn");
    assert_eq!(lock()["leaseUntil"], 0);
    let day = stack.dynamodb.scan().into_iter().find(|item| item["SK"].as_str().unwrap().starts_with("DAY#")).unwrap();
    assert_eq!(day["tokens"], 601);
    let next = function.invoke(later(2)).await;
    assert_eq!(next.body()["status"], "running", "{next:?}");
}

#[tokio::test]
async fn each_run_keeps_its_slot_until_its_end_and_frees_it_with_it() {
    let stack = stack().await;
    stored::store(&stack, json!({"overlap": {"max": 2}}));
    let function = function(&stack).await;
    let at = |minute: u32| {
        fire_with(&json!({"detached": settings(), "scheduledTime": format!("2026-01-31T08:{minute:02}:00Z")}))
    };
    let row_of = |outcome: &Outcome| {
        let id = outcome.body()["executionId"].clone();
        stack.dynamodb.executions(TRIGGER).into_iter().find(|row| row["executionId"] == id).expect("a row")
    };
    let (first, second) = (function.invoke(at(1)).await, function.invoke(at(2)).await);
    assert_eq!((&first.body()["status"], &second.body()["status"]), (&json!("running"), &json!("running")));
    let (one, two) = (row_of(&first), row_of(&second));
    assert_eq!((&one["hasRunLock"], one.get("runSlot")), (&json!(true), None));
    assert_eq!((&two["hasRunLock"], &two["runSlot"]), (&json!(true), &json!(1)));
    let slot = |key: &str| stack.dynamodb.item(&format!("TRIGGER#{TRIGGER}"), key).unwrap();
    let keys = ["RUNNING#user-1", "EXECUTION_SLOT#1#user-1"];
    assert_eq!(keys.map(|key| slot(key)["leaseUntil"].clone()), [turn_until(&one), turn_until(&two)]);
    let skipped = function.invoke(at(3)).await;
    assert_eq!(skipped.body()["skipReason"], "Overlap", "{skipped:?}");
    // Neither a lower nor a higher limit loses sight of a run, however old its fire is.
    stored::store(&stack, json!({"overlap": "skip"}));
    let skipped = function.invoke(at(4)).await;
    assert_eq!(skipped.body()["skipReason"], "Overlap", "{skipped:?}");
    stored::store(&stack, json!({"overlap": {"max": 2}}));
    // The second ends by its report, which frees its slot and no other in the same transaction.
    let calls = stack.agent.calls();
    let callback = calls[1].callback().expect("a callback");
    let detail = json!({"token": callback["token"], "triggerId": TRIGGER, "executionId": two["executionId"],
        "status": "completed"});
    let event = json!({"_from": "report-bus", "_event": bus_event("my.agent", "Agent Report", detail)});
    stack.dynamodb.clear_requests();
    assert_eq!(answer(&function.invoke(Invocation::event(&event)).await).0, 200);
    let requests = stack.dynamodb.requests().into_iter().filter(|request| request.body.contains(keys[1]));
    let writes: Vec<String> = requests.map(|request| request.operation).collect();
    assert_eq!(writes, ["TransactWriteItems"], "the end and its slot");
    assert_eq!(keys.map(|key| slot(key)["leaseUntil"].clone()), [turn_until(&one), json!(0)]);
    let next = function.invoke(at(5)).await;
    assert_eq!(row_of(&next)["runSlot"], 1, "{next:?}");
    let skipped = function.invoke(at(6)).await;
    assert_eq!(skipped.body()["skipReason"], "Overlap", "{skipped:?}");
    stack.assert_clean();
}
