//! Webhooks as their owners manage them: made, rotated, tested, shown and removed, with a crash after each step.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use standins::{Fault, Function, Gate, Invocation, Rule, RuntimeApi};

use crate::crashes::{Step, dies};
use crate::hooks::{Hooks, hook_env, pairs};
use crate::support::{HOOK_FUNCTION, HOOKS_URL, OnPort, SECRETS, USER, World, binary, id, scheduled};

/// The number of tries of one request to the table.
const TRIES: usize = 6;

/// A request for a trigger with a webhook.
fn hooked(config: Value) -> Value {
    json!({"name": "Hook", "type": "event", "agentId": "agent-1", "prompt": "Look at {{ $.body.ref }}",
        "webhookConfig": config})
}

/// Returns the path of a webhook's address.
fn path_of(webhook: &Value) -> String {
    webhook["url"].as_str().unwrap().strip_prefix(HOOKS_URL).unwrap().to_owned()
}

fn hook_id(webhook: &Value) -> String {
    path_of(webhook).strip_prefix("/hooks/").unwrap().to_owned()
}

/// Sends a delivery whose secret is a token.
async fn send(hooks: &Hooks, webhook: &Value, secret: &str) -> u16 {
    let headers = pairs(&[("x-webhook-token", secret), ("content-type", "application/json")]);
    hooks.send(&path_of(webhook), &headers, r#"{"ref": "main"}"#).await.0.as_u16()
}

#[tokio::test]
async fn a_deleted_webhook_that_still_has_a_schedule_is_kept_until_that_is_gone() {
    let world = World::start().await;
    let api = world.port().await;
    let trigger = api.create(scheduled()).await;
    let path = format!("/triggers/{}", id(&trigger));
    let rule = world.scheduler.inject(Rule::new("DeleteSchedule", Fault::ServerError));
    assert_eq!(api.put(&path, json!({"type": "event", "prompt": "p", "webhookConfig": {}})).await.status, 503);
    assert_eq!(api.delete(&path).await.status, 503);
    let item = world.item(id(&trigger));
    assert!(item["deletedAt"].is_string() && item.get("webhookConfig").is_none());
    assert!(item.get("ttl").is_none(), "nobody would see the schedule after it");
    rule.remove();
    api.delete(&path).await.expect(200);
    assert!(world.item(id(&trigger))["ttl"].is_u64());
}

#[tokio::test]
async fn a_webhook_is_made_with_its_trigger_and_its_secret_is_shown_once() {
    let world = World::start().await;
    let api = world.port().await;
    let made = api.post("/triggers", hooked(json!({}))).await.expect(201);
    let (trigger, webhook) = (&made["trigger"], &made["webhook"]);
    let secret = webhook["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"));
    assert_eq!((&trigger["type"], &trigger["eventConfig"]), (&json!("event"), &json!({"eventSourceId": "webhook"})));
    assert_eq!((&trigger["webhookConfig"]["preset"], &trigger["webhookStatus"]), (&json!("standard"), &json!("ok")));
    let item = world.item(id(trigger));
    assert_eq!((item.get("GSI2PK"), &item["GSI1PK"]), (None, &json!("TYPE#event")));
    assert_eq!(world.stack.ssm.versions(&format!("{SECRETS}{}", hook_id(webhook))), [secret]);
    let shown = api.get(&format!("/triggers/{}", id(trigger))).await.expect(200);
    assert_eq!(shown["webhook"], json!({"url": webhook["url"]}));
    for place in [shown.to_string(), world.stack.dynamodb.scan().iter().map(Value::to_string).collect()] {
        assert!(!place.contains(secret), "{place}");
    }
    // It receives.
    world.stack.pool(1, &[]);
    let hooks = world.hooks().await;
    let signer = standardwebhooks::Webhook::new(secret).unwrap();
    let at = crate::hooks::now();
    let headers = pairs(&[
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", &at.to_string()),
        ("webhook-signature", &signer.sign("msg_1", at, br#"{"ref": "main"}"#).unwrap()),
    ]);
    let (status, answer) = hooks.send(&path_of(webhook), &headers, r#"{"ref": "main"}"#).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    world.stack.lambda.idle().await;
    let row = world.stack.dynamodb.executions(id(trigger)).remove(0);
    assert_eq!(
        (&row["executionId"], &row["status"], &row["userId"]),
        (&answer["executionId"], &json!("completed"), &json!(USER))
    );
    // A client that sends everything back changes nothing that is not its own.
    let mut body = trigger.clone();
    body["webhookConfig"]["hookId"] = json!("f".repeat(32));
    body["webhookConfig"]["secretVersion"] = json!(7);
    body["webhookConfig"]["ratePerMinute"] = json!(5);
    let saved = api.put(&format!("/triggers/{}", id(trigger)), body).await.expect(200);
    let config = &saved["trigger"]["webhookConfig"];
    assert_eq!((&config["hookId"], &config["secretVersion"]), (&json!(hook_id(webhook)), &json!(1)));
    assert_eq!((&config["ratePerMinute"], saved["webhook"].get("secret")), (&json!(5), None));
    // The frontend's form knows event sources alone.
    let form = json!({"name": "n", "type": "event", "agentId": "a", "prompt": "p", "eventConfig": {"eventSourceId": "webhook"}});
    assert!(api.post("/triggers", form).await.expect(201)["webhook"]["secret"].is_string());
    let sources = api.get("/events").await.expect(200);
    assert!(sources["eventSources"].as_array().unwrap().iter().any(|source| source["id"] == "webhook"));
    let providers = api.get("/providers").await.expect(200);
    assert_eq!((providers["providers"].as_array().unwrap().len(), &providers["hooksUrl"]), (8, &json!(HOOKS_URL)));
    world.stack.assert_clean();
}

#[tokio::test]
async fn wrong_settings_are_named_and_a_webhook_stays_one() {
    let world = World::start().await;
    let api = world.port().await;
    let wrong =
        json!({"preset": "hmac", "encoding": "hax", "allowedIps": ["here"], "ratePerMinute": "many", "secret": "x"});
    let answer = api.post("/triggers", hooked(wrong)).await;
    let mut violations = answer.violations();
    violations.sort_unstable();
    let expected = ["allowedIps[0]", "encoding", "ratePerMinute", "secret"].map(|name| format!("webhookConfig.{name}"));
    assert_eq!(violations, expected);
    let mut other = hooked(json!({}));
    other["eventConfig"] = json!({"eventSourceId": "aws-s3"});
    assert_eq!(api.post("/triggers", other).await.violations(), ["webhookConfig"]);
    let made = api.post("/triggers", hooked(json!({}))).await.expect(201);
    let path = format!("/triggers/{}", id(&made["trigger"]));
    let source = json!({"eventConfig": {"eventSourceId": "aws-s3"}});
    assert!(api.put(&path, source).await.violations().contains(&"eventConfig.eventSourceId"));
    let schedule = json!({"type": "schedule", "scheduleConfig": {"expression": "rate(1 hour)"}});
    assert_eq!(api.put(&path, schedule).await.violations(), ["type"]);
    // Without its settings it has those of a new one, and the same address.
    let made = api.post("/triggers", hooked(json!({"ratePerMinute": 7}))).await.expect(201);
    let reset = format!("/triggers/{}", id(&made["trigger"]));
    let after = api.put(&reset, json!({"webhookConfig": null})).await.expect(200);
    let (before, after) = (&made["trigger"]["webhookConfig"], &after["trigger"]["webhookConfig"]);
    assert_eq!((&after["hookId"], &after["secretVersion"]), (&before["hookId"], &json!(1)), "{after}");
    assert_eq!((&after["preset"], after.get("ratePerMinute")), (&json!("standard"), None));
    // The secret of a GitHub webhook is no key of Standard Webhooks. The other way round any text is one.
    let github = api.post("/triggers", hooked(json!({"preset": "github"}))).await.expect(201);
    let github = format!("/triggers/{}", id(&github["trigger"]));
    for config in [json!({"preset": "standard"}), json!(null)] {
        let answer = api.put(&github, json!({"webhookConfig": config})).await;
        assert_eq!(answer.violations(), ["webhookConfig.preset"], "{config}");
    }
    for (to, preset) in [(&reset, "github"), (&github, "stripe")] {
        api.put(to, json!({"webhookConfig": {"preset": preset}})).await.expect(200);
    }
    for (route, body) in [
        ("secret", json!({"secret": "short"})),
        ("secret", json!({"secret": "not-a-key-of-base64"})),
        ("secret", json!({"graceSeconds": -1})),
    ] {
        let answer = api.post(&format!("{path}/webhook/{route}"), body.clone()).await;
        assert_eq!(answer.status, 400, "{body}");
    }
    // A trigger without a webhook has neither a secret nor deliveries, and another user's is not there.
    let plain = api.create(crate::support::subscribed()).await;
    let plain = format!("/triggers/{}", id(&plain));
    assert_eq!(api.post(&format!("{plain}/webhook/secret"), json!({})).await.status, 400);
    assert_eq!(api.get(&format!("{plain}/deliveries")).await.status, 400);
    for route in ["webhook/secret", "webhook/test"] {
        assert_eq!(api.post(&format!("/triggers/nobody/{route}"), json!({})).await.status, 404);
    }
}

#[tokio::test]
async fn a_secret_is_rotated_with_a_grace_time() {
    let world = World::start().await;
    let api = world.port().await;
    let made = api.post("/triggers", hooked(json!({"preset": "token"}))).await.expect(201);
    let (webhook, path) = (&made["webhook"], format!("/triggers/{}/webhook/secret", id(&made["trigger"])));
    let first = webhook["secret"].as_str().unwrap();
    let hooks = world.hooks().await;
    assert_eq!(send(&hooks, webhook, first).await, 202);
    let rotated = api.post(&path, json!({"graceSeconds": 600})).await.expect(200);
    let second = rotated["webhook"]["secret"].as_str().unwrap();
    assert_ne!(first, second);
    assert!(rotated["previousSecretUntil"].is_string());
    for secret in [first, second] {
        assert_eq!(send(&hooks, webhook, secret).await, 202);
    }
    // An answer that is lost is asked for again. Whatever secret the sender has by now, its grace time goes on.
    api.post(&path, json!({})).await.expect(200);
    let last = api.post(&path, json!({})).await.expect(200);
    for secret in [first, second, last["webhook"]["secret"].as_str().unwrap()] {
        assert_eq!(send(&hooks, webhook, secret).await, 202);
    }
    // One that the sender has chosen is not returned, and without grace the others end at once.
    let given = api.post(&path, json!({"secret": "chosen-by-the-sender", "graceSeconds": 0})).await.expect(200);
    assert_eq!(given["webhook"].get("secret"), None);
    for (secret, status) in [(first, 401), (second, 401), ("chosen-by-the-sender", 202)] {
        assert_eq!(send(&hooks, webhook, secret).await, status);
    }
    // Two at once: both are live.
    let (one, two) = tokio::join!(api.post(&path, json!({})), api.post(&path, json!({})));
    for answer in [one, two] {
        let answer = answer.expect(200);
        assert_eq!(send(&hooks, webhook, answer["webhook"]["secret"].as_str().unwrap()).await, 202);
    }
}

/// Starts the hooks surface as a function of Lambda, which the manage surface invokes.
pub(crate) async fn hook_function(world: &World) -> (Arc<RuntimeApi>, Function) {
    let api = Arc::new(RuntimeApi::start().await);
    let process = Function::spawn(binary(), &hook_env(world), &api).unwrap();
    let serving = Arc::clone(&api);
    world.stack.lambda.serve_other(HOOK_FUNCTION, move |payload| {
        let api = Arc::clone(&serving);
        tokio::spawn(async move { api.invoke(Invocation::new(payload)).await });
    });
    (api, process)
}

async fn deliveries(api: &OnPort, path: &str, count: usize) -> Vec<Value> {
    loop {
        let listed = api.get(&format!("{path}/deliveries")).await.expect(200)["deliveries"].as_array().unwrap().clone();
        if listed.len() == count && listed.iter().all(|delivery| delivery["state"] != "pending") {
            return listed;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_test_delivery_is_signed_by_the_hook_function_and_shown() {
    let world = World::start().await;
    let api = world.port().await;
    let function = hook_function(&world).await;
    world.stack.pool(1, &[]);
    for config in [
        json!({"preset": "standard", "allowedIps": ["192.0.2.1"]}),
        json!({"preset": "github"}),
        json!({"preset": "slack"}),
        json!({"preset": "stripe"}),
        json!({"preset": "hmac", "timestampHeader": "x-time"}),
        json!({"preset": "basic", "username": "u"}),
    ] {
        let made = api.post("/triggers", hooked(config.clone())).await.expect(201);
        let path = format!("/triggers/{}", id(&made["trigger"]));
        let sent = api.post(&format!("{path}/webhook/test"), json!({"body": {"ref": "main"}})).await.expect(202);
        let shown = deliveries(&api, &path, 1).await.remove(0);
        assert_eq!((&shown["state"], &shown["test"]), (&json!("dispatched"), &json!(true)), "{config} {shown:#}");
        assert_eq!(shown["senderId"], sent["senderId"], "{config}");
        world.stack.lambda.idle().await;
        let row = world.stack.dynamodb.executions(id(&made["trigger"])).remove(0);
        assert_eq!((&row["status"], &row["executionId"]), (&json!("completed"), &shown["executionId"]), "{config}");
        // Without a body there is a sample, another one each time.
        for _ in 0..2 {
            api.post(&format!("{path}/webhook/test"), json!({})).await.expect(202);
        }
        deliveries(&api, &path, 3).await;
    }
    drop(function);
}

/// Lambda takes an answer of 503 to an asynchronous invocation for a success, and tries only an error again.
#[tokio::test]
async fn a_test_delivery_that_meets_a_fault_is_tried_again_and_says_why() {
    let world = World::start().await;
    let api = world.port().await;
    let runtime = Arc::new(RuntimeApi::start().await);
    let _function = Function::spawn(binary(), &hook_env(&world), &runtime).unwrap();
    let (sender, mut payloads) = tokio::sync::mpsc::unbounded_channel();
    world.stack.lambda.serve_other(HOOK_FUNCTION, move |payload| drop(sender.send(payload)));
    let made = api.post("/triggers", hooked(json!({"preset": "token"}))).await.expect(201);
    let path = format!("/triggers/{}", id(&made["trigger"]));
    api.post(&format!("{path}/webhook/test"), json!({})).await.expect(202);
    let payload = payloads.recv().await.unwrap();
    let invoked = async || runtime.invoke(Invocation::new(payload.clone())).await;
    let rule = world.stack.dynamodb.inject(Rule::new("GetItem", Fault::Deny).containing("HOOK#"));
    assert!(!invoked().await.is_success());
    rule.remove();
    let rule = world.stack.ssm.inject(Rule::new("GetParameter", Fault::Deny));
    assert!(!invoked().await.is_success());
    rule.remove();
    let shown = deliveries(&api, &path, 1).await.remove(0);
    assert_eq!(
        (&shown["state"], &shown["reason"], &shown["test"]),
        (&json!("refused"), &json!("secret"), &json!(true))
    );
    assert!(shown["message"].as_str().unwrap().contains("cannot be read"), "{shown:#}");
    // What is refused for another reason is no fault.
    let mut other: Value = serde_json::from_slice(&payload).unwrap();
    other["rawPath"] = json!("/test/ffffffffffffffffffffffffffffffff");
    other["requestContext"]["http"]["path"] = other["rawPath"].clone();
    assert!(runtime.invoke(Invocation::event(&other)).await.is_success());
}

/// "Why did nothing happen": a refused delivery is shown with its reason by the very next request.
#[tokio::test]
async fn a_refused_delivery_is_shown_with_its_reason() {
    let world = World::start().await;
    let api = world.port().await;
    let made = api.post("/triggers", hooked(json!({"preset": "token"}))).await.expect(201);
    let path = format!("/triggers/{}", id(&made["trigger"]));
    let hooks = world.hooks().await;
    assert_eq!(send(&hooks, &made["webhook"], "wrong").await, 401);
    let shown = deliveries(&api, &path, 1).await.remove(0);
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("refused"), &json!("wrongSignature")));
    assert_eq!((&shown["sourceIp"], &shown["bytes"]), (&json!("127.0.0.1"), &json!(15)));
    assert!(shown["message"].is_string() && shown["receivedAt"].is_string());
    // Accepted a while ago and never dispatched.
    let hook = hook_id(&made["webhook"]);
    world.stack.dynamodb.put_item(&json!({"PK": format!("HOOK#{hook}"), "SK": "DELIVERY#zzz", "outcome": "accepted",
        "receivedAt": "2026-01-01T00:00:00.000Z", "ttl": 4_000_000_000_u64}));
    let shown = deliveries(&api, &path, 2).await.remove(0);
    assert_eq!(shown["state"], "notDispatched");
    assert!(shown["message"].as_str().unwrap().contains("send it again"));
}

/// A stranger who knows an address can have deliveries refused. That hides nothing that was accepted.
#[tokio::test]
async fn refusals_hide_nothing_that_was_accepted() {
    let world = World::start().await;
    let api = world.port().await;
    let made = api.post("/triggers", hooked(json!({"preset": "token"}))).await.expect(201);
    let path = format!("/triggers/{}", id(&made["trigger"]));
    let pk = format!("HOOK#{}", hook_id(&made["webhook"]));
    let hooks = world.hooks().await;
    assert_eq!(send(&hooks, &made["webhook"], made["webhook"]["secret"].as_str().unwrap()).await, 202);
    assert_eq!(send(&hooks, &made["webhook"], "wrong").await, 401);
    let written = world.stack.dynamodb.scan().into_iter().find(|item| item["PK"] == pk && item["outcome"] == "refused");
    let written = written.unwrap();
    let (kind, last) = written["SK"].as_str().unwrap().split_once('#').unwrap();
    for n in 0..120 {
        let mut refusal = written.clone();
        refusal["SK"] = json!(format!("{kind}#{last}-{n:03}"));
        world.stack.dynamodb.put_item(&refusal);
    }
    let before = world.stack.dynamodb.count("Query");
    let shown = api.get(&format!("{path}/deliveries")).await.expect(200)["deliveries"].as_array().unwrap().clone();
    assert_eq!(world.stack.dynamodb.count("Query") - before, 2);
    let states: Vec<_> = shown.iter().map(|delivery| delivery["state"].as_str().unwrap()).collect();
    assert_eq!((states.len(), states[50]), (51, "dispatched"), "{states:?}");
    let ids: Vec<_> = shown[..50].iter().map(|delivery| delivery["deliveryId"].as_str().unwrap()).collect();
    let newest: Vec<_> = (70..120).rev().map(|n| format!("{last}-{n:03}")).collect();
    assert_eq!(ids, newest);
}

#[tokio::test]
async fn a_deleted_trigger_leaves_no_secret_and_answers_410() {
    let world = World::start().await;
    let api = world.port().await;
    let made = api.post("/triggers", hooked(json!({"preset": "token"}))).await.expect(201);
    let (webhook, trigger) = (&made["webhook"], id(&made["trigger"]));
    let hooks = world.hooks().await;
    api.delete(&format!("/triggers/{trigger}")).await.expect(200);
    assert!(world.stack.ssm.values().is_empty());
    let item = world.item(trigger);
    assert!(item["ttl"].is_u64() && item.get("webhookConfig").is_none(), "{item:#}");
    let pointer = world.stack.dynamodb.item(&format!("HOOK#{}", hook_id(webhook)), "HOOK").unwrap();
    assert!(pointer["ttl"].is_u64(), "{pointer:#}");
    assert_eq!(send(&hooks, webhook, webhook["secret"].as_str().unwrap()).await, 410);
    assert_eq!(api.get("/triggers").await.expect(200)["metadata"]["count"], 0);
}

/// Asserts that the only webhook works with the secret that its owner knows, and that there is no other secret.
async fn assert_works(world: &World, api: &OnPort, answer: &Value, context: &str) {
    let trigger = &answer["trigger"];
    assert_eq!(trigger["webhookStatus"], "ok", "{context}");
    let mut webhook = answer["webhook"].clone();
    if webhook.get("secret").is_none() {
        // It was made, and its answer was lost.
        let path = format!("/triggers/{}/webhook/secret", id(trigger));
        webhook = api.post(&path, json!({})).await.expect(200)["webhook"].clone();
    }
    let hooks = world.hooks().await;
    assert_eq!(send(&hooks, &webhook, webhook["secret"].as_str().unwrap()).await, 202, "{context}");
    let is_pointer = |item: &Value| item["SK"] == "HOOK";
    assert_eq!(world.stack.dynamodb.scan().into_iter().filter(is_pointer).count(), 1, "{context}");
}

fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    for is_applied in [false, true] {
        steps.push(Step::Table("TransactWriteItems", 0, is_applied));
        for nth in 0..3 {
            steps.push(Step::Table("UpdateItem", nth, is_applied));
        }
        steps.push(Step::Secrets("PutParameter", 0, is_applied));
        steps.push(Step::Secrets("DeleteParameter", 0, is_applied));
    }
    steps
}

#[tokio::test]
async fn a_webhook_whose_creation_or_rotation_was_cut_short_is_completed() {
    let body = || Some(hooked(json!({"preset": "token"})));
    let mut deaths = 0;
    for step in steps() {
        let world = World::start().await;
        let headers = [("idempotency-key", "the-same-request")];
        if !dies(&world, step, Method::POST, "/triggers", body(), &headers).await {
            continue;
        }
        deaths += 1;
        let api = world.port().await;
        // What is half made is shown.
        for trigger in api.get("/triggers").await.expect(200)["triggers"].as_array().unwrap() {
            assert!(["missing", "ok"].contains(&trigger["webhookStatus"].as_str().unwrap()), "{step:?}");
        }
        let again = api.try_send(Method::POST, "/triggers", body(), &headers).await.unwrap().expect(201);
        assert_works(&world, &api, &again, &format!("{step:?}")).await;
        assert_eq!(api.get("/triggers").await.expect(200)["metadata"]["count"], 1, "{step:?}");
    }
    assert!(deaths >= 8, "only {deaths} steps");
    deaths = 0;
    for step in steps() {
        let world = World::start().await;
        let made = world.port().await.post("/triggers", hooked(json!({"preset": "token"}))).await.expect(201);
        let path = format!("/triggers/{}/webhook/secret", id(&made["trigger"]));
        if !dies(&world, step, Method::POST, &path, Some(json!({})), &[]).await {
            continue;
        }
        deaths += 1;
        // The secret before it is live: as the present one, or in its grace time.
        let hooks = world.hooks().await;
        let secret = made["webhook"]["secret"].as_str().unwrap();
        assert_eq!(send(&hooks, &made["webhook"], secret).await, 202, "{step:?}");
        let api = world.port().await;
        let rotated = api.post(&path, json!({})).await.expect(200);
        let secret = rotated["webhook"]["secret"].as_str().unwrap();
        assert_eq!(send(&hooks, &made["webhook"], secret).await, 202, "{step:?}");
    }
    assert!(deaths >= 4, "only {deaths} steps");
}

/// A lost answer to the write of the secret's version: the webhook is complete, whether a further try finds out or none does.
#[tokio::test]
async fn a_secret_whose_version_was_written_without_an_answer_is_stored() {
    let lost = |world: &World, times: usize| {
        let rule = Rule::new("UpdateItem", Fault::ApplyThenLose).containing("secretVersion").times(times);
        world.stack.dynamodb.inject(rule)
    };
    for times in [1, TRIES] {
        let world = World::start().await;
        let api = world.port().await;
        let rule = lost(&world, times);
        let made = api.post("/triggers", hooked(json!({"preset": "token"}))).await.expect(201);
        assert!(rule.hits() > 0);
        rule.remove();
        let (trigger, webhook) = (&made["trigger"], &made["webhook"]);
        assert_eq!(trigger["version"], world.item(id(trigger))["version"], "{times}");
        let first = webhook["secret"].as_str().unwrap();
        let rule = lost(&world, times);
        let path = format!("/triggers/{}/webhook/secret", id(trigger));
        let rotated = api.post(&path, json!({"graceSeconds": 600})).await.expect(200);
        assert!(rule.hits() > 0);
        rule.remove();
        let second = rotated["webhook"]["secret"].as_str().unwrap();
        let hooks = world.hooks().await;
        for secret in [first, second] {
            assert_eq!(send(&hooks, webhook, secret).await, 202, "{times}");
        }
        let config = &world.item(id(trigger))["webhookConfig"];
        assert_eq!((&config["previousSecretVersion"], &config["secretVersion"]), (&json!(1), &json!(2)), "{times}");
    }
}

/// A trigger of another event becomes one with a webhook.
#[tokio::test]
async fn an_update_that_makes_a_webhook_and_was_cut_short_is_completed() {
    let body = || {
        let config = json!({"preset": "token"});
        Some(
            json!({"eventConfig": {"eventSourceId": "webhook"}, "webhookConfig": config, "prompt": "Look at {{ $.body.ref }}"}),
        )
    };
    let mut deaths = 0;
    for step in steps() {
        let world = World::start().await;
        let made = world.port().await.create(crate::support::subscribed()).await;
        let path = format!("/triggers/{}", id(&made));
        if !dies(&world, step, Method::PUT, &path, body(), &[]).await {
            continue;
        }
        deaths += 1;
        let api = world.port().await;
        // It is either as it was, or shown as half made, or whole.
        let shown = api.get(&path).await.expect(200)["trigger"]["webhookStatus"].clone();
        assert!([Value::Null, json!("missing"), json!("ok")].contains(&shown), "{step:?}: {shown}");
        let again = api.put(&path, body().unwrap()).await.expect(200);
        assert_works(&world, &api, &again, &format!("{step:?}")).await;
        assert_eq!(world.item(id(&made)).get("GSI2PK"), None, "{step:?}: no event of a bus reaches it");
    }
    assert!(deaths >= 8, "only {deaths} steps");
}

#[tokio::test]
async fn a_deletion_of_a_webhook_that_was_cut_short_is_completed() {
    let mut deaths = 0;
    for step in steps() {
        let world = World::start().await;
        let made = world.port().await.post("/triggers", hooked(json!({"preset": "token"}))).await.expect(201);
        let path = format!("/triggers/{}", id(&made["trigger"]));
        if !dies(&world, step, Method::DELETE, &path, None, &[]).await {
            continue;
        }
        deaths += 1;
        let api = world.port().await;
        api.delete(&path).await.expect(200);
        assert!(world.stack.ssm.values().is_empty(), "{step:?}");
        assert!(world.item(id(&made["trigger"]))["ttl"].is_u64(), "{step:?}");
        let hooks = world.hooks().await;
        assert_eq!(send(&hooks, &made["webhook"], "any").await, 410, "{step:?}");
        assert_eq!(api.get("/triggers").await.expect(200)["metadata"]["count"], 0, "{step:?}");
    }
    assert!(deaths >= 6, "only {deaths} steps");
}

/// Somebody deletes the trigger while a secret is on its way. The secret would stay for ever, and nobody would see it.
#[tokio::test]
async fn a_secret_that_a_deletion_overtook_is_not_left_behind() {
    let secret = |gate: &Gate| Rule::new("PutParameter", Fault::GateBefore(gate.clone()));
    for is_new in [false, true] {
        let world = World::start().await;
        let api = world.port().await;
        let made = if is_new { crate::support::subscribed() } else { hooked(json!({"preset": "token"})) };
        let made = api.post("/triggers", made).await.expect(201)["trigger"].clone();
        let path = format!("/triggers/{}", id(&made));
        let gate = Gate::new();
        let rule = world.stack.ssm.inject(secret(&gate));
        let rotating = async {
            if is_new {
                let body = json!({"eventConfig": {"eventSourceId": "webhook"}, "webhookConfig": {"preset": "token"}});
                api.put(&path, body).await
            } else {
                api.post(&format!("{path}/webhook/secret"), json!({})).await
            }
        };
        let deleting = async {
            gate.reached().await;
            api.delete(&path).await.expect(200);
            gate.release();
        };
        let (rotated, ()) = tokio::join!(rotating, deleting);
        assert_eq!(rotated.status, 404, "{is_new}: {:#}", rotated.body);
        rule.remove();
        assert!(world.stack.ssm.values().is_empty(), "{is_new}: {:?}", world.stack.ssm.values());
        for pointer in world.stack.dynamodb.scan().into_iter().filter(|item| item["SK"] == "HOOK") {
            assert!(pointer["ttl"].is_u64(), "{is_new}: {pointer:#}");
        }
        assert!(world.item(id(&made))["ttl"].is_u64(), "{is_new}");
    }
}

#[tokio::test]
async fn a_test_delivery_has_the_limit_of_a_sender() {
    let world = World::start().await;
    let api = world.port().await;
    let function = hook_function(&world).await;
    let made = api.post("/triggers", hooked(json!({"preset": "github"}))).await.expect(201);
    let path = format!("/triggers/{}", id(&made["trigger"]));
    // Each quotation mark takes six bytes more on its way to the function.
    for body in ["x".repeat(201 * 1024), "\"".repeat(120 * 1024)] {
        let sent = api.post(&format!("{path}/webhook/test"), json!({"body": body})).await;
        assert_eq!(sent.status, 413, "{:#}", sent.body);
    }
    assert_eq!(world.stack.lambda.accepted(), 0);
    // Its receipt is found by the id that is returned, whatever the preset.
    let sent = api.post(&format!("{path}/webhook/test"), json!({"body": {"ref": "main"}})).await.expect(202);
    assert_eq!(deliveries(&api, &path, 1).await[0]["senderId"], sent["senderId"]);
    // While the trigger is off, the answer says so.
    assert_eq!(sent.get("skipReason"), None);
    api.post(&format!("{path}/disable"), json!({})).await.expect(200);
    let sent = api.post(&format!("{path}/webhook/test"), json!({"body": {"ref": "main"}})).await.expect(202);
    assert_eq!(sent["skipReason"], "Disabled");
    drop(function);
}

/// A test delivery has the headers of a sender, so that a pattern over them is tested, and none of them is its signature.
#[tokio::test]
async fn a_test_delivery_has_the_headers_of_a_sender() {
    let world = World::start().await;
    let api = world.port().await;
    let function = hook_function(&world).await;
    world.stack.pool(1, &[]);
    let mut body = hooked(json!({"preset": "github"}));
    body["prompt"] = json!("{{ $.detail.headers['x-github-event'] }} {{ $.body }}");
    body["eventConfig"] = json!({"eventPattern": {"detail": {"headers": {"x-github-event": ["issues"]}}}});
    let made = api.post("/triggers", body).await.expect(201);
    let path = format!("/triggers/{}", id(&made["trigger"]));
    let test = async |body: Value| api.post(&format!("{path}/webhook/test"), body).await;
    let forged = "sha256=".to_owned() + &"0".repeat(64);
    let headers = json!({"X-GitHub-Event": "issues", "X-Hub-Signature-256": forged, "Idempotency-Key": "mine",
        "X-GitHub-Delivery": "mine", "Webhook-Id": "mine",
        "Authorization": "Bearer of-somebody", "Content-Type": "application/x-www-form-urlencoded"});
    let sent = test(json!({"headers": headers, "body": "ref=main&n=1"})).await.expect(202);
    let shown = deliveries(&api, &path, 1).await.remove(0);
    assert_eq!((&shown["state"], &shown["senderId"]), (&json!("dispatched"), &sent["senderId"]), "{shown:#}");
    world.stack.lambda.idle().await;
    assert_eq!(world.stack.agent.call_count(), 1);
    let prompt = world.stack.agent.calls()[0].field("prompt").to_owned();
    assert!(prompt.starts_with(r#""issues" {"n":"1","ref":"main"}"#), "{prompt}");
    assert!(!prompt.contains("of-somebody"), "{prompt}");
    // Another event is refused by the pattern, and a ping is answered as one.
    for (event, state) in [("push", "dispatched"), ("ping", "handshake")] {
        test(json!({"headers": {"x-github-event": event}})).await.expect(202);
        assert_eq!(deliveries(&api, &path, if event == "push" { 2 } else { 3 }).await[0]["state"], state);
    }
    world.stack.lambda.idle().await;
    assert_eq!(world.stack.agent.call_count(), 1);
    // Nothing that is no header passes.
    for (headers, fields) in [
        (
            json!({"a b": "x", "X-Event": "a\r\nX-Hub-Signature-256: b", "X-Ok": "fine"}),
            vec!["headers.X-Event", "headers.a b"],
        ),
        (json!({"X-Event": 7}), vec!["headers.X-Event"]),
        (json!({"X-Event": "x".repeat(1025)}), vec!["headers.X-Event"]),
        (json!({"": "x"}), vec!["headers."]),
        (json!(["X-Event"]), vec!["headers"]),
        (json!("X-Event: push"), vec!["headers"]),
    ] {
        let refused = test(json!({"headers": headers})).await;
        let mut violations = refused.violations();
        violations.sort_unstable();
        assert_eq!(violations, fields, "{headers}");
    }
    drop(function);
}
