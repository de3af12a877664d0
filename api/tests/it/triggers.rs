//! Creating, changing and deleting triggers: what is stored, what is refused, and two people at once.

use agent_trigger::json::{lenient, surrogate::to_json};
use reqwest::Method;
use serde_json::{Value, json};
use standins::{Fault, Rule};

use crate::support::{USER, World, claims, id, scheduled, subscribed};

#[tokio::test]
async fn what_is_stored_is_what_the_run_function_reads() {
    let world = World::start().await;
    let api = world.port().await;
    let mut request = scheduled();
    for (name, value) in [
        ("id", json!("mine")),
        ("userId", json!("other")),
        ("PK", json!("TRIGGER#other")),
        ("followsAnyUser", json!(true)),
        ("version", json!(7)),
        ("overlap", json!("skip")),
        ("maxRunsPerDay", json!(5)),
    ] {
        request[name] = value;
    }
    request["scheduleConfig"]["schedulerArn"] = json!("forged");
    let trigger = api.create(request).await;
    let item = world.item(id(&trigger));
    assert_eq!((&item["userId"], &item["version"], &item["scheduleVersion"]), (&json!(USER), &json!(1), &json!(1)));
    assert_eq!(
        (item.get("followsAnyUser"), &item["overlap"], &item["maxRunsPerDay"]),
        (None, &json!("skip"), &json!(5))
    );
    assert_eq!(item["enabledTools"], json!(["s3-list-files"]));
    let arn = item["scheduleConfig"]["schedulerArn"].as_str().unwrap();
    assert!(arn.ends_with(&format!("schedule/standin-schedules/trigger-{}", id(&trigger))), "{arn}");
    assert_eq!(uuid::Uuid::parse_str(id(&trigger)).unwrap().get_version_num(), 7, "the server chooses it");
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    let world = World::start().await;
    let api = world.port().await;
    let wrong = json!({"name": " ", "description": 5, "type": "schedule", "agentId": "", "enabledTools": "all", "overlap": "queue",
        "timeoutSeconds": 0, "maxRunPerDay": 3, "sessionId": "täglich", "input": {"prompt": "x"},
        "scheduleConfig": {"expression": "0 9 * * *  * *", "timezone": "Mars"}});
    let answer = api.post("/triggers", wrong).await;
    let mut violations = answer.violations();
    violations.sort_unstable();
    assert_eq!(
        violations,
        [
            "agentId",
            "description",
            "enabledTools",
            "input.prompt",
            "maxRunPerDay",
            "name",
            "overlap",
            "prompt",
            "scheduleConfig.expression",
            "scheduleConfig.timezone",
            "sessionId",
            "timeoutSeconds"
        ]
    );
    let wrong = json!({"name": "n", "type": "event", "agentId": "a", "prompt": "{{ $..[ }}", "inputMapping": {"x": "nope"},
        "eventConfig": {"eventSourceId": "aws-ec2", "eventPattern": {"source": "aws.s3"}, "condition": {"operator": "eq"}, "treshold": {}}});
    let answer = api.post("/triggers", wrong).await;
    let violations = answer.violations();
    for field in [
        "prompt",
        "inputMapping.x",
        "eventConfig.eventSourceId",
        "eventConfig.eventPattern.source",
        "eventConfig.treshold",
    ] {
        assert!(violations.contains(&field), "{field} in {violations:?}");
    }
    for (body, field) in [
        (json!({}), "type"),
        (json!({"type": "webhook"}), "type"),
        (json!({"type": "event"}), "eventConfig.eventSourceId"),
        (json!({"type": "schedule"}), "scheduleConfig.expression"),
        (json!({"type": "schedule", "scheduleConfig": "daily"}), "scheduleConfig.expression"),
    ] {
        let answer = api.post("/triggers", body.clone()).await;
        assert!(answer.violations().contains(&field), "{body}: {:?}", answer.violations());
    }
    assert_eq!(world.stack.dynamodb.scan(), Vec::<Value>::new());
    assert_eq!(world.scheduler.requests(), Vec::new());
}

