//! The way to the table as the AWS SDK goes it: tries with a limit of their own, and what the network does to each.

use std::rc::Rc;

use agent_trigger::domain::failure::ErrorType;
use futures_util::future::{Either, select};

use crate::{
    sim::{Letter, Sim},
    table::{Answer, Request, Table},
};

/// As in `src/store.rs`.
const TRY_LIMIT: i64 = 2_000;
const OPERATION_LIMIT: i64 = 5_000;
const MAX_TRIES: u32 = 6;
const FIRST_BACKOFF: i64 = 50;
const LONGEST_BACKOFF: i64 = 1_000;

/// An operation failed: whether something was written is unknown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreError;

impl StoreError {
    pub(crate) const ERROR_TYPE: ErrorType = ErrorType::RecordStoreFailed;
}

/// A time in which requests do not come through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    /// Of one actor; of all if `None`.
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
    pub(crate) table: Table,
    pub(crate) weather: Rc<Weather>,
    pub(crate) actor: usize,
    /// The execution that its requests are about.
    pub(crate) execution: usize,
}

impl Client {
    /// One operation with its tries. Dropped, what it has sent still arrives.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, StoreError> {
        self.send_to(self.execution, request).await
    }

    /// The same about another execution of the trigger.
    pub(crate) async fn send_to(&self, execution: usize, request: Request) -> Result<Answer, StoreError> {
        let sim = &self.sim;
        let give_up_at = sim.clock() + OPERATION_LIMIT;
        let mut backoff = FIRST_BACKOFF;
        for _ in 0..MAX_TRIES {
            let limit = TRY_LIMIT.min(give_up_at - sim.clock());
            let answer = self.post(execution, &request);
            let answer = Box::pin(answer.read(sim));
            let limit = Box::pin(sim.sleep(limit));
            match select(answer, limit).await {
                Either::Left((Ok(answer), _)) => return Ok(answer),
                Either::Left((Err(StoreError), _)) | Either::Right(_) => {}
            }
            if sim.clock() >= give_up_at {
                return Err(StoreError);
            }
            sim.sleep(sim.draw(0..=backoff)).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
        Err(StoreError)
    }

    /// One try: sends it off, and says where the answer will be.
    fn post(&self, execution: usize, request: &Request) -> Letter<Result<Answer, StoreError>> {
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
                answer.deliver(&sim, Err(StoreError));
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
        let sender = sim.current();
        let (client, request, answer) = (self.clone(), request.clone(), letter.clone());
        sim.spawn(None, async move {
            client.sim.sleep(there).await;
            let applied = client.table.apply(execution, &request);
            if !is_answer_lost {
                client.sim.sleep(back).await;
                // Nobody keeps a connection open for a machine that does not answer.
                if client.sim.is_frozen(sender) && client.sim.chance(50) {
                    return;
                }
                answer.deliver(&client.sim, Ok(applied));
            }
        });
        letter
    }
}
