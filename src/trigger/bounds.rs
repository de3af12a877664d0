//! The bounds of a trigger item's cost (docs/triggers.md, What an item may cost). Whoever writes an item, or publishes
//! an event for it, must not be able to keep the event's other triggers from running. A trigger over a bound fails as
//! `InvalidTrigger`, and no other trigger with it.
//!
//! Some bounds hold for the item, when it is read. Costs that depend on the event are counted as steps: those of the
//! filters, and those of the prompt and the mapping, which are evaluated in the trigger's own invocation.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::json::{lenient::MOST_LEVELS, query, query_cost, steps::Steps};

/// The most placeholders of a prompt.
pub const MOST_PLACEHOLDERS: usize = 100;
/// The most names of an `inputMapping`.
pub const MOST_MAPPED: usize = 100;
/// The most matchers of a pattern. The longest pattern that EventBridge takes itself has room for about 1,000.
pub const MOST_MATCHERS: usize = 2_000;
/// The most names that the alternatives of a pattern may have together. Patterns that people write have dozens. Without
/// a limit, each `$or` multiplies the others until the function does nothing else.
pub const MOST_NAMES: usize = 10_000;
/// The most conditions of a trigger.
pub const MOST_CONDITIONS: usize = 100;
/// The most bytes by which the placeholders of a prompt and its mapping are replaced, all together. For years, this was
/// the size of the largest event that EventBridge accepted.
pub const MOST_RENDERED: usize = 256 * 1024;
/// The most steps that the filters of a trigger may take on one event, and the most that its placeholders and its
/// mapping may take together. This is at most about a third of a second of CPU. An event of 1 MiB, the largest that
/// Lambda queues, has at most about half a million values, so each may be looked at several times.
pub const MOST_STEPS: u64 = 5_000_000;

/// The most steps that the filters of all of an event's triggers may take together, 20 times [`MOST_STEPS`]. One
/// invocation asks all of them, and nothing runs before it is done.
pub const MOST_STEPS_OF_EVENT: u64 = 100_000_000;
/// The steps that the filters of a trigger may take even if the others have taken all: thousands of triggers that each
/// take so many take some seconds. What people write takes a tenth of it.
pub const LEAST_STEPS: u64 = 50_000;

/// The steps that the filters of all triggers have taken on one event.
#[derive(Debug, Default)]
pub(crate) struct EventSteps(AtomicU64);

impl EventSteps {
    /// Returns the steps that the filters of one more trigger may take: what is left of [`MOST_STEPS_OF_EVENT`], but at
    /// most [`MOST_STEPS`] and at least [`LEAST_STEPS`]. So whoever stores many triggers that each take as many as they
    /// may cannot keep the others from running.
    pub(crate) fn of_one_more(&self) -> Steps {
        let left = MOST_STEPS_OF_EVENT.saturating_sub(self.0.load(Ordering::Relaxed));
        Steps::new(left.clamp(LEAST_STEPS, MOST_STEPS))
    }

    /// Adds the steps that a trigger's filters have taken to those of the event.
    pub(crate) fn add(&self, steps: &Steps) {
        self.0.fetch_add(steps.taken(), Ordering::Relaxed);
    }
}

/// Every bound with its name in the documentation.
pub const TABLE: [(&str, u64); 15] = [
    ("placeholders of a prompt", MOST_PLACEHOLDERS as u64),
    ("names of an `inputMapping`", MOST_MAPPED as u64),
    ("bytes of what placeholders and mapped names are replaced by, together", MOST_RENDERED as u64),
    ("matchers of an `eventPattern`", MOST_MATCHERS as u64),
    ("names of an `eventPattern`, its `$or` multiplied out", MOST_NAMES as u64),
    ("conditions", MOST_CONDITIONS as u64),
    ("bytes of a query", query::LONGEST as u64),
    ("brackets of a query within each other", query::DEEPEST as u64),
    ("filters of a query within each other", query::DEEPEST_FILTERS as u64),
    ("ways to choose from a query's lists of selectors", query::MOST_REPEATS as u64),
    ("values that a query finds in one event", query_cost::MOST_FOUND as u64),
    ("steps of all filters on one event, and of all placeholders and mapped names", MOST_STEPS),
    ("steps of the filters of all triggers on one event", MOST_STEPS_OF_EVENT),
    ("steps of the filters of a trigger once the others have taken all of those", LEAST_STEPS),
    ("levels of an event", MOST_LEVELS as u64),
];
