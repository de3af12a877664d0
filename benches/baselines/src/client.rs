//! A client that makes the calls of a warm run, one after another, and does nothing else: no identity, no decision, no
//! lease, no decoding, no log. It drains the body chunk by chunk and throws it away.

use std::collections::HashMap;

use agent_trigger::clients::http::{Clients, SdkHttpClient};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure::AllOld},
};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

/// Where the client's bearer token comes from.
pub trait Bearer: Send + Sync + 'static {
    /// Returns the token for the next call of the agent.
    ///
    /// # Errors
    /// Returns an error if there is no token.
    fn bearer(&self) -> impl Future<Output = Result<String, Error>> + Send;
}

struct Bare<B> {
    dynamodb: Client,
    http: reqwest::Client,
    table: String,
    url: String,
    bearer: B,
}

/// Serves with the source of tokens that `bearer` makes of the client for AWS and the SDK's settings.
///
/// # Errors
/// Returns the error of a client, of a setting, of `bearer`, or of serving.
pub async fn serve<B: Bearer>(
    bearer: impl FnOnce(reqwest::Client, &SdkConfig) -> Result<B, Error>,
) -> Result<(), Error> {
    let clients = Clients::new(None)?;
    let aws = aws_config::defaults(BehaviorVersion::latest()).http_client(SdkHttpClient::new(clients.aws.clone()));
    let aws = aws.load().await;
    // It lives as long as the process, so that serving can be a task: see src/main.rs.
    let bare: &Bare<B> = Box::leak(Box::new(Bare {
        dynamodb: Client::new(&aws),
        http: clients.agent,
        table: std::env::var("TRIGGERS_TABLE_NAME")?,
        url: format!("{}/invocations", std::env::var("AGENT_API_URL")?),
        bearer: bearer(clients.aws, &aws)?,
    }));
    tokio::spawn(lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| run(bare, event)))).await?
}

async fn run<B: Bearer>(bare: &Bare<B>, event: LambdaEvent<Value>) -> Result<Value, Error> {
    let id = event.context.request_id;
    let detail = |name: &str| event.payload["detail"][name].as_str().unwrap_or_default();
    let keys = [("PK", text(format!("TRIGGER#{}", detail("triggerId")))), ("SK", text(format!("EXECUTION#{id}")))];

    let item =
        keys.iter().cloned().chain(running(&id, &detail)).map(|(name, value)| (name.to_owned(), value)).collect();
    let claim = bare.dynamodb.put_item().table_name(&bare.table).set_item(Some(item));
    let claim = claim.condition_expression("attribute_not_exists(#0) OR #1 <= :0");
    let claim = claim.expression_attribute_names("#0", "PK").expression_attribute_names("#1", "ttl");
    let claim = claim.expression_attribute_values(":0", number(1_767_225_600));
    claim.return_values_on_condition_check_failure(AllOld).send().await?;

    let trigger = bare.dynamodb.get_item().table_name(&bare.table);
    let trigger = trigger.key("PK", text(format!("TRIGGER#{}", detail("userId"))));
    trigger.key("SK", text(format!("TRIGGER#{}", detail("triggerId")))).send().await?;

    let body = json!({"prompt": detail("prompt"), "targetUserId": detail("userId"), "agentId": detail("agentId"),
        "sessionId": &id});
    let call = bare.http.post(&bare.url).bearer_auth(bare.bearer.bearer().await?);
    let call = call.header("content-type", "application/json");
    let mut answer = call.body(body.to_string()).send().await?.error_for_status()?;
    // In a task of its own, as the function reads (src/agent/mod.rs).
    let draining = async move {
        while answer.chunk().await?.is_some() {}
        Ok::<_, reqwest::Error>(())
    };
    tokio::spawn(draining).await??;

    let (mut names, mut values, mut sets) = (HashMap::new(), HashMap::new(), Vec::new());
    for (at, (name, value)) in completed(&id).into_iter().enumerate() {
        names.insert(format!("#{at}"), name.to_owned());
        values.insert(format!(":{at}"), value);
        sets.push(format!("#{at} = :{at}"));
    }
    names.insert("#owner".to_owned(), "owner".to_owned());
    values.insert(":owner".to_owned(), text(&id));
    let finish = bare
        .dynamodb
        .update_item()
        .table_name(&bare.table)
        .set_key(Some(keys.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()));
    let finish = finish.update_expression(format!("SET {}", sets.join(", "))).condition_expression("#owner = :owner");
    let finish = finish.set_expression_attribute_names(Some(names)).set_expression_attribute_values(Some(values));
    finish.return_values_on_condition_check_failure(AllOld).send().await?;
    Ok(json!({"statusCode": 200, "body": id}))
}

/// Returns the attributes that the function writes with its claim.
fn running<'a>(id: &str, detail: &impl Fn(&str) -> &'a str) -> Vec<(&'static str, AttributeValue)> {
    vec![
        ("triggerId", text(detail("triggerId"))),
        ("executionId", text(id)),
        ("userId", text(detail("userId"))),
        ("agentId", text(detail("agentId"))),
        ("status", text("running")),
        ("startedAt", text("2026-01-01T00:00:00.000Z")),
        ("sessionId", text(id)),
        ("scheduledTime", text(detail("scheduledTime"))),
        ("source", text("aws.scheduler")),
        ("owner", text(id)),
        ("lambdaRequestId", text(id)),
        ("attempt", number(1)),
        ("leaseUntil", number(1_767_225_630_000)),
        ("ttl", number(1_769_817_600)),
    ]
}

/// Returns the attributes that the function writes when it is done.
fn completed(id: &str) -> Vec<(&'static str, AttributeValue)> {
    let usage = ["inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"];
    let usage = usage.into_iter().map(|name| (name.to_owned(), number(1000))).collect();
    vec![
        ("status", text("completed")),
        ("completedAt", text("2026-01-01T00:00:01.000Z")),
        ("requestId", text(id)),
        ("output", text("all is well")),
        ("outputTruncated", AttributeValue::Bool(false)),
        ("usage", AttributeValue::M(usage)),
        ("durationMs", number(1000)),
        ("firstEventMs", number(10)),
        ("events", number(20)),
        ("bytes", number(2000)),
        ("skippedEvents", number(0)),
        ("toolUses", number(1)),
    ]
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
