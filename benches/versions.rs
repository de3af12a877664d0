//! Measures this version of the function against a build of another one, in interleaved pairs.
//!
//! `cargo bench --bench versions -- --before PATH [--now PATH] [--pairs N]`, where a PATH is the function of another
//! version, built with `cargo build --release --bin agent-trigger` in a checkout of it. The version before runs twice in
//! each pair: the ratio of it to itself says how far the other ratios are to be trusted.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use harness::{Programs, Report, Samples, cpu, invocation, programs, report, samples::digits};
use standins::{Lambda, Script, Stack, Step, stack::Env};

/// Starts of one half of a pair.
const STARTS: u32 = 20;
/// Warm runs of one half of a pair.
const RUNS: u32 = 100;
/// Bytes of a streamed answer (64 MiB).
const BODY: usize = 64 * 1024 * 1024;
/// The highest ratio to the other version that is aimed for.
const LIMIT: f64 = 1.03;

/// The wall and CPU times of one program.
#[derive(Default)]
struct Measured {
    wall: Samples,
    cpu: Samples,
}

/// A thing that is measured with each program, and its times: the other version's, the same once more, and this one's.
struct Case {
    name: String,
    kind: Kind,
    measured: [Measured; 3],
}

enum Kind {
    /// From spawning the process to its first poll for work.
    Start,
    /// From spawning the process to the end of its first run.
    FirstRun,
    /// A run of a process that has run before.
    WarmRun,
    /// A run whose answer is long.
    Stream(Script),
}

