//! The receipts of refused deliveries. Strangers can cause them, so few are written: ten a minute for each process. The
//! others are counted in a bounded bucket, and their counts are written with the next minute's first refusal.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use uuid::Uuid;

use crate::store::{Items, hooks::Receipt};

/// The most receipts of refusals that a process writes in a minute.
const MOST_WRITTEN: usize = 10;
/// The most counts that wait. Further ones are dropped.
const MOST_WAITING: usize = 50;

/// The bucket.
#[derive(Debug, Default)]
pub struct Receipts(Mutex<Bucket>);

#[derive(Debug, Default)]
struct Bucket {
    /// The minute since 1970 in which `written` counts.
    minute: i64,
    written: usize,
    /// The counts by hook and reason.
    waiting: HashMap<(String, &'static str), u64>,
}

impl Receipts {
    /// Writes the receipt of a refusal, or counts it. A receipt that cannot be written is lost: the refusal itself holds.
    pub async fn note(&self, items: &Items, receipt: Receipt) {
        let due = self.0.lock().unwrap_or_else(PoisonError::into_inner).add(receipt);
        for receipt in due {
            if let Err(error) = items.put_receipt(&receipt).await {
                tracing::warn!(cause = %agent_trigger::error_chain::chain(&error), "a receipt is lost");
            }
        }
    }
}

impl Bucket {
    /// Adds a receipt, and returns those that are written now.
    fn add(&mut self, receipt: Receipt) -> Vec<Receipt> {
        let minute = receipt.at.as_second().div_euclid(60);
        let mut due = Vec::new();
        if minute != self.minute {
            (self.minute, self.written) = (minute, 0);
            let counts = mem::take(&mut self.waiting);
            due.extend(
                counts
                    .into_iter()
                    .take(MOST_WRITTEN - 1)
                    .map(|((hook_id, reason), count)| counted(hook_id, reason, count, receipt.at)),
            );
        }
        self.written += due.len();
        if self.written < MOST_WRITTEN {
            self.written += 1;
            due.push(receipt);
            return due;
        }
        let key = (receipt.hook_id, receipt.reason.unwrap_or_default());
        let has_room = self.waiting.len() < MOST_WAITING;
        match self.waiting.get_mut(&key) {
            Some(count) => *count += 1,
            None if has_room => {
                self.waiting.insert(key, 1);
            }
            None => {}
        }
        due
    }
}

/// Returns the receipt that stands for several refusals of the same reason.
fn counted(hook_id: String, reason: &'static str, count: u64, at: Timestamp) -> Receipt {
    Receipt {
        hook_id,
        id: Uuid::now_v7(),
        at,
        outcome: "refused",
        reason: Some(reason),
        sender_id: None,
        source_ip: None,
        bytes: None,
        execution_id: None,
        is_test: false,
        count: Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_makes_ten_receipts_a_minute() {
        let mut bucket = Bucket::default();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let refusal = |hook: &str, at| Receipt { count: None, ..counted(hook.to_owned(), "wrongSignature", 0, at) };
        let first = at("2026-01-01T00:00:01Z");
        let written: usize = (0..1_000).map(|_| bucket.add(refusal("a", first)).len()).sum();
        assert_eq!((written, bucket.waiting.len()), (10, 1));
        (0..1_000).for_each(|n| assert!(bucket.add(refusal(&n.to_string(), first)).is_empty()));
        assert_eq!(bucket.waiting.len(), MOST_WAITING);
        // The next minute's first refusal brings the counts with it, within the same bound.
        let due = bucket.add(refusal("a", at("2026-01-01T00:01:00Z")));
        assert_eq!((due.len(), due.iter().filter(|receipt| receipt.count.is_some()).count()), (10, 9));
        assert!(bucket.add(refusal("a", at("2026-01-01T00:01:59Z"))).is_empty());
        assert_eq!(bucket.add(refusal("a", at("2026-01-01T00:02:00Z"))).len(), 2);
    }
}
