//! Faults of DynamoDB, played by rules: which requests, how often, what happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::gate::Gate;

/// What happens to a request that a rule matches.
#[derive(Clone, Debug)]
pub enum Fault {
    /// 400 ProvisionedThroughputExceededException; not applied.
    Throttle,
    /// 500 InternalServerError; not applied.
    ServerError,
    /// 400 AccessDeniedException; not applied.
    Deny,
    /// 400 ResourceNotFoundException; not applied.
    NotFound,
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
    /// Every request of an operation (`UpdateItem`, …), for ever.
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
    pub(crate) fn befalls(&self, operation: &str, body: &str) -> Option<Fault> {
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
