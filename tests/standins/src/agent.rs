//! The stand-in for an agent: it answers `POST /invocations` with a script and keeps every request.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::cognito::Issuer;
use crate::http1::{RawRequest, read_request};
use crate::net::{ANY_PORT, Server};
use crate::play::{End, Progress, play};
use crate::script::Script;
use crate::sigv4::{Signed, Verifier};

/// A request as the agent received it, and how far its answer has come.
#[derive(Clone, Debug)]
pub struct AgentRequest {
    /// The method, such as `POST`.
    pub method: String,
    /// The path with the query.
    pub path: String,
    /// All headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body as JSON, or `Null` if it is not JSON.
    pub body: Value,
    /// The body as it came. It may be JSON that Rust's texts cannot hold.
    pub text: String,
    /// The request id that `{{requestId}}` stands for.
    pub request_id: String,
    /// When the whole request had arrived.
    pub at: SystemTime,
    /// The status of the script it got, or 401 if its bearer token was not accepted.
    pub status: u16,
    /// The bytes of body sent so far.
    pub bytes_sent: u64,
    /// The pieces sent so far. In the ready-made scripts each piece is one event.
    pub events_sent: u64,
    /// What the agent is doing, according to the script's last note.
    pub note: String,
    /// True once the end of the answer was reached, in whatever way the script ends it.
    pub finished: bool,
    /// True if the client closed the connection before the end of the answer.
    pub client_left: bool,
}

impl AgentRequest {
    /// Returns a header's value. The case of the name does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns a string of the body, or `""`.
    pub fn field(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// Returns the callback of a detached run, in whatever place its protocol has for it.
    pub fn callback(&self) -> Option<&Value> {
        let places = ["/callback", "/params/message/metadata/callback"];
        places.iter().find_map(|place| self.body.pointer(place))
    }

    fn is_call(&self) -> bool {
        self.method == "POST" && self.path.split('?').next().is_some_and(|path| path.ends_with("/invocations"))
    }

    /// Returns the session of the call: a member of the body, or the header.
    pub fn session(&self) -> &str {
        match self.field("sessionId") {
            "" => self.header("x-amzn-bedrock-agentcore-runtime-session-id").unwrap_or_default(),
            given => given,
        }
    }

    /// Returns true if the call names this session as its own, in the header or in whatever member its protocol has for
    /// it. The session of the run before it in a chain may stand within its prompt.
    pub fn is_of(&self, session: &str) -> bool {
        match self.session() {
            "" => !session.is_empty() && self.body.to_string().contains(&format!("\"{session}\"")),
            own => own == session,
        }
    }

    /// Returns the prompt, or the whole body where the prompt stands somewhere else in it.
    fn words(&self) -> String {
        self.body["prompt"].as_str().map_or_else(|| self.body.to_string(), str::to_owned)
    }
}

enum Chosen {
    Agent(String),
    Prompt(String),
}

#[derive(Default)]
struct Book {
    rules: Vec<(Chosen, VecDeque<Script>, Option<Script>)>,
    queue: VecDeque<Script>,
    default: Option<Script>,
    stop: Option<Script>,
    issuer: Option<Issuer>,
    verifier: Option<Verifier>,
    /// A header that must have this value, and the status without it.
    key: Option<(String, String, u16)>,
    any_path: bool,
    requests: Vec<AgentRequest>,
    answers: Vec<String>,
}

struct Shared {
    book: Mutex<Book>,
    connections: AtomicU64,
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stand-in for an agent.
pub struct Agent {
    shared: Arc<Shared>,
    server: Server,
}

impl Agent {
    /// Starts the agent on a free port. Every call gets `Script::ndjson_happy` until a test sets something else.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub async fn start() -> Self {
        Self::bind(ANY_PORT).await.expect("loopback has a free port")
    }

    /// Starts the agent on `addr`.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let shared = Arc::new(Shared { book: Mutex::default(), connections: AtomicU64::new(0) });
        let for_connections = Arc::clone(&shared);
        let server = Server::start(addr, move |socket| connection(Arc::clone(&for_connections), socket)).await?;
        Ok(Self { shared, server })
    }

    /// Returns `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    // What it answers, in this order: the agent id's script, the prompt's script, the next of the queue, the default.

    /// Sets the answer to the next call that has no script of its own. Several form a queue.
    pub fn queue(&self, script: Script) {
        self.shared.book().queue.push_back(script);
    }

    /// Sets the answer to every call that has no script of its own.
    pub fn default(&self, script: Script) {
        self.shared.book().default = Some(script);
    }

    /// Sets the answer to every call for this `agentId`.
    pub fn on_agent(&self, agent_id: &str, script: Script) {
        self.rule(Chosen::Agent(agent_id.to_owned()), VecDeque::new(), Some(script));
    }

