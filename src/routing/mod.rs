//! Whom a bus event is for: it becomes the fire of one trigger, or is handed on to one invocation for each.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    clock::{Deadline, now_millis},
    domain::execution::{Lease, Row, Settlement, Status},
    domain::failure::{ErrorType, Failure},
    domain::fire::{Fire, Origin},
    domain::threshold::Threshold,
    events::bus::{Audience, BusEvent},
    events::schedule::InvalidEvent,
    handler::{Invocation, Services},
    lifecycle::identify::{Started, identify, mark_of},
    lifecycle::results::failure_of,
    lifecycle::unheld::{EndError, Unrun, end_unheld},
    response::Reply,
    run::Known,
    store::in_time,
    store::record::{Ending, SkipReason},
    telemetry::metrics::Instead,
    trigger::item::{Interest, Subscription},
    trigger::replay,
};

/// Enough to hand an event on to hundreds of triggers within seconds, few enough not to be throttled.
const MOST_IN_FLIGHT: usize = 16;

/// What becomes of a bus event in this invocation.
pub(crate) enum Route {
    /// It is the fire of one trigger, which runs here.
    Run(Box<Fire>),
    /// It has been dealt with.
    Done(Value),
}

/// Routes a bus event.
///
/// # Errors
/// If the table does not answer, not every trigger could be handed the event, or its only trigger is invalid.
pub(crate) async fn route(
    services: &Services,
    event: &BusEvent,
    invocation: &Invocation,
    deadline: Deadline,
    known: &Known,
) -> Result<Route, Failure> {
    let started = Started::at(now_millis(), &services.config);
    let router = Router { services, event, invocation, deadline, known, started };
    match &event.audience {
        Audience::Subscribers => router.subscribers().await,
        Audience::Dispatched { trigger_id, user_id } => match router.stored(user_id, trigger_id).await? {
            Some(trigger) => router.in_place(trigger.handed_on(event, services.config.is_agentcore)).await,
            None => {
                let fire = Box::new(event.fire(trigger_id, user_id));
                router.in_place(Interest::Skip(fire, SkipReason::Deleted)).await
            }
        },
        Audience::RunTrigger { trigger_id, user_id } => match router.stored(user_id, trigger_id).await? {
            Some(trigger) => router.in_place(trigger.run_now(event, services.config.is_agentcore)).await,
            None => Err(unknown("$.detail.triggerId: no trigger of this user is stored under this id", trigger_id)),
        },
        Audience::ReplayExecution { trigger_id, execution_id } => {
            let input = services.store.input(trigger_id, execution_id);
            let Some(detail) = in_time(deadline.run_until, input).await? else {
                let problem = "$.detail.executionId: the input of this execution is not kept (docs/triggers.md, Run now, and again)";
                return Err(unknown(problem, trigger_id));
            };
            let key = (trigger_id.as_str(), execution_id.as_str());
            let fire = replay::fire(event, key, &detail, services.config.is_agentcore)?;
            Ok(Route::Run(Box::new(fire)))
        }
    }
}

fn unknown(problem: &str, trigger_id: &str) -> Failure {
    InvalidEvent { problems: vec![problem.to_owned()], trigger_id: Some(trigger_id.to_owned()) }.into()
}

struct Router<'a> {
    services: &'a Services,
    event: &'a BusEvent,
    invocation: &'a Invocation,
    deadline: Deadline,
    known: &'a Known,
    started: Started,
}

/// What the subscriptions of an event come to.
#[derive(Default)]
struct Tally {
    subscriptions: usize,
    filtered: usize,
    disabled: usize,
    too_deep: usize,
    waiting: usize,
    /// The triggers that are due, by user and trigger, with what the first of them is to run.
    due: Vec<(String, String)>,
    first: Option<Interest>,
    /// What of it failed, and so must be tried again.
    failures: Vec<Failure>,
}

