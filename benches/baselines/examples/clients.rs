//! The empty function with the function's log and its HTTP clients, without the AWS SDK.

use agent_trigger::clients::http::Clients;
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    agent_trigger::telemetry::log::init();
    let clients = std::hint::black_box(Clients::new(None)?);
    let served = lambda_runtime::run(service_fn(async |_: LambdaEvent<serde_json::Value>| Ok::<_, Error>(()))).await;
    drop(clients);
    served
}
