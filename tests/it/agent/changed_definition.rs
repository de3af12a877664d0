//! A replay after the agent's definition was changed says so.

use serde_json::{Value, json};
use standins::{Invocation, Script, Stack, own_event};

use crate::support::{
    all_logs, execution, lines,
    one_fire::{TRIGGER, fire},
    stack,
};

fn agents(stack: &Stack, model: &str) -> String {
    json!({"agent-1": {"url": stack.agent.url(), "auth": "none", "model": model}}).to_string()
}

/// Fails once with one definition, replays it with another, and returns both records and the lines that tell of it.
async fn replayed(after: &str) -> (Value, Value, usize) {
    let stack = stack().await;
    stack.agent.accept_any_bearer();
    stack.agent.queue(Script::server_error_event("the model is gone"));
    stack.function(&[("AGENTS", &agents(&stack, "first"))]).await.invoke(fire()).await;
    let failed = execution(&stack, TRIGGER);
    let id = failed["executionId"].as_str().unwrap();
    let input = stack.dynamodb.item(&format!("TRIGGER#{TRIGGER}"), &format!("INPUT#{id}")).unwrap();
    let detail: Value = serde_json::from_str(input["detail"].as_str().unwrap()).unwrap();
    assert_eq!(detail["agentProtocol"], "invocations");
    assert_eq!(detail["agentDefinition"].as_str().map(str::len), Some(64));
    let function = stack.function(&[("AGENTS", &agents(&stack, after))]).await;
    let command = json!({"triggerId": TRIGGER, "executionId": id});
    let command = own_event("Replay Execution", command);
    assert!(function.invoke(Invocation::event(&command)).await.is_success());
    let again = stack.dynamodb.executions(TRIGGER).into_iter().find(|row| row["replayOf"] == id).unwrap();
    let told = lines(&all_logs(function).await, "definition was changed").len();
    (failed, again, told)
}

#[tokio::test]
async fn a_replay_tells_of_a_changed_definition_and_of_no_other() {
    let (failed, again, told) = replayed("first").await;
    assert_eq!((&again["settingsHash"], told), (&failed["settingsHash"], 0), "{again:#}");
    assert_eq!(again.get("agentDefinitionChanged"), None);
    let (failed, again, told) = replayed("second").await;
    assert_ne!(again["settingsHash"], failed["settingsHash"]);
    assert_eq!((&again["agentDefinitionChanged"], told), (&json!(true), 1), "{again:#}");
}
