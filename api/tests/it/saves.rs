//! Saves that fail at Scheduler after the item was written, and saves that leave a schedule as it is.

use reqwest::Method;
use serde_json::json;
use standins::{Fault, Gate, Rule};

use crate::support::{USER, World, id, scheduled, subscribed};

/// The form sends the version that it was opened with. Its own half-done save is not somebody else's.
#[tokio::test]
async fn a_save_that_fails_at_scheduler_says_the_version_that_it_made() {
    let world = World::start().await;
    let api = world.port().await;
    let path = format!("/triggers/{}", id(&api.create(scheduled()).await));
    let save = async |version: &str, expression: &str| {
        let body = json!({"scheduleConfig": {"expression": expression}});
        api.try_send(Method::PUT, &path, Some(body), &[("if-match", version)]).await.unwrap()
    };
    for (fault, status) in [(Fault::ServerError, 503), (Fault::Throttle, 503), (Fault::Deny, 502)] {
        let rule = world.scheduler.inject(Rule::new("UpdateSchedule", fault));
        let version = api.get(&path).await.expect(200)["trigger"]["version"].as_u64().unwrap();
        let failed = save(&version.to_string(), "0 8 ? * SUN *").await;
        assert_eq!(failed.headers.get("retry-after").is_some(), status == 503);
        let details = failed.expect(status)["details"].clone();
        assert_eq!(details["version"], version + 1, "{details:#}");
        rule.remove();
        let saved = save(&details["version"].to_string(), "0 8 ? * SUN *").await.expect(200);
        assert_eq!(saved["trigger"]["scheduleStatus"], "ok");
        let saved = save(&saved["trigger"]["version"].to_string(), "0 9 ? * SUN *").await.expect(200);
        assert_eq!(save(&version.to_string(), "0 9 ? * SUN *").await.status, 412, "somebody else was first");
        assert_eq!(saved["trigger"]["version"], version + 3);
    }
    // An expression that Scheduler refuses stands in the item.
    world.scheduler.refuse("TUE");
    let version = api.get(&path).await.expect(200)["trigger"]["version"].clone();
    let refused = save(&version.to_string(), "0 9 ? * TUE *").await;
    assert_eq!(refused.violations(), ["scheduleConfig.expression"]);
    let version = refused.body["details"]["version"].to_string();
    save(&version, "0 9 ? * WED *").await.expect(200);
    // A creation says which trigger it has made, so that the next save does not make another one.
    let rule = world.scheduler.inject(Rule::new("CreateSchedule", Fault::ServerError));
    let details = api.post("/triggers", scheduled()).await.expect(503)["details"].clone();
    rule.remove();
    let made = format!("/triggers/{}", details["triggerId"].as_str().unwrap());
    let version = details["version"].to_string();
    let saved =
        api.try_send(Method::PUT, &made, Some(scheduled()), &[("if-match", &version)]).await.unwrap().expect(200);
    assert_eq!(saved["trigger"]["scheduleStatus"], "ok");
    assert_eq!(api.get("/triggers").await.expect(200)["metadata"]["count"], 2);
}

#[tokio::test]
async fn a_schedule_that_is_as_it_should_be_is_not_written_again() {
    let world = World::start().await;
    let api = world.port().await;
    let headers = [("idempotency-key", "the-same-request")];
    let create =
        || async { api.try_send(Method::POST, "/triggers", Some(scheduled()), &headers).await.unwrap().expect(201) };
    let trigger = create().await["trigger"].clone();
    let path = format!("/triggers/{}", id(&trigger));
    let route = async |route: &str| api.post(&format!("{path}/{route}"), json!({})).await;
    for (written, routes) in
        [(0, ["", "enable", "enable"]), (1, ["disable", "disable", "disable"]), (0, ["", "disable", ""])]
    {
        world.scheduler.clear_requests();
        for name in routes {
            let shown = if name.is_empty() { create().await } else { route(name).await.expect(200) };
            let state = if shown["trigger"]["enabled"] == true { "ok" } else { "disabled" };
            assert_eq!(shown["trigger"]["scheduleStatus"], state, "{name}");
            assert_eq!(world.item(id(&trigger))["scheduleVersion"], shown["trigger"]["version"], "{name}");
        }
        let count = world.scheduler.count("UpdateSchedule") + world.scheduler.count("CreateSchedule");
        assert_eq!(count, written, "{routes:?}");
    }
    // One that is gone, or that somebody has switched off at Scheduler, is mended.
    route("enable").await.expect(200);
    let name = format!("trigger-{}", id(&trigger));
    world.scheduler.forget(&name);
    create().await;
    assert!(world.schedule(id(&trigger)).is_some());
    let mut off = world.schedule(id(&trigger)).unwrap();
    off["State"] = json!("DISABLED");
    world.scheduler.put_foreign(&name, off);
    route("enable").await.expect(200);
    assert_eq!(world.schedule(id(&trigger)).unwrap()["State"], "ENABLED");
}

#[tokio::test]
async fn an_item_that_vanishes_under_a_save_leaves_no_schedule() {
    let world = World::start().await;
    let api = world.port().await;
    let trigger = api.create(scheduled()).await;
    let gate = Gate::new();
    world.scheduler.inject(Rule::new("UpdateSchedule", Fault::GateBefore(gate.clone())).once());
    let vanishes = async {
        gate.reached().await;
        world.stack.dynamodb.delete(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{}", id(&trigger)));
        gate.release();
    };
    let path = format!("/triggers/{}", id(&trigger));
    let change = json!({"scheduleConfig": {"expression": "0 8 ? * SUN *"}});
    let (saved, ()) = tokio::join!(api.put(&path, change), vanishes);
    assert_eq!(saved.status, 404, "{:#}", saved.body);
    assert_eq!(world.scheduler.names(), Vec::<String>::new());
}

/// The runs of all triggers come by their times, however many each of them has.
#[tokio::test]
async fn coming_runs_of_several_triggers_are_in_the_order_of_their_times() {
    let world = World::start().await;
    let api = world.port().await;
    for expression in ["0 0/6 * * ? *", "0 0/4 * * ? *", "at(2199-01-01T00:00:00)"] {
        let mut request = scheduled();
        request["name"] = json!(expression);
        request["scheduleConfig"] = json!({"expression": expression});
        api.create(request).await;
    }
    api.create(subscribed()).await;
    let runs = api.get("/upcoming-runs?limit=10").await.expect(200)["runs"].clone();
    let runs: Vec<_> = runs
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["at"].as_str().unwrap(), run["name"].as_str().unwrap()))
        .collect();
    assert!(runs.len() == 10 && runs.is_sorted_by_key(|(at, _)| *at), "{runs:?}");
    let of = |name: &str| runs.iter().filter(|(_, found)| *found == name).count();
    assert!(of("0 0/6 * * ? *") == 4 && of("0 0/4 * * ? *") == 6, "{runs:?}");
}
