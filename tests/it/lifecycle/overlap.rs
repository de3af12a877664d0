//! Overlap: of a trigger that may not run twice at once, one execution is alive at a time.

use futures_util::future::join_all;
use serde_json::{Value, json};
use standins::{Fault, Gate, Lambda, Rule, Script, Stack};

use crate::support::one_fire::assert_error;
use crate::support::stored::{
    assert_completed, assert_failed, assert_skipped, execution_at, fire_at, fire_with, item, long_lease, store, update,
    wait_for, wait_for_item,
};
use crate::support::{LIMIT, alone, assert_duplicate, gated, killed_when, lease, now_millis, skew, stack};

/// What stands in the requests that take the turn, keep it and give it up.
const TURN: &str = r#""SK":{"S":"RUNNING#user-1"}"#;
const KEEP: &str = "#leaseUntil > ";
const OF_ONE_THAT_ENDED: &str = "#executionId = ";
const GIVE_UP: &str = r##""#owner = :0""##;

async fn start() -> (Stack, Lambda, Lambda) {
    start_with(long_lease()).await
}

async fn start_with(lease: (&str, &str)) -> (Stack, Lambda, Lambda) {
    let stack = stack().await;
    store(&stack, json!({"overlap": "skip"}));
    let (one, other) = (stack.function(&[lease]).await, stack.function(&[lease]).await);
    (stack, one, other)
}

fn turn(stack: &Stack) -> Value {
    item(stack, "RUNNING")
}

async fn turn_is_over(stack: &Stack) {
    turn_is_over_for(stack, skew(4) + 40).await;
}

/// `millis` is a sixth of the lease and some more, for so far may clocks differ.
async fn turn_is_over_for(stack: &Stack, millis: i64) {
    let is_over = |turn: &Value| turn["leaseUntil"].as_i64().is_some_and(|until| until + millis < now_millis());
    wait_for_item(stack, "RUNNING", is_over).await;
}

/// Asserts that this minute's fire is skipped because `other`'s execution is alive.
async fn is_skipped_for(stack: &Stack, function: &Lambda, minute: u32, other: u32) {
    let outcome = function.invoke(fire_at(minute)).await;
    let row = assert_skipped(stack, minute, &outcome, "Overlap");
    assert_eq!(row["overlaps"], execution_at(stack, other)["executionId"]);
}

async fn runs(stack: &Stack, function: &Lambda, minute: u32) {
    let outcome = function.invoke(fire_at(minute)).await;
    assert_completed(stack, minute, &outcome);
}

#[tokio::test]
async fn of_twenty_concurrent_fires_one_runs_and_the_others_say_which() {
    let _machine = alone().await;
    let stack = stack().await;
    store(&stack, json!({"overlap": "skip"}));
    let gate = Gate::new();
    stack.agent.default(gated(&gate));
    let mut functions = Vec::new();
    for _ in 0..4 {
        functions.push(stack.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "5")]).await);
    }
    let fires = (0..20).map(|minute| functions[minute as usize % 4].invoke(fire_at(minute)));
    let release = async {
        let all_others = async {
            while stack.dynamodb.executions("trigger-1").iter().filter(|row| row["status"] == "skipped").count() < 19 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, all_others).await.expect("nineteen are skipped while one runs");
        gate.release();
    };
    let (outcomes, ()) = tokio::join!(join_all(fires), release);
    assert_eq!(stack.agent.call_count(), 1);
    let runner = stack.dynamodb.executions("trigger-1").into_iter().find(|row| row["status"] == "completed").unwrap();
    for (minute, outcome) in (0..).zip(&outcomes) {
        if execution_at(&stack, minute) == runner {
            assert_completed(&stack, minute, outcome);
        } else {
            let row = assert_skipped(&stack, minute, outcome, "Overlap");
            assert_eq!(row["overlaps"], runner["executionId"]);
        }
    }
    // A skip stays one, however late it is delivered again.
    let skipped = (0..20).find(|minute| execution_at(&stack, *minute) != runner).unwrap();
    let again = functions[0].invoke(fire_at(skipped)).await;
    assert_duplicate(&again, &execution_at(&stack, skipped));
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}

#[tokio::test]
async fn a_finish_lets_the_next_one_run_at_once() {
    let (stack, one, other) = start().await;
    for (minute, function) in [(0, &one), (1, &other), (2, &other)] {
        runs(&stack, function, minute).await;
        assert_eq!(turn(&stack)["leaseUntil"], 0);
    }
    stack.agent.queue(Script::server_error_event("the disk is full"));
    let outcome = one.invoke(fire_at(3)).await;
    assert_failed(&stack, 3, &outcome, ("AgentFailed", false));
    runs(&stack, &other, 4).await;
    stack.assert_clean();
}

