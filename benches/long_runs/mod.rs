//! Computes what detached runs and tasks of Step Functions cost, from the requests that the stand-ins count and from the
//! looks that the function would send.

use agent_trigger::domain::detached::{Detached, lease_after, look_delay};
use serde_json::{Value, json};
use standins::{Invocation, Lambda, Script, Stack, bus_event, runtime_api::scheduled_event};

use super::prices::{ANSWER, MEMORY_GB, RUNS, price, write_units};

/// The length of the runs in seconds.
const SECONDS: u32 = 7200;
/// The difference between two clocks that a lease tolerates, in milliseconds: a sixth of 30 s.
const SKEW: i64 = 5_000;
/// The states that an execution of Step Functions goes through as it polls: a read of the status, a choice, a wait.
const STATES_A_POLL: f64 = 3.0;

/// Prices in dollars for us-east-1, beside those of `price`.
mod further {
    /// A request to SQS (<https://aws.amazon.com/sqs/pricing/>).
    pub(super) const QUEUE_REQUEST: f64 = 0.40e-6;
    /// An event that is put on a bus of one's own (<https://aws.amazon.com/eventbridge/pricing/>).
    pub(super) const EVENT: f64 = 1.0e-6;
    /// A state transition of a Standard workflow (<https://aws.amazon.com/step-functions/pricing/>).
    pub(super) const TRANSITION: f64 = 25.0e-6;
    /// A request of an Express workflow (the same page).
    pub(super) const EXPRESS_REQUEST: f64 = 1.0e-6;
    /// A GB-second of an Express workflow, which has at least 64 MB and is billed by 100 ms (the same page).
    pub(super) const EXPRESS_SECOND: f64 = 16.67e-6;
}

/// The counts of one detached run.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    write_units: u32,
    /// Strongly consistent reads, each of a unit for 4 KB.
    reads: usize,
    messages: usize,
    invocations: usize,
    /// The milliseconds of all invocations, each billed as at least one.
    millis: f64,
}

/// The row of a table.
pub(crate) type Row = [String; 6];

/// Counts runs of two hours: without a heartbeat, and with one every five minutes and every minute.
pub(crate) async fn rows(stack: &Stack, lambda: &Lambda, own_ms: f64) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, heartbeat) in [("no heartbeats", None), ("every 5 minutes", Some(300)), ("every minute", Some(60))] {
        let counted = counted(stack, lambda, heartbeat, own_ms).await;
        rows.push([
            name.to_owned(),
            counted.write_units.to_string(),
            counted.reads.to_string(),
            counted.messages.to_string(),
            counted.invocations.to_string(),
            format!("{:.3}", dollars(counted)),
        ]);
    }
    rows
}

/// Returns the costs of 1,000 runs that a state machine waits for, and of polling instead.
pub(crate) fn of_step_functions() -> Vec<[String; 2]> {
    // Start, the task that waits, and its end. The other machine is one request of some 200 ms.
    let waits = 3.0 * further::TRANSITION;
    let express = further::EXPRESS_REQUEST + 0.2 * (64.0 / 1024.0) * further::EXPRESS_SECOND;
    // The token and the caller, their reads, and the command.
    let own = 2.0 * price::WRITE_UNIT + 2.0 * price::READ_UNIT + further::EVENT;
    let polls = f64::from(SECONDS) / 10.0;
    let polling = polls * (STATES_A_POLL * further::TRANSITION + price::READ_UNIT / 2.0);
    vec![
        ["a state machine that waits with a task token".to_owned(), format!("{:.3}", RUNS * (waits + express + own))],
        [
            "a state machine that polls a status row every 10 s for two hours".to_owned(),
            format!("{:.2}", RUNS * polling),
        ],
    ]
}

fn dollars(counted: Counted) -> f64 {
    let Counted { write_units, reads, messages, invocations, millis } = counted;
    let table = f64::from(write_units) * price::WRITE_UNIT + reads as f64 * price::READ_UNIT;
    // A message is sent, received and deleted.
    let queue = 3.0 * messages as f64 * further::QUEUE_REQUEST;
    let lambda = invocations as f64 * price::LAMBDA_REQUEST + millis / 1e3 * MEMORY_GB * price::LAMBDA_SECOND;
    RUNS * (table + queue + lambda)
}

