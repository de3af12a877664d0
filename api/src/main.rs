//! The entry point: settings, clients, and one of two edges: Lambda, or a port of this machine.

use std::{process::ExitCode, sync::Arc};

use agent_trigger::{clients::http::Clients, telemetry::log};
use agent_trigger_api::{api::Api, edge, settings::Settings};

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
    let settings = Settings::from_env()?;
    let clients = Clients::new(settings.ca_bundle.as_deref())?;
    let local = settings.local.clone();
    let api = Arc::new(Api::new(settings, &clients).await);
    match local {
        Some(local) => edge::local::serve(api, local).await,
        None => edge::lambda::serve(api).await,
    }
}