#[tokio::test]
async fn fires_of_a_trigger_that_allows_it_run_at_the_same_time() {
    for attributes in [json!({}), json!({"overlap": "allow"}), json!({"overlap": null})] {
        let stack = stack().await;
        store(&stack, attributes);
        let gate = Gate::new();
        stack.agent.default(gated(&gate));
        let function = stack.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "2")]).await;
        let release = async {
            gate.reached_by(2).await;
            gate.release();
        };
        let (first, second, ()) = tokio::join!(function.invoke(fire_at(0)), function.invoke(fire_at(1)), release);
        assert_completed(&stack, 0, &first);
        assert_completed(&stack, 1, &second);
        assert_eq!(turn(&stack), Value::Null, "nobody takes turns");
        stack.assert_clean();
    }
}

#[tokio::test]
async fn after_a_killed_run_the_next_fire_runs_once_its_lease_is_over() {
    let (stack, killed, other) = start().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    killed_when(gate.reached(), &killed, fire_at(0)).await;
    // Nobody knows yet that it died.
    is_skipped_for(&stack, &other, 1, 0).await;
    turn_is_over(&stack).await;
    runs(&stack, &other, 2).await;
    let retry = other.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &retry, ("Interrupted", false));
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn heartbeats_keep_the_turn_over_several_leases() {
    let (stack, one, other) = start().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let watch = async {
        gate.reached().await;
        let first = turn(&stack)["leaseUntil"].as_i64().unwrap();
        let outlived = |turn: &Value| turn["leaseUntil"].as_i64().unwrap() > first + 8_000;
        wait_for_item(&stack, "RUNNING", outlived).await;
        is_skipped_for(&stack, &other, 1, 0).await;
        gate.release();
    };
    let (outcome, ()) = tokio::join!(one.invoke(fire_at(0)), watch);
    assert_completed(&stack, 0, &outcome);
    runs(&stack, &other, 2).await;
    stack.assert_clean();
}

#[tokio::test]
async fn an_executions_own_retry_is_no_overlap() {
    let (stack, one, other) = start().await;
    let busy = Script::status(429, "busy");
    for _ in 0..3 {
        stack.agent.queue(busy.clone());
    }
    let outcome = one.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &outcome, ("AgentUnavailable", true));
    let outcome = other.invoke(fire_at(0)).await;
    assert_eq!(assert_completed(&stack, 0, &outcome)["attempt"], 2);
    stack.assert_clean();
}

#[tokio::test]
async fn the_rerun_of_a_killed_run_is_no_overlap() {
    let (stack, killed, other) = start().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let rerun = || fire_with(0, &json!({"onInterrupted": "rerun"}));
    killed_when(gate.reached(), &killed, rerun()).await;
    // As when the turn was taken long after the claim.
    stack.dynamodb.update("TRIGGER#trigger-1", "RUNNING#user-1", &json!({"leaseUntil": now_millis() + 60_000}));
    let outcome = other.invoke(rerun()).await;
    assert_eq!(assert_completed(&stack, 0, &outcome)["attempt"], 2);
    stack.assert_clean();
}

#[tokio::test]
async fn a_run_that_died_and_may_not_start_again_is_interrupted_not_skipped() {
    let (stack, killed, other) = start().await;
    let (first, second) = (Gate::new(), Gate::new());
    stack.agent.queue(gated(&first));
    stack.agent.queue(gated(&second));
    let rerun = || fire_with(0, &json!({"onInterrupted": "rerun"}));
    killed_when(first.reached(), &killed, rerun()).await;
    turn_is_over(&stack).await;
    let retry = async {
        second.reached().await;
        let retry = stack.function(&[long_lease()]).await.invoke(rerun()).await;
        second.release();
        retry
    };
    let (outcome, retry) = tokio::join!(other.invoke(fire_at(1)), retry);
    assert_completed(&stack, 1, &outcome);
    let row = assert_failed(&stack, 0, &retry, ("Interrupted", false));
    assert!(row["error"].as_str().unwrap().ends_with("; not tried again: Overlap"), "{row:#}");
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn a_turn_that_is_hard_to_take_is_taken_once() {
    for fault in [Fault::Throttle, Fault::ApplyThenLose, Fault::ApplyThenHang] {
        let (stack, one, other) = start().await;
        let hard = stack.dynamodb.inject(Rule::new("PutItem", fault).containing(TURN).once());
        runs(&stack, &one, 0).await;
        assert_eq!(hard.hits(), 1);
        runs(&stack, &other, 1).await;
        stack.assert_clean();
    }
}

#[tokio::test]
async fn a_turn_taken_unseen_holds_up_nobody() {
    let (stack, one, other) = start().await;
    let lost = stack.dynamodb.inject(Rule::new("PutItem", Fault::ApplyThenLose).containing(TURN));
    let outcome = one.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &outcome, ("RecordStoreFailed", true));
    lost.remove();
    assert_eq!(turn(&stack)["executionId"], execution_at(&stack, 0)["executionId"]);
    runs(&stack, &other, 1).await;
    assert_eq!(stack.agent.call_count(), 1);
    let outcome = one.invoke(fire_at(0)).await;
    assert_eq!(assert_completed(&stack, 0, &outcome)["attempt"], 2);
    stack.assert_clean();
}

