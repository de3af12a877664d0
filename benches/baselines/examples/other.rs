//! The function with one of its choices made otherwise, the one that `OTHER` names; without it, as it ships.

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
        // The agent's keeps no connection.
        clients.aws = clients.agent.clone();
    }
    let services = runtime::app(config, &clients).await;
    if other != "early_token" {
        return runtime::serve(services).await;
    }
    // As `runtime::serve`, with the token asked for before the first poll. The whole of it, though only the discovery
    // could be done without a token that nobody may need: what this gains is the most there is to gain.
    let services = Arc::new(services);
    let early = Arc::clone(&services);
    tokio::spawn(async move { early.tokens.token().await.is_ok() });
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
