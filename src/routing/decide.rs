//! Decides which triggers an event is meant for. This file only decides: it records nothing and hands nothing on, with
//! one exception. An event is counted for a trigger with a threshold, because the count decides.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::{
    domain::{
        attempt::StartTime,
        ending::SkipReason,
        failure::{ErrorType, Failure},
        fire::{Fire, Origin},
        ids::{TriggerId, UserId},
        shared_id::OfAnotherUser,
        task::Task,
        threshold::Threshold,
    },
    events::{
        bus::{BusEvent, EventTarget},
        invalid::InvalidEvent,
    },
    invocation::InvocationContext,
    lifecycle::identify::mark_of,
    trigger::{
        item::{TriggerDecision, TriggerItem},
        replay,
    },
};

/// The most requests at the same time. It is enough to hand an event on to hundreds of triggers within seconds, and few
/// enough not to be throttled.
pub(super) const MOST_IN_FLIGHT: usize = 16;

/// One bus event in one invocation.
pub(super) struct Router<'a> {
    pub(super) context: &'a InvocationContext<'a>,
    pub(super) event: &'a BusEvent,
    pub(super) started: StartTime,
}

/// The decision about an event.
pub(super) enum RoutingDecision {
    /// The event is meant for one trigger, which this invocation handles.
    InPlace(TriggerDecision),
    /// The event is meant for the subscribers of its source.
    Subscribers(Subscribers),
    /// The event starts nothing, because its chain of executions is over the limit.
    ChainEnds,
}

/// The subscribers of an event, sorted by the decisions about them.
#[derive(Default)]
pub(super) struct Subscribers {
    pub(super) counts: RoutingCounts,
    /// The triggers that are due, each with its user.
    pub(super) due: Vec<(UserId, TriggerId)>,
    /// The decision of the first trigger that is due. It is needed only if no other trigger is due.
    pub(super) first: Option<TriggerDecision>,
    /// The fires to record as skipped.
    pub(super) skips: Vec<(Box<Fire>, SkipReason)>,
    /// The failures of subscriptions that could not be decided, and so must be decided again.
    pub(super) failures: Vec<Failure>,
}

/// The number of an event's subscriptions, by the decisions about them.
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

/// The decision of one subscription.
enum Subscription {
    /// The trigger's filters do not match.
    Filtered,
    /// The trigger is switched off, and the event announces a skip itself. So no skip is recorded.
    Unrecorded,
    /// The skip must be recorded.
    Skipped(Box<Fire>, SkipReason),
    /// The trigger's threshold is not reached yet.
    Waiting,
    /// The trigger is due, or its item is invalid.
    Due(UserId, TriggerId, Box<TriggerDecision>),
}

