//! Measures the function's design choices: each is compared with the same function that makes one choice differently.
//!
//! `cargo bench --bench choices [-- --rounds N --streams N --seconds N]`

use std::path::Path;
use std::time::{Duration, Instant};

use harness::relay::{Death, Relays};
use harness::samples::mib;
use harness::{Programs, Report, Samples, cpu, invocation, peak_memory, programs, report, samples::digits};
use serde_json::json;
use standins::stack::Env;
use standins::{CognitoOperation, Fault, Lambda, Rule, Script, Stack, Step, TokenAnswer};
use tokio::task::JoinSet;

const RUNS_A_ROUND: u32 = 20;
/// The round trip of one request to a service. On loopback the effect of the distance would be hidden.
const DISTANCE: Duration = Duration::from_millis(20);

/// The wall and CPU times of one measured thing.
#[derive(Default)]
struct Measured {
    wall: Samples,
    cpu: Samples,
}

impl Measured {
    fn row(&self, what: &str) -> [String; 3] {
        [what.to_owned(), self.wall.show("ms"), self.cpu.show("ms")]
    }
}

#[tokio::main]
async fn main() {
    let rounds = programs::option("rounds", 40);
    let programs = Programs::build();
    let program = programs.baseline("other");
    let mut report = Report::new("choices");
    let variants = [
        Variant { name: "as it ships: current_thread, mimalloc", program: &program, other: "" },
        Variant { name: "multi_thread", program: &program, other: "multi_thread" },
        Variant { name: "the system's allocator", program: &programs.baseline("malloc"), other: "" },
    ];
    variants_in_turn(&variants, rounds, &mut report).await;
    frozen(&program, rounds, &mut report).await;
    early(&program, rounds, &mut report).await;
    rungs(&programs, rounds, &mut report).await;
    report.finish();
}

async fn stack() -> Stack {
    let stack = Stack::start().await;
    stack.agent.accept_any_bearer();
    stack.agent.default(Script::ndjson_happy("all is well"));
    stack
}

fn with(mut env: Env, other: &str) -> Env {
    env.insert("OTHER".to_owned(), other.to_owned());
    env
}

async fn run(lambda: &Lambda, name: &str, n: u64) {
    let outcome = lambda.invoke(invocation(name, n)).await;
    assert!(outcome.is_success(), "the run succeeds: {outcome:?}");
}

/// Makes `runs` runs one after another and adds the time of one run to `measured`.
async fn measure_runs(lambda: &Lambda, name: &str, runs: u32, next: &mut u64, measured: &mut Measured) {
    let (since, before) = (Instant::now(), cpu(lambda.process.pid()));
    for _ in 0..runs {
        run(lambda, name, *next).await;
        *next += 1;
    }
    measured.wall.time(since.elapsed() / runs);
    measured.cpu.time((cpu(lambda.process.pid()) - before) / runs);
}

async fn measure_start(program: &Path, env: &Env, measured: &mut Measured) {
    let since = Instant::now();
    let lambda = programs::start(program, env).await;
    assert!(lambda.api.polled(Duration::from_secs(10)).await, "it asks for work");
    measured.wall.time(since.elapsed());
    measured.cpu.time(cpu(lambda.process.pid()));
    end(lambda).await;
}

async fn end(lambda: Lambda) {
    lambda.kill();
    lambda.process.wait_exit(Duration::from_secs(10)).await;
}

/// The function with one choice made differently. It is measured by its start, its runs, and many runs at once.
struct Variant<'a> {
    name: &'static str,
    program: &'a Path,
    other: &'static str,
}

