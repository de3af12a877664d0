//! The stand-ins around the binary that this test run built, and requests to it over both edges.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use agent_trigger::clients::http::Clients;
use agent_trigger::json::{lenient, surrogate::to_json};
use reqwest::{Client, Method};
use serde_json::{Map, Value, json};
use standins::lambda_api::FUNCTION_ARN;
use standins::stack::Env;
use standins::{Function, Invocation, Outcome, RuntimeApi, SCHEDULE_GROUP, SCHEDULER_ROLE, Scheduler, Stack};

/// Long enough for whatever a test waits for.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const USER: &str = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";
pub(crate) const STRANGER: &str = "0e984725-c51c-4bf4-9960-e1c80e27aba0";
pub(crate) const KEY: &str = "a-key-of-the-local-port";
/// The address at which the world reaches the hooks surface.
pub(crate) const HOOKS_URL: &str = "https://hooks.example.com";
/// The path of the webhooks' secrets.
pub(crate) const SECRETS: &str = "/agent-trigger/hooks/";
/// The function of the hooks surface.
pub(crate) const HOOK_FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:hooks";
/// The app client of the run function.
pub(crate) const RUN_CLIENT: &str = "run-function-client";

static CLIENT: LazyLock<Client> = LazyLock::new(|| Clients::new(None).unwrap().aws);

/// The stand-ins.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) scheduler: Scheduler,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Map<String, Value>,
    pub(crate) body: Value,
}

impl Answer {
    /// Returns the body if the answer has this status.
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:#}", self.body);
        self.body
    }

    /// Returns the paths of the fields that are wrong.
    pub(crate) fn violations(&self) -> Vec<&str> {
        assert_eq!((self.status, self.body["code"].as_str()), (400, Some("VALIDATION_ERROR")), "{:#}", self.body);
        let violations = self.body["details"]["fieldViolations"].as_array().unwrap();
        violations.iter().map(|violation| violation["field"].as_str().unwrap()).collect()
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self { stack: Stack::start().await, scheduler: Scheduler::start().await.unwrap() }
    }

    /// Returns the environment of the API.
    pub(crate) fn env(&self, overrides: &[(&str, &str)]) -> Env {
        let mut env = self.stack.env();
        env.retain(|name, _| !name.starts_with("COGNITO_") && !name.starts_with("AGENT_"));
        let scheduler = self.scheduler.url();
        let own = [
            ("AWS_ENDPOINT_URL_SCHEDULER", scheduler.as_str()),
            ("RUN_FUNCTION_ARN", FUNCTION_ARN),
            ("SCHEDULE_GROUP_NAME", SCHEDULE_GROUP),
            ("SCHEDULER_ROLE_ARN", SCHEDULER_ROLE),
            ("SCHEDULE_DLQ_ARN", "arn:aws:sqs:us-east-1:123456789012:failed"),
            ("RUN_CLIENT_ID", RUN_CLIENT),
            ("HOOKS_URL", HOOKS_URL),
            ("HOOK_SECRET_PATH", SECRETS),
            ("HOOK_FUNCTION_ARN", HOOK_FUNCTION),
            ("EVENT_SOURCES", r#"[{"id": "aws-s3", "name": "Uploads", "description": "Objects", "icon": "file"}]"#),
        ];
        env.extend(own.iter().chain(overrides).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        env
    }

    /// Starts the API on Lambda's edge.
    pub(crate) async fn lambda(&self, overrides: &[(&str, &str)]) -> OnLambda {
        let api = RuntimeApi::start().await;
        let process = Function::spawn(binary(), &self.env(overrides), &api).unwrap();
        OnLambda { api, process }
    }

    /// Starts the API on a local port.
    pub(crate) async fn port(&self) -> OnPort {
        let runtime = RuntimeApi::start().await;
        let env = self.env(&[("LOCAL_PORT", "0"), ("LOCAL_USER_ID", USER), ("LOCAL_KEY", KEY)]);
        let process = Function::spawn(binary(), &env, &runtime).unwrap();
        let line = process.wait_for_log("listening on ", LIMIT).await;
        let line = line.unwrap_or_else(|| panic!("{:#?}", process.logs()));
        let url = line.split_once("listening on ").unwrap().1.to_owned();
        OnPort { process, url, _runtime: runtime }
    }

    /// Returns a trigger's item; null if there is none.
    pub(crate) fn item(&self, id: &str) -> Value {
        self.stack.dynamodb.item(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{id}")).unwrap_or_default()
    }

    /// Returns the schedule of a trigger.
    pub(crate) fn schedule(&self, id: &str) -> Option<Value> {
        self.scheduler.schedule(&format!("trigger-{id}"))
    }

    /// Stores an execution of a trigger of the user, and returns its id.
    pub(crate) fn put_execution(&self, trigger_id: &str, at: &str, attributes: Value) -> String {
        let at: jiff::Timestamp = at.parse().unwrap();
        let bits = uuid::Uuid::new_v4().into_bytes();
        let millis = u64::try_from(at.as_millisecond()).unwrap();
        let id =
            uuid::Builder::from_unix_timestamp_millis(millis, bits[..10].try_into().unwrap()).into_uuid().to_string();
        let mut row = json!({"PK": format!("TRIGGER#{trigger_id}"), "SK": format!("EXECUTION#{id}"), "triggerId": trigger_id,
            "executionId": id, "userId": USER, "agentId": "agent-1", "status": "completed", "startedAt": at.to_string(),
            "completedAt": at.to_string(), "ttl": 4_000_000_000_u64, "owner": "o", "leaseUntil": 1, "attempt": 1,
            "output": "the answer"});
        row.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
        self.stack.dynamodb.put_item(&row);
        id
    }
}

pub(crate) fn client() -> &'static Client {
    &CLIENT
}

pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_agent-trigger-api"))
}