impl Router<'_> {
    /// Decides about the event.
    ///
    /// # Errors
    /// Returns an error if the table does not answer, or if a command names a trigger or an input that does not exist.
    pub(super) async fn decide(&self) -> Result<RoutingDecision, Failure> {
        let platform = self.context.app.platform();
        let event = self.event;
        Ok(RoutingDecision::InPlace(match &event.target {
            EventTarget::Subscribers => return self.decide_subscribers().await,
            EventTarget::Dispatched { trigger_id, user_id } => match self.stored(user_id, trigger_id).await? {
                Some(trigger) => trigger.handed_on(event, platform),
                None => TriggerDecision::Skip(
                    Box::new(event.fire(trigger_id, user_id, Task::unknown())),
                    SkipReason::Deleted,
                ),
            },
            EventTarget::RunTrigger { trigger_id, user_id } => match self.stored(user_id, trigger_id).await? {
                Some(trigger) => trigger.run_now(event, platform),
                None => {
                    let problem = "$.detail.triggerId: no trigger of this user is stored under this id";
                    return Err(unknown(problem, trigger_id));
                }
            },
            EventTarget::ReplayExecution { trigger_id, execution_id } => {
                let input = self.context.app.store.input(trigger_id, execution_id);
                let Some(detail) = self.context.app.store.in_time(self.context.deadline.run_until, input).await? else {
                    let problem = "$.detail.executionId: the input of this execution is not kept \
                                   (docs/triggers.md, Run now, and again)";
                    return Err(unknown(problem, trigger_id));
                };
                let fire = replay::fire(event, trigger_id, execution_id, &detail, platform)?;
                TriggerDecision::Run(Box::new(fire), None)
            }
        }))
    }

    /// Decides about the event for every subscriber. A chain of executions beyond the limit is skipped for each trigger
    /// that would run, and one step further it ends without a trace in the table.
    ///
    /// # Errors
    /// Returns an error if the table does not answer, or if the event looks like a fire that nobody subscribes to. A
    /// single subscription's failure is in the result instead.
    async fn decide_subscribers(&self) -> Result<RoutingDecision, Failure> {
        let limit = self.context.app.config.chain_depth_limit;
        let depth = match self.event.origin {
            Origin::Execution { .. } => self.event.chain_depth.saturating_add(1),
            _ => 0,
        };
        if depth > limit.saturating_add(1) {
            // The event announces an execution that was skipped for its depth. If another skip were recorded, the chain
            // would never end.
            tracing::warn!(depth, limit, "the chain goes no further");
            return Ok(RoutingDecision::ChainEnds);
        }
        let subscribers = self.decide_all(depth > limit).await?;
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

    /// Reads a stored trigger.
    async fn stored(&self, user_id: &UserId, trigger_id: &TriggerId) -> Result<Option<TriggerItem>, Failure> {
        let reading = self.context.app.store.trigger(user_id, trigger_id);
        let item = self.context.app.store.in_time(self.context.deadline.run_until, reading).await?;
        let trigger = item.map(TriggerItem::read).transpose();
        trigger.map_err(|unusable| Failure::fatal(ErrorType::InvalidTrigger, unusable.to_string()))
    }

    /// Decides about every subscription, page by page. `is_too_deep` makes those that are due skips. A page that cannot
    /// be read fails the whole.
    async fn decide_all(&self, is_too_deep: bool) -> Result<Subscribers, Failure> {
        let mut subscribers = Subscribers::default();
        let mut after = None;
        loop {
            let reading = self.context.app.store.subscriptions(&self.event.event_source_id, after);
            let page = self.context.app.store.in_time(self.context.deadline.run_until, reading).await?;
            let decisions = page.items.into_iter().map(|item| self.decide_one(item, is_too_deep));
            let mut answers = stream::iter(decisions).buffered(MOST_IN_FLIGHT);
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

    /// Decides about one subscription. The event is counted for a threshold only if the trigger would run otherwise. An
    /// item that is invalid is due: the invocation that handles it records its failure.
    async fn decide_one(&self, item: Value, is_too_deep: bool) -> Result<Subscription, Failure> {
        let trigger = TriggerItem::read(item)
            .map_err(|unusable| Failure::fatal(ErrorType::InvalidTrigger, unusable.to_string()))?;
        Ok(match trigger.decide(self.event, self.context.app.platform()) {
            TriggerDecision::Filtered => Subscription::Filtered,
            // Every skip is announced. If skips of skips were recorded, a few disabled triggers that follow everything
            // would record each other's skips for ever.
            TriggerDecision::Skip(..) if self.event.announces_skip() => Subscription::Unrecorded,
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

    /// Counts the event for the trigger. Returns true if it reaches the threshold. An event without a time of its own
    /// counts at the time of this delivery.
    async fn is_reached(&self, trigger: &TriggerItem, threshold: Threshold) -> Result<bool, Failure> {
        let time = self.event.time().map(|time| time.unix_timestamp_nanos() / 1_000_000);
        let time = time.and_then(|millis| i64::try_from(millis).ok()).unwrap_or(self.started.millis);
        let request_id = &self.context.invocation.request_id;
        let mark = mark_of(&trigger.trigger_id, &self.event.origin, request_id, &self.started);
        let counting = self.context.app.store.count_event(&trigger.trigger_id, &mark, threshold, time, &self.started);
        let ordinal = self.context.app.store.in_time(self.context.deadline.run_until, counting).await?;
        Ok(threshold.is_reached(ordinal))
    }
}

impl Subscribers {
    /// Refuses the skips of triggers whose id another user's due trigger has too. They are one execution, and a record
    /// that says `skipped` would take the other one's run away.
    pub(super) fn refuse_shared_ids(&mut self) {
        let due: HashMap<&str, &str> = self.due.iter().map(|(user, id)| (id.as_str(), user.as_str())).collect();
        let is_shared =
            |fire: &Fire| due.get(fire.trigger_id.as_str()).is_some_and(|user| *user != fire.user_id.as_str());
        let (shared, skips) = std::mem::take(&mut self.skips).into_iter().partition(|(fire, _)| is_shared(fire));
        self.skips = skips;
        let shared: Vec<(Box<Fire>, SkipReason)> = shared;
        self.failures.extend(shared.into_iter().map(|(fire, _)| {
            let trigger_id = Some(fire.trigger_id);
            Failure { trigger_id, ..OfAnotherUser.into() }
        }));
    }

    /// Sorts in the decision about one subscription, or its failure. Skips are counted once they are recorded.
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

/// Returns the failure of a command that names something that does not exist.
fn unknown(problem: &str, trigger_id: &TriggerId) -> Failure {
    InvalidEvent { problems: vec![problem.to_owned()], trigger_id: Some(trigger_id.clone()) }.into()
}
