//! Webhooks in a table and behind an address.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::manage::{HOOK_FUNCTION, HOOKS_URL, USER, WAYS, Way, World, ended};

fn hooked() -> Value {
    json!({"name": "Hook", "type": "event", "agentId": "a", "prompt": "p", "userId": USER,
        "webhookConfig": {"preset": "token"}})
}

/// Makes a trigger with a webhook. Returns its id, and the webhook with its secret.
async fn made(world: &World, way: Way) -> (String, Value) {
    let said = world.does(way, &["put", &world.file("hook.json", &hooked()), "--json"]).await;
    let mut trigger: Value = serde_json::from_str(&said).unwrap();
    (trigger["id"].as_str().unwrap().to_owned(), trigger["webhook"].take())
}

#[tokio::test]
async fn a_webhook_is_made_shown_and_its_secret_replaced() {
    for way in WAYS {
        let world = World::start(&format!("webhook-{way:?}")).await;
        let (id, webhook) = made(&world, way).await;
        let (url, first) = (webhook["url"].as_str().unwrap(), webhook["secret"].as_str().unwrap());
        assert_eq!(world.stack.ssm.values(), [first]);
        // What a pipe takes is the address alone.
        assert_eq!(world.does(way, &["webhook", "url", &id]).await, format!("{url}\n"));
        assert!(url.starts_with(&format!("{HOOKS_URL}/hooks/")), "{url}");
        let shown = world.does(way, &["webhook", "url", &id, "--json"]).await;
        assert!(!shown.contains(first), "it is shown once");
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((&shown["url"], &shown["webhookConfig"]["preset"]), (&json!(url), &json!("token")));

        let output = world.command(way, &["webhook", "rotate", &id, "--grace", "12h"]).output().await.unwrap();
        let (second, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success() && said.contains("the one before works until 2"), "{said}");
        assert_eq!(world.stack.ssm.values(), [first, second.trim_end()]);
        // Slack and Stripe choose it themselves. It is in a file, because everybody sees a program's options.
        let file = world.folder.join("secret");
        std::fs::write(&file, "chosen-by-the-sender\n").unwrap();
        let file = file.to_str().unwrap();
        let said = world.does(way, &["webhook", "rotate", &id, "--secret", file, "--grace", "0"]).await;
        assert_eq!(said, "the secret is stored; the one before no longer works\n");
        assert_eq!(world.stack.ssm.values().last().unwrap(), "chosen-by-the-sender");
        let said = world.does(way, &["webhook", "rotate", &id, "--json"]).await;
        let answer: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            Some(&answer["webhook"]["secret"]),
            world.stack.ssm.values().last().map(|last| json!(last)).as_ref()
        );
        std::fs::write(file, "short").unwrap();
        let refused = world.refuses(way, &["webhook", "rotate", &id, "--secret", file]).await;
        assert!(refused.contains("secret") && !refused.contains("short\n"), "{refused}");
        let refused = world.refuses(way, &["webhook", "rotate", &id, "--grace", "8d"]).await;
        assert!(refused.contains("graceSeconds"), "{refused}");

        world.does(way, &["delete", &id]).await;
        assert!(world.stack.ssm.values().is_empty(), "{way:?}: the secret is left behind");
        for what in ["url", "deliveries", "rotate", "test"] {
            assert!(world.refuses(way, &["webhook", what, &id]).await.contains(&id), "{what}");
        }
    }
}

#[tokio::test]
async fn deliveries_say_why_nothing_ran_and_a_test_is_sent() {
    for way in WAYS {
        let world = World::start(&format!("deliveries-{way:?}")).await;
        let (id, webhook) = made(&world, way).await;
        assert!(world.does(way, &["webhook", "deliveries", &id]).await.contains("nothing came"));
        let hook = webhook["url"].as_str().unwrap().rsplit('/').next().unwrap();
        for (at, outcome) in [
            (0, json!({"outcome": "refused", "reason": "noSignature"})),
            (1, json!({"outcome": "refused", "reason": "wrongSignature"})),
            (
                2,
                json!({"outcome": "accepted",
            "executionId": "019aa303-7c00-7f32-9d74-712a8c5e2c03"}),
            ),
        ] {
            let kind = if outcome["outcome"] == "refused" { "REFUSED" } else { "DELIVERY" };
            let mut receipt = json!({"PK": format!("HOOK#{hook}"), "SK": format!("{kind}#{at}"), "sourceIp": "192.0.2.1",
                "receivedAt": crate::rfc3339(crate::now()), "dispatchedAt": crate::rfc3339(crate::now()),
                "ttl": crate::now() / 1000 + 60});
            receipt.as_object_mut().unwrap().extend(outcome.as_object().unwrap().clone());
            world.stack.dynamodb.put_item(&receipt);
        }
        let listed = world.does(way, &["webhook", "deliveries", &id]).await;
        let lines: Vec<_> = listed.lines().collect();
        assert!(
            lines[1].contains("✓ accepted") && lines[1].ends_with("run 712a8c5e2c03"),
            "the newest first: {listed}"
        );
        assert!(lines[2].contains("✗ refused") && lines[2].contains("192.0.2.1  wrongSignature: "), "{listed}");
        let listed = world.does(way, &["webhook", "deliveries", &id, "--limit", "1", "--json"]).await;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let states: Vec<_> = listed.as_array().unwrap().iter().map(|delivery| &delivery["state"]).collect();
        assert_eq!(states, ["dispatched", "refused"], "one of each");

        let sent = Arc::new(Mutex::new(Vec::new()));
        let keeps = Arc::clone(&sent);
        world.stack.lambda.serve_other(HOOK_FUNCTION, move |payload| keeps.lock().unwrap().push(payload));
        let body = world.file("body.json", &json!({"ref": "main"}));
        let said = world.does(way, &["webhook", "test", &id, "--body", &body, "-H", "X-GitHub-Event: issues"]).await;
        assert!(said.starts_with("sent test_") && said.contains("webhook deliveries --"), "{way:?}: {said}");
        let said = world.does(way, &["webhook", "test", &id, "--json"]).await;
        assert!(serde_json::from_str::<Value>(&said).unwrap()["senderId"].is_string(), "{said}");
        let sent: Vec<String> = sent.lock().unwrap().iter().map(|payload| format!("{payload:?}")).collect();
        assert_eq!(sent.len(), 2);
        let refused = world.refuses(way, &["webhook", "test", &id, "--header", "X GitHub: issues"]).await;
        assert!(refused.contains("headers.X GitHub"), "{refused}");
    }
}

