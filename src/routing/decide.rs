//! Decides which triggers an event is meant for. This file only decides: it records nothing and hands nothing on. There
//! is one exception: an event is counted for a trigger with a threshold, because the count decides.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::{
    domain::{
        attempt::StartTime,
        detour::Detour,
        ending::SkipReason,
        failure::{ErrorType, Failure},
        fire::{Fire, Origin},
        ids::{ExecutionId, TriggerId, UserId},
        shared_id::OfAnotherUser,
        task::Task,
        threshold::Threshold,
    },
    events::{bus::BusEvent, invalid::InvalidEvent, target::EventTarget},
    invocation::InvocationContext,
    lifecycle::identify::mark_of,
    routing::counts::RoutingCounts,
    store::in_place::InPlace,
    trigger::{
        bounds::EventSteps,
        item::{FilterDecision, TriggerDecision, TriggerItem, UnusableKey},
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
    /// The steps that the filters of the event's triggers have taken.
    pub(super) steps: EventSteps,
}

/// The decision about an event.
pub(super) enum RoutingDecision {
    /// The event is meant for one trigger, which this invocation handles.
    InPlace(TriggerDecision),
    /// The event is meant for one trigger, whose filters or threshold do not let it run. Holds the fire that it would
    /// be.
    NotDue(Box<Fire>, RoutingCounts),
    /// A command or an event that was handed on names something that does not exist or is not understood. It holds the
    /// fire that it would be.
    Refused(Detour, Box<Fire>, Failure),
    /// Somebody asks for the end of the executions that the event's target names.
    Cancel,
    /// The event is meant for the subscribers of its source.
    Subscribers(Subscribers),
    /// An event looks like a schedule's, and nobody is subscribed to it.
    Unclaimed(InvalidEvent),
    /// The event starts nothing, because its chain of executions is over the limit.
    ChainEnds,
}

/// The subscribers of an event, sorted by the decisions about them.
#[derive(Default)]
pub(super) struct Subscribers {
    pub(super) counts: RoutingCounts,
    /// The triggers that are due.
    pub(super) due: Vec<Due>,
    /// The item of the first trigger that is due. It is needed only if no other trigger is due.
    pub(super) first: Option<Box<TriggerItem>>,
    /// The fires to record as skipped.
    pub(super) skips: Vec<(Box<Fire>, SkipReason)>,
    /// The failures of subscriptions: those not decided, those refused for a shared id, and skips that could not be
    /// recorded. With any of them the event is handed on and not run in place.
    pub(super) failures: Vec<Failure>,
}

/// A trigger that is due.
pub(super) struct Due {
    pub(super) trigger: InPlace,
    /// True if its filters cost too much on the event. It is due to fail.
    pub(super) is_too_costly: bool,
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
    /// The trigger is due, if only to fail because its filters cost too much.
    Due(Box<TriggerItem>, bool),
}

/// The answer of a subscription's filters.
enum Asked {
    /// They decide.
    Decided(Subscription),
    /// The trigger is due if the event reaches its threshold.
    Counts(Box<TriggerItem>, Threshold),
}

