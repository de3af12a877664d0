//! Tokens of every kind. The answer to each that opens nothing is the same.

use serde_json::{Value, json};
use standins::{Fault, Rule};

use crate::support::{RUN_CLIENT, STRANGER, USER, World, claims, gateway_event, scheduled, subscribed};

fn with(user: &str, changes: Value) -> Value {
    let mut claims = claims(user);
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[tokio::test]
async fn what_is_no_access_token_of_a_user_opens_nothing() {
    let world = World::start().await;
    let api = world.lambda(&[]).await;
    let machine = json!({"sub": "robot", "client_id": "robot", "username": null, "scope": "agent-trigger/manage"});
    let mut bodies = Vec::new();
    for claims in [
        None,
        Some(with(USER, json!({"token_use": "id"}))),
        Some(with(USER, json!({"token_use": null}))),
        Some(with(USER, json!({"sub": null}))),
        Some(with(USER, json!({"client_id": RUN_CLIENT}))),
        Some(with(USER, json!({"client_id": RUN_CLIENT, "scope": "agent-trigger/manage"}))),
        // Machine tokens are off by default.
        Some(with(USER, machine.clone())),
    ] {
        for (method, path) in [("GET", "/triggers"), ("GET", "/no/such/route"), ("POST", "/triggers")] {
            let headers = json!({"x-target-user-id": USER});
            let answer = api.send_as(claims.clone(), method, path, Some(subscribed()), headers).await;
            assert_eq!(answer.status, 401, "{claims:?} {method} {path}");
            let mut body = answer.body;
            body.as_object_mut().unwrap().remove("timestamp");
            bodies.push(body);
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:#?}");
    // Claims in other places count for nothing, nor does an authorizer of another kind.
    let event = gateway_event(Some(json!({"lambda": claims(USER)})), "GET", "/triggers", None, json!({}));
    assert_eq!(api.send_event(event).await.status, 401);
    let mut event = gateway_event(None, "GET", "/triggers", None, json!({"x-claims": claims(USER).to_string()}));
    event["claims"] = claims(USER);
    assert_eq!(api.send_event(event).await.status, 401);
    assert_eq!(api.send_as(None, "GET", "/ping", None, json!({})).await.status, 200);
    assert_eq!(world.stack.dynamodb.scan(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_machine_acts_for_the_user_whom_it_names_where_that_is_allowed() {
    let world = World::start().await;
    let api = world.lambda(&[("MACHINE_TOKENS", "true")]).await;
    let robot =
        |scope: &str| Some(with(USER, json!({"sub": "robot", "client_id": "robot", "username": null, "scope": scope})));
    let send = |claims: Option<Value>, target: Value| {
        let headers = if target.is_null() { json!({}) } else { json!({"x-target-user-id": target}) };
        api.send_as(claims, "POST", "/triggers", Some(subscribed()), headers)
    };
    assert_eq!(send(robot("openid"), json!(USER)).await.status, 400);
    assert_eq!(send(robot("agent-trigger/manage"), Value::Null).await.status, 400);
    let created = send(robot("openid agent-trigger/manage"), json!(USER)).await;
    let id = created.expect(201)["trigger"]["id"].as_str().unwrap().to_owned();
    assert_eq!(world.item(&id)["userId"], USER);
    // A user's token acts for that user, whatever the header says.
    let headers = json!({"x-target-user-id": USER});
    let answer = api.send_as(Some(claims(STRANGER)), "GET", &format!("/triggers/{id}"), None, headers).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn nothing_that_a_user_sent_is_logged() {
    let world = World::start().await;
    let api = world.lambda(&[]).await;
    let id = api.send("POST", "/triggers", Some(subscribed())).await.expect(201)["trigger"]["id"].clone();
    api.send("GET", &format!("/triggers/{}?type=secret-query", id.as_str().unwrap()), None).await;
    api.send("POST", "/triggers", Some(json!({"prompt": "secret prompt", "name": 5}))).await;
    // Scheduler's words and the addresses of its schedules hold the trigger's id.
    let trigger = api.send("POST", "/triggers", Some(scheduled())).await.expect(201)["trigger"].clone();
    let path = format!("/triggers/{}", trigger["id"].as_str().unwrap());
    for (fault, status) in [(Fault::Deny, 502), (Fault::Conflict, 503), (Fault::Reset, 503), (Fault::Throttle, 503)] {
        let rule = world.scheduler.inject(Rule::any(fault));
        assert_eq!(api.send("POST", &format!("{path}/disable"), None).await.status, status);
        assert_eq!(api.send("GET", &format!("{path}/status"), None).await.status, 200);
        rule.remove();
    }
    let logs = api.process.logs().join("\n");
    assert!(!logs.contains(trigger["id"].as_str().unwrap()), "{logs}");
    for secret in ["secret", "a-token", "an-id-token", USER, id.as_str().unwrap(), "Look at"] {
        assert!(!logs.contains(secret), "{secret} in {logs}");
    }
    assert!(logs.contains(r#""route":"/triggers/{id}""#), "{logs}");
}

#[tokio::test]
async fn the_stage_of_ones_own_api_is_no_part_of_the_route() {
    let world = World::start().await;
    let authorizer = json!({"jwt": {"claims": claims(USER), "scopes": null}});
    for overrides in [&[][..], &[("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", "true")]] {
        let api = world.lambda(overrides).await;
        for (stage, path, status) in [
            ("prod", "/prod/triggers?limit=1", 200),
            ("prod", "/prod/v1/triggers", 200),
            ("prod", "/prod/ping", 200),
            // Under a domain of one's own the stage is left out.
            ("prod", "/triggers", 200),
            ("$default", "/triggers", 200),
            ("$default", "/prod/triggers", 404),
            ("prod", "/production/triggers", 404),
        ] {
            let mut event = gateway_event(Some(authorizer.clone()), "GET", path, None, json!({}));
            event["requestContext"]["stage"] = json!(stage);
            let answer = api.send_event(event).await;
            assert_eq!(answer.status, status, "{stage} {path}: {:#}", answer.body);
        }
    }
}
