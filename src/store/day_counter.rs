//! A trigger's counters of a day, in UTC: the executions that started and the tokens that they used.

use crate::{
    backoff,
    clock::Clock,
    domain::{ending::SkipReason, policy::Policy},
    store::{
        Store,
        error::StoreError,
        expression::Expression,
        item::{Item, integer, keyed, number},
        keys::{self},
        table::{ConditionalWrite, Table, Transacted},
    },
};

/// How long a day's counters are kept beyond their day, seconds.
const DAY_TTL: i64 = 3 * 24 * 60 * 60;

/// Builds the write that adds `tokens` to the counters of the day in which `now`, milliseconds since 1970, is.
pub fn tokens_write(trigger_id: &str, tokens: u64, now: i64) -> ConditionalWrite {
    let mut expression = Expression::default();
    let add = expression.add("tokens", number(tokens));
    let update = format!("{add} {}", expression.set([("ttl", number(now / 1000 + DAY_TTL))]));
    ConditionalWrite::Update { key: keys::day_key(trigger_id, now), update, condition: None, expression }
}

impl<T: Table, C: Clock> Store<T, C> {
    /// Counts a start of the day, once for an execution however many attempts it has. Returns a reason to skip it instead if
    /// its trigger has run as often, or used as many tokens, as it may. The mark of a counted execution is written with
    /// the count.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it.
    pub async fn count_start(
        &self,
        trigger_id: &str,
        execution_id: &str,
        policy: &Policy,
        now: i64,
    ) -> Result<Option<SkipReason>, StoreError> {
        if policy.max_runs_per_day.is_none() && policy.max_tokens_per_day.is_none() {
            return Ok(None);
        }
        let ttl = now / 1000 + DAY_TTL;
        loop {
            let mut unmarked = Expression::default();
            let is_unmarked = format!("attribute_not_exists({})", unmarked.name("PK"));
            let mark = keyed(keys::counted_key(trigger_id, execution_id), ttl);
            let mut expression = Expression::default();
            let add = expression.add("runs", number(1));
            let update = format!("{add} {}", expression.set([("ttl", number(ttl))]));
            let limits = [("runs", policy.max_runs_per_day.map(u64::from)), ("tokens", policy.max_tokens_per_day)];
            let below: Vec<_> = limits
                .iter()
                .filter_map(|(name, most)| Some(expression.absent_or_below(name, number((*most)?))))
                .collect();
            let key = keys::day_key(trigger_id, now);
            let writes = vec![
                ConditionalWrite::Put { item: mark, condition: is_unmarked, expression: unmarked },
                ConditionalWrite::Update { key, update, condition: Some(below.join(" AND ")), expression },
            ];
            match self.table.transact(writes).await? {
                // The mark exists: an earlier attempt counted, or the answer to this one's request was lost.
                Transacted::Done | Transacted::Refused(0, _) => return Ok(None),
                Transacted::Refused(_, day) => return Ok(Some(reached(day.as_ref(), policy))),
                // Another transaction won the conflict; retry after a short jittered wait.
                Transacted::Conflict => self.clock.sleep(backoff::short()).await,
            }
        }
    }
}

fn reached(day: Option<&Item>, policy: &Policy) -> SkipReason {
    let runs = day.and_then(|day| integer(day, "runs")).unwrap_or_default();
    if policy.max_runs_per_day.is_some_and(|most| runs >= i64::from(most)) {
        SkipReason::MaxRunsPerDay
    } else {
        SkipReason::MaxTokensPerDay
    }
}
