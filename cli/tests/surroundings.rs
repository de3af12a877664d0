//! What the environment, the streams and the files around the program must not lead to.

use std::{fs, net::Ipv4Addr, process::Stdio};

use serde_json::json;
use tokio::net::TcpListener;

use crate::manage::{USER, WAYS, Way, World, ended};

#[tokio::test]
async fn a_token_for_this_machine_goes_through_no_proxy() {
    let world = World::start("proxy").await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    // A proxy that is asked ends the connection.
    let asked = tokio::spawn(async move { listener.accept().await.is_ok() });
    for way in WAYS {
        let mut command = world.command(way, &["triggers"]);
        command.env("HTTP_PROXY", &proxy).env("http_proxy", &proxy).env("ALL_PROXY", &proxy);
        let (succeeded, said) = ended(&mut command).await;
        assert!(succeeded && !asked.is_finished(), "{way:?}: {said}");
    }
}

#[tokio::test]
async fn only_what_is_elsewhere_goes_through_a_proxy() {
    let world = World::start("proxied").await;
    world.stack.dynamodb.put_trigger(&json!({"id": "uploads", "userId": USER, "type": "event", "name": "Uploads",
        "agentId": "a", "prompt": "Look"}));
    // As a proxy each stand-in takes the requests for any host. One of the two services is elsewhere, and one near.
    for (name, proxy) in [
        ("AWS_ENDPOINT_URL_DYNAMODB", world.stack.dynamodb.url()),
        ("AWS_ENDPOINT_URL_LAMBDA", world.stack.lambda.url()),
    ] {
        let mut command = world.command(Way::Table, &["run", "uploads"]);
        command.env(name, "http://service.example").env("HTTP_PROXY", proxy);
        let (succeeded, said) = ended(&mut command).await;
        assert!(succeeded, "{name}: {said}");
    }
    assert_eq!(world.stack.lambda.invocations().len(), 2);
}

#[tokio::test]
async fn what_other_tools_say_of_retries_stops_no_command() {
    let world = World::start("retries").await;
    let profile = world.folder.join("config");
    fs::write(&profile, "[default]\nretry_mode = adaptive\nmax_attempts = 0\n").unwrap();
    for (name, value) in
        [("AWS_RETRY_MODE", "adaptive"), ("AWS_MAX_ATTEMPTS", "none"), ("AWS_CONFIG_FILE", profile.to_str().unwrap())]
    {
        let (succeeded, said) = ended(world.command(Way::Table, &["triggers"]).env(name, value)).await;
        assert!(succeeded, "{name}: {said}");
    }
}

#[tokio::test]
async fn an_output_that_cannot_be_written_is_an_error_and_a_reader_that_went_is_none() {
    let world = World::start("output").await;
    for args in [vec!["completions", "bash"], vec!["list"], vec!["watch"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = world.command(Way::Table, &args).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("cannot write the output"), "{args:?}: {said}");
        let mut child = world.command(Way::Table, &args).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert!(child.wait().await.unwrap().success(), "{args:?}");
    }
    // Where an error cannot be told, it is one all the same.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = world.command(Way::Table, &["show", "no-such"]).stderr(full).status().await.unwrap();
    assert_eq!(status.code(), Some(1));
}

#[tokio::test]
async fn a_pipe_in_place_of_the_local_runs_file_stops_nothing() {
    let world = World::start("fifo").await;
    let file = world.folder.join(".local/env");
    let _ = fs::remove_file(&file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&file).status().unwrap().success());
    let (succeeded, said) = ended(world.command(Way::Table, &["list"]).current_dir(&world.folder)).await;
    assert!(succeeded, "{said}");
    let (succeeded, said) = ended(crate::program(&["list"]).current_dir(&world.folder)).await;
    assert!(!succeeded && said.contains("nothing to look at"), "{said}");
}

#[tokio::test]
async fn a_place_is_named_once() {
    let mut command = crate::program(&["--api", "http://127.0.0.1:1", "list", "--table", "runs"]);
    let (succeeded, said) = ended(&mut command).await;
    assert!(!succeeded && said.contains("--api cannot be used with --table"), "{said}");
}
