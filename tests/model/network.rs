//! The table port: the way to the table as the AWS SDK goes it, with tries that have a limit of their own, and what the
//! network does to each.

use std::rc::Rc;

use agent_trigger::domain::run_lock::RunLock;
use agent_trigger::store::{
    error::StoreError,
    item::{Item, Key},
    table::{self, ConditionalWrite, Query, Transacted, Written},
};
use futures_util::future::{Either, select};

use crate::{
    expression::{Condition, Request, integer},
    rules::{Rule, Rules},
    sender::{Phase, Sender},
    sim::{Letter, Sim},
    table::{Answer, Kind, Operation, Table},
};

/// The times of the client's configuration in `src/store/dynamodb.rs`.
const TRY_LIMIT: i64 = 2_000;
const OPERATION_LIMIT: i64 = 5_000;
const MAX_TRIES: u32 = 6;
const FIRST_BACKOFF: i64 = 50;
const LONGEST_BACKOFF: i64 = 1_000;

/// A try failed: whether something was written is unknown.
#[derive(Debug, Clone, Copy)]
struct NoAnswer;

/// A time in which requests do not come through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    /// The only actor that it concerns; all if `None`.
    pub(crate) actor: Option<usize>,
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// No answer at all, rather than an error at once.
    pub(crate) is_silent: bool,
}

/// How bad the network of one schedule is, in percent of the requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Weather {
    pub(crate) slow: i64,
    /// Applied, but the answer is lost.
    pub(crate) lost_answers: i64,
    /// Arrives when nobody waits for it any more.
    pub(crate) late: i64,
    pub(crate) lost: i64,
    pub(crate) throttled: i64,
    pub(crate) outages: Vec<Outage>,
}

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) sim: Sim,
    pub(crate) rules: Rules,
    pub(crate) table: Table,
    pub(crate) weather: Rc<Weather>,
    pub(crate) actor: usize,
    pub(crate) sender: Rc<Sender>,
}

