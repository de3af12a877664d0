//! Told once: what the stack's pipe announces of a stored trigger's health, by the template's own filter.

use std::path::Path;

use agent_trigger::trigger::pattern::Pattern;
use futures_util::future::join_all;
use serde_json::{Value, json};
use standins::{Fault, Lambda, Pipe, Rule, Stack, Template};

use crate::support::one_fire::TRIGGER;
use crate::support::stored::{
    USER, assert_completed, assert_failed, assert_health, assert_skipped, broken, edit, execution_at, fire_at, store,
    trigger,
};
use crate::trigger::health::start;

/// The template's pipe for changes of health, on the stack's table.
fn pipe(stack: &Stack) -> Pipe {
    let template = Template::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("template.yaml")).unwrap();
    let mut pipes = template.pipes().unwrap().into_iter().filter(|pipe| pipe.detail_type == "Trigger Health Change");
    let definition = pipes.next().expect("a pipe for changes of health");
    let matcher = definition.matcher(|pattern| {
        let pattern = Pattern::parse(pattern).unwrap();
        move |record: &Value| pattern.matches(record)
    });
    Pipe::start(&stack.dynamodb, definition, matcher, |_| {})
}

/// The details of what was announced so far.
fn announced(pipe: &Pipe) -> Vec<Value> {
    pipe.drain();
    assert_eq!(pipe.failures(), Vec::<String>::new());
    pipe.events().into_iter().map(|event| event["detail"].clone()).collect()
}

/// From what to what.
fn changes(pipe: &Pipe) -> Vec<(String, String)> {
    let text = |detail: &Value, name: &str| detail[name].as_str().unwrap().to_owned();
    announced(pipe).iter().map(|detail| (text(detail, "previousHealth"), text(detail, "health"))).collect()
}

fn pairs<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected.map(|(from, to)| (from.to_owned(), to.to_owned())).into()
}

async fn fails(stack: &Stack, function: &Lambda, minute: u32) {
    stack.agent.queue(broken());
    let outcome = function.invoke(fire_at(minute)).await;
    assert_failed(stack, minute, &outcome, ("AgentFailed", false));
}

async fn succeeds(stack: &Stack, function: &Lambda, minute: u32) {
    let outcome = function.invoke(fire_at(minute)).await;
    assert_completed(stack, minute, &outcome);
}

/// An item whose `id` and `userId` are another trigger's, as its writer may have put them there.
#[tokio::test]
async fn f63_a_change_of_health_names_the_trigger_of_its_key() {
    let (stack, function) = start(json!({"id": "another", "userId": "somebody-else"})).await;
    let pipe = pipe(&stack);
    fails(&stack, &function, 0).await;
    succeeds(&stack, &function, 1).await;
    let announced = announced(&pipe);
    let named: Vec<_> = announced.iter().map(|detail| (&detail["triggerId"], &detail["userId"])).collect();
    assert_eq!(named, [(&json!(TRIGGER), &json!(USER)); 2], "{announced:#?}");
    stack.assert_clean();
}

#[tokio::test]
async fn the_first_failure_the_pause_and_the_recovery_are_told_once_each() {
    let (stack, function) = start(json!({})).await;
    let pipe = pipe(&stack);
    for minute in 0..5 {
        fails(&stack, &function, minute).await;
    }
    let paused = trigger(&stack);
    let outcome = function.invoke(fire_at(5)).await;
    assert_skipped(&stack, 5, &outcome, "Paused");
    edit(&stack, &json!({"enabled": true}));
    for minute in 6..9 {
        succeeds(&stack, &function, minute).await;
    }
    let recovered = trigger(&stack);
    let announced = announced(&pipe);
    assert_eq!(announced.len(), 3, "{announced:#?}");
    let expected = json!({"triggerId": TRIGGER, "userId": USER, "name": "Quarterly files", "health": "paused",
        "previousHealth": "failing", "since": paused["pausedAt"], "failures": "5",
        "executionId": execution_at(&stack, 4)["executionId"], "errorType": "AgentFailed",
        "error": paused["healthError"], "pausedReason": "5 failures in a row"});
    assert_eq!(announced[1], expected);
    let first = execution_at(&stack, 0);
    for (name, value) in [
        ("health", json!("failing")),
        ("previousHealth", json!("")),
        ("failures", json!("1")),
        ("executionId", first["executionId"].clone()),
        ("pausedReason", json!("")),
    ] {
        assert_eq!(announced[0][name], value, "{name}");
    }
    for (name, value) in [
        ("health", json!("ok")),
        ("previousHealth", json!("paused")),
        ("since", recovered["healthSince"].clone()),
        ("failures", json!("0")),
        ("executionId", execution_at(&stack, 6)["executionId"].clone()),
        ("errorType", json!("")),
        ("error", json!("")),
        ("pausedReason", json!("")),
    ] {
        assert_eq!(announced[2][name], value, "{name}");
    }
    stack.assert_clean();
}

