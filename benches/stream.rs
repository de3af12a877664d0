//! Measures the CPU and the memory that reading an answer takes, beside a client that only drains it and beside curl.
//!
//! `cargo bench --bench stream [-- --rounds N]`

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{
    Programs, Report, Samples, cpu, invocation, peak_memory, programs, report, resident_memory, samples::digits,
    samples::mib,
};
use serde_json::{Value, json};
use standins::stack::Env;
use standins::{Lambda, Script, Stack, Step};

mod streams;

const BODY: usize = 200 * 1024 * 1024;

/// An answer of [`BODY`] bytes.
struct Case {
    name: String,
    script: Script,
    /// The highest ratio to draining and to curl that is aimed for, if any.
    limits: Option<(f64, f64)>,
}

#[tokio::main]
async fn main() {
    let rounds = programs::option("rounds", 7);
    let programs = Programs::build_with(&["bare", "empty"]);
    let stack = Stack::start().await;
    stack.agent.accept_any_bearer();
    let env = stack.env();
    let mut report = Report::new("stream");

    let cases = cases();
    let bar = report::bar(rounds * cases.len() as u64, "streaming 200 MiB");
    let mut rows = Vec::new();
    for case in &cases {
        stack.agent.default(case.script.clone());
        let [function, drain] = [&programs.function, &programs.bare].map(|program| programs::start(program, &env));
        let (function, drain) = (function.await, drain.await);
        let [mut ours, mut drained, mut curled] = std::array::from_fn(|_| Samples::default());
        for round in 0..rounds {
            ours.time(cpu_of_run(&function, &format!("{}-ours", case.name), round).await);
            drained.time(cpu_of_run(&drain, &format!("{}-drain", case.name), round).await);
            if let Some(time) = cpu_of_curl(&stack).await {
                curled.time(time);
            }
            stack.dynamodb.clear_requests();
            bar.inc(1);
        }
        let (by_drain, by_curl) = (ours.by(&drained).median(), ours.by(&curled).median());
        rows.push([
            case.name.clone(),
            ours.show("ms"),
            drained.show("ms"),
            curled.show("ms"),
            format!("{} ×", digits(by_drain)),
            format!("{} ×", digits(by_curl)),
            format!("{} MiB", digits(mib(peak_memory(function.process.pid())))),
        ]);
        if let Some((drain_limit, curl_limit)) = case.limits {
            report.aim(&format!("CPU for 200 MiB, {} ÷ draining", case.name), by_drain, "×", drain_limit);
            report.aim(&format!("CPU for 200 MiB, {} ÷ curl", case.name), by_curl, "×", curl_limit);
        }
    }
    bar.finish_and_clear();
    report.table(
        &format!(
            "CPU of the process for an answer of 200 MiB, medians of {rounds} rounds in turn, ± half the distance \
             between the quartiles. A chunk of the HTTP body is one event. Draining is the same client reading every \
             chunk and doing nothing:"
        ),
        ["events", "agent-trigger", "draining", "curl", "÷ draining", "÷ curl", "peak memory"],
        rows,
    );

    large_events(&programs, &stack, &env, rounds, &mut report).await;
    many_runs(&programs, &stack, &env, &mut report).await;
    report.finish();
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (size, limits) in [(1024, (1.6, 3.0)), (64 * 1024, (2.0, 2.0))] {
        let ndjson = |text: String| json!({"type": "modelContentBlockDeltaEvent", "delta": {"text": text}});
        let sse = |text: String| json!({"event": {"contentBlockDelta": {"delta": {"text": text}}}});
        let kib = size / 1024;
        let mut case = |kind: &str, name: &str, event: &dyn Fn(usize) -> Value, limits| {
            let (before, after) = if kind == "NDJSON" { ("", "\n") } else { ("data: ", "\n\n") };
            // The event is filled with as many elements as fit.
            let overhead = format!("{before}{}{after}", event(0)).len();
            let one = format!("{before}{}{after}", event(1)).len() - overhead;
            let event = format!("{before}{}{after}", event((size - overhead) / one));
            cases.push(Case {
                name: format!("{kind}, {kib} KiB{name}"),
                script: repeated(kind, &event, BODY / event.len()),
                limits,
            });
        };
        case("NDJSON", "", &|n| ndjson("x".repeat(n)), Some(limits));
        case("SSE", "", &|n| sse("x".repeat(n)), Some(limits));
        let records = |n| json!({"message": {"role": "user", "content": vec![json!({"id": 1, "tags": ["a"]}); n]}});
        case("SSE", ", small records", &records, None);
    }
    // Small events, as each protocol's agents send them: an event a chunk.
    for stream in streams::all() {
        let times = (BODY / stream.delta.len()) as u64;
        let steps = [
            Step::text(&stream.begin),
            Step::RepeatBytes { bytes: Bytes::from(stream.delta), times },
            Step::text(&stream.end),
        ];
        cases.push(Case {
            name: format!("{}, small", stream.name),
            script: Script::ok(stream.content_type, steps),
            limits: Some((1.6, 3.0)),
        });
    }
    cases
}

