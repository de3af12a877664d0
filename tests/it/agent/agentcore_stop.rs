//! An agent on AgentCore goes on after its client has left, so its session is stopped when its run ends before it does.

use std::time::Duration;

use serde_json::{Value, json};
use standins::{CognitoOperation, Fault, Gate, Invocation, Outcome, Rule, Script, Stack, Step, TokenAnswer};

use crate::support::one_fire::{
    TRIGGER, assert_error, delivery, execution, fire, fire_with, lease_is_over, short_lease,
};
use crate::support::stored::{fire_at, fire_with as stored_fire, long_lease, store};
use crate::support::{gated, killed_when, lease, scaled, stack};

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

#[tokio::test]
async fn f48_a_stop_without_a_token_is_not_said_to_be_requested() {
    let stack = stack().await;
    // The token of the call is too old for the stop.
    stack.cognito.set_expires_in(1);
    stack.cognito.answer_next(CognitoOperation::Token, [TokenAnswer::Ok, TokenAnswer::Hang]);
    let row = cancelled(&stack, &url(&stack)).await;
    assert_eq!((row.get("stopRequested"), row.get("stopConfirmed")), (None, None), "{row:#}");
    assert_eq!((stack.agent.stops().len(), stack.cognito.count(CognitoOperation::Token)), (0, 2));
}

fn url(stack: &Stack) -> String {
    format!("{}/runtimes/{ARN}", stack.agent.url())
}

