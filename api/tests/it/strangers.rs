//! Two users. A walk over every route with the other's ids: each answer is that of an id that does not exist.

use serde_json::{Value, json};

use crate::support::{Answer, STRANGER, World, claims, id, scheduled, subscribed};

/// Returns an answer without what differs in each.
fn plain(answer: &Answer) -> (u16, Value) {
    let mut body = answer.body.clone();
    if let Some(body) = body.as_object_mut() {
        body.remove("timestamp");
        body.remove("metadata");
    }
    (answer.status, body)
}

#[tokio::test]
async fn nobody_can_see_touch_or_infer_what_is_another_users() {
    let world = World::start().await;
    let api = world.lambda(&[]).await;
    let mut known = Vec::new();
    for body in [scheduled(), subscribed()] {
        let trigger = api.send("POST", "/triggers", Some(body)).await.expect(201)["trigger"].clone();
        let run = world.put_execution(id(&trigger), "2026-01-01T07:00:00Z", json!({"status": "running"}));
        world.stack.dynamodb.put_item(&json!({"PK": format!("TRIGGER#{}", id(&trigger)), "SK": format!("INPUT#{run}"),
            "detail": json!({"userId": crate::support::USER, "agentId": "a", "prompt": "secret"}).to_string()}));
        known.push((id(&trigger).to_owned(), run));
    }
    let before = world.stack.dynamodb.scan();
    let schedules = (world.scheduler.names(), world.scheduler.requests().len());
    let unknown =
        ("0199f0a0-0000-7000-8000-000000000000".to_owned(), "0199f0a0-0000-7000-8000-000000000001".to_owned());
    for (trigger, run) in &known {
        for (method, route, body) in [
            ("GET", "/triggers/{id}", None),
            ("PUT", "/triggers/{id}", Some(json!({"name": "mine"}))),
            ("DELETE", "/triggers/{id}", None),
            ("POST", "/triggers/{id}/enable", None),
            ("POST", "/triggers/{id}/disable", None),
            ("POST", "/triggers/{id}/run", None),
            ("POST", "/triggers/check", Some(json!({"triggerId": "{id}"}))),
            ("GET", "/triggers/{id}/status", None),
            ("GET", "/triggers/{id}/next-runs", None),
            ("GET", "/triggers/{id}/executions", None),
            ("GET", "/triggers/{id}/executions/{run}", None),
            ("GET", "/triggers/{id}/executions/{run}/input", None),
            ("POST", "/triggers/{id}/executions/{run}/cancel", None),
            ("POST", "/triggers/{id}/executions/{run}/replay", None),
        ] {
            let send = |(trigger, run): (String, String)| {
                let fill = |text: &str| text.replace("{id}", &trigger).replace("{run}", &run);
                let body = body.as_ref().map(|body| serde_json::from_str(&fill(&body.to_string())).unwrap());
                let path = fill(route);
                let api = &api;
                async move { api.send_as(Some(claims(STRANGER)), method, &path, body, json!({})).await }
            };
            let theirs = send((trigger.clone(), run.clone())).await;
            let nobodys = send(unknown.clone()).await;
            assert_eq!(plain(&theirs), plain(&nobodys), "{method} {route}");
            assert!(theirs.status == 404 || method == "DELETE", "{method} {route}: {}", theirs.status);
        }
    }
    for (trigger, run) in &known {
        for path in ["/executions/cancel", "/executions/replay"] {
            let send = |(trigger, run): (String, String)| {
                let api = &api;
                let body = json!({"executions": [{"triggerId": trigger, "executionId": run}]});
                async move {
                    let answer = api.send_as(Some(claims(STRANGER)), "POST", path, Some(body), json!({})).await;
                    let mut result = answer.expect(200)["results"][0].clone();
                    result.as_object_mut().unwrap().remove("of");
                    result
                }
            };
            let theirs = send((trigger.clone(), run.clone())).await;
            assert_eq!((&theirs, &theirs["status"]), (&send(unknown.clone()).await, &json!(404)), "{path}");
        }
    }
    // An execution is read through its own trigger.
    let (first, second) = (&known[0], &known[1]);
    let crossed = api.send("GET", &format!("/triggers/{}/executions/{}", first.0, second.1), None).await;
    assert_eq!(crossed.status, 404);
    for path in ["/triggers", "/executions", "/upcoming-runs"] {
        let answer = api.send_as(Some(claims(STRANGER)), "GET", path, None, json!({})).await.expect(200);
        assert_eq!(answer["metadata"]["count"], 0, "{path}");
    }
    assert_eq!(world.stack.dynamodb.scan(), before, "nothing was written");
    assert_eq!((world.scheduler.names(), world.scheduler.requests().len()), schedules);
    assert_eq!(world.stack.lambda.accepted(), 0, "nothing was run");
}

#[tokio::test]
async fn a_page_token_of_another_list_opens_nothing() {
    let world = World::start().await;
    let api = world.lambda(&[]).await;
    for _ in 0..3 {
        api.send("POST", "/triggers", Some(subscribed())).await.expect(201);
    }
    let page = api.send("GET", "/triggers?limit=1", None).await.expect(200);
    let path = format!("/triggers?nextToken={}", page["nextToken"].as_str().unwrap());
    let theirs = api.send_as(Some(claims(STRANGER)), "GET", &path, None, json!({})).await.expect(200);
    assert_eq!(theirs["triggers"], json!([]), "the partition comes from the token's user");
}
