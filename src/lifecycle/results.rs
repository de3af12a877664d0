//! Results: how an execution ended, written in one transaction with what it means for its trigger, where that is stored.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use crate::{
    backoff, clock,
    domain::execution::{Row, Status},
    domain::failure::{ERROR_LIMIT, Failure},
    domain::fire::Fire,
    domain::health::{Change, Health, RESTS_ON, State},
    domain::policy::Policy,
    redact::cut,
    store::expression::Expression,
    store::record::{self, Ending, Item, number, text},
    store::transact::{Part, Transacted},
    store::triggers::{attribute_of, current, keyed},
    store::{Store, StoreError, Write, readable},
};

/// How long a day's counters are kept beyond their day, seconds.
const DAY_TTL: i64 = 3 * 24 * 60 * 60;
/// How often a write may find the trigger changed: as often as executions of one trigger may end at the same time.
const MAX_REFUSALS: usize = 32;

/// The trigger that a result is of.
#[derive(Debug, Clone)]
pub(crate) struct Of<'a> {
    pub(crate) user_id: &'a str,
    pub(crate) trigger_id: &'a str,
    pub(crate) execution_id: &'a str,
    /// What was seen of the trigger item.
    pub(crate) trigger: Seen,
}

/// What was seen of a trigger item.
#[derive(Debug, Clone, Default)]
pub(crate) enum Seen {
    /// Nobody looked.
    #[default]
    Unknown,
    /// There is none.
    None,
    /// This, with how many failures in a row pause it, and whether its tokens are counted.
    Item { health: Health, pause_after_failures: u32, counts_tokens: bool },
}

impl<'a> Of<'a> {
    /// The execution of a fire.
    pub(crate) fn fire(fire: &'a Fire, execution_id: &'a str) -> Self {
        let trigger = fire.stored.as_ref().map(|stored| Seen::item(&stored.health, &stored.policy));
        let (user_id, trigger_id) = (fire.user_id.as_str(), fire.trigger_id.as_str());
        Self { user_id, trigger_id, execution_id, trigger: trigger.unwrap_or_default() }
    }
}

impl Seen {
    pub(crate) fn item(health: &Health, policy: &Policy) -> Self {
        Self::Item {
            health: health.clone(),
            pause_after_failures: policy.pause_after_failures,
            counts_tokens: policy.max_tokens_per_day.is_some(),
        }
    }

    fn read(item: Option<Value>) -> Self {
        let Some(Value::Object(item)) = item else { return Self::None };
        let mut fields = crate::json::fields::Fields::new("$", &item);
        Self::item(&Health::read(&item), &Policy::read(&mut fields))
    }
}

/// A result: whether a trigger's health depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conclusion<'a> {
    status: Status,
    failure: Option<&'a Failure>,
    tokens: u64,
}

impl<'a> Conclusion<'a> {
    /// Of an ending.
    pub(crate) fn of(ending: &'a Ending) -> Self {
        let usage = ending.reported.as_ref().and_then(|reported| reported.progress.usage.as_ref());
        let tokens = usage.map_or(0, |usage| usage.input_tokens.saturating_add(usage.output_tokens));
        Self { status: ending.status, failure: ending.failure.as_ref(), tokens }
    }

    /// Of a failure that is made final.
    pub(crate) fn failed(failure: &'a Failure) -> Self {
        Self { status: Status::Failed, failure: Some(failure), tokens: 0 }
    }

    /// Of an attempt that died, whose row is `row`.
    pub(crate) fn interrupted(failure: &'a Failure, row: &Row) -> Self {
        Self { tokens: row.tokens, ..Self::failed(failure) }
    }

    /// Whether the run succeeded, or failed for good; `None` for what says nothing about the trigger.
    fn is_success(self) -> Option<bool> {
        match self.status {
            Status::Completed => Some(true),
            Status::Failed if self.failure.is_none_or(|failure| !failure.retryable) => Some(false),
            Status::Failed | Status::Running | Status::Cancelled | Status::Skipped => None,
        }
    }
}