/// A member that is nearly a known one would be left out in silence: the schedule would run in UTC.
#[tokio::test]
async fn a_misspelt_member_of_a_part_is_refused_by_a_check_a_creation_and_an_update() {
    let world = World::start().await;
    let api = world.port().await;
    let (schedule, event) = (api.create(scheduled()).await, api.create(subscribed()).await);
    for (kind, part, misspelt, meant) in [
        ("schedule", "scheduleConfig", "timeZone", "timezone"),
        ("schedule", "scheduleConfig", "timezon", "timezone"),
        ("schedule", "scheduleConfig", "expresion", "expression"),
        ("schedule", "scheduleConfig", "start_date", "startDate"),
        ("schedule", "scheduleConfig", "flexibleTimeWindowMinute", "flexibleTimeWindowMinutes"),
        ("event", "eventConfig", "treshold", "threshold"),
        ("event", "eventConfig", "eventpattern", "eventPattern"),
    ] {
        let (mut whole, stored) = if kind == "schedule" { (scheduled(), &schedule) } else { (subscribed(), &event) };
        let value = whole[part].as_object_mut().unwrap().remove(meant).unwrap_or_else(|| json!("x"));
        whole[part][misspelt] = value;
        let path = format!("/triggers/{}", id(stored));
        // The stored trigger may have the member that is meant: the change would be none.
        let change = json!({part: {misspelt: "Europe/Berlin"}});
        let field = format!("{part}.{misspelt}");
        let words = format!("is not known; {meant} is, and nearly the same");
        let problem = json!({"field": field, "description": words});
        for (asked, trigger) in
            [(json!({"trigger": whole}), "whole"), (json!({"triggerId": id(stored), "trigger": change}), "change")]
        {
            let checked = api.post("/triggers/check", asked).await.expect(200);
            let found = checked["fieldViolations"].as_array().unwrap();
            assert_eq!(found.iter().filter(|one| **one == problem).count(), 1, "{trigger} {field}: {checked:#}");
            assert_eq!(checked["valid"], false);
        }
        let before = world.item(id(stored));
        for answer in [api.post("/triggers", whole).await, api.put(&path, change).await] {
            assert_eq!(answer.status, 400, "{field}: {:#}", answer.body);
            assert!(answer.violations().contains(&field.as_str()), "{field}: {:?}", answer.violations());
        }
        assert_eq!(world.item(id(stored)), before);
    }
    let path = format!("/triggers/{}", id(&event));
    assert_eq!(api.put(&path, json!({"Overlap": "skip"})).await.violations(), ["Overlap"]);
    api.put(&path, json!({"overlap": "skip"})).await.expect(200);
    assert_eq!(api.put(&path, json!({"Overlap": "allow"})).await.violations(), ["Overlap"]);
    for (overlap, field) in [
        (json!({"max": 0}), "overlap.max"),
        (json!({"max": 101}), "overlap.max"),
        (json!({"max": null}), "overlap.max"),
        (json!({"Max": 2}), "overlap.Max"),
        (json!(2), "overlap"),
    ] {
        assert_eq!(api.put(&path, json!({ "overlap": overlap })).await.violations(), [field], "{overlap}");
    }
    let changed = api.put(&path, json!({"overlap": {"max": 3}})).await.expect(200)["trigger"].clone();
    assert_eq!((&changed["overlap"], &world.item(id(&event))["overlap"]), (&json!({"max": 3}), &json!({"max": 3})));
    // What the API writes comes back with a change, and null removes a misspelt member.
    let path = format!("/triggers/{}", id(&schedule));
    let mut sent_back = api.get(&path).await.expect(200)["trigger"].clone();
    sent_back["scheduleConfig"]["timeZone"] = Value::Null;
    api.put(&path, sent_back).await.expect(200);
}

