//! A hook's second, readable address: whose it is, and that a delivery is the same under both.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use standins::{Fault, Gate, Rule};

use crate::crashes::{Step, dies};
use crate::hooks::{HOOK, Hooks, TRIGGER, now, pairs, signed};
use crate::support::{HOOKS_URL, OnLambda, OnPort, STRANGER, USER, World, claims, client, id};

/// A request for a trigger with a webhook of this alias.
fn aliased(alias: &str) -> Value {
    json!({"name": "Hook", "type": "event", "agentId": "agent-1", "prompt": "Look at {{ $.body.ref }}",
        "webhookConfig": {"preset": "token", "alias": alias}})
}

fn pointer(world: &World, alias: &str) -> Option<Value> {
    world.stack.dynamodb.item(&format!("HOOK#{alias}"), "HOOK")
}

/// Returns the id of the trigger that has an alias.
fn holder(world: &World, alias: &str) -> Option<String> {
    let pointer = pointer(world, alias).filter(|pointer| pointer.get("ttl").is_none())?;
    Some(pointer["triggerId"].as_str().unwrap().to_owned())
}

/// Sends a delivery under an address of a hook, and returns its status.
async fn send(hooks: &Hooks, address: &str, secret: &str) -> u16 {
    let headers = pairs(&[("x-webhook-token", secret), ("content-type", "application/json")]);
    hooks.send(&format!("/hooks/{address}"), &headers, r#"{"ref": "main"}"#).await.0.as_u16()
}

async fn rename(api: &OnPort, path: &str, alias: Value) -> crate::support::Answer {
    api.put(path, json!({"webhookConfig": {"alias": alias}})).await
}

/// Asserts that every alias leads to the trigger that names it, and to no other.
fn assert_consistent(world: &World, context: &str) {
    let items = world.stack.dynamodb.scan();
    let alive =
        |item: &&Value| item["SK"].as_str().is_some_and(|sk| sk.starts_with("TRIGGER#")) && item["deletedAt"].is_null();
    let mut named = Vec::new();
    for item in items.iter().filter(alive) {
        if let Some(alias) = item["webhookConfig"]["alias"].as_str() {
            assert_eq!(holder(world, alias).as_deref(), item["id"].as_str(), "{context}: {item:#}");
            named.push(alias.to_owned());
        }
    }
    for item in
        items.iter().filter(|item| item["SK"] == "HOOK" && item.get("claim").is_some() && item.get("ttl").is_none())
    {
        let alias = item["PK"].as_str().unwrap().trim_start_matches("HOOK#");
        assert!(named.iter().any(|name| name == alias), "{context}: nobody names {item:#}");
    }
}

#[tokio::test]
async fn an_alias_is_a_second_address_of_a_hook() {
    let world = World::start().await;
    let api = world.port().await;
    let made = api.post("/triggers", aliased("new-issues")).await.expect(201);
    let (webhook, path) = (&made["webhook"], format!("/triggers/{}", id(&made["trigger"])));
    let secret = webhook["secret"].as_str().unwrap();
    assert_eq!(webhook["aliasUrl"], format!("{HOOKS_URL}/hooks/new-issues"));
    assert_eq!(api.get(&path).await.expect(200)["webhook"]["aliasUrl"], webhook["aliasUrl"]);
    let hooks = world.hooks().await;
    let by_id = webhook["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let body = r#"{"ref": "main"}"#;
    let headers = pairs(&[("x-webhook-token", secret), ("content-type", "application/json")]);
    for path in ["/hooks/new-issues", "/webhooks/new-issues", "/triggers/new-issues/webhook", "/v1/hooks/new-issues"] {
        assert_eq!(hooks.send(path, &headers, body).await.0, StatusCode::ACCEPTED, "{path}");
    }
    // A stranger who guesses it needs the secret, too.
    assert_eq!(send(&hooks, "new-issues", "guessed").await, 401);
    // Its receipts are those of the hook.
    let shown = api.get(&format!("{path}/deliveries")).await.expect(200);
    assert_eq!(shown["metadata"]["count"], 5, "{shown:#}");
    // Another one takes its place, and the one before leads nowhere.
    assert_eq!(
        rename(&api, &path, json!("issues_2")).await.expect(200)["webhook"]["aliasUrl"],
        format!("{HOOKS_URL}/hooks/issues_2")
    );
    for (address, status) in [("issues_2", 202), ("new-issues", 410), (by_id.as_str(), 202)] {
        assert_eq!(send(&hooks, address, secret).await, status, "{address}");
    }
    // A change of something else keeps it, and back again it is its own.
    api.put(&path, json!({"name": "Other", "webhookConfig": {"ratePerMinute": 60}})).await.expect(200);
    assert_eq!(holder(&world, "issues_2").as_deref(), Some(id(&made["trigger"])));
    rename(&api, &path, json!("new-issues")).await.expect(200);
    for (address, status) in [("issues_2", 410), ("new-issues", 202)] {
        assert_eq!(send(&hooks, address, secret).await, status, "{address}");
    }
    let after = rename(&api, &path, json!(null)).await.expect(200);
    assert_eq!((after["webhook"].get("aliasUrl"), after["trigger"]["webhookConfig"].get("alias")), (None, None));
    for (address, status) in [("new-issues", 410), (by_id.as_str(), 202)] {
        assert_eq!(send(&hooks, address, secret).await, status, "{address}");
    }
    rename(&api, &path, json!("new-issues")).await.expect(200);
    api.put(&path, json!({"webhookConfig": {"preset": "hmac"}})).await.expect(200);
    assert_eq!(holder(&world, "new-issues").as_deref(), Some(id(&made["trigger"])));
    api.put(&path, json!({"webhookConfig": {"preset": "token"}})).await.expect(200);
    // Settings that are reset as a whole have none either.
    let mut standard = aliased("reset-me");
    standard["webhookConfig"]["preset"] = json!("standard");
    let reset = format!("/triggers/{}", id(&api.create(standard).await));
    assert!(holder(&world, "reset-me").is_some());
    api.put(&reset, json!({"webhookConfig": null})).await.expect(200);
    assert_eq!(holder(&world, "reset-me"), None);
    assert_consistent(&world, "at the end");
    // With the trigger it ends, and is free at once.
    api.delete(&path).await.expect(200);
    assert_eq!(send(&hooks, "new-issues", secret).await, 410);
    assert!(pointer(&world, "new-issues").unwrap()["ttl"].is_u64());
    let next = api.post("/triggers", aliased("new-issues")).await.expect(201);
    assert_eq!(send(&hooks, "new-issues", next["webhook"]["secret"].as_str().unwrap()).await, 202);
    assert_eq!(send(&hooks, "new-issues", secret).await, 401);
}

#[tokio::test]
async fn a_taken_alias_is_refused_and_only_its_owner_learns_whose_it_is() {
    let world = World::start().await;
    let api = world.lambda(&[]).await;
    let create = async |user: &str, alias: &str| {
        api.send_as(Some(claims(user)), "POST", "/triggers", Some(aliased(alias)), json!({})).await
    };
    let mine = create(USER, "ours").await.expect(201)["trigger"].clone();
    for (user, words) in
        [(STRANGER, "is taken; choose another".to_owned()), (USER, format!("is taken by your trigger {}", id(&mine)))]
    {
        let refused = create(user, "ours").await;
        assert_eq!((refused.status, &refused.body["code"]), (409, &json!("CONFLICT")), "{:#}", refused.body);
        let violation = json!({"field": "webhookConfig.alias", "description": words});
        assert_eq!(refused.body["details"]["fieldViolations"], json!([violation]));
        assert_eq!(refused.body["message"], format!("webhookConfig.alias: {words}"));
    }
    assert_eq!(
        world.stack.dynamodb.scan().iter().filter(|item| item["name"] == "Hook").count(),
        1,
        "nothing else is made"
    );
    // Nor by a change, which then changes nothing.
    let other = create(STRANGER, "theirs").await.expect(201)["trigger"].clone();
    let body = json!({"name": "Renamed", "webhookConfig": {"alias": "ours"}});
    let path = format!("/triggers/{}", id(&other));
    let refused = api.send_as(Some(claims(STRANGER)), "PUT", &path, Some(body), json!({})).await;
    assert_eq!(refused.status, 409);
    let after = api.send_as(Some(claims(STRANGER)), "GET", &path, None, json!({})).await.expect(200);
    assert_eq!(
        (&after["trigger"]["name"], &after["trigger"]["webhookConfig"]["alias"]),
        (&json!("Hook"), &json!("theirs"))
    );
    for wrong in ["github", "Ours", "ab", "a/b", &"0123456789abcdef".repeat(2)] {
        assert_eq!(create(USER, wrong).await.violations(), ["webhookConfig.alias"], "{wrong}");
    }
    assert_consistent(&world, "at the end");
}

/// A trigger that takes it must show that nobody has it any more.
#[tokio::test]
async fn an_alias_whose_trigger_is_gone_may_be_taken_over() {
    for gone in ["deleted by hand", "ttl", "tombstone", "renamed by hand", "pointer without a trigger"] {
        let world = World::start().await;
        let api = world.port().await;
        let first = api.post("/triggers", aliased("ours")).await.expect(201)["trigger"].clone();
        assert_eq!(api.post("/triggers", aliased("ours")).await.status, 409, "{gone}");
        let mut item = world.item(id(&first));
        match gone {
            "deleted by hand" => {
                world.stack.dynamodb.delete(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{}", id(&first)))
            }
            "ttl" => item["ttl"] = json!(now() - 1),
            "tombstone" => item["deletedAt"] = json!("2026-01-01T00:00:00.000Z"),
            "renamed by hand" => item["webhookConfig"]["alias"] = json!("other"),
            _ => world.stack.dynamodb.put_item(&json!({"PK": "HOOK#ours", "SK": "HOOK"})),
        }
        if ["ttl", "tombstone", "renamed by hand"].contains(&gone) {
            world.stack.dynamodb.put_item(&item);
        }
        let next = api.post("/triggers", aliased("ours")).await.expect(201);
        assert_eq!(holder(&world, "ours").as_deref(), Some(id(&next["trigger"])), "{gone}");
        let hooks = world.hooks().await;
        assert_eq!(send(&hooks, "ours", next["webhook"]["secret"].as_str().unwrap()).await, 202, "{gone}");
        // The deletion of the first one leaves it alone.
        api.delete(&format!("/triggers/{}", id(&first))).await.expect(200);
        assert_eq!(holder(&world, "ours").as_deref(), Some(id(&next["trigger"])), "{gone}");
    }
}

/// The trigger comes back between the proof that it is gone and the write: its alias stays its own.
#[tokio::test]
async fn a_trigger_that_comes_back_meanwhile_keeps_its_alias() {
    let world = World::start().await;
    let (api, other) = (world.port().await, world.lambda(&[]).await);
    let first = api.post("/triggers", aliased("ours")).await.expect(201)["trigger"].clone();
    let path = format!("/triggers/{}", id(&first));
    rename(&api, &path, json!("meanwhile")).await.expect(200);
    // A pointer that was left behind, as if it had never been given up.
    let mut left = pointer(&world, "ours").unwrap();
    left.as_object_mut().unwrap().remove("ttl");
    world.stack.dynamodb.put_item(&left);
    let gate = Gate::new();
    let rule = world.stack.dynamodb.inject(Rule::new("TransactWriteItems", Fault::GateBefore(gate.clone())).once());
    let taking = other.send_as(Some(claims(STRANGER)), "POST", "/triggers", Some(aliased("ours")), json!({}));
    let back = async {
        gate.reached().await;
        rename(&api, &path, json!("ours")).await.expect(200);
        gate.release();
    };
    let (taken, ()) = tokio::join!(taking, back);
    rule.remove();
    assert_eq!(taken.status, 409, "{:#}", taken.body);
    assert_eq!(holder(&world, "ours").as_deref(), Some(id(&first)));
    assert_consistent(&world, "at the end");
}

/// The trigger of the key is there, and has another alias by now. That another one has the first is no refusal.
#[tokio::test]
async fn a_creation_that_is_sent_again_finds_its_trigger_although_its_alias_is_taken() {
    let world = World::start().await;
    let (api, other) = (world.port().await, world.lambda(&[]).await);
    let headers = [("idempotency-key", "the-same-request")];
    let create = async || api.try_send(Method::POST, "/triggers", Some(aliased("wanted")), &headers).await.unwrap();
    let made = create().await.expect(201)["trigger"].clone();
    rename(&api, &format!("/triggers/{}", id(&made)), json!("renamed")).await.expect(200);
    let taken = other.send_as(Some(claims(STRANGER)), "POST", "/triggers", Some(aliased("wanted")), json!({})).await;
    assert_eq!(taken.status, 201, "{:#}", taken.body);
    let again = create().await.expect(201)["trigger"].clone();
    assert_eq!((&again["id"], &again["webhookConfig"]["alias"]), (&made["id"], &json!("renamed")));
    assert_eq!(holder(&world, "wanted").as_deref(), Some(id(&taken.body["trigger"])));
    assert_consistent(&world, "at the end");
}

/// Two users want one alias at once, by creations and by changes: one of them has it.
#[tokio::test]
async fn one_of_many_has_an_alias() {
    let world = World::start().await;
    let apis: [OnLambda; 3] = [world.lambda(&[]).await, world.lambda(&[]).await, world.lambda(&[]).await];
    let users = [USER, STRANGER, "third-user"];
    for round in 0..10 {
        let alias = format!("wanted-{round}");
        let ready: Vec<_> = futures_util::future::join_all((0..3).map(|n| {
            let body = aliased(&format!("own-{round}-{n}"));
            apis[n].send_as(Some(claims(users[n])), "POST", "/triggers", Some(body), json!({}))
        }))
        .await;
        let races = (0..6).map(|n| {
            let (api, user) = (&apis[n % 3], users[n % 3]);
            let (method, path, body) = if n < 3 {
                ("POST", "/triggers".to_owned(), aliased(&alias))
            } else {
                let path = format!("/triggers/{}", id(&ready[n % 3].body["trigger"]));
                ("PUT", path, json!({"webhookConfig": {"alias": alias}}))
            };
            async move { api.send_as(Some(claims(user)), method, &path, Some(body), json!({})).await.status }
        });
        let statuses = futures_util::future::join_all(races).await;
        let won = statuses.iter().filter(|status| [200, 201].contains(*status)).count();
        assert_eq!((won, statuses.iter().filter(|status| **status == 409).count()), (1, 5), "{statuses:?}");
        assert_consistent(&world, &alias);
    }
}

/// Two changes of one trigger at once: the alias is the one that the item names, and no other stays taken.
#[tokio::test]
async fn an_alias_that_is_changed_by_two_at_once_is_one() {
    let world = World::start().await;
    let apis = [world.port().await, world.port().await, world.port().await];
    let made = apis[0].post("/triggers", aliased("first-one")).await.expect(201)["trigger"].clone();
    let path = format!("/triggers/{}", id(&made));
    for round in 0..10 {
        let names = [json!(format!("left-{round}")), json!(format!("right-{round}")), json!(null)];
        let sent = (0..3).map(|n| rename(&apis[n], &path, names[n].clone()));
        for answer in futures_util::future::join_all(sent).await {
            answer.expect(200);
        }
        assert_consistent(&world, &format!("round {round}"));
    }
}

#[tokio::test]
async fn a_write_of_an_alias_that_was_cut_short_is_completed() {
    let mut steps = Vec::new();
    for is_applied in [false, true] {
        steps.push(Step::Table("TransactWriteItems", 0, is_applied));
        steps.push(Step::Secrets("PutParameter", 0, is_applied));
        steps.push(Step::Secrets("DeleteParameter", 0, is_applied));
        for nth in 0..4 {
            steps.push(Step::Table("UpdateItem", nth, is_applied));
            steps.push(Step::Table("GetItem", nth, is_applied));
        }
    }
    for (name, method, body, least) in [
        ("create", Method::POST, Some(aliased("wanted")), 8),
        ("update", Method::PUT, Some(json!({"webhookConfig": {"alias": "wanted"}})), 6),
        ("remove", Method::PUT, Some(json!({"webhookConfig": {"alias": null}})), 4),
        ("delete", Method::DELETE, None, 8),
    ] {
        let mut deaths = 0;
        for step in &steps {
            let world = World::start().await;
            let path = if name == "create" {
                "/triggers".to_owned()
            } else {
                let api = world.port().await;
                format!("/triggers/{}", id(&api.create(aliased("first-one")).await))
            };
            let headers = [("idempotency-key", "the-same-request")];
            let headers: &[_] = if name == "create" { &headers } else { &[] };
            if !dies(&world, *step, method.clone(), &path, body.clone(), headers).await {
                continue;
            }
            deaths += 1;
            let api = world.port().await;
            let again = api.try_send(method.clone(), &path, body.clone(), headers).await.unwrap();
            let expected = if name == "create" { 201 } else { 200 };
            assert_eq!(again.status, expected, "{name} {step:?}: {:#}", again.body);
            assert_consistent(&world, &format!("{name} {step:?}"));
            assert_eq!(
                api.get("/triggers").await.expect(200)["metadata"]["count"],
                u8::from(name != "delete"),
                "{name} {step:?}"
            );
            // What nobody has any more is free.
            let free = match name {
                "create" => vec![],
                "delete" | "remove" => vec!["first-one", "wanted"],
                _ => vec!["first-one"],
            };
            for alias in free {
                assert_eq!(api.post("/triggers", aliased(alias)).await.status, 201, "{name} {step:?} {alias}");
            }
        }
        assert!(deaths >= least, "{name}: only {deaths} steps");
    }
}

/// Half of the deliveries come by the id and half by the alias: they are one, and so is their rate.
#[tokio::test]
async fn one_delivery_under_both_addresses_runs_once() {
    let world = World::start().await;
    world.put_hook(json!({"alias": "the-hook"}), json!({}));
    world
        .stack
        .dynamodb
        .put_item(&json!({"PK": "HOOK#the-hook", "SK": "HOOK", "userId": USER, "triggerId": TRIGGER, "claim": "c"}));
    let hooks = world.hooks().await;
    let body = r#"{"ref": "main"}"#;
    let sent = (0..50).map(|n| {
        let path = format!("/hooks/{}", if n % 2 == 0 { HOOK } else { "the-hook" });
        let hooks = &hooks;
        async move {
            for _ in 0..1_000 {
                let (status, answer) = hooks.send(&path, &signed("msg_1", now(), body), body).await;
                if status != StatusCode::SERVICE_UNAVAILABLE {
                    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
                    return answer["executionId"].clone();
                }
            }
            panic!("{path} stays unavailable")
        }
    });
    let ids = futures_util::future::join_all(sent).await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(world.receipts().len(), 1);
    // It costs as many reads as the id, and the secret is read once for both.
    let reads = || world.stack.dynamodb.count_for("GetItem", "");
    let mut counts = Vec::new();
    for (n, address) in [HOOK, "the-hook"].into_iter().enumerate() {
        let before = reads();
        let id = format!("msg_{}", n + 2);
        hooks.send(&format!("/hooks/{address}"), &signed(&id, now(), body), body).await;
        counts.push(reads() - before);
    }
    assert_eq!((counts[0], counts[1], world.stack.ssm.asked().len()), (2, 2, 1));
    world.stack.pool(4, &[]);
    world.stack.lambda.idle().await;
    assert_eq!((world.stack.dynamodb.executions(TRIGGER).len(), world.stack.agent.call_count()), (3, 3));
}

/// What looks like an address and is none, and what is one in another spelling.
#[tokio::test]
async fn an_alias_has_one_spelling() {
    let world = World::start().await;
    let api = world.port().await;
    let made = api.post("/triggers", aliased("the-hook")).await.expect(201);
    let secret = made["webhook"]["secret"].as_str().unwrap();
    let hooks = world.hooks().await;
    for (address, status) in [
        ("the-hook", 202),
        // An encoded letter is the letter.
        ("the%2Dhook", 202),
        ("%74he-hook", 202),
        ("THE-HOOK", 404),
        ("The-Hook", 404),
        ("the%252Dhook", 404),
        ("the-hook%00", 404),
        ("the-hook%0d%0aX-Webhook-Token:x", 404),
        ("the-hook%2F", 404),
        ("the-hook%2F..%2Fgithub", 404),
        ("the-hook%ff", 404),
        ("the-hook%23HOOK", 404),
        ("the-hook/", 404),
        ("%E2%80%8Bthe-hook", 404),
        ("the-hook%20", 404),
        ("th\u{435}-hook", 404),
        ("..%2fhooks%2fthe-hook", 404),
    ] {
        let headers = [("x-webhook-token", secret), ("content-type", "application/json")];
        let mut request = client().post(format!("{}/hooks/{address}", hooks.url)).body(r#"{"ref": "main"}"#);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{address}");
        // No part of what was asked stands in the answer's headers.
        assert!(
            answer.headers().values().all(|value| !value.as_bytes().windows(4).any(|part| part == b"hook")),
            "{address}"
        );
    }
}

/// Under a stage with a name, and under a mapped path of a domain of one's own, a delivery finds its hook.
#[tokio::test]
async fn a_stage_and_a_mapping_are_no_part_of_an_address() {
    let world = World::start().await;
    world.put_hook(json!({"preset": "token", "alias": "the-hook"}), json!({}));
    world
        .stack
        .dynamodb
        .put_item(&json!({"PK": "HOOK#the-hook", "SK": "HOOK", "userId": USER, "triggerId": TRIGGER, "claim": "c"}));
    let api = standins::RuntimeApi::start().await;
    let _function = standins::Function::spawn(crate::support::binary(), &crate::hooks::hook_env(&world), &api).unwrap();
    for (stage, path, route, status) in [
        ("$default", "/hooks/the-hook", "/hooks/{hookId}", 202),
        ("prod", "/prod/hooks/the-hook", "/hooks/{hookId}", 202),
        ("prod", "/agents/hooks/the-hook", "/hooks/{hookId}", 202),
        ("$default", "/agents/v1/webhooks/the-hook", "/v1/webhooks/{hookId}", 202),
        ("hooks", "/hooks/hooks/the-hook", "/hooks/{hookId}", 202),
        ("$default", "/agents/triggers/the-hook/webhook", "/triggers/{hookId}/webhook", 202),
        ("$default", "/agents/webhooks/github", "/webhooks/{hookId}", 404),
    ] {
        let headers = json!({"x-webhook-token": crate::hooks::SECRET});
        let mut event = crate::support::gateway_event(None, "POST", path, Some("{}".to_owned()), headers);
        event["requestContext"]["stage"] = json!(stage);
        for place in ["/routeKey", "/requestContext/routeKey"] {
            *event.pointer_mut(place).unwrap() = json!(format!("POST {route}"));
        }
        let standins::Outcome::Success(answer) = api.invoke(standins::Invocation::event(&event)).await else {
            panic!("{stage} {path}")
        };
        assert_eq!(answer["statusCode"], status, "{stage} {path}: {answer:#}");
    }
}

/// Its trigger is deleted, or gives it up, while somebody else takes it: afterwards it leads to one that names it, or to none.
#[tokio::test]
async fn an_alias_that_is_freed_and_taken_at_once_has_one_owner() {
    let world = World::start().await;
    let (api, other) = (world.port().await, world.lambda(&[]).await);
    for round in 0..12 {
        let alias = format!("shared-{round}");
        let path = format!("/triggers/{}", id(&api.create(aliased(&alias)).await));
        let freeing = async {
            let freed = if round % 2 == 0 { api.delete(&path).await } else { rename(&api, &path, json!(null)).await };
            freed.expect(200);
        };
        let taking = async {
            loop {
                let body = Some(aliased(&alias));
                let taken = other.send_as(Some(claims(STRANGER)), "POST", "/triggers", body, json!({})).await;
                if taken.status == 201 {
                    return id(&taken.body["trigger"]).to_owned();
                }
                assert_eq!(taken.status, 409, "{:#}", taken.body);
            }
        };
        let ((), taken) = tokio::join!(freeing, taking);
        assert_eq!(holder(&world, &alias).as_deref(), Some(taken.as_str()), "{alias}");
        assert_consistent(&world, &alias);
        let path = format!("/triggers/{taken}");
        other.send_as(Some(claims(STRANGER)), "DELETE", &path, None, json!({})).await.expect(200);
        assert_eq!(holder(&world, &alias), None, "{alias}");
    }
}
