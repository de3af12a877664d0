//! Two hours compressed: the sample agent in Bedrock AgentCore's own server, the function, and the reports endpoint, each a
//! process of its own. `.ci/agents.py` runs it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use standins::{Function, Invocation, RuntimeApi, runtime_api::scheduled_event};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::support::{LIMIT, OnPort, World, binary};

const TRIGGER: &str = "two-hours";
const HEARTBEATS: u32 = 24;
/// The seconds between two heartbeats, in place of 300. A report within a second of another is not written.
const INTERVAL: u32 = 2;
const ANSWER: &str = "Three files came in since yesterday: orders.csv, returns.csv and stock.json.";

/// The agent's process, which is ended with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the sample agent with the Python of `SAMPLE_AGENTS_PYTHON`, and waits until it listens.
async fn agent() -> (Agent, String) {
    let python = std::env::var("SAMPLE_AGENTS_PYTHON").expect("SAMPLE_AGENTS_PYTHON names a Python with the packages");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let seconds = HEARTBEATS * INTERVAL;
    let child = Command::new(python)
        .arg("detached_agent.py")
        .current_dir(root.join("examples/agents"))
        .env("PYTHONPATH", root.join("agents/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PORT", port.to_string())
        .env("WORK_SECONDS", seconds.to_string())
        .env("HEARTBEAT_SECONDS", INTERVAL.to_string())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let agent = Agent(child);
    let end = Instant::now() + LIMIT;
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < end, "the agent does not listen");
        sleep(Duration::from_millis(100)).await;
    }
    (agent, format!("http://127.0.0.1:{port}"))
}

fn row(world: &World) -> Value {
    world.stack.dynamodb.executions(TRIGGER).remove(0)
}

#[tokio::test]
#[ignore = "it needs the packages of the sample agents"]
async fn two_hours_compressed() {
    let world = World::start().await;
    let runtime = RuntimeApi::start().await;
    let env = world.env(&[("SURFACE", "reports"), ("LOCAL_PORT", "0")]);
    let reports = OnPort::started(Function::spawn(binary(), &env, &runtime).unwrap(), runtime).await;
    let (_agent, url) = agent().await;
    let report_url = format!("{}/reports", reports.url);
    let settings = [("REPORT_URL", report_url.as_str()), ("AGENT_API_URL", &url), ("AGENT_AUTH", "none")];
    let function = world.stack.function(&settings).await;
    let mut event = scheduled_event(TRIGGER, "Which files came in?", Some("2026-01-31T07:00:00Z"));
    event["detail"]["detached"] = json!({"timeoutSeconds": 7200});

    let since = Instant::now();
    let outcome = function.invoke(Invocation::event(&event)).await;
    let busy = since.elapsed();
    assert_eq!(outcome.body()["detached"], true, "{outcome:?}: {:#?}", function.process.logs());
    let acknowledged = row(&world);
    assert_eq!((&acknowledged["status"], &acknowledged["heartbeatSeconds"]), (&json!("running"), &json!(INTERVAL)));

    let end = Instant::now() + 2 * LIMIT;
    let mut seen = 0;
    while row(&world)["status"] == "running" {
        assert!(Instant::now() < end, "it does not end: {:#}", row(&world));
        let beats = row(&world)["events"].as_u64().unwrap_or_default();
        if beats > seen {
            assert_eq!(row(&world)["usage"]["inputTokens"], 21, "the record shows progress: {:#}", row(&world));
            seen = beats;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let ended = row(&world);
    assert_eq!((&ended["status"], &ended["output"]), (&json!("completed"), &json!(ANSWER)), "{ended:#}");
    assert_eq!((&ended["usage"]["inputTokens"], &ended["usage"]["outputTokens"]), (&json!(21), &json!(8)));
    let beats = ended["events"].as_u64().unwrap();
    assert!(beats >= u64::from(HEARTBEATS), "{beats} heartbeats: {ended:#}");

    // The timer finds that the run has ended.
    let writes = world.stack.dynamodb.count("UpdateItem");
    for message in world.stack.sqs.sent() {
        assert!(function.invoke(message.delivery()).await.is_success());
    }
    assert_eq!((row(&world), world.stack.dynamodb.count("UpdateItem")), (ended, writes));
    eprintln!("{beats} heartbeats; the function was busy for {} ms with the run", busy.as_millis());
}
