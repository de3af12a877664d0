//! Reads the table.

use agent_trigger::{error_chain::causes, store::execution_item::TTL};
use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider,
    meta::credentials::CredentialsProviderChain, profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig,
};
use aws_sdk_dynamodb::{
    Client,
    config::{Credentials, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    types::AttributeValue,
};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use crate::called;
use crate::execution::Execution;
use crate::options::Which;
use crate::requests::bundle;
use crate::sdk_http::SdkHttp;
use crate::source::{Access, EnvFile, Source};

/// The time limit of one attempt. For a page of a Scan, DynamoDB first reads 1 MB.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// The region used where the region makes no difference.
const ANY_REGION: &str = "us-east-1";
/// The length of an execution's id, a UUID.
pub(crate) const WHOLE_ID: usize = 36;
/// The event source of webhooks.
pub(crate) const WEBHOOK: &str = agent_trigger_api::hooks::event::SOURCE;
/// The fewest items of a page of a query: `ttl` deletes rows late, and a page may hold nothing but expired ones.
const LEAST_PAGE: usize = 100;

/// The advice for credentials that only the AWS CLI finds, of SSO or of a process.
const EXPORT: &str =
    "those of SSO or of a process are exported by: eval \"$(aws configure export-credentials --format env)\"";

type Item = HashMap<String, AttributeValue>;

/// A client for the table.
pub(crate) struct Table {
    client: Client,
    source: Source,
    /// The region and the credentials, for the other services too.
    config: SdkConfig,
}

/// What the services that a command about a trigger needs depend on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traits {
    /// It is of type event, and was of no other since its last schedule was deleted.
    pub(crate) has_no_schedule: bool,
    /// It has a webhook.
    pub(crate) has_webhook: bool,
}

/// The executions whose id is wanted, or begins or ends with what is wanted.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// Some of them, at most [`Named::MOST`].
    pub(crate) executions: Vec<Execution>,
    /// How many there are.
    pub(crate) count: usize,
    /// The pages that were read for them.
    pub(crate) pages: u32,
    /// How many executions were searched, if there are more.
    pub(crate) cut_short_at: Option<usize>,
}

impl Named {
    /// The most executions that are kept. The others are only counted, because each may hold a long answer.
    const MOST: usize = 5;

    /// Adds an execution.
    pub(crate) fn add(&mut self, execution: Execution) {
        self.count += 1;
        if self.executions.len() < Self::MOST {
            self.executions.push(execution);
        }
    }
}

/// The newest executions, newest first.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    pub(crate) executions: Vec<Execution>,
    /// True if there are older ones.
    pub(crate) more: bool,
    /// The number of items that were read to find them.
    pub(crate) items: usize,
    /// The number of pages read, of up to 1 MB each.
    pub(crate) pages: u32,
}

