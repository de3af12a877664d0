//! The entry point: settings, clients, one of the surfaces (`SURFACE`: `manage`, or `hooks` and `reports`, which face
//! the internet), and one of two edges: Lambda, or a port of this machine.
//!
//! The allocator is the system's, unlike the run function's: mimalloc saves a twentieth of the CPU of warm requests,
//! which are few here, and costs a tenth of the start's (docs/performance.md).

use std::{process::ExitCode, sync::Arc};

use agent_trigger::{clients::http::Clients, telemetry::log};
use agent_trigger_api::{
    api::Api,
    edge,
    hooks::{settings::HookSettings, state::Hooks},
    reports::{settings::ReportSettings, state::Reports},
    settings::Settings,
};

/// Runs the surface until the process is to end. An error is logged and ends it with a failure.
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

/// Serves the surface that `SURFACE` names, the manage surface by default: reads its settings, builds its handles, and
/// serves Lambda or the local port.
///
/// # Errors
/// Returns the error of the settings, the clients or the edge.
async fn serve() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match std::env::var("SURFACE").as_deref() {
        Ok("hooks") => return Box::pin(serve_hooks()).await,
        Ok("reports") => return Box::pin(serve_reports()).await,
        Ok("manage" | "") | Err(_) => {}
        Ok(_) => return Err("invalid settings: SURFACE must be manage, hooks or reports".into()),
    }
    let settings = Settings::from_env()?;
    let client = Clients::aws_alone(settings.ca_bundle.as_deref())?;
    let local = settings.local.clone();
    let api = Arc::new(Api::new(settings, client).await);
    match local {
        Some(local) => Box::pin(edge::local::serve(api, local)).await,
        None => Box::pin(edge::lambda::serve(api)).await,
    }
}

/// Serves the hooks surface, as [`serve`] does.
///
/// # Errors
/// Returns the error of the settings, the clients or the edge.
async fn serve_hooks() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let settings = HookSettings::from_env()?;
    let client = Clients::aws_alone(settings.ca_bundle.as_deref())?;
    let port = settings.local_port;
    let hooks = Arc::new(Hooks::new(settings, client).await);
    match port {
        Some(port) => edge::local::serve_hooks(hooks, port).await,
        None => edge::lambda::serve_hooks(hooks).await,
    }
}

/// Serves the reports surface, as [`serve`] does.
///
/// # Errors
/// Returns the error of the settings, the clients or the edge.
async fn serve_reports() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let settings = ReportSettings::from_env()?;
    let client = Clients::aws_alone(settings.ca_bundle.as_deref())?;
    let port = settings.local_port;
    let reports = Arc::new(Reports::new(settings, client).await?);
    match port {
        Some(port) => edge::local::serve_reports(reports, port).await,
        None => edge::lambda::serve_reports(reports).await,
    }
}