#[tokio::test]
async fn a_turn_that_is_not_given_up_holds_up_nobody() {
    let (stack, one, other) = start().await;
    let denied = stack.dynamodb.inject(Rule::new("UpdateItem", Fault::Deny).containing(TURN).containing(GIVE_UP));
    runs(&stack, &one, 0).await;
    assert_eq!(denied.hits(), 1);
    assert!(turn(&stack)["leaseUntil"].as_i64().unwrap() > now_millis() - 60_000, "{:#}", turn(&stack));
    runs(&stack, &other, 1).await;
    stack.assert_clean();
}

#[tokio::test]
async fn a_turn_taken_unseen_from_one_that_has_ended_is_no_overlap() {
    for overlap in ["skip", "cancelOther"] {
        let (stack, one, other) = start().await;
        store(&stack, json!({"overlap": overlap}));
        let kept = Rule::new("UpdateItem", Fault::Deny).containing(TURN).containing(GIVE_UP).once();
        let kept = stack.dynamodb.inject(kept);
        runs(&stack, &one, 0).await;
        let lost = Rule::new("PutItem", Fault::ApplyThenLose).containing(TURN).containing(OF_ONE_THAT_ENDED).once();
        let lost = stack.dynamodb.inject(lost);
        runs(&stack, &other, 1).await;
        assert_eq!((kept.hits(), lost.hits()), (1, 1));
        stack.assert_clean();
    }
}

#[tokio::test]
async fn writes_of_a_turn_that_come_late_hold_up_nobody() {
    for (operation, text) in [("PutItem", r#""leaseUntil""#), ("UpdateItem", KEEP)] {
        // A try takes two seconds to be given up.
        let (stack, one, other) = start_with(lease(12)).await;
        let (agent, late) = (Gate::new(), Gate::new());
        stack.agent.queue(gated(&agent));
        let fault = Fault::GateBefore(late.clone());
        let held = stack.dynamodb.inject(Rule::new(operation, fault).containing(TURN).containing(text).once());
        let release = async {
            // Its answer has been given up, and another try gone through.
            late.reached().await;
            agent.reached().await;
            let at_late = turn(&stack)["leaseUntil"].as_i64();
            wait_for_item(&stack, "RUNNING", |turn| turn["leaseUntil"].as_i64() > at_late).await;
            agent.release();
        };
        let (outcome, ()) = tokio::join!(one.invoke(fire_at(0)), release);
        assert_completed(&stack, 0, &outcome);
        late.release();
        assert_eq!(held.hits(), 1);
        runs(&stack, &other, 1).await;
        runs(&stack, &one, 2).await;
        stack.assert_clean();
    }
}

#[tokio::test]
async fn a_turn_whose_extension_fails_once_is_kept() {
    let (stack, one, other) = start().await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let failed = stack.dynamodb.inject(Rule::new("UpdateItem", Fault::Deny).containing(TURN).containing(KEEP).once());
    let watch = async {
        gate.reached().await;
        let first = turn(&stack)["leaseUntil"].as_i64().unwrap();
        wait_for_item(&stack, "RUNNING", |turn| turn["leaseUntil"].as_i64().unwrap() > first).await;
        is_skipped_for(&stack, &other, 1, 0).await;
        gate.release();
    };
    let (outcome, ()) = tokio::join!(one.invoke(fire_at(0)), watch);
    assert_completed(&stack, 0, &outcome);
    assert_eq!(failed.hits(), 1);
    stack.assert_clean();
}

/// `one` calls the agent and loses its turn; once that is over by so much, `other` runs, and `one` has left the agent.
async fn another_runs_when_it_has_left(stack: &Stack, one: &Lambda, other: &Lambda, over_millis: i64) {
    let next = async {
        stack.agent.wait_for_calls(1).await;
        turn_is_over_for(stack, over_millis).await;
        let outcome = other.invoke(fire_at(1)).await;
        let calls = stack.agent.calls();
        assert!(calls.len() == 2 && calls[0].client_left, "two agents at work: {calls:#?}");
        outcome
    };
    let (lost, outcome) = tokio::join!(one.invoke(fire_at(0)), next);
    assert_error(&lost, "LeaseLost", false);
    assert_completed(stack, 1, &outcome);
}

/// The turn of a run cannot be kept, so that another execution may have it: by then the run must have left its agent.
async fn a_run_that_cannot_keep_its_turn_leaves_the_agent(fault: Fault) {
    let (stack, one, other) = start().await;
    stack.agent.queue(gated(&Gate::new()));
    let keeping = stack.dynamodb.inject(Rule::new("UpdateItem", fault).containing(TURN).containing(KEEP));
    another_runs_when_it_has_left(&stack, &one, &other, skew(4) + 40).await;
    assert!(keeping.hits() >= 1);
    keeping.remove();
    // Its execution is not left running.
    update(&stack, 0, &json!({"leaseUntil": now_millis() - 60_000}));
    let retry = other.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &retry, ("Interrupted", false));
    stack.assert_clean();
}