#[tokio::test]
async fn two_failures_and_ten_duplicates_of_each_are_told_once() {
    let (stack, function) = start(json!({})).await;
    let pipe = pipe(&stack);
    let other = stack.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "10")]).await;
    for minute in 0..2 {
        fails(&stack, &function, minute).await;
        join_all((0..10).map(|_| other.invoke(fire_at(minute)))).await;
    }
    assert_health(&stack, "failing", 2, true);
    assert_eq!(changes(&pipe), pairs([("", "failing")]));
    stack.assert_clean();
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_told_once() {
    let (stack, function) = start(json!({"pauseAfterFailures": 1})).await;
    let pipe = pipe(&stack);
    // Beyond the SDK's retries, so that it is written again under another token.
    stack.dynamodb.inject(Rule::new("TransactWriteItems", Fault::ApplyThenLose).times(7));
    fails(&stack, &function, 0).await;
    assert_health(&stack, "paused", 1, false);
    assert_eq!(changes(&pipe), pairs([("", "paused")]));
    stack.assert_clean();
}

#[tokio::test]
async fn a_pause_after_a_pause_is_told_too() {
    let (stack, function) = start(json!({"pauseAfterFailures": 1})).await;
    let pipe = pipe(&stack);
    fails(&stack, &function, 0).await;
    for minute in [1, 3] {
        edit(&stack, &json!({"enabled": true}));
        fails(&stack, &function, minute).await;
        fails(&stack, &function, minute + 1).await;
        assert_eq!((&trigger(&stack)["health"], &trigger(&stack)["enabled"]), (&json!("paused"), &json!(false)));
    }
    let again = [("paused", "failing"), ("failing", "paused")];
    assert_eq!(changes(&pipe), pairs([("", "paused"), again[0], again[1], again[0], again[1]]));
    stack.assert_clean();
}

#[tokio::test]
async fn what_people_write_is_not_told() {
    let (stack, function) = start(json!({})).await;
    let pipe = pipe(&stack);
    for change in [json!({"enabled": false}), json!({"enabled": true}), json!({"name": "Renamed"})] {
        edit(&stack, &change);
    }
    fails(&stack, &function, 0).await;
    for change in [json!({"enabled": false}), json!({"enabled": true}), json!({"lastExecutedAt": "now"})] {
        edit(&stack, &change);
    }
    fails(&stack, &function, 1).await;
    succeeds(&stack, &function, 2).await;
    fails(&stack, &function, 3).await;
    succeeds(&stack, &function, 4).await;
    let swing = [("failing", "ok"), ("ok", "failing")];
    assert_eq!(changes(&pipe), pairs([("", "failing"), swing[0], swing[1], swing[0]]));
    stack.assert_clean();
}

#[tokio::test]
async fn a_trigger_that_is_known_by_its_key_alone_is_told_by_name() {
    let (stack, function) = start(json!({})).await;
    store(&stack, json!({}));
    edit(&stack, &json!({"id": null, "userId": null, "name": null}));
    let pipe = pipe(&stack);
    fails(&stack, &function, 0).await;
    let detail = announced(&pipe).remove(0);
    assert_eq!((&detail["triggerId"], &detail["userId"], &detail["name"]), (&json!(TRIGGER), &json!(USER), &json!("")));
    stack.assert_clean();
}
