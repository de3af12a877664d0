//! Deliveries to the hooks surface, and what becomes of them in the run function.

mod accept;
mod alias;
mod crashes;
mod documented;
pub(crate) mod manage;
mod refuse;
mod secrets;
mod senders;
mod soak;
mod vectors;

use agent_trigger::config::Secret;
use agent_trigger_api::hooks::{scheme::Scheme, signature::sign};
use reqwest::StatusCode;
use serde_json::{Value, json};
use standins::stack::Env;
use standins::{FUNCTION_ARN, Function, RuntimeApi};

use crate::support::{LIMIT, SECRETS, USER, World, binary, client};

pub(crate) const HOOK: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const TRIGGER: &str = "trigger-1";
/// The secret of the documents' own example.
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The hooks surface on a port of this machine.
pub(crate) struct Hooks {
    pub(crate) process: Function,
    pub(crate) url: String,
    _runtime: RuntimeApi,
}

pub(crate) fn hook_env(world: &World) -> Env {
    let mut env = world.stack.env();
    env.retain(|name, _| !name.starts_with("COGNITO_") && !name.starts_with("AGENT_"));
    let own = [
        ("SURFACE", "hooks"),
        ("RUN_FUNCTION_ARN", FUNCTION_ARN),
        ("HOOK_SECRET_PATH", SECRETS),
        ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
    ];
    env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    env
}

impl World {
    /// Starts the hooks surface on a local port.
    pub(crate) async fn hooks(&self) -> Hooks {
        let runtime = RuntimeApi::start().await;
        let mut env = hook_env(self);
        env.insert("LOCAL_PORT".to_owned(), "0".to_owned());
        let process = Function::spawn(binary(), &env, &runtime).unwrap();
        let line = process.wait_for_log("listening on ", LIMIT).await;
        let line = line.unwrap_or_else(|| panic!("{:#?}", process.logs()));
        let url = line.split_once("listening on ").unwrap().1.to_owned();
        Hooks { process, url, _runtime: runtime }
    }

    /// Stores a trigger with a webhook, its pointer and its secret, as the manage surface writes them.
    pub(crate) fn put_hook(&self, config: Value, changes: Value) {
        self.stack.ssm.put(&format!("{SECRETS}{HOOK}"), SECRET);
        let mut webhook = json!({"hookId": HOOK, "secretVersion": 1});
        webhook.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        let mut item = json!({"PK": format!("TRIGGER#{USER}"), "SK": format!("TRIGGER#{TRIGGER}"), "id": TRIGGER,
            "userId": USER, "name": "The hook", "type": "event", "enabled": true, "agentId": "agent-1",
            "prompt": "Look at {{ $.detail.body.ref }}", "eventConfig": {"eventSourceId": "webhook"}, "version": 1,
            "webhookConfig": webhook});
        item.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        self.stack.dynamodb.put_item(&item);
        self.stack.dynamodb.put_item(&json!({"PK": format!("HOOK#{HOOK}"), "SK": "HOOK", "userId": USER,
            "triggerId": TRIGGER}));
    }

    /// Returns the receipts of the hook, the oldest first.
    pub(crate) fn receipts(&self) -> Vec<Value> {
        let id = |item: &Value| {
            let (kind, id) = item["SK"].as_str()?.split_once('#')?;
            ["DELIVERY", "REFUSED"].contains(&kind).then(|| id.to_owned())
        };
        let is_receipt = |item: &Value| item["PK"] == format!("HOOK#{HOOK}") && id(item).is_some();
        let mut receipts: Vec<_> = self.stack.dynamodb.scan().into_iter().filter(is_receipt).collect();
        receipts.sort_by_key(id);
        receipts
    }
}

/// Returns the headers of a delivery by Standard Webhooks, made by its own crate.
pub(crate) fn signed(id: &str, at: i64, body: &str) -> Vec<(String, String)> {
    let webhook = standardwebhooks::Webhook::new(SECRET).unwrap();
    let signature = webhook.sign(id, at, body.as_bytes()).unwrap();
    [("webhook-id", id.to_owned()), ("webhook-timestamp", at.to_string()), ("webhook-signature", signature)]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// Returns the headers of a delivery by another scheme, signed now, with a content type.
pub(crate) fn signed_by(config: &Value, body: &str, kind: &str) -> Vec<(String, String)> {
    let scheme = Scheme::read(config.as_object().unwrap(), &mut Vec::new()).unwrap();
    let signed = sign(&scheme, &Secret::new(SECRET), "msg_x", now(), body.as_bytes());
    let signed = signed.into_iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    signed.chain([("content-type".to_owned(), kind.to_owned())]).collect()
}

/// Returns headers as they are sent.
pub(crate) fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

impl Hooks {
    /// Sends a delivery, and returns the status and the body of the answer.
    pub(crate) async fn send(
        &self,
        path: &str,
        headers: &[(String, String)],
        body: impl Into<Vec<u8>>,
    ) -> (StatusCode, Value) {
        let mut request = client().post(format!("{}{path}", self.url)).timeout(LIMIT).body(body.into());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{error}: {:#?}", self.process.logs()));
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_else(|_| json!(text)))
    }

    /// Sends a delivery and returns the headers of the answer, too.
    pub(crate) async fn send_full(&self, path: &str, headers: &[(String, String)], body: &str) -> reqwest::Response {
        let mut request = client().post(format!("{}{path}", self.url)).timeout(LIMIT).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().await.unwrap()
    }

    /// Does the same as [`Hooks::deliver`] until the delivery is accepted, as senders do that are told to come again.
    pub(crate) async fn insist(&self, id: &str, body: &str) -> Value {
        loop {
            let (status, answer) = self.deliver(id, body).await;
            if status == StatusCode::ACCEPTED {
                return answer;
            }
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        }
    }

    /// Does the same as [`Hooks::deliver`] with a receiver that may die.
    pub(crate) async fn try_deliver(&self, id: &str, body: &str) -> reqwest::Result<StatusCode> {
        let mut request = client().post(format!("{}/hooks/{HOOK}", self.url)).timeout(LIMIT).body(body.to_owned());
        for (name, value) in signed(id, now(), body) {
            request = request.header(name, value);
        }
        Ok(request.send().await?.status())
    }

    /// Sends a delivery to the hook, as JSON that is signed now.
    pub(crate) async fn deliver(&self, id: &str, body: &str) -> (StatusCode, Value) {
        let mut headers = signed(id, now(), body);
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        self.send(&format!("/hooks/{HOOK}"), &headers, body).await
    }
}
