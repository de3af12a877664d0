//! The entry point: settings, clients, one of two surfaces (`SURFACE`: `manage`, or `hooks`, which faces the internet), and
//! one of two edges: Lambda, or a port of this machine.

use std::{process::ExitCode, sync::Arc};

use agent_trigger::{clients::http::Clients, telemetry::log};
use agent_trigger_api::{
    api::Api,
    edge,
    hooks::{settings::HookSettings, state::Hooks},
    settings::Settings,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    log::init();
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(cause = %error, "cannot go on");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match std::env::var("SURFACE").as_deref() {
        Ok("hooks") => return serve_hooks().await,
        Ok("manage" | "") | Err(_) => {}
        Ok(_) => return Err("invalid settings: SURFACE must be manage or hooks".into()),
    }
    let settings = Settings::from_env()?;
    let clients = Clients::new(settings.ca_bundle.as_deref())?;
    let local = settings.local.clone();
    let api = Arc::new(Api::new(settings, &clients).await);
    match local {
        Some(local) => edge::local::serve(api, local).await,
        None => edge::lambda::serve(api).await,
    }
}

async fn serve_hooks() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let settings = HookSettings::from_env()?;
    let clients = Clients::new(settings.ca_bundle.as_deref())?;
    let port = settings.local_port;
    let hooks = Arc::new(Hooks::new(settings, &clients).await);
    match port {
        Some(port) => edge::local::serve_hooks(hooks, port).await,
        None => edge::lambda::serve_hooks(hooks).await,
    }
}
