//! The control plane of the local run: the built API on a port of its own, with its page, and a stand-in for EventBridge
//! Scheduler that really fires. Its webhooks stand beside it.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use agent_trigger::clients::http::Clients;
use serde_json::{Value, json};
use standins::lambda_api::FUNCTION_ARN;
use standins::stack::Env;
use standins::{Function, RuntimeApi, SCHEDULE_GROUP, SCHEDULER_ROLE, Scheduler, Stack};

use crate::{
    hooks::{self, Hooks},
    next_run::next_run,
    programs::listening,
};

/// The port of the page, unless `LOCAL_PORT` says otherwise. 0 means any.
const PORT: &str = "9010";
/// The running control plane. It ends when this is dropped.
pub(crate) struct Page {
    /// Its address, `http://127.0.0.1:port`.
    pub(crate) url: String,
    /// The key that opens it. Any web page can reach a local port, so each run has another one.
    pub(crate) key: String,
    /// A line that starts a sample trigger by its webhook.
    pub(crate) curl: String,
    _hooks: Hooks,
    scheduler: Scheduler,
    api: Function,
    // The API does not run on Lambda here, but its process is started like those that do.
    _runtime: RuntimeApi,
}

impl Page {
    /// Starts the API that was built into the folder `built`, for the table of `stack` and for `user`, and makes the sample
    /// schedules.
    ///
    /// # Errors
    /// If the API does not start, or refuses a sample.
    pub(crate) async fn start(stack: &Stack, built: &Path, user: &str) -> Result<Self, String> {
        let mut scheduler = Scheduler::start().await.map_err(|error| error.to_string())?;
        scheduler.run(stack.lambda.clone(), Arc::new(next_run));
        let key = uuid::Uuid::new_v4().simple().to_string();
        let runtime = RuntimeApi::start().await;
        let hooks = Hooks::start(stack, built).await?;
        let mut env = env(stack, &scheduler, &key, user);
        let known = [
            ("HOOKS_URL", hooks.url.as_str()),
            ("HOOK_SECRET_PATH", hooks::SECRETS),
            ("HOOK_FUNCTION_ARN", hooks::FUNCTION),
        ];
        env.extend(known.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let binary = built.join("agent-trigger-api");
        let api = Function::spawn(&binary, &env, &runtime)
            .map_err(|e| format!("{} does not start: {e}", binary.display()))?;
        let url = listening(&api, "the control plane").await?;
        for trigger in samples() {
            make(&url, &key, &trigger).await?;
        }
        let made = make(&url, &key, &hooked()).await?;
        let (address, secret) = (text(&made, "url"), text(&made, "secret"));
        let curl = format!("curl -d 'Hello' -H 'Authorization: Bearer {secret}' {address}");
        Ok(Self { url, key, curl, _hooks: hooks, scheduler, api, _runtime: runtime })
    }

    /// Returns what other programs need to reach it, as variables of an environment.
    pub(crate) fn env(&self) -> [(String, String); 3] {
        [
            ("AGENT_TRIGGER_API".to_owned(), self.url.clone()),
            ("AGENT_TRIGGER_TOKEN".to_owned(), self.key.clone()),
            ("AWS_ENDPOINT_URL_SCHEDULER".to_owned(), self.scheduler.url()),
        ]
    }

    /// Waits until the API ends, which it should not. Returns what it said.
    pub(crate) async fn ended(&self) -> String {
        self.api.wait_exit(Duration::MAX).await;
        format!("the control plane ended: {}", self.api.logs().join("; "))
    }
}

/// Returns the environment of the API.
fn env(stack: &Stack, scheduler: &Scheduler, key: &str, user: &str) -> Env {
    let port = std::env::var("LOCAL_PORT").unwrap_or_else(|_| PORT.to_owned());
    let rows = stack.dynamodb.scan();
    // The last one is that of a sample.
    let ids = rows.iter().filter_map(|row| row["eventConfig"]["eventSourceId"].as_str()).chain(["aws-s3"]);
    // The API adds the executions' own source itself, behind the others: the form begins with the first.
    let ids = ids.filter(|id| *id != "agent-trigger");
    let sources: BTreeSet<&str> = ids.collect();
    let sources: Vec<Value> = sources.iter().map(|id| json!({"id": id, "name": id})).collect();
    let (sources, scheduler) = (Value::from(sources).to_string(), scheduler.url());
    let mut env = stack.env();
    let own = [
        ("AWS_ENDPOINT_URL_SCHEDULER", scheduler.as_str()),
        ("RUN_FUNCTION_ARN", FUNCTION_ARN),
        ("SCHEDULE_GROUP_NAME", SCHEDULE_GROUP),
        ("SCHEDULER_ROLE_ARN", SCHEDULER_ROLE),
        ("EVENT_SOURCES", &sources),
        ("LOCAL_PORT", &port),
        ("LOCAL_USER_ID", user),
        ("LOCAL_KEY", key),
    ];
    env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    env
}

/// Returns triggers with schedules, as `events/triggers.json` has none, and one whose run fails.
fn samples() -> [Value; 3] {
    [
        json!({"name": "Every minute: what came in?", "type": "schedule", "agentId": "agent-789",
            "prompt": "List the files that came in since the last time", "scheduleConfig": {"expression": "* * * * ? *", "timezone": "UTC"}}),
        json!({"name": "Weekday report", "type": "schedule", "agentId": "agent-789", "prompt": "Write the daily report",
            "scheduleConfig": {"expression": "0 9 ? * MON-FRI *", "timezone": "Europe/Berlin"}}),
        json!({"name": "Check uploads", "type": "event", "agentId": "agent-789",
            "prompt": "Look at {{ $.detail.object.key }}. Please fail", "eventConfig": {"eventSourceId": "aws-s3"}}),
    ]
}

/// Returns a trigger with a webhook.
fn hooked() -> Value {
    json!({"name": "What others send", "type": "event", "agentId": "agent-789", "prompt": "Answer {{ $.body }}",
        "webhookConfig": {"preset": "bearer"}})
}

/// Returns a text of an answer's webhook.
fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer["webhook"][name].as_str().unwrap_or_default()
}

/// Makes a trigger through the API, and returns the answer.
async fn make(url: &str, key: &str, trigger: &Value) -> Result<Value, String> {
    // A proxy of the environment would see the key.
    let request = Clients::direct(None)?.aws.post(format!("{url}/triggers")).bearer_auth(key);
    let request = request.header("content-type", "application/json").body(trigger.to_string());
    let response = request.send().await.map_err(|error| error.to_string())?;
    let is_success = response.status().is_success();
    let text = response.text().await.map_err(|error| error.to_string())?;
    if is_success { serde_json::from_str(&text).map_err(|error| error.to_string()) } else { Err(text) }
}
