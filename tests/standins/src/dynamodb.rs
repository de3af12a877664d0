//! The stand-in for DynamoDB: dynoxide in memory, behind a front that plays faults and counts requests.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dynoxide::Database;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::task::AbortHandle;

use crate::changes::Changes;
use crate::faults::{Injected, Rule};
use crate::front::Front;
pub use crate::front::StoreRequest;
use crate::items::{unwrap_item, wrap, wrap_map};
use crate::net::{ANY_PORT, Server};

/// The only table, with the keys, the index, the stream and the TTL attribute of template.yaml.
pub const TABLE: &str = "standin-triggers";
/// The agents table, which exists once it has a row.
pub const AGENTS_TABLE: &str = "standin-agents";
/// The table's index on `GSI2PK` and `GSI2SK`, which projects all attributes.
pub const INDEX: &str = "GSI2";

/// The stand-in for DynamoDB.
pub struct DynamoDb {
    database: Database,
    front: Arc<Front>,
    server: Server,
    inner: AbortHandle,
}

impl DynamoDb {
    /// Starts DynamoDB on a free port and creates the table.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub async fn start() -> Self {
        Self::bind(ANY_PORT).await.expect("loopback has a free port")
    }

    /// Starts DynamoDB on `addr` and creates the table.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let database = Database::memory().map_err(io::Error::other)?;
        let listener = tokio::net::TcpListener::bind(ANY_PORT).await?;
        let front = Arc::new(Front::new(format!("http://{}/", listener.local_addr()?)));
        let server = Server::start_http(addr, front.router()).await?;
        let inner = tokio::spawn(dynoxide::server::serve_on(listener, database.clone())).abort_handle();
        let this = Self { database, front, server, inner };
        this.create_table();
        Ok(this)
    }

    /// Returns `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    // Faults and requests.

    /// Adds a rule. If several match, the one added first decides.
    pub fn inject(&self, rule: Rule) -> Injected {
        self.front.rules.inject(rule)
    }

    /// Removes every rule.
    pub fn clear_faults(&self) {
        self.front.rules.clear();
    }

    /// From now on a Query reads at most this many items, so that a few items make several pages (DynamoDB's hold 1
    /// MB).
    pub fn page_size(&self, items: usize) {
        self.front.set_page_size(items);
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<StoreRequest> {
        self.front.requests().clone()
    }

    /// Returns the number of requests of this operation, including those with a fault.
    pub fn count(&self, operation: &str) -> usize {
        self.front.requests().iter().filter(|r| r.operation == operation).count()
    }

    /// Returns the number of requests of this operation for keys whose `PK` or `SK` begins with this text.
    pub fn count_for(&self, operation: &str, prefix: &str) -> usize {
        let starts = |r: &StoreRequest, name| r.keys(name).iter().any(|key| key.starts_with(prefix));
        let of_key = |r: &&StoreRequest| ["PK", "SK"].iter().any(|name| starts(r, name));
        self.front.requests().iter().filter(|r| r.operation == operation).filter(of_key).count()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.front.requests().clear();
    }

    // The table itself, without the front.

    /// Creates the table. It exists already unless [`DynamoDb::delete_table`] was called.
    pub fn create_table(&self) {
        self.create(json!({
            "AttributeDefinitions": strings(&["PK", "SK", "GSI2PK", "GSI2SK"]),
            "GlobalSecondaryIndexes": [{"IndexName": INDEX, "KeySchema": keys("GSI2PK", "GSI2SK"),
                "Projection": {"ProjectionType": "ALL"}}],
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        }));
        let ttl = json!({"TableName": TABLE, "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": true}});
        self.database.update_time_to_live(parse(ttl)).expect("the table exists");
    }

    /// Replaces the table by one without index and stream. Its writes do not become slower with their number, and
    /// clients do not see the difference.
    pub fn without_index_and_stream(&self) {
        self.delete_table();
        self.create(json!({"AttributeDefinitions": strings(&["PK", "SK"])}));
    }

    /// Replaces the table by one without stream. Its writes do not become slower with their number, and clients do not see
    /// the difference.
    pub fn without_stream(&self) {
        self.delete_table();
        self.create(json!({
            "AttributeDefinitions": strings(&["PK", "SK", "GSI2PK", "GSI2SK"]),
            "GlobalSecondaryIndexes": [{"IndexName": INDEX, "KeySchema": keys("GSI2PK", "GSI2SK"),
                "Projection": {"ProjectionType": "ALL"}}],
        }));
    }

    fn create(&self, mut table: Value) {
        table["TableName"] = TABLE.into();
        table["BillingMode"] = "PAY_PER_REQUEST".into();
        table["KeySchema"] = keys("PK", "SK");
        self.database.create_table(parse(table)).expect("the table's definition is valid");
    }

    /// Creates the agents table if need be and writes rows into it, given as plain JSON with `userId` and `agentId`.
    ///
    /// # Panics
    /// If DynamoDB refuses a row.
    pub fn put_agents(&self, rows: &[Value]) {
        let table = json!({"TableName": AGENTS_TABLE, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": strings(&["userId", "agentId"]), "KeySchema": keys("userId", "agentId")});
        // It may exist.
        let _ = self.database.create_table(parse(table));
        for row in rows {
            let item = row.as_object().map(wrap_map);
            self.database.put_item(parse(json!({"TableName": AGENTS_TABLE, "Item": item}))).expect("the row is valid");
        }
    }

    /// Deletes the table with everything in it.
    pub fn delete_table(&self) {
        self.database.delete_table(parse(json!({"TableName": TABLE}))).expect("the table exists");
    }

    /// Returns an item as plain JSON.
    pub fn item(&self, pk: &str, sk: &str) -> Option<Value> {
        let found = self.database.get_item(parse(json!({"TableName": TABLE, "Key": key(pk, sk)})));
        let found = render(&found.expect("the table exists"));
        found.get("Item").filter(|item| !item.is_null()).map(unwrap_item)
    }

    /// Writes a whole item, given as plain JSON with its `PK` and `SK`.
    ///
    /// # Panics
    /// If DynamoDB refuses it.
    pub fn put_item(&self, item: &Value) {
        self.try_put_item(item).expect("the item is valid");
    }

    fn try_put_item(&self, item: &Value) -> Result<(), String> {
        let item = item.as_object().map(wrap_map);
        let put = self.database.put_item(parse(json!({"TableName": TABLE, "Item": item})));
        put.map(drop).map_err(|e| e.to_string())
    }

    /// Does the same as [`DynamoDb::try_put_trigger`].
    ///
    /// # Panics
    /// If DynamoDB refuses it.
    pub fn put_trigger(&self, trigger: &Value) {
        self.try_put_trigger(trigger).expect("the trigger is valid");
    }

    /// Writes a trigger item, given as plain JSON. Its keys are made from `id`, `userId` and
    /// `eventConfig.eventSourceId`, unless it brings keys of its own.
    ///
    /// # Errors
    /// DynamoDB's message, if it refuses the item.
    pub fn try_put_trigger(&self, trigger: &Value) -> Result<(), String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (id, user) = (text(&trigger["id"]), text(&trigger["userId"]));
        let mut item = json!({"PK": format!("TRIGGER#{user}"), "SK": format!("TRIGGER#{id}")});
        if let Some(source) = trigger["eventConfig"]["eventSourceId"].as_str() {
            item["GSI2PK"] = format!("EVENTSOURCE#{source}").into();
            item["GSI2SK"] = format!("USER#{user}#TRIGGER#{id}").into();
        }
        for (name, value) in trigger.as_object().into_iter().flatten() {
            item[name] = value.clone();
        }
        self.try_put_item(&item)
    }

    /// Sets the attributes given as plain JSON and removes those given as null. The item need not exist.
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

    /// Requests the cancellation of an execution, which is possible only while it runs or may run again. Returns true
    /// if it was possible.
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

    /// Returns a reader of the table's changes, from the first one on.
    pub fn changes(&self) -> Changes {
        Changes::new(self.database.clone())
    }

    /// Returns every item as plain JSON.
    pub fn scan(&self) -> Vec<Value> {
        self.pages(json!({"TableName": TABLE}), |request| render(&self.database.scan(request).expect("valid")))
    }

    /// Returns the executions of a trigger, oldest first.
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

    /// Waits until a trigger has an execution for which `wanted` is true, and returns it.
    ///
    /// # Panics
    /// After `limit`, with the executions there are.
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

/// The key schema of a table or an index.
fn keys(hash: &str, range: &str) -> Value {
    json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": range, "KeyType": "RANGE"}])
}

fn strings(attributes: &[&str]) -> Value {
    attributes.iter().map(|name| json!({"AttributeName": name, "AttributeType": "S"})).collect()
}

fn key(pk: &str, sk: &str) -> Value {
    json!({"PK": {"S": pk}, "SK": {"S": sk}})
}

pub(crate) fn parse<R: DeserializeOwned>(request: Value) -> R {
    serde_json::from_value(request).expect("the stand-in's own requests are well formed")
}

pub(crate) fn render(response: &impl Serialize) -> Value {
    serde_json::to_value(response).expect("responses are JSON")
}
