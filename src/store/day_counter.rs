//! A trigger's counters of a day, in UTC: the executions that started and the tokens that they used.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    backoff,
    clock::Clock,
    domain::{ending::SkipReason, execution::ExecutionRef, policy::Policy},
    store::{
        Store,
        error::StoreError,
        execution_item::TTL,
        expression::Expression,
        item::{Item, integer, keyed, number},
        keys::{self},
        table::{ConditionalWrite, Table, Transacted},
    },
};

/// The time for which a day's counters and marks are kept after their last write, in seconds.
const DAY_TTL: i64 = 3 * 24 * 60 * 60;
/// The attribute of a mark whose count was taken back.
const TAKEN_BACK: &str = "takenBack";

/// The result of counting a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It may run, and nothing was counted now: the trigger has no limit, or an earlier attempt was counted.
    Uncounted,
    /// It may run, and was counted now.
    Counted,
    /// It must be skipped.
    Refused(SkipReason),
}

/// Builds the write that adds `tokens` to the trigger's counters of the UTC day of `now`, in milliseconds since 1970.
/// It has no condition, and creates the counters if there are none. They are kept for three days.
pub fn tokens_write(execution: ExecutionRef<'_>, tokens: u64, now: i64) -> ConditionalWrite {
    let mut expression = Expression::default();
    let add = expression.add("tokens", number(tokens));
    let update = format!("{add} {}", expression.set([(TTL, number(now / 1000 + DAY_TTL))]));
    let key = keys::day_key(execution.user_id, execution.trigger_id, now);
    ConditionalWrite::Update { key, update, condition: None, expression }
}

impl<T: Table, C: Clock> Store<T, C> {
    /// Counts the start of an execution for the UTC day of `now`, which is in milliseconds since 1970. The count and
    /// the execution's mark are written together, so each execution is counted once. A later attempt is `Uncounted`,
    /// even if a limit has been reached since. A start that was taken back is counted anew. The start is refused if the
    /// trigger has run as often, or used as many tokens, as it may. If both are so, the runs are the reason. Without a
    /// limit in `policy` nothing is read or written. A conflict with another transaction is tried again without end:
    /// the caller limits the time.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result. The start may have been counted all the same. The call may be
    /// repeated.
    pub async fn count_start(
        &self,
        execution: ExecutionRef<'_>,
        policy: &Policy,
        now: i64,
    ) -> Result<Start, StoreError> {
        let ExecutionRef { user_id, trigger_id, execution_id } = execution;
        if policy.max_runs_per_day.is_none() && policy.max_tokens_per_day.is_none() {
            return Ok(Start::Uncounted);
        }
        let ttl = now / 1000 + DAY_TTL;
        loop {
            let mut unmarked = Expression::default();
            let is_absent = format!("attribute_not_exists({})", unmarked.name("PK"));
            let is_unmarked =
                format!("{is_absent} OR {}", unmarked.equals(TAKEN_BACK, Some(AttributeValue::Bool(true))));
            let mark = keyed(keys::counted_key(trigger_id, execution_id), ttl);
            let mut expression = Expression::default();
            let add = expression.add("runs", number(1));
            let update = format!("{add} {}", expression.set([(TTL, number(ttl))]));
            let limits = [("runs", policy.max_runs_per_day.map(u64::from)), ("tokens", policy.max_tokens_per_day)];
            let below: Vec<_> = limits
                .iter()
                .filter_map(|(name, most)| Some(expression.absent_or_below(name, number((*most)?))))
                .collect();
            let key = keys::day_key(user_id, trigger_id, now);
            let writes = vec![
                ConditionalWrite::Put { item: mark, condition: is_unmarked, expression: unmarked },
                ConditionalWrite::Update { key, update, condition: Some(below.join(" AND ")), expression },
            ];
            match self.table.transact(writes).await? {
                Transacted::Done => return Ok(Start::Counted),
                // The mark exists: an earlier attempt counted, or the answer to this one's request was lost.
                Transacted::Refused(0, _) => return Ok(Start::Uncounted),
                Transacted::Refused(_, day) => return Ok(Start::Refused(reached(day.as_ref(), policy))),
                // Another transaction won the conflict; retry after a short jittered wait.
                Transacted::Conflict => self.clock.sleep(backoff::short()).await,
            }
        }
    }

    /// Takes back a start that was counted at `now`, because the execution is skipped after all. Its mark says so, and
    /// the count is taken back once. Nothing happens if the start is not counted. A conflict with another transaction
    /// is tried again without end.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. The start then stays counted, or was taken back.
    pub async fn take_back_start(&self, execution: ExecutionRef<'_>, now: i64) -> Result<(), StoreError> {
        let ExecutionRef { user_id, trigger_id, execution_id } = execution;
        loop {
            let mut marked = Expression::default();
            let is_counted = marked.equals(TAKEN_BACK, None);
            let is_marked = format!("attribute_exists({}) AND {is_counted}", marked.name("PK"));
            let mut mark = keyed(keys::counted_key(trigger_id, execution_id), now / 1000 + DAY_TTL);
            mark.insert(TAKEN_BACK.to_owned(), AttributeValue::Bool(true));
            let mut expression = Expression::default();
            let update = expression.add("runs", number(-1));
            let is_there = format!("attribute_exists({})", expression.name("PK"));
            let key = keys::day_key(user_id, trigger_id, now);
            let writes = vec![
                ConditionalWrite::Put { item: mark, condition: is_marked, expression: marked },
                ConditionalWrite::Update { key, update, condition: Some(is_there), expression },
            ];
            match self.table.transact(writes).await? {
                Transacted::Done | Transacted::Refused(..) => return Ok(()),
                // Another transaction won the conflict; retry after a short jittered wait.
                Transacted::Conflict => self.clock.sleep(backoff::short()).await,
            }
        }
    }
}

/// Returns the limit that the day's counters have reached: the runs, if they are as many as the trigger may have, and
/// otherwise the tokens. `day` is the counters' item, if there is one.
fn reached(day: Option<&Item>, policy: &Policy) -> SkipReason {
    let runs = day.and_then(|day| integer(day, "runs")).unwrap_or_default();
    if policy.max_runs_per_day.is_some_and(|most| runs >= i64::from(most)) {
        SkipReason::MaxRunsPerDay
    } else {
        SkipReason::MaxTokensPerDay
    }
}
