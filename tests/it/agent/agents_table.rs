//! The agents table (`AGENTS_TABLE_NAME`): what a row adds to a request, and where nothing of it may stand.

use serde_json::{Value, json};
use standins::{AGENTS_TABLE, Lambda, Script, Stack};

use crate::support::{
    all_logs, changed, execution,
    one_fire::{TRIGGER, fire, fire_with},
    stack,
};

const SYSTEM_PROMPT: &str = "You are the auditor of the quarter";
const SECRET: &str = "hunter2hunter2";

fn row() -> Value {
    json!({"userId": "user-1", "agentId": "agent-1", "systemPrompt": SYSTEM_PROMPT, "enabledTools": ["row-tool"],
        "defaultStoragePath": "/of/the/row", "mcpConfig": {"mcpServers": {
            "files": {"command": "run", "env": {"__ssm": true}}, "plain": {"url": "https://mcp.example.com"}}}})
}

async fn function(stack: &Stack) -> Lambda {
    stack.function(&[("AGENTS_TABLE_NAME", AGENTS_TABLE), ("SSM_PARAMETER_PREFIX", "/agentcore/dev")]).await
}

#[tokio::test]
async fn a_row_is_sent_with_its_environments_and_is_nowhere_else() {
    let stack = stack().await;
    stack.dynamodb.put_agents(&[row()]);
    stack.ssm.put("/agentcore/dev/agents/user-1/agent-1/mcp-env", &json!({"files": {"KEY": SECRET}}).to_string());
    // A failure keeps its input, and the agent repeats all that it was sent.
    stack.agent.default(Script::status(400, &format!(r#"{{"m":"{SYSTEM_PROMPT} {SECRET}"}}"#)));
    let function = function(&stack).await;
    assert_eq!(function.invoke(fire()).await.error_type(), "AgentRejected");
    let body = &stack.agent.calls()[0].body;
    assert_eq!((&body["systemPrompt"], &body["enabledTools"]), (&json!(SYSTEM_PROMPT), &json!(["row-tool"])));
    assert_eq!(body["storagePath"], "/of/the/row");
    let servers =
        json!({"files": {"command": "run", "env": {"KEY": SECRET}}, "plain": {"url": "https://mcp.example.com"}});
    assert_eq!(body["mcpConfig"], json!({"mcpServers": servers}));
    let reads = stack.dynamodb.requests().iter().filter(|request| request.json()["TableName"] == AGENTS_TABLE).count();
    assert_eq!(reads, 1);
    let kept = stack.dynamodb.scan().iter().map(Value::to_string).collect::<String>();
    assert!(kept.contains("INPUT#"), "{kept}");
    for text in [kept, all_logs(function).await.join("\n")] {
        assert!(!text.contains("auditor") && !text.contains("hunter2") && !text.contains("mcpServers"), "{text}");
    }
}

#[tokio::test]
async fn the_trigger_takes_precedence_over_the_row() {
    let stack = stack().await;
    stack.dynamodb.put_agents(&[changed(row(), json!({"mcpConfig": null}))]);
    let own = json!({"enabledTools": ["own-tool"], "workingDirectory": "/own"});
    assert!(function(&stack).await.invoke(fire_with(&own)).await.is_success());
    let body = &stack.agent.calls()[0].body;
    assert_eq!((&body["enabledTools"], &body["storagePath"]), (&json!(["own-tool"]), &json!("/own")));
    assert_eq!((&body["systemPrompt"], body.get("mcpConfig")), (&json!(SYSTEM_PROMPT), None));
    assert!(stack.ssm.asked().is_empty());
}

#[tokio::test]
async fn an_agent_without_a_row_is_not_called() {
    for other in [json!({"userId": "another"}), json!({"agentId": "another"})] {
        let stack = stack().await;
        stack.dynamodb.put_agents(&[changed(row(), other)]);
        let outcome = function(&stack).await.invoke(fire()).await;
        let record = execution(&stack, TRIGGER);
        assert_eq!((outcome.error_type(), &record["retryable"]), ("AgentNotFound", &json!(false)), "{record:#}");
        assert_eq!(stack.agent.call_count(), 0);
    }
}

#[tokio::test]
async fn without_its_parameter_an_environment_is_left_out() {
    let stack = stack().await;
    stack.dynamodb.put_agents(&[row()]);
    assert!(function(&stack).await.invoke(fire()).await.is_success());
    assert_eq!(stack.agent.calls()[0].body["mcpConfig"]["mcpServers"]["files"], json!({"command": "run"}));
    assert_eq!(stack.ssm.asked(), ["/agentcore/dev/agents/user-1/agent-1/mcp-env"]);
}
