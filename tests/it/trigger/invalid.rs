//! Trigger items that cannot be understood: what is wrong is on record, and the other triggers run.

use serde_json::{Value, json};
use standins::{Invocation, Lambda, Outcome, Script, Stack};

use crate::support::subscribed::{
    PROMPT, SOURCE_ID, USER, assert_summary, calls_of, config, dispatched_to, order, order_with, publish, subscribe,
    trigger,
};
use crate::support::{assert_absent, assert_completed, assert_failed, execution, stack};

const HIDDEN: &str = "hidden-value";

/// The paths that an error names.
fn paths(message: &str) -> Vec<String> {
    assert!(!message.contains("hidden"), "a value is shown: {message}");
    let problems = message.strip_prefix("invalid trigger item: ").unwrap_or_else(|| panic!("{message}"));
    problems.split("; ").map(|problem| problem.split_once(": ").unwrap().0.to_owned()).collect()
}

/// Each makes a trigger item invalid at this path.
fn broken() -> Vec<(Value, &'static str)> {
    let config_path = "$.eventConfig";
    vec![
        (json!({"agentId": null}), "$.agentId"),
        (json!({"agentId": format!("{HIDDEN}\n")}), "$.agentId"),
        (json!({"agentId": {"S": HIDDEN}}), "$.agentId"),
        (json!({"prompt": null}), "$.prompt"),
        (json!({"prompt": " \n "}), "$.prompt"),
        (json!({"prompt": 7}), "$.prompt"),
        (json!({"prompt": "Look at {{ $.detail[ }}"}), "$.prompt"),
        (json!({"prompt": "Look at {{ $.hidden..['hidden }}"}), "$.prompt"),
        (json!({"type": HIDDEN}), "$.type"),
        (json!({"type": [HIDDEN]}), "$.type"),
        (json!({"enabled": HIDDEN}), "$.enabled"),
        (json!({"name": 7}), "$.name"),
        (json!({"modelId": [HIDDEN]}), "$.modelId"),
        (json!({"workingDirectory": 7}), "$.workingDirectory"),
        (json!({"reasoningEffort": false}), "$.reasoningEffort"),
        (json!({"sessionId": format!("{HIDDEN} with spaces")}), "$.sessionId"),
        (json!({"enabledTools": ["read", 7]}), "$.enabledTools[1]"),
        (json!({"enabledTools": HIDDEN}), "$.enabledTools"),
        (json!({"onInterrupted": HIDDEN}), "$.onInterrupted"),
        (json!({"input": HIDDEN}), "$.input"),
        (json!({"input": {"targetUserId": HIDDEN}}), "$.input.targetUserId"),
        (json!({"inputMapping": [HIDDEN]}), "$.inputMapping"),
        (json!({"inputMapping": {"prompt": "$.detail"}}), "$.inputMapping.prompt"),
        (json!({"inputMapping": {"file": "detail.hidden"}}), "$.inputMapping.file"),
        (json!({"inputMapping": {"a file": {"hidden": 1}}}), "$.inputMapping[\"a file\"]"),
        (json!({"eventConfig": HIDDEN}), config_path),
        (config(json!({"eventPattern": "{\"hidden"})), "$.eventConfig.eventPattern"),
        (config(json!({"eventPattern": [HIDDEN]})), "$.eventConfig.eventPattern"),
        (config(json!({"eventPattern": {"detail": HIDDEN}})), "$.eventConfig.eventPattern.detail"),
        (
            config(json!({"eventPattern": {"detail": {"size": [{"numeric": [HIDDEN, 5]}]}}})),
            "$.eventConfig.eventPattern.detail.size[0].numeric",
        ),
        (config(json!({"condition": HIDDEN})), "$.eventConfig.condition"),
        (
            config(json!({"condition": {"field": "detail.amount", "operator": HIDDEN, "value": 1}})),
            "$.eventConfig.condition.operator",
        ),
        (
            config(json!({"condition": [{"field": "$.hidden[", "operator": "eq", "value": HIDDEN}]})),
            "$.eventConfig.condition[0].field",
        ),
        (config(json!({"threshold": HIDDEN})), "$.eventConfig.threshold"),
        (config(json!({"threshold": {"count": 0, "windowSeconds": 60}})), "$.eventConfig.threshold.count"),
        (config(json!({"threshold": {"count": 5, "windowSeconds": HIDDEN}})), "$.eventConfig.threshold.windowSeconds"),
        (config(json!({"threshold": {"count": 5}})), "$.eventConfig.threshold.windowSeconds"),
        (config(json!({"threshold": {"count": "", "windowSeconds": 60}})), "$.eventConfig.threshold.count"),
    ]
}