#[tokio::test]
async fn an_unknown_type_is_told_which_there_are() {
    let world = World::start().await;
    let api = world.port().await;
    for kind in [json!("cron"), json!("webhook"), json!(7), json!("")] {
        let trigger = json!({"name": "n", "type": kind, "agentId": "a", "prompt": "p"});
        let checked = api.post("/triggers/check", json!({"trigger": trigger})).await.expect(200);
        let problem = json!({"field": "type", "description": "must be \"event\" or \"schedule\""});
        assert_eq!(checked["fieldViolations"], json!([problem]), "{kind}");
    }
}

#[tokio::test]
async fn an_update_merges_and_is_refused_if_somebody_was_first() {
    let world = World::start().await;
    let api = world.port().await;
    let trigger = api.create(subscribed()).await;
    let path = format!("/triggers/{}", id(&trigger));
    // The run function writes to the item too.
    world.stack.dynamodb.update(
        &format!("TRIGGER#{USER}"),
        &format!("TRIGGER#{}", id(&trigger)),
        &json!({"lastExecutedAt": "2026-01-01T00:00:00.000Z", "failures": 2, "followsAnyUser": true}),
    );
    let change = json!({"description": "new", "inputMapping": {"key": "$.detail.object.key"}, "modelId": "m"});
    let updated = api.put(&path, change).await.expect(200)["trigger"].clone();
    assert_eq!((&updated["version"], &updated["lastExecutedAt"]), (&json!(2), &json!("2026-01-01T00:00:00.000Z")));
    let item = world.item(id(&trigger));
    assert_eq!((&item["failures"], item.get("followsAnyUser")), (&json!(2), None));
    let change =
        json!({"modelId": null, "inputMapping": {"key": null, "size": "$.detail.object.size"}, "enabled": false});
    let updated = api.put(&path, change).await.expect(200)["trigger"].clone();
    assert_eq!((updated.get("modelId"), &updated["inputMapping"]), (None, &json!({"size": "$.detail.object.size"})));
    assert_eq!((&updated["enabled"], &updated["description"]), (&json!(true), &json!("new")));

    for (version, status) in [("\"1\"", 412), ("3", 200), ("\"3\"", 412), ("*", 200), ("soon", 400)] {
        let headers = [("if-match", version)];
        let answer = api.try_send(Method::PUT, &path, Some(json!({"name": version})), &headers).await.unwrap();
        assert_eq!(answer.status, status, "{version}: {:#}", answer.body);
        if status == 412 {
            assert!(answer.body["details"]["version"].is_u64());
        }
    }
    assert_eq!(api.put(&path, json!({"type": "schedule"})).await.violations(), ["scheduleConfig.expression"]);
    assert_eq!(api.put(&path, json!({"prompt": null})).await.violations(), ["prompt"]);
}

#[tokio::test]
async fn two_people_at_once_lose_nothing() {
    let world = World::start().await;
    let api = world.port().await;
    let trigger = api.create(scheduled()).await;
    let path = format!("/triggers/{}", id(&trigger));
    let (expression, zone, name) = (
        json!({"scheduleConfig": {"expression": "rate(2 hours)"}}),
        json!({"scheduleConfig": {"timezone": "Asia/Tokyo"}}),
        json!({"name": "Both"}),
    );
    let answers = tokio::join!(api.put(&path, expression), api.put(&path, zone), api.put(&path, name));
    for answer in [answers.0, answers.1, answers.2] {
        answer.expect(200);
    }
    let item = world.item(id(&trigger));
    assert_eq!((&item["version"], &item["scheduleVersion"], &item["name"]), (&json!(4), &json!(4), &json!("Both")));
    let schedule = world.schedule(id(&trigger)).unwrap();
    assert_eq!(
        (&schedule["ScheduleExpression"], &schedule["ScheduleExpressionTimezone"]),
        (&json!("rate(2 hours)"), &json!("Asia/Tokyo"))
    );
}

