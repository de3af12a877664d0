//! The stack's own GitHub secret: replaced without a redeployment, and never refused while nobody can read it.

use std::time::{Duration, Instant};

use agent_trigger::config::Secret;
use agent_trigger_api::hooks::{scheme::Scheme, signature::sign};
use reqwest::StatusCode;
use standins::{Fault, Rule};

use crate::hooks::{Hooks, SECRET, now, pairs};
use crate::support::{LIMIT, SECRETS, World};

const OTHER: &str = "another-secret-of-the-stack";

fn name() -> String {
    format!("{SECRETS}github")
}

/// Sends a delivery that is signed with this secret, another one each time. Returns its status and `Retry-After`.
async fn send(hooks: &Hooks, secret: &str) -> (StatusCode, Option<String>) {
    let body = format!(r#"{{"at": "{}"}}"#, uuid::Uuid::new_v4());
    let signed = sign(&Scheme::Github, &Secret::new(secret), "", now(), body.as_bytes());
    let mut headers = pairs(&[("x-github-event", "issues"), ("content-type", "application/json")]);
    headers.extend(signed.into_iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())));
    let response = hooks.send_full("/webhooks/github", &headers, &body).await;
    let wait = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (response.status(), wait)
}

/// Asks again and again until `is_so` returns true: an error of the secret holds for five seconds.
async fn at_last(is_so: impl AsyncFn() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LIMIT, asking).await.expect("the secret is read again");
}

#[tokio::test]
async fn the_stacks_secret_is_replaced_without_a_redeployment() {
    let world = World::start().await;
    world.stack.ssm.put(&name(), SECRET);
    let hooks = world.hooks().await;
    assert_eq!(send(&hooks, SECRET).await.0, StatusCode::ACCEPTED);
    world.stack.ssm.put_versions(&name(), &[SECRET, OTHER]);
    // The one that is known works on until the new one is seen.
    assert_eq!(send(&hooks, SECRET).await.0, StatusCode::ACCEPTED);
    assert_eq!(send(&hooks, OTHER).await.0, StatusCode::ACCEPTED);
    assert_eq!(world.stack.ssm.asked(), [name(), name()]);
    // GitHub learns of the new one later than the Parameter Store. A process that starts meanwhile accepts both, too.
    for hooks in [&hooks, &world.hooks().await] {
        for secret in [SECRET, OTHER] {
            assert_eq!(send(hooks, secret).await.0, StatusCode::ACCEPTED);
        }
    }
    // Ten minutes after it was replaced it is good no longer. The minute more is for a machine that is slow.
    world.stack.ssm.set_age(&name(), 660);
    assert_eq!(send(&world.hooks().await, SECRET).await.0, StatusCode::UNAUTHORIZED);
    // Strangers cannot make it be read again and again.
    let (start, before) = (Instant::now(), world.stack.ssm.asked().len());
    for _ in 0..20 {
        let sent = (0..10).map(|_| send(&hooks, "of-a-stranger"));
        for (status, _) in futures_util::future::join_all(sent).await {
            assert_eq!(status, StatusCode::UNAUTHORIZED);
        }
    }
    let most = start.elapsed().as_secs() / 10 + 1;
    assert!((world.stack.ssm.asked().len() - before) as u64 <= most, "{:?}", world.stack.ssm.asked());
    // What has nothing to compare is refused without a look.
    assert_eq!(hooks.send("/webhooks/github", &[], "{}").await.0, StatusCode::UNAUTHORIZED);
    // It is deleted: then there is no such webhook.
    world.stack.ssm.put(&name(), "");
    let hooks = world.hooks().await;
    assert_eq!(send(&hooks, SECRET).await.0, StatusCode::NOT_FOUND);
}

