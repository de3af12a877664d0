//! Limits of a stored trigger: how long an attempt may take, and how often and how much it may run on a day.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use standins::scripts::HAPPY_USAGE;
use standins::{Fault, Rule, Script, Stack, Step};

use crate::support::stored::{
    assert_cancelled, assert_completed, assert_failed, assert_skipped, broken, cancel, execution_at, fire_at,
    fire_with, item, long_lease, store, trigger, update, wait_for,
};
use crate::support::{factor, gated, killed_when, now_millis, scaled, stack};

const TOKENS: u64 = HAPPY_USAGE.0 + HAPPY_USAGE.1;
/// What stands in the request that counts a start.
const COUNT: &str = "COUNTED#";

fn day(stack: &Stack) -> Value {
    item(stack, "DAY#")
}

async fn limited(attributes: Value) -> Stack {
    let stack = stack().await;
    store(&stack, attributes);
    stack
}

#[tokio::test]
async fn a_run_that_takes_longer_than_its_trigger_allows_is_ended() {
    let stack = limited(json!({"timeoutSeconds": 2 * factor()})).await;
    stack.agent.queue(Script::endless(Duration::from_millis(50)));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire_at(0)).await;
    let row = assert_failed(&stack, 0, &outcome, ("DeadlineExceeded", false));
    assert_eq!(row["error"], format!("the trigger's timeoutSeconds, {}, were over", 2 * factor()));
    assert!(row["events"].as_u64().unwrap() > 0, "how far it came is recorded: {row:#}");
    stack.agent.wait_until("its client leave", |calls| calls[0].client_left).await;
    // One that takes less is not held up.
    let outcome = function.invoke(fire_at(1)).await;
    assert_completed(&stack, 1, &outcome);
    stack.assert_clean();
}

#[tokio::test]
async fn an_agent_on_agentcore_is_told_to_stop_when_its_triggers_time_is_over() {
    let stack = limited(json!({"timeoutSeconds": 2 * factor()})).await;
    stack.agent.queue(Script::endless(Duration::from_millis(50)));
    let arn = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my-agent";
    let url = format!("{}/runtimes/{arn}", stack.agent.url());
    let outcome = stack.function(&[("AGENT_API_URL", &url)]).await.invoke(fire_at(0)).await;
    let row = assert_failed(&stack, 0, &outcome, ("DeadlineExceeded", false));
    assert_eq!((&row["stopRequested"], &row["stopConfirmed"]), (&json!(true), &json!(true)), "{row:#}");
    assert_eq!(stack.agent.stops().len(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn an_attempt_that_ran_out_of_its_triggers_time_before_the_call_may_be_tried_again() {
    let stack = limited(json!({"timeoutSeconds": 1})).await;
    stack.agent.queue(Script::retry_after(429, 1));
    stack.agent.queue(Script::retry_after(429, 1));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &outcome, ("DeadlineExceeded", true));
    store(&stack, json!({"timeoutSeconds": 20}));
    let outcome = function.invoke(fire_at(0)).await;
    assert_eq!(assert_completed(&stack, 0, &outcome)["attempt"], 2);
    stack.assert_clean();
}

#[tokio::test]
async fn lambdas_own_limit_is_told_as_such() {
    let stack = limited(json!({"timeoutSeconds": 900})).await;
    stack.agent.queue(Script::endless(Duration::from_millis(50)));
    let outcome = stack.function(&[]).await.invoke(fire_at(0).timeout(scaled(6_000))).await;
    let row = assert_failed(&stack, 0, &outcome, ("DeadlineExceeded", false));
    assert_eq!(row["error"], "the invocation's time was nearly up");
    stack.assert_clean();
}

#[tokio::test]
async fn of_many_concurrent_fires_exactly_as_many_run_as_may_on_a_day() {
    let stack = limited(json!({"maxRunsPerDay": 3})).await;
    let mut functions = Vec::new();
    for _ in 0..3 {
        functions.push(stack.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "4")]).await);
    }
    let outcomes = join_all((0..12).map(|minute| functions[minute as usize % 3].invoke(fire_at(minute)))).await;
    let mut ran = 0;
    for (minute, outcome) in (0..).zip(&outcomes) {
        if execution_at(&stack, minute)["status"] == "completed" {
            assert_completed(&stack, minute, outcome);
            ran += 1;
        } else {
            assert_skipped(&stack, minute, outcome, "MaxRunsPerDay");
        }
    }
    assert_eq!((ran, stack.agent.call_count(), &day(&stack)["runs"]), (3, 3, &json!(3)));
    stack.assert_clean();
}