/// Writes the execution's own `part`, made for a stored trigger or not, with what `result` makes of the trigger.
///
/// # Errors
/// If DynamoDB does not take it.
pub(crate) async fn write_result(
    store: &Store,
    of: &Of<'_>,
    result: Conclusion<'_>,
    now: i64,
    part: impl Fn(bool) -> Part,
) -> Result<Write, StoreError> {
    let is_success = result.is_success();
    if is_success.is_none() && result.tokens == 0 {
        return store.write_part(part(matches!(of.trigger, Seen::Item { .. }))).await;
    }
    let mut seen = of.trigger.clone();
    if matches!(seen, Seen::Unknown) && !of.user_id.is_empty() {
        seen = Seen::read(store.trigger(of.user_id, of.trigger_id).await?);
    }
    let mut refusals = 0;
    while refusals <= MAX_REFUSALS {
        let Seen::Item { health, pause_after_failures, counts_tokens } = &seen else {
            return store.write_part(part(false)).await;
        };
        let change = is_success.and_then(|is_success| health.after(is_success, *pause_after_failures));
        let mut parts = vec![part(true)];
        parts.extend(change.map(|change| trigger_part(of, health, change, result.failure, now)));
        parts.extend((*counts_tokens && result.tokens > 0).then(|| tokens_part(of.trigger_id, result.tokens, now)));
        if parts.len() == 1 {
            return store.write_part(part(true)).await;
        }
        match store.transact(parts, None).await? {
            Transacted::Done => {
                if let Some(change) = change.filter(|change| change.is_new_state) {
                    tracing::info!(
                        health = change.state.as_str(),
                        failures = change.failures,
                        "the trigger's health changed"
                    );
                }
                return Ok(Write::Done);
            }
            Transacted::Refused(0, row) => return Ok(Write::Refused(readable(row.as_ref())?)),
            Transacted::Refused(_, item) => {
                seen = Seen::read(item.and_then(current));
                refusals += 1;
            }
            // Whose transaction it was has come further by it.
            Transacted::Conflict => tokio::time::sleep(backoff::short()).await,
        }
    }
    Err(StoreError::Contended)
}

/// That the trigger still exists, and that what its health rests on is as it was seen.
fn as_seen(expression: &mut Expression, seen: &Health) -> String {
    let mut conditions = vec![format!("attribute_exists({})", expression.name("PK"))];
    for (name, value) in RESTS_ON.iter().zip(&seen.stored) {
        match value.as_ref().map(attribute_of) {
            None => conditions.push(expression.equals(name, None)),
            Some(Some(value)) => conditions.push(expression.equals(name, Some(value))),
            Some(None) => {}
        }
    }
    conditions.join(" AND ")
}

/// The trigger item's part: on condition that it is as it was seen, and still exists.
fn trigger_part(of: &Of<'_>, seen: &Health, change: Change, failure: Option<&Failure>, now: i64) -> Part {
    let mut expression = Expression::default();
    let condition = as_seen(&mut expression, seen);
    let mut set = vec![("failures", number(change.failures)), ("health", text(change.state.as_str()))];
    let mut remove = Vec::new();
    set.push(("healthExecutionId", text(of.execution_id)));
    if change.is_new_state {
        set.push(("healthSince", text(clock::rfc3339(now))));
    }
    match failure {
        Some(failure) => {
            set.push(("healthErrorType", text(failure.error_type.as_str())));
            set.push(("healthError", text(cut(&failure.message, ERROR_LIMIT))));
        }
        None => remove.extend(["healthErrorType", "healthError", "pausedReason", "pausedAt"]),
    }
    if change.pauses {
        set.push(("enabled", AttributeValue::Bool(false)));
        set.push(("pausedAt", text(clock::rfc3339(now))));
        set.push(("pausedReason", text(format!("{} failures in a row", change.failures))));
    } else if change.state == State::Failing {
        remove.extend(["pausedReason", "pausedAt"]);
    }
    // What is announced of it names it by these, which its own writer may have left to the key.
    let ids = [("id", of.trigger_id), ("userId", of.user_id)].map(|(name, id)| expression.default_to(name, text(id)));
    let mut update = format!("{}, {}", expression.set(set), ids.join(", "));
    if !remove.is_empty() {
        update = format!("{update} {}", expression.remove(&remove));
    }
    let key = record::trigger_key(of.user_id, of.trigger_id);
    Part::Update { key, update, condition: Some(condition), expression }
}

