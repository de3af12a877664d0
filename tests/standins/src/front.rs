//! The front of dynoxide: it counts the requests, plays faults and makes pages small.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::faults::{Fault, Rules, play};
use crate::net::drop_connection;

/// A request that came to the front, with or without a fault.
#[derive(Clone, Debug)]
pub struct StoreRequest {
    /// The operation: `UpdateItem`, `GetItem`, …
    pub operation: String,
    /// The body as received.
    pub body: String,
    /// When the request came.
    pub at: SystemTime,
}

impl StoreRequest {
    /// Returns the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// Returns a string of the request's key (`PK` or `SK`), or `""`. For a transaction it is the key of the first
    /// item.
    pub fn key(&self, name: &str) -> String {
        self.keys(name).into_iter().next().unwrap_or_default()
    }

    /// Returns this string of every key that the request names: one, or as many as a transaction has items.
    pub fn keys(&self, name: &str) -> Vec<String> {
        let body = self.json();
        let of_transaction = body["TransactItems"].as_array().into_iter().flatten();
        let actions = of_transaction.flat_map(|item| item.as_object().into_iter().flat_map(|item| item.values()));
        let of = |action: &Value, member: &str| action[member][name]["S"].as_str().map(str::to_owned);
        std::iter::once(&body)
            .chain(actions)
            .filter_map(|action| of(action, "Key").or_else(|| of(action, "Item")))
            .collect()
    }
}

pub(crate) struct Front {
    inner: String,
    client: Client<HttpConnector, Full<Bytes>>,
    requests: Mutex<Vec<StoreRequest>>,
    page_size: AtomicUsize,
    pub(crate) rules: Rules,
}

impl Front {
    /// Creates a front for `inner`, a URL.
    pub(crate) fn new(inner: String) -> Self {
        Self {
            inner,
            client: Client::builder(TokioExecutor::new()).build_http(),
            requests: Mutex::default(),
            page_size: AtomicUsize::new(usize::MAX),
            rules: Rules::default(),
        }
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/", post(serve))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(self))
    }

    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<StoreRequest>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_page_size(&self, items: usize) {
        self.page_size.store(items, Ordering::SeqCst);
    }

    /// Returns the body, for a Query with a limit no larger than the page size.
    fn paged(&self, operation: &str, body: String) -> String {
        let size = self.page_size.load(Ordering::SeqCst);
        if operation != "Query" || size == usize::MAX {
            return body;
        }
        let Ok(Value::Object(mut request)) = serde_json::from_str(&body) else { return body };
        let wanted = request.get("Limit").and_then(Value::as_u64).unwrap_or(u64::MAX);
        request.insert("Limit".to_owned(), wanted.min(size as u64).into());
        Value::Object(request).to_string()
    }

    async fn apply(&self, headers: &HeaderMap, body: String) -> Response {
        let mut request = Request::post(&self.inner);
        for name in ["content-type", "x-amz-target", "authorization", "x-amz-date"] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        let request = request.body(Full::from(body)).expect("the parts come from a valid request");
        match self.client.request(request).await {
            Ok(response) => response.map(|body| Body::new(body.map_err(axum::Error::new))),
            Err(e) => error(500, "InternalServerError", &format!("dynoxide does not answer: {e}")),
        }
    }
}

async fn serve(State(front): State<Arc<Front>>, headers: HeaderMap, body: String) -> Response {
    let target = headers.get("x-amz-target").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let request = StoreRequest { operation: operation.clone(), body: body.clone(), at: SystemTime::now() };
    front.requests().push(request.clone());
    let fault = front.rules.befalls(&operation, &body);
    // In a task of its own: a request that the client has given up on is still applied, as it would be behind a real
    // network.
    let played = tokio::spawn(async move {
        let apply = async { front.apply(&headers, front.paged(&operation, body)).await };
        play(fault, apply, |fault| refuse(fault, &request)).await
    });
    played.await.unwrap_or_else(|_| drop_connection())
}

fn refuse(fault: &Fault, request: &StoreRequest) -> Response {
    match fault {
        Fault::Throttle => error(400, "ProvisionedThroughputExceededException", "the level of throughput was exceeded"),
        Fault::Deny => error(400, "AccessDeniedException", "not authorized to perform this"),
        Fault::NotFound => error(400, "ResourceNotFoundException", "Requested resource not found"),
        Fault::Conflict if request.operation == "TransactWriteItems" => conflict(&request.json()),
        Fault::Conflict => error(400, "TransactionConflictException", ONGOING),
        _ => error(500, "InternalServerError", "internal server error"),
    }
}

const ONGOING: &str = "Transaction is ongoing for the item";

/// Builds the answer to a transaction that was cancelled because another one holds its first item.
fn conflict(request: &Value) -> Response {
    let items = request["TransactItems"].as_array().map_or(1, Vec::len);
    let mut reasons = vec![json!({"Code": "None"}); items];
    reasons[0] = json!({"Code": "TransactionConflict", "Message": ONGOING});
    let codes: Vec<_> = reasons.iter().filter_map(|reason| reason["Code"].as_str()).collect();
    let message =
        format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", codes.join(", "));
    let body = json!({"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "Message": message,
        "CancellationReasons": reasons});
    (StatusCode::BAD_REQUEST, CONTENT_TYPE, body.to_string()).into_response()
}

const CONTENT_TYPE: [(&str, &str); 1] = [("content-type", "application/x-amz-json-1.0")];

fn error(status: u16, name: &str, message: &str) -> Response {
    let space = match name {
        "AccessDeniedException" => "com.amazon.coral.service",
        _ => "com.amazonaws.dynamodb.v20120810",
    };
    let body = json!({"__type": format!("{space}#{name}"), "message": message}).to_string();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, CONTENT_TYPE, body).into_response()
}
