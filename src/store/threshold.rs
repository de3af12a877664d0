//! A trigger's count of events, with a mark for each event that it has counted.

use std::time::Duration;

use crate::{
    backoff,
    clock::Clock,
    domain::{
        attempt::StartTime,
        threshold::{Counter, Threshold},
    },
    store::{
        Store,
        error::StoreError,
        expression::Expression,
        item::{Item, integer, keyed, number},
        keys::{self},
        table::{ConditionalWrite, Table, Transacted},
    },
};

/// The longest wait between two tries to count an event.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

impl<T: Table, C: Clock> Store<T, C> {
    /// Counts an event of a trigger, and returns its number in its window. `mark` identifies the event, and `time` is
    /// its own, in milliseconds since 1970. A `time` after `started` counts as `started`, whose ttl the items get. An
    /// event that is delivered again is not counted again, and has the number that it got first, or 0 if its mark is
    /// unreadable. The event's mark is written with the count, so that a crash in between loses neither. While other
    /// events are counted, this one tries again without end: the caller limits the time.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it. The event may have been counted all the same. The call may be
    /// repeated.
    pub async fn count_event(
        &self,
        (user_id, trigger_id): (&str, &str),
        mark: &str,
        threshold: Threshold,
        time: i64,
        started: &StartTime,
    ) -> Result<u32, StoreError> {
        let counter_key = keys::counter_key(user_id, trigger_id);
        for wait in backoff::endless() {
            // Read after each wait: another event has changed the counter meanwhile.
            let found = self.table.get(counter_key.clone(), true).await?.unwrap_or_default();
            let seen = counter(&found);
            let next = threshold.counted(seen, time, started.millis);
            let mut mark_item = keyed(keys::mark_key(user_id, trigger_id, mark), started.ttl);
            mark_item.insert("ordinal".into(), number(next.count));
            let mut counter_item = keyed(counter_key.clone(), started.ttl);
            counter_item.insert("windowStart".into(), number(next.window_start));
            counter_item.insert("count".into(), number(next.count));
            let mut unmarked = Expression::default();
            let is_unmarked = format!("attribute_not_exists({})", unmarked.name("PK"));
            let mut unchanged = Expression::default();
            let is_unchanged = [
                // As they were found: what is not understood must be replaced too.
                unchanged.equals("windowStart", found.get("windowStart").cloned()),
                unchanged.equals("count", found.get("count").cloned()),
            ]
            .join(" AND ");
            let writes = vec![
                ConditionalWrite::Put { item: mark_item, condition: is_unmarked, expression: unmarked },
                ConditionalWrite::Put { item: counter_item, condition: is_unchanged, expression: unchanged },
            ];
            match self.table.transact(writes).await? {
                Transacted::Done => return Ok(next.count),
                Transacted::Refused(0, marked) => {
                    let ordinal = marked.as_ref().and_then(|item| integer(item, "ordinal"));
                    return Ok(ordinal.and_then(|ordinal| u32::try_from(ordinal).ok()).unwrap_or_default());
                }
                Transacted::Refused(..) | Transacted::Conflict => {}
            }
            // Other events are counted at this moment. The fewer try at once, the sooner all are counted.
            self.clock.sleep(wait.min(LONGEST_WAIT)).await;
        }
        Err(StoreError::OutOfTime)
    }
}

/// Reads the counter of an item. Returns `None` if it is not understood: then it counts as absent, and the next write
/// replaces it.
fn counter(item: &Item) -> Option<Counter> {
    let count = u32::try_from(integer(item, "count")?).ok()?;
    Some(Counter { window_start: integer(item, "windowStart")?, count })
}
