//! Where the function's AWS credentials come from.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Json, Router, routing::get};
use serde_json::json;

use standins::Invocation;

use crate::support::{assert_completed, execution, stack};

const KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// Serves credentials as a container does, which is what functions with SnapStart get. Returns the address and the count of
/// requests.
async fn container() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let answer = move || async move {
        counter.fetch_add(1, Ordering::Relaxed);
        Json(json!({"AccessKeyId": "AKIDCONTAINER", "SecretAccessKey": "secret", "Token": "token",
            "Expiration": "2099-01-01T00:00:00Z"}))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/credentials", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/credentials", get(answer))).await });
    (address, asked)
}

#[tokio::test]
async fn without_credentials_in_the_environment_the_container_is_asked() {
    let (stack, (address, asked)) = (stack().await, container().await);
    let mut env = stack.env();
    for key in KEYS {
        env.remove(key);
    }
    env.insert("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), address.clone());
    let function = stack.function_with(&env).await;
    let outcome = function.invoke(Invocation::scheduled("t", "Count the files", "2026-01-01T00:00:00Z")).await;
    assert_completed(&outcome, &execution(&stack, "t"));
    assert!(asked.load(Ordering::Relaxed) > 0, "the container was asked");

    // Those of the environment come first.
    let before = asked.load(Ordering::Relaxed);
    let function = stack.function(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &address)]).await;
    let outcome = function.invoke(Invocation::scheduled("u", "Count the files", "2026-01-01T00:00:00Z")).await;
    assert_completed(&outcome, &execution(&stack, "u"));
    assert_eq!(asked.load(Ordering::Relaxed), before);
}