#[tokio::test]
async fn a_start_whose_answer_is_lost_counts_once() {
    for fault in [Fault::ApplyThenLose, Fault::ApplyThenHang, Fault::Conflict, Fault::Throttle] {
        let stack = limited(json!({"maxRunsPerDay": 2})).await;
        let lost = stack.dynamodb.inject(Rule::new("TransactWriteItems", fault).containing(COUNT).times(2));
        let outcome = stack.function(&[]).await.invoke(fire_at(0)).await;
        assert_completed(&stack, 0, &outcome);
        assert_eq!((lost.hits(), &day(&stack)["runs"]), (2, &json!(1)));
        stack.assert_clean();
    }
}

#[tokio::test]
async fn a_start_whose_answer_is_lost_for_good_counts_once_with_its_retry() {
    let stack = limited(json!({"maxRunsPerDay": 1})).await;
    let lost = stack.dynamodb.inject(Rule::new("TransactWriteItems", Fault::ApplyThenLose).containing(COUNT));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &outcome, ("RecordStoreFailed", true));
    assert_eq!(stack.agent.call_count(), 0);
    lost.remove();
    let outcome = function.invoke(fire_at(0)).await;
    assert_eq!(assert_completed(&stack, 0, &outcome)["attempt"], 2);
    let outcome = function.invoke(fire_at(1)).await;
    assert_skipped(&stack, 1, &outcome, "MaxRunsPerDay");
    assert_eq!(day(&stack)["runs"], 1);
    stack.assert_clean();
}

#[tokio::test]
async fn the_attempts_of_an_execution_count_once_whatever_the_limit_becomes() {
    let stack = limited(json!({"maxRunsPerDay": 5})).await;
    stack.agent.default(Script::status(429, "busy"));
    let function = stack.function(&[]).await;
    for (attempt, limit) in [(1, 5), (2, 1), (3, 7)] {
        store(&stack, json!({"maxRunsPerDay": limit}));
        let outcome = function.invoke(fire_at(0)).await;
        let row = assert_failed(&stack, 0, &outcome, ("AgentUnavailable", attempt < 3));
        assert_eq!((&row["attempt"], &day(&stack)["runs"]), (&json!(attempt), &json!(1)));
    }
    stack.assert_clean();
}

#[tokio::test]
async fn yesterdays_runs_do_not_count_today() {
    let stack = limited(json!({"maxRunsPerDay": 1, "maxTokensPerDay": 1})).await;
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire_at(0)).await;
    assert_completed(&stack, 0, &outcome);
    let today = day(&stack);
    let (pk, sk) = (today["PK"].as_str().unwrap(), today["SK"].as_str().unwrap());
    let hours = (today["ttl"].as_i64().unwrap() * 1000 - now_millis()) / 3_600_000;
    assert!((24..=96).contains(&hours), "kept beyond the day, and not for ever: {today:#}");
    assert_eq!(sk.len(), "DAY#2026-11-21#user-1".len());
    let mut yesterday = today.clone();
    yesterday["SK"] = json!("DAY#2020-01-01#user-1");
    stack.dynamodb.delete(pk, sk);
    stack.dynamodb.put_item(&yesterday);
    let outcome = function.invoke(fire_at(1)).await;
    assert_completed(&stack, 1, &outcome);
    stack.assert_clean();
}

#[tokio::test]
async fn after_enough_tokens_the_next_one_does_not_start() {
    let stack = limited(json!({"maxTokensPerDay": TOKENS + 1, "maxRunsPerDay": 4})).await;
    let function = stack.function(&[]).await;
    for minute in 0..2 {
        let outcome = function.invoke(fire_at(minute)).await;
        assert_completed(&stack, minute, &outcome);
        assert_eq!(day(&stack)["tokens"], TOKENS * u64::from(minute + 1));
    }
    let outcome = function.invoke(fire_at(2)).await;
    assert_skipped(&stack, 2, &outcome, "MaxTokensPerDay");
    assert_eq!((&day(&stack)["runs"], stack.agent.call_count()), (&json!(2), 2), "what does not start is no run");
    // A raised limit lets it run again, up to the other limit.
    store(&stack, json!({"maxTokensPerDay": 1_000_000, "maxRunsPerDay": 3}));
    let outcome = function.invoke(fire_at(3)).await;
    assert_completed(&stack, 3, &outcome);
    let outcome = function.invoke(fire_at(4)).await;
    assert_skipped(&stack, 4, &outcome, "MaxRunsPerDay");
    stack.assert_clean();
}