fn tokens_part(trigger_id: &str, tokens: u64, now: i64) -> Part {
    let mut expression = Expression::default();
    let add = expression.add("tokens", number(tokens));
    let update = format!("{add} {}", expression.set([("ttl", number(now / 1000 + DAY_TTL))]));
    Part::Update { key: record::day_key(trigger_id, now), update, condition: None, expression }
}

impl Store {
    /// Counts a start of the day, once for an execution however many attempts it has, unless its trigger has run or used as
    /// much as it may. The mark that it is counted is written with the count.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
    pub(crate) async fn count_start(
        &self,
        trigger_id: &str,
        execution_id: &str,
        policy: &Policy,
        now: i64,
    ) -> Result<Option<record::SkipReason>, StoreError> {
        if policy.max_runs_per_day.is_none() && policy.max_tokens_per_day.is_none() {
            return Ok(None);
        }
        let ttl = now / 1000 + DAY_TTL;
        loop {
            let mut unmarked = Expression::default();
            let is_unmarked = format!("attribute_not_exists({})", unmarked.name("PK"));
            let mark = keyed(record::counted_key(trigger_id, execution_id), ttl);
            let mut expression = Expression::default();
            let add = expression.add("runs", number(1));
            let update = format!("{add} {}", expression.set([("ttl", number(ttl))]));
            let limits = [("runs", policy.max_runs_per_day), ("tokens", policy.max_tokens_per_day)];
            let below: Vec<_> = limits
                .iter()
                .filter_map(|(name, most)| Some(expression.absent_or_below(name, number((*most)?))))
                .collect();
            let key = record::day_key(trigger_id, now);
            let parts = vec![
                Part::Put { item: mark, condition: is_unmarked, expression: unmarked },
                Part::Update { key, update, condition: Some(below.join(" AND ")), expression },
            ];
            match self.transact(parts, None).await? {
                // Refused by its mark: an attempt before counted, or this one's answer was lost.
                Transacted::Done | Transacted::Refused(0, _) => return Ok(None),
                Transacted::Refused(_, day) => return Ok(Some(reached(day.as_ref(), policy))),
                // Whose transaction it was has come further by it.
                Transacted::Conflict => tokio::time::sleep(backoff::short()).await,
            }
        }
    }
}

fn reached(day: Option<&Item>, policy: &Policy) -> record::SkipReason {
    let runs = day.and_then(|day| record::integer(day, "runs")).unwrap_or_default();
    if policy.max_runs_per_day.is_some_and(|most| runs >= i64::from(most)) {
        record::SkipReason::MaxRunsPerDay
    } else {
        record::SkipReason::MaxTokensPerDay
    }
}

/// The failure that a row tells of, for who makes it final or returns it once more.
pub(crate) fn failure_of(row: &Row) -> Failure {
    Failure::from_record(row.error_type.as_deref().unwrap_or_default(), row.error.as_deref().unwrap_or_default())
}

/// How the attempt ended that `row` is of: it failed, or died.
pub(crate) fn end_of(row: &Row) -> Failure {
    if row.status == Status::Running {
        return Failure::interrupted(row);
    }
    let said = row.error.as_deref().and_then(|text| text.split_once('\n'));
    Failure { agent_said: said.map(|(_, said)| said.to_owned()), ..failure_of(row) }
}
