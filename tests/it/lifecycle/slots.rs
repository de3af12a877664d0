//! `overlap: {"max": n}`: so many executions of a trigger are alive at a time.

use futures_util::future::join_all;
use serde_json::{Value, json};
use standins::{Fault, Gate, Lambda, Rule, Script, Stack};

use crate::support::stored::{
    assert_completed, assert_failed, assert_skipped, execution_at, fire_at, fire_with, item, long_lease, store,
    wait_for,
};
use crate::support::{LIMIT, assert_duplicate, gated, killed_when, now_millis, stack};

/// The first slot has the key of the only one of `skip`. The others have keys of their own.
const FIRST: &str = "RUNNING#user-1";
const SECOND: &str = "EXECUTION_SLOT#1#user-1";

async fn start(most: u32) -> (Stack, Lambda) {
    let stack = stack().await;
    store(&stack, json!({"overlap": {"max": most}}));
    let function = stack.function(&[long_lease(), ("AWS_LAMBDA_MAX_CONCURRENCY", "6")]).await;
    (stack, function)
}

fn slot(stack: &Stack, key: &str) -> Value {
    stack.dynamodb.item("TRIGGER#trigger-1", key).unwrap_or(Value::Null)
}

fn with_status(stack: &Stack, status: &str) -> Vec<Value> {
    stack.dynamodb.executions("trigger-1").into_iter().filter(|row| row["status"] == status).collect()
}