    /// Sets the answers to the next calls for this `agentId`. Later calls are answered as if there were none.
    pub fn queue_for_agent(&self, agent_id: &str, scripts: impl IntoIterator<Item = Script>) {
        self.rule(Chosen::Agent(agent_id.to_owned()), scripts.into_iter().collect(), None);
    }

    /// Sets the answer to every call whose prompt contains this text.
    pub fn on_prompt(&self, keyword: &str, script: Script) {
        self.rule(Chosen::Prompt(keyword.to_owned()), VecDeque::new(), Some(script));
    }

    /// Sets the answers to the next calls whose prompt contains this text. Later calls are answered as if there were
    /// none.
    pub fn queue_for_prompt(&self, keyword: &str, scripts: impl IntoIterator<Item = Script>) {
        self.rule(Chosen::Prompt(keyword.to_owned()), scripts.into_iter().collect(), None);
    }

    /// Sets the answer to AgentCore's StopRuntimeSession. It is 200 until set.
    pub fn on_stop(&self, script: Script) {
        self.shared.book().stop = Some(script);
    }

    /// From now on only bearer tokens of this issuer are accepted; others get 401.
    pub fn require_bearer_of(&self, issuer: Issuer) {
        self.shared.book().issuer = Some(issuer);
    }

    /// From now on any bearer token is accepted, and a missing one too.
    pub fn accept_any_bearer(&self) {
        self.shared.book().issuer = None;
    }

    /// From now on requests must be signed as this verifier wants it, and no bearer token is asked for.
    pub fn require_signature(&self, verifier: Verifier) {
        let mut book = self.shared.book();
        book.issuer = None;
        book.verifier = Some(verifier);
    }

    /// From now on this header must have this value, and no bearer token is asked for. Others get `status`.
    pub fn require_header(&self, name: &str, value: &str, status: u16) {
        let mut book = self.shared.book();
        book.issuer = None;
        book.key = Some((name.to_owned(), value.to_owned(), status));
    }

    /// From now on a POST to any path is answered as a call, for agents that speak another protocol.
    pub fn serve_any_path(&self) {
        self.shared.book().any_path = true;
    }

    fn rule(&self, chosen: Chosen, queue: VecDeque<Script>, script: Option<Script>) {
        self.shared.book().rules.push((chosen, queue, script));
    }

    // What it received.

    /// Returns every request of any kind.
    pub fn requests(&self) -> Vec<AgentRequest> {
        self.shared.book().requests.clone()
    }

    /// Returns the calls: POSTs to `/invocations`, including refused ones.
    pub fn calls(&self) -> Vec<AgentRequest> {
        self.requests().into_iter().filter(AgentRequest::is_call).collect()
    }

    /// Returns the number of calls.
    pub fn call_count(&self) -> usize {
        self.shared.book().requests.iter().filter(|r| r.is_call()).count()
    }

    /// Returns the number of calls with exactly this prompt.
    pub fn calls_for_prompt(&self, prompt: &str) -> usize {
        self.shared.book().requests.iter().filter(|r| r.is_call() && r.field("prompt") == prompt).count()
    }

    /// Returns the number of calls in this session.
    pub fn calls_for_session(&self, session_id: &str) -> usize {
        self.shared.book().requests.iter().filter(|r| r.is_call() && r.field("sessionId") == session_id).count()
    }

    /// Returns the requests to stop a session.
    pub fn stops(&self) -> Vec<AgentRequest> {
        self.requests().into_iter().filter(|r| is_stop(&r.path)).collect()
    }

    /// Returns the number of connections that were opened.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns the final answers of the scripts that were played.
    pub fn answers(&self) -> Vec<String> {
        self.shared.book().answers.clone()
    }

    /// Waits for this many calls and returns them.
    ///
    /// # Panics
    /// After 120 seconds.
    pub async fn wait_for_calls(&self, count: usize) -> Vec<AgentRequest> {
        self.wait_until(&format!("{count} calls"), |calls| calls.len() >= count).await
    }

    /// Waits until `done` is true for the calls and returns them. `what` names the condition in the panic after 120
    /// seconds.
    ///
    /// # Panics
    /// After 120 seconds.
    pub async fn wait_until(&self, what: &str, done: impl Fn(&[AgentRequest]) -> bool) -> Vec<AgentRequest> {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let calls = self.calls();
            if done(&calls) {
                return calls;
            }
            assert!(Instant::now() < end, "the agent did not see {what} in 120 s: {calls:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn is_stop(path: &str) -> bool {
    path.to_ascii_lowercase().contains("stopruntimesession")
}

struct Watched<'a> {
    shared: &'a Shared,
    index: usize,
}

impl Watched<'_> {
    fn update(&self, change: impl FnOnce(&mut AgentRequest)) {
        if let Some(request) = self.shared.book().requests.get_mut(self.index) {
            change(request);
        }
    }
}

