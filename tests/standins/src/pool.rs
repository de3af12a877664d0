//! A pool of function processes that work on Lambda's queue as its environments do: one invocation at a time.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use crate::function::{Function, Logs, Tee};
use crate::lambda_api::Queue;
use crate::net::ANY_PORT;
use crate::runtime_api::{Invocation, Outcome, RuntimeApi, Shared};
use crate::stack::{Env, Lambda};

/// The logs and answers of every process of a stack, kept after its end.
pub(crate) type Started = Mutex<Vec<(Logs, Arc<Shared>)>>;

/// Starts function processes.
pub(crate) struct Starter {
    pub(crate) binary: PathBuf,
    pub(crate) env: Env,
    pub(crate) tee: Option<Tee>,
    pub(crate) started: Arc<Started>,
}

impl Starter {
    pub(crate) async fn start(&self) -> io::Result<Lambda> {
        let api = RuntimeApi::bind(ANY_PORT).await?;
        let process = Function::spawn_with_tee(&self.binary, &self.env, &api, self.tee.clone())?;
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.push((process.log_buffer(), api.shared()));
        Ok(Lambda { api, process })
    }
}

/// The processes. Dropping the pool kills them.
pub(crate) struct Pool(AbortHandle);

impl Pool {
    /// Starts up to `size` processes, each when all others are busy.
    pub(crate) fn new(queue: Arc<Queue>, starter: Starter, size: usize) -> Self {
        let free = Arc::new(Semaphore::new(size));
        let environments = Arc::new(Environments { starter, idle: Mutex::default() });
        let work = async move {
            let mut attempts = JoinSet::new();
            while let Ok(permit) = Arc::clone(&free).acquire_owned().await {
                let (index, invocation) = queue.next().await;
                let (queue, environments) = (Arc::clone(&queue), Arc::clone(&environments));
                attempts.spawn(async move {
                    let outcome = environments.attempt(&queue, index, invocation).await;
                    // The process is free before the queue learns of the end, so that the next invocation finds an idle
                    // environment.
                    drop(permit);
                    queue.ended(index, outcome);
                });
                while attempts.try_join_next().is_some() {}
            }
        };
        Self(tokio::spawn(work).abort_handle())
    }

    /// Forwards to another Invoke API at `url`, which decides itself how many it runs at once.
    pub(crate) fn forwarding(queue: Arc<Queue>, url: String) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let work = async move {
            let mut attempts = JoinSet::new();
            loop {
                let (index, invocation) = queue.next().await;
                let (queue, client, url) = (Arc::clone(&queue), client.clone(), url.clone());
                attempts.spawn(async move {
                    let answered = tokio::time::timeout(invocation.timeout, forward(&client, &url, invocation.payload));
                    let outcome = answered.await.unwrap_or(Some(Outcome::TimedOut));
                    queue.ended(index, outcome.unwrap_or(Outcome::Died));
                });
                while attempts.try_join_next().is_some() {}
            }
        };
        Self(tokio::spawn(work).abort_handle())
    }
}

/// Returns the outcome of a synchronous Invoke, or `None` if there is no answer. `cargo lambda watch` marks a function
/// error with a status of its own, Lambda with a header.
async fn forward(client: &Client<HttpConnector, Full<Bytes>>, url: &str, payload: Vec<u8>) -> Option<Outcome> {
    let request = Request::post(url).header("content-type", "application/json").body(Full::from(payload)).ok()?;
    let response = client.request(request).await.ok()?;
    let failed = !response.status().is_success() || response.headers().contains_key("x-amz-function-error");
    let body = response.into_body().collect().await.ok()?.to_bytes();
    let posted: Value = serde_json::from_slice(&body).ok()?;
    Some(if failed { Outcome::function_error(posted) } else { Outcome::Success(posted) })
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Environments {
    starter: Starter,
    idle: Mutex<Vec<Arc<Lambda>>>,
}

impl Environments {
    fn idle(&self) -> MutexGuard<'_, Vec<Arc<Lambda>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attempt(&self, queue: &Queue, index: usize, invocation: Invocation) -> Outcome {
        self.idle().retain(|environment| environment.process.is_running());
        let idle = self.idle().pop();
        let environment = match idle {
            Some(environment) => environment,
            // An environment that does not start counts as a failed attempt, as with Lambda.
            None => match self.starter.start().await {
                Ok(environment) => Arc::new(environment),
                Err(_) => return Outcome::Died,
            },
        };
        queue.begun(index, &environment);
        let outcome = environment.invoke(invocation).await;
        if matches!(outcome, Outcome::Success(_) | Outcome::FunctionError { .. }) {
            self.idle().push(environment);
        }
        outcome
    }
}