#[tokio::test]
async fn a_user_has_only_so_many_triggers() {
    let world = World::start().await;
    let api = world.lambda(&[("TRIGGER_LIMIT", "3")]).await;
    // One is older than the count.
    world.stack.dynamodb.put_trigger(&json!({"id": "old", "userId": USER, "agentId": "a", "prompt": "p", "eventConfig": {"eventSourceId": "aws-s3"}}));
    for _ in 0..2 {
        api.send("POST", "/triggers", Some(subscribed())).await.expect(201);
    }
    let refused = api.send("POST", "/triggers", Some(subscribed())).await;
    assert_eq!((refused.status, refused.body["code"].as_str()), (409, Some("CONFLICT")));
    assert_eq!(refused.body["details"]["limit"], 3);
    api.send("DELETE", "/triggers/old", None).await.expect(200);
    let made = api.send("POST", "/triggers", Some(subscribed())).await.expect(201)["trigger"].clone();
    assert_eq!(api.send("POST", "/triggers", Some(subscribed())).await.status, 409);
    // Deleting twice counts once.
    for _ in 0..2 {
        api.send("DELETE", &format!("/triggers/{}", id(&made)), None).await.expect(200);
    }
    // The request that reached the limit is sent again, because its answer was lost.
    let again = async || {
        let headers = json!({"idempotency-key": "the-last"});
        api.send_as(Some(claims(USER)), "POST", "/triggers", Some(subscribed()), headers).await.expect(201)
    };
    let (first, second) = (again().await, again().await);
    assert_eq!(first["trigger"]["id"], second["trigger"]["id"]);
    assert_eq!(api.send("POST", "/triggers", Some(subscribed())).await.status, 409);
    let listed = api.send("GET", "/triggers", None).await.expect(200);
    assert_eq!(listed["triggers"].as_array().unwrap().len(), 3, "tombstones are not listed");
}

#[tokio::test]
async fn an_idempotency_key_makes_one_trigger() {
    let world = World::start().await;
    let api = world.port().await;
    let send = |key: &'static str| {
        let (api, headers) = (&api, [("idempotency-key", key)]);
        async move { api.try_send(Method::POST, "/triggers", Some(scheduled()), &headers).await.unwrap().expect(201) }
    };
    let (first, second, other) = (send("key-1").await, send("key-1").await, send("key-2").await);
    assert_eq!(first["trigger"]["id"], second["trigger"]["id"]);
    assert_ne!(first["trigger"]["id"], other["trigger"]["id"]);
    assert_eq!(world.scheduler.names().len(), 2);
    api.delete(&format!("/triggers/{}", first["trigger"]["id"].as_str().unwrap())).await.expect(200);
    let gone =
        api.try_send(Method::POST, "/triggers", Some(scheduled()), &[("idempotency-key", "key-1")]).await.unwrap();
    assert_eq!(gone.status, 409);
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    let world = World::start().await;
    let api = world.port().await;
    for index in 0..7 {
        let mut request = subscribed();
        request["name"] = json!(format!("trigger {index}"));
        let trigger = api.create(request).await;
        if index % 2 == 0 {
            api.post(&format!("/triggers/{}/disable", id(&trigger)), json!({})).await.expect(200);
        }
    }
    let mut names = Vec::new();
    let mut path = "/triggers?limit=3".to_owned();
    loop {
        let page = api.get(&path).await.expect(200);
        let found =
            page["triggers"].as_array().unwrap().iter().map(|trigger| trigger["name"].as_str().unwrap().to_owned());
        names.extend(found);
        match page.get("nextToken") {
            Some(token) => path = format!("/triggers?limit=3&nextToken={}", token.as_str().unwrap()),
            None => break,
        }
    }
    assert_eq!(names, (0..7).map(|index| format!("trigger {index}")).collect::<Vec<_>>());
    let off = api.get("/triggers?enabled=false").await.expect(200);
    assert_eq!(off["triggers"].as_array().unwrap().len(), 4);
    let page = api.get("/triggers?enabled=false&limit=3").await.expect(200);
    let path = format!("/triggers?enabled=false&limit=3&nextToken={}", page["nextToken"].as_str().unwrap());
    assert_eq!(api.get(&path).await.expect(200)["triggers"].as_array().unwrap().len(), 1);
}

