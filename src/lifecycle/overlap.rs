//! Overlap: one item for each trigger that may not run twice at once says whose turn it is. It is held under a lease of its
//! own beside the execution's, so that it frees itself after a crash; a run that cannot keep it stops before it is over.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::{
    clock::now_millis,
    domain::policy::{Overlap, Policy},
    domain::run_lock::{Meeting, Turn, meet, over_before},
    lifecycle::claim::MAX_SWAPS,
    lifecycle::lease::{Held, Stop},
    run::Halt,
    store::expression::Expression,
    store::record::{self, Item, SkipReason, integer, number, text},
    store::{Store, StoreError},
};

/// How often it is looked whether a cancelled execution is over.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Makes sure that the trigger's policy lets the execution start.
///
/// # Errors
/// If it is to be skipped, or DynamoDB does not answer.
pub(crate) async fn may_start(held: &Held<'_>, policy: &Policy) -> Result<(), Halt> {
    // What is to take another's place must not end it and then be kept from running itself; what another keeps from
    // running is no start.
    let counts_first = policy.overlap == Overlap::CancelOther;
    if !counts_first {
        enter(held, policy.overlap).await?;
    }
    let Held { store, trigger_id, execution_id, .. } = held;
    if let Some(reason) = store.count_start(trigger_id, execution_id, policy, now_millis()).await? {
        return Err(Halt::Skipped(reason, None));
    }
    if counts_first {
        enter(held, policy.overlap).await?;
    }
    Ok(())
}

/// Makes sure that no other execution of the trigger is alive, as its policy wants it.
async fn enter(held: &Held<'_>, overlap: Overlap) -> Result<(), Halt> {
    if overlap == Overlap::Allow {
        return Ok(());
    }
    let Held { store, trigger_id, execution_id, lease, .. } = held;
    let mut asked = None;
    loop {
        // One that has waited while a newer one came and went is late: the newer one has taken its place.
        let other = match store.take_turn(held, asked.is_some()).await? {
            Taking::Taken(until) => {
                held.took_turn(until);
                return Ok(());
            }
            Taking::Refused(other) => other,
        };
        let meeting = meet(overlap, execution_id, &other, asked.as_deref());
        // Of one that was asked to end already the meeting is to wait.
        if matches!(meeting, Meeting::Skip | Meeting::Cancel) {
            held.measured.overlaps.one_more();
        }
        match meeting {
            Meeting::Lost => return Err(Halt::Stopped(Stop::Lost)),
            Meeting::Skip => return Err(Halt::Skipped(SkipReason::Overlap, Some(other))),
            Meeting::Cancel => {
                tracing::info!(otherExecutionId = other, "cancelling the execution that is alive");
                store.request_cancel(trigger_id, &other).await?;
                asked = Some(other);
            }
            Meeting::Wait => {}
        }
        tokio::time::sleep(lease.heartbeat().min(LOOK_AGAIN)).await;
    }
}

impl Turn {
    fn read(item: &Item) -> Self {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        Self { execution_id: text("executionId"), owner: text("owner"), until: integer(item, "leaseUntil") }
    }

    fn as_seen(&self, expression: &mut Expression) -> String {
        [
            expression.equals("executionId", self.execution_id.as_ref().map(text)),
            expression.equals("owner", self.owner.as_ref().map(text)),
            expression.equals("leaseUntil", self.until.map(number)),
        ]
        .join(" AND ")
    }
}

/// What came of taking the turn.
enum Taking {
    /// It is this attempt's, with the lease's end in milliseconds since 1970.
    Taken(i64),
    /// The execution whose it is.
    Refused(String),
}

impl Store {
    /// Takes the trigger's turn, unless another execution that is alive has it. Who has waited does not take it after a
    /// newer one either.
    async fn take_turn(&self, held: &Held<'_>, has_waited: bool) -> Result<Taking, StoreError> {
        let Held { trigger_id, execution_id, owner, lease, .. } = held;
        let mut over: Option<Turn> = None;
        for _ in 0..=MAX_SWAPS {
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
            let condition = match &over {
                Some(turn) => turn.as_seen(&mut expression),
                None => {
                    let is_free = format!("attribute_not_exists({})", expression.name("PK"));
                    let is_over = expression.below("leaseUntil", number(over_before(*lease, now)));
                    // An answer was lost. One that arrives after later ones must not shorten what they extended.
                    let is_mine = expression.equals("owner", Some(text(*owner)));
                    let is_longer = expression.at_most("leaseUntil", number(until));
                    let is_free = format!("{is_free} OR {is_over} OR {is_mine} AND {is_longer}");
                    if has_waited {
                        let is_no_newer = expression.absent_or_at_most("executionId", text(*execution_id));
                        format!("({is_free}) AND {is_no_newer}")
                    } else {
                        is_free
                    }
                }
            };
            let Err(found) = self.put_item(item, condition, expression).await? else { return Ok(Taking::Taken(until)) };
            // What is there instead may be this attempt's own, its answer lost, or over by now: not to be skipped for.
            if over.take().is_some() {
                continue;
            }
            let Some(turn) = found.as_ref().map(Turn::read) else { continue };
            let Some(other) = turn.execution_id.clone() else { return Err(StoreError::Unreadable) };
            let row = self.execution(trigger_id, &other).await?;
            if !turn.may_be_taken(row.as_ref(), execution_id, has_waited) {
                return Ok(Taking::Refused(other));
            }
            over = Some(turn);
        }
        Err(StoreError::Contended)
    }

    /// Keeps the turn as long as the execution's lease; `false` if it is another's.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
    pub(crate) async fn keep_turn(&self, held: &Held<'_>, until: i64) -> Result<bool, StoreError> {
        let mut expression = Expression::default();
        let condition = [
            expression.equals("owner", Some(text(held.owner))),
            // One that arrives after the turn was given up must not take it back, and none may shorten it.
            expression.above("leaseUntil", number(0)),
            expression.at_most("leaseUntil", number(until)),
        ]
        .join(" AND ");
        let update = expression.set([("leaseUntil", number(until))]);
        let key = record::running_key(held.trigger_id);
        Ok(match self.update_item(key, update, condition, expression, false).await? {
            Ok(_) => true,
            Err(found) => found.as_ref().map(Turn::read).is_some_and(|turn| turn.is_kept_longer(held.owner, until)),
        })
    }

    /// Lets another execution of the trigger have the turn, if it is still this attempt's.
    ///
    /// # Errors
    /// If DynamoDB does not take it.
    pub(crate) async fn give_turn_up(&self, held: &Held<'_>) -> Result<(), StoreError> {
        let mut expression = Expression::default();
        let condition = expression.equals("owner", Some(text(held.owner)));
        let update = expression.set([("leaseUntil", number(0))]);
        let key = record::running_key(held.trigger_id);
        self.update_item(key, update, condition, expression, false).await.map(|_| ())
    }

    /// Asks for the end of an execution that has not ended.
    async fn request_cancel(&self, trigger_id: &str, execution_id: &str) -> Result<(), StoreError> {
        let mut expression = Expression::default();
        let condition = expression.equals("status", Some(text("running")));
        let update = expression.set([("cancelRequested", AttributeValue::Bool(true))]);
        let key = record::execution_key(trigger_id, execution_id);
        self.update_item(key, update, condition, expression, false).await.map(|_| ())
    }
}
