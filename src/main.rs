//! The entry point: settings, clients, serving.

use std::process::ExitCode;

use agent_trigger::{clients::http::Clients, config::Config, runtime, telemetry::log};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the function until its process is to end. An error at the start is logged and ends it with a failure.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    log::init();
    // In a task, because waking a task takes no system call, and waking the future that the runtime blocks on takes
    // two.
    match tokio::spawn(serve()).await {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) => tracing::error!(cause = %error, "cannot go on"),
        // The panic hook has logged the place.
        Err(_) => {}
    }
    ExitCode::FAILURE
}

/// Reads the settings, builds the clients and serves. Sends nothing before it serves.
///
/// # Errors
/// Returns the error of the settings, of the clients, or of serving.
async fn serve() -> Result<(), lambda_runtime::Error> {
    let config = Config::from_env()?;
    let clients = Clients::new(config.ca_bundle.as_deref())?;
    runtime::serve(runtime::app(config, &clients).await).await
}
