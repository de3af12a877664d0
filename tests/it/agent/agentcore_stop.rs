//! Cancelling an agent on AgentCore: it goes on after its client has left, so its session is stopped.

use std::time::Duration;

use serde_json::{Value, json};
use standins::{Invocation, Outcome, Script, Stack};

use crate::support::{lease, stack};

const ARN: &str = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my-agent";

/// Runs an endless answer at this URL, cancels it, and gives its record.
async fn cancelled(stack: &Stack, url: &str) -> Value {
    stack.agent.default(Script::endless(Duration::from_millis(50)));
    // A session that cannot be stopped holds up the end of a run for 2 s, in which the lease must not pass.
    let function = stack.function(&[lease(4), ("AGENT_API_URL", url)]).await;
    let run = function.invoke(Invocation::scheduled("trigger-1", "Count the files", "2026-01-01T00:00:00Z"));
    let cancel = async {
        stack
            .agent
            .wait_until("an answer under way", |calls| calls.first().is_some_and(|call| call.events_sent > 2))
            .await;
        let row = stack.dynamodb.executions("trigger-1").remove(0);
        let key = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        assert!(stack.dynamodb.request_cancel(&key("PK"), &key("SK")));
    };
    let (outcome, ()) = tokio::join!(run, cancel);
    let Outcome::Success(_) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(outcome.body()["status"], "cancelled");
    let row = stack.dynamodb.executions("trigger-1").remove(0);
    assert_eq!(row["status"], "cancelled", "{row:#}");
    assert_eq!(stack.agent.call_count(), 1);
    assert!(stack.agent.wait_until("its client leave", |calls| calls[0].client_left).await[0].client_left);
    stack.assert_clean();
    row
}

#[tokio::test]
async fn f48_cancelling_stops_the_session_on_agentcore() {
    let stack = stack().await;
    let row = cancelled(&stack, &format!("{}/runtimes/{ARN}/invocations?qualifier=v1", stack.agent.url())).await;
    assert_eq!((&row["stopRequested"], &row["stopConfirmed"]), (&json!(true), &json!(true)), "{row:#}");
    let stops = stack.agent.stops();
    let [stop] = &stops[..] else { panic!("one request to stop, not {stops:#?}") };
    let encoded = ARN.replace(':', "%3A").replace('/', "%2F");
    assert_eq!(stop.method, "POST");
    assert_eq!(stop.path, format!("/runtimes/{encoded}/stopruntimesession?qualifier=v1"));
    let call = &stack.agent.calls()[0];
    let session_id = "x-amzn-bedrock-agentcore-runtime-session-id";
    assert_eq!(
        (stop.header(session_id), stop.header(session_id)),
        (row["sessionId"].as_str(), call.header(session_id))
    );
    assert_eq!((stop.header("authorization"), stop.status), (call.header("authorization"), 200));
}

#[tokio::test]
async fn f48_a_stop_that_fails_is_not_said_to_be_confirmed() {
    let scripts = [Script::status(500, r#"{"message":"no"}"#), Script::hang_before_head(), Script::reset_before_head()];
    for script in scripts {
        let stack = stack().await;
        stack.agent.on_stop(script);
        let row = cancelled(&stack, &format!("{}/runtimes/{ARN}", stack.agent.url())).await;
        assert_eq!((&row["stopRequested"], &row["stopConfirmed"]), (&json!(true), &json!(false)), "{row:#}");
        assert_eq!(stack.agent.stops().len(), 1);
    }
}

#[tokio::test]
async fn f48_an_agent_elsewhere_is_not_asked_to_stop() {
    let stack = stack().await;
    let row = cancelled(&stack, &stack.agent.url()).await;
    assert_eq!((row.get("stopRequested"), row.get("stopConfirmed")), (None, None), "{row:#}");
    assert_eq!(stack.agent.requests().len(), 1);
}
