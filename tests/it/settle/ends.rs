//! Whatever a settle report's route decides, what the attempts left is ended, and while it may be alive it is left for
//! another delivery.

use serde_json::{Value, json};
use standins::destination::{failed_messages, notification, report, sqs_batch};
use standins::runtime_api::scheduled_event;
use standins::{Gate, Invocation, Lambda, Outcome, Stack};

use crate::routing::ends::{Meanwhile, Way, assert_detour, killed};
use crate::support::one_fire::{TIME, TRIGGER, lease_is_over, short_lease};
use crate::support::subscribed::{PROMPT, subscribe};
use crate::support::{all_logs, execution, gated, killed_when, lines, now_millis, stack};

/// Settles the report that the request's last attempt came to this. Gives whether the message is left.
async fn is_left(function: &Lambda, event: &Value, last: &Outcome) -> bool {
    let delivery = Invocation::event(event).request_id("request-1");
    let body = notification(&report(&delivery, 3, last).to_string());
    !failed_messages(&function.invoke(sqs_batch([("message", body.as_str())])).await).is_empty()
}

fn assert_interrupted(stack: &Stack, what: &str) {
    let row = execution(stack, TRIGGER);
    let found = (&row["status"], &row["errorType"], &row["retryable"]);
    assert_eq!(found, (&json!("failed"), &json!("Interrupted"), &json!(false)), "{what}: {row:#}");
}

/// What an attempt returns that refuses the event.
async fn refusal(stack: &Stack) -> Outcome {
    let function = stack.function(&[]).await;
    let refused = function.invoke(Invocation::event(&json!({"detail-type": "x"}))).await;
    assert_eq!(refused.error_type(), "InvalidEvent");
    refused
}

async fn is_settled(way: Way, detour: impl Fn(Meanwhile, bool) -> Option<&'static str>) {
    use Meanwhile::{Deleted, Disabled, Invalid, Tombstoned, Unmatched};
    for meanwhile in [Deleted, Disabled, Tombstoned, Invalid, Unmatched] {
        for was_refused in [false, true] {
            let what = format!("{way:?}, {meanwhile:?}, refused: {was_refused}");
            let stack = stack().await;
            let last = if was_refused { refusal(&stack).await } else { Outcome::Died };
            let (event, dead) = killed(&stack, way).await;
            let calls = stack.agent.call_count();
            meanwhile.befalls(&stack);
            let function = stack.function(&[short_lease()]).await;
            if is_left(&function, &event, &last).await {
                assert_eq!(execution(&stack, TRIGGER), dead, "{what}");
                lease_is_over(&stack).await;
                assert!(!is_left(&function, &event, &last).await, "{what}");
            } else {
                // The lease was over already, on a machine that is slow.
                assert!(now_millis() > dead["leaseUntil"].as_i64().unwrap(), "{what}: closed while it may be alive");
            }
            assert_interrupted(&stack, &what);
            let logs = all_logs(function).await;
            assert_detour(&logs, detour(meanwhile, was_refused));
            assert_eq!(stack.agent.call_count(), calls, "settling never calls an agent");
            stack.assert_clean();
        }
    }
}

/// The detour by which a trigger is settled for which its event is no longer due.
fn not_due(meanwhile: Meanwhile, _was_refused: bool) -> Option<&'static str> {
    matches!(meanwhile, Meanwhile::Deleted | Meanwhile::Unmatched).then_some("settled-not-due")
}

#[tokio::test]
async fn f65_a_report_of_an_events_only_trigger_ends_what_died() {
    is_settled(Way::OnlyTrigger, not_due).await;
}

#[tokio::test]
async fn f65_a_report_of_a_trigger_that_was_handed_an_event_ends_what_died() {
    is_settled(Way::Dispatched, |_, was_refused| was_refused.then_some("settled-refused")).await;
}

#[tokio::test]
async fn f65_a_report_of_a_trigger_that_was_run_now_ends_what_died() {
    is_settled(Way::RunTrigger, |_, was_refused| was_refused.then_some("settled-refused")).await;
    is_settled(Way::RunTriggerWithoutId, |_, was_refused| was_refused.then_some("settled-refused")).await;
}

#[tokio::test]
async fn f65_a_report_of_a_schedules_fire_or_a_follower_ends_what_died() {
    is_settled(Way::Schedule, |_, _| None).await;
    is_settled(Way::FollowerOfSkipped, not_due).await;
}

#[tokio::test]
async fn f65_a_report_of_a_replay_whose_input_is_gone_ends_what_died() {
    for last_was_refused in [false, true] {
        let stack = stack().await;
        let last = if last_was_refused { refusal(&stack).await } else { Outcome::Died };
        let (event, _) = killed(&stack, Way::Replay).await;
        let sk = format!("INPUT#{}", event["detail"]["executionId"].as_str().unwrap());
        stack.dynamodb.delete(&format!("TRIGGER#{TRIGGER}"), &sk);
        lease_is_over(&stack).await;
        let function = stack.function(&[short_lease()]).await;
        assert!(!is_left(&function, &event, &last).await);
        assert_interrupted(&stack, "a replay");
        assert!(!lines(&all_logs(function).await, r#""detour":"settled-input-gone""#).is_empty());
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f65_a_report_does_not_end_a_trigger_whose_own_invocation_is_on_its_way() {
    let stack = stack().await;
    let (event, _) = killed(&stack, Way::OnlyTrigger).await;
    Meanwhile::Deleted.befalls(&stack);
    // A retry has handed the event on to it.
    subscribe(&stack, "another", json!({}));
    lease_is_over(&stack).await;
    assert!(!is_left(&stack.function(&[short_lease()]).await, &event, &Outcome::Died).await);
    assert_interrupted(&stack, "what ran in place");
    assert_eq!(stack.dynamodb.executions("another").len(), 0, "its own invocation runs it");
    stack.assert_clean();
}

#[tokio::test]
async fn f65_a_report_of_a_fire_that_other_settings_make_invalid_ends_what_died() {
    for time in [Some(TIME), None] {
        let stack = stack().await;
        let mut event = scheduled_event(TRIGGER, PROMPT, time);
        event["detail"]["sessionId"] = json!("a-short-session");
        let gate = Gate::new();
        stack.agent.queue(gated(&gate));
        let delivery = Invocation::event(&event).request_id("request-1");
        killed_when(gate.reached(), &stack.function(&[short_lease()]).await, delivery).await;
        lease_is_over(&stack).await;
        let url = "https://bedrock-agentcore.us-east-1.amazonaws.com/runtimes/arn%3Ax/invocations";
        let function = stack.function(&[short_lease(), ("AGENT_API_URL", url)]).await;
        assert!(!is_left(&function, &event, &Outcome::Died).await);
        assert_interrupted(&stack, "an invalid fire");
        assert!(!lines(&all_logs(function).await, r#""detour":"settled-invalid""#).is_empty());
        stack.assert_clean();
    }
}