/// What comes of an event for `t` alone; that it is on record as it was told, and that nothing ran.
async fn fails(stack: &Stack, function: &Lambda, event: &Value) -> Vec<String> {
    let outcome = function.invoke(Invocation::event(event)).await;
    assert_eq!(outcome.error_type(), "InvalidTrigger", "{outcome:?}");
    let row = execution(stack, "t");
    assert_failed(&outcome, &row, "InvalidTrigger", false);
    assert_eq!((&row["userId"], &row["eventSourceId"]), (&json!(USER), &json!(SOURCE_ID)));
    assert_absent(&row, &["owner", "leaseUntil"]);
    assert_eq!(stack.agent.requests().len(), 0);
    paths(outcome.body()["message"].as_str().unwrap())
}

#[tokio::test]
async fn each_fault_of_a_trigger_is_named_by_its_path() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    for (changes, path) in broken() {
        let described = changes.to_string();
        subscribe(&stack, "t", changes);
        let named = fails(&stack, &function, &order()).await;
        assert!(named.len() == 1 && named[0].starts_with(path), "{described}: {named:?}");
        let row = execution(&stack, "t");
        stack.dynamodb.delete("TRIGGER#t", row["SK"].as_str().unwrap());
    }
    stack.assert_clean();
}

#[tokio::test]
async fn all_faults_are_named_at_once_and_again_on_every_delivery() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let mut changes =
        config(json!({"eventPattern": {"detail": []}, "condition": {"field": "detail", "operator": "eq"},
        "threshold": {"count": -1, "windowSeconds": 1.5}}));
    let others = json!({"agentId": "", "prompt": null, "type": "schedule", "enabled": 1,
        "sessionId": "ä", "input": {"agentId": 1, "prompt": 2}, "inputMapping": {"x": "y", "sessionId": "$"}});
    changes.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    subscribe(&stack, "t", changes);
    let event = order();
    let mut named = fails(&stack, &function, &event).await;
    named.sort();
    let mut expected = vec![
        "$.eventConfig.eventPattern.detail",
        "$.eventConfig.condition.value",
        "$.eventConfig.threshold.count",
        "$.eventConfig.threshold.windowSeconds",
        "$.agentId",
        "$.prompt",
        "$.type",
        "$.enabled",
        "$.sessionId",
        "$.input.agentId",
        "$.input.prompt",
        "$.inputMapping.x",
        "$.inputMapping.sessionId",
    ];
    expected.sort_unstable();
    assert_eq!(named, expected);
    let row = execution(&stack, "t");
    for _ in 0..2 {
        assert_eq!(fails(&stack, &function, &event).await.len(), expected.len());
        assert_eq!(execution(&stack, "t"), row);
    }
    // Mended, it does not run for an event that is told to have failed, and does for the next.
    subscribe(&stack, "t", json!({}));
    let outcome = function.invoke(Invocation::event(&event)).await;
    assert_failed(&outcome, &row, "InvalidTrigger", false);
    assert_eq!(execution(&stack, "t"), row);
    assert!(function.invoke(Invocation::event(&order())).await.is_success());
    assert_eq!((stack.dynamodb.executions("t").len(), stack.agent.call_count()), (2, 1));
    stack.assert_clean();
}

/// The ids of an item are those of its key. What the members say decides nothing, before a change of health sets them and
/// after.
#[tokio::test]
async fn ids_that_differ_from_the_key_decide_nothing() {
    for changes in [json!({"id": "another"}), json!({"id": 7}), json!({"userId": "another"}), json!({"userId": null})] {
        let stack = stack().await;
        let function = stack.function(&[]).await;
        subscribe(&stack, "t", changes.clone());
        stack.agent.queue(Script::server_error_event("the disk is full"));
        for expected in ["AgentFailed", ""] {
            let outcome = function.invoke(Invocation::event(&order())).await;
            assert_eq!(outcome.error_type(), expected, "{changes}: {outcome:?}");
        }
        for row in stack.dynamodb.executions("t") {
            assert_eq!((&row["triggerId"], &row["userId"]), (&json!("t"), &json!(USER)), "{row:#}");
        }
        let item = stack.dynamodb.item(&format!("TRIGGER#{USER}"), "TRIGGER#t").unwrap();
        assert_eq!((&item["id"], &item["userId"], &item["health"]), (&json!("t"), &json!(USER), &json!("ok")));
        stack.assert_clean();
    }
}