/// The happy answer up to its last event, so that all its tokens are used, then this.
fn used_then(step: Step) -> Script {
    let mut script = Script::ndjson_happy("There are three files in the quarter.");
    script.steps.pop();
    script.then(step)
}

#[tokio::test]
async fn the_tokens_of_a_run_that_failed_count() {
    let stack = limited(json!({"maxTokensPerDay": 1})).await;
    stack.agent.queue(used_then(Step::Fin));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &outcome, ("StreamInterrupted", false));
    assert_eq!((&day(&stack)["tokens"], &trigger(&stack)["failures"]), (&json!(TOKENS), &json!(1)));
    let outcome = function.invoke(fire_at(1)).await;
    assert_skipped(&stack, 1, &outcome, "MaxTokensPerDay");
    stack.assert_clean();
}

#[tokio::test]
async fn the_tokens_of_a_run_that_was_cancelled_count() {
    let stack = limited(json!({"maxTokensPerDay": 1})).await;
    stack.agent.queue(used_then(Step::Hang));
    let function = stack.function(&[long_lease()]).await;
    let cancel = async {
        wait_for(&stack, 0, |row| row["usage"]["inputTokens"] == HAPPY_USAGE.0).await;
        cancel(&stack, 0);
    };
    let (outcome, ()) = tokio::join!(function.invoke(fire_at(0)), cancel);
    assert_cancelled(&stack, 0, &outcome);
    assert_eq!(day(&stack)["tokens"], TOKENS);
    crate::support::stored::assert_no_health(&stack);
    let outcome = function.invoke(fire_at(1)).await;
    assert_skipped(&stack, 1, &outcome, "MaxTokensPerDay");
    stack.assert_clean();
}

#[tokio::test]
async fn the_tokens_of_a_run_that_died_count_as_far_as_they_are_known() {
    let stack = limited(json!({"maxTokensPerDay": 1})).await;
    dead_with_tokens(&stack, fire_at(0)).await;
    let other = stack.function(&[long_lease()]).await;
    let retry = other.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &retry, ("Interrupted", false));
    assert_eq!(day(&stack)["tokens"], TOKENS);
    let outcome = other.invoke(fire_at(1)).await;
    assert_skipped(&stack, 1, &outcome, "MaxTokensPerDay");
    stack.assert_clean();
}

/// Kills a run after a heartbeat has said what it used, and lets its lease pass.
async fn dead_with_tokens(stack: &Stack, invocation: standins::Invocation) {
    stack.agent.queue(used_then(Step::Hang));
    let killed = stack.function(&[long_lease()]).await;
    let used = wait_for(stack, 0, |row| row["usage"]["outputTokens"] == HAPPY_USAGE.1);
    killed_when(used, &killed, invocation).await;
    update(stack, 0, &json!({"leaseUntil": now_millis() - 60_000}));
}

#[tokio::test]
async fn f68_the_tokens_of_a_dead_attempt_count_with_those_of_its_rerun() {
    let rerun = || fire_with(0, &json!({"onInterrupted": "rerun"}));
    let stack = limited(json!({"maxTokensPerDay": 2 * TOKENS})).await;
    dead_with_tokens(&stack, rerun()).await;
    let function = stack.function(&[long_lease()]).await;
    let outcome = function.invoke(rerun()).await;
    let row = assert_completed(&stack, 0, &outcome);
    assert_eq!((&row["attempt"], &day(&stack)["tokens"]), (&json!(2), &json!(2 * TOKENS)), "{row:#}");
    assert_eq!(row["usage"]["inputTokens"], 2 * HAPPY_USAGE.0);
    let outcome = function.invoke(fire_at(1)).await;
    assert_skipped(&stack, 1, &outcome, "MaxTokensPerDay");
    stack.assert_clean();
}