impl Progress for Watched<'_> {
    fn sent(&self, bytes: u64, steps: u64) {
        self.update(|r| {
            r.bytes_sent += bytes;
            r.events_sent += steps;
        });
    }

    fn note(&self, text: &str) {
        self.update(|r| text.clone_into(&mut r.note));
    }
}

async fn connection(shared: Arc<Shared>, mut socket: TcpStream) {
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let mut unread = BytesMut::new();
    while let Ok(Some(raw)) = read_request(&mut socket, &mut unread).await {
        let (index, request, script) = register(&shared, raw);
        let fill = |bytes: &Bytes| filled(bytes, &request);
        let end = play(&mut socket, &mut unread, &script, &fill, &Watched { shared: &shared, index }).await;
        Watched { shared: &shared, index }.update(|r| {
            r.finished = end != End::ClientLeft;
            r.client_left = end == End::ClientLeft;
        });
        match end {
            End::Open => {}
            // Closing resets the connection. Shutting it down first would send FIN.
            End::Reset => return,
            End::Closed | End::ClientLeft => break,
        }
    }
    let _ = socket.shutdown().await;
}

/// Records the request and chooses its script.
fn register(shared: &Shared, raw: RawRequest) -> (usize, AgentRequest, Script) {
    let mut book = shared.book();
    let unsigned = book.verifier.as_ref().and_then(|verifier| {
        let signed = Signed { method: &raw.method, path: &raw.path, headers: &raw.headers, body: &raw.body };
        verifier.verify(signed).err()
    });
    let mut request = AgentRequest {
        body: serde_json::from_slice(&raw.body).unwrap_or(Value::Null),
        text: String::from_utf8_lossy(&raw.body).into_owned(),
        method: raw.method,
        path: raw.path,
        headers: raw.headers,
        request_id: uuid::Uuid::new_v4().to_string(),
        at: SystemTime::now(),
        status: 0,
        bytes_sent: 0,
        events_sent: 0,
        note: String::new(),
        finished: false,
        client_left: false,
    };
    let script = match unsigned {
        Some(problem) => Script::status(403, &Value::from(problem).to_string()),
        None => book.choose(&request),
    };
    request.status = script.status;
    book.answers.extend(script.answer.clone());
    book.requests.push(request.clone());
    (book.requests.len() - 1, request, script)
}

impl Book {
    fn choose(&mut self, request: &AgentRequest) -> Script {
        let bearer = request.header("authorization").and_then(|a| a.strip_prefix("Bearer ")).unwrap_or_default();
        if self.issuer.as_ref().is_some_and(|issuer| !issuer.accepts(bearer)) {
            return Script::status(401, r#"{"message":"the bearer is not accepted"}"#);
        }
        if let Some((name, value, status)) = &self.key
            && request.header(name) != Some(value)
        {
            return Script::status(*status, r#"{"message":"the key is not accepted"}"#);
        }
        if is_stop(&request.path) {
            return self.stop.clone().unwrap_or_else(|| Script::status(200, "{}"));
        }
        if !(request.is_call() || self.any_path && request.method == "POST") {
            return Script::status(404, r#"{"message":"no such path"}"#);
        }
        let (agent, prompt) = (request.field("agentId"), request.words());
        for (chosen, queue, always) in &mut self.rules {
            let mine = match chosen {
                Chosen::Agent(id) => id == agent,
                Chosen::Prompt(keyword) => prompt.contains(keyword.as_str()),
            };
            if mine && let Some(script) = queue.pop_front().or_else(|| always.clone()) {
                return script;
            }
        }
        let queued = self.queue.pop_front().or_else(|| self.default.clone());
        queued.unwrap_or_else(|| Script::ndjson_happy("standin-answer: all is well"))
    }
}

/// Returns the bytes with their placeholders replaced by the request's own values.
fn filled(bytes: &Bytes, request: &AgentRequest) -> Bytes {
    // Large pieces are filler, and searching them would only take time.
    if bytes.len() > 64 * 1024 || !bytes.windows(2).any(|two| two == b"{{") {
        return bytes.clone();
    }
    let Ok(mut text) = String::from_utf8(bytes.to_vec()) else { return bytes.clone() };
    let (id, agent) = (request.request_id.as_str(), request.field("agentId"));
    let execution = request.callback().and_then(|callback| callback["executionId"].as_str()).unwrap_or_default();
    let values = [("requestId", id), ("sessionId", request.session()), ("agentId", agent), ("executionId", execution)];
    for (name, value) in values.into_iter().chain([("prompt", request.field("prompt"))]) {
        // The placeholders stand inside JSON strings, so the value is escaped as JSON and loses its quotes.
        let quoted = Value::from(value).to_string();
        text = text.replace(&format!("{{{{{name}}}}}"), &quoted[1..quoted.len() - 1]);
    }
    Bytes::from(text)
}
