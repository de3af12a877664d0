//! Everything on this machine: the page, the API, a stand-in for Scheduler that really fires, and the function itself
//! against stand-ins for its services. Prints one link and runs until Ctrl-C.
//!
//! `cargo run -p agent-trigger-api --example serve`
#![allow(clippy::print_stdout, reason = "it speaks to a person in a terminal")]

use std::{collections::BTreeMap, path::PathBuf, process::Command, sync::Arc, time::Duration};

use agent_trigger::clients::http::Clients;
use serde_json::{Value, json};
use standins::{
    Function, RuntimeApi, SCHEDULE_GROUP, SCHEDULER_ROLE, Scheduler, Script, Stack, lambda_api::FUNCTION_ARN,
};

mod next_run;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The port of the page, unless `PORT` says otherwise. 0 means any.
const PORT: &str = "9010";
/// The longest time in which the API starts.
const START: Duration = Duration::from_secs(30);
/// The most runs at the same time.
const ENVIRONMENTS: usize = 4;
const USER: &str = "user-456";
const ANSWER: &str = "Three files came in since yesterday: orders.csv (1.2 MB), returns.csv (84 kB) and stock.json. All of \
                      them are complete.";

#[tokio::main]
async fn main() -> Result<(), Error> {
    let built = built_binaries()?;
    let stack = Stack::start().await.with_binary(built.join("agent-trigger"));
    let pause = Duration::from_millis(150);
    stack.agent.default(Script::ndjson_happy(ANSWER).paced(pause));
    stack
        .agent
        .on_prompt("Please fail", Script::sse_error("the model stopped answering: ThrottlingException").paced(pause));
    stack.pool(ENVIRONMENTS, &[]);
    let mut scheduler = Scheduler::start().await?;
    scheduler.run(stack.lambda.clone(), Arc::new(next_run::next_run));

    let key = uuid::Uuid::new_v4().simple().to_string();
    // The API does not run on Lambda here, but its process is started like those that do.
    let runtime = RuntimeApi::start().await;
    let api = Function::spawn(&built.join("agent-trigger-api"), &env(&stack, &scheduler, &key), &runtime)?;
    let line = api.wait_for_log("listening on ", START).await;
    let url = line.as_deref().and_then(|line| line.split_once("listening on ")).map(|(_, url)| url.to_owned());
    let url = url.ok_or_else(|| format!("the API does not start: {}", api.logs().join("; ")))?;
    for trigger in samples() {
        seed(&url, &key, &trigger).await?;
    }
    println!("\n{url}/#key={key}\n\nOpen this link. Ctrl-C ends everything and what it holds.");
    tokio::select! {
        _ = api.wait_exit(Duration::MAX) => Err(format!("the API ended: {}", api.logs().join("; ")).into()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Returns the environment of the API.
fn env(stack: &Stack, scheduler: &Scheduler, key: &str) -> BTreeMap<String, String> {
    let port = std::env::var("PORT").unwrap_or_else(|_| PORT.to_owned());
    let sources = json!([{"id": "aws-s3", "name": "Uploads", "description": "New objects of the bucket"}]).to_string();
    let scheduler = scheduler.url();
    let mut env = stack.env();
    let own = [
        ("AWS_ENDPOINT_URL_SCHEDULER", scheduler.as_str()),
        ("RUN_FUNCTION_ARN", FUNCTION_ARN),
        ("SCHEDULE_GROUP_NAME", SCHEDULE_GROUP),
        ("SCHEDULER_ROLE_ARN", SCHEDULER_ROLE),
        ("EVENT_SOURCES", &sources),
        ("LOCAL_PORT", &port),
        ("LOCAL_USER_ID", USER),
        ("LOCAL_KEY", key),
    ];
    env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    env
}

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

/// Creates a trigger through the API.
async fn seed(url: &str, key: &str, trigger: &Value) -> Result<(), Error> {
    let request = Clients::new(None)?.aws.post(format!("{url}/triggers")).bearer_auth(key);
    let response = request.header("content-type", "application/json").body(trigger.to_string()).send().await?;
    if response.status().is_success() { Ok(()) } else { Err(response.text().await?.into()) }
}

/// Builds the function and the API, and returns the folder of both.
fn built_binaries() -> Result<PathBuf, Error> {
    let here = std::env::current_exe()?;
    // This program's path is target/PROFILE/examples/serve.
    let profile = here.ancestors().nth(2).ok_or("this program is not where cargo puts examples")?;
    let target = profile.parent().ok_or("this program is not where cargo puts examples")?;
    println!("Building the function and the API.");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The example is named too, though it is built already: without it both would be built with fewer features of their
    // dependencies than beside it, and those would be compiled a second time.
    let build = ["build", "-p", "agent-trigger", "-p", "agent-trigger-api", "--bins", "--example", "serve"];
    let status = Command::new(cargo).args(build).arg("--target-dir").arg(target).status()?;
    if status.success() { Ok(profile.to_owned()) } else { Err("it does not build, see above".into()) }
}
