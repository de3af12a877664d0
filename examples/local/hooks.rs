//! The webhooks of the local run: the built API's other surface on a port of its own, and as a function of Lambda, which
//! the page's test deliveries invoke.

use std::{path::Path, sync::Arc};

use standins::lambda_api::FUNCTION_ARN;
use standins::stack::Env;
use standins::{Function, Invocation, RuntimeApi, Stack};

use crate::programs::listening;

/// The port of webhooks, unless `LOCAL_PORT` says 0, which means any.
const PORT: &str = "9011";
/// The path of the secrets.
pub(crate) const SECRETS: &str = "/agent-trigger/hooks/";
/// The function of test deliveries.
pub(crate) const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:agent-trigger-hooks";

/// The running webhooks. They end when this is dropped.
pub(crate) struct Hooks {
    /// The address, `http://127.0.0.1:port`.
    pub(crate) url: String,
    _port: (Function, RuntimeApi),
    _function: (Function, Arc<RuntimeApi>),
}

impl Hooks {
    /// Starts what was built into the folder `built`, for the services of `stack`.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) async fn start(stack: &Stack, built: &Path) -> Result<Self, String> {
        let binary = built.join("agent-trigger-api");
        let spawn = |env: &Env, runtime: &RuntimeApi| {
            Function::spawn(&binary, env, runtime).map_err(|e| format!("{} does not start: {e}", binary.display()))
        };
        let serving = Arc::new(RuntimeApi::start().await);
        let function = spawn(&env(stack, None), &serving)?;
        let api = Arc::clone(&serving);
        stack.lambda.serve_other(FUNCTION, move |payload| {
            let api = Arc::clone(&api);
            tokio::spawn(async move { api.invoke(Invocation::new(payload)).await });
        });
        let any = std::env::var("LOCAL_PORT").is_ok_and(|port| port == "0");
        let runtime = RuntimeApi::start().await;
        let port = spawn(&env(stack, Some(if any { "0" } else { PORT })), &runtime)?;
        let url = listening(&port, "the receiver of webhooks").await?;
        Ok(Self { url, _port: (port, runtime), _function: (function, serving) })
    }
}

/// Returns the environment of the hooks surface.
fn env(stack: &Stack, port: Option<&str>) -> Env {
    let mut env = stack.env();
    let own = [("SURFACE", "hooks"), ("RUN_FUNCTION_ARN", FUNCTION_ARN), ("HOOK_SECRET_PATH", SECRETS)];
    let port = port.map(|port| ("LOCAL_PORT", port));
    env.extend(own.into_iter().chain(port).map(|(name, value)| (name.to_owned(), value.to_owned())));
    env
}