#[tokio::test]
async fn f68_the_tokens_of_a_dead_attempt_count_whatever_becomes_of_the_next() {
    let rerun = || fire_with(0, &json!({"onInterrupted": "rerun"}));
    let stack = limited(json!({"maxTokensPerDay": 10 * TOKENS})).await;
    dead_with_tokens(&stack, rerun()).await;
    let function = stack.function(&[long_lease()]).await;
    // The second attempt may be tried again. What it found counts once, with the third.
    for _ in 0..3 {
        stack.agent.queue(Script::status(429, "busy"));
    }
    let outcome = function.invoke(rerun()).await;
    let row = assert_failed(&stack, 0, &outcome, ("AgentUnavailable", true));
    assert_eq!((&row["usage"]["inputTokens"], day(&stack)["tokens"].as_u64()), (&json!(HAPPY_USAGE.0), None));
    let outcome = function.invoke(rerun()).await;
    assert_eq!(assert_completed(&stack, 0, &outcome)["attempt"], 3);
    assert_eq!(day(&stack)["tokens"], 2 * TOKENS);
    stack.assert_clean();
}

#[tokio::test]
async fn f68_the_tokens_of_an_attempt_that_is_found_dead_and_cancelled_count() {
    let stack = limited(json!({"maxTokensPerDay": 1})).await;
    dead_with_tokens(&stack, fire_at(0)).await;
    cancel(&stack, 0);
    let function = stack.function(&[long_lease()]).await;
    let outcome = function.invoke(fire_at(0)).await;
    assert_cancelled(&stack, 0, &outcome);
    assert_eq!(day(&stack)["tokens"], TOKENS);
    let outcome = function.invoke(fire_at(1)).await;
    assert_skipped(&stack, 1, &outcome, "MaxTokensPerDay");
    stack.assert_clean();
}

#[tokio::test]
async fn f68_a_fire_that_is_skipped_for_another_is_no_start() {
    for overlap in ["skip", "cancelOther"] {
        let stack = limited(json!({"overlap": overlap, "maxRunsPerDay": 2})).await;
        let gate = standins::Gate::new();
        stack.agent.queue(gated(&gate));
        let (one, other) = (stack.function(&[]).await, stack.function(&[]).await);
        let skip = async {
            gate.reached().await;
            // With cancelOther too, what is older yields.
            let outcome = other.invoke(fire_at(1)).await;
            gate.release();
            outcome
        };
        let (ran, skipped) = tokio::join!(one.invoke(fire_at(5)), skip);
        assert_completed(&stack, 5, &ran);
        assert_skipped(&stack, 1, &skipped, "Overlap");
        assert_eq!(day(&stack)["runs"], 1, "{overlap}");
        let outcome = other.invoke(fire_at(6)).await;
        assert_completed(&stack, 6, &outcome);
        let outcome = other.invoke(fire_at(7)).await;
        assert_skipped(&stack, 7, &outcome, "MaxRunsPerDay");
        stack.assert_clean();
    }
}

#[tokio::test]
async fn a_lost_answer_of_the_finish_counts_tokens_once() {
    for fault in [Fault::ApplyThenLose, Fault::ApplyThenHang] {
        let stack = limited(json!({"maxTokensPerDay": 1_000_000})).await;
        let tokens =
            stack.dynamodb.inject(Rule::new("TransactWriteItems", fault).containing("#tokens").after(1).once());
        let outcome = stack.function(&[]).await.invoke(fire_at(0)).await;
        assert_completed(&stack, 0, &outcome);
        assert_eq!((tokens.hits(), &day(&stack)["tokens"]), (1, &json!(TOKENS)));
        stack.assert_clean();
    }
}

#[tokio::test]
async fn runs_without_limits_keep_no_counters() {
    let stack = limited(json!({"overlap": "allow"})).await;
    stack.agent.queue(gated(&{
        let open = standins::Gate::new();
        open.release();
        open
    }));
    stack.agent.queue(broken());
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire_with(0, &json!({}))).await;
    assert_completed(&stack, 0, &outcome);
    let outcome = function.invoke(fire_at(1)).await;
    assert_failed(&stack, 1, &outcome, ("AgentFailed", false));
    assert_eq!((day(&stack), item(&stack, COUNT)), (Value::Null, Value::Null));
    stack.assert_clean();
}
