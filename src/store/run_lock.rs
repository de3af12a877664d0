//! The run lock of a trigger: the item that says which of its executions may run, where two must not. Its attributes have
//! the names that they have in the record of that execution.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    clock::Clock,
    domain::{
        execution::{ExecutionRef, Holder, Lease, MAX_SWAPS, Row, Status},
        run_lock::{RunLock, over_before},
    },
    store::{
        Store,
        error::StoreError,
        execution_item::{ATTEMPT, CANCEL_REQUESTED, EVENTS, EXECUTION_ID, LEASE_UNTIL, OWNER, STATUS, TTL, USER_ID},
        expression::Expression,
        item::{Item, integer, number, text},
        keys, readable,
        table::{ConditionalWrite, Query, Table, Written},
    },
};

/// The time before this one's fire from which executions without the run lock are looked for.
const LOOK_BACK_MILLIS: i64 = 2 * 60 * 60 * 1000;
/// The same if the trigger's runs are detached: the longest of them lasts a day.
const LOOK_BACK_OF_DETACHED_MILLIS: i64 = LOOK_BACK_MILLIS + 24 * 60 * 60 * 1000;
/// Sorts after every execution id.
const LAST_ID: &str = "~";

/// Returns a text that sorts before the ids of the executions whose fires may be alive beside `execution_id` at `now`.
/// Ids are UUIDs that begin with the time of their fire, in milliseconds since 1970. For an id that is no UUID the text
/// is empty, and every id sorts after it.
fn first_id(execution_id: &str, now: i64, look_back: i64) -> String {
    let time = execution_id.split_once('-').and_then(|(high, rest)| {
        let low = rest.get(..4)?;
        i64::from_str_radix(&[high, low].concat(), 16).ok()
    });
    let Some(time) = time else { return String::new() };
    let from = time.min(now).saturating_sub(look_back).max(0);
    let hex = format!("{from:012x}");
    format!("{}-{}", &hex[..8], &hex[8..12])
}

impl RunLock {
    /// Reads the item.
    pub fn read(item: &Item) -> Self {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        Self { execution_id: text(EXECUTION_ID), owner: text(OWNER), until: integer(item, LEASE_UNTIL) }
    }

    /// Builds the condition that the lock is as it was read.
    fn unchanged_since(&self, expression: &mut Expression) -> String {
        [
            expression.equals(EXECUTION_ID, self.execution_id.as_ref().map(text)),
            expression.equals(OWNER, self.owner.as_ref().map(text)),
            expression.equals(LEASE_UNTIL, self.until.map(number)),
        ]
        .join(" AND ")
    }
}

/// Builds the write that frees the run lock of an execution that has ended. The condition is that the execution has it.
pub(crate) fn free_run_lock(execution: ExecutionRef<'_>) -> ConditionalWrite {
    let mut expression = Expression::default();
    let condition = Some(expression.equals(EXECUTION_ID, Some(text(execution.execution_id))));
    let update = expression.set([(LEASE_UNTIL, number(0))]);
    let key = keys::running_key(execution.user_id, execution.trigger_id);
    ConditionalWrite::Update { key, update, condition, expression }
}

/// The result of asking for the run lock.
pub enum Taking {
    /// This attempt has it. Holds the end of its lease in milliseconds since 1970.
    Taken(i64),
    /// Another execution has it, or a newer one had it. Holds that execution.
    Refused(String),
}

