//! The local run: the real binary against stand-ins for everything it needs, on a machine with nothing but Rust.
//!
//! `cargo run --example local -- --help` says what it can do.

mod options;
mod report;
mod run;
mod serve;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use standins::stack::Ports;
use standins::{Script, Stack};

use crate::options::Options;

/// What the stand-in of the agent answers, so that a table can show it.
const ANSWER: &str = "Three files came in since yesterday: orders.csv (1.2 MB), returns.csv (84 kB) and stock.json. \
                      All of them are complete.";
const FAILURE: &str = "the model stopped answering: ThrottlingException";

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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if options.serve {
        let stack = stack(serve::PORTS).await.map_err(|e| {
            let hint = "Is another `--serve` running? End it, or whatever listens there.";
            if e.kind() == io::ErrorKind::AddrInUse { format!("{e}\n{hint}") } else { e.to_string() }
        })?;
        serve::serve(&stack, root, &options).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = run::plan(&options, root)?;
    build(root)?;
    let stack = stack(Ports::default()).await.map_err(|e| e.to_string())?;
    run::run(&stack, &plan, root, &options).await
}

/// The stand-ins, with an agent that takes its time as a real one does.
async fn stack(ports: Ports) -> io::Result<Stack> {
    let stack = Stack::bind(ports).await?;
    let pause = Duration::from_millis(60);
    stack.agent.default(Script::ndjson_happy(ANSWER).paced(pause));
    stack.agent.on_prompt("fail", Script::server_error_event(FAILURE).paced(pause));
    stack.agent.on_agent("agent-strands", Script::sse_happy(ANSWER).paced(pause));
    Ok(stack)
}

/// Builds the function as this example was built: same profile, same target directory.
fn build(root: &Path) -> Result<(), String> {
    let here = std::env::current_exe().map_err(|e| format!("cannot tell where this program is: {e}"))?;
    // target/PROFILE/examples/local
    let (Some(profile), Some(target)) = (here.ancestors().nth(2), here.ancestors().nth(3)) else {
        return Err(format!("{} is not where cargo puts examples", here.display()));
    };
    let profile = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    report::say("Building the function itself, which takes a minute or two the first time.");
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let status = Command::new(&cargo)
        .args(["build", "--bin", "agent-trigger", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(root)
        .status()
        .map_err(|e| format!("cannot run {}: {e}", cargo.display()))?;
    if status.success() { Ok(()) } else { Err("the function does not build, see above".to_owned()) }
}
