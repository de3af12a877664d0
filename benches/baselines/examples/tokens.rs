//! The bare client (`agent_trigger_baselines::client`) with tokens from Cognito, as the function gets them. It makes all
//! calls of a first run.

use agent_trigger::{clients::cognito::TokenSource, config::Config};
use agent_trigger_baselines::client::{Bearer, serve};
use lambda_runtime::Error;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Tokens(TokenSource);

impl Bearer for Tokens {
    async fn bearer(&self) -> Result<String, Error> {
        Ok(self.0.token().await?.expose().to_owned())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    serve(|http, aws| Ok(Tokens(TokenSource::new(Config::from_env()?, http, aws)))).await
}
