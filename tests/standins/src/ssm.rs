//! The stand-in for SSM's Parameter Store: GetParameter, PutParameter and DeleteParameter, with verified signatures.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use crate::faults::{Fault, Injected, Rule, Rules, play};
use crate::net::{ANY_PORT, Server};
use crate::sigv4::{Signed, Verifier};

#[derive(Default)]
struct Book {
    /// The versions of each parameter, the first one first.
    parameters: HashMap<String, Vec<String>>,
    /// The seconds since a parameter was written, if it was not just now.
    ages: HashMap<String, u64>,
    verifier: Option<Verifier>,
    failures: Vec<(u16, String)>,
    asked: Vec<String>,
}

#[derive(Default)]
struct Shared {
    book: Mutex<Book>,
    rules: Rules,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stand-in for SSM.
pub struct Ssm {
    book: Arc<Shared>,
    server: Server,
}

impl Ssm {
    /// Starts without any parameter. Signatures are verified once [`Ssm::require_signature`] was called.
    ///
    /// # Errors
    /// If loopback has no free port.
    pub async fn start() -> io::Result<Self> {
        Self::bind(ANY_PORT).await
    }

    /// Starts on `addr`.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let book = Arc::<Shared>::default();
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&book));
        let server = Server::start_http(addr, router).await?;
        Ok(Self { book, server })
    }

    /// Returns `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Sets a parameter, as its only version.
    pub fn put(&self, name: &str, value: &str) {
        self.book.lock().parameters.insert(name.to_owned(), vec![value.to_owned()]);
    }

    /// Sets a parameter with several versions, the first one first.
    pub fn put_versions(&self, name: &str, values: &[&str]) {
        let versions = values.iter().map(|value| (*value).to_owned()).collect();
        self.book.lock().parameters.insert(name.to_owned(), versions);
    }

    /// Sets how many seconds ago a parameter was written. Without it, it was just now.
    pub fn set_age(&self, name: &str, seconds: u64) {
        self.book.lock().ages.insert(name.to_owned(), seconds);
    }

    /// Returns the versions of a parameter, the first one first. None if there is no such parameter.
    pub fn versions(&self, name: &str) -> Vec<String> {
        self.book.lock().parameters.get(name).cloned().unwrap_or_default()
    }

    /// Adds a rule (operations `GetParameter`, `PutParameter`, `DeleteParameter`). If several match, the one added first
    /// decides.
    pub fn inject(&self, rule: Rule) -> Injected {
        self.book.rules.inject(rule)
    }

    /// Removes every rule.
    pub fn clear_faults(&self) {
        self.book.rules.clear();
    }

    /// Sets the answers to the next requests: a status, and AWS's error code.
    pub fn fail(&self, failures: &[(u16, &str)]) {
        self.book.lock().failures.extend(failures.iter().map(|(status, code)| (*status, (*code).to_owned())));
    }

    /// From now on only requests that this verifier accepts are answered.
    pub fn require_signature(&self, verifier: Verifier) {
        self.book.lock().verifier = Some(verifier);
    }

    /// Returns the names that were asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.book.lock().asked.clone()
    }

    /// Returns all values, which are secrets.
    pub fn values(&self) -> Vec<String> {
        self.book.lock().parameters.values().flatten().cloned().collect()
    }
}

async fn answer(State(book): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let operation = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = operation.strip_prefix("AmazonSSM.").unwrap_or_default();
    let fault = book.rules.befalls(operation, &String::from_utf8_lossy(&body));
    play(fault, async { book.lock().answer(operation, &uri, &headers, &body).into_response() }, refuse).await
}

fn refuse(fault: &Fault) -> Response {
    let (status, code) = match fault {
        Fault::Throttle => (400, "ThrottlingException"),
        Fault::Deny => (400, "AccessDeniedException"),
        Fault::NotFound => (400, "ParameterNotFound"),
        _ => (500, "InternalServerError"),
    };
    refused(status, code, "").into_response()
}

fn refused(status: u16, code: &str, message: &str) -> (StatusCode, String) {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, json!({"__type": code, "message": message}).to_string())
}

impl Book {
    fn answer(&mut self, operation: &str, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> (StatusCode, String) {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let name = request["Name"].as_str().unwrap_or_default().to_owned();
        if operation == "GetParameter" {
            self.asked.push(name.clone());
        }
        let lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        if let Some(verifier) = &self.verifier
            && let Err(problem) = verifier.verify(Signed { method: "POST", path, headers: &lines, body })
        {
            return refused(400, "InvalidSignatureException", &problem);
        }
        if !self.failures.is_empty() {
            let (status, code) = self.failures.remove(0);
            return refused(status, &format!("com.amazonaws#{code}"), "no");
        }
        if headers.get("content-type").is_none_or(|kind| kind != "application/x-amz-json-1.1") {
            return refused(400, "UnknownOperationException", "");
        }
        match operation {
            "GetParameter" => self.get(&name, &request),
            "PutParameter" => self.put(&name, &request),
            "DeleteParameter" => match self.parameters.remove(&name) {
                Some(_) => (StatusCode::OK, "{}".to_owned()),
                None => refused(400, "ParameterNotFound", ""),
            },
            _ => refused(400, "UnknownOperationException", ""),
        }
    }

    /// Answers with the newest version, or with the one that a selector names.
    fn get(&self, name: &str, request: &Value) -> (StatusCode, String) {
        let (name, selector) = match name.rsplit_once(':') {
            Some((name, version)) => (name, version.parse().ok()),
            None => (name, None),
        };
        let Some(versions) = self.parameters.get(name) else { return refused(400, "ParameterNotFound", "") };
        let version: usize = selector.unwrap_or(versions.len());
        match version.checked_sub(1).and_then(|at| versions.get(at)) {
            Some(value) if request["WithDecryption"] == true => {
                let age = self.ages.get(name).copied().unwrap_or_default();
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let parameter = json!({"Name": name, "Type": "SecureString", "Value": value, "Version": version,
                    "LastModifiedDate": now.saturating_sub(age)});
                (StatusCode::OK, json!({"Parameter": parameter}).to_string())
            }
            Some(_) => refused(400, "ValidationException", "it must be decrypted"),
            None => refused(400, "ParameterVersionNotFound", ""),
        }
    }

    fn put(&mut self, name: &str, request: &Value) -> (StatusCode, String) {
        if request["Type"] != "SecureString" {
            return refused(400, "ValidationException", "a secret must be a SecureString");
        }
        let versions = self.parameters.entry(name.to_owned()).or_default();
        if !versions.is_empty() && request["Overwrite"] != true {
            return refused(400, "ParameterAlreadyExists", "");
        }
        versions.push(request["Value"].as_str().unwrap_or_default().to_owned());
        (StatusCode::OK, json!({"Version": versions.len(), "Tier": "Standard"}).to_string())
    }
}
