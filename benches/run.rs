//! Measures a warm run against a bare client that makes the same calls one after another.
//!
//! `cargo bench --bench run [-- --rounds N]`

use std::time::Instant;

use harness::{Programs, Report, Samples, cpu, invocation, programs, report, samples::digits};
use standins::{Lambda, Script, Stack};

const RUNS_A_ROUND: u64 = 50;

/// A running function and the times of its rounds.
struct Runner {
    lambda: Lambda,
    name: &'static str,
    runs: u64,
    wall: Samples,
    cpu: Samples,
}

impl Runner {
    async fn round(&mut self, is_measured: bool) {
        let (since, cpu_before) = (Instant::now(), cpu(self.lambda.process.pid()));
        for _ in 0..RUNS_A_ROUND {
            let outcome = self.lambda.invoke(invocation(self.name, self.runs)).await;
            assert!(outcome.is_success(), "the run succeeds: {outcome:?}");
            self.runs += 1;
        }
        if is_measured {
            let runs = u32::try_from(RUNS_A_ROUND).unwrap_or(1);
            self.wall.time(since.elapsed() / runs);
            self.cpu.time((cpu(self.lambda.process.pid()) - cpu_before) / runs);
        }
    }

    fn row(&self, by: &Self) -> [String; 4] {
        let ratio = digits(self.wall.by(&by.wall).median());
        [self.name.to_owned(), self.wall.show("ms"), self.cpu.show("ms"), format!("{ratio} ×")]
    }
}

#[tokio::main]
async fn main() {
    let rounds = programs::option("rounds", 40);
    let programs = Programs::build();
    let stack = Stack::start().await;
    // A stand-in's own work for the index and the stream is not a cost of either client, and the more of it there is,
    // the colder the processor's caches are.
    stack.dynamodb.without_index_and_stream();
    stack.agent.accept_any_bearer();
    stack.agent.default(Script::ndjson_happy("all is well"));
    let env = stack.env();
    let mut runners = Vec::new();
    for (program, name) in [(&programs.bare, "bare client"), (&programs.function, "agent-trigger")] {
        let lambda = programs::start(program, &env).await;
        runners.push(Runner { lambda, name, runs: 0, wall: Samples::default(), cpu: Samples::default() });
    }
    let bar = report::bar(rounds, "running");
    for round in 0..=rounds {
        for runner in &mut runners {
            // The first round discovers settings, connects and fills caches, so it is not measured.
            runner.round(round > 0).await;
        }
        stack.dynamodb.clear_requests();
        bar.inc(1);
    }
    bar.finish_and_clear();

    let [bare, function] = &runners[..] else { unreachable!("two were started") };
    let mut report = Report::new("run");
    report.table(
        &format!(
            "Medians of {rounds} rounds of {RUNS_A_ROUND} warm runs each, the two in turn, ± half the distance between \
             the quartiles. A run is claim, trigger read, a cached token, a small stream, finish:"
        ),
        ["", "wall", "CPU of the process", "wall ÷ the bare client's"],
        vec![bare.row(bare), function.row(bare)],
    );
    report.aim("Warm run ÷ a bare client's", function.wall.by(&bare.wall).median(), "×", 1.4);
    report.aim("CPU of a warm run", function.cpu.median(), "ms", 0.9);
    report.finish();
}
