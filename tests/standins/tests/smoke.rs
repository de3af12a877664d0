//! Checks over real sockets that the stand-ins behave as the real services do.

use std::time::Duration;

use serde_json::{Value, json};
use standins::cognito::{CLIENT_ID, USER_POOL_ID};
use standins::{
    Cognito, CognitoOperation, DynamoDb, Fault, Framing, Function, Gate, Invocation, Outcome, Rule, RuntimeApi, Script,
    Stack, Step, TABLE, TokenAnswer,
};

async fn store(db: &DynamoDb, operation: &str, body: Value) -> reqwest::Result<(u16, Value)> {
    let client = crate::client();
    let response = client
        .post(db.url())
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("x-amz-date", "20260101T000000Z")
        .header("authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=0")
        .timeout(Duration::from_secs(60))
        .body(body.to_string())
        .send()
        .await?;
    Ok((response.status().as_u16(), response.json().await?))
}

fn claim(sk: &str, owner: &str) -> Value {
    json!({"TableName": TABLE, "Key": {"PK": {"S": "TRIGGER#t"}, "SK": {"S": sk}},
        "UpdateExpression": "SET #o = :o", "ConditionExpression": "attribute_not_exists(PK)",
        "ExpressionAttributeNames": {"#o": "owner"}, "ExpressionAttributeValues": {":o": {"S": owner}},
        "ReturnValues": "ALL_NEW", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"})
}

#[tokio::test]
async fn a_refused_condition_returns_the_old_item() {
    let db = DynamoDb::start().await;
    let (status, _) = store(&db, "UpdateItem", claim("EXECUTION#1", "first")).await.unwrap();
    assert_eq!(status, 200);
    let (status, refused) = store(&db, "UpdateItem", claim("EXECUTION#1", "second")).await.unwrap();
    assert_eq!(status, 400);
    assert_eq!(refused["__type"], "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException");
    assert_eq!(refused["Item"]["owner"]["S"], "first");
    let put = json!({"TableName": TABLE, "Item": {"PK": {"S": "TRIGGER#t"}, "SK": {"S": "EXECUTION#1"}},
        "ConditionExpression": "attribute_not_exists(PK)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"});
    let (status, refused) = store(&db, "PutItem", put).await.unwrap();
    assert_eq!((status, &refused["Item"]["owner"]["S"]), (400, &json!("first")));
    assert_eq!(db.count("UpdateItem"), 2);
    assert_eq!(db.count_for("PutItem", "EXECUTION#"), 1);
}

#[tokio::test]
async fn one_of_many_concurrent_claims_wins() {
    let db = DynamoDb::start().await;
    let claims = (0..50).map(|i| store(&db, "UpdateItem", claim("EXECUTION#1", &i.to_string())));
    let mut won = 0;
    for answer in join_all(claims).await {
        won += usize::from(answer.unwrap().0 == 200);
    }
    assert_eq!(won, 1);
}

async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[tokio::test]
async fn reads_and_writes_plain_items() {
    let db = DynamoDb::start().await;
    let expired = json!({"PK": "TRIGGER#t", "SK": "EXECUTION#1", "status": "failed", "ttl": 1, "usage": {"n": 2}});
    db.put_item(&expired);
    assert_eq!(db.item("TRIGGER#t", "EXECUTION#1"), Some(expired), "an expired row stays, as in DynamoDB for days");
    db.update("TRIGGER#t", "EXECUTION#1", &json!({"status": "running", "ttl": null, "cancelRequested": true}));
    assert_eq!(
        db.executions("t"),
        [
            json!({"PK": "TRIGGER#t", "SK": "EXECUTION#1", "status": "running", "cancelRequested": true, "usage": {"n": 2}})
        ]
    );
    assert_eq!(db.scan().len(), 1);
    db.delete("TRIGGER#t", "EXECUTION#1");
    assert_eq!(db.item("TRIGGER#t", "EXECUTION#1"), None);
    db.delete_table();
    let (status, missing) = store(&db, "UpdateItem", claim("EXECUTION#1", "x")).await.unwrap();
    assert_eq!(status, 400);
    assert_eq!(missing["__type"], "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException");
}

#[tokio::test]
async fn plays_faults_of_the_store() {
    let db = DynamoDb::start().await;
    let throttled = db.inject(Rule::new("UpdateItem", Fault::Throttle).containing("EXECUTION#1").after(1).once());
    assert_eq!(store(&db, "UpdateItem", claim("EXECUTION#1", "a")).await.unwrap().0, 200);
    let (status, answer) = store(&db, "UpdateItem", claim("EXECUTION#1", "a")).await.unwrap();
    assert_eq!(status, 400);
    assert!(answer["__type"].as_str().unwrap().ends_with("#ProvisionedThroughputExceededException"));
    assert_eq!(throttled.hits(), 1);

    db.inject(Rule::any(Fault::ApplyThenLose).containing("EXECUTION#2"));
    assert!(store(&db, "UpdateItem", claim("EXECUTION#2", "a")).await.is_err());
    assert_eq!(db.item("TRIGGER#t", "EXECUTION#2").unwrap()["owner"], "a");
    db.clear_faults();
    db.inject(Rule::any(Fault::Reset).containing("EXECUTION#3").once());
    assert!(store(&db, "UpdateItem", claim("EXECUTION#3", "a")).await.is_err());
    assert_eq!(db.item("TRIGGER#t", "EXECUTION#3"), None);

    let gate = Gate::new();
    db.inject(Rule::any(Fault::GateBefore(gate.clone())));
    tokio::select! {
        answered = store(&db, "UpdateItem", claim("EXECUTION#4", "a")) => panic!("it must wait: {answered:?}"),
        // The client gives up.
        () = gate.reached() => {}
    }
    gate.release();
    db.wait_for_execution("t", Duration::from_secs(60), |e| e["SK"] == "EXECUTION#4").await;
}

#[tokio::test]
async fn cognito_checks_what_it_is_sent() {
    let cognito = Cognito::start().await;
    let client = crate::client();
    let ask = async |secret: &str, form: &[(&str, &str)]| {
        let url = format!("{}/oauth2/token", cognito.url());
        let response = client.post(url).basic_auth(CLIENT_ID, Some(secret)).form(form).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.unwrap_or_default())
    };
    let good = [("grant_type", "client_credentials"), ("scope", "agent/invoke")];
    let (status, token) = ask(&cognito.secret(), &good).await;
    assert_eq!((status, &token["token_type"], &token["expires_in"]), (200, &json!("Bearer"), &json!(3600)));
    assert!(cognito.issuer().accepts(token["access_token"].as_str().unwrap()));
    assert_eq!(cognito.token_requests()[0].form["scope"], "agent/invoke");
    assert_eq!(ask("wrong", &good).await, (400, json!({"error": "invalid_client"})));
    assert_eq!(ask(&cognito.secret(), &[]).await.1["error"], "invalid_request");
    assert_eq!(ask(&cognito.secret(), &[("grant_type", "password")]).await.1["error"], "unsupported_grant_type");
    let old = cognito.secret();
    let new = cognito.rotate_secret();
    assert_eq!(ask(&old, &good).await.0, 400);
    cognito.answer_next(CognitoOperation::Token, [TokenAnswer::Status(429), TokenAnswer::Reset]);
    assert_eq!(ask(&new, &good).await.0, 429);
    assert!(client.post(format!("{}/oauth2/token", cognito.url())).send().await.is_err());
    assert_eq!(ask(&new, &good).await.0, 200);
    assert_eq!(cognito.count(CognitoOperation::Token), 8);
    assert_eq!(cognito.issued_tokens().len(), 2);

    let api = async |operation: &str, body: Value| {
        let target = format!("AWSCognitoIdentityProviderService.{operation}");
        let request = client.post(cognito.url()).header("x-amz-target", target).json(&body);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    cognito.set_domains(None, Some("auth.example.com"));
    let pool = api("DescribeUserPool", json!({"UserPoolId": USER_POOL_ID})).await;
    assert_eq!(
        (&pool["UserPool"]["CustomDomain"], &pool["UserPool"]["Domain"]),
        (&json!("auth.example.com"), &Value::Null)
    );
    let described = api("DescribeUserPoolClient", json!({"UserPoolId": USER_POOL_ID, "ClientId": CLIENT_ID})).await;
    assert_eq!(described["UserPoolClient"]["ClientSecret"], new);
    let direct = json!({"ClientId": CLIENT_ID, "Secret": new});
    assert_eq!(api("GetClientToken", direct.clone()).await["__type"], "OperationNotEnabledException");
    cognito.set_auth_flows(&["ALLOW_CLIENT_TOKEN_AUTH"]);
    let token = api("GetClientToken", direct).await;
    assert!(cognito.issuer().accepts(token["ClientAuthenticationResult"]["AccessToken"].as_str().unwrap()));
}

async fn call(stack: &Stack, prompt: &str) -> reqwest::Result<(u16, Vec<u8>)> {
    let request = crate::client()
        .post(format!("{}/invocations?qualifier=DEFAULT", stack.agent.url()))
        .json(&json!({"prompt": prompt, "agentId": "a", "sessionId": "s"}));
    let response = request.send().await?;
    Ok((response.status().as_u16(), response.bytes().await?.to_vec()))
}

async fn open_stack() -> Stack {
    let stack = Stack::start().await;
    stack.agent.accept_any_bearer();
    stack
}

#[tokio::test]
async fn the_agent_streams_by_script() {
    let stack = open_stack().await;
    stack.agent.on_prompt("fail", Script::server_error_event("no such bucket"));
    let (status, body) = call(&stack, "go").await.unwrap();
    let body = String::from_utf8(body).unwrap();
    let seen = &stack.agent.calls()[0];
    assert_eq!(status, 200);
    let last: Value = serde_json::from_str(body.lines().last().unwrap()).unwrap();
    assert_eq!(last["metadata"]["requestId"], seen.request_id.as_str());
    assert_eq!(last["metadata"]["sessionId"], "s");
    assert!(seen.finished && !seen.client_left);
    assert_eq!((seen.bytes_sent, seen.note.as_str()), (body.len() as u64, "answering"));
    let (status, body) = call(&stack, "please fail").await.unwrap();
    assert_eq!(status, 200);
    assert!(String::from_utf8(body).unwrap().lines().last().unwrap().contains("no such bucket"));
    assert_eq!(stack.agent.calls_for_prompt("go"), 1);
    assert_eq!(stack.agent.calls_for_session("s"), 2);
}

#[tokio::test]
async fn the_agent_tears_connections() {
    let stack = open_stack().await;
    for framing in [Framing::Chunked, Framing::ContentLength] {
        for tear in [Step::Fin, Step::Rst] {
            stack.agent.queue(Script::ndjson_happy("answer").framing(framing).midway(tear));
            assert!(call(&stack, "x").await.is_err());
        }
    }
    stack.agent.queue(Script::reset_before_head());
    assert!(call(&stack, "x").await.is_err());
    stack.agent.queue(Script::sse_happy("answer").framing(Framing::CloseDelimited));
    assert_eq!(call(&stack, "x").await.unwrap().0, 200);
    stack.agent.queue(Script::hang_before_head());
    let calls = stack.agent.call_count() + 1;
    tokio::select! {
        answered = call(&stack, "x") => panic!("it must not answer: {answered:?}"),
        _ = stack.agent.wait_for_calls(calls) => {}
    }
    stack.agent.wait_until("the client's leaving", |calls| calls.last().is_some_and(|c| c.client_left)).await;
}

#[tokio::test]
async fn the_agent_sends_much() {
    let stack = open_stack().await;
    stack.agent.queue(Script::large("answer", 1000, 50_000));
    let (_, body) = call(&stack, "x").await.unwrap();
    assert!(body.len() > 50_000_000);
    assert!(stack.agent.calls()[0].events_sent > 50_000);
}

#[tokio::test]
async fn the_agent_wants_a_token_of_cognito() {
    let stack = Stack::start().await;
    assert_eq!(call(&stack, "x").await.unwrap().0, 401);
}

#[tokio::test]
async fn the_runtime_api_delivers_and_tells() {
    let api = RuntimeApi::start().await;
    let base = format!("http://{}/2018-06-01/runtime/invocation", api.authority());
    let client = crate::client();
    let twin = |payload: &str| Invocation::new(payload).request_id("one").trace_id("Root=1-2-3");
    let first = api.invoke(twin("not JSON"));
    let second = api.invoke(twin("{}"));
    let function = async {
        let mut deliveries = Vec::new();
        for payload in ["not JSON", "{}"] {
            let next = client.get(format!("{base}/next")).send().await.unwrap();
            assert_eq!(next.headers()["lambda-runtime-aws-request-id"], "one");
            assert_eq!(next.headers()["lambda-runtime-trace-id"], "Root=1-2-3");
            deliveries.push(next.headers()["lambda-runtime-invocation-id"].clone());
            assert_eq!(next.text().await.unwrap(), payload);
        }
        let error = json!({"errorType": "InvalidEvent", "errorMessage": "{\"statusCode\":400}"});
        let answers = [("error", error, &deliveries[0]), ("response", json!({"statusCode": 200}), &deliveries[1])];
        for (kind, body, delivery) in answers.into_iter().rev() {
            let post = client.post(format!("{base}/one/{kind}")).header("lambda-runtime-invocation-id", delivery);
            assert_eq!(post.json(&body).send().await.unwrap().status(), 202);
        }
    };
    let (first, second, ()) = tokio::join!(first, second, function);
    assert_eq!(first.error_type(), "InvalidEvent");
    assert_eq!(first.body()["statusCode"], 400);
    assert_eq!(second, Outcome::Success(json!({"statusCode": 200})));
    let late = api.invoke(Invocation::new("{}").timeout(Duration::from_millis(50)));
    let (late, _) = tokio::join!(late, client.get(format!("{base}/next")).send());
    assert_eq!(late, Outcome::TimedOut);
}

#[tokio::test]
async fn a_function_process_can_be_watched_and_killed() {
    use std::os::unix::fs::PermissionsExt;
    let script = std::env::temp_dir().join(format!("standins-function-{}", std::process::id()));
    std::fs::write(
        &script,
        "#!/bin/sh\necho \"up at $AWS_LAMBDA_RUNTIME_API with [$HOME]\"\necho oops >&2\nexec /bin/sleep 60\n",
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let api = RuntimeApi::start().await;
    let function = Function::spawn(&script, &[("X".to_owned(), "y".to_owned())].into(), &api).unwrap();
    let limit = Duration::from_secs(10);
    let up = function.wait_for_log("up at", limit).await.unwrap();
    assert_eq!(up, format!("up at {} with []", api.authority()), "the environment is only what was given");
    assert!(function.wait_for_log("oops", limit).await.is_some());
    assert!(function.peak_rss_kib().unwrap() > 0);
    function.freeze();
    function.thaw();
    let invoked = api.invoke(Invocation::new("{}"));
    let killed = async {
        function.kill();
        function.wait_exit(limit).await.unwrap()
    };
    let (outcome, status) = tokio::join!(invoked, killed);
    assert_eq!(outcome, Outcome::Died);
    assert!(!status.success());
    std::fs::remove_file(script).unwrap();
}

#[test]
#[should_panic(expected = "leaked")]
fn a_leak_is_found() {
    standins::assert_no_secrets(&["standin-token-1".to_owned()], &["bearer standin-token-1".to_owned()], &[]);
}
