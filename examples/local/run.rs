//! Sending events to the function and telling what became of them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::Value;
use standins::{Invocation, Lambda, Outcome, Stack};

use crate::options::Options;
use crate::report::{self, say};

/// As long as Lambda allows at most.
const TIMEOUT: Duration = Duration::from_secs(900);

/// What must become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Completed,
    AgentFailed,
    Duplicate,
    /// Whatever, as long as Lambda counts it as a success.
    Success,
}

/// The events to send, with what must become of them.
pub(crate) struct Plan(Vec<Planned>);

struct Planned {
    name: String,
    payload: Vec<u8>,
    expected: Expected,
}

impl Planned {
    fn trigger_id(&self) -> Option<String> {
        let event: Value = serde_json::from_slice(&self.payload).ok()?;
        Some(event["detail"]["triggerId"].as_str()?.to_owned())
    }
}

/// Reads the events before anything is started.
pub(crate) fn plan(options: &Options, root: &Path) -> Result<Plan, String> {
    let of_repo = |name: &str| root.join("events").join(name);
    let (scheduled, fails) = (of_repo("scheduled.json"), of_repo("agent-fails.json"));
    let named: Vec<(PathBuf, Expected)> = if !options.events.is_empty() {
        options.events.iter().map(|path| (path.clone(), Expected::Success)).collect()
    } else if options.agent_url.is_some() {
        // A real agent fails when it likes.
        vec![(scheduled.clone(), Expected::Completed), (scheduled, Expected::Duplicate)]
    } else {
        vec![(scheduled.clone(), Expected::Completed), (fails, Expected::AgentFailed), (scheduled, Expected::Duplicate)]
    };
    let read = |(path, expected): (PathBuf, Expected)| {
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let payload = fs::read(&path).map_err(|e| format!("cannot read the event {name}: {e}"))?;
        Ok(Planned { name, payload, expected })
    };
    named.into_iter().map(read).collect::<Result<_, String>>().map(Plan)
}

/// Sends the events one after another, shows what became of them, and compares it with what was expected.
pub(crate) async fn run(stack: &Stack, plan: &Plan, root: &Path, options: &Options) -> Result<ExitCode, String> {
    let log = root.join(".local/function.log");
    let tee = log_file(&log)?;
    let function = stack
        .spawn(&options.env(stack), Some(tee))
        .await
        .map_err(|e| format!("cannot start {}: {e}", stack.binary().display()))?;
    let mut outcomes = Vec::new();
    let mut problems = Vec::new();
    for planned in &plan.0 {
        let calls = stack.agent.call_count();
        let outcome = send(stack, &function, planned).await;
        // A real agent's calls are its own to count.
        let calls = options.agent_url.is_none().then(|| stack.agent.call_count() - calls);
        problems.extend(differs(stack, planned, &outcome, calls));
        outcomes.push((planned.name.as_str(), outcome, calls));
    }
    if options.agent_url.is_none()
        && let Some(leak) = stack.leak()
    {
        problems.push(leak);
    }

    say("\nWhat the table holds:");
    let mut executions: Vec<_> = stack.dynamodb.scan();
    executions.retain(|row| row["SK"].as_str().is_some_and(|sk| sk.starts_with("EXECUTION#")));
    executions.sort_by(|a, b| a["startedAt"].as_str().cmp(&b["startedAt"].as_str()));
    say(&report::executions(&executions).to_string());
    say("\nWhat Lambda got:");
    say(&report::outcomes(outcomes.iter().map(|(name, outcome, calls)| (*name, outcome, *calls))).to_string());
    say(&format!("\nThe function's log: {}", log.strip_prefix(root).unwrap_or(&log).display()));
    if problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for problem in problems {
        eprintln!("not as expected: {problem}");
    }
    Ok(ExitCode::FAILURE)
}

fn log_file(path: &Path) -> Result<standins::function::Tee, String> {
    let open = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::File::create(path)
    };
    let file = Mutex::new(open().map_err(|e| format!("cannot write {}: {e}", path.display()))?);
    Ok(Arc::new(move |line: &str| {
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = writeln!(file, "{line}");
    }))
}

