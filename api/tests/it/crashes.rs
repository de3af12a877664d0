//! The process dies after each step of each write. The same request again leaves everything consistent: the schedule is
//! what the item says, and none is left over.

use reqwest::Method;
use serde_json::{Value, json};
use standins::{Fault, Injected, Rule};

use crate::support::{LIMIT, OnPort, World, id, scheduled, subscribed};

/// A step at which the process dies: a request to a service that is applied, or not, and never answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Table(&'static str, usize, bool),
    Scheduler(&'static str, usize, bool),
    Secrets(&'static str, usize, bool),
}

fn inject(world: &World, step: Step) -> Injected {
    let fault = |is_applied: bool| if is_applied { Fault::ApplyThenHang } else { Fault::Hang };
    match step {
        Step::Table(operation, nth, is_applied) => {
            world.stack.dynamodb.inject(Rule::new(operation, fault(is_applied)).after(nth))
        }
        Step::Secrets(operation, nth, is_applied) => {
            world.stack.ssm.inject(Rule::new(operation, fault(is_applied)).after(nth))
        }
        Step::Scheduler(operation, nth, is_applied) => {
            world.scheduler.inject(Rule::new(operation, fault(is_applied)).after(nth))
        }
    }
}

/// Sends a request, and kills the process at this step of it. Returns false if the request has no such step.
pub(crate) async fn dies(
    world: &World,
    step: Step,
    method: Method,
    path: &str,
    body: Option<Value>,
    headers: &[(&str, &str)],
) -> bool {
    let api: OnPort = world.port().await;
    let rule = inject(world, step);
    let request = api.try_send(method, path, body, headers);
    let killed = async {
        while rule.hits() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        // What the stand-in was told to apply is applied when its answer would be due.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        api.process.kill();
        api.process.wait_exit(LIMIT).await;
    };
    let has_died = tokio::select! {
        answered = request => {
            if answered.is_err() { api.process.wait_exit(LIMIT).await; }
            answered.is_err()
        }
        () = killed => true,
    };
    rule.remove();
    world.stack.dynamodb.clear_faults();
    world.stack.ssm.clear_faults();
    world.scheduler.clear_faults();
    has_died
}

/// Every step that a write may have.
fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    for is_applied in [false, true] {
        for nth in 0..3 {
            steps.push(Step::Table("UpdateItem", nth, is_applied));
        }
        steps.push(Step::Table("TransactWriteItems", 0, is_applied));
        for operation in ["CreateSchedule", "DeleteSchedule"] {
            steps.push(Step::Scheduler(operation, 0, is_applied));
        }
        for nth in 0..2 {
            steps.push(Step::Scheduler("UpdateSchedule", nth, is_applied));
        }
    }
    steps
}

/// Asserts that Scheduler has what the items say, and nothing else.
fn assert_consistent(world: &World, step: Step) {
    let mut expected = Vec::new();
    for item in world.stack.dynamodb.scan() {
        let is_trigger = item["SK"].as_str().is_some_and(|sk| sk.starts_with("TRIGGER#"));
        if !is_trigger || !item["deletedAt"].is_null() || item["type"] != "schedule" {
            continue;
        }
        let name = format!("trigger-{}", item["id"].as_str().unwrap());
        let schedule = world.scheduler.schedule(&name).unwrap_or_else(|| panic!("{step:?}: no schedule of {item:#}"));
        let state = if item["enabled"] == false { "DISABLED" } else { "ENABLED" };
        assert_eq!(schedule["State"], state, "{step:?}");
        let expression = format!("cron({})", item["scheduleConfig"]["expression"].as_str().unwrap());
        assert_eq!(schedule["ScheduleExpression"], expression, "{step:?}");
        assert_eq!(item["scheduleVersion"], item["version"], "{step:?}");
        assert!(item["scheduleConfig"]["schedulerArn"].is_string(), "{step:?}");
        expected.push(name);
    }
    expected.sort();
    assert_eq!(world.scheduler.names(), expected, "{step:?}: no orphan");
}

#[tokio::test]
async fn a_creation_that_was_cut_short_is_completed() {
    let mut deaths = 0;
    for step in steps() {
        let world = World::start().await;
        let headers = [("idempotency-key", "the-same-request")];
        if !dies(&world, step, Method::POST, "/triggers", Some(scheduled()), &headers).await {
            continue;
        }
        deaths += 1;
        let api = world.port().await;
        // What is half made is shown.
        for trigger in api.get("/triggers").await.expect(200)["triggers"].as_array().unwrap() {
            assert!(["missing", "ok"].contains(&trigger["scheduleStatus"].as_str().unwrap()));
        }
        let again = api.try_send(Method::POST, "/triggers", Some(scheduled()), &headers).await.unwrap().expect(201);
        assert_eq!(again["trigger"]["scheduleStatus"], "ok", "{step:?}");
        assert_consistent(&world, step);
        assert_eq!(api.get("/triggers").await.expect(200)["metadata"]["count"], 1, "{step:?}");
    }
    assert!(deaths >= 6, "only {deaths} steps");
}

#[tokio::test]
async fn an_update_a_switch_and_a_deletion_that_were_cut_short_are_completed() {
    let change = || Some(json!({"scheduleConfig": {"expression": "30 8 ? * SUN *"}}));
    let to_event = || {
        let mut body = subscribed();
        body["name"] = json!("Uploads");
        Some(body)
    };
    for (name, method, route, body, first, least) in [
        ("update", Method::PUT, "", change(), None, 6),
        ("change of type", Method::PUT, "", to_event(), None, 6),
        ("disable", Method::POST, "/disable", Some(json!({})), None, 6),
        ("enable", Method::POST, "/enable", Some(json!({})), Some("/disable"), 6),
        ("delete", Method::DELETE, "", None, None, 5),
    ] {
        let mut deaths = 0;
        for step in steps() {
            let world = World::start().await;
            let (trigger, path) = {
                let api = world.port().await;
                let trigger = api.create(scheduled()).await;
                let path = format!("/triggers/{}", id(&trigger));
                if let Some(first) = first {
                    api.post(&format!("{path}{first}"), json!({})).await.expect(200);
                }
                (trigger, path)
            };
            let path = format!("{path}{route}");
            if !dies(&world, step, method.clone(), &path, body.clone(), &[]).await {
                continue;
            }
            deaths += 1;
            let api = world.port().await;
            let again = api.try_send(method.clone(), &path, body.clone(), &[]).await.unwrap();
            assert_eq!(again.status, 200, "{name} {step:?}: {:#}", again.body);
            assert_consistent(&world, step);
            if name == "delete" {
                assert_eq!(world.schedule(id(&trigger)), None, "{step:?}");
                assert!(world.item(id(&trigger))["ttl"].is_u64(), "{step:?}: DynamoDB deletes the tombstone");
                assert_eq!(api.get("/triggers").await.expect(200)["metadata"]["count"], 0);
            }
        }
        assert!(deaths >= least, "{name}: only {deaths} steps");
    }
}
