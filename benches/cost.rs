//! Computes what runs cost on AWS, from the writes, reads, token requests and milliseconds that the stand-ins count.
//!
//! `cargo bench --bench cost`. Time passes ten times faster than on AWS: a run of a minute lasts six seconds with a
//! lease of three, which gives the same number of heartbeats.

mod long_runs;
mod prices;

use std::time::{Duration, Instant};

use harness::{Programs, Report, Samples, invocation, programs, report::bar};
use prices::{ANSWER, MEMORY_GB, RUNS, price, write_units};
use serde_json::{Value, json};
use standins::{DynamoDb, Lambda, Script, Stack, Step};

const FASTER: u32 = 10;
const LEASE_SECONDS: u32 = 30 / FASTER;
/// How long a token is cached: three quarters of the hour for which it is valid.
const TOKEN_SECONDS: f64 = 45.0 * 60.0;

/// The counts of one run.
struct Counted {
    seconds: u32,
    writes: Writes,
    reads: usize,
}

/// The writes of a run, each in write request units.
#[derive(Clone, Copy)]
struct Writes {
    claim: u32,
    heartbeat: u32,
    heartbeats: u32,
    finish: u32,
}

impl Writes {
    fn units(self) -> u32 {
        self.claim + self.heartbeats * self.heartbeat + self.finish
    }
}

