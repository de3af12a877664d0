//! Triggers in a table and behind an address: the same commands do the same.

use std::{fs, net::Ipv4Addr, path::PathBuf, sync::Arc};

use agent_trigger::clients::{
    http::{Clients, SdkHttpClient},
    lambda::Dispatcher,
};
use agent_trigger_api::{
    api::Api,
    clients::{scheduler::Scheduler as SchedulerClient, ssm::SecretStore},
    edge::local::guarded,
    router::routes,
    settings::{Local, Settings},
    store::Items,
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use serde_json::{Value, json};
use standins::lambda_api::FUNCTION_ARN;
use standins::{SCHEDULE_GROUP, SCHEDULER_ROLE, Scheduler, Stack, TABLE};
use tokio::{net::TcpListener, process::Command};

pub(crate) const USER: &str = "user-456";
pub(crate) const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:undelivered";
const KEY: &str = "a-key-of-the-local-port";
pub(crate) const HOOKS_URL: &str = "https://hooks.example.com";
pub(crate) const SECRETS: &str = "/agent-trigger/hooks/";
pub(crate) const HOOK_FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:hooks";

/// The stand-ins, and a control plane on a port.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) scheduler: Scheduler,
    address: String,
    pub(crate) folder: PathBuf,
}

/// The two ways to manage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Table,
    Address,
}

/// Both ways.
pub(crate) const WAYS: [Way; 2] = [Way::Table, Way::Address];

impl World {
    pub(crate) async fn start(name: &str) -> Self {
        // The futures of its clients are large.
        Box::pin(Self::started(name)).await
    }

