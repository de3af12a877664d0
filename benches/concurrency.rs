//! Measures what one stream costs among a thousand in one process, as on Lambda Managed Instances.
//!
//! `cargo bench --bench concurrency [-- --streams N --seconds N --deltas N]`; each stream sends so many deltas a second.

use std::time::{Duration, Instant};

use harness::{Programs, Report, cpu, invocation, peak_memory, programs, report, resident_memory, samples::digits};
use harness::{Trickle, TrickleAgent, samples::mib, say};
use serde_json::{Value, json};
use standins::{Lambda, Stack};
use tokio::task::JoinSet;

/// A heartbeat is sent every third of a lease.
const LEASE_SECONDS: u64 = 10;

#[tokio::main]
async fn main() {
    let (streams, seconds) = (programs::option("streams", 1000), programs::option("seconds", 30));
    let deltas = programs::option("deltas", 1).max(1);
    let programs = Programs::build_with(&["bare", "empty"]);
    let stack = Stack::start().await;
    // With them, each write of the stand-in takes longer than the one before.
    stack.dynamodb.without_index_and_stream();
    let agent = TrickleAgent::start(trickle(seconds, deltas));
    let mut env = stack.env();
    env.insert("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), streams.to_string());
    env.insert("LEASE_SECONDS".to_owned(), LEASE_SECONDS.to_string());
    env.insert("AGENT_API_URL".to_owned(), agent.url());
    let lambda: &'static Lambda = Box::leak(Box::new(programs::start(&programs.function, &env).await));
    let pid = lambda.process.pid();
    let is_pinned = programs::pin(pid, 1) && programs::pin(std::process::id(), 0);
    assert!(lambda.api.polled(Duration::from_secs(30)).await, "it asks for work");
    let (idle, cpu_before, since) = (resident_memory(pid), cpu(pid), Instant::now());

    let bar = report::bar(streams, "streams done");
    let mut runs = JoinSet::new();
    for n in 0..streams {
        runs.spawn(async move { lambda.invoke(invocation("trickle", n)).await.is_success() });
        // Lambda does not deliver invocations in one burst either. The benchmark measures the streams, not a queue at
        // the stand-ins.
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
            "{streams} streams at once in one process, each {} for {seconds} s, leases of {LEASE_SECONDS} s. The \
             stand-ins {}:",
            if deltas == 1 { "an event a second".to_owned() } else { format!("{deltas} events a second") },
            if is_pinned { "have a core of their own" } else { "share its cores" },
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
            ["most that an event was sent too late".to_owned(), {
                format!("{} ms", digits(agent.lateness().as_secs_f64() * 1e3))
            }],
        ],
    );
    report.aim(&format!("Peak memory of {streams} streams"), mib(peak), "MiB", 120.0);
    report.aim(&format!("CPU of {streams} streams ÷ their time"), share, "%", 60.0);
    if (completed, recorded) != (streams, streams) {
        say(&lambda.logs().iter().filter(|line| line.contains("\"ERROR\"")).take(5).cloned().collect::<String>());
    }
    report.finish();
}

fn trickle(seconds: u64, deltas: u64) -> Trickle {
    let line = |event: Value| format!("{event}\n");
    let usage = json!({"inputTokens": 1100, "outputTokens": 170, "totalTokens": 1270});
    Trickle {
        begin: line(json!({"type": "beforeInvocationEvent"}))
            + &line(json!({"type": "modelMessageStartEvent", "role": "assistant"})),
        delta: line(json!({"type": "modelContentBlockDeltaEvent", "delta": {"text": "and on "}})),
        deltas: seconds * deltas,
        interval: Duration::from_secs(1) / u32::try_from(deltas).unwrap_or(u32::MAX),
        end: line(json!({"type": "modelMessageStopEvent", "stopReason": "endTurn"}))
            + &line(json!({"type": "modelMetadataEvent", "usage": usage}))
            + &line(json!({"type": "serverCompletionEvent"})),
    }
}
