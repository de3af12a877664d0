//! What Scheduler gets, what its refusals become, and when runs are predicted.

use serde_json::{Value, json};
use standins::lambda_api::FUNCTION_ARN;
use standins::{Fault, Gate, Rule, SCHEDULE_GROUP, SCHEDULER_ROLE};

use crate::support::{USER, World, id, scheduled};

#[tokio::test]
async fn scheduler_gets_ids_alone() {
    let world = World::start().await;
    let api = world.port().await;
    let mut request = scheduled();
    request["scheduleConfig"]["flexibleTimeWindowMinutes"] = json!(15);
    request["scheduleConfig"]["endDate"] = json!("2099-01-01T00:00:00Z");
    let trigger = api.create(request).await;
    let schedule = world.schedule(id(&trigger)).unwrap();
    let input: Value = serde_json::from_str(schedule["Target"]["Input"].as_str().unwrap()).unwrap();
    assert_eq!(
        input,
        json!({"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": {"triggerId": id(&trigger),
        "userId": USER, "stored": true, "scheduledTime": "<aws.scheduler.scheduled-time>"}})
    );
    assert!(!schedule.to_string().contains("daily report"), "no prompt stands in Scheduler");
    let expected = json!({"GroupName": SCHEDULE_GROUP, "ScheduleExpression": "cron(0 9 ? * MON-FRI *)",
        "ScheduleExpressionTimezone": "Europe/Berlin", "State": "ENABLED", "ActionAfterCompletion": "NONE",
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}, "EndDate": 4_070_908_800_u64});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(
            schedule[name].as_f64().map_or_else(|| schedule[name].clone(), |n| json!(n as u64)),
            *value,
            "{name}"
        );
    }
    let target = &schedule["Target"];
    assert_eq!((&target["Arn"], &target["RoleArn"]), (&json!(FUNCTION_ARN), &json!(SCHEDULER_ROLE)));
    assert_eq!(target["DeadLetterConfig"]["Arn"], "arn:aws:sqs:us-east-1:123456789012:failed");
    assert!(target["RetryPolicy"]["MaximumRetryAttempts"].is_u64());

    // A new prompt is nothing that Scheduler has.
    world.scheduler.clear_requests();
    let path = format!("/triggers/{}", id(&trigger));
    api.put(&path, json!({"prompt": "Write the weekly report"})).await.expect(200);
    assert_eq!(world.scheduler.requests(), Vec::new());
    // An update replaces everything.
    let changed = api.put(&path, json!({"scheduleConfig": {"expression": "*/20 8-10 * * 1-5"}})).await.expect(200);
    assert_eq!(changed["trigger"]["scheduleStatus"], "ok");
    assert_eq!(world.scheduler.count("UpdateSchedule"), 1);
    let schedule = world.schedule(id(&trigger)).unwrap();
    assert_eq!(schedule["ScheduleExpression"], "cron(*/20 8-10 ? * 2-6 *)", "Unix cron is translated");
    assert_eq!((&schedule["ScheduleExpressionTimezone"], &schedule["Target"]), (&json!("Europe/Berlin"), target));
    for (route, state) in [("disable", "DISABLED"), ("enable", "ENABLED")] {
        api.post(&format!("{path}/{route}"), json!({})).await.expect(200);
        assert_eq!(world.schedule(id(&trigger)).unwrap()["State"], state);
    }
    let mut once = scheduled();
    // Scheduler ignores the dates of a schedule that fires once.
    once["scheduleConfig"] = json!({"expression": "at(2099-01-01T00:00:00)", "startDate": "2099-02-01T00:00:00Z",
        "endDate": "2099-03-01T00:00:00Z"});
    let once = api.create(once).await;
    let sent = world.schedule(id(&once)).unwrap();
    assert_eq!(sent["ActionAfterCompletion"], "DELETE");
    assert_eq!((sent.get("StartDate"), sent.get("EndDate")), (None, None));
    assert_eq!(once["nextRun"], "2099-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn what_scheduler_refuses_leaves_nothing() {
    let world = World::start().await;
    let api = world.port().await;
    // No expression that the API takes is refused by the stand-in, so its name is made to be.
    let rule = world.scheduler.inject(Rule::new("CreateSchedule", Fault::NotFound));
    let answer = api.post("/triggers", scheduled()).await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (502, Some("UPSTREAM_ERROR")), "{:#}", answer.body);
    assert_eq!(
        (answer.headers.get("retry-after"), &answer.body["message"]),
        (None, &json!("the schedule group does not exist"))
    );
    rule.remove();
    let listed = api.get("/triggers").await.expect(200);
    assert_eq!(listed["triggers"][0]["scheduleStatus"], "missing", "what is half made is shown");
    let trigger = listed["triggers"][0].clone();
    // Saving again mends it.
    let saved = api.put(&format!("/triggers/{}", id(&trigger)), json!({})).await.expect(200);
    assert_eq!(saved["trigger"]["scheduleStatus"], "ok");
    assert!(world.schedule(id(&trigger)).is_some());

    world.stack.dynamodb.put_item(&json!({"PK": format!("TRIGGER#{USER}"), "SK": "TRIGGER#hand made", "id": "hand made", "userId": USER,
        "type": "schedule", "name": "n", "agentId": "a", "prompt": "p", "scheduleConfig": {"expression": "rate(1 day)"}}));
    let refused = api.put("/triggers/hand%20made", json!({"name": "m"})).await;
    assert_eq!(refused.violations(), ["scheduleConfig.expression"]);
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.contains("regular expression"), "Scheduler's own words: {message}");
}

