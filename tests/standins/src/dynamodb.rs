//! DynamoDB: dynoxide in memory, behind a front that plays faults and keeps count.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use dynoxide::Database;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::task::AbortHandle;

use crate::faults::{Fault, Injected, Rule};
use crate::items::{unwrap_item, wrap, wrap_map};
use crate::net::{ANY_PORT, Server, drop_connection};

/// The only table there is, with the keys and the TTL attribute of template.yaml.
pub const TABLE: &str = "standin-triggers";

/// A request that came to the front, befallen by a fault or not.
#[derive(Clone, Debug)]
pub struct StoreRequest {
    /// `UpdateItem`, `GetItem`, …
    pub operation: String,
    /// The body as it came.
    pub body: String,
    /// When it came.
    pub at: SystemTime,
}

impl StoreRequest {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// A string of the request's key (`PK` or `SK`), or `""`.
    pub fn key(&self, name: &str) -> String {
        let body = self.json();
        let of = |member: &str| body[member][name]["S"].as_str().map(str::to_owned);
        of("Key").or_else(|| of("Item")).unwrap_or_default()
    }
}

struct Front {
    inner: String,
    client: Client<HttpConnector, Full<Bytes>>,
    rules: Mutex<Vec<Injected>>,
    requests: Mutex<Vec<StoreRequest>>,
}

/// The stand-in for DynamoDB.
pub struct DynamoDb {
    database: Database,
    front: Arc<Front>,
    server: Server,
    inner: AbortHandle,
}

