//! What every case needs: the stand-ins around the binary that this test run built, and the shapes of its results.

pub(crate) mod emf;
pub(crate) mod one_fire;
pub(crate) mod stored;
pub(crate) mod subscribed;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use standins::{Gate, Invocation, Lambda, Outcome, Script, Stack, Step};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Long enough for whatever a test waits for.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// What stands in the requests that finish an execution, alone or in a transaction.
pub(crate) const FINISH: &str = "#completedAt";

/// The function's own binary, or the one that `AGENT_TRIGGER_BIN` names.
fn binary() -> PathBuf {
    let built = || env!("CARGO_BIN_EXE_agent-trigger").into();
    std::env::var_os("AGENT_TRIGGER_BIN").unwrap_or_else(built).into()
}

/// The stand-ins around the function.
pub(crate) async fn stack() -> Stack {
    Stack::start().await.with_binary(binary())
}

/// How much longer than on a fast machine what is compressed takes here.
pub(crate) fn factor() -> u32 {
    standins::pace::factor(&binary())
}

/// A time that the function is given, longer on a slow machine.
pub(crate) fn scaled(millis: u64) -> Duration {
    Duration::from_millis(millis) * factor()
}

/// The setting of a lease of so many seconds, longer on a slow machine: heartbeats come every third of it.
pub(crate) fn lease(seconds: u32) -> (&'static str, &'static str) {
    static LEASES: Mutex<BTreeMap<u32, &str>> = Mutex::new(BTreeMap::new());
    let seconds = (seconds * factor()).min(50);
    let mut leases = LEASES.lock().unwrap();
    ("LEASE_SECONDS", leases.entry(seconds).or_insert_with(|| seconds.to_string().leak()))
}

/// The milliseconds by which clocks may differ with such a lease: a sixth of it.
pub(crate) fn skew(seconds: u32) -> i64 {
    lease(seconds).1.parse::<i64>().unwrap() * 1000 / 6
}

/// The time after which such a lease is over for everybody, and something.
pub(crate) fn lease_over(seconds: u32) -> Duration {
    scaled(u64::from(seconds) * 1300)
}

/// How many of so many requests may be on their way at once: fewer on a slow machine, for the function waits no longer
/// than 2 s for the table, and the table's stand-in answers one after another.
pub(crate) fn crowd(requests: usize) -> usize {
    requests / factor() as usize
}

/// Waits until no other test that needs the whole machine runs, and holds it until dropped.
pub(crate) async fn alone() -> SemaphorePermit<'static> {
    static MACHINE: Semaphore = Semaphore::const_new(1);
    MACHINE.acquire().await.unwrap()
}

/// The seconds of CPU that a process has had.
pub(crate) fn cpu(function: &Lambda) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", function.process.pid())).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // The fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

pub(crate) fn now_millis() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// `object` with these members; null takes one away.
pub(crate) fn changed(mut object: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else { panic!("members, not {changes}") };
    for (name, value) in changes {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(&name);
        } else {
            object[&name] = value;
        }
    }
    object
}

/// The happy answer, with this gate in its middle.
pub(crate) fn gated(gate: &Gate) -> Script {
    Script::ndjson_happy("There are three files in the quarter.").midway(Step::Gate(gate.clone()))
}

/// Invokes, and kills the process at this moment of the run.
pub(crate) async fn killed_when(moment: impl Future, function: &Lambda, invocation: Invocation) {
    let kill = async {
        moment.await;
        function.kill();
    };
    let (killed, ()) = tokio::join!(function.invoke(invocation), kill);
    assert_eq!(killed, Outcome::Died);
}

/// The only execution of a trigger.
pub(crate) fn execution(stack: &Stack, trigger_id: &str) -> Value {
    let mut executions = stack.dynamodb.executions(trigger_id);
    assert_eq!(executions.len(), 1, "of {trigger_id}: {executions:#?}");
    executions.remove(0)
}

/// Asserts that the run completed, and that `row` and the result say so and nothing else.
pub(crate) fn assert_completed(outcome: &Outcome, row: &Value) {
    let Outcome::Success(result) = outcome else { panic!("{outcome:?} with {row:#}") };
    assert_eq!(result["statusCode"], 200);
    assert_eq!(outcome.body(), reply(row, json!({})));
    assert_eq!(row["status"], "completed", "{row:#}");
    assert!(row["completedAt"].is_string(), "{row:#}");
    assert_absent(row, &["error", "errorType", "retryable"]);
}

/// Asserts that nothing was done because `row` says what was or is done.
pub(crate) fn assert_duplicate(outcome: &Outcome, row: &Value) {
    let Outcome::Success(result) = outcome else { panic!("{outcome:?} with {row:#}") };
    assert_eq!(result["statusCode"], 200);
    assert_eq!(outcome.body(), reply(row, json!({"duplicate": true, "status": row["status"]})));
}

fn reply(row: &Value, more: Value) -> Value {
    let mut reply = json!({"success": true, "triggerId": row["triggerId"], "executionId": row["executionId"]});
    for name in ["requestId", "sessionId"] {
        if let Some(value) = row.get(name) {
            reply[name] = value.clone();
        }
    }
    for (name, value) in more.as_object().into_iter().flatten() {
        reply[name] = value.clone();
    }
    reply
}

/// Asserts that the run failed so, and that `row` and the result say so and nothing else.
pub(crate) fn assert_failed(outcome: &Outcome, row: &Value, error_type: &str, retryable: bool) {
    assert_eq!(outcome.error_type(), error_type, "{outcome:?} with {row:#}");
    let body = outcome.body();
    let message = body["message"].as_str().unwrap_or_default();
    let expected = json!({"statusCode": 500, "error": error_type, "message": message, "triggerId": row["triggerId"],
        "executionId": row["executionId"], "retryable": retryable});
    assert_eq!(body, expected);
    assert_eq!((&row["status"], &row["errorType"]), (&json!("failed"), &json!(error_type)), "{row:#}");
    assert_eq!(row["retryable"], retryable, "{row:#}");
    assert!(row["completedAt"].is_string(), "{row:#}");
    let error = row["error"].as_str().unwrap_or_default();
    assert!(!message.is_empty() && error.starts_with(message) && error.len() <= 1024, "{message:?} against {error:?}");
    assert_absent(row, &["output", "outputTruncated"]);
}

/// Asserts that these attributes are missing, not null.
pub(crate) fn assert_absent(row: &Value, names: &[&str]) {
    for name in names {
        assert_eq!(row.get(name), None, "{name} in {row:#}");
    }
}

/// Ends the process and gives all it logged.
pub(crate) async fn all_logs(function: Lambda) -> Vec<String> {
    function.kill();
    assert!(function.process.wait_exit(LIMIT).await.is_some());
    function.logs()
}

/// The lines that hold `text`.
pub(crate) fn lines<'a>(logs: &'a [String], text: &str) -> Vec<&'a String> {
    logs.iter().filter(|line| line.contains(text)).collect()
}
