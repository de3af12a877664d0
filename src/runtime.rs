//! The wiring of the function: it builds the app from the settings, and runs the Lambda runtime around the handler.

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig, stalled_stream_protection::StalledStreamProtectionConfig};
use bytes::Bytes;
use lambda_runtime::{Error, LambdaEvent, LambdaInvocation, Runtime};
use tower::{ServiceBuilder, service_fn};

use crate::{
    agents::Agents,
    app::App,
    clients::cognito::TokenSource,
    clients::http::{Clients, SdkHttpClient},
    clients::lambda::Dispatcher,
    clients::sigv4::Signer,
    config::Config,
    handler,
    invocation::Invocation,
    store::Store,
};

/// Builds the app that every invocation borrows. It sends no request yet.
pub async fn app(config: Config, clients: &Clients) -> App {
    let aws = sdk_config(&config, clients).await;
    let tokens = TokenSource::new(config.clone(), clients.aws.clone(), &aws);
    App {
        store: Store::new(&aws, config.table_name.clone()),
        agents: Agents::new(&config, clients, tokens, Signer::new(&aws)),
        dispatcher: Dispatcher::new(aws),
        config,
    }
}

/// Builds the configuration that all of the SDK's clients share. Credentials are looked for here, but not requested.
async fn sdk_config(config: &Config, clients: &Clients) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(config.region.clone()))
        .http_client(SdkHttpClient::new(clients.aws.clone()))
        // The SDK's stalled-stream protection waits longer than any try may take, and wraps every body to do so.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await
}

/// The variables that `lambda_runtime` reads.
const RUNTIME_VARIABLES: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];

/// Serves invocations until the process ends: one at a time, or as many as `AWS_LAMBDA_MAX_CONCURRENCY` allows. Each
/// has a deadline of its own and shares `app`.
///
/// # Errors
/// Returns an error if this does not run on Lambda, or if Lambda's Runtime API fails.
pub async fn serve(app: App) -> Result<(), Error> {
    // The Lambda runtime would panic if one of them were missing.
    if let Some(missing) = RUNTIME_VARIABLES.iter().find(|name| std::env::var_os(name).is_none()) {
        return Err(format!("{missing} is not set, which Lambda sets; to run here: cargo run --example local").into());
    }
    let app = Arc::new(app);
    let handler = service_fn(move |event: LambdaEvent<Option<String>>| {
        let app = Arc::clone(&app);
        async move {
            let (payload, context) = event.into_parts();
            let invocation = Invocation {
                request_id: context.request_id,
                function_arn: context.invoked_function_arn,
                deadline_millis: context.deadline,
                xray_trace_id: context.xray_trace_id,
            };
            handler::handle(&app, payload.as_deref(), &invocation).await
        }
    });
    let any_payload = ServiceBuilder::new().map_request(quote_payload);
    Runtime::new(handler).layer(any_payload).run_concurrent().await
}

/// Passes the payload to the handler as a JSON string, or as null if it is not UTF-8. The runtime parses payloads
/// itself, and would answer one that is not JSON before the handler could.
fn quote_payload(mut invocation: LambdaInvocation) -> LambdaInvocation {
    let text = std::str::from_utf8(&invocation.body).ok();
    invocation.body = serde_json::to_vec(&text).map_or_else(|_| Bytes::from_static(b"null"), Bytes::from);
    invocation
}
