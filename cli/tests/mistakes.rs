//! What a slip, a hostile neighbour or a failure must not lead to.

use std::{
    fs,
    net::Ipv4Addr,
    process::Stdio,
    sync::{Arc, Mutex},
};

use axum::{Router, http::Uri};
use serde_json::{Value, json};
use standins::{Fault, Rule, SCHEDULE_GROUP};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

use crate::manage::{QUEUE, USER, WAYS, Way, World, ended, schedule};

const ID: &str = "019aa303-7c00-7f32-9d74-712a8c5e2c03";

/// Stores a trigger of type event, and an execution of it.
fn uploads(world: &World, more: &Value) {
    world.stack.dynamodb.put_trigger(&json!({"id": "uploads", "userId": USER, "type": "event", "name": "Uploads"}));
    let mut row = json!({"PK": "TRIGGER#uploads", "SK": format!("EXECUTION#{ID}"), "triggerId": "uploads",
        "executionId": ID, "userId": USER, "startedAt": crate::rfc3339(crate::now()), "ttl": crate::now() / 1000 + 60,
        "leaseUntil": crate::now() + 600_000});
    let members = row.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    world.stack.dynamodb.put_item(&row);
}

/// Makes a trigger with a schedule, and returns its id.
async fn made(world: &World, way: Way) -> String {
    let said = world.does(way, &["put", &world.file("new.json", &schedule())]).await;
    said.strip_prefix("created ").and_then(|rest| rest.split(',').next()).unwrap().to_owned()
}

#[tokio::test]
async fn a_schedule_keeps_its_dead_letter_queue() {
    let world = World::start("queue").await;
    let id = made(&world, Way::Address).await;
    let queue = || world.scheduler.schedule(&format!("trigger-{id}")).unwrap()["Target"]["DeadLetterConfig"].clone();
    assert_eq!(queue()["Arn"], QUEUE);
    for what in ["disable", "enable"] {
        let (succeeded, said) = ended(world.command(Way::Table, &[what, &id]).env_remove("SCHEDULE_DLQ_ARN")).await;
        let names = ["SCHEDULE_DLQ_ARN", "ScheduleDeadLetterQueueArn"];
        assert!(!succeeded && names.iter().all(|name| said.contains(name)), "{said}");
        world.does(Way::Table, &[what, &id]).await;
        assert_eq!(queue()["Arn"], QUEUE, "{what}");
    }
    let (succeeded, said) = ended(world.command(Way::Table, &["disable", &id]).env("SCHEDULE_DLQ_ARN", "none")).await;
    assert!(succeeded && queue().is_null(), "{said}");
}

#[tokio::test]
async fn a_trigger_of_an_event_needs_no_settings_of_schedules() {
    let world = World::start("settings").await;
    let mut trigger = json!({"name": "Uploads", "type": "event", "agentId": "a", "prompt": "Look", "userId": USER,
        "eventConfig": {"eventSourceId": "aws-s3"}});
    let put = async |trigger: &Value, group: Option<&str>| {
        let mut command = world.command(Way::Table, &["put", &world.file("event.json", trigger)]);
        for name in ["RUN_FUNCTION_ARN", "SCHEDULE_GROUP_NAME", "SCHEDULER_ROLE_ARN", "SCHEDULE_DLQ_ARN"] {
            command.env_remove(name);
        }
        ended(command.envs(group.map(|group| ("SCHEDULE_GROUP_NAME", group)))).await
    };
    let (succeeded, said) = put(&trigger, None).await;
    assert!(succeeded, "{said}");
    trigger["id"] = json!(said.trim().strip_prefix("created ").unwrap());
    let (succeeded, said) = put(&trigger, None).await;
    assert!(!succeeded && said.contains("SCHEDULE_GROUP_NAME") && !said.contains("SCHEDULE_DLQ_ARN"), "{said}");
    let (succeeded, said) = put(&trigger, Some(SCHEDULE_GROUP)).await;
    assert!(succeeded, "{said}");

    let id = trigger["id"].as_str().unwrap();
    for (args, enabled) in [(vec!["disable", id], false), (vec!["enable", id, "--user", USER], true)] {
        let mut command = world.command(Way::Table, &args);
        for name in ["RUN_FUNCTION_ARN", "SCHEDULE_GROUP_NAME", "SCHEDULER_ROLE_ARN", "SCHEDULE_DLQ_ARN"] {
            command.env_remove(name);
        }
        let (succeeded, said) = ended(&mut command).await;
        assert!(succeeded && world.item(id)["enabled"] == enabled, "{said}");
    }
}

