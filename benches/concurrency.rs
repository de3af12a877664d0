//! Measures what one stream costs among a thousand in one process, as on Lambda Managed Instances.
//!
//! `cargo bench --bench concurrency [-- --streams N --seconds N]`

use std::time::{Duration, Instant};

use harness::{Programs, Report, cpu, invocation, peak_memory, programs, report, resident_memory, samples::digits};
use harness::{samples::mib, say};
use serde_json::json;
use standins::{Lambda, Script, Stack, Step};
use tokio::task::JoinSet;

/// A heartbeat is sent every third of a lease.
const LEASE_SECONDS: u64 = 10;

#[tokio::main]
async fn main() {
    let (streams, seconds) = (programs::option("streams", 1000), programs::option("seconds", 30));
    let programs = Programs::build();
    let stack = Stack::start().await;
    stack.agent.default(trickle(seconds));
    let mut env = stack.env();
    env.insert("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), streams.to_string());
    env.insert("LEASE_SECONDS".to_owned(), LEASE_SECONDS.to_string());
    let lambda: &'static Lambda = Box::leak(Box::new(programs::start(&programs.function, &env).await));
    let pid = lambda.process.pid();
    assert!(lambda.api.polled(Duration::from_secs(30)).await, "it asks for work");
    let (idle, cpu_before, since) = (resident_memory(pid), cpu(pid), Instant::now());

    let bar = report::bar(streams, "streams done");
    let mut runs = JoinSet::new();
    for n in 0..streams {
        runs.spawn(async move { lambda.invoke(invocation("trickle", n)).await.is_success() });
        // Lambda does not deliver invocations in one burst either. The benchmark measures the streams, not a queue at
        // the
        // stand-ins.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut completed = 0;
    while let Some(success) = runs.join_next().await {
        completed += u64::from(success.is_ok_and(|success| success));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (peak, used, took) = (peak_memory(pid), cpu(pid) - cpu_before, since.elapsed());

    let recorded = stack.dynamodb.executions("trickle");
    let recorded = recorded.iter().filter(|execution| execution["status"] == "completed").count() as u64;
    let heartbeats = stack.dynamodb.count("UpdateItem") as u64 - streams;
    let each = |bytes: u64| format!("{} KiB", digits(bytes as f64 / 1024.0 / streams as f64));
    let mut report = Report::new("concurrency");
    let share = 100.0 * used.as_secs_f64() / took.as_secs_f64();
    report.table(
        &format!(
            "{streams} streams at once in one process, each an event a second for {seconds} s, leases of \
             {LEASE_SECONDS} s:"
        ),
        ["", ""],
        vec![
            ["completed, according to Lambda's response".to_owned(), format!("{completed} of {streams}")],
            ["completed, according to the table".to_owned(), format!("{recorded} of {streams}")],
            ["heartbeats written".to_owned(), format!("{heartbeats} ({} per stream)", heartbeats / streams)],
            ["token requests".to_owned(), stack.cognito.issued_tokens().len().to_string()],
            ["peak memory".to_owned(), format!("{} MiB", digits(mib(peak)))],
            ["memory with all of them polling, none running".to_owned(), format!("{} MiB", digits(mib(idle)))],
            ["memory per stream".to_owned(), each(peak.saturating_sub(idle))],
            ["CPU per stream, with all its events and heartbeats".to_owned(), {
                format!("{} ms", digits(used.as_secs_f64() * 1e3 / streams as f64))
            }],
            ["CPU of all streams ÷ their time".to_owned(), format!("{} %", digits(share))],
        ],
    );
    report.aim(&format!("Peak memory of {streams} streams"), mib(peak), "MiB", 150.0);
    if (completed, recorded) != (streams, streams) {
        say(&lambda.logs().iter().filter(|line| line.contains("\"ERROR\"")).take(5).cloned().collect::<String>());
    }
    report.finish();
}

fn trickle(seconds: u64) -> Script {
    let event = json!({"type": "modelContentBlockDeltaEvent", "delta": {"text": "and on "}});
    let event = Step::text(format!("{event}\n"));
    let mut script = Script::ndjson_happy("all is well");
    let at = script.steps.len() / 2;
    let steps = (0..seconds).flat_map(|_| [Step::Sleep(Duration::from_secs(1)), event.clone()]);
    script.steps.splice(at..at, steps);
    script
}