#[tokio::test]
async fn scheduler_away_is_said_and_completed_later() {
    let world = World::start().await;
    let api = world.port().await;
    let trigger = api.create(scheduled()).await;
    let path = format!("/triggers/{}", id(&trigger));
    for fault in [Fault::ServerError, Fault::Throttle] {
        let rule = world.scheduler.inject(Rule::any(fault));
        let answer = api.put(&path, json!({"scheduleConfig": {"expression": "rate(3 hours)"}})).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (503, Some("SERVICE_UNAVAILABLE")));
        let enabling = api.post(&format!("{path}/enable"), json!({})).await;
        assert_eq!(enabling.status, 503);
        rule.remove();
        let status = api.get(&format!("{path}/status")).await.expect(200)["status"].clone();
        assert_eq!(status["scheduleStatus"], "missing", "{status:#}");
        // What Scheduler may not have is not promised.
        assert_eq!(status["nextRuns"], json!([]));
        assert_eq!(api.get("/upcoming-runs").await.expect(200)["runs"], json!([]));
        let saved = api.put(&path, json!({"scheduleConfig": {"expression": "rate(3 hours)"}})).await.expect(200);
        assert_eq!(saved["trigger"]["scheduleStatus"], "ok");
        assert_eq!(world.schedule(id(&trigger)).unwrap()["ScheduleExpression"], "rate(3 hours)");
        api.put(&path, json!({"scheduleConfig": {"expression": "rate(1 hour)"}})).await.expect(200);
    }
    let rule = world.scheduler.inject(Rule::any(Fault::Deny));
    let answer = api.put(&path, json!({"scheduleConfig": {"expression": "rate(4 hours)"}})).await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (502, Some("UPSTREAM_ERROR")));
    rule.remove();
    // Somebody deleted the schedule by hand: the status asks Scheduler itself.
    api.put(&path, json!({})).await.expect(200);
    world.scheduler.forget(&format!("trigger-{}", id(&trigger)));
    let status = api.get(&format!("{path}/status")).await.expect(200)["status"].clone();
    assert_eq!(status["scheduleStatus"], "missing");
    api.post(&format!("{path}/enable"), json!({})).await.expect(200);
    assert!(world.schedule(id(&trigger)).is_some());
    // To save it again with its schedule does the same. What is there is not written again: a rate would count anew.
    let form = json!({"name": "n", "scheduleConfig": {"expression": "rate(1 hour)"}});
    api.put(&path, form.clone()).await.expect(200);
    world.scheduler.forget(&format!("trigger-{}", id(&trigger)));
    world.scheduler.clear_requests();
    api.put(&path, form.clone()).await.expect(200);
    assert_eq!(world.schedule(id(&trigger)).unwrap()["ScheduleExpression"], "rate(1 hour)");
    world.scheduler.clear_requests();
    api.put(&path, form).await.expect(200);
    assert_eq!((world.scheduler.count("UpdateSchedule"), world.scheduler.count("CreateSchedule")), (0, 0));
    let status = api.get(&format!("{path}/status")).await.expect(200)["status"].clone();
    assert_eq!(status["scheduleStatus"], "ok");
}

