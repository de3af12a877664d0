//! Whatever the route of a retry decides, it ends what an earlier attempt of the same request left: by every way on which
//! an event comes, and whatever was changed since the attempt died.

use serde_json::{Value, json};
use standins::runtime_api::scheduled_event;
use standins::{Gate, Invocation, Lambda, Outcome, Script, Stack, own_event};

use crate::support::one_fire::{TIME, TRIGGER, lease_is_over, short_lease};
use crate::support::subscribed::{PROMPT, SOURCE, SOURCE_ID, USER, config, order, order_with, subscribe};
use crate::support::{
    all_logs, assert_completed, assert_duplicate, assert_failed, changed, execution, gated, killed_when, lease, lines,
    now_millis, scaled, skew, stack,
};

/// The way on which an event comes to a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Schedule,
    OnlyTrigger,
    Dispatched,
    RunTrigger,
    /// A command of a caller that gives it no id.
    RunTriggerWithoutId,
    Replay,
    FollowerOfCompleted,
    FollowerOfSkipped,
}

/// What becomes of the trigger after the attempt has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meanwhile {
    Deleted,
    Disabled,
    Tombstoned,
    Invalid,
    Unmatched,
}

const CHANGES: [Meanwhile; 5] =
    [Meanwhile::Deleted, Meanwhile::Disabled, Meanwhile::Tombstoned, Meanwhile::Invalid, Meanwhile::Unmatched];

impl Way {
    /// Stores the trigger, and gives the event that comes to it on this way.
    pub(crate) async fn event(self, stack: &Stack) -> Value {
        match self {
            Self::FollowerOfCompleted | Self::FollowerOfSkipped => {
                let subscription = json!({"GSI2PK": "EVENTSOURCE#agent-trigger"});
                subscribe(stack, TRIGGER, changed(subscription, config(json!({"eventSourceId": "agent-trigger"}))));
            }
            _ => subscribe(stack, TRIGGER, json!({})),
        }
        let ended = |status: &str| {
            let detail = json!({"triggerId": "first", "executionId": "019c12d9-f580-75ef-abe2-ba7fe30c8726",
                "userId": USER, "status": status, "startedAt": TIME, "completedAt": "2026-01-31T07:00:41.087Z",
                "chainDepth": ""});
            own_event("Execution Status Change", detail)
        };
        let run = || own_event("Run Trigger", json!({"triggerId": TRIGGER, "userId": USER}));
        match self {
            Self::Schedule => scheduled_event(TRIGGER, PROMPT, Some(TIME)),
            Self::OnlyTrigger => order(),
            Self::Dispatched => {
                let dispatch = json!({"triggerId": TRIGGER, "userId": USER, "requestId": "of-the-dispatcher"});
                order_with(json!({"_eventSourceId": SOURCE_ID, "_dispatch": dispatch}))
            }
            Self::RunTrigger => run(),
            Self::RunTriggerWithoutId => changed(run(), json!({"id": null})),
            Self::Replay => replay_of_a_run(stack).await,
            Self::FollowerOfCompleted => ended("completed"),
            Self::FollowerOfSkipped => ended("skipped"),
        }
    }

    /// The detour that the log names when the trigger was changed so, unless the execution is claimed as ever.
    fn detour(self, meanwhile: Meanwhile) -> Option<&'static str> {
        use Meanwhile::{Deleted, Disabled, Invalid, Tombstoned, Unmatched};
        match (self, meanwhile) {
            (Self::Schedule | Self::Replay, _) => None,
            (Self::OnlyTrigger | Self::FollowerOfCompleted | Self::FollowerOfSkipped, Deleted | Unmatched)
            | (Self::FollowerOfSkipped, Disabled | Tombstoned) => Some("nothing-due"),
            (_, Unmatched) => None,
            (Self::RunTrigger | Self::RunTriggerWithoutId, Deleted) => Some("unknown-trigger"),
            (_, Deleted | Disabled | Tombstoned) => Some("skipped"),
            (_, Invalid) => Some("invalid-trigger"),
        }
    }
}

/// Runs the trigger once, and gives the command to run that execution again, whose own execution is the only other one.
async fn replay_of_a_run(stack: &Stack) -> Value {
    stack.agent.queue(Script::ndjson_happy("three files"));
    let outcome = stack.function(&[]).await.invoke(Invocation::event(&order())).await;
    let row = execution(stack, TRIGGER);
    assert_completed(&outcome, &row);
    // So that the replay's own row is the only one.
    stack.dynamodb.delete(row["PK"].as_str().unwrap(), row["SK"].as_str().unwrap());
    own_event("Replay Execution", json!({"triggerId": TRIGGER, "executionId": row["executionId"]}))
}

