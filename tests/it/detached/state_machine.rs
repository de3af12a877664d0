//! A state machine of Step Functions that waits for a detached run on AgentCore: the real function behind the template's own
//! rules and its own pipe. .ci/step_functions.py plays the two machines at both ends of this.

use std::path::Path;
use std::sync::{Arc, Mutex};

use agent_trigger::trigger::pattern::Pattern;
use axum::http::{HeaderMap, StatusCode};
use axum::{Router, body::Bytes, routing::post};
use serde_json::{Value, json};
use standins::{Pipe, Template, own_event};

use super::*;
use crate::support::subscribed::{USER, subscribe};

const MACHINE: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:nightly";
const CALLER: &str = "arn:aws:states:us-east-1:123456789012:execution:nightly:6a7e8feb";
const RUNTIME: &str = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my-agent";
const SESSION: &str = "x-amzn-bedrock-agentcore-runtime-session-id";

fn template() -> Template {
    Template::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("template.yaml")).unwrap()
}

/// The template's pipe, which announces what ends.
fn announcements(stack: &Stack) -> Pipe {
    let definition = template().pipe().unwrap();
    let matcher = definition.matcher(|pattern| {
        let pattern = Pattern::parse(pattern).unwrap();
        move |record: &Value| pattern.matches(record)
    });
    Pipe::start(&stack.dynamodb, definition, matcher, |_| {})
}

/// What the template's rules on the default bus bring to the function.
fn brought(event: &Value) -> Vec<Invocation> {
    let rules = template().rules("AgentTriggerFunction").into_iter().filter(|rule| rule.bus.is_none());
    let rules = rules.filter(|rule| Pattern::parse(&rule.pattern).unwrap().matches(event));
    rules.map(|rule| Invocation::new(rule.payload(event).unwrap())).collect()
}

/// What Step Functions publishes of the execution that waits.
fn status_change(status: &str) -> Value {
    let detail = json!({"executionArn": CALLER, "stateMachineArn": MACHINE, "name": "6a7e8feb", "status": status});
    bus_event("aws.states", "Step Functions Execution Status Change", detail)
}

/// Starts a run of an agent on AgentCore for the state machine, and leaves it to the agent.
async fn waiting() -> (Stack, Lambda, Value) {
    waiting_with(&[]).await
}

/// Does so with these settings besides.
async fn waiting_with(settings: &[(&str, &str)]) -> (Stack, Lambda, Value) {
    let stack = stack().await;
    subscribe(&stack, "t", json!({"detached": super::settings()}));
    let url = format!("{}/runtimes/{RUNTIME}/invocations?qualifier=v1", stack.agent.url());
    let own = [REPORT_URL, support::lease(1), ("AGENT_API_URL", &url)];
    let function = stack.function(&[&own, settings].concat()).await;
    let mut command = own_event("Run Trigger", json!({"triggerId": "t", "userId": USER, "taskToken": "the-token"}));
    command["resources"] = json!([MACHINE, CALLER]);
    let outcome = function.invoke(Invocation::event(&command)).await;
    assert_eq!(outcome.body()["detached"], true, "{outcome:?}");
    let row = row_of(&stack);
    assert_eq!((&row["status"], &row["caller"], &row["hasTask"]), (&json!("running"), &json!(CALLER), &json!(true)));
    (stack, function, row)
}

fn row_of(stack: &Stack) -> Value {
    let mut rows = stack.dynamodb.executions("t");
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

/// Reports the run's end with the token that its agent got.
async fn report_end(stack: &Stack, function: &Lambda, row: &Value, members: Value) -> (u64, Value) {
    let mut detail = json!({"token": token(stack), "triggerId": "t", "executionId": row["executionId"]});
    detail.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let event = json!({"_from": "report-bus", "_event": bus_event("my.agent", "Agent Report", detail)});
    answer(&function.invoke(Invocation::event(&event)).await)
}

/// Asserts that one announcement of the run came, from which the template's machine answers the task, and returns its detail.
async fn announced(stack: &Stack, pipe: &Pipe) -> Value {
    stack.quiet(pipe).await;
    assert_eq!(pipe.failures(), Vec::<String>::new());
    let [event] = &pipe.events()[..] else { panic!("one announcement, not {:#?}", pipe.events()) };
    let detail = event["detail"].clone();
    assert_eq!((&detail["triggerId"], &detail["hasTask"]), (&json!("t"), &json!(true)));
    let key = format!("TASK#{}", detail["executionId"].as_str().unwrap());
    assert_eq!(stack.dynamodb.item("TRIGGER#t", &key).unwrap()["taskToken"], "the-token");
    // The members that .ci/step_functions.py gives the machine.
    let sample =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("events/execution-status-change.json"));
    let sample: Value = serde_json::from_str(&sample.unwrap()).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&detail), names(&sample["detail"]));
    detail
}

