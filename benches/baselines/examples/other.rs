//! The function with one choice made differently: the one that `OTHER` names. Without `OTHER` it is the function as it
//! ships.

use std::sync::Arc;

use agent_trigger::{clients::http::Clients, config::Config, handler, invocation::Invocation, runtime, telemetry::log};
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Error> {
    let other = std::env::var("OTHER").unwrap_or_default();
    let mut builder = match other.as_str() {
        "multi_thread" => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    builder.enable_all().build()?.block_on(async { tokio::spawn(start(other)).await? })
}

async fn start(other: String) -> Result<(), Error> {
    log::init();
    let config = Config::from_env()?;
    let mut clients = Clients::new(config.ca_bundle.as_deref())?;
    if other == "unkept" {
        // The agent's client keeps no connections.
        clients.aws = clients.agent.clone();
    }
    let services = runtime::app(config, &clients).await;
    if other != "early_token" {
        return runtime::serve(services).await;
    }
    // The same as `runtime::serve`, but the token is requested before the first poll. Without a token that may never be
    // needed, only its discovery could be done this early; this measures the whole, and so the most that could be
    // gained.
    let services = Arc::new(services);
    let early = Arc::clone(&services);
    tokio::spawn(async move {
        let agent = early.agents.find("").await?;
        early.agents.authorize(&agent).await
    });
    let handler = service_fn(move |event: LambdaEvent<serde_json::Value>| {
        let services = Arc::clone(&services);
        async move {
            let (payload, context) = event.into_parts();
            let invocation = Invocation {
                request_id: context.request_id,
                function_arn: context.invoked_function_arn,
                deadline_millis: context.deadline,
                xray_trace_id: context.xray_trace_id,
            };
            handler::handle(&services, Some(&payload.to_string()), &invocation).await
        }
    });
    Runtime::new(handler).run_concurrent().await
}
