//! The services around the control plane, its items, and requests to it over both edges.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_trigger::clients::http::Clients;
use futures_util::{StreamExt, stream};
use reqwest::Client;
use serde_json::{Value, json};
use standins::lambda_api::FUNCTION_ARN;
use standins::stack::Env;
use standins::{
    Function, Invocation, Outcome, RuntimeApi, SCHEDULE_GROUP, SCHEDULER_ROLE, Scheduler, Stack, StoreRequest,
};

/// The number of the user's triggers.
pub(crate) const TRIGGERS: usize = 100;
/// The number of executions of the first trigger, and of each other one.
const EXECUTIONS: [u64; 2] = [200, 10];
/// The most queries that the control plane has in flight (`MOST_IN_FLIGHT` in api/src/executions/across.rs).
const IN_FLIGHT: usize = 16;
/// The length of a prompt and of an answer, in bytes.
const LENGTHS: [usize; 2] = [500, 2048];
const USER: &str = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";
const KEY: &str = "a-key-of-the-local-port";

/// The stand-ins, and the environment of the control plane.
pub(crate) struct Services {
    pub(crate) stack: Stack,
    pub(crate) env: Env,
    program: PathBuf,
    client: Client,
    _scheduler: Scheduler,
}

impl Services {
    pub(crate) async fn start(program: &Path) -> Self {
        let (stack, scheduler) = (Stack::start().await, Scheduler::start().await.expect("loopback has a free port"));
        // A table without stream and index takes as long for a query however many writes there were.
        stack.dynamodb.without_index_and_stream();
        let url = scheduler.url();
        let mut env = stack.env();
        let own = [
            ("AWS_ENDPOINT_URL_SCHEDULER", url.as_str()),
            ("RUN_FUNCTION_ARN", FUNCTION_ARN),
            ("SCHEDULE_GROUP_NAME", SCHEDULE_GROUP),
            ("SCHEDULER_ROLE_ARN", SCHEDULER_ROLE),
            ("SCHEDULE_DLQ_ARN", "arn:aws:sqs:us-east-1:123456789012:failed"),
            ("RUN_CLIENT_ID", "run-function-client"),
            ("EVENT_SOURCES", r#"[{"id": "aws-s3", "name": "Uploads", "description": "Objects"}]"#),
        ];
        env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let client = Clients::direct(None).expect("the client is built").aws;
        Self { stack, env, program: program.to_owned(), client, _scheduler: scheduler }
    }

    /// Makes triggers through the control plane itself, and stores executions of each. Returns the id of the trigger with
    /// the most.
    pub(crate) async fn fill(&self) -> String {
        let port = self.port().await;
        let schedules = ["cron(0 9 ? * MON-FRI *)", "rate(1 hour)", "cron(0 18 L * ? *)"];
        let mut busy = String::new();
        for n in 0..TRIGGERS {
            let mut trigger = json!({"name": format!("Report {n}"), "description": "For the team", "agentId": "agent-1",
                "prompt": "p".repeat(LENGTHS[0]), "modelId": "model-1", "enabledTools": ["s3-list-files"]});
            match schedules.get(n % 4) {
                Some(expression) => {
                    trigger["type"] = "schedule".into();
                    trigger["scheduleConfig"] = json!({"expression": expression, "timezone": "Europe/Berlin"});
                }
                None => {
                    trigger["type"] = "event".into();
                    trigger["eventConfig"] = json!({"eventSourceId": "aws-s3"});
                }
            }
            let answer = port.post("/triggers", &trigger).await;
            let id = answer["trigger"]["id"].as_str().unwrap_or_else(|| panic!("{answer:#}"));
            for k in 0..EXECUTIONS[usize::from(n > 0)] {
                self.execute(id, k * 1000 + n as u64);
            }
            if n == 0 {
                id.clone_into(&mut busy);
            }
        }
        busy
    }

    /// Stores an execution that began `minute` minutes after the start of 2026.
    fn execute(&self, trigger_id: &str, minute: u64) {
        let millis = 1_767_225_600_000 + minute * 60_000;
        let id = uuid::Builder::from_unix_timestamp_millis(
            millis,
            uuid::Uuid::new_v4().as_bytes()[..10].try_into().expect("there are 16 bytes"),
        )
        .into_uuid()
        .to_string();
        self.stack.dynamodb.put_item(&json!({"PK": format!("TRIGGER#{trigger_id}"), "SK": format!("EXECUTION#{id}"),
            "triggerId": trigger_id, "executionId": id, "userId": USER, "agentId": "agent-1", "status": "completed",
            "startedAt": "2026-01-01T00:00:00.000Z", "completedAt": "2026-01-01T00:01:00.000Z", "durationMs": 60_000,
            "ttl": 4_000_000_000_u64, "owner": "o", "leaseUntil": 1, "attempt": 1, "stored": true, "chunkCount": 17,
            "sessionId": format!("session-{id}"), "output": "a".repeat(LENGTHS[1])}));
    }

    /// Starts the control plane as Lambda does.
    pub(crate) async fn lambda(&self) -> Edge {
        self.edge(&[]).await
    }

    /// Starts the control plane on a local port.
    pub(crate) async fn port(&self) -> Edge {
        let mut edge = self.edge(&[("LOCAL_PORT", "0"), ("LOCAL_USER_ID", USER), ("LOCAL_KEY", KEY)]).await;
        let line = edge.process.wait_for_log("listening on ", Duration::from_secs(10)).await.expect("it listens");
        edge.url = line.split_once("listening on ").map(|(_, url)| url.to_owned());
        edge
    }

    async fn edge(&self, more: &[(&str, &str)]) -> Edge {
        let api = RuntimeApi::start().await;
        let mut env = self.env.clone();
        env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process = Function::spawn(&self.program, &env, &api).expect("the program starts");
        Edge { process, api, url: None, client: self.client.clone() }
    }

    /// Sends the table these requests again, as many at once as the control plane does, and reads the answers.
    pub(crate) async fn replay(&self, requests: &[StoreRequest]) {
        let sent = requests.iter().map(|request| {
            let sent = self.client.post(self.stack.dynamodb.url());
            let sent = sent
                .header("content-type", "application/x-amz-json-1.0")
                .header("x-amz-target", format!("DynamoDB_20120810.{}", request.operation))
                .header("x-amz-date", "20260101T000000Z")
                .header("authorization", AUTHORIZATION)
                .body(request.body.clone());
            async {
                let answer = sent.send().await.expect("the table answers");
                assert!(answer.status().is_success());
                answer.bytes().await.expect("the answer is whole")
            }
        });
        stream::iter(sent).buffered(IN_FLIGHT).for_each(|_| std::future::ready(())).await;
    }
}

const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=standin/20260101/us-east-1/dynamodb/aws4_request, \
                             SignedHeaders=host, Signature=0";

/// A process of the control plane.
pub(crate) struct Edge {
    pub(crate) process: Function,
    api: RuntimeApi,
    /// The address of the local port. None on Lambda.
    url: Option<String>,
    client: Client,
}

impl Edge {
    /// Asks for a path.
    ///
    /// # Panics
    /// If the answer is no JSON of status 200.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let text = match &self.url {
            Some(url) => {
                let sent = self.client.get(format!("{url}{path}")).bearer_auth(KEY).send().await;
                sent.expect("it answers").text().await.expect("the answer is whole")
            }
            None => match self.api.invoke(Invocation::event(&event(path))).await {
                Outcome::Success(answer) => answer["body"].as_str().unwrap_or_default().to_owned(),
                other => panic!("{other:?}: {:#?}", self.process.logs()),
            },
        };
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"))
    }

    /// Sends JSON to a path of the local port.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let url = self.url.as_deref().unwrap_or_default();
        let sent = self.client.post(format!("{url}{path}")).bearer_auth(KEY);
        let sent = sent.header("content-type", "application/json").body(body.to_string()).send().await;
        let text = sent.expect("it answers").text().await.expect("the answer is whole");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"))
    }
}

/// Returns an event of API Gateway (payload format 2.0) for a GET of the user.
fn event(path: &str) -> Value {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let claims = json!({"sub": USER, "username": USER, "client_id": "web", "token_use": "access", "scope": "openid"});
    json!({"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
        "headers": {"content-type": "application/json", "host": "api.example.com", "authorization": "Bearer a-token"},
        "requestContext": {"accountId": "123456789012", "apiId": "api", "domainName": "api.example.com",
            "domainPrefix": "api", "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1",
            "sourceIp": "192.0.2.1", "userAgent": "bench"}, "requestId": "gateway-request", "routeKey": "$default",
            "stage": "$default", "time": "27/Nov/2026:00:00:00 +0000", "timeEpoch": 1_795_737_600_000_u64,
            "authorizer": {"jwt": {"claims": claims, "scopes": null}}},
        "isBase64Encoded": false})
}