#[tokio::test]
async fn a_state_machine_that_waits_gets_the_output() {
    let (stack, function, row) = waiting().await;
    let pipe = announcements(&stack);
    let end = json!({"status": "completed", "output": "three files", "usage": {"inputTokens": 21, "outputTokens": 8}});
    assert_eq!(report_end(&stack, &function, &row, end).await.0, 200);
    let detail = announced(&stack, &pipe).await;
    assert_eq!((&detail["status"], &detail["output"]), (&json!("completed"), &json!("three files")));
    assert_eq!((&detail["usage"]["inputTokens"], &detail["usage"]["outputTokens"]), (&json!("21"), &json!("8")));
    // Its end comes too, and cancels nothing.
    assert!(brought(&status_change("SUCCEEDED")).is_empty());
    assert_eq!(stack.agent.call_count(), 1);
}

#[tokio::test]
async fn a_stopped_state_machine_cancels_its_run_and_stops_the_agents_session() {
    for (status, is_silent) in [("ABORTED", true), ("TIMED_OUT", false)] {
        let (stack, function, row) = waiting().await;
        let pipe = announcements(&stack);
        // Another execution that stops changes nothing.
        let mut other = status_change(status);
        other["detail"]["executionArn"] = json!(format!("{CALLER}x"));
        for event in [other, status_change("FAILED"), status_change(status)] {
            assert_eq!(row_of(&stack).get("cancelRequested"), None);
            for invocation in brought(&event) {
                let outcome = function.invoke(invocation).await;
                assert!(outcome.is_success(), "{outcome:?}");
            }
        }
        assert_eq!(row_of(&stack)["cancelRequested"], true);
        // The agent has a minute to end by itself. Then the run ends without it.
        let look = last_look(&stack);
        assert_eq!((&look.json()["_look"]["purpose"], look.delay_seconds), (&json!("cancel"), 60));
        assert_eq!(stack.agent.stops().len(), 0, "the agent may clean up first");
        if is_silent {
            assert!(deliver(&function, &look).await);
        } else {
            let (code, body) = report_end(&stack, &function, &row, json!({"status": "running"})).await;
            assert_eq!((code, &body["cancel"]), (200, &json!(true)));
            assert_eq!(stack.agent.stops().len(), 0);
            let end = json!({"status": "failed", "error": "stopped"});
            assert_eq!(report_end(&stack, &function, &row, end).await.0, 200);
        }
        assert_eq!(row_of(&stack)["status"], "cancelled");
        assert_eq!(announced(&stack, &pipe).await["status"], "cancelled");

        // A silent agent is stopped before the run ends, and each a minute after the end.
        let before = usize::from(is_silent);
        assert_eq!(stack.agent.stops().len(), before);
        let stop = last_look(&stack);
        assert_eq!((&stop.json()["_look"]["purpose"], stop.delay_seconds), (&json!("end"), 60));
        assert!(deliver(&function, &stop).await);
        let stops = stack.agent.stops();
        assert_eq!(stops.len(), before + 1, "{stops:#?}");
        for stopped in &stops {
            assert!(stopped.path.ends_with("/stopruntimesession?qualifier=v1"), "{}", stopped.path);
            assert_eq!(stopped.header(SESSION), row["sessionId"].as_str());
            assert_eq!(stopped.header(SESSION), stack.agent.calls()[0].header(SESSION));
        }
        assert_eq!(stack.agent.call_count(), 1);
    }
}

