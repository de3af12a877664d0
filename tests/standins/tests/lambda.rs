//! Checks that the Lambda API takes events and that a pool of processes runs them as Lambda does.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};
use standins::lambda_api::{FUNCTION_ARN, FUNCTION_NAME, MAX_EVENT_BYTES};
use standins::{AsyncInvocation, Fault, Gate, Invocation, LambdaApi, Outcome, Rule, Stack};

const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0";

async fn invoke(lambda: &LambdaApi, function: &str, payload: String) -> reqwest::Result<reqwest::Response> {
    let function = function.replace(':', "%3A");
    crate::client()
        .post(format!("{}/2015-03-31/functions/{function}/invocations", lambda.url()))
        .header("authorization", SIGNED)
        .header("x-amz-invocation-type", "Event")
        .header("x-amzn-trace-id", "Root=1-2-3")
        .timeout(Duration::from_secs(60))
        .body(payload)
        .send()
        .await
}

/// Returns a function whose code is [`function_process`]: this very program, told to do nothing else.
static FUNCTION: LazyLock<PathBuf> = LazyLock::new(|| {
    let program = std::env::current_exe().expect("a running program has a path");
    let script = program.with_extension("function");
    let text = format!("#!/bin/sh\nexec '{}' --exact lambda::function_process --nocapture\n", program.display());
    // The file is renamed into place, because a file that is open for writing cannot be executed.
    let new = program.with_extension(std::process::id().to_string());
    let written = std::fs::write(&new, text)
        .and_then(|()| std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)))
        .and_then(|()| std::fs::rename(&new, &script));
    written.expect("the target directory can be written");
    script
});

async fn stack() -> Stack {
    Stack::start().await.with_binary(&*FUNCTION)
}

/// Does what its events say, if there is a Runtime API to get them from.
#[tokio::test]
async fn function_process() {
    let Ok(api) = std::env::var("AWS_LAMBDA_RUNTIME_API") else { return };
    let client = crate::client();
    let base = format!("http://{api}/2018-06-01/runtime/invocation");
    for run in 0.. {
        let next = client.get(format!("{base}/next")).send().await.unwrap();
        let text = |name: &str| next.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let (id, arn) = (text("lambda-runtime-aws-request-id"), text("lambda-runtime-invoked-function-arn"));
        let trace = text("lambda-runtime-trace-id");
        let event: Value = next.json().await.unwrap();
        if let Some(line) = event["say"].as_str() {
            eprintln!("{line}");
        }
        if event["die"] == true {
            std::process::exit(1);
        }
        tokio::time::sleep(Duration::from_millis(event["sleep"].as_u64().unwrap_or_default())).await;
        let (kind, answer) = match event["fail"].as_str() {
            Some(kind) => ("error", json!({"errorType": kind, "errorMessage": "{}"})),
            None => ("response", json!({"id": id, "arn": arn, "trace": trace, "run": run, "pid": std::process::id()})),
        };
        client.post(format!("{base}/{id}/{kind}")).json(&answer).send().await.unwrap();
    }
}

fn answer(invocation: &AsyncInvocation) -> &Value {
    let Some(Outcome::Success(answer)) = invocation.outcome() else { panic!("{invocation:?}") };
    answer
}

#[tokio::test]
async fn an_invoke_becomes_an_invocation_of_its_own() {
    let stack = stack().await;
    let response = invoke(&stack.lambda, FUNCTION_ARN, json!({"n": 1}).to_string()).await.unwrap();
    assert_eq!(response.status(), 202);
    let id = response.headers()["x-amzn-requestid"].to_str().unwrap().to_owned();
    assert_eq!(response.text().await.unwrap(), "");
    let waiting = &stack.lambda.invocations()[0];
    assert_eq!((waiting.json(), &waiting.request_id, waiting.over), (json!({"n": 1}), &id, false));
    let own = stack.invoke_async(Invocation::event(&json!({"n": 2})));

    stack.pool(2, &[]);
    stack.lambda.idle().await;
    let seen = stack.lambda.invocations();
    assert_eq!((&answer(&seen[0])["id"], &answer(&seen[0])["trace"]), (&json!(id), &json!("Root=1-2-3")));
    assert_eq!(answer(&seen[0])["arn"], FUNCTION_ARN, "what the function is told is what an Invoke takes");
    assert_eq!(answer(&seen[1])["id"], own.as_str());
    assert_eq!(stack.lambda.dispatched().len(), 1);
    assert_eq!((stack.lambda.accepted(), stack.lambda.requests()), (2, 1));
    assert!(seen.iter().all(|invocation| invocation.over));
    assert_eq!(stack.env()["AWS_ENDPOINT_URL_LAMBDA"], stack.lambda.url());
}

#[tokio::test]
async fn environments_are_used_again_and_are_no_more_than_asked_for() {
    let stack = stack().await;
    stack.pool(2, &[]);
    for _ in 0..8 {
        stack.invoke_async(Invocation::event(&json!({"sleep": 20})));
    }
    stack.lambda.idle().await;
    let seen = stack.lambda.invocations();
    let mut processes: Vec<_> = seen.iter().map(|invocation| answer(invocation)["pid"].as_u64().unwrap()).collect();
    processes.sort_unstable();
    processes.dedup();
    assert!(processes.len() <= 2, "{processes:?}");
    assert!(seen.iter().any(|invocation| answer(invocation)["run"].as_u64() > Some(2)));
}