#[tokio::test]
async fn a_completed_execution_has_its_answer_both_ways() {
    let world = World::start("answers").await;
    uploads(&world, &json!({"status": "completed", "output": "All is well."}));
    for (way, words) in [(Way::Table, "All is well."), (Way::Address, "answered")] {
        let said = world.does(way, &["list"]).await;
        assert!(said.contains(words) && !said.contains("no answer"), "{way:?}: {said}");
        let said = world.does(way, &["show", ID]).await;
        assert!(said.contains("All is well.") && !said.contains("canCancel"), "{way:?}: {said}");
        let said = world.does(way, &["list", "--trigger", "uploads", "--status", "failed"]).await;
        assert!(said.contains("of trigger uploads that are failed") && !said.contains("yet"), "{said}");
    }
}

#[tokio::test]
async fn an_execution_that_has_not_begun_is_waited_for() {
    for way in WAYS {
        let world = World::start(&format!("waits-{way:?}")).await;
        world.stack.dynamodb.put_trigger(&json!({"id": "uploads", "userId": USER, "type": "event", "name": "Uploads"}));
        let hex = format!("{:012x}", crate::now());
        let id = format!("{}-{}-7f32-9d74-712a8c5e2c03", &hex[..8], &hex[8..]);
        let mut command = world.command(way, &["watch", &id, "--trigger", "uploads"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut has_waited = false;
        loop {
            let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("{way:?}: it ended"));
            if line.contains("not begun yet") && !has_waited {
                has_waited = true;
                let row = json!({"status": "running", "executionId": id, "SK": format!("EXECUTION#{id}")});
                uploads(&world, &row);
            } else if line.contains("▸ running") {
                break;
            }
        }
        assert!(has_waited, "{way:?}");
        child.kill().await.unwrap();
        // What fired in 2025 begins no more. It is not waited for, so nothing is drawn.
        for what in ["show", "watch"] {
            let mut command = world.command(way, &[what, ID, "--trigger", "uploads"]);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert_eq!(lines.next_line().await.unwrap(), None, "{way:?}: {what}");
            let output = child.wait_with_output().await.unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && said.contains("no such execution"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_script_learns_how_an_execution_ended() {
    for way in WAYS {
        let world = World::start(&format!("ends-{way:?}")).await;
        for (status, has_completed) in [("completed", true), ("failed", false)] {
            uploads(&world, &json!({"status": status}));
            let (succeeded, said) = ended(&mut world.command(way, &["watch", ID, "--exit-status"])).await;
            assert_eq!(succeeded, has_completed, "{way:?}: {said}");
        }
    }
}

#[tokio::test]
async fn a_token_acts_for_no_other_user() {
    let world = World::start("users").await;
    world.stack.dynamodb.put_trigger(&json!({"id": "mine", "userId": USER, "type": "event", "name": "Mine"}));
    for args in [vec!["delete", "mine"], vec!["triggers"], vec!["list"]] {
        let refused = world.refuses(Way::Address, &[args.as_slice(), &["--user", "bob"]].concat()).await;
        assert!(refused.contains("bob") && refused.contains(USER), "{refused}");
    }
    let mut foreign = schedule();
    foreign["userId"] = json!("bob");
    assert!(world.refuses(Way::Address, &["put", &world.file("foreign.json", &foreign)]).await.contains("bob"));
    assert!(world.scheduler.names().is_empty() && world.item("mine").get("deletedAt").is_none());
    world.does(Way::Address, &["delete", "mine", "--user", USER]).await;
}

#[tokio::test]
async fn two_users_of_one_command_are_refused() {
    for way in WAYS {
        let world = World::start(&format!("two-users-{way:?}")).await;
        let mut foreign = schedule();
        foreign["userId"] = json!("bob");
        let file = world.file("foreign.json", &foreign);
        let refused = world.refuses(way, &["put", &file, "--user", USER]).await;
        assert!(refused.contains("bob") && refused.contains(USER), "{refused}");
        assert!(world.scheduler.names().is_empty());
        uploads(&world, &json!({"status": "running"}));
        let refused = world.refuses(way, &["cancel", ID, "--user", "bob"]).await;
        assert!(refused.contains("bob") && refused.contains(USER), "{refused}");
        let stored = world.stack.dynamodb.item("TRIGGER#uploads", &format!("EXECUTION#{ID}")).unwrap();
        assert!(stored.get("cancelRequested").is_none(), "{way:?}");
    }
}

#[tokio::test]
async fn a_trigger_is_made_once_although_a_service_fails() {
    for way in WAYS {
        let world = World::start(&format!("fails-{way:?}")).await;
        let listed = async || world.does(way, &["triggers"]).await.matches("Daily report").count();
        let failing = world.scheduler.inject(Rule::any(Fault::Deny).once());
        made(&world, way).await;
        failing.remove();
        assert_eq!((listed().await, world.scheduler.names().len()), (1, 1), "{way:?}");
        world.scheduler.inject(Rule::any(Fault::Deny));
        let refused = world.refuses(way, &["put", &world.file("new.json", &schedule())]).await;
        assert!(refused.contains("it may have been made: look with triggerctl triggers"), "{refused}");
        assert_eq!(listed().await, 2, "it is there, and once");
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_named_without_the_insides_of_an_error() {
    let world = World::start("refused").await;
    world.stack.dynamodb.put_trigger(&json!({"id": "uploads", "userId": USER, "type": "event", "name": "Uploads",
        "agentId": "a", "prompt": "Look"}));
    let file = world.file("new.json", &schedule());
    for args in [["run", "uploads"], ["put", &file]] {
        let mut command = world.command(Way::Table, &args);
        command
            .env("AWS_ENDPOINT_URL_SCHEDULER", "http://127.0.0.1:1")
            .env("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:1");
        let (succeeded, said) = ended(&mut command).await;
        assert!(!succeeded && said.contains("refused") && !said.contains("DispatchFailure"), "{said}");
    }
}

#[tokio::test]
async fn a_file_overwrites_no_later_change() {
    for way in WAYS {
        let world = World::start(&format!("version-{way:?}")).await;
        let id = made(&world, way).await;
        let version = world.item(&id)["version"].clone();
        let change = |prompt: &str, more: Value| {
            let mut change = json!({"id": id, "prompt": prompt});
            change.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            world.file("change.json", &change)
        };
        let said = world.does(way, &["put", &change("one", json!({"version": version, "enabled": false}))]).await;
        assert!(said.contains("still on: triggerctl disable"), "{said}");
        let file = change("one", json!({"enabled": false}));
        let output = world.command(way, &["put", &file, "--json"]).output().await.unwrap();
        assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok());
        assert!(String::from_utf8(output.stderr).unwrap().starts_with("still on: triggerctl disable"));
        let refused = world.refuses(way, &["put", &change("two", json!({"version": version}))]).await;
        assert!(refused.contains("412"), "{refused}");
        assert_eq!(world.item(&id)["prompt"], "one");
        let refused = world.refuses(way, &["put", &change("two", json!({"id": 5}))]).await;
        assert!(refused.contains("id must be"), "{refused}");
        assert_eq!(world.scheduler.names().len(), 1, "{way:?}");
    }
}

#[tokio::test]
async fn a_trigger_is_made_once_although_the_answer_is_lost() {
    let world = World::start("lost").await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let keys = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&keys);
    tokio::spawn(async move {
        const GATEWAYS: &str = "HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\n\r\n<html>";
        const MADE: &str = "HTTP/1.1 201 Created\r\nconnection: close\r\n\r\n{\"trigger\":{\"id\":\"new\"}}";
        for answer in ["", MADE, GATEWAYS, MADE] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut part = [0; 4096];
                let length = stream.read(&mut part).await.unwrap();
                request.extend_from_slice(&part[..length]);
            }
            let text = String::from_utf8(request).unwrap().to_lowercase();
            let key = text.lines().find_map(|line| line.strip_prefix("idempotency-key: "));
            seen.lock().unwrap().push(key.unwrap_or_default().to_owned());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let file = world.file("new.json", &json!({"name": "n", "type": "event"}));
    for _ in 0..2 {
        let (succeeded, said) = ended(&mut crate::program(&["put", &file, "--api", &address])).await;
        assert!(succeeded && said.starts_with("created new"), "{said}");
    }
    let keys = keys.lock().unwrap();
    assert!(keys.len() == 4 && keys[0] == keys[1] && keys[2] == keys[3], "{keys:?}");
    assert!(!keys[0].is_empty() && keys[0] != keys[2], "{keys:?}");
}

#[tokio::test]
async fn an_execution_that_may_have_been_started_is_looked_for_first() {
    let world = World::start("started").await;
    uploads(&world, &json!({"status": "failed"}));
    let input = json!({"triggerId": "uploads", "userId": USER, "agentId": "a", "prompt": "Look"}).to_string();
    world.stack.dynamodb.put_item(&json!({"PK": "TRIGGER#uploads", "SK": format!("INPUT#{ID}"), "detail": input,
        "ttl": crate::now() / 1000 + 60}));
    for args in [["run", "uploads"], ["replay", ID]] {
        let mut command = world.command(Way::Table, &args);
        let (succeeded, said) = ended(command.env("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:1")).await;
        assert!(!succeeded && said.contains("may have been started: look with triggerctl list"), "{said}");
    }
    for args in [["run", "no-such"], ["cancel", ID]] {
        let refused = world.refuses(Way::Address, &args).await;
        assert!(!refused.contains("started"), "{refused}");
    }
}

#[tokio::test]
async fn a_deletion_that_was_cut_short_is_completed() {
    for way in WAYS {
        let world = World::start(&format!("tombstone-{way:?}")).await;
        let id = made(&world, way).await;
        let failing = world.scheduler.inject(Rule::any(Fault::Deny));
        let refused = world.refuses(way, &["delete", &id]).await;
        // The cause is for those who run the control plane.
        assert_eq!(refused.contains("access was denied; it takes scheduler:"), way == Way::Table, "{refused}");
        failing.remove();
        assert_eq!(world.scheduler.names().len(), 1);
        world.does(way, &["delete", &id]).await;
        assert_eq!(world.scheduler.names().len(), 0, "{way:?}");
    }
}

#[tokio::test]
async fn an_older_row_without_a_user_is_cancelled_as_its_triggers_user() {
    let world = World::start("older").await;
    for more in [vec![], vec!["--user", USER]] {
        uploads(&world, &json!({"status": "running", "userId": null}));
        if !more.is_empty() {
            // Now the trigger's id alone does not say whose it is.
            let bobs = json!({"id": "uploads", "userId": "bob", "type": "event", "name": "Uploads"});
            world.stack.dynamodb.put_trigger(&bobs);
            assert!(world.refuses(Way::Table, &["cancel", ID]).await.contains("bob"));
        }
        world.does(Way::Table, &[&["cancel", ID], more.as_slice()].concat()).await;
        let stored = world.stack.dynamodb.item("TRIGGER#uploads", &format!("EXECUTION#{ID}")).unwrap();
        assert_eq!(stored["cancelRequested"], true);
    }
}

#[tokio::test]
async fn a_failure_of_the_table_says_its_cause() {
    let world = World::start("causes").await;
    world.stack.dynamodb.inject(Rule::any(Fault::Deny));
    let said = world.refuses(Way::Table, &["triggers", "--user", USER]).await;
    assert!(said.contains("AccessDenied"), "{said}");
}

#[tokio::test]
async fn a_part_of_an_id_that_means_many_is_searched_and_not_read() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let answer = move |uri: Uri| {
        seen.lock().unwrap().push(uri.to_string());
        let row =
            |at: u8| json!({"executionId": format!("019aa3{at:02}-7c00-7f32-9d74-712a8c5e2c03"), "triggerId": "x"});
        let rows: Vec<_> = (10..18).map(row).collect();
        async move { json!({"executions": rows}).to_string() }
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let (succeeded, said) = ended(&mut crate::program(&["show", "01", "--api", &address])).await;
    assert!(!succeeded && said.contains("means 8 executions") && said.contains(", …;"), "{said}");
    let (_, said) = ended(&mut crate::program(&["show", ID, "--api", &address])).await;
    assert!(said.contains("no such execution") && said.contains("list --trigger"), "{said}");
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(!asked[0].contains("&to=") && asked[1].contains("&from=") && asked[1].contains("&to="), "{asked:?}");
}

#[tokio::test]
async fn a_check_takes_what_the_function_takes() {
    let world = World::start("checks").await;
    let event = json!({"name": "Uploads", "type": "event", "agentId": "a", "prompt": "Look at {{ $.detail.key }}",
        "eventConfig": {"eventSourceId": "s"}});
    let half = world.folder.join("half.json");
    // A mark of the byte order, and half of a surrogate pair.
    let text = r#"{"detail-type": "x", "source": "s", "id": "5c3f7a1e-2b4d-4c6e-8f90-123456789abc",
        "time": "2026-01-31T07:00:00Z", "detail": {"key": "\ud83d"}}"#;
    fs::write(&half, format!("\u{feff}{text}")).unwrap();
    let half = half.to_str().unwrap();
    let checked = async |args: &[&str], minutes: &str| {
        let mut command = crate::program(&[&["check"], args].concat());
        command.env("MIN_SCHEDULE_MINUTES", minutes).env("AWS_CA_BUNDLE", "/no/such/file");
        command.env("AWS_MAX_ATTEMPTS", "none").env("AWS_RETRY_MODE", "none");
        ended(&mut command).await
    };
    let both = world.file("both.json", &json!([event, schedule()]));
    let (is_valid, said) = checked(&[&both, "--event", half], "1").await;
    assert!(is_valid && said.matches("✓ valid").count() == 2 && said.contains("would run it"), "{said}");
    assert!(said.contains("no event runs it"), "{said}");
    for (trigger, words) in [
        (schedule(), "--event is for triggers of type event"),
        (json!([schedule()]), "--event is for triggers of type event"),
        (json!([]), "holds no trigger"),
    ] {
        let (is_valid, said) = checked(&[&world.file("schedule.json", &trigger), "--event", half], "1").await;
        assert!(!is_valid && said.contains(words), "{said}");
    }
    let (is_valid, said) = checked(&["-", "--event", "-"], "1").await;
    assert!(!is_valid && said.contains("standard input"), "{said}");
    let mut often = schedule();
    often["scheduleConfig"]["expression"] = json!("rate(5 minutes)");
    let often = world.file("often.json", &often);
    assert!(checked(&[&often], "1").await.0);
    let (is_valid, said) = checked(&[&often], "60").await;
    assert!(!is_valid && said.contains("scheduleConfig"), "{said}");
    let mut zone = schedule();
    zone["scheduleConfig"] = json!({"expression": "0 9 * * 1-5", "timeZone": "Europe/Berlin"});
    let zone = world.file("zone.json", &zone);
    let words = "scheduleConfig.timeZone: is not known; timezone is, and nearly the same";
    let (is_valid, said) = checked(&[&zone], "1").await;
    assert!(!is_valid && said.contains(words), "{said}");
    let refused = world.refuses(Way::Table, &["put", &zone]).await;
    assert!(refused.contains(words), "{refused}");
}