    async fn started(name: &str) -> Self {
        let (stack, scheduler) = (Stack::start().await, Scheduler::start().await.unwrap());
        let settings = Settings::from_lookup(|name| {
            let value = match name {
                "TRIGGERS_TABLE_NAME" => TABLE,
                "AWS_REGION" => "us-east-1",
                "RUN_FUNCTION_ARN" => FUNCTION_ARN,
                "SCHEDULE_GROUP_NAME" => SCHEDULE_GROUP,
                "SCHEDULER_ROLE_ARN" => SCHEDULER_ROLE,
                "SCHEDULE_DLQ_ARN" => QUEUE,
                "EVENT_SOURCES" => r#"[{"id": "aws-s3"}]"#,
                "HOOKS_URL" => HOOKS_URL,
                "HOOK_SECRET_PATH" => SECRETS,
                "HOOK_FUNCTION_ARN" => HOOK_FUNCTION,
                _ => return None,
            };
            Some(value.to_owned())
        })
        .unwrap();
        let [dynamodb, scheduling, lambda] = [stack.dynamodb.url(), scheduler.url(), stack.lambda.url()];
        let secrets = SecretStore::new(&config(&stack.ssm.url()).await, SECRETS);
        let api = Api {
            items: Items::new(&config(&dynamodb).await, TABLE.to_owned()),
            scheduler: SchedulerClient::new(&config(&scheduling).await, &settings),
            secrets: Some(secrets),
            dispatcher: Dispatcher::new(&config(&lambda).await, Clients::new(None).unwrap().aws),
            settings,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let local = Local { port: 0, user_id: USER.to_owned(), key: KEY.to_owned() };
        tokio::spawn(async move { axum::serve(listener, guarded(routes(Arc::new(api)), local)).await });
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        Self { stack, scheduler, address, folder }
    }

    pub(crate) fn file(&self, name: &str, value: &Value) -> String {
        let path = self.folder.join(name);
        fs::write(&path, value.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Returns the program, which is to go this way.
    pub(crate) fn command(&self, way: Way, args: &[&str]) -> Command {
        let mut command = crate::program(args);
        match way {
            Way::Table => command.args(["--table", TABLE]).envs([
                ("AWS_ENDPOINT_URL_DYNAMODB", self.stack.dynamodb.url()),
                ("AWS_ENDPOINT_URL_SCHEDULER", self.scheduler.url()),
                ("AWS_ENDPOINT_URL_LAMBDA", self.stack.lambda.url()),
                ("AWS_ENDPOINT_URL_SSM", self.stack.ssm.url()),
                ("RUN_FUNCTION_ARN", FUNCTION_ARN.to_owned()),
                ("SCHEDULE_GROUP_NAME", SCHEDULE_GROUP.to_owned()),
                ("SCHEDULER_ROLE_ARN", SCHEDULER_ROLE.to_owned()),
                ("SCHEDULE_DLQ_ARN", QUEUE.to_owned()),
                // As the stack's output has it.
                ("HOOKS_URL", format!("{HOOKS_URL}/hooks/")),
                ("HOOK_SECRET_PATH", SECRETS.to_owned()),
                ("HOOK_FUNCTION_ARN", HOOK_FUNCTION.to_owned()),
                ("AWS_ACCESS_KEY_ID", "test".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
                ("AWS_REGION", "us-east-1".to_owned()),
            ]),
            Way::Address => command.args(["--api", &self.address]).env("AGENT_TRIGGER_TOKEN", KEY),
        };
        command
    }

    pub(crate) async fn does(&self, way: Way, args: &[&str]) -> String {
        let (succeeded, said) = ended(&mut self.command(way, args)).await;
        assert!(succeeded, "{way:?} {args:?}: {said}");
        said
    }

    pub(crate) async fn refuses(&self, way: Way, args: &[&str]) -> String {
        let (succeeded, said) = ended(&mut self.command(way, args)).await;
        assert!(!succeeded && said.lines().count() == 1, "{way:?} {args:?}: {said}");
        said
    }

    pub(crate) fn item(&self, id: &str) -> Value {
        self.stack.dynamodb.item(&format!("TRIGGER#{USER}"), &format!("TRIGGER#{id}")).unwrap_or_default()
    }
}

/// Runs a command to its end. Returns whether it succeeded, and everything it said.
pub(crate) async fn ended(command: &mut Command) -> (bool, String) {
    let output = command.output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains(KEY), "{said}");
    (output.status.success(), said)
}

async fn config(url: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(SdkHttpClient::new(Clients::new(None).unwrap().aws))
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(url)
        .load()
        .await
}

pub(crate) fn schedule() -> Value {
    json!({"name": "Daily report", "type": "schedule", "agentId": "agent-789", "prompt": "Write the report",
        "userId": USER, "scheduleConfig": {"expression": "0 9 ? * MON-FRI *", "timezone": "Europe/Berlin"}})
}

#[tokio::test]
async fn a_trigger_is_made_changed_switched_run_and_deleted() {
    for way in WAYS {
        let world = World::start(&format!("life-{way:?}")).await;
        let said = world.does(way, &["put", &world.file("new.json", &schedule())]).await;
        let id = said.strip_prefix("created ").and_then(|rest| rest.split(',').next()).unwrap().trim().to_owned();
        assert!(said.contains("next run 2"), "{said}");
        assert_eq!(world.item(&id)["prompt"], "Write the report", "{way:?}");
        assert_eq!(world.scheduler.names().len(), 1);
        let listed = world.does(way, &["triggers"]).await;
        assert!(listed.contains("● on") && listed.contains("Daily report") && listed.contains(&id), "{listed}");
        let next = world.does(way, &["next", &id, "--limit", "3"]).await;
        assert_eq!(next.lines().filter(|line| line.contains("T09:00:00+0")).count(), 3, "{next}");
        assert!(world.does(way, &["next"]).await.contains("Daily report"));
        // A script reads one form, whether it asks for one trigger or for all.
        for asked in [&["next", &id, "--limit=1", "--json"][..], &["next", "--limit=1", "--json"]] {
            let runs: Value = serde_json::from_str(&world.does(way, asked).await).unwrap();
            assert_eq!(runs[0]["triggerId"], id.as_str(), "{asked:?}: {runs:#}");
            assert!(runs[0]["at"].as_str().is_some_and(|at| next.contains(at)), "{asked:?}: {runs:#}");
        }

        let change = world.file("change.json", &json!({"id": id, "prompt": "Write a short report"}));
        assert!(world.does(way, &["put", &change]).await.starts_with("changed "));
        assert_eq!(world.item(&id)["prompt"], "Write a short report");
        world.does(way, &["disable", &id]).await;
        assert!(world.does(way, &["triggers"]).await.contains("○ off"));
        assert!(world.does(way, &["next", &id]).await.contains("switched off"));
        world.does(way, &["enable", &id]).await;
        assert_eq!(world.item(&id)["enabled"], true);

        let said = world.does(way, &["run", &id, "--json"]).await;
        let answer: Value = serde_json::from_str(&said).unwrap();
        assert!(answer["executionId"].is_string() && answer["triggerId"] == id.as_str(), "{said}");
        let saved: Value = serde_json::from_str(&world.does(way, &["put", &change, "--json"]).await).unwrap();
        assert_eq!(saved["id"], id.as_str());
        let sent = world.stack.lambda.invocations();
        assert_eq!((sent.len(), &sent[0].event()["detail"]["triggerId"]), (1, &json!(id)), "{said}");
        world.does(way, &["delete", &id]).await;
        assert_eq!(world.scheduler.names().len(), 0);
        for what in ["enable", "delete", "run"] {
            let refused = world.refuses(way, &[what, &id]).await;
            assert!(refused.contains("no") && refused.contains(&id), "it is deleted: {refused}");
        }
    }
}

#[tokio::test]
async fn an_execution_is_shown_cancelled_and_replayed_by_the_end_of_its_id() {
    const ID: &str = "019aa303-7c00-7f32-9d74-712a8c5e2c03";
    for way in WAYS {
        let world = World::start(&format!("executions-{way:?}")).await;
        world.stack.dynamodb.put_trigger(&json!({"id": "uploads", "userId": USER, "type": "event", "name": "Uploads"}));
        let row = |status: &str| {
            json!({"PK": "TRIGGER#uploads", "SK": format!("EXECUTION#{ID}"), "triggerId": "uploads", "executionId": ID,
                "userId": USER, "status": status, "startedAt": crate::rfc3339(crate::now()), "ttl": crate::now() / 1000 + 60,
                "leaseUntil": crate::now() + 60_000, "errorType": "AgentFailed", "error": "no such bucket"})
        };
        world.stack.dynamodb.put_item(&row("running"));
        let shown = world.does(way, &["show", "712a8c5e2c03"]).await;
        assert!(shown.contains("▸ running"), "{way:?}: {shown}");
        assert!(world.refuses(way, &["cancel", "c03"]).await.contains("too short"));
        let said = world.does(way, &["cancel", "5E2C03"]).await;
        assert!(said.contains(ID) && said.contains("--trigger=uploads --"), "{said}");
        let stored = world.stack.dynamodb.item("TRIGGER#uploads", &format!("EXECUTION#{ID}")).unwrap();
        assert_eq!(stored["cancelRequested"], true);

        world.stack.dynamodb.put_item(&row("failed"));
        let listed = world.does(way, &["list", "--status", "failed"]).await;
        assert!(listed.contains("✗ failed") && listed.contains("no such bucket"), "{listed}");
        let refused = world.refuses(way, &["cancel", ID]).await;
        assert!(refused.contains("has ended"), "{refused}");
        let refused = world.refuses(way, &["replay", ID]).await;
        assert!(refused.contains("not kept"), "{refused}");
        let input =
            json!({"triggerId": "uploads", "userId": USER, "agentId": "agent-789", "prompt": "Look"}).to_string();
        world.stack.dynamodb.put_item(&json!({"PK": "TRIGGER#uploads", "SK": format!("INPUT#{ID}"), "detail": input,
            "ttl": crate::now() / 1000 + 60}));
        world.does(way, &["replay", ID, "--trigger", "uploads"]).await;
        let sent = world.stack.lambda.invocations();
        let event = sent[0].event();
        assert_eq!((&event["detail-type"], &event["detail"]["executionId"]), (&json!("Replay Execution"), &json!(ID)));
    }
}

#[tokio::test]
async fn a_trigger_in_a_file_is_checked_without_a_table() {
    let world = World::start("check").await;
    let trigger = json!({"name": "Uploads", "type": "event", "agentId": "agent-789", "userId": USER,
        "prompt": "Look at {{ $.detail.object.key }} and {{ $.detail.size }}", "eventConfig": {"eventSourceId": "aws-s3",
        "eventPattern": {"detail": {"bucket": ["invoices"]}}}});
    let event = |bucket: &str| {
        json!({"detail-type": "Object Created", "source": "aws.s3", "id": "5c3f7a1e-2b4d-4c6e-8f90-123456789abc",
            "time": "2026-01-31T07:00:00Z", "detail": {"bucket": bucket, "object": {"key": "a.csv"}}})
    };
    let file = world.file("trigger.json", &trigger);
    for (bucket, words) in [
        ("invoices", ["would run it", "Look at \"a.csv\"", "$.detail.size"]),
        (
            "letters",
            [
                "eventPattern refuses it; the pattern does not take $.detail.bucket, which is \"letters\".",
                "Look at \"a.csv\"",
                "$.detail.size",
            ],
        ),
    ] {
        let event = world.file("event.json", &event(bucket));
        let output = crate::program(&["check", &file, "--event", &event]).output().await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && words.iter().all(|word| said.contains(word)), "{said}");
    }
    for (source, sentence, is_warned) in [
        ("my-source", "its events go to triggers of aws-s3, and this one is subscribed to my-source", false),
        ("aws.s3", "its events go to triggers of aws-s3, and this one is subscribed to aws.s3", true),
    ] {
        let mut elsewhere = trigger.clone();
        elsewhere["eventConfig"]["eventSourceId"] = json!(source);
        let files = [world.file("elsewhere.json", &elsewhere), world.file("event.json", &event("letters"))];
        let (_, said) = ended(&mut crate::program(&["check", &files[0], "--event", &files[1]])).await;
        assert!(said.contains(&format!("would not run it: {sentence}; eventPattern refuses it")), "{said}");
        let warning = "the events of aws.s3 go to triggers of aws-s3";
        assert_eq!(said.contains(warning), is_warned, "{said}");
        if is_warned {
            let said = world.does(Way::Table, &["put", &files[0]]).await;
            assert!(said.starts_with("created ") && said.contains(warning), "{said}");
            let output = world.command(Way::Table, &["put", &files[0], "--json"]).output().await.unwrap();
            assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok());
            assert!(String::from_utf8(output.stderr).unwrap().contains(warning));
        }
    }
    let nowhere = world.file(
        "elsewhere.json",
        &json!({"name": "n", "type": "event", "agentId": "a", "prompt": "p",
        "eventConfig": {"eventSourceId": "my-source"}}),
    );
    let said = world.refuses(Way::Address, &["put", &nowhere]).await;
    assert!(said.contains("must be one of aws-s3, ") && said.contains("EventSources"), "{said}");
    let mut invalid = trigger.clone();
    invalid["prompt"] = json!("Look at {{ $.detail.execution-id }}");
    let files = [world.file("invalid.json", &invalid), world.file("event.json", &event("invoices"))];
    let (is_valid, said) = ended(&mut crate::program(&["check", &files[0], "--event", &files[1]])).await;
    assert!(!is_valid && said.contains("in brackets: ['execution-id']"), "{said}");
    assert!(said.contains("not asked while the trigger is invalid") && !said.contains("would run it"), "{said}");
    let mut invalid = schedule();
    invalid["scheduleConfig"]["timezone"] = json!("Mars");
    invalid["timeoutSecond"] = json!(60);
    let output = crate::program(&["check", &world.file("invalid.json", &invalid)]).output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        !output.status.success() && said.contains("scheduleConfig.timezone") && said.contains("timeoutSecond"),
        "{said}"
    );
}

#[tokio::test]
async fn a_token_that_opens_nothing_is_named_and_never_shown() {
    let world = World::start("token").await;
    let mut command = crate::program(&["triggers", "--api", &world.address]);
    let output = command.env("AGENT_TRIGGER_TOKEN", "a-token-of-somebody-else").output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("AGENT_TRIGGER_TOKEN") && !said.contains("somebody"), "{said}");
}
