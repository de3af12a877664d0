use standins::{Invocation, Script};

use crate::support::stack;

#[tokio::test]
async fn f01_happy_path_completes() {
    let stack = stack().await;
    stack.agent.default(Script::ndjson_happy("three files"));
    let function = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::scheduled("trigger-1", "Count the files", "2026-01-01T00:00:00Z")).await;
    for l in function.logs() {}
    assert!(outcome.is_success());
}