/// The version before the newest one is good, also if the process knows an older one.
#[tokio::test]
async fn two_replacements_that_no_process_saw_refuse_neither() {
    for secret in [OTHER, "a-third-secret-of-the-stack"] {
        let world = World::start().await;
        world.stack.ssm.put(&name(), SECRET);
        let hooks = world.hooks().await;
        assert_eq!(send(&hooks, SECRET).await.0, StatusCode::ACCEPTED);
        world.stack.ssm.put_versions(&name(), &[SECRET, OTHER, "a-third-secret-of-the-stack"]);
        assert_eq!(send(&hooks, secret).await.0, StatusCode::ACCEPTED, "{secret}");
        assert_eq!(send(&hooks, "of-a-stranger").await.0, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn nothing_is_refused_while_the_stacks_secret_cannot_be_read() {
    let world = World::start().await;
    world.stack.ssm.put(&name(), SECRET);
    let rule = || world.stack.ssm.inject(Rule::new("GetParameter", Fault::Deny));
    let unavailable = (StatusCode::SERVICE_UNAVAILABLE, Some("5".to_owned()));
    // A process that never read it says so.
    let failing = rule();
    let hooks = world.hooks().await;
    assert_eq!(send(&hooks, SECRET).await, unavailable);
    failing.remove();
    // A process that has read it goes on with what it knows. What does not fit may be signed with a new one.
    let hooks = world.hooks().await;
    assert_eq!(send(&hooks, SECRET).await.0, StatusCode::ACCEPTED);
    let failing = rule();
    for _ in 0..3 {
        assert_eq!(send(&hooks, OTHER).await, unavailable);
        assert_eq!(send(&hooks, SECRET).await.0, StatusCode::ACCEPTED);
    }
    failing.remove();
    let receipts = world.stack.dynamodb.scan().into_iter().filter(|item| item["PK"] == "HOOK#github");
    let reasons: Vec<_> =
        receipts.filter(|item| item["outcome"] == "refused").map(|item| item["reason"].clone()).collect();
    assert!(reasons.len() >= 2 && reasons.iter().all(|reason| reason == "secret"), "{reasons:?}");
    // It can be read again, and is another one.
    world.stack.ssm.put(&name(), OTHER);
    at_last(async || send(&hooks, OTHER).await == (StatusCode::ACCEPTED, None)).await;
}

/// The item of a trigger names the version of its secret, which never changes: a wrong signature reads nothing again, and a
/// version that is new is read at once.
#[tokio::test]
async fn a_hooks_own_secret_is_read_once_for_each_version() {
    let world = World::start().await;
    world.put_hook(serde_json::json!({"preset": "token"}), serde_json::json!({}));
    let hooks = world.hooks().await;
    let path = format!("/hooks/{}", crate::hooks::HOOK);
    let token = async |secret: &str| hooks.send(&path, &pairs(&[("x-webhook-token", secret)]), "{}").await.0.as_u16();
    assert_eq!((token(SECRET).await, token("wrong").await, token("wrong").await), (202, 401, 401));
    let versioned = |version: u8| format!("{SECRETS}{}:{version}", crate::hooks::HOOK);
    assert_eq!(world.stack.ssm.asked(), [versioned(1)]);
    world.put_hook(serde_json::json!({"preset": "token", "secretVersion": 2}), serde_json::json!({}));
    world.stack.ssm.put_versions(&format!("{SECRETS}{}", crate::hooks::HOOK), &[SECRET, OTHER]);
    // The new one cannot be read: nothing is refused.
    let failing = world.stack.ssm.inject(Rule::new("GetParameter", Fault::Deny));
    assert_eq!((token(OTHER).await, token(SECRET).await), (503, 503));
    failing.remove();
    at_last(async || token(OTHER).await != 503).await;
    assert_eq!((token(OTHER).await, token(SECRET).await), (202, 401));
}

/// The secret before the present one is read for a signature that the present one does not fit. While it cannot be read,
/// such a delivery comes again, and whoever has the present one does not wait.
#[tokio::test]
async fn nothing_is_refused_while_a_secret_in_its_grace_time_cannot_be_read() {
    let world = World::start().await;
    let config = serde_json::json!({"preset": "token", "secretVersion": 2, "previousSecretVersion": 1,
        "previousSecretUntil": "2100-01-01T00:00:00.000Z"});
    world.put_hook(config, serde_json::json!({}));
    let name = format!("{SECRETS}{}", crate::hooks::HOOK);
    world.stack.ssm.put_versions(&name, &[SECRET, OTHER]);
    let hooks = world.hooks().await;
    let path = format!("/hooks/{}", crate::hooks::HOOK);
    let token = async |hooks: &Hooks, secret: &str| {
        let response = hooks.send_full(&path, &pairs(&[("x-webhook-token", secret)]), "{}").await;
        (response.status().as_u16(), response.headers().contains_key("retry-after"))
    };
    let failing = world.stack.ssm.inject(Rule::new("GetParameter", Fault::Deny).containing(&format!("{name}:1")));
    assert_eq!(token(&hooks, OTHER).await, (202, false));
    assert_eq!(world.stack.ssm.asked(), [format!("{name}:2")]);
    assert_eq!((token(&hooks, SECRET).await, token(&hooks, "wrong").await), ((503, true), (503, true)));
    assert_eq!(token(&hooks, OTHER).await, (202, false));
    let reasons: Vec<_> = world.receipts().into_iter().filter_map(|receipt| receipt.get("reason").cloned()).collect();
    assert_eq!(reasons, ["secret", "secret"]);
    failing.remove();
    // An error holds for some seconds in a process.
    let hooks = world.hooks().await;
    assert_eq!((token(&hooks, SECRET).await.0, token(&hooks, "wrong").await.0), (202, 401));
    // One that was deleted is live no longer.
    world.stack.ssm.put_versions(&name, &["", OTHER]);
    let hooks = world.hooks().await;
    assert_eq!((token(&hooks, SECRET).await.0, token(&hooks, OTHER).await.0), (401, 202));
}
