//! The stand-in for the Lambda API. It puts asynchronous Invokes into a queue, from which a pool of function processes
//! runs them with Lambda's retries (<https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>).

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::destination::report;
use crate::faults::{Fault, Injected, Rule, Rules, play};
use crate::net::{ANY_PORT, Server, drop_connection};
use crate::pool::Pool;
use crate::runtime_api::{Invocation, Outcome};
use crate::sigv4::{Signed, Verifier};
use crate::stack::Lambda;

/// The function that runs agents.
pub const FUNCTION_NAME: &str = "agent-trigger-local";
/// The function's ARN, which the Runtime API tells the function.
pub const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:agent-trigger-local";
/// The largest payload of an asynchronous Invoke.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// An event in Lambda's queue, and how it ended.
#[derive(Clone, Debug)]
pub struct AsyncInvocation {
    /// The request id, the same in every attempt.
    pub request_id: String,
    /// The event.
    pub payload: Vec<u8>,
    /// When the event was accepted.
    pub at: SystemTime,
    /// The function as the Invoke named it, or as the invocation does.
    pub function: String,
    /// X-Ray's trace header.
    pub trace_id: Option<String>,
    /// True if it came as an Invoke over the API, false if by [`LambdaApi::submit`].
    pub dispatched: bool,
    /// The outcomes of its attempts so far.
    pub outcomes: Vec<Outcome>,
    /// True once it has succeeded or failed for good.
    pub over: bool,
}

impl AsyncInvocation {
    /// Returns the event as JSON, or `Null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or(Value::Null)
    }

    /// Returns the event as JSON, without what a rule of the stack's own bus wraps it in.
    pub fn event(&self) -> Value {
        let mut payload = self.json();
        if payload["_event"].is_object() { payload["_event"].take() } else { payload }
    }

    /// Returns the outcome of the last attempt.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcomes.last()
    }
}

struct Entry {
    seen: AsyncInvocation,
    invocation: Invocation,
}

#[derive(Default)]
struct Book {
    entries: Vec<Entry>,
    queue: VecDeque<usize>,
    /// The environments that are working, by the index of their invocation.
    running: HashMap<usize, Weak<Lambda>>,
    failures: Vec<Value>,
    requests: usize,
    in_flight: usize,
    most_in_flight: usize,
    retries: usize,
    retry_delay: Duration,
    timeout: Duration,
    verifier: Option<Verifier>,
}

type Receiver = Arc<dyn Fn(Vec<u8>) + Send + Sync>;

pub(crate) struct Queue {
    book: Mutex<Book>,
    rules: Rules,
    /// Further functions by their ARN. Each is called with its events.
    others: Mutex<HashMap<String, Receiver>>,
    filled: Notify,
    /// The number of events that are accepted and not over.
    open: watch::Sender<usize>,
}

impl Queue {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, invocation: Invocation, dispatched: bool) -> String {
        let seen = AsyncInvocation {
            request_id: invocation.request_id.clone(),
            payload: invocation.payload.clone(),
            at: SystemTime::now(),
            function: invocation.function_arn.clone().unwrap_or_else(|| FUNCTION_ARN.to_owned()),
            trace_id: invocation.trace_id.clone(),
            dispatched,
            outcomes: Vec::new(),
            over: false,
        };
        let request_id = seen.request_id.clone();
        let mut book = self.book();
        let index = book.entries.len();
        book.entries.push(Entry { seen, invocation });
        book.queue.push_back(index);
        drop(book);
        self.open.send_modify(|n| *n += 1);
        self.filled.notify_one();
        request_id
    }

    /// Waits for the next invocation to attempt.
    pub(crate) async fn next(&self) -> (usize, Invocation) {
        loop {
            let filled = self.filled.notified();
            if let Some(next) = self.take() {
                return next;
            }
            filled.await;
        }
    }

    fn take(&self) -> Option<(usize, Invocation)> {
        let mut book = self.book();
        let index = book.queue.pop_front()?;
        Some((index, book.entries[index].invocation.clone()))
    }

    pub(crate) fn begun(&self, index: usize, environment: &Arc<Lambda>) {
        self.book().running.insert(index, Arc::downgrade(environment));
    }

    /// Records how an attempt ended. A failed one is tried again as often as Lambda would.
    pub(crate) fn ended(self: &Arc<Self>, index: usize, outcome: Outcome) {
        let mut book = self.book();
        let (retries, delay) = (book.retries, book.retry_delay);
        book.running.remove(&index);
        let entry = &mut book.entries[index];
        entry.seen.outcomes.push(outcome.clone());
        let attempts = entry.seen.outcomes.len();
        let failed = !outcome.is_success();
        if failed && attempts <= retries {
            drop(book);
            let queue = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                queue.book().queue.push_back(index);
                queue.filled.notify_one();
            });
            return;
        }
        entry.seen.over = true;
        if failed {
            let report = report(&entry.invocation, u32::try_from(attempts).unwrap_or(u32::MAX), &outcome);
            book.failures.push(report);
        }
        drop(book);
        self.open.send_modify(|n| *n -= 1);
    }

    /// Answers an Invoke.
    fn serve(&self, function: &str, path: &str, headers: &HeaderMap, payload: &Bytes) -> Response {
        if let Some(verifier) = &self.book().verifier {
            let lines: Vec<_> = headers
                .iter()
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect();
            if let Err(problem) = verifier.verify(Signed { method: "POST", path, headers: &lines, body: payload }) {
                return error(403, "InvalidSignatureException", &problem);
            }
        }
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if !header("authorization").is_some_and(|a| a.starts_with("AWS4-") && a.contains("/lambda/aws4_request")) {
            return error(403, "MissingAuthenticationTokenException", "Missing Authentication Token");
        }
        let other = self.others.lock().unwrap_or_else(PoisonError::into_inner).get(function).cloned();
        if other.is_none() && !is_the_function(function) {
            return error(404, "ResourceNotFoundException", &format!("Function not found: {function}"));
        }
        if header("x-amz-invocation-type") != Some("Event") {
            return error(400, "InvalidParameterValueException", "the stand-in only takes InvocationType Event");
        }
        if payload.len() > MAX_EVENT_BYTES {
            let message =
                format!("Request must be smaller than {MAX_EVENT_BYTES} bytes for the InvokeFunction operation");
            return error(413, "RequestTooLargeException", &message);
        }
        if serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_err() {
            // Lambda quotes what it cannot read.
            let quoted = String::from_utf8_lossy(payload);
            let message = format!("Could not parse request body into json: {quoted}");
            return error(400, "InvalidRequestContentException", &message);
        }
        if let Some(receive) = other {
            receive(payload.to_vec());
            return StatusCode::ACCEPTED.into_response();
        }
        let mut invocation = Invocation::new(payload.to_vec()).timeout(self.book().timeout).function_arn(function);
        if let Some(trace) = header("x-amzn-trace-id") {
            invocation = invocation.trace_id(trace);
        }
        let request_id = self.accept(invocation, true);
        (StatusCode::ACCEPTED, [("x-amzn-requestid", request_id)]).into_response()
    }
}

