//! The receipts of refused deliveries. Strangers can cause them, so few are written: ten a minute for each process. The
//! others are counted in a bounded bucket, and their counts are written with the first refusal of each next minute,
//! nine at most. Handshakes are counted with them, as what they are.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use jiff::Timestamp;
use uuid::Uuid;

use crate::store::{Items, hooks::Receipt};

/// The most receipts of refusals that a process writes in a minute.
const MOST_WRITTEN: usize = 10;
/// The most counts that wait. Further ones are dropped.
const MOST_WAITING: usize = 50;
/// The time limit of writing receipts. The sender's answer waits for them: Lambda stops a process that has answered.
const TIME_LIMIT: Duration = Duration::from_millis(1_500);

/// The bucket.
#[derive(Debug, Default)]
pub struct Receipts(Mutex<Bucket>);

#[derive(Debug, Default)]
struct Bucket {
    /// The minute since 1970 in which `written` counts.
    minute: i64,
    written: usize,
    /// The counts by hook, outcome and reason.
    waiting: HashMap<Kind, Count>,
}

/// What is counted together: the hook, the outcome and the reason.
type Kind = (String, &'static str, Option<&'static str>);

/// How many came, and when the last did.
#[derive(Debug)]
struct Count {
    count: u64,
    last: Timestamp,
}

impl Receipts {
    /// Writes the receipt of a refusal or a handshake if this minute has room, or counts it. Counts of earlier minutes
    /// that are due are written with it, all at once. A receipt that cannot be written, or not within 1.5 s, is lost,
    /// which is logged: the refusal itself holds.
    pub async fn note(&self, items: &Items, receipt: Receipt) {
        let due = self.0.lock().unwrap_or_else(PoisonError::into_inner).add(receipt);
        let writing = due.iter().map(async |receipt| {
            let cause = match tokio::time::timeout(TIME_LIMIT, items.put_receipt(receipt)).await {
                Ok(written) => written.err().map(|error| agent_trigger::error_chain::chain(&error)),
                Err(_) => Some("it took too long".to_owned()),
            };
            if let Some(cause) = cause {
                tracing::warn!(%cause, "a receipt is lost");
            }
        });
        join_all(writing).await;
    }
}

impl Bucket {
    /// Adds a receipt, and returns those that are written now. In a new minute these are the counts whose last delivery
    /// is the oldest, at most nine, and then receipts until ten were written. Any other receipt is counted by its kind.
    /// If 50 kinds wait already, a new one is dropped.
    fn add(&mut self, receipt: Receipt) -> Vec<Receipt> {
        let minute = receipt.at.as_second().div_euclid(60);
        let mut due = Vec::new();
        if minute != self.minute {
            (self.minute, self.written) = (minute, 0);
            // Those that have waited longest first. The others wait for another minute.
            let mut kinds: Vec<_> = self.waiting.iter().map(|(kind, count)| (count.last, kind.clone())).collect();
            kinds.sort();
            kinds.truncate(MOST_WRITTEN - 1);
            let taken = kinds.into_iter().filter_map(|(_, kind)| self.waiting.remove_entry(&kind));
            due.extend(taken.map(|(kind, count)| counted(kind, &count)));
        }
        self.written += due.len();
        if self.written < MOST_WRITTEN {
            self.written += 1;
            due.push(receipt);
            return due;
        }
        let key = (receipt.hook_id, receipt.outcome, receipt.reason);
        let has_room = self.waiting.len() < MOST_WAITING;
        match self.waiting.get_mut(&key) {
            Some(Count { count, last }) => (*count, *last) = (*count + 1, receipt.at),
            None if has_room => {
                self.waiting.insert(key, Count { count: 1, last: receipt.at });
            }
            None => {}
        }
        due
    }
}

/// Returns the receipt that stands for several of the same kind. Its time is that of the last.
fn counted((hook_id, outcome, reason): Kind, Count { count, last }: &Count) -> Receipt {
    Receipt {
        hook_id,
        id: Uuid::now_v7(),
        at: *last,
        outcome,
        reason,
        sender_id: None,
        source_ip: None,
        bytes: None,
        execution_id: None,
        is_test: false,
        count: Some(*count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_makes_ten_receipts_a_minute() {
        let mut bucket = Bucket::default();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let of = |hook: &str, outcome, reason, last| Receipt {
            count: None,
            ..counted((hook.to_owned(), outcome, reason), &Count { count: 0, last })
        };
        let refusal = |hook: &str, at| of(hook, "refused", Some("wrongSignature"), at);
        let first = at("2026-01-01T00:00:01Z");
        let written: usize = (0..1_000).map(|_| bucket.add(refusal("a", first)).len()).sum();
        assert_eq!((written, bucket.waiting.len()), (10, 1));
        (0..1_000).for_each(|n| assert!(bucket.add(refusal(&n.to_string(), first)).is_empty()));
        assert_eq!(bucket.waiting.len(), MOST_WAITING);
        // The next minute's first refusal brings the counts with it, within the same bound.
        let due = bucket.add(refusal("a", at("2026-01-01T00:01:00Z")));
        assert_eq!((due.len(), due.iter().filter(|receipt| receipt.count.is_some()).count()), (10, 9));
        assert_eq!(bucket.waiting.len(), MOST_WAITING - 9, "the others wait");
        assert_eq!(due[0].at, first);
        assert!(bucket.add(refusal("a", at("2026-01-01T00:01:59Z"))).is_empty());
        // None of them is lost.
        let counts: u64 = (2..8)
            .flat_map(|minute| bucket.add(refusal("a", at(&format!("2026-01-01T00:0{minute}:00Z")))))
            .chain(due)
            .filter_map(|receipt| receipt.count)
            .sum();
        assert_eq!((counts, bucket.waiting.len()), (990 + 49 + 1, 0));
    }

    #[test]
    fn a_handshake_is_counted_as_one() {
        let mut bucket = Bucket::default();
        let at: Timestamp = "2026-01-01T00:00:01Z".parse().unwrap();
        let of = |outcome, reason, last| Receipt {
            count: None,
            ..counted(("a".to_owned(), outcome, reason), &Count { count: 0, last })
        };
        (0..11).for_each(|_| drop(bucket.add(of("refused", Some("rate"), at))));
        assert!(bucket.add(of("handshake", None, at)).is_empty());
        let mut due = bucket.add(of("refused", Some("rate"), "2026-01-01T00:01:00Z".parse().unwrap()));
        due.retain(|receipt| receipt.count.is_some());
        due.sort_by_key(|receipt| receipt.outcome);
        let kinds: Vec<_> = due.iter().map(|receipt| (receipt.outcome, receipt.reason, receipt.count)).collect();
        assert_eq!(kinds, [("handshake", None, Some(1)), ("refused", Some("rate"), Some(1))]);
    }
}