/// Returns the happy script with `event` inserted `times` times.
fn repeated(kind: &str, event: &str, times: usize) -> Script {
    let happy = if kind == "NDJSON" { Script::ndjson_happy("all is well") } else { Script::sse_happy("all is well") };
    happy.insert(3, Step::RepeatBytes { bytes: Bytes::from(event.to_owned()), times: times as u64 })
}

async fn cpu_of_run(lambda: &Lambda, trigger_id: &str, n: u64) -> Duration {
    let before = cpu(lambda.process.pid());
    run(lambda, trigger_id, n).await;
    cpu(lambda.process.pid()) - before
}

async fn run(lambda: &Lambda, trigger_id: &str, n: u64) {
    let outcome = lambda.invoke(invocation(trigger_id, n)).await;
    assert!(outcome.is_success(), "the run succeeds: {outcome:?}");
}

async fn cpu_of_curl(stack: &Stack) -> Option<Duration> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--no-buffer", "--json", "{}", "--output", "/dev/null"]);
    curl.arg(format!("{}/invocations", stack.agent.url())).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || programs::cpu_of(&mut curl)).await.ok().flatten()
}

/// Measures eight events of 16 MiB, far more than the function ever keeps of one.
async fn large_events(programs: &Programs, stack: &Stack, env: &Env, rounds: u64, report: &mut Report) {
    stack.agent.default(Script::large("all is well", 16 * 1024 * 1024, 8));
    let [mut ours, mut drained] = std::array::from_fn(|_| Samples::default());
    let mut peak = 0;
    for round in 0..rounds {
        let since = Instant::now();
        let function = programs::start(&programs.function, env).await;
        run(&function, "large-ours", round).await;
        ours.time(since.elapsed());
        peak = peak.max(peak_memory(function.process.pid()));
        let since = Instant::now();
        run(&programs::start(&programs.bare, env).await, "large-drain", round).await;
        drained.time(since.elapsed());
    }
    report.table(
        &format!("Eight events of 16 MiB in a process of its own, start included, medians of {rounds} rounds in turn:"),
        ["", "wall", "draining", "highest peak memory"],
        vec![["agent-trigger".to_owned(), ours.show("ms"), drained.show("ms"), format!("{} MiB", digits(mib(peak)))]],
    );
    report.aim("Eight events of 16 MiB, wall", ours.median(), "ms", 500.0);
    report.aim("Eight events of 16 MiB, peak memory", mib(peak), "MiB", 24.0);
}

/// Measures how much memory a process holds as it gets older.
async fn many_runs(programs: &Programs, stack: &Stack, env: &Env, report: &mut Report) {
    stack.agent.default(Script::ndjson_happy("all is well"));
    let function = programs::start(&programs.function, env).await;
    let mut held = Vec::new();
    for n in 0..=600 {
        if matches!(n, 1 | 10 | 100 | 200 | 300 | 400 | 500 | 600) {
            held.push([n.to_string(), format!("{} MiB", digits(mib(resident_memory(function.process.pid()))))]);
        }
        if n < 600 {
            run(&function, "many", n).await;
        }
    }
    report.table("Memory held after this many runs in one process:", ["runs", "resident"], held);
    report.aim("Memory after 600 runs", mib(resident_memory(function.process.pid())), "MiB", 20.0);
}
