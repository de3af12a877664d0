//! Overlap: one item for each trigger that may not run twice at once says which of its executions is alive. It holds the
//! same lease as the execution, so that it frees itself after a crash.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    clock::now_millis,
    execution::Lease,
    expression::Expression,
    lease::Held,
    policy::Overlap,
    record::{self, Item, SkipReason, number, text},
    run::Halt,
    store::{Store, StoreError},
};

/// How often it is looked whether a cancelled execution is over.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Makes sure that no other execution of the trigger is alive, as its policy wants it.
///
/// # Errors
/// If this one is to be skipped, or DynamoDB does not answer.
pub(crate) async fn enter(held: &Held<'_>, overlap: Overlap) -> Result<(), Halt> {
    if overlap == Overlap::Allow {
        return Ok(());
    }
    let Held { store, trigger_id, lease, .. } = held;
    let mut asked = None;
    loop {
        let Some(other) = store.take_turn(held).await? else {
            held.has_turn.store(true, std::sync::atomic::Ordering::Relaxed);
            return Ok(());
        };
        let is_new = asked.as_ref() != Some(&other);
        if is_new {
            held.measured.overlaps.one_more();
        }
        if overlap == Overlap::Skip {
            return Err(Halt::Skipped(SkipReason::Overlap, Some(other)));
        }
        if is_new {
            tracing::info!(otherExecutionId = other, "cancelling the execution that is alive");
            store.request_cancel(trigger_id, &other).await?;
            asked = Some(other);
        }
        tokio::time::sleep(lease.heartbeat().min(LOOK_AGAIN)).await;
    }
}

impl Store {
    /// Takes the trigger's turn, unless another execution that is alive has it: returns that one.
    async fn take_turn(&self, held: &Held<'_>) -> Result<Option<String>, StoreError> {
        let Held { trigger_id, execution_id, owner, lease, .. } = held;
        let now = now_millis();
        let (pk, sk) = record::running_key(trigger_id);
        let until = lease.until(now);
        let item = Item::from([
            ("PK".into(), text(pk)),
            ("SK".into(), text(sk)),
            ("executionId".into(), text(*execution_id)),
            ("owner".into(), text(*owner)),
            ("leaseUntil".into(), number(until)),
            // Of no use to anybody a day later.
            ("ttl".into(), number(until / 1000 + 24 * 60 * 60)),
        ]);
        let mut expression = Expression::default();
        let is_free = format!("attribute_not_exists({})", expression.name("PK"));
        let is_mine = expression.equals("executionId", Some(text(*execution_id)));
        let is_over = expression.below("leaseUntil", number(over_before(*lease, now)));
        let condition = format!("{is_free} OR {is_mine} OR {is_over}");
        let other = match self.put_item(item, condition, expression).await? {
            Ok(()) => return Ok(None),
            Err(other) => other,
        };
        let id = other.as_ref().and_then(|item| item.get("executionId")?.as_s().ok().cloned());
        id.map(Some).ok_or(StoreError::Unreadable)
    }

    /// Keeps the turn as long as the execution's lease, while it is still this attempt's.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
    pub(crate) async fn keep_turn(&self, held: &Held<'_>, until: i64) -> Result<(), StoreError> {
        let mut expression = Expression::default();
        let is_mine = expression.equals("owner", Some(text(held.owner)));
        // One that arrives after the turn was given up must not take it back.
        let is_kept = expression.above("leaseUntil", number(0));
        let condition = format!("{is_mine} AND {is_kept}");
        let update = expression.set([("leaseUntil", number(until))]);
        self.write(record::running_key(held.trigger_id), update, condition, expression).await.map(|_| ())
    }

    /// Asks for the end of an execution that has not ended.
    async fn request_cancel(&self, trigger_id: &str, execution_id: &str) -> Result<(), StoreError> {
        let mut expression = Expression::default();
        let condition = expression.equals("status", Some(text("running")));
        let update = expression.set([("cancelRequested", AttributeValue::Bool(true))]);
        let key = record::execution_key(trigger_id, execution_id);
        self.write(key, update, condition, expression).await.map(|_| ())
    }
}

/// A lease that ended before this is not alive any more.
fn over_before(lease: Lease, now: i64) -> i64 {
    now.saturating_sub(i64::try_from(lease.skew().as_millis()).unwrap_or(i64::MAX))
}
