//! The run lock of a trigger: an item for each slot, which says which execution may run in it. Its attributes have the
//! names that they have in the record of that execution. `run_slots` chooses among several slots.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    clock::Clock,
    domain::{
        execution::{ExecutionRef, Holder, Lease, MAX_SWAPS, Row, Status},
        run_lock::{RunLock, Slot},
    },
    store::{
        Store,
        error::StoreError,
        execution_item::{CANCEL_REQUESTED, EXECUTION_ID, LEASE_UNTIL, OWNER, STATUS, TTL},
        expression::Expression,
        item::{Item, integer, number, string, text},
        keys, readable,
        table::{ConditionalWrite, Table, Written},
    },
};

impl RunLock {
    /// Reads the item. An attribute that is absent or of another type is `None`.
    pub fn read(item: &Item) -> Self {
        Self { execution_id: string(item, EXECUTION_ID), owner: string(item, OWNER), until: integer(item, LEASE_UNTIL) }
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

/// Returns the ttl, in seconds since 1970, of a slot whose lease ends at `until`, in milliseconds since 1970. It is a
/// day later, when nobody needs the item.
fn ttl_of(until: i64) -> i64 {
    until / 1000 + 24 * 60 * 60
}

/// Builds the write that frees the slot of an execution that has ended. The item stays, with a lease that has ended.
/// The condition is that the execution has it, by whichever attempt.
pub(crate) fn free_run_lock(execution: ExecutionRef<'_>, slot: Slot) -> ConditionalWrite {
    let mut expression = Expression::default();
    let condition = Some(expression.equals(EXECUTION_ID, Some(text(execution.execution_id))));
    let update = expression.set([(LEASE_UNTIL, number(0))]);
    let key = keys::slot_key(execution.user_id, execution.trigger_id, slot);
    ConditionalWrite::Update { key, update, condition, expression }
}

/// The result of asking for the run lock.
pub enum Taking {
    /// This attempt has a slot. Holds it, and the end of its lease in milliseconds since 1970.
    Taken(Slot, i64),
    /// Other executions have the slots, a newer one had it, or another attempt of this execution has one. Holds the
    /// execution that is in the way: in the last case this one.
    Refused(String),
}

/// The result of one request for a slot.
pub(super) enum Asked {
    /// This attempt has it until this time, in milliseconds since 1970.
    Taken(i64),
    /// It is not free. Holds it as it stands, if it is there.
    Refused(Option<RunLock>),
}

impl<T: Table, C: Clock> Store<T, C> {
    /// Takes the only slot of the trigger's run lock, unless another execution that is alive has it. An attempt that
    /// has waited does not take it after a newer execution either, even if that has ended. A lock is free if there is
    /// none, if its lease is over, if it is this attempt's own, or if the row of its execution says that the attempt
    /// that took it has ended. In the last case the row is read first, and the lock is taken only if it has not changed
    /// since. This is repeated at most [`MAX_SWAPS`] times.
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
        let ExecutionRef { trigger_id, execution_id, .. } = holder.execution;
        let mut over: Option<RunLock> = None;
        for _ in 0..=MAX_SWAPS {
            let found = match self.ask_slot(holder, lease, 0, over.as_ref(), has_waited).await? {
                Asked::Taken(until) => return Ok(Taking::Taken(0, until)),
                Asked::Refused(found) => found,
            };
            // By now the lock may be this attempt's own, if an answer was lost, or it may be over. Ask for it again
            // rather than skip the execution for it.
            if over.take().is_some() {
                continue;
            }
            let Some(lock) = found else { continue };
            let Some(other) = lock.execution_id.clone() else { return Err(StoreError::Unreadable) };
            let row = self.execution(trigger_id, &other).await?;
            if !lock.may_be_taken(row.as_ref(), execution_id, has_waited) {
                return Ok(Taking::Refused(other));
            }
            over = Some(lock);
        }
        Err(StoreError::Contended)
    }

    /// Asks for a slot once: writes it with this attempt as its owner, if the condition holds. With `seen` the slot
    /// must be as it was read. Otherwise it must be absent, free by its own lease, or this attempt's with no later end,
    /// and with `has_waited` not a newer execution's. Returns the slot as it stands if it is refused.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. The slot may have been taken all the same.
    pub(super) async fn ask_slot(
        &self,
        holder: Holder<'_>,
        lease: Lease,
        slot: Slot,
        seen: Option<&RunLock>,
        has_waited: bool,
    ) -> Result<Asked, StoreError> {
        let Holder { execution: ExecutionRef { user_id, trigger_id, execution_id }, owner } = holder;
        let now = self.clock.now_millis();
        let (pk, sk) = keys::slot_key(user_id, trigger_id, slot);
        let until = lease.until(now);
        let item = Item::from([
            ("PK".into(), text(pk)),
            ("SK".into(), text(sk)),
            (EXECUTION_ID.into(), text(execution_id)),
            (OWNER.into(), text(owner)),
            (LEASE_UNTIL.into(), number(until)),
            (TTL.into(), number(ttl_of(until))),
        ]);
        let mut expression = Expression::default();
        let condition = match seen {
            Some(lock) => lock.unchanged_since(&mut expression),
            None => {
                let is_free = format!("attribute_not_exists({})", expression.name("PK"));
                let is_over = expression.below(LEASE_UNTIL, number(lease.over_before(now)));
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
        Ok(match self.table.write(write, false).await? {
            Written::Done(_) => Asked::Taken(until),
            Written::Refused(found) => Asked::Refused(found.as_ref().map(RunLock::read)),
        })
    }

    /// Extends a slot of the run lock to `until`, the end of the execution's lease in milliseconds since 1970, even if
    /// the slot's lease is over. Returns false if another attempt has it, or it was released or deleted. If this
    /// request arrives after a later one, the longer lease stays, and the result is true.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. It may have been written all the same.
    pub async fn keep_run_lock(&self, holder: Holder<'_>, slot: Slot, until: i64) -> Result<bool, StoreError> {
        let mut expression = Expression::default();
        let condition = [
            expression.equals(OWNER, Some(text(holder.owner))),
            // A request that arrives after the release must not take the lock back, and none may shorten its lease.
            expression.above(LEASE_UNTIL, number(0)),
            expression.at_most(LEASE_UNTIL, number(until)),
        ]
        .join(" AND ");
        // A detached run may keep it for longer than a day.
        let update = expression.set([(LEASE_UNTIL, number(until)), (TTL, number(ttl_of(until)))]);
        let ExecutionRef { user_id, trigger_id, .. } = holder.execution;
        let key = keys::slot_key(user_id, trigger_id, slot);
        let write = ConditionalWrite::Update { key, update, condition: Some(condition), expression };
        Ok(match self.table.write(write, false).await? {
            Written::Done(_) => true,
            Written::Refused(found) => {
                found.as_ref().map(RunLock::read).is_some_and(|lock| lock.is_kept_longer(holder.owner, until))
            }
        })
    }

    /// Releases a slot of the run lock, if this attempt still has it. Otherwise nothing happens. The item stays, with a
    /// lease that has ended.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it.
    pub async fn release_run_lock(&self, holder: Holder<'_>, slot: Slot) -> Result<(), StoreError> {
        let mut expression = Expression::default();
        let condition = expression.equals(OWNER, Some(text(holder.owner)));
        let update = expression.set([(LEASE_UNTIL, number(0))]);
        let ExecutionRef { user_id, trigger_id, .. } = holder.execution;
        let key = keys::slot_key(user_id, trigger_id, slot);
        let write = ConditionalWrite::Update { key, update, condition: Some(condition), expression };
        self.table.write(write, false).await.map(|_| ())
    }

    /// Requests the end of an execution that is running, and returns its row after that. Nothing happens if it is not,
    /// and `None` is returned. The attempt that owns it sees the request at its next heartbeat, and the agent of a
    /// detached run with its next report.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it, or the row is unreadable.
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
