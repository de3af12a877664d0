//! The requests of the frontend that the API serves unchanged, shape by shape (packages/frontend/src/api/triggers.ts of
//! aws-samples/sample-multi-agent-orchestration-chat-on-agentcore), and what its types do not say about the
//! answers.

use serde_json::{Value, json};

use crate::support::{Answer, OnLambda, World, id, scheduled, subscribed};

/// Asserts that nothing of how an item is stored is shown. What the frontend's type requires, `s0` asserts of every answer.
fn assert_trigger(trigger: &Value) {
    for hidden in ["PK", "SK", "GSI1PK", "GSI1SK", "GSI2PK", "GSI2SK", "ttl", "scheduleVersion"] {
        assert_eq!(trigger.get(hidden), None);
    }
}

fn metadata(answer: &Answer) -> &Value {
    let metadata = &answer.body["metadata"];
    assert!(metadata["requestId"].is_string() && metadata["timestamp"].is_string(), "{:#}", answer.body);
    metadata
}

/// The frontend sends a JSON content type and an empty body.
async fn empty_post(api: &OnLambda, path: &str) -> Answer {
    api.send("POST", path, None).await
}

#[tokio::test]
async fn every_request_of_the_frontend_is_answered_as_it_needs_it() {
    let world = World::start().await;
    let api = world.lambda(&[]).await;

    let created = api.send("POST", "/triggers", Some(scheduled())).await;
    assert_eq!(created.status, 201, "{:#}", created.body);
    assert_eq!(metadata(&created)["userId"], crate::support::USER);
    assert_eq!(metadata(&created)["requestId"], "gateway-request");
    let trigger = created.body["trigger"].clone();
    assert_trigger(&trigger);
    assert_eq!((&trigger["enabled"], &trigger["version"]), (&json!(true), &json!(1)));
    // The form takes the expression apart by its six fields, so it stays as it came.
    assert_eq!(trigger["scheduleConfig"]["expression"], "0 9 ? * MON-FRI *");
    let id = id(&trigger);

    let list = api.send("GET", "/triggers", None).await;
    assert_eq!((list.status, metadata(&list)["count"].as_u64()), (200, Some(1)));
    assert_eq!(list.body["triggers"][0], trigger);
    assert_eq!(list.body.get("nextToken"), None);
    let listed = api.send("GET", "/triggers?type=event&limit=10", None).await;
    assert_eq!(listed.body["triggers"], json!([]));

    assert_eq!(api.send("GET", &format!("/triggers/{id}"), None).await.body["trigger"], trigger);

    // The form sends parts. What it does not send stays.
    let part = json!({"name": "Weekly report", "scheduleConfig": {"expression": "0 10 ? * MON *"}});
    let updated = api.send("PUT", &format!("/triggers/{id}"), Some(part)).await.expect(200)["trigger"].clone();
    assert_trigger(&updated);
    assert_eq!((&updated["name"], &updated["prompt"]), (&json!("Weekly report"), &trigger["prompt"]));
    assert_eq!(updated["scheduleConfig"]["timezone"], "Europe/Berlin");

    let off = empty_post(&api, &format!("/triggers/{id}/disable")).await.expect(200)["trigger"].clone();
    assert_eq!(off["enabled"], false);
    let on = empty_post(&api, &format!("/triggers/{id}/enable")).await.expect(200)["trigger"].clone();
    assert_eq!(on["enabled"], true);
    assert_trigger(&on);

    world.put_execution(id, "2026-01-01T09:00:00Z", json!({}));
    world.put_execution(
        id,
        "2026-01-02T09:00:00Z",
        json!({"status": "failed", "errorType": "AgentFailed", "error": "500"}),
    );
    let history = api.send("GET", &format!("/triggers/{id}/executions?limit=20"), None).await.expect(200);
    assert_eq!(history["metadata"]["count"], 2);
    for execution in history["executions"].as_array().unwrap() {
        assert_eq!(execution["triggerId"], id);
    }
    // Newest first, and only what completed has no message.
    assert_eq!(history["executions"][0]["errorMessage"], "AgentFailed: 500");
    assert_eq!(history["executions"][1].get("errorMessage"), None);

    let deleted = api.send("DELETE", &format!("/triggers/{id}"), None).await.expect(200);
    assert!(deleted["message"].is_string(), "DELETE answers JSON");
    assert_eq!(api.send("DELETE", &format!("/triggers/{id}"), None).await.status, 200, "also when there is none");
    assert_eq!(api.send("GET", &format!("/triggers/{id}"), None).await.status, 404);

    let events = api.send("GET", "/events", None).await.expect(200);
    assert_eq!(
        events["eventSources"][0],
        json!({"id": "aws-s3", "name": "Uploads", "description": "Objects", "icon": "file"})
    );
    assert_eq!(events["metadata"]["count"], 3);
}

