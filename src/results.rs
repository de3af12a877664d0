//! Results: how an execution ended, written in one transaction with what it means for its trigger, where that is stored.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use crate::{
    claim::MAX_SWAPS,
    clock,
    error::Failure,
    execution::{Row, Status},
    expression::Expression,
    fire::Fire,
    health::{Change, Health, State},
    policy::Policy,
    record::{self, Ending, Item, number, text},
    store::{Store, StoreError, Write, readable},
    transact::{Part, Transacted},
    triggers::json_of,
};

/// How long a day's counters are kept beyond their day, seconds.
const DAY_TTL: i64 = 3 * 24 * 60 * 60;

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
        let mut fields = crate::fields::Fields::new("$", &item);
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
    for _ in 0..=MAX_SWAPS {
        let Seen::Item { health, pause_after_failures, counts_tokens } = &seen else {
            return store.write_part(part(false)).await;
        };
        let mut parts = vec![part(true)];
        let change = is_success.and_then(|is_success| health.after(is_success, *pause_after_failures));
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
            Transacted::Refused(_, item) => seen = Seen::read(item.map(json_of)),
            Transacted::Conflict => tokio::time::sleep(crate::backoff::short()).await,
        }
    }
    Err(StoreError::Contended)
}

/// The trigger item's part: on condition that it is as it was seen, and still exists.
fn trigger_part(of: &Of<'_>, seen: &Health, change: Change, failure: Option<&Failure>, now: i64) -> Part {
    let mut expression = Expression::default();
    let mut conditions = vec![format!("attribute_exists({})", expression.name("PK"))];
    for (name, value) in [
        ("health", seen.state.map(|state| text(state.as_str()))),
        ("failures", seen.failures.map(number)),
        ("enabled", seen.enabled.map(AttributeValue::Bool)),
    ] {
        if !seen.foreign.contains(&name) {
            conditions.push(expression.equals(name, value));
        }
    }
    let mut set = vec![("failures", number(change.failures)), ("health", text(change.state.as_str()))];
    let mut remove = Vec::new();
    set.push(("healthExecutionId", text(of.execution_id)));
    if change.is_new_state {
        set.push(("healthSince", text(clock::rfc3339(now))));
    }
    match failure {
        Some(failure) => {
            set.push(("healthErrorType", text(failure.error_type.as_str())));
            set.push(("healthError", text(&failure.message)));
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
    let mut update = expression.set(set);
    if !remove.is_empty() {
        update = format!("{update} {}", expression.remove(&remove));
    }
    let key = record::trigger_key(of.user_id, of.trigger_id);
    Part::Update { key, update, condition: Some(conditions.join(" AND ")), expression }
}

fn tokens_part(trigger_id: &str, tokens: u64, now: i64) -> Part {
    let mut expression = Expression::default();
    let add = expression.add("tokens", number(tokens));
    let update = format!("{add} {}", expression.set([("ttl", number(now / 1000 + DAY_TTL))]));
    Part::Update { key: record::day_key(trigger_id, now), update, condition: None, expression }
}

/// Counts a start of the day, unless the trigger has run or used as much as it may.
///
/// # Errors
/// If DynamoDB does not take it.
pub(crate) async fn count_start(
    store: &Store,
    trigger_id: &str,
    execution_id: &str,
    policy: &Policy,
    now: i64,
) -> Result<Option<record::SkipReason>, StoreError> {
    if policy.max_runs_per_day.is_none() && policy.max_tokens_per_day.is_none() {
        return Ok(None);
    }
    for _ in 0..=MAX_SWAPS {
        let mut expression = Expression::default();
        let add = expression.add("runs", number(1));
        // Of the day, not of now: the same token must say the same.
        let ttl = now / 86_400_000 * 86_400 + DAY_TTL;
        let update = format!("{add} {}", expression.set([("ttl", number(ttl))]));
        let limits = [("runs", policy.max_runs_per_day), ("tokens", policy.max_tokens_per_day)];
        let below: Vec<_> =
            limits.iter().filter_map(|(name, most)| Some(expression.absent_or_below(name, number((*most)?)))).collect();
        let key = record::day_key(trigger_id, now);
        let part = Part::Update { key, update, condition: Some(below.join(" AND ")), expression };
        // The answer of a start may be lost, and it still counts once. A token has 36 characters.
        let token = format!("{:.32}{:04}", execution_id.replace('-', ""), now / 86_400_000 % 10_000);
        match store.transact(vec![part], Some(&token)).await? {
            Transacted::Done => return Ok(None),
            Transacted::Refused(_, day) => return Ok(Some(reached(day.as_ref(), policy))),
            Transacted::Conflict => tokio::time::sleep(crate::backoff::short()).await,
        }
    }
    Err(StoreError::Contended)
}

fn reached(day: Option<&Item>, policy: &Policy) -> record::SkipReason {
    let runs = day.and_then(|day| record::integer(day, "runs")).unwrap_or_default();
    if policy.max_runs_per_day.is_some_and(|most| runs >= i64::from(most)) {
        record::SkipReason::MaxRunsPerDay
    } else {
        record::SkipReason::MaxTokensPerDay
    }
}

/// The failure that a row tells of, for who makes it final.
pub(crate) fn failure_of(row: &Row) -> Failure {
    Failure::from_record(row.error_type.as_deref().unwrap_or_default(), row.error.as_deref().unwrap_or_default())
}
