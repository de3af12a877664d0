//! Sends events to the function and reports the outcomes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_trigger::store::execution_item as record;
use serde_json::Value;
use standins::{AgentRequest, AsyncInvocation, Invocation, Outcome, Pipe, Stack};

use crate::detached;
use crate::live::Live;
use crate::options::Options;
use crate::outbox;
use crate::plan::{Plan, Planned};
use crate::progress::Progress;
use crate::report::{self, Delivery, What, executions_of, say, text};

/// The longest time that Lambda allows an invocation.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(900);
/// The number of the function's processes, and so of invocations at the same time.
const POOL: usize = 8;

/// Sends the events one after another, shows their outcomes, and compares them with what the function promises. Agents of
/// detached runs report to `report_url`, or the stand-ins do on a bus.
pub(crate) async fn run(
    stack: &Stack,
    plan: &Plan,
    root: &Path,
    options: &Options,
    report_url: Option<&str>,
) -> Result<ExitCode, String> {
    let log = root.join(".local/function.log");
    let tee = log_file(&log)?;
    stack.lambda.timeout(TIMEOUT);
    // Lambda would wait for minutes before it tried again.
    stack.lambda.retries(0);
    let mut env = options.env(stack);
    let agent_url = env.get("AGENT_API_URL").cloned().unwrap_or_default();
    let (mut live, through) = Live::before(&agent_url, options.protocol.clone()).await?;
    env.extend(options.agents(&through, plan.agents()).map(|agents| ("AGENTS".to_owned(), agents)));
    env.insert("AGENT_API_URL".to_owned(), through);
    let (name, value) = report_url.map_or(("REPORT_BUS_NAME", "local-reports"), |url| ("REPORT_URL", url));
    env.insert(name.to_owned(), value.to_owned());
    stack.pool_with(POOL, env, Some(tee));
    let pipe = outbox::pipe(stack, root, TIMEOUT)?;
    let is_stand_in = options.agent_url.is_none();
    let mut progress = Progress::new();
    let (mut deliveries, mut problems) = (Vec::new(), Vec::new());
    for planned in &plan.0 {
        let of_event = send(stack, &pipe, planned, &mut progress, &mut live, is_stand_in).await;
        if let Some(Delivery { outcome, calls, .. }) = of_event.first() {
            problems.extend(planned.differs(stack, outcome, *calls));
        }
        deliveries.extend(of_event);
    }
    let executions = executions_of(stack);
    problems.extend(deliveries.iter().filter_map(|delivery| broken(delivery, &executions, is_stand_in, &log)));
    let running = executions.iter().filter(|row| row[record::STATUS] == "running");
    problems.extend(running.map(|row| format!("{} was left running", text(&row[record::TRIGGER_ID]))));
    problems.extend(pipe.failures().iter().map(|failure| format!("an end could not be announced: {failure}")));
    if is_stand_in {
        problems.extend(stack.leak());
    }

    say("\nWhat the table holds:");
    if executions.is_empty() {
        say("nothing");
    } else {
        say(&report::executions(&executions).to_string());
    }
    say("\nWhat Lambda got:");
    say(&report::outcomes(&deliveries).to_string());
    if let Some(line) = report::announced(&deliveries) {
        say(&line);
    }
    live.explain(stack);
    if let Some(path) = &options.records {
        let written = fs::write(path, Value::from(executions).to_string());
        written.map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    say(&format!("\nThe function's log: {}", report::shown(&log)));
    if problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    // Nobody knows what is expected of an agent of one's own.
    let what = if is_stand_in { "not as expected" } else { "not completed" };
    for problem in problems {
        eprintln!("{what}: {problem}");
    }
    Ok(ExitCode::FAILURE)
}

/// Opens the log of the function, and returns what writes its lines there, after those of earlier runs.
pub(crate) fn log_file(path: &Path) -> Result<standins::function::Tee, String> {
    let open = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::OpenOptions::new().create(true).append(true).open(path)
    };
    let file = Mutex::new(open().map_err(|e| format!("cannot write {}: {e}", path.display()))?);
    Ok(Arc::new(move |line: &str| {
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // At once, because another run may write into the same file.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }))
}

/// Puts an event into Lambda's queue and waits until everything that it started has ended. Returns its delivery and the
/// deliveries that followed from it.
async fn send(
    stack: &Stack,
    pipe: &Pipe,
    planned: &Planned,
    progress: &mut Progress,
    live: &mut Live,
    is_stand_in: bool,
) -> Vec<Delivery> {
    let (earlier, earlier_calls) = (stack.lambda.accepted(), stack.agent.call_count());
    progress.sent(&planned.name);
    stack.invoke_async(Invocation::new(planned.payload.clone()).timeout(TIMEOUT));
    let mut is_told = false;
    let mut agents = detached::Agents::default();
    loop {
        agents.update(stack);
        let is_quiet = stack.is_quiet(pipe) && !detached::is_any_at_work(stack);
        live.update();
        progress.update(stack, live);
        let own = stack.lambda.invocations().swap_remove(earlier);
        if !is_told && let Some(outcome) = own.outcome() {
            is_told = true;
            if let Some(line) = report::dealt_with(outcome) {
                progress.tell(&format!("{}  {line}", planned.name));
            }
        }
        if is_quiet {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    progress.dealt_with();

    let (executions, calls) = (executions_of(stack), stack.agent.calls());
    let calls = calls.get(earlier_calls..).filter(|_| is_stand_in);
    // MCP has no member for the session.
    let sessions: Vec<_> = executions.iter().filter_map(|row| row[record::SESSION_ID].as_str()).collect();
    let names_session = |call: &AgentRequest| sessions.iter().any(|session| call.is_of(session));
    let invocations = stack.lambda.invocations().split_off(earlier);
    let handed_on_by = |invocation: &AsyncInvocation| {
        let dispatch = &invocation.json()["_dispatch"]["requestId"];
        invocations.iter().position(|other| dispatch == other.request_id.as_str())
    };
    // An invocation that was handed an event is listed after the one that handed it on.
    let mut order: Vec<_> = invocations.iter().enumerate().collect();
    order.sort_by_cached_key(|(at, invocation)| (handed_on_by(invocation).unwrap_or(*at), *at));
    let delivery = |(at, invocation): (usize, &AsyncInvocation)| {
        let event = invocation.event();
        // The timers and the reports of detached runs show in their records.
        let is_of_detached = event["Records"].is_array() || event["detail-type"] == "Agent Report";
        let (what, label) = match &event["_dispatch"]["triggerId"] {
            Value::String(trigger) => (What::Dispatched, format!("└ {trigger}")),
            _ if is_of_detached => (What::Behind, String::new()),
            _ if event["detail-type"] == "Cancel Execution" => (What::Behind, String::new()),
            _ if at > 0 => (What::End, format!("end of {}", text(&event["detail"]["triggerId"]))),
            _ if event["detail-type"] == "Scheduled Event" => (What::Fire, planned.file.clone()),
            _ => (What::Event, planned.file.clone()),
        };
        let outcome = invocation.outcome().cloned().unwrap_or(Outcome::Died);
        let body = outcome.body();
        let row = executions.iter().find(|row| row[record::EXECUTION_ID] == body["executionId"]);
        let session = row.and_then(|row| row[record::SESSION_ID].as_str());
        let is_mine = |call: &&AgentRequest| match session {
            Some(session) => call.is_of(session) || (at == 0 && !names_session(call)),
            None => false,
        };
        let calls = calls.map(|calls| calls.iter().filter(is_mine).count());
        Delivery { what, label, outcome, calls }
    };
    order.into_iter().map(delivery).collect()
}

/// Returns why the function ended: the cause in the last line of its log, or `None` if that line has none.
fn last_cause(log: &str) -> Option<String> {
    let line: Value = serde_json::from_str(log.lines().next_back()?).ok()?;
    Some(line["cause"].as_str()?.to_owned())
}

/// Returns how an invocation breaks the function's promises, if it does. An agent that was told to fail does not.
fn broken(delivery: &Delivery, executions: &[Value], is_stand_in: bool, log: &Path) -> Option<String> {
    let Delivery { label, outcome, .. } = delivery;
    let body = outcome.body();
    let row = executions.iter().find(|row| row[record::EXECUTION_ID] == body["executionId"]);
    let is_recorded = |status: &str| row.is_some_and(|row| row[record::STATUS] == status);
    let problem = match outcome {
        Outcome::Success(_) if body["executionId"].is_null() || body["duplicate"] == true => return None,
        // It has ended since.
        Outcome::Success(_) if body["detached"] == true || delivery.what == What::Behind => return None,
        Outcome::Success(_) if is_recorded(body["status"].as_str().unwrap_or("completed")) => return None,
        Outcome::Success(_) => "succeeded, but its record says something else".to_owned(),
        Outcome::FunctionError { error_type, .. }
            if matches!(error_type.as_str(), "AgentFailed" | "AgentIncomplete") && is_stand_in =>
        {
            if is_recorded("failed") {
                return None;
            }
            "failed, but its record says something else".to_owned()
        }
        Outcome::FunctionError { error_type, error_message, .. } => {
            format!("{error_type}: {}", body["message"].as_str().unwrap_or(error_message))
        }
        Outcome::Died => match last_cause(&fs::read_to_string(log).unwrap_or_default()) {
            Some(cause) => format!("the function ended: {cause}"),
            None => "the function ended; the last line of .local/function.log says why".to_owned(),
        },
        Outcome::TimedOut => "the deadline passed".to_owned(),
    };
    Some(format!("{label}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_what_earlier_runs_wrote() {
        let folder = std::env::temp_dir().join(format!("local-{}", uuid::Uuid::new_v4()));
        let path = folder.join(".local/function.log");
        for line in ["the first run", "the second run"] {
            log_file(&path).unwrap()(line);
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "the first run\nthe second run\n");
        fs::remove_dir_all(folder).unwrap();
    }
}