async fn send(stack: &Stack, function: &Lambda, planned: &Planned) -> Outcome {
    let start = Instant::now();
    let calls_before = stack.agent.call_count();
    let mut shown = Shown::new(&planned.name);
    let invoked = function.invoke(Invocation::new(planned.payload.clone()).timeout(TIMEOUT));
    tokio::pin!(invoked);
    loop {
        tokio::select! {
            outcome = &mut invoked => {
                let took = start.elapsed().as_secs_f64();
                shown.end(&match &outcome {
                    Outcome::Success(_) if outcome.body()["duplicate"] == true => format!("duplicate after {took:.1} s"),
                    Outcome::Success(_) => format!("completed after {took:.1} s"),
                    Outcome::FunctionError { error_type, .. } => format!("{error_type} after {took:.1} s"),
                    other => format!("{other:?} after {took:.1} s"),
                });
                return outcome;
            }
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                let (doing, figures) = progress(stack, planned, calls_before);
                shown.update(&doing, &figures);
            }
        }
    }
}

/// What the run is doing, as its agent or, for a real agent, its record tells.
fn progress(stack: &Stack, planned: &Planned, calls_before: usize) -> (String, String) {
    if let Some(call) = stack.agent.calls().get(calls_before..).and_then(<[_]>::last) {
        let doing = if call.note.is_empty() { "agent called" } else { &call.note };
        return (doing.to_owned(), format!("{} events, {}", call.events_sent, HumanBytes(call.bytes_sent)));
    }
    let row = planned.trigger_id().and_then(|id| stack.dynamodb.executions(&id).pop()).unwrap_or_default();
    match (row["status"].as_str(), row["events"].as_u64(), row["bytes"].as_u64()) {
        (Some("running"), Some(events), bytes) => {
            ("streaming".to_owned(), format!("{events} events, {}", HumanBytes(bytes.unwrap_or_default())))
        }
        (Some("running"), ..) => ("running".to_owned(), String::new()),
        _ => ("starting".to_owned(), String::new()),
    }
}

/// A run's progress: a spinner on a terminal, a line per change elsewhere.
struct Shown {
    name: String,
    bar: Option<ProgressBar>,
    doing: String,
}

impl Shown {
    fn new(name: &str) -> Self {
        let bar = console::Term::stderr().is_term().then(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix}  {elapsed}  {wide_msg}");
            let bar = ProgressBar::new_spinner().with_prefix(name.to_owned());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { name: name.to_owned(), bar, doing: String::new() }
    }

    fn update(&mut self, doing: &str, figures: &str) {
        let line = if figures.is_empty() { doing.to_owned() } else { format!("{doing}  {figures}") };
        match &self.bar {
            Some(bar) => bar.set_message(line),
            None if self.doing != doing => say(&format!("{}  {line}", self.name)),
            None => {}
        }
        doing.clone_into(&mut self.doing);
    }

    fn end(&mut self, line: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        say(&format!("{}  {line}", self.name));
    }
}

/// What of an event's outcome, record and agent calls is not as it must be.
fn differs(stack: &Stack, planned: &Planned, outcome: &Outcome, calls: Option<usize>) -> Vec<String> {
    if *outcome == Outcome::Died {
        return vec![format!("{}: the function ended; the last line of .local/function.log says why", planned.name)];
    }
    let mut problems = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            problems.push(format!("{}: {what}", planned.name));
        }
    };
    let rows = planned.trigger_id().map(|id| stack.dynamodb.executions(&id)).unwrap_or_default();
    let row = rows.last().cloned().unwrap_or_default();
    match planned.expected {
        Expected::Success => must(outcome.is_success(), &format!("ended with {}", outcome.error_type())),
        Expected::Completed => {
            must(outcome.is_success(), "did not succeed");
            must(row["status"] == "completed", "its record is not completed");
            must(row["output"].is_string(), "its record holds no answer");
            must(calls.is_none() || row["usage"]["inputTokens"].is_number(), "its record holds no token usage");
            must(calls.is_none_or(|n| n == 1), "the agent was not called exactly once");
        }
        Expected::AgentFailed => {
            must(outcome.error_type() == "AgentFailed", "Lambda did not get AgentFailed");
            must(
                row["status"] == "failed" && row["errorType"] == "AgentFailed",
                "its record is not failed, AgentFailed",
            );
            must(calls == Some(1), "the agent was not called exactly once");
        }
        Expected::Duplicate => {
            must(outcome.is_success() && outcome.body()["duplicate"] == true, "was not told to be a duplicate");
            must(rows.len() == 1, "left a record of its own");
            must(calls.is_none_or(|n| n == 0), "called the agent again");
        }
    }
    problems
}