impl Client {
    /// Makes one operation with its tries. Dropped, what it has sent still arrives.
    async fn send(&self, mut operation: Operation) -> Result<Answer, StoreError> {
        let sim = &self.sim;
        self.sender.sent_at.set(sim.now());
        self.rules.change(&mut operation, &self.sender);
        let operation = Rc::new(operation);
        let give_up_at = sim.clock() + OPERATION_LIMIT;
        let mut backoff = FIRST_BACKOFF;
        for _ in 0..MAX_TRIES {
            let limit = TRY_LIMIT.min(give_up_at - sim.clock());
            let answer = self.post(&operation);
            let answer = Box::pin(answer.read(sim));
            let limit = Box::pin(sim.sleep(limit));
            match select(answer, limit).await {
                Either::Left((Ok(mut answer), _)) => {
                    self.rules.show(&operation, &mut answer, &self.sender);
                    return Ok(answer);
                }
                Either::Left((Err(NoAnswer), _)) | Either::Right(_) => {}
            }
            if sim.clock() >= give_up_at {
                break;
            }
            sim.sleep(sim.draw(0..=backoff)).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
        Err(StoreError::NoAnswer { operation: "", cause: String::new() })
    }

    /// Makes one try: sends it off, and returns where the answer will be.
    fn post(&self, operation: &Rc<Operation>) -> Letter<Result<Answer, NoAnswer>> {
        let (sim, weather) = (&self.sim, &self.weather);
        let letter = Letter::new();
        let now = sim.now();
        let outage = weather.outages.iter().find(|outage| {
            outage.actor.is_none_or(|actor| actor == self.actor) && (outage.from..outage.to).contains(&now)
        });
        let is_refused = match outage {
            Some(outage) if outage.is_silent => return letter,
            Some(_) => true,
            None => sim.chance(weather.throttled),
        };
        if is_refused {
            let (sim, answer) = (sim.clone(), letter.clone());
            self.sim.spawn(None, async move {
                sim.sleep(sim.draw(1..=20)).await;
                answer.deliver(&sim, Err(NoAnswer));
            });
            return letter;
        }
        if sim.chance(weather.lost) {
            return letter;
        }
        let there = if sim.chance(weather.late) {
            sim.draw(TRY_LIMIT..=90_000)
        } else if sim.chance(weather.slow) {
            sim.draw(20..=1_900)
        } else {
            sim.draw(1..=10)
        };
        let back = sim.draw(1..=10);
        let is_answer_lost = sim.chance(weather.lost_answers);
        let task = sim.current();
        let (client, operation, answer) = (self.clone(), Rc::clone(operation), letter.clone());
        sim.spawn(None, async move {
            client.sim.sleep(there).await;
            let applied = client.table.apply(&operation, &client.sender);
            if !is_answer_lost {
                client.sim.sleep(back).await;
                // Nobody keeps a connection open for a machine that does not answer.
                if client.sim.is_frozen(task) && client.sim.chance(50) {
                    return;
                }
                answer.deliver(&client.sim, Ok(applied));
            }
        });
        letter
    }

    async fn read(&self, key: Key) -> Result<Option<Item>, StoreError> {
        match self.send(Operation::Get(key)).await? {
            Answer::Got(item) => Ok(item),
            answer => unreachable!("{answer:?} to a read"),
        }
    }

    async fn make(&self, request: Request) -> Result<Written, StoreError> {
        match self.send(Operation::Write(request)).await? {
            Answer::Written(written) => Ok(written),
            answer => unreachable!("{answer:?} to a write"),
        }
    }

    async fn take_lock(&self, mut request: Request) -> Result<Written, StoreError> {
        let (sender, asked_at) = (&self.sender, self.sim.now());
        request.has_waited = sender.has_waited.get();
        let takes_over = Kind::TakeLock.takes_over(&request);
        if sender.may_freeze {
            self.sim.may_freeze_here();
        }
        if sender.next_take_is_refused.take()
            && let Some(item) = self.read(request.key.clone()).await?
        {
            return Ok(Written::Refused(Some(item)));
        }
        let written = self.make(request).await?;
        match &written {
            Written::Done(_) => sender.has_lock.set(true),
            Written::Refused(item) => {
                let lock = item.as_ref().map(RunLock::read);
                *sender.found.borrow_mut() = lock.map(|lock| (lock, asked_at));
                sender.next_take_is_refused.set(takes_over && !self.rules.has(Rule::LookAnew));
            }
        }
        Ok(written)
    }

    async fn heartbeat(&self, request: Request) -> Result<Written, StoreError> {
        let sender = &self.sender;
        if sender.may_freeze && sender.phase.get() == Phase::Window {
            self.sim.may_freeze_here();
        }
        let had_lock = sender.has_lock.get();
        let until = request.value("leaseUntil").and_then(integer);
        let written = self.make(request).await?;
        if matches!(written, Written::Done(_)) && had_lock != sender.has_lock.get() {
            sender.extended_meanwhile.set(until);
        }
        Ok(written)
    }
}

impl table::Table for Client {
    async fn get(&self, key: Key, _consistent: bool) -> Result<Option<Item>, StoreError> {
        self.read(key).await
    }

    async fn query(&self, query: Query) -> Result<Vec<Item>, StoreError> {
        let Query { partition, from, to, filter, expression } = query;
        let filter = Condition::parse(&filter, &expression);
        match self.send(Operation::Query { partition, from, to, filter }).await? {
            Answer::Found(items) => Ok(items),
            answer => unreachable!("{answer:?} to a query"),
        }
    }

    async fn write(&self, write: ConditionalWrite, return_new: bool) -> Result<Written, StoreError> {
        let request = Request::from(write);
        let written = match Kind::of(&request) {
            Kind::TakeLock => self.take_lock(request).await?,
            Kind::KeepLock if !self.rules.has(Rule::TurnIsKept) => Written::Done(None),
            Kind::Heartbeat => self.heartbeat(request).await?,
            Kind::AskForCancel => {
                let written = self.make(request).await?;
                self.sender.has_waited.set(true);
                written
            }
            _ => self.make(request).await?,
        };
        Ok(match written {
            Written::Done(item) => Written::Done(item.filter(|_| return_new)),
            refused @ Written::Refused(_) => refused,
        })
    }

    async fn transact(&self, writes: Vec<ConditionalWrite>) -> Result<Transacted, StoreError> {
        let requests = writes.into_iter().map(Request::from).collect();
        match self.send(Operation::Transact(requests, self.sim.token())).await? {
            Answer::Transacted(transacted) => Ok(transacted),
            answer => unreachable!("{answer:?} to a transaction"),
        }
    }
}
