//! The Lambda Runtime API as one function process sees it, with several invocations in flight if the process polls for
//! them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot, watch};

use crate::gate::Gate;
use crate::lambda_api::FUNCTION_ARN;
use crate::net::{ANY_PORT, Server, drop_connection};

/// An invocation that Lambda sends to a function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The event, which need not be JSON.
    pub payload: Vec<u8>,
    /// Lambda's request id, which stays the same in Lambda's own retries.
    pub request_id: String,
    /// The time from delivery to the deadline, at which Lambda kills the process.
    pub timeout: Duration,
    /// X-Ray's trace header.
    pub trace_id: Option<String>,
    /// The function that is invoked, if it is a version or an alias.
    pub function_arn: Option<String>,
    /// The client context that the caller gave, in the bytes of the header.
    pub client_context: Option<Vec<u8>>,
}

impl Invocation {
    /// Creates an invocation with these bytes, a new request id and 30 seconds of time.
    pub fn new(payload: impl Into<Vec<u8>>) -> Self {
        let request_id = uuid::Uuid::new_v4().to_string();
        let timeout = Duration::from_secs(30);
        Self { payload: payload.into(), request_id, timeout, trace_id: None, function_arn: None, client_context: None }
    }

    /// Creates an invocation with a JSON event.
    pub fn event(event: &Value) -> Self {
        Self::new(event.to_string())
    }

    /// Creates a scheduled fire of a trigger of `user-1` for the agent `agent-1`.
    pub fn scheduled(trigger_id: &str, prompt: &str, scheduled_time: &str) -> Self {
        Self::event(&scheduled_event(trigger_id, prompt, Some(scheduled_time)))
    }

    /// Sets the Lambda request id.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = id.into();
        self
    }

    /// Sets the time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the X-Ray trace header.
    #[must_use]
    pub fn trace_id(mut self, id: impl Into<String>) -> Self {
        self.trace_id = Some(id.into());
        self
    }

    /// Sets the function's ARN, with a version or an alias.
    #[must_use]
    pub fn function_arn(mut self, arn: impl Into<String>) -> Self {
        self.function_arn = Some(arn.into());
        self
    }

    /// Sets the client context.
    #[must_use]
    pub fn client_context(mut self, context: impl Into<Vec<u8>>) -> Self {
        self.client_context = Some(context.into());
        self
    }
}

/// Returns the event of a scheduled fire, for a test to change. `detail.userId` is `user-1`, `agentId` is `agent-1`.
pub fn scheduled_event(trigger_id: &str, prompt: &str, scheduled_time: Option<&str>) -> Value {
    let mut event = json!({
        "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
        "source": "aws.scheduler", "account": "123456789012", "time": "2025-01-01T00:00:00Z", "region": "us-east-1",
        "resources": ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/test"],
        "detail": {"triggerId": trigger_id, "userId": "user-1", "agentId": "agent-1", "prompt": prompt},
    });
    if let Some(time) = scheduled_time {
        event["detail"]["scheduledTime"] = time.into();
    }
    event
}

/// The outcome of an invocation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The function's response.
    Success(Value),
    /// The function reported an error, which Lambda counts and retries.
    FunctionError {
        /// `errorType` of the posted error.
        error_type: String,
        /// `errorMessage` of the posted error: a string, which for this function contains a JSON object.
        error_message: String,
        /// The whole posted JSON.
        posted: Value,
    },
    /// The process ended before the invocation did.
    Died,
    /// The deadline passed first. The process is killed, as on Lambda.
    TimedOut,
}

impl Outcome {
    /// The JSON that a function posts to `/error`.
    pub(crate) fn function_error(posted: Value) -> Self {
        let text = |name: &str| posted[name].as_str().unwrap_or_default().to_owned();
        let (error_type, error_message) = (text("errorType"), text("errorMessage"));
        Self::FunctionError { error_type, error_message, posted }
    }

    /// Returns true if the function answered without an error.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Success(_))
    }

    /// Returns the reported `errorType`, or `""`.
    pub fn error_type(&self) -> &str {
        if let Self::FunctionError { error_type, .. } = self { error_type } else { "" }
    }

    /// Returns the object in the error message or in a success's `body`, or `Null` where there is none.
    pub fn body(&self) -> Value {
        let text = match self {
            Self::Success(value) => value["body"].as_str().unwrap_or_default(),
            Self::FunctionError { error_message, .. } => error_message,
            Self::Died | Self::TimedOut => "",
        };
        serde_json::from_str(text).unwrap_or(Value::Null)
    }
}

