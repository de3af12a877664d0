//! Requests as real senders make them, with their headers.

use reqwest::StatusCode;
use serde_json::json;
use standins::bus_event;

use crate::hooks::{HOOK, SECRET, TRIGGER, pairs, signed_by};
use crate::support::{SECRETS, USER, World};

/// The delivery that GitHub's documentation shows, with its headers.
/// <https://docs.github.com/en/webhooks/webhook-events-and-payloads#example-webhook-delivery>
const ISSUE: &str = r#"{"action":"opened","issue":{"url":"https://api.github.com/repos/octocat/Hello-World/issues/1347","number":1347,"title":"Found a bug"},"repository":{"id":1296269,"full_name":"octocat/Hello-World","owner":{"login":"octocat","id":1}},"sender":{"login":"octocat","id":1}}"#;

fn github(event: &str, delivery: &str, body: &str) -> Vec<(String, String)> {
    let mut headers = pairs(&[
        ("user-agent", "GitHub-Hookshot/044aadd"),
        ("x-github-delivery", delivery),
        ("x-github-event", event),
        ("x-github-hook-id", "292430182"),
        ("x-github-hook-installation-target-id", "79929171"),
        ("x-github-hook-installation-target-type", "repository"),
        ("x-hub-signature", "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6"),
    ]);
    headers.extend(signed_by(&json!({"preset": "github"}), body, "application/json"));
    headers
}

