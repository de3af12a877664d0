//! Decides which triggers an event is for. Decisions only: nothing is recorded and nothing is handed on here. An event
//! that a trigger with a threshold waits for is counted, for its count decides.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::{
    domain::{
        ending::SkipReason,
        failure::{ErrorType, Failure},
        fire::{Fire, Origin},
        shared_id::OfAnotherUser,
        threshold::Threshold,
    },
    events::{bus::EventTarget, invalid::InvalidEvent},
    lifecycle::identify::mark_of,
    routing::{MOST_IN_FLIGHT, Router},
    store::in_time,
    trigger::{
        item::{TriggerDecision, TriggerItem},
        replay,
    },
};

/// What becomes of an event.
pub(super) enum RoutingDecision {
    /// It is for one trigger, in this invocation.
    InPlace(TriggerDecision),
    /// It is for these of its subscribers.
    Subscribers(Subscribers),
    /// It is for nobody: the chain it belongs to is over its limit.
    ChainEnds,
}

/// The subscribers of an event, sorted by what becomes of them.
#[derive(Default)]
pub(super) struct Subscribers {
    pub(super) counts: RoutingCounts,
    /// The triggers that are due, by user and trigger.
    pub(super) due: Vec<(String, String)>,
    /// The decision of the first trigger that is due. Of many, only the first can turn out to be the only one.
    pub(super) first: Option<TriggerDecision>,
    /// The fires to record as skipped.
    pub(super) skips: Vec<(Box<Fire>, SkipReason)>,
    /// The subscriptions that could not be asked, and so must be asked again.
    pub(super) failures: Vec<Failure>,
}

/// How many subscriptions an event has, by what became of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RoutingCounts {
    pub(super) subscriptions: usize,
    pub(super) filtered: usize,
    pub(super) disabled: usize,
    pub(super) too_deep: usize,
    pub(super) waiting: usize,
    pub(super) dispatched: usize,
}

impl RoutingCounts {
    /// Returns the counts under the names that replies and metrics have.
    pub(super) fn named(self) -> [(&'static str, usize); 6] {
        let Self { subscriptions, filtered, disabled, too_deep, waiting, dispatched } = self;
        [
            ("subscriptions", subscriptions),
            ("filtered", filtered),
            ("disabled", disabled),
            ("tooDeep", too_deep),
            ("waiting", waiting),
            ("dispatched", dispatched),
        ]
    }
}

/// What one subscription makes of the event.
enum Subscription {
    Filtered,
    /// It is switched off, and the event tells of a skip itself.
    Unrecorded,
    Skipped(Box<Fire>, SkipReason),
    Waiting,
    Due(String, String, Box<TriggerDecision>),
}

impl Router<'_> {
    /// Decides what becomes of the event.
    ///
    /// # Errors
    /// If the table does not answer, or a command names what is not there.
    pub(super) async fn decide(&self) -> Result<RoutingDecision, Failure> {
        let is_agentcore = self.context.app.config.is_agentcore;
        let event = self.event;
        Ok(RoutingDecision::InPlace(match &event.target {
            EventTarget::Subscribers => return self.decide_subscribers().await,
            EventTarget::Dispatched { trigger_id, user_id } => match self.stored(user_id, trigger_id).await? {
                Some(trigger) => trigger.handed_on(event, is_agentcore),
                None => TriggerDecision::Skip(Box::new(event.fire(trigger_id, user_id)), SkipReason::Deleted),
            },
            EventTarget::RunTrigger { trigger_id, user_id } => match self.stored(user_id, trigger_id).await? {
                Some(trigger) => trigger.run_now(event, is_agentcore),
                None => {
                    let problem = "$.detail.triggerId: no trigger of this user is stored under this id";
                    return Err(unknown(problem, trigger_id));
                }
            },
            EventTarget::ReplayExecution { trigger_id, execution_id } => {
                let input = self.context.app.store.input(trigger_id, execution_id);
                let Some(detail) = in_time(self.context.deadline.run_until, input).await? else {
                    let problem = "$.detail.executionId: the input of this execution is not kept (docs/triggers.md, Run now, and again)";
                    return Err(unknown(problem, trigger_id));
                };
                let fire = replay::fire(event, (trigger_id, execution_id), &detail, is_agentcore)?;
                TriggerDecision::Run(Box::new(fire), None)
            }
        }))
    }

    async fn decide_subscribers(&self) -> Result<RoutingDecision, Failure> {
        let limit = self.context.app.config.chain_depth_limit;
        let depth = match self.event.origin {
            Origin::Execution { .. } => self.event.chain_depth.saturating_add(1),
            _ => 0,
        };
        if depth > limit.saturating_add(1) {
            // The event is the end of an execution that was skipped for its depth. To record another skip would never
            // end either.
            tracing::warn!(depth, limit, "the chain goes no further");
            return Ok(RoutingDecision::ChainEnds);
        }
        let subscribers = self.ask_all(depth > limit).await?;
        let (subscriptions, due) = (subscribers.counts.subscriptions, subscribers.due.len());
        let event_source_id = &self.event.event_source_id;
        tracing::info!(eventSourceId = event_source_id, subscriptions, due, "looked for triggers");
        if subscriptions == 0
            && let Some(unclaimed) = self.event.unclaimed_fire()
        {
            return Err(unclaimed.into());
        }
        Ok(RoutingDecision::Subscribers(subscribers))
    }

