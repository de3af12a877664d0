//! The webhooks of the local run: the built API's other surface on a port of its own, and as a function of Lambda, which
//! the page's test deliveries invoke.

use std::{path::Path, sync::Arc, time::Duration};

use standins::lambda_api::FUNCTION_ARN;
use standins::stack::Env;
use standins::{Function, Invocation, RuntimeApi, Stack};

/// The port of webhooks, unless `LOCAL_PORT` says 0, which means any.
const PORT: &str = "9011";
/// The path of the secrets.
pub(crate) const SECRETS: &str = "/agent-trigger/hooks/";
/// The function of test deliveries.
pub(crate) const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:agent-trigger-hooks";
/// The longest time in which it starts.
const START: Duration = Duration::from_secs(30);

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
        let line = tokio::select! {
            line = port.wait_for_log("listening on ", START) => line,
            _ = port.wait_exit(START) => None,
        };
        let url = line.as_deref().and_then(|line| line.split_once("listening on ")).map(|(_, url)| url.to_owned());
        let url = url.ok_or_else(|| {
            let hint = "Does another program listen on its port? LOCAL_PORT=0 takes any that is free.";
            format!("the webhooks do not start: {}\n{hint}", port.logs().join("; "))
        })?;
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