#[tokio::test]
async fn coming_runs_are_shown_in_utc_and_in_the_zone() {
    let world = World::start().await;
    let api = world.lambda(&[("MIN_SCHEDULE_MINUTES", "10")]).await;
    let preview = json!({"expression": "30 2 29 3 ? 2099", "timezone": "Europe/Berlin", "limit": 2});
    // In 2099 the clocks of Berlin go forward on 29 March, so that 02:30 does not exist.
    let refused = api.send("POST", "/schedules/preview", Some(preview)).await;
    assert_eq!(refused.violations(), ["expression"]);
    let preview = json!({"expression": "30 3 29 3 ? 2099", "timezone": "Europe/Berlin", "limit": 2});
    let shown = api.send("POST", "/schedules/preview", Some(preview)).await.expect(200);
    assert_eq!(shown["nextRuns"], json!([{"utc": "2099-03-29T01:30:00.000Z", "local": "2099-03-29T03:30:00+02:00"}]));
    // Scheduler ignores the start of a schedule that fires once.
    let preview = json!({"expression": "at(2099-03-29T03:30:00)", "startDate": "2099-04-01T00:00:00Z"});
    let shown = api.send("POST", "/schedules/preview", Some(preview)).await.expect(200);
    assert_eq!(shown["nextRuns"][0]["utc"], "2099-03-29T03:30:00.000Z");
    let preview = json!({"expression": "0 9 ? * MON-FRI *", "timezone": "America/New_York", "limit": 3,
        "startDate": "2099-03-06T00:00:00Z"});
    let shown = api.send("POST", "/schedules/preview", Some(preview)).await.expect(200);
    assert_eq!(shown["expression"], "cron(0 9 ? * MON-FRI *)");
    assert_eq!(shown["nextRuns"][0], json!({"utc": "2099-03-06T14:00:00.000Z", "local": "2099-03-06T09:00:00-05:00"}));
    assert_eq!(shown["nextRuns"][1], json!({"utc": "2099-03-09T13:00:00.000Z", "local": "2099-03-09T09:00:00-04:00"}));
    assert_eq!(shown["notes"], json!(["the clocks change between these runs"]));
    // The clocks of Berlin go back on 25 October 2099. A calendar fires at the first of two such times, a rate at both.
    for (expression, runs, has_note) in [("30 2 25 10 ? 2099", 1, true), ("rate(30 minutes)", 4, false)] {
        let preview = json!({"expression": expression, "timezone": "Europe/Berlin", "limit": 4,
            "startDate": "2099-10-25T00:00:00Z"});
        let shown = api.send("POST", "/schedules/preview", Some(preview)).await.expect(200);
        let next = shown["nextRuns"].as_array().unwrap();
        assert_eq!(next.len(), runs, "{shown:#}");
        assert!(next.iter().all(|run| run.get("note").is_some() == has_note), "{shown:#}");
    }
    for (body, field) in [
        (json!({"expression": "0/1 0/2 * * ? *"}), "expression"),
        (json!({"expression": "at(2099-03-29T02:30:00)", "timezone": "Europe/Berlin"}), "expression"),
        (json!({"expression": "rate(1 day)", "timezone": "Berlin"}), "timezone"),
        (json!({"expression": "rate(1 day)", "endDate": "2020-01-01T00:00:00Z"}), "endDate"),
    ] {
        let answer = api.send("POST", "/schedules/preview", Some(body.clone())).await;
        assert_eq!(answer.violations(), [field], "{body}");
    }
    let trigger = api.send("POST", "/triggers", Some(scheduled())).await.expect(201)["trigger"].clone();
    let runs = api.send("GET", &format!("/triggers/{}/next-runs?limit=4", id(&trigger)), None).await.expect(200);
    assert_eq!(runs["nextRuns"].as_array().unwrap().len(), 4);
    assert_eq!(runs["nextRuns"][0]["utc"], trigger["nextRun"]);
    let upcoming = api.send("GET", "/upcoming-runs?limit=2", None).await.expect(200);
    assert_eq!(upcoming["runs"][0]["at"], trigger["nextRun"]);
    assert_eq!(upcoming["runs"].as_array().unwrap().len(), 2);
    api.send("POST", &format!("/triggers/{}/disable", id(&trigger)), None).await.expect(200);
    assert_eq!(api.send("GET", "/upcoming-runs", None).await.expect(200)["runs"], json!([]));
}

