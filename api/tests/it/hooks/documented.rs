//! The examples of docs/webhooks.md, run as they stand there.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::hooks::{HOOK, SECRET};
use crate::support::World;

const DOCUMENT: &str = include_str!("../../../../docs/webhooks.md");

/// Returns the code block of a language.
fn example(language: &str) -> &'static str {
    let (_, block) = DOCUMENT.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0
}

/// Runs a program with an example on its standard input. Returns `None` if there is no such program.
async fn run(program: &str, example: &str, url: &str) -> Option<Value> {
    let child = Command::new(program)
        .env("HOOK_URL", url)
        .env("HOOK_SECRET", SECRET)
        .env("DELIVERY_ID", format!("chosen-for-{program}"))
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    child.stdin.take().unwrap().write_all(example.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    Some(serde_json::from_str(&text).unwrap_or_else(|_| panic!("{program} said {text:?}")))
}

#[tokio::test]
async fn the_documents_programs_sign_what_is_accepted() {
    let world = World::start().await;
    world.put_hook(json!({"preset": "hmac"}), json!({}));
    let hooks = world.hooks().await;
    let url = format!("{}/hooks/{HOOK}", hooks.url);
    // Node is not on every machine. The others are.
    for (program, language, is_needed) in [("sh", "sh", true), ("python3", "python", true), ("node", "js", false)] {
        for is_duplicate in [false, true] {
            let Some(answer) = run(program, example(language), &url).await else {
                assert!(!is_needed, "{program} is missing");
                break;
            };
            assert_eq!(answer["duplicate"], is_duplicate, "{program}: {answer}");
        }
    }
}
