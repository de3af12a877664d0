//! Deliveries that are refused: in which order, with which status, and with which receipt.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use standins::{Fault, Rule};

use crate::hooks::{HOOK, Hooks, TRIGGER, now, pairs, signed, signed_by};
use crate::support::{SECRETS, USER, World, client};

/// Sends a delivery and returns its status, and the reason in the newest receipt of a refusal.
async fn refused(world: &World, hooks: &Hooks, headers: &[(String, String)], body: impl Into<Vec<u8>>) -> (u16, Value) {
    let before = world.receipts().len();
    let (status, _) = hooks.send(&format!("/hooks/{HOOK}"), headers, body).await;
    let receipts = world.receipts();
    assert!(receipts.len() == before + 1, "one receipt: {receipts:#?}");
    let newest = receipts.last().unwrap().clone();
    assert_eq!(newest["outcome"], "refused", "{newest:#}");
    assert!(newest.get("body").is_none() && newest.get("headers").is_none() && newest["ttl"].is_i64(), "{newest:#}");
    (status.as_u16(), newest["reason"].clone())
}

#[tokio::test]
async fn each_refusal_has_its_receipt() {
    let world = World::start().await;
    world.put_hook(json!({}), json!({}));
    let body = r#"{"ref": "main"}"#;
    let valid = |at: i64| signed("msg_1", now() + at, body);
    let without = |name: &str| valid(0).into_iter().filter(|(n, _)| n != name).collect::<Vec<_>>();
    let with = |name: &str, value: &str| {
        let mut headers = without(name);
        headers.push((name.to_owned(), value.to_owned()));
        headers
    };
    let doubled = |name: &str| {
        let mut headers = valid(0);
        let again = headers.iter().find(|(n, _)| n == name).unwrap().clone();
        headers.push(again);
        headers
    };
    let is_json = |mut headers: Vec<(String, String)>| {
        headers.extend(pairs(&[("content-type", "application/json")]));
        headers
    };
    let cases = [
        (vec![], 401, "noSignature"),
        (without("webhook-id"), 401, "noSignature"),
        (doubled("webhook-signature"), 401, "duplicateHeader"),
        (doubled("webhook-id"), 401, "duplicateHeader"),
        (with("webhook-id", "msg_2"), 401, "wrongSignature"),
        (with("webhook-signature", "v1,AAAA"), 401, "wrongSignature"),
        (with("webhook-signature", "v2,AAAA"), 401, "malformedSignature"),
        (with("webhook-id", "msg.1"), 401, "malformedSignature"),
        (with("webhook-timestamp", "+1700000000"), 401, "malformedTimestamp"),
        (with("webhook-timestamp", "17e8"), 401, "malformedTimestamp"),
    ];
    let hooks = world.hooks().await;
    for (headers, status, reason) in cases {
        assert_eq!(refused(&world, &hooks, &headers, body).await, (status, json!(reason)), "{headers:?}");
    }
    // Another process has a bucket of its own.
    let hooks = world.hooks().await;
    for at in [-301, 302] {
        assert_eq!(refused(&world, &hooks, &valid(at), body).await, (401, json!("staleTimestamp")));
    }
    assert_eq!(refused(&world, &hooks, &valid(0), r#"{"ref": "mein"}"#).await, (401, json!("wrongSignature")));
    let not_json = signed("msg_3", now(), "{");
    assert_eq!(refused(&world, &hooks, &is_json(not_json), "{").await, (400, json!("notJson")));
    // A trigger that is switched off refuses what it would refuse when it is on.
    world.put_hook(json!({}), json!({"enabled": false}));
    let not_json = signed("msg_4", now(), "{");
    assert_eq!(refused(&world, &hooks, &is_json(not_json), "{").await, (400, json!("notJson")));
    let config = json!({"preset": "token"});
    world.put_hook(config.clone(), json!({}));
    let token = signed_by(&config, "", "text/plain");
    assert_eq!(refused(&world, &hooks, &token, b"\xff".to_vec()).await, (400, json!("notUtf8")));
    // The largest body is accepted, and one byte more is not.
    let large = "x".repeat(200 * 1024);
    let (status, answer) = hooks.send(&format!("/hooks/{HOOK}"), &token, large.clone()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    assert_eq!(refused(&world, &hooks, &token, large + "x").await, (413, json!("tooLarge")));
    // Six bytes of JSON for each of these: the event is larger than Lambda takes.
    assert_eq!(refused(&world, &hooks, &token, "\u{1}".repeat(190 * 1024)).await, (413, json!("tooLarge")));
    let allowed = json!({"preset": "token", "allowedIps": ["192.0.2.0/24", "2001:db8::/32"]});
    world.put_hook(allowed, json!({}));
    assert_eq!(refused(&world, &hooks, &[], "").await, (403, json!("address")));
    world.stack.pool(1, &[]);
    world.stack.lambda.idle().await;
    assert_eq!(world.stack.agent.call_count(), 1);
}

/// Nobody learns by an answer whether a hook was ever there, or why a signature is wrong.
#[tokio::test]
async fn a_hook_is_unknown_gone_or_not_to_be_read() {
    let world = World::start().await;
    world.put_hook(json!({}), json!({}));
    let hooks = world.hooks().await;
    for path in ["/hooks/x", "/hooks/ffffffffffffffffffffffffffffffff", "/hooks/", "/hooks/github", "/test/x"] {
        let (status, _) = hooks.send(path, &[], "{}").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    let test = hooks.send(&format!("/test/{HOOK}"), &pairs(&[("content-type", "application/json")]), "{}").await;
    assert_eq!(test.0, StatusCode::NOT_FOUND);
    // For everybody else there is no such route, whatever the method and the body.
    assert_eq!(hooks.send(&format!("/test/{HOOK}"), &[], "{").await.0, StatusCode::NOT_FOUND);
    let get = client().get(format!("{}/test/{HOOK}", hooks.url)).send().await.unwrap();
    assert_eq!(get.status(), StatusCode::NOT_FOUND);
    // The stack's own GitHub webhook exists once it has a secret.
    assert_eq!(hooks.send("/webhooks/github", &[], "{}").await.0, StatusCode::NOT_FOUND);
    let get = client().get(format!("{}/hooks/{HOOK}", hooks.url)).send().await.unwrap();
    assert_eq!(get.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(world.receipts().last().unwrap()["reason"], "method");
    let foreign = hooks.send(&format!("/hooks/{HOOK}"), &pairs(&[("origin", "https://example.com")]), "{}").await;
    assert_eq!(foreign.0, StatusCode::FORBIDDEN);
    let wrong = hooks.send(&format!("/hooks/{HOOK}"), &signed("msg_1", now() - 1000, "{}"), "{}").await;
    let missing = hooks.send(&format!("/hooks/{HOOK}"), &[], "{}").await;
    assert_eq!((wrong.0, &wrong.1["message"]), (missing.0, &missing.1["message"]));
    world.put_hook(json!({}), json!({"deletedAt": "2026-01-01T00:00:00.000Z"}));
    assert_eq!(hooks.deliver("msg_1", "{}").await.0, StatusCode::GONE);
    // A pointer that is left over, to a trigger that has another hook by now.
    world.put_hook(json!({"hookId": "another"}), json!({}));
    assert_eq!(hooks.deliver("msg_1", "{}").await.0, StatusCode::NOT_FOUND);
    world.stack.dynamodb.delete(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{TRIGGER}"));
    assert_eq!(hooks.deliver("msg_1", "{}").await.0, StatusCode::NOT_FOUND);
    assert!(world.stack.lambda.dispatched().is_empty());
}

#[tokio::test]
async fn a_flood_of_wrong_signatures_writes_ten_receipts_a_minute() {
    let world = World::start().await;
    world.put_hook(json!({}), json!({}));
    let hooks = world.hooks().await;
    hooks.deliver("msg_1", "{}").await;
    let writes = || {
        ["PutItem", "UpdateItem", "TransactWriteItems"]
            .map(|name| world.stack.dynamodb.count_for(name, "HOOK#"))
            .iter()
            .sum::<usize>()
    };
    let before = writes();
    for _ in 0..30 {
        let sent = (0..10).map(|_| hooks.send("/hooks/0123456789abcdef0123456789abcdef", &[], "{}"));
        for (status, answer) in futures_util::future::join_all(sent).await {
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer} {:#?}", hooks.process.logs());
        }
    }
    // Twenty if a minute ends meanwhile.
    let written = writes() - before;
    assert!((10..=20).contains(&written), "{written}");
    assert_eq!(world.stack.ssm.asked().len(), 1);
}

/// The rate counts only what is signed, and the answer says when to come again.
#[tokio::test]
async fn a_rate_is_asked_after_the_signature() {
    let world = World::start().await;
    world.put_hook(json!({"ratePerMinute": 3}), json!({}));
    let hooks = world.hooks().await;
    for _ in 0..5 {
        assert_eq!(hooks.send(&format!("/hooks/{HOOK}"), &[], "{}").await.0, StatusCode::UNAUTHORIZED);
    }
    let mut accepted = 0;
    for n in 0..6 {
        let id = format!("msg_{n}");
        let response = hooks.send_full(&format!("/hooks/{HOOK}"), &signed(&id, now(), "{}"), "{}").await;
        if response.status() == StatusCode::ACCEPTED {
            accepted += 1;
            continue;
        }
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait));
    }
    // Three in each minute, if one ends meanwhile.
    assert!((3..6).contains(&accepted), "{accepted}");
    assert_eq!(world.receipts().last().unwrap()["reason"], "rate");
}

/// A fault of this side loses nothing: the sender tries again, and the event runs once.
#[tokio::test]
async fn own_faults_are_503_and_the_next_try_runs_once() {
    for fault in ["secret", "ssm", "lambda", "memory", "receipt"] {
        let world = World::start().await;
        world.put_hook(json!({}), json!({}));
        let rule = match fault {
            "secret" => {
                world.stack.ssm.put(&format!("{SECRETS}other"), "x");
                Some(world.stack.ssm.inject(Rule::new("GetParameter", Fault::NotFound)))
            }
            "ssm" => Some(world.stack.ssm.inject(Rule::new("GetParameter", Fault::Deny))),
            "lambda" => Some(world.stack.lambda.inject(Rule::new("Invoke", Fault::Deny))),
            "memory" => Some(world.stack.dynamodb.inject(Rule::new("PutItem", Fault::Deny).containing("SEEN#"))),
            _ => Some(world.stack.dynamodb.inject(Rule::new("PutItem", Fault::Deny).containing("DELIVERY#"))),
        };
        let hooks = world.hooks().await;
        let response = hooks.send_full(&format!("/hooks/{HOOK}"), &signed("msg_1", now(), "{}"), "{}").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{fault}");
        assert_eq!(response.headers()["retry-after"], "5");
        // The owner learns why nothing runs. The sender does not.
        let reasons: Vec<_> = world.receipts().into_iter().filter(|receipt| receipt["outcome"] == "refused").collect();
        let is_secret = ["secret", "ssm"].contains(&fault);
        assert_eq!(
            reasons.iter().map(|receipt| &receipt["reason"]).collect::<Vec<_>>(),
            vec!["secret"; usize::from(is_secret)],
            "{fault}"
        );
        rule.unwrap().remove();
        // The error of a secret holds for some seconds in a process.
        let hooks = world.hooks().await;
        assert_eq!(hooks.deliver("msg_1", "{}").await.0, StatusCode::ACCEPTED, "{fault}");
        world.stack.pool(1, &[]);
        world.stack.lambda.idle().await;
        assert_eq!((world.stack.dynamodb.executions(TRIGGER).len(), world.stack.agent.call_count()), (1, 1), "{fault}");
    }
}

/// The table hangs once the run function has the delivery. Sent again, one without a key would be another event.
#[tokio::test]
async fn what_the_run_function_has_is_accepted_though_nobody_can_note_it() {
    let world = World::start().await;
    let config = json!({"preset": "hmac"});
    world.put_hook(config.clone(), json!({}));
    let hooks = world.hooks().await;
    let slow = world.stack.lambda.inject(Rule::new("Invoke", Fault::Delay(Duration::from_secs(4))));
    let noting = world.stack.dynamodb.inject(Rule::new("UpdateItem", Fault::Hang));
    let (status, answer) = hooks.send(&format!("/hooks/{HOOK}"), &signed_by(&config, "{}", ""), "{}").await;
    assert_eq!((status, noting.hits()), (StatusCode::ACCEPTED, 1), "{answer}");
    slow.remove();
    noting.remove();
    world.stack.pool(1, &[]);
    world.stack.lambda.idle().await;
    assert_eq!(world.stack.dynamodb.executions(TRIGGER)[0]["executionId"], answer["executionId"]);
    assert_eq!((world.stack.agent.call_count(), world.receipts().len()), (1, 1));
}

/// A refusal stays one, and a handshake is answered in time, while receipts cannot be written.
#[tokio::test]
async fn an_answer_waits_for_its_receipt_for_a_while_only() {
    let world = World::start().await;
    let config = json!({"preset": "slack"});
    world.put_hook(config.clone(), json!({}));
    let hooks = world.hooks().await;
    let asks = r#"{"type": "url_verification", "challenge": "c"}"#;
    let handshake = signed_by(&config, asks, "application/json");
    for (headers, status) in [(vec![], 401), (handshake, 200)] {
        let writing = world.stack.dynamodb.inject(Rule::new("PutItem", Fault::Hang));
        let answered = hooks.send(&format!("/hooks/{HOOK}"), &headers, asks).await;
        // The client of the table would try again after two seconds.
        assert_eq!((answered.0.as_u16(), writing.hits()), (status, 1), "{}", answered.1);
        writing.remove();
    }
}

/// What a later release or a hand has written into the item stops nothing that is not needed. What is needed and not
/// understood is told to the owner.
#[tokio::test]
async fn settings_of_another_release_are_no_reason_to_refuse() {
    let world = World::start().await;
    let hooks = world.hooks().await;
    for (n, config) in [json!({"ofALaterRelease": {"a": 1}}), json!({"alias": "slack"}), json!({"alias": "New-Issues"})]
        .iter()
        .enumerate()
    {
        world.put_hook(config.clone(), json!({}));
        let (status, answer) = hooks.deliver(&format!("msg_{n}"), "{}").await;
        assert_eq!(status, StatusCode::ACCEPTED, "{config} {answer}");
        let Some(alias) = config["alias"].as_str() else { continue };
        world.stack.dynamodb.put_item(&json!({"PK": format!("HOOK#{alias}"), "SK": "HOOK", "userId": USER,
            "triggerId": TRIGGER}));
        let id = format!("msg_{n}_alias");
        let (status, answer) = hooks.send(&format!("/hooks/{alias}"), &signed(&id, now(), "{}"), "{}").await;
        assert_eq!(status, StatusCode::ACCEPTED, "{config} {answer}");
    }
    world.put_hook(json!({"preset": "ofALaterRelease"}), json!({}));
    assert_eq!(refused(&world, &hooks, &signed("msg_9", now(), "{}"), "{}").await, (503, json!("settings")));
    let receipt = world.receipts().pop().unwrap();
    assert_eq!((&receipt["senderId"], &receipt["sourceIp"]), (&json!("msg_9"), &json!("127.0.0.1")), "{receipt:#}");
}

/// Both secrets are live while one is replaced, and a version is read once.
#[tokio::test]
async fn two_secrets_are_live_in_the_grace_time() {
    let world = World::start().await;
    let hooks = world.hooks().await;
    let later = "2100-01-01T00:00:00.000Z";
    let token = |secret: &str| pairs(&[("x-webhook-token", secret)]);
    let send =
        |secret: &'static str| hooks.send("/hooks/0123456789abcdef0123456789abcdef", Vec::leak(token(secret)), "{}");
    let rotated = |until: &str| {
        world.put_hook(
            json!({"preset": "token", "secretVersion": 3, "previousSecretVersion": 1, "previousSecretUntil": until}),
            json!({}),
        );
        world.stack.ssm.put_versions(&format!("{SECRETS}{HOOK}"), &["the-first-one", "never-used", "the-third-one"]);
    };
    rotated(later);
    for (secret, status) in [("the-first-one", 202), ("the-third-one", 202), ("never-used", 401), ("the-third-on", 401)]
    {
        assert_eq!(send(secret).await.0.as_u16(), status, "{secret}");
    }
    rotated("2026-01-01T00:00:00.000Z");
    for (secret, status) in [("the-first-one", 401), ("the-third-one", 202)] {
        assert_eq!(send(secret).await.0.as_u16(), status, "{secret}");
    }
    let asked = world.stack.ssm.asked();
    assert_eq!(asked, [3, 1].map(|version| format!("{SECRETS}{HOOK}:{version}")));
}
