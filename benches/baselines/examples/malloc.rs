//! The function with the system's allocator.

use agent_trigger::{clients::http::Clients, config::Config, runtime, telemetry::log};
use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    tokio::spawn(serve()).await?
}

async fn serve() -> Result<(), Error> {
    let config = Config::from_env()?;
    let clients = Clients::new(config.ca_bundle.as_deref())?;
    runtime::serve(runtime::app(config, &clients).await).await
}
