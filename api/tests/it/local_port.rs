//! A local port can be reached by any web page. It serves whoever has the key, from this machine, and no foreign page.

use std::{collections::BTreeMap, fs};

use reqwest::Method;
use serde_json::json;

use crate::support::{World, subscribed};

#[tokio::test]
async fn only_the_key_from_this_machine_and_no_foreign_page() {
    let world = World::start().await;
    let api = world.port().await;
    let own = api.url.clone();
    let foreign = "http://evil.example";
    for (headers, status) in [
        (vec![], 200),
        (vec![("origin", own.as_str())], 200),
        (vec![("authorization", "")], 401),
        (vec![("authorization", "Bearer wrong")], 401),
        (vec![("authorization", "Bearer a-key-of-the-local-porx")], 401),
        (vec![("origin", foreign)], 403),
        (vec![("origin", "null")], 403),
        (vec![("host", "evil.example")], 403),
        (vec![("host", "localhost.evil.example:80")], 403),
    ] {
        let answer = api.try_send(Method::GET, "/triggers", None, &headers).await.unwrap();
        assert_eq!(answer.status, status, "{headers:?}: {:#}", answer.body);
    }
    // A foreign page can send a form or plain text without asking.
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let answer =
            api.try_send(Method::POST, "/triggers", Some(subscribed()), &[("content-type", kind)]).await.unwrap();
        assert_eq!(answer.status, 400, "{kind}");
    }
    assert_eq!(api.post("/triggers", subscribed()).await.status, 201);
    assert_eq!(api.get("/triggers").await.body["triggers"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_not_there_or_not_json_is_said_in_json() {
    let world = World::start().await;
    let api = world.port().await;
    for (method, path, status, code) in [
        (Method::GET, "/nothing", 404, "NOT_FOUND"),
        (Method::GET, "/triggers/unknown", 404, "NOT_FOUND"),
        (Method::GET, "/triggers/unknown/executions", 404, "NOT_FOUND"),
        (Method::DELETE, "/triggers", 405, "INVALID_ARGUMENT"),
        (Method::GET, "/triggers?limit=0", 400, "VALIDATION_ERROR"),
        (Method::GET, "/triggers?nextToken=forged", 400, "VALIDATION_ERROR"),
        (Method::GET, "/triggers?enabled=maybe", 400, "VALIDATION_ERROR"),
    ] {
        let answer = api.send(method.clone(), path, None).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{method} {path}");
        for name in ["error", "message", "requestId", "timestamp"] {
            assert!(answer.body[name].is_string(), "{name} in {:#}", answer.body);
        }
    }
    let answer = api.post("/triggers", json!([1])).await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (400, Some("INVALID_ARGUMENT")));
    let huge = json!({"prompt": "x".repeat(300 * 1024)});
    let answer = api.post("/triggers", huge).await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (413, Some("PAYLOAD_TOO_LARGE")));
    let huge = json!({"prompt": "x".repeat(5 * 1024 * 1024)});
    // Such a body may not even be read to its end.
    if let Ok(answer) = api.try_send(Method::POST, "/triggers", Some(huge), &[]).await {
        assert_eq!(answer.status, 413);
    }
}

#[tokio::test]
async fn the_page_needs_no_key_and_loads_nothing_foreign() {
    let world = World::start().await;
    let api = world.port().await;
    let mut texts = BTreeMap::new();
    let site = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/site")).unwrap();
    let files = site.map(|file| file.unwrap().file_name().into_string().unwrap()).map(|name| match name.as_str() {
        "index.html" => ("/".to_owned(), "text/html"),
        "style.css" => (format!("/assets/{name}"), "text/css"),
        _ => (format!("/assets/{name}"), "text/javascript"),
    });
    for (path, kind) in files.chain([("/config.json".to_owned(), "application/json")]) {
        let path = path.as_str();
        let answer = api.try_send(Method::GET, path, None, &[("authorization", "")]).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.headers["content-type"].as_str().unwrap().starts_with(kind), "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        let text = answer.body.as_str().map_or_else(|| answer.body.to_string(), str::to_owned);
        assert!(!text.contains("innerHTML") && !text.contains("eval("), "{path}");
        texts.insert(path.to_owned(), text);
    }
    // What is loaded when somebody opens it: the form, and the panel of a webhook.
    let later =
        |path: &str| ["form", "samples", "senders", "webhook"].iter().any(|name| path == format!("/assets/{name}.js"));
    let mut at_start = vec!["/".to_owned(), "/assets/style.css".to_owned(), "/assets/app.js".to_owned()];
    let mut seen = 0;
    while let Some(path) = at_start.get(seen) {
        let imports = texts[path].split("from './").skip(1).filter_map(|rest| rest.split_once('\''));
        let imports: Vec<_> = imports.map(|(name, _)| format!("/assets/{name}")).collect();
        for import in imports {
            if !at_start.contains(&import) {
                at_start.push(import);
            }
        }
        seen += 1;
    }
    let size = |wanted: &dyn Fn(&str) -> bool| -> usize {
        texts.iter().filter(|(path, _)| wanted(path)).map(|(_, text)| text.len()).sum()
    };
    assert!(at_start.len() > 8 && !at_start.iter().any(|path| later(path)), "{at_start:?}");
    let (start, opened) = (size(&|path| at_start.iter().any(|one| one == path)), size(&later));
    assert!(start < 52 * 1024, "{start} bytes before anything is opened");
    assert!(size(&|path| !later(path)) < 60 * 1024 && opened < 28 * 1024, "{opened} bytes later");
    let page = api.get("/").await;
    let policy = page.headers["content-security-policy"].as_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(
        api.try_send(Method::GET, "/assets/other.js", None, &[("authorization", "")]).await.unwrap().status,
        401
    );
}