#[tokio::test]
async fn what_a_table_lacks_for_webhooks_is_named() {
    let world = World::start("no-hooks").await;
    let (id, _) = made(&world, Way::Table).await;
    let new = world.file("hook.json", &hooked());
    let mut stored = hooked();
    stored["id"] = json!(id);
    // Its file need not say that it has one.
    stored.as_object_mut().unwrap().remove("webhookConfig");
    let stored = world.file("stored.json", &stored);
    let [url, rotate, test] = ["url", "rotate", "test"].map(|what| vec!["webhook", what, id.as_str()]);
    for args in [url, rotate, test, vec!["put", &new], vec!["put", &stored], vec!["delete", &id]] {
        let (succeeded, said) = ended(world.command(Way::Table, &args).env_remove("HOOK_SECRET_PATH")).await;
        assert!(
            !succeeded && said.contains("HOOK_SECRET_PATH is not set") && said.contains("--api"),
            "{args:?}: {said}"
        );
    }
    for args in [vec!["webhook", "deliveries", &id], vec!["disable", &id], vec!["enable", &id]] {
        let (succeeded, said) = ended(world.command(Way::Table, &args).env_remove("HOOK_SECRET_PATH")).await;
        assert!(succeeded, "{args:?}: {said}");
    }
    assert_eq!(world.stack.ssm.values().len(), 1);
    // A trigger without a webhook has no address.
    world.stack.dynamodb.put_trigger(&json!({"id": "uploads", "userId": USER, "type": "event", "name": "Uploads"}));
    for way in WAYS {
        for what in ["url", "deliveries", "rotate", "test"] {
            let refused = world.refuses(way, &["webhook", what, "uploads"]).await;
            assert!(refused.contains("trigger uploads: ") && refused.contains("has no webhook"), "{way:?}: {refused}");
        }
    }
    // Whether a file is valid does not depend on where its webhook will be received.
    let output = crate::program(&["check", &new]).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut wrong = hooked();
    wrong["webhookConfig"]["header"] = json!("Cookie");
    let output = crate::program(&["check", &world.file("wrong.json", &wrong)]).output().await.unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stdout).contains("webhookConfig.header"));
}

#[tokio::test]
async fn a_new_webhook_is_told_with_its_secret_and_how_to_get_another() {
    let world = World::start("told").await;
    for way in WAYS {
        let said = world.does(way, &["put", &world.file("hook.json", &hooked())]).await;
        let lines: Vec<_> = said.lines().collect();
        assert!(lines[1].starts_with(&format!("webhook {HOOKS_URL}/hooks/")), "{said}");
        let secret = lines[2].strip_prefix("its secret, shown this once: ").unwrap();
        assert!(world.stack.ssm.values().iter().any(|stored| stored == secret), "{said}");
        // An alias is shown beside the address, and one that is taken is named.
        let mut aliased = hooked();
        aliased["webhookConfig"]["alias"] = json!(format!("told-{}", format!("{way:?}").to_lowercase()));
        let file = world.file("alias.json", &aliased);
        let said_of_alias = world.does(way, &["put", &file]).await;
        let by_alias = format!("{HOOKS_URL}/hooks/{}", aliased["webhookConfig"]["alias"].as_str().unwrap());
        assert!(said_of_alias.lines().any(|line| line == format!("by its alias {by_alias}")), "{said_of_alias}");
        let of_alias = said_of_alias.lines().next().unwrap().strip_prefix("created ").unwrap();
        let output = world.command(way, &["webhook", "url", of_alias]).output().await.unwrap();
        assert!(!String::from_utf8_lossy(&output.stdout).contains(&by_alias), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("by its alias: {by_alias}")), "{output:?}");
        let shown: Value =
            serde_json::from_str(&world.does(way, &["webhook", "url", of_alias, "--json"]).await).unwrap();
        assert_eq!(shown["aliasUrl"], by_alias);
        let refused = world.refuses(way, &["put", &file]).await;
        assert!(refused.contains(&format!("webhookConfig.alias: is taken by your trigger {of_alias}")), "{refused}");
        // A change shows no secret.
        let id = lines[0].strip_prefix("created ").unwrap();
        let said = world.does(way, &["put", &world.file("change.json", &json!({"id": id, "prompt": "q"}))]).await;
        assert!(said.contains("webhook http") && !said.contains("secret"), "{said}");
    }
}