#[tokio::test]
async fn githubs_deliveries_run_the_trigger_and_its_ping_does_not() {
    let world = World::start().await;
    let pattern = json!({"detail": {"headers": {"x-github-event": ["issues"]}, "body": {"action": ["opened"]}}});
    let prompt = "{{ $.detail.headers['x-github-event'] }} {{ $.body.issue.number }} {{ $.body.repository.full_name }}";
    world.put_hook(
        json!({"preset": "github"}),
        json!({"prompt": prompt, "eventConfig": {"eventSourceId": "webhook", "eventPattern": pattern}}),
    );
    world.stack.pool(1, &[]);
    let hooks = world.hooks().await;
    let path = format!("/hooks/{HOOK}");
    let ping = r#"{"zen":"Keep it logically awesome.","hook_id":292430182}"#;
    assert_eq!(hooks.send(&path, &github("ping", "d-0", ping), ping).await.0, StatusCode::OK);
    assert_eq!(world.receipts()[0]["outcome"], "handshake");
    let (status, answer) =
        hooks.send(&path, &github("issues", "72d3162e-cc78-11e3-81ab-4c9367dc0958", ISSUE), ISSUE).await;
    assert_eq!((status, &answer["duplicate"]), (StatusCode::ACCEPTED, &json!(false)), "{answer}");
    // A redelivery has a delivery id of its own, which is not signed. The body is.
    let (_, again) = hooks.send(&path, &github("issues", "another", ISSUE), ISSUE).await;
    assert_eq!((&again["duplicate"], &again["executionId"]), (&json!(true), &answer["executionId"]));
    world.stack.lambda.idle().await;
    assert_eq!(world.stack.agent.call_count(), 1);
    let call = &world.stack.agent.calls()[0];
    assert!(call.field("prompt").starts_with(r#""issues" 1347 "octocat/Hello-World""#), "{}", call.field("prompt"));
    assert!(!call.field("prompt").contains("sha256="), "no signature reaches an agent");
    assert_eq!(world.stack.dynamodb.executions(TRIGGER)[0]["executionId"], answer["executionId"]);
    // As GitHub sends it if its content type is set to a form.
    let form =
        format!("payload={}", form_urlencoded::byte_serialize(br#"{"action":"opened","n":2}"#).collect::<String>());
    let mut headers = github("issues", "form", &form);
    headers.retain(|(name, _)| name != "content-type");
    headers.extend(pairs(&[("content-type", "application/x-www-form-urlencoded")]));
    assert_eq!(hooks.send(&path, &headers, form).await.0, StatusCode::ACCEPTED);
    world.stack.lambda.idle().await;
    assert_eq!(world.stack.agent.call_count(), 2);
}

#[tokio::test]
async fn slack_gets_its_challenge_and_empty_answers() {
    let world = World::start().await;
    world.put_hook(json!({"preset": "slack"}), json!({"prompt": "{{ $.body.event.text }}"}));
    world.stack.pool(1, &[]);
    let hooks = world.hooks().await;
    let path = format!("/hooks/{HOOK}");
    let slack = |body: &str| signed_by(&json!({"preset": "slack"}), body, "application/json");
    // <https://docs.slack.dev/reference/events/url_verification>
    let verification = r#"{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
    let (status, answer) = hooks.send(&path, &slack(verification), verification).await;
    let challenge = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P";
    assert_eq!((status, &answer["challenge"]), (StatusCode::OK, &json!(challenge)));
    // <https://docs.slack.dev/interactivity/implementing-slash-commands>
    let check = "ssl_check=1&token=Jhj5dZrVaK7ZwHHjRyZWjbDl";
    let form = signed_by(&json!({"preset": "slack"}), check, "application/x-www-form-urlencoded");
    assert_eq!(hooks.send(&path, &form, check).await, (StatusCode::OK, json!("")));
    let receipts = world.receipts();
    assert_eq!(receipts.len(), 2);
    assert!(receipts.iter().all(|receipt| receipt["outcome"] == "handshake"));
    // Unsigned it is refused: nobody else may learn that this is a hook of Slack's.
    assert_eq!(hooks.send(&path, &[], verification).await.0, StatusCode::UNAUTHORIZED);
    let message = r#"{"type":"event_callback","event_id":"Ev0PV52K21","event":{"type":"app_mention","text":"Hello"}}"#;
    for retry in ["", "1"] {
        let mut headers = slack(message);
        if !retry.is_empty() {
            headers.extend(pairs(&[("x-slack-retry-num", retry), ("x-slack-retry-reason", "http_timeout")]));
        }
        let (status, answer) = hooks.send(&path, &headers, message).await;
        assert_eq!((status, answer), (StatusCode::OK, json!("")));
    }
    world.stack.lambda.idle().await;
    assert_eq!(world.stack.agent.call_count(), 1);
    assert!(world.stack.agent.calls()[0].field("prompt").starts_with("\"Hello\""));
}

#[tokio::test]
async fn every_other_preset_is_accepted_and_its_neighbours_are_not() {
    let configs = [
        json!({"preset": "stripe"}),
        json!({"preset": "hmac", "header": "X-Sig", "prefix": "sha512=", "algorithm": "sha512"}),
        json!({"preset": "hmac", "encoding": "base64", "timestampHeader": "X-Time"}),
        json!({"preset": "hmac", "timestampHeader": "X-Time", "signedContent": "v0:{timestamp}:{body}"}),
        json!({"preset": "token"}),
        json!({"preset": "token", "header": "X-Gitlab-Token"}),
        json!({"preset": "bearer"}),
        json!({"preset": "basic", "username": "jira"}),
    ];
    let world = World::start().await;
    let hooks = world.hooks().await;
    for (at, config) in configs.iter().enumerate() {
        world.put_hook(config.clone(), json!({}));
        for (other, signer) in configs.iter().enumerate() {
            let body = format!(r#"{{"id": "evt_{at}"}}"#);
            let headers = signed_by(signer, &body, "application/json");
            let (status, _) = hooks.send(&format!("/hooks/{HOOK}"), &headers, body.clone()).await;
            let expected = if at == other { StatusCode::ACCEPTED } else { StatusCode::UNAUTHORIZED };
            assert_eq!(status, expected, "{signer} for {config}");
        }
        // Some senders log in only after they are told how.
        let asked = hooks.send_full(&format!("/hooks/{HOOK}"), &[], "{}").await;
        let challenge = asked.headers().get("www-authenticate").map(|challenge| challenge.to_str().unwrap());
        let expected = match config["preset"].as_str().unwrap() {
            "basic" => Some("Basic realm=\"webhook\""),
            "bearer" => Some("Bearer"),
            _ => None,
        };
        assert_eq!((asked.status(), challenge), (StatusCode::UNAUTHORIZED, expected), "{config}");
    }
}

/// Linear sends an event again until it is answered with 200, and Shopify whenever an answer is late. Neither signs an id.
/// <https://linear.app/developers/webhooks> <https://shopify.dev/docs/apps/build/webhooks/verify-deliveries>
#[tokio::test]
async fn a_sender_with_an_id_of_its_own_runs_once_and_gets_the_status_that_it_takes() {
    for (config, name, status) in [
        (
            json!({"preset": "hmac", "header": "Linear-Signature", "idHeader": "Linear-Delivery", "acceptedStatus": 200}),
            "linear-delivery",
            StatusCode::OK,
        ),
        (
            json!({"preset": "hmac", "header": "X-Shopify-Hmac-Sha256", "encoding": "base64",
                "idHeader": "X-Shopify-Webhook-Id"}),
            "x-shopify-webhook-id",
            StatusCode::ACCEPTED,
        ),
    ] {
        let world = World::start().await;
        world.put_hook(config.clone(), json!({}));
        world.stack.pool(2, &[]);
        let hooks = world.hooks().await;
        let path = format!("/hooks/{HOOK}");
        for (id, is_duplicate) in [("d-1", false), ("d-1", true), ("d-1", true), ("d-2", false)] {
            let mut headers = signed_by(&config, "{}", "application/json");
            headers.extend(pairs(&[(name, id)]));
            let (answered, answer) = hooks.send(&path, &headers, "{}").await;
            assert_eq!((answered, &answer["duplicate"]), (status, &json!(is_duplicate)), "{config} {answer}");
            assert!(answer["executionId"].is_string(), "{answer}");
        }
        world.stack.lambda.idle().await;
        assert_eq!(world.stack.agent.call_count(), 2, "{config}");
        assert_eq!(world.receipts().iter().filter(|receipt| receipt["duplicates"] == 2).count(), 1);
    }
}

/// One secret of the stack, and every trigger that is subscribed to `github`.
#[tokio::test]
async fn the_stacks_github_webhook_reaches_its_subscribers() {
    let world = World::start().await;
    world.stack.ssm.put(&format!("{SECRETS}github"), SECRET);
    for (id, pattern) in [("t-1", json!(["push"])), ("t-2", json!(["issues"])), ("t-3", json!(["issues"]))] {
        let pattern = json!({"detail": {"headers": {"x-github-event": pattern}}});
        world.stack.dynamodb.put_item(
            &json!({"PK": format!("TRIGGER#{USER}"), "SK": format!("TRIGGER#{id}"), "id": id,
            "userId": USER, "type": "event", "agentId": "agent-1", "prompt": "Look", "enabled": true,
            "eventConfig": {"eventSourceId": "github", "eventPattern": pattern},
            "GSI2PK": "EVENTSOURCE#github", "GSI2SK": format!("USER#{USER}#TRIGGER#{id}")}),
        );
    }
    let hooks = world.hooks().await;
    for is_duplicate in [false, true] {
        let (status, answer) = hooks.send("/webhooks/github", &github("issues", "d-1", ISSUE), ISSUE).await;
        assert_eq!((status, &answer["duplicate"]), (StatusCode::ACCEPTED, &json!(is_duplicate)), "{answer}");
        assert_eq!(answer.get("executionId"), None);
    }
    world.stack.pool(2, &[]);
    world.stack.lambda.idle().await;
    let count = |id: &str| world.stack.dynamodb.executions(id).len();
    assert_eq!((count("t-1"), count("t-2"), count("t-3"), world.stack.agent.call_count()), (0, 1, 1, 2));
}

/// A publisher of a bus cannot do what a sender must sign.
#[tokio::test]
async fn an_event_of_a_bus_reaches_no_webhook() {
    let world = World::start().await;
    world.put_hook(json!({}), json!({}));
    world.stack.pool(1, &[]);
    let forged = [
        bus_event("webhook", "Webhook Received", json!({"body": {"ref": "main"}})),
        json!({"_event": {"_address": {"triggerId": TRIGGER, "userId": USER}, "source": "webhook",
            "detail-type": "Webhook Received", "detail": {}}}),
    ];
    for event in forged {
        world.stack.invoke_async(standins::Invocation::event(&event));
        world.stack.lambda.idle().await;
    }
    assert_eq!((world.stack.dynamodb.executions(TRIGGER).len(), world.stack.agent.call_count()), (0, 0));
}
