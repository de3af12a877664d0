//! The function: settings, clients, serve.

use std::process::ExitCode;

use agent_trigger::{config::Config, http::Clients, log, runtime};

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

async fn serve() -> Result<(), lambda_runtime::Error> {
    let config = Config::from_env()?;
    let clients = Clients::new(config.ca_bundle.as_deref())?;
    runtime::serve(runtime::services(config, &clients).await).await
}