impl Table {
    /// Opens the table of `source`, without sending a request to it.
    ///
    /// # Errors
    /// If there is no region, or `AWS_CA_BUNDLE` is unusable.
    pub(crate) async fn open(source: Source) -> Result<Self, String> {
        let any = Credentials::new("local", "local", None, None, "any");
        let http = SdkHttp::new(bundle().as_deref())?;
        let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http.clone());
        // Without this the SDK reads AWS_RETRY_MODE and its like, and panics at values that only other SDKs know
        // (`adaptive`).
        let loader = loader.retry_config(RetryConfig::standard());
        let provider = ProviderConfig::default().with_http_client(http);
        let profile = ProfileFileCredentialsProvider::builder().configure(&provider);
        let loader = match source.access {
            Access::Usual => loader,
            Access::EnvFile(_) => loader.region(Region::from_static(ANY_REGION)).credentials_provider(any),
            // In this order, because some local DynamoDBs keep a separate table for each access key.
            Access::UsualOrAny => loader.credentials_provider(
                CredentialsProviderChain::first_try("environment", EnvironmentVariableCredentialsProvider::new())
                    .or_else("profile", profile.build())
                    .or_else("any", any),
            ),
        };
        let config = loader.load().await;
        let region = match config.region() {
            Some(region) => region.clone(),
            None if source.access == Access::Usual => {
                return Err("no region: set AWS_REGION, or one in the AWS profile".to_owned());
            }
            None => Region::from_static(ANY_REGION),
        };
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let client = aws_sdk_dynamodb::config::Builder::from(&config).region(region.clone()).timeout_config(timeouts);
        let client = match &source.endpoint {
            Some(endpoint) => client.endpoint_url(endpoint),
            None => client,
        };
        let config = config.to_builder().region(region).build();
        Ok(Self { client: Client::from_conf(client.build()), source, config })
    }

    /// Returns the table's name.
    pub(crate) fn name(&self) -> &str {
        &self.source.table
    }

    /// Returns the region and the credentials with which the table is read.
    pub(crate) fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// Describes the table for a reader.
    pub(crate) fn described(&self) -> String {
        self.source.described(self.config.region().map(AsRef::as_ref).unwrap_or_default())
    }

    /// Returns the file that names the table, if it is that of the local run.
    pub(crate) fn env_file(&self) -> Option<&EnvFile> {
        if let Access::EnvFile(file) = &self.source.access { Some(file) } else { None }
    }

    /// Returns true if it is the table of the local run.
    pub(crate) fn is_local_run(&self) -> bool {
        self.env_file().is_some()
    }

    /// Returns the newest executions of a trigger that `which` wants. It reads no more than that takes.
    ///
    /// # Errors
    /// The message of DynamoDB and what to do about it.
    pub(crate) async fn of_trigger(&self, trigger: &str, which: &Which, now: i64) -> Result<Newest, String> {
        // One more than wanted shows whether there are older ones.
        let wanted = which.limit + 1;
        let mut newest = Newest::default();
        let mut start = None;
        loop {
            // A page of those that a filter wants is as large as it may be.
            let limit = which.status.is_empty().then(|| (wanted - newest.executions.len()).max(LEAST_PAGE));
            let query = self.client.query().table_name(&self.source.table).scan_index_forward(false);
            let page = query
                .key_condition_expression("PK = :pk AND begins_with(SK, :sk)")
                .expression_attribute_values(":pk", text(format!("TRIGGER#{trigger}")))
                .expression_attribute_values(":sk", text("EXECUTION#"))
                .set_limit(limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX)))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| self.told("Query", &error))?;
            newest.pages += 1;
            newest.items += page.items().len();
            let found: Vec<_> = page.items().iter().filter_map(|item| Execution::new(plain(item), now)).collect();
            let is_past = found.last().is_some_and(|oldest| which.is_too_old(oldest));
            newest.executions.extend(found.into_iter().filter(|execution| which.includes(execution)));
            start = page.last_evaluated_key;
            if start.is_none() || newest.executions.len() >= wanted || is_past {
                newest.cut(which.limit);
                return Ok(newest);
            }
        }
    }

    /// Returns the newest executions of all triggers that `which` wants. It reads the whole table and reports to `read`
    /// how much it has read so far.
    ///
    /// # Errors
    /// The message of DynamoDB and what to do about it.
    pub(crate) async fn of_all(&self, which: &Which, now: i64, read: impl Fn(usize)) -> Result<Newest, String> {
        let mut newest = Newest::default();
        let mut start = None;
        loop {
            let scan = self.client.scan().table_name(&self.source.table).filter_expression("begins_with(SK, :sk)");
            let page = scan
                .expression_attribute_values(":sk", text("EXECUTION#"))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| self.told("Scan", &error))?;
            newest.pages += 1;
            newest.items += usize::try_from(page.scanned_count()).unwrap_or_default();
            let found = page.items().iter().filter_map(|item| Execution::new(plain(item), now));
            newest.executions.extend(found.filter(|execution| which.includes(execution)));
            newest.cut(which.limit);
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(newest);
            }
            read(newest.items);
        }
    }

    /// Returns the executions whose id is `id`, or begins or ends with it. One is read by its key if its trigger and
    /// its whole id are known. Otherwise the trigger's rows are queried, or the table is scanned, until a whole id is
    /// found, or else to the end: a part of an id may mean several.
    ///
    /// # Errors
    /// The message of DynamoDB and what to do about it.
    pub(crate) async fn named(
        &self,
        trigger: Option<&str>,
        id: &str,
        now: i64,
        read: impl Fn(usize),
    ) -> Result<Named, String> {
        let is_whole = id.len() == WHOLE_ID;
        if let Some(trigger) = trigger.filter(|_| is_whole) {
            let get = self.client.get_item().table_name(&self.source.table);
            let get = get.key("PK", text(format!("TRIGGER#{trigger}"))).key("SK", text(format!("EXECUTION#{id}")));
            let found = get.send().await.map_err(|error| self.told("GetItem", &error))?;
            let mut named = Named { pages: 1, ..Named::default() };
            found.item.and_then(|item| Execution::new(plain(&item), now)).into_iter().for_each(|one| named.add(one));
            return Ok(named);
        }
        let (mut start, mut items, mut found) = (None, 0, Named::default());
        loop {
            let (rows, scanned, next) = match trigger {
                Some(trigger) => {
                    let query = self.client.query().table_name(&self.source.table);
                    let query = query.key_condition_expression("PK = :pk AND begins_with(SK, :sk)");
                    let query = query.expression_attribute_values(":pk", text(format!("TRIGGER#{trigger}")));
                    let query = query.expression_attribute_values(":sk", text("EXECUTION#"));
                    let page = query.set_exclusive_start_key(start).send().await;
                    let page = page.map_err(|error| self.told("Query", &error))?;
                    (page.items.unwrap_or_default(), page.scanned_count, page.last_evaluated_key)
                }
                None => {
                    let scan = self.client.scan().table_name(&self.source.table);
                    let scan = scan.filter_expression("begins_with(SK, :sk) AND contains(SK, :id)");
                    let scan = scan.expression_attribute_values(":sk", text("EXECUTION#"));
                    let scan = scan.expression_attribute_values(":id", text(id));
                    let page = scan.set_exclusive_start_key(start).send().await;
                    let page = page.map_err(|error| self.told("Scan", &error))?;
                    (page.items.unwrap_or_default(), page.scanned_count, page.last_evaluated_key)
                }
            };
            found.pages += 1;
            items += usize::try_from(scanned).unwrap_or_default();
            let rows = rows.iter().filter_map(|item| Execution::new(plain(item), now));
            rows.filter(|execution| execution.is_named(id)).for_each(|execution| found.add(execution));
            start = next;
            if start.is_none() || is_whole && found.count > 0 {
                return Ok(found);
            }
            read(items);
        }
    }

    /// Returns the users who have a trigger with this id, or any trigger at all, in the order of their ids. One whose
    /// deletion was cut short counts: its schedule is still to be deleted. The table is scanned, and `read` is told how
    /// much was read so far.
    ///
    /// # Errors
    /// The message of DynamoDB and what to do about it.
    pub(crate) async fn owners(&self, trigger: Option<&str>, read: impl Fn(usize)) -> Result<Vec<String>, String> {
        const ALIVE: &str = "(attribute_not_exists(deletedAt) OR attribute_exists(scheduleVersion))";
        let same = if trigger.is_some() { "SK = :sk" } else { "begins_with(SK, :sk)" };
        let sort_key = format!("TRIGGER#{}", trigger.unwrap_or_default());
        let (mut start, mut items, mut owners) = (None, 0, BTreeSet::new());
        loop {
            let scan = self.client.scan().table_name(&self.source.table);
            let scan = scan.filter_expression(format!("{same} AND begins_with(PK, :pk) AND {ALIVE}"));
            let scan = scan.expression_attribute_values(":sk", text(&sort_key));
            let scan = scan.expression_attribute_values(":pk", text("TRIGGER#")).projection_expression("PK");
            let page = scan.set_exclusive_start_key(start).send().await;
            let page = page.map_err(|error| self.told("Scan", &error))?;
            let keys = page.items().iter().filter_map(|item| item.get("PK")?.as_s().ok()?.strip_prefix("TRIGGER#"));
            owners.extend(keys.map(str::to_owned));
            items += usize::try_from(page.scanned_count).unwrap_or_default();
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(owners.into_iter().collect());
            }
            read(items);
        }
    }

    /// Returns what the services that a command needs depend on.
    ///
    /// # Errors
    /// The message of DynamoDB and what to do about it.
    pub(crate) async fn traits(&self, user: &str, trigger: &str) -> Result<Traits, String> {
        let get = self.client.get_item().table_name(&self.source.table);
        let get = get.key("PK", text(format!("TRIGGER#{user}"))).key("SK", text(format!("TRIGGER#{trigger}")));
        let get = get.projection_expression("#type, scheduleVersion, eventConfig.eventSourceId");
        let get = get.expression_attribute_names("#type", "type");
        let found = get.send().await.map_err(|error| self.told("GetItem", &error))?;
        let item = found.item.as_ref().map(plain).unwrap_or_default();
        let is_event = item.get("type") == Some(&Value::from("event"));
        let source = item.get("eventConfig").and_then(|config| config.get("eventSourceId"));
        Ok(Traits {
            has_no_schedule: is_event && !item.contains_key("scheduleVersion"),
            has_webhook: is_event && source == Some(&Value::from(WEBHOOK)),
        })
    }

    /// Returns whether the execution's input for a replay is kept, and until when in seconds since 1970. The input
    /// contains a prompt, which is not read.
    ///
    /// # Errors
    /// The message of DynamoDB and what to do about it.
    pub(crate) async fn input(&self, execution: &Execution, now: i64) -> Result<Option<Option<i64>>, String> {
        let get = self.client.get_item().table_name(&self.source.table);
        let get = get.key("PK", text(format!("TRIGGER#{}", execution.trigger())));
        let get = get.key("SK", text(format!("INPUT#{}", execution.id())));
        let get = get.projection_expression("PK, #ttl").expression_attribute_names("#ttl", TTL);
        let found = get.send().await.map_err(|error| self.told("GetItem", &error))?;
        let kept = found.item.and_then(|item| Execution::new(plain(&item), now));
        Ok(kept.map(|input| input.item.ttl))
    }

    /// Words an error so that a reader can act on it.
    fn told<E>(&self, operation: &str, error: &SdkError<E>) -> String
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let shown = self.described();
        if !matches!(error, SdkError::ServiceError(_)) {
            let cause = causes(error);
            if self.is_local_run() {
                let what_to_do = format!("start `{}` again, or give --table NAME", called::local_run());
                return format!("no answer for {shown}: {cause}; has the local run ended? {what_to_do}");
            }
            if cause.contains("credentials") {
                let cause = if cause.contains("no credentials found") { "none are found" } else { &cause };
                return format!("no AWS credentials for {shown}: {cause}; {EXPORT}");
            }
            return format!("no answer for {shown}: {cause}");
        }
        let said = error.message().unwrap_or("without a reason");
        match error.code().unwrap_or("unknown error") {
            "ResourceNotFoundException" => {
                format!("there is no table {shown}: look at its name, the region and whose account it is ({said})")
            }
            "AccessDeniedException" => {
                format!("access denied to {shown}: {said}; {operation} needs dynamodb:{operation}")
            }
            code @ ("ExpiredTokenException" | "UnrecognizedClientException" | "InvalidSignatureException") => {
                format!("the AWS credentials for {shown} are not accepted: {code}: {said}; {EXPORT}")
            }
            code => format!("DynamoDB {operation} of {shown}: {code}: {said}"),
        }
    }
}

