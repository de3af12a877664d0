//! Faults of DynamoDB and of the Lambda API, played by rules: which requests, how often, what happens.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::Response;

use crate::gate::Gate;
use crate::net::drop_connection;

/// What happens to a request that a rule matches.
#[derive(Clone, Debug)]
pub enum Fault {
    /// 400 ProvisionedThroughputExceededException, of Lambda 429 TooManyRequestsException; not applied.
    Throttle,
    /// 500 InternalServerError, of Lambda ServiceException; not applied.
    ServerError,
    /// 400 AccessDeniedException, of Lambda 403; not applied.
    Deny,
    /// 400 ResourceNotFoundException, of Lambda 404; not applied.
    NotFound,
    /// 400 TransactionConflictException, for a transaction the reason it is cancelled for, of Lambda 409
    /// ResourceConflictException; not applied.
    Conflict,
    /// Never answered, never applied.
    Hang,
    /// Applied and answered after this time, even if the client has gone.
    Delay(Duration),
    /// The connection is closed without an answer; not applied.
    Reset,
    /// Applied, then the connection is closed without an answer.
    ApplyThenLose,
    /// Applied, never answered.
    ApplyThenHang,
    /// Waits at the gate, then applied (even if the client has gone) and answered.
    GateBefore(Gate),
    /// Applied, waits at the gate, then answered.
    GateAfter(Gate),
}

/// Which requests a fault befalls.
#[derive(Clone, Debug)]
pub struct Rule {
    operation: Option<String>,
    containing: Vec<String>,
    skip: usize,
    times: Option<usize>,
    fault: Fault,
}

impl Rule {
    /// Every request of an operation (`UpdateItem`, `Query`, `TransactWriteItems`, …; Lambda's is `Invoke`), for ever.
    pub fn new(operation: &str, fault: Fault) -> Self {
        Self { operation: Some(operation.to_owned()), containing: Vec::new(), skip: 0, times: None, fault }
    }

    /// Every request, for ever.
    pub fn any(fault: Fault) -> Self {
        Self { operation: None, containing: Vec::new(), skip: 0, times: None, fault }
    }

    /// Only where the body holds this text; several calls must all match.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.containing.push(text.to_owned());
        self
    }

    /// Lets the first `count` matches through.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Befalls only so many.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = Some(count);
        self
    }

    /// Befalls only one.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }
}

/// A rule in force; it stays so when this is dropped.
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

    /// How many requests the fault has befallen.
    pub fn hits(&self) -> usize {
        self.0.hits.load(Ordering::SeqCst)
    }

    /// Takes the rule away.
    pub fn remove(&self) {
        self.0.removed.store(true, Ordering::SeqCst);
    }

    /// The fault for this request. Called under the lock of the rules, so counting needs no more.
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

/// The rules in force at one service.
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

    /// The fault for this request; where several rules match, the first injected decides.
    pub(crate) fn befalls(&self, operation: &str, body: &str) -> Option<Fault> {
        self.lock().iter().find_map(|rule| rule.befalls(operation, body))
    }
}

/// Plays a fault: `apply` carries the request out and answers it, `refuse` words the service's own refusals.
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