#[tokio::test]
async fn a_failed_event_is_tried_three_times_and_then_reported() {
    let stack = stack().await;
    stack.pool(2, &[]);
    let failed = stack.invoke_async(Invocation::event(&json!({"fail": "AgentFailed"})));
    let died = stack.invoke_async(Invocation::event(&json!({"die": true})));
    stack.invoke_async(Invocation::event(&json!({})));
    let late = stack.invoke_async(Invocation::event(&json!({"sleep": 60_000})).timeout(Duration::from_millis(300)));
    stack.lambda.idle().await;
    let seen = stack.lambda.invocations();
    let kinds: Vec<_> = seen[0].outcomes.iter().map(Outcome::error_type).collect();
    assert_eq!(kinds, ["AgentFailed"; 3]);
    assert_eq!(seen[1].outcomes, [Outcome::Died, Outcome::Died, Outcome::Died]);
    assert_eq!(seen[2].outcomes.len(), 1);
    assert_eq!(seen[3].outcomes, [Outcome::TimedOut, Outcome::TimedOut, Outcome::TimedOut]);
    let failures = stack.lambda.failures();
    assert_eq!(failures.len(), 3);
    for id in [&failed, &died, &late] {
        let report = failures.iter().find(|report| report["requestContext"]["requestId"] == id.as_str()).unwrap();
        assert_eq!(report["requestContext"]["approximateInvokeCount"], 3);
        assert_eq!(report["requestContext"]["condition"], "RetriesExhausted");
    }
    stack.lambda.retries(0);
    stack.invoke_async(Invocation::event(&json!({"fail": "AgentFailed"})));
    stack.lambda.idle().await;
    assert_eq!((stack.lambda.invocations()[4].outcomes.len(), stack.lambda.failures().len()), (1, 4));
}

#[tokio::test]
async fn what_is_accepted_can_run_behind_another_invoke_api() {
    let answer = async |event: axum::Json<Value>| match event["fail"].as_str() {
        Some(kind) => Err(axum::Json(json!({"errorType": kind, "errorMessage": "no"}))),
        None => Ok(axum::Json(json!({"n": event["n"]}))),
    };
    let answer = async move |event| answer(event).await.map_err(|e| (axum::http::StatusCode::INTERNAL_SERVER_ERROR, e));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/invocations", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/invocations", axum::routing::post(answer));
    tokio::spawn(async { axum::serve(listener, router).await });

    let stack = stack().await;
    stack.lambda.retries(0);
    stack.forward(&url);
    stack.invoke_async(Invocation::event(&json!({"fail": "AgentFailed"})));
    let called = "function-arn";
    assert_eq!(invoke(&stack.lambda, called, json!({"n": 1}).to_string()).await.unwrap().status(), 202);
    stack.lambda.idle().await;
    let seen = stack.lambda.invocations();
    assert_eq!(seen[0].outcome().unwrap().error_type(), "AgentFailed");
    assert_eq!((&seen[1].outcomes[..], seen[1].dispatched), (&[Outcome::Success(json!({"n": 1}))][..], true));
}

#[tokio::test]
async fn what_nobody_listens_for_has_failed() {
    let stack = stack().await;
    stack.lambda.retries(0);
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    stack.forward(&format!("http://{free}/invocations"));
    stack.invoke_async(Invocation::event(&json!({})));
    stack.lambda.idle().await;
    assert_eq!(stack.lambda.invocations()[0].outcomes, [Outcome::Died]);
}

