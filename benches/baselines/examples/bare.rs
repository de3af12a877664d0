//! The bare client (`agent_trigger_baselines::client`) with a token that it has.

use agent_trigger_baselines::client::{Bearer, serve};
use lambda_runtime::Error;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Constant;

impl Bearer for Constant {
    async fn bearer(&self) -> Result<String, Error> {
        Ok("standin-token".to_owned())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    serve(|_, _| Ok(Constant)).await
}