#[tokio::main]
async fn main() {
    let programs = Programs::build();
    let stack = Stack::start().await;
    let mut env = stack.env();
    env.insert("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), "3".to_owned());
    env.insert("LEASE_SECONDS".to_owned(), LEASE_SECONDS.to_string());
    env.insert("REPORT_URL".to_owned(), "https://reports.example.com/reports".to_owned());
    let lambda = programs::start(&programs.function, &env).await;

    let own = own_time(&stack, &lambda).await;
    let progress = bar(3, "runs of 1 s, 1 min and 10 min, ten times faster");
    let run = |seconds| {
        let counted = counted(&stack, &lambda, seconds);
        let progress = &progress;
        async move {
            let counted = counted.await;
            progress.inc(1);
            counted
        }
    };
    let (second, minute, ten) = tokio::join!(run(1), run(60), run(600));
    progress.finish_and_clear();
    let tokens = stack.cognito.issued_tokens().len();
    let detached = long_runs::rows(&stack, &lambda, own.median()).await;

    let mut report = Report::new("cost");
    let counted = [second, minute, ten];
    report.table(
        &format!(
            "What a run was counted to do, with a final answer of {ANSWER} bytes, a lease of 30 s and no trigger item. \
             A write costs a unit for each KB of the item as stored. All these runs together took {tokens} token \
             request(s). The function's own time beside the agent's was {} of wall:",
            own.show("ms")
        ),
        ["a run of", "claim", "heartbeats", "finish", "write units", "read units"],
        counted
            .iter()
            .map(|run| {
                let Writes { claim, heartbeat, heartbeats, finish } = run.writes;
                [
                    time(run.seconds),
                    format!("1 × {claim}"),
                    format!("{heartbeats} × {heartbeat}"),
                    format!("1 × {finish}"),
                    run.writes.units().to_string(),
                    format!("{}", run.reads as f64 / 2.0),
                ]
            })
            .collect(),
    );
    report.table(
        "Dollars for 1,000 runs at us-east-1's prices, arm64 with 256 MB, DynamoDB on demand, without any free tier. \
         Warm: one after another in one environment, a token every 45 minutes. Cold: a new environment and token for \
         each:",
        ["1,000 runs of", "Lambda", "DynamoDB", "Cognito, warm", "all, warm", "Cognito, cold", "all, cold"],
        counted.iter().map(|run| dollars(run, own.median())).collect(),
    );
    report.table(
        "A detached run of two hours, as counted, and dollars for 1,000 of them, beside the agent and its token. A heartbeat \
         is a write, a read and an invocation; a look is a message, a read and an invocation:",
        ["heartbeats", "write units", "reads", "messages", "invocations", "dollars for 1,000"],
        detached,
    );
    report.table(
        "Step Functions, in dollars, beside the runs:",
        ["1,000 runs with", ""],
        long_runs::of_step_functions(),
    );
    let beat = f64::from(counted[2].writes.heartbeat) * price::WRITE_UNIT * RUNS;
    let trigger = price::WRITE_UNIT * RUNS;
    report.table(
        "Other costs, in dollars:",
        ["", "for 1,000"],
        vec![
            ["heartbeats, one in 10 s".to_owned(), format!("{beat:.5}")],
            ["runs with a trigger item of up to 1 KB: a write more".to_owned(), format!("{trigger:.5}")],
            ["runs with a trigger item, or of an event: an input of 1 KB".to_owned(), format!("{trigger:.5}")],
            ["runs of a schedule without `scheduledTime`: a guard item more".to_owned(), format!("{trigger:.5}")],
        ],
    );
    report.finish();
}

/// Measures the wall time of warm runs for which the agent answers at once.
async fn own_time(stack: &Stack, lambda: &Lambda) -> Samples {
    stack.agent.default(Script::ndjson_happy("all is well"));
    let mut own = Samples::default();
    for n in 0..100 {
        let since = Instant::now();
        assert!(lambda.invoke(invocation("own", n)).await.is_success(), "the run succeeds");
        own.time(since.elapsed());
    }
    own
}

async fn counted(stack: &Stack, lambda: &Lambda, seconds: u32) -> Counted {
    let trigger_id = format!("run-of-{seconds}-seconds");
    stack.agent.on_prompt(&trigger_id, lasting(Duration::from_secs(seconds.into()) / FASTER));
    let event = standins::Invocation::scheduled(&trigger_id, &trigger_id, "2026-01-01T00:00:00Z");
    let running = lambda.invoke(event.timeout(Duration::from_secs(900)));
    tokio::pin!(running);
    // A heartbeat writes the item as it stands after that heartbeat, so the item is read late in the run.
    let late = tokio::time::sleep(Duration::from_secs(seconds.into()) / FASTER * 9 / 10);
    let under_way = tokio::select! {
        outcome = &mut running => panic!("it ended early: {outcome:?}"),
        () = late => stack.dynamodb.executions(&trigger_id).remove(0),
    };
    let outcome = running.await;
    assert!(outcome.is_success(), "the run succeeds: {outcome:?}");
    let ended = stack.dynamodb.executions(&trigger_id).remove(0);
    assert_eq!(ended["status"], "completed");
    let key = format!("TRIGGER#{trigger_id}");
    let updates = stack.dynamodb.count_for("UpdateItem", &key);
    let claim = claimed(&stack.dynamodb, &key);
    Counted {
        seconds,
        writes: Writes {
            claim: write_units(&claim),
            heartbeat: write_units(&under_way),
            heartbeats: u32::try_from(updates).unwrap_or(u32::MAX) - 1,
            // A write is billed by the larger of the item before it and the item after it.
            finish: write_units(&ended).max(write_units(&under_way)),
        },
        reads: stack.dynamodb.count_for("GetItem", &key),
    }
}

/// Returns the item that the claim puts, as plain JSON.
fn claimed(dynamodb: &DynamoDb, key: &str) -> Value {
    let put = dynamodb.requests().into_iter().find(|r| r.operation == "PutItem" && r.key("PK") == key);
    let body = put.expect("it was claimed").json();
    let item = body["Item"].as_object().into_iter().flatten();
    item.filter_map(|(name, typed)| Some((name.clone(), typed.as_object()?.values().next()?.clone()))).collect()
}

/// Builds an answer that takes this long and sends an event every tenth of a second.
fn lasting(time: Duration) -> Script {
    let mut script = Script::ndjson_happy(&"x".repeat(ANSWER));
    let event = json!({"type": "modelContentBlockDeltaEvent", "delta": {"text": "and on "}});
    let event = Step::text(format!("{event}\n"));
    let pause = Duration::from_millis(100);
    let steps = (0..time.as_millis() / pause.as_millis()).flat_map(|_| [Step::Sleep(pause), event.clone()]);
    script.steps.splice(2..2, steps);
    script
}

fn dollars(run: &Counted, own_ms: f64) -> [String; 7] {
    let seconds = f64::from(run.seconds);
    let billed = (seconds * 1e3 + own_ms).ceil() / 1e3;
    let lambda = RUNS * (billed * MEMORY_GB * price::LAMBDA_SECOND + price::LAMBDA_REQUEST);
    // An eventually consistent read of up to 4 KB, or of a missing item, costs half a unit.
    let reads = run.reads as f64 / 2.0 * price::READ_UNIT;
    let dynamodb = RUNS * (f64::from(run.writes.units()) * price::WRITE_UNIT + reads);
    let warm = (RUNS * billed / TOKEN_SECONDS).ceil() * price::TOKEN;
    let cold = RUNS * price::TOKEN;
    let [lambda_, dynamodb_, warm_, cold_] = [lambda, dynamodb, warm, cold].map(|part| format!("{part:.4}"));
    let all = |tokens| format!("{:.4}", lambda + dynamodb + tokens);
    [time(run.seconds), lambda_, dynamodb_, warm_, all(warm), cold_, all(cold)]
}

fn time(seconds: u32) -> String {
    if seconds < 60 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}