impl Newest {
    /// Keeps the newest, ordered by their ids, which is the order of their fires.
    pub(crate) fn cut(&mut self, limit: usize) {
        self.executions.sort_by(|one, other| other.id().cmp(one.id()));
        self.more |= self.executions.len() > limit;
        self.executions.truncate(limit);
    }
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// Converts an item to plain JSON.
fn plain(item: &Item) -> Map<String, Value> {
    item.iter().map(|(name, value)| (name.clone(), json(value))).collect()
}

/// Converts a value to plain JSON. Of binary values only their size or number is told.
fn json(value: &AttributeValue) -> Value {
    let number = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()));
    match value {
        AttributeValue::S(text) => text.as_str().into(),
        AttributeValue::N(text) => number(text),
        AttributeValue::Bool(value) => (*value).into(),
        AttributeValue::M(map) => plain(map).into(),
        AttributeValue::L(list) => list.iter().map(json).collect(),
        AttributeValue::Ss(set) => set.iter().map(String::as_str).collect(),
        AttributeValue::Ns(set) => set.iter().map(number).collect(),
        AttributeValue::B(bytes) => format!("{} bytes", bytes.as_ref().len()).into(),
        AttributeValue::Bs(set) => format!("{} binary values", set.len()).into(),
        _ => Value::Null,
    }
}