impl Router<'_> {
    /// Decides about the event by its target. No execution is recorded yet, but an event is counted for a threshold.
    ///
    /// - Subscribers, an addressed trigger and a replay are decided below.
    /// - A trigger to which the event was handed on is due, unless it is switched off or invalid. One that is gone is
    ///   skipped as deleted.
    /// - A trigger that a command runs now is due under the same conditions. One that is not there is refused, because
    ///   somebody expects its run.
    /// - A command to end executions is returned as `Cancel`. An item that cannot be read as a trigger is refused.
    ///
    /// # Errors
    /// Returns an error if the table gives no result.
    pub(super) async fn decide(&self) -> Result<RoutingDecision, Failure> {
        match &self.event.target {
            EventTarget::Subscribers => self.decide_subscribers().await,
            EventTarget::Dispatched { trigger_id, user_id } => {
                let decide = |trigger: TriggerItem| {
                    trigger.handed_on(self.event, self.context.app.platform(), self.event.is_too_costly)
                };
                Ok(match self.stored(user_id, trigger_id).await? {
                    Ok(trigger) => RoutingDecision::InPlace(decide(trigger)),
                    Err(None) => {
                        let fire = self.unknown_fire(trigger_id, user_id);
                        RoutingDecision::InPlace(TriggerDecision::Skip(fire, SkipReason::Deleted))
                    }
                    Err(Some(unreadable)) => self.refused(trigger_id, user_id, Detour::UnreadableTrigger, unreadable),
                })
            }
            EventTarget::Addressed { trigger_id, user_id } => self.decide_addressed(trigger_id, user_id).await,
            EventTarget::RunTrigger { trigger_id, user_id } => {
                let decide = |trigger: TriggerItem| trigger.run_now(self.event, self.context.app.platform());
                Ok(match self.stored(user_id, trigger_id).await? {
                    Ok(trigger) => RoutingDecision::InPlace(decide(trigger)),
                    Err(None) => {
                        let problem = "$.detail.triggerId: no trigger of this user is stored under this id";
                        self.refused(trigger_id, user_id, Detour::UnknownTrigger, unknown(problem, trigger_id))
                    }
                    Err(Some(unreadable)) => self.refused(trigger_id, user_id, Detour::UnreadableTrigger, unreadable),
                })
            }
            EventTarget::CancelCaller(_) | EventTarget::CancelExecution { .. } => Ok(RoutingDecision::Cancel),
            EventTarget::ReplayExecution { trigger_id, execution_id } => {
                self.decide_replay(trigger_id, execution_id).await
            }
        }
    }

    /// Decides about an event that is addressed to one trigger. Its filters and its threshold are asked, as those of a
    /// subscriber are: if they do not let it run, it is not due. An event is counted for a threshold once, however
    /// often it is delivered. A trigger that is gone is skipped as deleted. One that is switched off is skipped, or is
    /// not due if the event announces a skip. An item that cannot be read as a trigger is refused.
    ///
    /// # Errors
    /// Returns an error if the table gives no result.
    async fn decide_addressed(&self, trigger_id: &TriggerId, user_id: &UserId) -> Result<RoutingDecision, Failure> {
        let trigger = match self.stored(user_id, trigger_id).await? {
            Ok(trigger) => trigger,
            Err(None) => {
                let fire = self.unknown_fire(trigger_id, user_id);
                return Ok(RoutingDecision::InPlace(TriggerDecision::Skip(fire, SkipReason::Deleted)));
            }
            Err(Some(unreadable)) => {
                return Ok(self.refused(trigger_id, user_id, Detour::UnreadableTrigger, unreadable));
            }
        };
        let not_due = |counts| {
            let counts = RoutingCounts { subscriptions: 1, ..counts };
            RoutingDecision::NotDue(self.unknown_fire(trigger_id, user_id), counts)
        };
        Ok(match self.decided(self.ask(trigger, false, &self.steps)).await? {
            Subscription::Filtered => not_due(RoutingCounts { filtered: 1, ..RoutingCounts::default() }),
            Subscription::Waiting => not_due(RoutingCounts { waiting: 1, ..RoutingCounts::default() }),
            Subscription::Unrecorded => not_due(RoutingCounts { disabled: 1, ..RoutingCounts::default() }),
            Subscription::Skipped(fire, reason) => RoutingDecision::InPlace(TriggerDecision::Skip(fire, reason)),
            Subscription::Due(trigger, is_too_costly) => {
                let decision = trigger.handed_on(self.event, self.context.app.platform(), is_too_costly);
                RoutingDecision::InPlace(decision)
            }
        })
    }

    /// Decides about a replay, which runs the kept input of the execution. If the input is not kept, or is not
    /// understood, the replay is refused, because somebody expects its run.
    ///
    /// # Errors
    /// Returns an error if the table gives no result.
    async fn decide_replay(
        &self,
        trigger_id: &TriggerId,
        execution_id: &ExecutionId,
    ) -> Result<RoutingDecision, Failure> {
        let app = self.context.app;
        let input = app.store.input(trigger_id, execution_id);
        let Some(detail) = app.store.in_time(self.context.deadline.run_until, input).await? else {
            let problem = "$.detail.executionId: the input of this execution is not kept \
                           (docs/triggers.md, Run now, and again)";
            // Only the kept input names the user, and the row of the replay.
            let failure = unknown(problem, trigger_id);
            return Ok(self.refused(trigger_id, &UserId::default(), Detour::InputGone, failure));
        };
        Ok(match replay::fire(self.event, trigger_id, execution_id, &detail, app.platform()) {
            Ok(fire) => RoutingDecision::InPlace(TriggerDecision::Run(Box::new(fire))),
            Err(invalid) => self.refused(trigger_id, &UserId::default(), Detour::InvalidInput, invalid.into()),
        })
    }

    /// Returns the decision to refuse the event of this trigger with `failure`. The fire's task is unknown.
    fn refused(&self, trigger_id: &TriggerId, user_id: &UserId, detour: Detour, failure: Failure) -> RoutingDecision {
        RoutingDecision::Refused(detour, self.unknown_fire(trigger_id, user_id), failure)
    }

    /// Returns the event's fire of a trigger whose item cannot say what to run: its task is empty.
    pub(super) fn unknown_fire(&self, trigger_id: &TriggerId, user_id: &UserId) -> Box<Fire> {
        Box::new(self.event.fire(trigger_id, user_id, Task::unknown()))
    }

    /// Decides about the event for every subscriber of its source. The chain of executions is as deep as that of the
    /// execution whose end the event announces, and one more. If it is one deeper than the limit, each trigger that
    /// would run is skipped. If it is deeper still, the chain ends without a record, and no subscriber is read. An
    /// event that looks like a fire and has no subscriber is unclaimed.
    ///
    /// # Errors
    /// Returns an error if the table gives no result. A single subscription's failure is in the result instead.
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
            return Ok(RoutingDecision::Unclaimed(unclaimed));
        }
        Ok(RoutingDecision::Subscribers(subscribers))
    }

    /// Reads a stored trigger. The inner error is `None` if there is none, and otherwise the failure of an item that
    /// cannot be read as a trigger.
    ///
    /// # Errors
    /// Returns an error if the table gives no result.
    async fn stored(
        &self,
        user_id: &UserId,
        trigger_id: &TriggerId,
    ) -> Result<Result<TriggerItem, Option<Failure>>, Failure> {
        let reading = self.context.app.store.trigger(user_id, trigger_id);
        let Some(item) = self.context.app.store.in_time(self.context.deadline.run_until, reading).await? else {
            return Ok(Err(None));
        };
        let unreadable = |unusable: UnusableKey| Failure::fatal(ErrorType::InvalidTrigger, unusable.to_string());
        Ok(TriggerItem::read(item).map_err(|unusable| Some(unreadable(unusable))))
    }

    /// Decides about every subscription, page by page, and up to 16 at the same time. With `is_too_deep`, triggers that
    /// are due are skipped.
    ///
    /// # Errors
    /// Returns an error if a page cannot be read. A single subscription's failure is in the result instead.
    async fn decide_all(&self, is_too_deep: bool) -> Result<Subscribers, Failure> {
        let mut subscribers = Subscribers::default();
        let mut after = None;
        loop {
            let reading = self.context.app.store.subscriptions(&self.event.event_source_id, after);
            let page = self.context.app.store.in_time(self.context.deadline.run_until, reading).await?;
            let mut asked = Vec::with_capacity(page.items.len());
            for item in page.items {
                // Filters take CPU. Runs beside this invocation must have their heartbeats meanwhile.
                tokio::task::yield_now().await;
                asked.push(self.ask_one(item, is_too_deep));
            }
            let decisions = asked.into_iter().map(|asked| async move { self.decided(asked?).await });
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

    /// Decides anew about the only trigger that is due, from a consistent read of its item. The index's copy may be
    /// from before a change, and the item is not read again before it runs in this invocation. An unchanged item
    /// changes nothing. A trigger that is gone by now is skipped as deleted, and one without its subscription is
    /// filtered out. It is one trigger, so its filters may take as many steps as if the event had no other: those of
    /// the others must not make a trigger fail that they did not make fail before. If several triggers are due, or
    /// there is a failure, nothing is decided anew: then each trigger is read by the invocation that it is handed to.
    ///
    /// # Errors
    /// Returns an error if the table gives no result.
    pub(super) async fn decide_only_one_anew(&self, mut subscribers: Subscribers) -> Result<Subscribers, Failure> {
        let Subscribers { due, failures, first: Some(copy), .. } = &subscribers else { return Ok(subscribers) };
        let ([Due { trigger: (user_id, trigger_id), .. }], []) = (&due[..], &failures[..]) else {
            return Ok(subscribers);
        };
        let decision = match self.stored(user_id, trigger_id).await? {
            Ok(current) if current == **copy => return Ok(subscribers),
            Ok(current) if !current.is_subscribed_to(&self.event.event_source_id) => Ok(Subscription::Filtered),
            // An event is counted for a threshold once, however often it is decided.
            Ok(current) => self.decided(self.ask(current, false, &EventSteps::default())).await,
            Err(None) => Ok(self.skipped(self.unknown_fire(trigger_id, user_id), SkipReason::Deleted)),
            Err(Some(unreadable)) => Err(unreadable),
        };
        tracing::info!("the only trigger that is due was changed a moment ago, and is decided anew");
        subscribers.forget_due();
        subscribers.add(decision);
        Ok(subscribers)
    }

    /// Asks the filters of one subscription, by the item as the index gives it.
    ///
    /// # Errors
    /// Returns `InvalidTrigger` if the item cannot be read as a trigger.
    fn ask_one(&self, item: Value, is_too_deep: bool) -> Result<Asked, Failure> {
        let trigger = TriggerItem::read(item)
            .map_err(|unusable| Failure::fatal(ErrorType::InvalidTrigger, unusable.to_string()))?;
        Ok(self.ask(trigger, is_too_deep, &self.steps))
    }

    /// Asks the filters of one trigger, and adds their steps to those that are `taken`. An item with problems, or whose
    /// filters cost too much, is due: the invocation that handles it records its failure. With `is_too_deep`, a trigger
    /// that is due is skipped instead, and not counted for its threshold.
    fn ask(&self, trigger: TriggerItem, is_too_deep: bool, taken: &EventSteps) -> Asked {
        Asked::Decided(match trigger.decide(self.event, self.context.app.platform(), taken) {
            FilterDecision::Filtered => Subscription::Filtered,
            FilterDecision::Skip(fire, reason) => self.skipped(fire, reason),
            FilterDecision::Due(fire, _) | FilterDecision::TooCostly(fire) if is_too_deep => {
                Subscription::Skipped(fire, SkipReason::ChainTooDeep)
            }
            FilterDecision::Due(_, Some(threshold)) => return Asked::Counts(Box::new(trigger), threshold),
            FilterDecision::Due(_, None) => Subscription::Due(Box::new(trigger), false),
            FilterDecision::TooCostly(_) => Subscription::Due(Box::new(trigger), true),
        })
    }

    /// Returns the decision about a trigger whose filters were asked. If only its threshold is left to decide, the
    /// event is counted: the trigger is due if this reaches the threshold, and waits otherwise.
    ///
    /// # Errors
    /// Returns an error if the event cannot be counted.
    async fn decided(&self, asked: Asked) -> Result<Subscription, Failure> {
        Ok(match asked {
            Asked::Decided(subscription) => subscription,
            Asked::Counts(trigger, threshold) if self.is_reached(&trigger, threshold).await? => {
                Subscription::Due(trigger, false)
            }
            Asked::Counts(..) => Subscription::Waiting,
        })
    }

    /// Returns the skip of a trigger that is switched off or deleted. It is not recorded if the event announces a skip
    /// itself. Every recorded skip is announced, so a few disabled triggers that follow everything would record each
    /// other's skips for ever.
    fn skipped(&self, fire: Box<Fire>, reason: SkipReason) -> Subscription {
        if self.event.announces_skip() { Subscription::Unrecorded } else { Subscription::Skipped(fire, reason) }
    }

    /// Counts the event for the trigger, once however often it is delivered or decided. Returns true if it is the one
    /// that reaches the threshold. An event without a time of its own counts at the time of this delivery.
    ///
    /// # Errors
    /// Returns an error if the table gives no result.
    async fn is_reached(&self, trigger: &TriggerItem, threshold: Threshold) -> Result<bool, Failure> {
        let time = self.event.millis().unwrap_or(self.started.millis);
        let request_id = &self.context.invocation.request_id;
        let TriggerItem { user_id, trigger_id, .. } = trigger;
        let mark = mark_of(trigger_id, &self.event.origin, request_id, &self.started);
        let store = &self.context.app.store;
        let counting = store.count_event((user_id, trigger_id), &mark, threshold, time, &self.started);
        let ordinal = self.context.app.store.in_time(self.context.deadline.run_until, counting).await?;
        Ok(threshold.is_reached(ordinal))
    }
}

impl Subscribers {
    /// Turns the skip of a trigger into a failure, `InvalidTrigger`, if another user's due trigger has the same id.
    /// They are one execution, and a record that says `skipped` would prevent the other trigger's run.
    pub(super) fn refuse_shared_ids(&mut self) {
        let due: HashMap<&str, &str> =
            self.due.iter().map(|Due { trigger: (user, id), .. }| (id.as_str(), user.as_str())).collect();
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

    /// Removes the triggers that are due, from the counts too.
    fn forget_due(&mut self) {
        self.counts.subscriptions -= self.due.len();
        self.counts.dispatched -= self.due.len();
        self.due.clear();
        self.first = None;
    }

    /// Adds the decision about one subscription, or its failure, and counts it. Skips are counted when they are
    /// recorded.
    fn add(&mut self, answer: Result<Subscription, Failure>) {
        let counts = &mut self.counts;
        counts.subscriptions += 1;
        match answer {
            Ok(Subscription::Filtered) => counts.filtered += 1,
            Ok(Subscription::Unrecorded) => counts.disabled += 1,
            Ok(Subscription::Waiting) => counts.waiting += 1,
            Ok(Subscription::Skipped(fire, reason)) => self.skips.push((fire, reason)),
            Ok(Subscription::Due(trigger, is_too_costly)) => {
                counts.dispatched += 1;
                let due = (trigger.user_id.clone(), trigger.trigger_id.clone());
                self.due.push(Due { trigger: due, is_too_costly });
                self.first.get_or_insert(trigger);
            }
            Err(failure) => self.failures.push(failure),
        }
    }
}

/// Returns the failure of a command that names something that does not exist: `InvalidEvent` with this problem and the
/// trigger.
fn unknown(problem: &str, trigger_id: &TriggerId) -> Failure {
    let problems = vec![problem.to_owned()];
    InvalidEvent { trigger_id: Some(trigger_id.clone()), ..InvalidEvent::new(problems) }.into()
}