/// Returns true for the function's name, ARN or partial ARN, with or without a version or alias, and for the name by
/// which `cargo lambda watch` calls any function.
fn is_the_function(name: &str) -> bool {
    let partial = FUNCTION_ARN.strip_prefix("arn:aws:lambda:us-east-1:").unwrap_or(FUNCTION_ARN);
    [FUNCTION_NAME, FUNCTION_ARN, partial, "function-arn"].iter().any(|form| {
        name.strip_prefix(form).is_some_and(|rest| rest.is_empty() || rest.len() > 1 && rest.starts_with(':'))
    })
}

/// The stand-in for the Lambda API. Clones are the same one.
#[derive(Clone)]
pub struct LambdaApi(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    server: Server,
    pools: Mutex<Vec<Pool>>,
}

impl LambdaApi {
    /// Starts the API on a free port.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub async fn start() -> Self {
        Self::bind(ANY_PORT).await.expect("loopback has a free port")
    }

    /// Starts the API on `addr`. Accepted events wait until [`crate::Stack::pool`] lets processes run them.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let book = Book { retries: 2, timeout: Duration::from_secs(30), ..Book::default() };
        let queue = Arc::new(Queue {
            book: Mutex::new(book),
            rules: Rules::default(),
            others: Mutex::default(),
            filled: Notify::new(),
            open: watch::Sender::new(0),
        });
        let router = Router::new()
            .route("/2015-03-31/functions/{function}/invocations", post(invoke))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&queue));
        let server = Server::start_http(addr, router).await?;
        Ok(Self(Arc::new(Inner { queue, server, pools: Mutex::default() })))
    }

    /// Returns `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.0.server.url()
    }

    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.0.queue)
    }

    fn pools(&self) -> MutexGuard<'_, Vec<Pool>> {
        self.0.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn work_with(&self, pool: Pool) {
        self.pools().push(pool);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.queue.book()
    }

    // Its behaviour.

    /// From now on only requests that this verifier accepts are answered.
    pub fn require_signature(&self, verifier: Verifier) {
        self.0.queue.book().verifier = Some(verifier);
    }

    /// Adds a rule (operation `Invoke`). If several match, the one added first decides.
    pub fn inject(&self, rule: Rule) -> Injected {
        self.0.queue.rules.inject(rule)
    }

    /// Lets the API know a further function. Its events are not queued: `receive` is called with each.
    pub fn serve_other(&self, arn: &str, receive: impl Fn(Vec<u8>) + Send + Sync + 'static) {
        let mut others = self.0.queue.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.insert(arn.to_owned(), Arc::new(receive));
    }

    /// Removes every rule.
    pub fn clear_faults(&self) {
        self.0.queue.rules.clear();
    }

    /// Sets how often a failed event is tried again. It is twice until set, as on Lambda.
    pub fn retries(&self, times: usize) {
        self.book().retries = times;
    }

    /// Sets how long a failed event waits before it is tried again. It does not wait until set (Lambda waits one
    /// minute, then two).
    pub fn retry_delay(&self, delay: Duration) {
        self.book().retry_delay = delay;
    }

    /// Sets the time that an event from the API has. It is 30 seconds until set.
    pub fn timeout(&self, timeout: Duration) {
        self.book().timeout = timeout;
    }

    /// Returns the time that an event from the API has.
    pub(crate) fn time_of_an_event(&self) -> Duration {
        self.book().timeout
    }

    /// Puts an event into the queue, as a rule's target does, and returns its request id.
    pub fn submit(&self, invocation: Invocation) -> String {
        self.0.queue.accept(invocation, false)
    }

    /// Returns a function that puts events into the queue, for what outlives a borrow of the stack.
    pub fn sender(&self) -> impl Fn(Invocation) + Clone + Send + 'static {
        let queue = self.queue();
        move |invocation| {
            queue.accept(invocation, false);
        }
    }

    // What it received.

    /// Returns every accepted event, in order.
    pub fn invocations(&self) -> Vec<AsyncInvocation> {
        self.book().entries.iter().map(|entry| entry.seen.clone()).collect()
    }

    /// Returns the events that came as Invokes over the API, in order.
    pub fn dispatched(&self) -> Vec<AsyncInvocation> {
        self.book().entries.iter().map(|entry| entry.seen.clone()).filter(|seen| seen.dispatched).collect()
    }

    /// Returns the number of accepted events.
    pub fn accepted(&self) -> usize {
        self.book().entries.len()
    }

    /// Returns the number of Invoke requests, including refused ones and those with a fault.
    pub fn requests(&self) -> usize {
        self.book().requests
    }

    /// Returns the largest number of Invoke requests that waited for their answer at the same time.
    pub fn most_in_flight(&self) -> usize {
        self.book().most_in_flight
    }

    /// Returns what the on-failure destination received: a report of each event that failed for good.
    pub fn failures(&self) -> Vec<Value> {
        self.book().failures.clone()
    }

    /// Sends SIGKILL to the process that works on this request. Returns false if there is none.
    pub fn kill(&self, request_id: &str) -> bool {
        let book = self.book();
        let mut working = book.running.iter().filter(|(index, _)| book.entries[**index].seen.request_id == request_id);
        let environment = working.find_map(|(_, environment)| environment.upgrade());
        environment.inspect(|environment| environment.kill()).is_some()
    }

    /// Waits until every event is over, including those accepted meanwhile.
    ///
    /// # Panics
    /// If no process works on the queue, or after two minutes, with the events that are not over.
    pub async fn idle(&self) {
        let mut open = self.0.queue.open.subscribe();
        let nobody = self.pools().is_empty() && *open.borrow() > 0;
        assert!(!nobody, "events are queued and no pool works on them: call Stack::pool");
        let ended = tokio::time::timeout(Duration::from_secs(120), open.wait_for(|open| *open == 0)).await.is_ok();
        let left: Vec<_> = if ended { Vec::new() } else { self.invocations() };
        let left: Vec<_> = left.iter().filter(|i| !i.over).map(|i| (&i.request_id, &i.outcomes)).collect();
        assert!(ended, "not over in two minutes: {left:#?}");
    }
}