#[tokio::test]
async fn a_schedule_that_another_api_made_is_replaced_and_never_doubled() {
    let world = World::start().await;
    let api = world.port().await;
    for (trigger, route) in [("saved", ""), ("off", "/disable"), ("on", "/enable")] {
        world.scheduler.put_foreign(&format!("trigger-{trigger}"), json!({"State": "ENABLED", "Target": {}}));
        world.stack.dynamodb.put_item(&json!({"PK": format!("TRIGGER#{USER}"), "SK": format!("TRIGGER#{trigger}"), "id": trigger,
            "userId": USER, "type": "schedule", "name": "n", "agentId": "a", "prompt": "p",
            "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z", "enabled": true, "scheduleConfig":
            {"expression": "0 9 * * ? *", "schedulerArn": "arn:aws:scheduler:…:schedule/default/x", "scheduleGroupName": "default"}}));
        let path = format!("/triggers/{trigger}");
        assert_eq!(api.get(&path).await.expect(200)["trigger"]["scheduleStatus"], "ok");
        let status = api.get(&format!("{path}/status")).await.expect(200)["status"].clone();
        assert_eq!((&status["scheduleStatus"], &status["schedule"]), (&json!("ok"), &json!({"unknown": true})));
        let answer = match route {
            "" => api.put(&path, json!({"name": "m"})).await,
            route => api.post(&format!("{path}{route}"), json!({})).await,
        };
        let expected = if trigger == "off" { "disabled" } else { "ok" };
        assert_eq!(answer.expect(200)["trigger"]["scheduleStatus"], expected);
        assert_eq!(world.scheduler.names(), [format!("trigger-{trigger}")]);
        api.delete(&path).await.expect(200);
        assert_eq!(world.scheduler.names(), Vec::<String>::new());
    }
    // One that is deleted without having been saved leaves nothing behind either.
    world.scheduler.put_foreign("trigger-old", json!({"State": "ENABLED", "Target": {}}));
    world.stack.dynamodb.put_item(
        &json!({"PK": format!("TRIGGER#{USER}"), "SK": "TRIGGER#old", "id": "old", "userId": USER,
        "type": "schedule", "agentId": "a", "prompt": "p", "scheduleConfig": {"expression": "0 9 * * ? *",
        "schedulerArn": "arn", "scheduleGroupName": "default"}}),
    );
    api.delete("/triggers/old").await.expect(200);
    assert_eq!(world.scheduler.names(), Vec::<String>::new());
    let number = json!({"name": "n", "type": "event", "agentId": "a", "prompt": "p", "input": {"large": 1e200},
        "eventConfig": {"eventSourceId": "aws-s3"}});
    assert_eq!(api.post("/triggers", number).await.status, 400, "what the table does not take is the client's fault");
}

/// Stores a trigger of another API with its schedule in the group `default`.
fn put_adopted(world: &World, trigger: &str) {
    world.scheduler.put_foreign(&format!("trigger-{trigger}"), json!({"State": "ENABLED", "Target": {}}));
    world.stack.dynamodb.put_item(&json!({"PK": format!("TRIGGER#{USER}"), "SK": format!("TRIGGER#{trigger}"), "id": trigger,
        "userId": USER, "type": "schedule", "name": "n", "agentId": "a", "prompt": "p",
            "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z", "enabled": true, "scheduleConfig":
        {"expression": "0 9 * * ? *", "schedulerArn": "arn:aws:scheduler:…:schedule/default/x", "scheduleGroupName": "default"}}));
}

#[tokio::test]
async fn a_schedule_that_another_api_made_goes_with_its_trigger() {
    let world = World::start().await;
    let api = world.port().await;
    // The group is not adopted: what would go on firing stays in sight.
    put_adopted(&world, "deleted");
    let rule = world.scheduler.inject(Rule::new("DeleteSchedule", Fault::Deny));
    for _ in 0..2 {
        assert_eq!(api.delete("/triggers/deleted").await.status, 502);
        assert_eq!(api.get("/triggers/deleted").await.expect(200)["trigger"]["enabled"], true);
    }
    rule.remove();
    api.delete("/triggers/deleted").await.expect(200);
    assert_eq!(world.scheduler.names(), Vec::<String>::new());

    put_adopted(&world, "changed");
    let event = json!({"type": "event", "eventConfig": {"eventSourceId": "aws-s3"}});
    let rule = world.scheduler.inject(Rule::new("DeleteSchedule", Fault::Deny));
    assert_eq!(api.put("/triggers/changed", event.clone()).await.status, 502);
    let half = api.get("/triggers/changed").await.expect(200)["trigger"].clone();
    assert_eq!((&half["type"], &half["scheduleStatus"]), (&json!("event"), &json!("missing")));
    rule.remove();
    let changed = api.put("/triggers/changed", event).await.expect(200)["trigger"].clone();
    assert_eq!((changed.get("scheduleStatus"), changed.get("scheduleConfig")), (None, None));
    assert_eq!(world.scheduler.names(), Vec::<String>::new());
    for name in ["scheduleVersion", "scheduleConfig"] {
        assert_eq!(world.item("changed").get(name), None);
    }
}

