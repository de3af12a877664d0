//! Lists of executions, single ones, and what can be done with them.

use agent_trigger::domain::fire::{Identity, execution_id};
use agent_trigger::json::{lenient, surrogate::to_json};
use serde_json::{Value, json};
use standins::{Fault, Rule};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::support::{World, id, scheduled, subscribed};

fn ids(answer: &Value) -> Vec<&str> {
    answer["executions"].as_array().unwrap().iter().map(|row| row["executionId"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn lists_are_newest_first_filtered_and_paged() {
    let world = World::start().await;
    let api = world.port().await;
    let trigger = api.create(subscribed()).await;
    let path = format!("/triggers/{}/executions", id(&trigger));
    let mut made = Vec::new();
    for day in 1..=9 {
        let status = if day % 3 == 0 { "failed" } else { "completed" };
        made.push(world.put_execution(id(&trigger), &format!("2026-01-0{day}T07:00:00Z"), json!({"status": status})));
    }
    // Another user's row, one whose time is over, and the items beside executions are not shown.
    world.put_execution(id(&trigger), "2026-01-05T08:00:00Z", json!({"userId": "other"}));
    let over = jiff::Timestamp::now().as_second() - 60;
    world.put_execution(id(&trigger), "2026-01-05T09:00:00Z", json!({"ttl": over}));
    world.stack.dynamodb.put_item(&json!({"PK": format!("TRIGGER#{}", id(&trigger)), "SK": "RUNNING#user-1"}));
    let newest: Vec<&str> = made.iter().rev().map(String::as_str).collect();
    let all = api.get(&path).await.expect(200);
    assert_eq!(ids(&all), newest);
    assert_eq!(all["executions"][0].get("output"), None, "lists are short");
    assert_eq!(all["executions"][0]["hasOutput"], true);
    let oldest = api.get(&format!("{path}?order=asc&limit=2")).await.expect(200);
    assert_eq!(ids(&oldest), [&made[0], &made[1]]);
    let failed = api.get(&format!("{path}?status=failed")).await.expect(200);
    assert_eq!(ids(&failed), [&made[8], &made[5], &made[2]]);
    let both = api.get(&format!("{path}?status=failed,completed&limit=100")).await.expect(200);
    assert_eq!(ids(&both).len(), 9);
    let between = api.get(&format!("{path}?from=2026-01-03T07:00:00Z&to=2026-01-05T07:00:00Z")).await.expect(200);
    assert_eq!(ids(&between), [&made[4], &made[3], &made[2]]);
    assert_eq!(
        ids(&api.get(&format!("{path}?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z")).await.expect(200)).len(),
        0
    );

    for query in ["limit=4", "limit=4&order=asc", "limit=2&status=failed", "limit=2&from=2026-01-02T00:00:00Z"] {
        let whole = api
            .get(&format!("{path}?{}&limit=100", query.split_once('&').map_or("", |(_, rest)| rest)))
            .await
            .expect(200);
        let mut found: Vec<String> = Vec::new();
        let mut next = format!("{path}?{query}");
        loop {
            let page = api.get(&next).await.expect(200);
            found.extend(ids(&page).iter().map(|id| (*id).to_owned()));
            match page.get("nextToken") {
                Some(token) => next = format!("{path}?{query}&nextToken={}", token.as_str().unwrap()),
                None => break,
            }
        }
        assert_eq!(found, ids(&whole), "{query}");
    }
    for query in ["status=done", "from=yesterday", "order=up", "limit=-1", "nextToken=x"] {
        assert_eq!(api.get(&format!("{path}?{query}")).await.violations(), [query.split_once('=').unwrap().0]);
    }
}

#[tokio::test]
async fn one_execution_has_everything_and_its_input_is_apart() {
    let world = World::start().await;
    let api = world.port().await;
    let trigger = api.create(subscribed()).await;
    let run = world.put_execution(
        id(&trigger),
        "2026-01-01T07:00:00Z",
        json!({"eventSourceId": "aws-s3",
        "usage": {"inputTokens": 5, "outputTokens": 7}, "durationMs": 1200}),
    );
    let path = format!("/triggers/{}/executions/{run}", id(&trigger));
    let shown = api.get(&path).await.expect(200)["execution"].clone();
    assert_eq!((&shown["output"], &shown["usage"]["outputTokens"]), (&json!("the answer"), &json!(7)));
    assert_eq!((&shown["canCancel"], &shown["canReplay"]), (&json!(false), &json!(true)));
    for hidden in ["PK", "SK", "owner", "userId", "ttl"] {
        assert_eq!(shown.get(hidden), None);
    }
    assert_eq!(api.get(&format!("{path}/input")).await.status, 404, "it is not kept");
    world.stack.dynamodb.put_item(&json!({"PK": format!("TRIGGER#{}", id(&trigger)), "SK": format!("INPUT#{run}"),
        "detail": json!({"userId": crate::support::USER, "agentId": "agent-1", "prompt": "Look at it"}).to_string()}));
    let input = api.get(&format!("{path}/input")).await.expect(200);
    assert_eq!(input["input"], json!({"agentId": "agent-1", "prompt": "Look at it"}));
    // It is shown as it is kept.
    let kept = format!(r#"{{"userId":"{}","agentId":"agent-1","input":[1e15,1.50,"\ud83d"]}}"#, crate::support::USER);
    world
        .stack
        .dynamodb
        .put_item(&json!({"PK": format!("TRIGGER#{}", id(&trigger)), "SK": format!("INPUT#{run}"), "detail": kept}));
    let input = api.get(&format!("{path}/input")).await.expect(200);
    assert_eq!(to_json(&input["input"]["input"]), r#"[1e15,1.50,"\ud83d"]"#);
    assert_eq!(lenient::parse(&kept).unwrap()["input"], input["input"]["input"]);
    // The key of an input has the trigger's id alone. What ran as somebody else is not shown.
    for users in [json!({"userId": crate::support::STRANGER, "prompt": "theirs"}), json!({"prompt": "nobody's"})] {
        world.stack.dynamodb.put_item(&json!({"PK": format!("TRIGGER#{}", id(&trigger)), "SK": format!("INPUT#{run}"),
            "detail": users.to_string()}));
        assert_eq!(api.get(&format!("{path}/input")).await.status, 404);
    }
    assert_eq!(api.get(&format!("/triggers/{}/executions/unknown", id(&trigger))).await.status, 404);
}

#[tokio::test]
async fn what_runs_can_be_cancelled_and_what_ended_cannot() {
    let world = World::start().await;
    let api = world.port().await;
    let trigger = api.create(subscribed()).await;
    for (attributes, status) in [
        (json!({"status": "running"}), 202),
        (json!({"status": "failed", "retryable": true}), 202),
        (json!({"status": "failed", "retryable": false}), 409),
        (json!({"status": "completed"}), 409),
        (json!({"status": "skipped"}), 409),
    ] {
        let run = world.put_execution(id(&trigger), "2026-01-01T07:00:00Z", attributes.clone());
        let answer = api.post(&format!("/triggers/{}/executions/{run}/cancel", id(&trigger)), json!({})).await;
        assert_eq!(answer.status, status, "{attributes}: {:#}", answer.body);
        let row = world.stack.dynamodb.item(&format!("TRIGGER#{}", id(&trigger)), &format!("EXECUTION#{run}")).unwrap();
        assert_eq!(row.get("cancelRequested"), (status == 202).then_some(&json!(true)));
        if status == 409 {
            assert_eq!(answer.body["details"]["status"], attributes["status"]);
        }
    }
}

#[tokio::test]
async fn the_run_function_is_told_of_the_end_of_a_detached_run() {
    let world = World::start().await;
    let api = world.port().await;
    let trigger = api.create(subscribed()).await;
    let row = json!({"status": "running", "detached": true, "reportKey": "a-hash"});
    let run = world.put_execution(id(&trigger), "2026-01-01T07:00:00Z", row);
    let path = format!("/triggers/{}/executions/{run}/cancel", id(&trigger));
    // A request that is made again tells it again.
    for told in 0..2 {
        api.post(&path, json!({})).await.expect(202);
        let event = invoked(&world, told);
        assert_eq!(
            (&event["_from"], &event["detail-type"], &event["detail"]),
            (&json!("stack-bus"), &json!("Cancel Execution"), &json!({"triggerId": trigger["id"], "executionId": run}))
        );
    }
    let attempt = world.put_execution(id(&trigger), "2026-01-02T07:00:00Z", json!({"status": "running"}));
    api.post(&format!("/triggers/{}/executions/{attempt}/cancel", id(&trigger)), json!({})).await.expect(202);
    assert_eq!(world.stack.lambda.dispatched().len(), 2, "an attempt sees the request with its heartbeat");

    world.stack.lambda.inject(Rule::new("Invoke", Fault::Deny));
    let answer = api.post(&path, json!({})).await;
    assert_eq!((answer.status, answer.body["message"].as_str().unwrap().contains("cancel it again")), (503, true));
}

/// Returns the only event that the run function was invoked with since this many.
fn invoked(world: &World, before: usize) -> Value {
    let invocations = world.stack.lambda.dispatched();
    assert_eq!(invocations.len(), before + 1);
    invocations[before].json()
}

#[tokio::test]
async fn a_run_and_a_replay_are_known_before_they_begin() {
    let world = World::start().await;
    let api = world.port().await;
    let at = |event: &Value, name: &str| {
        OffsetDateTime::parse(event["detail"].get(name).unwrap_or(&event[name]).as_str().unwrap(), &Rfc3339).unwrap()
    };

    let trigger = api.create(scheduled()).await;
    let answer = api.post(&format!("/triggers/{}/run", id(&trigger)), json!({})).await.expect(202);
    let event = invoked(&world, 0);
    assert_eq!((&event["detail"]["stored"], &event["detail"]["triggerId"]), (&json!(true), &trigger["id"]));
    let expected = execution_id(id(&trigger), Identity::Scheduled(at(&event, "scheduledTime")));
    assert_eq!(answer["executionId"], expected.to_string());

    let trigger = api.create(subscribed()).await;
    let answer = api.post(&format!("/triggers/{}/run", id(&trigger)), json!({})).await.expect(202);
    let event = invoked(&world, 1);
    assert_eq!(
        (&event["_from"], &event["source"], &event["detail-type"]),
        (&json!("stack-bus"), &json!("agent-trigger"), &json!("Run Trigger"))
    );
    let identity = |event: &Value| Identity::Event {
        id: event["id"].as_str().unwrap().parse().unwrap(),
        time: at(event, "time"),
        replay_name: None,
    };
    assert_eq!(answer["executionId"], execution_id(id(&trigger), identity(&event)).to_string());

    let run = world.put_execution(id(&trigger), "2026-01-01T07:00:00Z", json!({"status": "failed"}));
    let path = format!("/triggers/{}/executions/{run}/replay", id(&trigger));
    let refused = api.post(&path, json!({})).await;
    assert_eq!((refused.status, &refused.body["details"]["reason"]), (409, &json!("NotReplayable")));
    world.stack.dynamodb.put_item(&json!({"PK": format!("TRIGGER#{}", id(&trigger)), "SK": format!("INPUT#{run}"),
        "detail": json!({"userId": crate::support::USER, "agentId": "agent-1", "prompt": "p"}).to_string()}));
    let answer = api.post(&path, json!({})).await.expect(202);
    let event = invoked(&world, 2);
    assert_eq!((&event["detail-type"], &event["detail"]["executionId"]), (&json!("Replay Execution"), &json!(run)));
    assert_eq!(
        (&answer["executionId"], &answer["replayOf"]),
        (&json!(execution_id(id(&trigger), identity(&event)).to_string()), &json!(run))
    );
    api.post(&format!("/triggers/{}/disable", id(&trigger)), json!({})).await.expect(200);
    assert_eq!(api.post(&path, json!({})).await.expect(202)["skipReason"], "Disabled");
}

#[tokio::test]
async fn the_executions_of_all_triggers_are_one_list() {
    let world = World::start().await;
    let api = world.port().await;
    let (first, second) = (api.create(subscribed()).await, api.create(scheduled()).await);
    let mut made = Vec::new();
    for minute in 10..30 {
        let trigger = if minute % 3 == 0 { &first } else { &second };
        made.push(world.put_execution(id(trigger), &format!("2026-01-01T07:{minute}:00Z"), json!({})));
    }
    let expected: Vec<&str> = made.iter().rev().map(String::as_str).collect();
    let all = api.get("/executions?limit=50").await.expect(200);
    assert_eq!(ids(&all), expected);
    assert_eq!(all["executions"][0]["triggerName"], "Daily report");
    let (mut found, mut path): (Vec<String>, _) = (Vec::new(), "/executions?limit=7".to_owned());
    loop {
        let page = api.get(&path).await.expect(200);
        found.extend(ids(&page).iter().map(|id| (*id).to_owned()));
        match page.get("nextToken") {
            Some(token) => path = format!("/executions?limit=7&nextToken={}", token.as_str().unwrap()),
            None => break,
        }
    }
    assert_eq!(found, expected);
    // A list of triggers asks the table once, and a list of executions twice: no query for each entry.
    world.stack.dynamodb.clear_requests();
    api.get("/triggers").await.expect(200);
    assert_eq!(world.stack.dynamodb.requests().len(), 1);
    world.stack.dynamodb.clear_requests();
    api.get(&format!("/triggers/{}/executions?limit=50", id(&second))).await.expect(200);
    assert_eq!(world.stack.dynamodb.requests().len(), 2);
}

#[tokio::test]
async fn a_status_says_whether_it_will_run() {
    let world = World::start().await;
    let api = world.port().await;
    let trigger = api.create(scheduled()).await;
    let path = format!("/triggers/{}/status", id(&trigger));
    world.put_execution(id(&trigger), "2026-01-01T07:00:00Z", json!({"status": "failed", "errorType": "AgentFailed"}));
    let status = api.get(&path).await.expect(200)["status"].clone();
    assert_eq!(
        (&status["enabled"], &status["scheduleStatus"], &status["health"]),
        (&json!(true), &json!("ok"), &json!("ok"))
    );
    assert_eq!((&status["lastRun"]["status"], &status["schedule"]["enabled"]), (&json!("failed"), &json!(true)));
    assert_eq!(status["nextRuns"].as_array().unwrap().len(), 3);
    // The run function pauses a trigger; enabling ends the pause.
    world.stack.dynamodb.update(&format!("TRIGGER#{}", crate::support::USER), &format!("TRIGGER#{}", id(&trigger)),
        &json!({"enabled": false, "health": "paused", "failures": 5, "pausedAt": "2026-01-01T07:00:00.000Z", "pausedReason": "5 failures"}));
    let status = api.get(&path).await.expect(200)["status"].clone();
    assert_eq!(
        (&status["health"], &status["failures"], &status["scheduleStatus"]),
        (&json!("paused"), &json!(5), &json!("disabled"))
    );
    assert_eq!(status["nextRuns"], json!([]));
    let ran = api.post(&format!("/triggers/{}/run", id(&trigger)), json!({})).await.expect(202);
    assert_eq!(ran["skipReason"], "Paused");
    let on = api.post(&format!("/triggers/{}/enable", id(&trigger)), json!({})).await.expect(200)["trigger"].clone();
    assert_eq!((&on["enabled"], on.get("pausedAt"), &on["scheduleStatus"]), (&json!(true), None, &json!("ok")));
    let ran = api.post(&format!("/triggers/{}/run", id(&trigger)), json!({})).await.expect(202);
    assert_eq!(ran.get("skipReason"), None);
}

#[tokio::test]
async fn many_are_cancelled_and_replayed_at_once() {
    let world = World::start().await;
    let api = world.port().await;
    let trigger = api.create(subscribed()).await;
    let running = world.put_execution(id(&trigger), "2026-01-01T07:00:00Z", json!({"status": "running"}));
    let ended = world.put_execution(id(&trigger), "2026-01-01T08:00:00Z", json!({}));
    let entry = |execution: &str| json!({"triggerId": id(&trigger), "executionId": execution});
    let body = json!({"executions": [entry(&running), entry(&ended), entry("unknown"), {"triggerId": "x", "executionId": "y"}]});
    let answer = api.post("/executions/cancel", body.clone()).await.expect(200);
    let statuses: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|result| result["status"].clone()).collect();
    assert_eq!(statuses, [json!(202), json!(409), json!(404), json!(404)]);
    let answer = api.post("/executions/replay", body).await.expect(200);
    assert_eq!(answer["results"][1]["code"], "CONFLICT");
    let many: Vec<_> = (0..26).map(|_| entry(&ended)).collect();
    for executions in [json!(many), json!([]), json!("all"), json!([{"triggerId": "t"}]), Value::Null] {
        let refused = api.post("/executions/cancel", json!({"executions": executions})).await;
        assert_eq!(refused.violations(), ["executions"]);
    }
}

#[tokio::test]
async fn a_filter_that_finds_little_loses_nothing() {
    let world = World::start().await;
    let api = world.port().await;
    let (first, second) = (api.create(subscribed()).await, api.create(scheduled()).await);
    let start: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let put = |trigger: &Value, second: i64, status: &str| {
        let at = start + jiff::SignedDuration::from_secs(second);
        world.put_execution(id(trigger), &at.to_string(), json!({"status": status}))
    };
    // One request reads about 1,000 rows of a trigger, and between the failures of the first lie more.
    for second in 100..1200 {
        put(&first, second, "completed");
    }
    let mut failed = vec![put(&second, 5, "failed"), put(&first, 10, "failed"), put(&first, 2000, "failed")];
    failed.push(put(&second, 3000, "failed"));
    for (query, is_ascending) in [
        ("status=failed", false),
        ("status=failed&limit=1", false),
        ("status=failed&order=asc", true),
        ("status=failed&order=asc&limit=1", true),
    ] {
        let (mut found, mut path): (Vec<String>, _) = (Vec::new(), format!("/executions?{query}"));
        loop {
            let page = api.get(&path).await.expect(200);
            found.extend(ids(&page).iter().map(|id| (*id).to_owned()));
            match page.get("nextToken").and_then(Value::as_str) {
                Some(token) => path = format!("/executions?{query}&nextToken={token}"),
                None => break,
            }
        }
        if !is_ascending {
            found.reverse();
        }
        assert_eq!(found, failed, "{query}");
    }
    // A page without a match says that there is more.
    let to = "to=2026-01-01T00:30:00Z";
    let page = api.get(&format!("/executions?status=cancelled&{to}")).await.expect(200);
    assert_eq!((&page["executions"], page["nextToken"].is_string()), (&json!([]), true));
}

#[tokio::test]
async fn many_triggers_share_a_page() {
    let world = World::start().await;
    let api = world.port().await;
    let mut made = Vec::new();
    for _ in 0..12 {
        let trigger = api.create(subscribed()).await;
        for minute in 10..40 {
            made.push(world.put_execution(id(&trigger), &format!("2026-01-01T07:{minute}:00Z"), json!({})));
        }
    }
    made.sort();
    made.reverse();
    world.stack.dynamodb.clear_requests();
    assert_eq!(ids(&api.get("/executions?limit=100").await.expect(200)).len(), 100);
    let of_executions = |request: &Value| request.to_string().contains("EXECUTION#").then(|| request["Limit"].as_u64());
    let limits = world.stack.dynamodb.requests().into_iter().filter(|request| request.operation == "Query");
    let asked: u64 = limits.filter_map(|request| of_executions(&request.json())?).sum();
    assert_eq!(asked, 12 * 16, "rows are read for the page, and not for each trigger");
    let (mut found, mut path): (Vec<String>, _) = (Vec::new(), "/executions?limit=100".to_owned());
    loop {
        let page = api.get(&path).await.expect(200);
        found.extend(ids(&page).iter().map(|id| (*id).to_owned()));
        match page.get("nextToken").and_then(Value::as_str) {
            Some(token) => path = format!("/executions?limit=100&nextToken={token}"),
            None => break,
        }
    }
    assert_eq!(found, made);
    // One that runs more often than the others still fills the page.
    let busy = api.create(subscribed()).await;
    for second in 10..60 {
        for minute in 10..13 {
            world.put_execution(id(&busy), &format!("2026-01-02T07:{minute}:{second}Z"), json!({}));
        }
    }
    for limit in [1, 5, 50, 100] {
        let page = api.get(&format!("/executions?limit={limit}")).await.expect(200);
        assert_eq!(ids(&page).len(), limit);
        assert!(page["executions"].as_array().unwrap().iter().all(|run| run["triggerId"] == busy["id"]), "{limit}");
    }
}
