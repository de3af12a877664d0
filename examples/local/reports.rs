//! The receiver of reports in the local run: the built API's surface for the agents of detached runs, on a port of its own.

use std::path::Path;

use standins::stack::Env;
use standins::{Function, RuntimeApi, Stack};

use crate::programs::listening;

/// The port of reports beside `--serve`, unless `LOCAL_PORT` says 0, which means any.
const PORT: &str = "9012";
/// What is built for it.
pub(crate) const PACKAGES: &[&str] =
    &["-p", "agent-trigger", "-p", "agent-trigger-examples", "-p", "agent-trigger-api", "--bins"];

/// The running receiver. It ends when this is dropped.
pub(crate) struct Reports {
    /// The address to which agents report, `http://127.0.0.1:port/reports`.
    pub(crate) url: String,
    _port: (Function, RuntimeApi),
}

impl Reports {
    /// Starts what was built into the folder `built`, for the table of `stack`. `is_fixed` asks for the port that is known
    /// beforehand, which one run at a time can have.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) async fn start(stack: &Stack, built: &Path, is_fixed: bool) -> Result<Self, String> {
        let is_any = !is_fixed || std::env::var("LOCAL_PORT").is_ok_and(|port| port == "0");
        let binary = built.join("agent-trigger-api");
        let runtime = RuntimeApi::start().await;
        let env = env(stack, if is_any { "0" } else { PORT });
        let port = Function::spawn(&binary, &env, &runtime)
            .map_err(|e| format!("{} does not start: {e}", binary.display()))?;
        let url = listening(&port, "the receiver of reports").await?;
        Ok(Self { url: format!("{url}/reports"), _port: (port, runtime) })
    }
}

/// Returns the environment of the reports surface.
fn env(stack: &Stack, port: &str) -> Env {
    let mut env = stack.env();
    env.extend([("SURFACE", "reports"), ("LOCAL_PORT", port)].map(|(name, value)| (name.to_owned(), value.to_owned())));
    env
}