impl Meanwhile {
    pub(crate) fn befalls(self, stack: &Stack) {
        let (pk, sk) = (format!("TRIGGER#{USER}"), format!("TRIGGER#{TRIGGER}"));
        let set = |attributes: Value| stack.dynamodb.update(&pk, &sk, &attributes);
        let source = stack.dynamodb.item(&pk, &sk).unwrap()["eventConfig"]["eventSourceId"].clone();
        match self {
            Self::Deleted => stack.dynamodb.delete(&pk, &sk),
            Self::Disabled => set(json!({"enabled": false})),
            Self::Tombstoned => set(json!({"deletedAt": TIME})),
            Self::Invalid => set(json!({"prompt": 7})),
            Self::Unmatched => set(config(json!({"eventSourceId": source, "eventPattern": {"source": ["another"]}}))),
        }
    }
}

fn delivery(event: &Value) -> Invocation {
    Invocation::event(event).request_id("request-1")
}

/// Kills an attempt in mid-stream. Gives the event that it had, and its row.
pub(crate) async fn killed(stack: &Stack, way: Way) -> (Value, Value) {
    let event = way.event(stack).await;
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    killed_when(gate.reached(), &stack.function(&[short_lease()]).await, delivery(&event)).await;
    let row = execution(stack, TRIGGER);
    assert_eq!(row["status"], "running", "{way:?}: {row:#}");
    (event, row)
}

fn assert_interrupted(way: Way, outcome: &Outcome, stack: &Stack) -> Value {
    let row = execution(stack, TRIGGER);
    assert_eq!(outcome.error_type(), "Interrupted", "{way:?}: {outcome:?} with {row:#}");
    assert_failed(outcome, &row, "Interrupted", false);
    row
}

/// Delivers again, to another process. Gives the outcome and what the process logged.
async fn delivered_again(stack: &Stack, event: &Value) -> (Outcome, Vec<String>) {
    let function = stack.function(&[short_lease()]).await;
    let outcome = function.invoke(delivery(event)).await;
    (outcome, all_logs(function).await)
}