#[tokio::test]
async fn what_is_half_made_is_shown() {
    let world = World::start().await;
    let api = world.port().await;
    let trigger = api.create(scheduled()).await;
    let path = format!("/triggers/{}", id(&trigger));
    let rule = world.scheduler.inject(Rule::new("DeleteSchedule", Fault::ServerError));
    // A trigger that was a schedule still has one.
    let event = json!({"type": "event", "eventConfig": {"eventSourceId": "aws-s3"}});
    assert_eq!(api.put(&path, event.clone()).await.status, 503);
    assert_eq!(api.get(&path).await.expect(200)["trigger"]["scheduleStatus"], "missing");
    assert_eq!(api.get(&format!("{path}/status")).await.expect(200)["status"]["scheduleStatus"], "missing");
    rule.remove();
    assert_eq!(api.put(&path, event).await.expect(200)["trigger"].get("scheduleStatus"), None);

    // A trigger is deleted, and its schedule goes on.
    let trigger = api.create(scheduled()).await;
    let path = format!("/triggers/{}", id(&trigger));
    let rule = world.scheduler.inject(Rule::new("DeleteSchedule", Fault::ServerError));
    assert_eq!(api.delete(&path).await.status, 503);
    let shown = api.get(&path).await.expect(200)["trigger"].clone();
    assert_eq!((&shown["enabled"], &shown["scheduleStatus"]), (&json!(false), &json!("missing")));
    assert_eq!((shown["deletedAt"].is_string(), shown.get("nextRun")), (true, None));
    assert_eq!(api.get("/triggers?enabled=false").await.expect(200)["metadata"]["count"], 1);
    assert_eq!(api.get("/upcoming-runs").await.expect(200)["runs"], json!([]));
    assert!(world.item(id(&trigger)).get("ttl").is_none(), "it stays until its schedule is deleted");
    let status = api.get(&format!("{path}/status")).await.expect(200)["status"].clone();
    assert_eq!((&status["enabled"], &status["scheduleStatus"]), (&json!(false), &json!("missing")));
    // Its runs are shown. It cannot be brought back, and runs no more.
    let run = world.put_execution(id(&trigger), "2026-01-01T07:00:00Z", json!({"status": "failed"}));
    world.stack.dynamodb.put_item(&json!({"PK": format!("TRIGGER#{}", id(&trigger)), "SK": format!("INPUT#{run}"),
        "detail": json!({"userId": USER, "agentId": "agent-1", "prompt": "Look at it"}).to_string()}));
    assert_eq!(api.get(&format!("{path}/executions")).await.expect(200)["metadata"]["count"], 1);
    assert_eq!(api.post(&format!("{path}/executions/{run}/replay"), json!({})).await.status, 404);
    world.scheduler.clear_requests();
    for route in ["enable", "disable", "run"] {
        assert_eq!(api.post(&format!("{path}/{route}"), json!({})).await.status, 404, "{route}");
    }
    assert_eq!(api.put(&path, json!({"name": "m"})).await.status, 404);
    assert_eq!(world.scheduler.requests(), Vec::new());
    rule.remove();
    api.delete(&path).await.expect(200);
    assert!(world.item(id(&trigger))["ttl"].is_u64());
    assert_eq!(api.get(&path).await.status, 404);
    assert_eq!(api.get("/triggers").await.expect(200)["metadata"]["count"], 1);
    assert_eq!(world.scheduler.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_switch_that_comes_too_late_makes_no_schedule() {
    let world = World::start().await;
    let api = world.port().await;
    for is_deletion in [true, false] {
        let trigger = api.create(scheduled()).await;
        let path = format!("/triggers/{}", id(&trigger));
        api.post(&format!("{path}/disable"), json!({})).await.expect(200);
        // The schedule is to be enabled, and is deleted before that.
        let gate = Gate::new();
        let rule = world.scheduler.inject(Rule::new("UpdateSchedule", Fault::GateBefore(gate.clone())).once());
        let first = async {
            gate.reached().await;
            if is_deletion {
                api.delete(&path).await.expect(200);
            } else {
                let event = json!({"type": "event", "eventConfig": {"eventSourceId": "aws-s3"}});
                api.put(&path, event).await.expect(200);
            }
            gate.release();
        };
        let route = format!("{path}/enable");
        let (enabled, ()) = tokio::join!(api.post(&route, json!({})), first);
        assert_eq!(enabled.status, if is_deletion { 404 } else { 200 }, "{:#}", enabled.body);
        rule.remove();
        assert_eq!(world.scheduler.names(), Vec::<String>::new(), "deleted: {is_deletion}");
    }
}

#[tokio::test]
async fn a_schedule_that_has_ended_can_be_switched_on() {
    let world = World::start().await;
    let api = world.port().await;
    for (trigger, config) in [
        ("once", json!({"expression": "at(2020-01-01T00:00:00)", "timezone": "Asia/Tokyo"})),
        ("ended", json!({"expression": "rate(1 hour)", "endDate": "2020-01-01T00:00:00Z"})),
    ] {
        world.stack.dynamodb.put_item(&json!({"PK": format!("TRIGGER#{USER}"), "SK": format!("TRIGGER#{trigger}"),
            "id": trigger, "userId": USER, "type": "schedule", "name": "n", "agentId": "a", "prompt": "p",
            "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z", "enabled": false,
            "version": 2, "scheduleVersion": 2, "scheduleConfig": config}));
        let answer = api.post(&format!("/triggers/{trigger}/enable"), json!({})).await.expect(200);
        assert_eq!(
            (&answer["trigger"]["enabled"], &answer["trigger"]["scheduleStatus"]),
            (&json!(true), &json!("done"))
        );
    }
    assert_eq!(world.scheduler.names(), Vec::<String>::new());
}

#[tokio::test]
async fn the_same_creation_again_never_deletes() {
    let world = World::start().await;
    let api = world.port().await;
    let headers = [("idempotency-key", "the-same-request")];
    let send = || api.try_send(reqwest::Method::POST, "/triggers", Some(scheduled()), &headers);
    let trigger = send().await.unwrap().expect(201)["trigger"].clone();
    let path = format!("/triggers/{}", id(&trigger));
    world.scheduler.refuse("SUN");
    let change = json!({"scheduleConfig": {"expression": "0 9 ? * SUN *"}});
    assert_eq!(api.put(&path, change).await.violations(), ["scheduleConfig.expression"]);
    assert_eq!(send().await.unwrap().violations(), ["scheduleConfig.expression"]);
    assert_eq!(api.get(&path).await.expect(200)["trigger"]["scheduleStatus"], "missing");
    let back = json!({"scheduleConfig": {"expression": "0 9 ? * MON *"}});
    assert_eq!(api.put(&path, back).await.expect(200)["trigger"]["scheduleStatus"], "ok");
}

#[tokio::test]
async fn a_creation_that_scheduler_refuses_leaves_nothing() {
    let world = World::start().await;
    let api = world.lambda(&[("TRIGGER_LIMIT", "1")]).await;
    world.scheduler.refuse("MON-FRI");
    let refused = api.send("POST", "/triggers", Some(scheduled())).await;
    assert_eq!(refused.violations(), ["scheduleConfig.expression"]);
    assert!(refused.body["message"].as_str().unwrap().contains("Invalid Schedule Expression cron(0 9 ? * MON-FRI *)."));
    assert_eq!(api.send("GET", "/triggers", None).await.expect(200)["triggers"], json!([]));
    assert_eq!(world.scheduler.names(), Vec::<String>::new());
    // It is not counted either.
    let mut request = scheduled();
    request["scheduleConfig"]["expression"] = json!("0 9 ? * MON *");
    let trigger = api.send("POST", "/triggers", Some(request)).await.expect(201)["trigger"].clone();
    // A change that is refused stands in the item, and is shown as one that Scheduler does not have.
    let change = json!({"scheduleConfig": {"expression": "0 9 ? * MON-FRI *"}});
    let path = format!("/triggers/{}", id(&trigger));
    assert_eq!(api.send("PUT", &path, Some(change)).await.violations(), ["scheduleConfig.expression"]);
    assert_eq!(api.send("GET", &path, None).await.expect(200)["trigger"]["scheduleStatus"], "missing");
    let back = json!({"scheduleConfig": {"expression": "0 9 ? * MON *"}});
    assert_eq!(api.send("PUT", &path, Some(back)).await.expect(200)["trigger"]["scheduleStatus"], "ok");
}
