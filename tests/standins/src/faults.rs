//! Faults of DynamoDB and of the Lambda API. A rule says which requests get a fault, how often, and which one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::Response;

use crate::gate::Gate;
use crate::net::drop_connection;

/// What happens to a request that a rule matches.
#[derive(Clone, Debug)]
pub enum Fault {
    /// DynamoDB: 400 ProvisionedThroughputExceededException. Lambda: 429 TooManyRequestsException. Not applied.
    Throttle,
    /// DynamoDB: 500 InternalServerError. Lambda: ServiceException. Not applied.
    ServerError,
    /// DynamoDB: 400 AccessDeniedException. Lambda: 403. Not applied.
    Deny,
    /// DynamoDB: 400 ResourceNotFoundException. Lambda: 404. Not applied.
    NotFound,
    /// DynamoDB: 400 TransactionConflictException, for a transaction as its cancellation reason. Lambda: 409
    /// ResourceConflictException. Not applied.
    Conflict,
    /// Never answered and never applied.
    Hang,
    /// Applied and answered after this time, even if the client has gone.
    Delay(Duration),
    /// The connection is closed without an answer. Not applied.
    Reset,
    /// Applied, then the connection is closed without an answer.
    ApplyThenLose,
    /// Applied, but never answered.
    ApplyThenHang,
    /// Waits at the gate, then is applied (even if the client has gone) and answered.
    GateBefore(Gate),
    /// Applied, waits at the gate, then is answered.
    GateAfter(Gate),
}

/// A rule: which requests get a fault.
#[derive(Clone, Debug)]
pub struct Rule {
    operation: Option<String>,
    containing: Vec<String>,
    skip: usize,
    times: Option<usize>,
    fault: Fault,
}

impl Rule {
    /// Every request of an operation (`UpdateItem`, `Query`, `TransactWriteItems`, …; Lambda's is `Invoke`), with no
    /// end.
    pub fn new(operation: &str, fault: Fault) -> Self {
        Self { operation: Some(operation.to_owned()), containing: Vec::new(), skip: 0, times: None, fault }
    }

    /// Every request, with no end.
    pub fn any(fault: Fault) -> Self {
        Self { operation: None, containing: Vec::new(), skip: 0, times: None, fault }
    }

    /// Limits the rule to requests whose body contains this text. After several calls all texts must be there.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.containing.push(text.to_owned());
        self
    }

    /// Lets the first `count` matching requests through.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Limits the rule to this many requests.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = Some(count);
        self
    }

    /// Limits the rule to one request.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }
}

/// A rule that was added. It stays in force when this is dropped.
#[derive(Clone, Debug)]
pub struct Injected(Arc<Active>);

#[derive(Debug)]
struct Active {
    rule: Rule,
    matched: AtomicUsize,
    hits: AtomicUsize,
    removed: AtomicBool,
}

impl Injected {
    pub(crate) fn new(rule: Rule) -> Self {
        Self(Arc::new(Active {
            rule,
            matched: AtomicUsize::new(0),
            hits: AtomicUsize::new(0),
            removed: AtomicBool::new(false),
        }))
    }

    /// Returns how many requests have got the fault.
    pub fn hits(&self) -> usize {
        self.0.hits.load(Ordering::SeqCst)
    }

    /// Removes the rule.
    pub fn remove(&self) {
        self.0.removed.store(true, Ordering::SeqCst);
    }

    /// Returns the fault for this request. It is called under the lock of the rules, so counting needs no other lock.
    fn befalls(&self, operation: &str, body: &str) -> Option<Fault> {
        let rule = &self.0.rule;
        let matches = !self.0.removed.load(Ordering::SeqCst)
            && rule.operation.as_ref().is_none_or(|name| name == operation)
            && rule.containing.iter().all(|text| body.contains(text));
        if !matches || self.0.matched.fetch_add(1, Ordering::SeqCst) < rule.skip {
            return None;
        }
        if rule.times.is_some_and(|times| self.hits() >= times) {
            return None;
        }
        self.0.hits.fetch_add(1, Ordering::SeqCst);
        Some(rule.fault.clone())
    }
}

/// The rules of one service.
#[derive(Debug, Default)]
pub(crate) struct Rules(Mutex<Vec<Injected>>);

impl Rules {
    fn lock(&self) -> MutexGuard<'_, Vec<Injected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn inject(&self, rule: Rule) -> Injected {
        let injected = Injected::new(rule);
        self.lock().push(injected.clone());
        injected
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Returns the fault for this request. If several rules match, the one added first decides.
    pub(crate) fn befalls(&self, operation: &str, body: &str) -> Option<Fault> {
        self.lock().iter().find_map(|rule| rule.befalls(operation, body))
    }
}

/// Plays a fault. `apply` carries out the request and answers it; `refuse` builds the service's own error answers.
pub(crate) async fn play(
    fault: Option<Fault>,
    apply: impl Future<Output = Response>,
    refuse: impl FnOnce(&Fault) -> Response,
) -> Response {
    let Some(fault) = fault else { return apply.await };
    match fault {
        Fault::Throttle | Fault::ServerError | Fault::Deny | Fault::NotFound | Fault::Conflict => refuse(&fault),
        Fault::Hang => std::future::pending().await,
        Fault::Reset => drop_connection(),
        Fault::Delay(time) => {
            tokio::time::sleep(time).await;
            apply.await
        }
        Fault::ApplyThenLose => {
            apply.await;
            drop_connection()
        }
        Fault::ApplyThenHang => {
            apply.await;
            std::future::pending().await
        }
        Fault::GateBefore(gate) => {
            gate.pass().await;
            apply.await
        }
        Fault::GateAfter(gate) => {
            let response = apply.await;
            gate.pass().await;
            response
        }
    }
}