/// While the answer is awaited a heartbeat extends the lease, but not the turn.
#[tokio::test]
async fn a_run_whose_turn_was_slow_to_take_does_not_outlast_it() {
    let (stack, one, other) = start_with(lease(5)).await;
    stack.agent.queue(gated(&Gate::new()));
    stack.dynamodb.inject(Rule::new("PutItem", Fault::ApplyThenHang).containing(TURN).once());
    stack.dynamodb.inject(Rule::new("UpdateItem", Fault::Throttle).containing(TURN).containing(KEEP));
    another_runs_when_it_has_left(&stack, &one, &other, skew(5) + 70).await;
    stack.assert_clean();
}

#[tokio::test]
async fn a_run_whose_turn_is_throttled_away_leaves_the_agent_before_another_runs() {
    a_run_that_cannot_keep_its_turn_leaves_the_agent(Fault::Throttle).await;
}

#[tokio::test]
async fn a_run_whose_turn_hangs_leaves_the_agent_before_another_runs() {
    a_run_that_cannot_keep_its_turn_leaves_the_agent(Fault::Hang).await;
}

#[tokio::test]
async fn a_frozen_run_that_wakes_in_anothers_turn_stops() {
    let (stack, frozen, other) = start().await;
    let (first, second) = (Gate::new(), Gate::new());
    stack.agent.queue(gated(&first));
    stack.agent.queue(gated(&second));
    let next = async {
        first.reached().await;
        frozen.freeze();
        turn_is_over(&stack).await;
        let wake = async {
            second.reached().await;
            frozen.thaw();
            stack.agent.wait_until("the first one's leaving", |calls| calls[0].client_left).await;
            second.release();
        };
        tokio::join!(other.invoke(fire_at(1)), wake).0
    };
    let (lost, outcome) = tokio::join!(frozen.invoke(fire_at(0)), next);
    assert_error(&lost, "LeaseLost", false);
    assert_completed(&stack, 1, &outcome);
    let left = wait_for(&stack, 0, |row| row["status"] == "running").await;
    assert_eq!(left.get("completedAt"), None);
    stack.assert_clean();
}

/// Starts a run of a trigger that lets several run at once, and then lets its policy be another.
async fn begun_before_its_policy(overlap: &str, minute: u32, next: u32) -> (Stack, [standins::Outcome; 2]) {
    let stack = stack().await;
    store(&stack, json!({"overlap": "allow"}));
    let (one, other) = (stack.function(&[long_lease()]).await, stack.function(&[long_lease()]).await);
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let edit = async {
        gate.reached().await;
        store(&stack, json!({ "overlap": overlap }));
        let outcome = other.invoke(fire_at(next)).await;
        gate.release();
        outcome
    };
    let (first, second) = tokio::join!(one.invoke(fire_at(minute)), edit);
    (stack, [first, second])
}

#[tokio::test]
async fn f69_a_run_from_before_overlap_was_forbidden_is_seen() {
    let now = 5;
    let (stack, [first, second]) = begun_before_its_policy("skip", now, now + 1).await;
    assert_completed(&stack, now, &first);
    let row = assert_skipped(&stack, now + 1, &second, "Overlap");
    assert_eq!(row["overlaps"], execution_at(&stack, now)["executionId"]);
    assert_eq!((stack.agent.call_count(), &turn(&stack)["leaseUntil"]), (1, &json!(0)));
    let other = stack.function(&[long_lease()]).await;
    runs(&stack, &other, now + 2).await;
    stack.assert_clean();
}

#[tokio::test]
async fn f69_a_run_from_before_overlap_was_forbidden_is_cancelled_or_stays_if_it_is_newer() {
    let now = 5;
    let (stack, [first, second]) = begun_before_its_policy("cancelOther", now, now + 1).await;
    crate::support::stored::assert_cancelled(&stack, now, &first);
    assert_completed(&stack, now + 1, &second);
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
    let (stack, [first, second]) = begun_before_its_policy("cancelOther", now, now - 1).await;
    assert_completed(&stack, now, &first);
    assert_skipped(&stack, now - 1, &second, "Overlap");
    assert_eq!(stack.agent.call_count(), 1);
    stack.assert_clean();
}