impl<T: Table, C: Clock> Store<T, C> {
    /// Takes the trigger's run lock, unless another execution that is alive has it. An attempt that has waited does not
    /// take it after a newer execution either, even if that has ended. A lock is free if there is none, if its lease is
    /// over, if it is this attempt's own, or if the row of its execution says that the attempt that took it has ended.
    /// In the last case the row is read first, and the lock is taken only if it has not changed since. This is repeated
    /// at most [`MAX_SWAPS`] times.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it, or the item is unreadable or keeps changing. The lock may have
    /// been taken all the same: then a further call gets it.
    pub async fn take_run_lock(
        &self,
        holder: Holder<'_>,
        lease: Lease,
        has_waited: bool,
    ) -> Result<Taking, StoreError> {
        let Holder { execution: ExecutionRef { user_id, trigger_id, execution_id }, owner } = holder;
        let mut over: Option<RunLock> = None;
        for _ in 0..=MAX_SWAPS {
            let now = self.clock.now_millis();
            let (pk, sk) = keys::running_key(user_id, trigger_id);
            let until = lease.until(now);
            let item = Item::from([
                ("PK".into(), text(pk)),
                ("SK".into(), text(sk)),
                (EXECUTION_ID.into(), text(execution_id)),
                (OWNER.into(), text(owner)),
                (LEASE_UNTIL.into(), number(until)),
                // Nobody needs the item a day later.
                (TTL.into(), number(until / 1000 + 24 * 60 * 60)),
            ]);
            let mut expression = Expression::default();
            let condition = match &over {
                Some(lock) => lock.unchanged_since(&mut expression),
                None => {
                    let is_free = format!("attribute_not_exists({})", expression.name("PK"));
                    let is_over = expression.below(LEASE_UNTIL, number(over_before(lease, now)));
                    // The lock may be this attempt's own: the answer to its first request was lost. A request that
                    // arrives after a heartbeat must not shorten the lease that the heartbeat extended.
                    let is_mine = expression.equals(OWNER, Some(text(owner)));
                    let is_longer = expression.at_most(LEASE_UNTIL, number(until));
                    let is_free = format!("{is_free} OR {is_over} OR {is_mine} AND {is_longer}");
                    if has_waited {
                        let is_no_newer = expression.absent_or_at_most(EXECUTION_ID, text(execution_id));
                        format!("({is_free}) AND {is_no_newer}")
                    } else {
                        is_free
                    }
                }
            };
            let write = ConditionalWrite::Put { item, condition, expression };
            let Written::Refused(found) = self.table.write(write, false).await? else {
                return Ok(Taking::Taken(until));
            };
            // By now the lock may be this attempt's own, if an answer was lost, or it may be over. Ask for it again
            // rather than skip the execution for it.
            if over.take().is_some() {
                continue;
            }
            let Some(lock) = found.as_ref().map(RunLock::read) else { continue };
            let Some(other) = lock.execution_id.clone() else { return Err(StoreError::Unreadable) };
            let row = self.execution(trigger_id, &other).await?;
            if !lock.may_be_taken(row.as_ref(), execution_id, has_waited) {
                return Ok(Taking::Refused(other));
            }
            over = Some(lock);
        }
        Err(StoreError::Contended)
    }

    /// Returns the newest other execution of this user's trigger that is alive and was admitted without the run lock,
    /// because the trigger let several run at once then. It looks at fires from two hours before this one, or before
    /// now if that is earlier. Lambda lets a run last 15 minutes, or 90 on Managed Instances, and every record that is
    /// read is billed. With `is_detached` it looks a day further back.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not answer.
    pub async fn living_without_lock(
        &self,
        holder: Holder<'_>,
        lease: Lease,
        is_detached: bool,
    ) -> Result<Option<String>, StoreError> {
        let ExecutionRef { user_id, trigger_id, execution_id } = holder.execution;
        let now = self.clock.now_millis();
        let (partition, to) = keys::execution_key(trigger_id, LAST_ID);
        let look_back = if is_detached { LOOK_BACK_OF_DETACHED_MILLIS } else { LOOK_BACK_MILLIS };
        let (_, from) = keys::execution_key(trigger_id, &first_id(execution_id, now, look_back));
        let mut expression = Expression::default();
        let is_running = expression.equals(STATUS, Some(text(Status::Running.as_str())));
        let is_alive = expression.above(LEASE_UNTIL, number(over_before(lease, now)));
        let filter = format!("{is_running} AND {is_alive}");
        let living = self.table.query(Query { partition, from, to, filter, expression }).await?;
        // Ids sort by time, so the newest comes last.
        for item in living.iter().rev() {
            let id = item.get(EXECUTION_ID).and_then(|id| id.as_s().ok()).filter(|id| *id != execution_id);
            // The input of a later attempt may be that of the first, which does not tell whether this one was admitted.
            let is_first = integer(item, ATTEMPT) == Some(1) || item.contains_key(EVENTS);
            let is_own = item.get(USER_ID).and_then(|user| user.as_s().ok()).is_none_or(|user| user == user_id);
            if let Some(id) = id.filter(|_| is_first && is_own)
                && self.was_admitted_without_lock(trigger_id, id).await?
            {
                return Ok(Some(id.clone()));
            }
        }
        Ok(None)
    }

