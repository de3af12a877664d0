//! Control planes that are made up: each answers as one of a test needs it.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use agent_trigger_api::auth::TARGET_USER;
use axum::{
    Router,
    http::{HeaderMap, Uri},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::manage::ended;

/// Starts a control plane, and returns its address. `answer` gets the headers, the path with its query, and the number of the
/// request, from 0.
async fn answering(answer: impl Fn(&HeaderMap, &str, usize) -> Value + Clone + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let router = Router::new().fallback(move |headers: HeaderMap, uri: Uri| {
        let said = answer(&headers, &uri.to_string(), count.fetch_add(1, Ordering::SeqCst)).to_string();
        async move { said }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Returns the whole error of a command that this control plane makes fail.
async fn refuses(address: &str, args: &[&str]) -> String {
    let (succeeded, said) = ended(crate::program(args).args(["--api", address])).await;
    assert!(!succeeded && said.lines().count() == 1, "{said}");
    said
}

#[tokio::test]
async fn a_token_without_a_user_acts_for_the_one_that_is_named() {
    let address = answering(|headers, _, _| {
        let user = headers.get(TARGET_USER).and_then(|user| user.to_str().ok());
        json!({"metadata": {"userId": user}, "triggers": [{"id": "mine", "name": format!("That of {user:?}")}]})
    })
    .await;
    let (succeeded, said) = ended(&mut crate::program(&["triggers", "--user", "ada", "--api", &address])).await;
    assert!(succeeded && said.contains("That of Some(\"ada\")"), "{said}");
    let said = refuses(&address, &["triggers", "--user", "ada\u{7f}"]).await;
    assert!(said.contains("--user is no id"), "{said}");
}

#[tokio::test]
async fn the_user_of_a_token_is_asked_for_once() {
    let file = std::env::temp_dir().join(format!("triggerctl-{}.json", uuid::Uuid::new_v4()));
    std::fs::write(&file, json!({"name": "Mine", "type": "event", "userId": "ada"}).to_string()).unwrap();
    for user in [vec![], vec!["--user", "ada"]] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let address = answering(move |_, path, _| {
            seen.lock().unwrap().push(path.to_owned());
            json!({"metadata": {"userId": "ada"}, "trigger": {"id": "mine"}})
        })
        .await;
        let args = [&["put", file.to_str().unwrap(), "--api", &address], user.as_slice()].concat();
        let (succeeded, said) = ended(&mut crate::program(&args)).await;
        assert!(succeeded && said.starts_with("created mine"), "{said}");
        assert_eq!(*asked.lock().unwrap(), ["/events", "/triggers"], "{user:?}");
    }
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn an_answer_in_parts_is_not_read_without_end() {
    const PART: usize = 1024 * 1024;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let part = format!("{PART:x}\r\n{}\r\n", " ".repeat(PART));
        // Nine of them are more than is read. The program has gone before the last.
        for _ in 0..9 {
            if stream.write_all(part.as_bytes()).await.is_err() {
                return;
            }
        }
        let _ = stream.write_all(b"2\r\n{}\r\n0\r\n\r\n").await;
    });
    let said = refuses(&address, &["triggers"]).await;
    assert!(said.contains("its answer is too large"), "{said}");
}

/// Returns a page of executions, each with the beginning `begin` of its id.
fn page(begin: &str, count: usize, next: &str) -> Value {
    let row = |at: usize| json!({"executionId": format!("{begin}-7c00-7f32-9d74-{at:012x}"), "triggerId": "uploads"});
    json!({"executions": (0..count).map(row).collect::<Vec<_>>(), "nextToken": next})
}

#[tokio::test]
async fn a_part_of_an_id_is_looked_for_among_so_many() {
    let address = answering(|_, _, at| page(&format!("{at:08x}"), 100, &at.to_string())).await;
    let said = refuses(&address, &["show", "eeeeeeee"]).await;
    assert!(said.contains("not among the newest 2000 executions"), "{said}");
    // What it means more than once in there is ambiguous although not all are searched.
    let address = answering(|_, _, at| page("019aa303", 100, &at.to_string())).await;
    let said = refuses(&address, &["show", "000000000063"]).await;
    assert!(said.contains("means 20 executions"), "{said}");
    let address = answering(|_, _, at| page("019aa303", 0, &at.to_string())).await;
    let said = refuses(&address, &["show", "eeeeeeee"]).await;
    assert!(said.contains("not among the newest 0 executions"), "{said}");
}

#[tokio::test]
async fn a_list_without_end_is_an_error() {
    let address = answering(|_, _, at| page("019aa303", 0, ["a", "b"][at % 2])).await;
    assert!(refuses(&address, &["list"]).await.contains("again and again"));
    let address = answering(|_, _, at| page("019aa303", 0, &at.to_string())).await;
    assert!(refuses(&address, &["list"]).await.contains("empty pages"));
    let address = answering(|_, _, at| json!({"executions": [{"ttl": 1}, 5], "nextToken": at.to_string()})).await;
    assert!(refuses(&address, &["list"]).await.contains("empty pages"));
    let address = answering(|_, _, at| json!({"triggers": [], "nextToken": at.to_string()})).await;
    assert!(refuses(&address, &["triggers"]).await.contains("empty pages"));
}

#[tokio::test]
async fn an_uuid_of_another_version_is_looked_for_at_any_time() {
    const OLDER: &str = "c56a4180-65aa-42ec-a945-5fd21dec0538";
    let address = answering(|_, path, _| {
        let row = json!({"executionId": OLDER, "triggerId": "uploads", "status": "failed"});
        let rows = if path.contains("from=") { json!([]) } else { json!([row]) };
        json!({"executions": rows, "execution": row})
    })
    .await;
    let (succeeded, said) = ended(&mut crate::program(&["show", OLDER, "--api", &address])).await;
    assert!(succeeded && said.contains("✗ failed"), "{said}");
}
