//! The writes that end an execution, each with its condition.

use crate::{
    domain::{
        attempt::Attempt,
        ending::Ending,
        execution::{ExecutionRef, Row, Status},
        fire::Fire,
    },
    store::{
        execution_item::{DETACHED_AT, ExecutionItem, FAILURE_ATTRIBUTES, PROTOCOL, SNAPSHOT_ATTRIBUTES, UsageItem},
        expression::Expression,
        item::Key,
        keys::{self},
        records::{ended, ended_item},
        table::ConditionalWrite,
    },
};

/// A write that ends an execution, with its condition.
#[derive(Debug, Clone, Copy)]
pub enum EndingWrite<'a> {
    /// The attempt `owner` ends its own execution. It must still own it, and the execution must be running. A failure
    /// that may be retried also demands that no other invocation took the attempt for dead and left the run to its
    /// agent: nobody would retry it.
    Finished {
        /// The attempt.
        owner: &'a str,
        /// How it ended.
        ending: &'a Ending,
    },
    /// Nobody works on the execution. The row must still be exactly `seen`.
    Abandoned {
        /// The row as it was read.
        seen: &'a Row,
        /// How it ended.
        ending: &'a Ending,
    },
    /// No attempt wrote a record, and there must still be none.
    NeverRun {
        /// The fire.
        fire: &'a Fire,
        /// The attempt that the record names.
        attempt: &'a Attempt,
        /// How it ended.
        ending: &'a Ending,
        /// Milliseconds since 1970: a row whose ttl has passed counts as none.
        now: i64,
    },
    /// The agent of a detached run reported its end. The execution must be running, with the report key and the request
    /// to cancel of `seen`. Its lease does not matter: a heartbeat may have extended it meanwhile.
    Reported {
        /// The row as it was read.
        seen: &'a Row,
        /// How it ended. Its `usage_before` are the tokens of the run.
        ending: &'a Ending,
    },
    /// A failed execution loses its right to another attempt. The row must still be exactly `seen`.
    Finalised {
        /// The row as it was read.
        seen: &'a Row,
    },
}

impl EndingWrite<'_> {
    /// Builds the write for the execution under `key`, with the condition that the variant describes. `is_stored` is
    /// true if its trigger is stored. The record then says so (`stored`), and the trigger's health announces its
    /// failures. Attributes that the ending does not have stay as they are in the row. There are exceptions. Of an
    /// attempt's own ends, a skip removes the description of what ran, and any other without an answer removes the
    /// protocol that the claim wrote. An abandoned execution without a failure loses that of an earlier attempt. The
    /// write for a fire that never ran replaces the whole row.
    pub fn build(self, key: Key, is_stored: bool) -> ConditionalWrite {
        let mut expression = Expression::default();
        let stored = is_stored.then_some(true);
        let ended = |ending| ExecutionItem { stored, ..ended(ending) };
        match self {
            Self::Finished { owner, ending } => {
                let mut condition = expression.owned_and_running(owner);
                if ending.failure.as_ref().is_some_and(|failure| failure.retryable) {
                    condition = format!("{condition} AND {}", expression.equals(DETACHED_AT, None));
                }
                let condition = Some(condition);
                let mut update = expression.set(ended(ending).into_attributes());
                if ending.status == Status::Skipped {
                    update = format!("{update} {}", expression.remove(&SNAPSHOT_ATTRIBUTES));
                } else if ending.protocol.is_none() {
                    // The claim names the protocol in which the agent is asked. There was no answer in it.
                    update = format!("{update} {}", expression.remove(&[PROTOCOL]));
                }
                ConditionalWrite::Update { key, update, condition, expression }
            }
            Self::Abandoned { seen, ending } => {
                let condition = Some(expression.unchanged_since(seen));
                let mut update = expression.set(ended(ending).into_attributes());
                if ending.failure.is_none() {
                    // An earlier attempt may have failed retryably. A cancelled execution did not end with that
                    // failure.
                    update = format!("{update} {}", expression.remove(&FAILURE_ATTRIBUTES));
                }
                ConditionalWrite::Update { key, update, condition, expression }
            }
            Self::NeverRun { fire, attempt, ending, now } => {
                let (condition, expression) = Expression::absent(now);
                let item = ended_item(fire, attempt, ended(ending));
                ConditionalWrite::Put { item, condition, expression }
            }
            Self::Reported { seen, ending } => {
                let condition = Some(expression.reportable(seen));
                let record = ExecutionItem { usage: ending.usage_before.map(UsageItem::from), ..ended(ending) };
                let update = expression.set(record.into_attributes());
                ConditionalWrite::Update { key, update, condition, expression }
            }
            Self::Finalised { seen } => {
                let condition = Some(expression.unchanged_since(seen));
                let is_final = ExecutionItem { retryable: Some(false), stored, ..ExecutionItem::default() };
                let update = expression.set(is_final.into_attributes());
                ConditionalWrite::Update { key, update, condition, expression }
            }
        }
    }
}

/// Returns the key of the execution that `execution` names. Its user is no part of it.
pub fn key_of(execution: ExecutionRef<'_>) -> Key {
    keys::execution_key(execution.trigger_id, execution.execution_id)
}