/// Runs one agent for two hours, of which only the requests happen.
async fn counted(stack: &Stack, lambda: &Lambda, heartbeat: Option<u32>, own_ms: f64) -> Counted {
    let trigger_id = format!("detached-{}", heartbeat.unwrap_or_default());
    let key = format!("TRIGGER#{trigger_id}");
    let row = || stack.dynamodb.executions(&trigger_id).remove(0);
    let mut counted = Counted::default();
    stack.agent.on_prompt(&trigger_id, Script::acknowledges(heartbeat));
    let mut event = scheduled_event(&trigger_id, &trigger_id, Some("2026-01-01T00:00:00Z"));
    event["detail"]["detached"] = json!({"timeoutSeconds": SECONDS, "firstReportSeconds": 300});
    let before = (stack.sqs.sent().len(), stack.dynamodb.requests().len());
    assert!(lambda.invoke(Invocation::event(&event)).await.is_success(), "the run is left to its agent");
    let call = stack.agent.calls().pop().and_then(|call| call.callback().cloned()).expect("the agent gets a callback");
    let report = |members: Value| {
        let mut detail = json!({"token": call["token"], "triggerId": trigger_id, "executionId": call["executionId"]});
        detail.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        let event = bus_event("agent", "Agent Report", detail);
        Invocation::event(&json!({"_from": "report-bus", "_event": event}))
    };
    let beats = heartbeat.map_or(0, |seconds| SECONDS / seconds - 1);
    for _ in 0..beats {
        // The interval has passed.
        let (pk, sk) = (row()["PK"].clone(), row()["SK"].clone());
        let keys = [&pk, &sk].map(|key| key.as_str().unwrap_or_default());
        stack.dynamodb.update(keys[0], keys[1], &json!({"lastEventAt": null}));
        let running = json!({"status": "running", "usage": {"inputTokens": 5000, "outputTokens": 100}});
        assert!(lambda.invoke(report(running)).await.is_success(), "the heartbeat is noted");
    }
    let under_way = write_units(&row());
    let output = "x".repeat(ANSWER);
    assert!(lambda.invoke(report(json!({"status": "completed", "output": output}))).await.is_success());
    assert_eq!(row()["status"], "completed");
    let ended = write_units(&row());
    for request in stack.dynamodb.requests().split_off(before.1).iter().filter(|request| request.key("PK") == key) {
        match request.operation.as_str() {
            "GetItem" => counted.reads += 1,
            _ => counted.write_units += under_way,
        }
    }
    // The end is billed by the larger item.
    counted.write_units += ended - under_way;
    // The first look and the one that follows the end were sent. Reports over HTTPS cost as much as those over the bus. Each
    // look reads the row.
    let looks = stack.sqs.sent().len() - before.0 + looks(heartbeat);
    counted.messages = looks;
    counted.reads += looks;
    counted.invocations = 1 + usize::try_from(beats).unwrap_or_default() + 1 + looks;
    counted.millis = counted.invocations as f64 * own_ms.ceil();
    counted
}

/// Returns the number of looks after the first one, of a run whose agent is heard as it promised.
fn looks(heartbeat: Option<u32>) -> usize {
    let detached = Detached { timeout_seconds: SECONDS, first_report_seconds: 300 };
    let deadline = i64::from(SECONDS) * 1000;
    let mut at = i64::try_from(detached.first_look().as_millis()).unwrap_or_default();
    let mut looks = 0;
    while at < deadline {
        let interval = heartbeat.map_or(deadline, |seconds| i64::from(seconds) * 1000);
        let heard = at / interval * interval;
        let lease = lease_after(heard, heartbeat, deadline);
        let delay = look_delay(lease + SKEW, at);
        at += i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        looks += 1;
    }
    looks
}