/// Counts a request while it waits for its answer, or until its client leaves.
struct InFlight(Arc<Queue>);

impl InFlight {
    fn begin(queue: &Arc<Queue>) -> Self {
        let mut book = queue.book();
        book.requests += 1;
        book.in_flight += 1;
        book.most_in_flight = book.most_in_flight.max(book.in_flight);
        Self(Arc::clone(queue))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.book().in_flight -= 1;
    }
}

async fn invoke(
    State(queue): State<Arc<Queue>>,
    Path(function): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    payload: Bytes,
) -> Response {
    let _in_flight = InFlight::begin(&queue);
    let fault = queue.rules.befalls("Invoke", &String::from_utf8_lossy(&payload));
    // In a task of its own: a request that the client has given up on is still accepted, as it would be behind a real
    // network.
    let played = tokio::spawn(async move {
        let apply = async { queue.serve(&function, uri.path(), &headers, &payload) };
        play(fault, apply, refuse).await
    });
    played.await.unwrap_or_else(|_| drop_connection())
}

fn refuse(fault: &Fault) -> Response {
    match fault {
        Fault::Throttle => error(429, "TooManyRequestsException", "Rate Exceeded."),
        Fault::Deny => error(403, "AccessDeniedException", "not authorized to perform lambda:InvokeFunction"),
        Fault::NotFound => error(404, "ResourceNotFoundException", &format!("Function not found: {FUNCTION_ARN}")),
        Fault::Conflict => error(409, "ResourceConflictException", "The operation cannot be performed at this time."),
        _ => error(500, "ServiceException", "The service encountered an internal error."),
    }
}

fn error(status: u16, name: &'static str, message: &str) -> Response {
    let side = if status < 500 { "User" } else { "Service" };
    let headers = [("content-type", "application/json"), ("x-amzn-errortype", name)];
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, headers, json!({"Type": side, "Message": message}).to_string()).into_response()
}