#[tokio::test]
async fn the_process_of_one_invocation_can_be_killed() {
    let stack = stack().await;
    stack.pool(2, &[]);
    stack.lambda.retries(0);
    let killed = stack.invoke_async(Invocation::event(&json!({"sleep": 60_000})));
    stack.invoke_async(Invocation::event(&json!({})));
    while !stack.lambda.kill(&killed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stack.lambda.idle().await;
    let seen = stack.lambda.invocations();
    assert_eq!(seen[0].outcomes, [Outcome::Died]);
    assert!(seen[1].outcome().unwrap().is_success());
    assert!(!stack.lambda.kill(&killed));
}

#[tokio::test]
async fn faults_befall_invokes() {
    let lambda = LambdaApi::start().await;
    let status = async |payload: &str| {
        let response = invoke(&lambda, FUNCTION_NAME, json!({"trigger": payload}).to_string()).await.ok()?;
        let kind = response.headers().get("x-amzn-errortype").map(|kind| kind.to_str().unwrap().to_owned());
        Some((response.status().as_u16(), kind.unwrap_or_default()))
    };
    lambda.inject(Rule::new("Invoke", Fault::Throttle).containing("t2").once());
    assert_eq!(status("t1").await, Some((202, String::new())));
    assert_eq!(status("t2").await, Some((429, "TooManyRequestsException".to_owned())));
    assert_eq!(status("t2").await, Some((202, String::new())));
    lambda.inject(Rule::any(Fault::ServerError).after(1).once());
    assert_eq!(status("t3").await.unwrap().0, 202);
    assert_eq!(status("t4").await, Some((500, "ServiceException".to_owned())));
    lambda.inject(Rule::any(Fault::Deny).once());
    assert_eq!(status("t5").await.unwrap().0, 403);
    lambda.inject(Rule::any(Fault::Reset).once());
    assert_eq!((status("t6").await, lambda.accepted()), (None, 3));
    lambda.inject(Rule::any(Fault::ApplyThenLose).once());
    assert_eq!((status("t7").await, lambda.accepted()), (None, 4), "lost, but accepted");
    let hang = lambda.inject(Rule::any(Fault::Hang));
    let arrived = async {
        while hang.hits() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        answer = status("t8") => panic!("{answer:?}"),
        () = arrived => {}
    }
    assert_eq!((hang.hits(), lambda.accepted(), lambda.requests()), (1, 4, 9));
    lambda.clear_faults();
    let (gate, before) = (Gate::new(), lambda.requests());
    lambda.inject(Rule::any(Fault::GateBefore(gate.clone())));
    let all = async { tokio::join!(status("a"), status("b"), status("c"), status("d")) };
    let release = async {
        gate.reached_by(4).await;
        gate.release();
    };
    tokio::join!(all, release);
    assert_eq!((lambda.most_in_flight(), lambda.requests() - before, lambda.accepted()), (4, 4, 8));
}

#[tokio::test]
async fn what_lambda_does_not_take_is_refused() {
    let lambda = LambdaApi::start().await;
    let refused = async |function: &str, payload: String| {
        let response = invoke(&lambda, function, payload).await.unwrap();
        (response.status().as_u16(), response.headers()["x-amzn-errortype"].to_str().unwrap().to_owned())
    };
    let largest = format!("\"{}\"", "x".repeat(MAX_EVENT_BYTES - 2));
    assert_eq!(invoke(&lambda, FUNCTION_NAME, largest.clone()).await.unwrap().status(), 202);
    assert_eq!(refused(FUNCTION_NAME, largest + " ").await, (413, "RequestTooLargeException".to_owned()));
    assert_eq!(refused(FUNCTION_NAME, "{".to_owned()).await, (400, "InvalidRequestContentException".to_owned()));
    assert_eq!(refused("another", "{}".to_owned()).await, (404, "ResourceNotFoundException".to_owned()));
    assert_eq!(refused("agent-trigger-locally", "{}".to_owned()).await.0, 404);
    let qualified = format!("{FUNCTION_ARN}:$LATEST");
    for name in [qualified.as_str(), "123456789012:function:agent-trigger-local"] {
        assert_eq!(invoke(&lambda, name, "{}".to_owned()).await.unwrap().status(), 202);
    }
    let url = format!("{}/2015-03-31/functions/{FUNCTION_NAME}/invocations", lambda.url());
    let client = crate::client();
    assert_eq!(client.post(&url).body("{}").send().await.unwrap().status(), 403);
    let waits = client.post(&url).header("authorization", SIGNED).body("{}").send().await.unwrap();
    assert_eq!((waits.status().as_u16(), lambda.accepted()), (400, 3));
}

#[tokio::test]
async fn what_a_pool_logs_is_searched_for_secrets() {
    let stack = stack().await;
    stack.pool(1, &[]);
    stack.dynamodb.put_trigger(&json!({"id": "t", "userId": "u", "prompt": "count the secret files"}));
    stack.dynamodb.put_item(&json!({"PK": "TRIGGER#t", "SK": "INPUT#1", "prompt": "count the secret files"}));
    stack.invoke_async(Invocation::event(&json!({"say": "all is well"})));
    stack.lambda.idle().await;
    stack.assert_clean();
    stack.invoke_async(Invocation::event(&json!({"say": "now to count the secret files"})));
    stack.lambda.idle().await;
    assert!(stack.leak().is_some_and(|leak| leak.contains("now to")), "{:?}", stack.leak());
}

#[tokio::test]
async fn a_prompt_may_stand_where_it_is_kept_and_a_secret_nowhere() {
    let stack = Stack::start().await;
    let trigger = json!({"id": "t", "userId": "u", "prompt": "count the secret files"});
    stack.dynamodb.put_trigger(&trigger);
    stack.assert_clean();
    stack.dynamodb.put_item(&json!({"PK": "TRIGGER#t", "SK": "EXECUTION#1", "error": "count the secret files"}));
    assert!(stack.leak().is_some_and(|leak| leak.contains("EXECUTION#1")));
    stack.dynamodb.delete("TRIGGER#t", "EXECUTION#1");
    stack.dynamodb.put_item(&json!({"PK": "TRIGGER#t", "SK": "INPUT#1", "event": stack.cognito.secret()}));
    assert!(stack.leak().is_some_and(|leak| leak.contains("INPUT#1")));
}
