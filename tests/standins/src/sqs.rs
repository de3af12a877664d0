//! The stand-in for the settle queue: SendMessage with a delay. Messages stay until a test delivers them, or are
//! delivered to Lambda's queue in compressed time.
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};

use crate::destination::sqs_batch;
use crate::net::{ANY_PORT, Server};
use crate::runtime_api::Invocation;

/// A message that was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct SentMessage {
    /// Its text.
    pub body: String,
    /// Its delay in seconds.
    pub delay_seconds: u64,
}

impl SentMessage {
    /// Returns the text as JSON, or `Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// Returns the batch that delivers the message.
    pub fn delivery(&self) -> Invocation {
        sqs_batch([("message-1", self.body.as_str())])
    }
}

type Sink = Box<dyn Fn(SentMessage) + Send>;

#[derive(Default)]
struct Book {
    sent: Vec<SentMessage>,
    failures: Vec<u16>,
    requests: usize,
    sink: Option<Sink>,
}

/// The stand-in for the settle queue.
pub struct Sqs {
    book: Arc<Mutex<Book>>,
    server: Server,
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sqs {
    /// Starts an empty queue.
    ///
    /// # Errors
    /// If loopback has no free port.
    pub async fn start() -> io::Result<Self> {
        let book = Arc::new(Mutex::new(Book::default()));
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&book));
        let server = Server::start_http(ANY_PORT, router).await?;
        Ok(Self { book, server })
    }

    /// Returns the queue's URL.
    pub fn url(&self) -> String {
        format!("{}/123456789012/agent-trigger-settle", self.server.url())
    }

    /// Sets the statuses of the answers to the next requests. Their messages are not sent.
    pub fn fail(&self, statuses: &[u16]) {
        lock(&self.book).failures.extend(statuses);
    }

    /// Returns the messages sent so far, in order.
    pub fn sent(&self) -> Vec<SentMessage> {
        lock(&self.book).sent.clone()
    }

    /// Returns the number of requests so far, including those that failed.
    pub fn requests(&self) -> usize {
        lock(&self.book).requests
    }

    /// Delivers every message that is sent from now on to `deliver`, after its delay. A second of the delay takes
    /// `second`.
    pub fn deliver_to(&self, second: Duration, deliver: impl Fn(Invocation) + Clone + Send + 'static) {
        lock(&self.book).sink = Some(Box::new(move |message| {
            let deliver = deliver.clone();
            tokio::spawn(async move {
                tokio::time::sleep(second * u32::try_from(message.delay_seconds).unwrap_or(u32::MAX)).await;
                deliver(message.delivery());
            });
        }));
    }
}

async fn answer(State(book): State<Arc<Mutex<Book>>>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let mut book = lock(&book);
    book.requests += 1;
    let refused = |status: u16, code: &str| {
        let body = json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": "no"}).to_string();
        (StatusCode::from_u16(status).unwrap_or_default(), body)
    };
    if !book.failures.is_empty() {
        return refused(book.failures.remove(0), "InternalError");
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_signed = text("authorization").contains("/sqs/aws4_request");
    if text("x-amz-target") != "AmazonSQS.SendMessage" || text("content-type") != "application/x-amz-json-1.0" {
        return refused(400, "UnknownOperationException");
    }
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let delay_seconds = request["DelaySeconds"].as_u64().unwrap_or_default();
    let (Some(body), true, 0..=900) = (request["MessageBody"].as_str(), is_signed, delay_seconds) else {
        return refused(400, "InvalidParameterValue");
    };
    let message = SentMessage { body: body.to_owned(), delay_seconds };
    book.sent.push(message.clone());
    if let Some(sink) = &book.sink {
        sink(message);
    }
    (StatusCode::OK, json!({"MessageId": uuid::Uuid::new_v4().to_string(), "MD5OfMessageBody": ""}).to_string())
}