#[tokio::test]
async fn an_event_trigger_and_a_change_of_type() {
    let world = World::start().await;
    let api = world.lambda(&[]).await;
    let trigger = api.send("POST", "/triggers", Some(subscribed())).await.expect(201)["trigger"].clone();
    assert_trigger(&trigger);
    let id = id(&trigger);
    let item = world.item(id);
    assert_eq!(item["GSI2PK"], "EVENTSOURCE#aws-s3");
    assert_eq!(item["GSI2SK"], format!("USER#{}#TRIGGER#{id}", crate::support::USER));
    assert_eq!(world.scheduler.names(), Vec::<String>::new());

    let change = json!({"type": "schedule", "scheduleConfig": {"expression": "rate(1 hour)", "timezone": "UTC"}});
    let updated = api.send("PUT", &format!("/triggers/{id}"), Some(change)).await.expect(200)["trigger"].clone();
    assert_eq!((updated.get("eventConfig"), &updated["scheduleStatus"]), (None, &json!("ok")));
    assert_eq!(world.item(id).get("GSI2PK"), None, "it is subscribed no more");
    assert_eq!(world.schedule(id).unwrap()["ScheduleExpression"], "rate(1 hour)");

    let back = json!({"type": "event", "eventConfig": {"eventSourceId": "aws-s3"}});
    let updated = api.send("PUT", &format!("/triggers/{id}"), Some(back)).await.expect(200)["trigger"].clone();
    assert_eq!((updated.get("scheduleConfig"), updated.get("scheduleStatus")), (None, None));
    assert_eq!(world.scheduler.names(), Vec::<String>::new(), "no orphaned schedule");
    assert_eq!(world.item(id)["GSI2PK"], "EVENTSOURCE#aws-s3");
}

#[tokio::test]
async fn the_same_routes_stand_under_v1_and_a_known_answer_is_not_sent_again() {
    let world = World::start().await;
    let api = world.lambda(&[]).await;
    let id = api.send("POST", "/v1/triggers", Some(subscribed())).await.expect(201)["trigger"]["id"].clone();
    let path = format!("/v1/triggers/{}", id.as_str().unwrap());
    let first = api.send("GET", &path, None).await;
    let tag = first.headers["etag"].as_str().unwrap().to_owned();
    let claims = || Some(crate::support::claims(crate::support::USER));
    let again = api.send_as(claims(), "GET", &path, None, json!({"if-none-match": tag})).await;
    assert_eq!((again.status, &again.body), (304, &json!("")));
    api.send("PUT", &path, Some(json!({"name": "Other"}))).await.expect(200);
    let changed = api.send_as(claims(), "GET", &path, None, json!({"if-none-match": tag})).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.headers["etag"], tag);
    // The version stands before a route once, and never before the page's files.
    for (path, own, nobodys) in [
        ("/v1/ping", 200, 200),
        ("/ping", 200, 200),
        ("/assets/app.js", 200, 200),
        ("/assets/other.js", 404, 401),
        ("/v1/triggers?limit=1", 200, 401),
        ("/v1/v1/triggers", 404, 401),
        ("/v1triggers", 404, 401),
        ("/v1", 404, 401),
        ("/v1/", 404, 401),
        ("/v1/assets/app.js", 404, 401),
    ] {
        let statuses = [api.send("GET", path, None).await, api.send_as(None, "GET", path, None, json!({})).await];
        assert_eq!(statuses.map(|answer| answer.status), [own, nobodys], "{path}");
    }
}

/// Items that other writers left, in the forms that the function reads. Each answer is held against the frontend's types, which
/// allow no null and require more than the function does.
#[tokio::test]
async fn what_other_writers_stored_has_the_frontends_types() {
    let world = World::start().await;
    let api = world.lambda(&[]).await;
    let user = crate::support::USER;
    for (id, rest) in [
        ("least", json!({"agentId": "a", "prompt": "p"})),
        ("empty", json!({})),
        (
            "nulls",
            json!({"type": "event", "name": null, "description": null, "agentId": null, "prompt": null, "sessionId": null,
            "modelId": null, "reasoningEffort": null, "workingDirectory": null, "enabledTools": null, "scheduleConfig": null,
            "eventConfig": null, "createdAt": null, "updatedAt": null, "lastExecutedAt": null, "enabled": null}),
        ),
        (
            "schedule",
            json!({"type": "schedule", "agentId": "a", "prompt": "p", "scheduleConfig": {"expression": "rate(1 hour)",
            "timezone": null, "schedulerArn": null}}),
        ),
    ] {
        let mut item =
            json!({"PK": format!("TRIGGER#{user}"), "SK": format!("TRIGGER#{id}"), "id": id, "userId": user});
        item.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        world.stack.dynamodb.put_item(&item);
        api.send("GET", &format!("/triggers/{id}"), None).await.expect(200);
    }
    for (at, rest) in [
        (1, json!({"executedAt": "2026-01-01T07:00:00.000Z", "eventPayload": "{}", "errorMessage": "timed out"})),
        (
            2,
            json!({"executedAt": "2026-01-01T07:00:00.000Z", "sessionId": null, "eventPayload": null, "errorMessage": null}),
        ),
        (3, json!({})),
    ] {
        let execution = format!("0199f0a0-0000-7000-8000-00000000000{at}");
        let mut row = json!({"PK": "TRIGGER#least", "SK": format!("EXECUTION#{execution}"), "userId": user, "triggerId": "least",
            "executionId": execution});
        row.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        world.stack.dynamodb.put_item(&row);
    }
    assert_eq!(api.send("GET", "/triggers", None).await.expect(200)["metadata"]["count"], 4);
    assert_eq!(api.send("GET", "/triggers/least/executions", None).await.expect(200)["metadata"]["count"], 3);
}
