//! Fire-time truth: where a trigger is stored, its item decides, not the copy in its schedule's event.

use serde_json::{Value, json};
use standins::{Fault, Rule, Stack};

use crate::support::one_fire::{PROMPT, TRIGGER, fire_with as once_with};
use crate::support::stored::{
    USER, assert_completed, assert_failed, assert_no_health, assert_skipped, broken, execution_at, fire_at, fire_with,
    item, store, trigger,
};
use crate::support::{assert_absent, assert_duplicate, now_millis, stack};

const STORED_PROMPT: &str = "Count the stored files";

/// What the event says beside what it must.
fn copy() -> Value {
    json!({"modelId": "event-model", "workingDirectory": "/event", "enabledTools": ["event-tool"],
        "reasoningEffort": "low", "sessionId": "session-of-the-event", "input": {"budget": 1, "event": true}})
}

#[tokio::test]
async fn what_the_item_says_wins_over_the_events_copy() {
    let stack = stack().await;
    store(
        &stack,
        json!({"agentId": "stored-agent", "prompt": STORED_PROMPT, "modelId": "stored-model", "workingDirectory": "/stored",
            "enabledTools": ["stored-tool"], "reasoningEffort": "high", "input": {"budget": 2}, "enabled": true}),
    );
    let outcome = stack.function(&[]).await.invoke(fire_with(0, &copy())).await;
    let row = assert_completed(&stack, 0, &outcome);
    assert_eq!(
        stack.agent.calls()[0].body,
        json!({"prompt": STORED_PROMPT, "targetUserId": USER, "agentId": "stored-agent", "modelId": "stored-model",
            "sessionId": "session-of-the-event", "enabledTools": ["stored-tool"], "storagePath": "/stored",
            "reasoningEffort": "high", "budget": 2})
    );
    assert_eq!((&row["agentId"], &row["sessionId"]), (&json!("stored-agent"), &json!("session-of-the-event")));
    assert_eq!(trigger(&stack)["lastExecutedAt"], row["startedAt"]);
    assert_no_health(&stack);
    stack.assert_clean();
}

#[tokio::test]
async fn what_the_item_does_not_say_comes_from_the_event() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let nulls = ["agentId", "prompt", "modelId", "enabledTools", "workingDirectory", "reasoningEffort", "input"];
    let nulls: Value = nulls.into_iter().map(|name| (name.to_owned(), Value::Null)).collect();
    for (minute, attributes) in [(0, json!({})), (1, nulls)] {
        store(&stack, attributes);
        let outcome = function.invoke(fire_with(minute, &copy())).await;
        let row = assert_completed(&stack, minute, &outcome);
        let body = &stack.agent.calls()[minute as usize].body;
        assert_eq!(
            (&body["prompt"], &body["agentId"], &row["agentId"]),
            (&json!(PROMPT), &json!("agent-1"), &json!("agent-1"))
        );
        assert_eq!((&body["modelId"], &body["enabledTools"]), (&json!("event-model"), &json!(["event-tool"])));
        assert_eq!((&body["storagePath"], &body["event"]), (&json!("/event"), &json!(true)));
    }
    stack.assert_clean();
}