/// Serves DescribeExecution with this answer, and returns the address, and the ARNs that were asked for.
async fn step_functions(answer: Arc<Mutex<(u16, Value)>>) -> (String, Arc<Mutex<Vec<Value>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let book = Arc::clone(&asked);
    let answer = move |headers: HeaderMap, body: Bytes| async move {
        assert_eq!(headers["x-amz-target"], "AWSStepFunctions.DescribeExecution");
        assert!(headers["authorization"].to_str().unwrap().contains("/us-east-1/states/aws4_request"));
        let body: Value = serde_json::from_slice(&body).unwrap();
        book.lock().unwrap().push(body["executionArn"].clone());
        let (status, answer) = answer.lock().unwrap().clone();
        (StatusCode::from_u16(status).unwrap(), answer.to_string())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(answer))).await });
    (url, asked)
}

/// The event of a stop may be lost.
#[tokio::test]
async fn a_look_asks_whether_the_state_machine_still_waits() {
    let answer = Arc::new(Mutex::new((200, json!({"status": "RUNNING"}))));
    let (url, asked) = step_functions(Arc::clone(&answer)).await;
    let (stack, function, _) = waiting_with(&[("AWS_ENDPOINT_URL_SFN", &url)]).await;
    let refused = json!({"__type": "AccessDeniedException"});
    for (status, said) in [(200, json!({"status": "RUNNING"})), (400, refused), (200, json!([])), (503, json!({}))] {
        *answer.lock().unwrap() = (status, said.clone());
        assert!(deliver(&function, &last_look(&stack)).await);
        assert_eq!(last_look(&stack).json()["_look"]["purpose"], "timer");
        assert_eq!(row_of(&stack).get("cancelRequested"), None, "{status} {said}");
    }
    assert_eq!(*asked.lock().unwrap(), vec![json!(CALLER); 4]);
    for status in ["ABORTED", "TIMED_OUT"] {
        *answer.lock().unwrap() = (200, json!({"status": status}));
        let timer = stack.sqs.sent().into_iter().rfind(|look| look.json()["_look"]["purpose"] == "timer").unwrap();
        assert!(deliver(&function, &timer).await);
        assert_eq!(row_of(&stack)["cancelRequested"], true);
    }
    assert_eq!(asked.lock().unwrap().len(), 5, "a run that is cancelled already is not asked for");
    let cancel = stack.sqs.sent().into_iter().find(|look| look.json()["_look"]["purpose"] == "cancel").unwrap();
    assert_eq!(cancel.delay_seconds, 60);
    assert!(deliver(&function, &cancel).await);
    assert_eq!(row_of(&stack)["status"], "cancelled");
}

/// A redriven execution starts its tasks anew, so nobody waits for those of before.
#[tokio::test]
async fn a_look_ends_the_run_of_before_a_redrive() {
    for (redriven, is_asked) in [(1_767_225_600.5, Value::Null), (4_102_444_800.5, json!(true))] {
        let said = json!({"status": "RUNNING", "redriveCount": 1, "redriveDate": redriven});
        let (url, _) = step_functions(Arc::new(Mutex::new((200, said)))).await;
        let (stack, function, _) = waiting_with(&[("AWS_ENDPOINT_URL_SFN", &url)]).await;
        assert!(deliver(&function, &last_look(&stack)).await);
        assert_eq!(row_of(&stack)["cancelRequested"], is_asked, "{redriven}");
    }
}

/// A session that the trigger gave may be somebody's chat.
#[tokio::test]
async fn the_end_of_a_run_in_a_session_that_was_given_does_not_stop_it() {
    for is_cancelled in [false, true] {
        let stack = stack().await;
        let url = format!("{}/runtimes/{RUNTIME}/invocations?qualifier=v1", stack.agent.url());
        let function = stack.function(&[REPORT_URL, support::lease(1), ("AGENT_API_URL", &url)]).await;
        let given = "a-session-that-somebody-chats-in-already";
        let fire = fire_with(&json!({"detached": settings(), "sessionId": given}));
        let row = assert_left(&stack, &function.invoke(fire).await);
        assert_eq!(row["sessionId"], given);
        let (status, end) = if is_cancelled { ("failed", "cancelled") } else { ("completed", "completed") };
        if is_cancelled {
            // As `overlap: "cancelOther"` asks, whose run works in the trigger's session by the time of the look.
            update(&stack, &json!({"cancelRequested": true}));
        }
        assert_eq!(reports(&stack, &function, json!({"status": status})).await.0, 200);
        assert_eq!(execution(&stack)["status"], end);
        for look in stack.sqs.sent() {
            assert!(deliver(&function, &look).await);
        }
        assert_eq!(stack.agent.stops().len(), 0, "{end}");
    }
}