async fn until_skipped(stack: &Stack, count: usize) {
    let waiting = async {
        while with_status(stack, "skipped").len() < count {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("some are skipped while others run");
}

/// Runs the fires of `minutes` until `most` of them are with the agent, and then `then`, and lets them go.
async fn while_full<T>(
    (stack, function): (&Stack, &Lambda),
    minutes: std::ops::Range<u32>,
    then: impl Future<Output = T>,
) -> T {
    let gate = Gate::new();
    let count = minutes.len();
    for _ in 0..count {
        stack.agent.queue(gated(&gate));
    }
    let fires = join_all(minutes.clone().map(|minute| function.invoke(fire_at(minute))));
    let meanwhile = async {
        gate.reached_by(count).await;
        let result = then.await;
        gate.release();
        result
    };
    let (outcomes, result) = tokio::join!(fires, meanwhile);
    for (minute, outcome) in minutes.zip(&outcomes) {
        assert_completed(stack, minute, outcome);
    }
    result
}

#[tokio::test]
async fn of_three_simultaneous_fires_two_run_and_the_third_says_which() {
    let (stack, function) = start(2).await;
    let gate = Gate::new();
    stack.agent.default(gated(&gate));
    let fires = join_all((0..3).map(|minute| function.invoke(fire_at(minute))));
    let release = async {
        gate.reached_by(2).await;
        until_skipped(&stack, 1).await;
        assert_eq!(with_status(&stack, "running").len(), 2);
        gate.release();
    };
    let (outcomes, ()) = tokio::join!(fires, release);
    assert_eq!(stack.agent.call_count(), 2);
    let ran: Vec<Value> = with_status(&stack, "completed").iter().map(|row| row["executionId"].clone()).collect();
    for (minute, outcome) in (0..).zip(&outcomes) {
        let row = execution_at(&stack, minute);
        if row["status"] == "completed" {
            assert_completed(&stack, minute, outcome);
            assert_eq!((row.get("overlaps"), row.get("overlapLimit")), (None, None));
            continue;
        }
        let row = assert_skipped(&stack, minute, outcome, "Overlap");
        assert!(ran.contains(&row["overlaps"]), "{row:#}");
        assert_eq!(row["overlapLimit"], 2);
        // A skip stays one, however late it is delivered again.
        let again = function.invoke(fire_at(minute)).await;
        assert_duplicate(&again, &row);
    }
    assert_eq!((&slot(&stack, FIRST)["leaseUntil"], &slot(&stack, SECOND)["leaseUntil"]), (&json!(0), &json!(0)));
    stack.assert_clean();
}

#[tokio::test]
async fn fires_one_after_another_use_the_first_slot_at_the_price_of_skip() {
    let requests = async |overlap: Value| {
        let stack = stack().await;
        store(&stack, json!({ "overlap": overlap }));
        let function = stack.function(&[long_lease()]).await;
        assert_completed(&stack, 0, &function.invoke(fire_at(0)).await);
        stack.dynamodb.clear_requests();
        assert_completed(&stack, 1, &function.invoke(fire_at(1)).await);
        let mut names: Vec<String> = stack.dynamodb.requests().into_iter().map(|request| request.operation).collect();
        names.sort_unstable();
        assert_eq!(slot(&stack, SECOND), Value::Null);
        names
    };
    let skip = requests(json!("skip")).await;
    for overlap in [json!({"max": 1}), json!({"max": 5})] {
        assert_eq!(requests(overlap.clone()).await, skip, "{overlap}");
    }
}

#[tokio::test]
async fn a_refused_fire_reads_the_slots_and_their_holders_alone() {
    let (stack, function) = start(2).await;
    while_full((&stack, &function), 0..2, async {
        let mut holders: Vec<_> = [0, 1].map(|minute| execution_at(&stack, minute)["SK"].clone()).into();
        holders.sort_by_key(ToString::to_string);
        for minute in 10..13 {
            stack.dynamodb.clear_requests();
            let outcome = function.invoke(fire_at(minute)).await;
            let row = assert_skipped(&stack, minute, &outcome, "Overlap");
            assert_eq!(row["overlaps"], execution_at(&stack, 1)["executionId"], "the newest");
            let requests = stack.dynamodb.requests();
            let of = |name: &str| requests.iter().filter(|request| request.operation == name).collect::<Vec<_>>();
            let [query] = of("Query")[..] else { panic!("{requests:#?}") };
            let values = &query.json()["ExpressionAttributeValues"];
            // The records sort before.
            assert_eq!([&values[":from"]["S"], &values[":to"]["S"]], ["EXECUTION_SLOT#", "EXECUTION_SLOT#~"]);
            let mut read: Vec<_> = of("GetItem").iter().map(|request| request.key("SK")).collect();
            read.retain(|key| key.starts_with("EXECUTION#"));
            read.sort();
            assert_eq!(read, holders, "no record but the holders'");
            let asked = ["RUNNING#", "EXECUTION_SLOT#"].map(|slot| stack.dynamodb.count_for("PutItem", slot));
            assert_eq!(asked, [1, 0], "no slot but the first is asked for");
        }
    })
    .await;
    stack.assert_clean();
}

#[tokio::test]
async fn a_limit_of_one_is_the_run_lock_of_skip() {
    let (stack, function) = start(1).await;
    let skipped = while_full((&stack, &function), 0..1, async {
        store(&stack, json!({"overlap": "skip"}));
        let by_skip = function.invoke(fire_at(1)).await;
        let row = assert_skipped(&stack, 1, &by_skip, "Overlap");
        assert_eq!((&row["overlaps"], row.get("overlapLimit")), (&execution_at(&stack, 0)["executionId"], None));
        store(&stack, json!({"overlap": {"max": 1}}));
        function.invoke(fire_at(2)).await
    });
    let skipped = skipped.await;
    assert_eq!(assert_skipped(&stack, 2, &skipped, "Overlap")["overlapLimit"], 1);
    let lock = item(&stack, "RUNNING");
    let mut names: Vec<&String> = lock.as_object().unwrap().keys().collect();
    names.sort_unstable();
    assert_eq!(names, ["PK", "SK", "executionId", "leaseUntil", "owner", "ttl"]);
    stack.assert_clean();
}

#[tokio::test]
async fn what_runs_counts_after_the_limit_was_lowered_and_raised() {
    let (stack, function) = start(3).await;
    let next = |overlap: Value, minute: u32| {
        store(&stack, json!({ "overlap": overlap }));
        function.invoke(fire_at(minute))
    };
    while_full((&stack, &function), 0..2, async {
        for (minute, overlap) in [(10, json!({"max": 2})), (11, json!({"max": 1})), (12, json!("skip"))] {
            let outcome = next(overlap, minute).await;
            assert_skipped(&stack, minute, &outcome, "Overlap");
        }
        let outcome = next(json!({"max": 3}), 13).await;
        assert_completed(&stack, 13, &outcome);
    })
    .await;
    let outcome = next(json!("skip"), 14).await;
    assert_completed(&stack, 14, &outcome);
    stack.assert_clean();
}

#[tokio::test]
async fn what_runs_without_a_slot_counts_after_a_limit_was_set() {
    let stack = stack().await;
    let function = stack.function(&[long_lease(), ("AWS_LAMBDA_MAX_CONCURRENCY", "6")]).await;
    store(&stack, json!({"overlap": "allow"}));
    while_full((&stack, &function), 0..2, async {
        store(&stack, json!({"overlap": {"max": 2}}));
        let outcome = function.invoke(fire_at(10)).await;
        let row = assert_skipped(&stack, 10, &outcome, "Overlap");
        assert_eq!(row["overlaps"], execution_at(&stack, 1)["executionId"], "the newest");
        store(&stack, json!({"overlap": {"max": 3}}));
        let outcome = function.invoke(fire_at(11)).await;
        assert_completed(&stack, 11, &outcome);
    })
    .await;
    stack.assert_clean();
}

#[tokio::test]
async fn a_slot_whose_run_died_is_taken_over_once_it_has_ended() {
    let (stack, other) = start(2).await;
    let killed = stack.function(&[long_lease()]).await;
    let (first, second) = (Gate::new(), Gate::new());
    stack.agent.queue(gated(&first));
    stack.agent.queue(gated(&second));
    let one = async {
        first.reached().await;
        killed_when(second.reached(), &killed, fire_at(1)).await;
        assert_eq!(slot(&stack, SECOND)["executionId"], execution_at(&stack, 1)["executionId"]);
        // Nobody knows yet that it died.
        let outcome = other.invoke(fire_at(2)).await;
        assert_skipped(&stack, 2, &outcome, "Overlap");
        // Its slot would be held for long, but its record says that it has ended.
        stack.dynamodb.update("TRIGGER#trigger-1", SECOND, &json!({"leaseUntil": now_millis() + 60_000}));
        let lapsed = json!({"leaseUntil": now_millis() - 60_000});
        crate::support::stored::update(&stack, 1, &lapsed);
        let retry = other.invoke(fire_at(1)).await;
        assert_failed(&stack, 1, &retry, ("Interrupted", false));
        let outcome = other.invoke(fire_at(3)).await;
        assert_completed(&stack, 3, &outcome);
        assert_eq!(slot(&stack, SECOND)["executionId"], execution_at(&stack, 3)["executionId"]);
        first.release();
    };
    let (outcome, ()) = tokio::join!(other.invoke(fire_at(0)), one);
    assert_completed(&stack, 0, &outcome);
    stack.assert_clean();
}

#[tokio::test]
async fn a_slot_whose_lease_is_over_is_taken_over() {
    let (stack, function) = start(2).await;
    while_full((&stack, &function), 0..1, async {
        let lapsed = json!({"PK": "TRIGGER#trigger-1", "SK": SECOND, "executionId": "gone", "owner": "gone",
            "leaseUntil": now_millis() - 60_000});
        stack.dynamodb.put_item(&lapsed);
        let outcome = function.invoke(fire_at(1)).await;
        assert_completed(&stack, 1, &outcome);
        assert_eq!(slot(&stack, SECOND)["executionId"], execution_at(&stack, 1)["executionId"]);
        // The slot of a run whose record is gone is held for as long as its lease.
        stack.dynamodb.update(
            "TRIGGER#trigger-1",
            SECOND,
            &json!({"executionId": "gone", "leaseUntil": now_millis() + 60_000}),
        );
        let outcome = function.invoke(fire_at(2)).await;
        assert_eq!(assert_skipped(&stack, 2, &outcome, "Overlap")["overlaps"], "gone");
        // Another user's slot is none of this trigger's.
        let foreign = json!({"PK": "TRIGGER#trigger-1", "SK": "EXECUTION_SLOT#2#user-2", "executionId": "e",
            "owner": "o", "leaseUntil": now_millis() + 60_000});
        stack.dynamodb.put_item(&foreign);
        store(&stack, json!({"overlap": {"max": 3}}));
        let outcome = function.invoke(fire_at(3)).await;
        assert_completed(&stack, 3, &outcome);
    })
    .await;
    stack.assert_clean();
}

#[tokio::test]
async fn a_slot_that_is_hard_to_take_is_taken_once() {
    for fault in [Fault::Throttle, Fault::ApplyThenLose, Fault::ApplyThenHang] {
        let (stack, function) = start(2).await;
        while_full((&stack, &function), 0..1, async {
            let hard = stack.dynamodb.inject(Rule::new("PutItem", fault).containing(SECOND).once());
            let outcome = function.invoke(fire_at(1)).await;
            assert_completed(&stack, 1, &outcome);
            assert_eq!(hard.hits(), 1);
            let outcome = function.invoke(fire_at(2)).await;
            assert_completed(&stack, 2, &outcome);
        })
        .await;
        stack.assert_clean();
    }
}

#[tokio::test]
async fn an_executions_own_retry_finds_its_slot() {
    let (stack, function) = start(2).await;
    while_full((&stack, &function), 0..1, async {
        // The slot of the first attempt is not given up.
        let kept = Rule::new("UpdateItem", Fault::Deny).containing(SECOND).containing(r##""#owner = :0""##).once();
        let kept = stack.dynamodb.inject(kept);
        for _ in 0..3 {
            stack.agent.queue(Script::status(429, "busy"));
        }
        let outcome = function.invoke(fire_at(1)).await;
        assert_failed(&stack, 1, &outcome, ("AgentUnavailable", true));
        assert_eq!(kept.hits(), 1);
        let outcome = function.invoke(fire_at(1)).await;
        assert_eq!(assert_completed(&stack, 1, &outcome)["attempt"], 2);
    })
    .await;
    stack.assert_clean();
}

#[tokio::test]
async fn a_run_that_died_and_finds_no_slot_says_how_many_run() {
    let (stack, other) = start(1).await;
    let killed = stack.function(&[long_lease()]).await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let rerun = || fire_with(0, &json!({"onInterrupted": "rerun"}));
    killed_when(gate.reached(), &killed, rerun()).await;
    let lapsed = json!({"leaseUntil": now_millis() - 60_000});
    crate::support::stored::update(&stack, 0, &lapsed);
    stack.dynamodb.update("TRIGGER#trigger-1", FIRST, &lapsed);
    let retry = while_full((&stack, &other), 1..2, other.invoke(rerun())).await;
    let row = assert_failed(&stack, 0, &retry, ("Interrupted", false));
    assert!(row["error"].as_str().unwrap().ends_with("; not tried again: Overlap, 1 of 1 run"), "{row:#}");
    wait_for(&stack, 1, |row| row["status"] == "completed").await;
    stack.assert_clean();
}

#[tokio::test]
async fn a_limit_that_is_none_is_an_invalid_trigger() {
    for (overlap, named) in [
        (json!({"max": 0}), "$.overlap.max"),
        (json!({"max": 101}), "$.overlap.max"),
        (json!({"max": "many"}), "$.overlap.max"),
        (json!({}), "$.overlap.max"),
        (json!({"MAX": 2}), "$.overlap.MAX"),
        (json!(2), "$.overlap"),
    ] {
        let stack = stack().await;
        store(&stack, json!({ "overlap": overlap }));
        let function = stack.function(&[]).await;
        let outcome = function.invoke(fire_at(0)).await;
        let row = assert_failed(&stack, 0, &outcome, ("InvalidTrigger", false));
        assert!(row["error"].as_str().unwrap().contains(&format!("{named}: ")), "{row:#}");
        assert_eq!(stack.agent.call_count(), 0);
    }
}