/// Items of other writers may leave out their type. They are what they are shown as.
#[tokio::test]
async fn a_trigger_without_a_type_is_what_it_is_shown_as() {
    let world = World::start().await;
    let api = world.port().await;
    for (id, member, config) in [
        ("timed", "scheduleConfig", json!({"expression": "rate(1 hour)"})),
        ("asked", "eventConfig", json!({"eventSourceId": "aws-s3"})),
    ] {
        let mut item = json!({"PK": format!("TRIGGER#{USER}"), "SK": format!("TRIGGER#{id}"), "id": id, "userId": USER,
            "name": id, "agentId": "a", "prompt": "p"});
        item[member] = config;
        world.stack.dynamodb.put_item(&item);
    }
    for (kind, name, detail_type) in [("schedule", "timed", "Scheduled Event"), ("event", "asked", "Run Trigger")] {
        let page = api.get(&format!("/triggers?type={kind}")).await.expect(200);
        let found: Vec<_> = page["triggers"].as_array().unwrap().iter().map(|shown| &shown["name"]).collect();
        assert_eq!(found, [name], "{kind}");
        api.post(&format!("/triggers/{name}/run"), json!({})).await.expect(202);
        let sent = world.stack.lambda.invocations().pop().unwrap().event();
        assert_eq!(sent["detail-type"], detail_type, "{sent:#}");
    }
}

#[tokio::test]
async fn the_default_page_holds_all() {
    let world = World::start().await;
    let api = world.port().await;
    for number in 0..130 {
        let deleted = json!({"deletedAt": "2026-01-01T00:00:00.000Z", "ttl": 4_000_000_000_u64});
        let mut item = json!({"PK": format!("TRIGGER#{USER}"), "SK": format!("TRIGGER#{number:03}"), "id": format!("{number:03}"),
            "userId": USER, "type": "schedule", "name": "n", "agentId": "a", "prompt": "p", "version": 1, "scheduleVersion": 1,
            "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z",
            "scheduleConfig": {"expression": format!("at({}-01-01T00:00:00)", 2199 - number)}});
        if number % 13 == 0 {
            item.as_object_mut().unwrap().remove("scheduleVersion");
            item.as_object_mut().unwrap().extend(deleted.as_object().unwrap().clone());
        }
        world.stack.dynamodb.put_item(&item);
    }
    let all = api.get("/triggers").await.expect(200);
    assert_eq!((&all["metadata"]["count"], all.get("nextToken")), (&json!(120), None));
    assert_eq!(
        api.get("/triggers?limit=1000").await.expect(200)["metadata"]["count"],
        100,
        "a larger limit is not taken"
    );
    // The last one is the first to run.
    let upcoming = api.get("/upcoming-runs?limit=1").await.expect(200);
    assert_eq!(upcoming["runs"][0]["triggerId"], "129");
}