#[tokio::test]
async fn an_invalid_trigger_holds_up_no_other() {
    let stack = stack().await;
    let bad = broken();
    for (at, (changes, _)) in bad.iter().enumerate() {
        subscribe(&stack, &format!("bad-{at}"), changes.clone());
    }
    for id in ["good", "better"] {
        subscribe(&stack, id, json!({}));
    }
    stack.pool(3, &[]);
    let event = order();
    let seen = publish(&stack, &event).await;
    let count = bad.len() + 2;
    assert_summary(seen.outcome().unwrap(), &event, json!({"subscriptions": count, "dispatched": count}));
    for id in ["good", "better"] {
        assert_completed(dispatched_to(&stack, id)[0].outcome().unwrap(), &execution(&stack, id));
        assert_eq!(calls_of(&stack, id), 1);
    }
    for (at, (_, path)) in bad.iter().enumerate() {
        let id = format!("bad-{at}");
        let row = execution(&stack, &id);
        for outcome in &dispatched_to(&stack, &id)[0].outcomes {
            assert_failed(outcome, &row, "InvalidTrigger", false);
        }
        assert!(row["error"].as_str().unwrap().contains(path), "{path}: {row:#}");
    }
    assert_eq!((stack.agent.call_count(), stack.lambda.failures().len()), (2, bad.len()));
    stack.assert_clean();
}

#[tokio::test]
async fn an_item_under_an_unusable_key_is_told_of_and_holds_up_no_other() {
    let long = format!("TRIGGER#{}", "x".repeat(257));
    for (pk, sk) in [
        ("TRIGGER#user-1", "SUBSCRIPTION#t"),
        ("USER#user-1", "TRIGGER#zebra"),
        ("TRIGGER#", "TRIGGER#zebra"),
        ("TRIGGER#user-1", "TRIGGER# "),
        ("TRIGGER#user-1", "TRIGGER#a\nb"),
        ("TRIGGER#user-1", "TRIGGER#\u{7f}"),
        ("TRIGGER#user-1", long.as_str()),
    ] {
        let stack = stack().await;
        stack.pool(2, &[]);
        stack.dynamodb.put_item(&trigger("t", json!({"PK": pk, "SK": sk, "prompt": null})));
        let told = |outcome: &Outcome| {
            assert_eq!(outcome.error_type(), "InvalidTrigger", "{outcome:?}");
            let body = outcome.body();
            assert_eq!((&body["retryable"], &body["statusCode"]), (&json!(false), &json!(500)));
            let message = body["message"].as_str().unwrap();
            assert!(message.contains("key") && !message.contains(sk), "{message}");
        };
        let seen = publish(&stack, &order()).await;
        seen.outcomes.iter().for_each(told);
        assert_eq!((stack.dynamodb.scan().len(), stack.agent.call_count()), (1, 0), "nothing is on record of it");

        subscribe(&stack, "good", json!({}));
        let seen = publish(&stack, &order()).await;
        seen.outcomes.iter().for_each(told);
        assert_eq!((&execution(&stack, "good")["status"], calls_of(&stack, "good")), (&json!("completed"), 1));
        assert_eq!(stack.lambda.failures().len(), 2);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn a_query_that_could_take_the_function_down_is_refused() {
    let stack = stack().await;
    let function = stack.function(&[]).await;
    let nested =
        |open: &str, close: &str, levels: usize| format!("$[?{}@.a{}]", open.repeat(levels), close.repeat(levels));
    for query in [
        nested("(", ")", 2000),
        nested("@[?", "]", 60),
        nested("!(", ")", 3000),
        format!("$..{}", "*..".repeat(20) + "*"),
    ] {
        for changes in [
            json!({"prompt": format!("{PROMPT}: {{{{ {query} }}}}")}),
            json!({"inputMapping": {"x": query}}),
            config(json!({"condition": {"field": query, "operator": "eq", "value": 1}})),
        ] {
            subscribe(&stack, "t", changes);
            let named = fails(&stack, &function, &order()).await;
            assert_eq!(named.len(), 1, "{named:?}");
            let row = execution(&stack, "t");
            stack.dynamodb.delete("TRIGGER#t", row["SK"].as_str().unwrap());
        }
    }
    assert!(function.process.is_running());
    stack.assert_clean();
}

#[tokio::test]
async fn a_trigger_whose_state_is_not_understood_has_its_results() {
    let stack = stack().await;
    stack.agent.default(Script::status(400, "no"));
    for (at, (name, value)) in [
        ("enabled", Value::Null),
        ("health", Value::Null),
        ("health", json!("thriving")),
        ("failures", json!("many")),
        ("failures", Value::Null),
        ("pauseAfterFailures", Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("trigger-{at}");
        let mut item = trigger(&id, json!({"GSI2PK": format!("EVENTSOURCE#{id}")}));
        item[name] = value;
        stack.dynamodb.put_item(&item);
        let function = stack.function(&[]).await;
        for failures in 1..=2 {
            let outcome = function.invoke(Invocation::event(&order_with(json!({"_eventSourceId": id})))).await;
            assert_eq!(outcome.error_type(), "AgentRejected", "{name}: {outcome:?}");
            let item = stack.dynamodb.item(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{id}")).unwrap();
            assert_eq!((&item["health"], &item["failures"]), (&json!("failing"), &json!(failures)), "{name}");
        }
    }
    stack.assert_clean();
}