/// Asserts that the log names this detour, or none.
pub(crate) fn assert_detour(logs: &[String], detour: Option<&str>) {
    let expected = detour.map(|name| format!(r#""detour":"{name}""#));
    let found = lines(logs, r#""detour":"#);
    match expected {
        Some(expected) => assert!(found.iter().any(|line| line.contains(&expected)), "{expected} in {found:#?}"),
        None => assert!(found.is_empty(), "{found:#?}"),
    }
}

async fn is_ended(way: Way) {
    for meanwhile in CHANGES {
        for is_over in [false, true] {
            let stack = stack().await;
            let (event, dead) = killed(&stack, way).await;
            let calls = stack.agent.call_count();
            meanwhile.befalls(&stack);
            if is_over {
                lease_is_over(&stack).await;
            }
            let (outcome, logs) = delivered_again(&stack, &event).await;
            let row = assert_interrupted(way, &outcome, &stack);
            let until = dead["leaseUntil"].as_i64().unwrap() + skew(1);
            assert!(now_millis() > until, "{way:?}, {meanwhile:?}: it may have been alive");
            assert_detour(&logs, way.detour(meanwhile));
            let (again, _) = delivered_again(&stack, &event).await;
            assert_interrupted(way, &again, &stack);
            assert_eq!(execution(&stack, TRIGGER), row, "what is final stays as it is");
            assert_eq!(stack.agent.call_count(), calls, "called at most once");
            stack.assert_clean();
        }
    }
}

#[tokio::test]
async fn f65_a_schedules_fire_that_died_is_ended() {
    is_ended(Way::Schedule).await;
}

#[tokio::test]
async fn f65_an_events_only_trigger_that_died_is_ended() {
    is_ended(Way::OnlyTrigger).await;
}

#[tokio::test]
async fn f65_a_trigger_that_an_event_was_handed_on_to_and_that_died_is_ended() {
    is_ended(Way::Dispatched).await;
}

#[tokio::test]
async fn f65_a_trigger_that_was_run_now_and_died_is_ended() {
    is_ended(Way::RunTrigger).await;
}

#[tokio::test]
async fn f65_a_trigger_that_a_caller_ran_now_and_that_died_is_ended() {
    is_ended(Way::RunTriggerWithoutId).await;
}

#[tokio::test]
async fn f65_a_replay_that_died_is_ended() {
    is_ended(Way::Replay).await;
}

#[tokio::test]
async fn f65_a_follower_of_a_completed_execution_that_died_is_ended() {
    is_ended(Way::FollowerOfCompleted).await;
}

#[tokio::test]
async fn f65_a_follower_of_a_skipped_execution_that_died_is_ended() {
    is_ended(Way::FollowerOfSkipped).await;
}

/// Kills a replay, changes its kept input, and delivers it again.
async fn replay_whose_input_is(change: impl Fn(&Stack, &str, &str), detour: &str) {
    let stack = stack().await;
    let (event, _) = killed(&stack, Way::Replay).await;
    let sk = format!("INPUT#{}", event["detail"]["executionId"].as_str().unwrap());
    change(&stack, &format!("TRIGGER#{TRIGGER}"), &sk);
    let (outcome, logs) = delivered_again(&stack, &event).await;
    let row = assert_interrupted(Way::Replay, &outcome, &stack);
    assert_eq!(row["userId"], USER);
    assert_detour(&logs, Some(detour));
    // Its health counts for the trigger of the row's user, whom the command does not name.
    let trigger = stack.dynamodb.item(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{TRIGGER}")).unwrap();
    assert_eq!((&trigger["health"], &trigger["failures"]), (&json!("failing"), &json!(1)));
    stack.assert_clean();
}

#[tokio::test]
async fn f65_a_replay_whose_input_is_gone_is_ended() {
    replay_whose_input_is(|stack, pk, sk| stack.dynamodb.delete(pk, sk), "input-gone").await;
}

#[tokio::test]
async fn f65_a_replay_whose_input_is_not_understood_is_ended() {
    let break_it =
        |stack: &Stack, pk: &str, sk: &str| stack.dynamodb.update(pk, sk, &json!({"detail": "{\"userId\":7}"}));
    replay_whose_input_is(break_it, "invalid-input").await;
}

#[tokio::test]
async fn f65_a_fire_that_other_settings_make_invalid_is_ended() {
    for time in [Some(TIME), None] {
        let stack = stack().await;
        let mut event = scheduled_event(TRIGGER, PROMPT, time);
        event["detail"]["sessionId"] = json!("a-short-session");
        let gate = Gate::new();
        stack.agent.queue(gated(&gate));
        killed_when(gate.reached(), &stack.function(&[short_lease()]).await, delivery(&event)).await;
        // AgentCore takes no session id of fewer than 33 characters.
        let url = "https://bedrock-agentcore.us-east-1.amazonaws.com/runtimes/arn%3Ax/invocations";
        let function = stack.function(&[short_lease(), ("AGENT_API_URL", url)]).await;
        let outcome = function.invoke(delivery(&event)).await;
        assert_interrupted(Way::Schedule, &outcome, &stack);
        assert_detour(&all_logs(function).await, Some("invalid-fire"));

        // One that no attempt has claimed leaves no record.
        let other = changed(event.clone(), json!({"id": "another"}));
        stack.dynamodb.delete(&format!("TRIGGER#{TRIGGER}"), execution(&stack, TRIGGER)["SK"].as_str().unwrap());
        let function = stack.function(&[short_lease(), ("AGENT_API_URL", url)]).await;
        let outcome = function.invoke(Invocation::event(&other).request_id("request-2")).await;
        assert_eq!(outcome.error_type(), "InvalidEvent", "{outcome:?}");
        assert!(outcome.body()["message"].as_str().unwrap().contains("$.detail.sessionId"));
        assert!(stack.dynamodb.executions(TRIGGER).is_empty());
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f65_an_agent_that_is_unknown_by_now_ends_what_died() {
    let stack = stack().await;
    let (event, _) = killed(&stack, Way::OnlyTrigger).await;
    lease_is_over(&stack).await;
    let agents = json!({"another": {"url": stack.agent.url()}}).to_string();
    let function = stack.function(&[short_lease(), ("AGENTS", &agents), ("AGENT_API_URL", "")]).await;
    let outcome = function.invoke(delivery(&event)).await;
    assert_interrupted(Way::OnlyTrigger, &outcome, &stack);
    stack.assert_clean();
}

#[tokio::test]
async fn f65_a_living_attempt_is_waited_for_and_in_progress_only_at_the_deadline() {
    for way in [Way::OnlyTrigger, Way::Dispatched, Way::RunTrigger, Way::FollowerOfSkipped] {
        let stack = stack().await;
        let (event, gate) = (way.event(&stack).await, Gate::new());
        stack.agent.queue(gated(&gate));
        let first = stack.function(&[lease(4)]).await;
        let twin = async {
            gate.reached().await;
            Meanwhile::Deleted.befalls(&stack);
            let function = stack.function(&[lease(4)]).await;
            let in_progress = function.invoke(delivery(&event).timeout(scaled(5_200))).await;
            assert_eq!(in_progress.error_type(), "InProgress", "{way:?}: {in_progress:?}");
            assert_eq!(in_progress.body()["retryable"], true);
            assert_eq!(execution(&stack, TRIGGER)["status"], "running");
            let go_on = async {
                tokio::time::sleep(scaled(300)).await;
                gate.release();
            };
            tokio::join!(function.invoke(delivery(&event)), go_on).0
        };
        let (outcome, twin) = tokio::join!(first.invoke(delivery(&event)), twin);
        let row = execution(&stack, TRIGGER);
        assert_completed(&outcome, &row);
        if matches!(way, Way::OnlyTrigger | Way::FollowerOfSkipped) {
            assert!(twin.is_success(), "{way:?}: {twin:?}");
        } else {
            assert_duplicate(&twin, &row);
        }
        assert_eq!(stack.agent.call_count(), 1);
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f65_a_trigger_that_is_one_of_several_by_now_is_ended_by_the_invocation_that_gets_it() {
    let stack = stack().await;
    let (event, _) = killed(&stack, Way::OnlyTrigger).await;
    subscribe(&stack, "another", json!({}));
    let (outcome, logs) = delivered_again(&stack, &event).await;
    assert!(outcome.is_success(), "{outcome:?}");
    assert_detour(&logs, Some("handed-on"));
    stack.pool(2, &[short_lease()]);
    stack.lambda.idle().await;
    let row = execution(&stack, TRIGGER);
    assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!("Interrupted")), "{row:#}");
    assert_eq!(execution(&stack, "another")["status"], "completed");
    assert_eq!(stack.agent.call_count(), 2);
    stack.assert_clean();
}

#[tokio::test]
async fn f65_a_trigger_that_gave_way_to_another_is_ended_and_the_other_runs() {
    let stack = stack().await;
    let (event, _) = killed(&stack, Way::OnlyTrigger).await;
    Meanwhile::Deleted.befalls(&stack);
    subscribe(&stack, "another", json!({}));
    let (outcome, logs) = delivered_again(&stack, &event).await;
    assert_interrupted(Way::OnlyTrigger, &outcome, &stack);
    assert_detour(&logs, Some("handed-on"));
    stack.pool(2, &[short_lease()]);
    stack.lambda.idle().await;
    assert_eq!(execution(&stack, "another")["status"], "completed");
    stack.assert_clean();
}

#[tokio::test]
async fn f65_a_follower_whose_chain_is_over_the_limit_by_now_is_ended() {
    let stack = stack().await;
    let mut event = Way::FollowerOfCompleted.event(&stack).await;
    event["detail"]["chainDepth"] = json!("5");
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    killed_when(gate.reached(), &stack.function(&[short_lease()]).await, delivery(&event)).await;
    let function = stack.function(&[short_lease(), ("CHAIN_DEPTH_LIMIT", "1")]).await;
    let outcome = function.invoke(delivery(&event)).await;
    assert_interrupted(Way::FollowerOfCompleted, &outcome, &stack);
    assert_detour(&all_logs(function).await, Some("chain-ends"));
    stack.assert_clean();
}

#[tokio::test]
async fn f65_an_event_that_nobody_claims_any_more_is_ended() {
    let stack = stack().await;
    let source = SOURCE.replace('.', "-");
    subscribe(&stack, TRIGGER, config(json!({"eventSourceId": source})));
    // It came over a bus, and looks like a schedule's.
    let detail = json!({"triggerId": TRIGGER, "userId": USER, "agentId": "agent-1", "prompt": "x"});
    let event = order_with(json!({"detail-type": "Scheduled Event", "detail": detail}));
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    killed_when(gate.reached(), &stack.function(&[short_lease()]).await, delivery(&event)).await;
    Meanwhile::Deleted.befalls(&stack);
    let (outcome, logs) = delivered_again(&stack, &event).await;
    assert_interrupted(Way::OnlyTrigger, &outcome, &stack);
    assert_detour(&logs, Some("unclaimed"));
    stack.assert_clean();
}

#[tokio::test]
async fn an_event_with_too_little_time_is_left_to_the_next_delivery() {
    let stack = stack().await;
    let (event, dead) = killed(&stack, Way::RunTrigger).await;
    let function = stack.function(&[short_lease()]).await;
    let outcome = function.invoke(delivery(&event).timeout(std::time::Duration::from_secs(2))).await;
    assert_eq!((outcome.error_type(), &outcome.body()["retryable"]), ("DeadlineExceeded", &json!(true)));
    assert_eq!(execution(&stack, TRIGGER), dead);
    assert_detour(&all_logs(function).await, Some("too-little-time"));
    let (outcome, _) = delivered_again(&stack, &event).await;
    assert_interrupted(Way::RunTrigger, &outcome, &stack);
    stack.assert_clean();
}

#[tokio::test]
async fn an_event_that_names_no_fire_has_no_row() {
    let stack = stack().await;
    let function: Lambda = stack.function(&[]).await;
    let outcome = function.invoke(Invocation::event(&json!({"detail-type": "Scheduled Event", "detail": {}}))).await;
    assert_eq!(outcome.error_type(), "InvalidEvent");
    assert!(stack.dynamodb.requests().is_empty(), "nothing is looked for");
    assert_detour(&all_logs(function).await, Some("unidentified-event"));
}