impl Router<'_> {
    async fn subscribers(&self) -> Result<Route, Failure> {
        let limit = self.services.config.chain_depth_limit;
        let depth = match self.event.origin {
            Origin::Execution { .. } => self.event.chain_depth.saturating_add(1),
            _ => 0,
        };
        if depth > limit.saturating_add(1) {
            // The end of an execution that was skipped for its depth: to record a skip again would never end either.
            tracing::warn!(depth, limit, "the chain goes no further");
            return Ok(Route::Done(self.summary(&Tally::default())));
        }
        let tally = self.tally(depth > limit).await?;
        tracing::info!(
            eventSourceId = self.event.event_source_id,
            subscriptions = tally.subscriptions,
            due = tally.due.len(),
            "looked for triggers"
        );
        let Tally { due, failures, .. } = &tally;
        if let ([_], []) = (&due[..], &failures[..])
            && let Some(first) = tally.first
        {
            return self.in_place(first).await;
        }
        self.count(&tally);
        let failed_dispatches = self.dispatch(due).await;
        if let Some((count, cause)) = failed_dispatches {
            let message = format!("{count} of {} triggers could not be handed the event: {cause}", due.len());
            return Err(Failure::retryable(ErrorType::DispatchFailed, message));
        }
        // What may be mended by another delivery decides whether there is one.
        match tally.failures.iter().find(|failure| failure.retryable).or(tally.failures.first()) {
            Some(failure) => Err(failure.clone()),
            None => Ok(Route::Done(self.summary(&tally))),
        }
    }

    async fn stored(&self, user_id: &str, trigger_id: &str) -> Result<Option<Subscription>, Failure> {
        let item = in_time(self.deadline.run_until, self.services.store.trigger(user_id, trigger_id)).await?;
        let trigger = item.map(Subscription::read).transpose();
        trigger.map_err(|unusable| Failure::fatal(ErrorType::InvalidTrigger, unusable.to_string()))
    }

    /// Asks every subscription, page by page.
    async fn tally(&self, is_too_deep: bool) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        let mut after = None;
        loop {
            let reading = self.services.store.subscriptions(&self.event.event_source_id, after);
            let page = in_time(self.deadline.run_until, reading).await?;
            let asked = page.items.into_iter().map(|item| self.ask(item, is_too_deep));
            let mut answers = stream::iter(asked).buffered(MOST_IN_FLIGHT);
            while let Some(answer) = answers.next().await {
                tally.add(answer);
            }
            drop(answers);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(tally),
            }
        }
    }

    /// What one subscription makes of the event; one that is not to run is recorded as skipped here.
    async fn ask(&self, item: Value, is_too_deep: bool) -> Result<Answer, Failure> {
        let trigger = Subscription::read(item)
            .map_err(|unusable| Failure::fatal(ErrorType::InvalidTrigger, unusable.to_string()))?;
        let interest = trigger.interest(self.event, self.services.config.is_agentcore);
        match interest {
            Interest::None => Ok(Answer::Filtered),
            // Each skip is announced: of a few triggers that are switched off and follow everything, each would go on to
            // skip every skip of the others.
            Interest::Skip(..) if self.event.tells_of_a_skip() => Ok(Answer::Disabled),
            Interest::Skip(fire, reason) => self.skip(&fire, reason).await.map(|_| Answer::Disabled),
            Interest::Run(fire, _) | Interest::Invalid(fire, _) if is_too_deep => {
                self.skip(&fire, SkipReason::ChainTooDeep).await.map(|_| Answer::TooDeep)
            }
            Interest::Run(_, Some(threshold)) if !self.is_reached(&trigger, threshold).await? => Ok(Answer::Waiting),
            due => Ok(Answer::Due(trigger.user_id, trigger.trigger_id, Box::new(due))),
        }
    }

    async fn is_reached(&self, trigger: &Subscription, threshold: Threshold) -> Result<bool, Failure> {
        let time = self.event.time().map(|time| time.unix_timestamp_nanos() / 1_000_000);
        let time = time.and_then(|millis| i64::try_from(millis).ok()).unwrap_or(self.started.millis);
        let mark = mark_of(&trigger.trigger_id, &self.event.origin, &self.invocation.request_id, &self.started);
        let counting = self.services.store.count_event(&trigger.trigger_id, &mark, threshold, time, &self.started);
        let ordinal = in_time(self.deadline.run_until, counting).await?;
        Ok(threshold.is_reached(ordinal))
    }

    /// Hands the event on to each of these triggers; returns how many of them did not get it, and why the first did not.
    async fn dispatch(&self, due: &[(String, String)]) -> Option<(usize, String)> {
        // Collected first: as a lazy stream it would not be `Send` for every lifetime.
        let dispatches: Vec<_> =
            due.iter().map(|(user_id, trigger_id)| self.dispatch_to(user_id, trigger_id)).collect();
        let mut answers = stream::iter(dispatches).buffered(MOST_IN_FLIGHT);
        let mut failed: Option<(usize, String)> = None;
        while let Some(answer) = answers.next().await {
            if let Err(cause) = answer {
                failed = Some(failed.map_or((1, cause), |(count, first)| (count + 1, first)));
            }
        }
        failed
    }

    async fn dispatch_to(&self, user_id: &str, trigger_id: &str) -> Result<(), String> {
        let payload = self.event.dispatched_to(trigger_id, user_id, &self.invocation.request_id);
        let invoking = self.services.dispatcher.invoke(&self.invocation.function_arn, payload);
        let error = match tokio::time::timeout_at(self.deadline.run_until, invoking).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the invocation's time was nearly up".to_owned(),
        };
        tracing::warn!(toTriggerId = trigger_id, error, "the trigger could not be handed the event");
        Err(error)
    }

    /// Runs a trigger in this invocation, or records why not.
    async fn in_place(&self, interest: Interest) -> Result<Route, Failure> {
        match interest {
            Interest::Run(fire, _) => Ok(Route::Run(fire)),
            Interest::Skip(fire, reason) => {
                self.skip(self.known.fire.get_or_init(|| fire), reason).await.map(Route::Done)
            }
            Interest::Invalid(fire, failure) => {
                let ending = Ending::new(Status::Failed, now_millis(), Some(failure));
                self.end(self.known.fire.get_or_init(|| fire), ending).await.map(Route::Done)
            }
            Interest::None => Ok(Route::Done(self.summary(&Tally::default()))),
        }
    }

    async fn skip(&self, fire: &Fire, reason: SkipReason) -> Result<Value, Failure> {
        tracing::info!(skippedTriggerId = fire.trigger_id, skipReason = reason.as_str(), "skipped");
        self.known.seen.measured.skip_reason.get_or_init(|| reason);
        self.end(fire, Ending::skipped(now_millis(), reason)).await
    }

    /// Writes the record of a fire that does not run, and tells what it says. If there is one already, an earlier delivery
    /// ran it, or died.
    async fn end(&self, fire: &Fire, ending: Ending) -> Result<Value, Failure> {
        let Services { store, config, .. } = self.services;
        let request_id = &self.invocation.request_id;
        let (status, skip_reason, failure) = (ending.status, ending.skip_reason, ending.failure.clone());
        let ending_it = async {
            let execution_id = identify(store, fire, request_id, &self.started).await?;
            let unrun = Unrun { fire, started: &self.started, lambda_request_id: request_id, attempt: 1, ending };
            let ended = end_unheld(store, Lease(config.lease), fire, &execution_id, None, Some(&unrun)).await;
            Ok((execution_id, ended))
        };
        let (execution_id, ended) = in_time(self.deadline.run_until, ending_it).await?;
        if self.known.fire.get().is_some() {
            self.known.identified(fire, execution_id.clone());
        }
        let (settlement, row) = ended?;
        self.known.seen.measured.settled(settlement, status);
        let reply = Reply::new(fire, &execution_id);
        // Of what failed in an invocation of its own, that one tells.
        let is_told_elsewhere = |row: &Row| {
            let is_of_many = matches!(self.event.audience, Audience::Subscribers) && skip_reason.is_some();
            is_of_many && row.lambda_request_id.as_ref() != Some(request_id)
        };
        let failure = match (settlement, row) {
            (Settlement::Create, _) | (_, None) => match (failure, skip_reason) {
                (Some(failure), _) => failure,
                (None, Some(reason)) => return Ok(reply.skipped(reason)),
                (None, None) => return Ok(Value::Null),
            },
            (Settlement::Cancel, Some(row)) => return Ok(reply.cancelled(row.session_id.as_deref())),
            (_, Some(row)) if is_told_elsewhere(&row) => return Ok(reply.duplicate(&row)),
            (Settlement::Interrupt, Some(row)) => Failure::interrupted(&row),
            (_, Some(row)) if row.status == Status::Failed => failure_of(&row),
            (_, Some(row)) => return Ok(reply.duplicate(&row)),
        };
        Err(Failure { trigger_id: Some(fire.trigger_id.clone()), execution_id: Some(execution_id), ..failure })
    }

    fn summary(&self, tally: &Tally) -> Value {
        let mut body = json!({
            "success": true,
            "eventSourceId": self.event.event_source_id,
            "eventId": self.event.text("id"),
        });
        for (name, count) in self.count(tally) {
            body[name] = json!(count);
        }
        json!({"statusCode": 200, "body": body.to_string()})
    }

    /// Notes what the subscriptions came to, for the metrics.
    fn count(&self, tally: &Tally) -> [(&'static str, usize); 6] {
        let counts = [
            ("subscriptions", tally.subscriptions),
            ("filtered", tally.filtered),
            ("disabled", tally.disabled),
            ("tooDeep", tally.too_deep),
            ("waiting", tally.waiting),
            ("dispatched", tally.due.len()),
        ];
        self.known.seen.measured.instead.get_or_init(|| Instead::Dispatched(counts));
        counts
    }
}

/// What one subscription makes of an event.
enum Answer {
    Filtered,
    Disabled,
    TooDeep,
    Waiting,
    Due(String, String, Box<Interest>),
}

impl Tally {
    fn add(&mut self, answer: Result<Answer, Failure>) {
        self.subscriptions += 1;
        match answer {
            Ok(Answer::Filtered) => self.filtered += 1,
            Ok(Answer::Disabled) => self.disabled += 1,
            Ok(Answer::TooDeep) => self.too_deep += 1,
            Ok(Answer::Waiting) => self.waiting += 1,
            Ok(Answer::Due(user_id, trigger_id, interest)) => {
                self.due.push((user_id, trigger_id));
                // Of many, only the first can turn out to be the only one.
                self.first.get_or_insert(*interest);
            }
            Err(failure) => self.failures.push(failure),
        }
    }
}

impl From<EndError> for Failure {
    fn from(error: EndError) -> Self {
        match error {
            EndError::Store(error) => error.into(),
            EndError::Contended => Self::retryable(ErrorType::RecordStoreFailed, error.to_string()),
        }
    }
}