async fn variants_in_turn(variants: &[Variant<'_>], rounds: u64, report: &mut Report) {
    let stack = stack().await;
    let mut measured = Vec::new();
    let mut next = 0;
    for variant in variants {
        let env = with(stack.env(), variant.other);
        let lambda = programs::start(variant.program, &env).await;
        measure_runs(&lambda, "warm-up", RUNS_A_ROUND, &mut next, &mut Measured::default()).await;
        measured.push((variant, env, lambda, Measured::default(), Measured::default()));
    }
    let bar = report::bar(rounds, "variants");
    for _ in 0..rounds {
        for (variant, env, lambda, starts, runs) in &mut measured {
            measure_start(variant.program, env, starts).await;
            measure_runs(lambda, variant.name, RUNS_A_ROUND, &mut next, runs).await;
        }
        stack.dynamodb.clear_requests();
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (streams, seconds) = (programs::option("streams", 300), programs::option("seconds", 10));
    let mut rows = Vec::new();
    for (variant, _, lambda, starts, runs) in measured {
        end(lambda).await;
        let (used, peak) = concurrent(variant, streams, seconds).await;
        rows.push([
            variant.name.to_owned(),
            starts.wall.show("ms"),
            starts.cpu.show("ms"),
            runs.wall.show("ms"),
            runs.cpu.show("ms"),
            format!("{} ms", digits(used.as_secs_f64() * 1e3 / streams as f64)),
            format!("{} MiB", digits(mib(peak))),
        ]);
    }
    report.table(
        &format!(
            "tokio's flavour and the allocator. Medians of {rounds} rounds of a start and {RUNS_A_ROUND} warm runs of \
             each, in turn, ± half the distance between the quartiles; then {streams} streams at once, an event a \
             second for {seconds} s, once:"
        ),
        ["", "start to first poll", "CPU", "warm run", "CPU", "CPU of one of the streams", "peak memory of all"],
        rows,
    );
}

async fn concurrent(variant: &Variant<'_>, streams: u64, seconds: u64) -> (Duration, u64) {
    let stack = stack().await;
    let event = json!({"type": "modelContentBlockDeltaEvent", "delta": {"text": "and on "}});
    let event = Step::text(format!("{event}\n"));
    let mut script = Script::ndjson_happy("all is well");
    let at = script.steps.len() / 2;
    let steps = (0..seconds).flat_map(|_| [Step::Sleep(Duration::from_secs(1)), event.clone()]);
    script.steps.splice(at..at, steps);
    stack.agent.default(script);
    let mut env = with(stack.env(), variant.other);
    env.insert("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), streams.to_string());
    env.insert("LEASE_SECONDS".to_owned(), "10".to_owned());
    let lambda = std::sync::Arc::new(programs::start(variant.program, &env).await);
    assert!(lambda.api.polled(Duration::from_secs(30)).await, "it asks for work");
    let before = cpu(lambda.process.pid());
    let mut runs = JoinSet::new();
    for n in 0..streams {
        let lambda = std::sync::Arc::clone(&lambda);
        runs.spawn(async move { run(&lambda, "trickle", n).await });
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    while let Some(ended) = runs.join_next().await {
        ended.expect("every stream completes");
    }
    (cpu(lambda.process.pid()) - before, peak_memory(lambda.process.pid()))
}

async fn frozen(program: &Path, rounds: u64, report: &mut Report) {
    let stack = stack().await;
    let mut rows = Vec::new();
    for (other, kept) in [("", "kept"), ("unkept", "not kept")] {
        let relays = Relays::start(&stack).await;
        let lambda = programs::start(program, &with(relays.env(&stack), other)).await;
        let mut next = 0;
        measure_runs(&lambda, kept, RUNS_A_ROUND, &mut next, &mut Measured::default()).await;
        let mut kinds = vec![("warm", None), ("a freeze, none died", None)];
        if other.is_empty() {
            kinds.push(("a freeze, closed", Some(Death::Closed)));
            kinds.push(("a freeze, reset when used", Some(Death::Reset)));
            kinds.push(("a freeze, forgotten in silence", Some(Death::Silent)));
        }
        for (at, (kind, death)) in kinds.into_iter().enumerate() {
            // A run that waits for a time limit takes seconds, and always the same number of them, so a few rounds are
            // enough.
            let rounds = if death == Some(Death::Silent) { 3 } else { rounds };
            let (mut measured, mut opened) = (Measured::default(), 0);
            let bar = report::bar(rounds, "freezing");
            for _ in 0..rounds {
                // These runs replace the connections that died in the round before.
                measure_runs(&lambda, kept, 3, &mut next, &mut Measured::default()).await;
                if at > 0 {
                    lambda.freeze();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    if let Some(death) = death {
                        relays.sever(death).await;
                    }
                    lambda.thaw();
                }
                let before = relays.opened();
                measure_runs(&lambda, kept, 1, &mut next, &mut measured).await;
                opened += relays.opened() - before;
                bar.inc(1);
            }
            bar.finish_and_clear();
            let [what, wall, cpu] = measured.row(&format!("{kept}: {kind}"));
            rows.push([what, wall, cpu, digits(opened as f64 / rounds as f64)]);
        }
        stack.dynamodb.clear_requests();
    }
    report.table(
        &format!(
            "A run after a freeze, connections to AWS kept and not kept (the agent's never are), the token cached, \
             through a relay. Medians of {rounds} runs (3 of those that wait for a time limit), ± half the distance \
             between the quartiles:"
        ),
        ["", "wall", "CPU", "connections opened"],
        rows,
    );
}

async fn early(program: &Path, rounds: u64, report: &mut Report) {
    let mut rows = Vec::new();
    for (distance, place) in [(Duration::ZERO, "loopback"), (DISTANCE, "20 ms away")] {
        let stack = stack().await;
        if !distance.is_zero() {
            for operation in [CognitoOperation::Token, CognitoOperation::DescribeUserPoolClient] {
                stack.cognito.answer_always(operation, TokenAnswer::Delay(distance));
            }
            stack.dynamodb.inject(Rule::any(Fault::Delay(distance)));
        }
        let others = [("", "with the claim, as it ships"), ("early_token", "before the first poll")];
        let mut measured = [Measured::default(), Measured::default()];
        let bar = report::bar(rounds, "first runs");
        for round in 0..rounds {
            for ((other, _), measured) in others.iter().zip(&mut measured) {
                let env = with(stack.env(), other);
                let since = Instant::now();
                let lambda = programs::start(program, &env).await;
                run(&lambda, &format!("first-{other}"), round).await;
                measured.wall.time(since.elapsed());
                measured.cpu.time(cpu(lambda.process.pid()));
                end(lambda).await;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        rows.extend(
            others.iter().zip(&measured).map(|((_, what), measured)| measured.row(&format!("{place}, {what}"))),
        );
    }
    report.table(
        &format!(
            "Start and first run of an invocation that already waits, by when the secret and the token are asked for. \
             20 ms away: every answer of Cognito and DynamoDB comes so much later. Medians of {rounds} rounds in turn, \
             ± half the distance between the quartiles:"
        ),
        ["", "wall", "CPU"],
        rows,
    );
}

/// Measures the steps between the empty function and this one.
async fn rungs(programs: &Programs, rounds: u64, report: &mut Report) {
    let stack = stack().await;
    let env = stack.env();
    let rungs = [
        ("empty lambda_runtime function", programs.empty.clone()),
        ("and the log (tracing-subscriber)", programs.baseline("logged")),
        ("and the HTTP clients (reqwest, rustls, aws-lc, webpki-roots)", programs.baseline("clients")),
        ("without the log, with the SDK, one AWS client and mimalloc: the bare client", programs.bare.clone()),
        ("agent-trigger: all of it, two AWS clients", programs.function.clone()),
    ];
    let mut measured: [Measured; 5] = std::array::from_fn(|_| Measured::default());
    let rounds = rounds * 3;
    let bar = report::bar(rounds, "starting");
    for _ in 0..rounds {
        for ((_, program), measured) in rungs.iter().zip(&mut measured) {
            measure_start(program, &env, measured).await;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let rows = rungs.iter().zip(&measured).map(|((what, program), measured)| {
        let [what, wall, cpu] = measured.row(what);
        let size = std::fs::metadata(program).map_or(0, |file| file.len());
        [what, wall, cpu, format!("{} MiB", digits(mib(size)))]
    });
    report.table(
        &format!(
            "What dependencies add to the start, to the first poll. Medians of {rounds} rounds, one of each in turn, ± \
             half the distance between the quartiles:"
        ),
        ["", "wall", "CPU", "binary"],
        rows.collect(),
    );
}
