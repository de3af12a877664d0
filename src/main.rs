//! The function: settings, clients, serve.

use agent_trigger::{config::Config, http::Clients, log, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    log::init();
    let config = Config::from_env().inspect_err(|error| tracing::error!(problems = ?error.problems, "cannot start"))?;
    let clients = Clients::new(std::env::var("AWS_CA_BUNDLE").ok().as_deref())
        .inspect_err(|error| tracing::error!(error, "cannot start"))?;
    runtime::serve(runtime::services(config, &clients).await).await
}