    /// Extends the run lock to `until`, the end of the execution's lease in milliseconds since 1970. Returns false if
    /// another attempt has it or it was released. If this request arrives after a later one, the longer lease stays,
    /// and the result is true.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been written all the same.
    pub async fn keep_run_lock(&self, holder: Holder<'_>, until: i64) -> Result<bool, StoreError> {
        let mut expression = Expression::default();
        let condition = [
            expression.equals(OWNER, Some(text(holder.owner))),
            // A request that arrives after the release must not take the lock back, and none may shorten its lease.
            expression.above(LEASE_UNTIL, number(0)),
            expression.at_most(LEASE_UNTIL, number(until)),
        ]
        .join(" AND ");
        let update = expression.set([(LEASE_UNTIL, number(until))]);
        let ExecutionRef { user_id, trigger_id, .. } = holder.execution;
        let key = keys::running_key(user_id, trigger_id);
        let write = ConditionalWrite::Update { key, update, condition: Some(condition), expression };
        Ok(match self.table.write(write, false).await? {
            Written::Done(_) => true,
            Written::Refused(found) => {
                found.as_ref().map(RunLock::read).is_some_and(|lock| lock.is_kept_longer(holder.owner, until))
            }
        })
    }

    /// Releases the run lock, if this attempt still has it. Otherwise nothing happens. The item stays, with a lease
    /// that has ended.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it.
    pub async fn release_run_lock(&self, holder: Holder<'_>) -> Result<(), StoreError> {
        let mut expression = Expression::default();
        let condition = expression.equals(OWNER, Some(text(holder.owner)));
        let update = expression.set([(LEASE_UNTIL, number(0))]);
        let ExecutionRef { user_id, trigger_id, .. } = holder.execution;
        let key = keys::running_key(user_id, trigger_id);
        let write = ConditionalWrite::Update { key, update, condition: Some(condition), expression };
        self.table.write(write, false).await.map(|_| ())
    }

    /// Requests the end of an execution that is running, and returns its row after that. Nothing happens if it is not.
    /// The attempt that owns it sees the request at its next heartbeat, and the agent of a detached run with its next
    /// report.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it.
    pub async fn request_cancel(&self, trigger_id: &str, execution_id: &str) -> Result<Option<Row>, StoreError> {
        let mut expression = Expression::default();
        let condition = expression.equals(STATUS, Some(text(Status::Running.as_str())));
        let update = expression.set([(CANCEL_REQUESTED, AttributeValue::Bool(true))]);
        let key = keys::execution_key(trigger_id, execution_id);
        let write = ConditionalWrite::Update { key, update, condition: Some(condition), expression };
        match self.table.write(write, true).await? {
            Written::Done(item) => readable(item),
            Written::Refused(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_hours_before_sort_after_the_first() {
        // 2026-01-31T07:00:00Z, as the vectors of `domain::fire` have it.
        const AT: i64 = 1_769_842_800_000;
        let id = "019c12d9-f580-7649-82fb-aad573e743bb";
        for (now, first) in [
            (AT + 1, "019c126c-1880"),
            (AT + 24 * LOOK_BACK_MILLIS, "019c126c-1880"),
            (AT - LOOK_BACK_MILLIS, "019c11fe-3b80"),
            (0, "00000000-0000"),
        ] {
            assert_eq!(first_id(id, now, LOOK_BACK_MILLIS), first);
            assert!(first < id && id < LAST_ID);
        }
        assert_eq!(first_id(id, AT, LOOK_BACK_OF_DETACHED_MILLIS), "019c0d45-bc80");
        assert_eq!(first_id("e1", AT, LOOK_BACK_MILLIS), "");
    }
}