struct Pending {
    delivery: String,
    request_id: String,
    deadline: SystemTime,
    invocation: Invocation,
    answer: oneshot::Sender<Outcome>,
}

#[derive(Default)]
struct Book {
    queued: VecDeque<Pending>,
    in_flight: Vec<Pending>,
    dead: bool,
    init_errors: Vec<Value>,
    payloads: Vec<Vec<u8>>,
    outcomes: Vec<Outcome>,
    polls: usize,
    refusal: Option<StatusCode>,
    lost_answers: usize,
}

pub(crate) struct Shared {
    book: Mutex<Book>,
    queued: Notify,
    polled: Notify,
    kill: watch::Sender<u64>,
    restoring: Gate,
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Records that a process was started: from now on invocations are kept for it.
    pub(crate) fn born(&self) {
        self.book().dead = false;
    }

    /// Records that the process ended, and reports that to everything that waits for it.
    pub(crate) fn died(&self) {
        let mut book = self.book();
        book.dead = true;
        let waiting: Vec<_> = book.queued.drain(..).collect();
        for pending in waiting.into_iter().chain(std::mem::take(&mut book.in_flight)) {
            let _ = pending.answer.send(Outcome::Died);
        }
    }

    /// Changes whenever the process must be killed.
    pub(crate) fn kills(&self) -> watch::Receiver<u64> {
        self.kill.subscribe()
    }

    pub(crate) fn payloads(&self) -> Vec<Vec<u8>> {
        self.book().payloads.clone()
    }

    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        self.book().outcomes.clone()
    }

    /// Returns true if the next answer must be lost.
    fn loses_answer(&self) -> bool {
        let mut book = self.book();
        let left = book.lost_answers.checked_sub(1);
        book.lost_answers = left.unwrap_or_default();
        left.is_some()
    }

    fn finish(&self, request_id: &str, headers: &HeaderMap, outcome: Outcome) -> StatusCode {
        // A request id can be in flight twice. Then the delivery's own id, which the runtime sends back, tells them
        // apart.
        let delivery = headers.get("lambda-runtime-invocation-id").and_then(|v| v.to_str().ok());
        let mut book = self.book();
        let found = book
            .in_flight
            .iter()
            .position(|p| p.request_id == request_id && delivery.is_none_or(|delivery| p.delivery == delivery));
        let Some(found) = found else { return StatusCode::FORBIDDEN };
        let _ = book.in_flight.swap_remove(found).answer.send(outcome);
        StatusCode::ACCEPTED
    }
}

/// The Runtime API of one function process.
pub struct RuntimeApi {
    shared: Arc<Shared>,
    server: Server,
}

