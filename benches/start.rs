//! Measures how long a start takes: to the first poll for work, and to the end of the first run.
//!
//! `cargo bench --bench start [-- --rounds N]`

use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Programs, Report, Samples, cpu, invocation, programs, report, samples::digits};
use standins::stack::Env;
use standins::{Lambda, Script, Stack};

/// The wall and CPU times of one measured thing.
#[derive(Default)]
struct Measured {
    wall: Samples,
    cpu: Samples,
}

impl Measured {
    fn take(&mut self, since: Instant, lambda: &Lambda) {
        self.wall.time(since.elapsed());
        self.cpu.time(cpu(lambda.process.pid()));
    }

    fn row(&self, what: &str, empty: &Self) -> [String; 4] {
        let ratio = digits(self.wall.by(&empty.wall).median());
        [what.to_owned(), self.wall.show("ms"), self.cpu.show("ms"), format!("{ratio} ×")]
    }
}

#[tokio::main]
async fn main() {
    let rounds = programs::option("rounds", 200);
    let programs = Programs::build_with(&["bare", "empty", "tokens"]);
    let tokens = programs.baseline("tokens");
    let stack = Stack::start().await;
    stack.agent.accept_any_bearer();
    stack.agent.default(Script::ndjson_happy("all is well"));
    let env = stack.env();
    let [mut empty, mut start, mut first, mut bare_start, mut bare_first, mut tokens_start, mut tokens_first] =
        std::array::from_fn(|_| Measured::default());
    let bar = report::bar(rounds, "starting");
    for round in 0..rounds {
        first_poll(&programs.empty, &env, &mut empty).await;
        first_poll(&programs.function, &env, &mut start).await;
        first_poll(&programs.bare, &env, &mut bare_start).await;
        first_poll(&tokens, &env, &mut tokens_start).await;
        first_run(&programs.function, &env, &format!("function-{round}"), &mut first).await;
        first_run(&programs.bare, &env, &format!("bare-{round}"), &mut bare_first).await;
        first_run(&tokens, &env, &format!("tokens-{round}"), &mut tokens_first).await;
        bar.inc(1);
    }
    bar.finish_and_clear();

    let mut report = Report::new("start");
    let rows = vec![
        empty.row("empty lambda_runtime function, start to first poll", &empty),
        bare_start.row("bare client, start to first poll", &empty),
        tokens_start.row("bare client with tokens from Cognito, start to first poll", &empty),
        start.row("agent-trigger, start to first poll", &empty),
        bare_first.row("bare client, start and first run", &empty),
        tokens_first.row("bare client with tokens from Cognito, start and first run", &empty),
        first.row("agent-trigger, start and first run", &empty),
    ];
    report.table(
        &format!("Medians of {rounds} rounds, one of each in turn, ± half the distance between the quartiles:"),
        ["from spawning the process", "wall", "CPU", "wall ÷ the empty function's"],
        rows,
    );
    report.aim("Start to first poll ÷ an empty function's", start.wall.by(&empty.wall).median(), "×", 2.0);
    report.aim("Start to first poll ÷ the bare client's", start.wall.by(&bare_start.wall).median(), "×", 1.1);
    report.aim(
        "Start to first poll ÷ the bare client's with tokens",
        start.wall.by(&tokens_start.wall).median(),
        "×",
        1.1,
    );
    report.aim("Start and first run", first.wall.median(), "ms", 8.0);
    report.finish();
}

async fn first_poll(program: &Path, env: &Env, measured: &mut Measured) {
    let since = Instant::now();
    let lambda = programs::start(program, env).await;
    assert!(lambda.api.polled(Duration::from_secs(10)).await, "it asks for work");
    measured.take(since, &lambda);
    end(lambda).await;
}

async fn first_run(program: &Path, env: &Env, trigger_id: &str, measured: &mut Measured) {
    let since = Instant::now();
    let lambda = programs::start(program, env).await;
    let outcome = lambda.invoke(invocation(trigger_id, 0)).await;
    measured.take(since, &lambda);
    assert!(outcome.is_success(), "the run succeeds: {outcome:?}");
    end(lambda).await;
}

/// Ends a function and waits for it, so that its end does not disturb the next start.
async fn end(lambda: Lambda) {
    lambda.kill();
    lambda.process.wait_exit(Duration::from_secs(10)).await;
}