/// Returns the claims of an access token of a user.
pub(crate) fn claims(user: &str) -> Value {
    json!({"sub": user, "username": user, "client_id": "web", "token_use": "access", "scope": "openid",
        "iss": "https://cognito-idp.us-east-1.amazonaws.com/pool"})
}

/// The API behind API Gateway.
pub(crate) struct OnLambda {
    api: RuntimeApi,
    pub(crate) process: Function,
}

impl OnLambda {
    /// Sends a request of the user.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send_as(Some(claims(USER)), method, path, body, json!({})).await
    }

    /// Sends a request with these claims, as API Gateway would (payload format 2.0).
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
    pub(crate) async fn send_as(
        &self,
        claims: Option<Value>,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: Value,
    ) -> Answer {
        let authorizer = claims.map(|claims| json!({"jwt": {"claims": claims, "scopes": null}}));
        let event = gateway_event(authorizer, method, path, body.map(|body| body.to_string()), headers);
        let answer = self.send_event(event).await;
        crate::s0::assert_typed(method, path, &answer);
        answer
    }

    pub(crate) async fn send_event(&self, event: Value) -> Answer {
        match self.api.invoke(Invocation::event(&event)).await {
            Outcome::Success(answer) => {
                let text = answer["body"].as_str().unwrap_or_default();
                let body = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
                let status =
                    answer["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or_default();
                Answer { status, headers: answer["headers"].as_object().cloned().unwrap_or_default(), body }
            }
            other => panic!("{other:?}: {:#?}", self.process.logs()),
        }
    }
}

/// Returns an event of API Gateway.
pub(crate) fn gateway_event(
    authorizer: Option<Value>,
    method: &str,
    path: &str,
    body: Option<String>,
    headers: Value,
) -> Value {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut all = json!({"content-type": "application/json", "host": "api.example.com",
        "authorization": "Bearer a-token", "x-amzn-bedrock-agentcore-runtime-custom-id-token": "an-id-token"});
    all.as_object_mut().unwrap().extend(headers.as_object().unwrap().clone());
    let mut context = json!({"accountId": "123456789012", "apiId": "api", "domainName": "api.example.com",
        "domainPrefix": "api", "http": {"method": method, "path": path, "protocol": "HTTP/1.1",
        "sourceIp": "192.0.2.1", "userAgent": "test"}, "requestId": "gateway-request", "routeKey": "$default",
        "stage": "$default", "time": "27/Nov/2026:00:00:00 +0000", "timeEpoch": 1_795_737_600_000_u64});
    if let Some(authorizer) = authorizer {
        context["authorizer"] = authorizer;
    }
    json!({"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": all,
        "requestContext": context, "body": body, "isBase64Encoded": false})
}

/// The API on a port of this machine.
pub(crate) struct OnPort {
    pub(crate) process: Function,
    pub(crate) url: String,
    _runtime: RuntimeApi,
}

impl OnPort {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.try_send(method, path, body, &[])
            .await
            .unwrap_or_else(|error| panic!("{error}: {:#?}", self.process.logs()))
    }

    /// Sends a request, with these headers beside the key and the content type. An empty value leaves one out.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> reqwest::Result<Answer> {
        let bearer = format!("Bearer {KEY}");
        let mut request = CLIENT.request(method.clone(), format!("{}{path}", self.url)).timeout(LIMIT);
        for (name, value) in [("authorization", bearer.as_str()), ("content-type", "application/json")] {
            if !headers.iter().any(|(given, _)| *given == name) {
                request = request.header(name, value);
            }
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(to_json(&body));
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap()))).collect();
        let text = response.text().await?;
        let answer = Answer { status, headers, body: lenient::parse(&text).unwrap_or_else(|_| json!(text)) };
        crate::s0::assert_typed(method.as_str(), path, &answer);
        Ok(answer)
    }

    /// Creates a trigger and returns it.
    pub(crate) async fn create(&self, body: Value) -> Value {
        self.post("/triggers", body).await.expect(201)["trigger"].clone()
    }
}

/// Returns a request for a scheduled trigger, as the frontend sends it.
pub(crate) fn scheduled() -> Value {
    json!({"name": "Daily report", "description": "For the team", "type": "schedule", "agentId": "agent-1",
        "prompt": "Write the daily report", "modelId": "model-1", "reasoningEffort": "low", "workingDirectory": "/work",
        "enabledTools": ["s3-list-files"], "scheduleConfig": {"expression": "0 9 ? * MON-FRI *", "timezone": "Europe/Berlin"}})
}

/// Returns a request for an event trigger, as the frontend sends it.
pub(crate) fn subscribed() -> Value {
    json!({"name": "Uploads", "type": "event", "agentId": "agent-1", "prompt": "Look at {{ $.detail.object.key }}",
        "eventConfig": {"eventSourceId": "aws-s3"}})
}

pub(crate) fn id(trigger: &Value) -> &str {
    trigger["id"].as_str().unwrap()
}