impl RuntimeApi {
    /// Starts the API on a free port.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub async fn start() -> Self {
        Self::bind(ANY_PORT).await.expect("loopback has a free port")
    }

    /// Starts the API on `addr`.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            book: Mutex::default(),
            queued: Notify::new(),
            polled: Notify::new(),
            kill: watch::Sender::new(0),
            restoring: Gate::new(),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .route("/2018-06-01/runtime/restore/next", get(restore))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        Ok(Self { shared, server: Server::start_http(addr, router).await? })
    }

    /// Returns `host:port`, the form of AWS_LAMBDA_RUNTIME_API.
    pub fn authority(&self) -> String {
        self.server.addr().to_string()
    }

    /// Returns the gate at which the process waits to be restored from its snapshot.
    pub fn restoring(&self) -> &Gate {
        &self.shared.restoring
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Queues the invocation and waits for its outcome. Its time starts when the process takes it.
    pub async fn invoke(&self, invocation: Invocation) -> Outcome {
        let (answer, mut answered) = oneshot::channel();
        let delivery = uuid::Uuid::new_v4().to_string();
        let timeout = invocation.timeout;
        {
            let mut book = self.shared.book();
            if book.dead {
                return Outcome::Died;
            }
            book.payloads.push(invocation.payload.clone());
            book.queued.push_back(Pending {
                delivery: delivery.clone(),
                request_id: invocation.request_id.clone(),
                deadline: UNIX_EPOCH,
                invocation,
                answer,
            });
        }
        self.shared.queued.notify_one();
        let outcome = loop {
            let look =
                tokio::time::sleep(self.until_deadline(&delivery).unwrap_or(timeout.min(Duration::from_millis(50))));
            tokio::select! {
                biased;
                outcome = &mut answered => break outcome.unwrap_or(Outcome::Died),
                () = look => {
                    if self.until_deadline(&delivery) == Some(Duration::ZERO) {
                        self.shared.book().in_flight.retain(|p| p.delivery != delivery);
                        self.shared.kill.send_modify(|n| *n += 1);
                        break Outcome::TimedOut;
                    }
                }
            }
        };
        self.shared.book().outcomes.push(outcome.clone());
        outcome
    }

    fn until_deadline(&self, delivery: &str) -> Option<Duration> {
        let book = self.shared.book();
        let pending = book.in_flight.iter().find(|p| p.delivery == delivery)?;
        Some(pending.deadline.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// Waits until the process has asked for work, which is the end of its start. Returns false after `limit`.
    pub async fn polled(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            let polled = self.shared.polled.notified();
            if self.polls() > 0 {
                return true;
            }
            if tokio::time::timeout_at(end.into(), polled).await.is_err() {
                return false;
            }
        }
    }

    /// Returns how often the process asked for work.
    pub fn polls(&self) -> usize {
        self.shared.book().polls
    }

    /// Returns how many invocations the process holds.
    pub fn in_flight(&self) -> usize {
        self.shared.book().in_flight.len()
    }

    /// Answers every poll with this status and no invocation, those that wait too. `None` ends that.
    pub fn refuse_polls(&self, status: Option<StatusCode>) {
        self.shared.book().refusal = status;
        self.shared.queued.notify_waiters();
    }

    /// Breaks the connection at so many answers, which are lost.
    pub fn lose_answers(&self, count: usize) {
        self.shared.book().lost_answers = count;
    }

    /// Returns how many answers are still to be lost.
    pub fn answers_to_lose(&self) -> usize {
        self.shared.book().lost_answers
    }

    /// Returns what was posted to `/runtime/init/error`.
    pub fn init_errors(&self) -> Vec<Value> {
        self.shared.book().init_errors.clone()
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    shared.book().polls += 1;
    shared.polled.notify_waiters();
    loop {
        let mut queued = std::pin::pin!(shared.queued.notified());
        // A refusal wakes only those that wait already.
        queued.as_mut().enable();
        if let Some(status) = shared.book().refusal {
            let mut refused = Response::new(Body::from(r#"{"errorMessage":"no","errorType":"Refused"}"#));
            *refused.status_mut() = status;
            return refused;
        }
        if let Some(response) = take(&shared) {
            return response;
        }
        queued.await;
    }
}

fn take(shared: &Shared) -> Option<Response> {
    let mut book = shared.book();
    let mut pending = book.queued.pop_front()?;
    pending.deadline = SystemTime::now() + pending.invocation.timeout;
    let deadline = pending.deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut response = Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", &pending.request_id)
        .header("lambda-runtime-invocation-id", &pending.delivery)
        .header("lambda-runtime-deadline-ms", deadline.to_string())
        .header(
            "lambda-runtime-invoked-function-arn",
            pending.invocation.function_arn.as_deref().unwrap_or(FUNCTION_ARN),
        );
    if let Some(trace) = &pending.invocation.trace_id {
        response = response.header("lambda-runtime-trace-id", trace);
    }
    if let Some(context) = &pending.invocation.client_context {
        response = response.header("lambda-runtime-client-context", context.as_slice());
    }
    let response = response.body(Body::from(pending.invocation.payload.clone()));
    book.in_flight.push(pending);
    let more = !book.queued.is_empty();
    drop(book);
    if more {
        // `notify_one` keeps a single permit, so each taker wakes the next one.
        shared.queued.notify_one();
    }
    Some(response.expect("request ids and trace ids of tests are header values"))
}

async fn response(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if shared.loses_answer() {
        return drop_connection();
    }
    let value = serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into());
    shared.finish(&id, &headers, Outcome::Success(value)).into_response()
}

async fn error(State(shared): State<Arc<Shared>>, Path(id): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    if shared.loses_answer() {
        return drop_connection();
    }
    let posted = serde_json::from_slice(&body).unwrap_or(Value::Null);
    shared.finish(&id, &headers, Outcome::function_error(posted)).into_response()
}

/// Restores the process from its snapshot once the gate is open.
async fn restore(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.restoring.pass().await;
    StatusCode::OK
}

async fn init_error(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    shared.book().init_errors.push(serde_json::from_slice(&body).unwrap_or(Value::Null));
    StatusCode::ACCEPTED
}
