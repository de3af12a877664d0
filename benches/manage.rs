//! Measures the control plane: its start beside an empty function's, and its lists beside the table's own time for the same
//! queries.
//!
//! `cargo bench --bench manage [-- --rounds N --starts N]`

#[path = "manage/services.rs"]
mod services;

use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Programs, Report, Samples, cpu, programs, report, samples::digits};
use serde_json::Value;
use services::{Edge, Services};
use standins::stack::Env;
use standins::{Function, RuntimeApi};

/// The rounds before those that are measured: they connect, and fill caches.
const WARM_UP: u64 = 20;

/// A list, and how the table is asked for it.
struct List {
    what: &'static str,
    path: String,
    /// The name of the list in the answer, and how many entries it must have.
    entries: (&'static str, usize),
    /// The number of requests that the others wait for. 0 if none does.
    first: usize,
    /// The table's own time.
    table: Samples,
    lambda: Samples,
    port: Samples,
    cpu: Samples,
    requests: usize,
}

impl List {
    fn new(what: &'static str, path: impl Into<String>, entries: (&'static str, usize), first: usize) -> Self {
        let [table, lambda, port, cpu] = std::array::from_fn(|_| Samples::default());
        Self { what, path: path.into(), entries, first, table, lambda, port, cpu, requests: 0 }
    }

    async fn round(&mut self, services: &Services, lambda: &Edge, port: &Edge, is_measured: bool) {
        services.stack.dynamodb.clear_requests();
        let (before, since) = (cpu(lambda.process.pid()), Instant::now());
        let answer = lambda.get(&self.path).await;
        let (wall, used) = (since.elapsed(), cpu(lambda.process.pid()) - before);
        self.check(&answer);
        let requests = services.stack.dynamodb.requests();
        let since = Instant::now();
        let answer = port.get(&self.path).await;
        let port_wall = since.elapsed();
        self.check(&answer);
        // The table reads what it has read just before, as it did for the program.
        let since = Instant::now();
        services.replay(&requests[..self.first]).await;
        services.replay(&requests[self.first..]).await;
        let own = since.elapsed();
        self.requests = requests.len();
        if is_measured {
            self.table.time(own);
            self.lambda.time(wall);
            self.port.time(port_wall);
            self.cpu.time(used);
        }
    }

    fn check(&self, answer: &Value) {
        let (name, count) = self.entries;
        assert_eq!(answer[name].as_array().map(Vec::len), Some(count), "{}: {answer:#}", self.path);
    }

    fn ratio(&self) -> f64 {
        self.lambda.median() / self.table.median()
    }

    fn row(&self) -> [String; 7] {
        [
            self.what.to_owned(),
            self.requests.to_string(),
            self.table.show("ms"),
            self.lambda.show("ms"),
            self.port.show("ms"),
            self.cpu.show("ms"),
            format!("{} ×", digits(self.ratio())),
        ]
    }
}

/// The wall and CPU times of starts.
#[derive(Default)]
struct Starts {
    wall: Samples,
    cpu: Samples,
}

impl Starts {
    async fn round(&mut self, program: &Path, env: &Env) {
        let since = Instant::now();
        let api = RuntimeApi::start().await;
        let process = Function::spawn(program, env, &api).expect("the program starts");
        assert!(api.polled(Duration::from_secs(10)).await, "it asks for work");
        self.wall.time(since.elapsed());
        self.cpu.time(cpu(process.pid()));
        process.kill();
        process.wait_exit(Duration::from_secs(10)).await;
    }

    fn row(&self, what: &str, empty: &Self) -> [String; 4] {
        let ratio = |mine: &Samples, theirs: &Samples| format!("{} ×", digits(mine.by(theirs).median()));
        let wall = format!("{} ({})", self.wall.show("ms"), ratio(&self.wall, &empty.wall));
        let cpu = format!("{} ({})", self.cpu.show("ms"), ratio(&self.cpu, &empty.cpu));
        [what.to_owned(), wall, cpu, String::new()]
    }
}

#[tokio::main]
async fn main() {
    let mut report = Report::new("manage");
    let baselines = ["empty", "clients", "bare"];
    let built = Programs::build_with(&baselines);
    let program = programs::control_plane();
    let services = Services::start(&program).await;
    starts(&mut report, &built, &program, &services).await;
    lists(&mut report, &services).await;
    report.finish();
}

async fn starts(report: &mut Report, built: &Programs, program: &Path, services: &Services) {
    let rounds = programs::option("starts", 200);
    let steps = [
        ("empty lambda_runtime function", built.baseline("empty")),
        ("and the log and the HTTP clients", built.baseline("clients")),
        ("and the SDK with one AWS client, and mimalloc", built.baseline("bare")),
        ("the run function: two AWS clients", built.function.clone()),
        ("the control plane: three AWS clients, lambda_http, axum", program.to_owned()),
    ];
    let mut times: [Starts; 5] = std::array::from_fn(|_| Starts::default());
    let bar = report::bar(rounds, "starting");
    for _ in 0..rounds {
        for ((_, path), times) in steps.iter().zip(&mut times) {
            times.round(path, &services.env).await;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let [empty, .., own] = &times;
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let rows = steps.iter().zip(&times).map(|((what, path), times)| {
        let [what, wall, cpu, _] = times.row(what, empty);
        [what, wall, cpu, format!("{} MiB", digits(harness::samples::mib(size(path))))]
    });
    report.table(
        &format!(
            "Start to the first poll for work, with what each step adds. Medians of {rounds} rounds, one of each in turn, \
             ± half the distance between the quartiles (and × the empty function's):"
        ),
        ["from spawning the process", "wall", "CPU", "binary"],
        rows.collect(),
    );
    report.aim("Control plane: start ÷ an empty function's, CPU", own.cpu.by(&empty.cpu).median(), "×", 2.0);
    report.aim("Control plane: start ÷ an empty function's, wall", own.wall.by(&empty.wall).median(), "×", 2.0);
}

async fn lists(report: &mut Report, services: &Services) {
    let rounds = programs::option("rounds", 300);
    let busy = services.fill().await;
    let (lambda, port) = (services.lambda().await, services.port().await);
    let mut lists = [
        List::new("100 triggers", "/triggers", ("triggers", services::TRIGGERS), 0),
        List::new("50 executions of a trigger", format!("/triggers/{busy}/executions?limit=50"), ("executions", 50), 0),
        List::new("50 executions across 100 triggers", "/executions?limit=50", ("executions", 50), 1),
    ];
    let bar = report::bar(rounds + WARM_UP, "listing");
    for round in 0..rounds + WARM_UP {
        for list in &mut lists {
            list.round(services, &lambda, &port, round >= WARM_UP).await;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    report.table(
        &format!(
            "Warm lists. Medians of {rounds} rounds in turn, ± half the distance between the quartiles. The table's own time \
             is that of a client that sends the stand-in for DynamoDB the same requests, as many at once, and does \
             nothing with the answers:"
        ),
        ["", "requests", "the table's own time", "on Lambda", "on a local port", "CPU of the process", "Lambda ÷ table"],
        lists.iter().map(List::row).collect(),
    );
    for list in &lists {
        report.aim(&format!("Control plane: {} ÷ the table's own time", list.what), list.ratio(), "×", 3.0);
    }
}
