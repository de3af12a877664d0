//! The table: items, and requests that are applied at the moment they arrive. What a request is (a claim, a heartbeat …)
//! is told from its shape, for the promises and for the story; the conditions are evaluated as the store writes them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use agent_trigger::{
    domain::{
        execution::Row,
        run_lock::{RunLock, Slot},
    },
    store::{
        item::{Item, Key},
        records,
        table::{Transacted, Written},
    },
};

use crate::{
    alone::Alone,
    expression::{Change, Condition, Operator, Request, integer},
    promises::Promises,
    sender::Sender,
    sim::{START, Sim},
};

/// The sort keys of the first slots of run locks begin with this.
const FIRST_SLOT: &str = "RUNNING#";
/// And those of the further ones with this.
const FURTHER_SLOT: &str = "EXECUTION_SLOT#";
/// The only trigger.
pub(crate) const TRIGGER: &str = "t";

/// Returns the id of an execution among those of its trigger: ids sort by the time of their fires.
pub(crate) fn name(execution: usize) -> String {
    format!("e{execution}")
}

pub(crate) fn number(name: &str) -> usize {
    name.trim_start_matches('e').parse().expect("the name of an execution")
}

/// Returns the slot of a run lock whose sort key this is.
pub(crate) fn slot_of(sort_key: &str) -> Option<Slot> {
    if sort_key.starts_with(FIRST_SLOT) {
        return Some(0);
    }
    let (slot, _user) = sort_key.strip_prefix(FURTHER_SLOT)?.split_once('#')?;
    Some(slot.parse().expect("the number of a slot"))
}

/// One operation on the table.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Get(Key),
    Write(Request),
    /// The items of one partition with sort keys between two, for which the condition holds.
    Query {
        partition: String,
        from: String,
        to: String,
        filter: Condition,
    },
    /// Several writes as one, with the token that the tries of one call share.
    Transact(Vec<Request>, u64),
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Got(Option<Item>),
    Found(Vec<Item>),
    Written(Written),
    Transacted(Transacted),
}

/// What a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ClaimNew,
    ClaimOver,
    EndAbandoned,
    CreateEnded,
    Finalise,
    Heartbeat,
    Finish,
    /// `cancelRequested`, as another fire or a person sets it.
    AskForCancel,
    TakeLock,
    KeepLock,
    ReleaseLock,
    /// The lease of an attempt passes to its agent.
    HandOver,
    /// The lease of a dead attempt passes to its agent.
    HandOverDead,
    /// A report's heartbeat.
    Note,
    /// A report's end.
    Report,
    /// A report that came too late.
    LateReport,
    /// An item that no promise is about.
    Other,
}

impl Kind {
    pub(crate) fn of(request: &Request) -> Self {
        let has = |attribute: &str| request.condition.has(&|clause| clause.attribute() == attribute);
        let is_put = matches!(request.change, Change::Put(_));
        let is_running =
            request.value("status").is_some_and(|status| status.as_s().is_ok_and(|word| word == "running"));
        match request.key.1.as_str() {
            key if slot_of(key).is_some() && is_put => Self::TakeLock,
            key if slot_of(key).is_some() && request.value("leaseUntil").and_then(integer) == Some(0) => {
                Self::ReleaseLock
            }
            key if slot_of(key).is_some() => Self::KeepLock,
            key if !key.starts_with("EXECUTION#") => Self::Other,
            _ if is_put && is_running && has("PK") => Self::ClaimNew,
            _ if is_put && is_running => Self::ClaimOver,
            _ if is_put => Self::CreateEnded,
            _ if request.value("cancelRequested").is_some() => Self::AskForCancel,
            _ if request.value("detachedAt").is_some() && has("attempt") => Self::HandOverDead,
            _ if request.value("detachedAt").is_some() => Self::HandOver,
            _ if request.value("lateReport").is_some() => Self::LateReport,
            _ if request.value("lastEventAt").is_some() && has("reportKey") => Self::Note,
            _ if request.value("status").is_some() && has("reportKey") && !has("attempt") => Self::Report,
            _ if request.value("status").is_some() && has("attempt") => Self::EndAbandoned,
            _ if request.value("status").is_some() => Self::Finish,
            _ if request.value("retryable").is_some() => Self::Finalise,
            _ => Self::Heartbeat,
        }
    }

    /// Returns true if the run lock is taken from an attempt that has ended.
    pub(crate) fn takes_over(self, request: &Request) -> bool {
        self == Self::TakeLock && request.condition.has(&|clause| clause.compares("executionId", Operator::Equal))
    }
}

#[derive(Clone)]
pub(crate) struct Table {
    sim: Sim,
    fires: Rc<Vec<Promises>>,
    alone: Alone,
    items: Rc<RefCell<BTreeMap<Key, Item>>>,
    /// The tokens of the transactions that were applied.
    tokens: Rc<RefCell<BTreeSet<u64>>>,
}

impl Table {
    pub(crate) fn new(sim: Sim, fires: Rc<Vec<Promises>>, alone: Alone) -> Self {
        Self { sim, fires, alone, items: Rc::default(), tokens: Rc::default() }
    }

    pub(crate) fn row(&self, execution: usize) -> Option<Row> {
        let key = (format!("TRIGGER#{TRIGGER}"), format!("EXECUTION#{}", name(execution)));
        self.items.borrow().get(&key).cloned().and_then(records::row)
    }

