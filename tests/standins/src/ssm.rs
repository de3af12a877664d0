//! The stand-in for SSM's Parameter Store: GetParameter, with verified signatures.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::post;
use serde_json::{Value, json};

use crate::net::{ANY_PORT, Server};
use crate::sigv4::{Signed, Verifier};

#[derive(Default)]
struct Book {
    parameters: HashMap<String, String>,
    verifier: Option<Verifier>,
    failures: Vec<(u16, String)>,
    asked: Vec<String>,
}

/// The stand-in for SSM.
pub struct Ssm {
    book: Arc<Mutex<Book>>,
    server: Server,
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
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
        let book = Arc::new(Mutex::new(Book::default()));
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&book));
        let server = Server::start_http(addr, router).await?;
        Ok(Self { book, server })
    }

    /// Returns `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Sets a parameter.
    pub fn put(&self, name: &str, value: &str) {
        lock(&self.book).parameters.insert(name.to_owned(), value.to_owned());
    }

    /// Sets the answers to the next requests: a status, and AWS's error code.
    pub fn fail(&self, failures: &[(u16, &str)]) {
        lock(&self.book).failures.extend(failures.iter().map(|(status, code)| (*status, (*code).to_owned())));
    }

    /// From now on only requests that this verifier accepts are answered.
    pub fn require_signature(&self, verifier: Verifier) {
        lock(&self.book).verifier = Some(verifier);
    }

    /// Returns the names that were asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.book).asked.clone()
    }

    /// Returns all values, which are secrets.
    pub fn values(&self) -> Vec<String> {
        lock(&self.book).parameters.values().cloned().collect()
    }
}

async fn answer(
    State(book): State<Arc<Mutex<Book>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let mut book = lock(&book);
    let refused = |status, code: &str, message: &str| (status, json!({"__type": code, "message": message}).to_string());
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = request["Name"].as_str().unwrap_or_default().to_owned();
    book.asked.push(name.clone());
    let lines: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned())).collect();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    if let Some(verifier) = &book.verifier
        && let Err(problem) = verifier.verify(Signed { method: "POST", path, headers: &lines, body: &body })
    {
        return refused(StatusCode::BAD_REQUEST, "InvalidSignatureException", &problem);
    }
    if !book.failures.is_empty() {
        let (status, code) = book.failures.remove(0);
        return refused(StatusCode::from_u16(status).unwrap_or_default(), &format!("com.amazonaws#{code}"), "no");
    }
    if text("x-amz-target") != "AmazonSSM.GetParameter" || text("content-type") != "application/x-amz-json-1.1" {
        return refused(StatusCode::BAD_REQUEST, "UnknownOperationException", "");
    }
    match book.parameters.get(&name) {
        Some(value) if request["WithDecryption"] == true => {
            let parameter = json!({"Name": name, "Type": "SecureString", "Value": value, "Version": 1});
            (StatusCode::OK, json!({"Parameter": parameter}).to_string())
        }
        Some(_) => refused(StatusCode::BAD_REQUEST, "ValidationException", "it must be decrypted"),
        None => refused(StatusCode::BAD_REQUEST, "ParameterNotFound", ""),
    }
}
