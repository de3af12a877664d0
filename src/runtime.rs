//! The wiring of the function: it builds the app from the settings, and serves Lambda's invocations with the handler.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use lambda_runtime::{Context, Diagnostic, Error};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::sleep,
};

use crate::{
    agents::Agents,
    app::App,
    clients::{
        cognito::TokenSource,
        credentials::sdk_config,
        http::Clients,
        lambda::Dispatcher,
        runtime_api::{Answer, Delivery, RuntimeApi},
        sigv4::Signer,
        sqs::SettleQueue,
        step_functions::StepFunctions,
    },
    config::Config,
    domain::failure::{ErrorType, Failure},
    handler,
    invocation::{Invocation, catch_panic},
    shutdown::Shutdown,
    store::Store,
};

/// Builds the app that every invocation borrows. It sends no request yet.
pub async fn app(config: Config, clients: &Clients) -> App {
    let aws = sdk_config(&config.region, clients.aws.clone()).await;
    let queue = config.settle_queue_url.clone();
    let signer = Arc::new(Signer::new(&aws));
    let settle_queue = SettleQueue::new(queue, &config.region, clients.aws.clone(), Arc::clone(&signer));
    let tokens = TokenSource::new(config.clone(), clients.aws.clone(), &aws);
    App {
        store: Store::new(&aws, config.table_name.clone()),
        agents: Agents::new(&config, clients, tokens, Signer::new(&aws)),
        dispatcher: Dispatcher::new(&aws, clients.aws.clone()),
        settle_queue,
        step_functions: StepFunctions::new(&config, clients.aws.clone(), signer),
        shutdown: Shutdown::default(),
        config,
    }
}

/// The pauses after polls that failed: the first, and the longest. Each is twice the one before it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Serves invocations until Lambda ends the process, one at a time, or as many as `AWS_LAMBDA_MAX_CONCURRENCY` allows.
///
/// SIGTERM ends every run in flight. `Ok` is returned once they have ended, or after 1.8 s. A worker that panics before
/// SIGTERM is replaced. Lambda sends SIGTERM to functions on Managed Instances, and to others only if they have an
/// extension. The function registers none: Lambda waits for an invocation before it ends the environment of a function
/// that handles one at a time.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>
///
/// # Errors
/// Returns an error if this does not run on Lambda, if SnapStart does not take its snapshot, or if the HTTP client or
/// the signal's handler cannot be made. A failing poll is no error.
pub async fn serve(app: App) -> Result<(), Error> {
    let Ok(authority) = std::env::var("AWS_LAMBDA_RUNTIME_API") else {
        let missing = "AWS_LAMBDA_RUNTIME_API is not set, which Lambda sets; to run here: ./agent-trigger-local of a \
                       release, or `cargo run --example local` in the sources";
        return Err(missing.into());
    };
    if std::env::var("AWS_LAMBDA_INITIALIZATION_TYPE").as_deref() == Ok("snap-start") {
        RuntimeApi::new(&authority)?.restored().await?;
    }
    let mut terminated = signal(SignalKind::terminate())?;
    let worker = Arc::new(Worker { api: RuntimeApi::new(&authority)?, app });
    // Each worker is a task of its own, so that it is woken alone.
    let mut workers = JoinSet::new();
    for _ in 0..max_concurrency() {
        workers.spawn(Arc::clone(&worker).work());
    }
    let all_ended = async {
        while let Some(ended) = workers.join_next().await {
            // The panic hook has logged the place.
            if ended.is_err() && !worker.app.shutdown.has_begun() {
                workers.spawn(Arc::clone(&worker).work());
            }
        }
    };
    let shutting_down = async {
        terminated.recv().await;
        tracing::info!("SIGTERM: the runs in flight end");
        worker.app.shutdown.begin();
        worker.app.shutdown.over().await;
        tracing::warn!("not every invocation ended in time");
    };
    tokio::select! {
        () = all_ended => {}
        () = shutting_down => {}
    }
    Ok(())
}

/// Returns the number of invocations that Lambda sends at once. This is the value of `AWS_LAMBDA_MAX_CONCURRENCY`, or 1
/// if that is no whole number above 0.
fn max_concurrency() -> usize {
    let given = std::env::var("AWS_LAMBDA_MAX_CONCURRENCY").ok();
    given.and_then(|given| given.parse().ok()).unwrap_or(1).max(1)
}

/// The work on one invocation after another. Workers share it.
struct Worker {
    api: RuntimeApi,
    app: App,
}

impl Worker {
    /// Takes invocations, runs them and answers them until the process is to end. The invocation at work then ends
    /// first, and a poll is dropped. Nothing else ends it: a poll that fails or brings nothing is repeated after a
    /// pause, and an answer that cannot be posted is given up.
    async fn work(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        while !self.app.shutdown.has_begun() {
            let polled = tokio::select! {
                biased;
                polled = self.api.next() => polled,
                () = self.app.shutdown.begun() => return,
            };
            match polled {
                Ok(Some(delivery)) => {
                    pause = FIRST_PAUSE;
                    self.handle(delivery).await;
                    continue;
                }
                Ok(None) => pause = FIRST_PAUSE,
                Err(error) => {
                    tracing::warn!(%error, pauseMs = pause.as_millis(), "no invocation could be taken, trying again");
                }
            }
            tokio::select! {
                () = sleep(pause) => pause = LONGEST_PAUSE.min(pause * 2),
                () = self.app.shutdown.begun() => return,
            }
        }
    }

    /// Runs one invocation and answers it. A panic becomes the answer, and an event that could not be read to its end
    /// becomes a retryable error. If the Runtime API does not take the answer, this is logged: Lambda's retry replays
    /// the record.
    async fn handle(&self, delivery: Delivery) {
        let Context { request_id, invoked_function_arn, deadline, xray_trace_id, .. } = &delivery.context;
        if delivery.has_client_context {
            tracing::warn!(requestId = request_id, "the client context is ignored: everything is read from the event");
        }
        let invocation = Invocation {
            request_id: request_id.clone(),
            function_arn: invoked_function_arn.clone(),
            deadline_millis: *deadline,
            xray_trace_id: xray_trace_id.clone(),
        };
        let result = match &delivery.payload {
            Ok(payload) => {
                let payload = std::str::from_utf8(payload).ok();
                catch_panic(handler::handle(&self.app, payload, &invocation)).await.unwrap_or_else(Err)
            }
            Err(error) => {
                tracing::error!(requestId = request_id, %error, "the event could not be read");
                Err(Failure::retryable(ErrorType::Internal, format!("the event could not be read: {error}")))
            }
        };
        let answer = match result {
            Ok(response) => Answer::Response(response.to_string().into()),
            Err(failure) => Answer::Error(error_body(failure)),
        };
        if let Err(error) = self.api.answer(&delivery, &answer).await {
            tracing::error!(requestId = request_id, %error, "the answer could not be posted");
        }
    }
}

/// Returns the body that reports a failure to Lambda. The conversion in [`crate::response`] says what is in it.
fn error_body(failure: Failure) -> Bytes {
    serde_json::to_vec(&Diagnostic::from(failure)).unwrap_or_default().into()
}