#[tokio::test]
async fn a_check_writes_nothing_and_shows_the_prompt() {
    let world = World::start().await;
    let api = world.port().await;
    let event =
        json!({"detail-type": "Object Created", "source": "aws.s3", "detail": {"object": {"key": "a.csv", "size": 5}}});
    let mut trigger = subscribed();
    trigger["eventConfig"]["condition"] = json!({"field": "detail.object.size", "operator": "gt", "value": 9});
    trigger["inputMapping"] = json!({"none": "$.detail.none"});
    let checked = api.post("/triggers/check", json!({"trigger": trigger, "event": event})).await.expect(200);
    assert_eq!((&checked["valid"], &checked["event"]["matches"]), (&json!(true), &json!(false)));
    assert_eq!(checked["event"]["refusedBy"], json!(["condition"]));
    assert!(checked["event"]["prompt"].as_str().unwrap().starts_with("Look at \"a.csv\""));
    assert_eq!(checked["event"]["emptyQueries"].as_array().unwrap().len(), 1);
    let checked = api.post("/triggers/check", json!({"trigger": {"type": "schedule"}})).await.expect(200);
    assert_eq!(checked["valid"], false);
    assert!(checked["fieldViolations"].as_array().unwrap().len() >= 4);
    let checked = api.post("/triggers/check", json!({"trigger": scheduled()})).await.expect(200);
    assert_eq!(checked["schedule"]["description"], "At 09:00, on Monday to Friday (Europe/Berlin)");
    // An event of a source to which it is not subscribed never reaches its filters.
    let other = json!({"detail-type": "Object Created", "source": "aws.s3control", "detail": {}});
    let checked = api.post("/triggers/check", json!({"trigger": subscribed(), "event": other})).await.expect(200);
    assert_eq!(
        (&checked["event"]["matches"], &checked["event"]["refusedBy"]),
        (&json!(false), &json!(["eventSourceId"]))
    );
    assert_eq!(checked["event"]["eventSourceId"], "aws-s3control");
    assert_eq!(world.stack.dynamodb.scan(), Vec::<Value>::new());

    let stored = api.create(subscribed()).await;
    let change =
        json!({"triggerId": id(&stored), "trigger": {"prompt": "Now {{ $.detail.object.size }}"}, "event": event});
    let checked = api.post("/triggers/check", change).await.expect(200);
    assert!(checked["event"]["prompt"].as_str().unwrap().starts_with("Now 5"));
    // Numbers and halves of surrogate pairs come to the prompt as they were sent.
    let text = r#"{"trigger":{"name":"n","type":"event","agentId":"a","prompt":"{{ $.detail }}","eventConfig":
        {"eventSourceId":"aws-s3"}},"event":{"detail-type":"x","source":"y","detail":[1e15,1.50,"\ud83d"]}}"#;
    let checked = api.post("/triggers/check", lenient::parse(text).unwrap()).await.expect(200);
    let prompt = checked["event"]["prompt"].as_str().unwrap();
    assert!(prompt.starts_with(r#"[1e15,1.50,"\ud83d"]"#), "{prompt}");
    assert_eq!(checked["event"]["refusedBy"], json!(["eventSourceId"]));
    let text = text.replace("{{ $.detail }}", "x").replace("\"n\"", r#""n","inputMapping":{"d":"$.detail"}"#);
    let checked = api.post("/triggers/check", lenient::parse(&text).unwrap()).await.expect(200);
    assert_eq!(to_json(&checked["event"]["input"]["d"]), r#"[1e15,1.50,"\ud83d"]"#);
    // The table holds Unicode.
    let mut cut = subscribed();
    cut["name"] = lenient::parse(r#""cut \ud83d""#).unwrap();
    assert_eq!(api.create(cut).await["name"], "cut \u{fffd}");
    let broken = json!({"trigger": subscribed(), "event": {"detail-type": "x"}});
    assert_eq!(api.post("/triggers/check", broken).await.violations(), ["event"]);
    let broken = json!({"trigger": subscribed(), "event": {"detail-type": "x", "source": 7}});
    assert_eq!(api.post("/triggers/check", broken).await.violations(), ["event"]);
}

#[tokio::test]
async fn a_table_that_does_not_answer_is_said() {
    let world = World::start().await;
    let api = world.port().await;
    let rule = world.stack.dynamodb.inject(Rule::any(Fault::Deny));
    for (method, path, body) in [(Method::GET, "/triggers", None), (Method::POST, "/triggers", Some(subscribed()))] {
        let answer = api.send(method, path, body).await;
        assert_eq!(
            (answer.status, answer.body["code"].as_str()),
            (503, Some("SERVICE_UNAVAILABLE")),
            "{:#}",
            answer.body
        );
        assert_eq!(answer.headers["retry-after"], "5");
    }
    rule.remove();
    assert_eq!(api.post("/triggers", subscribed()).await.status, 201);
}
