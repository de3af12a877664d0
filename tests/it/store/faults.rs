//! Faults of the record store.

use serde_json::{Value, json};
use standins::{Fault, Gate, Invocation, Rule, Script, Stack, runtime_api::scheduled_event};

use crate::support::one_fire::{
    PROMPT, TRIGGER, assert_completed, assert_duplicate, assert_error, assert_failed, assert_running, execution, fire,
    fire_with_rerun, short_lease, update,
};
use crate::support::{FINISH, LIMIT, assert_absent, gated, lease, now_millis, scaled, skew, stack};

/// What stands in the requests that claim and beat.
const CLAIM: &str = "\"running\"";
const HEARTBEAT: &str = "#leaseUntil <= ";

async fn no_claim_no_call(prepare: impl FnOnce(&Stack)) {
    let stack = stack().await;
    prepare(&stack);
    let outcome = stack.function(&[]).await.invoke(fire()).await;
    let message = assert_error(&outcome, "RecordStoreFailed", true);
    assert_eq!(message["triggerId"], TRIGGER);
    assert_eq!(stack.agent.call_count(), 0, "what cannot be recorded is not run");
    stack.dynamodb.clear_faults();
    assert!(stack.dynamodb.scan().is_empty());
    stack.assert_clean();
}

#[tokio::test]
async fn f35_missing_table_calls_no_agent() {
    no_claim_no_call(|stack| {
        stack.dynamodb.inject(Rule::any(Fault::NotFound));
    })
    .await;
}

#[tokio::test]
async fn f35_denied_claim_calls_no_agent() {
    no_claim_no_call(|stack| {
        stack.dynamodb.inject(Rule::new("PutItem", Fault::Deny));
    })
    .await;
}

#[tokio::test]
async fn f35_claim_throttled_for_ever_calls_no_agent() {
    no_claim_no_call(|stack| {
        stack.dynamodb.inject(Rule::new("PutItem", Fault::Throttle));
    })
    .await;
}

#[tokio::test]
async fn f35_failing_store_calls_no_agent() {
    no_claim_no_call(|stack| {
        stack.dynamodb.inject(Rule::any(Fault::ServerError));
    })
    .await;
}

#[tokio::test]
async fn f35_hanging_claim_calls_no_agent() {
    no_claim_no_call(|stack| {
        stack.dynamodb.inject(Rule::new("PutItem", Fault::Hang));
    })
    .await;
}

#[tokio::test]
async fn f35_hanging_store_is_told_before_lambdas_own_limit() {
    // A fire without an identity of its own has its guard to write before.
    for event in [fire(), Invocation::event(&scheduled_event(TRIGGER, PROMPT, None))] {
        let stack = stack().await;
        stack.dynamodb.inject(Rule::any(Fault::Hang));
        let outcome = stack.function(&[]).await.invoke(event.timeout(scaled(5_200))).await;
        assert_error(&outcome, "RecordStoreFailed", true);
        assert_eq!(stack.agent.call_count(), 0);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f35_claim_throttled_at_first_completes() {
    let stack = stack().await;
    stack.dynamodb.inject(Rule::new("PutItem", Fault::Throttle).times(2));
    let outcome = stack.function(&[]).await.invoke(fire()).await;
    assert_completed(&stack, &outcome);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

async fn claim_whose_answer_is_lost_for_good_is_taken_back(fault: Fault) {
    let stack = stack().await;
    let lost = stack.dynamodb.inject(Rule::new("PutItem", fault).containing(CLAIM));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire().request_id("request-1")).await;
    assert_failed(&stack, &outcome, "RecordStoreFailed", true);
    assert_eq!(stack.agent.call_count(), 0);
    lost.remove();
    let outcome = function.invoke(fire().request_id("request-1")).await;
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 2);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f35_claim_whose_answer_is_cut_off_for_good_is_taken_back_and_run_by_the_next_attempt() {
    claim_whose_answer_is_lost_for_good_is_taken_back(Fault::ApplyThenLose).await;
}

#[tokio::test]
async fn f35_claim_whose_answer_never_comes_is_taken_back_and_run_by_the_next_attempt() {
    claim_whose_answer_is_lost_for_good_is_taken_back(Fault::ApplyThenHang).await;
}

async fn claim_whose_answer_is_lost_once_is_known_as_own(fault: Fault) {
    let stack = stack().await;
    let lost = stack.dynamodb.inject(Rule::new("PutItem", fault).containing(CLAIM).once());
    let outcome = stack.function(&[]).await.invoke(fire()).await;
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 1);
    assert_eq!((lost.hits(), stack.agent.call_count()), (1, 1));
    assert_eq!(stack.dynamodb.count("PutItem"), 2, "the SDK tried again and was refused");
    stack.assert_clean();
}

#[tokio::test]
async fn f36_claim_whose_answer_is_cut_off_is_known_as_own() {
    claim_whose_answer_is_lost_once_is_known_as_own(Fault::ApplyThenLose).await;
}

#[tokio::test]
async fn f36_claim_whose_answer_never_comes_is_known_as_own() {
    claim_whose_answer_is_lost_once_is_known_as_own(Fault::ApplyThenHang).await;
}

#[tokio::test]
async fn f37_one_failing_heartbeat_costs_nothing() {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    // Denied, so that the SDK does not try again by itself.
    let failed = stack.dynamodb.inject(Rule::new("UpdateItem", Fault::Deny).containing(HEARTBEAT).once());
    let function = stack.function(&[short_lease()]).await;
    let watch = async {
        let claimed = stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, |_| true).await;
        let until = claimed["leaseUntil"].as_i64();
        let extended = |record: &Value| record["leaseUntil"].as_i64() > until;
        stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, extended).await;
        gate.release();
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire()), watch);
    assert_completed(&stack, &outcome);
    assert_eq!((failed.hits(), stack.agent.call_count()), (1, 1));
    stack.assert_clean();
}