impl DynamoDb {
    /// Listens on a free port, with the table made.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub async fn start() -> Self {
        Self::bind(ANY_PORT).await.expect("loopback has a free port")
    }

    /// Listens on `addr`, with the table made.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let database = Database::memory().map_err(io::Error::other)?;
        let listener = tokio::net::TcpListener::bind(ANY_PORT).await?;
        let front = Arc::new(Front {
            inner: format!("http://{}/", listener.local_addr()?),
            client: Client::builder(TokioExecutor::new()).build_http(),
            rules: Mutex::default(),
            requests: Mutex::default(),
        });
        let router = Router::new()
            .route("/", post(serve))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&front));
        let server = Server::start_http(addr, router).await?;
        let inner = tokio::spawn(dynoxide::server::serve_on(listener, database.clone())).abort_handle();
        let this = Self { database, front, server, inner };
        this.create_table();
        Ok(this)
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    // Faults and what came.

    /// Puts a rule in force; where several match, the first injected decides.
    pub fn inject(&self, rule: Rule) -> Injected {
        let injected = Injected::new(rule);
        lock(&self.front.rules).push(injected.clone());
        injected
    }

    /// Takes every rule away.
    pub fn clear_faults(&self) {
        lock(&self.front.rules).clear();
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<StoreRequest> {
        lock(&self.front.requests).clone()
    }

    /// How many requests of this operation came, faulted ones too.
    pub fn count(&self, operation: &str) -> usize {
        lock(&self.front.requests).iter().filter(|r| r.operation == operation).count()
    }

    /// How many requests of this operation came for keys whose `PK` or `SK` starts so.
    pub fn count_for(&self, operation: &str, prefix: &str) -> usize {
        let of_key = |r: &&StoreRequest| ["PK", "SK"].iter().any(|name| r.key(name).starts_with(prefix));
        lock(&self.front.requests).iter().filter(|r| r.operation == operation).filter(of_key).count()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        lock(&self.front.requests).clear();
    }

    // The table itself, past the front.

    /// Makes the table; there already unless [`DynamoDb::delete_table`] was called.
    pub fn create_table(&self) {
        let key = |name, kind| json!({"AttributeName": name, "KeyType": kind});
        let request = json!({"TableName": TABLE, "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [key("PK", "HASH"), key("SK", "RANGE")],
            "AttributeDefinitions": [{"AttributeName": "PK", "AttributeType": "S"},
                {"AttributeName": "SK", "AttributeType": "S"}]});
        self.database.create_table(parse(request)).expect("the table's definition is valid");
        let ttl = json!({"TableName": TABLE, "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": true}});
        self.database.update_time_to_live(parse(ttl)).expect("the table exists");
    }

    /// Drops the table with all in it.
    pub fn delete_table(&self) {
        self.database.delete_table(parse(json!({"TableName": TABLE}))).expect("the table exists");
    }

    /// An item as plain JSON.
    pub fn item(&self, pk: &str, sk: &str) -> Option<Value> {
        let found = self.database.get_item(parse(json!({"TableName": TABLE, "Key": key(pk, sk)})));
        let found = render(&found.expect("the table exists"));
        found.get("Item").filter(|item| !item.is_null()).map(unwrap_item)
    }

    /// Writes a whole item, given as plain JSON with its `PK` and `SK`.
    pub fn put_item(&self, item: &Value) {
        let item = item.as_object().map(wrap_map);
        self.database.put_item(parse(json!({"TableName": TABLE, "Item": item}))).expect("the item is valid");
    }

    /// Sets the attributes given as plain JSON and removes those given as null, of an item that may not exist yet.
    pub fn update(&self, pk: &str, sk: &str, attributes: &Value) {
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        let (mut names, mut values) = (Map::new(), Map::new());
        for (i, (name, value)) in attributes.as_object().into_iter().flatten().enumerate() {
            names.insert(format!("#{i}"), name.as_str().into());
            if value.is_null() {
                remove.push(format!("#{i}"));
            } else {
                set.push(format!("#{i} = :{i}"));
                values.insert(format!(":{i}"), wrap(value));
            }
        }
        let clause = |word, parts: &[String]| match parts {
            [] => String::new(),
            _ => format!("{word} {} ", parts.join(", ")),
        };
        let mut request = json!({"TableName": TABLE, "Key": key(pk, sk), "ExpressionAttributeNames": names,
            "UpdateExpression": format!("{}{}", clause("SET", &set), clause("REMOVE", &remove)).trim_end()});
        if !values.is_empty() {
            request["ExpressionAttributeValues"] = values.into();
        }
        self.database.update_item(parse(request)).expect("the update is valid");
    }

    /// Asks for an execution's end as anybody may: only while it runs or may run again. Tells whether it was.
    pub fn request_cancel(&self, pk: &str, sk: &str) -> bool {
        let request = json!({"TableName": TABLE, "Key": key(pk, sk), "UpdateExpression": "SET cancelRequested = :true",
            "ConditionExpression": "#status = :running OR retryable = :true",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {":true": {"BOOL": true}, ":running": {"S": "running"}}});
        self.database.update_item(parse(request)).is_ok()
    }

    /// Deletes an item.
    pub fn delete(&self, pk: &str, sk: &str) {
        let request = json!({"TableName": TABLE, "Key": key(pk, sk)});
        self.database.delete_item(parse(request)).expect("the table exists");
    }

    /// Every item as plain JSON.
    pub fn scan(&self) -> Vec<Value> {
        self.pages(json!({"TableName": TABLE}), |request| render(&self.database.scan(request).expect("valid")))
    }

    /// The executions of a trigger, oldest first.
    pub fn executions(&self, trigger_id: &str) -> Vec<Value> {
        let request = json!({"TableName": TABLE,
            "KeyConditionExpression": "PK = :pk AND begins_with(SK, :sk)",
            "ExpressionAttributeValues": {":pk": {"S": format!("TRIGGER#{trigger_id}")}, ":sk": {"S": "EXECUTION#"}}});
        self.pages(request, |request| render(&self.database.query(request).expect("valid")))
    }

    fn pages<R: DeserializeOwned>(&self, mut request: Value, read: impl Fn(R) -> Value) -> Vec<Value> {
        let mut items = Vec::new();
        loop {
            let page = read(parse(request.clone()));
            items.extend(page["Items"].as_array().into_iter().flatten().map(unwrap_item));
            match page.get("LastEvaluatedKey") {
                Some(last) if last.is_object() => request["ExclusiveStartKey"] = last.clone(),
                _ => return items,
            }
        }
    }

    /// Waits until a trigger has an execution of which `wanted` holds, and gives it.
    ///
    /// # Panics
    /// With the executions there are, after `limit`.
    pub async fn wait_for_execution(
        &self,
        trigger_id: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let end = Instant::now() + limit;
        loop {
            let executions = self.executions(trigger_id);
            if let Some(found) = executions.iter().find(|e| wanted(e)) {
                return found.clone();
            }
            assert!(Instant::now() < end, "no such execution of {trigger_id} after {limit:?}: {executions:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        self.inner.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(pk: &str, sk: &str) -> Value {
    json!({"PK": {"S": pk}, "SK": {"S": sk}})
}

fn parse<R: DeserializeOwned>(request: Value) -> R {
    serde_json::from_value(request).expect("the stand-in's own requests are well formed")
}

fn render(response: &impl Serialize) -> Value {
    serde_json::to_value(response).expect("responses are JSON")
}

async fn serve(State(front): State<Arc<Front>>, headers: HeaderMap, body: String) -> Response {
    let target = headers.get("x-amz-target").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let request = StoreRequest { operation: operation.clone(), body: body.clone(), at: SystemTime::now() };
    lock(&front.requests).push(request);
    let fault = lock(&front.rules).iter().find_map(|rule| rule.befalls(&operation, &body));
    // A task of its own: what a client gave up waiting for is still applied, as it would be behind a real network.
    let played = tokio::spawn(async move {
        let apply = async || front.apply(&headers, body).await;
        match fault {
            None => apply().await,
            Some(Fault::Throttle) => {
                error(400, "ProvisionedThroughputExceededException", "the level of throughput was exceeded")
            }
            Some(Fault::ServerError) => error(500, "InternalServerError", "internal server error"),
            Some(Fault::Deny) => error(400, "AccessDeniedException", "not authorized to perform this"),
            Some(Fault::NotFound) => error(400, "ResourceNotFoundException", "Requested resource not found"),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Reset) => drop_connection(),
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                apply().await
            }
            Some(Fault::ApplyThenLose) => {
                apply().await;
                drop_connection()
            }
            Some(Fault::ApplyThenHang) => {
                apply().await;
                std::future::pending().await
            }
            Some(Fault::GateBefore(gate)) => {
                gate.pass().await;
                apply().await
            }
            Some(Fault::GateAfter(gate)) => {
                let response = apply().await;
                gate.pass().await;
                response
            }
        }
    });
    played.await.unwrap_or_else(|_| drop_connection())
}

impl Front {
    async fn apply(&self, headers: &HeaderMap, body: String) -> Response {
        let mut request = Request::post(&self.inner);
        for name in ["content-type", "x-amz-target", "authorization", "x-amz-date"] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        let request = request.body(Full::from(body)).expect("the parts come from a valid request");
        match self.client.request(request).await {
            Ok(response) => response.map(|body| Body::new(body.map_err(axum::Error::new))),
            Err(e) => error(500, "InternalServerError", &format!("dynoxide does not answer: {e}")),
        }
    }
}

fn error(status: u16, name: &str, message: &str) -> Response {
    let space = match name {
        "AccessDeniedException" => "com.amazon.coral.service",
        _ => "com.amazonaws.dynamodb.v20120810",
    };
    let body = json!({"__type": format!("{space}#{name}"), "message": message}).to_string();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("content-type", "application/x-amz-json-1.0")], body).into_response()
}
