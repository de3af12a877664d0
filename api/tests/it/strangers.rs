//! Two users. A walk over every route with the other's ids: each answer is that of an id that does not exist.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::support::{Answer, STRANGER, World, claims, id, scheduled, subscribed};

/// The routes with an id of a trigger or of an execution, and the bodies that they are sent. The walk sends the two bulk routes
/// besides.
fn routes() -> Vec<(&'static str, &'static str, Option<Value>)> {
    vec![
        ("GET", "/triggers/{id}", None),
        ("PUT", "/triggers/{id}", Some(json!({"name": "mine"}))),
        ("DELETE", "/triggers/{id}", None),
        ("POST", "/triggers/{id}/enable", None),
        ("POST", "/triggers/{id}/disable", None),
        ("POST", "/triggers/{id}/run", None),
        ("POST", "/triggers/check", Some(json!({"triggerId": "{id}"}))),
        ("GET", "/triggers/{id}/status", None),
        ("GET", "/triggers/{id}/next-runs", None),
        ("GET", "/triggers/{id}/deliveries", None),
        ("POST", "/triggers/{id}/webhook/secret", Some(json!({"secret": "a secret of the stranger's"}))),
        ("POST", "/triggers/{id}/webhook/test", Some(json!({"body": {}}))),
        ("GET", "/triggers/{id}/executions", None),
        ("GET", "/triggers/{id}/executions/{execution}", None),
        ("GET", "/triggers/{id}/executions/{execution}/input", None),
        ("POST", "/triggers/{id}/executions/{execution}/cancel", None),
        ("POST", "/triggers/{id}/executions/{execution}/replay", None),
    ]
}

/// A route that is added later must be walked, too.
#[test]
fn every_route_with_an_id_is_walked() {
    let router = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/router.rs")).unwrap();
    let (_, managed) = router.split_once("\nfn managed(").unwrap();
    let mut wanted = BTreeSet::new();
    for route in managed.split_once("];\n").unwrap().0.split("(\"/").skip(1) {
        let (path, handlers) = route.split_once('"').unwrap();
        for method in ["get", "post", "put", "patch", "delete"] {
            if path.contains('{') && handlers.contains(&format!("{method}(")) {
                wanted.insert((method.to_uppercase(), format!("/{path}")));
            }
        }
    }
    let routes = routes().into_iter().filter(|(_, path, _)| path.contains('{'));
    let walked: BTreeSet<_> = routes.map(|(method, path, _)| (method.to_owned(), path.to_owned())).collect();
    assert_eq!(walked, wanted);
}

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
    let hooked =
        json!({"name": "Hook", "type": "event", "agentId": "a", "prompt": "p", "webhookConfig": {"preset": "token"}});
    for body in [scheduled(), subscribed(), hooked] {
        let trigger = api.send("POST", "/triggers", Some(body)).await.expect(201)["trigger"].clone();
        if let Some(hook) = trigger["webhookConfig"]["hookId"].as_str() {
            world
                .stack
                .dynamodb
                .put_item(&json!({"PK": format!("HOOK#{hook}"), "SK": "DELIVERY#1", "outcome": "refused",
                "sourceIp": "192.0.2.7", "ttl": 4_000_000_000_u64}));
        }
        let run = world.put_execution(id(&trigger), "2026-01-01T07:00:00Z", json!({"status": "running"}));
        world.stack.dynamodb.put_item(&json!({"PK": format!("TRIGGER#{}", id(&trigger)), "SK": format!("INPUT#{run}"),
            "detail": json!({"userId": crate::support::USER, "agentId": "a", "prompt": "secret"}).to_string()}));
        known.push((id(&trigger).to_owned(), run));
    }
    let (before, secrets) = (world.stack.dynamodb.scan(), world.stack.ssm.values());
    let schedules = (world.scheduler.names(), world.scheduler.requests().len());
    let unknown =
        ("0199f0a0-0000-7000-8000-000000000000".to_owned(), "0199f0a0-0000-7000-8000-000000000001".to_owned());
    for (trigger, run) in &known {
        for (method, route, body) in routes() {
            let send = |(trigger, run): (String, String)| {
                let fill = |text: &str| text.replace("{id}", &trigger).replace("{execution}", &run);
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
    assert_eq!(world.stack.ssm.values(), secrets, "no secret was written");
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