#[tokio::main]
async fn main() {
    let pairs = programs::option("pairs", 10);
    let before = path_option("before").expect("--before takes the path of a built function");
    let now = path_option("now").unwrap_or_else(|| Programs::build().function);
    let stack = Stack::start().await;
    // The stand-in's own work for the index and the stream is no cost of the function.
    stack.dynamodb.without_index_and_stream();
    stack.agent.accept_any_bearer();
    let happy = Script::ndjson_happy("all is well");
    stack.agent.default(happy.clone());
    let env = stack.env();
    let others = [before.as_path(), before.as_path(), now.as_path()];
    let mut cases = cases();
    let warm = [start(others[0], &env).await, start(others[1], &env).await, start(others[2], &env).await];
    let bar = report::bar(pairs * cases.len() as u64, "in pairs");
    let mut n = 0;
    for pair in 0..=pairs {
        for case in &mut cases {
            // Each program is the first of a round as often as the others.
            for turn in 0..others.len() {
                let which = (turn + usize::try_from(pair).unwrap_or(0)) % others.len();
                n += 1;
                let id = format!("versions-{n}");
                let (wall, used) = match &case.kind {
                    Kind::Start => starts(others[which], &env, None).await,
                    Kind::FirstRun => starts(others[which], &env, Some(&id)).await,
                    Kind::WarmRun => runs(&warm[which], &id, RUNS).await,
                    Kind::Stream(script) => {
                        stack.agent.default(script.clone());
                        let times = runs(&warm[which], &id, 1).await;
                        stack.agent.default(happy.clone());
                        times
                    }
                };
                // The first round fills caches.
                if pair > 0 {
                    case.measured[which].wall.time(wall);
                    case.measured[which].cpu.time(used);
                }
                stack.dynamodb.clear_requests();
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    finish(&cases, pairs);
}

fn finish(cases: &[Case], pairs: u64) {
    let mut report = Report::new("versions");
    let mut rows = Vec::new();
    for Case { name, measured: [before, again, now], .. } in cases {
        let ratio = |by: &Measured| [by.wall.by(&before.wall), by.cpu.by(&before.cpu)].map(|ratios| ratios.show("×"));
        let ([same_wall, same_cpu], [wall, used]) = (ratio(again), ratio(now));
        rows.push([name.clone(), before.cpu.show("ms"), now.cpu.show("ms"), used, same_cpu, wall, same_wall]);
        report.aim(&format!("CPU of {name} ÷ before"), now.cpu.by(&before.cpu).median(), "×", LIMIT);
    }
    report.table(
        &format!(
            "Medians of {pairs} interleaved pairs, ± half the distance between the quartiles. One half of a pair is \
             {STARTS} starts, {RUNS} warm runs, or one answer of {} MiB. \"Same\" is the other version measured against \
             itself:",
            BODY / (1024 * 1024)
        ),
        ["", "CPU before", "CPU now", "CPU ÷ before", "same", "wall ÷ before", "same"],
        rows,
    );
    report.finish();
    report::say(&format!("the worst ratio of CPU: {}", digits(worst(cases))));
}

fn worst(cases: &[Case]) -> f64 {
    let ratios = cases.iter().map(|Case { measured: [before, _, now], .. }| now.cpu.by(&before.cpu).median());
    ratios.fold(0.0, f64::max)
}

fn cases() -> Vec<Case> {
    let line = |size: usize| {
        format!("{{\"type\":\"modelContentBlockDeltaEvent\",\"delta\":{{\"text\":\"{}\"}}}}\n", "x".repeat(size - 60))
    };
    let frame = |size: usize| {
        format!(
            "data: {{\"event\":{{\"contentBlockDelta\":{{\"delta\":{{\"text\":\"{}\"}}}}}}}}\n\n",
            "x".repeat(size - 60)
        )
    };
    let stream = |script: Script, event: String| {
        let times = (BODY / event.len()) as u64;
        Kind::Stream(script.insert(3, Step::RepeatBytes { bytes: event.into(), times }))
    };
    let (ndjson, sse) = (|| Script::ndjson_happy("all is well"), || Script::sse_happy("all is well"));
    let kinds = [
        ("start to first poll", Kind::Start),
        ("start and first run", Kind::FirstRun),
        ("warm run", Kind::WarmRun),
        ("NDJSON of 1 KiB", stream(ndjson(), line(1024))),
        ("SSE of 1 KiB", stream(sse(), frame(1024))),
        ("NDJSON of 64 KiB", stream(ndjson(), line(64 * 1024))),
        ("SSE of 64 KiB", stream(sse(), frame(64 * 1024))),
    ];
    kinds.into_iter().map(|(name, kind)| Case { name: name.to_owned(), kind, measured: Default::default() }).collect()
}

/// Starts a program and lets it run once, so that it has a token and connections.
async fn start(program: &Path, env: &Env) -> Lambda {
    let lambda = programs::start(program, env).await;
    runs(&lambda, "versions-warm", 1).await;
    lambda
}

/// Returns the mean wall and CPU time of a start, up to the end of a first run if `trigger_id` names its trigger.
async fn starts(program: &Path, env: &Env, trigger_id: Option<&str>) -> (Duration, Duration) {
    let (mut wall, mut used) = (Duration::ZERO, Duration::ZERO);
    for n in 0..STARTS {
        let since = Instant::now();
        let lambda = programs::start(program, env).await;
        match trigger_id {
            Some(trigger_id) => {
                let outcome = lambda.invoke(invocation(trigger_id, n.into())).await;
                assert!(outcome.is_success(), "the run succeeds: {outcome:?}");
            }
            None => assert!(lambda.api.polled(Duration::from_secs(10)).await, "it asks for work"),
        }
        wall += since.elapsed();
        used += cpu(lambda.process.pid());
        lambda.kill();
        lambda.process.wait_exit(Duration::from_secs(10)).await;
    }
    (wall / STARTS, used / STARTS)
}

/// Returns the mean wall and CPU time of a run.
async fn runs(lambda: &Lambda, trigger_id: &str, times: u32) -> (Duration, Duration) {
    let (since, before) = (Instant::now(), cpu(lambda.process.pid()));
    for n in 0..times {
        let outcome = lambda.invoke(invocation(trigger_id, n.into())).await;
        assert!(outcome.is_success(), "the run succeeds: {outcome:?}");
    }
    (since.elapsed() / times, (cpu(lambda.process.pid()) - before) / times)
}

/// Returns the path that `--name` gives, if there is such a file.
fn path_option(name: &str) -> Option<PathBuf> {
    let mut arguments = std::env::args().skip_while(|argument| argument.strip_prefix("--") != Some(name)).skip(1);
    arguments.next().map(PathBuf::from).filter(|path| path.is_file())
}
