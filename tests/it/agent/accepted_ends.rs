//! `acceptFinishReasons`: which ways to stop short count as completed, and who decides.

use serde_json::{Value, json};
use standins::{Script, Stack, Step};

use crate::support::{
    assert_absent, changed, execution,
    one_fire::{TRIGGER, fire_with},
    stack,
};

/// An answer that ends at its token limit.
fn cut_short(reason: &str) -> Script {
    let frames = [
        json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "half"}}]}),
        json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}),
    ];
    Script::ok("text/event-stream", frames.map(|frame| Step::text(format!("data: {frame}\n\n"))))
}

/// Runs an agent whose definition, event and trigger item accept these, and returns its record.
async fn run(definition: Value, event: Value, item: Option<Value>) -> Value {
    let stack: Stack = stack().await;
    stack.agent.accept_any_bearer();
    stack.agent.default(cut_short("length"));
    let definition = changed(json!({"url": stack.agent.url(), "auth": "none"}), definition);
    let agents = json!({"agent-1": definition}).to_string();
    if let Some(item) = item {
        let trigger =
            json!({"id": TRIGGER, "userId": "user-1", "agentId": "agent-1", "prompt": "Count", "type": "schedule"});
        stack.dynamodb.put_trigger(&changed(trigger, item));
    }
    stack.function(&[("AGENTS", &agents)]).await.invoke(fire_with(&event)).await;
    execution(&stack, TRIGGER)
}

#[tokio::test]
async fn the_event_and_the_trigger_take_precedence_over_the_definition() {
    let accepts = |reasons: &[&str]| json!({"acceptFinishReasons": reasons});
    let nothing = || json!({});
    for (definition, event, item, is_completed) in [
        (nothing(), nothing(), None, false),
        (accepts(&["max_tokens"]), nothing(), None, true),
        (accepts(&["content_filter"]), nothing(), None, false),
        (nothing(), accepts(&["limit", "max_tokens"]), None, true),
        (accepts(&["max_tokens"]), accepts(&[]), None, false),
        (accepts(&["max_tokens"]), nothing(), Some(nothing()), true),
        (accepts(&[]), nothing(), Some(accepts(&["max_tokens"])), true),
        (accepts(&["max_tokens"]), accepts(&["max_tokens"]), Some(accepts(&["refusal"])), false),
    ] {
        let row = run(definition, event, item).await;
        assert_eq!((&row["finishReason"], &row["output"]), (&json!("max_tokens"), &json!("half")), "{row:#}");
        if is_completed {
            assert_eq!(row["status"], "completed", "{row:#}");
            assert_absent(&row, &["error", "errorType", "retryable"]);
        } else {
            assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!("AgentIncomplete")), "{row:#}");
        }
    }
}

#[tokio::test]
async fn a_run_that_waits_cannot_be_accepted() {
    for reason in ["working", "input_required", "auth_required", "interrupt", "Max_Tokens", "stop"] {
        let stack = stack().await;
        let outcome =
            stack.function(&[]).await.invoke(fire_with(&json!({"acceptFinishReasons": ["limit", reason]}))).await;
        assert_eq!(outcome.error_type(), "InvalidEvent", "{reason}");
        let message = outcome.body()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("$.detail.acceptFinishReasons[1]: must be one of max_tokens, "), "{message}");
        assert_eq!(stack.agent.call_count(), 0);
    }
}