#[tokio::test]
async fn what_is_switched_off_is_skipped_and_says_why() {
    let paused =
        json!({"enabled": false, "pausedAt": "2026-01-01T00:00:00.000Z", "pausedReason": "5 failures in a row"});
    let mut deleted = paused.clone();
    deleted["deletedAt"] = json!("2026-01-02T00:00:00.000Z");
    let mut faulty = paused.clone();
    faulty["overlap"] = json!("queue");
    for (attributes, reason) in [
        (json!({"enabled": false}), "Disabled"),
        (json!({"enabled": false, "pausedAt": null}), "Disabled"),
        (paused, "Paused"),
        (json!({"deletedAt": 1_767_225_600}), "Deleted"),
        (json!({"enabled": true, "deletedAt": "yesterday"}), "Deleted"),
        (deleted, "Deleted"),
        // Nobody wants to hear what else is wrong with a trigger that is switched off.
        (faulty, "Paused"),
        (json!({"enabled": false, "prompt": " ", "maxRunsPerDay": "many"}), "Disabled"),
    ] {
        let stack = stack().await;
        store(&stack, attributes);
        let before = trigger(&stack);
        let function = stack.function(&[]).await;
        let outcome = function.invoke(fire_at(0)).await;
        let row = assert_skipped(&stack, 0, &outcome, reason);
        let again = function.invoke(fire_at(0)).await;
        assert_duplicate(&again, &row);
        assert_eq!((execution_at(&stack, 0), trigger(&stack)), (row, before), "nothing else is written");
        assert_eq!(stack.agent.requests().len(), 0);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn what_a_person_has_switched_on_again_runs() {
    let stack = stack().await;
    store(&stack, json!({"enabled": true, "pausedAt": "2026-01-01T00:00:00.000Z", "deletedAt": null}));
    let outcome = stack.function(&[]).await.invoke(fire_at(0)).await;
    assert_completed(&stack, 0, &outcome);
    stack.assert_clean();
}

#[tokio::test]
async fn an_item_whose_ttl_has_passed_is_as_if_absent() {
    for script in [None, Some(broken())] {
        let stack = stack().await;
        let fails = script.is_some();
        script.into_iter().for_each(|script| stack.agent.queue(script));
        store(&stack, json!({"enabled": false, "prompt": STORED_PROMPT, "ttl": now_millis() / 1000 - 1}));
        let before = trigger(&stack);
        let function = stack.function(&[]).await;
        let outcome = function.invoke(fire_at(0)).await;
        if fails {
            assert_failed(&stack, 0, &outcome, ("AgentFailed", false));
        } else {
            assert_completed(&stack, 0, &outcome);
        }
        assert_eq!(stack.agent.calls()[0].field("prompt"), PROMPT);
        assert_eq!(trigger(&stack), before, "nothing is written to it");
        stack.assert_clean();
    }
    // Until then it counts.
    let stack = stack().await;
    store(&stack, json!({"enabled": false, "ttl": now_millis() / 1000 + 600}));
    let outcome = stack.function(&[]).await.invoke(fire_at(0)).await;
    assert_skipped(&stack, 0, &outcome, "Disabled");
    stack.assert_clean();
}

#[tokio::test]
async fn without_an_item_the_event_alone_decides() {
    let stack = stack().await;
    let outcome = stack.function(&[]).await.invoke(fire_with(0, &copy())).await;
    let row = assert_completed(&stack, 0, &outcome);
    assert_absent(&row, &["triggerVersion"]);
    assert_eq!(row["functionVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(stack.agent.calls()[0].body["modelId"], "event-model");
    assert_eq!(stack.dynamodb.scan().len(), 1, "nothing but the record is written");
    stack.assert_clean();
}

#[tokio::test]
async fn a_trigger_that_cannot_be_read_is_not_run_unseen() {
    let stack = stack().await;
    store(&stack, json!({"enabled": false}));
    let denied = stack.dynamodb.inject(Rule::new("GetItem", Fault::Deny).containing("TRIGGER#user-1"));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(fire_at(0)).await;
    assert_failed(&stack, 0, &outcome, ("RecordStoreFailed", true));
    denied.remove();
    let outcome = function.invoke(fire_at(1)).await;
    assert_skipped(&stack, 1, &outcome, "Disabled");
    assert_eq!(stack.agent.requests().len(), 0);
    stack.assert_clean();
}

/// Runs this minute's fire and gives its record.
async fn ran(stack: &Stack, minute: u32, attributes: Option<Value>, detail: &Value) -> Value {
    match attributes {
        Some(attributes) => store(stack, attributes),
        None => stack.dynamodb.delete(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{TRIGGER}")),
    }
    let outcome = stack.function(&[]).await.invoke(fire_with(minute, detail)).await;
    assert_completed(stack, minute, &outcome)
}

#[tokio::test]
async fn the_record_tells_what_ran_by_a_hash_and_the_versions() {
    let stack = stack().await;
    let by_event = ran(&stack, 0, None, &json!({"modelId": "m"})).await;
    let hash = by_event["settingsHash"].as_str().unwrap();
    assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    // The same, wherever it is said.
    for (minute, attributes, detail) in [
        (1, json!({"version": 7}), json!({"modelId": "m"})),
        (2, json!({"modelId": "m", "updatedAt": "2026-01-01T09:00:00Z"}), json!({"modelId": "another"})),
        (
            3,
            json!({"modelId": "m", "version": "v8", "updatedAt": "2026-01-01T09:00:00Z", "overlap": "skip"}),
            json!({}),
        ),
    ] {
        let row = ran(&stack, minute, Some(attributes), &detail).await;
        assert_eq!(row["settingsHash"], hash, "{minute}");
    }
    let versions: Vec<_> = (0..4).map(|minute| execution_at(&stack, minute)["triggerVersion"].clone()).collect();
    assert_eq!(versions, [Value::Null, json!("7"), json!("2026-01-01T09:00:00Z"), json!("v8")]);
    // Anything else.
    let mut hashes = vec![hash.to_owned()];
    for (minute, attributes) in [
        (10, json!({"modelId": "n"})),
        (11, json!({"modelId": "m", "prompt": STORED_PROMPT})),
        (12, json!({"modelId": "m", "agentId": "stored-agent"})),
        (13, json!({"modelId": "m", "enabledTools": []})),
        (14, json!({"modelId": "m", "input": {"budget": 1}})),
    ] {
        let row = ran(&stack, minute, Some(attributes), &json!({})).await;
        assert_eq!(row["functionVersion"], env!("CARGO_PKG_VERSION"));
        hashes.push(row["settingsHash"].as_str().unwrap().to_owned());
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 6);
    stack.assert_clean();
}

#[tokio::test]
async fn a_failed_run_tells_what_ran_too() {
    let stack = stack().await;
    stack.agent.queue(broken());
    store(&stack, json!({"agentId": "stored-agent", "version": 3}));
    let outcome = stack.function(&[]).await.invoke(fire_at(0)).await;
    let row = assert_failed(&stack, 0, &outcome, ("AgentFailed", false));
    assert_eq!((&row["agentId"], &row["triggerVersion"]), (&json!("stored-agent"), &json!("3")));
    assert!(row["settingsHash"].is_string());
    stack.assert_clean();
}

#[tokio::test]
async fn policy_values_that_are_not_known_fail_and_say_what_is_allowed() {
    let whole = "must be a whole number";
    let overlap = "$.overlap: must be \"allow\", \"skip\", \"cancelOther\" or {\"max\": n}";
    for (attributes, expected) in [
        (json!({"overlap": "queue"}), overlap.to_owned()),
        (json!({"overlap": true}), overlap.to_owned()),
        (json!({"overlap": ""}), overlap.to_owned()),
        (json!({"timeoutSeconds": 86_401}), "$.timeoutSeconds: must be from 1 to 86400".to_owned()),
        (json!({"timeoutSeconds": 0}), "$.timeoutSeconds: must be from 1 to 86400".to_owned()),
        (json!({"timeoutSeconds": 1.5}), format!("$.timeoutSeconds: {whole}")),
        (json!({"maxRunsPerDay": 0}), "$.maxRunsPerDay: must be from 1 to 4294967295".to_owned()),
        (json!({"maxRunsPerDay": "three"}), format!("$.maxRunsPerDay: {whole}")),
        (json!({"maxRunsPerDay": ""}), format!("$.maxRunsPerDay: {whole}")),
        (json!({"maxTokensPerDay": -1}), format!("$.maxTokensPerDay: {whole}")),
        (json!({"pauseAfterFailures": 1e12}), "$.pauseAfterFailures: must be at most 4294967295".to_owned()),
        (json!({"pauseAfterFailures": [5]}), format!("$.pauseAfterFailures: {whole}")),
        (json!({"enabled": "no"}), "$.enabled: must be true or false, not a string".to_owned()),
        (
            json!({"overlap": "queue", "maxRunsPerDay": -5, "prompt": ""}),
            format!("{overlap}; $.maxRunsPerDay: {whole}; $.prompt: must not be empty"),
        ),
    ] {
        let stack = stack().await;
        store(&stack, attributes);
        let function = stack.function(&[]).await;
        let outcome = function.invoke(once_with(&json!({"scheduledTime": "2026-01-01T00:00:00Z"}))).await;
        let row = assert_failed(&stack, 0, &outcome, ("InvalidTrigger", false));
        assert_eq!(outcome.body()["message"], format!("invalid trigger item: {expected}"));
        let counted = trigger(&stack);
        let again = function.invoke(fire_at(0)).await;
        assert_eq!(again, outcome, "the same, as it was");
        assert_eq!((execution_at(&stack, 0), trigger(&stack)), (row, counted));
        assert_eq!(stack.agent.requests().len(), 0);
        assert_eq!(item(&stack, "DAY#"), Value::Null);
        stack.assert_clean();
    }
}