/// The ways in which a run may end before its agent does: the answer, the time the invocation has, and the record's
/// failure.
fn unfinished() -> [(Script, Duration, &'static str); 4] {
    let long = Duration::from_secs(900);
    let begun = |step| {
        let mut script = Script::ndjson_happy("three files");
        script.steps.truncate(2);
        script.then(step)
    };
    [
        (begun(Step::Rst), long, "StreamInterrupted"),
        (begun(Step::Hang), long, "StreamStalled"),
        (Script::endless(Duration::from_millis(50)), scaled(6_000), "DeadlineExceeded"),
        (Script::status(202, "{}"), long, "AgentIncomplete"),
    ]
}

async fn run_unfinished(stack: &Stack, given: &Value, limit: Duration, error_type: &str) -> Value {
    let function = stack.function(&[("AGENT_API_URL", &url(stack)), ("AGENT_IDLE_TIMEOUT_SECONDS", "1")]).await;
    let outcome = function.invoke(fire_with(given).timeout(limit)).await;
    assert_error(&outcome, error_type, false);
    execution(stack)
}

#[tokio::test]
async fn f69_a_run_that_ends_before_its_agent_stops_the_session_before_its_record_ends() {
    for (script, limit, error_type) in unfinished() {
        let stack = stack().await;
        let gate = Gate::new();
        stack.agent.default(script);
        stack.agent.on_stop(Script::status(200, "{}").before_head(Step::Gate(gate.clone())));
        let look = async {
            gate.reached().await;
            let row = execution(&stack);
            gate.release();
            row
        };
        let given = json!({});
        let (row, before) = tokio::join!(run_unfinished(&stack, &given, limit, error_type), look);
        assert_eq!(before["status"], "running", "{error_type}: {before:#}");
        assert_eq!((&row["stopRequested"], &row["stopConfirmed"]), (&json!(true), &json!(true)), "{row:#}");
        let stops = stack.agent.stops();
        let session_id = "x-amzn-bedrock-agentcore-runtime-session-id";
        assert_eq!((stops.len(), stops[0].header(session_id)), (1, row["sessionId"].as_str()));
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f69_a_session_that_was_given_may_be_somebodys_and_is_not_stopped() {
    for (script, limit, error_type) in unfinished() {
        let stack = stack().await;
        stack.agent.default(script);
        let given = json!({"sessionId": "the-conversation-of-somebody-else-1"});
        let row = run_unfinished(&stack, &given, limit, error_type).await;
        assert_eq!((row.get("stopRequested"), stack.agent.stops().len()), (None, 0), "{row:#}");
        stack.assert_clean();
    }
}

#[tokio::test]
async fn f69_a_session_that_was_given_between_two_attempts_is_not_stopped() {
    let stack = stack().await;
    let given = "the-conversation-of-somebody-else-1";
    let stored = json!({"agentId": "agent-1", "prompt": "Count the files", "onInterrupted": "rerun"});
    let with_session =
        json!({"sessionId": given, "agentId": "agent-1", "prompt": "Count the files", "onInterrupted": "rerun"});
    let fire = || stored_fire(0, &json!({"stored": true})).request_id("request-1");
    store(&stack, stored);
    let gate = Gate::new();
    stack.agent.queue(gated(&gate));
    let url = url(&stack);
    let settings = [short_lease(), ("AGENT_API_URL", url.as_str())];
    killed_when(gate.reached(), &stack.function(&settings).await, fire()).await;
    store(&stack, with_session);
    lease_is_over(&stack).await;
    let [(torn, ..), ..] = unfinished();
    stack.agent.queue(torn);
    let outcome = stack.function(&settings).await.invoke(fire()).await;
    assert_error(&outcome, "StreamInterrupted", false);
    let calls = stack.agent.calls();
    assert_eq!((calls.len(), calls[1].session()), (2, given));
    assert_eq!(stack.agent.stops().len(), 0, "it may be somebody's conversation");
}

#[tokio::test]
async fn f69_an_answer_that_ended_stops_no_session() {
    for script in [Script::ndjson_happy("three files"), Script::server_error_event("no"), Script::status(400, "no")] {
        let stack = stack().await;
        stack.agent.default(script);
        stack.function(&[("AGENT_API_URL", &url(&stack))]).await.invoke(fire()).await;
        assert_eq!((execution(&stack).get("stopRequested"), stack.agent.stops().len()), (None, 0));
    }
}

#[tokio::test]
async fn f69_a_run_that_loses_its_turn_stops_its_session() {
    let stack = stack().await;
    store(&stack, json!({"overlap": "skip"}));
    stack.agent.queue(gated(&Gate::new()));
    let keep = Rule::new("UpdateItem", Fault::Throttle)
        .containing(r#""SK":{"S":"RUNNING#user-1"}"#)
        .containing("#leaseUntil > ");
    stack.dynamodb.inject(keep);
    let function = stack.function(&[long_lease(), ("AGENT_API_URL", &url(&stack))]).await;
    let outcome = function.invoke(fire_at(0)).await;
    assert_error(&outcome, "LeaseLost", false);
    assert_eq!(stack.agent.stops().len(), 1);
    stack.assert_clean();
}

/// An attempt is frozen while another takes its execution over. It stops no session when it wakes, even if it finds
/// SIGTERM then.
async fn wakes_while_another_reruns(is_terminated: bool) {
    let stack = stack().await;
    let (first, second) = (Gate::new(), Gate::new());
    stack.agent.queue(gated(&first));
    stack.agent.queue(gated(&second));
    let url = url(&stack);
    let settings = [short_lease(), ("AGENT_API_URL", url.as_str())];
    let (frozen, winner) = (stack.function(&settings).await, stack.function(&settings).await);
    let take_over = async {
        first.reached().await;
        frozen.freeze();
        lease_is_over(&stack).await;
        let wake = async {
            second.reached().await;
            if is_terminated {
                frozen.process.terminate();
            }
            frozen.thaw();
            stack.agent.wait_until("the frozen one's leaving", |calls| calls[0].client_left).await;
        };
        let awake = async {
            wake.await;
            second.release();
        };
        tokio::join!(winner.invoke(delivery(true)), awake).0
    };
    let (lost, won) = tokio::join!(frozen.invoke(delivery(true)), take_over);
    assert!(!lost.is_success(), "{lost:?}");
    assert!(won.is_success(), "{won:?}");
    let calls = stack.agent.calls();
    assert_eq!((calls.len(), calls[0].session()), (2, calls[1].session()), "one session for all attempts");
    assert_eq!((stack.agent.stops().len(), &execution(&stack)["attempt"]), (0, &json!(2)));
    assert_eq!(execution(&stack)["triggerId"], TRIGGER);
    stack.assert_clean();
}

#[tokio::test]
async fn f69_an_attempt_whose_execution_another_reruns_does_not_stop_their_session() {
    wakes_while_another_reruns(false).await;
}

#[tokio::test]
async fn f69_an_attempt_that_finds_sigterm_too_does_not_stop_their_session() {
    wakes_while_another_reruns(true).await;
}