    async fn stored(&self, user_id: &str, trigger_id: &str) -> Result<Option<TriggerItem>, Failure> {
        let reading = self.context.app.store.trigger(user_id, trigger_id);
        let item = in_time(self.context.deadline.run_until, reading).await?;
        let trigger = item.map(TriggerItem::read).transpose();
        trigger.map_err(|unusable| Failure::fatal(ErrorType::InvalidTrigger, unusable.to_string()))
    }

    /// Asks every subscription, page by page.
    async fn ask_all(&self, is_too_deep: bool) -> Result<Subscribers, Failure> {
        let mut subscribers = Subscribers::default();
        let mut after = None;
        loop {
            let reading = self.context.app.store.subscriptions(&self.event.event_source_id, after);
            let page = in_time(self.context.deadline.run_until, reading).await?;
            let asked = page.items.into_iter().map(|item| self.ask(item, is_too_deep));
            let mut answers = stream::iter(asked).buffered(MOST_IN_FLIGHT);
            while let Some(answer) = answers.next().await {
                subscribers.add(answer);
            }
            drop(answers);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(subscribers),
            }
        }
    }

    async fn ask(&self, item: Value, is_too_deep: bool) -> Result<Subscription, Failure> {
        let trigger = TriggerItem::read(item)
            .map_err(|unusable| Failure::fatal(ErrorType::InvalidTrigger, unusable.to_string()))?;
        Ok(match trigger.decide(self.event, self.context.app.config.is_agentcore) {
            TriggerDecision::Filtered => Subscription::Filtered,
            // Every skip is announced. If skips of skips were recorded, a few triggers that are switched off and follow
            // everything would skip each other's skips for ever.
            TriggerDecision::Skip(..) if self.event.tells_of_a_skip() => Subscription::Unrecorded,
            TriggerDecision::Skip(fire, reason) => Subscription::Skipped(fire, reason),
            TriggerDecision::Run(fire, _) | TriggerDecision::Invalid(fire, _) if is_too_deep => {
                Subscription::Skipped(fire, SkipReason::ChainTooDeep)
            }
            TriggerDecision::Run(_, Some(threshold)) if !self.is_reached(&trigger, threshold).await? => {
                Subscription::Waiting
            }
            due => Subscription::Due(trigger.user_id, trigger.trigger_id, Box::new(due)),
        })
    }

    async fn is_reached(&self, trigger: &TriggerItem, threshold: Threshold) -> Result<bool, Failure> {
        let time = self.event.time().map(|time| time.unix_timestamp_nanos() / 1_000_000);
        let time = time.and_then(|millis| i64::try_from(millis).ok()).unwrap_or(self.started.millis);
        let request_id = &self.context.invocation.request_id;
        let mark = mark_of(&trigger.trigger_id, &self.event.origin, request_id, &self.started);
        let counting = self.context.app.store.count_event(&trigger.trigger_id, &mark, threshold, time, &self.started);
        let ordinal = in_time(self.context.deadline.run_until, counting).await?;
        Ok(threshold.is_reached(ordinal))
    }
}

impl Subscribers {
    /// Refuses the skips of triggers whose id another user's due trigger has too. They are one execution, and a record
    /// that says `skipped` would take the other one's run away.
    pub(super) fn refuse_shared_ids(&mut self) {
        let due: HashMap<&str, &str> = self.due.iter().map(|(user, id)| (id.as_str(), user.as_str())).collect();
        let is_shared = |fire: &Fire| due.get(fire.trigger_id.as_str()).is_some_and(|user| *user != fire.user_id);
        let (shared, skips) = std::mem::take(&mut self.skips).into_iter().partition(|(fire, _)| is_shared(fire));
        self.skips = skips;
        let shared: Vec<(Box<Fire>, SkipReason)> = shared;
        self.failures.extend(shared.into_iter().map(|(fire, _)| {
            let trigger_id = Some(fire.trigger_id);
            Failure { trigger_id, ..OfAnotherUser.into() }
        }));
    }

    fn add(&mut self, answer: Result<Subscription, Failure>) {
        let counts = &mut self.counts;
        counts.subscriptions += 1;
        match answer {
            Ok(Subscription::Filtered) => counts.filtered += 1,
            Ok(Subscription::Unrecorded) => counts.disabled += 1,
            Ok(Subscription::Waiting) => counts.waiting += 1,
            Ok(Subscription::Skipped(fire, reason)) => self.skips.push((fire, reason)),
            Ok(Subscription::Due(user_id, trigger_id, decision)) => {
                counts.dispatched += 1;
                self.due.push((user_id, trigger_id));
                self.first.get_or_insert(*decision);
            }
            Err(failure) => self.failures.push(failure),
        }
    }
}

fn unknown(problem: &str, trigger_id: &str) -> Failure {
    InvalidEvent { problems: vec![problem.to_owned()], trigger_id: Some(trigger_id.to_owned()) }.into()
}
