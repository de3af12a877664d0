//! The local run: the real binary against stand-ins for all its services, on a machine that has nothing but Rust.
//!
//! `cargo run --example local -- --help` lists the options.

mod detached;
mod hooks;
mod live;
mod next_run;
mod options;
mod outbox;
mod page;
mod plan;
mod programs;
mod progress;
mod recognised;
mod report;
mod reports;
mod run;
mod serve;
mod triggers;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use standins::stack::Ports;
use standins::{ProtocolScripts, Script, Stack};

use crate::options::Options;
use crate::programs::Place;
use crate::reports::Reports;

/// The stand-in agent's answer, long enough to look well in a table.
const ANSWER: &str = "Three files came in since yesterday: orders.csv (1.2 MB), returns.csv (84 kB) and stock.json. \
                      All of them are complete.";
const FAILURE: &str = "the model stopped answering: ThrottlingException";
/// An answer that is text and nothing else, wherever it is shown.
const MARKUP: &str = "<img src=x onerror=\"document.title='hit'\"> <b>bold</b>";
/// The time between the pieces of an answer that takes long: long enough to cancel the run, a minute in all.
const LONG_PAUSE: Duration = Duration::from_secs(2);
/// The answers of the agents of events/triggers.json.
const NDJSON_ANSWERS: [(&str, &str); 4] = [
    ("agent-tables", "orders.csv holds 412 orders of 4 January; three of them have no postcode."),
    ("agent-orders", "Order order-1042 can be sent today: the desk and both lamps are in stock."),
    ("agent-letters", "Dear customer-77, your desk and both lamps leave our warehouse today. We call before delivery."),
    ("agent-operations", "Look at what was deployed in the hour before: nothing else has changed."),
];
const SSE_ANSWERS: [(&str, &str); 2] =
    [("agent-strands", ANSWER), ("agent-uploads", "orders.csv came in whole: 48,213 bytes, as announced.")];
/// The agents that speak a protocol of their own: the agent and the protocol, by its name in the settings.
const PROTOCOL_AGENTS: [(&str, &str); 4] = [
    ("agent-ag-ui", "ag-ui"),
    ("agent-a2a", "a2a"),
    ("agent-mcp", "mcp"),
    ("agent-openai-responses", "openai-responses"),
];
const JSON_ANSWERS: [(&str, &str); 2] =
    [("agent-files", "The letter is filed under order-1042."), ("agent-log", "The run is logged.")];

#[tokio::main]
async fn main() -> ExitCode {
    match start().await {
        Ok(code) => code,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<ExitCode, String> {
    let Some(options) = Options::from_args()? else { return Ok(ExitCode::SUCCESS) };
    let place = Place::find()?;
    let root = place.root();
    let triggers = triggers::read(&options.triggers.clone().unwrap_or_else(|| root.join("events/triggers.json")))?;
    if options.serve {
        let user = triggers.user()?;
        let stack = stack(serve::PORTS, &options).await.map_err(|e| {
            let hint = "Is another `--serve` running? End it, or the program that listens there.";
            if e.kind() == io::ErrorKind::AddrInUse { format!("{e}\n{hint}") } else { e.to_string() }
        })?;
        triggers.seed(&stack.dynamodb)?;
        let built = place.programs(reports::PACKAGES)?;
        let stack = stack.with_binary(built.join("agent-trigger"));
        serve::serve(&stack, root, &built, &options, &user).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = plan::plan(&options, root)?;
    let stack = stack(Ports::default(), &options).await.map_err(|e| e.to_string())?;
    detached::prepare(&stack);
    triggers.seed(&stack.dynamodb)?;
    // The stand-in agents report as events do; an agent of one's own needs an address.
    let is_own = options.agent_url.is_some();
    let built = place.programs(if is_own { reports::PACKAGES } else { &["--bin", "agent-trigger"] })?;
    let reports = if is_own { Some(Reports::start(&stack, &built, false).await?) } else { None };
    let report_url = reports.as_ref().map(|reports| reports.url.as_str());
    run::run(&stack.with_binary(built.join("agent-trigger")), &plan, root, &options, report_url).await
}

/// Starts the stand-ins, with agents that take their time as real ones do.
async fn stack(ports: Ports, options: &Options) -> io::Result<Stack> {
    let stack = Stack::bind(ports).await?;
    let pause = Duration::from_millis(60);
    let protocol = options.protocol.as_deref().unwrap_or("invocations");
    let scripts = ProtocolScripts::of(protocol, ANSWER, FAILURE);
    if scripts.is_none() && options.agent_url.is_none() {
        let spoken = ProtocolScripts::NAMES.join(", ");
        let message =
            format!("the stand-in for an agent speaks {spoken}; for {protocol} give the --agent-url of your own");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    if let Some(ProtocolScripts { happy, failing, short }) = scripts {
        stack.agent.default(happy.clone().paced(pause));
        stack.agent.on_prompt("Please take long", happy.paced(LONG_PAUSE));
        stack.agent.on_prompt("Please fail", failing.paced(pause));
        stack.agent.on_prompt("Please ask", short.paced(pause));
    }
    if let Some(ProtocolScripts { happy, .. }) = ProtocolScripts::of(protocol, MARKUP, FAILURE) {
        stack.agent.on_prompt("Please write HTML", happy.paced(pause));
    }
    if options.auth.as_deref().is_some_and(|auth| auth != "cognito") {
        stack.agent.accept_any_bearer();
    }
    for (agent, protocol) in PROTOCOL_AGENTS {
        if let Some(scripts) = ProtocolScripts::of(protocol, ANSWER, FAILURE) {
            stack.agent.on_agent(agent, scripts.happy.paced(pause));
        }
    }
    for (agent, answer) in NDJSON_ANSWERS {
        stack.agent.on_agent(agent, Script::ndjson_happy(answer).paced(pause));
    }
    for (agent, answer) in SSE_ANSWERS {
        stack.agent.on_agent(agent, Script::sse_happy(answer).paced(pause));
    }
    for (agent, answer) in JSON_ANSWERS {
        stack.agent.on_agent(agent, Script::json_happy(answer).paced(pause));
    }
    Ok(stack)
}