/// Lets the lease of a run lapse while its heartbeats fail, then the agent go on.
async fn run_whose_heartbeats_fail_completes(fault: Fault) {
    let stack = stack().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let failed = stack.dynamodb.inject(Rule::new("UpdateItem", fault).containing(HEARTBEAT));
    let function = stack.function(&[short_lease()]).await;
    let watch = async {
        gate.reached().await;
        let lapsed =
            |record: &Value| record["leaseUntil"].as_i64().is_some_and(|until| until + 6 * skew(1) < now_millis());
        stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, lapsed).await;
        assert_running(&stack);
        gate.release();
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire()), watch);
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 1);
    assert!(failed.hits() >= 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f37_heartbeats_denied_for_longer_than_the_lease_complete() {
    run_whose_heartbeats_fail_completes(Fault::Deny).await;
}

#[tokio::test]
async fn f37_heartbeats_throttled_for_longer_than_the_lease_complete() {
    run_whose_heartbeats_fail_completes(Fault::Throttle).await;
}

#[tokio::test]
async fn f37_heartbeats_hanging_for_longer_than_the_lease_complete() {
    run_whose_heartbeats_fail_completes(Fault::Hang).await;
}

/// With rerun another attempt may call the agent once the lease is over, so this one must have left it by then.
async fn rerun_whose_heartbeats_fail_leaves_the_agent_before_a_takeover(fault: Fault) {
    let stack = stack().await;
    stack.agent.queue(gated(&Gate::new()));
    stack.agent.queue(Script::ndjson_happy("There are three files."));
    let beats = stack.dynamodb.inject(Rule::new("UpdateItem", fault).containing(HEARTBEAT));
    // The sixth of it is how late the first may leave.
    let (first, second) = (stack.function(&[lease(3)]).await, stack.function(&[lease(3)]).await);
    let take_over = async {
        stack.agent.wait_for_calls(1).await;
        let outcome = second.invoke(fire_with_rerun().request_id("request-1")).await;
        let calls = stack.agent.calls();
        assert_eq!(calls.len(), 2);
        assert!(calls[0].client_left, "two agents at work");
        outcome
    };
    let (lost, won) = tokio::join!(first.invoke(fire_with_rerun().request_id("request-1")), take_over);
    assert_error(&lost, "LeaseLost", false);
    assert!(beats.hits() >= 1);
    assert_eq!(assert_completed(&stack, &won)["attempt"], 2);
    stack.assert_clean();
}

#[tokio::test]
async fn f37_with_rerun_a_run_whose_heartbeats_are_denied_leaves_the_agent_before_a_takeover() {
    rerun_whose_heartbeats_fail_leaves_the_agent_before_a_takeover(Fault::Deny).await;
}

#[tokio::test]
async fn f37_with_rerun_a_run_whose_heartbeats_hang_leaves_the_agent_before_a_takeover() {
    rerun_whose_heartbeats_fail_leaves_the_agent_before_a_takeover(Fault::Hang).await;
}

#[tokio::test]
async fn f37_refused_heartbeat_drops_the_stream() {
    let stack = stack().await;
    stack.agent.queue(gated(&Gate::new()));
    let function = stack.function(&[short_lease()]).await;
    let take = async {
        stack.agent.wait_until("an event sent", |calls| calls.first().is_some_and(|call| call.events_sent > 0)).await;
        let others = json!({"owner": "another", "attempt": 2, "leaseUntil": now_millis() + 60_000});
        update(&stack, &others);
        let taken = execution(&stack);
        stack.agent.wait_until("the client's leaving", |calls| calls[0].client_left).await;
        taken
    };
    let (outcome, taken) = tokio::join!(function.invoke(fire()), take);
    let message = assert_error(&outcome, "LeaseLost", false);
    assert_eq!(message["executionId"], taken["executionId"]);
    assert_eq!(execution(&stack), taken, "nothing is written to another's execution");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

async fn finish_that_fails_at_first_completes(fault: Fault, times: usize) {
    let stack = stack().await;
    let failed = stack.dynamodb.inject(Rule::new("UpdateItem", fault).containing(FINISH).times(times));
    let outcome = stack.function(&[]).await.invoke(fire()).await;
    assert_completed(&stack, &outcome);
    assert_eq!((failed.hits(), stack.agent.call_count()), (times, 1));
    stack.assert_clean();
}

#[tokio::test]
async fn f38_throttled_finish_completes() {
    finish_that_fails_at_first_completes(Fault::Throttle, 2).await;
}

#[tokio::test]
async fn f38_finish_failing_beyond_the_sdks_retries_completes() {
    finish_that_fails_at_first_completes(Fault::Throttle, 8).await;
}

#[tokio::test]
async fn f38_finish_whose_answer_is_cut_off_completes() {
    finish_that_fails_at_first_completes(Fault::ApplyThenLose, 1).await;
}

#[tokio::test]
async fn f38_finish_whose_answer_never_comes_completes() {
    finish_that_fails_at_first_completes(Fault::ApplyThenHang, 1).await;
}

/// A heartbeat sees the end that was written before its own finish hears of it.
#[tokio::test]
async fn f38_finish_whose_answer_is_awaited_for_longer_than_a_heartbeat_completes() {
    let stack = stack().await;
    let lost = stack.dynamodb.inject(Rule::new("UpdateItem", Fault::ApplyThenHang).containing(FINISH).once());
    let outcome = stack.function(&[short_lease()]).await.invoke(fire()).await;
    assert_completed(&stack, &outcome);
    assert_eq!((lost.hits(), stack.agent.call_count()), (1, 1));
    stack.assert_clean();
}

#[tokio::test]
async fn f38_failure_whose_answer_is_lost_is_returned_as_it_is() {
    let stack = stack().await;
    stack.agent.queue(Script::cut());
    stack.dynamodb.inject(Rule::new("UpdateItem", Fault::ApplyThenLose).containing(FINISH).once());
    let outcome = stack.function(&[]).await.invoke(fire()).await;
    assert_failed(&stack, &outcome, "StreamInterrupted", false);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

/// The finish fails for longer than a lease, which lives on all the while, so that a second delivery stays a duplicate.
async fn finish_failing_for_long_completes(fault: Fault) {
    let stack = stack().await;
    let failing = stack.dynamodb.inject(Rule::new("UpdateItem", fault).containing(FINISH));
    let lease = [lease(2)];
    let (function, other) = (stack.function(&lease).await, stack.function(&lease).await);
    let watch = async {
        stack.agent.wait_until("the end of its answer", |calls| calls.first().is_some_and(|call| call.finished)).await;
        let until = execution(&stack)["leaseUntil"].as_i64().unwrap();
        let outlived = |record: &Value| {
            let now_until = record["leaseUntil"].as_i64().unwrap();
            assert!(now_millis() <= now_until + skew(2), "nobody holds the lease: {record:#?}");
            now_until > until + 9 * skew(2)
        };
        stack.dynamodb.wait_for_execution(TRIGGER, LIMIT, outlived).await;
        let duplicate = other.invoke(fire()).await;
        assert_duplicate(&stack, &duplicate, "running");
        assert!(failing.hits() >= 1);
        failing.remove();
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire()), watch);
    assert_eq!(assert_completed(&stack, &outcome)["attempt"], 1);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f39_finish_throttled_for_several_leases_completes() {
    finish_failing_for_long_completes(Fault::Throttle).await;
}

#[tokio::test]
async fn f39_finish_hanging_for_several_leases_completes() {
    finish_failing_for_long_completes(Fault::Hang).await;
}

#[tokio::test]
async fn f39_finish_impossible_to_the_deadline_is_left_running_and_found_interrupted() {
    let stack = stack().await;
    let failing = stack.dynamodb.inject(Rule::new("UpdateItem", Fault::Throttle).containing(FINISH));
    let function = stack.function(&[short_lease()]).await;
    let outcome = function.invoke(fire().request_id("request-1").timeout(scaled(5_500))).await;
    assert_error(&outcome, "RecordStoreFailed", false);
    assert_running(&stack);
    failing.remove();
    let outcome = function.invoke(fire().request_id("request-1")).await;
    assert_failed(&stack, &outcome, "Interrupted", false);
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn f40_long_output_is_cut_on_a_character_and_flagged() {
    // 8,192 bytes end within the last é, and within the last crab.
    for (answer, kept) in
        [("a".to_owned() + &"é".repeat(5_000), 8_191), ("abc".to_owned() + &"🦀".repeat(3_000), 8_191)]
    {
        let stack = stack().await;
        stack.agent.queue(Script::ndjson_happy(&answer));
        let outcome = stack.function(&[]).await.invoke(fire()).await;
        let record = assert_completed(&stack, &outcome);
        assert_eq!((record["output"].as_str(), &record["outputTruncated"]), (Some(&answer[..kept]), &json!(true)));
        assert_eq!(stack.agent.call_count(), 1);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f40_output_at_its_limit_is_whole() {
    let stack = stack().await;
    let answer = "é".repeat(4_096);
    stack.agent.queue(Script::ndjson_happy(&answer));
    let outcome = stack.function(&[]).await.invoke(fire()).await;
    let record = assert_completed(&stack, &outcome);
    assert_eq!((&record["output"], &record["outputTruncated"]), (&json!(answer), &json!(false)));
    stack.assert_clean();
}

#[tokio::test]
async fn f40_long_error_is_cut_on_a_character() {
    for message in ["é".repeat(2_000), format!("a{}", "é".repeat(2_000)), "🦀".repeat(1_000)] {
        let stack = stack().await;
        stack.agent.queue(Script::server_error_event(&message));
        let outcome = stack.function(&[]).await.invoke(fire()).await;
        let record = assert_failed(&stack, &outcome, "AgentFailed", false);
        let error = record["error"].as_str().unwrap();
        assert!((1_020..=1_024).contains(&error.len()), "{} bytes", error.len());
        let said = error.lines().last().unwrap();
        assert!(message.starts_with(said.trim_end_matches('…')), "{said}");
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f41_row_whose_ttl_has_passed_is_claimed_afresh() {
    for status in ["running", "completed", "failed", "cancelled"] {
        let stack = stack().await;
        let function = stack.function(&[]).await;
        let outcome = function.invoke(fire()).await;
        let first = assert_completed(&stack, &outcome);
        let expired = json!({"status": status, "ttl": now_millis() / 1_000 - 1, "attempt": 3, "retryable": false,
            "errorType": "AgentFailed", "error": "long ago", "leaseUntil": now_millis() + 60_000,
            "startedAt": "2020-01-01T00:00:00.000Z", "leftover": "long ago"});
        update(&stack, &expired);
        let outcome = function.invoke(fire()).await;
        let record = assert_completed(&stack, &outcome);
        assert_eq!(record["attempt"], 1);
        assert!(record["startedAt"].as_str() > first["startedAt"].as_str(), "{record:#?}");
        assert!(record["ttl"].as_i64() >= first["ttl"].as_i64());
        assert_absent(&record, &["leftover"]);
        assert_eq!(stack.agent.call_count(), 2);
        stack.assert_clean();
    }
}