    /// Applies an operation at the moment it arrives.
    pub(crate) fn apply(&self, operation: &Operation, sender: &Sender) -> Answer {
        match operation {
            Operation::Get(key) => Answer::Got(self.items.borrow().get(key).cloned()),
            Operation::Query { partition, from, to, filter } => {
                let items = self.items.borrow();
                let range = (partition.clone(), from.clone())..=(partition.clone(), to.clone());
                let found = items.range(range).filter(|(_, item)| filter.holds(Some(item)));
                Answer::Found(found.map(|(_, item)| item.clone()).collect())
            }
            Operation::Write(request) => Answer::Written(self.write(request, sender)),
            Operation::Transact(requests, token) => Answer::Transacted(self.transact(requests, *token, sender)),
        }
    }

    fn write(&self, request: &Request, sender: &Sender) -> Written {
        let old = self.items.borrow().get(&request.key).cloned();
        let Some(new) = request.applied_to(old.as_ref()) else {
            self.sim.note(|| format!("refused: {}", tell(request, sender)));
            return Written::Refused(old);
        };
        self.sim.note(|| format!("applied: {}", tell(request, sender)));
        self.store(request, sender, old.as_ref(), new.clone());
        Written::Done(Some(new))
    }

    fn transact(&self, requests: &[Request], token: u64, sender: &Sender) -> Transacted {
        if self.tokens.borrow().contains(&token) {
            return Transacted::Done;
        }
        let mut written = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let old = self.items.borrow().get(&request.key).cloned();
            let Some(new) = request.applied_to(old.as_ref()) else { return Transacted::Refused(index, old) };
            written.push((request, old, new));
        }
        self.tokens.borrow_mut().insert(token);
        for (request, old, new) in written {
            self.sim.note(|| format!("applied with others: {}", tell(request, sender)));
            self.store(request, sender, old.as_ref(), new);
        }
        Transacted::Done
    }

    fn store(&self, request: &Request, sender: &Sender, old: Option<&Item>, new: Item) {
        let kind = Kind::of(request);
        if let Some(id) = request.key.1.strip_prefix("EXECUTION#") {
            let execution = number(id);
            let old = old.cloned().and_then(records::row);
            let row = records::row(new.clone()).expect("a row that can be read");
            self.fires[execution].written(&self.sim, kind, sender, old.as_ref(), &row);
            if kind == Kind::AskForCancel && !sender.owner.is_empty() {
                self.alone.cancel_asked(sender.execution, execution);
            }
        } else if let Some(slot) = slot_of(&request.key.1) {
            let old = old.map(RunLock::read);
            self.alone.written((kind, self.sim.now()), request, slot, old.as_ref(), &RunLock::read(&new));
        } else if request.key.1.starts_with("INPUT#")
            && let Some(old) = old.filter(|old| old.get("detail") != new.get("detail"))
        {
            self.alone.input_overwritten(format!("{:?} became {:?}", old.get("detail"), new.get("detail")));
        }
        self.items.borrow_mut().insert(request.key.clone(), new);
    }
}

fn tell(request: &Request, sender: &Sender) -> String {
    let kind = Kind::of(request);
    let owner = &sender.owner;
    let text =
        |attribute: &str| request.value(attribute).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    let until = || seconds(request.value("leaseUntil").and_then(integer).unwrap_or_default());
    let retryable = || {
        let is_retryable = request.value("retryable").is_some_and(|value| value.as_bool() == Ok(&true));
        if is_retryable { " retryable" } else { "" }
    };
    let end = || format!("{} {}{}", text("status"), text("errorType"), retryable());
    let lock = match slot_of(&request.key.1) {
        None | Some(0) => "the run lock".to_owned(),
        Some(slot) => format!("slot {slot}"),
    };
    let told = match kind {
        Kind::ClaimNew => format!("{owner} claims the absent fire"),
        Kind::ClaimOver => {
            let attempt = request.value("attempt").and_then(integer).unwrap_or_default();
            format!("{owner} claims it as attempt {attempt}")
        }
        Kind::EndAbandoned => format!("{} over the run of another", end()),
        Kind::CreateEnded => format!("{} for want of a record", end()),
        Kind::Finalise => "the failure made final".to_owned(),
        Kind::Heartbeat => format!("{owner} holds until {}", until()),
        Kind::Finish => format!("{owner} writes {}", end()),
        Kind::AskForCancel if owner.is_empty() => "cancel is asked for".to_owned(),
        Kind::AskForCancel => format!("cancel is asked for by {}", name(sender.execution)),
        Kind::TakeLock => format!(
            "{owner} takes {lock} until {}{}{}",
            until(),
            if kind.takes_over(request) { ", of one that has ended" } else { "" },
            if request.has_waited { ", having waited" } else { "" }
        ),
        Kind::KeepLock => format!("{owner} keeps {lock} until {}", until()),
        Kind::ReleaseLock => format!("{owner} releases {lock}"),
        Kind::HandOver => format!("{owner} leaves it to its agent until {}", until()),
        Kind::HandOverDead => format!("a dead attempt's agent has until {}", until()),
        Kind::Note => format!("a heartbeat of the agent's, until {}", until()),
        Kind::Report => format!("the agent's {}", end()),
        Kind::LateReport => format!("{} came too late", text("lateReport")),
        Kind::Other => format!("{owner} writes {}", request.key.1),
    };
    match request.key.1.strip_prefix("EXECUTION#") {
        Some(id) => format!("{id}: {told}"),
        None => told,
    }
}

fn seconds(instant: i64) -> String {
    format!("{:.3} s", (instant - START) as f64 / 1000.0)
}
